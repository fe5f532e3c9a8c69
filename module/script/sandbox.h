/* What a script may touch: base without dofile and loadfile, coroutine (waits pass through), string (own matcher, no
 * dump), table, math, utf8, os.time/date/clock/getenv, debug.traceback, require. No bytecode, no __gc, no io.
 *
 * No __concat either, in scripts and in our own classes, but for one that raises: Lua 5.4.4 (Debian 12) keeps a pointer into the
 * stack across that metamethod, and when it returns on a stack that has grown the process crashes. */
#ifndef SH_SCRIPT_SANDBOX_H
#define SH_SCRIPT_SANDBOX_H

#include <lauxlib.h>

#include "script/vm.h"

/* Opens all of it; called by sh_vm_create(). May raise. */
int sh_sandbox_open(lua_State *L);

/* Pops the value on top: require(name) gives it. May raise. */
void sh_sandbox_preload(lua_State *L, const char *name);

/* The class of a userdata: makes the metatable `name` (luaL_newmetatable), hidden from scripts, since one that could
 * set its __gc would run code without a budget. meta: metamethods; methods (may be NULL): what __index finds, unless
 * meta has an __index. Leaves nothing on the stack. May raise. */
void sh_sandbox_class(lua_State *L, const char *name, const luaL_Reg *meta, const luaL_Reg *methods);

/* luaL_tolstring(), without addresses in deterministic mode. Pushes the string. */
const char *sh_sandbox_tolstring(lua_State *L, int idx, size_t *len);

/* An argument that is a string, and no number that could be read as one. Raises. */
struct sh_slice sh_sandbox_check_text(lua_State *L, int idx);

/* Pushes the keys of the table at idx as a list in the order booleans, numbers, strings, objects by age; each ordered
 * by value. Two runs give the same order in deterministic mode; for plain keys in any mode. Returns their count; may
 * raise. */
lua_Integer sh_sandbox_keys(lua_State *L, int idx);

/* A key, by its address, under which the engine keeps what it needs in a table that is the script's: no traversal shows it,
 * and no copy takes it along. */
extern const char sh_sandbox_hidden;
bool sh_sandbox_is_hidden(lua_State *L, int idx); /* Is the value at idx that key? */

/* --- private to script/sandbox*.c and vm*.c */
int sh_sandbox_coroutine_open(lua_State *L);  /* pushes the library */
void sh_sandbox_ordered_open(lua_State *L);   /* deterministic next, pairs and tostring into the table on top */
void sh_sandbox_require_open(lua_State *L);   /* require into the table on top */
void sh_sandbox_bounded_open(lua_State *L);   /* budgets of string, table and utf8 functions into the globals */
uint64_t sh_vm_serial(lua_State *L, int idx); /* deterministic mode: age of the object at idx */
/* Loads one chunk of text ("@path" names it) and leaves the function or the message on the stack: LUA_OK or a LUA_ERR
 * code. Does not raise. */
int sh_sandbox_compile(lua_State *L, const char *chunk, struct sh_slice text);
int sh_vm_remember(struct sh_vm *vm, const char *path, const struct sh_vm_stamp *stamp);

#endif
