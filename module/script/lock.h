/* Locks of shared stores: store:lock(key, timeout). One holder at a time among all workers; who waits is served in order. A
 * lock belongs to the run that took it and is given back at the latest when that run ends. */
#ifndef SH_SCRIPT_LOCK_H
#define SH_SCRIPT_LOCK_H

#include <lua.h>

#include "core/hash.h"
#include "core/slice.h"

struct sh_locks;
struct sh_run;

int sh_locks_create(struct sh_locks **out, const struct sh_hash_key *key); /* one per instance. 0 or -ENOMEM */
void sh_locks_destroy(struct sh_locks *l);                                  /* NULL is fine */

/* For a method of a store: object at 1, key at 2, timeout at 3. Waits. A lock, or nil, "timeout". */
int sh_lock_verb(lua_State *L, struct sh_slice store);
void sh_lock_release_all(struct sh_run *r);
void sh_lock_open(lua_State *L); /* the class. May raise */

#endif
