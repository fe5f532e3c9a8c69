/* The octets of connections: framing, keep-alives, back-pressure. */
#include "transport_helpers.h"

static struct world tcp_world(struct sh_sim_options options, const struct sh_transport_config *config)
{
	struct world w = world_new(options, config);

	server_listen(w.s, SH_PROTO_TCP, "0.0.0.0", 5060);
	return w;
}

static struct wire *connect_to(struct world *w)
{
	struct sh_addr a = addr("10.0.0.1", 5060);
	struct wire *wire = peer_connect(w->p, &a);

	world_run(w);
	assert_true(wire->connected && wire->s);
	return wire;
}

static void send_text(struct world *w, struct wire *wire, const char *text)
{
	wire_send(wire, text, strlen(text));
	world_run(w);
}

/* Messages 1 to n, of different sizes, one behind the other. */
static size_t put_many(char *out, size_t cap, unsigned n)
{
	static char body[5000];
	size_t len = 0;

	for (unsigned i = 1; i <= n; i++) {
		size_t size = i * 37 % 600 + (i % 10 == 0 ? 4000 : 0);
		memset(body, 'a' + (int)(i % 26), size);
		body[size] = '\0';
		len += put_request(out + len, cap - len, i, body);
		if (i % 3 == 0 && cap - len > 2)
			len += (size_t)snprintf(out + len, cap - len, "\r\n");
	}
	return len;
}

static void check_many(const struct server *s, unsigned n)
{
	assert_int_equal(s->count, n);
	for (unsigned i = 1; i <= n; i++) {
		const struct got *g = &s->got[i - 1];
		size_t size = i * 37 % 600 + (i % 10 == 0 ? 4000 : 0);

		assert_int_equal(g->cseq, i);
		assert_int_equal(g->code, 0);
		assert_true(g->len > size);
		for (size_t k = g->len - size; k < g->len; k++)
			assert_int_equal(g->text[k], 'a' + (int)(i % 26));
	}
}

static void messages_are_whole(enum sh_sim_chunks chunks, uint64_t seed, unsigned n)
{
	struct world w = tcp_world((struct sh_sim_options){.chunks = chunks, .seed = seed}, NULL);
	struct wire *wire = connect_to(&w);
	static char text[200000];

	wire_send(wire, text, put_many(text, sizeof(text), n));
	world_run(&w);
	check_many(w.s, n);
	assert_int_equal(w.s->ended_count, 0);
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 0);
	world_free(&w);
}

static void pipelined_messages_are_told_apart(void **state)
{
	(void)state;
	messages_are_whole(SH_SIM_CHUNKS_WHOLE, 1, 100);
}

static void messages_may_come_octet_by_octet(void **state)
{
	(void)state;
	messages_are_whole(SH_SIM_CHUNKS_BYTE, 1, 12);
}

static void messages_may_be_cut_anywhere(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++)
		messages_are_whole(SH_SIM_CHUNKS_RANDOM, seed, 60);
}

static void the_path_of_a_message_names_its_connection(void **state)
{
	struct world w = tcp_world((struct sh_sim_options){0}, NULL);
	struct wire *wire = connect_to(&w);
	char text[1024];
	const struct sh_path *p = &w.s->got[0].path;
	uint64_t flow = 0;

	(void)state;
	put_request(text, sizeof(text), 1, "x");
	send_text(&w, wire, text);
	assert_int_equal(w.s->count, 1);
	assert_int_equal(p->proto, SH_PROTO_TCP);
	assert_true(p->flow != 0 && sh_transport_flow_alive(w.s->t, p->flow));
	assert_addr(&p->local, "10.0.0.1", 5060);
	assert_true(sh_addr_eq(&p->remote, &wire->local));
	assert_int_equal(server_send(w.s, p, "SIP/2.0 200 OK\r\n\r\n", &flow), 0);
	assert_true(flow == p->flow);
	world_run(&w);
	assert_string_equal(wire->rx, "SIP/2.0 200 OK\r\n\r\n");
	world_free(&w);
}

