/* Datagrams on the virtual network: who gets them, how many are lost, doubled and overtaken, and what comes back. */
#include "sim_helpers.h"

struct world {
	struct sh_sim *sim;
	struct node a, b;
	struct sh_udp *ua, *ub;
};

/* a is 10.1.0.1:5060, b is 10.1.0.2:5060. */
static void world_init(struct world *w, const struct sh_sim_options *o)
{
	w->sim = sim_with(o);
	node_init(&w->a, w->sim, 0, 1);
	node_init(&w->b, w->sim, 0, 1);
	w->ua = node_udp(&w->a, "10.1.0.1", 5060);
	w->ub = node_udp(&w->b, "10.1.0.2", 5060);
}

static void world_finish(struct world *w)
{
	sh_sim_destroy(w->sim);
	node_finish(&w->a);
	node_finish(&w->b);
}

static const struct sh_sim_options calm = {.seed = 1, .delay_min = 5 * SH_MS, .delay_max = 20 * SH_MS};

/* "0", "1" ... from a to b, then all that is under way arrives. */
static void send_numbers(struct world *w, unsigned count)
{
	char text[16];

	for (unsigned i = 0; i < count; i++) {
		snprintf(text, sizeof(text), "%u", i);
		node_send(&w->a, w->ua, "10.1.0.2", 5060, text);
		sh_sim_advance(w->sim, 1 * SH_MS);
	}
	assert_true(sh_sim_run_idle(w->sim, 10 * SH_SECOND));
}

/* How often each number came, and how many came behind a larger one (the first time only). */
static unsigned count_late(const struct node *n, unsigned *seen, unsigned count)
{
	unsigned late = 0;
	long largest = -1;

	memset(seen, 0, count * sizeof(*seen));
	for (size_t i = 0; i < n->count; i++) {
		long number = atol(n->datagrams[i].text);
		assert_true(number >= 0 && number < (long)count);
		if (seen[number]++ == 0 && number < largest)
			late++;
		if (number > largest)
			largest = number;
	}
	return late;
}

static void a_datagram_arrives_with_both_addresses_after_the_delay(void **state)
{
	struct world w;
	const struct datagram *d;
	(void)state;

	world_init(&w, &calm);
	assert_int_equal(sh_sim_now(w.sim), SH_SECOND);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "hello");
	assert_int_equal(w.b.count, 0); /* nothing happens inside an operation */
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 1);
	d = &w.b.datagrams[0];
	assert_string_equal(d->text, "hello");
	assert_addr(&d->local, "10.1.0.2", 5060);
	assert_addr(&d->remote, "10.1.0.1", 5060);
	assert_ptr_equal(d->user, &w.b);
	assert_true(d->at >= SH_SECOND + 5 * SH_MS && d->at <= SH_SECOND + 20 * SH_MS);
	assert_int_equal(w.b.turns, 1);
	assert_int_equal(w.a.count, 0);
	world_finish(&w);
}

static void empty_and_largest_datagrams_pass_and_larger_ones_vanish(void **state)
{
	struct world w;
	struct sh_addr to = addr("10.1.0.2", 5060);
	char *large = malloc(65508);
	(void)state;

	assert_non_null(large);
	memset(large, 'l', 65508);
	world_init(&w, &calm);
	w.a.env->driver->udp_send(w.a.env, w.ua, NULL, &to, NULL, 0);
	w.a.env->driver->udp_send(w.a.env, w.ua, NULL, &to, large, 65507);
	w.a.env->driver->udp_send(w.a.env, w.ua, NULL, &to, large, 65508);
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 2);
	assert_int_equal(w.b.datagrams[0].len, 0);
	assert_int_equal(w.b.datagrams[1].len, 65507);
	world_finish(&w);
	free(large);
}

static void order_is_kept_from_host_to_host(void **state)
{
	struct world w;
	unsigned seen[1000];
	(void)state;

	for (uint64_t seed = 0; seed < 5; seed++) {
		struct sh_sim_options o = {.seed = seed, .delay_min = 1, .delay_max = 50 * SH_MS, .duplicate = 0.2};
		world_init(&w, &o);
		send_numbers(&w, 1000);
		assert_int_equal(count_late(&w.b, seen, 1000), 0);
		for (unsigned i = 0; i < 1000; i++)
			assert_true(seen[i] == 1 || seen[i] == 2);
		assert_true(w.b.count > 1100 && w.b.count < 1300);
		world_finish(&w);
	}
}

