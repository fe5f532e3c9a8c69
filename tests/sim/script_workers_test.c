/* What crosses from worker to worker: snapshots of calls, orders to them, locks; and functions that run beside a hook. */
#include "script_world.h"

/* MESSAGEs run Lua, INVITEs go to bob. */
#define TALK                                                                                                           \
	PLAN "local sip_ = sip\n"                                                                                      \
	     "sip.on.message(function(req)\n"                                                                          \
	     "  local fn, err = load('local sip, req = ... ' .. req.body, '=t')\n"                                     \
	     "  local r = table.pack(pcall(fn or error, sip, req))\n"                                                  \
	     "  for i = 1, r.n do r[i] = tostring(r[i]) end\n"                                                         \
	     "  req:reply(200, {body = table.concat(r, ' | ', 2)})\n"                                                  \
	     "end)\n"                                                                                                  \
	     "sip.on.invite(function(call) call.data.note = 'n' call:dial('sip:bob@10.0.0.3') end)\n"                  \
	     "sip.on.hangup(function(call, why) sip.log.info('%s: %s %s', call.uri.user, why.by, why.q850_name) end)\n"

static void begin_workers(unsigned workers, const char *script)
{
	struct world_options o = {.workers = workers};

	w = world_create(&o, script);
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	carol = world_phone(w, "carol", "10.0.0.4");
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
}

static struct phone_call *up(const char *user)
{
	char uri[64];
	struct phone_call *c;

	snprintf(uri, sizeof(uri), "sip:%s@example.org", user);
	c = dial(uri);
	answer(bob, 200);
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, SH_SECOND / 10);
	return c;
}

static void snapshots_show_the_calls_of_all_workers(void **state)
{
	(void)state;
	for (unsigned workers = 1; workers <= 4; workers++) {
		struct phone_call *calls[6];
		char name[8];

		begin_workers(workers, TALK);
		lua_is("return #sip.calls()", "0");
		for (unsigned i = 0; i < 6; i++) {
			snprintf(name, sizeof(name), "u%u", i);
			calls[i] = up(name);
		}
		world_advance(w, 10 * SH_SECOND);
		lua_is("local seen = {} for _, c in ipairs(sip.calls()) do seen[#seen + 1] = c.uri.user .. c.state .. c.data.note "
		       ".. (c.duration > 9 and c.from.user or '') end table.sort(seen) return table.concat(seen, ' ')",
		       "u0upnalice u1upnalice u2upnalice u3upnalice u4upnalice u5upnalice");
		lua_is("for _, c in ipairs(sip.calls()) do local f = sip.find_call(c.id) assert(f.id == c.id and f.worker == "
		       "c.worker and f.b_call_id == c.b_call_id) end",
		       "");
		lua_is("return sip.find_call('nonsense')", "nil | gone");
		lua_is("local id = sip.calls()[1].id return sip.find_call(id:sub(1, -2) .. '!')", "nil | gone");
		for (unsigned i = 0; i < 6; i++) {
			phone_bye(calls[i]);
			phone_expect_in(calls[i], "200 BYE", SH_SECOND);
			phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
		}
		lua_is("return #sip.calls()", "0");
		end();
	}
}

static void an_order_is_carried_out_where_the_call_lives(void **state)
{
	(void)state;
	begin_workers(4, TALK);
	for (unsigned i = 0; i < 8; i++) {
		struct phone_call *c = up("x");
		struct phone_msg *bye;

		lua_is("local c = sip.calls()[1] local ok = c:hangup{q850 = 16, reason = 'Over'} return ok, #sip.calls()",
		       "true | 0");
		bye = phone_expect_in(c, "BYE", SH_SECOND);
		phone_assert_contains(bye, "Reason", "Q.850;cause=16;text=\"Over\"");
		phone_reply(bye, 200, NULL, NULL, NULL);
		phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
		world_expect_log(w, "x: script");
	}
	end();
}

static void an_order_to_a_call_that_is_gone_says_so(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_workers(4, PLAN "sip.on.message(function(req)\n"
			      "  local s = sip.shared 's'\n"
			      "  if req.body == 'take' then s:set('id', sip.calls()[1].id) return req:reply(200) end\n"
			      "  local found, code = sip.find_call(s:get 'id')\n"
			      "  req:reply(200, {body = tostring(found) .. code})\n"
			      "end)\n"
			      "sip.on.invite(function(call) call:dial('sip:bob@10.0.0.3') end)\n");
	c = up("x");
	lua_is("take", "");
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	lua_is("look", "nilgone");
	end();
}

