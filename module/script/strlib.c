#include "script/strlib.h"

#include <lauxlib.h>

#include "script/match.h"
#include "script/vm.h"

enum { BYTES_PER_STEP = 4 }; /* of a plain search */

static struct sh_slice check_slice(lua_State *L, int idx)
{
	size_t len;
	const char *s = luaL_checklstring(L, idx, &len);

	return sh_slice_make(s, len);
}

/* Where a search begins: offset of the optional position at idx, at most len + 1 (behind the end: no match). */
static size_t start_offset(lua_State *L, int idx, size_t len)
{
	lua_Integer at = luaL_optinteger(L, idx, 1);

	if (at > 0)
		return (lua_Unsigned)at - 1 > len ? len + 1 : (size_t)at - 1;
	if (at == 0 || (lua_Unsigned)0 - (lua_Unsigned)at > len)
		return 0;
	return len - (size_t)(-at);
}

static void prepare(struct sh_match *m, struct sh_slice subject, struct sh_slice pattern)
{
	m->subject = subject;
	m->pattern = pattern;
	m->steps = sh_match_budget(subject.len);
	m->error = SH_MATCH_OK;
}

static int raise(lua_State *L, const struct sh_match *m)
{
	static const char *const text[] = {
	    [SH_MATCH_COSTLY] = "pattern too costly",
	    [SH_MATCH_DEEP] = "pattern too costly",
	    [SH_MATCH_ENDS_PERCENT] = "malformed pattern (ends with '%')",
	    [SH_MATCH_NO_BRACKET] = "malformed pattern (missing ']')",
	    [SH_MATCH_BALANCE] = "malformed pattern (missing arguments to '%b')",
	    [SH_MATCH_FRONTIER] = "missing '[' after '%f' in pattern",
	    [SH_MATCH_CAPTURE_CLOSE] = "invalid pattern capture",
	    [SH_MATCH_CAPTURE_OPEN] = "unfinished capture",
	    [SH_MATCH_CAPTURE_MANY] = "too many captures",
	};

	sh_vm_of(L)->counts->patterns += m->error == SH_MATCH_COSTLY || m->error == SH_MATCH_DEEP;
	if (m->error == SH_MATCH_CAPTURE_INDEX)
		return luaL_error(L, "invalid capture index %%%d", m->index);
	return luaL_error(L, "%s", text[m->error]);
}

/* For a function that looks at the whole text in one call: a hook may not keep others waiting with it. */
static void prepare_call(lua_State *L, struct sh_match *m, struct sh_slice subject, struct sh_slice pattern)
{
	prepare(m, subject, pattern);
	if (sh_vm_of(L)->kind == SH_VM_RUN_HOOK && m->steps > SH_VM_CALL_MAX / 2)
		m->steps = SH_VM_CALL_MAX / 2;
}

/* One try; the steps go to the account of the run. Raises. */
static const char *match_at(lua_State *L, struct sh_match *m, const char *at)
{
	uint64_t before = m->steps;
	const char *end = sh_match_at(m, at);

	sh_vm_charge(L, before - m->steps);
	if (m->error)
		raise(L, m);
	return end;
}

/* --- captures ---------------------------------------------------------------------------------------------------- */

/* Pushes capture i of the match [s, e); without captures the first is the whole match. */
static void push_capture(lua_State *L, struct sh_match *m, int i, const char *s, const char *e)
{
	if (i >= m->level) {
		if (i > 0)
			luaL_error(L, "invalid capture index %%%d", i + 1);
		lua_pushlstring(L, s, (size_t)(e - s));
	} else if (m->capture[i].len == SH_MATCH_POSITION) {
		lua_pushinteger(L, m->capture[i].at - m->subject.base + 1);
	} else if (m->capture[i].len == SH_MATCH_OPEN) {
		m->error = SH_MATCH_CAPTURE_OPEN;
		raise(L, m);
	} else {
		lua_pushlstring(L, m->capture[i].at, (size_t)m->capture[i].len);
	}
}

