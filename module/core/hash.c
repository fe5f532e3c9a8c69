#include "core/hash.h"

#include <endian.h>
#include <errno.h>
#include <sys/mman.h>

#include "core/alloc.h"

enum {
	SIZE_MIN = 16,
	MOVE_STEP = 2, /* buckets moved at an insertion: a move of n buckets is over after n/2 of the n that fill the table */
	MAPPED = 1 << 15,  /* from so many buckets on the array is mapped: its pages are made one by one, when they are used */
	RELEASE = 1 << 13, /* and given back so many buckets at a time: clearing or freeing megabytes at once is a pause */
};

/* ---- arrays of buckets ---- */

/* A bucket is the first node of its chain, and in the bits that no address of user space has, a set of what is in the
 * chain: bit n stands for hashes with n in the four bits from 40 on (the low ones choose the bucket, the top ones a stripe). Most that look for something new learn from it that there is
 * nothing, without a look at the nodes: among millions none of them is in a cache. A bit stays until the chain is empty. */
#define FILTER_SHIFT 48
#define ADDRESS ((UINT64_C(1) << FILTER_SHIFT) - 1)

_Static_assert(sizeof(uintptr_t) == 8, "a bucket has room for a filter");

static inline uintptr_t filter_of(uint64_t hash)
{
	return UINT64_C(1) << (FILTER_SHIFT + (hash >> 40 & 15));
}

static inline struct sh_hash_node *first_of(uintptr_t bucket)
{
	return (struct sh_hash_node *)(bucket & ADDRESS);
}

static inline void push(uintptr_t *bucket, struct sh_hash_node *n)
{
	n->next = first_of(*bucket);
	*bucket = (*bucket & ~ADDRESS) | filter_of(n->hash) | (uintptr_t)n;
}

