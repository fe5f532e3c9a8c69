#include "transport/buffer.h"

#include <errno.h>

#include "core/alloc.h"

enum { BUFFER_FIRST = 1024 };

/* Room at the end. What was taken off the front is used again once it is at least half of the memory, so that each
 * octet is moved once on average. */
static int make_room(struct sh_buffer *b, size_t len)
{
	size_t cap = b->cap ? b->cap : BUFFER_FIRST;
	char *base;

	if (b->len + len <= b->cap && b->head >= b->cap / 2) {
		sh_buffer_pack(b);
		return 0;
	}
	while (cap < b->len + len)
		cap *= 2;
	if (b->cap && cap == b->cap)
		cap *= 2; /* there would be room, but moving costs as much as growing */
	base = sh_malloc(cap);
	if (!base)
		return -ENOMEM;
	if (b->len)
		memcpy(base, b->base + b->head, b->len);
	sh_free(b->base);
	*b = (struct sh_buffer){.base = base, .len = b->len, .cap = cap};
	return 0;
}

int sh_buffer_append(struct sh_buffer *b, const char *data, size_t len)
{
	int err;

	if (len == 0)
		return 0;
	if (b->cap - b->head - b->len < len) {
		err = make_room(b, len);
		if (err)
			return err;
	}
	memcpy(b->base + b->head + b->len, data, len);
	b->len += len;
	return 0;
}

void sh_buffer_take(struct sh_buffer *b, size_t len)
{
	b->head += len;
	b->len -= len;
	if (b->len == 0)
		sh_buffer_finish(b);
}

void sh_buffer_pack(struct sh_buffer *b)
{
	if (b->head == 0)
		return;
	memmove(b->base, b->base + b->head, b->len);
	b->head = 0;
}

void sh_buffer_finish(struct sh_buffer *b)
{
	sh_free(b->base);
	*b = (struct sh_buffer){0};
}
