/* The location store (RFC 3261 10): addresses of record and their bindings. One per process, shared by all workers:
 * striped locks, and an immutable, reference counted snapshot per address of record, so that a look-up on the call path
 * takes no contended lock.
 *
 * These functions are the interface that a database implements later: whoever uses them sees no more of the store than
 * an opaque pointer. There is no second interface below them. A REGISTER is read, compared and written under one lock,
 * which cannot wait for a network, so a database stands behind a store in memory and not in its place: it fills the
 * store when it is opened, and follows it by writing away the snapshot of every address of record that the events name.
 * Snapshots are immutable and counted: a writer may hold them as long as it likes, on a thread of its own.
 *
 * Thread-safe unless marked. Times are microseconds since 1970 (sh_env_wall). An address of record is its canonical
 * text: see sh_aor_canonical(). */
#ifndef SH_REGISTRAR_LOCATION_H
#define SH_REGISTRAR_LOCATION_H

#include "transport/transport.h"

struct sh_location;

/* How a phone is kept in reach, b2bua/keeper.h. */
enum sh_keep { SH_KEEP_NONE, SH_KEEP_CRLF, SH_KEEP_OPTIONS };

struct sh_contact {             /* one binding, immutable once published */
	struct sh_slice uri;    /* without <> and header parameters */
	struct sh_slice params; /* Contact header parameters but q and expires ("+sip.instance=...;reg-id=1") */
	struct sh_slice call_id;
	struct sh_slice path; /* Path values in order ("<sip:a;lr>, <sip:b;lr>"), empty: none (RFC 3327) */
	struct sh_slice user_agent;
	struct sh_slice instance; /* +sip.instance with quotes, or empty */
	uint32_t cseq;
	uint32_t reg_id;
	uint16_t q; /* 0 .. 1000; 1000 when not given */
	uint64_t expires_at;
	uint64_t updated_at;
	struct sh_path from; /* the REGISTER came by this: streams are reached over the same connection */
	bool behind_nat;     /* so are datagram contacts: it is reached there and not at its URI */
	uint8_t keep_alive;  /* enum sh_keep */
	uint32_t keep_interval; /* seconds */
	const void *keeper;  /* `by` of the latest update: he keeps it alive */
};

struct sh_bindings { /* a snapshot */
	_Atomic unsigned refs;
	unsigned count;
	struct sh_slice aor;
	struct sh_contact contacts[]; /* q descending, then newest first; texts live in the same block */
};

struct sh_bindings *sh_bindings_ref(struct sh_bindings *b); /* returns b */
void sh_bindings_unref(struct sh_bindings *b);              /* NULL is fine */

enum sh_binding_event {
	SH_BINDING_ADDED,
	SH_BINDING_REFRESHED,
	SH_BINDING_REMOVED,
	SH_BINDING_EXPIRED,
	SH_BINDING_LOST
};
/* Called without a lock held, on the thread that caused the change, with the `by` of whoever caused it (his worker, say;
 * NULL: nobody). */
typedef void (*sh_binding_fn)(void *ctx, void *by, struct sh_slice aor, const struct sh_contact *c,
			      enum sh_binding_event ev);

/* fn may be NULL. 0, -ENOMEM or what the system's lock says. */
int sh_location_create(struct sh_location **out, const struct sh_hash_key *key, sh_binding_fn fn, void *ctx);
void sh_location_destroy(struct sh_location *l); /* without events; snapshots that are held stay valid; NULL is fine */

struct sh_contact_update {
	struct sh_slice uri, params, instance;
	uint32_t reg_id;
	uint16_t q;
	uint32_t expires; /* seconds, limits applied already; 0 removes */
	bool behind_nat;
};

struct sh_location_update {
	struct sh_slice aor, call_id, path, user_agent;
	uint32_t cseq;
	struct sh_path from;
	uint64_t now;    /* microseconds since 1970 */
	bool remove_all; /* Contact: * */
	const struct sh_contact_update *contacts;
	unsigned count;        /* 0 with remove_all false: a fetch */
	unsigned max_contacts; /* 0 = 10; an update costs at most its contacts times this */
	bool replace_oldest;   /* at the limit: replace instead of refusing */
	enum sh_keep keep_alive;
	uint32_t keep_interval;
	void *by;              /* for the event */
	struct sh_bindings **replaced; /* NULL, or where the snapshot goes that was present before; the caller unrefs */
};

