/* Mistakes in scripts, by the words that name them; and what a script can do wrong without stopping anybody else. */
#include "script_world.h"

static void wrong_arguments_are_named(void **state)
{
	static const char *const checks[][2] = {
	    /* replies */
	    {"req:reply()", "error: t:1: bad argument #1 to 'reply' (number expected, got no value)"},
	    {"req:reply('x')", "error: t:1: bad argument #1 to 'reply' (number expected, got string)"},
	    {"req:reply(99)", "error: t:1: bad argument #1 to 'reply' (status code from 100 to 699 expected)"},
	    {"req:reply(700)", "error: t:1: bad argument #1 to 'reply' (status code from 100 to 699 expected)"},
	    {"req:reply(200, 5)", "error: t:1: bad argument #2 to 'reply' (table expected, got number)"},
	    {"req:reply(200, {hedders = {}})", "error: t:1: req:reply: unknown option 'hedders' (did you mean 'headers'?)"},
	    {"req:reply(200, {'a'})", "error: t:1: req:reply: unknown option [1]"},
	    {"req:reply(200, {body = 5})", "error: t:1: option 'body': string expected, got number"},
	    {"req:reply(200, 'a\\r\\nX: y')", "error: t:1: 'reason': CR, LF and NUL are not allowed in a header field"},
	    {"req:reply(408)", "error: t:1: req:reply: 408 is for INVITE only (RFC 4320)"},
	    {"req.reply(200)", "error: t:1: bad argument #1 to 'reply' (siphook.request expected, got number; write req:reply(...), with a "
				"colon)"},
	    {"sip.shared('s').get('k')", "error: t:1: bad argument #1 to 'get' (sip.shared expected, got string; write store:get(...), with a "
					 "colon)"},
	    {"sip.uri('sip:a@b').with{user = 'c'}", "error: t:1: bad argument #1 to 'with' (sip.uri expected, got table; write uri:with(...), with "
						   "a colon)"},
	    /* headers */
	    {"req:reply(200, {headers = 5})", "error: t:1: headers: table expected, got number"},
	    {"req:reply(200, {headers = {5}})", "error: t:1: headers: names must be strings"},
	    {"req:reply(200, {headers = {['a b'] = 'x'}})", "error: t:1: headers: 'a b' is no header name"},
	    {"req:reply(200, {headers = {['a\\0'] = 'x'}})", "error: t:1: headers: 'a' is no header name"},
	    {"req:reply(200, {headers = {[''] = 'x'}})", "error: t:1: headers: '' is no header name"},
	    {"req:reply(200, {headers = {X_a = 'a\\nb'}})",
	     "error: t:1: 'X_a': CR, LF and NUL are not allowed in a header field"},
	    {"req:reply(200, {headers = {X_a = {'ok', 'a\\rb'}}})",
	     "error: t:1: 'X_a': CR, LF and NUL are not allowed in a header field"},
	    {"req:reply(200, {headers = {X_a = 'a\\0b'}})",
	     "error: t:1: 'X_a': CR, LF and NUL are not allowed in a header field"},
	    {"req:reply(200, {headers = {X_a = true}})",
	     "error: t:1: headers: 'X_a' needs a string, a list of strings or false"},
	    {"req:reply(200, {headers = {X_a = {{}}}})",
	     "error: t:1: headers: 'X_a' needs a string, a list of strings or false"},
	    {"req:reply(200, {headers = {X_a = ('x'):rep(70000)}})", "error: t:1: headers: too long"},
	    /* relay */
	    {"req:relay()", "error: t:1: req:relay: a target is a URI or a table, got nil"},
	    {"req:relay('bob')", "error: t:1: req:relay: 'bob' is no URI"},
	    {"req:relay('')", "error: t:1: req:relay: '' is no URI"},
	    {"req:relay{'sip:a@b', 7}", "error: t:1: req:relay: a target is a URI or a table, got number"},
	    {"req:relay({}, {early = 'drop'})", "error: t:1: req:relay: unknown option 'early'"},
	    {"return req:relay{}", "nil | empty"},
	    {"req:pass(5)", "error: t:1: bad argument #1 to 'pass' (table expected, got number)"},
	    {"req:pass{timeout = 5}", "error: t:1: req:pass: unknown option 'timeout'"},
	    /* sip */
	    {"sip.on.invite(print)", "error: t:1: sip.on.invite: hooks are set while the script loads"},
	    {"sip.on.invte(print)", "error: t:1: sip.on.invte: no such hook (did you mean 'invite'?)"},
	    {"sip.on.swim(print)", "error: t:1: sip.on.swim: no such hook"},
	    {"sip.after(1, 'remnd')", "error: t:1: sip.after: there is no sip.timer.remnd (did you mean 'remind'?)"},
	    {"return sip.after(1e6, 'other')", "true"},
	    {"sip.timer.remind = print", "error: t:1: sip.timer.remind: timers are named while the script loads"},
	    {"sip.on.invite = print", "error: t:1: sip.on is read-only: write sip.on.invite(function)"},
	    {"sip.config.a = 1", "error: t:1: sip.config is read-only"},
	    {"return sip.config.a", "nil"},
	    {"sip.domains{'a'}", "error: t:1: sip.domains is for the top level of the script"},
	    {"sip.acl{trust = {}}", "error: t:1: sip.acl is for the top level of the script"},
	    {"sip.timer.x = print", "error: t:1: sip.timer.x: timers are named while the script loads"},
	    {"sip.sleep()", "error: t:1: bad argument #1 to 'sleep' (number expected, got no value)"},
	    {"sip.sleep(-1)", "error: t:1: bad argument #1 to 'sleep' (seconds from 0 to 1e9 expected)"},
	    {"sip.sleep(0/0)", "error: t:1: bad argument #1 to 'sleep' (seconds from 0 to 1e9 expected)"},
	    {"table.sort({1, 2}, function() sip.sleep(1) end)",
	     "error: t:1: sip.sleep cannot wait here (inside a callback of table.sort, string.gsub or the like)"},
	    {"sip.after(1)", "error: t:1: bad argument #2 to 'after' (function or name of a timer expected, got nil)"},
	    {"sip.after('x', print)", "error: t:1: bad argument #1 to 'after' (number expected, got string)"},
	    {"sip.after(1, 'x', {print})", "error: t:1: data[1]: cannot keep a function"},
	    {"sip.every(0, print)", "error: t:1: bad argument #1 to 'every' (seconds from 0.001 to 1e9 expected)"},
	    {"sip.every(1, 'x')", "error: t:1: bad argument #2 to 'every' (function expected, got string)"},
	    {"sip.every(1, print, {each = true})", "error: t:1: sip.every: unknown option 'each'"},
	    {"req.x = 1", "error: t:1: request.x cannot be set"},
	    {"sip.x = 1", "error: t:1: sip.x: the table siphook is read-only"},
	    {"return 'to ' .. req.uri", "error: t:1: a URI is no string: write tostring(uri)"},
	    {"sip.shared(5)", "error: t:1: bad argument #1 to 'shared' (string expected, got number)"},
	    {"sip.shared('s'):set(5, 1)", "error: t:1: bad argument #1 to 'set' (string expected, got number)"},
	    {"sip.shared('s'):set('a', 1, {ttl = 0})", "error: t:1: option 'ttl': seconds above 0 expected"},
	    {"sip.hash('sha256', 5)", "error: t:1: bad argument #2 to 'hash' (string expected, got number)"},
	    {"sip.base64.encode(5)", "error: t:1: bad argument #1 to 'encode' (string expected, got number)"},
	    {"sip.json.decode(5)", "error: t:1: bad argument #1 to 'decode' (string expected, got number)"},
	    {"sip.http.get(5)", "error: t:1: bad argument #1 to 'get' (string expected, got number)"},
	    {"sip.sdp(5)", "error: t:1: bad argument #1 to 'sdp' (string expected, got number)"},
	    {"sip.find_call(5)", "error: t:1: bad argument #1 to 'find_call' (string expected, got number)"},
	    {"sip.log.info('%d', 'x')", "error: t:1: bad argument #2 to 'string.format' (number expected, got string)"},
	    {"req:challenge{}", "error: t:1: challenge: option 'realm': text without quotes expected"},
	    {"sip.is_cancel()", "error: t:1: bad argument #1 to 'is_cancel' (value expected)"},
	    {"return sip.is_cancel(nil), sip.is_cancel('x'), sip.is_cancel({})", "false | false | false"},
	    {"nothing = 1", "error: t:1: "},
	};

	(void)state;
	begin(EVAL "sip.timer.remind = function() end\n");
	for (unsigned i = 0; i < sizeof(checks) / sizeof(checks[0]) - 1; i++)
		lua_is(checks[i][0], checks[i][1]);
	/* an undeclared global */
	phone_assert(alice, strncmp(lua_at("nothing = 1", __FILE__, __LINE__), "error: t:1:", 11) == 0);
	end();
}

