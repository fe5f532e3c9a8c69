/* What the hosts of the tests have in common: loading the object, a free port, a UDP peer that speaks a little SIP. */
#ifndef TESTS_HOSTS_HOST_H
#define TESTS_HOSTS_HOST_H

#include "siphook.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition);                     \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)

static inline void print_line(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	(void)ctx;
	fprintf(stderr, "%d %.*s\n", (int)level, (int)len, line);
}

static inline siphook_entry_fn load_entry(const char *path)
{
	void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	siphook_entry_fn entry = NULL;

	if (!object)
		fprintf(stderr, "%s\n", dlerror());
	MUST(object);
	*(void **)&entry = dlsym(object, "siphook_entry");
	MUST(entry);
	return entry;
}

static inline const struct siphook_api *load_object(const char *path)
{
	const struct siphook_api *api = load_entry(path)(SIPHOOK_ABI);

	MUST(api);
	return api;
}

static inline int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A UDP socket on a free loopback port. */
static inline int udp_socket(unsigned *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	MUST(fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	MUST(getsockname(fd, (struct sockaddr *)&addr, &len) == 0);
	*port = ntohs(addr.sin_port);
	return fd;
}

static inline unsigned free_port(void)
{
	unsigned port;

	close(udp_socket(&port));
	return port;
}

static inline void send_text(int fd, unsigned port, const char *text)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	addr.sin_port = htons((uint16_t)port);
	MUST(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&addr, sizeof(addr)) > 0);
}

/* One datagram; "" when none came in time. */
static inline char *receive_text(int fd, int timeout_ms, char *text, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ssize_t n = poll(&p, 1, timeout_ms) > 0 ? recv(fd, text, size - 1, MSG_DONTWAIT) : 0;

	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* A request outside a dialog from our port; serial makes its identifiers. */
static inline void send_request(int fd, unsigned own, unsigned port, const char *method, unsigned serial,
				const char *more)
{
	char text[2048];

	snprintf(text, sizeof(text),
		 "%s sip:test@127.0.0.1:%u SIP/2.0\r\n"
		 "Via: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK%ux%u;rport\r\n"
		 "Max-Forwards: 70\r\n"
		 "From: <sip:host@127.0.0.1>;tag=h%u\r\n"
		 "To: <sip:test@127.0.0.1>\r\n"
		 "Call-ID: %ux%u@127.0.0.1\r\n"
		 "CSeq: %u %s\r\n"
		 "Contact: <sip:host@127.0.0.1:%u>\r\n"
		 "%s"
		 "Content-Length: 0\r\n\r\n",
		 method, port, own, (unsigned)getpid(), serial, serial, (unsigned)getpid(), serial, serial, method, own,
		 more);
	send_text(fd, port, text);
}

/* The status code of the answer to a request outside of dialogs (not INVITE, whose answer wants an ACK); 0: none came. */
static inline int answer_to(unsigned port, const char *method)
{
	static unsigned serial = 1000;
	char text[4096];
	unsigned own;
	int fd = udp_socket(&own), code = 0;

	for (int tries = 0; tries < 5 && !code; tries++) {
		send_request(fd, own, port, method, ++serial, "");
		if (strncmp(receive_text(fd, 1000, text, sizeof(text)), "SIP/2.0 ", 8) == 0)
			code = atoi(text + 8);
	}
	close(fd);
	return code;
}

static inline int answers_options(unsigned port)
{
	return answer_to(port, "OPTIONS") == 200;
}

#endif
