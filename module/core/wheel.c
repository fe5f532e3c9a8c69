/* Five levels of 256 slots: level 0 has a slot per tick, level n a slot per 256^n ticks, 34 years in all. A timer goes
 * to the level of its distance; when the clock reaches the slot of a higher level, its timers move down.
 *
 * The order of one tick: what was added earlier was farther away, so it comes from the same or a higher level. Timers
 * that move down therefore go in front of those that are there, lower levels first.
 *
 * Timers of more than 65 s are on level 2 and above. A slot there may hold several for each of 100,000 calls; they move
 * down in portions, the last first, so that the order stays. Those of levels 0 and 1 are exact.
 *
 * The road not taken: choosing the level by the highest bit in which tick and due differ would give this order for
 * nothing, but then every timer that crosses a 65 s boundary (any SIP transaction) waits in one slot of level 2. */
#include "core/wheel.h"

#include <limits.h>
#include <stddef.h>

enum {
	SLOTS = 1 << SH_WHEEL_BITS,
	WORDS = SLOTS / 64,
	EXACT = 2,      /* levels */
	PORTION = 4096, /* timers: half a millisecond when none is in a cache */
};

#define SPAN (UINT64_C(1) << (SH_WHEEL_BITS * SH_WHEEL_LEVELS)) /* ticks */

static uint64_t tick_of(uint64_t due)
{
	return due / SH_MS + (due % SH_MS != 0); /* rounded up: never early */
}

void sh_wheel_init(struct sh_wheel *w, uint64_t now)
{
	w->tick = now / SH_MS;
	w->count = 0;
	w->fired = 0;
	sh_list_init(&w->overdue);
	sh_list_init(&w->moving);
	for (int level = 0; level < SH_WHEEL_LEVELS; level++) {
		for (int i = 0; i < SLOTS; i++)
			sh_list_init(&w->slots[level][i]);
		for (int i = 0; i < WORDS; i++)
			w->used[level][i] = 0;
	}
}

void sh_timer_init(struct sh_timer *t, sh_timer_fn fire)
{
	sh_list_init(&t->link);
	t->due = 0;
	t->fire = fire;
}

/* The slot of a tick from w->tick on; marks it as used. */
static struct sh_link *slot_for(struct sh_wheel *w, uint64_t tick)
{
	uint64_t distance = tick - w->tick;
	unsigned level, index;

	if (distance >= SPAN) { /* the last slot; it is placed again when the clock gets there */
		distance = SPAN - 1;
		tick = w->tick + distance;
	}
	level = (63 - (unsigned)__builtin_clzll(distance | 1)) / SH_WHEEL_BITS;
	index = (unsigned)(tick >> (level * SH_WHEEL_BITS)) & (SLOTS - 1);
	w->used[level][index / 64] |= UINT64_C(1) << (index % 64);
	return &w->slots[level][index];
}

/* Takes t out of its list, and the mark off a slot that is empty now. */
static void unlink_timer(struct sh_wheel *w, struct sh_timer *t)
{
	struct sh_link *head = t->link.prev;
	bool last = head == t->link.next;

	sh_list_remove(&t->link);
	if (!last)
		return;
	/* Both neighbours were the head: of a slot, or of a list that has no mark. */
	uintptr_t offset = (uintptr_t)head - (uintptr_t)&w->slots[0][0];
	if (offset < sizeof(w->slots)) {
		size_t slot = offset / sizeof(struct sh_link);
		w->used[slot / SLOTS][slot % SLOTS / 64] &= ~(UINT64_C(1) << (slot % 64));
	}
}

void sh_wheel_add(struct sh_wheel *w, struct sh_timer *t, uint64_t due)
{
	uint64_t tick = tick_of(due);

	if (sh_timer_pending(t))
		unlink_timer(w, t);
	else
		w->count++;
	t->due = due;
	sh_list_append(tick <= w->tick ? &w->overdue : slot_for(w, tick), &t->link);
}

void sh_wheel_cancel(struct sh_wheel *w, struct sh_timer *t)
{
	if (!sh_timer_pending(t))
		return;
	unlink_timer(w, t);
	w->count--;
}

