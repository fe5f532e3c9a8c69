/* The keep-alives of phones that do outbound over datagrams (RFC 5626 4.4.2, 5.4): STUN binding requests, or whatever else a phone
 * sends to keep its way open. Where they have come in time and cease, the flow is dead.
 *
 * A client that was given a Flow-Timer must keep to it (4.4), but many a phone ignores that; its binding ends by its time. One keep-alive
 * does not show that there will be others (a phone may send one when it starts, anybody may send one with its source address): the watch
 * begins with the third of a row. Such a peer has a number like a connection: SH_FLOW_DATAGRAM in the place of the worker, and a keyed
 * hash of its address; flow_closed says that it is gone.
 *
 * They are looked after by the worker whose socket the peer's packets come to, and only time and number are kept. The kernel chooses the
 * socket by both addresses, so it stays the same; where several workers read one socket (inherited ones), nobody is watched. */
#include "transport/impl.h"

enum {
	BEGUN = 3, /* in a row: from now on they are expected */
	BEATS_MAX = 1 << 18 /* peers of a worker; others' bindings end by their time */
};

struct beat {
	struct sh_hash_node node; /* sh_transport.beats */
	struct sh_timer timer;
	struct sh_transport *t;
	uint64_t flow;
	uint64_t quiet; /* us without one that are too many */
	uint64_t last;  /* when one came */
	uint64_t until; /* the end of the longest registration */
	unsigned row;   /* that came in time, the last one included; BEGUN: or more */
};

uint64_t sh_peer_flow(const struct sh_hash_key *key, const struct sh_addr *remote)
{
	return (uint64_t)SH_FLOW_DATAGRAM << 56 | sh_hash_slice(key, sh_addr_bytes(remote)) >> 8;
}

static struct beat *find(const struct sh_transport *t, uint64_t flow)
{
	struct sh_hash_node *n = sh_hash_find(&t->beats, flow);

	while (n && SH_CONTAINER(n, struct beat, node)->flow != flow)
		n = sh_hash_next(n);
	return n ? SH_CONTAINER(n, struct beat, node) : NULL;
}

static void forget(struct beat *b)
{
	sh_hash_remove(&b->t->beats, &b->node);
	sh_env_cancel(b->t->env, &b->timer);
	sh_free(b);
}

static bool is_watched(const struct beat *b)
{
	return b->row == BEGUN;
}

static uint64_t due(const struct beat *b)
{
	uint64_t silent = is_watched(b) ? b->last + b->quiet : UINT64_MAX;

	return silent < b->until ? silent : b->until;
}

static void watch(struct beat *b)
{
	uint64_t at = due(b);

	if (!sh_timer_pending(&b->timer) || b->timer.due > at)
		sh_wheel_add(&b->t->env->wheel, &b->timer, at);
}

static void on_timer(struct sh_timer *timer)
{
	struct beat *b = SH_CONTAINER(timer, struct beat, timer);
	struct sh_transport *t = b->t;
	bool dead = is_watched(b) && t->env->now >= b->last + b->quiet;
	uint64_t flow = b->flow;

	if (t->env->now < due(b)) {
		watch(b);
		return;
	}
	forget(b);
	if (!dead)
		return;
	t->stats.quiet++;
	t->user.flow_closed(t->user_ctx, flow, -ETIMEDOUT);
	sh_stream_flush_dirty(t);
}

void sh_beat_expect(struct sh_transport *t, uint64_t flow, uint64_t quiet, uint64_t lifetime)
{
	struct beat *b = t->beats.count ? find(t, flow) : NULL;

	if (!quiet) {
		if (b)
			forget(b);
		return;
	}
	if (!b) {
		b = t->beats.count < BEATS_MAX ? sh_calloc(1, sizeof(*b)) : NULL;
		if (!b)
			return; /* its binding ends by its time */
		b->t = t;
		b->flow = flow;
		sh_timer_init(&b->timer, on_timer);
		sh_hash_insert(&t->beats, &b->node, flow);
	}
	b->quiet = quiet;
	if (b->until < t->env->now + lifetime) /* several users may have registered by it */
		b->until = t->env->now + lifetime;
	if (is_watched(b))
		b->last = t->env->now; /* it has just registered: it is there */
	watch(b);
}

void sh_beat_came(struct sh_transport *t, const struct sh_addr *remote)
{
	struct beat *b = find(t, sh_peer_flow(&t->env->key, remote));

	if (!b)
		return;
	if (b->row == 0 || t->env->now > b->last + b->quiet)
		b->row = 1;
	else if (b->row < BEGUN)
		b->row++;
	b->last = t->env->now;
	watch(b);
}

static void forget_node(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	forget(SH_CONTAINER(n, struct beat, node));
}

void sh_transport_forget_beats(struct sh_transport *t)
{
	sh_hash_each(&t->beats, forget_node, NULL);
}

void sh_beats_finish(struct sh_transport *t)
{
	sh_transport_forget_beats(t);
	sh_hash_finish(&t->beats);
}
