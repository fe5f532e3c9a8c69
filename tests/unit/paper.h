/* Certificates made on the spot: an authority and what it signs. */
#ifndef PAPER_H
#define PAPER_H

#include <stdlib.h>
#include <time.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#define DAY   (24 * 3600)
#define START ((time_t)1767225600 - DAY) /* a day before the wall clock of the simulation begins */

/* From when on what is made is valid. */
static time_t paper_start = START;

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
 * from paper_start on. */
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
	ASN1_TIME_set(X509_getm_notBefore(x), paper_start);
	ASN1_TIME_set(X509_getm_notAfter(x), paper_start + (time_t)days * DAY);
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

#endif
