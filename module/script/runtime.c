/* A worker's part: events of the user agent become runs of hooks, in the newest generation. */
#include "script/impl.h"

enum sh_hook sh_hook_of_method(enum sh_method m, bool in_dialog)
{
	static const uint8_t hooks[SH_METHOD_COUNT] = {
	    [SH_METHOD_OTHER] = SH_HOOK_NONE, [SH_INVITE] = SH_HOOK_INVITE,       [SH_ACK] = SH_HOOK_ACK,
	    [SH_BYE] = SH_HOOK_BYE,           [SH_CANCEL] = SH_HOOK_CANCEL,       [SH_REGISTER] = SH_HOOK_REGISTER,
	    [SH_OPTIONS] = SH_HOOK_OPTIONS,   [SH_INFO] = SH_HOOK_INFO,           [SH_MESSAGE] = SH_HOOK_MESSAGE,
	    [SH_NOTIFY] = SH_HOOK_NOTIFY,     [SH_PRACK] = SH_HOOK_PRACK,         [SH_PUBLISH] = SH_HOOK_PUBLISH,
	    [SH_REFER] = SH_HOOK_REFER,       [SH_SUBSCRIBE] = SH_HOOK_SUBSCRIBE, [SH_UPDATE] = SH_HOOK_UPDATE,
	};

	/* What is only observed finds no hook without a call: the engine answers 481. */
	if (!in_dialog && (m == SH_ACK || m == SH_BYE || m == SH_CANCEL || m == SH_PRACK))
		return SH_HOOK_NONE;
	return m == SH_INVITE && in_dialog ? SH_HOOK_REINVITE : (enum sh_hook)hooks[m];
}

/* ------------------------------------------------------------------ generations */

static void tell_ua(struct sh_runtime *rt)
{
	const struct sh_generation *g = rt->state->generation;

	if (sh_ua_set_trust(rt->ua, g->trust, g->ntrust) < 0)
		sh_error(rt->script->config.log, "out of memory: no peer is trusted");
	sh_transport_set_door(sh_ua_transport(rt->ua), g->has_door ? &g->door : NULL);
	if (rt->listens)
		sh_runtime_listen(rt, NULL, 0);
	if (rt->env->worker == 0 && !rt->succeeded)
		sh_ua_set_trunks(rt->ua, g->trunks, g->ntrunks);
	sh_ua_hooks_changed(rt->ua);
}

static void give_back(struct sh_generation *g)
{
	struct sh_script *script = g->script;

	if (atomic_fetch_sub(&g->users, 1) != 1)
		return;
	atomic_fetch_sub(&script->alive, 1);
	script->config.retired(script->config.ctx, g);
}

/* Those that were published between two that this worker took up. */
static void give_back_skipped(struct sh_generation *from, const struct sh_generation *to)
{
	struct sh_generation *next;

	for (struct sh_generation *g = from->next; g && g != to; g = next) {
		next = g->next;
		give_back(g);
	}
}

struct unload {
	struct sh_state *state;
	const char *reason;
};

static void push_unload_event(lua_State *L, const struct unload *u)
{
	lua_createtable(L, 0, 2);
	lua_pushinteger(L, (lua_Integer)u->state->generation->number);
	lua_setfield(L, -2, "generation");
	lua_pushstring(L, u->reason);
	lua_setfield(L, -2, "reason");
}

static int push_unload(lua_State *L, void *arg)
{
	const struct unload *u = arg;

	lua_rawgeti(L, LUA_REGISTRYINDEX, u->state->hooks[SH_HOOK_UNLOAD]);
	push_unload_event(L, u);
	return 2;
}

static int call_unload(lua_State *L)
{
	lua_call(L, push_unload(L, lua_touserdata(L, 1)) - 1, 0);
	return 0;
}

