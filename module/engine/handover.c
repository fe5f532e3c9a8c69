/* See handover.h: the peers and what passes between them. */
#include "engine/handover.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	DRAIN_MS = 100,
	QUEUE_MAX = 16 << 20, /* octets that may wait for a peer */
	BUFFER = 4 << 20,
	/* An alias of another process's connection: 64 + peer (8 bits) | its worker (6) | slot (18) | generation (32). */
	ALIAS_SLOT_BITS = 18,
};

uint64_t sh_handover_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SH_SECOND + (uint64_t)t.tv_nsec / 1000;
}

/* ------------------------------------------------------------------ packets */

int sh_handover_send(struct sh_handover *h, int peer, enum sh_handover_kind kind, const void *head, size_t head_len,
		     const void *body, size_t body_len)
{
	uint32_t k = kind;
	struct iovec parts[] = {{&k, sizeof(k)}, {(void *)(uintptr_t)head, head_len}, {(void *)(uintptr_t)body, body_len}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = 3};

	if (h->peers[peer].fd < 0)
		return -EPIPE;
	if (sizeof(k) + head_len + body_len > SH_HANDOVER_PACKET)
		return -EMSGSIZE;
	while (sendmsg(h->peers[peer].fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* What a worker sends and the network might have lost as well. */
static int send_or_lose(struct sh_handover *h, int peer, enum sh_handover_kind kind, const void *head, size_t head_len, struct sh_slice body)
{
	int err = sh_handover_send(h, peer, kind, head, head_len, body.base, body.len);

	if (err)
		atomic_fetch_add(&h->lost, 1);
	return err;
}

static int enqueue(struct sh_handover *h, struct sh_handover_peer *p, enum sh_handover_kind kind, const void *head, size_t head_len,
		   const void *body, size_t body_len)
{
	size_t len = head_len + body_len;
	struct sh_handover_packet *q;

	if (sizeof(uint32_t) + len > SH_HANDOVER_PACKET)
		return -EMSGSIZE;
	q = p->waits + len <= QUEUE_MAX ? sh_malloc(sizeof(*q) + len) : NULL;
	if (!q)
		return -ENOBUFS;
	q->next = NULL;
	q->kind = kind;
	q->len = len;
	if (head_len)
		memcpy(q->data, head, head_len);
	if (body_len)
		memcpy(q->data + head_len, body, body_len);
	if (!p->waiting) {
		p->waiting_end = &p->waiting;
		eventfd_write(h->wake, 1);
	}
	*p->waiting_end = q;
	p->waiting_end = &q->next;
	p->waits += len;
	return 0;
}

int sh_handover_tell(struct sh_handover *h, int peer, enum sh_handover_kind kind, const void *head, size_t head_len,
		     const void *body, size_t body_len)
{
	struct sh_handover_peer *p = &h->peers[peer];
	int err = p->waiting ? -EAGAIN : sh_handover_send(h, peer, kind, head, head_len, body, body_len);

	if (err == -EAGAIN)
		err = enqueue(h, p, kind, head, head_len, body, body_len);
	if (err)
		atomic_fetch_add(&h->lost, 1);
	if (err == -ENOBUFS && p->takes)
		shutdown(p->fd, SHUT_RDWR); /* it would start without this; so it does not start */
	return err;
}

int sh_handover_flush(struct sh_handover *h, int peer)
{
	struct sh_handover_peer *p = &h->peers[peer];
	struct sh_handover_packet *q;
	int err;

	while ((q = p->waiting) != NULL) {
		err = sh_handover_send(h, peer, q->kind, q->data, q->len, NULL, 0);
		if (err)
			return err;
		p->waiting = q->next;
		p->waits -= q->len;
		sh_free(q);
	}
	return 0;
}

int sh_handover_drain(struct sh_handover *h, int peer)
{
	int waited = 0, err;

	for (;;) {
		struct pollfd p = {.fd = h->peers[peer].fd, .events = POLLOUT};

		pthread_mutex_lock(&h->lock);
		err = sh_handover_flush(h, peer);
		pthread_mutex_unlock(&h->lock);
		if (err != -EAGAIN)
			return err;
		if (poll(&p, 1, DRAIN_MS) > 0)
			waited = 0;
		else if ((waited += DRAIN_MS) >= SH_HANDOVER_MS || atomic_load(&h->quit))
			return -ETIMEDOUT;
	}
}

void sh_handover_free(struct sh_handover_packet **list)
{
	for (struct sh_handover_packet *q = *list, *next; q; q = next) {
		next = q->next;
		sh_free(q);
	}
	*list = NULL;
}

void sh_handover_forget(struct sh_handover_peer *p)
{
	sh_handover_free(&p->waiting);
	p->waits = 0;
}

ssize_t sh_handover_receive(int fd, char *buffer, int *fds, unsigned *nfds)
{
	char control[CMSG_SPACE(sizeof(int) * SH_HANDOVER_FDS)] __attribute__((aligned(8)));
	struct iovec part = {buffer, SH_HANDOVER_PACKET};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	ssize_t n;

	do {
		n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < count; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (fds && *nfds < SH_HANDOVER_FDS)
				fds[(*nfds)++] = got;
			else
				close(got);
		}
	}
	if (n < 0)
		return -errno;
	if (m.msg_flags & MSG_CTRUNC) { /* this process has no room for more descriptors */
		while (fds && *nfds)
			close(fds[--*nfds]);
		return -EMFILE;
	}
	return m.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
}

int sh_handover_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), size = BUFFER;

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	return fd;
}

