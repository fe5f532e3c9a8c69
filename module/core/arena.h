/* A bump arena: memory that is given back all at once, with the lifetime of the thing that it serves (a message, a
 * call in set-up). Error paths just return. One thread at a time. Chunks double up to 64 kB. */
#ifndef SH_CORE_ARENA_H
#define SH_CORE_ARENA_H

#include "core/slice.h"

struct sh_arena_chunk;

struct sh_arena {
	struct sh_arena_chunk *chunks; /* newest first; NULL while empty */
	char *at, *end;                /* free room of the newest chunk */
	size_t first_size;             /* size of the first chunk */
};

void sh_arena_init(struct sh_arena *a, size_t first_size); /* allocates nothing yet */
void sh_arena_finish(struct sh_arena *a);                  /* frees all; the arena may be used again */
void sh_arena_reset(struct sh_arena *a);                   /* empties it but keeps the newest chunk */

/* 16-byte aligned, uninitialised; NULL when memory is out. n = 0 gives a valid pointer. */
void *sh_arena_alloc(struct sh_arena *a, size_t n);
void *sh_arena_calloc(struct sh_arena *a, size_t count, size_t size);

/* Copies; *out is written only on success. 0 or -ENOMEM. The copy has a NUL behind its end (not counted). */
int sh_arena_dup(struct sh_arena *a, struct sh_slice s, struct sh_slice *out);

/* printf into the arena: 0 or -ENOMEM. */
int sh_arena_printf(struct sh_arena *a, struct sh_slice *out, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
