#include "ops/control.h"
#include "ops/control_socket.h"
#include "core/alloc.h"
#include "core/encode.h"
#include "engine/engine.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
	EVENTS = 8,
	TALK_MS = 5000,    /* a client sends its request, or takes its answer, within this time */
	RELOAD_MS = 60000, /* a reload has a budget of its own; this is for one that waits behind others */
	PARK_MS = 100,
	ERROR_MAX = 512,
};

/* What a reload's outcome is written to: it comes on a worker, perhaps after the client or the socket is gone. */
struct ticket {
	_Atomic unsigned refs; /* the client's and the engine's */
	_Atomic bool done;
	int fd; /* eventfd: readable when done */
	uint64_t generation;
	char error[ERROR_MAX];
};

enum client_state {
	CLIENT_FREE,
	CLIENT_ASKS,
	CLIENT_WAITS,   /* for its reload */
	CLIENT_TAKES,   /* the answer */
	CLIENT_LINGERS, /* has its answer to "stop"; the close tells it that we have stopped */
};

struct client {
	enum client_state state;
	bool lingers;
	int fd;
	int64_t deadline; /* ms; INT64_MAX: none */
	struct ticket *ticket;
	char in[SH_CONTROL_REQUEST];
	size_t nin;
	char *out;
	size_t nout, cap, sent;
};

struct sh_control {
	struct sh_control_socket socket;
	struct sh_engine *engine;
	struct sh_log *log;
	void (*stop_wanted)(void *ctx);
	void (*reloaded)(void *ctx, uint64_t generation);
	void *ctx;
	int epoll, wake, timer;
	bool threaded;
	_Atomic bool accepting;
	pthread_t thread;
	_Atomic bool quit;
	unsigned live;
	struct client clients[SH_CONTROL_CLIENTS];
};

/* What an event belongs to, in epoll's data: never a pointer, since an event may be older than a slot's new tenant. A
 * mistaken event costs a read that finds nothing. */
enum event_of { OF_LISTENER, OF_WAKE, OF_TIMER, OF_CLIENT = 16, OF_TICKET = OF_CLIENT + SH_CONTROL_CLIENTS };

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int watch(struct sh_control *c, int fd, int op, uint32_t events, unsigned of)
{
	struct epoll_event event = {.events = events, .data.u64 = of};

	return epoll_ctl(c->epoll, op, fd, &event) < 0 ? -errno : 0;
}

/* ---------------------------------------------------------------- tickets */

static struct ticket *ticket_create(void)
{
	struct ticket *t = sh_calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	atomic_init(&t->refs, 2);
	t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->fd < 0) {
		sh_free(t);
		return NULL;
	}
	return t;
}

static void ticket_unref(struct ticket *t)
{
	if (atomic_fetch_sub(&t->refs, 1) > 1)
		return;
	close(t->fd);
	sh_free(t);
}

static void on_reloaded(void *ctx, uint64_t generation, const char *error)
{
	struct ticket *t = ctx;

	t->generation = generation;
	snprintf(t->error, sizeof(t->error), "%s", error ? error : "");
	atomic_store(&t->done, true);
	eventfd_write(t->fd, 1);
	ticket_unref(t);
}

/* ---------------------------------------------------------------- answers */

/* Room behind the answer. NULL, out of memory: the answer is dropped and the client sees its connection close. */
static char *room(struct client *cl, size_t len)
{
	if (len > cl->cap - cl->nout) {
		size_t cap = cl->nout + len + 256;
		char *grown = sh_realloc(cl->out, cap);

		if (!grown)
			return NULL;
		cl->out = grown;
		cl->cap = cap;
	}
	return cl->out + cl->nout;
}

static bool put(struct client *cl, const char *text, size_t len)
{
	char *to = room(cl, len);

	if (!to)
		return false;
	memcpy(to, text, len);
	cl->nout += len;
	return true;
}

static bool put_text(struct client *cl, const char *text)
{
	return put(cl, text, strlen(text));
}

static bool put_string(struct client *cl, const char *text)
{
	struct sh_slice s = sh_slice_cstr(text);
	char *to = put_text(cl, "\"") ? room(cl, SH_JSON_ROOM * s.len + 1) : NULL;

	if (!to)
		return false;
	cl->nout += sh_json_escape(s, false, to);
	return put_text(cl, "\"");
}

