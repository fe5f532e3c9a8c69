/* sip.shared(name) and the methods of a store. */
#include <errno.h>
#include <lauxlib.h>

#include "core/alloc.h"
#include "script/impl.h"
#include "script/lock.h"
#include "script/shared.h"

static const char class_name[] = "sip.shared";

enum { SMALL = 512, TRIES = 8 }; /* bytes read without an allocation; a text that grows between two reads */

/* --- arguments and results --------------------------------------------------------------------------------------- */

static struct sh_shared_at check_at(lua_State *L)
{
	struct sh_shared_store *const *store = sh_self_check(L, 1, class_name, "store");
	const struct sh_vm *vm = sh_vm_of(L);

	return (struct sh_shared_at){*store, vm->journal, vm->world.now(vm->world.ctx)};
}

static struct sh_slice check_key(lua_State *L)
{
	return sh_sandbox_check_text(L, 2);
}

static struct sh_shared_value check_value(lua_State *L, int idx)
{
	struct sh_shared_value v = {.kind = SH_SHARED_NONE};

	switch (lua_type(L, idx)) {
	case LUA_TBOOLEAN:
		v.kind = SH_SHARED_BOOLEAN;
		v.u.boolean = lua_toboolean(L, idx);
		break;
	case LUA_TNUMBER:
		v.kind = lua_isinteger(L, idx) ? SH_SHARED_INTEGER : SH_SHARED_FLOAT;
		if (v.kind == SH_SHARED_INTEGER)
			v.u.integer = lua_tointeger(L, idx);
		else
			v.u.number = lua_tonumber(L, idx);
		break;
	case LUA_TSTRING:
		v.kind = SH_SHARED_STRING;
		v.u.text.base = lua_tolstring(L, idx, &v.u.text.len);
		break;
	default:
		luaL_typeerror(L, idx, "string, number or boolean");
	}
	return v;
}

const char *const sh_options_ttl[] = {"ttl", NULL};

/* {ttl = seconds} at idx, in microseconds; 0: for ever. */
static uint64_t check_ttl(lua_State *L, int idx)
{
	lua_Number ttl;

	if (lua_isnoneornil(L, idx))
		return 0;
	luaL_checktype(L, idx, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		if (lua_type(L, -2) != LUA_TSTRING || strcmp(lua_tostring(L, -2), "ttl") != 0)
			luaL_error(L, "unknown option '%s' (there is only 'ttl')", luaL_tolstring(L, -2, NULL));
		lua_pop(L, 1);
	}
	if (lua_getfield(L, idx, "ttl") == LUA_TNIL) {
		lua_pop(L, 1);
		return 0;
	}
	ttl = lua_tonumber(L, -1);
	if (lua_type(L, -1) != LUA_TNUMBER || !(ttl > 0))
		luaL_error(L, "option 'ttl': seconds above 0 expected");
	lua_pop(L, 1);
	return ttl >= 1e12 ? 0 : ttl < 1e-6 ? 1 : (uint64_t)(ttl * 1e6);
}

static int push_failure(lua_State *L, int err)
{
	luaL_pushfail(L);
	switch (err) {
	case -EEXIST:
		lua_pushliteral(L, "exists");
		break;
	case -ENOENT:
		return 1;
	case -EINVAL:
		lua_pushliteral(L, "type");
		break;
	case -E2BIG:
		lua_pushliteral(L, "key too long");
		break;
	default: /* -ENOSPC; memory of the process is out: the same for a script */
		lua_pushliteral(L, "full");
	}
	return 2;
}

static int push_done(lua_State *L, int err)
{
	if (err)
		return push_failure(L, err);
	lua_pushboolean(L, true);
	return 1;
}

static void push_value(lua_State *L, const struct sh_shared_value *v)
{
	switch (v->kind) {
	case SH_SHARED_BOOLEAN:
		lua_pushboolean(L, v->u.boolean);
		break;
	case SH_SHARED_INTEGER:
		lua_pushinteger(L, v->u.integer);
		break;
	case SH_SHARED_FLOAT:
		lua_pushnumber(L, v->u.number);
		break;
	case SH_SHARED_STRING:
		lua_pushlstring(L, v->u.text.base ? v->u.text.base : "", v->u.text.len);
		break;
	default:
		lua_pushnil(L);
	}
}

/* --- methods ----------------------------------------------------------------------------------------------------- */

typedef int (*read_fn)(const struct sh_shared_at *at, struct sh_slice key, struct sh_shared_value *out, char *buf,
		       size_t size, size_t *need);

