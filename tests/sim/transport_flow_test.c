/* The life of connections: limits, deadlines, reuse, ids, other workers. */
#include "transport_helpers.h"

static struct world tcp_world(const struct sh_transport_config *config)
{
	struct world w = world_new((struct sh_sim_options){0}, config);

	server_listen(w.s, SH_PROTO_TCP, "0.0.0.0", 5060);
	return w;
}

static struct wire *connect_from(struct world *w, struct peer *p)
{
	struct sh_addr a = addr("10.0.0.1", 5060);
	struct wire *wire = peer_connect(p, &a);

	world_run(w);
	return wire;
}

static void request_over(struct world *w, struct wire *wire, unsigned cseq)
{
	char text[1024];

	wire_send(wire, text, put_request(text, sizeof(text), cseq, "x"));
	world_run(w);
}

static unsigned connections(const struct world *w)
{
	return (unsigned)sh_transport_stats(w->s->t)->connections;
}

/* ---- limits ---- */

static void one_address_may_open_so_many_connections(void **state)
{
	struct sh_transport_config config = {.max_per_peer = 3};
	struct world w = tcp_world(&config);
	struct peer *other = peer_new(w.sim);

	(void)state;
	for (int i = 0; i < 5; i++)
		connect_from(&w, w.p);
	assert_int_equal(connections(&w), 3);
	assert_int_equal(sh_transport_stats(w.s->t)->refused_limit, 2);
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(w.p->wires[i]->closed, i < 3 ? 0 : 1);
	connect_from(&w, other);
	assert_int_equal(connections(&w), 4);
	wire_close(w.p->wires[1]);
	world_run(&w);
	assert_int_equal(connections(&w), 3);
	assert_int_equal(connect_from(&w, w.p)->closed, 0);
	assert_int_equal(connect_from(&w, w.p)->closed, 1);
	assert_int_equal(w.s->ended_count, 1); /* nobody hears of those that were refused */
	peer_free(other);
	world_free(&w);
}

static void all_addresses_together_may_open_so_many_connections(void **state)
{
	struct sh_transport_config config = {.max_connections = 4};
	struct world w = tcp_world(&config);
	struct peer *other = peer_new(w.sim);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	uint64_t flow;

	(void)state;
	for (int i = 0; i < 3; i++) {
		connect_from(&w, w.p);
		connect_from(&w, other);
	}
	assert_int_equal(connections(&w), 4);
	assert_int_equal(sh_transport_stats(w.s->t)->refused_limit, 2);
	/* Who fills them does not keep us from connecting. */
	peer_listen(w.p, "10.0.0.2", 5070);
	assert_int_equal(server_send(w.s, &out, "x", &flow), 0);
	world_run(&w);
	assert_true(sh_transport_flow_alive(w.s->t, flow));
	/* But that has a limit of its own. */
	for (unsigned port = 5071; port < 5074; port++) {
		out.remote.port = (uint16_t)port;
		assert_int_equal(server_send(w.s, &out, "x", NULL), 0);
	}
	out.remote.port = 5080;
	assert_int_equal(server_send(w.s, &out, "x", NULL), -ENOBUFS);
	wire_close(w.p->wires[0]);
	world_run(&w);
	assert_int_equal(connect_from(&w, other)->closed, 0);
	peer_free(other);
	world_free(&w);
}

/* ---- deadlines ---- */