/* ------------------------------------------------------------------ peers */

int sh_handover_add_peer(struct sh_handover *h, int fd, unsigned epoch)
{
	int found = -1;

	pthread_mutex_lock(&h->lock);
	for (int i = 0; i < SH_HANDOVER_PEERS && found < 0; i++) {
		int at = (h->next_peer + i) % SH_HANDOVER_PEERS;

		if (h->peers[at].fd < 0)
			found = at;
	}
	if (found >= 0) {
		h->next_peer = (found + 1) % SH_HANDOVER_PEERS;
		h->peers[found] = (struct sh_handover_peer){.fd = fd, .epoch = epoch, .since = sh_handover_now()};
		atomic_fetch_add(&h->live, 1);
	}
	pthread_mutex_unlock(&h->lock);
	return found;
}

int sh_handover_peer_of(const struct sh_handover *h, unsigned epoch)
{
	for (int i = 0; i < SH_HANDOVER_PEERS; i++)
		if (epoch && h->peers[i].fd >= 0 && h->peers[i].epoch == epoch)
			return i;
	return -1;
}

struct sh_handover_flow sh_handover_flow_out(const struct sh_handover *h, uint64_t flow)
{
	unsigned top = (unsigned)(flow >> 56), peer = top - SH_FLOW_ABROAD;
	uint64_t worker, slot;

	if (!flow || top < SH_FLOW_ABROAD)
		return (struct sh_handover_flow){flow, flow ? h->epoch : 0};
	if (peer >= SH_HANDOVER_PEERS || h->peers[peer].fd < 0)
		return (struct sh_handover_flow){0, 0};
	worker = flow >> 50 & 63;
	slot = flow >> 32 & ((UINT64_C(1) << ALIAS_SLOT_BITS) - 1);
	return (struct sh_handover_flow){worker << 56 | slot << 32 | (flow & UINT32_MAX), h->peers[peer].epoch};
}

uint64_t sh_handover_flow_in(const struct sh_handover *h, const struct sh_handover_flow *f)
{
	uint64_t worker = f->id >> 56, slot = f->id >> 32 & 0xffffff;
	int peer;

	if (!f->id || worker >= SH_FLOW_ABROAD)
		return 0;
	if (f->epoch == h->epoch)
		return f->id;
	peer = sh_handover_peer_of(h, (unsigned)f->epoch);
	if (peer < 0 || slot >> ALIAS_SLOT_BITS)
		return 0;
	return (uint64_t)(SH_FLOW_ABROAD + peer) << 56 | worker << 50 | slot << 32 | (f->id & UINT32_MAX);
}

/* ------------------------------------------------------------------ to others */

/* A message that is somebody else's. [worker] */
static bool on_message(void *ctx, const struct sh_msg *m, const struct sh_path *from, int epoch, uint64_t key)
{
	struct sh_handover *h = ctx;
	struct sh_handover_message head = {.path = *from};
	const struct sh_handover_begun *begun;
	int peer = -1, err = -ENOENT;

	if (epoch == (int)h->epoch)
		return false;
	pthread_mutex_lock(&h->lock);
	if (epoch >= 0) {
		peer = sh_handover_peer_of(h, (unsigned)epoch);
	} else if (key) {
		begun = sh_handover_find_begun(h, key);
		if (begun)
			peer = begun->epoch == h->epoch ? -1 : sh_handover_peer_of(h, (unsigned)begun->epoch);
		else if (atomic_load(&h->succeeded))
			peer = h->newest;
	}
	if (peer >= 0) {
		head.path.domain = 0;
		head.flow = sh_handover_flow_out(h, from->flow);
		err = send_or_lose(h, peer, SH_HANDOVER_MESSAGE, &head, sizeof(head), sh_slice_make(m->base, m->size));
		atomic_fetch_add(&h->forwarded, 1);
	}
	pthread_mutex_unlock(&h->lock);
	return peer >= 0 && err != -EPIPE;
}

