/* A scanned SIP message: an index into its text, made in one pass without allocation, in time linear in its size.
 *
 * All positions are offsets from `base` (a message has at most 65,535 bytes), so that a message is copied by copying
 * bytes: see sh_msg_clone(). Values are as they came, folding included; leading and trailing white space is not part
 * of a value. The scanner checks what every layer relies on (RFC 3261 7, 8.1.1, 18.3, 20; traps of RFC 4475): start
 * line, header syntax, exactly one From, To, Call-ID, CSeq (and Max-Forwards at most once), the top Via, Content-Length
 * against what came, CSeq method against the request's. Everything else is read when somebody asks.
 *
 * A message is immutable after the scan. Any thread may read it. */
#ifndef SH_MSG_MSG_H
#define SH_MSG_MSG_H

#include <sys/types.h>

#include "core/arena.h"
#include "msg/header.h"

enum {
	SH_MSG_MAX_SIZE = 65535,
	SH_MSG_MAX_HEADERS = 192, /* more header fields than that: 400 */
};

struct sh_span {
	uint16_t off, len;
};

struct sh_header {
	struct sh_span name, value;
	uint8_t id;   /* enum sh_header_id */
	uint8_t next; /* index + 1 of the next header field with the same known id, 0 = none */
};

enum sh_proto {
	SH_PROTO_UDP,
	SH_PROTO_TCP,
	SH_PROTO_TLS,
	SH_PROTO_WS,
	SH_PROTO_WSS,
	SH_PROTO_COUNT,
	SH_PROTO_OTHER = 15, /* what somebody else speaks */
};

/* "UDP", "TCP" ...: the spelling of Via; and of the transport parameter, lower case ("udp", "tls", "ws"). */
struct sh_slice sh_proto_via(enum sh_proto p);
struct sh_slice sh_proto_param(enum sh_proto p);
enum sh_proto sh_proto_lookup(struct sh_slice name); /* any case; SH_PROTO_OTHER when unknown */
static inline bool sh_proto_reliable(enum sh_proto p)
{
	return p != SH_PROTO_UDP;
}
/* Messages end where their Content-Length says; the others come in pieces of their size (RFC 3261 18.3, RFC 7118 5). */
static inline bool sh_proto_framed(enum sh_proto p)
{
	return p == SH_PROTO_TCP || p == SH_PROTO_TLS;
}
static inline uint16_t sh_proto_port(enum sh_proto p) /* default port by RFC 3261 19.1.2, RFC 7118 */
{
	return p == SH_PROTO_TLS ? 5061 : p == SH_PROTO_WS ? 80 : p == SH_PROTO_WSS ? 443 : 5060;
}

struct sh_msg {
	const char *base;
	uint16_t size; /* of the whole message, body included */
	uint8_t is_request;
	uint8_t method;  /* enum sh_method: of the request, or of the response's CSeq */
	uint16_t status; /* of a response */
	struct sh_span method_name, uri, reason;
	struct sh_span body;

	/* The typed fields that every layer needs. Spans of length 0: absent. */
	struct sh_span from_uri, from_tag, to_uri, to_tag, call_id;
	struct sh_span cseq_method;
	uint32_t cseq;
	int16_t max_forwards; /* -1: absent */
	int32_t expires;      /* -1: absent; capped at INT32_MAX */

	/* The topmost Via. */
	struct sh_span via;      /* its whole value, up to the comma or the end of line */
	struct sh_span via_host; /* IPv6 with brackets */
	struct sh_span via_branch;
	struct sh_span via_received;
	uint16_t via_port;             /* 0: none given */
	uint8_t via_proto;             /* enum sh_proto */
	uint8_t via_has_rport;         /* ;rport is there, with or without a value */
	uint16_t via_rport;            /* its value or 0 */
	struct sh_span via_rport_span; /* "rport" or "rport=123", for whoever fills it in */

