/* A state that a script can neither hold up, fill, nor break out of; hooks that wait, also from inside coroutines. */
#include "script_helpers.h"

/* --- budget ------------------------------------------------------------------------------------------------------ */

static void endless_top_levels_are_stopped(void **state)
{
	static const char *const loops[] = {
	    "while true do end",
	    "while true do pcall(error) end",
	    "while true do pcall(function() while true do end end) end",
	    "local function f() while true do pcall(f) end end f()",
	    "while true do xpcall(error, function() end) end",
	    "xpcall(function() while true do end end, function() while true do end end)",
	    "xpcall(error, function() while true do end end)",
	    "coroutine.wrap(function() while true do end end)()",
	    "while true do local co = coroutine.create(function() while true do end end) coroutine.resume(co) end",
	    "while true do coroutine.wrap(function() for i = 1, 900 do end end)() end",
	    "while true do coroutine.wrap(pcall)(function() while true do end end) end",
	    "local t = setmetatable({}, {__index = function(t, k) while true do end end}) print(t.x)",
	    "local t = setmetatable({}, {__tostring = function() while true do end end}) error(t)",
	    "local x <close> = setmetatable({}, {__close = function() while true do end end}) while true do end",
	    "local x <close> = setmetatable({}, {__close = function() while true do end end}) error('x')",
	    ("local x = setmetatable({}, {__close = function() while true do end end}) local co = coroutine.wrap("
	     "function() local y <close> = x error('x') end) co()"),
	    ("local x = setmetatable({}, {__close = function() while true do end end}) local co = coroutine.create("
	     "function() local y <close> = x coroutine.yield() end) coroutine.resume(co) coroutine.close(co)"),
	    "local function f() return f() end f()",
	    "table.sort({3, 2, 1}, function() while true do end end)",
	    "string.gsub('x', '.', function() while true do end end)",
	    "load(function() while true do end end)",
	    "for k in pairs(setmetatable({}, {__pairs = function() while true do end end})) do end",
	    "table.move({}, 1, 1 << 60, 2)",
	    "table.concat(setmetatable({}, {__index = table.concat}), '', 1, 1 << 60)",
	    "table.insert(setmetatable({}, {__len = function() return 1 << 60 end}), 1, 0)",
	    "table.remove(setmetatable({}, {__len = function() return 1 << 60 end}), 1)",
	    "table.sort(setmetatable({}, {__len = function() return 1 << 30 end}), rawequal)",
	    "local s = ('x'):rep(10000000) while true do local t = s .. s end",
	    "while true do pcall(string.rep, 'x', 1 << 40) end",
	    "while true do table.unpack({}, 1, 900000) end",
	};
	(void)state;

	for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++)
		script_fails(loops[i], -ETIME, "ran too long while it was loaded (2000000 instructions)");
}

/* One instruction of these takes a long time, and no count shows it. */
static void what_takes_long_counts_as_many_instructions(void **state)
{
	static const char *const loops[] = {
	    "while true do next(t) end",
	    "while true do local _ = a < b end",
	    "while true do tonumber(blank) end",
	    "load(function() return blank end)",
	};
	(void)state;

	for (size_t i = 0; i < 2 * sizeof(loops) / sizeof(loops[0]); i++) {
		struct world w;
		struct sh_vm_config config = world_config(&w);
		struct sh_vm *vm;
		char text[512];

		config.deterministic = i % 2;
		config.slice_max = 100000;
		vm = vm_with(&config);
		snprintf(text, sizeof(text),
			 "t = {} for i = 1, 40000 do t[i + 0.5] = true end for i = 1, 40000 do t[i + 0.5] = nil end\n"
			 "blank = (' '):rep(300000) a, b = blank .. 'a', blank .. 'b'\n"
			 "function loop() %s end", loops[i / 2]);
		vm_must_load(vm, text);
		assert_int_equal(vm_run(vm, "loop"), -ETIME);
		assert_error(vm, "the hook ran too long (100000 instructions without waiting)");
		sh_vm_destroy(vm);
	}
}