static void drop_ticket(struct sh_control *c, struct client *cl)
{
	if (!cl->ticket)
		return;
	epoll_ctl(c->epoll, EPOLL_CTL_DEL, cl->ticket->fd, NULL);
	ticket_unref(cl->ticket);
	cl->ticket = NULL;
}

static void client_close(struct sh_control *c, struct client *cl)
{
	drop_ticket(c, cl);
	/* A forked child of the host may hold a copy of the descriptor: a close alone would leave it in epoll. */
	epoll_ctl(c->epoll, EPOLL_CTL_DEL, cl->fd, NULL);
	shutdown(cl->fd, SHUT_RDWR);
	close(cl->fd);
	sh_free(cl->out);
	*cl = (struct client){.fd = -1};
	c->live--;
}

static void client_send(struct sh_control *c, struct client *cl)
{
	unsigned index = (unsigned)(cl - c->clients);

	while (cl->sent < cl->nout) {
		ssize_t n = send(cl->fd, cl->out + cl->sent, cl->nout - cl->sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			if (watch(c, cl->fd, EPOLL_CTL_MOD, EPOLLOUT, OF_CLIENT + index) < 0)
				client_close(c, cl);
			return;
		}
		if (n < 0) {
			client_close(c, cl);
			return;
		}
		cl->sent += (size_t)n;
		cl->deadline = now_ms() + TALK_MS;
	}
	if (!cl->lingers || watch(c, cl->fd, EPOLL_CTL_MOD, 0, OF_CLIENT + index) < 0) {
		client_close(c, cl);
		return;
	}
	cl->state = CLIENT_LINGERS;
	cl->deadline = INT64_MAX;
}

static void client_answer(struct sh_control *c, struct client *cl, bool complete)
{
	drop_ticket(c, cl);
	if (!complete || !put_text(cl, "\n")) {
		sh_warn(c->log, "control socket: no memory for an answer");
		client_close(c, cl);
		return;
	}
	cl->state = CLIENT_TAKES;
	cl->deadline = now_ms() + TALK_MS;
	client_send(c, cl);
}

static void client_refuse(struct sh_control *c, struct client *cl, const char *words)
{
	client_answer(c, cl, put_text(cl, "{\"ok\":false,\"error\":") && put_string(cl, words) && put_text(cl, "}"));
}

static void client_fail(struct sh_control *c, struct client *cl, int err)
{
	const char *words = strerrordesc_np(-err);

	if (err == -ETIMEDOUT)
		words = "a worker does not answer";
	else if (err == -EPERM)
		words = "the server is stopping";
	client_refuse(c, cl, words ? words : "failed");
}

/* ---------------------------------------------------------------- requests */

struct query_text {
	struct client *client;
	bool ok;
};

static void on_query_text(void *ctx, const char *text, size_t len)
{
	struct query_text *q = ctx;

	q->ok =
	    put_text(q->client, "{\"ok\":true,\"result\":") && put(q->client, text, len) && put_text(q->client, "}");
}

static void do_query_to(struct sh_control *c, struct client *cl, const char *what, sh_engine_text_fn fn)
{
	struct query_text q = {.client = cl};
	int err = sh_engine_query(c->engine, what, fn, &q);

	if (err < 0)
		client_fail(c, cl, err);
	else
		client_answer(c, cl, q.ok);
}

static void do_query(struct sh_control *c, struct client *cl, const char *what)
{
	do_query_to(c, cl, what, on_query_text);
}

static void start_reload(struct sh_control *c, struct client *cl, int (*start)(struct sh_engine *e, sh_engine_reload_fn done, void *ctx))
{
	unsigned index = (unsigned)(cl - c->clients);
	struct ticket *t = ticket_create();
	int err;

	if (!t) {
		client_fail(c, cl, -ENOMEM);
		return;
	}
	err = watch(c, t->fd, EPOLL_CTL_ADD, EPOLLIN, OF_TICKET + index);
	if (err == 0)
		err = start(c->engine, on_reloaded, t);
	if (err < 0) {
		epoll_ctl(c->epoll, EPOLL_CTL_DEL, t->fd, NULL);
		ticket_unref(t);
		ticket_unref(t);
		client_fail(c, cl, err);
		return;
	}
	cl->ticket = t;
	cl->state = CLIENT_WAITS;
	cl->deadline = now_ms() + RELOAD_MS;
	/* Only its going away is of interest until the outcome is there. */
	if (watch(c, cl->fd, EPOLL_CTL_MOD, 0, OF_CLIENT + index) < 0)
		client_close(c, cl);
}