	uint8_t nheaders;
	uint8_t first[SH_H_COUNT];                    /* index + 1 of the first header field with that id, 0 = none */
	struct sh_header headers[SH_MSG_MAX_HEADERS]; /* only nheaders are valid; must be the last member */
};

/* Scans one whole message (a datagram, or what framing cut out of a stream). data is not changed and must outlive m.
 *
 *   0          a well-formed message
 *   400, 505   a request that cannot be accepted but can be answered with that code: Via, From, To, Call-ID and CSeq
 *              are there to make a response from, even if what is wrong is one of them. *why says what is wrong, with
 *              the header's name ("Bad CSeq", "Several To"). Never for an ACK. Of a field that could not be read
 *              only what stands before the fault has a typed value.
 *   -EBADMSG   drop it: not SIP, a broken response, a broken ACK, or unanswerable; *why says what
 *
 * Lenient where RFC 4475 3.1.1 asks for it. stream: Content-Length and the empty line are obligatory; trailing bytes
 * after the body of a datagram are cut off (RFC 3261 18.3). why may be NULL; it is a static string, written only when
 * the result is not 0. */
int sh_msg_scan(struct sh_msg *m, const char *data, size_t len, bool stream, const char **why);

/* How long the message at the start of a stream buffer is. Positive: its whole length (maybe more than len: wait).
 * 0: the header section is not complete. -EBADMSG: framing is lost (no or broken Content-Length, garbage).
 * -EMSGSIZE: the message is larger than SH_MSG_MAX_SIZE. Leading CRLFs must have been taken off by the caller. */
ssize_t sh_msg_frame(const char *data, size_t len);

/* The same for a buffer that grows: remembers how far it has looked, so that a message which arrives octet by octet
 * still costs linear time. Starts as {0}; set it to {0} again when a message has been taken off the buffer. `data` may
 * move between the calls, but must begin with the same octets. Its answers are those of sh_msg_frame() on the same
 * buffer; an error stays. */
struct sh_framer {
	size_t scanned;     /* the end of the header section is not before here */
	size_t total;       /* length of the message once it is known, else 0 */
	bool start_line_ok; /* the start line has been seen and looks like SIP */
	int error;          /* once framing is lost, else 0 */
};
ssize_t sh_framer_feed(struct sh_framer *f, const char *data, size_t len);

static inline struct sh_slice sh_msg_text(const struct sh_msg *m, struct sh_span s)
{
	return (struct sh_slice){m->base + s.off, s.len};
}

/* Value of the first header field of that id; .base is NULL when there is none (empty values have a base). */
struct sh_slice sh_msg_header(const struct sh_msg *m, enum sh_header_id id);

/* Iterates over the fields of one id: for (i = m->first[id]; i; i = m->headers[i-1].next). */
static inline struct sh_slice sh_msg_value(const struct sh_msg *m, unsigned index_plus_1)
{
	return sh_msg_text(m, m->headers[index_plus_1 - 1].value);
}

/* By name, long or compact, known or not: value of the n-th field (from 0) so named; .base NULL when there is none. */
struct sh_slice sh_msg_find(const struct sh_msg *m, struct sh_slice name, unsigned n);

/* True when any field of that id has the token in its comma separated list ("Supported", "100rel"). */
bool sh_msg_has_token(const struct sh_msg *m, enum sh_header_id id, struct sh_slice token);

/* The topmost Via is the only one: nobody stands between the sender of a request and us (that wrote itself down), and a response is
 * for us. */
bool sh_msg_has_one_via(const struct sh_msg *m);

/* A value with line folds turned into single spaces (returned as it is when there are none). 0 or -ENOMEM. */
int sh_msg_unfold(struct sh_arena *a, struct sh_slice value, struct sh_slice *out);

/* One allocation that holds index and text (only the headers in use); free it with sh_free. NULL: out of memory. */
struct sh_msg *sh_msg_clone(const struct sh_msg *m);

#endif