static void an_endless_hook_is_stopped_and_the_next_one_runs(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	(void)state;

	vm_must_load(
	    vm, "function loop() while true do pcall(error) end end\n"
		"function swallow() return pcall(function() while true do end end) end\n"
		"function inner() coroutine.wrap(function() while true do end end)() end\n"
		"function closing() local x <close> = setmetatable({}, {__close = function() while true do end end})\n"
		"  while true do end end\n"
		"function fine() for i = 1, 100000 do end end");
	for (int round = 0; round < 3; round++) {
		assert_int_equal(vm_run(vm, "loop"), -ETIME);
		assert_string_equal(vm->error.message,
				    "plan.lua:1: the hook ran too long (1000000 instructions without waiting)");
		assert_non_null(strstr(vm->error.traceback, "stack traceback"));
		assert_int_equal(vm_run(vm, "swallow"), -ETIME);
		assert_int_equal(vm_run(vm, "fine"), 0);
		assert_int_equal(vm_run(vm, "inner"), -ETIME);
		assert_int_equal(vm_run(vm, "closing"), -ETIME);
		assert_int_equal(vm_run(vm, "fine"), 0);
	}
	assert_int_equal(vm->active_count, 0);
	assert_int_equal(vm->idle_count, 1);
	sh_vm_destroy(vm);
}

static void a_coroutine_that_was_killed_stays_dead(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	(void)state;

	vm_must_load(vm,
		     "co = coroutine.create(function()\n"
		     "  local x <close> = setmetatable({}, {__close = function() while true do end end})\n"
		     "  while true do end end)\n"
		     "function start() coroutine.resume(co) end\n"
		     "function again() assert(not coroutine.resume(co)) assert(not pcall(coroutine.close, co)) end");
	assert_int_equal(vm_run(vm, "start"), -ETIME);
	assert_int_equal(vm_run(vm, "again"), 0);
	sh_vm_destroy(vm);
}

/* --- memory ------------------------------------------------------------------------------------------------------ */

static void memory_has_a_limit_and_the_state_stays_usable(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm;
	(void)state;

	config.memory_max = 8 << 20;
	config.slice_max = 50000000;
	vm = vm_with(&config);
	vm_must_load(vm, "function gigabyte() return ('x'):rep(1 << 30) end\n"
			 "function fill() local t = {} for i = 1, 1e9 do t[i] = {i} end end\n"
			 "function double() local s = 'x' while true do s = s .. s end end\n"
			 "function wide() return ('x'):rep(99):rep(1000000) end\n"
			 "function caught() local ok, e = pcall(string.rep, 'x', 1 << 30)\n"
			 "  assert(not ok and e == 'not enough memory', e) assert(not pcall(fill)) end\n"
			 "function deep() local function f(n) return f(n + 1) + 1 end f(1) end\n"
			 "function fine() local t = {} for i = 1, 1000 do t[i] = {i} end end");
	assert_int_equal(vm_run(vm, "gigabyte"), -ENOMEM);
	assert_string_equal(vm->error.message, "plan.lua:1: not enough memory");
	assert_int_equal(vm_run(vm, "fine"), 0);
	assert_int_equal(vm_run(vm, "fill"), -ENOMEM);
	assert_int_equal(vm_run(vm, "fine"), 0);
	assert_int_equal(vm_run(vm, "double"), -ENOMEM);
	assert_int_equal(vm_run(vm, "wide"), -ENOMEM);
	assert_int_equal(vm_run(vm, "caught"), 0);
	assert_int_not_equal(vm_run(vm, "deep"), 0);
	assert_int_equal(vm_run(vm, "fine"), 0);
	assert_true(vm->memory_peak <= config.memory_max + (64 << 10));
	assert_true(vm->memory <= config.memory_max);
	sh_vm_destroy(vm);
}

