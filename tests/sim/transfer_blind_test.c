/* Blind transfers by REFER (RFC 5589 6, RFC 3515, RFC 7647), and the failures that other products had. */
#include "transfer_helpers.h"

static const char to_carol[] = "Refer-To: <sip:carol@example.org>\nReferred-By: <sip:bob@example.org>";

/* RFC 5589 6.2: the REFER in the dialog of the call. The callee sends the caller to carol. */
static void rfc5589_6_2_and_rfc5359_2_4_basic_transfer_with_dialog_reuse(void **state)
{
	struct phone_msg *m, *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	m = refer(t.b, to_carol);
	phone_assert_header(m, "Refer-Sub", NULL);
	m = NOTIFIED_TRYING(bob);
	phone_assert_header(m, "Event", "refer");
	invite = target_rings(carol);
	phone_assert_contains(invite, "From", "<sip:alice@example.org>");
	phone_assert_contains(invite, "To", "<sip:carol@example.org>");
	phone_assert_header(invite, "Referred-By", "<sip:bob@example.org>");
	phone_assert_header(invite, "Max-Forwards", "70");
	notified(bob, "SIP/2.0 180 Ringing", "active;expires=");
	joined(invite, SDP_C, alice, SDP_A);
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	world_expect_log(w, "transfer to carol: done");
	/* the two who are left talk with each other */
	phone_reinvite(t.a, NULL, SDP_HOLD);
	phone_reply(soon(carol, "INVITE"), 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	phone_ack(soon(alice, "200"), NULL, NULL);
	hang_up(t.a, carol);
	world_expect_log(w, "hangup bob by caller 200");
	end();
}

static void the_caller_may_transfer_the_callee(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.a, "Refer-To: sip:carol@example.org;method=INVITE");
	NOTIFIED_TRYING(alice);
	invite = target_rings(carol);
	phone_assert_contains(invite, "From", "<sip:bob@example.org>");
	notified(alice, "180", "active");
	joined(invite, SDP_C, bob, SDP_B);
	NOTIFIED_LAST(alice, "SIP/2.0 200 OK");
	ok(soon(alice, "BYE")); /* who stays is told to leave, behind the last NOTIFY */
	hang_up(invite->call, bob);
	world_expect_log(w, "hangup bob by caller");
	end();
}

static void refused(unsigned code, const char *status)
{
	struct phone_msg *invite;
	struct talk t;

	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = target_rings(carol);
	notified(bob, "180", "active");
	phone_reply(invite, code, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, status);
	phone_expect_none(alice, "*", 40 * SH_SECOND);
	/* the old call is as it was */
	phone_reinvite(t.b, NULL, SDP_B);
	phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	phone_ack(soon(bob, "200"), NULL, NULL);
	hang_up(t.b, alice);
	end();
}

static void rfc5589_6_3_1_target_busy_the_old_call_survives(void **state)
{
	(void)state;
	refused(486, "SIP/2.0 486 Busy Here");
}

static void rfc5589_6_3_2_target_does_not_answer(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = target_rings(carol);
	notified(bob, "180", "active");
	ok(phone_expect(carol, "CANCEL", 21 * SH_SECOND));
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 408 Request Timeout");
	hang_up(t.b, alice);
	end();
}

/* RFC 5589 6.1: the REFER outside of the dialog, which it names by Target-Dialog (RFC 4538). */
static void rfc5589_6_1_refer_in_a_dialog_of_its_own(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *r;
	char headers[512];
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	snprintf(headers, sizeof(headers), "%s\nRequire: tdialog\nTarget-Dialog: %s;local-tag=%s;remote-tag=%s\nContact: <sip:bob@10.0.0.3>",
		 to_carol, t.b->id, t.b->remote_tag, t.b->local_tag);
	r = phone_request(bob, "REFER", "sip:10.0.0.1:5060", headers, NULL);
	soon(bob, "200 REFER");
	m = NOTIFIED_TRYING(bob);
	assert_ptr_equal(m->call, r);
	invite = target_rings(carol);
	notified(bob, "180", "active");
	joined(invite, SDP_C, alice, SDP_A);
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	hang_up(t.a, carol);
	end();
}

