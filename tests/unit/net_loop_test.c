/* The turn of the real driver: timers, the descriptor that a host polls, messages between threads, background jobs,
 * names, and the end. */
#include "net_helpers.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static void udp_data(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data,
		     size_t len)
{
	(void)ctx;
	(void)local;
	(void)remote;
	(void)data;
	(void)len;
	++*(unsigned *)user;
}

static unsigned udp_errors;

static void udp_error(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data, size_t len)
{
	(void)ctx;
	(void)user;
	(void)remote;
	(void)error;
	(void)data;
	(void)len;
	udp_errors++;
}

static const struct sh_env_events events = {.udp_data = udp_data, .udp_error = udp_error};

/* ---- time ---- */

struct alarm {
	struct sh_timer timer;
	struct sh_env *env;
	uint64_t due, fired_at;
	unsigned fired;
	uint64_t again; /* fire again after so long */
};

static void on_alarm(struct sh_timer *t)
{
	struct alarm *a = SH_CONTAINER(t, struct alarm, timer);

	a->fired++;
	a->fired_at = clock_now();
	if (a->again > 0) {
		a->due = a->env->now + a->again;
		sh_env_timer(a->env, t, a->again);
	}
}

static void set_alarm(struct alarm *a, struct sh_env *env, uint64_t delay)
{
	memset(a, 0, sizeof(*a));
	a->env = env;
	a->due = env->now + delay;
	sh_timer_init(&a->timer, on_alarm);
	sh_env_timer(env, &a->timer, delay);
}

static void the_clock_is_monotonic_and_knows_the_date(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	uint64_t before = clock_now();
	struct timespec wall;
	int64_t off;

	(void)state;
	turn_all(net, 0);
	clock_gettime(CLOCK_REALTIME, &wall);
	assert_in_range(env->now, before, clock_now());
	off = (int64_t)(sh_env_wall(env) - ((uint64_t)wall.tv_sec * SH_SECOND + (uint64_t)wall.tv_nsec / 1000));
	assert_true(off < (int64_t)SH_SECOND && off > -(int64_t)SH_SECOND);
	sh_net_destroy(net);
}

static void the_wall_clock_is_read_again_after_a_second(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	uint64_t end = clock_now() + DEADLINE;

	(void)state;
	turn_all(net, 0);
	env->wall_offset = 0; /* as if somebody had set the clock */
	while (env->wall_offset == 0) {
		assert_true(clock_now() < end);
		turn_all(net, 100000);
	}
	sh_net_destroy(net);
}

static void timers_wake_the_loop_and_are_never_early(void **state)
{
	static const uint64_t delays[] = {0, 1, 500, 1000, 1700, 5000, 20000, 50000};
	struct sh_net *net = net_with(1, &events, NULL);
	struct alarm alarms[8];
	uint64_t late = 0;

	(void)state;
	turn_all(net, 0);
	for (size_t i = 0; i < 8; i++)
		set_alarm(&alarms[i], sh_net_env(net, 0), delays[i]);
	for (size_t i = 0; i < 8; i++) {
		TURN_UNTIL(net, alarms[i].fired);
		assert_int_equal(alarms[i].fired, 1);
		assert_true(alarms[i].fired_at >= alarms[i].due);
		if (alarms[i].fired_at - alarms[i].due > late)
			late = alarms[i].fired_at - alarms[i].due;
	}
	/* Two milliseconds on an idle machine; the bound is for a busy one. */
	assert_true(late < 500 * SH_MS);
	sh_net_destroy(net);
}

static void a_wait_without_end_ends_with_the_next_timer(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct alarm a;

	(void)state;
	turn_all(net, 0);
	set_alarm(&a, sh_net_env(net, 0), 30 * SH_MS);
	for (int i = 0; i < 3 && !a.fired; i++) /* a level of the wheel may be a stop of its own */
		assert_int_equal(sh_net_turn(net, 0, -1), 0);
	assert_int_equal(a.fired, 1);
	assert_true(a.fired_at >= a.due);
	sh_net_destroy(net);
}

static void a_limited_wait_ends_in_time(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	uint64_t began = clock_now();

	(void)state;
	assert_int_equal(sh_net_turn(net, 0, 10 * (int64_t)SH_MS), 0);
	assert_true(clock_now() - began >= 9 * SH_MS);
	sh_net_destroy(net);
}

/* ---- driven by a host ---- */

static bool is_readable(int fd, int wait_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, wait_ms) == 1;
}

