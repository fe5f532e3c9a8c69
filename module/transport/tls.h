/* The TLS of an instance, or of one listener (RFC 5246, 8446): its certificates and keys, whom it trusts, and what it
 * asks of peers. Shared by all workers; any thread.
 *
 * A configuration is read into a set, which never changes. Connections begin with the set that is current and keep it
 * until they end, so that a reload disturbs none of them: prepare (slow, on any thread, changes nothing), then commit.
 * Everything is PEM text that the caller has read: nothing here opens a file, but for the system's own authorities. */
#ifndef SH_TRANSPORT_TLS_H
#define SH_TRANSPORT_TLS_H

#include "core/slice.h"

struct sh_tls;
struct sh_tls_set;

enum { SH_TLS_MAX_IDENTITIES = 64 };

/* A certificate with what leads to its authority, and its key. The names say in errors what the texts are. */
struct sh_tls_identity {
	struct sh_slice certificate, key;
	const char *certificate_name, *key_name;
};

enum sh_tls_verify {
	SH_TLS_VERIFY_SERVERS,  /* who we connect to must prove the name that was asked for (RFC 5922 7.3) */
	SH_TLS_VERIFY_NOBODY,   /* no certificate is looked at */
	SH_TLS_VERIFY_OPTIONAL, /* as SERVERS; who connects to us may show a certificate, which then must be good */
	SH_TLS_VERIFY_MUTUAL,   /* as SERVERS; who connects to us must show one */
};

extern const char *const sh_tls_verify_words[]; /* "yes", "no", "optional", "mutual", NULL: in that order */

struct sh_tls_config {
	const struct sh_tls_identity *identities; /* the first is shown to who names no server, or one that we are not */
	unsigned count;                           /* 0: we can connect, but not accept */
	struct sh_slice authorities;              /* empty: the system's */
	const char *authorities_name;
	enum sh_tls_verify verify;
	int64_t now; /* seconds since 1970: a certificate that is not valid then is refused; 0: not looked at */
};

/* After sh_digest_init(). 0, -ENOMEM, -EKEYEXPIRED (the validity only), or -EINVAL, with words in `error`. */
int sh_tls_create(struct sh_tls **out, const struct sh_tls_config *config, char *error, size_t size);
struct sh_tls *sh_tls_ref(struct sh_tls *t); /* NULL is fine */
void sh_tls_unref(struct sh_tls *t);         /* NULL is fine */

/* The same results as create. */
int sh_tls_prepare(struct sh_tls_set **out, struct sh_tls *t, const struct sh_tls_config *config, char *error,
		   size_t size);
void sh_tls_commit(struct sh_tls *t, struct sh_tls_set *set); /* takes the set over */
void sh_tls_set_unref(struct sh_tls_set *s);                  /* one that was not committed; NULL is fine */

/* Connections can be accepted with it. */
bool sh_tls_has_identity(struct sh_tls *t);

#endif
