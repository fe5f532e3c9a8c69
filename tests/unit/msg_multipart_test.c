/* Multipart bodies: what is found in good ones, and that broken ones give nothing. */
#include "msg_helpers.h"

#include "msg/multipart.h"

#define SDP "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"

static const char mixed[] = "this is for whoever cannot read it\r\n"
			    "--b1\r\n"
			    "Content-Type: application/isup;version=nxv3\r\n"
			    "Content-Disposition: signal;handling=optional\r\n"
			    "\r\n"
			    "\x01\x02--b1 is not at the start of a line\r\n"
			    "--b1  \r\n"
			    "content-type : APPLICATION/SDP\r\n"
			    "\r\n" SDP "\r\n"
			    "--b1--\r\n"
			    "--b1\r\n\r\nbehind the end\r\n--b1--\r\n";

static struct sh_slice sdp_of(const char *type, const char *body)
{
	return sh_body_sdp(sh_slice_cstr(type), sh_slice_cstr(body));
}

static void the_parts_of_a_body(void **state)
{
	struct sh_multipart m;
	struct sh_part p;

	(void)state;
	assert_int_equal(sh_multipart_open(&m, SH_LIT("multipart/mixed; boundary=\"b1\""), sh_slice_cstr(mixed)), 0);
	assert_true(sh_multipart_next(&m, &p));
	assert_slice(sh_part_header(&p, SH_LIT("content-disposition")), "signal;handling=optional");
	assert_slice(sh_part_header(&p, SH_LIT("Content-ID")), "");
	assert_slice(p.body, "\x01\x02--b1 is not at the start of a line");
	assert_true(sh_multipart_next(&m, &p));
	assert_slice(sh_part_header(&p, SH_LIT("Content-Type")), "APPLICATION/SDP");
	assert_slice(p.body, SDP);
	assert_false(sh_multipart_next(&m, &p));
	assert_false(sh_multipart_next(&m, &p));
}

static void a_part_without_header_fields_or_text(void **state)
{
	struct sh_multipart m;
	struct sh_part p;

	(void)state;
	assert_int_equal(sh_multipart_open(&m, SH_LIT("multipart/x;boundary=b"), SH_LIT("--b\n\nplain\n--b\nA: b\n--b--")), 0);
	assert_true(sh_multipart_next(&m, &p));
	assert_slice(p.headers, "");
	assert_slice(p.body, "plain");
	assert_true(sh_multipart_next(&m, &p));
	assert_slice(sh_part_header(&p, SH_LIT("a")), "b");
	assert_slice(p.body, "");
	assert_false(sh_multipart_next(&m, &p));
}

static void the_description_is_found(void **state)
{
	(void)state;
	assert_slice(sdp_of("application/sdp", SDP), SDP);
	assert_slice(sdp_of("Application/SDP ;charset=utf-8", SDP), SDP);
	assert_slice(sdp_of("multipart/mixed;boundary=b1", mixed), SDP);
	assert_slice(sdp_of("multipart/mixed;boundary=o", "--o\r\nContent-Type: multipart/alternative;boundary=i\r\n\r\n"
							  "--i\r\nContent-Type: application/sdp\r\n\r\n" SDP "\r\n--i--\r\n--o--\r\n"), SDP);
	assert_slice(sdp_of("multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n"), "v=0\r\n");
}

static void where_there_is_none_nothing_is_found(void **state)
{
	static const char *const types[] = {"",	  ";",	    "text/plain",		 "multipart/mixed", "multipart/mixed;boundary=", "multipart/mixed;boundary=\"\"",
					    "multipart/mixed;boundary=zz", "multipart/mixed;boundary=\"", "multipart"};

	(void)state;
	for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		assert_int_equal(sdp_of(types[i], mixed).len, 0);
	assert_int_equal(sdp_of("multipart/mixed;boundary=b", "").len, 0);
	assert_int_equal(sdp_of("multipart/mixed;boundary=b", "--b--\r\n").len, 0);
	assert_int_equal(sdp_of("multipart/mixed;boundary=b", "--b\r\n").len, 0);
	assert_int_equal(sdp_of("multipart/mixed;boundary=b", "--b\r\nContent-Type: application/sdp").len, 0);
}

/* Whatever is cut off, what is found lies in the body. */
static void no_cut_leads_out_of_the_body(void **state)
{
	(void)state;
	for (size_t from = 0; from < sizeof(mixed); from++) {
		for (size_t to = from; to < sizeof(mixed); to++) {
			char *copy = malloc(to - from + 1);
			struct sh_slice body = {copy, to - from}, found;

			memcpy(copy, mixed + from, to - from);
			found = sh_body_sdp(SH_LIT("multipart/mixed;boundary=b1"), body);
			assert_true(!found.len || (found.base >= body.base && found.base + found.len <= body.base + body.len));
			free(copy);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_parts_of_a_body),
		cmocka_unit_test(a_part_without_header_fields_or_text),
		cmocka_unit_test(the_description_is_found),
		cmocka_unit_test(where_there_is_none_nothing_is_found),
		cmocka_unit_test(no_cut_leads_out_of_the_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
