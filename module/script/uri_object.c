#include "script/uri_object.h"

#include <errno.h>

#include "core/encode.h"
#include "msg/lex.h"
#include "script/impl.h"
#include "script/sandbox.h"
#include "script/uri_build.h"

static const char class_name[] = "sip.uri";

/* --- making ------------------------------------------------------------------------------------------------------ */

static bool one_line(struct sh_slice s)
{
	return sh_slice_find(s, '\r') < 0 && sh_slice_find(s, '\n') < 0 && sh_slice_find(s, '\0') < 0;
}

static int parse(struct sh_uri_object *u, struct sh_slice text, bool field)
{
	struct sh_slice rest = text;
	int err;

	if (!field && sh_slice_find(text, '<') < 0 && !sh_slice_starts(text, SH_LIT("\""))) {
		u->addr = (struct sh_name_addr){.uri = text, .text = text};
		return sh_uri_parse(&u->uri, text);
	}
	err = sh_name_addr_next(&rest, &u->addr);
	if (err)
		return err;
	if (u->addr.star || sh_slice_trim(rest).len > 0)
		return -EINVAL;
	return sh_uri_parse(&u->uri, u->addr.uri);
}

static int push(lua_State *L, struct sh_slice text, bool field)
{
	struct sh_uri_object *u;

	text = sh_slice_trim(text);
	if (text.len == 0 || text.len > SH_URI_OBJECT_MAX || (!field && !one_line(text)))
		return -EINVAL;
	u = lua_newuserdatauv(L, sizeof(*u) + text.len, 0);
	memcpy(u->text, text.base, text.len);
	for (size_t i = 0; field && i < text.len; i++)
		if (u->text[i] == '\r' || u->text[i] == '\n')
			u->text[i] = ' ';
	text.base = u->text;
	if (!one_line(text) || parse(u, text, field)) {
		lua_pop(L, 1);
		return -EINVAL;
	}
	luaL_setmetatable(L, class_name);
	return 0;
}

int sh_uri_object_push(lua_State *L, struct sh_slice text)
{
	return push(L, text, false);
}

int sh_uri_object_push_field(lua_State *L, struct sh_slice text)
{
	return push(L, text, true);
}

const struct sh_uri_object *sh_uri_object_test(lua_State *L, int idx)
{
	return luaL_testudata(L, idx, class_name);
}

const struct sh_uri_object *sh_uri_object_check(lua_State *L, int idx)
{
	return sh_self_check(L, idx, class_name, "uri");
}

bool sh_uri_object_text(lua_State *L, int idx, struct sh_slice *out)
{
	const struct sh_uri_object *u;

	if (lua_type(L, idx) == LUA_TSTRING) {
		out->base = lua_tolstring(L, idx, &out->len);
		return true;
	}
	u = sh_uri_object_test(L, idx);
	if (u)
		*out = u->uri.text;
	return u != NULL;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

static void push_slice(lua_State *L, struct sh_slice s)
{
	lua_pushlstring(L, s.base ? s.base : "", s.len);
}

/* %HH decoded; broken escapes stay. */
static void push_decoded(lua_State *L, struct sh_slice s)
{
	luaL_Buffer b;

	if (sh_slice_find(s, '%') < 0) {
		push_slice(L, s);
		return;
	}
	luaL_pushresultsize(&b, sh_percent_unescape(s, luaL_buffinitsize(L, &b, s.len)));
}

/* A quoted string without quotes and backslashes; anything else as it is. */
static void push_unquoted(lua_State *L, struct sh_slice s)
{
	luaL_Buffer b;

	if (s.len < 2 || s.base[0] != '"' || s.base[s.len - 1] != '"') {
		push_slice(L, s);
		return;
	}
	luaL_buffinit(L, &b);
	for (size_t i = 1; i < s.len - 1; i++) {
		if (s.base[i] == '\\' && i + 1 < s.len - 1)
			i++;
		luaL_addchar(&b, s.base[i]);
	}
	luaL_pushresult(&b);
}

static void push_lower(lua_State *L, struct sh_slice s)
{
	luaL_Buffer b;
	char *to = luaL_buffinitsize(L, &b, s.len);

	for (size_t i = 0; i < s.len; i++)
		to[i] = sh_lower(s.base[i]);
	luaL_pushresultsize(&b, s.len);
}

/* {name = value}; a parameter without '=' is true. The first of two with one name counts. */
static int push_pairs(lua_State *L, struct sh_slice rest, char separator)
{
	lua_newtable(L);
	while (rest.len > 0) {
		struct sh_slice item, name, value;
		bool has_value;

		sh_slice_cut(rest, separator, &item, &rest);
		has_value = sh_slice_cut(item, '=', &name, &value);
		if (name.len == 0)
			continue;
		if (separator == ';')
			push_lower(L, name);
		else
			push_decoded(L, name);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, -3) == LUA_TNIL) {
			lua_pop(L, 1);
			if (has_value)
				push_decoded(L, value);
			else
				lua_pushboolean(L, true);
			lua_rawset(L, -3);
		} else {
			lua_pop(L, 2);
		}
	}
	return 1;
}

