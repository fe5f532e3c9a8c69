/* Questions from outside: each worker answers for itself, the pieces are joined. */
#include "engine/impl.h"
#include "b2bua/trunk.h"
#include "core/json.h"
#include "script/source.h"

#include <time.h>

/* ------------------------------------------------------------------ asking the workers */

/* Counted: the asker may give up before the last worker has answered. */
struct ask {
	struct sh_engine *engine;
	pthread_mutex_t lock;
	pthread_cond_t more;
	unsigned refs, missing;
	bool abandoned;
	void (*fn)(struct sh_worker *w, void *arg);
	void *arg;
};

static void unref(struct ask *a, bool answered)
{
	bool last;

	pthread_mutex_lock(&a->lock);
	if (answered && --a->missing == 0)
		pthread_cond_signal(&a->more);
	last = --a->refs == 0;
	pthread_mutex_unlock(&a->lock);
	if (!last)
		return;
	pthread_cond_destroy(&a->more);
	pthread_mutex_destroy(&a->lock);
	sh_free(a);
}

static void answer(struct sh_env *env, void *arg)
{
	struct ask *a = arg;

	/* fn runs under the lock: its argument belongs to the asker, who takes the lock before it gives up */
	pthread_mutex_lock(&a->lock);
	if (!a->abandoned)
		a->fn(&a->engine->workers[env->worker], a->arg);
	pthread_mutex_unlock(&a->lock);
	unref(a, true);
}

enum { SLICE_NS = 20 * 1000 * 1000 };

static bool is_over(const struct timespec *end)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end->tv_sec || (now.tv_sec == end->tv_sec && now.tv_nsec >= end->tv_nsec);
}

int sh_engine_ask(struct sh_engine *e, void (*fn)(struct sh_worker *w, void *arg), void *arg)
{
	struct timespec end;
	pthread_condattr_t attr;
	struct ask *a;
	int err = 0;

	if (atomic_load(&e->state) == SH_ENGINE_STOPPED)
		return -EPERM;
	/* the caller holds e->life */
	if (!e->threads) {
		for (unsigned i = 0; i < e->nworkers; i++)
			fn(&e->workers[i], arg);
		if (e->net)
			sh_net_wake(e->net, 0);
		return 0;
	}
	a = sh_calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->engine = e;
	a->fn = fn;
	a->arg = arg;
	a->refs = a->missing = 1; /* our own until all have been asked */
	pthread_mutex_init(&a->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&a->more, &attr);
	pthread_condattr_destroy(&attr);
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec++;
	for (unsigned i = 0; i < e->nworkers; i++) {
		pthread_mutex_lock(&a->lock);
		a->refs++;
		a->missing++;
		pthread_mutex_unlock(&a->lock);
		if (sh_engine_call(e, i, answer, a) < 0) {
			unref(a, true);
			err = -EAGAIN;
		}
	}
	pthread_mutex_lock(&a->lock);
	a->missing--;
	/* Workers that have ended do not answer; nobody wakes those who wait for them. */
	while (a->missing && !atomic_load(&e->quit) && !is_over(&end)) {
		struct timespec slice;

		clock_gettime(CLOCK_MONOTONIC, &slice);
		slice.tv_nsec += SLICE_NS;
		slice.tv_sec += slice.tv_nsec / 1000000000;
		slice.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&a->more, &a->lock, &slice);
	}
	if (a->missing)
		err = atomic_load(&e->quit) ? -EPERM : -ETIMEDOUT;
	a->abandoned = true;
	pthread_mutex_unlock(&a->lock);
	unref(a, false);
	return err;
}

/* ------------------------------------------------------------------ status */

enum { GENERATIONS_MAX = 16 };

/* The generations that some worker still has. */
struct generations {
	struct sh_generation_state list[GENERATIONS_MAX];
	char hash[GENERATIONS_MAX][SH_SOURCE_HASH + 1]; /* a generation may be gone when we write */
	unsigned count;
};

static void add_generation(void *ctx, const struct sh_generation_state *g)
{
	struct generations *all = ctx;
	unsigned i = 0;

	while (i < all->count && all->list[i].number != g->number)
		i++;
	if (i == GENERATIONS_MAX)
		return;
	if (i == all->count) {
		all->list[all->count++] = *g;
		snprintf(all->hash[i], sizeof(all->hash[i]), "%s", g->hash);
		return;
	}
	all->list[i].hooks += g->hooks;
	all->list[i].calls += g->calls;
	all->list[i].current = all->list[i].current && g->current;
}

