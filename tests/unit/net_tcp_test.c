/* Streams of the real driver, on loopback. */
#include "net_helpers.h"

#include <sys/resource.h>
#include <sys/wait.h>

enum { MEGABYTE = 1 << 20, BIG = 8 * MEGABYTE, CONNS = 64 };

/* One stream, and what it was told. */
struct conn {
	struct sh_stream *stream; /* NULL: closed */
	unsigned worker;
	struct sh_addr local, remote;
	unsigned connected, accepted, closed, writable, data_events;
	int error;
	size_t received, written, to_write;
	uint32_t sum; /* of what was received, in order */
	char text[64];
	/* What to do in an event. */
	bool close_in_data, close_in_connected, close_in_writable, pause_in_data;
	struct conn *close_other;   /* in data */
	struct conn *connect_other; /* in data, behind close_other */
	struct sh_addr connect_to;
};

static struct sh_net *net;
static struct conn conns[CONNS]; /* of a listener: in the order of arrival */
static unsigned accepted;
static bool refuse_all, close_in_accepted, close_listener_in_accepted;
static struct sh_listener *listener;
static char *pattern;

static struct sh_env *env_of(const struct conn *c)
{
	return sh_net_env(net, c->worker);
}

static void close_conn(struct conn *c)
{
	env_of(c)->driver->close(env_of(c), c->stream);
	c->stream = NULL;
}

static int start_connect(struct conn *c, const struct sh_addr *to)
{
	return env_of(c)->driver->connect(env_of(c), NULL, to, c, &c->stream);
}

static uint32_t checksum(uint32_t sum, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + (unsigned char)data[i];
	return sum;
}

/* Writes as much of the pattern as is taken. */
static void pump(struct conn *c)
{
	while (c->written < c->to_write) {
		ssize_t n =
		    env_of(c)->driver->write(env_of(c), c->stream, pattern + c->written, c->to_write - c->written);
		if (n < 0)
			return;
		c->written += (size_t)n;
		if (c->written < c->to_write)
			return; /* writable will come */
	}
}

static void *stream_accepted(void *ctx, void *user, struct sh_stream *s, const struct sh_addr *local,
			     const struct sh_addr *remote)
{
	struct conn *c = &conns[accepted];

	(void)ctx;
	assert_true(accepted < CONNS);
	accepted++;
	c->worker = (unsigned)(uintptr_t)user - 1;
	c->stream = s;
	c->local = *local;
	c->remote = *remote;
	c->accepted++;
	if (close_listener_in_accepted) {
		env_of(c)->driver->listen_close(env_of(c), listener);
		listener = NULL;
	}
	if (close_in_accepted)
		close_conn(c);
	return refuse_all || close_in_accepted ? NULL : c;
}

static void stream_connected(void *ctx, void *user, const struct sh_addr *local)
{
	struct conn *c = user;

	(void)ctx;
	assert_non_null(c->stream);
	c->connected++;
	c->local = *local;
	if (c->close_in_connected)
		close_conn(c);
}

static void stream_data(void *ctx, void *user, const char *data, size_t len)
{
	struct conn *c = user;

	(void)ctx;
	assert_non_null(c->stream);
	assert_true(len > 0);
	c->data_events++;
	if (c->received < sizeof(c->text))
		memcpy(c->text + c->received, data,
		       len < sizeof(c->text) - c->received ? len : sizeof(c->text) - c->received);
	c->received += len;
	c->sum = checksum(c->sum, data, len);
	if (c->pause_in_data)
		env_of(c)->driver->read_enable(env_of(c), c->stream, false);
	if (c->close_other && c->close_other->stream) {
		close_conn(c->close_other);
		if (c->connect_other)
			assert_int_equal(start_connect(c->connect_other, &c->connect_to), 0);
	}
	if (c->close_in_data)
		close_conn(c);
}

static void stream_writable(void *ctx, void *user)
{
	struct conn *c = user;

	(void)ctx;
	assert_non_null(c->stream);
	assert_int_equal(c->connected + c->accepted, 1);
	c->writable++;
	if (c->close_in_writable)
		close_conn(c);
	else
		pump(c);
}