static uintptr_t *buckets_create(size_t size)
{
	void *at;

	if (size < MAPPED)
		return sh_calloc(size, sizeof(uintptr_t));
	at = mmap(NULL, size * sizeof(uintptr_t), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return at == MAP_FAILED ? NULL : at;
}

/* Those from `first` on, of an array of `size`: what is before is given back already. */
static void buckets_destroy(uintptr_t *buckets, size_t first, size_t size)
{
	if (size < MAPPED)
		sh_free(buckets);
	else if (buckets)
		munmap(buckets + first, (size - first) * sizeof(*buckets));
}

/* ---- the table ---- */

int sh_hash_init(struct sh_hash *t, size_t expected)
{
	size_t size = SIZE_MIN;
	uintptr_t *buckets;

	while (size < expected && size <= SIZE_MAX / 4)
		size *= 2;
	buckets = buckets_create(size);
	if (!buckets)
		return -ENOMEM;
	memset(t, 0, sizeof(*t));
	t->buckets = buckets;
	t->mask = size - 1;
	return 0;
}

void sh_hash_finish(struct sh_hash *t)
{
	buckets_destroy(t->buckets, 0, t->mask + 1);
	buckets_destroy(t->old, t->moved / RELEASE * RELEASE, t->old_mask + 1);
	memset(t, 0, sizeof(*t));
}

/* The one chain that holds all nodes of a hash. While the table grows, that is the old chain until its bucket moves:
 * also insertions go there, so that equal hashes are never spread over two chains. */
static uintptr_t *chain_of(const struct sh_hash *t, uint64_t hash)
{
	if (t->old && (hash & t->old_mask) >= t->moved)
		return &t->old[hash & t->old_mask];
	return &t->buckets[hash & t->mask];
}

/* Splits one bucket of the old table in two of the new one, both of which are empty until now. Keeps the order. */
static void move_bucket(struct sh_hash *t, size_t index)
{
	struct sh_hash_node *first[2] = {NULL, NULL}, **tail[2] = {&first[0], &first[1]};
	uintptr_t filter[2] = {0, 0};

	for (struct sh_hash_node *n = first_of(t->old[index]); n; n = n->next) {
		unsigned side = (n->hash & (t->old_mask + 1)) != 0;

		*tail[side] = n;
		tail[side] = &n->next;
		filter[side] |= filter_of(n->hash);
	}
	*tail[0] = *tail[1] = NULL;
	t->buckets[index] = filter[0] | (uintptr_t)first[0];
	t->buckets[index + t->old_mask + 1] = filter[1] | (uintptr_t)first[1];
	t->old[index] = 0;
}

static void move_some(struct sh_hash *t)
{
	for (int i = 0; i < MOVE_STEP && t->moved <= t->old_mask; i++)
		move_bucket(t, t->moved++);
	if (t->moved > t->old_mask) {
		buckets_destroy(t->old, (t->moved - 1) / RELEASE * RELEASE, t->old_mask + 1);
		t->old = NULL;
	} else if (t->moved % RELEASE == 0 && t->old_mask + 1 >= MAPPED) {
		munmap(t->old + t->moved - RELEASE, RELEASE * sizeof(*t->old));
	}
}

static void start_growth(struct sh_hash *t)
{
	size_t size = (t->mask + 1) * 2;
	uintptr_t *larger = buckets_create(size);

	if (!larger)
		return; /* longer chains; the next insertion asks again */
	t->old = t->buckets;
	t->old_mask = t->mask;
	t->moved = 0;
	t->buckets = larger;
	t->mask = size - 1;
}

void sh_hash_insert(struct sh_hash *t, struct sh_hash_node *n, uint64_t hash)
{
	if (!t->old && t->count > t->mask)
		start_growth(t);
	if (t->old)
		move_some(t);
	n->hash = hash;
	push(chain_of(t, hash), n);
	t->count++;
}

void sh_hash_remove(struct sh_hash *t, struct sh_hash_node *n)
{
	uintptr_t *bucket = chain_of(t, n->hash);
	struct sh_hash_node *before = first_of(*bucket);

	if (before == n) {
		*bucket = n->next ? (*bucket & ~ADDRESS) | (uintptr_t)n->next : 0;
	} else {
		while (before->next != n)
			before = before->next;
		before->next = n->next;
	}
	n->next = NULL;
	t->count--;
}

static struct sh_hash_node *first_same(struct sh_hash_node *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct sh_hash_node *sh_hash_find(const struct sh_hash *t, uint64_t hash)
{
	uintptr_t bucket = *chain_of(t, hash);

	return bucket & filter_of(hash) ? first_same(first_of(bucket), hash) : NULL;
}

struct sh_hash_node *sh_hash_next(const struct sh_hash_node *n)
{
	return first_same(n->next, n->hash);
}

static void each_in_chain(struct sh_hash_node *n, void (*fn)(struct sh_hash_node *n, void *ctx), void *ctx)
{
	while (n) {
		struct sh_hash_node *next = n->next;
		fn(n, ctx);
		n = next;
	}
}

void sh_hash_each(struct sh_hash *t, void (*fn)(struct sh_hash_node *n, void *ctx), void *ctx)
{
	if (t->old) {
		for (size_t i = t->moved; i <= t->old_mask; i++)
			each_in_chain(first_of(t->old[i]), fn, ctx);
	}
	if (t->buckets) {
		for (size_t i = 0; i <= t->mask; i++)
			each_in_chain(first_of(t->buckets[i]), fn, ctx);
	}
}

/* ---- SipHash (J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast short-input PRF"): 1-3 for tables, 2-4 for what must
 * not be forged ---- */

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_rounds(struct sip *s, int n)
{
	for (int i = 0; i < n; i++)
		sip_round(s);
}

static inline struct sip sip_start(const struct sh_hash_key *k)
{
	return (struct sip){
		k->k[0] ^ UINT64_C(0x736f6d6570736575),
		k->k[1] ^ UINT64_C(0x646f72616e646f6d),
		k->k[0] ^ UINT64_C(0x6c7967656e657261),
		k->k[1] ^ UINT64_C(0x7465646279746573),
	};
}

static inline void sip_word(struct sip *s, uint64_t w, int rounds)
{
	s->v3 ^= w;
	sip_rounds(s, rounds);
	s->v0 ^= w;
}

static inline uint64_t load64(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return le64toh(w);
}

static inline uint64_t load32(const char *p)
{
	uint32_t w;

	memcpy(&w, p, sizeof(w));
	return le32toh(w);
}

/* The last 0 to 7 bytes, in two or three loads that may overlap. */
static inline uint64_t load_tail(const char *p, size_t n)
{
	const unsigned char *b = (const unsigned char *)p;

	if (n >= 4)
		return load32(p) | load32(p + n - 4) << (8 * (n - 4));
	if (n > 0)
		return b[0] | (uint64_t)b[n / 2] << (8 * (n / 2)) | (uint64_t)b[n - 1] << (8 * (n - 1));
	return 0;
}

/* A slice ends with a word whose top byte is its length, or 255 when the whole length is the word before it. Read from
 * the end this can be split in one way only, and a single slice below 255 bytes is hashed just as SipHash does. */
static inline void sip_slice(struct sip *s, struct sh_slice in, int rounds)
{
	const char *p = in.base;
	size_t n = in.len;

	for (; n >= 8; p += 8, n -= 8)
		sip_word(s, load64(p), rounds);
	if (in.len >= 255)
		sip_word(s, in.len, rounds);
	sip_word(s, load_tail(p, n) | (uint64_t)(in.len < 255 ? in.len : 255) << 56, rounds);
}

static inline uint64_t sip_squeeze(struct sip *s, int rounds)
{
	sip_rounds(s, rounds);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

static inline __attribute__((always_inline)) struct sh_id128 sip_128(const struct sh_hash_key *k, const struct sh_slice *s,
								      size_t n, int absorb, int squeeze)
{
	struct sip state = sip_start(k);
	struct sh_id128 id;

	state.v1 ^= 0xee;
	for (size_t i = 0; i < n; i++)
		sip_slice(&state, s[i], absorb);
	state.v2 ^= 0xee;
	id.w[0] = sip_squeeze(&state, squeeze);
	state.v1 ^= 0xdd;
	id.w[1] = sip_squeeze(&state, squeeze);
	return id;
}

uint64_t sh_hash_slices(const struct sh_hash_key *k, const struct sh_slice *s, size_t n)
{
	struct sip state = sip_start(k);

	for (size_t i = 0; i < n; i++)
		sip_slice(&state, s[i], 1);
	state.v2 ^= 0xff;
	return sip_squeeze(&state, 3);
}

struct sh_id128 sh_hash128_slices(const struct sh_hash_key *k, const struct sh_slice *s, size_t n)
{
	return sip_128(k, s, n, 1, 3);
}

struct sh_id128 sh_mac128_slices(const struct sh_hash_key *k, const struct sh_slice *s, size_t n)
{
	return sip_128(k, s, n, 2, 4);
}
