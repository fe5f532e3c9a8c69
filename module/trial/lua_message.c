/* Messages as the test library sees them: an index into an immutable text, read when asked. m.uri, m.from, m.to and m.contact are
 * URI objects; m["X-Any"] is the first value of a header field, m:headers(name) all of them, m:lines() every field in order. */
#include "msg/digest.h"
#include "msg/msg.h"
#include "msg/uri.h"
#include "script/sandbox.h"
#include "script/uri_object.h"
#include "trial/lua.h"

static const char class_name[] = "siphook.test.message";

enum field {
	F_TEXT = 1,
	F_IS_REQUEST,
	F_METHOD,
	F_URI,
	F_RAW_URI,
	F_CODE,
	F_REASON,
	F_FROM,
	F_TO,
	F_CONTACT,
	F_FROM_TAG,
	F_TO_TAG,
	F_CALL_ID,
	F_CSEQ,
	F_BRANCH,
	F_BODY,
	F_CONTENT_TYPE,
	F_EXPIRES,
	F_MAX_FORWARDS,
	F_EVENT,
	F_FAULT,
};

static const struct {
	const char *name;
	enum field id;
} fields[] = {
    {"text", F_TEXT},         {"is_request", F_IS_REQUEST},
    {"method", F_METHOD},     {"uri", F_URI},
    {"raw_uri", F_RAW_URI},   {"code", F_CODE},
    {"reason", F_REASON},     {"from", F_FROM},
    {"to", F_TO},             {"contact", F_CONTACT},
    {"from_tag", F_FROM_TAG}, {"to_tag", F_TO_TAG},
    {"call_id", F_CALL_ID},   {"cseq", F_CSEQ},
    {"branch", F_BRANCH},     {"body", F_BODY},
    {"content_type", F_CONTENT_TYPE}, {"expires", F_EXPIRES},
    {"max_forwards", F_MAX_FORWARDS}, {"event", F_EVENT},
    {"fault", F_FAULT},
};

struct message {
	int fault; /* what the scanner said: 0, 400 or 505 */
	struct sh_msg *m; /* behind this structure, its text behind it */
};

void sh_trial_message_push(lua_State *L, struct sh_slice text, bool stream)
{
	struct sh_msg m;
	int fault = text.len ? sh_msg_scan(&m, text.base, text.len, stream, NULL) : -1;
	size_t index;
	struct message *o;

	if (fault < 0) {
		lua_pushlstring(L, text.base ? text.base : "", text.len);
		return;
	}
	index = offsetof(struct sh_msg, headers) + m.nheaders * sizeof(m.headers[0]);
	o = lua_newuserdatauv(L, sizeof(*o) + index + m.size, 0);
	o->fault = fault;
	o->m = (struct sh_msg *)(o + 1);
	memcpy(o->m, &m, index);
	memcpy((char *)o->m + index, m.base, m.size);
	o->m->base = (char *)o->m + index;
	luaL_setmetatable(L, class_name);
}

static const struct message *check(lua_State *L)
{
	return luaL_checkudata(L, 1, class_name);
}

static int push(lua_State *L, struct sh_slice s)
{
	if (s.base)
		lua_pushlstring(L, s.base, s.len);
	else
		lua_pushnil(L);
	return 1;
}

static int push_if_any(lua_State *L, struct sh_slice s)
{
	return push(L, s.len ? s : (struct sh_slice){0});
}

/* The first value of a header field as a URI object; nil when it is none. */
static int push_field(lua_State *L, struct sh_slice list)
{
	struct sh_name_addr first;

	if (!list.len || sh_name_addr_next(&list, &first) < 0 || first.star ||
	    sh_uri_object_push_field(L, first.text) < 0)
		lua_pushnil(L);
	return 1;
}

static int push_number(lua_State *L, int64_t n)
{
	if (n < 0)
		lua_pushnil(L);
	else
		lua_pushinteger(L, (lua_Integer)n);
	return 1;
}

