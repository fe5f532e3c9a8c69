#include "script/vm.h"

#include <errno.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <time.h>

#include "core/alloc.h"
#include "script/sandbox.h"
#include "script/vm_run.h"

enum {
	MEMORY_DEFAULT = 64 << 20,
	BUDGET_DEFAULT = 10 * 1000 * 1000,
	TOTAL_DEFAULT = 100 * 1000 * 1000,
	RESERVE = 64 << 10,      /* above the limit, so that an error can still be told */
	LARGE_BLOCK = 4096,      /* allocations above it count as work: s .. s of a megabyte is one instruction */
	BYTES_PER_STEP = 64,     /* of them */
	STRING_HEAD = 64,        /* what Lua has in front of a string's text, at most */
	COLLECTED_PER_STEP = 16, /* bytes of heap: a refused allocation costs a full collection */
	STEP_NS = 500, /* an instruction takes ten; what takes longer than this counts as more than one */
	DEPTH_MAX = 20000, /* nested calls; Lua's own limit comes after 64 MB, as "not enough memory" without a place */
};

/* --- memory ------------------------------------------------------------------------------------------------------ */

/* Deterministic mode puts the age of each object before its block: addresses differ from run to run, the order of
 * creation does not. Strings are not counted: whether Lua makes one anew depends on a cache that goes by address. */
struct stamp {
	uint64_t serial, unused; /* 16 bytes keep the alignment */
};

static void *resize(struct sh_vm *vm, void *ptr, size_t old, size_t nsize)
{
	struct stamp *s = ptr ? (struct stamp *)ptr - 1 : NULL;

	if (!vm->deterministic)
		return sh_pool_realloc(&vm->pool, ptr, old, nsize);
	if (nsize > SIZE_MAX - sizeof(*s))
		return NULL;
	s = sh_pool_realloc(&vm->pool, s, s ? old + sizeof(*s) : 0, nsize + sizeof(*s));
	return s ? s + 1 : NULL;
}

static void release(struct sh_vm *vm, void *ptr, size_t old)
{
	if (vm->deterministic && ptr)
		sh_pool_free(&vm->pool, (struct stamp *)ptr - 1, old + sizeof(struct stamp));
	else
		sh_pool_free(&vm->pool, ptr, old);
}

static void stamp_object(struct sh_vm *vm, void *block)
{
	((struct stamp *)block - 1)->serial = ++vm->serial;
	vm->last_object = block;
}

/* Lua tells "not enough memory" without a place, and no message handler runs for it: the place is noted when the allocation is
 * refused. Looking at the stack allocates nothing. */
static void note_place(struct sh_vm *vm)
{
	lua_State *L = vm->current ? vm->current->L : vm->L;
	lua_Debug ar;

	vm->place[0] = '\0';
	for (int level = 0; L && level < 4 && lua_getstack(L, level, &ar); level++) {
		if (!lua_getinfo(L, "Sl", &ar) || ar.currentline <= 0)
			continue;
		snprintf(vm->place, sizeof(vm->place), "%s:%d: ", ar.short_src, ar.currentline);
		return;
	}
}

/* osize is a type when ptr is NULL (reference manual, lua_Alloc). */
static void *allocate(void *ud, void *ptr, size_t osize, size_t nsize)
{
	struct sh_vm *vm = ud;
	size_t old = ptr ? osize : 0, others = vm->memory - old;
	void *block;

	if (nsize == 0) {
		release(vm, ptr, old);
		vm->memory = others;
		return NULL;
	}
	if (nsize > LARGE_BLOCK && nsize > old)
		vm->used += nsize / BYTES_PER_STEP;
	if (nsize > old && ((!ptr && osize == LUA_TSTRING && nsize > SH_VM_STRING_MAX + STRING_HEAD) ||
			    nsize > vm->memory_max + vm->reserve || others > vm->memory_max + vm->reserve - nsize)) {
		vm->used += SH_VM_HOOK_STEP + vm->memory / COLLECTED_PER_STEP;
		note_place(vm);
		return NULL;
	}
	block = resize(vm, ptr, old, nsize);
	if (!block)
		return NULL; /* Lua 5.4 is ready for that also when a block was to shrink */
	vm->memory = others + nsize;
	vm->allocated += nsize > old ? nsize - old : 0;
	if (vm->memory > vm->memory_peak)
		vm->memory_peak = vm->memory;
	if (vm->deterministic && !ptr && osize > LUA_TSTRING && osize <= LUA_TTHREAD)
		stamp_object(vm, block);
	return block;
}

