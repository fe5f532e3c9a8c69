/* SUBSCRIBE, NOTIFY and PUBLISH (RFC 6665, RFC 3903), and the packages that the engine serves: dialog (RFC 4235), reg (RFC
 * 3680), message-summary (RFC 3842), presence (RFC 3856). */
#include "b2bua_helpers.h"
#include "b2bua/impl.h"

#define EVENTS                                                                                                         \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\n"                                                    \
	"local where = {alice = '10.0.0.2', bob = '10.0.0.3', carol = '10.0.0.4', dave = '10.0.0.5'}\n"                    \
	"sip.on.register(function(req) req:register{} end)\n"                                                            \
	"sip.on.subscribe(function(sub) assert(sub:accept{serve = true, expires = 600}) end)\n"                          \
	"sip.on.publish(function(req) req:publish{expires = 300} end)\n"                                                 \
	"sip.on.message(function(req)\n"                                                                                 \
	"  assert(sip.notify('message-summary', req.to, 'application/simple-message-summary', req.body))\n"              \
	"  req:reply(200)\nend)\n"                                                                                       \
	"sip.on.invite(function(call)\n"                                                                                 \
	"  if call.replaces then call:pickup() return end\n"                                                             \
	"  local ok, res = call:dial({'sip:' .. call.uri.user .. '@' .. where[call.uri.user]})\n"                        \
	"  if not ok then call:reject(res) end\nend)\n"

#define MINUTES(n) ((n) * 60 * SH_SECOND)

static struct phone_call *subscribe_at(struct phone *p, const char *aor, const char *headers, const char *file, int line)
{
	char text[512];
	struct phone_call *c;
	struct phone_msg *m;

	snprintf(text, sizeof(text), "Contact: <sip:watcher@%s>\n%s", p == alice ? ALICE : p == bob ? BOB : CAROL, headers);
	c = phone_request(p, "SUBSCRIBE", aor, text, NULL);
	m = phone_expect_at(p, c, "200 SUBSCRIBE", SH_SECOND, file, line);
	phone_assert_contains_at(m, "Contact", "<sip:10.0.0.1:5060", file, line);
	return c;
}
#define subscribe(p, aor, headers) subscribe_at((p), (aor), (headers), __FILE__, __LINE__)

/* The next NOTIFY of that subscription: its state, and what its body has and has not. Answered with 200. */
static struct phone_msg *told_at(struct phone_call *c, const char *state, const char *has, const char *has_not, const char *file, int line)
{
	struct phone_msg *m = phone_expect_at(c->phone, c, "NOTIFY", SH_SECOND, file, line);

	phone_assert_contains_at(m, "Subscription-State", state, file, line);
	if (has && !strstr(phone_body(m), has))
		phone_fail(w->sim, file, line, "the body has no %s:\n%s", has, phone_body(m));
	if (has_not && strstr(phone_body(m), has_not))
		phone_fail(w->sim, file, line, "the body has %s:\n%s", has_not, phone_body(m));
	ok(m);
	return m;
}
#define told(c, state, has, has_not) told_at((c), (state), (has), (has_not), __FILE__, __LINE__)

static void leave_at(struct phone_call *c, const char *file, int line)
{
	phone_in_call(c, "SUBSCRIBE", "Event: dialog\nExpires: 0", NULL);
	phone_assert_header_at(phone_expect_at(c->phone, c, "200 SUBSCRIBE", SH_SECOND, file, line), "Expires", "0", file, line);
	told_at(c, "terminated;reason=timeout", NULL, NULL, file, line);
}
#define leave(c) leave_at((c), __FILE__, __LINE__)

/* ------------------------------------------------------------------ dialog */

static void a_lamp_follows_the_calls_of_the_called_phone(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: dialog\nAccept: application/dialog-info+xml\nExpires: 3600");
	m = told(c, "active;expires=600", "version=\"0\" state=\"full\" entity=\"sip:bob@example.org\"", "<dialog ");
	phone_assert_header(m, "Event", "dialog");
	phone_assert_header(m, "Content-Type", "application/dialog-info+xml");
	t = ring();
	told(c, "active", "<state>trying</state>", NULL);
	m = told(c, "active", "<state>early</state>", "trying");
	assert_non_null(strstr(phone_body(m), "direction=\"recipient\""));
	assert_non_null(strstr(phone_body(m), "<identity>sip:alice@example.org</identity>"));
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	told(c, "active", "<state>confirmed</state>", "early");
	hang_up(t.a, bob);
	told(c, "active", "<state>terminated</state>", "confirmed");
	leave(c);
	end();
}