static void the_largest_message_passes_and_one_octet_more_closes(void **state)
{
	struct world w = tcp_world((struct sh_sim_options){.window = 1 << 20}, NULL);
	struct wire *wire = connect_to(&w);
	static char text[70000], body[66000];
	size_t head = put_request(text, sizeof(text), 1, "") + 4; /* Content-Length grows from 1 to 5 digits */

	(void)state;
	memset(body, 'x', SH_MSG_MAX_SIZE - head);
	assert_int_equal(put_request(text, sizeof(text), 1, body), SH_MSG_MAX_SIZE);
	send_text(&w, wire, text);
	assert_int_equal(w.s->count, 1);
	assert_int_equal(w.s->got[0].len, SH_MSG_MAX_SIZE);
	body[SH_MSG_MAX_SIZE - head] = 'x';
	put_request(text, sizeof(text), 2, body);
	send_text(&w, wire, text);
	assert_int_equal(w.s->count, 1);
	assert_int_equal(w.s->ended_count, 1);
	assert_int_equal(w.s->ended[0].error, -EMSGSIZE);
	assert_int_equal(wire->closed, 1);
	world_free(&w);
}

static void header_lines_without_end_close_the_connection(void **state)
{
	struct world w = tcp_world((struct sh_sim_options){.chunks = SH_SIM_CHUNKS_RANDOM}, NULL);
	struct wire *wire = connect_to(&w);
	static char text[80000];
	size_t len = put_request(text, sizeof(text), 1, "");

	(void)state;
	len -= 2;
	while (len < 70000)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "X-%zu: y\r\n", len);
	wire_send(wire, text, len);
	world_run(&w);
	assert_int_equal(w.s->count, 0);
	assert_int_equal(w.s->ended_count, 1);
	assert_int_equal(w.s->ended[0].error, -EMSGSIZE);
	world_free(&w);
}

static void keep_line(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	(void)level, (void)len;
	snprintf(ctx, 1024, "%s", line);
}

static void loses_framing(const char *text, const char *why)
{
	char line[1024] = "";
	struct sh_log log;
	struct world w;
	struct wire *wire;
	char good[1024];

	sh_log_init(&log, SH_LOG_WARN, keep_line, line);
	w = tcp_world((struct sh_sim_options){.log = &log}, NULL);
	wire = connect_to(&w);
	put_request(good, sizeof(good), 1, "x");
	send_text(&w, wire, good);
	send_text(&w, wire, text);
	assert_int_equal(w.s->count, 1);
	assert_int_equal(w.s->ended_count, 1);
	assert_int_equal(w.s->ended[0].error, -EBADMSG);
	assert_true(w.s->ended[0].flow == w.s->got[0].path.flow);
	assert_int_equal(wire->closed, 1);
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 1);
	assert_int_equal(sh_transport_stats(w.s->t)->connections, 0);
	assert_non_null(strstr(line, "tcp 10.0.0.2:"));
	assert_non_null(strstr(line, why));
	world_free(&w);
}

static void lost_framing_closes_the_connection(void **state)
{
	(void)state;
	loses_framing("INVITE sip:b@b SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\n\r\n", "Content-Length");
	loses_framing("INVITE sip:b@b SIP/2.0\r\nContent-Length: 1x\r\n\r\n", "Content-Length");
	loses_framing("INVITE sip:b@b SIP/2.0\r\nContent-Length: -5\r\n\r\n", "Content-Length");
	loses_framing("INVITE sip:b@b SIP/2.0\r\nl: 4\r\nContent-Length: 5\r\n\r\n", "Content-Length");
	loses_framing("INVITE sip:b@b SIP/2.0\r\nCall-ID: c1\r\nContent-Length: abc\r\n\r\n", ", Call-ID c1");
	loses_framing("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not SIP");
	loses_framing("\x16\x03\x01\x02", "not SIP");
}

static void a_malformed_message_that_keeps_framing_keeps_the_connection(void **state)
{
	struct world w = tcp_world((struct sh_sim_options){0}, NULL);
	struct wire *wire = connect_to(&w);
	char good[1024];

	(void)state;
	send_text(&w, wire,
		  "OPTIONS sip:b@b SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n"
		  "To: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n");
	send_text(&w, wire, "SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"); /* nothing to answer, nothing to use */
	put_request(good, sizeof(good), 5, "x");
	send_text(&w, wire, good);
	assert_int_equal(w.s->count, 2);
	assert_int_equal(w.s->got[0].code, 400);
	assert_int_equal(w.s->got[1].cseq, 5);
	assert_int_equal(w.s->ended_count, 0);
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 2);
	world_free(&w);
}

