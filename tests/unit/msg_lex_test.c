/* The classes of octets: whoever looks at sixteen at a time sees what the table says. */
#include "msg_helpers.h"

#include "core/alloc.h"
#include "msg/lex.h"

enum { LONGEST = 40 };

static const char *by_table(const char *p, const char *end, unsigned class)
{
	while (p < end && sh_lex_is(*p, class))
		p++;
	return p;
}

/* Each octet at each place of texts of each length; the block ends with the text, so that the address sanitizer sees a look behind it. */
static void check_class(unsigned class, char usual)
{
	for (size_t len = 0; len <= LONGEST; len++) {
		char *text = sh_malloc(len + 1), *from = text + 1;

		assert_non_null(text);
		memset(text, usual, len + 1);
		assert_ptr_equal(sh_lex_run(from, from + len, class), from + len);
		for (size_t at = 0; at < len; at++) {
			for (int c = 0; c < 256; c++) {
				from[at] = (char)c;
				assert_ptr_equal(sh_lex_run(from, from + len, class), by_table(from, from + len, class));
			}
			from[at] = usual;
		}
		sh_free(text);
	}
}

static void a_run_ends_where_the_table_says(void **state)
{
	(void)state;
	check_class(SH_LEX_URI, 'a');
	check_class(SH_LEX_HOST, '7');
	check_class(SH_LEX_GENERIC, 'Z');
	check_class(SH_LEX_TOKEN, '-');
	check_class(SH_LEX_LWS, ' ');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_run_ends_where_the_table_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
