#include "core/arena.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/alloc.h"

/* Under AddressSanitizer the free room of a chunk is poisoned, so that a write behind an allocation is seen although
 * the heap knows only the chunk. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(ARENA_ASAN)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define POISON(p, n) ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

enum { ALIGN = 16, CHUNK_MIN = 256, CHUNK_MAX = 64 * 1024 };

struct sh_arena_chunk {
	struct sh_arena_chunk *next;
	size_t size; /* with this header */
};

_Static_assert(sizeof(struct sh_arena_chunk) % ALIGN == 0, "the header keeps the alignment of the heap");

static char *chunk_start(struct sh_arena_chunk *c)
{
	return (char *)(c + 1);
}

static char *chunk_end(struct sh_arena_chunk *c)
{
	return (char *)c + c->size;
}

static struct sh_arena_chunk *chunk_create(size_t size)
{
	struct sh_arena_chunk *c = sh_malloc(size);

	if (!c)
		return NULL;
	c->next = NULL;
	c->size = size;
	POISON(chunk_start(c), size - sizeof(*c));
	return c;
}

static void chunk_destroy(struct sh_arena_chunk *c)
{
	UNPOISON(c, c->size);
	sh_free(c);
}

static void use_chunk(struct sh_arena *a, struct sh_arena_chunk *c)
{
	a->at = chunk_start(c);
	a->end = chunk_end(c);
}

void sh_arena_init(struct sh_arena *a, size_t first_size)
{
	size_t size = first_size < CHUNK_MIN ? CHUNK_MIN : first_size;

	a->chunks = NULL;
	a->at = a->end = NULL;
	a->first_size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

void sh_arena_finish(struct sh_arena *a)
{
	struct sh_arena_chunk *c = a->chunks;

	while (c) {
		struct sh_arena_chunk *next = c->next;
		chunk_destroy(c);
		c = next;
	}
	a->chunks = NULL;
	a->at = a->end = NULL;
}

void sh_arena_reset(struct sh_arena *a)
{
	struct sh_arena_chunk *keep = a->chunks;

	if (!keep)
		return;
	a->chunks = keep->next;
	sh_arena_finish(a);
	keep->next = NULL;
	POISON(chunk_start(keep), keep->size - sizeof(*keep));
	a->chunks = keep;
	use_chunk(a, keep);
}

static size_t next_chunk_size(const struct sh_arena *a)
{
	size_t size;

	if (!a->chunks)
		return a->first_size;
	size = a->chunks->size * 2;
	return size > CHUNK_MAX ? CHUNK_MAX : size;
}

/* n is a multiple of ALIGN that does not fit into the newest chunk. */
static void *alloc_slow(struct sh_arena *a, size_t n)
{
	size_t need = n + sizeof(struct sh_arena_chunk);
	size_t size = next_chunk_size(a);
	struct sh_arena_chunk *c;
	void *p;

	if (need < n)
		return NULL;
	c = chunk_create(need > size ? need : size);
	if (!c)
		return NULL;
	if (need > size && a->chunks) {
		/* A large block of its own stands behind the newest chunk, whose free room stays in use. */
		c->next = a->chunks->next;
		a->chunks->next = c;
		return chunk_start(c);
	}
	c->next = a->chunks;
	a->chunks = c;
	use_chunk(a, c);
	p = a->at;
	a->at += n;
	return p;
}

void *sh_arena_alloc(struct sh_arena *a, size_t n)
{
	size_t room = (size_t)(a->end - a->at);
	size_t rounded;
	void *p;

	if (n > SIZE_MAX - ALIGN)
		return NULL;
	rounded = n > 0 ? (n + ALIGN - 1) & ~(size_t)(ALIGN - 1) : ALIGN;
	if (rounded <= room) {
		p = a->at;
		a->at += rounded;
	} else {
		p = alloc_slow(a, rounded);
		if (!p)
			return NULL;
	}
	UNPOISON(p, n);
	return p;
}

void *sh_arena_calloc(struct sh_arena *a, size_t count, size_t size)
{
	size_t n;
	void *p;

	if (__builtin_mul_overflow(count, size, &n))
		return NULL;
	p = sh_arena_alloc(a, n);
	if (p)
		memset(p, 0, n);
	return p;
}

int sh_arena_dup(struct sh_arena *a, struct sh_slice s, struct sh_slice *out)
{
	char *copy = s.len < SIZE_MAX ? sh_arena_alloc(a, s.len + 1) : NULL;

	if (!copy)
		return -ENOMEM;
	if (s.len > 0)
		memcpy(copy, s.base, s.len);
	copy[s.len] = '\0';
	*out = sh_slice_make(copy, s.len);
	return 0;
}

int sh_arena_printf(struct sh_arena *a, struct sh_slice *out, const char *fmt, ...)
{
	char text[256]; /* most results fit, and are formatted once */
	va_list args, again;
	int n, err;

	va_start(args, fmt);
	va_copy(again, args);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n < 0) {
		err = -ENOMEM;
	} else if ((size_t)n < sizeof(text)) {
		err = sh_arena_dup(a, sh_slice_make(text, (size_t)n), out);
	} else {
		char *p = sh_arena_alloc(a, (size_t)n + 1);
		err = p ? 0 : -ENOMEM;
		if (p) {
			vsnprintf(p, (size_t)n + 1, fmt, again);
			*out = sh_slice_make(p, (size_t)n);
		}
	}
	va_end(again);
	return err;
}
