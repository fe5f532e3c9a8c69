#include "script/uri_build.h"

#include "core/encode.h"
#include "msg/lex.h"
#include "script/sandbox.h"

enum { LIST_MAX = 64 }; /* parameters or headers in one table */

/* Replaces the string on top by its escaped form; what is in `bare` stays. */
static void escape(lua_State *L, const char *bare)
{
	struct sh_slice s;
	luaL_Buffer b;

	s.base = lua_tolstring(L, -1, &s.len);
	sh_vm_charge(L, s.len);
	luaL_pushresultsize(&b, sh_percent_escape(s, bare, luaL_buffinitsize(L, &b, 3 * s.len)));
	lua_remove(L, -2);
}

/* --- one part ---------------------------------------------------------------------------------------------------- */

enum given { KEPT, REMOVED, GIVEN };

/* GIVEN: its string is on top. */
static enum given read_part(lua_State *L, int idx, const char *name)
{
	switch (lua_getfield(L, idx, name)) {
	case LUA_TNIL:
		lua_pop(L, 1);
		return KEPT;
	case LUA_TBOOLEAN:
		if (!lua_toboolean(L, -1)) {
			lua_pop(L, 1);
			return REMOVED;
		}
		break;
	case LUA_TSTRING:
	case LUA_TNUMBER:
		lua_tostring(L, -1);
		return GIVEN;
	default:
		break;
	}
	luaL_error(L, "%s must be a string, a number or false, not a %s", name, luaL_typename(L, -1));
	return KEPT;
}

/* Pushes the part as text: the new one escaped, else the old one. True when there is one. */
static bool push_part(lua_State *L, int idx, const char *name, bool old, struct sh_slice text, const char *bare)
{
	switch (read_part(L, idx, name)) {
	case GIVEN:
		if (bare)
			escape(L, bare);
		return true;
	case REMOVED:
		old = false;
		break;
	default:
		break;
	}
	lua_pushlstring(L, old ? text.base : "", old ? text.len : 0);
	return old;
}

/* --- parameters and headers -------------------------------------------------------------------------------------- */

/* Is `name` among the keys of the table at idx, in any case? keys: the list of them. */
static bool overridden(lua_State *L, int keys, lua_Integer n, struct sh_slice name)
{
	bool found = false;

	for (lua_Integer i = 1; i <= n && !found; i++) {
		size_t len;
		const char *key;

		lua_rawgeti(L, keys, i);
		key = lua_tolstring(L, -1, &len);
		found = sh_slice_ieq(name, sh_slice_make(key, len));
		lua_pop(L, 1);
	}
	return found;
}

/* name, or name=value */
static void push_pair(lua_State *L, const char *field, const char *bare)
{
	int value = lua_gettop(L), type = lua_type(L, value);

	lua_pushvalue(L, value - 1);
	escape(L, bare);
	if (type == LUA_TBOOLEAN)
		return;
	if (type != LUA_TSTRING && type != LUA_TNUMBER)
		luaL_error(L, "%s.%s must be a string, a number or a boolean, not a %s", field,
			   lua_tostring(L, value - 1), luaL_typename(L, value));
	lua_pushliteral(L, "=");
	lua_pushvalue(L, value);
	lua_tostring(L, -1);
	escape(L, bare);
	lua_concat(L, 3);
}

