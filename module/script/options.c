/* Reading what scripts give: every mistake raises an error that names the argument. */
#include "core/nearest.h"
#include "script/impl.h"
#include "script/uri_object.h"

int sh_opt_get(lua_State *L, int table, const char *key)
{
	table = lua_absindex(L, table);
	lua_pushstring(L, key);
	return lua_rawget(L, table);
}

unsigned sh_opt_code(lua_State *L, int idx, unsigned min, unsigned max)
{
	lua_Integer code = luaL_checkinteger(L, idx);

	if (code < min || code > max)
		luaL_argerror(L, idx, lua_pushfstring(L, "status code from %d to %d expected", (int)min, (int)max));
	return (unsigned)code;
}

uint64_t sh_opt_seconds(lua_State *L, int table, const char *key, uint64_t fallback)
{
	lua_Number n;
	int type = sh_opt_get(L, table, key);

	if (type == LUA_TNIL) {
		lua_pop(L, 1);
		return fallback;
	}
	if (type != LUA_TNUMBER)
		luaL_error(L, "option '%s': seconds expected, got %s", key, luaL_typename(L, -1));
	n = lua_tonumber(L, -1);
	lua_pop(L, 1);
	if (!(n >= 0 && n <= 1e9))
		luaL_error(L, "option '%s': seconds from 0 to 1e9 expected", key);
	return (uint64_t)(n * 1e6);
}

struct sh_slice sh_opt_text(lua_State *L, int table, const char *key)
{
	struct sh_slice s = {0};
	int type = sh_opt_get(L, table, key);

	if (type == LUA_TSTRING) {
		s.base = lua_tolstring(L, -1, &s.len);
	} else if (type == LUA_TUSERDATA) {
		if (!sh_uri_object_text(L, -1, &s))
			luaL_error(L, "option '%s': string expected, got %s", key, luaL_typename(L, -1));
	} else if (type != LUA_TNIL) {
		luaL_error(L, "option '%s': string expected, got %s", key, luaL_typename(L, -1));
	}
	lua_pop(L, 1);
	if (s.base)
		sh_check_clean(L, s, key);
	return s;
}

bool sh_opt_bool(lua_State *L, int table, const char *key, bool fallback)
{
	int type = sh_opt_get(L, table, key);
	bool b = type == LUA_TNIL ? fallback : lua_toboolean(L, -1);

	if (type != LUA_TNIL && type != LUA_TBOOLEAN)
		luaL_error(L, "option '%s': boolean expected, got %s", key, luaL_typename(L, -1));
	lua_pop(L, 1);
	return b;
}

lua_Integer sh_opt_integer(lua_State *L, int table, const char *key, lua_Integer fallback, lua_Integer min,
			   lua_Integer max)
{
	int type = sh_opt_get(L, table, key), ok;
	lua_Integer n = fallback;

	if (type != LUA_TNIL) {
		n = lua_tointegerx(L, -1, &ok);
		if (!ok || type != LUA_TNUMBER || n < min || n > max)
			luaL_error(L, "option '%s': whole number from %I to %I expected", key, (LUAI_UACINT)min,
				   (LUAI_UACINT)max);
	}
	lua_pop(L, 1);
	return n;
}

static void unknown_option(lua_State *L, const char *what, const char *key, const char *const *names)
{
	const char *near = sh_nearest(key, names);

	if (near)
		luaL_error(L, "%s: unknown option '%s' (did you mean '%s'?)", what, key, near);
	luaL_error(L, "%s: unknown option '%s'", what, key);
}

uint64_t sh_opt_known(lua_State *L, int table, const char *what, const char *const *names)
{
	uint64_t present = 0;

#ifdef SH_ALLOC_FAULTS
	if (!sh_options_listed(names))
		luaL_error(L, "%s has options that are not listed (names.c)", what);
#endif
	lua_pushnil(L);
	while (lua_next(L, table)) {
		const char *key;
		unsigned i = 0;

		lua_pop(L, 1);
		if (lua_type(L, -1) != LUA_TSTRING)
			luaL_error(L, "%s: unknown option [%s]", what, luaL_tolstring(L, -1, NULL));
		key = lua_tostring(L, -1);
		while (names[i] && (names[i][0] != key[0] || strcmp(names[i], key) != 0))
			i++;
		if (!names[i])
			unknown_option(L, what, key, names);
		present |= UINT64_C(1) << i;
	}
	return present;
}

