/* sip.acl: what the top level says about who may use the server. Worker 0's declarations stand in the generation; each worker
 * makes them true when it takes the generation up. */
#include "script/impl.h"

enum { ENTRIES_MAX = 10000, EMERGENCY_MAX = 100 };

/* A list of prefixes under that key, in the arena; false: the key is not there. Every worker checks, the first keeps. */
static bool read_prefixes(lua_State *L, const char *key, struct sh_prefix **list, unsigned *count)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_prefix *out = NULL;
	lua_Integer n;

	if (sh_opt_get(L, 1, key) == LUA_TNIL) {
		lua_pop(L, 1);
		return false;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "sip.acl: option '%s': a list expected, got %s", key, luaL_typename(L, -1));
	n = luaL_len(L, -1);
	if (n > ENTRIES_MAX)
		luaL_error(L, "sip.acl: option '%s': at most %d addresses", key, ENTRIES_MAX);
	if (s->worker == 0) {
		out = sh_arena_calloc(&s->generation->arena, (size_t)n + 1, sizeof(*out));
		if (!out)
			luaL_error(L, "not enough memory");
	}
	for (lua_Integer i = 1; i <= n; i++) {
		struct sh_slice text = {0};
		struct sh_prefix p;

		if (lua_geti(L, -1, i) == LUA_TSTRING)
			text.base = lua_tolstring(L, -1, &text.len);
		if (!text.base || sh_prefix_parse(&p, text) < 0)
			luaL_error(L, "sip.acl: option '%s': entry %I is no address or address/bits", key, (LUAI_UACINT)i);
		if (out)
			out[i - 1] = p;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	*list = out;
	*count = (unsigned)n;
	return true;
}

static void read_emergency(lua_State *L, struct sh_generation *g, bool keeps)
{
	struct sh_slice *out;
	lua_Integer n;

	if (sh_opt_get(L, 1, "emergency") == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "sip.acl: option 'emergency': a list expected, got %s", luaL_typename(L, -1));
	n = luaL_len(L, -1);
	if (n > EMERGENCY_MAX)
		luaL_error(L, "sip.acl: option 'emergency': at most %d numbers", EMERGENCY_MAX);
	out = keeps ? sh_arena_calloc(&g->arena, (size_t)n + 1, sizeof(*out)) : NULL;
	if (keeps && !out)
		luaL_error(L, "not enough memory");
	for (lua_Integer i = 1; i <= n; i++) {
		struct sh_slice text = {0};

		if (lua_geti(L, -1, i) == LUA_TSTRING)
			text.base = lua_tolstring(L, -1, &text.len);
		if (!text.len)
			luaL_error(L, "sip.acl: option 'emergency': entry %I is no number", (LUAI_UACINT)i);
		if (out)
			out[i - 1] = sh_generation_keep(L, g, text);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	if (out) {
		g->door.emergency = out;
		g->door.emergency_count = (unsigned)n;
	}
}

static void read_numbers(lua_State *L, struct sh_door *d)
{
	d->rate = (uint32_t)sh_opt_integer(L, 1, "rate", d->rate, 0, 1000000);
	d->burst = (uint32_t)sh_opt_integer(L, 1, "burst", d->burst, 1, 1000000);
	d->max_failures = (unsigned)sh_opt_integer(L, 1, "max_failures", d->max_failures, 0, 1000000);
	d->failure_window = sh_opt_seconds(L, 1, "failure_window", d->failure_window);
	d->ban_time = sh_opt_seconds(L, 1, "ban_time", d->ban_time);
	d->max_connections = (unsigned)sh_opt_integer(L, 1, "max_connections", d->max_connections, 1, 1000000);
	d->max_handshakes = (unsigned)sh_opt_integer(L, 1, "max_handshakes", d->max_handshakes, 1, 1000000);
}

/* Both lists in one table, by the length of their prefixes. */
static void make_rules(lua_State *L, struct sh_generation *g)
{
	unsigned n = g->nallow + g->ndeny;
	struct sh_door_rule *rules = sh_arena_calloc(&g->arena, n + 1, sizeof(*rules));

	if (!rules)
		luaL_error(L, "not enough memory");
	for (unsigned i = 0; i < n; i++)
		rules[i] = i < g->nallow ? (struct sh_door_rule){g->allow[i], true}
					 : (struct sh_door_rule){g->deny[i - g->nallow], false};
	sh_door_sort(rules, n);
	g->door.rules = rules;
	g->door.rule_count = n;
	g->door.closed = g->allow != NULL;
}

const char *const sh_options_acl[] = {"allow", "deny", "trust", "rate", "burst", "max_failures", "failure_window", "ban_time",
				      "emergency", "max_connections", "max_handshakes", NULL};

/* sip.acl{allow={"10.0.0.0/8"}, deny=, trust=, rate=, burst=, max_failures=, failure_window=, ban_time=, emergency=, max_connections=,
 * max_handshakes=}; a key that is
 * named again takes the place of what it was. */
int sh_acl(lua_State *L)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_generation *g = s->generation;
	struct sh_door other = {0}, *d = s->worker == 0 ? &g->door : &other;
	struct sh_prefix *list;
	unsigned count;

	sh_check_loading(L, "sip.acl");
	luaL_checktype(L, 1, LUA_TTABLE);
	sh_opt_known(L, 1, "sip.acl", sh_options_acl);
	if (read_prefixes(L, "allow", &list, &count) && list) {
		g->allow = list;
		g->nallow = count;
	}
	if (read_prefixes(L, "deny", &list, &count) && list) {
		g->deny = list;
		g->ndeny = count;
	}
	if (read_prefixes(L, "trust", &list, &count) && list) {
		g->trust = list;
		g->ntrust = count;
	}
	read_emergency(L, g, s->worker == 0);
	if (!d->failure_window)
		d->failure_window = 60 * SH_SECOND;
	if (!d->ban_time)
		d->ban_time = 300 * SH_SECOND;
	read_numbers(L, d);
	if (s->worker != 0)
		return 0;
	make_rules(L, g);
	d->trust = g->trust;
	d->trust_count = g->ntrust;
	if (d->rate && !d->burst)
		d->burst = 2 * d->rate;
	g->has_door = d->rule_count > 0 || d->closed || d->rate || d->max_failures || d->emergency_count || d->max_connections ||
		      d->max_handshakes;
	return 0;
}
