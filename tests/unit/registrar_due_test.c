/* The heap against a plain search for the least. */
#include "msg_helpers.h"

#include "core/alloc.h"
#include "core/random.h"
#include "registrar/due.h"

enum { ITEMS = 300, STEPS = 50000 };

static struct sh_due items[ITEMS];
static uint64_t at[ITEMS]; /* UINT64_MAX: not in */

static uint64_t least(void)
{
	uint64_t min = UINT64_MAX;

	for (unsigned i = 0; i < ITEMS; i++)
		if (at[i] < min)
			min = at[i];
	return min;
}

static void the_first_is_always_the_least(void **state)
{
	struct sh_due_heap h = {0};
	struct sh_random r;
	unsigned fired = 0;

	(void)state;
	sh_random_init_seed(&r, 3);
	memset(items, 0, sizeof(items));
	memset(at, 0xff, sizeof(at));
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned i = (unsigned)sh_random_below(&r, ITEMS);
		uint64_t min = least();
		struct sh_due *first;

		switch (sh_random_below(&r, 4)) {
		case 0:
			sh_due_remove(&h, &items[i]);
			at[i] = UINT64_MAX;
			break;
		case 1:
			first = sh_due_first(&h, min);
			if (min == UINT64_MAX) {
				assert_null(first);
				break;
			}
			if (min > 0)
				assert_null(sh_due_first(&h, min - 1));
			assert_non_null(first);
			assert_int_equal(at[first - items], min);
			sh_due_remove(&h, first);
			at[first - items] = UINT64_MAX;
			fired++;
			break;
		default:
			assert_int_equal(sh_due_reserve(&h), 0);
			at[i] = sh_random_below(&r, 1000);
			sh_due_set(&h, &items[i], at[i]);
			break;
		}
	}
	assert_true(fired > 1000);
	sh_due_finish(&h);
}

static void without_memory_there_is_no_room(void **state)
{
	struct sh_due_heap h = {0};

	(void)state;
	sh_alloc_fail_after(0);
	assert_int_equal(sh_due_reserve(&h), -ENOMEM);
	sh_alloc_fail_after(-1);
	assert_null(sh_due_first(&h, UINT64_MAX));
	sh_due_finish(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_first_is_always_the_least),
	    cmocka_unit_test(without_memory_there_is_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
