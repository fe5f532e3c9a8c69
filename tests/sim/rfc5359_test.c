/* The services of RFC 5359 in which a server takes part, by their sections. siphook stands where the RFC has a proxy, and also between
 * the phones that the RFC lets talk with each other directly: what is done to a dialog is done across both of ours. Of what is not
 * here, 2.4 is in transfer_blind_test.c, 2.5 in transfer_attended_test.c, 2.15 and 2.16 in transfer_pickup_test.c and
 * event_test.c, 2.18 in originate_test.c; 2.17 is a phone's own business: it watches with the event dialog (event_test.c). */
#include "transfer_helpers.h"

#define SDP_D SDP("dave", DAVE, "7000")

static struct phone *dave;

static void stage(const char *plan)
{
	begin(plan);
	dave = world_phone(w, "dave", DAVE);
}

static void curtain_at(const char *file, int line)
{
	world_settle_at(w, 300 * SH_SECOND, file, line);
	phone_expect_none_at(dave, "*", SH_SECOND, file, line);
	end_at(file, line);
}
#define curtain() curtain_at(__FILE__, __LINE__)

/* A new session in the call: `other` hears the offer, `by` the answer. */
static void reinvite_at(struct phone_call *by, const char *offer, struct phone *other, const char *answer, const char *file, int line)
{
	struct phone_msg *m;

	phone_reinvite(by, NULL, offer);
	m = phone_expect_at(other, NULL, "INVITE", SH_SECOND, file, line);
	phone_assert_body_at(m, offer, file, line);
	phone_reply(m, 200, NULL, NULL, answer);
	phone_expect_at(other, NULL, "ACK", SH_SECOND, file, line);
	m = phone_expect_at(by->phone, by, "200 INVITE", SH_SECOND, file, line);
	phone_assert_body_at(m, answer, file, line);
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
}
#define reinvite(by, offer, other, answer) reinvite_at((by), (offer), (other), (answer), __FILE__, __LINE__)

/* The phone that is called answers, and both have their ACK. */
static void answers_at(struct phone_msg *invite, const char *sdp, struct phone_call *caller, const char *file, int line)
{
	struct phone_msg *m;

	phone_reply(invite, 200, NULL, NULL, sdp);
	m = phone_expect_at(caller->phone, caller, "200 INVITE", SH_SECOND, file, line);
	phone_assert_body_at(m, sdp, file, line);
	phone_ack(m, NULL, NULL);
	phone_expect_at(invite->phone, invite->call, "ACK", SH_SECOND, file, line);
	world_advance(w, 10 * SH_MS);
}
#define answers(invite, sdp, caller) answers_at((invite), (sdp), (caller), __FILE__, __LINE__)

static void refuses(struct phone_msg *invite, unsigned code)
{
	phone_reply(invite, code, NULL, NULL, NULL);
	soon(invite->phone, "ACK");
}

/* An INVITE with Replaces to the other side of that dialog, whose place the sender takes. */
static struct phone_call *takes_over_at(struct phone *by, const struct phone_call *whose, const char *offer, struct phone *stays,
					const char *answer, const char *file, int line)
{
	char headers[512];
	struct phone_call *c;
	struct phone_msg *m;

	snprintf(headers, sizeof(headers), "Require: replaces\nReplaces: %s;to-tag=%s;from-tag=%s", whose->id, whose->remote_tag, whose->local_tag);
	c = phone_invite(by, "sip:alice@example.org", headers, offer);
	m = phone_expect_at(stays, NULL, "INVITE", SH_SECOND, file, line);
	phone_assert_body_at(m, offer, file, line);
	phone_reply(m, 200, NULL, NULL, answer);
	phone_expect_at(stays, NULL, "ACK", SH_SECOND, file, line);
	m = phone_expect_at(by, c, "200 INVITE", SH_SECOND, file, line);
	phone_assert_body_at(m, answer, file, line);
	phone_ack(m, NULL, NULL);
	ok(phone_expect_at(whose->phone, whose, "BYE", SH_SECOND, file, line));
	return c;
}
#define takes_over(by, whose, offer, stays, answer) takes_over_at((by), (whose), (offer), (stays), (answer), __FILE__, __LINE__)

