/* Datagrams: read and sent in batches (recvmmsg, sendmmsg), with the local address of each on sockets bound to any, and
 * with the errors that ICMP brings back. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/errqueue.h>
#include <linux/sock_diag.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	BATCH_IN = 32,
	BATCHES_PER_TURN = 4,
	BATCH_OUT = 64,
	ERRORS_PER_TURN = 32,
	QUEUE_MAX = 1024, /* datagrams of one socket, while the kernel takes none */
	QUEUE_BYTES = 1 << 20,
	QUEUE_FIRST_BYTES = 1 << 14,
	DATAGRAM_MAX = 65535,
	KERNEL_BUFFER = 4 << 20,
	KERNEL_DATAGRAM = 1536, /* what a usual one takes of it: 1,280 of up to 700 octets, 2,304 of more */
	FAILED_MAX = 64,     /* datagrams per turn that are reported as failed */
	FAILED_BYTES = 2048, /* of each: enough for the topmost Via */
	SEND_TRIES = 3,
	/* Only pages that a datagram fills are ever touched. The odd number of cache lines on top keeps the beginnings
	 * of the buffers out of each other's cache sets. */
	STRIDE = NET_BUFFER + 17 * 64,
};

union control {
	struct cmsghdr align;
	char v4[CMSG_SPACE(sizeof(struct in_pktinfo))];
	char v6[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* Scratch of a worker. Reading and sending have their own: a datagram that is handed up may be answered at once. */
struct net_udp_batches {
	struct mmsghdr in[BATCH_IN], out[BATCH_OUT];
	struct iovec in_iov[BATCH_IN], out_iov[BATCH_OUT];
	struct sockaddr_storage in_name[BATCH_IN], out_name[BATCH_OUT];
	union control in_control[BATCH_IN], out_control[BATCH_OUT];
};

struct queued {
	struct sh_addr from, to; /* from: family 0 is the kernel's choice */
	uint32_t offset, len;    /* in sh_udp.bytes */
};

struct sh_udp {
	struct net_handle handle;
	void *user;
	struct sh_addr bound;
	bool any; /* bound to all addresses: each datagram carries its own */
	bool shared; /* other workers may read it too */
	struct net_port *port;
	struct queued *queue;
	size_t sent, count, room; /* queue[sent] to queue[count - 1] are to leave */
	char *bytes;
	size_t len, bytes_room;
	bool deaf;             /* another process reads */
	bool blocked;          /* the kernel takes no more; EPOLLOUT tells when */
	struct sh_link unsent; /* net_worker.unsent */
	struct sh_link others; /* sockets of the same address, which are only read: what an earlier process with more workers had */
};

/* A datagram that the kernel refused, until the next turn tells. */
struct net_failure {
	struct sh_link link; /* net_worker.failed */
	uint64_t id;         /* of the socket */
	struct sh_addr to;
	int error;
	size_t len;
	char data[];
};

static struct sh_udp *udp_of(struct net_handle *h)
{
	return SH_CONTAINER(h, struct sh_udp, handle);
}

/* ---- worker ---- */

int net_udp_init(struct net_worker *w)
{
	struct net_udp_batches *b;

	sh_list_init(&w->unsent);
	sh_list_init(&w->failed);
	w->buffer = sh_malloc((size_t)BATCH_IN * STRIDE);
	w->batches = b = sh_calloc(1, sizeof(*b));
	if (!w->buffer || !b)
		return -ENOMEM;
	for (size_t i = 0; i < BATCH_IN; i++) {
		b->in_iov[i] = (struct iovec){w->buffer + i * STRIDE, NET_BUFFER};
		b->in[i].msg_hdr.msg_name = &b->in_name[i];
		b->in[i].msg_hdr.msg_iov = &b->in_iov[i];
		b->in[i].msg_hdr.msg_iovlen = 1;
		b->in[i].msg_hdr.msg_control = &b->in_control[i];
	}
	for (size_t i = 0; i < BATCH_OUT; i++) {
		b->out[i].msg_hdr.msg_name = &b->out_name[i];
		b->out[i].msg_hdr.msg_iov = &b->out_iov[i];
		b->out[i].msg_hdr.msg_iovlen = 1;
	}
	return 0;
}

void net_udp_finish(struct net_worker *w)
{
	for (struct sh_link *l; (l = sh_list_pop(&w->failed)) != NULL;)
		sh_free(SH_CONTAINER(l, struct net_failure, link));
	sh_free(w->batches);
	sh_free(w->buffer);
}

/* ---- opening ---- */

/* What the kernel gave for SO_RCVBUF: it counts its own overhead, so half of that is for datagrams. Those of some
 * milliseconds at full load must fit; a worker that works at something else loses them otherwise. */
static void tell_buffer(struct net_worker *w, int fd, const struct sh_addr *bound)
{
	char addr[SH_ADDR_TEXT];
	int size = 0;
	socklen_t len = sizeof(size);

	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &len) < 0)
		return;
	sh_addr_format(bound, addr);
	if (size / 2 < KERNEL_BUFFER)
		sh_warn(w->net->log, "udp %s: the receive buffer is %d kB, not %d kB: raise net.core.rmem_max", addr, size / 2048,
			KERNEL_BUFFER / 1024);
	else
		sh_info(w->net->log, "udp %s: the receive buffer is %d kB", addr, size / 2048);
}

