/* Subscriptions that we serve: the notifier of RFC 6665, for SUBSCRIBE and, implied by it, REFER (RFC 3515 2.4.4).
 *
 *   SUBSCRIBE -> accept --> PENDING or ACTIVE --refresh--> ... --expiry, terminate, failed NOTIFY--> TERMINATED
 *
 * A NOTIFY goes out at once when it was accepted, with each refresh, and with each change; one at a time: while one is on
 * its way changes are gathered, and the next NOTIFY has the newest state (RFC 6665 4.2.2). The last one says why it
 * ended. A subscription has a dialog of its own, or shares that of a leg (REFER in a call); when the leg ends first it takes
 * the dialog over (RFC 5057 5).
 *
 * Lifetime: by itself; others keep its handle. Thread: its worker. */
#ifndef SH_B2BUA_SUBSCRIPTION_H
#define SH_B2BUA_SUBSCRIPTION_H

#include "b2bua/request.h"

struct sh_subscription;

enum sh_sub_state { SH_SUB_PENDING, SH_SUB_ACTIVE, SH_SUB_TERMINATED };
struct sh_slice sh_sub_state_name(enum sh_sub_state s);

/* A package whose state the engine knows. One per package_*.c. */
struct sh_package {
	struct sh_slice event;
	uint32_t expires;        /* when the SUBSCRIBE does not say */
	/* The state now: body into w, its type into *type (a literal). Empty: a NOTIFY without a body. */
	void (*state)(struct sh_subscription *s, struct sh_writer *w, struct sh_slice *type);
	/* Somebody subscribed, or the last one of that address of record on this worker has gone. May be NULL. */
	void (*watch)(struct sh_ua *ua, struct sh_slice aor, bool on);
	/* False: there are too many new watchers just now for what they cost. May be NULL. */
	bool (*affordable)(struct sh_ua *ua, struct sh_slice aor);
};
const struct sh_package *sh_package_find(struct sh_slice event); /* NULL: none of the engine's */

struct sh_subscribe_options {
	struct sh_slice aor;     /* whose state: a canonical address of record */
	uint32_t expires;        /* seconds, the limit; 0: the default of the package, else 3600 */
	bool serve;              /* by the engine's package */
	bool pending;            /* not decided yet: state "pending" */
	struct sh_slice headers; /* lines for the answer */
};

/* Answers a SUBSCRIBE outside of a dialog with 200 and makes a subscription, whose first NOTIFY leaves at once. 0;
 * -EALREADY; -ENOTSUP: serve, and the engine does not know the package; -EBADMSG: no usable Contact;
 * -EAGAIN: there are too many, and the answer says so; -ENOMEM. */
int sh_subscription_accept(struct sh_request *q, const struct sh_subscribe_options *o, uint64_t *handle);

struct sh_subscription *sh_ua_subscription(const struct sh_ua *ua, uint64_t handle);
uint64_t sh_subscription_handle(const struct sh_subscription *s);
enum sh_sub_state sh_subscription_state(const struct sh_subscription *s);
struct sh_slice sh_subscription_event(const struct sh_subscription *s);
struct sh_slice sh_subscription_aor(const struct sh_subscription *s);
uint32_t sh_subscription_expires(const struct sh_subscription *s); /* seconds that are left */
unsigned sh_subscription_next_version(struct sh_subscription *s);   /* 0, 1, 2 ... with each call (RFC 4235, RFC 3680) */
struct sh_ua *sh_subscription_ua(const struct sh_subscription *s);
struct sh_slice sh_subscription_accepts(const struct sh_subscription *s); /* Accept of its SUBSCRIBE */

/* A NOTIFY with that body, which is kept for refreshes. A pending subscription becomes active with SH_SUB_ACTIVE;
 * SH_SUB_TERMINATED ends it. 0, -EPIPE: it has ended; -ENOMEM. */
int sh_subscription_notify(struct sh_subscription *s, struct sh_slice type, struct sh_slice body, enum sh_sub_state state);
/* A NOTIFY with the state of the package. */
void sh_subscription_changed(struct sh_subscription *s);
/* reason: "deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant" (RFC 6665 4.1.3). The
 * last NOTIFY has the state as it is. done (may be NULL) when that has its answer, or there will be none. */
typedef void (*sh_sub_done_fn)(void *ctx);
int sh_subscription_terminate(struct sh_subscription *s, struct sh_slice reason, sh_sub_done_fn done, void *ctx);

#endif
