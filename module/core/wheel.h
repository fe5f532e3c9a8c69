/* Hierarchical timer wheel: adding, moving and cancelling are O(1). Resolution 1 ms: a timer never fires early, and
 * at most one tick late. No advance is a pause: it fires a few hundred timers, and the next one the rest; those that are far away
 * come closer in portions. Times are microseconds of the environment's monotonic clock. Timers of the same tick fire in
 * the order in which they were added (simulation depends on it). One thread.
 *
 * A callback may add, move and cancel any timer, itself included, and free the memory of its own. */
#ifndef SH_CORE_WHEEL_H
#define SH_CORE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/list.h"

#define SH_MS UINT64_C(1000)
#define SH_SECOND UINT64_C(1000000)
#define SH_NEVER UINT64_MAX

struct sh_timer;
typedef void (*sh_timer_fn)(struct sh_timer *t);

struct sh_timer {
	struct sh_link link; /* points at itself while idle */
	uint64_t due;        /* microseconds */
	sh_timer_fn fire;    /* finds its object with SH_CONTAINER */
};

enum { SH_WHEEL_SLOTS = 512, SH_WHEEL_LEVELS = 5 };

struct sh_wheel {
	uint64_t tick;  /* every timer due at or before this tick has fired, but for `due` and `overdue` */
	uint64_t count; /* pending timers */
	uint64_t fired; /* timers that have fired since init */
	struct sh_link due;     /* what the last advance has left to the next one */
	struct sh_link overdue; /* armed for a time that was past already: the next advance fires them */
	struct sh_link coming[SH_WHEEL_LEVELS]; /* to this level, from the slot above that is next: a portion at each advance */
	uint64_t used[SH_WHEEL_LEVELS][SH_WHEEL_SLOTS / 64]; /* a bit per slot: it holds timers; the others are not initialized */
	struct sh_link slots[SH_WHEEL_LEVELS][SH_WHEEL_SLOTS];
};

void sh_wheel_init(struct sh_wheel *w, uint64_t now);

void sh_timer_init(struct sh_timer *t, sh_timer_fn fire);
static inline bool sh_timer_pending(const struct sh_timer *t)
{
	return !sh_list_empty(&t->link);
}

/* Arms t for `due`; a pending one is moved. A time in the past fires at the next advance. */
void sh_wheel_add(struct sh_wheel *w, struct sh_timer *t, uint64_t due);
void sh_wheel_cancel(struct sh_wheel *w, struct sh_timer *t); /* an idle one is fine */

/* Fires what is due at or before now; of many, the first 256: sh_wheel_next is not later than now then. What a callback arms for a time
 * that is past waits for the next call. Not to be called from a callback. */
void sh_wheel_advance(struct sh_wheel *w, uint64_t now);

/* A time not later than the next due timer, and later than the last advance unless one is due; SH_NEVER when empty.
 * It may be earlier than the timer (where a slot is taken to move down a level, and at each portion). A few bitmap words: cheap. */
uint64_t sh_wheel_next(const struct sh_wheel *w);

#endif
