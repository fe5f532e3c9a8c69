/* Streams: ordered and reliable, cut into chunks, with a bounded window. A connection has two ends; an end is one
 * worker's handle, and outlives it until nothing is under way.
 *
 *     client                      server
 *     connect ---- syn ---------> accepted (a handle is made)      refused: the client's `reset`
 *     connected <-- syn_ack -----
 *     write ------ segment -----> rx, then chunks as stream_data
 *     writable <-- ack ---------- when they were taken
 *     close ------ fin ---------> stream_closed behind the data; with an error (reset) at once
 *           <----- segment ------ written before that was known
 *           ------ reset -------> stream_closed, if it has not come yet
 *
 * What an end must be told is a set of flags. Its `wake` event tells one thing at a time and queues itself again while
 * there is more, so that each is a turn of its own. All events but segments are part of the connection: they cannot
 * fail. */
#include <errno.h>

#include "core/alloc.h"
#include "drivers/sim/sim_impl.h"

#define RETRANSMIT_FIRST (200 * SH_MS)     /* Linux' smallest retransmission timeout */
#define CONNECT_TIMEOUT  (127 * SH_SECOND) /* of Linux with tcp_syn_retries 6 */
enum { TRANSMISSIONS = 9 };

struct sh_listener {
	struct sim_member member;
	struct sh_link link; /* sim->listeners */
};

struct sh_stream {
	struct sim_end *end;
};

struct sim_end {
	struct sim_conn *conn;
	struct sim_env *env;      /* NULL: a server that has not accepted yet */
	struct sh_stream *handle; /* NULL: not yet, or no more */
	void *user;
	struct sh_addr local, remote;
	bool established; /* bytes may be written */
	bool tell_connected, tell_writable;
	bool wants_to_write; /* a write was short */
	bool paused;         /* read_enable(false) */
	bool fin_sent;
	bool over; /* stream_closed is to come, with: */
	int error;
	char *rx; /* arrived, not yet taken */
	size_t rx_len, rx_room;
	size_t under_way; /* written here, not yet taken there */
	uint64_t arrival; /* there, of the latest that was sent: the order stays */
	bool broken;      /* a segment was lost for good: what follows it cannot arrive either */
	int fin_error, reset_error;
	struct sim_event wake, ack, fin; /* about this end; fin: its own, on the way to the peer */
	struct sim_event reset, timeout; /* on the way to this end */
};

struct sim_conn {
	struct sh_link link; /* sim->conns */
	struct sh_sim *sim;
	size_t refs; /* handles and queued events */
	struct sim_end client, server;
	struct sim_event syn, syn_ack;
};

struct sim_segment {
	struct sim_event event;
	struct sim_end *to;
	size_t len;
	char data[];
};

static struct sim_end *peer_of(struct sim_end *end)
{
	return end == &end->conn->client ? &end->conn->server : &end->conn->client;
}

/* ---- connections ---- */

static void conn_unref(struct sim_conn *c)
{
	if (--c->refs > 0)
		return;
	sh_list_remove(&c->link);
	sim_free(c->client.rx);
	sim_free(c->server.rx);
	sh_free(c);
}

static void push(struct sim_conn *c, struct sim_event *e, uint64_t at)
{
	c->refs++;
	sim_queue_push(&c->sim->queue, e, at);
}

static void wake(struct sim_end *end)
{
	if (end->handle && !end->wake.queued)
		push(end->conn, &end->wake, end->conn->sim->now);
}

/* The peer's host answers with a reset; it does not overtake what the peer has sent. */
static void reset(struct sim_end *end, int error)
{
	struct sh_sim *sim = end->conn->sim;
	uint64_t at = sim->now + sim_delay(sim), behind = peer_of(end)->arrival;

	if (!end->handle || end->reset.queued)
		return;
	end->reset_error = error;
	push(end->conn, &end->reset, at > behind ? at : behind + 1);
}

static void time_out(struct sim_end *end, uint64_t at)
{
	if (end->handle && !end->timeout.queued)
		push(end->conn, &end->timeout, at);
}

static bool attach(struct sim_end *end, struct sim_env *env)
{
	struct sh_stream *s = sh_malloc(sizeof(*s));

	if (!s)
		return false;
	s->end = end;
	end->env = env;
	end->handle = s;
	end->conn->refs++;
	env->handles++;
	return true;
}

static void detach(struct sim_end *end)
{
	end->env->handles--;
	sh_free(end->handle);
	end->handle = NULL;
	sim_free(end->rx);
	end->rx = NULL;
	end->rx_len = end->rx_room = 0;
	conn_unref(end->conn);
}

static void record(struct sim_end *from, enum sh_sim_happening what, const char *data, size_t len)
{
	sim_record(from->conn->sim, what, SIM_TCP, &from->local, &from->remote, data, len);
}

