#include "core/alloc.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef SH_ALLOC_FAULTS

#include <stdatomic.h>
#include <stdbool.h>

/* The only mutable globals of the core, and only in test builds: a fault must reach every allocation of every thread. */
static atomic_long fail_after = -1; /* -1: never */
static atomic_long asked;

void sh_alloc_fail_after(long skip)
{
	atomic_store(&asked, 0);
	atomic_store(&fail_after, skip);
}

long sh_alloc_count(void)
{
	return atomic_load(&asked);
}

static bool refused(void)
{
	long left = atomic_load(&fail_after);

	atomic_fetch_add(&asked, 1);
	while (left > 0) {
		if (atomic_compare_exchange_weak(&fail_after, &left, left - 1))
			return false;
	}
	return left == 0;
}

#else

#define refused() 0

#endif

void *sh_malloc(size_t n)
{
	return refused() ? NULL : malloc(n > 0 ? n : 1);
}

void *sh_calloc(size_t count, size_t size)
{
	return refused() ? NULL : calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

void *sh_realloc(void *p, size_t n)
{
	return refused() ? NULL : realloc(p, n > 0 ? n : 1);
}

void sh_free(void *p)
{
	free(p);
}

char *sh_strndup(const char *s, size_t n)
{
	char *copy = n < SIZE_MAX ? sh_malloc(n + 1) : NULL;

	if (!copy)
		return NULL;
	if (n > 0)
		memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}
