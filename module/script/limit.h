/* How many calls there are under a key (call:limit): one table of the process, all workers. Thread-safe. */
#ifndef SH_SCRIPT_LIMIT_H
#define SH_SCRIPT_LIMIT_H

#include "core/hash.h"

struct sh_limits;
struct sh_limit; /* a key that is in use */

int sh_limits_create(struct sh_limits **out, const struct sh_hash_key *key); /* 0, -ENOMEM or -errno of the lock */
void sh_limits_destroy(struct sh_limits *t);                               /* NULL is fine; nothing is counted any more */

/* One more under key, if there are less than max. 0 and *out; -EAGAIN: there are *count; -ENOMEM. */
int sh_limit_take(struct sh_limits *t, struct sh_slice key, uint64_t max, struct sh_limit **out, uint64_t *count);
void sh_limit_give(struct sh_limit *l);
struct sh_slice sh_limit_key(const struct sh_limit *l); /* while it is taken */

#endif
