/* `req`: requests that a hook answers or observes. */
#include "script/impl.h"
#include "script/uri_object.h"

static int own_field(lua_State *L, int id)
{
	return sh_view_field(L, id);
}

/* req:reply(code [, reason] [, {headers=, body=, content_type=}]) */
static int reply(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "req:reply");
	struct sh_request *q = sh_request_check(L, 1);
	unsigned code = sh_opt_code(L, 2, 100, 699);
	struct sh_slice reason, headers, type, body;

	sh_opt_message(L, sh_opt_reason(L, 3, &reason), "req:reply", rt, &headers, &type, &body);
	if (body.len && !type.len)
		type = SH_LIT("text/plain");
	if (!q)
		return sh_gone(L);
	if (code == 408 && sh_request_msg(q)->method != SH_INVITE)
		return luaL_error(L, "req:reply: 408 is for INVITE only (RFC 4320)");
	return sh_push_done(L, sh_request_reply(q, code, reason, headers, type, body));
}

/* ------------------------------------------------------------------ pass and relay */

static int push_result(lua_State *L, void *arg)
{
	sh_result_push(L, arg);
	return 1;
}

static void on_passed(void *ctx, const struct sh_result *res)
{
	struct sh_run *r = ctx;

	if (r->wait == SH_WAIT_PASS) {
		sh_run_resume(r, push_result, (void *)res);
		return;
	}
	/* the answer came before the wait: kept by the run */
	r->result = *res;
	r->result.msg = NULL;
	r->result.branches = NULL;
	r->result.nbranches = 0;
	r->result.reason = sh_status_reason(res->code);
	r->passed = true;
}

static int pass(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "req:pass");
	struct sh_run *run = sh_run_check(L, "req:pass");
	struct sh_request *q = sh_request_check(L, 1);
	struct sh_slice headers, type, body;
	int err;

	lua_settop(L, 2);
	sh_opt_message(L, 2, "req:pass", rt, &headers, &type, &body);
	if (!q)
		return sh_gone(L);
	if (body.base && !type.len)
		type = sh_msg_header(sh_request_msg(q), SH_H_CONTENT_TYPE);
	if (body.len && !type.len)
		type = SH_LIT("text/plain");
	sh_vm_check_wait(L, "req:pass");
	run->passed = false;
	err = sh_request_pass(q, headers, type, body, on_passed, run);
	if (err)
		return sh_push_errno(L, err);
	if (run->passed) {
		sh_result_push(L, &run->result);
		return 1;
	}
	return sh_run_wait_request(L, run, q, SH_WAIT_PASS);
}

static void on_relayed(void *ctx, const struct sh_result *res)
{
	struct sh_run *r = ctx;

	sh_free(r->result_msg);
	r->result_msg = res->msg ? sh_msg_clone(res->msg) : NULL;
	r->result = *res;
	r->result.msg = r->result_msg;
	r->result.branches = NULL;
	r->result.nbranches = 0;
	r->result.reason =
	    r->result_msg ? sh_msg_text(r->result_msg, r->result_msg->reason) : sh_status_reason(res->code);
	r->has_result = true;
	sh_run_resume(r, push_result, (void *)res);
}

/* req:relay(targets [, {timeout=, headers=}]) -> res | nil, "empty" */
static int relay(lua_State *L)
{
	struct sh_run *run = sh_run_check(L, "req:relay");
	struct sh_plan_about about = {.kind = SH_PLAN_RELAY};
	struct sh_request *q = sh_request_check(L, 1);
	struct sh_fork_plan *plan;
	int err;

	lua_settop(L, 3);
	if (q) {
		about.from = sh_msg_header(sh_request_msg(q), SH_H_FROM);
		about.uri = sh_msg_text(sh_request_msg(q), sh_request_msg(q)->uri);
	}
	plan = sh_plan_read(L, 2, 3, "req:relay", &about);
	if (!q)
		return sh_gone(L);
	if (sh_request_observed(q) || sh_request_answered(q))
		return sh_push_errno(L, -EALREADY);
	if (!plan->count) {
		lua_pushnil(L);
		lua_pushliteral(L, "empty");
		return 2;
	}
	sh_vm_check_wait(L, "req:relay");
	err = sh_request_relay(q, plan, on_relayed, run);
	if (err)
		return sh_push_errno(L, err);
	return sh_run_wait_request(L, run, q, SH_WAIT_RELAY);
}

