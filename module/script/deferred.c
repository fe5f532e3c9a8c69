/* sip.after, sip.every and call:after: functions that run later. A closure belongs to its generation and is dropped
 * with it; a name is looked up in sip.timer of the newest generation when its time has come. */
#include "core/nearest.h"
#include "script/impl.h"

enum { SPAWNED_AT_ONCE = 1000 }; /* the rest in the next turn: others want to live too */

struct sh_deferred {
	struct sh_link link; /* in state->every (closures, and what is not armed yet), runtime->deferred or runtime->spawned */
	struct sh_link of_call;
	struct sh_timer timer;
	struct sh_runtime *runtime; /* NULL: declared at load, not armed yet */
	struct sh_state *state;     /* of a closure; NULL for a name */
	int ref;
	char *name;
	struct sh_value *data;
	uint64_t call;  /* handle: call:after */
	uint64_t delay; /* microseconds */
	bool periodic, each_worker;
	enum sh_hook hook; /* as what it runs; SH_HOOK_NONE: a timer */
	bool counted; /* in runtime->ntimers */
	bool spawned; /* ref: a list of function and arguments */
};

static void destroy(struct sh_deferred *d)
{
	if (d->runtime)
		sh_wheel_cancel(&d->runtime->env->wheel, &d->timer);
	if (d->counted)
		d->runtime->ntimers--;
	if (d->runtime && d->runtime->firing == d)
		d->runtime->firing = NULL;
	if (d->state)
		luaL_unref(d->state->vm->L, LUA_REGISTRYINDEX, d->ref);
	sh_list_remove(&d->link);
	sh_list_remove(&d->of_call);
	sh_value_destroy(d->data);
	sh_free(d->name);
	sh_free(d);
}

static int push_deferred(lua_State *L, void *arg)
{
	struct sh_deferred *d = arg;
	struct sh_state *s = sh_state_of(L);

	if (d->spawned) {
		lua_Integer n;

		lua_rawgeti(L, LUA_REGISTRYINDEX, d->ref);
		lua_getfield(L, -1, "n");
		n = lua_tointeger(L, -1);
		lua_pop(L, 1);
		luaL_checkstack(L, (int)n, "too many arguments");
		for (lua_Integer i = 1; i <= n; i++)
			lua_rawgeti(L, -(int)i, i);
		return (int)n;
	}
	if (d->state) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, d->ref);
		return 1;
	}
	lua_rawgeti(L, LUA_REGISTRYINDEX, s->timers);
	if (lua_getfield(L, -1, d->name) != LUA_TFUNCTION)
		return luaL_error(L, "sip.timer.%s is no function in this generation", d->name);
	lua_remove(L, -2);
	if (d->call) {
		sh_object_push(L, SH_OBJECT_CALL, d->call);
		return 2;
	}
	return 1 + sh_value_push(L, d->data);
}

static void on_timer(struct sh_timer *t)
{
	struct sh_deferred *d = SH_CONTAINER(t, struct sh_deferred, timer);
	struct sh_runtime *rt = d->runtime;
	struct sh_run_start start = {.hook = d->hook, .push = push_deferred, .arg = d};
	struct sh_slice none = {0};
	struct sh_state *s;

	rt->firing = d;
	sh_runtime_update(rt); /* may drop a closure of an old generation: then d is gone */
	if (rt->firing != d)
		return;
	s = d->state ? d->state : rt->state;
	if (d->call) {
		start.call = sh_ua_call(rt->ua, d->call);
		if (!start.call || sh_call_state(start.call) == SH_CALL_ENDED) {
			destroy(d);
			return;
		}
	}
	if (d->periodic && rt->succeeded) {
		destroy(d);
		return;
	}
	if (d->periodic)
		sh_env_timer(rt->env, &d->timer, d->delay);
	if (sh_run_begin(s, &start) < 0) {
		sh_runtime_error(rt, "no memory or too many hooks in progress: a timer of the script was not run");
		if (d->hook == SH_HOOK_INVITE && !sh_call_answered(start.call))
			sh_call_reject(start.call, 503, none, none, none, none);
	}
	if (rt->firing == d) {
		rt->firing = NULL;
		if (!d->periodic)
			destroy(d);
	}
}

