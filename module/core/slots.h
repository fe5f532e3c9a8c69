/* Handles: 64-bit numbers that stand for objects whose end somebody may not have noticed. A handle is generation (32) | slot
 * (32); the generation changes each time a slot is used again, so that an old handle finds nothing. 0 is never a
 * handle. One thread at a time. */
#ifndef SH_CORE_SLOTS_H
#define SH_CORE_SLOTS_H

#include <stdint.h>

struct sh_slot {
	void *object; /* NULL: free */
	uint32_t generation, next_free;
};

struct sh_slots {
	struct sh_slot *slots;
	uint32_t capacity, free_head, count; /* free_head: index + 1, 0 = none */
	uint32_t fresh;                      /* slots from here on were never used, nor written */
};

static inline void sh_slots_init(struct sh_slots *s)
{
	*s = (struct sh_slots){0};
}
void sh_slots_finish(struct sh_slots *s);

uint64_t sh_slots_add(struct sh_slots *s, void *object); /* 0: out of memory */
void sh_slots_remove(struct sh_slots *s, uint64_t handle);

static inline void *sh_slots_get(const struct sh_slots *s, uint64_t handle)
{
	uint32_t i = (uint32_t)handle;

	return i < s->fresh && s->slots[i].generation == handle >> 32 ? s->slots[i].object : 0;
}

#endif
