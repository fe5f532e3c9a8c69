#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_MAX = 256 * 1024, OUT_MAX = 4 << 20 };

struct stream {
	int fd;
	size_t in, out, sent; /* octets in `text`; in `queue`, of which `sent` have left */
	char text[IN_MAX + 1], queue[OUT_MAX];
};

static int no(const char *what, uint16_t number)
{
	fprintf(stderr, "load: TCP port %u: %s: %s\n", (unsigned)number, what, strerror(errno));
	return -1;
}

static struct stream *stream_add(struct port *p, int fd)
{
	struct stream *s = p->count < STREAMS_MAX ? malloc(sizeof(*s)) : NULL;
	int on = 1;

	if (!s) {
		close(fd);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->fd = fd;
	s->in = s->out = s->sent = 0;
	p->streams[p->count++] = s;
	return s;
}

int tcp_listen(struct port *p)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(p->number)};
	int on = 1;

	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0)
		return no("socket", p->number);
	setsockopt(p->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(p->fd, (struct sockaddr *)&own, sizeof(own)) || listen(p->fd, 64))
		return no("listen", p->number);
	return 0;
}

int tcp_connect(struct port *p, const struct sockaddr_in *server, unsigned connections)
{
	for (unsigned i = 0; i < connections; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || connect(fd, (const struct sockaddr *)server, sizeof(*server)))
			return no("connect", ntohs(server->sin_port));
		if (!stream_add(p, fd))
			return no("connections", p->number);
	}
	return 0;
}

void tcp_close(struct port *p)
{
	while (p->count > 0) {
		struct stream *s = p->streams[--p->count];

		close(s->fd);
		free(s);
	}
}

unsigned tcp_poll(const struct port *p, struct pollfd *fds)
{
	unsigned n = 0;

	if (p->fd >= 0)
		fds[n++] = (struct pollfd){p->fd, POLLIN, 0};
	for (unsigned i = 0; i < p->count; i++)
		if (p->streams[i]->fd >= 0)
			fds[n++] = (struct pollfd){p->streams[i]->fd, POLLIN, 0};
	return n;
}

void tcp_push(struct port *p, struct stream *s, const char *text, size_t len)
{
	if (s->fd < 0 || len > OUT_MAX - s->out)
		return; /* lost: the call fails, and that is the result */
	memcpy(s->queue + s->out, text, len);
	s->out += len;
	p->sent++;
}

static void stream_end(struct stream *s)
{
	close(s->fd);
	s->fd = -1;
}

void tcp_flush(struct port *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct stream *s = p->streams[i];

		while (s->fd >= 0 && s->sent < s->out) {
			ssize_t n = send(s->fd, s->queue + s->sent, s->out - s->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

			if (n > 0)
				s->sent += (size_t)n;
			else if (errno == EAGAIN)
				break;
			else if (errno != EINTR)
				stream_end(s);
		}
		if (s->sent == s->out)
			s->sent = s->out = 0;
	}
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

static void stream_read(struct port *p, struct stream *s, message_fn fn, void *ctx)
{
	ssize_t n = recv(s->fd, s->text + s->in, IN_MAX - s->in, MSG_DONTWAIT);
	struct origin from = {.stream = s};
	size_t at = 0, len;
	double mono;

	if (n <= 0) {
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			stream_end(s);
		return;
	}
	mono = now();
	s->in += (size_t)n;
	for (;;) {
		while (at < s->in && (s->text[at] == '\r' || s->text[at] == '\n'))
			at++;
		len = message_length(s->text + at, s->in - at);
		if (len == 0)
			break;
		char kept = s->text[at + len];

		s->text[at + len] = '\0';
		p->received++;
		fn(s->text + at, len, &from, mono, ctx);
		s->text[at + len] = kept;
		at += len;
	}
	memmove(s->text, s->text + at, s->in - at);
	s->in -= at;
	if (s->in == IN_MAX)
		stream_end(s); /* no message is that long */
}

void tcp_read(struct port *p, message_fn fn, void *ctx)
{
	int fd;

	while (p->fd >= 0 && (fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		stream_add(p, fd);
	for (unsigned i = 0; i < p->count; i++)
		if (p->streams[i]->fd >= 0)
			stream_read(p, p->streams[i], fn, ctx);
}