static void a_connection_without_octets_is_closed(void **state)
{
	struct sh_transport_config config = {.idle_timeout = 100 * SH_SECOND};
	struct world w = tcp_world(&config);
	struct wire *wire = connect_from(&w, w.p);
	uint64_t last;

	(void)state;
	sh_sim_advance(w.sim, 60 * SH_SECOND);
	request_over(&w, wire, 1);
	sh_sim_advance(w.sim, 60 * SH_SECOND);
	wire_send(wire, "\r\n\r\n", 4);
	world_run(&w);
	sh_sim_advance(w.sim, 60 * SH_SECOND);
	last = sh_sim_now(w.sim);
	assert_int_equal(server_send(w.s, &w.s->got[0].path, "x", NULL), 0);
	sh_sim_advance(w.sim, 99 * SH_SECOND);
	assert_int_equal(w.s->ended_count, 0);
	sh_sim_advance(w.sim, 2 * SH_SECOND);
	assert_int_equal(w.s->ended_count, 1);
	assert_int_equal(w.s->ended[0].error, 0);
	assert_in_range(w.s->ended[0].at - last, 100 * SH_SECOND, 100 * SH_SECOND + 5 * SH_MS);
	assert_int_equal(wire->closed, 1);
	world_free(&w);
}

static void half_a_message_is_not_waited_for(void **state)
{
	struct world w = tcp_world(NULL);
	struct wire *wire = connect_from(&w, w.p);
	char text[1024];
	size_t len = put_request(text, sizeof(text), 1, "a body");
	uint64_t begin = sh_sim_now(w.sim) + SH_MS;

	(void)state;
	/* Whole messages as slow as one likes; what counts is the age of the one that has begun, not the last octet's.
	 */
	for (size_t i = 0; i < 20 && wire->s; i++) {
		wire_send(wire, text + i, 1);
		sh_sim_advance(w.sim, 600 * SH_MS);
	}
	assert_true(len > 20);
	assert_int_equal(w.s->ended_count, 1);
	assert_int_equal(w.s->ended[0].error, -ETIMEDOUT);
	assert_in_range(w.s->ended[0].at - begin, 10 * SH_SECOND, 10 * SH_SECOND + 5 * SH_MS);
	world_free(&w);
}

static void each_message_has_its_own_deadline(void **state)
{
	struct world w = tcp_world(NULL);
	struct wire *wire = connect_from(&w, w.p);
	char text[2048];
	size_t one = put_request(text, sizeof(text), 1, "a body");
	size_t all = one + put_request(text + one, sizeof(text) - one, 2, "a body");

	(void)state;
	wire_send(wire, text, 100);
	sh_sim_advance(w.sim, 8 * SH_SECOND);
	wire_send(wire, text + 100, one); /* the end of the first, the beginning of the second */
	sh_sim_advance(w.sim, 8 * SH_SECOND);
	wire_send(wire, text + 100 + one, all - one - 100);
	sh_sim_advance(w.sim, 100 * SH_SECOND);
	assert_int_equal(w.s->count, 2);
	assert_int_equal(w.s->ended_count, 0);
	world_free(&w);
}

static void a_refused_connection_is_reported(void **state)
{
	struct world w = tcp_world(NULL);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	uint64_t flow = 0;

	(void)state;
	assert_int_equal(server_send(w.s, &out, "x", &flow), 0);
	assert_true(flow != 0 && sh_transport_flow_alive(w.s->t, flow));
	world_run(&w);
	assert_int_equal(w.s->ended_count, 1);
	assert_true(w.s->ended[0].flow == flow);
	assert_int_equal(w.s->ended[0].error, -ECONNREFUSED);
	assert_int_equal(connections(&w), 0);
	world_free(&w);
}

static void a_connection_that_is_not_answered_times_out(void **state)
{
	struct world w = tcp_world(NULL);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	uint64_t begin = sh_sim_now(w.sim), flow = 0;

	(void)state;
	assert_int_equal(sh_sim_set_unreachable(w.sim, &out.remote, SH_SIM_TCP_SILENT), 0);
	assert_int_equal(server_send(w.s, &out, "x", &flow), 0);
	sh_sim_advance(w.sim, 3900 * SH_MS);
	assert_int_equal(w.s->ended_count, 0);
	sh_sim_advance(w.sim, 200 * SH_MS);
	assert_int_equal(w.s->ended_count, 1);
	assert_true(w.s->ended[0].flow == flow);
	assert_int_equal(w.s->ended[0].error, -ETIMEDOUT);
	assert_in_range(w.s->ended[0].at - begin, 4 * SH_SECOND, 4 * SH_SECOND + 5 * SH_MS);
	world_free(&w);
}

