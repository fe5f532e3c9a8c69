/* Scripts: generations of the dial plan, and the part of each worker that runs their hooks.
 *
 *   sh_script       one per instance: what all workers and all generations share; the current generation
 *   sh_generation   one load of the script: a Lua state for every worker; immutable when published
 *   sh_runtime      one per worker: turns events of the user agent into runs of hooks
 *
 * A generation is loaded and verified on any thread, then published with one pointer. A worker takes it up at its next
 * event or when it is told (sh_runtime_update); runs in progress end in the generation in which they began, or
 * in its retirement. A state
 * whose worker has no run left in it is given back, and the last one to give back hands the generation to the
 * `retired` callback. */
#ifndef SH_SCRIPT_SCRIPT_H
#define SH_SCRIPT_SCRIPT_H

#include "b2bua/request.h"
#include "core/pair.h"
#include "script/vm.h"

struct sh_script;
struct sh_generation;
struct sh_runtime;

/* A verb that a script called, for whoever writes down what it decided. Texts are valid during the call. */
struct sh_trace {
	uint64_t at;          /* the worker's clock, microseconds */
	struct sh_slice verb; /* "call:fork", "sip.lookup" */
	struct sh_slice args; /* as the script would write them, cut where they are long */
	struct sh_slice file; /* of the script, and the line of the call; line 0: not known */
	int line;
	struct sh_slice call; /* id of the call whose hook it is; empty: none */
};
typedef void (*sh_trace_fn)(void *ctx, const struct sh_trace *t);

/* Limits of a worker's scripts; docs/lua.md lists them all. */
enum {
	SH_SCRIPT_HOOKS = 10000,   /* in progress, per generation; emergency calls may be a tenth more */
	SH_SCRIPT_TIMERS = 100000, /* pending */
	SH_SCRIPT_PAUSE = 200000,  /* instructions after which a hook lets others run */
};
#define SH_SCRIPT_DEADLINE (300 * SH_SECOND)

struct sh_script_config {
	const char *path;
	unsigned workers;
	struct sh_log *log;
	struct sh_location *location;
	struct sh_auth *auth;
	struct sh_shared *shared;
	const struct sh_hash_key *key;      /* of tables; copied */
	struct sh_vm_world world;           /* times and randomness while a script loads; the reader of files */
	const struct sh_pair *pairs; /* sip.config; copied */
	unsigned npairs;
	bool deterministic;
	struct sh_pool_stock *stock; /* for the memory of its states; NULL: none */
	unsigned hooks_max, timers_max; /* 0: SH_SCRIPT_HOOKS, SH_SCRIPT_TIMERS */
	uint64_t total_max; /* instructions of a hook in all; 0: 100 million */
	uint64_t deadline; /* microseconds that hooks of a former generation may go on; 0: SH_SCRIPT_DEADLINE */
	/* A generation has no runs left; called on the worker that gave it back last, or by sh_runtime_destroy() for older
	 * ones whose runs it drops. It is then the callee's, to be destroyed off the worker and before the script. */
	void (*retired)(void *ctx, struct sh_generation *g);
	void *ctx;
	sh_trace_fn trace; /* may be NULL: then it costs nothing */
	void *trace_ctx;
};

int sh_script_create(struct sh_script **out, const struct sh_script_config *config); /* copied but for the objects */
void sh_script_destroy(struct sh_script *s); /* after all runtimes; frees the current generation; NULL is fine */

/* Builds the next generation: reads the script's folder, compiles and runs the top level for each worker, looks for
 * globals that nobody defines, then runs the load hook on the first one. One thread at a time. 0, or -EINVAL with "file:line:
 * reason" in error, or -ENOMEM. */
int sh_generation_load(struct sh_generation **out, struct sh_script *s, char *error, size_t size);
/* The same of the text that the current one took the place of, as it was read then. */
int sh_generation_load_before(struct sh_generation **out, struct sh_script *s, char *error, size_t size);
/* Never published, or retired. */
void sh_generation_destroy(struct sh_generation *g);
uint64_t sh_generation_number(const struct sh_generation *g);
const char *sh_generation_hash(const struct sh_generation *g); /* of its text, 16 hex digits */
/* As sh_vm_world.read, of the text that it was made of; g is the generation. For another load of the same. */
int sh_generation_read(void *g, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp);
/* How many functions the script gave to sip.selftest. */
unsigned sh_generation_selftests(const struct sh_generation *g);
/* Calls fn(arg as light userdata, the i-th of these functions) in the state of worker 0, on its main thread and under a budget in
 * instructions. 0, or what sh_vm_call says and words. */
int sh_generation_selftest(struct sh_generation *g, unsigned i, lua_CFunction fn, void *arg, uint64_t budget, char *error,
			   size_t size);
/* The names of its hooks and of its sip.timer, at most `room` of them; they live as long as it. How many. */
unsigned sh_generation_hooks(const struct sh_generation *g, const char **names, unsigned room);
unsigned sh_generation_timers(struct sh_generation *g, const char **names, unsigned room);
/* Everything that a script can name: owner is "_G", "siphook", a part of it ("hooks" is sip.on, "log") or a class ("call"); name a
 * function or method, or one that may wait, or else a field; or owner is a verb ("call:bridge", "http.get") or a class of the stubs
 * ("siphook.login") and name an option of it. Some are told twice. 0 or what sh_vm_call says. */