/* The limits of the system bind everybody but a privileged process. */
static void set_kernel_buffers(int fd)
{
	int size = KERNEL_BUFFER;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		net_set(fd, SOL_SOCKET, SO_RCVBUF, size);
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		net_set(fd, SOL_SOCKET, SO_SNDBUF, size);
}

static void set_options(int fd, const struct sh_addr *local)
{
	bool any = sh_addr_is_any(local);

	set_kernel_buffers(fd);
	if (local->family == 4) {
		net_set(fd, IPPROTO_IP, IP_RECVERR, 1);
		/* Fragments rather than silence behind a router that swallows "fragmentation needed". */
		net_set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
		if (any)
			net_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
	} else {
		net_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
		if (any)
			net_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
	}
}

static int open_socket(struct net_worker *w, struct sh_udp *u, const struct sh_addr *local, unsigned nth)
{
	int fd = net_inherited(w, SOCK_DGRAM, local, nth, &u->bound), err = 0;
	bool bound = fd != -ENOENT;

	if (!bound && nth == 0)
		fd = net_socket(local, SOCK_DGRAM);
	if (fd < 0)
		return fd;
	set_options(fd, local); /* before the first datagram can come */
	if (!bound)
		err = net_bind(w, fd, SOCK_DGRAM, local, &u->port, &u->bound);
	u->handle.fd = fd;
	if (!err)
		err = net_attach(w, &u->handle, EPOLLIN);
	if (err) {
		close(fd);
		net_unbind(w, u->port);
	} else if (w->env.worker == 0 && nth == 0) {
		tell_buffer(w, fd, &u->bound);
	}
	return err;
}

static int open_one(struct net_worker *w, const struct sh_addr *local, void *user, unsigned nth, struct sh_udp **out)
{
	struct sh_udp *u = sh_calloc(1, sizeof(*u));
	int err;

	if (!u)
		return -ENOMEM;
	u->handle.kind = NET_UDP;
	u->user = user;
	u->any = sh_addr_is_any(local);
	u->shared = net_inherited_by_several(w, SOCK_DGRAM, local);
	sh_list_init(&u->unsent);
	sh_list_init(&u->others);
	err = open_socket(w, u, local, nth);
	if (err)
		sh_free(u);
	else
		*out = u;
	return err;
}

int net_udp_open(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_udp **out,
		 struct sh_addr *bound)
{
	struct net_worker *w = net_worker_of(env);
	struct sh_udp *first, *other;
	int err;

	if (net_is_stopped(w))
		return -ESHUTDOWN;
	err = open_one(w, local, user, 0, &first);
	if (err)
		return err;
	for (unsigned nth = 1; (err = open_one(w, local, user, nth, &other)) == 0; nth++)
		sh_list_append(&first->others, &other->others);
	if (err != -ENOENT) {
		net_udp_close(env, first);
		return err;
	}
	*out = first;
	*bound = first->bound;
	return 0;
}

bool net_udp_shared(struct sh_env *env, const struct sh_udp *u)
{
	(void)env;
	return u->shared;
}

/* ---- sending ---- */

