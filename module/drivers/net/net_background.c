/* Work that blocks, on threads of its own, with all signals blocked (they are the host's). Two lanes, so that a name
 * server that is silent does not hold up a reload:
 *   jobs   one thread, one after the other; at the end it is waited for
 *   names  getaddrinfo(3), up to four threads. It cannot be interrupted, so at the end a thread that hangs in it is
 * left alone: it holds a reference to the lane, touches nothing else, and ends by itself. Threads start when there is
 * something to do, not before: most hosts never need them, and a driven worker asks for none. */
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <sys/socket.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	NAME_THREADS = 4,
	MAX_QUEUED = 1000, /* look-ups; the network can cause them */
	MAX_ADDRS = 16,    /* of one name */
	NAME_ROOM = 256,   /* RFC 1035 2.3.4, with the NUL */
	STACK = 2 << 20,   /* the host's default may be anything */
};

struct net_lane {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct sh_link queue; /* net_task.link */
	size_t queued;
	unsigned refs; /* the net and each detached thread */
	unsigned threads, idle, max_threads;
	bool stopping;
	bool joined;      /* jobs: the one thread is waited for */
	pthread_t thread; /* of a joined lane */
	const char *name;
};

/* ---- lanes ---- */

static void lane_unref(struct net_lane *lane)
{
	unsigned left;

	pthread_mutex_lock(&lane->lock);
	left = --lane->refs;
	pthread_mutex_unlock(&lane->lock);
	if (left > 0)
		return;
	pthread_cond_destroy(&lane->more);
	pthread_mutex_destroy(&lane->lock);
	sh_free(lane);
}

static struct net_lane *lane_create(const char *name, unsigned max_threads, bool joined)
{
	struct net_lane *lane = sh_calloc(1, sizeof(*lane));

	if (!lane)
		return NULL;
	if (pthread_mutex_init(&lane->lock, NULL) != 0)
		goto no_lock;
	if (pthread_cond_init(&lane->more, NULL) != 0)
		goto no_condition;
	sh_list_init(&lane->queue);
	lane->refs = 1;
	lane->name = name;
	lane->max_threads = max_threads;
	lane->joined = joined;
	return lane;

no_condition:
	pthread_mutex_destroy(&lane->lock);
no_lock:
	sh_free(lane);
	return NULL;
}

static struct net_task *take(struct net_lane *lane)
{
	struct sh_link *l = sh_list_pop(&lane->queue);

	if (!l)
		return NULL;
	lane->queued--;
	return SH_CONTAINER(l, struct net_task, link);
}

/* Under the lane's lock. The workers of a lane that is not waited for may be gone once it is stopping. */
static void give_back(struct net_lane *lane, struct net_task *t)
{
	if (lane->stopping && !lane->joined)
		t->finish(t, true);
	else
		net_finished(t->worker, t);
}

static void *lane_run(void *arg)
{
	struct net_lane *lane = arg;
	bool joined = lane->joined;
	struct net_task *t;

	pthread_mutex_lock(&lane->lock);
	for (;;) {
		while (lane->queued == 0 && !lane->stopping) {
			lane->idle++;
			pthread_cond_wait(&lane->more, &lane->lock);
			lane->idle--;
		}
		t = take(lane);
		if (!t)
			break;
		pthread_mutex_unlock(&lane->lock);
		t->work(t);
		pthread_mutex_lock(&lane->lock);
		give_back(lane, t);
	}
	pthread_mutex_unlock(&lane->lock);
	if (!joined)
		lane_unref(lane);
	return NULL;
}

/* Under the lock. */
static int start_thread(struct net_lane *lane)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	(void)pthread_attr_setstacksize(&attr, STACK);
	if (!lane->joined)
		(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&thread, &attr, lane_run, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		return -err;
	(void)pthread_setname_np(thread, lane->name);
	lane->threads++;
	if (lane->joined)
		lane->thread = thread;
	else
		lane->refs++;
	return 0;
}

/* Under the lock: the new task gets a thread, or waits for one that is busy. */
static int employ(struct net_lane *lane)
{
	int err = 0;

	if (lane->queued <= lane->idle)
		pthread_cond_signal(&lane->more);
	else if (lane->threads < lane->max_threads)
		err = start_thread(lane);
	return lane->threads > 0 ? 0 : err;
}

static int lane_submit(struct net_lane *lane, struct net_task *t, size_t max)
{
	int err;

	pthread_mutex_lock(&lane->lock);
	if (lane->stopping) {
		err = -ESHUTDOWN;
	} else if (lane->queued >= max) {
		err = -EAGAIN;
	} else {
		sh_list_append(&lane->queue, &t->link);
		lane->queued++;
		err = employ(lane);
		if (err) {
			sh_list_remove(&t->link);
			lane->queued--;
		}
	}
	pthread_mutex_unlock(&lane->lock);
	return err;
}

static void lane_stop(struct net_lane *lane)
{
	struct net_task *t;
	bool wait;

	pthread_mutex_lock(&lane->lock);
	wait = lane->joined && !lane->stopping && lane->threads > 0;
	lane->stopping = true;
	while (!lane->joined && (t = take(lane)) != NULL)
		t->finish(t, true);
	pthread_cond_broadcast(&lane->more);
	pthread_mutex_unlock(&lane->lock);
	if (wait)
		pthread_join(lane->thread, NULL);
}

int net_background_init(struct sh_net *n)
{
	n->jobs = lane_create("siphook-jobs", 1, true);
	n->names = lane_create("siphook-names", NAME_THREADS, false);
	return n->jobs && n->names ? 0 : -ENOMEM;
}

