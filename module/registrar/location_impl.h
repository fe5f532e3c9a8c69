/* The inside of the location store. Private to registrar/.
 *
 * A stripe holds the addresses of record whose keyed hash begins with its number, everything that finds them (by name,
 * by flow, by time) and the lock of all that. So no operation takes two locks; what concerns a flow, or the time,
 * visits the stripes one after the other.
 *
 * A record is an address of record that has bindings. Its snapshot is immutable; what the store itself must note of
 * each binding stands in a slot. The slots lie in the snapshot's block behind the contacts: one allocation for all.
 *
 * Invariants, while the stripe's lock is free:
 *   - a record in the tables has a snapshot with at least one contact
 *   - the slots of present snapshots that have a flow are found by `flows`, no others are: one slot of a flow leads and
 *     is in the table, the others are in a ring with it (thousands of users may come by one connection)
 *   - the record is in `due` for the earliest end of its bindings, or earlier (later only to try again when memory was out)
 * Slots of a snapshot that is no longer present belong to the thread that replaced it. */
#ifndef SH_REGISTRAR_LOCATION_IMPL_H
#define SH_REGISTRAR_LOCATION_IMPL_H

#include <pthread.h>

#include "registrar/due.h"
#include "registrar/location.h"

enum { SH_LOCATION_STRIPES = 64 };

struct sh_record {
	struct sh_hash_node node; /* by address of record */
	struct sh_due due;
	uint64_t due_at; /* of `due` */
	struct sh_bindings *present;
};

enum sh_fate { SH_FATE_STAYS, SH_FATE_REMOVED, SH_FATE_EXPIRED, SH_FATE_LOST };

struct sh_slot {
	struct sh_hash_node by_flow; /* in the table if it leads */
	struct sh_link same_flow;
	struct sh_record *record; /* NULL: not found by its flow */
	uint64_t flow;
	bool leads;
	uint8_t fate; /* enum sh_fate; a binding that does not stay goes with the next snapshot */
};

struct sh_stripe {
	pthread_mutex_t lock;
	struct sh_hash records, flows;
	struct sh_due_heap due;
};

struct sh_location {
	struct sh_hash_key key;
	sh_binding_fn fn;
	void *ctx;
	_Atomic uint64_t count;
	_Atomic unsigned turn; /* the stripe that expiry begins with */
	struct sh_stripe stripes[SH_LOCATION_STRIPES];
};

static inline struct sh_slot *sh_slots(struct sh_bindings *b)
{
	return (struct sh_slot *)&b->contacts[b->count];
}

/* The stripe and the hash of an address of record. */
struct sh_stripe *sh_location_stripe(struct sh_location *l, struct sh_slice aor, uint64_t *hash);

/* Under the stripe's lock, as all that follows. NULL: nothing is bound. */
struct sh_record *sh_stripe_find(const struct sh_stripe *s, uint64_t hash, struct sh_slice aor);

/* A new snapshot with copies of those contacts, in that order; one reference. NULL: out of memory. */
struct sh_bindings *sh_bindings_make(const struct sh_location *l, struct sh_slice aor, const struct sh_contact *const *contacts,
				     unsigned count);

/* Makes b (its reference is taken) the present snapshot. record NULL: a new one. b NULL: the record goes. *before gets
 * the snapshot that was present, with its reference, or NULL. 0; -ENOMEM, only for a new record: nothing has changed.
 */
int sh_stripe_publish(struct sh_location *l, struct sh_stripe *s, uint64_t hash, struct sh_record *record,
		      struct sh_bindings *b, struct sh_bindings **before);

/* RFC 3261 19.1.4; what is no URI compares by octets. */
bool sh_contact_same_uri(struct sh_slice a, struct sh_slice b);

/* Without the lock: tells of the bindings of a replaced snapshot that did not stay, gives its reference back (NULL is
 * fine) and returns how many they were. */
unsigned sh_location_report(const struct sh_location *l, struct sh_bindings *before, void *by);

#endif
