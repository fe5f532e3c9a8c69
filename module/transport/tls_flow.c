/* TLS on one connection. OpenSSL reads what the driver brought through a BIO that points at it, and writes into the
 * queue of the connection, which goes out at the end of the turn: nothing is copied for its own sake, an idle
 * connection holds no buffer, and no socket is ever seen here.
 *
 *   accepted, or TCP connected --> handshake --> ready --> shut
 *                                     |
 *                                     +-- alert, a line in the log, end */
#include "transport/impl.h"
#include "transport/tls_impl.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

enum {
	PLAIN_MAX = 16384, /* of one record (RFC 8446 5.1) */
	SESSIONS = 256,
};

struct sh_tls_flow {
	SSL *ssl;
	struct sh_tls_set *set;
	struct sh_slice in;      /* what has come and is not read yet */
	struct sh_buffer plain;  /* what shall be sent: at the end of the turn, or of the handshake */
	char *names;             /* what the peer has proven to be, when it is over; NULL: nothing */
	bool over;               /* the handshake, well or not: it is counted */
};

/* A session that can be resumed with a server. */
struct sh_tls_session {
	SSL_SESSION *session; /* NULL: free */
	struct sh_addr remote;
	uint32_t domain;
	struct sh_tls_set *set; /* only compared: sessions of an old set are of no use */
};

/* Looking is much cheaper than clearing, and there is rarely anything: of the host, on its own thread. */
static void clear_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

/* ---- the BIO ---- */

static int bio_read(BIO *bio, char *out, size_t len, size_t *done)
{
	struct sh_flow *f = BIO_get_data(bio);
	struct sh_slice *in = &f->tls->in;

	BIO_clear_retry_flags(bio);
	if (in->len == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	*done = len < in->len ? len : in->len;
	memcpy(out, in->base, *done);
	*in = sh_slice_make(in->base + *done, in->len - *done);
	return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *done)
{
	struct sh_flow *f = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (sh_stream_put(f, sh_slice_make(data, len)) < 0)
		return 0;
	*done = len;
	return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio, (void)number, (void)pointer;
	return command == BIO_CTRL_FLUSH; /* the turn's end sees to it */
}

BIO_METHOD *sh_tls_flow_bio(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "siphook");

	if (!m)
		return NULL;
	BIO_meth_set_read_ex(m, bio_read);
	BIO_meth_set_write_ex(m, bio_write);
	BIO_meth_set_ctrl(m, bio_control);
	return m;
}

/* ---- sessions (RFC 8446 2.2, RFC 5077) ---- */

/* One per place: what falls on the same place takes it. */
static struct sh_tls_session *session_place(struct sh_flow *f)
{
	struct sh_transport *t = f->t;
	struct sh_slice parts[2] = {sh_addr_bytes(&f->remote), {(const char *)&f->domain, sizeof(f->domain)}};

	if (!t->sessions)
		t->sessions = sh_calloc(SESSIONS, sizeof(*t->sessions));
	return t->sessions ? &t->sessions[sh_hash_slices(&t->env->key, parts, 2) % SESSIONS] : NULL;
}

static void resume_session(struct sh_flow *f)
{
	struct sh_tls_session *s = session_place(f);

	if (s && s->session && s->set == f->tls->set && s->domain == f->domain && sh_addr_eq(&s->remote, &f->remote))
		SSL_set_session(f->tls->ssl, s->session);
}

/* Called by OpenSSL when the server has given us a ticket. 1: we keep the reference. */
int sh_tls_flow_keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct sh_flow *f = SSL_get_app_data(ssl);
	struct sh_tls_session *s = session_place(f);

	if (!s)
		return 0;
	SSL_SESSION_free(s->session);
	*s = (struct sh_tls_session){session, f->remote, f->domain, f->tls->set};
	return 1;
}

void sh_tls_sessions_finish(struct sh_transport *t)
{
	for (unsigned i = 0; t->sessions && i < SESSIONS; i++)
		SSL_SESSION_free(t->sessions[i].session);
	sh_free(t->sessions);
	t->sessions = NULL;
}

/* ---- who the peer is ---- */

static bool is_wanted(const struct sh_flow *f, const char *names, uint32_t domain)
{
	char text[SH_ADDR_TEXT];

	if (domain)
		return sh_domain_text(f->t, domain).len && sh_tls_names_have(names, sh_domain_text(f->t, domain));
	return sh_tls_names_have(names, sh_slice_make(text, sh_addr_format_bare(&f->remote, text)));
}

