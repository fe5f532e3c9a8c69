/* A WebSocket, and a port that speaks plain SIP too, under whatever octets a peer sends: on the virtual network, in pieces. The
 * first octet says whether a good handshake comes before (so that frames are reached), and how the octets are cut. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/sim/sim.h"
#include "transport/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char handshake[] = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

struct peer {
	struct sh_env *env;
	struct sh_stream *s; /* NULL: over */
	bool connected;
	char *text;
	size_t len, sent;
};

static void push(struct peer *p)
{
	while (p->s && p->connected && p->sent < p->len) {
		ssize_t n = p->env->driver->write(p->env, p->s, p->text + p->sent, p->len - p->sent);

		if (n <= 0)
			return;
		p->sent += (size_t)n;
	}
}

static void on_connected(void *ctx, void *user, const struct sh_addr *local)
{
	struct peer *p = ctx;

	(void)user, (void)local;
	p->connected = true;
	push(p);
}

static void on_data(void *ctx, void *user, const char *data, size_t len)
{
	(void)ctx, (void)user, (void)data, (void)len;
}

static void on_writable(void *ctx, void *user)
{
	(void)user;
	push(ctx);
}

static void on_closed(void *ctx, void *user, int error)
{
	struct peer *p = ctx;

	(void)user, (void)error;
	p->s = NULL;
}

static void on_turn_end(void *ctx)
{
	(void)ctx;
}

static const struct sh_env_events events = {.stream_connected = on_connected,
					    .stream_data = on_data,
					    .stream_writable = on_writable,
					    .stream_closed = on_closed,
					    .turn_end = on_turn_end};

static void on_message(void *ctx, const struct sh_msg *m, const struct sh_path *from, int code, const char *why)
{
	struct sh_transport **t = ctx;

	(void)code, (void)why;
	assert(m->size <= SH_MSG_MAX_SIZE);
	sh_transport_send(*t, from, SH_LIT("SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"), NULL);
}

static void on_flow_closed(void *ctx, uint64_t flow, int error)
{
	(void)ctx, (void)flow, (void)error;
}

static void on_unreachable(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error)
{
	(void)ctx, (void)remote, (void)branch, (void)error;
}

static const struct sh_transport_user user = {on_message, on_flow_closed, on_unreachable, NULL};

static void run(struct sh_sim *sim, struct peer *p)
{
	struct sh_addr at = {.family = 4, .ip = {10, 0, 0, 1}, .port = 80}, none = {0};
	struct sh_transport *t = NULL;
	struct sh_env *env = sh_sim_env_create(sim, 0, 1);
	struct sh_listen_config ws = {.proto = SH_PROTO_WS, .local = &at}, tcp = {.proto = SH_PROTO_TCP, .local = &at};

	assert(env && sh_transport_create(&t, env, NULL, &user, &t) == 0);
	assert(sh_transport_listen_with(t, &ws) == 0 && sh_transport_listen_with(t, &tcp) == 0);
	p->env = sh_sim_env_create(sim, 0, 1);
	assert(p->env);
	p->env->events = &events;
	p->env->events_ctx = p;
	assert(p->env->driver->connect(p->env, &none, &at, p, &p->s) == 0);
	sh_sim_advance(sim, 60 * SH_SECOND);
	assert(sh_transport_stats(t)->connections <= 1);
	sh_sim_advance(sim, 4000 * SH_SECOND); /* nobody stays for ever */
	assert(sh_transport_stats(t)->connections == 0);
	if (p->s)
		p->env->driver->close(p->env, p->s);
	sh_transport_destroy(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sh_sim_options options = {.seed = 1, .delay_min = 1, .delay_max = 1};
	struct peer p = {0};
	struct sh_sim *sim;
	size_t before;

	if (size < 1)
		return 0;
	options.chunks = (enum sh_sim_chunks)(data[0] >> 1 & 1 ? SH_SIM_CHUNKS_RANDOM : SH_SIM_CHUNKS_WHOLE);
	before = data[0] & 1 ? sizeof(handshake) - 1 : 0;
	p.len = before + size - 1;
	p.text = malloc(p.len + 1);
	assert(p.text && sh_sim_create(&sim, &options) == 0);
	memcpy(p.text, handshake, before);
	memcpy(p.text + before, data + 1, size - 1);
	run(sim, &p);
	sh_sim_destroy(sim);
	free(p.text);
	return 0;
}