/* Pushes "a=1;b": the old ones that are not named in the table opts[field], then those. */
static void push_list(lua_State *L, int opts, const char *field, struct sh_slice old, char separator, const char *bare)
{
	int type = lua_getfield(L, opts, field), table = lua_gettop(L);
	lua_Integer n = 0;
	luaL_Buffer b;
	int pieces = 0;

	if (type == LUA_TNIL || (type == LUA_TBOOLEAN && !lua_toboolean(L, -1))) {
		lua_pop(L, 1);
		lua_pushlstring(L, type == LUA_TNIL && old.base ? old.base : "", type == LUA_TNIL ? old.len : 0);
		return;
	}
	if (type != LUA_TTABLE)
		luaL_error(L, "%s must be a table or false, not a %s", field, luaL_typename(L, -1));
	n = sh_sandbox_keys(L, table);
	if (n > LIST_MAX)
		luaL_error(L, "%s: more than %d", field, LIST_MAX);
	for (lua_Integer i = 1; i <= n; i++) {
		if (lua_rawgeti(L, table + 1, i) != LUA_TSTRING)
			luaL_error(L, "%s: a name must be a string, not a %s", field, luaL_typename(L, -1));
		lua_pop(L, 1);
	}
	luaL_buffinit(L, &b);
	while (old.len > 0) {
		struct sh_slice item, name, value;

		sh_slice_cut(old, separator, &item, &old);
		sh_slice_cut(item, '=', &name, &value);
		if (name.len == 0 || overridden(L, table + 1, n, name))
			continue;
		if (pieces++)
			luaL_addchar(&b, separator);
		luaL_addlstring(&b, item.base, item.len);
	}
	luaL_pushresult(&b); /* table, keys, text */
	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, table + 1, i);
		lua_pushvalue(L, -1);
		lua_rawget(L, table);
		if (lua_type(L, -1) != LUA_TBOOLEAN || lua_toboolean(L, -1)) {
			push_pair(L, field, bare);
			if (pieces++)
				lua_pushfstring(L, "%s%c%s", lua_tostring(L, table + 2), separator,
						lua_tostring(L, -1));
			lua_replace(L, table + 2);
		}
		lua_settop(L, table + 2);
	}
	lua_replace(L, table);
	lua_settop(L, table);
}

/* --- display name and tag ---------------------------------------------------------------------------------------- */

static void push_quoted(lua_State *L)
{
	size_t len;
	const char *s = lua_tolstring(L, -1, &len);
	luaL_Buffer b;

	luaL_buffinit(L, &b);
	luaL_addchar(&b, '"');
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '"' || s[i] == '\\')
			luaL_addchar(&b, '\\');
		luaL_addchar(&b, s[i]);
	}
	luaL_addstring(&b, "\" ");
	luaL_pushresult(&b);
	lua_remove(L, -2);
}

/* `"Bob" ` or nothing */
static void push_display(lua_State *L, int opts, struct sh_slice old)
{
	switch (read_part(L, opts, "display")) {
	case GIVEN:
		push_quoted(L);
		break;
	case KEPT:
		if (old.len > 0) {
			lua_pushlstring(L, old.base, old.len);
			lua_pushliteral(L, " ");
			lua_concat(L, 2);
			break;
		}
		/* fallthrough */
	default:
		lua_pushliteral(L, "");
	}
}

/* ";tag=1;x=y" or nothing */
static void push_field_params(lua_State *L, int opts, struct sh_slice old)
{
	enum given tag = read_part(L, opts, "tag");
	struct sh_slice name, value;
	luaL_Buffer b;

	if (tag == GIVEN) {
		size_t len;
		const char *s = lua_tolstring(L, -1, &len);

		if (len == 0 || sh_lex_run(s, s + len, SH_LEX_TOKEN) != s + len)
			luaL_error(L, "tag '%s' is not a token", s);
		lua_pushfstring(L, ";tag=%s", s);
		lua_remove(L, -2);
	} else {
		lua_pushliteral(L, "");
	}
	luaL_buffinit(L, &b);
	while (sh_param_next(&old, &name, &value)) {
		if (tag != KEPT && sh_slice_ieq(name, SH_LIT("tag")))
			continue;
		luaL_addchar(&b, ';');
		luaL_addlstring(&b, name.base, name.len);
		if (value.base && value.len > 0) {
			luaL_addchar(&b, '=');
			luaL_addlstring(&b, value.base, value.len);
		}
	}
	luaL_pushresult(&b);
	lua_concat(L, 2);
}

/* --- all of it --------------------------------------------------------------------------------------------------- */

const char *const sh_options_uri[] = {"scheme", "user", "password", "host", "port", "params", "headers", "display", "tag", NULL};

