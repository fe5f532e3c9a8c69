#include "drivers/sim/sim.h"

#include <errno.h>

#include "core/alloc.h"
#include "drivers/sim/sim_impl.h"

#define START      SH_SECOND                          /* not 0, which often means "unset" */
#define WALL_START (UINT64_C(1767225600) * SH_SECOND) /* 2026-01-01T00:00:00Z */

static const struct sh_driver sim_driver = {
    .udp_open = sim_udp_open,
    .udp_send = sim_udp_send,
    .udp_close = sim_udp_close,
    .udp_shared = sim_udp_shared,
    .listen = sim_listen,
    .listen_close = sim_listen_close,
    .connect = sim_connect,
    .write = sim_write,
    .read_enable = sim_read_enable,
    .close = sim_close,
    .query = sim_query,
    .http = sim_http,
    .http_cancel = sim_http_cancel,
    .background = sim_background,
    .post = sim_post,
};

/* ---- life ---- */

static bool is_probability(double p)
{
	return p >= 0 && p <= 1;
}

static void init_fields(struct sh_sim *sim, const struct sh_sim_options *o)
{
	sim->now = START;
	sim->seed = o->seed;
	sim->loss = o->loss;
	sim->duplicate = o->duplicate;
	sim->reorder = o->reorder;
	sim->delay_min = o->delay_min > 0 ? o->delay_min : 1; /* a network takes time, and so time goes on */
	sim->delay_max = o->delay_max > sim->delay_min ? o->delay_max : sim->delay_min;
	sim->chunks = o->chunks;
	sim->window = o->window > 0 ? o->window : 65536;
	sim->stock = o->stock;
	sim->unhashed = o->unhashed;
	sim->post_ring = o->post_ring > 0 ? o->post_ring : 4096;
	sh_log_init(&sim->quiet, SH_LOG_ERROR, NULL, NULL);
	sim->log = o->log ? o->log : &sim->quiet;
	sh_random_init_seed(&sim->random, o->seed);
	sim->key.k[0] = sh_random_u64(&sim->random);
	sim->key.k[1] = sh_random_u64(&sim->random);
	struct sh_link *heads[] = {&sim->hosts, &sim->envs,      &sim->zone, &sim->faults,
				   &sim->udps,  &sim->listeners, &sim->conns};
	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		sh_list_init(heads[i]);
}

int sh_sim_create(struct sh_sim **out, const struct sh_sim_options *o)
{
	struct sh_sim *sim;

	if (!is_probability(o->loss) || !is_probability(o->duplicate) || !is_probability(o->reorder))
		return -EINVAL;
	sim = sh_calloc(1, sizeof(*sim));
	if (!sim)
		return -ENOMEM;
	if (sh_hash_init(&sim->ports, 64) < 0)
		goto no_ports;
	if (sh_hash_init(&sim->links, 64) < 0)
		goto no_links;
	init_fields(sim, o);
	*out = sim;
	return 0;

no_links:
	sh_hash_finish(&sim->ports);
no_ports:
	sh_free(sim);
	return -ENOMEM;
}

static void env_destroy(struct sim_env *e)
{
	sh_list_remove(&e->link);
	sh_pool_finish(&e->env.pool);
	sh_free(e);
}

static void host_destroy(struct sim_host *h)
{
	sh_list_remove(&h->link);
	sh_free(h->addrs);
	sh_free(h);
}

void sh_sim_destroy(struct sh_sim *sim)
{
	if (!sim)
		return;
	sim->filter = NULL; /* whoever asked for them may be gone */
	sim->trace = NULL;
	sim->http = NULL;
	SH_LIST_EACH(l, &sim->envs)
	sh_sim_env_stop(&SH_CONTAINER(l, struct sim_env, link)->env);
	for (struct sim_event *e; (e = sim_queue_pop(&sim->queue)) != NULL;)
		e->run(sim, e, false);
	sim_tcp_finish(sim);
	sim_udp_finish(sim);
	sim_dns_finish(sim);
	sim_net_finish(sim);
	while (!sh_list_empty(&sim->envs))
		env_destroy(SH_CONTAINER(sim->envs.next, struct sim_env, link));
	while (!sh_list_empty(&sim->hosts))
		host_destroy(SH_CONTAINER(sim->hosts.next, struct sim_host, link));
	sh_hash_finish(&sim->links);
	sh_hash_finish(&sim->ports);
	sh_free(sim);
}

/* ---- hosts ---- */

/* 10.0.x.y and fd00::x:y of the host's number. */
static void automatic_addrs(const struct sim_host *h, struct sh_addr out[SIM_AUTOMATIC])
{
	memset(out, 0, SIM_AUTOMATIC * sizeof(*out));
	out[0].family = 4;
	out[0].ip[0] = 10;
	out[0].ip[2] = (uint8_t)(h->number >> 8);
	out[0].ip[3] = (uint8_t)h->number;
	out[1].family = 6;
	out[1].ip[0] = 0xfd;
	out[1].ip[13] = (uint8_t)(h->number >> 8);
	out[1].ip[15] = (uint8_t)h->number;
}

static struct sim_host *host_create(struct sh_sim *sim)
{
	struct sim_host *h = sh_calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->addrs = sh_calloc(SIM_AUTOMATIC, sizeof(*h->addrs));
	if (!h->addrs) {
		sh_free(h);
		return NULL;
	}
	h->number = ++sim->host_count;
	h->count = SIM_AUTOMATIC;
	h->next_port = 49152; /* RFC 6335 6: the dynamic ports */
	automatic_addrs(h, h->addrs);
	sh_list_append(&sim->hosts, &h->link);
	return h;
}