static void a_lamp_of_the_caller(void **state)
{
	struct phone_call *c;
	struct talk t;

	(void)state;
	begin(EVENTS);
	t = ring();
	c = subscribe(carol, "sip:alice@example.org", "Event: dialog"); /* in the middle of a call */
	told(c, "active", "direction=\"initiator\">\n<state>early</state>", NULL);
	phone_reply(t.invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	told(c, "active", "<state>terminated</state>", "early");
	leave(c);
	end();
}

/* OpenSIPS #380, Kamailio #3192: changes that come while a NOTIFY is on its way are told by the next one, the newest last. */
static void changes_are_gathered_while_a_notify_is_on_its_way(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(EVENTS);
	phone_auto(carol, PHONE_ABSORB);
	c = subscribe(carol, "sip:bob@example.org", "Event: dialog");
	m = soon(carol, "NOTIFY");
	t = talk();
	hang_up(t.a, bob);
	phone_expect_none(carol, "NOTIFY", SH_SECOND);
	ok(m);
	told(c, "active", "<state>terminated</state>", "confirmed");
	phone_expect_none(carol, "NOTIFY", SH_SECOND);
	leave(c);
	end();
}

/* Anybody can send an INVITE in anybody's name: it is no call before somebody lets it in. */
static void an_invite_that_is_refused_turns_no_lamp_on(void **state)
{
	struct phone_call *c;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.subscribe(function(sub) assert(sub:accept{serve = true, expires = 600}) end)\n"
	      "sip.on.invite(function(call) sip.sleep(1)  call:reject(403) end)\n");
	c = subscribe(carol, "sip:alice@example.org", "Event: dialog");
	told(c, "active", NULL, "<dialog ");
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	soon(alice, "100");
	phone_expect_none(carol, "*", SH_SECOND / 2);
	phone_in_call(c, "SUBSCRIBE", "Event: dialog", NULL);
	soon(carol, "200 SUBSCRIBE");
	told(c, "active", NULL, "<dialog ");
	phone_ack(phone_expect(alice, "403", 2 * SH_SECOND), NULL, NULL);
	phone_expect_none(carol, "*", SH_SECOND);
	leave(c);
	end();
}

