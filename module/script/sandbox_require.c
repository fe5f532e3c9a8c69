/* require: what the engine preloaded, the libraries, and files beside the main script. */
#include <errno.h>
#include <lauxlib.h>

#include "core/alloc.h"
#include "script/globals.h"
#include "script/sandbox.h"

enum { NAME_MAX_LEN = 200 };

int sh_sandbox_compile(lua_State *L, const char *chunk, struct sh_slice text)
{
	int status;

	if (sh_slice_starts(text, SH_LIT("\xef\xbb\xbf"))) {
		text.base += 3;
		text.len -= 3;
	}
	if (text.len > 0 && text.base[0] == '#') { /* "#!": the newline stays, for the line numbers */
		ptrdiff_t line = sh_slice_find(text, '\n');
		size_t skip = line < 0 ? text.len : (size_t)line;

		text.base += skip;
		text.len -= skip;
	}
	status = luaL_loadbufferx(L, text.base ? text.base : "", text.len, chunk, "t");
	if (status == LUA_OK && sh_vm_of(L)->globals)
		sh_globals_note(sh_vm_of(L)->globals, L);
	return status;
}

/* Words of letters, digits, '_' and '-' with single dots between them: nothing that climbs out of the folder. */
static bool good_name(const char *name, size_t len)
{
	if (len == 0 || len > NAME_MAX_LEN || name[0] == '.' || name[len - 1] == '.')
		return false;
	for (size_t i = 0; i < len; i++) {
		char c = sh_lower(name[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
		      (c == '.' && name[i + 1] != '.')))
			return false;
	}
	return true;
}

static void compile_file(lua_State *L, const char *name, const char *path)
{
	struct sh_vm *vm = sh_vm_of(L);
	const char *chunk = lua_pushfstring(L, "@%s", path);
	struct sh_vm_stamp stamp;
	char *text;
	size_t len;
	int status, err = vm->world.read(vm->world.ctx, path, &text, &len, &stamp);

	if (err == -ENOENT && !vm->stays_open && strcmp(name, "siphook.test") == 0)
		luaL_error(L, "this is a file of tests, no dial plan: siphook test runs it");
	if (err == -ENOENT && vm->stays_open && strcmp(name, "siphook") == 0)
		luaL_error(L, "this is a dial plan, no file of tests: siphook run and siphook check take it");
	if (err)
		luaL_error(L, "module '%s' not found: cannot read %s: %s", name, path, strerror(-err));
	err = sh_vm_remember(vm, path, &stamp);
	status =
	    sh_sandbox_compile(L, chunk, sh_slice_make(text, len)); /* cannot raise: loading is protected by itself */
	sh_free(text);
	if (err)
		luaL_error(L, "not enough memory");
	if (status != LUA_OK)
		lua_error(L);
	lua_remove(L, -2);
}

static int require(lua_State *L)
{
	struct sh_vm *vm = sh_vm_of(L);
	size_t len;
	const char *name = luaL_checklstring(L, 1, &len), *path;

	lua_settop(L, 1);
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_pushvalue(L, 1);
	if (lua_rawget(L, 2) != LUA_TNIL) {
		if (lua_touserdata(L, -1) == &vm->loading)
			return luaL_error(L, "module '%s' requires itself, or failed before", name);
		return 1;
	}
	if (vm->sealed)
		return luaL_error(L, "module '%s' must be required while the script is loaded", name);
	if (!good_name(name, len))
		return luaL_error(L, "bad module name '%s'", name);
	luaL_gsub(L, name, ".", "/");
	path = lua_pushfstring(L, "%s%s.lua", vm->directory ? vm->directory : "", lua_tostring(L, -1));
	compile_file(L, name, path);
	lua_pushlightuserdata(L, &vm->loading);
	lua_setfield(L, 2, name);
	lua_pushvalue(L, 1);
	lua_pushvalue(L, -3); /* the path, as the stock require gives it */
	lua_call(L, 2, 1);
	if (lua_isnil(L, -1)) {
		lua_pushboolean(L, true);
		lua_replace(L, -2);
	}
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

void sh_sandbox_require_open(lua_State *L)
{
	lua_pushcfunction(L, require);
	lua_setfield(L, -2, "require");
}

void sh_sandbox_preload(lua_State *L, const char *name)
{
	luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, name);
	lua_pop(L, 2);
}