static void stream_closed(void *ctx, void *user, int error)
{
	struct conn *c = user;

	(void)ctx;
	assert_non_null(c->stream);
	c->stream = NULL;
	c->closed++;
	c->error = error;
}

static const struct sh_env_events events = {
    .stream_accepted = stream_accepted,
    .stream_connected = stream_connected,
    .stream_data = stream_data,
    .stream_writable = stream_writable,
    .stream_closed = stream_closed,
};

static int setup(void **state)
{
	(void)state;
	memset(conns, 0, sizeof(conns));
	accepted = 0;
	refuse_all = close_in_accepted = close_listener_in_accepted = false;
	listener = NULL;
	net = net_with(1, &events, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	sh_net_destroy(net); /* also with what a test left open */
	return 0;
}

static struct sh_addr open_listener(unsigned worker, const struct sh_addr *local)
{
	struct sh_env *env = sh_net_env(net, worker);
	struct sh_addr bound;

	assert_int_equal(env->driver->listen(env, local, (void *)(uintptr_t)(worker + 1), &listener, &bound), 0);
	return bound;
}

static struct sh_addr listen_on(const char *host)
{
	struct sh_addr local = address(host, 0), bound = open_listener(0, &local);

	assert_true(sh_addr_same_host(&bound, &local));
	assert_int_not_equal(bound.port, 0);
	return bound;
}

/* A connection between c and conns[accepted]. */
static struct conn *make_pair(struct conn *c, const struct sh_addr *to)
{
	unsigned index = accepted;

	assert_int_equal(start_connect(c, to), 0);
	assert_int_equal(c->connected, 0); /* never from inside the call */
	TURN_UNTIL(net, c->connected && accepted > index);
	return &conns[index];
}

static ssize_t write_text(struct conn *c, const char *text)
{
	return env_of(c)->driver->write(env_of(c), c->stream, text, strlen(text));
}

static void both_ends_of(const char *host)
{
	struct sh_addr at = listen_on(host);
	struct conn a = {0}, *b = make_pair(&a, &at);

	assert_true(sh_addr_eq(&b->local, &at));
	assert_true(sh_addr_eq(&b->remote, &a.local));
	assert_int_equal(write_text(&a, "ping"), 4);
	TURN_UNTIL(net, b->received == 4);
	assert_memory_equal(b->text, "ping", 4);
	assert_int_equal(write_text(b, "pong!"), 5);
	TURN_UNTIL(net, a.received == 5);
	assert_memory_equal(a.text, "pong!", 5);
	assert_int_equal(a.writable + b->writable, 0); /* nobody was told to wait */
	close_conn(&a);
	TURN_UNTIL(net, b->closed);
	assert_int_equal(b->error, 0);
	assert_int_equal(a.closed, 0);
}

static void a_connection_carries_bytes_both_ways_over_ipv4(void **state)
{
	(void)state;
	both_ends_of("127.0.0.1");
}

static void a_connection_carries_bytes_both_ways_over_ipv6(void **state)
{
	(void)state;
	if (!has_ipv6())
		skip();
	both_ends_of("::1");
}

static void an_any_listener_says_which_address_was_called(void **state)
{
	struct sh_addr at = listen_on("0.0.0.0");
	struct sh_addr to = address("127.0.0.2", at.port);
	struct conn a = {0}, *b = make_pair(&a, &to);

	(void)state;
	assert_true(sh_addr_eq(&b->local, &to));
}

static void a_connection_comes_from_the_address_that_was_asked_for(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1"), from = address("127.0.0.3", 0), v6 = address("::1", 0);
	struct conn a = {0};

	(void)state;
	assert_int_equal(env_of(&a)->driver->connect(env_of(&a), &from, &at, &a, &a.stream), 0);
	TURN_UNTIL(net, accepted == 1 && a.connected);
	assert_true(sh_addr_same_host(&conns[0].remote, &from));
	assert_true(sh_addr_eq(&conns[0].remote, &a.local));
	assert_int_equal(env_of(&a)->driver->connect(env_of(&a), &v6, &at, &a, &a.stream), -EAFNOSUPPORT);
	at.port = 0;
	assert_int_equal(env_of(&a)->driver->connect(env_of(&a), NULL, &at, &a, &a.stream), -EINVAL);
}

static void a_refused_connection_ends_with_the_reason(void **state)
{
	struct sh_addr nobody;
	struct conn a = {0};
	int err;

	(void)state;
	close(peer_listen("127.0.0.1", &nobody));
	err = start_connect(&a, &nobody);
	if (err) { /* the kernel may know at once */
		assert_int_equal(err, -ECONNREFUSED);
		return;
	}
	TURN_UNTIL(net, a.closed);
	assert_int_equal(a.error, -ECONNREFUSED);
	assert_int_equal(a.connected, 0);
}

static void a_connection_attempt_can_be_given_up(void **state)
{
	struct sh_addr at;
	int fd = peer_listen("127.0.0.1", &at);
	struct conn a = {0};

	(void)state;
	assert_int_equal(start_connect(&a, &at), 0);
	close_conn(&a);
	turn_all(net, 1000);
	assert_int_equal(a.connected + a.closed, 0);
	close(fd);
}

static void what_is_written_too_early_is_asked_for_later(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	struct conn a = {.to_write = 5};

	(void)state;
	assert_int_equal(start_connect(&a, &at), 0);
	pump(&a);
	assert_int_equal(a.written, 0);
	TURN_UNTIL(net, a.written == 5);
	assert_int_equal(a.connected, 1);
	assert_int_equal(a.writable, 1);
	TURN_UNTIL(net, conns[0].received == 5);
	turn_all(net, 1000); /* and no more of it */
	assert_int_equal(a.writable, 1);
}

static void eight_megabytes_pass_a_slow_reader_in_order(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	struct conn a = {0}, *b = make_pair(&a, &at);
	size_t stuck;

	(void)state;
	env_of(b)->driver->read_enable(env_of(b), b->stream, false);
	a.to_write = BIG;
	pump(&a);
	assert_in_range(a.written, 1, BIG - 1);
	do { /* until the kernel's buffers of both sides are full */
		stuck = a.written;
		for (int i = 0; i < 20; i++)
			turn_all(net, 1000);
	} while (a.written > stuck);
	assert_true(stuck < BIG);
	assert_int_equal(b->received, 0); /* back-pressure holds */
	b->pause_in_data = true;
	for (unsigned i = 1; i <= 5; i++) {
		env_of(b)->driver->read_enable(env_of(b), b->stream, true);
		TURN_UNTIL(net, b->data_events == i);
		turn_all(net, 1000);
		assert_int_equal(b->data_events, i);
	}
	b->pause_in_data = false;
	env_of(b)->driver->read_enable(env_of(b), b->stream, true);
	TURN_UNTIL(net, b->received == BIG);
	assert_int_equal(a.written, BIG);
	assert_true(a.writable > 0);
	assert_int_equal(b->sum, checksum(0, pattern, BIG));
	/* EPOLLOUT is off again: an idle connection gives no events. */
	a.writable = 0;
	for (int i = 0; i < 5; i++)
		turn_all(net, 1000);
	assert_int_equal(a.writable, 0);
}

static void a_stream_may_be_closed_in_each_of_its_events(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	struct conn a = {.close_in_connected = true}, c = {0}, d = {.close_in_writable = true}, *b;

	(void)state;
	assert_int_equal(start_connect(&a, &at), 0);
	TURN_UNTIL(net, a.connected && accepted == 1 && conns[0].closed);
	assert_null(a.stream);
	assert_int_equal(a.closed, 0);

	b = make_pair(&c, &at);
	b->close_in_data = true;
	write_text(&c, "x");
	TURN_UNTIL(net, c.closed);
	assert_int_equal(b->data_events, 1);
	assert_int_equal(b->closed, 0);

	assert_int_equal(start_connect(&d, &at), 0);
	assert_int_equal(write_text(&d, "later"), 0);
	TURN_UNTIL(net, d.writable);
	assert_null(d.stream);
	assert_int_equal(d.closed, 0);
}

static void a_stream_may_be_refused_or_closed_while_it_is_accepted(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	struct conn a = {0}, b = {0}, c = {0};

	(void)state;
	refuse_all = true;
	assert_int_equal(start_connect(&a, &at), 0);
	TURN_UNTIL(net, a.closed);
	close_in_accepted = true;
	assert_int_equal(start_connect(&b, &at), 0);
	TURN_UNTIL(net, b.closed);
	refuse_all = close_in_accepted = false;
	close_listener_in_accepted = true;
	make_pair(&c, &at);
	assert_null(listener);
	assert_int_equal(write_text(&c, "still"), 5);
	TURN_UNTIL(net, conns[2].received == 5);
}

/* Both streams are ready in one batch. Whichever comes first closes the other one, and opens a third, which takes slot
 * and descriptor of the one that was closed. */
static void an_event_for_what_was_closed_in_its_batch_reaches_nobody(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1"), other;
	int fd = peer_listen("127.0.0.1", &other);

	(void)state;
	for (int round = 0; round < 20; round++) {
		struct conn a = {0}, b = {0}, third = {0}, *x, *y;

		accepted = 0;
		memset(conns, 0, sizeof(conns));
		x = make_pair(&a, &at);
		y = make_pair(&b, &at);
		x->close_other = y;
		y->close_other = x;
		x->connect_other = y->connect_other = &third;
		x->connect_to = y->connect_to = other;
		write_text(&a, "a");
		write_text(&b, "b");
		turn_all(net, 1000);
		TURN_UNTIL(net, third.connected);
		assert_int_equal(x->data_events + y->data_events, 1);
		assert_int_equal(third.data_events + third.closed + third.writable, 0);
		TURN_UNTIL(net, a.closed || b.closed);
		close(peer_accept(fd));
		TURN_UNTIL(net, third.closed);
		if (a.stream)
			close_conn(&a);
		if (b.stream)
			close_conn(&b);
		TURN_UNTIL(net, !x->stream && !y->stream);
	}
	close(fd);
}

static int reset(int fd)
{
	struct linger now = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	return close(fd);
}

static void a_reset_is_told_also_to_one_who_does_not_read(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		int fd = peer_connect(&at);
		TURN_UNTIL(net, accepted == i + 1);
		env_of(&conns[i])->driver->read_enable(env_of(&conns[i]), conns[i].stream, i == 0);
		reset(fd);
		TURN_UNTIL(net, conns[i].closed);
		assert_int_equal(conns[i].error, -ECONNRESET);
	}
}

