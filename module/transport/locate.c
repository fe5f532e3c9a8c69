/* Where a request goes (RFC 3263 4, without NAPTR and SRV): transport, port, address. */
#include "transport/impl.h"

/* What the URI and the caller ask for. */
struct target {
	uint8_t proto; /* SH_PROTO_OTHER: UDP where we have it, else TCP */
	int hint;
	struct sh_slice host;
	uint16_t port;
};

static bool has_endpoint(const struct sh_transport *t, enum sh_proto proto)
{
	for (unsigned i = 0; i < t->listen_count; i++) {
		if (t->listens[i]->pub.proto == proto)
			return true;
	}
	return false;
}

/* RFC 3261 26.2.2: sips means TLS on every hop, and the transport parameter what runs above it. */
static enum sh_proto secured(enum sh_proto p)
{
	switch (p) {
	case SH_PROTO_TCP:
	case SH_PROTO_TLS:
		return SH_PROTO_TLS;
	case SH_PROTO_WS:
	case SH_PROTO_WSS:
		return SH_PROTO_WSS;
	default:
		return SH_PROTO_OTHER;
	}
}

static int choose_proto(const struct sh_transport *t, const struct sh_uri *uri, struct target *to)
{
	enum sh_proto p = uri->kind == SH_URI_SIPS ? SH_PROTO_TLS : SH_PROTO_OTHER;
	struct sh_slice value;

	if (sh_param_find(uri->params, SH_LIT("transport"), &value)) {
		p = sh_proto_lookup(value);
		if (uri->kind == SH_URI_SIPS)
			p = secured(p);
		if (p == SH_PROTO_OTHER)
			return -EPROTONOSUPPORT;
	}
	if (to->hint >= 0) {
		enum sh_proto forced = t->listens[to->hint]->pub.proto;
		if (p != SH_PROTO_OTHER && p != forced)
			return -EPROTONOSUPPORT;
		p = forced;
	}
	if (p != SH_PROTO_OTHER && !has_endpoint(t, p))
		return -EPROTONOSUPPORT;
	to->proto = (uint8_t)p;
	return 0;
}

static int read_target(const struct sh_transport *t, const struct sh_uri *uri, int hint, struct target *to)
{
	int err;

	if ((uri->kind != SH_URI_SIP && uri->kind != SH_URI_SIPS) || hint >= (int)t->listen_count)
		return -EINVAL;
	to->hint = hint;
	err = choose_proto(t, uri, to);
	if (err)
		return err;
	to->host = uri->host;
	sh_param_find(uri->params, SH_LIT("maddr"), &to->host);
	/* UDP and TCP have the same port. */
	to->port = uri->port ? uri->port : sh_proto_port((enum sh_proto)to->proto);
	return to->host.len > 0 ? 0 : -EINVAL;
}

/* A maddr is any text; only what may be a host name goes to the resolver. */
static bool is_name(struct sh_slice s)
{
	if (s.len > 255)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = sh_lower(s.base[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}

/* The endpoint for one address. 0 or -EHOSTUNREACH: none of ours reaches that family. */
static int choose_endpoint(const struct sh_transport *t, uint8_t proto, int hint, const struct sh_addr *addr,
			   struct sh_path *out)
{
	bool open = proto == SH_PROTO_OTHER;
	struct sh_path p = {.proto = open ? SH_PROTO_UDP : proto, .endpoint = hint >= 0 ? (uint8_t)hint : 0};
	const struct sh_listen *l;

	if (sh_addr_is_any(addr))
		return -EHOSTUNREACH; /* the kernel would take it for ourselves */
	p.remote = *addr;
	l = sh_listen_for(t, &p);
	if (!l && open) {
		p.proto = SH_PROTO_TCP;
		l = sh_listen_for(t, &p);
	}
	if (!l || (hint >= 0 && l->index != hint))
		return -EHOSTUNREACH;
	p.endpoint = l->index;
	*out = p;
	return 0;
}

/* ---- names ---- */

static void destroy(struct sh_locate *l)
{
	sh_list_remove(&l->link);
	sh_free(l);
}

static void on_resolved(const struct sh_resolved *r, void *ctx)
{
	struct sh_path paths[SH_MAX_CANDIDATES];
	struct sh_locate l = *(struct sh_locate *)ctx;
	unsigned count = 0;
	int error = r->error;

	destroy(ctx); /* so that fn may cancel or destroy what it likes */
	if (!l.fn)
		return;
	for (size_t i = 0; !error && i < r->count && count < SH_MAX_CANDIDATES; i++) {
		if (choose_endpoint(l.t, l.proto, l.hint, &r->addrs[i], &paths[count]) == 0)
			count++;
	}
	if (!error && count == 0)
		error = r->count > 0 ? -EHOSTUNREACH : -ENOENT;
	l.fn(paths, count, error, l.ctx);
}

static int begin(struct sh_transport *t, const struct target *to, sh_locate_fn fn, void *ctx,
		 struct sh_locate **pending)
{
	struct sh_locate *l = sh_calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->t = t;
	l->fn = fn;
	l->ctx = ctx;
	l->hint = to->hint;
	l->proto = to->proto;
	sh_list_append(&t->locates, &l->link);
	if (pending)
		*pending = l;
	t->env->driver->resolve(t->env, to->host, to->port, on_resolved, l);
	return 0;
}

int sh_transport_locate(struct sh_transport *t, const struct sh_uri *uri, int endpoint_hint,
			struct sh_path out[SH_MAX_CANDIDATES], sh_locate_fn fn, void *ctx, struct sh_locate **pending)
{
	struct sh_addr addr;
	struct target to;
	int err = read_target(t, uri, endpoint_hint, &to);

	if (err)
		return err;
	if (sh_addr_parse(&addr, to.host, to.port) == 0) {
		err = choose_endpoint(t, to.proto, to.hint, &addr, out);
		return err ? err : 1;
	}
	if (!is_name(to.host))
		return -EINVAL;
	return begin(t, &to, fn, ctx, pending);
}

/* The driver still holds a pointer to it until the answer comes. */
void sh_locate_cancel(struct sh_locate *l)
{
	if (l)
		l->fn = NULL;
}

void sh_locate_destroy_all(struct sh_transport *t)
{
	while (!sh_list_empty(&t->locates))
		destroy(SH_CONTAINER(t->locates.next, struct sh_locate, link));
}
