#include "script/value.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/alloc.h"
#include "script/vm.h"

/* One octet says what comes; numbers and lengths are in the machine's order, since a record never leaves the process.
 */
enum tag { TAG_NIL, TAG_FALSE, TAG_TRUE, TAG_INTEGER, TAG_FLOAT, TAG_STRING, TAG_TABLE };

/* --- packing ----------------------------------------------------------------------------------------------------- */

/* One table that is being copied; a chain of them on the C stack is the path, and finds cycles. */
struct level {
	const struct level *above;
	const void *table;
	int key; /* stack index of the key that is being looked at */
	unsigned depth;
};

struct packer {
	lua_State *L;
	struct sh_value *value;
	size_t room, max;
	const char *name;
	char *why;
	size_t why_len;
};

static size_t add_text(char *to, size_t size, size_t at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static size_t add_text(char *to, size_t size, size_t at, const char *fmt, ...)
{
	va_list args;
	int n;

	if (at >= size)
		return at;
	va_start(args, fmt);
	n = vsnprintf(to + at, size - at, fmt, args);
	va_end(args);
	return n < 0 ? at : at + (size_t)n < size ? at + (size_t)n : size - 1;
}

static size_t add_key(const struct packer *p, int key, size_t at)
{
	lua_State *L = p->L;

	switch (lua_type(L, key)) {
	case LUA_TSTRING:
		return add_text(p->why, p->why_len, at, ".%.40s", lua_tostring(L, key));
	case LUA_TNUMBER:
		if (lua_isinteger(L, key))
			return add_text(p->why, p->why_len, at, "[%lld]", (long long)lua_tointeger(L, key));
		return add_text(p->why, p->why_len, at, "[%g]", (double)lua_tonumber(L, key));
	default:
		return add_text(p->why, p->why_len, at, "[%s]", luaL_typename(L, key));
	}
}

static size_t add_path(const struct packer *p, const struct level *level, size_t at)
{
	if (!level)
		return add_text(p->why, p->why_len, at, "%s", p->name);
	return add_key(p, level->key, add_path(p, level->above, at));
}

/* "data.peer.fn: what" */
static int complain(const struct packer *p, const struct level *level, const char *what, const char *detail)
{
	size_t at = add_path(p, level, 0);

	add_text(p->why, p->why_len, at, ": %s%s", what, detail);
	return -EINVAL;
}

static int reserve(struct packer *p, size_t n)
{
	size_t need = p->value->size + n, room = p->room;
	struct sh_value *bigger;

	if (need > p->max) {
		add_text(p->why, p->why_len, 0, "%s: larger than %zu bytes", p->name, p->max);
		return -E2BIG;
	}
	while (room < need)
		room *= 2;
	if (room == p->room)
		return 0;
	bigger = sh_realloc(p->value, sizeof(*bigger) + room);
	if (!bigger) {
		add_text(p->why, p->why_len, 0, "%s: not enough memory", p->name);
		return -ENOMEM;
	}
	p->value = bigger;
	p->room = room;
	return 0;
}

static int put(struct packer *p, enum tag tag, const void *bytes, size_t n)
{
	int err = reserve(p, n + 1);

	if (err)
		return err;
	p->value->bytes[p->value->size++] = (unsigned char)tag;
	if (n > 0)
		memcpy(p->value->bytes + p->value->size, bytes, n);
	p->value->size += n;
	return 0;
}

static int put_string(struct packer *p, int idx)
{
	size_t len;
	const char *s = lua_tolstring(p->L, idx, &len);
	uint32_t n = (uint32_t)len;
	int err;

	if (len > p->max)
		n = UINT32_MAX; /* reserve() refuses */
	err = reserve(p, sizeof(n) + 1 + (size_t)n);
	if (err)
		return err;
	put(p, TAG_STRING, &n, sizeof(n)); /* there is room */
	memcpy(p->value->bytes + p->value->size, s, len);
	p->value->size += len;
	return 0;
}

static int pack(struct packer *p, int idx, const struct level *level);

static int pack_table(struct packer *p, int idx, const struct level *above)
{
	lua_State *L = p->L;
	struct level level = {above, lua_topointer(L, idx), 0, above ? above->depth + 1 : 1};
	uint32_t count = 0;
	size_t at;
	int err;

	for (const struct level *l = above; l; l = l->above)
		if (l->table == level.table)
			return complain(p, above, "a table that contains itself", "");
	if (level.depth > SH_VALUE_DEPTH)
		return complain(p, above, "tables nested too deep", "");
	if (lua_getmetatable(L, idx)) {
		lua_pop(L, 1);
		return complain(p, above, "a table with a metatable", "");
	}
	if (!lua_checkstack(L, 4))
		return complain(p, above, "no room on the stack", "");
	err = put(p, TAG_TABLE, &count, sizeof(count));
	if (err)
		return err;
	at = p->value->size - sizeof(count);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		level.key = lua_gettop(L) - 1;
		if (lua_type(L, level.key) == LUA_TTABLE)
			err = complain(p, &level, "a table as key", "");
		else
			err = pack(p, level.key, &level);
		if (!err)
			err = pack(p, level.key + 1, &level);
		if (err) {
			lua_pop(L, 2);
			return err;
		}
		lua_pop(L, 1);
		count++;
	}
	memcpy(p->value->bytes + at, &count, sizeof(count));
	return 0;
}

