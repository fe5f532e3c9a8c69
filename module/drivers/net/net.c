/* Life cycle of the real driver, its handles, and the turn of its loop. */
#include "drivers/net/net.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	FIRST_SLOTS = 64,
	AT_ONCE = 20,                 /* microseconds */
	BUSY_TURNS = 4,
	LONG_TURN = 1000,             /* microseconds */
	TURN = 2000,                  /* behind that no more is read: timers and other sockets wait, and the clock is old */
	LONG_WAIT = 100 * SH_MS,      /* of what has come, until it is read */
	GATHER = 8,                   /* messages at once that are wanted; a turn that had them waits for nothing */
	WORTH = 3,                    /* messages that a wait must promise */
	GATHER_WINDOW = 20 * SH_MS,   /* over which the rate is taken */
	TELL_OVERLOAD = 10 * 1000000, /* not more often */
};
#define NO_SLOT UINT32_MAX
/* User data of what is no handle: no slot has such a number. */
#define ID_WAKE  UINT64_MAX
#define ID_TIMER (UINT64_MAX - 1)

static const struct sh_driver driver = {
    .udp_open = net_udp_open,
    .udp_send = net_udp_send,
    .udp_close = net_udp_close,
    .udp_shared = net_udp_shared,
    .listen = net_listen,
    .listen_close = net_listen_close,
    .connect = net_connect,
    .write = net_write,
    .read_enable = net_read_enable,
    .close = net_close,
    .query = net_query,
    .http = net_http,
    .http_cancel = net_http_cancel,
    .background = net_background,
    .post = net_post,
};

bool net_is_child(const struct sh_net *n)
{
	return n->parent ? *n->parent == 0 : getpid() != n->pid;
}

/* So that asking costs no system call in each turn. */
static void mark_parent(struct sh_net *n)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	char *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	n->pid = getpid();
	if (page == MAP_FAILED)
		return;
	if (madvise(page, size, MADV_WIPEONFORK) < 0) {
		munmap(page, size);
		return;
	}
	*page = 1;
	n->parent = page;
}

static void unmark_parent(struct sh_net *n)
{
	if (n->parent)
		munmap((void *)(uintptr_t)n->parent, (size_t)sysconf(_SC_PAGESIZE));
}

/* ---- clock ---- */

static uint64_t read_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * SH_SECOND + (uint64_t)t.tv_nsec / 1000;
}

/* The wall clock is for what people and other machines read; it is looked at again every second, in case somebody set
 * it. */
static void update_clock(struct net_worker *w)
{
	w->env.now = read_clock(CLOCK_MONOTONIC);
	if (w->wall_read != 0 && w->env.now - w->wall_read < SH_SECOND)
		return;
	w->wall_read = w->env.now;
	w->env.wall_offset = read_clock(CLOCK_REALTIME) - w->env.now;
}

/* ---- handles ---- */

static bool grow_slots(struct net_worker *w)
{
	uint32_t count = w->slot_count ? w->slot_count * 2 : FIRST_SLOTS;
	struct net_slot *slots;

	if (count > INT_MAX)
		return false;
	slots = sh_realloc(w->slots, count * sizeof(*slots));
	if (!slots)
		return false;
	for (uint32_t i = w->slot_count; i < count; i++)
		slots[i] = (struct net_slot){.next_free = i + 1 < count ? i + 1 : NO_SLOT};
	w->free_slot = w->slot_count;
	w->slots = slots;
	w->slot_count = count;
	return true;
}

int net_attach(struct net_worker *w, struct net_handle *h, uint32_t watched)
{
	struct epoll_event event = {.events = watched};
	struct net_slot *s;
	uint32_t index;

	if (w->free_slot == NO_SLOT && !grow_slots(w))
		return -ENOMEM;
	index = w->free_slot;
	s = &w->slots[index];
	event.data.u64 = (uint64_t)s->generation << 32 | index;
	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, h->fd, &event) < 0)
		return -errno;
	w->free_slot = s->next_free;
	s->handle = h;
	h->id = event.data.u64;
	h->watched = watched;
	return 0;
}

void net_watch(struct net_worker *w, struct net_handle *h, uint32_t watched)
{
	struct epoll_event event = {.events = watched, .data.u64 = h->id};

	if (h->watched == watched)
		return;
	h->watched = watched;
	(void)epoll_ctl(w->epoll, EPOLL_CTL_MOD, h->fd, &event);
}

