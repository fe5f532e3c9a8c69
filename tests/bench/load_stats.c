#include "load.h"

/* Below 1,024 us one counter each; above, 512 counters for every doubling. */
enum { EXACT = 1024, STEPS = 512 };

static size_t place(uint64_t us)
{
	unsigned shift = 0;
	size_t at;

	while (us >> shift >= EXACT)
		shift++;
	at = shift * STEPS + (size_t)(us >> shift);
	return at < sizeof(((struct latency *)0)->counts) / sizeof(uint32_t)
		   ? at
		   : sizeof(((struct latency *)0)->counts) / sizeof(uint32_t) - 1;
}

static uint64_t value(size_t at)
{
	size_t shift = at < EXACT ? 0 : at / STEPS - 1;

	return (uint64_t)(at - shift * STEPS) << shift;
}

void latency_add(struct latency *l, double seconds)
{
	uint64_t us = seconds > 0 ? (uint64_t)(seconds * 1e6) : 0;

	l->counts[place(us)]++;
	l->total++;
	if (us > l->max)
		l->max = us;
}

uint64_t latency_percentile(const struct latency *l, double p)
{
	uint64_t seen = 0;

	for (size_t i = 0; i < sizeof(l->counts) / sizeof(l->counts[0]); i++) {
		seen += l->counts[i];
		if (seen && (double)seen >= p * (double)l->total)
			return value(i);
	}
	return 0;
}
