/* The world as the core sees it: time, randomness, timers, sockets, other threads. Two drivers implement it: drivers/net
 * (epoll, real clock) and drivers/sim (virtual network and clock). Nothing above the drivers calls the operating
 * system. One environment per worker; everything here is called on that worker's thread unless marked otherwise.
 *
 * Bytes arrive through `struct sh_env_events`, which transport/ sets. A driver never calls an event from inside one of
 * the operations below (no re-entry): what happens at once is reported in the next turn. */
#ifndef SH_CORE_ENV_H
#define SH_CORE_ENV_H

#include <sys/types.h>

#include "core/addr.h"
#include "core/hash.h"
#include "core/log.h"
#include "core/peak.h"
#include "core/pool.h"
#include "core/random.h"
#include "core/wheel.h"

struct sh_env;
struct sh_udp;      /* a bound datagram socket */
struct sh_listener; /* a listening stream socket */
struct sh_stream;   /* a connected (or connecting) stream */

/* One question to the name servers (RFC 1035, 2782, 3403) and its answer. What the answers mean, how long they are kept
 * and who is asked next is decided above this seam (transport/names.c, locate.c). The numbers are those of the RFCs. */
enum sh_dns_type { SH_DNS_A = 1, SH_DNS_AAAA = 28, SH_DNS_SRV = 33, SH_DNS_NAPTR = 35 };

struct sh_dns_record {
	uint32_t ttl;              /* seconds */
	struct sh_addr addr;       /* A, AAAA; port 0 */
	uint16_t order;            /* SRV: priority; NAPTR: order */
	uint16_t weight;           /* SRV: weight; NAPTR: preference */
	uint16_t port;             /* SRV */
	struct sh_slice target;    /* SRV: target; NAPTR: replacement; without the last dot */
	struct sh_slice service;   /* NAPTR: "SIP+D2U" */
	struct sh_slice flags;     /* NAPTR: "s" */
};

struct sh_dns_answer {
	int error;    /* 0; -ENOENT no such name, or none of that type; -EAGAIN no server answered, or it failed */
	uint32_t ttl; /* with -ENOENT: seconds for which that holds (RFC 2308) */
	const struct sh_dns_record *records; /* valid during the call, as their texts */
	size_t count; /* > 0 without an error */
};
typedef void (*sh_dns_fn)(const struct sh_dns_answer *a, void *ctx);

/* An HTTP exchange (http and https). Copied by http(). */
struct sh_http;
struct sh_http_request {
	struct sh_slice method, url;
	const struct sh_slice *headers; /* lines without a line end: "Accept: text/plain" */
	size_t nheaders;
	struct sh_slice body;           /* base NULL: none */
	struct sh_slice user, password; /* Basic authentication; base NULL: none. Not sent to a redirect's other host */
	struct sh_slice ca_file;        /* PEM; base NULL: the system's */
	uint64_t timeout;               /* of all of it, microseconds */
	uint64_t connect_timeout;
	size_t max_size;    /* bytes of the answer's body */
	unsigned redirects; /* how many are followed */
	bool insecure;      /* the server's certificate is not looked at */
};

struct sh_http_response {
	/* 0; -EINVAL the URL; -ENOENT no such name; -EHOSTUNREACH no connection; -EPROTO TLS; -ETIMEDOUT; -EMSGSIZE; -EBUSY
	 * too many at once; -ENOMEM; -EIO the rest */
	int error;
	const char *detail; /* in words, may be empty */
	unsigned status;
	struct sh_slice headers; /* lines that end in CRLF, without the status line */
	struct sh_slice body;
};
typedef void (*sh_http_fn)(const struct sh_http_response *r, void *ctx); /* r is valid during the call */

struct sh_driver {
	/* Binds; local->port 0 takes any, *bound is what was got. user comes back with the events. 0 or -errno. */
	int (*udp_open)(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_udp **out,
			struct sh_addr *bound);
	/* Queues one datagram (copied); the batch leaves at the end of the turn. `from` chooses the source address on
	 * a socket bound to any (family 0: the kernel's choice). Losing a datagram is no error. */
	void (*udp_send)(struct sh_env *env, struct sh_udp *u, const struct sh_addr *from, const struct sh_addr *to,
			 const char *data, size_t len);
	void (*udp_close)(struct sh_env *env, struct sh_udp *u);
	/* Other workers read the same socket: what one peer sends may come to any of them. */
	bool (*udp_shared)(struct sh_env *env, const struct sh_udp *u);

	int (*listen)(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_listener **out,
		      struct sh_addr *bound);
	void (*listen_close)(struct sh_env *env, struct sh_listener *l);