static void deep_recursion_is_an_error_of_the_script(void **state)
{
	(void)state;
	script_fails("local function f() return f() + 1 end f()", -EINVAL,
		     "plan.lua:1: stack overflow (20000 nested calls)");
	script_fails("local function f() return f() + 1 end while true do pcall(f) end", -EINVAL, "stack overflow");
	script_holds("local function f(n) return n == 0 and 0 or 1 + f(n - 1) end assert(f(15000) == 15000)");
	script_fails("local function f() coroutine.wrap(f)() end f()", -EINVAL, "C stack overflow");
	script_fails(
	    "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k] end local x = t.x",
	    -EINVAL, "stack overflow");
	script_fails("local s = ('('):rep(10000) .. 'x' assert(load(s))", -EINVAL, "overflow");
	script_fails("string.rep('x', 1 << 62)", -EINVAL, "resulting string too large");
	script_holds("assert(string.rep('', 1 << 60) == '')");
	script_fails("string.format('%999d', 1)", -EINVAL, "invalid conversion");
	script_fails("return table.unpack({}, 1, 1e8)", -EINVAL, "too many results");
}

/* --- walls ------------------------------------------------------------------------------------------------------- */

static void a_script_sees_no_more_than_its_libraries(void **state)
{
	(void)state;
	script_holds(
	    "for _, n in ipairs{'io', 'package', 'dofile', 'loadfile', 'siphook'} do assert(_G[n] == nil, n) end\n"
	    "for _, n in ipairs{'execute', 'exit', 'remove', 'rename', 'setlocale', 'tmpname'} do assert(os[n] == nil, "
	    "n) end\n"
	    "for n in pairs(debug) do assert(n == 'traceback', n) end\n"
	    "for _, n in ipairs{'io', 'package', 'siphook.test'} do assert(not pcall(require, n)) end\n"
	    "for n in pairs(require 'os') do assert(('clock date getenv time'):find(n), n) end\n"
	    "for n in pairs(require 'debug') do assert(n == 'traceback', n) end\n"
	    "assert(string.dump == nil and require 'string' == string)");
	script_fails("assert(load('\\27LuaS'))", -EINVAL, "binary chunk");
	script_fails("assert(load('\\27LuaS', 'x', 'b'))", -EINVAL, "binary chunk");
	script_fails("\33Lua", -EINVAL, "binary chunk");
	script_fails("setmetatable({}, {__gc = function() while true do end end})", -EINVAL, "__gc is not available");
	script_fails("setmetatable({}, {__concat = function() end})", -EINVAL, "__concat is not available");
	for (int left = 0; left < 2; left++) { /* it comes after setmetatable, and makes the stack grow */
		char text[256];

		snprintf(text, sizeof(text),
			 "local m = {} local t = setmetatable({}, m) m.__concat = function() table.unpack({}, 1, 200000) return 'x' end\n"
			 "coroutine.wrap(function(a) return a .. %s .. a end)('a')", left ? "t .. a" : "a .. t");
		script_fails(text, -EINVAL, "plan.lua:2: __concat is not available");
	}
	script_fails("local t = {} return 'a' .. t", -EINVAL, "attempt to concatenate a table value (local 't')");
	script_fails("collectgarbage('stop')", -EINVAL, "only 'count'");
	script_holds("assert(collectgarbage('count') > 10)");
	script_holds("assert(getmetatable('') == false and not pcall(setmetatable, _G, {}))");
	script_fails("string.format('%p', {})", -EINVAL, "'%p' is not available");
	script_fails("string.format('%5.3p', {})", -EINVAL, "'%p' is not available");
	script_fails("string.format('\\0%p', {})", -EINVAL, "'%p' is not available");
	script_holds("assert(table.concat({[math.maxinteger] = 'x'}, '', math.maxinteger, math.maxinteger) == 'x')");
	script_holds("assert(string.format('%%p %d%%', 3) == '%p 3%')");
	script_holds("local env = {} assert(load('x = 1', 'c', 't', env))() assert(env.x == 1)");
	script_holds(
	    "local ok, a, b = xpcall(function(...) return ... end, print, 1, 2) assert(ok and a == 1 and b == 2)\n"
	    "local ok, e = xpcall(error, function(e) return 'h' .. e end, 'x') assert(not ok and e == 'hx')");
}

