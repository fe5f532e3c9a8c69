/* The virtual clock, and what a worker gets done elsewhere: timers, names, background jobs, messages to other workers.
 */
#include <time.h>

#include "sim_helpers.h"

struct alarm {
	struct sh_timer timer;
	struct node *node;
	unsigned fired;
	uint64_t at, period;
};

static void on_alarm(struct sh_timer *t)
{
	struct alarm *a = SH_CONTAINER(t, struct alarm, timer);

	a->fired++;
	a->at = a->node->env->now;
	if (a->period)
		sh_env_timer(a->node->env, t, a->period);
}

static void alarm_init(struct alarm *a, struct node *n)
{
	memset(a, 0, sizeof(*a));
	sh_timer_init(&a->timer, on_alarm);
	a->node = n;
}

/* ---- time ---- */

static void time_begins_at_one_second_and_stands_still_by_itself(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct node n;
	(void)state;

	node_init(&n, sim, 0, 1);
	assert_int_equal(sh_sim_now(sim), SH_SECOND);
	assert_int_equal(n.env->now, SH_SECOND);
	assert_int_equal(sh_env_wall(n.env), UINT64_C(1767225600) * SH_SECOND); /* 2026-01-01 */
	sh_sim_advance(sim, 1234567);
	assert_int_equal(n.env->now, SH_SECOND + 1234567);
	sh_sim_run_until(sim, SH_SECOND); /* never back */
	assert_int_equal(sh_sim_now(sim), SH_SECOND + 1234567);
	assert_false(sh_sim_step(sim));
	assert_int_equal(n.turns, 0);
	sh_sim_destroy(sim);
	node_finish(&n);
}

static void timers_fire_at_their_virtual_time(void **state)
{
	static const uint64_t delays[] = {
	    1, 999, 1000, 500 * SH_MS, SH_SECOND, 32 * SH_SECOND, 64 * SH_SECOND, 3600 * SH_SECOND};
	enum { COUNT = sizeof(delays) / sizeof(delays[0]) };
	struct sh_sim *sim = calm_sim(1);
	struct alarm alarms[COUNT];
	struct node n;
	(void)state;

	node_init(&n, sim, 0, 1);
	for (size_t i = 0; i < COUNT; i++) {
		alarm_init(&alarms[i], &n);
		sh_env_timer(n.env, &alarms[i].timer, delays[i]);
	}
	sh_sim_advance(sim, 3599 * SH_SECOND);
	assert_int_equal(alarms[COUNT - 1].fired, 0);
	sh_sim_advance(sim, 2 * SH_SECOND);
	for (size_t i = 0; i < COUNT; i++) {
		uint64_t due = SH_SECOND + delays[i];
		assert_int_equal(alarms[i].fired, 1);
		assert_true(alarms[i].at >= due && alarms[i].at < due + SH_MS);
	}
	assert_int_equal(n.turns, COUNT - 2); /* the first three are of one tick, hence of one turn */
	sh_sim_destroy(sim);
	node_finish(&n);
}

static void a_step_is_one_event_or_one_tick(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct alarm a, b, far;
	struct node n;
	(void)state;

	node_init(&n, sim, 0, 1);
	alarm_init(&a, &n);
	alarm_init(&b, &n);
	alarm_init(&far, &n);
	sh_env_timer(n.env, &a.timer, SH_SECOND);
	sh_env_timer(n.env, &b.timer, 2 * SH_SECOND);
	sh_env_timer(n.env, &far.timer,
		     100000 * SH_SECOND); /* its wheel slots move down on the way: no steps of their own */
	assert_true(sh_sim_step(sim));
	assert_int_equal(a.fired + b.fired, 1);
	assert_true(sh_sim_step(sim));
	assert_int_equal(b.fired, 1);
	assert_true(sh_sim_step(sim));
	assert_int_equal(far.fired, 1);
	assert_int_equal(far.at, 100001 * SH_SECOND);
	assert_false(sh_sim_step(sim));
	sh_sim_destroy(sim);
	node_finish(&n);
}