static void arm(struct sh_deferred *d, struct sh_runtime *rt)
{
	if (!d->counted)
		rt->ntimers++;
	d->counted = true;
	d->runtime = rt;
	sh_env_timer(rt->env, &d->timer, d->delay);
}

static uint64_t check_seconds(lua_State *L, int idx, double least, const char *what)
{
	lua_Number seconds = luaL_checknumber(L, idx);

	if (!(seconds >= least && seconds <= 1e9))
		luaL_argerror(L, idx, what);
	return (uint64_t)(seconds * 1e6);
}

static struct sh_deferred *create(uint64_t delay) /* NULL: no memory */
{
	struct sh_deferred *d = sh_calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	sh_list_init(&d->link);
	sh_list_init(&d->of_call);
	sh_timer_init(&d->timer, on_timer);
	d->ref = LUA_NOREF;
	d->hook = SH_HOOK_NONE;
	d->delay = delay;
	return d;
}

/* A closure: it belongs to the state. idx: the function. */
static struct sh_deferred *create_closure(lua_State *L, int idx, uint64_t delay)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_deferred *d;
	int ref;

	lua_pushvalue(L, idx);
	ref = luaL_ref(L, LUA_REGISTRYINDEX);
	d = create(delay);
	if (!d) {
		luaL_unref(L, LUA_REGISTRYINDEX, ref);
		luaL_error(L, "not enough memory");
	}
	d->state = s;
	d->ref = ref;
	sh_list_append(&s->every, &d->link);
	return d;
}

/* A name: kept by the runtime; while the script loads there is none, and the state has it until its generation is used. idx: the
 * name. data is taken over. */
static struct sh_deferred *create_named(lua_State *L, int idx, uint64_t delay, struct sh_value *data)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_deferred *d = create(delay);
	size_t len;
	const char *name = lua_tolstring(L, idx, &len);

	if (d)
		d->name = sh_strndup(name, len);
	if (!d || !d->name) {
		sh_value_destroy(data);
		sh_free(d);
		luaL_error(L, "not enough memory");
	}
	d->data = data;
	sh_list_append(s->runtime ? &s->runtime->deferred : &s->every, &d->link);
	if (s->runtime)
		arm(d, s->runtime);
	return d;
}

/* The table of timers at `timers`. */
static const char *nearest_timer(lua_State *L, int timers, const char *name)
{
	const char *nearest = NULL, *key;
	size_t best = SH_NEAREST_NONE;

	for (lua_pushnil(L); lua_next(L, timers); lua_pop(L, 1)) {
		key = lua_tostring(L, -2); /* they are strings: set_timer() */
		if (sh_is_nearer(name, key, &best))
			nearest = key;
	}
	return nearest;
}

static int find_timer(lua_State *L)
{
	const char **name = lua_touserdata(L, 1);

	lua_rawgeti(L, LUA_REGISTRYINDEX, sh_state_of(L)->timers);
	if (lua_getfield(L, -1, *name) != LUA_TFUNCTION)
		*name = NULL;
	return 0;
}

bool sh_timer_exists(struct sh_state *s, const char *name)
{
	return sh_vm_call(s->vm, find_timer, &name, 0) == 0 && name;
}

void sh_timer_check(lua_State *L, int idx, const char *what, bool at_once)
{
	struct sh_state *s = sh_state_of(L);
	const char *name = lua_tostring(L, idx), *near;

	lua_rawgeti(L, LUA_REGISTRYINDEX, s->timers);
	if (lua_getfield(L, -1, name) == LUA_TFUNCTION) {
		lua_pop(L, 2);
		return;
	}
	lua_pop(L, 1);
	if (s->runtime->state != s && sh_timer_exists(s->runtime->state, name)) { /* where it will run */
		lua_pop(L, 1);
		return;
	}
	near = nearest_timer(L, lua_gettop(L), name);
	if (near)
		luaL_error(L, "%s: there is no sip.timer.%s (did you mean '%s'?)", what, name, near);
	if (at_once)
		luaL_error(L, "%s: there is no sip.timer.%s", what, name);
	lua_pop(L, 1);
	luaL_where(L, 1);
	sh_runtime_warn(s->runtime, "%s%s: there is no sip.timer.%s so far", lua_tostring(L, -1), what, name);
	lua_pop(L, 1);
}

