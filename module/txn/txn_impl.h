/* What the files of the transaction layer share. Private to txn/.
 *
 * Who frees what: a transaction is freed by its timer, by a message that ends it, or with the layer; never from inside
 * a function that the user called. So a callback may call everything, and the layer may go on with the transaction
 * behind it. */
#ifndef SH_TXN_TXN_IMPL_H
#define SH_TXN_TXN_IMPL_H

#include <errno.h>

#include "core/alloc.h"
#include "txn/dialog.h"
#include "txn/txn.h"

enum {
	SH_TXN_BRANCH_LEN = 7 + SH_TAG_LEN, /* the cookie and a tag */
	SH_TXN_BUFFER = SH_MSG_MAX_SIZE + 1,
	SH_TXN_MAX_SERVERS = 1 << 22, /* more live server transactions than that are overload: 503 */
	SH_TXN_DATAGRAM_MAX = 1300,   /* RFC 3261 18.1.1, path MTU unknown */
	SH_TXN_ADDRESSES = 4096,      /* a power of two */
	SH_TXN_ALL = UINT8_MAX,       /* repetitions: until timer H */
};

/* One set for all four machines; Trying is Calling in the INVITE client. */
enum sh_txn_state {
	SH_TXN_TRYING,
	SH_TXN_PROCEEDING,
	SH_TXN_COMPLETED,
	SH_TXN_CONFIRMED,
	SH_TXN_ACCEPTED,
};

struct sh_txn_layer {
	struct sh_env *env;
	struct sh_transport *transport;
	const struct sh_txn_user *user;
	void *ctx;
	struct sh_txn_timers timers;
	struct sh_txn_stats stats;
	struct sh_hash servers; /* by sh_txn_key */
	struct sh_hash merges;  /* the same ones that had no To tag, by what 8.2.2.2 compares */
	struct sh_hash clients; /* by branch */
	struct sh_hash flows;   /* client transactions on streams, by flow */
	uint32_t unconfirmed[SH_TXN_ADDRESSES]; /* failures that wait for their ACK, by keyed hash of the address: see answer.c */
	struct sh_writer writer;
	size_t head; /* of the response in `answer`: what came from the request; 0: it has a To tag that we do not keep */
	char answer[SH_TXN_BUFFER];  /* responses: what sh_server_txn_begin hands out */
	char request[SH_TXN_BUFFER]; /* ACK, CANCEL, and requests of which no copy is kept */
};

/* A block with the text that would be sent again. Keeps its room for the next one. */
struct sh_txn_text {
	char *base;
	uint32_t len, cap;
};

/* What identifies a server transaction (17.2.3). */
struct sh_txn_key {
	struct sh_id128 id;
	uint64_t to_tag; /* peers of RFC 2543: hash of the To tag; else 0 */
	bool rfc2543;
};

struct sh_server_txn {
	struct sh_hash_node node, merge; /* in servers always; in merges when `mergeable` */
	uint64_t id, merge_id;           /* second halves of the keys */
	uint64_t to_tag;                 /* see sh_txn_key */
	struct sh_timer timer;           /* the only one: G and H share it, so do the automatic 100 and the end */
	uint64_t deadline;               /* H; before the answer: when an unanswered one is given up or looked at */
	struct sh_txn_layer *layer;
	sh_server_fn fn;
	void *user;
	const struct sh_msg *request; /* the transport's during the callback, then a clone; NULL after the answer */
	struct sh_txn_text text;      /* last answer, where it may have to be sent again; whole, or see short_code */
	struct sh_path from;
	uint32_t interval;    /* G */
	char tag[SH_TAG_LEN]; /* To tag of our answers, when has_tag */
	uint16_t reply_port;  /* 18.2.2 */
	/* Completed, not INVITE: only a repetition of the request asks for the answer again, and it brings all that the
	 * answer has of it. Then text is the reason and what stood behind the head. 0: text is whole. */
	uint16_t short_code, reason_len;
	uint8_t state, method;
	uint8_t repetitions; /* Completed INVITE over datagrams: how often timer G still fires, or SH_TXN_ALL */
	bool rfc2543 : 1, mergeable : 1, has_tag : 1, cloned : 1, answered : 1, cancelled : 1;
	bool counted : 1;     /* in unconfirmed */
	bool provisional : 1; /* one was sent; without text it was a 100, which can be made again */
};

