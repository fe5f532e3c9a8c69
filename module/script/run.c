/* Runs: a hook as a coroutine, from its start over its waits to what its end means. */
#include "script/impl.h"
#include "script/lock.h"
#include "script/order.h"

static void finish(struct sh_run *r, int err);

static const char *hook_name(const struct sh_run *r)
{
	return r->hook < SH_HOOK_COUNT ? sh_hook_names[r->hook] : r->name ? r->name : "timer";
}

static void on_turn(struct sh_timer *t)
{
	sh_run_resume(SH_CONTAINER(t, struct sh_run, timer), NULL, NULL);
}

/* A step of a run is over: it waits, or has ended. Whatever ended calls on the way is told when no Lua is on the stack.
 */
static void stepped(struct sh_run *r, struct sh_runtime *rt, int err)
{
	if (r->state->verb.nplans || r->state->verb.bindings)
		sh_verb_forget(r->state);
	if (err == SH_VM_PAUSED) {
		rt->stats.pauses++;
		r->wait = SH_WAIT_TURN;
		r->timer.fire = on_turn;
		sh_env_timer(rt->env, &r->timer, 0);
	} else if (err != SH_VM_WAITS) {
		finish(r, err);
	} else {
		sh_call_data_save(r);
	}
	if (--rt->depth == 0)
		sh_runtime_flush(rt);
}

/* Hooks of the call itself end with it; those of requests, and the hangup hook, have their own end. */
static void join_call(struct sh_run *r, struct sh_call_data *d)
{
	if (!d || (r->hook != SH_HOOK_INVITE && r->hook != SH_HOOK_ANSWER && r->hook != SH_HOOK_NONE))
		return;
	sh_list_append(&d->runs, &r->of_call);
	if (r->hook == SH_HOOK_INVITE)
		d->run = r;
}

/* Emergency calls have a reserve of their own. */
static bool has_room(const struct sh_state *s, bool urgent)
{
	unsigned most = s->runtime->script->config.hooks_max;

	return s->vm->active_count < most + (urgent ? most / 10 + 1 : 0);
}