static void a_connection_that_the_peer_ends_is_reported(void **state)
{
	struct world w = tcp_world(NULL);
	struct wire *wire = connect_from(&w, w.p);

	(void)state;
	request_over(&w, wire, 1);
	wire_send(wire, "MESSAGE sip:x SIP/2.0\r\n", 23); /* half a message goes with it */
	world_run(&w);
	wire_close(wire);
	world_run(&w);
	assert_int_equal(w.s->ended_count, 1);
	assert_true(w.s->ended[0].flow == w.s->got[0].path.flow);
	assert_int_equal(w.s->ended[0].error, 0);
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 0);
	world_free(&w);
}

/* ---- reuse ---- */

static void what_is_sent_to_an_accepted_peer_uses_its_connection(void **state)
{
	struct world w = tcp_world(NULL);
	struct wire *wire = connect_from(&w, w.p);
	struct sh_path out = {.proto = SH_PROTO_TCP};
	uint64_t flow = 0;

	(void)state;
	request_over(&w, wire, 1);
	out.remote = wire->local;
	assert_int_equal(server_send(w.s, &out, "hello", &flow), 0);
	assert_true(flow == w.s->got[0].path.flow);
	world_run(&w);
	assert_string_equal(wire->rx, "hello");
	assert_int_equal(connections(&w), 1);
	world_free(&w);
}

static void requests_to_one_address_share_a_connection_and_answers_come_over_it(void **state)
{
	struct world w = tcp_world(NULL);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	uint64_t first = 0, second = 0, third = 0;

	(void)state;
	peer_listen(w.p, "10.0.0.2", 5070);
	assert_int_equal(server_send(w.s, &out, "one ", &first), 0);
	assert_int_equal(server_send(w.s, &out, "two ", &second), 0); /* not connected yet */
	world_run(&w);
	assert_int_equal(server_send(w.s, &out, "three", &third), 0);
	world_run(&w);
	assert_true(first == second && second == third);
	assert_int_equal(w.p->count, 1);
	assert_string_equal(w.p->wires[0]->rx, "one two three");
	request_over(&w, w.p->wires[0], 9);
	assert_int_equal(w.s->count, 1);
	assert_true(w.s->got[0].path.flow == first);
	assert_addr(&w.s->got[0].path.remote, "10.0.0.2", 5070);
	world_free(&w);
}

static void a_dead_flow_gives_way_to_its_address(void **state)
{
	struct world w = tcp_world(NULL);
	struct wire *wire = connect_from(&w, w.p);
	struct sh_path path;
	uint64_t flow = 0;

	(void)state;
	peer_listen(w.p, "10.0.0.2", 5070);
	request_over(&w, wire, 1);
	wire_close(wire);
	world_run(&w);
	path = w.s->got[0].path;
	path.remote = addr("10.0.0.2", 5070); /* as RFC 3261 18.2.2 has it for answers */
	assert_int_equal(server_send(w.s, &path, "answer", &flow), 0);
	assert_true(flow != path.flow);
	world_run(&w);
	assert_string_equal(w.p->wires[1]->rx, "answer");
	/* The connection comes from the address that the peer knows. */
	assert_addr(&w.p->wires[1]->remote, "10.0.0.1", w.p->wires[1]->remote.port);
	memset(&path.remote, 0, sizeof(path.remote));
	assert_int_equal(server_send(w.s, &path, "answer", NULL), -EPIPE);
	path.flow = 0;
	assert_int_equal(server_send(w.s, &path, "answer", NULL), -EHOSTUNREACH);
	world_free(&w);
}

