/* Calls that we make ourselves: click to dial (RFC 3725 flow III). The first party is called without an offer and its own is
 * answered with silence; when the second one answers too, its offer goes to the first in a re-INVITE.
 *
 *   first                        here                        second
 *     | <----- INVITE, no offer ---|                            |
 *     |------ 200, offer --------->|                            |
 *     | <----- ACK, inactive ------|-- INVITE, no offer ------->|
 *     |                            |<----- 200, offer ----------|
 *     | <---- re-INVITE, offer ----|                            |
 *     |------ 200, answer -------->|-- ACK, answer ------------>|
 *
 * The first party is the call's leg a, the second its leg b: from then on it is a call like any other. */
#ifndef SH_B2BUA_ORIGINATE_H
#define SH_B2BUA_ORIGINATE_H

#include "b2bua/call.h"

struct sh_originate_plan {
	struct sh_fork_plan *first, *second; /* second NULL: the first party alone. Both are taken over */
	struct sh_slice identity;            /* name-addr: whom both see calling. Empty: the first sees the second, and the
					      * second the first */
	struct sh_slice first_uri, second_uri; /* what they are in From and To of each other: bare URIs */
};

/* call: up, both talk (or the first alone); NULL: r says why, and the call has ended. Called once, from a later event. */
typedef void (*sh_originate_fn)(void *ctx, struct sh_call *call, const struct sh_result *r);
/* 0 and *out, which is in set-up; -ENOENT: no targets; -ENOMEM. started (may be NULL) is told of the call before anything is
 * sent: for sh_call_set_app. */
int sh_call_originate(struct sh_ua *ua, struct sh_call **out, struct sh_originate_plan *plan,
		      int (*started)(void *ctx, struct sh_call *call), sh_originate_fn done, void *ctx);
/* Nobody waits for it any more: it is ended when it is not up. */
void sh_originate_abandon(struct sh_call *c);

#endif
