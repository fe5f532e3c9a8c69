/* Certificates for the tests of TLS, made on the spot: an authority and what it signs, valid around the beginning of the
 * simulation's wall clock. */
#ifndef TLS_HELPERS_H
#define TLS_HELPERS_H

#include "transport_helpers.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "msg/digest.h"


#define DAY   (24 * 3600)
#define START ((time_t)1767225600 - DAY) /* a day before the wall clock of the simulation begins */

struct paper {
	X509 *certificate;
	EVP_PKEY *key;
	char text[4096]; /* the certificate in PEM */
	char key_text[1024];
};

static inline void paper_text(BIO *bio, char *out, size_t size)
{
	int n = BIO_read(bio, out, (int)size - 1);

	assert_true(n > 0 && (size_t)n < size - 1);
	out[n] = '\0';
	BIO_free(bio);
}

static inline void paper_extend(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_int_equal(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* names: "DNS:example.org, IP:10.0.0.1, URI:sip:example.org", or NULL. Signed by `by`, or by itself. Valid for `days`
 * from a day before the beginning. */
static inline struct paper *paper_make(const char *name, const char *names, int days, const struct paper *by)
{
	static long serial = 1;
	struct paper *p = calloc(1, sizeof(*p));
	X509 *x = X509_new();
	BIO *bio;

	p->key = EVP_EC_gen("P-256");
	assert_non_null(p->key);
	p->certificate = x;
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	ASN1_TIME_set(X509_getm_notBefore(x), START);
	ASN1_TIME_set(X509_getm_notAfter(x), START + (time_t)days * DAY);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(x, by ? X509_get_subject_name(by->certificate) : X509_get_subject_name(x));
	X509_set_pubkey(x, p->key);
	if (!by)
		paper_extend(x, NID_basic_constraints, "critical,CA:TRUE");
	if (names)
		paper_extend(x, NID_subject_alt_name, names);
	assert_true(X509_sign(x, by ? by->key : p->key, EVP_sha256()) > 0);
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(bio, x);
	paper_text(bio, p->text, sizeof(p->text));
	bio = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(bio, p->key, NULL, NULL, 0, NULL, NULL);
	paper_text(bio, p->key_text, sizeof(p->key_text));
	return p;
}

static inline void paper_free(struct paper *p)
{
	if (!p)
		return;
	X509_free(p->certificate);
	EVP_PKEY_free(p->key);
	free(p);
}

static inline struct sh_tls_identity identity_of(const struct paper *p)
{
	return (struct sh_tls_identity){.certificate = sh_slice_cstr(p->text),
					.key = sh_slice_cstr(p->key_text),
					.certificate_name = "cert.pem",
					.key_name = "key.pem"};
}

/* One identity, or none; one authority, or the system's. */
static inline struct sh_tls *tls_new(const struct paper *identity, const struct paper *ca, enum sh_tls_verify verify)
{
	struct sh_tls_identity id = identity ? identity_of(identity) : (struct sh_tls_identity){0};
	struct sh_tls_config c = {.identities = &id,
				  .count = identity ? 1 : 0,
				  .authorities = ca ? sh_slice_cstr(ca->text) : SH_LIT(""),
				  .authorities_name = "ca.pem",
				  .verify = verify};
	char error[256] = "";
	struct sh_tls *t;
	int err = sh_tls_create(&t, &c, error, sizeof(error));

	if (err)
		print_error("%s\n", error);
	assert_int_equal(err, 0);
	return t;
}

static inline int listen_tls(struct server *s, enum sh_proto proto, const char *ip, unsigned port, struct sh_tls *tls)
{
	struct sh_addr a = addr(ip, port);
	struct sh_listen_config c = {.proto = proto, .local = &a, .tls = tls};

	return sh_transport_listen_with(s->t, &c);
}

/* A place to connect from. */
static inline void connect_tls(struct server *s, const char *ip, struct sh_tls *tls)
{
	struct sh_addr a = addr(ip, 5061);
	struct sh_listen_config c = {.proto = SH_PROTO_TLS, .local = &a, .tls = tls, .connect_only = true};

	assert_int_equal(sh_transport_listen_with(s->t, &c), 0);
}

#endif
