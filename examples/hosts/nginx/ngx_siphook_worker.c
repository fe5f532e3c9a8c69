/* SIP in worker 0, never in nginx's helper processes. nginx starts a worker that dies anew, under its number: this is the election.
 *
 * The module has threads of its own; nginx's thread writes its log lines, and watches over the end: when a worker shall end (reload,
 * quit), its idle connections are told to close, and the one of the log's descriptor is one of them. Then the worker waits for the
 * calls that are up; a timer that is not to be cancelled keeps it alive. */
#include "ngx_siphook.h"

enum {
	TICK_MS = 100,
	SUCCESSOR_MS = 5000, /* a reload's next worker takes over within this time; else none comes: nginx ends */
	STOP_MS = 600,       /* nginx kills what has not ended a second after its TERM */
};

/* Of this process. */
static struct {
	struct adapter siphook;
	struct ngx_siphook_conf *conf;
	struct adapter_queue lines;
	ngx_connection_t *wake; /* of an eventfd: there are lines */
	ngx_event_t tick;
	enum { SERVES, WAITS_FOR_SUCCESSOR, DRAINS } state;
	ngx_uint_t ticks;
} own;

/* ---------------------------------------------------------------- callbacks of the module */

/* The errors of one call are no errors of the server. */
static void on_log(void *ctx, enum siphook_level level, const char *line, size_t len)
{
	static const int levels[] = {NGX_LOG_ERR, NGX_LOG_WARN, NGX_LOG_NOTICE, NGX_LOG_DEBUG};
	uint64_t one = 1;

	(void)ctx;
	adapter_queue_put(&own.lines, levels[level], NULL, line, len);
	if (own.wake && write(own.wake->fd, &one, sizeof(one)) < 0)
		return; /* it is full of wake-ups */
}

static int on_listen(void *ctx, const char *uri)
{
	struct ngx_siphook_conf *conf = ctx;
	struct ngx_siphook_socket *s = conf->sockets.elts;

	for (ngx_uint_t i = 0; i < conf->sockets.nelts; i++)
		if (strcmp(s[i].uri, uri) == 0)
			return s[i].fd;
	return -1;
}

/* ---------------------------------------------------------------- the log */

static void write_lines(void)
{
	size_t forgotten;
	struct adapter_line *line = adapter_queue_take(&own.lines, &forgotten), *next;

	for (; line; line = next) {
		next = line->next;
		ngx_log_error((ngx_uint_t)line->kind, ngx_cycle->log, 0, "siphook: %s", line->text);
		free(line);
	}
	if (forgotten)
		ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0, "siphook: %uz lines of the log were lost", forgotten);
}

/* ---------------------------------------------------------------- the end */

static void close_wake(void)
{
	ngx_connection_t *c = own.wake;

	own.wake = NULL;
	if (!c)
		return;
	if (c->read->active)
		ngx_del_event(c->read, NGX_READ_EVENT, 0);
	close(c->fd);
	c->fd = (ngx_socket_t)-1;
	ngx_free_connection(c);
}

static void end(int64_t stop_ms)
{
	if (own.tick.timer_set)
		ngx_del_timer(&own.tick);
	adapter_stop(&own.siphook, stop_ms);
	write_lines();
	close_wake();
}

static void on_tick(ngx_event_t *ev)
{
	struct adapter_status s = {0, 1};

	(void)ev;
	own.ticks++;
	adapter_look(&own.siphook, &s);
	if (own.state == WAITS_FOR_SUCCESSOR && (s.succeeded || own.ticks * TICK_MS > SUCCESSOR_MS)) {
		own.state = DRAINS;
		own.siphook.sip->drain(own.siphook.instance, 0);
	} else if (own.state == DRAINS && !s.busy) {
		end(0);
		return;
	}
	ngx_add_timer(&own.tick, TICK_MS);
}

static void begin_end(void)
{
	if (own.state != SERVES)
		return;
	own.wake->idle = 0;
	if (!own.siphook.instance) {
		end(0);
		return;
	}
	own.state = WAITS_FOR_SUCCESSOR;
	own.tick.handler = on_tick;
	own.tick.data = own.wake;
	own.tick.log = ngx_cycle->log;
	on_tick(&own.tick);
}

static void on_wake(ngx_event_t *ev)
{
	ngx_connection_t *c = ev->data;
	uint64_t count;

	while (read(c->fd, &count, sizeof(count)) > 0)
		;
	write_lines();
	if (c->close && c->error) /* worker_shutdown_timeout is over: what is left is hung up */
		end(STOP_MS);
	else if (c->close)
		begin_end();
}

/* ---------------------------------------------------------------- the beginning */

static ngx_int_t open_wake(ngx_cycle_t *cycle)
{
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ngx_connection_t *c = fd < 0 ? NULL : ngx_get_connection(fd, cycle->log);

	if (!c) {
		if (fd >= 0)
			close(fd);
		return NGX_ERROR;
	}
	c->idle = 1; /* so that it is told when the worker shall end */
	c->read->handler = on_wake;
	c->read->log = cycle->log;
	c->log = cycle->log;
	own.wake = c;
	return ngx_add_event(c->read, NGX_READ_EVENT, NGX_LEVEL_EVENT);
}

/* A worker that says no here is never started again; so it says why in the log, and serves what it can. */
ngx_int_t ngx_siphook_init_process(ngx_cycle_t *cycle)
{
	struct ngx_siphook_conf *conf = ngx_siphook_conf_of(cycle);
	struct siphook_option *o = conf->options.elts;

	if (ngx_process != NGX_PROCESS_SINGLE)
		ngx_siphook_seal_sockets(conf);
	if (!conf->on || ngx_worker != 0 || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
		return NGX_OK;
	adapter_queue_init(&own.lines);
	own.conf = conf;
	own.siphook.object = conf->object;
	own.siphook.host.ctx = conf;
	own.siphook.host.log = on_log;
	own.siphook.host.listen_fd = on_listen;
	for (ngx_uint_t i = 0; i < conf->options.nelts; i++)
		adapter_add(&own.siphook.options, o[i].key, o[i].value);
	if (open_wake(cycle) != NGX_OK) {
		ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "siphook: no connection is left for it: raise worker_connections");
		close_wake();
		return NGX_OK;
	}
	if (adapter_start(&own.siphook, SIPHOOK_THREADS) < 0) {
		ngx_log_error(NGX_LOG_ERR, cycle->log, 0, "siphook: %s; no SIP until the next reload", own.siphook.error);
	} else {
		ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0, "siphook: version %s serves SIP", own.siphook.sip->version);
	}
	write_lines();
	return NGX_OK;
}

void ngx_siphook_exit_process(ngx_cycle_t *cycle)
{
	(void)cycle;
	if (own.conf)
		end(STOP_MS);
}