enum sh_script_name { SH_NAME_FIELD, SH_NAME_FUNCTION, SH_NAME_WAITS, SH_NAME_OPTION };
typedef void (*sh_script_name_fn)(void *ctx, const char *owner, const char *name, enum sh_script_name kind);
int sh_generation_names(struct sh_generation *g, sh_script_name_fn fn, void *ctx);
/* The local domains that its script declared, in its order. */
const struct sh_slice *sh_generation_domains(const struct sh_generation *g, unsigned *count);
/* How many listeners it has declared. */
unsigned sh_generation_listens(const struct sh_generation *g);
/* The TLS of one of them, if it has one of its own; whoever has loaded the generation puts it in place. It lives as long as the
 * generation. */
struct sh_listen_tls {
	const char **certificates, **keys; /* files; as many of one as of the other */
	unsigned count;
	const char *ca; /* NULL: whom the system trusts */
	enum sh_tls_verify verify;
	struct sh_tls *tls; /* counted */
};
struct sh_listen_tls *sh_generation_listen_tls(struct sh_generation *g, unsigned index); /* NULL: the instance's */
bool sh_listen_tls_same(const struct sh_listen_tls *a, const struct sh_listen_tls *b);   /* the same files; NULL is fine */
/* The files that it was made of, for a watcher. */
const struct sh_vm_file *sh_generation_files(const struct sh_generation *g, size_t *count);

/* Makes it current, and does once what its top level wrote to shared stores. Then every worker is to be told. Returns
 * how many generations are alive. */
unsigned sh_script_publish(struct sh_script *s, struct sh_generation *g);
struct sh_generation *sh_script_current(const struct sh_script *s);
unsigned sh_script_alive(const struct sh_script *s);
struct sh_metrics *sh_script_metrics(const struct sh_script *s); /* what scripts publish: script/metric.h */

/* On the worker's thread from here on. */
int sh_runtime_create(struct sh_runtime **out, struct sh_script *s, struct sh_env *env);
extern const struct sh_app sh_runtime_app; /* its context is the runtime */
void sh_runtime_attach(struct sh_runtime *rt, struct sh_ua *ua);
void sh_runtime_update(struct sh_runtime *rt); /* takes up the current generation */
/* For the listeners of scripts that are tls or wss; it outlives the runtime. */
void sh_runtime_set_tls(struct sh_runtime *rt, struct sh_tls *tls);
/* Opens and tunes the listeners that it declares: 0, or -errno and words for the first that cannot be; the others that cannot
 * are lines in the log, and without `error` that one too. From then on those of every generation are opened when it is taken up. */
int sh_runtime_listen(struct sh_runtime *rt, char *error, size_t size);
void sh_runtime_destroy(struct sh_runtime *rt);        /* drops all runs; before the user agent; NULL is fine */
/* For sh_location_create: the store's events become runs of the hook `binding`, on the runtime that is the `by` of the
 * change; ctx is not used. */
void sh_runtime_on_binding(void *ctx, void *by, struct sh_slice aor, const struct sh_contact *c,
			   enum sh_binding_event event);
/* A binding that another process has had: it is kept in reach from here, if it is to be. */
void sh_runtime_keep(struct sh_runtime *rt, struct sh_slice aor, const struct sh_contact *c);
void sh_runtime_succeeded(struct sh_runtime *rt); /* what is periodic (sip.every) ends here: another process does it */
/* For who records calls: what the hooks of a call learn from outside. All are called on the worker's thread, and must not call back. */
struct sh_http_request;
struct sh_http_response;
struct sh_shared_at;
struct sh_script_observer {
	/* A request leaves for a web server. 0: its answer is of no interest; or what `answered` is told it by (r is valid during the call;
	 * NULL: the hook waits for it no longer). */
	uint64_t (*asks)(void *ctx, const struct sh_call *c, const struct sh_http_request *rq);
	void (*answered)(void *ctx, uint64_t ask, const struct sh_http_response *r);
	/* A key of a shared store is about to be used. reads: what it holds now has a part in what the script gets. */
	void (*uses)(void *ctx, const struct sh_call *c, const struct sh_shared_at *at, struct sh_slice key, bool reads);
	void *ctx;
};
/* The structure stays the caller's; NULL: nobody. 0, or -ENOMEM: some uses of stores are not told. */
int sh_runtime_observe(struct sh_runtime *rt, const struct sh_script_observer *observer);
uint64_t sh_runtime_runs(const struct sh_runtime *rt); /* hooks in progress */

/* What a worker's scripts ran into since the start. */
struct sh_script_stats {
	uint64_t errors;         /* hooks that an error has ended */
	uint64_t too_long;       /* of them: too many instructions without a wait */
	uint64_t memory;         /* of them: the memory of the state was used up */
	uint64_t refused_hooks;  /* not begun: too many of them in progress */
	uint64_t refused_timers; /* not set: too many of them pending */
	uint64_t pauses;         /* hooks that others were let in front of */
	uint64_t outputs;        /* messages and header fields of scripts that were too long to be sent */
	uint64_t retired;        /* hooks of a former generation that were told to go */
	struct sh_vm_counts vm;
};
const struct sh_script_stats *sh_runtime_stats(const struct sh_runtime *rt);

/* What a worker has of a generation. */
struct sh_generation_state {
	uint64_t number;
	const char *hash;  /* of its text */
	uint64_t loaded;   /* wall clock, microseconds */
	bool current;
	unsigned hooks;    /* in progress */
	unsigned calls;    /* that these hooks are for */
};
void sh_runtime_each_generation(const struct sh_runtime *rt,
				void (*fn)(void *ctx, const struct sh_generation_state *g), void *ctx);

#endif