static void set_source(struct msghdr *m, union control *c, const struct sh_addr *from)
{
	struct cmsghdr *h = &c->align;

	m->msg_control = NULL;
	m->msg_controllen = 0;
	if (from->family == 0)
		return;
	memset(c, 0, sizeof(*c));
	m->msg_control = c;
	if (from->family == 4) {
		struct in_pktinfo info = {0};
		memcpy(&info.ipi_spec_dst, from->ip, 4);
		m->msg_controllen = sizeof(c->v4);
		h->cmsg_level = IPPROTO_IP;
		h->cmsg_type = IP_PKTINFO;
		h->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(h), &info, sizeof(info));
	} else {
		struct in6_pktinfo info = {.ipi6_ifindex = from->scope};
		memcpy(&info.ipi6_addr, from->ip, 16);
		m->msg_controllen = sizeof(c->v6);
		h->cmsg_level = IPPROTO_IPV6;
		h->cmsg_type = IPV6_PKTINFO;
		h->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(h), &info, sizeof(info));
	}
}

static int send_batch(struct net_worker *w, struct sh_udp *u)
{
	struct net_udp_batches *b = w->batches;
	size_t n = u->count - u->sent < BATCH_OUT ? u->count - u->sent : BATCH_OUT;

	for (size_t i = 0; i < n; i++) {
		const struct queued *q = &u->queue[u->sent + i];
		b->out_iov[i] = (struct iovec){u->bytes + q->offset, q->len};
		b->out[i].msg_hdr.msg_namelen = sh_addr_to_sockaddr(&q->to, &b->out_name[i]);
		set_source(&b->out[i].msg_hdr, &b->out_control[i], &q->from);
	}
	return sendmmsg(u->handle.fd, b->out, (unsigned)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The kernel will never take this one (no route, no such source address, a firewall): to whoever sent it that is the
 * same as an ICMP error, only sooner. */
static void give_up(struct net_worker *w, struct sh_udp *u, const struct queued *q, int error)
{
	size_t len = q->len < FAILED_BYTES ? q->len : FAILED_BYTES;
	struct net_failure *f;

	w->stats.datagrams_lost++;
	if (error == -ENOBUFS || error == -ENOMEM || w->failed_count >= FAILED_MAX)
		return; /* a retransmission may well get through */
	f = sh_malloc(sizeof(*f) + len);
	if (!f)
		return;
	f->id = u->handle.id;
	f->to = q->to;
	f->error = error;
	f->len = len;
	memcpy(f->data, u->bytes + q->offset, len);
	sh_list_append(&w->failed, &f->link);
	w->failed_count++;
}

void net_udp_tell_failed(struct net_worker *w)
{
	for (size_t left = w->failed_count; left > 0; left--) { /* not those that this causes */
		struct net_failure *f = SH_CONTAINER(sh_list_pop(&w->failed), struct net_failure, link);
		struct net_handle *h = net_find(w, f->id);

		w->failed_count--;
		if (h)
			w->env.events->udp_error(w->env.events_ctx, udp_of(h)->user, &f->to, f->error, f->data, f->len);
		sh_free(f);
	}
}

/* What is left moves to the beginning. */
static void compact(struct sh_udp *u)
{
	uint32_t gone;

	if (u->sent == 0)
		return;
	u->count -= u->sent;
	gone = u->count > 0 ? u->queue[u->sent].offset : (uint32_t)u->len;
	memmove(u->queue, u->queue + u->sent, u->count * sizeof(u->queue[0]));
	memmove(u->bytes, u->bytes + gone, u->len - gone);
	u->len -= gone;
	u->sent = 0;
	for (size_t i = 0; i < u->count; i++)
		u->queue[i].offset -= gone;
}

static void set_blocked(struct net_worker *w, struct sh_udp *u, bool blocked)
{
	u->blocked = blocked;
	net_watch_only(w, &u->handle, (u->deaf ? 0u : EPOLLIN) | (blocked ? EPOLLOUT : 0u));
}

void net_udp_deafen(struct net_worker *w, struct net_handle *h, sh_net_deaf_fn deaf, void *ctx)
{
	struct sh_udp *u = udp_of(h);

	u->deaf = deaf(ctx, SOCK_DGRAM, &u->bound);
	set_blocked(w, u, u->blocked);
}

static void flush(struct net_worker *w, struct sh_udp *u)
{
	int tries = 0;

	while (u->sent < u->count) {
		int n = send_batch(w, u);

		if (n > 0) {
			w->stats.datagrams_out += (unsigned)n;
			u->sent += (unsigned)n;
			tries = 0;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR && ++tries == SEND_TRIES) {
			/* Not at the first: with IP_RECVERR a send also fails for the sake of an earlier datagram. */
			give_up(w, u, &u->queue[u->sent++], -errno);
			tries = 0;
		}
	}
	compact(u);
	set_blocked(w, u, u->count > 0);
	sh_list_remove(&u->unsent);
}

void net_udp_flush(struct net_worker *w)
{
	while (!sh_list_empty(&w->unsent))
		flush(w, SH_CONTAINER(w->unsent.next, struct sh_udp, unsent));
}

static bool make_room(struct sh_udp *u, size_t len)
{
	if (u->count == u->room) {
		size_t room = u->room ? u->room * 2 : BATCH_OUT;
		struct queued *queue = sh_realloc(u->queue, room * sizeof(*queue));
		if (!queue)
			return false;
		u->queue = queue;
		u->room = room;
	}
	if (u->len + len > u->bytes_room) {
		size_t room = u->bytes_room ? u->bytes_room : QUEUE_FIRST_BYTES;
		char *bytes;
		while (room < u->len + len)
			room *= 2;
		bytes = sh_realloc(u->bytes, room);
		if (!bytes)
			return false;
		u->bytes = bytes;
		u->bytes_room = room;
	}
	return true;
}

static bool is_full(const struct sh_udp *u, size_t len)
{
	return u->len + len > QUEUE_BYTES || u->count >= (u->blocked ? QUEUE_MAX : BATCH_OUT);
}

void net_udp_send(struct sh_env *env, struct sh_udp *u, const struct sh_addr *from, const struct sh_addr *to,
		  const char *data, size_t len)
{
	struct net_worker *w = net_worker_of(env);
	struct queued *q;

	if (net_is_stopped(w))
		return;
	if (!u->blocked && is_full(u, len))
		flush(w, u);
	if (len > DATAGRAM_MAX || to->family != u->bound.family || is_full(u, len) || !make_room(u, len)) {
		w->stats.datagrams_lost++;
		return;
	}
	q = &u->queue[u->count++];
	q->to = *to;
	q->from = (struct sh_addr){0};
	if (from && u->any && from->family == to->family && !sh_addr_is_any(from))
		q->from = *from;
	q->offset = (uint32_t)u->len;
	q->len = (uint32_t)len;
	if (len > 0)
		memcpy(u->bytes + u->len, data, len);
	u->len += len;
	if (!u->blocked && sh_list_empty(&u->unsent))
		sh_list_append(&w->unsent, &u->unsent);
}

/* ---- receiving ---- */

/* Where the datagram was sent to, as an address that an answer may come from. */
static void find_local(const struct sh_udp *u, struct msghdr *m, struct sh_addr *out)
{
	*out = u->bound;
	if (!u->any)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			memcpy(out->ip, &info.ipi_spec_dst, 4); /* of a broadcast or a multicast it is ours */
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo info;
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			if (IN6_IS_ADDR_MULTICAST(&info.ipi6_addr))
				continue;
			memcpy(out->ip, &info.ipi6_addr, 16);
			out->scope = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? (uint32_t)info.ipi6_ifindex : 0;
		}
	}
}

