/* The values behind events: what NOTIFY requests of (event, address of record) say. A script sets one (sip.notify), phones
 * publish theirs (RFC 3903), and the engine's packages make theirs from what it knows. On its worker's thread; every worker
 * has the same values. */
#ifndef SH_B2BUA_EVENT_H
#define SH_B2BUA_EVENT_H

#include "b2bua/subscription.h"

struct sh_resource;

/* A script's value, kept and told to all subscribers on all workers; an empty body takes it away. 0, -ENOMEM, -EAGAIN: not
 * every worker could be told. */
int sh_event_set(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor, struct sh_slice type, struct sh_slice body);
/* The engine's state of it has changed: a NOTIFY to each subscriber on this worker. */
void sh_event_tell(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor);

/* For packages. */
struct sh_slice sh_event_body(const struct sh_subscription *s, struct sh_slice *type); /* the script's value; empty: none */

/* What somebody published (RFC 3903 4): replaced, refreshed and removed by its entity tag. */
struct sh_publication {
	struct sh_link link;
	struct sh_timer timer; /* of its expiry */
	struct sh_ua *ua;
	struct sh_resource *resource;
	char tag[SH_TAG_LEN];
	struct sh_body *body; /* NULL: there was no room for it here */
	struct sh_source *source; /* whose octets they are; NULL: of a trusted peer */
	size_t octets;
};
const struct sh_link *sh_event_publications(const struct sh_subscription *s); /* NULL or a list, the newest last */
void sh_publication_free(struct sh_ua *ua, struct sh_publication *p);
/* One of another process, on this worker. left: us until it expires; from: family 0 if it is of nobody who is counted. */
int sh_publication_put(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor, const char tag[SH_TAG_LEN], struct sh_slice type,
		       struct sh_slice body, const struct sh_addr *from, uint64_t left);

struct sh_lamp; /* package_dialog.c */
void sh_lamp_free(struct sh_lamp *lamp);
/* Of a resource with subscribers; NULL: it has none. */
struct sh_link *sh_resource_lamps(struct sh_resource *r);
void sh_resource_drop_lamps(struct sh_link *lamps);
void sh_watch_bindings(struct sh_ua *ua, struct sh_slice aor, bool on);
void sh_put_xml(struct sh_writer *w, struct sh_slice s); /* as character data or attribute */
extern const struct sh_package sh_package_dialog, sh_package_mwi, sh_package_presence, sh_package_reg;

struct sh_resource *sh_resource_find(const struct sh_ua *ua, struct sh_slice event, struct sh_slice aor);
struct sh_link *sh_resource_publications(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor); /* makes it */
void sh_resource_tell(struct sh_resource *r); /* then sh_resource_drop_if_idle */
void sh_resource_drop_if_idle(struct sh_ua *ua, struct sh_resource *r);

#endif
