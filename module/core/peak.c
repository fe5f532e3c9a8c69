#include "core/peak.h"

#include "core/wheel.h"

#define SLOT (5 * SH_SECOND)

void sh_peak_add(struct sh_peak *p, uint64_t now, uint64_t value)
{
	uint64_t slot = now / SLOT, *largest = &p->largest[slot % SH_PEAK_SLOTS];

	if (slot - p->slot >= SH_PEAK_SLOTS) {
		for (int i = 0; i < SH_PEAK_SLOTS; i++)
			p->largest[i] = 0;
	} else {
		while (p->slot < slot)
			p->largest[++p->slot % SH_PEAK_SLOTS] = 0;
	}
	p->slot = slot;
	if (value > *largest)
		*largest = value;
}

uint64_t sh_peak_get(const struct sh_peak *p, uint64_t now)
{
	uint64_t slot = now / SLOT, largest = 0;

	if (slot < p->slot) /* added after that clock was read */
		slot = p->slot;
	for (uint64_t age = slot - p->slot; age < SH_PEAK_SLOTS; age++) {
		uint64_t value = p->largest[(slot - age) % SH_PEAK_SLOTS];

		if (value > largest)
			largest = value;
	}
	return largest;
}
