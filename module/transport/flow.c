/* The connections of one worker: their table, limits and deadlines. Each has one timer, which is moved only when a
 * deadline comes nearer: activity just notes the time, and the timer looks again when it fires. */
#include "transport/impl.h"

enum {
	SLOTS_FIRST = 16,
	SLOTS_MAX = 1 << 24, /* the bits of an id */
};
#define PING_AFTER   (30 * SH_SECOND)
#define PONG_TIMEOUT (10 * SH_SECOND)

/* ---- ids ---- */

static uint64_t make_id(const struct sh_transport *t, uint32_t slot)
{
	return (uint64_t)t->env->worker << 56 | (uint64_t)slot << 32 | t->slots[slot].generation;
}

static uint32_t slot_of(uint64_t id)
{
	return (uint32_t)(id >> 32) & (SLOTS_MAX - 1);
}

static void free_slot(struct sh_transport *t, uint32_t slot)
{
	t->slots[slot].flow = NULL;
	if (t->slots[slot].generation == UINT32_MAX)
		return; /* used up: an id never comes again */
	t->slots[slot].next_free = t->free_slot;
	t->free_slot = slot;
}

static int more_slots(struct sh_transport *t)
{
	uint32_t count = t->slot_count ? t->slot_count * 2 : SLOTS_FIRST, i = count;
	struct sh_slot *slots;

	if (count > SLOTS_MAX)
		return -ENOBUFS;
	slots = sh_realloc(t->slots, count * sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	t->slots = slots;
	t->free_slot = count; /* none */
	while (i-- > t->slot_count) {
		/* Among processes that hand over to each other none may come upon the number of another's connection. */
		slots[i].generation = t->env->epoch ? (uint32_t)sh_random_below(&t->env->random, UINT32_C(1) << 31) : 0;
		free_slot(t, i);
	}
	t->slot_count = count;
	return 0;
}

static int take_slot(struct sh_flow *f)
{
	struct sh_transport *t = f->t;
	uint32_t slot;
	int err;

	if (t->free_slot >= t->slot_count) {
		err = more_slots(t);
		if (err)
			return err;
	}
	slot = t->free_slot;
	t->free_slot = t->slots[slot].next_free;
	t->slots[slot].flow = f;
	t->slots[slot].generation++; /* no id is 0 */
	f->id = make_id(t, slot);
	return 0;
}

struct sh_flow *sh_flow_by_id(const struct sh_transport *t, uint64_t id)
{
	uint32_t slot = slot_of(id);
	struct sh_flow *f;

	if (sh_flow_worker(id) != t->env->worker || slot >= t->slot_count)
		return NULL;
	f = t->slots[slot].flow;
	return f && f->id == id && f->state == SH_FLOW_OPEN && !f->broken ? f : NULL;
}

/* ---- by remote address ---- */

static uint64_t remote_hash(const struct sh_transport *t, uint8_t proto, const struct sh_addr *remote)
{
	struct sh_slice parts[2] = {{(const char *)&proto, 1}, sh_addr_bytes(remote)};

	return sh_hash_slices(&t->env->key, parts, 2);
}

static struct sh_addr alias_of(const struct sh_flow *f)
{
	struct sh_addr a = f->remote;

	a.port = f->alias;
	return a;
}

static struct sh_flow *by_alias(const struct sh_transport *t, enum sh_proto proto, const struct sh_addr *remote, uint32_t domain)
{
	struct sh_hash_node *n = t->aliases.count ? sh_hash_find(&t->aliases, remote_hash(t, (uint8_t)proto, remote)) : NULL;

	for (; n; n = sh_hash_next(n)) {
		struct sh_flow *f = SH_CONTAINER(n, struct sh_flow, alias_node);
		struct sh_addr a = alias_of(f);

		if (f->proto == proto && sh_addr_eq(&a, remote) && sh_tls_flow_is(f, domain))
			return f;
	}
	return NULL;
}

void sh_flow_note_alias(struct sh_transport *t, uint64_t id, const struct sh_msg *m)
{
	struct sh_flow *f = sh_flow_by_id(t, id);
	const char *names = f ? sh_tls_flow_names(f) : NULL;
	struct sh_slice sent_by, params;
	struct sh_addr a;

	if (!names || !*names || !f->peer || f->alias || !sh_slice_cut(sh_msg_text(m, m->via), ';', &sent_by, &params) ||
	    !sh_param_find(params, SH_LIT("alias"), NULL))
		return;
	f->alias = m->via_port ? m->via_port : sh_proto_port((enum sh_proto)f->proto);
	a = alias_of(f);
	sh_hash_insert(&t->aliases, &f->alias_node, remote_hash(t, f->proto, &a));
}

struct sh_flow *sh_flow_by_remote(const struct sh_transport *t, enum sh_proto proto, const struct sh_addr *remote,
				  uint32_t domain)
{
	struct sh_hash_node *n = sh_hash_find(&t->by_remote, remote_hash(t, (uint8_t)proto, remote));

	for (; n; n = sh_hash_next(n)) {
		struct sh_flow *f = SH_CONTAINER(n, struct sh_flow, node);
		if (f->proto == proto && sh_addr_eq(&f->remote, remote) && (!f->tls || sh_tls_flow_proves(f, domain)))
			return f;
	}
	return by_alias(t, proto, remote, domain);
}

/* ---- peers ---- */

static struct sh_peer *find_peer(const struct sh_transport *t, const struct sh_addr *host, uint64_t hash)
{
	for (struct sh_hash_node *n = sh_hash_find(&t->peers, hash); n; n = sh_hash_next(n)) {
		struct sh_peer *p = SH_CONTAINER(n, struct sh_peer, node);
		if (sh_addr_eq(&p->addr, host))
			return p;
	}
	return NULL;
}

static unsigned connections_from(const struct sh_transport *t, const struct sh_addr *remote)
{
	struct sh_addr host = sh_source_of(remote);
	const struct sh_peer *p = find_peer(t, &host, sh_hash_slice(&t->env->key, sh_addr_bytes(&host)));

	return p ? p->count : 0;
}

/* 0, -ENOMEM, or -EMFILE: it has too many. */
static int join_peer(struct sh_flow *f)
{
	struct sh_transport *t = f->t;
	const struct sh_listen_tuning *tuning = &t->listens[f->endpoint]->pub.tuning;
	unsigned limit = tuning->max_per_source ? tuning->max_per_source : t->config.max_per_peer;
	struct sh_addr host = sh_source_of(&f->remote);
	struct sh_peer *p;
	uint64_t hash;

	hash = sh_hash_slice(&t->env->key, sh_addr_bytes(&host));
	p = find_peer(t, &host, hash);
	if (p && p->count >= limit)
		return -EMFILE;
	if (!p) {
		p = sh_calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->addr = host;
		sh_hash_insert(&t->peers, &p->node, hash);
	}
	p->count++;
	f->peer = p;
	return 0;
}

static void leave_peer(struct sh_flow *f)
{
	struct sh_peer *p = f->peer;

	f->peer = NULL;
	if (!p || --p->count > 0)
		return;
	sh_hash_remove(&f->t->peers, &p->node);
	sh_free(p);
}

/* ---- deadlines ---- */

struct deadline {
	uint64_t due;
	int error;
	const char *why; /* NULL: nothing to complain about */
};

static void nearer(struct deadline *d, uint64_t due, int error, const char *why)
{
	if (due < d->due)
		*d = (struct deadline){due, error, why};
}

static const char slow_sender[] = "the rest of a message did not come", no_keep_alive[] = "no keep-alive came",
		  no_pong[] = "it does not answer a ping", ask[] = "";

static struct deadline next_deadline(const struct sh_flow *f)
{
	const struct sh_transport_config *c = &f->t->config;
	const struct sh_listen_tuning *tuning = &f->t->listens[f->endpoint]->pub.tuning;
	uint64_t part = tuning->message_timeout ? tuning->message_timeout : SH_PART_TIMEOUT;
	struct deadline d = {f->last_byte + (tuning->idle_timeout ? tuning->idle_timeout : c->idle_timeout), 0, NULL};

	if (!f->connected)
		return (struct deadline){f->since + c->connect_timeout, -ETIMEDOUT, NULL};
	if (!f->ready)
		return (struct deadline){f->since + (tuning->handshake_timeout ? tuning->handshake_timeout : c->handshake_timeout), -ETIMEDOUT,
					 "no handshake in time"};
	if ((f->in.len > 0 || (f->ws && sh_ws_has_part(f))) && !f->paused && f->state == SH_FLOW_OPEN)
		nearer(&d, f->part_since + part, -ETIMEDOUT, slow_sender);
	if (f->quiet)
		nearer(&d, f->last_in + f->quiet, -ETIMEDOUT, no_keep_alive);
	if (f->ws && f->pinged)
		nearer(&d, f->pinged + PONG_TIMEOUT, -ETIMEDOUT, no_pong);
	else if (f->ws && tuning->ping != SH_NEVER)
		nearer(&d, f->last_in + (tuning->ping ? tuning->ping : PING_AFTER), 0, ask);
	if (f->out.len > 0)
		nearer(&d, f->moved + SH_STALL_TIMEOUT, -ETIMEDOUT, "the peer does not read");
	return d;
}

void sh_flow_watch(struct sh_flow *f)
{
	uint64_t due;

	if (f->state == SH_FLOW_ENDED)
		return;
	due = next_deadline(f).due;
	if (!sh_timer_pending(&f->timer) || f->timer.due > due)
		sh_wheel_add(&f->t->env->wheel, &f->timer, due);
}

static void on_timer(struct sh_timer *timer)
{
	struct sh_flow *f = SH_CONTAINER(timer, struct sh_flow, timer);
	struct deadline d = next_deadline(f);

	if (d.due > f->t->env->now) {
		sh_flow_watch(f);
		return;
	}
	if (d.why == ask) {
		f->pinged = f->t->env->now;
		sh_ws_ping(f);
		sh_flow_watch(f);
		return;
	}
	f->t->stats.slow += d.why == slow_sender;
	f->t->stats.quiet += d.why == no_keep_alive || d.why == no_pong;
	if (d.why)
		sh_transport_complain(f->t, f->proto, &f->remote, "connection closed", d.why, SH_LIT(""));
	sh_flow_goodbye(f, SH_WS_GOING_AWAY);
	sh_flow_end(f, d.error);
}

void sh_flow_expect(struct sh_transport *t, uint64_t id, uint64_t quiet)
{
	struct sh_flow *f = sh_flow_by_id(t, id);

	if (!f)
		return;
	f->quiet = quiet;
	sh_flow_watch(f);
}

/* ---- life ---- */

static struct sh_flow *create(struct sh_listen *l, const struct sh_addr *remote)
{
	struct sh_flow *f = sh_calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->t = l->t;
	f->proto = (uint8_t)l->pub.proto;
	f->endpoint = l->index;
	f->remote = *remote;
	f->since = f->last_byte = f->last_in = l->t->env->now;
	sh_list_init(&f->link);
	sh_list_init(&f->dirty);
	sh_timer_init(&f->timer, on_timer);
	return f;
}

static void destroy(struct sh_flow *f)
{
	sh_list_remove(&f->link);
	sh_list_remove(&f->dirty);
	sh_ws_finish(f);
	sh_tls_flow_finish(f);
	sh_buffer_finish(&f->in);
	sh_buffer_finish(&f->out);
	sh_free(f);
}

/* The layers of a connection that came in, or that we open. 0, -ENOMEM, -EINVAL. */
static int add_layers(struct sh_flow *f, struct sh_listen *l, bool accepted)
{
	int err = l->tls ? sh_tls_flow_begin(f, l->tls, accepted) : 0;

	if (!err && accepted && (l->pub.proto == SH_PROTO_WS || l->pub.proto == SH_PROTO_WSS || l->sibling))
		err = sh_ws_begin(f);
	return err;
}

/* It is complete: everybody may find it. */
static void enlist(struct sh_flow *f)
{
	struct sh_transport *t = f->t;

	sh_hash_insert(&t->by_remote, &f->node, remote_hash(t, f->proto, &f->remote));
	sh_list_append(&t->flows, &f->link);
	t->stats.connections++;
	t->stats.connections_by[f->proto]++;
	t->listens[f->endpoint]->flows++;
	if (f->peer) {
		t->accepted++;
		t->listens[f->endpoint]->accepted++;
		t->handshakes++;
	} else {
		t->opened++;
	}
	sh_flow_watch(f);
}

static void refuse(struct sh_transport *t, enum sh_proto proto, const struct sh_addr *remote, const char *why)
{
	char peer[SH_ADDR_TEXT];

	t->stats.refused_limit++;
	if (!sh_log_on(t->env->log, SH_LOG_WARN))
		return;
	sh_addr_format(remote, peer);
	sh_log_write_limited(t->env->log, SH_LOG_WARN, &t->refused_limit, t->env->now,
			     "%.*s %s: connection refused: %s", SH_FMT(sh_proto_param(proto)), peer, why);
}

struct sh_flow *sh_flow_accept(struct sh_listen *l, struct sh_stream *s, const struct sh_addr *local,
			       const struct sh_addr *remote)
{
	struct sh_transport *t = l->t;
	struct sh_flow *f;
	int err;

	if (t->guarded && !sh_door_admits_connection(t, remote, connections_from(t, remote)))
		return NULL;
	if (t->accepted >= (t->door && t->door->max_connections ? t->door->max_connections : t->config.max_connections) ||
	    (l->pub.tuning.max_connections && l->accepted >= l->pub.tuning.max_connections)) {
		refuse(t, l->pub.proto, remote, "too many connections");
		return NULL;
	}
	if (t->handshakes >= (t->door && t->door->max_handshakes ? t->door->max_handshakes : t->config.max_handshakes) && (l->tls || l->sibling || l->pub.proto == SH_PROTO_WS)) {
		refuse(t, l->pub.proto, remote, "too many handshakes at a time");
		return NULL;
	}
	f = create(l, remote);
	if (!f)
		return NULL;
	err = join_peer(f);
	if (err == -EMFILE)
		refuse(t, l->pub.proto, remote, "too many connections from this address");
	if (err)
		goto fail;
	err = add_layers(f, l, true);
	if (err)
		goto fail;
	err = take_slot(f);
	if (err)
		goto fail;
	f->stream = s;
	f->local = *local;
	enlist(f);
	sh_flow_connected(f);
	return f;

fail:
	leave_peer(f);
	destroy(f);
	return NULL;
}

/* Where the connection comes from: the endpoint's address, or the one that the peer knows us by. Any port. */
static struct sh_addr source_for(const struct sh_listen *l, const struct sh_path *path)
{
	struct sh_addr none = {0}, local = l->any ? path->local : l->pub.local;

	if (!sh_addr_is_source(&local) || local.family != path->remote.family)
		return none;
	local.port = 0;
	return local;
}

int sh_flow_open(struct sh_flow **out, struct sh_listen *l, const struct sh_path *path)
{
	struct sh_transport *t = l->t;
	struct sh_addr local = source_for(l, path);
	struct sh_flow *f;
	int err;

	if (t->opened >= t->config.max_connections)
		return -ENOBUFS;
	if (l->pub.proto == SH_PROTO_WS || l->pub.proto == SH_PROTO_WSS)
		return -EPIPE; /* RFC 7118 5: browsers connect to us, and only they know how to be reached again */
	f = create(l, &path->remote);
	if (!f)
		return -ENOMEM;
	f->domain = path->domain;
	err = add_layers(f, l, false);
	if (err)
		goto fail;
	err = take_slot(f);
	if (err)
		goto fail;
	err = t->env->driver->connect(t->env, &local, &path->remote, f, &f->stream);
	if (err)
		goto fail_slot;
	f->local = local;
	enlist(f);
	*out = f;
	return 0;

fail_slot:
	free_slot(t, slot_of(f->id));
fail:
	destroy(f);
	return err;
}

/* ---- the layers come up ---- */

void sh_flow_connected(struct sh_flow *f)
{
	f->connected = true;
	f->since = f->last_byte = f->last_in = f->moved = f->t->env->now;
	if (f->tls && !f->peer)
		sh_tls_flow_connected(f);
	else if (!f->tls)
		sh_flow_secured(f);
}

void sh_flow_secured(struct sh_flow *f)
{
	if (!f->ws)
		sh_flow_ready(f, f->t->listens[f->endpoint]);
}

/* It may be another endpoint than that of the socket; then it is found by other keys, too. */
void sh_flow_ready(struct sh_flow *f, struct sh_listen *l)
{
	struct sh_transport *t = f->t;

	f->ready = true;
	if (f->peer)
		t->handshakes--;
	if (l->index != f->endpoint) {
		sh_hash_remove(&t->by_remote, &f->node);
		if (f->peer) {
			t->listens[f->endpoint]->accepted--;
			l->accepted++;
		}
		t->listens[f->endpoint]->flows--;
		l->flows++;
		t->stats.connections_by[f->proto]--;
		f->proto = (uint8_t)l->pub.proto;
		t->stats.connections_by[f->proto]++;
		f->endpoint = l->index;
		sh_hash_insert(&t->by_remote, &f->node, remote_hash(t, f->proto, &f->remote));
	}
	if (f->tls)
		sh_stream_touch(f);
	sh_flow_watch(f);
}

void sh_flow_goodbye(struct sh_flow *f, unsigned code)
{
	if (!f->ready || f->broken || f->state == SH_FLOW_ENDED)
		return;
	if (f->ws)
		sh_ws_close(f, code);
	if (f->tls)
		sh_tls_flow_shut(f);
	sh_stream_flush(f);
}

void sh_flow_unlist(struct sh_flow *f)
{
	if (f->state != SH_FLOW_OPEN || f->broken)
		return;
	sh_hash_remove(&f->t->by_remote, &f->node);
	if (f->alias)
		sh_hash_remove(&f->t->aliases, &f->alias_node);
}

void sh_flow_end(struct sh_flow *f, int error)
{
	struct sh_transport *t = f->t;

	if (f->state == SH_FLOW_ENDED)
		return;
	sh_flow_unlist(f);
	f->state = SH_FLOW_ENDED;
	f->error = error;
	sh_env_cancel(t->env, &f->timer);
	if (f->stream)
		t->env->driver->close(t->env, f->stream);
	f->stream = NULL;
	free_slot(t, slot_of(f->id));
	t->stats.connections--;
	t->stats.connections_by[f->proto]--;
	t->listens[f->endpoint]->flows--;
	if (f->tls && f->connected)
		sh_tls_flow_ended(f, error);
	if (f->peer) {
		t->accepted--;
		t->listens[f->endpoint]->accepted--;
	} else {
		t->opened--;
	}
	if (f->peer && !f->ready)
		t->handshakes--;
	leave_peer(f);
	sh_list_remove(&f->dirty);
	sh_list_remove(&f->link);
	sh_list_append(&t->ended, &f->link);
	if (!sh_timer_pending(&t->report))
		sh_env_timer(t->env, &t->report, 0);
}

void sh_flow_report(struct sh_transport *t)
{
	while (!sh_list_empty(&t->ended)) {
		struct sh_flow *f = SH_CONTAINER(t->ended.next, struct sh_flow, link);
		uint64_t id = f->id;
		int error = f->error;

		destroy(f);
		t->user.flow_closed(t->user_ctx, id, error);
	}
	sh_env_cancel(t->env, &t->report);
}

void sh_flow_destroy_all(struct sh_transport *t)
{
	while (!sh_list_empty(&t->flows))
		sh_flow_end(SH_CONTAINER(t->flows.next, struct sh_flow, link), 0);
	while (!sh_list_empty(&t->ended))
		destroy(SH_CONTAINER(t->ended.next, struct sh_flow, link));
	sh_env_cancel(t->env, &t->report);
	sh_free(t->slots);
}
