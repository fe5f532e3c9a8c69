/* The test tool tests itself: the files of tests/trial/ run in it, and what it says of each case is what the case's name promises:
 * a case passes, or its name goes on with " | " and a text that its failure must contain. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg/digest.h"
#include "msg/osip.h"
#include "trial/trial.h"

struct tally {
	unsigned cases, wrong;
	char *last; /* details of the last failure */
	bool expect_all;
};

static void on_case(void *ctx, const struct sh_trial_case *c)
{
	struct tally *t = ctx;
	const char *promise = strstr(c->name, " | ");

	t->cases++;
	if (c->details) {
		free(t->last);
		t->last = strdup(c->details);
	}
	if (!promise && !c->failure)
		return;
	if (promise && c->failure && strstr(c->failure, promise + 3))
		return;
	t->wrong++;
	print_error("%s: %s\n%s\n", c->name, c->failure ? c->failure : "passed", c->details ? c->details : "");
}

static struct tally run_with(struct sh_trial_options o)
{
	struct tally t = {0};
	char error[2048];

	o.result = on_case;
	o.ctx = &t;
	if (sh_trial_run(&o, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	assert_int_equal(t.wrong, 0);
	return t;
}

static void run_file(const char *file)
{
	struct tally t = run_with((struct sh_trial_options){.file = file});

	assert_true(t.cases > 0);
	free(t.last);
}

static void the_contract_example_runs(void **state)
{
	(void)state;
	run_file("tests/trial/contract_test.lua");
}

static void phones_do_what_a_test_says(void **state)
{
	(void)state;
	run_file("tests/trial/phones_test.lua");
}

static void failures_say_what_came_instead(void **state)
{
	(void)state;
	run_file("tests/trial/failures_test.lua");
}

static void the_world_around_a_plan(void **state)
{
	(void)state;
	run_file("tests/trial/world_test.lua");
}

/* Every seed: what is lost is sent again, by the phones too. */
static void cases_pass_on_a_network_that_loses(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct tally t = run_with((struct sh_trial_options){
		    .file = "tests/trial/contract_test.lua", .seed = seed, .loss = 0.2, .filter = "lossy"});

		assert_true(t.cases > 0);
		free(t.last);
	}
}

static char *ladder_of(const char *filter, uint64_t seed)
{
	struct tally t = run_with(
	    (struct sh_trial_options){.file = "tests/trial/failures_test.lua", .filter = filter, .seed = seed});

	assert_int_equal(t.cases, 1);
	assert_non_null(t.last);
	return t.last;
}

static void a_ladder_shows_all_legs_and_the_lines_of_the_script(void **state)
{
	char *text = ladder_of("wrong answer", 1);

	(void)state;
	assert_non_null(strstr(text, "alice                 siphook               bob"));
	assert_non_null(strstr(text, "|-------INVITE------->|"));
	assert_non_null(strstr(text, "| dialplan.lua:17: call:fork("));
	assert_non_null(strstr(text, "{timeout = 20}"));
	assert_non_null(strstr(text, "486 Busy Here"));
	free(text);
}

static void a_seed_replays_exactly(void **state)
{
	char *first = ladder_of("wrong answer", 7), *second = ladder_of("wrong answer", 7);

	(void)state;
	assert_string_equal(first, second);
	free(first);
	free(second);
}

static void files_that_do_not_load_are_told_with_their_line(void **state)
{
	struct sh_trial_options o = {.file = "tests/trial/data/syntax.lua"};
	char error[2048];

	(void)state;
	assert_true(sh_trial_run(&o, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "tests/trial/data/syntax.lua:2:"));
	o.file = "tests/trial/data/nowhere.lua";
	assert_true(sh_trial_run(&o, error, sizeof(error)) < 0);
	assert_non_null(strstr(error, "cannot read tests/trial/data/nowhere.lua"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_contract_example_runs),
	    cmocka_unit_test(phones_do_what_a_test_says),
	    cmocka_unit_test(failures_say_what_came_instead),
	    cmocka_unit_test(the_world_around_a_plan),
	    cmocka_unit_test(cases_pass_on_a_network_that_loses),
	    cmocka_unit_test(a_ladder_shows_all_legs_and_the_lines_of_the_script),
	    cmocka_unit_test(a_seed_replays_exactly),
	    cmocka_unit_test(files_that_do_not_load_are_told_with_their_line),
	};

	if (sh_osip_init() < 0 || sh_digest_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
