/* Addresses of record and the domains that they belong to: see location.h. */
#include <errno.h>

#include "msg/writer.h"
#include "registrar/location.h"

static uint16_t default_port(const struct sh_uri *uri)
{
	return uri->kind == SH_URI_SIPS ? 5061 : 5060;
}

/* A name may be written with the dot of the root. */
static struct sh_slice host_of(const struct sh_uri *uri)
{
	struct sh_slice host = uri->host;

	if (host.len > 1 && host.base[host.len - 1] == '.')
		host.len--;
	return host;
}

static bool port_is_ours(const struct sh_domains *d, const struct sh_uri *uri)
{
	if (uri->port == 0 || uri->port == default_port(uri) || !d->transport)
		return true;
	for (unsigned i = 0; i < sh_transport_endpoints(d->transport); i++) {
		const struct sh_endpoint *e = sh_transport_endpoint(d->transport, i);

		if (e->port == uri->port || e->local.port == uri->port)
			return true;
	}
	return false;
}

/* An address without a port is a domain like any other: whoever has registered at us by its name means us, also when we
 * listen on another port than the default one. */
static bool is_endpoint(const struct sh_transport *t, const struct sh_uri *uri)
{
	struct sh_uri with_port = *uri;

	if (sh_transport_is_local(t, uri))
		return true;
	for (unsigned i = 0; uri->port == 0 && i < sh_transport_endpoints(t); i++) {
		const struct sh_endpoint *e = sh_transport_endpoint(t, i);

		with_port.port = e->port;
		if (sh_transport_is_local(t, &with_port))
			return true;
		with_port.port = e->local.port;
		if (sh_transport_is_local(t, &with_port))
			return true;
	}
	return false;
}

bool sh_domains_local(const struct sh_domains *d, const struct sh_uri *uri)
{
	struct sh_slice host = host_of(uri);

	if (uri->kind != SH_URI_SIP && uri->kind != SH_URI_SIPS)
		return false;
	for (unsigned i = 0; i < d->count; i++)
		if (sh_slice_ieq(d->names[i], host))
			return port_is_ours(d, uri);
	return d->transport && is_endpoint(d->transport, uri);
}

bool sh_domains_this_server(const struct sh_domains *d, const struct sh_uri *uri)
{
	struct sh_slice host = host_of(uri);

	if (uri->kind != SH_URI_SIP && uri->kind != SH_URI_SIPS)
		return false;
	for (unsigned i = 0; i < d->count; i++)
		if (sh_slice_ieq(d->names[i], host))
			return port_is_ours(d, uri);
	return d->transport && sh_transport_is_local(d->transport, uri);
}

static void put_lower(struct sh_writer *w, struct sh_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		sh_put_char(w, sh_lower(s.base[i]));
}

/* A host that is an address has many spellings in IPv6. */
static void put_host(struct sh_writer *w, struct sh_slice host)
{
	char text[SH_ADDR_TEXT];
	struct sh_addr addr;

	if (sh_addr_parse(&addr, host, 0))
		put_lower(w, host);
	else
		sh_put(w, sh_slice_make(text, sh_addr_format_host(&addr, text)));
}

/* Of a host that is ours: a name stands for itself, since bob at one domain is not bob at another; an address, and the name
 * of a listener, for the first. */
static struct sh_slice domain_of(const struct sh_uri *uri, const struct sh_domains *d)
{
	struct sh_slice host = host_of(uri);
	struct sh_addr addr;

	for (unsigned i = 1; i < d->count; i++)
		if (sh_slice_ieq(d->names[i], host) && sh_addr_parse(&addr, host, 0) && !(d->transport && is_endpoint(d->transport, uri)))
			return d->names[i];
	return d->names[0];
}

static void put_domain(struct sh_writer *w, const struct sh_uri *uri, const struct sh_domains *d)
{
	if (d && sh_domains_local(d, uri)) {
		if (d->count)
			put_lower(w, domain_of(uri, d));
		else
			put_lower(w, sh_transport_endpoint(d->transport, 0)->host);
		return;
	}
	put_host(w, host_of(uri));
	if (uri->port && uri->port != default_port(uri)) {
		sh_put_char(w, ':');
		sh_put_uint(w, uri->port);
	}
}

/* A number without visual separators (RFC 3966 5.1.1). A local one means nothing without its context. */
static void put_tel(struct sh_writer *w, const struct sh_uri *uri)
{
	struct sh_slice context;

	sh_put_lit(w, "tel:");
	for (size_t i = 0; i < uri->user.len; i++) {
		char c = sh_lower(uri->user.base[i]);

		if (c != '-' && c != '.' && c != '(' && c != ')')
			sh_put_char(w, c);
	}
	if (!sh_slice_starts(uri->user, SH_LIT("+")) && sh_param_find(uri->params, SH_LIT("phone-context"), &context)) {
		sh_put_lit(w, ";phone-context=");
		put_lower(w, context);
	}
}

int sh_aor_canonical(struct sh_arena *a, const struct sh_uri *uri, const struct sh_domains *d, struct sh_slice *out)
{
	struct sh_slice user = {NULL, 0};
	struct sh_writer w;
	size_t room = uri->text.len + SH_ADDR_TEXT;
	int err = 0;
	char *buf;

	if (uri->kind == SH_URI_OTHER)
		return -EINVAL;
	if (uri->kind != SH_URI_TEL && uri->has_user) {
		err = sh_uri_unescape(a, uri->user, &user);
		if (!err)
			err = sh_uri_escape_user(a, user, &user);
		if (err)
			return err;
		room += user.len;
	}
	if (d && d->count)
		room += d->names[0].len;
	else if (d && d->transport && sh_transport_endpoints(d->transport))
		room += sh_transport_endpoint(d->transport, 0)->host.len;
	buf = sh_arena_alloc(a, room);
	if (!buf)
		return -ENOMEM;
	sh_writer_init(&w, buf, room);
	if (uri->kind == SH_URI_TEL) {
		put_tel(&w, uri);
	} else {
		sh_put_lit(&w, "sip:"); /* sips means the same resource (RFC 5630 5.2) */
		if (uri->has_user) {
			sh_put(&w, user);
			sh_put_char(&w, '@');
		}
		put_domain(&w, uri, d);
	}
	if (w.full)
		return -EINVAL;
	*out = sh_writer_text(&w);
	return 0;
}
