/* Order and names that do not depend on addresses or hash seeds. Stock Lua differs from run to run in the order of
 * pairs and in tostring(table): a simulation that must replay exactly cannot have that. */
#include <lauxlib.h>
#include <stdlib.h>

#include "script/sandbox.h"

enum { STEPS_PER_KEY = 64 };

/* --- order of keys ----------------------------------------------------------------------------------------------- */

struct key {
	int rank; /* by type */
	bool integer;
	union {
		lua_Integer i;
		lua_Number n;
		struct sh_slice s;
		uint64_t serial;
	} u;
	lua_Integer at; /* in the list of keys */
};

/* The key at the top of the stack. Its text stays alive: the table holds it. */
static struct key read_key(lua_State *L, lua_Integer at)
{
	struct key k = {.at = at};
	size_t len;
	int integer;

	switch (lua_type(L, -1)) {
	case LUA_TBOOLEAN:
		k.u.serial = (uint64_t)lua_toboolean(L, -1);
		break;
	case LUA_TNUMBER:
		k.rank = 1;
		k.u.i = lua_tointegerx(L, -1, &integer); /* 2.0 is the key 2 */
		k.integer = integer;
		if (!integer)
			k.u.n = lua_tonumber(L, -1);
		break;
	case LUA_TSTRING:
		k.rank = 2;
		k.u.s.base = lua_tolstring(L, -1, &len);
		k.u.s.len = len;
		break;
	default:
		k.rank = 3;
		if (sh_vm_of(L)->deterministic)
			k.u.serial = sh_vm_serial(L, -1);
		else
			k.u.serial = (uintptr_t)lua_topointer(L, -1);
		break;
	}
	return k;
}

/* As Lua does it: a float key is no integer, so the two are never equal. */
static int compare_numbers(const struct key *a, const struct key *b)
{
	if (a->integer && b->integer)
		return (a->u.i > b->u.i) - (a->u.i < b->u.i);
	if (!a->integer && !b->integer)
		return (a->u.n > b->u.n) - (a->u.n < b->u.n);
	if (!a->integer)
		return -compare_numbers(b, a);
	if (b->u.n >= 0x1p63)
		return -1;
	if (b->u.n < -0x1p63)
		return 1;
	/* b is no integer: it lies above its truncation when it is positive, and below when it is negative */
	if (a->u.i != (lua_Integer)b->u.n)
		return a->u.i > (lua_Integer)b->u.n ? 1 : -1;
	return b->u.n > 0 ? -1 : 1;
}

static int compare(const void *x, const void *y)
{
	const struct key *a = x, *b = y;
	size_t n;
	int c;

	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	switch (a->rank) {
	case 1:
		return compare_numbers(a, b);
	case 2:
		n = a->u.s.len < b->u.s.len ? a->u.s.len : b->u.s.len;
		c = memcmp(a->u.s.base, b->u.s.base, n);
		return c ? c : (a->u.s.len > b->u.s.len) - (a->u.s.len < b->u.s.len);
	default:
		return (a->u.serial > b->u.serial) - (a->u.serial < b->u.serial);
	}
}

const char sh_sandbox_hidden = 'h';

bool sh_sandbox_is_hidden(lua_State *L, int idx)
{
	return lua_islightuserdata(L, idx) && lua_touserdata(L, idx) == &sh_sandbox_hidden;
}

static lua_Integer sorted_keys(lua_State *L, int idx, uint64_t steps_per_key)
{
	uint64_t call = 0;
	lua_Integer n = 0;
	struct key *keys;

	idx = lua_absindex(L, idx);
	luaL_checkstack(L, 6, NULL);
	lua_newtable(L);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		lua_pop(L, 1);
		if (sh_sandbox_is_hidden(L, -1))
			continue;
		sh_vm_charge_call(L, &call, steps_per_key);
		lua_pushvalue(L, -1);
		lua_rawseti(L, -3, ++n);
	}
	if (n < 2)
		return n;
	keys = lua_newuserdatauv(L, (size_t)n * sizeof(*keys), 0);
	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, -2, i);
		keys[i - 1] = read_key(L, i);
		lua_pop(L, 1);
	}
	qsort(keys, (size_t)n, sizeof(*keys), compare);
	lua_createtable(L, n < INT32_MAX ? (int)n : 0, 0);
	for (lua_Integer i = 1; i <= n; i++) {
		lua_rawgeti(L, -3, keys[i - 1].at);
		lua_rawseti(L, -2, i);
	}
	lua_replace(L, -3);
	lua_pop(L, 1);
	return n;
}