static void undeclared_globals_cannot_be_set_after_the_load(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	(void)state;

	vm_must_load(vm, "counter = 0\n"
			 "function good() counter = counter + 1 assert(missing == nil) end\n"
			 "function bad()\n  conter = 1\nend\n"
			 "function late() return require 'other' end");
	assert_int_equal(vm_run(vm, "good"), 0);
	assert_int_equal(vm_run(vm, "bad"), -EINVAL);
	assert_error(vm, "plan.lua:4: global 'conter' is not declared");
	assert_int_equal(vm_run(vm, "late"), -EINVAL);
	assert_error(vm, "module 'other' must be required while the script is loaded");
	assert_int_equal(vm_load(vm, "x = 1"), -EALREADY);
	sh_vm_destroy(vm);
}

static void require_finds_files_beside_the_script_only(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	size_t count;
	(void)state;

	w.files[0][0] = "etc/plan.lua";
	w.files[0][1] =
	    "#!/usr/bin/env siphook\n"
	    "local a = require 'a'\n"
	    "assert(a == require 'a' and a.n == 1)\n"
	    "assert(require 'sub.b' == 'sub/b etc/sub/b.lua' and require 'none' == true)\n"
	    "for _, n in ipairs{'..a', 'a..b', '.a', 'a.', '/etc/passwd', '../a', 'a/b', '', 'a\\0b', 'x'} do\n"
	    "  assert(not pcall(require, n), n) end\n"
	    "local ok, e = pcall(require, 'self') assert(not ok and e:find('requires itself'), e)\n"
	    "local ok, e = pcall(require, 'broken') assert(e:find('^etc/broken.lua:2:'), e)\n"
	    "local ok, e = pcall(require, 'x') assert(e:find('cannot read etc/x.lua'), e)";
	w.files[1][0] = "etc/a.lua";
	w.files[1][1] = "\xef\xbb\xbfn = (n or 0) + 1 return {n = n}";
	w.files[2][0] = "etc/sub/b.lua";
	w.files[2][1] = "local name, path = ... return name:gsub('%.', '/') .. ' ' .. path";
	w.files[3][0] = "etc/self.lua";
	w.files[3][1] = "return require 'self'";
	w.files[4][0] = "etc/broken.lua";
	w.files[4][1] = "\n= =";
	w.files[5][0] = "etc/none.lua";
	w.files[5][1] = "";
	if (sh_vm_load(vm, "etc/plan.lua"))
		fail_msg("%s", vm->error.message);
	assert_string_equal(sh_vm_files(vm, &count)[0].path, "etc/plan.lua");
	assert_int_equal(count, 6);
	sh_vm_destroy(vm);

	vm = vm_with(&config);
	assert_int_equal(sh_vm_load(vm, "none.lua"), -ENOENT);
	assert_string_equal(vm->error.message, "cannot read none.lua: No such file or directory");
	sh_vm_destroy(vm);
}

static void errors_name_file_and_line(void **state)
{
	(void)state;
	script_fails("local x = 1\nlocal y = = 2", -EINVAL, "plan.lua:2: unexpected symbol near '='");
	script_fails("\n\nlocal x = nil + 1", -EINVAL, "plan.lua:3: attempt to perform arithmetic");
	script_fails("error({})", -EINVAL, "plan.lua:1: (error object is a table value)");
	script_fails("error(setmetatable({}, {__tostring = function() return 'told' end}))", -EINVAL, "told");
	script_fails("error(setmetatable({}, {__tostring = function() error 'x' end}))", -EINVAL, "x");
	script_fails("error()", -EINVAL, "nil");
}

static void time_and_randomness_come_from_the_world(void **state)
{
	(void)state;
	script_holds("assert(os.time() == 1700000000 and os.clock() == 5.0)\n"
		     "assert(os.date('!%Y-%m-%d %H:%M:%S') == '2023-11-14 22:13:20')\n"
		     "assert(os.date('!%Y', 0) == '1970' and os.time{year = 2023, month = 11, day = 14} > 1e9)");
}

static void print_and_warn_go_to_the_log(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	(void)state;

	vm_must_load(vm, "\nprint('a', 1, nil, 2.5)");
	assert_string_equal(w.line, "plan.lua:2: a 1 nil 2.5");
	assert_int_equal(w.level, SH_LOG_INFO);
	sh_vm_destroy(vm);
	vm = vm_with(&config);
	vm_must_load(vm, "warn('a', 'b')");
	assert_string_equal(w.line, "plan.lua:1: ab");
	assert_int_equal(w.level, SH_LOG_WARN);
	sh_vm_destroy(vm);
}

