/* Streams on the virtual network: nothing is lost or out of order, every end is told exactly once that it is over. */
#include "sim_helpers.h"

static const struct sh_sim_options calm = {.seed = 1, .delay_min = 5 * SH_MS, .delay_max = 20 * SH_MS};

/* A client c on one host, a server s with a listener at 10.1.0.2:5060 on another, and a connection between them. */
struct world {
	struct sh_sim *sim;
	struct node c, s;
	struct sh_listener *l;
	struct stream *client, *server;
};

static void world_listen(struct world *w, const struct sh_sim_options *o)
{
	memset(w, 0, sizeof(*w));
	w->sim = sim_with(o);
	node_init(&w->c, w->sim, 0, 1);
	node_init(&w->s, w->sim, 0, 1);
	w->l = node_listen(&w->s, "10.1.0.2", 5060);
}

static void idle(struct world *w)
{
	assert_true(sh_sim_run_idle(w->sim, 1000 * SH_SECOND));
}

static void world_connect(struct world *w, const struct sh_sim_options *o)
{
	world_listen(w, o);
	w->client = node_connect(&w->c, "10.1.0.2", 5060);
	idle(w);
	assert_int_equal(w->client->connected, 1);
	assert_int_equal(w->s.stream_count, 1);
	w->server = w->s.streams[0];
}

static void world_finish(struct world *w)
{
	sh_sim_destroy(w->sim);
	node_finish(&w->c);
	node_finish(&w->s);
}

/* ---- beginnings ---- */

static void a_connection_is_accepted_and_carries_both_ways(void **state)
{
	struct world w;
	(void)state;

	world_listen(&w, &calm);
	w.client = node_connect(&w.c, "10.1.0.2", 5060);
	assert_int_equal(w.client->connected, 0); /* not from inside the operation */
	idle(&w);
	w.server = w.s.streams[0];
	assert_int_equal(w.client->connected, 1);
	assert_true(w.client->connected_at >= w.server->connected_at + 5 * SH_MS);
	assert_addr(&w.server->local, "10.1.0.2", 5060);
	assert_addr(&w.client->local, "10.0.0.1", w.client->local.port); /* the automatic address of the first host */
	assert_true(w.client->local.port >= 49152);
	assert_true(sh_addr_eq(&w.server->remote, &w.client->local));
	assert_int_equal(stream_say(w.client, "ping"), 4);
	assert_int_equal(stream_say(w.server, "pong"), 4);
	idle(&w);
	assert_true(stream_got(w.server, "ping"));
	assert_true(stream_got(w.client, "pong"));
	assert_int_equal(sh_sim_open_handles(w.c.env), 1);
	assert_int_equal(sh_sim_open_handles(w.s.env), 2);
	world_finish(&w);
}

static void a_connection_may_choose_its_own_address(void **state)
{
	struct world w;
	struct sh_addr local = addr("10.1.0.9", 4444), any = addr("0.0.0.0", 4445), six = addr("::1", 0);
	struct sh_addr to = addr("10.1.0.2", 5060), no_port = addr("10.1.0.2", 0);
	struct stream *other;
	(void)state;

	world_listen(&w, &calm);
	const struct sh_driver *d = w.c.env->driver;
	w.client = stream_new(&w.c);
	other = stream_new(&w.c);
	assert_int_equal(d->connect(w.c.env, &local, &to, w.client, &w.client->s), 0);
	assert_int_equal(d->connect(w.c.env, &any, &to, other, &other->s), 0);
	idle(&w);
	assert_addr(&w.client->local, "10.1.0.9", 4444);
	assert_addr(&other->local, "10.0.0.1", 4445);
	assert_int_equal(d->connect(w.c.env, &six, &to, other, &other->s), -EAFNOSUPPORT);
	assert_int_equal(d->connect(w.c.env, NULL, &no_port, other, &other->s), -EINVAL);
	world_finish(&w);
}

