/* The hash table finds every node while it grows, and the keyed hash depends on the key and on where slices end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/hash.h"

enum { NODES = 100000 };

struct item {
	struct sh_hash_node node;
	unsigned number;
};

static const struct sh_hash_key key = {{1, 2}};

static uint64_t hash_of(unsigned n)
{
	return sh_hash_slice(&key, sh_slice_make((const char *)&n, sizeof n));
}

static struct item *find(struct sh_hash *t, unsigned n)
{
	for (struct sh_hash_node *p = sh_hash_find(t, hash_of(n)); p; p = sh_hash_next(p))
		if (((struct item *)p)->number == n)
			return (struct item *)p;
	return NULL;
}

static void remove_odd(struct sh_hash_node *n, void *ctx)
{
	if (((struct item *)n)->number & 1)
		sh_hash_remove(ctx, n);
}

static void every_node_is_found_during_growth_and_after_removal(void **state)
{
	(void)state;
	struct sh_hash t;
	struct item *items = calloc(NODES, sizeof *items);
	assert_int_equal(sh_hash_init(&t, 16), 0);
	for (unsigned i = 0; i < NODES; i++) {
		items[i].number = i;
		sh_hash_insert(&t, &items[i].node, hash_of(i));
		assert_ptr_equal(find(&t, i / 2), &items[i / 2]);
		assert_ptr_equal(find(&t, i), &items[i]);
	}
	assert_int_equal(t.count, NODES);
	sh_hash_each(&t, remove_odd, &t);
	assert_int_equal(t.count, NODES / 2);
	for (unsigned i = 0; i < NODES; i++)
		assert_ptr_equal(find(&t, i), i & 1 ? NULL : &items[i]);
	sh_hash_finish(&t);
	free(items);
}

/* Above some size the arrays are mapped, and the old one goes back in pieces while the new one fills. */
static void a_table_may_end_at_any_moment_of_its_growth(void **state)
{
	(void)state;
	static const unsigned ends[] = {32768, 32769, 40000, 65536, 65537, 70000, 99999};
	struct item *items = calloc(NODES, sizeof *items);
	for (size_t k = 0; k < sizeof ends / sizeof ends[0]; k++) {
		struct sh_hash t;
		assert_int_equal(sh_hash_init(&t, 0), 0);
		for (unsigned i = 0; i < ends[k]; i++) {
			items[i].number = i;
			sh_hash_insert(&t, &items[i].node, hash_of(i));
		}
		for (unsigned i = 0; i < ends[k]; i++)
			assert_ptr_equal(find(&t, i), &items[i]);
		sh_hash_finish(&t);
	}
	free(items);
}

/* However large the table is, an insertion moves two buckets at most; a lookup of what is not there is not misled by what was. */
static void an_insertion_does_bounded_work(void **state)
{
	enum { MANY = 300000 };
	struct item *items = calloc(MANY, sizeof *items);
	unsigned growths = 0;
	struct sh_hash t;

	(void)state;
	assert_int_equal(sh_hash_init(&t, 16), 0);
	for (unsigned i = 0; i < MANY; i++) {
		size_t mask = t.mask, moved = t.moved;
		bool growing = t.old != NULL;

		items[i].number = i;
		sh_hash_insert(&t, &items[i].node, hash_of(i));
		if (t.mask != mask) {
			assert_false(growing); /* the last growth was over */
			growths++;
			moved = 0;
		}
		if (t.old)
			assert_in_range(t.moved - moved, 0, 2);
		assert_null(find(&t, MANY + i));
	}
	assert_in_range(growths, 14, 16);
	for (unsigned i = 0; i < MANY; i += 2)
		sh_hash_remove(&t, &items[i].node);
	for (unsigned i = 0; i < MANY; i++)
		assert_ptr_equal(find(&t, i), i % 2 ? &items[i] : NULL);
	sh_hash_finish(&t);
	free(items);
}

static void the_hash_depends_on_key_and_on_slice_borders(void **state)
{
	(void)state;
	struct sh_slice a[] = {SH_LIT("ab"), SH_LIT("c")}, b[] = {SH_LIT("a"), SH_LIT("bc")};
	struct sh_hash_key other = {{1, 3}};
	assert_int_equal(sh_hash_slices(&key, a, 2), sh_hash_slices(&key, a, 2));
	assert_true(sh_hash_slices(&key, a, 2) != sh_hash_slices(&key, b, 2));
	assert_true(sh_hash_slices(&key, a, 2) != sh_hash_slices(&other, a, 2));
	assert_true(sh_id128_eq(sh_hash128_slices(&key, a, 2), sh_hash128_slices(&key, a, 2)));
	assert_false(sh_id128_eq(sh_hash128_slices(&key, a, 2), sh_hash128_slices(&key, b, 2)));
}

/* The first vectors of the authors' reference code: key 00 01 ... 0f, messages of no and of one octet (00). */
static void the_code_is_siphash_2_4_128(void **state)
{
	(void)state;
	const struct sh_hash_key k = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
	struct sh_slice none = SH_LIT(""), one = sh_slice_make("", 1);
	struct sh_id128 id = sh_mac128_slices(&k, &none, 1);
	assert_true(id.w[0] == UINT64_C(0xe6a825ba047f81a3) && id.w[1] == UINT64_C(0x930255c71472f66d));
	id = sh_mac128_slices(&k, &one, 1);
	assert_true(id.w[0] == UINT64_C(0x44af996bd8c187da) && id.w[1] == UINT64_C(0x45fc229b11597634));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_node_is_found_during_growth_and_after_removal),
		cmocka_unit_test(a_table_may_end_at_any_moment_of_its_growth),
		cmocka_unit_test(an_insertion_does_bounded_work),
		cmocka_unit_test(the_hash_depends_on_key_and_on_slice_borders),
		cmocka_unit_test(the_code_is_siphash_2_4_128),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