/* RFC 5922 7.3, as a part of the verification: the peer then gets an alert that says what is wrong. */
static int check_server(int good, X509_STORE_CTX *ctx)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(ctx, SSL_get_ex_data_X509_STORE_CTX_idx());
	const struct sh_flow *f = SSL_get_app_data(ssl);
	char *names;

	if (!good || X509_STORE_CTX_get_error_depth(ctx) > 0)
		return good;
	names = sh_tls_names(X509_STORE_CTX_get_current_cert(ctx), false);
	good = names && is_wanted(f, names, f->domain);
	if (!good)
		X509_STORE_CTX_set_error(ctx, names ? X509_V_ERR_HOSTNAME_MISMATCH : X509_V_ERR_OUT_OF_MEM);
	sh_free(names);
	return good;
}

bool sh_tls_flow_proves(const struct sh_flow *f, uint32_t domain)
{
	if (!f->peer && (f->tls->set->verify == SH_TLS_VERIFY_NOBODY || f->domain == domain))
		return true; /* ours: it is checked before anything is sent */
	if (f->peer && domain == 0)
		return true; /* the address itself is meant */
	return f->tls->names && is_wanted(f, f->tls->names, domain);
}

bool sh_tls_flow_is(const struct sh_flow *f, uint32_t domain)
{
	return f->tls && f->tls->names && is_wanted(f, f->tls->names, domain);
}

const char *sh_tls_flow_names(const struct sh_flow *f)
{
	return f->tls ? f->tls->names ? f->tls->names : "" : NULL;
}

/* ---- life ---- */

static int make_ssl(struct sh_flow *f, struct sh_tls *t, bool server)
{
	struct sh_tls_flow *c = f->tls;
	BIO *bio;

	c->ssl = SSL_new(server ? c->set->servers[0].ctx : c->set->client);
	bio = c->ssl ? BIO_new(t->bio) : NULL;
	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, f);
	BIO_set_init(bio, 1);
	SSL_set_bio(c->ssl, bio, bio);
	SSL_set_app_data(c->ssl, f);
	/* the environment's clock judges certificates, so that tests may move it */
	X509_VERIFY_PARAM_set_time(SSL_get0_param(c->ssl), (time_t)(sh_env_wall(f->t->env) / SH_SECOND));
	if (server) {
		SSL_set_accept_state(c->ssl);
		return 0;
	}
	SSL_set_connect_state(c->ssl);
	if (c->set->verify != SH_TLS_VERIFY_NOBODY)
		SSL_set_verify(c->ssl, SSL_VERIFY_PEER, check_server);
	return 0;
}

/* RFC 6066 3: a name, no address. Text with a NUL behind it is what OpenSSL wants. */
static int name_server(struct sh_flow *f)
{
	struct sh_slice name = sh_domain_text(f->t, f->domain);
	char text[256];

	if (name.len == 0 || name.len >= sizeof(text))
		return 0;
	memcpy(text, name.base, name.len);
	text[name.len] = '\0';
	return SSL_set_tlsext_host_name(f->tls->ssl, text) == 1 ? 0 : -ENOMEM;
}

int sh_tls_flow_begin(struct sh_flow *f, struct sh_tls *t, bool server)
{
	struct sh_tls_flow *c = sh_calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	f->tls = c;
	c->set = sh_tls_set_take(t);
	err = server && c->set->count == 0 ? -EINVAL : make_ssl(f, t, server);
	if (!err && !server)
		err = name_server(f);
	if (!err && !server)
		resume_session(f);
	clear_errors();
	if (err)
		sh_tls_flow_finish(f);
	return err;
}

void sh_tls_flow_finish(struct sh_flow *f)
{
	struct sh_tls_flow *c = f->tls;

	if (!c)
		return;
	if (c->ssl) /* TCP that breaks off says nothing against the session: SIP marks the end of what it says */
		SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(c->ssl);
	sh_tls_set_unref(c->set);
	sh_buffer_finish(&c->plain);
	sh_free(c->names);
	sh_free(c);
	f->tls = NULL;
	clear_errors();
}

/* ---- the handshake ---- */

static void count_failure(struct sh_flow *f, enum sh_tls_failure kind)
{
	if (!f->tls->over)
		f->t->stats.handshakes_failed[kind]++;
	f->tls->over = true;
}

void sh_tls_flow_ended(struct sh_flow *f, int error)
{
	count_failure(f, error == -ETIMEDOUT ? SH_TLS_TIMEOUT : SH_TLS_CLOSED);
}

/* OpenSSL gives the peer's alerts numbers of their own. */
static enum sh_tls_failure kind_of(long verdict)
{
	int reason = ERR_GET_REASON(ERR_peek_error());

