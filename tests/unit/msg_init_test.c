/* The set-up of the libraries beneath, asked for by several threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "msg/digest.h"
#include "msg/osip.h"

enum { THREADS = 8 };

static pthread_barrier_t together;

static void *set_up(void *out)
{
	void **library = out;

	pthread_barrier_wait(&together);
	if (sh_digest_init() == 0)
		*library = sh_digest_library();
	return NULL;
}

/* Whichever comes second waits for the first and gets the same library: nothing is made twice, or seen half made. */
static void threads_that_set_up_at_once_share_one_library(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		pthread_t id[THREADS];
		void *library[THREADS] = {NULL};

		assert_int_equal(pthread_barrier_init(&together, NULL, THREADS), 0);
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&id[i], NULL, set_up, &library[i]), 0);
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_join(id[i], NULL), 0);
		for (int i = 0; i < THREADS; i++) {
			assert_non_null(library[i]);
			assert_ptr_equal(library[i], library[0]);
		}
		pthread_barrier_destroy(&together);
		sh_digest_finish();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(threads_that_set_up_at_once_share_one_library)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