void net_watch_only(struct net_worker *w, struct net_handle *h, uint32_t watched)
{
	struct epoll_event event = {.events = watched, .data.u64 = h->id};
	int op = !watched ? EPOLL_CTL_DEL : h->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (h->watched == watched)
		return;
	h->watched = watched;
	(void)epoll_ctl(w->epoll, op, h->fd, &event);
}

struct net_handle *net_find(const struct net_worker *w, uint64_t id)
{
	uint32_t index = (uint32_t)id;

	if (index >= w->slot_count || w->slots[index].generation != id >> 32)
		return NULL;
	return w->slots[index].handle;
}

void net_detach(struct net_worker *w, struct net_handle *h)
{
	uint32_t index = (uint32_t)h->id;
	struct net_slot *s = &w->slots[index];

	/* Not left to close(): while a forked child holds the same open file, epoll would go on reporting it. */
	(void)epoll_ctl(w->epoll, EPOLL_CTL_DEL, h->fd, NULL);
	s->handle = NULL;
	s->generation++;
	s->next_free = w->free_slot;
	w->free_slot = index;
}

void net_release(struct net_worker *w, struct net_handle *h)
{
	net_detach(w, h);
	close(h->fd);
	h->fd = -1;
}

/* ---- the timer descriptor ---- */

/* Something is to be done without a descriptor becoming ready. */
static bool has_more(const struct net_worker *w)
{
	return w->inbox || !sh_list_empty(&w->broken) || !sh_list_empty(&w->failed) || net_dns_has_more(w);
}

/* Setting it also takes back its readiness, so it is never read. A time in the past makes it readable at once. */
static void arm(struct net_worker *w, uint64_t due)
{
	struct itimerspec t = {0};

	if (due == w->armed)
		return;
	w->armed = due;
	if (due != SH_NEVER) {
		t.it_value.tv_sec = (time_t)(due / SH_SECOND);
		t.it_value.tv_nsec = (long)(due % SH_SECOND) * 1000;
	}
	(void)timerfd_settime(w->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

int sh_net_fd(struct sh_net *n, unsigned worker)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = ID_TIMER};
	struct net_worker *w;

	if (net_is_child(n))
		return -EPERM;
	if (worker >= n->count)
		return -EINVAL;
	w = n->workers[worker];
	if (w->timer >= 0)
		return w->epoll;
	w->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (w->timer < 0)
		return -errno;
	if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->timer, &event) < 0) {
		int err = -errno;
		close(w->timer);
		w->timer = -1;
		return err;
	}
	w->armed = SH_NEVER;
	arm(w, 1);
	return w->epoll;
}

/* ---- the turn ---- */

/* Milliseconds to wait, rounded up: the wheel's ticks are milliseconds too, and no timer is early. */
static int wait_time(struct net_worker *w, int64_t max_wait)
{
	uint64_t limit = max_wait < 0 ? SH_NEVER : (uint64_t)max_wait;
	uint64_t due;

	w->looked = 0;
	if (limit == 0 || has_more(w))
		return 0;
	due = sh_wheel_next(&w->env.wheel);
	if (due != SH_NEVER) {
		w->looked = read_clock(CLOCK_MONOTONIC); /* the turn before took its time, and whoever turns us */
		if (due <= w->looked)
			return 0;
		if (due - w->looked < limit)
			limit = due - w->looked;
	}
	if (limit == SH_NEVER)
		return -1;
	limit = limit / SH_MS + (limit % SH_MS != 0);
	return limit < INT_MAX ? (int)limit : INT_MAX;
}

/* Datagrams, and what came by streams or from other workers: each alone would be a wake-up. */
static uint64_t arrived(const struct net_worker *w)
{
	return w->stats.datagrams_in + w->stats.stream_reads + w->stats.posts_in;
}

/* A wake-up for every message is most of what it costs at some thousand per second: the switch of the processor, its
 * cold caches, and a system call for one answer. So a worker that gets many waits a moment before it looks: for as long
 * as GATHER of them take to come, never longer than the net's limit. It costs that delay and halves the processor time
 * (docs/performance.md). One that finds as many without waiting is busy enough, and goes on at once. */
