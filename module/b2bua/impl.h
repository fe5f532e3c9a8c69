/* What the files of this layer share. Nobody else includes it. */
#ifndef SH_B2BUA_IMPL_H
#define SH_B2BUA_IMPL_H

#include <errno.h>
#include <stdatomic.h>

#include "b2bua/call.h"
#include "b2bua/subscription.h"
#include "b2bua/transfer.h"
#include "core/alloc.h"
#include "core/invariant.h"

enum { SH_UA_BUFFER = SH_MSG_MAX_SIZE, SH_ALLOW_ROOM = 192 };

/* drain.c: what is still to be hung up, a portion at a time. */
struct sh_drain {
	struct sh_timer timer;
	unsigned calls, subscriptions; /* how many are left, from the beginning of their lists on */
	struct sh_slice reason;        /* that subscriptions are told (RFC 6665 4.1.3) */
	uint64_t until, last;          /* when it is to be over (0: no matter), and when the last portion was */
};
void sh_drain_init(struct sh_ua *ua);
void sh_drain_finish(struct sh_ua *ua);
void sh_drain_subscriptions(struct sh_ua *ua); /* they come again at once, to the process that has taken over */

struct sh_ua {
	struct sh_env *env;
	struct sh_transport *transport;
	struct sh_txn_layer *txn;
	struct sh_dialog_table dialogs;
	const struct sh_app *app;
	void *app_ctx;
	struct sh_ua_config config;
	struct sh_slots calls, legs, requests, subscriptions; /* by handle */
	struct sh_hash calls_by_id;
	struct sh_link live_calls, live_legs, live_requests, live_relays, live_sendings;
	struct sh_link trunks;
	struct sh_link live_subscriptions, live_refers;
	struct sh_hash sources; /* source.c */
	size_t published; /* publish.c: octets of all documents here */
	uint64_t lamp_second; /* package_dialog.c: the second whose budget is being used, */
	size_t lamp_walks;    /* and how many legs were looked at in it */
	struct sh_hash resources; /* event.c: by event and address of record */
	struct sh_hash forwards;          /* forward.c */
	struct sh_link forwards_due;
	struct sh_timer forwards_timer;   /* of the first of those */
	unsigned forwards_ending;         /* how many they are */
	struct sh_link passages;          /* move.c */
	uint64_t serial;                  /* of transfers that ask another worker */
	struct sh_location *location;     /* may be NULL */
	const struct sh_domains *domains; /* may be NULL */
	/* Of the first worker's: addresses that somebody watches, on any worker. */
	_Atomic unsigned lamps_wanted, bindings_wanted;
	struct sh_link dead_calls, dead_legs, dead_requests, dead_subscriptions; /* to be freed at the end of the turn */
	struct sh_link fresh_subscriptions; /* to be told at the end of the turn */
	struct sh_prefix *trust;
	unsigned ntrust;
	struct sh_link questions; /* descriptions that the application looks at */
	const struct sh_msg *released; /* what came of one of them, while it goes on */
	bool asks_sdp;
	const struct sh_ua_abroad *abroad; /* NULL: there are no other processes */
	struct sh_drain drain;
	bool draining, closing; /* closing: it is being destroyed, the application is told nothing */
	struct sh_ua_stats stats;
	struct sh_log_limit log_limit; /* sh_ua_warn() */
	void (*flow_closed)(void *ctx, uint64_t flow);
	void *flow_closed_ctx;
	void (*on_call)(void *ctx, struct sh_call *call, enum sh_call_event event, const struct sh_why *why);
	void *on_call_ctx;
	void (*turn_end)(void *ctx);
	void *turn_end_ctx;
	const struct sh_ua_observer *observer; /* mostly NULL */
	struct sh_slice allow, allow_in_dialog; /* texts in allow_text */
	bool notifies; /* there is a subscribe hook: Allow-Events is said */
	char allow_text[2][SH_ALLOW_ROOM];
	char *line, *rest, *body; /* buffers in which requests are built: one at a time */
};

/* What a peer can cause is logged with this: there is a limit. */
#define sh_ua_warn(ua, ...) sh_log_write_limited((ua)->env->log, SH_LOG_WARN, &(ua)->log_limit, (ua)->env->now, __VA_ARGS__)

/* A body that several legs may name: what one offered is what the other was sent. Its Content-Type stands behind it. */
struct sh_body {
	uint32_t refs, len, type_len;
	char text[];
};
struct sh_body *sh_body_make(struct sh_slice type, struct sh_slice text); /* NULL: empty, or out of memory */
struct sh_slice sh_body_text(const struct sh_body *b); /* NULL is fine: empty */
struct sh_slice sh_body_type(const struct sh_body *b);
struct sh_body *sh_body_ref(struct sh_body *b);
void sh_body_unref(struct sh_body *b);

/* All addresses of the next hop of a dialog's requests, when it is a name with several (RFC 3263 4.3): next_hop.c. */
struct sh_next_hop {
	struct sh_path *paths; /* count of them; NULL: one, which is the dialog's */
	unsigned count;
};

struct sh_branch;
struct sh_pickup;
struct sh_early_dialog;
struct sh_session;
struct sh_transfer;
struct sh_reinvite;
struct sh_originate;
struct sh_reoffer;
struct sh_rebridge;

