/* Stock functions that loop in C over numbers that a script chose: each is charged for its work before it begins, since
 * no hook can stop it. What only makes long strings is charged by the allocator. */
#include <lauxlib.h>

#include "script/sandbox.h"
#include "script/vm_run.h"

enum { STEPS_PER_ITEM = 4, STEPS_PER_NUMBER = 64, STEPS_PER_CHAR = 12, BYTES_PER_STEP = 2 };

/* upvalue 1: the stock function */
static int stock(lua_State *L)
{
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* from .. to, by subtraction that cannot overflow */
static void charge_items(lua_State *L, lua_Integer from, lua_Integer to, uint64_t each)
{
	uint64_t n = to >= from ? (uint64_t)to - (uint64_t)from : 0;

	sh_vm_charge(L, n > UINT32_MAX ? UINT64_MAX / 2 : n * each);
}

static lua_Integer length(lua_State *L, int idx)
{
	if (lua_istable(L, idx) || luaL_getmetafield(L, idx, "__len") != LUA_TNIL) {
		lua_settop(L, lua_gettop(L) - !lua_istable(L, idx));
		return luaL_len(L, idx);
	}
	return 0; /* the stock function complains */
}

static int table_insert(lua_State *L)
{
	if (lua_gettop(L) == 3)
		charge_items(L, luaL_checkinteger(L, 2), length(L, 1), STEPS_PER_ITEM);
	return stock(L);
}

static int table_remove(lua_State *L)
{
	if (lua_gettop(L) >= 2)
		charge_items(L, luaL_checkinteger(L, 2), length(L, 1), STEPS_PER_ITEM);
	return stock(L);
}

static int table_move(lua_State *L)
{
	charge_items(L, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3), STEPS_PER_ITEM);
	return stock(L);
}

/* Numbers are written anew each. What a metatable gives may be any. */
static int table_concat(lua_State *L)
{
	lua_Integer from = luaL_optinteger(L, 3, 1), to = lua_isnoneornil(L, 4) ? length(L, 1) : luaL_checkinteger(L, 4);
	uint64_t call = 0;

	if (!lua_istable(L, 1) || lua_getmetatable(L, 1)) {
		charge_items(L, from, to, STEPS_PER_NUMBER);
		lua_settop(L, 4);
		return stock(L);
	}
	for (lua_Integer i = from; i <= to; i++) { /* to may be the largest integer */
		int type = lua_rawgeti(L, 1, i);

		lua_pop(L, 1);
		sh_vm_charge_call(L, &call, type == LUA_TNUMBER ? STEPS_PER_NUMBER : STEPS_PER_ITEM);
		if (type != LUA_TNUMBER && type != LUA_TSTRING)
			break; /* it is refused */
		if (i == to)
			break;
	}
	return stock(L);
}

static int table_unpack(lua_State *L)
{
	lua_Integer from = luaL_optinteger(L, 2, 1), to = lua_isnoneornil(L, 3) ? length(L, 1) : luaL_checkinteger(L, 3);

	if (to >= from && (uint64_t)to - (uint64_t)from < LUAI_MAXSTACK) /* more is refused before it loops */
		charge_items(L, from, to, STEPS_PER_ITEM);
	return stock(L);
}

static int table_sort(lua_State *L)
{
	lua_Integer n = length(L, 1);
	uint64_t log = 1;

	while (log < 63 && n >> log)
		log++;
	charge_items(L, 0, n, log * STEPS_PER_ITEM);
	return stock(L);
}

/* The stock one goes round n times even for a string without bytes. */
static int string_rep(lua_State *L)
{
	size_t len, sep = 0;
	lua_Integer n = luaL_checkinteger(L, 2);

	luaL_checklstring(L, 1, &len);
	luaL_optlstring(L, 3, "", &sep);
	if (len + sep == 0) {
		lua_pushliteral(L, "");
		return 1;
	}
	if (n > 0 && (size_t)n <= sh_vm_of(L)->memory_max) /* more is refused before it loops */
		charge_items(L, 0, n, 1);
	return stock(L);
}

/* Makes strings of the arguments that %s would print with an address; %p is nothing else. %q looks at each character. */
static int string_format(lua_State *L)
{
	size_t len;
	const char *f = luaL_checklstring(L, 1, &len), *end = f + len;
	int n = lua_gettop(L);
	bool quotes = false;
	uint64_t call = 0;

	sh_vm_charge_call(L, &call, len);
	for (; f < end; f++) { /* a NUL ends nothing */
		if (*f != '%')
			continue;
		f += 1 + strspn(f + 1, "-+ #0123456789.");
		if (*f == 'p')
			return luaL_error(L, "string.format: '%%p' is not available");
		quotes = quotes || *f == 'q';
	}
	for (int i = 2; quotes && i <= n; i++)
		sh_vm_charge_call(L, &call, lua_type(L, i) == LUA_TSTRING ? lua_rawlen(L, i) * STEPS_PER_CHAR : 0);
	for (int i = 2; sh_vm_of(L)->deterministic && i <= n; i++) {
		int type = lua_type(L, i);

		if (type == LUA_TTABLE || type >= LUA_TFUNCTION) {
			sh_sandbox_tolstring(L, i, NULL);
			lua_replace(L, i);
		}
	}
	return stock(L);
}

static int scan_text(lua_State *L)
{
	if (lua_type(L, 1) == LUA_TSTRING)
		sh_vm_charge(L, lua_rawlen(L, 1) / BYTES_PER_STEP);
	return stock(L);
}

/* A format, of which each character may be a step. */
static int scan_format(lua_State *L)
{
	if (lua_type(L, 1) == LUA_TSTRING)
		sh_vm_charge(L, lua_rawlen(L, 1));
	return stock(L);
}

static int utf8_char(lua_State *L)
{
	sh_vm_charge(L, (uint64_t)lua_gettop(L) * STEPS_PER_CHAR);
	return stock(L);
}

static const struct {
	const char *library, *name;
	lua_CFunction fn;
} bounded[] = {
    {"table", "insert", table_insert},   {"table", "remove", table_remove}, {"table", "move", table_move},
    {"table", "concat", table_concat},   {"table", "sort", table_sort},     {"string", "rep", string_rep},
    {"string", "format", string_format}, {"utf8", "len", scan_text},        {"utf8", "offset", scan_text},
    {"utf8", "codepoint", scan_text},    {"table", "unpack", table_unpack},
    {"utf8", "char", utf8_char},         {"string", "pack", scan_format},   {"string", "packsize", scan_format},
    {"string", "unpack", scan_format},
};

void sh_sandbox_bounded_open(lua_State *L)
{
	for (size_t i = 0; i < sizeof(bounded) / sizeof(bounded[0]); i++) {
		lua_getglobal(L, bounded[i].library);
		lua_getfield(L, -1, bounded[i].name);
		lua_pushcclosure(L, bounded[i].fn, 1);
		lua_setfield(L, -2, bounded[i].name);
		lua_pop(L, 1);
	}
}
