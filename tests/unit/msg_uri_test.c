/* URIs, name-addr values, lists, parameters, escapes, quoted strings, q values. */
#include "msg_helpers.h"

#include "core/alloc.h"
#include "msg/uri.h"

static struct sh_uri parse(const char *text)
{
	struct sh_uri u = {.port = 0};

	if (sh_uri_parse(&u, sh_slice_cstr(text)))
		fail_msg("refused: %s", text);
	return u;
}

static bool refused(const char *text)
{
	/* A copy without a NUL behind it: a step over the end is seen. */
	size_t n = strlen(text);
	char *copy = malloc(n ? n : 1);
	struct sh_uri u;
	int err;

	assert_non_null(copy);
	memcpy(copy, text, n);
	err = sh_uri_parse(&u, sh_slice_make(copy, n));
	free(copy);
	return err == -EINVAL;
}

static bool equal(const char *a, const char *b)
{
	struct sh_uri x = parse(a), y = parse(b);
	bool result = sh_uri_equal(&x, &y);

	assert_int_equal(sh_uri_equal(&y, &x), result);
	return result;
}

static void the_parts_of_a_uri_are_found(void **state)
{
	struct sh_uri u = parse("SIPS:a%20b;c?d:pass:word@Example.ORG:5061;lr;x=\xc3\xa4?h=1&i=2");

	(void)state;
	assert_int_equal(u.kind, SH_URI_SIPS);
	assert_slice(u.scheme, "SIPS");
	assert_true(u.has_user);
	assert_slice(u.user, "a%20b;c?d");
	assert_slice(u.password, "pass:word");
	assert_slice(u.host, "Example.ORG");
	assert_int_equal(u.port, 5061);
	assert_slice(u.params, "lr;x=\xc3\xa4");
	assert_slice(u.headers, "h=1&i=2");

	u = parse("sip:[2001:db8::1]?x=y");
	assert_false(u.has_user);
	assert_slice(u.host, "[2001:db8::1]");
	assert_int_equal(u.port, 0);
	assert_null(u.params.base);
	assert_slice(u.headers, "x=y");
	u = parse("sip:h;p?");
	assert_slice(u.params, "p");
	assert_non_null(u.headers.base);
	assert_int_equal(u.headers.len, 0);
	u = parse("sip:a:@h");
	assert_non_null(u.password.base);
	assert_int_equal(u.password.len, 0);
	u = parse("sip:%00@h");
	assert_slice(u.user, "%00");

	u = parse("tel:+1-(201).555;ext=12;phone-context=x");
	assert_int_equal(u.kind, SH_URI_TEL);
	assert_slice(u.user, "+1-(201).555");
	assert_slice(u.params, "ext=12;phone-context=x");
	assert_null(u.host.base);
	u = parse("urn:service:sos.fire");
	assert_int_equal(u.kind, SH_URI_OTHER);
	assert_slice(u.user, "service:sos.fire");
}

