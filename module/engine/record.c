/* The record of a call: every message of its legs, as it came and as it left, with what was registered when it began, and what its hooks
 * have learned from outside. One at a time in an instance; while none is wanted nobody reads along. */
#include "engine/impl.h"
#include "engine/outside.h"

enum { MESSAGES_MAX = 5000, LEGS_MAX = 64, FILTER_MAX = 200, ID_MAX = 256, TRIES_MAX = 16, OWN_ID = 16 };

/* lua/siphook/record.lua reads a text of less than 16 MB. */
#define BYTES_MAX         (6u << 20) /* of messages */
#define REGISTRATIONS_MAX 10000
#define REGISTERED_MAX    (3u << 20) /* bytes */
#define LINGER    SH_SECOND /* after the end of the call: the last answers */
#define PATIENCE  (30 * SH_SECOND) /* and those of web servers */

enum state { NONE, WAITING, TAKEN /* it is complete, and being written */, RUNNING, ENDING };

struct message {
	struct sh_link link;
	uint64_t at; /* wall clock, microseconds */
	bool in;
	enum sh_proto proto;
	struct sh_addr remote;
	size_t len;
	char text[];
};

struct sh_recorder {
	struct sh_engine *engine;
	struct sh_ua_observer observer;
	struct sh_script_observer hooks;
	pthread_mutex_t askers; /* one at a time: what is wanted and who listens change together. Taken before `lock` */
	pthread_mutex_t lock; /* of what follows: workers write, whoever asks reads */
	enum state state;
	char filter[FILTER_MAX];
	char ids[LEGS_MAX][ID_MAX]; /* Call-IDs, the caller's first */
	unsigned nids, nmessages;
	size_t bytes;
	bool cut; /* something did not fit */
	char own[TRIES_MAX][OWN_ID]; /* the calls' own ids: the caller comes again with a password */
	unsigned nown;
	struct sh_outside outside;
	uint64_t began, ended;
	struct sh_link messages;
	struct sh_json registrations; /* as they were when it was asked for */
};

/* ------------------------------------------------------------------ reading along */

static bool knows(const struct sh_recorder *r, struct sh_slice id)
{
	for (unsigned i = 0; i < r->nids; i++)
		if (sh_slice_eq(sh_slice_cstr(r->ids[i]), id))
			return true;
	return false;
}

static void learn(struct sh_recorder *r, struct sh_slice id)
{
	if (r->nids == LEGS_MAX || id.len >= ID_MAX) {
		r->cut = true;
		return;
	}
	memcpy(r->ids[r->nids], id.base, id.len);
	r->ids[r->nids++][id.len] = '\0';
}

static bool wanted(const struct sh_recorder *r, const struct sh_msg *m)
{
	struct sh_slice head = sh_slice_make(m->base, m->size);
	size_t n = strlen(r->filter);

	if (!m->is_request || m->method != SH_INVITE || m->to_tag.len)
		return false;
	return n == 0 || memmem(head.base, head.len, r->filter, n) != NULL;
}

static void keep(struct sh_recorder *r, uint64_t at, bool in, const struct sh_path *path, struct sh_slice text)
{
	struct message *m;

	if (r->nmessages == MESSAGES_MAX || r->bytes + text.len > BYTES_MAX || !(m = sh_malloc(sizeof(*m) + text.len))) {
		r->cut = true;
		return;
	}
	sh_list_init(&m->link);
	m->at = at;
	m->in = in;
	m->proto = (enum sh_proto)path->proto;
	m->remote = path->remote;
	m->len = text.len;
	memcpy(m->text, text.base, text.len);
	sh_list_append(&r->messages, &m->link);
	r->nmessages++;
	r->bytes += text.len;
}

