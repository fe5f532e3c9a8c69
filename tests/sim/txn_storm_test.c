/* Two layers against each other over a network that loses, doubles and overtakes, with users that answer, cancel, leave
 * and start others whenever they like. Whatever the seed: a request is handed up once, a final answer to anything but a
 * 2xx comes once, everything ends, nothing leaks; and a seed replays exactly. */
#include "txn_world.h"

enum { CALLS = 120, SEEDS = 12 };

struct side {
	struct sh_env *env;
	struct sh_txn_layer *layer;
	struct sh_transport *transport;
	struct sh_addr addr;
};

struct call {
	struct sh_timer act; /* the server's next move */
	struct sh_server_txn *st;
	struct sh_client_txn *ct;
	enum sh_method method;
	enum sh_proto proto;
	unsigned requests, finals, failures, accepted, ends, server_ends; /* as the users count them */
	bool acked, detached;
	unsigned resends;
	char text[1500]; /* the 2xx */
	size_t len;
};

static struct storm {
	struct sh_sim *sim;
	struct side client, server;
	struct sh_random dice;
	struct call calls[CALLS];
	unsigned timeouts, strays, cancelled;
} s;

static unsigned roll(unsigned n)
{
	return (unsigned)sh_random_below(&s.dice, n);
}

static struct call *call_of(const struct sh_msg *m)
{
	struct sh_slice id = sh_msg_text(m, m->call_id);
	uint64_t n;

	assert_int_equal(sh_slice_u64(id, CALLS - 1, &n), 0);
	return &s.calls[n];
}

/* --- the server's user ------------------------------------------------------------------------ */

static void server_event(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct call *c = user;

	assert_ptr_equal(c->st, st);
	assert_int_equal(c->server_ends, 0);
	if (ev == SH_SERVER_ENDED) {
		c->server_ends++;
		c->st = NULL;
		sh_env_cancel(s.server.env, &c->act);
	}
}

static void accept_call(struct call *c)
{
	struct sh_writer *w = sh_server_txn_begin(c->st, 200, SH_LIT(""), SH_LIT(""));

	sh_put_body(w, SH_LIT(""), SH_LIT(""));
	assert_in_range(w->len, 1, sizeof(c->text));
	memcpy(c->text, w->base, w->len);
	c->len = w->len;
	assert_int_equal(sh_server_txn_respond(c->st, 200, w), 0);
	if (c->method == SH_INVITE)
		sh_env_timer(s.server.env, &c->act, 500 * MS);
}

static void answer_something(struct call *c)
{
	unsigned what = roll(10);
	int err = 0;

	if (what < 3 && c->method == SH_INVITE) {
		err = sh_server_txn_reply(c->st, 100 + roll(3) * 40, SH_LIT(""));
		sh_env_timer(s.server.env, &c->act, roll(5000) * MS);
	} else if (what < 7) {
		accept_call(c);
	} else {
		err = sh_server_txn_reply(c->st, 300 + roll(3) * 100, SH_LIT(""));
	}
	assert_true(err == 0 || err == -EPIPE || err == -EHOSTUNREACH);
}

static void server_acts(struct sh_timer *t)
{
	struct call *c = SH_CONTAINER(t, struct call, act);

	if (!c->st)
		return;
	if (!sh_server_txn_answered(c->st)) {
		answer_something(c);
	} else if (!c->acked && c->resends++ < 30) {
		sh_server_txn_resend(c->st, sh_slice_make(c->text, c->len));
		sh_env_timer(s.server.env, &c->act, SH_SECOND);
	}
}

static void server_request(void *ctx, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct call *c = call_of(m);

	(void)ctx, (void)from;
	if (!st) {
		c->acked = true;
		return;
	}
	assert_int_equal(c->requests++, 0);
	c->st = st;
	sh_server_txn_watch(st, server_event, c);
	if (roll(2))
		answer_something(c);
	else
		sh_env_timer(s.server.env, &c->act, roll(6000) * MS);
}