	/* Starts to connect; the outcome comes as stream_connected or stream_closed. local family 0: any. */
	int (*connect)(struct sh_env *env, const struct sh_addr *local, const struct sh_addr *remote, void *user,
		       struct sh_stream **out);
	/* Takes what the kernel takes: bytes taken (0..len), or -errno (then stream_closed follows).
	 * Fewer than len: stream_writable will come. */
	ssize_t (*write)(struct sh_env *env, struct sh_stream *s, const char *data, size_t len);
	/* Back-pressure: stops and resumes stream_data. */
	void (*read_enable)(struct sh_env *env, struct sh_stream *s, bool on);
	/* Closes at once and frees s; no event follows. */
	void (*close)(struct sh_env *env, struct sh_stream *s);

	/* Asks. Never calls fn before it returns, and later exactly once; a worker that stops drops it. Of A and AAAA the
	 * machine's hosts file is asked first. 0 or -errno (fn is not called then). */
	int (*query)(struct sh_env *env, struct sh_slice name, enum sh_dns_type type, sh_dns_fn fn, void *ctx);

	/* Starts an exchange; fn comes once, never before this returns, unless http_cancel comes first or the worker stops.
	 * 0, -EINVAL (the URL), -EBUSY (too many), -ESHUTDOWN, -ENOMEM: then fn is not called. */
	int (*http)(struct sh_env *env, const struct sh_http_request *rq, sh_http_fn fn, void *ctx,
		    struct sh_http **out);
	void (*http_cancel)(struct sh_env *env, struct sh_http *h); /* before fn came; h is gone then */

	/* Runs work(arg) off the loop (net: the loader thread, one job after the other; sim: inline, later), then
	 * done(arg) on this worker. done is called exactly once, also at shutdown. 0 or -errno (nothing is called). */
	int (*background)(struct sh_env *env, void (*work)(void *arg), void (*done)(void *arg), void *arg);

	/* Calls fn(target's env, arg) on another worker, which is told of it behind the batch in hand. -EAGAIN when its ring is
	 * full (arg stays ours). */
	int (*post)(struct sh_env *env, unsigned worker, void (*fn)(struct sh_env *target, void *arg), void *arg);
};

/* Every `error` is 0 or a negative errno. */
struct sh_env_events {
	/* `data` is writable scratch, valid during the call. local: the address that the datagram was sent to. */
	void (*udp_data)(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data,
			 size_t len);
	/* ICMP said that a datagram of ours did not arrive; data is the start of that datagram (may be short). */
	void (*udp_error)(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data, size_t len);
	/* A stream came in; the returned pointer is the stream's user from now on. NULL refuses (the driver closes). */
	void *(*stream_accepted)(void *ctx, void *listener_user, struct sh_stream *s, const struct sh_addr *local,
				 const struct sh_addr *remote);
	void (*stream_connected)(void *ctx, void *user, const struct sh_addr *local);
	void (*stream_data)(void *ctx, void *user, const char *data, size_t len);
	void (*stream_writable)(void *ctx, void *user);
	/* The stream ended (error 0: by the peer) and is gone; the driver has freed it. */
	void (*stream_closed)(void *ctx, void *user, int error);
	/* After the events of one turn, before queued datagrams leave. */
	void (*turn_end)(void *ctx);
};

struct sh_env {
	const struct sh_driver *driver;
	uint64_t now;         /* monotonic microseconds, read once per batch of events */
	uint64_t wall_offset; /* now + wall_offset = microseconds since 1970 */
	unsigned worker, workers;
	unsigned epoch; /* of this process among those that hand their work over to each other, 1 to 4095; 0: there are none */
	struct sh_wheel wheel;
	struct sh_pool pool; /* what lives and dies with this worker: transactions, legs, calls */
	struct sh_random random;
	struct sh_hash_key key; /* of every table that the network can fill; the same in all workers */
	struct sh_log *log;
	const struct sh_env_events *events;
	void *events_ctx;
	/* By the driver: for SH_OVERLOAD there was always more to do than could be done at once, so what arrives now waits in
	 * the kernel for longer and longer. Who asks for something new is best told so while that is cheap. */
	bool overloaded;
	/* For the driver: when a call last began to come in. Somebody hears how long its messages take, so that the driver does not
	 * wait for more of them as long as for others. */
	uint64_t called;
	struct sh_peak longest_turn; /* microseconds, by the driver */
	struct sh_peak longest_turn_used; /* the same, but the thread's own processor time; turns under a millisecond do not count */
	uint64_t broken;       /* invariant.h */
	struct sh_log_limit broken_limit;
};

#define SH_OVERLOAD (250 * SH_MS) /* half of T1: before the peers begin to repeat what we have not read yet */

static inline uint64_t sh_env_wall(const struct sh_env *env) /* microseconds since 1970 */
{
	return env->now + env->wall_offset;
}

static inline void sh_env_timer(struct sh_env *env, struct sh_timer *t, uint64_t delay)
{
	sh_wheel_add(&env->wheel, t, env->now + delay);
}

static inline void sh_env_cancel(struct sh_env *env, struct sh_timer *t)
{
	sh_wheel_cancel(&env->wheel, t);
}

#endif
