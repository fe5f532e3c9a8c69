/* Transfers and Replaces with several workers: whichever worker has a call, the dialogs that a request names are found. */
#include "transfer_helpers.h"
#include "b2bua/impl.h"

enum { WORKERS = 4, ROUNDS = 12 };

static void stage(void)
{
	struct world_options o = {.workers = WORKERS};

	begin_with(&o, TRANSFER_PLAN);
}

static unsigned worker_of(const struct phone_call *c)
{
	return (unsigned)sh_tag_worker(sh_slice_cstr(c->remote_tag));
}

static struct phone_call *bob_carol, *carol_bob;

static struct talk consult(void)
{
	struct talk t = talk();
	struct phone_msg *m;

	bob_carol = phone_invite(bob, "sip:carol@example.org", NULL, SDP_B);
	m = soon(carol, "INVITE");
	carol_bob = m->call;
	phone_reply(m, 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	phone_ack(phone_expect_in(bob_carol, "200", SH_SECOND), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	return t;
}

static void an_attended_transfer_takes_the_leg_from_another_worker(void **state)
{
	unsigned crossed = 0;

	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = consult();
		struct phone_msg *m;

		crossed += worker_of(t.b) != worker_of(bob_carol);
		/* bob holds carol first: a re-INVITE that is over is no hindrance */
		phone_reinvite(bob_carol, NULL, SDP_B "a=sendonly\r\n");
		phone_reply(soon(carol, "INVITE"), 200, NULL, NULL, SDP_C "a=recvonly\r\n");
		soon(carol, "ACK");
		phone_ack(soon(bob, "200"), NULL, NULL);
		world_advance(w, 10 * SH_MS);
		refer(t.b, replaces(bob_carol, "carol"));
		NOTIFIED_TRYING(bob);
		m = soon(carol, "INVITE");
		phone_reply(m, 200, NULL, NULL, SDP_C);
		m = soon(alice, "INVITE");
		phone_assert_body(m, SDP_C);
		phone_reply(m, 200, NULL, NULL, SDP_A);
		soon(alice, "ACK");
		phone_assert_body(soon(carol, "ACK"), SDP_A);
		NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
		ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
		ok(phone_expect_in(t.b, "BYE", SH_SECOND));
		/* what comes in the dialog that has moved finds it */
		phone_in_call(carol_bob, "INFO", NULL, NULL);
		ok(soon(alice, "INFO"));
		soon(carol, "200 INFO");
		phone_reinvite(carol_bob, NULL, SDP_C);
		phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
		soon(alice, "ACK");
		phone_ack(soon(carol, "200"), NULL, NULL);
		world_advance(w, 10 * SH_MS);
		if (i % 2)
			hang_up(t.a, carol);
		else
			hang_up(carol_bob, alice);
	}
	assert_true(crossed > 2);
	world_settle(w, 300 * SH_SECOND);
	for (unsigned i = 0; i < WORKERS; i++) /* nothing is left of the moves either */
		assert_int_equal(sh_ua_stats(w->ua[i])->legs_live, 0);
	end();
}

static void a_dialog_of_somebody_else_is_not_taken_from_another_worker(void **state)
{
	struct phone *dave;
	unsigned crossed = 0;

	(void)state;
	stage();
	dave = world_phone(w, "dave", DAVE);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = talk();
		struct phone_call *carol_dave = phone_invite(carol, "sip:dave@example.org", NULL, SDP_C);

		phone_reply(soon(dave, "INVITE"), 200, NULL, NULL, SDP_A);
		soon(dave, "ACK");
		phone_ack(soon(carol, "200"), NULL, NULL);
		world_advance(w, 10 * SH_MS);
		if (worker_of(t.b) != worker_of(carol_dave)) {
			crossed++;
			refer(t.b, replaces(carol_dave, "dave"));
			NOTIFIED_TRYING(bob);
			NOTIFIED_LAST(bob, "SIP/2.0 403");
		} else {
			phone_in_call(t.b, "REFER", replaces(carol_dave, "dave"), NULL);
			soon(bob, "403 REFER");
		}
		hang_up(carol_dave, dave);
		hang_up(t.a, bob);
	}
	assert_true(crossed > 2);
	end();
}

