/* siphook: the one public header. A host loads siphook.so with dlopen (RTLD_NOW | RTLD_LOCAL), asks dlsym for
 * "siphook_entry" and gets a table of functions. Nothing else is exported.
 *
 * Rules of this ABI
 *  - abi is (major << 16) | minor. A major that the module does not know gives NULL. Structures only grow at their end;
 * each side reads no more than `size` bytes of the other's, and a member that lies beyond, or is NULL, is absent.
 *  - Functions return 0 or a negative errno. What went wrong in words: last_error().
 *  - Strings are UTF-8, end with NUL, and are copied by whoever wants to keep them.
 *  - Thread tags: [any] any thread; [host] one thread of the host at a time, the same for one instance; [worker] called
 *    by the module on one of its own threads (or, in SIPHOOK_DRIVEN mode, inside process()).
 *  - A table of `size` bytes: a host compiled with a later header looks at api->size before it uses a later member.
 *  - An instance belongs to the process that created it. In a fork child destroy() does nothing and everything else
 * answers -EPERM.
 *  - The life of an instance: create, start, stop, destroy. start() after a failed start() may be tried again; start()
 * of a running instance is -EALREADY, of a stopped one -ESHUTDOWN; what needs a running instance is -EINVAL before
 * start and -ESHUTDOWN after stop.
 *  - At most SIPHOOK_INSTANCES instances live at once in a process.
 *  - The object is never unloaded (it is linked with -z nodelete); dlclose has no effect. */
#ifndef SIPHOOK_H
#define SIPHOOK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SIPHOOK_ABI_MAJOR 1
#define SIPHOOK_ABI_MINOR 2
#define SIPHOOK_ABI       (((uint32_t)SIPHOOK_ABI_MAJOR << 16) | SIPHOOK_ABI_MINOR)
#define SIPHOOK_VERSION   "0.1.0" /* of this header; api->version is the module's */
#define SIPHOOK_INSTANCES 64

/* Bits of api->features. */
#define SIPHOOK_HAS_TEST    UINT64_C(1) /* test() and replay() are there */
#define SIPHOOK_HAS_EVENTS  UINT64_C(2) /* host.event is called */
#define SIPHOOK_HAS_METRICS UINT64_C(4) /* query "metrics" */
#define SIPHOOK_HAS_DRAIN   UINT64_C(8) /* drain() */
#define SIPHOOK_HAS_INHERIT UINT64_C(16) /* host.listen_fd is asked */
#define SIPHOOK_HAS_HANDOVER UINT64_C(32) /* the option handover (since 1.2) */

struct siphook; /* an instance */

enum siphook_level { SIPHOOK_ERROR, SIPHOOK_WARN, SIPHOOK_INFO, SIPHOOK_DEBUG };

enum siphook_mode {
	SIPHOOK_THREADS, /* the module runs its own worker threads, with all signals blocked */
	SIPHOOK_DRIVEN   /* no worker thread: the host polls fd() and calls process(); exactly one worker */
};

/* What the host gives. ctx comes back as the first argument. The structure itself is copied by create(). */
struct siphook_host {
	uint32_t abi;  /* SIPHOOK_ABI of the header that the host was compiled with */
	uint32_t size; /* sizeof(struct siphook_host) */
	void *ctx;
	/* [worker] One line without a line end, at most 1,000 bytes, and a NUL. Several threads may call at once. Must
	 * not call back into the module. */
	void (*log)(void *ctx, enum siphook_level level, const char *line, size_t len);
	/* [worker] A counter or gauge changed: "script.generation" after start and after every reload that was asked
	 * for. */
	void (*metric)(void *ctx, const char *name, int64_t value);
	/* [worker] Somebody asked over the control socket that the server stop: the host decides. Must return at once.
	 * Absent: such a request is refused. */
	void (*stop_wanted)(void *ctx);
	/* --- since 1.1 */
	/* [worker] A call came, was answered or ended: name "call.new", "call.answer" or "call.end", and a JSON object of
	 * `len` bytes (and a NUL): event, id, time, from, to, uri, source, connected, at the end by, code, reason, q850,
	 * duration. Not for an INVITE that was only challenged. The same rules as for log. */
	void (*event)(void *ctx, const char *name, const char *json, size_t len);
	/* [host] Asked inside start() for each listener: a descriptor of a socket that is bound (udp) or listens (tcp, tls, ws,
	 * wss) at just that address, or -1: the module opens its own. It stays the host's, is made nonblocking, and may be
	 * closed when start() has returned. */
	int (*listen_fd)(void *ctx, const char *uri);
};