/* The texts of a caller are not the end of those who watch him. */
static void a_lamp_with_endless_texts_is_told_without_them(void **state)
{
	enum { LEN = 20000 };
	static char to[LEN + 64];
	struct phone_call *c;
	struct talk t;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:alice@example.org", "Event: dialog");
	told(c, "active", NULL, "<dialog ");
	snprintf(to, sizeof(to), "To: <sip:%0*d@example.org>", LEN, 0);
	for (char *p = to; *p; p++)
		if (*p == '0')
			*p = '&';
	t = ring_at(to, SDP_A, __FILE__, __LINE__);
	told(c, "active", "trying", "&amp;");
	told(c, "active", "<state>early</state>", "&amp;");
	phone_reply(t.invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	told(c, "active", "<state>terminated</state>", "early");
	leave(c);
	end();
}

static void a_document_has_the_newest_lamps_that_fit(void **state)
{
	enum { CALLS = 70 };
	struct phone_msg *invites[CALLS], *m = NULL;
	struct phone_call *c;
	unsigned n = 0;

	(void)state;
	begin(EVENTS);
	for (unsigned i = 0; i < CALLS; i++)
		invites[i] = ring().invite;
	c = subscribe(carol, "sip:alice@example.org", "Event: dialog");
	for (unsigned i = 0; i < 3 && n != 64; i++) {
		n = 0;
		m = told(c, "active", NULL, NULL);
		for (const char *p = phone_body(m); (p = strstr(p, "<dialog ")) != NULL; p++)
			n++;
	}
	assert_int_equal(n, 64);
	phone_auto(carol, PHONE_ABSORB);
	for (unsigned i = 0; i < CALLS; i++) {
		phone_reply(invites[i], 486, NULL, NULL, NULL);
		soon(bob, "ACK");
		phone_ack(soon(alice, "486"), NULL, NULL);
	}
	w->forgiving = true;
	world_destroy(w);
}

static const char *attribute(const struct phone_msg *m, const char *name, char *out, size_t size)
{
	const char *at = strstr(phone_body(m), name);
	size_t n = 0;

	assert_non_null(at);
	for (at += strlen(name); *at && *at != '"' && n + 1 < size; at++)
		out[n++] = *at;
	out[n] = 0;
	return out;
}

/* RFC 5359 2.16: what the lamp says of a call is what Replaces needs to pick it up. */
static void rfc5359_2_16_pickup_from_a_lamp(void **state)
{
	char id[64], local[64], remote[64], headers[256];
	struct phone_call *c;
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: dialog");
	told(c, "active", NULL, NULL);
	t = ring();
	told(c, "active", NULL, NULL);
	m = told(c, "active", "<state>early</state>", NULL);
	snprintf(headers, sizeof(headers), "Replaces: %s;to-tag=%s;from-tag=%s;early-only", attribute(m, "call-id=\"", id, sizeof(id)),
		 attribute(m, "remote-tag=\"", remote, sizeof(remote)), attribute(m, "local-tag=\"", local, sizeof(local)));
	phone_invite(carol, "sip:bob@example.org", headers, SDP_C);
	is_cancelled(t.invite);
	told(c, "active", "terminated", NULL);
	phone_ack(soon(carol, "200 INVITE"), NULL, NULL);
	phone_ack(soon(alice, "200"), NULL, NULL);
	hang_up(t.a, carol);
	leave(c);
	end();
}

/* ------------------------------------------------------------------ the framework */

static void a_refresh_and_an_expiry(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: dialog;id=7\nExpires: 60");
	phone_assert_header(told(c, "active;expires=60", NULL, NULL), "Event", "dialog;id=7");
	world_advance(w, 50 * SH_SECOND);
	phone_in_call(c, "SUBSCRIBE", "Event: dialog;id=7\nExpires: 90", NULL);
	phone_assert_header(soon(carol, "200 SUBSCRIBE"), "Expires", "90");
	told(c, "active;expires=90", "version=\"1\"", NULL);
	phone_expect_none(carol, "NOTIFY", 80 * SH_SECOND);
	phone_assert_contains(phone_expect(carol, "NOTIFY", 20 * SH_SECOND), "Subscription-State", "terminated;reason=timeout");
	world_advance(w, 40 * SH_SECOND);
	w->forgiving = true;
	world_destroy(w);
}

static void no_subscription_is_for_ever(void **state)
{
	struct phone_call *c;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.subscribe(function(sub) assert(sub:accept{serve = true}) end)\n");
	c = subscribe(carol, "sip:bob@example.org", "Event: dialog\nExpires: 4294967295");
	told(c, "active;expires=3600", NULL, NULL);
	leave(c);
	end();
}

static void a_poll_is_one_notify(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: message-summary\nExpires: 0");
	told(c, "terminated;reason=timeout", "Messages-Waiting: no", NULL);
	end();
}

static void a_subscriber_that_fails(void **state)
{
	struct phone_call *c;
	struct talk t;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: dialog");
	phone_reply(soon(carol, "NOTIFY"), 500, NULL, NULL, NULL); /* of this one only */
	t = ring();
	told(c, "active", "trying", NULL);
	phone_reply(soon(carol, "NOTIFY"), 481, NULL, NULL, NULL); /* it has gone */
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	phone_expect_none(carol, "*", SH_SECOND);
	phone_in_call(c, "SUBSCRIBE", "Event: dialog", NULL);
	soon(carol, "481");
	hang_up(t.a, bob);
	end();
}

static void one_that_does_not_answer_is_dropped(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(EVENTS);
	phone_auto(carol, PHONE_ABSORB);
	c = subscribe(carol, "sip:bob@example.org", "Event: dialog");
	soon(carol, "NOTIFY");
	world_advance(w, 40 * SH_SECOND);
	phone_in_call(c, "SUBSCRIBE", "Event: dialog", NULL);
	soon(carol, "481");
	end();
}

static void refused(const char *headers, const char *code)
{
	char text[256];
	struct phone_call *c;

	snprintf(text, sizeof(text), "Contact: <sip:watcher@%s>\n%s", CAROL, headers);
	c = phone_request(carol, "SUBSCRIBE", "sip:bob@example.org", text, NULL);
	phone_expect_in(c, code, SH_SECOND);
}

static void what_is_no_subscription_is_answered_with_what_is_wrong(void **state)
{
	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.subscribe(function(sub)\n"
	      "  if sub['X-Reject'] then return sub:reject(603) end\n"
	      "  local ok, code = sub:accept{serve = true}\n  assert(ok or code)\nend)\n");
	refused("Event: x-unknown", "489");
	refused("Expires: 60", "489");
	refused("Event: dialog\nExpires: 5", "423");
	phone_request(carol, "SUBSCRIBE", "sip:bob@example.org", "-Contact\nEvent: dialog", NULL);
	soon(carol, "400");
	refused("Event: dialog\nX-Reject: 1", "603");
	phone_request(carol, "NOTIFY", "sip:bob@example.org", "Event: dialog\nSubscription-State: active", NULL);
	soon(carol, "481");
	world_reload(w, PLAN_BOB);
	refused("Event: dialog", "489");
	phone_request(carol, "PUBLISH", "sip:bob@example.org", "Event: presence", "x");
	soon(carol, "489");
	end();
}

static void what_the_hook_says_is_in_the_first_notify(void **state)
{
	struct phone_call *c;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.subscribe(function(sub)\n"
	      "  assert(sub:accept{expires = 120})\n"
	      "  if sub.event == 'x-slow' then sip.sleep(0.5) end\n"
	      "  assert(sub:notify('text/plain', 'sunny'))\n"
	      "  if sub.event == 'x-once' then assert(sub:terminate('noresource')) end\n"
	      "end)\n");
	c = subscribe(carol, "sip:vienna@example.org", "Event: x-weather");
	told(c, "active;expires=120", "sunny", NULL);
	c = subscribe(carol, "sip:vienna@example.org", "Event: x-once");
	told(c, "terminated;reason=noresource", "sunny", NULL);
	c = subscribe(carol, "sip:vienna@example.org", "Event: x-weather\nExpires: 0"); /* a poll */
	told(c, "terminated;reason=timeout", "sunny", NULL);
	c = subscribe(carol, "sip:vienna@example.org", "Event: x-slow");
	told(c, "active", NULL, "sunny");
	told(c, "active", "sunny", NULL);
	phone_expect_none(carol, "NOTIFY", SH_SECOND);
	end();
}

static void a_script_serves_any_other_package(void **state)
{
	struct phone_call *c, *d;
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\nlocal subs = {}\n"
	      "sip.on.subscribe(function(sub)\n"
	      "  assert(sub.event == 'x-weather' and sub.aor == 'sip:vienna@example.org' and sub.from.user == 'carol' or sub.from.user == 'bob')\n"
	      "  assert(sub:accept{expires = 120, pending = sub.from.user == 'bob', headers = {['X-Model'] = 'harmonie'}})\n"
	      "  assert(sub.state == (sub.from.user == 'bob' and 'pending' or 'active') and sub.expires == 120)\n"
	      "  subs[sub.from.user] = sub\nend)\n"
	      "sip.on.message(function(req)\n"
	      "  if req.body == 'all' then assert(sip.notify('x-weather', 'sip:vienna@example.org', 'text/plain', 'snow'))\n"
	      "  elseif req.body == 'one' then assert(subs.carol:notify('text/plain', 'just you'))\n"
	      "  elseif req.body == 'allow' then assert(subs.bob:notify('text/plain', 'welcome', 'active'))\n"
	      "  elseif req.body == 'end' then assert(subs.carol:terminate('deactivated'))\n"
	      "  else local ok, why = subs.carol:notify('text/plain', 'x')  assert(not ok and why == 'gone') end\n"
	      "  req:reply(200)\nend)\n");
	c = subscribe(carol, "sip:vienna@example.org", "Event: x-weather\nExpires: 500");
	m = told(c, "active;expires=120", NULL, NULL);
	phone_assert_body(m, "");
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "all");
	soon(alice, "200");
	phone_assert_header(told(c, "active", "snow", NULL), "Content-Type", "text/plain");
	d = subscribe(bob, "sip:vienna@example.org", "Event: x-weather"); /* the first NOTIFY has the last body */
	told(d, "pending;expires=120", "snow", NULL);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "one");
	soon(alice, "200");
	told(c, "active", "just you", NULL);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "allow");
	soon(alice, "200");
	told(d, "active", "welcome", NULL);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "all");
	soon(alice, "200");
	told(c, "active", "snow", NULL);
	told(d, "active", "snow", NULL);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "end");
	soon(alice, "200");
	told(c, "terminated;reason=deactivated", "snow", NULL);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "gone");
	soon(alice, "200");
	phone_in_call(d, "SUBSCRIBE", "Event: x-weather\nExpires: 0", NULL);
	soon(bob, "200 SUBSCRIBE");
	told(d, "terminated;reason=timeout", "snow", NULL);
	end();
}

