/* Overload as the real driver sees it: a worker that has always more to do than it can, whoever turns it. */
#include "net_helpers.h"

enum { WORK = 600, BURST = 140 }; /* microseconds for a datagram; more of them than a turn takes */

static void work(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data, size_t len)
{
	uint64_t end = clock_now() + WORK;

	(void)ctx;
	(void)local;
	(void)remote;
	(void)data;
	(void)len;
	while (clock_now() < end)
		;
	++*(unsigned *)user;
}

static void never(struct sh_timer *t)
{
	(void)t;
}

static const struct sh_env_events events = {.udp_data = work};

/* A worker with a socket, and somebody who sends to it. */
struct worker {
	struct sh_net *net;
	struct sh_env *env;
	struct sh_addr bound;
	struct sh_timer timer; /* there is always one */
	unsigned datagrams;
	int64_t wait;
	int peer;
};

static uint64_t longest(const struct worker *w)
{
	return sh_peak_get(&w->env->longest_turn, w->env->now);
}

static uint64_t longest_used(const struct worker *w)
{
	return sh_peak_get(&w->env->longest_turn_used, w->env->now);
}

static void open_worker(struct worker *w, bool driven)
{
	struct sh_addr local = address("127.0.0.1", 0), bound;
	struct sh_udp *u;

	*w = (struct worker){.net = net_with(1, &events, NULL), .wait = driven ? 0 : 1000};
	w->env = sh_net_env(w->net, 0);
	if (driven)
		assert_true(sh_net_fd(w->net, 0) >= 0);
	assert_int_equal(w->env->driver->udp_open(w->env, &local, &w->datagrams, &u, &w->bound), 0);
	sh_timer_init(&w->timer, never);
	sh_env_timer(w->env, &w->timer, 3600 * SH_SECOND);
	w->peer = peer_socket(SOCK_DGRAM, &local, &bound);
}

static void close_worker(struct worker *w)
{
	sh_env_cancel(w->env, &w->timer);
	sh_net_destroy(w->net);
	close(w->peer);
}

static void send_burst(const struct worker *w)
{
	for (int i = 0; i < BURST; i++)
		peer_send(w->peer, &w->bound, "x", 1);
}

static void sees_overload_and_its_end(bool driven)
{
	struct worker w;
	uint64_t began, end;

	open_worker(&w, driven);
	began = clock_now();
	while (!w.env->overloaded) {
		assert_true(clock_now() - began < DEADLINE);
		send_burst(&w);
		turn_all(w.net, w.wait);
	}
	assert_true(clock_now() - began >= SH_OVERLOAD);
	end = clock_now() + DEADLINE;
	while (w.env->overloaded) {
		assert_true(clock_now() < end);
		turn_all(w.net, w.wait);
	}
	close_worker(&w);
}

static void a_worker_sees_its_overload_and_its_end(void **state)
{
	(void)state;
	sees_overload_and_its_end(false);
}

static void a_driven_worker_sees_its_overload_and_its_end(void **state)
{
	(void)state;
	sees_overload_and_its_end(true);
}

/* Long turns are no overload while nothing waits behind them. */
static void a_driven_worker_that_catches_up_is_not_overloaded(void **state)
{
	struct worker w;
	uint64_t began = clock_now();

	(void)state;
	open_worker(&w, true);
	while (clock_now() - began < 2 * SH_OVERLOAD) {
		for (int i = 0; i < 20; i++)
			peer_send(w.peer, &w.bound, "x", 1);
		turn_all(w.net, 0);
		assert_false(w.env->overloaded);
	}
	assert_true(w.datagrams > 0);
	assert_true(longest(&w) >= 20 * WORK / 2);
	close_worker(&w);
}

/* Nor is one that never rests, while what waits is soon read. A machine that runs us for moments only proves nothing: then again. */
static void a_worker_that_keeps_up_is_not_overloaded(void **state)
{
	uint64_t end = clock_now() + DEADLINE;
	bool proven = false;
	struct worker w;

	(void)state;
	while (!proven && clock_now() < end) {
		uint64_t began = clock_now();
		bool overloaded = false;

		open_worker(&w, false);
		while (clock_now() - began < 2 * SH_OVERLOAD) {
			for (int i = 0; i < 20; i++)
				peer_send(w.peer, &w.bound, "x", 1);
			turn_all(w.net, w.wait);
			overloaded = overloaded || w.env->overloaded;
		}
		proven = longest(&w) < 5 * 20 * WORK; /* ten times that may be overload */
		assert_false(proven && overloaded);
		close_worker(&w);
	}
	if (!proven)
		skip();
}

static void pause_for(struct sh_env *env, void *us)
{
	const struct timespec t = {0, *(long *)us * 1000};

	(void)env;
	nanosleep(&t, NULL);
}

/* What a turn used is told from how long it took: a machine that gives the processor to somebody else is no fault of ours. */
static void a_turn_that_was_kept_waiting_has_used_little(void **state)
{
	struct worker w;
	long us = 20000;

	(void)state;
	open_worker(&w, false);
	turn_all(w.net, 0);
	assert_int_equal(sh_net_call(w.net, 0, pause_for, &us), 0);
	turn_all(w.net, 0);
	assert_true(longest(&w) >= 20000);
	assert_true(longest_used(&w) < 10000);
	for (int i = 0; i < 20; i++)
		peer_send(w.peer, &w.bound, "x", 1);
	turn_all(w.net, w.wait);
	assert_true(longest_used(&w) > 0);
	close_worker(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_worker_sees_its_overload_and_its_end),
	    cmocka_unit_test(a_driven_worker_sees_its_overload_and_its_end),
	    cmocka_unit_test(a_driven_worker_that_catches_up_is_not_overloaded),
	    cmocka_unit_test(a_worker_that_keeps_up_is_not_overloaded),
	    cmocka_unit_test(a_turn_that_was_kept_waiting_has_used_little),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
