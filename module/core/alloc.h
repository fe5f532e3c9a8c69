/* The one door to the heap. Every allocation of the module goes through here, so that the allocation sweep of the
 * tests can make the 1st, 2nd, 3rd ... one fail, and so that a failure is an answer (503) and never a crash.
 * Any thread. All of them may return NULL. */
#ifndef SH_CORE_ALLOC_H
#define SH_CORE_ALLOC_H

#include <stddef.h>

void *sh_malloc(size_t n);
void *sh_calloc(size_t count, size_t size);
void *sh_realloc(void *p, size_t n); /* n > 0; on failure p stays valid */
void sh_free(void *p);               /* NULL is fine */
char *sh_strndup(const char *s, size_t n); /* n bytes and a NUL */

#ifdef SH_ALLOC_FAULTS
/* Test builds: after `skip` more successful allocations every allocation fails until called again with -1. */
void sh_alloc_fail_after(long skip);
/* How many allocations have been asked for since the last sh_alloc_fail_after(). */
long sh_alloc_count(void);
#endif

#endif