/* ------------------------------------------------------------------ message-summary, presence, reg */

static void a_message_waits(void **state)
{
	struct phone_call *b, *c;

	(void)state;
	begin(EVENTS);
	b = subscribe(bob, "sip:bob@example.org", "Event: message-summary");
	c = subscribe(carol, "sip:bob@example.org", "Event: message-summary");
	phone_assert_header(told(b, "active", "Messages-Waiting: no\r\nMessage-Account: sip:bob@example.org", NULL), "Content-Type",
			    "application/simple-message-summary");
	told(c, "active", "no", NULL);
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "Messages-Waiting: yes\r\nVoice-Message: 2/8 (0/2)\r\n");
	soon(alice, "200");
	told(b, "active", "Voice-Message: 2/8", NULL);
	told(c, "active", "Messages-Waiting: yes", NULL);
	leave(b);
	leave(c);
	end();
}

#define PIDF(id, basic)                                                                                                \
	"<?xml version=\"1.0\"?><presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"sip:bob@example.org\"><tuple id=\"" id       \
	"\"><status><basic>" basic "</basic></status></tuple></presence>"

static struct phone_msg *publish_at(const char *headers, const char *body, const char *code, const char *file, int line)
{
	char text[256];
	struct phone_call *c;

	snprintf(text, sizeof(text), "Event: presence\n%s%s", body ? "Content-Type: application/pidf+xml\n" : "", headers);
	c = phone_request(bob, "PUBLISH", "sip:bob@example.org", text, body);
	return phone_expect_at(bob, c, code, SH_SECOND, file, line);
}
#define publish(headers, body, code) publish_at((headers), (body), (code), __FILE__, __LINE__)

