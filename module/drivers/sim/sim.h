/* The second driver of the core: a virtual network under a virtual clock. Any number of environments, workers of the
 * engine or peers of a test, run on one thread; a seed decides every delay, loss, duplicate and order, and replays
 * exactly. Nothing here reads a clock or the kernel's random numbers.
 *
 * The life of a simulation: sh_sim_create; environments; then step or run, in between call the driver's operations as
 * one likes; sh_sim_env_stop for each worker (as a worker's shutdown: its jobs are done, its callbacks dropped);
 * destroy what was built on top; sh_sim_destroy, which frees also sockets that nobody closed.
 *
 * Time is microseconds, begins at one second and stands still while code runs. At one instant, what arrives comes
 * before the timers. Each event is a turn of its own: after it (or after an environment's timers) turn_end is called
 * and the datagrams that were queued enter the network. Datagrams that a test sends between two runs leave at the
 * beginning of the next.
 *
 * Memory: what an operation can refuse comes from sh_malloc and gives -ENOMEM. What is under way in the network is not
 * the module's memory, so the allocation sweep does not see it. */
#ifndef SH_DRIVERS_SIM_SIM_H
#define SH_DRIVERS_SIM_SIM_H

#include "core/env.h"

struct sh_sim;

/* How the bytes of a stream are cut into stream_data events. */
enum sh_sim_chunks {
	SH_SIM_CHUNKS_WHOLE,  /* all that is there */
	SH_SIM_CHUNKS_RANDOM, /* 1 byte to all that is there */
	SH_SIM_CHUNKS_BYTE,   /* one byte each */
};

struct sh_sim_options {
	uint64_t seed;
	/* Probabilities of a datagram, 0 to 1. A segment of a stream that is lost comes later (200 ms, doubled each
	 * time); after nine losses in a row the stream ends with -ETIMEDOUT. Without `reorder` the datagrams from one
	 * address to another keep their order, but for the duplicates, which come behind their originals. */
	double loss, duplicate, reorder;
	uint64_t delay_min, delay_max; /* one way, microseconds; never less than 1 */
	enum sh_sim_chunks chunks;
	size_t window;      /* bytes under way in one direction of a stream; 0: 65,536 */
	size_t post_ring;   /* messages under way to one worker before post() says -EAGAIN; 0: 4,096 */
	struct sh_log *log; /* of the environments; NULL: nothing is written */
	struct sh_pool_stock *stock; /* for their pools; NULL: none */
	bool unhashed;      /* nobody will ask for sh_sim_trace_hash() */
};

/* 0, -EINVAL or -ENOMEM. */
int sh_sim_create(struct sh_sim **out, const struct sh_sim_options *options);
void sh_sim_destroy(struct sh_sim *sim);
uint64_t sh_sim_seed(const struct sh_sim *sim); /* so that a failure can tell it */

/* ---- environments and hosts ---- */

/* Worker 0 begins a new host; workers 1, 2 ... that follow are on the host of the last worker 0. Only workers of one
 * host may bind the same address; a datagram or a connection to it then goes to one of them, chosen by a hash of both
 * addresses, as SO_REUSEPORT does. Every environment has the same hash key. NULL when memory is out or when
 * worker > 0 has no host to join. The caller sets events and events_ctx before it opens sockets. */
struct sh_env *sh_sim_env_create(struct sh_sim *sim, unsigned worker, unsigned workers);

/* From now on fn chooses among the `count` workers that a datagram could go to, by their number on the host: for tests of
 * what comes to the wrong one; datagram sockets count as shared (udp_shared) then. NULL: the hash again. */
typedef unsigned (*sh_sim_pick_fn)(void *ctx, const char *data, size_t len, unsigned count);
void sh_sim_set_pick(struct sh_sim *sim, sh_sim_pick_fn fn, void *ctx);

/* Shutdown of one worker: jobs are finished (work if it had not begun, then done), posted messages are delivered,
 * resolver callbacks dropped. From now on nothing reaches the environment, timers included, and it starts nothing;
 * closing sockets is still allowed. */
void sh_sim_env_stop(struct sh_env *env);

/* A socket bound to a concrete address needs no preparation. One bound to "any" is reached at the addresses of
 * its host: those that were added here, and the automatic ones 10.0.x.y and fd00::x:y of the (256 x + y)-th host,
 * unless another host added the same. The first added address of a family is the source address of that family.
 * 0 or -ENOMEM. */
int sh_sim_host_add_addr(struct sh_env *env, const struct sh_addr *addr);

/* Sockets, listeners and streams of this environment that nobody has closed yet. */
size_t sh_sim_open_handles(const struct sh_env *env);

/* ---- time ---- */

uint64_t sh_sim_now(const struct sh_sim *sim);

/* Runs the next event, or the next timers that are due at the same tick, in one environment or more. False: nothing is
 * left. */
bool sh_sim_step(struct sh_sim *sim);
/* The same, but false too when the next thing comes after `limit`; the time stays then. */
bool sh_sim_step_until(struct sh_sim *sim, uint64_t limit);

