#include "script/sandbox.h"

#include <lualib.h>
#include <time.h>

#include "script/runtime_log.h"
#include "script/strlib.h"
#include "script/vm_run.h"

enum {
	STEPS_PER_BYTE = 5,  /* of a text that is compiled */
	STEPS_PER_DATE = 16, /* for a character of a format */
};

void sh_sandbox_class(lua_State *L, const char *name, const luaL_Reg *meta, const luaL_Reg *methods)
{
	luaL_newmetatable(L, name);
	luaL_setfuncs(L, meta, 0);
	lua_pushboolean(L, false);
	lua_setfield(L, -2, "__metatable");
	if (methods && lua_getfield(L, -1, "__index") == LUA_TNIL) {
		int count = 0;

		while (methods[count].name)
			count++;
		lua_createtable(L, 0, count);
		luaL_setfuncs(L, methods, 0);
		lua_setfield(L, -3, "__index");
	}
	lua_settop(L, methods ? -3 : -2);
}

struct sh_slice sh_sandbox_check_text(lua_State *L, int idx)
{
	struct sh_slice s;

	luaL_checktype(L, idx, LUA_TSTRING);
	s.base = lua_tolstring(L, idx, &s.len);
	return s;
}

/* --- base -------------------------------------------------------------------------------------------------------- */

/* Raises when the metatable at index 2 has the field. */
static void refuse_metamethod(lua_State *L, const char *name, const char *instead)
{
	lua_pushstring(L, name);
	if (lua_rawget(L, 2) != LUA_TNIL)
		luaL_error(L, "%s is not available (%s)", name, instead);
	lua_pop(L, 1);
}

static int set_metatable(lua_State *L)
{
	int type = lua_type(L, 2);

	luaL_checktype(L, 1, LUA_TTABLE);
	luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
	if (type == LUA_TTABLE) {
		/* Finalizers run where no count hook fires: an endless one would hang the worker. */
		refuse_metamethod(L, "__gc", "use a <close> variable");
		refuse_metamethod(L, "__concat", "use tostring"); /* see sandbox.h */
	}
	if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
		return luaL_error(L, "cannot change a protected metatable");
	lua_settop(L, 2);
	lua_setmetatable(L, 1);
	return 1;
}

/* What Lua calls for an operand of '..' that is neither a string nor a number; the two are on top. The linker puts ours in its
 * place (--wrap): a metatable may get its __concat at any time. sandbox.h says why nothing may run there. */
void __real_luaT_tryconcatTM(lua_State *L);
void __wrap_luaT_tryconcatTM(lua_State *L);

void __wrap_luaT_tryconcatTM(lua_State *L)
{
	bool left = luaL_getmetafield(L, -2, "__concat") != LUA_TNIL;

	if (left || luaL_getmetafield(L, -1, "__concat") != LUA_TNIL) {
		if (lua_type(L, left ? -3 : -2) == LUA_TTABLE) /* a class of ours raises by itself */
			luaL_error(L, "__concat is not available (use tostring)");
		lua_pop(L, 1);
	}
	__real_luaT_tryconcatTM(L);
}

static int on_xpcall_error(lua_State *L)
{
	/* The budget's error is raised by a hook, and while its handler runs no other hook fires. */
	if (sh_vm_of(L)->killed)
		return 1;
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, 1);
	return 1;
}

static int pcall_done(lua_State *L, int status, lua_KContext ctx)
{
	sh_vm_unprotect(L, (unsigned)ctx);
	if (status == LUA_OK || status == LUA_YIELD)
		return lua_gettop(L);
	lua_pushboolean(L, false);
	lua_pushvalue(L, -2);
	return 2;
}

/* The stock one, but for the count. */
static int plain_pcall(lua_State *L)
{
	unsigned number;

	luaL_checkany(L, 1);
	lua_pushboolean(L, true);
	lua_insert(L, 1);
	number = sh_vm_protect(L);
	return pcall_done(L, lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, number, pcall_done), number);
}

static int xpcall_done(lua_State *L, int status, lua_KContext number)
{
	sh_vm_unprotect(L, (unsigned)number);
	if (status == LUA_OK || status == LUA_YIELD)
		return lua_gettop(L) - 2; /* the function and the handler stay below */
	lua_pushboolean(L, false);
	lua_pushvalue(L, -2);
	return 2;
}

static int protected_call(lua_State *L)
{
	int n = lua_gettop(L);
	unsigned number;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_pushvalue(L, 2);
	lua_pushcclosure(L, on_xpcall_error, 1);
	lua_replace(L, 2);
	lua_pushboolean(L, true);
	lua_pushvalue(L, 1);
	lua_rotate(L, 3, 2); /* function, handler, true, function, arguments */
	number = sh_vm_protect(L);
	return xpcall_done(L, lua_pcallk(L, n - 2, LUA_MULTRET, 2, number, xpcall_done), number);
}