static void an_orderly_end_waits_for_one_who_does_not_read(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	int fd = peer_connect(&at);
	struct conn *c = &conns[0];

	(void)state;
	TURN_UNTIL(net, accepted == 1);
	env_of(c)->driver->read_enable(env_of(c), c->stream, false);
	assert_int_equal(send(fd, "last words", 10, 0), 10);
	close(fd);
	turn_all(net, 1000);
	turn_all(net, 1000);
	assert_int_equal(c->data_events + c->closed, 0);
	env_of(c)->driver->read_enable(env_of(c), c->stream, true);
	TURN_UNTIL(net, c->closed);
	assert_int_equal(c->error, 0);
	assert_int_equal(c->received, 10);
}

static void a_failed_write_is_followed_by_one_closed_event(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	int fd = peer_connect(&at);
	struct conn *c = &conns[0];
	ssize_t n;

	(void)state;
	TURN_UNTIL(net, accepted == 1);
	reset(fd);
	n = write_text(c, "anybody?"); /* the driver has not seen the reset yet */
	assert_true(n < 0);
	assert_int_equal(write_text(c, "hello?"), n);
	assert_int_equal(c->closed, 0);
	turn_all(net, 0);
	assert_int_equal(c->closed, 1);
	assert_int_equal(c->error, n);
	turn_all(net, 1000);
	assert_int_equal(c->closed, 1);
}

