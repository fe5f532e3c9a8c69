/* What is out when instances speak to each other: descriptors, room in a packet, room for what waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/handover.h"

static struct sh_engine engine;
static struct sh_handover *h;
static char buffer[2 * SH_HANDOVER_PACKET];

static void ignore(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	(void)level;
	(void)line;
	(void)len;
	(void)ctx;
}

static int begin(void **state)
{
	(void)state;
	sh_log_init(&engine.log, SH_LOG_DEBUG, ignore, NULL);
	h = engine.handover = sh_calloc(1, sizeof(*h));
	assert_non_null(h);
	h->engine = &engine;
	h->listener = h->newest = h->active = -1;
	h->epoch = 7;
	for (int i = 0; i < SH_HANDOVER_PEERS; i++)
		h->peers[i].fd = -1;
	pthread_mutex_init(&h->lock, NULL);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return h->wake < 0;
}

static int end(void **state)
{
	(void)state;
	for (int i = 0; i < SH_HANDOVER_PEERS; i++) {
		sh_handover_forget(&h->peers[i]);
		if (h->peers[i].fd >= 0)
			close(h->peers[i].fd);
	}
	if (h->listener >= 0)
		close(h->listener);
	close(h->wake);
	pthread_mutex_destroy(&h->lock);
	sh_free(h);
	return 0;
}

/* Both ends do not wait. */
static void make_pair(int pair[2])
{
	int size = 4 << 20;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* No more than those that are open; until allow_all(). */
static struct rlimit allowed;
static void allow_no_more(void)
{
	int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct rlimit none;

	assert_true(next >= 0);
	close(next);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &allowed), 0);
	none = (struct rlimit){(rlim_t)next, allowed.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

static void allow_all(void)
{
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &allowed), 0);
}

static void a_packet_that_is_cut_off_is_none(void **state)
{
	int pair[2];

	(void)state;
	make_pair(pair);
	assert_int_equal(send(pair[0], buffer, SH_HANDOVER_PACKET + 1, 0), SH_HANDOVER_PACKET + 1);
	assert_int_equal(send(pair[0], buffer, SH_HANDOVER_PACKET, 0), SH_HANDOVER_PACKET);
	assert_int_equal(sh_handover_receive(pair[1], buffer, NULL, NULL), -EMSGSIZE);
	assert_int_equal(sh_handover_receive(pair[1], buffer, NULL, NULL), SH_HANDOVER_PACKET);
	assert_int_equal(sh_handover_receive(pair[1], buffer, NULL, NULL), -EAGAIN);
	close(pair[0]);
	assert_int_equal(sh_handover_receive(pair[1], buffer, NULL, NULL), 0);
	close(pair[1]);
}

static void send_descriptors(int to, unsigned count)
{
	char control[CMSG_SPACE(sizeof(int) * SH_HANDOVER_FDS)] __attribute__((aligned(8))) = {0};
	struct iovec part = {buffer, 8};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * count);
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &to, sizeof(int));
	assert_int_equal(sendmsg(to, &m, 0), 8);
}

/* A part of the sockets would be worse than none: who listens beside the others gets a part of what comes. */
static void sockets_come_all_or_not_at_all(void **state)
{
	int pair[2], fds[SH_HANDOVER_FDS];
	unsigned nfds = 0, before;

	(void)state;
	make_pair(pair);
	before = descriptors();
	send_descriptors(pair[0], 3);
	assert_int_equal(sh_handover_receive(pair[1], buffer, fds, &nfds), 8);
	assert_int_equal(nfds, 3);
	while (nfds)
		close(fds[--nfds]);
	send_descriptors(pair[0], 3);
	close(fcntl(pair[0], F_DUPFD, 0));
	allow_no_more();
	assert_int_equal(sh_handover_receive(pair[1], buffer, fds, &nfds), -EMFILE);
	assert_int_equal(nfds, 0);
	allow_all();
	send_descriptors(pair[0], SH_HANDOVER_FDS);
	assert_int_equal(sh_handover_receive(pair[1], buffer, NULL, NULL), 8); /* nobody wants them */
	assert_int_equal(descriptors(), before);
	close(pair[0]);
	close(pair[1]);
}

