/* Intrusive hash table that grows step by step (a few buckets at each insertion), never in one pause, and a keyed
 * hash that an attacker on the network cannot predict. One thread at a time (wrap it in a lock otherwise).
 *
 * Invariants: a node is in at most one table; node->hash does not change while it is in. The caller compares keys:
 *     for (n = sh_hash_find(t, h); n; n = sh_hash_next(n)) if (same key) ...
 * Insertion never fails: when memory for a larger table is out, chains get longer. */
#ifndef SH_CORE_HASH_H
#define SH_CORE_HASH_H

#include "core/slice.h"

struct sh_hash_node {
	struct sh_hash_node *next;
	uint64_t hash;
};

struct sh_hash {
	uintptr_t *buckets, *old; /* old: the smaller table that is being emptied, or NULL; see sh_hash_find() */
	size_t mask, old_mask, moved;         /* moved: buckets of old that are empty by now */
	size_t count;
};

int sh_hash_init(struct sh_hash *t, size_t expected); /* 0 or -ENOMEM */
void sh_hash_finish(struct sh_hash *t);               /* frees the buckets; the nodes are their owners' */

void sh_hash_insert(struct sh_hash *t, struct sh_hash_node *n, uint64_t hash);
void sh_hash_remove(struct sh_hash *t, struct sh_hash_node *n); /* n must be in t */

/* First node whose hash is `hash`, then the next with the same hash; NULL at the end. */
struct sh_hash_node *sh_hash_find(const struct sh_hash *t, uint64_t hash);
struct sh_hash_node *sh_hash_next(const struct sh_hash_node *n);

/* Calls fn for every node; fn may remove and free the node that it was given, and only that one. It inserts nothing. */
void sh_hash_each(struct sh_hash *t, void (*fn)(struct sh_hash_node *n, void *ctx), void *ctx);

/* 128-bit key of the keyed functions. One per process, made from getrandom (simulation: from the seed). */
struct sh_hash_key {
	uint64_t k[2];
};

/* SipHash-1-3 over several slices, each followed by its length, so that ("ab","c") differs from ("a","bc"). */
uint64_t sh_hash_slices(const struct sh_hash_key *k, const struct sh_slice *s, size_t n);
/* The 128-bit form: an identity good enough to stand for its text. */
struct sh_id128 {
	uint64_t w[2];
};
struct sh_id128 sh_hash128_slices(const struct sh_hash_key *k, const struct sh_slice *s, size_t n);
/* SipHash-2-4 with 128 bits: a message authentication code, for what we hand out and must know again. A key of its own. */
struct sh_id128 sh_mac128_slices(const struct sh_hash_key *k, const struct sh_slice *s, size_t n);

static inline uint64_t sh_hash_slice(const struct sh_hash_key *k, struct sh_slice s)
{
	return sh_hash_slices(k, &s, 1);
}

static inline bool sh_id128_eq(struct sh_id128 a, struct sh_id128 b)
{
	return a.w[0] == b.w[0] && a.w[1] == b.w[1];
}

#endif
