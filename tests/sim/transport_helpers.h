/* What the tests of transport/ share: a server, which is a transport that records what it hands up, and peers, which
 * are bare environments that send octets and record what comes back. */
#ifndef TRANSPORT_HELPERS_H
#define TRANSPORT_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "drivers/sim/sim.h"
#include "transport/transport.h"

enum { MANY = 4096, PEER_STREAMS = 256 };

#define assert_slice(s, text) check_slice((s), (text), __FILE__, __LINE__)

static inline void check_slice(struct sh_slice s, const char *text, const char *file, int line)
{
	if (!sh_slice_eq(s, sh_slice_cstr(text))) {
		print_error("'%.*s' is not '%s'\n", (int)s.len, s.base ? s.base : "", text);
		_fail(file, line);
	}
}

static inline struct sh_addr addr(const char *ip, unsigned port)
{
	struct sh_addr a;

	assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(ip), (uint16_t)port), 0);
	return a;
}

#define assert_addr(a, ip, port) check_addr((a), (ip), (port), __FILE__, __LINE__)

static inline void check_addr(const struct sh_addr *a, const char *ip, unsigned port, const char *file, int line)
{
	struct sh_addr want = addr(ip, port);
	char text[SH_ADDR_TEXT];

	if (!sh_addr_eq(a, &want)) {
		sh_addr_format(a, text);
		print_error("%s is not %s port %u\n", text, ip, port);
		_fail(file, line);
	}
}

/* ---- messages ---- */

/* A request with that CSeq number and body. Returns its length. */
static inline size_t put_request(char *out, size_t cap, unsigned cseq, const char *body)
{
	return (size_t)snprintf(out, cap,
				"MESSAGE sip:bob@example.org SIP/2.0\r\n"
				"Via: SIP/2.0/TCP 192.0.2.1:5060;rport;branch=z9hG4bK%u\r\n"
				"From: <sip:alice@example.org>;tag=a1\r\nTo: <sip:bob@example.org>\r\n"
				"Call-ID: c1@192.0.2.1\r\nCSeq: %u MESSAGE\r\nContent-Length: %zu\r\n\r\n%s",
				cseq, cseq, strlen(body), body);
}

/* ---- the server ---- */

struct got {
	char *text;
	size_t len;
	struct sh_path path;
	int code;
	const char *why;
	uint32_t cseq;
};

struct ended {
	uint64_t flow, at;
	int error;
};

struct server {
	struct sh_env *env;
	struct sh_transport *t;
	struct got got[MANY];
	size_t count;
	struct ended ended[MANY];
	size_t ended_count;
	unsigned unreachable, turns;
	char branch[64]; /* of the last unreachable */
	int error;
	struct sh_addr remote;
	bool keep_no_text;
	bool inside; /* a call into the transport is being made */
	void (*on_message)(struct server *s, const struct sh_msg *m, const struct sh_path *from);
};

static inline void server_message(void *ctx, const struct sh_msg *m, const struct sh_path *from, int code,
				  const char *why)
{
	struct server *s = ctx;
	struct got *g = &s->got[s->count];

	assert_true(s->count < MANY);
	assert_true(code ? why != NULL : why == NULL);
	*g = (struct got){.path = *from, .code = code, .why = why, .cseq = m->cseq, .len = m->size};
	if (!s->keep_no_text) {
		g->text = malloc(m->size + 1u);
		memcpy(g->text, m->base, m->size);
		g->text[m->size] = '\0';
	}
	s->count++;
	if (s->on_message)
		s->on_message(s, m, from);
}

static inline void server_flow_closed(void *ctx, uint64_t flow, int error)
{
	struct server *s = ctx;

	assert_false(s->inside);
	assert_true(s->ended_count < MANY);
	assert_true((flow >> 56) != s->env->worker || !sh_transport_flow_alive(s->t, flow));
	s->ended[s->ended_count++] = (struct ended){.flow = flow, .error = error, .at = s->env->now};
}

static inline void server_unreachable(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error)
{
	struct server *s = ctx;

	s->unreachable++;
	s->remote = *remote;
	s->error = error;
	snprintf(s->branch, sizeof(s->branch), "%.*s", SH_FMT(branch));
}

static inline void server_turn_end(void *ctx)
{
	((struct server *)ctx)->turns++;
}

