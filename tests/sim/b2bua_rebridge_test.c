/* A party of a call that is up gets another partner (module/b2bua/rebridge.c): RFC 3725 flow I. */
#include "b2bua_helpers.h"
#include "b2bua/call.h"

static struct talk t;
static struct sh_call *call;
static struct sh_leg *fresh;
static unsigned outcome; /* of the rebridge; 0: none yet */

static void take_call(void *ctx, struct sh_call *c)
{
	(void)ctx;
	call = c;
}

static void on_rebridged(void *ctx, unsigned code, const struct sh_msg *m)
{
	(void)ctx;
	(void)m;
	assert_int_equal(outcome, 0);
	outcome = code;
}

static void on_forked(void *ctx, struct sh_leg *leg, const struct sh_result *r)
{
	(void)ctx;
	(void)r;
	fresh = leg;
}

/* alice and bob talk; carol has answered an INVITE without an offer, and waits. */
static struct phone_call *stage(void)
{
	static struct sh_target target;
	struct sh_fork_plan plan = {0};
	struct phone_msg *m;

	begin(PLAN_BOB);
	call = NULL;
	fresh = NULL;
	outcome = 0;
	t = talk();
	sh_ua_each_call(w->ua[0], take_call, NULL);
	target = (struct sh_target){.uri = SH_LIT("sip:carol@10.0.0.4"), .proto = -1, .endpoint = -1};
	sh_arena_init(&plan.arena, 256);
	plan.targets = &target;
	plan.count = 1;
	assert_int_equal(sh_call_fork(call, &plan, on_forked, NULL), 0);
	m = soon(carol, "INVITE");
	phone_assert_body(m, "");
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_reply(m, 200, NULL, NULL, SDP_C);
	world_advance(w, 10 * SH_MS);
	assert_non_null(fresh);
	phone_expect_none(carol, "ACK", 100 * SH_MS);
	return m->call;
}

static void rebridge(struct sh_leg *keep)
{
	assert_int_equal(sh_call_rebridge(call, keep, fresh, on_rebridged, NULL), 0);
	assert_int_equal(sh_call_rebridge(call, keep, fresh, on_rebridged, NULL), -EBUSY);
}

static void kept(struct phone *p, const char *sdp, struct sh_leg *old, struct phone *left)
{
	struct phone_msg *m = soon(p, "INVITE");

	phone_assert_body(m, SDP_C);
	phone_reply(m, 200, NULL, NULL, sdp);
	phone_assert_body(soon(carol, "ACK"), sdp);
	soon(p, "ACK");
	world_advance(w, 10 * SH_MS);
	assert_int_equal(outcome, 200);
	sh_leg_hangup(old, (struct sh_slice){0});
	ok(soon(left, "BYE"));
}

static void the_caller_is_kept_and_talks_to_the_fresh_leg(void **state)
{
	struct phone_call *c = stage();

	(void)state;
	rebridge(sh_call_a(call));
	kept(alice, SDP_A, sh_call_b(call), bob);
	phone_reinvite(c, NULL, SDP_C); /* what comes later passes between the two */
	phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	phone_ack(soon(carol, "200"), NULL, NULL);
	hang_up(t.a, carol);
	end();
}

static void the_callee_is_kept_and_talks_to_the_fresh_leg(void **state)
{
	struct phone_call *c = stage();

	(void)state;
	rebridge(sh_call_b(call));
	kept(bob, SDP_B, sh_call_a(call), alice);
	hang_up(c, bob);
	end();
}

static void who_refuses_keeps_the_old_session_and_the_fresh_leg_stays_loose(void **state)
{
	(void)state;
	stage();
	rebridge(sh_call_a(call));
	phone_reply(soon(alice, "INVITE"), 488, NULL, NULL, NULL);
	soon(alice, "ACK");
	phone_assert_body(soon(carol, "ACK"), "");
	assert_int_equal(outcome, 488);
	sh_leg_hangup(fresh, (struct sh_slice){0});
	ok(soon(carol, "BYE"));
	phone_in_call(t.b, "INFO", NULL, NULL);
	ok(soon(alice, "INFO"));
	soon(bob, "200 INFO");
	hang_up(t.b, alice);
	end();
}

static void glare_is_tried_again(void **state)
{
	struct phone_msg *m;

	(void)state;
	stage();
	phone_auto(carol, PHONE_ABSORB);
	rebridge(sh_call_a(call));
	m = soon(alice, "INVITE");
	phone_reply(m, 491, NULL, NULL, NULL);
	soon(alice, "ACK");
	m = phone_expect(alice, "INVITE", 4 * SH_SECOND);
	phone_reply(m, 500, NULL, "Retry-After: 1 (busy)", NULL);
	soon(alice, "ACK");
	phone_expect_none(alice, "INVITE", SH_SECOND);
	/* alice's own re-INVITE meanwhile goes through, and ours waits for its end */
	phone_reinvite(t.a, NULL, SDP_HOLD);
	m = soon(bob, "INVITE");
	phone_expect_none(alice, "INVITE", 100 * SH_MS);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200"), NULL, NULL);
	/* and one that crosses ours is refused */
	m = soon(alice, "INVITE");
	phone_ack((phone_reinvite(t.a, NULL, SDP_A), soon(alice, "491")), NULL, NULL);
	m->consumed = false;
	kept(alice, SDP_A, sh_call_b(call), bob);
	hang_up(t.a, carol);
	end();
}

static void a_party_that_hangs_up_meanwhile(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	/* the old partner: the two go on */
	stage();
	rebridge(sh_call_a(call));
	m = soon(alice, "INVITE");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	phone_reply(m, 200, NULL, NULL, SDP_A);
	phone_assert_body(soon(carol, "ACK"), SDP_A);
	soon(alice, "ACK");
	assert_int_equal(outcome, 200);
	assert_ptr_equal(sh_call_b(call), fresh);
	hang_up(t.a, carol);
	end();
	/* the kept one: all is over */
	stage();
	rebridge(sh_call_a(call));
	m = soon(alice, "INVITE");
	phone_bye(t.a);
	soon(alice, "200 BYE");
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(alice, "ACK");
	soon(carol, "ACK");
	ok(soon(carol, "BYE"));
	ok(soon(bob, "BYE"));
	end();
	/* the fresh one: all is as before */
	c = stage();
	rebridge(sh_call_a(call));
	m = soon(alice, "INVITE");
	phone_reply(m, 100, NULL, NULL, NULL);
	phone_bye(c);
	soon(carol, "200 BYE");
	assert_int_equal(outcome, 487);
	is_cancelled(m);
	soon(carol, "ACK");
	hang_up(t.a, bob);
	end();
}

static void a_kept_party_that_is_silent_ends_the_call(void **state)
{
	(void)state;
	stage();
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
	rebridge(sh_call_a(call));
	soon(alice, "INVITE");
	ok(phone_expect(alice, "BYE", 40 * SH_SECOND));
	assert_int_equal(outcome, 408);
	ok(soon(bob, "BYE"));
	soon(carol, "ACK");
	ok(soon(carol, "BYE"));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_caller_is_kept_and_talks_to_the_fresh_leg),
	    cmocka_unit_test(the_callee_is_kept_and_talks_to_the_fresh_leg),
	    cmocka_unit_test(who_refuses_keeps_the_old_session_and_the_fresh_leg_stays_loose),
	    cmocka_unit_test(glare_is_tried_again),
	    cmocka_unit_test(a_party_that_hangs_up_meanwhile),
	    cmocka_unit_test(a_kept_party_that_is_silent_ends_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
