/* The 2xx and its ACK: repetitions, losses, late offers, forks further on. RFC 3261 13.2.2.4 and 13.3.1.4. */
#include "b2bua_helpers.h"

static void a_2xx_is_repeated_until_its_ack(bool tcp)
{
	struct phone_msg *m;
	struct talk t;
	uint64_t at, wait = SH_SECOND / 2;

	begin(PLAN_BOB);
	if (tcp)
		phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	t = ring();
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	soon(bob, "ACK"); /* the offer was in the INVITE: bob need not wait for alice */
	at = t.answer->at;
	for (unsigned i = 0; i < 5; i++) {
		m = phone_expect(alice, "200", 5 * SH_SECOND);
		assert_int_equal(m->len, t.answer->len);
		assert_memory_equal(m->text, t.answer->text, m->len);
		assert_in_range(m->at - at, wait - 20 * SH_MS, wait + 20 * SH_MS);
		at = m->at;
		wait = wait * 2 > 4 * SH_SECOND ? 4 * SH_SECOND : wait * 2;
	}
	phone_ack(t.answer, NULL, NULL);
	phone_expect_none(alice, "*", 40 * SH_SECOND);
	phone_expect_none(bob, "*", SH_SECOND);
	hang_up(t.a, bob);
	end();
}

static void a_2xx_is_repeated_until_its_ack_on_udp(void **state)
{
	(void)state;
	a_2xx_is_repeated_until_its_ack(false);
}

static void a_2xx_is_repeated_until_its_ack_on_tcp(void **state)
{
	(void)state;
	a_2xx_is_repeated_until_its_ack(true);
}

static void without_ack_both_legs_are_hung_up(void **state)
{
	struct phone_msg *a, *b;
	struct talk t;

	(void)state;
	begin(PLAN("local ok, res = call:dial{'sip:bob@10.0.0.3'}\nsip.log.info('dial %s', tostring(ok))\n")
	      "sip.on.hangup(function(call, why) sip.log.info('over by %s %d', why.by, why.code) end)\n");
	t = ring();
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	phone_auto(alice, PHONE_ABSORB);
	a = phone_expect(alice, "BYE", 40 * SH_SECOND);
	assert_in_range(a->at - t.invite->at, 32 * SH_SECOND, 33 * SH_SECOND);
	phone_assert_header(a, "Reason", "SIP;cause=408;text=\"No ACK\"");
	b = soon(bob, "BYE");
	ok(a);
	ok(b);
	world_advance(w, SH_SECOND);
	world_expect_log(w, "over by engine");
	while (!world_idle(w))
		world_advance(w, SH_SECOND);
	world_destroy(w);
}

static void a_repeated_2xx_gets_its_ack_again(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_reply(t.invite, 200, NULL, NULL, SDP_B); /* as if the ACK had been lost */
	assert_memory_equal(soon(bob, "ACK")->text, t.ack->text, t.ack->len);
	phone_expect_none(alice, "*", 2 * SH_SECOND);
	hang_up(t.a, bob);
	end();
}

static void an_ack_may_come_behind_later_requests(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	soon(bob, "ACK");
	phone_in_call(t.a, "INFO", NULL, NULL);
	ok(soon(bob, "INFO"));
	soon(alice, "200 INFO");
	phone_ack(t.answer, NULL, NULL);
	phone_expect_none(alice, "*", 40 * SH_SECOND);
	hang_up(t.a, bob);
	end();
}

static void an_offerless_invite_gets_its_answer_in_the_ack(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, NULL);
	t.invite = soon(bob, "INVITE");
	phone_assert_body(t.invite, "");
	phone_reply(t.invite, 200, NULL, NULL, SDP_B); /* the offer */
	t.answer = soon(alice, "200");
	phone_assert_body(t.answer, SDP_B);
	phone_expect_none(bob, "ACK", 100 * SH_MS); /* it waits for the answer */
	phone_ack(t.answer, NULL, SDP_A);
	t.ack = soon(bob, "ACK");
	phone_assert_body(t.ack, SDP_A);
	phone_assert_header(t.ack, "Content-Type", "application/sdp");
	hang_up(t.a, bob);
	end();
}

static void a_late_offer_is_acknowledged_even_when_the_caller_leaves(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, NULL);
	t.invite = soon(bob, "INVITE");
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	phone_bye(t.a);
	soon(alice, "200 BYE");
	soon(bob, "ACK");
	ok(soon(bob, "BYE"));
	soon(alice, "200 INVITE"); /* it may have been lost: it comes until she has it */
	phone_ack(t.answer, NULL, SDP_A);
	end();
}

static void a_bye_before_the_ack_ends_the_call(void **state)
{
	struct phone_msg *bye;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	soon(bob, "ACK");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	phone_expect_none(alice, "BYE", 100 * SH_MS); /* 15: not before the ACK */
	phone_ack(t.answer, NULL, NULL);
	bye = soon(alice, "BYE");
	ok(bye);
	end();
}