static void the_descriptor_of_a_driven_worker_is_readable_for_timers(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	int fd = sh_net_fd(net, 0);
	struct alarm a, b;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(sh_net_fd(net, 0), fd);
	assert_true(is_readable(fd, 0)); /* for the first turn */
	turn_all(net, 0);
	assert_false(is_readable(fd, 0)); /* nothing to do */
	set_alarm(&a, env, 20 * SH_MS);
	set_alarm(&b, env, 40 * SH_MS);
	sh_net_wake(net, 0); /* they were armed between two turns */
	assert_true(is_readable(fd, 0));
	turn_all(net, 0);
	while (!b.fired) {
		assert_true(is_readable(fd, (int)(DEADLINE / SH_MS)));
		turn_all(net, 0);
		assert_true(a.fired || !b.fired);
	}
	assert_true(a.fired_at >= a.due && b.fired_at >= b.due);
	assert_false(is_readable(fd, 0));
	sh_net_destroy(net);
}

static void a_timer_that_repeats_wakes_a_host_each_time_and_no_more(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	int fd = sh_net_fd(net, 0);
	unsigned turns = 0;
	struct alarm a;

	(void)state;
	turn_all(net, 0);
	set_alarm(&a, sh_net_env(net, 0), 2 * SH_MS);
	a.again = 2 * SH_MS;
	sh_net_wake(net, 0);
	for (; a.fired < 20; turns++) {
		assert_true(is_readable(fd, (int)(DEADLINE / SH_MS)));
		turn_all(net, 0);
	}
	assert_true(turns < 60);
	a.again = 0;
	sh_env_cancel(a.env, &a.timer);
	sh_net_destroy(net);
}

static void the_descriptor_is_readable_for_sockets_and_for_what_is_left_over(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	struct sh_addr local = address("0.0.0.0", 0), foreign = address("192.0.2.1", 0), bound;
	int fd = sh_net_fd(net, 0);
	unsigned datagrams = 0;
	struct sh_udp *u;

	(void)state;
	udp_errors = 0;
	turn_all(net, 0);
	assert_int_equal(env->driver->udp_open(env, &local, &datagrams, &u, &bound), 0);
	local = address("127.0.0.1", bound.port);
	env->driver->udp_send(env, u, NULL, &local, "x", 1);
	turn_all(net, 0);
	assert_true(is_readable(fd, (int)(DEADLINE / SH_MS)));
	turn_all(net, 0);
	assert_int_equal(datagrams, 1);
	assert_false(is_readable(fd, 0));
	env->driver->udp_send(env, u, &foreign, &local, "x", 1); /* refused when the turn ends, told in the next */
	turn_all(net, 0);
	assert_int_equal(udp_errors, 0);
	assert_true(is_readable(fd, 0));
	turn_all(net, 0);
	assert_int_equal(udp_errors, 1);
	assert_false(is_readable(fd, 0));
	sh_net_destroy(net);
}

/* ---- messages ---- */

static void count_message(struct sh_env *env, void *arg)
{
	(void)env;
	++*(unsigned *)arg;
}

static void *wake_it(void *arg)
{
	sh_net_wake(arg, 0);
	return NULL;
}

static void a_wake_ends_an_endless_wait(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	pthread_t thread;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_create(&thread, NULL, wake_it, net), 0);
		assert_int_equal(sh_net_turn(net, 0, -1), 0);
		pthread_join(thread, NULL);
	}
	sh_net_destroy(net);
}