/* On one worker: its successor is in use. */
static void run_unload_hook(struct sh_state *s)
{
	struct unload u = {s, "reload"};
	struct sh_run_start start = {.hook = SH_HOOK_UNLOAD, .push = push_unload, .arg = &u};

	if (s->worker == 0 && s->hooks[SH_HOOK_UNLOAD] != LUA_NOREF && sh_run_begin(s, &start) < 0)
		sh_error(s->runtime->script->config.log, "out of memory: no unload hook");
}

/* The instance stops: there is no time to wait for anything. */
static void unload_at_stop(struct sh_runtime *rt)
{
	struct unload u = {rt->state, "stop"};

	if (!rt->state || rt->state->worker != 0 || rt->state->hooks[SH_HOOK_UNLOAD] == LUA_NOREF)
		return;
	if (sh_vm_call(rt->state->vm, call_unload, &u, 0) < 0) {
		struct sh_slice message = sh_vm_error(rt->state->vm);

		sh_error(rt->script->config.log, "unload hook: %.*s", SH_FMT(message));
	}
}

/* ---- the end of a generation */

enum { WARNINGS_MAX = 3 };
#define AGAIN (10 * SH_SECOND)

static void unpin(struct sh_call_data *d)
{
	struct sh_state *s = d->pinned;

	if (!s)
		return;
	d->pinned = NULL;
	sh_list_remove(&d->pinned_link);
	sh_state_retire_if_idle(s);
}

/* Its hooks are told to go; after some warnings they are made to. */
void sh_state_deadline(struct sh_timer *t)
{
	struct sh_state *s = SH_CONTAINER(t, struct sh_state, deadline);
	struct sh_runtime *rt = s->runtime;
	bool last = ++s->warnings > WARNINGS_MAX;
	struct sh_link todo, *l;

	sh_env_timer(rt->env, &s->deadline, AGAIN);
	s->spawned++; /* it must not go while we look at it */
	while ((l = s->pinned.next) != &s->pinned)
		unpin(SH_CONTAINER(l, struct sh_call_data, pinned_link));
	sh_list_init(&todo);
	while ((l = sh_list_pop(&s->runs)))
		sh_list_append(&todo, l);
	while ((l = sh_list_pop(&todo))) { /* what one does may end others */
		sh_list_append(&s->runs, l);
		sh_run_retire(SH_CONTAINER(l, struct sh_run, link), last);
	}
	s->spawned--;
	sh_state_retire_if_idle(s);
}

/* call:pin(): later hooks of the call stay in this generation. */
int sh_call_pin(lua_State *L)
{
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_call_data *d = c ? sh_call_app(c) : NULL;
	struct sh_state *s = sh_state_of(L);

	if (!d || sh_call_state(c) == SH_CALL_ENDED)
		return sh_gone(L);
	if (!d->pinned) {
		d->pinned = s;
		sh_list_append(&s->pinned, &d->pinned_link);
	}
	lua_pushboolean(L, 1);
	return 1;
}

static void take_up(struct sh_runtime *rt, struct sh_generation *g)
{
	struct sh_state *old = rt->state, *now = &g->states[rt->env->worker];

	now->runtime = rt;
	now->vm->counts = &rt->stats.vm;
	sh_list_append(&rt->states, &now->link);
	rt->state = now;
	if (rt->observer)
		sh_state_observe(now);
	rt->domains.names = g->domains;
	rt->domains.count = g->ndomains;
	if (rt->ua)
		tell_ua(rt);
	sh_deferred_take_up(now);
	if (old) {
		give_back_skipped(old->generation, g);
		sh_deferred_drop_state(old);
		old->retiring = true;
		sh_env_timer(rt->env, &old->deadline, rt->script->config.deadline);
		run_unload_hook(old);
		sh_state_retire_if_idle(old);
	}
}

void sh_runtime_update(struct sh_runtime *rt)
{
	struct sh_generation *g = sh_script_current(rt->script);

	if (g && (!rt->state || rt->state->generation != g))
		take_up(rt, g);
}

