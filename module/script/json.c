#include "script/json.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/encode.h"
#include "script/impl.h"
#include "script/json_impl.h"

enum { BYTES_PER_STEP = 4, STEPS_PER_VALUE = 12, STEPS_PER_FLOAT = 64, STEPS_PER_KEY = 64, ROOM = 1024 };

const char sh_json_null;

/* ---- encode ---- */

/* The text so far, in a userdata at index 3 of the stack that is replaced by a larger one: a luaL_Buffer would not stand other values above
 * it. */
struct output {
	lua_State *L;
	char *text;
	size_t len, room;
	lua_Integer indent;
	uint64_t steps;
};

/* Where the next n bytes go. */
static char *make_room(struct output *o, size_t n)
{
	if (n > o->room - o->len) {
		size_t room = 2 * (o->len + n) + ROOM;
		char *text = lua_newuserdatauv(o->L, room, 0);

		if (o->len)
			memcpy(text, o->text, o->len);
		o->text = text;
		o->room = room;
		lua_replace(o->L, 3);
	}
	return o->text + o->len;
}

static void put_text(struct output *o, const char *s, size_t n)
{
	memcpy(make_room(o, n), s, n);
	o->len += n;
}

static void put_string(struct output *o, int idx)
{
	struct sh_slice s;
	char *to;
	size_t n;

	s.base = lua_tolstring(o->L, idx, &s.len);
	sh_vm_charge_call(o->L, &o->steps, s.len / BYTES_PER_STEP);
	to = make_room(o, SH_JSON_ROOM * s.len + 2);
	to[0] = '"';
	n = 1 + sh_json_escape(s, true, to + 1);
	to[n] = '"';
	o->len += n + 1;
}

static void put_number(struct output *o, int idx)
{
	char text[64];
	double d;
	int n;

	if (lua_isinteger(o->L, idx)) {
		n = snprintf(text, sizeof(text), "%lld", (long long)lua_tointeger(o->L, idx));
	} else {
		sh_vm_charge_call(o->L, &o->steps, STEPS_PER_FLOAT);
		d = lua_tonumber(o->L, idx);
		if (isnan(d) || isinf(d))
			luaL_error(o->L, "sip.json.encode: JSON has no number for %s", isnan(d) ? "nan" : "inf");
		n = snprintf(text, sizeof(text), "%.15g", d);
		if (strtod(text, NULL) != d)
			n = snprintf(text, sizeof(text), "%.17g", d);
		if (strspn(text, "-0123456789") == (size_t)n && n < 40) /* a float stays one */
			n += snprintf(text + n, sizeof(text) - (size_t)n, ".0");
		for (int i = 0; i < n; i++)
			if (!strchr("0123456789+-e", text[i]))
				text[i] = '.'; /* the host's locale may have another one */
	}
	put_text(o, text, (size_t)n);
}

static void put_break(struct output *o, unsigned depth)
{
	static const char spaces[] = "\n                                                                ";
	size_t n = (size_t)o->indent * depth;

	if (o->indent)
		put_text(o, spaces, 1 + (n < sizeof(spaces) - 2 ? n : sizeof(spaces) - 2));
}

static void put_value(struct output *o, int idx, unsigned depth);

/* A list is a table with the keys 1 to n and no others; an empty table is an object. */
static bool is_list(struct output *o, int idx, lua_Integer *n)
{
	lua_State *L = o->L;
	lua_Integer count = 0;

	*n = (lua_Integer)lua_rawlen(L, idx);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		lua_pop(L, 1);
		count++;
		sh_vm_charge_call(L, &o->steps, 1);
		if (!lua_isinteger(L, -1) || lua_tointeger(L, -1) < 1 || lua_tointeger(L, -1) > *n) {
			lua_pop(L, 1);
			return false;
		}
	}
	return *n > 0 && count == *n;
}

