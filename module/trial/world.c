#include "trial/world.h"

#include <errno.h>
#include <stdio.h>

#include "core/alloc.h"

enum { WORKERS_MAX = 16 };

#define RELOAD_LIMIT (60 * SH_SECOND)

struct sh_world {
	struct sh_world_options options;
	struct sh_sim *sim;
	struct sh_log log; /* of the environments */
	unsigned workers;
	struct sh_env *envs[WORKERS_MAX], *outside;
	struct sh_engine *engine;
	struct sh_shared *shared;
	struct sh_wire *wire;
	struct sh_addr addr;
	bool started;
	/* the reload that was asked for */
	bool reloaded;
	uint64_t generation;
	char *error;
	size_t error_size;
};

static void on_log(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	struct sh_world *w = ctx;

	if (w->options.log)
		w->options.log(w->options.ctx, sh_sim_now(w->sim), level, line, len);
}

static int on_prepare(void *ctx, struct sh_shared *shared)
{
	struct sh_world *w = ctx;

	w->shared = shared;
	return w->options.prepare ? w->options.prepare(w->options.ctx, shared) : 0;
}

static void on_trace(void *ctx, const struct sh_trace *t)
{
	struct sh_world *w = ctx;

	w->options.trace(w->options.ctx, t);
}

static int make_network(struct sh_world *w)
{
	struct sh_sim_options o = w->options.sim;
	int err;

	if (o.delay_max == 0)
		o.delay_min = o.delay_max = SH_MS;
	o.log = &w->log;
	o.unhashed = true;
	err = sh_sim_create(&w->sim, &o);
	for (unsigned i = 0; i < w->workers && !err; i++) {
		w->envs[i] = sh_sim_env_create(w->sim, i, w->workers);
		err = w->envs[i] ? 0 : -ENOMEM;
		if (!err && w->options.wall)
			w->envs[i]->wall_offset = w->options.wall - w->envs[i]->now;
	}
	if (!err)
		w->outside = sh_sim_env_create(w->sim, 0, 1);
	if (!err && !w->outside)
		err = -ENOMEM;
	return err ? err : sh_wire_create(&w->wire, w->outside);
}

static int make_engine(struct sh_world *w, char *error, size_t size)
{
	char addr[SH_ADDR_TEXT], udp[SH_ADDR_TEXT + 8], tcp[SH_ADDR_TEXT + 8];
	const char *const listen[] = {udp, tcp, "udp://[2001:db8:5060::1]:5060", "tcp://[2001:db8:5060::1]:5060"};
	struct sh_engine_config c = {
	    .script = w->options.script,
	    .listen = listen,
	    .nlisten = w->options.address.family ? 2 : 4,
	    .workers = w->workers,
	    .config = w->options.config,
	    .nconfig = w->options.nconfig,
	    .log_level = SH_LOG_INFO,
	    .log = on_log,
	    .log_ctx = w,
	    .simulation = {.envs = w->envs,
			   .prepare = on_prepare,
			   .trace = w->options.trace ? on_trace : NULL,
			   .read = w->options.read,
			   .read_ctx = w->options.read_ctx,
			   .credulous = w->options.credulous,
			   .ctx = w},
	};
	int err;

	sh_addr_format(&w->addr, addr);
	snprintf(udp, sizeof(udp), "udp://%s", addr);
	snprintf(tcp, sizeof(tcp), "tcp://%s", addr);
	err = sh_engine_create(&w->engine, &c, error, size);

	if (!err)
		err = sh_engine_start(w->engine, false, error, size);
	w->started = !err;
	return err;
}

int sh_world_create(struct sh_world **out, const struct sh_world_options *options, char *error, size_t size)
{
	struct sh_world *w = sh_calloc(1, sizeof(*w));
	int err = -ENOMEM;

	if (size)
		error[0] = '\0';
	if (w) {
		w->options = *options;
		w->workers = options->workers ? options->workers : 1;
		if (w->workers > WORKERS_MAX)
			w->workers = WORKERS_MAX;
		sh_log_init(&w->log, SH_LOG_INFO, on_log, w);
		w->addr = options->address;
		if (!w->addr.family)
			sh_addr_parse(&w->addr, SH_LIT("198.18.0.1"), 5060);
		err = make_network(w);
		if (!err)
			err = make_engine(w, error, size);
	}
	if (!err) {
		*out = w;
		return 0;
	}
	if (size && !error[0])
		snprintf(error, size, "%s", strerror(-err));
	sh_world_destroy(w);
	return err;
}

void sh_world_destroy(struct sh_world *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < w->workers; i++)
		if (w->envs[i])
			sh_sim_env_stop(w->envs[i]);
	sh_engine_destroy(w->engine);
	sh_wire_destroy(w->wire);
	sh_sim_destroy(w->sim);
	sh_free(w);
}

struct sh_sim *sh_world_sim(const struct sh_world *w)
{
	return w->sim;
}

struct sh_wire *sh_world_wire(const struct sh_world *w)
{
	return w->wire;
}

struct sh_engine *sh_world_engine(const struct sh_world *w)
{
	return w->engine;
}

struct sh_shared *sh_world_shared(const struct sh_world *w)
{
	return w->shared;
}

uint64_t sh_world_now(const struct sh_world *w)
{
	return sh_sim_now(w->sim);
}

const struct sh_addr *sh_world_address(const struct sh_world *w)
{
	return &w->addr;
}

struct sh_arrival *sh_world_receive(struct sh_world *w, uint64_t until, bool quiet)
{
	struct sh_arrival *a;

	while (!(a = sh_wire_next(w->wire)) && !(quiet && !sh_engine_busy(w->engine, NULL, 0)))
		if (!sh_sim_step_until(w->sim, until)) {
			sh_sim_run_until(w->sim, until);
			return sh_wire_next(w->wire);
		}
	return a;
}

static void on_reloaded(void *ctx, uint64_t generation, const char *error)
{
	struct sh_world *w = ctx;

	w->reloaded = true;
	w->generation = generation;
	if (w->error_size)
		snprintf(w->error, w->error_size, "%s", error ? error : "");
}

uint64_t sh_world_reload(struct sh_world *w, bool back, char *error, size_t size)
{
	uint64_t end = sh_sim_now(w->sim) + RELOAD_LIMIT;
	int err;

	w->reloaded = false;
	w->error = error;
	w->error_size = size;
	err = (back ? sh_engine_rollback : sh_engine_reload)(w->engine, on_reloaded, w);
	while (!err && !w->reloaded && sh_sim_step_until(w->sim, end))
		;
	w->error_size = 0; /* one that comes later has nobody to tell */
	if (w->reloaded)
		return w->generation;
	if (size)
		snprintf(error, size, "%s", err ? strerror(-err) : "too many generations are alive");
	return 0;
}
