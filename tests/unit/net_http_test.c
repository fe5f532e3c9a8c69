/* HTTP of the real driver against a server on loopback, plain and over TLS: reuse, limits, redirects, cancels, certificates. */
#include "net_helpers.h"
#include "paper.h"

#include <openssl/ssl.h>
#include <signal.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* ---- the server: a thread per connection, a canned answer per path ---- */

struct server {
	int listener;
	uint16_t port;
	pthread_t thread;
	SSL_CTX *tls; /* NULL: plain */
	atomic_uint connections, requests;
	pthread_mutex_t lock; /* of last and live */
	char last[4096];
	unsigned live; /* threads of connections */
	pthread_cond_t fewer;
};

struct connection {
	struct server *server;
	int fd;
	SSL *tls;
};

static void say(const struct connection *c, const char *text)
{
	if (c->tls)
		(void)!SSL_write(c->tls, text, (int)strlen(text));
	else
		(void)!send(c->fd, text, strlen(text), MSG_NOSIGNAL);
}

static ssize_t hear(const struct connection *c, char *to, size_t room)
{
	return c->tls ? SSL_read(c->tls, to, (int)room) : recv(c->fd, to, room, 0);
}

static void answer(const struct connection *c, const char *request)
{
	const struct server *s = c->server;
	char path[64] = "", text[512];
	size_t room;

	sscanf(request, "%*s %63s", path);
	if (strcmp(path, "/big") == 0) {
		say(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
		for (int i = 0; i < 100; i++) {
			memset(text, 'x', 500);
			text[500] = '\0';
			say(c, text);
			say(c, text);
		}
	} else if (strcmp(path, "/slow") == 0) {
		return;
	} else if (strcmp(path, "/away") == 0) {
		room = (size_t)snprintf(text, sizeof(text),
					"HTTP/1.1 302 Found\r\nLocation: http://localhost:%u/there\r\nContent-Length: 0\r\n\r\n",
					s->port);
		assert_true(room < sizeof(text));
		say(c, text);
	} else if (strcmp(path, "/plain") == 0) {
		snprintf(text, sizeof(text), "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%u/there\r\nContent-Length: 0\r\n\r\n", s->port);
		say(c, text);
	} else if (strcmp(path, "/loop") == 0) {
		say(c, "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n");
	} else if (strcmp(path, "/broken") == 0) {
		say(c, "nonsense\r\n\r\n");
		shutdown(c->fd, SHUT_RDWR);
	} else {
		say(c, "HTTP/1.1 200 OK\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello");
	}
}

static void *serve_connection(void *arg)
{
	struct connection c = *(struct connection *)arg;
	char buf[4096];
	size_t have = 0;
	ssize_t n;

	free(arg);
	if (c.server->tls && recv(c.fd, buf, 1, MSG_PEEK) == 1 && buf[0] == 0x16) { /* a TLS hello: the port serves both */
		c.tls = SSL_new(c.server->tls);
		SSL_set_fd(c.tls, c.fd);
	}
	while ((!c.tls || SSL_is_init_finished(c.tls) || SSL_accept(c.tls) == 1) &&
	       (n = hear(&c, buf + have, sizeof(buf) - 1 - have)) > 0) {
		char *end;

		have += (size_t)n;
		buf[have] = '\0';
		end = strstr(buf, "\r\n\r\n");
		if (!end)
			continue;
		pthread_mutex_lock(&c.server->lock);
		memcpy(c.server->last, buf, have + 1);
		pthread_mutex_unlock(&c.server->lock);
		atomic_fetch_add(&c.server->requests, 1);
		answer(&c, buf);
		have = 0;
	}
	SSL_free(c.tls);
	close(c.fd);
	pthread_mutex_lock(&c.server->lock);
	c.server->live--;
	pthread_cond_signal(&c.server->fewer);
	pthread_mutex_unlock(&c.server->lock);
	return NULL;
}

static void *serve(void *arg)
{
	struct server *s = arg;
	int fd;

	while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
		struct connection *c = malloc(sizeof(*c));
		pthread_t t;

		atomic_fetch_add(&s->connections, 1);
		*c = (struct connection){s, fd, NULL};
		pthread_mutex_lock(&s->lock);
		s->live++;
		pthread_mutex_unlock(&s->lock);
		pthread_create(&t, NULL, serve_connection, c);
		pthread_detach(t);
	}
	return NULL;
}

static struct server server = {.lock = PTHREAD_MUTEX_INITIALIZER, .fewer = PTHREAD_COND_INITIALIZER};
static struct server secure = {.lock = PTHREAD_MUTEX_INITIALIZER, .fewer = PTHREAD_COND_INITIALIZER};

