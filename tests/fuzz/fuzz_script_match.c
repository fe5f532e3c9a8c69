/* Our matcher against stock Lua's string.find: the same places, captures and refusals. The input is a pattern, a line end and a
 * subject. What would take stock Lua long is left out: it is short, and has few repetitions. */
#include <assert.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>

#include "script/match.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PATTERN_MAX = 40, SUBJECT_MAX = 40, REPEATS_MAX = 4 };

static lua_State *stock(void)
{
	static lua_State *L;

	if (!L) {
		L = luaL_newstate();
		luaL_openlibs(L);
	}
	return L;
}

static unsigned repeats(struct sh_slice p)
{
	unsigned n = 0;

	for (size_t i = 0; i < p.len; i++)
		n += p.base[i] && strchr("*+-?", p.base[i]) != NULL;
	return n;
}

/* Then find() looks for the text, and no matcher is asked. */
static bool is_plain(struct sh_slice p)
{
	for (size_t i = 0; i < p.len; i++)
		if (p.base[i] && strchr("^$*+?.([%-", p.base[i]))
			return false;
	return true;
}

/* string.find(subject, pattern): the number of results, or LUA_ERR*; they are on the stack. */
static int ask_stock(lua_State *L, struct sh_slice subject, struct sh_slice pattern)
{
	lua_settop(L, 0);
	lua_getglobal(L, "string");
	lua_getfield(L, -1, "find");
	lua_remove(L, -2);
	lua_pushlstring(L, subject.base, subject.len);
	lua_pushlstring(L, pattern.base, pattern.len);
	return lua_pcall(L, 2, LUA_MULTRET, 0);
}

static void compare_captures(lua_State *L, const struct sh_match *m)
{
	assert(lua_gettop(L) == 2 + m->level);
	for (int i = 0; i < m->level; i++) {
		if (m->capture[i].len == SH_MATCH_POSITION) {
			assert(lua_isinteger(L, 3 + i) && lua_tointeger(L, 3 + i) == m->capture[i].at - m->subject.base + 1);
			continue;
		}
		size_t len;
		const char *s = lua_tolstring(L, 3 + i, &len);

		assert(lua_type(L, 3 + i) == LUA_TSTRING && (ptrdiff_t)len == m->capture[i].len);
		assert(memcmp(s, m->capture[i].at, len) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sh_slice all = sh_slice_make((const char *)data, size), pattern, subject;
	struct sh_match m = {.error = SH_MATCH_OK};
	const char *at, *end = NULL;
	lua_State *L = stock();
	bool anchored;
	int status;

	sh_slice_cut(all, '\n', &pattern, &subject);
	if (!subject.base)
		subject = SH_LIT("");
	anchored = pattern.len && pattern.base[0] == '^';
	m.subject = subject;
	m.pattern = sh_slice_make(pattern.base + anchored, pattern.len - anchored);
	m.steps = sh_match_budget(subject.len);
	for (at = subject.base; at <= subject.base + subject.len; at++) {
		end = sh_match_at(&m, at);
		if (end || m.error || anchored)
			break;
	}
	if (m.error == SH_MATCH_COSTLY || m.error == SH_MATCH_DEEP || pattern.len > PATTERN_MAX || subject.len > SUBJECT_MAX ||
	    repeats(pattern) > REPEATS_MAX || is_plain(pattern))
		return 0;
	for (int i = 0; end && i < m.level; i++)
		if (m.capture[i].len == SH_MATCH_OPEN)
			m.error = SH_MATCH_CAPTURE_OPEN;
	status = ask_stock(L, subject, pattern);
	if (status != LUA_OK && strstr(lua_tostring(L, -1), "too complex"))
		return 0;
	assert((status == LUA_OK) == (m.error == SH_MATCH_OK));
	if (status != LUA_OK)
		return 0;
	if (!end) {
		assert(lua_gettop(L) == 1 && lua_isnil(L, 1));
		return 0;
	}
	assert(lua_tointeger(L, 1) == at - subject.base + 1 && lua_tointeger(L, 2) == end - subject.base);
	compare_captures(L, &m);
	return 0;
}