static void keep_alives(enum sh_sim_chunks chunks)
{
	struct world w = tcp_world((struct sh_sim_options){.chunks = chunks}, NULL);
	struct wire *wire = connect_to(&w);
	char text[1024] = "\r\n\r\n";

	send_text(&w, wire, "\r\n\r\n");
	assert_string_equal(wire->rx, "\r\n");
	send_text(&w, wire, "\r\n"); /* half a ping, or the answer to one of ours */
	assert_string_equal(wire->rx, "\r\n");
	send_text(&w, wire, "\r\n");
	assert_string_equal(wire->rx, "\r\n\r\n");
	put_request(text + 4, sizeof(text) - 4, 5, "x");
	send_text(&w, wire, text);
	assert_string_equal(wire->rx, "\r\n\r\n\r\n");
	assert_int_equal(w.s->count, 1);
	assert_int_equal(w.s->got[0].cseq, 5);
	send_text(&w, wire, "\r\n"); /* together with what came before the message that would be two */
	put_request(text, sizeof(text), 6, "\r\n\r\n");
	send_text(&w, wire, text);
	send_text(&w, wire, "\r\n");
	assert_string_equal(wire->rx, "\r\n\r\n\r\n");
	assert_int_equal(w.s->count, 2);
	assert_int_equal(sh_transport_stats(w.s->t)->keepalives, 3);
	world_free(&w);
}

static void a_double_line_end_is_answered_with_one(void **state)
{
	(void)state;
	keep_alives(SH_SIM_CHUNKS_WHOLE);
	keep_alives(SH_SIM_CHUNKS_BYTE);
}

/* ---- back-pressure ---- */

static void a_slow_reader_gets_everything_in_order(void **state)
{
	struct sh_transport_config config = {.max_unsent = 400000};
	struct world w = tcp_world((struct sh_sim_options){.window = 3000, .chunks = SH_SIM_CHUNKS_RANDOM}, &config);
	struct wire *wire = connect_to(&w);
	static char text[2000], all[600000];
	size_t len = 0;

	(void)state;
	put_request(text, sizeof(text), 1, "x");
	send_text(&w, wire, text);
	wire_pause(wire, true);
	for (unsigned i = 0; i < 300; i++) {
		char body[1000];
		memset(body, 'a' + (int)(i % 26), sizeof(body) - 1);
		body[sizeof(body) - 1] = '\0';
		size_t n = put_request(text, sizeof(text), i, body);
		memcpy(all + len, text, n);
		len += n;
		assert_int_equal(server_send(w.s, &w.s->got[0].path, text, NULL), 0);
		if (i % 7 == 0)
			sh_sim_advance(w.sim, 5 * SH_MS);
	}
	assert_true(wire->rx_len < 10000);
	wire_pause(wire, false);
	world_run(&w);
	assert_int_equal(wire->rx_len, len);
	assert_memory_equal(wire->rx, all, len);
	assert_int_equal(w.s->ended_count, 0);
	world_free(&w);
}

static void who_never_reads_is_closed_at_the_limit(void **state)
{
	struct sh_transport_config config = {.max_unsent = 20000};
	struct world w = tcp_world((struct sh_sim_options){.window = 3000}, &config);
	struct wire *wire = connect_to(&w);
	char text[1600], body[1001] = {0};
	uint64_t flow;
	int sent = 0, err;

	(void)state;
	memset(body, 'x', 1000);
	put_request(text, sizeof(text), 1, "x");
	send_text(&w, wire, text);
	flow = w.s->got[0].path.flow;
	wire_pause(wire, true);
	put_request(text, sizeof(text), 1, body);
	while ((err = server_send(w.s, &w.s->got[0].path, text, NULL)) == 0)
		assert_true(++sent < 100);
	assert_int_equal(err, -ENOBUFS);
	assert_true(sent * strlen(text) <= 23000 && (sent + 1) * strlen(text) > 23000);
	assert_false(sh_transport_flow_alive(w.s->t, flow));
	assert_int_equal(w.s->ended_count, 0); /* not from inside the call */
	sh_sim_advance(w.sim, 5 * SH_MS);
	assert_int_equal(w.s->ended_count, 1);
	assert_true(w.s->ended[0].flow == flow);
	assert_int_equal(w.s->ended[0].error, -ENOBUFS);
	world_free(&w);
}

