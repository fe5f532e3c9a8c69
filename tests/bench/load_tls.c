#include "load.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *client, *server;
static SSL_SESSION *session; /* of the last connection; NULL: none, or not wanted */

/* Called when the server has given a ticket. 1: the reference is ours. */
static int keep_session(SSL *ssl, SSL_SESSION *s)
{
	(void)ssl;
	SSL_SESSION_free(session);
	session = s;
	return 1;
}

/* Whom the server is nobody asks: what is measured is the server. */
int tls_init(const char *pem, bool resume)
{
	client = SSL_CTX_new(TLS_client_method());
	server = SSL_CTX_new(TLS_server_method());
	if (!client || !server || SSL_CTX_use_certificate_chain_file(server, pem) != 1 ||
	    SSL_CTX_use_PrivateKey_file(server, pem, SSL_FILETYPE_PEM) != 1) {
		fprintf(stderr, "load: %s: ", pem);
		ERR_print_errors_fp(stderr);
		return -1;
	}
	SSL_CTX_set_mode(client, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_mode(server, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	if (resume) {
		SSL_CTX_set_session_cache_mode(client, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(client, keep_session);
	}
	return 0;
}

SSL *tls_begin(int fd, bool is_server)
{
	SSL *ssl = SSL_new(is_server ? server : client);

	if (!ssl || SSL_set_fd(ssl, fd) != 1) {
		SSL_free(ssl);
		return NULL;
	}
	if (is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	if (!is_server && session)
		SSL_set_session(ssl, session);
	return ssl;
}

int tls_connect(SSL *ssl)
{
	return SSL_connect(ssl) == 1 ? 0 : -1;
}

void tls_end(SSL *ssl)
{
	if (ssl && SSL_is_init_finished(ssl))
		SSL_shutdown(ssl);
	SSL_free(ssl);
	ERR_clear_error();
}

static ssize_t result_of(SSL *ssl, int result)
{
	int error = SSL_get_error(ssl, result);

	if (result > 0)
		return result;
	ERR_clear_error();
	if (error == SSL_ERROR_ZERO_RETURN)
		return 0;
	errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
	return -1;
}

ssize_t tls_recv(SSL *ssl, char *text, size_t len)
{
	return result_of(ssl, SSL_read(ssl, text, (int)len));
}

ssize_t tls_send(SSL *ssl, const char *text, size_t len)
{
	return result_of(ssl, SSL_write(ssl, text, (int)len));
}