static void section_2_1_call_hold(void **state)
{
	struct talk t;

	(void)state;
	stage(TO_PHONES);
	t = talk();
	reinvite(t.b, SDP_B "a=sendonly\r\n", alice, SDP_A "a=recvonly\r\n");
	world_advance(w, 30 * SH_SECOND);
	reinvite(t.b, SDP_B, alice, SDP_A);
	hang_up(t.b, alice);
	curtain();
}

static void section_2_2_consultation_hold(void **state)
{
	struct phone_call *consultation;
	struct phone_msg *m;
	struct talk t;

	(void)state;
	stage(TO_PHONES);
	t = talk();
	reinvite(t.b, SDP_B "a=sendonly\r\n", alice, SDP_A "a=recvonly\r\n");
	consultation = phone_invite(bob, "sip:carol@example.org", NULL, SDP_B);
	m = soon(carol, "INVITE");
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_expect_in(consultation, "180", SH_SECOND);
	answers(m, SDP_C, consultation);
	hang_up(consultation, carol);
	reinvite(t.b, SDP_B, alice, SDP_A);
	hang_up(t.a, bob);
	curtain();
}

/* dave is the music server, which bob sends to alice: that REFER is between the two of them. */
static void section_2_3_music_on_hold(void **state)
{
	struct phone_call *music, *order;
	struct phone_msg *m;
	struct talk t;

	(void)state;
	stage(TO_PHONES);
	t = talk();
	reinvite(t.b, SDP_B "a=inactive\r\n", alice, SDP_A "a=inactive\r\n");
	phone_proxy(bob, SH_PROTO_UDP, DAVE, 5060);
	order = phone_request(bob, "REFER", "sip:music@10.0.0.5", replaces(t.b, "alice"), NULL);
	phone_proxy(bob, SH_PROTO_UDP, "10.0.0.1", 5060);
	phone_reply(soon(dave, "REFER"), 202, NULL, NULL, NULL);
	phone_expect_in(order, "202", SH_SECOND);
	music = takes_over(dave, t.b, SDP_D, alice, SDP_A);
	/* bob takes alice off hold: now it is he who takes a place */
	t.b = takes_over(bob, music, SDP_B, alice, SDP_A);
	hang_up(t.a, bob);
	m = t.invite;
	assert_ptr_not_equal(m->call, t.b);
	curtain();
}

static void section_2_6_transfer_instant_messaging(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;
	char body[512];
	struct talk t;

	(void)state;
	stage(TO_PHONES "sip.on.message(function(req) req:relay({'sip:' .. req.uri.user .. '@' .. where[req.uri.user]}) end)\n");
	t = talk();
	snprintf(body, sizeof(body), "<%s>", replaces(t.b, "alice") + strlen("Refer-To: <"));
	phone_request(bob, "MESSAGE", "sip:carol@example.org", "Content-Type: text/plain", body);
	m = soon(carol, "MESSAGE");
	phone_assert_body(m, body); /* what it names is bob's dialog, and it comes back to us in Replaces as it is */
	ok(m);
	soon(bob, "200 MESSAGE");
	c = takes_over(carol, t.b, SDP_C, alice, SDP_A);
	phone_in_call(c, "INFO", NULL, NULL);
	ok(soon(alice, "INFO"));
	soon(carol, "200 INFO");
	hang_up(t.a, carol);
	curtain();
}

/* ---- forwarding ---- */

/* Whoever is dialled is forwarded to carol, at once or when the phone that was called fails. */
#define FORWARD(first)                                                                                                 \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\nsip.on.invite(function(call)\n"                      \
	"  local leg, res\n" first                                                                                       \
	"  call:ring(181, {headers = {['X-Forwarded'] = 'yes'}})\n"                                                       \
	"  local ok, res = call:dial({'sip:carol@10.0.0.4'}, {diversion = 'sip:bob@example.org'})\n"                     \
	"  if not ok then call:reject(res) end\nend)\n"
#define ONE_FIRST "  leg, res = call:fork({'sip:bob@10.0.0.3'}, {timeout = 20})\n  if leg then call:bridge(leg) return end\n"

