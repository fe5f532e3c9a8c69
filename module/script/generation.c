/* Generations: loading, publishing, giving back. */
#include "script/impl.h"
#include "script/lock.h"
#include "script/metric.h"
#include "script/shared.h"

const char *const sh_hook_names[SH_HOOK_COUNT + 1] = {
#define X(id, name) name,
    SH_HOOKS(X)
#undef X
};

int sh_script_create(struct sh_script **out, const struct sh_script_config *config)
{
	struct sh_script *s = sh_calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->config = *config;
	s->config.hooks_max = config->hooks_max ? config->hooks_max : SH_SCRIPT_HOOKS;
	s->config.timers_max = config->timers_max ? config->timers_max : SH_SCRIPT_TIMERS;
	s->config.deadline = config->deadline ? config->deadline : SH_SCRIPT_DEADLINE;
	s->path = sh_strndup(config->path, strlen(config->path));
	s->pairs = sh_calloc(config->npairs + 1, sizeof(*s->pairs));
	s->runtimes = sh_calloc(config->workers, sizeof(struct sh_runtime *));
	if (!s->path || !s->pairs || !s->runtimes || sh_locks_create(&s->locks, config->key) < 0 ||
	    sh_metrics_create(&s->metrics, config->key) < 0 || sh_limits_create(&s->limits, config->key) < 0 ||
	    sh_places_create(&s->places, config->workers) < 0)
		goto out;
	for (unsigned i = 0; i < config->npairs; i++) {
		s->pairs[i].key = sh_strndup(config->pairs[i].key, strlen(config->pairs[i].key));
		s->pairs[i].value = sh_strndup(config->pairs[i].value, strlen(config->pairs[i].value));
		if (!s->pairs[i].key || !s->pairs[i].value)
			goto out;
	}
	*out = s;
	return 0;
out:
	sh_script_destroy(s);
	return -ENOMEM;
}

void sh_script_destroy(struct sh_script *s)
{
	if (!s)
		return;
	sh_generation_destroy(atomic_load(&s->current));
	for (unsigned i = 0; s->pairs && i < s->config.npairs; i++) {
		sh_free((void *)s->pairs[i].key);
		sh_free((void *)s->pairs[i].value);
	}
	sh_locks_destroy(s->locks);
	sh_metrics_destroy(s->metrics);
	sh_free(s->places);
	sh_free(s->runtimes);
	sh_limits_destroy(s->limits);
	sh_free(s->pairs);
	sh_free(s->path);
	sh_free(s);
}

struct sh_generation *sh_script_current(const struct sh_script *s)
{
	return atomic_load_explicit(&s->current, memory_order_acquire);
}

unsigned sh_script_alive(const struct sh_script *s)
{
	return atomic_load(&s->alive);
}

struct sh_metrics *sh_script_metrics(const struct sh_script *s)
{
	return s->metrics;
}

uint64_t sh_generation_number(const struct sh_generation *g)
{
	return g->number;
}

const struct sh_slice *sh_generation_domains(const struct sh_generation *g, unsigned *count)
{
	*count = g->ndomains;
	return g->domains;
}

const char *sh_generation_hash(const struct sh_generation *g)
{
	return g->source->hash;
}

const struct sh_vm_file *sh_generation_files(const struct sh_generation *g, size_t *count)
{
	return sh_vm_files(g->states[0].vm, count);
}

/* ------------------------------------------------------------------ the clock of a state */

static uint64_t world_now(void *ctx)
{
	struct sh_state *st = ctx;
	const struct sh_vm_world *w = &st->generation->script->config.world;

	return st->runtime ? st->runtime->env->now : w->now(w->ctx);
}

static uint64_t world_wall(void *ctx)
{
	struct sh_state *st = ctx;
	const struct sh_vm_world *w = &st->generation->script->config.world;

	return st->runtime ? sh_env_wall(st->runtime->env) : w->wall(w->ctx);
}

static uint64_t world_random(void *ctx)
{
	struct sh_state *st = ctx;
	const struct sh_vm_world *w = &st->generation->script->config.world;

	return st->runtime ? sh_random_u64(&st->runtime->env->random) : w->random(w->ctx);
}

static int world_read(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp)
{
	struct sh_state *st = ctx;
	const struct sh_vm_world *w = &st->generation->script->config.world;

	return sh_source_read(st->generation->source, w, path, text, len, stamp);
}

int sh_generation_read(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp)
{
	struct sh_generation *g = ctx;

	return sh_source_read(g->source, &g->script->config.world, path, text, len, stamp);
}

/* ------------------------------------------------------------------ load */

static int open_state(lua_State *L)
{
	return sh_sip_open(L);
}

