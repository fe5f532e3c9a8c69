/* An instance: create, start, run, stop. */
#include "engine/impl.h"

#include <signal.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { TIMER_SLACK = 1000 }; /* nanoseconds */

static char *copy(const char *s)
{
	return sh_strndup(s, strlen(s));
}

static int fail(char *error, size_t size, int err, const char *what)
{
	if (size)
		snprintf(error, size, "%s", what);
	return err;
}

/* ------------------------------------------------------------------ create */

int sh_engine_create(struct sh_engine **out, const struct sh_engine_config *config, char *error, size_t size)
{
	static const char *const default_listen[] = {"udp://0.0.0.0:5060", "tcp://0.0.0.0:5060"};
	const char *const *listen = config->nlisten ? config->listen : default_listen;
	pthread_rwlockattr_t attr;
	struct sh_engine *e;

	if (!config->script || !*config->script)
		return fail(error, size, -EINVAL, "no script is given");
	if (config->tls.norigins > 64)
		return fail(error, size, -EINVAL, "ws_origin: at most 64");
	if (config->workers > SH_ENGINE_MAX_WORKERS)
		return fail(error, size, -EINVAL, "workers: at most 64");
	for (unsigned i = 0; i < config->nlisten; i++) {
		enum sh_proto proto;
		struct sh_addr addr;

		if (sh_engine_parse_listen(config->listen[i], &proto, &addr, error, size) < 0)
			return -EINVAL;
	}
	e = sh_calloc(1, sizeof(*e));
	if (!e)
		return fail(error, size, -ENOMEM, "out of memory");
	pthread_mutex_init(&e->lock, NULL);
	pthread_rwlockattr_init(&attr);
	/* whoever asks in a loop must not keep the end waiting */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&e->life, &attr);
	pthread_rwlockattr_destroy(&attr);
	e->event = config->event;
	e->event_ctx = config->event_ctx;
	e->listen_fd = config->listen_fd;
	e->listen_fd_ctx = config->listen_fd_ctx;
	sh_log_init(&e->log, config->log_level, config->log, config->log_ctx);
	sh_timer_init(&e->retry, sh_engine_retry);
	e->nworkers = config->workers ? config->workers : 1;
	e->nlisten = config->nlisten ? config->nlisten : 2;
	e->default_listen = config->nlisten == 0;
	e->npairs = config->nconfig;
	e->watch_files = config->watch;
	e->simulation = config->simulation;
	e->selftest = config->selftest;
	e->script_path = copy(config->script);
	e->session_expires = config->session_expires;
	e->gather = config->gather;
	e->gather_calls = config->gather_calls;
	e->dns = config->dns ? copy(config->dns) : NULL;
	e->data = config->data ? copy(config->data) : NULL;
	e->handover_folder = config->handover ? copy(config->handover) : NULL;
	e->handover_secret = config->handover_secret ? copy(config->handover_secret) : NULL;
	e->listen = sh_calloc(e->nlisten, sizeof(*e->listen));
	e->pairs = sh_calloc(e->npairs + 1, sizeof(*e->pairs));
	if (!e->script_path || !e->listen || !e->pairs || (config->dns && !e->dns) ||
	    (config->data && !e->data) || (config->handover && !e->handover_folder) ||
	    (config->handover_secret && !e->handover_secret))
		goto out;
	for (unsigned i = 0; i < e->nlisten; i++) {
		e->listen[i] = copy(listen[i]);
		if (!e->listen[i])
			goto out;
	}
	if (sh_engine_tls_copy(&e->tls, &config->tls, error, size) < 0) {
		sh_engine_destroy(e);
		return -EINVAL;
	}
	e->origins = sh_calloc(config->tls.norigins + 1u, sizeof(*e->origins));
	if (!e->origins)
		goto out;
	for (; e->norigins < config->tls.norigins; e->norigins++) {
		e->origins[e->norigins] = copy(config->tls.origins[e->norigins]);
		if (!e->origins[e->norigins])
			goto out;
	}
	for (unsigned i = 0; i < e->npairs; i++) {
		e->pairs[i].key = copy(config->config[i].key);
		e->pairs[i].value = copy(config->config[i].value);
		if (!e->pairs[i].key || !e->pairs[i].value)
			goto out;
	}
	*out = e;
	return 0;
out:
	sh_engine_destroy(e);
	return fail(error, size, -ENOMEM, "out of memory");
}

void sh_engine_destroy(struct sh_engine *e)
{
	if (!e)
		return;
	sh_engine_stop(e, 0);
	for (unsigned i = 0; e->listen && i < e->nlisten; i++)
		sh_free(e->listen[i]);
	for (unsigned i = 0; e->pairs && i < e->npairs; i++) {
		sh_free((void *)e->pairs[i].key);
		sh_free((void *)e->pairs[i].value);
	}
	for (unsigned i = 0; i < e->norigins; i++)
		sh_free(e->origins[i]);
	sh_free(e->origins);
	sh_engine_tls_finish(&e->tls);
	sh_free(e->listen);
	sh_free(e->pairs);
	sh_free(e->script_path);
	sh_free(e->dns);
	sh_free(e->data);
	sh_free(e->handover_folder);
	if (e->handover_secret)
		explicit_bzero(e->handover_secret, strlen(e->handover_secret));
	sh_free(e->handover_secret);
	pthread_rwlock_destroy(&e->life);
	pthread_mutex_destroy(&e->lock);
	sh_free(e);
}

