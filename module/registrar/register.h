/* What a registrar does with a REGISTER (RFC 3261 10.3 steps 5 to 8, RFC 3327), from the message to the header fields
 * of its answer. It knows nothing of transactions and scripts. Before it comes: the request's domain is ours (step 1),
 * Require is looked through (2; "path" is understood), the user is who he says and may do this (3, 4).
 * Any thread. */
#ifndef SH_REGISTRAR_REGISTER_H
#define SH_REGISTRAR_REGISTER_H

#include "msg/writer.h"
#include "registrar/location.h"

/* Is the phone behind a NAT? By what the request shows and the endpoint says, or as the caller wants. */
enum sh_register_nat { SH_REGISTER_NAT_AUTO, SH_REGISTER_NAT_ALWAYS, SH_REGISTER_NAT_NEVER };

struct sh_register_options {
	struct sh_slice aor; /* a URI; empty: that of To */
	/* Seconds. Shorter than min_expires (and than an hour) is refused with 423, longer than max_expires is cut. */
	uint32_t min_expires;     /* 0 = 60 */
	uint32_t max_expires;     /* 0 = 3,600 */
	uint32_t default_expires; /* for who does not ask; 0 = 3,600 */
	unsigned max_contacts;    /* of an address of record; 0 = 10 */
	bool replace_oldest;      /* at that limit: instead of 403 */
	enum sh_register_nat nat;
	enum sh_keep keep_alive;
	uint32_t keep_interval; /* seconds */
	uint32_t flow_timer;    /* seconds, told to phones that do outbound (RFC 5626 4.4.1); 0: not told */
	bool require_outbound;  /* who does not do RFC 5626 gets 421 (6, last rule) */
	const struct sh_hash_key *key; /* of GRUUs; NULL: none are given */
	struct sh_random *random;
	void *by;                 /* for the events of the location store */
};

struct sh_register_result {
	unsigned code;                /* the answer: 200, 400, 403, 404, 421, 423, 439, 500 or 503 */
	struct sh_slice reason;       /* its reason phrase: static; empty: the standard one */
	struct sh_slice aor;          /* canonical, in the arena; empty when it did not get so far */
	struct sh_bindings *bindings; /* 200: a reference for the caller; NULL: nothing is bound, or another code */
	struct sh_bindings *replaced; /* 200, with flow_timer: what was bound before, a reference for the caller; NULL: nothing */
	uint32_t min_expires;         /* 423: for Min-Expires */
	bool outbound;                /* 200: RFC 5626 was done; Flow-Timer, if that is not 0 */
	uint32_t flow_timer;
	uint32_t longest;             /* seconds: of the contacts that did so */
	bool gruu;                    /* 200: the client wants GRUUs (RFC 5627) */
	const struct sh_hash_key *key;
	struct sh_random *random;
	struct sh_slice path;         /* 200: Path to be echoed, in the arena; empty: none */
};

/* Texts of the result point into the arena. m must be a REGISTER. d may be NULL. `from` goes into the bindings: phones
 * behind a stream are called by that stream.
 *
 * Decisions that the RFCs leave to us: a Path is stored also when the client does not say that it supports that (RFC
 * 3327 5.3 allows it; a proxy in between needs it to be reached), but echoed only if it does. reg-id counts (RFC 5626
 * 6) when the client talks to us directly or the first Path has "ob"; whoever asks for outbound behind a proxy that
 * cannot do it gets 439. Flow-Timer is told to who has a flow with us, and not with a proxy. A q that is no number counts as none. A binding's texts may have 4,000 bytes together, a User-Agent is cut at 255.
 *
 * 0; or -ENOMEM, and the code is 503. Every other outcome is a code with 0. */
int sh_register_process(struct sh_location *l, struct sh_arena *a, const struct sh_msg *m, const struct sh_path *from,
			const struct sh_domains *d, const struct sh_register_options *o, uint64_t now_wall,
			struct sh_register_result *out);

/* The header fields of the answer, behind those that every response has: 200: a Contact for each binding, Path, Date;
 * 423: Min-Expires. Times left are rounded up. */
void sh_register_put_headers(struct sh_writer *w, const struct sh_register_result *r, uint64_t now_wall);

/* "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n" (RFC 3261 20.17); us since 1970. */
void sh_put_date(struct sh_writer *w, uint64_t wall);

#endif
