#include "core/slots.h"

#include <stddef.h>

#include "core/alloc.h"

void sh_slots_finish(struct sh_slots *s)
{
	sh_free(s->slots);
	sh_slots_init(s);
}

static int grow(struct sh_slots *s)
{
	uint32_t capacity = s->capacity ? s->capacity * 2 : 64;
	struct sh_slot *slots = capacity > s->capacity ? sh_realloc(s->slots, capacity * sizeof(*slots)) : NULL;

	if (!slots)
		return -1;
	s->slots = slots;
	s->capacity = capacity;
	return 0;
}

uint64_t sh_slots_add(struct sh_slots *s, void *object)
{
	struct sh_slot *slot;
	uint32_t i;

	if (s->free_head) {
		i = s->free_head - 1;
		slot = &s->slots[i];
		s->free_head = slot->next_free;
	} else {
		if (s->fresh == s->capacity && grow(s))
			return 0;
		i = s->fresh++;
		slot = &s->slots[i];
		slot->generation = 1;
	}
	slot->object = object;
	s->count++;
	return (uint64_t)slot->generation << 32 | i;
}

void sh_slots_remove(struct sh_slots *s, uint64_t handle)
{
	uint32_t i = (uint32_t)handle;

	if (!sh_slots_get(s, handle))
		return;
	s->slots[i].object = NULL;
	if (++s->slots[i].generation == 0) /* a handle is never 0 */
		s->slots[i].generation = 1;
	s->slots[i].next_free = s->free_head;
	s->free_head = i + 1;
	s->count--;
}