/* One option. Unknown keys are errors that name the key. */
struct siphook_option {
	const char *key;
	const char *value;
};

/* [worker] Called once, when a reload has ended: generation > 0 and error NULL, or 0 and "file:line: reason". */
typedef void (*siphook_reload_fn)(void *ctx, uint64_t generation, const char *error);

/* [any: the thread that asked] Gets JSON text of `len` bytes (and a NUL). Called inside query(). */
typedef void (*siphook_text_fn)(void *ctx, const char *text, size_t len);

/* How one case of a test file ended. Texts are valid during the call. */
struct siphook_case {
	uint32_t size; /* of this structure, as the module knows it */
	int line;      /* of the case in its file */
	const char *name;
	const char *failure; /* "plan_test.lua:12: bob expected INVITE, but ..."; NULL: it passed or was skipped */
	const char *details; /* of a failure, several lines: the ladder of the call; or NULL */
	double seconds;      /* of the virtual clock */
	uint64_t real_us;    /* of the real one, microseconds */
	int skipped;
};

/* One test file: what to run, and who hears of it. */
struct siphook_test {
	uint32_t size; /* sizeof(struct siphook_test) */
	const char *file;
	const char *filter; /* only the cases whose name contains this text or matches it as a Lua pattern; NULL: all */
	uint64_t seed;      /* 0: 1 */
	double loss;        /* of datagrams, from 0 to less than 1 */
	/* [any: the thread that called test()] */
	void (*result)(void *ctx, const struct siphook_case *c);
	/* [any: the same] print() of the file; may be NULL. */
	void (*print)(void *ctx, const char *line, size_t len);
	void *ctx;
	/* Of a file with 200 cases or more only the part-th of so many parts, counted from 0, each in a thread of its own; of any other
	 * file part 0 has all. parts 0: 1. */
	uint32_t part, parts;
};

/* A record of a call, and what to do with it. */
struct siphook_replay {
	uint32_t size;      /* sizeof(struct siphook_replay) */
	int make_case;      /* not 0: nothing runs, print() gets a test case made of the record */
	const char *record; /* path of the file */
	const char *script; /* path of the dial plan; NULL: the one that the record names */
	const struct siphook_option *config; /* keys as in create(): config.NAME */
	size_t config_count;
	uint64_t seed; /* 0: 1 */
	/* [any: the thread that called replay()] */
	void (*print)(void *ctx, const char *line, size_t len);
	void *ctx;
};

struct siphook_api {
	uint32_t abi;
	uint32_t size;
	const char *version; /* "0.1.0" */
	uint64_t features;   /* bits for optional behaviour: SIPHOOK_HAS_... */

