/* What the kernel alone takes for datagrams: a server that sends each back, as cheaply as one can (one wait, then batches), and
 * its client.
 *
 *     echo serve PORT                    until SIGTERM; prints the longest turn of its loop as the server measures its own
 *     echo drive PORT RATE COUNT         open-loop, 600 bytes each; prints ok=, the number that came back
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, SIZE = 600, SOCKET_BUFFER = 8 << 20, GRACE = 2, LONG_TURN = 1000 };

struct batch {
	struct mmsghdr headers[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_in peers[BATCH];
	char text[BATCH][2048];
};

static struct batch batch;

static volatile sig_atomic_t over;

static uint64_t microseconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static double now(void)
{
	return (double)microseconds(CLOCK_MONOTONIC) * 1e-6;
}

static struct sockaddr_in loopback(unsigned port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static int open_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = SOCKET_BUFFER;

	if (fd < 0) {
		perror("echo");
		exit(2);
	}
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

static void prepare(const struct sockaddr_in *peer, size_t len)
{
	for (int i = 0; i < BATCH; i++) {
		if (peer)
			batch.peers[i] = *peer;
		batch.parts[i] = (struct iovec){batch.text[i], len};
		batch.headers[i].msg_hdr = (struct msghdr){.msg_name = &batch.peers[i],
							   .msg_namelen = sizeof(batch.peers[i]),
							   .msg_iov = &batch.parts[i],
							   .msg_iovlen = 1};
	}
}

static int receive(int fd)
{
	prepare(NULL, sizeof(batch.text[0]));
	return recvmmsg(fd, batch.headers, BATCH, MSG_DONTWAIT, NULL);
}

static void end(int signal)
{
	(void)signal;
	over = 1;
}

static void send_back(int fd)
{
	int count;

	while ((count = receive(fd)) > 0) {
		for (int i = 0; i < count; i++)
			batch.parts[i].iov_len = batch.headers[i].msg_len;
		sendmmsg(fd, batch.headers, (unsigned)count, 0);
		if (count < BATCH)
			break;
	}
}

/* The thread's time is read once in LONG_TURN at most, and behind turns that took that long: as drivers/net/net.c does it. */
static int serve(unsigned port)
{
	struct sockaddr_in own = loopback(port);
	struct epoll_event event = {.events = EPOLLIN};
	uint64_t began, ended, used = 0, used_read = 0, longest = 0, longest_used = 0;
	int fd = open_socket(), epoll = epoll_create1(EPOLL_CLOEXEC);

	if (epoll < 0 || bind(fd, (struct sockaddr *)&own, sizeof(own)) || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) {
		perror("echo");
		return 2;
	}
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, NULL);
	while (!over && epoll_wait(epoll, &event, 1, -1) >= 0) {
		began = microseconds(CLOCK_MONOTONIC);
		if (began - used_read >= LONG_TURN) {
			used_read = began;
			used = microseconds(CLOCK_THREAD_CPUTIME_ID);
		}
		send_back(fd);
		ended = microseconds(CLOCK_MONOTONIC);
		longest = ended - began > longest ? ended - began : longest;
		if (ended - began < LONG_TURN)
			continue;
		used_read = ended;
		ended = microseconds(CLOCK_THREAD_CPUTIME_ID);
		longest_used = ended - used > longest_used ? ended - used : longest_used;
		used = ended;
	}
	printf("longest_turn_us=%llu longest_turn_cpu_us=%llu\n", (unsigned long long)longest, (unsigned long long)longest_used);
	return 0;
}

static int drive(unsigned port, double rate, long count)
{
	struct sockaddr_in peer = loopback(port);
	double start = now(), end = start + (double)count / rate + GRACE;
	int fd = open_socket(), got;
	long sent = 0, ok = 0;

	prctl(PR_SET_TIMERSLACK, 1);
	while (ok < count && now() < end) {
		long due = (long)((now() - start) * rate) + 1 - sent;

		due = due > count - sent ? count - sent : due;
		if (due > 0) {
			prepare(&peer, SIZE);
			got = sendmmsg(fd, batch.headers, due < BATCH ? (unsigned)due : BATCH, 0);
			sent += got > 0 ? got : 0;
		}
		while ((got = receive(fd)) > 0)
			ok += got;
		if (due <= BATCH) {
			double wait = sent < count ? start + (double)sent / rate - now() : 0.1;
			struct timespec t = {.tv_nsec = (long)(wait * 1e9)};

			if (wait > 0)
				ppoll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, &t, NULL);
		}
	}
	printf("ok=%ld\n", ok);
	return ok == count ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "serve") == 0)
		return serve((unsigned)atoi(argv[2]));
	if (argc == 5 && strcmp(argv[1], "drive") == 0)
		return drive((unsigned)atoi(argv[2]), atof(argv[3]), atol(argv[4]));
	fprintf(stderr, "usage: echo serve PORT | drive PORT RATE COUNT\n");
	return 2;
}
