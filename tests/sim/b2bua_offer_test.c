/* Offer and answer in all their places (RFC 3264, 3311, 6141, 6337), fax, and what happens when two of them meet. */
#include "b2bua_helpers.h"

#define RELIABLE(rseq) "Require: 100rel\nRSeq: " #rseq
#define FAX_OF(who, ip)                                                                                                \
	"v=0\r\no=" who " 1 2 IN IP4 " ip "\r\ns=-\r\nc=IN IP4 " ip "\r\nt=0 0\r\n"                                    \
	"m=image 4002 udptl t38\r\na=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxRateManagement:transferredTCF\r\n"
#define FAX   FAX_OF("alice", "10.0.0.2")
#define FAX_B FAX_OF("bob", "10.0.0.3")

static const char *from_tag_of(const struct phone_msg *request)
{
	static char text[64];

	snprintf(text, sizeof(text), "%.*s", SH_FMT(sh_msg_text(&request->m, request->m.from_tag)));
	return text;
}

/* An offer by re-INVITE or UPDATE passes with its answer. */
static void passed(struct phone_call *from, struct phone_call *to, const char *method, const char *offer, const char *answer)
{
	char what[32];
	struct phone_msg *m;

	snprintf(what, sizeof(what), "200 %s", method);
	phone_in_call(from, method, NULL, offer);
	m = soon(to->phone, method);
	phone_assert_body(m, offer);
	phone_assert_header(m, "Content-Type", "application/sdp");
	phone_reply(m, 200, NULL, NULL, answer);
	m = soon(from->phone, what);
	phone_assert_body(m, answer);
	if (m->m.method == SH_INVITE) {
		soon(to->phone, "ACK");
		phone_ack(m, NULL, NULL);
		world_advance(w, 10 * SH_MS);
	}
}

/* ---- UPDATE ---- */

static void an_update_passes_from_either_side(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	passed(t.a, t.b, "UPDATE", SDP_HOLD, SDP_HELD);
	passed(t.b, t.a, "UPDATE", SDP_B, SDP_A);
	hang_up(t.a, bob);
	end();
}

static void a_refused_update_changes_nothing(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "UPDATE", NULL, SDP_HOLD);
	phone_reply(soon(bob, "UPDATE"), 488, NULL, "Warning: 304 b \"no\"", NULL);
	phone_assert_header(soon(alice, "488 UPDATE"), "Warning", "304 b \"no\"");
	m = phone_reinvite(t.b, NULL, SDP_B);
	assert_non_null(m);
	m = soon(alice, "INVITE");
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	phone_ack(soon(bob, "200 INVITE"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(t.a, bob);
	end();
}

static void two_updates_that_meet_are_491(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "UPDATE", NULL, SDP_HOLD);
	phone_in_call(t.b, "UPDATE", NULL, SDP_HELD);
	m = soon(bob, "UPDATE");
	soon(bob, "491 UPDATE");
	phone_reply(m, 200, NULL, NULL, SDP_B);
	phone_assert_body(soon(alice, "200 UPDATE"), SDP_B);
	passed(t.b, t.a, "UPDATE", SDP_HELD, SDP_HOLD); /* drachtio-server#318: the next try goes on */
	hang_up(t.a, bob);
	end();
}

static void a_second_update_before_the_first_is_answered_is_500(void **state)
{
	struct phone_msg *m, *first;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "UPDATE", NULL, SDP_HOLD);
	first = soon(bob, "UPDATE");
	phone_in_call(t.a, "UPDATE", NULL, SDP_A);
	m = soon(alice, "500 UPDATE");
	assert_non_null(phone_value(m, "Retry-After"));
	phone_reply(first, 200, NULL, NULL, SDP_HELD);
	soon(alice, "200 UPDATE");
	hang_up(t.a, bob);
	end();
}

static void an_update_and_a_reinvite_that_meet_are_491(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "UPDATE", NULL, SDP_HOLD);
	m = soon(bob, "UPDATE");
	phone_reinvite(t.b, NULL, SDP_HELD);
	phone_ack(soon(bob, "491 INVITE"), NULL, NULL);
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	soon(alice, "200 UPDATE");
	phone_reinvite(t.a, NULL, SDP_A);
	m = soon(bob, "INVITE");
	phone_in_call(t.b, "UPDATE", NULL, SDP_B);
	soon(bob, "491 UPDATE");
	phone_reply(m, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(t.a, bob);
	end();
}

static void an_update_without_offer_needs_no_turn(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "UPDATE", NULL, SDP_HOLD);
	m = soon(bob, "UPDATE");
	phone_in_call(t.b, "UPDATE", NULL, NULL);
	ok(soon(alice, "UPDATE"));
	soon(bob, "200 UPDATE");
	phone_reply(m, 200, NULL, NULL, SDP_HELD);
	soon(alice, "200 UPDATE");
	hang_up(t.a, bob);
	end();
}

