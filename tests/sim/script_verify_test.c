/* What is looked at before a generation is used: its files, as they are at one moment, and the names in them. And the way
 * back. */
#include "script_world.h"

static char error[512];

static void is_refused(const char *text, const char *with)
{
	int err = world_try_reload(w, text, error, sizeof(error));

	if (!err || strcmp(error, with) != 0)
		fail_msg("%s\n  gives  %d %s\n  not    %s", text, err, error, with);
}

static void is_taken(const char *text)
{
	if (world_try_reload(w, text, error, sizeof(error)) < 0)
		fail_msg("%s\n  gives  %s", text, error);
}

static void setting_a_global_that_nobody_declares_is_told_beforehand_and_an_error_where_it_is_done(void **state)
{
	(void)state;
	begin("");
	is_taken("local sip = require 'siphook'\nlocal a\nlocal function f()\n  a = 1\n  b = 2\nend\n"
		 "sip.on.message(function(req)\n"
		 "  local ok, why = pcall(f)\n"
		 "  req:reply(200, {body = tostring(ok) .. ' ' .. why})\n"
		 "end)");
	world_expect_log(w, "dialplan.lua:5: global 'b' is not declared: setting it will be an error");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_assert_body(soon(alice, "200"), "false dialplan.lua:5: global 'b' is not declared (make it local, or set it while the "
					      "script is loaded)");
	is_taken("local function f()\n  x = (x or 0) + 1\nend");
	world_expect_log(w, "dialplan.lua:2: global 'x' is not declared");
	is_taken("c = 1 local function f() c = 2 end");
	end();
}

static void globals_that_nobody_makes_are_found(void **state)
{
	static const struct {
		const char *text, *error;
	} wrong[] = {
	    {"local function f() return strng.rep end", "dialplan.lua:1: global 'strng' is not defined"},
	    {"local function f() return function() return io.open('x') end end", "dialplan.lua:1: global 'io' is not defined"},
	    {"local function f() print(a == 'b') end", "dialplan.lua:1: global 'a' is not defined"},
	    {"local function f(x)\n\n\n  if x then return thing(x) end\nend", "dialplan.lua:4: global 'thing' is not defined"},
	    {"local function f() goto e ::e:: return {[y] = 1} end", "dialplan.lua:1: global 'y' is not defined"},
	};
	static const char *const right[] = {
	    "local unpack = unpack or table.unpack",
	    "local function f() if jit then return jit.version end end",
	    "local function f() return not nothing, nothing == nil end",
	    "counter = 0 local function f() counter = counter + 1 end",
	    "function helper() return other() end function other() return helper end",
	    "local function f() local _ENV = {} x = 1 return y end",
	    "local function f(_ENV) return x.y end",
	    "_G.made = 5 local function f() return made + 1 end",
	    "load('loaded = 1')() local function f() return loaded end",
	    "local function f() return _G, _VERSION, string, utf8, os.time(), debug.traceback() end",
	    "",
	};

	(void)state;
	begin("");
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		is_refused(wrong[i].text, wrong[i].error);
	for (unsigned i = 0; i < sizeof(right) / sizeof(right[0]); i++)
		is_taken(right[i]);
	world_file(w, "lib.lua", "local M = {}\nfunction M.f()\n  return sip.now()\nend\nreturn M");
	is_refused("local lib = require 'lib'", "lib.lua:3: global 'sip' is not defined");
	end();
}

/* Long functions name _ENV and their constants in registers; long files have line numbers of another form. */
static void globals_are_found_in_long_functions_too(void **state)
{
	char *text = calloc(1, 400000), *at = text;

	(void)state;
	begin("");
	at += sprintf(at, "local function f()\n  local t = {}\n");
	for (unsigned i = 0; i < 600; i++)
		at += sprintf(at, "  t.key%u = 'value %u'\n", i, i);
	sprintf(at, "  return nowhere.near(t)\nend\n");
	is_refused(text, "dialplan.lua:603: global 'nowhere' is not defined");
	sprintf(at, "  if nowhere then t = nowhere.near end\nend\n");
	is_taken(text);
	at = text + sprintf(text, "local function f(x)");
	for (unsigned i = 0; i < 300; i++)
		at += sprintf(at, "x()%s", i % 7 ? ";" : "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
					       "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
					       "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n");
	sprintf(at, "gone() end");
	{
		unsigned lines = 1;
		char with[100];

		for (const char *p = text; *p; p++)
			lines += *p == '\n';
		snprintf(with, sizeof(with), "dialplan.lua:%u: global 'gone' is not defined", lines);
		is_refused(text, with);
	}
	free(text);
	end();
}