static void a_duplicate_never_comes_before_its_original(void **state)
{
	struct world w;
	struct sh_sim_options o = {.seed = 5, .delay_min = 1, .delay_max = 100 * SH_MS, .duplicate = 1};
	unsigned seen[500];
	(void)state;

	world_init(&w, &o);
	send_numbers(&w, 500);
	assert_int_equal(w.b.count, 1000);
	assert_int_equal(count_late(&w.b, seen, 500), 0);
	world_finish(&w);
}

static void loss_comes_at_the_rate_that_was_asked_for(void **state)
{
	struct world w;
	(void)state;

	for (uint64_t seed = 0; seed < 5; seed++) {
		struct sh_sim_options o = calm;
		o.seed = seed;
		o.loss = 0.3;
		world_init(&w, &o);
		send_numbers(&w, 2000);
		assert_true(w.b.count > 1300 && w.b.count < 1500);
		world_finish(&w);
	}
}

static void reordering_overtakes_but_loses_nothing(void **state)
{
	struct world w;
	struct sh_sim_options o = calm;
	unsigned seen[1000];
	(void)state;

	o.reorder = 0.2;
	world_init(&w, &o);
	send_numbers(&w, 1000);
	unsigned late = count_late(&w.b, seen, 1000);
	assert_true(late > 100 && late < 250);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(seen[i], 1);
	world_finish(&w);
}

static void another_seed_loses_others(void **state)
{
	struct world w;
	unsigned seen[3][200];
	(void)state;

	for (unsigned i = 0; i < 3; i++) {
		struct sh_sim_options o = {.seed = i < 2 ? 7 : 8, .loss = 0.5};
		world_init(&w, &o);
		send_numbers(&w, 200);
		count_late(&w.b, seen[i], 200);
		world_finish(&w);
	}
	assert_memory_equal(seen[0], seen[1], sizeof(seen[0]));
	assert_memory_not_equal(seen[0], seen[2], sizeof(seen[0]));
}

static void one_direction_of_a_link_can_have_its_own_loss(void **state)
{
	struct world w;
	struct sh_addr from = addr("10.1.0.1", 0), to = addr("10.1.0.2", 0);
	(void)state;

	world_init(&w, &calm);
	assert_int_equal(sh_sim_set_link_loss(w.sim, &from, &to, 1), 0);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "lost");
	node_send(&w.b, w.ub, "10.1.0.1", 5060, "not lost");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 0);
	assert_int_equal(w.a.count, 1);
	assert_int_equal(sh_sim_set_link_loss(w.sim, &from, &to, -1), 0);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "as before");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 1);
	world_finish(&w);
}

static void icmp_brings_back_the_datagrams_bytes(void **state)
{
	struct world w;
	char large[1000];
	struct sh_addr nobody = addr("10.1.0.2", 6000);
	(void)state;

	memset(large, 'q', sizeof(large));
	world_init(&w, &calm);
	node_send(&w.a, w.ua, "10.1.0.2", 6000, "INVITE");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.a.count, 1);
	assert_int_equal(w.a.datagrams[0].error, -ECONNREFUSED);
	assert_string_equal(w.a.datagrams[0].text, "INVITE");
	assert_addr(&w.a.datagrams[0].remote, "10.1.0.2", 6000);
	assert_ptr_equal(w.a.datagrams[0].user, &w.a);
	assert_true(w.a.datagrams[0].at >= SH_SECOND + 10 * SH_MS); /* there and back */

	w.a.env->driver->udp_send(w.a.env, w.ua, NULL, &nobody, large, sizeof(large));
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.a.count, 2);
	assert_true(w.a.datagrams[1].len >= 64 &&
		    w.a.datagrams[1].len < sizeof(large)); /* routers quote the beginning */
	world_finish(&w);
}

static void no_icmp_when_the_socket_is_gone(void **state)
{
	struct world w;
	(void)state;

	world_init(&w, &calm);
	node_send(&w.a, w.ua, "10.1.0.2", 6000, "INVITE");
	w.a.env->driver->udp_close(w.a.env, w.ua);
	assert_int_equal(sh_sim_open_handles(w.a.env), 0);
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.a.count, 0);
	world_finish(&w);
}