static void a_connection_comes_from_the_address_of_its_endpoint(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_addr first = addr("192.0.2.1", 0), second = addr("192.0.2.2", 0);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};

	(void)state;
	assert_int_equal(sh_sim_host_add_addr(w.s->env, &first), 0);
	assert_int_equal(sh_sim_host_add_addr(w.s->env, &second), 0);
	server_listen(w.s, SH_PROTO_TCP, "192.0.2.2", 5060);
	server_listen(w.s, SH_PROTO_TCP, "0.0.0.0", 5061);
	peer_listen(w.p, "10.0.0.2", 5070);
	assert_int_equal(server_send(w.s, &out, "x", NULL), 0);
	world_run(&w);
	assert_addr(&w.p->wires[0]->remote, "192.0.2.2", w.p->wires[0]->remote.port);
	assert_int_not_equal(w.p->wires[0]->remote.port, 5060);
	wire_close(w.p->wires[0]);
	world_run(&w);
	out.endpoint = 1;
	out.local = addr("10.0.0.1", 5061); /* as the peer has seen us before */
	assert_int_equal(server_send(w.s, &out, "x", NULL), 0);
	world_run(&w);
	assert_addr(&w.p->wires[1]->remote, "10.0.0.1", w.p->wires[1]->remote.port);
	world_free(&w);
}

static void a_connection_to_close_writes_what_waits_first(void **state)
{
	struct world w = world_new((struct sh_sim_options){.window = 1000}, NULL);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	char text[5001];
	uint64_t flow, other;

	(void)state;
	server_listen(w.s, SH_PROTO_TCP, "10.0.0.1", 5060);
	peer_listen(w.p, "10.0.0.2", 5070);
	memset(text, 'x', 5000);
	text[5000] = '\0';
	assert_int_equal(server_send(w.s, &out, text, &flow), 0);
	sh_transport_flow_close(w.s->t, flow); /* while it is still connecting */
	assert_false(sh_transport_flow_alive(w.s->t, flow));
	assert_int_equal(server_send(w.s, &out, "y", &other), 0);
	assert_true(other != flow);
	world_run(&w);
	assert_int_equal(w.p->count, 2);
	assert_int_equal(w.p->wires[0]->rx_len, 5000);
	assert_int_equal(w.p->wires[0]->closed, 1);
	assert_int_equal(w.p->wires[1]->rx_len, 1);
	assert_int_equal(w.s->ended_count, 1);
	assert_true(w.s->ended[0].flow == flow && w.s->ended[0].error == 0);
	w.s->inside = true;
	sh_transport_flow_close(w.s->t, other);
	sh_transport_flow_close(w.s->t, other);
	w.s->inside = false;
	world_run(&w);
	assert_int_equal(w.s->ended_count, 2);
	assert_int_equal(w.p->wires[1]->closed, 1);
	world_free(&w);
}

static void flow_ids_never_come_again(void **state)
{
	static uint64_t seen[600];
	struct world w = tcp_world(NULL);
	size_t n = 0;

	(void)state;
	for (int round = 0; round < 40; round++) {
		size_t before = n;

		w.p->count = 0;
		for (int k = 0; k < 1 + round % 20; k++) {
			struct wire *wire = connect_from(&w, w.p);
			request_over(&w, wire, 1);
			seen[n] = w.s->got[w.s->count - 1].path.flow;
			assert_true(sh_transport_flow_alive(w.s->t, seen[n]));
			for (size_t i = 0; i < n; i++)
				assert_true(seen[i] != seen[n]);
			n++;
		}
		for (size_t i = 0; i < w.p->count; i++) {
			wire_close(w.p->wires[i]);
			free(w.p->wires[i]->rx);
		}
		world_run(&w);
		for (size_t i = before; i < n; i++)
			assert_false(sh_transport_flow_alive(w.s->t, seen[i]));
		for (size_t i = 0; i < w.p->count; i++)
			free(w.p->wires[i]);
		server_forget(w.s);
	}
	w.p->count = 0;
	assert_true(n > 300);
	assert_false(sh_transport_flow_alive(w.s->t, 0));
	assert_false(sh_transport_flow_alive(w.s->t, UINT64_MAX >> 8));
	world_free(&w);
}

