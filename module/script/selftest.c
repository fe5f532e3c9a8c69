/* sip.selftest(fn): functions that try the dial plan out before a reload commits. They are kept here; trial/ runs them, each in a
 * load of its own on the virtual network. */
#include "script/impl.h"

static const char list_name[] = "siphook.selftests";

enum { SELFTESTS_MAX = 1000 };

int sh_selftest_verb(lua_State *L)
{
	struct sh_state *s = sh_state_of(L);

	luaL_checktype(L, 1, LUA_TFUNCTION);
	if (sh_vm_of(L)->sealed)
		return luaL_error(L, "sip.selftest is for the top level of the script");
	if (s->nselftests == SELFTESTS_MAX)
		return luaL_error(L, "sip.selftest: at most %d", SELFTESTS_MAX);
	luaL_getsubtable(L, LUA_REGISTRYINDEX, list_name);
	lua_pushvalue(L, 1);
	lua_rawseti(L, -2, (lua_Integer)s->nselftests + 1);
	s->nselftests++;
	return 0;
}

unsigned sh_generation_selftests(const struct sh_generation *g)
{
	return g->states[0].nselftests;
}

struct call {
	lua_CFunction fn;
	void *arg;
	unsigned selftest;
};

static int call_with_selftest(lua_State *L)
{
	const struct call *c = lua_touserdata(L, 1);

	lua_pushcfunction(L, c->fn);
	lua_pushlightuserdata(L, c->arg);
	luaL_getsubtable(L, LUA_REGISTRYINDEX, list_name);
	lua_rawgeti(L, -1, (lua_Integer)c->selftest + 1);
	lua_remove(L, -2);
	lua_call(L, 2, 0);
	return 0;
}

int sh_generation_selftest(struct sh_generation *g, unsigned i, lua_CFunction fn, void *arg, uint64_t budget, char *error,
			   size_t size)
{
	struct sh_state *s = &g->states[0];
	struct call c = {fn, arg, i};
	int err = sh_vm_call(s->vm, call_with_selftest, &c, budget);

	if (err && size)
		snprintf(error, size, "%.*s", SH_FMT(sh_vm_error(s->vm)));
	return err;
}