/* What watches a server transaction, or owns a dialog, begins with what it is. */
enum sh_owner { SH_OWNER_LEG, SH_OWNER_REQUEST, SH_OWNER_SUBSCRIPTION, SH_OWNER_QUESTION };

/* A 2xx that is repeated until its ACK comes (13.3.1.4). */
struct sh_unacked {
	struct sh_leg *leg;
	struct sh_timer timer;
	struct sh_server_txn *st; /* NULL: it has ended, and nothing is repeated any more */
	uint64_t wait, end;
	uint32_t cseq; /* of its INVITE: what the ACK names */
	uint32_t len;
	char text[];
};

struct sh_leg {
	enum sh_owner owner;     /* SH_OWNER_LEG */
	bool moved;              /* it was on another worker, which may still send after it: move.c */
	uint8_t lamp;            /* what was told of it: package_dialog.c */
	bool acked;              /* outbound: the ACK to the last 2xx has been sent */
	bool answer_owned;       /* answered_with is a copy; else the message of the event that is being handled */
	struct sh_dialog dialog; /* finished with the leg */
	struct sh_link link;     /* in live_legs or dead_legs */
	struct sh_link in_call;  /* winners of a fork that are not bridged yet: call->loose */
	uint64_t handle;
	struct sh_ua *ua;
	struct sh_call *call;     /* NULL: it winds up by itself */
	struct sh_branch *branch; /* while a fork tries it */
	struct sh_link reinvites;     /* those sent on this leg, until their transactions end */
	struct sh_link requests;      /* from this leg, with the application */
	struct sh_link relays;        /* to this leg */
	struct sh_link early;         /* outbound: its early dialogs, sh_early, until the bridge */
	struct sh_early_dialog *answered_in; /* the one that the 2xx belongs to; NULL: the 2xx came first */
	struct sh_link subscriptions; /* in its dialog: of its REFERs */
	char *aor;                    /* outbound: whose contact was called, when somebody watches; else NULL */
	struct sh_reinvite *reinvite; /* one that came from or goes to this leg */
	struct sh_question *question, *asked; /* about an answer to our INVITE; about a request */
	struct sh_relay *update;      /* the same for an UPDATE with an offer */
	struct sh_session *session;   /* its session timer; NULL: none was agreed */
	struct sh_link reoffers;      /* of our own, until their transactions end */
	struct sh_reoffer *reoffer;   /* the one whose outcome somebody waits for */
	enum sh_leg_state state : 8; /* small, all of these: there are two legs for each call that is up */
	bool inbound;
	bool behind_nat;        /* it is reached where its packets come from */
	bool located : 1;       /* inbound: the next hop of our requests has been looked for, with the first answer that makes a dialog */
	bool hangup_wanted : 1; /* as soon as its ACK, or the final answer to our INVITE, has come */
	bool referred : 1;      /* a REFER in its dialog was accepted */
	unsigned code;
	struct sh_server_txn *st; /* inbound: the INVITE that made it, until its end */
	struct sh_client_txn *ct; /* outbound: the INVITE that made it, until its end */
	struct sh_client_txn *bye;
	struct sh_client_txn *probe; /* OPTIONS that asks whether it lives */
	struct sh_locate *locate; /* of the next hop of requests in the dialog */
	struct sh_next_hop next_hop;
	struct sh_unacked *answer; /* the 2xx that we sent and that is not acknowledged, of INVITE or re-INVITE; or NULL */
	struct sh_client_txn *invite_ct; /* of the last INVITE that we sent in the dialog, until it ends: it keeps our ACK */
	const struct sh_msg *answered_with; /* outbound: its 2xx, until the bridge passes it on */
	struct sh_client_auth *auth; /* NULL: no credentials */
	char *invite_credentials;    /* lines, as our last INVITE had them: its ACK has the same (13.2.2.4) */
	char *session_id;    /* value of Session-ID in what we send by ourselves, or NULL (RFC 7989) */
	char *hangup_reason; /* for the BYE or CANCEL to come: value of Reason, NUL-terminated, or NULL */
	char *user_agent;    /* NUL-terminated or NULL */
	struct sh_body *local_sdp, *remote_sdp;
};

