/* Re-INVITEs through an established call (RFC 3261 14). */
#include "b2bua_helpers.h"

/* One side's re-INVITE, as the other sees it. */
static struct phone_msg *reinvite(struct phone_call *from, struct phone *to, const char *sdp)
{
	phone_reinvite(from, NULL, sdp);
	return soon(to, "INVITE");
}

static void passed(struct phone_call *from, struct phone *other, struct phone_call *to, const char *offer, const char *answer)
{
	struct phone_msg *m = reinvite(from, other, offer), *got;

	assert_ptr_equal(m->call, to);
	phone_assert_body(m, offer);
	phone_assert_contains(m, "Contact", "<sip:10.0.0.1:5060>");
	phone_assert_header(m, "Max-Forwards", "69");
	phone_assert_contains(m, "Allow", "INVITE, ACK");
	phone_reply(m, 200, NULL, NULL, answer);
	got = soon(from->phone, "200 INVITE");
	phone_assert_body(got, answer);
	phone_assert_contains(got, "Contact", "<sip:10.0.0.1:5060>");
	assert_int_equal(soon(other, "ACK")->m.cseq, m->m.cseq);
	phone_ack(got, NULL, NULL);
	world_advance(w, 10 * SH_MS);
}

static void a_reinvite_passes_from_either_side_with_its_answer(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	passed(t.a, bob, t.b, SDP_HOLD, SDP_HELD);
	passed(t.b, alice, t.a, SDP_B, SDP_A);
	passed(t.b, alice, t.a, SDP_HELD, SDP_HOLD);
	passed(t.a, bob, t.b, SDP_A, SDP_B);
	phone_expect_none(alice, "*", 40 * SH_SECOND);
	hang_up(t.b, alice);
	end();
}

static void provisional_answers_to_a_reinvite_pass(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 100, NULL, NULL, NULL);
	phone_reply(m, 180, NULL, NULL, NULL);
	soon(alice, "180 INVITE");
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	hang_up(t.a, bob);
	end();
}

static void an_offerless_reinvite_gets_its_answer_in_the_ack(void **state)
{
	struct phone_msg *m, *got;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.b, alice, NULL);
	phone_assert_body(m, "");
	phone_reply(m, 200, NULL, NULL, SDP_A);
	got = soon(bob, "200 INVITE");
	phone_assert_body(got, SDP_A);
	phone_expect_none(alice, "ACK", 100 * SH_MS);
	phone_ack(got, NULL, SDP_B);
	phone_assert_body(soon(alice, "ACK"), SDP_B);
	hang_up(t.a, bob);
	end();
}

static void a_late_offer_whose_answer_never_comes_ends_the_call(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	t = talk();
	m = reinvite(t.a, bob, NULL);
	phone_reply(m, 200, NULL, NULL, SDP_B);
	soon(alice, "200 INVITE");
	phone_expect(bob, "ACK", 40 * SH_SECOND);
	ok(soon(bob, "BYE"));
	ok(soon(alice, "BYE"));
	end();
}

static void the_2xx_of_a_reinvite_is_repeated_and_so_is_its_ack(void **state)
{
	struct phone_msg *m, *got, *ack;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	ack = soon(bob, "ACK");
	got = soon(alice, "200 INVITE");
	phone_assert_body(phone_expect(alice, "200 INVITE", SH_SECOND), SDP_HELD);
	phone_ack(got, NULL, NULL);
	phone_expect_none(alice, "*", 5 * SH_SECOND);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	assert_int_equal(soon(bob, "ACK")->m.cseq, ack->m.cseq);
	hang_up(t.a, bob);
	end();
}

