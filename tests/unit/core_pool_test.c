/* The pool itself, as release builds have it: blocks never overlap, come again, and go back to the system. */
#undef SH_ALLOC_FAULTS
#include "core/pool.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { BLOCKS = 20000 };

static struct {
	unsigned char *at;
	size_t n;
} blocks[BLOCKS];

static unsigned seed = 1;

static unsigned any(unsigned below)
{
	seed = seed * 1103515245u + 12345u;
	return seed / 65536u % below;
}

static void fill(size_t i)
{
	memset(blocks[i].at, (int)(i % 251), blocks[i].n);
}

static void check(size_t i, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (blocks[i].at[k] != i % 251)
			fail_msg("octet %zu of block %zu was written by another", k, i);
}

static void blocks_of_all_sizes_keep_what_is_theirs(void **state)
{
	struct sh_pool p;

	(void)state;
	sh_pool_init(&p, NULL);
	memset(blocks, 0, sizeof(blocks));
	for (size_t round = 0; round < 10 * (size_t)BLOCKS; round++) {
		size_t i = any(BLOCKS), n = any(1200);

		if (!blocks[i].at) {
			blocks[i].at = sh_pool_alloc(&p, n);
			blocks[i].n = n;
			assert_non_null(blocks[i].at);
			assert_int_equal((uintptr_t)blocks[i].at % 16, 0);
		} else if (any(2)) {
			check(i, blocks[i].n);
			sh_pool_free(&p, blocks[i].at, blocks[i].n);
			blocks[i].at = NULL;
			continue;
		} else {
			size_t kept = n < blocks[i].n ? n : blocks[i].n;

			blocks[i].at = sh_pool_realloc(&p, blocks[i].at, blocks[i].n, n);
			assert_non_null(blocks[i].at);
			check(i, kept);
			blocks[i].n = n;
		}
		fill(i);
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		if (blocks[i].at)
			check(i, blocks[i].n);
		sh_pool_free(&p, blocks[i].at, blocks[i].n);
	}
	assert_int_equal(p.chunks, SH_POOL_SPARES); /* there were more */
	sh_pool_finish(&p);
	assert_int_equal(p.chunks, 0);
}

static void a_block_given_back_is_the_next_one_given_out(void **state)
{
	struct sh_pool p;
	void *a, *b;

	(void)state;
	sh_pool_init(&p, NULL);
	a = sh_pool_alloc(&p, 264);
	b = sh_pool_alloc(&p, 264);
	assert_int_equal((char *)b - (char *)a, 272); /* nothing in between */
	sh_pool_free(&p, a, 264);
	assert_ptr_equal(sh_pool_alloc(&p, 272), a);
	assert_ptr_not_equal(sh_pool_alloc(&p, 273), b);
	sh_pool_finish(&p);
}

static void what_is_still_in_use_goes_with_the_pool(void **state)
{
	struct sh_pool p;

	(void)state;
	sh_pool_init(&p, NULL);
	for (int i = 0; i < BLOCKS; i++)
		assert_non_null(sh_pool_calloc(&p, 264));
	assert_true(p.chunks > BLOCKS * 272 / CHUNK);
	sh_pool_finish(&p);
	assert_int_equal(p.chunks, 0);
	assert_null(p.spare);
}

static void chunks_of_a_stock_are_used_again(void **state)
{
	struct sh_pool_stock stock = {0};
	struct sh_pool p;
	void *first = NULL;

	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		sh_pool_init(&p, &stock);
		for (size_t n = 16; n <= 1024; n *= 4) {
			void *block = sh_pool_alloc(&p, n);

			assert_non_null(block);
			memset(block, 0xa5, n);
			first = first ? first : block;
		}
		assert_int_equal(p.chunks, 4);
		assert_int_equal(stock.count, 0);
		sh_pool_finish(&p); /* with everything that is in it */
		assert_int_equal(stock.count, 4);
	}
	sh_pool_stock_finish(&stock);
	assert_int_equal(stock.count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chunks_of_a_stock_are_used_again),
	    cmocka_unit_test(blocks_of_all_sizes_keep_what_is_theirs),
	    cmocka_unit_test(a_block_given_back_is_the_next_one_given_out),
	    cmocka_unit_test(what_is_still_in_use_goes_with_the_pool),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