static void refer_sub_false_makes_no_subscription(void **state)
{
	struct phone_msg *m, *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	m = refer(t.b, "Refer-To: <sip:carol@example.org>\nRefer-Sub: false\nSupported: norefersub");
	phone_assert_header(m, "Refer-Sub", "false");
	invite = target_rings(carol);
	joined(invite, SDP_C, alice, SDP_A);
	ok(soon(bob, "BYE"));
	hang_up(t.a, carol);
	end();
}

static void replaces_is_advertised(void **state)
{
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	phone_assert_contains(t.invite, "Supported", "replaces");
	phone_assert_contains(t.answer, "Supported", "replaces");
	phone_assert_contains(t.invite, "Allow", "REFER");
	hang_up(t.a, bob);
	end();
}

/* siphon-sip #220: Microsoft Teams hangs up as soon as the REFER has its answer. */
static void the_transferor_may_hang_up_at_once(void **state)
{
	struct phone_msg *invite, *m;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	phone_bye(t.b);
	soon(bob, "200 BYE");
	NOTIFIED_TRYING(bob);
	invite = target_rings(carol);
	m = notified(bob, "180", "active"); /* the subscription outlives the call (RFC 5057) */
	assert_ptr_equal(m->call, t.b);
	joined(invite, SDP_C, alice, SDP_A);
	NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
	hang_up(t.a, carol);
	end();
	/* and knows nothing of the dialog any more */
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	phone_bye(t.b);
	soon(bob, "200 BYE");
	invite = target_rings(carol);
	phone_reply(soon(bob, "NOTIFY"), 481, NULL, NULL, NULL);
	joined(invite, SDP_C, alice, SDP_A);
	hang_up(t.a, carol);
	end();
}

