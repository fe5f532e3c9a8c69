/* What the parts of the simulation share. The parts: sim.c (environments, clock), sim_queue.c (events), sim_net.c
 * (addresses, links, faults, trace), sim_udp.c, sim_tcp.c, sim_dns.c (the zone), sim_work.c (jobs, posts),
 * sim_http.c. */
#ifndef SH_DRIVERS_SIM_SIM_IMPL_H
#define SH_DRIVERS_SIM_SIM_IMPL_H

#include "drivers/sim/sim.h"

/* ---- events ----
 * A pairing heap ordered by (at, seq): its links are in the event, so that putting one in cannot fail. */

struct sim_event;
/* deliver is false when the simulation ends: then only give back what the event holds. */
typedef void (*sim_event_fn)(struct sh_sim *sim, struct sim_event *e, bool deliver);

struct sim_event {
	uint64_t at, seq;
	struct sim_event *child, *sibling;
	sim_event_fn run;
	bool queued;
	bool idle; /* a timeout of the network: not "under way" for sh_sim_run_idle */
};

struct sim_queue {
	struct sim_event *root;
	uint64_t seq;
	size_t under_way; /* queued events that are not idle */
};

void sim_queue_push(struct sim_queue *q, struct sim_event *e, uint64_t at);
struct sim_event *sim_queue_pop(struct sim_queue *q); /* NULL when empty */
static inline uint64_t sim_queue_next(const struct sim_queue *q)
{
	return q->root ? q->root->at : SH_NEVER;
}

/* Memory of the network itself: see the head of sim.h. */
void *sim_malloc(size_t n);
void *sim_calloc(size_t n);
void sim_free(void *p);

/* ---- hosts, environments ---- */

enum { SIM_AUTOMATIC = 2 }; /* addresses that every host has */

struct sim_host {
	struct sh_link link; /* sim->hosts, oldest first */
	unsigned number;
	struct sh_addr *addrs; /* the automatic ones, then those added */
	size_t count;
	uint16_t next_port; /* for sockets that take any */
};

struct sim_env {
	struct sh_env env;
	struct sh_sim *sim;
	struct sh_link link; /* sim->envs, oldest first */
	struct sim_host *host;
	struct sh_link out;         /* sim_datagram.link: queued with udp_send in this turn */
	struct sh_link jobs, posts; /* not finished yet, oldest first */
	size_t posts_pending, handles;
	uint64_t last_job, last_post; /* when the latest one ends or arrives: both keep their order */
	bool dirty;                   /* had an event or queued a datagram: its turn must end */
	bool stopped;
};

static inline struct sim_env *sim_env_of(struct sh_env *env)
{
	return SH_CONTAINER(env, struct sim_env, env);
}

/* The environment may be given events: it has a receiver and is not stopped. Marks it dirty. */
bool sim_env_enter(struct sim_env *e);

struct sh_sim {
	uint64_t now;
	struct sim_queue queue;
	struct sh_random random; /* the network's own */
	struct sh_log quiet;
	double loss, duplicate, reorder;
	uint64_t delay_min, delay_max, seed;
	enum sh_sim_chunks chunks;
	size_t window, post_ring;
	struct sh_pool_stock *stock;
	bool unhashed;
	struct sh_log *log;
	struct sh_hash_key key;
	sh_sim_pick_fn pick; /* NULL: a hash */
	void *pick_ctx;
	struct sh_link hosts, envs, zone, faults, udps, listeners, conns;
	struct sh_hash ports; /* sim_port by address */
	struct sh_hash links; /* sim_link by pair of IP addresses */
	unsigned host_count, env_count;
	sh_sim_filter_fn filter;
	void *filter_ctx;
	sh_sim_http_fn http;
	void *http_ctx;
	sh_sim_trace_fn trace;
	void *trace_ctx;
	uint64_t trace_hash;
	uint64_t queries;
};

/* ---- addresses (sim_net.c) ---- */

enum sim_proto { SIM_UDP, SIM_TCP };

/* What is bound to an address: a member for each worker, in the order of binding. */
struct sim_port {
	struct sh_hash_node node;
	struct sh_addr addr;
	struct sim_host *host;
	enum sim_proto proto;
	struct sh_link members; /* sim_member.link */
	size_t count;
};