static void on_message(void *ctx, bool in, const struct sh_path *path, struct sh_slice text)
{
	struct sh_worker *w = ctx;
	struct sh_recorder *r = w->engine->recorder;
	uint64_t at = sh_env_wall(w->env);
	struct sh_slice id;
	struct sh_msg m;

	if (sh_msg_scan(&m, text.base, text.len, false, NULL) < 0)
		return;
	id = sh_msg_text(&m, m.call_id);
	pthread_mutex_lock(&r->lock);
	if (r->state == WAITING && in && wanted(r, &m)) {
		r->state = RUNNING;
		r->began = at;
		learn(r, id);
	}
	if (r->state == ENDING && in && m.is_request && m.method == SH_INVITE && !m.to_tag.len &&
	    sh_slice_eq(sh_slice_cstr(r->ids[0]), id))
		r->state = RUNNING; /* the caller comes again with a password */
	if (r->state >= RUNNING && knows(r, id))
		keep(r, at, in, path, text);
	pthread_mutex_unlock(&r->lock);
}

static void on_leg(void *ctx, struct sh_slice caller, struct sh_slice leg)
{
	struct sh_recorder *r = ctx;

	pthread_mutex_lock(&r->lock);
	if (r->state >= RUNNING && knows(r, caller) && !knows(r, leg))
		learn(r, leg);
	pthread_mutex_unlock(&r->lock);
}

/* A call that was only challenged has ended too; it goes on under the same Call-ID. */
static void on_ended(void *ctx, struct sh_slice caller)
{
	struct sh_recorder *r = ctx;
	struct sh_vm_world world;

	sh_engine_world(r->engine, &world);
	pthread_mutex_lock(&r->lock);
	if (r->state >= RUNNING && sh_slice_eq(sh_slice_cstr(r->ids[0]), caller)) {
		r->state = ENDING;
		r->ended = world.wall(world.ctx);
	}
	pthread_mutex_unlock(&r->lock);
}

/* ------------------------------------------------------------------ what its hooks learn */

/* A call has its own id from beginning to end; which Call-ID it is known by can be seen while there is a leg a or an INVITE. */
static bool is_own(struct sh_recorder *r, const struct sh_call *c)
{
	struct sh_slice id = sh_call_id(c), caller = {0};
	const struct sh_msg *m = sh_call_invite(c);

	for (unsigned i = 0; i < r->nown; i++)
		if (sh_slice_eq(sh_slice_make(r->own[i], OWN_ID), id))
			return true;
	if (sh_call_a(c))
		caller = sh_dialog_call_id(sh_leg_dialog(sh_call_a(c)));
	else if (m)
		caller = sh_msg_text(m, m->call_id);
	if (r->state < RUNNING || !caller.len || !sh_slice_eq(sh_slice_cstr(r->ids[0]), caller))
		return false;
	if (r->nown < TRIES_MAX && id.len == OWN_ID)
		memcpy(r->own[r->nown++], id.base, OWN_ID);
	return true;
}

static uint64_t on_ask(void *ctx, const struct sh_call *c, const struct sh_http_request *rq)
{
	struct sh_recorder *r = ctx;
	uint64_t at = sh_env_wall(sh_ua_env(sh_call_ua(c))), ask = 0;

	pthread_mutex_lock(&r->lock);
	if (is_own(r, c))
		ask = sh_outside_ask(&r->outside, at, rq);
	pthread_mutex_unlock(&r->lock);
	return ask;
}

static void on_answer(void *ctx, uint64_t ask, const struct sh_http_response *response)
{
	struct sh_recorder *r = ctx;
	struct sh_vm_world world;

	sh_engine_world(r->engine, &world);
	pthread_mutex_lock(&r->lock);
	sh_outside_answer(&r->outside, ask, world.wall(world.ctx), response);
	pthread_mutex_unlock(&r->lock);
}

static void on_use(void *ctx, const struct sh_call *c, const struct sh_shared_at *at, struct sh_slice key, bool reads)
{
	struct sh_recorder *r = ctx;

	pthread_mutex_lock(&r->lock);
	if (is_own(r, c))
		sh_outside_use(&r->outside, at, key, reads);
	pthread_mutex_unlock(&r->lock);
}

static void listen_in(struct sh_worker *w, void *arg)
{
	struct sh_recorder *r = w->engine->recorder;
	bool on = *(const bool *)arg;

	if (sh_runtime_observe(w->runtime, on ? &r->hooks : NULL) < 0) {
		pthread_mutex_lock(&r->lock);
		r->cut = true;
		pthread_mutex_unlock(&r->lock);
	}
	sh_transport_set_tap(sh_ua_transport(w->ua), on ? on_message : NULL, w);
	sh_ua_set_observer(w->ua, on ? &r->observer : NULL);
}