static void flow_ids_of_consecutive_processes_differ(void **state)
{
	uint64_t flows[2];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct world w = world_new((struct sh_sim_options){.seed = 1 + i}, NULL);

		w.s->env->epoch = 1 + i;
		server_listen(w.s, SH_PROTO_TCP, "10.0.0.1", 5060);
		request_over(&w, connect_from(&w, w.p), 1);
		flows[i] = w.s->got[0].path.flow;
		assert_true(flows[i] >> 32 == flows[0] >> 32 && (uint32_t)flows[i] > 0);
		world_free(&w);
	}
	assert_true(flows[0] != flows[1]);
}

static void draining_takes_no_more_connections_but_keeps_those_that_are_there(void **state)
{
	struct world w = tcp_world(NULL);
	struct wire *wire = connect_from(&w, w.p), *late;
	struct sh_addr to = addr("10.0.0.1", 5062);

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "0.0.0.0", 5062);
	peer_bind(w.p, "10.0.0.2", 5060);
	sh_transport_listen_stop(w.s->t);
	sh_transport_listen_stop(w.s->t);
	late = connect_from(&w, w.p);
	assert_int_equal(late->error, -ECONNREFUSED);
	request_over(&w, wire, 1);
	assert_int_equal(w.s->count, 1);
	assert_int_equal(server_send(w.s, &w.s->got[0].path, "answer", NULL), 0);
	char text[1024];
	peer_send(w.p, &to, text, put_request(text, sizeof(text), 2, "x"));
	world_run(&w);
	assert_int_equal(w.s->count, 2);
	assert_string_equal(wire->rx, "answer");
	world_free(&w);
}

static void destroying_closes_everything_without_a_word(void **state)
{
	struct world w = tcp_world(NULL);
	struct wire *wire = connect_from(&w, w.p);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	uint64_t flow;

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "0.0.0.0", 5060);
	peer_listen(w.p, "10.0.0.2", 5070);
	wire_send(wire, "MESSAGE", 7);
	world_run(&w);
	assert_int_equal(server_send(w.s, &out, "x", &flow), 0);
	sh_transport_flow_close(w.s->t, flow); /* and one that has something to report */
	sh_transport_destroy(w.s->t);
	w.s->t = NULL;
	assert_int_equal(sh_sim_open_handles(w.s->env), 0);
	assert_null(w.s->env->events);
	assert_int_equal(w.s->ended_count, 0);
	world_run(&w);
	assert_int_equal(wire->closed, 1);
	world_free(&w);
}

/* ---- other workers ---- */

struct pair {
	struct sh_sim *sim;
	struct server *s[2];
	struct peer *p;
	struct wire *wire;
	unsigned owner; /* of the connection */
	uint64_t flow;
};

static struct pair pair_new(void)
{
	struct sh_sim_options o = {.delay_min = 1000, .delay_max = 1000};
	struct sh_addr a = addr("10.0.0.1", 5060);
	struct pair w = {0};
	char text[1024];

	assert_int_equal(sh_sim_create(&w.sim, &o), 0);
	for (unsigned i = 0; i < 2; i++) {
		w.s[i] = server_try(w.sim, NULL, i, 2);
		server_listen(w.s[i], SH_PROTO_TCP, "0.0.0.0", 5060);
	}
	w.p = peer_new(w.sim);
	w.wire = peer_connect(w.p, &a);
	wire_send(w.wire, text, put_request(text, sizeof(text), 1, "x"));
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	w.owner = w.s[0]->count == 1 ? 0 : 1;
	assert_int_equal(w.s[w.owner]->count, 1);
	w.flow = w.s[w.owner]->got[0].path.flow;
	assert_int_equal(w.flow >> 56, w.owner);
	return w;
}

static void pair_free(struct pair *w)
{
	server_free(w->s[0]);
	server_free(w->s[1]);
	peer_free(w->p);
	sh_sim_destroy(w->sim);
}

