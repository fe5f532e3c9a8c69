/* One Lua state of one worker of one generation: memory limit, instruction budget, coroutines that wait for the engine.
 *
 * One thread at a time: the loader builds and loads the state, then one worker owns it, then the loader closes it.
 *
 * Invariants
 * - Lua is entered through sh_vm_call() and sh_vm_start()/sh_vm_resume() only; nothing else may touch a lua_State from
 *   outside. What they run is protected, so the panic function is never reached. Values are made by callbacks that run
 *   inside the protection (sh_vm_push_fn), because a push may already raise "not enough memory".
 * - The extra space of every thread of the state holds the struct sh_vm * and two tag bits; use sh_vm_of(L).
 * - Every thread that runs carries a count hook (each SH_VM_HOOK_STEP instructions), which looks at the clock too: instructions
 *   that take long count as many. A run that exceeds its budget is
 *   killed: an error is raised again at every instruction, so no pcall of the script keeps it alive. No Lua code ever
 *   runs where hooks are off: __gc of scripts is refused and message handlers are passed over in a killed run.
 * - A wait (sh_vm_wait) suspends the whole hook, also from inside coroutines that the script made.
 */
#ifndef SH_SCRIPT_VM_H
#define SH_SCRIPT_VM_H

#include <lua.h>

#include "core/list.h"
#include "core/log.h"
#include "core/pool.h"
#include "core/slice.h"

struct sh_vm;
struct sh_globals;

/* What scripts have run into beside the limits of their runs. */
struct sh_vm_counts {
	uint64_t patterns;  /* too costly */
	uint64_t lines_cut; /* of the log: they were too long */
	uint64_t values;    /* call.data, data of timers and signals: too large to be kept */
};
struct sh_shared;
struct sh_shared_journal;

enum {
	SH_VM_HOOK_STEP = 1000,
	SH_VM_CALL_MAX = 2000000, /* steps, of ten nanoseconds, that a hook's call of a C function may take: nothing else moves meanwhile */
	SH_VM_STRING_MAX = 16 << 20, /* bytes of one string */
	SH_VM_ERROR_MAX = 1024,     /* longest kept error message */
	SH_VM_TRACEBACK_MAX = 4096, /* longest kept traceback */
	SH_VM_TAGS = 3              /* low bits of the extra space: private to vm*.c */
};

/* What makes a file the same file for a watcher. */
struct sh_vm_stamp {
	int64_t mtime_ns;
	uint64_t size, inode;
};

struct sh_vm_file {
	char *path;
	struct sh_vm_stamp stamp;
};

/* The world as a script sees it. All members but list are set; ctx comes back with each call. */
struct sh_vm_world {
	uint64_t (*now)(void *ctx);    /* monotonic microseconds */
	uint64_t (*wall)(void *ctx);   /* microseconds since 1970 */
	uint64_t (*random)(void *ctx); /* 64 random bits; simulation: from the seed */
	/* Reads a whole file into memory of sh_malloc() that the caller frees. 0 or -errno (-EFBIG: absurdly large).
	 * Called while the script loads only. */
	int (*read)(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp);
	void *ctx;
	/* Names the files *.lua of a folder ("": the current one; else it ends in a slash) and of folders in it, as paths that
	 * begin with dir, until fn returns false. NULL: unknown. Not used by the VM itself. */
	void (*list)(void *ctx, const char *dir, bool (*fn)(void *arg, const char *path), void *arg);
};

struct sh_vm_config {
	struct sh_vm_world world;
	struct sh_log *log;
	struct sh_shared *shared;          /* what sip.shared() opens; may be NULL (then it raises) */
	struct sh_shared_journal *journal; /* see sh_vm.journal */
	struct sh_globals *globals;        /* NULL, or where the globals that its files use are noted: globals.h */
	size_t memory_max;                 /* bytes; 0: 64 MB */
	uint64_t slice_max;                /* instructions between two waits; 0: 10 million */
	uint64_t total_max;                /* instructions of a hook in all; 0: 100 million */
	uint64_t load_max;                 /* instructions of the top level; 0: 10 million */
	uint64_t pause_after;              /* instructions after which a hook lets others run; 0: never */
	bool stays_open;                   /* new globals and require after the script was loaded too: for test files */
	bool deterministic;                /* ordered pairs and next, tostring without addresses, os.date in UTC */
	struct sh_pool_stock *stock;       /* for the pool of its memory; NULL: none */
	void *user;                        /* the generation: comes back as sh_vm.user */
};

