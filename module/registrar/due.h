/* What is due when: a heap whose items know their place, so that one is moved or taken out in O(log n). The timer wheel
 * (core/wheel.h) is not used here because it fires all that is due at once: a process that was suspended for an hour
 * has a hundred thousand bindings to expire, and that must be done in portions. A step of the clock does no harm
 * either. Private to registrar/. One thread at a time. */
#ifndef SH_REGISTRAR_DUE_H
#define SH_REGISTRAR_DUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sh_due {
	size_t place; /* index + 1 in the heap; 0 = not in it */
};

struct sh_due_entry { /* the time stands here, too: sifting compares without touching the items */
	uint64_t at;
	struct sh_due *item;
};

struct sh_due_heap {
	struct sh_due_entry *entries;
	size_t count, cap;
	_Atomic uint64_t next; /* time of the first item, 0: there is none */
};

/* Whether something may be due: any thread, without the heap's lock, and maybe a moment old. */
static inline bool sh_due_any(const struct sh_due_heap *h, uint64_t now)
{
	uint64_t next = atomic_load_explicit(&h->next, memory_order_relaxed);

	return next && next <= now;
}

void sh_due_finish(struct sh_due_heap *h); /* a heap begins as {0}; frees the array, the items are their owners' */

/* Makes room for one item more, so that the next sh_due_set() cannot fail. 0 or -ENOMEM. */
int sh_due_reserve(struct sh_due_heap *h);

/* Puts the item in (after sh_due_reserve) or moves it. */
void sh_due_set(struct sh_due_heap *h, struct sh_due *item, uint64_t at);
void sh_due_remove(struct sh_due_heap *h, struct sh_due *item); /* one that is not in is fine */

/* The item that is due first, if that is at or before now; else NULL. */
struct sh_due *sh_due_first(const struct sh_due_heap *h, uint64_t now);

#endif