static int receive_batch(struct net_worker *w, struct sh_udp *u)
{
	struct net_udp_batches *b = w->batches;
	int n;

	for (size_t i = 0; i < BATCH_IN; i++) {
		b->in[i].msg_hdr.msg_namelen = sizeof(b->in_name[i]);
		b->in[i].msg_hdr.msg_controllen = u->any ? sizeof(b->in_control[i]) : 0;
	}
	do {
		n = recvmmsg(u->handle.fd, b->in, BATCH_IN, MSG_DONTWAIT, NULL);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* Returns false when there is no more, or the socket is gone. */
static bool take_batch(struct net_worker *w, struct sh_udp *u)
{
	const struct sh_env *env = &w->env;
	struct net_udp_batches *b = w->batches;
	uint64_t id = u->handle.id;
	int n = receive_batch(w, u);

	for (int i = 0; i < n; i++) {
		struct sh_addr local, remote;

		w->stats.datagrams_in++;
		find_local(u, &b->in[i].msg_hdr, &local);
		sh_addr_from_sockaddr(&remote, (struct sockaddr *)&b->in_name[i]);
		env->events->udp_data(env->events_ctx, u->user, &local, &remote, w->buffer + (size_t)i * STRIDE,
				      b->in[i].msg_len);
		if (!net_find(w, id))
			return false;
	}
	net_tell_posted(w);
	return n == BATCH_IN;
}

/* Reads one message of the error queue. 0: there is none, or the socket is gone. */
static bool take_error(struct net_worker *w, struct sh_udp *u)
{
	char control[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6)) +
		     CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(8)));
	struct sockaddr_storage name;
	struct iovec iov = {w->buffer, NET_BUFFER};
	struct msghdr m = {.msg_name = &name,
			   .msg_namelen = sizeof(name),
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = sizeof(control)};
	struct sock_extended_err ee = {0};
	uint64_t id = u->handle.id;
	struct sh_addr remote;
	ssize_t n = recvmsg(u->handle.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);

	if (n < 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			memcpy(&ee, CMSG_DATA(c), sizeof(ee));
	}
	sh_addr_from_sockaddr(&remote, (struct sockaddr *)&name);
	/* Local errors were answered to the send. "Too big" is the network's advice: the kernel has learned the size,
	 * and the retransmission goes in fragments. */
	if ((ee.ee_origin != SO_EE_ORIGIN_ICMP && ee.ee_origin != SO_EE_ORIGIN_ICMP6) || ee.ee_errno == EMSGSIZE)
		return true;
	w->stats.datagrams_failed++;
	w->env.events->udp_error(w->env.events_ctx, u->user, &remote, -(int)ee.ee_errno, w->buffer, (size_t)n);
	return net_find(w, id) != NULL;
}