static void errors_of_an_order_come_back(void **state)
{
	(void)state;
	for (unsigned workers = 1; workers <= 4; workers += 3) {
		begin_workers(workers, TALK);
		for (unsigned i = 0; i < 4; i++) {
			struct phone_call *c = up("x");
			const char *got = lua_at("local c = sip.calls()[1] return select('#', pcall(c.hangup, c, 'x')), "
						 "select(2, pcall(c.hangup, {}))",
						 __FILE__, __LINE__);

			phone_assert(alice, strstr(got, "sip.calls or sip.find_call expected") != NULL);
			w->forgiving = true;
			world_advance(w, SH_SECOND);
			phone_bye(c);
			phone_expect_in(c, "200 BYE", SH_SECOND);
			phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
		}
		end();
	}
}

static void a_lock_has_one_holder_among_all_workers(void **state)
{
	static const char plan[] =
	    PLAN "local s = sip.shared 's'\n"
		 "sip.on.message(function(req)\n"
		 "  for i = 1, 3 do\n"
		 "    local lock <close> = assert(s:lock('k', 100))\n"
		 "    assert(s:add('inside', 1))\n"
		 "    local n = s:get('n') or 0\n"
		 "    sip.sleep(0.01)\n"
		 "    s:set('n', n + 1)\n"
		 "    s:delete('inside')\n"
		 "  end\n"
		 "  req:reply(200, {body = tostring(s:get('n'))})\n"
		 "end)\n";

	(void)state;
	for (unsigned workers = 1; workers <= 4; workers++) {
		struct phone_call *c[20];
		unsigned most = 0;

		begin_workers(workers, plan);
		for (unsigned i = 0; i < 20; i++)
			c[i] = phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
		for (unsigned i = 0; i < 20; i++) {
			unsigned n = (unsigned)atoi(phone_body(phone_expect_in(c[i], "200", 20 * SH_SECOND)));

			most = n > most ? n : most;
		}
		assert_int_equal(most, 60);
		end();
	}
}

static void a_lock_that_is_not_to_be_had_times_out(void **state)
{
	(void)state;
	for (unsigned workers = 1; workers <= 3; workers += 2) {
		begin_workers(workers, TALK);
		lua_is("sip.spawn(function() local l = sip.shared('s'):lock('k') sip.sleep(3) end)", "");
		world_advance(w, SH_SECOND / 10);
		lua_is("return sip.shared('s'):lock('k', 0)", "nil | timeout");
		lua_is("return sip.shared('s'):lock('k', 0.5)", "nil | timeout");
		lua_is("return sip.shared('s'):lock('other', 0) ~= nil, sip.shared('t'):lock('k', 0) ~= nil", "true | true");
		lua_is("local t = sip.now() local l <close> = sip.shared('s'):lock('k', 5) return l ~= nil, sip.now() - t > 2",
		       "true | true");
		lua_is("local s = sip.shared 's' local l = s:lock('k', 0) l:unlock() l:unlock() return s:lock('k', 0) ~= nil",
		       "true");
		lua_is("return sip.shared('s'):lock('k', 0) ~= nil", "true"); /* given back at the end of that hook */
		lua_is("sip.shared('s'):lock()", "t:1: bad argument #1 to 'lock' (string expected, got no value)");
		lua_is("sip.shared('s'):lock('k', -1)", "t:1: bad argument #2 to 'lock' (seconds from 0 to 1e9 expected)");
		end();
	}
}

static void who_waits_for_a_lock_may_go(void **state)
{
	static const char plan[] = PLAN "local s = sip.shared 's'\n"
					"sip.on.invite(function(call)\n"
					"  local l <close> = assert(s:lock('k', 60))\n"
					"  s:incr('got', 1)\n"
					"  sip.sleep(5)\n"
					"  call:reject(486)\n"
					"end)\n"
					"sip.on.message(function(req) req:reply(200, {body = tostring(s:get 'got')}) end)\n";

	(void)state;
	for (unsigned workers = 1; workers <= 4; workers += 3) {
		struct phone_call *c[6];

		begin_workers(workers, plan);
		for (unsigned i = 0; i < 6; i++) {
			c[i] = dial("sip:x@example.org");
			world_advance(w, SH_SECOND / 10);
		}
		world_advance(w, SH_SECOND);
		for (unsigned i = 5; i-- > 0;) { /* four who wait, then the holder */
			phone_cancel(c[i], NULL);
			phone_expect_in(c[i], "200 CANCEL", SH_SECOND);
			refused(c[i], "487");
		}
		refused(c[5], "486");
		lua_is("", "2");
		ignore_trying(alice);
		end();
	}
}

