/* A call: the caller's leg `a` and at most one connected leg `b`, each a dialog of its own (RFC 3261 6, "B2BUA"). While
 * it is set up a fork may try several legs.
 *
 *   SETUP --1xx sent--> EARLY --2xx sent, ACK came--> UP --BYE--> ENDED
 *      \________________ \____ rejected, cancelled ____________/
 *
 * A leg:   TRYING -> EARLY -> ANSWERED (2xx, ACK still missing) -> UP -> ENDING (our BYE or CANCEL is out) -> ENDED
 *
 * A leg that left its call (a lost branch, a call that ended) winds up by itself: it ACKs and BYEs a late 2xx. */
#ifndef SH_B2BUA_CALL_H
#define SH_B2BUA_CALL_H

#include "b2bua/ua.h"

enum sh_call_state { SH_CALL_SETUP, SH_CALL_EARLY, SH_CALL_UP, SH_CALL_ENDED };
struct sh_slice sh_call_state_name(enum sh_call_state s);

enum sh_leg_state { SH_LEG_TRYING, SH_LEG_EARLY, SH_LEG_ANSWERED, SH_LEG_UP, SH_LEG_ENDING, SH_LEG_ENDED };
struct sh_slice sh_leg_state_name(enum sh_leg_state s);

/* ---- reading */

uint64_t sh_call_handle(const struct sh_call *c);
struct sh_slice sh_call_id(const struct sh_call *c); /* 16 token characters */
enum sh_call_state sh_call_state(const struct sh_call *c);
/* The INVITE: while the call is in set-up or held by the application; NULL later. */
const struct sh_msg *sh_call_invite(const struct sh_call *c);
const struct sh_path *sh_call_source(const struct sh_call *c);
struct sh_slice sh_call_uri(const struct sh_call *c);  /* the Request-URI */
struct sh_slice sh_call_from(const struct sh_call *c); /* name-addr without tag */
struct sh_slice sh_call_to(const struct sh_call *c);
bool sh_call_trusted(const struct sh_call *c);
struct sh_leg *sh_call_a(const struct sh_call *c);
struct sh_leg *sh_call_b(const struct sh_call *c); /* NULL: not connected */
struct sh_ua *sh_call_ua(const struct sh_call *c);
bool sh_call_answered(const struct sh_call *c); /* a final answer went to the caller */
bool sh_call_connecting(const struct sh_call *c); /* the 200 is ready, and waits for the caller's PRACK */

struct sh_call_times {
	uint64_t start, ring, answer, stop; /* microseconds since 1970; 0 = not yet */
};
const struct sh_call_times *sh_call_times(const struct sh_call *c);

/* The application's own pointer, and its hold: a held call is not freed when it ends. */
void *sh_call_app(const struct sh_call *c);
void sh_call_set_app(struct sh_call *c, void *app);
void sh_call_hold(struct sh_call *c);
void sh_call_release(struct sh_call *c);

uint64_t sh_leg_handle(const struct sh_leg *l);
struct sh_call *sh_leg_call(const struct sh_leg *l); /* NULL: it left */
enum sh_leg_state sh_leg_state(const struct sh_leg *l);
unsigned sh_leg_code(const struct sh_leg *l); /* the last status code it gave or was given */
const struct sh_dialog *sh_leg_dialog(const struct sh_leg *l);
struct sh_slice sh_leg_uri(const struct sh_leg *l);         /* what was called, or the caller's From URI */
struct sh_slice sh_leg_remote_sdp(const struct sh_leg *l); /* last body that it sent with an offer or answer; may be empty */
struct sh_slice sh_leg_local_sdp(const struct sh_leg *l);
struct sh_slice sh_leg_user_agent(const struct sh_leg *l);

/* ---- a description that the application looks at: sh_app.sdp */

