/* The fields that every request has, a call's INVITE included. Read when asked for. */
#include "b2bua/edge.h"
#include "script/impl.h"
#include "script/uri_object.h"

enum {
	F_METHOD = 1,
	F_URI,
	F_FROM,
	F_TO,
	F_CONTACT,
	F_CALL_ID,
	F_CSEQ,
	F_SOURCE,
	F_MAX_FORWARDS,
	F_EXPIRES,
	F_EVENT,
	F_BODY,
	F_CONTENT_TYPE,
	F_AUTH_USER,
	F_TRUSTED,
	F_TRUNK,
	F_FLOW,
	F_CALL,
	F_LEG,
	F_GENERATION,
};

const struct sh_field sh_view_fields[] = {
    {"method", F_METHOD},
    {"uri", F_URI},
    {"from", F_FROM},
    {"to", F_TO},
    {"contact", F_CONTACT},
    {"call_id", F_CALL_ID},
    {"cseq", F_CSEQ},
    {"source", F_SOURCE},
    {"max_forwards", F_MAX_FORWARDS},
    {"expires", F_EXPIRES},
    {"event", F_EVENT},
    {"body", F_BODY},
    {"content_type", F_CONTENT_TYPE},
    {"auth_user", F_AUTH_USER},
    {"trusted", F_TRUSTED},
    {"trunk", F_TRUNK},
    {"flow", F_FLOW},
    {"call", F_CALL},
    {"leg", F_LEG},
    {"generation", F_GENERATION},
    {NULL, 0},
};

bool sh_view_get(lua_State *L, int idx, struct sh_view *v)
{
	const struct sh_object *o = sh_object_check_message(L, idx);

	*v = (struct sh_view){0};
	if (o->kind != SH_OBJECT_CALL) {
		v->request = sh_ua_request(sh_runtime_check(L, "a request")->ua, o->handle);
		if (!v->request)
			return false;
		v->msg = sh_request_msg(v->request);
		v->from = sh_request_source(v->request);
		v->call = sh_request_call(v->request);
		v->leg = sh_request_leg(v->request);
		return true;
	}
	v->call = sh_ua_call(sh_runtime_check(L, "a call")->ua, o->handle);
	if (!v->call)
		return false;
	v->msg = sh_call_invite(v->call);
	v->from = sh_call_source(v->call);
	v->leg = sh_call_a(v->call);
	return true;
}

static void push_uri(lua_State *L, struct sh_slice text)
{
	if (!text.len || sh_uri_object_push(L, text) < 0)
		lua_pushnil(L);
}

/* Whom a TLS peer has proven to be: a list, empty for one that showed no certificate. */
static void push_tls(lua_State *L, const struct sh_path *from)
{
	const struct sh_runtime *rt = sh_state_of(L)->runtime;
	const char *name = rt && rt->ua ? sh_transport_flow_names(sh_ua_transport(rt->ua), from->flow) : NULL;

	lua_newtable(L);
	for (lua_Integer i = 1; name && *name; name += strlen(name) + 1, i++) {
		lua_pushstring(L, name);
		lua_rawseti(L, -2, i);
	}
	lua_setfield(L, -2, "tls");
}

void sh_push_source(lua_State *L, const struct sh_path *from)
{
	char buf[SH_ADDR_TEXT];

	lua_createtable(L, 0, 4);
	lua_pushlstring(L, buf, sh_addr_format_bare(&from->remote, buf));
	lua_setfield(L, -2, "ip");
	lua_pushinteger(L, from->remote.port);
	lua_setfield(L, -2, "port");
	sh_push_slice(L, sh_proto_param((enum sh_proto)from->proto));
	lua_setfield(L, -2, "transport");
	if (from->proto == SH_PROTO_TLS || from->proto == SH_PROTO_WSS)
		push_tls(L, from);
}

static void push_trunk(lua_State *L, const struct sh_view *v)
{
	struct sh_uri uri = {0};

	if (sh_uri_parse(&uri, v->msg ? sh_msg_text(v->msg, v->msg->uri) : sh_call_uri(v->call)) < 0)
		uri.user = (struct sh_slice){0};
	sh_push_trunk_of(L, &v->from->remote, uri.user);
}

/* The flow that the topmost Route names by a token of ours (RFC 5626 5.3). */
static void push_flow(lua_State *L, const struct sh_view *v)
{
	struct sh_runtime *rt = sh_runtime_check(L, "flow");
	struct sh_path flow;

	if (v->msg->is_request && sh_edge_read(sh_ua_transport(rt->ua), &rt->env->key, v->msg, v->from, &flow) == 1)
		sh_push_flow(L, &flow);
	else
		lua_pushnil(L);
}

/* Whom auth() has proven; a name that somebody only claims is none. */
static void push_auth_user(lua_State *L, const struct sh_view *v)
{
	const struct sh_coroutine *co = sh_vm_current(L);
	const struct sh_run *run = co ? co->user : NULL;
	const struct sh_call_data *d = v->call ? sh_call_app(v->call) : NULL;

	if (v->request)
		lua_pushstring(L, run && run->request == sh_request_handle(v->request) ? run->auth_user : NULL);
	else
		lua_pushstring(L, d ? d->auth_user : NULL);
}