static void a_leg_returns_when_the_transfer_fails(void **state)
{
	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = consult();

		refer(t.b, replaces(bob_carol, "carol"));
		NOTIFIED_TRYING(bob);
		if (i % 2) { /* the target refuses */
			phone_reply(soon(carol, "INVITE"), 488, NULL, NULL, NULL);
			soon(carol, "ACK");
		} else { /* the other party does */
			phone_reply(soon(carol, "INVITE"), 200, NULL, NULL, SDP_C);
			phone_reply(soon(alice, "INVITE"), 488, NULL, NULL, NULL);
			soon(alice, "ACK");
			phone_assert_body(soon(carol, "ACK"), SDP_B);
		}
		NOTIFIED_LAST(bob, "SIP/2.0 488");
		phone_in_call(carol_bob, "INFO", NULL, NULL);
		ok(soon(bob, "INFO"));
		soon(carol, "200 INFO");
		hang_up(bob_carol, carol);
		hang_up(t.a, bob);
	}
	end();
}

/* OPTIONS in its dialog are on their way when the leg leaves: what comes of them is not for the other worker's leg. */
static void a_leg_that_is_asked_whether_it_lives_can_move(void **state)
{
	struct sh_ua_config ua = sh_ua_config_default;
	struct world_options o = {.workers = WORKERS, .ua = &ua};
	unsigned moved = 0;

	(void)state;
	ua.dialog_probe = 2 * SH_SECOND;
	begin_with(&o, TRANSFER_PLAN);
	w->forgiving = true;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = consult();
		bool crosses = worker_of(t.b) != worker_of(bob_carol);
		struct phone_msg *m, *asked = phone_expect(carol, "OPTIONS", 3 * SH_SECOND);

		refer(t.b, replaces(bob_carol, "carol"));
		NOTIFIED_TRYING(bob);
		m = soon(carol, "INVITE");
		phone_reply(m, 200, NULL, NULL, SDP_C);
		m = soon(alice, "INVITE");
		phone_reply(m, 200, NULL, NULL, SDP_A);
		soon(alice, "ACK");
		soon(carol, "ACK");
		NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
		ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
		ok(phone_expect_in(t.b, "BYE", SH_SECOND));
		if (crosses) {
			phone_reply(asked, 481, NULL, NULL, NULL);
			phone_expect_none(alice, "BYE", 100 * SH_MS);
		}
		moved += crosses;
		hang_up(carol_bob, alice);
		world_settle(w, 300 * SH_SECOND);
		for (unsigned k = 0; k < w->nphones; k++)
			SH_LIST_EACH (l, &w->phones[k]->log)
				SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
	}
	assert_true(moved > 2);
	world_destroy(w);
}

static void a_call_that_ends_while_its_leg_is_away(void **state)
{
	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = consult();
		struct phone_msg *m;

		refer(t.b, replaces(bob_carol, "carol"));
		NOTIFIED_TRYING(bob);
		m = soon(carol, "INVITE");
		if (i % 2) { /* bob leaves both: the others meet all the same */
			phone_bye(bob_carol);
			soon(bob, "200 BYE");
			phone_reply(m, 200, NULL, NULL, SDP_C);
			phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
			soon(alice, "ACK");
			soon(carol, "ACK");
			NOTIFIED_LAST(bob, "200");
			ok(phone_expect_in(t.b, "BYE", SH_SECOND));
			hang_up(t.a, carol);
		} else { /* alice leaves: bob and carol are left */
			phone_bye(t.a);
			soon(alice, "200 BYE");
			NOTIFIED_LAST(bob, "487");
			ok(phone_expect_in(t.b, "BYE", SH_SECOND));
			phone_reply(m, 487, NULL, NULL, NULL);
			soon(carol, "ACK");
			w->forgiving = true;
			if (phone_count(carol, "CANCEL"))
				ok(soon(carol, "CANCEL"));
			phone_bye(bob_carol);
			soon(bob, "200 BYE");
			ok(soon(carol, "BYE"));
		}
		world_advance(w, SH_SECOND);
	}
	end();
}

