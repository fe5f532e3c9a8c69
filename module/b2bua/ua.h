/* The user agent of one worker: it owns the dialogs, calls and requests in progress, judges every new request by RFC
 * 3261 8.2, finds the dialog of those that have one, and asks the application (script/) the rest. On its worker's
 * thread.
 *
 * Objects that the application may keep in mind over a wait have a handle (core/slots.h); sh_ua_call() and its
 * sisters answer NULL when the object is gone. Objects are freed at the end of a turn, never inside a call into this
 * layer, so that a pointer is good until the application returns. */
#ifndef SH_B2BUA_UA_H
#define SH_B2BUA_UA_H

#include "core/slots.h"
#include "msg/client_auth.h"
#include "registrar/auth.h"
#include "registrar/location.h"
#include "txn/dialog.h"
#include "txn/txn.h"

struct sh_ua;
struct sh_call;
struct sh_leg;
struct sh_request;
struct sh_question;

/* Why a call ended. */
enum sh_why_by { SH_BY_CALLER, SH_BY_CALLEE, SH_BY_SCRIPT, SH_BY_ENGINE };
struct sh_why {
	enum sh_why_by by;
	unsigned code;          /* the final answer of a call that was not answered; 200 for one that was */
	struct sh_slice reason; /* its phrase, or what ended it */
	unsigned q850;          /* 0 = none was given */
	struct sh_slice q850_text;
};

/* What the application is asked. ctx comes first as in all events. */
struct sh_app {
	/* An INVITE outside of a dialog. The call is in set-up until it is bridged or rejected. */
	void (*invite)(void *ctx, struct sh_call *call);
	/* A request that needs an answer, for which wants() said yes. The application answers it, now or later, and then
	 * releases it. */
	void (*request)(void *ctx, struct sh_request *rq);
	/* Is there a hook for that method, or somebody in the call who waits for it? (INVITE: in a dialog, a re-INVITE.) In-dialog
	 * requests without one take the default. call: NULL outside of one. */
	bool (*wants)(void *ctx, enum sh_method method, bool in_dialog, const struct sh_call *call);
	/* The connected leg has gone and the call lives on (on_peer_hangup="continue"). */
	void (*peer_gone)(void *ctx, struct sh_call *call, const struct sh_why *why);
	/* The caller has connected (2xx sent and ACKed). */
	void (*answered)(void *ctx, struct sh_call *call);
	/* The call is about to end, once per call: its legs are there for the last time. */
	void (*ending)(void *ctx, struct sh_call *call);
	/* Once per call: its fork and bridge are over (no callback comes), though the invite hook may be waiting for them. */
	void (*ended)(void *ctx, struct sh_call *call, const struct sh_why *why);
	/* The call is about to be freed: release call->app. */
	void (*freed)(void *ctx, struct sh_call *call);
	/* A description is about to go from one leg to another: the application answers with sh_question_answer, from a later
	 * event. Asked for only while wants_sdp says so. */
	bool (*wants_sdp)(void *ctx);
	void (*sdp)(void *ctx, struct sh_question *q);
};

/* What our Contacts say about their worker where there are several: two characters as in a tag follow (sh_tag_put_worker). It lets
 * datagrams of a dialog come to the right one at once; nothing relies on it. */
#define SH_UA_WORKER ";worker="

/* X(field, default, what): times of this layer, microseconds. */
#define SH_UA_TIMERS(X)                                                                               \
	X(timer_c, 180 * SH_SECOND, "C: longest wait for a final answer, RFC 3261 16.6 step 11")      \
	X(dialog_probe, 900 * SH_SECOND, "OPTIONS in dialogs without a session timer; 0: none")        \
	X(longest_setup, 3600 * SH_SECOND, "a caller who has had no final answer for that long gets one") \
	X(first_answer, 4 * SH_SECOND, "a target that says nothing at all is given up after this")    \
	X(session_expires, 1800 * SH_SECOND, "session interval that we ask for, RFC 4028 4; 0: none") \
	X(session_min, 90 * SH_SECOND, "the smallest that we accept, RFC 4028 4")

struct sh_ua_config {
	struct sh_txn_timers txn;
#define X(field, value, what) uint64_t field;
	SH_UA_TIMERS(X)
#undef X
	/* With several workers: all of them by number, filled in before the loops run. */
	struct sh_ua *const *peers;
	struct sh_slice product; /* User-Agent and Server: "siphook/0.1.0" */
	bool sips_anywhere;      /* sips is taken as it comes: a network without TLS, on which dial plans are tested */
};
extern const struct sh_ua_config sh_ua_config_default;

struct sh_ua_stats {
	uint64_t calls, answered, failed, requests; /* since the start */
	uint64_t handed_over; /* messages, to the worker that they are for */
	uint64_t calls_live, legs_live;
};

/* Opens nothing: sh_transport_listen on sh_ua_transport(). 0 or -ENOMEM. */
int sh_ua_create(struct sh_ua **out, struct sh_env *env, const struct sh_ua_config *config,
		 const struct sh_transport_config *transport, const struct sh_app *app, void *app_ctx);
void sh_ua_destroy(struct sh_ua *ua); /* ends everything without a word; NULL is fine */

struct sh_env *sh_ua_env(const struct sh_ua *ua);
struct sh_transport *sh_ua_transport(const struct sh_ua *ua);
struct sh_txn_layer *sh_ua_txn(const struct sh_ua *ua);
const struct sh_ua_stats *sh_ua_stats(const struct sh_ua *ua);