/* --- waiting ----------------------------------------------------------------------------------------------------- */

static int sleep_done(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	lua_pushinteger(L, ctx);
	return lua_gettop(L) - 1; /* what the wake gave, then the context */
}

static int sleep_verb(lua_State *L)
{
	lua_settop(L, 1);
	sh_vm_check_wait(L, "sleep");
	return sh_vm_wait(L, 42, sleep_done);
}

static int add_sleep(lua_State *L)
{
	lua_pushcfunction(L, sleep_verb);
	lua_setglobal(L, "sleep");
	return 0;
}

static int push_two(lua_State *L, void *arg)
{
	lua_pushstring(L, arg);
	lua_pushinteger(L, 7);
	return 2;
}

static int push_error(lua_State *L, void *arg)
{
	lua_pushlightuserdata(L, arg);
	return lua_error(L);
}

static struct sh_vm *vm_with_sleep(struct world *w, const char *text)
{
	struct sh_vm_config config = world_config(w);
	struct sh_vm *vm = vm_with(&config);

	assert_int_equal(sh_vm_call(vm, add_sleep, NULL, 0), 0);
	vm_must_load(vm, text);
	return vm;
}

static void a_hook_waits_and_goes_on_with_what_it_is_given(void **state)
{
	struct world w;
	struct sh_vm *vm = vm_with_sleep(&w, "log = ''\n"
					     "function hook() local a, b, c = sleep() log = log .. a .. b .. c\n"
					     "  pcall(function() log = log .. sleep() end) end\n"
					     "function check() assert(log == 'x742y', log) end");
	struct sh_coroutine *co;
	(void)state;

	assert_int_equal(sh_vm_start(vm, &co, vm, push_global, "hook"), SH_VM_WAITS);
	assert_ptr_equal(co->user, vm);
	assert_true(co->waiting);
	assert_int_equal(sh_vm_resume(co, push_two, "x"), SH_VM_WAITS);
	assert_int_equal(sh_vm_resume(co, push_two, "y"), 0);
	assert_int_equal(vm->active_count, 0);
	assert_int_equal(vm_run(vm, "check"), 0);
	sh_vm_destroy(vm);
}

static void waits_pass_through_coroutines_of_the_script(void **state)
{
	struct world w;
	struct sh_vm *vm = vm_with_sleep(
	    &w,
	    "log = ''\n"
	    "function hook()\n"
	    "  local gen = coroutine.wrap(function()\n"
	    "    local inner = coroutine.create(function() local x = sleep() coroutine.yield(x) return sleep() end)\n"
	    "    asleep = inner\n"
	    "    local ok, x = coroutine.resume(inner) assert(ok)\n"
	    "    coroutine.yield('got ' .. x)\n"
	    "    local ok, y = coroutine.resume(inner) assert(ok and coroutine.status(inner) == 'dead')\n"
	    "    return y end)\n"
	    "  log = log .. gen() .. ' ' .. gen()\n"
	    "end\n"
	    "function meddle() local ok, e = coroutine.resume(asleep) assert(not ok and e:find('not the script'), e)\n"
	    "  assert(not pcall(coroutine.close, asleep)) end\n"
	    "function check() assert(log == 'got a b', log) end\n"
	    "function outside() coroutine.yield(1) end\n"
	    "function main() local co, main = coroutine.running() assert(main and not coroutine.isyieldable()) end\n"
	    "asleep = nil");
	struct sh_coroutine *co;
	(void)state;

	vm->sealed = false; /* `asleep` is declared as nil */
	assert_int_equal(sh_vm_start(vm, &co, NULL, push_global, "hook"), SH_VM_WAITS);
	assert_int_equal(vm_run(vm, "meddle"), 0);
	assert_int_equal(sh_vm_resume(co, push_two, "a"), SH_VM_WAITS);
	assert_int_equal(vm_run(vm, "meddle"), 0);
	assert_int_equal(sh_vm_resume(co, push_two, "b"), 0);
	if (vm_run(vm, "check"))
		fail_msg("%s", vm->error.message);
	assert_int_equal(vm_run(vm, "outside"), -EINVAL);
	assert_error(vm, "outside a coroutine");
	assert_int_equal(vm_run(vm, "main"), 0);
	sh_vm_destroy(vm);
}