static struct sh_state *newest(struct sh_runtime *rt)
{
	sh_runtime_update(rt);
	return rt->state;
}

/* Where the hooks of a call run; c may be NULL. */
static struct sh_state *state_for(struct sh_runtime *rt, const struct sh_call *c)
{
	const struct sh_call_data *d = c ? sh_call_app(c) : NULL;
	struct sh_state *s = newest(rt);

	return d && d->pinned ? d->pinned : s;
}

void sh_state_retire_if_idle(struct sh_state *s)
{
	if (!s->retiring || !sh_list_empty(&s->runs) || !sh_list_empty(&s->pinned) || s->spawned)
		return;
	s->retiring = false;
	sh_env_cancel(s->runtime->env, &s->deadline);
	sh_deferred_drop_state(s); /* what its last runs left behind */
	sh_list_remove(&s->link);
	give_back(s->generation);
}

/* ------------------------------------------------------------------ life */

int sh_runtime_create(struct sh_runtime **out, struct sh_script *s, struct sh_env *env)
{
	struct sh_runtime *rt = sh_calloc(1, sizeof(*rt));

	if (!rt)
		return -ENOMEM;
	rt->text = sh_malloc(SH_RUNTIME_TEXT);
	if (!rt->text) {
		sh_free(rt);
		return -ENOMEM;
	}
	rt->script = s;
	rt->env = env;
	sh_list_init(&rt->states);
	sh_list_init(&rt->over);
	sh_list_init(&rt->branch_hooks);
	sh_list_init(&rt->signalled);
	sh_sdp_hook_init(rt);
	sh_list_init(&rt->bound);
	sh_deferred_init(rt);
	sh_post_init(rt);
	sh_runtime_listen_init(rt);
	s->runtimes[env->worker] = rt;
	sh_arena_init(&rt->scratch, 4096);
	*out = rt;
	return 0;
}

void sh_runtime_attach(struct sh_runtime *rt, struct sh_ua *ua)
{
	rt->ua = ua;
	rt->domains.transport = sh_ua_transport(ua);
	sh_ua_set_location(ua, rt->script->config.location, &rt->domains);
	if (sh_keeper_create(&rt->keeper, ua, rt->script->config.location, rt) < 0)
		sh_error(rt->script->config.log, "out of memory: phones are not kept alive");
	if (rt->state)
		tell_ua(rt);
}

void sh_state_drop(struct sh_state *s)
{
	struct sh_link *l;

	while ((l = s->runs.next) != &s->runs)
		sh_run_drop(SH_CONTAINER(l, struct sh_run, link));
}

void sh_runtime_destroy(struct sh_runtime *rt)
{
	struct sh_generation *current;
	struct sh_link *l;

	if (!rt)
		return;
	current = sh_script_current(rt->script);
	sh_branch_hook_stop(rt);
	sh_sdp_hook_stop(rt);
	unload_at_stop(rt);
	sh_deferred_drop_all(rt);
	sh_binding_hook_drop(rt);
	sh_keeper_destroy(rt->keeper);
	sh_runtime_listen_finish(rt);
	if (rt->state)
		give_back_skipped(rt->state->generation, current);
	while ((l = sh_list_pop(&rt->states))) {
		struct sh_state *s = SH_CONTAINER(l, struct sh_state, link);

		sh_deferred_drop_state(s);
		sh_state_drop(s);
		sh_env_cancel(rt->env, &s->deadline);
		while ((l = sh_list_pop(&s->pinned)))
			SH_CONTAINER(l, struct sh_call_data, pinned_link)->pinned = NULL;
		s->runtime = NULL;
		if (s->generation != current) /* that one goes with the script */
			give_back(s->generation);
	}
	sh_post_finish(rt); /* what its runs have left behind */
	rt->script->runtimes[rt->env->worker] = NULL;
	sh_arena_finish(&rt->scratch);
	sh_free(rt->text);
	sh_free(rt);
}

const struct sh_script_stats *sh_runtime_stats(const struct sh_runtime *rt)
{
	return &rt->stats;
}