static bool gather(struct net_worker *w)
{
	uint64_t had = arrived(w) - w->before_turn;
	struct timespec wait = {0};

	w->before_turn += had;
	if (!w->gather || had >= GATHER || has_more(w))
		return false;
	wait.tv_nsec = (long)w->gather * 1000;
	nanosleep(&wait, NULL); /* a signal ends it early: so much the better */
	w->stats.gathered++;
	return true;
}

/* A wait for two costs as much as it saves (docs/performance.md), and its delay. A call walks through several of them until it
 * rings, and somebody holds the line meanwhile; a registration is between machines. */
static void measure_rate(struct net_worker *w)
{
	uint64_t elapsed = w->env.now - w->window, in = arrived(w) - w->before_window, limit = w->net->gather_max, wait = 0;

	if (elapsed < GATHER_WINDOW)
		return;
	if (w->env.called >= w->window && limit > w->net->gather_calls)
		limit = w->net->gather_calls;
	if (in * limit >= WORTH * elapsed && in > 0)
		wait = GATHER * elapsed / in;
	w->gather = (unsigned)(wait < limit ? wait : limit);
	w->window = w->env.now;
	w->before_window += in;
}

/* ---- how long turns take ---- */

bool net_is_late(const struct net_worker *w)
{
	return read_clock(CLOCK_MONOTONIC) - w->env.now > TURN;
}

/* The thread's own time costs a system call: once in LONG_TURN at most, and at the end of a turn that took that long. What such a
 * turn is said to have used is therefore too much by the work of LONG_TURN before it, at most. */
static void turn_begins(struct net_worker *w)
{
	if (w->env.now - w->used_read < LONG_TURN)
		return;
	w->used_read = w->env.now;
	w->used = read_clock(CLOCK_THREAD_CPUTIME_ID);
}

static void turn_ends(struct net_worker *w)
{
	uint64_t took, used;

	w->turned = read_clock(CLOCK_MONOTONIC);
	took = w->turned - w->env.now;
	sh_peak_add(&w->env.longest_turn, w->turned, took);
	if (took < LONG_TURN)
		return;
	used = read_clock(CLOCK_THREAD_CPUTIME_ID);
	sh_peak_add(&w->env.longest_turn_used, w->turned, used - w->used);
	w->used = used;
	w->used_read = w->turned;
}

/* A worker that its host turns: whether there is more to do already. The host alone knows when it polls again, so that the
 * time until then says nothing. A short turn was no burden, whatever has come meanwhile. */
static void look_back(struct net_worker *w)
{
	struct epoll_event ready[NET_READY];
	int count;

	w->backlog = false;
	if (w->turned - w->env.now < LONG_TURN)
		return;
	count = epoll_wait(w->epoll, ready, NET_READY, 0);
	for (int i = 0; i < count; i++) {
		if (ready[i].data.u64 == ID_WAKE) /* it is told once */
			net_inbox_open(w);
		else if (ready[i].data.u64 != ID_TIMER)
			w->backlog = true;
	}
}

/* ---- overload ---- */

/* True: there was something to do before anybody looked. Behind epoll_wait(), which returns within AT_ONCE then. */
static bool was_late(const struct net_worker *w, bool gathered)
{
	if (w->timer >= 0)
		return w->backlog;
	return !gathered && w->looked != 0 && w->env.now - w->looked <= AT_ONCE;
}

/* Will what waits be old when it is its turn? By what was done since the last rest. Of streams only so much is known that all of
 * them had their turn, if they were no more than a turn takes. */
static bool waits_long(const struct net_worker *w, int count)
{
	uint64_t busy = w->env.now - w->rested, done = arrived(w) - w->before_busy, waiting;
	bool full = false;

	if (count == NET_READY || busy / w->busy_turns > LONG_WAIT)
		return true;
	waiting = net_udp_waiting(w, &full) + net_inbox_waiting(w);
	return full || waiting * busy > LONG_WAIT * done;
}

static void judge_load(struct net_worker *w, int count, bool gathered)
{
	struct sh_env *env = &w->env;
	bool overloaded;

	/* What came before the first turn waited for the start, and not for us. */
	if (count == 0 || w->stats.turns == 0 || !was_late(w, gathered)) {
		w->rested = env->now;
		w->busy_turns = 0;
		w->before_busy = arrived(w);
	} else {
		w->busy_turns++;
	}
	/* One hook that thinks for long is no overload: what waited meanwhile may be caught up with in a few turns. Nor is a worker that
	 * never rests, while its answers are in time. */
	overloaded = env->now - w->rested > SH_OVERLOAD && w->busy_turns >= BUSY_TURNS && waits_long(w, count);
	if (overloaded && (w->overload_told == 0 || env->now - w->overload_told > TELL_OVERLOAD)) {
		w->overload_told = env->now;
		sh_warn(env->log, "worker %u is overloaded: new requests are answered with 503 until it has caught up",
			env->worker);
	}
	env->overloaded = overloaded;
}

