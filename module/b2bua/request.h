/* A request other than a new INVITE that the application answers, or observes after the fact; and requests of our own.
 * Thread: its worker. Lifetime: from the event until sh_request_release(). */
#ifndef SH_B2BUA_REQUEST_H
#define SH_B2BUA_REQUEST_H

#include "b2bua/call.h"

uint64_t sh_request_handle(const struct sh_request *r);
struct sh_ua *sh_request_ua(const struct sh_request *r);
const struct sh_msg *sh_request_msg(const struct sh_request *r); /* as long as the request lives */
const struct sh_path *sh_request_source(const struct sh_request *r);
struct sh_call *sh_request_call(const struct sh_request *r); /* NULL outside of a call, or when it ended */
struct sh_leg *sh_request_leg(const struct sh_request *r);
bool sh_request_observed(const struct sh_request *r); /* ACK, BYE, CANCEL: answered by the engine */
bool sh_request_answered(const struct sh_request *r);
bool sh_request_in_dialog(const struct sh_request *r);
void *sh_request_app(const struct sh_request *r); /* whatever it is to the application */
void sh_request_set_app(struct sh_request *r, void *app);

/* The whole answer: headers are complete lines. 0, -EALREADY, -EPERM (RFC 4320), -EMSGSIZE, -errno. */
int sh_request_reply(struct sh_request *r, unsigned code, struct sh_slice reason, struct sh_slice headers,
		     struct sh_slice content_type, struct sh_slice body);
/* The same step by step: the writer stands behind CSeq; the caller adds header lines, then sends (that ends the header
 * section with an empty body). */
struct sh_writer *sh_request_begin(struct sh_request *r, unsigned code, struct sh_slice reason);
int sh_request_send(struct sh_request *r, unsigned code, struct sh_writer *w);

/* The answer to whom asked, when a pass or relay is over. */
typedef void (*sh_request_fn)(void *ctx, const struct sh_result *res);

/* The default action, now. In a dialog: passed to the other leg, its answer passed back, then done (may be NULL) is
 * called; content type and body replace the request's when body.base is not NULL. Elsewhere the default answer is sent, with these
 * headers and body, and done is called before this returns. */
int sh_request_pass(struct sh_request *r, struct sh_slice headers, struct sh_slice content_type, struct sh_slice body,
		    sh_request_fn done, void *ctx);

/* Sends it on to targets (parallel groups, first 2xx wins); the answer is not passed back by itself: *res is given to
 * done, once. Takes the plan over. */
int sh_request_relay(struct sh_request *r, struct sh_fork_plan *plan, sh_request_fn done, void *ctx);

/* done of a pass or relay in progress, by its context, is not called any more; the pass or relay goes on. False: there is none. */
bool sh_request_forget(struct sh_request *r, const void *ctx);
/* The same for whoever has no more use for the request: what is in progress answers it, then it is released. False: nothing is. */
bool sh_request_leave(struct sh_request *r);

/* A request of our own outside of dialogs, to the targets of a plan in the same way. Texts are copied. */
struct sh_own_request {
	struct sh_slice method;
	struct sh_slice from, to;       /* name-addr; an entry's own go before; empty: the target's URI */
	struct sh_slice headers;        /* complete lines */
	struct sh_slice content_type, body;
	struct sh_slice call_id;        /* empty: a fresh one for each target */
	uint32_t *cseq;                 /* the number used last, counted on (RFC 3261 10.2.4); outlives it. NULL: */
	uint32_t first_cseq;            /* the one behind this */
	bool contact;                   /* with our Contact, */
	struct sh_slice contact_user;   /* that has this user part */
	struct sh_client_auth *auth;    /* instead of the entries' logins; referenced */
};
struct sh_sending;
/* 0 and *out, good until done is called or it is dropped; -ENOENT: no targets; -errno. Takes the plan over. */
int sh_ua_request_out(struct sh_ua *ua, struct sh_sending **out, const struct sh_own_request *own, struct sh_fork_plan *plan,
		      sh_request_fn done, void *ctx);
void sh_sending_drop(struct sh_sending *s); /* done is not called; NULL is fine */

/* Passes a response back: code, reason, the fields that concern the requester, body. */
int sh_request_answer_with(struct sh_request *r, const struct sh_result *res);

/* Answers a PUBLISH by RFC 3903 6, keeps the document for that address of record and tells its subscribers. limit: of its time,
 * seconds, 0: 3600. 0; -EALREADY; -EBADMSG: it was refused, and the answer says why. */
int sh_request_publish(struct sh_request *r, struct sh_slice aor, uint32_t limit, struct sh_slice headers);

/* The application has no more use for it. Without an answer so far: 500. */
void sh_request_release(struct sh_request *r);

#endif