/* Reads into a small buffer of the C stack, or into memory of the state: nothing is held when a push raises. */
static int read_value(lua_State *L, read_fn read)
{
	struct sh_shared_at at = check_at(L);
	struct sh_slice key = check_key(L);
	struct sh_shared_value v;
	char small[SMALL], *buf = small;
	size_t size = sizeof(small), need;
	int err = -ENOBUFS;

	for (int i = 0; i < TRIES && err == -ENOBUFS; i++) {
		err = read(&at, key, &v, buf, size, &need);
		if (err == -ENOBUFS) {
			size = need;
			buf = lua_newuserdatauv(L, size, 0);
		}
	}
	if (err == 0 && v.kind == SH_SHARED_LIST)
		err = -EINVAL;
	if (err)
		return push_failure(L, err);
	push_value(L, &v);
	return 1;
}

static int get(lua_State *L)
{
	return read_value(L, sh_shared_get);
}

static int pop(lua_State *L)
{
	return read_value(L, sh_shared_pop);
}

static int set(lua_State *L)
{
	struct sh_shared_at at = check_at(L);
	struct sh_slice key = check_key(L);
	struct sh_shared_value v;
	int err;

	if (lua_isnil(L, 3)) { /* as with a table */
		err = sh_shared_delete(&at, key);
		return push_done(L, err == -ENOENT ? 0 : err);
	}
	v = check_value(L, 3);
	return push_done(L, sh_shared_set(&at, key, &v, check_ttl(L, 4)));
}

static int add(lua_State *L)
{
	struct sh_shared_at at = check_at(L);
	struct sh_slice key = check_key(L);
	struct sh_shared_value v = check_value(L, 3);

	return push_done(L, sh_shared_add(&at, key, &v, check_ttl(L, 4)));
}

static int incr(lua_State *L)
{
	struct sh_shared_at at = check_at(L);
	struct sh_slice key = check_key(L);
	struct sh_shared_value by = {.kind = SH_SHARED_INTEGER, .u.integer = 1}, v;
	int err;

	if (!lua_isnoneornil(L, 3)) {
		luaL_checktype(L, 3, LUA_TNUMBER);
		by = check_value(L, 3);
	}
	err = sh_shared_incr(&at, key, &by, check_ttl(L, 4), &v);
	if (err)
		return push_failure(L, err);
	push_value(L, &v);
	return 1;
}

static int delete (lua_State *L)
{
	struct sh_shared_at at = check_at(L);

	lua_pushboolean(L, sh_shared_delete(&at, check_key(L)) == 0);
	return 1;
}

static int push(lua_State *L)
{
	struct sh_shared_at at = check_at(L);
	struct sh_slice key = check_key(L);
	struct sh_shared_value v = check_value(L, 3);
	size_t length;
	int err = sh_shared_push(&at, key, &v, check_ttl(L, 4), &length);

	if (err)
		return push_failure(L, err);
	lua_pushinteger(L, (lua_Integer)length);
	return 1;
}

static int len(lua_State *L)
{
	struct sh_shared_at at = check_at(L);
	struct sh_shared_value v = {.kind = SH_SHARED_NONE};
	size_t need;
	int err = sh_shared_get(&at, check_key(L), &v, NULL, 0, &need);

	if (err == -ENOENT) {
		lua_pushinteger(L, 0);
		return 1;
	}
	if (err == -ENOBUFS || v.kind != SH_SHARED_LIST)
		return push_failure(L, -EINVAL);
	lua_pushinteger(L, (lua_Integer)v.u.length);
	return 1;
}

/* store:lock(key [, timeout]) */
static int lock(lua_State *L)
{
	struct sh_slice name;

	sh_self_check(L, 1, class_name, "store");
	lua_getiuservalue(L, 1, 1);
	name.base = lua_tolstring(L, -1, &name.len);
	lua_pop(L, 1); /* it stays with the object */
	return sh_lock_verb(L, name);
}

/* --- keys -------------------------------------------------------------------------------------------------------- */

struct box {
	char *block;
};

static int box_free(lua_State *L)
{
	struct box *box = lua_touserdata(L, 1);

	sh_free(box->block);
	box->block = NULL;
	return 0;
}

