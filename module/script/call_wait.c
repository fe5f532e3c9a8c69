/* call:wait, call:signal and what wakes those who wait: requests in the call, the end of its partner, its own end, and
 * signals of other hooks. A signal that nobody waits for is kept until somebody asks for it; what the network brings is
 * not. */
#include "script/impl.h"

enum { MAX_SIGNALS = 64 };

struct signal {
	struct sh_link link;
	char *name;
	struct sh_value *data;
};

static const char *const engine_events[] = {"hangup", "peer_hangup", "info", "dtmf", "message", "reinvite"};

static bool of_engine(struct sh_slice name)
{
	for (unsigned i = 0; i < sizeof(engine_events) / sizeof(engine_events[0]); i++)
		if (sh_slice_eq(name, sh_slice_cstr(engine_events[i])))
			return true;
	return false;
}

/* ------------------------------------------------------------------ signals */

static void signal_destroy(struct signal *s)
{
	sh_list_remove(&s->link);
	sh_value_destroy(s->data);
	sh_free(s->name);
	sh_free(s);
}

void sh_call_wait_drop(struct sh_call_data *d)
{
	struct sh_link *l;

	while ((l = d->signals.next) != &d->signals)
		signal_destroy(SH_CONTAINER(l, struct signal, link));
}

static struct signal *find_signal(struct sh_call_data *d, struct sh_slice name)
{
	SH_LIST_EACH(l, &d->signals)
	{
		struct signal *s = SH_CONTAINER(l, struct signal, link);

		if (sh_slice_eq(sh_slice_cstr(s->name), name))
			return s;
	}
	return NULL;
}

/* True when it came without data: whoever waited sees that it came. */
static int push_value(lua_State *L, const struct sh_value *v)
{
	if (v && v->count)
		return sh_value_push(L, v);
	lua_pushboolean(L, 1);
	return 1;
}

static int push_signal(lua_State *L, void *arg)
{
	return push_value(L, ((const struct signal *)arg)->data);
}

/* ------------------------------------------------------------------ waking */

/* Those who wait for one of the two names, taken off the list: what they do may make others wait. */
static void take(struct sh_call_data *d, const char *name, const char *other, struct sh_link *out)
{
	sh_list_init(out);
	SH_LIST_EACH_SAFE(l, &d->waits)
	{
		struct sh_run *r = SH_CONTAINER(l, struct sh_run, in_waits);

		if (!sh_slice_eq(r->waits_for, sh_slice_cstr(name)) && !(other && sh_slice_eq(r->waits_for, sh_slice_cstr(other))))
			continue;
		sh_list_remove(l);
		sh_list_append(out, l);
	}
}

static void wake(struct sh_link *taken, sh_vm_push_fn push, void *arg)
{
	struct sh_link *l;

	while ((l = taken->next) != taken) {
		struct sh_run *r = SH_CONTAINER(l, struct sh_run, in_waits);

		sh_list_remove(l);
		sh_run_resume(r, push, arg);
	}
}

void sh_call_deliver(struct sh_call_data *d)
{
	for (struct sh_link *l = d->signals.next; l != &d->signals;) {
		struct signal *s = SH_CONTAINER(l, struct signal, link);
		struct sh_link taken;

		l = l->next;
		take(d, s->name, NULL, &taken);
		if (sh_list_empty(&taken))
			continue;
		sh_list_remove(&s->link);
		d->nsignals--;
		wake(&taken, push_signal, s);
		signal_destroy(s);
		l = d->signals.next; /* those who were woken may have taken others */
	}
}