/* Pushes all of them; the whole match stands in for none, unless s is NULL. Returns their count. */
static int push_captures(lua_State *L, struct sh_match *m, const char *s, const char *e)
{
	int n = m->level == 0 && s ? 1 : m->level;

	luaL_checkstack(L, n, "too many captures");
	for (int i = 0; i < n; i++)
		push_capture(L, m, i, s, e);
	return n;
}

/* --- find and match ---------------------------------------------------------------------------------------------- */

static bool is_special(char c)
{
	return c && strchr("^$*+?.([%-", c);
}

static bool is_plain(struct sh_slice pattern)
{
	for (size_t i = 0; i < pattern.len; i++)
		if (is_special(pattern.base[i]))
			return false;
	return true;
}

/* Does every match begin with the first octet of the pattern? Then memchr finds the places to try. */
static bool begins_plain(struct sh_slice pattern)
{
	if (pattern.len == 0 || is_special(pattern.base[0]) || pattern.base[0] == ')')
		return false;
	return pattern.len == 1 || !pattern.base[1] || !strchr("*?-", pattern.base[1]);
}

static int find_plain(lua_State *L, struct sh_slice subject, struct sh_slice text, size_t from)
{
	const char *at;

	sh_vm_charge(L, subject.len / BYTES_PER_STEP);
	at = memmem(subject.base + from, subject.len - from, text.base, text.len); /* linear, also in the worst case */
	if (!at) {
		luaL_pushfail(L);
		return 1;
	}
	lua_pushinteger(L, at - subject.base + 1);
	lua_pushinteger(L, at - subject.base + (lua_Integer)text.len);
	return 2;
}

static int search(lua_State *L, bool find)
{
	struct sh_slice subject = check_slice(L, 1), pattern = check_slice(L, 2);
	size_t from = start_offset(L, 3, subject.len);
	bool anchored = pattern.len > 0 && pattern.base[0] == '^', jump;
	const char *end = subject.base + subject.len;
	struct sh_match m;

	if (from > subject.len) {
		luaL_pushfail(L);
		return 1;
	}
	if (find && (lua_toboolean(L, 4) || is_plain(pattern)))
		return find_plain(L, subject, pattern, from);
	prepare_call(L, &m, subject, sh_slice_make(pattern.base + anchored, pattern.len - anchored));
	jump = !anchored && begins_plain(pattern);
	for (const char *s = subject.base + from; s <= end; s++) {
		const char *e;

		if (jump)
			s = memchr(s, pattern.base[0], (size_t)(end - s));
		if (!s)
			break;
		e = match_at(L, &m, s);
		if (e && !find)
			return push_captures(L, &m, s, e);
		if (e) {
			lua_pushinteger(L, s - subject.base + 1);
			lua_pushinteger(L, e - subject.base);
			return push_captures(L, &m, NULL, NULL) + 2;
		}
		if (anchored)
			break;
	}
	luaL_pushfail(L);
	return 1;
}

static int str_find(lua_State *L)
{
	return search(L, true);
}

static int str_match(lua_State *L)
{
	return search(L, false);
}

/* --- gmatch ------------------------------------------------------------------------------------------------------ */

struct iterator {
	struct sh_match m;
	const char *at, *last; /* the end of the last match: an empty one is not given there again */
};

/* upvalues: the subject and the pattern (anchors), the iterator */
static int gmatch_next(lua_State *L)
{
	struct iterator *it = lua_touserdata(L, lua_upvalueindex(3));
	const char *end = it->m.subject.base + it->m.subject.len;

	for (; it->at <= end; it->at++) {
		const char *s = it->at, *e = match_at(L, &it->m, s);

		if (e && e != it->last) {
			it->at = it->last = e;
			return push_captures(L, &it->m, s, e);
		}
	}
	return 0;
}