/* ------------------------------------------------------------------ asking for it */

static void reset(struct sh_recorder *r)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&r->messages)))
		sh_free(SH_CONTAINER(l, struct message, link));
	r->state = NONE;
	r->nids = r->nmessages = r->nown = 0;
	r->bytes = 0;
	r->cut = false;
	sh_outside_clear(&r->outside);
	sh_json_finish(&r->registrations);
	sh_json_init(&r->registrations);
}

int sh_engine_record(struct sh_engine *e, const char *filter)
{
	struct sh_recorder *r = e->recorder;
	bool on = true, busy;
	int err;

	pthread_rwlock_rdlock(&e->life);
	if (atomic_load(&e->state) == SH_ENGINE_STOPPED) {
		pthread_rwlock_unlock(&e->life);
		return -EPERM;
	}
	r = e->recorder;
	pthread_mutex_lock(&r->askers);
	pthread_mutex_lock(&r->lock);
	busy = r->state != NONE;
	if (!busy) {
		reset(r);
		r->cut = sh_engine_put_registrations(e, &r->registrations, REGISTRATIONS_MAX, REGISTERED_MAX) < 0;
		snprintf(r->filter, sizeof(r->filter), "%s", filter);
		r->state = WAITING;
	}
	pthread_mutex_unlock(&r->lock);
	err = busy ? -EBUSY : sh_engine_ask(e, listen_in, &on);
	pthread_mutex_unlock(&r->askers);
	pthread_rwlock_unlock(&e->life);
	return err;
}

static int stop(struct sh_engine *e)
{
	bool on = false;
	int err;

	pthread_mutex_lock(&e->recorder->askers);
	err = sh_engine_ask(e, listen_in, &on);
	pthread_mutex_lock(&e->recorder->lock);
	reset(e->recorder);
	pthread_mutex_unlock(&e->recorder->lock);
	pthread_mutex_unlock(&e->recorder->askers);
	return err;
}

int sh_engine_record_stop(struct sh_engine *e)
{
	int err = -EPERM;

	pthread_rwlock_rdlock(&e->life);
	if (atomic_load(&e->state) != SH_ENGINE_STOPPED)
		err = stop(e);
	pthread_rwlock_unlock(&e->life);
	return err;
}

/* ------------------------------------------------------------------ the record as JSON */

static void put_message(struct sh_json *j, const struct sh_recorder *r, const struct message *m)
{
	char addr[SH_ADDR_TEXT];

	sh_json_open(j, '{');
	sh_json_key(j, "at");
	sh_json_int(j, m->at > r->began ? (int64_t)(m->at - r->began) : 0); /* the clock of the wall may have been set back */
	sh_json_key(j, "in");
	sh_json_bool(j, m->in);
	sh_json_key(j, "transport");
	sh_json_text(j, sh_proto_param(m->proto));
	sh_json_key(j, "remote");
	sh_json_text(j, sh_slice_make(addr, sh_addr_format(&m->remote, addr)));
	sh_json_key(j, "text");
	sh_json_text(j, sh_slice_make(m->text, m->len));
	sh_json_close(j, '}');
}

static void put_outside(struct sh_json *j, const struct sh_recorder *r)
{
	struct sh_secrets secrets;

	sh_secrets_init(&secrets);
	SH_LIST_EACH(l, &r->messages)
	{
		const struct message *m = SH_CONTAINER(l, struct message, link);

		if (m->in)
			sh_secrets_learn(&secrets, sh_slice_make(m->text, m->len));
	}
	sh_outside_put(&r->outside, r->began, &secrets, j);
	sh_secrets_finish(&secrets);
}