static void presence_is_what_was_published_and_for_how_long(void **state)
{
	char match[128], second[128];
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: presence");
	phone_assert_header(told(c, "active", "<basic>closed</basic>", NULL), "Content-Type", "application/pidf+xml");
	world_register(bob);
	told(c, "active", "<basic>open</basic>", NULL);
	m = publish("Expires: 3600", PIDF("desk", "open"), "200");
	phone_assert_header(m, "Expires", "300");
	snprintf(match, sizeof(match), "SIP-If-Match: %s\n", phone_value(m, "SIP-ETag"));
	told(c, "active", "id=\"desk\"", "registration");
	/* a refresh is no news, and changes the tag */
	m = publish(match, NULL, "200");
	publish(match, NULL, "412");
	snprintf(match, sizeof(match), "SIP-If-Match: %s\n", phone_value(m, "SIP-ETag"));
	phone_expect_none(carol, "*", SH_SECOND);
	/* a change */
	m = publish(match, PIDF("desk", "closed"), "200");
	snprintf(match, sizeof(match), "SIP-If-Match: %s\n", phone_value(m, "SIP-ETag"));
	told(c, "active", "closed", "open");
	/* a second device: both tuples */
	m = publish("Expires: 100", PIDF("mobile", "open"), "200");
	snprintf(second, sizeof(second), "SIP-If-Match: %s\n", phone_value(m, "SIP-ETag"));
	m = told(c, "active", "id=\"mobile\"", NULL);
	assert_non_null(strstr(phone_body(m), "id=\"desk\""));
	/* one is taken away, the other runs out */
	snprintf(second + strlen(second), sizeof(second) - strlen(second), "Expires: 0");
	publish(second, NULL, "200");
	told(c, "active", "id=\"desk\"", "mobile");
	publish("SIP-If-Match: nonsense", NULL, "412");
	publish("", NULL, "400");
	publish("Expires: 3", PIDF("x", "open"), "423");
	phone_expect_none(carol, "NOTIFY", 280 * SH_SECOND);
	m = phone_expect(carol, "NOTIFY", 30 * SH_SECOND);
	assert_non_null(strstr(phone_body(m), "registration"));
	ok(m);
	leave(c);
	w->forgiving = true;
	world_destroy(w);
}

static void a_document_has_a_longest_time_and_a_largest_size(void **state)
{
	static char body[17 * 1024];

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\nsip.on.publish(function(req) req:publish() end)\n");
	phone_assert_header(publish("Expires: 4294967295\n", PIDF("desk", "open"), "200"), "Expires", "3600");
	memset(body, 'x', sizeof(body) - 1);
	publish("", body, "413");
	w->forgiving = true;
	world_destroy(w);
}

