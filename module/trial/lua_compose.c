/* Messages of phones, written from their fields. In C, since every message of every case is. */
#include <stdio.h>

#include "msg/header.h"
#include "script/sandbox.h"
#include "trial/lua.h"

enum { START = 1, FIELDS, HEADERS, BODY, TYPE, KEYS };

static struct sh_slice slice_at(lua_State *L, int idx)
{
	struct sh_slice s = {0};

	s.base = lua_tolstring(L, idx, &s.len);
	return s;
}

static bool same_name(struct sh_slice a, struct sh_slice b)
{
	enum sh_header_id id = sh_header_lookup(a);

	return id == SH_H_OTHER ? sh_slice_ieq(a, b) : id == sh_header_lookup(b);
}

/* The test has a word of its own about that field. */
static bool is_given(lua_State *L, lua_Integer keys, struct sh_slice name)
{
	bool found = false;

	for (lua_Integer i = 1; i <= keys && !found; i++) {
		found = lua_rawgeti(L, KEYS, i) == LUA_TSTRING && same_name(slice_at(L, -1), name);
		lua_pop(L, 1);
	}
	return found;
}

static void put_name(luaL_Buffer *b, struct sh_slice name)
{
	luaL_addlstring(b, "\r\n", 2);
	luaL_addlstring(b, name.base, name.len);
	luaL_addlstring(b, ": ", 2);
}

/* The value on top, popped. */
static void put_value(lua_State *L, luaL_Buffer *b)
{
	sh_sandbox_tolstring(L, -1, NULL);
	lua_remove(L, -2);
	luaL_addvalue(b);
}

static void put_fields(lua_State *L, luaL_Buffer *b, lua_Integer keys)
{
	lua_Integer n = (lua_Integer)lua_rawlen(L, FIELDS);

	for (lua_Integer i = 1; i < n; i += 2) {
		struct sh_slice name;
		bool skip;

		lua_rawgeti(L, FIELDS, i);
		name = slice_at(L, -1);
		lua_pop(L, 1); /* it stays in the table */
		skip = keys && is_given(L, keys, name);
		if (skip)
			continue;
		put_name(b, name);
		lua_rawgeti(L, FIELDS, i + 1);
		put_value(L, b);
	}
}

static void put_headers(lua_State *L, luaL_Buffer *b, lua_Integer keys)
{
	for (lua_Integer i = 1; i <= keys; i++) {
		struct sh_slice name;
		lua_Integer n;
		int type;

		lua_rawgeti(L, KEYS, i);
		name = slice_at(L, -1);
		type = lua_rawget(L, HEADERS);
		if (type == LUA_TTABLE) {
			n = (lua_Integer)lua_rawlen(L, -1);
			lua_pop(L, 1); /* it stays in the table */
			for (lua_Integer k = 1; k <= n; k++) {
				put_name(b, name);
				lua_pushlstring(L, name.base, name.len);
				lua_rawget(L, HEADERS);
				lua_rawgeti(L, -1, k);
				lua_remove(L, -2);
				put_value(L, b);
			}
		} else if (type == LUA_TBOOLEAN && !lua_toboolean(L, -1)) {
			lua_pop(L, 1);
		} else {
			lua_pop(L, 1);
			put_name(b, name);
			lua_pushlstring(L, name.base, name.len);
			lua_rawget(L, HEADERS);
			put_value(L, b);
		}
	}
}

/* compose(start, fields, headers, body, content_type) -> text. start: the first line. fields: {name, value, name, value, ...}. headers:
 * {Name = "value" | {"v1", "v2"} | false}: instead of ours, or (false) without it. */
static int compose(lua_State *L)
{
	lua_Integer keys = 0;
	struct sh_slice body;
	luaL_Buffer b;
	char length[32];
	int n;

	lua_settop(L, TYPE);
	luaL_checkstring(L, START);
	luaL_checktype(L, FIELDS, LUA_TTABLE);
	if (lua_istable(L, HEADERS))
		keys = sh_sandbox_keys(L, HEADERS);
	else
		lua_pushnil(L);
	for (lua_Integer i = 1; i <= keys; i++) {
		if (lua_rawgeti(L, KEYS, i) != LUA_TSTRING)
			return luaL_error(L, "headers: names of header fields expected, got a %s", luaL_typename(L, -1));
		lua_pop(L, 1);
	}
	body = lua_isnil(L, BODY) ? SH_LIT("") : slice_at(L, BODY);
	luaL_buffinit(L, &b);
	lua_pushvalue(L, START);
	luaL_addvalue(&b);
	put_fields(L, &b, keys);
	put_headers(L, &b, keys);
	if (body.len && lua_isstring(L, TYPE) && !is_given(L, keys, SH_LIT("Content-Type"))) {
		put_name(&b, SH_LIT("Content-Type"));
		lua_pushvalue(L, TYPE);
		luaL_addvalue(&b);
	}
	if (!is_given(L, keys, SH_LIT("Content-Length"))) {
		n = snprintf(length, sizeof(length), "\r\nContent-Length: %zu", body.len);
		luaL_addlstring(&b, length, (size_t)n);
	}
	luaL_addlstring(&b, "\r\n\r\n", 4);
	luaL_addlstring(&b, body.base, body.len);
	luaL_pushresult(&b);
	return 1;
}

void sh_trial_compose_open(lua_State *L)
{
	lua_pushcfunction(L, compose);
	lua_setfield(L, -2, "compose");
}