static void a_failed_stream_may_be_closed_before_it_is_told(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	int fd = peer_connect(&at);
	struct conn *c = &conns[0];

	(void)state;
	TURN_UNTIL(net, accepted == 1);
	reset(fd);
	assert_true(write_text(c, "anybody?") < 0);
	close_conn(c);
	turn_all(net, 1000);
	assert_int_equal(c->closed, 0);
}

static void an_occupied_port_is_refused(void **state)
{
	struct sh_addr at, bound;
	int fd = peer_listen("127.0.0.1", &at);
	struct sh_listener *l;

	(void)state;
	for (unsigned workers = 1; workers <= 2; workers++) {
		struct sh_net *n = net_with(workers, &events, NULL);
		for (unsigned i = 0; i < workers; i++) {
			struct sh_env *env = sh_net_env(n, i);
			assert_int_equal(env->driver->listen(env, &at, NULL, &l, &bound), -EADDRINUSE);
		}
		sh_net_destroy(n);
	}
	close(fd);
}

static void a_port_is_free_again_after_a_restart(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1"), again;
	struct conn a = {0}, *b = make_pair(&a, &at);

	(void)state;
	close_conn(b); /* our side waits in TIME_WAIT */
	TURN_UNTIL(net, a.closed);
	sh_net_env(net, 0)->driver->listen_close(sh_net_env(net, 0), listener);
	again = open_listener(0, &at);
	assert_true(sh_addr_eq(&again, &at));
}

