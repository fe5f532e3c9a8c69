/* sip.request and sip.trunk: requests of our own. */
#include "script_world.h"

#include "credentials.h"

#define CHALLENGE "WWW-Authenticate: Digest realm=\"pole\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\""
#define LOGIN     "auth = {user = 'north', password = 'pole'}"
#define TRUNK(options) "local trunk = sip.trunk{name = 'north', uri = 'sip:10.0.0.3', " options "}\n"
/* A MESSAGE tells the state, a call goes out by the trunk. */
#define USE                                                                                                            \
	"sip.on.message(function(req) req:reply(200, {body = trunk.state .. ' ' .. tostring(trunk.registered) .. ' '"  \
	" .. trunk.code})\nend)\n"                                                                                     \
	"sip.on.invite(function(call) local ok, res = call:dial(trunk) if not ok then call:reject(res) end end)\n"

static void state_is_at(const char *text, const char *file, int line)
{
	struct phone_call *c;

	world_advance(w, 10 * SH_MS); /* what was sent arrives first */
	c = phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_assert_body_at(phone_expect_at(alice, c, "200", SH_SECOND, file, line), text, file, line);
}
#define state_is(text) state_is_at((text), __FILE__, __LINE__)

/* ---- sip.request ---- */

#define ASK(code)                                                                                                      \
	PLAN "sip.on.message(function(req) local res, why, detail = sip.request{" code "}\n"                                   \
	     "  if not res then return req:reply(500, why) end\n"                                                      \
	     "  req:reply(200, {body = res.code .. ' ' .. res.reason .. ' ' .. tostring(res.cause) .. ' ' .. (res.body or '')})\nend)\n"

static struct phone_call *ask(void)
{
	return phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
}

static void answer_is(struct phone_call *c, const char *text)
{
	phone_assert_body(phone_expect_in(c, "200", 60 * SH_SECOND), text);
}

static void a_request_of_any_method_brings_its_answer(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(ASK("method = 'PING', uri = 'sip:bob@10.0.0.3', headers = {['X-Any'] = 'x'}, body = 'hello', from = 'sip:me@example.org'"));
	c = ask();
	m = soon(bob, "PING");
	phone_assert_header(m, "X-Any", "x");
	phone_assert_header(m, "To", "<sip:bob@10.0.0.3>");
	phone_assert_contains(m, "From", "<sip:me@example.org>;tag=");
	phone_assert_header(m, "Content-Type", "text/plain");
	phone_assert_header(m, "Contact", NULL);
	phone_assert_body(m, "hello");
	phone_reply(m, 200, "Pong", "Content-Type: text/plain", "there");
	answer_is(c, "200 Pong nil there");
	end();
}

static void a_challenged_request_is_sent_again_with_credentials(void **state)
{
	struct phone_call *c;
	struct phone_msg *m, *again;

	(void)state;
	begin(ASK("method = 'OPTIONS', uri = 'sip:bob@10.0.0.3', " LOGIN));
	c = ask();
	m = soon(bob, "OPTIONS");
	phone_assert_contains(m, "From", "<sip:example.org>;tag=");
	phone_reply(m, 401, NULL, CHALLENGE, NULL);
	again = soon(bob, "OPTIONS");
	assert_int_equal(again->m.cseq, m->m.cseq + 1);
	proves(again, SH_H_AUTHORIZATION, "north", "pole", "pole");
	phone_reply(again, 200, NULL, NULL, NULL);
	answer_is(c, "200 OK nil ");
	end();
}

static void the_next_group_is_tried_when_the_first_fails(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(ASK("method = 'MESSAGE', targets = {{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}, timeout = 3"));
	c = ask();
	soon(bob, "MESSAGE"); /* says nothing */
	phone_reply(phone_expect(carol, "MESSAGE", 4 * SH_SECOND), 202, NULL, NULL, NULL);
	answer_is(c, "202 Accepted nil ");
	end();
}