void sh_runtime_keep(struct sh_runtime *rt, struct sh_slice aor, const struct sh_contact *c)
{
	if (rt->keeper && c->keep_alive)
		sh_keeper_note(rt->keeper, aor, c, SH_BINDING_ADDED);
}

void sh_runtime_succeeded(struct sh_runtime *rt)
{
	rt->succeeded = true;
	sh_keeper_destroy(rt->keeper);
	rt->keeper = NULL;
}

uint64_t sh_runtime_runs(const struct sh_runtime *rt)
{
	return rt->runs;
}

void sh_runtime_each_generation(const struct sh_runtime *rt,
				void (*fn)(void *ctx, const struct sh_generation_state *g), void *ctx)
{
	SH_LIST_EACH(l, &rt->states)
	{
		const struct sh_state *s = SH_CONTAINER(l, struct sh_state, link);
		struct sh_generation_state g = {
		    .number = s->generation->number,
		    .hash = s->generation->source->hash,
		    .loaded = s->generation->loaded,
		    .current = s == rt->state,
		};

		SH_LIST_EACH(r, &s->runs)
		{
			g.hooks++;
			g.calls += SH_CONTAINER(r, struct sh_run, link)->call != 0;
		}
		SH_LIST_EACH(pinned, &s->pinned)
		g.calls += pinned != NULL;
		fn(ctx, &g);
	}
}

/* ------------------------------------------------------------------ events */

static bool has(const struct sh_state *s, enum sh_hook h)
{
	return s && h < SH_HOOK_COUNT && s->hooks[h] != LUA_NOREF;
}

bool sh_runtime_has(struct sh_runtime *rt, enum sh_hook h)
{
	return has(newest(rt), h);
}

struct hook_args {
	struct sh_state *state;
	enum sh_hook hook;
	struct sh_call *call;
	struct sh_request *request;
	const struct sh_why *why;
};

/* ITU-T Q.850, table 1. */
static const char *q850_name(unsigned cause)
{
	static const char *const names[128] = {
	    [1] = "Unallocated (unassigned) number",
	    [2] = "No route to specified transit network",
	    [3] = "No route to destination",
	    [16] = "Normal call clearing",
	    [17] = "User busy",
	    [18] = "No user responding",
	    [19] = "No answer from user",
	    [20] = "Subscriber absent",
	    [21] = "Call rejected",
	    [22] = "Number changed",
	    [26] = "Non-selected user clearing",
	    [27] = "Destination out of order",
	    [28] = "Invalid number format",
	    [29] = "Facility rejected",
	    [31] = "Normal, unspecified",
	    [34] = "No circuit/channel available",
	    [38] = "Network out of order",
	    [41] = "Temporary failure",
	    [42] = "Switching equipment congestion",
	    [44] = "Requested circuit/channel not available",
	    [47] = "Resource unavailable, unspecified",
	    [50] = "Requested facility not subscribed",
	    [55] = "Incoming calls barred within CUG",
	    [57] = "Bearer capability not authorized",
	    [58] = "Bearer capability not presently available",
	    [63] = "Service or option not available, unspecified",
	    [65] = "Bearer capability not implemented",
	    [69] = "Requested facility not implemented",
	    [79] = "Service or option not implemented, unspecified",
	    [87] = "User not member of CUG",
	    [88] = "Incompatible destination",
	    [95] = "Invalid message, unspecified",
	    [102] = "Recovery on timer expiry",
	    [111] = "Protocol error, unspecified",
	    [127] = "Interworking, unspecified",
	};

	return cause < 128 && names[cause] ? names[cause] : "";
}

