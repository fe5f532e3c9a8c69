/* The coroutines of the engine: start, wait, resume. Waits inside coroutines of the script: sandbox_coroutine.c. */
#include <errno.h>
#include <lauxlib.h>

#include "core/alloc.h"
#include "script/vm_run.h"

enum { IDLE_MAX = 1024 }; /* recycled threads that are kept, about 1 kB each */

/* --- inside the coroutine ---------------------------------------------------------------------------------------- */

static int push_wake(lua_State *L, struct sh_vm *vm)
{
	sh_vm_push_fn push = vm->wake;

	vm->wake = NULL;
	return push ? push(L, vm->wake_arg) : 0;
}

static int body_done(lua_State *L, int status, lua_KContext ctx)
{
	(void)L;
	(void)status;
	(void)ctx;
	return 0;
}

static int body(lua_State *L)
{
	int n = push_wake(L, sh_vm_of(L));

	if (n < 1)
		return luaL_error(L, "a coroutine was started without a function");
	lua_callk(L, n - 1, 0, 0, body_done);
	return 0;
}

static int enter_done(lua_State *L, int status, lua_KContext ctx)
{
	(void)ctx;
	sh_vm_of(L)->current->status = status == LUA_YIELD ? LUA_OK : status;
	lua_settop(L, 0);
	return 0;
}

/* The bottom of each coroutine. The protected call is not only for the message handler: an error that a hook raised
 * leaves hooks switched off in a coroutine that it ends, and only a pcall inside switches them on again. */
static int enter(lua_State *L)
{
	lua_settop(L, 0);
	lua_pushcfunction(L, sh_vm_on_error);
	lua_pushcfunction(L, body);
	return enter_done(L, lua_pcallk(L, 0, 0, 1, 0, enter_done), 0);
}

/* --- waiting ----------------------------------------------------------------------------------------------------- */

bool sh_vm_can_wait(lua_State *L)
{
	const struct sh_vm *vm = sh_vm_of(L);

	return vm->current && !vm->current->unwinding && vm->unwaitable == 0 && lua_isyieldable(L);
}

void sh_vm_check_wait(lua_State *L, const char *what)
{
	const struct sh_vm *vm = sh_vm_of(L);

	if (sh_vm_can_wait(L)) {
		struct sh_coroutine *co = vm->current;
		int (*raise)(lua_State *, void *) = co->pending;

		co->pending = NULL;
		if (raise)
			raise(L, co->pending_arg);
		return;
	}
	if (!vm->current)
		luaL_error(L, "%s cannot wait here (only inside a hook)", what);
	else if (vm->current->unwinding)
		luaL_error(L, "%s cannot wait here (the hook is being ended, and this is a <close> variable)", what);
	else
		luaL_error(L, "%s cannot wait here (inside a callback of table.sort, string.gsub or the like)", what);
}

int sh_vm_raise(lua_State *L)
{
	struct sh_coroutine *co = sh_vm_of(L)->current;

	if (co)
		co->unwinding = co->protections;
	return lua_error(L);
}

static int woken(lua_State *L, int status, lua_KContext at)
{
	struct sh_vm *vm = sh_vm_of(L);
	lua_KContext ctx = (lua_KContext)lua_tointeger(L, (int)at + 1);
	union {
		void *p;
		lua_KFunction k;
	} u = {.p = lua_touserdata(L, (int)at)};

	lua_settop(L, (int)at - 1);
	luaL_checkstack(L, LUA_MINSTACK, NULL);
	push_wake(L, vm);
	return u.k(L, status, ctx);
}

int sh_vm_wait(lua_State *L, lua_KContext ctx, lua_KFunction k)
{
	union {
		void *p;
		lua_KFunction k;
	} u = {.k = k};
	int at = lua_gettop(L) + 1;

	sh_vm_check_wait(L, "this call");
	luaL_checkstack(L, 2, NULL);
	lua_pushlightuserdata(L, u.p);
	lua_pushinteger(L, ctx);
	sh_vm_of(L)->engine_yield = true;
	return lua_yieldk(L, 0, at, woken);
}

int sh_vm_pause(lua_State *L, lua_KContext ctx, lua_KFunction k)
{
	struct sh_vm *vm = sh_vm_of(L);

	vm->engine_yield = vm->paused = true;
	return lua_yieldk(L, 0, ctx, k); /* nothing is pushed when it goes on */
}

/* --- outside ----------------------------------------------------------------------------------------------------- */

/* Its address: the table that holds the threads. Not the registry, which is written all the time: what was written since it was
 * marked is gone through again in the atomic step of the collector. */
static const char threads_key;

static int make_thread(lua_State *L)
{
	struct sh_coroutine *co = lua_touserdata(L, 1);

	if (lua_rawgetp(L, LUA_REGISTRYINDEX, &threads_key) != LUA_TTABLE) {
		lua_pop(L, 1);
		lua_newtable(L);
		lua_pushvalue(L, -1);
		lua_rawsetp(L, LUA_REGISTRYINDEX, &threads_key);
	}
	co->L = lua_newthread(L);
	co->ref = luaL_ref(L, -2);
	sh_vm_tag(co->L, SH_VM_OWNED, 0);
	return 0;
}

