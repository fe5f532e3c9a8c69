/* Keep-alive towards registered phones: a CRLF keeps the way through a NAT open (RFC 5626 3.5.1, 4.4.1; over datagrams
 * by custom), an OPTIONS also finds out whether the phone is there. One that does not answer twice, or that nobody is
 * left at, loses its binding at once, and the script hears of it by the hook `binding`.
 *
 * One per worker, on its thread: it keeps the bindings whose REGISTER came to that worker. */
#ifndef SH_B2BUA_KEEPER_H
#define SH_B2BUA_KEEPER_H

#include "b2bua/request.h"

struct sh_keeper;

/* by: what the location store is given when a binding is taken away. 0 or -ENOMEM. */
int sh_keeper_create(struct sh_keeper **out, struct sh_ua *ua, struct sh_location *location, void *by);
void sh_keeper_destroy(struct sh_keeper *k); /* before the user agent; NULL is fine */

/* What happened to a contact, on this worker. */
void sh_keeper_note(struct sh_keeper *k, struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event event);

#endif
