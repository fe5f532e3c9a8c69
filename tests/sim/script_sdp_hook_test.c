/* The sdp hook: descriptions on their way from leg to leg, looked at and edited. */
#include "b2bua_helpers.h"

#define HOOK(body) PLAN_BOB "sip.on.sdp(function(sdp, info)\n" body "end)\n"
#define AUDIO(who, ip, codecs)                                                                                         \
	"v=0\r\no=" who " 1 1 IN IP4 " ip "\r\ns=-\r\nc=IN IP4 " ip "\r\nt=0 0\r\nm=audio 4000 RTP/AVP " codecs "\r\n"
#define A_ALL  AUDIO("alice", "10.0.0.2", "0 8 9")
#define A_PCMA AUDIO("alice", "10.0.0.2", "8")
#define B_ALL  AUDIO("bob", "10.0.0.3", "0 8")
#define B_PCMA AUDIO("bob", "10.0.0.3", "8")

static struct phone_msg *edited_call(struct phone_call **a, struct phone_msg **invite)
{
	struct phone_msg *m;

	*a = phone_invite(alice, "sip:bob@example.org", NULL, A_ALL);
	*invite = soon(bob, "INVITE");
	phone_assert_body(*invite, A_PCMA);
	phone_reply(*invite, 200, NULL, NULL, B_ALL);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, B_PCMA);
	phone_ack(m, NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 10 * SH_MS);
	return m;
}

static void without_the_hook_descriptions_pass_untouched(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	phone_invite(alice, "sip:bob@example.org", NULL, A_ALL);
	m = soon(bob, "INVITE");
	phone_assert_body(m, A_ALL);
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

static void it_edits_offers_and_answers_of_the_whole_call(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(HOOK("sdp:keep{'PCMA'}\nsip.log.info('%s early=%s to=%s', info.kind, info.early, info.to and info.to.state or '-')\n"));
	edited_call(&a, &invite);
	assert_true(world_has_log(w, "offer early=true to=trying"));
	assert_true(world_has_log(w, "answer early=true"));
	phone_reinvite(a, NULL, A_ALL);
	m = soon(bob, "INVITE");
	phone_assert_body(m, A_PCMA);
	phone_reply(m, 200, NULL, NULL, B_ALL);
	soon(bob, "ACK");
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, B_PCMA);
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	assert_true(world_has_log(w, "offer early=false to=up"));
	phone_in_call(invite->call, "UPDATE", NULL, B_ALL);
	m = soon(alice, "UPDATE");
	phone_assert_body(m, B_PCMA);
	phone_reply(m, 200, NULL, NULL, A_ALL);
	phone_assert_body(soon(bob, "200 UPDATE"), A_PCMA);
	hang_up(a, bob);
	end();
}

static void it_may_wait(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(HOOK("sip.sleep(0.1)\nsdp:keep{'PCMA'}\n"));
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	edited_call(&a, &invite);
	phone_reinvite(a, NULL, NULL); /* a late offer: its answer is in the ACK */
	m = soon(bob, "INVITE");
	phone_reply(m, 200, NULL, NULL, B_ALL);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, B_PCMA);
	phone_ack(m, NULL, A_ALL);
	phone_assert_body(soon(bob, "ACK"), A_PCMA);
	hang_up(a, bob);
	soon(alice, "100"); /* the first answer took its time */
	end();
}

static void a_cancel_while_it_waits(void **state)
{
	struct phone_call *a;

	(void)state;
	begin(HOOK("sip.sleep(5)\n"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, A_ALL);
	soon(alice, "100");
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	phone_expect_none(bob, "*", 6 * SH_SECOND);
	end();
}

static void an_error_in_it_leaves_the_description_as_it_was(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(HOOK("sdp:keep{'PCMA'}\nerror('oh')\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, A_ALL);
	m = soon(bob, "INVITE");
	phone_assert_body(m, A_ALL);
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	world_expect_log(w, "hook sdp");
	w->forgiving = true;
	end();
}

static void what_does_not_parse_passes_untouched(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(HOOK("sdp:keep{'PCMA'}\nsip.log.error('asked')\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, "hello");
	m = soon(bob, "INVITE");
	phone_assert_body(m, "hello");
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_the_hook_descriptions_pass_untouched),
		cmocka_unit_test(it_edits_offers_and_answers_of_the_whole_call),
		cmocka_unit_test(it_may_wait),
		cmocka_unit_test(a_cancel_while_it_waits),
		cmocka_unit_test(an_error_in_it_leaves_the_description_as_it_was),
		cmocka_unit_test(what_does_not_parse_passes_untouched),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
