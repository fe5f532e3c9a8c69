#include "script/json.h"

#include <jansson.h>
#include <lauxlib.h>
#include <math.h>
#include <string.h>

#include "core/encode.h"
#include "script/impl.h"

enum { DEPTH_MAX = 100, BYTES_PER_STEP = 4 };

static const char tree_class[] = "siphook.json_tree";

/* The address of this is sip.json.null. */
static char null_address;

/* ---- decode ---- */

/* Holds jansson's tree while Lua values are made of it, which may raise. */
static int free_tree(lua_State *L)
{
	json_t **tree = lua_touserdata(L, 1);

	json_decref(*tree);
	*tree = NULL;
	return 0;
}

static void push_tree(lua_State *L, const json_t *j, unsigned depth)
{
	const char *key;
	json_t *value;
	size_t i, len;

	luaL_checkstack(L, 4, "JSON");
	sh_vm_charge(L, 1);
	switch (json_typeof(j)) {
	case JSON_OBJECT:
		if (depth == DEPTH_MAX)
			luaL_error(L, "deeper than %d", DEPTH_MAX);
		lua_createtable(L, 0, (int)json_object_size(j));
		json_object_keylen_foreach((json_t *)j, key, len, value)
		{
			if (json_is_null(value))
				continue;
			lua_pushlstring(L, key, len);
			push_tree(L, value, depth + 1);
			lua_rawset(L, -3);
		}
		break;
	case JSON_ARRAY:
		if (depth == DEPTH_MAX)
			luaL_error(L, "deeper than %d", DEPTH_MAX);
		lua_createtable(L, (int)json_array_size(j), 0);
		for (i = 0; i < json_array_size(j); i++) {
			push_tree(L, json_array_get(j, i), depth + 1);
			lua_rawseti(L, -2, (lua_Integer)i + 1);
		}
		break;
	case JSON_STRING:
		lua_pushlstring(L, json_string_value(j), json_string_length(j));
		break;
	case JSON_INTEGER:
		lua_pushinteger(L, json_integer_value(j));
		break;
	case JSON_REAL:
		lua_pushnumber(L, json_real_value(j));
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		lua_pushboolean(L, json_is_true(j));
		break;
	case JSON_NULL:
		lua_pushlightuserdata(L, &null_address);
		break;
	}
}

static int make_values(lua_State *L)
{
	push_tree(L, lua_touserdata(L, 1), 0);
	return 1;
}

/* sip.json.decode(text) */
static int decode(lua_State *L)
{
	struct sh_slice text = sh_sandbox_check_text(L, 1);
	json_t **tree = lua_newuserdatauv(L, sizeof(json_t *), 0);
	json_error_t error;

	*tree = NULL;
	luaL_setmetatable(L, tree_class);
	sh_vm_charge(L, text.len / BYTES_PER_STEP);
	*tree = json_loadb(text.base, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
	if (!*tree) {
		lua_pushnil(L);
		lua_pushliteral(L, "invalid");
		lua_pushfstring(L, "line %d, column %d: %s", error.line, error.column, error.text);
		return 3;
	}
	lua_pushcfunction(L, make_values);
	lua_pushlightuserdata(L, *tree);
	lua_call(L, 1, 1); /* an error leaves the tree to the collector */
	json_decref(*tree);
	*tree = NULL;
	return 1;
}

/* ---- encode ---- */

/* What is written, and where in the value, for complaints. Strings of Lua are collected in a table at index 3 of the
 * stack: a luaL_Buffer would not stand other values above it. */
struct output {
	lua_State *L;
	lua_Integer parts;
	lua_Integer indent;
};

static void put_part(struct output *o) /* the string on top, popped */
{
	lua_rawseti(o->L, 3, ++o->parts);
}

static void put_text(struct output *o, const char *s, size_t n)
{
	lua_pushlstring(o->L, s, n);
	put_part(o);
}

static void put_string(struct output *o, int idx)
{
	struct sh_slice s;
	luaL_Buffer b;
	char *to;
	size_t n;

	s.base = lua_tolstring(o->L, idx, &s.len);
	sh_vm_charge(o->L, s.len / BYTES_PER_STEP + 1);
	if (s.len > PTRDIFF_MAX / (2 * SH_JSON_ROOM))
		luaL_error(o->L, "not enough memory");
	to = luaL_buffinitsize(o->L, &b, SH_JSON_ROOM * s.len + 2);
	to[0] = '"';
	n = 1 + sh_json_escape(s, true, to + 1);
	to[n] = '"';
	luaL_pushresultsize(&b, n + 1);
	put_part(o);
}

static void put_number(struct output *o, int idx)
{
	char text[64];
	double d;
	int n;

	if (lua_isinteger(o->L, idx)) {
		n = snprintf(text, sizeof(text), "%lld", (long long)lua_tointeger(o->L, idx));
	} else {
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
static bool is_list(lua_State *L, int idx, lua_Integer *n)
{
	lua_Integer count = 0;

	*n = (lua_Integer)lua_rawlen(L, idx);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		lua_pop(L, 1);
		count++;
		sh_vm_charge(L, 1);
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
		if (depth == DEPTH_MAX)
			luaL_error(L, "sip.json.encode: deeper than %d, or a table that contains itself", DEPTH_MAX);
		if (is_list(L, idx, &n))
			put_list(o, idx, n, depth);
		else
			put_object(o, idx, depth);
		break;
	case LUA_TLIGHTUSERDATA:
		if (lua_touserdata(L, idx) == &null_address) {
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
	luaL_Buffer b;

	luaL_checkany(L, 1);
	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		sh_opt_known(L, 2, "sip.json.encode", sh_options_json);
		o.indent = sh_opt_integer(L, 2, "indent", 0, 0, 8);
	}
	lua_newtable(L);
	put_value(&o, 1, 0);
	luaL_buffinit(L, &b);
	for (lua_Integer i = 1; i <= o.parts; i++) {
		lua_rawgeti(L, 3, i);
		luaL_addvalue(&b);
	}
	luaL_pushresult(&b);
	return 1;
}

void sh_json_lua_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"decode", decode}, {"encode", encode}, {NULL, NULL}};
	static const luaL_Reg meta[] = {{"__gc", free_tree}, {NULL, NULL}};

	sh_sandbox_class(L, tree_class, meta, NULL);
	luaL_newlib(L, functions);
	lua_pushlightuserdata(L, &null_address);
	lua_setfield(L, -2, "null");
	lua_setfield(L, -2, "json");
}
