/* The table that require "siphook" gives. */
#include "core/nearest.h"
#include "script/calls.h"
#include "script/codec.h"
#include "script/http.h"
#include "script/impl.h"
#include "script/json.h"
#include "script/metric.h"
#include "script/runtime_log.h"
#include "script/sdp_object.h"
#include "script/shared.h"
#include "script/uri_object.h"

/* ------------------------------------------------------------------ sip.on */

static int set_hook(lua_State *L)
{
	struct sh_state *s = sh_state_of(L);
	int hook = (int)lua_tointeger(L, lua_upvalueindex(1));

	luaL_checktype(L, 1, LUA_TFUNCTION);
	if (sh_vm_of(L)->sealed)
		return luaL_error(L, "sip.on.%s: hooks are set while the script loads", sh_hook_names[hook]);
	if (s->hooks[hook] != LUA_NOREF)
		return luaL_error(L, "sip.on.%s: there is one already", sh_hook_names[hook]);
	lua_settop(L, 1);
	s->hooks[hook] = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

static int no_hook(lua_State *L)
{
	const char *name = luaL_tolstring(L, 2, NULL), *near = sh_nearest(name, sh_hook_names);

	if (near)
		return luaL_error(L, "sip.on.%s: no such hook (did you mean '%s'?)", name, near);
	return luaL_error(L, "sip.on.%s: no such hook", name);
}

static int read_only(lua_State *L)
{
	const char *table = lua_tostring(L, lua_upvalueindex(1));

	if (strcmp(table, "sip.on") == 0 && lua_type(L, 2) == LUA_TSTRING)
		return luaL_error(L, "sip.on is read-only: write sip.on.%s(function)", lua_tostring(L, 2));
	return luaL_error(L, "%s is read-only", table);
}

/* pairs(guard): upvalues pairs, contents. */
static int pairs_of(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_pushvalue(L, lua_upvalueindex(2));
	lua_call(L, 1, 3);
	return 3;
}

/* Pops a table; pushes an empty one behind which it stands: reads go there, unknown names to `missing`. */
static void guard(lua_State *L, const char *name, lua_CFunction missing)
{
	lua_getglobal(L, "pairs");
	lua_insert(L, -2);
	if (missing) { /* the contents' own metatable says what a name that is not there means */
		lua_createtable(L, 0, 1);
		lua_pushcfunction(L, missing);
		lua_setfield(L, -2, "__index");
		lua_setmetatable(L, -2);
	}
	lua_newtable(L);
	lua_createtable(L, 0, 3);
	lua_pushvalue(L, -3);
	lua_setfield(L, -2, "__index");
	lua_pushstring(L, name);
	lua_pushcclosure(L, read_only, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_pushvalue(L, -4);
	lua_pushvalue(L, -4);
	lua_pushcclosure(L, pairs_of, 2);
	lua_setfield(L, -2, "__pairs");
	lua_setmetatable(L, -2);
	lua_replace(L, -3); /* stack: pairs, contents, guard */
	lua_pop(L, 1);
}

static void open_on(lua_State *L)
{
	lua_createtable(L, 0, SH_HOOK_COUNT);
	for (int i = 0; i < SH_HOOK_COUNT; i++) {
		lua_pushinteger(L, i);
		lua_pushcclosure(L, set_hook, 1);
		lua_setfield(L, -2, sh_hook_names[i]);
	}
	guard(L, "sip.on", no_hook);
	lua_setfield(L, -2, "on");
}

/* ------------------------------------------------------------------ declarations of the top level */

void sh_check_loading(lua_State *L, const char *what)
{
	if (sh_vm_of(L)->sealed)
		luaL_error(L, "%s is for the top level of the script", what);
}

/* sip.domains{"example.org", ...} */
static int domains(lua_State *L)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_generation *g = s->generation;
	lua_Integer n;

	sh_check_loading(L, "sip.domains");
	luaL_checktype(L, 1, LUA_TTABLE);
	n = luaL_len(L, 1);
	if (n > 1000)
		luaL_argerror(L, 1, "at most 1000 domains");
	if (s->worker == 0) {
		g->domains = sh_arena_calloc(&g->arena, (size_t)n + 1, sizeof(*g->domains));
		g->ndomains = 0;
		if (!g->domains)
			return luaL_error(L, "not enough memory");
	}
	for (lua_Integer i = 1; i <= n; i++) {
		struct sh_slice name, copy;
		const char *p;

		if (lua_geti(L, 1, i) != LUA_TSTRING)
			return luaL_error(L, "sip.domains: entry %I: string expected, got %s", (LUAI_UACINT)i,
					  luaL_typename(L, -1));
		name.base = lua_tolstring(L, -1, &name.len);
		for (p = name.base; p < name.base + name.len; p++)
			if (strchr(" \t\r\n;,@<>\"/?", *p))
				return luaL_error(L, "sip.domains: '%s' is no host name", name.base);
		if (!name.len)
			return luaL_error(L, "sip.domains: an empty name");
		if (s->worker == 0) {
			if (sh_arena_dup(&g->arena, name, &copy) < 0)
				return luaL_error(L, "not enough memory");
			for (size_t k = 0; k < copy.len; k++)
				((char *)copy.base)[k] = sh_lower(copy.base[k]);
			g->domains[g->ndomains++] = copy;
		}
		lua_pop(L, 1);
	}
	return 0;
}

/* ------------------------------------------------------------------ time */

static int now(lua_State *L)
{
	const struct sh_vm_world *w = &sh_vm_of(L)->world;

	lua_pushnumber(L, (double)w->now(w->ctx) / 1e6);
	return 1;
}

static int push_nothing(lua_State *L, void *arg)
{
	(void)L;
	(void)arg;
	return 0;
}

static void on_sleep_over(struct sh_timer *t)
{
	sh_run_resume(SH_CONTAINER(t, struct sh_run, timer), push_nothing, NULL);
}

static int sleep_(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.sleep");
	struct sh_run *r = sh_run_check(L, "sip.sleep");
	lua_Number seconds = luaL_checknumber(L, 1);

	if (!(seconds >= 0 && seconds <= 1e9))
		return luaL_argerror(L, 1, "seconds from 0 to 1e9 expected");
	sh_vm_check_wait(L, "sip.sleep");
	r->timer.fire = on_sleep_over;
	sh_env_timer(rt->env, &r->timer, (uint64_t)(seconds * 1e6));
	return sh_run_wait(L, r, SH_WAIT_TIMER);
}

/* ------------------------------------------------------------------ errors that mean something */

static int error_text(lua_State *L)
{
	lua_pushvalue(L, lua_upvalueindex(1));
	return 1;
}

/* An object that is raised and known by its address. */
static int make_error(lua_State *L, const char *text, const void **pointer)
{
	lua_newtable(L);
	lua_createtable(L, 0, 2);
	lua_pushstring(L, text);
	lua_pushcclosure(L, error_text, 1);
	lua_setfield(L, -2, "__tostring");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	*pointer = lua_topointer(L, -1);
	return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int is_retired(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_pushboolean(L, lua_topointer(L, 1) == sh_state_of(L)->retired_pointer);
	return 1;
}

static int is_cancel(lua_State *L)
{
	luaL_checkany(L, 1);
	lua_pushboolean(L, lua_topointer(L, 1) == sh_state_of(L)->cancel_pointer);
	return 1;
}

/* ------------------------------------------------------------------ all of it */

static void open_config(lua_State *L, const struct sh_script *s)
{
	lua_createtable(L, 0, (int)s->config.npairs);
	for (unsigned i = 0; i < s->config.npairs; i++) {
		lua_pushstring(L, s->pairs[i].value);
		lua_setfield(L, -2, s->pairs[i].key);
	}
	guard(L, "sip.config", NULL);
	lua_setfield(L, -2, "config");
}

/* The table siphook itself: a name that a hook sets would be a variable that reloads lose. */
static int set_name(lua_State *L)
{
	if (sh_vm_of(L)->sealed)
		return luaL_error(L, "sip.%s: the table siphook is read-only", luaL_tolstring(L, 2, NULL));
	lua_rawset(L, 1);
	return 0;
}

static int set_timer(lua_State *L)
{
	if (sh_vm_of(L)->sealed)
		return luaL_error(L, "sip.timer.%s: timers are named while the script loads",
				  luaL_tolstring(L, 2, NULL));
	if (lua_type(L, 2) != LUA_TSTRING)
		return luaL_error(L, "sip.timer: names must be strings");
	if (lua_type(L, 3) != LUA_TFUNCTION)
		return luaL_error(L, "sip.timer.%s: function expected, got %s", lua_tostring(L, 2),
				  luaL_typename(L, 3));
	lua_rawset(L, lua_upvalueindex(1));
	return 0;
}

/* sip.timer: an empty table before the one that holds them, so that a hook cannot replace one either. */
static void open_timers(lua_State *L, struct sh_state *s)
{
	lua_newtable(L);
	lua_newtable(L);
	lua_pushvalue(L, -1);
	s->timers = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_createtable(L, 0, 4);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "__index");
	lua_pushvalue(L, -2);
	lua_pushcclosure(L, set_timer, 1);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_getglobal(L, "pairs");
	lua_pushvalue(L, -3);
	lua_pushcclosure(L, pairs_of, 2);
	lua_setfield(L, -2, "__pairs");
	lua_setmetatable(L, -3);
	lua_pop(L, 1);
	lua_setfield(L, -2, "timer");
}

int sh_sip_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
	    {"lookup", sh_lookup}, {"bindings", sh_bindings},
	    {"notify", sh_notify}, {"unbind", sh_unbind}, {"domains", domains},
	    {"acl", sh_acl},       {"listen", sh_listen},  {"now", now},
	    {"sleep", sleep_},     {"is_cancel", is_cancel},
	    {"is_retired", is_retired},
	    {"request", sh_request_verb}, {"originate", sh_originate_verb},
	    {"sdp", sh_sdp_new},   {"selftest", sh_selftest_verb},
	    {NULL, NULL},
	};
	static const lua_CFunction waiting[] = {sleep_, sh_request_verb, sh_originate_verb, NULL};
	struct sh_state *s = sh_state_of(L);

	luaL_checkstack(L, 20, NULL);
	luaL_newlib(L, functions);
	sh_waits_declare_all(L, waiting);
	open_on(L);
	s->cancel_error = make_error(L, "the caller has gone", &s->cancel_pointer);
	s->retired_error = make_error(L, "this generation of the script must go", &s->retired_pointer);
	sh_vm_of(L)->ends_waits[0] = s->cancel_pointer;
	sh_vm_of(L)->ends_waits[1] = s->retired_pointer;
	open_config(L, s->generation->script);
	sh_uri_object_open(L);
	sh_sdp_object_open(L);
	sh_codec_open(L);
	sh_runtime_log_open(L);
	sh_shared_lua_open(L);
	sh_http_lua_open(L);
	sh_metric_open(L);
	sh_json_lua_open(L, SH_JSON_TEXT_MAX);
	sh_deferred_open(L);
	sh_trunk_open(L);
	sh_calls_open(L);
	open_timers(L, s);
	sh_result_open(L);
	sh_lookup_open(L);
	sh_request_object_open(L);
	sh_refer_object_open(L);
	sh_sub_object_open(L);
	sh_call_object_open(L);
	sh_leg_object_open(L);
	if (s->generation->script->config.trace)
		sh_trace_open(L);
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, set_name);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, 0);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	sh_sandbox_preload(L, "siphook");
	return 0;
}
