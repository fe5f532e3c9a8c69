/* What must hold: counted and logged where it does not, under a limit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/invariant.h"

static unsigned lines;
static char last[1100];

static void note(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	(void)ctx;
	assert_int_equal(level, SH_LOG_ERROR);
	memcpy(last, line, len + 1);
	lines++;
}

static void what_does_not_hold_is_a_line_and_a_count(void **state)
{
	struct sh_log log;
	struct sh_env env = {.log = &log, .now = SH_SECOND};

	(void)state;
	sh_log_init(&log, SH_LOG_INFO, note, NULL);
	assert_true(SH_HOLDS(&env, lines == 0));
	assert_int_equal(env.broken, 0);
	sh_invariant_fatal = false;
	assert_false(SH_HOLDS(&env, lines > 5));
	assert_int_equal(env.broken, 1);
	assert_non_null(strstr(last, "core_invariant_test.c:"));
	assert_non_null(strstr(last, "\"lines > 5\" does not hold"));
	for (unsigned i = 0; i < 100; i++)
		assert_false(SH_HOLDS(&env, i > 100));
	assert_int_equal(env.broken, 101);
	assert_int_equal(lines, SH_LOG_LIMIT_PER_SECOND);
	sh_invariant_fatal = true;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_does_not_hold_is_a_line_and_a_count)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
