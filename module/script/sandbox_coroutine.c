/* The coroutine library for scripts. It differs from the stock one in three ways: a wait of the engine inside a
 * coroutine of the script passes through resume and wrap, so that the whole hook waits; a coroutine that waits, or is
 * the engine's, cannot be resumed or closed by somebody else; a budget that is spent inside ends the coroutines above
 * too. */
#include <lauxlib.h>

#include "script/sandbox.h"
#include "script/vm_run.h"

enum { RESUME_STEPS = 100 }; /* charged for a resume: a hook does not see a coroutine that runs less than its count */

enum { STEP_FAILED = -1, STEP_WAITS = -2 };

static lua_State *check_thread(lua_State *L)
{
	lua_State *co = lua_tothread(L, 1);

	luaL_argexpected(L, co, 1, "coroutine");
	return co;
}

/* A resume is a protected call: its number, 0 before it began; it has caught the error that ended a wait. */
struct protection {
	unsigned number;
	bool caught;
};

/* Runs co with narg values from the top of L. How many values it left on L, or STEP_FAILED (the error is on L), or
 * STEP_WAITS: to be called again with the same number. */
static int step(lua_State *L, lua_State *co, int narg, struct protection *p)
{
	struct sh_vm *vm = sh_vm_of(L);
	bool blocks = !lua_isyieldable(L);
	int status, n;

	if (sh_vm_tags(co)) {
		lua_pushliteral(L, "cannot resume a coroutine that is not the script's to resume");
		return STEP_FAILED;
	}
	if (!lua_checkstack(co, narg)) {
		lua_pushliteral(L, "too many arguments to resume");
		return STEP_FAILED;
	}
	sh_vm_charge(L, RESUME_STEPS);
	sh_vm_rearm(co);
	lua_xmove(L, co, narg);
	vm->engine_yield = false;
	vm->unwaitable += blocks;
	if (!p->number)
		p->number = sh_vm_protect(L);
	status = lua_resume(co, L, narg, &n);
	vm->unwaitable -= blocks;
	if (vm->killed) {
		sh_vm_tag(co, SH_VM_OWNED, 0); /* it may have died with its hooks off: nothing of it may run again */
		return sh_vm_kill(L);
	}
	if (status == LUA_YIELD && vm->engine_yield) {
		sh_vm_tag(co, SH_VM_ASLEEP, 0);
		return STEP_WAITS;
	}
	p->caught = sh_vm_unprotect(L, p->number);
	if (status != LUA_OK && status != LUA_YIELD) {
		lua_xmove(co, L, 1);
		return STEP_FAILED;
	}
	if (!lua_checkstack(L, n + 1)) {
		lua_pop(co, n);
		lua_pushliteral(L, "too many results to resume");
		return STEP_FAILED;
	}
	lua_xmove(co, L, n);
	return n;
}

/* coroutine.resume: the coroutine at index 1. */
static int resume_done(lua_State *L, int n)
{
	lua_pushboolean(L, n != STEP_FAILED);
	if (n == STEP_FAILED)
		n = 1;
	lua_insert(L, -(n + 1));
	return n + 1;
}

static int resume_woken(lua_State *L, int status, lua_KContext number)
{
	struct protection p = {.number = (unsigned)number};
	lua_State *co = lua_tothread(L, 1);
	int n;

	(void)status;
	sh_vm_tag(co, 0, SH_VM_ASLEEP);
	n = step(L, co, 0, &p);
	if (n == STEP_WAITS)
		return lua_yieldk(L, 0, p.number, resume_woken);
	return resume_done(L, n);
}

static int co_resume(lua_State *L)
{
	struct protection p = {0};
	int n = step(L, check_thread(L), lua_gettop(L) - 1, &p);

	if (n == STEP_WAITS)
		return lua_yieldk(L, 0, p.number, resume_woken);
	return resume_done(L, n);
}

