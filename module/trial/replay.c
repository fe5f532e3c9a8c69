/* `siphook replay`: a record of a call in a Lua state with the library. */
#include <errno.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/log.h"
#include "core/random.h"
#include "engine/engine.h"
#include "engine/files.h"
#include "script/sandbox.h"
#include "trial/lua.h"
#include "trial/trial.h"

enum { MEMORY_MAX = 1 << 30 };

#define BUDGET UINT64_C(20000000000) /* instructions */

struct replay {
	const struct sh_trial_replay *options;
	struct sh_slice text;
	int native;
	int differences;
};

static uint64_t no_time(void *ctx)
{
	(void)ctx;
	return 1000000;
}

static uint64_t no_chance(void *ctx)
{
	(void)ctx;
	return 1;
}

static int tell(lua_State *L)
{
	struct replay *r = sh_vm_of(L)->user;
	struct sh_slice line;

	line.base = luaL_checklstring(L, 1, &line.len);
	r->options->print(r->options->ctx, line.base, line.len);
	return 0;
}

static int run(lua_State *L)
{
	struct replay *r = lua_touserdata(L, 1);
	const struct sh_trial_replay *o = r->options;

	sh_trial_library_open(L, &(struct sh_trial_defaults){.seed = o->seed});
	lua_getfield(L, -1, o->make_case ? "make_case" : "replay");
	lua_pushlstring(L, r->text.base, r->text.len);
	lua_pushstring(L, o->script);
	if (!o->make_case) {
		lua_pushinteger(L, (lua_Integer)(o->seed ? o->seed & INT64_MAX : 1));
		lua_createtable(L, 0, (int)o->nconfig);
		for (unsigned i = 0; i < o->nconfig; i++) {
			lua_pushstring(L, o->config[i].value);
			lua_setfield(L, -2, o->config[i].key);
		}
	}
	lua_pushcfunction(L, tell);
	lua_call(L, o->make_case ? 3 : 5, 1);
	r->differences = (int)lua_tointeger(L, -1);
	return 0;
}

int sh_trial_replay(const struct sh_trial_replay *o, char *error, size_t size)
{
	struct replay r = {.options = o};
	struct sh_log log;
	struct sh_vm_config config = {
	    .world = {.now = no_time, .wall = no_time, .random = no_chance, .read = sh_engine_read_file},
	    .log = &log,
	    .memory_max = MEMORY_MAX,
	    .slice_max = BUDGET,
	    .load_max = BUDGET,
	    .deterministic = true,
	    .user = &r,
	};
	struct sh_vm_stamp stamp;
	struct sh_vm *vm = NULL;
	char *text;
	int err = sh_engine_read_file(NULL, o->record, &text, &r.text.len, &stamp);

	if (err) {
		snprintf(error, size, "%s: %s", o->record, strerror(-err));
		return err;
	}
	r.text.base = text;
	sh_log_init(&log, SH_LOG_ERROR, NULL, NULL);
	err = sh_vm_create(&vm, &config);
	if (!err)
		err = sh_vm_call(vm, run, &r, 0);
	if (err)
		snprintf(error, size, "%s: %.*s", o->record,
			 SH_FMT(vm && sh_vm_error(vm).len ? sh_vm_error(vm) : sh_slice_cstr(strerror(-err))));
	sh_vm_destroy(vm);
	sh_free(text);
	return err ? err : r.differences > 0;
}
