/* The verbs of transfers as scripts use them: ref, call:transfer, call:pickup, and what they answer. */
#include "transfer_helpers.h"

static void the_fields_of_ref(void **state)
{
	struct talk t;

	(void)state;
	begin(TO_PHONES
	      "sip.on.refer(function(ref)\n"
	      "  assert(ref.method == 'REFER' and ref.target.user == 'carol' and tostring(ref.target) == 'sip:carol@example.org')\n"
	      "  assert(ref.referred_by.user == 'bob' and ref.leg == ref.call.b and ref.call.state == 'up')\n"
	      "  assert(ref.replaces.call_id == 'x@y' and ref.replaces.to_tag == '1' and ref.replaces.from_tag == '2' and ref.replaces.early_only)\n"
	      "  assert(ref['Refer-To'] and ref.from.user == 'bob')\n"
	      "  assert(ref:reject(603))\n"
	      "  local ok, code = ref:accept()\n  assert(not ok and code == 'answered')\n"
	      "  ok, code = ref:notify(180)\n  assert(not ok and code == 'gone')\nend)\n");
	t = talk();
	phone_in_call(t.b, "REFER", "Refer-To: <sip:carol@example.org?Replaces=x%40y%3Bto-tag%3D1%3Bfrom-tag%3D2%3Bearly-only>\n"
				    "Referred-By: <sip:bob@example.org>", NULL);
	soon(bob, "603");
	hang_up(t.a, bob);
	end();
}

static void a_script_may_do_the_steps_itself(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(TO_PHONES "sip.on.refer(function(ref)\n  assert(ref:accept{manual = true})\n  assert(ref:notify(183, 'Thinking'))\n"
			"  sip.sleep(2)\n  assert(ref:notify(604))\n  assert(not ref:notify(200))\nend)\n");
	t = talk();
	refer(t.b, "Refer-To: <sip:carol@example.org>");
	NOTIFIED_TRYING(bob);
	notified(bob, "SIP/2.0 183 Thinking", "active");
	m = phone_expect(bob, "NOTIFY", 3 * SH_SECOND);
	phone_assert_body(m, "SIP/2.0 604 Does Not Exist Anywhere\r\n");
	phone_assert_contains(m, "Subscription-State", "terminated;reason=noresource");
	ok(m);
	hang_up(t.a, bob);
	end();
}

#define BY_INFO(verb)                                                                                                  \
	TO_PHONES "sip.on.info(function(req)\n  req:reply(200)\n  local ok, res, detail = " verb                           \
		  "\n  sip.log.info('outcome: %s %s', ok, type(res) == 'table' and res.code or res)\nend)\n"

static void a_script_transfers_and_keeps_whom_it_says(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(BY_INFO("req.call:transfer('sip:carol@10.0.0.4', {keep = 'a', headers = {['X-Why'] = 'script'}})"));
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(alice, "200 INFO");
	m = soon(carol, "INVITE");
	phone_assert_header(m, "X-Why", "script");
	phone_assert_contains(m, "From", "alice");
	joined(m, SDP_C, alice, SDP_A);
	ok(soon(bob, "BYE"));
	world_expect_log(w, "outcome: true nil");
	hang_up(t.a, carol);
	end();

	begin(BY_INFO("req.call:transfer('sip:carol@10.0.0.4', {keep = 'b'})"));
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(alice, "200 INFO");
	m = soon(carol, "INVITE");
	phone_assert_contains(m, "From", "bob");
	joined(m, SDP_C, bob, SDP_B);
	ok(soon(alice, "BYE"));
	hang_up(t.b, carol);
	end();
}