/* The last request, as far as it begins with, or contains, that text. */
static bool last_has(const char *text, bool at_begin)
{
	bool found;

	pthread_mutex_lock(&server.lock);
	found = at_begin ? strncmp(server.last, text, strlen(text)) == 0 : strstr(server.last, text) != NULL;
	pthread_mutex_unlock(&server.lock);
	return found;
}

static void start(struct server *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->listener, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(s->listener, 64), 0);
	assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &len), 0);
	s->port = ntohs(a.sin_port);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* The clients have closed their connections: the threads of these end. */
static void stop(struct server *s)
{
	struct timespec limit;

	shutdown(s->listener, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->listener);
	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 10;
	pthread_mutex_lock(&s->lock);
	while (s->live > 0)
		assert_int_equal(pthread_cond_timedwait(&s->fewer, &s->lock, &limit), 0);
	pthread_mutex_unlock(&s->lock);
}

static int start_server(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN); /* OpenSSL writes to clients that have gone */
	start(&server);
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	stop(&server);
	return 0;
}

/* ---- the client ---- */

struct outcome {
	unsigned done;
	int error;
	unsigned status;
	size_t body;
	char headers[200], detail[200];
};

static void on_response(const struct sh_http_response *r, void *ctx)
{
	struct outcome *o = ctx;

	o->done++;
	o->error = r->error;
	o->status = r->status;
	o->body = r->body.len;
	snprintf(o->headers, sizeof(o->headers), "%.*s", SH_FMT(r->headers));
	snprintf(o->detail, sizeof(o->detail), "%s", r->detail ? r->detail : "");
}

static const struct sh_env_events quiet;

static struct sh_http_request ask(const char *path, char url[128])
{
	snprintf(url, 128, "http://127.0.0.1:%u%s", server.port, path);
	return (struct sh_http_request){
	    .method = SH_LIT("GET"),
	    .url = sh_slice_cstr(url),
	    .timeout = 5 * SH_SECOND,
	    .connect_timeout = 5 * SH_SECOND,
	    .max_size = 1 << 20,
	};
}

static struct outcome exchange(struct sh_net *net, const struct sh_http_request *rq)
{
	struct sh_env *env = sh_net_env(net, 0);
	struct outcome o = {0};
	struct sh_http *h;

	assert_int_equal(env->driver->http(env, rq, on_response, &o, &h), 0);
	assert_int_equal(o.done, 0);
	TURN_UNTIL(net, o.done);
	turn_all(net, 0);
	assert_int_equal(o.done, 1);
	return o;
}

static void connections_are_used_again(void **state)
{
	struct sh_net *net = net_with(1, &quiet, NULL);
	unsigned before = atomic_load(&server.connections);
	char url[128];

	(void)state;
	for (int i = 0; i < 20; i++) {
		struct sh_http_request rq = ask("/hello", url);
		struct outcome o = exchange(net, &rq);

		assert_int_equal(o.error, 0);
		assert_int_equal(o.status, 200);
		assert_int_equal(o.body, 5);
		assert_non_null(strstr(o.headers, "X-One: 1\r\n"));
	}
	assert_int_equal(atomic_load(&server.connections) - before, 1);
	sh_net_destroy(net);
}

static void a_request_says_what_it_was_told(void **state)
{
	static const struct sh_slice lines[] = {{"X-Key: 7", 8}, {"Empty;", 6}};
	struct sh_net *net = net_with(1, &quiet, NULL);
	char url[128];
	struct sh_http_request rq = ask("/hello?a=b", url);

	(void)state;
	rq.method = SH_LIT("PUT");
	rq.body = SH_LIT("body");
	rq.headers = lines;
	rq.nheaders = 2;
	rq.user = SH_LIT("me");
	rq.password = SH_LIT("secret");
	assert_int_equal(exchange(net, &rq).status, 200);
	assert_true(last_has("PUT /hello?a=b HTTP/1.1\r\n", true));
	assert_true(last_has("\r\nX-Key: 7\r\n", false));
	assert_true(last_has("\r\nEmpty:\r\n", false));
	assert_true(last_has("\r\nAuthorization: Basic bWU6c2VjcmV0\r\n", false));
	assert_false(last_has("Expect", false));
	sh_net_destroy(net);
}