static void add_generations(struct sh_worker *w, void *arg)
{
	sh_runtime_each_generation(w->runtime, add_generation, arg);
}

/* The oldest first, whichever worker was asked first: there are few. */
static void sort_generations(struct generations *all)
{
	for (unsigned i = 1; i < all->count; i++) {
		for (unsigned k = i; k > 0 && all->list[k].number < all->list[k - 1].number; k--) {
			struct sh_generation_state g = all->list[k];
			char hash[sizeof(all->hash[0])];

			all->list[k] = all->list[k - 1];
			all->list[k - 1] = g;
			memcpy(hash, all->hash[k], sizeof(hash));
			memcpy(all->hash[k], all->hash[k - 1], sizeof(hash));
			memcpy(all->hash[k - 1], hash, sizeof(hash));
		}
	}
}

static int put_generations(struct sh_engine *e, struct sh_json *j, uint64_t now)
{
	struct generations all = {.count = 0};
	int err = sh_engine_ask(e, add_generations, &all);

	sh_json_key(j, "generations");
	sh_json_open(j, '[');
	sort_generations(&all);
	for (unsigned i = 0; i < all.count; i++) {
		const struct sh_generation_state *g = &all.list[i];

		sh_json_open(j, '{');
		sh_json_key(j, "number");
		sh_json_int(j, (int64_t)g->number);
		sh_json_key(j, "hash");
		sh_json_text(j, sh_slice_cstr(all.hash[i]));
		sh_json_key(j, "age");
		sh_json_seconds(j, now > g->loaded ? now - g->loaded : 0);
		sh_json_key(j, "calls");
		sh_json_int(j, g->calls);
		sh_json_key(j, "coroutines");
		sh_json_int(j, g->hooks);
		sh_json_key(j, "current");
		sh_json_bool(j, g->current);
		sh_json_close(j, '}');
	}
	sh_json_close(j, ']');
	return err;
}

struct listeners {
	struct sh_endpoint list[SH_MAX_ENDPOINTS];
	unsigned count;
};

/* All workers have the same; a reload may add some. */
static void list_listeners(struct sh_worker *w, void *arg)
{
	struct listeners *l = arg;
	const struct sh_transport *t = sh_ua_transport(w->ua);

	if (w->index != 0)
		return;
	l->count = sh_transport_endpoints(t);
	for (unsigned i = 0; i < l->count; i++)
		l->list[i] = *sh_transport_endpoint(t, i);
}

static void put_trunk(void *ctx, const struct sh_trunk_config *t)
{
	struct sh_json *j = ctx;
	const struct sh_trunk_status *s = t->status;

	sh_json_open(j, '{');
	sh_json_key(j, "name");
	sh_json_text(j, t->name);
	sh_json_key(j, "state");
	sh_json_text(j, sh_trunk_state_name((enum sh_trunk_state)atomic_load(&s->state)));
	sh_json_key(j, "registered");
	sh_json_bool(j, atomic_load(&s->registered));
	sh_json_key(j, "code");
	sh_json_int(j, atomic_load(&s->code));
	sh_json_key(j, "uri");
	sh_json_text(j, t->targets[atomic_load(&s->current) % t->count].uri);
	sh_json_close(j, '}');
}

/* They run on one worker. */
static void put_trunks(struct sh_worker *w, void *arg)
{
	sh_ua_each_trunk(w->ua, put_trunk, arg);
}

/* One that was succeeded also waits for its transactions: a repetition of what they have answered would be new to the other process. */
static void look_busy(struct sh_worker *w, void *arg)
{
	_Atomic bool *busy = arg;
	const struct sh_txn_stats *t = sh_txn_layer_stats(sh_ua_txn(w->ua));

	if (!sh_ua_idle(w->ua) || (sh_handover_succeeded(w->engine) && (t->server_live || t->client_live)))
		atomic_store(busy, true);
}

