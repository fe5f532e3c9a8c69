/* Random numbers for tags, branches, Call-IDs and nonces: from getrandom(2) in blocks of 4 kB, or from a seed in
 * simulation. One per worker, one thread. */
#ifndef SH_CORE_RANDOM_H
#define SH_CORE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sh_random {
	bool seeded;         /* simulation: the whole sequence follows from the seed */
	uint64_t state[4];   /* xoshiro256** when seeded */
	size_t left;         /* unused bytes at the end of pool */
	unsigned char pool[4096];
};

void sh_random_init(struct sh_random *r);                     /* getrandom */
void sh_random_init_seed(struct sh_random *r, uint64_t seed); /* simulation */

void sh_random_bytes(struct sh_random *r, void *out, size_t n);
uint64_t sh_random_u64(struct sh_random *r);
uint64_t sh_random_below(struct sh_random *r, uint64_t n); /* 0 .. n-1, unbiased; n > 0 */

/* n characters of [0-9a-zA-Z_-] (6 bits each); every one is a SIP token character. No NUL is written. */
void sh_random_token(struct sh_random *r, char *out, size_t n);

#endif
