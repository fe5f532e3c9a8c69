/* Where we listen, what peers should call us, and which names mean us. */
#include "transport/impl.h"

enum {
	NAME_MAX_LEN = 255,
	LEARNED_MAX = 1024, /* a machine has few addresses, but all of 127.0.0.0/8 is one of its own */
};

bool sh_addr_is_source(const struct sh_addr *a)
{
	if (a->family == 0 || sh_addr_is_any(a))
		return false;
	return a->family == 4 ? a->ip[0] < 224 : a->ip[0] != 0xff; /* multicast and broadcast */
}

/* ---- the names that mean us ---- */

/* A host of a URI as a key: an address with its port, or a name in lower case. */
struct host_key {
	struct sh_addr addr;
	uint16_t port;
	size_t len;
	char name[NAME_MAX_LEN];
};

/* The zone of an address means something to its machine only, and the dot behind a name nothing at all. */
static bool make_key(struct host_key *k, struct sh_slice host, uint16_t port)
{
	memset(&k->addr, 0, sizeof(k->addr));
	k->port = port;
	k->len = 0;
	if (sh_addr_parse(&k->addr, host, port) == 0) {
		k->addr.scope = 0;
		return true;
	}
	memset(&k->addr, 0, sizeof(k->addr));
	if (host.len > 0 && host.base[host.len - 1] == '.')
		host.len--;
	if (host.len == 0 || host.len > NAME_MAX_LEN)
		return false;
	for (; k->len < host.len; k->len++)
		k->name[k->len] = sh_lower(host.base[k->len]);
	return true;
}

static void addr_key(struct host_key *k, const struct sh_addr *a)
{
	k->addr = *a;
	k->addr.scope = 0;
	k->port = a->port;
	k->len = 0;
}

static uint64_t key_hash(const struct sh_transport *t, const struct host_key *k)
{
	struct sh_slice parts[3] = {sh_addr_bytes(&k->addr), {(const char *)&k->port, 2}, {k->name, k->len}};

	return sh_hash_slices(&t->env->key, parts, 3);
}

static struct sh_local *find_local(const struct sh_transport *t, const struct host_key *k, uint64_t hash)
{
	for (struct sh_hash_node *n = sh_hash_find(&t->locals, hash); n; n = sh_hash_next(n)) {
		struct sh_local *l = SH_CONTAINER(n, struct sh_local, node);
		if (sh_addr_eq(&l->addr, &k->addr) && l->port == k->port &&
		    sh_slice_eq(sh_slice_make(l->name, l->len), sh_slice_make(k->name, k->len)))
			return l;
	}
	return NULL;
}

/* One use more of that name. NULL: no memory. */
static struct sh_local *remember(struct sh_transport *t, const struct host_key *k)
{
	uint64_t hash = key_hash(t, k);
	struct sh_local *l = find_local(t, k, hash);

	if (!l) {
		l = sh_malloc(sizeof(*l) + k->len);
		if (!l)
			return NULL;
		l->addr = k->addr;
		l->port = k->port;
		l->uses = 0;
		l->len = k->len;
		memcpy(l->name, k->name, k->len);
		sh_hash_insert(&t->locals, &l->node, hash);
	}
	l->uses++;
	return l;
}

static void forget_local(struct sh_transport *t, struct sh_local *l)
{
	if (!l || --l->uses > 0)
		return;
	sh_hash_remove(&t->locals, &l->node);
	sh_free(l);
}

static void free_local(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	sh_free(SH_CONTAINER(n, struct sh_local, node));
}

void sh_locals_finish(struct sh_transport *t)
{
	sh_hash_each(&t->locals, free_local, NULL);
	sh_hash_finish(&t->locals);
}

static uint16_t default_port(const struct sh_uri *uri)
{
	struct sh_slice value;
	enum sh_proto p = SH_PROTO_UDP;

	if (sh_param_find(uri->params, SH_LIT("transport"), &value))
		p = sh_proto_lookup(value);
	if (uri->kind == SH_URI_SIPS)
		p = p == SH_PROTO_WS || p == SH_PROTO_WSS ? SH_PROTO_WSS : SH_PROTO_TLS;
	return sh_proto_port(p);
}

bool sh_transport_is_local(const struct sh_transport *t, const struct sh_uri *uri)
{
	struct host_key k;

	if (uri->kind != SH_URI_SIP && uri->kind != SH_URI_SIPS)
		return false;
	return make_key(&k, uri->host, uri->port ? uri->port : default_port(uri)) && find_local(t, &k, key_hash(t, &k));
}

