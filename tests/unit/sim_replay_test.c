/* The same seed does the same, to the byte and the microsecond, whatever is mixed: three hosts of two workers each that
 * talk over UDP and TCP, arm timers and post to each other, on a network that does its worst. */
#include "sim_helpers.h"

enum { HOSTS = 3, WORKERS = 2, ENVS = HOSTS * WORKERS, PORT = 5060 };

struct scene;

struct actor {
	struct node node;
	struct scene *scene;
	struct sh_timer timer;
	struct sh_udp *udp;
	struct sh_listener *listener;
	unsigned number, acts, posts, jobs;
	uint64_t digest; /* of all that it was told */
};

struct scene {
	struct sh_sim *sim;
	struct actor actors[ENVS];
	unsigned acts; /* left for all together */
	size_t in_flight;
};

static void digest(struct actor *a, const void *data, size_t len)
{
	static const struct sh_hash_key key = {{3, 4}};
	struct sh_slice parts[3] = {{(const char *)&a->digest, sizeof(a->digest)},
				    {(const char *)&a->node.env->now, sizeof(a->node.env->now)},
				    {data, len}};

	a->digest = sh_hash_slices(&key, parts, 3);
}

static void on_datagram(struct node *n, const struct datagram *d)
{
	struct actor *a = n->extra;

	digest(a, d->text, strlen(d->text));
	if (d->error == 0 && d->text[0] == '?') /* an answer, so that the end of a turn is mixed in too */
		n->env->driver->udp_send(n->env, a->udp, &d->local, &d->remote, "!", 1);
}

static void on_data(struct stream *st)
{
	struct actor *a = st->node->extra;

	digest(a, st->rx, st->rx_len);
	if (st->rx_len > 200 && sh_random_below(&a->node.env->random, 4) == 0)
		stream_close(st);
	else if (sh_random_below(&a->node.env->random, 8) == 0)
		stream_say(st, "an answer on the same connection");
}

static void on_accepted(struct stream *st)
{
	if (sh_random_below(&st->node->env->random, 4) == 0)
		stream_say(st, "welcome");
}

static void on_post(struct sh_env *env, void *arg)
{
	struct actor *a = env->events_ctx ? ((struct node *)env->events_ctx)->extra : NULL;

	digest(a, "post", 4);
	a->scene->in_flight--;
	(void)arg;
}

static void job_work(void *arg)
{
	((struct actor *)arg)->jobs++;
}

static void job_done(void *arg)
{
	digest(arg, "job", 3);
	((struct actor *)arg)->scene->in_flight--;
}

static void on_name(const struct sh_dns_answer *r, void *ctx)
{
	struct actor *a = ctx;

	digest(a, &r->error, sizeof(r->error));
}

static void host_ip(unsigned host, char *out)
{
	snprintf(out, 32, "192.0.2.%u", host + 1);
}

static struct stream *some_stream(struct actor *a)
{
	struct sh_random *r = &a->node.env->random;

	for (unsigned i = 0; i < 4 && a->node.stream_count > 0; i++) {
		struct stream *st = a->node.streams[sh_random_below(r, a->node.stream_count)];
		if (st->s)
			return st;
	}
	return NULL;
}

static void act_on_streams(struct actor *a, const char *ip, uint64_t what)
{
	struct stream *st = some_stream(a);
	char text[700];

	if (!st || what == 0) {
		if (a->node.stream_count >= NODE_STREAMS / 2)
			return;
		st = node_connect(&a->node, ip, PORT + (unsigned)(what & 1 && !st));
		st->on_data = on_data;
		return;
	}
	switch (what) {
	case 1:
		memset(text, (int)('a' + a->number), sizeof(text));
		stream_write(st, text, 1 + sh_random_below(&a->node.env->random, sizeof(text)));
		break;
	case 2:
		stream_read_enable(st, sh_random_below(&a->node.env->random, 3) > 0);
		break;
	case 3:
		stream_close(st);
		break;
	}
}

static void set_some_fault(struct actor *a, const char *ip)
{
	struct sh_random *r = &a->node.env->random;
	struct sh_addr to = addr(ip, sh_random_below(r, 2) ? PORT : 0);

	assert_int_equal(sh_sim_set_unreachable(a->scene->sim, &to,
						(unsigned)sh_random_below(r, 4) ? 0 : 1 << sh_random_below(r, 4)),
			 0);
}

