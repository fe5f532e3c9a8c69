/* What adapters of hosts with several processes share: SIP runs in one process, which the others ask over its control socket,
 * on sockets that the parent of them all has opened, so that no datagram is lost while one process takes the place of another. */
#ifndef SIPHOOK_PROCESSES_H
#define SIPHOOK_PROCESSES_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---------------------------------------------------------------- listening sockets */

enum { LISTENER_URI = 128, LISTENERS = 16, LISTENER_BACKLOG = 1024 };

/* Sockets that the parent keeps; a change of the configuration closes those that are no more wanted. All 0 is none. */
struct listeners {
	struct listener {
		char uri[LISTENER_URI];
		int fd;
		int wanted;
	} list[LISTENERS];
	unsigned count;
};

/* "udp://127.0.0.1:5060", "tls://[::1]:5061": a socket that is bound, and listens unless it is of UDP; -1 and errno. */
static inline int listener_open(const char *uri)
{
	static const char *const schemes[] = {"udp", "tcp", "tls", "ws", "wss"};
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE}, *found;
	const char *host = strstr(uri, "://"), *colon = strrchr(uri, ':');
	char name[64], port[16];
	unsigned scheme = 0;
	int fd, on = 1;

	errno = EINVAL;
	if (!host || colon <= host)
		return -1;
	while (scheme < 5 && (strncmp(uri, schemes[scheme], (size_t)(host - uri)) != 0 || schemes[scheme][host - uri]))
		scheme++;
	host += 3;
	snprintf(name, sizeof(name), "%.*s", (int)(colon - host), host);
	if (*host == '[' && colon[-1] == ']')
		snprintf(name, sizeof(name), "%.*s", (int)(colon - host) - 2, host + 1);
	snprintf(port, sizeof(port), "%s", colon + 1);
	hints.ai_socktype = scheme == 0 ? SOCK_DGRAM : SOCK_STREAM;
	if (scheme == 5 || getaddrinfo(name, port, &hints, &found) != 0)
		return -1;
	fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0) {
		if (found->ai_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
		if (scheme != 0)
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || (scheme != 0 && listen(fd, LISTENER_BACKLOG) < 0)) {
			int err = errno;

			close(fd);
			errno = err;
			fd = -1;
		}
	}
	freeaddrinfo(found);
	return fd;
}

/* The socket of an address, or -1. */
static inline int listener_find(const struct listeners *l, const char *uri)
{
	for (unsigned i = 0; i < l->count; i++)
		if (strcmp(l->list[i].uri, uri) == 0)
			return l->list[i].fd;
	return -1;
}

/* Begin, want each address, end: the others are closed. What cannot be opened is left to the module, which says why. */
static inline void listeners_begin(struct listeners *l)
{
	for (unsigned i = 0; i < l->count; i++)
		l->list[i].wanted = 0;
}

static inline void listeners_want(struct listeners *l, const char *uri)
{
	int fd;

	for (unsigned i = 0; i < l->count; i++) {
		if (strcmp(l->list[i].uri, uri) == 0) {
			l->list[i].wanted = 1;
			return;
		}
	}
	if (l->count == LISTENERS || strlen(uri) >= LISTENER_URI || (fd = listener_open(uri)) < 0)
		return;
	l->list[l->count] = (struct listener){.fd = fd, .wanted = 1};
	snprintf(l->list[l->count++].uri, LISTENER_URI, "%s", uri);
}

static inline void listeners_end(struct listeners *l)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < l->count; i++) {
		if (l->list[i].wanted)
			l->list[kept++] = l->list[i];
		else
			close(l->list[i].fd);
	}
	l->count = kept;
}

/* ---------------------------------------------------------------- the secret of the hand-over */

enum { SECRET_LEN = 64 };

static inline int secret_read(const char *path, char out[SECRET_LEN + 1])
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), ours;
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return -1;
	ours = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && !(st.st_mode & 077);
	if (ours)
		n = read(fd, out, SECRET_LEN);
	close(fd);
	out[SECRET_LEN] = '\0';
	if (n == SECRET_LEN)
		return 1;
	errno = ours && unlink(path) == 0 ? ENOENT : EPERM; /* one that was cut off is as good as none */
	return -1;
}

/* As a whole, and only where there is none: of two that come first at once both have the same in the end. */
static inline int secret_make(const char *path)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char noise[SECRET_LEN / 2];
	char text[SECRET_LEN], fresh[4128];
	int fd, err, made;

	if (getentropy(noise, sizeof(noise)) < 0)
		return -1;
	for (size_t i = 0; i < SECRET_LEN; i++)
		text[i] = digits[noise[i / 2] >> (i & 1 ? 0 : 4) & 15];
	snprintf(fresh, sizeof(fresh), "%s.%d", path, (int)getpid());
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST && unlink(fresh) == 0) /* of one that died */
		fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	errno = EIO;
	made = write(fd, text, SECRET_LEN) == SECRET_LEN && fsync(fd) == 0 && (link(fresh, path) == 0 || errno == EEXIST) ? 0 : -1;
	err = errno;
	close(fd);
	unlink(fresh);
	errno = err;
	return made;
}