/* ---- endpoints ---- */

static void set_host(struct sh_listen *l, const struct sh_addr *a)
{
	l->pub.host = sh_slice_make(l->name, sh_addr_format_host(a, l->name));
}

static struct sh_addr loopback(uint8_t family, uint16_t port)
{
	struct sh_addr a = {.family = family, .port = port};

	if (family == 4) {
		a.ip[0] = 127;
		a.ip[3] = 1;
	} else {
		a.ip[15] = 1;
	}
	return a;
}

void sh_listen_saw(struct sh_listen *l, const struct sh_addr *local)
{
	struct sh_transport *t = l->t;
	struct host_key k;

	if (!l->any || sh_addr_eq(&l->seen, local) || !sh_addr_is_source(local))
		return;
	/* The first address that others can reach is better than what we had to begin with. */
	if (!l->settled && !sh_addr_is_loopback(local)) {
		set_host(l, local);
		l->settled = true;
	}
	l->seen = *local;
	addr_key(&k, local);
	k.port = k.addr.port = l->pub.local.port;
	if (t->learned < LEARNED_MAX && !find_local(t, &k, key_hash(t, &k)) && remember(t, &k))
		t->learned++;
}

/* The name that others see, as far as it is known now. `bound` may be the machine's address though we asked for any. */
static int name_endpoint(struct sh_listen *l, struct sh_slice host, const struct sh_addr *bound)
{
	struct sh_addr addr;

	l->name = sh_malloc(host.len > SH_ADDR_TEXT ? host.len : SH_ADDR_TEXT);
	if (!l->name)
		return -ENOMEM;
	l->named = l->settled = host.len > 0;
	if (sh_addr_parse(&addr, host, 0) == 0) {
		if (!sh_addr_is_source(&addr))
			return -EINVAL;
		set_host(l, &addr); /* an IPv6 address gets its brackets */
	} else if (host.len > 0) {
		memcpy(l->name, host.base, host.len);
		l->pub.host = sh_slice_make(l->name, host.len);
	} else if (sh_addr_is_any(bound)) {
		addr = loopback(bound->family, 0);
		set_host(l, &addr);
	} else {
		set_host(l, bound);
		l->settled = true;
	}
	return 0;
}

/* Nobody who asks for it means us any more. */
static void forget_endpoint(struct sh_listen *l)
{
	for (unsigned i = 0; i < 2; i++) {
		forget_local(l->t, l->names[i]);
		l->names[i] = NULL;
	}
}

static int remember_endpoint(struct sh_listen *l, const struct sh_addr *bound)
{
	struct sh_addr addr = sh_addr_is_any(bound) ? loopback(bound->family, bound->port) : *bound;
	struct host_key as_bound, as_said;

	addr_key(&as_bound, &addr);
	if (!make_key(&as_said, l->pub.host, l->pub.port))
		return -EINVAL;
	forget_endpoint(l);
	l->names[0] = remember(l->t, &as_bound);
	l->names[1] = remember(l->t, &as_said);
	if (l->names[0] && l->names[1])
		return 0;
	forget_endpoint(l);
	return -ENOMEM;
}

static int open_socket(struct sh_listen *l, const struct sh_addr *local, struct sh_addr *bound)
{
	struct sh_env *env = l->t->env;

	if (l->pub.proto == SH_PROTO_UDP)
		return env->driver->udp_open(env, local, l, &l->udp, bound);
	return env->driver->listen(env, local, l, &l->listener, bound);
}

void sh_listen_close(struct sh_listen *l)
{
	struct sh_env *env = l->t->env;

	if (l->udp)
		env->driver->udp_close(env, l->udp);
	if (l->listener)
		env->driver->listen_close(env, l->listener);
	forget_endpoint(l);
	sh_tls_unref(l->tls);
	sh_free(l->origins);
	sh_free(l->name);
	sh_free(l);
}

/* The protocols that can share a socket: their first octets differ. */
static enum sh_proto sibling_proto(enum sh_proto p)
{
	switch (p) {
	case SH_PROTO_TCP:
		return SH_PROTO_WS;
	case SH_PROTO_WS:
		return SH_PROTO_TCP;
	case SH_PROTO_TLS:
		return SH_PROTO_WSS;
	case SH_PROTO_WSS:
		return SH_PROTO_TLS;
	default:
		return SH_PROTO_OTHER;
	}
}