static void a_transfer_to_a_dialog_that_is_not_there(void **state)
{
	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = talk(), u;

		refer(t.b, "Refer-To: <sip:carol@example.org?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>");
		NOTIFIED_TRYING(bob);
		phone_reply(soon(carol, "INVITE"), 481, NULL, NULL, NULL);
		soon(carol, "ACK");
		NOTIFIED_LAST(bob, "481");
		u = talk();
		hang_up(u.a, bob);
		phone_in_call(t.b, "REFER", replaces(u.b, "carol"), NULL); /* of a call that has ended, on any worker */
		world_advance(w, 100 * SH_MS);
		while (phone_count(bob, "NOTIFY") && t.b->confirmed && u.b) { /* 481 to the REFER, or by NOTIFY */
			bool any = false;

			SH_LIST_EACH (l, &bob->log) {
				struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

				if (!m->sent && !m->consumed && m->m.is_request && m->m.method == SH_NOTIFY) {
					m->consumed = any = true;
					ok(m);
				} else if (!m->sent && !m->m.is_request) {
					m->consumed = true;
				}
			}
			world_advance(w, 100 * SH_MS);
			if (!any)
				break;
		}
		SH_LIST_EACH (l, &carol->log) {
			struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

			if (!m->sent && !m->consumed && m->m.is_request && m->m.method == SH_INVITE) {
				m->consumed = true;
				phone_reply(m, 481, NULL, NULL, NULL);
			}
		}
		world_advance(w, SH_SECOND);
		SH_LIST_EACH (l, &carol->log)
			SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
		SH_LIST_EACH (l, &bob->log) {
			struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

			if (!m->sent && !m->consumed && m->m.is_request)
				ok(m);
			m->consumed = true;
		}
		hang_up(t.a, bob);
	}
	w->forgiving = true;
	world_destroy(w);
}

/* Somebody calls with the tag of a leg that moved as his Call-ID, and names that leg: what was noted of the one must not
 * be taken for the other, and no message goes round and round between workers. */
static void an_invite_whose_call_id_is_the_tag_of_a_moved_leg_is_answered(void **state)
{
	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = consult();
		char headers[256];
		struct phone_msg *m;
		struct phone_call *c;

		refer(t.b, replaces(bob_carol, "carol"));
		NOTIFIED_TRYING(bob);
		joined(soon(carol, "INVITE"), SDP_C, alice, SDP_A);
		NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
		ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
		ok(phone_expect_in(t.b, "BYE", SH_SECOND));
		snprintf(headers, sizeof(headers), "Call-ID: %s\nReplaces: q;to-tag=%s;from-tag=y", carol_bob->remote_tag, carol_bob->remote_tag);
		c = phone_invite(bob, "sip:carol@example.org", headers, SDP_B);
		m = soon(bob, "481");
		assert_ptr_equal(m->call, c);
		phone_ack(m, NULL, NULL);
		hang_up(carol_bob, alice);
	}
	end();
}

static void an_invite_with_replaces_and_its_cancel_find_the_dialog(void **state)
{
	unsigned elsewhere = 0;

	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		char headers[256];
		struct phone_call *c;
		struct phone_msg *m;
		struct talk t = talk();

		snprintf(headers, sizeof(headers), "Replaces: %s;to-tag=%s;from-tag=%s", t.b->id, t.b->remote_tag, t.b->local_tag);
		c = phone_invite(carol, "sip:bob@example.org", headers, SDP_C);
		m = soon(alice, "INVITE");
		phone_assert_body(m, SDP_C);
		if (i % 2) { /* carol gives up: alice is asked no more, and talks with bob */
			phone_reply(m, 100, NULL, NULL, NULL);
			world_advance(w, 10 * SH_MS);
			phone_cancel(c, NULL);
			soon(carol, "200 CANCEL");
			phone_ack(soon(carol, "487"), NULL, NULL);
			is_cancelled(m);
			hang_up(t.a, bob);
		} else {
			phone_reply(m, 200, NULL, NULL, SDP_A);
			soon(alice, "ACK");
			m = soon(carol, "200");
			phone_ack(m, NULL, NULL);
			elsewhere += worker_of(c) == worker_of(t.b);
			ok(soon(bob, "BYE"));
			hang_up(t.a, carol);
		}
	}
	assert_true(elsewhere == ROUNDS / 2);
	end();
}