/* Where a block begins seen from what lua_topointer() says; measured, so that no internals of Lua are needed. */
static int measure_offsets(lua_State *L)
{
	struct sh_vm *vm = lua_touserdata(L, 1);

	lua_newthread(L);
	vm->thread_offset = (size_t)((const char *)lua_topointer(L, -1) - (const char *)vm->last_object);
	for (int i = 0; i < 3; i++) {
		const char *payload = lua_newuserdatauv(L, 1, i);

		vm->udata_offset[i] = (size_t)(payload - (const char *)vm->last_object);
	}
	return 0;
}

static size_t udata_offset(lua_State *L, int idx)
{
	struct sh_vm *vm = sh_vm_of(L);
	int n = 0;

	while (lua_getiuservalue(L, idx, n + 1) != LUA_TNONE) {
		lua_pop(L, 1);
		n++;
	}
	lua_pop(L, 1);
	if (n < 2)
		return vm->udata_offset[n];
	return vm->udata_offset[1] + (size_t)(n - 1) * (vm->udata_offset[2] - vm->udata_offset[1]);
}

uint64_t sh_vm_serial(lua_State *L, int idx)
{
	const char *at = lua_topointer(L, idx);

	switch (lua_type(L, idx)) {
	case LUA_TTABLE:
		break;
	case LUA_TFUNCTION:
		if (lua_iscfunction(L, idx)) {
			if (!lua_getupvalue(L, idx, 1))
				return 0; /* no object: a plain C function */
			lua_pop(L, 1);
		}
		break;
	case LUA_TTHREAD:
		if (lua_tothread(L, idx) == sh_vm_of(L)->L)
			return 1;
		at -= sh_vm_of(L)->thread_offset;
		break;
	case LUA_TUSERDATA:
		at -= udata_offset(L, lua_absindex(L, idx));
		break;
	default:
		return 0;
	}
	return ((const struct stamp *)(const void *)at - 1)->serial;
}

/* --- budget ------------------------------------------------------------------------------------------------------ */

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* One instruction may be a function in C, or a comparison of strings of megabytes: how many steps the last SH_VM_HOOK_STEP
 * instructions were worth beyond their number. It is the time of this thread that counts; the clock that is cheap to read says
 * whether it is worth asking. Nothing is known of the first ones of a run. */
static uint64_t overtime(struct sh_vm *vm)
{
	uint64_t wall = vm->counted_at ? clock_ns(CLOCK_MONOTONIC) - vm->counted_at : 0, cpu, took;

	if (wall <= (uint64_t)SH_VM_HOOK_STEP * STEP_NS)
		return 0;
	cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	took = cpu - vm->cpu_at < wall ? cpu - vm->cpu_at : wall; /* both: the thread may have slept, cpu_at may be old */
	vm->cpu_at = cpu;
	return took > (uint64_t)SH_VM_HOOK_STEP * STEP_NS ? took / STEP_NS - SH_VM_HOOK_STEP : 0;
}