static void forwarded(struct phone_call *c)
{
	struct phone_msg *m;

	phone_assert_header(phone_expect_in(c, "181", SH_SECOND), "X-Forwarded", "yes");
	m = soon(carol, "INVITE");
	phone_assert_contains(m, "Diversion", "<sip:bob@example.org>");
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_expect_in(c, "180", SH_SECOND);
	answers(m, SDP_C, c);
	hang_up(c, carol);
}

static void section_2_7_call_forwarding_unconditional(void **state)
{
	(void)state;
	stage(FORWARD(""));
	forwarded(phone_invite(alice, "sip:bob@example.org", NULL, SDP_A));
	curtain();
}

static void section_2_8_call_forwarding_busy(void **state)
{
	struct phone_call *c;

	(void)state;
	stage(FORWARD(ONE_FIRST));
	c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	refuses(soon(bob, "INVITE"), 486);
	forwarded(c);
	curtain();
}

static void section_2_9_call_forwarding_no_answer(void **state)
{
	struct phone_msg *invite;
	struct talk t;

	(void)state;
	stage(FORWARD(ONE_FIRST));
	t = ring();
	ok(phone_expect(bob, "CANCEL", 21 * SH_SECOND));
	invite = t.invite;
	refuses(invite, 487);
	forwarded(t.a);
	curtain();
}

/* ---- three parties: bob's phone mixes ---- */

static void section_2_10_third_party_is_added(void **state)
{
	struct phone_call *c;
	struct talk t;

	(void)state;
	stage(TO_PHONES);
	t = talk();
	reinvite(t.b, SDP_B "a=sendrecv\r\n", alice, SDP_A);
	c = phone_invite(bob, "sip:carol@example.org", NULL, SDP_B);
	answers(soon(carol, "INVITE"), SDP_C, c);
	/* the two calls are calls of their own: one ends, the other goes on */
	hang_up(c, carol);
	hang_up(t.b, alice);
	curtain();
}

/* carol names the dialog as bob's phone does, from a lamp for instance; it reaches bob as he calls it, and he joins the two. */
static void section_2_11_third_party_joins(void **state)
{
	char join[512], seen[512];
	struct phone_call *c;
	struct phone_msg *m;
	struct talk t;

	(void)state;
	stage("local sip = require 'siphook'\nsip.domains{'example.org'}\nsip.on.invite(function(call)\n"
	      "  if call.join then sip.log.info('joins %s', call.join.call_id) end\n"
	      "  local ok, res = call:dial({'sip:bob@10.0.0.3'})\n  if not ok then call:reject(res) end\nend)\n");
	t = talk();
	snprintf(join, sizeof(join), "Join: %s;to-tag=%s;from-tag=%s", t.a->id, t.a->remote_tag, t.a->local_tag);
	c = phone_invite(carol, "sip:bob@example.org", join, SDP_C);
	m = soon(bob, "INVITE");
	/* named by alice's dialog with us, it is bob's with us that he knows */
	snprintf(seen, sizeof(seen), "%s;to-tag=%s;from-tag=%s", t.b->id, t.b->local_tag, t.b->remote_tag);
	phone_assert_header(m, "Join", seen);
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_expect_in(c, "180", SH_SECOND);
	reinvite(t.b, SDP_B "a=sendrecv\r\n", alice, SDP_A); /* bob's phone becomes a focus */
	answers(m, SDP_B, c);
	world_expect_log(w, "joins");
	hang_up(c, bob);
	hang_up(t.b, alice);
	curtain();
}

/* ---- */

static void section_2_12_find_me(void **state)
{
	struct phone *erin;
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	stage(PLAN("  local ok, res = call:dial({{'sip:bob@10.0.0.3'}, {'sip:bob@10.0.0.4'}, {'sip:bob@10.0.0.5'}, {'sip:bob@10.0.0.6'}}, {timeout = 15})\n"
		   "  if not ok then call:reject(res) end\n"));
	erin = world_phone(w, "erin", "10.0.0.6");
	c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_expect_in(c, "180", SH_SECOND);
	ok(phone_expect(bob, "CANCEL", 16 * SH_SECOND));
	refuses(m, 487);
	refuses(soon(carol, "INVITE"), 480);
	refuses(soon(dave, "INVITE"), 486);
	m = soon(erin, "INVITE");
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_expect_in(c, "180", SH_SECOND);
	answers(m, SDP("erin", "10.0.0.6", "8000"), c);
	hang_up(m->call, alice);
	phone_expect_none(erin, "*", SH_SECOND);
	curtain();
}