static void put_record(struct sh_json *j, const struct sh_recorder *r)
{
	sh_json_open(j, '{');
	sh_json_key(j, "siphook_record");
	sh_json_int(j, 1);
	sh_json_key(j, "script");
	sh_json_text(j, sh_slice_cstr(r->engine->script_path));
	sh_json_key(j, "began");
	sh_json_int(j, (int64_t)r->began);
	sh_json_key(j, "cut");
	sh_json_bool(j, r->cut || r->outside.cut);
	sh_json_key(j, "domains");
	sh_json_open(j, '[');
	if (sh_script_current(r->engine->script)) {
		unsigned n;
		const struct sh_slice *names = sh_generation_domains(sh_script_current(r->engine->script), &n);

		for (unsigned i = 0; i < n; i++)
			sh_json_text(j, names[i]);
	}
	sh_json_close(j, ']');
	sh_json_key(j, "local");
	sh_json_open(j, '[');
	for (unsigned i = 0; i < r->engine->nlisten; i++)
		sh_json_text(j, sh_slice_cstr(r->engine->listen[i]));
	sh_json_close(j, ']');
	sh_json_key(j, "legs");
	sh_json_open(j, '[');
	for (unsigned i = 0; i < r->nids; i++)
		sh_json_text(j, sh_slice_cstr(r->ids[i]));
	sh_json_close(j, ']');
	sh_json_key(j, "registrations");
	sh_json_open(j, '[');
	if (r->registrations.len > 2) { /* with its brackets */
		struct sh_json inner = {.text = r->registrations.text + 1, .len = r->registrations.len - 2};

		sh_json_join(j, &inner);
	}
	sh_json_close(j, ']');
	sh_json_key(j, "messages");
	sh_json_open(j, '[');
	SH_LIST_EACH(l, &r->messages)
	put_message(j, r, SH_CONTAINER(l, struct message, link));
	sh_json_close(j, ']');
	put_outside(j, r);
	sh_json_close(j, '}');
}

static bool take(struct sh_recorder *r)
{
	struct sh_vm_world world;
	bool done;

	sh_engine_world(r->engine, &world);
	pthread_mutex_lock(&r->lock);
	done = r->state == ENDING && world.wall(world.ctx) >= r->ended + (r->outside.open ? PATIENCE : LINGER);
	if (done)
		r->state = TAKEN;
	pthread_mutex_unlock(&r->lock);
	return done;
}

/* The caller holds e->life. The workers stop to read along before it is written, which takes a while: none waits for the lock then. */
int sh_recorder_put(struct sh_recorder *r, struct sh_json *j)
{
	static const char *const names[] = {"none", "waiting", "running", "running", "running"};
	bool off = false, done;
	int err;

	pthread_mutex_lock(&r->askers);
	done = take(r);
	err = done ? sh_engine_ask(r->engine, listen_in, &off) : 0;
	pthread_mutex_lock(&r->lock);
	done = done && !err && r->state == TAKEN;
	sh_json_open(j, '{');
	sh_json_key(j, "state");
	sh_json_text(j, sh_slice_cstr(done ? "done" : names[r->state]));
	if (done) {
		sh_json_key(j, "record");
		put_record(j, r);
	}
	sh_json_close(j, '}');
	if (done && !j->failed)
		reset(r);
	else if (r->state == TAKEN)
		r->state = ENDING; /* for the next one who asks */
	pthread_mutex_unlock(&r->lock);
	pthread_mutex_unlock(&r->askers);
	return err;
}

/* ------------------------------------------------------------------ life */

int sh_recorder_create(struct sh_recorder **out, struct sh_engine *e)
{
	struct sh_recorder *r = sh_calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->engine = e;
	r->observer = (struct sh_ua_observer){on_leg, on_ended, r};
	r->hooks = (struct sh_script_observer){on_ask, on_answer, on_use, r};
	sh_outside_init(&r->outside);
	pthread_mutex_init(&r->askers, NULL);
	pthread_mutex_init(&r->lock, NULL);
	sh_list_init(&r->messages);
	sh_json_init(&r->registrations);
	*out = r;
	return 0;
}

void sh_recorder_destroy(struct sh_recorder *r)
{
	if (!r)
		return;
	reset(r);
	sh_json_finish(&r->registrations);
	pthread_mutex_destroy(&r->lock);
	pthread_mutex_destroy(&r->askers);
	sh_free(r);
}