struct sh_call {
	struct sh_link link;
	struct sh_hash_node by_id;
	uint64_t handle;
	struct sh_ua *ua;
	char id[SH_TAG_LEN];
	struct sh_leg *a, *b;
	struct sh_link loose; /* legs that answered and are not bridged */
	struct sh_fork *fork;
	struct sh_rebridge *rebridge;
	struct sh_transfer *transfer;
	struct sh_pickup *pickup; /* its caller is about to take somebody's place in another call */
	struct sh_pickup *picked; /* and that is this one */
	struct sh_originate *originate; /* we make it: until both talk */
	struct sh_msg *invite; /* freed when set-up is over */
	struct sh_path source;
	bool a_tag_used; /* a provisional answer bore the tag of the dialog */
	bool prackable, prack_required; /* the caller supports, or requires, 100rel (RFC 3262) */
	bool told; /* the observer knows of it */
	bool forked; /* somebody was called: the caller's lamp is on from here on, not from arrival */
	bool trusted, setup_over, keep_on_peer_hangup, answered;
	bool solo_script; /* the script has said the session: solo.c */
	bool lends; /* one of its legs is about to leave for another call */
	uint32_t invite_cseq;    /* of the caller's INVITE */
	unsigned holds;
	enum sh_call_state state;
	struct sh_link reliable; /* provisional answers without their PRACK */
	struct sh_call_times times;
	struct sh_timer duration;
	struct sh_timer probe; /* the longest set-up, then probe.c */
	/* bridge in progress */
	struct sh_leg *bridging; /* the 2xx waits for a PRACK; NULL: it does not */
	struct sh_bridge_options bridge_options; /* then; its headers are a copy */
	sh_bridge_fn bridge_done;
	void *bridge_ctx;
	uint64_t bridge_former; /* handle of the partner before, on a call that is up */
	/* one leg only: solo.c */
	struct sh_body *solo;  /* the 2xx with that waits for a PRACK */
	unsigned solo_version; /* of our description */
	/* the last fork's failure, for sh_call_settle */
	unsigned failure_code;
	struct sh_msg *failure;
	uint16_t failure_warning; /* that it is told with, where there is no message; 0: none */
	uint16_t uri_len, from_len, to_len;
	char *text; /* Request-URI, From and To without tags, one behind the other */
	void *app;
};

struct sh_relay; /* a request that is being passed on: relay.c */

struct sh_request {
	enum sh_owner owner; /* SH_OWNER_REQUEST */
	struct sh_link link;
	struct sh_link of_leg; /* in leg->requests */
	uint64_t handle;
	struct sh_ua *ua;
	struct sh_server_txn *st; /* NULL: observed, or the transaction ended */
	struct sh_msg *msg;       /* ours */
	struct sh_path from;
	uint64_t call, leg; /* handles; 0 = none */
	uint64_t subscription; /* that it made */
	struct sh_relay *relay;
	struct sh_sending *sending;
	bool observed, answered, in_dialog, released;
	void *app;
};

/* ---- ua.c */
void sh_ua_writers(struct sh_ua *ua, struct sh_writer *line, struct sh_writer *rest);
/* sips.c */
#define SH_SIPS_NOT_ALLOWED SH_LIT("SIPS Not Allowed") /* the reason, and the text of warning 380 */
#define SH_SIPS_REQUIRED    SH_LIT("SIPS Required")    /* of 381 */
/* A sips request that is not what it says: the code that refuses it, or 0. why: static, may be empty. */
unsigned sh_sips_judge(const struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from, struct sh_slice *why);
bool sh_is_sips(struct sh_slice uri);
/* Whether a registered contact may be called in this call; its URI gets the scheme that it must have, in the arena. */
bool sh_sips_admits(const struct sh_call *c, struct sh_target *t, struct sh_arena *a);

/* Contact: where the requests of a dialog shall come (SH_UA_WORKER). */
void sh_ua_put_contact(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *path, bool secure);
/* The same for requests of any kind, with a user part (bare, may be empty): nothing in it is about a worker. */
void sh_ua_put_contact_of(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *path, bool secure,
			  struct sh_slice user);
void sh_ua_put_product(struct sh_ua *ua, struct sh_writer *w, bool request);
/* Allow; and Allow-Events where we may be a notifier: in what makes a dialog and in answers to OPTIONS (RFC 6665 4.4.4). */
void sh_ua_put_abilities(const struct sh_ua *ua, struct sh_writer *w, struct sh_slice allow);
void sh_ua_put_allow_events(struct sh_writer *w); /* a 489 has it in any case (7.2) */
int sh_ua_send(struct sh_ua *ua, struct sh_client_txn **out, enum sh_method method, const struct sh_writer *line,
	       const struct sh_writer *rest, const struct sh_path *path, sh_client_fn fn, void *user);

/* ---- authorize.c: answers to 401 and 407 */
/* A request that can be sent again with credentials; auth NULL: sh_ua_send. challenged answers with sh_ua_authorize. */
int sh_ua_send_auth(struct sh_ua *ua, struct sh_client_txn **out, enum sh_method method, const struct sh_writer *line,
		    struct sh_writer *rest, const struct sh_path *path, sh_client_fn fn, void *user, struct sh_client_auth *auth,
		    sh_challenge_fn challenged, void *ctx);
/* In a sh_challenge_fn: sends it again with that CSeq number. False: the answer stands. */
bool sh_ua_authorize(struct sh_ua *ua, struct sh_client_auth *auth, struct sh_client_txn *ct, const struct sh_msg *m,
		     uint32_t *seen, uint32_t cseq);
/* A request in the leg's dialog (also the INVITE that makes it), along its path, with its credentials where it has any:
 * what the leg sends goes this way. */
int sh_leg_send(struct sh_leg *l, struct sh_client_txn **out, enum sh_method method, const struct sh_writer *line,
		struct sh_writer *rest, sh_client_fn fn, void *user);
/* The same in dialog d of the leg, which may be an early one beside the first. */
int sh_leg_send_in(struct sh_leg *l, const struct sh_dialog *d, struct sh_client_txn **out, enum sh_method method,
		   const struct sh_writer *line, struct sh_writer *rest, sh_client_fn fn, void *user);

