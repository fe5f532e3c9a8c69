/* What the files of the engine share. Private to engine/. */
#ifndef SH_ENGINE_IMPL_H
#define SH_ENGINE_IMPL_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "b2bua/request.h"
#include "b2bua/trunk.h"
#include "core/alloc.h"
#include "drivers/net/net.h"
#include "engine/engine.h"
#include "engine/files.h"
#include "core/json.h"
#include "registrar/register.h"
#include "script/script.h"
#include "script/shared.h"

enum { SH_ENGINE_MAX_WORKERS = 64, SH_ENGINE_MAX_GENERATIONS = 4 }; /* and one by a rollback */

struct sh_worker {
	struct sh_engine *engine;
	unsigned index;
	struct sh_env *env;
	struct sh_ua *ua;
	struct sh_runtime *runtime;
	struct sh_timer expire; /* worker 0: due bindings */
	struct sh_timer drain;  /* when it fires, what is left is hung up */
	pthread_t thread;
	bool has_thread;
	_Atomic bool idle;      /* draining, and nothing is left */
};

/* Certificates alone, or with them the script: what is on the disk, or the text before the one that is in use. */
enum sh_reload_kind { SH_RELOAD_TLS, SH_RELOAD_SCRIPT, SH_RELOAD_BEFORE };

/* Somebody who waits for the outcome of a reload. */
struct sh_reload_waiter {
	struct sh_reload_waiter *next;
	enum sh_reload_kind kind;
	sh_engine_reload_fn done;
	void *ctx;
};

enum sh_engine_state { SH_ENGINE_STOPPED, SH_ENGINE_RUNNING, SH_ENGINE_STOPPING };

struct sh_watch;
struct sh_recorder;
struct sh_handover;

/* The TLS of one configuration: where it comes from, what is in use, and what a reload has read. */
struct sh_engine_tls {
	char **certificates, **keys; /* NULL at the end; as many of one as of the other */
	unsigned ncertificates;
	char *ca;
	enum sh_tls_verify verify;
	struct sh_tls *tls;      /* NULL: not opened */
	struct sh_tls_set *next; /* from the loader to worker 0; NULL: the files say what they said before */
	struct sh_id128 texts, next_texts;
	/* of listeners of scripts: */
	struct sh_engine_tls *after; /* the next one in sh_engine.own_tls */
	bool wanted, fresh;          /* by the load that runs; made by it */
};

struct sh_engine {
	/* configuration, ours */
	char *script_path;
	char **listen;
	uint32_t session_expires; /* as in the configuration */
	int gather, gather_calls;
	char *dns; /* NULL: the machine's */
	bool default_listen; /* nobody has said where */
	char *data;                      /* folder of saved stores; NULL: none */
	char *handover_folder, *handover_secret; /* NULL: none */
	struct sh_handover *handover;    /* NULL: none, or not started */
	struct sh_timer keep;            /* worker 0: saves them */
	uint64_t keep_now, keep_wall;    /* when the save that runs was begun */
	unsigned nlisten, nworkers;
	bool watch_files;
	struct sh_pair *pairs;
	unsigned npairs;
	struct sh_engine_tls tls;      /* the instance's */
	struct sh_engine_tls *own_tls; /* of listeners of scripts; the loader's while it runs, else worker 0's */
	char **origins;
	unsigned norigins;
	struct sh_log log;
	void (*event)(void *ctx, const char *name, const char *json, size_t len);
	void *event_ctx;
	int (*listen_fd)(void *ctx, const char *uri);
	void *listen_fd_ctx;
	struct sh_engine_simulation simulation;
	sh_engine_selftest_fn selftest;

	_Atomic int state;
	bool threads;
	uint64_t started_at; /* wall clock, microseconds */
	struct sh_net *net; /* NULL in a simulation */
	struct sh_location *location;
	struct sh_auth *auth;
	struct sh_shared *shared;
	struct sh_script *script;
	struct sh_worker *workers;
	struct sh_ua **peers; /* by worker */
	struct sh_watch *watch;
	struct sh_recorder *recorder; /* of the calls; with the engine */
	_Atomic bool quit, parked, draining;
	_Atomic int64_t drain_ms; /* 0: no deadline */
	int64_t stop_ms; /* set before the workers hear of it */
	_Atomic unsigned parked_count;

	pthread_rwlock_t life; /* read by questions from outside, written by the end of what they look at */

	/* reload: lock guards the two lists and `loading` */
	pthread_mutex_t lock;
	struct sh_reload_waiter *waiting, *served; /* for the next load; for the one that runs */
	bool loading, again;
	enum sh_reload_kind kind;        /* of the load that runs */
	struct sh_timer retry;           /* worker 0: too many generations are alive */
	bool full;                       /* the same, and the log has been told */
	struct sh_generation *loaded;    /* from the loader to worker 0 */
	char load_error[512];
	_Atomic uint64_t generation, reloads, reload_failures;
};

/* engine.c */
struct sh_env *sh_engine_env(struct sh_engine *e, unsigned worker); /* also before the workers are there */
/* fn(env of the worker, arg) on that worker, at its next turn. [any] 0 or -EAGAIN, -ENOMEM. */
int sh_engine_call(struct sh_engine *e, unsigned worker, void (*fn)(struct sh_env *env, void *arg), void *arg);
void sh_worker_turn_end(void *ctx);