static void nobody_listening_is_refused_after_a_round_trip(void **state)
{
	struct world w;
	struct sh_addr whole = addr("10.1.0.2", 0);
	(void)state;

	world_listen(&w, &calm);
	struct stream *wrong_port = node_connect(&w.c, "10.1.0.2", 5061);
	struct stream *wrong_host = node_connect(&w.c, "10.9.9.9", 5060);
	idle(&w);
	assert_int_equal(wrong_port->error, -ECONNREFUSED);
	assert_int_equal(wrong_host->error, -ECONNREFUSED);
	assert_int_equal(wrong_port->connected, 0);
	assert_true(wrong_port->closed_at >= SH_SECOND + 10 * SH_MS);

	assert_int_equal(sh_sim_set_unreachable(w.sim, &whole, SH_SIM_TCP_REFUSED), 0);
	struct stream *faulty = node_connect(&w.c, "10.1.0.2", 5060);
	idle(&w);
	assert_int_equal(faulty->error, -ECONNREFUSED);
	assert_int_equal(sh_sim_set_unreachable(w.sim, &whole, 0), 0);
	w.client = node_connect(&w.c, "10.1.0.2", 5060);
	idle(&w);
	assert_int_equal(w.client->connected, 1);

	w.s.env->driver->listen_close(w.s.env, w.l);
	struct stream *late = node_connect(&w.c, "10.1.0.2", 5060);
	idle(&w);
	assert_int_equal(late->error, -ECONNREFUSED);
	assert_int_equal(w.client->closed, 0); /* what was accepted lives on */
	assert_int_equal(sh_sim_open_handles(w.s.env), 1);
	world_finish(&w);
}

static void an_unreachable_address_times_out(void **state)
{
	struct world w;
	struct sh_addr to = addr("10.1.0.2", 5060);
	(void)state;

	world_listen(&w, &calm);
	assert_int_equal(sh_sim_set_unreachable(w.sim, &to, SH_SIM_TCP_SILENT), 0);
	w.client = node_connect(&w.c, "10.1.0.2", 5060);
	struct stream *impatient = node_connect(&w.c, "10.1.0.2", 5060);
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND)); /* nothing is under way */
	stream_close(impatient);
	sh_sim_advance(w.sim, 126 * SH_SECOND);
	assert_int_equal(w.client->closed, 0);
	sh_sim_advance(w.sim, 2 * SH_SECOND);
	assert_int_equal(w.client->closed, 1);
	assert_int_equal(w.client->error, -ETIMEDOUT);
	assert_int_equal(w.client->connected, 0);
	assert_int_equal(impatient->closed, 0);
	assert_int_equal(sh_sim_open_handles(w.c.env), 0);
	world_finish(&w);
}

static void a_refusal_by_the_user_closes_what_was_connected(void **state)
{
	(void)state;

	for (int i = 0; i < 2; i++) {
		struct world w;
		world_listen(&w, &calm);
		w.s.refuse = i == 0;
		w.s.close_and_refuse = i == 1;
		w.client = node_connect(&w.c, "10.1.0.2", 5060);
		idle(&w);
		assert_int_equal(w.client->connected, 1);
		assert_int_equal(w.client->closed, 1);
		assert_int_equal(w.client->error, 0);
		assert_int_equal(sh_sim_open_handles(w.s.env), 1); /* the listener */
		world_finish(&w);
	}
}

static void a_client_that_gives_up_is_never_accepted_or_soon_reset(void **state)
{
	struct world w;
	(void)state;

	world_listen(&w, &calm);
	w.client = node_connect(&w.c, "10.1.0.2", 5060);
	stream_close(w.client);
	idle(&w);
	assert_int_equal(w.s.stream_count, 0);

	w.client = node_connect(&w.c, "10.1.0.2", 5060);
	while (w.s.stream_count == 0)
		assert_true(sh_sim_step(w.sim));
	stream_close(w.client); /* the server has accepted already */
	idle(&w);
	assert_int_equal(w.s.streams[0]->closed, 1);
	assert_int_equal(w.s.streams[0]->error, -ECONNRESET);
	assert_int_equal(sh_sim_open_handles(w.c.env), 0);
	world_finish(&w);
}

static void what_is_written_before_the_connection_waits_for_writable(void **state)
{
	struct world w;
	(void)state;

	world_listen(&w, &calm);
	w.client = node_connect(&w.c, "10.1.0.2", 5060);
	assert_int_equal(stream_say(w.client, "early"), 0);
	idle(&w);
	assert_int_equal(w.client->connected, 1);
	assert_int_equal(w.client->writable, 1);
	assert_int_equal(stream_say(w.client, "now"), 3);
	idle(&w);
	assert_int_equal(w.client->writable, 1); /* a full write asks for nothing */
	assert_true(stream_got(w.s.streams[0], "now"));
	world_finish(&w);
}