static enum sh_sim_verdict after_ten_ms(const struct sh_addr *from, const struct sh_addr *to, struct sh_slice data,
					uint64_t *delay, void *ctx)
{
	(void)from, (void)to, (void)data, (void)ctx;
	*delay = 10 * SH_MS;
	return SH_SIM_DELAY;
}

static void cancel_alarm(struct node *n, const struct datagram *d)
{
	struct alarm *a = n->extra;

	(void)d;
	sh_env_cancel(n->env, &a->timer);
}

static void an_arrival_comes_before_the_timers_of_its_instant(void **state)
{
	(void)state;

	for (int late = 0; late < 2; late++) {
		struct sh_sim *sim = calm_sim(1);
		struct alarm a;
		struct node n;
		node_init(&n, sim, 0, 1);
		alarm_init(&a, &n);
		n.extra = &a;
		n.on_datagram = cancel_alarm;
		sh_sim_set_filter(sim, after_ten_ms, NULL);
		struct sh_udp *u = node_udp(&n, "10.1.0.1", 5060);
		node_send(&n, u, "10.1.0.1", 5060, "an answer");
		sh_env_timer(n.env, &a.timer, late ? 9 * SH_MS : 10 * SH_MS);
		sh_sim_advance(sim, SH_SECOND);
		assert_int_equal(n.count, 1);
		assert_int_equal(n.datagrams[0].at, SH_SECOND + 10 * SH_MS);
		assert_int_equal(a.fired, late);
		sh_sim_destroy(sim);
		node_finish(&n);
	}
}

static void hours_cost_what_happens_in_them_and_no_more(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct alarm slow, year;
	struct node n;
	(void)state;

	node_init(&n, sim, 0, 1);
	alarm_init(&slow, &n);
	alarm_init(&year, &n);
	slow.period = 3600 * SH_SECOND;
	sh_env_timer(n.env, &slow.timer, slow.period);
	sh_env_timer(n.env, &year.timer, 365 * 86400 * SH_SECOND + SH_SECOND); /* not together with the other */
	clock_t begin = clock();
	sh_sim_advance(sim, 366 * 86400 * SH_SECOND);
	assert_true(clock() - begin < CLOCKS_PER_SEC); /* a thousandth of it is enough */
	assert_int_equal(slow.fired, 366 * 24);
	assert_int_equal(year.fired, 1);
	assert_int_equal(n.turns, 366 * 24 + 1);
	sh_sim_destroy(sim);
	node_finish(&n);
}

static void idle_waits_for_what_is_under_way_and_not_for_timers(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct alarm soon, later;
	struct node n;
	(void)state;

	node_init(&n, sim, 0, 1);
	alarm_init(&soon, &n);
	alarm_init(&later, &n);
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(sh_sim_now(sim), SH_SECOND);

	struct sh_udp *u = node_udp(&n, "10.1.0.1", 5060);
	node_send(&n, u, "10.1.0.1", 5060, "x");
	sh_env_timer(n.env, &soon.timer, 2 * SH_MS);
	sh_env_timer(n.env, &later.timer, 60 * SH_MS);
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(n.count, 1);
	assert_int_equal(soon.fired, 1);
	assert_int_equal(later.fired, 0);
	assert_int_equal(sh_sim_now(sim), n.datagrams[0].at);

	uint64_t now = sh_sim_now(sim);
	node_send(&n, u, "10.1.0.1", 5060, "x");
	assert_false(sh_sim_run_idle(sim, 2 * SH_MS)); /* less than the delay */
	assert_int_equal(sh_sim_now(sim), now + 2 * SH_MS);
	sh_sim_destroy(sim);
	node_finish(&n);
}

/* ---- names ---- */

struct answer {
	unsigned calls;
	int error;
	size_t count;
	struct sh_dns_record records[4];
	char target[64];
};