struct sim_member {
	struct sh_link link;
	struct sim_port *port;
	struct sim_env *env;
	void *user;
};

/* 0, -EADDRINUSE, -EINVAL, -ENOMEM. */
int sim_bind(struct sim_env *env, enum sim_proto proto, const struct sh_addr *local, struct sim_member *m,
	     struct sh_addr *bound);
void sim_unbind(struct sh_sim *sim, struct sim_member *m);

/* Who gets what `from` sends to `to`; NULL: nobody bound it. datagram: what comes, for sh_sim_set_pick(); a connection has
 * none. */
struct sim_member *sim_find(struct sh_sim *sim, enum sim_proto proto, const struct sh_addr *from,
			    const struct sh_addr *to, const struct sh_slice *datagram);
/* The socket of a host that sends as `local`: the bound one or that of any address. */
struct sim_member *sim_find_sender(struct sh_sim *sim, struct sim_env *env, const struct sh_addr *local);

/* The address that a host uses towards `to`; false when it has none of that family. */
bool sim_source(const struct sim_host *host, const struct sh_addr *to, struct sh_addr *out);
uint16_t sim_any_port(struct sh_sim *sim, struct sim_host *host, enum sim_proto proto, const struct sh_addr *local);

/* One direction between two IP addresses. */
struct sim_link {
	struct sh_hash_node node;
	struct sh_addr from, to;
	double loss;      /* below 0: the general one */
	uint64_t arrival; /* of the latest datagram that keeps its order */
};
/* Creates it when it is new; NULL when memory is out. */
struct sim_link *sim_link_get(struct sh_sim *sim, const struct sh_addr *from, const struct sh_addr *to);

bool sim_chance(struct sh_sim *sim, double probability);
uint64_t sim_delay(struct sh_sim *sim);
double sim_loss(struct sh_sim *sim, const struct sim_link *link);
unsigned sim_fault(const struct sh_sim *sim, const struct sh_addr *to); /* SH_SIM_UDP_... and SH_SIM_TCP_... */

void sim_record(struct sh_sim *sim, enum sh_sim_happening what, enum sim_proto proto, const struct sh_addr *from,
		const struct sh_addr *to, const char *data, size_t len);
void sim_net_finish(struct sh_sim *sim);

/* ---- operations of the driver ---- */

int sim_udp_open(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_udp **out,
		 struct sh_addr *bound);
void sim_udp_send(struct sh_env *env, struct sh_udp *u, const struct sh_addr *from, const struct sh_addr *to,
		  const char *data, size_t len);
void sim_udp_close(struct sh_env *env, struct sh_udp *u);
bool sim_udp_shared(struct sh_env *env, const struct sh_udp *u);
void sim_udp_flush(struct sim_env *e); /* the turn is over: what was queued enters the network */
void sim_udp_finish(struct sh_sim *sim);

int sim_listen(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_listener **out,
	       struct sh_addr *bound);
void sim_listen_close(struct sh_env *env, struct sh_listener *l);
int sim_connect(struct sh_env *env, const struct sh_addr *local, const struct sh_addr *remote, void *user,
		struct sh_stream **out);
ssize_t sim_write(struct sh_env *env, struct sh_stream *s, const char *data, size_t len);
void sim_read_enable(struct sh_env *env, struct sh_stream *s, bool on);
void sim_close(struct sh_env *env, struct sh_stream *s);
void sim_tcp_finish(struct sh_sim *sim);

int sim_query(struct sh_env *env, struct sh_slice name, enum sh_dns_type type, sh_dns_fn fn, void *ctx);
void sim_dns_finish(struct sh_sim *sim);
int sim_background(struct sh_env *env, void (*work)(void *arg), void (*done)(void *arg), void *arg);
int sim_post(struct sh_env *env, unsigned worker, void (*fn)(struct sh_env *target, void *arg), void *arg);
int sim_http(struct sh_env *env, const struct sh_http_request *rq, sh_http_fn fn, void *ctx, struct sh_http **out);
void sim_http_cancel(struct sh_env *env, struct sh_http *h);
void sim_work_stop(struct sim_env *e);

#endif