lua_Integer sh_sandbox_keys(lua_State *L, int idx)
{
	return sorted_keys(L, idx, STEPS_PER_KEY);
}

/* --- pairs and next ---------------------------------------------------------------------------------------------- */

/* upvalues: the keys as they were at the beginning, how many of them are behind us, their number. Fields that are
 * assigned during the traversal keep the promise of the manual: existing ones may change or go. */
static int ordered_iterate(lua_State *L)
{
	lua_Integer i = lua_tointeger(L, lua_upvalueindex(2)), n = lua_tointeger(L, lua_upvalueindex(3));

	while (i < n) {
		lua_settop(L, 1);
		lua_rawgeti(L, lua_upvalueindex(1), ++i);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, 1) != LUA_TNIL) {
			lua_pushinteger(L, i);
			lua_replace(L, lua_upvalueindex(2));
			return 2;
		}
	}
	lua_pushnil(L);
	return 1;
}

static int pairs_done(lua_State *L, int status, lua_KContext ctx)
{
	(void)L;
	(void)status;
	(void)ctx;
	return 3;
}

static int ordered_pairs(lua_State *L)
{
	lua_Integer n;

	luaL_checkany(L, 1);
	if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
		lua_pushvalue(L, 1);
		lua_callk(L, 1, 3, 0, pairs_done);
		return 3;
	}
	luaL_checktype(L, 1, LUA_TTABLE);
	n = sorted_keys(L, 1, 0); /* the stock one takes no time */
	lua_pushinteger(L, 0);
	lua_pushinteger(L, n);
	lua_pushcclosure(L, ordered_iterate, 3);
	lua_pushvalue(L, 1);
	lua_pushnil(L);
	return 3;
}

/* The key after `after` (NULL: the first), by one look at all keys: pairs() is the way to traverse. */
static bool push_following(lua_State *L, int idx, const struct key *after)
{
	struct key best = {0};
	bool found = false;

	lua_pushnil(L); /* best key */
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		struct key k;

		lua_pop(L, 1);
		if (sh_sandbox_is_hidden(L, -1))
			continue;
		k = read_key(L, 0);
		if ((after && compare(&k, after) <= 0) || (found && compare(&k, &best) >= 0))
			continue;
		best = k;
		found = true;
		lua_pushvalue(L, -1);
		lua_replace(L, -3);
	}
	return found;
}

static int ordered_next(lua_State *L)
{
	struct key after;
	bool first;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 2);
	first = lua_isnil(L, 2);
	if (!first)
		after = read_key(L, 0);
	sh_vm_charge(L, lua_rawlen(L, 1));
	if (!push_following(L, 1, first ? NULL : &after)) {
		lua_pushnil(L);
		return 1;
	}
	lua_pushvalue(L, -1);
	lua_rawget(L, 1);
	return 2;
}

/* --- tostring ---------------------------------------------------------------------------------------------------- */

const char *sh_sandbox_tolstring(lua_State *L, int idx, size_t *len)
{
	int type = lua_type(L, idx);
	uint64_t serial;

	idx = lua_absindex(L, idx);
	if (!sh_vm_of(L)->deterministic || (type != LUA_TTABLE && type < LUA_TFUNCTION && type != LUA_TLIGHTUSERDATA))
		return luaL_tolstring(L, idx, len);
	if (luaL_getmetafield(L, idx, "__tostring") != LUA_TNIL) {
		lua_pop(L, 1);
		return luaL_tolstring(L, idx, len);
	}
	if (luaL_getmetafield(L, idx, "__name") != LUA_TSTRING)
		lua_pushstring(L, lua_typename(L, type));
	serial = sh_vm_serial(L, idx);
	if (serial)
		lua_pushfstring(L, "%s: #%I", lua_tostring(L, -1), (LUAI_UACINT)serial);
	else
		lua_pushfstring(L, "%s: builtin", lua_tostring(L, -1));
	lua_remove(L, -2);
	return lua_tolstring(L, -1, len);
}

static int ordered_tostring(lua_State *L)
{
	luaL_checkany(L, 1);
	sh_sandbox_tolstring(L, 1, NULL);
	return 1;
}

void sh_sandbox_ordered_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
	    {"next", ordered_next},
	    {"pairs", ordered_pairs},
	    {"tostring", ordered_tostring},
	    {NULL, NULL},
	};

	luaL_setfuncs(L, functions, 0);
}