static void another_phone_behind_a_forking_proxy_is_acked_and_hung_up(void **state)
{
	struct phone_msg *ack, *bye;
	struct talk t;
	char to[128];

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	snprintf(to, sizeof(to), "To: %s;tag=other\nContact: <sip:other@10.0.0.4>", value(t.invite, "To"));
	phone_reply(t.invite, 200, NULL, to, SDP_C);
	ack = soon(carol, "ACK");
	phone_assert_contains(ack, "To", ";tag=other");
	assert_int_equal(ack->m.cseq, t.invite->m.cseq);
	bye = soon(carol, "BYE");
	phone_assert_contains(bye, "To", ";tag=other");
	assert_string_equal(uri_of(bye), "sip:other@10.0.0.4");
	ok(bye);
	phone_expect_none(alice, "*", SH_SECOND);
	phone_expect_none(bob, "*", SH_SECOND);
	hang_up(t.a, bob);
	end();
}

static void a_provisional_of_another_phone_does_not_confuse_the_answer(void **state)
{
	struct talk t;
	char to[128];

	(void)state;
	begin(PLAN_BOB);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	snprintf(to, sizeof(to), "To: %s;tag=other\nContact: <sip:other@10.0.0.4>", value(t.invite, "To"));
	phone_reply(t.invite, 180, NULL, to, NULL);
	soon(alice, "180");
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	phone_ack(t.answer, NULL, NULL);
	t.ack = soon(bob, "ACK");
	phone_assert_contains(t.ack, "To", t.invite->call->local_tag);
	hang_up(t.a, bob);
	end();
}

static const char old_invite[] = "INVITE sip:bob@example.org SIP/2.0\r\n"
				 "Via: SIP/2.0/UDP 10.0.0.2\r\n"
				 "From: <sip:alice@example.org>\r\n"
				 "To: <sip:bob@example.org>\r\n"
				 "Call-ID: old\r\n"
				 "CSeq: 1 INVITE\r\n"
				 "Contact: <sip:alice@10.0.0.2>\r\n"
				 "Content-Length: 0\r\n\r\n";

static void a_caller_of_rfc_2543_without_tag_and_cookie(void **state)
{
	struct phone_msg *invite, *answer;
	char text[1024];

	(void)state;
	begin(PLAN_BOB);
	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, old_invite, strlen(old_invite));
	invite = soon(bob, "INVITE");
	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, old_invite, strlen(old_invite));
	phone_expect_none(bob, "INVITE", 100 * SH_MS); /* the same transaction */
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	answer = soon(alice, "200");
	snprintf(text, sizeof(text),
		 "ACK sip:10.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2\r\nFrom: <sip:alice@example.org>\r\n"
		 "To: <sip:bob@example.org>;tag=%s\r\nCall-ID: old\r\nCSeq: 1 ACK\r\nContent-Type: application/sdp\r\n"
		 "Content-Length: %zu\r\n\r\n%s",
		 tag_of(answer), strlen(SDP_A), SDP_A);
	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, text, strlen(text));
	phone_assert_body(soon(bob, "ACK"), SDP_A);
	snprintf(text, sizeof(text),
		 "BYE sip:10.0.0.1:5060 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2\r\nFrom: <sip:alice@example.org>\r\n"
		 "To: <sip:bob@example.org>;tag=%s\r\nCall-ID: old\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n",
		 tag_of(answer));
	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, text, strlen(text));
	soon(alice, "200");
	ok(soon(bob, "BYE"));
	end();
}

static void a_caller_that_vanished_is_given_up(void **state)
{
	struct sh_addr a;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	assert_int_equal(sh_addr_parse(&a, SH_LIT(ALICE), 0), 0);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, SH_SIM_UDP_SILENT), 0);
	phone_bye(t.b);
	soon(bob, "200 BYE");
	world_advance(w, 40 * SH_SECOND);
	assert_true(world_idle(w));
	end();
}

static void a_caller_whose_connection_broke_is_given_up(void **state)
{
	struct sh_addr a;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_reply(t.invite, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_hang_up_connections(alice);
	assert_int_equal(sh_addr_parse(&a, SH_LIT(ALICE), 0), 0);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, SH_SIM_TCP_REFUSED), 0);
	world_advance(w, SH_SECOND);
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	ok(phone_expect(bob, "BYE", 40 * SH_SECOND));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_2xx_is_repeated_until_its_ack_on_udp),
	    cmocka_unit_test(a_2xx_is_repeated_until_its_ack_on_tcp),
	    cmocka_unit_test(without_ack_both_legs_are_hung_up),
	    cmocka_unit_test(a_repeated_2xx_gets_its_ack_again),
	    cmocka_unit_test(an_ack_may_come_behind_later_requests),
	    cmocka_unit_test(an_offerless_invite_gets_its_answer_in_the_ack),
	    cmocka_unit_test(a_late_offer_is_acknowledged_even_when_the_caller_leaves),
	    cmocka_unit_test(a_bye_before_the_ack_ends_the_call),
	    cmocka_unit_test(another_phone_behind_a_forking_proxy_is_acked_and_hung_up),
	    cmocka_unit_test(a_provisional_of_another_phone_does_not_confuse_the_answer),
	    cmocka_unit_test(a_caller_of_rfc_2543_without_tag_and_cookie),
	    cmocka_unit_test(a_caller_that_vanished_is_given_up),
	    cmocka_unit_test(a_caller_whose_connection_broke_is_given_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
