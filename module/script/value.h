/* A deep copy of plain Lua values (nil, booleans, numbers, strings, tables of them) in one block, that belongs to no
 * Lua state: for call.data, sip.after(s, "name", data) and what crosses from worker to worker. Immutable: any thread
 * may read. */
#ifndef SH_SCRIPT_VALUE_H
#define SH_SCRIPT_VALUE_H

#include <lua.h>

#include "core/slice.h"

enum { SH_VALUE_DEPTH = 32, SH_VALUE_MAX = 64 * 1024 };

struct sh_value {
	size_t size;    /* bytes behind this header */
	unsigned count; /* values */
	unsigned char bytes[];
};

/* Copies the `count` values from index `first` on. name ("data") begins the path of a complaint. max in bytes, 0:
 * SH_VALUE_MAX. Never raises. 0; -EINVAL (not plain, a metatable, a cycle, too deep), -E2BIG or -ENOMEM with a text in
 * why[why_len]. */
int sh_value_pack(struct sh_value **out, lua_State *L, int first, unsigned count, size_t max, const char *name,
		  char *why, size_t why_len);

/* The same, but raises the complaint. The caller owns the result and frees it with sh_value_destroy(). */
struct sh_value *sh_value_check(lua_State *L, int first, unsigned count, size_t max, const char *name);

/* Pushes the values; returns their count. v may be NULL: pushes nothing. May raise (memory); v stays the caller's. */
int sh_value_push(lua_State *L, const struct sh_value *v);

struct sh_value *sh_value_dup(const struct sh_value *v); /* NULL: no memory (or v is NULL) */
void sh_value_destroy(struct sh_value *v);               /* NULL is fine */

#endif
