/* A location that shows what the worker with SIP knows: `siphook_status;`. Any worker may get the request; it asks over the control
 * socket, in a thread of nginx's pool, since that is a matter of milliseconds in which nginx must not wait. */
#include "ngx_siphook.h"

#include <ngx_http.h>

struct question {
	const char *control, *what;
	char *text; /* malloc; NULL: error */
	char error[512];
};

struct location_conf {
	ngx_thread_pool_t *pool;
};

static void free_text(void *data)
{
	struct question *q = data;

	free(q->text);
}

static int has_argument(ngx_http_request_t *r, const char *name)
{
	size_t len = strlen(name);
	u_char *at = r->args.data, *end = at + r->args.len;

	while (at && (size_t)(end - at) >= len) {
		u_char *next = ngx_strlchr(at, end, '&');

		if (ngx_strncmp(at, name, len) == 0 && (at + len == end || at[len] == '&' || at[len] == '='))
			return 1;
		at = next ? next + 1 : NULL;
	}
	return 0;
}

/* Prometheus says what it wants in Accept, and so do people: its format only if JSON is not as good. */
static int wants_metrics(ngx_http_request_t *r)
{
	ngx_list_part_t *part = &r->headers_in.headers.part;
	static const char prometheus[] = "format=prometheus";

	if (has_argument(r, "metrics") || (r->args.len && ngx_strnstr(r->args.data, (char *)prometheus, r->args.len)))
		return 1;
	for (; part; part = part->next) {
		ngx_table_elt_t *h = part->elts;

		for (ngx_uint_t i = 0; i < part->nelts; i++)
			if (h[i].key.len == 6 && ngx_strncasecmp(h[i].key.data, (u_char *)"accept", 6) == 0)
				return ngx_strnstr(h[i].value.data, "openmetrics", h[i].value.len) ||
				       (ngx_strnstr(h[i].value.data, "text/plain", h[i].value.len) &&
					!ngx_strnstr(h[i].value.data, "json", h[i].value.len));
	}
	return 0;
}

/* [a thread of the pool] */
static void put_question(void *data, ngx_log_t *log)
{
	struct question *q = data;

	(void)log;
	q->text = ask(q->control, q->what, q->error, sizeof(q->error));
}

static ngx_int_t send_text(ngx_http_request_t *r, ngx_uint_t status, const char *type, const char *text)
{
	ngx_chain_t out = {.next = NULL};
	ngx_int_t rc;

	r->headers_out.status = status;
	r->headers_out.content_type.data = (u_char *)type;
	r->headers_out.content_type.len = r->headers_out.content_type_len = strlen(type);
	r->headers_out.content_length_n = (off_t)strlen(text);
	rc = ngx_http_send_header(r);
	if (rc == NGX_ERROR || rc > NGX_OK || r->header_only)
		return rc;
	out.buf = ngx_create_temp_buf(r->pool, strlen(text) + 1);
	if (!out.buf)
		return NGX_ERROR;
	out.buf->last = ngx_cpymem(out.buf->pos, text, strlen(text));
	out.buf->last_buf = (r == r->main);
	out.buf->last_in_chain = 1;
	return ngx_http_output_filter(r, &out);
}

static void answer(ngx_http_request_t *r)
{
	struct question *q = ngx_http_get_module_ctx(r, ngx_http_siphook_module);
	int metrics = strcmp(q->what, "metrics") == 0;
	ngx_int_t rc;

	if (r->aio)
		return; /* the client has moved; the answer is not there yet */
	if (q->text)
		rc = send_text(r, NGX_HTTP_OK, metrics ? "text/plain; version=0.0.4; charset=utf-8" : "application/json", q->text);
	else
		rc = send_text(r, NGX_HTTP_SERVICE_UNAVAILABLE, "text/plain", q->error);
	ngx_http_finalize_request(r, rc);
}

/* The thread is done; nginx's own again. */
static void on_answer(ngx_event_t *ev)
{
	ngx_http_request_t *r = ev->data;
	ngx_connection_t *c = r->connection;

	if (c->write->timer_set)
		ngx_del_timer(c->write);
	r->main->blocked--;
	r->aio = 0;
	r->write_event_handler(r);
	ngx_http_run_posted_requests(c);
}

static ngx_int_t handle(ngx_http_request_t *r)
{
	struct ngx_siphook_conf *main = ngx_siphook_conf_of((ngx_cycle_t *)ngx_cycle);
	struct location_conf *conf = ngx_http_get_module_loc_conf(r, ngx_http_siphook_module);
	ngx_pool_cleanup_t *cleanup;
	ngx_thread_task_t *task;
	struct question *q;
	ngx_int_t rc;

	if (!(r->method & (NGX_HTTP_GET | NGX_HTTP_HEAD)))
		return NGX_HTTP_NOT_ALLOWED;
	rc = ngx_http_discard_request_body(r);
	if (rc != NGX_OK)
		return rc;
	if (!main->on)
		return send_text(r, NGX_HTTP_SERVICE_UNAVAILABLE, "text/plain", "siphook is off\n");
	task = ngx_thread_task_alloc(r->pool, sizeof(*q));
	cleanup = ngx_pool_cleanup_add(r->pool, 0);
	if (!task || !cleanup)
		return NGX_HTTP_INTERNAL_SERVER_ERROR;
	q = task->ctx;
	q->control = main->control;
	q->what = has_argument(r, "calls") ? "calls" : has_argument(r, "registrations") ? "registrations" : wants_metrics(r) ? "metrics" : "status";
	cleanup->handler = free_text;
	cleanup->data = q;
	ngx_http_set_ctx(r, q, ngx_http_siphook_module);
	task->handler = put_question;
	task->event.handler = on_answer;
	task->event.data = r;
	if (ngx_thread_task_post(conf->pool, task) != NGX_OK)
		return NGX_HTTP_SERVICE_UNAVAILABLE;
	ngx_add_timer(r->connection->write, 2 * ASK_WAIT_MS); /* a worker without timers ends, if it shall, with us in it */
	r->main->blocked++;
	r->main->count++;
	r->aio = 1;
	r->write_event_handler = answer;
	return NGX_DONE;
}

static char *set_status(ngx_conf_t *cf, ngx_command_t *cmd, void *ctx)
{
	ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
	struct location_conf *conf = ctx;

	(void)cmd;
	conf->pool = ngx_thread_pool_add(cf, NULL);
	if (!conf->pool)
		return NGX_CONF_ERROR;
	core->handler = handle;
	return NGX_CONF_OK;
}

static void *create_location(ngx_conf_t *cf)
{
	return ngx_pcalloc(cf->pool, sizeof(struct location_conf));
}

static ngx_command_t commands[] = {
    {ngx_string("siphook_status"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_status, NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    ngx_null_command};

static ngx_http_module_t context = {.create_loc_conf = create_location};

ngx_module_t ngx_http_siphook_module = {NGX_MODULE_V1, &context, commands, NGX_HTTP_MODULE, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
					NGX_MODULE_V1_PADDING};
