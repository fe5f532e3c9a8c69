/* HTTP with libcurl's multi interface on the worker's own epoll: curl tells which descriptors and which timer it wants,
 * and is called when they are due. Connections are kept and used again. Names are looked up on our thread for names and
 * handed to curl with CURLOPT_RESOLVE: curl's own resolver threads would have to be joined when an exchange is
 * cancelled. Redirects are followed here for the same reason. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	EXCHANGES_MAX = 1000, /* at once, per worker */
	CONNECTIONS_MAX = 64, /* at once; more exchanges wait */
	KEPT_MAX = 32,        /* idle connections */
	HEADERS_MAX = 65536,  /* bytes */
	NAMES_MAX = 16,       /* names whose addresses are remembered */
	URL_MAX = 8192,
};
#define NAME_TTL (10 * SH_SECOND)

struct buffer {
	char *base;
	size_t len, room;
};

struct known_name {
	uint64_t until;
	char *host;
	char addrs[512]; /* "10.0.0.1,[fd00::1]" */
};

struct net_http {
	struct net_worker *worker;
	CURLM *multi;
	struct sh_timer timer;
	struct sh_link exchanges;
	unsigned count;
	struct known_name names[NAMES_MAX];
	unsigned next_name;
};

struct sh_http {
	struct sh_link link;
	struct net_http *of;
	CURL *easy; /* NULL while the name is looked up */
	bool added;
	unsigned looking_up; /* answers of name servers that will come to us */
	int name_error;
	sh_http_fn fn;   /* NULL: cancelled */
	void *ctx;
	struct sh_timer deadline;
	uint64_t connect_timeout;
	size_t max_size;
	unsigned redirects;
	bool insecure, too_long;
	char *url, *host, *method, *user, *password, *ca_file, *addrs;
	unsigned port;
	struct sh_slice body;
	struct curl_slist *headers, *resolve;
	struct buffer head, content;
	char error[CURL_ERROR_SIZE];
};

/* One descriptor that curl watches. */
struct http_socket {
	struct net_handle handle;
};

/* ---- curl, called with SIGPIPE out of the way: OpenSSL writes to sockets without MSG_NOSIGNAL, and the thread may be the
 * host's ---- */

struct pipe_guard {
	sigset_t before;
	bool pending;
};

static void guard_begin(struct pipe_guard *g)
{
	sigset_t pipe, pending;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	g->pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe, &g->before);
}

static void guard_end(const struct pipe_guard *g)
{
	const struct timespec at_once = {0, 0};
	sigset_t pipe, pending;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	if (!g->pending && sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1)
		sigtimedwait(&pipe, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &g->before, NULL);
}

/* ---- one exchange ---- */

static void take_out(struct sh_http *h)
{
	if (h->added)
		curl_multi_remove_handle(h->of->multi, h->easy);
	h->added = false;
}

static void destroy(struct sh_http *h)
{
	struct pipe_guard g;

	guard_begin(&g);
	take_out(h);
	curl_easy_cleanup(h->easy);
	guard_end(&g);
	sh_wheel_cancel(&h->of->worker->env.wheel, &h->deadline);
	sh_list_remove(&h->link);
	h->of->count--;
	curl_slist_free_all(h->headers);
	curl_slist_free_all(h->resolve);
	for (unsigned i = 0; i < 7; i++)
		sh_free((char *[]){h->url, h->host, h->method, h->user, h->password, h->ca_file, h->addrs}[i]);
	sh_free((char *)h->body.base);
	sh_free(h->head.base);
	sh_free(h->content.base);
	sh_free(h);
}

/* Tells the outcome; h is gone then, or waits for the resolver that still knows it. */
static void finish(struct sh_http *h, struct sh_http_response *r)
{
	sh_http_fn fn = h->fn;

	h->fn = NULL;
	sh_wheel_cancel(&h->of->worker->env.wheel, &h->deadline);
	if (fn)
		fn(r, h->ctx);
	if (!h->looking_up)
		destroy(h);
}