static void do_reload(struct sh_control *c, struct client *cl, const char *argument)
{
	if (*argument && strcmp(argument, "tls") != 0)
		client_refuse(c, cl, "reload: only \"tls\" can stand behind it");
	else
		start_reload(c, cl, *argument ? sh_engine_reload_tls : sh_engine_reload);
}

static void do_rollback(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	start_reload(c, cl, sh_engine_rollback);
}

static void finish_reload(struct sh_control *c, struct client *cl)
{
	struct ticket *t = cl->ticket;
	char number[64];

	if (!t || !atomic_load(&t->done))
		return;
	if (t->generation > 0) {
		if (c->reloaded)
			c->reloaded(c->ctx, t->generation);
		snprintf(number, sizeof(number), "{\"ok\":true,\"generation\":%llu}",
			 (unsigned long long)t->generation);
		client_answer(c, cl, put_text(cl, number));
	} else {
		client_refuse(c, cl, t->error[0] ? t->error : "the reload failed");
	}
}

static void do_hangup(struct sh_control *c, struct client *cl, const char *id)
{
	char words[SH_CONTROL_REQUEST + 32];
	int err;

	if (!*id) {
		client_refuse(c, cl, "hangup: the id of a call is missing");
		return;
	}
	err = sh_engine_hangup(c->engine, id);
	if (err == -ENOENT) {
		snprintf(words, sizeof(words), "no such call: %s", id);
		client_refuse(c, cl, words);
	} else if (err < 0) {
		client_fail(c, cl, err);
	} else {
		client_answer(c, cl, put_text(cl, "{\"ok\":true}"));
	}
}

static void do_stop(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	if (!c->stop_wanted) {
		client_refuse(c, cl, "this host does not stop on request");
		return;
	}
	sh_info(c->log, "control socket: asked to stop");
	cl->lingers = true;
	client_answer(c, cl, put_text(cl, "{\"ok\":true}"));
	c->stop_wanted(c->ctx);
}

static void do_query_status(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	do_query(c, cl, "status");
}

static void do_query_calls(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	do_query(c, cl, "calls");
}

static void do_query_registrations(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	do_query(c, cl, "registrations");
}

static void on_metrics_text(void *ctx, const char *text, size_t len)
{
	struct query_text *q = ctx;

	(void)len; /* there is no NUL inside */
	q->ok = put_text(q->client, "{\"ok\":true,\"result\":") && put_string(q->client, text) && put_text(q->client, "}");
}

static void do_query_metrics(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	do_query_to(c, cl, "metrics", on_metrics_text);
}

static void answer_engine(struct sh_control *c, struct client *cl, int err)
{
	if (err == -EBUSY)
		client_refuse(c, cl, "a call is being recorded already");
	else if (err < 0)
		client_fail(c, cl, err);
	else
		client_answer(c, cl, put_text(cl, "{\"ok\":true}"));
}

static void do_record(struct sh_control *c, struct client *cl, const char *filter)
{
	answer_engine(c, cl, sh_engine_record(c->engine, filter));
}

static void do_recorded(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	do_query(c, cl, "record");
}

static void do_unrecord(struct sh_control *c, struct client *cl, const char *argument)
{
	(void)argument;
	answer_engine(c, cl, sh_engine_record_stop(c->engine));
}

static const struct command {
	const char *name;
	void (*run)(struct sh_control *c, struct client *cl, const char *argument);
	bool takes_argument;
} commands[] = {
    {"reload", do_reload, true},     {"status", do_query_status, false},
    {"calls", do_query_calls, false}, {"registrations", do_query_registrations, false},
    {"hangup", do_hangup, true},      {"rollback", do_rollback, false},
    {"metrics", do_query_metrics, false}, {"stop", do_stop, false},
    {"record", do_record, true},      {"recorded", do_recorded, false},
    {"unrecord", do_unrecord, false},
};