/* False: there are enough of them; nil, "limit" is on the stack. */
static bool has_room(lua_State *L, struct sh_runtime *rt)
{
	if (rt->ntimers < rt->script->config.timers_max)
		return true;
	rt->stats.refused_timers++;
	lua_pushnil(L);
	lua_pushliteral(L, "limit");
	return false;
}

/* sip.after(seconds, fn), sip.after(seconds, "name", data). While the script loads it is like sip.every: armed when the generation
 * is used, on one worker. */
static int after(lua_State *L)
{
	struct sh_runtime *rt = sh_state_of(L)->runtime;
	uint64_t delay = check_seconds(L, 1, 0, "seconds from 0 to 1e9 expected");
	bool named = lua_type(L, 2) == LUA_TSTRING;
	struct sh_deferred *d;

	sh_torture_collect(L);
	lua_settop(L, 3);
	if (named && rt) /* while the script loads, what it names may stand further down */
		sh_timer_check(L, 2, "sip.after", false);
	if (rt && !has_room(L, rt))
		return 2;
	if (named) {
		create_named(L, 2, delay, lua_isnil(L, 3) ? NULL : sh_value_check(L, 3, 1, 0, "data"));
	} else {
		luaL_argexpected(L, lua_type(L, 2) == LUA_TFUNCTION, 2, "function or name of a timer");
		d = create_closure(L, 2, delay);
		if (rt)
			arm(d, rt);
	}
	lua_pushboolean(L, 1);
	return 1;
}

/* sip.spawn(fn, ...): begins when the hook that calls it waits or ends. */
static int spawn(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.spawn");
	int n = lua_gettop(L);
	struct sh_deferred *d;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	luaL_argcheck(L, n <= 100, n, "at most 99 arguments");
	lua_createtable(L, n, 1);
	lua_insert(L, 1);
	lua_pushinteger(L, n);
	lua_setfield(L, 1, "n");
	for (int i = n; i >= 1; i--)
		lua_rawseti(L, 1, i);
	d = create_closure(L, 1, 0);
	d->runtime = rt;
	d->spawned = true;
	d->state->spawned++;
	sh_list_remove(&d->link);
	sh_list_append(&rt->spawned, &d->link);
	return 0;
}

int sh_deferred_continue(struct sh_runtime *rt, struct sh_call *c, const char *name, enum sh_hook hook)
{
	struct sh_call_data *data = sh_call_app(c);
	struct sh_deferred *d = create(SH_MS);

	if (d)
		d->name = sh_strndup(name, strlen(name));
	if (!d || !d->name) {
		sh_free(d);
		return -ENOMEM;
	}
	d->hook = hook;
	d->call = sh_call_handle(c);
	sh_list_append(&rt->deferred, &d->link);
	sh_list_append(&data->timers, &d->of_call);
	arm(d, rt);
	return 0;
}

void sh_deferred_run_spawned(struct sh_runtime *rt)
{
	struct sh_link *l;

	for (unsigned i = 0; i < SPAWNED_AT_ONCE && (l = sh_list_pop(&rt->spawned)); i++) {
		struct sh_deferred *d = SH_CONTAINER(l, struct sh_deferred, link);
		struct sh_run_start start = {.hook = SH_HOOK_NONE, .push = push_deferred, .arg = d};
		struct sh_state *s = d->state;

		if (sh_run_begin(s, &start) < 0)
			sh_runtime_error(rt, "no memory or too many hooks in progress: a spawned function was not run");
		destroy(d);
		s->spawned--;
		sh_state_retire_if_idle(s);
	}
	if (!sh_list_empty(&rt->spawned))
		sh_env_timer(rt->env, &rt->spawn_rest, 0);
}