void net_background_finish(struct sh_net *n)
{
	if (n->jobs)
		lane_unref(n->jobs);
	if (n->names)
		lane_unref(n->names);
}

void sh_net_stop_background(struct sh_net *n)
{
	if (net_is_child(n))
		return;
	lane_stop(n->names);
	lane_stop(n->jobs);
}

/* ---- jobs ---- */

struct job {
	struct net_task task;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void job_work(struct net_task *t)
{
	struct job *j = SH_CONTAINER(t, struct job, task);

	j->work(j->arg);
}

static void job_finish(struct net_task *t, bool cancelled)
{
	struct job *j = SH_CONTAINER(t, struct job, task);
	void (*done)(void *arg) = j->done;
	void *arg = j->arg;

	(void)cancelled;
	sh_free(j);
	done(arg);
}

int net_background(struct sh_env *env, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct net_worker *w = net_worker_of(env);
	struct job *j = sh_malloc(sizeof(*j));
	int err;

	if (!j)
		return -ENOMEM;
	j->task.worker = w;
	j->task.work = job_work;
	j->task.finish = job_finish;
	j->work = work;
	j->done = done;
	j->arg = arg;
	sh_list_init(&j->task.link);
	err = lane_submit(w->net->jobs, &j->task, SIZE_MAX);
	if (err)
		sh_free(j);
	return err;
}

/* ---- names ---- */

struct look_up {
	struct net_task task;
	sh_resolve_fn fn;
	void *ctx;
	uint16_t port;
	int error;
	size_t count;
	struct sh_addr addrs[MAX_ADDRS];
	char name[NAME_ROOM];
};

static void add_addr(struct look_up *q, const struct sh_addr *a)
{
	for (size_t i = 0; i < q->count; i++) {
		if (sh_addr_eq(&q->addrs[i], a))
			return;
	}
	if (q->count < MAX_ADDRS)
		q->addrs[q->count++] = *a;
}

static void look_up_work(struct net_task *t)
{
	struct look_up *q = SH_CONTAINER(t, struct look_up, task);
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM}; /* each address once */
	struct addrinfo *found = NULL;
	int err = getaddrinfo(q->name, NULL, &hints, &found);

	for (const struct addrinfo *i = err ? NULL : found; i; i = i->ai_next) {
		struct sh_addr a;
		sh_addr_from_sockaddr(&a, i->ai_addr);
		a.port = q->port;
		if (a.family != 0)
			add_addr(q, &a);
	}
	if (err == 0)
		freeaddrinfo(found);
	if (err == 0 || err == EAI_NONAME || err == EAI_NODATA)
		q->error = q->count > 0 ? 0 : -ENOENT;
	else
		q->error = -EAGAIN;
}

static void look_up_finish(struct net_task *t, bool cancelled)
{
	struct look_up *q = SH_CONTAINER(t, struct look_up, task);
	struct sh_resolved r = {.error = q->error, .addrs = q->addrs, .count = q->count};

	if (!cancelled)
		q->fn(&r, q->ctx);
	sh_free(q);
}

/* hostname of RFC 3261 25.1: the last label begins with a letter. getaddrinfo(3) would read "127.1" and "0x7f000001" as
 * addresses. The underscore is no part of the grammar, but of names that people have. */
static bool is_host_name(struct sh_slice s)
{
	bool begin = true, letter = false;

	if (s.len > 0 && s.base[s.len - 1] == '.')
		s.len--;
	if (s.len == 0 || s.len + 1 >= NAME_ROOM)
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

static void refuse(struct net_worker *w, sh_resolve_fn fn, void *ctx)
{
	if (w->refused == NET_REFUSALS) { /* the caller's own timer is what is left */
		sh_log_write_limited(w->env.log, SH_LOG_ERROR, &w->limit, w->env.now,
				     "no memory to look up a name, nor to say so");
		return;
	}
	w->refusals[w->refused++] = (struct net_refusal){fn, ctx};
}

void net_resolve_tell_refused(struct net_worker *w)
{
	struct sh_resolved r = {.error = -EAGAIN};
	struct net_refusal told[NET_REFUSALS];
	unsigned count = w->refused;

	memcpy(told, w->refusals, count * sizeof(told[0]));
	w->refused = 0;
	for (unsigned i = 0; i < count; i++)
		told[i].fn(&r, told[i].ctx);
}

void net_resolve(struct sh_env *env, struct sh_slice name, uint16_t port, sh_resolve_fn fn, void *ctx)
{
	struct net_worker *w = net_worker_of(env);
	struct look_up *q;
	int err;

	if (net_is_stopped(w))
		return;
	q = sh_calloc(1, sizeof(*q));
	if (!q) {
		refuse(w, fn, ctx);
		return;
	}
	sh_list_init(&q->task.link);
	q->task.worker = w;
	q->task.work = look_up_work;
	q->task.finish = look_up_finish;
	q->fn = fn;
	q->ctx = ctx;
	q->port = port;
	if (sh_addr_parse(&q->addrs[0], name, port) == 0) {
		q->count = 1;
		net_finished(w, &q->task);
		return;
	}
	if (!is_host_name(name)) {
		q->error = -ENOENT;
		net_finished(w, &q->task);
		return;
	}
	memcpy(q->name, name.base, name.len);
	err = lane_submit(w->net->names, &q->task, MAX_QUEUED);
	if (err == -ESHUTDOWN) {
		sh_free(q);
	} else if (err) {
		q->error = -EAGAIN;
		net_finished(w, &q->task);
	}
}
