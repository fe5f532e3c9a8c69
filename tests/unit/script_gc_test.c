/* The longest pause of the collector with ten thousand hooks in progress. It is the atomic step, in which Lua 5.4 looks through
 * the stack of every living coroutine: 0.4 to 0.7 us for each, by the machine. The aim is 5 ms; the test fails where it is
 * twice that. */
#include "script_helpers.h"

#include <time.h>
#include <unistd.h>

enum { LIVE = 10000, EVENTS = 30000, TRIES = 4 };
#define AIM_US     5000
#define LONGEST_US 10000

static uint64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static int waits(lua_State *L, int status, lua_KContext ctx)
{
	(void)status;
	(void)ctx;
	return lua_gettop(L) - 1;
}

/* A hook of the usual size: a few tables and texts, three waits. */
static int wait_once(lua_State *L)
{
	return sh_vm_wait(L, 0, waits);
}

static int make_hook(lua_State *L)
{
	static const char text[] = "local wait = ...\n"
				   "return function(n)\n"
				   "  local req = {uri = 'sip:' .. n .. '@example.org', from = {user = 'u' .. n, host = 'example.org'}, "
				   "headers = {['X-A'] = 'a' .. n, Via = {'v1' .. n, 'v2'}}}\n"
				   "  local targets = {}\n"
				   "  for i = 1, 3 do targets[i] = {uri = req.uri .. i, q = i / 3} end\n"
				   "  for i = 1, 3 do wait() end\n"
				   "  return req.from.user .. #targets\n"
				   "end\n";
	int *ref = lua_touserdata(L, 1);

	if (luaL_loadbufferx(L, text, sizeof(text) - 1, "=hook", "t") != LUA_OK)
		return lua_error(L);
	lua_pushcfunction(L, wait_once);
	lua_call(L, 1, 1);
	*ref = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

struct start {
	int ref, n;
};

static int push_hook(lua_State *L, void *arg)
{
	const struct start *s = arg;

	lua_rawgeti(L, LUA_REGISTRYINDEX, s->ref);
	lua_pushinteger(L, s->n);
	return 2;
}

static int push_nothing(lua_State *L, void *arg)
{
	(void)L;
	(void)arg;
	return 0;
}

static struct sh_coroutine *live[LIVE];

/* The longest of the events: each ends one hook and begins another. */
static uint64_t longest_event(struct sh_vm *vm, int ref)
{
	uint64_t longest = 0;

	for (int i = 0; i < EVENTS; i++) {
		unsigned at = (unsigned)i * 7919 % LIVE;
		struct start s = {ref, i};
		uint64_t begin = cpu_us(), took;

		while (sh_vm_resume(live[at], push_nothing, NULL) == SH_VM_WAITS)
			;
		assert_int_equal(sh_vm_start(vm, &live[at], NULL, push_hook, &s), SH_VM_WAITS);
		took = cpu_us() - begin;
		longest = took > longest ? took : longest;
	}
	return longest;
}

static void no_pause_is_much_longer_than_five_milliseconds(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm;
	uint64_t best = UINT64_MAX;
	double load = 0;
	int ref = LUA_NOREF;

	(void)state;
	assert_int_equal(sh_vm_create(&vm, &config), 0);
	assert_int_equal(sh_vm_call(vm, make_hook, &ref, 0), 0);
	for (int i = 0; i < LIVE; i++) {
		struct start s = {ref, i};

		assert_int_equal(sh_vm_start(vm, &live[i], NULL, push_hook, &s), SH_VM_WAITS);
	}
	/* The machine has other things to do: the best of some tries is ours. */
	for (int i = 0; i < TRIES && best > AIM_US; i++) {
		uint64_t longest = longest_event(vm, ref);

		best = longest < best ? longest : best;
	}
	(void)load;
	print_message("longest pause with %d hooks in progress: %llu us\n", LIVE, (unsigned long long)best);
	/* On a machine with more to do than processors the caches are somebody else's: then it is only told. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
	if (getloadavg(&load, 1) == 1 && load <= (double)sysconf(_SC_NPROCESSORS_ONLN))
		assert_true(best <= LONGEST_US);
#endif
	sh_vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_pause_is_much_longer_than_five_milliseconds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