/* ---- router.c: in front of the transaction layer when there are several workers; its context is the ua */
static inline bool sh_ua_has_peers(const struct sh_ua *ua) /* other processes */
{
	return ua->abroad && atomic_load_explicit(ua->abroad->peers, memory_order_relaxed);
}
extern const struct sh_transport_user sh_ua_router;

/* ---- judge.c: RFC 3261 8.2; true: the request was answered */
bool sh_ua_judge(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from);
/* Of a request outside of dialogs that nobody wants. said (may be NULL): what an application adds. The code. */
struct sh_said {
	struct sh_slice headers, content_type, body; /* body.base NULL: none */
};
unsigned sh_ua_default_answer(struct sh_ua *ua, struct sh_server_txn *st, enum sh_method method, const struct sh_said *said);
/* "Supported: ...\r\n": the option tags of calls that we can do, and these. Nothing when there are none. */
void sh_ua_put_supported(struct sh_writer *w, bool prack, bool hears_199);
void sh_ua_reply(struct sh_ua *ua, struct sh_server_txn *st, unsigned code, struct sh_slice reason, struct sh_slice tag,
		 struct sh_slice headers);

/* ---- headers.c: which fields go where */
enum sh_copy { SH_COPY_INVITE = 1, SH_COPY_RESPONSE = 2, SH_COPY_DIALOG = 4, SH_COPY_REQUEST = 8, SH_COPY_IDENTITY = 16, SH_COPY_BODY = 32, SH_COPY_PRIVACY = 64,
	       SH_COPY_FORWARDED = 128 };
/* Copies the fields of m in one of these classes, but for those named in `except` lines or in the comma separated list
 * `removed`; and those that match `patterns`. */
void sh_put_copied(struct sh_writer *w, const struct sh_msg *m, unsigned classes, struct sh_slice except,
		   struct sh_slice removed, struct sh_slice patterns);
/* All fields but those of one hop: a REGISTER, and its answer, that pass an edge. */
void sh_put_whole(struct sh_writer *w, const struct sh_msg *m, unsigned classes, struct sh_slice except);
/* What an application says: "Name: value" takes the place of what w has of that name, copied or ours, but for Require, to which
 * it adds; "Name" alone takes it away. Put behind all that it may replace, before the body. */
void sh_put_said(struct sh_writer *w, struct sh_slice lines);
bool sh_header_line_named(struct sh_slice lines, struct sh_slice name); /* with a value or without */
/* The fields of an answer that is passed on: those of the classes, and what a failure must say, but for those that the lines
 * `except` name. Not its body. */
void sh_put_answer_fields(struct sh_writer *w, const struct sh_msg *m, unsigned classes, struct sh_slice except);
/* Content-Type, Content-Length and the body of m. */
void sh_put_body_of(struct sh_writer *w, const struct sh_msg *m);

/* ---- identity.c */
/* SH_COPY_IDENTITY when what `from` says of people in m may be told to `to`, else 0. */
unsigned sh_identity_classes(const struct sh_ua *ua, const struct sh_msg *m, const struct sh_addr *from, const struct sh_addr *to);
/* The caller of m (NULL: none) wants to stay unknown to `to`: From is sh_privacy_from(), the fields of sh_privacy_removed() stay
 * here, and of Privacy goes on what sh_privacy_put_rest() puts (RFC 3323). */
bool sh_privacy_applies(const struct sh_ua *ua, const struct sh_msg *m, const struct sh_addr *to);
struct sh_slice sh_privacy_from(void);
struct sh_slice sh_privacy_removed(void); /* names, comma separated */
void sh_privacy_put_rest(struct sh_writer *w, const struct sh_msg *m);
void sh_diversion_put(struct sh_writer *w, const struct sh_target *t, const struct sh_msg *in, bool with_former);
void sh_session_id_learn(struct sh_call *c, struct sh_leg *leg, const struct sh_msg *answer);
void sh_session_id_answered(struct sh_leg *l, const struct sh_msg *answer); /* for our ACK and what follows it */
static inline void sh_session_id_put(const struct sh_leg *l, struct sh_writer *out) /* in what we send by ourselves */
{
	if (l->session_id)
		sh_put_header(out, SH_H_SESSION_ID, sh_slice_cstr(l->session_id));
}
/* The first Q.850 cause of Reason: of a message, a value, header lines. Texts stay where they are. */
void sh_why_read(struct sh_why *why, const struct sh_msg *m);
void sh_why_read_value(struct sh_why *why, struct sh_slice values);
void sh_why_read_lines(struct sh_why *why, struct sh_slice lines);

/* ---- next_hop.c */
/* Where requests in that dialog go from now on: d->path; and all addresses of that, the number of which it returns where they are
 * known. fn comes when a name has been looked up; *locate is the look-up in progress. */
unsigned sh_dialog_locate(struct sh_ua *ua, struct sh_dialog *d, const struct sh_path *from, bool behind_nat,
			  struct sh_path found[SH_MAX_CANDIDATES], sh_locate_fn fn, void *ctx, struct sh_locate **locate);
