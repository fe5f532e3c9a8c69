/* Shared stores of a plan, from outside: what they hold before the script loads, and reading and writing later. */
#include <errno.h>

#include "trial/lua.h"
#include "trial/world.h"

enum { PRESETS_MAX = 100000 };

struct sh_trial_preset {
	struct sh_slice store, key;
	struct sh_shared_value value;
	bool push;
};

int sh_trial_presets_apply(const struct sh_trial_presets *presets, struct sh_shared *shared)
{
	int err = 0;

	for (unsigned i = 0; i < presets->count && !err; i++) {
		const struct sh_trial_preset *p = &presets->list[i];
		struct sh_shared_at at = {.now = SH_SECOND};
		size_t length;

		err = sh_shared_open(shared, p->store, &at.store);
		if (!err && p->push)
			err = sh_shared_push(&at, p->key, &p->value, 0, &length);
		else if (!err)
			err = sh_shared_set(&at, p->key, &p->value, 0);
	}
	return err;
}

static bool to_shared(lua_State *L, int idx, struct sh_shared_value *v)
{
	switch (lua_type(L, idx)) {
	case LUA_TBOOLEAN:
		v->kind = SH_SHARED_BOOLEAN;
		v->u.boolean = lua_toboolean(L, idx);
		return true;
	case LUA_TNUMBER:
		v->kind = lua_isinteger(L, idx) ? SH_SHARED_INTEGER : SH_SHARED_FLOAT;
		if (v->kind == SH_SHARED_INTEGER)
			v->u.integer = lua_tointeger(L, idx);
		else
			v->u.number = lua_tonumber(L, idx);
		return true;
	case LUA_TSTRING:
		v->kind = SH_SHARED_STRING;
		v->u.text.base = lua_tolstring(L, idx, &v->u.text.len);
		return true;
	default:
		return false;
	}
}

/* The texts stay in the table that was given. list: a userdata of PRESETS_MAX at most, grown by doubling. */
static void add_preset(lua_State *L, struct sh_trial_presets *o, int list, const struct sh_trial_preset *p)
{
	if (o->count == PRESETS_MAX)
		luaL_error(L, "shared: more than %d values", PRESETS_MAX);
	if ((o->count & (o->count - 1)) == 0) { /* 0, 1, 2, 4 ... */
		size_t n = o->count ? 2 * (size_t)o->count : 1;
		struct sh_trial_preset *more = lua_newuserdatauv(L, n * sizeof(*more), 0);

		if (o->count)
			memcpy(more, o->list, o->count * sizeof(*more));
		o->list = more;
		lua_replace(L, list);
	}
	o->list[o->count++] = *p;
}

