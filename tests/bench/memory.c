/* What the server has in use, in bytes: its allocations are counted on their way (the linker's --wrap), as much as the heap or
 * the pool gives for each. The phones of the virtual network and the memory of Lua are not in it. */
#include "memory.h"

#include <malloc.h>

#include "core/alloc.h"

static long used;
static const struct sh_pool *counted;

void *__real_sh_malloc(size_t n);
void *__real_sh_calloc(size_t count, size_t size);
void *__real_sh_realloc(void *p, size_t n);
void __real_sh_free(void *p);
void *__real_sh_pool_alloc(struct sh_pool *p, size_t n);
void *__real_sh_pool_calloc(struct sh_pool *p, size_t n);
void *__real_sh_pool_realloc(struct sh_pool *p, void *block, size_t old, size_t n);
void __real_sh_pool_free(struct sh_pool *p, void *block, size_t n);

void *__wrap_sh_malloc(size_t n);
void *__wrap_sh_calloc(size_t count, size_t size);
void *__wrap_sh_realloc(void *p, size_t n);
void __wrap_sh_free(void *p);
void *__wrap_sh_pool_alloc(struct sh_pool *p, size_t n);
void *__wrap_sh_pool_calloc(struct sh_pool *p, size_t n);
void *__wrap_sh_pool_realloc(struct sh_pool *p, void *block, size_t old, size_t n);
void __wrap_sh_pool_free(struct sh_pool *p, void *block, size_t n);

long memory_used(void)
{
	return used;
}

void memory_count(const struct sh_pool *pool)
{
	counted = pool;
}

/* With the heap's own word in front of each block. Nothing is counted where instructions are. */
static long heap(void *p)
{
	return p && counted ? (long)(malloc_usable_size(p) + sizeof(size_t)) : 0;
}

void *__wrap_sh_malloc(size_t n)
{
	void *p = __real_sh_malloc(n);

	used += heap(p);
	return p;
}

void *__wrap_sh_calloc(size_t count, size_t size)
{
	void *p = __real_sh_calloc(count, size);

	used += heap(p);
	return p;
}

void *__wrap_sh_realloc(void *p, size_t n)
{
	long before = heap(p);
	void *q = __real_sh_realloc(p, n);

	if (q)
		used += heap(q) - before;
	return q;
}

void __wrap_sh_free(void *p)
{
	used -= heap(p);
	__real_sh_free(p);
}

/* Larger ones go to the heap from inside the pool, which is not seen. */
static long block(const struct sh_pool *p, const void *at, size_t n)
{
	return at && p == counted ? (long)((n + SH_POOL_STEP - 1) / SH_POOL_STEP * SH_POOL_STEP) : 0;
}

void *__wrap_sh_pool_alloc(struct sh_pool *p, size_t n)
{
	void *at = __real_sh_pool_alloc(p, n);

	used += block(p, at, n);
	return at;
}

void *__wrap_sh_pool_calloc(struct sh_pool *p, size_t n)
{
	void *at = __real_sh_pool_calloc(p, n);

	used += block(p, at, n);
	return at;
}

void *__wrap_sh_pool_realloc(struct sh_pool *p, void *from, size_t old, size_t n)
{
	void *at = __real_sh_pool_realloc(p, from, old, n);

	if (at)
		used += block(p, at, n) - block(p, from, old);
	return at;
}

void __wrap_sh_pool_free(struct sh_pool *p, void *at, size_t n)
{
	used -= block(p, at, n);
	__real_sh_pool_free(p, at, n);
}