static int coroutine_create(struct sh_coroutine **out, struct sh_vm *vm)
{
	struct sh_link *l = sh_list_pop(&vm->idle);
	struct sh_coroutine *co;
	int err;

	if (l) {
		vm->idle_count--;
		*out = SH_CONTAINER(l, struct sh_coroutine, link);
		return 0;
	}
	co = sh_calloc(1, sizeof(*co));
	if (!co) {
		sh_vm_set_error(vm, "not enough memory");
		return -ENOMEM;
	}
	co->vm = vm;
	sh_list_init(&co->link);
	err = sh_vm_call(vm, make_thread, co, 0);
	if (err) {
		sh_free(co);
		return err;
	}
	*out = co;
	return 0;
}

static void coroutine_free(struct sh_coroutine *co)
{
	lua_State *L = co->vm->L;

	lua_rawgetp(L, LUA_REGISTRYINDEX, &threads_key);
	luaL_unref(L, -1, co->ref); /* writes to slots that exist: cannot raise */
	lua_pop(L, 1);
	sh_free(co);
}

static void coroutine_release(struct sh_coroutine *co, bool sound)
{
	struct sh_vm *vm = co->vm;

	sh_list_remove(&co->link);
	vm->active_count--;
	co->user = NULL;
	if (sound && vm->idle_count < IDLE_MAX) {
		sh_list_append(&vm->idle, &co->link);
		vm->idle_count++;
	} else {
		coroutine_free(co);
	}
}

struct step {
	lua_State *co;
	int status;
};

/* Under a pcall of the main thread: what Lua raises in a thread that has no handler (lua_resume() itself, out of
 * memory) goes to the main thread's. */
static int resume_protected(lua_State *L)
{
	struct step *step = lua_touserdata(L, 1);
	int n;

	step->status = lua_resume(step->co, L, 0, &n);
	if (step->status == LUA_OK || step->status == LUA_YIELD)
		lua_pop(step->co, n);
	return 0;
}

static int run(struct sh_coroutine *co, struct sh_coroutine **handle, sh_vm_push_fn push, void *arg)
{
	struct sh_vm *vm = co->vm;
	lua_State *L = vm->L;
	struct step step = {co->L, LUA_ERRMEM};
	struct sh_vm_run saved;
	int result, status = LUA_ERRMEM;
	uint64_t left = vm->total_max > co->spent ? vm->total_max - co->spent : 1;
	bool sound;

	sh_vm_run_begin(vm, &saved, co, SH_VM_RUN_HOOK, left < vm->slice_max ? left : vm->slice_max);
	vm->wake = push;
	vm->wake_arg = arg;
	if (co->paused) { /* it goes on as if nothing had been */
		vm->used = co->used;
		vm->pause_at = vm->pause_after + vm->used;
		co->paused = false;
	}
	co->waiting = false;
	co->status = LUA_OK;
	if (lua_checkstack(L, 2)) {
		sh_vm_arm(co->L);
		lua_pushcfunction(L, resume_protected);
		lua_pushlightuserdata(L, &step);
		status = lua_pcall(L, 1, 0, 0);
		if (status != LUA_OK)
			lua_pop(L, 1);
	}
	if (status == LUA_OK && step.status == LUA_YIELD) {
		co->paused = vm->paused;
		co->used = vm->used;
		co->spent += co->paused ? 0 : vm->used;
		sh_vm_run_end(vm, &saved, LUA_OK);
		co->waiting = true;
		return co->paused ? SH_VM_PAUSED : SH_VM_WAITS;
	}
	sound = status == LUA_OK && step.status == LUA_OK;
	if (status == LUA_OK)
		status = sound ? co->status : step.status;
	result = sh_vm_run_end(vm, &saved, status);
	coroutine_release(co, sound);
	*handle = NULL;
	return result;
}

int sh_vm_start(struct sh_vm *vm, struct sh_coroutine **out, void *user, sh_vm_push_fn push, void *arg)
{
	struct sh_coroutine *co;
	int err = coroutine_create(&co, vm);

	*out = NULL;
	if (err)
		return err;
	co->user = user;
	co->protections = 1; /* that of enter() */
	co->unwinding = 0;
	co->paused = false;
	co->spent = 0;
	co->pending = NULL;
	sh_list_append(&vm->active, &co->link);
	vm->active_count++;
	*out = co;
	lua_pushcfunction(co->L, enter); /* the stack is empty: there is room */
	return run(co, out, push, arg);
}

int sh_vm_resume(struct sh_coroutine *co, sh_vm_push_fn push, void *arg)
{
	struct sh_coroutine *gone;

	if (!co->waiting)
		return -EBUSY;
	return run(co, &gone, push, arg);
}

void sh_vm_drop(struct sh_coroutine *co)
{
	if (co)
		coroutine_release(co, false);
}