static void workers_of_a_net_share_a_listening_port(void **state)
{
	enum { PEERS = 40 };
	struct sh_addr at, local = address("127.0.0.1", 0);
	struct sh_net *stranger = net_with(2, &events, NULL);
	unsigned per_worker[2] = {0};
	struct sh_listener *l;
	int fds[PEERS];

	(void)state;
	sh_net_destroy(net);
	net = net_with(2, &events, NULL);
	at = open_listener(0, &local);
	open_listener(1, &at);
	assert_int_equal(sh_net_env(stranger, 0)->driver->listen(sh_net_env(stranger, 0), &at, NULL, &l, &local),
			 -EADDRINUSE);
	for (unsigned i = 0; i < PEERS; i++)
		fds[i] = peer_connect(&at);
	TURN_UNTIL(net, accepted == PEERS);
	for (unsigned i = 0; i < PEERS; i++) {
		per_worker[conns[i].worker]++;
		close(fds[i]);
	}
	assert_true(per_worker[0] > 0 && per_worker[1] > 0); /* all at one: once in 2^39 */
	sh_net_destroy(stranger);
}

static bool all_deaf(void *ctx, int type, const struct sh_addr *bound)
{
	(void)ctx;
	(void)type;
	(void)bound;
	return true;
}

static void fewer_workers_accept_at_all_listeners_of_the_process_before(void **state)
{
	enum { BEFORE = 5, PEERS = 40 };
	struct sh_addr at, local = address("127.0.0.1", 0);
	struct sh_net *before, *after = net_with(2, &events, NULL);
	int fds[PEERS];

	(void)state;
	sh_net_destroy(net);
	net = before = net_with(BEFORE, &events, NULL);
	at = open_listener(0, &local);
	for (unsigned i = 0; i < BEFORE; i++) {
		int fd;

		if (i)
			open_listener(i, &at);
		assert_int_equal(sh_net_sockets(before, i, &fd, 1), 1);
		assert_int_equal(sh_net_inherit(after, fd), 0);
		sh_net_deafen(before, i, all_deaf, NULL);
	}
	net = after;
	open_listener(1, &at);
	open_listener(0, &at);
	for (unsigned i = 0; i < PEERS; i++)
		fds[i] = peer_connect(&at);
	TURN_UNTIL(net, accepted == PEERS);
	sh_net_env(net, 0)->driver->listen_close(sh_net_env(net, 0), listener);
	for (unsigned i = 0; i < PEERS; i++)
		close(fds[i]);
	sh_net_destroy(before);
}

/* Descriptors are out: the connection waits, the loop does not spin, and later it is accepted. */
static void running_out_of_descriptors_pauses_the_listener(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	int fd = peer_connect(&at), spare = dup(fd);
	struct rlimit limit, low;
	uint64_t began;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)spare + 1; /* it was the lowest free one */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	TURN_UNTIL(net, sh_net_stats(net, 0)->accepts_paused == 1);
	began = clock_now();
	TURN_UNTIL(net, sh_net_stats(net, 0)->accepts_paused == 2);
	assert_true(clock_now() - began >= 90 * SH_MS);
	assert_int_equal(accepted, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	TURN_UNTIL(net, accepted == 1);
	close(fd);
	close(spare);
}

