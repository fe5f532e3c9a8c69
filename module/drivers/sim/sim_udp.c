/* Datagrams: they are lost, doubled, delayed and overtaken as the seed says; ICMP comes back for those that nobody
 * wanted. */
#include <errno.h>

#include "core/alloc.h"
#include "drivers/sim/sim_impl.h"

enum {
	DATAGRAM_MAX = 65507, /* what IPv4 can carry in UDP */
	ICMP_QUOTE = 520,     /* a router quotes at most 576 bytes with all headers (RFC 1812 4.3.2.3) */
};

struct sh_udp {
	struct sim_member member;
	struct sh_link link; /* sim->udps */
};

struct sim_datagram {
	struct sim_event event;
	struct sh_link link; /* sim_env.out, until the turn ends */
	struct sim_env *sender;
	struct sh_addr from, to;
	int error; /* of the ICMP message that this has become */
	size_t len;
	char data[];
};

int sim_udp_open(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_udp **out,
		 struct sh_addr *bound)
{
	struct sim_env *e = sim_env_of(env);
	struct sh_udp *u = sh_calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	err = sim_bind(e, SIM_UDP, local, &u->member, bound);
	if (err) {
		sh_free(u);
		return err;
	}
	u->member.user = user;
	sh_list_append(&e->sim->udps, &u->link);
	*out = u;
	return 0;
}

static void destroy(struct sh_sim *sim, struct sh_udp *u)
{
	sim_unbind(sim, &u->member);
	sh_list_remove(&u->link);
	sh_free(u);
}

void sim_udp_close(struct sh_env *env, struct sh_udp *u)
{
	destroy(sim_env_of(env)->sim, u);
}

bool sim_udp_shared(struct sh_env *env, const struct sh_udp *u)
{
	return u->member.port->count > 1 && sim_env_of(env)->sim->pick;
}

void sim_udp_finish(struct sh_sim *sim)
{
	while (!sh_list_empty(&sim->udps))
		destroy(sim, SH_CONTAINER(sim->udps.next, struct sh_udp, link));
}

/* The source address that the network will see; false when the host has none of that family. */
static bool source_of(const struct sim_member *m, const struct sh_addr *from, const struct sh_addr *to,
		      struct sh_addr *out)
{
	const struct sh_addr *bound = &m->port->addr;
	struct sh_addr source = *bound;

	if (bound->family != to->family)
		return false;
	if (sh_addr_is_any(bound)) {
		if (from && from->family == to->family && !sh_addr_is_any(from))
			source = *from;
		else if (!sim_source(m->env->host, to, &source))
			return false;
		source.port = bound->port;
	}
	*out = source;
	return true;
}

static struct sim_datagram *datagram_create(struct sim_env *sender, const struct sh_addr *from,
					    const struct sh_addr *to, const char *data, size_t len)
{
	struct sim_datagram *d = sim_malloc(sizeof(*d) + len);

	if (!d)
		return NULL;
	memset(d, 0, sizeof(*d));
	d->sender = sender;
	d->from = *from;
	d->to = *to;
	d->len = len;
	if (len > 0)
		memcpy(d->data, data, len);
	return d;
}

void sim_udp_send(struct sh_env *env, struct sh_udp *u, const struct sh_addr *from, const struct sh_addr *to,
		  const char *data, size_t len)
{
	struct sim_env *e = sim_env_of(env);
	struct sim_datagram *d;
	struct sh_addr source;

	if (e->stopped || len > DATAGRAM_MAX || to->port == 0 || !source_of(&u->member, from, to, &source))
		return;
	d = datagram_create(e, &source, to, data, len);
	if (!d)
		return;
	sh_list_append(&e->out, &d->link);
	e->dirty = true;
}

static void record(struct sh_sim *sim, enum sh_sim_happening what, const struct sim_datagram *d)
{
	sim_record(sim, what, SIM_UDP, &d->from, &d->to, d->data, d->len);
}

static void drop(struct sh_sim *sim, struct sim_datagram *d)
{
	record(sim, SH_SIM_DROPPED, d);
	sim_free(d);
}

/* ---- ICMP ---- */