static const struct sh_transport_user server_user = {
    .message = server_message,
    .flow_closed = server_flow_closed,
    .unreachable = server_unreachable,
    .turn_end = server_turn_end,
};

/* Without endpoints. NULL when memory is out. */
static inline struct server *server_try(struct sh_sim *sim, const struct sh_transport_config *config, unsigned worker,
					unsigned workers)
{
	struct server *s = calloc(1, sizeof(*s));

	s->env = sh_sim_env_create(sim, worker, workers);
	if (s->env && sh_transport_create(&s->t, s->env, config, &server_user, s) == 0)
		return s;
	free(s);
	return NULL;
}

static inline struct server *server_new(struct sh_sim *sim, const struct sh_transport_config *config)
{
	struct server *s = server_try(sim, config, 0, 1);

	assert_non_null(s);
	return s;
}

static inline void server_listen(struct server *s, enum sh_proto proto, const char *ip, unsigned port)
{
	struct sh_addr a = addr(ip, port);

	assert_int_equal(sh_transport_listen(s->t, proto, &a, SH_LIT(""), 0), 0);
}

static inline void server_forget(struct server *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->got[i].text);
	s->count = s->ended_count = 0;
}

static inline void server_free(struct server *s)
{
	if (!s)
		return;
	sh_sim_env_stop(s->env);
	sh_transport_destroy(s->t);
	server_forget(s);
	free(s);
}

static inline int server_send(struct server *s, const struct sh_path *path, const char *text, uint64_t *flow)
{
	int err;

	s->inside = true;
	err = sh_transport_send(s->t, path, sh_slice_cstr(text), flow);
	s->inside = false;
	return err;
}

/* ---- peers ---- */

struct peer;

struct wire {
	struct peer *peer;
	struct sh_stream *s; /* NULL: over */
	struct sh_addr local, remote;
	bool connected;
	unsigned closed;
	int error;
	char *rx; /* all that came */
	size_t rx_len, rx_room;
	const char *tx; /* still to be written */
	size_t tx_len;
};

struct peer {
	struct sh_env *env;
	struct sh_udp *udp;
	struct sh_listener *listener;
	struct wire *wires[PEER_STREAMS];
	size_t count;
	unsigned datagrams;
	struct sh_addr local, remote; /* of the last datagram */
	char text[2048];
	size_t len;
};

static inline void peer_udp_data(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote,
				 char *data, size_t len)
{
	struct peer *p = ctx;

	(void)user;
	p->datagrams++;
	p->local = *local;
	p->remote = *remote;
	p->len = len < sizeof(p->text) - 1 ? len : sizeof(p->text) - 1;
	memcpy(p->text, data, p->len);
	p->text[p->len] = '\0';
}

static inline void peer_udp_error(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data,
				  size_t len)
{
	(void)ctx, (void)user, (void)remote, (void)error, (void)data, (void)len;
}

static inline struct wire *peer_wire(struct peer *p)
{
	struct wire *w = calloc(1, sizeof(*w));

	assert_true(p->count < PEER_STREAMS);
	w->peer = p;
	p->wires[p->count++] = w;
	return w;
}

static inline void *peer_accepted(void *ctx, void *listener_user, struct sh_stream *s, const struct sh_addr *local,
				  const struct sh_addr *remote)
{
	struct wire *w = peer_wire(ctx);

	(void)listener_user;
	w->s = s;
	w->local = *local;
	w->remote = *remote;
	w->connected = true;
	return w;
}

static inline void wire_push(struct wire *w)
{
	while (w->s && w->connected && w->tx_len > 0) {
		ssize_t n = w->peer->env->driver->write(w->peer->env, w->s, w->tx, w->tx_len);
		if (n <= 0)
			return;
		w->tx += n;
		w->tx_len -= (size_t)n;
	}
}

static inline void peer_connected(void *ctx, void *user, const struct sh_addr *local)
{
	struct wire *w = user;

	(void)ctx;
	w->connected = true;
	w->local = *local;
	wire_push(w);
}

static inline void peer_data(void *ctx, void *user, const char *data, size_t len)
{
	struct wire *w = user;

	(void)ctx;
	if (w->rx_len + len >= w->rx_room) {
		w->rx_room = 2 * (w->rx_len + len) + 64;
		w->rx = realloc(w->rx, w->rx_room);
	}
	memcpy(w->rx + w->rx_len, data, len);
	w->rx_len += len;
	w->rx[w->rx_len] = '\0';
}

