/* The thread that reads what other processes send, and what it has the workers do. */
#include "engine/handover.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	POST_TRIES = 400,
	PACKETS_AT_ONCE = 64,
	ASK_TRIES = 25000, /* of 200 us */
	ACCEPT_MS = 100,   /* without descriptors: until the next try */
	STRANGERS = 16,    /* connections that have not proven themselves, at the most */
};

static void nap(long us)
{
	nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* ------------------------------------------------------------------ what the workers do */

/* A question to all workers. */
struct question {
	struct sh_engine *engine;
	void (*fn)(struct sh_worker *w, void *arg);
	void *arg;
	_Atomic unsigned missing, refs;
};

static void unref(struct question *q)
{
	if (atomic_fetch_sub(&q->refs, 1) == 1)
		sh_free(q);
}

static void on_question(struct sh_env *env, void *arg)
{
	struct question *q = arg;

	q->fn(&q->engine->workers[env->worker], q->arg);
	atomic_fetch_sub(&q->missing, 1);
	unref(q);
}

/* Runs fn on each worker and waits for it. -ETIMEDOUT: some may do it later; arg must live on then. */
static int ask(struct sh_handover *h, void (*fn)(struct sh_worker *w, void *arg), void *arg)
{
	struct sh_engine *e = h->engine;
	struct question *q = sh_calloc(1, sizeof(*q));
	int err = 0;

	if (!q)
		return -ENOMEM;
	*q = (struct question){.engine = e, .fn = fn, .arg = arg};
	atomic_init(&q->refs, e->nworkers + 1);
	atomic_init(&q->missing, e->nworkers);
	for (unsigned i = 0; i < e->nworkers; i++) {
		if (sh_engine_call(e, i, on_question, q) < 0) {
			err = -EAGAIN;
			atomic_fetch_sub(&q->missing, 1);
			unref(q);
		}
	}
	for (int i = 0; i < ASK_TRIES && atomic_load(&q->missing) && !atomic_load(&h->quit); i++)
		nap(200);
	if (atomic_load(&q->missing)) /* even if others were never asked: arg is still in use */
		err = -ETIMEDOUT;
	unref(q);
	return err;
}

static bool is_true(void *ctx, int type, const struct sh_addr *bound)
{
	(void)type;
	(void)bound;
	return *(const bool *)ctx;
}

static void deafen(struct sh_worker *w, void *arg)
{
	bool deaf = true;

	(void)arg;
	sh_net_deafen(w->engine->net, w->index, is_true, &deaf);
}

static void listen_again(struct sh_worker *w, void *arg)
{
	bool deaf = false;

	(void)arg;
	sh_net_deafen(w->engine->net, w->index, is_true, &deaf);
}

/* Where the other process listens too. */
static bool is_theirs(void *ctx, int type, const struct sh_addr *bound)
{
	const struct sh_handover *h = ctx;

	for (size_t i = 0; i < h->nplaces; i++)
		if (sh_addr_eq(&h->places[i], bound))
			return true;
	return type == SOCK_STREAM; /* it will be closed */
}

/* Those of an address in the order of the workers: the kernel has been told which is whose (drivers/net, net_steer.c). */
struct sockets {
	struct socket_of {
		unsigned worker, number;
		int fd;
	} all[SH_HANDOVER_FDS];
	_Atomic unsigned count;
};

static void collect_sockets(struct sh_worker *w, void *arg)
{
	struct sockets *s = arg;
	int own[SH_HANDOVER_FDS];
	unsigned n = sh_net_sockets(w->engine->net, w->index, own, SH_HANDOVER_FDS);

	for (unsigned i = 0; i < n; i++) {
		unsigned at = atomic_fetch_add(&s->count, 1);

		if (at < SH_HANDOVER_FDS)
			s->all[at] = (struct socket_of){w->index, i, own[i]};
	}
}

static int by_worker(const void *a, const void *b)
{
	const struct socket_of *x = a, *y = b;

	return x->worker != y->worker ? (int)x->worker - (int)y->worker : (int)x->number - (int)y->number;
}

/* What a worker has begun: which requests. */
struct begun {
	struct sh_handover *h;
	struct list {
		struct sh_handover_begun *list;
		size_t count, room;
		bool failed;
	} of[SH_ENGINE_MAX_WORKERS];
	struct sh_handover_packet *known, **known_end; /* by worker 0, and with it by all */
};

struct of_worker {
	struct list *list;
	unsigned epoch;
};

static void add_begun(void *ctx, uint64_t key)
{
	struct of_worker *w = ctx;
	struct list *l = w->list;

	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 1024;
		void *grown = sh_realloc(l->list, room * sizeof(*l->list));

		if (!grown) {
			l->failed = true;
			return;
		}
		l->list = grown;
		l->room = room;
	}
	l->list[l->count++] = (struct sh_handover_begun){key, w->epoch};
}

