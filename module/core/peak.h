/* The largest value of the last minute: twelve slots of five seconds, so that it covers 55 to 60 of them. Nobody resets it: who asks takes
 * it from no other one who asks. One thread. Times are microseconds of the environment's monotonic clock. */
#ifndef SH_CORE_PEAK_H
#define SH_CORE_PEAK_H

#include <stdint.h>

enum { SH_PEAK_SLOTS = 12 };

struct sh_peak { /* zero: nothing was seen yet */
	uint64_t slot; /* the number of the newest one, since the clock began */
	uint64_t largest[SH_PEAK_SLOTS];
};

void sh_peak_add(struct sh_peak *p, uint64_t now, uint64_t value);
uint64_t sh_peak_get(const struct sh_peak *p, uint64_t now); /* 0: nothing within the last minute */

#endif