static void put_list(struct output *o, int idx, lua_Integer n, unsigned depth)
{
	put_text(o, "[", 1);
	for (lua_Integer i = 1; i <= n; i++) {
		if (i > 1)
			put_text(o, ",", 1);
		put_break(o, depth + 1);
		lua_rawgeti(o->L, idx, i);
		put_value(o, lua_gettop(o->L), depth + 1);
		lua_pop(o->L, 1);
	}
	put_break(o, depth);
	put_text(o, "]", 1);
}

static void put_object(struct output *o, int idx, unsigned depth)
{
	lua_State *L = o->L;
	lua_Integer n = sh_sandbox_keys(L, idx); /* sorted: the same value gives the same text */
	int keys = lua_gettop(L);

	put_text(o, "{", 1);
	for (lua_Integer i = 1; i <= n; i++) {
		if (lua_rawgeti(L, keys, i) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
			luaL_error(L, "sip.json.encode: a key of an object is a string, not a %s", luaL_typename(L, -1));
		sh_vm_charge_call(L, &o->steps, STEPS_PER_KEY);
		if (i > 1)
			put_text(o, ",", 1);
		put_break(o, depth + 1);
		luaL_tolstring(L, -1, NULL);
		put_string(o, lua_gettop(L));
		lua_pop(L, 1);
		put_text(o, o->indent ? ": " : ":", o->indent ? 2 : 1);
		lua_rawget(L, idx);
		put_value(o, lua_gettop(L), depth + 1);
		lua_pop(L, 1);
	}
	if (n > 0)
		put_break(o, depth);
	put_text(o, "}", 1);
	lua_pop(L, 1);
}

static void put_value(struct output *o, int idx, unsigned depth)
{
	lua_State *L = o->L;
	lua_Integer n;

	luaL_checkstack(L, 8, "JSON");
	sh_vm_charge_call(L, &o->steps, STEPS_PER_VALUE);
	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		put_text(o, "null", 4);
		break;
	case LUA_TBOOLEAN:
		put_text(o, lua_toboolean(L, idx) ? "true" : "false", lua_toboolean(L, idx) ? 4 : 5);
		break;
	case LUA_TNUMBER:
		put_number(o, idx);
		break;
	case LUA_TSTRING:
		put_string(o, idx);
		break;
	case LUA_TTABLE:
		if (depth == SH_JSON_DEPTH)
			luaL_error(L, "sip.json.encode: deeper than %d, or a table that contains itself", SH_JSON_DEPTH);
		if (is_list(o, idx, &n))
			put_list(o, idx, n, depth);
		else
			put_object(o, idx, depth);
		break;
	case LUA_TLIGHTUSERDATA:
		if (lua_touserdata(L, idx) == &sh_json_null) {
			put_text(o, "null", 4);
			break;
		}
		/* fall through */
	default: /* a URI object is its text */
		if (luaL_getmetafield(L, idx, "__tostring") == LUA_TNIL)
			luaL_error(L, "sip.json.encode: a %s has no form in JSON", luaL_typename(L, idx));
		lua_pop(L, 1);
		luaL_tolstring(L, idx, NULL);
		put_string(o, lua_gettop(L));
		lua_pop(L, 1);
	}
}

const char *const sh_options_json[] = {"indent", NULL};

/* sip.json.encode(value [, {indent=}]) */
static int encode(lua_State *L)
{
	struct output o = {.L = L};

	luaL_checkany(L, 1);
	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		sh_opt_known(L, 2, "sip.json.encode", sh_options_json);
		o.indent = sh_opt_integer(L, 2, "indent", 0, 0, 8);
	}
	lua_pushnil(L);
	put_value(&o, 1, 0);
	lua_pushlstring(L, o.text, o.len);
	return 1;
}

void sh_json_lua_open(lua_State *L, size_t longest)
{
	static const luaL_Reg functions[] = {{"encode", encode}, {NULL, NULL}};

	luaL_newlib(L, functions);
	lua_pushinteger(L, (lua_Integer)longest);
	lua_pushcclosure(L, sh_json_decode, 1);
	lua_setfield(L, -2, "decode");
	lua_pushlightuserdata(L, (void *)&sh_json_null);
	lua_setfield(L, -2, "null");
	lua_setfield(L, -2, "json");
}