static void where_nothing_can_wait_it_says_so(void **state)
{
	struct world w;
	struct sh_vm *vm = vm_with_sleep(
	    &w, "ok, e = pcall(sleep) assert(e:find('only inside a hook'), e)\n"
		"ok, e = pcall(coroutine.wrap(sleep)) assert(e:find('only inside a hook'), e)\n"
		"function sort() table.sort({2, 1}, function() sleep() end) end\n"
		"function gsub() local _ = ('x'):gsub('.', function() sleep() end) end\n"
		"function nested() table.sort({2, 1}, function() coroutine.wrap(sleep)() end) end\n"
		"function close() local co = coroutine.create(function()\n"
		"  local x <close> = setmetatable({}, {__close = function() sleep() end}) coroutine.yield() end)\n"
		"  coroutine.resume(co) local ok, e = coroutine.close(co) assert(not ok) error(e, 0) end");
	static const char *const hooks[] = {"sort", "gsub", "nested", "close"};
	(void)state;

	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(vm_run(vm, hooks[i]), -EINVAL);
		assert_error(vm, "sleep cannot wait here (inside a callback");
	}
	sh_vm_destroy(vm);
}

static void an_error_can_be_raised_at_the_place_of_the_wait(void **state)
{
	struct world w;
	struct sh_vm *vm = vm_with_sleep(&w, "log = ''\n"
					     "function catches() local ok, e = pcall(sleep) assert(not ok and type(e) "
					     "== 'userdata') log = log .. 'c' end\n"
					     "function nested() local ok, e = pcall(coroutine.wrap(function() sleep() "
					     "end)) assert(not ok) log = log .. 'n' end\n"
					     "function closes() local x <close> = setmetatable({}, {__close = "
					     "function() log = log .. 'x' end}) sleep() end\n"
					     "function check() assert(log == 'cnx', log) end");
	struct sh_coroutine *co;
	(void)state;

	assert_int_equal(sh_vm_start(vm, &co, NULL, push_global, "catches"), SH_VM_WAITS);
	assert_int_equal(sh_vm_resume(co, push_error, &w), 0);
	assert_int_equal(sh_vm_start(vm, &co, NULL, push_global, "nested"), SH_VM_WAITS);
	assert_int_equal(sh_vm_resume(co, push_error, &w), 0);
	assert_int_equal(sh_vm_start(vm, &co, NULL, push_global, "closes"), SH_VM_WAITS);
	assert_int_equal(sh_vm_resume(co, push_error, &w), -EINVAL);
	assert_ptr_equal(vm->error.object, &w);
	assert_int_equal(vm_run(vm, "check"), 0);
	sh_vm_destroy(vm);
}

static void each_wait_begins_a_new_budget(void **state)
{
	struct world w;
	struct sh_vm *vm = vm_with_sleep(&w, "function hook() for i = 1, 5 do for j = 1, 700000 do end sleep() end\n"
					     "  while true do end end");
	struct sh_coroutine *co;
	int result;
	(void)state;

	result = sh_vm_start(vm, &co, NULL, push_global, "hook");
	for (int i = 0; i < 4; i++) {
		assert_int_equal(result, SH_VM_WAITS);
		result = sh_vm_resume(co, NULL, NULL);
	}
	assert_int_equal(result, SH_VM_WAITS);
	assert_int_equal(sh_vm_resume(co, NULL, NULL), -ETIME);
	sh_vm_destroy(vm);
}