static void a_refer_with_target_dialog_finds_the_call(void **state)
{
	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = talk();
		struct phone_msg *m;
		char headers[512];

		snprintf(headers, sizeof(headers), "Refer-To: <sip:carol@example.org>\nTarget-Dialog: %s;local-tag=%s;remote-tag=%s\nContact: <sip:bob@10.0.0.3>",
			 t.b->id, t.b->remote_tag, t.b->local_tag);
		phone_request(bob, "REFER", "sip:10.0.0.1:5060", headers, NULL);
		soon(bob, "200 REFER");
		NOTIFIED_TRYING(bob);
		m = soon(carol, "INVITE");
		joined(m, SDP_C, alice, SDP_A);
		NOTIFIED_LAST(bob, "200");
		ok(soon(bob, "BYE"));
		hang_up(t.a, carol);
	}
	end();
}

/* An order to a call that lives on any worker. */
static void a_script_transfers_a_call_wherever_it_lives(void **state)
{
	struct world_options o = {.workers = WORKERS};

	(void)state;
	begin_with(&o, TO_PHONES "sip.on.message(function(req)\n  for _, c in ipairs(sip.calls()) do\n"
				 "    local ok, res = c:transfer('sip:carol@10.0.0.4', {keep = 'a'})\n"
				 "    sip.log.info('order: %s %s', ok, type(res) == 'table' and res.code or res)\n  end\n  req:reply(200)\nend)\n");
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = talk();
		struct phone_msg *m;

		phone_request(bob, "MESSAGE", "sip:x@example.org", NULL, NULL);
		m = soon(carol, "INVITE");
		if (i % 3 == 0) {
			phone_reply(m, 486, NULL, NULL, NULL);
			soon(carol, "ACK");
			soon(bob, "200 MESSAGE");
			world_expect_log(w, "order: nil 486");
			hang_up(t.a, bob);
			continue;
		}
		joined(m, SDP_C, alice, SDP_A);
		ok(soon(bob, "BYE"));
		soon(bob, "200 MESSAGE");
		world_expect_log(w, "order: true nil");
		hang_up(t.a, carol);
	}
	end();
}

/* Anybody can send INVITEs with some Replaces and a Call-ID of any length: what is noted for their CANCELs is little, and goes by
 * itself; what moved stays. */
