/* What a script may say about a branch or a request, and what the engine makes of it. */
#include "b2bua_helpers.h"

static void hang_up_all(struct talk *t)
{
	phone_reply(t->invite, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	hang_up(t->a, bob);
}

static void headers_of_a_branch(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN("call:dial({{uri = 'sip:bob@10.0.0.3', headers = {['X-One'] = 'one', ['X-Two'] = {'a', 'b'}, Subject = false,\n"
		   "  Priority = 'urgent'}, copy = {'X-Account', 'X-Acme-*', 'k'}}})\n"));
	t.a = phone_invite(alice, "sip:bob@example.org",
			   "Subject: lunch\nPriority: normal\nX-Account: 7\nx-acme-a: 1\nX-Acme-B: 2\nX-Other: 3\nUser-to-User: 0123", SDP_A);
	t.invite = soon(bob, "INVITE");
	assert_non_null(strstr(t.invite->text, "X-One: one\r\n"));
	assert_non_null(strstr(t.invite->text, "X-Two: a\r\nX-Two: b\r\n"));
	assert_non_null(strstr(t.invite->text, "X-Account: 7\r\n"));
	assert_non_null(strstr(t.invite->text, "x-acme-a: 1\r\n"));
	assert_non_null(strstr(t.invite->text, "X-Acme-B: 2\r\n"));
	assert_null(strstr(t.invite->text, "X-Other"));
	phone_assert_header(t.invite, "Subject", NULL);
	phone_assert_header(t.invite, "Priority", "urgent");
	assert_null(strstr(t.invite->text, "normal"));
	phone_assert_header(t.invite, "User-to-User", "0123");
	hang_up_all(&t);
	end();
}

static void identities_of_a_branch(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN("call:dial({'sip:bob@10.0.0.3'}, {from = 'sip:desk@example.org', display = 'The Desk', to = 'sip:b@x.org',\n"
		   "  pai = '<sip:pai@example.org>', privacy = 'id', diversion = '<sip:d@example.org>', headers = {Subject = false}})\n"));
	t.a = phone_invite(alice, "sip:bob@example.org", "Privacy: none\nSubject: s", SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_assert_contains(t.invite, "From", "\"The Desk\" <sip:desk@example.org>;tag=");
	phone_assert_header(t.invite, "To", "<sip:b@x.org>");
	phone_assert_header(t.invite, "P-Asserted-Identity", "<sip:pai@example.org>");
	phone_assert_header(t.invite, "Privacy", "id");
	assert_null(strstr(t.invite->text, "none"));
	phone_assert_header(t.invite, "Diversion", "<sip:d@example.org>");
	hang_up_all(&t);
	end();
}

static void another_body_for_a_branch(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN("local leg = call:fork({'sip:bob@10.0.0.3'}, {sdp = 'v=0\\r\\n'})\n"
		   "sip.log.info('%s %s', leg.local_sdp, leg.remote_sdp) call:bridge(leg)\n"));
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_assert_body(t.invite, "v=0\r\n");
	phone_assert_header(t.invite, "Content-Type", "application/sdp");
	hang_up_all(&t);
	end();
}

static void a_route_for_a_branch(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN("local ok, res = call:dial({{uri = 'sip:bob@far.example.net', route = '<sip:10.0.0.4;lr>'}})\ncall:reject(res)\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(carol, "INVITE");
	assert_string_equal(uri_of(invite), "sip:bob@far.example.net");
	phone_assert_header(invite, "Route", "<sip:10.0.0.4;lr>");
	phone_reply(invite, 404, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "404"), NULL, NULL);
	end();
}

static void name(const char *text, const char *const *ips, unsigned n)
{
	struct sh_addr addrs[4];

	for (unsigned i = 0; i < n; i++)
		assert_int_equal(sh_addr_parse(&addrs[i], sh_slice_cstr(ips[i]), 0), 0);
	assert_int_equal(sh_sim_add_name(w->sim, text, addrs, n), 0);
}

