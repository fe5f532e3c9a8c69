/* sip.calls() and sip.find_call(id): what the calls of all workers look like. A snapshot is a table of values; what it
 * names may be over by the time it is looked at. Its methods act on the call where it lives. */
#include "script/calls.h"

#include "script/impl.h"
#include "script/order.h"
#include "script/uri_object.h"
#include "txn/dialog.h"

static const char snapshot_class[] = "siphook.snapshot";

struct snapshot {
	struct sh_slice id, from, to, uri, a_call_id, b_call_id, b_uri;
	enum sh_call_state state;
	unsigned worker;
	struct sh_call_times times;
	uint64_t now;
	const struct sh_value *data;
};

/* One worker's answer, on its way there and back. */
struct part {
	struct sh_post post;
	struct gather *of;
	struct part *next;
	unsigned from;
	struct sh_slice id; /* only that call; base NULL: all */
	struct sh_arena arena;
	struct snapshot *list;
	unsigned count, room;
	bool failed;
};

/* A question to all of them: lives while an answer is missing or the hook waits. */
struct gather {
	struct sh_run *run; /* NULL: it does not wait any more */
	unsigned missing;
	struct part *parts;
	bool one, failed;
};

/* ------------------------------------------------------------------ taking */

static void keep(struct part *p, struct sh_slice s, struct sh_slice *out)
{
	if (sh_arena_dup(&p->arena, s, out) < 0)
		p->failed = true;
}

static void keep_data(struct part *p, const struct sh_value *v, const struct sh_value **out)
{
	struct sh_value *copy = v ? sh_arena_alloc(&p->arena, sizeof(*v) + v->size) : NULL;

	if (copy)
		memcpy(copy, v, sizeof(*v) + v->size);
	*out = copy;
}

static void take(void *ctx, struct sh_call *c)
{
	struct part *p = ctx;
	const struct sh_call_data *d = sh_call_app(c);
	struct snapshot *s;

	if (p->failed || sh_call_state(c) == SH_CALL_ENDED)
		return;
	if (p->count == p->room) {
		unsigned room = p->room ? p->room * 2 : 16;
		struct snapshot *list = sh_arena_calloc(&p->arena, room, sizeof(*list));

		if (!list) {
			p->failed = true;
			return;
		}
		if (p->count)
			memcpy(list, p->list, p->count * sizeof(*list));
		p->list = list;
		p->room = room;
	}
	s = &p->list[p->count++];
	*s = (struct snapshot){
	    .state = sh_call_state(c),
	    .worker = sh_ua_env(sh_call_ua(c))->worker,
	    .times = *sh_call_times(c),
	    .now = sh_env_wall(sh_ua_env(sh_call_ua(c))),
	};
	keep(p, sh_call_id(c), &s->id);
	keep(p, sh_call_from(c), &s->from);
	keep(p, sh_call_to(c), &s->to);
	keep(p, sh_call_uri(c), &s->uri);
	if (sh_call_a(c))
		keep(p, sh_dialog_call_id(sh_leg_dialog(sh_call_a(c))), &s->a_call_id);
	if (sh_call_b(c)) {
		keep(p, sh_dialog_call_id(sh_leg_dialog(sh_call_b(c))), &s->b_call_id);
		keep(p, sh_leg_uri(sh_call_b(c)), &s->b_uri);
	}
	keep_data(p, d ? d->data : NULL, &s->data);
}

static void fill(struct part *p, struct sh_runtime *rt)
{
	struct sh_call *c;

	if (!p->id.base) {
		sh_ua_each_call(rt->ua, take, p);
		return;
	}
	c = sh_ua_find_call(rt->ua, p->id);
	if (c)
		take(p, c);
}

/* ------------------------------------------------------------------ telling */

static void set_text(lua_State *L, const char *key, struct sh_slice s)
{
	if (!s.len)
		return;
	sh_push_slice(L, s);
	lua_setfield(L, -2, key);
}

static void set_number(lua_State *L, const char *key, double n)
{
	lua_pushnumber(L, n);
	lua_setfield(L, -2, key);
}