static void add_known(struct begun *b, enum sh_handover_kind kind, const void *data, size_t len)
{
	struct sh_handover_packet *p;

	if (len > SH_HANDOVER_PACKET - sizeof(uint32_t)) { /* nobody could send it as a NOTIFY either */
		atomic_fetch_add(&b->h->lost, 1);
		return;
	}
	p = sh_malloc(sizeof(*p) + len);
	if (!p) {
		b->of[0].failed = true;
		return;
	}
	p->next = NULL;
	p->kind = kind;
	p->len = len;
	memcpy(p->data, data, len);
	*b->known_end = p;
	b->known_end = &p->next;
}

static void add_ban(void *ctx, const struct sh_ban *ban)
{
	add_known(ctx, SH_HANDOVER_BAN, ban, sizeof(*ban));
}

static void add_event(void *ctx, const char *record, size_t len)
{
	add_known(ctx, SH_HANDOVER_EVENT, record, len);
}

static void collect_begun(struct sh_worker *w, void *arg)
{
	struct begun *b = arg;
	struct of_worker ctx = {&b->of[w->index], b->h->epoch};

	sh_txn_each_request_key(sh_ua_txn(w->ua), add_begun, &ctx);
	if (w->index == 0) {
		sh_transport_each_ban(sh_ua_transport(w->ua), add_ban, b);
		sh_ua_each_event(w->ua, add_event, b);
	}
}

/* Joins what they have with what earlier processes have begun. */
static int join_begun(struct sh_handover *h, struct begun *b)
{
	size_t count = h->nbegun, n = 0;
	struct sh_handover_begun *all;

	for (unsigned i = 0; i < h->engine->nworkers; i++) {
		count += b->of[i].count;
		if (b->of[i].failed)
			return -ENOMEM;
	}
	all = sh_malloc((count + 1) * sizeof(*all));
	if (!all)
		return -ENOMEM;
	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < h->nbegun; i++)
		if (h->begun[i].epoch != h->epoch && sh_handover_peer_of(h, (unsigned)h->begun[i].epoch) >= 0)
			all[n++] = h->begun[i];
	pthread_mutex_unlock(&h->lock);
	for (unsigned i = 0; i < h->engine->nworkers; i++) {
		if (b->of[i].count)
			memcpy(all + n, b->of[i].list, b->of[i].count * sizeof(*all));
		n += b->of[i].count;
	}
	pthread_mutex_lock(&h->lock);
	sh_handover_set_begun(h, all, n);
	pthread_mutex_unlock(&h->lock);
	return 0;
}

static void succeeded(struct sh_worker *w, void *arg)
{
	sh_net_deafen(w->engine->net, w->index, is_theirs, arg); /* of an address that is given up, the calls that are left need the rest */
	if (w->index == 0) {
		sh_env_cancel(w->env, &w->expire);
		sh_env_cancel(w->env, &w->engine->keep);
	}
	sh_transport_listen_stop(sh_ua_transport(w->ua));
	sh_ua_succeeded(w->ua);
	sh_runtime_succeeded(w->runtime);
}

/* ------------------------------------------------------------------ from others */

/* Something that came, on its way to a worker. */
struct arrival {
	struct sh_handover *h;
	enum sh_handover_kind kind;
	union {
		struct sh_handover_message head;
		struct sh_handover_news news;
	};
	uint64_t flow;
	size_t len;
	char text[];
};