static void workers_share_a_listener_and_each_connection_has_one(void **state)
{
	enum { WORKERS = 3, COUNT = 60 };
	struct sh_sim *sim = calm_sim(2);
	struct node w[WORKERS], c;
	size_t total = 0;
	(void)state;

	for (unsigned i = 0; i < WORKERS; i++) {
		node_init(&w[i], sim, i, WORKERS);
		node_listen(&w[i], "0.0.0.0", 5060);
	}
	node_init(&c, sim, 0, 1);
	for (unsigned i = 0; i < COUNT; i++)
		node_connect(&c, "10.0.0.1", 5060);
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	for (unsigned i = 0; i < WORKERS; i++) {
		assert_true(w[i].stream_count > 5);
		total += w[i].stream_count;
	}
	assert_int_equal(total, COUNT);
	sh_sim_destroy(sim);
	for (unsigned i = 0; i < WORKERS; i++)
		node_finish(&w[i]);
	node_finish(&c);
}

/* ---- data ---- */

static char pattern_at(size_t i)
{
	return (char)(i * 7 + i / 251);
}

static void assert_pattern(const struct stream *st, size_t len)
{
	assert_int_equal(st->rx_len, len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(st->rx[i], pattern_at(i));
}

/* Writes `left` bytes of the pattern as fast as it may. */
struct pump {
	size_t sent, total, refused;
};

static void pump(struct stream *st)
{
	struct pump *p = st->extra;
	char part[5000];

	while (p->sent < p->total) {
		size_t want = p->total - p->sent < sizeof(part) ? p->total - p->sent : sizeof(part);
		for (size_t i = 0; i < want; i++)
			part[i] = pattern_at(p->sent + i);
		ssize_t n = stream_write(st, part, want);
		assert_true(n >= 0 && n <= (ssize_t)want);
		p->sent += (size_t)n;
		if (n < (ssize_t)want) {
			p->refused++;
			return;
		}
	}
}

static void start_pump(struct stream *st, struct pump *p, size_t total)
{
	*p = (struct pump){.total = total};
	st->extra = p;
	st->on_writable = pump;
	pump(st);
}

static void chunks_are_whole_random_or_single_bytes(void **state)
{
	enum { SIZE = 3000 };
	(void)state;

#ifdef SH_TORTURE
	skip(); /* there, all streams come in single bytes */
#endif
	for (int chunks = SH_SIM_CHUNKS_WHOLE; chunks <= SH_SIM_CHUNKS_BYTE; chunks++) {
		struct world w;
		struct pump p;
		struct sh_sim_options o = calm;
		o.chunks = (enum sh_sim_chunks)chunks;
		world_connect(&w, &o);
		start_pump(w.client, &p, SIZE);
		idle(&w);
		assert_pattern(w.server, SIZE);
		if (chunks == SH_SIM_CHUNKS_WHOLE)
			assert_int_equal(w.server->chunks, 1);
		else if (chunks == SH_SIM_CHUNKS_BYTE)
			assert_int_equal(w.server->chunks, SIZE);
		else
			assert_true(w.server->chunks > 1 && w.server->chunks < SIZE && w.server->longest > 1);
		world_finish(&w);
	}
}

static void a_full_window_takes_less_and_says_when_there_is_room(void **state)
{
	enum { SIZE = 300000 };
	(void)state;

	for (uint64_t seed = 0; seed < 6; seed++) {
		struct world w;
		struct pump p;
		struct sh_sim_options o = calm;
		o.seed = seed;
		o.window = 1000 + 777 * seed;
		o.chunks = seed % 2 ? SH_SIM_CHUNKS_RANDOM : SH_SIM_CHUNKS_WHOLE;
		o.loss = seed >= 4 ? 0.1 : 0;
		world_connect(&w, &o);
		start_pump(w.client, &p, SIZE);
		assert_int_equal(p.sent, o.window);
		idle(&w);
		assert_pattern(w.server, SIZE);
		assert_true(p.refused >= SIZE / o.window - 1);
		assert_true(w.server->longest <= o.window);
		assert_int_equal(w.client->writable, p.refused);
		world_finish(&w);
	}
}

static void who_does_not_read_stops_the_writer(void **state)
{
	enum { SIZE = 10000 };
	struct world w;
	struct pump p;
	struct sh_sim_options o = calm;
	(void)state;

	o.window = 4000;
	world_connect(&w, &o);
	stream_read_enable(w.server, false);
	start_pump(w.client, &p, SIZE);
	idle(&w);
	assert_int_equal(w.server->rx_len, 0);
	assert_int_equal(p.sent, 4000);
	assert_int_equal(w.client->writable, 0);
	stream_read_enable(w.server, true);
	assert_int_equal(w.server->rx_len, 0); /* not from inside the operation */
	idle(&w);
	assert_pattern(w.server, SIZE);
	world_finish(&w);
}

static void pause_at_ten(struct stream *st)
{
	if (st->rx_len == 10)
		stream_read_enable(st, false);
}

static void reading_can_be_stopped_from_inside_a_chunk(void **state)
{
	struct world w;
	struct sh_sim_options o = calm;
	(void)state;

	o.chunks = SH_SIM_CHUNKS_BYTE;
	world_connect(&w, &o);
	w.server->on_data = pause_at_ten;
	assert_int_equal(stream_say(w.client, "0123456789abcdef"), 16);
	idle(&w);
	assert_int_equal(w.server->rx_len, 10);
	stream_read_enable(w.server, true);
	idle(&w);
	assert_true(stream_got(w.server, "0123456789abcdef"));
	world_finish(&w);
}

static void lost_segments_come_later_in_order(void **state)
{
	enum { SIZE = 60000 };
	(void)state;

	for (uint64_t seed = 0; seed < 10; seed++) {
		struct world w;
		struct pump up, down;
		struct sh_sim_options o = calm;
		o.seed = seed;
		o.loss = 0.3;
		o.chunks = SH_SIM_CHUNKS_RANDOM;
		o.window = 3000;
		world_connect(&w, &o);
		start_pump(w.client, &up, SIZE);
		start_pump(w.server, &down, SIZE);
		idle(&w);
		assert_pattern(w.server, SIZE);
		assert_pattern(w.client, SIZE);
		assert_true(sh_sim_now(w.sim) > 2 * SH_SECOND); /* the retransmissions took their time */
		world_finish(&w);
	}
}

/* ---- ends ---- */

static void a_close_comes_behind_the_data(void **state)
{
	(void)state;

	for (int i = 0; i < 2; i++) {
		struct world w;
		struct sh_sim_options o = calm;
		o.chunks = SH_SIM_CHUNKS_BYTE;
		world_connect(&w, &o);
		struct stream *from = i ? w.server : w.client, *to = i ? w.client : w.server;
		assert_int_equal(stream_say(from, "last words"), 10);
		stream_close(from);
		assert_int_equal(to->closed, 0);
		idle(&w);
		assert_true(stream_got(to, "last words"));
		assert_int_equal(to->closed, 1);
		assert_int_equal(to->error, 0);
		assert_int_equal(from->closed, 0); /* nothing follows one's own close */
		assert_int_equal(sh_sim_open_handles(w.c.env), 0);
		assert_int_equal(sh_sim_open_handles(w.s.env), 1);
		world_finish(&w);
	}
}

static void an_orderly_end_waits_for_who_does_not_read(void **state)
{
	struct world w;
	(void)state;

	world_connect(&w, &calm);
	stream_read_enable(w.server, false);
	assert_int_equal(stream_say(w.client, "bye"), 3);
	stream_close(w.client);
	idle(&w);
	assert_int_equal(w.server->closed, 0);
	stream_read_enable(w.server, true);
	idle(&w);
	assert_true(stream_got(w.server, "bye"));
	assert_int_equal(w.server->closed, 1);
	assert_int_equal(w.server->error, 0);
	world_finish(&w);
}

static void closing_with_unread_bytes_resets(void **state)
{
	struct world w;
	(void)state;

	world_connect(&w, &calm);
	stream_read_enable(w.server, false);
	assert_int_equal(stream_say(w.client, "unread"), 6);
	idle(&w);
	stream_close(w.server);
	idle(&w);
	assert_int_equal(w.client->closed, 1);
	assert_int_equal(w.client->error, -ECONNRESET);
	world_finish(&w);
}

static void both_may_close_at_once(void **state)
{
	struct world w;
	(void)state;

	world_connect(&w, &calm);
	stream_say(w.client, "crossing");
	stream_say(w.server, "crossing");
	stream_close(w.client);
	stream_close(w.server);
	idle(&w);
	assert_int_equal(w.client->closed + w.server->closed, 0);
	assert_int_equal(sh_sim_open_handles(w.c.env), 0);
	world_finish(&w);
}

static void bytes_for_who_has_closed_bring_a_reset(void **state)
{
	struct world w;
	(void)state;

	/* The reader hears of the orderly end first: the reset does not overtake it. */
	for (uint64_t seed = 0; seed < 50; seed++) {
		struct sh_sim_options o = {.seed = seed, .delay_min = 1, .delay_max = 500 * SH_MS};
		world_connect(&w, &o);
		stream_say(w.client, "in flight");
		stream_say(w.server, "last words");
		stream_close(w.server);
		idle(&w);
		assert_true(stream_got(w.client, "last words"));
		assert_int_equal(w.client->closed, 1);
		assert_int_equal(w.client->error, 0);
		world_finish(&w);
	}

	/* Who does not read hears of the reset, and what he had not read is gone. */
	world_connect(&w, &calm);
	stream_read_enable(w.client, false);
	stream_say(w.server, "never read");
	stream_close(w.server);
	idle(&w);
	assert_int_equal(w.client->closed, 0);
	assert_int_equal(stream_say(w.client, "after the end"), 13); /* the kernel does not know yet */
	idle(&w);
	assert_int_equal(w.client->closed, 1);
	assert_int_equal(w.client->error, -ECONNRESET);
	assert_int_equal(w.client->rx_len, 0);
	world_finish(&w);
}

static void close_now(struct stream *st)
{
	stream_close(st);
}

static void a_stream_may_be_closed_from_inside_its_events(void **state)
{
	(void)state;

	for (int i = 0; i < 3; i++) {
		struct world w;
		struct sh_sim_options o = calm;
		o.chunks = SH_SIM_CHUNKS_BYTE;
		o.window = 4;
		world_listen(&w, &o);
		if (i == 0)
			w.s.on_accepted = close_now;
		else if (i == 1)
			w.s.on_data = close_now;
		w.client = node_connect(&w.c, "10.1.0.2", 5060);
		if (i == 2)
			w.client->on_writable = close_now;
		assert_int_equal(stream_say(w.client, "early"), 0);
		idle(&w);
		if (i == 1) {
			stream_say(w.client, "12345678");
			idle(&w);
			assert_int_equal(w.s.streams[0]->rx_len, 1);
		}
		if (i < 2) {
			assert_int_equal(w.client->closed, 1);
			assert_int_equal(w.client->error, i == 1 ? -ECONNRESET : 0);
		} else {
			assert_int_equal(w.s.streams[0]->closed, 1);
		}
		assert_int_equal(sh_sim_open_handles(w.c.env), 0);
		world_finish(&w);
	}
}

static void a_peer_that_vanished_is_noticed_by_the_writer_only(void **state)
{
	struct world w;
	struct sh_addr server = addr("10.1.0.2", 0);
	(void)state;

	world_connect(&w, &calm);
	assert_int_equal(sh_sim_set_unreachable(w.sim, &server, SH_SIM_TCP_SILENT), 0);
	assert_int_equal(stream_say(w.client, "into the void"), 13);
	assert_int_equal(sh_sim_set_unreachable(w.sim, &server, 0), 0);
	assert_int_equal(stream_say(w.client, "behind the hole"), 15);
	stream_say(w.server, "the other way works");
	sh_sim_advance(w.sim, 60 * SH_SECOND);
	assert_int_equal(w.client->closed, 0);
	assert_true(stream_got(w.client, "the other way works"));
	sh_sim_advance(w.sim, 60 * SH_SECOND);
	assert_int_equal(w.client->error, -ETIMEDOUT);
	assert_int_equal(w.server->closed, 0);
	assert_int_equal(w.server->rx_len, 0); /* never bytes behind a hole */

	/* The half that is left learns of it when it writes. */
	assert_int_equal(stream_say(w.server, "are you there?"), 14);
	idle(&w);
	assert_int_equal(w.server->closed, 1);
	assert_int_equal(w.server->error, -ECONNRESET);
	world_finish(&w);
}

static void a_close_that_gets_lost_leaves_the_other_half_open(void **state)
{
	struct world w;
	struct sh_addr server = addr("10.1.0.2", 5060);
	(void)state;

	world_connect(&w, &calm);
	assert_int_equal(sh_sim_set_unreachable(w.sim, &server, SH_SIM_TCP_SILENT), 0);
	stream_close(w.client);
	sh_sim_advance(w.sim, 3600 * SH_SECOND);
	assert_int_equal(w.server->closed, 0);
	assert_int_equal(stream_say(w.server, "?"), 1);
	idle(&w);
	assert_int_equal(w.server->error, -ECONNRESET);
	world_finish(&w);
}

static void a_stopped_worker_is_a_hung_process(void **state)
{
	struct world w;
	(void)state;

	world_connect(&w, &calm);
	sh_sim_env_stop(w.s.env);
	assert_int_equal(stream_say(w.client, "hello?"), 6);
	struct stream *another = node_connect(&w.c, "10.1.0.2", 5060);
	idle(&w);
	assert_int_equal(w.server->rx_len, 0);
	assert_int_equal(w.client->closed, 0);
	assert_int_equal(another->error, -ECONNREFUSED);
	stream_close(w.server); /* the process ends: it had not read */
	w.s.env->driver->listen_close(w.s.env, w.l);
	idle(&w);
	assert_int_equal(w.client->error, -ECONNRESET);
	assert_int_equal(sh_sim_open_handles(w.s.env), 0);
	world_finish(&w);
}

static void what_nobody_closed_is_freed_with_the_simulation(void **state)
{
	(void)state;

	for (unsigned steps = 0; steps < 12; steps++) {
		struct world w;
		struct pump p;
		struct sh_sim_options o = calm;
		o.window = 500;
		world_listen(&w, &o);
		w.client = node_connect(&w.c, "10.1.0.2", 5060);
		for (unsigned i = 0; i < steps && sh_sim_step(w.sim); i++) {
			if (w.client->connected && !w.client->extra)
				start_pump(w.client, &p, 5000);
		}
		world_finish(&w);
	}
}

/* ---- memory ---- */

static void memory_that_is_out_is_an_answer(void **state)
{
	bool reached_the_end = false;
	(void)state;

	for (long skip = 0; skip < 200 && !reached_the_end; skip++) {
		struct sh_sim *sim = calm_sim(1);
		struct node c, s;
		struct sh_addr place = addr("10.1.0.2", 5060), bound;
		struct sh_listener *l = NULL;
		int err;

		node_init(&c, sim, 0, 1);
		node_init(&s, sim, 0, 1);
		struct stream *st = stream_new(&c);
		sh_alloc_fail_after(skip);
		err = s.env->driver->listen(s.env, &place, &s, &l, &bound);
		assert_true(err == 0 || err == -ENOMEM);
		err = c.env->driver->connect(c.env, NULL, &place, st, &st->s);
		assert_true(err == 0 || err == -ENOMEM);
		if (err == 0) {
			assert_true(sh_sim_run_idle(sim, SH_SECOND));
			assert_true(st->connected || st->error == -ECONNREFUSED);
			if (st->connected) {
				assert_int_equal(stream_say(st, "hello"), 5);
				assert_true(sh_sim_run_idle(sim, SH_SECOND));
				assert_true(stream_got(s.streams[0], "hello"));
				reached_the_end = sh_alloc_count() <= skip;
			}
		}
		sh_alloc_fail_after(-1);
		sh_sim_destroy(sim);
		node_finish(&c);
		node_finish(&s);
	}
	assert_true(reached_the_end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_connection_is_accepted_and_carries_both_ways),
	    cmocka_unit_test(a_connection_may_choose_its_own_address),
	    cmocka_unit_test(nobody_listening_is_refused_after_a_round_trip),
	    cmocka_unit_test(an_unreachable_address_times_out),
	    cmocka_unit_test(a_refusal_by_the_user_closes_what_was_connected),
	    cmocka_unit_test(a_client_that_gives_up_is_never_accepted_or_soon_reset),
	    cmocka_unit_test(what_is_written_before_the_connection_waits_for_writable),
	    cmocka_unit_test(workers_share_a_listener_and_each_connection_has_one),
	    cmocka_unit_test(chunks_are_whole_random_or_single_bytes),
	    cmocka_unit_test(a_full_window_takes_less_and_says_when_there_is_room),
	    cmocka_unit_test(who_does_not_read_stops_the_writer),
	    cmocka_unit_test(reading_can_be_stopped_from_inside_a_chunk),
	    cmocka_unit_test(lost_segments_come_later_in_order),
	    cmocka_unit_test(a_close_comes_behind_the_data),
	    cmocka_unit_test(an_orderly_end_waits_for_who_does_not_read),
	    cmocka_unit_test(closing_with_unread_bytes_resets),
	    cmocka_unit_test(both_may_close_at_once),
	    cmocka_unit_test(bytes_for_who_has_closed_bring_a_reset),
	    cmocka_unit_test(a_stream_may_be_closed_from_inside_its_events),
	    cmocka_unit_test(a_peer_that_vanished_is_noticed_by_the_writer_only),
	    cmocka_unit_test(a_close_that_gets_lost_leaves_the_other_half_open),
	    cmocka_unit_test(a_stopped_worker_is_a_hung_process),
	    cmocka_unit_test(what_nobody_closed_is_freed_with_the_simulation),
	    cmocka_unit_test(memory_that_is_out_is_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