static void check_names(lua_State *L, int idx)
{
	const char *const *names = sh_options_uri;

	lua_pushnil(L);
	while (lua_next(L, idx)) {
		const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : luaL_typename(L, -2);
		int i = 0;

		while (names[i] && strcmp(names[i], name) != 0)
			i++;
		if (!names[i])
			luaL_error(L, "a URI has no part '%s'", name);
		lua_pop(L, 1);
	}
}

/* An IPv6 address on top stands in brackets in a URI. */
static void put_brackets(lua_State *L)
{
	struct sh_slice host;

	host.base = lua_tolstring(L, -1, &host.len);
	if (sh_slice_find(host, ':') < 0 || host.base[0] == '[')
		return;
	lua_pushfstring(L, "[%s]", host.base);
	lua_remove(L, -2);
}

/* Pushes "[user[:password]@]host[:port]". */
static void push_authority(lua_State *L, int idx, const struct sh_uri *u)
{
	int from = lua_gettop(L);
	char port[8];
	size_t digits = 0;

	if (push_part(L, idx, "user", u->has_user, u->user, SH_PERCENT_USER)) {
		lua_pushliteral(L, ":");
		if (!push_part(L, idx, "password", u->password.base != NULL, u->password, SH_PERCENT_SIP "&=+$,"))
			lua_pop(L, 2);
		lua_pushliteral(L, "@");
	}
	push_part(L, idx, "host", true, u->host.base ? u->host : SH_LIT(""), NULL);
	put_brackets(L);
	for (unsigned p = u->port; p > 0; p /= 10)
		port[sizeof(port) - ++digits] = (char)('0' + p % 10);
	lua_pushliteral(L, ":");
	if (!push_part(L, idx, "port", u->port != 0, sh_slice_make(port + sizeof(port) - digits, digits), NULL))
		lua_pop(L, 2);
	lua_concat(L, lua_gettop(L) - from);
}

static bool is_empty(lua_State *L, int idx)
{
	return lua_rawlen(L, idx) == 0;
}

struct sh_slice sh_uri_build(lua_State *L, const struct sh_uri_object *base, int idx)
{
	static const struct sh_uri_object nothing;
	const struct sh_uri_object *from = base ? base : &nothing;
	const struct sh_uri *u = &from->uri;
	bool brackets = sh_slice_find(from->addr.text, '<') >= 0;
	struct sh_slice scheme, out;
	int at;

	idx = lua_absindex(L, idx);
	luaL_checkstack(L, 40, NULL);
	check_names(L, idx);
	push_display(L, idx, from->addr.display);
	push_field_params(L, idx, from->addr.params);
	at = lua_gettop(L); /* at - 1: display, at: parameters of the field */
	brackets = brackets || !is_empty(L, at - 1) || !is_empty(L, at);
	lua_pushvalue(L, at - 1);
	lua_pushstring(L, brackets ? "<" : "");
	push_part(L, idx, "scheme", true, u->scheme.base ? u->scheme : SH_LIT("sip"), NULL);
	scheme.base = lua_tolstring(L, -1, &scheme.len);
	lua_pushliteral(L, ":");
	if (sh_slice_ieq(scheme, SH_LIT("sip")) || sh_slice_ieq(scheme, SH_LIT("sips")))
		push_authority(L, idx, u);
	else
		push_part(L, idx, "user", u->has_user, u->user, NULL);
	push_list(L, idx, "params", u->params, ';', SH_PERCENT_SIP "[]/:&+$");
	if (!is_empty(L, -1)) {
		lua_pushliteral(L, ";");
		lua_insert(L, -2);
	}
	push_list(L, idx, "headers", u->headers, '&', SH_PERCENT_SIP "[]/?:+$");
	if (!is_empty(L, -1)) {
		lua_pushliteral(L, "?");
		lua_insert(L, -2);
	}
	lua_pushstring(L, brackets ? ">" : "");
	lua_pushvalue(L, at);
	lua_concat(L, lua_gettop(L) - at);
	out.base = lua_tolstring(L, -1, &out.len);
	return out;
}