static void a_transfer_that_fails_answers_nil_and_why(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(BY_INFO("req.call:transfer('sip:carol@10.0.0.4')"));
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(alice, "200 INFO");
	phone_reply(soon(carol, "INVITE"), 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	world_expect_log(w, "outcome: nil 486");
	/* nobody is registered there */
	phone_in_call(t.b, "INFO", NULL, NULL);
	soon(bob, "200 INFO");
	m = soon(carol, "INVITE");
	/* while one is in progress there is no second */
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(alice, "200 INFO");
	world_expect_log(w, "outcome: nil busy");
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	hang_up(t.a, bob);
	end();

	begin(BY_INFO("req.call:transfer('sip:nobody@example.org')"));
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(alice, "200 INFO");
	world_expect_log(w, "outcome: nil 480");
	hang_up(t.a, bob);
	end();
}

static void mistakes_are_errors_that_name_the_argument(void **state)
{
	static const struct {
		const char *plan, *line;
	} rows[] = {
	    {BY_INFO("req.call:transfer('sip:carol@10.0.0.4', {keep = 'c'})"), "option 'keep': \"a\" or \"b\" expected"},
	    {BY_INFO("req.call:transfer('sip:carol@10.0.0.4', {nonsense = 1})"), "nonsense"},
	    {BY_INFO("req.call:transfer()"), "call:transfer"},
	    {BY_INFO("req.call:pickup({})"), "string expected"},
	    {BY_INFO("sip.notify('a b', 'sip:x@y', 'text/plain', '')"), "name of an event expected"},
	    {BY_INFO("sip.notify('x', 'sip:x@y', 'a\\r\\nb', '')"), "content_type"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct talk t;

		begin(rows[i].plan);
		t = talk();
		phone_in_call(t.a, "INFO", NULL, NULL);
		soon(alice, "200 INFO");
		world_expect_log(w, rows[i].line);
		world_forget_log(w);
		hang_up(t.a, bob);
		end();
	}
}

/* An INVITE with Replaces that a script just sends on: the called phone knows its dialog by its own name of it. */
static void replaces_in_an_invite_that_is_sent_on_is_mapped(void **state)
{
	char headers[256], expected[256];
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	snprintf(headers, sizeof(headers), "Replaces: %s;to-tag=%s;from-tag=%s", t.a->id, t.a->remote_tag, t.a->local_tag);
	phone_invite(carol, "sip:bob@example.org", headers, SDP_C);
	m = soon(bob, "INVITE");
	snprintf(expected, sizeof(expected), "%s;to-tag=%s;from-tag=%s", t.b->id, t.b->local_tag, t.b->remote_tag);
	phone_assert_header(m, "Replaces", expected);
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(carol, "486"), NULL, NULL);
	phone_invite(carol, "sip:bob@example.org", "Replaces: else@where;to-tag=1;from-tag=2", SDP_C);
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Replaces", "else@where;to-tag=1;from-tag=2");
	phone_reply(m, 481, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(carol, "481"), NULL, NULL);
	hang_up(t.a, bob);
	end();
}

/* ---- a lack of memory at any point of a transfer: an answer, and nothing is left behind */

static struct phone *a, *b, *c;
static struct habits {
	const char *sdp;
} sdps[3] = {{SDP_A}, {SDP_B}, {SDP_C}};

static void get_along(struct phone_msg *m, void *ctx)
{
	const struct habits *h = ctx;

	if (m->code < 0)
		return;
	if (m->m.is_request && m->m.method != SH_ACK)
		phone_reply(m, 200, NULL, NULL, m->m.method == SH_INVITE ? h->sdp : NULL);
	else if (!m->m.is_request && m->m.method == SH_INVITE && m->m.status >= 200 && m->call)
		phone_ack(m, NULL, NULL);
}

static void stage(struct world *world)
{
	struct phone **all[] = {&a, &b, &c};
	static const char *const names[] = {"alice", "bob", "carol"}, *const ips[] = {ALICE, BOB, CAROL};

	for (unsigned i = 0; i < 3; i++) {
		*all[i] = world_phone(world, names[i], ips[i]);
		phone_auto(*all[i], PHONE_ROBUST);
		(*all[i])->on_message = get_along;
		(*all[i])->ctx = &sdps[i];
	}
}

static void transfer_once(struct world *world)
{
	struct phone_call *first;

	phone_invite(a, "sip:bob@example.org", NULL, SDP_A);
	world_advance(world, SH_SECOND);
	if (sh_list_empty(&b->calls))
		return;
	first = SH_CONTAINER(b->calls.next, struct phone_call, link);
	if (!first->confirmed)
		return;
	phone_request(c, "SUBSCRIBE", "sip:bob@example.org", "Event: dialog\nExpires: 60\nContact: <sip:carol@10.0.0.4>", NULL);
	phone_in_call(first, "REFER", "Refer-To: <sip:carol@example.org>", NULL);
	world_advance(world, 2 * SH_SECOND);
}

static void everybody_leaves(struct world *world)
{
	struct phone *all[] = {a, b, c};

	world_advance(world, 40 * SH_SECOND); /* what was lost comes again */
	for (unsigned i = 0; i < 3; i++) {
		SH_LIST_EACH (l, &all[i]->calls) {
			struct phone_call *call = SH_CONTAINER(l, struct phone_call, link);

			if (call->confirmed && call->invite)
				phone_bye(call);
		}
	}
	world_advance(world, 70 * SH_SECOND);
}

/* The same when the other one is asked by a consultation first, and when somebody picks the call up. */
static void consult_once(struct world *world)
{
	struct phone_call *first, *second;

	phone_invite(a, "sip:bob@example.org", NULL, SDP_A);
	world_advance(world, SH_SECOND);
	second = phone_invite(b, "sip:carol@example.org", NULL, SDP_B);
	world_advance(world, SH_SECOND);
	first = SH_CONTAINER(b->calls.next, struct phone_call, link);
	if (first == second || !first->confirmed || !second->confirmed)
		return;
	phone_in_call(first, "REFER", replaces(second, "carol"), NULL);
	world_advance(world, 2 * SH_SECOND);
}

static void pickup_once(struct world *world)
{
	struct phone_call *call;
	char headers[256];

	phone_invite(a, "sip:bob@example.org", NULL, SDP_A);
	world_advance(world, SH_SECOND);
	if (sh_list_empty(&b->calls))
		return;
	call = SH_CONTAINER(b->calls.next, struct phone_call, link);
	snprintf(headers, sizeof(headers), "Replaces: %s;to-tag=%s;from-tag=%s", call->id, call->remote_tag, call->local_tag);
	phone_invite(c, "sip:bob@example.org", headers, SDP_C);
	world_advance(world, 2 * SH_SECOND);
}

static void a_lack_of_memory_in_an_attended_transfer_and_a_pickup(void **state)
{
	(void)state;
	world_sweep(NULL, TRANSFER_PLAN, stage, consult_once, everybody_leaves, 900);
	world_sweep(NULL, TRANSFER_PLAN, stage, pickup_once, everybody_leaves, 600);
}

static void a_lack_of_memory_between_workers(void **state)
{
	struct world_options o = {.workers = 4};

	(void)state;
	world_sweep(&o, TRANSFER_PLAN, stage, consult_once, everybody_leaves, 900);
}

static void a_lack_of_memory_in_a_transfer(void **state)
{
	(void)state;
	world_sweep(NULL, TRANSFER_PLAN "sip.on.subscribe(function(sub) sub:accept{serve = true} end)\n", stage, transfer_once, everybody_leaves, 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_fields_of_ref),
	    cmocka_unit_test(a_script_may_do_the_steps_itself),
	    cmocka_unit_test(a_script_transfers_and_keeps_whom_it_says),
	    cmocka_unit_test(a_transfer_that_fails_answers_nil_and_why),
	    cmocka_unit_test(mistakes_are_errors_that_name_the_argument),
	    cmocka_unit_test(replaces_in_an_invite_that_is_sent_on_is_mapped),
	    cmocka_unit_test(a_lack_of_memory_in_a_transfer),
	    cmocka_unit_test(a_lack_of_memory_in_an_attended_transfer_and_a_pickup),
	    cmocka_unit_test(a_lack_of_memory_between_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