/* Who has the socket already that l may share; NULL: nobody. */
static struct sh_listen *find_sibling(const struct sh_listen *l)
{
	for (unsigned i = 0; i < l->t->listen_count && l->pub.local.port != 0; i++) {
		struct sh_listen *other = l->t->listens[i];
		if (other->pub.proto == sibling_proto(l->pub.proto) && !other->sibling && !other->pub.retired && other->tls == l->tls &&
		    sh_addr_eq(&other->pub.local, &l->pub.local))
			return other;
	}
	return NULL;
}

static int copy_origins(struct sh_listen *l, const struct sh_slice *origins, unsigned count)
{
	size_t room = 1;
	char *to;

	for (unsigned i = 0; i < count; i++)
		room += origins[i].len + 1;
	to = l->origins = count ? sh_calloc(1, room) : NULL;
	if (count && !to)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		memcpy(to, origins[i].base, origins[i].len);
		to += origins[i].len + 1;
	}
	return 0;
}

static int check_place(const struct sh_transport *t, const struct sh_listen_config *c)
{
	if ((unsigned)c->proto >= SH_PROTO_COUNT)
		return -EPROTONOSUPPORT;
	if (c->local->family == 0)
		return -EINVAL;
	if (c->instead)
		return sh_transport_endpoint_unused(t, c->instead - 1) ? 0 : -EBUSY;
	return t->listen_count == SH_MAX_ENDPOINTS ? -ENOSPC : 0;
}

static int check(const struct sh_transport *t, const struct sh_listen_config *c)
{
	bool secure = c->proto == SH_PROTO_TLS || c->proto == SH_PROTO_WSS;

	if (secure && (!c->tls || (!c->connect_only && !sh_tls_has_identity(c->tls))))
		return -EPROTONOSUPPORT;
	return c->advertise_host.len > NAME_MAX_LEN ? -EINVAL : check_place(t, c);
}

static struct sh_listen *listen_create(struct sh_transport *t, const struct sh_listen_config *c)
{
	struct sh_listen *l = sh_calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->t = t;
	l->index = (uint8_t)(c->instead ? c->instead - 1 : t->listen_count);
	l->any = sh_addr_is_any(c->local);
	l->pub.proto = c->proto;
	l->pub.local = *c->local;
	return l;
}

/* It takes its place among the others. */
static void enter(struct sh_listen *l, unsigned instead)
{
	struct sh_transport *t = l->t;

	if (!instead) {
		t->listens[t->listen_count++] = l;
		return;
	}
	if (t->listens[l->index]->sibling)
		t->listens[l->index]->sibling->sibling = NULL;
	sh_listen_close(t->listens[l->index]);
	t->listens[l->index] = l;
}

int sh_transport_listen_with(struct sh_transport *t, const struct sh_listen_config *c)
{
	struct sh_listen *l, *sibling;
	struct sh_addr bound;
	int err = check(t, c);

	if (err)
		return err;
	l = listen_create(t, c);
	if (!l)
		return -ENOMEM;
	l->pub.connect_only = c->connect_only;
	if (c->proto == SH_PROTO_TLS || c->proto == SH_PROTO_WSS)
		l->tls = sh_tls_ref(c->tls);
	err = copy_origins(l, c->origins, c->origin_count);
	if (err)
		goto out;
	sibling = c->connect_only ? NULL : find_sibling(l);
	bound = *c->local;
	err = sibling || c->connect_only ? 0 : open_socket(l, c->local, &bound);
	if (err)
		goto out;
	l->pub.local.port = bound.port;
	l->pub.port = c->advertise_port ? c->advertise_port : bound.port;
	err = name_endpoint(l, c->advertise_host, &bound);
	if (!err)
		err = remember_endpoint(l, &bound);
out:
	if (err) {
		sh_listen_close(l);
		return err;
	}
	enter(l, c->instead);
	l->sibling = sibling;
	if (sibling)
		sibling->sibling = l;
	return 0;
}

int sh_transport_listen_reserve(struct sh_transport *t, const struct sh_listen_config *c)
{
	int err = check_place(t, c);
	struct sh_listen *l = err ? NULL : listen_create(t, c);

	if (!l)
		return err ? err : -ENOMEM;
	l->pub.reserved = l->pub.retired = l->pub.closed = true;
	l->pub.port = c->local->port;
	err = name_endpoint(l, SH_LIT(""), c->local);
	if (err)
		sh_listen_close(l);
	else
		enter(l, c->instead);
	return err;
}

