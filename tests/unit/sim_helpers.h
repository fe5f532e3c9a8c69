/* What the tests of drivers/sim share: a node is an environment that records what it is told. */
#ifndef SIM_HELPERS_H
#define SIM_HELPERS_H

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

enum { NODE_DATAGRAMS = 4096, NODE_STREAMS = 64, NODE_TEXT = 64 };

/* A datagram that came, or (error not 0) came back. */
struct datagram {
	uint64_t at;
	struct sh_addr local, remote;
	void *user;
	int error;
	size_t len;
	char text[NODE_TEXT]; /* its beginning, with a NUL */
};

struct node;

struct stream {
	struct node *node;
	struct sh_stream *s; /* NULL: closed, by us or them */
	struct sh_addr local, remote;
	unsigned connected, writable, closed, chunks;
	uint64_t connected_at, closed_at, longest; /* longest: bytes in one chunk */
	int error;
	char *rx; /* all that came */
	size_t rx_len;
	void (*on_data)(struct stream *st);
	void (*on_writable)(struct stream *st);
	void *extra;
};

struct node {
	struct sh_env *env;
	struct datagram *datagrams;
	size_t count;
	struct stream *streams[NODE_STREAMS];
	size_t stream_count;
	bool refuse; /* stream_accepted gives NULL */
	bool close_and_refuse;
	void (*on_datagram)(struct node *n, const struct datagram *d);
	void (*on_data)(struct stream *st); /* of streams that are accepted */
	void (*on_accepted)(struct stream *st);
	void (*on_turn_end)(struct node *n);
	unsigned turns;
	void *extra;
};

static inline struct sh_addr addr(const char *ip, unsigned port)
{
	struct sh_addr a;

	assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(ip), (uint16_t)port), 0);
	return a;
}

#define assert_addr(a, ip, port_) check_addr((a), (ip), (port_), __FILE__, __LINE__)

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

static inline void note_datagram(struct node *n, void *user, const struct sh_addr *local, const struct sh_addr *remote,
				 int error, const char *data, size_t len)
{
	struct datagram *d = &n->datagrams[n->count++ % NODE_DATAGRAMS];
	size_t kept = len < NODE_TEXT - 1 ? len : NODE_TEXT - 1;

	memset(d, 0, sizeof(*d));
	d->at = n->env->now;
	if (local)
		d->local = *local;
	d->remote = *remote;
	d->user = user;
	d->error = error;
	d->len = len;
	memcpy(d->text, data, kept);
	if (n->on_datagram)
		n->on_datagram(n, d);
}

static inline void node_udp_data(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote,
				 char *data, size_t len)
{
	note_datagram(ctx, user, local, remote, 0, data, len);
	memset(data, 'x', len); /* scratch: nobody else sees it */
}

static inline void node_udp_error(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data,
				  size_t len)
{
	assert_true(error < 0);
	note_datagram(ctx, user, NULL, remote, error, data, len);
}

static inline struct stream *stream_new(struct node *n)
{
	struct stream *st = calloc(1, sizeof(*st));

	assert_non_null(st);
	assert_true(n->stream_count < NODE_STREAMS);
	n->streams[n->stream_count++] = st;
	st->node = n;
	return st;
}

static inline void stream_close(struct stream *st)
{
	struct sh_env *env = st->node->env;

	if (st->s)
		env->driver->close(env, st->s);
	st->s = NULL;
}

static inline ssize_t stream_write(struct stream *st, const char *data, size_t len)
{
	struct sh_env *env = st->node->env;

	return env->driver->write(env, st->s, data, len);
}

static inline ssize_t stream_say(struct stream *st, const char *text)
{
	return stream_write(st, text, strlen(text));
}

static inline void stream_read_enable(struct stream *st, bool on)
{
	st->node->env->driver->read_enable(st->node->env, st->s, on);
}

static inline bool stream_got(const struct stream *st, const char *text)
{
	return sh_slice_eq(sh_slice_make(st->rx, st->rx_len), sh_slice_cstr(text));
}

static inline void *node_accepted(void *ctx, void *listener_user, struct sh_stream *s, const struct sh_addr *local,
				  const struct sh_addr *remote)
{
	struct node *n = ctx;
	struct stream *st;

	assert_ptr_equal(listener_user, n);
	if (n->close_and_refuse)
		n->env->driver->close(n->env, s);
	if (n->refuse || n->close_and_refuse)
		return NULL;
	st = stream_new(n);
	st->s = s;
	st->local = *local;
	st->remote = *remote;
	st->connected_at = n->env->now;
	st->on_data = n->on_data;
	if (n->on_accepted)
		n->on_accepted(st);
	return st;
}

