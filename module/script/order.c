#include "script/order.h"

#include "script/impl.h"
#include "script/uri_object.h"

struct sh_order {
	struct sh_post post;
	struct sh_run *run; /* that waits; its worker's. NULL: not any more */
	unsigned from;
	uint64_t call; /* handle, on the call's worker */
	struct sh_value *args, *results;
	struct sh_slice id;
	const char *method; /* a constant of the state that asked: copied */
	char texts[];       /* id, then method with its NUL */
};

static void destroy(struct sh_order *o)
{
	sh_value_destroy(o->args);
	sh_value_destroy(o->results);
	sh_free(o);
}

/* ------------------------------------------------------------------ where the call lives */

static int push_failure(lua_State *L, const char *code)
{
	lua_pushnil(L);
	lua_pushstring(L, code);
	return 2;
}

/* A res table among the results goes without what it reads from the answer itself. */
static void flatten(lua_State *L, int idx)
{
	static const char *const keys[] = {"code", "reason", "cause"};

	if (!lua_istable(L, idx) || !luaL_getmetafield(L, idx, "__index"))
		return;
	lua_pop(L, 1);
	lua_createtable(L, 0, 3);
	for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		sh_opt_get(L, idx, keys[i]);
		lua_setfield(L, -2, keys[i]);
	}
	lua_replace(L, idx);
}

static int keep_results(lua_State *L, int status, lua_KContext order)
{
	struct sh_order *o = (struct sh_order *)order;
	int n = lua_gettop(L);

	(void)status;
	for (int i = 1; i <= n; i++)
		flatten(L, i);
	o->results = sh_value_check(L, 1, (unsigned)n, 0, "result");
	return 0;
}

static int serve(lua_State *L)
{
	struct sh_order *o = lua_touserdata(L, 1);

	lua_settop(L, 0);
	sh_object_push(L, SH_OBJECT_CALL, o->call);
	if (lua_getfield(L, 1, o->method) != LUA_TFUNCTION)
		return luaL_error(L, "a call has no method '%s'", o->method);
	lua_insert(L, 1);
	lua_callk(L, 1 + sh_value_push(L, o->args), LUA_MULTRET, (lua_KContext)o, keep_results);
	return keep_results(L, LUA_OK, (lua_KContext)o);
}

static int push_serve(lua_State *L, void *arg)
{
	lua_pushcfunction(L, serve);
	lua_pushlightuserdata(L, arg);
	return 2;
}

/* ------------------------------------------------------------------ where it is waited for */

static int push_results(lua_State *L, void *arg)
{
	const struct sh_order *o = arg;

	return o->results ? sh_value_push(L, o->results) : push_failure(L, "gone");
}

static void on_results(struct sh_post *post, struct sh_runtime *rt)
{
	struct sh_order *o = SH_CONTAINER(post, struct sh_order, post);

	if (rt && o->run)
		sh_run_resume(o->run, push_results, o);
	destroy(o);
}

static void give_up(void *arg)
{
	((struct sh_order *)arg)->run = NULL;
}

static void on_order(struct sh_post *post, struct sh_runtime *rt)
{
	struct sh_order *o = SH_CONTAINER(post, struct sh_order, post);
	struct sh_run_start start = {.hook = SH_HOOK_NONE, .push = push_serve, .arg = o, .order = o};

	if (!rt) {
		destroy(o);
		return;
	}
	sh_runtime_update(rt);
	start.call = sh_ua_find_call(rt->ua, o->id);
	if (start.call)
		o->call = sh_call_handle(start.call);
	if (!start.call || sh_call_state(start.call) == SH_CALL_ENDED || sh_run_begin(rt->state, &start) < 0)
		sh_post_send(rt, &o->post, o->from, on_results);
}

static int make_failure(lua_State *L)
{
	struct sh_order *o = lua_touserdata(L, 1);
	const struct sh_slice *error = lua_touserdata(L, 2);

	lua_settop(L, 0);
	push_failure(L, "failed");
	lua_pushlstring(L, error->base, error->len);
	o->results = sh_value_check(L, 1, 3, 0, "result");
	return 0;
}

struct failure {
	struct sh_order *order;
	struct sh_slice error;
};

static int keep_failure(lua_State *L)
{
	struct failure *f = lua_touserdata(L, 1);

	lua_settop(L, 0);
	lua_pushcfunction(L, make_failure);
	lua_pushlightuserdata(L, f->order);
	lua_pushlightuserdata(L, &f->error);
	lua_call(L, 2, 0);
	return 0;
}

void sh_order_served(struct sh_run *r, struct sh_slice error)
{
	struct sh_order *o = r->order;
	char text[SH_VM_ERROR_MAX];
	struct failure f = {o, {text, 0}};

	r->order = NULL;
	if (error.len) { /* it lies in the VM, which the next call uses */
		f.error.len = error.len < sizeof(text) ? error.len : sizeof(text);
		memcpy(text, error.base, f.error.len);
		sh_value_destroy(o->results);
		o->results = NULL;
		sh_vm_call(r->state->vm, keep_failure, &f, 0);
	}
	sh_post_send(r->state->runtime, &o->post, o->from, on_results);
}

/* ------------------------------------------------------------------ giving an order */

static int local_done(lua_State *L, int status, lua_KContext base)
{
	(void)status;
	return lua_gettop(L) - (int)base;
}

static int act_here(lua_State *L, struct sh_runtime *rt, struct sh_slice id, const char *method)
{
	struct sh_call *c = sh_ua_find_call(rt->ua, id);

	if (!c)
		return sh_gone(L);
	sh_object_push(L, SH_OBJECT_CALL, sh_call_handle(c));
	if (lua_getfield(L, -1, method) != LUA_TFUNCTION)
		return luaL_error(L, "a call has no method '%s'", method);
	lua_insert(L, 2); /* what was given, method, arguments, object */
	lua_insert(L, 3);
	lua_callk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, local_done);
	return local_done(L, LUA_OK, 1);
}

int sh_order(lua_State *L, unsigned worker, struct sh_slice id, const char *method)
{
	struct sh_runtime *rt = sh_runtime_check(L, method);
	struct sh_run *run;
	struct sh_order *o;
	struct sh_slice text;
	size_t len = strlen(method);
	int n = lua_gettop(L);

	if (worker == rt->env->worker)
		return act_here(L, rt, id, method);
	run = sh_run_check(L, method);
	sh_vm_check_wait(L, method);
	for (int i = 2; i <= n; i++) {
		if (lua_type(L, i) == LUA_TUSERDATA && sh_uri_object_text(L, i, &text)) {
			sh_push_slice(L, text);
			lua_replace(L, i);
		}
	}
	o = sh_calloc(1, sizeof(*o) + id.len + len + 1);
	if (!o)
		return luaL_error(L, "not enough memory");
	if (n > 1) {
		char why[200];

		if (sh_value_pack(&o->args, L, 2, (unsigned)n - 1, 0, "argument", why, sizeof(why)) < 0) {
			destroy(o);
			return luaL_error(L, "%s", why);
		}
	}
	memcpy(o->texts, id.base, id.len);
	memcpy(o->texts + id.len, method, len);
	o->id = sh_slice_make(o->texts, id.len);
	o->method = o->texts + id.len;
	o->run = run;
	o->from = rt->env->worker;
	sh_post_send(rt, &o->post, worker, on_order);
	return sh_run_wait_for(L, run, give_up, o, NULL);
}
