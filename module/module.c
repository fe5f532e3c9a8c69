/* The host ABI in front of the engine: the one exported symbol, the table behind it, the life cycle of instances and
 * what a guest owes the process at fork() and exit(). */
#include "guard.h"
#include "options.h"
#include "siphook.h"
#include "core/alloc.h"
#include "core/log.h"
#include "core/slice.h"
#include "engine/engine.h"
#include "msg/digest.h"
#include "ops/control.h"
#include "trial/trial.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <openssl/crypto.h>

enum { ERROR_MAX = 1024 };

/*            start            stop
 *   CREATED ------> RUNNING ------> STOPPED        exit(): any of them -> PARKED, in which nothing does anything */
enum state { CREATED, RUNNING, STOPPED, PARKED };

struct siphook {
	struct sh_engine *engine;
	_Atomic(struct sh_control *) control; /* taken out by stop or by the exit handler, whoever is first */
	struct siphook_host host;
	struct sh_log log;
	char *control_path;
	bool succeeds; /* another process */
	pid_t pid; /* of the process that created it */
	_Atomic int state;
	enum siphook_mode mode;
	int epoll; /* DRIVEN with a control socket: both descriptors behind one; else -1 */
	char error[ERROR_MAX];
};

/* The only variables of the process. The exit handler must find the instances; slots instead of a list under a lock,
 * because a fork may happen while another thread holds a lock. Whoever takes an instance out of its slot owns it. */
static _Atomic(struct siphook *) live[SIPHOOK_INSTANCES];
static _Atomic(struct siphook *) parked[SIPHOOK_INSTANCES]; /* by the exit handler; kept in sight of leak checkers */
static char create_error[ERROR_MAX];
static char prepare_error[ERROR_MAX];
static int prepare_result;
static pthread_once_t prepare_once = PTHREAD_ONCE_INIT;

/* ---------------------------------------------------------------- the process */

/* A host that calls exit() with calls up: OpenSSL's own exit handler frees what the workers are using. This one is
 * registered after OpenSSL's, so that it runs before it. */
static void on_exit_park(void)
{
	for (int i = 0; i < SIPHOOK_INSTANCES; i++) {
		struct siphook *s = atomic_exchange(&live[i], NULL);
		struct sh_control *control;
		int before;

		if (!s || s->pid != getpid())
			continue;
		atomic_store(&parked[i], s);
		before = atomic_exchange(&s->state, PARKED);
		control = atomic_exchange(&s->control, NULL);
		if (control)
			sh_control_park(control);
		if (before == RUNNING || before == CREATED) /* CREATED: another thread may be in start() */
			sh_engine_park(s->engine);
	}
}

static void prepare(void)
{
	prepare_result = sh_guard_check(prepare_error, sizeof(prepare_error));
	if (prepare_result < 0)
		return;
	/* Some harmless option, since with none at all the function returns without having done anything: OpenSSL
	 * registers its exit handler here, and the host's choice of a configuration stays open. */
	if (!OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, NULL)) {
		snprintf(prepare_error, sizeof(prepare_error), "OpenSSL cannot be initialised");
		prepare_result = -ENOTSUP;
	} else if (atexit(on_exit_park) != 0) {
		snprintf(prepare_error, sizeof(prepare_error), "out of memory");
		prepare_result = -ENOMEM;
	}
}

static int prepare_process(void)
{
	pthread_once(&prepare_once, prepare);
	if (prepare_result < 0)
		snprintf(create_error, sizeof(create_error), "%s", prepare_error);
	return prepare_result;
}

/* ---------------------------------------------------------------- to the host */

static void log_line(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	struct siphook *s = ctx;

	s->host.log(s->host.ctx, (enum siphook_level)level, line, len);
}

static void tell_generation(void *ctx, uint64_t generation)
{
	struct siphook *s = ctx;

	if (s->host.metric)
		s->host.metric(s->host.ctx, "script.generation", (int64_t)generation);
}

static void tell_event(void *ctx, const char *name, const char *json, size_t len)
{
	struct siphook *s = ctx;

	s->host.event(s->host.ctx, name, json, len);
}

static void tell_stop_wanted(void *ctx)
{
	struct siphook *s = ctx;

	s->host.stop_wanted(s->host.ctx);
}

/* ---------------------------------------------------------------- selftests of scripts */

static void log_details(void *ctx, const char *text)
{
	struct sh_slice rest = sh_slice_cstr(text), line;

	while (rest.len) {
		sh_slice_cut(rest, '\n', &line, &rest);
		sh_error(ctx, "    %.*s", SH_FMT(line));
	}
}