static int status(struct sh_engine *e, struct sh_json *j)
{
	struct sh_json trunks;
	_Atomic bool busy = false;
	struct listeners listeners = {.count = 0};
	struct sh_vm_world world;
	uint64_t wall;
	int err = sh_engine_ask(e, list_listeners, &listeners);

	if (!err)
		err = sh_engine_ask(e, look_busy, &busy);
	if (err)
		return err;
	sh_engine_world(e, &world);
	wall = world.wall(world.ctx);
	sh_json_open(j, '{');
	sh_json_key(j, "script");
	sh_json_text(j, sh_slice_cstr(e->script_path));
	sh_json_key(j, "draining");
	sh_json_bool(j, atomic_load(&e->draining));
	sh_json_key(j, "busy");
	sh_json_bool(j, atomic_load(&busy));
	sh_handover_put_status(e, j);
	sh_json_key(j, "uptime");
	sh_json_seconds(j, wall - e->started_at);
	sh_json_key(j, "listeners");
	sh_json_open(j, '[');
	for (unsigned i = 0; i < listeners.count; i++) {
		const struct sh_endpoint *ep = &listeners.list[i];
		char text[SH_ADDR_TEXT + 16], addr[SH_ADDR_TEXT];
		struct sh_slice proto = sh_proto_param(ep->proto);

		if (ep->connect_only || ep->closed)
			continue;
		sh_addr_format(&ep->local, addr);
		snprintf(text, sizeof(text), "%.*s://%s", SH_FMT(proto), addr);
		sh_json_text(j, sh_slice_cstr(text));
	}
	sh_json_close(j, ']');
	sh_json_init(&trunks);
	err = sh_engine_ask(e, put_trunks, &trunks);
	sh_json_key(j, "trunks");
	sh_json_open(j, '[');
	sh_json_join(j, &trunks);
	sh_json_close(j, ']');
	sh_json_finish(&trunks);
	if (!err)
		err = put_generations(e, j, wall);
	if (!err)
		err = sh_engine_put_status(e, j);
	sh_json_close(j, '}');
	return err;
}

/* ------------------------------------------------------------------ calls */

static void put_call(void *ctx, struct sh_call *c)
{
	struct sh_json *j = ctx;
	const struct sh_call_times *t = sh_call_times(c);
	uint64_t now = sh_env_wall(sh_ua_env(sh_call_ua(c)));

	if (sh_call_state(c) == SH_CALL_ENDED)
		return;
	sh_json_open(j, '{');
	sh_json_key(j, "id");
	sh_json_text(j, sh_call_id(c));
	sh_json_key(j, "state");
	sh_json_text(j, sh_call_state_name(sh_call_state(c)));
	sh_json_key(j, "from");
	sh_json_text(j, sh_call_from(c));
	sh_json_key(j, "to");
	sh_json_text(j, sh_call_to(c));
	sh_json_key(j, "uri");
	sh_json_text(j, sh_call_uri(c));
	sh_json_key(j, "age");
	sh_json_seconds(j, now - t->start);
	sh_json_key(j, "duration");
	sh_json_seconds(j, t->answer ? now - t->answer : 0);
	if (sh_call_a(c)) {
		sh_json_key(j, "a_call_id");
		sh_json_text(j, sh_dialog_call_id(sh_leg_dialog(sh_call_a(c))));
	}
	if (sh_call_b(c)) {
		sh_json_key(j, "b_call_id");
		sh_json_text(j, sh_dialog_call_id(sh_leg_dialog(sh_call_b(c))));
		sh_json_key(j, "b_uri");
		sh_json_text(j, sh_leg_uri(sh_call_b(c)));
	}
	sh_json_close(j, '}');
}

enum { CALLS_AT_ONCE = 500 }; /* in one turn of a worker: one to two milliseconds */

struct calls_question {
	struct sh_json json;
	uint32_t at[SH_ENGINE_MAX_WORKERS]; /* how far each worker is */
	bool more;
};

static void put_some_calls(struct sh_worker *w, void *arg)
{
	struct calls_question *q = arg;

	if (sh_ua_some_calls(w->ua, &q->at[w->index], CALLS_AT_ONCE, put_call, &q->json))
		q->more = true;
}