static void set_time(lua_State *L, const char *key, uint64_t t)
{
	if (t)
		set_number(L, key, (double)t / 1e6);
}

static void push_snapshot(lua_State *L, const struct snapshot *s)
{
	lua_createtable(L, 0, 12);
	set_text(L, "id", s->id);
	set_text(L, "state", sh_call_state_name(s->state));
	sh_push_field(L, s->from);
	lua_setfield(L, -2, "from");
	sh_push_field(L, s->to);
	lua_setfield(L, -2, "to");
	if (sh_uri_object_push(L, s->uri) == 0)
		lua_setfield(L, -2, "uri");
	lua_pushinteger(L, s->worker);
	lua_setfield(L, -2, "worker");
	set_text(L, "a_call_id", s->a_call_id);
	set_text(L, "b_call_id", s->b_call_id);
	if (s->b_uri.len && sh_uri_object_push(L, s->b_uri) == 0)
		lua_setfield(L, -2, "b_uri");
	set_number(L, "age", (double)(s->now - s->times.start) / 1e6);
	set_number(L, "duration", s->times.answer ? (double)(s->now - s->times.answer) / 1e6 : 0);
	lua_createtable(L, 0, 3);
	set_time(L, "start", s->times.start);
	set_time(L, "ring", s->times.ring);
	set_time(L, "answer", s->times.answer);
	lua_setfield(L, -2, "times");
	if (s->data)
		sh_value_push(L, s->data);
	else
		lua_newtable(L);
	lua_setfield(L, -2, "data");
	luaL_setmetatable(L, snapshot_class);
}

static int push_parts(lua_State *L, void *arg)
{
	const struct gather *g = arg;
	lua_Integer n = 0;
	bool failed = g->failed;

	if (!g->one)
		lua_newtable(L);
	for (const struct part *p = g->parts; p; p = p->next) {
		failed = failed || p->failed;
		for (unsigned i = 0; i < p->count; i++) {
			sh_vm_charge(L, 20);
			push_snapshot(L, &p->list[i]);
			if (g->one)
				return 1;
			lua_rawseti(L, -2, ++n);
		}
	}
	if (failed) /* a list with a gap is no answer */
		return luaL_error(L, "not enough memory");
	return g->one ? sh_gone(L) : 1;
}

/* ------------------------------------------------------------------ there and back */

static void destroy_gather(struct gather *g)
{
	struct part *p;

	while ((p = g->parts)) {
		g->parts = p->next;
		sh_arena_finish(&p->arena);
		sh_free(p);
	}
	sh_free(g);
}

static void answered(struct part *p)
{
	struct gather *g = p->of;

	p->next = g->parts;
	g->parts = p;
	if (--g->missing)
		return;
	if (g->run)
		sh_run_resume(g->run, push_parts, g);
	destroy_gather(g);
}

static void give_up(void *arg)
{
	((struct gather *)arg)->run = NULL; /* answers that are under way still come */
}

static void on_answer(struct sh_post *post, struct sh_runtime *rt)
{
	struct part *p = SH_CONTAINER(post, struct part, post);

	if (!rt)
		p->of->run = NULL;
	answered(p);
}

static void on_question(struct sh_post *post, struct sh_runtime *rt)
{
	struct part *p = SH_CONTAINER(post, struct part, post);

	if (!rt) {
		on_answer(post, NULL);
		return;
	}
	fill(p, rt);
	sh_post_send(rt, post, p->from, on_answer);
}

static struct part *part_create(struct gather *g, unsigned from, struct sh_slice id)
{
	struct part *p = sh_calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->of = g;
	p->from = from;
	sh_arena_init(&p->arena, 4096);
	if (id.base && sh_arena_dup(&p->arena, id, &p->id) < 0) {
		sh_arena_finish(&p->arena);
		sh_free(p);
		return NULL;
	}
	return p;
}

static int push_at_once(lua_State *L)
{
	return push_parts(L, lua_touserdata(L, 1));
}

