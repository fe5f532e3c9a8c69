/* Whom a certificate names (RFC 5922 7.1, 7.2). */
#include "transport/tls_impl.h"

#include <openssl/x509v3.h>

#include "core/addr.h"
#include "core/alloc.h"

enum { NAMES_MAX = 4096 }; /* octets; what is more than that in one certificate is left out */

struct list {
	char text[NAMES_MAX];
	size_t len;
};

static void add(struct list *l, const char *name, size_t len)
{
	if (len == 0 || len > 255 || l->len + len + 2 > sizeof(l->text) || memchr(name, '\0', len))
		return; /* a NUL inside is an old trick to look like another name */
	for (size_t i = 0; i < len; i++)
		l->text[l->len + i] = sh_lower(name[i]);
	l->text[l->len + len] = '\0';
	l->len += len + 1;
}

static struct sh_slice text_of(const ASN1_STRING *s)
{
	return sh_slice_make((const char *)ASN1_STRING_get0_data(s), (size_t)ASN1_STRING_length(s));
}

/* "sip:example.org": the host part of a URI without a user, and without what may follow. */
static void add_uri(struct list *l, struct sh_slice uri)
{
	struct sh_slice host = uri, rest;

	if (!sh_slice_istarts(uri, SH_LIT("sip:")) || sh_slice_find(uri, '@') >= 0)
		return;
	host = sh_slice_make(uri.base + 4, uri.len - 4);
	sh_slice_cut(host, ';', &host, &rest);
	sh_slice_cut(host, '?', &host, &rest);
	sh_slice_cut(host, ':', &host, &rest);
	add(l, host.base, host.len);
}

static void add_address(struct list *l, struct sh_slice octets)
{
	struct sh_addr a = {0};
	char text[SH_ADDR_TEXT];

	if (octets.len != 4 && octets.len != 16)
		return;
	a.family = octets.len == 4 ? 4 : 6;
	memcpy(a.ip, octets.base, octets.len);
	add(l, text, sh_addr_format_bare(&a, text));
}

static void add_common_name(struct list *l, X509 *certificate)
{
	X509_NAME *subject = X509_get_subject_name(certificate);
	int at = subject ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;
	struct sh_slice s;

	if (at < 0)
		return;
	s = text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	add(l, s.base, s.len);
}

/* DNS names count only when no SIP URI is there, and the common name only when there is no other name at all. */
static void collect(struct list *l, X509 *certificate, bool all)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	int count = sk_GENERAL_NAME_num(names); /* -1 for NULL */
	bool dns;

	for (int i = 0; i < count; i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		if (n->type == GEN_URI)
			add_uri(l, text_of(n->d.uniformResourceIdentifier));
	}
	dns = all || l->len == 0;
	for (int i = 0; i < count; i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(names, i);
		if (n->type == GEN_DNS && dns)
			add(l, text_of(n->d.dNSName).base, text_of(n->d.dNSName).len);
		else if (n->type == GEN_IPADD)
			add_address(l, text_of(n->d.iPAddress));
	}
	if (!names)
		add_common_name(l, certificate);
	GENERAL_NAMES_free(names);
}

char *sh_tls_names(X509 *certificate, bool all)
{
	struct list l = {.len = 0};
	char *out;

	if (certificate)
		collect(&l, certificate, all);
	out = sh_malloc(l.len + 1);
	if (!out)
		return NULL;
	memcpy(out, l.text, l.len);
	out[l.len] = '\0';
	return out;
}

static struct sh_slice without_dot(struct sh_slice name)
{
	if (name.len > 0 && name.base[name.len - 1] == '.')
		name.len--;
	return name;
}

bool sh_tls_names_have(const char *names, struct sh_slice name)
{
	name = without_dot(name);
	for (const char *n = names; n && *n; n += strlen(n) + 1)
		if (sh_slice_ieq(sh_slice_cstr(n), name))
			return true;
	return false;
}

bool sh_tls_names_cover(const char *names, struct sh_slice name)
{
	struct sh_slice label, domain;

	name = without_dot(name);
	if (sh_tls_names_have(names, name))
		return true;
	if (!sh_slice_cut(name, '.', &label, &domain) || label.len == 0)
		return false;
	for (const char *n = names; n && *n; n += strlen(n) + 1)
		if (n[0] == '*' && n[1] == '.' && sh_slice_ieq(sh_slice_cstr(n + 2), domain))
			return true;
	return false;
}