struct sh_slice sh_opt_uri(lua_State *L, int idx, const char *what, struct sh_slice *display)
{
	struct sh_slice text, rest;
	struct sh_name_addr a = {.star = false};
	struct sh_uri uri;
	const char *shown;

	if (!sh_uri_object_text(L, idx, &text))
		luaL_error(L, "%s: a target is a URI or a table, got %s", what, luaL_typename(L, idx));
	sh_check_clean(L, text, "uri");
	text = rest = sh_slice_trim(text);
	if (display)
		*display = (struct sh_slice){0};
	/* a bare URI keeps its parameters: only behind <> are they a header field's */
	if (sh_slice_find(text, '<') < 0) {
		if (sh_uri_parse(&uri, text) == 0)
			return text;
	} else if (sh_name_addr_next(&rest, &a) == 0 && !a.star && !sh_slice_trim(rest).len &&
		   sh_uri_parse(&uri, a.uri) == 0) {
		if (display)
			*display = a.display;
		return a.uri;
	}
	shown = lua_pushlstring(L, text.base ? text.base : "", text.len);
	luaL_error(L, "%s: '%s' is no URI", what, shown);
	return text;
}

void sh_check_clean(lua_State *L, struct sh_slice text, const char *what)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.base[i] <= '\r' && (text.base[i] == '\r' || text.base[i] == '\n' || text.base[i] == 0))
			luaL_error(L, "'%s': CR, LF and NUL are not allowed in a header field", what);
}

bool sh_is_token(struct sh_slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.base[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      (c && strchr("-.!%*_+`'~", c))))
			return false;
	}
	return name.len > 0;
}

static void put_value(lua_State *L, struct sh_writer *w, struct sh_slice name)
{
	struct sh_slice value;
	int type = lua_type(L, -1);

	if (type != LUA_TSTRING && type != LUA_TNUMBER && !(type == LUA_TUSERDATA && sh_uri_object_test(L, -1)))
		luaL_error(L, "headers: '%s' needs a string, a list of strings or false", lua_tostring(L, -2));
	value.base = luaL_tolstring(L, -1, &value.len);
	sh_check_clean(L, value, lua_tostring(L, -3));
	sh_put_header_named(w, name, value);
	lua_pop(L, 1);
}

void sh_opt_headers(lua_State *L, int idx, struct sh_writer *w)
{
	int n;

	if (lua_isnoneornil(L, idx))
		return;
	idx = lua_absindex(L, idx);
	if (lua_type(L, idx) != LUA_TTABLE)
		luaL_error(L, "headers: table expected, got %s", luaL_typename(L, idx));
	n = (int)sh_sandbox_keys(L, idx); /* in a fixed order: a run of the same script writes the same message */
	for (int i = 1; i <= n; i++) {
		struct sh_slice name;
		enum sh_header_id id;

		if (lua_rawgeti(L, -1, i) != LUA_TSTRING)
			luaL_error(L, "headers: names must be strings");
		name.base = lua_tolstring(L, -1, &name.len);
		if (!sh_is_token(name))
			luaL_error(L, "headers: '%s' is no header name", name.base);
		id = sh_header_lookup(name);
		if (sh_header_is_engines(id))
			luaL_error(L, "headers: %s is the engine's own", name.base);
		if (id)
			name = sh_header_name(id);
		lua_pushvalue(L, -1);
		lua_rawget(L, idx);
		if (lua_type(L, -1) == LUA_TTABLE) {
			lua_Integer len = luaL_len(L, -1);

			for (lua_Integer k = 1; k <= len; k++) {
				lua_pushvalue(L, -2);
				lua_rawgeti(L, -2, k);
				put_value(L, w, name);
				lua_pop(L, 2);
			}
		} else if (lua_type(L, -1) == LUA_TBOOLEAN && !lua_toboolean(L, -1)) { /* a name alone takes it away */
			sh_put(w, name);
			sh_put_lit(w, "\r\n");
		} else {
			put_value(L, w, name);
		}
		lua_pop(L, 2);
	}
	lua_pop(L, 1);
	if (w->full)
		sh_too_long(L, "headers");
}

