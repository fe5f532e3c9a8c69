/* Messages to a worker: a bounded lock-free ring, and a list of finished tasks that has no bound of its own (a task
 * was allowed when it began). Both are announced by one eventfd, which is written once until the worker looks; for what
 * another worker posts, behind its batch: a wake-up for each message would cost more than the message. */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum { MESSAGES_PER_TURN = 1024 };

int net_post_init(struct net_worker *w)
{
	int err;

	sh_list_init(&w->finished);
	atomic_init(&w->woken, false);
	w->ring = sh_malloc(sizeof(*w->ring));
	if (!w->ring)
		return -ENOMEM;
	atomic_init(&w->ring->head, 0);
	w->ring->tail = 0;
	for (size_t i = 0; i < NET_RING; i++)
		atomic_init(&w->ring->cells[i].turn, i);
	err = -pthread_mutex_init(&w->lock, NULL);
	if (err) {
		sh_free(w->ring);
		w->ring = NULL;
	}
	return err;
}

void net_post_finish(struct net_worker *w)
{
	if (!w->ring)
		return;
	pthread_mutex_destroy(&w->lock);
	sh_free(w->ring);
}

static bool push(struct net_ring *r, net_message_fn fn, void *arg)
{
	size_t at = atomic_load_explicit(&r->head, memory_order_relaxed);
	struct net_cell *c;

	for (;;) {
		ptrdiff_t ahead;

		c = &r->cells[at & (NET_RING - 1)];
		ahead = (ptrdiff_t)(atomic_load_explicit(&c->turn, memory_order_acquire) - at);
		if (ahead < 0)
			return false;
		if (ahead > 0)
			at = atomic_load_explicit(&r->head, memory_order_relaxed);
		else if (atomic_compare_exchange_weak_explicit(&r->head, &at, at + 1, memory_order_relaxed,
							       memory_order_relaxed))
			break;
	}
	c->fn = fn;
	c->arg = arg;
	atomic_store_explicit(&c->turn, at + 1, memory_order_release);
	return true;
}

/* False also when a producer has taken the next cell and not yet filled it; it will wake us. */
static bool pop(struct net_ring *r, net_message_fn *fn, void **arg)
{
	struct net_cell *c = &r->cells[r->tail & (NET_RING - 1)];

	if (atomic_load_explicit(&c->turn, memory_order_acquire) != r->tail + 1)
		return false;
	*fn = c->fn;
	*arg = c->arg;
	atomic_store_explicit(&c->turn, r->tail + NET_RING, memory_order_release);
	r->tail++;
	return true;
}

void net_notify(struct net_worker *w)
{
	uint64_t one = 1;

	if (!atomic_exchange(&w->woken, true))
		(void)!write(w->wake, &one, sizeof(one));
}

static int post_to(struct sh_net *n, unsigned worker, net_message_fn fn, void *arg)
{
	if (worker >= n->count)
		return -EINVAL;
	if (atomic_load_explicit(&n->stopped, memory_order_relaxed))
		return -ESHUTDOWN;
	return push(n->workers[worker]->ring, fn, arg) ? 0 : -EAGAIN;
}

int net_post(struct sh_env *env, unsigned worker, net_message_fn fn, void *arg)
{
	struct net_worker *w = net_worker_of(env);
	int err = post_to(w->net, worker, fn, arg);

	if (!err)
		w->posted[worker / 64] |= UINT64_C(1) << (worker % 64);
	else if (err == -EAGAIN)
		net_notify(w->net->workers[worker]); /* it had better begin */
	return err;
}

void net_tell_posted(struct net_worker *w)
{
	for (unsigned i = 0; i < NET_WORKER_WORDS; i++) {
		for (; w->posted[i]; w->posted[i] &= w->posted[i] - 1)
			net_notify(w->net->workers[i * 64 + (unsigned)__builtin_ctzll(w->posted[i])]);
	}
}

int sh_net_call(struct sh_net *n, unsigned worker, net_message_fn fn, void *arg)
{
	int err = net_is_child(n) ? -EPERM : post_to(n, worker, fn, arg);

	if (!err)
		net_notify(n->workers[worker]);
	return err;
}

void sh_net_wake(struct sh_net *n, unsigned worker)
{
	if (worker < n->count && !net_is_child(n))
		net_notify(n->workers[worker]);
}

void net_finished(struct net_worker *w, struct net_task *t)
{
	pthread_mutex_lock(&w->lock);
	sh_list_append(&w->finished, &t->link);
	pthread_mutex_unlock(&w->lock);
	net_notify(w);
}

/* The flag goes first: what is put in after we have looked writes the descriptor again. It is watched edge-triggered
 * and so never read. */
void net_inbox_open(struct net_worker *w)
{
	atomic_exchange(&w->woken, false);
	w->inbox = true;
}

static struct net_task *next_finished(struct net_worker *w)
{
	struct sh_link *l;

	pthread_mutex_lock(&w->lock);
	l = sh_list_pop(&w->finished);
	pthread_mutex_unlock(&w->lock);
	return l ? SH_CONTAINER(l, struct net_task, link) : NULL;
}

/* Returns false when there may be more. */
static bool deliver(struct net_worker *w)
{
	net_message_fn fn;
	struct net_task *t;
	unsigned count = 0;
	void *arg;

	while (count < MESSAGES_PER_TURN && pop(w->ring, &fn, &arg)) {
		w->stats.posts_in++;
		count++;
		fn(&w->env, arg);
	}
	while (count < MESSAGES_PER_TURN && (t = next_finished(w)) != NULL) {
		count++;
		t->finish(t);
	}
	return count < MESSAGES_PER_TURN;
}

uint64_t net_inbox_waiting(const struct net_worker *w)
{
	return atomic_load_explicit(&w->ring->head, memory_order_relaxed) - w->ring->tail;
}

void net_inbox_deliver(struct net_worker *w)
{
	if (w->inbox)
		w->inbox = !deliver(w);
}

void net_inbox_empty(struct net_worker *w)
{
	while (!deliver(w))
		;
}