static void nobody_there_is_408_or_480(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(ASK("method = 'MESSAGE', uri = 'sip:bob@10.0.0.3', timeout = 2"));
	c = ask();
	soon(bob, "MESSAGE");
	answer_is(c, "408 Request Timeout no_answer ");
	world_reload(w, ASK("method = 'MESSAGE', targets = {}"));
	c = ask();
	answer_is(c, "480 Temporarily Unavailable empty ");
	world_reload(w, ASK("method = 'MESSAGE', uri = 'sip:x@10.0.0.99'"));
	c = ask();
	answer_is(c, "503 Service Unavailable unreachable ");
	end();
}

static void mistakes_in_a_request_are_named(void **state)
{
	static const struct {
		const char *code, *error;
	} wrong[] = {
		{"sip.request{}", "option 'method' is needed"},
		{"sip.request{method = 'INVITE', uri = 'sip:a@b'}", "sip.originate"},
		{"sip.request{method = 'BYE', uri = 'sip:a@b'}", "belongs to a call"},
		{"sip.request{method = 'a b', uri = 'sip:a@b'}", "is no method"},
		{"sip.request{method = 'PING'}", "one of the options 'uri' and 'targets'"},
		{"sip.request{method = 'PING', uri = 'sip:a@b', targets = {}}", "one of the options 'uri' and 'targets'"},
		{"sip.request{method = 'PING', uri = 'x'}", "is no URI"},
		{"sip.request{method = 'PING', uri = 'sip:a@b', early = 'drop'}", "unknown option 'early'"},
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

static void a_call_that_ends_gives_up_its_request(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call) sip.request{method = 'PING', uri = 'sip:bob@10.0.0.3'} end)\n");
	c = dial("sip:x@example.org");
	soon(bob, "PING");
	soon(alice, "100");
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	end();
}

/* ---- sip.trunk ---- */

static struct phone_msg *registers_at(struct phone *p, uint64_t within, const char *file, int line)
{
	return phone_expect_at(p, NULL, "REGISTER", within, file, line);
}
#define registers(p, within) registers_at((p), (within), __FILE__, __LINE__)

static void a_trunk_registers_and_refreshes(void **state)
{
	struct phone_msg *m, *again, *refresh;

	(void)state;
	begin(PLAN TRUNK("register = true, " LOGIN) USE);
	m = registers(bob, SH_SECOND);
	assert_true(sh_slice_eq(sh_msg_text(&m->m, m->m.uri), SH_LIT("sip:10.0.0.3"))); /* RFC 3261 10.2: no user part */
	phone_assert_header(m, "To", "<sip:north@10.0.0.3>");
	phone_assert_contains(m, "From", "<sip:north@10.0.0.3>;tag=");
	phone_assert_header(m, "Contact", "<sip:north@10.0.0.1:5060>");
	phone_assert_header(m, "Expires", "3600");
	phone_assert_header(m, "Authorization", NULL);
	state_is("trying false 0");
	phone_reply(m, 401, NULL, CHALLENGE, NULL);
	again = registers(bob, SH_SECOND);
	proves(again, SH_H_AUTHORIZATION, "north", "pole", "pole");
	phone_reply(again, 200, NULL, "Contact: <sip:other@10.0.0.1:5060>;expires=7200, <sip:north@10.0.0.1:5060>;expires=600", NULL);
	state_is("up true 200");
	world_expect_log(w, "trunk north is up");
	/* RFC 3261 10.2.4: a minute before the end, in the same Call-ID with a higher CSeq, and with credentials at once */
	phone_expect_none(bob, "REGISTER", 539 * SH_SECOND);
	refresh = registers(bob, 2 * SH_SECOND);
	phone_assert_header(refresh, "Call-ID", phone_value(m, "Call-ID"));
	assert_int_equal(again->m.cseq, m->m.cseq + 1);
	assert_int_equal(refresh->m.cseq, again->m.cseq + 1);
	assert_int_equal(proves(refresh, SH_H_AUTHORIZATION, "north", "pole", "pole").nc, 2);
	phone_reply(refresh, 200, NULL, "Contact: <sip:north@10.0.0.1:5060>;expires=600", NULL);
	state_is("up true 200");
	end();
}