static void reg_tells_of_every_binding(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: reg");
	m = told(c, "active", "<registration aor=\"sip:bob@example.org\"", "<contact");
	phone_assert_header(m, "Content-Type", "application/reginfo+xml");
	assert_non_null(strstr(phone_body(m), "state=\"terminated\""));
	world_register(bob);
	m = told(c, "active", "<uri>sip:bob@10.0.0.3:5060</uri>", NULL);
	assert_non_null(strstr(phone_body(m), "state=\"active\" event=\"registered\""));
	phone_request(bob, "REGISTER", "sip:example.org", "Contact: *\nExpires: 0", NULL);
	soon(bob, "200 REGISTER");
	told(c, "active", "state=\"terminated\"", "<contact");
	leave(c);
	end();
}

/* ------------------------------------------------------------------ several workers */

static void subscribers_of_all_workers_hear_of_calls_of_all_workers(void **state)
{
	enum { WATCHERS = 12, CALLS = 8 };
	struct world_options o = {.workers = 4};
	struct phone_call *watch[WATCHERS];
	struct phone_msg *m;

	(void)state;
	begin_with(&o, EVENTS);
	phone_auto(carol, PHONE_ABSORB);
	for (unsigned i = 0; i < WATCHERS; i++) {
		watch[i] = subscribe(carol, "sip:bob@example.org", "Event: dialog");
		told(watch[i], "active", NULL, "<dialog ");
	}
	for (unsigned i = 0; i < CALLS; i++) {
		struct talk t = ring();

		for (unsigned k = 0; k < WATCHERS; k++) {
			told(watch[k], "active", "trying", NULL);
			told(watch[k], "active", "early", NULL);
		}
		phone_reply(t.invite, 486, NULL, NULL, NULL);
		soon(bob, "ACK");
		phone_ack(soon(alice, "486"), NULL, NULL);
		for (unsigned k = 0; k < WATCHERS; k++)
			told(watch[k], "active", "<state>terminated</state>", "early");
		world_advance(w, 6 * SH_SECOND);
	}
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "Messages-Waiting: yes\r\n");
	soon(alice, "200");
	for (unsigned i = 0; i < WATCHERS; i++) {
		struct phone_call *c = subscribe(carol, "sip:bob@example.org", "Event: message-summary\nExpires: 0");

		told(c, "terminated", "yes", NULL);
	}
	m = publish("", PIDF("desk", "open"), "200");
	for (unsigned i = 0; i < WATCHERS; i++) {
		char match[128];
		struct phone_call *c = subscribe(carol, "sip:bob@example.org", "Event: presence\nExpires: 0");

		told(c, "terminated", "desk", NULL);
		snprintf(match, sizeof(match), "SIP-If-Match: %s", phone_value(m, "SIP-ETag"));
		m = publish(match, NULL, "200");
	}
	for (unsigned i = 0; i < WATCHERS; i++)
		leave(watch[i]);
	w->forgiving = true;
	world_destroy(w);
}

/* ------------------------------------------------------------------ those who want too much */

static void end_forgiving(void)
{
	w->forgiving = true;
	world_destroy(w);
}

/* Sixteen documents of 16 KB are more than a NOTIFY can hold: the watchers are told what fits, the newest first, and go on. */
static void presence_that_does_not_fit_is_told_as_far_as_it_does(void **state)
{
	static char body[16 * 1024];
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(EVENTS);
	c = subscribe(carol, "sip:bob@example.org", "Event: presence");
	told(c, "active", "closed", NULL);
	for (unsigned i = 0; i < 16; i++) {
		char tuple[80], tail[80];

		snprintf(tuple, sizeof(tuple), "<presence><tuple id=\"t%u\"><note>", i);
		snprintf(tail, sizeof(tail), "</note></tuple></presence>");
		memset(body, 'x', sizeof(body));
		memcpy(body, tuple, strlen(tuple));
		memcpy(body + 15 * 1024, tail, strlen(tail) + 1);
		phone_request(bob, "PUBLISH", "sip:bob@example.org", "Event: presence\nContent-Type: application/pidf+xml", body);
		soon(bob, "200 PUBLISH");
		m = phone_expect_in(c, "NOTIFY", SH_SECOND);
		snprintf(tuple, sizeof(tuple), "id=\"t%u\"", i);
		assert_non_null(strstr(phone_body(m), tuple));
		if (i)
			assert_non_null(strstr(phone_body(m), "</presence>\n"));
		ok(m);
	}
	/* it is still a subscription */
	phone_in_call(c, "SUBSCRIBE", "Event: presence", NULL);
	soon(carol, "200 SUBSCRIBE");
	told(c, "active", "id=\"t15\"", "id=\"t0\"");
	leave(c);
	end_forgiving();
}

