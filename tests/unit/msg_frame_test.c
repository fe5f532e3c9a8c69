/* Framing of streams: where a message ends, however the octets arrive. */
#include "msg_helpers.h"

static const char small[] = REQUEST("l: 4\r\n") "body";

static ssize_t frame(const char *text)
{
	/* No NUL behind the copy, so that a step over the end is seen. */
	size_t n = strlen(text);
	char *copy = malloc(n ? n : 1);
	ssize_t result;

	assert_non_null(copy);
	memcpy(copy, text, n);
	result = sh_msg_frame(copy, n);
	free(copy);
	return result;
}

static void the_length_is_that_of_head_and_body(void **state)
{
	(void)state;
	assert_int_equal(frame(small), sizeof(small) - 1);
	assert_int_equal(frame(REQUEST("Content-Length: 0\r\n")), sizeof(REQUEST("Content-Length: 0\r\n")) - 1);
	assert_int_equal(frame("SIP/2.0 200 OK\r\nl:3\r\n\r\n"), sizeof("SIP/2.0 200 OK\r\nl:3\r\n\r\nabc") - 1);
	assert_int_equal(frame("A b SIP/2.0\nCONTENT-length \t: \r\n 07\r\n\n"),
			 sizeof("A b SIP/2.0\nCONTENT-length \t: \r\n 07\r\n\n1234567") - 1);
	assert_int_equal(frame("A b SIP/9.9\r\nl: 0\r\n\r\n"), sizeof("A b SIP/9.9\r\nl: 0\r\n\r\n") - 1);
	/* Twice the same length frames; the scanner refuses it with an answer. */
	assert_int_equal(frame("A b SIP/2.0\r\nl: 2\r\nl: 2\r\n\r\n"),
			 sizeof("A b SIP/2.0\r\nl: 2\r\nl: 2\r\n\r\n12") - 1);
	/* Neither a fold nor a body makes a header field. */
	assert_int_equal(frame("A b SIP/2.0\r\nX: y\r\n l: 5\r\nl: 1\r\n\r\nl: 9\r\n\r\n"),
			 sizeof("A b SIP/2.0\r\nX: y\r\n l: 5\r\nl: 1\r\n\r\nx") - 1);
}

static void an_incomplete_head_waits(void **state)
{
	size_t head = strstr(small, "\r\n\r\n") + 4 - small;

	(void)state;
	for (size_t n = 0; n < head; n++)
		assert_int_equal(sh_msg_frame(small, n), 0);
	for (size_t n = head; n < sizeof(small); n++)
		assert_int_equal(sh_msg_frame(small, n), sizeof(small) - 1);
}

static void lost_framing_is_an_error(void **state)
{
	static const char *const bad[] = {
	    "\r\n\r\n",
	    "\x16\x03\x01",
	    " ",
	    "GET / HTTP/1.1\r\n",
	    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	    "hello\r\n",
	    "A b SIP/2.0\r\n\r\n",
	    "A b SIP/2.0\r\nl: x\r\n\r\n",
	    "A b SIP/2.0\r\nl:\r\n\r\n",
	    "A b SIP/2.0\r\nl: -1\r\n\r\n",
	    "A b SIP/2.0\r\nl: +1\r\n\r\n",
	    "A b SIP/2.0\r\nl: 1 1\r\n\r\n",
	    "A b SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n",
	    "A b SIP/2.0\r\nl: 65536\r\nl: x\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ssize_t result = frame(bad[i]);

		if (result != -EBADMSG && !(i + 1 == sizeof(bad) / sizeof(bad[0]) && result == -EMSGSIZE))
			fail_msg("case %zu: %zd", i, result);
	}
}