static int push_known(lua_State *L, const struct message *o, enum field id)
{
	const struct sh_msg *m = o->m;
	struct sh_slice head, tail;

	switch (id) {
	case F_TEXT:
		return push(L, sh_slice_make(m->base, m->size));
	case F_IS_REQUEST:
		lua_pushboolean(L, m->is_request);
		return 1;
	case F_METHOD:
		return push(L, sh_msg_text(m, m->is_request ? m->method_name : m->cseq_method));
	case F_URI:
		if (!m->is_request || sh_uri_object_push(L, sh_msg_text(m, m->uri)) < 0)
			lua_pushnil(L);
		return 1;
	case F_RAW_URI:
		return push_if_any(L, m->is_request ? sh_msg_text(m, m->uri) : (struct sh_slice){0});
	case F_CODE:
		return push_number(L, m->is_request ? -1 : m->status);
	case F_REASON:
		return push(L, !m->is_request ? sh_msg_text(m, m->reason) : (struct sh_slice){0});
	case F_FROM:
		return push_field(L, sh_msg_header(m, SH_H_FROM));
	case F_TO:
		return push_field(L, sh_msg_header(m, SH_H_TO));
	case F_CONTACT:
		return push_field(L, sh_msg_header(m, SH_H_CONTACT));
	case F_FROM_TAG:
		return push_if_any(L, sh_msg_text(m, m->from_tag));
	case F_TO_TAG:
		return push_if_any(L, sh_msg_text(m, m->to_tag));
	case F_CALL_ID:
		return push(L, sh_msg_text(m, m->call_id));
	case F_CSEQ:
		return push_number(L, m->cseq);
	case F_BRANCH:
		return push_if_any(L, sh_msg_text(m, m->via_branch));
	case F_BODY:
		return push_if_any(L, sh_msg_text(m, m->body));
	case F_CONTENT_TYPE:
		return push(L, sh_msg_header(m, SH_H_CONTENT_TYPE));
	case F_EXPIRES:
		return push_number(L, m->expires);
	case F_MAX_FORWARDS:
		return push_number(L, m->max_forwards);
	case F_EVENT:
		head = sh_msg_header(m, SH_H_EVENT);
		if (!head.base)
			return push(L, head);
		sh_slice_cut(head, ';', &head, &tail);
		return push(L, sh_slice_trim(head));
	case F_FAULT:
		lua_pushinteger(L, o->fault);
		return 1;
	}
	lua_pushnil(L);
	return 1;
}

/* Upvalue 1: names of methods and fields. */
static int index_message(lua_State *L)
{
	const struct message *o = lua_touserdata(L, 1);
	struct sh_slice name;

	lua_pushvalue(L, 2);
	switch (lua_rawget(L, lua_upvalueindex(1))) {
	case LUA_TFUNCTION:
		return 1;
	case LUA_TNUMBER:
		return push_known(L, o, (enum field)lua_tointeger(L, -1));
	default:
		if (lua_type(L, 2) != LUA_TSTRING)
			return 0;
		name.base = lua_tolstring(L, 2, &name.len);
		return push(L, sh_msg_find(o->m, name, 0));
	}
}

/* m:headers(name) -> list of values */
static int headers(lua_State *L)
{
	const struct message *o = check(L);
	struct sh_slice name, value;

	name.base = luaL_checklstring(L, 2, &name.len);
	lua_newtable(L);
	for (unsigned n = 0; (value = sh_msg_find(o->m, name, n)).base; n++) {
		push(L, value);
		lua_rawseti(L, -2, (lua_Integer)n + 1);
	}
	return 1;
}

/* m:lines() -> list of {name, value}, names in their long form */
static int lines(lua_State *L)
{
	const struct sh_msg *m = check(L)->m;

	lua_createtable(L, m->nheaders, 0);
	for (unsigned i = 0; i < m->nheaders; i++) {
		const struct sh_header *h = &m->headers[i];

		lua_createtable(L, 2, 0);
		push(L, h->id == SH_H_OTHER ? sh_msg_text(m, h->name) : sh_header_name((enum sh_header_id)h->id));
		lua_rawseti(L, -2, 1);
		push(L, sh_msg_text(m, h->value));
		lua_rawseti(L, -2, 2);
		lua_rawseti(L, -2, (lua_Integer)i + 1);
	}
	return 1;
}

/* message(text [, stream]) -> message, or nil when it is none */
static int make(lua_State *L)
{
	struct sh_slice text;

	text.base = luaL_checklstring(L, 1, &text.len);
	sh_trial_message_push(L, text, lua_toboolean(L, 2));
	if (lua_type(L, -1) == LUA_TSTRING)
		lua_pushnil(L);
	return 1;
}

/* ------------------------------------------------------------------ digest */

static struct sh_slice text_of(lua_State *L, const char *key)
{
	struct sh_slice s = {0};

