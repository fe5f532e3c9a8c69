/* The test library: its files in Lua are part of the object and run once in each state that wants it. */
#include <stdatomic.h>
#include <unistd.h>

#include "core/alloc.h"
#include "script/codec.h"
#include "script/json.h"
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
#define FILES(X) X(sdp) X(sip) X(ladder) X(phone) X(verbs) X(http) X(plan) X(test) X(record) X(replay) X(case) X(check)

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

/* The code of each part, compiled by the first state that wants it: what a state costs is mostly the compiler. */
struct code {
	_Atomic(struct sh_slice *) text; /* written once; stays */
};

struct dump {
	char *base;
	size_t len, cap;
};

static int write_code(lua_State *L, const void *p, size_t n, void *ctx)
{
	struct dump *d = ctx;

	(void)L;
	if (n > d->cap - d->len) {
		size_t cap = 2 * d->cap + n;
		char *base = sh_realloc(d->base, cap);

		if (!base)
			return 1;
		d->base = base;
		d->cap = cap;
	}
	memcpy(d->base + d->len, p, n);
	d->len += n;
	return 0;
}

/* The function on top. Where memory is out, or somebody was faster, it is not kept. */
static void keep_code(lua_State *L, struct code *code)
{
	struct dump d = {0};
	struct sh_slice *none = NULL, *text = NULL;

	if (lua_dump(L, write_code, &d, 0) == 0)
		text = sh_malloc(sizeof(*text));
	if (text)
		*text = sh_slice_make(d.base, d.len);
	if (!text || !atomic_compare_exchange_strong(&code->text, &none, text)) {
		sh_free(d.base);
		sh_free(text);
	}
}

static void run_part(lua_State *L, int native, struct code *code, const char *name, struct sh_slice text)
{
	const char *chunk = lua_pushfstring(L, "%s%s.lua", chunk_prefix, name);
	const struct sh_slice *compiled = atomic_load(&code->text);

	if (compiled) {
		if (luaL_loadbufferx(L, compiled->base, compiled->len, chunk, "b") != LUA_OK)
			lua_error(L);
	} else {
		if (sh_sandbox_compile(L, chunk, text) != LUA_OK)
			lua_error(L);
		keep_code(L, code);
	}
	lua_pushvalue(L, native);
	lua_call(L, 1, 0);
	lua_pop(L, 1);
}

static int exists(lua_State *L)
{
	lua_pushboolean(L, access(luaL_checkstring(L, 1), R_OK) == 0);
	return 1;
}

static void set_defaults(lua_State *L, const struct sh_trial_defaults *d)
{
	lua_createtable(L, 0, 3);
	lua_pushlstring(L, d->folder.base ? d->folder.base : "", d->folder.len);
	lua_setfield(L, -2, "folder");
	lua_pushinteger(L, (lua_Integer)(d->seed ? d->seed & INT64_MAX : 1));
	lua_setfield(L, -2, "seed");
	lua_pushnumber(L, d->loss);
	lua_setfield(L, -2, "loss");
	lua_setfield(L, -2, "defaults");
}

void sh_trial_library_open(lua_State *L, const struct sh_trial_defaults *defaults)
{
	static const luaL_Reg functions[] = {{"where", where}, {"line", line}, {"exists", exists}, {NULL, NULL}};
	int native;

	luaL_checkstack(L, 20, NULL);
	lua_newtable(L);
	native = lua_gettop(L);
	luaL_setfuncs(L, functions, 0);
	set_defaults(L, defaults);
	sh_trial_message_open(L);
	sh_trial_compose_open(L);
	sh_trial_world_open(L, defaults->stock);
	sh_trial_http_open(L);
	sh_trial_shared_open(L);
	sh_json_lua_open(L, SH_VM_STRING_MAX); /* a record may be as long as a string */
	sh_codec_open(L);
#define X(name)                                                                                                        \
	static struct code name##_code;                                                                                \
	run_part(L, native, &name##_code, #name,                                                                       \
		 sh_slice_make(sh_trial_text_##name##_begin, (size_t)(sh_trial_text_##name##_end - sh_trial_text_##name##_begin)));
	FILES(X)
#undef X
	lua_getfield(L, native, "test");
	sh_sandbox_preload(L, "siphook.test");
}