static void on_answered(const struct sh_dns_answer *r, void *ctx)
{
	struct answer *a = ctx;

	a->calls++;
	a->error = r->error;
	a->count = r->count;
	for (size_t i = 0; i < r->count; i++)
		a->records[i] = r->records[i];
	if (r->count > 0)
		snprintf(a->target, sizeof(a->target), "%.*s", SH_FMT(r->records[0].target));
}

static struct answer ask(struct sh_sim *sim, struct node *n, const char *name, enum sh_dns_type type)
{
	struct answer a = {0};
	unsigned turns = n->turns;

	assert_int_equal(n->env->driver->query(n->env, sh_slice_cstr(name), type, on_answered, &a), 0);
	assert_int_equal(a.calls, 0); /* never before it returns */
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	assert_int_equal(a.calls, 1);
	assert_int_equal(n->turns, turns + 1);
	return a;
}

static void names_mean_what_the_test_added(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct sh_addr two[2] = {addr("192.0.2.7", 1), addr("2001:db8::7", 0)}, one = addr("192.0.2.8", 0);
	struct answer a;
	struct node n;
	(void)state;

	node_init(&n, sim, 0, 1);
	a = ask(sim, &n, "gw.example.com", SH_DNS_A);
	assert_int_equal(a.error, -ENOENT);
	assert_int_equal(a.count, 0);
	assert_int_equal(sh_sim_add_name(sim, "gw.example.com", two, 2), 0);
	a = ask(sim, &n, "GW.example.COM.", SH_DNS_A);
	assert_int_equal(a.error, 0);
	assert_int_equal(a.count, 1);
	assert_addr(&a.records[0].addr, "192.0.2.7", 0);
	a = ask(sim, &n, "gw.example.com", SH_DNS_AAAA);
	assert_addr(&a.records[0].addr, "2001:db8::7", 0);
	a = ask(sim, &n, "gw.example.com", SH_DNS_SRV);
	assert_int_equal(a.error, -ENOENT);
	assert_int_equal(sh_sim_add_name(sim, "gw.example.com", &one, 1), 0); /* replaces */
	a = ask(sim, &n, "gw.example.com", SH_DNS_A);
	assert_int_equal(a.count, 1);
	assert_addr(&a.records[0].addr, "192.0.2.8", 0);
	assert_int_equal(sh_sim_fail_name(sim, "gw.example.com", -EAGAIN), 0);
	a = ask(sim, &n, "gw.example.com", SH_DNS_A);
	assert_int_equal(a.error, -EAGAIN);
	assert_int_equal(sh_sim_add_name(sim, "gw.example.com", NULL, 0), 0);
	a = ask(sim, &n, "gw.example.com", SH_DNS_A);
	assert_int_equal(a.error, -ENOENT);

	assert_int_equal(sh_sim_add_record(sim, "example.com", "30 NAPTR 10 50 s SIP+D2U _sip._udp.example.com."), 0);
	assert_int_equal(sh_sim_add_record(sim, "_sip._udp.example.com", "40 SRV 1 2 5070 gw.example.com."), 0);
	assert_int_equal(sh_sim_add_record(sim, "_sip._udp.example.com", "41 SRV 3 4 5071 b.example.com"), 0);
	a = ask(sim, &n, "_sip._udp.example.com", SH_DNS_SRV);
	assert_int_equal(a.count, 2);
	assert_int_equal(a.records[0].ttl, 40);
	assert_int_equal(a.records[0].order, 1);
	assert_int_equal(a.records[0].weight, 2);
	assert_int_equal(a.records[0].port, 5070);
	assert_string_equal(a.target, "gw.example.com");
	assert_int_equal(a.records[1].ttl, 41);
	a = ask(sim, &n, "example.com", SH_DNS_NAPTR);
	assert_int_equal(a.count, 1);
	assert_int_equal(a.records[0].order, 10);
	assert_string_equal(a.target, "_sip._udp.example.com");
	assert_int_equal(sh_sim_add_record(sim, "x", "30 A example.com"), -EINVAL);
	assert_int_equal(sh_sim_add_record(sim, "x", "30 AAAA 192.0.2.1"), -EINVAL);
	assert_int_equal(sh_sim_add_record(sim, "x", "30 SRV 1 2 99999 a"), -EINVAL);
	assert_int_equal(sh_sim_add_record(sim, "x", "MX 1 a"), -EINVAL);
	sh_sim_destroy(sim);
	node_finish(&n);
}

