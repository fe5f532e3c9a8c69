/* A script's world in memory: a clock that stands, a counter for randomness, a few files, the last log line. */
#ifndef SCRIPT_HELPERS_H
#define SCRIPT_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <lauxlib.h>

#include "core/alloc.h"
#include "script/sandbox.h"
#include "script/vm.h"

struct world {
	uint64_t now, wall, seed;
	const char *files[8][2]; /* path, text */
	char line[1200];         /* the last log line */
	enum sh_log_level level;
	struct sh_log log;
};

static uint64_t world_now(void *ctx)
{
	return ((struct world *)ctx)->now;
}

static uint64_t world_wall(void *ctx)
{
	return ((struct world *)ctx)->wall;
}

static uint64_t world_random(void *ctx)
{
	struct world *w = ctx;

	w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return w->seed ^ w->seed >> 32;
}

static int world_read(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp)
{
	struct world *w = ctx;

	for (int i = 0; i < 8; i++) {
		if (!w->files[i][0] || strcmp(w->files[i][0], path) != 0)
			continue;
		*len = strlen(w->files[i][1]);
		*stamp = (struct sh_vm_stamp){1, *len, (uint64_t)i};
		*text = sh_strndup(w->files[i][1], *len);
		return *text ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static void world_log(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	struct world *w = ctx;

	snprintf(w->line, sizeof(w->line), "%.*s", (int)len, line);
	w->level = level;
}

static inline struct sh_vm_config world_config(struct world *w)
{
	*w = (struct world){.now = 5000000, .wall = UINT64_C(1700000000000000), .seed = 1};
	sh_log_init(&w->log, SH_LOG_DEBUG, world_log, w);
	return (struct sh_vm_config){
	    .world = {world_now, world_wall, world_random, world_read, w, NULL},
	    .log = &w->log,
	    .load_max = 2000000,
	    .slice_max = 1000000,
	};
}

static inline struct sh_vm *vm_with(const struct sh_vm_config *config)
{
	struct sh_vm *vm = NULL;

	assert_int_equal(sh_vm_create(&vm, config), 0);
	return vm;
}

/* Loads text as "plan.lua". */
static inline int vm_load(struct sh_vm *vm, const char *text)
{
	return sh_vm_load_text(vm, "plan.lua", sh_slice_cstr(text));
}

static inline void vm_must_load(struct sh_vm *vm, const char *text)
{
	int err = vm_load(vm, text);

	if (err)
		fail_msg("%d: %s\n%s", err, vm->error.message, vm->error.traceback);
}

/* Pushes the global function of that name: for sh_vm_start(). */
static inline int push_global(lua_State *L, void *name)
{
	lua_getglobal(L, name);
	return 1;
}

/* Runs a global function as a hook to its end. */
static inline int vm_run(struct sh_vm *vm, const char *function)
{
	struct sh_coroutine *co;
	char name[64];

	snprintf(name, sizeof(name), "%s", function);
	return sh_vm_start(vm, &co, NULL, push_global, name);
}

static inline void assert_error(const struct sh_vm *vm, const char *part)
{
	if (!strstr(vm->error.message, part))
		fail_msg("'%s' is not in the error '%s'", part, vm->error.message);
}

/* Runs text in a fresh state; it must raise no error (use assert there). */
static inline void script_holds(const char *text)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);

	vm_must_load(vm, text);
	sh_vm_destroy(vm);
}

/* Runs text in a fresh state; it must fail with that part in the message. */
static inline void script_fails(const char *text, int err, const char *part)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm = vm_with(&config);
	int got = vm_load(vm, text);

	if (got != err)
		fail_msg("%d instead of %d for: %s (%s)", got, err, text, vm->error.message);
	assert_error(vm, part);
	sh_vm_destroy(vm);
}

#endif
