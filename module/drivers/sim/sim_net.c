/* Addresses and who has bound them, links between hosts with their delay and loss, faults, and the trace. */
#include <errno.h>

#include "core/alloc.h"
#include "drivers/sim/sim_impl.h"

enum { PORT_FIRST = 49152, PORT_COUNT = 65536 - PORT_FIRST };

struct sim_fault {
	struct sh_link link;
	struct sh_addr addr;
	unsigned modes;
};

static struct sh_slice addr_bytes(const struct sh_addr *a)
{
	return sh_slice_make((const char *)a, sizeof(*a));
}

static struct sh_addr host_only(const struct sh_addr *a)
{
	struct sh_addr host = *a;

	host.port = 0;
	return host;
}

/* ---- binding ---- */

/* Another host's "any" is another place. */
static uint64_t port_hash(const struct sh_sim *sim, enum sim_proto proto, const struct sh_addr *addr,
			  const struct sim_host *host)
{
	uint32_t where[2] = {(uint32_t)proto, sh_addr_is_any(addr) ? host->number : 0};
	struct sh_slice parts[2] = {addr_bytes(addr), {(const char *)where, sizeof(where)}};

	return sh_hash_slices(&sim->key, parts, 2);
}

static struct sim_port *find_port(const struct sh_sim *sim, enum sim_proto proto, const struct sh_addr *addr,
				  const struct sim_host *host)
{
	struct sh_hash_node *n = sh_hash_find(&sim->ports, port_hash(sim, proto, addr, host));

	for (; n; n = sh_hash_next(n)) {
		struct sim_port *p = SH_CONTAINER(n, struct sim_port, node);
		if (p->proto == proto && sh_addr_eq(&p->addr, addr) && (!sh_addr_is_any(addr) || p->host == host))
			return p;
	}
	return NULL;
}

uint16_t sim_any_port(struct sh_sim *sim, struct sim_host *host, enum sim_proto proto, const struct sh_addr *local)
{
	for (int i = 0; i < PORT_COUNT; i++) {
		struct sh_addr a = *local;
		a.port = host->next_port;
		host->next_port = a.port == UINT16_MAX ? PORT_FIRST : (uint16_t)(a.port + 1);
		if (!find_port(sim, proto, &a, host))
			return a.port;
	}
	return 0;
}

static bool may_join(const struct sim_port *p, const struct sim_env *env)
{
	if (p->host != env->host)
		return false;
	SH_LIST_EACH(l, &p->members)
	{
		if (SH_CONTAINER(l, struct sim_member, link)->env == env)
			return false; /* SO_REUSEPORT is for the other workers */
	}
	return true;
}

static struct sim_port *port_create(struct sh_sim *sim, enum sim_proto proto, const struct sh_addr *addr,
				    struct sim_host *host)
{
	struct sim_port *p = sh_calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->addr = *addr;
	p->host = host;
	p->proto = proto;
	sh_list_init(&p->members);
	sh_hash_insert(&sim->ports, &p->node, port_hash(sim, proto, addr, host));
	return p;
}

int sim_bind(struct sim_env *env, enum sim_proto proto, const struct sh_addr *local, struct sim_member *m,
	     struct sh_addr *bound)
{
	struct sh_sim *sim = env->sim;
	struct sh_addr addr = *local;
	struct sim_port *p;

	if (env->stopped)
		return -ESHUTDOWN;
	if (addr.family == 0)
		return -EINVAL;
	if (addr.port == 0)
		addr.port = sim_any_port(sim, env->host, proto, local);
	if (addr.port == 0)
		return -EADDRINUSE;
	p = find_port(sim, proto, &addr, env->host);
	if (p && !may_join(p, env))
		return -EADDRINUSE;
	if (!p)
		p = port_create(sim, proto, &addr, env->host);
	if (!p)
		return -ENOMEM;
	m->port = p;
	m->env = env;
	sh_list_append(&p->members, &m->link);
	p->count++;
	env->handles++;
	if (bound)
		*bound = addr;
	return 0;
}

