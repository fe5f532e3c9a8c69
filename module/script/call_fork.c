/* Whom a call is connected with: call:fork, bridge, dial, relay, answer. */
#include "script/impl.h"
#include "script/sdp_object.h"

struct fork_outcome {
	struct sh_leg *leg;
	const struct sh_result *result;
};

static int push_fork(lua_State *L, void *arg)
{
	struct fork_outcome *o = arg;

	if (o->leg) {
		sh_object_push(L, SH_OBJECT_LEG, sh_leg_handle(o->leg));
		return 1;
	}
	lua_pushnil(L);
	sh_result_push(L, o->result);
	return 2;
}

static void on_forked(void *ctx, struct sh_leg *leg, const struct sh_result *result)
{
	struct fork_outcome o = {leg, result};

	sh_run_resume(ctx, push_fork, &o);
}

static int push_empty(lua_State *L)
{
	struct sh_result r = {480, sh_status_reason(480), SH_EMPTY, NULL, NULL, 0};

	lua_pushnil(L);
	sh_result_push(L, &r);
	return 2;
}

/* Starts a fork of the targets at 2 with the options at 3, whose outcome goes to `done`. True: the hook has to wait; else *results
 * values are there. */
static bool start_fork(lua_State *L, struct sh_run *run, const char *what, sh_fork_fn done, int *results)
{
	struct sh_plan_about about = {.kind = SH_PLAN_CALL};
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_fork_plan *plan;
	int err;

	if (c)
		about = (struct sh_plan_about){SH_PLAN_CALL, sh_call_from(c), sh_call_uri(c)};
	plan = sh_plan_read(L, 2, 3, what, &about);
	if (!c) {
		*results = sh_gone(L);
		return false;
	}
	if (sh_call_state(c) == SH_CALL_ENDED) {
		*results = sh_push_errno(L, -EPIPE);
		return false;
	}
	run->empty = run->hook == SH_HOOK_INVITE && run->call == sh_call_handle(c) && !plan->count;
	if (!plan->count) {
		*results = push_empty(L);
		return false;
	}
	sh_vm_check_wait(L, what);
	err = plan->sdp.len > SH_MSG_MAX_SIZE ? -EMSGSIZE : sh_call_fork(c, plan, done, run);
	if (!err)
		return true;
	*results = sh_push_errno(L, err);
	return false;
}

int sh_call_fork_verb(lua_State *L)
{
	struct sh_run *run = sh_run_check(L, "call:fork");
	int results;

	lua_settop(L, 3);
	if (!start_fork(L, run, "call:fork", on_forked, &results))
		return results;
	return sh_run_wait_call(L, run, sh_call_check(L, 1), SH_WAIT_FORK, NULL);
}

static int push_bridge(lua_State *L, void *arg)
{
	int err = *(int *)arg;
	struct sh_result r = {408, SH_LIT("No ACK"), SH_NO_ANSWER, NULL, NULL, 0};

	if (!err) {
		lua_pushboolean(L, 1);
		return 1;
	}
	if (err > 0) /* a caller who is up has refused the new session */
		r = (struct sh_result){(unsigned)err, sh_status_reason((unsigned)err), sh_cause_of((unsigned)err), NULL, NULL, 0};
	else if (err == -EPIPE)
		r = (struct sh_result){480, SH_LIT("The leg has gone"), SH_FAILED, NULL, NULL, 0};
	lua_pushnil(L);
	sh_result_push(L, &r);
	return 2;
}

static void on_bridged(void *ctx, int err)
{
	sh_run_resume(ctx, push_bridge, &err);
}

const char *const sh_options_bridge[] = {"headers", "on_peer_hangup", "max_duration", NULL};

/* then: what goes on with the results, as for sh_run_wait_call(). */
static int start_bridge(lua_State *L, struct sh_run *run, struct sh_call *c, struct sh_leg *leg, int table, lua_KFunction then)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:bridge");
	struct sh_bridge_options o = {0};
	struct sh_writer w;
	struct sh_slice s;
	int err;

	if (table) {
		sh_opt_known(L, table, "call:bridge", sh_options_bridge);
		s = sh_opt_text(L, table, "on_peer_hangup");
		o.keep_on_peer_hangup = sh_slice_eq(s, SH_LIT("continue"));
		if (s.base && !o.keep_on_peer_hangup && !sh_slice_eq(s, SH_LIT("end")))
			return luaL_error(L, "call:bridge: option 'on_peer_hangup': \"end\" or \"continue\" expected");
		o.max_duration = sh_opt_seconds(L, table, "max_duration", 0);
	}
	o.headers = sh_opt_header_lines(L, table, rt, &w);
	if (!c || !leg)
		return sh_gone(L);
	sh_vm_check_wait(L, "call:bridge");
	err = sh_call_bridge(c, leg, &o, on_bridged, run);
	if (err)
		return sh_push_done(L, err < 0 ? err : 0);
	return sh_run_wait_call(L, run, c, SH_WAIT_BRIDGE, then);
}

