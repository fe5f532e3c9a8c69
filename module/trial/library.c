/* The test library: its files in Lua are part of the object and run once in each state that wants it. */
#include "script/sandbox.h"
#include "trial/lua.h"

/* The text of a file as a pair of symbols. */
#define EMBED(symbol, path)                                                                                            \
	__asm__(".pushsection .rodata\n"                                                                               \
		".hidden " #symbol "_begin\n.hidden " #symbol "_end\n"                                                 \
		".global " #symbol "_begin\n" #symbol "_begin:\n"                                                      \
		".incbin \"" path "\"\n"                                                                               \
		".global " #symbol "_end\n" #symbol "_end:\n"                                                          \
		".byte 0\n"                                                                                            \
		".popsection\n");                                                                                      \
	extern const char symbol##_begin[] __attribute__((visibility("hidden")));                                      \
	extern const char symbol##_end[] __attribute__((visibility("hidden")))

/* In the order in which they build on each other. */
#define FILES(X) X(sdp) X(sip) X(ladder) X(phone) X(verbs) X(http) X(plan) X(test)

#define X(name) EMBED(sh_trial_text_##name, "lua/siphook/" #name ".lua");
FILES(X)
#undef X

static const char chunk_prefix[] = "=siphook/";

/* ------------------------------------------------------------------ places in the test file */

/* The nearest function of the test file above the library. */
static bool find_place(lua_State *L, lua_Debug *ar)
{
	for (int level = 1; lua_getstack(L, level, ar); level++) {
		lua_getinfo(L, "Sl", ar);
		if (ar->currentline > 0 && strncmp(ar->source, chunk_prefix, sizeof(chunk_prefix) - 1) != 0)
			return true;
	}
	return false;
}

/* where() -> "plan_test.lua:12: ", or "" */
static int where(lua_State *L)
{
	lua_Debug ar;

	if (find_place(L, &ar))
		lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
	else
		lua_pushliteral(L, "");
	return 1;
}

static int line(lua_State *L)
{
	lua_Debug ar;

	lua_pushinteger(L, find_place(L, &ar) ? ar.currentline : 0);
	return 1;
}

/* ------------------------------------------------------------------ opening */

static void run_part(lua_State *L, int native, const char *name, const char *begin, const char *end)
{
	const char *chunk = lua_pushfstring(L, "%s%s.lua", chunk_prefix, name);

	if (sh_sandbox_compile(L, chunk, sh_slice_make(begin, (size_t)(end - begin))) != LUA_OK)
		lua_error(L);
	lua_pushvalue(L, native);
	lua_call(L, 1, 0);
	lua_pop(L, 1);
}

void sh_trial_library_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"where", where}, {"line", line}, {NULL, NULL}};
	int native = lua_gettop(L);

	luaL_setfuncs(L, functions, 0);
#define X(name) run_part(L, native, #name, sh_trial_text_##name##_begin, sh_trial_text_##name##_end);
	FILES(X)
#undef X
	lua_getfield(L, native, "test");
	sh_sandbox_preload(L, "siphook.test");
	lua_pop(L, 1);
}