void sh_next_hop_keep(struct sh_next_hop *h, const struct sh_path *paths, unsigned count);
void sh_next_hop_finish(struct sh_next_hop *h);
/* Before a request is sent: d->path may change when it is known not to work. others: where it goes next, how many. */
unsigned sh_next_hop_choose(struct sh_ua *ua, const struct sh_next_hop *h, struct sh_dialog *d, struct sh_path others[SH_MAX_CANDIDATES]);
/* A request of the dialog has found its connection gone: that of another worker, of which nothing was known before. True: d->path is another
 * one now. */
bool sh_dialog_find_again(struct sh_ua *ua, struct sh_dialog *d);
/* A request in the dialog, to its next hop. */
int sh_dialog_send(struct sh_ua *ua, const struct sh_next_hop *h, struct sh_dialog *d, struct sh_client_txn **out, enum sh_method method,
		   const struct sh_writer *line, const struct sh_writer *rest, sh_client_fn fn, void *user);

/* ---- leg.c */
struct sh_leg *sh_leg_create(struct sh_ua *ua, struct sh_call *call, bool inbound);
void sh_leg_free(struct sh_leg *l);
void sh_leg_leave(struct sh_leg *l);   /* it leaves its call */
void sh_leg_ended(struct sh_leg *l);   /* nothing is left to be done: freed at the end of the turn */
/* Where requests in that dialog of the leg go from now on. */
void sh_leg_find_path(struct sh_leg *l, struct sh_dialog *d, const struct sh_path *from);
/* A request that refreshes the target of its dialog is accepted (RFC 3261 12.2, RFC 6141 4.6). */
void sh_leg_refresh(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *from);
/* min_se: what a 422 has asked for, or 0. edited: instead of the plan's or caller's body, or NULL. */
int sh_leg_send_invite(struct sh_leg *l, const struct sh_target *t, const struct sh_fork_plan *plan, uint32_t min_se,
		       struct sh_body *edited);
/* Somebody has made an offer in this leg's session to which the answer is missing (RFC 3264 4, RFC 6337 4). */
bool sh_leg_negotiates(const struct sh_leg *l);
/* "Retry-After: n", 0 to 10 seconds at random: what such an offer is refused with (RFC 3261 14.2, RFC 3311 5.2). */
void sh_put_retry_after(struct sh_ua *ua, struct sh_writer *w);
void sh_leg_bye(struct sh_leg *l);
void sh_leg_wind_up(struct sh_leg *l); /* the dialog is over */
/* The other side of what came in a dialog of this leg, early or confirmed, and its dialog there. NULL: there is none. */
struct sh_leg *sh_leg_opposite(const struct sh_leg *l, const struct sh_msg *m, struct sh_dialog **out);
void sh_leg_on_request(struct sh_leg *l, struct sh_dialog *d, struct sh_server_txn *st, const struct sh_msg *m,
		       const struct sh_path *from);
void sh_leg_learn_sdp(struct sh_body **at, const struct sh_msg *m);
void sh_leg_forget_answer(struct sh_leg *l);
void sh_leg_want_reason(struct sh_leg *l, struct sh_slice reason);

/* ---- answer.c: 2xx and ACK */
int sh_leg_respond(struct sh_leg *l, struct sh_server_txn *st, unsigned code, struct sh_writer *w); /* 2xx: kept until the ACK */
void sh_leg_on_ack(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *from);
void sh_leg_answer_over(struct sh_leg *l);
void sh_leg_send_ack(struct sh_leg *l, const struct sh_msg *with_body); /* NULL: without a body */
void sh_leg_send_ack_body(struct sh_leg *l, struct sh_slice content_type, struct sh_slice body);
/* An INVITE of the leg's own goes on without it; or it has ended. */
void sh_leg_detach_invite(struct sh_leg *l, struct sh_client_txn *ct);
void sh_leg_invite_ended(struct sh_leg *l, const struct sh_client_txn *ct);
void sh_leg_drop_answer(struct sh_leg *l, const struct sh_msg *response, const struct sh_path *from); /* ACK and BYE */

/* ---- call.c */
struct sh_call *sh_call_create(struct sh_ua *ua); /* NULL: no memory. Without legs and texts */
int sh_call_keep_texts(struct sh_call *c, struct sh_slice uri, struct sh_slice from, struct sh_slice to);
void sh_call_setup_over(struct sh_call *c); /* nothing of its INVITE is needed any more, but by who holds it */
void sh_call_leg_gone(struct sh_call *c, struct sh_leg *l, const struct sh_msg *bye); /* it hung up or was lost */
void sh_call_leg_lost(struct sh_call *c, struct sh_leg *l, unsigned code); /* it does not answer (408), or knows nothing (481) */
void sh_call_end(struct sh_call *c, const struct sh_why *why, struct sh_slice reason);
void sh_call_free(struct sh_call *c);
void sh_call_tell(struct sh_call *c, enum sh_call_event event, const struct sh_why *why); /* the host's event */
/* A call without a caller. sh_call_discard: it has come to nothing, and nobody was told of it. */
int sh_call_create_own(struct sh_call **out, struct sh_ua *ua, struct sh_slice uri, struct sh_slice from, struct sh_slice to);
void sh_call_discard(struct sh_call *c);