/* A coroutine of the engine: one run of one hook. Threads are recycled, so this is cheap (about 100 ns). */
struct sh_coroutine {
	struct sh_link link; /* in vm->running_all or vm->idle */
	struct sh_vm *vm;
	lua_State *L;
	int ref;      /* anchor in the registry */
	bool waiting; /* between SH_VM_WAITS and the next resume */
	/* Protected calls around what runs, and how many there were when sh_vm_raise() raised: while fewer have ended
	 * nothing has caught that error, only <close> variables run, and they may not wait. 0: not so. */
	unsigned protections, unwinding;
	bool paused;   /* waiting, but only for its turn: SH_VM_PAUSED */
	uint64_t used; /* then: instructions since its last wait */
	uint64_t spent; /* instructions of all stretches between waits that are over */
	/* Raises what came while it was paused; called when it would wait next. NULL: nothing came. */
	int (*pending)(lua_State *L, void *arg);
	void *pending_arg;
	int status;   /* private: how the last run ended, a LUA_ code */
	void *user;   /* the run of the hook; set by sh_vm_start() */
};

/* Readable by all of script/; written by vm*.c, except `user`, `journal`, `ends_waits` and `coroutine->user`. */
struct sh_vm {
	lua_State *L; /* the main thread */
	void *user;
	struct sh_vm_world world;
	struct sh_log *log;
	struct sh_shared *shared;
	struct sh_shared_journal
	    *journal;               /* not NULL: writes of sip.shared go here. The loader takes it away at the swap */
	struct sh_vm_counts *counts; /* its own, until its owner has others */
	bool stays_open, deterministic, sealed; /* sealed: the script is loaded, no new globals, no files */

	struct sh_coroutine *current; /* the hook that runs now, or NULL: sh_vm_call() */
	struct sh_link active, idle;  /* coroutines that run or wait; recycled ones */
	unsigned active_count, idle_count;

	/* What went wrong in the last call, start or resume that returned an error; valid until the next one. */
	struct {
		char message[SH_VM_ERROR_MAX], traceback[SH_VM_TRACEBACK_MAX];
		size_t message_len, traceback_len;
		const void
		    *object; /* lua_topointer() of the error value: tells cancel objects apart; NULL for strings */
		bool set;
	} error;
	/* Addresses of what sh_vm_raise() raises, by whoever makes it: a script that raises one of them again does the same. */
	const void *ends_waits[2];

	/* --- private to vm*.c */
	struct sh_vm_counts own_counts;
	uint64_t slice_max, total_max, load_max, pause_after;
	uint64_t used, limit; /* instructions of this run */
	uint64_t pause_at;    /* of them */
	uint64_t overtime;    /* deterministic mode: steps that only time has shown */
	uint64_t counted_at, cpu_at; /* nanoseconds of the machine and of the thread when they were counted last; 0: not yet in this run */
	bool paused;          /* the yield that is on its way out is a pause */
	enum { SH_VM_RUN_CALL, SH_VM_RUN_LOAD, SH_VM_RUN_HOOK } kind;
	bool killed;         /* this run exceeded its budget: everything raises until it is left */
	bool too_deep;       /* that was why: endless recursion */
	bool engine_yield;   /* the yield that is on its way out is a wait, not a coroutine.yield of the script */
	unsigned unwaitable; /* > 0: a coroutine below stands in a C call that cannot be suspended */
	int (*wake)(lua_State *L, void *arg);
	void *wake_arg;
	size_t memory, memory_max, memory_peak, reserve;
	struct sh_pool pool; /* where its blocks come from */
	char place[LUA_IDSIZE + 16]; /* "dialplan.lua:12: " where memory was refused last in this run; or "" */
	uint64_t serial; /* deterministic mode: number of the last object */
	void *last_object;
	size_t thread_offset, udata_offset[3];
	uint64_t allocated; /* bytes since the beginning, those given back included */
	struct {
		uint64_t at; /* of them: the next step is due */
		bool cycle;  /* one is in progress */
	} collect; /* vm_collect.c */
	char loading;    /* its address marks a module whose file is running */
	struct sh_globals *globals;
	char *directory; /* of the main script, with its last slash; "" for the current one */
	struct sh_vm_file *files;
	size_t file_count;
};

/* 0 or -ENOMEM. *out is written on success only. The state has the libraries of the sandbox; the caller then adds
 * the table `siphook` with sh_sandbox_preload() inside an sh_vm_call(). */
int sh_vm_create(struct sh_vm **out, const struct sh_vm_config *config);
/* Any thread that owns the state; NULL is fine. Coroutines that wait are freed without running. */
void sh_vm_destroy(struct sh_vm *vm);

/* The VM of any thread of its state; no look-up. */
static inline struct sh_vm *sh_vm_of(lua_State *L)
{
	return (struct sh_vm *)(*(uintptr_t *)lua_getextraspace(L) & ~(uintptr_t)SH_VM_TAGS);
}

/* --- entering Lua: never raises, never waits. 0, or -EINVAL: the script raised; -ETIME: the budget; -ENOMEM: the
 * memory. After an error vm->error says what.
 * ----------------------------------------------------------------------------- */