static void names_are_looked_up_and_their_addresses_tried_in_turn(void **state)
{
	static const char *const ips[] = {"10.0.0.99", CAROL};
	struct phone_msg *invite;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@pbx.example.net'})\ncall:reject(res)\n"));
	name("pbx.example.net", ips, 2);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = phone_expect(carol, "INVITE", 6 * SH_SECOND); /* nobody is at the first, not even to say so */
	soon(alice, "100");
	assert_string_equal(uri_of(invite), "sip:bob@pbx.example.net");
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

static void targets_that_cannot_be(void **state)
{
	(void)state;
	begin(PLAN("local ok, res = call:fork({'tel:+123'})\nsip.log.info('tel %d', res.code)\n"
		   "ok, res = call:fork({'sip:bob@nowhere.example.net'})\nsip.log.info('name %d %s', res.code, res.cause)\n"
		   "ok, res = call:fork({})\nsip.log.info('empty %d %s', res.code, res.cause)\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_ack(soon(alice, "480"), NULL, NULL);
	world_expect_log(w, "tel 416");
	world_expect_log(w, "name 503 unreachable");
	world_expect_log(w, "empty 480 empty");
	world_forget_log(w);
	end();
}

static void a_caller_may_leave_while_a_name_is_looked_up(void **state)
{
	static const char *const ips[] = {BOB};
	struct phone_call *a;

	(void)state;
	begin(PLAN("call:dial({'sip:bob@pbx.example.net'})\n"));
	name("pbx.example.net", ips, 1);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_cancel(a, NULL); /* right behind it */
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	world_advance(w, SH_SECOND);
	world_settle(w, 60 * SH_SECOND);
	world_destroy(w);
}

#define REGISTRAR                                                                                                      \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\n"                                                  \
	"sip.on.register(function(req) req:register{} end)\n"                                                          \
	"sip.on.invite(function(call)\n  local ok, res = call:dial(sip.lookup(call.uri))\n"                            \
	"  if not ok then sip.log.info('%d %s', res.code, res.cause) call:reject(res) end\nend)\n"

static void a_phone_is_reached_by_the_connection_it_registered_on(void **state)
{
	struct talk t;

	(void)state;
	begin(REGISTRAR);
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	phone_request(bob, "REGISTER", "sip:example.org", "Contact: <sip:bob@192.168.1.1;transport=tcp>", NULL);
	soon(bob, "200");
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	assert_int_equal(t.invite->proto, SH_PROTO_TCP);
	assert_string_equal(uri_of(t.invite), "sip:bob@192.168.1.1;transport=tcp");
	assert_int_equal(phone_connections(bob), 1);
	hang_up_all(&t);
	phone_hang_up_connections(bob);
	world_advance(w, SH_SECOND);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A); /* the binding went with the connection */
	phone_ack(soon(alice, "480"), NULL, NULL);
	end();
}

static void an_entry_has_a_time_of_its_own(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin(PLAN("local ok, res = call:dial({{uri = 'sip:bob@10.0.0.3', timeout = 5}, 'sip:carol@10.0.0.4'}, {timeout = 20})\n"
		   "call:reject(res)\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	phone_reply(c, 180, NULL, NULL, NULL);
	soon(alice, "180");
	soon(alice, "180");
	phone_expect_none(bob, "CANCEL", 4900 * SH_MS);
	is_cancelled(b);
	phone_reply(c, 480, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "4xx INVITE"), NULL, NULL);
	end();
}

static void early_media_of_the_first_only(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {early = 'first'})\ncall:reject(res)\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 183, NULL, NULL, SDP_B);
	phone_assert_body(soon(alice, "183"), SDP_B);
	phone_reply(c, 183, NULL, NULL, SDP_C);
	phone_assert_body(soon(alice, "180"), "");
	phone_reply(b, 404, NULL, NULL, NULL);
	phone_reply(c, 404, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "ACK");
	phone_ack(soon(alice, "404"), NULL, NULL);
	end();
}

static void the_call_may_go_on_without_the_callee(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN("local leg = call:fork({'sip:bob@10.0.0.3'})\ncall:bridge(leg, {on_peer_hangup = 'continue'})\n"));
	t = talk();
	phone_bye(t.b);
	soon(bob, "200 BYE");
	phone_expect_none(alice, "*", SH_SECOND);
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(alice, "480 INFO");
	phone_reinvite(t.a, NULL, SDP_HOLD); /* a session without a partner: streams that are inactive */
	m = soon(alice, "200 INVITE");
	phone_assert(alice, strstr(phone_body(m), "a=inactive"));
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_bye(t.a);
	soon(alice, "200 BYE");
	end();
}