/* One source keeps 4 MB, whatever names of events it invents for them; others are not concerned, and what goes gives room. */
static void one_publisher_does_not_take_all_the_memory(void **state)
{
	static char body[15 * 1024];
	unsigned kept = 0, refused = 0;
	char headers[200], last[64] = "";
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\nsip.on.publish(function(req) req:publish() end)\n");
	memset(body, 'x', sizeof(body) - 1);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(headers, sizeof(headers), "Event: invented-%u\nContent-Type: text/x", i);
		c = phone_request(bob, "PUBLISH", "sip:bob@example.org", headers, body);
		m = phone_expect_in(c, "*", SH_SECOND);
		if (m->m.status == 200) {
			kept++;
			snprintf(last, sizeof(last), "Event: invented-%u\nSIP-If-Match: %s", i, phone_value(m, "SIP-ETag"));
		} else {
			refused++;
			assert_int_equal(m->m.status, 503);
			phone_assert_header(m, "Retry-After", "60");
		}
	}
	assert_in_range(kept, 250, 280);
	assert_int_equal(kept + refused, 300);
	c = phone_request(carol, "PUBLISH", "sip:carol@example.org", "Event: x\nContent-Type: text/x", body);
	phone_expect_in(c, "200", SH_SECOND);
	snprintf(headers, sizeof(headers), "%s\nExpires: 0", last);
	c = phone_request(bob, "PUBLISH", "sip:bob@example.org", headers, NULL);
	phone_expect_in(c, "200", SH_SECOND);
	c = phone_request(bob, "PUBLISH", "sip:bob@example.org", "Event: y\nContent-Type: text/x", body);
	phone_expect_in(c, "200", SH_SECOND);
	/* all of it has its time */
	world_advance(w, 3601 * SH_SECOND);
	assert_int_equal(w->ua[0]->published, 0);
	assert_int_equal(w->ua[0]->sources.count, 0);
	/* and a name has its length */
	memset(headers, 'e', 80);
	memcpy(headers, "Event: ", 7);
	headers[7 + 65] = 0;
	c = phone_request(bob, "PUBLISH", "sip:bob@example.org", headers, body);
	phone_expect_in(c, "489", SH_SECOND);
	end_forgiving();
}

static void says_200(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->code == 0 && m->m.is_request) {
		ok(m);
		m->consumed = true;
	}
}

/* Those that a REFER implies are among them. */
static void one_source_does_not_take_all_subscriptions(void **state)
{
	enum { MOST = 5000 };
	struct sh_source *others;
	struct sh_addr peer;
	struct phone_call *c;

	(void)state;
	begin("local sip = require 'siphook'\n"
	      "sip.on.refer(function(ref) ref:accept{manual = true} end)\n"
	      "sip.on.subscribe(function(sub) sub:accept{} end)\n");
	assert_int_equal(sh_addr_parse(&peer, SH_LIT(ALICE), 0), 0);
	assert_int_equal(sh_source_take(w->ua[0], &peer, SH_KEPT_SUBSCRIPTIONS, MOST - 1, &others), 0);
	c = phone_request(alice, "REFER", "sip:bob@example.org", "Contact: <sip:alice@" ALICE ">\nRefer-To: <sip:carol@example.org>", NULL);
	phone_expect_in(c, "200 REFER", SH_SECOND);
	ok(phone_expect_in(c, "NOTIFY", SH_SECOND));
	c = phone_request(alice, "SUBSCRIBE", "sip:bob@example.org", "Contact: <sip:alice@" ALICE ">\nEvent: weather", NULL);
	phone_expect_in(c, "503", SH_SECOND);
	sh_source_give(w->ua[0], others, SH_KEPT_SUBSCRIPTIONS, MOST - 1);
	c = subscribe(alice, "sip:bob@example.org", "Event: weather");
	world_settle(w, 600 * SH_SECOND);
	world_destroy(w);
}