/* ---- caller.c */
void sh_call_on_invite(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from);
void sh_call_on_cancel(struct sh_call *c, const struct sh_msg *cancel);
/* An answer to the caller in that dialog of his; behind it: headers, body. */
struct sh_writer *sh_call_begin(struct sh_call *c, unsigned code, const struct sh_dialog *d);
/* reliable: the answer of e is, so that the caller's PRACK is wanted if the caller can give one. True: it will. */
bool sh_call_relay_provisional(struct sh_call *c, struct sh_early_dialog *e, unsigned code, const struct sh_msg *m, bool with_body,
			       bool reliable);
/* That early dialog is over, and why: 199 to a caller who wants to know (RFC 6228). */
void sh_call_early_over(struct sh_call *c, const struct sh_early_dialog *e, unsigned code);
unsigned sh_sip_cause_of(const struct sh_msg *m); /* of its Reason (RFC 3326); 0: none */
/* The final answer to a caller whose call ends before there was one. */
void sh_call_refuse(struct sh_call *c, const struct sh_why *why, struct sh_slice reason);

/* ---- bridge.c */
int sh_call_connect(struct sh_call *c, struct sh_body *sdp); /* the 2xx to the caller, without a second leg */
void sh_call_connected(struct sh_call *c, struct sh_dialog *d);    /* a 2xx went to the caller, in that dialog of his */
void sh_call_acked(struct sh_call *c, const struct sh_msg *ack);
void sh_call_ack_lost(struct sh_call *c);
void sh_call_pracked(struct sh_call *c); /* a 2xx that waited for it may be sent */
void sh_call_bridging_lost(struct sh_call *c); /* the leg whose 2xx waits has left: the bridge fails, soon */
void sh_call_bridge_over(struct sh_call *c, int error);            /* tells who waits */

/* ---- originate.c */
void sh_originate_over(struct sh_originate *o);  /* its call ends: tells who waits */
void sh_originate_abort(struct sh_originate *o); /* its call is freed: without a callback */

/* An INVITE whose Expires ends it before our own limit does (RFC 3261 13.3.1). */
static inline bool sh_invite_expires(const struct sh_msg *invite, uint64_t limit)
{
	return invite->expires > 0 && (uint64_t)invite->expires * SH_SECOND < limit;
}

/* ---- probe.c */
void sh_call_on_probe(struct sh_timer *t);
void sh_call_probe_later(struct sh_call *c); /* a call that is up */
void sh_probe_drop(struct sh_leg *l);

/* ---- solo.c */
/* The answer to an offer with which no media flow; NULL: no memory, or it cannot be read. */
struct sh_body *sh_solo_silence(struct sh_call *c, struct sh_slice offer);
void sh_solo_pracked(struct sh_call *c);
/* A re-INVITE of a caller who has no partner. The code that it was answered with. */
unsigned sh_solo_reinvite(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m);
int sh_call_bridge_up(struct sh_call *c, struct sh_leg *leg, const struct sh_bridge_options *o, sh_bridge_fn done, void *ctx);

/* ---- branch.c */
void sh_branch_on_response(struct sh_branch *b, struct sh_leg *l, const struct sh_msg *m);
void sh_branch_heard(struct sh_branch *b); /* it lives: any answer came */
void sh_branch_hung_up(struct sh_branch *b); /* the application ends this one; the fork goes on */
void sh_branch_on_failure(struct sh_branch *b, struct sh_leg *l, unsigned code, enum sh_cause cause);

/* ---- result.c */
unsigned sh_result_rank(unsigned code, enum sh_cause cause); /* lower is better to report (16.7 step 6) */
/* ---- reinvite.c */
void sh_reinvite_start(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m);
/* The same with lines to add, and somebody who wants to know the outcome (done may be NULL; it may be called at once). */
void sh_reinvite_pass(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m, struct sh_slice headers,
		      sh_request_fn done, void *ctx);
void sh_reinvite_cancel(struct sh_leg *l, struct sh_server_txn *st);
void sh_reinvite_acked(struct sh_leg *l, const struct sh_msg *ack); /* it came for a 2xx to a re-INVITE */
void sh_reinvite_drop(struct sh_leg *l); /* the leg ends: 487 to whoever waits */
bool sh_reinvite_pending(const struct sh_leg *l); /* one of ours has no final answer yet */
bool sh_reinvite_forget(struct sh_leg *l, const void *ctx); /* that which the leg sent goes on, and is not reported to ctx */
bool sh_reinvite_is_from(const struct sh_leg *l); /* the one that goes on came from this leg */

/* ---- reoffer.c: INVITEs of our own in a dialog that is up. One at a time for each leg. */
/* code 2xx: m is the answer; else m may be NULL. 487: the leg has ended. Called once, from a later event. */
typedef void (*sh_reoffer_fn)(void *ctx, unsigned code, const struct sh_msg *m);
/* With an offer, which is acknowledged at once; or without (NULL): then the 2xx has the offer, and who asked sends the ACK
 * with sh_leg_send_ack. 0, -EPIPE: not up; -EBUSY; -ENOMEM. */
