/* Every hook of the contract: what happens without one, what a hook that says nothing leaves to the engine, and what a script makes
 * of it. One row each; what a row does to the network is its scene. */
#include "script_world.h"

#define DIALS "sip.on.invite(function(call) local ok, res = call:dial('sip:bob@10.0.0.3') if not ok then call:reject(res) end end)\n"
#define SEEN  "sip.log.info('seen %s', req.method)"

/* The answer to a request outside of calls. */
static void outside(const char *method, const char *headers, const char *answer)
{
	char what[40];
	struct phone_call *c = phone_request(alice, method, "sip:x@example.org", headers, NULL);
	struct phone_msg *m;

	snprintf(what, sizeof(what), "%s %s", answer, method);
	m = phone_expect_in(c, what, SH_SECOND);
	if (strcmp(method, "INVITE") == 0)
		phone_ack(m, NULL, NULL);
}

static struct phone_call *call_up(struct phone_call **other)
{
	struct phone_call *c = dial("sip:x@example.org");
	struct phone_msg *m = answer(bob, 200);

	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, 10 * SH_MS);
	*other = m->call;
	return c;
}

static void call_down(struct phone_call *c)
{
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	world_advance(w, 10 * SH_MS);
}

/* In a call alice sends it; passed: bob gets it and answers 202, which comes back. */
static void inside(const char *method, const char *headers, const char *body, bool passed, const char *answer)
{
	struct phone_call *b, *c = call_up(&b);
	struct phone_msg *m;
	char what[40];

	phone_in_call(c, method, headers, body);
	if (passed)
		phone_reply(soon(bob, method), (unsigned)atoi(answer), NULL, NULL, strcmp(method, "INVITE") == 0 ? SDP : NULL);
	snprintf(what, sizeof(what), "%s %s", answer, method);
	m = phone_expect_in(c, what, SH_SECOND);
	if (strcmp(method, "INVITE") == 0) {
		phone_ack(m, NULL, NULL);
		world_advance(w, 10 * SH_MS);
		if (passed)
			soon(bob, "ACK");
	}
	call_down(c);
}

/* ---- outside of calls ---- */

static const struct outside_row {
	const char *hook, *method, *headers, *by_default;
	const char *script, *overridden; /* body of the hook; what it makes of it */
	const char *silent;              /* a hook that ends without an answer */
} outside_rows[] = {
	{"invite", "INVITE", NULL, "404", "req:reject(486)", "486", "500"},
	{"register", "REGISTER", NULL, "405", "req:register{}", "200", "500"},
	{"subscribe", "SUBSCRIBE", "Event: x\nContact: <sip:alice@10.0.0.2>", "489", "req:reply(403)", "403", "500"},
	{"publish", "PUBLISH", "Event: x", "489", "req:reply(403)", "403", "500"},
	{"message", "MESSAGE", NULL, "405", "req:reply(202)", "202", "405"},
	{"options", "OPTIONS", NULL, "200", "req:reply(404)", "404", "200"},
	{"notify", "NOTIFY", "Event: x\nSubscription-State: active", "481", "req:reply(200)", "200", "481"},
	{"refer", "REFER", "Refer-To: <sip:x@y>\nContact: <sip:alice@10.0.0.2>", "403", "req:reject(603)", "603", "403"},
};

static void outside_of_calls_each_method_has_its_default_and_its_hook(void **state)
{
	char script[600];

	(void)state;
	for (unsigned i = 0; i < sizeof(outside_rows) / sizeof(outside_rows[0]); i++) {
		const struct outside_row *r = &outside_rows[i];

		print_message("%s\n", r->hook);
		begin(PLAN);
		outside(r->method, r->headers, r->by_default);
		snprintf(script, sizeof(script), PLAN "sip.on.%s(function(req) %s end)\n", r->hook, r->script);
		world_reload(w, script);
		outside(r->method, r->headers, r->overridden);
		snprintf(script, sizeof(script), PLAN "sip.on.%s(function(req) end)\n", r->hook);
		world_reload(w, script);
		outside(r->method, r->headers, r->silent);
		/* a hook that raises: 500 and a traceback, whatever the method */
		snprintf(script, sizeof(script), PLAN "sip.on.%s(function(req) error 'oops' end)\n", r->hook);
		world_reload(w, script);
		outside(r->method, r->headers, "500");
		world_expect_log(w, "oops");
		world_forget_log(w);
		end();
	}
}

/* req:pass() is the default, done by the script. */
static void pass_is_the_default(void **state)
{
	char script[600];

	(void)state;
	for (unsigned i = 4; i < 7; i++) {
		const struct outside_row *r = &outside_rows[i];

		snprintf(script, sizeof(script), PLAN "sip.on.%s(function(req) local res = req:pass() sip.log.info('it was %%d', res.code) end)\n",
			 r->hook);
		begin(script);
		outside(r->method, r->headers, r->by_default);
		world_advance(w, 10 * SH_MS);
		world_expect_log(w, "it was");
		end();
	}
}

