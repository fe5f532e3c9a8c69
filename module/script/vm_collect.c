/* When the collector works. Lua's own pace would let one large block, or what a loop has thrown away, be paid for in a single step: with
 * ten thousand hooks in progress 40 ms of it. So it is stopped, and steps of one size are made here, a few at a time: of a thousand
 * objects each, for every so many bytes that were allocated. What cannot be divided is the atomic step, in which Lua 5.4
 * looks through the stack of every living coroutine: that is what the limit of hooks in progress is for.
 *
 * It is the incremental collector: a generational one looks through all coroutines in each young collection. */
#include "script/vm_run.h"

enum {
	FIRST = 1 << 20,     /* bytes before the first cycle: a state of a simulation lives for a call or two */
	PER_STEP = 4 << 10,  /* bytes allocated; a cycle is over when an eighth of what lives has come anew */
	STEPS_MAX = 4,       /* at once, 250 us each at most; the rest is made up for later */
	STEP_UNITS = 20,     /* Lua's "stepmul": 1,280 slots or objects to a step of a kilobyte */
	STEP_LOG2 = 10,
	SMALL_STATE = 16,    /* part of the memory that it may have: there more garbage may wait, */
	SMALL_PERCENT = 300, /* of what lives, */
	PERCENT = 50,        /* than elsewhere */
};

void sh_vm_collect_begin(struct sh_vm *vm)
{
	lua_gc(vm->L, LUA_GCINC, 0, STEP_UNITS, STEP_LOG2);
	lua_gc(vm->L, LUA_GCSTOP);
	vm->collect.at = FIRST;
}

/* How much may be allocated before the next cycle. */
static size_t rest(const struct sh_vm *vm)
{
	size_t garbage = vm->memory / 100 * (vm->memory < vm->memory_max / SMALL_STATE ? SMALL_PERCENT : PERCENT);
	size_t room = vm->memory < vm->memory_max ? (vm->memory_max - vm->memory) / 2 : 0;

	return garbage < room ? garbage : room;
}

/* True: a cycle is over. */
static bool step(struct sh_vm *vm)
{
	if (lua_gc(vm->L, LUA_GCSTEP, 0) == 0)
		return false;
	vm->collect.cycle = false;
	vm->collect.at = vm->allocated + rest(vm);
	return true;
}

void sh_vm_collect_due(struct sh_vm *vm)
{
	bool behind; /* a hook that allocates without end: it pays in full */

	if (!vm->collect.cycle) {
		vm->collect.cycle = true;
		vm->collect.at = vm->allocated;
	}
	behind = vm->allocated - vm->collect.at > vm->memory / 4;
	for (unsigned i = 0; (i < STEPS_MAX || behind) && vm->allocated >= vm->collect.at; i++) {
		vm->collect.at += PER_STEP;
		if (step(vm))
			return;
	}
}

bool sh_vm_gc(struct sh_vm *vm)
{
	return step(vm);
}
