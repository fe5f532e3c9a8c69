/* Questions to name servers: one c-ares channel per worker, whose sockets are watched by the worker's own epoll and
 * whose timeouts are a timer of its wheel. Nothing blocks, no thread is needed. The channel is made for the first
 * question (/etc/resolv.conf is read then, and again when it has changed and nothing is under way).
 *
 * c-ares may answer from inside its own functions, even from the one that asks: so what it says waits in w->answered
 * until the turn comes to it. */
#include <ares.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	FIRST_WAIT_MS = 1000, /* for a server; doubled each round */
	ROUNDS = 3,
	EDNS_SIZE = 1232, /* what no path fragments (DNS flag day 2020) */
	QUESTIONS_MAX = 1000, /* under way; the network can cause them */
	FILE_TTL = 10,
	LOOPBACK_TTL = 3600,
	NAME_ROOM = 256, /* RFC 1035 2.3.4, with the NUL */
};
#define CONFIG_FILE     "/etc/resolv.conf"
#define CONFIG_INTERVAL (5 * SH_SECOND)

struct net_question {
	struct sh_link link; /* net_dns.asked, then net_dns.answered */
	struct net_dns *dns;
	sh_dns_fn fn;
	void *ctx;
	enum sh_dns_type type;
	struct sh_dns_answer answer;
	void *records; /* what answer.records points to */
};

struct dns_socket {
	struct net_handle handle;
	struct sh_link link; /* net_dns.sockets */
};

struct net_dns {
	struct net_worker *worker;
	ares_channel channel;
	struct sh_timer timer;
	struct sh_link sockets, asked, answered;
	unsigned count;        /* of asked */
	uint64_t looked;       /* at CONFIG_FILE */
	struct timespec stamp; /* of it */
};

/* ---- sockets ---- */

static struct dns_socket *find_socket(struct net_dns *d, ares_socket_t fd)
{
	SH_LIST_EACH(l, &d->sockets)
	{
		struct dns_socket *s = SH_CONTAINER(l, struct dns_socket, link);
		if (s->handle.fd == fd)
			return s;
	}
	return NULL;
}

static void on_state(void *data, ares_socket_t fd, int readable, int writable)
{
	struct net_dns *d = data;
	struct dns_socket *s = find_socket(d, fd);
	uint32_t watched = (readable ? EPOLLIN : 0u) | (writable ? EPOLLOUT : 0u);

	if (s) {
		net_watch(d->worker, &s->handle, watched);
		return;
	}
	s = watched ? sh_calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return; /* out of memory: its timeout is what is left */
	s->handle.kind = NET_DNS;
	s->handle.fd = fd;
	if (net_attach(d->worker, &s->handle, watched) < 0)
		sh_free(s);
	else
		sh_list_append(&d->sockets, &s->link);
}