/* ---- in calls ---- */

static const struct inside_row {
	const char *hook, *method, *headers, *body, *answer;
	const char *script, *overridden;
} inside_rows[] = {
	{"reinvite", "INVITE", NULL, SDP, "200", "req:reply(488)", "488"},
	{"update", "UPDATE", NULL, NULL, "200", "req:reply(488)", "488"},
	{"info", "INFO", "Content-Type: text/x", "hello", "200", "req:reply(204)", "204"},
	{"message", "MESSAGE", "Content-Type: text/plain", "hello", "202", "req:reply(403)", "403"},
	{"options", "OPTIONS", NULL, NULL, "200", "req:reply(404)", "404"},
	{"notify", "NOTIFY", "Event: x\nSubscription-State: active", NULL, "200", "req:reply(403)", "403"},
	{"refer", "REFER", "Refer-To: <sip:x@y>", NULL, "202", "req:reject(603)", "603"},
};

static void in_a_call_each_method_is_passed_on_unless_its_hook_answers(void **state)
{
	char script[700];

	(void)state;
	for (unsigned i = 0; i < sizeof(inside_rows) / sizeof(inside_rows[0]); i++) {
		const struct inside_row *r = &inside_rows[i];

		print_message("%s\n", r->hook);
		begin(PLAN DIALS);
		inside(r->method, r->headers, r->body, true, r->answer);
		snprintf(script, sizeof(script), PLAN DIALS "sip.on.%s(function(req) %s end)\n", r->hook, r->script);
		world_reload(w, script);
		inside(r->method, r->headers, r->body, false, r->overridden);
		/* a hook that says nothing, and one that passes by itself */
		snprintf(script, sizeof(script), PLAN DIALS "sip.on.%s(function(req) end)\n", r->hook);
		world_reload(w, script);
		inside(r->method, r->headers, r->body, true, r->answer);
		if (strcmp(r->hook, "refer") != 0) {
			snprintf(script, sizeof(script), PLAN DIALS "sip.on.%s(function(req) req:pass() end)\n", r->hook);
			world_reload(w, script);
			inside(r->method, r->headers, r->body, true, r->answer);
		}
		end();
	}
}

/* ---- those that observe ---- */

static void ack_bye_and_cancel_are_seen_but_answered_by_the_engine(void **state)
{
	struct phone_call *b, *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN DIALS);
	c = call_up(&b);
	call_down(c);
	world_reload(w, PLAN DIALS "sip.on.ack(function(req) " SEEN " end)\nsip.on.bye(function(req) " SEEN
				   " local ok, code = req:reply(403) assert(not ok and code == 'answered', code) end)\n"
				   "sip.on.cancel(function(req) " SEEN " end)\n");
	c = call_up(&b);
	world_expect_log(w, "seen ACK");
	call_down(c);
	world_expect_log(w, "seen BYE");
	c = dial("sip:x@example.org");
	m = answer(bob, 180);
	soon(alice, "180");
	phone_cancel(c, NULL);
	phone_expect_in(c, "200 CANCEL", SH_SECOND);
	refused(c, "487");
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	world_expect_log(w, "seen CANCEL");
	end();
}

static void prack_is_seen_and_answered_by_the_engine(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN "sip.on.invite(function(call) call:ring(183) sip.sleep(1) call:reject(486) end)\n"
		   "sip.on.prack(function(req) " SEEN " end)\n");
	c = phone_invite(alice, "sip:x@example.org", "Require: 100rel\nSupported: 100rel", SDP);
	m = phone_expect_in(c, "183", SH_SECOND);
	phone_prack(m, NULL, NULL);
	phone_expect_in(c, "200 PRACK", SH_SECOND);
	refused(c, "486");
	world_expect_log(w, "seen PRACK");
	end();
}

/* ---- answer, hangup ---- */

static void answer_and_hangup_come_once_for_each_call(void **state)
{
	struct phone_call *b, *c;

	(void)state;
	begin(PLAN DIALS "sip.on.answer(function(call) sip.log.info('answered: %s', call.state) end)\n"
			 "sip.on.hangup(function(call, why) sip.log.info('over: %s %d', why.by, why.code) end)\n");
	c = call_up(&b);
	world_expect_log(w, "answered: up");
	call_down(c);
	world_expect_log(w, "over: caller 200");
	c = dial("sip:x@example.org");
	answer(bob, 486);
	refused(c, "486");
	world_expect_log(w, "over: script 486");
	assert_false(world_has_log(w, "answered:"));
	assert_false(world_has_log(w, "over:"));
	end();
}

/* ---- binding, load, unload, sdp ---- */