/* ------------------------------------------------------------------ DTMF in INFO bodies */

/* "Signal= 5\r\nDuration=160" (application/dtmf-relay) or the digit alone (application/dtmf). */
bool sh_dtmf_push(lua_State *L, const struct sh_msg *m)
{
	struct sh_slice type = sh_msg_header(m, SH_H_CONTENT_TYPE), body = sh_msg_text(m, m->body), line, name, value, params;
	bool found = false;

	sh_slice_cut(type, ';', &type, &params);
	type = sh_slice_trim(type);
	if (sh_slice_ieq(type, SH_LIT("application/dtmf"))) {
		body = sh_slice_trim(body);
		if (!body.len || body.len > 2)
			return false;
		lua_createtable(L, 0, 2);
		sh_push_slice(L, body);
		lua_setfield(L, -2, "signal");
		return true;
	}
	if (!sh_slice_ieq(type, SH_LIT("application/dtmf-relay")))
		return false;
	lua_createtable(L, 0, 3);
	while (body.len) {
		uint32_t n;

		sh_slice_cut(body, '\n', &line, &body);
		if (!sh_slice_cut(line, '=', &name, &value))
			continue;
		name = sh_slice_trim(name);
		value = sh_slice_trim(value);
		if (sh_slice_ieq(name, SH_LIT("Signal")) && value.len && value.len <= 2) {
			sh_push_slice(L, value);
			lua_setfield(L, -2, "signal");
			found = true;
		} else if (sh_slice_ieq(name, SH_LIT("Duration")) && sh_slice_u32(value, &n) == 0) {
			lua_pushnumber(L, n / 1000.0);
			lua_setfield(L, -2, "duration");
		}
	}
	if (!found)
		lua_pop(L, 1);
	return found;
}

int sh_dtmf_verb(lua_State *L)
{
	struct sh_view v;

	if (!sh_view_get(L, 1, &v))
		return sh_gone(L);
	if (!v.msg || !sh_dtmf_push(L, v.msg)) /* without a message: a call that is set up */
		lua_pushnil(L);
	return 1;
}

static const luaL_Reg request_methods[] = {
    {"reply", reply},
    {"pass", pass},
    {"auth", sh_auth_verb},
    {"challenge", sh_challenge_verb},
    {"register", sh_register_verb},
    {"relay", relay},
    {"publish", sh_publish_verb},
    {"dtmf", sh_dtmf_verb},
    {"headers", sh_view_headers},
    {NULL, NULL},
};

void sh_request_class(lua_State *L, enum sh_object_kind kind, const luaL_Reg *methods, const struct sh_field *fields,
		      int (*field)(lua_State *L, int id))
{
	luaL_Reg all[32] = {{NULL, NULL}};
	unsigned n = 0;

	for (const luaL_Reg *m = request_methods; m->name; m++)
		all[n++] = *m;
	for (const luaL_Reg *m = methods; m->name; m++) /* the later of two with one name counts */
		all[n++] = *m;
	sh_object_class(L, kind, all, fields, field, sh_view_header);
}

void sh_request_object_open(lua_State *L)
{
	static const luaL_Reg no_methods[] = {{NULL, NULL}};
	static const struct sh_field no_fields[] = {{NULL, 0}};
	static const lua_CFunction waiting[] = {pass, relay, sh_auth_verb, NULL}; /* auth: its function does */

	sh_waits_declare_all(L, waiting);
	sh_request_class(L, SH_OBJECT_REQUEST, no_methods, no_fields, own_field);
}
