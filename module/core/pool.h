/* Small blocks for one worker or one Lua state: what comes and goes by the thousand and is all of a few sizes. Against
 * malloc: no header in front of a block, neighbours of one size (a million transactions that wait for the end of timer J
 * are a million times 272 bytes), a dozen instructions for each operation, and everything back at once in the end.
 *
 * Chunks of 256 kB, aligned to their size, each for one class of sizes; pages that nothing was put into are never touched. A
 * chunk that became empty goes back to the system, but for a few that are kept: a class of which little is in use has none now and
 * one again a moment later. One thread at a time; not for objects that
 * another thread frees.
 *
 * Test builds (SH_ALLOC_FAULTS) take each block from sh_malloc(), so that the allocation sweep and the sanitizers see it. */
#ifndef SH_CORE_POOL_H
#define SH_CORE_POOL_H

#include <stddef.h>

#include "core/list.h"

enum { SH_POOL_STEP = 16, SH_POOL_MAX = 2048, SH_POOL_CLASSES = SH_POOL_MAX / SH_POOL_STEP, SH_POOL_SPARES = 8 };

struct sh_pool_chunk;

/* Empty chunks for the pools of one thread that come and go, a thousand worlds of tests for example: their pages stay. */
struct sh_pool_stock {
	struct sh_pool_chunk *first;
	size_t count;
};
enum { SH_POOL_STOCK_MAX = 256 };

struct sh_pool {
	struct sh_link partial[SH_POOL_CLASSES]; /* chunks that have room, by class */
	struct sh_link full;                     /* those that have none */
	struct sh_pool_chunk *spare;             /* the one that became empty last */
	unsigned spares;
	size_t chunks; /* in use or spare */
	struct sh_pool_stock *stock; /* NULL: the system */
};

void sh_pool_init(struct sh_pool *p, struct sh_pool_stock *stock); /* allocates nothing yet */
void sh_pool_finish(struct sh_pool *p); /* gives back all memory, whatever is in use; blocks over SH_POOL_MAX are malloc's */

/* A stock begins as {0} and outlives its pools; what is in it goes back to the system. */
void sh_pool_stock_finish(struct sh_pool_stock *s);

/* 16-byte aligned, uninitialised (calloc: zeroed); NULL when memory is out. n = 0 gives a valid pointer. */
void *sh_pool_alloc(struct sh_pool *p, size_t n);
void *sh_pool_calloc(struct sh_pool *p, size_t n);
/* n is what the block was asked for with. NULL is fine. */
void sh_pool_free(struct sh_pool *p, void *block, size_t n);
/* As realloc(): NULL leaves the block as it was, also when it was to shrink. */
void *sh_pool_realloc(struct sh_pool *p, void *block, size_t old, size_t n);

#endif