/* Each poll of a lamp makes all workers look at all their calls: only so many in a second. */
static void polls_of_lamps_have_a_budget(void **state)
{
	unsigned accepted = 0, refused = 0;
	struct phone_msg *m;

	(void)state;
	begin(EVENTS);
	carol->on_message = says_200;
	for (unsigned i = 0; i < 2100; i++) {
		char uri[60];

		snprintf(uri, sizeof(uri), "sip:u%u@example.org", i);
		phone_request(carol, "SUBSCRIBE", uri, "Event: dialog\nExpires: 0\nContact: <sip:carol@10.0.0.4>", NULL);
	}
	world_advance(w, SH_SECOND / 2);
	SH_LIST_EACH (l, &carol->log) {
		m = SH_CONTAINER(l, struct phone_msg, link);
		if (m->sent || m->m.is_request)
			continue;
		m->consumed = true;
		accepted += m->m.status == 200;
		refused += m->m.status == 503;
		if (m->m.status == 503)
			phone_assert_header(m, "Retry-After", "1");
	}
	assert_int_equal(accepted, 2000);
	assert_int_equal(refused, 100);
	world_advance(w, SH_SECOND);
	phone_request(carol, "SUBSCRIBE", "sip:bob@example.org", "Event: dialog\nExpires: 0\nContact: <sip:carol@10.0.0.4>", NULL);
	soon(carol, "200 SUBSCRIBE");
	end_forgiving();
}

#define OUR_EVENTS "dialog, message-summary, presence, refer, reg"

/* RFC 6665 4.4.4: a notifier says so in what makes a dialog and to OPTIONS; 7.2: a 489 in any case. */
static void events_are_named_where_a_dialog_may_begin(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.subscribe(function(sub) sub:accept{serve = true} end)\n");
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	phone_assert_header(soon(alice, "200"), "Allow-Events", OUR_EVENTS);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_assert_header(t.invite, "Allow-Events", OUR_EVENTS);
	phone_reply(t.invite, 180, NULL, NULL, NULL);
	phone_assert_header(soon(alice, "180"), "Allow-Events", OUR_EVENTS);
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200 INVITE");
	phone_assert_header(t.answer, "Allow-Events", OUR_EVENTS);
	phone_ack(t.answer, NULL, NULL);
	soon(bob, "ACK");
	phone_request(alice, "SUBSCRIBE", "sip:bob@example.org", "Event: weather", NULL);
	phone_assert_header(soon(alice, "489"), "Allow-Events", OUR_EVENTS);
	hang_up(t.a, bob);
	end();
}

static void who_notifies_nobody_names_events_in_a_489_only(void **state)
{
	(void)state;
	begin(PLAN_BOB);
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	phone_assert_header(soon(alice, "200"), "Allow-Events", NULL);
	phone_request(alice, "SUBSCRIBE", "sip:bob@example.org", "Event: dialog", NULL);
	phone_assert_header(soon(alice, "489"), "Allow-Events", OUR_EVENTS);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(events_are_named_where_a_dialog_may_begin),
	    cmocka_unit_test(who_notifies_nobody_names_events_in_a_489_only),
	    cmocka_unit_test(a_lamp_follows_the_calls_of_the_called_phone),
	    cmocka_unit_test(a_lamp_of_the_caller),
	    cmocka_unit_test(changes_are_gathered_while_a_notify_is_on_its_way),
	    cmocka_unit_test(an_invite_that_is_refused_turns_no_lamp_on),
	    cmocka_unit_test(a_lamp_with_endless_texts_is_told_without_them),
	    cmocka_unit_test(a_document_has_the_newest_lamps_that_fit),
	    cmocka_unit_test(rfc5359_2_16_pickup_from_a_lamp),
	    cmocka_unit_test(a_refresh_and_an_expiry),
	    cmocka_unit_test(no_subscription_is_for_ever),
	    cmocka_unit_test(a_poll_is_one_notify),
	    cmocka_unit_test(a_subscriber_that_fails),
	    cmocka_unit_test(one_that_does_not_answer_is_dropped),
	    cmocka_unit_test(what_is_no_subscription_is_answered_with_what_is_wrong),
	    cmocka_unit_test(what_the_hook_says_is_in_the_first_notify),
	    cmocka_unit_test(a_script_serves_any_other_package),
	    cmocka_unit_test(a_message_waits),
	    cmocka_unit_test(presence_is_what_was_published_and_for_how_long),
	    cmocka_unit_test(a_document_has_a_longest_time_and_a_largest_size),
	    cmocka_unit_test(reg_tells_of_every_binding),
	    cmocka_unit_test(subscribers_of_all_workers_hear_of_calls_of_all_workers),
	    cmocka_unit_test(presence_that_does_not_fit_is_told_as_far_as_it_does),
	    cmocka_unit_test(one_publisher_does_not_take_all_the_memory),
	    cmocka_unit_test(one_source_does_not_take_all_subscriptions),
	    cmocka_unit_test(polls_of_lamps_have_a_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
