/* Streams and listeners. Level-triggered: what is not taken in this turn is reported again in the next one, so that
 * one busy peer gets one read per turn and no more. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	BACKLOG = 4096,
	ACCEPTS_PER_TURN = 64,
	/* Bytes that nobody acknowledges for so long end the connection. The kernel's own limit is a quarter of an
	 * hour, in which every request to that peer would be lost (timer B gives up after 32 s). */
	USER_TIMEOUT_MS = 30000,
};
#define ACCEPT_PAUSE (100 * SH_MS)

struct sh_listener {
	struct net_handle handle;
	struct net_worker *worker;
	void *user;
	struct sh_addr bound;
	struct net_port *port;
	bool inherited; /* or shared with another process */
	bool deaf;
	struct sh_timer resume; /* accepts are paused */
	struct sh_link others;  /* listeners of the same address: what an earlier process with more workers had */
};

struct sh_stream {
	struct net_handle handle;
	void *user;
	struct sh_addr remote;
	bool connecting, reading;
	bool wants_to_write;   /* a write was short */
	int error;             /* a write failed: stream_closed comes in the next turn */
	struct sh_link broken; /* net_worker.broken */
};

static struct sh_stream *stream_of(struct net_handle *h)
{
	return SH_CONTAINER(h, struct sh_stream, handle);
}

/* ---- streams ---- */

