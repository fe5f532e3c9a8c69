/* Five levels of 512 slots: a slot of level n is a block of 256^n ticks, 69 years in all. A timer is on the lowest level of
 * which its block on the level above is the present one or the next. So a slot of a higher level is taken one block before its
 * time, from which on nothing new is put there, and has that long to move down, a portion at each advance: thousands of timers
 * that move at once are a pause, none of them is in a cache.
 *
 * The order of one tick: what was added earlier was farther away, so it comes from the same or a higher level. Timers
 * that move down therefore go in front of those that are there, the last first.
 *
 * What has not moved when the level below is about to take the first of those slots moves then, at once: the clock has
 * jumped, or no portion was enough. So timers of all levels are exact. */
#include "core/wheel.h"

#include <limits.h>
#include <stddef.h>

enum {
	BLOCK = SH_WHEEL_SLOTS / 2, /* slots that one of the next level holds */
	WORDS = SH_WHEEL_SLOTS / 64,
	TOP = SH_WHEEL_LEVELS - 1,
	BITS = 8,
	/* Timers that one advance moves down, and that it fires: half a millisecond, and one or two where each is the end of a
	 * transaction that nobody has looked at for half a minute. */
	MOVE = 256,
	FIRE = 256,
};

_Static_assert(BLOCK == 1 << BITS, "a block is a slot of the next level");

#define SPAN ((uint64_t)(SH_WHEEL_SLOTS - 1) << (BITS * TOP)) /* ticks */

static uint64_t tick_of(uint64_t due)
{
	return due / SH_MS + (due % SH_MS != 0); /* rounded up: never early */
}

static uint64_t block_of(uint64_t tick, unsigned level)
{
	return tick >> (level * BITS);
}