/* Runs fn on the main thread with arg as a light userdata at index 1; what fn returns is dropped. It may push, raise
 * and call Lua functions, but nothing in it may wait. budget in instructions, 0: slice_max. */
int sh_vm_call(struct sh_vm *vm, lua_CFunction fn, void *arg, uint64_t budget);

/* Reads, compiles (text only) and runs a file under load_max, and seals the state. The directory of path is where
 * require looks. Once per VM. Also -errno of the reader. */
int sh_vm_load(struct sh_vm *vm, const char *path);
/* The same with text that somebody has; path names it and gives the directory. */
int sh_vm_load_text(struct sh_vm *vm, const char *path, struct sh_slice text);

/* Pushes values on L and returns how many; may raise (a cancel error is raised that way, at the place of the wait).
 * Runs at most once, inside the start or resume call that was given it: arg and what it points to stay the caller's. */
typedef int (*sh_vm_push_fn)(lua_State *L, void *arg);

#define SH_VM_WAITS  1 /* returned by start and resume: the coroutine waits; resume it, or drop it */
#define SH_VM_PAUSED 2 /* the same, but it waits for nothing: resume it soon, with push NULL */

/* A new run: push gives the function and its arguments. *out and user are set before anything runs (sh_vm_current()
 * sees them); when the result is not SH_VM_WAITS the coroutine is gone and *out is NULL. */
int sh_vm_start(struct sh_vm *vm, struct sh_coroutine **out, void *user, sh_vm_push_fn push, void *arg);
/* Goes on where the coroutine waits; push gives the values that the wait returns to its continuation. */
int sh_vm_resume(struct sh_coroutine *co, sh_vm_push_fn push, void *arg);
/* A push function's way to end a wait with an error, which is the value on top: until a protected call has caught it nothing
 * can wait. */
int sh_vm_raise(lua_State *L);
/* Forgets a waiting coroutine; nothing of it runs any more, <close> variables neither. To end one in order, resume it
 * with a push that raises. */
void sh_vm_drop(struct sh_coroutine *co);

struct sh_slice sh_vm_error(const struct sh_vm *vm);     /* "dialplan.lua:12: ..." */
struct sh_slice sh_vm_traceback(const struct sh_vm *vm); /* several lines, empty when there is none */

/* --- for C functions that Lua calls (they may raise) ---------------------------------------------------------------
 */

/* Suspends the hook: `return sh_vm_wait(L, ctx, k);`. When it is resumed, k(L, LUA_YIELD, ctx) goes on with the values
 * of the push callback above what the stack held. Raises when nothing can wait here (the top level, a callback of
 * table.sort or string.gsub): call sh_vm_can_wait() before starting what would be waited for. */
int sh_vm_wait(lua_State *L, lua_KContext ctx, lua_KFunction k);
bool sh_vm_can_wait(lua_State *L);
void sh_vm_check_wait(lua_State *L, const char *what); /* raises "<what> cannot wait here (...)" */

/* The engine's coroutine that runs (also from inside coroutines of the script), or NULL in an sh_vm_call(). */
static inline struct sh_coroutine *sh_vm_current(lua_State *L)
{
	return sh_vm_of(L)->current;
}

/* Counts work that no instruction shows, before it is done: a step is some ten nanoseconds. Raises when the budget is spent, or when a
 * hook asks for more than SH_VM_CALL_MAX at once. */
void sh_vm_charge(lua_State *L, uint64_t steps);
/* The same for a function that does not know before how much there is; *call begins as 0 and sums up what it takes. */
void sh_vm_charge_call(lua_State *L, uint64_t *call, uint64_t steps);

/* For a C function that can stop in between, as a hook in Lua does at any instruction: true when others want their turn and the hook can
 * let them. Then `return sh_vm_pause(L, ctx, k);`: k(L, LUA_YIELD, ctx) goes on with the stack as it is. */
static inline bool sh_vm_pause_due(lua_State *L)
{
	const struct sh_vm *vm = sh_vm_of(L);

	return vm->used >= vm->pause_at && vm->kind == SH_VM_RUN_HOOK && vm->unwaitable == 0 && lua_isyieldable(L);
}
int sh_vm_pause(lua_State *L, lua_KContext ctx, lua_KFunction k);

/* --- housekeeping --------------------------------------------------------------------------------------------------
 */

/* One step of the collector, for tests; true when a cycle ended. */
bool sh_vm_gc(struct sh_vm *vm);
size_t sh_vm_memory(const struct sh_vm *vm);
/* The files that were read so far, main script first; valid until the next load. */
const struct sh_vm_file *sh_vm_files(const struct sh_vm *vm, size_t *count);

#endif