static void a_full_ring_refuses_and_loses_nothing(void **state)
{
	struct sh_net *net = net_with(2, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	unsigned counted = 0, posted = 0;
	int err;

	(void)state;
	while ((err = env->driver->post(env, 1, count_message, &counted)) == 0) {
		posted++;
		assert_true(posted < 1000000);
	}
	assert_int_equal(err, -EAGAIN);
	assert_int_equal(sh_net_call(net, 1, count_message, &counted), -EAGAIN);
	assert_int_equal(env->driver->post(env, 2, count_message, &counted), -EINVAL);
	assert_int_equal(counted, 0);
	assert_int_equal(sh_net_turn(net, 1, 0), 0);
	assert_true(counted > 0 && counted < posted);                            /* a turn is bounded */
	assert_int_equal(env->driver->post(env, 1, count_message, &counted), 0); /* there is room again */
	TURN_UNTIL(net, counted == posted + 1);
	assert_int_equal(sh_net_stats(net, 1)->posts_in, posted + 1);
	sh_net_destroy(net);
}

enum { PRODUCERS = 4, MESSAGES = 20000 };

struct shared {
	struct sh_net *net;
	atomic_uint refused;
	unsigned next[PRODUCERS]; /* the consumer's */
	unsigned received;
	bool out_of_order;
};

struct producer {
	struct shared *shared;
	unsigned number;
};

struct message {
	struct shared *shared;
	unsigned producer, number;
};

static void receive_message(struct sh_env *env, void *arg)
{
	struct message *m = arg;
	struct shared *s = m->shared;

	if (env->worker != 0 || m->number != s->next[m->producer]++)
		s->out_of_order = true;
	s->received++;
	free(m);
}

static void *produce(void *arg)
{
	struct producer *p = arg;

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct message *m = malloc(sizeof(*m));
		*m = (struct message){p->shared, p->number, i};
		while (sh_net_call(p->shared->net, 0, receive_message, m) == -EAGAIN) {
			atomic_fetch_add(&p->shared->refused, 1);
			sched_yield();
		}
	}
	return NULL;
}

