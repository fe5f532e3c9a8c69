/* What other servers were found to do wrong with forks, early media, glare and races, one test each, named by product and
 * number. Those that have a test of their own elsewhere are listed where they are:
 *   OpenSIPS#3431, pjsip#657, pjsip#1644, sofia-sip PR#227, baresip#2114, siphon-sip#386, siphon-sip#420: b2bua_prack_test.c
 *   drachtio-server#284, sems#68, siphon-sip#415, jambonz-feature-server#1122, pjsip#1722: b2bua_session_test.c
 *   drachtio-server#318, drachtio-srf#62: b2bua_offer_test.c
 * What pjsip#1364 said of PRACK cannot be found any more; the failures with PRACK around it are pjsip#620 (b2bua_prack_test.c,
 * each_branch_has_its_own_tag_and_rseq) and OpenSIPS#3919, sofia-sip#117 here. */
#include "b2bua_helpers.h"

#define BOTH PLAN("call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 20})\n")

/* The caller's ACK, and the end. */
static void talks(struct phone_call *a, struct phone_msg *answer, struct phone *called)
{
	phone_ack(answer, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(a, called);
	end();
}

static void freeswitch_2596_a_180_behind_a_183_is_relayed(void **state)
{
	struct phone_msg *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	phone_reply(m, 183, NULL, NULL, SDP_B);
	phone_assert_body(soon(alice, "183"), SDP_B);
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_assert_body(soon(alice, "180"), "");
	phone_reply(m, 183, NULL, NULL, SDP_B);
	soon(alice, "183");
	phone_reply(m, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	talks(a, soon(alice, "200"), bob);
}

static void freeswitch_1695_a_180_is_relayed_at_once(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_reply(t.invite, 180, NULL, NULL, NULL);
	soon(alice, "180"); /* each of them */
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	talks(t.a, soon(alice, "200"), bob);
}

static void rtpengine_2073_the_answer_of_the_200_is_not_that_of_the_183(void **state)
{
	struct phone_msg *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	phone_reply(m, 183, NULL, NULL, SDP_B "a=rtpmap:8 PCMA/8000\r\n");
	phone_assert_body(soon(alice, "183"), SDP_B "a=rtpmap:8 PCMA/8000\r\n");
	phone_reply(m, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	m = soon(alice, "200");
	phone_assert_body(m, SDP_B);
	talks(a, m, bob);
}

static void pjsip_635_and_3234_a_second_2xx_of_a_fork_is_acknowledged_and_ended(void **state)
{
	struct phone_msg *invite, *answer, *m;
	struct phone_call *a;

	(void)state; /* asterisk-i#82, too: one INVITE, two phones behind a proxy */
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, "To: <sip:bob@example.org>;tag=one\nContact: <sip:one@10.0.0.3>", SDP_B);
	soon(bob, "ACK");
	answer = soon(alice, "200");
	phone_reply(invite, 200, NULL, "To: <sip:bob@example.org>;tag=two\nContact: <sip:two@10.0.0.3>", SDP_C);
	m = soon(bob, "ACK");
	phone_assert_contains(m, "To", "tag=two");
	m = soon(bob, "BYE");
	phone_assert_contains(m, "To", "tag=two");
	ok(m);
	phone_expect_none(alice, "*", SH_SECOND / 4);
	phone_ack(answer, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_bye(a);
	soon(alice, "200 BYE");
	m = soon(bob, "BYE");
	phone_assert_contains(m, "To", "tag=one");
	ok(m);
	end();
}

static void drachtio_84_a_late_offer_is_not_acknowledged_before_its_answer(void **state)
{
	struct phone_msg *m, *answer;
	struct phone_call *a;

	(void)state; /* drachtio-srf#104, #107, OpenSIPS#3520: what a Cisco CUCM does without an MTP */
	begin(BOTH);
	a = phone_invite(alice, "sip:bob@example.org", NULL, NULL);
	m = soon(bob, "INVITE");
	phone_reply(soon(carol, "INVITE"), 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_reply(m, 200, NULL, NULL, SDP_B);
	answer = soon(alice, "200");
	phone_assert_body(answer, SDP_B);
	phone_expect_none(bob, "ACK", 300 * SH_MS);
	phone_ack(answer, NULL, SDP_A);
	phone_assert_body(soon(bob, "ACK"), SDP_A);
	hang_up(a, bob);
	end();
}

static void siphon_345_a_call_of_one_leg_has_no_glare(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN("local leg = call:fork{'sip:bob@10.0.0.3'}\ncall:bridge(leg, {on_peer_hangup = 'continue'})\n"));
	t = talk();
	phone_bye(t.b);
	soon(bob, "200 BYE");
	phone_reinvite(t.a, NULL, SDP_A);
	m = soon(alice, "200 INVITE"); /* and not 491, with which it would be tried again for ever */
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_bye(t.a);
	soon(alice, "200 BYE");
	end();
}

static void jambonz_132_the_refusal_of_a_reinvite_passes_with_its_reason(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_reinvite(t.a, NULL, SDP_HOLD);
	phone_reply(soon(bob, "INVITE"), 415, "No", "Accept: text/plain", NULL);
	soon(bob, "ACK");
	m = soon(alice, "415 INVITE");
	phone_assert_header(m, "Accept", "text/plain");
	phone_ack(m, NULL, NULL);
	hang_up(t.a, bob);
	end();
}

static void drachtio_480_a_cancel_from_another_port_of_the_nat_is_matched(void **state)
{
	struct talk t;
	char text[1500];
	const struct phone_msg *invite;

	(void)state; /* the branch names the INVITE, wherever it comes from; else the phone rings on */
	begin(PLAN_BOB);
	t = ring();
	invite = t.a->invite;
	snprintf(text, sizeof(text),
		 "CANCEL %.*s SIP/2.0\r\nVia: %.*s\r\nMax-Forwards: 70\r\nFrom: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %u CANCEL\r\n"
		 "Content-Length: 0\r\n\r\n",
		 SH_FMT(sh_msg_text(&invite->m, invite->m.uri)), SH_FMT(sh_msg_text(&invite->m, invite->m.via)), value(invite, "From"),
		 value(invite, "To"), value(invite, "Call-ID"), invite->m.cseq);
	phone_send(carol, SH_PROTO_UDP, "10.0.0.1", 5060, text, strlen(text)); /* another source address */
	soon(carol, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	is_cancelled(t.invite);
	end();
}

static void drachtio_255_a_cancel_that_meets_the_200_leaves_no_call(void **state)
{
	struct talk t;

	(void)state; /* drachtio-srf#47, #84, FreeSWITCH#1452, sems#71 */
	begin(PLAN_BOB);
	t = ring();
	phone_cancel(t.a, NULL);
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	soon(bob, "ACK");
	ok(soon(bob, "BYE"));
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	end();
}

static void siphon_214_the_487_of_who_is_called_is_acknowledged(void **state)
{
	struct phone_msg *ack;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = ring();
	phone_cancel(t.a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	ok(soon(bob, "CANCEL"));
	phone_reply(t.invite, 487, NULL, NULL, NULL);
	ack = soon(bob, "ACK");
	assert_string_equal(value(ack, "Via"), value(t.invite, "Via"));
	end();
}

static void opensips_2555_a_bye_is_sent_on_though_nobody_answers_it(void **state)
{
	struct talk t;

	(void)state; /* OpenSIPS#3343: dialogs stuck "in state 5" */
	begin(PLAN_BOB);
	phone_auto(bob, PHONE_ABSORB);
	t = talk();
	phone_bye(t.a);
	soon(alice, "200 BYE");
	soon(bob, "BYE"); /* and not a word */
	end();
}

static void opensips_3985_both_hang_up_while_a_reinvite_is_on_its_way(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state; /* #2977, #3877, #4108: what is used behind its end */
	begin(PLAN_BOB "sip.on.reinvite(function(req) req:pass() end)\n");
	t = talk();
	phone_reinvite(t.a, NULL, SDP_HOLD);
	m = soon(bob, "INVITE");
	phone_bye(t.a);
	phone_bye(t.b);
	soon(alice, "200 BYE");
	soon(bob, "200 BYE");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 2 * SH_SECOND);
	SH_LIST_EACH (l, &bob->log) { /* our BYE and CANCEL may have crossed his */
		struct phone_msg *x = SH_CONTAINER(l, struct phone_msg, link);

		if (!x->sent && !x->consumed && x->code == 0 && x->m.is_request) {
			x->consumed = true;
			if (!x->repeat)
				ok(x);
		}
	}
	SH_LIST_EACH (l, &alice->log) {
		struct phone_msg *x = SH_CONTAINER(l, struct phone_msg, link);

		if (!x->sent && !x->consumed && x->code == 0 && x->m.is_request) {
			x->consumed = true;
			if (!x->repeat)
				ok(x);
		}
	}
	end();
}

/* Somebody cancels in early media: one final answer, and no second one by a timer that forgot about it. */
static void opensips_3899_a_cancel_in_early_media_has_one_final_answer(void **state)
{
	struct phone_msg *m;
	struct talk t = {0};

	(void)state;
	begin(PLAN_BOB "sip.on.hangup(function(call, why) sip.log.info('over: %s %d', why.by, why.code) end)\n");
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	phone_reply(m, 183, NULL, NULL, SDP_B);
	soon(alice, "183");
	world_advance(w, 5 * SH_SECOND);
	phone_cancel(t.a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	is_cancelled(m);
	phone_expect_none(alice, "*", 200 * SH_SECOND);
	world_expect_log(w, "over: caller 487");
	assert_false(world_has_log(w, "over:"));
	end(); /* a line of an error in the log would fail it */
}

/* ---- many calls at once ---- */

static struct {
	struct phone_call *call;
	uint64_t until;
} many[400];

static void callee(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->code < 0 || !m->m.is_request || m->m.method == SH_ACK)
		return;
	if (m->m.method == SH_INVITE)
		phone_reply(m, 180, NULL, NULL, NULL);
	phone_reply(m, 200, NULL, NULL, m->m.method == SH_INVITE ? SDP_B : NULL);
}

static void caller(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->code < 0 || m->m.is_request || m->m.method != SH_INVITE || m->m.status < 200)
		return;
	phone_ack(m, NULL, NULL);
	for (unsigned i = 0; i < sizeof(many) / sizeof(many[0]); i++)
		if (many[i].call == m->call)
			many[i].until = sh_sim_now(w->sim) + SH_SECOND;
}

/* 400 calls in a second, each of a second, with answers and ACKs that come twice, late and out of order: every one gets its answer,
 * no line says that an answer found no transaction, and nothing is left. */
static void opensips_2425_and_3110_four_hundred_calls_in_a_second(void **state)
{
	struct world_options o = {.sim = {.seed = 2425, .loss = 0.02, .duplicate = 0.1, .reorder = 0.1, .delay_min = SH_MS, .delay_max = 40 * SH_MS}};
	unsigned n = sizeof(many) / sizeof(many[0]), answered = 0;

	(void)state;
	begin_with(&o, PLAN_BOB);
	phone_auto(alice, PHONE_ROBUST);
	phone_auto(bob, PHONE_ROBUST);
	alice->on_message = caller;
	bob->on_message = callee;
	for (unsigned at = 0; at < 3 * n; at++) {
		if (at < n) {
			many[at].until = 0;
			many[at].call = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
		}
		for (unsigned i = 0; i < n && i <= at; i++) {
			if (!many[i].until || many[i].until > sh_sim_now(w->sim))
				continue;
			many[i].until = 0;
			answered++;
			phone_bye(many[i].call);
		}
		world_advance(w, SH_SECOND / n);
	}
	for (unsigned k = 0; k < 100; k++) {
		world_advance(w, SH_SECOND);
		for (unsigned i = 0; i < n; i++) {
			if (!many[i].until || many[i].until > sh_sim_now(w->sim))
				continue;
			many[i].until = 0;
			answered++;
			phone_bye(many[i].call);
		}
	}
	assert_int_equal(answered, n);
	world_settle(w, 100 * SH_SECOND);
	assert_int_equal(sh_ua_stats(w->ua[0])->answered, n);
	assert_int_equal(sh_ua_stats(w->ua[0])->failed, 0);
	world_destroy(w);
}

/* ---- session timers ---- */

#define REFRESHED "Session-Expires: 90;refresher=uac\nRequire: timer\nSupported: timer"

static void opensips_695_a_call_with_a_session_timer_lives_through_many_refreshes(void **state)
{
	struct phone_call *a;
	struct phone_msg *m, *invite;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", "Supported: timer\nSession-Expires: 90;refresher=uac", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, REFRESHED, SDP_B);
	m = soon(alice, "200 INVITE");
	phone_ack(m, NULL, NULL);
	soon(bob, "ACK");
	for (unsigned i = 0; i < 20; i++) {
		world_advance(w, 44 * SH_SECOND);
		phone_reinvite(a, REFRESHED, SDP_A); /* hers passes, and refreshes his leg too */
		phone_reply(soon(bob, "INVITE"), 200, NULL, REFRESHED, SDP_B);
		soon(bob, "ACK");
		m = phone_expect_in(a, "200 INVITE", SH_SECOND);
		phone_assert_contains(m, "Session-Expires", "90");
		phone_ack(m, NULL, NULL);
		world_advance(w, 10 * SH_MS);
	}
	/* his leg is refreshed by us now; hers ends when she stops (RFC 4028 10), and his with it */
	phone_reply(phone_expect(bob, "INVITE", 46 * SH_SECOND), 200, NULL, REFRESHED, SDP_B);
	soon(bob, "ACK");
	ok(phone_expect(alice, "BYE", 91 * SH_SECOND));
	ok(soon(bob, "BYE"));
	end();
}

/* Our refresh meets a BYE, and is answered with 481 behind it. */
static void drachtio_401_a_refresh_meets_a_bye(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", "Supported: timer\nSession-Expires: 90;refresher=uas", SDP_A);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	m = phone_expect(alice, "INVITE", 46 * SH_SECOND);
	phone_bye(a);
	soon(alice, "200 BYE");
	ok(soon(bob, "BYE"));
	phone_reply(m, 481, NULL, NULL, NULL);
	soon(alice, "ACK");
	end();
}

/* ---- PRACK ---- */

#define RELIABLE(n) "Require: 100rel\nRSeq: " #n

/* Each of several provisional answers is acknowledged, whatever their codes. */
static void sofia_117_a_reliable_180_behind_a_183_has_its_prack(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, RELIABLE(1), SDP_B);
	ok(soon(bob, "PRACK"));
	soon(alice, "183");
	phone_reply(invite, 180, NULL, RELIABLE(2), SDP_B);
	ok(soon(bob, "PRACK"));
	soon(alice, "180");
	phone_reply(invite, 200, NULL, NULL, NULL);
	soon(bob, "ACK");
	m = phone_expect_in(a, "200 INVITE", SH_SECOND);
	phone_assert_body(m, SDP_B); /* he said it with a provisional answer only, which she has not acknowledged */
	talks(a, m, bob);
}

/* The 200 is faster than the PRACK of the 180 before. */
static void opensips_3919_a_prack_behind_the_200_is_answered(void **state)
{
	struct phone_msg *invite, *ringing, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", "Require: 100rel\nSupported: 100rel", SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, NULL, NULL);
	ringing = phone_expect_in(a, "180", SH_SECOND);
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	m = phone_expect_in(a, "200 INVITE", SH_SECOND);
	phone_prack(ringing, NULL, NULL);
	phone_expect_in(a, "200 PRACK", SH_SECOND);
	talks(a, m, bob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(freeswitch_2596_a_180_behind_a_183_is_relayed),
		cmocka_unit_test(freeswitch_1695_a_180_is_relayed_at_once),
		cmocka_unit_test(rtpengine_2073_the_answer_of_the_200_is_not_that_of_the_183),
		cmocka_unit_test(pjsip_635_and_3234_a_second_2xx_of_a_fork_is_acknowledged_and_ended),
		cmocka_unit_test(drachtio_84_a_late_offer_is_not_acknowledged_before_its_answer),
		cmocka_unit_test(siphon_345_a_call_of_one_leg_has_no_glare),
		cmocka_unit_test(jambonz_132_the_refusal_of_a_reinvite_passes_with_its_reason),
		cmocka_unit_test(drachtio_480_a_cancel_from_another_port_of_the_nat_is_matched),
		cmocka_unit_test(drachtio_255_a_cancel_that_meets_the_200_leaves_no_call),
		cmocka_unit_test(siphon_214_the_487_of_who_is_called_is_acknowledged),
		cmocka_unit_test(opensips_2555_a_bye_is_sent_on_though_nobody_answers_it),
		cmocka_unit_test(opensips_3985_both_hang_up_while_a_reinvite_is_on_its_way),
		cmocka_unit_test(opensips_3899_a_cancel_in_early_media_has_one_final_answer),
		cmocka_unit_test(opensips_2425_and_3110_four_hundred_calls_in_a_second),
		cmocka_unit_test(opensips_695_a_call_with_a_session_timer_lives_through_many_refreshes),
		cmocka_unit_test(drachtio_401_a_refresh_meets_a_bye),
		cmocka_unit_test(sofia_117_a_reliable_180_behind_a_183_has_its_prack),
		cmocka_unit_test(opensips_3919_a_prack_behind_the_200_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