static int run_selftests(const struct sh_engine_selftest *t, char *error, size_t size)
{
	struct sh_trial_selftest trial = {.script = t->script,
					  .config = t->config,
					  .nconfig = t->nconfig,
					  .read = t->read,
					  .read_ctx = t->read_ctx,
					  .details = log_details,
					  .ctx = t->log};

	return sh_trial_selftest(&trial, error, size);
}

/* ---------------------------------------------------------------- life */

static int check_host(const struct siphook_host *host)
{
	if (!host || host->size < offsetof(struct siphook_host, ctx)) {
		snprintf(create_error, sizeof(create_error), "no struct siphook_host, or its size is not set");
		return -EINVAL;
	}
	if (host->abi >> 16 != SIPHOOK_ABI_MAJOR) {
		snprintf(create_error, sizeof(create_error), "the host speaks ABI %u.%u, this is %d.%d",
			 (unsigned)(host->abi >> 16), (unsigned)(host->abi & 0xffff), SIPHOOK_ABI_MAJOR,
			 SIPHOOK_ABI_MINOR);
		return -EINVAL;
	}
	return 0;
}

static int take_slot(struct siphook *s)
{
	for (int i = 0; i < SIPHOOK_INSTANCES; i++) {
		struct siphook *none = NULL;

		if (atomic_compare_exchange_strong(&live[i], &none, s))
			return 0;
	}
	snprintf(create_error, sizeof(create_error), "more than %d instances", SIPHOOK_INSTANCES);
	return -EAGAIN;
}

/* False: the exit handler has it. */
static bool give_slot_back(struct siphook *s)
{
	for (int i = 0; i < SIPHOOK_INSTANCES; i++) {
		struct siphook *self = s;

		if (atomic_compare_exchange_strong(&live[i], &self, NULL))
			return true;
	}
	return false;
}

static int make_instance(struct siphook **out, const struct siphook_host *host, struct sh_options *o)
{
	struct siphook *s = sh_calloc(1, sizeof(*s));
	int err = -ENOMEM;

	if (!s)
		goto failed;
	s->pid = getpid();
	s->epoll = -1;
	memcpy(&s->host, host, host->size < sizeof(s->host) ? host->size : sizeof(s->host));
	atomic_init(&s->state, CREATED);
	atomic_init(&s->control, NULL);
	sh_log_init(&s->log, o->engine.log_level, s->host.log ? log_line : NULL, s);
	if (o->control) {
		s->control_path = sh_strndup(o->control, strlen(o->control));
		if (!s->control_path)
			goto failed;
	}
	s->succeeds = o->engine.handover != NULL;
	o->engine.log = s->log.sink;
	o->engine.log_ctx = s;
	o->engine.event = s->host.event ? tell_event : NULL;
	o->engine.event_ctx = s;
	o->engine.listen_fd = s->host.listen_fd;
	o->engine.listen_fd_ctx = s->host.ctx;
	o->engine.selftest = run_selftests;
	create_error[0] = '\0';
	err = sh_engine_create(&s->engine, &o->engine, create_error, sizeof(create_error));
	if (err < 0)
		goto failed;
	err = take_slot(s);
	if (err < 0)
		goto failed;
	*out = s;
	return 0;
failed:
	if (!create_error[0])
		snprintf(create_error, sizeof(create_error), "%s", strerrordesc_np(-err));
	if (s) {
		sh_engine_destroy(s->engine);
		sh_free(s->control_path);
		sh_free(s);
	}
	return err;
}

static int api_create(struct siphook **out, const struct siphook_host *host, const struct siphook_option *options,
		      size_t count)
{
	struct sh_options o;
	int err;

	create_error[0] = '\0';
	if (!out) {
		snprintf(create_error, sizeof(create_error), "create needs a place for the instance");
		return -EINVAL;
	}
	err = check_host(host);
	if (err < 0)
		return err;
	err = prepare_process();
	if (err < 0)
		return err;
	err = sh_options_init(&o, options, count, create_error, sizeof(create_error));
	if (err < 0)
		return err;
	err = make_instance(out, host, &o);
	sh_options_finish(&o);
	return err;
}