static void notes_about_invites_have_a_limit_and_end(void **state)
{
	enum { MOST = 4096, LIFETIME = 200 };
	char key[32];
	struct sh_ua *ua;

	(void)state;
	stage();
	ua = w->ua[0];
	sh_forward_add(ua, SH_FORWARD_TAG, SH_LIT("0"), 2, 0);
	for (unsigned i = 0; i < 3 * MOST; i++) {
		snprintf(key, sizeof(key), "%u", i);
		sh_forward_add(ua, SH_FORWARD_CALL_ID, sh_slice_cstr(key), 1, LIFETIME * SH_SECOND);
		assert_int_equal(sh_forward_find(ua, SH_FORWARD_CALL_ID, sh_slice_cstr(key)), 1);
	}
	assert_int_equal(ua->forwards.count, MOST + 1);
	assert_int_equal(sh_forward_find(ua, SH_FORWARD_CALL_ID, SH_LIT("0")), -1); /* the oldest made room */
	assert_int_equal(sh_forward_find(ua, SH_FORWARD_TAG, SH_LIT("0")), 2);
	sh_forward_add(ua, SH_FORWARD_CALL_ID, SH_LIT("last"), 3, LIFETIME * SH_SECOND);
	world_advance(w, LIFETIME * SH_SECOND / 2);
	assert_int_equal(sh_forward_find(ua, SH_FORWARD_CALL_ID, SH_LIT("last")), 3);
	sh_forward_add(ua, SH_FORWARD_CALL_ID, SH_LIT("last"), 1, LIFETIME * SH_SECOND); /* again: it lasts longer */
	world_advance(w, (LIFETIME / 2 + 1) * SH_SECOND);
	assert_int_equal(ua->forwards.count, 2);
	assert_int_equal(sh_forward_find(ua, SH_FORWARD_CALL_ID, SH_LIT("last")), 1);
	world_advance(w, LIFETIME * SH_SECOND);
	assert_int_equal(ua->forwards.count, 1);
	sh_forward_remove(ua, SH_FORWARD_TAG, SH_LIT("0"));
	assert_int_equal(ua->forwards.count, 0);
	end();
}

/* The INVITE is sent on twice, to where its leg was made and to where that has moved; its CANCEL goes the same way. */
static void a_cancel_finds_its_invite_behind_a_leg_that_has_moved(void **state)
{
	(void)state;
	stage();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = consult();
		struct phone_msg *m;
		struct phone_call *c;
		char headers[256];

		refer(t.b, replaces(bob_carol, "carol"));
		NOTIFIED_TRYING(bob);
		joined(soon(carol, "INVITE"), SDP_C, alice, SDP_A);
		NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
		ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
		ok(phone_expect_in(t.b, "BYE", SH_SECOND));
		/* bob wants carol's place in it */
		snprintf(headers, sizeof(headers), "Replaces: %s;to-tag=%s;from-tag=%s", carol_bob->id, carol_bob->remote_tag, carol_bob->local_tag);
		c = phone_invite(bob, "sip:carol@example.org", headers, SDP_B);
		m = soon(alice, "INVITE");
		phone_reply(m, 100, NULL, NULL, NULL);
		world_advance(w, 10 * SH_MS);
		phone_cancel(c, NULL);
		soon(bob, "200 CANCEL");
		phone_ack(soon(bob, "487"), NULL, NULL);
		is_cancelled(m);
		hang_up(carol_bob, alice);
	}
	end();
}

/* A lamp of carol's, whose leg moves: it is one dialog, and it goes out with it. */
static void a_lamp_stays_the_same_when_its_leg_moves(void **state)
{
	struct world_options o = {.workers = WORKERS};
	struct phone *dave;

	(void)state;
	begin_with(&o, TRANSFER_PLAN "sip.on.subscribe(function(sub) assert(sub:accept{serve = true}) end)\n");
	dave = world_phone(w, "dave", DAVE);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = consult();
		struct phone_msg *m;
		struct phone_call *lamp;
		char id[64] = "";
		const char *at;

		lamp = phone_request(dave, "SUBSCRIBE", "sip:carol@example.org", "Event: dialog\nContact: <sip:dave@10.0.0.5>", NULL);
		phone_expect_in(lamp, "200 SUBSCRIBE", SH_SECOND);
		world_advance(w, SH_SECOND);
		do { /* the last that he was told */
			m = phone_expect_in(lamp, "NOTIFY", SH_SECOND);
			ok(m);
			world_advance(w, 20 * SH_MS);
		} while (!strstr(phone_body(m), "confirmed"));
		at = strstr(phone_body(m), "<dialog id=\"");
		assert_non_null(at);
		sscanf(at + strlen("<dialog id=\""), "%63[^\"]", id);
		refer(t.b, replaces(bob_carol, "carol"));
		NOTIFIED_TRYING(bob);
		joined(soon(carol, "INVITE"), SDP_C, alice, SDP_A);
		NOTIFIED_LAST(bob, "SIP/2.0 200 OK");
		ok(phone_expect_in(bob_carol, "BYE", SH_SECOND));
		ok(phone_expect_in(t.b, "BYE", SH_SECOND));
		hang_up(carol_bob, alice);
		do {
			m = phone_expect_in(lamp, "NOTIFY", SH_SECOND);
			ok(m);
			world_advance(w, 20 * SH_MS);
		} while (!strstr(phone_body(m), "terminated"));
		at = strstr(phone_body(m), "<dialog id=\"");
		assert_non_null(at);
		assert_memory_equal(at + strlen("<dialog id=\""), id, strlen(id));
		assert_null(strstr(at + 1, "<dialog id=\"")); /* no other one stays lit */
		world_advance(w, 10 * SH_SECOND);
		phone_in_call(lamp, "SUBSCRIBE", "Event: dialog\nExpires: 0", NULL);
		phone_expect_in(lamp, "200 SUBSCRIBE", SH_SECOND);
		ok(phone_expect_in(lamp, "NOTIFY", SH_SECOND));
		world_advance(w, SH_SECOND);
	}
	phone_expect_none(dave, "*", SH_SECOND);
	end();
}

