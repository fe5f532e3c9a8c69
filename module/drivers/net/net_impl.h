/* What the parts of the real driver share. The parts: net.c (life cycle, handles, the turn), net_bind.c (who has which
 * port), net_steer.c (which of them a datagram comes to), net_udp.c, net_tcp.c, net_post.c (messages to a worker),
 * net_background.c (jobs), net_dns.c and net_dns_parse.c, net_http.c (libcurl). */
#ifndef SH_DRIVERS_NET_NET_IMPL_H
#define SH_DRIVERS_NET_NET_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "drivers/net/net.h"

enum {
	NET_BUFFER = 65536, /* the largest datagram, and what is read from a stream at once */
	NET_READY = 64,     /* descriptors per turn */
	NET_WORKER_WORDS = SH_NET_MAX_WORKERS / 64,
	NET_RING = 4096,    /* messages under way to one worker; a power of two */
};

/* ---- handles ----
 * What epoll watches. Its user data is an id (generation << 32 | slot), never a pointer: an event may come for
 * something that was closed earlier in the same batch, or, in a host that forked, long after. */

enum net_kind { NET_UDP, NET_LISTENER, NET_STREAM, NET_HTTP, NET_DNS };

struct net_handle {
	enum net_kind kind;
	int fd;
	uint32_t watched; /* EPOLLIN, EPOLLOUT */
	uint64_t id;
};

struct net_slot {
	struct net_handle *handle; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

/* ---- messages to a worker ----
 * A bounded queue of many producers and one consumer (after D. Vyukov): a cell's turn says whether it may be written
 * (turn == position) or read (turn == position + 1). */

typedef void (*net_message_fn)(struct sh_env *env, void *arg);

struct net_cell {
	atomic_size_t turn;
	net_message_fn fn;
	void *arg;
};

struct net_ring {
	atomic_size_t head; /* producers */
	char apart[64];     /* cache lines of their own */
	size_t tail;        /* the consumer */
	struct net_cell cells[NET_RING];
};

/* ---- things done elsewhere ---- */

/* A job. */
struct net_task {
	struct sh_link link;
	struct net_worker *worker;
	void (*work)(struct net_task *t);   /* on a background thread */
	void (*finish)(struct net_task *t); /* on the worker's thread, exactly once; frees t */
};

struct net_lane;
struct net_http; /* net_http.c */

/* ---- workers ---- */

struct net_udp_batches; /* net_udp.c */
struct net_dns;         /* net_dns.c */

struct net_worker {
	struct sh_env env;
	struct sh_net *net;
	struct sh_net_stats stats;
	int epoll, wake, timer; /* timer: -1 until somebody asks for the descriptor */
	uint64_t armed;         /* what the timer descriptor is set to */
	uint64_t wall_read;     /* when wall_offset was refreshed */
	uint64_t turned;        /* when the last turn was over */
	uint64_t looked;        /* when it was about to wait; 0: it did not ask */
	uint64_t used;          /* processor time of the thread, */
	uint64_t used_read;     /* and when that was read */
	bool backlog;           /* turned by a host: the last turn left something to do */
	uint64_t rested;        /* when it last had to wait for something to do */
	unsigned busy_turns;    /* since then, */
	uint64_t before_busy;   /* and messages before */
	uint64_t overload_told; /* when the log last had a line about it */

	/* see gather() */
	uint64_t before_turn;           /* messages before the last turn */
	uint64_t window, before_window; /* since when, and messages before */
	unsigned gather;                /* microseconds to wait for more; 0: none */

	struct net_slot *slots;
	uint32_t slot_count, free_slot;

	char *buffer; /* of the datagram batch; its first NET_BUFFER bytes serve streams */
	struct net_udp_batches *batches;
	struct sh_link unsent; /* sh_udp.unsent: datagrams are queued */

	struct net_http *http; /* NULL until a script asks for something */

	/* To be told in the next turn. */
	struct sh_link broken; /* sh_stream.broken */
	struct sh_link failed; /* net_failure.link */
	size_t failed_count;
	struct net_dns *dns; /* NULL: nothing was asked yet */

