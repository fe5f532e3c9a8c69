/* The option on_branch of a fork: a function that hears what happens to each branch, in a coroutine of its own, soon after it
 * happened. It hears of it when no Lua is on the stack and the fork is not in the middle of something: it may do what any
 * hook may. Its Lua state stays until the last event was told. */
#include "script/impl.h"

struct happened {
	struct sh_link link;
	enum sh_branch_event ev;
	uint64_t leg;
	unsigned code;
	enum sh_cause cause;
	struct sh_msg *msg;
	struct sh_slice uri, reason; /* in text */
	char text[];
};

struct sh_branch_hook {
	struct sh_link link; /* in runtime->branch_hooks */
	struct sh_runtime *runtime; /* NULL: it is gone */
	struct sh_state *state;
	int ref;
	struct sh_link events;
	struct sh_timer timer;
	bool over; /* the fork is */
};

static void free_event(struct happened *h)
{
	sh_free(h->msg);
	sh_free(h);
}

static void destroy(struct sh_branch_hook *h)
{
	struct sh_runtime *rt = h->runtime;
	struct sh_state *s = h->state;
	struct sh_link *k;

	while ((k = sh_list_pop(&h->events)))
		free_event(SH_CONTAINER(k, struct happened, link));
	if (rt) {
		sh_wheel_cancel(&rt->env->wheel, &h->timer);
		luaL_unref(s->vm->L, LUA_REGISTRYINDEX, h->ref);
	}
	sh_list_remove(&h->link);
	sh_free(h);
	if (rt) {
		s->spawned--;
		sh_state_retire_if_idle(s);
	}
}

static const char *const names[] = {
    [SH_BRANCH_SENT] = "trying",      [SH_BRANCH_RINGING] = "ringing", [SH_BRANCH_EARLY] = "early",
    [SH_BRANCH_ANSWERED] = "answered", [SH_BRANCH_FAILED] = "failed",   [SH_BRANCH_CANCELLED] = "cancelled",
};

struct telling {
	const struct sh_branch_hook *hook;
	const struct happened *event;
};

static int push_event(lua_State *L, void *arg)
{
	const struct telling *t = arg;
	const struct happened *e = t->event;
	struct sh_branch_result one = {e->uri, e->reason, e->code};
	struct sh_result r = {e->code, e->reason, e->cause, e->msg, &one, 1};

	lua_rawgeti(L, LUA_REGISTRYINDEX, t->hook->ref);
	sh_object_push(L, SH_OBJECT_LEG, e->leg);
	sh_push_slice(L, e->uri);
	lua_setiuservalue(L, -2, 1);
	lua_pushstring(L, names[e->ev]);
	sh_result_push(L, &r);
	return 4;
}

static void on_timer(struct sh_timer *timer)
{
	struct sh_branch_hook *h = SH_CONTAINER(timer, struct sh_branch_hook, timer);
	struct sh_runtime *rt = h->runtime;
	struct sh_link *k = sh_list_pop(&h->events);

	if (k) { /* one at a time: what it does may bring others, or the end */
		struct telling t = {h, SH_CONTAINER(k, struct happened, link)};
		struct sh_run_start start = {.hook = SH_HOOK_NONE, .name = "on_branch", .push = push_event, .arg = &t};

		sh_env_timer(rt->env, &h->timer, 0);
		if (sh_run_begin(h->state, &start) < 0)
			sh_runtime_error(rt, "out of memory: on_branch was not called");
		free_event(SH_CONTAINER(k, struct happened, link));
		return;
	}
	if (h->over)
		destroy(h);
}

static void on_branch(void *ctx, enum sh_branch_event ev, struct sh_leg *leg, const struct sh_result *r)
{
	struct sh_branch_hook *h = ctx;
	struct sh_runtime *rt = h->runtime;
	struct happened *e;
	size_t uri;

	if (ev == SH_BRANCH_OVER) {
		h->over = true;
		if (!rt || sh_list_empty(&h->events))
			destroy(h);
		return;
	}
	uri = r->branches[0].uri.len;
	e = rt ? sh_malloc(sizeof(*e) + uri + r->reason.len) : NULL;
	if (!e)
		return;
	*e = (struct happened){.ev = ev, .leg = leg ? sh_leg_handle(leg) : 0, .code = r->code, .cause = r->cause,
			       .msg = r->msg ? sh_msg_clone(r->msg) : NULL, .uri = {e->text, uri}, .reason = {e->text + uri, r->reason.len}};
	if (uri)
		memcpy(e->text, r->branches[0].uri.base, uri);
	if (r->reason.len)
		memcpy(e->text + uri, r->reason.base, r->reason.len);
	sh_list_append(&h->events, &e->link);
	sh_env_timer(rt->env, &h->timer, 0);
}

void sh_branch_hook_read(lua_State *L, int options, struct sh_fork_plan *plan)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_branch_hook *h;
	int type = sh_opt_get(L, options, "on_branch");

	if (type == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	if (type != LUA_TFUNCTION)
		luaL_error(L, "call:fork: option 'on_branch': function expected, got %s", luaL_typename(L, -1));
	h = sh_calloc(1, sizeof(*h));
	if (!h)
		luaL_error(L, "not enough memory");
	h->runtime = s->runtime;
	h->state = s;
	h->ref = LUA_NOREF;
	sh_timer_init(&h->timer, on_timer);
	sh_list_init(&h->events);
	sh_list_append(&s->runtime->branch_hooks, &h->link);
	s->spawned++;
	plan->on_branch = on_branch; /* from here on the plan gives it back, whatever raises */
	plan->branch_ctx = h;
	h->ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void sh_branch_hook_stop(struct sh_runtime *rt)
{
	struct sh_link *k;

	while ((k = sh_list_pop(&rt->branch_hooks))) {
		struct sh_branch_hook *h = SH_CONTAINER(k, struct sh_branch_hook, link);

		sh_wheel_cancel(&rt->env->wheel, &h->timer);
		h->runtime = NULL;
		h->state->spawned--;
		if (h->over)
			destroy(h);
	}
}
