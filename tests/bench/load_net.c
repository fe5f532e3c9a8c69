#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, READS = 8, SOCKET_BUFFER = 8 << 20 };

struct batch {
	unsigned count;
	struct mmsghdr headers[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_in to[BATCH];
	char text[BATCH][MESSAGE_MAX];
};

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double now(void)
{
	return seconds(CLOCK_MONOTONIC);
}

int port_open(struct port *p, uint16_t number)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(number)};
	int size = SOCKET_BUFFER, on = 1;

	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	*p = (struct port){
	    .transport = p->transport, .fd = -1, .listener = -1, .number = number, .out = calloc(1, sizeof(*p->out))};
	if (p->out && p->transport != UDP)
		return tcp_open(p);
	p->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || !p->out || bind(p->fd, (struct sockaddr *)&own, sizeof(own))) {
		fprintf(stderr, "load: port %u: %s\n", (unsigned)number, strerror(errno));
		port_close(p);
		return -1;
	}
	/* With the privilege beyond the system's limit, else up to it. */
	if (setsockopt(p->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		setsockopt(p->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (setsockopt(p->fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)))
		setsockopt(p->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	setsockopt(p->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
	return 0;
}

void port_close(struct port *p)
{
	tcp_close(p);
	if (p->fd >= 0)
		close(p->fd);
	free(p->out);
	*p = (struct port){.fd = -1, .listener = -1};
}

char *port_buffer(struct port *p)
{
	if (p->out->count == BATCH)
		port_flush(p);
	return p->out->text[p->out->count];
}

void port_push(struct port *p, size_t len, const struct origin *to)
{
	struct batch *b = p->out;
	unsigned i = b->count;

	if (p->transport != UDP) {
		tcp_push(p, to->stream, b->text[i], len);
		return;
	}
	b->count++;
	b->to[i] = to->addr;
	b->parts[i] = (struct iovec){b->text[i], len};
	b->headers[i].msg_hdr = (struct msghdr){
	    .msg_name = &b->to[i], .msg_namelen = sizeof(b->to[i]), .msg_iov = &b->parts[i], .msg_iovlen = 1};
}

/* What the kernel does not take is lost, as datagrams are: the retransmission sends it again. */
void port_flush(struct port *p)
{
	unsigned done = 0;

	if (p->transport != UDP)
		tcp_flush(p);
	while (done < p->out->count) {
		int n = sendmmsg(p->fd, p->out->headers + done, p->out->count - done, 0);

		if (n > 0)
			p->sent += n;
		done += n > 0 ? (unsigned)n : 1;
	}
	p->out->count = 0;
}

/* The kernel's stamp is by the wall clock; `wall` is that clock at `mono`. */
static double stamp(struct msghdr *h, double wall, double mono)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(c), sizeof(t));
			return mono - (wall - ((double)t.tv_sec + (double)t.tv_nsec * 1e-9));
		}
	}
	return mono;
}

void port_read(struct port *p, message_fn fn, void *ctx)
{
	static char text[BATCH][MESSAGE_MAX], control[BATCH][CMSG_SPACE(sizeof(struct timespec))];
	static struct mmsghdr headers[BATCH];
	static struct iovec parts[BATCH];
	static struct sockaddr_in from[BATCH];

	if (p->transport != UDP) {
		tcp_read(p, fn, ctx);
		return;
	}
	for (int round = 0; round < READS; round++) {
		double wall, mono;
		int n;

		for (int i = 0; i < BATCH; i++) {
			parts[i] = (struct iovec){text[i], MESSAGE_MAX - 1};
			headers[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
							     .msg_namelen = sizeof(from[i]),
							     .msg_iov = &parts[i],
							     .msg_iovlen = 1,
							     .msg_control = control[i],
							     .msg_controllen = sizeof(control[i])};
		}
		n = recvmmsg(p->fd, headers, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return;
		wall = seconds(CLOCK_REALTIME);
		mono = now();
		p->received += n;
		for (int i = 0; i < n; i++) {
			text[i][headers[i].msg_len] = '\0';
			fn(text[i], headers[i].msg_len, &(struct origin){.addr = from[i]},
			   stamp(&headers[i].msg_hdr, wall, mono), ctx);
		}
		if (n < BATCH)
			return;
	}
}
