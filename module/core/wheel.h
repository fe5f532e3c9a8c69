/* Hierarchical timer wheel: adding, moving and cancelling are O(1). Resolution 1 ms: a timer never fires early, and
 * at most one tick late; one of more than a minute a few advances later when thousands of them are due within the same minute,
 * since they are looked at in portions: no advance is a pause. Times are microseconds of the environment's monotonic clock. Timers of the same tick fire in
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

enum { SH_WHEEL_BITS = 8, SH_WHEEL_LEVELS = 5 };

struct sh_wheel {
	uint64_t tick;  /* every timer due at or before this tick has fired, but for `overdue` */
	uint64_t count; /* pending timers */
	uint64_t fired; /* timers that have fired since init */
	struct sh_link overdue; /* armed for a time that is past already: the next advance fires them */
	struct sh_link moving;  /* of a slot of a high level whose time has come: a portion moves down at each advance */
	struct sh_link slots[SH_WHEEL_LEVELS][1 << SH_WHEEL_BITS];
	uint64_t used[SH_WHEEL_LEVELS][(1 << SH_WHEEL_BITS) / 64]; /* a bit per slot: it holds timers */
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

/* Fires everything due at or before now. What a callback arms for a time that is past waits for the next call.
 * Not to be called from a callback. */
void sh_wheel_advance(struct sh_wheel *w, uint64_t now);

/* A time not later than the next due timer, and later than the last advance unless one is due; SH_NEVER when empty.
 * It may be earlier than the timer (a slot that moves down a level is a stop of its own). A few bitmap words: cheap. */
uint64_t sh_wheel_next(const struct sh_wheel *w);

#endif