static int keys(lua_State *L)
{
	struct sh_shared_at at = check_at(L);
	struct box *box = lua_newuserdatauv(L, sizeof(*box), 0);
	size_t size, count, offset = 0;

	box->block = NULL;
	luaL_setmetatable(L, "sip.shared.keys");
	if (sh_shared_keys(&at, &box->block, &size, &count))
		return luaL_error(L, "not enough memory");
	sh_vm_charge(L, count * 4);
	lua_newtable(L);
	for (size_t i = 1; i <= count; i++) {
		uint32_t n;

		memcpy(&n, box->block + offset, sizeof(n));
		lua_pushlstring(L, box->block + offset + sizeof(n), n);
		lua_pushboolean(L, true);
		lua_rawset(L, -3);
		offset += sizeof(n) + n;
	}
	sh_free(box->block);
	box->block = NULL;
	sh_sandbox_keys(L, -1); /* sorted: the order of the tables means nothing */
	return 1;
}

static int to_string(lua_State *L)
{
	sh_self_check(L, 1, class_name, "store");
	lua_getiuservalue(L, 1, 1);
	lua_pushfstring(L, "sip.shared: %s", lua_tostring(L, -1));
	return 1;
}

const char *const sh_options_store[] = {"size", "evict", "persist", NULL};

static const struct {
	const char *name;
	enum sh_shared_evict evict;
} evictions[] = {{"refuse", SH_SHARED_REFUSE}, {"oldest", SH_SHARED_OLDEST}};

/* {size=, evict=, persist=} at 2 */
static void configure(lua_State *L, struct sh_shared_store *store)
{
	const struct sh_vm *vm = sh_vm_of(L);
	struct sh_shared_options o = {0};
	struct sh_slice evict;
	unsigned i = 0;
	int err;

	luaL_checktype(L, 2, LUA_TTABLE);
	if (vm->sealed)
		luaL_error(L, "sip.shared: how a store is kept is for the top level of the script");
	sh_opt_known(L, 2, "sip.shared", sh_options_store);
	o.size = (size_t)sh_opt_integer(L, 2, "size", 0, 1024, (lua_Integer)4 << 30);
	o.persist = sh_opt_bool(L, 2, "persist", false);
	evict = sh_opt_text(L, 2, "evict");
	while (i < 2 && evict.base && !sh_slice_eq(evict, sh_slice_cstr(evictions[i].name)))
		i++;
	if (i == 2) {
		luaL_error(L, "option 'evict': \"refuse\" or \"oldest\" expected");
		return;
	}
	o.evict = evictions[i].evict;
	err = sh_shared_configure(vm->shared, store, &o, vm->world.now(vm->world.ctx), vm->world.wall(vm->world.ctx));
	if (err == -ENOENT)
		sh_warn(vm->log, "sip.shared(\"%s\"): it is not kept: the option \"data\" names no folder", lua_tostring(L, 1));
	else if (err)
		sh_error(vm->log, "sip.shared(\"%s\"): what was kept cannot be read: %s", lua_tostring(L, 1), strerror(-err));
}

static int open_store(lua_State *L)
{
	struct sh_slice name = sh_sandbox_check_text(L, 1);
	struct sh_shared_store **store;
	int err;

	lua_settop(L, 2);
	store = lua_newuserdatauv(L, sizeof(*store), 1);
	if (!sh_vm_of(L)->shared)
		return luaL_error(L, "there are no shared stores here");
	err = sh_shared_open(sh_vm_of(L)->shared, name, store);
	luaL_argcheck(L, err != -EINVAL, 1, "the name of a store has 1 to 64 characters");
	if (err)
		return luaL_error(L, err == -ENOSPC ? "too many shared stores" : "not enough memory");
	if (!lua_isnoneornil(L, 2))
		configure(L, *store);
	lua_pushvalue(L, 1);
	lua_setiuservalue(L, -2, 1);
	luaL_setmetatable(L, class_name);
	return 1;
}

void sh_shared_lua_open(lua_State *L)
{
	static const luaL_Reg meta[] = {{"__tostring", to_string}, {NULL, NULL}};
	static const luaL_Reg box_meta[] = {{"__gc", box_free}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
	    {"get", get},   {"set", set}, {"add", add}, {"incr", incr}, {"delete", delete},
	    {"push", push}, {"pop", pop}, {"len", len}, {"keys", keys}, {"lock", lock}, {NULL, NULL},
	};
	static const lua_CFunction waiting[] = {lock, NULL};

	sh_sandbox_class(L, class_name, meta, methods);
	sh_waits_declare_all(L, waiting);
	sh_lock_open(L);
	sh_sandbox_class(L, "sip.shared.keys", box_meta, NULL);
	lua_pushcfunction(L, open_store);
	lua_setfield(L, -2, "shared");
}