/* ---- a pickup by id, whichever worker has the call ---- */

#define PICK                                                                                                           \
	"local sip = require 'siphook'\nlocal calls = sip.shared('calls')\nsip.domains{'example.org'}\n"                   \
	"sip.on.ack(function(req) end)\n" /* it looks at the ACK: the leg is not quiet at once */                           \
	"sip.on.invite(function(call)\n"                                                                                  \
	"  if call.uri.user == '*8' then\n    local ok, res = call:pickup(calls:get('id'))\n"                             \
	"    if not ok then sip.log.info('no pickup: %d', res.code) call:reject(res) end\n    return\n  end\n"           \
	"  calls:set('id', call.id)\n  local ok, res = call:dial({'sip:bob@10.0.0.3'}, {timeout = 20})\n"                \
	"  if not ok then call:reject(res) end\nend)\n"                                                                  \
	"sip.on.hangup(function(call, why) sip.log.info('hangup %s by %s %d %s', call.uri.user, why.by, why.code, why.reason) end)\n"

static void stage_pick(void)
{
	struct world_options o = {.workers = WORKERS};

	begin_with(&o, PICK);
}

static void a_ringing_call_of_any_worker_is_picked_up_by_its_id(void **state)
{
	unsigned crossed = 0;

	(void)state;
	stage_pick();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = ring();
		struct phone_call *c = phone_invite(carol, "sip:*8@example.org", NULL, SDP_C);
		struct phone_msg *got;

		is_cancelled(t.invite);
		got = phone_expect_in(c, "200 INVITE", SH_SECOND);
		phone_assert_body(got, SDP_A);
		phone_ack(got, NULL, NULL);
		got = phone_expect_in(t.a, "200 INVITE", SH_SECOND);
		phone_assert_body(got, SDP_C);
		phone_ack(got, NULL, NULL);
		world_expect_log(w, "hangup *8 by script 200 Picked up");
		crossed += worker_of(c) != worker_of(t.a);
		phone_in_call(t.a, "INFO", NULL, NULL);
		ok(soon(carol, "INFO"));
		soon(alice, "200 INFO");
		phone_reinvite(c, NULL, SDP_C);
		phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
		soon(alice, "ACK");
		phone_ack(soon(carol, "200"), NULL, NULL);
		world_advance(w, 10 * SH_MS);
		if (i % 2)
			hang_up(t.a, carol);
		else
			hang_up(c, alice);
		world_expect_log(w, "hangup bob by");
	}
	assert_true(crossed > 2);
	end();
}

