#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_MAX = 256 * 1024, OUT_MAX = 4 << 20, READY = 64 };

struct stream {
	int fd; /* -1: it has ended */
	struct ssl_st *tls;
	bool done; /* with it, when its input has been looked at */
	size_t in, out, sent; /* octets in `text`; in `queue`, of which `sent` have left */
	char text[IN_MAX + 1], queue[OUT_MAX];
};

static int no(const char *what, uint16_t number)
{
	fprintf(stderr, "load: port %u: %s: %s\n", (unsigned)number, what, strerror(errno));
	return -1;
}

static void stream_end(struct stream *s)
{
	tls_end(s->tls);
	s->tls = NULL;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

/* Takes fd over. The memory of a stream that is not used costs nothing. */
static struct stream *stream_add(struct port *p, int fd, bool server, bool ready)
{
	struct stream *s = p->count < STREAMS_MAX ? malloc(sizeof(*s)) : NULL;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
	int on = 1;

	if (!s) {
		close(fd);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->fd = fd;
	s->tls = p->transport == TLS ? tls_begin(fd, server) : NULL;
	s->done = false;
	s->in = s->out = s->sent = 0;
	if ((p->transport == TLS && (!s->tls || (ready && tls_connect(s->tls)))) || fcntl(fd, F_SETFL, O_NONBLOCK) || epoll_ctl(p->fd, EPOLL_CTL_ADD, fd, &event)) {
		stream_end(s);
		free(s);
		return NULL;
	}
	p->streams[p->count++] = s;
	return s;
}

int tcp_open(struct port *p)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(p->number)};
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	int on = 1;

	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes without MSG_NOSIGNAL */
	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->fd = epoll_create1(EPOLL_CLOEXEC);
	p->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || p->listener < 0)
		return no("socket", p->number);
	setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(p->listener, (struct sockaddr *)&own, sizeof(own)) || listen(p->listener, 64) ||
	    epoll_ctl(p->fd, EPOLL_CTL_ADD, p->listener, &event))
		return no("listen", p->number);
	return 0;
}

/* The loopback device connects at once. */
struct stream *tcp_connect(struct port *p, const struct sockaddr_in *server, bool ready)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct stream *s;

	if (fd < 0 || connect(fd, (const struct sockaddr *)server, sizeof(*server))) {
		no("connect", ntohs(server->sin_port));
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	s = stream_add(p, fd, false, ready);
	if (!s)
		no("the connection is of no use", p->number);
	return s;
}

void tcp_hang_up(struct port *p, struct stream *s)
{
	(void)p;
	s->done = true;
}

/* Those that nobody wants any more. Kept ones that have ended stay: calls point to them. */
static void drop_done(struct port *p)
{
	for (unsigned i = 0; i < p->count;) {
		struct stream *s = p->streams[i];

		if (!s->done) {
			i++;
			continue;
		}
		stream_end(s);
		free(s);
		p->streams[i] = p->streams[--p->count];
	}
}

void tcp_close(struct port *p)
{
	for (unsigned i = 0; i < p->count; i++)
		p->streams[i]->done = true;
	drop_done(p);
	if (p->listener >= 0)
		close(p->listener);
}

void tcp_push(struct port *p, struct stream *s, const char *text, size_t len)
{
	if (!s || s->fd < 0 || len > OUT_MAX - s->out)
		return; /* lost: the call fails, and that is the result */
	memcpy(s->queue + s->out, text, len);
	s->out += len;
	p->sent++;
}

static void stream_flush(struct stream *s)
{
	while (s->fd >= 0 && s->sent < s->out) {
		const char *text = s->queue + s->sent;
		size_t len = s->out - s->sent;
		ssize_t n = s->tls ? tls_send(s->tls, text, len) : send(s->fd, text, len, MSG_NOSIGNAL);

		if (n > 0)
			s->sent += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			break;
		else if (n == 0 || errno != EINTR)
			stream_end(s);
	}
	if (s->sent == s->out)
		s->sent = s->out = 0;
}

void tcp_flush(struct port *p)
{
	drop_done(p);
	for (unsigned i = 0; i < p->count; i++)
		if (p->streams[i]->out > 0)
			stream_flush(p->streams[i]);
}

/* Length of the message at the start of the text; 0: it is not whole yet. Content-Length is written as servers do. */
static size_t message_length(const char *text, size_t len)
{
	static const char name[] = "\r\nContent-Length:";
	const char *end = memmem(text, len, "\r\n\r\n", 4), *field;
	size_t head, body = 0;

	if (!end)
		return 0;
	head = (size_t)(end - text) + 4;
	field = memmem(text, head, name, sizeof(name) - 1);
	if (field)
		body = strtoul(field + sizeof(name) - 1, NULL, 10);
	return head + body <= len ? head + body : 0;
}

static void hand_over(struct port *p, struct stream *s, message_fn fn, void *ctx)
{
	struct origin from = {.stream = s};
	double at = now();
	size_t used = 0, len;

	for (;;) {
		char kept;

		while (used < s->in && (s->text[used] == '\r' || s->text[used] == '\n'))
			used++;
		len = message_length(s->text + used, s->in - used);
		if (len == 0)
			break;
		kept = s->text[used + len];
		s->text[used + len] = '\0';
		p->received++;
		fn(s->text + used, len, &from, at, ctx);
		s->text[used + len] = kept;
		used += len;
	}
	memmove(s->text, s->text + used, s->in - used);
	s->in -= used;
}

static void stream_read(struct port *p, struct stream *s, message_fn fn, void *ctx)
{
	while (s->fd >= 0) {
		char *text = s->text + s->in;
		ssize_t n = s->tls ? tls_recv(s->tls, text, IN_MAX - s->in) : recv(s->fd, text, IN_MAX - s->in, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			stream_end(s);
			return;
		}
		s->in += (size_t)n;
		hand_over(p, s, fn, ctx);
		if (s->in == IN_MAX)
			stream_end(s); /* no message is that long */
		if (!s->tls)
			return; /* of TLS there may be more that no descriptor tells of */
	}
}

void tcp_read(struct port *p, message_fn fn, void *ctx)
{
	struct epoll_event ready[READY];
	int count = epoll_wait(p->fd, ready, READY, 0), fd;

	for (int i = 0; i < count; i++) {
		struct stream *s = ready[i].data.ptr;

		if (s)
			stream_read(p, s, fn, ctx);
		while (!s && (fd = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
			stream_add(p, fd, true, false);
	}
}
