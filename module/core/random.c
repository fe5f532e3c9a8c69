#include "core/random.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

/* Fills the whole state from one word (S. Vigna's recommendation for the xoshiro family). */
static uint64_t splitmix64(uint64_t *x)
{
	uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static uint64_t xoshiro256ss(uint64_t s[4])
{
	uint64_t result = rotl(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl(s[3], 45);
	return result;
}

void sh_random_init(struct sh_random *r)
{
	memset(r, 0, sizeof(*r));
}

void sh_random_init_seed(struct sh_random *r, uint64_t seed)
{
	memset(r, 0, sizeof(*r));
	r->seeded = true;
	for (size_t i = 0; i < 4; i++)
		r->state[i] = splitmix64(&seed);
}

/* A kernel without getrandom(2) (or a filter that forbids it) still gave the process 16 random bytes at its start.
 * Weaker, but tags stay unique and a call can be made. */
static void fall_back(struct sh_random *r)
{
	const void *start = (const void *)getauxval(AT_RANDOM);
	uint64_t words[2] = {0, 0};

	if (start)
		memcpy(words, start, sizeof(words));
	words[0] ^= (uintptr_t)r; /* workers must differ */
	sh_random_init_seed(r, splitmix64(&words[0]) ^ words[1]);
}

static void refill(struct sh_random *r)
{
	size_t have = 0;

	while (!r->seeded && have < sizeof(r->pool)) {
		ssize_t n = getrandom(r->pool + have, sizeof(r->pool) - have, 0);
		if (n > 0)
			have += (size_t)n;
		else if (errno != EINTR)
			fall_back(r);
	}
	if (r->seeded) {
		for (size_t i = 0; i < sizeof(r->pool); i += sizeof(uint64_t)) {
			uint64_t word = xoshiro256ss(r->state);
			memcpy(r->pool + i, &word, sizeof(word));
		}
	}
	r->left = sizeof(r->pool);
}

void sh_random_bytes(struct sh_random *r, void *out, size_t n)
{
	unsigned char *to = out;

	while (n > 0) {
		unsigned char *from;
		size_t take;

		if (r->left == 0)
			refill(r);
		take = n < r->left ? n : r->left;
		from = r->pool + sizeof(r->pool) - r->left;
		memcpy(to, from, take);
		memset(from, 0, take); /* what was given away (a nonce) cannot be read here any more */
		r->left -= take;
		to += take;
		n -= take;
	}
}

uint64_t sh_random_u64(struct sh_random *r)
{
	uint64_t word;

	if (r->left < sizeof(word)) {
		sh_random_bytes(r, &word, sizeof(word));
		return word;
	}
	unsigned char *from = r->pool + sizeof(r->pool) - r->left;
	memcpy(&word, from, sizeof(word));
	memset(from, 0, sizeof(word));
	r->left -= sizeof(word);
	return word;
}

/* D. Lemire, "Fast random integer generation in an interval": the high half of a product; the few low halves that
 * would favour some results are drawn again. */
uint64_t sh_random_below(struct sh_random *r, uint64_t n)
{
	unsigned __int128 product = (unsigned __int128)sh_random_u64(r) * n;

	if ((uint64_t)product < n) {
		uint64_t floor = (0 - n) % n;
		while ((uint64_t)product < floor)
			product = (unsigned __int128)sh_random_u64(r) * n;
	}
	return (uint64_t)(product >> 64);
}

void sh_random_token(struct sh_random *r, char *out, size_t n)
{
	static const char symbols[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

	while (n > 0) {
		uint64_t word = sh_random_u64(r);
		size_t take = n < 10 ? n : 10; /* 10 x 6 bits of 64 */

		for (size_t i = 0; i < take; i++, word >>= 6)
			out[i] = symbols[word & 63];
		out += take;
		n -= take;
	}
}
