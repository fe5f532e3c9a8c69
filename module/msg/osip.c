#include "msg/osip.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/time.h>

#include <osipparser2/osip_parser.h>

/* The arena of the parse call that this thread is in. libosip2's allocator hook has no context argument, and parsers
 * run on all workers at once, so this is the one thread-local variable of the core. It is set for the duration of a
 * call only and never carries state from one to the next. */
static __thread struct {
	struct sh_arena *arena;
	bool dry; /* it had no memory for something: libosip2 reports that as it likes, or not at all */
} current;

/* realloc must know how much to copy; 16 bytes keep what follows aligned. */
union block {
	size_t size;
	max_align_t align;
};

static void *arena_malloc(size_t size)
{
	union block *b;

	b = current.arena && size <= SIZE_MAX - sizeof(*b) ? sh_arena_alloc(current.arena, sizeof(*b) + size) : NULL;
	if (!b) {
		current.dry = true;
		return NULL;
	}
	b->size = size;
	return b + 1;
}

static void *arena_realloc(void *p, size_t size)
{
	void *copy = arena_malloc(size);

	if (copy && p) {
		size_t old = ((union block *)p - 1)->size;

		memcpy(copy, p, old < size ? old : size);
	}
	return copy;
}

static void arena_free(void *p)
{
	(void)p; /* the arena gives everything back at once */
}

static void no_trace(const char *file, int line, osip_trace_level_t level, const char *format, va_list args)
{
	(void)file;
	(void)line;
	(void)level;
	(void)format;
	(void)args;
}

static int init_result;

static void init(void)
{
	osip_trace_initialize_func(TRACE_LEVEL0, no_trace);
	osip_set_allocators(arena_malloc, arena_realloc, arena_free);
	init_result = parser_init() == OSIP_SUCCESS ? 0 : -EIO;
}

int sh_osip_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init);
	return init_result;
}

struct sh_arena *sh_osip_enter(struct sh_arena *a)
{
	struct sh_arena *before = current.arena;

	current.arena = a;
	current.dry = false;
	return before;
}

void sh_osip_leave(struct sh_arena *before)
{
	current.arena = before;
}

char *sh_osip_text(struct sh_arena *a, struct sh_slice s)
{
	char *text = sh_arena_alloc(a, s.len + SH_OSIP_PADDING);

	if (text) {
		if (s.len)
			memcpy(text, s.base, s.len);
		memset(text + s.len, 0, SH_OSIP_PADDING);
	}
	return text;
}

/* Of the parse call that was just made. */
static int to_errno(int osip_error)
{
	return current.dry ? -ENOMEM : osip_error == OSIP_SUCCESS ? 0 : -EINVAL;
}

int sh_osip_www_authenticate(struct sh_arena *a, struct sh_slice value, struct osip_www_authenticate **out)
{
	char *text = sh_osip_text(a, value);
	struct sh_arena *before;
	osip_www_authenticate_t *parsed;
	int err;

	if (!text)
		return -ENOMEM;
	before = sh_osip_enter(a);
	err = to_errno(osip_www_authenticate_init(&parsed));
	if (!err)
		err = to_errno(osip_www_authenticate_parse(parsed, text));
	sh_osip_leave(before);
	if (!err)
		*out = parsed;
	return err;
}
