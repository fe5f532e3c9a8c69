/* Reload, of the script with its certificates or of certificates alone: a request goes to worker 0, the load to the
 * background thread, the swap back to worker 0, and then every worker is told. Requests that come while a load runs are served together by the next one. */
#include "engine/impl.h"

static void begin(struct sh_env *env, void *arg);

static void tell(struct sh_reload_waiter *list, uint64_t generation, const char *error)
{
	while (list) {
		struct sh_reload_waiter *w = list;

		list = w->next;
		if (w->done)
			w->done(w->ctx, generation, error);
		sh_free(w);
	}
}

static void update(struct sh_env *env, void *arg)
{
	struct sh_engine *e = arg;

	sh_runtime_update(e->workers[env->worker].runtime);
}

static int load_script(struct sh_engine *e)
{
	switch (e->kind) {
	case SH_RELOAD_SCRIPT:
		return sh_engine_load(e, &e->loaded, false, e->load_error, sizeof(e->load_error));
	case SH_RELOAD_BEFORE:
		return sh_engine_load(e, &e->loaded, true, e->load_error, sizeof(e->load_error));
	default:
		return 0;
	}
}

static void work(void *arg)
{
	struct sh_engine *e = arg;

	e->loaded = NULL;
	e->load_error[0] = '\0';
	if (load_script(e) < 0)
		return;
	if (sh_engine_tls_prepare(e, e->kind == SH_RELOAD_TLS, e->load_error, sizeof(e->load_error)) < 0) {
		sh_generation_destroy(e->loaded);
		e->loaded = NULL;
	}
}

static void done(void *arg)
{
	struct sh_engine *e = arg;
	struct sh_reload_waiter *served;
	uint64_t number = 0;
	bool again, running = atomic_load(&e->state) == SH_ENGINE_RUNNING && !e->load_error[0];

	sh_engine_tls_commit(e, running, e->kind != SH_RELOAD_TLS);
	if (running && e->kind == SH_RELOAD_TLS) {
		number = atomic_load(&e->generation);
		sh_info(&e->log, "certificates and keys were read again");
	} else if (running && e->loaded) {
		number = sh_generation_number(e->loaded);
		sh_watch_update(e->watch, e->loaded);
		sh_script_publish(e->script, e->loaded);
		atomic_store(&e->generation, number);
		atomic_fetch_add(&e->reloads, 1);
		for (unsigned i = 1; i < e->nworkers; i++)
			sh_engine_call(e, i, update, e); /* a full ring: it notices at its next event */
		sh_runtime_update(e->workers[0].runtime);
		sh_info(&e->log, "generation %llu of %s is in use", (unsigned long long)number, e->script_path);
	} else {
		sh_generation_destroy(e->loaded);
		atomic_fetch_add(&e->reload_failures, 1);
		sh_error(&e->log, "reload refused, generation %llu goes on: %s", (unsigned long long)atomic_load(&e->generation),
			 e->load_error);
	}
	e->loaded = NULL;
	pthread_mutex_lock(&e->lock);
	served = e->served;
	e->served = NULL;
	again = e->waiting != NULL;
	if (!again)
		e->loading = false;
	pthread_mutex_unlock(&e->lock);
	tell(served, number, number ? NULL : e->load_error[0] ? e->load_error : "the instance is stopping");
	if (again)
		begin(e->workers[0].env, e);
}

/* A rollback is for an emergency: it does not wait for the hooks of old generations, of which one more may be alive then. It might have
 * made the oldest go, but with it calls that ring, and who rolls back wants to lose none. Lock held. */
static bool has_place(const struct sh_engine *e)
{
	const struct sh_reload_waiter *w = e->waiting;

	while (w && w->kind == SH_RELOAD_TLS)
		w = w->next;
	return sh_script_alive(e->script) < SH_ENGINE_MAX_GENERATIONS + (w && w->kind == SH_RELOAD_BEFORE ? 1U : 0U);
}

