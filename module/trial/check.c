/* `siphook check`, beyond loading: what is written in a dial plan and can never happen. */
#include <errno.h>
#include <stdio.h>

#include "core/alloc.h"
#include "engine/files.h"
#include "script/sandbox.h"
#include "trial/lua.h"
#include "trial/trial.h"
#include "trial/world.h"

struct said {
	struct said *next;
	struct sh_slice line;
};

struct check {
	struct sh_world *world;
	struct sh_arena arena;
	struct said *first, **last; /* warnings in the log */
	char *out;
	size_t size, len;
};

static void on_log(void *ctx, uint64_t at, enum sh_log_level level, const char *line, size_t len)
{
	struct check *c = ctx;
	struct said *s = level == SH_LOG_WARN ? sh_arena_calloc(&c->arena, 1, sizeof(*s)) : NULL;

	(void)at;
	if (!s || sh_arena_printf(&c->arena, &s->line, "%.*s", (int)len, line) < 0)
		return;
	*c->last = s;
	c->last = &s->next;
}

static void push_said(lua_State *L, const struct check *c)
{
	lua_newtable(L);
	for (const struct said *s = c->first; s; s = s->next) {
		lua_pushlstring(L, s->line.base, s->line.len);
		lua_rawseti(L, -2, luaL_len(L, -2) + 1);
	}
}

static void add_name(lua_State *L, int table, const char *name)
{
	lua_pushboolean(L, 1);
	lua_setfield(L, table, name);
}

static void push_files(lua_State *L, const struct sh_generation *g)
{
	size_t count;
	const struct sh_vm_file *files = sh_generation_files(g, &count);

	lua_createtable(L, (int)count, 0);
	for (size_t i = 0; i < count; i++) {
		struct sh_vm_stamp stamp;
		char *text;
		size_t len;

		if (sh_engine_read_file(NULL, files[i].path, &text, &len, &stamp) < 0)
			continue;
		lua_createtable(L, 0, 2);
		lua_pushlstring(L, text, len);
		sh_free(text);
		lua_setfield(L, -2, "text");
		lua_pushstring(L, files[i].path);
		lua_setfield(L, -2, "path");
		lua_rawseti(L, -2, luaL_len(L, -2) + 1);
	}
}

/* What the table siphook has: "lookup", and of its libraries "http.get". */
static void on_name(void *ctx, const char *owner, const char *name, enum sh_script_name kind)
{
	lua_State *L = ctx;
	bool own = strcmp(owner, "siphook") == 0;

	if (kind == SH_NAME_OPTION)
		return;
	if (own)
		lua_pushstring(L, name);
	else
		lua_pushfstring(L, "%s.%s", owner, name);
	lua_pushboolean(L, 1);
	lua_rawset(L, -3);
}

static int run(lua_State *L)
{
	struct check *c = lua_touserdata(L, 1);
	struct sh_generation *g = sh_engine_generation(sh_world_engine(c->world));
	const char *names[256];
	unsigned n;

	sh_trial_library_open(L, &(struct sh_trial_defaults){0});
	lua_getfield(L, -1, "check");
	lua_newtable(L);
	n = sh_generation_hooks(g, names, sizeof(names) / sizeof(names[0]));
	for (unsigned i = 0; i < n; i++)
		add_name(L, lua_gettop(L), names[i]);
	lua_newtable(L);
	n = sh_generation_timers(g, names, sizeof(names) / sizeof(names[0]));
	for (unsigned i = 0; i < n; i++)
		add_name(L, lua_gettop(L), names[i]);
	push_files(L, g);
	if (luaL_len(L, -1) == 0)
		return 0;
	lua_newtable(L);
	luaL_checkstack(L, 10, NULL);
	sh_generation_names(g, on_name, L);
	push_said(L, c);
	lua_call(L, 5, 1);
	for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TSTRING; i++) {
		int written = snprintf(c->out + c->len, c->size - c->len, "%s%s", c->len ? "\n" : "", lua_tostring(L, -1));

		if (written < 0 || (size_t)written >= c->size - c->len)
			break; /* enough to go on with */
		c->len += (size_t)written;
		lua_pop(L, 1);
	}
	return 0;
}

static uint64_t nothing(void *ctx)
{
	(void)ctx;
	return 1000000;
}

void sh_trial_check(const char *script, const struct sh_pair *config, unsigned nconfig, char *warnings, size_t size)
{
	struct check c = {.out = warnings, .size = size};
	struct sh_world_options o = {.script = script, .config = config, .nconfig = nconfig, .sim.seed = 1, .log = on_log, .ctx = &c};
	struct sh_log log;
	struct sh_vm_config vm_config = {
	    .world = {.now = nothing, .wall = nothing, .random = nothing, .read = sh_engine_read_file}, .log = &log, .deterministic = true};
	struct sh_vm *vm = NULL;
	char error[512];

	warnings[0] = '\0';
	c.last = &c.first;
	sh_arena_init(&c.arena, 1024);
	sh_log_init(&log, SH_LOG_ERROR, NULL, NULL);
	if (sh_world_create(&c.world, &o, error, sizeof(error)) < 0)
		goto out; /* a script that works only on the machine's own addresses, say: loading has judged it */
	if (sh_vm_create(&vm, &vm_config) == 0)
		sh_vm_call(vm, run, &c, 0);
	warnings[c.len] = '\0';
	sh_vm_destroy(vm);
	sh_world_destroy(c.world);
out:
	sh_arena_finish(&c.arena);
}