/* Where a request goes when it found nobody (RFC 3263 4.3). */
struct sh_failover {
	unsigned count, at;
	struct sh_path paths[];
};

struct sh_client_txn {
	struct sh_hash_node node, flow_node;
	struct sh_timer timer; /* A and B, E and F, D, K, M; or the wait behind a CANCEL */
	uint64_t deadline;     /* B, F, or the end of that wait */
	struct sh_txn_layer *layer;
	sh_client_fn fn;
	void *user;
	sh_challenge_fn challenged;
	void *challenged_ctx;
	uint32_t seen;           /* that callback's */
	uint32_t interval;       /* A, E; in Accepted how often its 2xx has come since the ACK went to that address */
	struct sh_txn_text text; /* the request; in Completed the ACK; in Accepted see keep_ack */
	union {
		struct {
			uint32_t line_len, via_len; /* of the request */
		};
		/* Accepted: text is the To tag, then the ACK of that 2xx without what the 2xx brings each time that it comes. */
		struct {
			uint32_t ack_cseq;
			uint16_t ack_tag_len, ack_cut; /* where From, To and Call-ID go */
		};
	};
	union {
		struct sh_failover *others; /* not cancelled; NULL: none were given */
		char *reason;                 /* cancelled: of the CANCEL that waits for a 1xx; or NULL */
	};
	struct sh_path path;
	struct sh_addr *udp_local; /* where to go when TCP, taken for the size, fails; NULL: there is no such way */
	char branch[SH_TXN_BRANCH_LEN];
	uint8_t state, method, udp_endpoint;
	bool in_flows, cancelled;
};

static inline bool sh_client_has_others(const struct sh_client_txn *ct)
{
	return !ct->cancelled && ct->others && ct->others->at < ct->others->count;
}

/* What lingers for half a minute, three of each call: a class of the pool each. */
_Static_assert(sizeof(struct sh_server_txn) <= 240 && sizeof(struct sh_client_txn) <= 256, "transactions are small");

/* --- timers.c --------------------------------------------------------------------------------- */

static inline uint64_t sh_txn_64t1(const struct sh_txn_layer *l)
{
	return 64 * l->timers.t1;
}

/* 17.1.1.2: at least 32 s, T1 of the other side is not known. */
static inline uint64_t sh_txn_timer_d(const struct sh_txn_layer *l)
{
	return sh_txn_64t1(l) > 32 * SH_SECOND ? sh_txn_64t1(l) : 32 * SH_SECOND;
}

/* The timer of a transaction that only waits for its end: 0 is at once, else up to SH_TXN_TOGETHER later, since the timers that end
 * then are one wake-up and not one for each millisecond. */
static inline void sh_txn_linger(struct sh_env *env, struct sh_timer *t, uint64_t delay)
{
	uint64_t due = env->now + delay;

	if (delay)
		due = (due + SH_TXN_TOGETHER - 1) / SH_TXN_TOGETHER * SH_TXN_TOGETHER;
	sh_wheel_add(&env->wheel, t, due);
}

static inline uint64_t sh_txn_earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How long timer E of a client runs until it is set to T2: no 100 to a non-INVITE before (RFC 4320 4.1). */
uint64_t sh_txn_quiet_time(const struct sh_txn_timers *t);

/* --- text.c ----------------------------------------------------------------------------------- */

int sh_txn_text_set(struct sh_txn_layer *l, struct sh_txn_text *t, struct sh_slice s); /* 0 or -ENOMEM: empty then */
void sh_txn_text_free(struct sh_txn_layer *l, struct sh_txn_text *t);

static inline struct sh_slice sh_txn_text_slice(const struct sh_txn_text *t)
{
	return (struct sh_slice){t->base, t->len};
}

/* How the peer of a path sees us: what stands in our Via. */
struct sh_txn_sent_by {
	struct sh_slice host; /* may point into buf */
	uint16_t port;
	char buf[SH_ADDR_TEXT];
};
static inline void sh_txn_sent_by(struct sh_txn_sent_by *out, const struct sh_txn_layer *l, const struct sh_path *path)
{
	sh_transport_sent_by(l->transport, path, out->buf, &out->host, &out->port);
}

