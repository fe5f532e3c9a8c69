/* The service manager's side of `siphook run`: sd_notify's protocol, sockets that it has opened, its watchdog (sd_notify(3),
 * sd_listen_fds(3), sd_watchdog_enabled(3)). Without systemd's variables in the environment nothing here does anything. */
#include "tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_FD = 3 }; /* SD_LISTEN_FDS_START */

void service_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	int fd;

	if (!len || len >= sizeof(to.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(to.sun_path, path, len);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		complain("the service manager cannot be told \"%s\": %s", state, strerror(errno));
	close(fd);
}

void service_notify_reloading(void)
{
	struct timespec now;
	char text[64];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%lld",
		 (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	service_notify(text);
}

static bool for_this_process(const char *variable)
{
	const char *pid = getenv(variable);

	return pid && strtol(pid, NULL, 10) == getpid();
}

int service_watchdog_ms(void)
{
	const char *us = getenv("WATCHDOG_USEC");
	long long n = us && (!getenv("WATCHDOG_PID") || for_this_process("WATCHDOG_PID")) ? strtoll(us, NULL, 10) : 0;

	return n > 0 ? (int)(n / 1000 / 2 > 0 ? n / 1000 / 2 : 1) : -1;
}

/* "udp://127.0.0.1:5060" as a socket's type and address; false: it has another form, and the module will complain. */
static bool read_uri(const char *uri, int *type, struct sockaddr_storage *addr)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)addr;
	struct sockaddr_in *four = (struct sockaddr_in *)addr;
	char scheme[8], host[64];
	unsigned port = 0;
	int end = 0;

	memset(addr, 0, sizeof(*addr));
	if (sscanf(uri, "%7[a-z]://[%63[0-9a-fA-F:.]]%n", scheme, host, &end) == 2 && end) {
		six->sin6_family = AF_INET6;
		if (inet_pton(AF_INET6, host, &six->sin6_addr) != 1)
			return false;
	} else if (sscanf(uri, "%7[a-z]://%63[0-9.]%n", scheme, host, &end) == 2 && end) {
		four->sin_family = AF_INET;
		if (inet_pton(AF_INET, host, &four->sin_addr) != 1)
			return false;
	} else {
		return false;
	}
	*type = strcmp(scheme, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM;
	if (uri[end] == ':')
		port = (unsigned)strtoul(uri + end + 1, NULL, 10);
	else
		port = strcmp(scheme, "tls") == 0 ? 5061 : strcmp(scheme, "ws") == 0 ? 80 : strcmp(scheme, "wss") == 0 ? 443 : 5060;
	four->sin_port = htons((uint16_t)port); /* the same place in both */
	return true;
}

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	const struct sockaddr_in *a4 = (const struct sockaddr_in *)a, *b4 = (const struct sockaddr_in *)b;
	const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a, *b6 = (const struct sockaddr_in6 *)b;

	if (a->ss_family != b->ss_family || a4->sin_port != b4->sin_port)
		return false;
	return a->ss_family == AF_INET ? a4->sin_addr.s_addr == b4->sin_addr.s_addr
				       : memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0;
}

int service_socket(void *ctx, const char *uri)
{
	struct sockaddr_storage wanted, have;
	int wanted_type, type, count;

	(void)ctx;
	if (!for_this_process("LISTEN_PID") || !getenv("LISTEN_FDS") || !read_uri(uri, &wanted_type, &wanted))
		return -1;
	count = (int)strtol(getenv("LISTEN_FDS"), NULL, 10);
	for (int fd = FIRST_FD; fd < FIRST_FD + count; fd++) {
		socklen_t len = sizeof(have), type_len = sizeof(type);

		if (getsockname(fd, (struct sockaddr *)&have, &len) == 0 && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) == 0 &&
		    type == wanted_type && same_address(&have, &wanted))
			return fd;
	}
	return -1;
}
