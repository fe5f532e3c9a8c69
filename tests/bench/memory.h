#ifndef MEMORY_H
#define MEMORY_H

#include "core/pool.h"

void memory_count(const struct sh_pool *pool); /* what is taken from this one is in use too */
long memory_used(void);                        /* bytes */

#endif
