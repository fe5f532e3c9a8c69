/* The transaction layer (RFC 3261 17, RFC 6026, RFC 4320, RFC 3261 9 and 8.2.2.2). One per worker, on its thread.
 *
 * Transactions are found by a 128-bit keyed hash of what identifies them (17.1.3, 17.2.3; RFC 2543 peers without
 * the branch cookie by the long form of 17.2.3). One that only absorbs retransmissions (J, L, M, D, I, K) shrinks to
 * that key and its last answer. Who holds a pointer to a transaction gets ENDED before it is freed, or detaches.
 *
 * INVITE server (RFC 6026 figure 7)
 *   Proceeding --3xx-6xx--> Completed (G) --ACK--> Confirmed (I) --> end
 *       |                       `--H--> timeout
 *       `--2xx--> Accepted (L) --> end
 * INVITE client (figure 5)
 *   Calling (A, B) --1xx--> Proceeding --3xx-6xx--> Completed (D) --> end
 *       `---------2xx----------`--2xx--> Accepted (M) --> end; every 2xx goes to the user
 * Others, server: Trying --> Proceeding --> Completed (J) --> end
 * Others, client: Trying (E, F) --> Proceeding (E, F) --> Completed (K) --> end
 */
#ifndef SH_TXN_TXN_H
#define SH_TXN_TXN_H

#include "msg/writer.h"
#include "transport/transport.h"

/* Every SIP timer of this layer in one table; microseconds. RFC 3261 table 4, RFC 6026 8.
 * X(field, default, what). All others follow: A = T1 doubling, B = F = H = J = L = M = 64*T1 (J, K, I, D: 0 on reliable
 * transports; D at least 32 s), E and G = T1 doubling to T2, I = K = T4. Those that only end something, D I J K L M, fire at the next
 * full SH_TXN_TOGETHER. */
#define SH_TXN_TIMERS(X)                                                                          \
	X(t1, 500 * SH_MS, "T1: round trip estimate, RFC 3261 17.1.1.1")                          \
	X(t2, 4 * SH_SECOND, "T2: largest retransmission interval, RFC 3261 17.1.2.2")            \
	X(t4, 5 * SH_SECOND, "T4: how long a message stays in the network, RFC 3261 17.1.2.2")    \
	X(trying, 200 * SH_MS, "automatic 100 after this long, RFC 3261 17.2.1")

enum { SH_TXN_TOGETHER = 8 * SH_MS };

struct sh_txn_timers {
#define X(field, value, what) uint64_t field;
	SH_TXN_TIMERS(X)
#undef X
};
extern const struct sh_txn_timers sh_txn_timers_default;

struct sh_txn_layer;
struct sh_server_txn;
struct sh_client_txn;

struct sh_txn_user {
	/* A new request, checked for merging (482 was sent then) but for nothing else. st is NULL for an ACK that belongs to no
	 * failure answer: one for a 2xx. Without a final answer when this returns, the layer keeps a copy of m. */
	void (*request)(void *ctx, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from);
	/* A CANCEL matched this INVITE, which has no final answer yet; the layer has answered the CANCEL with 200. */
	void (*cancel)(void *ctx, struct sh_server_txn *invite, const struct sh_msg *cancel);
	/* A 2xx to INVITE that no client transaction with a user matches (late, or after detach). May be NULL. */
	void (*stray_2xx)(void *ctx, const struct sh_msg *m, const struct sh_path *from);
	/* A connection ended: the same as the transport's event, after the client transactions on it have been told. Or an ICMP error was
	 * the answer to a datagram of ours: the flow is the number of its peer. */
	void (*flow_closed)(void *ctx, uint64_t flow, int error);
	void (*turn_end)(void *ctx); /* may be NULL */
};

struct sh_txn_stats {
	uint64_t server_created, client_created, retransmissions_in, retransmissions_out, merged, strays;
	uint64_t overload; /* new requests that were refused for it */
	uint64_t server_live, client_live; /* lingering ones included */
};

/* Creates the layer and its transport's user. The transport is created by the layer's owner with
 * sh_txn_transport_user and the layer as its context, then given by sh_txn_layer_attach. */
int sh_txn_layer_create(struct sh_txn_layer **out, struct sh_env *env, const struct sh_txn_timers *timers,
			const struct sh_txn_user *user, void *user_ctx);