static void what_is_too_large_is_an_error(void **state)
{
	char *text = malloc(SH_MSG_MAX_SIZE + 2);
	struct sh_framer f = {0};

	(void)state;
	assert_non_null(text);
	assert_int_equal(frame("A b SIP/2.0\r\nl: 65535\r\n\r\n"), -EMSGSIZE);
	assert_int_equal(frame("A b SIP/2.0\r\nl: 4294967296\r\n\r\n"), -EMSGSIZE);
	assert_int_equal(frame("A b SIP/2.0\r\nl: 18446744073709551616\r\n\r\n"), -EMSGSIZE);
	assert_int_equal(frame("A b SIP/2.0\r\nl: 65511\r\n\r\n"), -EMSGSIZE);
	assert_int_equal(frame("A b SIP/2.0\r\nl: 65510\r\n\r\n"), SH_MSG_MAX_SIZE);
	/* A start line, or a head, without an end. */
	memset(text, 'a', SH_MSG_MAX_SIZE + 2);
	assert_int_equal(sh_msg_frame(text, SH_MSG_MAX_SIZE), 0);
	assert_int_equal(sh_msg_frame(text, SH_MSG_MAX_SIZE + 1), -EMSGSIZE);
	memcpy(text, "A b SIP/2.0\r\n", 13);
	assert_int_equal(sh_framer_feed(&f, text, SH_MSG_MAX_SIZE), 0);
	assert_int_equal(sh_framer_feed(&f, text, SH_MSG_MAX_SIZE + 1), -EMSGSIZE);
	assert_int_equal(sh_framer_feed(&f, text, SH_MSG_MAX_SIZE + 2), -EMSGSIZE);
	free(text);
}

static void octet_by_octet_gives_the_same_answers(void **state)
{
	static const char *const texts[] = {
	    small,
	    "SIP/2.0 200 OK\nl:3\n\nabc",
	    "A b SIP/2.0\r\nl: 1\r\nX: y\r\n \r\n\tz\r\n\r\nb",
	    "A b SIP/2.0\r\nl: x\r\n\r\n",
	    "A b SIP/2.0\r\n\r\n",
	    "hello world\r\n\r\n",
	    "A b SIP/2.0\rl: 1\r\rl: 2\r\nl: 3\r\n\r\r\n\r\nabc",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct sh_framer f = {0};

		for (size_t n = 0; n <= strlen(texts[i]); n++) {
			char *copy = malloc(n ? n : 1); /* the buffer moves with every octet */

			assert_non_null(copy);
			memcpy(copy, texts[i], n);
			assert_int_equal(sh_framer_feed(&f, copy, n), sh_msg_frame(copy, n));
			free(copy);
		}
	}
}

static void pipelined_messages_come_apart_one_by_one(void **state)
{
	static const char stream[] =
	    REQUEST("l: 4\r\n") "body" REQUEST("Content-Length: 0\r\n") "SIP/2.0 200 OK\r\nl: 2\r\n\r\nxy";
	const char *at = stream, *end = stream + sizeof(stream) - 1;
	const size_t want[] = {sizeof(small) - 1, sizeof(REQUEST("Content-Length: 0\r\n")) - 1, 26};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct sh_framer f = {0};
		ssize_t n = sh_framer_feed(&f, at, (size_t)(end - at));

		assert_int_equal(n, want[i]);
		if (i < 2) {
			static struct sh_msg m;

			assert_int_equal(sh_msg_scan(&m, at, (size_t)n, true, NULL), 0);
			assert_int_equal(m.size, n);
		}
		at += n;
	}
	assert_ptr_equal(at, end);
}

/* Every call looks at what stands behind `scanned`: that is the work that is counted here. */
static void a_slow_sender_costs_linear_time(void **state)
{
	enum { SIZE = 60000 };
	static const char *const patterns[] = {"a", " \n", "\r", "x\r\n", "l:1\r\n"};
	char *text = malloc(SIZE);

	(void)state;
	assert_non_null(text);
	for (size_t kind = 0; kind < sizeof(patterns) / sizeof(patterns[0]); kind++) {
		struct sh_framer f = {0};
		size_t looked_at = 0;

		for (size_t i = 0; i < SIZE; i++)
			text[i] = patterns[kind][i % strlen(patterns[kind])];
		memcpy(text, "A b SIP/2.0\r\n", 13);
		text[13] = 'x';
		for (size_t n = 0; n <= SIZE; n++) {
			looked_at += n - f.scanned;
			assert_int_equal(sh_framer_feed(&f, text, n), 0);
			assert_true(f.scanned <= n);
		}
		assert_true(looked_at < (size_t)4 * SIZE);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_length_is_that_of_head_and_body),
	    cmocka_unit_test(an_incomplete_head_waits),
	    cmocka_unit_test(lost_framing_is_an_error),
	    cmocka_unit_test(what_is_too_large_is_an_error),
	    cmocka_unit_test(octet_by_octet_gives_the_same_answers),
	    cmocka_unit_test(pipelined_messages_come_apart_one_by_one),
	    cmocka_unit_test(a_slow_sender_costs_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