/* The first used slot behind `from` (in a circle, `from` itself last) as a distance of 1 to SLOTS; 0 when there is none. */
static unsigned next_used(const uint64_t used[WORDS], unsigned from)
{
	unsigned start = (from + 1) % SLOTS;
	unsigned word = start / 64;
	uint64_t bits = used[word] & (~UINT64_C(0) << (start % 64));

	for (int i = 0; i <= WORDS; i++) {
		if (bits) {
			unsigned index = word * 64 + (unsigned)__builtin_ctzll(bits);
			return (index - start) % SLOTS + 1;
		}
		word = (word + 1) % WORDS;
		bits = used[word];
	}
	return 0;
}

/* The next tick at which a slot fires or moves down; SH_NEVER when all are empty. */
static uint64_t next_stop(const struct sh_wheel *w)
{
	uint64_t stop = SH_NEVER;

	for (unsigned level = 0; level < SH_WHEEL_LEVELS; level++) {
		unsigned shift = level * SH_WHEEL_BITS;
		uint64_t at = w->tick >> shift;
		unsigned distance = next_used(w->used[level], (unsigned)at & (SLOTS - 1));

		if (distance > 0 && (at + distance) << shift < stop)
			stop = (at + distance) << shift;
	}
	return stop;
}

/* Appends what is in `from` to `to`. */
static void take_list(struct sh_link *from, struct sh_link *to)
{
	if (sh_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	sh_list_init(from);
}

/* Appends a slot's timers to a list, and takes off the mark. */
static void take_slot(struct sh_wheel *w, unsigned level, unsigned index, struct sh_link *out)
{
	struct sh_link *slot = &w->slots[level][index];

	w->used[level][index / 64] &= ~(UINT64_C(1) << (index % 64));
	take_list(slot, out);
}

/* From the last to the first, each one to the front of its slot: the order stays. `fired` is the last tick whose slot has
 * been taken. */
static void move_down(struct sh_wheel *w, struct sh_link *from, unsigned limit, uint64_t fired)
{
	for (; limit > 0 && !sh_list_empty(from); limit--) {
		struct sh_timer *t = SH_CONTAINER(from->prev, struct sh_timer, link);
		uint64_t tick = tick_of(t->due);
		struct sh_link *to = tick <= fired ? &w->overdue : slot_for(w, tick);

		sh_list_remove(&t->link);
		sh_list_insert(to->next, &t->link);
	}
}

/* The slots of the higher levels that begin at this tick. */
static void cascade(struct sh_wheel *w)
{
	for (unsigned level = 1; level < SH_WHEEL_LEVELS; level++) {
		unsigned shift = level * SH_WHEEL_BITS;
		struct sh_link exact;

		if (w->tick & ((UINT64_C(1) << shift) - 1))
			return;
		sh_list_init(&exact);
		take_slot(w, level, (unsigned)(w->tick >> shift) & (SLOTS - 1), level < EXACT ? &exact : &w->moving);
		move_down(w, &exact, UINT_MAX, w->tick - 1);
		move_down(w, &w->moving, PORTION, w->tick - 1);
	}
}

static void fire_all(struct sh_wheel *w, struct sh_link *list)
{
	for (struct sh_link *l; (l = sh_list_pop(list)) != NULL;) {
		struct sh_timer *t = SH_CONTAINER(l, struct sh_timer, link);
		w->count--;
		w->fired++;
		t->fire(t);
	}
}

void sh_wheel_advance(struct sh_wheel *w, uint64_t now)
{
	uint64_t target = now / SH_MS;
	struct sh_link firing;

	move_down(w, &w->moving, PORTION, w->tick);
	/* Only those that are overdue at the beginning: a timer that arms itself for the past must not keep us here. */
	sh_list_init(&firing);
	take_list(&w->overdue, &firing);
	fire_all(w, &firing);

	while (w->tick < target) {
		uint64_t stop = next_stop(w);

		if (stop > target) {
			w->tick = target;
			return;
		}
		w->tick = stop;
		cascade(w);
		take_slot(w, 0, (unsigned)stop & (SLOTS - 1), &firing);
		fire_all(w, &firing);
	}
}

uint64_t sh_wheel_next(const struct sh_wheel *w)
{
	uint64_t stop;

	if (!sh_list_empty(&w->overdue) || !sh_list_empty(&w->moving))
		return w->tick * SH_MS;
	stop = w->count > 0 ? next_stop(w) : SH_NEVER;
	return stop > SH_NEVER / SH_MS ? SH_NEVER : stop * SH_MS;
}