int sh_reoffer_start(struct sh_leg *l, struct sh_body *offer, sh_reoffer_fn done, void *ctx);
void sh_reoffer_forget(struct sh_leg *l);  /* nobody waits for it any more: cancelled, no callback */
void sh_reoffer_drop(struct sh_leg *l);    /* the leg ends: 487 to whoever waits */
bool sh_reoffer_pending(const struct sh_leg *l); /* one has no final answer yet */

/* ---- session.c: session timers (RFC 4028), one for each dialog */
/* A request whose interval is below our minimum: true, it was answered with 422. */
bool sh_session_too_small(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m);
uint32_t sh_session_min_of(const struct sh_msg *m); /* Min-SE of a 422; 0: none */
void sh_session_put_invite(struct sh_ua *ua, struct sh_writer *w, uint32_t min); /* min: of a 422 before, or 0 */
void sh_session_put_request(struct sh_leg *l, struct sh_writer *w);              /* a re-INVITE or UPDATE */
/* The fields of a 2xx to a request that refreshes a session; the interval begins. */
void sh_session_put_answer(struct sh_leg *l, struct sh_writer *w, const struct sh_msg *request);
void sh_session_on_answer(struct sh_leg *l, const struct sh_msg *m); /* such a 2xx came */
void sh_session_too_small_for(struct sh_leg *l, const struct sh_msg *m); /* a 422 came: the next one is larger */
/* An UPDATE without offer that refreshes the session of this leg alone: true, it was answered. */
bool sh_session_answers(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m);
bool sh_session_active(const struct sh_leg *l); /* somebody watches over it */
void sh_session_drop(struct sh_leg *l);

/* ---- rebridge.c */
bool sh_rebridge_concerns(const struct sh_rebridge *r, const struct sh_leg *l);
void sh_rebridge_leg_gone(struct sh_rebridge *r); /* one that it concerns: 487 to whoever waits */
void sh_rebridge_abort(struct sh_rebridge *r);    /* without a callback */

/* ---- transfer.c, refer.c */
bool sh_transfer_survives(const struct sh_transfer *t, const struct sh_leg *l); /* the call goes on when l hangs up */
void sh_transfer_abort(struct sh_transfer *t);                                   /* the call ends: 487 to whoever waits */
void sh_refer_drop_all(struct sh_ua *ua);

/* ---- pickup.c */
void sh_pickup_acked(struct sh_pickup *p, const struct sh_msg *ack);
bool sh_pickup_replaces(const struct sh_pickup *p, const struct sh_leg *l); /* the call goes on when l hangs up */
void sh_pickup_abort(struct sh_pickup *p);       /* the call of who picks up ends */
void sh_pickup_target_gone(struct sh_pickup *p); /* the other one ends */

/* For legs that come from another worker: */
bool sh_transfer_take(struct sh_call *c, uint64_t serial, struct sh_leg *l, unsigned home, uint64_t lender, uint64_t other, bool was_a);
void sh_transfer_refused(struct sh_call *c, uint64_t serial, unsigned code);
void sh_transfer_end_lender(struct sh_ua *ua, uint64_t lender);

/* ---- move.c */
/* Asks worker `home` for the partner of the leg that ids names, if it is who's (NULL: anyone's): sh_transfer_take or
 * sh_transfer_refused is the answer. 0 or -errno. */
int sh_move_ask(struct sh_call *c, const struct sh_dialog_ids *ids, unsigned home, const struct sh_referrer *who, uint64_t serial);
/* The transfer is over: the leg goes back (returns), or stays here. */
void sh_move_over(struct sh_ua *ua, struct sh_leg *fresh, unsigned home, uint64_t lender, uint64_t other, bool was_a, bool returns);
void sh_move_finish(struct sh_ua *ua);
void sh_leg_moved_gone(struct sh_leg *l); /* it is about to be freed */
void sh_reinvite_let_go(struct sh_leg *l); /* of those that are over: nobody repeats their ACKs any more */
void sh_reoffer_let_go(struct sh_leg *l);

/* ---- forward.c: key: a local tag of ours, or the Call-ID of an INVITE, which its sender chose */
enum sh_forward_kind { SH_FORWARD_TAG, SH_FORWARD_CALL_ID };
void sh_forward_init(struct sh_ua *ua);
int sh_forward_find(const struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key); /* the worker, or -1 */
/* lifetime: us; 0: until it is removed. */
void sh_forward_add(struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key, unsigned worker, uint64_t lifetime);
void sh_forward_remove(struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key);
void sh_forward_finish(struct sh_ua *ua);

