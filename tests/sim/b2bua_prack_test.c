/* Reliable provisional answers (RFC 3262): each side with its own RSeq, in all combinations of support. */
#include "b2bua_helpers.h"

#include <stdlib.h>

#define BOTH                                                                                                           \
	PLAN("call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 20})\n")
#define RELIABLE(rseq) "Require: 100rel\nRSeq: " #rseq

static struct phone_call *dial(const char *headers, const char *sdp)
{
	return phone_invite(alice, "sip:bob@example.org", headers, sdp);
}

static unsigned rseq_of(const struct phone_msg *m)
{
	const char *text = phone_value(m, "RSeq");

	phone_assert(m->phone, text != NULL);
	phone_assert_contains(m, "Require", "100rel");
	return (unsigned)atoi(text);
}

static void assert_rack(const struct phone_msg *prack, unsigned rseq, const struct phone_msg *invite)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %u INVITE", rseq, invite->m.cseq);
	phone_assert_header(prack, "RAck", text);
}

/* The caller's PRACK, which bob gets as his. */
static void pracked(struct phone_msg *provisional, struct phone_msg *invite, unsigned rseq)
{
	struct phone_msg *m;

	phone_prack(provisional, NULL, NULL);
	m = soon(invite->phone, "PRACK");
	assert_rack(m, rseq, invite);
	assert_ptr_equal(m->call, invite->call);
	ok(m);
	soon(provisional->phone, "200 PRACK");
}

/* Bob's own offer/answer is complete: he answers without a body. */
static void answered(struct phone_call *a, struct phone_msg *invite, const char *sdp, const char *expected)
{
	struct phone_msg *m;

	phone_reply(invite, 200, NULL, NULL, sdp);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, expected);
	phone_assert_header(m, "RSeq", NULL);
	phone_ack(m, NULL, NULL);
	soon(invite->phone, "ACK");
	world_advance(w, 10 * SH_MS);
	hang_up(a, invite->phone);
}

/* ---- the four combinations ---- */

static void both_sides_do_it_each_with_its_own_rseq(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;
	unsigned first;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_assert_contains(invite, "Supported", "100rel");
	phone_reply(invite, 183, NULL, RELIABLE(4711), SDP_B);
	m = soon(alice, "183");
	phone_assert_body(m, SDP_B);
	first = rseq_of(m);
	assert_int_not_equal(first, 4711);
	phone_expect_none(bob, "PRACK", 100 * SH_MS);
	pracked(m, invite, 4711);
	phone_reply(invite, 180, NULL, RELIABLE(4712), NULL);
	m = soon(alice, "180");
	assert_int_equal(rseq_of(m), first + 1);
	pracked(m, invite, 4712);
	answered(a, invite, NULL, "");
	end();
}

/* The caller is slow, or would rather see us full: what finds no place is dropped, and comes again (RFC 3262 3). */
static void no_more_than_eight_wait_for_the_callers_prack(void **state)
{
	struct phone_msg *invite;
	char headers[64];

	(void)state;
	begin(PLAN_BOB);
	dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	for (unsigned i = 1; i <= 20; i++) {
		snprintf(headers, sizeof(headers), "Require: 100rel\nRSeq: %u", i);
		phone_reply(invite, 180, NULL, headers, NULL);
	}
	for (unsigned i = 1; i <= 8; i++)
		pracked(soon(alice, "180"), invite, i);
	phone_expect_none(alice, "180", 400 * SH_MS);
	phone_reply(invite, 180, NULL, RELIABLE(9), NULL); /* its repetition is not taken for one that was seen */
	pracked(soon(alice, "180"), invite, 9);
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

static void who_is_called_alone_does_it(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial(NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, RELIABLE(1), SDP_B);
	m = soon(bob, "PRACK");
	assert_rack(m, 1, invite);
	ok(m);
	m = soon(alice, "183");
	phone_assert_header(m, "RSeq", NULL);
	phone_assert_header(m, "Require", NULL);
	phone_assert_body(m, SDP_B);
	answered(a, invite, NULL, SDP_B); /* the caller never had the answer reliably: the 2xx must bring it */
	end();
}

static void who_calls_alone_requires_it(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Require: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_assert_header(invite, "Require", NULL); /* what this leg wants is not asked of the other */
	phone_reply(invite, 180, NULL, NULL, NULL);
	m = soon(alice, "180");
	rseq_of(m);
	phone_prack(m, NULL, NULL);
	soon(alice, "200 PRACK");
	phone_expect_none(bob, "PRACK", SH_SECOND);
	answered(a, invite, SDP_B, SDP_B);
	end();
}

static void nobody_does_it(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, NULL, SDP_B);
	m = soon(alice, "183");
	phone_assert_header(m, "RSeq", NULL);
	answered(a, invite, SDP_B, SDP_B);
	end();
}

