/* A transaction layer over the real transport on the virtual network, and a peer that is nothing but sockets: it keeps
 * what it gets, and sends what the test says. The network takes exactly a millisecond, so that times can be compared.
 */
#ifndef TXN_WORLD_H
#define TXN_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "drivers/sim/sim.h"
#include "txn/txn_impl.h"

#define MS      SH_MS
#define LATENCY MS

enum { MAX_SEEN = 200, MAX_EVENTS = 4000 };

struct seen {
	uint64_t time;       /* when it was sent, microseconds since the world began */
	struct sh_path from; /* proto only */
	char *text;
	size_t len;
};

struct world {
	struct sh_sim *sim;
	struct sh_env *env, *peer_env;
	struct sh_txn_layer *layer;
	struct sh_transport *transport;
	uint64_t start;
	struct sh_addr us, peer;

	/* The peer. */
	struct sh_udp *udp;
	struct sh_listener *listener;
	struct sh_stream *stream; /* the latest */
	int stream_error;
	bool stream_open;
	struct sh_framer framer;
	char in[65536];
	size_t in_len;
	struct seen seen[MAX_SEEN];
	unsigned seen_count;

	/* The user. */
	char events[MAX_EVENTS];  /* "request INVITE;ACKED;..." */
	struct sh_server_txn *st; /* the latest; NULL after ENDED */
	struct sh_client_txn *ct;
	uint64_t event_time;  /* of the latest event */
	unsigned auto_answer; /* code that the user answers new requests with at once; 0: it waits */
	void (*on_request)(struct world *w, struct sh_server_txn *st, const struct sh_msg *m);
	void (*on_client)(struct world *w, struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m);
};

static inline uint64_t world_now(const struct world *w)
{
	return w->env->now - w->start;
}

static inline struct sh_addr world_addr(const char *text, uint16_t port)
{
	struct sh_addr a;

	assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(text), port), 0);
	return a;
}

