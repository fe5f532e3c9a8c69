/* Handing over between consecutive processes (a server that reloads its configuration starts new processes beside the old ones): a
 * folder in which the instances of one service find each other, and a socket of local packets between any two of them.
 *
 *     new                                    old (the one that is active)
 *     HELLO epoch, number            ->
 *                                    <-      CHALLENGE number, what proves that it knows the secret
 *     PROOF that this one does       ->
 *                                    <-      WELCOME epoch, keys, its listening sockets
 *     loads the script
 *     TAKE                           ->
 *                                    <-      bindings, and each change from then on
 *                                            stops to read its sockets
 *                                    <-      which requests it has begun, shared stores, what is published, bans, nonces, DONE
 *     opens its listeners, starts
 *     RUN where it listens           ->      (to all that live) goes on with its calls only
 *
 * Until RUN the old one can go on as if nothing had been; it does when the connection ends. Nothing is lost meanwhile: what comes to
 * the sockets waits in the kernel. From then on each gets what is its own:
 *
 *  - An instance has an epoch, 1 to 4095, which stands in all tags and branches that it makes. A request in a dialog, an answer, and a
 *    request that names a dialog (Replaces) carry it; at the wrong process they are forwarded to its own (MESSAGE), with their
 *    source. That one answers by its own descriptor of the same socket.
 *  - A request without such a tag belongs to the newest instance, unless the old one has begun it: then the number that its transaction
 *    is found by (the key of all is the same) stands in a list, and its repetition, its ACK and its CANCEL go there.
 *  - A stream connection stays with the process that accepted it, until that one ends. A request on it goes to the newest (MESSAGE),
 *    whose answers, and requests to a phone that is bound by it, go back as text for that connection (SEND). Another process's
 *    connection has a number from SH_FLOW_ABROAD on in the place of the worker: one for each peer.
 *  - What the old process still changes in bindings, shared stores and values of events it tells the newest (BINDING, UNBINDING, WRITE,
 *    EVENT).
 *  - A listener may have another number at each: one that listens at the same place takes its part.
 *
 * Without the option handover_secret whoever is the same user (or root) may speak; with it, who knows the secret, too
 * (handover_greet.c). Before that nothing is said but the greeting.
 *
 * A thread of its own (all signals blocked) reads; whoever has something to say writes, under the lock, and never waits: what a peer
 * does not read in time is lost, as if the network had lost it, or waits in a queue for the thread. Private to engine/. */
#ifndef SH_ENGINE_HANDOVER_H
#define SH_ENGINE_HANDOVER_H

#include "engine/impl.h"

struct sh_nonce_record;

enum sh_handover_kind {
	SH_HANDOVER_HELLO,
	SH_HANDOVER_CHALLENGE,
	SH_HANDOVER_PROOF,
	SH_HANDOVER_WELCOME,
	SH_HANDOVER_TAKE,
	SH_HANDOVER_BEGUN, /* struct sh_handover_begun[] */
	SH_HANDOVER_BINDING,
	SH_HANDOVER_UNBINDING,
	SH_HANDOVER_STORE, /* a part of one */
	SH_HANDOVER_NONCE, /* struct sh_nonce_record[] */
	SH_HANDOVER_BAN,   /* struct sh_ban */
	SH_HANDOVER_EVENT, /* a record of b2bua/event.h */
	SH_HANDOVER_DONE,
	SH_HANDOVER_RUN, /* struct sh_addr[] */
	SH_HANDOVER_MESSAGE,
	SH_HANDOVER_UNREACHABLE,
	SH_HANDOVER_SEND,
	SH_HANDOVER_CLOSE,
	SH_HANDOVER_GONE,
	SH_HANDOVER_WRITE, /* of a shared store */
};

enum { SH_HANDOVER_PEERS = 64, SH_HANDOVER_PACKET = 80 * 1024, SH_HANDOVER_PART = 32 * 1024, SH_HANDOVER_FDS = 200 };

enum {
	SH_HANDOVER_MS = 10000,     /* for an answer */
	SH_HANDOVER_RUN_MS = 30000, /* from DONE to RUN */
};