static void names_are_looked_up_and_redirects_followed_without_their_secrets(void **state)
{
	struct sh_net *net = net_with(1, &quiet, NULL);
	char url[128];
	struct sh_http_request rq = ask("/away", url);
	struct outcome o;

	(void)state;
	o = exchange(net, &rq);
	assert_int_equal(o.status, 302);
	rq.redirects = 3;
	rq.user = SH_LIT("me");
	o = exchange(net, &rq);
	assert_int_equal(o.error, 0);
	assert_int_equal(o.status, 200);
	assert_true(last_has("GET /there ", true));
	assert_false(last_has("Authorization", false));
	rq = ask("/loop", url);
	rq.redirects = 3;
	assert_int_equal(exchange(net, &rq).status, 302);
	rq.url = SH_LIT("http://no-such-name.invalid/");
	assert_true(exchange(net, &rq).error < 0);
	sh_net_destroy(net);
}

static void limits_of_time_and_size_are_kept(void **state)
{
	struct sh_net *net = net_with(1, &quiet, NULL);
	char url[128];
	struct sh_http_request rq = ask("/big", url);

	(void)state;
	assert_int_equal(exchange(net, &rq).body, 100000);
	rq.max_size = 99999;
	assert_int_equal(exchange(net, &rq).error, -EMSGSIZE);
	rq = ask("/slow", url);
	rq.timeout = 50 * SH_MS;
	assert_int_equal(exchange(net, &rq).error, -ETIMEDOUT);
	rq = ask("/broken", url);
	assert_int_equal(exchange(net, &rq).error, -EIO);
	rq.url = SH_LIT("http://127.0.0.1:1/");
	assert_int_equal(exchange(net, &rq).error, -EHOSTUNREACH);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", server.port);
	rq = ask("", url);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", server.port);
	rq.url = sh_slice_cstr(url);
	assert_true(exchange(net, &rq).error < 0);
	sh_net_destroy(net);
}

