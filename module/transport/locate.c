/* Where a request goes (RFC 3263 4): transport, port, address.
 *
 *   numeric host                        that address
 *   a port                              A, AAAA of the host
 *   a transport, no port                SRV _sip._udp.host; without any A, AAAA
 *   neither                             NAPTR host -> SRV; else SRV of each transport of ours; else A, AAAA
 *
 * The search is a function of what the cache of names holds: it runs from the beginning, asks for all that it misses at
 * once, and runs again when that has come. So there is no state to keep between the steps, and what is cached is found
 * without a wait. */
#include "transport/impl.h"

enum {
	ROUNDS_MAX = 8,     /* NAPTR, SRV, A: three are enough */
	SERVICES_MAX = 8,
	HOSTS_MAX = 16,     /* of one SRV answer */
	FOUND_MAX = 32,     /* before the best are taken */
};

/* ---- what the URI asks for ---- */

struct target {
	uint8_t proto; /* SH_PROTO_OTHER: not said */
	bool secure;   /* sips: TLS below everything */
	int hint;
	struct sh_slice host;
	uint16_t port; /* 0: not said */
	uint32_t domain; /* that a TLS peer must prove; 0: the host is an address */
};

static bool has_endpoint(const struct sh_transport *t, enum sh_proto proto)
{
	for (unsigned i = 0; i < t->listen_count; i++) {
		if (t->listens[i]->pub.proto == proto && !t->listens[i]->pub.retired)
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
	enum sh_proto p = SH_PROTO_OTHER;
	struct sh_slice value;

	if (sh_param_find(uri->params, SH_LIT("transport"), &value)) {
		p = sh_proto_lookup(value);
		if (to->secure)
			p = secured(p);
		if (p == SH_PROTO_OTHER)
			return -EPROTONOSUPPORT;
	}
	if (to->hint >= 0) {
		enum sh_proto forced = t->listens[to->hint]->pub.proto;
		if ((p != SH_PROTO_OTHER && p != forced) || (to->secure && secured(forced) != forced))
			return -EPROTONOSUPPORT;
		p = forced;
	}
	if (!has_endpoint(t, p == SH_PROTO_OTHER && to->secure ? SH_PROTO_TLS : p) && (p != SH_PROTO_OTHER || to->secure))
		return -EPROTONOSUPPORT;
	to->proto = (uint8_t)p;
	return 0;
}

static int read_target(const struct sh_transport *t, const struct sh_uri *uri, int hint, struct target *to)
{
	int err;

	if ((uri->kind != SH_URI_SIP && uri->kind != SH_URI_SIPS) || hint >= (int)t->listen_count)
		return -EINVAL;
	*to = (struct target){.hint = hint, .secure = uri->kind == SH_URI_SIPS};
	err = choose_proto(t, uri, to);
	if (err)
		return err;
	to->host = uri->host;
	sh_param_find(uri->params, SH_LIT("maddr"), &to->host);
	to->port = uri->port;
	return to->host.len > 0 ? 0 : -EINVAL;
}

/* Of an address, or of a name that says nothing: UDP where we have it, else TCP; sips: TLS. */
static uint8_t default_proto(uint8_t proto, bool secure)
{
	return proto == SH_PROTO_OTHER && secure ? SH_PROTO_TLS : proto;
}

static uint16_t default_port(uint8_t proto) /* UDP and TCP have the same */
{
	return sh_proto_port(proto == SH_PROTO_OTHER ? SH_PROTO_UDP : (enum sh_proto)proto);
}

/* A maddr is any text; only what may be a host name goes to the resolver. */
static bool is_name(struct sh_slice s)
{
	if (s.len > SH_NAME_MAX - 16) /* room for _sips._tcp. */
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
			   uint32_t domain, struct sh_path *out)
{
	bool open = proto == SH_PROTO_OTHER;
	struct sh_path p = {
	    .proto = open ? SH_PROTO_UDP : proto, .endpoint = hint >= 0 ? (uint8_t)hint : 0, .domain = domain};
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

/* ---- the search ---- */

struct search {
	struct sh_locate *l;
	struct sh_transport *t;
	bool waiting; /* something was asked */
	int error;    /* the latest */
	struct sh_path found[FOUND_MAX];
	unsigned count;
};

/* NULL: it is not known yet, or cannot be known. */
static const struct sh_name_answer *get(struct search *s, struct sh_slice name, enum sh_dns_type type)
{
	const struct sh_name_answer *a = NULL;
	int err = sh_names_get(s->t, name, type, s->l->since, s->l, &a);

	if (err == -EINPROGRESS) {
		s->waiting = true;
		s->l->pending++;
	} else if (err) {
		s->error = err == -ENOMEM ? -EAGAIN : err;
	} else if (a->error) {
		s->error = a->error;
	}
	return err ? NULL : a;
}

static void add_path(struct search *s, const struct sh_path *p)
{
	for (unsigned i = 0; i < s->count; i++) {
		if (s->found[i].proto == p->proto && sh_addr_eq(&s->found[i].remote, &p->remote))
			return;
	}
	if (s->count < FOUND_MAX)
		s->found[s->count++] = *p;
}

static bool family_wanted(const struct search *s, uint8_t proto, uint8_t family)
{
	const struct sh_transport *t = s->t;

	for (unsigned i = 0; i < t->listen_count; i++) {
		const struct sh_endpoint *e = &t->listens[i]->pub;
		bool fits = proto == SH_PROTO_OTHER ? e->proto == SH_PROTO_UDP || e->proto == SH_PROTO_TCP
						    : e->proto == (enum sh_proto)proto;
		if (fits && !e->retired && e->local.family == family && (s->l->hint < 0 || s->l->hint == (int)i))
			return true;
	}
	return false;
}

static void search_family(struct search *s, struct sh_slice name, uint8_t proto, uint16_t port, uint8_t family)
{
	const struct sh_name_answer *a;

	if (!family_wanted(s, proto, family))
		return;
	a = get(s, name, family == 4 ? SH_DNS_A : SH_DNS_AAAA);
	for (size_t i = 0; a && i < a->count; i++) {
		struct sh_addr addr = a->records[i].addr;
		struct sh_path p;

		addr.port = port;
		if (choose_endpoint(s->t, proto, s->l->hint, &addr, s->l->domain, &p) == 0)
			add_path(s, &p);
		else
			s->error = -EHOSTUNREACH;
	}
}

/* Both families, ours first: the order of the listeners says what the user prefers. */
static void search_host(struct search *s, struct sh_slice name, uint8_t proto, uint16_t port)
{
	uint8_t first = s->t->listen_count > 0 && s->t->listens[0]->pub.local.family == 6 ? 6 : 4;

	if (!family_wanted(s, proto, 4) && !family_wanted(s, proto, 6))
		s->error = -EHOSTUNREACH;
	search_family(s, name, proto, port, first);
	search_family(s, name, proto, port, first == 4 ? 6 : 4);
}

/* RFC 2782: by priority; among equals by lot, each with the chance that its weight gives it. */
static unsigned order_servers(struct search *s, const struct sh_name_answer *a, const struct sh_dns_record **out)
{
	unsigned n = 0;

	for (size_t i = 0; i < a->count && n < HOSTS_MAX; i++) {
		if (a->records[i].target.len > 0) /* ".": this service is not to be had */
			out[n++] = &a->records[i];
	}
	for (unsigned i = 0; i < n; i++) {
		uint64_t sum = 0, lot;
		uint16_t least = UINT16_MAX;
		unsigned k;

		for (k = i; k < n; k++) {
			if (out[k]->order < least)
				least = out[k]->order;
		}
		for (k = i; k < n; k++) {
			if (out[k]->order == least)
				sum += (uint64_t)out[k]->weight * 256 + 1; /* a weight of 0 has a small chance too */
		}
		lot = sh_random_below(&s->t->env->random, sum);
		for (k = i; k < n; k++) {
			uint64_t share = (uint64_t)out[k]->weight * 256 + 1;

			if (out[k]->order != least)
				continue;
			if (lot < share)
				break;
			lot -= share;
		}
		const struct sh_dns_record *chosen = out[k];
		out[k] = out[i];
		out[i] = chosen;
	}
	return n;
}

/* A name that came from a record has no search list: the dot says so. */
static struct sh_slice absolute(char buf[SH_NAME_MAX], struct sh_slice name)
{
	if (name.len >= SH_NAME_MAX)
		return (struct sh_slice){0};
	memcpy(buf, name.base, name.len);
	buf[name.len] = '.';
	return sh_slice_make(buf, name.len + 1);
}

/* True: there are such records, or that is not known yet. */
static bool search_service(struct search *s, struct sh_slice name, uint8_t proto)
{
	const struct sh_dns_record *servers[HOSTS_MAX];
	bool waited = s->waiting;
	const struct sh_name_answer *a;
	char buf[SH_NAME_MAX];
	unsigned n;

	s->waiting = false;
	a = get(s, name, SH_DNS_SRV);
	if (s->waiting)
		return true;
	s->waiting = waited;
	if (!a || a->error)
		return false;
	n = order_servers(s, a, servers);
	for (unsigned i = 0; i < n; i++)
		search_host(s, absolute(buf, servers[i]->target), proto, servers[i]->port);
	if (n == 0)
		s->error = -ENOENT;
	return true;
}

struct service {
	uint8_t proto;
	bool secure;
	struct sh_slice naptr, srv;
};

/* RFC 3263 4.1, RFC 7118 7; in the order of our choice where the domain has none. */
static const struct service services[] = {
    {SH_PROTO_UDP, false, SH_LIT("SIP+D2U"), SH_LIT("_sip._udp.")},
    {SH_PROTO_TCP, false, SH_LIT("SIP+D2T"), SH_LIT("_sip._tcp.")},
    {SH_PROTO_TLS, true, SH_LIT("SIPS+D2T"), SH_LIT("_sips._tcp.")},
    {SH_PROTO_WS, false, SH_LIT("SIP+D2W"), SH_LIT("_sip._ws.")},
    {SH_PROTO_WSS, true, SH_LIT("SIPS+D2W"), SH_LIT("_sips._ws.")},
};
enum { SERVICE_COUNT = sizeof(services) / sizeof(services[0]) };

static const struct service *service_of(const struct search *s, const struct sh_dns_record *r)
{
	for (unsigned i = 0; i < SERVICE_COUNT; i++) {
		const struct service *v = &services[i];
		if (sh_slice_ieq(r->service, v->naptr) && sh_slice_ieq(r->flags, SH_LIT("s")) && r->target.len > 0 &&
		    (v->secure || !s->l->secure) && has_endpoint(s->t, (enum sh_proto)v->proto))
			return v;
	}
	return NULL;
}

static bool precedes(const struct sh_dns_record *a, const struct sh_dns_record *b)
{
	return a->order < b->order || (a->order == b->order && a->weight < b->weight);
}

/* True: the domain has such records for us, or that is not known yet. */
static bool search_naptr(struct search *s, struct sh_slice host)
{
	const struct sh_name_answer *a = get(s, host, SH_DNS_NAPTR);
	const struct sh_dns_record *records[SERVICES_MAX];
	unsigned n = 0;

	if (s->waiting)
		return true;
	for (size_t i = 0; a && i < a->count && n < SERVICES_MAX; i++) {
		const struct sh_dns_record *r = &a->records[i];
		unsigned k = n;

		if (!service_of(s, r))
			continue;
		for (; k > 0 && precedes(r, records[k - 1]); k--)
			records[k] = records[k - 1];
		records[k] = r;
		n++;
	}
	for (unsigned i = 0; i < n; i++) {
		char buf[SH_NAME_MAX];
		search_service(s, absolute(buf, records[i]->target), service_of(s, records[i])->proto);
	}
	return n > 0;
}

/* SRV of one transport, or of all that we have; true as above. */
static bool search_services(struct search *s, struct sh_slice host, uint8_t proto)
{
	bool any = false;

	for (unsigned i = 0; i < SERVICE_COUNT; i++) {
		const struct service *v = &services[i];
		char name[SH_NAME_MAX + 16];

		if (proto == SH_PROTO_OTHER ? !has_endpoint(s->t, (enum sh_proto)v->proto) || (s->l->secure && !v->secure) ||
						  v->proto == SH_PROTO_WS || v->proto == SH_PROTO_WSS
					    : v->proto != proto)
			continue;
		memcpy(name, v->srv.base, v->srv.len);
		memcpy(name + v->srv.len, host.base, host.len);
		if (search_service(s, sh_slice_make(name, v->srv.len + host.len), v->proto))
			any = true;
	}
	return any;
}

static void search(struct search *s)
{
	const struct sh_locate *l = s->l;
	struct sh_slice host = sh_slice_make(l->host, l->len);
	uint8_t plain = default_proto(l->proto, l->secure);

	if (!l->port && l->proto == SH_PROTO_OTHER && search_naptr(s, host))
		return;
	if (!l->port && search_services(s, host, l->proto))
		return;
	search_host(s, host, plain, l->port ? l->port : default_port(plain));
}

/* Those that have failed lately come last. */
static unsigned take_best(struct search *s, struct sh_path out[SH_MAX_CANDIDATES])
{
	unsigned n = 0;

	for (int avoided = 0; avoided < 2; avoided++) {
		for (unsigned i = 0; i < s->count && n < SH_MAX_CANDIDATES; i++) {
			if (sh_avoided(s->t, &s->found[i]) == (avoided == 1))
				out[n++] = s->found[i];
		}
	}
	return n;
}

/* The number of paths; 0: it waits; or -errno. */
static int look(struct sh_locate *l, struct sh_path out[SH_MAX_CANDIDATES])
{
	struct search s = {.l = l, .t = l->t, .error = -ENOENT};

	if (++l->rounds > ROUNDS_MAX)
		return -EAGAIN;
	l->t->search++;
	search(&s);
	if (s.waiting)
		return 0;
	return s.count > 0 ? (int)take_best(&s, out) : s.error;
}

/* ---- life ---- */

static void destroy(struct sh_locate *l)
{
	sh_list_remove(&l->link);
	sh_free(l);
}

void sh_locate_wake(struct sh_locate *l)
{
	struct sh_path paths[SH_MAX_CANDIDATES];
	sh_locate_fn fn = l->fn;
	void *ctx = l->ctx;
	int n;

	if (--l->pending > 0)
		return;
	n = fn ? look(l, paths) : -ECANCELED;
	if (n == 0)
		return;
	destroy(l); /* so that fn may cancel or destroy what it likes */
	if (fn)
		fn(paths, n > 0 ? (unsigned)n : 0, n > 0 ? 0 : n, ctx);
}

static int begin(struct sh_transport *t, const struct target *to, struct sh_path out[SH_MAX_CANDIDATES], sh_locate_fn fn,
		 void *ctx, struct sh_locate **pending)
{
	struct sh_locate *l = sh_calloc(1, sizeof(*l) + to->host.len);
	int n;

	if (!l)
		return -ENOMEM;
	l->t = t;
	l->fn = fn;
	l->ctx = ctx;
	l->hint = to->hint;
	l->proto = to->proto;
	l->secure = to->secure;
	l->port = to->port;
	l->domain = to->domain;
	l->since = t->env->now;
	l->len = to->host.len;
	memcpy(l->host, to->host.base, to->host.len);
	sh_list_append(&t->locates, &l->link);
	n = look(l, out);
	if (n != 0)
		destroy(l);
	else if (pending)
		*pending = l;
	return n;
}

int sh_transport_locate(struct sh_transport *t, const struct sh_uri *uri, int endpoint_hint,
			struct sh_path out[SH_MAX_CANDIDATES], sh_locate_fn fn, void *ctx, struct sh_locate **pending)
{
	struct sh_addr addr;
	struct target to;
	int err = read_target(t, uri, endpoint_hint, &to);
	uint8_t proto;

	if (err)
		return err;
	/* RFC 5922 7.3: the domain that was asked for, wherever maddr or DNS leads */
	if (has_endpoint(t, SH_PROTO_TLS) && sh_addr_parse(&addr, uri->host, 0) < 0)
		to.domain = sh_domain_intern(t, uri->host);
	proto = default_proto(to.proto, to.secure);
	if (sh_addr_parse(&addr, to.host, to.port ? to.port : default_port(proto)) == 0) {
		err = choose_endpoint(t, proto, to.hint, &addr, to.domain, out);
		return err ? err : 1;
	}
	if (!is_name(to.host))
		return -EINVAL;
	return begin(t, &to, out, fn, ctx, pending);
}

/* The cache of names holds pointers to it until what it waits for has come. */
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