int sh_view_field(lua_State *L, int id)
{
	struct sh_view v;
	const struct sh_msg *m;

	if (!sh_view_get(L, 1, &v))
		return sh_gone(L);
	m = v.msg;
	if (id == F_GENERATION) {
		lua_pushinteger(L, (lua_Integer)sh_generation_number(sh_state_of(L)->generation));
		return 1;
	}
	if (id == F_AUTH_USER) {
		push_auth_user(L, &v);
		return 1;
	}
	if (!m) { /* a call whose set-up is over: what it kept */
		switch (id) {
		case F_METHOD:
			lua_pushliteral(L, "INVITE");
			return 1;
		case F_URI:
			push_uri(L, sh_call_uri(v.call));
			return 1;
		case F_FROM:
			sh_push_field(L, sh_call_from(v.call));
			return 1;
		case F_TO:
			sh_push_field(L, sh_call_to(v.call));
			return 1;
		case F_CALL_ID:
			if (v.leg)
				sh_push_slice(L, sh_dialog_call_id(sh_leg_dialog(v.leg)));
			else
				lua_pushnil(L);
			return 1;
		case F_SOURCE:
		case F_TRUSTED:
		case F_TRUNK:
		case F_CALL:
		case F_LEG:
			break;
		default:
			lua_pushnil(L);
			return 1;
		}
	}
	switch (id) {
	case F_METHOD:
		sh_push_slice(L, sh_msg_text(m, m->method_name));
		break;
	case F_URI:
		push_uri(L, sh_msg_text(m, m->uri));
		break;
	case F_FROM:
		sh_push_field(L, sh_msg_header(m, SH_H_FROM));
		break;
	case F_TO:
		sh_push_field(L, sh_msg_header(m, SH_H_TO));
		break;
	case F_CONTACT: {
		struct sh_slice list = sh_msg_header(m, SH_H_CONTACT);
		struct sh_name_addr first;

		if (list.len && sh_name_addr_next(&list, &first) == 0 && !first.star)
			sh_push_field(L, first.text);
		else
			lua_pushnil(L);
		break;
	}
	case F_CALL_ID:
		sh_push_slice(L, sh_msg_text(m, m->call_id));
		break;
	case F_CSEQ:
		lua_pushinteger(L, m->cseq);
		break;
	case F_SOURCE:
		sh_push_source(L, v.from);
		break;
	case F_MAX_FORWARDS:
		if (m->max_forwards >= 0)
			lua_pushinteger(L, m->max_forwards);
		else
			lua_pushnil(L);
		break;
	case F_EXPIRES:
		if (m->expires >= 0)
			lua_pushinteger(L, m->expires);
		else
			lua_pushnil(L);
		break;
	case F_EVENT: {
		struct sh_slice event = sh_msg_header(m, SH_H_EVENT), params;

		if (event.base) {
			sh_slice_cut(event, ';', &event, &params);
			sh_push_slice(L, sh_slice_trim(event));
		} else {
			lua_pushnil(L);
		}
		break;
	}
	case F_BODY:
		sh_push_slice(L, m->body.len ? sh_msg_text(m, m->body) : (struct sh_slice){0});
		break;
	case F_CONTENT_TYPE:
		sh_push_slice(L, sh_msg_header(m, SH_H_CONTENT_TYPE));
		break;
	case F_TRUSTED:
		lua_pushboolean(L, sh_ua_trusts(sh_runtime_check(L, "trusted")->ua, &v.from->remote));
		break;
	case F_TRUNK:
		push_trunk(L, &v);
		break;
	case F_FLOW:
		push_flow(L, &v);
		break;
	case F_CALL:
		if (v.call)
			sh_object_push(L, SH_OBJECT_CALL, sh_call_handle(v.call));
		else
			lua_pushnil(L);
		break;
	case F_LEG:
		if (v.leg)
			sh_object_push(L, SH_OBJECT_LEG, sh_leg_handle(v.leg));
		else
			lua_pushnil(L);
		break;
	default:
		lua_pushnil(L);
	}
	return 1;
}

int sh_view_header(lua_State *L)
{
	struct sh_view v;
	struct sh_slice name;

	if (!sh_view_get(L, 1, &v))
		return sh_gone(L);
	name.base = luaL_checklstring(L, 2, &name.len);
	sh_push_slice(L, v.msg ? sh_msg_find(v.msg, name, 0) : (struct sh_slice){0});
	return 1;
}

int sh_view_headers(lua_State *L)
{
	struct sh_view v;
	struct sh_slice name = sh_sandbox_check_text(L, 2), value;

	if (!sh_view_get(L, 1, &v))
		return sh_gone(L);
	lua_newtable(L);
	for (unsigned n = 0; v.msg && (value = sh_msg_find(v.msg, name, n)).base; n++) {
		sh_push_slice(L, value);
		lua_rawseti(L, -2, (lua_Integer)n + 1);
	}
	return 1;
}

int sh_view_reply(const struct sh_view *v, unsigned code, struct sh_slice reason, struct sh_slice headers,
		  struct sh_slice content_type, struct sh_slice body)
{
	if (v->request)
		return sh_request_reply(v->request, code, reason, headers, content_type, body);
	return sh_call_reject(v->call, code, reason, headers, content_type, body);
}