static void fail(struct sh_http *h, int error, const char *detail)
{
	struct sh_http_response r = {.error = error, .detail = detail};

	finish(h, &r);
}

static void on_deadline(struct sh_timer *t)
{
	fail(SH_CONTAINER(t, struct sh_http, deadline), -ETIMEDOUT, "no answer in time");
}

static bool append(struct buffer *b, const char *data, size_t n, size_t max)
{
	if (n > max || b->len > max - n)
		return false;
	if (b->len + n + 1 > b->room) {
		size_t room = (b->len + n + 1) * 2;
		char *base = sh_realloc(b->base, room);

		if (!base)
			return false;
		b->base = base;
		b->room = room;
	}
	memcpy(b->base + b->len, data, n);
	b->len += n;
	return true;
}

static size_t on_header(char *data, size_t size, size_t n, void *ctx)
{
	struct sh_http *h = ctx;

	if (size * n >= 5 && memcmp(data, "HTTP/", 5) == 0) { /* another answer begins: behind a 100, say */
		h->head.len = 0;
		return n;
	}
	if (size * n <= 2) /* the empty line */
		return n;
	h->too_long = h->too_long || !append(&h->head, data, size * n, HEADERS_MAX);
	return h->too_long ? 0 : n;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct sh_http *h = ctx;

	h->too_long = h->too_long || !append(&h->content, data, size * n, h->max_size);
	return h->too_long ? 0 : n;
}

static int error_of(const struct sh_http *h, CURLcode code)
{
	if (h->too_long)
		return -EMSGSIZE;
	switch (code) {
	case CURLE_URL_MALFORMAT:
		return -EINVAL;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -ENOENT;
	case CURLE_COULDNT_CONNECT:
		return -EHOSTUNREACH;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
		return -EPROTO;
	default:
		return -EIO;
	}
}

/* ---- starting ---- */

static int parse_url(struct sh_http *h)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *host = NULL, *port = NULL;
	size_t len;
	int err = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (curl_url_set(u, CURLUPART_URL, h->url, 0) || curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) ||
	    curl_url_get(u, CURLUPART_HOST, &host, 0) || curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) ||
	    (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
		goto out;
	len = strlen(host);
	sh_free(h->host);
	h->host = sh_strndup(host, len);
	h->port = (unsigned)strtoul(port, NULL, 10);
	err = h->host ? 0 : -ENOMEM;
out:
	curl_free(scheme);
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return err;
}

static void set_options(struct sh_http *h)
{
	CURL *e = h->easy;

	curl_easy_setopt(e, CURLOPT_URL, h->url);
	curl_easy_setopt(e, CURLOPT_PRIVATE, h);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_PROXY, ""); /* nothing from the environment of the host */
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, h->error);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, h);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, h);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(h->connect_timeout / 1000 + 1));
	curl_easy_setopt(e, CURLOPT_USERAGENT, "siphook");
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, h->headers);
	if (h->insecure) {
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (h->ca_file)
		curl_easy_setopt(e, CURLOPT_CAINFO, h->ca_file);
	if (h->user) {
		curl_easy_setopt(e, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
		curl_easy_setopt(e, CURLOPT_USERNAME, h->user);
		curl_easy_setopt(e, CURLOPT_PASSWORD, h->password ? h->password : "");
	}
	if (h->body.base) {
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)h->body.len);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, h->body.base);
	}
	if (strcmp(h->method, "HEAD") == 0)
		curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
	else if (h->body.base || strcmp(h->method, "GET") != 0)
		curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, h->method);
}

/* The addresses are known: h->addrs, or NULL when the host is an address. 0 or -ENOMEM. */
static int start(struct sh_http *h)
{
	struct pipe_guard g;

	h->easy = curl_easy_init();
	if (!h->easy)
		return -ENOMEM;
	if (h->addrs) {
		size_t size = strlen(h->host) + strlen(h->addrs) + 16;
		char *entry = sh_malloc(size);

		if (!entry)
			return -ENOMEM;
		snprintf(entry, size, "+%s:%u:%s", h->host, h->port, h->addrs);
		curl_slist_free_all(h->resolve);
		h->resolve = curl_slist_append(NULL, entry);
		sh_free(entry);
		if (!h->resolve)
			return -ENOMEM;
		curl_easy_setopt(h->easy, CURLOPT_RESOLVE, h->resolve);
	}
	set_options(h);
	guard_begin(&g);
	h->added = curl_multi_add_handle(h->of->multi, h->easy) == CURLM_OK; /* it begins with its timer */
	guard_end(&g);
	return h->added ? 0 : -ENOMEM;
}