/* ---- time and order ---- */

static void it_is_repeated_until_the_prack_comes(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, RELIABLE(9), NULL);
	m = soon(alice, "180");
	phone_expect(alice, "180", 600 * SH_MS);
	phone_expect(alice, "180", 1100 * SH_MS);
	phone_expect_none(alice, "180", 1900 * SH_MS);
	phone_reply(invite, 180, NULL, RELIABLE(9), NULL); /* bob does the same: that is not news */
	phone_expect(alice, "180", 200 * SH_MS);
	pracked(m, invite, 9);
	phone_expect_none(alice, "180", 40 * SH_SECOND / 4);
	answered(a, invite, SDP_B, SDP_B);
	end();
}

static void the_2xx_waits_for_the_prack_of_an_answer(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Require: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, NULL, SDP_B);
	m = soon(alice, "183");
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	phone_expect_none(alice, "200", 400 * SH_MS);
	phone_prack(m, NULL, NULL);
	soon(alice, "200 PRACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(a, bob);
	end();
}

static void the_2xx_does_not_wait_for_the_prack_of_a_180(void **state)
{
	struct phone_msg *invite, *m, *answer;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Require: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, NULL, NULL);
	m = soon(alice, "180");
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	answer = soon(alice, "200 INVITE");
	phone_prack(m, NULL, NULL); /* late, and answered all the same (RFC 3262 3) */
	soon(alice, "200 PRACK");
	phone_ack(answer, NULL, NULL);
	phone_expect_none(alice, "180", 2 * SH_SECOND);
	hang_up(a, bob);
	end();
}

static void one_that_waits_is_sent_behind_the_prack_of_the_one_before(void **state)
{
	struct phone_msg *invite, *first, *second;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Require: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, NULL, NULL);
	phone_reply(invite, 183, NULL, NULL, SDP_B);
	first = soon(alice, "180");
	phone_expect_none(alice, "183", 300 * SH_MS);
	phone_prack(first, NULL, NULL);
	second = soon(alice, "183");
	assert_int_equal(rseq_of(second), rseq_of(first) + 1);
	soon(alice, "200 PRACK");
	phone_prack(second, NULL, NULL);
	soon(alice, "200 PRACK");
	answered(a, invite, SDP_B, SDP_B);
	end();
}

static void without_prack_for_64_t1_the_caller_gets_504(void **state)
{
	struct phone_msg *invite, *m;

	(void)state;
	begin(PLAN("call:dial({'sip:bob@10.0.0.3'})\n"));
	phone_auto(alice, PHONE_ABSORB);
	dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, RELIABLE(1), SDP_B);
	soon(alice, "183");
	phone_expect_none(alice, "504", 31 * SH_SECOND);
	m = phone_expect(bob, "CANCEL", 2 * SH_SECOND);
	phone_assert_contains(m, "Reason", "cause=504");
	ok(m);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "504"), NULL, NULL);
	end();
}

static void gaps_and_repetitions_of_who_is_called_are_passed_over(void **state)
{
	struct phone_msg *invite;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial(NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, RELIABLE(5), NULL);
	ok(soon(bob, "PRACK"));
	soon(alice, "180");
	phone_reply(invite, 180, NULL, RELIABLE(5), NULL);
	phone_reply(invite, 183, NULL, RELIABLE(7), SDP_B);
	phone_expect_none(bob, "PRACK", SH_SECOND);
	phone_expect_none(alice, "18x", SH_SECOND);
	phone_reply(invite, 183, NULL, RELIABLE(6), SDP_B);
	ok(soon(bob, "PRACK"));
	soon(alice, "183");
	answered(a, invite, NULL, SDP_B);
	end();
}

static void a_prack_with_a_wrong_rack_is_481(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;
	char rack[64];

	(void)state;
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, RELIABLE(1), NULL);
	m = soon(alice, "180");
	snprintf(rack, sizeof(rack), "RAck: %u %u INVITE", rseq_of(m) + 1, m->m.cseq);
	phone_in_call(a, "PRACK", rack, NULL);
	soon(alice, "481 PRACK");
	snprintf(rack, sizeof(rack), "RAck: %u %u INVITE", rseq_of(m), m->m.cseq + 1);
	phone_in_call(a, "PRACK", rack, NULL);
	soon(alice, "481 PRACK");
	phone_in_call(a, "PRACK", "RAck: many thanks", NULL);
	soon(alice, "481 PRACK");
	phone_in_call(a, "PRACK", NULL, NULL);
	soon(alice, "481 PRACK");
	pracked(m, invite, 1);
	answered(a, invite, SDP_B, SDP_B);
	end();
}