static void the_longest_duration_ends_a_call(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN("local leg = call:fork({'sip:bob@10.0.0.3'})\ncall:bridge(leg, {max_duration = 60, headers = {['X-Y'] = 'z'}})\n"));
	t = talk();
	assert_non_null(strstr(t.answer->text, "X-Y: z\r\n"));
	phone_expect_none(alice, "*", 59 * SH_SECOND);
	ok(phone_expect(alice, "BYE", 2 * SH_SECOND));
	ok(soon(bob, "BYE"));
	(void)t;
	end();
}

static void a_hook_answers_a_reinvite_by_itself(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.reinvite(function(req) req:reply(200, 'Done', {body = 'v=0\\r\\n', content_type = 'application/sdp'}) end)\n"
		       "sip.on.answer(function(call) sip.log.info('answered') end)\n");
	t = talk();
	world_expect_log(w, "answered");
	phone_reinvite(t.a, NULL, SDP_HOLD);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, "v=0\r\n");
	phone_assert_header(m, "Contact", "<sip:10.0.0.1:5060>");
	phone_assert_header(m, "Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE, NOTIFY, REFER, MESSAGE");
	soon(alice, "200 INVITE"); /* until the ACK */
	phone_ack(m, NULL, NULL);
	phone_expect_none(alice, "*", 10 * SH_SECOND);
	assert_false(world_has_log(w, "answered")); /* once per call */
	hang_up(t.a, bob);
	end();
}

static void a_reinvite_is_cancelled_while_its_hook_waits(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.reinvite(function(req) sip.sleep(5) req:pass() end)\n");
	t = talk();
	phone_reinvite(t.a, NULL, SDP_HOLD);
	soon(alice, "100");
	phone_cancel(t.a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	phone_expect_none(bob, "*", 10 * SH_SECOND);
	world_forget_log(w);
	hang_up(t.a, bob);
	end();
}

static void a_call_ends_while_a_hook_of_it_waits(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.info(function(req) sip.sleep(5) req:pass() end)\n"
		       "sip.on.reinvite(function(req) sip.sleep(5) req:pass() end)\n");
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	phone_reinvite(t.a, NULL, SDP_HOLD);
	soon(alice, "100 INVITE");
	hang_up(t.b, alice);
	soon(alice, "487 INFO"); /* 15.1.2 */
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	world_advance(w, 20 * SH_SECOND);
	world_forget_log(w);
	end();
}

static void hooks_answer_requests_outside_of_dialogs(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\n"
	      "sip.on.options(function(req) if req.uri.user then req:reply(200, {headers = {['X-Z'] = '1'}}) else req:pass() end end)\n"
	      "sip.on.message(function(req)\n"
	      "  if req.body == 'slow' then sip.sleep(40) end\n"
	      "  if req.body == 'pass' then req:pass() else req:reply(202, 'Taken') end\nend)\n");
	phone_request(alice, "OPTIONS", "sip:bob@example.org", NULL, NULL);
	m = soon(alice, "200");
	assert_non_null(strstr(m->text, "X-Z: 1\r\n"));
	assert_string_not_equal(value(m, "Allow"), "");
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	phone_assert_header(soon(alice, "200"), "Accept", "application/sdp");
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "x");
	assert_string_equal(reason_of(soon(alice, "202")), "Taken");
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "pass");
	soon(alice, "405");
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "slow");
	phone_expect(alice, "100", 5 * SH_SECOND);
	phone_expect_none(alice, "*", 60 * SH_SECOND); /* the requester gave up long ago */
	world_forget_log(w);
	end();
}

