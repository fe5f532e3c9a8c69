/* A script that runs away costs its own call, and nobody else's. */
#include "script_world.h"

static const char endless[] =
    PLAN "sip.on.invite(function(call)\n"
	 "  if call.uri.user == 'loop' then while true do end end\n"
	 "  if call.uri.user == 'stubborn' then\n"
	 "    while true do pcall(function() while true do end end) end\n"
	 "  end\n"
	 "  if call.uri.user == 'recursion' then local function f() return 1 + f() end f() end\n"
	 "  if call.uri.user == 'bomb' then local t = {} while true do t[#t + 1] = ('x'):rep(1 << 21) .. #t end end\n"
	 "  if call.uri.user == 'forker' then\n"
	 "    call:fork('sip:carol@10.0.0.4')\n"
	 "    while true do end\n"
	 "  end\n"
	 "  if call.uri.user == 'match' then (('a'):rep(5000)):find(('a*'):rep(20) .. 'b') end\n"
	 "  local ok, res = call:dial('sip:bob@10.0.0.3')\n"
	 "  if not ok then call:reject(res) end\n"
	 "end)\n";

static void an_endless_loop_costs_that_call_alone(void **state)
{
	struct phone_call *good;
	struct phone_msg *invite;

	(void)state;
	begin(endless);
	good = dial("sip:bob@example.org");
	invite = answer(bob, 180);
	soon(alice, "180");
	refused(dial("sip:loop@example.org"), "500");
	world_expect_log(w, "dialplan.lua:4: the hook ran too long (10000000 instructions without waiting)");
	refused(dial("sip:stubborn@example.org"), "500");
	world_expect_log(w, "the hook ran too long");
	refused(dial("sip:match@example.org"), "500");
	world_expect_log(w, "dialplan.lua:14: ");
	refused(dial("sip:recursion@example.org"), "500");
	world_expect_log(w, "stack overflow");
	phone_reply(invite, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(good, bob);
	w->forgiving = true;
	end();
}

static void a_memory_bomb_costs_that_call_alone(void **state)
{
	struct phone_call *good;
	struct phone_msg *invite;

	(void)state;
	begin(endless);
	good = dial("sip:bob@example.org");
	invite = answer(bob, 180);
	soon(alice, "180");
	refused(dial("sip:bomb@example.org"), "5xx"); /* 503; each refusal costs budget, so that it may be 500 */
	world_expect_log(w, "dialplan.lua:9: ");
	phone_reply(invite, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(good, bob);
	refused(dial("sip:bomb@example.org"), "5xx");
	w->forgiving = true;
	end();
}

static void a_loop_after_a_wait_ends_the_legs_that_were_won(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(endless);
	c = dial("sip:forker@example.org");
	answer(carol, 200);
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	refused(c, "500");
	w->forgiving = true;
	end();
}

static void waits_begin_a_new_budget(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  for i = 1, 20 do\n"
		   "    for k = 1, 1000000 do end\n"
		   "    sip.sleep(0.01)\n"
		   "  end\n"
		   "  req:reply(200)\n"
		   "end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "200");
	end();
}

static void what_a_load_must_not_do_is_refused_and_the_old_script_goes_on(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
	    {"local sip = require 'siphook'\nsip.on.invite(function(call)\n  call:ring(\nend)\n", "dialplan.lua:4: "},
	    {NULL, "cannot read dialplan.lua: No such file or directory"},
	    {"local x = 1\nwhile true do x = x + 1 end\n",
	     "dialplan.lua:2: the script ran too long while it was loaded"},
	    {"local s = 'x'\nlocal t = s:rep(1 << 30)\n", "dialplan.lua:2: not enough memory"},
	    {"local t = {}\nfor i = 1, 1 << 30 do\n  t[i] = ('%d'):format(i):rep(1000)\nend\n", "dialplan.lua:"},
	    {"require 'nowhere'\n", "dialplan.lua:1: module 'nowhere' not found"},
	    {"\n\nerror 'refused'\n", "dialplan.lua:3: refused"},
	    {"error {}\n", "table"},
	    {"local sip = require 'siphook'\nsip.on.invte(print)\n", "dialplan.lua:2: sip.on.invte: no such hook (did you mean 'invite'?)"},
	    {"local sip = require 'siphook'\nsip.on.bye(print)\nsip.on.bye(print)\n",
	     "dialplan.lua:3: sip.on.bye: there is one already"},
	    {"local sip = require 'siphook'\nsip.on.bye('x')\n",
	     "dialplan.lua:2: bad argument #1 to 'bye' (function expected, got string)"},
	    {"local sip = require 'siphook'\nsip.domains{5}\n",
	     "dialplan.lua:2: sip.domains: entry 1: string expected, got number"},
	    {"local sip = require 'siphook'\nsip.domains{'a b'}\n",
	     "dialplan.lua:2: sip.domains: 'a b' is no host name"},
	    {"local sip = require 'siphook'\nsip.acl{trust = {'10.0.0.0/40'}}\n",
	     "dialplan.lua:2: sip.acl: option 'trust': entry 1 is no address or address/bits"},
	    {"local sip = require 'siphook'\nsip.acl{denied = {}}\n", "dialplan.lua:2: sip.acl: unknown option 'denied'"},
	    {"local sip = require 'siphook'\nsip.sleep(1)\n",
	     "dialplan.lua:2: sip.sleep does not work while the script loads"},
	    {"local sip = require 'siphook'\nsip.lookup('a')\n",
	     "dialplan.lua:2: sip.lookup does not work while the script loads"},
	    {"local sip = require 'siphook'\nsip.spawn(print)\n",
	     "dialplan.lua:2: sip.spawn does not work while the script loads"},
	    {"local sip = require 'siphook'\nsip.timer.x = 5\n",
	     "dialplan.lua:2: sip.timer.x: function expected, got number"},
	    {"\x1bLua", "dialplan.lua"},
	};
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin(endless);
	c = dial("sip:bob@example.org");
	invite = answer(bob, 180);
	soon(alice, "180");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char error[1024];

		assert_int_not_equal(world_try_reload(w, bad[i].text, error, sizeof(error)), 0);
		if (!strstr(error, bad[i].error))
			phone_fail(w->sim, __FILE__, __LINE__, "%s\n  gives  %s\n  not    %s",
				   bad[i].text ? bad[i].text : "no file", error, bad[i].error);
		assert_int_equal(sh_script_alive(w->script), 1);
		assert_int_equal(sh_generation_number(sh_script_current(w->script)), 1);
	}
	phone_reply(invite, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(c, bob);
	end();
}

/* Nobody waits for a hook that computes: others come first, again and again, until it has used up its budget. */
static void a_hook_that_computes_lets_others_in(void **state)
{
	struct phone_call *slow, *c;
	struct phone_msg *first;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  if call.uri.user ~= 'slow' then return call:reject(486) end\n"
		   "  local sum, f = 0, coroutine.wrap(function() while true do for i = 1, 100000 do coroutine.yield(i) end end end)\n"
		   "  for i = 1, 300000 do sum = sum + i end\n"
		   "  for i = 1, 20000 do sum = sum + f() end\n"
		   "  local ok = pcall(function() for i = 1, 1000000 do sum = sum + i end end)\n"
		   "  call:reject(480, tostring(math.tointeger(sum)))\n"
		   "end)\n");
	slow = dial("sip:slow@example.org"); /* both arrive at the same moment */
	c = dial("sip:bob@example.org");
	first = phone_expect(alice, "4xx", SH_SECOND);
	phone_assert_header(first, "Call-ID", c->id);
	phone_ack(first, NULL, NULL);
	assert_non_null(strstr(refused(slow, "480")->text, "545200660000"));
	assert_true(sh_runtime_stats(w->runtime[0])->pauses > 5);
	ignore_trying(alice);
	end();
}

