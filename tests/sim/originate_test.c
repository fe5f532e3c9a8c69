/* sip.originate: calls that a script makes (RFC 3725). */
#include "script_world.h"

#define SDP_B   "v=0\r\no=b 1 1 IN IP4 10.0.0.3\r\ns=-\r\nc=IN IP4 10.0.0.3\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\n"
#define SDP_C   "v=0\r\no=c 1 1 IN IP4 10.0.0.4\r\ns=-\r\nc=IN IP4 10.0.0.4\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n"
#define HANGUP  "sip.on.hangup(function(call, why) sip.log.info('over: %s %d', why.by, why.code) end)\n"
#define MAKE(options, then)                                                                                            \
	PLAN HANGUP "sip.on.message(function(req)\n req:reply(202)\n local call, res = sip.originate{" options "}\n"   \
		    " sip.log.info('made: %s', call and call.state or res.code .. ' ' .. tostring(res.cause))\n" then "\nend)\n"
#define BOTH    "first = 'sip:bob@10.0.0.3', second = 'sip:carol@10.0.0.4'"

static void click(void)
{
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "202");
}

static void made_at(const char *text, const char *file, int line)
{
	char part[100];

	world_advance(w, 10 * SH_MS);
	snprintf(part, sizeof(part), "made: %s", text);
	world_expect_log_at(w, part, file, line);
}
#define made(text) made_at((text), __FILE__, __LINE__)

static void over(const char *text)
{
	char part[100];

	snprintf(part, sizeof(part), "over: %s", text);
	world_advance(w, 10 * SH_MS);
	world_expect_log(w, part);
	assert_false(world_has_log(w, "over:")); /* once */
}

/* bob answers with an offer, and hears silence. */
static struct phone_msg *first_answers(void)
{
	struct phone_msg *m = soon(bob, "INVITE"), *ack;

	assert_int_equal(m->m.body.len, 0);
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_reply(m, 200, NULL, NULL, SDP_B);
	ack = soon(bob, "ACK");
	phone_assert(bob, strstr(phone_body(ack), "m=audio 9 RTP/AVP 8\r\na=inactive\r\n"));
	return m;
}