static void dispatch(struct net_worker *w, const struct epoll_event *event)
{
	struct net_handle *h;

	if (event->data.u64 == ID_WAKE) {
		net_inbox_open(w);
		return;
	}
	h = net_find(w, event->data.u64);
	if (!h)
		return; /* the timer descriptor, or something closed meanwhile */
	switch (h->kind) {
	case NET_UDP:
		net_udp_event(w, h, event->events);
		break;
	case NET_LISTENER:
		net_listener_event(w, h);
		break;
	case NET_STREAM:
		net_stream_event(w, h, event->events);
		break;
	case NET_HTTP:
		net_http_event(w, h, event->events);
		break;
	case NET_DNS:
		net_dns_event(w, h, event->events);
		break;
	}
}

int sh_net_turn(struct sh_net *n, unsigned worker, int64_t max_wait)
{
	struct epoll_event ready[NET_READY];
	struct net_worker *w;
	bool gathered;
	int count;

	if (net_is_child(n))
		return -EPERM;
	if (worker >= n->count)
		return -EINVAL;
	if (atomic_load_explicit(&n->stopped, memory_order_relaxed))
		return -ESHUTDOWN;
	w = n->workers[worker];
	net_tell_posted(w); /* between two turns */
	gathered = max_wait < 0 && gather(w);
	count = epoll_wait(w->epoll, ready, NET_READY, wait_time(w, max_wait));
	if (count < 0 && errno != EINTR)
		return -errno;
	update_clock(w);
	turn_begins(w);
	judge_load(w, count, gathered);
	measure_rate(w);
	w->stats.turns++;
	net_stream_tell_broken(w);
	net_udp_tell_failed(w);
	for (int i = 0; i < count; i++)
		dispatch(w, &ready[i]);
	net_dns_deliver(w);
	net_inbox_deliver(w);
	sh_wheel_advance(&w->env.wheel, w->env.now);
	if (w->env.events && w->env.events->turn_end)
		w->env.events->turn_end(w->env.events_ctx);
	net_tell_posted(w);
	net_udp_flush(w);
	turn_ends(w);
	if (w->timer >= 0) {
		look_back(w);
		arm(w, has_more(w) ? 1 : sh_wheel_next(&w->env.wheel));
	}
	return 0;
}

/* ---- other processes ---- */

unsigned sh_net_sockets(struct sh_net *n, unsigned worker, int *fds, unsigned max)
{
	struct net_worker *w = n->workers[worker];
	unsigned count = 0;

	for (uint32_t i = 0; i < w->slot_count && count < max; i++) {
		struct net_handle *h = w->slots[i].handle;

		if (!h || (h->kind != NET_UDP && h->kind != NET_LISTENER))
			continue;
		if (h->kind == NET_LISTENER)
			net_listener_share(h);
		fds[count++] = h->fd;
	}
	return count;
}

void sh_net_deafen(struct sh_net *n, unsigned worker, sh_net_deaf_fn deaf, void *ctx)
{
	struct net_worker *w = n->workers[worker];

	for (uint32_t i = 0; i < w->slot_count; i++) {
		struct net_handle *h = w->slots[i].handle;

		if (h && h->kind == NET_UDP)
			net_udp_deafen(w, h, deaf, ctx);
		else if (h && h->kind == NET_LISTENER)
			net_listener_deafen(w, h, deaf, ctx);
	}
}

/* ---- life cycle ---- */