static void on_timer(struct sh_timer *t)
{
	struct actor *a = SH_CONTAINER(t, struct actor, timer);
	struct sh_env *env = a->node.env;
	struct sh_random *r = &env->random;
	char ip[32];

	if (a->scene->acts == 0)
		return;
	a->scene->acts--;
	a->acts++;
	host_ip((unsigned)sh_random_below(r, HOSTS), ip);
	uint64_t what = sh_random_below(r, 12);
	if (what < 3)
		node_send(&a->node, a->udp, ip, sh_random_below(r, 8) ? PORT : PORT + 1, "?");
	else if (what < 5)
		node_send(&a->node, a->udp, ip, PORT, "told");
	else if (what < 9)
		act_on_streams(a, ip, what - 5);
	else if (what == 9) {
		if (env->driver->post(env, (unsigned)sh_random_below(r, WORKERS), on_post, a) == 0)
			a->scene->in_flight++;
	} else if (what == 10) {
		if (env->driver->background(env, job_work, job_done, a) == 0)
			a->scene->in_flight++;
		env->driver->query(env, sh_random_below(r, 2) ? SH_LIT("known.example") : SH_LIT("unknown"), SH_DNS_A,
				   on_name, a);
	} else if (sh_random_below(r, 10) == 0) {
		set_some_fault(a, ip);
	}
	sh_env_timer(env, t, sh_random_below(r, 20 * SH_MS));
}

static void actor_init(struct scene *s, unsigned i)
{
	struct actor *a = &s->actors[i];
	struct sh_addr any = addr("0.0.0.0", PORT), bound, host;
	char ip[32];

	a->scene = s;
	a->number = i;
	node_init(&a->node, s->sim, i % WORKERS, WORKERS);
	a->node.extra = a;
	a->node.on_datagram = on_datagram;
	a->node.on_data = on_data;
	a->node.on_accepted = on_accepted;
	if (i % WORKERS == 0) {
		host_ip(i / WORKERS, ip);
		host = addr(ip, 0);
		assert_int_equal(sh_sim_host_add_addr(a->node.env, &host), 0);
	}
	assert_int_equal(a->node.env->driver->udp_open(a->node.env, &any, &a->node, &a->udp, &bound), 0);
	assert_int_equal(a->node.env->driver->listen(a->node.env, &any, &a->node, &a->listener, &bound), 0);
	sh_timer_init(&a->timer, on_timer);
	sh_env_timer(a->node.env, &a->timer, i);
}

struct outcome {
	uint64_t trace, told, now;
	size_t datagrams, streams, acts;
};

static void play(struct outcome *out, const struct sh_sim_options *o, unsigned acts, bool tidy)
{
	struct scene s = {.acts = acts};
	struct sh_addr known = addr("192.0.2.1", 0);

	memset(out, 0, sizeof(*out));
	s.sim = sim_with(o);
	assert_int_equal(sh_sim_add_name(s.sim, "known.example", &known, 1), 0);
	for (unsigned i = 0; i < ENVS; i++)
		actor_init(&s, i);
	sh_sim_advance(s.sim, 2 * SH_SECOND);
	out->trace = sh_sim_trace_hash(s.sim);
	out->now = sh_sim_now(s.sim);
	for (unsigned i = 0; i < ENVS; i++) {
		out->told = out->told * 31 + s.actors[i].digest;
		out->datagrams += s.actors[i].node.count;
		out->streams += s.actors[i].node.stream_count;
		out->acts += s.actors[i].acts;
	}
	for (unsigned i = 0; i < ENVS && tidy; i++) {
		struct actor *a = &s.actors[i];
		sh_sim_env_stop(a->node.env);
		for (size_t j = 0; j < a->node.stream_count; j++)
			stream_close(a->node.streams[j]);
		a->node.env->driver->udp_close(a->node.env, a->udp);
		a->node.env->driver->listen_close(a->node.env, a->listener);
		assert_int_equal(sh_sim_open_handles(a->node.env), 0);
	}
	sh_sim_destroy(s.sim);
	assert_int_equal(s.in_flight, 0); /* every job and post was called exactly once */
	for (unsigned i = 0; i < ENVS; i++)
		node_finish(&s.actors[i].node);
}

