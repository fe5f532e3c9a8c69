/* Nonces of digest authentication (RFC 7616 5.4), as text that proves itself and as a table of those in use.
 * Private to registrar/; any thread.
 *
 * The text is base64url of: time made (8 octets) | serial number (8) | SipHash-2-4-128 of both, the realm and the source. The
 * serial is random, so that it serves as hash in the table as well; whoever cannot make the code cannot choose it. (A keyed
 * code of 128 bits is all that is wanted here, and HMAC-SHA-256 costs ten times as much as the rest of a challenge.)
 *
 * A nonce costs memory only from its first use with a right password on. What leaves the table, because its time is
 * over or to make room, raises a watermark: a nonce not younger than that and not in the table may have been used, and
 * is stale. So a count is never accepted twice, however small the table is. */
#ifndef SH_REGISTRAR_NONCE_H
#define SH_REGISTRAR_NONCE_H

#include <pthread.h>

#include "core/hash.h"
#include "core/list.h"

enum { SH_NONCE_TEXT = 43, SH_NONCE_STRIPES = 16 };

struct sh_nonce {
	uint64_t made; /* us since 1970 */
	uint64_t serial;
};

/* source: octets that tell who may use it; empty: anybody. */
void sh_nonce_write(const struct sh_hash_key *secret, struct sh_slice realm, struct sh_slice source, const struct sh_nonce *n,
		    char out[SH_NONCE_TEXT]);

/* 0; -EINVAL: not of this form; -EBADMSG: of this form, but not made with this secret for this realm and source. */
int sh_nonce_read(const struct sh_hash_key *secret, struct sh_slice realm, struct sh_slice source, struct sh_slice text,
		  struct sh_nonce *out);

/* What stands in a text that sh_nonce_read() has accepted before. 0 or -EINVAL. */
int sh_nonce_decode(struct sh_slice text, struct sh_nonce *out);

struct sh_nonce_stripe {
	pthread_mutex_t lock;
	struct sh_hash used;
	struct sh_link by_age; /* first used first */
	uint64_t watermark;    /* us since 1970 */
};

struct sh_nonce_table {
	uint64_t lifetime; /* us */
	size_t max_per_stripe;
	struct sh_nonce_stripe stripes[SH_NONCE_STRIPES];
};

int sh_nonce_table_init(struct sh_nonce_table *t, unsigned max, uint64_t lifetime); /* 0 or -errno */
void sh_nonce_table_finish(struct sh_nonce_table *t);

/* True: not over its time yet. Workers' clocks may differ by a turn of their loops. */
bool sh_nonce_fresh(const struct sh_nonce_table *t, const struct sh_nonce *n, uint64_t now);

/* Uses a nonce with a nonce count (0 for RFC 2069, which has none: once only). False: stale, or this count has been
 * used (counts more than 63 below the highest count as used), or memory is out. */
bool sh_nonce_use(struct sh_nonce_table *t, const struct sh_nonce *n, uint32_t nc, uint64_t now);

/* Those in use, as bytes for another table (of another process, with the same secret): what is used there is used here. Without memory
 * for some they become stale. */
struct sh_nonce_record {
	uint64_t made, serial, seen; /* seen 0: no nonce, but the watermark of the stripe of `serial` */
	uint64_t highest;
};
void sh_nonce_table_each(struct sh_nonce_table *t, void (*fn)(void *ctx, const struct sh_nonce_record *r), void *ctx);
void sh_nonce_table_put(struct sh_nonce_table *t, const struct sh_nonce_record *r);

#endif
