/* Work that blocks, on a thread of its own with all signals blocked (they are the host's): one job after the other; at
 * the end it is waited for. The thread starts when there is something to do, not before: most hosts never need it. */
#include <errno.h>
#include <signal.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum { STACK = 2 << 20 }; /* the host's default may be anything */

struct net_lane {
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct sh_link queue; /* net_task.link */
	bool stopping, started;
	pthread_t thread;
};

/* ---- the lane ---- */

static void *lane_run(void *arg)
{
	struct net_lane *lane = arg;
	struct sh_link *l;

	pthread_mutex_lock(&lane->lock);
	for (;;) {
		while (sh_list_empty(&lane->queue) && !lane->stopping)
			pthread_cond_wait(&lane->more, &lane->lock);
		l = sh_list_pop(&lane->queue);
		if (!l)
			break;
		pthread_mutex_unlock(&lane->lock);
		struct net_task *t = SH_CONTAINER(l, struct net_task, link);
		t->work(t);
		net_finished(t->worker, t);
		pthread_mutex_lock(&lane->lock);
	}
	pthread_mutex_unlock(&lane->lock);
	return NULL;
}

/* Under the lock. */
static int start_thread(struct net_lane *lane)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	(void)pthread_attr_setstacksize(&attr, STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&lane->thread, &attr, lane_run, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (err)
		return -err;
	(void)pthread_setname_np(lane->thread, "siphook-jobs");
	lane->started = true;
	return 0;
}

static int lane_submit(struct net_lane *lane, struct net_task *t)
{
	int err = 0;

	pthread_mutex_lock(&lane->lock);
	if (lane->stopping)
		err = -ESHUTDOWN;
	else if (!lane->started)
		err = start_thread(lane);
	if (!err) {
		sh_list_append(&lane->queue, &t->link);
		pthread_cond_signal(&lane->more);
	}
	pthread_mutex_unlock(&lane->lock);
	return err;
}

int net_background_init(struct sh_net *n)
{
	struct net_lane *lane = sh_calloc(1, sizeof(*lane));

	if (!lane)
		return -ENOMEM;
	if (pthread_mutex_init(&lane->lock, NULL) != 0)
		goto no_lock;
	if (pthread_cond_init(&lane->more, NULL) != 0)
		goto no_condition;
	sh_list_init(&lane->queue);
	n->jobs = lane;
	return 0;

no_condition:
	pthread_mutex_destroy(&lane->lock);
no_lock:
	sh_free(lane);
	return -ENOMEM;
}

void net_background_finish(struct sh_net *n)
{
	struct net_lane *lane = n->jobs;

	if (!lane)
		return;
	pthread_cond_destroy(&lane->more);
	pthread_mutex_destroy(&lane->lock);
	sh_free(lane);
}

void sh_net_stop_background(struct sh_net *n)
{
	struct net_lane *lane = n->jobs;
	bool wait;

	if (net_is_child(n))
		return;
	pthread_mutex_lock(&lane->lock);
	wait = lane->started && !lane->stopping;
	lane->stopping = true;
	pthread_cond_signal(&lane->more);
	pthread_mutex_unlock(&lane->lock);
	if (wait)
		pthread_join(lane->thread, NULL);
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

static void job_finish(struct net_task *t)
{
	struct job *j = SH_CONTAINER(t, struct job, task);
	void (*done)(void *arg) = j->done;
	void *arg = j->arg;

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
	err = lane_submit(w->net->jobs, &j->task);
	if (err)
		sh_free(j);
	return err;
}