void sim_unbind(struct sh_sim *sim, struct sim_member *m)
{
	struct sim_port *p = m->port;

	m->env->handles--;
	sh_list_remove(&m->link);
	if (--p->count > 0)
		return;
	sh_hash_remove(&sim->ports, &p->node);
	sh_free(p);
}

/* ---- finding ---- */

/* An address that somebody added is his, even if it is the automatic one of another host. */
static struct sim_host *owner_of(const struct sh_sim *sim, const struct sh_addr *addr)
{
	struct sim_host *automatic = NULL;

	SH_LIST_EACH(l, &sim->hosts)
	{
		struct sim_host *h = SH_CONTAINER(l, struct sim_host, link);
		for (size_t i = 0; i < h->count; i++) {
			if (!sh_addr_same_host(&h->addrs[i], addr))
				continue;
			if (i >= SIM_AUTOMATIC)
				return h;
			automatic = h;
		}
	}
	return automatic;
}

static struct sh_addr any_of(const struct sh_addr *a)
{
	struct sh_addr any = {.family = a->family, .port = a->port};

	return any;
}

void sh_sim_set_pick(struct sh_sim *sim, sh_sim_pick_fn fn, void *ctx)
{
	sim->pick = fn;
	sim->pick_ctx = ctx;
}

struct sim_member *sim_find(struct sh_sim *sim, enum sim_proto proto, const struct sh_addr *from,
			    const struct sh_addr *to, const struct sh_slice *datagram)
{
	struct sim_port *p = sh_addr_is_any(to) ? NULL : find_port(sim, proto, to, NULL);
	struct sim_host *owner = p ? NULL : owner_of(sim, to);
	struct sh_slice pair[2] = {addr_bytes(from), addr_bytes(to)};
	uint64_t index;

	if (owner) {
		struct sh_addr any = any_of(to);
		p = find_port(sim, proto, &any, owner);
	}
	if (!p)
		return NULL;
	if (p->count == 1)
		index = 0;
	else if (sim->pick && datagram)
		index = sim->pick(sim->pick_ctx, datagram->base, datagram->len, (unsigned)p->count) % p->count;
	else
		index = sh_hash_slices(&sim->key, pair, 2) % p->count;
	SH_LIST_EACH(l, &p->members)
	{
		if (index-- == 0)
			return SH_CONTAINER(l, struct sim_member, link);
	}
	return NULL;
}

struct sim_member *sim_find_sender(struct sh_sim *sim, struct sim_env *env, const struct sh_addr *local)
{
	struct sh_addr any = any_of(local);
	struct sim_port *places[2] = {find_port(sim, SIM_UDP, local, env->host),
				      find_port(sim, SIM_UDP, &any, env->host)};

	for (int i = 0; i < 2; i++) {
		if (!places[i])
			continue;
		SH_LIST_EACH(l, &places[i]->members)
		{
			struct sim_member *m = SH_CONTAINER(l, struct sim_member, link);
			if (m->env == env)
				return m;
		}
	}
	return NULL;
}

bool sim_source(const struct sim_host *host, const struct sh_addr *to, struct sh_addr *out)
{
	const struct sh_addr *found = NULL;

	/* The first one that was added, else the automatic one (which stands before them). */
	for (size_t i = host->count; i-- > 0;) {
		if (host->addrs[i].family == to->family && (i >= SIM_AUTOMATIC || !found))
			found = &host->addrs[i];
	}
	if (found)
		*out = *found;
	return found != NULL;
}

/* ---- links and faults ---- */

struct sim_link *sim_link_get(struct sh_sim *sim, const struct sh_addr *from, const struct sh_addr *to)
{
	struct sh_addr ends[2] = {host_only(from), host_only(to)};
	struct sh_slice parts[2] = {addr_bytes(&ends[0]), addr_bytes(&ends[1])};
	uint64_t hash = sh_hash_slices(&sim->key, parts, 2);
	struct sim_link *link;