/* When something that leaves this end now is there. False: never, after *at the end gives up. */
static bool arrival_of(struct sim_end *from, uint64_t *at)
{
	struct sh_sim *sim = from->conn->sim;
	double loss = sim_loss(sim, sim_link_get(sim, &from->local, &from->remote));
	uint64_t wait = RETRANSMIT_FIRST, t = sim->now;

	*at = t;
	if (from->broken)
		return false;
	if (sim_fault(sim, &from->remote) & SH_SIM_TCP_SILENT)
		loss = 1;
	for (int i = 0; i < TRANSMISSIONS; i++, t += wait, wait *= 2) {
		if (sim_chance(sim, loss))
			continue;
		t += sim_delay(sim);
		from->arrival = t > from->arrival ? t : from->arrival;
		*at = from->arrival;
		return true;
	}
	*at = t;
	from->broken = true;
	return false;
}

/* ---- what an end is told ---- */

static size_t chunk_size(struct sh_sim *sim, size_t available)
{
#ifdef SH_TORTURE
	return 1;
#endif
	switch (sim->chunks) {
	case SH_SIM_CHUNKS_BYTE:
		return 1;
	case SH_SIM_CHUNKS_RANDOM:
		return 1 + (size_t)sh_random_below(&sim->random, available);
	case SH_SIM_CHUNKS_WHOLE:
		break;
	}
	return available;
}

static void acknowledge(struct sim_end *receiver, size_t len)
{
	struct sim_end *sender = peer_of(receiver);
	struct sh_sim *sim = receiver->conn->sim;

	sender->under_way -= len;
	if (sender->wants_to_write && sender->handle && !sender->ack.queued)
		push(sender->conn, &sender->ack, sim->now + sim_delay(sim));
}

static void tell_data(struct sim_end *end)
{
	const struct sh_env *env = &end->env->env;
	size_t len = chunk_size(end->conn->sim, end->rx_len);
	char *chunk = sim_malloc(len); /* exactly as long as the chunk, and valid even if the callback closes */

	if (!chunk)
		return;
	memcpy(chunk, end->rx, len);
	end->rx_len -= len;
	memmove(end->rx, end->rx + len, end->rx_len);
	acknowledge(end, len);
	record(peer_of(end), SH_SIM_DELIVERED, chunk, len);
	env->events->stream_data(env->events_ctx, end->user, chunk, len);
	sim_free(chunk);
}

static void tell_closed(struct sim_end *end)
{
	const struct sh_env *env = &end->env->env;
	void *user = end->user;
	int error = end->error;

	record(peer_of(end), SH_SIM_CLOSED, NULL, 0);
	detach(end);
	env->events->stream_closed(env->events_ctx, user, error);
}

static bool can_read(const struct sim_end *end)
{
	return end->rx_len > 0 && !end->paused;
}

/* A reset is told at once; an orderly end comes behind the data, and like them only to somebody who reads. */
static bool can_end(const struct sim_end *end)
{
	return end->over && (end->error != 0 || (end->rx_len == 0 && !end->paused));
}

static void tell_next(struct sim_end *end)
{
	const struct sh_env *env = &end->env->env;

	if (end->tell_connected) {
		end->tell_connected = false;
		env->events->stream_connected(env->events_ctx, end->user, &end->local);
	} else if (can_end(end)) {
		tell_closed(end);
	} else if (end->tell_writable) {
		end->tell_writable = false;
		env->events->stream_writable(env->events_ctx, end->user);
	} else if (can_read(end)) {
		tell_data(end);
	}
}

static bool has_news(const struct sim_end *end)
{
	return end->tell_connected || end->tell_writable || can_read(end) || can_end(end);
}

static void run_wake(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_end *end = SH_CONTAINER(event, struct sim_end, wake);
	struct sim_conn *c = end->conn;

	(void)sim;
	if (deliver && end->handle && has_news(end) && sim_env_enter(end->env)) {
		tell_next(end);
		if (end->handle && has_news(end))
			wake(end);
	}
	conn_unref(c);
}

static void run_ack(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_end *end = SH_CONTAINER(event, struct sim_end, ack);

	(void)sim;
	if (deliver && end->wants_to_write) {
		end->wants_to_write = false;
		end->tell_writable = true;
		wake(end);
	}
	conn_unref(end->conn);
}

static void end_with(struct sim_end *end, int error)
{
	end->over = true;
	if (end->error == 0)
		end->error = error;
	wake(end);
}

static void run_fin(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_end *from = SH_CONTAINER(event, struct sim_end, fin);

	(void)sim;
	if (deliver)
		end_with(peer_of(from), from->fin_error);
	conn_unref(from->conn);
}

