/* `res`: how a fork, a relay or a request came out. A plain table {code=, reason=, cause=, branches=}; headers, body,
 * contacts and res["Header"] are read from the text of the answer when somebody asks. */
#include "script/impl.h"
#include "script/sandbox.h"
#include "script/uri_object.h"

static const char class_name[] = "siphook.result", headers_class[] = "siphook.result.headers";

static bool scan_raw(lua_State *L, struct sh_msg *m)
{
	struct sh_slice text;

	if (lua_rawgetp(L, 1, &sh_sandbox_hidden) != LUA_TSTRING)
		return false;
	text.base = lua_tolstring(L, -1, &text.len); /* stays on the stack */
	return sh_msg_scan(m, text.base, text.len, false, NULL) >= 0;
}

/* res.headers[name]: a name that is not there as it is written, in another case or in its short form. */
static int find_field(lua_State *L)
{
	struct sh_slice name, key;
	enum sh_header_id id;

	lua_settop(L, 2);
	if (lua_type(L, 2) != LUA_TSTRING)
		return 0;
	name.base = lua_tolstring(L, 2, &name.len);
	id = sh_header_lookup(name);
	if (id) {
		sh_push_slice(L, sh_header_name(id));
		lua_rawget(L, 1);
		return 1;
	}
	lua_pushnil(L);
	while (lua_next(L, 1)) {
		if (lua_type(L, -2) == LUA_TSTRING) {
			key.base = lua_tolstring(L, -2, &key.len);
			if (sh_slice_ieq(key, name))
				return 1;
		}
		lua_pop(L, 1);
	}
	return 0;
}

static void push_headers(lua_State *L, const struct sh_msg *m)
{
	lua_newtable(L);
	for (unsigned i = 0; i < m->nheaders; i++) {
		const struct sh_header *h = &m->headers[i];
		struct sh_slice name = h->id ? sh_header_name((enum sh_header_id)h->id) : sh_msg_text(m, h->name);

		sh_push_slice(L, name);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, -3) == LUA_TNIL) {
			lua_pop(L, 1);
			sh_push_slice(L, sh_msg_text(m, h->value));
			lua_rawset(L, -3);
		} else {
			lua_pop(L, 2); /* the first value counts */
		}
	}
	luaL_setmetatable(L, headers_class);
}

static void push_contacts(lua_State *L, const struct sh_msg *m)
{
	lua_Integer n = 0;

	lua_newtable(L);
	for (unsigned i = m->first[SH_H_CONTACT]; i; i = m->headers[i - 1].next) {
		struct sh_slice list = sh_msg_value(m, i);
		struct sh_name_addr one;

		while (list.len && sh_name_addr_next(&list, &one) == 0)
			if (!one.star && sh_uri_object_push_field(L, one.text) == 0)
				lua_rawseti(L, -2, ++n);
	}
}

static int index_result(lua_State *L)
{
	struct sh_msg m;
	struct sh_slice key;
	bool scanned;

	if (lua_type(L, 2) != LUA_TSTRING) {
		lua_pushnil(L);
		return 1;
	}
	key.base = lua_tolstring(L, 2, &key.len);
	scanned = scan_raw(L, &m);
	if (sh_slice_eq(key, SH_LIT("headers"))) {
		if (scanned)
			push_headers(L, &m);
		else
			lua_newtable(L);
	} else if (sh_slice_eq(key, SH_LIT("contacts"))) {
		if (scanned)
			push_contacts(L, &m);
		else
			lua_newtable(L);
	} else if (sh_slice_eq(key, SH_LIT("body"))) {
		sh_push_slice(L, scanned ? sh_msg_text(&m, m.body) : (struct sh_slice){0});
	} else {
		sh_push_slice(L, scanned ? sh_msg_find(&m, key, 0) : (struct sh_slice){0});
	}
	return 1;
}

static int result_text(lua_State *L)
{
	const char *code, *reason;

	lua_settop(L, 1);
	lua_getfield(L, 1, "code");
	code = luaL_tolstring(L, 2, NULL);
	lua_getfield(L, 1, "reason");
	reason = luaL_tolstring(L, 4, NULL);
	lua_pushfstring(L, "%s %s", code, reason);
	return 1;
}

void sh_result_open(lua_State *L)
{
	static const luaL_Reg meta[] = {{"__index", index_result}, {"__tostring", result_text}, {NULL, NULL}};
	static const luaL_Reg headers_meta[] = {{"__index", find_field}, {NULL, NULL}};

	sh_sandbox_class(L, class_name, meta, NULL);
	sh_sandbox_class(L, headers_class, headers_meta, NULL);
}

void sh_result_push(lua_State *L, const struct sh_result *r)
{
	lua_createtable(L, 0, 5);
	lua_pushinteger(L, r->code);
	lua_setfield(L, -2, "code");
	lua_pushlstring(L, r->reason.base ? r->reason.base : "", r->reason.len);
	lua_setfield(L, -2, "reason");
	struct sh_slice cause = sh_cause_name(r->cause);
	if (cause.len) {
		lua_pushlstring(L, cause.base, cause.len);
		lua_setfield(L, -2, "cause");
	}
	if (r->msg) {
		lua_pushlstring(L, r->msg->base, r->msg->size);
		lua_rawsetp(L, -2, &sh_sandbox_hidden);
	}
	lua_createtable(L, (int)r->nbranches, 0);
	for (unsigned i = 0; i < r->nbranches; i++) {
		const struct sh_branch_result *b = &r->branches[i];

		lua_createtable(L, 0, 3);
		sh_push_slice(L, b->uri);
		lua_setfield(L, -2, "uri");
		lua_pushinteger(L, b->code);
		lua_setfield(L, -2, "code");
		lua_pushlstring(L, b->reason.base ? b->reason.base : "", b->reason.len);
		lua_setfield(L, -2, "reason");
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	lua_setfield(L, -2, "branches");
	luaL_setmetatable(L, class_name);
}

bool sh_result_test(lua_State *L, int idx, struct sh_result_view *out)
{
	bool ours;

	if (lua_type(L, idx) != LUA_TTABLE || !lua_getmetatable(L, idx))
		return false;
	luaL_getmetatable(L, class_name);
	ours = lua_rawequal(L, -1, -2);
	lua_pop(L, 2);
	if (!ours)
		return false;
	idx = lua_absindex(L, idx);
	*out = (struct sh_result_view){0};
	lua_pushliteral(L, "code");
	lua_rawget(L, idx);
	out->code = (unsigned)lua_tointeger(L, -1);
	lua_pushliteral(L, "reason");
	lua_rawget(L, idx);
	if (lua_type(L, -1) == LUA_TSTRING)
		out->reason.base = lua_tolstring(L, -1, &out->reason.len);
	if (lua_rawgetp(L, idx, &sh_sandbox_hidden) == LUA_TSTRING)
		out->raw.base = lua_tolstring(L, -1, &out->raw.len);
	lua_pop(L, 3); /* the strings stay in the table */
	return out->code >= 100 && out->code < 700;
}