/* ---- background jobs ---- */

struct job {
	unsigned number, worked, done;
	unsigned *order; /* of all jobs: counts what was done */
	unsigned place;
	struct node *node;
	uint64_t done_at;
};

static void job_work(void *arg)
{
	struct job *j = arg;

	assert_int_equal(j->done, 0);
	j->worked++;
}

static void job_done(void *arg)
{
	struct job *j = arg;

	assert_int_equal(j->worked, 1);
	j->done++;
	j->place = (*j->order)++;
	j->done_at = j->node->env->now;
}

static void start_job(struct job *j, struct node *n, unsigned number, unsigned *order)
{
	*j = (struct job){.number = number, .order = order, .node = n};
	assert_int_equal(n->env->driver->background(n->env, job_work, job_done, j), 0);
	assert_int_equal(j->worked + j->done, 0);
}

static void jobs_are_done_in_order_on_their_worker(void **state)
{
	enum { COUNT = 50 };
	struct sh_sim *sim = calm_sim(1);
	struct job jobs[COUNT];
	unsigned order = 0;
	struct node n;
	(void)state;

	node_init(&n, sim, 0, 1);
	for (unsigned i = 0; i < COUNT; i++)
		start_job(&jobs[i], &n, i, &order);
	assert_true(sh_sim_run_idle(sim, SH_SECOND));
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(jobs[i].worked, 1);
		assert_int_equal(jobs[i].done, 1);
		assert_int_equal(jobs[i].place, i);
		assert_true(jobs[i].done_at > SH_SECOND);
	}
	assert_int_equal(n.turns, COUNT);
	sh_sim_destroy(sim);
	node_finish(&n);
}

/* ---- posts ---- */

struct message {
	struct node *to;
	unsigned place;
	bool delivered;
};

static void on_message(struct sh_env *target, void *arg)
{
	struct message *m = arg;

	assert_ptr_equal(target, m->to->env);
	assert_false(m->delivered);
	m->delivered = true;
	m->place = (unsigned)m->to->count++;
}

static void posts_arrive_in_order_and_the_ring_is_bounded(void **state)
{
	enum { RING = 16 };
	struct sh_sim *sim = sim_with(&(struct sh_sim_options){.seed = 1, .post_ring = RING});
	struct message m[RING + 1];
	struct node w[2], other;
	(void)state;

	node_init(&w[0], sim, 0, 2);
	node_init(&w[1], sim, 1, 2);
	node_init(&other, sim, 0, 1); /* a worker 0 too, but of another host */
	const struct sh_driver *d = w[0].env->driver;
	for (int round = 0; round < 3; round++) {
		w[1].count = 0;
		for (unsigned i = 0; i <= RING; i++) {
			m[i] = (struct message){.to = &w[1]};
			/* Half of them to itself: also a ring. */
			assert_int_equal(d->post(w[i % 2].env, 1, on_message, &m[i]), i < RING ? 0 : -EAGAIN);
		}
		struct message back = {.to = &w[0]};
		assert_int_equal(d->post(w[1].env, 0, on_message, &back), 0); /* a ring of its own */
		assert_int_equal(w[1].count, 0);
		assert_true(sh_sim_run_idle(sim, SH_SECOND));
		for (unsigned i = 0; i < RING; i++)
			assert_int_equal(m[i].place, i);
		assert_false(m[RING].delivered);
		assert_true(back.delivered);
	}
	assert_int_equal(d->post(w[0].env, 2, on_message, &m[0]), -EINVAL);
	assert_int_equal(w[1].turns, 3 * RING);
	assert_int_equal(other.turns, 0);
	sh_sim_destroy(sim);
	node_finish(&w[0]);
	node_finish(&w[1]);
	node_finish(&other);
}