static ares_socket_t open_socket(int family, int type, int protocol, void *data)
{
	(void)data;
	return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

static void forget_socket(struct net_dns *d, struct dns_socket *s)
{
	net_release(d->worker, &s->handle);
	sh_list_remove(&s->link);
	sh_free(s);
}

static int close_socket(ares_socket_t fd, void *data)
{
	struct net_dns *d = data;
	struct dns_socket *s = find_socket(d, fd);

	if (!s)
		return close(fd);
	forget_socket(d, s);
	return 0;
}

static int connect_socket(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t len, void *data)
{
	(void)data;
	return connect(fd, to, len);
}

static ares_ssize_t receive(ares_socket_t fd, void *to, size_t len, int flags, struct sockaddr *from,
			    ares_socklen_t *from_len, void *data)
{
	(void)data;
	return recvfrom(fd, to, len, flags, from, from_len);
}

/* c-ares by itself would let the host have a SIGPIPE. */
static ares_ssize_t transmit(ares_socket_t fd, const struct iovec *parts, int count, void *data)
{
	struct msghdr m = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};

	(void)data;
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static const struct ares_socket_functions functions = {open_socket, close_socket, connect_socket, receive, transmit};

/* ---- the channel ---- */

static struct timespec config_stamp(void)
{
	struct stat st;

	return stat(CONFIG_FILE, &st) == 0 ? st.st_mtim : (struct timespec){0};
}

static int open_channel(struct net_dns *d)
{
	const char *servers = d->worker->net->dns_servers;
	struct ares_options o = {
	    .flags = ARES_FLAG_EDNS,
	    .timeout = FIRST_WAIT_MS,
	    .tries = ROUNDS,
	    .ednspsz = EDNS_SIZE,
	    .sock_state_cb = on_state,
	    .sock_state_cb_data = d,
	};

	if (ares_init_options(&d->channel, &o,
			      ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
				  ARES_OPT_SOCK_STATE_CB) != ARES_SUCCESS)
		return -ENOMEM;
	ares_set_socket_functions(d->channel, &functions, d);
	d->stamp = config_stamp();
	d->looked = d->worker->env.now;
	if (!servers || ares_set_servers_ports_csv(d->channel, servers) == ARES_SUCCESS)
		return 0;
	ares_destroy(d->channel);
	d->channel = NULL;
	return -ENOMEM; /* they were checked when they were set */
}

static void close_channel(struct net_dns *d)
{
	if (d->channel)
		ares_destroy(d->channel); /* calls back for all that is under way */
	d->channel = NULL;
	sh_env_cancel(&d->worker->env, &d->timer);
}

/* The machine may have got another address, and other name servers with it. */
static void look_at_config(struct net_dns *d)
{
	struct timespec now;

	if (!d->channel || d->count > 0 || d->worker->net->dns_servers ||
	    d->worker->env.now - d->looked < CONFIG_INTERVAL)
		return;
	now = config_stamp();
	d->looked = d->worker->env.now;
	if (now.tv_sec != d->stamp.tv_sec || now.tv_nsec != d->stamp.tv_nsec)
		close_channel(d);
}

static void arm(struct net_dns *d)
{
	struct timeval t, *left = ares_timeout(d->channel, NULL, &t);

	if (left)
		sh_env_timer(&d->worker->env, &d->timer,
			     (uint64_t)left->tv_sec * SH_SECOND + (uint64_t)left->tv_usec);
	else
		sh_env_cancel(&d->worker->env, &d->timer);
}

static void on_timer(struct sh_timer *t)
{
	struct net_dns *d = SH_CONTAINER(t, struct net_dns, timer);

	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(d);
}

void net_dns_event(struct net_worker *w, struct net_handle *h, uint32_t events)
{
	int fd = h->fd;

	ares_process_fd(w->dns->channel, events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? fd : ARES_SOCKET_BAD,
			events & EPOLLOUT ? fd : ARES_SOCKET_BAD);
	arm(w->dns);
}

/* ---- answers ---- */

static void question_free(struct net_question *q)
{
	sh_list_remove(&q->link);
	sh_free(q->records);
	sh_free(q);
}

static void answered(struct net_question *q, int error, uint32_t ttl)
{
	q->answer.error = error;
	q->answer.ttl = ttl;
	sh_list_remove(&q->link);
	sh_list_append(&q->dns->answered, &q->link);
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *text, int len)
{
	struct net_question *q = arg;
	struct net_dns *d = q->dns;

	(void)timeouts;
	d->count--;
	switch (status) {
	case ARES_EDESTRUCTION:
		question_free(q);
		return;
	case ARES_SUCCESS:
	case ARES_ENODATA:
	case ARES_ENOTFOUND:
		answered(q, 0, 0);
		net_dns_parse(&q->answer, &q->records, q->type, text, len > 0 ? (size_t)len : 0);
		return;
	case ARES_EBADNAME:
		answered(q, -ENOENT, LOOPBACK_TTL);
		return;
	default:
		answered(q, -EAGAIN, 0);
		return;
	}
}

void net_dns_deliver(struct net_worker *w)
{
	struct sh_link told;

	if (!w->dns || sh_list_empty(&w->dns->answered))
		return;
	sh_list_init(&told);
	for (struct sh_link *l; (l = sh_list_pop(&w->dns->answered)) != NULL;) /* not those that this causes */
		sh_list_append(&told, l);
	while (!sh_list_empty(&told)) {
		struct net_question *q = SH_CONTAINER(told.next, struct net_question, link);

		sh_list_remove(&q->link);
		if (!net_is_stopped(w))
			q->fn(&q->answer, q->ctx);
		question_free(q);
	}
}

bool net_dns_has_more(const struct net_worker *w)
{
	return w->dns && !sh_list_empty(&w->dns->answered);
}

/* ---- what need not be asked for ---- */

static bool is_localhost(struct sh_slice name)
{
	static const struct sh_slice local = SH_LIT("localhost"), below = SH_LIT(".localhost");

	if (name.len > 0 && name.base[name.len - 1] == '.')
		name.len--;
	return sh_slice_ieq(name, local) ||
	       (name.len > below.len &&
		sh_slice_ieq(sh_slice_make(name.base + name.len - below.len, below.len), below));
}

static void loopback(struct net_question *q)
{
	struct sh_dns_record *r = sh_calloc(1, sizeof(*r));

	if (!r) {
		answered(q, -EAGAIN, 0);
		return;
	}
	*r = (struct sh_dns_record){.ttl = LOOPBACK_TTL, .addr.family = q->type == SH_DNS_A ? 4 : 6};
	if (q->type == SH_DNS_A)
		r->addr.ip[0] = 127;
	r->addr.ip[q->type == SH_DNS_A ? 3 : 15] = 1;
	q->records = r;
	q->answer.records = r;
	q->answer.count = 1;
	answered(q, 0, 0);
}

static void take_host(struct net_question *q, const struct hostent *h)
{
	size_t n = 0, size = q->type == SH_DNS_A ? 4 : 16;
	struct sh_dns_record *r;

	while (h->h_addr_list[n])
		n++;
	r = sh_calloc(n + 1, sizeof(*r));
	for (size_t i = 0; r && i < n; i++) {
		r[i].ttl = FILE_TTL;
		r[i].addr.family = q->type == SH_DNS_A ? 4 : 6;
		memcpy(r[i].addr.ip, h->h_addr_list[i], size);
	}
	q->records = r;
	q->answer.records = r;
	q->answer.count = r ? n : 0;
	answered(q, r && n > 0 ? 0 : -EAGAIN, 0);
}

/* A name that the hosts file has for one family is not asked for the other: a machine without a network knows itself
 * at once. */
static bool in_hosts_file(struct net_question *q, const char *name)
{
	int family = q->type == SH_DNS_A ? AF_INET : AF_INET6, other = q->type == SH_DNS_A ? AF_INET6 : AF_INET;
	struct hostent *h = NULL;

	if (ares_gethostbyname_file(q->dns->channel, name, family, &h) == ARES_SUCCESS) {
		take_host(q, h);
		ares_free_hostent(h);
		return true;
	}
	if (ares_gethostbyname_file(q->dns->channel, name, other, &h) != ARES_SUCCESS)
		return false;
	ares_free_hostent(h);
	answered(q, -ENOENT, FILE_TTL);
	return true;
}

/* ---- questions ---- */

/* hostname of RFC 3261 25.1: the last label begins with a letter ("127.1" is none). The underscore is no part of that
 * grammar, but of SRV and of names that people have. */
static bool is_host_name(struct sh_slice s)
{
	bool begin = true, letter = false;

	if (s.len > 0 && s.base[s.len - 1] == '.')
		s.len--;
	if (s.len == 0 || s.len + 2 >= NAME_ROOM)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = sh_lower(s.base[i]);
		bool is_letter = c >= 'a' && c <= 'z';

		if (c == '.' && begin)
			return false;
		if (!is_letter && !(c >= '0' && c <= '9') && c != '-' && c != '_' && c != '.')
			return false;
		if (begin)
			letter = is_letter;
		begin = c == '.';
	}
	return letter && !begin;
}