struct sh_slice sh_question_body(const struct sh_question *q); /* a session description that can be read */
struct sh_call *sh_question_call(const struct sh_question *q); /* NULL: it is gone */
uint64_t sh_question_from(const struct sh_question *q);        /* legs, as handles */
uint64_t sh_question_to(const struct sh_question *q);
bool sh_question_is_offer(const struct sh_question *q);
struct sh_link *sh_question_link(struct sh_question *q); /* for a list of the application's, with its way back */
struct sh_question *sh_question_of_link(struct sh_link *l);
int *sh_question_ref(struct sh_question *q); /* a number of the application's */
/* What goes on; empty: as it was. q is gone then. Every question must be answered, also when its call has ended. */
void sh_question_answer(struct sh_question *q, struct sh_slice body);

/* "Warning: 399 host \"text\"\r\n" (RFC 3261 20.43), in an answer to a request that came by that path. */
void sh_put_warning(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *to, unsigned code, struct sh_slice text);
/* The warning that belongs to an answer with that reason: 380 or 381 (RFC 5630 5.3); 0: none. */
unsigned sh_sips_warning(unsigned code, struct sh_slice reason);

/* ---- targets */

enum sh_early { SH_EARLY_RELAY, SH_EARLY_DROP, SH_EARLY_FIRST };

/* By what a phone is reached that registered by it: a contact of its own, with the Path that leads there. */
struct sh_reach {
	struct sh_slice uri, route;
	struct sh_path path;
	bool has_path;   /* path is to be used, and not what the URI says: nobody else was in between */
	bool behind_nat; /* what it is called for stays on that path */
};
struct sh_reach sh_reach_of(const struct sh_contact *c); /* texts are those of the contact */

/* What a failure becomes when it is passed on: credentials were asked of us, what is overloaded is not us (16.7), and no endpoint
 * is to hear of flows (RFC 5626 11.5). */
static inline unsigned sh_code_passed_on(unsigned code)
{
	if (code == 430)
		return 480;
	return code == 401 || code == 407 || code == 503 ? 500 : code;
}

/* Each leg has its own of these fields: nobody writes them but the engine. */
bool sh_header_is_engines(enum sh_header_id id);

/* Where a branch goes and what its INVITE (or other request) says. Texts live in the plan's arena. */
struct sh_target {
	struct sh_slice uri;     /* Request-URI */
	struct sh_slice route;   /* preset route set ("<sip:a;lr>, ..."): a Path, an outbound proxy */
	struct sh_slice from;    /* name-addr or URI; empty: the caller's */
	struct sh_slice to;      /* empty: the To of the caller */
	struct sh_slice headers; /* what an application says: see below */
	struct sh_slice aor;     /* whose contact it is, when that is known: for lamps */
	struct sh_slice copy;    /* names to copy from the caller's request, comma separated; a name may end in '*' */
	struct sh_slice pai;     /* P-Asserted-Identity; empty: the caller's when it is trusted */
	struct sh_slice privacy; /* Privacy */
	struct sh_slice diversion;
	const struct sh_login *logins; /* what answers a 401 or 407 of this target */
	unsigned nlogins;
	bool registered;         /* a contact out of the location store */
	bool behind_nat;         /* path is where it registered from, whatever its URI says */
	bool has_path;           /* path is to be used: a registered contact's connection, source address or endpoint */
	struct sh_path path;
	const struct sh_reach *others; /* other flows of the same phone, for when this one is dead (RFC 5626 7) */
	unsigned other_count;
	int proto;               /* enum sh_proto wanted, -1: by the URI */
	int endpoint;            /* index, -1: any */
	struct sh_slice hop;     /* whose location decides where it goes, when that is not uri; by the fork */
	uint64_t timeout;        /* us; 0: the plan's */
	uint64_t delay;          /* us before this branch starts */
	unsigned group;          /* groups are tried one after the other, from 0 */
	bool alternative;        /* the same server as the target before, by another address: only for when that one cannot serve */
	unsigned breadth;        /* Max-Breadth, by the fork; 0: none */
};

/* The request to `uri` (RFC 3261 19.1.5): what a URI says beside where to go does not stand in the Request-URI. Header fields that
 * do no harm (the first 16) go behind t->headers, where those do not name them; all others are left out. ours: the script says it,
 * nobody on the network. 0 or -ENOMEM; the URI is a good one. */