static void unreachable_addresses_answer_or_keep_silent(void **state)
{
	struct world w;
	struct sh_addr host = addr("10.1.0.2", 0), port = addr("10.1.0.2", 5060);
	(void)state;

	world_init(&w, &calm);
	assert_int_equal(sh_sim_set_unreachable(w.sim, &host, SH_SIM_UDP_ICMP), 0);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "one");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 0);
	assert_int_equal(w.a.count, 1);
	assert_int_equal(w.a.datagrams[0].error, -EHOSTUNREACH);
	assert_string_equal(w.a.datagrams[0].text, "one");

	assert_int_equal(sh_sim_set_unreachable(w.sim, &host, 0), 0);
	assert_int_equal(sh_sim_set_unreachable(w.sim, &port, SH_SIM_UDP_SILENT), 0);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "two");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 0);
	assert_int_equal(w.a.count, 1);

	assert_int_equal(sh_sim_set_unreachable(w.sim, &port, 0), 0);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "three");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 1);
	world_finish(&w);
}

static void a_socket_bound_to_any_is_reached_at_each_address_of_its_host(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct node a, b;
	struct sh_udp *ua, *ub;
	struct sh_addr one = addr("192.0.2.1", 0), two = addr("192.0.2.2", 0), third = addr("2001:db8::1", 0);
	struct sh_addr spoken = addr("192.0.2.2", 9), to = addr("10.1.0.2", 5060), any = addr("0.0.0.0", 0);
	(void)state;

	node_init(&a, sim, 0, 1);
	node_init(&b, sim, 0, 1);
	assert_int_equal(sh_sim_host_add_addr(a.env, &one), 0);
	assert_int_equal(sh_sim_host_add_addr(a.env, &two), 0);
	assert_int_equal(sh_sim_host_add_addr(a.env, &third), 0);
	ua = node_udp(&a, "0.0.0.0", 5060);
	node_udp(&a, "::", 5060);
	ub = node_udp(&b, "10.1.0.2", 5060);
	node_send(&b, ub, "192.0.2.1", 5060, "first");
	node_send(&b, ub, "192.0.2.2", 5060, "second");
	node_send(&b, ub, "10.0.0.1", 5060, "automatic");
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(a.count, 3);
	for (size_t i = 0; i < 3; i++) /* local: where it was sent to */
		assert_addr(&a.datagrams[i].local,
			    a.datagrams[i].text[0] == 'f'   ? "192.0.2.1"
			    : a.datagrams[i].text[0] == 's' ? "192.0.2.2"
							    : "10.0.0.1",
			    5060);

	/* Sending: the first one that was added, or what `from` says; its port is the socket's. */
	node_send(&a, ua, "10.1.0.2", 5060, "plain");
	a.env->driver->udp_send(a.env, ua, &spoken, &to, "from", 4);
	a.env->driver->udp_send(a.env, ua, &any, &to, "any", 3);
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(b.count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_addr(&b.datagrams[i].remote, b.datagrams[i].text[0] == 'f' ? "192.0.2.2" : "192.0.2.1", 5060);

	/* The other family is another socket. */
	struct sh_udp *u6 = node_udp(&b, "2001:db8::2", 5060);
	node_send(&b, u6, "2001:db8::1", 5060, "six");
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(a.count, 4);
	assert_addr(&a.datagrams[3].local, "2001:db8::1", 5060);
	node_send(&b, ub, "2001:db8::1", 5060, "crossed"); /* a socket cannot speak another family */
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(a.count, 4);
	sh_sim_destroy(sim);
	node_finish(&a);
	node_finish(&b);
}

static void an_added_address_wins_over_an_automatic_one(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct node a, b;
	struct sh_udp *ua;
	struct sh_addr taken = addr("10.0.0.1", 0); /* a's automatic address */
	(void)state;

	node_init(&a, sim, 0, 1);
	node_init(&b, sim, 0, 1);
	assert_int_equal(sh_sim_host_add_addr(b.env, &taken), 0);
	ua = node_udp(&a, "0.0.0.0", 5060);
	node_udp(&b, "0.0.0.0", 5060);
	node_send(&a, ua, "10.0.0.1", 5060, "whose?");
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(a.count, 0);
	assert_int_equal(b.count, 1);
	sh_sim_destroy(sim);
	node_finish(&a);
	node_finish(&b);
}

static void binding_follows_the_rules_of_addresses(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct node a[2], b;
	struct sh_addr place = addr("10.1.0.1", 5060), any = addr("0.0.0.0", 5060), none = {0}, bound;
	struct sh_udp *u;
	const struct sh_driver *d;
	(void)state;

	node_init(&a[0], sim, 0, 2);
	node_init(&a[1], sim, 1, 2);
	node_init(&b, sim, 0, 1);
	d = a[0].env->driver;
	u = node_udp(&a[0], "10.1.0.1", 5060);
	assert_int_equal(d->udp_open(a[0].env, &place, NULL, &u, &bound), -EADDRINUSE); /* the same worker */
	assert_int_equal(d->udp_open(b.env, &place, NULL, &u, &bound), -EADDRINUSE);    /* another host */
	node_udp(&a[1], "10.1.0.1", 5060);
	assert_int_equal(d->udp_open(b.env, &none, NULL, &u, &bound), -EINVAL);
	node_listen(&b, "10.1.0.1", 5060); /* TCP ports are other ports */
	/* "any" is another place on each host. */
	assert_int_equal(d->udp_open(a[0].env, &any, NULL, &u, &bound), 0);
	assert_int_equal(d->udp_open(b.env, &any, NULL, &u, &bound), 0);
	/* Automatic ports differ. */
	any.port = 0;
	assert_int_equal(d->udp_open(b.env, &any, NULL, &u, &bound), 0);
	uint16_t first = bound.port;
	assert_int_equal(d->udp_open(b.env, &any, NULL, &u, &bound), 0);
	assert_true(first >= 49152 && bound.port >= 49152 && bound.port != first);
	/* What is closed is free again. */
	d->udp_close(b.env, u);
	assert_int_equal(d->udp_open(b.env, &bound, NULL, &u, &bound), 0);
	assert_int_equal(sh_sim_open_handles(b.env), 4);
	sh_sim_destroy(sim);
	node_finish(&a[0]);
	node_finish(&a[1]);
	node_finish(&b);
}

static void workers_share_an_address_and_each_pair_stays_with_one(void **state)
{
	enum { WORKERS = 4, PORTS = 400 };
	struct sh_sim *sim = calm_sim(3);
	struct node w[WORKERS], c;
	unsigned owner[PORTS], share[WORKERS] = {0};
	(void)state;

	for (unsigned i = 0; i < WORKERS; i++) {
		node_init(&w[i], sim, i, WORKERS);
		node_udp(&w[i], "192.0.2.1", 5060);
	}
	node_init(&c, sim, 0, 1);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned p = 0; p < PORTS; p++) {
			struct sh_udp *u = node_udp(&c, "10.1.0.1", 10000 + p);
			size_t before[WORKERS];
			for (unsigned i = 0; i < WORKERS; i++)
				before[i] = w[i].count;
			node_send(&c, u, "192.0.2.1", 5060, "x");
			node_send(&c, u, "192.0.2.1", 5060, "y");
			assert_true(sh_sim_run_idle(sim, SH_SECOND));
			unsigned got = WORKERS;
			for (unsigned i = 0; i < WORKERS; i++) {
				if (w[i].count != before[i]) {
					assert_int_equal(w[i].count, before[i] + 2);
					assert_int_equal(got, WORKERS);
					got = i;
				}
			}
			assert_true(got < WORKERS);
			assert_true(round == 0 || owner[p] == got);
			owner[p] = got;
			share[got]++;
			c.env->driver->udp_close(c.env, u);
		}
	}
	for (unsigned i = 0; i < WORKERS; i++)
		assert_true(share[i] > PORTS / WORKERS);
	sh_sim_destroy(sim);
	for (unsigned i = 0; i < WORKERS; i++)
		node_finish(&w[i]);
	node_finish(&c);
}

