/* The timer wheel against a plain list of what was armed: same timers, same order, never early, at most a tick late. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/random.h"
#include "core/wheel.h"

enum { TIMERS = 500 };

struct probe {
	struct sh_timer timer;
	uint64_t want; /* SH_NEVER: not armed */
	unsigned fired;
};

static uint64_t present;
static struct sh_wheel wheel;
static struct probe probes[TIMERS];

static void on_fire(struct sh_timer *t)
{
	struct probe *p = SH_CONTAINER(t, struct probe, timer);
	assert_int_not_equal(p->want, SH_NEVER);
	assert_true(present >= p->want);
	p->want = SH_NEVER;
	p->fired++;
}

static void start(uint64_t now)
{
	present = now;
	sh_wheel_init(&wheel, now);
	for (unsigned i = 0; i < TIMERS; i++) {
		sh_timer_init(&probes[i].timer, on_fire);
		probes[i].want = SH_NEVER;
		probes[i].fired = 0;
	}
}

/* Until nothing is due any more. Returns after how many advances. */
static unsigned advance(uint64_t to)
{
	unsigned advances = 0;

	present = to;
	do {
		sh_wheel_advance(&wheel, to);
		advances++;
	} while (sh_wheel_next(&wheel) <= to);
	return advances;
}

static void random_operations_fire_as_the_model_says(void **state)
{
	(void)state;
	struct sh_random r;
	sh_random_init_seed(&r, 42);
	start(123456789);
	for (unsigned step = 0; step < 20000; step++) {
		struct probe *p = &probes[sh_random_below(&r, TIMERS)];
		switch (sh_random_below(&r, 4)) {
		case 0: /* near or, one time in eight, hours away */
			p->want = present + sh_random_below(&r, sh_random_below(&r, 8) ? 5 * SH_SECOND : 7200 * SH_SECOND);
			sh_wheel_add(&wheel, &p->timer, p->want);
			break;
		case 1:
			sh_wheel_cancel(&wheel, &p->timer);
			p->want = SH_NEVER;
			break;
		default: {
			uint64_t next = sh_wheel_next(&wheel);
			for (unsigned i = 0; i < TIMERS; i++)
				if (probes[i].want != SH_NEVER)
					assert_true(next <= probes[i].want + SH_MS);
			advance(present + sh_random_below(&r, sh_random_below(&r, 50) ? 100 * SH_MS : 3600 * SH_SECOND));
			for (unsigned i = 0; i < TIMERS; i++) {
				assert_true(probes[i].want == SH_NEVER || probes[i].want + SH_MS > present);
				assert_int_equal(sh_timer_pending(&probes[i].timer), probes[i].want != SH_NEVER);
			}
		}
		}
	}
	advance(present + 10000 * SH_SECOND);
	assert_int_equal(wheel.count, 0);
	assert_true(sh_wheel_next(&wheel) == SH_NEVER);
}

static void a_moved_timer_fires_once_at_its_new_time(void **state)
{
	(void)state;
	start(0);
	probes[0].want = 32 * SH_SECOND;
	sh_wheel_add(&wheel, &probes[0].timer, 10 * SH_MS);
	sh_wheel_add(&wheel, &probes[0].timer, 32 * SH_SECOND);
	advance(31 * SH_SECOND);
	assert_int_equal(probes[0].fired, 0);
	advance(33 * SH_SECOND);
	assert_int_equal(probes[0].fired, 1);
}

static void on_fire_free(struct sh_timer *t)
{
	free(SH_CONTAINER(t, struct probe, timer));
}

static void on_fire_cancel_second(struct sh_timer *t)
{
	(void)t;
	sh_wheel_cancel(&wheel, &probes[2].timer);
	sh_wheel_add(&wheel, &probes[3].timer, present + 5 * SH_MS);
	probes[3].want = present + 5 * SH_MS;
}

static void a_callback_may_free_its_own_and_cancel_and_add_others(void **state)
{
	(void)state;
	start(0);
	struct probe *heap = calloc(1, sizeof *heap);
	sh_timer_init(&heap->timer, on_fire_free);
	sh_wheel_add(&wheel, &heap->timer, 10 * SH_MS);
	sh_timer_init(&probes[1].timer, on_fire_cancel_second);
	sh_wheel_add(&wheel, &probes[1].timer, 10 * SH_MS);
	sh_wheel_add(&wheel, &probes[2].timer, 10 * SH_MS);
	advance(11 * SH_MS);
	assert_int_equal(probes[2].fired, 0);
	advance(17 * SH_MS);
	assert_int_equal(probes[3].fired, 1);
}