/* Asked again and again, so that no worker writes 100,000 calls in one turn: what begins or ends meanwhile is there or not. */
static int calls(struct sh_engine *e, struct sh_json *j)
{
	struct calls_question q = {.more = true};
	int err = 0;

	sh_json_init(&q.json);
	while (!err && q.more) {
		q.more = false;
		err = sh_engine_ask(e, put_some_calls, &q); /* one worker after the other: they hold the question's lock */
	}
	if (!err) {
		sh_json_open(j, '[');
		sh_json_join(j, &q.json);
		sh_json_close(j, ']');
	}
	sh_json_finish(&q.json);
	return err;
}

/* ------------------------------------------------------------------ registrations */

struct registrations {
	struct sh_json *json;
	uint64_t now;
	size_t most, bytes; /* that may still come; bytes of all */
	bool cut;
};

static void put_bindings(void *ctx, const struct sh_bindings *b)
{
	struct registrations *r = ctx;
	char addr[SH_ADDR_TEXT];

	for (unsigned i = 0; i < b->count; i++) {
		const struct sh_contact *c = &b->contacts[i];

		if (c->expires_at <= r->now)
			continue;
		if (r->most == 0 || r->json->len > r->bytes) {
			r->cut = true;
			return;
		}
		r->most--;
		sh_json_open(r->json, '{');
		sh_json_key(r->json, "aor");
		sh_json_text(r->json, b->aor);
		sh_json_key(r->json, "contact");
		sh_json_text(r->json, c->uri);
		sh_json_key(r->json, "expires");
		sh_json_int(r->json, (int64_t)((c->expires_at - r->now + SH_SECOND - 1) / SH_SECOND));
		sh_json_key(r->json, "transport");
		sh_json_text(r->json, sh_proto_param((enum sh_proto)c->from.proto));
		sh_json_key(r->json, "source");
		sh_json_text(r->json, sh_slice_make(addr, sh_addr_format(&c->from.remote, addr)));
		sh_json_key(r->json, "user_agent");
		sh_json_text(r->json, c->user_agent);
		sh_json_close(r->json, '}');
	}
}

int sh_engine_put_registrations(struct sh_engine *e, struct sh_json *j, size_t most, size_t bytes)
{
	struct registrations r = {j, 0, most, bytes, false};
	struct sh_vm_world world;
	int err;

	sh_engine_world(e, &world);
	r.now = world.wall(world.ctx);
	sh_json_open(j, '[');
	err = sh_location_each(e->location, put_bindings, &r);
	sh_json_close(j, ']');
	return !err && r.cut ? -E2BIG : err;
}

int sh_engine_query(struct sh_engine *e, const char *what, sh_engine_text_fn fn, void *ctx)
{
	struct sh_json j;
	int err = -EINVAL;

	sh_json_init(&j);
	pthread_rwlock_rdlock(&e->life);
	if (atomic_load(&e->state) == SH_ENGINE_STOPPED)
		err = -EPERM;
	else if (strcmp(what, "status") == 0)
		err = status(e, &j);
	else if (strcmp(what, "calls") == 0)
		err = calls(e, &j);
	else if (strcmp(what, "registrations") == 0)
		err = sh_engine_put_registrations(e, &j, SIZE_MAX, SIZE_MAX);
	else if (strcmp(what, "metrics") == 0)
		err = sh_engine_put_metrics(e, &j);
	else if (strcmp(what, "record") == 0)
		err = sh_recorder_put(e->recorder, &j);
	pthread_rwlock_unlock(&e->life);
	if (!err && j.failed)
		err = -ENOMEM;
	if (!err)
		fn(ctx, j.text, j.len);
	sh_json_finish(&j);
	return err;
}

/* ------------------------------------------------------------------ hangup */

struct hangup {
	struct sh_slice id;
	bool found;
};

static void hang_up(struct sh_worker *w, void *arg)
{
	struct hangup *h = arg;
	struct sh_call *c = sh_ua_find_call(w->ua, h->id);

	if (c && sh_call_hangup(c, SH_BY_ENGINE, 480, SH_LIT("SIP;cause=200;text=\"Ended by the operator\"")) == 0)
		h->found = true;
}

int sh_engine_hangup(struct sh_engine *e, const char *id)
{
	struct hangup h = {sh_slice_cstr(id), false};
	int err;

	pthread_rwlock_rdlock(&e->life);
	err = sh_engine_ask(e, hang_up, &h);
	pthread_rwlock_unlock(&e->life);
	return err ? err : h.found ? 0 : -ENOENT;
}