static void icmp_goes_to_the_worker_that_sent(void **state)
{
	struct sh_sim *sim = calm_sim(3);
	struct node w[2];
	struct sh_udp *u[2];
	(void)state;

	for (unsigned i = 0; i < 2; i++) {
		node_init(&w[i], sim, i, 2);
		u[i] = node_udp(&w[i], "0.0.0.0", 5060);
	}
	for (unsigned p = 0; p < 20; p++)
		node_send(&w[1], u[1], "10.9.9.9", 7000 + p, "nobody");
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(w[0].count, 0);
	assert_int_equal(w[1].count, 20);
	sh_sim_destroy(sim);
	node_finish(&w[0]);
	node_finish(&w[1]);
}

static enum sh_sim_verdict by_first_letter(const struct sh_addr *from, const struct sh_addr *to, struct sh_slice data,
					   uint64_t *delay, void *ctx)
{
	assert_addr(from, "10.1.0.1", 5060);
	assert_addr(to, "10.1.0.2", 5060);
	(*(unsigned *)ctx)++;
	*delay = 300 * SH_MS;
	return data.base[0] == 'D' ? SH_SIM_DROP : data.base[0] == 'L' ? SH_SIM_DELAY : SH_SIM_PASS;
}

static void a_filter_drops_delays_and_passes(void **state)
{
	struct world w;
	unsigned asked = 0;
	(void)state;

	world_init(&w, &calm);
	sh_sim_set_filter(w.sim, by_first_letter, &asked);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "Late");
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "Dropped");
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "Passed");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(asked, 3);
	assert_int_equal(w.b.count, 2);
	assert_string_equal(w.b.datagrams[0].text, "Passed");
	assert_string_equal(w.b.datagrams[1].text, "Late");
	assert_int_equal(w.b.datagrams[1].at, SH_SECOND + 300 * SH_MS);
	sh_sim_set_filter(w.sim, NULL, NULL);
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "Dropped");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.b.count, 3);
	world_finish(&w);
}

