/* Tags: form, worker, derivation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "txn/txn_impl.h"

static void make_env(struct sh_env *env, unsigned worker)
{
	memset(env, 0, sizeof(*env));
	sh_random_init_seed(&env->random, 1 + worker);
	env->key.k[0] = 11;
	env->key.k[1] = 12;
	env->worker = worker;
}

static void a_tag_carries_its_worker(void **state)
{
	static struct sh_env env;

	(void)state;
	for (unsigned worker = 0; worker < 256; worker++) {
		char tag[SH_TAG_LEN], branch[SH_TXN_BRANCH_LEN];

		make_env(&env, worker);
		sh_tag_make(&env, tag);
		sh_txn_branch_make(&env, branch);
		assert_int_equal(sh_tag_worker(sh_slice_make(tag, sizeof(tag))), worker);
		assert_int_equal(sh_tag_worker(sh_slice_make(branch, sizeof(branch))), worker);
		assert_memory_equal(branch, "z9hG4bK", 7);
	}
}

static void a_foreign_tag_has_no_worker(void **state)
{
	static struct sh_env env;
	char tag[SH_TAG_LEN];
	unsigned ours = 0;

	(void)state;
	make_env(&env, 3);
	sh_tag_make(&env, tag);
	assert_int_equal(sh_tag_worker(sh_slice_make(tag, SH_TAG_LEN - 1)), -1);
	assert_int_equal(sh_tag_worker(SH_LIT("")), -1);
	tag[5] = '.';
	assert_int_equal(sh_tag_worker(sh_slice_make(tag, SH_TAG_LEN)), -1);
	for (unsigned i = 0; i < 10000; i++) { /* one of sixteen passes by chance */
		sh_random_token(&env.random, tag, SH_TAG_LEN);
		ours += sh_tag_worker(sh_slice_make(tag, SH_TAG_LEN)) >= 0;
	}
	assert_in_range(ours, 400, 900);
}

static void a_tag_carries_the_epoch_of_its_process(void **state)
{
	static struct sh_env env;
	char tag[SH_TAG_LEN], branch[SH_TXN_BRANCH_LEN];

	(void)state;
	make_env(&env, 5);
	for (unsigned epoch = 1; epoch < 4096; epoch += 7) {
		env.epoch = epoch;
		sh_tag_make(&env, tag);
		sh_txn_branch_make(&env, branch);
		assert_int_equal(sh_tag_epoch(sh_slice_make(tag, sizeof(tag))), epoch);
		assert_int_equal(sh_tag_epoch(sh_slice_make(branch, sizeof(branch))), epoch);
		assert_int_equal(sh_tag_worker(sh_slice_make(tag, sizeof(tag))), 5);
	}
	assert_int_equal(sh_tag_epoch(SH_LIT("")), -1);
	assert_int_equal(sh_tag_epoch(SH_LIT("1928301774")), -1);
}

static void scan(struct sh_msg *m, const char *method, const char *cseq, const char *extra, char text[1000])
{
	struct sh_writer w;

	sh_writer_init(&w, text, 1000);
	sh_put(&w, sh_slice_cstr(method));
	sh_put_lit(&w, " sip:b@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
		       "From: <sip:a@example.org>;tag=a\r\nTo: <sip:b@example.org>\r\nCall-ID: c\r\nCSeq: ");
	sh_put(&w, sh_slice_cstr(cseq));
	sh_put_char(&w, ' ');
	sh_put(&w, sh_slice_cstr(method));
	sh_put_lit(&w, "\r\n");
	sh_put(&w, sh_slice_cstr(extra));
	sh_put_lit(&w, "\r\n");
	assert_int_equal(sh_msg_scan(m, text, w.len, false, NULL), 0);
}

static void a_derived_tag_is_that_of_the_request(void **state)
{
	static struct sh_env env, other;
	char text[4][1000], invite[SH_TAG_LEN], cancel[SH_TAG_LEN], again[SH_TAG_LEN], next[SH_TAG_LEN];
	struct sh_msg m;

	(void)state;
	make_env(&env, 9);
	make_env(&other, 9);
	scan(&m, "INVITE", "1", "", text[0]);
	sh_tag_derive(&env, &m, invite);
	sh_tag_derive(&other, &m, again); /* no random numbers */
	scan(&m, "CANCEL", "1", "Reason: x\r\n", text[1]);
	sh_tag_derive(&env, &m, cancel);
	scan(&m, "INVITE", "2", "", text[2]);
	sh_tag_derive(&env, &m, next);
	assert_memory_equal(invite, again, SH_TAG_LEN);
	assert_memory_equal(invite, cancel, SH_TAG_LEN);
	assert_memory_not_equal(invite, next, SH_TAG_LEN);
	assert_int_equal(sh_tag_worker(sh_slice_make(invite, SH_TAG_LEN)), 9);
	other.key.k[0]++;
	scan(&m, "INVITE", "1", "", text[3]);
	sh_tag_derive(&other, &m, again); /* and nobody else can tell it in advance */
	assert_memory_not_equal(invite, again, SH_TAG_LEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_tag_carries_its_worker),
	    cmocka_unit_test(a_foreign_tag_has_no_worker),
	    cmocka_unit_test(a_tag_carries_the_epoch_of_its_process),
	    cmocka_unit_test(a_derived_tag_is_that_of_the_request),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