void sh_txn_layer_attach(struct sh_txn_layer *l, struct sh_transport *t);
extern const struct sh_transport_user sh_txn_transport_user;
void sh_txn_layer_destroy(struct sh_txn_layer *l); /* frees all transactions without events; NULL is fine */

struct sh_transport *sh_txn_layer_transport(const struct sh_txn_layer *l);
const struct sh_txn_stats *sh_txn_layer_stats(const struct sh_txn_layer *l);
struct sh_env *sh_txn_layer_env(const struct sh_txn_layer *l);

/* ------------------------------------------------------------------ server transactions */

enum sh_server_event {
	SH_SERVER_ACKED,   /* INVITE: the ACK to a 3xx-6xx came */
	SH_SERVER_TIMEOUT, /* INVITE: timer H fired without ACK (the answer may not have arrived) */
	SH_SERVER_FAILED,  /* the answer could not be sent */
	SH_SERVER_ENDED,   /* the transaction is about to be freed; the last event */
};
typedef void (*sh_server_fn)(struct sh_server_txn *st, enum sh_server_event ev, void *user);

/* Who wants events; fn NULL detaches. Who keeps a transaction to answer it later must watch it: an INVITE that nobody
 * watches is answered with 500 after 64*T1. A non-INVITE that has no answer after 64*T1 ends without one (RFC 4320);
 * the layer sends the 100 that RFC 4320 wants by itself. ENDED never comes from inside a call of the user's. */
void sh_server_txn_watch(struct sh_server_txn *st, sh_server_fn fn, void *user);
void *sh_server_txn_user(const struct sh_server_txn *st);

/* The request: valid inside the `request` callback, and after it until a final answer was sent (the copy is freed by
 * that answer). NULL then. */
const struct sh_msg *sh_server_txn_request(const struct sh_server_txn *st);
const struct sh_path *sh_server_txn_path(const struct sh_server_txn *st); /* where it came from */
bool sh_server_txn_answered(const struct sh_server_txn *st);              /* a final answer was sent */

/* Begins a response in the layer's scratch buffer (one at a time): status line, Vias, From, To with the tag, Call-ID,
 * CSeq. The caller adds headers and body (sh_put_body ends it) and calls respond. Empty to_tag with code > 100: the
 * layer puts the last one that was used, or one that it derives from the request. Behind a final answer: a writer that
 * takes nothing. */
struct sh_writer *sh_server_txn_begin(struct sh_server_txn *st, unsigned code, struct sh_slice reason,
				      struct sh_slice to_tag);
/* Sends what begin started; between the two no other answer may be begun. 1xx, 2xx, 3xx-6xx by the state machine. A 2xx
 * to INVITE: the user retransmits it until the ACK (sh_server_txn_resend). A copy is kept where the machine needs it.
 * 0; -EALREADY after a final answer; -EMSGSIZE too large; -EPERM for 408 to a non-INVITE, and for 1xx to a non-INVITE
 * before T2 (RFC 4320); -errno of the transport: the machine has gone on all the same, as if the answer was lost on
 * its way. */
int sh_server_txn_respond(struct sh_server_txn *st, unsigned code, struct sh_writer *w);
/* The whole in one: an answer without extra headers and body. */
int sh_server_txn_reply(struct sh_server_txn *st, unsigned code, struct sh_slice reason);
/* Sends text again (2xx in Accepted; provisional repeats). */
int sh_server_txn_resend(struct sh_server_txn *st, struct sh_slice text);

/* ------------------------------------------------------------------ client transactions */

enum sh_client_event {
	SH_CLIENT_RESPONSE,    /* 1xx, 2xx.., each 2xx of an INVITE whose ACK is not kept; never a repeated 3xx-6xx */
	SH_CLIENT_TIMEOUT,     /* timer B or F */
	SH_CLIENT_UNREACHABLE, /* transport error, ICMP, connection refused */
	SH_CLIENT_ENDED,       /* about to be freed; the last event */
};
typedef void (*sh_client_fn)(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *response,
			     void *user);

/* Asked at a 401 or 407 before the user hears of it, while the transaction has one. True: the request went out again
 * (sh_client_txn_again), and this answer is nobody's business any more. *seen is 0 the first time and the callback's own. */
