/* Digest authentication as syntax and arithmetic (RFC 7616, RFC 2617, RFC 8760; RFC 3261 22). No state, no time: nonces
 * are made and checked in registrar/nonce.h. Input is size-capped; quoting is undone: "\"alice\"" and alice are
 * the same user. */
#ifndef SH_MSG_DIGEST_H
#define SH_MSG_DIGEST_H

#include "core/arena.h"

/* In the order of sh_hash_alg. */
enum sh_digest_alg { SH_DIGEST_MD5, SH_DIGEST_SHA256, SH_DIGEST_SHA512_256, SH_DIGEST_UNKNOWN };

enum { SH_DIGEST_HEX = 64 }; /* hex digits of the longest digest */

struct sh_digest_hex {
	char text[SH_DIGEST_HEX + 1];
	size_t len; /* 32 or 64 */
};

struct sh_credentials {
	struct sh_slice username, realm, nonce, uri, response, cnonce, opaque, qop; /* unquoted, unescaped */
	uint32_t nc; /* parsed from 8 hex digits; 0 when absent */
	struct sh_slice nc_text;
	enum sh_digest_alg alg; /* MD5 when the parameter is absent */
	bool session;           /* "-sess" */
};

/* Value of Authorization or Proxy-Authorization. Parameters may come in any case, order and quoting; unknown ones are
 * passed over; one of ours twice, or a missing obligatory one, is an error. The texts point into value or arena.
 * 0; -EINVAL: not Digest, or broken; -E2BIG: over 4,000 bytes; -ENOMEM. */
int sh_credentials_parse(struct sh_arena *a, struct sh_slice value, struct sh_credentials *out);

/* A WWW-Authenticate or Proxy-Authenticate value. */
struct sh_challenge {
	struct sh_slice realm, nonce, opaque, qop;
	enum sh_digest_alg alg;
	bool session, stale;
};
int sh_challenge_parse(struct sh_arena *a, struct sh_slice value, struct sh_challenge *out);

struct sh_slice sh_digest_alg_name(enum sh_digest_alg alg); /* "MD5", "SHA-256", "SHA-512-256" */
enum sh_digest_alg sh_digest_alg_lookup(struct sh_slice name);

/* Process-wide set-up of the libraries beneath: a private OpenSSL library context with the digests fetched once, and libosip2
 * (sh_osip_init). 0 or -errno. Any thread, any number of times; sh_digest_finish() frees it when no thread uses it any more. */
int sh_digest_init(void);
void sh_digest_finish(void);
/* That context, for whatever else needs OpenSSL; NULL before the set-up. It outlives every instance: a thread that has
 * drawn random numbers from a context looks at it once more when it ends, so that nobody may free it before. */
struct ossl_lib_ctx_st *sh_digest_library(void);

/* Plain hash of concatenated slices; out gets lower-case hex. 0 or -errno. */
int sh_digest_hash(enum sh_digest_alg alg, const struct sh_slice *parts, size_t n, struct sh_digest_hex *out);

/* Hashes for other purposes: a script's, and that of the WebSocket handshake (RFC 6455 4.2.2). SHA-1 proves nothing any more. */
enum sh_hash_alg { SH_HASH_MD5, SH_HASH_SHA256, SH_HASH_SHA512_256, SH_HASH_SHA1, SH_HASH_SHA384, SH_HASH_SHA512, SH_HASH_COUNT };
enum { SH_HASH_MAX = 64 }; /* octets of the longest */
size_t sh_hash_size(enum sh_hash_alg alg);
/* Of concatenated slices; out has sh_hash_size() octets. 0, -EINVAL (another algorithm) or -ENOMEM. */
int sh_hash_octets(enum sh_hash_alg alg, const struct sh_slice *parts, size_t n, unsigned char *out);

/* H(user:realm:password). */
int sh_digest_ha1(enum sh_digest_alg alg, struct sh_slice user, struct sh_slice realm, struct sh_slice password,
		  struct sh_digest_hex *out);

/* The response value for credentials (qop none, auth or auth-int), given ha1 as hex; for a "-sess" algorithm too: the
 * session's A1 is made here. body only counts for auth-int. 0, -EINVAL (another qop or algorithm) or -ENOMEM. */
int sh_digest_response(const struct sh_credentials *c, struct sh_slice ha1, struct sh_slice method,
		       struct sh_slice body, struct sh_digest_hex *out);

/* Constant-time comparison, case-insensitive hex. */
bool sh_digest_equal(struct sh_slice a, struct sh_slice b);

#endif