static void a_relay_times_out_and_fails_over(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\nsip.on.message(function(req)\n"
	      "  local res = req:relay({{'sip:bob@10.0.0.3'}, {'sip:carol@pbx.example.net'}, {'sip:x@10.0.0.3:5099'}}, {timeout = 3})\n"
	      "  sip.log.info('relay %d %s', res.code, res.cause)\n"
	      "  for _, b in ipairs(res.branches) do sip.log.info('branch %s %d', b.uri, b.code) end\nend)\n");
	name("pbx.example.net", (const char *const[]){CAROL}, 1);
	phone_auto(bob, PHONE_ABSORB);
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "x");
	soon(bob, "MESSAGE");
	m = phone_expect(carol, "MESSAGE", 4 * SH_SECOND);
	phone_reply(m, 401, NULL, "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"", NULL);
	m = soon(alice, "500"); /* nobody asks alice for carol's password */
	phone_assert_header(m, "WWW-Authenticate", NULL);
	world_expect_log(w, "relay 401");
	world_expect_log(w, "branch sip:bob@10.0.0.3 408");
	world_expect_log(w, "branch sip:x@10.0.0.3:5099 503");
	end();
}

static void the_engine_stops_with_calls_up(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.info(function(req) req:pass() end)\nsip.on.message(function(req) sip.sleep(100) end)\n");
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(bob, "INFO");
	phone_in_call(t.a, "UPDATE", NULL, NULL);
	soon(bob, "UPDATE");
	phone_in_call(t.a, "MESSAGE", NULL, NULL);
	phone_reinvite(t.b, NULL, SDP_HELD);
	soon(alice, "INVITE");
	phone_invite(carol, "sip:bob@example.org", NULL, SDP_C); /* rings */
	soon(bob, "INVITE");
	world_abandon(w);
}

static void the_engine_stops_with_a_hook_in_an_old_generation(void **state)
{
	(void)state;
	begin(PLAN("sip.sleep(100)\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	soon(alice, "100");
	world_reload(w, PLAN_BOB);
	assert_int_equal(sh_script_alive(w->script), 2);
	world_abandon(w);
}

static void a_listener_says_by_which_address_a_call_leaves(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN("call:dial({'sip:bob@10.0.0.3'}, {listener = 'tcp:10.0.0.1:5060'})\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	phone_assert(bob, m->proto == SH_PROTO_TCP);
	phone_assert_contains(m, "Contact", "transport=tcp");
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(headers_of_a_branch),
	    cmocka_unit_test(identities_of_a_branch),
	    cmocka_unit_test(another_body_for_a_branch),
	    cmocka_unit_test(a_route_for_a_branch),
	    cmocka_unit_test(names_are_looked_up_and_their_addresses_tried_in_turn),
	    cmocka_unit_test(targets_that_cannot_be),
	    cmocka_unit_test(a_caller_may_leave_while_a_name_is_looked_up),
	    cmocka_unit_test(a_phone_is_reached_by_the_connection_it_registered_on),
	    cmocka_unit_test(an_entry_has_a_time_of_its_own),
	    cmocka_unit_test(early_media_of_the_first_only),
	    cmocka_unit_test(the_call_may_go_on_without_the_callee),
	    cmocka_unit_test(the_longest_duration_ends_a_call),
	    cmocka_unit_test(a_hook_answers_a_reinvite_by_itself),
	    cmocka_unit_test(a_reinvite_is_cancelled_while_its_hook_waits),
	    cmocka_unit_test(a_call_ends_while_a_hook_of_it_waits),
	    cmocka_unit_test(hooks_answer_requests_outside_of_dialogs),
	    cmocka_unit_test(a_relay_times_out_and_fails_over),
	    cmocka_unit_test(the_engine_stops_with_calls_up),
	    cmocka_unit_test(the_engine_stops_with_a_hook_in_an_old_generation),
		cmocka_unit_test(a_listener_says_by_which_address_a_call_leaves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