/* "Via: SIP/2.0/UDP host:port;branch=...;rport\r\n", at most SH_TXN_VIA_ROOM octets and the host. */
enum { SH_TXN_VIA_ROOM = 80 };
void sh_txn_put_via(struct sh_writer *w, enum sh_proto proto, const struct sh_txn_sent_by *by, struct sh_slice branch);

void sh_txn_branch_make(struct sh_env *env, char out[SH_TXN_BRANCH_LEN]);

/* Whole ACK (to a failure) and CANCEL in l->request, from the INVITE that is kept. Empty when that cannot be. */
struct sh_slice sh_txn_write_ack(struct sh_client_txn *ct, const struct sh_msg *response);
struct sh_slice sh_txn_write_cancel(struct sh_client_txn *ct, struct sh_slice reason);

/* --- tag.c ------------------------------------------------------------------------------------ */

/* The same for every message that agrees in Call-ID, From tag, CSeq number and branch: INVITE and its CANCEL. */
void sh_tag_derive(struct sh_env *env, const struct sh_msg *m, char out[SH_TAG_LEN]);

/* --- stateless.c ------------------------------------------------------------------------------ */

uint16_t sh_txn_reply_port(const struct sh_msg *m, const struct sh_path *from); /* at the address that it came from */
int sh_txn_send_stateless(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from, unsigned code,
			  struct sh_slice reason, struct sh_slice to_tag, struct sh_slice headers);

/* --- server.c --------------------------------------------------------------------------------- */

void sh_server_request(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from);
void sh_server_ack(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from);
void sh_server_cancel(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from);
void sh_server_tell(struct sh_server_txn *st, enum sh_server_event ev);
void sh_server_free(struct sh_server_txn *st); /* without an event */
void sh_server_drop_request(struct sh_server_txn *st);

/* --- answer.c --------------------------------------------------------------------------------- */

void sh_server_confirm(struct sh_server_txn *st); /* one that is counted: its failure waits for no ACK any more */
void sh_server_repeat(struct sh_server_txn *st, const struct sh_msg *m); /* the last answer once more; m: to the same request, or NULL */
void sh_server_send_100(struct sh_server_txn *st);
struct sh_slice sh_server_tag(struct sh_server_txn *st, const struct sh_msg *m); /* m: the request or its CANCEL */

/* --- client.c --------------------------------------------------------------------------------- */

void sh_client_response(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from);
void sh_client_flow_closed(struct sh_txn_layer *l, uint64_t flow, int error);
void sh_client_unreachable(struct sh_txn_layer *l, struct sh_slice branch, int error);
void sh_client_free(struct sh_client_txn *ct);

/* --- client_start.c --------------------------------------------------------------------------- */

/* A whole text that has the branch of `invite` (its CANCEL), as a transaction without user. 0 or -errno. */
int sh_client_start_beside(struct sh_client_txn *invite, enum sh_method method, struct sh_slice text);
/* In Completed: true when the challenge was answered, and the transaction has begun anew. ack: what the answer got. */
bool sh_client_answers_challenge(struct sh_client_txn *ct, const struct sh_msg *m, struct sh_slice ack);
struct sh_failover *sh_failover_make(const struct sh_path *paths, unsigned count); /* NULL: none, or no memory: then there is one path */
/* To the next of its paths; false: there is none, or nobody waits for it. */
bool sh_client_go_elsewhere(struct sh_client_txn *ct);
int sh_client_switch_to_udp(struct sh_client_txn *ct); /* 0, or -errno: it went by no way */
void sh_client_forget_udp(struct sh_client_txn *ct);
void sh_client_arm(struct sh_client_txn *ct);          /* starts A and B, or E and F */
void sh_client_leave_flow(struct sh_client_txn *ct);
struct sh_hash_node *sh_client_flow_first(const struct sh_txn_layer *l, uint64_t flow);
void sh_client_on_timer(struct sh_timer *t);

/* --- cancel.c --------------------------------------------------------------------------------- */

void sh_client_send_cancel(struct sh_client_txn *ct, struct sh_slice reason);

#endif