static void memory_that_is_out_is_an_answer(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1"), bound, local = address("127.0.0.1", 0);
	struct sh_env *env = sh_net_env(net, 0);
	struct sh_listener *l;
	struct conn a = {0};
	int fd;

	(void)state;
	sh_alloc_fail_after(0);
	assert_int_equal(start_connect(&a, &at), -ENOMEM);
	assert_int_equal(env->driver->listen(env, &local, NULL, &l, &bound), -ENOMEM);
	fd = peer_connect(&at);
	while (sh_net_stats(net, 0)->accepts_paused == 0 && accepted == 0)
		assert_int_equal(sh_net_turn(net, 0, 1000), 0);
	sh_alloc_fail_after(-1);
	assert_int_equal(accepted, 0);
	assert_int_equal(sh_net_stats(net, 0)->accepts_paused, 1);
	reset(fd);
	make_pair(&a, &at);
}

/* A host's child has copies of all descriptors and may live on for long. */
static void a_close_reaches_the_peer_while_a_forked_child_lives(void **state)
{
	struct sh_addr at = listen_on("127.0.0.1");
	struct conn a = {0}, *b = make_pair(&a, &at);
	int pipe_fds[2], status;
	uint64_t began;
	char byte;
	pid_t child;

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* None of this may be noticed by the parent. */
		bool fine = sh_net_turn(net, 0, 0) == -EPERM && sh_net_fd(net, 0) == -EPERM &&
			    sh_net_call(net, 0, NULL, NULL) == -EPERM;
		close_conn(&a);
		sh_net_stop(net);
		sh_net_destroy(net);
		close(pipe_fds[1]);
		fine = fine && read(pipe_fds[0], &byte, 1) == 0;
		_exit(fine ? 0 : 1);
	}
	close(pipe_fds[0]);
	write_text(&a, "are you there?");
	TURN_UNTIL(net, b->received == 14);
	assert_int_equal(b->closed, 0);
	close_conn(&a);
	TURN_UNTIL(net, b->closed);
	sh_net_env(net, 0)->driver->listen_close(sh_net_env(net, 0), listener);
	assert_int_equal(start_connect(&a, &at), 0);
	TURN_UNTIL(net, a.closed);
	assert_int_equal(a.error, -ECONNREFUSED);
	turn_all(net, 0);
	began = clock_now();
	assert_int_equal(sh_net_turn(net, 0, 20 * (int64_t)SH_MS), 0); /* what was closed does not keep us awake */
	assert_true(clock_now() - began >= 19 * SH_MS);
	close(pipe_fds[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_connection_carries_bytes_both_ways_over_ipv4, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_carries_bytes_both_ways_over_ipv6, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_any_listener_says_which_address_was_called, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_comes_from_the_address_that_was_asked_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_refused_connection_ends_with_the_reason, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_connection_attempt_can_be_given_up, setup, teardown),
	    cmocka_unit_test_setup_teardown(what_is_written_too_early_is_asked_for_later, setup, teardown),
	    cmocka_unit_test_setup_teardown(eight_megabytes_pass_a_slow_reader_in_order, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_stream_may_be_closed_in_each_of_its_events, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_stream_may_be_refused_or_closed_while_it_is_accepted, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_event_for_what_was_closed_in_its_batch_reaches_nobody, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_reset_is_told_also_to_one_who_does_not_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_orderly_end_waits_for_one_who_does_not_read, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_failed_write_is_followed_by_one_closed_event, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_failed_stream_may_be_closed_before_it_is_told, setup, teardown),
	    cmocka_unit_test_setup_teardown(an_occupied_port_is_refused, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_port_is_free_again_after_a_restart, setup, teardown),
	    cmocka_unit_test_setup_teardown(workers_of_a_net_share_a_listening_port, setup, teardown),
	    cmocka_unit_test_setup_teardown(fewer_workers_accept_at_all_listeners_of_the_process_before, setup, teardown),
	    cmocka_unit_test_setup_teardown(running_out_of_descriptors_pauses_the_listener, setup, teardown),
	    cmocka_unit_test_setup_teardown(memory_that_is_out_is_an_answer, setup, teardown),
	    cmocka_unit_test_setup_teardown(a_close_reaches_the_peer_while_a_forked_child_lives, setup, teardown),
	};
	int failed;

	pattern = malloc(BIG);
	if (!pattern)
		return 1;
	for (size_t i = 0; i < BIG; i++)
		pattern[i] = (char)(i * 7 + i / 251);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(pattern);
	return failed;
}