static void a_call_goes_out_by_the_trunk_with_the_number_that_was_dialled(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN TRUNK("from = 'sip:+4912@10.0.0.3', headers = {['X-Line'] = '7'}, " LOGIN) USE);
	state_is("up false 0"); /* nothing to register, nothing to ask */
	c = dial("sip:+49123@example.org");
	m = soon(bob, "INVITE");
	assert_true(sh_slice_eq(sh_msg_text(&m->m, m->m.uri), SH_LIT("sip:+49123@10.0.0.3")));
	phone_assert_contains(m, "From", "<sip:+4912@10.0.0.3>;tag=");
	phone_assert_header(m, "X-Line", "7");
	phone_reply(m, 401, NULL, CHALLENGE, NULL);
	soon(bob, "ACK");
	m = soon(bob, "INVITE");
	proves(m, SH_H_AUTHORIZATION, "north", "pole", "pole");
	phone_reply(m, 200, NULL, NULL, SDP);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	end();
}

static void an_entry_may_say_another_number_and_other_fields(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN TRUNK("from = 'sip:a@x.org', headers = {['X-Line'] = '7'}")
	      "sip.on.invite(function(call) local leg, res = call:fork({{{uri = trunk, user = '0 1', from = 'sip:b@x.org'}},"
	      " {'sip:carol@10.0.0.4'}}) call:reject(res) end)\n");
	c = dial("sip:+49123@example.org");
	m = soon(bob, "INVITE");
	assert_true(sh_slice_eq(sh_msg_text(&m->m, m->m.uri), SH_LIT("sip:0%201@10.0.0.3")));
	phone_assert_contains(m, "From", "<sip:b@x.org>;tag=");
	phone_assert_header(m, "X-Line", "7");
	phone_reply(m, 503, NULL, NULL, NULL);
	soon(bob, "ACK");
	answer(carol, 486);
	refused(c, "486");
	end();
}

static void a_short_expiry_is_raised_as_the_registrar_wants(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN TRUNK("register = {expires = 60, contact = 'line1', aor = 'sip:acct@example.net'}") USE);
	m = registers(bob, SH_SECOND);
	phone_assert_header(m, "To", "<sip:acct@example.net>");
	phone_assert_header(m, "Contact", "<sip:line1@10.0.0.1:5060>");
	phone_assert_header(m, "Expires", "60");
	phone_reply(m, 423, NULL, "Min-Expires: 1800", NULL);
	m = registers(bob, SH_SECOND);
	phone_assert_header(m, "Expires", "1800");
	phone_reply(m, 200, NULL, "Expires: 1800", NULL);
	phone_expect_none(bob, "REGISTER", 1739 * SH_SECOND);
	phone_reply(registers(bob, 2 * SH_SECOND), 200, NULL, NULL, NULL);
	end();
}

static void a_refused_trunk_is_down_and_asks_seldom(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN TRUNK("register = true, " LOGIN) USE);
	phone_reply(registers(bob, SH_SECOND), 401, NULL, CHALLENGE, NULL);
	phone_reply(registers(bob, SH_SECOND), 401, NULL, CHALLENGE, NULL); /* wrong password */
	state_is("down false 401");
	world_expect_log(w, "wrong or no credentials");
	world_expect_log(w, "trunk north is down (401 Unauthorized)");
	phone_expect_none(bob, "REGISTER", 299 * SH_SECOND);
	m = registers(bob, 2 * SH_SECOND);
	phone_reply(m, 200, NULL, NULL, NULL);
	state_is("up true 200");
	end();
}

