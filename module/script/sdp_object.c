#include "script/sdp_object.h"

#include "msg/msg.h"
#include "msg/sdp_edit.h"
#include "script/impl.h"

static const char class_name[] = "siphook.sdp";

enum { MAX_NAMES = 64 };

bool sh_sdp_object_text(lua_State *L, int idx, struct sh_slice *out)
{
	if (!luaL_testudata(L, idx, class_name))
		return false;
	lua_getiuservalue(L, idx, 1);
	out->base = lua_tolstring(L, -1, &out->len); /* the object holds it */
	lua_pop(L, 1);
	return true;
}

static struct sh_slice check(lua_State *L, int idx)
{
	struct sh_slice text;

	sh_self_check(L, idx, class_name, "sdp");
	sh_sdp_object_text(L, idx, &text);
	return text;
}

int sh_sdp_object_push(lua_State *L, struct sh_slice text)
{
	struct sh_sdp sdp;

	if (sh_sdp_parse(&sdp, text) < 0)
		return -EINVAL;
	lua_newuserdatauv(L, 0, 1);
	lua_pushlstring(L, text.base, text.len);
	lua_setiuservalue(L, -2, 1);
	luaL_setmetatable(L, class_name);
	return 0;
}

/* sip.sdp(text) -> sdp | nil, "invalid", detail */
int sh_sdp_new(lua_State *L)
{
	struct sh_slice text = {0};

	if (luaL_testudata(L, 1, class_name)) {
		lua_settop(L, 1);
		return 1;
	}
	luaL_checkany(L, 1);
	if (!lua_isnil(L, 1)) /* the body of what has none */
		text = sh_sandbox_check_text(L, 1);
	if (text.len <= SH_MSG_MAX_SIZE && sh_sdp_object_push(L, text) == 0)
		return 1;
	lua_pushnil(L);
	lua_pushliteral(L, "invalid");
	if (text.len > SH_MSG_MAX_SIZE)
		lua_pushfstring(L, "more than %d bytes: no message carries that", SH_MSG_MAX_SIZE);
	else
		lua_pushliteral(L, "no session description: it does not begin with v=");
	return 3;
}

/* ------------------------------------------------------------------ reading */

static void push_codecs(lua_State *L, const struct sh_sdp_media *m)
{
	struct sh_slice formats = m->formats, format;
	struct sh_sdp_codec c;
	bool rtp = sh_sdp_is_rtp(m);

	lua_newtable(L);
	for (lua_Integer i = 1; i <= 128 && sh_sdp_format_next(&formats, &format);) {
		lua_createtable(L, 0, 4);
		if (!rtp) {
			sh_push_slice(L, format);
			lua_setfield(L, -2, "name");
		} else if (sh_sdp_codec(m, format, &c) == 0) {
			if (c.name.len)
				sh_push_slice(L, c.name);
			else
				sh_push_slice(L, format);
			lua_setfield(L, -2, "name");
			lua_pushinteger(L, c.payload);
			lua_setfield(L, -2, "payload");
			if (c.rate) {
				lua_pushinteger(L, c.rate);
				lua_setfield(L, -2, "rate");
			}
			if (c.fmtp.len) {
				sh_push_slice(L, c.fmtp);
				lua_setfield(L, -2, "fmtp");
			}
		} else {
			lua_pop(L, 1);
			continue;
		}
		lua_rawseti(L, -2, i++);
	}
}

static void set_text(lua_State *L, const char *key, struct sh_slice s)
{
	if (!s.len)
		return;
	sh_push_slice(L, s);
	lua_setfield(L, -2, key);
}

static void push_media(lua_State *L, struct sh_slice text)
{
	struct sh_sdp_media m;
	struct sh_slice rest;
	struct sh_sdp sdp;
	int more;

	lua_newtable(L);
	sh_sdp_parse(&sdp, text);
	rest = sdp.media;
	for (lua_Integer i = 1; (more = sh_sdp_media_next(&sdp, &rest, &m)) != 0 && i <= 64;) {
		if (more < 0)
			continue;
		lua_createtable(L, 0, 6);
		set_text(L, "kind", m.kind);
		set_text(L, "proto", m.proto);
		set_text(L, "address", m.connection);
		set_text(L, "direction", sh_sdp_direction_name(m.direction));
		lua_pushinteger(L, m.port);
		lua_setfield(L, -2, "port");
		push_codecs(L, &m);
		lua_setfield(L, -2, "codecs");
		lua_rawseti(L, -2, i++);
	}
}

