#include "tool.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>

enum { ANSWER_MAX = 64 << 20, CHUNK = 65536, ASK_MS = 5000, RELOAD_MS = 65000, STOP_MS = 15000 };

static const char service_path[] = "/run/siphook/control.sock";

const char *control_path(struct settings *s)
{
	const char *path = settings_get(s, "control"), *runtime = getenv("XDG_RUNTIME_DIR");

	if (path)
		return path;
	if (runtime && *runtime) {
		char *own = text_format("%s/siphook/control.sock", runtime);

		settings_set(s, "control", own);
		free(own);
	} else if (geteuid() == 0) {
		settings_set(s, "control", service_path);
	}
	return settings_get(s, "control");
}

/* Where a client asks. A shell of root has an XDG_RUNTIME_DIR too, but a service listens under /run. */
static const char *server_path(struct settings *s)
{
	bool named = settings_get(s, "control") != NULL;
	const char *path = control_path(s);

	if (!named && path && access(path, F_OK) < 0 && access(service_path, F_OK) == 0)
		return service_path;
	return path;
}

static int connect_to(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		complain("control socket %s: longer than 107 bytes", path);
		return -1;
	}
	memcpy(addr.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return fd;
	if (errno == ENOENT || errno == ECONNREFUSED)
		complain("no siphook answers at %s (is it running? -s names another path)", path);
	else
		complain("control socket %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* All until the other side closes; what came so far is kept when it does not do so in time. */
static char *receive(int fd, int timeout_ms, bool *closed)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char *text = NULL;
	size_t len = 0;

	*closed = false;
	for (;;) {
		char *grown = realloc(text, len + CHUNK + 1);
		ssize_t n;

		if (!grown || len > ANSWER_MAX)
			break;
		text = grown;
		text[len] = '\0';
		if (poll(&p, 1, timeout_ms) <= 0)
			break;
		n = recv(fd, text + len, CHUNK, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			*closed = true;
			break;
		}
		len += (size_t)n;
	}
	return text;
}

/* The answer as JSON, or NULL (told on stderr). *closed: the server ended the connection, as it does when it is done.
 */
static json_t *ask(struct settings *s, const char *request, int timeout_ms, bool *closed)
{
	const char *path = server_path(s);
	char *line, *text;
	json_t *answer;
	int fd;

	if (!path) {
		complain("no control socket: XDG_RUNTIME_DIR is not set and -s was not given");
		return NULL;
	}
	fd = connect_to(path);
	if (fd < 0)
		return NULL;
	line = text_format("%s\n", request);
	/* Whom the server does not trust it answers before it has read anything, and closes. */
	if (send(fd, line, strlen(line), MSG_NOSIGNAL) < 0 && errno != EPIPE) {
		complain("control socket %s: %s", path, strerror(errno));
		text = NULL;
	} else {
		text = receive(fd, timeout_ms, closed);
	}
	close(fd);
	free(line);
	if (!text)
		return NULL;
	answer = json_loads(text, 0, NULL);
	if (!answer)
		complain("%s",
			 *closed ? "the server closed the connection without an answer" : "the server does not answer");
	free(text);
	return answer;
}

static void print_json(const json_t *value)
{
	json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
	putchar('\n');
}

/* Tells a refusal. True when the answer is yes. */
static bool agreed(const struct settings *s, const json_t *answer)
{
	if (json_is_true(json_object_get(answer, "ok")))
		return true;
	if (s->json)
		print_json(answer);
	else
		complain("%s", json_string_value(json_object_get(answer, "error")));
	return false;
}

json_t *control_ask(struct settings *s, const char *request)
{
	bool closed = false;
	json_t *answer = ask(s, request, ASK_MS, &closed);

	if (answer && agreed(s, answer))
		return answer;
	json_decref(answer);
	return NULL;
}

static int query(struct settings *s, const char *what)
{
	bool closed = false;
	json_t *answer = ask(s, what, ASK_MS, &closed);
	int code = 1;

	if (answer && agreed(s, answer)) {
		const json_t *result = json_object_get(answer, "result");

		if (s->json)
			print_json(result);
		else if (json_is_string(result))
			fputs(json_string_value(result), stdout);
		else
			table_print(result, what);
		code = 0;
	}
	json_decref(answer);
	return code;
}

int command_status(struct settings *s)
{
	return query(s, "status");
}

int command_calls(struct settings *s)
{
	return query(s, "calls");
}

int command_registrations(struct settings *s)
{
	return query(s, "registrations");
}

int command_metrics(struct settings *s)
{
	return query(s, "metrics");
}

static int reload(struct settings *s, const char *request)
{
	bool closed = false;
	json_t *answer = ask(s, request, RELOAD_MS, &closed);
	int code = 1;

	if (answer && agreed(s, answer)) {
		if (s->json)
			print_json(answer);
		else
			printf("generation %lld\n",
			       (long long)json_integer_value(json_object_get(answer, "generation")));
		code = 0;
	}
	json_decref(answer);
	return code;
}

int command_reload(struct settings *s)
{
	return reload(s, s->tls ? "reload tls" : "reload");
}

int command_rollback(struct settings *s)
{
	return reload(s, "rollback");
}

int command_hangup(struct settings *s)
{
	bool closed = false;
	char *request = text_format("hangup %s", s->argument);
	json_t *answer = strchr(request, '\n') ? NULL : ask(s, request, ASK_MS, &closed);
	int code = 1;

	if (strchr(request, '\n'))
		complain("hangup: that is not the id of a call");
	if (answer && agreed(s, answer)) {
		if (s->json)
			print_json(answer);
		code = 0;
	}
	json_decref(answer);
	free(request);
	return code;
}

int command_stop(struct settings *s)
{
	bool closed = false;
	json_t *answer = ask(s, "stop", STOP_MS, &closed);
	int code = 1;

	if (answer && agreed(s, answer)) {
		if (s->json)
			print_json(answer);
		if (closed)
			code = 0;
		else
			complain("the server was asked to stop but has not stopped yet");
	}
	json_decref(answer);
	return code;
}