static inline void node_connected(void *ctx, void *user, const struct sh_addr *local)
{
	struct stream *st = user;

	assert_ptr_equal(st->node, ctx);
	assert_int_equal(st->connected++, 0);
	assert_non_null(st->s);
	st->local = *local;
	st->connected_at = st->node->env->now;
}

static inline void node_data(void *ctx, void *user, const char *data, size_t len)
{
	struct stream *st = user;
	char *more;

	assert_ptr_equal(st->node, ctx);
	assert_non_null(st->s); /* nothing after close */
	assert_int_equal(st->closed, 0);
	assert_true(len > 0);
	more = realloc(st->rx, st->rx_len + len);
	assert_non_null(more);
	memcpy(more + st->rx_len, data, len);
	st->rx = more;
	st->rx_len += len;
	st->chunks++;
	if (len > st->longest)
		st->longest = len;
	if (st->on_data)
		st->on_data(st);
}

static inline void node_writable(void *ctx, void *user)
{
	struct stream *st = user;

	assert_ptr_equal(st->node, ctx);
	assert_non_null(st->s);
	st->writable++;
	if (st->on_writable)
		st->on_writable(st);
}

static inline void node_closed(void *ctx, void *user, int error)
{
	struct stream *st = user;

	assert_ptr_equal(st->node, ctx);
	assert_non_null(st->s);
	assert_int_equal(st->closed++, 0);
	assert_true(error <= 0);
	st->s = NULL;
	st->error = error;
	st->closed_at = st->node->env->now;
}

static inline void node_turn_end(void *ctx)
{
	struct node *n = ctx;

	n->turns++;
	if (n->on_turn_end)
		n->on_turn_end(n);
}

static const struct sh_env_events node_events = {
    .udp_data = node_udp_data,
    .udp_error = node_udp_error,
    .stream_accepted = node_accepted,
    .stream_connected = node_connected,
    .stream_data = node_data,
    .stream_writable = node_writable,
    .stream_closed = node_closed,
    .turn_end = node_turn_end,
};

static inline void node_init(struct node *n, struct sh_sim *sim, unsigned worker, unsigned workers)
{
	memset(n, 0, sizeof(*n));
	n->datagrams = calloc(NODE_DATAGRAMS, sizeof(*n->datagrams));
	n->env = sh_sim_env_create(sim, worker, workers);
	assert_non_null(n->datagrams);
	assert_non_null(n->env);
	n->env->events = &node_events;
	n->env->events_ctx = n;
}

/* What was recorded; before or after the end of the simulation. */
static inline void node_finish(struct node *n)
{
	for (size_t i = 0; i < n->stream_count; i++) {
		free(n->streams[i]->rx);
		free(n->streams[i]);
	}
	free(n->datagrams);
	memset(n, 0, sizeof(*n));
}

static inline struct sh_udp *node_udp(struct node *n, const char *ip, unsigned port)
{
	struct sh_addr a = addr(ip, port), bound;
	struct sh_udp *u;

	assert_int_equal(n->env->driver->udp_open(n->env, &a, n, &u, &bound), 0);
	assert_true(port == 0 ? bound.port > 0 : bound.port == port);
	return u;
}

static inline void node_send(struct node *n, struct sh_udp *u, const char *ip, unsigned port, const char *text)
{
	struct sh_addr to = addr(ip, port);

	n->env->driver->udp_send(n->env, u, NULL, &to, text, strlen(text));
}

static inline struct sh_listener *node_listen(struct node *n, const char *ip, unsigned port)
{
	struct sh_addr a = addr(ip, port), bound;
	struct sh_listener *l;

	assert_int_equal(n->env->driver->listen(n->env, &a, n, &l, &bound), 0);
	return l;
}

static inline struct stream *node_connect(struct node *n, const char *ip, unsigned port)
{
	struct sh_addr to = addr(ip, port);
	struct stream *st = stream_new(n);

	assert_int_equal(n->env->driver->connect(n->env, NULL, &to, st, &st->s), 0);
	return st;
}

static inline struct sh_sim *sim_with(const struct sh_sim_options *o)
{
	struct sh_sim *sim;

	assert_int_equal(sh_sim_create(&sim, o), 0);
	return sim;
}

/* 5 to 20 ms one way, nothing goes wrong. */
static inline struct sh_sim *calm_sim(uint64_t seed)
{
	return sim_with(&(struct sh_sim_options){.seed = seed, .delay_min = 5 * SH_MS, .delay_max = 20 * SH_MS});
}

#endif
