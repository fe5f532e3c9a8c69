/* The parts of a multipart body (RFC 2046 5.1, RFC 5621): a session description that comes with an ISUP message, a location or a
 * picture. Slices of the body; nothing is changed. Linear, without allocation; any thread. */
#ifndef SH_MSG_MULTIPART_H
#define SH_MSG_MULTIPART_H

#include "core/slice.h"

struct sh_multipart {
	struct sh_slice boundary;
	struct sh_slice rest; /* behind the boundary that was read last */
};

struct sh_part {
	struct sh_slice headers; /* lines, or empty */
	struct sh_slice body;
};

/* 0; -EINVAL: it is no multipart/..., names no boundary, or the boundary is nowhere in the body. */
int sh_multipart_open(struct sh_multipart *out, struct sh_slice content_type, struct sh_slice body);
/* False behind the last one. The end of the body ends a part too, when no boundary does. */
bool sh_multipart_next(struct sh_multipart *m, struct sh_part *out);
/* The value of one of its header fields; empty: it has none. */
struct sh_slice sh_part_header(const struct sh_part *p, struct sh_slice name);

/* The session description in a body: all of it, or the first part that is application/sdp, also one level down. Empty: none. */
struct sh_slice sh_body_sdp(struct sh_slice content_type, struct sh_slice body);

#endif
