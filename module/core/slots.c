#include "core/slots.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "core/alloc.h"

enum { FIRST = 64, MAPPED = 1 << 13 }; /* from so many slots on the array is mapped: it grows without a copy, which would be a pause */

static void give_back(struct sh_slot *slots, uint32_t capacity)
{
	if (capacity >= MAPPED)
		munmap(slots, capacity * sizeof(*slots));
	else
		sh_free(slots);
}

void sh_slots_finish(struct sh_slots *s)
{
	give_back(s->slots, s->capacity);
	sh_slots_init(s);
}

static struct sh_slot *mapped(const struct sh_slots *s, uint32_t capacity)
{
	size_t size = capacity * sizeof(*s->slots);
	void *at;

	if (s->capacity >= MAPPED)
		at = mremap(s->slots, s->capacity * sizeof(*s->slots), size, MREMAP_MAYMOVE);
	else
		at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		return NULL;
	if (s->capacity < MAPPED) {
		memcpy(at, s->slots, s->capacity * sizeof(*s->slots));
		sh_free(s->slots);
	}
	return at;
}

static int grow(struct sh_slots *s)
{
	uint32_t capacity = s->capacity ? s->capacity * 2 : FIRST;
	struct sh_slot *slots;

	if (capacity < s->capacity)
		return -1;
	slots = capacity >= MAPPED ? mapped(s, capacity) : sh_realloc(s->slots, capacity * sizeof(*slots));
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