static void arrive_message(struct sh_transport *t, struct arrival *a)
{
	struct sh_path *path = &a->head.path;

	if (!sh_transport_renumber(t, path) && path->proto == SH_PROTO_UDP)
		return; /* nobody listens there any more, so nobody could answer from there */
	path->flow = a->flow;
	sh_transport_arrive(t, path, sh_slice_make(a->text, a->len));
}

static void arrive(struct sh_env *env, void *arg)
{
	struct arrival *a = arg;
	struct sh_worker *w = &a->h->engine->workers[env->worker];
	struct sh_transport *t = sh_ua_transport(w->ua);
	struct sh_path path = {.proto = SH_PROTO_TCP, .flow = a->flow};

	switch (a->kind) {
	case SH_HANDOVER_MESSAGE:
		arrive_message(t, a);
		break;
	case SH_HANDOVER_UNREACHABLE:
		sh_transport_unreachable(t, &a->news.remote, sh_slice_make(a->text, a->len), a->news.error);
		break;
	case SH_HANDOVER_SEND:
		if (sh_transport_send(t, &path, sh_slice_make(a->text, a->len), NULL) < 0)
			sh_handover_flow_closed(a->h, a->flow);
		break;
	case SH_HANDOVER_CLOSE:
		sh_transport_flow_close(t, a->flow);
		break;
	case SH_HANDOVER_GONE:
		sh_transport_flow_gone(t, a->flow);
		break;
	default:
		sh_handover_put_change(a->h, a->kind, a->text, a->len);
	}
	sh_free(a);
}

/* What cannot be taken at once waits here, and so with whoever sends. */
static void pass(struct sh_handover *h, unsigned worker, struct arrival *a)
{
	int tries = 0, err;

	while ((err = sh_engine_call(h->engine, worker, arrive, a)) == -EAGAIN && ++tries < POST_TRIES && !atomic_load(&h->quit))
		nap(500);
	if (!err)
		return;
	atomic_fetch_add(&h->lost, 1);
	sh_free(a);
}

static struct arrival *make_arrival(struct sh_handover *h, enum sh_handover_kind kind, const char *text, size_t len)
{
	struct arrival *a = sh_malloc(sizeof(*a) + len);

	if (!a)
		return NULL;
	memset(a, 0, sizeof(*a));
	a->h = h;
	a->kind = kind;
	a->len = len;
	if (len)
		memcpy(a->text, text, len);
	return a;
}

/* GONE concerns transactions of all workers; all else one of them. */
static void take_flow(struct sh_handover *h, enum sh_handover_kind kind, uint64_t flow, const char *text, size_t len)
{
	unsigned first = kind == SH_HANDOVER_GONE ? 0 : (unsigned)(flow >> 56);
	unsigned last = kind == SH_HANDOVER_GONE ? h->engine->nworkers - 1 : first;

	for (unsigned i = first; flow && i <= last && i < h->engine->nworkers; i++) {
		struct arrival *a = make_arrival(h, kind, text, len);

		if (!a)
			return;
		a->flow = flow;
		pass(h, i, a);
	}
}

static void gone(void *ctx, const struct sh_bindings *b)
{
	struct sh_handover *h = ctx;

	for (unsigned i = 0; i < b->count; i++) {
		unsigned peer = (unsigned)(b->contacts[i].from.flow >> 56) - SH_FLOW_ABROAD; /* of ours: wraps around */

		if (peer < SH_HANDOVER_PEERS && h->peers[peer].fd < 0)
			take_flow(h, SH_HANDOVER_GONE, b->contacts[i].from.flow, NULL, 0);
	}
}

static void peer_gone(struct sh_handover *h, int peer)
{
	struct sh_handover_peer *p = &h->peers[peer];
	struct sh_engine *e = h->engine;
	bool took = p->takes && !atomic_load(&h->succeeded);

	pthread_mutex_lock(&h->lock);
	shutdown(p->fd, SHUT_RDWR);
	close(p->fd);
	p->fd = -1;
	p->takes = false;
	sh_handover_forget(p);
	if (h->newest == peer)
		h->newest = -1;
	atomic_fetch_sub(&h->live, 1);
	pthread_mutex_unlock(&h->lock);
	if (took) {
		h->run_by = 0;
		atomic_store(&h->telling, false);
		atomic_store(&h->telling_writes, false);
		sh_warn(&e->log, "the process that was to take over is gone; this one goes on");
		ask(h, listen_again, NULL);
	}
	if (p->greeted)
		sh_location_each(e->location, gone, h);
}

