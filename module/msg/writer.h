/* Writing messages by copying slices into a buffer. Errors stick: write everything, look at the end.
 * One thread per writer. */
#ifndef SH_MSG_WRITER_H
#define SH_MSG_WRITER_H

#include "core/addr.h"
#include "msg/msg.h"

struct sh_writer {
	char *base;
	size_t len, cap;
	bool full; /* something did not fit: the result is not to be sent */
	bool typed; /* there is a Content-Type already: sh_put_body() adds none */
};

static inline void sh_writer_init(struct sh_writer *w, char *buf, size_t cap)
{
	*w = (struct sh_writer){buf, 0, cap, false, false};
}

static inline struct sh_slice sh_writer_text(const struct sh_writer *w)
{
	return (struct sh_slice){w->base, w->len};
}

static inline void sh_put(struct sh_writer *w, struct sh_slice s)
{
	if (s.len <= w->cap - w->len) {
		if (s.len)
			memcpy(w->base + w->len, s.base, s.len);
		w->len += s.len;
	} else {
		w->full = true;
	}
}

static inline void sh_put_char(struct sh_writer *w, char c)
{
	if (w->len < w->cap)
		w->base[w->len++] = c;
	else
		w->full = true;
}

#define sh_put_lit(w, s) sh_put((w), SH_LIT(s))

void sh_put_uint(struct sh_writer *w, uint64_t n);
void sh_put_addr(struct sh_writer *w, const struct sh_addr *a); /* host:port */

/* "Name: value\r\n" */
void sh_put_header(struct sh_writer *w, enum sh_header_id id, struct sh_slice value);
void sh_put_header_named(struct sh_writer *w, struct sh_slice name, struct sh_slice value);
void sh_put_header_uint(struct sh_writer *w, enum sh_header_id id, uint64_t n);

/* All fields of that id, one line each, in order, with the long name. */
void sh_put_copy(struct sh_writer *w, const struct sh_msg *m, enum sh_header_id id);

/* "SIP/2.0 180 Ringing\r\n"; an empty reason takes the standard one. Control characters in the reason become spaces. */
void sh_put_status_line(struct sh_writer *w, unsigned code, struct sh_slice reason);
/* "INVITE sip:x SIP/2.0\r\n" */
void sh_put_request_line(struct sh_writer *w, struct sh_slice method, struct sh_slice uri);

/* The head of a response by RFC 3261 8.2.6: status line, every Via (received and rport of the topmost filled in by RFC
 * 3261 18.2.1 and RFC 3581 from `source`), From, To (with ;tag=to_tag when it has none and to_tag is not empty),
 * Call-ID, CSeq; Timestamp in a 100 only. Record-Route is not copied: see sh_put_copy. */
void sh_put_response_head(struct sh_writer *w, const struct sh_msg *request, const struct sh_addr *source,
			  unsigned code, struct sh_slice reason, struct sh_slice to_tag);

/* "Content-Type: ...\r\nContent-Length: n\r\n\r\nbody"; no Content-Type line when the body is empty or type is. */
void sh_put_body(struct sh_writer *w, struct sh_slice content_type, struct sh_slice body);

#endif