static void on_count(lua_State *L, lua_Debug *ar)
{
	struct sh_vm *vm = sh_vm_of(L);
	uint64_t more = overtime(vm);
	lua_Debug deep;

	(void)ar;
	sh_vm_collect(vm);
	if (!vm->counted_at)
		vm->cpu_at = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	vm->counted_at = clock_ns(CLOCK_MONOTONIC); /* without the collector's share */
	vm->used += SH_VM_HOOK_STEP;
	if (vm->deterministic)
		vm->overtime += more; /* it ends what never ends, and changes nothing else */
	else
		vm->used += more;
	vm->too_deep =
	    vm->too_deep || (!vm->killed && lua_getstack(L, DEPTH_MAX, &deep)); /* walks what is there, no more */
	if (vm->killed || vm->too_deep || vm->used + vm->overtime > vm->limit)
		sh_vm_kill(L);
	if (sh_vm_pause_due(L)) {
		vm->engine_yield = vm->paused = true;
		lua_yield(L, 0); /* returns: the yield is done when the hook is left */
	}
}

void sh_vm_arm(lua_State *L)
{
	lua_sethook(L, on_count, LUA_MASKCOUNT, SH_VM_HOOK_STEP);
}

void sh_vm_rearm(lua_State *L)
{
	if (lua_gethookcount(L) != SH_VM_HOOK_STEP || !lua_gethook(L))
		sh_vm_arm(L);
}

static void kill_text(const struct sh_vm *vm, char *out, size_t size)
{
	static const char *const what[] = {
	    [SH_VM_RUN_CALL] = "the script ran too long (%" PRIu64 " instructions)",
	    [SH_VM_RUN_LOAD] = "the script ran too long while it was loaded (%" PRIu64 " instructions)",
	    [SH_VM_RUN_HOOK] = "the hook ran too long (%" PRIu64 " instructions without waiting)",
	};

	if (vm->too_deep)
		snprintf(out, size, "stack overflow (%d nested calls)", DEPTH_MAX);
	else if (vm->kind == SH_VM_RUN_HOOK && vm->limit < vm->slice_max)
		snprintf(out, size, "the hook ran too long (%" PRIu64 " instructions in all)", vm->total_max);
	else
		snprintf(out, size, what[vm->kind], vm->limit);
}

int sh_vm_kill(lua_State *L)
{
	struct sh_vm *vm = sh_vm_of(L);
	char text[96];

	vm->killed = true;
	vm->reserve = RESERVE;
	lua_sethook(L, on_count, LUA_MASKCOUNT, 1); /* a pcall that catches this gets one instruction further */
	luaL_where(L, 0);                           /* in a hook: the function that ran */
	if (lua_rawlen(L, -1) == 0) {
		lua_pop(L, 1);
		luaL_where(L, 1); /* in a C function: its caller */
	}
	kill_text(vm, text, sizeof(text));
	lua_pushstring(L, text);
	lua_concat(L, 2);
	return lua_error(L);
}

void sh_vm_charge_call(lua_State *L, uint64_t *call, uint64_t steps)
{
	struct sh_vm *vm = sh_vm_of(L);

	*call += steps;
	vm->used = steps > UINT64_MAX - vm->used ? UINT64_MAX / 2 : vm->used + steps;
	if (vm->killed || vm->used > vm->limit)
		sh_vm_kill(L);
	if (*call > SH_VM_CALL_MAX && vm->kind == SH_VM_RUN_HOOK) {
		vm->used -= steps; /* it is not done */
		luaL_error(L, "too much for one call: other calls would have to wait");
	}
}

void sh_vm_charge(lua_State *L, uint64_t steps)
{
	uint64_t call = 0;

	sh_vm_charge_call(L, &call, steps);
}

/* --- errors ------------------------------------------------------------------------------------------------------ */

/* The beginning and the end of a text that is too long: what went wrong may stand in either. */
static size_t keep(char *to, size_t size, const char *text, size_t len)
{
	static const char gap[] = " ... ";
	size_t half = (size - sizeof(gap)) / 2;

	if (len < size) {
		memcpy(to, text, len);
	} else {
		memcpy(to, text, half);
		memcpy(to + half, gap, sizeof(gap) - 1);
		memcpy(to + half + sizeof(gap) - 1, text + len - half, half);
		len = 2 * half + sizeof(gap) - 1;
	}
	to[len] = '\0';
	return len;
}