/* All or nothing (10.3 step 7). Contacts compare by RFC 3261 19.1.4 (with instance and reg-id by RFC 5626 when both
 * have them); of two equal ones in one update the later counts. 0 and the new snapshot (the caller unrefs; NULL when
 * nothing is bound); -EBUSY: a contact exists with the same Call-ID and a CSeq not lower (answer 500); -EDQUOT: it adds
 * to more than max_contacts (403); -ENOMEM (503). Nothing has changed then. */
int sh_location_update(struct sh_location *l, const struct sh_location_update *u, struct sh_bindings **out);

/* Takes over a binding of another store, as it is; one with the same URI gives way. Without an event. 0 or -ENOMEM. */
int sh_location_restore(struct sh_location *l, struct sh_slice aor, const struct sh_contact *c);

/* The present snapshot, expired contacts left out by the caller comparing expires_at; NULL: nobody. */
struct sh_bindings *sh_location_lookup(struct sh_location *l, struct sh_slice aor);

/* Removes one contact (by 19.1.4), or all (contact empty). The number removed, or -ENOMEM and nothing has changed. */
int sh_location_unbind(struct sh_location *l, struct sh_slice aor, struct sh_slice contact, uint64_t now, void *by);

/* A phone does not answer any more: its contact, by the octets of its URI, is removed with event LOST, unless it was
 * updated behind updated_at. */
void sh_location_lose(struct sh_location *l, struct sh_slice aor, struct sh_slice uri, uint64_t updated_at, void *by);

/* A connection ended: bindings that came by it are removed with event LOST. O(bindings of that flow). */
void sh_location_flow_closed(struct sh_location *l, uint64_t flow, uint64_t now, void *by);

/* Removes what is due; called by one worker's timer, about every second; the work per call is bounded (it ends behind
 * the address of record that makes it 1,000 bindings; returns true when more is due). */
bool sh_location_expire(struct sh_location *l, uint64_t now, void *by);

uint64_t sh_location_count(const struct sh_location *l); /* bindings */
/* Calls fn, without a lock held, for every address of record with a snapshot; not a consistent cut. 0, or -ENOMEM: some
 * were left out. */
int sh_location_each(struct sh_location *l, void (*fn)(void *ctx, const struct sh_bindings *b), void *ctx);

/* Our domains. */
struct sh_domains {
	struct sh_slice *names; /* the first is the main one; lower case */
	unsigned count;
	const struct sh_transport *transport; /* the endpoints' addresses are local too; may be NULL */
};

/* True when a sip or sips URI names us: by an address of our endpoints with its port or none, or by one of the names
 * with no port, the default one or one that we listen on ("example.org:5080" is somebody else unless we are there, too;
 * without a transport every port will do). */
bool sh_domains_local(const struct sh_domains *d, const struct sh_uri *uri);
/* A request to that URI would come to us: one of our domains, or an address and port where we listen. Stricter than
 * sh_domains_local: a phone may be on our host at the default port. */
bool sh_domains_this_server(const struct sh_domains *d, const struct sh_uri *uri);

/* The canonical address of record of a URI (10.3 step 5): scheme, user with no more escapes than it needs, host in
 * lower case, port only if it is not the default, no password, parameters or headers: "sip:alice@example.org". It is a
 * URI again, so that it can be written anywhere. A host that is ours has no port; an address
 * or an endpoint's name becomes the first of our names (without names: the first endpoint's host). tel: URIs give "tel:+123", a local number keeps its phone-context. d may be NULL.
 * In the arena. 0, -EINVAL (another scheme), -ENOMEM. */
int sh_aor_canonical(struct sh_arena *a, const struct sh_uri *uri, const struct sh_domains *d, struct sh_slice *out);

#endif
