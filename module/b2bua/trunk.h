/* Trunks: providers that we register with, and whose life we watch (RFC 3261 10.2, 11.1; RFC 3608). They run on one
 * worker; what it finds out stands in a status that all workers and all generations of scripts read.
 *
 *   TRYING --200 to REGISTER, an answer to OPTIONS--> UP --refused, no answer on any of its URIs--> DOWN --> UP ...
 *
 * What comes from one of a trunk's addresses is the trunk's: its URIs are looked up when it begins and every few minutes.
 *
 * Several URIs are one trunk's addresses, the preferred first. Registration moves on to the next when one does not answer
 * or says 5xx, and starts from the preferred one again when OPTIONS says that it lives. */
#ifndef SH_B2BUA_TRUNK_H
#define SH_B2BUA_TRUNK_H

#include <pthread.h>
#include <stdatomic.h>

#include "b2bua/request.h"

enum { SH_TRUNK_URIS = 8, SH_TRUNK_PEERS = 32 };

enum sh_trunk_state { SH_TRUNK_TRYING, SH_TRUNK_UP, SH_TRUNK_DOWN };
struct sh_slice sh_trunk_state_name(enum sh_trunk_state s);

/* Thread-safe. */
struct sh_trunk_status {
	_Atomic unsigned refs;
	_Atomic unsigned state; /* enum sh_trunk_state */
	_Atomic bool registered;
	_Atomic unsigned code;         /* of the last answer to REGISTER or OPTIONS, 408 or 503 where none came; 0: nothing was asked yet */
	_Atomic uint64_t expires;      /* of the registration, microseconds since 1970 */
	_Atomic unsigned current;      /* index of the URI that we are registered with */
	_Atomic unsigned dead;         /* bits: URIs that do not answer OPTIONS */
	pthread_mutex_t lock;
	struct sh_addr peers[SH_TRUNK_PEERS]; /* its addresses, npeers of them; under the lock, like what follows */
	unsigned npeers;
	char *service_route; /* of the registration (RFC 3608), NUL-terminated or NULL */
};
struct sh_trunk_status *sh_trunk_status_create(void); /* NULL: no memory */
struct sh_trunk_status *sh_trunk_status_ref(struct sh_trunk_status *s);
void sh_trunk_status_unref(struct sh_trunk_status *s); /* NULL is fine */
/* Copies the Service-Route; empty: none. 0 or -ENOMEM. */
int sh_trunk_status_route(struct sh_trunk_status *s, struct sh_arena *a, struct sh_slice *out);
/* Whether a request from there is one of its peers': by the address (requests often leave by another port), or by the port too. */
enum sh_trunk_match { SH_TRUNK_NOT, SH_TRUNK_HOST, SH_TRUNK_PORT };
enum sh_trunk_match sh_trunk_status_match(struct sh_trunk_status *s, const struct sh_addr *from);

/* What the script says. Texts are the caller's until the trunk goes. */
struct sh_trunk_config {
	struct sh_slice name;
	struct sh_target *targets; /* its URIs, with what all requests to them have */
	unsigned count;
	bool registers;
	struct sh_slice aor;          /* From and To of REGISTER and OPTIONS: name-addr */
	struct sh_slice contact_user;
	uint32_t expires;             /* s, asked for */
	uint64_t qualify;             /* us between two OPTIONS; 0: none */
	struct sh_trunk_status *status;
};

/* The trunks from now on: those of the same name and content go on as they are, others begin anew, those that are not
 * there are unregistered. The configs are copied. What memory does not suffice for is logged and left out. */
void sh_ua_set_trunks(struct sh_ua *ua, const struct sh_trunk_config *list, unsigned count);
/* Those of this user agent's worker. */
void sh_ua_each_trunk(const struct sh_ua *ua, void (*fn)(void *ctx, const struct sh_trunk_config *trunk), void *ctx);

#endif