int sh_target_form(struct sh_target *t, struct sh_arena *a, struct sh_slice uri, bool ours);
void sh_target_reach(struct sh_target *t, const struct sh_reach *r); /* goes by that */
bool sh_target_next_flow(struct sh_target *t); /* goes by the next of its others; false: there is none left */
/* A final answer that was not the phone's: RFC 5626 7 asks it by another flow then, and only then. */
static inline bool sh_flow_failed(unsigned code)
{
	return code == 430 || code == 408;
}

struct sh_result;

/* What happens to a branch: its INVITE was sent; it rings (a provisional answer without a body); one with a body came; it
 * answered; it failed for good; we cancelled it. */
enum sh_branch_event {
	SH_BRANCH_SENT,
	SH_BRANCH_RINGING,
	SH_BRANCH_EARLY,
	SH_BRANCH_ANSWERED,
	SH_BRANCH_FAILED,
	SH_BRANCH_CANCELLED,
	SH_BRANCH_OVER,
};

/* Of a call that is up, without an sdp of the plan's: who makes the first offer. Some cannot: phones in browsers fail when they
 * are called without one. They are offered what the party that stays said last, and say anew what they can do when they have
 * answered: sh_call_rebridge. */
enum sh_first_offer { SH_OFFER_TO_BROWSERS, SH_OFFER_TO_ALL, SH_OFFER_TO_NOBODY }; /* the first: to who is reached by WebSocket */

struct sh_fork_plan {
	struct sh_arena arena; /* owns every text; taken over by whoever accepts the plan */
	struct sh_target *targets; /* grouped: the group of one is that of the one before, or one higher */
	unsigned count;
	uint64_t timeout;       /* us per group; 0: timer C, restarted by 1xx other than 100 */
	uint64_t first_timeout; /* us until the first answer of any kind; 0: the configured */
	enum sh_early early;
	bool single_tag;        /* all provisional answers to the caller bear one To tag */
	bool ignore_6xx;
	unsigned follow_redirects;
	bool has_sdp;
	struct sh_slice sdp;    /* instead of the caller's body */
	enum sh_first_offer offer;
	uint64_t offer_of;      /* handle of the leg that stays; 0: the caller's */
	struct sh_slice replaces; /* value of Replaces (RFC 3891), instead of the caller's */
	/* Of a call that is up: who wants to hear of 1xx other than 100. May be NULL. */
	void (*progress)(void *ctx, unsigned code, struct sh_slice reason);
	/* Who watches the branches; NULL: nobody. What it is told goes on while it looks: it does nothing to the call from inside.
	 * SH_BRANCH_OVER is the last event, also when the plan is refused or never used; leg and r are NULL then. */
	void (*on_branch)(void *ctx, enum sh_branch_event ev, struct sh_leg *leg, const struct sh_result *r);
	void *branch_ctx;
};
void sh_fork_plan_finish(struct sh_fork_plan *plan); /* nobody took it over */

enum sh_cause { SH_CAUSE_NONE, SH_BUSY, SH_DECLINED, SH_NO_ANSWER, SH_UNREACHABLE, SH_NOT_FOUND, SH_REDIRECTED, SH_REJECTED, SH_FAILED, SH_EMPTY };
struct sh_slice sh_cause_name(enum sh_cause c);
enum sh_cause sh_cause_of(unsigned code);

struct sh_branch_result {
	struct sh_slice uri, reason;
	unsigned code;
};

/* How a fork, a relay or a single request came out. Valid during the callback. */
struct sh_result {
	unsigned code;
	struct sh_slice reason;
	enum sh_cause cause;
	const struct sh_msg *msg; /* the answer itself; NULL: none came */
	const struct sh_branch_result *branches;
	unsigned nbranches;
};

/* ---- acting */

/* Headers: lines, each ending in CRLF, checked by the caller; may be empty. "Name: value" takes the place of what would be copied or
 * is ours, but for Require, to which it adds; "Name" alone leaves it out. All return 0 or -errno;
 * -EALREADY: a final answer was sent; -EPIPE: the call has ended. */
int sh_call_ring(struct sh_call *c, unsigned code, struct sh_slice reason, struct sh_slice headers, struct sh_slice sdp);
int sh_call_reject(struct sh_call *c, unsigned code, struct sh_slice reason, struct sh_slice headers,
		   struct sh_slice content_type, struct sh_slice body);