static int prepare(struct net_worker *w)
{
	if (!w->dns) {
		w->dns = sh_calloc(1, sizeof(*w->dns));
		if (!w->dns)
			return -ENOMEM;
		w->dns->worker = w;
		sh_timer_init(&w->dns->timer, on_timer);
		sh_list_init(&w->dns->sockets);
		sh_list_init(&w->dns->asked);
		sh_list_init(&w->dns->answered);
	}
	look_at_config(w->dns);
	return w->dns->channel ? 0 : open_channel(w->dns);
}

static void ask(struct net_question *q, struct sh_slice text)
{
	struct net_dns *d = q->dns;
	char name[NAME_ROOM];

	if (!is_host_name(text)) {
		answered(q, -ENOENT, LOOPBACK_TTL);
		return;
	}
	memcpy(name, text.base, text.len);
	name[text.len] = '\0';
	if (q->type == SH_DNS_A || q->type == SH_DNS_AAAA) {
		if (is_localhost(text)) {
			loopback(q);
			return;
		}
		if (in_hosts_file(q, name))
			return;
	}
	if (d->count >= QUESTIONS_MAX) {
		answered(q, -EAGAIN, 0);
		return;
	}
	d->count++;
	ares_search(d->channel, name, 1, (int)q->type, on_answer, q); /* class IN */
	arm(d);
}

int net_query(struct sh_env *env, struct sh_slice name, enum sh_dns_type type, sh_dns_fn fn, void *ctx)
{
	struct net_worker *w = net_worker_of(env);
	struct net_question *q;
	int err = net_is_stopped(w) ? -ESHUTDOWN : prepare(w);

	if (err)
		return err;
	q = sh_calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->dns = w->dns;
	q->fn = fn;
	q->ctx = ctx;
	q->type = type;
	sh_list_append(&w->dns->asked, &q->link);
	ask(q, name);
	return 0;
}

/* ---- life ---- */

int sh_net_set_dns(struct sh_net *n, const char *servers)
{
	struct ares_options none = {.flags = 0};
	ares_channel channel;
	char *copy;
	bool good;

	if (ares_init_options(&channel, &none, 0) != ARES_SUCCESS)
		return -ENOMEM;
	good = ares_set_servers_ports_csv(channel, servers) == ARES_SUCCESS;
	ares_destroy(channel);
	if (!good)
		return -EINVAL;
	copy = sh_strndup(servers, strlen(servers));
	if (!copy)
		return -ENOMEM;
	sh_free(n->dns_servers);
	n->dns_servers = copy;
	return 0;
}

void net_dns_finish(struct net_worker *w)
{
	struct net_dns *d = w->dns;

	if (!d)
		return;
	close_channel(d);
	while (!sh_list_empty(&d->answered))
		question_free(SH_CONTAINER(d->answered.next, struct net_question, link));
	while (!sh_list_empty(&d->sockets))
		forget_socket(d, SH_CONTAINER(d->sockets.next, struct dns_socket, link));
	sh_free(d);
	w->dns = NULL;
}