/* ---- the order ---- */

enum { ORDERED = 4000, LOOKS = 300000 };

/* What a sorted list would do: by tick, and those of one tick as they were armed. */
struct ordered {
	struct sh_timer timer;
	uint64_t tick, number;
};

static struct ordered ordered[ORDERED], last;
static struct sh_random dice;
static uint64_t armed;

/* Near and far ones, many of them for the same tick, some for one that is past. */
static void arm_ordered(struct ordered *o, uint64_t from)
{
	static const uint64_t spans[] = {20 * SH_MS, 600 * SH_MS, 2 * SH_SECOND, 32 * SH_SECOND, 150 * SH_SECOND, 7200 * SH_SECOND,
					 40000 * SH_SECOND};
	uint64_t due = from + sh_random_below(&dice, spans[sh_random_below(&dice, 7)]);

	if (sh_random_below(&dice, 2))
		due += 64 * SH_MS - due % (64 * SH_MS);
	sh_wheel_add(&wheel, &o->timer, due);
	o->tick = (due + SH_MS - 1) / SH_MS;
	if (o->tick < wheel.tick)
		o->tick = wheel.tick;
	o->number = armed++;
}

static void on_ordered(struct sh_timer *t)
{
	struct ordered *o = SH_CONTAINER(t, struct ordered, timer);

	assert_true(o->tick * SH_MS <= present);
	assert_true(o->tick > last.tick || (o->tick == last.tick && o->number > last.number));
	last = *o;
	o->tick = SH_NEVER;
	if (sh_random_below(&dice, 4))
		arm_ordered(&ordered[sh_random_below(&dice, ORDERED)], present + SH_MS); /* for the past would be the next advance */
}

static void look(void)
{
	uint64_t next = sh_wheel_next(&wheel), count = 0;

	for (unsigned i = 0; i < ORDERED; i++) {
		if (ordered[i].tick == SH_NEVER)
			continue;
		count++;
		assert_true(next <= ordered[i].tick * SH_MS);
	}
	assert_int_equal(count, wheel.count);
}

static void the_order_is_that_of_a_sorted_list(void **state)
{
	(void)state;
	sh_random_init_seed(&dice, 7);
	present = 987654321;
	sh_wheel_init(&wheel, present);
	last = (struct ordered){0};
	for (unsigned i = 0; i < ORDERED; i++) {
		sh_timer_init(&ordered[i].timer, on_ordered);
		ordered[i].tick = SH_NEVER;
	}
	for (unsigned i = 0; i < LOOKS; i++) {
		struct ordered *o = &ordered[sh_random_below(&dice, ORDERED)];

		switch (sh_random_below(&dice, 8)) {
		case 0:
			sh_wheel_cancel(&wheel, &o->timer);
			o->tick = SH_NEVER;
			break;
		case 1: /* some milliseconds, as a loop does; now and then it jumps; it may leave something to do */
			present += sh_random_below(&dice, sh_random_below(&dice, 200) ? 3 * SH_MS : 300 * SH_SECOND);
			sh_wheel_advance(&wheel, present);
			break;
		case 2: /* as a loop does that has nothing else to do */
			if (sh_wheel_next(&wheel) < present + SH_SECOND && sh_wheel_next(&wheel) > present)
				present = sh_wheel_next(&wheel);
			sh_wheel_advance(&wheel, present);
			break;
		default:
			arm_ordered(o, present - 5 * SH_MS);
		}
		if (i % 1000 == 0) {
			advance(present);
			look();
		}
	}
	assert_true(last.number > LOOKS / 4);
}

static void what_is_due_in_a_century_is_not_lost(void **state)
{
	const uint64_t century = UINT64_C(36525) * 86400 * SH_SECOND;

	(void)state;
	start(0);
	probes[0].want = century;
	sh_wheel_add(&wheel, &probes[0].timer, century);
	sh_wheel_add(&wheel, &probes[1].timer, SH_NEVER - SH_SECOND);
	while (probes[0].fired == 0) {
		uint64_t next = sh_wheel_next(&wheel);

		assert_true(next > present && next <= century);
		advance(next);
	}
	assert_int_equal(present, century);
}

/* ---- portions ---- */