void sh_vm_set_error(struct sh_vm *vm, const char *text)
{
	vm->error.message_len = keep(vm->error.message, sizeof(vm->error.message), text, strlen(text));
	vm->error.traceback_len = 0;
	vm->error.object = NULL;
	vm->error.set = true;
}

/* Pushes what an error is that is no text: its own words, or where it came from, without an address. */
static void describe(lua_State *L)
{
	lua_Debug ar;

	if (luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
		lua_pop(L, 1);
		luaL_tolstring(L, 1, NULL);
		return;
	}
	lua_pushliteral(L, "");
	for (int level = 1; level < 4 && lua_getstack(L, level, &ar); level++) {
		if (lua_getinfo(L, "Sl", &ar) && ar.currentline > 0) {
			lua_pop(L, 1);
			lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
			break;
		}
	}
	lua_pushfstring(L, "%s(error object is a %s value)", lua_tostring(L, -1), luaL_typename(L, 1));
	lua_remove(L, -2);
}

int sh_vm_on_error(lua_State *L)
{
	struct sh_vm *vm = sh_vm_of(L);
	bool text = lua_type(L, 1) == LUA_TSTRING;
	const char *s;
	size_t len;

	vm->reserve = RESERVE;
	/* A __tostring of the script cannot be trusted in a killed run: no hook fires if this one came from the hook.
	 */
	if (text || !vm->killed) {
		if (text || lua_type(L, 1) == LUA_TNUMBER)
			luaL_tolstring(L, 1, NULL);
		else
			describe(L);
		s = lua_tolstring(L, -1, &len);
		vm->error.message_len = keep(vm->error.message, sizeof(vm->error.message), s, len);
		lua_pop(L, 1);
	}
	vm->error.object = text ? NULL : lua_topointer(L, 1);
	vm->error.traceback_len = 0;
	vm->error.set = true;
	luaL_traceback(L, L, NULL, 1); /* if memory is out here, the message stays */
	s = lua_tolstring(L, -1, &len);
	vm->error.traceback_len = keep(vm->error.traceback, sizeof(vm->error.traceback), s, len);
	lua_settop(L, 1);
	return 1;
}

struct sh_slice sh_vm_error(const struct sh_vm *vm)
{
	return sh_slice_make(vm->error.message, vm->error.message_len);
}

struct sh_slice sh_vm_traceback(const struct sh_vm *vm)
{
	return sh_slice_make(vm->error.traceback, vm->error.traceback_len);
}

/* --- runs -------------------------------------------------------------------------------------------------------- */

void sh_vm_run_begin(struct sh_vm *vm, struct sh_vm_run *saved, struct sh_coroutine *co, int kind, uint64_t limit)
{
	saved->current = vm->current;
	saved->used = vm->used;
	saved->limit = vm->limit;
	saved->pause_at = vm->pause_at;
	saved->paused = vm->paused;
	saved->kind = (int)vm->kind;
	saved->killed = vm->killed;
	saved->too_deep = vm->too_deep;
	saved->engine_yield = vm->engine_yield;
	saved->unwaitable = vm->unwaitable;
	saved->wake = vm->wake;
	saved->wake_arg = vm->wake_arg;
	vm->current = co;
	vm->used = vm->overtime = vm->counted_at = 0;
	vm->limit = limit;
	vm->pause_at = vm->pause_after ? vm->pause_after : UINT64_MAX;
	vm->paused = false;
	vm->kind = kind;
	vm->killed = vm->too_deep = vm->engine_yield = false;
	vm->unwaitable = 0;
	vm->error.set = false;
	vm->error.object = NULL;
	vm->error.message_len = vm->error.traceback_len = 0;
	vm->place[0] = '\0';
}