static unsigned fill(int peer)
{
	unsigned sent = 0;
	int err;

	for (;;) {
		memcpy(buffer, &sent, sizeof(sent));
		pthread_mutex_lock(&h->lock);
		err = sh_handover_tell(h, peer, SH_HANDOVER_WRITE, buffer, SH_HANDOVER_PART, NULL, 0);
		pthread_mutex_unlock(&h->lock);
		if (err)
			break;
		assert_true(++sent < 100000);
	}
	assert_int_equal(err, -ENOBUFS);
	return sent;
}

static void what_waits_for_a_peer_is_bounded_and_keeps_its_order(void **state)
{
	unsigned sent, got = 0;
	int pair[2];
	ssize_t n;

	(void)state;
	make_pair(pair);
	h->peers[0] = (struct sh_handover_peer){.fd = pair[0], .epoch = 8, .greeted = true};
	sent = fill(0);
	assert_true(h->peers[0].waits <= 16 << 20 && h->peers[0].waits > 15 << 20);
	assert_int_equal(atomic_load(&h->lost), 1);
	while (got < sent) {
		uint32_t packet[2];

		pthread_mutex_lock(&h->lock);
		sh_handover_flush(h, 0);
		pthread_mutex_unlock(&h->lock);
		n = sh_handover_receive(pair[1], buffer, NULL, NULL);
		assert_int_equal(n, sizeof(uint32_t) + SH_HANDOVER_PART);
		memcpy(packet, buffer, sizeof(packet));
		assert_int_equal(packet[0], SH_HANDOVER_WRITE);
		assert_int_equal(packet[1], got++);
	}
	assert_int_equal(h->peers[0].waits, 0);
	assert_int_equal(sh_handover_receive(pair[1], buffer, NULL, NULL), -EAGAIN); /* it is still there */
	close(pair[1]);
}

/* It would start without what did not find room. */
static void one_that_takes_over_and_does_not_read_ends(void **state)
{
	int pair[2];
	ssize_t n;

	(void)state;
	make_pair(pair);
	h->peers[0] = (struct sh_handover_peer){.fd = pair[0], .epoch = 8, .greeted = true, .takes = true};
	fill(0);
	while ((n = sh_handover_receive(pair[1], buffer, NULL, NULL)) > 0)
		;
	assert_int_equal(n, 0);
	close(pair[1]);
}

/* Whoever comes waits until there is one again; the thread neither ends nor turns in circles. */
static void without_descriptors_nobody_is_lost(void **state)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct pollfd p;
	struct rusage before, after;
	int client;
	long used;

	(void)state;
	snprintf(at.sun_path + 1, sizeof(at.sun_path) - 1, "siphook-test-%d", (int)getpid()); /* of no folder */
	h->listener = sh_handover_socket();
	assert_int_equal(bind(h->listener, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(h->listener, 4), 0);
	client = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	assert_true(client >= 0);
	allow_no_more();
	assert_int_equal(sh_handover_serve(h), 0);
	getrusage(RUSAGE_SELF, &before);
	assert_int_equal(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(send(client, "x", 1, 0), 1);
	p = (struct pollfd){client, POLLIN, 0};
	assert_int_equal(poll(&p, 1, 250), 0);
	getrusage(RUSAGE_SELF, &after);
	allow_all();
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_true(recv(client, buffer, sizeof(buffer), 0) <= 0); /* what it says is no greeting */
	used = (after.ru_utime.tv_usec - before.ru_utime.tv_usec) + (after.ru_stime.tv_usec - before.ru_stime.tv_usec) +
	       1000000 * ((after.ru_utime.tv_sec - before.ru_utime.tv_sec) + (after.ru_stime.tv_sec - before.ru_stime.tv_sec));
	assert_true(used < 150000);
	sh_handover_quit(h);
	close(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_packet_that_is_cut_off_is_none, begin, end),
		cmocka_unit_test_setup_teardown(sockets_come_all_or_not_at_all, begin, end),
		cmocka_unit_test_setup_teardown(what_waits_for_a_peer_is_bounded_and_keeps_its_order, begin, end),
		cmocka_unit_test_setup_teardown(one_that_takes_over_and_does_not_read_ends, begin, end),
		cmocka_unit_test_setup_teardown(without_descriptors_nobody_is_lost, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