/* ---- shutdown ---- */

static void a_stop_finishes_jobs_and_posts_and_drops_the_rest(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct node w[2], peer;
	struct job jobs[2];
	struct message m = {.to = &w[0]}, refused = {.to = &w[0]}, outgoing = {.to = &w[1]};
	struct answer a = {0};
	struct alarm alarm;
	unsigned order = 0;
	(void)state;

	node_init(&w[0], sim, 0, 2);
	node_init(&w[1], sim, 1, 2);
	node_init(&peer, sim, 0, 1);
	struct sh_udp *u = node_udp(&w[0], "10.1.0.1", 5060), *pu = node_udp(&peer, "10.1.0.2", 5060);
	const struct sh_driver *d = w[0].env->driver;
	struct sh_addr place = addr("10.1.0.1", 5061), bound;
	struct sh_udp *another;
	struct sh_stream *stream;

	alarm_init(&alarm, &w[0]);
	sh_env_timer(w[0].env, &alarm.timer, SH_MS);
	assert_int_equal(d->query(w[0].env, SH_LIT("gw"), SH_DNS_A, on_answered, &a), 0);
	start_job(&jobs[0], &w[0], 0, &order);
	while (jobs[0].worked == 0)
		assert_true(sh_sim_step(sim));
	start_job(&jobs[1], &w[0], 1, &order);
	assert_int_equal(d->post(w[1].env, 0, on_message, &m), 0);
	node_send(&w[0], u, "10.1.0.2", 5060, "goodbye");
	sh_sim_env_stop(w[0].env);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(jobs[i].worked, 1);
		assert_int_equal(jobs[i].done, 1);
		assert_int_equal(jobs[i].place, i);
	}
	assert_true(m.delivered);
	unsigned turns = w[0].turns, fired = alarm.fired;

	/* It starts nothing any more, and nothing reaches it. */
	assert_int_equal(d->background(w[0].env, job_work, job_done, &jobs[0]), -ESHUTDOWN);
	assert_int_equal(d->udp_open(w[0].env, &place, NULL, &another, &bound), -ESHUTDOWN);
	assert_int_equal(d->connect(w[0].env, NULL, &place, NULL, &stream), -ESHUTDOWN);
	assert_int_equal(d->post(w[1].env, 0, on_message, &refused), -EAGAIN);
	assert_int_equal(d->post(w[0].env, 1, on_message, &outgoing), 0); /* the others still hear of it */
	node_send(&w[0], u, "10.1.0.2", 5060, "unheard");
	node_send(&peer, pu, "10.1.0.1", 5060, "too late");
	assert_int_equal(d->query(w[0].env, SH_LIT("gw"), SH_DNS_A, on_answered, &a), -ESHUTDOWN);
	sh_sim_advance(sim, 10 * SH_SECOND);
	assert_int_equal(a.calls, 0);
	assert_int_equal(alarm.fired, fired);
	assert_int_equal(w[0].turns, turns);
	assert_false(refused.delivered);
	assert_true(outgoing.delivered);
	assert_int_equal(peer.count, 1); /* what was queued before left, and nothing came back */
	assert_string_equal(peer.datagrams[0].text, "goodbye");
	sh_sim_env_stop(w[0].env); /* again: nothing */
	d->udp_close(w[0].env, u);
	assert_int_equal(sh_sim_open_handles(w[0].env), 0);
	sh_sim_destroy(sim);
	node_finish(&w[0]);
	node_finish(&w[1]);
	node_finish(&peer);
}

static void the_end_of_the_simulation_is_a_stop_too(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	struct node w[2];
	struct job job;
	struct message m = {.to = &w[1]};
	struct answer a = {0};
	unsigned order = 0;
	(void)state;

	node_init(&w[0], sim, 0, 2);
	node_init(&w[1], sim, 1, 2);
	assert_int_equal(w[0].env->driver->query(w[0].env, SH_LIT("gw"), SH_DNS_A, on_answered, &a), 0);
	start_job(&job, &w[0], 0, &order);
	assert_int_equal(w[0].env->driver->post(w[0].env, 1, on_message, &m), 0);
	sh_sim_destroy(sim);
	assert_int_equal(job.done, 1);
	assert_true(m.delivered);
	assert_int_equal(a.calls, 0);
	node_finish(&w[0]);
	node_finish(&w[1]);
}