/* RFC 3725's other flows: who cannot make the first offer gets one, and it is replaced. */
static void who_cannot_make_the_first_offer_gets_one(void **state)
{
	struct phone_msg *first, *second, *re, *ack;

	(void)state;
	begin(MAKE(BOTH ", offer = true", ""));
	click();
	first = soon(bob, "INVITE");
	phone_assert(bob, strstr(phone_body(first), "m=audio 9 RTP/AVP 0 8 101\r\n") && strstr(phone_body(first), "a=inactive\r\n"));
	phone_reply(first, 200, NULL, NULL, SDP_B "a=inactive\r\n");
	ack = soon(bob, "ACK");
	assert_int_equal(ack->m.body.len, 0);
	second = soon(carol, "INVITE");
	phone_assert_body(second, SDP_B "a=sendrecv\r\n");
	phone_reply(second, 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	re = soon(carol, "INVITE"); /* what was offered was not what bob says when he talks */
	assert_int_equal(re->m.body.len, 0);
	phone_reply(re, 200, NULL, NULL, SDP_C);
	re = soon(bob, "INVITE");
	phone_assert_body(re, SDP_C);
	phone_reply(re, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	ack = soon(carol, "ACK");
	phone_assert_body(ack, SDP_B);
	made("up");
	phone_bye(first->call);
	soon(bob, "200 BYE");
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	over("caller 200");
	end();
}

static struct phone_msg *both_talk(void)
{
	struct phone_msg *first = first_answers(), *second = soon(carol, "INVITE"), *re, *ack;

	assert_int_equal(second->m.body.len, 0);
	phone_reply(second, 180, NULL, NULL, NULL);
	world_advance(w, 2 * SH_SECOND);
	phone_reply(second, 200, NULL, NULL, SDP_C);
	re = soon(bob, "INVITE");
	phone_assert_body(re, SDP_C);
	phone_reply(re, 200, NULL, NULL, SDP_B);
	ack = soon(carol, "ACK");
	phone_assert_body(ack, SDP_B);
	soon(bob, "ACK");
	return first;
}

static void rfc3725_click_to_dial_connects_two(void **state)
{
	struct phone_msg *first;

	(void)state;
	begin(MAKE(BOTH, ""));
	click();
	first = both_talk();
	made("up");
	/* each sees the other */
	phone_assert_contains(first, "From", "<sip:carol@10.0.0.4>;tag=");
	phone_assert_header(first, "To", "<sip:bob@10.0.0.3>");
	/* a call like any other: hold, and the end */
	phone_reinvite(first->call, NULL, SDP_B);
	phone_reply(soon(carol, "INVITE"), 200, NULL, NULL, SDP_C);
	phone_ack(soon(bob, "200 INVITE"), NULL, NULL);
	soon(carol, "ACK");
	phone_bye(first->call);
	soon(bob, "200 BYE");
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	over("caller 200");
	end();
}

static void both_see_the_identity_and_the_headers(void **state)
{
	struct phone_msg *first, *second;

	(void)state;
	begin(MAKE(BOTH ", identity = '\"Desk\" <sip:desk@example.org>', headers = {['X-Click'] = '1'}", ""));
	click();
	first = first_answers();
	second = soon(carol, "INVITE");
	phone_assert_contains(first, "From", "\"Desk\" <sip:desk@example.org>;tag=");
	phone_assert_contains(second, "From", "\"Desk\" <sip:desk@example.org>;tag=");
	phone_assert_header(second, "To", "<sip:carol@10.0.0.4>");
	phone_assert_header(first, "X-Click", "1");
	phone_assert_header(second, "X-Click", "1");
	phone_reply(second, 603, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	made("603 declined");
	over("callee 200");
	end();
}

static void a_first_party_that_is_busy_is_the_result(void **state)
{
	(void)state;
	begin(MAKE(BOTH, ""));
	click();
	answer(bob, 486);
	made("486 busy");
	over("callee 486");
	end();
}

static void nobody_rings_longer_than_the_timeout(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(MAKE(BOTH ", timeout = 5", ""));
	click();
	m = soon(bob, "INVITE");
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_reply(phone_expect(bob, "CANCEL", 6 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	made("408 no_answer");
	over("engine 408");
	end();
}

static void a_first_party_that_hangs_up_while_the_second_rings_ends_it(void **state)
{
	struct phone_msg *first, *second;

	(void)state;
	begin(MAKE(BOTH, ""));
	click();
	first = first_answers();
	second = soon(carol, "INVITE");
	phone_reply(second, 180, NULL, NULL, NULL);
	phone_bye(first->call);
	soon(bob, "200 BYE");
	phone_reply(soon(carol, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(second, 487, NULL, NULL, NULL);
	soon(carol, "ACK");
	made("487 failed");
	over("caller 200");
	end();
}

static void a_first_party_that_refuses_the_re_invite_ends_both(void **state)
{
	(void)state;
	begin(MAKE(BOTH, ""));
	click();
	first_answers();
	phone_reply(soon(carol, "INVITE"), 200, NULL, NULL, SDP_C);
	phone_reply(soon(bob, "INVITE"), 488, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "ACK");
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	made("488 rejected");
	over("engine 200");
	end();
}

static void without_a_second_party_the_script_goes_on(void **state)
{
	struct phone_msg *first, *re;

	(void)state;
	begin(MAKE("first = 'sip:bob@10.0.0.3'", "call.data.n = 1\n call:after(3, 'join')")
	      "sip.timer.join = function(call) call:dial('sip:carol@10.0.0.4') end\n");
	click();
	first = first_answers();
	phone_assert_contains(first, "From", "<sip:example.org>;tag=");
	made("up");
	phone_reply(phone_expect(carol, "INVITE", 4 * SH_SECOND), 200, NULL, NULL, SDP_C);
	re = soon(bob, "INVITE");
	phone_reply(re, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	phone_assert_body(soon(carol, "ACK"), SDP_B);
	world_advance(w, SH_SECOND);
	phone_bye(first->call);
	soon(bob, "200 BYE");
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	over("caller 200");
	end();
}

static void a_2xx_without_an_offer_is_taken(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(MAKE("first = 'sip:bob@10.0.0.3'", "call:hangup()"));
	click();
	m = soon(bob, "INVITE");
	phone_reply(m, 200, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	made("up");
	over("script 200");
	end();
}

static void a_hook_that_is_cancelled_gives_its_call_up(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN HANGUP "sip.on.invite(function(call) sip.originate{" BOTH "} end)\n");
	c = dial("sip:x@example.org");
	m = soon(bob, "INVITE");
	phone_reply(m, 180, NULL, NULL, NULL);
	soon(alice, "100");
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	world_expect_log(w, "over: script 487");
	world_expect_log(w, "over: caller 487");
	end();
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *code, *error;
	} wrong[] = {
		{"sip.originate{}", "option 'first' is needed"},
		{"sip.originate{first = 'sip:a@b', early = 'drop'}", "unknown option 'early'"},
		{"sip.originate{first = 'a b'}", "is no URI"},
		{"return (select(2, sip.originate{first = {}})).cause", "empty"},
	};

	(void)state;
	begin(EVAL);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		const char *got = lua_at(wrong[i].code, __FILE__, __LINE__);

		if (!strstr(got, wrong[i].error))
			fail_msg("%s: %s", wrong[i].code, got);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_cannot_make_the_first_offer_gets_one),
	    cmocka_unit_test(rfc3725_click_to_dial_connects_two),
		cmocka_unit_test(both_see_the_identity_and_the_headers),
		cmocka_unit_test(a_first_party_that_is_busy_is_the_result),
		cmocka_unit_test(nobody_rings_longer_than_the_timeout),
		cmocka_unit_test(a_first_party_that_hangs_up_while_the_second_rings_ends_it),
		cmocka_unit_test(a_first_party_that_refuses_the_re_invite_ends_both),
		cmocka_unit_test(without_a_second_party_the_script_goes_on),
		cmocka_unit_test(a_2xx_without_an_offer_is_taken),
		cmocka_unit_test(a_hook_that_is_cancelled_gives_its_call_up),
		cmocka_unit_test(mistakes_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