/* 0 when the instance is this process's and in the state that is wanted. */
static int in_state(const struct siphook *s, enum state wanted)
{
	enum state state;

	if (!s)
		return -EINVAL;
	if (s->pid != getpid())
		return -EPERM;
	state = (enum state)atomic_load(&s->state);
	if (state == wanted)
		return 0;
	if (state == RUNNING)
		return -EALREADY;
	return state == CREATED ? -EINVAL : -ESHUTDOWN;
}

/* The same with words for last_error(). In a fork child the instance is not written to: its memory is shared by copy.
 */
static int in_state_or_words(struct siphook *s, enum state wanted)
{
	int err = in_state(s, wanted);

	if (err == -EALREADY)
		snprintf(s->error, sizeof(s->error), "the instance is running already");
	else if (err == -ESHUTDOWN)
		snprintf(s->error, sizeof(s->error), "the instance was stopped");
	else if (err == -EINVAL && s)
		snprintf(s->error, sizeof(s->error), "the instance is not running");
	return err;
}

static int fail(struct siphook *s, int err)
{
	if (err < 0 && !s->error[0])
		snprintf(s->error, sizeof(s->error), "%s", strerrordesc_np(-err));
	return err;
}

static void drop_control(struct siphook *s)
{
	sh_control_destroy(atomic_exchange(&s->control, NULL));
	if (s->epoll >= 0)
		close(s->epoll);
	s->epoll = -1;
}

static int open_control(struct siphook *s)
{
	struct sh_control_config config = {
	    .path = s->control_path,
	    .succeed = s->succeeds,
	    .engine = s->engine,
	    .log = &s->log,
	    .thread = s->mode == SIPHOOK_THREADS,
	    .stop_wanted = s->host.stop_wanted ? tell_stop_wanted : NULL,
	    .reloaded = tell_generation,
	    .ctx = s,
	};
	struct sh_control *control;
	int err = sh_control_create(&control, &config, s->error, sizeof(s->error));

	if (err == 0)
		atomic_store(&s->control, control);
	return err;
}

/* The host polls one descriptor: an epoll that holds the engine's and the control socket's. */
static int join_descriptors(struct siphook *s)
{
	struct epoll_event event = {.events = EPOLLIN};

	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, sh_engine_fd(s->engine), &event) < 0 ||
	    epoll_ctl(s->epoll, EPOLL_CTL_ADD, sh_control_fd(atomic_load(&s->control)), &event) < 0)
		return -errno;
	return 0;
}

static int api_start(struct siphook *s, enum siphook_mode mode)
{
	struct sh_control *control;
	int err = in_state_or_words(s, CREATED), created = CREATED;

	if (err < 0)
		return err;
	s->error[0] = '\0';
	if (mode != SIPHOOK_THREADS && mode != SIPHOOK_DRIVEN) {
		snprintf(s->error, sizeof(s->error), "no such mode: %d", (int)mode);
		return -EINVAL;
	}
	s->mode = mode;
	/* The control socket's path is taken first, since a running engine should not have to be stopped for it. */
	err = s->control_path && !s->succeeds ? open_control(s) : 0;
	if (err < 0)
		return fail(s, err);
	err = sh_engine_start(s->engine, mode == SIPHOOK_THREADS, s->error, sizeof(s->error));
	if (err < 0) {
		drop_control(s);
		return fail(s, err);
	}
	/* But that of another process only when there is nothing that could still fail: and no more is it worth to fail for. */
	if (s->control_path && s->succeeds && open_control(s) < 0)
		sh_warn(&s->log, "%s", s->error);
	if (mode == SIPHOOK_DRIVEN && atomic_load(&s->control)) {
		err = join_descriptors(s);
		if (err < 0) {
			sh_engine_stop(s->engine, 0);
			drop_control(s);
			return fail(s, err);
		}
	}
	if (!atomic_compare_exchange_strong(&s->state, &created, RUNNING))
		return -ESHUTDOWN; /* exit() on another thread meanwhile */
	control = atomic_load(&s->control);
	if (control)
		sh_control_serve(control);
	tell_generation(s, 1);
	return 0;
}

static int api_fd(struct siphook *s)
{
	int err = in_state_or_words(s, RUNNING);

	if (err < 0)
		return err;
	if (s->mode != SIPHOOK_DRIVEN) {
		snprintf(s->error, sizeof(s->error), "the instance runs its own threads; there is nothing to poll");
		return -ENOTSUP;
	}
	return s->epoll >= 0 ? s->epoll : sh_engine_fd(s->engine);
}