/* Asks `worker`, or all of them (-1). */
static int ask(lua_State *L, const char *what, int worker, struct sh_slice id)
{
	struct sh_runtime *rt = sh_runtime_check(L, what);
	unsigned self = rt->env->worker, first = worker < 0 ? 0 : (unsigned)worker,
		 last = worker < 0 ? rt->env->workers - 1 : (unsigned)worker;
	bool local = first == self && last == self;
	struct sh_run *run = local ? NULL : sh_run_check(L, what);
	struct gather *g;
	int status;

	if (!local)
		sh_vm_check_wait(L, what);
	g = sh_calloc(1, sizeof(*g));
	if (!g)
		return luaL_error(L, "not enough memory");
	g->run = run;
	g->one = id.base != NULL;
	g->missing = 1; /* ours, until all have been asked */
	for (unsigned i = first; i <= last; i++) {
		struct part *p = part_create(g, self, id);

		if (!p) {
			g->failed = true;
			break;
		}
		if (i == self) {
			fill(p, rt);
			p->next = g->parts;
			g->parts = p;
		} else {
			g->missing++;
			sh_post_send(rt, &p->post, i, on_question);
		}
	}
	g->missing--;
	if (!g->missing) {
		lua_pushcfunction(L, push_at_once);
		lua_pushlightuserdata(L, g);
		status = lua_pcall(L, 1, LUA_MULTRET, 0);
		local = g->one;
		destroy_gather(g);
		if (status != LUA_OK)
			return lua_error(L);
		return local && lua_isnil(L, -2) ? 2 : 1;
	}
	return sh_run_wait_for(L, run, give_up, g, NULL);
}

/* sip.calls() */
static int calls(lua_State *L)
{
	lua_settop(L, 0);
	return ask(L, "sip.calls", -1, (struct sh_slice){0});
}

/* sip.find_call(id) */
static int find_call(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.find_call");
	struct sh_slice id;
	int worker;

	id = sh_sandbox_check_text(L, 1);
	lua_settop(L, 1);
	worker = sh_tag_worker(id);
	if (worker < 0 || (unsigned)worker >= rt->env->workers)
		return sh_gone(L);
	return ask(L, "sip.find_call", worker, id);
}

/* ------------------------------------------------------------------ acting */

static int to_text(lua_State *L)
{
	lua_pushliteral(L, "snapshot of call ");
	lua_pushliteral(L, "id");
	if (lua_rawget(L, 1) != LUA_TSTRING)
		return luaL_error(L, "no snapshot of a call");
	lua_concat(L, 2);
	return 1;
}

/* upvalue: the name of the method of `call` */
static int act(lua_State *L)
{
	struct sh_slice id = {0};
	const char *name = lua_tostring(L, lua_upvalueindex(1));
	int worker;

	if (lua_istable(L, 1) && sh_opt_get(L, 1, "id") == LUA_TSTRING)
		id.base = lua_tolstring(L, -1, &id.len);
	worker = id.base ? sh_tag_worker(id) : -1;
	if (worker < 0 || (unsigned)worker >= sh_runtime_check(L, name)->env->workers)
		return luaL_typeerror(L, 1, "call of sip.calls or sip.find_call");
	lua_pop(L, 1); /* it stays in the table */
	return sh_order(L, (unsigned)worker, id, name);
}

void sh_calls_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"calls", calls}, {"find_call", find_call}, {NULL, NULL}};
	static const luaL_Reg meta[] = {{"__tostring", to_text}, {NULL, NULL}};
	static const lua_CFunction waiting[] = {calls, find_call, NULL};
	static const char *const methods[] = {"hangup", "transfer", "signal"};

	luaL_setfuncs(L, functions, 0);
	sh_waits_declare_all(L, waiting);
	sh_sandbox_class(L, snapshot_class, meta, NULL);
	luaL_getmetatable(L, snapshot_class);
	lua_newtable(L);
	for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		lua_pushstring(L, methods[i]);
		lua_pushcclosure(L, act, 1);
		sh_waits_declare(L);
		lua_setfield(L, -2, methods[i]);
	}
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}