static void registration_fails_over_and_comes_back(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN "local trunk = sip.trunk{name = 'north', uri = {'sip:10.0.0.3', 'sip:10.0.0.4'}, register = true, " LOGIN "}\n" USE);
	phone_reply(registers(bob, SH_SECOND), 503, NULL, NULL, NULL);
	phone_reply(registers(carol, SH_SECOND), 200, NULL, "Expires: 100", NULL);
	state_is("up true 200");
	/* calls go where we are registered; the other one is the next */
	struct phone_call *c = dial("sip:1@example.org");
	answer(carol, 503);
	answer(bob, 486);
	refused(c, "486");
	/* the refresh, too; when that one falls silent, the first one again */
	registers(carol, 51 * SH_SECOND);
	m = registers(bob, 10 * SH_SECOND);
	phone_reply(m, 200, NULL, NULL, NULL);
	state_is("up true 200");
	world_advance(w, 30 * SH_SECOND);
	end();
}

/* A busy person is not dialled again by another way; a provider that cannot do it is. */
static void the_next_address_is_for_a_provider_that_fails(void **state)
{
	static const struct {
		unsigned code;
		bool next;
	} rows[] = {{486, false}, {404, false}, {480, false}, {403, false}, {603, false}, {500, true}, {503, true}, {504, true}, {408, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct phone_call *c;
		char code[8];

		begin(PLAN "local trunk = sip.trunk{name = 'north', uri = {'sip:10.0.0.3', 'sip:10.0.0.4'}}\n" USE);
		c = dial("sip:1@example.org");
		answer(bob, rows[i].code);
		if (rows[i].next)
			answer(carol, 486);
		snprintf(code, sizeof(code), "%u", rows[i].next ? 486 : rows[i].code);
		refused(c, code);
		end();
	}
}

/* His phone rings until the time is over, or says 408 itself: he was reached. A provider that has only said 100 has reached nobody. */
static void a_callee_who_does_not_answer_is_not_dialled_by_another_way(void **state)
{
	static const struct {
		unsigned code, final;
		bool next;
	} rows[] = {{180, 0, false}, {183, 0, false}, {180, 408, false}, {180, 503, true}, {100, 0, true}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct phone_msg *m;
		struct phone_call *c;
		char code[8];

		begin(PLAN "local trunk = sip.trunk{name = 'north', uri = {'sip:10.0.0.3', 'sip:10.0.0.4'}}\n"
			   "sip.on.invite(function(call) local ok, res = call:dial(trunk, {timeout = 10}) call:reject(res) end)\n");
		phone_auto(alice, PHONE_ABSORB);
		c = dial("sip:1@example.org");
		m = soon(bob, "INVITE");
		phone_reply(m, rows[i].code, NULL, NULL, NULL);
		snprintf(code, sizeof(code), "%u", rows[i].code);
		if (rows[i].code > 100)
			phone_expect_in(c, code, SH_SECOND);
		if (rows[i].final) {
			phone_reply(m, rows[i].final, NULL, NULL, NULL);
		} else {
			phone_reply(phone_expect(bob, "CANCEL", 11 * SH_SECOND), 200, NULL, NULL, NULL);
			phone_reply(m, 487, NULL, NULL, NULL);
		}
		soon(bob, "ACK");
		if (rows[i].next)
			answer(carol, 486);
		refused(c, rows[i].next ? "486" : "408");
		end();
	}
}

static void a_registrar_that_is_gone_is_asked_at_growing_intervals(void **state)
{
	uint64_t last, wait[4];

	(void)state;
	begin(PLAN TRUNK("register = true, " LOGIN) USE);
	phone_reply(registers(bob, SH_SECOND), 500, NULL, NULL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		last = sh_sim_now(w->sim);
		phone_reply(registers(bob, 700 * SH_SECOND), 500, NULL, NULL, NULL);
		wait[i] = sh_sim_now(w->sim) - last;
	}
	assert_true(wait[0] >= 15 * SH_SECOND && wait[0] <= 30 * SH_SECOND + SH_SECOND);
	assert_true(wait[1] >= 30 * SH_SECOND && wait[1] <= 60 * SH_SECOND + SH_SECOND);
	assert_true(wait[2] >= 60 * SH_SECOND && wait[2] <= 120 * SH_SECOND + SH_SECOND);
	last = sh_sim_now(w->sim);
	phone_reply(registers(bob, 700 * SH_SECOND), 503, NULL, "Retry-After: 17 (soon)", NULL);
	phone_expect_none(bob, "REGISTER", 16 * SH_SECOND);
	phone_reply(registers(bob, 2 * SH_SECOND), 200, NULL, NULL, NULL);
	end();
}

static void a_qualified_trunk_that_falls_silent_is_left_out(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN TRUNK("qualify = 60")
	      "sip.on.message(function(req) req:reply(200, {body = trunk.state}) end)\n"
	      "sip.on.invite(function(call) local leg, res = call:fork{{trunk}, {'sip:carol@10.0.0.4'}} call:reject(res) end)\n");
	state_is("trying");
	phone_reply(soon(bob, "OPTIONS"), 404, NULL, NULL, NULL); /* whatever it says, it lives */
	state_is("up");
	phone_expect(bob, "OPTIONS", 61 * SH_SECOND);
	world_advance(w, 5 * SH_SECOND);
	state_is("down");
	world_expect_log(w, "trunk north is down");
	c = dial("sip:1@example.org"); /* not one second is lost */
	answer(carol, 486);
	refused(c, "486");
	phone_reply(phone_expect(bob, "OPTIONS", 61 * SH_SECOND), 200, NULL, NULL, NULL);
	state_is("up");
	c = dial("sip:1@example.org");
	answer(bob, 503);
	answer(carol, 486);
	refused(c, "486");
	end();
}

