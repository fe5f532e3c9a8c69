/* An instance: the workers, what they share, the script's generations, start, reload and stop. module.c puts the host ABI
 * in front of it.
 *
 * Thread tags: [host] one thread at a time; [any] any thread, also while stop() runs; [worker] on a worker's thread. */
#ifndef SH_ENGINE_ENGINE_H
#define SH_ENGINE_ENGINE_H

#include "core/log.h"
#include "core/pair.h"
#include "core/slice.h"

#include <stdbool.h>

struct sh_engine;
struct sh_env;
struct sh_shared;
struct sh_trace;
struct sh_generation;
struct sh_vm_stamp;

/* TLS: paths of PEM files. */
struct sh_engine_tls_config {
	const char *const *certificates; /* each with what leads to its authority; the first is the default */
	unsigned ncertificates;          /* at most 64 */
	const char *const *keys;         /* in the same order */
	unsigned nkeys;                  /* 0: they stand in the files of the certificates */
	const char *ca;                  /* whom we trust; NULL: whom the system trusts */
	int verify;                      /* enum sh_tls_verify */
	const char *const *origins;      /* whose pages may connect by WebSocket */
	unsigned norigins;               /* 0: all */
};

/* The functions that a script gave to sip.selftest, and where it is read: trial/ runs them. 0, or -EINVAL with words. Lines about a
 * failure go to the log. */
struct sh_engine_selftest {
	const char *script;
	const struct sh_pair *config;
	unsigned nconfig;
	int (*read)(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp);
	void *read_ctx;
	struct sh_log *log;
};
typedef int (*sh_engine_selftest_fn)(const struct sh_engine_selftest *t, char *error, size_t size);

/* Everything is copied by create. */
struct sh_engine_config {
	const char *script;                  /* path of the main script */
	const char *const *listen;           /* "udp://127.0.0.1:5060", "tls://[::1]:5061", also tcp, ws, wss */
	unsigned nlisten;                    /* 0: those of the script (sip.listen), else udp://0.0.0.0:5060 and tcp://0.0.0.0:5060 */
	unsigned workers;                    /* 0 = 1; at most 64 */
	struct sh_engine_tls_config tls;
	bool watch;                          /* reload when a file of the script changes (inotify) */
	uint32_t session_expires;            /* seconds, RFC 4028: what calls ask for; 0: 1800, UINT32_MAX: nothing */
	int gather;                          /* longest wait for more datagrams under load, microseconds; 0: the driver's, -1: none */
	int gather_calls;                    /* the same, while calls come in */
	const char *dns;                     /* name servers, "127.0.0.1:5353,[::1]"; NULL: those of the machine */
	const char *data;                    /* folder of the shared stores that are saved; NULL: none is */
	const char *handover;                /* folder in which consecutive processes find each other; NULL: none */
	const char *handover_secret;         /* what those of them know that may; NULL: all of the same user may */
	const struct sh_pair *config;        /* sip.config of the scripts */
	unsigned nconfig;
	/* [worker] Calls as they come and go: name "call.new", "call.answer", "call.end", and an object as JSON text. NULL: nobody
	 * listens, and nothing is written. */
	void (*event)(void *ctx, const char *name, const char *json, size_t len);
	void *event_ctx;
	/* [host] While it starts: a bound datagram or listening stream socket for that URI of `listen`, or -1. It stays the caller's.
	 * NULL: there are none. */
	int (*listen_fd)(void *ctx, const char *uri);
	void *listen_fd_ctx;
	sh_engine_selftest_fn selftest;      /* before a generation is used; NULL: sip.selftest has no effect */
	enum sh_log_level log_level;
	sh_log_fn log;
	void *log_ctx;
	/* A simulation gives the workers' environments and drives them; start(threads = false) then, with any number of workers. Scripts
	 * read the clock of the first one, and ordered tables. All of `simulation` is absent otherwise. */
	struct sh_engine_simulation {
		struct sh_env *const *envs; /* one per worker, until the engine is destroyed */
		int (*prepare)(void *ctx, struct sh_shared *shared); /* before the first load; 0 or -errno. May be NULL */
		void (*trace)(void *ctx, const struct sh_trace *t);  /* what scripts do; may be NULL */
		/* Where scripts are read, as in struct sh_vm_world; NULL: files. Context: read_ctx. */
		int (*read)(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp);
		void *read_ctx;
		bool credulous; /* passwords are not looked at: for replays of calls */
		void *ctx;
	} simulation;
};

