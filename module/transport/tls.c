/* Sets of contexts, and how one takes the other's place. */
#include "transport/tls_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <openssl/err.h>
#include <openssl/rand.h>

#include "core/alloc.h"
#include "core/hash.h"
#include "msg/digest.h"

/* AES-128 first: it is as good here, and cheaper. */
#define SUITES_13 "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384"

const char *const sh_tls_verify_words[] = {"yes", "no", "optional", "mutual", NULL};

/* ---- contexts ---- */

static int no_memory(char *error, size_t size)
{
	ERR_clear_error();
	snprintf(error, size, "out of memory");
	return -ENOMEM;
}

/* What both sides have in common. The buffers of an idle connection are given back: 34 kB each. */
static SSL_CTX *make_context(OSSL_LIB_CTX *lib, const SSL_METHOD *method)
{
	SSL_CTX *ctx = SSL_CTX_new_ex(lib, NULL, method);

	if (!ctx)
		return NULL;
	if (SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
	    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 || SSL_CTX_set_ciphersuites(ctx, SUITES_13) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	return ctx;
}

/* Sessions of other authorities are not resumed: what they have proven to be is no longer true. */
static int name_sessions(SSL_CTX *ctx, const struct sh_tls_config *c)
{
	const struct sh_hash_key key = {{1, 2}};
	struct sh_slice parts[2] = {c->authorities, {(const char *)&c->verify, sizeof(c->verify)}};
	struct sh_id128 id = sh_hash128_slices(&key, parts, 2);

	return SSL_CTX_set_session_id_context(ctx, (const unsigned char *)&id, sizeof(id)) == 1 ? 0 : -ENOMEM;
}

static int choose_server(SSL *ssl, int *alert, void *arg)
{
	const struct sh_tls_set *s = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert;
	for (unsigned i = 0; name && i < s->count; i++) {
		if (!sh_tls_names_cover(s->servers[i].names, sh_slice_cstr(name)))
			continue;
		SSL_set_SSL_CTX(ssl, s->servers[i].ctx);
		break;
	}
	return SSL_TLSEXT_ERR_OK; /* the first certificate for who names nobody that we know */
}

static int verify_mode(enum sh_tls_verify v)
{
	return v == SH_TLS_VERIFY_MUTUAL     ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT
	       : v == SH_TLS_VERIFY_OPTIONAL ? SSL_VERIFY_PEER
					     : SSL_VERIFY_NONE;
}

static void stamp_one(uint64_t out[3], const char *variable, const char *path)
{
	const char *other = getenv(variable);
	struct stat st;

	if (stat(other ? other : path, &st) < 0)
		return;
	out[0] = (uint64_t)st.st_ino;
	out[1] = (uint64_t)st.st_size;
	out[2] = (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
}

/* Whom the system trusts: read again only when it has changed. */
static void trust_system(SSL_CTX *ctx, struct sh_tls *t)
{
	struct sh_tls_stamp stamp = {0};

	stamp_one(stamp.file, X509_get_default_cert_file_env(), X509_get_default_cert_file());
	stamp_one(stamp.folder, X509_get_default_cert_dir_env(), X509_get_default_cert_dir());
	if (t->system && memcmp(&stamp, &t->system_stamp, sizeof(stamp)) == 0) {
		SSL_CTX_set1_cert_store(ctx, t->system);
		return;
	}
	SSL_CTX_set_default_verify_paths(ctx);
	ERR_clear_error(); /* no authorities on this machine: nobody is trusted */
	X509_STORE_free(t->system);
	t->system = SSL_CTX_get_cert_store(ctx);
	t->system_stamp = stamp;
	if (X509_STORE_up_ref(t->system) != 1)
		t->system = NULL;
}

static int trust(SSL_CTX *ctx, struct sh_tls *t, const struct sh_tls_config *c, bool ask, char *error, size_t size)
{
	if (c->authorities.len > 0)
		return sh_tls_use_authorities(ctx, t->lib, c->authorities, c->authorities_name, ask, error, size);
	trust_system(ctx, t);
	return 0;
}

static int make_server(struct sh_tls *t, struct sh_tls_set *s, const struct sh_tls_config *c, unsigned i, char *error,
		       size_t size)
{
	struct sh_tls_server *server = &s->servers[i];
	int mode = verify_mode(c->verify), err;

	server->ctx = make_context(t->lib, TLS_server_method());
	if (!server->ctx)
		return no_memory(error, size);
	s->count = i + 1;
	err = sh_tls_use_identity(server->ctx, t->lib, &c->identities[i], c->now, error, size);
	if (!err && mode != SSL_VERIFY_NONE)
		err = trust(server->ctx, t, c, true, error, size);
	if (err)
		return err == -ENOMEM ? no_memory(error, size) : err;
	server->names = sh_tls_names(SSL_CTX_get0_certificate(server->ctx), true);
	SSL_CTX_set_verify(server->ctx, mode, NULL);
	SSL_CTX_set_session_cache_mode(server->ctx, SSL_SESS_CACHE_OFF); /* tickets hold all that there is */
	SSL_CTX_set_num_tickets(server->ctx, 1);
	SSL_CTX_set_tlsext_servername_callback(server->ctx, choose_server);
	SSL_CTX_set_tlsext_servername_arg(server->ctx, s);
	if (!server->names || name_sessions(server->ctx, c) < 0 ||
	    SSL_CTX_set_tlsext_ticket_keys(server->ctx, t->ticket_keys, sizeof(t->ticket_keys)) != 1)
		return no_memory(error, size);
	return 0;
}

/* The first identity is also what we show when we connect and are asked. */
static int make_client(struct sh_tls *t, struct sh_tls_set *s, const struct sh_tls_config *c, char *error, size_t size)
{
	bool verify = c->verify != SH_TLS_VERIFY_NOBODY;
	int err = 0;

	s->client = make_context(t->lib, TLS_client_method());
	if (!s->client)
		return no_memory(error, size);
	if (c->count > 0)
		err = sh_tls_use_identity(s->client, t->lib, &c->identities[0], 0, error, size);
	if (!err && verify)
		err = trust(s->client, t, c, false, error, size);
	if (err)
		return err == -ENOMEM ? no_memory(error, size) : err;
	SSL_CTX_set_verify(s->client, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(s->client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(s->client, sh_tls_flow_keep_session);
	return 0;
}

int sh_tls_prepare(struct sh_tls_set **out, struct sh_tls *t, const struct sh_tls_config *c, char *error, size_t size)
{
	struct sh_tls_set *s;
	int err = 0;

	ERR_clear_error(); /* the host may have left something on this thread */
	if (c->count > SH_TLS_MAX_IDENTITIES) {
		snprintf(error, size, "more than %d certificates", SH_TLS_MAX_IDENTITIES);
		return -EINVAL;
	}
	s = sh_calloc(1, sizeof(*s));
	if (!s)
		return no_memory(error, size);
	atomic_init(&s->refs, 1);
	s->verify = c->verify;
	for (unsigned i = 0; i < c->count && !err; i++)
		err = make_server(t, s, c, i, error, size);
	if (!err)
		err = make_client(t, s, c, error, size);
	if (err) {
		sh_tls_set_unref(s);
		return err;
	}
	*out = s;
	return 0;
}

void sh_tls_set_unref(struct sh_tls_set *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	for (unsigned i = 0; i < s->count; i++) {
		SSL_CTX_free(s->servers[i].ctx);
		sh_free(s->servers[i].names);
	}
	SSL_CTX_free(s->client);
	sh_free(s);
}

struct sh_tls_set *sh_tls_set_take(struct sh_tls *t)
{
	struct sh_tls_set *s;

	pthread_mutex_lock(&t->lock);
	s = t->current;
	atomic_fetch_add(&s->refs, 1);
	pthread_mutex_unlock(&t->lock);
	return s;
}

void sh_tls_commit(struct sh_tls *t, struct sh_tls_set *set)
{
	struct sh_tls_set *old;

	pthread_mutex_lock(&t->lock);
	old = t->current;
	t->current = set;
	pthread_mutex_unlock(&t->lock);
	sh_tls_set_unref(old);
}

bool sh_tls_has_identity(struct sh_tls *t)
{
	struct sh_tls_set *s = sh_tls_set_take(t);
	bool has = s->count > 0;

	sh_tls_set_unref(s);
	return has;
}

/* ---- life ---- */

static void destroy(struct sh_tls *t)
{
	sh_tls_set_unref(t->current);
	OPENSSL_cleanse(t->ticket_keys, sizeof(t->ticket_keys));
	BIO_meth_free(t->bio);
	X509_STORE_free(t->system);
	pthread_mutex_destroy(&t->lock);
	sh_free(t);
}

int sh_tls_create(struct sh_tls **out, const struct sh_tls_config *config, char *error, size_t size)
{
	struct sh_tls *t = sh_calloc(1, sizeof(*t));
	int err;

	if (!t)
		return no_memory(error, size);
	if (pthread_mutex_init(&t->lock, NULL) != 0) {
		sh_free(t);
		return no_memory(error, size);
	}
	atomic_init(&t->refs, 1);
	t->lib = sh_digest_library();
	t->bio = t->lib ? sh_tls_flow_bio() : NULL;
	if (!t->bio || RAND_bytes_ex(t->lib, t->ticket_keys, sizeof(t->ticket_keys), 0) != 1)
		err = no_memory(error, size);
	else
		err = sh_tls_prepare(&t->current, t, config, error, size);
	if (err) {
		destroy(t);
		return err;
	}
	*out = t;
	return 0;
}

struct sh_tls *sh_tls_ref(struct sh_tls *t)
{
	if (t)
		atomic_fetch_add(&t->refs, 1);
	return t;
}

void sh_tls_unref(struct sh_tls *t)
{
	if (t && atomic_fetch_sub(&t->refs, 1) == 1)
		destroy(t);
}