static int state_init(struct sh_state *st, struct sh_generation *g, unsigned worker, struct sh_shared_journal *journal)
{
	const struct sh_script_config *c = &g->script->config;
	struct sh_vm_config config = {
	    .world = {world_now, world_wall, world_random, world_read, st, NULL},
	    .log = c->log,
	    .shared = c->shared,
	    .journal = journal,
	    .deterministic = c->deterministic,
	    .stock = c->stock,
	    .total_max = c->total_max,
	    .pause_after = SH_SCRIPT_PAUSE,
	    .globals = worker == 0 ? &g->globals : NULL,
	    .user = st,
	};
	int err;

	st->generation = g;
	st->worker = worker;
	st->timers = st->cancel_error = st->retired_error = LUA_NOREF;
	for (unsigned i = 0; i < SH_HOOK_COUNT; i++)
		st->hooks[i] = LUA_NOREF;
	sh_list_init(&st->link);
	sh_list_init(&st->runs);
	sh_list_init(&st->every);
	sh_list_init(&st->pinned);
	sh_timer_init(&st->deadline, sh_state_deadline);
	err = sh_vm_create(&st->vm, &config);
	if (err)
		return err;
	return sh_vm_call(st->vm, open_state, st, 0);
}

struct load_event {
	struct sh_state *state;
	const char *reason;
};

/* sip.on.load({generation=, reason=}) */
static int run_load_hook(lua_State *L)
{
	const struct load_event *ev = lua_touserdata(L, 1);

	lua_rawgeti(L, LUA_REGISTRYINDEX, ev->state->hooks[SH_HOOK_LOAD]);
	lua_createtable(L, 0, 2);
	lua_pushinteger(L, (lua_Integer)ev->state->generation->number);
	lua_setfield(L, -2, "generation");
	lua_pushstring(L, ev->reason);
	lua_setfield(L, -2, "reason");
	lua_call(L, 1, 0);
	return 0;
}

static void tell_error(const struct sh_state *st, char *error, size_t size)
{
	struct sh_slice message = st->vm ? sh_vm_error(st->vm) : (struct sh_slice){0};

	if (!size || !message.len)
		return;
	if (sh_slice_find(message, ':') >= 0)
		snprintf(error, size, "%.*s", SH_FMT(message));
	else /* out of memory: it does not say where */
		snprintf(error, size, "%s: %.*s", st->generation->script->path, SH_FMT(message));
}

static int check_globals(lua_State *L)
{
	sh_globals_check(lua_touserdata(L, 1), L);
	return 0;
}

static int find_global(lua_State *L)
{
	const char **name = lua_touserdata(L, 1);

	lua_pushglobaltable(L);
	lua_pushstring(L, *name);
	if (lua_rawget(L, -2) == LUA_TNIL)
		*name = NULL;
	return 0;
}

static bool global_exists(struct sh_state *st, const char *name)
{
	return sh_vm_call(st->vm, find_global, &name, 0) < 0 || name;
}

/* Timers that somebody names and nobody has made: only a line, for what looks like a call may be an object of the script's own. And
 * global variables that somebody sets then: that raises, and perhaps it is meant to. */
static void warn_of_names(struct sh_state *st)
{
	struct sh_log *log = st->generation->script->config.log;

	for (const struct sh_globals_use *u = st->generation->globals.first; u; u = u->next) {
		const char *chunk = u->chunk + (*u->chunk == '@');

		if (u->how == SH_GLOBALS_TIMER && !sh_timer_exists(st, u->name))
			sh_warn(log, "%s:%d: there is no sip.timer.%s", chunk, u->line, u->name);
		else if (u->how == SH_GLOBALS_SET && !global_exists(st, u->name))
			sh_warn(log, "%s:%d: global '%s' is not declared: setting it will be an error", chunk, u->line, u->name);
	}
}

/* The same top level runs for each worker, and sees its own writes; those of the first one count. */
static int load_states(struct sh_generation *g, unsigned n, char *error, size_t size)
{
	struct sh_script *s = g->script;
	struct load_event ev = {&g->states[0], atomic_load(&s->current) ? "reload" : "start"};
	int err = 0;

	for (unsigned i = 0; i < n && !err; i++) {
		struct sh_state *st = &g->states[i];
		struct sh_shared_journal *own = NULL;

		if (i > 0 && sh_shared_journal_create(&own, s->config.shared) < 0)
			return -ENOMEM;
		g->nstates = i + 1;
		err = state_init(st, g, i, i > 0 ? own : g->journal);
		if (!err)
			err = sh_vm_load(st->vm, s->path);
		if (err)
			tell_error(st, error, size);
		if (st->vm && i > 0)
			st->vm->journal = NULL;
		sh_shared_journal_destroy(own);
	}
	if (!err) {
		err = sh_vm_call(ev.state->vm, check_globals, &g->globals, ev.state->vm->load_max);
		if (err)
			tell_error(ev.state, error, size);
		else
			warn_of_names(ev.state);
	}
	if (ev.state->vm)
		ev.state->vm->globals = NULL;
	sh_globals_finish(&g->globals);
	if (!err)
		err = sh_source_seal(g->source);
	if (err)
		return err;
	if (ev.state->hooks[SH_HOOK_LOAD] != LUA_NOREF) {
		err = sh_vm_call(ev.state->vm, run_load_hook, &ev, ev.state->vm->load_max);
		if (err)
			tell_error(ev.state, error, size);
	}
	ev.state->vm->journal = NULL;
	return err;
}