/* sdp.media: a fresh list each time; else a method: upvalue 1. */
static int index_field(lua_State *L)
{
	struct sh_slice text = check(L, 1);
	const char *key = luaL_checkstring(L, 2);

	if (strcmp(key, "media") == 0) {
		push_media(L, text);
	} else if (strcmp(key, "text") == 0) {
		sh_push_slice(L, text);
	} else {
		lua_settop(L, 2);
		lua_rawget(L, lua_upvalueindex(1));
	}
	return 1;
}

static int to_text(lua_State *L)
{
	sh_push_slice(L, check(L, 1));
	return 1;
}

/* sdp:has(name) */
static int has(lua_State *L)
{
	struct sh_slice text = check(L, 1), name;

	name.base = luaL_checklstring(L, 2, &name.len);
	lua_pushboolean(L, sh_sdp_has(text, name));
	return 1;
}

/* ------------------------------------------------------------------ editing */

static unsigned read_names(lua_State *L, const char *what, struct sh_slice *out)
{
	lua_Integer n = 1;

	if (lua_type(L, 2) == LUA_TSTRING) {
		out[0].base = lua_tolstring(L, 2, &out[0].len);
		return 1;
	}
	luaL_checktype(L, 2, LUA_TTABLE);
	n = luaL_len(L, 2);
	if (n > MAX_NAMES)
		luaL_error(L, "%s: more than %d codecs", what, MAX_NAMES);
	for (lua_Integer i = 1; i <= n; i++) {
		if (lua_rawgeti(L, 2, i) != LUA_TSTRING)
			luaL_error(L, "%s: entry %I: name of a codec expected, got %s", what, (LUAI_UACINT)i, luaL_typename(L, -1));
		out[i - 1].base = lua_tolstring(L, -1, &out[i - 1].len); /* the list holds it */
		lua_pop(L, 1);
	}
	return (unsigned)n;
}

static int edit(lua_State *L, enum sh_sdp_edit how, const char *what)
{
	struct sh_slice text = check(L, 1), names[MAX_NAMES];
	unsigned count = read_names(L, what, names);
	size_t room = text.len + 64;
	luaL_Buffer b;
	struct sh_writer w;

	/* every edited stream is at most one character longer, its port 0 included */
	for (size_t i = 0; i + 1 < text.len; i++)
		room += text.base[i] == 'm' && text.base[i + 1] == '=' ? 8 : text.base[i] == ' ';
	sh_writer_init(&w, luaL_buffinitsize(L, &b, room), room);
	sh_sdp_edit(&w, text, how, names, count);
	luaL_pushresultsize(&b, w.len);
	lua_setiuservalue(L, 1, 1);
	lua_settop(L, 1);
	return 1;
}

/* sdp:keep{...}, sdp:drop{...}, sdp:prefer{...} -> sdp */
static int keep(lua_State *L)
{
	return edit(L, SH_SDP_KEEP, "sdp:keep");
}

static int drop(lua_State *L)
{
	return edit(L, SH_SDP_DROP, "sdp:drop");
}

static int prefer(lua_State *L)
{
	return edit(L, SH_SDP_PREFER, "sdp:prefer");
}

void sh_sdp_object_open(lua_State *L)
{
	static const luaL_Reg methods[] = {{"keep", keep}, {"drop", drop}, {"prefer", prefer}, {"has", has}, {NULL, NULL}};
	static const luaL_Reg meta[] = {{"__tostring", to_text}, {NULL, NULL}};

	sh_sandbox_class(L, class_name, meta, NULL);
	luaL_getmetatable(L, class_name);
	lua_createtable(L, 0, 4);
	luaL_setfuncs(L, methods, 0);
	lua_pushcclosure(L, index_field, 1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

bool sh_opt_sdp(lua_State *L, int table, const char *key, const char *what, struct sh_slice *out)
{
	int type = sh_opt_get(L, table, key);
	bool there = type != LUA_TNIL;
	struct sh_sdp sdp;

	if (type == LUA_TSTRING) {
		out->base = lua_tolstring(L, -1, &out->len);
		if (out->len && sh_sdp_parse(&sdp, *out) < 0)
			luaL_error(L, "%s: option '%s': no session description", what, key);
	} else if (there && !sh_sdp_object_text(L, -1, out))
		{
		luaL_error(L, "%s: option '%s': text or sdp expected, got %s", what, key, luaL_typename(L, -1));
	}
	lua_pop(L, 1); /* the table holds it */
	return there;
}
