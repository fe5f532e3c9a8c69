/* GRUUs (RFC 5627): URIs that reach one phone of an address of record, from anywhere.
 *
 *   public      sip:alice@example.org;gr=urn:uuid:f81d4fae-...   the address of record and the instance
 *   temporary   sip:A5bQ...@example.org;gr                       says to nobody but us whose it is
 *
 * A temporary one carries the address of record and a mark of instance and Call-ID, encrypted and signed under a key of the
 * process: nothing is stored, each answer to a REGISTER has another one, and all of them end with the registration of
 * that Call-ID (RFC 5627 5.1). Any thread. */
#ifndef SH_REGISTRAR_GRUU_H
#define SH_REGISTRAR_GRUU_H

#include "core/random.h"
#include "msg/writer.h"
#include "registrar/location.h"

/* ;pub-gruu="..." and ;temp-gruu="..." for a contact with an instance; nothing for others. */
void sh_gruu_put(struct sh_writer *w, const struct sh_hash_key *key, struct sh_random *random, struct sh_slice aor,
		 const struct sh_contact *c);

/* A URI with a gr parameter: what it stands for. */
struct sh_gruu {
	struct sh_slice instance; /* public: without quotes and <> */
	uint64_t mark;            /* temporary */
};
/* 0: a temporary one, *aor is its address of record (in the arena); 1: a public one, the address of record is the URI's own;
 * -ENOENT: no GRUU; -EINVAL: one that is not ours; -ENOMEM. */
int sh_gruu_open(struct sh_gruu *out, struct sh_slice *aor, struct sh_arena *a, const struct sh_hash_key *key,
		 const struct sh_uri *uri);
bool sh_gruu_match(const struct sh_gruu *g, const struct sh_hash_key *key, const struct sh_contact *c);

#endif