static int load(struct sh_generation **out, struct sh_script *s, struct sh_source *source, char *error, size_t size)
{
	unsigned n = s->config.workers;
	struct sh_generation *g = sh_calloc(1, sizeof(*g) + n * sizeof(g->states[0]));
	int err = -ENOMEM;

	if (size)
		error[0] = 0;
	if (g) {
		g->script = s;
		g->number = s->last_number + 1;
		g->loaded = s->config.world.wall(s->config.world.ctx);
		g->source = sh_source_ref(source);
		sh_arena_init(&g->arena, 1024);
		sh_globals_init(&g->globals);
		atomic_init(&g->users, n);
		err = source ? 0 : sh_source_create(&g->source, &s->config.world, s->path);
		if (!err)
			err = sh_shared_journal_create(&g->journal, s->config.shared);
		if (!err)
			err = load_states(g, n, error, size);
	}
	if (!err) {
		s->last_number++;
		*out = g;
		return 0;
	}
	if (size && !error[0])
		snprintf(error, size, "%s: %s", s->path, strerror(-err));
	sh_generation_destroy(g);
	return err == -ENOMEM ? err : -EINVAL;
}

int sh_generation_load(struct sh_generation **out, struct sh_script *s, char *error, size_t size)
{
	return load(out, s, NULL, error, size);
}

int sh_generation_load_before(struct sh_generation **out, struct sh_script *s, char *error, size_t size)
{
	const struct sh_generation *now = sh_script_current(s);

	if (now && now->source->before)
		return load(out, s, now->source->before, error, size);
	if (size)
		snprintf(error, size, "%s: there is no generation before this one", s->path);
	return -EINVAL;
}

void sh_generation_destroy(struct sh_generation *g)
{
	if (!g)
		return;
	for (unsigned i = 0; i < g->nstates; i++) {
		sh_deferred_drop_state(&g->states[i]);
		sh_verb_forget(&g->states[i]);
		sh_vm_destroy(g->states[i].vm);
		sh_shared_journal_destroy(g->states[i].watch);
	}
	sh_shared_journal_destroy(g->journal);
	for (unsigned i = 0; i < g->nlistens; i++)
		if (g->listens[i].tls)
			sh_tls_unref(g->listens[i].tls->tls);
	for (unsigned i = 0; i < g->ntrunks; i++)
		sh_trunk_status_unref(g->trunks[i].status);
	sh_source_unref(g->source);
	sh_globals_finish(&g->globals);
	sh_arena_finish(&g->arena);
	sh_free(g);
}

/* Left out by mistake, perhaps: nothing else would tell. */
static void warn_of_lost_hooks(struct sh_script *s, const struct sh_generation *old, const struct sh_generation *g)
{
	for (unsigned i = 0; i < SH_HOOK_COUNT; i++)
		if (old->states[0].hooks[i] != LUA_NOREF && g->states[0].hooks[i] == LUA_NOREF)
			sh_warn(s->config.log, "generation %llu has no %s hook any more, as generation %llu had",
				(unsigned long long)g->number, sh_hook_names[i], (unsigned long long)old->number);
}

unsigned sh_script_publish(struct sh_script *s, struct sh_generation *g)
{
	struct sh_generation *old = atomic_load(&s->current);
	size_t lost = sh_shared_journal_commit(g->journal, s->config.world.now(s->config.world.ctx));

	if (lost)
		sh_warn(s->config.log, "generation %llu: %zu writes to shared stores did not fit",
			(unsigned long long)g->number, lost);
	if (old) { /* its workers give it back one by one */
		warn_of_lost_hooks(s, old, g);
		sh_source_follow(g->source, old->source);
		old->next = g;
	}
	sh_generation_place(g);
	atomic_fetch_add(&s->alive, 1);
	atomic_store_explicit(&s->current, g, memory_order_release);
	return atomic_load(&s->alive);
}