struct sh_slice sh_opt_header_lines(lua_State *L, int table, struct sh_runtime *rt, struct sh_writer *w)
{
	sh_writer_init(w, rt->text, SH_RUNTIME_TEXT);
	if (table) {
		sh_opt_get(L, table, "headers");
		sh_opt_headers(L, -1, w);
		lua_pop(L, 1);
	}
	return sh_writer_text(w);
}

const char *const sh_options_message[] = {"headers", "body", "content_type", NULL};

void sh_opt_message(lua_State *L, int idx, const char *what, struct sh_runtime *rt, struct sh_slice *headers,
		    struct sh_slice *type, struct sh_slice *body)
{
	struct sh_writer w;

	*headers = *type = *body = (struct sh_slice){0};
	if (lua_isnoneornil(L, idx))
		return;
	luaL_checktype(L, idx, LUA_TTABLE);
	sh_opt_known(L, idx, what, sh_options_message);
	*type = sh_opt_text(L, idx, "content_type");
	if (sh_opt_get(L, idx, "body") == LUA_TSTRING)
		body->base = lua_tolstring(L, -1, &body->len);
	else if (!lua_isnil(L, -1))
		luaL_error(L, "option 'body': string expected, got %s", luaL_typename(L, -1));
	lua_pop(L, 1);
	*headers = sh_opt_header_lines(L, idx, rt, &w);
}

int sh_opt_reason(lua_State *L, int idx, struct sh_slice *reason)
{
	bool text = lua_type(L, idx) == LUA_TSTRING;

	*reason = (struct sh_slice){0};
	if (!text && !(lua_isnil(L, idx) && lua_gettop(L) > idx))
		return idx;
	if (text) {
		reason->base = lua_tolstring(L, idx, &reason->len);
		sh_check_clean(L, *reason, "reason");
	}
	return idx + 1;
}

const char *const sh_nat_words[] = {"auto", "always", "never", NULL};

unsigned sh_opt_choice(lua_State *L, int table, const char *key, const char *const *words, unsigned fallback)
{
	struct sh_slice text = sh_opt_text(L, table, key);
	luaL_Buffer list;

	if (!text.base)
		return fallback;
	for (unsigned i = 0; words[i]; i++)
		if (sh_slice_eq(text, sh_slice_cstr(words[i])))
			return i;
	luaL_buffinit(L, &list);
	for (unsigned i = 0; words[i]; i++) {
		luaL_addstring(&list, i ? ", \"" : "\"");
		luaL_addstring(&list, words[i]);
		luaL_addchar(&list, '"');
	}
	luaL_pushresult(&list);
	return (unsigned)luaL_error(L, "option '%s': one of %s expected, got \"%s\"", key, lua_tostring(L, -1), text.base);
}

enum sh_first_offer sh_opt_offer(lua_State *L, int idx, const char *what)
{
	int type = lua_isnoneornil(L, idx) ? LUA_TNIL : sh_opt_get(L, idx, "offer");
	bool all = type != LUA_TNIL && lua_toboolean(L, -1);

	if (type != LUA_TNIL && type != LUA_TBOOLEAN)
		luaL_error(L, "%s: option 'offer': boolean expected, got %s", what, lua_typename(L, type));
	return type == LUA_TNIL ? SH_OFFER_TO_BROWSERS : all ? SH_OFFER_TO_ALL : SH_OFFER_TO_NOBODY;
}
