/* sip.originate: a call that the script makes. */
#include "b2bua/originate.h"
#include "script/impl.h"

struct outcome {
	struct sh_call *call;
	const struct sh_result *result;
};

static int push_outcome(lua_State *L, void *arg)
{
	const struct outcome *o = arg;

	if (o->call) {
		sh_object_push(L, SH_OBJECT_CALL, sh_call_handle(o->call));
		return 1;
	}
	lua_pushnil(L);
	sh_result_push(L, o->result);
	return 2;
}

static void on_done(void *ctx, struct sh_call *c, const struct sh_result *r)
{
	struct outcome o = {c, r};
	struct sh_run *run = ctx;

	run->originates = 0;
	sh_run_resume(run, push_outcome, &o);
}

static void abandon(void *arg)
{
	struct sh_run *run = arg;
	struct sh_call *c = sh_ua_call(run->state->runtime->ua, run->originates);

	run->originates = 0;
	if (c)
		sh_originate_abandon(c);
}

static int on_started(void *ctx, struct sh_call *c)
{
	(void)ctx;
	return sh_call_data_create(c);
}

/* The URI of a plan's first target: what the other party sees. */
static struct sh_slice first_uri(const struct sh_fork_plan *p)
{
	return p && p->count ? p->targets[0].uri : (struct sh_slice){0};
}

static struct sh_fork_plan *read_party(lua_State *L, const char *key)
{
	struct sh_plan_about about = {.kind = SH_PLAN_ORIGINATE};

	if (sh_opt_get(L, 1, key) == LUA_TNIL)
		return NULL;
	return sh_plan_read(L, lua_gettop(L), 1, "sip.originate", &about);
}

/* "Display" <uri>, of what the script gives. */
static struct sh_slice read_identity(lua_State *L)
{
	struct sh_slice display, uri, out = {0};

	if (sh_opt_get(L, 1, "identity") == LUA_TNIL)
		return out;
	uri = sh_opt_uri(L, lua_gettop(L), "sip.originate: option 'identity'", &display);
	lua_pushlstring(L, display.base ? display.base : "", display.len);
	lua_pushlstring(L, uri.base, uri.len);
	out.base = lua_pushfstring(L, "%s%s<%s>", lua_tostring(L, -2), display.len ? " " : "", lua_tostring(L, -1));
	out.len = strlen(out.base);
	return out; /* lives on the stack */
}

/* sip.originate{first=, second=, identity=, headers=, timeout=} -> call | nil, res */
int sh_originate_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.originate");
	struct sh_run *run = sh_run_check(L, "sip.originate");
	struct sh_originate_plan plan = {0};
	struct sh_call *call;
	int err;

	lua_settop(L, 1);
	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_checkstack(L, 20, NULL);
	plan.first = read_party(L, "first");
	if (!plan.first)
		return luaL_error(L, "sip.originate: option 'first' is needed");
	plan.second = read_party(L, "second");
	plan.identity = read_identity(L);
	plan.first_uri = first_uri(plan.first);
	plan.second_uri = first_uri(plan.second);
	if (!plan.first->count || (plan.second && !plan.second->count)) {
		struct sh_result r = {480, sh_status_reason(480), SH_EMPTY, NULL, NULL, 0};

		lua_pushnil(L);
		sh_result_push(L, &r);
		return 2;
	}
	if (!plan.second_uri.len && !plan.identity.len)
		plan.identity = sh_own_name(L, rt);
	sh_vm_check_wait(L, "sip.originate");
	err = sh_call_originate(rt->ua, &call, &plan, on_started, on_done, run);
	if (err)
		return sh_push_errno(L, err);
	run->originates = sh_call_handle(call);
	return sh_run_wait_for(L, run, abandon, run, NULL);
}