/* Answers each request with something large. */
static void answer_largely(struct server *s, const struct sh_msg *m, const struct sh_path *from)
{
	static char text[4001];

	(void)m;
	memset(text, 'r', 4000);
	server_send(s, from, text, NULL);
}

static void who_does_not_take_answers_is_not_read_from(void **state)
{
	struct sh_transport_config config = {.max_unsent = 100000};
	struct world w = tcp_world((struct sh_sim_options){.window = 4000}, &config);
	struct wire *wire = connect_to(&w);
	static char text[400000];
	size_t len = 0;

	(void)state;
	w.s->on_message = answer_largely;
	for (unsigned i = 1; i <= 400; i++)
		len += put_request(text + len, sizeof(text) - len, i, "x");
	wire_pause(wire, true);
	wire_send(wire, text, len);
	sh_sim_advance(w.sim, 20 * SH_SECOND);
	/* 50,000 octets are the mark; what the window lets through may come behind it. */
	assert_true(w.s->count >= 13 && w.s->count <= 40);
	assert_int_equal(w.s->ended_count, 0);
	wire_pause(wire, false);
	sh_sim_advance(w.sim, 20 * SH_SECOND);
	assert_int_equal(w.s->count, 400);
	assert_int_equal(wire->rx_len, 400 * 4000);
	assert_int_equal(w.s->ended_count, 0);
	world_free(&w);
}

static void half_a_message_is_not_blamed_for_our_pause(void **state)
{
	struct sh_transport_config config = {.max_unsent = 4000};
	struct world w = tcp_world((struct sh_sim_options){.window = 1000}, &config);
	struct wire *wire = connect_to(&w);
	char text[2048];
	size_t one = put_request(text, sizeof(text), 1, "x");
	size_t all = one + put_request(text + one, sizeof(text) - one, 2, "x");

	(void)state;
	wire_pause(wire, true);
	wire_send(wire, text, all - 20);
	world_run(&w);
	assert_int_equal(w.s->count, 1);
	for (int i = 0; i < 8; i++) /* both messages each time: beyond the mark, half of max_unsent */
		assert_int_equal(server_send(w.s, &w.s->got[0].path, text, NULL), 0);
	sh_sim_advance(w.sim, 20 * SH_SECOND);
	wire_pause(wire, false);
	sh_sim_advance(w.sim, 9 * SH_SECOND);
	assert_int_equal(w.s->ended_count, 0);
	wire_send(wire, text + all - 20, 20);
	world_run(&w);
	assert_int_equal(w.s->count, 2);
	sh_sim_advance(w.sim, 60 * SH_SECOND);
	assert_int_equal(w.s->ended_count, 0);
	world_free(&w);
}

static void output_that_does_not_move_ends_the_connection(void **state)
{
	struct world w = tcp_world((struct sh_sim_options){.window = 1000}, NULL);
	struct wire *wire = connect_to(&w);
	char text[1600];
	uint64_t begin;

	(void)state;
	put_request(text, sizeof(text), 1, "x");
	send_text(&w, wire, text);
	wire_pause(wire, true);
	begin = sh_sim_now(w.sim);
	for (int i = 0; i < 10; i++)
		assert_int_equal(server_send(w.s, &w.s->got[0].path, text, NULL), 0);
	sh_sim_advance(w.sim, 31 * SH_SECOND);
	assert_int_equal(w.s->ended_count, 0);
	sh_sim_advance(w.sim, 2 * SH_SECOND);
	assert_int_equal(w.s->ended_count, 1);
	assert_int_equal(w.s->ended[0].error, -ETIMEDOUT);
	assert_in_range(w.s->ended[0].at - begin, 32 * SH_SECOND, 32 * SH_SECOND + 5 * SH_MS);
	world_free(&w);
}

/* ---- robustness ---- */