static void what_is_no_uri_is_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "sip",
	    "sip:",
	    ":x",
	    "1sip:x",
	    "si p:x",
	    "sip: x",
	    "sip:@h",
	    "sip::p@h",
	    "sip:a@",
	    "sip:a@@h",
	    "sip:a@b@c",
	    "sip:h:",
	    "sip:h:0",
	    "sip:h:65536",
	    "sip:h:99999999999999999999",
	    "sip:h:12x",
	    "sip:h/x",
	    "sip:[::1",
	    "sip:[]",
	    "sip:[::g]",
	    "sip:[::1]x",
	    "sip:h;a b",
	    "sip:h;\"x\"",
	    "sip:<h>",
	    "sip:h\x7f",
	    "sip:h\x01",
	    "sip:2001:db8::1",
	    "sip:a@2001:db8::1",
	    "tel:",
	    "tel:+",
	    "tel:-",
	    "tel:12x34",
	    "tel:12 34",
	    "tel:+1?x=y",
	    "http://a b",
	    "x:\"",
	    "sip:h\r\n",
	    "sip:h?a\tb",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (!refused(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(sh_uri_parse(&(struct sh_uri){.port = 0}, (struct sh_slice){NULL, 0}), -EINVAL);
	assert_int_equal(sh_uri_parse(&(struct sh_uri){.port = 0}, SH_LIT("sip:a\0b@h")), -EINVAL);
}

static void the_table_of_equal_uris_in_rfc_3261_holds(void **state)
{
	(void)state;
	assert_true(equal("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"));
	assert_true(equal("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
	assert_true(equal("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"));
	assert_true(equal("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"));
	assert_true(equal("sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
			  "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"));
	assert_true(equal("sip:alice@atlanta.com?subject=project%20x&priority=urgent",
			  "sip:alice@atlanta.com?priority=urgent&subject=project%20x"));
}

static void the_table_of_unequal_uris_in_rfc_3261_holds(void **state)
{
	(void)state;
	assert_false(equal("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
	assert_false(equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
	assert_false(equal("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
	assert_false(equal("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
	assert_false(equal("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
	assert_false(equal("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
	/* The note under the table: the relation is not transitive. */
	assert_false(equal("sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on"));
}

static void each_rule_of_uri_comparison_holds(void **state)
{
	static const char *const never_ignored[] = {"user=phone", "ttl=1", "method=INVITE", "maddr=h", "transport=udp"};
	char text[64];

	(void)state;
	assert_false(equal("sip:a@h", "sips:a@h"));
	assert_false(equal("sip:a@h", "sip:h"));
	assert_false(equal("sip:a@h", "sip:a:@h"));
	assert_false(equal("sip:a:p@h", "sip:a:P@h"));
	assert_true(equal("sip:a:p@h", "sip:a:%70@h"));
	assert_true(equal("sip:h:5061", "SIP:H:5061"));
	assert_true(equal("sip:%6a@h", "sip:%6A@h"));
	for (size_t i = 0; i < 5; i++) {
		snprintf(text, sizeof(text), "sip:a@h;%s", never_ignored[i]);
		assert_false(equal("sip:a@h", text));
		assert_true(equal(text, text));
		snprintf(text, sizeof(text), "sip:a@h;x=1;%s", never_ignored[i]);
		assert_false(equal("sip:a@h;x=1", text));
	}
	/* A reserved octet and its escape mean different things (RFC 2396 2.2). */
	assert_false(equal("sip:a%3Bb@h", "sip:a;b@h"));
	assert_true(equal("sip:a%3Bb@h", "sip:a%3bb@h"));
	assert_false(equal("sip:a%00b@h", "sip:a%00@h"));
	assert_true(equal("sip:a%4@h", "sip:a%4@h"));
	assert_false(equal("sip:a%4@h", "sip:a%5@h"));
	assert_true(equal("sip:a@h;%6Cr", "sip:a@h;lr"));
	assert_true(equal("sip:a@h;;x=1;", "sip:a@h;x=1"));
	assert_false(equal("sip:a@h?x=1", "sip:a@h?x=2"));
	assert_false(equal("sip:a@h?x=1", "sip:a@h?x=1&y=2"));
	/* RFC 5954: an IPv6 address is one address however it is spelled. */
	assert_true(equal("sip:a@[2001:db8::1]", "sip:a@[2001:0DB8:0:0:0:0:0:1]"));
	assert_false(equal("sip:a@[2001:db8::1]", "sip:a@[2001:db8::2]"));
}

static void tel_numbers_compare_without_separators(void **state)
{
	(void)state;
	assert_true(equal("tel:+1-201-555-0123", "tel:+1(201)555.0123"));
	assert_false(equal("tel:+12015550123", "tel:12015550123"));
	assert_false(equal("tel:+12", "tel:+123"));
	assert_true(equal("tel:7042;phone-context=Example.com", "TEL:7042;Phone-Context=example.COM"));
	assert_true(equal("tel:1;phone-context=+1-2", "tel:1;phone-context=+12"));
	assert_true(equal("tel:1;ext=1-2;isub=a", "tel:1;isub=A;ext=12"));
	assert_false(equal("tel:1;ext=1", "tel:1"));
	assert_false(equal("tel:1", "sip:1"));
	assert_true(equal("tel:aB1", "tel:Ab1"));
	assert_true(equal("urn:x:y", "urn:x:y"));
	assert_false(equal("urn:x:y", "urn:x:Y"));
}

static void comparison_stays_cheap_with_too_many_parameters(void **state)
{
	char a[300] = "sip:h", b[300] = "sip:h";

	(void)state;
	for (unsigned i = 0; i < 33; i++) {
		snprintf(a + strlen(a), 8, ";p%u=1", i);
		snprintf(b + strlen(b), 8, ";p%u=1", 32 - i);
	}
	assert_true(equal(a, a));
	assert_false(equal(a, b)); /* one more than is compared as a set */
	*strrchr(a, ';') = '\0';
	memmove(b + 5, strchr(b + 6, ';'), strlen(strchr(b + 6, ';')) + 1);
	assert_true(equal(a, b));
}

static void escapes_are_decoded_and_made(void **state)
{
	struct sh_slice out;
	struct sh_arena a;
	char all[256];

	(void)state;
	sh_arena_init(&a, 256);
	assert_int_equal(sh_uri_unescape(&a, SH_LIT("a%20b%2Bc%zz%4"), &out), 0);
	assert_slice(out, "a b+c%zz%4");
	assert_int_equal(sh_uri_unescape(&a, SH_LIT("%00x%"), &out), 0);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.base, "\0x%", 4);
	assert_int_equal(sh_uri_unescape(&a, (struct sh_slice){NULL, 0}, &out), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(sh_uri_escape_user(&a, SH_LIT("aZ9-_.!~*'()&=+$,;?/:@ %\xff"), &out), 0);
	assert_slice(out, "aZ9-_.!~*'()&=+$,;?/%3A%40%20%25%FF");
	assert_int_equal(sh_uri_escape_user(&a, (struct sh_slice){NULL, 0}, &out), 0);
	assert_int_equal(out.len, 0);
	for (unsigned i = 0; i < 256; i++)
		all[i] = (char)i;
	assert_int_equal(sh_uri_escape_user(&a, sh_slice_make(all, 256), &out), 0);
	assert_int_equal(sh_uri_unescape(&a, out, &out), 0);
	assert_int_equal(out.len, 256);
	assert_memory_equal(out.base, all, 256);
	sh_arena_finish(&a);
}

static void quoted_strings_lose_quotes_and_backslashes(void **state)
{
	struct sh_slice out;
	struct sh_arena a;

	(void)state;
	sh_arena_init(&a, 256);
	assert_int_equal(sh_unquote(&a, SH_LIT("\"a\\\"b\\\\c\\d\""), &out), 0);
	assert_slice(out, "a\"b\\cd");
	assert_int_equal(sh_unquote(&a, SH_LIT("\"\""), &out), 0);
	assert_slice(out, "");
	assert_int_equal(sh_unquote(&a, SH_LIT("a\\b"), &out), 0);
	assert_slice(out, "a\\b");
	assert_int_equal(sh_unquote(&a, SH_LIT("\""), &out), 0);
	assert_slice(out, "\"");
	assert_int_equal(sh_unquote(&a, (struct sh_slice){NULL, 0}, &out), 0);
	assert_slice(out, "");
	sh_arena_finish(&a);
}

static void name_addr_lists_are_taken_apart(void **state)
{
	struct sh_slice rest = SH_LIT("\"Q, <x>; \\\" \" <sip:a@h;u=1>;q=0.5;+x=\"a;b,c\" ,\r\n sip:b@h;expires=3,"
				      "J. M\xc3\xbcller <tel:1> , \t <urn:x>");
	struct sh_name_addr v;

	(void)state;
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_slice(v.display, "\"Q, <x>; \\\" \"");
	assert_slice(v.uri, "sip:a@h;u=1");
	assert_slice(v.params, "q=0.5;+x=\"a;b,c\"");
	assert_slice(v.text, "\"Q, <x>; \\\" \" <sip:a@h;u=1>;q=0.5;+x=\"a;b,c\"");
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_slice(v.display, "");
	assert_slice(v.uri, "sip:b@h");
	assert_slice(v.params, "expires=3");
	assert_slice(v.text, "sip:b@h;expires=3");
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_slice(v.display, "J. M\xc3\xbcller");
	assert_slice(v.uri, "tel:1");
	assert_false(v.star);
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_slice(v.uri, "urn:x");
	assert_slice(v.params, "");
	assert_int_equal(rest.len, 0);
	assert_int_equal(sh_name_addr_next(&rest, &v), -EINVAL);

	rest = SH_LIT("\"a\\\\\" <sip:a@h>, \"b\\\\\\\",\" <sip:b@h>");
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_slice(v.display, "\"a\\\\\"");
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_slice(v.display, "\"b\\\\\\\",\"");
	assert_int_equal(rest.len, 0);

	rest = SH_LIT("* ");
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_true(v.star);
	assert_slice(v.uri, "");
	rest = SH_LIT("*@h");
	assert_int_equal(sh_name_addr_next(&rest, &v), 0);
	assert_false(v.star);
}

static void broken_name_addr_values_are_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    " ",
	    ",",
	    "<sip:a@h",
	    "<>",
	    "< sip:a@h>",
	    "<sip:a@h >",
	    "\"x <sip:a@h>",
	    "\"x\" sip:a@h",
	    "\"x\\\"",
	    "<sip:a@h> x",
	    "<sip:a@h>;",
	    "<sip:a@h>;=x",
	    "<sip:a@h>;x=",
	    "<sip:a@h>;x=\"y",
	    "sip:a@h?x=y",
	    "sip:a b",
	    "a\"b\" <sip:a@h>",
	    ";x",
	    "<sip:a@h>>",
	    "<sip:a<@h>",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct sh_slice rest = sh_slice_cstr(bad[i]);
		struct sh_name_addr v;

		if (sh_name_addr_next(&rest, &v) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
		assert_ptr_equal(rest.base, bad[i]);
	}
}

static void lists_respect_quotes_brackets_and_escapes(void **state)
{
	static const char *const want[] = {"a", "\"b,c\"", "<d,e>", "f\\,g", "(h)", "\"open, i"};
	struct sh_slice rest = SH_LIT(" ,, a ,\"b,c\" , <d,e>,f\\,g,(h),,\"open, i");
	struct sh_slice element;

	(void)state;
	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_true(sh_list_next(&rest, &element));
		assert_slice(element, want[i]);
	}
	assert_false(sh_list_next(&rest, &element));
	rest = (struct sh_slice){NULL, 0};
	assert_false(sh_list_next(&rest, &element));
	assert_true(sh_list_has(SH_LIT("timer,100REL , x"), SH_LIT("100rel")));
	assert_false(sh_list_has(SH_LIT("timer,100relx"), SH_LIT("100rel")));
	assert_false(sh_list_has(SH_LIT(""), SH_LIT("100rel")));
}

static void parameters_are_found_by_name(void **state)
{
	const struct sh_slice params = SH_LIT("lr; Expires = 30;x=\"a;b=c\";;empty=;y=1=2");
	struct sh_slice value = {NULL, 9}, rest = params, name;
	unsigned n = 0;

	(void)state;
	assert_true(sh_param_find(params, SH_LIT("LR"), &value));
	assert_int_equal(value.len, 0);
	assert_true(sh_param_find(params, SH_LIT("expires"), &value));
	assert_slice(value, "30");
	assert_true(sh_param_find(params, SH_LIT("x"), &value));
	assert_slice(value, "\"a;b=c\"");
	assert_true(sh_param_find(params, SH_LIT("y"), &value));
	assert_slice(value, "1=2");
	assert_true(sh_param_find(params, SH_LIT("empty"), NULL));
	value.len = 9;
	assert_false(sh_param_find(params, SH_LIT("b"), &value));
	assert_int_equal(value.len, 9);
	assert_false(sh_param_find((struct sh_slice){NULL, 0}, SH_LIT("b"), &value));
	while (sh_param_next(&rest, &name, &value))
		n++;
	assert_int_equal(n, 5);
}

static void q_values_are_thousandths(void **state)
{
	static const struct {
		const char *text;
		int q;
	} cases[] = {
	    {"1", 1000},        {"0", 0},        {"1.0", 1000},   {"1.000", 1000},     {"0.7", 700},
	    {"0.07", 70},       {"0.007", 7},    {"0.", 0},       {"1.", 1000},        {"", -EINVAL},
	    {"1.001", -EINVAL}, {"2", -EINVAL},  {".5", -EINVAL}, {"0.0001", -EINVAL}, {"0,5", -EINVAL},
	    {"0.x", -EINVAL},   {"-1", -EINVAL}, {"00", -EINVAL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (sh_qvalue(sh_slice_cstr(cases[i].text)) != cases[i].q)
			fail_msg("q of '%s'", cases[i].text);
}

static void out_of_memory_is_an_answer(void **state)
{
	struct sh_slice out = {NULL, 7};
	struct sh_arena a;

	(void)state;
	sh_arena_init(&a, 256);
	sh_alloc_fail_after(0);
	assert_int_equal(sh_uri_unescape(&a, SH_LIT("a%20"), &out), -ENOMEM);
	assert_int_equal(sh_uri_escape_user(&a, SH_LIT("a b"), &out), -ENOMEM);
	assert_int_equal(sh_unquote(&a, SH_LIT("\"a\""), &out), -ENOMEM);
	assert_int_equal(sh_unquote(&a, SH_LIT("a"), &out), -ENOMEM);
	sh_alloc_fail_after(-1);
	assert_int_equal(out.len, 7);
	sh_arena_finish(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_parts_of_a_uri_are_found),
	    cmocka_unit_test(what_is_no_uri_is_refused),
	    cmocka_unit_test(the_table_of_equal_uris_in_rfc_3261_holds),
	    cmocka_unit_test(the_table_of_unequal_uris_in_rfc_3261_holds),
	    cmocka_unit_test(each_rule_of_uri_comparison_holds),
	    cmocka_unit_test(tel_numbers_compare_without_separators),
	    cmocka_unit_test(comparison_stays_cheap_with_too_many_parameters),
	    cmocka_unit_test(escapes_are_decoded_and_made),
	    cmocka_unit_test(quoted_strings_lose_quotes_and_backslashes),
	    cmocka_unit_test(name_addr_lists_are_taken_apart),
	    cmocka_unit_test(broken_name_addr_values_are_refused),
	    cmocka_unit_test(lists_respect_quotes_brackets_and_escapes),
	    cmocka_unit_test(parameters_are_found_by_name),
	    cmocka_unit_test(q_values_are_thousandths),
	    cmocka_unit_test(out_of_memory_is_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
