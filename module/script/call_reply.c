/* A call has the verbs of a request too: call:reply and call:pass, in the words of the call's own. */
#include "script/impl.h"

static int results(lua_State *L, int status, lua_KContext base)
{
	(void)status;
	return lua_gettop(L) - (int)base;
}

/* A 2xx is call:answer, whose SDP is this body; it waits for the ACK. */
static int answer(lua_State *L, struct sh_slice type, struct sh_slice body)
{
	int base = lua_gettop(L);

	if (body.len && type.len && !sh_slice_ieq(type, SH_LIT("application/sdp")))
		return luaL_error(L, "call:reply: a 2xx to a call has a body of application/sdp, or none");
	lua_getfield(L, 1, "answer");
	lua_pushvalue(L, 1);
	lua_createtable(L, 0, 2);
	if (body.len) {
		lua_pushlstring(L, body.base, body.len);
		lua_setfield(L, -2, "sdp");
	}
	if (lua_istable(L, base)) {
		lua_getfield(L, base, "headers");
		lua_setfield(L, -2, "headers");
	}
	lua_callk(L, 2, LUA_MULTRET, base, results);
	return results(L, LUA_OK, base);
}

/* call:reply(code [, reason] [, {headers=, body=, content_type=}]) */
int sh_call_reply_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:reply");
	struct sh_call *c = sh_call_check(L, 1);
	unsigned code = sh_opt_code(L, 2, 101, 699);
	struct sh_slice reason, headers, type, body;
	int options = sh_opt_reason(L, 3, &reason), err;

	lua_settop(L, options);
	sh_opt_message(L, options, "call:reply", rt, &headers, &type, &body);
	if (!c)
		return sh_gone(L);
	if (code >= 200 && code < 300)
		return answer(L, type, body);
	if (code < 200) {
		err = sh_call_ring(c, code, reason, headers, body);
	} else {
		if (body.len && !type.len)
			type = SH_LIT("text/plain");
		err = sh_call_reject(c, code, reason, headers, type, body);
	}
	return sh_push_done(L, err);
}

/* call:pass([{headers=, body=, content_type=}]) -> res: what happens to a call without an invite hook. */
int sh_call_pass_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:pass");
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_result res = {404, sh_status_reason(404), sh_cause_of(404), NULL, NULL, 0};
	struct sh_slice headers, type, body;
	int err;

	lua_settop(L, 2);
	sh_opt_message(L, 2, "call:pass", rt, &headers, &type, &body);
	if (body.len && !type.len)
		type = SH_LIT("text/plain");
	if (!c)
		return sh_gone(L);
	err = sh_call_reject(c, res.code, (struct sh_slice){0}, headers, type, body);
	if (err)
		return sh_push_errno(L, err);
	sh_result_push(L, &res);
	return 1;
}