static void answer_at_turn_end(struct node *n)
{
	if (n->count == 1)
		node_send(n, n->extra, "10.1.0.1", 5060, "from the turn's end");
	n->count = 2;
}

static void what_the_end_of_a_turn_sends_leaves_with_it(void **state)
{
	struct world w;
	(void)state;

	world_init(&w, &calm);
	w.b.extra = w.ub;
	w.b.on_turn_end = answer_at_turn_end;
	node_send(&w.a, w.ua, "10.1.0.2", 5060, "x");
	assert_true(sh_sim_run_idle(w.sim, SH_SECOND));
	assert_int_equal(w.a.count, 1);
	assert_int_equal(w.b.turns, 1);
	world_finish(&w);
}

static void memory_that_is_out_is_an_answer(void **state)
{
	(void)state;

	for (long skip = 0; skip < 40; skip++) {
		struct sh_sim_options o = calm;
		struct sh_sim *sim = NULL;
		struct sh_addr place = addr("10.1.0.1", 5060), bound;
		struct sh_udp *u = NULL;
		struct sh_env *env;
		int err;

		sh_alloc_fail_after(skip);
		err = sh_sim_create(&sim, &o);
		if (err) {
			assert_int_equal(err, -ENOMEM);
			continue;
		}
		env = sh_sim_env_create(sim, 0, 1);
		if (env) {
			err = sh_sim_host_add_addr(env, &place);
			assert_true(err == 0 || err == -ENOMEM);
			err = env->driver->udp_open(env, &place, NULL, &u, &bound);
			assert_true(err == 0 || err == -ENOMEM);
			assert_int_equal(sh_sim_open_handles(env), err == 0);
		}
		err = sh_sim_set_unreachable(sim, &place, SH_SIM_UDP_ICMP);
		assert_true(err == 0 || err == -ENOMEM);
		sh_alloc_fail_after(-1);
		sh_sim_destroy(sim);
	}
	sh_alloc_fail_after(-1);
}

static void options_are_checked(void **state)
{
	struct sh_sim *sim = NULL;
	(void)state;

	assert_int_equal(sh_sim_create(&sim, &(struct sh_sim_options){.loss = 1.1}), -EINVAL);
	assert_int_equal(sh_sim_create(&sim, &(struct sh_sim_options){.duplicate = -0.1}), -EINVAL);
	assert_int_equal(sh_sim_create(&sim, &(struct sh_sim_options){.reorder = 2}), -EINVAL);
	assert_null(sim);
	sh_sim_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_datagram_arrives_with_both_addresses_after_the_delay),
	    cmocka_unit_test(empty_and_largest_datagrams_pass_and_larger_ones_vanish),
	    cmocka_unit_test(order_is_kept_from_host_to_host),
	    cmocka_unit_test(a_duplicate_never_comes_before_its_original),
	    cmocka_unit_test(loss_comes_at_the_rate_that_was_asked_for),
	    cmocka_unit_test(reordering_overtakes_but_loses_nothing),
	    cmocka_unit_test(another_seed_loses_others),
	    cmocka_unit_test(one_direction_of_a_link_can_have_its_own_loss),
	    cmocka_unit_test(icmp_brings_back_the_datagrams_bytes),
	    cmocka_unit_test(no_icmp_when_the_socket_is_gone),
	    cmocka_unit_test(unreachable_addresses_answer_or_keep_silent),
	    cmocka_unit_test(a_socket_bound_to_any_is_reached_at_each_address_of_its_host),
	    cmocka_unit_test(an_added_address_wins_over_an_automatic_one),
	    cmocka_unit_test(binding_follows_the_rules_of_addresses),
	    cmocka_unit_test(workers_share_an_address_and_each_pair_stays_with_one),
	    cmocka_unit_test(icmp_goes_to_the_worker_that_sent),
	    cmocka_unit_test(a_filter_drops_delays_and_passes),
	    cmocka_unit_test(what_the_end_of_a_turn_sends_leaves_with_it),
	    cmocka_unit_test(memory_that_is_out_is_an_answer),
	    cmocka_unit_test(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