static void wrong_arguments_of_calls_are_named(void **state)
{
	static const char *const checks[][2] = {
	    {"call:ring(200)", "error: t:1: bad argument #1 to 'ring' (status code from 101 to 199 expected)"},
	    {"call:ring('a')", "error: t:1: bad argument #1 to 'ring' (table expected, got string)"},
	    {"call:ring{sdp = 5}", "error: t:1: call:ring: option 'sdp': text or sdp expected, got number"},
	    {"call:ring{foo = 5}", "error: t:1: call:ring: unknown option 'foo'"},
	    {"call:reject()", "error: t:1: bad argument #1 to 'reject' (number expected, got no value)"},
	    {"call:reject(200)", "error: t:1: bad argument #1 to 'reject' (status code from 300 to 699 expected)"},
	    {"call:reject{}", "error: t:1: bad argument #1 to 'reject' (number expected, got table)"},
	    {"call:reject(486, {warn = 1})", "error: t:1: call:reject: unknown option 'warn'"},
	    {"call:reject(486, {warning = 'a\\nb'})",
	     "error: t:1: 'warning': CR, LF and NUL are not allowed in a header field"},
	    {"call:reject(486, {headers = {Via = 'x'}})", "error: t:1: headers: Via is the engine's own"},
	    {"call:redirect()", "error: t:1: bad argument #1 to 'redirect' (URI or list of URIs expected, got no value)"},
	    {"call:redirect{}", "error: t:1: bad argument #1 to 'redirect' (at least one target expected)"},
	    {"call:redirect('a')", "error: t:1: call:redirect: 'a' is no URI"},
	    {"call:redirect({uri = 'sip:a@b', q = 2})", "error: t:1: call:redirect: option 'q': 0 to 1 expected"},
	    {"call:redirect({uri = 'sip:a@b', Q = 2})", "error: t:1: call:redirect: unknown option 'Q' (did you mean 'q'?)"},
	    {"call:redirect('sip:a@b', 200)",
	     "error: t:1: bad argument #2 to 'redirect' (status code from 300 to 399 expected)"},
	    {"call:fork()", "error: t:1: call:fork: a target is a URI or a table, got nil"},
	    {"call:fork('bob')", "error: t:1: call:fork: 'bob' is no URI"},
	    {"call:fork('sip:a@b\\r\\nX: y')", "error: t:1: 'uri': CR, LF and NUL are not allowed in a header field"},
	    {"call:fork{'sip:a@b', {to = 'sip:a@b'}}", "error: t:1: call:fork: a target without 'uri'"},
	    {"call:fork{{'sip:a@b'}, 'sip:c@d'}", "error: t:1: call:fork: targets and lists of targets mixed"},
	    {"call:fork('sip:a@b', {timeout = 'x'})", "error: t:1: option 'timeout': seconds expected, got string"},
	    {"call:fork('sip:a@b', {timeout = -1})", "error: t:1: option 'timeout': seconds from 0 to 1e9 expected"},
	    {"call:fork('sip:a@b', {tmeout = 1})", "error: t:1: call:fork: unknown option 'tmeout' (did you mean 'timeout'?)"},
	    {"call:fork({uri = 'sip:a@b', tmeout = 1})", "error: t:1: call:fork: unknown option 'tmeout' (did you mean 'timeout'?)"},
	    {"call:fork('sip:a@b', {early = 'x'})",
	     "error: t:1: call:fork: option 'early': \"relay\", \"drop\" or \"first\" expected"},
	    {"call:fork('sip:a@b', {tags = 'x'})",
	     "error: t:1: call:fork: option 'tags': \"branch\" or \"single\" expected"},
	    {"call:fork('sip:a@b', {from = 'alice'})", "error: t:1: call:fork: option 'from': 'alice' is no URI"},
	    {"call:fork('sip:a@b', {transport = 'ip'})",
	     "error: t:1: call:fork: option 'transport': unknown transport"},
	    {"call:fork({uri = 'sip:a@b', flow = 'x'})",
	     "error: t:1: call:fork: option 'flow': only what sip.lookup gives"},
	    {"call:fork('sip:a@b', {copy = 'X'})",
	     "error: t:1: option 'copy': list of header names expected, got string"},
	    {"call:fork('sip:a@b', {ignore_6xx = 1})", "error: t:1: option 'ignore_6xx': boolean expected, got number"},
	    {"call:fork('sip:a@b', {follow_redirects = 1.5})",
	     "error: t:1: option 'follow_redirects': whole number from 0 to 10 expected"},
	    {"call:fork('sip:a@b', {headers = {['Content-Length'] = 'x'}})",
	     "error: t:1: headers: Content-Length is the engine's own"},
	    {"call:fork('sip:a@b', {headers = {t = 'x'}})", "error: t:1: headers: t is the engine's own"},
	    {"call:dial('x')", "error: t:1: call:dial: 'x' is no URI"},
	    {"call:bridge()", "error: t:1: bad argument #1 to 'bridge' (siphook.leg expected, got nil)"},
	    {"call:bridge(call)", "error: t:1: bad argument #1 to 'bridge' (siphook.leg expected, got siphook.call)"},
	    {"call:bridge(call.a, {on_peer_hangup = 'x'})",
	     "error: t:1: call:bridge: option 'on_peer_hangup': \"end\" or \"continue\" expected"},
	    {"return call:bridge(call.a)", "nil | gone | the call has ended"},
	    {"call:reject{code = 486}", "error: t:1: bad argument #1 to 'reject' (number expected, got table)"},
	    {"call:answer{sdp = 'garbage'}", "error: t:1: call:answer: option 'sdp': no session description"},
	    {"call:wait('')", "error: t:1: bad argument #1 to 'wait' (name of an event expected, got an empty one)"},
	    {"call:limit()", "error: t:1: bad argument #1 to 'limit' (text expected, got no value)"},
	    {"call:transfer('x')", "error: t:1: call:transfer: 'x' is no URI"},
	    {"call:register()", "error: t:1: call:register: this is an INVITE"},
	    {"call:publish()", "error: t:1: call:publish: this is an INVITE"},
	    {"call:fork('sip:a@b', {replaces = 'x'})", "error: t:1: call:fork: option 'replaces': 'x' names no dialog"},
	    {"call:fork('sip:a@b', {replaces = {call_id = 'x'}})",
	     "error: t:1: call:fork: option 'replaces': 'call_id', 'to_tag' and 'from_tag' are needed"},
	    {"call:fork('sip:a@b', {on_branch = 5})", "error: t:1: call:fork: option 'on_branch': function expected, got number"},
	    {"call:hangup('x')", "error: t:1: bad argument #1 to 'hangup' (table expected, got string)"},
	    {"call:hangup{q850 = 200}", "error: t:1: option 'q850': whole number from 1 to 127 expected"},
	    {"call:after(1, 'rmind')", "error: t:1: call:after: there is no sip.timer.rmind (did you mean 'remind'?)"},
	    {"call:continue('rmind')", "error: t:1: call:continue: there is no sip.timer.rmind (did you mean 'remind'?)"},
	    {"call.reject(404)", "error: t:1: bad argument #1 to 'reject' (siphook.call expected, got number; write call:reject(...), with a colon)"},
	    {"call:after(1)", "error: t:1: bad argument #2 to 'after' (name of a timer expected, got no value)"},
	    {"call:after(-1, 'x')", "error: t:1: bad argument #1 to 'after' (seconds from 0 to 1e9 expected)"},
	};

	(void)state;
	begin(EVAL "sip.timer.remind = function() end\n");
	for (unsigned i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		call_is(checks[i][0], checks[i][1]);
	end();
}

static void a_hook_that_raises_is_a_500_with_a_traceback_and_its_branches_are_cancelled(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN "local function oops(call)\n"
		   "  call:ring(183)\n"
		   "  error('nothing works')\n"
		   "end\n"
		   "sip.on.invite(function(call)\n"
		   "  local leg = call:fork('sip:bob@10.0.0.3')\n"
		   "  oops(call)\n"
		   "end)\n"
		   "sip.on.hangup(function(call, why) sip.log.info('over %s %d', why.by, why.code) end)\n");
	struct phone_call *c = dial("sip:bob@example.org");
	invite = answer(bob, 200);
	soon(alice, "183");
	assert_non_null(strstr(refused(c, "500")->text, "500 Script error"));
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL); /* the leg that nobody wants any more */
	(void)invite;
	world_expect_log(w, "hook invite, call ");
	world_expect_log(w, "dialplan.lua:5: in ");
	world_expect_log(w, "dialplan.lua:9: in ");
	world_expect_log(w, "over script 500");
	w->forgiving = true;
	end();
}

