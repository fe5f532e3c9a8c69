#include "tool.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum { STOP_MS = 5000, LINE = 1200, LOOK_MS = 500 };

struct server {
	const struct siphook_api *api;
	struct siphook *instance;
	int signals; /* signalfd */
	int wanted;  /* eventfd: the control socket asked for the end */
	int done;    /* eventfd: the instance has stopped */
	bool hands_over, over; /* with the option handover; another process has taken over, and nothing is left to do here */
};

/* One write per line: several threads log. */
static void log_line(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	char text[LINE], stamp[32];
	struct timespec now;
	struct tm local;
	int n;

	(void)ctx;
	clock_gettime(CLOCK_REALTIME, &now);
	localtime_r(&now.tv_sec, &local);
	strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &local);
	n = snprintf(text, sizeof(text), "%s.%03d %-5s %.*s\n", stamp, (int)(now.tv_nsec / 1000000), names[level],
		     len < LINE - 64 ? (int)len : LINE - 64, line);
	(void)!write(STDERR_FILENO, text, (size_t)n);
}

static void on_stop_wanted(void *ctx)
{
	struct server *server = ctx;

	eventfd_write(server->wanted, 1);
}

static void *stop(void *arg)
{
	struct server *server = arg;

	server->api->stop(server->instance, STOP_MS);
	eventfd_write(server->done, 1);
	return NULL;
}

static void on_status(void *ctx, const char *text, size_t len)
{
	struct server *server = ctx;

	(void)len;
	server->over = strstr(text, "\"succeeded\":true") && strstr(text, "\"busy\":false");
}

/* The next signal, or 0 when something else woke us. The watchdog hears of us only when all workers answer. */
static int next_signal(struct server *server, int other)
{
	struct pollfd fds[] = {{.fd = server->signals, .events = POLLIN}, {.fd = other, .events = POLLIN}};
	int watchdog = service_watchdog_ms(), n;
	int every = server->hands_over && (watchdog < 0 || watchdog > LOOK_MS) ? LOOK_MS : watchdog;
	struct signalfd_siginfo info;

	while ((n = poll(fds, 2, every)) < 0 && errno == EINTR)
		;
	if (n == 0 && server->api->query(server->instance, "status", on_status, server) == 0)
		service_notify("WATCHDOG=1");
	if (fds[0].revents && read(server->signals, &info, sizeof(info)) == sizeof(info))
		return (int)info.ssi_signo;
	return 0;
}

static void on_reloaded(void *ctx, uint64_t generation, const char *error)
{
	(void)ctx;
	(void)generation;
	(void)error; /* the log tells the outcome */
	service_notify("READY=1");
}

static bool readable(int fd)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) > 0;
}

static void serve(struct server *server)
{
	pthread_t stopper;

	while (!readable(server->wanted) && !server->over) {
		int signo = next_signal(server, server->wanted);

		if (signo == SIGHUP) {
			service_notify_reloading();
			if (server->api->reload(server->instance, on_reloaded, NULL) < 0)
				service_notify("READY=1");
		} else if (signo) {
			break;
		}
	}
	service_notify("STOPPING=1");
	if (pthread_create(&stopper, NULL, stop, server) != 0) {
		stop(server);
		return;
	}
	while (!readable(server->done)) {
		int signo = next_signal(server, server->done);

		/* exit() parks the threads of the module. */
		if (signo == SIGINT || signo == SIGTERM)
			exit(1);
	}
	pthread_join(stopper, NULL);
}

/* The listeners in what "status" says. */
static void print_listeners(void *ctx, const char *text, size_t len)
{
	json_t *status = json_loadb(text, len, 0, NULL);
	const json_t *list = json_object_get(status, "listeners");

	(void)ctx;
	for (size_t i = 0; i < json_array_size(list); i++)
		printf("%s%s", i ? ", " : "", json_string_value(json_array_get(list, i)));
	json_decref(status);
}

static void tell_ready(const struct server *server)
{
	printf("siphook %s: listening on ", server->api->version);
	server->api->query(server->instance, "status", print_listeners, NULL);
	puts(", generation 1");
	fflush(stdout);
}

int command_run(struct settings *s)
{
	struct server server = {0};
	struct siphook_host host = {
	    .abi = SIPHOOK_ABI,
	    .size = sizeof(host),
	    .ctx = &server,
	    .log = log_line,
	    .stop_wanted = on_stop_wanted,
	    .listen_fd = service_socket,
	};
	sigset_t signals;
	int code = 1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	server.signals = signalfd(-1, &signals, SFD_CLOEXEC);
	server.wanted = eventfd(0, EFD_CLOEXEC);
	server.done = eventfd(0, EFD_CLOEXEC);
	if (server.signals < 0 || server.wanted < 0 || server.done < 0) {
		complain("%s", strerror(errno));
		return 1;
	}
	for (size_t i = 0; i < s->count; i++)
		server.hands_over = server.hands_over || strcmp(s->options[i].key, "handover") == 0;
	server.api = object_load();
	if (!server.api)
		return 1;
	if (!control_path(s))
		complain("no control socket: XDG_RUNTIME_DIR is not set and -s was not given");
	if (server.api->create(&server.instance, &host, s->options, s->count) < 0) {
		complain("%s%s", settings_place(s, server.api->last_error(NULL)), server.api->last_error(NULL));
		return 1;
	}
	if (server.api->start(server.instance, SIPHOOK_THREADS) < 0) {
		complain("%s", server.api->last_error(server.instance));
	} else {
		tell_ready(&server);
		service_notify("READY=1");
		serve(&server);
		code = 0;
	}
	server.api->destroy(server.instance);
	return code;
}