static void when_the_transferor_has_gone_a_failed_transfer_ends_the_call(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	phone_bye(t.b);
	soon(bob, "200 BYE");
	invite = target_rings(carol);
	notified(bob, "180", "active");
	phone_reply(invite, 603, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 603 Decline");
	ok(soon(alice, "BYE"));
	world_expect_log(w, "hangup bob by engine 200");
	end();
}

static void when_the_other_party_hangs_up_the_transfer_is_given_up(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = target_rings(carol);
	notified(bob, "180", "active");
	phone_bye(t.a);
	soon(alice, "200 BYE");
	is_cancelled(invite);
	NOTIFIED_LAST(bob, "SIP/2.0 487 Request Terminated");
	ok(soon(bob, "BYE"));
	world_expect_log(w, "transfer to carol: 487");
	end();
}

/* siphon-sip #128: BYE before NOTIFY. */
static void the_last_notify_comes_before_the_bye(void **state)
{
	struct phone_msg *invite, *notify, *bye;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	phone_auto(bob, PHONE_ABSORB);
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = phone_expect(carol, "INVITE", SH_SECOND);
	joined(invite, SDP_C, alice, SDP_A);
	notify = soon(bob, "NOTIFY");
	phone_expect_none(bob, "BYE", 5 * SH_SECOND); /* it has no answer yet */
	ok(notify);
	bye = soon(bob, "BYE");
	phone_assert(bob, bye->number > notify->number);
	phone_assert_contains(bye, "Reason", "Transferred");
	ok(bye);
	hang_up(t.a, carol);
	end();
}

/* siphon-sip 854a439: the answer to REFER was overtaken by its own NOTIFY. */
static void the_answer_comes_before_its_notify(void **state)
{
	struct phone_msg *answer, *notify;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	answer = refer(t.b, to_carol);
	notify = NOTIFIED_TRYING(bob);
	phone_assert(bob, answer->number < notify->number);
	phone_reply(soon(carol, "INVITE"), 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "486");
	hang_up(t.b, alice);
	end();
}

/* drachtio-server #131: a second REFER after one that failed. */
static void a_second_refer_after_a_failed_one(void **state)
{
	struct phone_msg *invite, *m;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	phone_reply(soon(carol, "INVITE"), 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "486");
	refer(t.b, to_carol);
	m = NOTIFIED_TRYING(bob);
	phone_assert_contains(m, "Event", "refer;id="); /* RFC 3515 2.4.6 */
	invite = soon(carol, "INVITE");
	joined(invite, SDP_C, alice, SDP_A);
	NOTIFIED_LAST(bob, "200");
	ok(soon(bob, "BYE"));
	hang_up(t.a, carol);
	end();
}

static void a_second_refer_during_a_transfer_is_refused(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = soon(carol, "INVITE");
	phone_in_call(t.b, "REFER", "Refer-To: <sip:dave@example.org>", NULL);
	soon(bob, "491 REFER");
	joined(invite, SDP_C, alice, SDP_A);
	NOTIFIED_LAST(bob, "200");
	ok(soon(bob, "BYE"));
	hang_up(t.a, carol);
	end();
}

/* siphon-sip #234: the transfer offered a stale session description, on hold on both sides. */
static void held_parties_say_anew_what_they_can_do(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	phone_reinvite(t.b, NULL, SDP_B "a=sendonly\r\n");
	phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A "a=recvonly\r\n");
	soon(alice, "ACK");
	phone_ack(soon(bob, "200"), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = target_rings(carol); /* without an offer */
	notified(bob, "180", "active");
	joined(invite, SDP_C, alice, SDP_A); /* what each of them offers and answers now, no word of hold */
	NOTIFIED_LAST(bob, "200");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	hang_up(t.a, carol);
	end();
}

/* FreeSWITCH PR 3059: what the party that stays refuses must not end its call. */
static void the_party_that_stays_may_refuse_the_new_media(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = soon(carol, "INVITE");
	phone_reply(invite, 200, NULL, NULL, SDP_C);
	phone_reply(soon(alice, "INVITE"), 488, NULL, NULL, NULL);
	soon(alice, "ACK");
	soon(carol, "ACK");
	ok(soon(carol, "BYE"));
	NOTIFIED_LAST(bob, "SIP/2.0 488");
	hang_up(t.a, bob);
	end();
}

static void glare_during_a_transfer_is_tried_again(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = soon(carol, "INVITE");
	phone_auto(carol, PHONE_ABSORB);
	phone_reply(invite, 200, NULL, NULL, SDP_C);
	phone_reply(soon(alice, "INVITE"), 491, NULL, NULL, NULL);
	soon(alice, "ACK");
	phone_reply(phone_expect(alice, "INVITE", 5 * SH_SECOND), 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	phone_assert_body(soon(carol, "ACK"), SDP_A);
	NOTIFIED_LAST(bob, "200");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	hang_up(t.a, carol);
	end();
}

/* siphon-sip #110 and pocket-dial #131: each INVITE of a transfer has a branch and a CSeq of its own. */
static void branches_and_cseqs_are_fresh(void **state)
{
	struct phone_msg *invite, *m;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = soon(carol, "INVITE");
	phone_assert_contains(invite, "Via", "branch=z9hG4bK");
	phone_reply(invite, 200, NULL, NULL, SDP_C);
	m = soon(alice, "INVITE");
	phone_reply(m, 491, NULL, NULL, NULL);
	soon(alice, "ACK");
	uint32_t first = m->m.cseq;
	phone_auto(carol, PHONE_ABSORB);
	m = phone_expect(alice, "INVITE", 5 * SH_SECOND);
	phone_assert(alice, m->m.cseq > first);
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "200");
	ok(soon(bob, "BYE"));
	hang_up(t.a, carol);
	end();
}

static void a_lost_subscriber_does_not_stop_the_transfer(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	phone_auto(bob, PHONE_ABSORB);
	refer(t.b, to_carol);
	soon(bob, "NOTIFY"); /* never answered */
	invite = soon(carol, "INVITE");
	joined(invite, SDP_C, alice, SDP_A);
	ok(phone_expect(bob, "BYE", 80 * SH_SECOND)); /* behind the timeout of the NOTIFY */
	hang_up(t.a, carol);
	end();
}

static void what_is_no_refer_is_answered_with_what_is_wrong(void **state)
{
	static const struct {
		const char *headers, *code;
	} rows[] = {
	    {NULL, "400"},
	    {"Refer-To: <sip:carol@example.org>\nRefer-To: <sip:dave@example.org>", "400"},
	    {"Refer-To: <sip:carol@example.org>, <sip:dave@example.org>", "400"},
	    {"Refer-To: <nonsense", "400"},
	    {"Refer-To: <sip:carol@example.org?Replaces=%0D%0AX-Evil%3A1>", "400"},
	    {"Refer-To: <mailto:carol@example.org>", "416"},
	    {"Refer-To: <sip:carol@example.org;method=BYE>", "501"},
	};
	struct talk t;

	(void)state;
	begin(TO_PHONES "sip.on.refer(function(ref) local ok, res = ref:accept{} assert(not ok and res.code) end)\n");
	t = talk();
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		phone_in_call(t.b, "REFER", rows[i].headers, NULL);
		soon(bob, rows[i].code);
	}
	hang_up(t.b, alice);
	end();
}