/* It has proven itself. What others are told from then on comes behind this. */
static void welcome(struct sh_handover *h, int peer)
{
	struct sh_engine *e = h->engine;
	char control[CMSG_SPACE(sizeof(int) * SH_HANDOVER_FDS)] __attribute__((aligned(8))) = {0};
	struct sh_handover_welcome w = {.hello = sh_handover_hello(h), .active = !atomic_load(&h->succeeded)};
	uint32_t kind = SH_HANDOVER_WELCOME;
	struct iovec parts[] = {{&kind, sizeof(kind)}, {&w, sizeof(w)}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
	struct sockets *s = sh_calloc(1, sizeof(*s));

	if (w.active) {
		w.key = e->workers[0].env->key;
		w.secret = sh_auth_secret(e->auth);
		if (!s || ask(h, collect_sockets, s) < 0)
			s = NULL; /* a late worker may still write to it */
		else
			w.nfds = s->count < SH_HANDOVER_FDS ? s->count : SH_HANDOVER_FDS;
		if (s && s->count > SH_HANDOVER_FDS)
			sh_warn(&e->log, "hand-over: %u sockets are more than the %d that another process can get: it will not start", s->count,
				SH_HANDOVER_FDS);
	}
	if (w.nfds) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * w.nfds);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * w.nfds);
		qsort(s->all, w.nfds, sizeof(s->all[0]), by_worker);
		for (unsigned i = 0; i < w.nfds; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &s->all[i].fd, sizeof(int));
	}
	pthread_mutex_lock(&h->lock);
	h->peers[peer].epoch = h->peers[peer].claims;
	h->peers[peer].greeted = true;
	if (sendmsg(h->peers[peer].fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		sh_warn(&e->log, "hand-over: %s", strerror(errno));
	pthread_mutex_unlock(&h->lock);
	explicit_bzero(&w, sizeof(w));
	sh_free(s);
}

/* Of somebody who has not proven himself: HELLO, then PROOF. */
static void take_greeting(struct sh_handover *h, int peer, enum sh_handover_kind kind, const char *data, size_t len)
{
	int err = kind == SH_HANDOVER_HELLO   ? sh_handover_challenge(h, peer, data, len)
		  : kind == SH_HANDOVER_PROOF ? sh_handover_judge(h, peer, data, len)
					      : -EPROTO;

	if (!err && kind == SH_HANDOVER_PROOF)
		welcome(h, peer);
	if (!err)
		return;
	sh_log_write_limited(&h->engine->log, SH_LOG_WARN, &h->strangers_limit, sh_handover_now(),
			     err == -EACCES ? "hand-over: a process that does not know the secret is refused"
					    : "hand-over: a process that does not speak this version is refused");
	shutdown(h->peers[peer].fd, SHUT_RDWR); /* its end is heard of like any other */
}

/* ------------------------------------------------------------------ being taken over from */

/* In two steps: what a worker has passed to another before it went deaf is there when that one is asked. */
static int take_stock(struct sh_handover *h)
{
	struct begun *b = sh_calloc(1, sizeof(*b));
	int err = b ? ask(h, deafen, NULL) : -ENOMEM;

	if (b) {
		b->h = h;
		b->known_end = &b->known;
	}
	if (!err)
		err = ask(h, collect_begun, b);
	if (err == -ETIMEDOUT)
		return err; /* a late worker may still write to it */
	if (!err)
		err = join_begun(h, b);
	for (unsigned i = 0; b && i < h->engine->nworkers; i++)
		sh_free(b->of[i].list);
	if (b)
		h->known = b->known; /* sh_handover_give_rest frees it */
	sh_free(b);
	return err;
}

static void peer_takes(struct sh_handover *h, int peer)
{
	int err;

	if (atomic_load(&h->succeeded) || h->newest >= 0)
		return; /* somebody else has */
	pthread_mutex_lock(&h->lock);
	h->peers[peer].takes = true;
	h->newest = peer;
	pthread_mutex_unlock(&h->lock);
	err = sh_handover_give_bindings(h, peer);
	if (!err)
		err = take_stock(h);
	if (!err)
		err = sh_handover_give_rest(h, peer);
	sh_handover_free(&h->known);
	if (err) {
		sh_error(&h->engine->log, "hand-over: %s", strerror(-err));
		shutdown(h->peers[peer].fd, SHUT_RDWR); /* its end is heard of like any other */
	}
	h->run_by = sh_handover_now() + SH_HANDOVER_RUN_MS * SH_MS;
}

static void peer_runs(struct sh_handover *h, int peer, const char *data, size_t len)
{
	bool took = h->peers[peer].takes;
	size_t n = len / sizeof(h->places[0]);

	if (took) {
		h->nplaces = n < SH_MAX_ENDPOINTS ? n : SH_MAX_ENDPOINTS;
		memcpy(h->places, data, h->nplaces * sizeof(h->places[0]));
	}

	pthread_mutex_lock(&h->lock);
	h->newest = peer;
	h->peers[peer].takes = false;
	if (took) {
		h->run_by = 0;
		atomic_store(&h->succeeded, true);
	}
	pthread_mutex_unlock(&h->lock);
	if (!took)
		return;
	sh_info(&h->engine->log, "a new process has taken over; this one goes on with its calls");
	ask(h, succeeded, h);
}

/* ------------------------------------------------------------------ the thread */

static void take_message(struct sh_handover *h, const char *data, size_t len)
{
	struct arrival *a;

	if (len < sizeof(a->head))
		return;
	a = make_arrival(h, SH_HANDOVER_MESSAGE, data + sizeof(a->head), len - sizeof(a->head));
	if (!a)
		return;
	memcpy(&a->head, data, sizeof(a->head));
	pthread_mutex_lock(&h->lock);
	a->flow = sh_handover_flow_in(h, &a->head.flow);
	pthread_mutex_unlock(&h->lock);
	pass(h, 0, a);
}

static void take_news(struct sh_handover *h, const char *data, size_t len)
{
	struct arrival *a;

	if (len < sizeof(a->news))
		return;
	a = make_arrival(h, SH_HANDOVER_UNREACHABLE, data + sizeof(a->news), len - sizeof(a->news));
	if (!a)
		return;
	memcpy(&a->news, data, sizeof(a->news));
	pass(h, 0, a);
}

static void take_packet(struct sh_handover *h, int peer, enum sh_handover_kind kind, const char *data, size_t len)
{
	struct sh_handover_flow f;
	struct arrival *a;
	uint64_t flow;

	if (!h->peers[peer].greeted) {
		take_greeting(h, peer, kind, data, len);
		return;
	}
	switch (kind) {
	case SH_HANDOVER_TAKE:
		peer_takes(h, peer);
		break;
	case SH_HANDOVER_RUN:
		peer_runs(h, peer, data, len);
		break;
	case SH_HANDOVER_MESSAGE:
		take_message(h, data, len);
		break;
	case SH_HANDOVER_UNREACHABLE:
		take_news(h, data, len);
		break;
	case SH_HANDOVER_SEND:
	case SH_HANDOVER_CLOSE:
	case SH_HANDOVER_GONE:
		if (len < sizeof(f))
			break;
		memcpy(&f, data, sizeof(f));
		pthread_mutex_lock(&h->lock);
		flow = sh_handover_flow_in(h, &f);
		pthread_mutex_unlock(&h->lock);
		take_flow(h, kind, flow, data + sizeof(f), len - sizeof(f));
		break;
	case SH_HANDOVER_BINDING:
	case SH_HANDOVER_UNBINDING:
	case SH_HANDOVER_WRITE:
	case SH_HANDOVER_EVENT:
		a = make_arrival(h, kind, data, len);
		if (a)
			pass(h, 0, a);
		break;
	default:
		break; /* parts of a state that is not asked for */
	}
}

static void read_peer(struct sh_handover *h, int peer, char *buffer)
{
	for (int i = 0; i < PACKETS_AT_ONCE && h->peers[peer].fd >= 0; i++) {
		ssize_t n = sh_handover_receive(h->peers[peer].fd, buffer, NULL, NULL);
		uint32_t kind;

		if (n == -EAGAIN)
			return;
		if (n < (ssize_t)sizeof(kind)) {
			peer_gone(h, peer);
			return;
		}
		memcpy(&kind, buffer, sizeof(kind));
		take_packet(h, peer, (enum sh_handover_kind)kind, buffer + sizeof(kind), (size_t)n - sizeof(kind));
	}
}

/* Those who connect and do not prove themselves keep no place that another one needs: the one that is there for longest goes. */
static void limit_strangers(struct sh_handover *h)
{
	int oldest = -1, count = 0;

	for (int i = 0; i < SH_HANDOVER_PEERS; i++) {
		const struct sh_handover_peer *p = &h->peers[i];

		if (p->fd < 0 || p->greeted)
			continue;
		count++;
		if (oldest < 0 || p->since < h->peers[oldest].since)
			oldest = i;
	}
	if (count >= STRANGERS)
		peer_gone(h, oldest);
}

/* False: there is no descriptor for it now. */
static bool accept_peer(struct sh_handover *h)
{
	int fd;

	limit_strangers(h);
	fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
	if (!sh_handover_trusts(fd) || sh_handover_add_peer(h, fd, 0) < 0)
		close(fd);
	return true;
}

/* One that does not say RUN would leave everybody deaf. */
static void mind_taker(struct sh_handover *h)
{
	if (!h->run_by || sh_handover_now() < h->run_by)
		return;
	h->run_by = 0;
	sh_warn(&h->engine->log, "the process that was to take over does not start within %d s", SH_HANDOVER_RUN_MS / 1000);
	if (h->newest >= 0)
		shutdown(h->peers[h->newest].fd, SHUT_RDWR); /* its end is heard of like any other */
}

static int ms_until(uint64_t when)
{
	uint64_t now = sh_handover_now();

	return when > now ? (int)((when - now) / SH_MS) + 1 : 0;
}

static void *serve(void *arg)
{
	struct sh_handover *h = arg;
	char *buffer = sh_malloc(SH_HANDOVER_PACKET);
	bool accepts = true;

	while (buffer && !atomic_load(&h->quit)) {
		struct pollfd p[SH_HANDOVER_PEERS + 2] = {{h->wake, POLLIN, 0}, {accepts ? h->listener : -1, POLLIN, 0}};
		int timeout = !accepts ? ACCEPT_MS : h->run_by ? ms_until(h->run_by) : -1;
		int who[SH_HANDOVER_PEERS], n = 0; /* those that are there: poll() takes no more than may be open */
		eventfd_t rung;

		pthread_mutex_lock(&h->lock);
		for (int i = 0; i < SH_HANDOVER_PEERS; i++) {
			if (h->peers[i].fd < 0)
				continue;
			p[n + 2] = (struct pollfd){h->peers[i].fd, h->peers[i].waiting ? POLLIN | POLLOUT : POLLIN, 0};
			who[n++] = i;
		}
		pthread_mutex_unlock(&h->lock);
		accepts = true;
		if (poll(p, (nfds_t)n + 2, timeout) < 0)
			continue;
		while (atomic_load(&h->engine->parked))
			pause(); /* the process is ending */
		mind_taker(h);
		if (p[0].revents)
			eventfd_read(h->wake, &rung); /* to quit, or something waits */
		if (p[1].revents)
			accepts = accept_peer(h);
		for (int i = 0; i < n; i++) {
			if (!p[i + 2].revents || p[i + 2].fd != h->peers[who[i]].fd)
				continue;
			if (p[i + 2].revents & POLLOUT) {
				pthread_mutex_lock(&h->lock);
				sh_handover_flush(h, who[i]);
				pthread_mutex_unlock(&h->lock);
			}
			if (p[i + 2].revents & ~POLLOUT)
				read_peer(h, who[i], buffer);
		}
	}
	sh_free(buffer);
	return NULL;
}

int sh_handover_serve(struct sh_handover *h)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = -pthread_create(&h->thread, NULL, serve, h);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	h->has_thread = err == 0;
	if (!err)
		pthread_setname_np(h->thread, "siphook-hand");
	return err;
}

void sh_handover_quit(struct sh_handover *h)
{
	atomic_store(&h->quit, true);
	if (!h->has_thread)
		return;
	eventfd_write(h->wake, 1);
	pthread_join(h->thread, NULL);
	h->has_thread = false;
}