static int api_process(struct siphook *s, int64_t *next_ms)
{
	struct sh_control *control;
	int64_t ignored;
	int err = api_fd(s);

	if (err < 0)
		return err;
	s->error[0] = '\0';
	err = sh_engine_process(s->engine, next_ms ? next_ms : &ignored);
	control = atomic_load(&s->control);
	if (control)
		sh_control_process(control);
	return fail(s, err < 0 ? err : 0);
}

/* The engine's "no" while another thread stops it; -EPERM is kept for fork children. */
static int running(int err)
{
	return err == -EPERM ? -ESHUTDOWN : err;
}

struct reload {
	struct siphook *instance;
	siphook_reload_fn fn;
	void *ctx;
};

static void on_reloaded(void *ctx, uint64_t generation, const char *error)
{
	struct reload *r = ctx;

	if (generation > 0)
		tell_generation(r->instance, generation);
	if (r->fn)
		r->fn(r->ctx, generation, error);
	sh_free(r);
}

static int start_reload(struct siphook *s, siphook_reload_fn fn, void *ctx,
			int (*start)(struct sh_engine *e, sh_engine_reload_fn done, void *ctx))
{
	int err = in_state(s, RUNNING);
	struct reload *r;

	if (err < 0)
		return err;
	r = sh_malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct reload){s, fn, ctx};
	err = start(s->engine, on_reloaded, r);
	if (err < 0)
		sh_free(r);
	return running(err);
}

static int api_reload(struct siphook *s, siphook_reload_fn fn, void *ctx)
{
	return start_reload(s, fn, ctx, sh_engine_reload);
}

static int api_rollback(struct siphook *s, siphook_reload_fn fn, void *ctx)
{
	return start_reload(s, fn, ctx, sh_engine_rollback);
}

static int api_query(struct siphook *s, const char *what, siphook_text_fn fn, void *ctx)
{
	int err = in_state(s, RUNNING);

	if (err < 0)
		return err;
	return what && fn ? running(sh_engine_query(s->engine, what, fn, ctx)) : -EINVAL;
}

static int api_hangup(struct siphook *s, const char *id)
{
	int err = in_state(s, RUNNING);

	if (err < 0)
		return err;
	return id ? running(sh_engine_hangup(s->engine, id)) : -EINVAL;
}

static int api_drain(struct siphook *s, int64_t deadline_ms)
{
	int err = in_state(s, RUNNING);

	if (err < 0)
		return err;
	return deadline_ms >= 0 ? running(sh_engine_drain(s->engine, deadline_ms)) : -EINVAL;
}

static int api_stop(struct siphook *s, int64_t deadline_ms)
{
	int err, running = RUNNING;

	if (!s)
		return -EINVAL;
	if (s->pid != getpid())
		return -EPERM;
	if (atomic_load(&s->state) != RUNNING)
		return 0;
	s->error[0] = '\0';
	/* The control socket answers until the last call is gone. */
	err = sh_engine_stop(s->engine, deadline_ms > 0 ? deadline_ms : 0);
	if (!atomic_compare_exchange_strong(&s->state, &running, STOPPED))
		return 0;
	drop_control(s);
	return fail(s, err);
}

static void api_destroy(struct siphook *s)
{
	if (!s || s->pid != getpid())
		return;
	api_stop(s, 0);
	if (!give_slot_back(s))
		return; /* exit() has begun; the process ends with all that it holds */
	sh_engine_destroy(s->engine);
	sh_free(s->control_path);
	sh_free(s);
}

static int api_check(const struct siphook_option *options, size_t count)
{
	struct sh_options o;
	int err;

	create_error[0] = '\0';
	err = prepare_process();
	if (err < 0)
		return err;
	err = sh_options_init(&o, options, count, create_error, sizeof(create_error));
	if (err < 0)
		return err;
	o.engine.selftest = run_selftests;
	err = sh_engine_check(&o.engine, create_error, sizeof(create_error));
	if (!err)
		sh_trial_check(o.engine.script, o.engine.config, o.engine.nconfig, create_error, sizeof(create_error));
	sh_options_finish(&o);
	if (err < 0 && !create_error[0])
		snprintf(create_error, sizeof(create_error), "%s", strerrordesc_np(-err));
	return err;
}

static const char *api_last_error(struct siphook *s)
{
	if (!s)
		return create_error;
	return s->pid == getpid() ? s->error : "the instance belongs to the process that created it";
}

/* ---------------------------------------------------------------- tests of dial plans */