typedef bool (*sh_challenge_fn)(struct sh_client_txn *ct, const struct sh_msg *response, uint32_t *seen, void *ctx);

struct sh_client_request {
	enum sh_method method;     /* SH_METHOD_OTHER for unknown ones */
	struct sh_slice line;      /* "INVITE sip:... SIP/2.0\r\n" */
	struct sh_slice rest;      /* the other headers but Via, with the blank line and the body */
	struct sh_path path;
	const struct sh_path *others; /* where it goes next, with another branch, when no word was heard (RFC 3263 4.3); copied */
	unsigned other_count;
	sh_challenge_fn challenged; /* NULL: nobody has credentials */
	void *challenged_ctx;
};

/* Sends a request; the layer puts the Via with a fresh branch behind the request line (rport always). Requests over
 * 1,300 bytes on UDP go by TCP when we have a TCP endpoint, and by UDP after all when the connection fails (18.1.1).
 * ACK for a 2xx is not a transaction: see sh_txn_send_ack. 0 or -errno; then no event comes. Events come later, never
 * from inside this call. */
int sh_client_txn_start(struct sh_client_txn **out, struct sh_txn_layer *l, const struct sh_client_request *r,
			sh_client_fn fn, void *user);

/* From inside a sh_challenge_fn: the request as it was sent, and the same transaction once more with another text: a
 * branch of its own, all timers anew (RFC 3261 22.2; the caller has put another CSeq). 0 or -errno: nothing was sent, and
 * the answer stands. */
void sh_client_txn_text(const struct sh_client_txn *ct, struct sh_slice *line, struct sh_slice *rest);
int sh_client_txn_again(struct sh_client_txn *ct, struct sh_slice line, struct sh_slice rest);

/* CANCEL of an INVITE: at once when a 1xx came, else when it comes (9.1). reason: a value for the Reason header or empty.
 * When no final answer comes within 64*T1 after the CANCEL the transaction reports TIMEOUT. Idempotent. */
int sh_client_txn_cancel(struct sh_client_txn *ct, struct sh_slice reason);
/* No more events; the machine goes on by itself: it ACKs failures, 2xx become strays, and a ringing INVITE has 64*T1 left
 * for a final answer. */
void sh_client_txn_detach(struct sh_client_txn *ct);

/* The user has sent this ACK for the 2xx with that CSeq number and To tag: when that 2xx comes again, the ACK is sent again and the user is
 * not told, for as long as the peer may repeat it (RFC 3261 13.2.2.4, RFC 6026 timer M), with a user or without. A 2xx that comes a second time
 * after its ACK is the only sign that there is of an address that does not work: then the next one gets it (RFC 3263 4.3). */
struct sh_kept_ack {
	struct sh_slice text;
	struct sh_path path;
	const struct sh_path *others; /* copied */
	unsigned other_count;
	uint32_t cseq;
	struct sh_slice tag;
};
void sh_client_txn_keep_ack(struct sh_client_txn *ct, const struct sh_kept_ack *ack);

struct sh_slice sh_client_txn_branch(const struct sh_client_txn *ct);
const struct sh_path *sh_client_txn_path(const struct sh_client_txn *ct); /* with the flow that is really used */

/* An ACK for a 2xx, or any request sent without a transaction: line, Via with a fresh branch, rest. If text is not NULL the
 * whole is left there (in the layer's scratch until the next call) so that it can be sent again with sh_transport_send. */
int sh_txn_send_ack(struct sh_txn_layer *l, const struct sh_path *path, struct sh_slice line, struct sh_slice rest,
		    struct sh_slice *text);

/* An answer without a transaction (malformed requests, overload). To gets a tag derived from the request. ACK: nothing is sent.
 * headers: complete lines to add, may be empty. */
int sh_txn_reply_stateless(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from, unsigned code,
			   struct sh_slice reason, struct sh_slice headers);

/* Requests that a server transaction is there for, by a number that follows from what identifies it (17.2.3) and the process's key:
 * the same for a repetition, an ACK to a failure and a CANCEL. For whoever must know later which requests came here. */
uint64_t sh_txn_request_key(const struct sh_txn_layer *l, const struct sh_msg *m);
void sh_txn_each_request_key(struct sh_txn_layer *l, void (*fn)(void *ctx, uint64_t key), void *ctx);

#endif
