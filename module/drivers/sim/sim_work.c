/* What a worker gets done elsewhere: background jobs, messages to other workers. All of it takes a little time
 * that the seed decides; jobs of one worker keep their order, and so do the messages to one worker. */
#include <errno.h>

#include "core/alloc.h"
#include "drivers/sim/sim_impl.h"

enum {
	JOB_TIME = 1000, /* microseconds at most: to begin, and again to be done */
	POST_TIME = 50,
};

/* ---- background jobs ---- */

struct sim_job {
	struct sim_event event;
	struct sh_link link; /* sim_env.jobs until it is done; then its event is all that is left */
	struct sim_env *env;
	void (*work)(void *arg);
	void (*done)(void *arg);
	void *arg;
	uint64_t end;
	bool worked;
};

static uint64_t later(struct sh_sim *sim, uint64_t after, uint64_t within)
{
	uint64_t begin = after > sim->now ? after : sim->now;

	return begin + 1 + sh_random_below(&sim->random, within);
}

/* Twice: first it works, later it is done. */
static void run_job(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_job *j = SH_CONTAINER(event, struct sim_job, event);

	if (!deliver || sh_list_empty(&j->link)) { /* finished by the shutdown of its worker */
		sh_free(j);
		return;
	}
	if (!j->worked) {
		j->worked = true;
		j->work(j->arg);
		sim_queue_push(&sim->queue, event, j->end);
		return;
	}
	sh_list_remove(&j->link);
	j->env->dirty = true;
	j->done(j->arg);
	sh_free(j);
}

int sim_background(struct sh_env *env, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
	struct sim_env *e = sim_env_of(env);
	struct sh_sim *sim = e->sim;
	struct sim_job *j;
	uint64_t begin;

	if (e->stopped)
		return -ESHUTDOWN;
	j = sh_calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->event.run = run_job;
	j->env = e;
	j->work = work;
	j->done = done;
	j->arg = arg;
	sh_list_append(&e->jobs, &j->link);
	begin = later(sim, e->last_job, JOB_TIME);
	e->last_job = j->end = later(sim, begin, JOB_TIME);
	sim_queue_push(&sim->queue, &j->event, begin);
	return 0;
}

/* ---- posts ---- */

struct sim_message {
	struct sim_event event;
	struct sh_link link; /* sim_env.posts of the target */
	struct sim_env *target;
	void (*fn)(struct sh_env *target, void *arg);
	void *arg;
};

static void run_message(struct sh_sim *sim, struct sim_event *event, bool deliver)
{
	struct sim_message *m = SH_CONTAINER(event, struct sim_message, event);

	(void)sim;
	if (deliver && !sh_list_empty(&m->link)) {
		sh_list_remove(&m->link);
		m->target->posts_pending--;
		m->target->dirty = true;
		m->fn(&m->target->env, m->arg);
	}
	sh_free(m);
}

static struct sim_env *worker_of(const struct sim_env *e, unsigned worker)
{
	SH_LIST_EACH(l, &e->sim->envs)
	{
		struct sim_env *other = SH_CONTAINER(l, struct sim_env, link);
		if (other->host == e->host && other->env.worker == worker)
			return other;
	}
	return NULL;
}

int sim_post(struct sh_env *env, unsigned worker, void (*fn)(struct sh_env *target, void *arg), void *arg)
{
	struct sim_env *target = worker_of(sim_env_of(env), worker);
	struct sim_message *m;
	struct sh_sim *sim;

	if (!target)
		return -EINVAL;
	sim = target->sim;
	if (target->stopped || target->posts_pending >= sim->post_ring)
		return -EAGAIN;
	m = sh_calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->event.run = run_message;
	m->target = target;
	m->fn = fn;
	m->arg = arg;
	sh_list_append(&target->posts, &m->link);
	target->posts_pending++;
	target->last_post = later(sim, target->last_post, POST_TIME);
	sim_queue_push(&sim->queue, &m->event, target->last_post);
	return 0;
}

/* ---- shutdown ---- */

void sim_work_stop(struct sim_env *e)
{
	for (struct sh_link *l; (l = sh_list_pop(&e->posts)) != NULL;) {
		struct sim_message *m = SH_CONTAINER(l, struct sim_message, link);
		e->posts_pending--;
		m->fn(&e->env, m->arg);
	}
	for (struct sh_link *l; (l = sh_list_pop(&e->jobs)) != NULL;) {
		struct sim_job *j = SH_CONTAINER(l, struct sim_job, link);
		if (!j->worked)
			j->work(j->arg);
		j->done(j->arg);
	}
}