/* Between two of its turns the caller may go: it is told when it would wait next. */
static void a_hook_that_computes_is_cancelled_at_its_next_wait(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  local sum = 0\n"
		   "  for i = 1, 5000000 do sum = sum + i end\n"
		   "  local ok, e = pcall(sip.sleep, 1)\n"
		   "  sip.log.info('cancelled: %s', sip.is_cancel(e))\n"
		   "end)\n"
		   "sip.on.hangup(function(call, why) sip.log.info('hangup by %s', why.by) end)\n");
	c = dial("sip:bob@example.org");
	world_advance(w, 4 * SH_MS);
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "cancelled: true");
	world_expect_log(w, "hangup by caller");
	ignore_trying(alice);
	end();
}

static void a_hook_that_computes_for_ever_costs_that_call_alone(void **state)
{
	(void)state;
	begin(PLAN "sip.on.invite(function(call) while true do end end)\n"
		   "sip.on.message(function(req) return #('x'):rep(100000000) end)\n");
	refused(dial("sip:bob@example.org"), "500");
	world_expect_log(w, "the hook ran too long (10000000 instructions without waiting)");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_expect(alice, "503", 10 * SH_SECOND);
	world_expect_log(w, "not enough memory");
	assert_int_equal(sh_runtime_stats(w->runtime[0])->errors, 2);
	assert_int_equal(sh_runtime_stats(w->runtime[0])->too_long, 1);
	assert_int_equal(sh_runtime_stats(w->runtime[0])->memory, 1);
	ignore_trying(alice);
	w->forgiving = true;
	end();
}