static struct sh_sim_options rough(uint64_t seed)
{
	return (struct sh_sim_options){
	    .seed = seed,
	    .loss = 0.1,
	    .duplicate = 0.1,
	    .reorder = 0.1,
	    .delay_min = 100,
	    .delay_max = 15 * SH_MS,
	    .chunks = (enum sh_sim_chunks)(seed % 3),
	    .window = seed % 2 ? 0 : 300,
	    .post_ring = seed % 5 ? 0 : 2,
	};
}

static uint64_t running_seed; /* a test that fails leaves it behind */

static int tell_seed(void **state)
{
	(void)state;
	if (running_seed)
		print_error("seed %lu\n", (unsigned long)running_seed);
	running_seed = 0;
	return 0;
}

static void the_same_seed_does_the_same_and_another_one_does_not(void **state)
{
	struct outcome first, again, before = {0};
	(void)state;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct sh_sim_options o = rough(seed);
		running_seed = seed;
		play(&first, &o, 600, true);
		play(&again, &o, 600, false);
		assert_memory_equal(&first, &again, sizeof(first));
		assert_int_equal(first.acts, 600);
		assert_true(first.datagrams > 100); /* the scene did something */
		assert_true(first.streams > 20);
		assert_true(first.trace != before.trace && first.told != before.told);
		before = first;
	}
	running_seed = 0;
}

static void two_hundred_seeds_end_well(void **state)
{
	struct outcome out;
	(void)state;

	for (uint64_t seed = 1000; seed < 1200; seed++) {
		struct sh_sim_options o = rough(seed);
		o.loss = (double)(seed % 7) / 10;
		o.duplicate = (double)(seed % 4) / 4;
		o.reorder = (double)(seed % 3) / 3;
		running_seed = seed;
		play(&out, &o, 300, seed % 2);
		assert_int_equal(out.acts, 300);
	}
	running_seed = 0;
}

struct tally {
	size_t kinds[SH_SIM_CLOSED + 1], bytes;
	uint64_t last;
	bool stream;
};

static void count_record(const struct sh_sim_record *r, void *ctx)
{
	struct tally *t = ctx;

	t->kinds[r->what]++;
	assert_true(r->time >= t->last);
	t->last = r->time;
	t->stream = r->stream;
	if (r->what == SH_SIM_DELIVERED)
		t->bytes += r->data.len;
}

static void the_trace_tells_what_happened(void **state)
{
	struct sh_sim *sim = sim_with(&(struct sh_sim_options){.seed = 4, .duplicate = 1});
	struct tally t = {0};
	struct node a, b;
	(void)state;

	node_init(&a, sim, 0, 1);
	node_init(&b, sim, 0, 1);
	sh_sim_set_trace(sim, count_record, &t);
	struct sh_udp *u = node_udp(&a, "10.1.0.1", 5060);
	node_udp(&b, "10.1.0.2", 5060);
	node_listen(&b, "10.1.0.2", 5060);
	uint64_t hash = sh_sim_trace_hash(sim);
	node_send(&a, u, "10.1.0.2", 5060, "1234");
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(t.kinds[SH_SIM_SENT], 1);
	assert_int_equal(t.kinds[SH_SIM_DUPLICATED], 1);
	assert_int_equal(t.kinds[SH_SIM_DELIVERED], 2);
	assert_int_equal(t.bytes, 8);
	assert_false(t.stream);
	assert_true(sh_sim_trace_hash(sim) != hash);

	struct stream *st = node_connect(&a, "10.1.0.2", 5060);
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(t.kinds[SH_SIM_OPENED], 1);
	assert_true(t.stream);
	stream_say(st, "12345");
	stream_close(st);
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(t.bytes, 13);
	assert_int_equal(t.kinds[SH_SIM_CLOSED], 1);
	node_send(&a, u, "10.1.0.2", 6000, "nobody");
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(t.kinds[SH_SIM_DROPPED], 2); /* the copy too */
	node_send(&a, u, "10.1.0.2", 5060, "on the way at the end");
	sh_sim_set_trace(sim, count_record, NULL); /* whoever was asked for it is gone when the simulation ends */
	sh_sim_destroy(sim);
	node_finish(&a);
	node_finish(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_teardown(the_same_seed_does_the_same_and_another_one_does_not, tell_seed),
	    cmocka_unit_test_teardown(two_hundred_seeds_end_well, tell_seed),
	    cmocka_unit_test(the_trace_tells_what_happened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