	if (lua_getfield(L, 1, key) == LUA_TSTRING)
		s.base = lua_tolstring(L, -1, &s.len);
	lua_pop(L, 1); /* it stays in the table */
	return s;
}

/* challenge(value) -> {realm=, nonce=, opaque=, qop=, algorithm=, stale=}, or nil when it is no digest that we know */
static int challenge(lua_State *L)
{
	struct sh_slice value;
	struct sh_challenge c;
	struct sh_arena arena;
	int err;

	value.base = luaL_checklstring(L, 1, &value.len);
	lua_settop(L, 1);
	luaL_checkstack(L, 10, NULL);
	lua_createtable(L, 0, 6);
	sh_arena_init(&arena, 1024);
	err = sh_challenge_parse(&arena, value, &c);
	if (!err && c.alg != SH_DIGEST_UNKNOWN && value.len < 4000) {
		char text[4096], *p = text;
		const struct {
			const char *key;
			struct sh_slice s;
		} parts[] = {{"realm", c.realm}, {"nonce", c.nonce}, {"opaque", c.opaque}, {"qop", c.qop}};
		size_t lens[4];

		/* out of the arena first: what follows may raise */
		for (int i = 0; i < 4; i++) {
			lens[i] = parts[i].s.base ? parts[i].s.len : SIZE_MAX;
			if (lens[i] != SIZE_MAX && lens[i] > (size_t)(text + sizeof(text) - p))
				lens[i] = SIZE_MAX;
			if (lens[i] == SIZE_MAX)
				continue;
			memcpy(p, parts[i].s.base, lens[i]);
			p += lens[i];
		}
		sh_arena_finish(&arena);
		p = text;
		for (int i = 0; i < 4; i++) {
			if (lens[i] == SIZE_MAX)
				continue;
			lua_pushlstring(L, p, lens[i]);
			lua_setfield(L, 2, parts[i].key);
			p += lens[i];
		}
		push(L, sh_digest_alg_name(c.alg));
		lua_setfield(L, 2, "algorithm");
		lua_pushboolean(L, c.session);
		lua_setfield(L, 2, "session");
		lua_pushboolean(L, c.stale);
		lua_setfield(L, 2, "stale");
		return 1;
	}
	sh_arena_finish(&arena);
	lua_pushnil(L);
	return 1;
}

/* response{algorithm=, session=, user=, realm=, password=, method=, uri=, nonce=, nc=, cnonce=, qop=, body=} -> hex text */
static int response(lua_State *L)
{
	struct sh_digest_hex ha1, out;
	struct sh_credentials c = {0};
	struct sh_slice password, method, body;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	c.alg = sh_digest_alg_lookup(text_of(L, "algorithm"));
	c.username = text_of(L, "user");
	c.realm = text_of(L, "realm");
	c.uri = text_of(L, "uri");
	c.nonce = text_of(L, "nonce");
	c.cnonce = text_of(L, "cnonce");
	c.qop = text_of(L, "qop");
	c.nc_text = text_of(L, "nc");
	password = text_of(L, "password");
	method = text_of(L, "method");
	body = text_of(L, "body");
	lua_getfield(L, 1, "session");
	c.session = lua_toboolean(L, -1);
	err = sh_digest_ha1(c.alg, c.username, c.realm, password, &ha1);
	if (!err)
		err = sh_digest_response(&c, sh_slice_make(ha1.text, ha1.len), method, body, &out);
	if (err)
		return luaL_error(L, "digest: %s", strerror(-err));
	lua_pushlstring(L, out.text, out.len);
	return 1;
}

static int text(lua_State *L)
{
	return push_known(L, check(L), F_TEXT);
}

void sh_trial_message_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
	    {"message", make}, {"challenge", challenge}, {"response", response}, {NULL, NULL}};
	static const luaL_Reg methods[] = {{"headers", headers}, {"lines", lines}, {NULL, NULL}};
	static const luaL_Reg meta[] = {{"__tostring", text}, {NULL, NULL}};

	sh_uri_object_open(L);
	luaL_setfuncs(L, functions, 0);
	sh_sandbox_class(L, class_name, meta, NULL);
	luaL_getmetatable(L, class_name);
	lua_createtable(L, 0, 32);
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		lua_pushinteger(L, fields[i].id);
		lua_setfield(L, -2, fields[i].name);
	}
	luaL_setfuncs(L, methods, 0);
	lua_pushcclosure(L, index_message, 1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
