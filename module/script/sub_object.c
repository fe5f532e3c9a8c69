/* `sub`: a SUBSCRIBE and the subscription that it makes; req:publish; sip.notify. */
#include "b2bua/event.h"
#include "script/impl.h"
#include "script/uri_object.h"

enum { F_SUB_EXPIRES = SH_FIELD_OWN, F_SUB_STATE, F_SUB_AOR };

static const struct sh_field fields[] = {
    {"expires", F_SUB_EXPIRES}, {"state", F_SUB_STATE}, {"aor", F_SUB_AOR}, {NULL, 0}};

static struct sh_object *object(lua_State *L)
{
	return sh_object_check(L, 1, SH_OBJECT_SUB);
}

static struct sh_subscription *subscription(lua_State *L)
{
	return sh_ua_subscription(sh_runtime_check(L, "a subscription")->ua, object(L)->other);
}

/* The address of record that a request is about: the option `aor`, else its Request-URI. In the runtime's scratch. */
static int read_aor(lua_State *L, int table, const struct sh_request *q, struct sh_runtime *rt, struct sh_slice *out)
{
	struct sh_uri uri;
	int err;

	if (table && sh_opt_get(L, table, "aor") != LUA_TNIL) {
		err = sh_aor_read(L, lua_gettop(L), rt, out);
		lua_pop(L, 1);
		return err;
	}
	if (table)
		lua_pop(L, 1);
	sh_arena_reset(&rt->scratch);
	if (sh_uri_parse(&uri, sh_msg_text(sh_request_msg(q), sh_request_msg(q)->uri)) < 0)
		return -EINVAL;
	return sh_aor_canonical(&rt->scratch, &uri, &rt->domains, out);
}

static int own_field(lua_State *L, int id)
{
	struct sh_subscription *s = subscription(L);
	struct sh_runtime *rt = sh_runtime_check(L, "a subscription");
	struct sh_request *q = sh_request_check(L, 1);
	struct sh_slice aor;

	if (id < SH_FIELD_OWN)
		return sh_view_field(L, id);
	if (!s && !q)
		return sh_gone(L);
	switch (id) {
	case F_SUB_EXPIRES:
		if (s)
			lua_pushinteger(L, sh_subscription_expires(s));
		else if (sh_request_msg(q)->expires >= 0)
			lua_pushinteger(L, sh_request_msg(q)->expires);
		else
			lua_pushnil(L);
		break;
	case F_SUB_STATE:
		if (s)
			sh_push_slice(L, sh_sub_state_name(sh_subscription_state(s)));
		else
			lua_pushnil(L);
		break;
	default:
		if (s)
			sh_push_slice(L, sh_subscription_aor(s));
		else if (read_aor(L, 0, q, rt, &aor) == 0)
			sh_push_slice(L, aor);
		else
			lua_pushnil(L);
	}
	return 1;
}

static uint32_t read_seconds(lua_State *L, int table)
{
	return table ? (uint32_t)(sh_opt_seconds(L, table, "expires", 0) / SH_SECOND) : 0;
}

const char *const sh_options_subscribe[] = {"expires", "serve", "aor", "headers", "pending", NULL};

/* sub:accept{expires=, serve=, aor=, headers=, pending=} -> true | nil, code, detail */
static int accept_subscription(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sub:accept");
	struct sh_request *q = sh_request_check(L, 1);
	struct sh_subscribe_options o = {0};
	struct sh_slice none = {0};
	struct sh_writer w;
	int table = 0, err;

	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		sh_opt_known(L, 2, "sub:accept", sh_options_subscribe);
		table = 2;
		o.serve = sh_opt_bool(L, 2, "serve", false);
		o.pending = sh_opt_bool(L, 2, "pending", false);
	}
	o.expires = read_seconds(L, table);
	o.headers = sh_opt_header_lines(L, table, rt, &w);
	if (!q)
		return sh_gone(L);
	if (read_aor(L, table, q, rt, &o.aor) < 0) {
		sh_request_reply(q, 404, none, none, none, none);
		return sh_push_errno(L, -EINVAL);
	}
	err = sh_subscription_accept(q, &o, &object(L)->other);
	if (err == -ENOTSUP)
		sh_request_reply(q, 489, none, none, none, none);
	else if (err == -EBADMSG)
		sh_request_reply(q, 400, SH_LIT("Bad or missing Contact or Record-Route"), none, none, none);
	return sh_push_done(L, err);
}