#define SCREENING                                                                                                      \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\nlocal unwanted = {alice = true}\nlocal closed = {premium = true}\n" \
	"sip.on.invite(function(call)\n"                                                                                 \
	"  if call.uri.user == 'announcement' then return call:dial 'sip:announcement@10.0.0.5' end\n"                     \
	"  local user = call:auth{realm = 'example.org', password = 'secret', algorithms = {'MD5'}}\n  if not user then return end\n" \
	"  if closed[call.uri.user] then return call:reject(403, 'Screening Failure') end\n"                               \
	"  if unwanted[user] then\n    return call:reject(403, 'Screening Failure (Terminating)',\n"                       \
	"      {headers = {['Error-Info'] = '<sip:announcement@example.org>'}})\n  end\n"                                   \
	"  call:dial 'sip:bob@10.0.0.3'\nend)\n"

static struct phone_call *calls_with_a_login(const char *user, const char *uri)
{
	struct phone_call *c;

	phone_login(alice, user, "secret");
	c = phone_invite(alice, uri, NULL, SDP_A);
	phone_authorize(phone_expect_in(c, "407", SH_SECOND));
	return c;
}

static void section_2_13_incoming_call_screening(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	stage(SCREENING);
	/* bob's phone itself sends everybody to his proxy */
	phone_proxy(alice, SH_PROTO_UDP, BOB, 5060);
	c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 305, NULL, "Contact: <sip:10.0.0.1:5060>", NULL);
	phone_ack(phone_expect_in(c, "305", SH_SECOND), NULL, NULL);
	soon(bob, "ACK");
	phone_proxy(alice, SH_PROTO_UDP, "10.0.0.1", 5060);
	c = calls_with_a_login("alice", "sip:bob@example.org");
	m = phone_expect_in(c, "403", SH_SECOND);
	assert_string_equal(reason_of(m), "Screening Failure (Terminating)");
	phone_assert_header(m, "Error-Info", "<sip:announcement@example.org>");
	phone_ack(m, NULL, NULL);
	phone_expect_none(bob, "*", SH_SECOND);
	/* she listens to why */
	c = phone_invite(alice, "sip:announcement@example.org", NULL, SDP_A);
	m = soon(dave, "INVITE");
	answers(m, SDP_D, c);
	hang_up(m->call, alice);
	/* whom bob does not mind gets through: it is the credentials that count, not the From */
	c = calls_with_a_login("trudy", "sip:bob@example.org");
	answers(soon(bob, "INVITE"), SDP_B, c);
	hang_up(c, bob);
	curtain();
}

static void section_2_14_outgoing_call_screening(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	stage(SCREENING);
	c = calls_with_a_login("trudy", "sip:premium@example.org");
	m = phone_expect_in(c, "403", SH_SECOND);
	assert_string_equal(reason_of(m), "Screening Failure");
	phone_ack(m, NULL, NULL);
	curtain();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(section_2_1_call_hold),
		cmocka_unit_test(section_2_2_consultation_hold),
		cmocka_unit_test(section_2_3_music_on_hold),
		cmocka_unit_test(section_2_6_transfer_instant_messaging),
		cmocka_unit_test(section_2_7_call_forwarding_unconditional),
		cmocka_unit_test(section_2_8_call_forwarding_busy),
		cmocka_unit_test(section_2_9_call_forwarding_no_answer),
		cmocka_unit_test(section_2_10_third_party_is_added),
		cmocka_unit_test(section_2_11_third_party_joins),
		cmocka_unit_test(section_2_12_find_me),
		cmocka_unit_test(section_2_13_incoming_call_screening),
		cmocka_unit_test(section_2_14_outgoing_call_screening),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