/* Other processes that hand over to each other: they are asked before anything else whether a message is for one of them. epoch: of
 * the process that made what it is about, or -1; key: of a request outside of dialogs (sh_txn_request_key), else 0. */
struct sh_ua_abroad {
	const _Atomic unsigned *peers; /* how many there are: with none, nobody is asked */
	void (*unreachable)(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error, unsigned epoch);
	bool (*message)(void *ctx, const struct sh_msg *m, const struct sh_path *from, int epoch, uint64_t key);
	void (*event)(void *ctx, const char *record, size_t len); /* a script has set the value of an event */
	void *ctx;
};
void sh_ua_set_abroad(struct sh_ua *ua, const struct sh_ua_abroad *a); /* stays the caller's; before the loop runs */
/* Another process has taken over: calls go on here, but subscriptions begin anew there (RFC 6665 4.2.2, deactivated), and so do the
 * registrations of trunks, without a word to the registrar. */
void sh_ua_succeeded(struct sh_ua *ua);
/* What NOTIFY requests say, as records for another process of this build: the values that scripts have set, and what phones have
 * published. Every worker has the same. */
typedef void (*sh_event_record_fn)(void *ctx, const char *record, size_t len);
void sh_ua_each_event(const struct sh_ua *ua, sh_event_record_fn fn, void *ctx);
int sh_ua_put_event(struct sh_ua *ua, const char *record, size_t len); /* on this worker alone. 0, -EBADMSG or -ENOMEM */
int sh_ua_set_event(struct sh_ua *ua, const char *record, size_t len); /* on all, as sh_event_set; a value only */

/* A connection ended: for the location store. */
void sh_ua_on_flow_closed(struct sh_ua *ua, void (*fn)(void *ctx, uint64_t flow), void *ctx);
/* Told of every call but one whose INVITE was only challenged, in this order, each once at most; why: of the end. */
enum sh_call_event { SH_CALL_EVENT_NEW, SH_CALL_EVENT_ANSWER, SH_CALL_EVENT_END };
void sh_ua_on_call(struct sh_ua *ua,
		   void (*fn)(void *ctx, struct sh_call *call, enum sh_call_event event, const struct sh_why *why), void *ctx);
/* What the packages reg and presence look into, and which domains are ours: both outlive the user agent; may be NULL. */
void sh_ua_set_location(struct sh_ua *ua, struct sh_location *location, const struct sh_domains *domains);
/* A binding of that address of record has changed: who watches it is told. Called on the worker's thread. */
void sh_ua_binding_changed(struct sh_ua *ua, struct sh_slice aor);

bool sh_ua_watched(const struct sh_ua *ua); /* somebody watches calls (RFC 4235), on any worker */

/* Called at the end of each turn. */
void sh_ua_on_turn_end(struct sh_ua *ua, void (*fn)(void *ctx), void *ctx);

/* For who records calls: which leg belongs to which call (by the Call-IDs of the caller's and of the new leg, before its INVITE leaves),
 * and that a call has ended. Members may be NULL; the structure stays the caller's. NULL: nobody. */
struct sh_ua_observer {
	void (*leg)(void *ctx, struct sh_slice caller, struct sh_slice leg);
	void (*ended)(void *ctx, struct sh_slice caller);
	void *ctx;
};
void sh_ua_set_observer(struct sh_ua *ua, const struct sh_ua_observer *observer);

/* Replaces the list of peers whose P-Asserted-Identity and Remote-Party-ID are believed and passed on (RFC 3325; copied). 0 or
 * -ENOMEM. */
int sh_ua_set_trust(struct sh_ua *ua, const struct sh_prefix *list, unsigned count);
bool sh_ua_trusts(const struct sh_ua *ua, const struct sh_addr *peer);

/* The hooks have changed: Allow is made anew. */
void sh_ua_hooks_changed(struct sh_ua *ua);

struct sh_call *sh_ua_call(const struct sh_ua *ua, uint64_t handle);
struct sh_leg *sh_ua_leg(const struct sh_ua *ua, uint64_t handle);
struct sh_request *sh_ua_request(const struct sh_ua *ua, uint64_t handle);
struct sh_call *sh_ua_find_call(const struct sh_ua *ua, struct sh_slice id);
/* The requests of a leg or subscription leave by that endpoint. In the time of all of them. */
bool sh_ua_needs_endpoint(const struct sh_ua *ua, unsigned endpoint);
void sh_ua_each_call(struct sh_ua *ua, void (*fn)(void *ctx, struct sh_call *call), void *ctx);
/* The same in portions, for many calls: those in the next `slots` places from *at on (0 at first). True: there are more. Calls may begin
 * and end in between; none comes twice. */
bool sh_ua_some_calls(struct sh_ua *ua, uint32_t *at, unsigned slots, void (*fn)(void *ctx, struct sh_call *call), void *ctx);

/* No new calls and requests from now on (503 with Retry-After); what is in progress goes on. */
void sh_ua_refuse(struct sh_ua *ua);
/* The same, and live calls are hung up, subscriptions ended: a few at once, the others a portion in each millisecond, so that no turn is
 * a pause. within: microseconds that there are for it, 0: no matter; when they are few, portions are larger. */
void sh_ua_drain(struct sh_ua *ua, uint64_t within);
bool sh_ua_idle(const struct sh_ua *ua); /* no call, leg or request is left, none waits for its hangup */

#endif