/* The parameters of the header field: values are tokens or quoted strings, not escaped. */
static int push_field(lua_State *L, struct sh_slice rest)
{
	struct sh_slice name, value;

	lua_newtable(L);
	while (sh_param_next(&rest, &name, &value)) {
		push_lower(L, name);
		if (value.base && value.len > 0)
			push_unquoted(L, value);
		else
			lua_pushboolean(L, true);
		lua_rawset(L, -3);
	}
	return 1;
}

static int push_if(lua_State *L, bool present, void (*push_fn)(lua_State *L, struct sh_slice s), struct sh_slice s)
{
	if (present)
		push_fn(L, s);
	else
		lua_pushnil(L);
	return 1;
}

static int with(lua_State *L)
{
	const struct sh_uri_object *u = sh_uri_object_check(L, 1);
	struct sh_slice text;

	luaL_checktype(L, 2, LUA_TTABLE);
	text = sh_uri_build(L, u, 2);
	if (sh_uri_object_push(L, text))
		return luaL_error(L, "with: '%s' is not a URI", text.base);
	return 1;
}

static int index_field(lua_State *L)
{
	static const char *const names[] = {"user",    "host",     "port", "scheme", "params", "tag", "display",
					    "headers", "password", "uri",  "field",  "with",   NULL};
	const struct sh_uri_object *u = sh_uri_object_check(L, 1);
	const char *name = lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "";
	struct sh_slice tag;
	int i = 0;

	while (names[i] && strcmp(names[i], name) != 0)
		i++;
	switch (i) {
	case 0:
		return push_if(L, u->uri.has_user, push_decoded, u->uri.user);
	case 1:
		return push_if(L, u->uri.host.len > 0, push_slice, u->uri.host);
	case 2:
		if (u->uri.port)
			lua_pushinteger(L, u->uri.port);
		else
			lua_pushnil(L);
		return 1;
	case 3:
		push_lower(L, u->uri.scheme);
		return 1;
	case 4:
		return push_pairs(L, u->uri.params, ';');
	case 5:
		return push_if(L, sh_param_find(u->addr.params, SH_LIT("tag"), &tag), push_slice, tag);
	case 6:
		return push_if(L, u->addr.display.len > 0, push_unquoted, u->addr.display);
	case 7:
		return push_pairs(L, u->uri.headers, '&');
	case 8:
		return push_if(L, u->uri.password.base != NULL, push_decoded, u->uri.password);
	case 9:
		push_slice(L, u->uri.text);
		return 1;
	case 10:
		return push_field(L, u->addr.params);
	case 11:
		lua_pushcfunction(L, with);
		return 1;
	default:
		lua_pushnil(L);
		return 1;
	}
}

static int refuse_assignment(lua_State *L)
{
	return luaL_error(L, "a URI cannot be changed: use uri:with{%s = ...}", luaL_tolstring(L, 2, NULL));
}

static int to_string(lua_State *L)
{
	push_slice(L, sh_uri_object_check(L, 1)->addr.text);
	return 1;
}

/* It cannot work (sandbox.h): at least it says what does. */
static int refuse_concat(lua_State *L)
{
	return luaL_error(L, "a URI is no string: write tostring(uri)");
}

static int equal(lua_State *L)
{
	const struct sh_uri_object *a = sh_uri_object_test(L, 1), *b = sh_uri_object_test(L, 2);

	lua_pushboolean(L, a && b && sh_uri_equal(&a->uri, &b->uri));
	return 1;
}

/* sip.uri(text | table | uri) -> uri | nil, "invalid", detail */
static int uri(lua_State *L)
{
	struct sh_slice text;

	if (sh_uri_object_test(L, 1)) {
		lua_settop(L, 1);
		return 1;
	}
	if (lua_type(L, 1) == LUA_TTABLE) {
		text = sh_uri_build(L, NULL, 1);
	} else {
		luaL_argexpected(L, lua_type(L, 1) == LUA_TSTRING, 1, "string, table or URI");
		text.base = lua_tolstring(L, 1, &text.len);
	}
	if (sh_uri_object_push(L, text) == 0)
		return 1;
	luaL_pushfail(L);
	lua_pushliteral(L, "invalid");
	lua_pushfstring(L, "'%s' is not a URI", text.base);
	return 3;
}

void sh_uri_object_open(lua_State *L)
{
	static const luaL_Reg meta[] = {
	    {"__index", index_field},
	    {"__newindex", refuse_assignment},
	    {"__tostring", to_string},
	    {"__eq", equal},
	    {"__concat", refuse_concat},
	    {NULL, NULL},
	};

	sh_sandbox_class(L, class_name, meta, NULL);
	lua_pushcfunction(L, uri);
	lua_setfield(L, -2, "uri");
}