	uint64_t posted[NET_WORKER_WORDS]; /* bits: workers that are to be told of what we have posted to them */
	struct net_ring *ring;
	bool inbox;        /* the ring or `finished` may hold something */
	char apart[64];    /* other threads write to what follows */
	atomic_bool woken; /* the wake descriptor was written, and the inbox not looked at since */
	pthread_mutex_t lock;
	struct sh_link finished; /* net_task.link; under lock */

	struct sh_log_limit limit;
};

struct net_steering {
	struct sh_net_mark marks[SH_NET_MARKS];
	unsigned count; /* 0: the kernel spreads datagrams */
	void (*code)(unsigned worker, char out[2]);
};

struct sh_net {
	pid_t pid;
	volatile char *parent; /* a page that a fork child finds empty; NULL: the kernel cannot do that */
	unsigned count;
	atomic_bool stopped;
	struct sh_log *log, quiet;
	struct net_worker **workers;
	struct net_lane *jobs;
	char *dns_servers; /* NULL: those of the machine */
	pthread_mutex_t lock;
	struct sh_link ports; /* net_port.link; under lock */
	struct sh_link inherited; /* net_inherited.link */
	unsigned gather_max, gather_calls; /* microseconds */
	struct net_steering steering;
};

static inline struct net_worker *net_worker_of(struct sh_env *env)
{
	return SH_CONTAINER(env, struct net_worker, env);
}

bool net_is_child(const struct sh_net *n); /* a fork's child: hands off */
static inline bool net_is_stopped(const struct net_worker *w)
{
	return atomic_load_explicit(&w->net->stopped, memory_order_relaxed);
}

/* Puts h (kind and fd are set) under epoll. 0 or -errno. */
int net_attach(struct net_worker *w, struct net_handle *h, uint32_t watched);
void net_watch(struct net_worker *w, struct net_handle *h, uint32_t watched);
/* The same for what is not watched at all when there is nothing to watch for: epoll would go on telling of errors. */
void net_watch_only(struct net_worker *w, struct net_handle *h, uint32_t watched);
/* Takes h out and closes its descriptor; events that are under way find nobody. */
void net_release(struct net_worker *w, struct net_handle *h);
/* The same for a descriptor that somebody else closes. */
void net_detach(struct net_worker *w, struct net_handle *h);
struct net_handle *net_find(const struct net_worker *w, uint64_t id); /* NULL: it is gone */

bool net_is_late(const struct net_worker *w); /* this turn has taken long enough */

/* ---- net_bind.c ---- */

struct net_port;

/* A copy of the inherited descriptor for that address, and *bound; -ENOENT: there is none. An earlier process with more workers leaves
 * several to each of ours: the first is nth 0. */
int net_inherited(struct net_worker *w, int type, const struct sh_addr *local, unsigned nth, struct sh_addr *bound);
/* There are fewer of them than workers: some are read by several. */
bool net_inherited_by_several(const struct net_worker *w, int type, const struct sh_addr *local);
void net_inherited_finish(struct sh_net *n);
/* Binds fd; the workers of a net share a port, others get -EADDRINUSE. *port is NULL when there is nothing to share. */
int net_bind(struct net_worker *w, int fd, int type, const struct sh_addr *local, struct net_port **port,
	     struct sh_addr *bound);
void net_unbind(struct net_worker *w, struct net_port *port); /* after the close; NULL is fine */
/* A nonblocking socket; -errno. type SOCK_DGRAM or SOCK_STREAM. */
int net_socket(const struct sh_addr *local, int type);
int net_local_addr(int fd, struct sh_addr *out);
void net_set(int fd, int level, int option, int value); /* where an old kernel's refusal is no reason to fail */

/* ---- net_steer.c ---- */

/* Datagrams for the port of fd come to the worker that they name from now on. holders: whose the sockets of the port are, in the
 * kernel's order. Where the kernel cannot do it, all stays as it was. */
void net_steer(struct sh_net *n, int fd, const uint8_t *holders, unsigned count);

/* ---- net_udp.c ---- */

int net_udp_init(struct net_worker *w);
void net_udp_finish(struct net_worker *w);
int net_udp_open(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_udp **out,
		 struct sh_addr *bound);
void net_udp_send(struct sh_env *env, struct sh_udp *u, const struct sh_addr *from, const struct sh_addr *to,
		  const char *data, size_t len);
void net_udp_close(struct sh_env *env, struct sh_udp *u);
bool net_udp_shared(struct sh_env *env, const struct sh_udp *u);
void net_udp_destroy(struct net_worker *w, struct net_handle *h);
void net_udp_event(struct net_worker *w, struct net_handle *h, uint32_t events);
void net_udp_flush(struct net_worker *w);
void net_udp_deafen(struct net_worker *w, struct net_handle *h, sh_net_deaf_fn deaf, void *ctx);
void net_udp_tell_failed(struct net_worker *w);
/* Datagrams that wait in the kernel, roughly, and whether some socket's buffer is half full: a system call for each socket. */
uint64_t net_udp_waiting(const struct net_worker *w, bool *full);

/* ---- net_tcp.c ---- */

int net_listen(struct sh_env *env, const struct sh_addr *local, void *user, struct sh_listener **out,
	       struct sh_addr *bound);
void net_listen_close(struct sh_env *env, struct sh_listener *l);
int net_connect(struct sh_env *env, const struct sh_addr *local, const struct sh_addr *remote, void *user,
		struct sh_stream **out);
ssize_t net_write(struct sh_env *env, struct sh_stream *s, const char *data, size_t len);
void net_read_enable(struct sh_env *env, struct sh_stream *s, bool on);
void net_close(struct sh_env *env, struct sh_stream *s);
void net_listener_destroy(struct net_worker *w, struct net_handle *h);
void net_stream_destroy(struct net_worker *w, struct net_handle *h);
void net_listener_event(struct net_worker *w, struct net_handle *h);
void net_stream_event(struct net_worker *w, struct net_handle *h, uint32_t events);
void net_stream_tell_broken(struct net_worker *w);
void net_listener_deafen(struct net_worker *w, struct net_handle *h, sh_net_deaf_fn deaf, void *ctx);
void net_listener_share(struct net_handle *h); /* another process has it too */

/* ---- net_post.c ---- */

int net_post_init(struct net_worker *w);
void net_post_finish(struct net_worker *w);
int net_post(struct sh_env *env, unsigned worker, net_message_fn fn, void *arg);
void net_tell_posted(struct net_worker *w);                  /* wakes those to whom it has posted */
void net_notify(struct net_worker *w);                       /* any thread */
void net_finished(struct net_worker *w, struct net_task *t); /* any thread */
void net_inbox_open(struct net_worker *w);                   /* the wake descriptor was written */
void net_inbox_deliver(struct net_worker *w);                /* a bounded part */
uint64_t net_inbox_waiting(const struct net_worker *w);
void net_inbox_empty(struct net_worker *w);                  /* all, at the end */

/* ---- net_background.c ---- */

int net_background_init(struct sh_net *n);
void net_background_finish(struct sh_net *n);
int net_background(struct sh_env *env, void (*work)(void *arg), void (*done)(void *arg), void *arg);

/* ---- net_dns.c, net_dns_parse.c ---- */

int net_query(struct sh_env *env, struct sh_slice name, enum sh_dns_type type, sh_dns_fn fn, void *ctx);
void net_dns_event(struct net_worker *w, struct net_handle *h, uint32_t events);
void net_dns_deliver(struct net_worker *w);
bool net_dns_has_more(const struct net_worker *w);
void net_dns_finish(struct net_worker *w);
/* Reads a reply for the records of that type; *block is what out->records points into, to be freed. Without memory the
 * answer is -EAGAIN. */
void net_dns_parse(struct sh_dns_answer *out, void **block, enum sh_dns_type type, const unsigned char *text, size_t len);

/* ---- net_http.c ---- */

int net_http(struct sh_env *env, const struct sh_http_request *rq, sh_http_fn fn, void *ctx, struct sh_http **out);
void net_http_cancel(struct sh_env *env, struct sh_http *h);
void net_http_event(struct net_worker *w, struct net_handle *h, uint32_t events);
void net_http_finish(struct net_worker *w); /* before the handles go */

#endif
