/* The location store and the nonces under four threads at once. Made for the thread sanitizer, but what must hold at
 * the end is checked in every build. */
#include "registrar_helpers.h"

#include <pthread.h>

#include "core/random.h"
#include "registrar/nonce.h"

enum { THREADS = 4, ROUNDS = 20000, USERS = 97, FLOWS = 50 };

struct worker {
	pthread_t thread;
	unsigned number;
	struct sh_location *l;
	struct sh_nonce_table *nonces;
	unsigned accepted;
};

static _Atomic long live; /* added minus gone, by the events */

static void count_event(void *ctx, void *by, struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event ev)
{
	(void)by;
	(void)ctx;
	if (aor.len == 0 || c->uri.len == 0)
		abort();
	if (ev == SH_BINDING_ADDED)
		live++;
	else if (ev != SH_BINDING_REFRESHED)
		live--;
}

static void add_count(void *ctx, const struct sh_bindings *b)
{
	*(uint64_t *)ctx += b->count;
}

static void bind_one(struct worker *w, struct sh_random *r, struct sh_slice aor, uint64_t now, uint32_t cseq)
{
	char uri[32], call_id[32];
	int n = snprintf(uri, sizeof(uri), "sip:x@192.0.2.%u", (unsigned)sh_random_below(r, 4));
	int m = snprintf(call_id, sizeof(call_id), "%u-%u", w->number, cseq);
	struct sh_contact_update c = {.uri = sh_slice_make(uri, (size_t)n), .q = 1000};
	struct sh_location_update u = {
	    .aor = aor,
	    .call_id = sh_slice_make(call_id, (size_t)m),
	    .cseq = cseq,
	    .now = now,
	    .contacts = &c,
	    .count = 1,
	    .max_contacts = 3,
	    .replace_oldest = true,
	    .from = {.flow = sh_random_below(r, FLOWS)},
	};
	struct sh_bindings *b = NULL;

	c.expires = (uint32_t)sh_random_below(r, 20);
	if (sh_location_update(w->l, &u, &b))
		abort();
	if (b && (b->count > 3 || !sh_slice_eq(b->aor, aor)))
		abort();
	sh_bindings_unref(b);
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct sh_random r;
	char text[64];

	sh_random_init_seed(&r, 1000 + w->number);
	for (uint32_t i = 1; i <= ROUNDS; i++) {
		int n = snprintf(text, sizeof(text), "sip:u%u@example.org", (unsigned)sh_random_below(&r, USERS));
		struct sh_slice aor = sh_slice_make(text, (size_t)n);
		uint64_t now = NOW + i * SH_MS;
		struct sh_bindings *b;

		switch (sh_random_below(&r, 16)) {
		case 0:
			sh_location_flow_closed(w->l, sh_random_below(&r, FLOWS), now, NULL);
			break;
		case 1:
			sh_location_expire(w->l, now, NULL);
			break;
		case 2:
			if (sh_location_unbind(w->l, aor, SH_LIT("sip:x@192.0.2.1"), now, NULL) < 0)
				abort();
			break;
		case 3:
		case 4:
		case 5:
		case 6:
			b = sh_location_lookup(w->l, aor);
			for (unsigned k = 0; b && k < b->count; k++)
				if (!sh_slice_starts(b->contacts[k].uri, SH_LIT("sip:x@192.0.2.")))
					abort();
			sh_bindings_unref(b);
			break;
		default:
			bind_one(w, &r, aor, now, i);
			break;
		}
		if (i % (ROUNDS / 4) == 0) {
			uint64_t sum = 0;

			sh_location_each(w->l, add_count, &sum);
		}
	}
	return NULL;
}

static void run(struct worker workers[THREADS], void *(*fn)(void *))
{
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&workers[i].thread, NULL, fn, &workers[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
}

static void four_threads_agree_in_the_end(void **state)
{
	struct worker workers[THREADS] = {0};
	struct sh_location *l = NULL;
	uint64_t sum = 0;

	(void)state;
	assert_int_equal(sh_location_create(&l, &test_key, count_event, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		workers[i] = (struct worker){.number = i, .l = l};
	run(workers, work);
	sh_location_each(l, add_count, &sum);
	assert_int_equal(sum, sh_location_count(l));
	assert_int_equal(sum, live);
	assert_true(sum > 0);
	for (unsigned f = 1; f < FLOWS; f++)
		sh_location_flow_closed(l, f, NOW, NULL);
	while (sh_location_expire(l, NOW + 3600 * SH_SECOND, NULL))
		;
	assert_int_equal(sh_location_count(l), 0);
	assert_int_equal(live, 0);
	sh_location_destroy(l);
}

/* All threads try the same counts of the same nonces. */
static void *use_nonces(void *arg)
{
	struct worker *w = arg;

	for (uint32_t nc = 1; nc <= 60; nc++)
		for (uint64_t n = 0; n < 200; n++)
			w->accepted += sh_nonce_use(w->nonces, &(struct sh_nonce){NOW, n << 56 | n}, nc, NOW);
	return NULL;
}

static void every_nonce_count_is_accepted_once(void **state)
{
	struct worker workers[THREADS] = {0};
	struct sh_nonce_table t;
	unsigned sum = 0;

	(void)state;
	assert_int_equal(sh_nonce_table_init(&t, 4096, 300 * SH_SECOND), 0);
	for (unsigned i = 0; i < THREADS; i++)
		workers[i].nonces = &t;
	run(workers, use_nonces);
	for (unsigned i = 0; i < THREADS; i++)
		sum += workers[i].accepted;
	assert_int_equal(sum, 60 * 200);
	sh_nonce_table_finish(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(four_threads_agree_in_the_end),
	    cmocka_unit_test(every_nonce_count_is_accepted_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
