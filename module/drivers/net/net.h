/* The real driver of the core: epoll, sockets, the monotonic clock, threads for what blocks. Linux.
 *
 * A net is the set of workers of one instance. Each worker has an environment (core/env.h) and a loop, which somebody
 * turns: a thread of ours (sh_net_turn(net, worker, -1) again and again), or the host that polls sh_net_fd() and turns
 * once when it is readable. A worker belongs to one thread at a time; functions marked [any] are for all threads.
 *
 * The life of a net: sh_net_create; sh_net_env(...)->events of each worker; open what is needed (before the loops run,
 * or on the worker's thread); turn; when all loops have ended: sh_net_stop; destroy what was built on top (closing
 * sockets is allowed until the end); sh_net_destroy.
 *
 * After a fork the child has copies of our descriptors, but neither our threads nor our connections: there every
 * function answers -EPERM or does nothing, so that the parent does not notice. */
#ifndef SH_DRIVERS_NET_NET_H
#define SH_DRIVERS_NET_NET_H

#include "core/env.h"

enum {
	SH_NET_MAX_WORKERS = 256,
	SH_NET_GATHER = 700, /* microseconds */
	SH_NET_GATHER_CALLS = 200,
	SH_NET_MARKS = 2,
};

struct sh_net;

/* Counters of one worker since its creation; read them on its thread. */
struct sh_net_stats {
	uint64_t turns;
	uint64_t datagrams_in, datagrams_out;
	uint64_t datagrams_lost;   /* ours, that never left: the queue was full, memory or a route was missing */
	uint64_t datagrams_failed; /* ours, of which ICMP said that they did not arrive */
	uint64_t stream_reads;     /* that brought something */
	uint64_t gathered;         /* turns that waited a moment for more messages */
	uint64_t accepts_paused;   /* times that descriptors or memory were out */
	uint64_t posts_in;
};

/* Workers 1 to SH_NET_MAX_WORKERS. log (NULL: nothing is written) must live as long as the net. No thread is started.
 * 0, -EINVAL, -ENOMEM or what the kernel says (-EMFILE ...). */
int sh_net_create(struct sh_net **out, unsigned workers, struct sh_log *log);

/* Calls sh_net_stop, then frees everything, with sockets that nobody closed. NULL is fine. */
void sh_net_destroy(struct sh_net *n);

/* Name servers to ask instead of those of the machine: "127.0.0.1:5353,[::1]" (port 53 unless given). Before the loops run.
 * 0, -EINVAL or -ENOMEM. */
int sh_net_set_dns(struct sh_net *n, const char *servers);

/* The longest that a worker with thousands of messages per second waits before it looks, so that it finds several at once: much
 * less processor time for that delay. Only where sh_net_turn() may wait without end. While calls come in
 * (sh_env.called) it is the shorter of both. Defaults SH_NET_GATHER and SH_NET_GATHER_CALLS; 0: never. Before the loops run. */
void sh_net_set_gather(struct sh_net *n, unsigned us, unsigned calls_us);

/* Where a datagram itself may say which worker it is for: by a text, and the worker's two characters behind it. */
struct sh_net_mark {
	const char *begins; /* four characters that such datagrams begin with; NULL: all that no mark before this one is for */
	const char *text;   /* seven or eight characters */
	unsigned from, to;  /* offsets, from 4 on, between which it is looked for */
};

/* Lets the kernel bring them to that worker's socket where it can (a port of several workers, Linux 4.5); code() writes a worker's two
 * characters. What has no mark is spread over the workers as before, and so is what is shorter than the last place to look at. Before
 * the first socket is opened. 0, or -EINVAL: no such marks, or 60 steps of four octets are not enough for them. */
int sh_net_steer(struct sh_net *n, const struct sh_net_mark *marks, unsigned count, void (*code)(unsigned worker, char out[2]));

/* A bound datagram socket or a listening stream socket that the process got from somebody (a supervisor, a parent): whoever opens that
 * address opens this one. The descriptor stays the caller's, who may close it afterwards; it becomes nonblocking. All workers
 * read from it. Before the loops run. 0, -EINVAL (no such socket), -ENOMEM, -errno. */
int sh_net_inherit(struct sh_net *n, int fd);
/* The sockets of a worker that listen, datagram sockets included, for another process: our end leaves them open from now on. They stay
 * the worker's. Returns how many. On its thread. */
unsigned sh_net_sockets(struct sh_net *n, unsigned worker, int *fds, unsigned max);
/* Stops and resumes reading them, each (by type, SOCK_DGRAM or SOCK_STREAM, and address) as deaf() says: what comes waits in the kernel,
 * or goes to another process. On the worker's thread. */
typedef bool (*sh_net_deaf_fn)(void *ctx, int type, const struct sh_addr *bound);
void sh_net_deafen(struct sh_net *n, unsigned worker, sh_net_deaf_fn deaf, void *ctx);

struct sh_env *sh_net_env(struct sh_net *n, unsigned worker);
const struct sh_net_stats *sh_net_stats(const struct sh_net *n, unsigned worker);

/* The descriptor that a host polls for reading; it stays the net's. From the first call on timers make it readable too
 * (workers that are not asked for it save a system call per turn). It is readable at once, for a first turn. -errno on
 * failure. What is done to the environment between two turns, without an event, takes effect in the next one: do it
 * through sh_net_call, or call sh_net_wake afterwards. */
int sh_net_fd(struct sh_net *n, unsigned worker);

/* One turn: waits at most max_wait microseconds (below 0: until something happens), reads the clock, hands up a bounded
 * number of events, fires timers, calls turn_end and sends what was queued. A signal ends the wait. 0 or -errno. */
int sh_net_turn(struct sh_net *n, unsigned worker, int64_t max_wait);

/* [any] Ends the present or next wait of a worker. Async-signal-safe. */
void sh_net_wake(struct sh_net *n, unsigned worker);

/* [any] Calls fn(environment of the worker, arg) in its next turn; for threads that are no workers (those use
 * env->driver->post, which does the same, a batch at a time). Calls of one thread keep their order. -EAGAIN: its ring is full;
 * -ESHUTDOWN; -EINVAL no such worker. */
int sh_net_call(struct sh_net *n, unsigned worker, void (*fn)(struct sh_env *env, void *arg), void *arg);

/* Ends the background threads: waits for the job that runs, does those that are queued, accepts no more. Their `done`
 * comes in the workers' next turns. Any one thread but a background one; may be called again. */
void sh_net_stop_background(struct sh_net *n);

/* The end of all workers, when no loop runs any more: sh_net_stop_background, then every `done` that is due and every
 * posted message is delivered here, on the caller's thread. From now on the environments start nothing (-ESHUTDOWN)
 * and no event, timer or callback comes. May be called again. */
void sh_net_stop(struct sh_net *n);

#endif