static inline void note(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void note(struct world *w, const char *fmt, ...)
{
	size_t at = strlen(w->events);
	va_list args;

	va_start(args, fmt);
	vsnprintf(w->events + at, sizeof(w->events) - at, fmt, args);
	va_end(args);
	strncat(w->events, ";", sizeof(w->events) - strlen(w->events) - 1);
	w->event_time = world_now(w);
}

/* What happened since the last look. */
#define assert_events(w, text)                                                                                         \
	do {                                                                                                           \
		assert_string_equal((w)->events, (text));                                                              \
		(w)->events[0] = '\0';                                                                                 \
	} while (0)

/* --- the peer's sockets ----------------------------------------------------------------------- */

static inline void peer_keep(struct world *w, const char *data, size_t len, enum sh_proto proto)
{
	struct seen *s = &w->seen[w->seen_count];

	assert_in_range(w->seen_count, 0, MAX_SEEN - 1);
	s->time = w->peer_env->now - LATENCY - w->start;
	s->from.proto = (uint8_t)proto;
	s->len = len;
	s->text = malloc(len + 1);
	memcpy(s->text, data, len);
	s->text[len] = '\0';
	w->seen_count++;
}

static inline void peer_udp(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote,
			    char *data, size_t len)
{
	(void)user, (void)local, (void)remote;
	peer_keep(ctx, data, len, SH_PROTO_UDP);
}

static inline void peer_udp_error(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data,
				  size_t len)
{
	(void)ctx, (void)user, (void)remote, (void)error, (void)data, (void)len;
}

static inline void *peer_accepted(void *ctx, void *user, struct sh_stream *s, const struct sh_addr *local,
				  const struct sh_addr *remote)
{
	struct world *w = ctx;

	(void)user, (void)local, (void)remote;
	w->stream = s;
	w->stream_open = true;
	w->in_len = 0;
	return w;
}

static inline void peer_connected(void *ctx, void *user, const struct sh_addr *local)
{
	(void)user, (void)local;
	((struct world *)ctx)->stream_open = true;
}

static inline void peer_data(void *ctx, void *user, const char *data, size_t len)
{
	struct world *w = ctx;
	ssize_t size;

	(void)user;
	memcpy(w->in + w->in_len, data, len);
	w->in_len += len;
	while (w->in_len && (size = sh_msg_frame(w->in, w->in_len)) > 0 && (size_t)size <= w->in_len) {
		peer_keep(w, w->in, (size_t)size, SH_PROTO_TCP);
		w->in_len -= (size_t)size;
		memmove(w->in, w->in + size, w->in_len);
	}
}

static inline void peer_writable(void *ctx, void *user)
{
	(void)ctx, (void)user;
}

static inline void peer_closed(void *ctx, void *user, int error)
{
	struct world *w = ctx;

	(void)user;
	w->stream = NULL;
	w->stream_open = false;
	w->stream_error = error;
}

static inline void peer_turn_end(void *ctx)
{
	(void)ctx;
}

static const struct sh_env_events peer_events = {
    .udp_data = peer_udp,
    .udp_error = peer_udp_error,
    .stream_accepted = peer_accepted,
    .stream_connected = peer_connected,
    .stream_data = peer_data,
    .stream_writable = peer_writable,
    .stream_closed = peer_closed,
    .turn_end = peer_turn_end,
};

/* --- the user --------------------------------------------------------------------------------- */

static inline void user_server(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	static const char *const names[] = {"ACKED", "TIMEOUT", "FAILED", "ENDED"};
	struct world *w = user;

	note(w, "%s", names[ev]);
	if (ev == SH_SERVER_ENDED && w->st == st)
		w->st = NULL;
}

static inline void user_request(void *ctx, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct world *w = ctx;

	(void)from;
	note(w, "%.*s", SH_FMT(sh_msg_text(m, m->method_name)));
	if (!st) {
		assert_int_equal(m->method, SH_ACK);
		return;
	}
	w->st = st;
	assert_ptr_equal(sh_server_txn_request(st), m);
	sh_server_txn_watch(st, user_server, w);
	if (w->on_request)
		w->on_request(w, st, m);
	else if (w->auto_answer)
		assert_int_equal(sh_server_txn_reply(st, w->auto_answer, SH_LIT("")), 0);
}

static inline void user_cancel(void *ctx, struct sh_server_txn *invite, const struct sh_msg *cancel)
{
	struct world *w = ctx;

	assert_ptr_equal(invite, w->st);
	assert_int_equal(cancel->method, SH_CANCEL);
	note(w, "cancel");
}

static inline void user_stray(void *ctx, const struct sh_msg *m, const struct sh_path *from)
{
	(void)from;
	note(ctx, "stray %u", m->status);
}

static inline void user_flow_closed(void *ctx, uint64_t flow, int error)
{
	(void)flow;
	(void)error;
	note(ctx, "closed");
}

static const struct sh_txn_user world_user = {
    .request = user_request,
    .cancel = user_cancel,
    .stray_2xx = user_stray,
    .flow_closed = user_flow_closed,
};

static inline void user_client(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct world *w = user;

	switch (ev) {
	case SH_CLIENT_RESPONSE:
		note(w, "%u", m->status);
		break;
	case SH_CLIENT_TIMEOUT:
		note(w, "TIMEOUT");
		break;
	case SH_CLIENT_UNREACHABLE:
		note(w, "UNREACHABLE");
		break;
	case SH_CLIENT_ENDED:
		note(w, "ENDED");
		break;
	}
	if (w->on_client)
		w->on_client(w, ct, ev, m);
	if (ev == SH_CLIENT_ENDED && w->ct == ct)
		w->ct = NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

static inline void world_open_with(struct world *w, const struct sh_txn_timers *timers, bool tcp)
{
	const struct sh_sim_options options = {.seed = 7, .delay_min = LATENCY, .delay_max = LATENCY};
	struct sh_addr bound;

	memset(w, 0, sizeof(*w));
	w->us = world_addr("10.1.0.1", 5060);
	w->peer = world_addr("10.1.0.2", 5060);
	assert_int_equal(sh_sim_create(&w->sim, &options), 0);
	w->env = sh_sim_env_create(w->sim, 0, 1);
	w->peer_env = sh_sim_env_create(w->sim, 0, 1);
	assert_non_null(w->env);
	assert_non_null(w->peer_env);
	w->start = w->env->now;
	w->peer_env->events = &peer_events;
	w->peer_env->events_ctx = w;
	assert_int_equal(w->peer_env->driver->udp_open(w->peer_env, &w->peer, NULL, &w->udp, &bound), 0);
	assert_int_equal(w->peer_env->driver->listen(w->peer_env, &w->peer, NULL, &w->listener, &bound), 0);

	assert_int_equal(sh_txn_layer_create(&w->layer, w->env, timers, &world_user, w), 0);
	assert_int_equal(sh_transport_create(&w->transport, w->env, NULL, &sh_txn_transport_user, w->layer), 0);
	sh_txn_layer_attach(w->layer, w->transport);
	assert_int_equal(sh_transport_listen(w->transport, SH_PROTO_UDP, &w->us, SH_LIT(""), 0), 0);
	if (tcp)
		assert_int_equal(sh_transport_listen(w->transport, SH_PROTO_TCP, &w->us, SH_LIT(""), 0), 0);
}

static inline void world_open(struct world *w)
{
	world_open_with(w, NULL, true);
}

static inline void forget_seen(struct world *w)
{
	for (unsigned i = 0; i < w->seen_count; i++)
		free(w->seen[i].text);
	w->seen_count = 0;
}

static inline void world_close(struct world *w)
{
	sh_txn_layer_destroy(w->layer);
	sh_transport_destroy(w->transport);
	forget_seen(w);
	sh_sim_destroy(w->sim);
}

static inline void run_until(struct world *w, uint64_t us) /* since the world began */
{
	sh_sim_run_until(w->sim, w->start + us);
}

static inline void run(struct world *w, uint64_t us)
{
	sh_sim_advance(w->sim, us);
}

/* --- what the peer sends ---------------------------------------------------------------------- */

static inline void feed(struct world *w, const char *text)
{
	w->peer_env->driver->udp_send(w->peer_env, w->udp, &w->peer, &w->us, text, strlen(text));
	run(w, LATENCY);
}

static inline void feed_tcp(struct world *w, const char *text)
{
	if (!w->stream) {
		struct sh_addr local = w->peer;

		local.port = 0;
		assert_int_equal(w->peer_env->driver->connect(w->peer_env, &local, &w->us, w, &w->stream), 0);
		run(w, 4 * LATENCY);
	}
	assert_true(w->stream_open);
	assert_int_equal(w->peer_env->driver->write(w->peer_env, w->stream, text, strlen(text)), strlen(text));
	run(w, LATENCY);
}

/* A request of the peer. Its parts may be changed in a copy. */
struct ask {
	const char *method, *uri, *branch, *via, *from_tag, *to, *call_id, *cseq_method, *extra;
	unsigned cseq;
	bool tcp;
};

static const struct ask invite = {.method = "INVITE", .branch = "z9hG4bKpeer1", .from_tag = "peer"};

static inline const char *ask_text(const struct ask *a)
{
	static char text[4000];
	char via[300];

	if (a->via)
		snprintf(via, sizeof(via), "%s", a->via);
	else
		snprintf(via, sizeof(via), "SIP/2.0/%s 10.1.0.2:5060;branch=%s", a->tcp ? "TCP" : "UDP", a->branch);
	snprintf(text, sizeof(text),
		 "%s %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\nFrom: <sip:peer@10.1.0.2>%s%s\r\nTo: %s\r\n"
		 "Call-ID: %s\r\nCSeq: %u %s\r\n%sContent-Length: 0\r\n\r\n",
		 a->method, a->uri ? a->uri : "sip:us@10.1.0.1", via, a->from_tag ? ";tag=" : "",
		 a->from_tag ? a->from_tag : "", a->to ? a->to : "<sip:us@10.1.0.1>",
		 a->call_id ? a->call_id : "call-1", a->cseq ? a->cseq : 1, a->cseq_method ? a->cseq_method : a->method,
		 a->extra ? a->extra : "");
	return text;
}

static inline void ask(struct world *w, struct ask a)
{
	if (a.tcp)
		feed_tcp(w, ask_text(&a));
	else
		feed(w, ask_text(&a));
}

static inline struct ask other_method(struct ask a, const char *method)
{
	a.method = method;
	return a;
}

/* --- what the peer got ------------------------------------------------------------------------ */

/* Lets what was sent arrive. */
static inline void settle(struct world *w)
{
	run(w, LATENCY);
}

static inline void scan_seen(struct world *w, unsigned i, struct sh_msg *m)
{
	assert_in_range(i, 0, w->seen_count - 1);
	assert_int_equal(sh_msg_scan(m, w->seen[i].text, w->seen[i].len, false, NULL), 0);
}

static inline struct sh_msg *last_seen(struct world *w)
{
	static struct sh_msg m;

	assert_int_not_equal(w->seen_count, 0);
	scan_seen(w, w->seen_count - 1, &m);
	return &m;
}

/* "INVITE" or "180" of each message since the last look, with its time in milliseconds when `times`. */
static inline const char *seen_text(struct world *w, bool times)
{
	static char out[4000];
	size_t at = 0;

	out[0] = '\0';
	settle(w);
	for (unsigned i = 0; i < w->seen_count; i++) {
		struct sh_msg m;

		scan_seen(w, i, &m);
		if (m.is_request)
			at += (size_t)snprintf(out + at, sizeof(out) - at, "%.*s",
					       SH_FMT(sh_msg_text(&m, m.method_name)));
		else
			at += (size_t)snprintf(out + at, sizeof(out) - at, "%u", m.status);
		if (times) {
			uint64_t t = w->seen[i].time;

			assert_int_equal(t % MS, 0);
			at += (size_t)snprintf(out + at, sizeof(out) - at, "@%llu", (unsigned long long)(t / MS));
		}
		at += (size_t)snprintf(out + at, sizeof(out) - at, ";");
	}
	return out;
}

#define assert_seen(w, text)                                                                                           \
	do {                                                                                                           \
		assert_string_equal(seen_text((w), false), (text));                                                    \
		forget_seen(w);                                                                                        \
	} while (0)
#define assert_seen_at(w, text)                                                                                        \
	do {                                                                                                           \
		assert_string_equal(seen_text((w), true), (text));                                                     \
		forget_seen(w);                                                                                        \
	} while (0)

static inline void assert_text(struct sh_slice s, const char *text)
{
	char copy[2000];

	assert_non_null(s.base);
	snprintf(copy, sizeof(copy), "%.*s", SH_FMT(s));
	assert_string_equal(copy, text);
}

/* --- requests of ours ------------------------------------------------------------------------- */

static inline struct sh_path world_path(const struct world *w, enum sh_proto proto)
{
	return (struct sh_path){.proto = (uint8_t)proto, .endpoint = proto == SH_PROTO_TCP, .remote = w->peer};
}

#define OUR_REST(method)                                                                                               \
	"Max-Forwards: 69\r\nRoute: <sip:proxy.example;lr>\r\nFrom: \"Us\" <sip:us@10.1.0.1>;tag=ours\r\n"             \
	"To: <sip:peer@10.1.0.2>\r\nCall-ID: our-call\r\nCSeq: 7 " method "\r\nContact: <sip:us@10.1.0.1>\r\n"         \
	"Content-Length: 0\r\n\r\n"

static inline int try_start(struct world *w, enum sh_method method, enum sh_proto proto)
{
	struct sh_client_request r = {.method = method, .path = world_path(w, proto)};

	if (method == SH_INVITE) {
		r.line = SH_LIT("INVITE sip:peer@10.1.0.2 SIP/2.0\r\n");
		r.rest = SH_LIT(OUR_REST("INVITE"));
	} else {
		r.line = SH_LIT("OPTIONS sip:peer@10.1.0.2 SIP/2.0\r\n");
		r.rest = SH_LIT(OUR_REST("OPTIONS"));
	}
	return sh_client_txn_start(&w->ct, w->layer, &r, user_client, w);
}

static inline void start(struct world *w, enum sh_method method, enum sh_proto proto)
{
	assert_int_equal(try_start(w, method, proto), 0);
	assert_string_equal(w->events, "");
}

/* The peer answers a request that it got. */
static inline char *answer_text(const struct sh_msg *m, unsigned code, const char *tag)
{
	static char text[66000];
	struct sh_addr none = {0};
	struct sh_writer out;

	sh_writer_init(&out, text, sizeof(text) - 1);
	sh_put_response_head(&out, m, &none, code, SH_LIT(""), sh_slice_cstr(tag));
	sh_put_lit(&out, "Contact: <sip:peer@10.1.0.2>\r\n");
	sh_put_body(&out, SH_LIT(""), SH_LIT(""));
	text[out.len] = '\0';
	return text;
}

static inline void answer_to(struct world *w, const struct sh_msg *m, bool tcp, unsigned code, const char *tag)
{
	if (tcp)
		feed_tcp(w, answer_text(m, code, tag));
	else
		feed(w, answer_text(m, code, tag));
}

#endif