/* Moves those that can be served to e->served, in their order: all, or those about certificates alone. Lock held. */
static void take_waiting(struct sh_engine *e, bool all)
{
	struct sh_reload_waiter **from = &e->waiting, **to = &e->served;

	e->kind = SH_RELOAD_TLS;
	while (*from) {
		struct sh_reload_waiter *w = *from;

		if (!all && w->kind != SH_RELOAD_TLS) {
			from = &w->next;
			continue;
		}
		if (e->kind == SH_RELOAD_TLS)
			e->kind = w->kind; /* the newest comes first: of several that are about the script, it counts */
		*from = w->next;
		w->next = NULL;
		*to = w;
		to = &w->next;
	}
}

static void begin(struct sh_env *env, void *arg)
{
	struct sh_engine *e = arg;
	bool full, ready, wanted;
	int err;

	pthread_mutex_lock(&e->lock);
	full = !has_place(e);
	take_waiting(e, !full);
	ready = e->served != NULL;
	e->loading = wanted = ready || e->waiting;
	pthread_mutex_unlock(&e->lock);
	if (!wanted) /* the instance stops */
		return;
	if (!ready) { /* until an old generation has no hook left */
		if (!e->full)
			sh_warn(&e->log, "a reload waits: hooks of %u generations are in progress (each has %d s from the reload on)",
				sh_script_alive(e->script), (int)(SH_SCRIPT_DEADLINE / SH_SECOND));
		e->full = true;
		sh_env_timer(env, &e->retry, 100 * SH_MS);
		return;
	}
	e->full = e->full && full;
	err = env->driver->background(env, work, done, e);
	if (err) {
		snprintf(e->load_error, sizeof(e->load_error), "the loader cannot be started: %s", strerror(-err));
		done(e);
	}
}

void sh_engine_retry(struct sh_timer *t)
{
	struct sh_engine *e = SH_CONTAINER(t, struct sh_engine, retry);

	begin(e->workers[0].env, e);
}

static int request(struct sh_engine *e, enum sh_reload_kind kind, sh_engine_reload_fn fn, void *ctx)
{
	struct sh_reload_waiter *w = sh_malloc(sizeof(*w));
	int err = 0;

	if (!w)
		return -ENOMEM;
	*w = (struct sh_reload_waiter){.kind = kind, .done = fn, .ctx = ctx};
	pthread_mutex_lock(&e->lock);
	if (atomic_load(&e->state) != SH_ENGINE_RUNNING) {
		err = -EPERM;
	} else if (!e->loading) {
		err = sh_engine_call(e, 0, begin, e);
		e->loading = !err;
	}
	if (!err) {
		w->next = e->waiting;
		e->waiting = w;
	}
	pthread_mutex_unlock(&e->lock);
	if (err)
		sh_free(w);
	return err;
}

int sh_engine_reload(struct sh_engine *e, sh_engine_reload_fn fn, void *ctx)
{
	return request(e, SH_RELOAD_SCRIPT, fn, ctx);
}

int sh_engine_reload_tls(struct sh_engine *e, sh_engine_reload_fn fn, void *ctx)
{
	return request(e, SH_RELOAD_TLS, fn, ctx);
}

int sh_engine_rollback(struct sh_engine *e, sh_engine_reload_fn fn, void *ctx)
{
	return request(e, SH_RELOAD_BEFORE, fn, ctx);
}

void sh_engine_reload_drop(struct sh_engine *e)
{
	tell(e->waiting, 0, "the instance has stopped");
	tell(e->served, 0, "the instance has stopped");
	e->waiting = e->served = NULL;
	e->loading = false;
}

/* ------------------------------------------------------------------ generations that have ended */

static void destroy_generation(void *arg)
{
	sh_generation_destroy(arg);
}

static void nothing(void *arg)
{
	(void)arg;
}

void sh_engine_retired(void *ctx, struct sh_generation *g)
{
	struct sh_engine *e = ctx;
	struct sh_env *env = e->workers[0].env; /* only its driver is used, and background() is for all workers */

	if (!env || env->driver->background(env, destroy_generation, nothing, g) < 0)
		sh_generation_destroy(g);
}