void sh_wheel_init(struct sh_wheel *w, uint64_t now)
{
	w->tick = now / SH_MS;
	w->count = 0;
	w->fired = 0;
	sh_list_init(&w->due);
	sh_list_init(&w->overdue);
	for (int level = 0; level < SH_WHEEL_LEVELS; level++) {
		sh_list_init(&w->coming[level]);
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

/* The slot of a tick on that level; marks it as used. */
static struct sh_link *slot_at(struct sh_wheel *w, unsigned level, uint64_t tick)
{
	unsigned index = (unsigned)block_of(tick, level) % SH_WHEEL_SLOTS;
	uint64_t bit = UINT64_C(1) << (index % 64);

	if (!(w->used[level][index / 64] & bit)) {
		w->used[level][index / 64] |= bit;
		sh_list_init(&w->slots[level][index]);
	}
	return &w->slots[level][index];
}

/* The slot of a tick behind w->tick. */
static struct sh_link *slot_for(struct sh_wheel *w, uint64_t tick)
{
	uint64_t distance = tick - w->tick;
	unsigned level;

	if (distance > SPAN) { /* the last slot; it is placed again when the clock gets there */
		distance = SPAN;
		tick = w->tick + distance;
	}
	level = (63 - (unsigned)__builtin_clzll(distance | 1)) / BITS;
	if (level > TOP)
		level = TOP;
	if (level > 0 && block_of(tick, level) - block_of(w->tick, level) <= 1)
		level--;
	return slot_at(w, level, tick);
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
		w->used[slot / SH_WHEEL_SLOTS][slot % SH_WHEEL_SLOTS / 64] &= ~(UINT64_C(1) << (slot % 64));
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

/* The first used slot behind `from` (in a circle) as a distance of 1 to SH_WHEEL_SLOTS; 0 when there is none. */
static unsigned next_used(const uint64_t used[WORDS], unsigned from)
{
	unsigned start = (from + 1) % SH_WHEEL_SLOTS;
	unsigned word = start / 64;
	uint64_t bits = used[word] & (~UINT64_C(0) << (start % 64));

	for (int i = 0; i <= WORDS; i++) {
		if (bits) {
			unsigned index = word * 64 + (unsigned)__builtin_ctzll(bits);
			return (index - start) % SH_WHEEL_SLOTS + 1;
		}
		word = (word + 1) % WORDS;
		bits = used[word];
	}
	return 0;
}

/* The next tick at which a slot fires or is taken to move down, or what moves has to be there; SH_NEVER when all are empty. */
static uint64_t next_stop(const struct sh_wheel *w)
{
	uint64_t stop = SH_NEVER;

	for (unsigned level = 0; level < SH_WHEEL_LEVELS; level++) {
		unsigned shift = level * BITS;
		uint64_t at = w->tick >> shift;
		unsigned distance = next_used(w->used[level], (unsigned)at % SH_WHEEL_SLOTS);
		uint64_t above = (block_of(w->tick, level + 1) + 1) << BITS; /* in blocks of this level */

		if (distance > 0 && (at + distance - (level > 0)) << shift < stop)
			stop = (at + distance - (level > 0)) << shift;
		if (!sh_list_empty(&w->coming[level]) && (above - 1) << shift < stop)
			stop = (above - 1) << shift;
		if (stop <= above << shift) /* the higher levels stop where one of their blocks begins */
			break;
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
static void take_slot(struct sh_wheel *w, unsigned level, uint64_t block, struct sh_link *out)
{
	unsigned index = (unsigned)block % SH_WHEEL_SLOTS;
	uint64_t bit = UINT64_C(1) << (index % 64);

	if (!(w->used[level][index / 64] & bit))
		return;
	w->used[level][index / 64] &= ~bit;
	take_list(&w->slots[level][index], out);
}

/* From the last to the first, each one to the front of its slot on that level: the order stays. Returns what is left of the
 * limit. */
static unsigned move_down(struct sh_wheel *w, unsigned level, unsigned limit)
{
	struct sh_link *from = &w->coming[level];
	uint64_t block = block_of(w->tick, level + 1) + 1;

	for (; limit > 0 && !sh_list_empty(from); limit--) {
		struct sh_timer *t = SH_CONTAINER(from->prev, struct sh_timer, link);
		uint64_t tick = tick_of(t->due);
		struct sh_link *to = block_of(tick, level + 1) == block ? slot_at(w, level, tick) : slot_for(w, tick);

		sh_list_remove(&t->link);
		sh_list_insert(to->next, &t->link);
	}
	return limit;
}

/* The blocks that begin at this tick. In front of the first slot that the next block of the level above fills, all that fills it has to
 * be there. */
static void begin_blocks(struct sh_wheel *w)
{
	for (unsigned level = 0; level < SH_WHEEL_LEVELS; level++) {
		uint64_t block = block_of(w->tick, level);

		if (block << (level * BITS) != w->tick)
			return;
		if ((block + 1) % BLOCK == 0)
			move_down(w, level, UINT_MAX);
		if (level > 0)
			take_slot(w, level, block + 1, &w->coming[level - 1]);
	}
}

/* True when all that is due has fired. */
static bool fire(struct sh_wheel *w, unsigned *left)
{
	for (; *left > 0 && !sh_list_empty(&w->due); --*left) {
		struct sh_timer *t = SH_CONTAINER(sh_list_pop(&w->due), struct sh_timer, link);

		w->count--;
		w->fired++;
		t->fire(t);
	}
	return sh_list_empty(&w->due);
}

void sh_wheel_advance(struct sh_wheel *w, uint64_t now)
{
	uint64_t target = now / SH_MS;
	unsigned left = FIRE, room = MOVE;

	/* Only those that are overdue at the beginning: a timer that arms itself for the past must not keep us here. */
	take_list(&w->overdue, &w->due);
	while (fire(w, &left) && w->tick < target) {
		uint64_t stop = next_stop(w);

		if (stop > target) {
			w->tick = target;
			break;
		}
		w->tick = stop;
		begin_blocks(w);
		take_slot(w, 0, stop, &w->due);
	}
	for (unsigned level = 0; level < TOP; level++)
		room = move_down(w, level, room);
}

uint64_t sh_wheel_next(const struct sh_wheel *w)
{
	uint64_t stop;

	if (!sh_list_empty(&w->due) || !sh_list_empty(&w->overdue))
		return w->tick * SH_MS;
	if (w->count == 0)
		return SH_NEVER;
	for (unsigned level = 0; level < TOP; level++)
		if (!sh_list_empty(&w->coming[level]))
			return (w->tick + 1) * SH_MS;
	stop = next_stop(w);
	return stop > SH_NEVER / SH_MS ? SH_NEVER : stop * SH_MS;
}
