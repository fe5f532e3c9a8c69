/* A copied value is the same in another state; what is not plain is refused by name. */
#include "script_helpers.h"

#include "script/value.h"

struct transfer {
	struct sh_value *value;
	int err;
	size_t max;
	char why[200];
};

static int pack_result(lua_State *L)
{
	struct transfer *t = lua_touserdata(L, 1);
	int top;

	lua_getglobal(L, "make");
	top = lua_gettop(L);
	lua_call(L, 0, LUA_MULTRET);
	t->err = sh_value_pack(&t->value, L, top, (unsigned)(lua_gettop(L) - top + 1), t->max, "data", t->why,
			       sizeof(t->why));
	return 0;
}

static int unpack_into_check(lua_State *L)
{
	struct transfer *t = lua_touserdata(L, 1);

	lua_getglobal(L, "check");
	lua_call(L, sh_value_push(L, t->value), 0);
	return 0;
}

static struct transfer pack(const char *text, size_t max)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	struct transfer t = {.max = max};

	vm_must_load(vm, text);
	if (sh_vm_call(vm, pack_result, &t, 0))
		fail_msg("%s", vm->error.message);
	sh_vm_destroy(vm);
	return t;
}

static void travels(const char *make, const char *check)
{
	struct transfer t = pack(make, 0);
	struct sh_value *copy;
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);

	if (t.err)
		fail_msg("%s", t.why);
	copy = sh_value_dup(t.value);
	sh_value_destroy(t.value);
	t.value = copy;
	vm_must_load(vm, check);
	for (int i = 0; i < 2; i++)
		if (sh_vm_call(vm, unpack_into_check, &t, 0))
			fail_msg("%s", vm->error.message);
	sh_vm_destroy(vm);
	sh_value_destroy(t.value);
}

static void refused(const char *make, size_t max, int err, const char *why)
{
	struct transfer t = pack(make, max);

	assert_int_equal(t.err, err);
	assert_null(t.value);
	assert_string_equal(t.why, why);
}

static void plain_values_arrive_as_they_were(void **state)
{
	(void)state;
	travels("function make() return 1, 2.5, 'x\\0y', true, false, nil, '' end",
		"function check(...) local a, b, c, d, e, f, g = ... assert(select('#', ...) == 7 and math.type(a) == "
		"'integer' and a == 1\n"
		"  and b == 2.5 and c == 'x\\0y' and d == true and e == false and f == nil and g == '') end");
	travels("function make() return {1, 2, {3, n = {}}, k = 'v', [2.5] = 1, [true] = 0, [-1] = math.mininteger}, "
		"1e300, -0.0 end",
		"function check(t, big, zero) assert(#t == 3 and t[3][1] == 3 and next(t[3].n) == nil and t.k == 'v' "
		"and t[2.5] == 1\n"
		"  and t[true] == 0 and t[-1] == math.mininteger and big == 1e300 and 1 / zero < 0) end");
	travels("function make() local s = {1} return {a = s, b = s} end",
		"function check(t) assert(t.a[1] == 1 and t.b[1] == 1 and t.a ~= t.b) end");
	travels(
	    "function make() local t = {} for i = 1, 500 do t[i] = ('x'):rep(i % 50) t['k' .. i] = i end return t end",
	    "function check(t) assert(#t == 500 and t[49] == ('x'):rep(49) and t.k500 == 500) end");
	travels("function make() end", "function check(...) assert(select('#', ...) == 0) end");
}

static void what_is_not_plain_is_refused_by_its_path(void **state)
{
	(void)state;
	refused("function make() return {peer = {fn = print}} end", 0, -EINVAL, "data.peer.fn: cannot keep a function");
	refused("function make() return {{}, {coroutine.create(print)}} end", 0, -EINVAL,
		"data[2][1]: cannot keep a thread");
	refused("function make() return {[2.5] = {[true] = print}} end", 0, -EINVAL,
		"data[2.5][boolean]: cannot keep a function");
	refused("function make() return {[print] = 1} end", 0, -EINVAL, "data[function]: cannot keep a function");
	refused("function make() return {[{}] = 1} end", 0, -EINVAL, "data[table]: a table as key");
	refused("function make() local t = {} t.a = {b = t} return t end", 0, -EINVAL,
		"data.a.b: a table that contains itself");
	refused("function make() return setmetatable({}, {}) end", 0, -EINVAL, "data: a table with a metatable");
	refused("function make() return 1, print end", 0, -EINVAL, "data: cannot keep a function");
	refused("function make() return ('x'):rep(70000) end", 0, -E2BIG, "data: larger than 65536 bytes");
	refused("function make() local t = {} for i = 1, 100 do t[i] = i end return {t} end", 500, -E2BIG,
		"data: larger than 500 bytes");
	refused("function make() local t = {} for i = 1, 17 do t = {t, t} end return t end", 0, -E2BIG,
		"data: larger than 65536 bytes");
}

static void depth_is_limited(void **state)
{
	struct transfer t = pack("function make() local t = {} for i = 2, 32 do t = {t} end return t end", 0);
	(void)state;

	assert_int_equal(t.err, 0);
	sh_value_destroy(t.value);
	t = pack("function make() local t = {} for i = 2, 33 do t = {t} end return t end", 0);
	assert_int_equal(t.err, -EINVAL);
	assert_non_null(strstr(t.why, "nested too deep"));
}

static int check_raises(lua_State *L)
{
	lua_newtable(L);
	lua_pushcfunction(L, check_raises);
	lua_setfield(L, -2, "f");
	sh_value_check(L, -1, 1, 0, "args");
	return 0;
}

static void the_raising_form_raises(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	(void)state;

	assert_int_equal(sh_vm_call(vm, check_raises, NULL, 0), -EINVAL);
	assert_error(vm, "args.f: cannot keep a function");
	sh_vm_destroy(vm);
}

static void every_allocation_may_fail(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	bool done = false;
	(void)state;

	vm_must_load(vm, "function make() return {('x'):rep(1000), {1, 2, 3}, a = {b = 'c'}} end\n"
			 "function check(t) assert(t.a.b == 'c' and #t[1] == 1000) end");
	for (long n = 0; !done; n++) {
		struct transfer t = {.err = -ENOMEM};
		int err;

		sh_alloc_fail_after(n);
		err = sh_vm_call(vm, pack_result, &t, 0);
		if (!err)
			err = t.err;
		if (!err)
			err = sh_vm_call(vm, unpack_into_check, &t, 0);
		sh_alloc_fail_after(-1);
		sh_value_destroy(t.value);
		assert_true(err == 0 || err == -ENOMEM);
		done = err == 0;
	}
	assert_null(sh_value_dup(NULL));
	sh_vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(plain_values_arrive_as_they_were),
	    cmocka_unit_test(what_is_not_plain_is_refused_by_its_path),
	    cmocka_unit_test(depth_is_limited),
	    cmocka_unit_test(the_raising_form_raises),
	    cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