static void on_spawn_rest(struct sh_timer *t)
{
	sh_runtime_flush(SH_CONTAINER(t, struct sh_runtime, spawn_rest));
}

void sh_deferred_init(struct sh_runtime *rt)
{
	sh_list_init(&rt->deferred);
	sh_list_init(&rt->spawned);
	sh_timer_init(&rt->spawn_rest, on_spawn_rest);
}

const char *const sh_options_every[] = {"each_worker", NULL};

/* sip.every(seconds, fn [, {each_worker=}]) */
static int every(lua_State *L)
{
	struct sh_state *s = sh_state_of(L);
	uint64_t delay = check_seconds(L, 1, 0.001, "seconds from 0.001 to 1e9 expected");
	struct sh_deferred *d;
	bool each = false;

	lua_settop(L, 3);
	luaL_argexpected(L, lua_type(L, 2) == LUA_TFUNCTION, 2, "function");
	if (!lua_isnil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		sh_opt_known(L, 3, "sip.every", sh_options_every);
		each = sh_opt_bool(L, 3, "each_worker", false);
	}
	d = create_closure(L, 2, delay);
	d->periodic = true;
	d->each_worker = each;
	if (s->runtime)
		arm(d, s->runtime);
	return 0;
}

/* call:after(seconds, "name"): goes with the call. */
int sh_call_after(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:after");
	struct sh_call *c = sh_call_check(L, 1);
	uint64_t delay = check_seconds(L, 2, 0, "seconds from 0 to 1e9 expected");
	struct sh_call_data *data;
	struct sh_deferred *d;

	luaL_argexpected(L, lua_type(L, 3) == LUA_TSTRING, 3, "name of a timer");
	data = c && sh_call_state(c) != SH_CALL_ENDED ? sh_call_app(c) : NULL;
	if (!data)
		return sh_gone(L);
	sh_timer_check(L, 3, "call:after", false);
	if (!has_room(L, rt))
		return 2;
	d = create_named(L, 3, delay, NULL);
	d->call = sh_call_handle(c);
	sh_list_append(&data->timers, &d->of_call);
	lua_pushboolean(L, 1);
	return 1;
}

void sh_deferred_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"after", after}, {"every", every}, {"spawn", spawn}, {NULL, NULL}};

	luaL_setfuncs(L, functions, 0);
}

void sh_deferred_take_up(struct sh_state *s)
{
	struct sh_link *next;

	for (struct sh_link *l = s->every.next; l != &s->every; l = next) {
		struct sh_deferred *d = SH_CONTAINER(l, struct sh_deferred, link);

		next = l->next;
		if (d->runtime || (s->worker != 0 && !d->each_worker))
			continue;
		if (d->name) {
			sh_list_remove(l);
			sh_list_append(&s->runtime->deferred, l);
		}
		arm(d, s->runtime);
	}
}

void sh_deferred_drop_state(struct sh_state *s)
{
	struct sh_link *l;

	while (s->vm && (l = s->every.next) != &s->every)
		destroy(SH_CONTAINER(l, struct sh_deferred, link));
}

void sh_deferred_drop_call(struct sh_call_data *d)
{
	struct sh_link *l;

	while ((l = d->timers.next) != &d->timers)
		destroy(SH_CONTAINER(l, struct sh_deferred, of_call));
}

void sh_deferred_drop_all(struct sh_runtime *rt)
{
	struct sh_link *l;

	while ((l = rt->deferred.next) != &rt->deferred)
		destroy(SH_CONTAINER(l, struct sh_deferred, link));
	while ((l = rt->spawned.next) != &rt->spawned)
		destroy(SH_CONTAINER(l, struct sh_deferred, link));
	sh_wheel_cancel(&rt->env->wheel, &rt->spawn_rest);
}