void sh_why_push(lua_State *L, const struct sh_why *why)
{
	static const char *const by[] = {"caller", "callee", "script", "engine"};
	struct sh_runtime *rt = sh_state_of(L)->runtime;
	struct sh_slice name = {0};

	lua_createtable(L, 0, 5);
	lua_pushstring(L, by[why->by]);
	lua_setfield(L, -2, "by");
	lua_pushinteger(L, why->code);
	lua_setfield(L, -2, "code");
	lua_pushlstring(L, why->reason.base ? why->reason.base : "", why->reason.len);
	lua_setfield(L, -2, "reason");
	if (why->q850) {
		lua_pushinteger(L, why->q850);
		lua_setfield(L, -2, "q850");
		sh_runtime_scratch(rt);
		if (why->q850_text.len)
			sh_unquote(&rt->scratch, why->q850_text, &name);
		if (name.len)
			lua_pushlstring(L, name.base, name.len);
		else
			lua_pushstring(L, q850_name(why->q850));
		lua_setfield(L, -2, "q850_name");
	}
}

static int push_hook(lua_State *L, void *arg)
{
	struct hook_args *a = arg;

	lua_rawgeti(L, LUA_REGISTRYINDEX, a->state->hooks[a->hook]);
	if (a->request)
		sh_object_push(L,
			       a->hook == SH_HOOK_REFER	      ? SH_OBJECT_REFER
			       : a->hook == SH_HOOK_SUBSCRIBE ? SH_OBJECT_SUB
							      : SH_OBJECT_REQUEST,
			       sh_request_handle(a->request));
	else
		sh_object_push(L, SH_OBJECT_CALL, sh_call_handle(a->call));
	if (!a->why)
		return 2;
	sh_why_push(L, a->why);
	return 3;
}

static int run_hook(struct sh_state *s, enum sh_hook h, struct sh_call *c, struct sh_request *q,
		    const struct sh_why *why)
{
	struct hook_args args = {s, h, c, q, why};
	struct sh_run_start start = {h, q ? sh_request_call(q) : c, q, why, push_hook, &args, NULL, NULL, false, NULL};

	if (h == SH_HOOK_INVITE)
		start.urgent = sh_transport_is_emergency(sh_ua_transport(s->runtime->ua), sh_call_invite(c));
	return sh_run_begin(s, &start);
}

int sh_call_data_create(struct sh_call *c)
{
	struct sh_call_data *d = sh_pool_calloc(&sh_ua_env(sh_call_ua(c))->pool, sizeof(*d));

	if (!d)
		return -ENOMEM;
	sh_list_init(&d->timers);
	sh_list_init(&d->runs);
	sh_list_init(&d->waits);
	sh_list_init(&d->signals);
	sh_list_init(&d->signalled);
	sh_list_init(&d->link);
	sh_list_init(&d->pinned_link);
	sh_call_set_app(c, d);
	return 0;
}

static void on_invite(void *ctx, struct sh_call *c)
{
	struct sh_runtime *rt = ctx;
	struct sh_state *s = newest(rt);
	struct sh_slice none = {0};
	int err = sh_call_data_create(c);

	if (!err && !has(s, SH_HOOK_INVITE))
		sh_call_reject(c, 404, none, none, none, none);
	else if (err || (err = run_hook(s, SH_HOOK_INVITE, c, NULL, NULL)) < 0)
		sh_call_reject(c, 503, err == -EAGAIN ? SH_LIT("Too many hooks in progress") : SH_LIT("Out of memory"), none, none, none);
}

/* First those who wait for it, then the hook, or else the default. */
static void on_request(void *ctx, struct sh_request *q)
{
	struct sh_runtime *rt = ctx;
	struct sh_call *c = sh_request_call(q);
	struct sh_state *s = state_for(rt, c);
	struct sh_slice none = {0};
	enum sh_hook h = sh_hook_of_method((enum sh_method)sh_request_msg(q)->method, sh_request_in_dialog(q));

	if (c && sh_call_app(c)) {
		sh_call_hold(c);
		if (sh_call_wake_request(c, q))
			sh_request_set_app(q, rt); /* somebody has waited for it */
		s = state_for(rt, c);
	}
	if (has(s, h) && run_hook(s, h, NULL, q, NULL) == 0) {
		q = NULL;
	} else if (!sh_request_observed(q) && !sh_request_answered(q)) {
		if (has(s, h)) {
			sh_request_reply(q, 503, none, none, none, none);
		} else {
			sh_request_default(q, h);
			q = NULL;
		}
	}
	if (q)
		sh_request_release(q);
	if (c && sh_call_app(c))
		sh_call_release(c);
}