static char *write_pem(const struct paper *p)
{
	char *path = strdup("/tmp/siphook-ca-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, p->text, strlen(p->text)), strlen(p->text));
	close(fd);
	return path;
}

/* By its address, with that authority (NULL: the system's). */
static struct outcome ask_securely(struct sh_net *net, const char *host, const char *ca, bool insecure)
{
	char url[128];
	struct sh_http_request rq = ask("/", url);

	snprintf(url, sizeof(url), "https://%s:%u/", host, secure.port);
	rq.url = sh_slice_cstr(url);
	rq.insecure = insecure;
	if (ca)
		rq.ca_file = sh_slice_cstr(ca);
	return exchange(net, &rq);
}

/* The server shows a certificate, and the client believes an authority or none. */
static void a_server_proves_its_name_by_an_authority_that_is_believed(void **state)
{
	struct paper *ca, *other, *good, *wrong, *alone, *old;
	char *ca_file, *other_file, *alone_file;
	struct sh_net *net;

	(void)state;
	paper_start = time(NULL) - 10 * DAY;
	ca = paper_make("an authority", NULL, 30, NULL);
	other = paper_make("another", NULL, 30, NULL);
	good = paper_make("server", "DNS:localhost, IP:127.0.0.1", 30, ca);
	wrong = paper_make("server", "DNS:example.org, IP:127.0.0.2", 30, ca);
	alone = paper_make("localhost", "DNS:localhost, IP:127.0.0.1", 30, NULL);
	old = paper_make("server", "DNS:localhost, IP:127.0.0.1", 5, ca);
	ca_file = write_pem(ca);
	other_file = write_pem(other);
	alone_file = write_pem(alone);
	const struct {
		const struct paper *shown;
		const char *host, *ca;
		bool insecure;
		int error;
	} tries[] = {
	    {good, "localhost", ca_file, false, 0},
	    {good, "127.0.0.1", ca_file, false, 0},
	    {good, "localhost", other_file, false, -EPROTO},
	    {good, "localhost", NULL, false, -EPROTO}, /* nor does the system know it */
	    {good, "localhost", NULL, true, 0},
	    {wrong, "localhost", ca_file, false, -EPROTO},
	    {wrong, "127.0.0.1", ca_file, false, -EPROTO},
	    {wrong, "localhost", ca_file, true, 0},
	    {alone, "localhost", ca_file, false, -EPROTO},
	    {alone, "localhost", alone_file, false, 0},
	    {old, "localhost", ca_file, false, -EPROTO},
	    {good, "localhost", "/nowhere.pem", false, -EPROTO},
	};

	for (unsigned i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		struct outcome o;

		secure.tls = SSL_CTX_new(TLS_server_method());
		assert_int_equal(SSL_CTX_use_certificate(secure.tls, tries[i].shown->certificate), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(secure.tls, tries[i].shown->key), 1);
		start(&secure);
		net = net_with(1, &quiet, NULL); /* no connection is kept from one to the next */
		o = ask_securely(net, tries[i].host, tries[i].ca, tries[i].insecure);
		if (o.error != tries[i].error)
			fail_msg("try %u: %d (%s) instead of %d", i, o.error, o.detail, tries[i].error);
		assert_int_equal(o.status, o.error ? 0 : 200);
		sh_net_destroy(net);
		stop(&secure);
		SSL_CTX_free(secure.tls);
	}
	unlink(ca_file);
	unlink(other_file);
	unlink(alone_file);
	free(ca_file);
	free(other_file);
	free(alone_file);
	paper_free(ca);
	paper_free(other);
	paper_free(good);
	paper_free(wrong);
	paper_free(alone);
	paper_free(old);
}

/* The same host and port, but anybody on the way could read them. */
static void a_redirect_from_https_to_http_takes_no_secrets_along(void **state)
{
	struct sh_net *net = net_with(1, &quiet, NULL);
	struct paper *paper = paper_make("localhost", "IP:127.0.0.1", 30, NULL);
	char url[128];
	struct sh_http_request rq = ask("/plain", url);

	(void)state;
	secure.tls = SSL_CTX_new(TLS_server_method());
	assert_int_equal(SSL_CTX_use_certificate(secure.tls, paper->certificate), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(secure.tls, paper->key), 1);
	start(&secure);
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/plain", secure.port);
	rq.url = sh_slice_cstr(url);
	rq.insecure = true;
	rq.user = SH_LIT("me");
	rq.redirects = 1;
	assert_int_equal(exchange(net, &rq).status, 200);
	sh_net_destroy(net);
	stop(&secure);
	assert_non_null(strstr(secure.last, "GET /there "));
	assert_null(strstr(secure.last, "Authorization"));
	SSL_CTX_free(secure.tls);
	paper_free(paper);
}

static void bad_urls_are_refused_at_once(void **state)
{
	static const char *const urls[] = {"ftp://127.0.0.1/", "http://", "http://a:b:c/", "file:///etc/passwd", "x"};
	struct sh_net *net = net_with(1, &quiet, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	struct sh_http *h;
	char url[128];

	(void)state;
	for (unsigned i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct sh_http_request rq = ask("", url);

		rq.url = sh_slice_cstr(urls[i]);
		assert_int_equal(env->driver->http(env, &rq, on_response, NULL, &h), -EINVAL);
	}
	sh_net_destroy(net);
}

static void what_is_cancelled_or_stopped_tells_nothing(void **state)
{
	struct sh_net *net = net_with(1, &quiet, NULL);
	struct sh_env *env = sh_net_env(net, 0);
	struct outcome o = {0};
	struct sh_http *h[4];
	char url[128];
	struct sh_http_request rq = ask("/slow", url), named = ask("/slow", url);
	unsigned before = atomic_load(&server.requests);

	(void)state;
	named.url = SH_LIT("http://localhost/"); /* cancelled while the name is looked up */
	assert_int_equal(env->driver->http(env, &rq, on_response, &o, &h[0]), 0);
	assert_int_equal(env->driver->http(env, &rq, on_response, &o, &h[1]), 0);
	assert_int_equal(env->driver->http(env, &named, on_response, &o, &h[2]), 0);
	env->driver->http_cancel(env, h[2]);
	env->driver->http_cancel(env, h[0]);
	TURN_UNTIL(net, atomic_load(&server.requests) > before);
	env->driver->http_cancel(env, h[1]);
	for (int i = 0; i < 50; i++)
		turn_all(net, 1000);
	assert_int_equal(env->driver->http(env, &rq, on_response, &o, &h[0]), 0);
	assert_int_equal(env->driver->http(env, &named, on_response, &o, &h[2]), 0);
	turn_all(net, 1000);
	sh_net_stop(net);
	assert_int_equal(env->driver->http(env, &rq, on_response, &o, &h[3]), -ESHUTDOWN);
	env->driver->http_cancel(env, h[0]);
	sh_net_destroy(net);
	assert_int_equal(o.done, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(connections_are_used_again),
	    cmocka_unit_test(a_request_says_what_it_was_told),
	    cmocka_unit_test(names_are_looked_up_and_redirects_followed_without_their_secrets),
	    cmocka_unit_test(limits_of_time_and_size_are_kept),
	    cmocka_unit_test(a_server_proves_its_name_by_an_authority_that_is_believed),
	    cmocka_unit_test(a_redirect_from_https_to_http_takes_no_secrets_along),
	    cmocka_unit_test(bad_urls_are_refused_at_once),
	    cmocka_unit_test(what_is_cancelled_or_stopped_tells_nothing),
	};

	return cmocka_run_group_tests(tests, start_server, stop_server);
}