static void without_a_hook_refer_passes_in_a_dialog_and_is_forbidden_outside(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(TO_PHONES);
	t = talk();
	phone_in_call(t.b, "REFER", to_carol, NULL);
	m = soon(alice, "REFER");
	phone_assert_header(m, "Refer-To", "<sip:carol@example.org>");
	phone_assert_header(m, "Referred-By", "<sip:bob@example.org>");
	phone_reply(m, 202, NULL, NULL, NULL);
	soon(bob, "202");
	phone_in_call(t.a, "NOTIFY", "Event: refer\nSubscription-State: active;expires=60\nContent-Type: message/sipfrag",
		      "SIP/2.0 100 Trying\r\n");
	ok(soon(bob, "NOTIFY"));
	soon(alice, "200 NOTIFY");
	phone_request(bob, "REFER", "sip:alice@example.org", to_carol, NULL);
	soon(bob, "403");
	hang_up(t.b, alice);
	end();
}

/* A REFER from outside names a dialog that its sender knows from a lamp. It moves nobody's call but his own. */
static void a_stranger_does_not_move_a_call_by_target_dialog(void **state)
{
	char headers[700];
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	snprintf(headers, sizeof(headers), "%s\nTarget-Dialog: %s;local-tag=%s;remote-tag=%s\nContact: <sip:carol@10.0.0.4>\n"
		 "From: <sip:bob@example.org>;tag=forged", to_carol, t.b->id, t.b->remote_tag, t.b->local_tag);
	phone_request(carol, "REFER", "sip:10.0.0.1:5060", headers, NULL);
	soon(carol, "403 REFER");
	world_expect_log(w, "transfer to carol: 403");
	phone_expect_none(alice, "*", SH_SECOND);
	hang_up(t.a, bob);
	end();
}

