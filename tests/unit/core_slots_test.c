/* Handles: what is there is found, what is gone is not, however large the array has grown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/slots.h"

enum { MANY = 100000 };

static void handles_survive_the_growth_of_the_array(void **state)
{
	static int objects[MANY];
	static uint64_t handles[MANY];
	struct sh_slots s;

	(void)state;
	sh_slots_init(&s);
	for (unsigned i = 0; i < MANY; i++) {
		handles[i] = sh_slots_add(&s, &objects[i]);
		assert_true(handles[i] != 0);
		assert_ptr_equal(sh_slots_get(&s, handles[i / 2]), &objects[i / 2]);
	}
	for (unsigned i = 0; i < MANY; i++)
		assert_ptr_equal(sh_slots_get(&s, handles[i]), &objects[i]);
	assert_int_equal(s.count, MANY);
	sh_slots_finish(&s);
}

static void a_handle_of_what_is_gone_finds_nothing_in_its_slot(void **state)
{
	struct sh_slots s;
	int first, second;
	uint64_t old, fresh;

	(void)state;
	sh_slots_init(&s);
	old = sh_slots_add(&s, &first);
	sh_slots_remove(&s, old);
	assert_null(sh_slots_get(&s, old));
	fresh = sh_slots_add(&s, &second);
	assert_int_equal((uint32_t)fresh, (uint32_t)old);
	assert_null(sh_slots_get(&s, old));
	sh_slots_remove(&s, old); /* nothing happens */
	assert_ptr_equal(sh_slots_get(&s, fresh), &second);
	assert_null(sh_slots_get(&s, 0));
	sh_slots_finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(handles_survive_the_growth_of_the_array),
	    cmocka_unit_test(a_handle_of_what_is_gone_finds_nothing_in_its_slot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