static void a_dead_trunk_is_tried_when_there_is_nothing_else(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN TRUNK("qualify = 600") USE);
	soon(bob, "OPTIONS");
	world_advance(w, 5 * SH_SECOND);
	state_is("down false 408");
	c = dial("sip:1@example.org");
	answer(bob, 486);
	refused(c, "486");
	end();
}

static void a_reload_that_changes_nothing_registers_nothing(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN TRUNK("register = true, " LOGIN) USE);
	phone_reply(registers(bob, SH_SECOND), 200, NULL, NULL, NULL);
	state_is("up true 200");
	world_reload(w, PLAN TRUNK("register = true, " LOGIN) "-- a remark\n" USE);
	phone_expect_none(bob, "REGISTER", 100 * SH_SECOND);
	state_is("up true 200");
	/* another password: the old one goes in order, the new one begins */
	world_reload(w, PLAN TRUNK("register = true, auth = {user = 'north', password = 'new'}") USE);
	m = registers(bob, SH_SECOND);
	phone_assert_header(m, "Expires", "0");
	phone_reply(m, 200, NULL, NULL, NULL);
	m = registers(bob, SH_SECOND);
	phone_assert_header(m, "Expires", "3600");
	phone_reply(m, 200, NULL, NULL, NULL);
	/* no trunk any more */
	world_reload(w, PLAN);
	m = registers(bob, SH_SECOND);
	phone_assert_header(m, "Expires", "0");
	phone_reply(m, 200, NULL, NULL, NULL);
	phone_expect_none(bob, "REGISTER", 4000 * SH_SECOND);
	end();
}

static void a_stop_takes_the_registration_back(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN TRUNK("register = true, " LOGIN) USE);
	phone_reply(registers(bob, SH_SECOND), 200, NULL, NULL, NULL);
	world_advance(w, SH_SECOND);
	sh_ua_drain(w->ua[0], 0);
	assert_false(sh_ua_idle(w->ua[0]));
	m = registers(bob, SH_SECOND);
	phone_assert_header(m, "Expires", "0");
	phone_reply(m, 200, NULL, NULL, NULL);
	world_advance(w, SH_SECOND);
	assert_true(sh_ua_idle(w->ua[0]));
	end();
}

static void a_service_route_is_taken_by_calls(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN TRUNK("register = true, " LOGIN) USE);
	phone_reply(registers(bob, SH_SECOND), 200, NULL, "Service-Route: <sip:10.0.0.4;lr>", NULL);
	world_advance(w, SH_SECOND);
	c = dial("sip:1@example.org");
	m = answer(carol, 486);
	phone_assert_header(m, "Route", "<sip:10.0.0.4;lr>");
	refused(c, "486");
	end();
}