static void workers_join_the_last_host_and_share_one_hash_key(void **state)
{
	struct sh_sim *sim = calm_sim(1);
	(void)state;

	assert_null(sh_sim_env_create(sim, 1, 2)); /* no host to join */
	struct sh_env *a = sh_sim_env_create(sim, 0, 2), *b = sh_sim_env_create(sim, 1, 2);
	assert_non_null(a);
	assert_non_null(b);
	assert_int_equal(b->worker, 1);
	assert_int_equal(b->workers, 2);
	assert_memory_equal(&a->key, &b->key, sizeof(a->key));
	assert_true(sh_random_u64(&a->random) != sh_random_u64(&b->random));
	assert_non_null(a->log);
	sh_error(a->log, "nobody reads this");
	sh_sim_destroy(sim);
}

static void memory_that_is_out_is_an_answer(void **state)
{
	(void)state;

	for (long skip = 0; skip < 8; skip++) {
		struct sh_sim *sim = calm_sim(1);
		struct sh_addr one = addr("192.0.2.1", 0);
		struct job job = {0};
		struct node n;
		struct message m = {.to = &n};
		unsigned order = 0;
		node_init(&n, sim, 0, 1);
		job = (struct job){.order = &order, .node = &n};
		sh_alloc_fail_after(skip);
		int named = sh_sim_add_name(sim, "a.example", &one, 1);
		int failing = sh_sim_fail_name(sim, "b.example", -EAGAIN);
		int working = n.env->driver->background(n.env, job_work, job_done, &job);
		int posted = n.env->driver->post(n.env, 0, on_message, &m);
		sh_alloc_fail_after(-1);
		assert_int_equal(named, skip < 2 ? -ENOMEM : 0);
		assert_int_equal(failing, skip < 3 ? -ENOMEM : 0);
		assert_int_equal(working, skip < 4 ? -ENOMEM : 0);
		assert_int_equal(posted, skip < 5 ? -ENOMEM : 0);
		assert_true(sh_sim_run_idle(sim, SH_SECOND));
		struct answer a = ask(sim, &n, "a.example", SH_DNS_A);
		assert_int_equal(a.error, skip < 2 ? -ENOENT : 0);
		a = ask(sim, &n, "b.example", SH_DNS_A);
		assert_int_equal(a.error, skip < 3 ? -ENOENT : -EAGAIN);
		sh_sim_destroy(sim);
		assert_int_equal(job.done, working == 0);
		assert_int_equal(m.delivered, posted == 0);
		node_finish(&n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(time_begins_at_one_second_and_stands_still_by_itself),
	    cmocka_unit_test(timers_fire_at_their_virtual_time),
	    cmocka_unit_test(a_step_is_one_event_or_one_tick),
	    cmocka_unit_test(an_arrival_comes_before_the_timers_of_its_instant),
	    cmocka_unit_test(hours_cost_what_happens_in_them_and_no_more),
	    cmocka_unit_test(idle_waits_for_what_is_under_way_and_not_for_timers),
	    cmocka_unit_test(names_mean_what_the_test_added),
	    cmocka_unit_test(jobs_are_done_in_order_on_their_worker),
	    cmocka_unit_test(posts_arrive_in_order_and_the_ring_is_bounded),
	    cmocka_unit_test(a_stop_finishes_jobs_and_posts_and_drops_the_rest),
	    cmocka_unit_test(the_end_of_the_simulation_is_a_stop_too),
	    cmocka_unit_test(workers_join_the_last_host_and_share_one_hash_key),
	    cmocka_unit_test(memory_that_is_out_is_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
