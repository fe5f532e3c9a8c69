#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

enum { LONGEST = 1200 }; /* seconds until nothing may be left */

/* ---- the log ---- */

static void on_line(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	struct world *w = ctx;
	struct world_line *l;

	if (w->verbose)
		print_error("log %d: %s\n", level, line);
	if (w->nlines == WORLD_LINES)
		return;
	l = &w->lines[w->nlines++];
	l->level = level;
	l->expected = false;
	l->text = strndup(line, len);
}

static struct world_line *find_line(const struct world *w, const char *part)
{
	for (unsigned i = 0; i < w->nlines; i++) {
		const struct world_line *l = &w->lines[i];

		if (!l->expected && strstr(l->text, part))
			return (struct world_line *)l;
	}
	return NULL;
}

bool world_has_log(const struct world *w, const char *part)
{
	return find_line(w, part) != NULL;
}

void world_expect_log_at(struct world *w, const char *part, const char *file, int line)
{
	struct world_line *l = find_line(w, part);

	if (!l) {
		for (unsigned i = 0; i < w->nlines; i++)
			print_error("log: %s\n", w->lines[i].text);
		phone_fail(w->sim, file, line, "no log line with '%s'", part);
	}
	l->expected = true;
}

void world_forget_log(struct world *w)
{
	for (unsigned i = 0; i < w->nlines; i++)
		free(w->lines[i].text);
	w->nlines = 0;
}

static void check_log(struct world *w)
{
	for (unsigned i = 0; i < w->nlines && !w->forgiving; i++) {
		if (w->lines[i].level == SH_LOG_ERROR && !w->lines[i].expected)
			phone_fail(w->sim, __FILE__, __LINE__, "unexpected in the log: %s", w->lines[i].text);
	}
}

/* ---- files and generations ---- */

void world_file(struct world *w, const char *path, const char *text)
{
	unsigned i = 0;

	while (i < WORLD_FILES - 1 && w->files[i].path && strcmp(w->files[i].path, path) != 0)
		i++;
	free(w->files[i].text);
	w->files[i].path = path;
	w->files[i].text = text ? strdup(text) : NULL;
}

