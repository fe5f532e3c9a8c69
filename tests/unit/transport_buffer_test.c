#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <errno.h>
#include <cmocka.h>

#include "core/alloc.h"
#include "core/random.h"
#include "transport/buffer.h"

/* Appends len octets of an endless sequence, takes `take` off and checks them. */
struct model {
	struct sh_buffer b;
	unsigned char in, out;
	size_t moved; /* octets that were moved or copied to new memory */
	size_t appended, longest;
};

static void append(struct model *m, size_t len)
{
	const char *base = m->b.base;
	size_t head = m->b.head, before = m->b.len;
	char data[3000];

	for (size_t i = 0; i < len; i++)
		data[i] = (char)m->in++;
	assert_int_equal(sh_buffer_append(&m->b, data, len), 0);
	if (m->b.base != base || m->b.head != head)
		m->moved += before;
	m->appended += len;
	assert_int_equal(m->b.len, before + len);
	if (m->b.len > m->longest)
		m->longest = m->b.len;
}

static void take(struct model *m, size_t len)
{
	struct sh_slice text = sh_buffer_text(&m->b);

	for (size_t i = 0; i < len; i++)
		assert_int_equal((unsigned char)text.base[i], m->out++);
	sh_buffer_take(&m->b, len);
}

static void octets_come_out_as_they_went_in(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct model m = {0};
		struct sh_random r;

		sh_random_init_seed(&r, seed);
		for (int i = 0; i < 500; i++) {
			append(&m, sh_random_below(&r, 3000));
			if (sh_random_below(&r, 3) == 0)
				sh_buffer_pack(&m.b);
			take(&m, sh_random_below(&r, 2) ? m.b.len : sh_random_below(&r, m.b.len + 1));
			assert_true(m.b.cap <= 4 * m.longest + 1024);
			assert_true(m.b.len > 0 || !m.b.base); /* an empty one has no memory */
		}
		sh_buffer_finish(&m.b);
	}
}

static void a_long_queue_costs_linear_time(void **state)
{
	struct model m = {0};

	(void)state;
	for (int i = 0; i < 20; i++)
		append(&m, 3000);
	for (int i = 0; i < 100000; i++) {
		append(&m, 7);
		take(&m, 7);
	}
	assert_true(m.moved <= 3 * m.appended);
	assert_true(m.b.cap <= 4 * m.longest);
	sh_buffer_finish(&m.b);
}

static void packed_it_has_all_of_its_memory(void **state)
{
	struct model m = {0};

	(void)state;
	append(&m, 1000);
	take(&m, 300);
	sh_buffer_pack(&m.b);
	append(&m, 324);
	assert_int_equal(m.b.cap, 1024);
	take(&m, 1024);
	assert_null(m.b.base);
}

static void without_memory_nothing_changes(void **state)
{
	struct model m = {0};
	char more[3000] = {0};

	(void)state;
	append(&m, 1000);
	sh_alloc_fail_after(0);
	assert_int_equal(sh_buffer_append(&m.b, more, sizeof(more)), -ENOMEM);
	assert_int_equal(sh_buffer_append(&m.b, more, 0), 0);
	sh_alloc_fail_after(-1);
	take(&m, 1000);
	assert_null(m.b.base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(octets_come_out_as_they_went_in),
	    cmocka_unit_test(a_long_queue_costs_linear_time),
	    cmocka_unit_test(packed_it_has_all_of_its_memory),
	    cmocka_unit_test(without_memory_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