static void after_the_cancel_there_is_no_prack(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, RELIABLE(1), NULL);
	m = soon(alice, "180");
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	ok(soon(bob, "CANCEL"));
	phone_reply(invite, 183, NULL, RELIABLE(2), SDP_B);
	phone_prack(m, NULL, NULL); /* siphon-sip#386: nothing goes to the leg that ended */
	soon(alice, "481 PRACK");
	phone_expect_none(bob, "PRACK", SH_SECOND);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	end();
}

/* ---- forks ---- */

static void each_branch_has_its_own_tag_and_rseq(void **state)
{
	struct phone_msg *b, *c, *from_bob, *from_carol, *m;
	struct phone_call *a;

	(void)state; /* OpenSIPS#3431: with one tag for all the second answer passes for a repetition of the first */
	begin(BOTH);
	a = dial("Supported: 100rel", SDP_A);
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 183, NULL, RELIABLE(1), SDP_B);
	from_bob = soon(alice, "183");
	phone_reply(c, 183, NULL, RELIABLE(1), SDP_C);
	from_carol = soon(alice, "183");
	assert_string_not_equal(tag_of(from_bob), tag_of(from_carol));
	rseq_of(from_carol);
	pracked(from_carol, c, 1);
	pracked(from_bob, b, 1);
	phone_reply(c, 200, NULL, NULL, NULL);
	m = soon(alice, "200 INVITE");
	assert_string_equal(tag_of(m), tag_of(from_carol));
	phone_assert_body(m, "");
	is_cancelled(b);
	phone_ack(m, NULL, NULL);
	soon(carol, "ACK");
	phone_follow(m);
	world_advance(w, 10 * SH_MS);
	hang_up(a, carol);
	end();
}

/* A proxy behind us has forked: two phones answer one INVITE. */
static void a_fork_further_on_is_two_early_dialogs_too(void **state)
{
	struct phone_msg *invite, *one, *two, *m, *to_one, *to_two;
	struct phone_call *a;

	(void)state; /* pjsip#657, baresip#2114, sofia-sip PR#227 */
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, RELIABLE(10) "\nTo: <sip:bob@example.org>;tag=one\nContact: <sip:one@10.0.0.3>", SDP_B);
	one = soon(alice, "183");
	phone_reply(invite, 183, NULL, RELIABLE(99) "\nTo: <sip:bob@example.org>;tag=two\nContact: <sip:two@10.0.0.3>", SDP_C);
	two = soon(alice, "183");
	assert_string_not_equal(tag_of(one), tag_of(two));
	phone_assert_body(two, SDP_C);
	phone_prack(two, NULL, NULL);
	to_two = soon(bob, "PRACK");
	phone_prack(one, NULL, NULL);
	to_one = soon(bob, "PRACK");
	assert_rack(to_two, 99, invite);
	assert_rack(to_one, 10, invite);
	assert_string_equal(uri_of(to_two), "sip:two@10.0.0.3");
	assert_string_equal(uri_of(to_one), "sip:one@10.0.0.3");
	phone_assert_contains(to_two, "To", "tag=two");
	assert_int_equal(to_two->m.cseq, invite->m.cseq + 1);
	assert_int_equal(to_one->m.cseq, invite->m.cseq + 1); /* each counts for itself */
	ok(to_one);
	ok(to_two);
	soon(alice, "200 PRACK");
	soon(alice, "200 PRACK");
	phone_reply(invite, 200, NULL, "To: <sip:bob@example.org>;tag=two\nContact: <sip:two@10.0.0.3>", NULL);
	m = soon(alice, "200 INVITE");
	assert_string_equal(tag_of(m), tag_of(two));
	phone_ack(m, NULL, NULL);
	m = soon(bob, "ACK");
	phone_assert_contains(m, "To", "tag=two");
	assert_string_equal(uri_of(m), "sip:two@10.0.0.3");
	world_advance(w, 10 * SH_MS);
	phone_bye(a);
	m = soon(bob, "BYE");
	phone_assert_contains(m, "To", "tag=two");
	assert_int_equal(m->m.cseq, invite->m.cseq + 2);
	ok(m);
	soon(alice, "200 BYE");
	end();
}

/* ---- offers ---- */