/* Everything up to and including t; then it is t. */
void sh_sim_run_until(struct sh_sim *sim, uint64_t t);
void sh_sim_advance(struct sh_sim *sim, uint64_t us);

/* Runs until nothing is under way: no datagram, segment, resolver answer, job or post. Timers that are due meanwhile
 * fire, others are not waited for. False when `limit` microseconds were not enough; then all of them have passed. */
bool sh_sim_run_idle(struct sh_sim *sim, uint64_t limit);

/* ---- names and faults ---- */

/* The zone that all environments ask. Names are compared without case and without a dot at the end; those that nobody
 * added give -ENOENT (for 30 seconds). Everything is copied. 0, -EINVAL or -ENOMEM. */

/* A line of a zone: "300 A 192.0.2.1", "60 SRV 10 50 5060 a.example.org", "60 NAPTR 10 50 s SIP+D2U _sip._udp.example.org".
 * It joins what the name has of that type. */
int sh_sim_add_record(struct sh_sim *sim, const char *name, const char *record);
/* A and AAAA records of 60 seconds; another call for the same name replaces all that it has. count 0: nothing. */
int sh_sim_add_name(struct sh_sim *sim, const char *name, const struct sh_addr *addrs, size_t count);
/* Questions for the name fail with this negative errno (-EAGAIN: temporary failure); 0: no more. */
int sh_sim_fail_name(struct sh_sim *sim, const char *name, int error);
uint64_t sh_sim_queries(const struct sh_sim *sim); /* questions asked so far */

enum {
	SH_SIM_UDP_ICMP = 1,    /* a router answers: udp_error -EHOSTUNREACH after one delay */
	SH_SIM_UDP_SILENT = 2,  /* datagrams vanish */
	SH_SIM_TCP_REFUSED = 4, /* a new connection ends with -ECONNREFUSED */
	SH_SIM_TCP_SILENT = 8,  /* segments vanish for good: a connection hangs, then -ETIMEDOUT, repaired or not */
};
/* What happens to traffic towards addr (port 0: the whole host); modes are or-ed, 0 repairs. 0 or -ENOMEM.
 * Without it: a datagram to a port that nobody bound comes back as udp_error -ECONNREFUSED, a connection is refused. */
int sh_sim_set_unreachable(struct sh_sim *sim, const struct sh_addr *addr, unsigned modes);

/* Loss in one direction between two IP addresses (ports are ignored) instead of the general one; below 0: as before. */
int sh_sim_set_link_loss(struct sh_sim *sim, const struct sh_addr *from, const struct sh_addr *to, double loss);

enum sh_sim_verdict {
	SH_SIM_PASS, /* the network decides, as without a filter */
	SH_SIM_DROP,
	SH_SIM_DELAY, /* arrives once, *delay microseconds from now exactly, whatever overtakes it */
};
/* Asked for every datagram that enters the network. */
typedef enum sh_sim_verdict (*sh_sim_filter_fn)(const struct sh_addr *from, const struct sh_addr *to,
						struct sh_slice data, uint64_t *delay, void *ctx);
void sh_sim_set_filter(struct sh_sim *sim, sh_sim_filter_fn fn, void *ctx); /* NULL: none */

/* ---- HTTP ---- */

/* What a server of the test answers. Preset to status 200, no header fields, an empty body, at once. */
struct sh_sim_http_reply {
	int error;               /* as in struct sh_http_response; then only `detail` counts */
	const char *detail;      /* these are copied when the function returns */
	unsigned status;
	struct sh_slice headers; /* lines that end in CRLF */
	struct sh_slice body;
	uint64_t delay;          /* microseconds until it leaves the server; SH_NEVER: it says nothing */
};
typedef void (*sh_sim_http_fn)(const struct sh_http_request *rq, struct sh_sim_http_reply *reply, void *ctx);
/* All web servers of the simulation; called when a request arrives. Without one nobody listens (-EHOSTUNREACH). Limits
 * of time and size are kept; redirects are the caller's to see. */
void sh_sim_set_http(struct sh_sim *sim, sh_sim_http_fn fn, void *ctx); /* NULL: none */

/* ---- trace ---- */

enum sh_sim_happening {
	SH_SIM_SENT,
	SH_SIM_DELIVERED,
	SH_SIM_DROPPED,    /* lost, filtered, or nobody was there */
	SH_SIM_DUPLICATED, /* the network made a copy */
	SH_SIM_OPENED,     /* a stream was accepted */
	SH_SIM_CLOSED,     /* one end of a stream was told that it is over */
};

struct sh_sim_record {
	enum sh_sim_happening what;
	bool stream; /* of a stream, else a datagram */
	uint64_t time;
	struct sh_addr from, to;
	struct sh_slice data; /* valid during the call */
};
typedef void (*sh_sim_trace_fn)(const struct sh_sim_record *r, void *ctx);
void sh_sim_set_trace(struct sh_sim *sim, sh_sim_trace_fn fn, void *ctx); /* NULL: none */

/* A hash of all records so far, times and bytes included. Two runs that did the same have the same. */
uint64_t sh_sim_trace_hash(const struct sh_sim *sim);

#endif