/* Both answers are there, or as much as came. */
static void looked_up(struct sh_http *h)
{
	struct net_http *of = h->of;
	struct known_name *n;

	if (!h->fn) {
		destroy(h);
		return;
	}
	if (!h->addrs) {
		fail(h, h->name_error == -ENOENT ? -ENOENT : -EIO,
		     h->name_error == -ENOENT ? "no such name" : "names cannot be looked up");
		return;
	}
	n = &of->names[of->next_name++ % NAMES_MAX];
	sh_free(n->host);
	n->host = sh_strndup(h->host, strlen(h->host));
	n->until = of->worker->env.now + NAME_TTL;
	snprintf(n->addrs, sizeof(n->addrs), "%s", h->addrs);
	if (start(h) < 0)
		fail(h, -ENOMEM, "out of memory");
}

static void on_answer(const struct sh_dns_answer *a, void *ctx)
{
	struct sh_http *h = ctx;
	char addrs[sizeof(((struct known_name *)0)->addrs)];
	size_t len = h->addrs ? (size_t)snprintf(addrs, sizeof(addrs), "%s", h->addrs) : 0;

	if (a->error && (!h->name_error || a->error != -ENOENT))
		h->name_error = a->error;
	for (size_t i = 0; i < a->count && len + SH_ADDR_TEXT + 1 < sizeof(addrs); i++) {
		if (len > 0)
			addrs[len++] = ',';
		len += sh_addr_format_host(&a->records[i].addr, addrs + len);
	}
	if (a->count > 0) {
		sh_free(h->addrs);
		h->addrs = sh_strndup(addrs, len);
	}
	if (--h->looking_up == 0)
		looked_up(h);
}

/* 0, or -errno: nobody was asked. */
static int look_up(struct sh_http *h)
{
	static const enum sh_dns_type types[] = {SH_DNS_A, SH_DNS_AAAA};
	int err = 0;

	h->name_error = 0;
	for (unsigned i = 0; i < 2; i++) {
		err = net_query(&h->of->worker->env, sh_slice_cstr(h->host), types[i], on_answer, h);
		if (err)
			break;
		h->looking_up++;
	}
	return h->looking_up ? 0 : err;
}

static bool is_address(const char *host)
{
	unsigned char ip[16];

	return host[0] == '[' || inet_pton(AF_INET, host, ip) == 1;
}

/* h->url and what belongs to it is set: on to the server. 0, -EINVAL, -ENOMEM, -ESHUTDOWN. Nothing is told before the next turn. */
static int go(struct sh_http *h)
{
	int err = parse_url(h);

	if (err)
		return err;
	sh_free(h->addrs);
	h->addrs = NULL;
	if (is_address(h->host))
		return start(h);
	for (unsigned i = 0; i < NAMES_MAX; i++) {
		struct known_name *n = &h->of->names[i];

		if (!n->host || n->until <= h->of->worker->env.now || strcmp(n->host, h->host) != 0)
			continue;
		h->addrs = sh_strndup(n->addrs, strlen(n->addrs));
		return h->addrs ? start(h) : -ENOMEM;
	}
	return look_up(h);
}

/* ---- the end of an exchange ---- */