/* The function that coroutine.wrap gives: the coroutine as upvalue 1. */
static int wrap_done(lua_State *L, lua_State *co, int n, const struct protection *p)
{
	int status;

	if (n != STEP_FAILED)
		return n;
	status = lua_status(co);
	if (status != LUA_OK && status != LUA_YIELD) {
		status = lua_resetthread(co); /* an error: close its variables */
		lua_xmove(co, L, 1);          /* the error object, or a newer one */
		if (sh_vm_of(L)->killed)
			return sh_vm_kill(L);
	}
	if (status != LUA_ERRMEM && lua_type(L, -1) == LUA_TSTRING) {
		luaL_where(L, 1);
		lua_insert(L, -2);
		lua_concat(L, 2);
	}
	return p->caught ? sh_vm_raise(L) : lua_error(L); /* what ended a wait goes on */
}

static int wrap_woken(lua_State *L, int status, lua_KContext number)
{
	struct protection p = {.number = (unsigned)number};
	lua_State *co = lua_tothread(L, lua_upvalueindex(1));
	int n;

	(void)status;
	sh_vm_tag(co, 0, SH_VM_ASLEEP);
	n = step(L, co, 0, &p);
	if (n == STEP_WAITS)
		return lua_yieldk(L, 0, p.number, wrap_woken);
	return wrap_done(L, co, n, &p);
}

static int wrapped(lua_State *L)
{
	lua_State *co = lua_tothread(L, lua_upvalueindex(1));
	struct protection p = {0};
	int n = step(L, co, lua_gettop(L), &p);

	if (n == STEP_WAITS)
		return lua_yieldk(L, 0, p.number, wrap_woken);
	return wrap_done(L, co, n, &p);
}

static int co_create(lua_State *L)
{
	lua_State *co;

	luaL_checktype(L, 1, LUA_TFUNCTION);
	co = lua_newthread(L); /* inherits the count hook and the extra space of the main thread */
	lua_pushvalue(L, 1);
	lua_xmove(L, co, 1);
	return 1;
}

static int co_wrap(lua_State *L)
{
	co_create(L);
	lua_pushcclosure(L, wrapped, 1);
	return 1;
}

static int co_yield (lua_State *L)
{
	if (sh_vm_tags(L) & SH_VM_OWNED)
		return luaL_error(L, "attempt to yield from outside a coroutine");
	sh_vm_of(L)->engine_yield = false;
	return lua_yield(L, lua_gettop(L));
}

static const char *status_of(lua_State *L, lua_State *co)
{
	lua_Debug ar;

	if (co == L)
		return "running";
	switch (lua_status(co)) {
	case LUA_YIELD:
		return "suspended";
	case LUA_OK:
		if (lua_getstack(co, 0, &ar))
			return "normal";
		return lua_gettop(co) == 0 ? "dead" : "suspended";
	default:
		return "dead";
	}
}

static int co_status(lua_State *L)
{
	lua_pushstring(L, status_of(L, check_thread(L)));
	return 1;
}

static int co_close(lua_State *L)
{
	lua_State *co = check_thread(L);
	const char *status = status_of(L, co);
	int result;

	if (*status == 'r' || *status == 'n')
		return luaL_error(L, "cannot close a %s coroutine", status);
	if (sh_vm_tags(co))
		return luaL_error(L, "cannot close a coroutine that is not the script's to close");
	sh_vm_rearm(co);
	result = lua_resetthread(co);
	if (sh_vm_of(L)->killed)
		return sh_vm_kill(L);
	lua_pushboolean(L, result == LUA_OK);
	if (result == LUA_OK)
		return 1;
	lua_xmove(co, L, 1);
	return 2;
}

static int co_running(lua_State *L)
{
	int main = lua_pushthread(L);

	lua_pushboolean(L, main || (sh_vm_tags(L) & SH_VM_OWNED));
	return 2;
}

static int co_isyieldable(lua_State *L)
{
	lua_State *co = lua_isnone(L, 1) ? L : check_thread(L);

	lua_pushboolean(L, lua_isyieldable(co) && !(sh_vm_tags(co) & SH_VM_OWNED));
	return 1;
}

int sh_sandbox_coroutine_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
	    {"close", co_close},   {"create", co_create},   {"isyieldable", co_isyieldable},
	    {"resume", co_resume}, {"running", co_running}, {"status", co_status},
	    {"wrap", co_wrap},     {"yield", co_yield },    {NULL, NULL},
	};

	luaL_newlib(L, functions);
	return 1;
}