static void on_case(void *ctx, const struct sh_trial_case *c)
{
	const struct siphook_test *t = ctx;
	struct siphook_case out = {sizeof(out), c->line,    c->name,    c->failure,
				   c->details,  c->seconds, c->real_us, c->skipped};

	t->result(t->ctx, &out);
}

static void on_print(void *ctx, const char *text, size_t len)
{
	const struct siphook_test *t = ctx;

	t->print(t->ctx, text, len);
}

static int prepare_trial(char *error, size_t size)
{
	int err;

	pthread_once(&prepare_once, prepare);
	if (prepare_result < 0) {
		snprintf(error, size, "%s", prepare_error);
		return prepare_result;
	}
	err = sh_digest_init();
	if (err)
		snprintf(error, size, "%s", strerrordesc_np(-err));
	return err;
}

static int api_test(const struct siphook_test *test, char *error, size_t size)
{
	struct siphook_test t = {0};
	struct sh_trial_options o;
	char scratch[1];
	int err;

	if (!error || !size) {
		error = scratch;
		size = sizeof(scratch);
	}
	if (test)
		memcpy(&t, test, test->size < sizeof(t) ? test->size : sizeof(t));
	if (!t.file || !(t.loss >= 0 && t.loss < 1)) {
		snprintf(error, size, "%s", t.file ? "loss: from 0 to less than 1" : "no test file is given");
		return -EINVAL;
	}
	err = prepare_trial(error, size);
	if (err)
		return err;
	o = (struct sh_trial_options){.file = t.file,
				      .filter = t.filter,
				      .seed = t.seed,
				      .loss = t.loss,
				      .part = t.part,
				      .parts = t.parts,
				      .result = t.result ? on_case : NULL,
				      .print = t.print ? on_print : NULL,
				      .ctx = &t};
	return sh_trial_run(&o, error, size);
}

static int api_replay(const struct siphook_replay *replay, char *error, size_t size)
{
	struct siphook_replay r = {0};
	struct sh_trial_replay o;
	struct siphook_option *options;
	struct sh_options parsed;
	char scratch[1];
	int err = prepare_trial(error ? error : scratch, error ? size : 1);

	if (!error || !size) {
		error = scratch;
		size = sizeof(scratch);
	}
	if (err)
		return err;
	if (replay)
		memcpy(&r, replay, replay->size < sizeof(r) ? replay->size : sizeof(r));
	if (!r.record || !r.print) {
		snprintf(error, size, "no record is given");
		return -EINVAL;
	}
	options = sh_calloc(r.config_count + 1, sizeof(*options));
	if (!options) {
		snprintf(error, size, "out of memory");
		return -ENOMEM;
	}
	if (r.config_count)
		memcpy(options, r.config, r.config_count * sizeof(*options));
	options[r.config_count] = (struct siphook_option){"script", r.script ? r.script : r.record};
	err = sh_options_init(&parsed, options, r.config_count + 1, error, size);
	if (err) {
		sh_free(options);
		return err;
	}
	o = (struct sh_trial_replay){.record = r.record,
				     .script = r.script,
				     .config = parsed.engine.config,
				     .nconfig = parsed.engine.nconfig,
				     .seed = r.seed,
				     .make_case = r.make_case != 0,
				     .print = r.print,
				     .ctx = r.ctx};
	err = sh_trial_replay(&o, error, size);
	sh_options_finish(&parsed);
	sh_free(options);
	return err;
}

static const struct siphook_api api = {
    .abi = SIPHOOK_ABI,
    .size = sizeof(api),
    .version = SIPHOOK_VERSION,
    .features = SIPHOOK_HAS_TEST | SIPHOOK_HAS_EVENTS | SIPHOOK_HAS_METRICS | SIPHOOK_HAS_DRAIN |
		SIPHOOK_HAS_INHERIT | SIPHOOK_HAS_HANDOVER,
    .create = api_create,
    .start = api_start,
    .fd = api_fd,
    .process = api_process,
    .reload = api_reload,
    .query = api_query,
    .hangup = api_hangup,
    .stop = api_stop,
    .destroy = api_destroy,
    .check = api_check,
    .last_error = api_last_error,
    .test = api_test,
    .drain = api_drain,
    .rollback = api_rollback,
    .replay = api_replay,
};

__attribute__((visibility("default"))) const struct siphook_api *siphook_entry(uint32_t host_abi);

const struct siphook_api *siphook_entry(uint32_t host_abi)
{
	return host_abi >> 16 == SIPHOOK_ABI_MAJOR ? &api : NULL;
}
