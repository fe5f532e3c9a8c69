/* What the tests of TLS share; their certificates are made on the spot: paper.h. */
#ifndef TLS_HELPERS_H
#define TLS_HELPERS_H

#include "transport_helpers.h"

#include "msg/digest.h"
#include "paper.h"

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