static void server_cancel(void *ctx, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct call *c = call_of(m);

	(void)ctx;
	assert_ptr_equal(c->st, st);
	s.cancelled++;
	assert_int_equal(sh_server_txn_reply(st, 487, SH_LIT("")), 0);
}

/* --- the client's user ------------------------------------------------------------------------ */

static void send_ack(struct call *c, const struct sh_path *path)
{
	char rest[500];
	int n = snprintf(rest, sizeof(rest),
			 "Max-Forwards: 70\r\nFrom: <sip:a@a>;tag=a\r\nTo: <sip:b@b>;tag=b\r\nCall-ID: %u\r\n"
			 "CSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
			 (unsigned)(c - s.calls));

	sh_txn_send_ack(s.client.layer, path, SH_LIT("ACK sip:b@b SIP/2.0\r\n"), sh_slice_make(rest, (size_t)n), NULL);
}

static void maybe_leave(struct call *c)
{
	if (roll(4) == 0 && c->method == SH_INVITE)
		assert_int_equal(sh_client_txn_cancel(c->ct, SH_LIT("SIP;cause=200")), 0);
	if (roll(12) == 0) {
		sh_client_txn_detach(c->ct);
		c->detached = true;
	}
}

static void client_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct call *c = user;

	assert_ptr_equal(c->ct, ct);
	assert_false(c->detached);
	assert_int_equal(c->ends, 0);
	switch (ev) {
	case SH_CLIENT_RESPONSE:
		if (m->status >= 200 && m->status < 300 && c->method == SH_INVITE) {
			assert_int_equal(c->finals + c->failures, 0);
			c->accepted++;
			send_ack(c, sh_client_txn_path(ct));
		} else if (m->status >= 200) {
			assert_int_equal(c->finals++ + c->failures + c->accepted, 0);
		} else {
			assert_int_equal(c->finals + c->failures + c->accepted, 0);
			maybe_leave(c);
		}
		break;
	case SH_CLIENT_TIMEOUT:
	case SH_CLIENT_UNREACHABLE:
		assert_int_equal(c->failures++ + c->finals + c->accepted, 0);
		s.timeouts++;
		break;
	case SH_CLIENT_ENDED:
		c->ends++;
		c->ct = NULL;
		break;
	}
}

static void client_request(void *ctx, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	(void)ctx, (void)st, (void)m, (void)from;
	fail();
}

static void client_cancel(void *ctx, struct sh_server_txn *st, const struct sh_msg *m)
{
	(void)ctx, (void)st, (void)m;
	fail();
}

static void client_stray(void *ctx, const struct sh_msg *m, const struct sh_path *from)
{
	(void)ctx;
	s.strays++;
	send_ack(call_of(m), from);
}

static void begin_call(struct call *c)
{
	struct sh_client_request r = {.method = c->method};
	char line[100], rest[2500];
	unsigned subject = roll(10) ? 10 : 1400; /* some are too large for a datagram */
	int n;

	n = snprintf(line, sizeof(line), "%.*s sip:b@b SIP/2.0\r\n", SH_FMT(sh_method_name(c->method)));
	r.line = sh_slice_make(line, (size_t)n);
	n = snprintf(rest, sizeof(rest),
		     "Max-Forwards: 70\r\nFrom: <sip:a@a>;tag=a\r\nTo: <sip:b@b>\r\nCall-ID: %u\r\nCSeq: 1 %.*s\r\n"
		     "Subject: %0*d\r\nContent-Length: 0\r\n\r\n",
		     (unsigned)(c - s.calls), SH_FMT(sh_method_name(c->method)), (int)subject, 0);
	r.rest = sh_slice_make(rest, (size_t)n);
	r.path =
	    (struct sh_path){.proto = (uint8_t)c->proto, .endpoint = c->proto == SH_PROTO_TCP, .remote = s.server.addr};
	assert_int_equal(sh_client_txn_start(&c->ct, s.client.layer, &r, client_event, c), 0);
	maybe_leave(c);
}

/* --- the storm -------------------------------------------------------------------------------- */

static const struct sh_txn_user client_user = {
    .request = client_request, .cancel = client_cancel, .stray_2xx = client_stray};
