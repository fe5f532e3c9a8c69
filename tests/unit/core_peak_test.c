/* The largest value of the last minute. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/peak.h"
#include "core/random.h"
#include "core/wheel.h"

static void it_is_forgotten_after_a_minute(void **state)
{
	const uint64_t at = 1000 * SH_SECOND;
	struct sh_peak p = {0};

	(void)state;
	assert_int_equal(sh_peak_get(&p, at), 0);
	sh_peak_add(&p, at + 5, 2);
	assert_int_equal(sh_peak_get(&p, at - 1), 2); /* whose clock is a little behind */
	sh_peak_add(&p, at, 7);
	sh_peak_add(&p, at + 1, 3);
	sh_peak_add(&p, at + 30 * SH_SECOND, 4);
	assert_int_equal(sh_peak_get(&p, at + 30 * SH_SECOND), 7);
	assert_int_equal(sh_peak_get(&p, at + 55 * SH_SECOND), 7); /* though nothing was added since */
	assert_int_equal(sh_peak_get(&p, at + 60 * SH_SECOND), 4);
	assert_int_equal(sh_peak_get(&p, at + 90 * SH_SECOND), 0);
	sh_peak_add(&p, at + 3600 * SH_SECOND, 1);
	assert_int_equal(sh_peak_get(&p, at + 3600 * SH_SECOND), 1);
}

enum { VALUES = 5000 };

static void it_is_that_of_a_list(void **state)
{
	static struct {
		uint64_t at, value;
	} list[VALUES];
	struct sh_random r;
	struct sh_peak p = {0};
	uint64_t now = 5;

	(void)state;
	sh_random_init_seed(&r, 1);
	for (int i = 0; i < VALUES; i++) {
		uint64_t surely = 0, perhaps = 0, got;

		now += sh_random_below(&r, sh_random_below(&r, 50) ? 4 * SH_SECOND : 200 * SH_SECOND);
		list[i].at = now;
		list[i].value = 1 + sh_random_below(&r, 1000000);
		sh_peak_add(&p, now, list[i].value);
		now += sh_random_below(&r, 4 * SH_SECOND);
		for (int j = i; j >= 0 && now - list[j].at < 60 * SH_SECOND; j--) {
			if (now - list[j].at <= 55 * SH_SECOND && list[j].value > surely)
				surely = list[j].value;
			if (list[j].value > perhaps)
				perhaps = list[j].value;
		}
		got = sh_peak_get(&p, now);
		assert_in_range(got, surely, perhaps);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_forgotten_after_a_minute),
		cmocka_unit_test(it_is_that_of_a_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