/* Who has proven that he is bob is bob, wherever he speaks from; and a script may let anybody do it. */
static void a_proven_transferor_may_come_from_elsewhere(void **state)
{
	static const char *const plans[] = {
		TO_PHONES "sip.on.refer(function(ref)\n"
			  "  if not ref:auth{realm = 'example.org', password = 'secret', algorithms = {'MD5'}} then return end\n"
			  "  ref:accept{targets = {'sip:carol@10.0.0.4'}}\nend)\n",
		TO_PHONES "sip.on.refer(function(ref) ref:accept{targets = {'sip:carol@10.0.0.4'}, anyone = true} end)\n",
	};
	struct phone_msg *invite;
	struct phone_call *r;
	struct phone *desk;
	char headers[700];
	struct talk t;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(plans[i]);
		desk = world_phone(w, i ? "nobody" : "bob", "10.0.0.7");
		phone_login(desk, "bob", "secret");
		t = talk();
		snprintf(headers, sizeof(headers), "%s\nTarget-Dialog: %s;local-tag=%s;remote-tag=%s\nContact: <sip:bob@10.0.0.7>", to_carol, t.b->id,
			 t.b->remote_tag, t.b->local_tag);
		r = phone_request(desk, "REFER", "sip:10.0.0.1:5060", headers, NULL);
		if (!i)
			phone_authorize(phone_expect_in(r, "401", SH_SECOND));
		phone_expect_in(r, "200 REFER", SH_SECOND);
		NOTIFIED_TRYING(desk);
		invite = soon(carol, "INVITE");
		joined(invite, SDP_C, alice, SDP_A);
		NOTIFIED_LAST(desk, "SIP/2.0 200 OK");
		ok(soon(bob, "BYE"));
		hang_up(t.a, carol);
		end();
	}
}

/* A target that cannot make the first offer (JsSIP): it is offered what the party that stays said last, here on hold, as an offer; and
 * when it has answered both say anew what they can do. */
static void a_target_that_cannot_make_the_first_offer_is_made_one(void **state)
{
	static const char *const plans[] = {
		TO_PHONES "sip.on.refer(function(ref) ref:accept{targets = {'sip:carol@10.0.0.4'}, offer = true} end)\n",
		TO_PHONES "sip.on.refer(function(ref)\n  ref:accept{manual = true}\n"
			  "  ref.call:transfer('sip:carol@10.0.0.4', {offer = true})\n  ref:notify(200)\nend)\n",
	};
	struct phone_msg *m, *invite;
	struct talk t;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		begin(plans[i]);
		t = talk();
		phone_reinvite(t.b, NULL, SDP_B "a=sendonly\r\n");
		phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A "a=recvonly\r\n");
		soon(alice, "ACK");
		phone_ack(soon(bob, "200"), NULL, NULL);
		world_advance(w, 10 * SH_MS);
		refer(t.b, to_carol);
		NOTIFIED_TRYING(bob);
		invite = soon(carol, "INVITE");
		phone_assert_body(invite, SDP_A "a=sendrecv\r\n");
		phone_reply(invite, 200, NULL, NULL, SDP_C "a=ptime:20\r\n");
		phone_assert_body(soon(carol, "ACK"), "");
		m = soon(carol, "INVITE"); /* now it can */
		assert_ptr_equal(m->call, invite->call);
		phone_assert_body(m, "");
		phone_expect_none(alice, "*", 10 * SH_MS);
		phone_reply(m, 200, NULL, NULL, SDP_C);
		m = soon(alice, "INVITE");
		phone_assert_body(m, SDP_C);
		phone_reply(m, 200, NULL, NULL, SDP_A);
		soon(alice, "ACK");
		phone_assert_body(soon(carol, "ACK"), SDP_A);
		if (i == 0) {
			NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
			ok(soon(bob, "BYE"));
		} else {
			ok(soon(bob, "BYE"));
			NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
		}
		hang_up(t.a, carol);
		end();
	}
}

/* Nothing has changed for anybody when it refuses. */
static void a_target_that_is_made_an_offer_may_refuse(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	begin(TO_PHONES "sip.on.refer(function(ref) ref:accept{targets = {'sip:carol@10.0.0.4'}, offer = true} end)\n");
	t = talk();
	refer(t.b, to_carol);
	NOTIFIED_TRYING(bob);
	invite = soon(carol, "INVITE");
	phone_assert_body(invite, SDP_A);
	phone_reply(invite, 488, NULL, NULL, NULL);
	soon(carol, "ACK");
	NOTIFIED_LAST(bob, "SIP/2.0 488");
	phone_expect_none(alice, "*", SH_SECOND);
	hang_up(t.b, alice);
	end();
}