static int str_gmatch(lua_State *L)
{
	struct sh_slice subject = check_slice(L, 1), pattern = check_slice(L, 2);
	size_t from = start_offset(L, 3, subject.len);
	struct iterator *it;

	lua_settop(L, 2);
	it = lua_newuserdatauv(L, sizeof(*it), 0);
	prepare(&it->m, subject, pattern); /* '^' is no anchor here */
	it->at = subject.base + from;
	it->last = NULL;
	lua_pushcclosure(L, gmatch_next, 3);
	return 1;
}

/* --- gsub -------------------------------------------------------------------------------------------------------- */

/* The replacement string at index 3 with its %0 .. %9. */
static void add_text(lua_State *L, struct sh_match *m, luaL_Buffer *b, const char *s, const char *e)
{
	struct sh_slice text = check_slice(L, 3), head;

	while (sh_slice_cut(text, '%', &head, &text)) {
		char c = text.len ? text.base[0] : '\0';

		luaL_addlstring(b, head.base, head.len);
		if (c == '%') {
			luaL_addchar(b, '%');
		} else if (c == '0') {
			luaL_addlstring(b, s, (size_t)(e - s));
		} else if (c >= '1' && c <= '9') {
			push_capture(L, m, c - '1', s, e);
			luaL_tolstring(L, -1, NULL);
			lua_remove(L, -2);
			luaL_addvalue(b);
		} else {
			luaL_error(L, "invalid use of '%c' in replacement string", '%');
		}
		text.base++;
		text.len--;
	}
	luaL_addlstring(b, head.base, head.len);
}

/* Adds what stands for [s, e); false when that is the match itself. */
static bool add_replacement(lua_State *L, struct sh_match *m, luaL_Buffer *b, const char *s, const char *e)
{
	switch (lua_type(L, 3)) {
	case LUA_TFUNCTION:
		lua_pushvalue(L, 3);
		lua_call(L, push_captures(L, m, s, e), 1);
		break;
	case LUA_TTABLE:
		push_capture(L, m, 0, s, e);
		lua_gettable(L, 3);
		break;
	default:
		add_text(L, m, b, s, e);
		return true;
	}
	if (!lua_toboolean(L, -1)) {
		lua_pop(L, 1);
		luaL_addlstring(b, s, (size_t)(e - s));
		return false;
	}
	if (!lua_isstring(L, -1))
		luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
	luaL_addvalue(b);
	return true;
}

static int str_gsub(lua_State *L)
{
	struct sh_slice subject = check_slice(L, 1), pattern = check_slice(L, 2);
	const char *s = subject.base, *end = s + subject.len, *last = NULL;
	bool anchored = pattern.len > 0 && pattern.base[0] == '^', changed = false;
	int type = lua_type(L, 3);
	lua_Integer max, n = 0;
	struct sh_match m;
	luaL_Buffer b;

	luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION || type == LUA_TTABLE,
			 3, "string/function/table");
	max = luaL_optinteger(L, 4, (lua_Integer)subject.len + 1);
	prepare_call(L, &m, subject, sh_slice_make(pattern.base + anchored, pattern.len - anchored));
	luaL_buffinit(L, &b);
	while (n < max) {
		const char *e = match_at(L, &m, s);

		if (e && e != last) {
			n++;
			changed |= add_replacement(L, &m, &b, s, e);
			s = last = e;
		} else if (s < end) {
			luaL_addchar(&b, *s++);
		} else {
			break;
		}
		if (anchored)
			break;
	}
	if (changed) {
		luaL_addlstring(&b, s, (size_t)(end - s));
		luaL_pushresult(&b);
	} else {
		lua_pushvalue(L, 1);
	}
	lua_pushinteger(L, n);
	return 2;
}

void sh_strlib_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
	    {"find", str_find}, {"match", str_match}, {"gmatch", str_gmatch}, {"gsub", str_gsub}, {NULL, NULL},
	};

	luaL_setfuncs(L, functions, 0);
}