	if (verdict != X509_V_OK || reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
		return SH_TLS_CERTIFICATE;
	return reason >= SSL_AD_REASON_OFFSET ? SH_TLS_ALERT : SH_TLS_PROTOCOL;
}

static void fail(struct sh_flow *f, int ssl_error)
{
	struct sh_tls_flow *c = f->tls;
	long verdict = SSL_get_verify_result(c->ssl);
	enum sh_tls_failure kind = kind_of(verdict);
	char why[2 * SH_TLS_ERROR + 64], reason[SH_TLS_ERROR];
	struct sh_slice name = sh_domain_text(f->t, f->domain);

	if (f->state == SH_FLOW_ENDED)
		return; /* the BIO could not take what was written */
	if (ssl_error == SSL_ERROR_ZERO_RETURN) { /* close_notify */
		sh_flow_end(f, 0);
		return;
	}
	if (verdict == X509_V_ERR_HOSTNAME_MISMATCH && name.len)
		snprintf(why, sizeof(why), "the certificate is not that of %.*s", SH_FMT(name));
	else if (verdict != X509_V_OK)
		snprintf(why, sizeof(why), "%s: %s", sh_tls_reason(reason), X509_verify_cert_error_string(verdict));
	else
		snprintf(why, sizeof(why), "%s", sh_tls_reason(reason));
	sh_transport_complain(f->t, f->proto, &f->remote, f->ready ? "TLS failed" : "TLS handshake failed", why,
			      SH_LIT(""));
	count_failure(f, kind);
	sh_buffer_finish(&c->plain);
	sh_stream_flush(f); /* the alert */
	sh_flow_end(f, -EPROTO);
}

/* Returns whether the handshake is over, and well. */
static bool shake(struct sh_flow *f)
{
	struct sh_tls_flow *c = f->tls;
	int result, error;
	X509 *peer;

	if (SSL_is_init_finished(c->ssl))
		return true;
	result = SSL_do_handshake(c->ssl);
	if (result != 1) {
		error = SSL_get_error(c->ssl, result);
		if (error != SSL_ERROR_WANT_READ)
			fail(f, error);
		return false;
	}
	if (f->state != SH_FLOW_OPEN)
		return false;
	c->over = true;
	f->t->stats.handshakes++;
	f->t->stats.handshakes_resumed += SSL_session_reused(c->ssl);
	peer = c->set->verify == SH_TLS_VERIFY_NOBODY ? NULL : SSL_get0_peer_certificate(c->ssl);
	if (peer) {
		c->names = sh_tls_names(peer, false);
		if (!c->names) {
			sh_flow_end(f, -ENOMEM);
			return false;
		}
	}
	sh_flow_secured(f);
	return f->state == SH_FLOW_OPEN;
}

void sh_tls_flow_connected(struct sh_flow *f)
{
	clear_errors();
	shake(f);
}

/* ---- octets ---- */

void sh_tls_flow_receive(struct sh_flow *f, const char *data, size_t len)
{
	struct sh_tls_flow *c = f->tls;
	char plain[PLAIN_MAX];
	size_t n;

	clear_errors();
	c->in = sh_slice_make(data, len);
	if (!shake(f))
		return;
	while (f->state == SH_FLOW_OPEN && (c->in.len > 0 || SSL_pending(c->ssl) > 0)) {
		int result = SSL_read_ex(c->ssl, plain, sizeof(plain), &n);

		if (result != 1) {
			int error = SSL_get_error(c->ssl, result);
			if (error != SSL_ERROR_WANT_READ)
				fail(f, error);
			return;
		}
		sh_stream_take(f, plain, n);
	}
}

int sh_tls_flow_send(struct sh_flow *f, struct sh_slice text)
{
	struct sh_tls_flow *c = f->tls;
	size_t waits = f->out.len + c->plain.len, max = f->t->config.max_unsent;
	int err;

	if (f->state == SH_FLOW_ENDED || f->broken)
		return -EPIPE;
	if (waits > max || text.len > max - waits)
		return c->over ? sh_stream_overrun(f) : -ENOBUFS;
	err = sh_buffer_append(&c->plain, text.base, text.len);
	if (err)
		return err;
	if (c->plain.len > PLAIN_MAX && c->over)
		sh_stream_flush(f);
	else
		sh_stream_touch(f);
	return 0;
}

void sh_tls_flow_encrypt(struct sh_flow *f)
{
	struct sh_tls_flow *c = f->tls;
	struct sh_slice text = sh_buffer_text(&c->plain);
	size_t n;

	if (text.len == 0 || !SSL_is_init_finished(c->ssl) || f->state == SH_FLOW_ENDED)
		return;
	clear_errors();
	if (SSL_write_ex(c->ssl, text.base, text.len, &n) == 1) {
		sh_buffer_take(&c->plain, n);
		return;
	}
	clear_errors();
	sh_flow_end(f, -EPROTO); /* unless the BIO has ended it: half a record is of no use to anybody */
}

void sh_tls_flow_shut(struct sh_flow *f)
{
	sh_tls_flow_encrypt(f);
	clear_errors();
	if (f->state != SH_FLOW_ENDED && SSL_is_init_finished(f->tls->ssl))
		SSL_shutdown(f->tls->ssl);
	clear_errors();
}