/* The transferor has a re-INVITE on its way to the party that stays, and hangs up: that one is over before ours begins, and its 2xx has
 * the ACK of its own number. Found by the race explorer, seed 23454. */
static void a_reinvite_whose_sender_has_gone_is_waited_for(void **state)
{
	struct phone_msg *invite, *m;
	struct talk t;

	(void)state;
	begin(TRANSFER_PLAN);
	t = talk();
	refer(t.a, to_carol);
	NOTIFIED_TRYING(alice);
	invite = soon(carol, "INVITE");
	phone_reinvite(t.a, NULL, SDP_HOLD);
	m = soon(bob, "INVITE"); /* bob takes his time */
	phone_reply(m, 100, NULL, NULL, NULL);
	phone_reply(invite, 200, NULL, NULL, SDP_C);
	world_advance(w, 100 * SH_MS);
	phone_bye(t.a);
	soon(alice, "200 BYE");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	ok(soon(bob, "CANCEL"));
	phone_expect_none(bob, "INVITE", 300 * SH_MS);
	phone_reply(m, 200, NULL, NULL, SDP_B); /* it crosses the CANCEL */
	assert_int_equal(soon(bob, "ACK")->m.cseq, m->m.cseq);
	m = soon(bob, "INVITE");
	phone_assert_body(m, SDP_C);
	phone_reply(m, 200, NULL, NULL, SDP_B);
	phone_assert_body(soon(carol, "ACK"), SDP_B);
	soon(bob, "ACK");
	SH_LIST_EACH (l, &alice->log) /* what she is told in a dialog that she has left */
		SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
	hang_up(invite->call, bob);
	w->forgiving = true;
	world_destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc5589_6_1_refer_in_a_dialog_of_its_own),
	    cmocka_unit_test(rfc5589_6_2_and_rfc5359_2_4_basic_transfer_with_dialog_reuse),
	    cmocka_unit_test(rfc5589_6_3_1_target_busy_the_old_call_survives),
	    cmocka_unit_test(rfc5589_6_3_2_target_does_not_answer),
	    cmocka_unit_test(the_caller_may_transfer_the_callee),
	    cmocka_unit_test(refer_sub_false_makes_no_subscription),
	    cmocka_unit_test(replaces_is_advertised),
	    cmocka_unit_test(the_transferor_may_hang_up_at_once),
	    cmocka_unit_test(when_the_transferor_has_gone_a_failed_transfer_ends_the_call),
	    cmocka_unit_test(when_the_other_party_hangs_up_the_transfer_is_given_up),
	    cmocka_unit_test(the_last_notify_comes_before_the_bye),
	    cmocka_unit_test(the_answer_comes_before_its_notify),
	    cmocka_unit_test(a_second_refer_after_a_failed_one),
	    cmocka_unit_test(a_second_refer_during_a_transfer_is_refused),
	    cmocka_unit_test(held_parties_say_anew_what_they_can_do),
	    cmocka_unit_test(the_party_that_stays_may_refuse_the_new_media),
	    cmocka_unit_test(glare_during_a_transfer_is_tried_again),
	    cmocka_unit_test(branches_and_cseqs_are_fresh),
	    cmocka_unit_test(a_lost_subscriber_does_not_stop_the_transfer),
	    cmocka_unit_test(what_is_no_refer_is_answered_with_what_is_wrong),
	    cmocka_unit_test(without_a_hook_refer_passes_in_a_dialog_and_is_forbidden_outside),
	    cmocka_unit_test(a_stranger_does_not_move_a_call_by_target_dialog),
	    cmocka_unit_test(a_proven_transferor_may_come_from_elsewhere),
	    cmocka_unit_test(a_target_that_cannot_make_the_first_offer_is_made_one),
	    cmocka_unit_test(a_target_that_is_made_an_offer_may_refuse),
	    cmocka_unit_test(a_reinvite_whose_sender_has_gone_is_waited_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