int sh_vm_run_end(struct sh_vm *vm, const struct sh_vm_run *saved, int status)
{
	int result = 0;

	if (vm->killed) { /* also when a C function above the last pcall hid it */
		char text[96];

		kill_text(vm, text, sizeof(text));
		if (!vm->error.set)
			sh_vm_set_error(vm, text);
		result = vm->too_deep ? -EINVAL : -ETIME;
	} else if (status != LUA_OK && vm->error.set) {
		result = -EINVAL;
	} else if (status != LUA_OK) {
		char text[sizeof(vm->place) + 32];

		snprintf(text, sizeof(text), "%s%s", status == LUA_ERRMEM ? vm->place : "",
			 status == LUA_ERRMEM ? "not enough memory" : "error in error handling");
		sh_vm_set_error(vm, text);
		result = status == LUA_ERRMEM ? -ENOMEM : -EINVAL;
	}
	vm->current = saved->current;
	vm->used = saved->used;
	vm->overtime = vm->counted_at = 0;
	vm->limit = saved->limit;
	vm->pause_at = saved->pause_at;
	vm->paused = saved->paused;
	vm->kind = saved->kind;
	vm->killed = saved->killed;
	vm->too_deep = saved->too_deep;
	vm->engine_yield = saved->engine_yield;
	vm->unwaitable = saved->unwaitable;
	vm->wake = saved->wake;
	vm->wake_arg = saved->wake_arg;
	vm->reserve = 0;
	sh_vm_collect(vm);
	return result;
}

static int call(struct sh_vm *vm, lua_CFunction fn, void *arg, int kind, uint64_t budget)
{
	lua_State *L = vm->L;
	struct sh_vm_run saved;
	int base = lua_gettop(L), status;

	sh_vm_run_begin(vm, &saved, NULL, kind, budget);
	if (!lua_checkstack(L, 3))
		return sh_vm_run_end(vm, &saved, LUA_ERRMEM);
	sh_vm_arm(L);
	lua_pushcfunction(L, sh_vm_on_error);
	lua_pushcfunction(L, fn);
	lua_pushlightuserdata(L, arg);
	status = lua_pcall(L, 1, 0, base + 1);
	lua_settop(L, base);
	return sh_vm_run_end(vm, &saved, status);
}

