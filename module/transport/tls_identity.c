/* Certificates, keys and authorities out of PEM text into a context, each looked at before it is used. */
#include "transport/tls_impl.h"

#include <errno.h>
#include <stdio.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

const char *sh_tls_reason(char buf[SH_TLS_ERROR])
{
	unsigned long code = ERR_get_error();
	const char *reason = code ? ERR_reason_error_string(code) : NULL;

	snprintf(buf, SH_TLS_ERROR, "%s", reason ? reason : "no reason is known");
	ERR_clear_error();
	return buf;
}

/* A key behind a passphrase: nobody is there to type it, and OpenSSL would ask on the host's terminal. */
static int no_passphrase(char *buf, int size, int writing, void *ctx)
{
	(void)buf, (void)size, (void)writing;
	*(bool *)ctx = true;
	return -1;
}

static BIO *open_text(struct sh_slice pem)
{
	return pem.len > INT32_MAX ? NULL : BIO_new_mem_buf(pem.base ? pem.base : "", (int)pem.len);
}

static int read_certificate(X509 **out, BIO *bio, OSSL_LIB_CTX *lib)
{
	X509 *made = X509_new_ex(lib, NULL);

	*out = made ? PEM_read_bio_X509_AUX(bio, &made, NULL, NULL) : NULL;
	if (!*out)
		X509_free(made);
	return made ? 0 : -ENOMEM;
}

static int fail(char *error, size_t size, int err, const char *name, const char *what)
{
	char reason[SH_TLS_ERROR];

	if (what)
		snprintf(error, size, "%s: %s", name, what);
	else
		snprintf(error, size, "%s: %s", name, sh_tls_reason(reason));
	ERR_clear_error();
	return err;
}

static int check_time(X509 *leaf, const char *name, int64_t now, char *error, size_t size)
{
	time_t at = (time_t)now;

	if (now == 0)
		return 0;
	if (X509_cmp_time(X509_get0_notBefore(leaf), &at) > 0)
		return fail(error, size, -EKEYEXPIRED, name, "the certificate is not valid yet");
	if (X509_cmp_time(X509_get0_notAfter(leaf), &at) < 0)
		return fail(error, size, -EKEYEXPIRED, name, "the certificate has expired");
	return 0;
}

/* The certificate and the chain behind it. */
static int use_chain(SSL_CTX *ctx, OSSL_LIB_CTX *lib, const struct sh_tls_identity *id, int64_t now, char *error,
		     size_t size)
{
	BIO *bio = open_text(id->certificate);
	X509 *certificate = NULL;
	int err = bio ? read_certificate(&certificate, bio, lib) : -ENOMEM;

	if (!err && !certificate)
		err = fail(error, size, -EINVAL, id->certificate_name, "no certificate in it");
	if (!err)
		err = check_time(certificate, id->certificate_name, now, error, size);
	if (!err && SSL_CTX_use_certificate(ctx, certificate) != 1)
		err = fail(error, size, -EINVAL, id->certificate_name, NULL);
	X509_free(certificate);
	while (!err) {
		err = read_certificate(&certificate, bio, lib);
		if (err || !certificate)
			break; /* the end, or what is no certificate: a key in the same file */
		if (SSL_CTX_add0_chain_cert(ctx, certificate) != 1) {
			X509_free(certificate);
			err = fail(error, size, -EINVAL, id->certificate_name, NULL);
		}
	}
	BIO_free(bio);
	ERR_clear_error();
	return err;
}

static int use_key(SSL_CTX *ctx, OSSL_LIB_CTX *lib, const struct sh_tls_identity *id, char *error, size_t size)
{
	BIO *bio = open_text(id->key);
	bool locked = false;
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey_ex(bio, NULL, no_passphrase, &locked, lib, NULL) : NULL;
	int err = bio ? 0 : -ENOMEM;

	if (!err && locked)
		err = fail(error, size, -EINVAL, id->key_name, "the key is encrypted; nobody is here to type a passphrase");
	else if (!err && !key)
		err = fail(error, size, -EINVAL, id->key_name, "no private key in it");
	else if (!err && X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) != 1)
		err = fail(error, size, -EINVAL, id->key_name, "the key does not belong to the certificate");
	else if (!err && SSL_CTX_use_PrivateKey(ctx, key) != 1)
		err = fail(error, size, -EINVAL, id->key_name, NULL);
	EVP_PKEY_free(key);
	BIO_free(bio);
	ERR_clear_error();
	return err;
}

int sh_tls_use_identity(SSL_CTX *ctx, OSSL_LIB_CTX *lib, const struct sh_tls_identity *id, int64_t now, char *error,
			size_t size)
{
	int err = use_chain(ctx, lib, id, now, error, size);

	return err ? err : use_key(ctx, lib, id, error, size);
}

int sh_tls_use_authorities(SSL_CTX *ctx, OSSL_LIB_CTX *lib, struct sh_slice pem, const char *name, bool ask,
			   char *error, size_t size)
{
	X509_STORE *store = SSL_CTX_get_cert_store(ctx);
	BIO *bio = open_text(pem);
	X509 *certificate = NULL;
	unsigned count = 0;
	int err = bio ? 0 : -ENOMEM;

	while (!err) {
		err = read_certificate(&certificate, bio, lib);
		if (err || !certificate)
			break;
		if (X509_STORE_add_cert(store, certificate) != 1)
			err = fail(error, size, -EINVAL, name, NULL);
		else if (ask && SSL_CTX_add_client_CA(ctx, certificate) != 1)
			err = -ENOMEM;
		X509_free(certificate);
		count++;
	}
	if (!err && count == 0)
		err = fail(error, size, -EINVAL, name, "no certificate in it");
	BIO_free(bio);
	ERR_clear_error();
	return err;
}
