/* The allocation sweep: whole calls with the 1st, 2nd, 3rd ... allocation failing and all behind it. Whatever happens,
 * nothing crashes, nothing is left when it is over, and it is over. */
#include "b2bua_habits.h"

#include "core/alloc.h"

static struct habits ha, hb, hc;
static struct phone_call *a;

static void stage(struct world *world)
{
	w = world;
	alice = world_phone(w, "alice", ALICE);
	bob = world_phone(w, "bob", BOB);
	carol = world_phone(w, "carol", CAROL);
	ha = (struct habits){.sdp = SDP_A};
	hb = (struct habits){.ring = true, .answer = true, .sdp = SDP_B};
	hc = (struct habits){.ring = true, .sdp = SDP_C};
	take_up(alice, &ha);
	take_up(bob, &hb);
	take_up(carol, &hc);
}

static void a_call(struct world *world)
{
	(void)world;
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	if (a->confirmed && !has_bye(a)) {
		phone_in_call(a, "INFO", NULL, NULL);
		phone_reinvite(a, NULL, SDP_HOLD);
		world_advance(w, SH_SECOND);
	}
	if (first_call(bob) && first_call(bob)->confirmed && !has_bye(first_call(bob)))
		phone_bye(first_call(bob));
	world_advance(w, SH_SECOND);
	if (a->confirmed && !has_bye(a))
		phone_bye(a);
	world_advance(w, SH_SECOND);
}

static void a_late_offer(struct world *world)
{
	(void)world;
	a = phone_invite(alice, "sip:bob@example.org", NULL, NULL);
	world_advance(w, SH_SECOND);
	if (a->confirmed && !has_bye(a))
		phone_reinvite(a, NULL, NULL);
	world_advance(w, SH_SECOND);
	if (a->confirmed && !has_bye(a))
		phone_bye(a);
	world_advance(w, SH_SECOND);
}

static void a_cancelled_call(struct world *world)
{
	(void)world;
	hb.answer = false;
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	if (!final_answer(a->invite))
		phone_cancel(a, NULL);
	world_advance(w, SH_SECOND);
}

static void a_refused_call(struct world *world)
{
	struct phone_msg *m;

	(void)world;
	hb.answer = false;
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	m = open_invite(bob);
	if (m)
		phone_reply(m, 302, NULL, "Contact: <sip:carol@10.0.0.4>", NULL);
	world_advance(w, SH_SECOND);
	m = open_invite(carol);
	if (m)
		phone_reply(m, 486, NULL, NULL, "busy, really");
	world_advance(w, SH_SECOND);
}

static void a_relayed_message(struct world *world)
{
	(void)world;
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "hi");
	phone_request(alice, "OPTIONS", "sip:bob@example.org", NULL, NULL);
	world_advance(w, SH_SECOND);
}

static const char plan[] = PLAN("call:ring(182, {headers = {['X-A'] = 'b'}})\n"
				"local leg, res = call:fork({{'sip:bob@10.0.0.3', 'sip:bob2@10.0.0.3:5099'}, {'sip:carol@10.0.0.4'}}, {follow_redirects = 1})\n"
				"if leg then return call:bridge(leg) end\n")
    "sip.on.reinvite(function(req) req:pass() end)\n"
    "sip.on.info(function(req) req:pass() end)\n"
    "sip.on.message(function(req) req:relay{'sip:bob@10.0.0.3'} end)\n"
    "sip.on.hangup(function(call, why) call.data = {code = why.code} end)\n";

/* What came up all the same, perhaps when memory was back. */
static void leave(struct world *world)
{
	(void)world;
	world_advance(w, 40 * SH_SECOND);
	caller_leaves();
}

static void sweep(void (*act)(struct world *))
{
	world_sweep(NULL, plan, stage, act, leave, 4000);
}

static void calls(void **state)
{
	(void)state;
	sweep(a_call);
}

static void late_offers(void **state)
{
	(void)state;
	sweep(a_late_offer);
}

static void cancelled_calls(void **state)
{
	(void)state;
	sweep(a_cancelled_call);
}

static void refused_calls(void **state)
{
	(void)state;
	sweep(a_refused_call);
}

static void relayed_messages(void **state)
{
	(void)state;
	sweep(a_relayed_message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(calls),
	    cmocka_unit_test(late_offers),
	    cmocka_unit_test(cancelled_calls),
	    cmocka_unit_test(refused_calls),
	    cmocka_unit_test(relayed_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