/* What has ended a wait and is raised again goes on as it came: until it is caught nothing waits. */
static bool ends_waits(lua_State *L, int idx)
{
	const struct sh_vm *vm = sh_vm_of(L);
	const void *at = lua_type(L, idx) == LUA_TTABLE ? lua_topointer(L, idx) : NULL;

	return at && (at == vm->ends_waits[0] || at == vm->ends_waits[1]);
}

/* The stock one, but for that. */
static int raise(lua_State *L)
{
	int level = (int)luaL_optinteger(L, 2, 1);

	lua_settop(L, 1);
	if (ends_waits(L, 1))
		return sh_vm_raise(L);
	if (lua_type(L, 1) == LUA_TSTRING && level > 0) {
		luaL_where(L, level);
		lua_insert(L, 1);
		lua_concat(L, 2);
	}
	return lua_error(L);
}

/* upvalue 1: the stock function */
static int assert_true(lua_State *L)
{
	if (!lua_toboolean(L, 1) && ends_waits(L, 2)) {
		lua_settop(L, 2);
		return sh_vm_raise(L);
	}
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* The parser shows no instructions: what it is given counts before it is read. */
static void charge_chunk(lua_State *L, uint64_t *call)
{
	if (lua_type(L, -1) == LUA_TSTRING)
		sh_vm_charge_call(L, call, lua_rawlen(L, -1) * STEPS_PER_BYTE);
}

/* upvalues: the script's reader, what the pieces so far have cost */
static int read_piece(lua_State *L)
{
	lua_settop(L, 0);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_call(L, 0, 1);
	charge_chunk(L, lua_touserdata(L, lua_upvalueindex(2)));
	return 1;
}

/* upvalue 1: the stock function */
static int load(lua_State *L)
{
	uint64_t *call;

	if (lua_gettop(L) < 3)
		lua_settop(L, 3);
	lua_pushvalue(L, 1);
	call = lua_newuserdatauv(L, sizeof(*call), 0);
	*call = 0;
	if (lua_isfunction(L, 1)) {
		lua_pushcclosure(L, read_piece, 2);
		lua_replace(L, 1);
	} else {
		lua_insert(L, -2);
		charge_chunk(L, call);
		lua_pop(L, 2);
	}
	lua_pushliteral(L, "t");
	lua_replace(L, 3);
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int collect_garbage(lua_State *L)
{
	const char *what = luaL_optstring(L, 1, "collect");

	if (strcmp(what, "count") != 0)
		return luaL_error(L, "collectgarbage('%s') is not available, only 'count'", what);
	lua_pushnumber(L, (lua_Number)sh_vm_of(L)->memory / 1024);
	return 1;
}

/* Replaces field by a closure with the stock function as upvalue; the table is on top. */
static void wrap(lua_State *L, const char *field, lua_CFunction fn)
{
	lua_getfield(L, -1, field);
	lua_pushcclosure(L, fn, 1);
	lua_setfield(L, -2, field);
}

static void open_base(lua_State *L)
{
	static const luaL_Reg ours[] = {
	    {"setmetatable", set_metatable},
	    {"error", raise},
	    {"pcall", plain_pcall},
	    {"xpcall", protected_call},
	    {"collectgarbage", collect_garbage},
	    {NULL, NULL},
	};
	static const char *const gone[] = {"dofile", "loadfile"};

	luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
	luaL_setfuncs(L, ours, 0);
	wrap(L, "load", load);
	wrap(L, "assert", assert_true);
	for (size_t i = 0; i < sizeof(gone) / sizeof(gone[0]); i++) {
		lua_pushnil(L);
		lua_setfield(L, -2, gone[i]);
	}
	sh_runtime_log_base(L);
	sh_sandbox_require_open(L);
	if (sh_vm_of(L)->deterministic)
		sh_sandbox_ordered_open(L);
	lua_pop(L, 1);
}

/* --- globals ----------------------------------------------------------------------------------------------------- */

static int undeclared(lua_State *L)
{
	if (sh_vm_of(L)->sealed)
		return luaL_error(L,
				  "global '%s' is not declared (make it local, or set it while the script is loaded)",
				  luaL_tolstring(L, 2, NULL));
	lua_rawset(L, 1);
	return 0;
}

static void guard_globals(lua_State *L)
{
	lua_pushglobaltable(L);
	lua_createtable(L, 0, 2);
	lua_pushcfunction(L, undeclared);
	lua_setfield(L, -2, "__newindex");
	lua_pushboolean(L, false);
	lua_setfield(L, -2, "__metatable");
	lua_setmetatable(L, -2);
	lua_pop(L, 1);
}

/* --- string, math, os, debug ------------------------------------------------------------------------------------- */

static void open_string(lua_State *L)
{
	luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
	lua_pushnil(L);
	lua_setfield(L, -2, "dump");
	sh_strlib_open(L);
	lua_pop(L, 1);
	lua_pushliteral(L, "");
	lua_getmetatable(L, -1);
	lua_pushboolean(L, false);
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 2);
}

static void push_random(lua_State *L)
{
	const struct sh_vm *vm = sh_vm_of(L);

	lua_pushinteger(L, (lua_Integer)vm->world.random(vm->world.ctx));
}

/* upvalue 1: the stock function (a closure), which would seed itself with time and address */
static int random_seed(lua_State *L)
{
	if (lua_isnone(L, 1))
		push_random(L);
	lua_pushvalue(L, lua_upvalueindex(1));
	lua_insert(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static void open_math(lua_State *L)
{
	luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
	wrap(L, "randomseed", random_seed);
	lua_getfield(L, -1, "randomseed");
	lua_call(L, 0, 0);
	lua_pop(L, 1);
}

static lua_Integer wall_seconds(lua_State *L)
{
	const struct sh_vm *vm = sh_vm_of(L);

	return (lua_Integer)(vm->world.wall(vm->world.ctx) / 1000000);
}

static int os_time(lua_State *L)
{
	time_t t;
	struct tm tm;

	if (lua_isnoneornil(L, 1)) {
		lua_pushinteger(L, wall_seconds(L));
		return 1;
	}
	lua_settop(L, 1);
	lua_tocfunction(L, lua_upvalueindex(1))(L);
	t = (time_t)lua_tointeger(L, -1);
	/* The stock function read the table as local time: read what it made of it as UTC. */
	if (sh_vm_of(L)->deterministic && localtime_r(&t, &tm))
		lua_pushinteger(L, (lua_Integer)timegm(&tm));
	return 1;
}

static int os_date(lua_State *L)
{
	size_t len;
	const char *format = luaL_optlstring(L, 1, "%c", &len);

	sh_vm_charge(L, len * STEPS_PER_DATE);
	if (lua_isnoneornil(L, 2)) {
		lua_settop(L, 1);
		lua_pushinteger(L, wall_seconds(L));
	}
	if (sh_vm_of(L)->deterministic && *format != '!') {
		lua_pushfstring(L, "!%s", format);
		lua_replace(L, 1);
	}
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

static int os_clock(lua_State *L)
{
	const struct sh_vm *vm = sh_vm_of(L);

	lua_pushnumber(L, (lua_Number)vm->world.now(vm->world.ctx) / 1e6);
	return 1;
}

/* Makes the library `name` of some functions of the stock one, which is on top and goes. */
static void publish(lua_State *L, const char *name, const char *const *fields)
{
	lua_newtable(L);
	for (; *fields; fields++) {
		lua_getfield(L, -2, *fields);
		lua_setfield(L, -2, *fields);
	}
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, name);
	lua_pop(L, 1);
	lua_setglobal(L, name);
	lua_pop(L, 1);
}

static void open_os_and_debug(lua_State *L)
{
	static const char *const os[] = {"clock", "date", "getenv", "time", NULL};
	static const char *const debug[] = {"traceback", NULL};

	luaL_requiref(L, LUA_OSLIBNAME, luaopen_os, 0);
	wrap(L, "time", os_time);
	wrap(L, "date", os_date);
	lua_pushcfunction(L, os_clock);
	lua_setfield(L, -2, "clock");
	publish(L, LUA_OSLIBNAME, os);
	luaL_requiref(L, LUA_DBLIBNAME, luaopen_debug, 0);
	publish(L, LUA_DBLIBNAME, debug);
}

/* The class of large luaL_Buffers is made when the first one is; memory that runs out in the middle of that would leave
 * half a class for good. So it is made here, where it makes the state fail. */
static void prepare_buffers(lua_State *L)
{
	luaL_Buffer b;

	luaL_buffinitsize(L, &b, 16 * LUAL_BUFFERSIZE);
	luaL_pushresultsize(&b, 0);
	lua_pop(L, 1);
}

int sh_sandbox_open(lua_State *L)
{
	prepare_buffers(L);
	open_base(L);
	luaL_requiref(L, LUA_COLIBNAME, sh_sandbox_coroutine_open, 1);
	luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 1);
	luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 1);
	lua_pop(L, 3);
	open_string(L);
	open_math(L);
	open_os_and_debug(L);
	sh_sandbox_bounded_open(L);
	guard_globals(L);
	return 0;
}