static void another_worker_sends_by_the_flow(void **state)
{
	struct pair w = pair_new();
	struct server *other = w.s[!w.owner];
	uint64_t flow = 0;

	(void)state;
	assert_true(sh_transport_flow_alive(other->t, w.flow));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(server_send(other, &w.s[w.owner]->got[0].path, "hello", &flow), 0);
		assert_true(flow == w.flow);
	}
	assert_int_equal(w.wire->rx_len, 0);
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_string_equal(w.wire->rx, "hellohellohello");
	assert_int_equal(other->ended_count, 0);
	pair_free(&w);
}

static void another_worker_hears_that_the_flow_is_gone(void **state)
{
	struct pair w = pair_new();
	struct server *other = w.s[!w.owner];

	(void)state;
	wire_close(w.wire);
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(server_send(other, &w.s[w.owner]->got[0].path, "hello", NULL), 0);
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(other->ended_count, 1);
	assert_true(other->ended[0].flow == w.flow);
	assert_int_equal(other->ended[0].error, -EPIPE);
	assert_int_equal(w.s[w.owner]->ended_count, 1);
	pair_free(&w);
}

static void another_worker_closes_the_flow(void **state)
{
	struct pair w = pair_new();

	(void)state;
	sh_transport_flow_close(w.s[!w.owner]->t, w.flow);
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	sh_sim_advance(w.sim, 5 * SH_MS);
	assert_int_equal(w.wire->closed, 1);
	assert_int_equal(w.s[w.owner]->ended_count, 1);
	assert_int_equal(w.s[!w.owner]->ended_count, 0);
	pair_free(&w);
}

static void a_flow_of_a_worker_that_is_not_there_is_an_error(void **state)
{
	struct pair w = pair_new();
	struct sh_path path = w.s[w.owner]->got[0].path;
	struct server *other = w.s[!w.owner];

	(void)state;
	path.flow = UINT64_C(7) << 56 | (path.flow & (UINT64_MAX >> 8));
	assert_int_equal(server_send(other, &path, "hello", NULL), -EPIPE);
	sh_transport_flow_close(other->t, path.flow);
	/* And what is under way to a transport that is destroyed is just gone. */
	path.flow = w.flow;
	assert_int_equal(server_send(other, &path, "hello", NULL), 0);
	sh_transport_destroy(w.s[w.owner]->t);
	w.s[w.owner]->t = NULL;
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	pair_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(one_address_may_open_so_many_connections),
	    cmocka_unit_test(all_addresses_together_may_open_so_many_connections),
	    cmocka_unit_test(a_connection_without_octets_is_closed),
	    cmocka_unit_test(half_a_message_is_not_waited_for),
	    cmocka_unit_test(each_message_has_its_own_deadline),
	    cmocka_unit_test(a_refused_connection_is_reported),
	    cmocka_unit_test(a_connection_that_is_not_answered_times_out),
	    cmocka_unit_test(a_connection_that_the_peer_ends_is_reported),
	    cmocka_unit_test(what_is_sent_to_an_accepted_peer_uses_its_connection),
	    cmocka_unit_test(requests_to_one_address_share_a_connection_and_answers_come_over_it),
	    cmocka_unit_test(a_dead_flow_gives_way_to_its_address),
	    cmocka_unit_test(a_connection_comes_from_the_address_of_its_endpoint),
	    cmocka_unit_test(a_connection_to_close_writes_what_waits_first),
	    cmocka_unit_test(flow_ids_never_come_again),
	    cmocka_unit_test(flow_ids_of_consecutive_processes_differ),
	    cmocka_unit_test(draining_takes_no_more_connections_but_keeps_those_that_are_there),
	    cmocka_unit_test(destroying_closes_everything_without_a_word),
	    cmocka_unit_test(another_worker_sends_by_the_flow),
	    cmocka_unit_test(another_worker_hears_that_the_flow_is_gone),
	    cmocka_unit_test(another_worker_closes_the_flow),
	    cmocka_unit_test(a_flow_of_a_worker_that_is_not_there_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
