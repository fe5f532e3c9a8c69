#include "core/pool.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "core/alloc.h"

enum { CHUNK = 256 * 1024 };

struct block {
	struct block *next;
};

struct sh_pool_chunk {
	union {
		struct sh_link link; /* in partial or full */
		struct sh_pool_chunk *next; /* spare, or in a stock */
	};
	struct block *free;  /* given back; behind them comes what was never given out */
	char *fresh, *end;
	uint32_t size, live;
};

_Static_assert(sizeof(struct sh_pool_chunk) % SH_POOL_STEP == 0, "blocks are aligned");

void sh_pool_init(struct sh_pool *p, struct sh_pool_stock *stock)
{
	for (size_t i = 0; i < SH_POOL_CLASSES; i++)
		sh_list_init(&p->partial[i]);
	sh_list_init(&p->full);
	p->spare = NULL;
	p->spares = 0;
	p->chunks = 0;
	p->stock = stock;
}

#ifdef SH_ALLOC_FAULTS

void sh_pool_stock_finish(struct sh_pool_stock *s)
{
	(void)s;
}

void sh_pool_finish(struct sh_pool *p)
{
	(void)p;
}

void *sh_pool_alloc(struct sh_pool *p, size_t n)
{
	(void)p;
	return sh_malloc(n);
}

void sh_pool_free(struct sh_pool *p, void *block, size_t n)
{
	(void)p;
	(void)n;
	sh_free(block);
}

void *sh_pool_realloc(struct sh_pool *p, void *block, size_t old, size_t n)
{
	(void)p;
	(void)old;
	return sh_realloc(block, n);
}

#else

static size_t class_of(size_t n)
{
	return n > 0 ? (n - 1) / SH_POOL_STEP : 0;
}

/* ---- chunks ---- */

/* Aligned, by asking for twice as much and giving back both ends. */
static struct sh_pool_chunk *chunk_map(void)
{
	char *at = mmap(NULL, 2 * (size_t)CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t before;

	if (at == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)at & (CHUNK - 1);
	if (before > 0)
		munmap(at, before);
	munmap(at + before + CHUNK, CHUNK - before);
	return (struct sh_pool_chunk *)(void *)(at + before);
}

static struct sh_pool_chunk *stock_take(struct sh_pool_stock *s)
{
	struct sh_pool_chunk *c = s ? s->first : NULL;

	if (c) {
		s->first = c->next;
		s->count--;
	}
	return c;
}

static struct sh_pool_chunk *spare_take(struct sh_pool *p)
{
	struct sh_pool_chunk *c = p->spare;

	if (c) {
		p->spare = c->next;
		p->spares--;
	}
	return c;
}

static struct sh_pool_chunk *chunk_take(struct sh_pool *p)
{
	struct sh_pool_chunk *c = spare_take(p);

	if (c)
		return c;
	c = stock_take(p->stock);
	if (!c)
		c = chunk_map();
	if (c)
		p->chunks++;
	return c;
}

static void chunk_give(struct sh_pool *p, struct sh_pool_chunk *c)
{
	struct sh_pool_stock *s = p->stock;

	p->chunks--;
	if (!s || s->count == SH_POOL_STOCK_MAX) {
		munmap(c, CHUNK);
		return;
	}
	c->next = s->first;
	s->first = c;
	s->count++;
}

void sh_pool_stock_finish(struct sh_pool_stock *s)
{
	struct sh_pool_chunk *c;

	while ((c = stock_take(s)))
		munmap(c, CHUNK);
}

static struct sh_pool_chunk *chunk_create(struct sh_pool *p, size_t class)
{
	struct sh_pool_chunk *c = chunk_take(p);

	if (!c)
		return NULL;
	c->free = NULL;
	c->size = (uint32_t)((class + 1) * SH_POOL_STEP);
	c->live = 0;
	c->fresh = (char *)(c + 1);
	c->end = c->fresh + (CHUNK - sizeof(*c)) / c->size * c->size;
	sh_list_init(&c->link);
	sh_list_append(&p->partial[class], &c->link);
	return c;
}

static struct sh_pool_chunk *chunk_of(void *block)
{
	return (struct sh_pool_chunk *)((uintptr_t)block & ~(uintptr_t)(CHUNK - 1));
}

static void move(struct sh_pool_chunk *c, struct sh_link *to)
{
	sh_list_remove(&c->link);
	sh_list_append(to, &c->link);
}

static void give_all(struct sh_pool *p, struct sh_link *list)
{
	for (struct sh_link *l; (l = sh_list_pop(list)) != NULL;)
		chunk_give(p, SH_CONTAINER(l, struct sh_pool_chunk, link));
}

void sh_pool_finish(struct sh_pool *p)
{
	for (size_t i = 0; i < SH_POOL_CLASSES; i++)
		give_all(p, &p->partial[i]);
	give_all(p, &p->full);
	for (struct sh_pool_chunk *c; (c = spare_take(p)) != NULL;)
		chunk_give(p, c);
}

/* ---- blocks ---- */

void *sh_pool_alloc(struct sh_pool *p, size_t n)
{
	size_t class = class_of(n);
	struct sh_pool_chunk *c;
	void *block;

	if (n > SH_POOL_MAX)
		return sh_malloc(n);
	c = sh_list_empty(&p->partial[class]) ? chunk_create(p, class)
					      : SH_CONTAINER(p->partial[class].next, struct sh_pool_chunk, link);
	if (!c)
		return NULL;
	if (c->free) {
		block = c->free;
		c->free = c->free->next;
	} else {
		block = c->fresh;
		c->fresh += c->size;
	}
	c->live++;
	if (!c->free && c->fresh == c->end)
		move(c, &p->full);
	return block;
}

void sh_pool_free(struct sh_pool *p, void *block, size_t n)
{
	struct sh_pool_chunk *c;
	struct block *b = block;

	if (n > SH_POOL_MAX || !block) {
		sh_free(block);
		return;
	}
	c = chunk_of(block);
	if (!c->free && c->fresh == c->end)
		move(c, &p->partial[class_of(n)]);
	b->next = c->free;
	c->free = b;
	if (--c->live > 0)
		return;
	sh_list_remove(&c->link);
	if (p->spares == SH_POOL_SPARES) {
		chunk_give(p, c);
	} else {
		c->next = p->spare;
		p->spare = c;
		p->spares++;
	}
}

void *sh_pool_realloc(struct sh_pool *p, void *block, size_t old, size_t n)
{
	void *copy;

	if (!block)
		return sh_pool_alloc(p, n);
	if (old > SH_POOL_MAX && n > SH_POOL_MAX)
		return sh_realloc(block, n);
	if (old <= SH_POOL_MAX && n <= SH_POOL_MAX && class_of(old) == class_of(n))
		return block;
	copy = sh_pool_alloc(p, n);
	if (!copy)
		return NULL;
	memcpy(copy, block, old < n ? old : n);
	sh_pool_free(p, block, old);
	return copy;
}

#endif

void *sh_pool_calloc(struct sh_pool *p, size_t n)
{
	void *block = sh_pool_alloc(p, n);

	if (block)
		memset(block, 0, n);
	return block;
}