int sh_run_begin(struct sh_state *s, const struct sh_run_start *start)
{
	struct sh_runtime *rt = s->runtime;
	struct sh_run *r;

	if (!has_room(s, start->urgent)) {
		rt->stats.refused_hooks++;
		sh_runtime_warn(rt, "%u hooks are in progress: no further one was begun", s->vm->active_count);
		return -EAGAIN;
	}
	r = sh_pool_calloc(&rt->env->pool, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->state = s;
	r->hook = start->hook;
	r->name = start->name;
	r->question = start->question;
	r->order = start->order;
	sh_list_init(&r->locks);
	r->data_ref = LUA_NOREF;
	sh_timer_init(&r->timer, NULL);
	sh_list_init(&r->of_call);
	sh_list_init(&r->in_waits);
	if (start->call) {
		r->call = sh_call_handle(start->call);
		sh_call_hold(start->call);
		join_call(r, sh_call_app(start->call));
	}
	if (start->request)
		r->request = sh_request_handle(start->request);
	sh_list_append(&s->runs, &r->link);
	rt->runs++;
	rt->depth++;
	stepped(r, rt, sh_vm_start(s->vm, &r->co, r, start->push, start->arg));
	return 0;
}

bool sh_run_waits(const struct sh_run *r)
{
	return r->co && r->co->waiting;
}

/* It waits no longer for a fork or bridge. */
static void forget_call(struct sh_run *r)
{
	struct sh_call *c = r->forks ? sh_ua_call(r->state->runtime->ua, r->forks) : NULL;
	struct sh_call_data *d = c ? sh_call_app(c) : NULL;

	r->forks = 0;
	if (d && d->waiter == r)
		d->waiter = NULL;
}

/* The wait ends by something else. */
static void abandon(struct sh_run *r)
{
	void (*fn)(void *) = r->abandon;

	r->abandon = NULL;
	if (fn)
		fn(r->abandon_arg);
}

void sh_run_resume(struct sh_run *r, sh_vm_push_fn push, void *arg)
{
	struct sh_runtime *rt = r->state->runtime;

	sh_wheel_cancel(&rt->env->wheel, &r->timer);
	r->wait = SH_WAIT_NONE;
	r->abandon = NULL;
	forget_call(r);
	rt->depth++;
	stepped(r, rt, sh_vm_resume(r->co, push, arg));
}

/* ------------------------------------------------------------------ waiting */

static int results(lua_State *L, int status, lua_KContext base)
{
	(void)status;
	return lua_gettop(L) - (int)base;
}

static void check_declared(lua_State *L)
{
#ifdef SH_ALLOC_FAULTS
	lua_Debug ar;

	luaL_checkstack(L, 4, NULL);
	if (!lua_getstack(L, 0, &ar) || !lua_getinfo(L, "fn", &ar) || !sh_waits(L, -1))
		luaL_error(L, "%s waits without being declared (sh_waits_declare)", ar.name ? ar.name : "a function");
	lua_pop(L, 1);
#else
	(void)L;
#endif
}

int sh_run_wait(lua_State *L, struct sh_run *r, enum sh_wait wait)
{
	check_declared(L);
	r->wait = wait;
	return sh_vm_wait(L, (lua_KContext)lua_gettop(L), results);
}

int sh_run_wait_request(lua_State *L, struct sh_run *r, struct sh_request *q, enum sh_wait wait)
{
	r->passes = sh_request_handle(q);
	return sh_run_wait(L, r, wait);
}

int sh_run_wait_for(lua_State *L, struct sh_run *r, void (*fn)(void *arg), void *arg, lua_KFunction then)
{
	check_declared(L);
	r->wait = SH_WAIT_OTHER;
	r->abandon = fn;
	r->abandon_arg = arg;
	return sh_vm_wait(L, (lua_KContext)lua_gettop(L), then ? then : results);
}

int sh_run_wait_call(lua_State *L, struct sh_run *r, struct sh_call *c, enum sh_wait wait, lua_KFunction then)
{
	struct sh_call_data *d = sh_call_app(c);

	check_declared(L);
	r->forks = sh_call_handle(c);
	r->forked = r->forked || wait == SH_WAIT_FORK;
	if (d)
		d->waiter = r;
	r->wait = wait;
	return sh_vm_wait(L, (lua_KContext)lua_gettop(L), then ? then : results);
}

static int raise_cancel(lua_State *L, void *arg)
{
	struct sh_state *s = arg;

	lua_rawgeti(L, LUA_REGISTRYINDEX, s->cancel_error);
	return sh_vm_raise(L);
}

void sh_run_interrupt(struct sh_run *r)
{
	if (!sh_run_waits(r)) /* it runs right now, and has ended the call itself */
		return;
	if (r->wait == SH_WAIT_TURN) { /* it is told where it would wait next */
		r->co->pending = raise_cancel;
		r->co->pending_arg = r->state;
		return;
	}
	abandon(r);
	sh_run_resume(r, raise_cancel, r->state);
}

static int raise_retired(lua_State *L, void *arg)
{
	struct sh_state *s = arg;

	lua_rawgeti(L, LUA_REGISTRYINDEX, s->retired_error);
	return sh_vm_raise(L);
}

/* Gives up what it waits for; false: that cannot be given up. */
static bool leave_wait(struct sh_run *r)
{
	struct sh_ua *ua = r->state->runtime->ua;
	struct sh_call *c = r->forks ? sh_ua_call(ua, r->forks) : NULL;
	struct sh_request *q;

	switch (r->wait) {
	case SH_WAIT_TIMER:
	case SH_WAIT_OTHER:
		break;
	case SH_WAIT_FORK:
		if (c)
			sh_call_abort_fork(c);
		break;
	case SH_WAIT_BRIDGE: /* goes on: he has the 200 */
		if (c)
			sh_call_bridge_forget(c);
		break;
	case SH_WAIT_PASS:
	case SH_WAIT_RELAY:
		q = sh_ua_request(ua, r->passes);
		if (!q || !sh_request_forget(q, r))
			return false; /* its outcome is on the way */
		break;
	default:
		return false;
	}
	abandon(r);
	return true;
}

void sh_run_retire(struct sh_run *r, bool last)
{
	struct sh_runtime *rt = r->state->runtime;

	if (!sh_run_waits(r) || !leave_wait(r))
		return;
	rt->stats.retired += !r->retired;
	r->retired = true;
	if (!last) {
		sh_run_resume(r, raise_retired, r->state);
		return;
	}
	sh_runtime_warn(rt, "generation %llu must go: its %s hook, which would not end, is dropped",
			(unsigned long long)r->state->generation->number, hook_name(r));
	sh_wheel_cancel(&rt->env->wheel, &r->timer);
	forget_call(r);
	sh_vm_drop(r->co);
	rt->depth++;
	stepped(r, rt, -ETIME);
}

/* ------------------------------------------------------------------ the end */

/* What the network can cause is logged with a limit; a traceback follows only a line that was written. */
static void log_error(struct sh_run *r, struct sh_call *c)
{
	struct sh_vm *vm = r->state->vm;
	struct sh_runtime *rt = r->state->runtime;
	struct sh_log *log = rt->script->config.log;
	struct sh_slice message = sh_vm_error(vm), trace = sh_vm_traceback(vm), line;
	struct sh_slice id = c ? sh_call_id(c) : (struct sh_slice){"-", 1};

	sh_runtime_error(rt, "hook %s, call %.*s: %.*s", hook_name(r), SH_FMT(id), SH_FMT(message));
	if (atomic_load(&rt->log_limit.used) > SH_LOG_LIMIT_PER_SECOND)
		return;
	while (trace.len) {
		sh_slice_cut(trace, '\n', &line, &trace);
		sh_error(log, "    %.*s", SH_FMT(sh_slice_trim(line)));
	}
}

static void warn_unanswered(struct sh_run *r, const char *what, struct sh_slice who)
{
	struct sh_runtime *rt = r->state->runtime;

	sh_runtime_warn(rt, "%s %.*s: the %s hook ended without an answer", what, SH_FMT(who), hook_name(r));
}

static bool wants_answer(const struct sh_call *c)
{
	return sh_call_state(c) != SH_CALL_ENDED && !sh_call_answered(c) && !sh_call_connecting(c);
}

static void end_invite(struct sh_run *r, struct sh_call *c, int err)
{
	struct sh_slice none = {0};

	if (wants_answer(c)) {
		if (err == -ENOMEM)
			sh_call_reject(c, 503, none, none, none, none);
		else if (err)
			sh_call_reject(c, 500, SH_LIT("Script error"), none, none, none);
		else if (r->empty)
			sh_call_reject(c, 480, none, none, none, none);
	}
	if (!sh_call_settle(c)) {
		warn_unanswered(r, "call", sh_call_id(c));
		sh_call_reject(c, 500, none, none, none, none);
	}
}

static bool passes_by_default(enum sh_hook h)
{
	switch (h) {
	case SH_HOOK_REINVITE:
	case SH_HOOK_UPDATE:
	case SH_HOOK_INFO:
	case SH_HOOK_MESSAGE:
	case SH_HOOK_OPTIONS:
	case SH_HOOK_NOTIFY:
	case SH_HOOK_REFER:
		return true;
	default:
		return false;
	}
}

/* call:continue: the timer in the newest generation goes on where the hook has ended. Not from here: one that continues with
 * itself would never end. */
static void go_on(struct sh_run *r, struct sh_call *c)
{
	struct sh_slice none = {0};

	if (sh_deferred_continue(r->state->runtime, c, r->go_on, r->hook) < 0 && wants_answer(c))
		sh_call_reject(c, 503, none, none, none, none);
}

static void on_default_done(void *ctx, const struct sh_result *res)
{
	(void)res;
	sh_request_release(ctx);
}

/* A re-INVITE goes on by itself; another request is needed until its answer has come. A key that somebody has waited for needs no
 * other leg. */
void sh_request_default(struct sh_request *q, enum sh_hook h)
{
	bool invite = h == SH_HOOK_REINVITE;
	const struct sh_call *c = sh_request_call(q);
	struct sh_slice none = {0};

	if (sh_request_app(q) && !invite && c && !sh_call_b(c)) {
		sh_request_reply(q, 200, none, none, none, none);
		sh_request_release(q);
	} else if (sh_request_pass(q, none, none, none, invite ? NULL : on_default_done, q) < 0 || invite)
		sh_request_release(q);
}

static void end_request(struct sh_run *r, struct sh_request *q, int err)
{
	struct sh_slice none = {0};

	if (sh_request_observed(q) || sh_request_answered(q)) {
		sh_request_release(q);
	} else if (!err && sh_request_leave(q)) { /* the hook had to go while its pass or relay went on */
		return;
	} else if (err) {
		if (err == -ENOMEM)
			sh_request_reply(q, 503, none, none, none, none);
		else
			sh_request_reply(q, 500, SH_LIT("Script error"), none, none, none);
		sh_request_release(q);
	} else if (r->has_result) {
		sh_request_answer_with(q, &r->result);
		sh_request_release(q);
	} else if (passes_by_default(r->hook)) {
		sh_request_default(q, r->hook);
	} else {
		warn_unanswered(r, "request from", sh_msg_text(sh_request_msg(q), sh_request_msg(q)->from_uri));
		sh_request_reply(q, 500, none, none, none, none);
		sh_request_release(q);
	}
}

/* The run's own: memory and references. */
static void destroy(struct sh_run *r)
{
	struct sh_runtime *rt = r->state->runtime;

	sh_lock_release_all(r);
	luaL_unref(r->state->vm->L, LUA_REGISTRYINDEX, r->data_ref);
	sh_list_remove(&r->link);
	sh_list_remove(&r->of_call);
	sh_list_remove(&r->in_waits);
	sh_free(r->go_on);
	rt->runs--;
	sh_value_destroy(r->seen);
	sh_free(r->auth_user);
	sh_free(r->result_msg);
	sh_pool_free(&rt->env->pool, r, sizeof(*r));
}

/* ---- what a generation that must go leaves behind */

/* Nobody caught the retired error: sip.timer.retired of the newest generation goes on. 0; or it has none, and there is
 * nothing better than 503. */
static int hand_over(struct sh_run *r, struct sh_call *c)
{
	struct sh_runtime *rt = r->state->runtime;
	const char *name = "retired";

	if (!c || r->request || sh_call_state(c) == SH_CALL_ENDED)
		return 0;
	sh_runtime_update(rt);
	if (!r->go_on && sh_timer_exists(rt->state, name))
		r->go_on = sh_strndup(name, strlen(name));
	if (r->go_on)
		return 0;
	if (r->hook != SH_HOOK_INVITE || !wants_answer(c))
		return 0;
	sh_runtime_warn(rt, "call %.*s: its generation had to go, and the newest has no sip.timer.retired",
			SH_FMT(sh_call_id(c)));
	return -ENOMEM; /* 503 */
}

static void finish(struct sh_run *r, int err)
{
	struct sh_state *s = r->state;
	struct sh_runtime *rt = s->runtime;
	struct sh_call *c = sh_ua_call(rt->ua, r->call);
	struct sh_request *q = sh_ua_request(rt->ua, r->request);

	r->co = NULL;
	if (err && s->vm->error.object == s->cancel_pointer)
		err = 0; /* nobody caught the cancel: a normal end */
	if (err && r->retired && (err == -ETIME || s->vm->error.object == s->retired_pointer))
		err = hand_over(r, c);
	if (err && !r->retired) {
		rt->stats.errors++;
		rt->stats.too_long += err == -ETIME;
		rt->stats.memory += err == -ENOMEM;
		log_error(r, c);
	}
	if (r->order)
		sh_order_served(r, err ? sh_vm_error(s->vm) : (struct sh_slice){0});
	sh_call_data_save(r);
	sh_list_remove(&r->of_call);
	if (err || !c || sh_call_state(c) == SH_CALL_ENDED) {
		sh_free(r->go_on);
		r->go_on = NULL;
	}
	if (c && r->hook == SH_HOOK_INVITE) {
		((struct sh_call_data *)sh_call_app(c))->run = NULL;
		if (r->go_on)
			sh_call_drop_loose(c);
		else
			end_invite(r, c, err);
	} else if (c && r->forked) {
		sh_call_settle(c); /* on a call that is up: legs that were not bridged */
	}
	if (r->go_on)
		go_on(r, c);
	if (q)
		end_request(r, q, err);
	if (r->question)
		sh_sdp_hook_answer(r, !err);
	if (c)
		sh_call_release(c);
	destroy(r);
	sh_state_retire_if_idle(s);
}

void sh_run_drop(struct sh_run *r)
{
	struct sh_runtime *rt = r->state->runtime;
	struct sh_call *c = sh_ua_call(rt->ua, r->call);

	sh_wheel_cancel(&rt->env->wheel, &r->timer);
	abandon(r);
	forget_call(r);
	sh_vm_drop(r->co);
	if (r->order)
		sh_order_served(r, (struct sh_slice){0});
	if (c && r->hook == SH_HOOK_INVITE)
		((struct sh_call_data *)sh_call_app(c))->run = NULL;
	if (c)
		sh_call_release(c);
	destroy(r);
}

struct sh_run *sh_run_check(lua_State *L, const char *what)
{
	struct sh_coroutine *co = sh_vm_current(L);

	sh_torture_collect(L);
	if (!co)
		luaL_error(L, "%s works in hooks only", what);
	return co->user;
}

struct sh_runtime *sh_runtime_check(lua_State *L, const char *what)
{
	struct sh_state *s = sh_state_of(L);

	sh_torture_collect(L);
	if (!s->runtime)
		luaL_error(L, "%s does not work while the script loads, nor in the load hook", what);
	return s->runtime;
}