static int read_file(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp)
{
	struct world *w = ctx;

	w->reads++;
	for (unsigned i = 0; i < WORLD_FILES && w->files[i].path; i++) {
		if (!w->files[i].text || strcmp(w->files[i].path, path) != 0)
			continue;
		*len = strlen(w->files[i].text);
		*stamp = (struct sh_vm_stamp){.mtime_ns = 1, .size = *len, .inode = i};
		*text = sh_strndup(w->files[i].text, *len);
		return *text ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static void list_files(void *ctx, const char *dir, bool (*fn)(void *arg, const char *path), void *arg)
{
	struct world *w = ctx;

	assert_string_equal(dir, "");
	for (unsigned i = 0; i < WORLD_FILES && w->files[i].path; i++)
		if (w->files[i].text && !fn(arg, w->files[i].path))
			return;
}

static uint64_t now(void *ctx)
{
	return ((struct world *)ctx)->env[0]->now;
}

static uint64_t wall(void *ctx)
{
	return sh_env_wall(((struct world *)ctx)->env[0]);
}

static uint64_t random_bits(void *ctx)
{
	return sh_random_u64(&((struct world *)ctx)->env[0]->random);
}

static void on_retired(void *ctx, struct sh_generation *g)
{
	struct world *w = ctx;

	assert_true(w->nretired < WORLD_GENERATIONS);
	w->retired[w->nretired++] = g;
}

static void free_retired(struct world *w)
{
	while (w->nretired > 0)
		sh_generation_destroy(w->retired[--w->nretired]);
}

static int publish(struct world *w, int err, struct sh_generation **loaded)
{
	struct sh_generation *g = *loaded; /* not by value: it is set by the argument before */

	if (err)
		return err;
	sh_script_publish(w->script, g);
	for (unsigned i = 0; i < w->workers; i++)
		sh_runtime_update(w->runtime[i]);
	return 0;
}

int world_try_reload(struct world *w, const char *text, char *error, size_t size)
{
	struct sh_generation *g = NULL;

	free_retired(w);
	world_file(w, "dialplan.lua", text);
	return publish(w, sh_generation_load(&g, w->script, error, size), &g);
}

int world_rollback(struct world *w, char *error, size_t size)
{
	struct sh_generation *g = NULL;

	free_retired(w);
	return publish(w, sh_generation_load_before(&g, w->script, error, size), &g);
}

void world_reload(struct world *w, const char *text)
{
	char error[1024];
	int err = world_try_reload(w, text, error, sizeof(error));

	if (err)
		fail_msg("the script does not load: %d: %s", err, error);
}

/* ---- life ---- */

static void on_flow_closed(void *ctx, uint64_t flow)
{
	struct world *w = ctx;
	unsigned by = (unsigned)(flow >> 56); /* of another process: any worker tells of it */

	sh_location_flow_closed(w->location, flow, wall(w), w->runtime[by < w->workers ? by : 0]);
}

static void on_second(struct sh_timer *t)
{
	struct world *w = SH_CONTAINER(t, struct world, second);

	sh_location_expire(w->location, wall(w), w->runtime[0]);
	sh_env_timer(w->env[0], t, SH_SECOND);
}

static void worker_create(struct world *w, unsigned i, const struct world_options *o)
{
	struct sh_ua_config config = o->ua ? *o->ua : sh_ua_config_default;
	struct sh_addr addr;
	struct sh_transport *t;

	if (!o->ua)
		config.product = SH_LIT("siphook/test");
	if (w->workers > 1)
		config.peers = w->ua;
	assert_int_equal(sh_addr_parse(&addr, SH_LIT("10.0.0.1"), 5060), 0);
	assert_int_equal(sh_runtime_create(&w->runtime[i], w->script, w->env[i]), 0);
	assert_int_equal(
	    sh_ua_create(&w->ua[i], w->env[i], &config, &o->transport, &sh_runtime_app, w->runtime[i]), 0);
	t = sh_ua_transport(w->ua[i]);
	assert_int_equal(sh_transport_listen(t, SH_PROTO_UDP, &addr, SH_LIT(""), 0), 0);
	if (!o->no_tcp)
		assert_int_equal(sh_transport_listen(t, SH_PROTO_TCP, &addr, SH_LIT(""), 0), 0);
	sh_ua_on_flow_closed(w->ua[i], on_flow_closed, w);
	sh_runtime_attach(w->runtime[i], w->ua[i]);
}

struct world *world_create(const struct world_options *options, const char *script)
{
	static const struct world_options none;
	const struct world_options *o = options ? options : &none;
	struct sh_sim_options sim = o->sim;
	struct world *w = calloc(1, sizeof(*w));
	struct sh_script_config config = {
	    .path = "dialplan.lua",
	    .world = {now, wall, random_bits, read_file, w, list_files},
	    .pairs = o->pairs,
	    .npairs = o->npairs,
	    .deterministic = !o->as_served,
	    .hooks_max = o->hooks_max,
	    .timers_max = o->timers_max,
	    .total_max = o->total_max,
	    .deadline = o->deadline,
	    .retired = on_retired,
	    .ctx = w,
	};

	assert_non_null(w);
	w->workers = o->workers ? o->workers : 1;
	w->fault = -1;
	w->verbose = o->verbose;
	assert_true(w->workers <= WORLD_WORKERS);
	sh_log_init(&w->log, SH_LOG_INFO, on_line, w);
	if (sim.seed == 0)
		sim.seed = 1;
	if (sim.delay_max == 0)
		sim.delay_min = sim.delay_max = SH_MS;
	sim.log = &w->log;
	assert_int_equal(sh_sim_create(&w->sim, &sim), 0);
	for (unsigned i = 0; i < w->workers; i++) {
		w->env[i] = sh_sim_env_create(w->sim, i, w->workers);
		assert_non_null(w->env[i]);
	}
	assert_int_equal(sh_digest_init(), 0);
	assert_int_equal(sh_auth_create(&w->auth, &w->env[0]->random, &(struct sh_auth_config){0}), 0);
	assert_int_equal(sh_location_create(&w->location, &w->env[0]->key, sh_runtime_on_binding, NULL), 0);
	assert_int_equal(sh_shared_create(&w->shared, &w->env[0]->key, 0), 0);
	config.workers = w->workers;
	config.log = &w->log;
	config.location = w->location;
	config.auth = w->auth;
	config.shared = w->shared;
	config.key = &w->env[0]->key;
	assert_int_equal(sh_script_create(&w->script, &config), 0);
	for (unsigned i = 0; i < w->workers; i++)
		worker_create(w, i, o);
	world_reload(w, script);
	for (unsigned i = 0; i < w->workers; i++) {
		char error[320] = "";

		if (sh_runtime_listen(w->runtime[i], error, sizeof(error)) < 0)
			fail_msg("%s", error);
	}
	sh_timer_init(&w->second, on_second);
	sh_env_timer(w->env[0], &w->second, SH_SECOND);
	return w;
}

void world_destroy(struct world *w)
{
	world_settle(w, LONGEST * SH_SECOND);
	world_abandon(w);
}

void world_abandon(struct world *w)
{
	check_log(w);
	for (unsigned i = 0; i < w->nphones; i++)
		phone_destroy(w->phones[i]);
	for (unsigned i = 0; i < w->workers; i++)
		sh_sim_env_stop(w->env[i]);
	for (unsigned i = 0; i < w->workers; i++) {
		sh_runtime_destroy(w->runtime[i]);
		sh_ua_destroy(w->ua[i]);
		assert_int_equal(sh_sim_open_handles(w->env[i]), 0);
	}
	free_retired(w);
	sh_script_destroy(w->script);
	sh_shared_destroy(w->shared);
	sh_location_destroy(w->location);
	sh_auth_destroy(w->auth);
	sh_sim_destroy(w->sim);
	world_forget_log(w);
	for (unsigned i = 0; i < WORLD_FILES; i++)
		free(w->files[i].text);
	free(w);
}

struct phone *world_phone(struct world *w, const char *user, const char *ip)
{
	struct phone *p = phone_create(w->sim, ip);

	assert_true(w->nphones < WORLD_PHONES);
	w->phones[w->nphones++] = p;
	phone_identity(p, user, "example.org");
	phone_proxy(p, SH_PROTO_UDP, "10.0.0.1", 5060);
	return p;
}

void world_register(struct phone *p)
{
	struct phone_call *c = phone_request(p, "REGISTER", "sip:example.org", NULL, NULL);

	phone_expect_in(c, "200", SH_SECOND);
}

/* ---- time ---- */

void world_advance(struct world *w, uint64_t us)
{
	uint64_t end = sh_sim_now(w->sim) + us;

#ifdef SH_ALLOC_FAULTS
	while (w->fault >= 0 && sh_sim_step_until(w->sim, end)) {
		if (sh_alloc_count() <= w->fault)
			continue;
		sh_alloc_fail_after(-1);
		w->fault = -1;
	}
#endif
	sh_sim_run_until(w->sim, end);
}

bool world_idle(const struct world *w)
{
	for (unsigned i = 0; i < w->workers; i++) {
		const struct sh_txn_stats *txn = sh_txn_layer_stats(sh_ua_txn(w->ua[i]));

		if (!sh_ua_idle(w->ua[i]) || sh_runtime_runs(w->runtime[i]) > 0 || txn->server_live > 0 ||
		    txn->client_live > 0)
			return false;
	}
	return true;
}

static void print_call(void *ctx, struct sh_call *call)
{
	struct sh_slice state = sh_call_state_name(sh_call_state(call));

	(void)ctx;
	print_error("call %.*s is %.*s\n", SH_FMT(sh_call_id(call)), SH_FMT(state));
}

static void print_left(struct world *w)
{
	for (unsigned i = 0; i < w->workers; i++) {
		const struct sh_txn_stats *txn = sh_txn_layer_stats(sh_ua_txn(w->ua[i]));
		const struct sh_ua_stats *ua = sh_ua_stats(w->ua[i]);

		print_error("worker %u: %s, %llu calls, %llu legs, %llu hooks, %llu server and %llu client "
			    "transactions\n",
			    i, sh_ua_idle(w->ua[i]) ? "idle" : "busy", (unsigned long long)ua->calls_live,
			    (unsigned long long)ua->legs_live, (unsigned long long)sh_runtime_runs(w->runtime[i]),
			    (unsigned long long)txn->server_live, (unsigned long long)txn->client_live);
		sh_ua_each_call(w->ua[i], print_call, NULL);
	}
}

void world_settle_at(struct world *w, uint64_t limit, const char *file, int line)
{
	uint64_t end = sh_sim_now(w->sim) + limit;

	while (!world_idle(w) && sh_sim_now(w->sim) < end)
		sh_sim_advance(w->sim, SH_SECOND / 2);
	if (world_idle(w))
		return;
	for (unsigned i = 0; i < w->nlines; i++)
		print_error("log: %s\n", w->lines[i].text);
	print_left(w);
	phone_fail(w->sim, file, line, "something is left");
}

/* ---- the allocation sweep ---- */

#ifdef SH_ALLOC_FAULTS
void world_sweep(const struct world_options *options, const char *script, void (*stage)(struct world *w),
		 void (*act)(struct world *w), void (*leave)(struct world *w), long limit)
{
	for (int passing = 0; passing < 2; passing++) {
		bool failed = true;

		for (long n = 0; failed; n++) {
			struct world *w = world_create(options, script);

			if (n == limit)
				fail_msg("the sweep did not come to its end in %ld steps", limit);
			w->forgiving = true;
			stage(w);
			w->fault = passing ? n : -1;
			sh_alloc_fail_after(n);
			act(w);
			failed = passing ? w->fault < 0 : sh_alloc_count() > n;
			w->fault = -1;
			sh_alloc_fail_after(-1);
			if (leave)
				leave(w);
			world_destroy(w);
		}
	}
}
#endif