static bool on_wants(void *ctx, enum sh_method m, bool in_dialog, const struct sh_call *c)
{
	struct sh_runtime *rt = ctx;
	const struct sh_call_data *d = c ? sh_call_app(c) : NULL;

	return has(state_for(rt, c), sh_hook_of_method(m, in_dialog)) || (d && sh_call_awaits(d, m));
}

static void on_peer_gone(void *ctx, struct sh_call *c, const struct sh_why *why)
{
	struct sh_call_data *d = sh_call_app(c);

	(void)ctx;
	if (!d)
		return;
	sh_call_hold(c);
	sh_call_wake_peer_gone(d, why);
	sh_call_release(c);
}

static void on_answered(void *ctx, struct sh_call *c)
{
	struct sh_runtime *rt = ctx;
	struct sh_state *s = state_for(rt, c);

	if (has(s, SH_HOOK_ANSWER))
		run_hook(s, SH_HOOK_ANSWER, c, NULL, NULL);
}

/* Its own hooks that wait now are cancelled: none of their callbacks comes any more. */
static void doom(struct sh_call_data *d)
{
	SH_LIST_EACH(l, &d->runs)
	{
		struct sh_run *r = SH_CONTAINER(l, struct sh_run, of_call);

		r->doomed = sh_run_waits(r);
	}
}

static struct sh_run *next_doomed(struct sh_call_data *d)
{
	SH_LIST_EACH(l, &d->runs)
	{
		struct sh_run *r = SH_CONTAINER(l, struct sh_run, of_call);

		if (r->doomed)
			return r;
	}
	return NULL;
}

static void give_limits_back(struct sh_call_data *d)
{
	while (d->nlimits)
		sh_limit_give(d->limits[--d->nlimits]);
}

/* A call is over: the waits of its hooks, and that for its fork, raise a cancel error; then comes the hangup hook. */
static void call_over(struct sh_runtime *rt, struct sh_call *c, const struct sh_why *why)
{
	struct sh_call_data *d = sh_call_app(c);
	struct sh_state *s;
	struct sh_run *r;

	if (d) {
		give_limits_back(d);
		if (!sh_list_empty(&d->waits))
			sh_call_wake_ended(d, why);
		if (d->waiter) {
			d->waiter->doomed = false;
			sh_run_interrupt(d->waiter);
		}
		while ((r = next_doomed(d))) {
			r->doomed = false;
			sh_run_interrupt(r);
		}
	}
	s = state_for(rt, c);
	if (has(s, SH_HOOK_HANGUP) && !(d && d->challenged) && run_hook(s, SH_HOOK_HANGUP, c, NULL, why) < 0)
		sh_runtime_error(rt, "call %.*s: out of memory: no hangup hook", SH_FMT(sh_call_id(c)));
}

/* The texts of a why live during the event only. */
static void keep_why(struct sh_call_data *d, const struct sh_why *why)
{
	char *text = sh_malloc(why->reason.len + why->q850_text.len + 1);

	d->why.by = (uint8_t)why->by;
	d->why.code = (uint16_t)why->code;
	d->why.q850 = why->q850;
	d->why.text = text;
	d->why.reason_len = d->why.q850_len = 0;
	if (!text)
		return;
	if (why->reason.len)
		memcpy(text, why->reason.base, why->reason.len);
	if (why->q850_text.len)
		memcpy(text + why->reason.len, why->q850_text.base, why->q850_text.len);
	d->why.reason_len = (uint32_t)why->reason.len;
	d->why.q850_len = (uint32_t)why->q850_text.len;
}

