/* Base64, percent escapes, strings of JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>

#include "core/encode.h"

/* Both ways; the vectors of RFC 4648 10. */
static void base64_both_ways(void **state)
{
	static const struct {
		const char *plain, *text, *url;
	} vectors[] = {
	    {"", "", ""},
	    {"f", "Zg==", "Zg"},
	    {"fo", "Zm8=", "Zm8"},
	    {"foo", "Zm9v", "Zm9v"},
	    {"foob", "Zm9vYg==", "Zm9vYg"},
	    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
	    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
	    {"\xfb\xff\xbf", "+/+/", "-_-_"},
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct sh_slice plain = sh_slice_cstr(vectors[i].plain), texts[2] = {sh_slice_cstr(vectors[i].text), sh_slice_cstr(vectors[i].url)};

		for (enum sh_base64 kind = SH_BASE64; kind <= SH_BASE64_URL; kind++) {
			size_t n = sh_base64_encode(kind, plain.base, plain.len, out);

			assert_true(n <= SH_BASE64_ROOM(plain.len));
			assert_true(sh_slice_eq(sh_slice_make(out, n), texts[kind]));
			for (int any = 0; any < 2; any++) {
				ssize_t m = sh_base64_decode(any ? SH_BASE64_ANY : kind, texts[kind], out);

				assert_true(m <= (ssize_t)SH_BASE64_OCTETS(texts[kind].len));
				assert_true(sh_slice_eq(sh_slice_make(out, (size_t)m), plain));
			}
		}
	}
}

static void what_is_no_base64_is_refused(void **state)
{
	static const struct {
		enum sh_base64 kind;
		const char *text;
	} bad[] = {
	    {SH_BASE64, "Zg"},	     {SH_BASE64, "Zg="},     {SH_BASE64, "-_-_"},     {SH_BASE64, "Zh=="},    {SH_BASE64, "Z==="},
	    {SH_BASE64, "===="},     {SH_BASE64_URL, "Zg=="}, {SH_BASE64_URL, "+/+/"}, {SH_BASE64_URL, "Zh"},  {SH_BASE64_URL, "Z"},
	    {SH_BASE64_ANY, "Z"},    {SH_BASE64_ANY, "Zm 9v"}, {SH_BASE64_ANY, "Zm9v="}, {SH_BASE64_ANY, "Zg=g"}, {SH_BASE64_ANY, "\xc3\xa4\xc3\xa4"},
	};
	char out[32];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sh_base64_decode(bad[i].kind, sh_slice_cstr(bad[i].text), out), -EINVAL);
	assert_int_equal(sh_base64_decode(SH_BASE64_ANY, SH_LIT("Zh"), out), 1);
}

static void percent_escapes_both_ways(void **state)
{
	struct sh_slice all;
	char octets[256], out[768], back[768];
	size_t n;

	(void)state;
	for (int i = 0; i < 256; i++)
		octets[i] = (char)i;
	all = sh_slice_make(octets, sizeof(octets));
	n = sh_percent_escape(all, SH_PERCENT_UNRESERVED, out);
	assert_int_equal(n, 66 + 3 * (256 - 66));
	assert_int_equal(sh_percent_unescape(sh_slice_make(out, n), back), 256);
	assert_memory_equal(back, octets, 256);
	n = sh_percent_escape(SH_LIT("a b\xc3\xa4/~"), SH_PERCENT_UNRESERVED "/", out);
	assert_true(sh_slice_eq(sh_slice_make(out, n), SH_LIT("a%20b%C3%A4/~")));
	n = sh_percent_unescape(SH_LIT("%41%4a%4A%4%zz%"), out);
	assert_true(sh_slice_eq(sh_slice_make(out, n), SH_LIT("AJJ%4%zz%")));
}

static void strings_of_json(void **state)
{
	char out[128];
	size_t n;

	(void)state;
	n = sh_json_escape(SH_LIT("a\"\\\n\t\x01\x7f\0\xc3\xa4\xff"), false, out);
	assert_true(sh_slice_eq(sh_slice_make(out, n), SH_LIT("a\\\"\\\\\\n\\t\\u0001\\u007f\\u0000\xc3\xa4\\ufffd")));
	n = sh_json_escape(SH_LIT("\xff\b"), true, out);
	assert_true(sh_slice_eq(sh_slice_make(out, n), SH_LIT("\xff\\b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(base64_both_ways),
	    cmocka_unit_test(what_is_no_base64_is_refused),
	    cmocka_unit_test(percent_escapes_both_ways),
	    cmocka_unit_test(strings_of_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