static void errors_in_hooks_name_the_line(void **state)
{
	(void)state;
	begin(PLAN "sip.on.options(function(req) req.nothing.more = 1 end)\n"
		   "sip.on.bye(function(req) error({}) end)\n"
		   "sip.on.hangup(function(call) error('too late') end)\n"
		   "sip.on.invite(function(call) call:reject(486) end)\n");
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	soon(alice, "500");
	world_expect_log(w, "hook options, call -: dialplan.lua:3: attempt to index a nil value (field 'nothing')");
	refused(dial("sip:bob@example.org"), "486");
	world_expect_log(w, "dialplan.lua:5: too late");
	w->forgiving = true;
	end();
}

static void a_hook_that_ends_without_an_answer_is_a_500_or_the_default(void **state)
{
	(void)state;
	begin(PLAN "sip.on.invite(function(call) end)\n"
		   "sip.on.register(function(req) end)\n"
		   "sip.on.message(function(req) end)\n"
		   "sip.on.options(function(req) end)\n");
	refused(dial("sip:bob@example.org"), "500");
	world_expect_log(w, "the invite hook ended without an answer");
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "500");
	world_expect_log(w, "the register hook ended without an answer");
	phone_request(alice, "MESSAGE", "sip:example.org", NULL, NULL);
	soon(alice, "405");
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	struct phone_msg *m = soon(alice, "200");
	phone_assert_contains(m, "Allow", "REGISTER");
	end();
}