static void without_memory_a_message_is_whole_or_not_sent(void **state)
{
	struct world w = tcp_world((struct sh_sim_options){.window = 1000}, NULL);
	struct wire *wire = connect_to(&w);
	char text[3001] = {0};
	const struct sh_path *p = &w.s->got[0].path;

	(void)state;
	memset(text, 'x', 3000);
	char request[1024];
	put_request(request, sizeof(request), 1, "x");
	send_text(&w, wire, request);
	wire_pause(wire, true);
	assert_int_equal(server_send(w.s, p, text, NULL), 0);
	sh_alloc_fail_after(0);
	while (sh_alloc_count() == 0)
		server_send(w.s, p, "yyyyyyyyyy", NULL);            /* all but the last have room */
	assert_int_equal(server_send(w.s, p, text, NULL), -ENOMEM); /* nothing of it was written */
	sh_alloc_fail_after(-1);
	assert_true(sh_transport_flow_alive(w.s->t, p->flow));
	wire_pause(wire, false);
	sh_sim_advance(w.sim, 100 * SH_MS);
	assert_true(wire->rx_len > 3000 && strspn(wire->rx, "x") == 3000);
	assert_int_equal((wire->rx_len - 3000) % 10, 0);
	assert_int_equal(w.s->ended_count, 0);

	sh_alloc_fail_after(0);
	assert_int_equal(server_send(w.s, p, text, NULL), -ENOMEM);
	sh_alloc_fail_after(-1);
	assert_true(sh_transport_flow_alive(w.s->t, p->flow));
	assert_int_equal(server_send(w.s, p, "z", NULL), 0);
	world_run(&w);
	assert_int_equal(wire->rx[wire->rx_len - 1], 'z');
	assert_int_equal(w.s->ended_count, 0);
	world_free(&w);
}

static void a_connection_whose_first_message_failed_is_not_left_behind(void **state)
{
	struct world w = tcp_world((struct sh_sim_options){0}, NULL);
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	int err = -ENOMEM;
	long n;

	(void)state;
	peer_listen(w.p, "10.0.0.2", 5070);
	for (n = 0; err && n < 100; n++) {
		sh_alloc_fail_after(n);
		err = server_send(w.s, &out, "x", NULL);
		sh_alloc_fail_after(-1);
		assert_true(err == 0 || err == -ENOMEM);
		assert_int_equal(sh_transport_stats(w.s->t)->connections, err == 0);
		world_run(&w);
	}
	assert_true(n > 3);
	assert_int_equal(err, 0);
	world_free(&w);
}

/* Closes its own connection in the middle of a batch. */
static void close_at_three(struct server *s, const struct sh_msg *m, const struct sh_path *from)
{
	if (m->cseq != 3)
		return;
	server_send(s, from, "bye", NULL);
	s->inside = true;
	sh_transport_flow_close(s->t, from->flow);
	s->inside = false;
	assert_false(sh_transport_flow_alive(s->t, from->flow));
}

static void a_connection_may_be_closed_while_its_messages_are_handed_up(void **state)
{
	(void)state;
	for (int chunks = SH_SIM_CHUNKS_WHOLE; chunks <= SH_SIM_CHUNKS_BYTE; chunks++) {
		struct world w = tcp_world((struct sh_sim_options){.chunks = (enum sh_sim_chunks)chunks}, NULL);
		struct wire *wire = connect_to(&w);
		static char text[100000];
		size_t len = put_many(text, sizeof(text), 3);

		w.s->on_message = close_at_three;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "\r\n\r\n");
		len += put_many(text + len, sizeof(text) - len, 3);
		wire_send(wire, text, len);
		world_run(&w);
		assert_int_equal(w.s->count, 3);
		assert_int_equal(w.s->ended_count, 1);
		assert_int_equal(w.s->ended[0].error, 0);
		assert_int_equal(wire->closed, 1);
		assert_int_equal(sh_transport_stats(w.s->t)->keepalives, 0);
		world_free(&w);
	}
}

static void garbage_is_survived(void **state)
{
	static char text[40000];

	(void)state;
	for (uint64_t seed = 1; seed <= 300; seed++) {
		struct world w = tcp_world((struct sh_sim_options){.seed = seed, .chunks = SH_SIM_CHUNKS_RANDOM}, NULL);
		struct wire *bad = connect_to(&w), *good = connect_to(&w);
		struct sh_random r;
		size_t len = put_many(text, sizeof(text), 20);

		sh_random_init_seed(&r, seed);
		for (uint64_t k = sh_random_below(&r, 10); k > 0; k--)
			text[sh_random_below(&r, len)] = (char)sh_random_u64(&r);
		if (seed % 4 == 0)
			sh_random_bytes(&r, text, sh_random_below(&r, len));
		wire_send(bad, text, len);
		world_run(&w);
		server_forget(w.s);
		len = put_many(text, sizeof(text), 5);
		wire_send(good, text, len);
		world_run(&w);
		check_many(w.s, 5);
		world_free(&w);
	}
}