#define REJECT(code) PLAN "local lib = require 'lib'\nsip.on.invite(function(call) call:reject(" code " + lib.more) end)\n"

static const char *hash(void)
{
	static char text[64];

	snprintf(text, sizeof(text), "%s", sh_generation_hash(sh_script_current(w->script)));
	return text;
}

static void each_file_is_read_once_for_all_workers(void **state)
{
	struct world_options o = {.workers = 4};
	char first[64];

	(void)state;
	w = world_create(&o, "");
	alice = world_phone(w, "alice", "10.0.0.2");
	phone_auto(alice, PHONE_ABSORB);
	world_file(w, "lib.lua", "return {more = 0}");
	world_file(w, "other.lua", "return 5");
	w->reads = 0;
	world_reload(w, REJECT("480"));
	assert_int_equal(w->reads, 3);
	snprintf(first, sizeof(first), "%s", hash());
	assert_int_equal(strlen(first), 16);
	world_reload(w, REJECT("480"));
	assert_string_equal(hash(), first);
	world_file(w, "lib.lua", "return {more = 6}");
	world_reload(w, REJECT("480"));
	assert_string_not_equal(hash(), first);
	refused(dial("sip:bob@example.org"), "486");
	world_file(w, "lib.lua", "return {more = 0}");
	world_reload(w, REJECT("480"));
	assert_string_equal(hash(), first);
	world_destroy(w);
}

static void a_rollback_brings_the_former_text_back_with_the_files_that_it_required(void **state)
{
	char first[64];

	(void)state;
	w = world_create(NULL, "");
	alice = world_phone(w, "alice", "10.0.0.2");
	phone_auto(alice, PHONE_ABSORB);
	assert_int_equal(world_rollback(w, error, sizeof(error)), -22);
	assert_string_equal(error, "dialplan.lua: there is no generation before this one");
	world_file(w, "lib.lua", "return {more = 1}");
	world_reload(w, REJECT("480"));
	snprintf(first, sizeof(first), "%s", hash());
	world_file(w, "lib.lua", "return {more = 2}");
	world_reload(w, REJECT("480"));
	world_file(w, "lib.lua", "return {more = 3}");
	world_reload(w, REJECT("483"));
	refused(dial("sip:bob@example.org"), "486");
	assert_int_equal(world_rollback(w, error, sizeof(error)), 0);
	refused(dial("sip:bob@example.org"), "482");
	assert_int_equal(sh_generation_number(sh_script_current(w->script)), 5);
	assert_int_equal(world_rollback(w, error, sizeof(error)), 0);
	refused(dial("sip:bob@example.org"), "481");
	assert_string_equal(hash(), first);
	world_reload(w, REJECT("483")); /* what is on the disk */
	refused(dial("sip:bob@example.org"), "486");
	assert_int_equal(world_rollback(w, error, sizeof(error)), 0);
	refused(dial("sip:bob@example.org"), "481");
	for (unsigned i = 0; i < 30; i++)
		world_reload(w, REJECT("480"));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(world_rollback(w, error, sizeof(error)), 0);
	assert_int_equal(world_rollback(w, error, sizeof(error)), -22);
	assert_int_equal(sh_script_alive(w->script), 1);
	world_destroy(w);
}

static void a_timer_that_nobody_has_made_is_told_at_the_load(void **state)
{
	(void)state;
	begin(PLAN "sip.timer.there = function() end\n"
		   "sip.on.invite(function(call)\n"
		   "  call:after(30, 'there')\n"
		   "  call:after(30 + call.cseq, 'lost')\n"
		   "  if call.trusted then return call:continue 'nowhere' end\n"
		   "  call:continue('there')\n"
		   "end)\n"
		   "sip.on.message(function(req) sip.after(5, 'late', {a = req.from.user}) sip.after(5, function() end) end)\n");
	world_expect_log(w, "dialplan.lua:6: there is no sip.timer.lost");
	world_expect_log(w, "dialplan.lua:7: there is no sip.timer.nowhere");
	world_expect_log(w, "dialplan.lua:10: there is no sip.timer.late");
	assert_false(world_has_log(w, "sip.timer.there"));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(globals_that_nobody_makes_are_found),
	    cmocka_unit_test(setting_a_global_that_nobody_declares_is_told_beforehand_and_an_error_where_it_is_done),
	    cmocka_unit_test(globals_are_found_in_long_functions_too),
	    cmocka_unit_test(each_file_is_read_once_for_all_workers),
	    cmocka_unit_test(a_rollback_brings_the_former_text_back_with_the_files_that_it_required),
	    cmocka_unit_test(a_timer_that_nobody_has_made_is_told_at_the_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