/* [host] 0, -ENOMEM or -EINVAL; `error` (at least 512 bytes, may be NULL) says what was wrong. */
int sh_engine_create(struct sh_engine **out, const struct sh_engine_config *config, char *error, size_t size);
void sh_engine_destroy(struct sh_engine *e); /* [host] stops without a deadline first; NULL is fine */

/* [host] Loads the script, opens the sockets, starts the threads (threads = false: none, exactly one worker). 0 or
 * -errno with words in `error`: "udp://127.0.0.1:5060: Address already in use", "office.lua:12: ...". After a
 * failure everything is closed again and start may be tried once more. */
int sh_engine_start(struct sh_engine *e, bool threads, char *error, size_t size);

/* [host] Without threads: what the host polls, and what it then calls. next_ms: milliseconds to the next timer or -1. */
int sh_engine_fd(struct sh_engine *e);
int sh_engine_process(struct sh_engine *e, int64_t *next_ms);

/* [any] Verified reload, asynchronous; requests that come meanwhile are coalesced. done is called once, on a worker:
 * generation > 0, or 0 and "file:line: reason". 0, -ENOMEM, -EPERM (not started, stopping). */
typedef void (*sh_engine_reload_fn)(void *ctx, uint64_t generation, const char *error);
int sh_engine_reload(struct sh_engine *e, sh_engine_reload_fn done, void *ctx);
/* [any] Certificates, keys and authorities alone; generation > 0 is then that of the script, which goes on. */
int sh_engine_reload_tls(struct sh_engine *e, sh_engine_reload_fn done, void *ctx);
/* [any] The same, but of the text that the present generation took the place of, as it was read then. */
int sh_engine_rollback(struct sh_engine *e, sh_engine_reload_fn done, void *ctx);

/* What is not over yet, in words: calls, legs, requests, transactions; false: nothing. Without threads only. */
bool sh_engine_busy(struct sh_engine *e, char *text, size_t size);
/* From now on nothing begins by itself: the trunks are let go, and what scripts do again and again is not done any more. Without
 * threads only. */
void sh_engine_quiet(struct sh_engine *e);

/* The generation in use, until the next reload. Without threads only. */
struct sh_generation *sh_engine_generation(const struct sh_engine *e);

/* [any] "status", "calls", "registrations": JSON text; "metrics": Prometheus' text format. Threads: waits (at most a second) for the workers to answer. -EINVAL:
 * no such thing; -ETIMEDOUT. Not from a worker's callback. Without threads: on the host's thread only. */
typedef void (*sh_engine_text_fn)(void *ctx, const char *text, size_t len);
int sh_engine_query(struct sh_engine *e, const char *what, sh_engine_text_fn fn, void *ctx);

/* [any] Records the next call whose INVITE comes from outside and contains `filter` (empty: any): all its messages on all its legs.
 * 0, -EBUSY (a record is being made), -ENOMEM, -ETIMEDOUT. The same rules as query. query("record") says how it stands:
 * {"state":"none"|"waiting"|"running"} or, once, {"state":"done","record":{...}}. */
int sh_engine_record(struct sh_engine *e, const char *filter);
/* [any] Forgets it, whatever its state. */
int sh_engine_record_stop(struct sh_engine *e);

/* [any] Ends a call by its id; 0, -ENOENT, -ETIMEDOUT. The same rules as query. */
int sh_engine_hangup(struct sh_engine *e, const char *id);

/* [any] No new calls and requests (503 with Retry-After), no new connections; calls that are up go on, at the longest for deadline_ms
 * (0: without end), then they are hung up. Returns at once; "draining" and "calls" of the status tell how far it is. It cannot be
 * taken back. Without threads: on the host's thread only. 0, -EPERM, -EAGAIN, -ENOMEM. */
int sh_engine_drain(struct sh_engine *e, int64_t deadline_ms);

/* [host] No new calls (503), the live ones are ended with BYE, CANCEL or 480; returns when all are gone or the deadline is over, with
 * everything closed and the threads joined. Idempotent. */
int sh_engine_stop(struct sh_engine *e, int64_t deadline_ms);

/* [any] For an exit handler: stops the worker threads where they are, at once, without touching anything else. */
void sh_engine_park(struct sh_engine *e);

/* Loads and verifies a script without opening anything (`siphook check`). 0, or -EINVAL with "file:line: reason". */
int sh_engine_check(const struct sh_engine_config *config, char *error, size_t size);

#endif
