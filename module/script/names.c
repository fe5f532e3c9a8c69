/* What a script can name: the globals, the table siphook and the methods and fields of its objects, as the runtime has registered
 * them. For the test that compares them with the editor's stubs, the manual and the contract. */
#include "script/impl.h"

enum { DEPTH_MAX = 2 };

/* Whose options are where: a verb, or what is an option itself. A verb that stands here twice has both. */
static const struct {
	const char *owner;
	const char *const *names;
} option_sets[] = {
    {"request:reply", sh_options_message},      {"request:pass", sh_options_message},
    {"request:relay", sh_options_relay},        {"call:reply", sh_options_message},
    {"call:pass", sh_options_message},          {"message:auth", sh_options_auth},
    {"message:challenge", sh_options_auth},     {"message:register", sh_options_register},
    {"message:publish", sh_options_publish},    {"call:ring", sh_options_ring},
    {"call:reject", sh_options_reject},         {"call:redirect", sh_options_redirect},
    {"call:fork", sh_options_fork},             {"call:dial", sh_options_fork},
    {"call:relay", sh_options_fork},            {"call:bridge", sh_options_bridge},
    {"call:answer", sh_options_answer},         {"call:hangup", sh_options_hangup},
    {"call:transfer", sh_options_transfer},     {"call:transfer", sh_options_fork},
    {"snapshot:hangup", sh_options_hangup},     {"snapshot:transfer", sh_options_transfer},
    {"snapshot:transfer", sh_options_fork},
    {"refer:accept", sh_options_accept},        {"refer:accept", sh_options_fork},
    {"subscription:accept", sh_options_subscribe}, {"sip.lookup", sh_options_lookup},
    {"sip.listen", sh_options_listen},          {"sip.acl", sh_options_acl},
    {"sip.every", sh_options_every},            {"sip.shared", sh_options_store},
    {"sip.request", sh_options_request},        {"sip.originate", sh_options_originate},
    {"sip.trunk", sh_options_trunk},            {"sip.uri", sh_options_uri},
    {"uri:with", sh_options_uri},               {"http.get", sh_options_http},
    {"http.post", sh_options_http},             {"http.request", sh_options_http_request},
    {"json.encode", sh_options_json},           {"store:set", sh_options_ttl},
    {"store:add", sh_options_ttl},              {"store:incr", sh_options_ttl},
    {"store:push", sh_options_ttl},             {"siphook.target", sh_options_entry},
    {"siphook.redirect", sh_options_redirect_entry}, {"siphook.login", sh_options_login},
    {"siphook.listen_tls", sh_options_listen_tls}, {"siphook.dialog_ids", sh_options_replaces},
    {"siphook.trunk_register", sh_options_trunk_register},
};
enum { OPTION_SETS = sizeof(option_sets) / sizeof(option_sets[0]) };

bool sh_options_listed(const char *const *names)
{
	for (unsigned i = 0; i < OPTION_SETS; i++)
		if (option_sets[i].names == names)
			return true;
	return false;
}

static const char waiting_key; /* its address: the table of the functions that may wait */

void sh_waits_declare(lua_State *L)
{
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &waiting_key) != LUA_TTABLE) {
		lua_pop(L, 1);
		lua_createtable(L, 0, 32);
		lua_pushvalue(L, -1);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &waiting_key);
	}
	lua_pushvalue(L, -2);
	lua_pushboolean(L, 1);
	lua_rawset(L, -3);
	lua_pop(L, 1);
}

void sh_waits_declare_all(lua_State *L, const lua_CFunction *verbs)
{
	for (; *verbs; verbs++) {
		lua_pushcfunction(L, *verbs);
		sh_waits_declare(L);
		lua_pop(L, 1);
	}
}

bool sh_waits(lua_State *L, int idx)
{
	bool found;

	lua_pushvalue(L, idx);
	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &waiting_key) == LUA_TTABLE) {
		lua_insert(L, -2);
		lua_rawget(L, -2);
	}
	found = lua_toboolean(L, -1) && lua_type(L, -1) == LUA_TBOOLEAN;
	lua_pop(L, 2);
	return found;
}

struct listing {
	sh_script_name_fn fn;
	void *ctx;
};

static void tell_table(lua_State *L, const struct listing *l, const char *owner, int depth);