static inline void peer_writable(void *ctx, void *user)
{
	(void)ctx;
	wire_push(user);
}

static inline void peer_closed(void *ctx, void *user, int error)
{
	struct wire *w = user;

	(void)ctx;
	w->s = NULL;
	w->closed++;
	w->error = error;
}

static inline void peer_turn_end(void *ctx)
{
	(void)ctx;
}

static const struct sh_env_events peer_events = {
    .udp_data = peer_udp_data,
    .udp_error = peer_udp_error,
    .stream_accepted = peer_accepted,
    .stream_connected = peer_connected,
    .stream_data = peer_data,
    .stream_writable = peer_writable,
    .stream_closed = peer_closed,
    .turn_end = peer_turn_end,
};

/* A host of its own. NULL when memory is out. */
static inline struct peer *peer_try(struct sh_sim *sim)
{
	struct peer *p = calloc(1, sizeof(*p));

	p->env = sh_sim_env_create(sim, 0, 1);
	if (!p->env) {
		free(p);
		return NULL;
	}
	p->env->events = &peer_events;
	p->env->events_ctx = p;
	return p;
}

static inline struct peer *peer_new(struct sh_sim *sim)
{
	struct peer *p = peer_try(sim);

	assert_non_null(p);
	return p;
}

static inline void peer_bind(struct peer *p, const char *ip, unsigned port)
{
	struct sh_addr a = addr(ip, port), bound;

	assert_int_equal(p->env->driver->udp_open(p->env, &a, NULL, &p->udp, &bound), 0);
}

static inline void peer_listen(struct peer *p, const char *ip, unsigned port)
{
	struct sh_addr a = addr(ip, port), bound;

	assert_int_equal(p->env->driver->listen(p->env, &a, NULL, &p->listener, &bound), 0);
}

static inline void peer_send(struct peer *p, const struct sh_addr *to, const char *data, size_t len)
{
	struct sh_addr any = {0};

	p->env->driver->udp_send(p->env, p->udp, &any, to, data, len);
}

static inline struct wire *peer_connect(struct peer *p, const struct sh_addr *to)
{
	struct wire *w = peer_wire(p);
	struct sh_addr any = {0};

	w->remote = *to;
	assert_int_equal(p->env->driver->connect(p->env, &any, to, w, &w->s), 0);
	return w;
}

/* data must live until it is written. */
static inline void wire_send(struct wire *w, const char *data, size_t len)
{
	assert_int_equal(w->tx_len, 0);
	w->tx = data;
	w->tx_len = len;
	wire_push(w);
}

static inline void wire_pause(struct wire *w, bool pause)
{
	w->peer->env->driver->read_enable(w->peer->env, w->s, !pause);
}

static inline void wire_close(struct wire *w)
{
	w->peer->env->driver->close(w->peer->env, w->s);
	w->s = NULL;
}

static inline void peer_free(struct peer *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->count; i++) {
		if (p->wires[i]->s)
			wire_close(p->wires[i]);
		free(p->wires[i]->rx);
		free(p->wires[i]);
	}
	if (p->udp)
		p->env->driver->udp_close(p->env, p->udp);
	if (p->listener)
		p->env->driver->listen_close(p->env, p->listener);
	free(p);
}

/* ---- both, on one network ---- */

struct world {
	struct sh_sim *sim;
	struct server *s; /* 10.0.0.1, fd00::1 */
	struct peer *p;   /* 10.0.0.2, fd00::2 */
};

static inline struct world world_new(struct sh_sim_options options, const struct sh_transport_config *config)
{
	struct world w;

	if (options.delay_max == 0)
		options.delay_min = options.delay_max = 1000;
	assert_int_equal(sh_sim_create(&w.sim, &options), 0);
	w.s = server_new(w.sim, config);
	w.p = peer_new(w.sim);
	return w;
}

static inline void world_free(struct world *w)
{
	server_free(w->s);
	peer_free(w->p);
	sh_sim_destroy(w->sim);
}

static inline void world_run(struct world *w)
{
	assert_true(sh_sim_run_idle(w->sim, 60 * SH_SECOND));
	sh_sim_advance(w->sim, 5 * SH_MS); /* reports of what ended outside of a turn */
}

#endif