static struct sh_why kept_why(const struct sh_call_data *d)
{
	struct sh_why why = {.by = (enum sh_why_by)d->why.by, .code = d->why.code, .q850 = d->why.q850};

	why.reason = sh_slice_make(d->why.text, d->why.reason_len);
	if (d->why.text)
		why.q850_text = sh_slice_make(d->why.text + d->why.reason_len, d->why.q850_len);
	return why;
}

/* A hangup hook may ask who they were. */
static void on_ending(void *ctx, struct sh_call *c)
{
	struct sh_call_data *d = sh_call_app(c);
	struct sh_leg *legs[] = {sh_call_a(c), sh_call_b(c)};

	if (!d || !has(state_for(ctx, c), SH_HOOK_HANGUP))
		return;
	d->parties = sh_calloc(2, sizeof(*d->parties)); /* without memory it is told of nobody */
	for (unsigned i = 0; d->parties && i < 2; i++) {
		if (!legs[i])
			continue;
		struct sh_slice uri = sh_leg_uri(legs[i]);

		d->parties[i].leg = sh_leg_handle(legs[i]);
		d->parties[i].uri = sh_strndup(uri.base, uri.len);
	}
}

static void on_ended(void *ctx, struct sh_call *c, const struct sh_why *why)
{
	struct sh_runtime *rt = ctx;
	struct sh_call_data *d = sh_call_app(c);

	sh_call_hold(c);
	if (rt->depth && d) { /* a script ended it: what it does now comes first */
		d->call = c;
		doom(d);
		keep_why(d, why);
		sh_list_append(&rt->over, &d->link);
		return;
	}
	if (d)
		doom(d);
	call_over(rt, c, why);
	sh_call_release(c);
}

void sh_runtime_flush(struct sh_runtime *rt)
{
	struct sh_link *l;

	if (rt->flushing)
		return;
	rt->flushing = true;
	sh_deferred_run_spawned(rt);
	do { /* what these hooks do may bring more of each kind */
		while ((l = sh_list_pop(&rt->signalled))) {
			struct sh_call_data *d = SH_CONTAINER(l, struct sh_call_data, signalled);
			struct sh_call *c = d->call;

			sh_list_init(l);
			sh_call_deliver(d);
			sh_call_release(c);
		}
		while ((l = sh_list_pop(&rt->over))) {
			struct sh_call_data *d = SH_CONTAINER(l, struct sh_call_data, link);
			struct sh_why why = kept_why(d);

			call_over(rt, d->call, &why);
			sh_free(d->why.text);
			d->why.text = NULL;
			sh_call_release(d->call);
			sh_deferred_run_spawned(rt);
		}
		sh_binding_hook_flush(rt);
		sh_deferred_run_spawned(rt);
	} while (!sh_list_empty(&rt->signalled) || !sh_list_empty(&rt->over) || !sh_list_empty(&rt->bound));
	rt->flushing = false;
}

static void on_freed(void *ctx, struct sh_call *c)
{
	struct sh_call_data *d = sh_call_app(c);

	(void)ctx;
	sh_deferred_drop_call(d);
	unpin(d);
	sh_call_wait_drop(d);
	give_limits_back(d); /* the runtime may be gone: an instance that ends with calls up */
	sh_value_destroy(d->data);
	sh_free(d->auth_user);
	sh_free(d->limits);
	for (unsigned i = 0; d->parties && i < 2; i++)
		sh_free(d->parties[i].uri);
	sh_free(d->parties);
	sh_pool_free(&sh_ua_env(sh_call_ua(c))->pool, d, sizeof(*d));
	sh_call_set_app(c, NULL);
}

const struct sh_app sh_runtime_app = {on_invite,      on_request, on_wants, on_peer_gone,       on_answered,
				      on_ending,      on_ended,   on_freed, sh_sdp_hook_wanted, sh_sdp_hook_ask};