static void mistakes_in_a_trunk_are_named(void **state)
{
	static const struct {
		const char *code, *error;
	} wrong[] = {
		{"sip.trunk{uri = 'sip:a'}", "option 'name' is needed"},
		{"sip.trunk{name = 'a'}", "option 'uri' is needed"},
		{"sip.trunk{name = 'a', uri = 'sip:a', register = true}", "to know as whom"},
		{"sip.trunk{name = 'a', uri = 'sip:a', register = 7}", "true or a table expected"},
		{"sip.trunk{name = 'a', uri = 'sip:a', qualify = 0}", "seconds from 1"},
		{"sip.trunk{name = 'a', uri = 'sip:a', early = 'drop'}", "unknown option 'early'"},
		{"sip.trunk{name = 'a', uri = 'sip:a'} sip.trunk{name = 'a', uri = 'sip:b'}", "there is a trunk 'a' already"},
		{"sip.trunk{name = 'a', uri = {}}", "1 to 8 URIs"},
	};
	char error[1024], script[512];

	(void)state;
	begin(PLAN USE "trunk = 1\n");
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(script, sizeof(script), PLAN "%s\n", wrong[i].code);
		assert_int_not_equal(world_try_reload(w, script, error, sizeof(error)), 0);
		if (!strstr(error, wrong[i].error))
			fail_msg("%s: %s", wrong[i].code, error);
	}
	end();
}

/* ---- whose call it is ---- */

#define FROM_TRUNK                                                                                                     \
	"sip.on.invite(function(call) call:reject(480, call.trunk and call.trunk.name .. ' is ' .. call.trunk.state or 'nobody') end)\n" \
	"sip.on.options(function(req) req:reply(200, {headers = {['X-Trunk'] = tostring(req.trunk)}}) end)\n"

static void comes_from_at(struct phone *p, const char *uri, const char *name, const char *file, int line)
{
	struct phone_call *c = phone_invite(p, uri, NULL, SDP);
	struct phone_msg *m = phone_expect_at(p, c, "480", SH_SECOND, file, line);
	char reason[100];

	snprintf(reason, sizeof(reason), "%.*s", SH_FMT(sh_msg_text(&m->m, m->m.reason)));
	if (strcmp(reason, name) != 0)
		phone_fail(w->sim, file, line, "it comes from %s, not from %s", reason, name);
	phone_ack(m, NULL, NULL);
}
#define comes_from(p, uri, name) comes_from_at((p), (uri), (name), __FILE__, __LINE__)

static void a_call_from_a_trunks_address_is_the_trunks(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.trunk{name = 'north', uri = {'sip:10.0.0.9', 'sip:10.0.0.3:5070'}}\n" FROM_TRUNK);
	world_advance(w, 10 * SH_MS);
	comes_from(bob, "sip:x@example.org", "north is up");
	comes_from(alice, "sip:x@example.org", "nobody");
	c = phone_request(bob, "OPTIONS", "sip:example.org", NULL, NULL);
	phone_assert_header(phone_expect_in(c, "200", SH_SECOND), "X-Trunk", "trunk north");
	/* by the trunks of the generation that runs */
	world_reload(w, PLAN FROM_TRUNK);
	comes_from(bob, "sip:x@example.org", "nobody");
	world_reload(w, PLAN "sip.trunk{name = 'south', uri = 'sip:10.0.0.2'}\n" FROM_TRUNK);
	world_advance(w, 10 * SH_MS);
	comes_from(alice, "sip:x@example.org", "south is up");
	end();
}