	for (struct sh_hash_node *n = sh_hash_find(&sim->links, hash); n; n = sh_hash_next(n)) {
		link = SH_CONTAINER(n, struct sim_link, node);
		if (sh_addr_eq(&link->from, &ends[0]) && sh_addr_eq(&link->to, &ends[1]))
			return link;
	}
	link = sim_calloc(sizeof(*link));
	if (!link)
		return NULL;
	link->from = ends[0];
	link->to = ends[1];
	link->loss = -1;
	sh_hash_insert(&sim->links, &link->node, hash);
	return link;
}

int sh_sim_set_link_loss(struct sh_sim *sim, const struct sh_addr *from, const struct sh_addr *to, double loss)
{
	struct sim_link *link = sim_link_get(sim, from, to);

	if (!link)
		return -ENOMEM;
	link->loss = loss;
	return 0;
}

bool sim_chance(struct sh_sim *sim, double probability)
{
	if (probability <= 0)
		return false;
	return (double)(sh_random_u64(&sim->random) >> 11) * 0x1p-53 < probability;
}

uint64_t sim_delay(struct sh_sim *sim)
{
	return sim->delay_min + sh_random_below(&sim->random, sim->delay_max - sim->delay_min + 1);
}

double sim_loss(struct sh_sim *sim, const struct sim_link *link)
{
	return link && link->loss >= 0 ? link->loss : sim->loss;
}

static struct sim_fault *find_fault(const struct sh_sim *sim, const struct sh_addr *addr)
{
	SH_LIST_EACH(l, &sim->faults)
	{
		struct sim_fault *f = SH_CONTAINER(l, struct sim_fault, link);
		if (sh_addr_eq(&f->addr, addr))
			return f;
	}
	return NULL;
}

unsigned sim_fault(const struct sh_sim *sim, const struct sh_addr *to)
{
	struct sh_addr whole = host_only(to);
	const struct sim_fault *one = find_fault(sim, to), *all = find_fault(sim, &whole);

	return (one ? one->modes : 0) | (all ? all->modes : 0);
}

int sh_sim_set_unreachable(struct sh_sim *sim, const struct sh_addr *addr, unsigned modes)
{
	struct sim_fault *f = find_fault(sim, addr);

	if (!f) {
		f = sh_calloc(1, sizeof(*f));
		if (!f)
			return -ENOMEM;
		f->addr = *addr;
		sh_list_append(&sim->faults, &f->link);
	}
	f->modes = modes;
	return 0;
}

void sh_sim_set_filter(struct sh_sim *sim, sh_sim_filter_fn fn, void *ctx)
{
	sim->filter = fn;
	sim->filter_ctx = ctx;
}

/* ---- trace ---- */

void sh_sim_set_trace(struct sh_sim *sim, sh_sim_trace_fn fn, void *ctx)
{
	sim->trace = fn;
	sim->trace_ctx = ctx;
}

uint64_t sh_sim_trace_hash(const struct sh_sim *sim)
{
	return sim->trace_hash;
}

void sim_record(struct sh_sim *sim, enum sh_sim_happening what, enum sim_proto proto, const struct sh_addr *from,
		const struct sh_addr *to, const char *data, size_t len)
{
	static const struct sh_hash_key key = {{1, 2}}; /* not the seed's: only what happened counts */
	uint64_t head[4] = {sim->trace_hash, sim->now, (uint64_t)what, (uint64_t)proto};
	struct sh_slice parts[4] = {{(const char *)head, sizeof(head)}, addr_bytes(from), addr_bytes(to), {data, len}};

	if (!sim->unhashed)
		sim->trace_hash = sh_hash_slices(&key, parts, 4);
	if (sim->trace) {
		struct sh_sim_record r = {what, proto == SIM_TCP, sim->now, *from, *to, {data, len}};
		sim->trace(&r, sim->trace_ctx);
	}
}

static void free_link(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	sim_free(SH_CONTAINER(n, struct sim_link, node));
}

void sim_net_finish(struct sh_sim *sim)
{
	sh_hash_each(&sim->links, free_link, NULL);
	for (struct sh_link *l; (l = sh_list_pop(&sim->faults)) != NULL;)
		sh_free(SH_CONTAINER(l, struct sim_fault, link));
}