static void four_threads_fill_the_ring_of_one_worker(void **state)
{
	struct shared s = {.net = net_with(1, &events, NULL)};
	struct producer producers[PRODUCERS];
	pthread_t threads[PRODUCERS];
	uint64_t end = clock_now() + 6 * DEADLINE;

	(void)state;
	for (unsigned i = 0; i < PRODUCERS; i++) {
		producers[i] = (struct producer){&s, i};
		assert_int_equal(pthread_create(&threads[i], NULL, produce, &producers[i]), 0);
	}
	while (atomic_load(&s.refused) == 0) { /* let it be full first */
		assert_true(clock_now() < end);
		sched_yield();
	}
	while (s.received < PRODUCERS * MESSAGES) { /* a lost wake-up would wait here for a second each */
		assert_true(clock_now() < end);
		assert_int_equal(sh_net_turn(s.net, 0, (int64_t)SH_SECOND), 0);
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		pthread_join(threads[i], NULL);
	assert_false(s.out_of_order);
	assert_int_equal(s.received, PRODUCERS * MESSAGES);
	sh_net_destroy(s.net);
}

/* A message goes round between workers that run on threads of their own. */
enum { LAPS = 2000 };

struct ring_run {
	struct sh_net *net;
	atomic_uint laps, refused;
	atomic_bool stop;
};

static void pass_on(struct sh_env *env, void *arg)
{
	struct ring_run *r = arg;

	if (atomic_fetch_add(&r->laps, 1) + 1 < LAPS &&
	    env->driver->post(env, (env->worker + 1) % env->workers, pass_on, r) != 0)
		atomic_fetch_add(&r->refused, 1);
}

struct worker_run {
	struct ring_run *ring;
	unsigned number;
};

static void *run_worker(void *arg)
{
	struct worker_run *w = arg;

	while (!atomic_load(&w->ring->stop))
		sh_net_turn(w->ring->net, w->number, -1);
	return NULL;
}

static void workers_on_threads_pass_a_message_round(void **state)
{
	struct ring_run r = {0};
	struct worker_run runs[3];
	pthread_t threads[3];
	uint64_t end = clock_now() + DEADLINE;

	(void)state;
	assert_int_equal(sh_net_create(&r.net, 3, NULL), 0);
	for (unsigned i = 0; i < 3; i++) {
		runs[i] = (struct worker_run){&r, i};
		assert_int_equal(pthread_create(&threads[i], NULL, run_worker, &runs[i]), 0);
	}
	assert_int_equal(sh_net_call(r.net, 1, pass_on, &r), 0);
	while (atomic_load(&r.laps) < LAPS && clock_now() < end)
		sched_yield();
	atomic_store(&r.stop, true);
	for (unsigned i = 0; i < 3; i++) {
		sh_net_wake(r.net, i);
		pthread_join(threads[i], NULL);
	}
	assert_int_equal(r.laps, LAPS);
	assert_int_equal(r.refused, 0);
	sh_net_destroy(r.net);
}

/* ---- jobs ---- */

struct job {
	struct sh_net *net;
	pthread_t worked_on;
	unsigned *order, number; /* *order counts finished work */
	unsigned worked, done;
	bool signals_blocked, in_order;
	pthread_mutex_t *gate; /* NULL: none */
};

static void job_work(void *arg)
{
	struct job *j = arg;
	sigset_t set;

	if (j->gate) {
		pthread_mutex_lock(j->gate);
		pthread_mutex_unlock(j->gate);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	j->signals_blocked = sigismember(&set, SIGTERM) && sigismember(&set, SIGPIPE) && sigismember(&set, SIGPROF);
	j->worked_on = pthread_self();
	j->in_order = (*j->order)++ == j->number;
	j->worked++;
}

static void job_done(void *arg)
{
	struct job *j = arg;

	assert_int_equal(j->worked, 1);
	j->done++;
}

static void background_jobs_run_one_after_the_other_on_a_thread_of_their_own(void **state)
{
	enum { JOBS = 20 };
	struct sh_net *net = net_with(2, &events, NULL);
	struct job jobs[JOBS] = {{0}};
	unsigned order = 0;
	sigset_t before, after;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	for (unsigned i = 0; i < JOBS; i++) {
		struct sh_env *env = sh_net_env(net, i % 2);
		jobs[i].order = &order;
		jobs[i].number = i;
		assert_int_equal(env->driver->background(env, job_work, job_done, &jobs[i]), 0);
		assert_int_equal(jobs[i].done, 0);
	}
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
	for (unsigned i = 0; i < JOBS; i++) {
		TURN_UNTIL(net, jobs[i].done);
		assert_int_equal(jobs[i].done, 1);
		assert_true(jobs[i].in_order);
		assert_true(jobs[i].signals_blocked);
		assert_false(pthread_equal(jobs[i].worked_on, pthread_self()));
		assert_true(pthread_equal(jobs[i].worked_on, jobs[0].worked_on));
	}
	sh_net_destroy(net);
}

static void a_job_of_a_driven_worker_makes_its_descriptor_readable(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	unsigned order = 0;
	struct job j = {.order = &order};
	int fd = sh_net_fd(net, 0);

	(void)state;
	turn_all(net, 0);
	assert_int_equal(env->driver->background(env, job_work, job_done, &j), 0);
	assert_true(is_readable(fd, (int)(DEADLINE / SH_MS)));
	turn_all(net, 0);
	assert_int_equal(j.done, 1);
	sh_net_destroy(net);
}

static void stopping_does_what_was_queued_and_refuses_the_rest(void **state)
{
	enum { JOBS = 5 };
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	struct job jobs[JOBS] = {{0}}, late = {0};
	pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
	unsigned order = 0, counted = 0;

	(void)state;
	pthread_mutex_lock(&gate);
	for (unsigned i = 0; i < JOBS; i++) {
		jobs[i].order = &order;
		jobs[i].number = i;
		jobs[i].gate = &gate;
		assert_int_equal(env->driver->background(env, job_work, job_done, &jobs[i]), 0);
	}
	pthread_mutex_unlock(&gate);
	sh_net_stop_background(net);
	late.order = &order;
	assert_int_equal(env->driver->background(env, job_work, job_done, &late), -ESHUTDOWN);
	for (unsigned i = 0; i < JOBS; i++) {
		assert_int_equal(jobs[i].worked, 1);
		assert_int_equal(jobs[i].done, 0); /* that is for the worker's own thread */
	}
	turn_all(net, 0);
	for (unsigned i = 0; i < JOBS; i++)
		assert_int_equal(jobs[i].done, 1);
	assert_int_equal(sh_net_call(net, 0, count_message, &counted), 0);
	sh_net_stop(net);
	assert_int_equal(counted, 1);
	assert_int_equal(sh_net_call(net, 0, count_message, &counted), -ESHUTDOWN);
	assert_int_equal(sh_net_turn(net, 0, 0), -ESHUTDOWN);
	sh_net_stop(net);
	sh_net_destroy(net);
	assert_int_equal(late.worked + late.done, 0);
}

static void a_net_that_is_destroyed_finishes_jobs_and_messages(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	unsigned order = 0, counted = 0;
	struct job j = {.order = &order};

	(void)state;
	assert_int_equal(env->driver->background(env, job_work, job_done, &j), 0);
	assert_int_equal(env->driver->post(env, 0, count_message, &counted), 0);
	sh_net_destroy(net);
	assert_int_equal(j.done, 1);
	assert_int_equal(counted, 1);
}

/* ---- life cycle ---- */

static void workers_share_their_key_and_nets_do_not(void **state)
{
	struct sh_net *a = net_with(3, &events, NULL), *b = net_with(1, &events, NULL);
	const struct sh_hash_key *key = &sh_net_env(a, 0)->key;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct sh_env *env = sh_net_env(a, i);
		assert_int_equal(env->worker, i);
		assert_int_equal(env->workers, 3);
		assert_memory_equal(&env->key, key, sizeof(*key));
		assert_non_null(env->log);
	}
	assert_memory_not_equal(&sh_net_env(b, 0)->key, key, sizeof(*key));
	assert_null(sh_net_env(a, 3));
	sh_net_destroy(a);
	sh_net_destroy(b);
	sh_net_destroy(NULL);
}

static void a_wrong_number_of_workers_is_refused(void **state)
{
	struct sh_net *net = NULL;

	(void)state;
	assert_int_equal(sh_net_create(&net, 0, NULL), -EINVAL);
	assert_int_equal(sh_net_create(&net, SH_NET_MAX_WORKERS + 1, NULL), -EINVAL);
	assert_null(net);
	net = net_with(1, &events, NULL);
	assert_int_equal(sh_net_turn(net, 1, 0), -EINVAL);
	assert_int_equal(sh_net_fd(net, 1), -EINVAL);
	assert_int_equal(sh_net_call(net, 1, count_message, NULL), -EINVAL);
	sh_net_wake(net, 1);
	sh_net_destroy(net);
}

static void every_allocation_of_create_may_fail(void **state)
{
	struct sh_net *net = NULL;
	int err = -ENOMEM;

	(void)state;
	for (long skip_count = 0; err == -ENOMEM; skip_count++) {
		assert_true(skip_count < 100);
		sh_alloc_fail_after(skip_count);
		err = sh_net_create(&net, 2, NULL);
		sh_alloc_fail_after(-1);
		assert_true(err == 0 || !net);
	}
	assert_int_equal(err, 0);
	sh_net_destroy(net);
}

static void after_the_stop_nothing_starts(void **state)
{
	struct sh_net *net = net_with(1, &events, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	struct sh_addr local = address("127.0.0.1", 0), bound;
	struct sh_listener *l;
	struct sh_stream *s;
	struct sh_udp *u, *other;

	(void)state;
	assert_int_equal(env->driver->udp_open(env, &local, NULL, &u, &bound), 0);
	sh_net_stop(net);
	assert_int_equal(env->driver->udp_open(env, &local, NULL, &other, &local), -ESHUTDOWN);
	assert_int_equal(env->driver->listen(env, &local, NULL, &l, &local), -ESHUTDOWN);
	assert_int_equal(env->driver->connect(env, NULL, &bound, NULL, &s), -ESHUTDOWN);
	assert_int_equal(env->driver->post(env, 0, count_message, NULL), -ESHUTDOWN);
	env->driver->udp_close(env, u);
	sh_net_destroy(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_clock_is_monotonic_and_knows_the_date),
	    cmocka_unit_test(the_wall_clock_is_read_again_after_a_second),
	    cmocka_unit_test(timers_wake_the_loop_and_are_never_early),
	    cmocka_unit_test(a_wait_without_end_ends_with_the_next_timer),
	    cmocka_unit_test(a_limited_wait_ends_in_time),
	    cmocka_unit_test(the_descriptor_of_a_driven_worker_is_readable_for_timers),
	    cmocka_unit_test(a_timer_that_repeats_wakes_a_host_each_time_and_no_more),
	    cmocka_unit_test(the_descriptor_is_readable_for_sockets_and_for_what_is_left_over),
	    cmocka_unit_test(a_wake_ends_an_endless_wait),
	    cmocka_unit_test(a_full_ring_refuses_and_loses_nothing),
	    cmocka_unit_test(four_threads_fill_the_ring_of_one_worker),
	    cmocka_unit_test(workers_on_threads_pass_a_message_round),
	    cmocka_unit_test(background_jobs_run_one_after_the_other_on_a_thread_of_their_own),
	    cmocka_unit_test(a_job_of_a_driven_worker_makes_its_descriptor_readable),
	    cmocka_unit_test(stopping_does_what_was_queued_and_refuses_the_rest),
	    cmocka_unit_test(a_net_that_is_destroyed_finishes_jobs_and_messages),
	    cmocka_unit_test(workers_share_their_key_and_nets_do_not),
	    cmocka_unit_test(a_wrong_number_of_workers_is_refused),
	    cmocka_unit_test(every_allocation_of_create_may_fail),
	    cmocka_unit_test(after_the_stop_nothing_starts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