static void without_ack_to_a_reinvite_both_are_hung_up(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_auto(alice, PHONE_ABSORB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	soon(bob, "ACK");
	soon(alice, "200 INVITE");
	ok(phone_expect(alice, "BYE", 40 * SH_SECOND));
	ok(soon(bob, "BYE"));
	end();
}

static void glare_is_491(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_reinvite(t.a, NULL, SDP_HOLD);
	phone_reinvite(t.b, NULL, SDP_HELD);
	m = soon(bob, "INVITE"); /* alice was first at our place */
	phone_ack(soon(bob, "491 INVITE"), NULL, NULL);
	phone_reply(m, 491, NULL, NULL, NULL); /* and bob says the same, as he must */
	soon(bob, "ACK");
	phone_ack(soon(alice, "491 INVITE"), NULL, NULL);
	passed(t.a, bob, t.b, SDP_HOLD, SDP_HELD);
	hang_up(t.a, bob);
	end();
}

static void a_second_reinvite_before_the_first_is_answered_is_500(void **state)
{
	struct phone_msg *m, *refused;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reinvite(t.a, NULL, SDP_A);
	refused = soon(alice, "500 INVITE");
	assert_string_not_equal(value(refused, "Retry-After"), "");
	phone_ack(refused, NULL, NULL);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	hang_up(t.a, bob);
	end();
}

static void a_refused_reinvite_changes_nothing(void **state)
{
	struct phone_msg *m, *refused;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 488, "No hold", "Warning: 304 b \"no\"", NULL);
	soon(bob, "ACK");
	refused = soon(alice, "488 INVITE");
	assert_string_equal(reason_of(refused), "No hold");
	phone_assert_header(refused, "Warning", "304 b \"no\"");
	phone_ack(refused, NULL, NULL);
	passed(t.b, alice, t.a, SDP_B, SDP_A);
	hang_up(t.a, bob);
	end();
}

static void a_481_to_a_reinvite_ends_the_call(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 481, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "481 INVITE"), NULL, NULL);
	ok(soon(alice, "BYE"));
	phone_reply(soon(bob, "BYE"), 481, NULL, NULL, NULL);
	end();
}

static void a_reinvite_that_nobody_answers_ends_the_call(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	t = talk();
	phone_reinvite(t.a, NULL, SDP_HOLD);
	soon(bob, "INVITE");
	soon(alice, "100");
	phone_ack(phone_expect(alice, "408 INVITE", 40 * SH_SECOND), NULL, NULL);
	ok(soon(alice, "BYE"));
	ok(soon(bob, "BYE"));
	end();
}

static void a_reinvite_can_be_cancelled(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 100, NULL, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_cancel(t.a, NULL);
	soon(alice, "200 CANCEL");
	is_cancelled(m);
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	passed(t.b, alice, t.a, SDP_B, SDP_A); /* the call is as it was */
	hang_up(t.a, bob);
	end();
}

static void a_cancel_that_crosses_the_2xx_of_a_reinvite_is_too_late(void **state)
{
	struct phone_msg *m, *got;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 100, NULL, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_cancel(t.a, NULL);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	soon(alice, "200 CANCEL");
	got = soon(alice, "200 INVITE"); /* both have the new session, or both the old one */
	phone_assert_body(got, SDP_HELD);
	soon(bob, "ACK");
	phone_ack(got, NULL, NULL);
	ok(soon(bob, "CANCEL"));
	hang_up(t.a, bob);
	end();
}

static void bye_during_a_reinvite(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_reply(m, 100, NULL, NULL, NULL);
	phone_bye(t.a);
	soon(alice, "200 BYE");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	ok(soon(bob, "BYE"));
	is_cancelled(m);
	end();
}

static void bye_of_the_other_side_during_a_reinvite(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	m = reinvite(t.a, bob, SDP_HOLD);
	phone_bye(t.b);
	soon(bob, "200 BYE");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	ok(soon(alice, "BYE"));
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	end();
}