int sh_transport_listen(struct sh_transport *t, enum sh_proto proto, const struct sh_addr *local,
			struct sh_slice advertise_host, uint16_t advertise_port)
{
	const struct sh_listen_config config = {
	    .proto = proto, .local = local, .advertise_host = advertise_host, .advertise_port = advertise_port};

	return sh_transport_listen_with(t, &config);
}

void sh_transport_tune(struct sh_transport *t, unsigned index, const struct sh_listen_tuning *tuning)
{
	if (index < t->listen_count)
		t->listens[index]->pub.tuning = *tuning;
}

static int advertise(struct sh_listen *l, struct sh_slice host, uint16_t port)
{
	char *before = l->name;
	int err = host.len > NAME_MAX_LEN ? -EINVAL : name_endpoint(l, host, &l->pub.local);

	if (err) {
		if (l->name != before)
			sh_free(l->name);
		l->name = before;
		return err;
	}
	sh_free(before);
	l->pub.port = port ? port : l->pub.local.port;
	return remember_endpoint(l, &l->pub.local);
}

/* Siblings have one socket, and therefore one TLS. */
static void secure(struct sh_listen *l, struct sh_tls *tls)
{
	struct sh_tls *before = l->tls;

	l->tls = sh_tls_ref(tls);
	sh_tls_unref(before);
}

static int open_again(struct sh_listen *l)
{
	struct sh_addr bound;
	bool shares = l->sibling && l->sibling->listener;
	bool open = l->udp || l->listener || shares || l->pub.connect_only || (l->t->stopped && l->pub.proto != SH_PROTO_UDP);
	int err = open ? 0 : open_socket(l, &l->pub.local, &bound);

	if (!err && l->pub.closed)
		err = remember_endpoint(l, &l->pub.local); /* without memory it answers all the same: it is tried again at the next reload */
	if (!err)
		l->pub.retired = l->pub.closed = false;
	return err;
}

int sh_transport_listen_again(struct sh_transport *t, unsigned index, const struct sh_listen_config *c)
{
	struct sh_listen *l = index < t->listen_count && !t->listens[index]->pub.reserved ? t->listens[index] : NULL;
	int err = l ? open_again(l) : -EINVAL;
	char *origins = l ? l->origins : NULL;

	if (!err && c->advertise_host.len)
		err = advertise(l, c->advertise_host, c->advertise_port);
	if (!err && c->origin_count) {
		err = copy_origins(l, c->origins, c->origin_count);
		if (err)
			l->origins = origins;
		else
			sh_free(origins);
	}
	if (!err && l->tls && c->tls && !l->pub.connect_only && !sh_tls_has_identity(c->tls))
		err = -EPROTONOSUPPORT;
	if (err || !l->tls || !c->tls)
		return err;
	secure(l, c->tls);
	if (l->sibling)
		secure(l->sibling, c->tls);
	return 0;
}

static void close_listener(struct sh_listen *l)
{
	if (l->listener)
		l->t->env->driver->listen_close(l->t->env, l->listener);
	l->listener = NULL;
	l->pub.closed = true;
	forget_endpoint(l);
}

void sh_transport_listen_retire(struct sh_transport *t, unsigned index)
{
	struct sh_listen *l = index < t->listen_count ? t->listens[index] : NULL;

	if (!l)
		return;
	l->pub.retired = true;
	if (l->pub.proto == SH_PROTO_UDP || (l->sibling && !l->sibling->pub.retired))
		return;
	close_listener(l);
	if (l->sibling)
		close_listener(l->sibling);
}

void sh_transport_listen_close(struct sh_transport *t, unsigned index)
{
	struct sh_listen *l = index < t->listen_count ? t->listens[index] : NULL;

	if (!l || !l->pub.retired || !l->udp)
		return;
	t->env->driver->udp_close(t->env, l->udp);
	l->udp = NULL;
	l->pub.closed = true;
	forget_endpoint(l);
}

bool sh_transport_endpoint_unused(const struct sh_transport *t, unsigned index)
{
	return index < t->listen_count && t->listens[index]->pub.closed && t->listens[index]->flows == 0;
}