/* One value of a store at the top, its key below. */
static void read_value(lua_State *L, struct sh_trial_presets *o, int list, struct sh_slice store)
{
	struct sh_trial_preset p = {.store = store};

	if (lua_type(L, -2) != LUA_TSTRING)
		luaL_error(L, "shared.%s: keys must be strings", store.base);
	p.key.base = lua_tolstring(L, -2, &p.key.len);
	if (lua_type(L, -1) != LUA_TTABLE) {
		if (!to_shared(L, -1, &p.value))
			luaL_error(L, "shared.%s.%s: a string, number, boolean or list of them expected, got %s", store.base,
				   p.key.base, luaL_typename(L, -1));
		add_preset(L, o, list, &p);
		return;
	}
	p.push = true;
	for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
		if (!to_shared(L, -1, &p.value))
			luaL_error(L, "shared.%s.%s[%I]: a string, number or boolean expected, got %s", store.base, p.key.base,
				   (LUAI_UACINT)i, luaL_typename(L, -1));
		add_preset(L, o, list, &p);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

void sh_trial_presets_read(lua_State *L, int table, struct sh_trial_presets *o)
{
	int list;

	*o = (struct sh_trial_presets){0};
	lua_pushnil(L);
	list = lua_gettop(L);
	if (lua_getfield(L, table, "shared") == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	luaL_checktype(L, -1, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		struct sh_slice store;

		if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TTABLE)
			luaL_error(L, "shared: names of stores with tables of values expected");
		store.base = lua_tolstring(L, -2, &store.len);
		lua_pushnil(L);
		while (lua_next(L, -2)) {
			read_value(L, o, list, store);
			lua_pop(L, 1);
		}
		lua_pop(L, 1);
	}
	lua_settop(L, list); /* the texts stay in the table that was given */
}

/* Raises for -errno about the store at 2. */
static void check(lua_State *L, int err)
{
	if (err)
		luaL_error(L, "%s: %s", lua_tostring(L, 2), strerror(-err));
}

/* The store at 2 in the world at 1, now; the key at 3. */
static struct sh_shared_at check_place(lua_State *L, struct sh_slice *key)
{
	struct sh_world *w = sh_trial_world_check(L, 1);
	struct sh_shared_at at = {.now = sh_world_now(w)};
	struct sh_slice store;

	store.base = luaL_checklstring(L, 2, &store.len);
	key->base = luaL_checklstring(L, 3, &key->len);
	check(L, sh_shared_open(sh_world_shared(w), store, &at.store));
	return at;
}

/* shared_get(world, store, key) -> value | nil */
static int get(lua_State *L)
{
	struct sh_slice key;
	struct sh_shared_at at = check_place(L, &key);
	struct sh_shared_value v;
	char small[512], *buf = small;
	size_t need = 0;
	int err = sh_shared_get(&at, key, &v, buf, sizeof(small), &need);

	if (err == -ENOBUFS) {
		buf = lua_newuserdatauv(L, need, 0);
		err = sh_shared_get(&at, key, &v, buf, need, &need);
	}
	if (err == -ENOENT)
		return 0;
	check(L, err);
	switch (v.kind) {
	case SH_SHARED_BOOLEAN:
		lua_pushboolean(L, v.u.boolean);
		break;
	case SH_SHARED_INTEGER:
		lua_pushinteger(L, v.u.integer);
		break;
	case SH_SHARED_FLOAT:
		lua_pushnumber(L, v.u.number);
		break;
	case SH_SHARED_STRING:
		lua_pushlstring(L, v.u.text.base, v.u.text.len);
		break;
	case SH_SHARED_LIST:
		lua_pushinteger(L, (lua_Integer)v.u.length);
		break;
	default:
		lua_pushnil(L);
	}
	return 1;
}

/* At 5: microseconds that it lives; nil or absent: for ever. */
static uint64_t check_ttl(lua_State *L)
{
	lua_Integer ttl = luaL_optinteger(L, 5, 0);

	return ttl > 0 ? (uint64_t)ttl : 0;
}

/* shared_set(world, store, key, value [, ttl]): nil deletes */
static int set(lua_State *L)
{
	struct sh_slice key;
	struct sh_shared_at at = check_place(L, &key);
	struct sh_shared_value v = {0};
	int err;

	if (!lua_isnoneornil(L, 4) && !to_shared(L, 4, &v))
		return luaL_argerror(L, 4, "string, number or boolean expected");
	err = v.kind == SH_SHARED_NONE ? sh_shared_delete(&at, key) : sh_shared_set(&at, key, &v, check_ttl(L));
	check(L, err == -ENOENT && v.kind == SH_SHARED_NONE ? 0 : err);
	return 0;
}

/* shared_push(world, store, key, value [, ttl]) */
static int push(lua_State *L)
{
	struct sh_slice key;
	struct sh_shared_at at = check_place(L, &key);
	struct sh_shared_value v = {0};
	size_t length;

	if (!to_shared(L, 4, &v))
		return luaL_argerror(L, 4, "string, number or boolean expected");
	check(L, sh_shared_push(&at, key, &v, check_ttl(L), &length));
	return 0;
}

void sh_trial_shared_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"shared_get", get}, {"shared_set", set}, {"shared_push", push}, {NULL, NULL}};

	luaL_setfuncs(L, functions, 0);
}