static void arrive_error(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_datagram *d = SH_CONTAINER(event, struct sim_datagram, event);
	struct sim_member *m = deliver ? sim_find_sender(sim, d->sender, &d->from) : NULL;

	if (m && sim_env_enter(m->env)) {
		const struct sh_env *env = &m->env->env;
		size_t quoted = d->len < ICMP_QUOTE ? d->len : ICMP_QUOTE;
		env->events->udp_error(env->events_ctx, m->user, &d->to, d->error, d->data, quoted);
	}
	sim_free(d);
}

/* The datagram becomes the ICMP message about itself, on its way back. */
static void bounce(struct sh_sim *sim, struct sim_datagram *d, int error)
{
	struct sim_link *back = sim_link_get(sim, &d->to, &d->from);

	record(sim, SH_SIM_DROPPED, d);
	if (sim_chance(sim, sim_loss(sim, back))) {
		sim_free(d);
		return;
	}
	d->error = error;
	d->event.run = arrive_error;
	sim_queue_push(&sim->queue, &d->event, sim->now + sim_delay(sim));
}

/* ---- the way there ---- */

static void arrive(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_datagram *d = SH_CONTAINER(event, struct sim_datagram, event);
	struct sim_member *m;

	if (!deliver) {
		sim_free(d);
		return;
	}
	m = sim_find(sim, SIM_UDP, &d->from, &d->to, &(struct sh_slice){d->data, d->len});
	if (!m) {
		bounce(sim, d, -ECONNREFUSED);
		return;
	}
	if (!sim_env_enter(m->env)) {
		drop(sim, d);
		return;
	}
	record(sim, SH_SIM_DELIVERED, d);
	const struct sh_env *env = &m->env->env;
	env->events->udp_data(env->events_ctx, m->user, &d->to, &d->from, d->data, d->len);
	sim_free(d);
}

static void schedule(struct sh_sim *sim, struct sim_datagram *d, uint64_t at)
{
	d->event.run = arrive;
	sim_queue_push(&sim->queue, &d->event, at);
}

/* Far enough behind that several later datagrams overtake it. */
static uint64_t detour(struct sh_sim *sim)
{
	return 1 + sh_random_below(&sim->random, 2 * sim->delay_max + 10 * SH_MS);
}

/* The copy comes behind the original, so that what is seen for the first time keeps its order. */
static void duplicate(struct sh_sim *sim, const struct sim_datagram *d, uint64_t at)
{
	struct sim_datagram *copy = datagram_create(d->sender, &d->from, &d->to, d->data, d->len);

	if (!copy)
		return;
	record(sim, SH_SIM_DUPLICATED, copy);
	schedule(sim, copy, at + detour(sim));
}

static void travel(struct sh_sim *sim, struct sim_datagram *d)
{
	struct sim_link *link = sim_link_get(sim, &d->from, &d->to);
	uint64_t at;

	if (sim_chance(sim, sim_loss(sim, link))) {
		drop(sim, d);
		return;
	}
	at = sim->now + sim_delay(sim);
	if (sim_chance(sim, sim->reorder)) {
		at += detour(sim);
	} else if (link) {
		at = at > link->arrival ? at : link->arrival;
		link->arrival = at;
	}
	schedule(sim, d, at);
	if (sim_chance(sim, sim->duplicate))
		duplicate(sim, d, at);
}

static void transmit(struct sh_sim *sim, struct sim_datagram *d)
{
	uint64_t delay = 0;
	enum sh_sim_verdict verdict = SH_SIM_PASS;
	unsigned fault;

	record(sim, SH_SIM_SENT, d);
	if (sim->filter)
		verdict = sim->filter(&d->from, &d->to, sh_slice_make(d->data, d->len), &delay, sim->filter_ctx);
	fault = sim_fault(sim, &d->to);
	if (verdict == SH_SIM_DROP || (fault & SH_SIM_UDP_SILENT))
		drop(sim, d);
	else if (fault & SH_SIM_UDP_ICMP)
		bounce(sim, d, -EHOSTUNREACH);
	else if (verdict == SH_SIM_DELAY)
		schedule(sim, d, sim->now + delay);
	else
		travel(sim, d);
}

void sim_udp_flush(struct sim_env *e)
{
	for (struct sh_link *l; (l = sh_list_pop(&e->out)) != NULL;)
		transmit(e->sim, SH_CONTAINER(l, struct sim_datagram, link));
}
