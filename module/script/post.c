#include "script/post.h"

#include "script/impl.h"

#define RETRY (5 * SH_MS)

static void arrive(struct sh_env *env, void *arg)
{
	struct sh_post *p = arg;

	p->deliver(p, p->script->runtimes[env->worker]);
}

static bool try_send(struct sh_runtime *rt, struct sh_post *p)
{
	return rt->env->driver->post(rt->env, p->worker, arrive, p) == 0;
}

static void on_retry(struct sh_timer *t)
{
	struct sh_runtime *rt = SH_CONTAINER(t, struct sh_runtime, retry);
	struct sh_link *l;

	while ((l = rt->unsent.next) != &rt->unsent) {
		struct sh_post *p = SH_CONTAINER(l, struct sh_post, link);

		sh_list_remove(&p->link); /* sent means that it is somebody else's */
		if (try_send(rt, p))
			continue;
		sh_list_append(&rt->unsent, &p->link);
		sh_env_timer(rt->env, &rt->retry, RETRY);
		return;
	}
}

void sh_post_send(struct sh_runtime *rt, struct sh_post *p, unsigned worker, sh_post_fn deliver)
{
	sh_list_init(&p->link);
	p->script = rt->script;
	p->worker = worker;
	p->deliver = deliver;
	if (sh_list_empty(&rt->unsent) && try_send(rt, p))
		return;
	sh_list_append(&rt->unsent, &p->link);
	if (!sh_timer_pending(&rt->retry))
		sh_env_timer(rt->env, &rt->retry, RETRY);
}

void sh_post_init(struct sh_runtime *rt)
{
	sh_list_init(&rt->unsent);
	sh_timer_init(&rt->retry, on_retry);
}

/* Who waits for it may still be there: it goes to the receiver's runtime, which ends after its runs. */
void sh_post_finish(struct sh_runtime *rt)
{
	struct sh_link *l;

	sh_wheel_cancel(&rt->env->wheel, &rt->retry);
	while ((l = sh_list_pop(&rt->unsent))) {
		struct sh_post *p = SH_CONTAINER(l, struct sh_post, link);
		struct sh_runtime *to = p->script->runtimes[p->worker];

		if (to && to != rt)
			sh_list_append(&to->unsent, &p->link);
		else
			p->deliver(p, NULL);
	}
}