static int pack(struct packer *p, int idx, const struct level *level)
{
	lua_State *L = p->L;
	lua_Integer i;
	lua_Number n;

	switch (lua_type(L, idx)) {
	case LUA_TNIL:
		return put(p, TAG_NIL, NULL, 0);
	case LUA_TBOOLEAN:
		return put(p, lua_toboolean(L, idx) ? TAG_TRUE : TAG_FALSE, NULL, 0);
	case LUA_TNUMBER:
		if (lua_isinteger(L, idx)) {
			i = lua_tointeger(L, idx);
			return put(p, TAG_INTEGER, &i, sizeof(i));
		}
		n = lua_tonumber(L, idx);
		return put(p, TAG_FLOAT, &n, sizeof(n));
	case LUA_TSTRING:
		return put_string(p, idx);
	case LUA_TTABLE:
		return pack_table(p, idx, level);
	default:
		return complain(p, level, "cannot keep a ", luaL_typename(L, idx));
	}
}

int sh_value_pack(struct sh_value **out, lua_State *L, int first, unsigned count, size_t max, const char *name,
		  char *why, size_t why_len)
{
	struct packer p = {L, NULL, 64, max ? max : SH_VALUE_MAX, name, why, why_len};
	int err = 0, top = lua_gettop(L);

	if (p.max > UINT32_MAX / 2)
		p.max = UINT32_MAX / 2;
	if (why_len > 0)
		why[0] = '\0';
	first = lua_absindex(L, first);
	p.value = sh_malloc(sizeof(*p.value) + p.room);
	if (!p.value) {
		add_text(why, why_len, 0, "%s: not enough memory", name);
		return -ENOMEM;
	}
	p.value->size = 0;
	p.value->count = count;
	for (unsigned i = 0; i < count && !err; i++)
		err = pack(&p, first + (int)i, NULL);
	lua_settop(L, top);
	if (err) {
		sh_vm_of(L)->counts->values += err == -E2BIG;
		sh_free(p.value);
		return err;
	}
	*out = p.value;
	return 0;
}

struct sh_value *sh_value_check(lua_State *L, int first, unsigned count, size_t max, const char *name)
{
	struct sh_value *v = NULL;
	char why[256];

	if (sh_value_pack(&v, L, first, count, max, name, why, sizeof(why)))
		luaL_error(L, "%s", why);
	return v;
}

/* --- unpacking --------------------------------------------------------------------------------------------------- */

static const unsigned char *take(void *to, const unsigned char *at, size_t n)
{
	memcpy(to, at, n);
	return at + n;
}

/* Pushes one value and gives the place behind it. A record is ours, so it is well-formed. */
static const unsigned char *unpack(lua_State *L, const unsigned char *at)
{
	enum tag tag = *at++;
	lua_Integer i;
	lua_Number n;
	uint32_t count;

	switch (tag) {
	case TAG_NIL:
		lua_pushnil(L);
		break;
	case TAG_FALSE:
	case TAG_TRUE:
		lua_pushboolean(L, tag == TAG_TRUE);
		break;
	case TAG_INTEGER:
		at = take(&i, at, sizeof(i));
		lua_pushinteger(L, i);
		break;
	case TAG_FLOAT:
		at = take(&n, at, sizeof(n));
		lua_pushnumber(L, n);
		break;
	case TAG_STRING:
		at = take(&count, at, sizeof(count));
		lua_pushlstring(L, (const char *)at, count);
		at += count;
		break;
	case TAG_TABLE:
		at = take(&count, at, sizeof(count));
		luaL_checkstack(L, 4, NULL);
		if (count > 0 && *at == TAG_INTEGER) /* a list */
			lua_createtable(L, (int)count, 0);
		else
			lua_createtable(L, 0, (int)count);
		while (count-- > 0) {
			at = unpack(L, at);
			at = unpack(L, at);
			lua_rawset(L, -3);
		}
		break;
	}
	return at;
}

int sh_value_push(lua_State *L, const struct sh_value *v)
{
	const unsigned char *at;

	if (!v)
		return 0;
	luaL_checkstack(L, (int)v->count + 1, NULL);
	at = v->bytes;
	for (unsigned i = 0; i < v->count; i++)
		at = unpack(L, at);
	return (int)v->count;
}

struct sh_value *sh_value_dup(const struct sh_value *v)
{
	struct sh_value *copy = v ? sh_malloc(sizeof(*v) + v->size) : NULL;

	if (copy)
		memcpy(copy, v, sizeof(*v) + v->size);
	return copy;
}

void sh_value_destroy(struct sh_value *v)
{
	sh_free(v);
}