/* The key at -2, the value at -1. */
static void tell_entry(lua_State *L, const struct listing *l, const char *owner, int depth)
{
	const char *name = lua_tostring(L, -2);
	bool open = strcmp(name, "config") == 0 || strcmp(name, "timer") == 0; /* what hosts and scripts fill in */

	l->fn(l->ctx, owner, name,
	      lua_type(L, -1) != LUA_TFUNCTION ? SH_NAME_FIELD : sh_waits(L, -1) ? SH_NAME_WAITS : SH_NAME_FUNCTION);
	if (lua_type(L, -1) == LUA_TTABLE && depth < DEPTH_MAX && !open)
		tell_table(L, l, name, depth + 1);
}

/* The table on top; behind a guard (sip.on) the table that it guards. */
static void tell_table(lua_State *L, const struct listing *l, const char *owner, int depth)
{
	luaL_checkstack(L, 8, NULL);
	if (lua_getmetatable(L, -1)) {
		lua_pushliteral(L, "__index");
		if (lua_rawget(L, -2) == LUA_TTABLE)
			tell_table(L, l, owner, depth);
		lua_pop(L, 2);
	}
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_type(L, -2) == LUA_TSTRING)
			tell_entry(L, l, owner, depth);
		lua_pop(L, 1);
	}
}

/* The class on top, a metatable: names are in the table __index, or in the first upvalue of the function __index. */
static void tell_class(lua_State *L, const struct listing *l, const char *owner)
{
	int top = lua_gettop(L);

	lua_pushliteral(L, "__index");
	if (lua_rawget(L, -2) == LUA_TFUNCTION && !lua_getupvalue(L, -1, 1))
		lua_pushnil(L);
	if (lua_type(L, -1) == LUA_TTABLE)
		tell_table(L, l, owner, DEPTH_MAX);
	lua_settop(L, top);
}

static int list(lua_State *L)
{
	const struct listing *l = lua_touserdata(L, 1);

	luaL_checkstack(L, 20, NULL);
	lua_pushglobaltable(L);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		if (lua_type(L, -2) == LUA_TSTRING)
			tell_entry(L, l, "_G", lua_rawequal(L, -1, -3) ? DEPTH_MAX : DEPTH_MAX - 1); /* _G._G is the same */
		lua_pop(L, 1);
	}
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_getfield(L, -1, "siphook");
	tell_table(L, l, "siphook", 0);
	lua_settop(L, 1);
	lua_pushvalue(L, LUA_REGISTRYINDEX);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";

		if (lua_type(L, -1) == LUA_TTABLE && (strncmp(name, "siphook.", 8) == 0 || strncmp(name, "sip.", 4) == 0))
			tell_class(L, l, strchr(name, '.') + 1);
		lua_pop(L, 1);
	}
	return 0;
}

int sh_generation_names(struct sh_generation *g, sh_script_name_fn fn, void *ctx)
{
	struct listing l = {fn, ctx};

	for (unsigned i = 0; i < OPTION_SETS; i++)
		for (const char *const *name = option_sets[i].names; *name; name++)
			fn(ctx, option_sets[i].owner, *name, SH_NAME_OPTION);
	return sh_vm_call(g->states[0].vm, list, &l, 0);
}

unsigned sh_generation_hooks(const struct sh_generation *g, const char **names, unsigned room)
{
	unsigned n = 0;

	for (int i = 0; i < SH_HOOK_COUNT && n < room; i++)
		if (g->states[0].hooks[i] != LUA_NOREF)
			names[n++] = sh_hook_names[i];
	return n;
}

struct timers {
	int ref;
	const char **names;
	unsigned room, count;
};

static int list_timers(lua_State *L)
{
	struct timers *t = lua_touserdata(L, 1);

	lua_rawgeti(L, LUA_REGISTRYINDEX, t->ref);
	lua_pushnil(L);
	while (t->count < t->room && lua_next(L, -2)) {
		if (lua_type(L, -2) == LUA_TSTRING)
			t->names[t->count++] = lua_tostring(L, -2); /* the table keeps it */
		lua_pop(L, 1);
	}
	return 0;
}

unsigned sh_generation_timers(struct sh_generation *g, const char **names, unsigned room)
{
	struct timers t = {g->states[0].timers, names, room, 0};

	return sh_vm_call(g->states[0].vm, list_timers, &t, 0) < 0 ? 0 : t.count;
}
