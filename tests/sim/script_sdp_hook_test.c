/* The sdp hook: descriptions on their way from leg to leg, looked at and edited. */
#include "transfer_helpers.h"

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

#define C_ALL  AUDIO("carol", "10.0.0.4", "0 8")
#define C_PCMA AUDIO("carol", "10.0.0.4", "8")
#define TOLD   "sip.log.info('%s from %s to %s', info.kind, info.from.uri.user, info.to.uri.user) "

/* alice and bob talk; bob sends her to carol. */
static void in_a_transfer_it_sees_what_the_two_tell_each_other(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(TRANSFER_PLAN "sip.on.sdp(function(sdp, info) sdp:keep{'PCMA'} " TOLD "end)\n");
	edited_call(&a, &invite);
	world_forget_log(w);
	refer(invite->call, "Refer-To: <sip:carol@example.org>");
	NOTIFIED_TRYING(bob);
	m = soon(carol, "INVITE");
	phone_reply(m, 200, NULL, NULL, C_ALL);
	m = soon(alice, "INVITE");
	phone_assert_body(m, C_PCMA);
	phone_reply(m, 200, NULL, NULL, A_ALL);
	soon(alice, "ACK");
	phone_assert_body(soon(carol, "ACK"), A_PCMA);
	NOTIFIED_LAST(bob, "SIP/2.0 200");
	ok(soon(bob, "BYE"));
	world_expect_log(w, "offer from carol to alice");
	world_expect_log(w, "answer from alice to carol");
	hang_up(a, carol);
	end();
}

/* The hook waits, and carol hangs up meanwhile: alice has agreed to talk to her, and gets bob back. */
static void in_a_transfer_the_other_party_may_go_while_it_waits(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(TRANSFER_PLAN "sip.on.sdp(function(sdp, info) sdp:keep{'PCMA'} if info.kind == 'answer' and info.to.uri.user == 'carol' then sip.sleep(2) end end)\n");
	edited_call(&a, &invite);
	refer(invite->call, "Refer-To: <sip:carol@example.org>");
	NOTIFIED_TRYING(bob);
	m = soon(carol, "INVITE");
	phone_reply(m, 200, NULL, NULL, C_ALL);
	phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, A_ALL);
	soon(alice, "ACK");
	world_advance(w, SH_SECOND);
	phone_bye(m->call);
	soon(carol, "ACK");
	soon(carol, "200 BYE");
	NOTIFIED_LAST(bob, "SIP/2.0 487");
	m = soon(alice, "INVITE");
	phone_assert_body(m, B_PCMA);
	phone_reply(m, 200, NULL, NULL, A_ALL);
	soon(alice, "ACK");
	SH_LIST_EACH (l, &carol->log) /* her 200 again and again, until the ACK */
		SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
	hang_up(a, bob);
	end();
}

static void when_a_call_is_picked_up_it_sees_what_the_two_tell_each_other(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a, *c;
	char replaces[256];

	(void)state;
	begin(TO_PHONES "sip.on.sdp(function(sdp, info) sdp:keep{'PCMA'} " TOLD "end)\n");
	edited_call(&a, &invite);
	world_forget_log(w);
	snprintf(replaces, sizeof(replaces), "Replaces: %s;to-tag=%s;from-tag=%s", invite->call->id, invite->call->remote_tag, invite->call->local_tag);
	c = phone_invite(carol, "sip:bob@example.org", replaces, C_ALL);
	m = soon(alice, "INVITE");
	phone_assert_body(m, C_PCMA);
	phone_reply(m, 200, NULL, NULL, A_ALL);
	soon(alice, "ACK");
	m = phone_expect_in(c, "200 INVITE", SH_SECOND);
	phone_assert_body(m, A_PCMA);
	phone_ack(m, NULL, NULL);
	ok(soon(bob, "BYE"));
	world_expect_log(w, "offer from carol to alice");
	world_expect_log(w, "answer from alice to carol");
	hang_up(a, carol);
	end();
}

/* The phone rings: the caller is answered by who picks up. */
static void picks_up_while_it_rings(const char *plan, struct phone_call **a, struct phone_msg **invite, struct phone_call **c)
{
	char replaces[256];

	begin(plan);
	*a = phone_invite(alice, "sip:bob@example.org", NULL, A_ALL);
	*invite = phone_expect(bob, "INVITE", 3 * SH_SECOND);
	phone_assert_body(*invite, A_PCMA);
	phone_reply(*invite, 180, NULL, NULL, NULL);
	soon(alice, "180");
	world_forget_log(w);
	snprintf(replaces, sizeof(replaces), "Replaces: %s;to-tag=%s;from-tag=%s", (*invite)->call->id, (*invite)->call->remote_tag, (*invite)->call->local_tag);
	*c = phone_invite(carol, "sip:bob@example.org", replaces, C_ALL);
}