static void destroy_handle(struct net_worker *w, struct net_handle *h)
{
	switch (h->kind) {
	case NET_UDP:
		net_udp_destroy(w, h);
		break;
	case NET_LISTENER:
		net_listener_destroy(w, h);
		break;
	case NET_STREAM:
		net_stream_destroy(w, h);
		break;
	case NET_HTTP: /* went with net_http_finish */
	case NET_DNS: /* its channel's */
		break;
	}
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void worker_destroy(struct net_worker *w)
{
	net_http_finish(w);
	net_dns_finish(w);
	for (uint32_t i = 0; i < w->slot_count; i++) {
		if (w->slots[i].handle)
			destroy_handle(w, w->slots[i].handle);
	}
	close_fd(w->timer);
	close_fd(w->wake);
	close_fd(w->epoll);
	net_udp_finish(w);
	net_post_finish(w);
	sh_pool_finish(&w->env.pool);
	sh_free(w->slots);
	sh_free(w);
}

static int open_descriptors(struct net_worker *w)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = ID_WAKE};

	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll < 0)
		return -errno;
	w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (w->wake < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->wake, &event) < 0)
		return -errno;
	return 0;
}

static void init_env(struct net_worker *w, unsigned number)
{
	struct sh_net *n = w->net;
	struct sh_env *env = &w->env;

	env->driver = &driver;
	env->worker = number;
	env->workers = n->count;
	env->log = n->log;
	update_clock(w);
	w->rested = env->now;
	sh_wheel_init(&env->wheel, env->now);
	sh_pool_init(&env->pool, NULL);
	sh_random_init(&env->random);
	if (number == 0)
		sh_random_bytes(&env->random, &env->key, sizeof(env->key));
	else
		env->key = n->workers[0]->env.key;
}

static int worker_create(struct net_worker **out, struct sh_net *n, unsigned number)
{
	struct net_worker *w = sh_calloc(1, sizeof(*w));
	int err;

	if (!w)
		return -ENOMEM;
	w->net = n;
	w->epoll = w->wake = w->timer = -1;
	w->free_slot = NO_SLOT;
	sh_list_init(&w->broken);
	init_env(w, number);
	err = net_udp_init(w);
	if (!err)
		err = net_post_init(w);
	if (!err)
		err = open_descriptors(w);
	if (err) {
		worker_destroy(w);
		return err;
	}
	*out = w;
	return 0;
}

static void free_net(struct sh_net *n)
{
	for (unsigned i = 0; n->workers && i < n->count; i++) {
		if (n->workers[i])
			worker_destroy(n->workers[i]);
	}
	net_background_finish(n);
	net_inherited_finish(n);
	sh_free(n->dns_servers);
	sh_free(n->workers);
	pthread_mutex_destroy(&n->lock);
	unmark_parent(n);
	sh_free(n);
}

int sh_net_create(struct sh_net **out, unsigned workers, struct sh_log *log)
{
	struct sh_net *n;
	int err;

	if (workers < 1 || workers > SH_NET_MAX_WORKERS)
		return -EINVAL;
	n = sh_calloc(1, sizeof(*n));
	if (!n)
		return -ENOMEM;
	err = -pthread_mutex_init(&n->lock, NULL);
	if (err) {
		sh_free(n);
		return err;
	}
	mark_parent(n);
	n->count = workers;
	atomic_init(&n->stopped, false);
	sh_log_init(&n->quiet, SH_LOG_ERROR, NULL, NULL);
	n->log = log ? log : &n->quiet;
	sh_list_init(&n->ports);
	sh_list_init(&n->inherited);
	sh_net_set_gather(n, SH_NET_GATHER, SH_NET_GATHER_CALLS);
	n->workers = sh_calloc(workers, sizeof(*n->workers));
	err = n->workers ? net_background_init(n) : -ENOMEM;
	for (unsigned i = 0; !err && i < workers; i++)
		err = worker_create(&n->workers[i], n, i);
	if (err) {
		free_net(n);
		return err;
	}
	*out = n;
	return 0;
}

void sh_net_stop(struct sh_net *n)
{
	if (net_is_child(n))
		return;
	sh_net_stop_background(n);
	atomic_store(&n->stopped, true);
	for (unsigned i = 0; i < n->count; i++)
		net_inbox_empty(n->workers[i]);
}

void sh_net_destroy(struct sh_net *n)
{
	if (!n || net_is_child(n))
		return;
	sh_net_stop(n);
	free_net(n);
}

struct sh_env *sh_net_env(struct sh_net *n, unsigned worker)
{
	return worker < n->count ? &n->workers[worker]->env : NULL;
}

void sh_net_set_gather(struct sh_net *n, unsigned us, unsigned calls_us)
{
	n->gather_max = us;
	n->gather_calls = calls_us;
}

const struct sh_net_stats *sh_net_stats(const struct sh_net *n, unsigned worker)
{
	return worker < n->count ? &n->workers[worker]->stats : NULL;
}