static void an_offer_in_a_183_is_answered_in_the_prack(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", NULL);
	invite = soon(bob, "INVITE");
	phone_assert_contains(invite, "Supported", "100rel");
	phone_reply(invite, 183, NULL, RELIABLE(1), SDP_B);
	m = soon(alice, "183");
	phone_assert_body(m, SDP_B);
	phone_prack(m, NULL, SDP_A);
	m = soon(bob, "PRACK");
	phone_assert_body(m, SDP_A);
	ok(m);
	soon(alice, "200 PRACK");
	answered(a, invite, NULL, "");
	end();
}

static void who_cannot_answer_an_early_offer_is_not_made_to(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial(NULL, NULL);
	invite = soon(bob, "INVITE");
	assert_null(strstr(phone_value(invite, "Supported"), "100rel"));
	phone_reply(invite, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, SDP_B);
	phone_expect_none(bob, "ACK", 100 * SH_MS);
	phone_ack(m, NULL, SDP_A);
	phone_assert_body(soon(bob, "ACK"), SDP_A);
	hang_up(a, bob);
	end();
}

static void a_new_offer_in_the_prack_passes_with_its_answer(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, RELIABLE(1), SDP_B);
	phone_prack(soon(alice, "183"), NULL, SDP_HOLD);
	m = soon(bob, "PRACK");
	phone_assert_body(m, SDP_HOLD);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	phone_assert_body(soon(alice, "200 PRACK"), SDP_HELD);
	answered(a, invite, NULL, "");
	end();
}

static void early_media_that_are_dropped_are_acknowledged_by_us(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN("call:dial({'sip:bob@10.0.0.3'}, {early = 'drop'})\n"));
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, RELIABLE(3), SDP_B);
	m = soon(bob, "PRACK");
	assert_rack(m, 3, invite);
	ok(m);
	m = soon(alice, "180");
	phone_assert_header(m, "RSeq", NULL);
	phone_assert_body(m, "");
	answered(a, invite, NULL, SDP_B);
	end();
}

static void a_ring_of_the_script_is_reliable_where_it_has_to_be(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN("call:ring(180)\ncall:ring(183, {sdp = 'v=0\\r\\n'})\nsip.sleep(3)\ncall:reject(486)\n"));
	dial("Supported: 100rel", SDP_A);
	phone_assert_header(soon(alice, "180"), "RSeq", NULL);
	m = soon(alice, "183");
	rseq_of(m);
	phone_prack(m, NULL, NULL);
	soon(alice, "200 PRACK");
	phone_ack(phone_expect(alice, "486", 4 * SH_SECOND), NULL, NULL);
	end();
}

static void the_prack_hook_observes(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin("local sip = require 'siphook'\n"
	      "sip.on.prack(function(req) sip.log.info('prack %s %s', req.call.id == nil, req['RAck']) end)\n"
	      "sip.on.invite(function(call) call:dial{'sip:bob@10.0.0.3'} end)\n");
	a = dial("Supported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, RELIABLE(1), NULL);
	m = soon(alice, "180");
	pracked(m, invite, 1);
	assert_true(world_has_log(w, "prack false"));
	answered(a, invite, SDP_B, SDP_B);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_more_than_eight_wait_for_the_callers_prack),
	    cmocka_unit_test(both_sides_do_it_each_with_its_own_rseq),
		cmocka_unit_test(who_is_called_alone_does_it),
		cmocka_unit_test(who_calls_alone_requires_it),
		cmocka_unit_test(nobody_does_it),
		cmocka_unit_test(it_is_repeated_until_the_prack_comes),
		cmocka_unit_test(the_2xx_waits_for_the_prack_of_an_answer),
		cmocka_unit_test(the_2xx_does_not_wait_for_the_prack_of_a_180),
		cmocka_unit_test(one_that_waits_is_sent_behind_the_prack_of_the_one_before),
		cmocka_unit_test(without_prack_for_64_t1_the_caller_gets_504),
		cmocka_unit_test(gaps_and_repetitions_of_who_is_called_are_passed_over),
		cmocka_unit_test(a_prack_with_a_wrong_rack_is_481),
		cmocka_unit_test(after_the_cancel_there_is_no_prack),
		cmocka_unit_test(each_branch_has_its_own_tag_and_rseq),
		cmocka_unit_test(a_fork_further_on_is_two_early_dialogs_too),
		cmocka_unit_test(an_offer_in_a_183_is_answered_in_the_prack),
		cmocka_unit_test(who_cannot_answer_an_early_offer_is_not_made_to),
		cmocka_unit_test(a_new_offer_in_the_prack_passes_with_its_answer),
		cmocka_unit_test(early_media_that_are_dropped_are_acknowledged_by_us),
		cmocka_unit_test(a_ring_of_the_script_is_reliable_where_it_has_to_be),
		cmocka_unit_test(the_prack_hook_observes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