/* ---- early ---- */

static struct phone_msg *early(const char *plan, struct phone_call **a, struct phone_msg **invite)
{
	struct phone_msg *m;

	begin(plan);
	*a = phone_invite(alice, "sip:bob@example.org", "Supported: 100rel", SDP_A);
	*invite = soon(bob, "INVITE");
	phone_reply(*invite, 183, NULL, RELIABLE(1), SDP_B);
	m = soon(alice, "183");
	phone_prack(m, NULL, NULL);
	ok(soon(bob, "PRACK"));
	soon(alice, "200 PRACK");
	return m;
}

static void an_early_update_passes_from_either_side(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	early(PLAN_BOB, &a, &invite);
	passed(a, invite->call, "UPDATE", SDP_HOLD, SDP_HELD);
	passed(invite->call, a, "UPDATE", SDP_B, SDP_A);
	phone_reply(invite, 200, NULL, NULL, NULL);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, "");
	phone_ack(m, NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 10 * SH_MS);
	passed(a, invite->call, "UPDATE", SDP_HOLD, SDP_HELD);
	hang_up(a, bob);
	end();
}

static void an_early_update_before_the_answer_is_500(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_in_call(t.a, "UPDATE", NULL, SDP_HOLD);
	m = soon(alice, "500 UPDATE");
	assert_non_null(phone_value(m, "Retry-After"));
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 10 * SH_MS);
	hang_up(t.a, bob);
	end();
}

static void early_updates_find_their_branch(void **state)
{
	struct phone_msg *b, *c, *from_bob, *from_carol, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN("call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 20})\n"));
	a = phone_invite(alice, "sip:bob@example.org", "Supported: 100rel", SDP_A);
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 183, NULL, RELIABLE(1), SDP_B);
	from_bob = soon(alice, "183");
	phone_prack(from_bob, NULL, NULL);
	ok(soon(bob, "PRACK"));
	phone_reply(c, 183, NULL, RELIABLE(1), SDP_C);
	from_carol = soon(alice, "183");
	phone_prack(from_carol, NULL, NULL);
	ok(soon(carol, "PRACK"));
	phone_follow(from_carol);
	phone_in_call(a, "UPDATE", NULL, SDP_HOLD);
	phone_reply(soon(carol, "UPDATE"), 200, NULL, NULL, SDP_C);
	soon(alice, "200 UPDATE");
	phone_in_call(b->call, "UPDATE", NULL, SDP_B); /* and back: in the dialog of bob's tag */
	m = soon(alice, "UPDATE");
	assert_string_equal(tag_of(from_bob), from_tag_of(m));
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(bob, "200 UPDATE");
	soon(alice, "200 PRACK");
	soon(alice, "200 PRACK");
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	ok(soon(bob, "CANCEL"));
	ok(soon(carol, "CANCEL"));
	phone_reply(b, 487, NULL, NULL, NULL);
	phone_reply(c, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "ACK");
	end();
}

static void a_dtmf_info_in_an_early_dialog_passes(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	early(PLAN_BOB, &a, &invite);
	phone_in_call(a, "INFO", "Content-Type: application/dtmf-relay", "Signal=5\r\nDuration=160\r\n");
	m = soon(bob, "INFO");
	phone_assert_body(m, "Signal=5\r\nDuration=160\r\n");
	ok(m);
	soon(alice, "200 INFO");
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

/* ---- targets ---- */

static void a_refused_reinvite_does_not_move_the_target(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state; /* RFC 6141 4.6 */
	begin(PLAN_BOB);
	t = talk();
	phone_reinvite(t.a, "Contact: <sip:moved@10.0.0.4>", SDP_HOLD);
	phone_reply(soon(bob, "INVITE"), 488, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "488 INVITE"), NULL, NULL);
	phone_in_call(t.b, "INFO", NULL, NULL);
	ok(soon(alice, "INFO"));
	soon(bob, "200 INFO");
	phone_reinvite(t.a, "Contact: <sip:moved@10.0.0.4>", SDP_HOLD);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_HELD);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_in_call(t.b, "INFO", NULL, NULL);
	m = soon(carol, "INFO");
	assert_string_equal(uri_of(m), "sip:moved@10.0.0.4");
	ok(m);
	soon(bob, "200 INFO");
	phone_bye(t.a);
	soon(alice, "200 BYE");
	ok(soon(bob, "BYE"));
	end();
}