/* What the option handover_secret is: children that run as another user than their parent, root, prove by it to each other that they are
 * its children, which other processes of that user cannot. It stands in the file FOLDER.key, which root alone can read, so that a parent that
 * takes the place of this one gives its children the same. 1: out has it; 0: there is none, because the parent is not root and hides
 * nothing from its user; -1 and errno: the file is missing and cannot be made, or somebody else may read or write it (EPERM). */
static inline int handover_secret(const char *folder, char out[SECRET_LEN + 1])
{
	char path[4096];
	int n;

	if (geteuid() != 0)
		return 0;
	errno = ENAMETOOLONG;
	if (snprintf(path, sizeof(path), "%s.key", folder) >= (int)sizeof(path))
		return -1;
	n = secret_read(path, out);
	if (n < 0 && errno == ENOENT && secret_make(path) == 0)
		n = secret_read(path, out);
	return n;
}

/* ---------------------------------------------------------------- questions */

#ifndef ASK_INTERRUPTED
#define ASK_INTERRUPTED 0 /* looked at when a signal came: not 0 ends the waiting */
#endif

enum { ASK_WAIT_MS = 3000, ASK_RELOAD_MS = 60000, ASK_MAX = 64 << 20 };

static inline char *ask_receive(int fd, int wait_ms)
{
	size_t cap = 0, len = 0;
	char *text = NULL, *grown;
	ssize_t n;

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};

		if (cap - len < 4096) {
			cap = cap ? 2 * cap : 16384;
			grown = cap <= ASK_MAX ? realloc(text, cap) : NULL;
			if (!grown)
				break;
			text = grown;
		}
		n = poll(&p, 1, wait_ms);
		if (n > 0)
			n = recv(fd, text + len, cap - len - 1, 0);
		else if (n == 0)
			break;
		if (n < 0 && errno == EINTR && !ASK_INTERRUPTED)
			continue;
		if (n < 0)
			break;
		if (n == 0) {
			text[len] = '\0';
			return text;
		}
		len += (size_t)n;
	}
	free(text);
	return NULL;
}

/* In place: the JSON string that begins at text[0] == '"'. The module escapes no more than these. */
static inline void ask_unquote(char *text)
{
	char *to = text, *from = text + 1;
	unsigned code;

	while (*from && *from != '"') {
		if (*from != '\\') {
			*to++ = *from++;
		} else if (from[1] == 'u' && sscanf(from + 2, "%4x", &code) == 1 && code && code < 0x80) {
			*to++ = (char)code;
			from += 6;
		} else if (from[1]) {
			*to++ = from[1] == 'n' ? '\n' : from[1];
			from += 2;
		} else {
			break;
		}
	}
	*to = '\0';
}

/* The answer without its frame, in place; false: a refusal, whose words stand there then. */
static inline int ask_unwrap(char *text)
{
	static const char agreed[] = "{\"ok\":true", result[] = "{\"ok\":true,\"result\":", refused[] = "{\"ok\":false,\"error\":";
	size_t len = strlen(text), frame = 0;
	int ok = strncmp(text, agreed, sizeof(agreed) - 1) == 0;

	if (len && text[len - 1] == '\n')
		text[--len] = '\0';
	if (strncmp(text, result, sizeof(result) - 1) == 0)
		frame = sizeof(result) - 1;
	else if (strncmp(text, refused, sizeof(refused) - 1) == 0)
		frame = sizeof(refused) - 1;
	if (!frame)
		return ok;
	text[len - 1] = '\0';
	memmove(text, text + frame, len - frame);
	if (text[0] == '"')
		ask_unquote(text);
	return ok;
}

/* Asks the instance behind a control socket: "status", "calls", "registrations", "metrics", "reload", "hangup ID". What comes back is
 * the result as JSON, or as text if it is a text, or the whole answer if there is no result in it; for the caller to free. NULL and
 * words: it refuses, or nobody answers. */
static inline char *ask(const char *path, const char *request, char *error, size_t size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char *text = NULL, line[600];
	int n = snprintf(line, sizeof(line), "%s\n", request);

	snprintf(error, size, "siphook does not run, or does not answer");
	if (fd < 0)
		return NULL;
	if (strlen(path) < sizeof(addr.sun_path) && n < (int)sizeof(line)) {
		memcpy(addr.sun_path, path, strlen(path));
		if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0 && send(fd, line, (size_t)n, MSG_NOSIGNAL) == n)
			text = ask_receive(fd, strcmp(request, "reload") == 0 ? ASK_RELOAD_MS : ASK_WAIT_MS);
	}
	close(fd);
	if (text && !ask_unwrap(text)) {
		snprintf(error, size, "%s", text);
		free(text);
		text = NULL;
	}
	return text;
}

#endif