/* RFC 9110 15.4: after 303 always, after 301 and 302 of a POST by custom, a GET without a body. */
static bool follow(struct sh_http *h, long status, const char *to)
{
	char *url = strlen(to) <= URL_MAX ? sh_strndup(to, strlen(to)) : NULL;
	bool was_tls = strncasecmp(h->url, "https:", 6) == 0;
	char *host = h->host;
	unsigned port = h->port;

	if (!url)
		return false;
	h->redirects--;
	take_out(h);
	curl_easy_cleanup(h->easy);
	h->easy = NULL;
	h->head.len = h->content.len = 0;
	h->error[0] = '\0';
	sh_free(h->url);
	h->url = url;
	h->host = NULL;
	if (status == 303 || ((status == 301 || status == 302) && strcmp(h->method, "POST") == 0)) {
		sh_free((char *)h->body.base);
		h->body = (struct sh_slice){0};
		if (strcmp(h->method, "HEAD") != 0) {
			sh_free(h->method);
			h->method = sh_strndup("GET", 3);
		}
	}
	if (parse_url(h) == 0 && (strcmp(host, h->host) != 0 || port != h->port ||
				  (was_tls && strncasecmp(h->url, "https:", 6) != 0))) { /* secrets stay at home */
		struct curl_slist *kept = NULL;

		sh_free(h->user);
		h->user = NULL;
		for (struct curl_slist *l = h->headers; l; l = l->next)
			if (strncasecmp(l->data, "Authorization:", 14) != 0 && strncasecmp(l->data, "Cookie:", 7) != 0)
				kept = curl_slist_append(kept, l->data);
		curl_slist_free_all(h->headers);
		h->headers = kept;
	}
	sh_free(host);
	if (!h->method || go(h) < 0)
		fail(h, -EINVAL, "the redirect leads nowhere");
	return true;
}

static void completed(struct sh_http *h, CURLcode code)
{
	struct sh_http_response r = {0};
	long status = 0;
	char *to = NULL;

	if (code != CURLE_OK) {
		r.error = error_of(h, code);
		r.detail = h->too_long ? "the answer is too long" : h->error[0] ? h->error : curl_easy_strerror(code);
		finish(h, &r);
		return;
	}
	curl_easy_getinfo(h->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(h->easy, CURLINFO_REDIRECT_URL, &to);
	if (to && h->redirects > 0 && follow(h, status, to))
		return;
	r.status = (unsigned)status;
	r.detail = "";
	r.headers = sh_slice_make(h->head.base, h->head.len);
	r.body = sh_slice_make(h->content.base, h->content.len);
	finish(h, &r);
}

static void act(struct net_http *p, curl_socket_t fd, int events)
{
	struct pipe_guard g;
	struct CURLMsg *m;
	int running, left;

	guard_begin(&g);
	curl_multi_socket_action(p->multi, fd, events, &running);
	guard_end(&g);
	while ((m = curl_multi_info_read(p->multi, &left))) {
		CURLcode code = m->data.result;
		char *h;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &h);
		completed((struct sh_http *)(void *)h, code);
	}
}

/* ---- what curl asks for ---- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket)
{
	struct net_http *p = ctx;
	struct http_socket *s = socket;
	uint32_t events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0) | (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0);

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (s)
			net_detach(p->worker, &s->handle);
		sh_free(s);
		curl_multi_assign(p->multi, fd, NULL);
		return 0;
	}
	if (s) {
		net_watch(p->worker, &s->handle, events);
		return 0;
	}
	s = sh_calloc(1, sizeof(*s));
	if (!s)
		return -1;
	s->handle.kind = NET_HTTP;
	s->handle.fd = fd;
	if (net_attach(p->worker, &s->handle, events) < 0) {
		sh_free(s);
		return -1;
	}
	curl_multi_assign(p->multi, fd, s);
	return 0;
}

static int on_timer_wanted(CURLM *multi, long ms, void *ctx)
{
	struct net_http *p = ctx;

	(void)multi;
	if (ms < 0)
		sh_env_cancel(&p->worker->env, &p->timer);
	else
		sh_env_timer(&p->worker->env, &p->timer, (uint64_t)ms * SH_MS);
	return 0;
}

static void on_timer(struct sh_timer *t)
{
	act(SH_CONTAINER(t, struct net_http, timer), CURL_SOCKET_TIMEOUT, 0);
}

void net_http_event(struct net_worker *w, struct net_handle *h, uint32_t events)
{
	int what = 0;

	if (events & EPOLLIN)
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		what |= CURL_CSELECT_ERR;
	act(w->http, h->fd, what);
}

/* ---- operations ---- */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_ready;

