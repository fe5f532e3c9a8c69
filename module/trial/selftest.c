/* sip.selftest: the functions that a script brings along, each in a world of its own, in the state of the script itself. */
#include <errno.h>
#include <stdio.h>

#include "trial/events.h"
#include "trial/lua.h"
#include "trial/trial.h"
#include "trial/world.h"

#define BUDGET UINT64_C(500000000) /* instructions of one selftest */

struct selftest {
	const struct sh_trial_selftest *options;
	struct sh_world *world;
	struct sh_trial_events events;
	bool failed;
	char *error;
	size_t size;
};

/* The function at 2. */
static int run_one(lua_State *L)
{
	struct selftest *s = lua_touserdata(L, 1);
	const char *failure, *details;

	sh_trial_library_open(L, &(struct sh_trial_defaults){0});
	lua_getfield(L, -1, "selftest");
	lua_pushvalue(L, 2);
	sh_trial_world_push(L, s->world, &s->events);
	lua_call(L, 2, 2);
	failure = lua_tostring(L, -2);
	details = lua_tostring(L, -1);
	s->failed = failure != NULL;
	if (failure)
		snprintf(s->error, s->size, "selftest: %s", failure);
	if (failure && details && s->options->details)
		s->options->details(s->options->ctx, details);
	return 0;
}

static int run_in_world(struct selftest *s, unsigned i, unsigned *count)
{
	struct sh_generation *g = sh_engine_generation(sh_world_engine(s->world));
	int err;

	*count = sh_generation_selftests(g);
	if (i >= *count)
		return 0;
	s->failed = false;
	err = sh_generation_selftest(g, i, run_one, s, BUDGET, s->error, s->size);
	return !err && s->failed ? -EINVAL : err;
}

int sh_trial_selftest(const struct sh_trial_selftest *o, char *error, size_t size)
{
	struct selftest s = {.options = o, .error = error, .size = size};
	struct sh_world_options w = {
	    .script = o->script,
	    .config = o->config,
	    .nconfig = o->nconfig,
	    .read = o->read,
	    .read_ctx = o->read_ctx,
	    .sim.seed = 1,
	    .trace = sh_trial_on_trace,
	    .log = sh_trial_on_log,
	    .ctx = &s.events,
	};
	unsigned count = 1;
	int err = 0;

	sh_trial_events_init(&s.events);
	for (unsigned i = 0; i < count && !err; i++) {
		err = sh_world_create(&s.world, &w, error, size);
		if (err)
			break;
		err = run_in_world(&s, i, &count);
		sh_world_destroy(s.world);
		sh_trial_events_finish(&s.events);
	}
	sh_trial_events_finish(&s.events);
	return err;
}