/* A request that somebody has begun, by sh_txn_request_key. */
struct sh_handover_begun {
	uint64_t key;
	uint64_t epoch;
};

/* A connection, wherever it is. */
struct sh_handover_flow {
	uint64_t id; /* as its own process calls it */
	uint64_t epoch;
};

enum { SH_HANDOVER_NONCE_LEN = 16, SH_HANDOVER_PROOF_LEN = 32 };

/* Both sides must be of one build's mind about what they copy. */
struct sh_handover_hello {
	uint32_t version, path_size, contact_size, epoch;
	uint8_t nonce[SH_HANDOVER_NONCE_LEN];
};

struct sh_handover_challenge {
	uint8_t nonce[SH_HANDOVER_NONCE_LEN], proof[SH_HANDOVER_PROOF_LEN];
};

struct sh_handover_proof {
	uint8_t proof[SH_HANDOVER_PROOF_LEN];
};

struct sh_handover_welcome {
	struct sh_handover_hello hello;
	uint32_t active, nfds;
	struct sh_hash_key key, secret;
};

struct sh_handover_message {
	struct sh_path path;
	struct sh_handover_flow flow;
};

struct sh_handover_news {
	struct sh_addr remote;
	int error;
};

struct sh_handover_packet {
	struct sh_handover_packet *next;
	enum sh_handover_kind kind;
	size_t len;
	char data[];
};

struct sh_handover_peer {
	int fd; /* -1: none, or gone */
	unsigned epoch; /* 0: not greeted yet */
	unsigned claims; /* the epoch that it gave as its own in HELLO */
	bool greeted, takes; /* it has proven itself; it has said TAKE */
	uint64_t since;      /* us: it is connected */
	uint8_t nonces[2][SH_HANDOVER_NONCE_LEN]; /* of the one who has connected; of the one who listens */
	struct sh_handover_packet *waiting, **waiting_end; /* what it has not read yet, and must; under the lock */
	size_t waits; /* octets */
};

struct sh_handover {
	struct sh_engine *engine;
	char *folder, *name;
	struct sh_slice secret_words; /* the option's; empty: none */
	int dir, lock_file, listener, wake;
	unsigned epoch;
	_Atomic unsigned live; /* peers; 0: nothing is ever looked at */
	_Atomic bool succeeded, quit;
	_Atomic bool telling, telling_writes; /* changes of bindings, of stores, go to the newest */
	_Atomic uint64_t forwarded, lost;
	struct sh_log_limit strangers_limit;
	uint64_t taking_since; /* us, monotonic */
	uint64_t run_by;       /* so long one that takes over may say RUN, and is waited for; 0: nobody is */
	int next_peer;         /* the numbers go round, so that an alias of one that is gone stays nobody's */
	int active; /* while it starts: the peer that it takes over from, or -1 */
	int newest; /* under the lock: the peer that has succeeded us, or the one that tries to; -1 */
	pthread_mutex_t lock;
	struct sh_handover_peer peers[SH_HANDOVER_PEERS];
	struct sh_handover_begun *begun; /* by others, and when we were succeeded by us; sorted; under the lock */
	size_t nbegun;
	struct sh_hash_key key, secret; /* from the active one */
	struct sh_handover_packet *taken, **taken_end;
	struct sh_handover_packet *known; /* BAN and EVENT, of the workers, to be given */
	struct sh_addr places[SH_MAX_ENDPOINTS]; /* where we listen; when we were succeeded, where the other one does */
	size_t nplaces;
	struct sh_transport_abroad transport;
	struct sh_ua_abroad ua;
	pthread_t thread;
	bool has_thread;
};

/* ---- handover_greet.c ---- */

struct sh_handover_hello sh_handover_hello(const struct sh_handover *h); /* without a number */
bool sh_handover_trusts(int fd); /* by its user */
/* As the one who has connected: 0 and what it was told, with its sockets; -EACCES: the other one does not know the secret; -EMFILE: there
 * are too many sockets; -EPROTO, -ETIMEDOUT, -errno. */