static void run_reset(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_end *end = SH_CONTAINER(event, struct sim_end, reset);

	(void)sim;
	if (deliver)
		end_with(end, end->reset_error);
	conn_unref(end->conn);
}

static void run_timeout(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_end *end = SH_CONTAINER(event, struct sim_end, timeout);

	(void)sim;
	if (deliver)
		end_with(end, -ETIMEDOUT);
	conn_unref(end->conn);
}

/* ---- segments ---- */

static bool receive(struct sim_end *to, const char *data, size_t len)
{
	size_t room = to->rx_room > 0 ? to->rx_room : 1024;
	char *more;

	while (room < to->rx_len + len)
		room *= 2;
	if (room > to->rx_room) {
		more = sim_malloc(room);
		if (!more)
			return false;
		if (to->rx_len > 0)
			memcpy(more, to->rx, to->rx_len);
		sim_free(to->rx);
		to->rx = more;
		to->rx_room = room;
	}
	memcpy(to->rx + to->rx_len, data, len);
	to->rx_len += len;
	return true;
}

static void run_segment(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_segment *s = SH_CONTAINER(event, struct sim_segment, event);
	struct sim_end *to = s->to, *from = peer_of(to);
	struct sim_conn *c = to->conn;

	(void)sim;
	if (deliver && to->handle && receive(to, s->data, s->len)) {
		wake(to);
	} else if (deliver) { /* nobody is there any more */
		record(from, SH_SIM_DROPPED, s->data, s->len);
		reset(from, -ECONNRESET);
		if (to->handle)
			end_with(to, -ENOMEM);
	}
	sim_free(s);
	conn_unref(c);
}

static struct sim_segment *segment_create(struct sim_end *to, const char *data, size_t len)
{
	struct sim_segment *s = sim_malloc(sizeof(*s) + len);

	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->event.run = run_segment;
	s->to = to;
	s->len = len;
	memcpy(s->data, data, len);
	return s;
}

ssize_t sim_write(struct sh_env *env, struct sh_stream *stream, const char *data, size_t len)
{
	struct sim_end *end = stream->end;
	struct sh_sim *sim = end->conn->sim;
	size_t room = sim->window - end->under_way;
	size_t take = !end->established ? 0 : len < room ? len : room;
	struct sim_segment *s;
	uint64_t at;

	(void)env;
	/* Told already or soon. Behind an orderly end one can still write, until the peer's host says no. */
	if (end->over && end->error != 0)
		return end->error;
	end->wants_to_write = take < len;
	if (take == 0)
		return 0;
	s = segment_create(peer_of(end), data, take);
	if (!s) {
		end_with(end, -ENOMEM);
		return -ENOMEM;
	}
	record(end, SH_SIM_SENT, data, take);
	end->under_way += take;
	if (arrival_of(end, &at)) {
		push(end->conn, &s->event, at);
	} else {
		record(end, SH_SIM_DROPPED, data, take);
		sim_free(s);
		time_out(end, at);
	}
	return (ssize_t)take;
}

void sim_read_enable(struct sh_env *env, struct sh_stream *s, bool on)
{
	(void)env;
	s->end->paused = !on;
	if (has_news(s->end))
		wake(s->end);
}

void sim_close(struct sh_env *env, struct sh_stream *s)
{
	struct sim_end *end = s->end;
	uint64_t at;

	(void)env;
	/* A connection that still had bytes for us is reset, as the kernel does (RFC 2525 2.17). */
	if (!end->fin_sent && end->established && arrival_of(end, &at)) {
		end->fin_error = end->rx_len > 0 ? -ECONNRESET : 0;
		push(end->conn, &end->fin, at);
	}
	end->fin_sent = true;
	detach(end);
}

/* ---- setting up ---- */

int sim_listen(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_listener **out,
	       struct sh_addr *bound)
{
	struct sim_env *e = sim_env_of(env);
	struct sh_listener *l = sh_calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	err = sim_bind(e, SIM_TCP, local, &l->member, bound);
	if (err) {
		sh_free(l);
		return err;
	}
	l->member.user = user;
	sh_list_append(&e->sim->listeners, &l->link);
	*out = l;
	return 0;
}

static void listener_destroy(struct sh_sim *sim, struct sh_listener *l)
{
	sim_unbind(sim, &l->member);
	sh_list_remove(&l->link);
	sh_free(l);
}

void sim_listen_close(struct sh_env *env, struct sh_listener *l)
{
	listener_destroy(sim_env_of(env)->sim, l);
}