/* Returns false when the socket is gone. */
static bool take_errors(struct net_worker *w, struct sh_udp *u)
{
	uint64_t id = u->handle.id;
	int pending = 0, count = 0;
	socklen_t len = sizeof(pending);

	while (count < ERRORS_PER_TURN && take_error(w, u))
		count++;
	if (!net_find(w, id))
		return false;
	if (count == 0) /* an error without a message: it must not be reported for ever */
		(void)getsockopt(u->handle.fd, SOL_SOCKET, SO_ERROR, &pending, &len);
	return true;
}

void net_udp_event(struct net_worker *w, struct net_handle *h, uint32_t events)
{
	struct sh_udp *u = udp_of(h);

	if ((events & EPOLLERR) && !u->deaf && !take_errors(w, u))
		return;
	if ((events & EPOLLOUT) && u->blocked)
		flush(w, u);
	for (int i = 0; (events & EPOLLIN) && !u->deaf && i < BATCHES_PER_TURN && take_batch(w, u) && !net_is_late(w); i++)
		;
}

uint64_t net_udp_waiting(const struct net_worker *w, bool *full)
{
	uint64_t waiting = 0;

	for (uint32_t i = 0; i < w->slot_count; i++) {
		const struct net_handle *h = w->slots[i].handle;
		uint32_t info[SK_MEMINFO_VARS];
		socklen_t len = sizeof(info);

		if (!h || h->kind != NET_UDP || getsockopt(h->fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
			continue;
		waiting += info[SK_MEMINFO_RMEM_ALLOC] / KERNEL_DATAGRAM;
		*full = *full || info[SK_MEMINFO_RMEM_ALLOC] > info[SK_MEMINFO_RCVBUF] / 2;
	}
	return waiting;
}

/* ---- closing ---- */

void net_udp_destroy(struct net_worker *w, struct net_handle *h)
{
	struct sh_udp *u = udp_of(h);

	flush(w, u);
	w->stats.datagrams_lost += u->count;
	sh_list_remove(&u->others);
	net_release(w, h);
	net_unbind(w, u->port);
	sh_free(u->queue);
	sh_free(u->bytes);
	sh_free(u);
}

void net_udp_close(struct sh_env *env, struct sh_udp *u)
{
	struct net_worker *w = net_worker_of(env);

	if (net_is_child(w->net))
		return;
	while (!sh_list_empty(&u->others))
		net_udp_destroy(w, &SH_CONTAINER(u->others.next, struct sh_udp, others)->handle);
	net_udp_destroy(w, &u->handle);
}