int sh_sim_host_add_addr(struct sh_env *env, const struct sh_addr *addr)
{
	struct sim_host *h = sim_env_of(env)->host;
	struct sh_addr *more = sh_realloc(h->addrs, (h->count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	more[h->count] = *addr;
	more[h->count].port = 0;
	h->addrs = more;
	h->count++;
	return 0;
}

/* ---- environments ---- */

static void init_env(struct sim_env *e, struct sh_sim *sim, unsigned worker, unsigned workers)
{
	e->sim = sim;
	e->env.driver = &sim_driver;
	e->env.now = sim->now;
	e->env.wall_offset = WALL_START - START;
	e->env.worker = worker;
	e->env.workers = workers;
	e->env.key = sim->key;
	e->env.log = sim->log;
	sh_wheel_init(&e->env.wheel, sim->now);
	sh_pool_init(&e->env.pool, sim->stock);
	/* Its own sequence: what one environment draws does not change the network or another one. */
	sh_random_init_seed(&e->env.random, sim->seed ^ UINT64_C(0x5851f42d4c957f2d) * ++sim->env_count);
	sh_list_init(&e->out);
	sh_list_init(&e->jobs);
	sh_list_init(&e->posts);
}

struct sh_env *sh_sim_env_create(struct sh_sim *sim, unsigned worker, unsigned workers)
{
	struct sim_env *e;

	if (worker > 0 && sh_list_empty(&sim->hosts))
		return NULL;
	e = sh_calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->host = worker == 0 ? host_create(sim) : SH_CONTAINER(sim->hosts.prev, struct sim_host, link);
	if (!e->host) {
		sh_free(e);
		return NULL;
	}
	init_env(e, sim, worker, workers);
	sh_list_append(&sim->envs, &e->link);
	return &e->env;
}

void sh_sim_env_stop(struct sh_env *env)
{
	struct sim_env *e = sim_env_of(env);

	if (e->stopped)
		return;
	e->stopped = true;
	sim_work_stop(e);
	sim_udp_flush(e);
	e->dirty = false;
}

size_t sh_sim_open_handles(const struct sh_env *env)
{
	return SH_CONTAINER(env, const struct sim_env, env)->handles;
}

bool sim_env_enter(struct sim_env *e)
{
	if (e->stopped || !e->env.events)
		return false;
	e->dirty = true;
	return true;
}

/* ---- time ---- */

uint64_t sh_sim_seed(const struct sh_sim *sim)
{
	return sim->seed;
}

uint64_t sh_sim_now(const struct sh_sim *sim)
{
	return sim->now;
}

static void set_now(struct sh_sim *sim, uint64_t t)
{
	if (t <= sim->now)
		return;
	sim->now = t;
	SH_LIST_EACH(l, &sim->envs)
	SH_CONTAINER(l, struct sim_env, link)->env.now = t;
}

/* Ends the turn of every environment that had one. A turn's end may queue datagrams elsewhere (a test's peer called
 * from the engine's callback), hence the outer loop. */
static void settle(struct sh_sim *sim)
{
	bool again;

	do {
		again = false;
		SH_LIST_EACH(l, &sim->envs)
		{
			struct sim_env *e = SH_CONTAINER(l, struct sim_env, link);
			if (!e->dirty)
				continue;
			again = true;
			if (e->env.events && e->env.events->turn_end)
				e->env.events->turn_end(e->env.events_ctx);
			sim_udp_flush(e);
			e->dirty = !sh_list_empty(&e->out); /* a filter may have sent */
		}
	} while (again);
}

static uint64_t next_timer(const struct sh_sim *sim)
{
	uint64_t next = SH_NEVER;

	SH_LIST_EACH(l, &sim->envs)
	{
		const struct sim_env *e = SH_CONTAINER(l, struct sim_env, link);
		uint64_t t = e->stopped ? SH_NEVER : sh_wheel_next(&e->env.wheel);
		if (t < next)
			next = t;
	}
	return next;
}

/* Advances every wheel to now; true when a timer fired. */
static bool fire_timers(struct sh_sim *sim)
{
	bool any = false;

	SH_LIST_EACH(l, &sim->envs)
	{
		struct sim_env *e = SH_CONTAINER(l, struct sim_env, link);
		uint64_t fired = e->env.wheel.fired;
		if (e->stopped)
			continue;
		sh_wheel_advance(&e->env.wheel, sim->now);
		if (e->env.wheel.fired != fired)
			any = e->dirty = true;
	}
	return any;
}

bool sh_sim_step_until(struct sh_sim *sim, uint64_t limit)
{
	settle(sim);
	for (;;) {
		uint64_t event = sim_queue_next(&sim->queue), timer = next_timer(sim);
		uint64_t at = event < timer ? event : timer;

		if (at == SH_NEVER || at > limit)
			return false;
		set_now(sim, at);
		if (event <= timer || event <= sim->now) {
			struct sim_event *e = sim_queue_pop(&sim->queue);
			e->run(sim, e, true);
		} else if (!fire_timers(sim)) {
			continue; /* a wheel moved timers to a lower level, that is all */
		}
		settle(sim);
		return true;
	}
}

bool sh_sim_step(struct sh_sim *sim)
{
	return sh_sim_step_until(sim, SH_NEVER);
}

void sh_sim_run_until(struct sh_sim *sim, uint64_t t)
{
	while (sh_sim_step_until(sim, t))
		;
	set_now(sim, t);
}

void sh_sim_advance(struct sh_sim *sim, uint64_t us)
{
	sh_sim_run_until(sim, sim->now + us);
}

bool sh_sim_run_idle(struct sh_sim *sim, uint64_t limit)
{
	uint64_t end = sim->now + limit;

	settle(sim);
	while (sim->queue.under_way > 0) {
		if (!sh_sim_step_until(sim, end)) {
			set_now(sim, end);
			return false;
		}
	}
	return true;
}