/* files.c */
void sh_engine_list_files(void *ctx, const char *dir, bool (*fn)(void *arg, const char *path), void *arg);
void sh_engine_world(struct sh_engine *e, struct sh_vm_world *w); /* the real clock (or the simulation's), getrandom and files */

/* load.c */
/* The next generation, loaded and verified: what start, reload and check have in common; before: of the text that the current one took
 * the place of. [loader] 0 or as sh_generation_load. */
int sh_engine_load(struct sh_engine *e, struct sh_generation **out, bool before, char *error, size_t size);
/* keep.c: shared stores on disk */
int sh_engine_keep_open(struct sh_engine *e, char *error, size_t size); /* before the first load */
void sh_engine_keep_start(struct sh_engine *e);
void sh_engine_keep_close(struct sh_engine *e); /* saves; when no script runs any more */

/* reload.c */
void sh_engine_retired(void *ctx, struct sh_generation *g);
void sh_engine_reload_drop(struct sh_engine *e); /* tells everybody who waits that nothing comes */
void sh_engine_retry(struct sh_timer *t);

/* watch.c: a thread with inotify */
int sh_watch_create(struct sh_watch **out, struct sh_engine *e);
void sh_watch_update(struct sh_watch *w, const struct sh_generation *g); /* the files of the newest generation; NULL is fine */
void sh_watch_destroy(struct sh_watch *w);

/* record.c */
int sh_recorder_create(struct sh_recorder **out, struct sh_engine *e);
void sh_recorder_destroy(struct sh_recorder *r); /* the workers have ended; NULL is fine */
int sh_recorder_put(struct sh_recorder *r, struct sh_json *j); /* the answer to query("record") */

/* handover_start.c: what is there of a process before goes over to this one. In this order: before anything is made; when the script is
 * loaded (the other one stops to read, until we run or fail); when the workers are open and listen; when the threads run. NULL of
 * e->handover_folder: nothing happens. 0 or -errno with words. */
int sh_handover_open(struct sh_engine *e, char *error, size_t size);
int sh_handover_take(struct sh_engine *e, char *error, size_t size);
int sh_handover_join(struct sh_engine *e, char *error, size_t size);
void sh_handover_ready(struct sh_engine *e); /* the listeners are open, the threads do not run yet */
int sh_handover_run(struct sh_engine *e, char *error, size_t size);
void sh_handover_stop(struct sh_engine *e); /* its thread; before the workers go */
void sh_handover_close(struct sh_engine *e);
/* handover.c, handover_state.c: what others have to know. [worker] */
void sh_handover_flow_closed(struct sh_handover *h, uint64_t flow);
void sh_handover_binding(struct sh_engine *e, struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event event);
bool sh_handover_succeeded(const struct sh_engine *e); /* another process has taken over */
bool sh_handover_inherits(const struct sh_engine *e);  /* there is one before us */
/* How it stands, as members of the status; nothing without a folder. */
struct sh_json;
void sh_handover_put_status(const struct sh_engine *e, struct sh_json *j);

/* events.c */
void sh_engine_tell_call(void *worker, struct sh_call *c, enum sh_call_event event, const struct sh_why *why);

/* metrics.c */
struct sh_json;
int sh_engine_put_status(struct sh_engine *e, struct sh_json *j);  /* the counters, as members of an object */
int sh_engine_put_metrics(struct sh_engine *e, struct sh_json *j); /* the same as Prometheus' text */

/* query.c */
/* At most so many, and so many bytes; then -E2BIG. */
int sh_engine_put_registrations(struct sh_engine *e, struct sh_json *j, size_t most, size_t bytes);
/* Runs fn on each worker and waits, at most a second. 0 or -ETIMEDOUT. */
int sh_engine_ask(struct sh_engine *e, void (*fn)(struct sh_worker *w, void *arg), void *arg);

/* tls.c */
int sh_engine_tls_copy(struct sh_engine_tls *t, const struct sh_engine_tls_config *c, char *error, size_t size);
void sh_engine_tls_finish(struct sh_engine_tls *t);
int sh_engine_tls_open(struct sh_engine *e, char *error, size_t size); /* the instance's */
void sh_engine_tls_close(struct sh_engine *e);                         /* all */
/* Read again and judged: the instance's, and with all those of listeners. Slow, on the loader's thread. 0 or -errno with words.
 * bind: those of a generation's listeners, which it gets. Then commit uses all of it, or drops it; script: a generation was
 * loaded, and what it does not want is of no use any more. */
int sh_engine_tls_prepare(struct sh_engine *e, bool all, char *error, size_t size);
int sh_engine_tls_bind(struct sh_engine *e, struct sh_generation *g, char *error, size_t size);
void sh_engine_tls_commit(struct sh_engine *e, bool use, bool script);

/* start.c */
/* "udp://127.0.0.1:5060", "tcp://[::1]:5060"; without a port the default one. 0, or -EINVAL with words. */
int sh_engine_parse_listen(const char *text, enum sh_proto *proto, struct sh_addr *addr, char *error, size_t size);
int sh_engine_open(struct sh_engine *e, char *error, size_t size);
void sh_engine_close(struct sh_engine *e);

#endif