/* ------------------------------------------------------------------ workers */

struct sh_env *sh_engine_env(struct sh_engine *e, unsigned worker)
{
	return e->net ? sh_net_env(e->net, worker) : e->simulation.envs[worker];
}

int sh_engine_call(struct sh_engine *e, unsigned worker, void (*fn)(struct sh_env *env, void *arg), void *arg)
{
	struct sh_env *first = e->workers[0].env;

	return e->net ? sh_net_call(e->net, worker, fn, arg) : first->driver->post(first, worker, fn, arg);
}

static void *worker_main(void *arg)
{
	struct sh_worker *w = arg;
	struct sh_engine *e = w->engine;

	(void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK); /* its waits for more messages are short (drivers/net) */
	while (!atomic_load_explicit(&e->quit, memory_order_relaxed)) {
		if (atomic_load_explicit(&e->parked, memory_order_relaxed)) {
			atomic_fetch_add(&e->parked_count, 1);
			for (;;)
				pause(); /* the process is ending: nothing of ours may run any more */
		}
		sh_net_turn(e->net, w->index, -1);
	}
	return NULL;
}

static int start_threads(struct sh_engine *e, char *error, size_t size)
{
	sigset_t all, before;
	int err = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned i = 0; i < e->nworkers && !err; i++) {
		char name[24];

		err = pthread_create(&e->workers[i].thread, NULL, worker_main, &e->workers[i]);
		e->workers[i].has_thread = err == 0;
		snprintf(name, sizeof(name), "siphook-%u", i); /* at most 64 workers: it fits in 16 */
		if (!err)
			pthread_setname_np(e->workers[i].thread, name);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		snprintf(error, size, "threads cannot be started: %s", strerror(err));
	return -err;
}

static void join_threads(struct sh_engine *e)
{
	atomic_store(&e->quit, true);
	if (!e->workers)
		return; /* the start did not come so far */
	for (unsigned i = 0; i < e->nworkers; i++)
		if (e->workers[i].has_thread)
			sh_net_wake(e->net, i);
	for (unsigned i = 0; i < e->nworkers; i++)
		if (e->workers[i].has_thread) {
			pthread_join(e->workers[i].thread, NULL);
			e->workers[i].has_thread = false;
		}
}

/* The workers have ended; now nobody may be looking either. */
static void shut(struct sh_engine *e)
{
	pthread_rwlock_wrlock(&e->life);
	sh_engine_close(e);
	atomic_store(&e->state, SH_ENGINE_STOPPED);
	pthread_rwlock_unlock(&e->life);
}

int sh_engine_start(struct sh_engine *e, bool threads, char *error, size_t size)
{
	char scratch[512];
	int err;

	if (!error || !size) {
		error = scratch;
		size = sizeof(scratch);
	}
	if (atomic_load(&e->state) != SH_ENGINE_STOPPED)
		return fail(error, size, -EALREADY, "started already");
	if (threads && e->simulation.envs)
		return fail(error, size, -EINVAL, "a simulation has no threads");
	if (!threads && e->nworkers != 1 && !e->simulation.envs)
		return fail(error, size, -EINVAL, "workers: exactly one when the host drives");
	e->threads = threads;
	atomic_store(&e->quit, false);
	atomic_store(&e->draining, false);
	err = sh_engine_open(e, error, size);
	if (!err) {
		atomic_store(&e->state, SH_ENGINE_RUNNING);
		if (threads)
			err = start_threads(e, error, size);
		if (!err)
			err = sh_handover_run(e, error, size);
	}
	if (err) {
		join_threads(e);
		shut(e);
	}
	return err;
}

int sh_engine_fd(struct sh_engine *e)
{
	return e->threads || !e->net ? -ENOTSUP : sh_net_fd(e->net, 0);
}

int sh_engine_process(struct sh_engine *e, int64_t *next_ms)
{
	uint64_t next;
	int err;

	if (atomic_load(&e->state) == SH_ENGINE_STOPPED || e->threads || !e->net)
		return -EPERM;
	err = sh_net_turn(e->net, 0, 0);
	if (next_ms) {
		next = sh_wheel_next(&e->workers[0].env->wheel);
		if (next == SH_NEVER)
			*next_ms = -1;
		else
			*next_ms = next <= e->workers[0].env->now ? 0 : (int64_t)((next - e->workers[0].env->now + 999) / 1000);
	}
	return err;
}