static void an_equal_cseq_is_out_of_order(void **state)
{
	char cseq[64];
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	ok(soon(bob, "INFO"));
	soon(alice, "200 INFO");
	snprintf(cseq, sizeof(cseq), "CSeq: %u MESSAGE", t.a->cseq);
	phone_in_call(t.a, "MESSAGE", cseq, "x");
	soon(alice, "500 MESSAGE");
	hang_up(t.a, bob);
	end();
}

/* ---- re-INVITEs at odd times ---- */

static void a_reinvite_before_the_bridge_is_491_not_a_failure(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state; /* drachtio-srf#62: faster than the script */
	begin(PLAN("local leg = call:fork{'sip:bob@10.0.0.3'}\nsip.sleep(1)\ncall:bridge(leg)\n"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	phone_reinvite(invite->call, NULL, SDP_HELD);
	phone_ack(soon(bob, "491 INVITE"), NULL, NULL);
	soon(alice, "100");
	m = phone_expect(alice, "200 INVITE", 2 * SH_SECOND);
	phone_reinvite(invite->call, NULL, SDP_HELD);
	phone_ack(soon(bob, "491 INVITE"), NULL, NULL); /* alice's ACK is missing */
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	passed(invite->call, a, "INVITE", SDP_HELD, SDP_HOLD);
	hang_up(a, bob);
	end();
}

static void a_multipart_body_passes_untouched(void **state)
{
	static const char body[] = "--x\r\nContent-Type: application/sdp\r\n\r\n" SDP_A "\r\n--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n";
	struct phone_msg *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", "Content-Type: multipart/mixed;boundary=x\nMIME-Version: 1.0", body);
	m = soon(bob, "INVITE");
	phone_assert_body(m, body);
	phone_assert_header(m, "Content-Type", "multipart/mixed;boundary=x");
	phone_assert_header(m, "MIME-Version", "1.0");
	phone_reply(m, 200, NULL, "Content-Type: multipart/mixed;boundary=x\nMIME-Version: 1.0", body);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, body);
	phone_assert_header(m, "Content-Type", "multipart/mixed;boundary=x");
	phone_ack(m, NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 10 * SH_MS);
	hang_up(a, bob);
	end();
}

/* ---- fax: RFC 6466, as T.38 gateways do it ---- */

static void either_side_may_go_over_to_fax_and_back(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	passed(t.b, t.a, "INVITE", FAX_B, FAX); /* the called fax machine hears the tone */
	passed(t.b, t.a, "INVITE", SDP_B, SDP_A);
	passed(t.a, t.b, "INVITE", FAX, FAX_B);
	hang_up(t.a, bob);
	end();
}

static void a_refused_fax_keeps_the_voice_session(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB
	      "sip.on.bye(function(req) sip.log.info('at the end %s', req.call.b.remote_sdp:match('m=%a+')) end)\n");
	t = talk();
	phone_reinvite(t.a, NULL, FAX);
	m = soon(bob, "INVITE");
	phone_assert_body(m, FAX);
	phone_reply(m, 488, NULL, "Warning: 304 b \"Media type not available\"", NULL);
	soon(bob, "ACK");
	m = soon(alice, "488 INVITE");
	phone_assert_header(m, "Warning", "304 b \"Media type not available\"");
	phone_ack(m, NULL, NULL);
	phone_expect_none(bob, "*", 5 * SH_SECOND); /* the call goes on */
	phone_expect_none(alice, "*", SH_SECOND);
	passed(t.b, t.a, "UPDATE", SDP_B, SDP_A);
	hang_up(t.a, bob);
	assert_true(world_has_log(w, "at the end m=audio"));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_update_passes_from_either_side),
		cmocka_unit_test(a_refused_update_changes_nothing),
		cmocka_unit_test(two_updates_that_meet_are_491),
		cmocka_unit_test(a_second_update_before_the_first_is_answered_is_500),
		cmocka_unit_test(an_update_and_a_reinvite_that_meet_are_491),
		cmocka_unit_test(an_update_without_offer_needs_no_turn),
		cmocka_unit_test(an_early_update_passes_from_either_side),
		cmocka_unit_test(an_early_update_before_the_answer_is_500),
		cmocka_unit_test(early_updates_find_their_branch),
		cmocka_unit_test(a_dtmf_info_in_an_early_dialog_passes),
		cmocka_unit_test(a_refused_reinvite_does_not_move_the_target),
		cmocka_unit_test(an_equal_cseq_is_out_of_order),
		cmocka_unit_test(a_reinvite_before_the_bridge_is_491_not_a_failure),
		cmocka_unit_test(a_multipart_body_passes_untouched),
		cmocka_unit_test(either_side_may_go_over_to_fax_and_back),
		cmocka_unit_test(a_refused_fax_keeps_the_voice_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
