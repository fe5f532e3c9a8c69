/* sip.json: what it takes and gives, measured against jansson; what it costs. */
#include "script_helpers.h"

#include <jansson.h>

#include "script/json.h"

static int open_sip(lua_State *L)
{
	lua_newtable(L);
	sh_json_lua_open(L, SH_JSON_TEXT_MAX);
	sh_sandbox_preload(L, "siphook");
	return 0;
}

static struct sh_vm *json_vm(const struct sh_vm_config *config)
{
	struct sh_vm *vm = vm_with(config);

	assert_int_equal(sh_vm_call(vm, open_sip, NULL, 0), 0);
	return vm;
}

static void holds(const char *text)
{
	static const char head[] = "local json = require 'siphook'.json local function same(a, b) if a ~= b then\n"
				   "  error(tostring(a) .. ' is not ' .. tostring(b), 2) end end ";
	char all[4096];
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = json_vm(&config);

	snprintf(all, sizeof(all), "%s%s", head, text);
	vm_must_load(vm, all);
	sh_vm_destroy(vm);
}

static void values_of_all_kinds_are_read(void **state)
{
	(void)state;
	holds("same(json.decode '1', 1) same(math.type(json.decode '-0'), 'integer') same(json.decode '1.0', 1.0)\n"
	      "same(math.type(json.decode '1.0'), 'float') same(json.decode '1e2', 100.0) same(json.decode ' true\\n', true)\n"
	      "same(json.decode 'false', false) same(json.decode 'null', json.null) same(json.decode '\"a\"', 'a')\n"
	      "same(json.decode '9223372036854775807', math.maxinteger) same(json.decode '-9223372036854775808', math.mininteger)");
	holds("local t = json.decode '{\"a\":[1,null,{\"b\":null,\"c\":\"d\"}],\"e\":{},\"f\":[]}'\n"
	      "same(#t.a, 3) same(t.a[2], json.null) same(t.a[3].b, nil) same(t.a[3].c, 'd') same(next(t.e), nil) same(#t.f, 0)");
	holds("local t = json.decode '{\"a\":1,\"a\":2}' same(t.a, 2) same(next(t, 'a'), nil)\n"
	      "t = json.decode '{\"a\":1,\"a\":null}' same(t.a, nil) same(next(t), nil)");
	holds("same(json.decode [[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"]], '\"\\\\/\\b\\f\\n\\r\\t') same(json.decode [[\"\\u0041\\u00e4\\u20AC\\ud834\\uDD1E\"]], "
	      "'A\\u{e4}\\u{20ac}\\u{1d11e}') same(json.decode [[\"x\\u0000y\"]], 'x\\0y') same(json.decode [[{\"\\u0000\":1}]]['\\0'], 1)");
}

static void what_is_no_json_is_told_with_its_place(void **state)
{
	(void)state;
	holds("local function bad(text, why) local v, code, detail = json.decode(text)\n"
	      "  same(v, nil) same(code, 'invalid') same(detail, why) end\n"
	      "bad('', 'line 1, column 1: the text ends too early') bad('[1,\\n 2', 'line 2, column 3: the text ends too early')\n"
	      "bad('[1,]', 'line 1, column 4: unexpected here') bad('{\"a\" 1}', 'line 1, column 6: unexpected here')\n"
	      "bad('01', 'line 1, column 1: bad number') bad('[1}', 'line 1, column 3: unexpected here')\n"
	      "bad('9223372036854775808', 'line 1, column 1: the number is too large') bad('1e999', 'line 1, column 1: the number is too large')\n"
	      "bad('\"a\\nb\"', 'line 1, column 3: control character in a string') bad('\"\\xff\"', 'line 1, column 1: the string is no UTF-8')\n"
	      "bad([[\"\\ud800\"]], 'line 1, column 1: bad escape in the string') bad('1 2', 'line 1, column 3: unexpected here')\n"
	      "bad(('['):rep(101), 'line 1, column 101: too deep') bad(('1'):rep(200), 'line 1, column 1: the number is too long')\n"
	      "bad('\"abc', 'line 1, column 5: the text ends too early')");
}

/* ------------------------------------------------------------------ against jansson */

struct trial {
	const char *text;
	size_t len;
	bool accepted;
};

static int try_text(lua_State *L)
{
	struct trial *t = lua_touserdata(L, 1);

	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_getfield(L, -1, "siphook");
	lua_getfield(L, -1, "json");
	lua_getfield(L, -1, "decode");
	lua_pushlstring(L, t->text, t->len);
	lua_call(L, 1, 2);
	t->accepted = lua_isnil(L, -1);
	return 0;
}

static size_t random_text(struct world *w, char *out, size_t size)
{
	static const char *const tokens[] = {"{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u00e4\"", "\"\\ud834\\udd1e\"", "\"\\ud834\"", "1", "-", "0", ".5",
					     "e+1", " ", "\n", "true", "null", "\"\xc3\xa4\"", "\"\xc3\"", "\"\\x\"", "12345678901234567890", "\"\""};
	static const char *const shapes[] = {"{\"k\":", "[", "\"v\"", "1", "]", "}", ",", ",\"x\":"};
	size_t n = 0, count = world_random(w) % 12;

	for (size_t i = 0; i < count; i++) {
		const char *t = world_random(w) % 3 ? shapes[world_random(w) % 8] : tokens[world_random(w) % 24];

		n += (size_t)snprintf(out + n, size - n, "%s", t);
	}
	return n;
}

static void the_same_texts_are_json_for_it_and_for_jansson(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = json_vm(&config);
	unsigned good = 0;

	(void)state;
	for (unsigned i = 0; i < 60000; i++) {
		char text[512];
		struct trial t = {text, random_text(&w, text, sizeof(text)), false};
		json_t *j = json_loadb(text, t.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

		assert_int_equal(sh_vm_call(vm, try_text, &t, 0), 0);
		if (t.accepted != (j != NULL))
			fail_msg("jansson %s %s", j ? "takes" : "refuses", text);
		good += j != NULL;
		json_decref(j);
	}
	assert_true(good > 500);
	sh_vm_destroy(vm);
}

/* ------------------------------------------------------------------ cost */

/* How many turns a hook took. */
static unsigned turns_of(struct sh_vm *vm, const char *function, int *result)
{
	struct sh_coroutine *co;
	char name[16];
	unsigned turns = 1;

	snprintf(name, sizeof(name), "%s", function);
	*result = sh_vm_start(vm, &co, NULL, push_global, name);
	for (; *result == SH_VM_PAUSED; turns++)
		*result = sh_vm_resume(co, NULL, NULL);
	return turns;
}

static void a_long_text_lets_others_run_and_stays_within_the_memory(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm;
	int result;

	(void)state;
	config.slice_max = 10000000;
	config.load_max = 20000000;
	config.memory_max = 24 << 20;
	config.pause_after = 200000;
	vm = json_vm(&config);
	vm_must_load(vm, "local json = require 'siphook'.json\n"
			 "local text = '[' .. ('{\"name\":\"alice\",\"phones\":[\"desk\",\"mobile\"],\"n\":12},'):rep(18000) .. '0]'\n"
			 "local many = '[' .. ('{},'):rep(349000) .. '0]'\n"
			 "local huge = (' '):rep(5000000)\n"
			 "function records() local t = json.decode(text) assert(#t == 18001 and t[18000].phones[2] == 'mobile') end\n"
			 "function inside() local t = coroutine.wrap(function() return json.decode(text) end)() assert(#t == 18001) end\n"
			 "function sorting() table.sort({2, 1}, function(a, b) assert(#json.decode(text) == 18001) return a < b end) end\n"
			 "function flood() json.decode(many) end\n"
			 "function large() local v, code = json.decode(huge) assert(v == nil and code == 'size') end");
	assert_in_range(turns_of(vm, "records", &result), 5, 30);
	assert_int_equal(result, 0);
	assert_in_range(turns_of(vm, "inside", &result), 5, 30);
	assert_int_equal(result, 0);
	assert_int_equal(vm_run(vm, "sorting"), 0); /* nothing can wait there */
	turns_of(vm, "flood", &result);
	assert_int_equal(result, -ENOMEM);
	assert_true(vm->memory_peak <= (24 << 20) + (64 << 10));
	assert_int_equal(vm_run(vm, "large"), 0);
	sh_vm_destroy(vm);
}

static void one_call_of_a_hook_does_not_hold_a_worker(void **state)
{
	static const char *const calls[] = {
	    "require 'siphook'.json.encode(numbers)", "table.concat(numbers)", "table.sort(numbers)", "('%q'):format(text)",
	    "string.packsize(blank)", "utf8.len(text)", "utf8.char(table.unpack(numbers, 1, 200000))", "table.unpack(numbers, 1, 600000)",
	    "os.date(dates)", "load(text)", "assert(load(function() return text end))", "text:gsub('a', 'b')", "text:find('^.*c')",
	    "table.move(numbers, 1, 600000, 2)", "text:find('ab', 1, true)",
	};
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm;

	(void)state;
	config.slice_max = config.total_max = 1000000000;
	config.load_max = 100000000;
	vm = json_vm(&config);
	vm_must_load(vm, "numbers = {} for i = 1, 600000 do numbers[i] = i end local t = ('a'):rep(1 << 20) text = t:rep(9)\n"
			 "blank = (' '):rep(3 << 20) dates = ('%c'):rep(100000)");
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		char text[256], name[32];

		snprintf(text, sizeof(text), "function go%zu() %s end", i, calls[i]);
		vm->sealed = false;
		assert_int_equal(vm_load(vm, text), 0);
		snprintf(name, sizeof(name), "go%zu", i);
		assert_int_equal(vm_run(vm, name), -EINVAL);
		if (!strstr(vm->error.message, "too much for one call") && !strstr(vm->error.message, "pattern too costly"))
			fail_msg("%s: %s", calls[i], vm->error.message);
	}
	assert_true(vm->used == 0);
	sh_vm_destroy(vm);
}

/* Where several megabytes are no string, nothing has to be measured for what is linear in them. */
static void a_string_has_at_most_16_megabytes(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm;

	(void)state;
	config.load_max = 100000000;
	vm = vm_with(&config);
	vm_must_load(vm, "local s = ('a'):rep(1 << 20) s = s:rep(15)\n"
			 "assert(not pcall(string.rep, s, 2) and not pcall(function() return s .. s end) and #(s .. 'b') == (15 << 20) + 1)");
	sh_vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(values_of_all_kinds_are_read),
	    cmocka_unit_test(what_is_no_json_is_told_with_its_place),
	    cmocka_unit_test(the_same_texts_are_json_for_it_and_for_jansson),
	    cmocka_unit_test(a_long_text_lets_others_run_and_stays_within_the_memory),
	    cmocka_unit_test(one_call_of_a_hook_does_not_hold_a_worker),
	    cmocka_unit_test(a_string_has_at_most_16_megabytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