const char *sh_listen_uri_parse(struct sh_slice text, enum sh_proto *proto, struct sh_addr *addr)
{
	struct sh_slice scheme, rest, host, port = {0};
	uint32_t n;

	if (!sh_slice_cut(text, ':', &scheme, &rest) || !sh_slice_starts(rest, SH_LIT("//")))
		return "a URI like udp://127.0.0.1:5060 is expected";
	*proto = sh_proto_lookup(scheme);
	if (*proto == SH_PROTO_OTHER)
		return "the transport must be udp, tcp, tls, ws or wss";
	host = sh_slice_make(rest.base + 2, rest.len - 2);
	if (host.len && host.base[0] == '[') {
		ptrdiff_t end = sh_slice_find(host, ']');

		if (end > 0 && (size_t)end + 1 < host.len && host.base[end + 1] == ':')
			port = sh_slice_make(host.base + end + 2, host.len - (size_t)end - 2);
		if (end > 0)
			host.len = (size_t)end + 1;
	} else if (!sh_slice_cut(host, ':', &host, &port)) {
		port.base = NULL;
	}
	n = sh_proto_port(*proto);
	if (port.base && (sh_slice_u32(port, &n) < 0 || n > 65535))
		return "bad port";
	return sh_addr_parse(addr, host, (uint16_t)n) < 0 ? "the host is no IP address" : NULL;
}

/* Datagram sockets stay: the calls that are left need them for their last requests and answers. */
void sh_transport_listen_stop(struct sh_transport *t)
{
	t->stopped = true;
	for (unsigned i = 0; i < t->listen_count; i++) {
		struct sh_listen *l = t->listens[i];
		if (l->listener)
			t->env->driver->listen_close(t->env, l->listener);
		l->listener = NULL;
	}
}

unsigned sh_transport_endpoints(const struct sh_transport *t)
{
	return t->listen_count;
}

const struct sh_endpoint *sh_transport_endpoint(const struct sh_transport *t, unsigned index)
{
	return index < t->listen_count ? &t->listens[index]->pub : NULL;
}

static bool fits(const struct sh_listen *l, const struct sh_path *p)
{
	return l->pub.proto == (enum sh_proto)p->proto && !l->pub.reserved && !(l->pub.closed && l->pub.proto == SH_PROTO_UDP) &&
	       (p->remote.family == 0 || l->pub.local.family == p->remote.family);
}

struct sh_listen *sh_listen_for(const struct sh_transport *t, const struct sh_path *p)
{
	if (p->endpoint < t->listen_count && fits(t->listens[p->endpoint], p))
		return t->listens[p->endpoint];
	for (unsigned i = 0; i < t->listen_count; i++) {
		if (fits(t->listens[i], p) && !t->listens[i]->pub.retired)
			return t->listens[i];
	}
	return NULL;
}

bool sh_transport_renumber(const struct sh_transport *t, struct sh_path *path)
{
	const struct sh_listen *other;

	for (unsigned i = 0; i < t->listen_count; i++) {
		const struct sh_endpoint *e = &t->listens[i]->pub;

		if (e->proto != (enum sh_proto)path->proto || e->closed || e->connect_only || e->local.family != path->local.family ||
		    e->local.port != path->local.port || !(t->listens[i]->any || sh_addr_same_host(&e->local, &path->local)))
			continue;
		path->endpoint = (uint8_t)i;
		return true;
	}
	path->endpoint = UINT8_MAX;
	other = sh_listen_for(t, path);
	path->endpoint = other ? other->index : 0;
	return false;
}

void sh_transport_sent_by(const struct sh_transport *t, const struct sh_path *p, char buf[SH_ADDR_TEXT],
			  struct sh_slice *host, uint16_t *port)
{
	const struct sh_listen *l = sh_listen_for(t, p);
	const struct sh_flow *f = p->flow ? sh_flow_by_id(t, p->flow) : NULL;
	const struct sh_addr *local = sh_addr_is_source(&p->local) || !f ? &p->local : &f->local;

	if (!l && t->listen_count > 0)
		l = t->listens[0];
	if (l && (l->named || !l->any || !sh_addr_is_source(local)))
		*host = l->pub.host;
	else if (sh_addr_is_source(local))
		*host = sh_slice_make(buf, sh_addr_format_host(local, buf));
	else
		*host = SH_LIT("localhost"); /* no endpoint at all: nobody can answer anyway */
	*port = l ? l->pub.port : sh_proto_port((enum sh_proto)p->proto);
}