static void run_request(struct sh_control *c, struct client *cl, char *line)
{
	char words[SH_CONTROL_REQUEST + 32];
	char *argument = strchr(line, ' ');

	if (argument) {
		*argument++ = '\0';
		argument += strspn(argument, " ");
	} else {
		argument = line + strlen(line);
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(line, commands[i].name) != 0)
			continue;
		if (*argument && !commands[i].takes_argument)
			break;
		commands[i].run(c, cl, argument);
		return;
	}
	snprintf(words, sizeof(words), "unknown request: %s%s%s", line, *argument ? " " : "", argument);
	client_refuse(c, cl, words);
}

static void client_read(struct sh_control *c, struct client *cl)
{
	char *end;
	ssize_t n;

	do {
		n = recv(cl->fd, cl->in + cl->nin, sizeof(cl->in) - 1 - cl->nin, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return;
	if (n <= 0) {
		client_close(c, cl);
		return;
	}
	cl->nin += (size_t)n;
	end = memchr(cl->in, '\n', cl->nin);
	if (!end && cl->nin < sizeof(cl->in) - 1)
		return;
	if (!end || memchr(cl->in, '\0', (size_t)(end - cl->in))) {
		client_refuse(c, cl, "not a request: a line of text is wanted");
		return;
	}
	*end = '\0';
	if (end > cl->in && end[-1] == '\r')
		end[-1] = '\0';
	run_request(c, cl, cl->in);
}

/* ---------------------------------------------------------------- connections */

static void set_accepting(struct sh_control *c, bool on)
{
	if (atomic_exchange(&c->accepting, on) == on)
		return;
	/* The entry exists: changing it allocates nothing. */
	watch(c, c->socket.fd, EPOLL_CTL_MOD, on ? EPOLLIN : 0, OF_LISTENER);
}

static void client_accept(struct sh_control *c)
{
	int fd = accept4(c->socket.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *cl = c->clients;

	if (fd < 0)
		return;
	while (cl < c->clients + SH_CONTROL_CLIENTS && cl->state != CLIENT_FREE)
		cl++;
	if (cl == c->clients + SH_CONTROL_CLIENTS ||
	    watch(c, fd, EPOLL_CTL_ADD, EPOLLIN, OF_CLIENT + (unsigned)(cl - c->clients)) < 0) {
		close(fd);
		return;
	}
	*cl = (struct client){.state = CLIENT_ASKS, .fd = fd, .deadline = now_ms() + TALK_MS};
	c->live++;
	if (!sh_control_socket_trusts(fd)) {
		sh_warn(c->log, "control socket: a process of another user was refused");
		client_refuse(c, cl, "permission denied");
	}
}

static void on_client(struct sh_control *c, struct client *cl, uint32_t events)
{
	if (cl->state == CLIENT_ASKS && events & EPOLLIN)
		client_read(c, cl);
	else if (cl->state == CLIENT_TAKES && events & EPOLLOUT)
		client_send(c, cl);
	else if (cl->state != CLIENT_FREE && events & (EPOLLHUP | EPOLLERR))
		client_close(c, cl);
}

static void on_event(struct sh_control *c, uint64_t of, uint32_t events)
{
	uint64_t ignored;

	if (of == OF_LISTENER)
		client_accept(c);
	else if (of == OF_TIMER)
		(void)!read(c->timer, &ignored, sizeof(ignored));
	else if (of >= OF_TICKET && of < OF_TICKET + SH_CONTROL_CLIENTS)
		finish_reload(c, &c->clients[of - OF_TICKET]);
	else if (of >= OF_CLIENT && of < OF_CLIENT + SH_CONTROL_CLIENTS)
		on_client(c, &c->clients[of - OF_CLIENT], events);
}

/* Closes who is late and sets the timer for the next one. */
static void keep_time(struct sh_control *c)
{
	int64_t now = now_ms(), next = INT64_MAX;
	struct itimerspec when = {0};

	for (struct client *cl = c->clients; cl < c->clients + SH_CONTROL_CLIENTS; cl++) {
		if (cl->state == CLIENT_WAITS && cl->deadline <= now)
			client_refuse(c, cl, "the reload has not ended yet; see the log");
		else if (cl->state != CLIENT_FREE && cl->deadline <= now)
			client_close(c, cl);
		if (cl->state != CLIENT_FREE && cl->deadline < next)
			next = cl->deadline;
	}
	if (next < INT64_MAX) {
		when.it_value.tv_sec = next / 1000;
		when.it_value.tv_nsec = next % 1000 * 1000000;
	}
	timerfd_settime(c->timer, TFD_TIMER_ABSTIME, &when, NULL);
	set_accepting(c, c->live < SH_CONTROL_CLIENTS);
}

static void step(struct sh_control *c, int timeout)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(c->epoll, events, EVENTS, timeout);

	for (int i = 0; i < n && !atomic_load(&c->quit); i++)
		on_event(c, events[i].data.u64, events[i].events);
	if (n > 0 && !atomic_load(&c->quit))
		keep_time(c);
}

static void *run(void *arg)
{
	struct sh_control *c = arg;

	pthread_setname_np(pthread_self(), "siphook-control");
	while (!atomic_load(&c->quit))
		step(c, -1);
	return NULL;
}

static int start_thread(struct sh_control *c)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&c->thread, NULL, run, c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	c->threaded = err == 0;
	return -err;
}

/* ---------------------------------------------------------------- life */

int sh_control_create(struct sh_control **out, const struct sh_control_config *config, char *error, size_t size)
{
	struct sh_control *c = sh_calloc(1, sizeof(*c));
	int err = -ENOMEM;

	if (!c) {
		snprintf(error, size, "control socket: out of memory");
		return err;
	}
	c->engine = config->engine;
	c->log = config->log;
	c->stop_wanted = config->stop_wanted;
	c->reloaded = config->reloaded;
	c->ctx = config->ctx;
	c->epoll = c->wake = c->timer = c->socket.fd = -1;
	err = sh_control_socket_open(&c->socket, config->path, config->succeed, error, size);
	if (err < 0)
		goto failed;
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	err = c->epoll < 0 || c->wake < 0 || c->timer < 0 ? -errno : 0;
	if (err == 0)
		err = watch(c, c->socket.fd, EPOLL_CTL_ADD, 0, OF_LISTENER);
	if (err == 0)
		err = watch(c, c->wake, EPOLL_CTL_ADD, EPOLLIN, OF_WAKE);
	if (err == 0)
		err = watch(c, c->timer, EPOLL_CTL_ADD, EPOLLIN, OF_TIMER);
	if (err == 0 && config->thread)
		err = start_thread(c);
	if (err < 0) {
		snprintf(error, size, "control socket %s: %s", config->path, strerrordesc_np(-err));
		goto failed;
	}
	*out = c;
	return 0;
failed:
	sh_control_destroy(c);
	return err;
}

void sh_control_serve(struct sh_control *c)
{
	set_accepting(c, true);
}

int sh_control_fd(struct sh_control *c)
{
	return c->epoll;
}

void sh_control_process(struct sh_control *c)
{
	step(c, 0);
}

void sh_control_destroy(struct sh_control *c)
{
	if (!c)
		return;
	if (c->threaded) {
		atomic_store(&c->quit, true);
		eventfd_write(c->wake, 1);
		pthread_join(c->thread, NULL);
	}
	if (c->socket.fd >= 0)
		sh_control_socket_close(&c->socket);
	for (struct client *cl = c->clients; cl < c->clients + SH_CONTROL_CLIENTS; cl++) {
		if (cl->state != CLIENT_FREE)
			client_close(c, cl);
	}
	for (int i = 0; i < 3; i++) {
		int fd = (int[]){c->epoll, c->wake, c->timer}[i];

		if (fd >= 0)
			close(fd);
	}
	sh_free(c);
}

void sh_control_park(struct sh_control *c)
{
	struct timespec until;

	atomic_store(&c->quit, true);
	if (c->threaded) {
		eventfd_write(c->wake, 1);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_nsec += PARK_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		/* It may wait for a worker's answer, or be the thread that called exit(): then it is left alone. */
		if (!pthread_equal(c->thread, pthread_self()))
			pthread_clockjoin_np(c->thread, NULL, CLOCK_MONOTONIC, &until);
	}
	sh_control_socket_unlink(&c->socket);
}