static void binding_and_load_are_told(void **state)
{
	char error[400];

	(void)state;
	begin(PLAN "sip.on.register(function(req) req:register{} end)\n"
		   "sip.on.load(function(ev) sip.log.info('load: %s', ev.reason) end)\n"
		   "sip.on.binding(function(aor, contact, what) sip.log.info('binding: %s', what) end)\n");
	world_expect_log(w, "load: start");
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "200");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "binding: added");
	/* error() refuses the generation, and the old one goes on */
	assert_int_not_equal(world_try_reload(w, PLAN "sip.on.load(function(ev) error('not today: ' .. ev.reason) end)\n", error, sizeof(error)), 0);
	assert_non_null(strstr(error, "not today: reload"));
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "200");
	world_advance(w, SH_SECOND);
	end();
}

/* unload: nothing by default; a hook runs once in the generation that goes, and what is wrong with it stops nothing. */
static void unload_is_told_to_who_goes(void **state)
{
	(void)state;
	begin(PLAN);
	world_reload(w, PLAN "sip.on.unload(function(ev) sip.log.info('unload: %d %s', ev.generation, ev.reason) end)\n");
	assert_false(world_has_log(w, "unload"));
	world_reload(w, PLAN "sip.on.unload(function(ev) end)\n");
	world_expect_log(w, "unload: 2 reload");
	assert_false(world_has_log(w, "unload:"));
	world_reload(w, PLAN "sip.on.unload(function(ev) error 'oops' end)\n");
	world_reload(w, PLAN "sip.on.message(function(req) req:reply(202) end)\n");
	world_expect_log(w, "oops");
	world_forget_log(w);
	outside("MESSAGE", NULL, "202");
	end();
}

#define TWO_CODECS "v=0\r\no=a 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\n"
#define ONE_CODEC  "v=0\r\no=a 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"

/* What bob is offered when alice offers two codecs. */
static void offered(const char *sdp)
{
	struct phone_call *c = phone_invite(alice, "sip:x@example.org", NULL, TWO_CODECS);
	struct phone_msg *m = soon(bob, "INVITE");

	phone_assert_body(m, sdp);
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(c, "486");
}

/* sdp: untouched by default, also by a hook that says nothing or raises; else what the hook makes of it. */
static void sdp_is_untouched_unless_its_hook_changes_it(void **state)
{
	(void)state;
	begin(PLAN DIALS);
	offered(TWO_CODECS);
	world_reload(w, PLAN DIALS "sip.on.sdp(function(sdp, info) sdp:keep{'PCMA'} sip.log.info('%s from %s', info.kind, info.from.state) end)\n");
	offered(ONE_CODEC);
	world_expect_log(w, "offer from");
	world_reload(w, PLAN DIALS "sip.on.sdp(function(sdp, info) end)\n");
	offered(TWO_CODECS);
	world_reload(w, PLAN DIALS "sip.on.sdp(function(sdp, info) sdp:keep{'PCMA'} error 'oops' end)\n");
	offered(TWO_CODECS);
	world_expect_log(w, "oops");
	world_forget_log(w);
	end();
}

static void a_hook_that_does_not_exist_and_a_second_one_are_errors(void **state)
{
	char error[400];

	(void)state;
	begin(PLAN);
	assert_int_not_equal(world_try_reload(w, PLAN "sip.on.invit(function() end)\n", error, sizeof(error)), 0);
	assert_non_null(strstr(error, "sip.on.invit: no such hook"));
	assert_int_not_equal(world_try_reload(w, PLAN "sip.on.info(function() end)\nsip.on.info(function() end)\n", error, sizeof(error)), 0);
	assert_non_null(strstr(error, "sip.on.info: there is one already"));
	end();
}

static void what_nobody_knows_is_501_and_what_is_not_allowed_405(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN);
	outside("FOO", NULL, "501");
	c = phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	phone_assert_contains(phone_expect_in(c, "405", SH_SECOND), "Allow", "INVITE");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outside_of_calls_each_method_has_its_default_and_its_hook),
		cmocka_unit_test(pass_is_the_default),
		cmocka_unit_test(in_a_call_each_method_is_passed_on_unless_its_hook_answers),
		cmocka_unit_test(ack_bye_and_cancel_are_seen_but_answered_by_the_engine),
		cmocka_unit_test(prack_is_seen_and_answered_by_the_engine),
		cmocka_unit_test(answer_and_hangup_come_once_for_each_call),
		cmocka_unit_test(binding_and_load_are_told),
		cmocka_unit_test(unload_is_told_to_who_goes),
		cmocka_unit_test(sdp_is_untouched_unless_its_hook_changes_it),
		cmocka_unit_test(a_hook_that_does_not_exist_and_a_second_one_are_errors),
		cmocka_unit_test(what_nobody_knows_is_501_and_what_is_not_allowed_405),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