static void without_hooks_the_defaults_of_the_contract_apply(void **state)
{
	(void)state;
	begin(PLAN);
	refused(dial("sip:bob@example.org"), "404");
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "405");
	phone_request(alice, "MESSAGE", "sip:example.org", NULL, NULL);
	phone_assert(alice, !strstr(phone_value(soon(alice, "405"), "Allow"), "MESSAGE"));
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	struct phone_msg *m = soon(alice, "200");
	phone_assert_contains(m, "Accept", "application/sdp");
	phone_assert_contains(m, "Allow", "INVITE");
	phone_request(alice, "SUBSCRIBE", "sip:example.org", "Event: presence", NULL);
	soon(alice, "489");
	phone_request(alice, "PUBLISH", "sip:example.org", "Event: presence", NULL);
	soon(alice, "489");
	phone_request(alice, "REFER", "sip:example.org", "Refer-To: <sip:a@b>", NULL);
	soon(alice, "403");
	phone_request(alice, "NOTIFY", "sip:example.org", "Event: x", NULL);
	soon(alice, "481");
	phone_request(alice, "FOO", "sip:example.org", NULL, NULL);
	soon(alice, "501");
	end();
}

static void a_flood_of_script_errors_does_not_flood_the_log(void **state)
{
	unsigned lines;

	(void)state;
	begin(PLAN "sip.on.message(function(req) error('again') end)\n");
	for (unsigned i = 0; i < 100; i++)
		phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	for (unsigned i = 0; i < 100; i++)
		soon(alice, "500");
	lines = w->nlines;
	assert_true(lines > 10 && lines < 100);
	w->forgiving = true;
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wrong_arguments_are_named),
	    cmocka_unit_test(wrong_arguments_of_calls_are_named),
	    cmocka_unit_test(a_hook_that_raises_is_a_500_with_a_traceback_and_its_branches_are_cancelled),
	    cmocka_unit_test(errors_in_hooks_name_the_line),
	    cmocka_unit_test(a_hook_that_ends_without_an_answer_is_a_500_or_the_default),
	    cmocka_unit_test(without_hooks_the_defaults_of_the_contract_apply),
	    cmocka_unit_test(a_flood_of_script_errors_does_not_flood_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
