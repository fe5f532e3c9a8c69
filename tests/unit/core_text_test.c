/* Slices, arena, addresses, random tokens and log lines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <cmocka.h>

#include "core/addr.h"
#include "core/arena.h"
#include "core/log.h"
#include "core/nearest.h"
#include "core/random.h"

static void numbers_are_digits_only_and_bounded(void **state)
{
	(void)state;
	uint64_t n = 7;
	uint32_t u;
	assert_int_equal(sh_slice_u64(SH_LIT("18446744073709551615"), UINT64_MAX, &n), 0);
	assert_true(n == UINT64_MAX);
	assert_int_equal(sh_slice_u64(SH_LIT("18446744073709551616"), UINT64_MAX, &n), -ERANGE);
	assert_int_equal(sh_slice_u32(SH_LIT("4294967295"), &u), 0);
	assert_int_equal(sh_slice_u32(SH_LIT("4294967296"), &u), -ERANGE);
	assert_int_equal(sh_slice_u64(SH_LIT("101"), 100, &n), -ERANGE);
	assert_int_equal(sh_slice_u32(SH_LIT(""), &u), -EINVAL);
	assert_int_equal(sh_slice_u32(SH_LIT("-1"), &u), -EINVAL);
	assert_int_equal(sh_slice_u32(SH_LIT("1 "), &u), -EINVAL);
	assert_int_equal(u, UINT32_MAX);
}

static void comparison_ignores_ascii_case_only_where_asked(void **state)
{
	(void)state;
	assert_true(sh_slice_ieq(SH_LIT("Call-ID"), SH_LIT("cALL-id")));
	assert_false(sh_slice_eq(SH_LIT("a"), SH_LIT("A")));
	assert_false(sh_slice_ieq(SH_LIT("[")  , SH_LIT("{")));
	assert_true(sh_slice_istarts(SH_LIT("SIP/2.0 200"), SH_LIT("sip/")));
	assert_true(sh_slice_eq(sh_slice_trim(SH_LIT(" \t\r\n x y \r\n")), SH_LIT("x y")));
	struct sh_slice head, tail;
	assert_true(sh_slice_cut(SH_LIT("a=b=c"), '=', &head, &tail));
	assert_true(sh_slice_eq(head, SH_LIT("a")) && sh_slice_eq(tail, SH_LIT("b=c")));
	assert_false(sh_slice_cut(SH_LIT("abc"), '=', &head, &tail));
	assert_true(sh_slice_eq(head, SH_LIT("abc")) && tail.len == 0);
}

static void the_arena_aligns_and_copies(void **state)
{
	(void)state;
	struct sh_arena a;
	sh_arena_init(&a, 64);
	for (size_t n = 0; n < 3000; n += 7) {
		char *p = sh_arena_alloc(&a, n);
		assert_non_null(p);
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 0xa5, n);
	}
	struct sh_slice s;
	assert_int_equal(sh_arena_dup(&a, SH_LIT("text"), &s), 0);
	assert_true(sh_slice_eq(s, SH_LIT("text")) && s.base[4] == 0);
	assert_int_equal(sh_arena_printf(&a, &s, "%d-%s", 5, "x"), 0);
	assert_true(sh_slice_eq(s, SH_LIT("5-x")));
	sh_arena_reset(&a);
	assert_non_null(sh_arena_calloc(&a, 3, 8));
	assert_null(sh_arena_calloc(&a, SIZE_MAX / 2, 8));
	sh_arena_finish(&a);
}

static void addresses_are_read_and_written_as_sip_wants_them(void **state)
{
	(void)state;
	static const struct {
		const char *host, *text;
	} good[] = {{"192.0.2.1", "192.0.2.1:5060"}, {"[2001:db8::1]", "[2001:db8::1]:5060"}, {"::1", "[::1]:5060"}};
	char buf[SH_ADDR_TEXT];
	struct sh_addr a, b;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(good[i].host), 5060), 0);
		assert_int_equal(sh_addr_format(&a, buf), strlen(good[i].text));
		assert_string_equal(buf, good[i].text);
		struct sockaddr_storage ss;
		sh_addr_to_sockaddr(&a, &ss);
		sh_addr_from_sockaddr(&b, (struct sockaddr *)&ss);
		assert_true(sh_addr_eq(&a, &b));
	}
	static const char *const bad[] = {"", "example.org", "1.2.3", "1.2.3.4.5", "256.1.1.1", "[::1", "::1]", "1.2.3.4 "};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(bad[i]), 1), -EINVAL);
	assert_int_equal(sh_addr_parse(&a, SH_LIT("127.3.2.1"), 1), 0);
	assert_true(sh_addr_is_loopback(&a) && !sh_addr_is_any(&a));
}

static void random_tokens_follow_from_the_seed_and_are_tokens(void **state)
{
	(void)state;
	struct sh_random r, again, other;
	char a[4096], b[4096], c[4096];
	sh_random_init_seed(&r, 1);
	sh_random_init_seed(&again, 1);
	sh_random_init_seed(&other, 2);
	sh_random_token(&r, a, sizeof a);
	sh_random_token(&again, b, sizeof b);
	sh_random_token(&other, c, sizeof c);
	assert_memory_equal(a, b, sizeof a);
	assert_memory_not_equal(a, c, sizeof a);
	for (size_t i = 0; i < sizeof a; i++)
		assert_non_null(memchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_", a[i], 64));
	sh_random_init(&r);
	sh_random_init(&again);
	assert_true(sh_random_u64(&r) != sh_random_u64(&again));
	for (unsigned i = 0; i < 1000; i++)
		assert_true(sh_random_below(&r, 3) < 3);
}

static char last[2048];
static unsigned lines;

static void sink(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	(void)level, (void)ctx;
	lines++;
	memcpy(last, line, len);
	last[len] = 0;
}

static void a_log_line_is_one_line_of_bounded_length_and_rate(void **state)
{
	(void)state;
	struct sh_log log;
	struct sh_log_limit limit = {0};
	char longer[3000];
	memset(longer, 'x', sizeof longer - 1);
	longer[sizeof longer - 1] = 0;
	sh_log_init(&log, SH_LOG_INFO, sink, NULL);
	lines = 0;
	sh_debug(&log, "not written");
	assert_int_equal(lines, 0);
	sh_info(&log, "a\r\nb\x01%d", 5);
	assert_int_equal(lines, 1);
	assert_null(strpbrk(last, "\r\n\x01"));
	sh_info(&log, "%s", longer);
	assert_true(strlen(last) <= 1000);
	lines = 0;
	for (unsigned i = 0; i < 100; i++)
		sh_log_write_limited(&log, SH_LOG_WARN, &limit, 5 * UINT64_C(1000000), "flood %u", i);
	assert_int_equal(lines, SH_LOG_LIMIT_PER_SECOND);
	sh_log_write_limited(&log, SH_LOG_WARN, &limit, 6 * UINT64_C(1000000), "later");
	assert_int_equal(lines, SH_LOG_LIMIT_PER_SECOND + 2);
}

static void a_misspelt_name_is_known_and_another_word_is_not(void **state)
{
	static const char *const names[] = {"timeout", "headers", "q", "early", NULL};

	(void)state;
	assert_string_equal(sh_nearest("tmeout", names), "timeout");
	assert_string_equal(sh_nearest("TimeOut", names), "timeout");
	assert_string_equal(sh_nearest("hedders", names), "headers");
	assert_string_equal(sh_nearest("Q", names), "q");
	assert_null(sh_nearest("x", names));
	assert_null(sh_nearest("easy", names));
	assert_null(sh_nearest("", names));
	assert_null(sh_nearest("a name that is longer than all of them together", names));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_digits_only_and_bounded),
		cmocka_unit_test(comparison_ignores_ascii_case_only_where_asked),
		cmocka_unit_test(the_arena_aligns_and_copies),
		cmocka_unit_test(addresses_are_read_and_written_as_sip_wants_them),
		cmocka_unit_test(random_tokens_follow_from_the_seed_and_are_tokens),
		cmocka_unit_test(a_log_line_is_one_line_of_bounded_length_and_rate),
		cmocka_unit_test(a_misspelt_name_is_known_and_another_word_is_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
