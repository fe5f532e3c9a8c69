/* What the files of the scanner share: the message in the making and the first thing found wrong with it.
 * Private to msg/. */
#ifndef SH_MSG_SCAN_H
#define SH_MSG_SCAN_H

#include "msg/lex.h"
#include "msg/msg.h"

struct sh_scan {
	struct sh_msg *m;
	const char *at, *end; /* what is not read yet */
	int code;             /* of the first error, 0 = none so far */
	const char *why;
	uint32_t content_length;
	bool has_content_length;
};

/* The first error wins: it is the one that the sender should hear of. */
static inline void sh_scan_fail(struct sh_scan *s, int code, const char *why)
{
	if (!s->code) {
		s->code = code;
		s->why = why;
	}
}

/* "Bad NAME": the header field cannot be read. */
void sh_scan_bad(struct sh_scan *s, enum sh_header_id id);

static inline struct sh_span sh_scan_span(const struct sh_scan *s, struct sh_slice text)
{
	if (!text.base)
		return (struct sh_span){0, 0};
	return (struct sh_span){(uint16_t)(text.base - s->m->base), (uint16_t)text.len};
}

/* Reads a header field into the typed fields of the message; `again`: there was one with this id before. */
void sh_scan_typed(struct sh_scan *s, enum sh_header_id id, struct sh_slice value, bool again);

#endif