enum { MANY = 20000, PORTION = 256 };

static struct probe *arm_many(uint64_t from, uint64_t step)
{
	struct probe *many = calloc(MANY, sizeof *many);

	assert_non_null(many);
	start(0);
	for (unsigned i = 0; i < MANY; i++) {
		sh_timer_init(&many[i].timer, on_fire);
		many[i].want = from + i * step;
		sh_wheel_add(&wheel, &many[i].timer, many[i].want);
	}
	return many;
}

static unsigned moving(void)
{
	unsigned n = 0;

	for (unsigned level = 0; level < SH_WHEEL_LEVELS; level++)
		SH_LIST_EACH(l, &wheel.coming[level]) n++;
	return n;
}

/* Runs as a loop does that has nothing else to do. No advance moves or fires more than a portion; returns how many it were, after those
 * in which nothing was to do. */
static unsigned run_in_portions(const struct probe *many)
{
	unsigned before = 0, advances = 0;

	while (wheel.count > 0) {
		uint64_t next = sh_wheel_next(&wheel), fired = wheel.fired, late;
		unsigned left;

		present = next > present ? next : present;
		sh_wheel_advance(&wheel, present);
		left = moving();
		assert_in_range(wheel.fired - fired, 0, PORTION);
		if (before > 0)
			assert_in_range(before - left, 1, PORTION);
		else if (left == 0 && wheel.fired == fired)
			continue;
		before = left;
		advances++;
		late = present - present % SH_MS;
		for (unsigned i = 0; i < MANY; i += 999) /* exact all the same */
			assert_true(many[i].fired || many[i].want + SH_MS > late || !sh_list_empty(&wheel.due));
	}
	return advances;
}

static void all_fired_once(struct probe *many)
{
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(many[i].fired, 1);
	assert_int_equal(wheel.count, 0);
	assert_true(sh_wheel_next(&wheel) == SH_NEVER);
	free(many);
}

/* 20,000 timers of 32 s within a quarter of a second, and of five minutes within two seconds. */
static void no_advance_moves_more_than_a_portion(void **state)
{
	struct probe *many = arm_many(32 * SH_SECOND, 12);

	(void)state;
	assert_in_range(run_in_portions(many), MANY / PORTION, 1000);
	all_fired_once(many);
	many = arm_many(300 * SH_SECOND, 100);
	assert_in_range(run_in_portions(many), 2000, 6000);
	all_fired_once(many);
}

static void no_advance_fires_more_than_a_portion(void **state)
{
	struct probe *many = arm_many(10 * SH_MS, 0);

	(void)state;
	assert_int_equal(run_in_portions(many), (MANY + PORTION - 1) / PORTION);
	all_fired_once(many);
}

/* A quarter of a second before their time they begin to move, without a wake-up for each millisecond when one portion is all. */
static void a_few_timers_make_two_stops(void **state)
{
	unsigned stops = 0;

	(void)state;
	start(0);
	for (unsigned i = 0; i < 100; i++) {
		probes[i].want = 32 * SH_SECOND;
		sh_wheel_add(&wheel, &probes[i].timer, probes[i].want);
	}
	for (; wheel.count > 0; stops++)
		advance(sh_wheel_next(&wheel));
	assert_int_equal(stops, 2);
	assert_int_equal(present, 32 * SH_SECOND);
}

/* The clock may jump over the portions: then they come late, in their order, and all of them come. */
static void long_timers_survive_a_jump_of_the_clock(void **state)
{
	struct probe *many = arm_many(300 * SH_SECOND, 1);

	(void)state;
	assert_true(sh_wheel_next(&wheel) <= 300 * SH_SECOND);
	assert_in_range(advance(3600 * SH_SECOND), MANY / PORTION, MANY / PORTION + 2);
	all_fired_once(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_fire_as_the_model_says),
		cmocka_unit_test(a_moved_timer_fires_once_at_its_new_time),
		cmocka_unit_test(a_callback_may_free_its_own_and_cancel_and_add_others),
		cmocka_unit_test(the_order_is_that_of_a_sorted_list),
		cmocka_unit_test(what_is_due_in_a_century_is_not_lost),
		cmocka_unit_test(no_advance_moves_more_than_a_portion),
		cmocka_unit_test(no_advance_fires_more_than_a_portion),
		cmocka_unit_test(a_few_timers_make_two_stops),
		cmocka_unit_test(long_timers_survive_a_jump_of_the_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
