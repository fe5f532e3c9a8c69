/* What the TLS files share: tls.c (contexts, reload), tls_identity.c (certificates and keys out of PEM text),
 * tls_names.c (whom a certificate names), tls_flow.c (one connection). Private to transport/. */
#ifndef SH_TRANSPORT_TLS_IMPL_H
#define SH_TRANSPORT_TLS_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include <openssl/ssl.h>

#include "transport/tls.h"

enum { SH_TLS_ERROR = 256 }; /* octets of an explanation */

/* One certificate of ours as a server. */
struct sh_tls_server {
	SSL_CTX *ctx;
	char *names; /* see tls_names.c; wildcards in it stand for one label (RFC 6125 6.4.3) */
};

struct sh_tls_set {
	_Atomic unsigned refs;
	struct sh_tls_server servers[SH_TLS_MAX_IDENTITIES];
	unsigned count;
	SSL_CTX *client;
	enum sh_tls_verify verify;
};

/* What is known of a file and a folder without reading them. */
struct sh_tls_stamp {
	uint64_t file[3], folder[3]; /* inode, size, nanoseconds of its last change */
};

struct sh_tls {
	_Atomic unsigned refs;
	OSSL_LIB_CTX *lib; /* sh_digest_library() */
	BIO_METHOD *bio;
	unsigned char ticket_keys[80]; /* outlive a reload: sessions can be resumed after it (RFC 5077) */
	pthread_mutex_t lock;          /* of `current`; held for a few instructions, when a connection begins */
	struct sh_tls_set *current;
	/* Of who prepares: whom the system trusts, a hundred certificates and more that take tens of milliseconds to read. */
	X509_STORE *system;
	struct sh_tls_stamp system_stamp;
};

struct sh_tls_set *sh_tls_set_take(struct sh_tls *t); /* the current one, for the caller to unref */

/* ---- tls_flow.c ---- */

BIO_METHOD *sh_tls_flow_bio(void); /* NULL: no memory */
int sh_tls_flow_keep_session(SSL *ssl, SSL_SESSION *session);

/* ---- tls_identity.c ---- */

/* 0, -ENOMEM, -EKEYEXPIRED or -EINVAL, with words. */
int sh_tls_use_identity(SSL_CTX *ctx, OSSL_LIB_CTX *lib, const struct sh_tls_identity *id, int64_t now, char *error,
			size_t size);
int sh_tls_use_authorities(SSL_CTX *ctx, OSSL_LIB_CTX *lib, struct sh_slice pem, const char *name, bool ask,
			   char *error, size_t size);
/* The oldest error of this thread's queue in words, and the queue emptied. */
const char *sh_tls_reason(char buf[SH_TLS_ERROR]);

/* ---- tls_names.c: a list of names is text: each one with a NUL behind it, and an empty one at the end ---- */

/* The SIP domain identities of a certificate (RFC 5922 7.1) in lower case, and its IP addresses; all: DNS names also
 * when there are SIP URIs. certificate may be NULL. NULL: no memory. */
char *sh_tls_names(X509 *certificate, bool all);
/* As a whole, in any case (RFC 5922 7.2). */
bool sh_tls_names_have(const char *names, struct sh_slice name);
/* The same, with wildcards: whom a server certificate of ours is good for. */
bool sh_tls_names_cover(const char *names, struct sh_slice name);

#endif
