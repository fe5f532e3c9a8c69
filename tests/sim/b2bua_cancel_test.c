/* CANCEL in every state of a call, and its races with the answer (RFC 3261 9, 15). */
#include "b2bua_helpers.h"

#define HEARD "sip.on.hangup(function(call, why) sip.log.info('over by %s %d %s', why.by, why.code, why.q850_name or '-') end)\n"

/* CANCEL is answered, the INVITE too, and alice acknowledges that. */
static void cancelled(void)
{
	struct phone_msg *m;

	soon(alice, "200 CANCEL");
	m = soon(alice, "487 INVITE");
	phone_ack(m, NULL, NULL);
}

static void cancel_while_it_rings(void **state)
{
	struct phone_msg *cancel;
	struct talk t;

	(void)state;
	begin(PLAN_BOB HEARD);
	t = ring();
	phone_cancel(t.a, "Reason: Q.850;cause=16;text=\"Never mind\"");
	cancelled();
	cancel = soon(bob, "CANCEL");
	assert_string_equal(uri_of(cancel), "sip:bob@10.0.0.3");
	phone_assert_header(cancel, "Via", value(t.invite, "Via"));
	phone_assert_header(cancel, "Reason", "Q.850;cause=16;text=\"Never mind\"");
	assert_int_equal(cancel->m.cseq, t.invite->m.cseq);
	ok(cancel);
	phone_reply(t.invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	world_expect_log(w, "over by caller 487 Never mind");
	end();
}

static void cancel_before_any_answer_waits_for_one(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_cancel(t.a, NULL);
	cancelled();
	phone_expect_none(bob, "CANCEL", 100 * SH_MS); /* 9.1: not before a provisional answer */
	phone_reply(t.invite, 100, NULL, NULL, NULL);
	is_cancelled(t.invite);
	end();
}

static void cancel_of_a_callee_who_never_says_a_word(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_auto(bob, PHONE_ABSORB);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	soon(bob, "INVITE");
	phone_cancel(t.a, NULL);
	cancelled();
	world_advance(w, 40 * SH_SECOND);
	assert_true(world_idle(w));
	end();
}

static void a_callee_who_ignores_the_cancel_is_given_up(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_auto(bob, PHONE_ABSORB);
	t = ring();
	phone_cancel(t.a, NULL);
	cancelled();
	soon(bob, "CANCEL");
	world_advance(w, 70 * SH_SECOND);
	assert_true(world_idle(w));
	end();
}

static void cancel_crossing_the_answer_acks_and_hangs_up(void **state)
{
	struct phone_msg *bye;
	struct talk t;

	(void)state;
	begin(PLAN_BOB HEARD);
	t = ring();
	phone_cancel(t.a, NULL);
	cancelled();
	phone_reply(t.invite, 200, NULL, NULL, SDP_B); /* sent before the CANCEL was there */
	ok(soon(bob, "CANCEL"));
	t.ack = soon(bob, "ACK");
	assert_int_equal(t.ack->m.cseq, t.invite->m.cseq);
	bye = soon(bob, "BYE");
	assert_true(bye->m.cseq > t.invite->m.cseq);
	phone_assert_contains(bye, "To", t.invite->call->local_tag);
	ok(bye);
	world_expect_log(w, "over by caller 487");
	end();
}

static void an_answer_long_after_the_cancel_is_acked_and_hung_up(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_cancel(t.a, NULL);
	cancelled();
	ok(soon(bob, "CANCEL"));
	world_advance(w, 10 * SH_SECOND);
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	ok(soon(bob, "BYE"));
	end();
}

static void cancel_behind_our_200_changes_nothing(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200 INVITE");
	soon(bob, "ACK");
	phone_cancel(t.a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(t.answer, NULL, NULL);
	phone_expect_none(bob, "*", SH_SECOND);
	hang_up(t.a, bob);
	end();
}

static void cancel_of_nothing_is_a_481(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_reply(t.invite, 486, NULL, NULL, NULL);
	phone_ack(soon(alice, "486"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 40 * SH_SECOND);
	phone_cancel(t.a, NULL);
	soon(alice, "481 CANCEL");
	end();
}

static void cancel_of_the_second_group(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(PLAN("call:fork({{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}, {'sip:bob2@10.0.0.3'}}, {timeout = 20})\n"));
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	invite = soon(carol, "INVITE");
	phone_reply(invite, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_cancel(t.a, NULL);
	cancelled();
	is_cancelled(invite);
	end();
}

static void cancel_while_the_script_sleeps(void **state)
{
	struct phone_call *a;

	(void)state;
	begin(PLAN("local v <close> = setmetatable({}, {__close = function() sip.log.info('closed') end})\n"
		   "local ok, e = pcall(sip.sleep, 10)\nsip.log.info('cancel %s', tostring(sip.is_cancel(e)))\n"
		   "error(e)\n") HEARD);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	soon(alice, "100");
	phone_cancel(a, NULL);
	cancelled();
	world_expect_log(w, "cancel true");
	world_expect_log(w, "closed");
	world_expect_log(w, "over by caller 487");
	end();
}

/* RFC 3261 13.3.1: the Expires of an INVITE is the caller's own limit; the callee hears of it too. */
static void an_invite_that_expires_ends_with_487(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB HEARD);
	t = ring_at("Expires: 5", SDP_A, __FILE__, __LINE__);
	phone_assert_header(t.invite, "Expires", "5");
	phone_expect_none(alice, "*", 4900 * SH_MS);
	m = soon(alice, "487 INVITE");
	phone_ack(m, NULL, NULL);
	is_cancelled(t.invite);
	world_expect_log(w, "over by engine 487");
	end();
}

static void a_ringing_of_our_own_expires_too(void **state)
{
	(void)state;
	begin(PLAN("  call:ring(180)\n  sip.sleep(60)\n") HEARD);
	phone_invite(alice, "sip:bob@example.org", "Expires: 3", SDP_A);
	soon(alice, "180");
	phone_expect_none(alice, "*", 2900 * SH_MS);
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	world_expect_log(w, "over by engine 487");
	end();
}

static void an_answer_in_time_does_not_expire(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring_at("Expires: 5", SDP_A, __FILE__, __LINE__);
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200 INVITE");
	phone_ack(t.answer, NULL, NULL);
	soon(bob, "ACK");
	phone_expect_none(alice, "*", 10 * SH_SECOND);
	hang_up(t.a, bob);
	end();
}

static void cancel_after_our_own_ringing(void **state)
{
	struct phone_call *a;

	(void)state;
	begin(PLAN("call:ring(180)\nsip.sleep(10)\n"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	soon(alice, "180");
	phone_cancel(a, NULL);
	cancelled();
	end();
}

static void cancel_of_parallel_branches(void **state)
{
	struct phone_msg *b, *c;
	struct phone_call *a;

	(void)state;
	begin(PLAN("call:fork{'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}\n"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	phone_reply(c, 180, NULL, NULL, NULL);
	soon(alice, "180");
	soon(alice, "180");
	phone_cancel(a, NULL);
	cancelled();
	ok(soon(bob, "CANCEL"));
	ok(soon(carol, "CANCEL"));
	phone_reply(b, 487, NULL, NULL, NULL);
	phone_reply(c, 200, NULL, NULL, SDP_C); /* too late */
	soon(bob, "ACK");
	soon(carol, "ACK");
	ok(soon(carol, "BYE"));
	end();
}

static void a_bye_of_the_caller_in_the_early_dialog_ends_it(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_bye(t.a);
	soon(alice, "200 BYE");
	m = soon(alice, "487 INVITE");
	assert_string_equal(reason_of(m), "Request Terminated");
	phone_ack(m, NULL, NULL);
	is_cancelled(t.invite);
	end();
}

static void a_bye_of_the_callee_in_the_early_dialog_is_refused(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_bye(t.b);
	soon(bob, "481 BYE");
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	phone_ack(t.answer, NULL, NULL);
	soon(bob, "ACK");
	hang_up(t.a, bob);
	end();
}

static void crossing_byes_both_get_their_answers(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB HEARD);
	t = talk();
	phone_bye(t.a);
	phone_bye(t.b);
	soon(alice, "200 BYE");
	soon(bob, "200 BYE");
	world_expect_log(w, "over by");
	assert_false(world_has_log(w, "over by")); /* once per call */
	world_advance(w, 40 * SH_SECOND);
	assert_true(world_idle(w));
	world_destroy(w);
}

static void crossing_byes_with_ours_on_its_way(void **state)
{
	struct phone_msg *b;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_bye(t.a);
	soon(alice, "200 BYE");
	b = soon(bob, "BYE");
	phone_bye(t.b); /* he had pressed his button, too */
	soon(bob, "200 BYE");
	phone_reply(b, 481, NULL, NULL, NULL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cancel_while_it_rings),
	    cmocka_unit_test(cancel_before_any_answer_waits_for_one),
	    cmocka_unit_test(cancel_of_a_callee_who_never_says_a_word),
	    cmocka_unit_test(a_callee_who_ignores_the_cancel_is_given_up),
	    cmocka_unit_test(cancel_crossing_the_answer_acks_and_hangs_up),
	    cmocka_unit_test(an_answer_long_after_the_cancel_is_acked_and_hung_up),
	    cmocka_unit_test(cancel_behind_our_200_changes_nothing),
	    cmocka_unit_test(cancel_of_nothing_is_a_481),
	    cmocka_unit_test(cancel_of_the_second_group),
	    cmocka_unit_test(cancel_while_the_script_sleeps),
	    cmocka_unit_test(an_invite_that_expires_ends_with_487),
	    cmocka_unit_test(a_ringing_of_our_own_expires_too),
	    cmocka_unit_test(an_answer_in_time_does_not_expire),
	    cmocka_unit_test(cancel_after_our_own_ringing),
	    cmocka_unit_test(cancel_of_parallel_branches),
	    cmocka_unit_test(a_bye_of_the_caller_in_the_early_dialog_ends_it),
	    cmocka_unit_test(a_bye_of_the_callee_in_the_early_dialog_is_refused),
	    cmocka_unit_test(crossing_byes_both_get_their_answers),
	    cmocka_unit_test(crossing_byes_with_ours_on_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
