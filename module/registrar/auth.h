/* The digest server: challenges and their nonces (RFC 7616, RFC 8760, RFC 3261 22). Process-wide, thread-safe.
 *
 * A nonce carries its time, a serial number and a code under a secret of the process: it cannot be forged and costs no
 * memory until somebody proves to know a password with it. From then on the highest nonce count (and a window of 64
 * below) is kept, so that a replay is stale; when that table is full the oldest entries go and every nonce as old as
 * they are becomes stale. */
#ifndef SH_REGISTRAR_AUTH_H
#define SH_REGISTRAR_AUTH_H

#include "core/env.h"
#include "msg/digest.h"
#include "msg/writer.h"

struct sh_auth;

struct sh_auth_config {
	uint64_t nonce_lifetime; /* us; 0 = 300 s */
	unsigned max_nonces;     /* in use at once; 0 = 262,144 */
	bool credulous;          /* for replays of calls: well-formed credentials are right, whatever the nonce and the password */
};

/* 0, -ENOMEM or what the system's lock says. random is used during the call only. sh_digest_init() comes before. */
int sh_auth_create(struct sh_auth **out, struct sh_random *random, const struct sh_auth_config *config);
void sh_auth_destroy(struct sh_auth *a); /* NULL is fine */

/* For another process that goes on with our nonces: the secret, and those in use (registrar/nonce.h). */
struct sh_nonce_record;
struct sh_hash_key sh_auth_secret(const struct sh_auth *a);
void sh_auth_set_secret(struct sh_auth *a, const struct sh_hash_key *secret);
void sh_auth_each_nonce(struct sh_auth *a, void (*fn)(void *ctx, const struct sh_nonce_record *r), void *ctx);
void sh_auth_put_nonce(struct sh_auth *a, const struct sh_nonce_record *r);

/* Writes one WWW-Authenticate (proxy: Proxy-Authenticate) line per algorithm, best first as given (RFC 8760 2.3), all
 * with one nonce. When memory is out the writer is left full. */
struct sh_auth_challenge {
	struct sh_slice realm;
	const enum sh_digest_alg *algs;
	unsigned nalgs;
	bool proxy, stale;
	bool no_qop; /* for RFC 2069 peers; normally qop="auth" */
	struct sh_slice source; /* octets; the nonce is good for this source only; empty: for those without one */
};
void sh_auth_put_challenge(struct sh_auth *a, struct sh_random *random, uint64_t now_wall,
			   const struct sh_auth_challenge *c, struct sh_writer *w);

enum sh_auth_verdict {
	SH_AUTH_NONE,            /* no credentials for that realm: challenge */
	SH_AUTH_PASSWORD_NEEDED, /* credentials are well-formed and the nonce is good: give the secret to sh_auth_check
				  */
	SH_AUTH_OK,
	SH_AUTH_STALE,  /* old or replayed nonce, or one of an earlier process: challenge with stale=true */
	SH_AUTH_WRONG,  /* wrong password or unknown user: a fresh challenge */
	SH_AUTH_BAD,    /* malformed: 400 */
	SH_AUTH_FAILED, /* out of memory: 503 */
};

/* Finds the credentials of a request for that realm (several Authorization lines are searched, best algorithm among
 * algs first). Texts in c point into arena or message; c is written with PASSWORD_NEEDED only. Whether its uri
 * parameter is one of ours (RFC 7616 3.4.6) the caller looks at, who knows our domains. Old nonces are STALE at once, whatever the
 * password: no password needs to be looked up for them, and a wrong one is found out with the next nonce (RFC 7616 3.3
 * allows it). So are those that another source was given. Something that is no nonce of ours at all counts as no
 * credentials. */
enum sh_auth_verdict sh_auth_find(struct sh_auth *a, struct sh_arena *arena, const struct sh_msg *m,
				  struct sh_slice source, bool proxy, struct sh_slice realm, const enum sh_digest_alg *algs, unsigned nalgs,
				  uint64_t now_wall, struct sh_credentials *c);

/* Verifies what sh_auth_find found with the password (or, is_ha1, the hex of H(user:realm:password) of c's algorithm).
 * A NULL base means an unknown user: the same time is spent. OK, STALE, WRONG, BAD (a qop that nobody offered), FAILED.
 * Costs three hashes (is_ha1: two); a nonce count that was OK is not OK again. */
enum sh_auth_verdict sh_auth_check(struct sh_auth *a, const struct sh_msg *m, const struct sh_credentials *c,
				   struct sh_slice secret, bool is_ha1, uint64_t now_wall);

#endif