int sh_call_signal(struct sh_runtime *rt, struct sh_call *c, struct sh_slice name, struct sh_value *data)
{
	struct sh_call_data *d = sh_call_state(c) != SH_CALL_ENDED ? sh_call_app(c) : NULL;
	struct signal *s = d && d->nsignals < MAX_SIGNALS ? sh_calloc(1, sizeof(*s)) : NULL;
	unsigned count = 0;

	if (s)
		s->name = sh_strndup(name.base, name.len);
	if (!s || !s->name) {
		int err = !d ? -EPIPE : d->nsignals >= MAX_SIGNALS ? -ENOSPC : -ENOMEM;

		sh_value_destroy(data);
		sh_free(s);
		return err;
	}
	s->data = data;
	sh_list_append(&d->signals, &s->link);
	SH_LIST_EACH(l, &d->signals)
		count++;
	d->nsignals = count;
	if (sh_list_empty(&d->signalled)) { /* delivered when no Lua is on the stack */
		sh_call_hold(c);
		d->call = c;
		sh_list_append(&rt->signalled, &d->signalled);
	}
	if (!rt->depth)
		sh_runtime_flush(rt);
	return 0;
}

/* ------------------------------------------------------------------ what the network brings */

static bool is_dtmf(const struct sh_msg *m)
{
	return m->method == SH_INFO && sh_slice_istarts(sh_msg_header(m, SH_H_CONTENT_TYPE), SH_LIT("application/dtmf"));
}

static const char *event_of(enum sh_method method)
{
	return method == SH_INFO ? "info" : method == SH_MESSAGE ? "message" : method == SH_INVITE ? "reinvite" : NULL;
}

bool sh_call_awaits(const struct sh_call_data *d, enum sh_method method)
{
	const char *name = event_of(method);

	if (!name || sh_list_empty(&d->waits))
		return false;
	SH_LIST_EACH(l, &d->waits)
	{
		const struct sh_run *r = SH_CONTAINER(l, struct sh_run, in_waits);

		if (sh_slice_eq(r->waits_for, sh_slice_cstr(name)) ||
		    (method == SH_INFO && sh_slice_eq(r->waits_for, SH_LIT("dtmf"))))
			return true;
	}
	return false;
}

/* {body=, content_type=, leg="a" | "b"}, and of a key {signal=, duration=, leg=}. */
static int push_request(lua_State *L, void *arg)
{
	const struct sh_request *q = arg;
	const struct sh_msg *m = sh_request_msg(q);
	const struct sh_call *c = sh_request_call(q);
	const struct sh_leg *leg = sh_request_leg(q);

	lua_createtable(L, 0, 3);
	if (m->body.len) {
		sh_push_slice(L, sh_msg_text(m, m->body));
		lua_setfield(L, -2, "body");
		sh_push_slice(L, sh_msg_header(m, SH_H_CONTENT_TYPE));
		lua_setfield(L, -2, "content_type");
	}
	lua_pushstring(L, c && leg == sh_call_b(c) ? "b" : "a");
	lua_setfield(L, -2, "leg");
	return 1;
}

static int push_key(lua_State *L, void *arg)
{
	const struct sh_request *q = arg;
	const struct sh_call *c = sh_request_call(q);

	if (!sh_dtmf_push(L, sh_request_msg(q)))
		lua_newtable(L);
	lua_pushstring(L, c && sh_request_leg(q) == sh_call_b(c) ? "b" : "a");
	lua_setfield(L, -2, "leg");
	return 1;
}

bool sh_call_wake_request(struct sh_call *c, struct sh_request *q)
{
	struct sh_call_data *d = sh_call_app(c);
	const struct sh_msg *m = sh_request_msg(q);
	const char *name = event_of((enum sh_method)m->method);
	struct sh_link keys, all;
	bool any;

	if (!d || !name || sh_list_empty(&d->waits))
		return false;
	sh_list_init(&keys);
	if (is_dtmf(m))
		take(d, "dtmf", NULL, &keys);
	take(d, name, NULL, &all);
	any = !sh_list_empty(&keys) || !sh_list_empty(&all);
	wake(&keys, push_key, q);
	wake(&all, push_request, q);
	return any;
}

static int push_why(lua_State *L, void *arg)
{
	sh_why_push(L, arg);
	return 1;
}

void sh_call_wake_peer_gone(struct sh_call_data *d, const struct sh_why *why)
{
	struct sh_link taken;

	take(d, "peer_hangup", NULL, &taken);
	wake(&taken, push_why, (void *)why);
}