/* The fields of somebody else's failure that the caller wants to see: Warning, Contact of a 3xx, Allow of a 405 ...; but for
 * those that the lines `except` name. */
void sh_put_failure(struct sh_writer *w, const struct sh_msg *m, struct sh_slice except);

/* leg: the winner, answered, to be bridged or hung up; NULL: r says why. Called once, from a later event. */
typedef void (*sh_fork_fn)(void *ctx, struct sh_leg *leg, const struct sh_result *r);
/* Takes the plan over (its arena is moved, also when this fails). -EBUSY: a fork is in progress; -ENOENT: no targets. On a
 * call that is up nothing is taken from its INVITE, and without plan.sdp the targets make the offer (RFC 3725): see
 * sh_call_rebridge. */
int sh_call_fork(struct sh_call *c, struct sh_fork_plan *plan, sh_fork_fn done, void *ctx);

/* Ends a fork in progress without a word: its branches are cancelled, its callback does not come, the caller waits on. */
void sh_call_abort_fork(struct sh_call *c);

struct sh_bridge_options {
	struct sh_slice headers;   /* lines for the caller's 2xx */
	bool keep_on_peer_hangup;  /* when b hangs up the call goes on */
	uint64_t max_duration;     /* us from the answer; 0: none */
};
/* 0; -ETIMEDOUT: no ACK came; -EPIPE: the leg has gone; above 0: the status code with which a caller who was up already
 * has refused the new session. */
typedef void (*sh_bridge_fn)(void *ctx, int error);
/* In set-up: answers the caller and connects the two. On a call that is up the caller is re-INVITEd onto the leg, and the
 * one before is hung up (sh_call_rebridge). 1: it is connected already, the options count, done is not called; -EBUSY: one is in
 * progress. */
int sh_call_bridge(struct sh_call *c, struct sh_leg *leg, const struct sh_bridge_options *o, sh_bridge_fn done, void *ctx);

/* A party of a call that is up, `keep`, gets another partner: `fresh`, an answered leg of the call that is not connected.
 * keep is re-INVITEd onto what fresh offers now (RFC 3725); then fresh stands in the place of the other leg, which becomes a
 * leg that is not connected: whoever called this ends it. done: code 200, or what refused it (487: one of the two ended, 491:
 * neither came to its turn), m its answer or NULL; then all is as before and fresh is still loose. Called once, from a later
 * event, but not when the call ends. While it lasts the call survives the other leg. 0; -EPIPE: not in a state for it;
 * -EBUSY; -EBADMSG: fresh has answered without an offer; -ENOMEM. */
typedef void (*sh_rebridge_fn)(void *ctx, unsigned code, const struct sh_msg *m);
int sh_call_rebridge(struct sh_call *c, struct sh_leg *keep, struct sh_leg *fresh, sh_rebridge_fn done, void *ctx);

/* Answers the caller without a second leg. sdp empty: streams that are inactive; its re-INVITEs are then answered in the same
 * way. done as for a bridge. -EBADMSG: the caller's offer cannot be read. */
int sh_call_answer(struct sh_call *c, struct sh_slice sdp, struct sh_slice headers, sh_bridge_fn done, void *ctx);

/* Ends a call in any state: BYE, CANCEL, or `code` (0: 480) to the caller. reason: a value for Reason, or empty. */
int sh_call_hangup(struct sh_call *c, enum sh_why_by by, unsigned code, struct sh_slice reason);
int sh_leg_hangup(struct sh_leg *l, struct sh_slice reason);
/* The same for a leg that may be one of its call's two: then the call ends as if that party had hung up, by the script. */
void sh_call_hang_up_leg(struct sh_leg *l, struct sh_slice reason);

/* The invite hook is over: legs that were not bridged are ended; without a final answer the caller gets the last
 * fork's failure (true), or false is returned and the application has to say something. */
bool sh_call_settle(struct sh_call *c);
void sh_call_bridge_forget(struct sh_call *c); /* done of the bridge or answer in progress is not called; it goes on */
void sh_call_drop_loose(struct sh_call *c); /* ends the legs that were not bridged, and no more */

#endif