int sh_handover_greet(struct sh_handover *h, int peer, struct sh_handover_welcome *w, char *buffer, int *fds, unsigned *nfds);
/* As the one who listens: HELLO, and PROOF, after which it is to be welcomed. 0 or -errno: the connection must end. [the thread] */
int sh_handover_challenge(struct sh_handover *h, int peer, const char *data, size_t len);
int sh_handover_judge(struct sh_handover *h, int peer, const char *data, size_t len);
/* The next packet, as sh_handover_receive; -ETIMEDOUT. While nobody else reads. */
ssize_t sh_handover_await(struct sh_handover *h, int peer, char *buffer, int *fds, unsigned *nfds);

/* ---- handover.c ---- */

int sh_handover_socket(void);
int sh_handover_add_peer(struct sh_handover *h, int fd, unsigned epoch); /* its number, or -1 */
/* One packet into a buffer of SH_HANDOVER_PACKET; descriptors that came with it into fds, or they are closed. Its length, 0: the end,
 * -EMSGSIZE: longer than a packet is; -EMFILE: there was no room for its descriptors; -errno. */
ssize_t sh_handover_receive(int fd, char *buffer, int *fds, unsigned *nfds);
void sh_handover_attach(struct sh_handover *h); /* the workers are open, and do not run yet */
uint64_t sh_handover_now(void);                 /* us, monotonic */

/* To one peer, in two parts; the lock is held. Never waits: 0, -EAGAIN, -EMSGSIZE, or -errno: it was not sent. */
int sh_handover_send(struct sh_handover *h, int peer, enum sh_handover_kind kind, const void *head, size_t head_len,
		     const void *body, size_t body_len);
/* What must not be lost: it waits for the thread where the peer does not read now, and keeps its order. -ENOBUFS: too much waits. */
int sh_handover_tell(struct sh_handover *h, int peer, enum sh_handover_kind kind, const void *head, size_t head_len,
		     const void *body, size_t body_len);
int sh_handover_flush(struct sh_handover *h, int peer); /* what waits; the lock is held. 0, -EAGAIN, -errno */
int sh_handover_drain(struct sh_handover *h, int peer); /* the same until all is sent, without the lock. [the thread] 0 or -errno */
void sh_handover_free(struct sh_handover_packet **list);
void sh_handover_forget(struct sh_handover_peer *p);    /* what waits */
int sh_handover_peer_of(const struct sh_handover *h, unsigned epoch); /* the lock is held. -1: it is gone */
/* A flow of ours or an alias, as others call it; and back: 0 if its process is not there. The lock is held. */
struct sh_handover_flow sh_handover_flow_out(const struct sh_handover *h, uint64_t flow);
uint64_t sh_handover_flow_in(const struct sh_handover *h, const struct sh_handover_flow *f);

/* ---- handover_serve.c ---- */

int sh_handover_serve(struct sh_handover *h); /* begins; 0 or -errno */
void sh_handover_quit(struct sh_handover *h);

/* ---- handover_state.c: what goes over ---- */

/* To that peer: the bindings, which may be many, so that the workers go on meanwhile; then, when they are deaf, all else, and DONE. [the
 * thread of the hand-over] 0 or -errno. */
int sh_handover_give_bindings(struct sh_handover *h, int peer);
int sh_handover_give_rest(struct sh_handover *h, int peer);
/* Stores, before the script's top level is published; all else, when the workers are open. */
int sh_handover_put_stores(struct sh_handover *h);
int sh_handover_put_rest(struct sh_handover *h);
/* A change that another process tells of. [worker 0] */
void sh_handover_put_change(struct sh_handover *h, enum sh_handover_kind kind, const char *data, size_t len);
/* Sorts, so that requests are found; takes the list. The lock is held. */
void sh_handover_set_begun(struct sh_handover *h, struct sh_handover_begun *list, size_t count);
const struct sh_handover_begun *sh_handover_find_begun(const struct sh_handover *h, uint64_t key);

#endif
