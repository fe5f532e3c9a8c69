/* sip.request: a request of our own outside of dialogs. */
#include "script/impl.h"

static int push_result(lua_State *L, void *arg)
{
	sh_result_push(L, arg);
	return 1;
}

static void on_done(void *ctx, const struct sh_result *res)
{
	sh_run_resume(ctx, push_result, (void *)res);
}

static void abandon(void *arg)
{
	sh_sending_drop(arg);
}

struct sh_slice sh_own_name(lua_State *L, struct sh_runtime *rt)
{
	struct sh_transport *t = sh_ua_transport(rt->ua);
	struct sh_slice host = rt->domains.count ? rt->domains.names[0] : (struct sh_slice){0}, out;

	if (!host.len && sh_transport_endpoints(t))
		host = sh_transport_endpoint(t, 0)->host;
	out.base = lua_pushfstring(L, "<sip:%s>", lua_pushlstring(L, host.base ? host.base : "localhost", host.len));
	out.len = strlen(out.base);
	return out;
}

static struct sh_slice read_method(lua_State *L)
{
	struct sh_slice name = sh_opt_text(L, 1, "method");

	if (!name.len)
		luaL_error(L, "sip.request: option 'method' is needed");
	for (size_t i = 0; i < name.len; i++)
		if (!((name.base[i] >= 'A' && name.base[i] <= 'Z') || name.base[i] == '-'))
			luaL_error(L, "sip.request: option 'method': '%s' is no method", name.base);
	switch (sh_method_lookup(name)) {
	case SH_INVITE:
		luaL_error(L, "sip.request: INVITE makes a call: sip.originate");
		break;
	case SH_ACK:
	case SH_CANCEL:
	case SH_BYE:
	case SH_PRACK:
		luaL_error(L, "sip.request: %s belongs to a call", name.base);
		break;
	default:
		break;
	}
	return name;
}

/* Requests that make, or could make, a dialog say where we are (RFC 3261 8.1.1.8, 10.2). */
static bool needs_contact(enum sh_method m)
{
	return m == SH_SUBSCRIBE || m == SH_REFER || m == SH_REGISTER || m == SH_NOTIFY;
}

/* sip.request{method=, uri= or targets=, from=, to=, headers=, body=, content_type=, auth=, timeout=} -> res */
int sh_request_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.request");
	struct sh_run *run = sh_run_check(L, "sip.request");
	struct sh_plan_about about = {.kind = SH_PLAN_REQUEST};
	struct sh_own_request own = {0};
	struct sh_sending *sending;
	struct sh_fork_plan *plan;
	int err;

	lua_settop(L, 1);
	luaL_checktype(L, 1, LUA_TTABLE);
	own.method = read_method(L);
	own.contact = needs_contact(sh_method_lookup(own.method));
	own.from = sh_own_name(L, rt);
	about.from = own.from;
	own.content_type = sh_opt_text(L, 1, "content_type");
	if (sh_opt_get(L, 1, "body") == LUA_TSTRING)
		own.body.base = lua_tolstring(L, -1, &own.body.len);
	else if (!lua_isnil(L, -1))
		luaL_error(L, "option 'body': string expected, got %s", luaL_typename(L, -1));
	if (own.body.len && !own.content_type.len)
		own.content_type = SH_LIT("text/plain");
	if ((sh_opt_get(L, 1, "targets") == LUA_TNIL) == (sh_opt_get(L, 1, "uri") == LUA_TNIL))
		luaL_error(L, "sip.request: one of the options 'uri' and 'targets' is needed");
	if (lua_isnil(L, -1))
		lua_pop(L, 1);
	plan = sh_plan_read(L, lua_gettop(L), 1, "sip.request", &about);
	if (!plan->count) {
		struct sh_result r = {480, sh_status_reason(480), SH_EMPTY, NULL, NULL, 0};

		sh_result_push(L, &r);
		return 1;
	}
	sh_vm_check_wait(L, "sip.request");
	err = own.body.len > SH_MSG_MAX_SIZE ? -EMSGSIZE : sh_ua_request_out(rt->ua, &sending, &own, plan, on_done, run);
	if (err)
		return sh_push_errno(L, err);
	return sh_run_wait_for(L, run, abandon, sending, NULL);
}
