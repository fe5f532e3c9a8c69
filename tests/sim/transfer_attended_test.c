/* Attended transfers (RFC 5589 7): the transferor has a call of its own with the target, and REFERs the other party to it
 * with Replaces (RFC 3891). Each leg of ours is a dialog of its own, so what Replaces names is mapped onto its partner. */
#include "transfer_helpers.h"

/* bob talks with alice (as called or calling), and with carol, whom he has called. */
static struct talk t;
static struct phone_call *bob_carol, *carol_bob;

static void consult_at(const char *file, int line)
{
	struct phone_msg *m;

	begin(TRANSFER_PLAN);
	t = talk_at(file, line);
	phone_reinvite(t.b, NULL, SDP_B "a=sendonly\r\n");
	phone_reply(phone_expect_at(alice, NULL, "INVITE", SH_SECOND, file, line), 200, NULL, NULL, SDP_A "a=recvonly\r\n");
	soon(alice, "ACK");
	phone_ack(phone_expect_at(bob, NULL, "200", SH_SECOND, file, line), NULL, NULL);
	bob_carol = phone_invite(bob, "sip:carol@example.org", NULL, SDP_B);
	m = phone_expect_at(carol, NULL, "INVITE", SH_SECOND, file, line);
	carol_bob = m->call;
	phone_reply(m, 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	phone_ack(phone_expect_at(bob, bob_carol, "200", SH_SECOND, file, line), NULL, NULL);
	world_advance(w, 10 * SH_MS);
}
#define consult() consult_at(__FILE__, __LINE__)

/* carol is asked what she can do now, alice is told, carol hears what alice can do. */
static void come_together_at(const char *file, int line)
{
	struct phone_msg *m = phone_expect_at(carol, NULL, "INVITE", SH_SECOND, file, line);

	assert_ptr_equal(m->call, carol_bob);
	phone_assert_body_at(m, "", file, line);
	phone_reply(m, 200, NULL, NULL, SDP_C);
	m = phone_expect_at(alice, NULL, "INVITE", SH_SECOND, file, line);
	phone_assert_body_at(m, SDP_C, file, line);
	phone_reply(m, 200, NULL, NULL, SDP_A);
	phone_assert_body_at(phone_expect_at(carol, NULL, "ACK", SH_SECOND, file, line), SDP_A, file, line);
	phone_expect_at(alice, NULL, "ACK", SH_SECOND, file, line);
}
#define come_together() come_together_at(__FILE__, __LINE__)

static void talk_and_hang_up(void)
{
	phone_in_call(carol_bob, "INFO", NULL, NULL);
	ok(soon(alice, "INFO"));
	soon(carol, "200 INFO");
	hang_up(t.a, carol);
}

/* The consultation is over: bob asks for a blind transfer to carol, and leaves (RFC 5589 7.6). */
static void blind_instead(void)
{
	struct phone_msg *m;

	refer(t.b, "Refer-To: <sip:carol@example.org>");
	NOTIFIED_TRYING(bob);
	m = soon(carol, "INVITE");
	carol_bob = m->call;
	joined(m, SDP_C, alice, SDP_A);
	NOTIFIED_LAST(bob, "200");
	ok(soon(bob, "BYE"));
	talk_and_hang_up();
	end();
}

static void rfc5589_7_3_and_rfc5359_2_5_attended_transfer(void **state)
{
	(void)state;
	consult();
	refer(t.b, replaces(bob_carol, "carol"));
	NOTIFIED_TRYING(bob);
	come_together();
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
	ok(phone_expect_in(t.b, "BYE", SH_SECOND));
	talk_and_hang_up();
	world_expect_log(w, "transfer to carol: done");
	world_expect_log(w, "hangup carol by engine 200");
	world_expect_log(w, "hangup bob by caller 200");
	end();
}

/* The consultation is over before the transfer begins, which is a blind one then. */
static void rfc5589_7_1_exposing_the_transfer_target(void **state)
{
	struct phone_msg *m;

	(void)state;
	consult();
	hang_up(bob_carol, carol);
	refer(t.b, "Refer-To: <sip:carol@example.org>");
	NOTIFIED_TRYING(bob);
	m = soon(carol, "INVITE");
	carol_bob = m->call;
	joined(m, SDP_C, alice, SDP_A);
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	talk_and_hang_up();
	end();
}

/* The target is referred to the transferee, by a REFER of its own that names the dialog with the target. */
static void rfc5589_7_2_protecting_the_transfer_target(void **state)
{
	char headers[1024];
	struct phone_call *r;
	struct phone_msg *m;

	(void)state;
	consult();
	snprintf(headers, sizeof(headers), "%s\nRequire: tdialog\nTarget-Dialog: %s;local-tag=%s;remote-tag=%s\nContact: <sip:bob@10.0.0.3>",
		 replaces(t.b, "alice"), bob_carol->id, bob_carol->remote_tag, bob_carol->local_tag);
	r = phone_request(bob, "REFER", "sip:10.0.0.1:5060", headers, NULL);
	phone_expect_in(r, "200 REFER", SH_SECOND);
	assert_ptr_equal(NOTIFIED_TRYING(bob)->call, r);
	/* it is alice who comes over, into carol's call: nobody hears of carol before she has agreed */
	m = soon(alice, "INVITE");
	phone_assert_body(m, "");
	phone_reply(m, 200, NULL, NULL, SDP_A);
	m = soon(carol, "INVITE");
	phone_assert_body(m, SDP_A);
	phone_reply(m, 200, NULL, NULL, SDP_C);
	phone_assert_body(soon(alice, "ACK"), SDP_C);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	ok(phone_expect_in(t.b, "BYE", SH_SECOND));
	phone_bye(bob_carol);
	soon(bob, "200 BYE");
	talk_and_hang_up();
	end();
}

/* Without a hook the REFER goes to the phones themselves. One of them cannot: the other one is asked to call it, and comes by here
 * again, with the dialog as its peer calls it. */
static void rfc5589_7_4_recovery_when_one_party_does_not_support_refer(void **state)
{
	char value[512];
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	consult();
	world_reload(w, TO_PHONES);
	phone_in_call(t.b, "REFER", replaces(bob_carol, "carol"), NULL);
	phone_reply(soon(alice, "REFER"), 501, NULL, NULL, NULL);
	soon(bob, "501");
	phone_in_call(bob_carol, "REFER", replaces(t.b, "alice"), NULL);
	m = soon(carol, "REFER");
	snprintf(value, sizeof(value), "<sip:alice@example.org?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>", t.a->id, t.a->local_tag,
		 t.a->remote_tag);
	phone_assert_header(m, "Refer-To", value);
	phone_reply(m, 202, NULL, NULL, NULL);
	soon(bob, "202");
	phone_in_call(carol_bob, "NOTIFY", "Event: refer\nSubscription-State: active;expires=60\nContent-Type: message/sipfrag", "SIP/2.0 100 Trying");
	ok(soon(bob, "NOTIFY"));
	soon(carol, "200 NOTIFY");
	snprintf(value, sizeof(value), "Require: replaces\nReplaces: %s;to-tag=%s;from-tag=%s", t.a->id, t.a->local_tag, t.a->remote_tag);
	c = phone_invite(carol, "sip:alice@example.org", value, SDP_C);
	m = soon(alice, "INVITE");
	assert_ptr_equal(m->call, t.a);
	phone_assert_body(m, SDP_C);
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	m = phone_expect_in(c, "200 INVITE", SH_SECOND);
	phone_assert_body(m, SDP_A);
	phone_ack(m, NULL, NULL);
	ok(phone_expect_in(t.b, "BYE", SH_SECOND));
	phone_in_call(carol_bob, "NOTIFY", "Event: refer\nSubscription-State: terminated;reason=noresource\nContent-Type: message/sipfrag",
		      "SIP/2.0 200 OK");
	ok(soon(bob, "NOTIFY"));
	soon(carol, "200 NOTIFY");
	hang_up(bob_carol, carol);
	hang_up(t.a, carol);
	end();
}

/* The Refer-To is an address of record, and says that the target has to understand Replaces: here it is we who do. */
static void rfc5589_7_5_a_contact_that_does_not_lead_to_one_phone(void **state)
{
	char headers[512];

	(void)state;
	consult();
	snprintf(headers, sizeof(headers), "%.*s&Require=replaces>", (int)strlen(replaces(bob_carol, "carol")) - 1, replaces(bob_carol, "carol"));
	refer(t.b, headers);
	NOTIFIED_TRYING(bob);
	come_together();
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
	ok(phone_expect_in(t.b, "BYE", SH_SECOND));
	talk_and_hang_up();
	/* and when it is the dialog of another server, the INVITE there says so too */
	t = talk();
	refer(t.b, "Refer-To: <sip:carol@example.org?Replaces=abc%40elsewhere%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces>");
	NOTIFIED_TRYING(bob);
	struct phone_msg *m = soon(carol, "INVITE");
	phone_assert_header(m, "Replaces", "abc@elsewhere;to-tag=1;from-tag=2");
	phone_assert_header(m, "Require", "replaces");
	phone_reply(m, 420, NULL, "Unsupported: replaces", NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 420");
	hang_up(t.b, alice);
	end();
}

/* Figure 14: the target does not understand Replaces, and refuses an INVITE that requires it. */
static void rfc5589_7_7_fallback_to_basic_transfer_after_420(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	bob_carol = phone_invite(bob, "sip:carol@example.org", "Require: replaces", SDP_B);
	m = soon(carol, "INVITE");
	phone_reply(m, 420, NULL, "Unsupported: replaces", NULL);
	soon(carol, "ACK");
	m = soon(bob, "420");
	phone_assert_header(m, "Unsupported", "replaces");
	phone_ack(m, NULL, NULL);
	blind_instead();
}

/* Figure 15: OPTIONS in both dialogs says what the phones can do; the answers are theirs, not ours. */
static void rfc5589_7_7_fallback_to_basic_transfer_after_options(void **state)
{
	(void)state;
	consult();
	phone_in_call(t.b, "OPTIONS", NULL, NULL);
	phone_reply(soon(alice, "OPTIONS"), 200, NULL, "Allow: INVITE, ACK, BYE, CANCEL, REFER\nSupported: replaces", NULL);
	soon(bob, "200 OPTIONS");
	phone_in_call(bob_carol, "OPTIONS", NULL, NULL);
	phone_reply(soon(carol, "OPTIONS"), 200, NULL, "Allow: INVITE, ACK, BYE, CANCEL", NULL);
	soon(bob, "200 OPTIONS");
	hang_up(bob_carol, carol);
	blind_instead();
}

/* bob's phone is the focus of a conference for the time of the transfer. Each dialog is with us: what the two subscribe to would
 * have to be there, so that they are refused, and the transfer goes on without. */
static void rfc5589_9_transfer_as_an_ad_hoc_conference(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	phone_reinvite(t.b, "Contact: <sip:conf@10.0.0.3>;isfocus", SDP_B "a=sendonly\r\n");
	m = soon(alice, "INVITE");
	phone_assert_header(m, "Contact", "<sip:10.0.0.1:5060>");
	phone_reply(m, 200, NULL, NULL, SDP_A "a=recvonly\r\n");
	soon(alice, "ACK");
	phone_ack(soon(bob, "200"), NULL, NULL);
	phone_request(alice, "SUBSCRIBE", "sip:10.0.0.1:5060", "Event: conference\nExpires: 600\nContact: <sip:alice@10.0.0.2>", NULL);
	soon(alice, "489");
	bob_carol = phone_invite(bob, "sip:carol@example.org", "Contact: <sip:conf@10.0.0.3>;isfocus", SDP_B);
	m = soon(carol, "INVITE");
	carol_bob = m->call;
	phone_reply(m, 180, NULL, NULL, NULL);
	soon(bob, "180");
	phone_reply(m, 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	phone_ack(soon(bob, "200"), NULL, NULL);
	/* all three talk: bob mixes */
	phone_reinvite(t.b, "Contact: <sip:conf@10.0.0.3>;isfocus", SDP_B);
	phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	phone_ack(soon(bob, "200"), NULL, NULL);
	world_advance(w, 10 * SH_SECOND);
	refer(t.b, replaces(bob_carol, "carol"));
	NOTIFIED_TRYING(bob);
	come_together();
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	/* the conference is over */
	ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
	ok(phone_expect_in(t.b, "BYE", SH_SECOND));
	talk_and_hang_up();
	end();
}

/* The one who was called first is the target: bob REFERs carol to alice. */
static void the_consulted_party_may_be_the_one_that_is_referred(void **state)
{
	struct phone_msg *m;

	(void)state;
	consult();
	refer(bob_carol, replaces(t.b, "alice"));
	NOTIFIED_TRYING(bob);
	m = soon(alice, "INVITE");
	phone_assert_body(m, "");
	phone_reply(m, 200, NULL, NULL, SDP_A);
	m = soon(carol, "INVITE");
	phone_assert_body(m, SDP_A);
	phone_reply(m, 200, NULL, NULL, SDP_C);
	phone_assert_body(soon(alice, "ACK"), SDP_C);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	ok(phone_expect_in(t.b, "BYE", SH_SECOND));
	phone_bye(bob_carol);
	soon(bob, "200 BYE");
	talk_and_hang_up();
	end();
}

static void both_calls_survive_when_the_target_refuses(void **state)
{
	(void)state;
	consult();
	refer(t.b, replaces(bob_carol, "carol"));
	NOTIFIED_TRYING(bob);
	phone_reply(soon(carol, "INVITE"), 488, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 488");
	phone_in_call(carol_bob, "INFO", NULL, NULL);
	ok(soon(bob, "INFO"));
	soon(carol, "200 INFO");
	hang_up(bob_carol, carol);
	hang_up(t.a, bob);
	end();
}

static void the_target_gets_its_session_back_when_the_other_party_refuses(void **state)
{
	(void)state;
	consult();
	refer(t.b, replaces(bob_carol, "carol"));
	NOTIFIED_TRYING(bob);
	phone_reply(soon(carol, "INVITE"), 200, NULL, NULL, SDP_C);
	phone_reply(soon(alice, "INVITE"), 488, NULL, NULL, NULL);
	soon(alice, "ACK");
	phone_assert_body(soon(carol, "ACK"), SDP_B); /* bob's, as before */
	NOTIFIED_LAST(bob, "SIP/2.0 488");
	hang_up(carol_bob, bob);
	hang_up(t.a, bob);
	end();
}

static void the_transferor_may_hang_up_both_calls_at_once(void **state)
{
	(void)state;
	consult();
	refer(t.b, replaces(bob_carol, "carol"));
	phone_bye(t.b);
	phone_bye(bob_carol);
	soon(bob, "200 BYE");
	soon(bob, "200 BYE");
	NOTIFIED_TRYING(bob);
	come_together();
	phone_reply(soon(bob, "NOTIFY"), 481, NULL, NULL, NULL);
	talk_and_hang_up();
	end();
}

static void when_the_other_party_hangs_up_meanwhile_the_consultation_goes_on(void **state)
{
	struct phone_msg *m;

	(void)state;
	consult();
	refer(t.b, replaces(bob_carol, "carol"));
	NOTIFIED_TRYING(bob);
	m = soon(carol, "INVITE");
	phone_bye(t.a);
	soon(alice, "200 BYE");
	NOTIFIED_LAST(bob, "SIP/2.0 487");
	ok(phone_expect_in(t.b, "BYE", SH_SECOND));
	phone_reply(m, 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	hang_up(bob_carol, carol);
	end();
}

static void when_the_target_hangs_up_meanwhile_its_call_ends_and_the_other_goes_on(void **state)
{
	struct phone_msg *m;

	(void)state;
	consult();
	refer(t.b, replaces(bob_carol, "carol"));
	NOTIFIED_TRYING(bob);
	m = soon(carol, "INVITE");
	phone_bye(carol_bob);
	soon(carol, "200 BYE");
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 487");
	ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
	hang_up(t.a, bob);
	end();
}

/* RFC 3891 3: an early dialog that the other side began cannot be replaced. */
static void rfc5589_7_6_a_dialog_that_is_still_ringing_is_not_replaced(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	bob_carol = phone_invite(bob, "sip:carol@example.org", NULL, SDP_B);
	m = soon(carol, "INVITE");
	phone_reply(m, 180, NULL, NULL, NULL);
	soon(bob, "180");
	phone_in_call(t.b, "REFER", replaces(bob_carol, "carol"), NULL);
	soon(bob, "481 REFER");
	/* the transferor gives it up and asks for a blind one, as 7.6 says */
	phone_cancel(bob_carol, NULL);
	soon(bob, "200 CANCEL");
	phone_ack(soon(bob, "487"), NULL, NULL);
	is_cancelled(m);
	blind_instead();
}

/* A Replaces that is none of ours goes to the target with the INVITE (RFC 5589 7.3: it is another server's). */
static void a_foreign_replaces_is_passed_to_the_target(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, "Refer-To: <sip:carol@example.org?Replaces=abc%40elsewhere%3Bto-tag%3D1%3Bfrom-tag%3D2>\n"
		   "Referred-By: <sip:bob@example.org>");
	NOTIFIED_TRYING(bob);
	m = soon(carol, "INVITE");
	phone_assert_header(m, "Replaces", "abc@elsewhere;to-tag=1;from-tag=2");
	phone_assert_header(m, "Referred-By", "<sip:bob@example.org>");
	phone_reply(m, 481, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 481");
	hang_up(t.b, alice);
	end();
}

/* irontec/itsbc #8, sems #205: without a hook the REFER passes, and Replaces in it is what the other side calls the dialog. */
static void replaces_in_a_passed_refer_is_mapped(void **state)
{
	char expected[256];
	struct phone_msg *m;

	(void)state;
	consult();
	world_reload(w, TO_PHONES);
	phone_in_call(t.b, "REFER", replaces(bob_carol, "carol"), NULL);
	m = soon(alice, "REFER");
	snprintf(expected, sizeof(expected), "<sip:carol@example.org?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>", carol_bob->id,
		 carol_bob->local_tag, carol_bob->remote_tag);
	phone_assert_header(m, "Refer-To", expected);
	phone_reply(m, 603, NULL, NULL, NULL);
	soon(bob, "603");
	hang_up(bob_carol, carol);
	hang_up(t.a, bob);
	end();
}

/* bob talks with alice, carol with dave, whom she has called. */
static struct phone_call *carol_dave, *dave_carol;
static struct phone *dave;

static void talk_apart(void)
{
	struct phone_msg *m;

	t = talk();
	dave = world_phone(w, "dave", DAVE);
	carol_dave = phone_invite(carol, "sip:dave@example.org", NULL, SDP_C);
	m = soon(dave, "INVITE");
	dave_carol = m->call;
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(dave, "ACK");
	phone_ack(soon(carol, "200"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
}

/* Who watches carol's lamp knows Call-ID and tags of her call, and would have dave for himself. */
static void a_dialog_of_somebody_else_is_not_taken(void **state)
{
	char headers[1024];

	(void)state;
	begin(TRANSFER_PLAN);
	talk_apart();
	phone_in_call(t.b, "REFER", replaces(carol_dave, "dave"), NULL);
	soon(bob, "403 REFER");
	world_expect_log(w, "transfer to dave: 403");
	phone_in_call(t.b, "REFER", replaces(dave_carol, "carol"), NULL);
	soon(bob, "403 REFER");
	/* nor for somebody else: the two who talk, named from outside by a third */
	snprintf(headers, sizeof(headers), "%s\nTarget-Dialog: %s;local-tag=%s;remote-tag=%s\nContact: <sip:bob@10.0.0.3>",
		 replaces(t.b, "alice"), carol_dave->id, carol_dave->remote_tag, carol_dave->local_tag);
	phone_request(bob, "REFER", "sip:10.0.0.1:5060", headers, NULL);
	soon(bob, "403 REFER");
	phone_expect_none(dave, "*", SH_SECOND);
	hang_up(carol_dave, dave);
	hang_up(t.a, bob);
	end();
}

static void a_script_may_allow_anyones_dialog(void **state)
{
	(void)state;
	begin(TO_PHONES "sip.on.refer(function(ref) ref:accept{anyone = true} end)\n");
	talk_apart();
	refer(t.b, replaces(carol_dave, "dave"));
	NOTIFIED_TRYING(bob);
	phone_reply(soon(dave, "INVITE"), 200, NULL, NULL, SDP_C);
	phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
	soon(dave, "ACK");
	soon(alice, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	ok(soon(carol, "BYE"));
	ok(soon(bob, "BYE"));
	hang_up(t.a, dave);
	end();
}

/* The transferor speaks from another address in his second call: his address of record is the same. */
static void a_transferor_is_known_by_his_address_of_record(void **state)
{
	struct phone *other;
	struct phone_msg *m;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	other = world_phone(w, "bob", "10.0.0.7");
	bob_carol = phone_invite(other, "sip:carol@example.org", NULL, SDP_B);
	m = soon(carol, "INVITE");
	carol_bob = m->call;
	phone_reply(m, 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	phone_ack(soon(other, "200"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	refer(t.b, replaces(bob_carol, "carol"));
	NOTIFIED_TRYING(bob);
	come_together();
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	ok(soon(other, "BYE"));
	ok(soon(bob, "BYE"));
	talk_and_hang_up();
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc5589_7_3_and_rfc5359_2_5_attended_transfer),
	    cmocka_unit_test(rfc5589_7_1_exposing_the_transfer_target),
	    cmocka_unit_test(rfc5589_7_2_protecting_the_transfer_target),
	    cmocka_unit_test(rfc5589_7_4_recovery_when_one_party_does_not_support_refer),
	    cmocka_unit_test(rfc5589_7_5_a_contact_that_does_not_lead_to_one_phone),
	    cmocka_unit_test(rfc5589_7_7_fallback_to_basic_transfer_after_420),
	    cmocka_unit_test(rfc5589_7_7_fallback_to_basic_transfer_after_options),
	    cmocka_unit_test(rfc5589_9_transfer_as_an_ad_hoc_conference),
	    cmocka_unit_test(the_consulted_party_may_be_the_one_that_is_referred),
	    cmocka_unit_test(both_calls_survive_when_the_target_refuses),
	    cmocka_unit_test(the_target_gets_its_session_back_when_the_other_party_refuses),
	    cmocka_unit_test(the_transferor_may_hang_up_both_calls_at_once),
	    cmocka_unit_test(when_the_other_party_hangs_up_meanwhile_the_consultation_goes_on),
	    cmocka_unit_test(when_the_target_hangs_up_meanwhile_its_call_ends_and_the_other_goes_on),
	    cmocka_unit_test(rfc5589_7_6_a_dialog_that_is_still_ringing_is_not_replaced),
	    cmocka_unit_test(a_foreign_replaces_is_passed_to_the_target),
	    cmocka_unit_test(replaces_in_a_passed_refer_is_mapped),
	    cmocka_unit_test(a_dialog_of_somebody_else_is_not_taken),
	    cmocka_unit_test(a_script_may_allow_anyones_dialog),
	    cmocka_unit_test(a_transferor_is_known_by_his_address_of_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