/* call:bridge(leg [, {headers=, on_peer_hangup=, max_duration=}]) */
int sh_call_bridge_verb(lua_State *L)
{
	struct sh_run *run = sh_run_check(L, "call:bridge");

	lua_settop(L, 3);
	if (!lua_isnil(L, 3))
		luaL_checktype(L, 3, LUA_TTABLE);
	return start_bridge(L, run, sh_call_check(L, 1), sh_leg_check(L, 2), lua_isnil(L, 3) ? 0 : 3, NULL);
}

/* call:dial(targets [, opts]): fork, then bridge. */
static int dial_forked(lua_State *L, int status, lua_KContext base)
{
	(void)status;
	if (lua_isnil(L, (int)base + 1))
		return lua_gettop(L) - (int)base;
	return start_bridge(L, sh_run_check(L, "call:dial"), sh_call_check(L, 1), sh_leg_check(L, (int)base + 1), 0, NULL);
}

int sh_call_dial_verb(lua_State *L)
{
	struct sh_run *run = sh_run_check(L, "call:dial");
	int results;

	lua_settop(L, 3);
	if (!start_fork(L, run, "call:dial", on_forked, &results))
		return results;
	return sh_run_wait_call(L, run, sh_call_check(L, 1), SH_WAIT_FORK, dial_forked);
}

/* ------------------------------------------------------------------ relay: dial, in the words of a request */

static int push_relayed(lua_State *L, void *arg)
{
	struct fork_outcome *o = arg;

	push_fork(L, o);
	if (o->leg)
		sh_result_push(L, o->result);
	return 2; /* leg or nil, result */
}

static void on_relayed(void *ctx, struct sh_leg *leg, const struct sh_result *result)
{
	struct fork_outcome o = {leg, result};

	sh_run_resume(ctx, push_relayed, &o);
}

/* Behind the leg and its result at base - 1 and base: true, or nil and why not. */
static int relay_bridged(lua_State *L, int status, lua_KContext base)
{
	(void)status;
	if (lua_toboolean(L, (int)base + 1))
		lua_pushvalue(L, (int)base);
	return 1; /* what is on top: the result of the fork, or that of the bridge */
}

static int relay_forked(lua_State *L, int status, lua_KContext base)
{
	(void)status;
	if (lua_isnil(L, (int)base + 1))
		return 1;
	return start_bridge(L, sh_run_check(L, "call:relay"), sh_call_check(L, 1), sh_leg_check(L, (int)base + 1), 0, relay_bridged);
}

/* call:relay(targets [, opts]) -> res | nil, "empty": the first 2xx answers and connects the caller; a failure does when the hook
 * ends, unless the script has said something else. */
int sh_call_relay_verb(lua_State *L)
{
	struct sh_run *run = sh_run_check(L, "call:relay");
	int results;

	lua_settop(L, 3);
	if (start_fork(L, run, "call:relay", on_relayed, &results))
		return sh_run_wait_call(L, run, sh_call_check(L, 1), SH_WAIT_FORK, relay_forked);
	if (run->empty) {
		lua_pushnil(L);
		lua_pushliteral(L, "empty");
		return 2;
	}
	return results;
}

const char *const sh_options_answer[] = {"headers", "sdp", NULL};

/* ------------------------------------------------------------------ answer */

/* call:answer([{sdp=, headers=}]) -> true | nil, res */
int sh_call_answer_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:answer");
	struct sh_run *run = sh_run_check(L, "call:answer");
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_slice sdp = {0}, headers;
	struct sh_writer w;
	int err;

	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		sh_opt_known(L, 2, "call:answer", sh_options_answer);
		sh_opt_sdp(L, 2, "sdp", "call:answer", &sdp);
	}
	headers = sh_opt_header_lines(L, lua_isnil(L, 2) ? 0 : 2, rt, &w);
	if (!c)
		return sh_gone(L);
	sh_vm_check_wait(L, "call:answer");
	err = sh_call_answer(c, sdp, headers, on_bridged, run);
	if (err)
		return sh_push_errno(L, err);
	return sh_run_wait_call(L, run, c, SH_WAIT_BRIDGE, NULL);
}