static void when_a_call_that_rings_is_picked_up_it_sees_both(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a, *c;

	(void)state;
	picks_up_while_it_rings(TO_PHONES "sip.on.sdp(function(sdp, info) sdp:keep{'PCMA'} " TOLD "end)\n", &a, &invite, &c);
	m = phone_expect_in(c, "200 INVITE", SH_SECOND);
	phone_assert_body(m, A_PCMA);
	phone_ack(m, NULL, NULL);
	is_cancelled(invite);
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, C_PCMA);
	phone_ack(m, NULL, NULL);
	world_expect_log(w, "answer from carol to alice");
	world_expect_log(w, "answer from alice to carol");
	hang_up(a, carol);
	end();
}

/* While the hook thinks the caller gives up, or bob answers. */
static void a_pickup_that_is_looked_at_may_come_too_late(void **state)
{
	static const char plan[] = TO_PHONES "sip.on.sdp(function(sdp, info) sdp:keep{'PCMA'} if info.from.remote_tag then sip.sleep(1) end end)\n";
	struct phone_msg *invite, *m;
	struct phone_call *a, *c;

	(void)state;
	picks_up_while_it_rings(plan, &a, &invite, &c);
	phone_expect_none(carol, "2xx", 500 * SH_MS);
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	is_cancelled(invite);
	soon(carol, "100");
	soon(alice, "100");
	phone_ack(phone_expect(carol, "481", 3 * SH_SECOND), NULL, NULL);
	end();

	picks_up_while_it_rings(plan, &a, &invite, &c);
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
	phone_reply(invite, 200, NULL, NULL, B_ALL);
	m = phone_expect(alice, "200 INVITE", 5 * SH_SECOND); /* somebody's: of both, one */
	phone_ack(m, NULL, NULL);
	world_advance(w, 5 * SH_SECOND);
	phone_bye(a);
	world_advance(w, 2 * SH_SECOND);
	world_settle(w, 300 * SH_SECOND);
	world_destroy(w);
}

#define PARTS(codecs)                                                                                                  \
	"--x\r\nContent-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n"   \
	"\x01\x02 as it is\r\n--x\r\nContent-Type: application/sdp\r\n\r\n" AUDIO("alice", "10.0.0.2", codecs) "\r\n--x--\r\n"

/* RFC 5621: of a body with several parts it sees the description, and the others stay as they are. */
static void in_a_body_of_several_parts_it_edits_the_description(void **state)
{
	struct phone_msg *m;
	struct phone_call *a;

	(void)state;
	begin(HOOK("sdp:keep{'PCMA'}\nsip.log.info('%s: %s', info.kind, info.from.remote_sdp)\n"));
	a = phone_invite(alice, "sip:bob@example.org", "Content-Type: multipart/mixed;boundary=x\nMIME-Version: 1.0", PARTS("0 8 9"));
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Content-Type", "multipart/mixed;boundary=x");
	phone_assert_header(m, "MIME-Version", "1.0");
	phone_assert_body(m, PARTS("8"));
	phone_reply(m, 200, NULL, "Content-Type: multipart/mixed;boundary=x", PARTS("0 8"));
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, PARTS("8"));
	phone_ack(m, NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 10 * SH_MS);
	world_expect_log(w, "offer: v=0");
	phone_reinvite(a, "Content-Type: multipart/mixed;boundary=x", PARTS("0 8"));
	m = soon(bob, "INVITE");
	phone_assert_body(m, PARTS("8"));
	phone_reply(m, 200, NULL, NULL, B_ALL);
	soon(bob, "ACK");
	m = soon(alice, "200 INVITE");
	phone_assert_body(m, B_PCMA);
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(a, bob);
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
		cmocka_unit_test(in_a_transfer_it_sees_what_the_two_tell_each_other),
		cmocka_unit_test(in_a_transfer_the_other_party_may_go_while_it_waits),
		cmocka_unit_test(when_a_call_that_rings_is_picked_up_it_sees_both),
		cmocka_unit_test(a_pickup_that_is_looked_at_may_come_too_late),
		cmocka_unit_test(when_a_call_is_picked_up_it_sees_what_the_two_tell_each_other),
		cmocka_unit_test(in_a_body_of_several_parts_it_edits_the_description),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