static int push_gone(lua_State *L, void *arg)
{
	(void)arg;
	return sh_gone(L);
}

/* Who waits for the end hears of it; hooks of other calls hear that this one is gone. The call's own are cancelled. */
void sh_call_wake_ended(struct sh_call_data *d, const struct sh_why *why)
{
	struct sh_link taken, others;

	take(d, "hangup", NULL, &taken);
	sh_list_init(&others);
	SH_LIST_EACH_SAFE(l, &d->waits)
	{
		struct sh_run *r = SH_CONTAINER(l, struct sh_run, in_waits);

		if (!sh_list_empty(&r->of_call) && r->doomed)
			continue;
		sh_list_remove(l);
		sh_list_append(&others, l);
	}
	wake(&taken, push_why, (void *)why);
	wake(&others, push_gone, NULL);
}

/* ------------------------------------------------------------------ the verbs */

static int push_timeout(lua_State *L, void *arg)
{
	(void)arg;
	lua_pushnil(L);
	lua_pushliteral(L, "timeout");
	return 2;
}

static void on_timeout(struct sh_timer *t)
{
	struct sh_run *r = SH_CONTAINER(t, struct sh_run, timer);

	sh_list_remove(&r->in_waits);
	sh_run_resume(r, push_timeout, NULL);
}

static void abandon(void *arg)
{
	sh_list_remove(&((struct sh_run *)arg)->in_waits);
}

/* call:wait(event [, timeout]) -> data | nil, "timeout" */
int sh_call_wait_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:wait");
	struct sh_run *run = sh_run_check(L, "call:wait");
	struct sh_call *c = sh_call_check(L, 1);
	lua_Number seconds = luaL_optnumber(L, 3, -1);
	struct sh_call_data *d = c ? sh_call_app(c) : NULL;
	struct sh_slice name;
	struct signal *kept;

	luaL_argexpected(L, lua_type(L, 2) == LUA_TSTRING, 2, "name of an event");
	name.base = lua_tolstring(L, 2, &name.len);
	luaL_argcheck(L, name.len, 2, "name of an event expected, got an empty one");
	if (!lua_isnoneornil(L, 3) && !(seconds >= 0 && seconds <= 1e9))
		return luaL_argerror(L, 3, "seconds from 0 to 1e9 expected");
	lua_settop(L, 3);
	if (!d || sh_call_state(c) == SH_CALL_ENDED)
		return sh_gone(L);
	kept = of_engine(name) ? NULL : find_signal(d, name);
	if (kept) {
		int n = push_value(L, kept->data);

		signal_destroy(kept);
		d->nsignals--;
		return n;
	}
	sh_vm_check_wait(L, "call:wait");
	run->waits_for = name; /* the string stays on the stack of the coroutine */
	sh_list_append(&d->waits, &run->in_waits);
	if (seconds >= 0) {
		run->timer.fire = on_timeout;
		sh_env_timer(rt->env, &run->timer, (uint64_t)(seconds * 1e6));
	}
	return sh_run_wait_for(L, run, abandon, run, NULL);
}

/* call:signal(name [, data]) -> true | nil, code */
int sh_call_signal_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:signal");
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_value *data = NULL;
	struct sh_slice name;
	int err;

	luaL_argexpected(L, lua_type(L, 2) == LUA_TSTRING, 2, "name of a signal");
	name.base = lua_tolstring(L, 2, &name.len);
	luaL_argcheck(L, name.len, 2, "name of a signal expected, got an empty one");
	if (of_engine(name))
		return luaL_argerror(L, 2, lua_pushfstring(L, "'%s' is an event of the engine", name.base));
	lua_settop(L, 3);
	if (!lua_isnil(L, 3))
		data = sh_value_check(L, 3, 1, 0, "data");
	if (!c) {
		sh_value_destroy(data);
		return sh_gone(L);
	}
	err = sh_call_signal(rt, c, name, data);
	if (err)
		return sh_push_errno(L, err);
	lua_pushboolean(L, 1);
	return 1;
}
