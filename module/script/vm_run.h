/* Private to vm*.c and sandbox*.c: runs, budgets and tags. */
#ifndef SH_SCRIPT_VM_RUN_H
#define SH_SCRIPT_VM_RUN_H

#include "script/vm.h"

/* Tags in the extra space of a thread. */
enum {
	SH_VM_OWNED = 1,  /* the engine's, or dead beyond repair: scripts cannot resume or close it */
	SH_VM_ASLEEP = 2, /* a coroutine of the script that waits for the engine inside */
};

static inline uintptr_t sh_vm_tags(lua_State *L)
{
	return *(uintptr_t *)lua_getextraspace(L) & (uintptr_t)SH_VM_TAGS;
}

static inline void sh_vm_tag(lua_State *L, uintptr_t set, uintptr_t clear)
{
	uintptr_t *extra = lua_getextraspace(L);

	*extra = (*extra & ~clear) | set;
}

/* What a run changes in the VM, kept on the C stack: runs may nest. */
struct sh_vm_run {
	struct sh_coroutine *current;
	uint64_t used, limit, pause_at;
	int kind;
	bool killed, too_deep, engine_yield, paused;
	unsigned unwaitable;
	sh_vm_push_fn wake;
	void *wake_arg;
};

void sh_vm_run_begin(struct sh_vm *vm, struct sh_vm_run *saved, struct sh_coroutine *co, int kind, uint64_t limit);
/* Restores, and turns the LUA_ status of the run into our result. */
int sh_vm_run_end(struct sh_vm *vm, const struct sh_vm_run *saved, int status);

/* A protected call around what runs begins; its number. It ends: with an error or without. */
static inline unsigned sh_vm_protect(lua_State *L)
{
	struct sh_coroutine *co = sh_vm_of(L)->current;

	return co ? ++co->protections : 0;
}

/* True: it caught the error that ended a wait. */
static inline bool sh_vm_unprotect(lua_State *L, unsigned number)
{
	struct sh_coroutine *co = sh_vm_of(L)->current;
	bool caught;

	if (!co || !number)
		return false;
	caught = number <= co->unwinding;
	if (caught)
		co->unwinding = 0;
	co->protections = number - 1;
	return caught;
}

void sh_vm_collect_begin(struct sh_vm *vm);
void sh_vm_collect_due(struct sh_vm *vm);

/* Wherever Lua may be interrupted: a step of the collector, when one is due. */
static inline void sh_vm_collect(struct sh_vm *vm)
{
	if (vm->allocated >= vm->collect.at)
		sh_vm_collect_due(vm);
}

int sh_vm_on_error(lua_State *L); /* message handler: keeps message and traceback in the VM */
void sh_vm_arm(lua_State *L);     /* the count hook */
void sh_vm_rearm(lua_State *L);   /* only if it was set to kill */
int sh_vm_kill(lua_State *L);     /* raises the budget error, from now on at every instruction */
void sh_vm_set_error(struct sh_vm *vm, const char *text);

#endif
