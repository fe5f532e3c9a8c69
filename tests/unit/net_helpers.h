/* What the tests of the real driver share: a net whose workers are turned by the test, on loopback, with a deadline on
 * every wait. */
#ifndef NET_HELPERS_H
#define NET_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "drivers/net/net.h"

#define DEADLINE (10 * SH_SECOND) /* only a broken test ever waits so long, or a machine that stands still */

static inline uint64_t clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SH_SECOND + (uint64_t)t.tv_nsec / 1000;
}

/* Turns all workers until cond holds; fails the test after the deadline. */
#define TURN_UNTIL(net, cond)                                                                                          \
	do {                                                                                                           \
		uint64_t turn_end = clock_now() + DEADLINE;                                                            \
		while (!(cond)) {                                                                                      \
			assert_true(clock_now() < turn_end);                                                           \
			turn_all((net), 1000);                                                                         \
		}                                                                                                      \
	} while (0)

static inline void turn_all(struct sh_net *net, int64_t wait)
{
	unsigned workers = sh_net_env(net, 0)->workers;

	for (unsigned i = 0; i < workers; i++)
		assert_int_equal(sh_net_turn(net, i, wait), 0);
}

static inline struct sh_addr address(const char *host, uint16_t port)
{
	struct sh_addr a;

	assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(host), port), 0);
	return a;
}

static inline struct sh_net *net_with(unsigned workers, const struct sh_env_events *events, void *ctx)
{
	struct sh_net *net = NULL;

	assert_int_equal(sh_net_create(&net, workers, NULL), 0);
	for (unsigned i = 0; i < workers; i++) {
		sh_net_env(net, i)->events = events;
		sh_net_env(net, i)->events_ctx = ctx;
	}
	return net;
}

/* ---- a peer made of plain sockets ---- */

static inline bool has_ipv6(void)
{
	struct sockaddr_storage sa;
	struct sh_addr a = address("::1", 0);
	socklen_t len = sh_addr_to_sockaddr(&a, &sa);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&sa, len) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static inline int peer_socket(int type, const struct sh_addr *local, struct sh_addr *bound)
{
	struct sockaddr_storage sa;
	socklen_t len = sh_addr_to_sockaddr(local, &sa);
	int fd = socket(local->family == 4 ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
	len = sizeof(sa);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	sh_addr_from_sockaddr(bound, (struct sockaddr *)&sa);
	return fd;
}

static inline void peer_send(int fd, const struct sh_addr *to, const void *data, size_t len)
{
	struct sockaddr_storage sa;
	socklen_t salen = sh_addr_to_sockaddr(to, &sa);

	assert_int_equal(sendto(fd, data, len, 0, (struct sockaddr *)&sa, salen), len);
}

static inline void peer_wait(int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	assert_int_equal(poll(&p, 1, (int)(DEADLINE / SH_MS)), 1);
}

/* Waits for a datagram; *from (may be NULL) is who sent it. Returns its length. */
static inline size_t peer_receive(int fd, void *data, size_t room, struct sh_addr *from)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	ssize_t n;

	peer_wait(fd, POLLIN);
	n = recvfrom(fd, data, room, 0, (struct sockaddr *)&sa, &len);
	assert_true(n >= 0);
	if (from)
		sh_addr_from_sockaddr(from, (struct sockaddr *)&sa);
	return (size_t)n;
}

static inline int peer_connect(const struct sh_addr *to)
{
	struct sockaddr_storage sa;
	socklen_t len = sh_addr_to_sockaddr(to, &sa);
	int fd = socket(to->family == 4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
	return fd;
}

static inline int peer_listen(const char *host, struct sh_addr *bound)
{
	struct sh_addr local = address(host, 0);
	int fd = peer_socket(SOCK_STREAM, &local, bound);

	assert_int_equal(listen(fd, 16), 0);
	return fd;
}

static inline int peer_accept(int fd)
{
	int conn;

	peer_wait(fd, POLLIN);
	conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(conn >= 0);
	return conn;
}

#endif
