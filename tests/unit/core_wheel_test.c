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

static void advance(uint64_t to)
{
	present = to;
	sh_wheel_advance(&wheel, to);
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

enum { MANY = 20000 };

/* As many timers within one minute, minutes away: no advance looks at all of them at once, and none of them is early or late
 * by more than a few advances. */
static void many_long_timers_move_in_portions(void **state)
{
	struct probe *many = calloc(MANY, sizeof *many);
	uint64_t next;
	unsigned advances = 0, fired = 0;

	(void)state;
	start(0);
	for (unsigned i = 0; i < MANY; i++) {
		sh_timer_init(&many[i].timer, on_fire);
		many[i].want = 300 * SH_SECOND + i * 100;
		sh_wheel_add(&wheel, &many[i].timer, many[i].want);
	}
	while ((next = sh_wheel_next(&wheel)) < 300 * SH_SECOND || advances == 0) {
		unsigned moved = 0;

		advance(next > present ? next : present);
		for (struct sh_link *l = wheel.moving.next; l != &wheel.moving; l = l->next)
			moved++;
		if (moved > 0) {
			advances++;
			assert_in_range(moved, 1, MANY - advances * 4000);
		}
	}
	assert_in_range(advances, 2, 10);
	for (unsigned i = 0; i < MANY; i += 1000) { /* all of them are where they belong now */
		advance(many[i].want + SH_MS);
		assert_int_equal(many[i].fired, 1);
		assert_int_equal(many[i + 999].fired, 0);
	}
	advance(400 * SH_SECOND);
	for (unsigned i = 0; i < MANY; i++)
		fired += many[i].fired;
	assert_int_equal(fired, MANY);
	assert_int_equal(wheel.count, 0);
	free(many);
}

/* The clock may jump over the portions: then they come late, and all of them come. */
static void long_timers_survive_a_jump_of_the_clock(void **state)
{
	struct probe *many = calloc(MANY, sizeof *many);
	unsigned advances = 0;

	(void)state;
	start(0);
	for (unsigned i = 0; i < MANY; i++) {
		sh_timer_init(&many[i].timer, on_fire);
		many[i].want = 300 * SH_SECOND + i;
		sh_wheel_add(&wheel, &many[i].timer, many[i].want);
	}
	for (; wheel.count > 0; advances++) {
		assert_true(advances < 10);
		assert_true(sh_wheel_next(&wheel) <= 300 * SH_SECOND || advances > 0);
		advance(3600 * SH_SECOND);
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(many[i].fired, 1);
	assert_true(sh_wheel_next(&wheel) == SH_NEVER);
	free(many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations_fire_as_the_model_says),
		cmocka_unit_test(a_moved_timer_fires_once_at_its_new_time),
		cmocka_unit_test(a_callback_may_free_its_own_and_cancel_and_add_others),
		cmocka_unit_test(many_long_timers_move_in_portions),
		cmocka_unit_test(long_timers_survive_a_jump_of_the_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