/* A connection in, a request, an answer; a connection out, a request. Returns whether all of it worked. */
static bool exchange(void)
{
	struct sh_sim_options o = {.delay_min = 1000, .delay_max = 1000, .chunks = SH_SIM_CHUNKS_RANDOM, .window = 700};
	struct sh_addr a = addr("0.0.0.0", 5060), to = addr("10.0.0.1", 5060), any = {0}, bound;
	struct sh_path out = {.proto = SH_PROTO_TCP, .remote = addr("10.0.0.2", 5070)};
	struct world w = {0};
	char text[1024], body[600] = {0};
	bool ok = false;

	memset(body, 'x', sizeof(body) - 1);
	put_request(text, sizeof(text), 1, body);
	if (sh_sim_create(&w.sim, &o) < 0)
		return false;
	w.s = server_try(w.sim, NULL, 0, 1);
	w.p = peer_try(w.sim);
	if (!w.s || !w.p || sh_transport_listen(w.s->t, SH_PROTO_TCP, &a, SH_LIT(""), 0) < 0 ||
	    w.p->env->driver->listen(w.p->env, &out.remote, NULL, &w.p->listener, &bound) < 0)
		goto end;
	struct wire *wire = peer_wire(w.p);
	if (w.p->env->driver->connect(w.p->env, &any, &to, wire, &wire->s) < 0)
		goto end;
	sh_sim_advance(w.sim, 10 * SH_MS);
	if (!wire->s)
		goto end;
	wire_send(wire, text, strlen(text));
	sh_sim_advance(w.sim, 50 * SH_MS);
	if (w.s->count != 1)
		goto end;
	bool sent = server_send(w.s, &w.s->got[0].path, text, NULL) == 0 &&
		    server_send(w.s, &w.s->got[0].path, text, NULL) == 0;
	bool opened = server_send(w.s, &out, text, NULL) == 0;
	sh_sim_advance(w.sim, 100 * SH_MS);
	ok = sent && opened && wire->rx_len == 2 * strlen(text) && w.p->count == 2 &&
	     w.p->wires[1]->rx_len == strlen(text) && w.s->ended_count == 0;
end:
	server_free(w.s);
	peer_free(w.p);
	sh_sim_destroy(w.sim);
	return ok;
}

static void every_allocation_may_fail(void **state)
{
	long n = 0;

	(void)state;
	for (;; n++) {
		sh_alloc_fail_after(n);
		bool ok = exchange();
		bool all = sh_alloc_count() <= n;
		sh_alloc_fail_after(-1);
		if (all) {
			assert_true(ok);
			break;
		}
		assert_true(n < 1000);
	}
	assert_true(n > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(pipelined_messages_are_told_apart),
	    cmocka_unit_test(messages_may_come_octet_by_octet),
	    cmocka_unit_test(messages_may_be_cut_anywhere),
	    cmocka_unit_test(the_path_of_a_message_names_its_connection),
	    cmocka_unit_test(the_largest_message_passes_and_one_octet_more_closes),
	    cmocka_unit_test(header_lines_without_end_close_the_connection),
	    cmocka_unit_test(lost_framing_closes_the_connection),
	    cmocka_unit_test(a_malformed_message_that_keeps_framing_keeps_the_connection),
	    cmocka_unit_test(a_double_line_end_is_answered_with_one),
	    cmocka_unit_test(a_slow_reader_gets_everything_in_order),
	    cmocka_unit_test(who_never_reads_is_closed_at_the_limit),
	    cmocka_unit_test(who_does_not_take_answers_is_not_read_from),
	    cmocka_unit_test(half_a_message_is_not_blamed_for_our_pause),
	    cmocka_unit_test(output_that_does_not_move_ends_the_connection),
	    cmocka_unit_test(without_memory_a_message_is_whole_or_not_sent),
	    cmocka_unit_test(a_connection_whose_first_message_failed_is_not_left_behind),
	    cmocka_unit_test(a_connection_may_be_closed_while_its_messages_are_handed_up),
	    cmocka_unit_test(garbage_is_survived),
	    cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