static void a_talking_call_of_any_worker_is_picked_up_by_its_id(void **state)
{
	(void)state;
	stage_pick();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct talk t = talk();
		struct phone_call *c = phone_invite(carol, "sip:*8@example.org", NULL, i % 3 ? SDP_C : NULL);
		struct phone_msg *m = soon(alice, "INVITE");

		phone_assert_body(m, i % 3 ? SDP_C : "");
		phone_reply(m, 200, NULL, NULL, SDP_A);
		if (i % 3)
			soon(alice, "ACK");
		m = phone_expect_in(c, "200 INVITE", SH_SECOND);
		phone_assert_body(m, SDP_A);
		phone_ack(m, NULL, i % 3 ? NULL : SDP_C);
		if (i % 3 == 0)
			phone_assert_body(soon(alice, "ACK"), SDP_C);
		ok(soon(bob, "BYE"));
		phone_in_call(c, "INFO", NULL, NULL);
		ok(soon(alice, "INFO"));
		soon(carol, "200 INFO");
		hang_up(t.a, carol);
	}
	end();
}

/* Whoever gives up on the way, the other half hears of it, and nothing is left of either. */
static void a_pickup_across_workers_may_come_to_nothing(void **state)
{
	(void)state;
	stage_pick();
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
	for (unsigned i = 0; i < 3 * ROUNDS; i++) {
		struct talk t = i % 3 == 2 ? talk() : ring();
		struct phone_call *c = phone_invite(carol, "sip:*8@example.org", NULL, SDP_C);
		struct phone_msg *m;

		if (i % 3 == 2) { /* the partner that stays refuses */
			phone_reply(soon(alice, "INVITE"), 488, NULL, NULL, NULL);
			soon(alice, "ACK");
			phone_ack(phone_expect_in(c, "488", SH_SECOND), NULL, NULL);
			hang_up(t.a, bob);
			continue;
		}
		is_cancelled(t.invite);
		m = phone_expect_in(c, "200 INVITE", SH_SECOND);
		if (i % 3 == 0) { /* the caller gives up before the ACK */
			phone_cancel(t.a, NULL);
			soon(alice, "200 CANCEL");
			phone_ack(phone_expect_in(t.a, "487", SH_SECOND), NULL, NULL);
			phone_ack(m, NULL, NULL);
			ok(soon(carol, "BYE"));
		} else { /* who picks up sends no ACK: the fork goes on, and has nobody left */
			ok(phone_expect(carol, "BYE", 40 * SH_SECOND));
			phone_ack(phone_expect(alice, "4xx", SH_SECOND), NULL, NULL);
		}
		world_advance(w, SH_SECOND);
	}
	/* there is no such call any more */
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct phone_call *c = phone_invite(carol, "sip:*8@example.org", NULL, SDP_C);

		phone_ack(phone_expect_in(c, "481", SH_SECOND), NULL, NULL);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_dialog_of_somebody_else_is_not_taken_from_another_worker),
	    cmocka_unit_test(an_attended_transfer_takes_the_leg_from_another_worker),
	    cmocka_unit_test(a_leg_returns_when_the_transfer_fails),
	    cmocka_unit_test(a_leg_that_is_asked_whether_it_lives_can_move),
	    cmocka_unit_test(a_call_that_ends_while_its_leg_is_away),
	    cmocka_unit_test(a_transfer_to_a_dialog_that_is_not_there),
	    cmocka_unit_test(an_invite_whose_call_id_is_the_tag_of_a_moved_leg_is_answered),
	    cmocka_unit_test(an_invite_with_replaces_and_its_cancel_find_the_dialog),
	    cmocka_unit_test(notes_about_invites_have_a_limit_and_end),
	    cmocka_unit_test(a_refer_with_target_dialog_finds_the_call),
	    cmocka_unit_test(a_script_transfers_a_call_wherever_it_lives),
	    cmocka_unit_test(a_cancel_finds_its_invite_behind_a_leg_that_has_moved),
	    cmocka_unit_test(a_lamp_stays_the_same_when_its_leg_moves),
	    cmocka_unit_test(a_ringing_call_of_any_worker_is_picked_up_by_its_id),
	    cmocka_unit_test(a_talking_call_of_any_worker_is_picked_up_by_its_id),
	    cmocka_unit_test(a_pickup_across_workers_may_come_to_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
