/* A queue of octets in one piece: appended at the end, taken off the front. Memory grows by doubling and is freed when
 * the buffer is empty. Appending and taking cost linear time in all. One thread. */
#ifndef SH_TRANSPORT_BUFFER_H
#define SH_TRANSPORT_BUFFER_H

#include "core/slice.h"

struct sh_buffer {
	char *base;
	size_t head, len, cap; /* the octets are base[head .. head + len) */
};

static inline struct sh_slice sh_buffer_text(const struct sh_buffer *b)
{
	return sh_slice_make(b->base ? b->base + b->head : NULL, b->len);
}

/* 0 or -ENOMEM; then nothing has changed. */
int sh_buffer_append(struct sh_buffer *b, const char *data, size_t len);
void sh_buffer_take(struct sh_buffer *b, size_t len); /* at most b->len */
void sh_buffer_pack(struct sh_buffer *b);   /* moves what is left to the front: all of the memory is room again */
void sh_buffer_finish(struct sh_buffer *b); /* empties it; it may be used again */

#endif
