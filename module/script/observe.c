/* For who records calls: what the hooks of a call learn from outside. A state is watched through the place where a loading script has
 * its journal, at which every use of a store looks anyway: while nobody records it costs nothing. */
#include "script/impl.h"
#include "script/shared.h"

const struct sh_call *sh_run_call(const struct sh_run *r)
{
	return r->call ? sh_ua_call(r->state->runtime->ua, r->call) : NULL;
}

static void on_use(void *ctx, const struct sh_shared_at *at, struct sh_slice key, bool reads)
{
	struct sh_state *s = ctx;
	const struct sh_script_observer *o = s->runtime->observer;
	const struct sh_coroutine *co = s->vm->current;
	const struct sh_call *c = co ? sh_run_call(co->user) : NULL;

	if (o && c)
		o->uses(o->ctx, c, at, key, reads);
}

int sh_state_observe(struct sh_state *s)
{
	int err = 0;

	if (s->runtime->observer && !s->watch)
		err = sh_shared_watch_create(&s->watch, on_use, s);
	s->vm->journal = s->runtime->observer ? s->watch : NULL;
	return err;
}

int sh_runtime_observe(struct sh_runtime *rt, const struct sh_script_observer *observer)
{
	int err = 0;

	rt->observer = observer;
	SH_LIST_EACH(l, &rt->states)
	{
		int failed = sh_state_observe(SH_CONTAINER(l, struct sh_state, link));

		err = failed ? failed : err;
	}
	return err;
}
