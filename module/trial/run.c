/* A file of test cases in a Lua state of its own. */
#include "trial/trial.h"

#include <errno.h>
#include <lualib.h>
#include <stdio.h>
#include <time.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/random.h"
#include "engine/files.h"
#include "script/sandbox.h"
#include "trial/lua.h"

enum { MEMORY_MAX = 1 << 30 };

#define BUDGET UINT64_C(20000000000) /* instructions: a minute or two, then it is an endless loop */

struct run {
	const struct sh_trial_options *options;
	struct sh_random random;
	struct sh_log log;
	struct sh_vm *vm;
	int native; /* reference */
	uint64_t began;
	bool running; /* the cases, not the file itself: that each part of it runs */
	struct sh_pool_stock stock; /* all worlds take their memory from here */
};

static uint64_t real_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ------------------------------------------------------------------ the world of the test file: its clock stands still */

static uint64_t world_now(void *ctx)
{
	(void)ctx;
	return 1000000;
}

static uint64_t world_wall(void *ctx)
{
	(void)ctx;
	return UINT64_C(1767225600) * 1000000; /* 2026-01-01, as in the simulation */
}

static uint64_t world_random(void *ctx)
{
	return sh_random_u64(&((struct run *)ctx)->random);
}

/* ------------------------------------------------------------------ functions of the library */

static struct run *run_of(lua_State *L)
{
	return sh_vm_of(L)->user;
}

/* result(name, line, failure, details, seconds, skipped) */
static int result(lua_State *L)
{
	struct run *r = run_of(L);
	uint64_t now = real_us();
	struct sh_trial_case c = {
	    .name = luaL_checkstring(L, 1),
	    .line = (int)luaL_checkinteger(L, 2),
	    .failure = luaL_optstring(L, 3, NULL),
	    .details = luaL_optstring(L, 4, NULL),
	    .seconds = luaL_checknumber(L, 5),
	    .real_us = now - r->began,
	    .skipped = lua_toboolean(L, 6),
	};

	if (r->options->result)
		r->options->result(r->options->ctx, &c);
	r->began = real_us();
	return 0;
}

static int print(lua_State *L)
{
	struct run *r = run_of(L);
	int n = lua_gettop(L);
	luaL_Buffer b;
	size_t len;
	const char *s;

	for (int i = 1; i <= n; i++) { /* first all strings: a buffer wants the top of the stack for itself */
		sh_sandbox_tolstring(L, i, NULL);
		lua_replace(L, i);
	}
	luaL_buffinit(L, &b);
	for (int i = 1; i <= n; i++) {
		s = lua_tolstring(L, i, &len);
		if (i > 1)
			luaL_addchar(&b, '\t');
		luaL_addlstring(&b, s, len);
	}
	luaL_pushresult(&b);
	s = lua_tolstring(L, -1, &len);
	if (r->options->print && (r->running || r->options->part == 0))
		r->options->print(r->options->ctx, s, len);
	return 0;
}

/* ------------------------------------------------------------------ the run */

static int open_library(lua_State *L)
{
	struct run *r = lua_touserdata(L, 1);
	const struct sh_trial_options *o = r->options;
	const char *slash = strrchr(o->file, '/');
	struct sh_trial_defaults d = {.folder = sh_slice_make(o->file, slash ? (size_t)(slash + 1 - o->file) : 0),
				      .seed = o->seed,
				      .loss = o->loss,
				      .stock = &r->stock};

	lua_gc(L, LUA_GCINC, 1000, 400, 0); /* memory is there, and the state is short-lived */
	luaL_requiref(L, LUA_IOLIBNAME, luaopen_io, 1);
	lua_pushcfunction(L, print);
	lua_setglobal(L, "print");
	sh_trial_library_open(L, &d);
	lua_pushcfunction(L, result);
	lua_setfield(L, -2, "result");
	r->native = luaL_ref(L, LUA_REGISTRYINDEX);
	return 0;
}

static int run_cases(lua_State *L)
{
	struct run *r = lua_touserdata(L, 1);

	lua_rawgeti(L, LUA_REGISTRYINDEX, r->native);
	lua_getfield(L, -1, "run");
	lua_pushstring(L, r->options->filter);
	lua_pushinteger(L, r->options->part);
	lua_pushinteger(L, r->options->parts);
	lua_pushinteger(L, SH_TRIAL_MANY);
	r->began = real_us();
	r->running = true;
	lua_call(L, 4, 0);
	return 0;
}

int sh_trial_run(const struct sh_trial_options *o, char *error, size_t size)
{
	struct run r = {.options = o};
	struct sh_vm_config config = {
	    .world = {.now = world_now, .wall = world_wall, .random = world_random, .read = sh_engine_read_file, .ctx = &r},
	    .log = &r.log,
	    .memory_max = MEMORY_MAX,
	    .slice_max = BUDGET,
	    .load_max = BUDGET,
	    .stays_open = true,
	    .deterministic = true,
	    .stock = &r.stock,
	    .user = &r,
	};
	int err;

	if (size)
		error[0] = '\0';
	sh_log_init(&r.log, SH_LOG_ERROR, NULL, NULL);
	sh_random_init_seed(&r.random, o->seed ? o->seed : 1);
	err = sh_vm_create(&r.vm, &config);
	if (!err)
		err = sh_vm_call(r.vm, open_library, &r, 0);
	if (!err)
		err = sh_vm_load(r.vm, o->file);
	if (!err)
		err = sh_vm_call(r.vm, run_cases, &r, 0);
	if (err && size)
		snprintf(error, size, "%.*s",
			 SH_FMT(r.vm && sh_vm_error(r.vm).len ? sh_vm_error(r.vm) : sh_slice_cstr(strerror(-err))));
	sh_vm_destroy(r.vm);
	sh_pool_stock_finish(&r.stock);
	return err;
}