static void a_hook_may_look_at_a_reinvite(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.reinvite(function(req)\n"
		       "  if req.body:find('sendonly', 1, true) then return req:reply(488, 'No holding here') end\n"
		       "  local res = req:pass{headers = {Subject = 'seen'}}\n"
		       "  sip.log.info('reinvite %d', res.code)\n"
		       "end)\n");
	t = talk();
	phone_reinvite(t.a, NULL, SDP_HOLD);
	m = soon(alice, "488 INVITE");
	assert_string_equal(reason_of(m), "No holding here");
	phone_ack(m, NULL, NULL);
	m = reinvite(t.b, alice, SDP_B);
	phone_assert_header(m, "Subject", "seen");
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	phone_ack(soon(bob, "200 INVITE"), NULL, NULL);
	world_expect_log(w, "reinvite 200");
	hang_up(t.a, bob);
	end();
}

static void a_reinvite_moves_the_target(void **state)
{
	struct phone_msg *m, *bye;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_reinvite(t.a, "Contact: <sip:alice@10.0.0.4>", SDP_A);
	m = soon(bob, "INVITE");
	phone_reply(m, 200, NULL, "Contact: <sip:bob2@10.0.0.3>", SDP_B);
	assert_string_equal(uri_of(soon(bob, "ACK")), "sip:bob2@10.0.0.3");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	phone_bye(t.b);
	soon(bob, "200 BYE");
	bye = soon(carol, "BYE");
	assert_string_equal(uri_of(bye), "sip:alice@10.0.0.4");
	ok(bye);
	end();
}

/* It was not offered, but who insists has his PRACK, and is not repeated. */
static void a_reliable_provisional_answer_to_a_reinvite_is_acknowledged(void **state)
{
	struct phone_msg *invite, *m;
	struct talk t;
	char rack[40];

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_reinvite(t.a, NULL, SDP_HOLD);
	invite = soon(bob, "INVITE");
	assert_null(strstr(value(invite, "Supported"), "100rel"));
	phone_reply(invite, 183, NULL, "Require: 100rel\nRSeq: 7", NULL);
	m = soon(bob, "PRACK");
	snprintf(rack, sizeof(rack), "7 %u INVITE", invite->m.cseq);
	phone_assert_header(m, "RAck", rack);
	ok(m);
	m = soon(alice, "183");
	phone_assert_header(m, "RSeq", NULL);
	phone_reply(invite, 183, NULL, "Require: 100rel\nRSeq: 7", NULL); /* again: the PRACK is on its way */
	phone_reply(invite, 183, NULL, "Require: 100rel\nRSeq: 9", NULL); /* one is missing */
	phone_expect_none(bob, "PRACK", SH_SECOND);
	phone_reply(invite, 200, NULL, NULL, SDP_HELD);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(t.a, bob);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_reinvite_passes_from_either_side_with_its_answer),
	    cmocka_unit_test(provisional_answers_to_a_reinvite_pass),
	    cmocka_unit_test(an_offerless_reinvite_gets_its_answer_in_the_ack),
	    cmocka_unit_test(a_late_offer_whose_answer_never_comes_ends_the_call),
	    cmocka_unit_test(the_2xx_of_a_reinvite_is_repeated_and_so_is_its_ack),
	    cmocka_unit_test(without_ack_to_a_reinvite_both_are_hung_up),
	    cmocka_unit_test(glare_is_491),
	    cmocka_unit_test(a_second_reinvite_before_the_first_is_answered_is_500),
	    cmocka_unit_test(a_refused_reinvite_changes_nothing),
	    cmocka_unit_test(a_481_to_a_reinvite_ends_the_call),
	    cmocka_unit_test(a_reinvite_that_nobody_answers_ends_the_call),
	    cmocka_unit_test(a_reinvite_can_be_cancelled),
	    cmocka_unit_test(a_cancel_that_crosses_the_2xx_of_a_reinvite_is_too_late),
	    cmocka_unit_test(bye_during_a_reinvite),
	    cmocka_unit_test(bye_of_the_other_side_during_a_reinvite),
	    cmocka_unit_test(a_hook_may_look_at_a_reinvite),
	    cmocka_unit_test(a_reinvite_moves_the_target),
	    cmocka_unit_test(a_reliable_provisional_answer_to_a_reinvite_is_acknowledged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