	/* [host] Makes an instance: no thread, no socket, no file yet. -EINVAL for an option that is unknown or wrong,
	 * -ENOMEM, -EAGAIN for too many instances, -ENOTSUP when the host's other libraries make it impossible.
	 * Options, described in docs/host-abi.md: script (obligatory), listen, workers, watch, dns, log_level,
	 * session_expires, tls_certificate, tls_private_key, tls_ca, tls_verify, ws_origin, control, handover,
	 * handover_secret, config.NAME. */
	int (*create)(struct siphook **out, const struct siphook_host *host, const struct siphook_option *options,
		      size_t count);
	/* [host] Loads the script, opens the sockets, starts the threads. A failed start leaves nothing behind but the
	 * instance. */
	int (*start)(struct siphook *s, enum siphook_mode mode);
	/* [host] SIPHOOK_DRIVEN: the descriptor to poll for reading, the same until stop(); its readiness covers timers
	 * too. Else -ENOTSUP. */
	int (*fd)(struct siphook *s);
	/* [host] SIPHOOK_DRIVEN: does what is ready and returns. *next_ms (may be NULL): milliseconds to the next timer
	 * or -1; a hint. */
	int (*process)(struct siphook *s, int64_t *next_ms);
	/* [any; SIPHOOK_DRIVEN: host] Starts a verified reload and returns at once; fn (may be NULL) gets the outcome.
	 */
	int (*reload)(struct siphook *s, siphook_reload_fn fn, void *ctx);
	/* [any; SIPHOOK_DRIVEN: host] "status", "calls" or "registrations" as JSON, "metrics" in Prometheus' text format
	 * (since 1.1). Not from a callback of the module. -EINVAL: no such thing; -ETIMEDOUT: a worker did not answer within a second. */
	int (*query)(struct siphook *s, const char *what, siphook_text_fn fn, void *ctx);
	/* [any; SIPHOOK_DRIVEN: host] Ends one call by its id. -ENOENT: no such call; -ETIMEDOUT. Not from a callback.
	 */
	int (*hangup)(struct siphook *s, const char *id);
	/* [host] Takes no new calls, ends the live ones with BYE or CANCEL, waits for their answers up to deadline_ms,
	 * then closes everything. Idempotent; 0 also for an instance that was never started. */
	int (*stop)(struct siphook *s, int64_t deadline_ms);
	/* [host] Frees the instance, stopped or not (then stop with no deadline). NULL is fine. */
	void (*destroy)(struct siphook *s);
	/* [host] Loads and verifies a script as create() and start() would, with the same options, and opens nothing.
	 * 0, or -EINVAL and "file:line: reason" in last_error(NULL); after 0 that has warnings, one a line, or is empty. */
	int (*check)(const struct siphook_option *options, size_t count);
	/* [host] Words for the last failed create, start, fd, process or stop of this instance; with NULL, of the last
	 * create() or check(). Never NULL; valid until the next call. The other functions say all by their code. */
	const char *(*last_error)(struct siphook *s);

	/* --- since 1.1 */

	/* [any] Runs the cases of one test file of a dial plan on a virtual network and clock, in the calling thread; opens no
	 * socket. Several threads may run files at once. 0 when the file ran, whatever its cases did; else -errno and words
	 * ("plan_test.lua:3: ...") in error, which has `size` bytes. */
	int (*test)(const struct siphook_test *test, char *error, size_t size);
	/* [any; SIPHOOK_DRIVEN: host] Takes no new calls and requests (503 with Retry-After) and no new connections, and
	 * returns at once; calls that are up go on until they end, at the longest for deadline_ms (0: no deadline), then they
	 * are hung up. "draining" and "calls" in the status tell how far it is; stop() ends the instance. It cannot be taken
	 * back. */
	int (*drain)(struct siphook *s, int64_t deadline_ms);
	/* [any; SIPHOOK_DRIVEN: host] As reload(), but to the text of the script that the present generation took the place of,
	 * as it was read then. */
	int (*rollback)(struct siphook *s, siphook_reload_fn fn, void *ctx);
	/* [any] Runs a record of `siphook record` again, on a virtual network and with a script of choice, in the calling thread, and prints
	 * where the decisions differ. 0: they do not; 1: they do; else -errno and words. */
	int (*replay)(const struct siphook_replay *replay, char *error, size_t size);
};

/* [any] The one exported symbol. NULL: the host's major version is not supported. */
typedef const struct siphook_api *(*siphook_entry_fn)(uint32_t host_abi);

#ifdef __cplusplus
}
#endif
#endif