static void set_options(int fd)
{
	net_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	net_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

static void watch(struct net_worker *w, struct sh_stream *s)
{
	uint32_t events = s->reading ? EPOLLIN : 0;

	if (s->wants_to_write)
		events |= EPOLLOUT;
	net_watch(w, &s->handle, s->connecting ? EPOLLOUT : events);
}

/* Takes over fd; on failure it is closed. */
static int stream_create(struct net_worker *w, int fd, bool connecting, struct sh_stream **out)
{
	struct sh_stream *s = sh_calloc(1, sizeof(*s));
	int err;

	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->handle.kind = NET_STREAM;
	s->handle.fd = fd;
	s->connecting = connecting;
	s->reading = true;
	sh_list_init(&s->broken);
	err = net_attach(w, &s->handle, connecting ? EPOLLOUT : EPOLLIN);
	if (err) {
		close(fd);
		sh_free(s);
		return err;
	}
	*out = s;
	return 0;
}

void net_stream_destroy(struct net_worker *w, struct net_handle *h)
{
	struct sh_stream *s = stream_of(h);

	sh_list_remove(&s->broken);
	(void)shutdown(h->fd, SHUT_RDWR); /* a forked child of the host may hold it open */
	net_release(w, h);
	sh_free(s);
}

static void end_stream(struct net_worker *w, struct sh_stream *s, int error)
{
	void *user = s->user;

	net_stream_destroy(w, &s->handle);
	w->env.events->stream_closed(w->env.events_ctx, user, error);
}

static int socket_error(int fd)
{
	int err = 0;
	socklen_t len = sizeof(err);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

static void end_connecting(struct net_worker *w, struct sh_stream *s)
{
	int err = socket_error(s->handle.fd);
	struct sh_addr local;

	if (!err)
		err = net_local_addr(s->handle.fd, &local);
	if (!err && sh_addr_eq(&local, &s->remote)) /* TCP's simultaneous open, with ourselves: nobody listens there */
		err = -ECONNREFUSED;
	if (err) {
		end_stream(w, s, err);
		return;
	}
	s->connecting = false;
	watch(w, s);
	w->env.events->stream_connected(w->env.events_ctx, s->user, &local);
}

/* Returns false when the stream is gone. */
static bool take_input(struct net_worker *w, struct sh_stream *s, uint32_t events)
{
	uint64_t id = s->handle.id;
	ssize_t n;

	if (!s->reading) {
		if (!(events & (EPOLLERR | EPOLLHUP)))
			return true;
		end_stream(w, s, socket_error(s->handle.fd));
		return false;
	}
	n = recv(s->handle.fd, w->buffer, NET_BUFFER, MSG_DONTWAIT);
	if (n > 0) {
		w->stats.stream_reads++;
		w->env.events->stream_data(w->env.events_ctx, s->user, w->buffer, (size_t)n);
		return net_find(w, id) != NULL;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	end_stream(w, s, n < 0 ? -errno : 0);
	return false;
}

void net_stream_event(struct net_worker *w, struct net_handle *h, uint32_t events)
{
	struct sh_stream *s = stream_of(h);
	uint64_t id = h->id;

	if (s->error)
		return; /* it is told in the next turn */
	if (s->connecting) {
		end_connecting(w, s);
		return;
	}
	if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && !take_input(w, s, events))
		return;
	if ((events & EPOLLOUT) && s->wants_to_write && !s->error) {
		s->wants_to_write = false;
		w->env.events->stream_writable(w->env.events_ctx, s->user);
		if (net_find(w, id)) /* it may want to go on: asking the kernel once is enough */
			watch(w, s);
	}
}

void net_stream_tell_broken(struct net_worker *w)
{
	struct sh_link now;

	/* Those that break meanwhile wait for the next turn. */
	sh_list_init(&now);
	for (struct sh_link *l; (l = sh_list_pop(&w->broken)) != NULL;)
		sh_list_append(&now, l);
	for (struct sh_link *l; (l = sh_list_pop(&now)) != NULL;) {
		struct sh_stream *s = SH_CONTAINER(l, struct sh_stream, broken);
		end_stream(w, s, s->error);
	}
}

/* ---- operations ---- */

static int start(int fd, const struct sh_addr *local, const struct sh_addr *remote)
{
	struct sockaddr_storage sa;
	socklen_t len;

	set_options(fd);
	if (local && local->family != 0 && (local->port != 0 || !sh_addr_is_any(local))) {
		len = sh_addr_to_sockaddr(local, &sa);
		if (local->port == 0) /* choose it when the remote is known: each remote has all ports */
			net_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		if (bind(fd, (struct sockaddr *)&sa, len) < 0)
			return -errno;
	}
	len = sh_addr_to_sockaddr(remote, &sa);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS && errno != EINTR)
		return -errno;
	return 0;
}

int net_connect(struct sh_env *env, const struct sh_addr *local, const struct sh_addr *remote, void *user,
		struct sh_stream **out)
{
	struct net_worker *w = net_worker_of(env);
	struct sh_stream *s;
	int fd, err;

	if (net_is_stopped(w))
		return -ESHUTDOWN;
	if (remote->family == 0 || remote->port == 0)
		return -EINVAL;
	if (local && local->family != 0 && local->family != remote->family)
		return -EAFNOSUPPORT;
	fd = net_socket(remote, SOCK_STREAM);
	if (fd < 0)
		return fd;
	err = start(fd, local, remote);
	if (err) {
		close(fd);
		return err;
	}
	err = stream_create(w, fd, true, &s);
	if (err)
		return err;
	s->user = user;
	s->remote = *remote;
	*out = s;
	return 0;
}

ssize_t net_write(struct sh_env *env, struct sh_stream *s, const char *data, size_t len)
{
	struct net_worker *w = net_worker_of(env);
	ssize_t n = 0;

	if (s->error)
		return s->error;
	if (len == 0 || s->wants_to_write) /* full: the kernel will say when it is worth asking again */
		return 0;
	if (!s->connecting) {
		do {
			n = send(s->handle.fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		} while (n < 0 && errno == EINTR);
	}
	if (n < 0 && errno == EAGAIN)
		n = 0;
	if (n < 0) {
		s->error = -errno;
		sh_list_append(&w->broken, &s->broken);
		return s->error;
	}
	if ((size_t)n < len) {
		s->wants_to_write = true;
		watch(w, s);
	}
	return n;
}

void net_read_enable(struct sh_env *env, struct sh_stream *s, bool on)
{
	s->reading = on;
	watch(net_worker_of(env), s);
}

void net_close(struct sh_env *env, struct sh_stream *s)
{
	struct net_worker *w = net_worker_of(env);

	if (!net_is_child(w->net))
		net_stream_destroy(w, &s->handle);
}

/* ---- listeners ---- */

static void resume(struct sh_timer *t)
{
	struct sh_listener *l = SH_CONTAINER(t, struct sh_listener, resume);

	if (!l->deaf)
		net_watch_only(l->worker, &l->handle, EPOLLIN);
}

void net_listener_deafen(struct net_worker *w, struct net_handle *h, sh_net_deaf_fn deaf, void *ctx)
{
	struct sh_listener *l = SH_CONTAINER(h, struct sh_listener, handle);

	l->deaf = deaf(ctx, SOCK_STREAM, &l->bound);
	if (l->deaf || !sh_timer_pending(&l->resume))
		net_watch_only(w, h, l->deaf ? 0 : EPOLLIN);
}

void net_listener_share(struct net_handle *h)
{
	SH_CONTAINER(h, struct sh_listener, handle)->inherited = true;
}

/* Descriptors or memory are out; the connection waits in the backlog. Asking again at once would only burn the CPU. */
static void pause_accepts(struct sh_listener *l, int error)
{
	struct net_worker *w = l->worker;

	w->stats.accepts_paused++;
	net_watch_only(w, &l->handle, 0);
	sh_env_timer(&w->env, &l->resume, ACCEPT_PAUSE);
	sh_log_write_limited(w->env.log, SH_LOG_ERROR, &w->limit, w->env.now,
			     "cannot accept connections for the moment: %s", strerror(-error));
}

static void accept_stream(struct sh_listener *l, int fd, const struct sockaddr *sa)
{
	struct net_worker *w = l->worker;
	struct sh_addr local = l->bound;
	struct sh_stream *s;
	uint64_t id;
	void *user;
	int err;

	if (sh_addr_is_any(&l->bound) && net_local_addr(fd, &local) < 0) {
		close(fd);
		return;
	}
	err = stream_create(w, fd, false, &s);
	if (err) {
		pause_accepts(l, err);
		return;
	}
	sh_addr_from_sockaddr(&s->remote, sa);
	id = s->handle.id;
	user = w->env.events->stream_accepted(w->env.events_ctx, l->user, s, &local, &s->remote);
	if (!net_find(w, id))
		return; /* it was closed already */
	s->user = user;
	if (!user)
		net_stream_destroy(w, &s->handle);
}

void net_listener_event(struct net_worker *w, struct net_handle *h)
{
	struct sh_listener *l = SH_CONTAINER(h, struct sh_listener, handle);
	uint64_t id = h->id;

	/* The listener may be closed, or paused, by what an accepted connection starts. */
	for (int i = 0; i < ACCEPTS_PER_TURN && net_find(w, id) && h->watched; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		int fd = accept4(h->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			accept_stream(l, fd, (struct sockaddr *)&sa);
			continue;
		}
		if (errno == EAGAIN)
			return;
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepts(l, -errno);
		/* Anything else is about the one connection (accept(2)): the next may be well. */
	}
}

static int open_listener(struct sh_listener *l, const struct sh_addr *local, unsigned nth)
{
	int fd = net_inherited(l->worker, SOCK_STREAM, local, nth, &l->bound), err = 0;

	l->inherited = fd != -ENOENT;
	if (!l->inherited && nth == 0)
		fd = net_socket(local, SOCK_STREAM);
	if (fd < 0)
		return fd;
	net_set(fd, SOL_SOCKET, SO_REUSEADDR, 1); /* connections of the last run may linger; a listener may not */
	set_options(fd);                          /* what is accepted inherits them */
	if (!l->inherited)
		err = net_bind(l->worker, fd, SOCK_STREAM, local, &l->port, &l->bound);
	if (!err && !l->inherited && listen(fd, BACKLOG) < 0)
		err = -errno;
	l->handle.fd = fd;
	if (!err)
		err = net_attach(l->worker, &l->handle, EPOLLIN);
	if (err) {
		close(fd);
		net_unbind(l->worker, l->port);
	}
	return err;
}

static int listen_one(struct net_worker *w, const struct sh_addr *local, void *user, unsigned nth, struct sh_listener **out)
{
	struct sh_listener *l = sh_calloc(1, sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	l->handle.kind = NET_LISTENER;
	l->worker = w;
	l->user = user;
	sh_timer_init(&l->resume, resume);
	sh_list_init(&l->others);
	err = open_listener(l, local, nth);
	if (err)
		sh_free(l);
	else
		*out = l;
	return err;
}

int net_listen(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_listener **out,
	       struct sh_addr *bound)
{
	struct net_worker *w = net_worker_of(env);
	struct sh_listener *first, *other;
	int err;

	if (net_is_stopped(w))
		return -ESHUTDOWN;
	err = listen_one(w, local, user, 0, &first);
	if (err)
		return err;
	for (unsigned nth = 1; (err = listen_one(w, local, user, nth, &other)) == 0; nth++)
		sh_list_append(&first->others, &other->others);
	if (err != -ENOENT) {
		net_listen_close(env, first);
		return err;
	}
	*out = first;
	*bound = first->bound;
	return 0;
}

void net_listener_destroy(struct net_worker *w, struct net_handle *h)
{
	struct sh_listener *l = SH_CONTAINER(h, struct sh_listener, handle);

	sh_env_cancel(&w->env, &l->resume);
	sh_list_remove(&l->others);
	if (!l->inherited) /* it is not ours alone */
		(void)shutdown(h->fd, SHUT_RDWR); /* or a forked child's copy goes on taking connections that nobody accepts */
	net_release(w, h);
	net_unbind(w, l->port);
	sh_free(l);
}

void net_listen_close(struct sh_env *env, struct sh_listener *l)
{
	struct net_worker *w = net_worker_of(env);

	if (net_is_child(w->net))
		return;
	while (!sh_list_empty(&l->others))
		net_listener_destroy(w, &SH_CONTAINER(l->others.next, struct sh_listener, others)->handle);
	net_listener_destroy(w, &l->handle);
}
