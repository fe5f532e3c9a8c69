#include "registrar/due.h"

#include <errno.h>

#include "core/alloc.h"

void sh_due_finish(struct sh_due_heap *h)
{
	sh_free(h->entries);
	h->entries = NULL;
	h->count = h->cap = 0;
	atomic_store_explicit(&h->next, 0, memory_order_relaxed);
}

int sh_due_reserve(struct sh_due_heap *h)
{
	size_t cap = h->cap ? h->cap * 2 : 16;
	struct sh_due_entry *entries;

	if (h->count < h->cap)
		return 0;
	entries = cap <= SIZE_MAX / sizeof(*entries) ? sh_realloc(h->entries, cap * sizeof(*entries)) : NULL;
	if (!entries)
		return -ENOMEM;
	h->entries = entries;
	h->cap = cap;
	return 0;
}

static void put(struct sh_due_heap *h, size_t i, struct sh_due_entry e)
{
	h->entries[i] = e;
	e.item->place = i + 1;
}

/* e goes where it belongs, upwards or downwards from the free place i. */
static void sift(struct sh_due_heap *h, size_t i, struct sh_due_entry e)
{
	while (i > 0 && h->entries[(i - 1) / 2].at > e.at) {
		put(h, i, h->entries[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	for (size_t child = 2 * i + 1; child < h->count; child = 2 * i + 1) {
		if (child + 1 < h->count && h->entries[child + 1].at < h->entries[child].at)
			child++;
		if (h->entries[child].at >= e.at)
			break;
		put(h, i, h->entries[child]);
		i = child;
	}
	put(h, i, e);
}

static void note_next(struct sh_due_heap *h)
{
	uint64_t next = h->count == 0 ? 0 : h->entries[0].at ? h->entries[0].at : 1;

	atomic_store_explicit(&h->next, next, memory_order_relaxed);
}

void sh_due_set(struct sh_due_heap *h, struct sh_due *item, uint64_t at)
{
	struct sh_due_entry e = {at, item};

	sift(h, item->place ? item->place - 1 : h->count++, e);
	note_next(h);
}

void sh_due_remove(struct sh_due_heap *h, struct sh_due *item)
{
	size_t i;

	if (!item->place)
		return;
	i = item->place - 1;
	item->place = 0;
	if (i != --h->count)
		sift(h, i, h->entries[h->count]);
	note_next(h);
}

struct sh_due *sh_due_first(const struct sh_due_heap *h, uint64_t now)
{
	return h->count && h->entries[0].at <= now ? h->entries[0].item : NULL;
}
