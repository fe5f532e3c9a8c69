#include "script/runtime_log.h"

#include <lauxlib.h>

#include "script/sandbox.h"

enum { SHOWN = 960 }; /* a log line is cut at 1,000 bytes anyway */

/* Writes the string on top, behind "file:line: " of the function that called the C function. */
static void write_line(lua_State *L, enum sh_log_level level)
{
	size_t len;
	const char *text;

	luaL_where(L, 1);
	lua_insert(L, -2);
	lua_concat(L, 2);
	text = lua_tolstring(L, -1, &len);
	sh_vm_of(L)->counts->lines_cut += len > SHOWN;
	sh_log_write(sh_vm_of(L)->log, level, "%.*s", (int)(len < SHOWN ? len : SHOWN), text);
	lua_pop(L, 1);
}

static bool wanted(lua_State *L, enum sh_log_level level)
{
	struct sh_log *log = sh_vm_of(L)->log;

	return log && sh_log_on(log, level);
}

/* One argument is the text as it is, so that a '%' from the network is harmless. upvalue 1: string.format */
static int log_at(lua_State *L, enum sh_log_level level)
{
	luaL_checkany(L, 1);
	if (!wanted(L, level))
		return 0;
	if (lua_gettop(L) == 1) {
		sh_sandbox_tolstring(L, 1, NULL);
	} else {
		lua_pushvalue(L, lua_upvalueindex(1));
		lua_insert(L, 1);
		if (lua_pcall(L, lua_gettop(L) - 1, 1, 0) != LUA_OK) { /* which line it was that gave the wrong arguments */
			luaL_where(L, 1);
			lua_insert(L, -2);
			if (lua_type(L, -1) == LUA_TSTRING)
				lua_concat(L, 2);
			return lua_error(L);
		}
	}
	write_line(L, level);
	return 0;
}

static int log_debug(lua_State *L)
{
	return log_at(L, SH_LOG_DEBUG);
}

static int log_info(lua_State *L)
{
	return log_at(L, SH_LOG_INFO);
}

static int log_warn(lua_State *L)
{
	return log_at(L, SH_LOG_WARN);
}

static int log_error(lua_State *L)
{
	return log_at(L, SH_LOG_ERROR);
}

void sh_runtime_log_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
	    {"debug", log_debug}, {"info", log_info}, {"warn", log_warn}, {"error", log_error}, {NULL, NULL},
	};

	luaL_newlibtable(L, functions);
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "format");
	lua_remove(L, -2);
	luaL_setfuncs(L, functions, 1);
	lua_setfield(L, -2, "log");
}

static int join(lua_State *L, enum sh_log_level level, const char *separator)
{
	int n = lua_gettop(L);
	luaL_Buffer b;

	if (!wanted(L, level))
		return 0;
	for (int i = 1; i <= n; i++) { /* first all strings: a buffer wants the top of the stack for itself */
		sh_sandbox_tolstring(L, i, NULL);
		lua_replace(L, i);
	}
	luaL_buffinit(L, &b);
	for (int i = 1; i <= n; i++) {
		size_t len;
		const char *s = lua_tolstring(L, i, &len);

		if (i > 1)
			luaL_addstring(&b, separator);
		luaL_addlstring(&b, s, len);
	}
	luaL_pushresult(&b);
	write_line(L, level);
	return 0;
}

static int print(lua_State *L)
{
	return join(L, SH_LOG_INFO, " "); /* the log would show a tab as \x09 */
}

static int warn(lua_State *L)
{
	return join(L, SH_LOG_WARN, "");
}

void sh_runtime_log_base(lua_State *L)
{
	static const luaL_Reg functions[] = {{"print", print}, {"warn", warn}, {NULL, NULL}};

	luaL_setfuncs(L, functions, 0);
}