static void init_curl(void)
{
	curl_ready = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* Nothing of curl is touched before the first request of a script. */
static int open_http(struct net_worker *w)
{
	struct net_http *p;

	pthread_once(&curl_once, init_curl);
	if (curl_ready != CURLE_OK)
		return -ENOMEM;
	p = sh_calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->multi = curl_multi_init();
	if (!p->multi) {
		sh_free(p);
		return -ENOMEM;
	}
	p->worker = w;
	sh_list_init(&p->exchanges);
	sh_timer_init(&p->timer, on_timer);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
	curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p);
	curl_multi_setopt(p->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)CONNECTIONS_MAX);
	curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_MAX);
	w->http = p;
	return 0;
}

static bool copy(char **to, struct sh_slice s)
{
	if (!s.base)
		return true;
	*to = sh_strndup(s.base, s.len);
	return *to != NULL;
}

static bool add_header(struct sh_http *h, struct sh_slice line)
{
	char *text = sh_strndup(line.base, line.len);
	struct curl_slist *more = text ? curl_slist_append(h->headers, text) : NULL;

	sh_free(text);
	if (more)
		h->headers = more;
	return more != NULL;
}

static bool copy_request(struct sh_http *h, const struct sh_http_request *rq)
{
	char *body = NULL;
	bool ok = copy(&h->url, rq->url) && copy(&h->method, rq->method) && copy(&h->user, rq->user) &&
		  copy(&h->password, rq->password) && copy(&h->ca_file, rq->ca_file) && copy(&body, rq->body);

	h->body = sh_slice_make(body, rq->body.len);
	ok = ok && add_header(h, SH_LIT("Expect:")); /* no "100-continue": it costs a round trip */
	for (size_t i = 0; i < rq->nheaders && ok; i++)
		ok = add_header(h, rq->headers[i]);
	h->connect_timeout = rq->connect_timeout;
	h->max_size = rq->max_size;
	h->redirects = rq->redirects;
	h->insecure = rq->insecure;
	return ok;
}

int net_http(struct sh_env *env, const struct sh_http_request *rq, sh_http_fn fn, void *ctx, struct sh_http **out)
{
	struct net_worker *w = net_worker_of(env);
	struct sh_http *h;
	int err;

	if (net_is_stopped(w))
		return -ESHUTDOWN;
	err = w->http ? 0 : open_http(w);
	if (err)
		return err;
	if (w->http->count >= EXCHANGES_MAX)
		return -EBUSY;
	h = sh_calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->of = w->http;
	h->ctx = ctx;
	sh_list_append(&w->http->exchanges, &h->link);
	w->http->count++;
	sh_timer_init(&h->deadline, on_deadline);
	h->fn = fn;
	err = copy_request(h, rq) ? go(h) : -ENOMEM;
	if (err) {
		destroy(h);
		return err;
	}
	sh_env_timer(env, &h->deadline, rq->timeout);
	*out = h;
	return 0;
}

void net_http_cancel(struct sh_env *env, struct sh_http *h)
{
	(void)env;
	h->fn = NULL;
	sh_wheel_cancel(&h->of->worker->env.wheel, &h->deadline);
	if (!h->looking_up)
		destroy(h);
}

void net_http_finish(struct net_worker *w)
{
	struct net_http *p = w->http;
	struct sh_link *l;

	if (!p)
		return;
	while ((l = p->exchanges.next) != &p->exchanges)
		destroy(SH_CONTAINER(l, struct sh_http, link));
	curl_multi_cleanup(p->multi);
	sh_wheel_cancel(&w->env.wheel, &p->timer);
	for (unsigned i = 0; i < NAMES_MAX; i++)
		sh_free(p->names[i].host);
	sh_free(p);
	w->http = NULL;
}