/* ---- subscription.c */
struct sh_resource;
struct sh_subscription {
	enum sh_owner owner; /* SH_OWNER_SUBSCRIPTION */
	struct sh_link link; /* in live_subscriptions or dead_subscriptions */
	struct sh_link fresh; /* in fresh_subscriptions until the end of the turn in which it was accepted */
	struct sh_link of_leg;
	struct sh_link of_resource;
	struct sh_resource *resource; /* NULL: of a REFER, or over */
	uint64_t handle;
	struct sh_ua *ua;
	struct sh_leg *leg;      /* whose dialog it shares; NULL: it has its own */
	struct sh_dialog dialog;
	struct sh_next_hop next_hop; /* of it */
	struct sh_locate *locate;
	struct sh_source *source; /* whose it is; NULL: not counted */
	const struct sh_package *package; /* NULL: the script says what is notified */
	enum sh_sub_state state;
	struct sh_timer timer;   /* of its expiry */
	uint64_t expires_at;
	uint32_t limit;
	struct sh_client_txn *notify; /* on its way */
	bool again;              /* a newer state waits for that */
	bool dead;
	unsigned version;
	struct sh_body *body;    /* of its own: what a script said to this one */
	struct sh_slice reason;
	char reason_text[16];
	sh_sub_done_fn done;     /* the last NOTIFY has its answer */
	void *done_ctx;
	struct sh_slice event, id, aor, accepts; /* in text */
	char text[];
};
struct sh_subscription *sh_subscription_create(struct sh_ua *ua, struct sh_leg *leg, struct sh_slice event, struct sh_slice id,
					       struct sh_slice aor, struct sh_slice accepts);
int sh_subscription_in_dialog(struct sh_subscription *s, struct sh_request *q); /* a dialog of its own, as its UAS */
void sh_subscription_set_expires(struct sh_subscription *s, uint32_t seconds);
int sh_subscription_keep(struct sh_subscription *s, struct sh_slice type, struct sh_slice body); /* for the next NOTIFY */
void sh_subscription_free(struct sh_subscription *s);
void sh_subscription_tell_fresh(struct sh_ua *ua); /* at the end of a turn */
void sh_subscription_leg_gone(struct sh_leg *l);
void sh_subscription_on_request(struct sh_subscription *s, struct sh_server_txn *st, const struct sh_msg *m,
				const struct sh_path *from);
/* A SUBSCRIBE in a leg's dialog: false when it is for none of the leg's subscriptions. */
bool sh_subscription_in_leg(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from);
void sh_event_split(struct sh_slice value, struct sh_slice *name, struct sh_slice *id); /* "dialog;id=7" */

/* ---- source.c */
enum sh_kept { SH_KEPT_SUBSCRIPTIONS, SH_KEPT_OCTETS, SH_KEPT_COUNT };
struct sh_source;
/* n more of that peer. 0; -EAGAIN: he has too many; -ENOMEM. *out, which may be NULL, goes to sh_source_give. */
int sh_source_take(struct sh_ua *ua, const struct sh_addr *peer, enum sh_kept what, size_t n, struct sh_source **out);
bool sh_source_has_room(const struct sh_ua *ua, const struct sh_addr *peer, enum sh_kept what, size_t n);
void sh_source_give(struct sh_ua *ua, struct sh_source *s, enum sh_kept what, size_t n); /* NULL is fine */
struct sh_addr sh_source_host(const struct sh_source *s); /* of NULL: family 0 */

/* ---- package_dialog.c */
void sh_lamp_changed(struct sh_leg *l);
static inline void sh_leg_told(struct sh_leg *l) /* its state has changed */
{
	if (sh_ua_watched(l->ua))
		sh_lamp_changed(l);
}

/* ---- event.c */
void sh_event_join(struct sh_subscription *s);
void sh_event_leave(struct sh_subscription *s);
void sh_event_finish(struct sh_ua *ua);

/* ---- request.c, relay.c and send.c */
struct sh_request *sh_request_create(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m,
				     const struct sh_path *from, struct sh_leg *leg);
void sh_request_free(struct sh_request *r);
void sh_request_leg_gone(struct sh_leg *l); /* 487 to those that nobody has answered (RFC 3261 15.1.2) */
void sh_ua_observe(struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from, struct sh_leg *leg);
/* Passes a request in a dialog to the other leg without an application in between. */
void sh_relay_in_dialog(struct sh_leg *from_leg, struct sh_server_txn *st, const struct sh_msg *m);
/* The same for an application's request, or without one (rq NULL). 0; -ENOTCONN: there is no other leg; an UPDATE makes an
 * offer and -EAGAIN: its leg has made one before, -EINPROGRESS: they meet; -errno. */
int sh_relay_to_other_leg(struct sh_leg *l, struct sh_server_txn *st, struct sh_request *rq, const struct sh_msg *m,
			  struct sh_slice headers, struct sh_slice content_type, struct sh_slice body, sh_request_fn done,
			  void *ctx);
/* The caller's PRACK, for the early dialog that wants it as one for rseq. */
void sh_relay_prack(struct sh_leg *a, struct sh_early_dialog *e, uint32_t rseq, struct sh_server_txn *st, const struct sh_msg *m);
/* What could not be passed on, by the error of sh_relay_to_other_leg, is refused. Returns the code. */
unsigned sh_relay_refuse(struct sh_leg *l, struct sh_server_txn *st, int err);
void sh_relay_drop(struct sh_relay *r);
void sh_relay_drop_all(struct sh_ua *ua);
void sh_relay_leg_gone(struct sh_leg *l);
/* Its outcome goes to another one, if it went to `from`. */
bool sh_relay_redirect(struct sh_relay *r, const void *from, sh_request_fn done, void *ctx);
bool sh_sending_redirect(struct sh_sending *s, const void *from, sh_request_fn done, void *ctx);
void sh_sending_drop_all(struct sh_ua *ua);

/* ---- trunk.c */
void sh_trunks_drop_all(struct sh_ua *ua);

#endif