static int reject(lua_State *L)
{
	struct sh_request *q = sh_request_check(L, 1);
	unsigned code = sh_opt_code(L, 2, 300, 699);
	struct sh_slice none = {0};

	if (code == 408)
		return luaL_error(L, "sub:reject: 408 is for INVITE only (RFC 4320)");
	if (!q)
		return sh_gone(L);
	return sh_push_done(L, sh_request_reply(q, code, none, none, none, none));
}

/* It is over, or was not accepted yet. */
static int not_there(lua_State *L)
{
	struct sh_request *q = sh_request_check(L, 1);

	return q && !sh_request_answered(q) ? sh_push_errno(L, -EPROTO) : sh_gone(L);
}

/* sub:notify(content_type, body [, state]) */
static int notify(lua_State *L)
{
	static const char *const names[] = {"pending", "active", "terminated", NULL};
	struct sh_subscription *s;
	struct sh_slice type, body;
	int state;

	type = sh_sandbox_check_text(L, 2);
	sh_check_clean(L, type, "content_type");
	body = sh_sandbox_check_text(L, 3);
	state = luaL_checkoption(L, 4, "active", names);
	s = subscription(L);
	if (!s)
		return not_there(L);
	return sh_push_done(L, sh_subscription_notify(s, type, body, (enum sh_sub_state)state));
}

/* sub:terminate([reason]) */
static int terminate(lua_State *L)
{
	static const char *const names[] = {"noresource", "deactivated", "probation", "rejected", "timeout", "giveup", "invariant", NULL};
	const char *reason = names[luaL_checkoption(L, 2, "noresource", names)];
	struct sh_subscription *s = subscription(L);

	if (!s)
		return not_there(L);
	return sh_push_done(L, sh_subscription_terminate(s, sh_slice_cstr(reason), NULL, NULL));
}

const char *const sh_options_publish[] = {"expires", "aor", "headers", NULL};

/* req:publish{expires=, aor=, headers=} -> true | nil, code, detail */
int sh_publish_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "req:publish");
	struct sh_request *q = sh_check_no_call(L, "publish");
	struct sh_slice aor, headers, none = {0};
	struct sh_writer w;
	int table = 0, err;

	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		sh_opt_known(L, 2, "req:publish", sh_options_publish);
		table = 2;
	}
	headers = sh_opt_header_lines(L, table, rt, &w);
	if (!q)
		return sh_gone(L);
	if (sh_request_msg(q)->method != SH_PUBLISH)
		return luaL_error(L, "req:publish: this is no PUBLISH");
	if (read_aor(L, table, q, rt, &aor) < 0) {
		sh_request_reply(q, 404, none, none, none, none);
		return sh_push_errno(L, -EINVAL);
	}
	err = sh_request_publish(q, aor, read_seconds(L, table), headers);
	if (err == -EBADMSG) { /* it was refused, and the answer says why */
		lua_pushnil(L);
		lua_pushliteral(L, "refused");
		return 2;
	}
	return sh_push_done(L, err);
}

/* sip.notify(event, aor, content_type, body) -> true | nil, code, detail */
int sh_notify(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.notify");
	struct sh_slice event, aor, type, body;
	int err;

	event = sh_sandbox_check_text(L, 1);
	if (!sh_is_token(event))
		luaL_argerror(L, 1, "name of an event expected");
	type = sh_sandbox_check_text(L, 3);
	sh_check_clean(L, type, "content_type");
	body = sh_sandbox_check_text(L, 4);
	err = sh_aor_read(L, 2, rt, &aor);
	if (err == -EINVAL)
		luaL_argerror(L, 2, "address of record expected");
	return sh_push_done(L, err ? err : sh_event_set(rt->ua, event, aor, type, body));
}

void sh_sub_object_open(lua_State *L)
{
	static const luaL_Reg methods[] = {
	    {"accept", accept_subscription}, {"reject", reject}, {"notify", notify}, {"terminate", terminate}, {NULL, NULL}};

	sh_request_class(L, SH_OBJECT_SUB, methods, fields, own_field);
}