static void locks_and_questions_of_a_world_that_ends_are_forgotten(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 12; i++) {
		begin_workers(4, PLAN "local s = sip.shared 's'\n"
				      "sip.on.message(function(req)\n"
				      "  local l <close> = s:lock('k', 60)\n"
				      "  for i = 1, 1000 do sip.calls() sip.sleep(0.001) end\n"
				      "end)\n"
				      "sip.on.invite(function(call) call:dial('sip:bob@10.0.0.3') end)\n");
		up("x");
		for (unsigned k = 0; k < 10; k++)
			phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
		world_advance(w, 20 * SH_MS + i * 137);
		w->forgiving = true;
		world_abandon(w);
	}
}

static void a_spawned_function_runs_beside_the_hook(void **state)
{
	(void)state;
	begin_workers(1, TALK);
	lua_is("local order = {} sip.spawn(function(a, b, c) order[#order + 1] = a .. tostring(b) .. c sip.sleep(1) "
	       "order[#order + 1] = 'late' end, 'x', nil, 5) order[#order + 1] = 'first' sip.sleep(2) "
	       "return table.concat(order, ' ')",
	       "first xnil5 late");
	lua_is("sip.spawn()", "t:1: bad argument #1 to 'spawn' (function expected, got no value)");
	lua_is("local n = 0 local function f() n = n + 1 if n < 5000 then sip.spawn(f) end end sip.spawn(f) sip.sleep(1) return n",
	       "5000");
	lua_at("sip.spawn(error, 'spawned trouble')", __FILE__, __LINE__);
	world_expect_log(w, "spawned trouble");
	w->forgiving = true;
	end();
}

static void what_was_spawned_at_the_last_moment_of_a_generation_still_runs(void **state)
{
	(void)state;
	begin_workers(1, PLAN "sip.on.message(function(req)\n"
			      "  sip.sleep(1)\n"
			      "  req:reply(200)\n"
			      "  sip.spawn(function() sip.log.info('ran') sip.sleep(1) sip.log.info('went on') end)\n"
			      "end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	world_advance(w, SH_SECOND / 2);
	world_reload(w, TALK);
	assert_int_equal(sh_script_alive(w->script), 2);
	soon(alice, "200");
	world_expect_log(w, "ran");
	assert_int_equal(sh_script_alive(w->script), 2);
	world_advance(w, 2 * SH_SECOND);
	world_expect_log(w, "went on");
	assert_int_equal(sh_script_alive(w->script), 1);
	end();
}

static void metrics_are_set(void **state)
{
	(void)state;
	begin_workers(2, TALK);
	lua_is("return sip.metric('queue.length', 3), sip.metric('a:b', 1.5, {site = 'x\"y', n = 1})", "true | true");
	lua_is("sip.metric('9')", "t:1: bad argument #1 to 'metric' (letters, digits, '_', '.' and ':' expected)");
	lua_is("sip.metric('a')", "t:1: bad argument #2 to 'metric' (number expected, got no value)");
	lua_is("sip.metric('a', 1, {['x y'] = 1})", "t:1: sip.metric: 'x y' is no name of a label");
	lua_is("sip.metric('a', 1, {x = {}})", "t:1: sip.metric: label 'x': string expected, got table");
	lua_is("for i = 1, 10000 do sip.metric('m' .. i, i) end return sip.metric('one.more', 1)", "nil | full");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(snapshots_show_the_calls_of_all_workers),
	    cmocka_unit_test(an_order_is_carried_out_where_the_call_lives),
	    cmocka_unit_test(an_order_to_a_call_that_is_gone_says_so),
	    cmocka_unit_test(errors_of_an_order_come_back),
	    cmocka_unit_test(a_lock_has_one_holder_among_all_workers),
	    cmocka_unit_test(a_lock_that_is_not_to_be_had_times_out),
	    cmocka_unit_test(who_waits_for_a_lock_may_go),
	    cmocka_unit_test(locks_and_questions_of_a_world_that_ends_are_forgotten),
	    cmocka_unit_test(a_spawned_function_runs_beside_the_hook),
	    cmocka_unit_test(what_was_spawned_at_the_last_moment_of_a_generation_still_runs),
	    cmocka_unit_test(metrics_are_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