int sh_vm_call(struct sh_vm *vm, lua_CFunction fn, void *arg, uint64_t budget)
{
	return call(vm, fn, arg, SH_VM_RUN_CALL, budget ? budget : vm->slice_max);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static void init(struct sh_vm *vm, const struct sh_vm_config *config)
{
	vm->user = config->user;
	vm->counts = &vm->own_counts;
	vm->world = config->world;
	vm->log = config->log;
	vm->shared = config->shared;
	vm->journal = config->journal;
	vm->stays_open = config->stays_open;
	vm->deterministic = config->deterministic;
	vm->globals = config->globals;
	vm->memory_max = config->memory_max ? config->memory_max : MEMORY_DEFAULT;
	vm->slice_max = config->slice_max ? config->slice_max : BUDGET_DEFAULT;
	vm->total_max = config->total_max ? config->total_max : TOTAL_DEFAULT;
	vm->load_max = config->load_max ? config->load_max : BUDGET_DEFAULT;
	vm->pause_after = config->pause_after;
	vm->pause_at = UINT64_MAX;
	vm->limit = UINT64_MAX;
	sh_list_init(&vm->active);
	sh_list_init(&vm->idle);
	sh_pool_init(&vm->pool, config->stock);
}

int sh_vm_create(struct sh_vm **out, const struct sh_vm_config *config)
{
	struct sh_vm *vm = sh_calloc(1, sizeof(*vm));
	int err;

	if (!vm)
		return -ENOMEM;
	init(vm, config);
	vm->L = lua_newstate(allocate, vm);
	if (!vm->L) {
		sh_vm_destroy(vm);
		return -ENOMEM;
	}
	*(uintptr_t *)lua_getextraspace(vm->L) = (uintptr_t)vm;
	sh_vm_collect_begin(vm);
	err = vm->deterministic ? sh_vm_call(vm, measure_offsets, vm, 0) : 0;
	if (!err)
		err = sh_vm_call(vm, sh_sandbox_open, vm, 0);
	if (err) {
		sh_vm_destroy(vm);
		return err;
	}
	*out = vm;
	return 0;
}

static void free_coroutines(struct sh_link *head)
{
	struct sh_link *l;

	while ((l = sh_list_pop(head)))
		sh_free(SH_CONTAINER(l, struct sh_coroutine, link));
}

void sh_vm_destroy(struct sh_vm *vm)
{
	if (!vm)
		return;
	if (vm->L)
		lua_close(vm->L);
	sh_pool_finish(&vm->pool);
	free_coroutines(&vm->active);
	free_coroutines(&vm->idle);
	for (size_t i = 0; i < vm->file_count; i++)
		sh_free(vm->files[i].path);
	sh_free(vm->files);
	sh_free(vm->directory);
	sh_free(vm);
}

/* --- loading ----------------------------------------------------------------------------------------------------- */

int sh_vm_remember(struct sh_vm *vm, const char *path, const struct sh_vm_stamp *stamp)
{
	struct sh_vm_file *files = sh_realloc(vm->files, (vm->file_count + 1) * sizeof(*files));
	char *copy;

	if (!files)
		return -ENOMEM;
	vm->files = files;
	copy = sh_strndup(path, strlen(path));
	if (!copy)
		return -ENOMEM;
	files[vm->file_count++] = (struct sh_vm_file){copy, *stamp};
	return 0;
}

struct chunk {
	const char *path;
	struct sh_slice text;
};

static int run_chunk(lua_State *L)
{
	const struct chunk *chunk = lua_touserdata(L, 1);
	const char *name = lua_pushfstring(L, "@%s", chunk->path);

	if (sh_sandbox_compile(L, name, chunk->text) != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 0);
	return 0;
}

int sh_vm_load_text(struct sh_vm *vm, const char *path, struct sh_slice text)
{
	struct chunk chunk = {path, text};
	const char *slash = strrchr(path, '/');
	int err;

	if (vm->sealed)
		return -EALREADY;
	sh_free(vm->directory);
	vm->directory = sh_strndup(path, slash ? (size_t)(slash + 1 - path) : 0);
	if (!vm->directory) {
		sh_vm_set_error(vm, "not enough memory");
		return -ENOMEM;
	}
	err = call(vm, run_chunk, &chunk, SH_VM_RUN_LOAD, vm->load_max);
	if (!err)
		vm->sealed = !vm->stays_open;
	return err;
}

int sh_vm_load(struct sh_vm *vm, const char *path)
{
	struct sh_vm_stamp stamp;
	char *text, why[SH_VM_ERROR_MAX];
	size_t len;
	int err = vm->world.read(vm->world.ctx, path, &text, &len, &stamp);

	if (err) {
		snprintf(why, sizeof(why), "cannot read %s: %s", path, strerror(-err));
		sh_vm_set_error(vm, why);
		return err;
	}
	err = sh_vm_remember(vm, path, &stamp);
	if (err)
		sh_vm_set_error(vm, "not enough memory");
	else
		err = sh_vm_load_text(vm, path, sh_slice_make(text, len));
	sh_free(text);
	return err;
}

/* --- housekeeping ------------------------------------------------------------------------------------------------ */

size_t sh_vm_memory(const struct sh_vm *vm)
{
	return vm->memory;
}

const struct sh_vm_file *sh_vm_files(const struct sh_vm *vm, size_t *count)
{
	*count = vm->file_count;
	return vm->files;
}