static void too_many_hooks_and_timers_are_refused(void **state)
{
	struct world_options o = {.hooks_max = 3, .timers_max = 5};
	struct phone_call *c[3];

	(void)state;
	w = world_create(&o, PLAN "sip.on.invite(function(call) sip.sleep(5) call:reject(486) end)\n"
				  "sip.timer.remind = print\n"
				  "sip.on.message(function(req)\n"
				  "  local n = 0\n"
				  "  for i = 1, 10 do if sip.after(1, print) then n = n + 1 end end\n"
				  "  local ok, code = sip.after(1, 'remind')\n"
				  "  req:reply(200, {body = n .. ' ' .. tostring(ok) .. ' ' .. code})\n"
				  "end)\n");
	alice = world_phone(w, "alice", "10.0.0.2");
	phone_auto(alice, PHONE_ABSORB);
	lua_is("", "5 nil limit");
	world_advance(w, 2 * SH_SECOND);
	lua_is("", "5 nil limit");
	for (unsigned i = 0; i < 3; i++)
		c[i] = dial("sip:bob@example.org");
	world_advance(w, SH_SECOND);
	refused(dial("sip:bob@example.org"), "503");
	world_expect_log(w, "3 hooks are in progress: no further one was begun");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_expect(alice, "503", SH_SECOND);
	for (unsigned i = 0; i < 3; i++)
		refused(c[i], "486");
	lua_is("", "5 nil limit");
	assert_true(sh_runtime_stats(w->runtime[0])->refused_hooks >= 2);
	assert_int_equal(sh_runtime_stats(w->runtime[0])->refused_timers, 18);
	w->forgiving = true;
	world_destroy(w);
}

/* Waits begin a new stretch, but there is an end of it all; a call that is up is not hurt by the end of its hook. */
static void a_hook_has_a_budget_for_all_of_its_stretches(void **state)
{
	struct world_options o = {.total_max = 3000000};
	struct phone_call *c;

	(void)state;
	w = world_create(&o, PLAN "local function work() for i = 1, 900000 do end end\n"
				  "sip.on.message(function(req)\n"
				  "  pcall(function() while true do work() sip.sleep(0.01) sip.shared('s'):incr('rounds') end end)\n"
				  "  req:reply(200)\n"
				  "end)\n"
				  "sip.on.invite(function(call)\n"
				  "  if call.uri.user == 'up' then call:answer() end\n"
				  "  while true do work() sip.sleep(0.01) end\n"
				  "end)\n"
				  "sip.on.info(function(req) req:reply(200, {body = tostring(sip.shared('s'):get('rounds'))}) end)\n");
	alice = world_phone(w, "alice", "10.0.0.2");
	phone_auto(alice, PHONE_ABSORB);
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "500");
	world_expect_log(w, "the hook ran too long (3000000 instructions in all)");
	refused(dial("sip:bob@example.org"), "500");
	c = dial("sip:up@example.org");
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, SH_SECOND);
	phone_in_call(c, "INFO", NULL, NULL);
	phone_assert_body(phone_expect_in(c, "200 INFO", SH_SECOND), "3");
	phone_bye(c);
	soon(alice, "200 BYE");
	assert_int_equal(sh_runtime_stats(w->runtime[0])->too_long, 3);
	w->forgiving = true;
	ignore_trying(alice);
	world_destroy(w);
}