static void accept_at(struct sim_conn *c, struct sim_member *m)
{
	struct sim_end *end = &c->server;
	const struct sh_env *env = &m->env->env;
	uint64_t at;

	end->established = true;
	record(&c->client, SH_SIM_OPENED, NULL, 0);
	if (arrival_of(end, &at))
		push(c, &c->syn_ack, at);
	else
		time_out(&c->client, at);
	end->user = env->events->stream_accepted(env->events_ctx, m->user, end->handle, &end->local, &end->remote);
	if (end->handle && !end->user)
		sim_close(&m->env->env, end->handle);
}

static void run_syn(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_conn *c = SH_CONTAINER(event, struct sim_conn, syn);
	struct sim_member *m = NULL;

	if (deliver && c->client.handle) {
		if (!(sim_fault(sim, &c->client.remote) & SH_SIM_TCP_REFUSED))
			m = sim_find(sim, SIM_TCP, &c->client.local, &c->client.remote, NULL);
		if (m && sim_env_enter(m->env) && attach(&c->server, m->env))
			accept_at(c, m);
		else
			reset(&c->client, -ECONNREFUSED);
	}
	conn_unref(c);
}

static void run_syn_ack(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_conn *c = SH_CONTAINER(event, struct sim_conn, syn_ack);
	struct sim_end *end = &c->client;

	(void)sim;
	if (deliver && end->handle) {
		end->established = true;
		end->tell_connected = true;
		end->tell_writable = end->wants_to_write;
		end->wants_to_write = false;
		wake(end);
	} else if (deliver && c->server.handle) { /* the client gave up meanwhile: a reset answers */
		reset(&c->server, -ECONNRESET);
	}
	conn_unref(c);
}

static void init_end(struct sim_end *end, struct sim_conn *c, const struct sh_addr *local, const struct sh_addr *remote)
{
	end->conn = c;
	end->local = *local;
	end->remote = *remote;
	end->wake.run = run_wake;
	end->ack.run = run_ack;
	end->fin.run = run_fin;
	end->reset.run = run_reset;
	end->timeout.run = run_timeout;
	end->timeout.idle = true; /* nothing is on its way, only patience runs out */
}

static struct sim_conn *conn_create(struct sh_sim *sim, const struct sh_addr *local, const struct sh_addr *remote)
{
	struct sim_conn *c = sh_calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->sim = sim;
	c->syn.run = run_syn;
	c->syn_ack.run = run_syn_ack;
	init_end(&c->client, c, local, remote);
	init_end(&c->server, c, remote, local);
	sh_list_append(&sim->conns, &c->link);
	return c;
}

/* The address that the connection comes from: the host's, the port one that is free. */
static int choose_local(struct sim_env *e, const struct sh_addr *wanted, const struct sh_addr *remote,
			struct sh_addr *out)
{
	struct sh_addr local = {0};

	if (wanted)
		local = *wanted;
	if (local.family == 0 || sh_addr_is_any(&local)) {
		uint16_t port = local.port;
		if (!sim_source(e->host, remote, &local))
			return -EAFNOSUPPORT;
		local.port = port;
	}
	if (local.family != remote->family)
		return -EAFNOSUPPORT;
	if (local.port == 0)
		local.port = sim_any_port(e->sim, e->host, SIM_TCP, &local);
	if (local.port == 0)
		return -EADDRNOTAVAIL;
	*out = local;
	return 0;
}

int sim_connect(struct sh_env *env, const struct sh_addr *local, const struct sh_addr *remote, void *user,
		struct sh_stream **out)
{
	struct sim_env *e = sim_env_of(env);
	struct sh_addr from;
	struct sim_conn *c;
	uint64_t at;
	int err;

	if (e->stopped)
		return -ESHUTDOWN;
	if (remote->family == 0 || remote->port == 0)
		return -EINVAL;
	err = choose_local(e, local, remote, &from);
	if (err)
		return err;
	c = conn_create(e->sim, &from, remote);
	if (!c)
		return -ENOMEM;
	if (!attach(&c->client, e)) {
		c->refs = 1;
		conn_unref(c);
		return -ENOMEM;
	}
	c->client.user = user;
	if (arrival_of(&c->client, &at))
		push(c, &c->syn, at);
	else
		time_out(&c->client, e->sim->now + CONNECT_TIMEOUT);
	*out = c->client.handle;
	return 0;
}

void sim_tcp_finish(struct sh_sim *sim)
{
	/* No event is queued any more: the last handle frees the connection. */
	while (!sh_list_empty(&sim->conns)) {
		struct sim_conn *c = SH_CONTAINER(sim->conns.next, struct sim_conn, link);
		bool both = c->client.handle && c->server.handle;
		detach(c->client.handle ? &c->client : &c->server);
		if (both)
			detach(&c->server);
	}
	while (!sh_list_empty(&sim->listeners))
		listener_destroy(sim, SH_CONTAINER(sim->listeners.next, struct sh_listener, link));
}