/* ------------------------------------------------------------------ stop */

static void drain(struct sh_env *env, void *arg)
{
	struct sh_engine *e = arg;
	struct sh_worker *w = &e->workers[env->worker];

	sh_transport_listen_stop(sh_ua_transport(w->ua));
	sh_ua_drain(w->ua, (uint64_t)e->stop_ms * SH_MS / 2); /* the other half is for the answers */
	atomic_store(&w->idle, sh_ua_idle(w->ua));
}

static void on_drain_deadline(struct sh_timer *t)
{
	struct sh_worker *w = SH_CONTAINER(t, struct sh_worker, drain);

	sh_ua_drain(w->ua, 0);
}

static void refuse(struct sh_env *env, void *arg)
{
	struct sh_engine *e = arg;
	struct sh_worker *w = &e->workers[env->worker];
	int64_t ms = atomic_load(&e->drain_ms);

	/* New requests of one that was succeeded go to the other process. */
	if (!sh_handover_succeeded(e)) {
		sh_transport_listen_stop(sh_ua_transport(w->ua));
		sh_ua_refuse(w->ua);
	}
	sh_timer_init(&w->drain, on_drain_deadline);
	if (ms > 0)
		sh_env_timer(env, &w->drain, (uint64_t)ms * SH_MS);
}

int sh_engine_drain(struct sh_engine *e, int64_t deadline_ms)
{
	int err = 0;

	pthread_rwlock_rdlock(&e->life);
	if (atomic_load(&e->state) != SH_ENGINE_RUNNING) {
		err = -EPERM;
	} else if (!atomic_exchange(&e->draining, true)) {
		atomic_store(&e->drain_ms, deadline_ms);
		for (unsigned i = 0; i < e->nworkers && !err; i++) {
			if (e->threads)
				err = sh_engine_call(e, i, refuse, e);
			else
				refuse(e->workers[i].env, e); /* at once: this is their thread */
		}
		if (!e->threads && e->net)
			sh_net_wake(e->net, 0); /* what it has sent and armed takes effect in the next turn */
		if (err)
			atomic_store(&e->draining, false); /* those that were told refuse; a second try tells the others */
	}
	pthread_rwlock_unlock(&e->life);
	return err;
}

void sh_worker_turn_end(void *ctx)
{
	struct sh_worker *w = ctx;

	if (atomic_load_explicit(&w->engine->state, memory_order_relaxed) == SH_ENGINE_STOPPING)
		atomic_store(&w->idle, sh_ua_idle(w->ua));
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static bool all_idle(struct sh_engine *e)
{
	for (unsigned i = 0; i < e->nworkers; i++)
		if (!atomic_load(&e->workers[i].idle))
			return false;
	return true;
}

/* No thread runs any more. */
static void tell_left(struct sh_engine *e)
{
	uint64_t left = 0;

	for (unsigned i = 0; i < e->nworkers; i++)
		left += sh_ua_stats(e->workers[i].ua)->calls_live;
	if (left > 0)
		sh_warn(&e->log, "stopped with %llu calls that were not over: the time was too short", (unsigned long long)left);
}

int sh_engine_stop(struct sh_engine *e, int64_t deadline_ms)
{
	int64_t end = now_ms() + deadline_ms;
	int running = SH_ENGINE_RUNNING;

	pthread_mutex_lock(&e->lock); /* no reload begins from now on */
	bool was = atomic_compare_exchange_strong(&e->state, &running, SH_ENGINE_STOPPING);
	pthread_mutex_unlock(&e->lock);
	if (!was)
		return 0;
	if (deadline_ms > 0 && e->net) {
		e->stop_ms = deadline_ms;
		for (unsigned i = 0; i < e->nworkers; i++)
			sh_engine_call(e, i, drain, e);
		do {
			if (e->threads) {
				struct timespec wait = {0, 5000000};

				nanosleep(&wait, NULL);
				for (unsigned i = 0; i < e->nworkers; i++)
					sh_net_wake(e->net, i);
			} else {
				sh_net_turn(e->net, 0, 10000);
			}
		} while (!all_idle(e) && now_ms() < end);
	}
	join_threads(e);
	if (deadline_ms > 0 && e->net)
		tell_left(e);
	shut(e);
	return 0;
}

void sh_engine_park(struct sh_engine *e)
{
	unsigned threads = 0;
	int64_t end = now_ms() + 2000;

	if (!e->threads || atomic_load(&e->state) == SH_ENGINE_STOPPED)
		return;
	atomic_store(&e->parked, true);
	for (unsigned i = 0; i < e->nworkers; i++) {
		if (e->workers[i].has_thread && !pthread_equal(pthread_self(), e->workers[i].thread)) {
			threads++;
			sh_net_wake(e->net, i);
		}
	}
	while (atomic_load(&e->parked_count) < threads && now_ms() < end) {
		struct timespec wait = {0, 1000000};

		nanosleep(&wait, NULL);
	}
}