static void hooks_interleave_and_waiting_ones_can_be_dropped(void **state)
{
	enum { N = 50 };
	struct world w;
	struct sh_vm *vm = vm_with_sleep(&w, "function hook() sleep() sleep() end");
	struct sh_coroutine *co[N];
	(void)state;

	for (int i = 0; i < N; i++)
		assert_int_equal(sh_vm_start(vm, &co[i], NULL, push_global, "hook"), SH_VM_WAITS);
	assert_int_equal(vm->active_count, N);
	for (int i = N - 1; i >= 0; i -= 2)
		assert_int_equal(sh_vm_resume(co[i], NULL, NULL), SH_VM_WAITS);
	for (int i = 0; i < N; i += 2)
		sh_vm_drop(co[i]);
	for (int i = 1; i < N - 2; i += 2)
		assert_int_equal(sh_vm_resume(co[i], NULL, NULL), 0);
	assert_int_equal(vm->active_count, 1);
	while (!sh_vm_gc(vm))
		;
	sh_vm_destroy(vm); /* with one that still waits */
}

/* --- simulation -------------------------------------------------------------------------------------------------- */

static const char order_script[] =
    "local t, out = {}, {}\n"
    "local objects = {{}, print, function() return out end, coroutine.create(print), {}, uri}\n"
    "for i = 40, 1, -1 do t['k' .. math.random(1000)] = i t[i] = i t[i + 0.5] = i end\n"
    "for _, o in ipairs(objects) do t[o] = true end t[true] = 1 t[false] = 2\n"
    "for k, v in pairs(t) do out[#out + 1] = tostring(k) .. '=' .. tostring(v) end\n"
    "local a = {} for k in next, t do a[#a + 1] = tostring(k) end\n"
    "out[#out + 1] = table.concat(a, ',') out[#out + 1] = string.format('%s %s', {}, t)\n"
    "print(('%x'):format(#out), table.concat(out, ' '):sub(1, 900))";

static void two_runs_are_the_same_in_deterministic_mode(void **state)
{
	char first[1200] = "";
	(void)state;

	for (int i = 0; i < 4; i++) {
		struct world w;
		struct sh_vm_config config = world_config(&w);
		struct sh_vm *vm;
		void *noise = malloc((size_t)i * 977 + 1);

		config.deterministic = true;
		vm = vm_with(&config);
		vm_must_load(vm, order_script);
		if (i > 0)
			assert_string_equal(w.line, first);
		else
			strcpy(first, w.line);
		assert_null(strstr(w.line, "0x"));
		sh_vm_destroy(vm);
		free(noise);
	}
}

static void ordered_traversal_keeps_the_rules_of_lua(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm;
	(void)state;

	config.deterministic = true;
	vm = vm_with(&config);
	vm_must_load(vm,
		     "local t = {3, 2, 1, b = 1, a = 2, [true] = 0, [0.5] = 5, [-1] = 6}\n"
		     "local s = '' for k in pairs(t) do s = s .. tostring(k) .. ' ' end\n"
		     "assert(s == 'true -1 0.5 1 2 3 a b ', s)\n"
		     "s = '' local k, v = next(t) while k ~= nil do s = s .. tostring(k) .. ' ' k, v = next(t, k) end\n"
		     "assert(s == 'true -1 0.5 1 2 3 a b ', s)\n"
		     "assert(next({}) == nil and next({}, nil) == nil)\n"
		     "local n = 0 for k in pairs(t) do t[k] = nil n = n + 1 end assert(n == 8 and next(t) == nil)\n"
		     "local t = {1, 2, 3} for k in pairs(t) do t[3] = nil end\n"
		     "local m = setmetatable({}, {__pairs = function(t) return function(_, k) if not k then return 1, "
		     "2 end end, t end})\n"
		     "for k, v in pairs(m) do assert(k == 1 and v == 2) end\n"
		     "assert(tostring({}):find('^table: #%d+$') and tostring(print) == 'function: builtin')\n"
		     "assert(tostring(setmetatable({}, {__name = 'N'})):find('^N: #'))\n"
		     "assert(os.date('%H:%M') == '22:13' and os.time(os.date('*t')) == os.time())");
	sh_vm_destroy(vm);
}

/* --- out of memory ----------------------------------------------------------------------------------------------- */