/* They find room where others do not, and no more than a tenth. */
static void emergency_calls_have_a_reserve_and_an_end(void **state)
{
	struct world_options o = {.hooks_max = 20};

	(void)state;
	w = world_create(&o, PLAN "sip.on.invite(function(call) sip.sleep(60) call:reject(486) end)\n");
	alice = world_phone(w, "alice", "10.0.0.2");
	phone_auto(alice, PHONE_ABSORB);
	for (unsigned i = 0; i < 25; i++)
		dial("sip:bob@example.org");
	world_advance(w, SH_SECOND);
	assert_int_equal(sh_runtime_runs(w->runtime[0]), 20);
	for (unsigned i = 0; i < 30; i++)
		dial("urn:service:sos");
	world_advance(w, SH_SECOND);
	assert_int_equal(sh_runtime_runs(w->runtime[0]), 23);
	assert_int_equal(sh_runtime_stats(w->runtime[0])->refused_hooks, 5 + 27);
	w->forgiving = true;
	world_abandon(w);
}

/* What is too long is not sent, nor kept, nor written in part; each is counted, and whoever asked gets an answer. */
static void outputs_have_a_limit_each_and_are_counted(void **state)
{
	const struct sh_script_stats *stats;

	(void)state;
	begin(EVAL "sip.timer.x = print\n"
		   "sip.on.register(function(req) req:reply(200, {body = ('x'):rep(70000)}) end)\n");
	stats = sh_runtime_stats(w->runtime[0]);
	lua_is("local ok, code = req:reply(200, {body = ('x'):rep(70000)}) return code", "size");
	assert_int_equal(stats->outputs, 1);
	lua_is("req:reply(200, {headers = {['X-A'] = ('x'):rep(70000)}})", "error: t:1: headers: too long");
	assert_int_equal(stats->outputs, 2);
	call_is("call:redirect('sip:a@b', {headers = {['X-A'] = ('x'):rep(70000)}})", "error: t:1: headers: too long");
	call_is("call:reject(486, {warning = ('x'):rep(70000)})", "error: t:1: call:reject: header fields: too long");
	call_is("local ok, code = call:reply(486, {body = ('x'):rep(70000)}) return code", "size");
	assert_int_equal(stats->outputs, 5);
	call_is("local sdp = table.concat({'v=0', 'o=a 1 1 IN IP4 10.0.0.2', 's=-', 'c=IN IP4 10.0.0.2', 't=0 0', 'm=audio 4000 RTP/AVP 0', "
		"'a=x:' .. ('x'):rep(70000), ''}, string.char(13, 10)) "
		"return call:fork('sip:bob@10.0.0.3', {sdp = sdp})", "nil | size | the message is too long");
	lua_is("return sip.request{method = 'MESSAGE', uri = 'sip:bob@10.0.0.3', body = ('x'):rep(70000)}", "nil | size | the message is too long");
	assert_int_equal(stats->outputs, 7);
	/* a hook that has nothing else to say */
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "500");
	world_expect_log(w, "the register hook ended without an answer");
	assert_int_equal(stats->outputs, 8);
	lua_is("sip.after(1, 'x', ('x'):rep(70000))", "error: t:1: data: larger than 65536 bytes");
	call_is("call.data.a = ('x'):rep(70000) sip.sleep(0.1)", "");
	world_expect_log(w, "call.data: larger than 65536 bytes; the former value is kept");
	assert_true(stats->vm.values >= 2);
	lua_is("(('a'):rep(5000)):find(('a*'):rep(20) .. 'b')", "error: t:1: pattern too costly");
	assert_int_equal(stats->vm.patterns, 1);
	lua_is("sip.log.info(('x'):rep(900)) sip.log.info(('x'):rep(2000))", "");
	assert_int_equal(stats->vm.lines_cut, 1);
	w->forgiving = true;
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_endless_loop_costs_that_call_alone),
	    cmocka_unit_test(a_memory_bomb_costs_that_call_alone),
	    cmocka_unit_test(a_loop_after_a_wait_ends_the_legs_that_were_won),
	    cmocka_unit_test(waits_begin_a_new_budget),
	    cmocka_unit_test(what_a_load_must_not_do_is_refused_and_the_old_script_goes_on),
	    cmocka_unit_test(a_hook_that_computes_lets_others_in),
	    cmocka_unit_test(a_hook_that_computes_is_cancelled_at_its_next_wait),
	    cmocka_unit_test(a_hook_that_computes_for_ever_costs_that_call_alone),
	    cmocka_unit_test(too_many_hooks_and_timers_are_refused),
	    cmocka_unit_test(a_hook_has_a_budget_for_all_of_its_stretches),
	    cmocka_unit_test(emergency_calls_have_a_reserve_and_an_end),
	    cmocka_unit_test(outputs_have_a_limit_each_and_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