/* ICMP about something that another process has sent: the socket is shared, and so are its errors. [worker] */
static void on_unreachable(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error, unsigned epoch)
{
	struct sh_handover *h = ctx;
	struct sh_handover_news news = {*remote, error};
	int peer;

	pthread_mutex_lock(&h->lock);
	peer = sh_handover_peer_of(h, epoch);
	if (peer >= 0)
		send_or_lose(h, peer, SH_HANDOVER_UNREACHABLE, &news, sizeof(news), branch);
	pthread_mutex_unlock(&h->lock);
}

/* The subscribers are at the newest: what a script says to them here is for it. */
static void on_event(void *ctx, const char *record, size_t len)
{
	struct sh_handover *h = ctx;

	pthread_mutex_lock(&h->lock);
	if (atomic_load(&h->telling_writes) && h->newest >= 0)
		sh_handover_tell(h, h->newest, SH_HANDOVER_EVENT, NULL, 0, record, len);
	pthread_mutex_unlock(&h->lock);
}

static int on_send(void *ctx, uint64_t flow, struct sh_slice text)
{
	struct sh_handover *h = ctx;
	struct sh_handover_flow f;
	int peer, err = -EPIPE;

	pthread_mutex_lock(&h->lock);
	f = sh_handover_flow_out(h, flow);
	peer = f.id ? sh_handover_peer_of(h, (unsigned)f.epoch) : -1;
	if (peer >= 0)
		err = send_or_lose(h, peer, SH_HANDOVER_SEND, &f, sizeof(f), text);
	pthread_mutex_unlock(&h->lock);
	return err == -EAGAIN ? -ENOBUFS : err;
}

static void on_close(void *ctx, uint64_t flow)
{
	struct sh_handover *h = ctx;
	struct sh_handover_flow f;
	int peer;

	pthread_mutex_lock(&h->lock);
	f = sh_handover_flow_out(h, flow);
	peer = f.id ? sh_handover_peer_of(h, (unsigned)f.epoch) : -1;
	if (peer >= 0)
		sh_handover_tell(h, peer, SH_HANDOVER_CLOSE, &f, sizeof(f), NULL, 0);
	pthread_mutex_unlock(&h->lock);
}

static bool on_alive(void *ctx, uint64_t flow)
{
	struct sh_handover *h = ctx;
	bool alive;

	pthread_mutex_lock(&h->lock);
	alive = sh_handover_flow_out(h, flow).id != 0;
	pthread_mutex_unlock(&h->lock);
	return alive;
}

/* A connection of ours has ended: who knows it by its alias has to know. */
void sh_handover_flow_closed(struct sh_handover *h, uint64_t flow)
{
	struct sh_handover_flow f = {flow, 0};

	if (!h || !atomic_load_explicit(&h->live, memory_order_relaxed) || flow >> 56 >= SH_FLOW_ABROAD)
		return;
	f.epoch = h->epoch;
	pthread_mutex_lock(&h->lock);
	for (int i = 0; i < SH_HANDOVER_PEERS; i++)
		if (h->peers[i].fd >= 0 && h->peers[i].greeted)
			sh_handover_tell(h, i, SH_HANDOVER_GONE, &f, sizeof(f), NULL, 0);
	pthread_mutex_unlock(&h->lock);
}

bool sh_handover_succeeded(const struct sh_engine *e)
{
	return e->handover && atomic_load(&e->handover->succeeded);
}

bool sh_handover_inherits(const struct sh_engine *e)
{
	return e->handover && e->handover->active >= 0;
}

void sh_handover_put_status(const struct sh_engine *e, struct sh_json *j)
{
	const struct sh_handover *h = e->handover;

	if (!h)
		return;
	sh_json_key(j, "epoch");
	sh_json_int(j, h->epoch);
	sh_json_key(j, "succeeded");
	sh_json_bool(j, atomic_load(&h->succeeded));
	sh_json_key(j, "forwarded");
	sh_json_int(j, (int64_t)atomic_load(&h->forwarded));
	sh_json_key(j, "forwards_lost");
	sh_json_int(j, (int64_t)atomic_load(&h->lost));
}

void sh_handover_attach(struct sh_handover *h)
{
	struct sh_engine *e = h->engine;

	h->ua = (struct sh_ua_abroad){&h->live, on_unreachable, on_message, on_event, h};
	h->transport = (struct sh_transport_abroad){on_send, on_close, on_alive, h};
	for (unsigned i = 0; i < e->nworkers; i++) {
		sh_ua_set_abroad(e->workers[i].ua, &h->ua);
		sh_transport_set_abroad(sh_ua_transport(e->workers[i].ua), &h->transport);
	}
}