static void every_allocation_may_fail(void **state)
{
	static const char text[] = "local t = {} for i = 1, 20 do t[i] = ('x'):rep(i) .. i end\n"
				   "table.sort(t) local s = table.concat(t, ','):gsub('%d+', '<%0>')\n"
				   "local m = require 'm' assert(m == 1)\n"
				   "function hook() local co = coroutine.wrap(function() sleep() error({}) end)\n"
				   "  pcall(co) sleep() local x = {s} error('end ' .. #s) end";
	bool done = false;
	(void)state;

	for (long n = 0; !done; n++) {
		struct world w;
		struct sh_vm_config config = world_config(&w);
		struct sh_vm *vm = NULL;
		struct sh_coroutine *co = NULL;
		int err;

		config.deterministic = n % 2;
		w.files[0][0] = "m.lua";
		w.files[0][1] = "return 1";
		sh_alloc_fail_after(n);
		err = sh_vm_create(&vm, &config);
		if (!err)
			err = sh_vm_call(vm, add_sleep, NULL, 0);
		if (!err)
			err = vm_load(vm, text);
		if (!err)
			err = sh_vm_start(vm, &co, NULL, push_global, "hook");
		while (err == SH_VM_WAITS)
			err = sh_vm_resume(co, push_two, "x");
		done = err == -EINVAL && strstr(vm->error.message, "plan.lua:5: end ");
		sh_alloc_fail_after(-1);
		if (!done)
			assert_true(err == -ENOMEM || (err == -EINVAL && strstr(vm->error.message, "memory")));
		sh_vm_destroy(vm);
		assert_true(n < 5000);
	}
}

static void after_a_failed_allocation_the_state_goes_on(void **state)
{
	struct world w;
	struct sh_vm *vm = vm_with_sleep(&w, "function hook() local t = {} for i = 1, 50 do t[i] = {} end sleep()\n"
					     "  for i = 51, 100 do t[i] = {} end return #t end");
	int good = 0;
	(void)state;

	for (long n = 0; n < 200; n++) {
		struct sh_coroutine *co;
		int err;

		sh_alloc_fail_after(n);
		err = sh_vm_start(vm, &co, NULL, push_global, "hook");
		if (err == SH_VM_WAITS)
			err = sh_vm_resume(co, push_two, "x");
		sh_alloc_fail_after(-1);
		assert_true(err == 0 || err == -ENOMEM);
		good += err == 0;
		assert_int_equal(vm_run(vm, "hook"), SH_VM_WAITS);
		sh_vm_drop(SH_CONTAINER(vm->active.prev, struct sh_coroutine, link));
	}
	assert_true(good > 0);
	sh_vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(endless_top_levels_are_stopped),
	    cmocka_unit_test(what_takes_long_counts_as_many_instructions),
	    cmocka_unit_test(an_endless_hook_is_stopped_and_the_next_one_runs),
	    cmocka_unit_test(a_coroutine_that_was_killed_stays_dead),
	    cmocka_unit_test(memory_has_a_limit_and_the_state_stays_usable),
	    cmocka_unit_test(deep_recursion_is_an_error_of_the_script),
	    cmocka_unit_test(a_script_sees_no_more_than_its_libraries),
	    cmocka_unit_test(undeclared_globals_cannot_be_set_after_the_load),
	    cmocka_unit_test(require_finds_files_beside_the_script_only),
	    cmocka_unit_test(errors_name_file_and_line),
	    cmocka_unit_test(time_and_randomness_come_from_the_world),
	    cmocka_unit_test(print_and_warn_go_to_the_log),
	    cmocka_unit_test(a_hook_waits_and_goes_on_with_what_it_is_given),
	    cmocka_unit_test(waits_pass_through_coroutines_of_the_script),
	    cmocka_unit_test(where_nothing_can_wait_it_says_so),
	    cmocka_unit_test(an_error_can_be_raised_at_the_place_of_the_wait),
	    cmocka_unit_test(each_wait_begins_a_new_budget),
	    cmocka_unit_test(hooks_interleave_and_waiting_ones_can_be_dropped),
	    cmocka_unit_test(two_runs_are_the_same_in_deterministic_mode),
	    cmocka_unit_test(ordered_traversal_keeps_the_rules_of_lua),
	    cmocka_unit_test(every_allocation_may_fail),
	    cmocka_unit_test(after_a_failed_allocation_the_state_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