static const struct sh_txn_user server_user = {.request = server_request, .cancel = server_cancel};

static void open_side(struct side *side, const char *addr, const struct sh_txn_user *user)
{
	side->addr = world_addr(addr, 5060);
	side->env = sh_sim_env_create(s.sim, 0, 1);
	assert_non_null(side->env);
	assert_int_equal(sh_txn_layer_create(&side->layer, side->env, NULL, user, NULL), 0);
	assert_int_equal(sh_transport_create(&side->transport, side->env, NULL, &sh_txn_transport_user, side->layer),
			 0);
	sh_txn_layer_attach(side->layer, side->transport);
	assert_int_equal(sh_transport_listen(side->transport, SH_PROTO_UDP, &side->addr, SH_LIT(""), 0), 0);
	assert_int_equal(sh_transport_listen(side->transport, SH_PROTO_TCP, &side->addr, SH_LIT(""), 0), 0);
}

static void close_side(struct side *side)
{
	const struct sh_txn_stats *stats = sh_txn_layer_stats(side->layer);

	assert_int_equal(stats->client_live, 0);
	assert_int_equal(stats->server_live, 0);
	sh_txn_layer_destroy(side->layer);
	sh_transport_destroy(side->transport);
}

static void check_call(const struct call *c)
{
	assert_in_range(c->requests, 0, 1);
	assert_int_equal(c->server_ends, c->requests);
	if (!c->detached) {
		assert_int_equal(c->ends, 1);
		assert_int_equal(c->finals + c->failures + (c->accepted > 0), 1);
	}
}

static uint64_t storm(uint64_t seed, double loss)
{
	const struct sh_sim_options options = {.seed = seed,
					       .loss = loss,
					       .duplicate = loss / 2,
					       .reorder = loss,
					       .delay_min = MS,
					       .delay_max = 200 * MS,
					       .chunks = SH_SIM_CHUNKS_RANDOM};
	uint64_t hash;

	memset(&s, 0, sizeof(s));
	sh_random_init_seed(&s.dice, seed);
	assert_int_equal(sh_sim_create(&s.sim, &options), 0);
	open_side(&s.client, "10.1.0.1", &client_user);
	open_side(&s.server, "10.1.0.2", &server_user);
	for (unsigned i = 0; i < CALLS; i++) {
		s.calls[i].method = roll(3) ? SH_INVITE : SH_OPTIONS;
		s.calls[i].proto = roll(4) ? SH_PROTO_UDP : SH_PROTO_TCP;
		sh_timer_init(&s.calls[i].act, server_acts);
	}
	for (unsigned i = 0; i < CALLS; i++) {
		begin_call(&s.calls[i]);
		sh_sim_advance(s.sim, roll(300) * MS);
	}
	sh_sim_advance(s.sim, 300 * SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		check_call(&s.calls[i]);
	hash = sh_sim_trace_hash(s.sim);
	close_side(&s.client);
	close_side(&s.server);
	sh_sim_destroy(s.sim);
	return hash;
}

static void nothing_is_lost_in_a_storm(void **state)
{
	unsigned timeouts = 0, cancelled = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		storm(seed, 0.2);
		timeouts += s.timeouts;
		cancelled += s.cancelled;
	}
	assert_in_range(timeouts, 0, SEEDS * CALLS / 20); /* seven datagrams in a row are seldom lost */
	assert_int_not_equal(cancelled, 0);
}

static void in_fair_weather_nothing_times_out(void **state)
{
	(void)state;
	storm(99, 0);
	assert_int_equal(s.timeouts, 0);
	for (unsigned i = 0; i < CALLS; i++)
		assert_int_equal(s.calls[i].requests, 1);
}

static void a_seed_replays_exactly(void **state)
{
	uint64_t first = storm(4, 0.3);

	(void)state;
	assert_int_equal(storm(4, 0.3), first);
	assert_int_not_equal(storm(5, 0.3), first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nothing_is_lost_in_a_storm),
	    cmocka_unit_test(in_fair_weather_nothing_times_out),
	    cmocka_unit_test(a_seed_replays_exactly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