static void two_accounts_with_one_provider_are_told_apart_by_the_contact(void **state)
{
	(void)state;
	begin(PLAN "sip.trunk{name = 'sales', uri = 'sip:10.0.0.3', auth = {user = 'acct1', password = 'x'}}\n"
		   "sip.trunk{name = 'help', uri = 'sip:10.0.0.3', auth = {user = 'acct2', password = 'x'}}\n" FROM_TRUNK);
	world_advance(w, 10 * SH_MS);
	comes_from(bob, "sip:acct2@10.0.0.1", "help is up");
	comes_from(bob, "sip:acct1@10.0.0.1", "sales is up");
	comes_from(bob, "sip:4930123@10.0.0.1", "sales is up");
	end();
}

static void two_trunks_behind_one_address_are_told_apart_by_the_port(void **state)
{
	(void)state;
	begin(PLAN "sip.trunk{name = 'fax', uri = 'sip:10.0.0.3:5070'}\n"
		   "sip.trunk{name = 'voice', uri = 'sip:10.0.0.3', auth = {user = 'acct1', password = 'x'}}\n"
		   "sip.trunk{name = 'other', uri = 'sip:10.0.0.3:5080', auth = {user = 'acct2', password = 'x'}}\n" FROM_TRUNK);
	world_advance(w, 10 * SH_MS);
	comes_from(bob, "sip:4930123@10.0.0.1", "voice is up");
	comes_from(bob, "sip:acct2@10.0.0.1", "other is up"); /* whose Contact that is */
	end();
}

static void a_trunks_names_are_looked_up_again(void **state)
{
	(void)state;
	begin(PLAN);
	assert_int_equal(sh_sim_add_record(w->sim, "provider.test", "60 A 10.0.0.3"), 0);
	world_reload(w, PLAN "sip.trunk{name = 'north', uri = 'sip:provider.test:5060'}\n" FROM_TRUNK);
	world_advance(w, SH_SECOND);
	comes_from(bob, "sip:x@example.org", "north is up");
	comes_from(alice, "sip:x@example.org", "nobody");
	assert_int_equal(sh_sim_add_record(w->sim, "provider.test", "60 A 10.0.0.2"), 0);
	world_advance(w, 301 * SH_SECOND);
	comes_from(alice, "sip:x@example.org", "north is up");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_of_any_method_brings_its_answer),
		cmocka_unit_test(a_challenged_request_is_sent_again_with_credentials),
		cmocka_unit_test(the_next_group_is_tried_when_the_first_fails),
		cmocka_unit_test(nobody_there_is_408_or_480),
		cmocka_unit_test(mistakes_in_a_request_are_named),
		cmocka_unit_test(a_call_that_ends_gives_up_its_request),
		cmocka_unit_test(a_trunk_registers_and_refreshes),
		cmocka_unit_test(a_call_goes_out_by_the_trunk_with_the_number_that_was_dialled),
		cmocka_unit_test(an_entry_may_say_another_number_and_other_fields),
		cmocka_unit_test(a_short_expiry_is_raised_as_the_registrar_wants),
		cmocka_unit_test(a_refused_trunk_is_down_and_asks_seldom),
		cmocka_unit_test(registration_fails_over_and_comes_back),
		cmocka_unit_test(the_next_address_is_for_a_provider_that_fails),
		cmocka_unit_test(a_callee_who_does_not_answer_is_not_dialled_by_another_way),
		cmocka_unit_test(a_registrar_that_is_gone_is_asked_at_growing_intervals),
		cmocka_unit_test(a_qualified_trunk_that_falls_silent_is_left_out),
		cmocka_unit_test(a_dead_trunk_is_tried_when_there_is_nothing_else),
		cmocka_unit_test(a_reload_that_changes_nothing_registers_nothing),
		cmocka_unit_test(a_stop_takes_the_registration_back),
		cmocka_unit_test(a_service_route_is_taken_by_calls),
		cmocka_unit_test(mistakes_in_a_trunk_are_named),
		cmocka_unit_test(a_call_from_a_trunks_address_is_the_trunks),
		cmocka_unit_test(two_accounts_with_one_provider_are_told_apart_by_the_contact),
		cmocka_unit_test(two_trunks_behind_one_address_are_told_apart_by_the_port),
		cmocka_unit_test(a_trunks_names_are_looked_up_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
