/* The torture messages of RFC 4475 and RFC 5118: which are accepted, which refused with what words, and what the odd
 * ones mean. tests/unit/data has the messages octet for octet. */
#include "msg_helpers.h"

#include "msg/uri.h"

static struct sh_msg m;
static char text[SH_MSG_MAX_SIZE];

static size_t load(const char *folder, const char *name)
{
	return read_data(folder, name, text, sizeof(text));
}

/* Scans a torture message that must be accepted. */
static void accept(const char *folder, const char *name)
{
	size_t n = load(folder, name);

	if (sh_msg_scan(&m, text, n, false, NULL))
		fail_msg("%s is refused", name);
}

static struct sh_uri uri_of(struct sh_slice s)
{
	struct sh_uri u;

	assert_int_equal(sh_uri_parse(&u, s), 0);
	return u;
}

static struct sh_slice nth(enum sh_header_id id, unsigned n)
{
	return sh_msg_find(&m, sh_header_name(id), n);
}

struct expectation {
	const char *name;
	int result;
	const char *why; /* NULL for 0 */
	unsigned headers;
};

static void check(const char *folder, const struct expectation *e, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = load(folder, e[i].name);
		const char *why = NULL;
		char *copy;
		int result = scan_copy(&m, &copy, text, len, false, &why);

		if (result != e[i].result || (why == NULL) != (e[i].why == NULL) || (why && strcmp(why, e[i].why) != 0))
			fail_msg("%s: %d %s instead of %d %s", e[i].name, result, why ? why : "-", e[i].result,
				 e[i].why ? e[i].why : "-");
		if (m.nheaders != e[i].headers)
			fail_msg("%s: %u header fields instead of %u", e[i].name, m.nheaders, e[i].headers);
		free(copy);
	}
}

static void rfc_4475_is_answered_as_it_asks(void **state)
{
	static const struct expectation cases[] = {
	    /* 3.1.1, valid */
	    {"wsinv", 0, NULL, 14},
	    {"intmeth", 0, NULL, 8},
	    {"esc01", 0, NULL, 9},
	    {"escnull", 0, NULL, 9},
	    {"esc02", 0, NULL, 10},
	    {"lwsdisp", 0, NULL, 7},
	    {"longreq", 0, NULL, 43},
	    {"dblreq", 0, NULL, 8},
	    {"semiuri", 0, NULL, 8},
	    {"transports", 0, NULL, 12},
	    {"mpart01", 0, NULL, 14},
	    {"unreason", 0, NULL, 8},
	    {"noreason", 0, NULL, 7},
	    /* 3.1.2, invalid */
	    {"badinv01", 400, "Bad Via", 9},
	    {"clerr", 400, "Content-Length larger than the message", 9},
	    {"ncl", 400, "Bad Content-Length", 9},
	    {"scalar02", 400, "Bad CSeq", 9},
	    {"scalarlg", -EBADMSG, "Bad CSeq", 8},
	    {"quotbal", 400, "Bad To", 9},
	    {"ltgtruri", 400, "Bad Request-URI", 9},
	    {"lwsruri", 400, "Bad Request-URI", 9},
	    {"lwsstart", 400, "Bad Request-URI", 9},
	    {"trws", 400, "Bad Request-Line", 8},
	    {"escruri", 400, "Bad Request-URI", 9},
	    {"baddate", 0, NULL, 10}, /* the date is nobody's business here */
	    {"regbadct", 400, "Bad Contact", 8},
	    {"badaspec", 400, "Bad To", 8},
	    {"baddn", 400, "Several From", 8},
	    {"badvers", 505, "Version Not Supported", 7},
	    {"mismatch01", 400, "CSeq method does not match", 7},
	    {"mismatch02", 400, "CSeq method does not match", 9},
	    {"bigcode", -EBADMSG, "Bad status code", 0},
	    /* 3.2 .. 3.4, for the layers above */
	    {"badbranch", 0, NULL, 8},
	    {"insuf", -EBADMSG, "Missing From", 4}, /* no response could be made */
	    {"unkscm", 0, NULL, 7},
	    {"novelsc", 0, NULL, 7},
	    {"unksm2", 0, NULL, 8},
	    {"bext01", 0, NULL, 9},
	    {"invut", 0, NULL, 9},
	    {"regaut01", 0, NULL, 8},
	    {"multi01", 400, "Several CSeq", 15},
	    {"mcl01", 400, "Several Content-Length", 9},
	    {"bcast", 0, NULL, 9},
	    {"zeromf", 0, NULL, 7},
	    {"cparam01", 0, NULL, 8},
	    {"cparam02", 0, NULL, 8},
	    {"regescrt", 0, NULL, 8},
	    {"sdp01", 0, NULL, 10},
	    {"inv2543", 0, NULL, 7},
	};

	(void)state;
	check("rfc4475", cases, sizeof(cases) / sizeof(cases[0]));
}

static void rfc_5118_is_answered_as_it_asks(void **state)
{
	static const struct expectation cases[] = {
	    {"ipv6-good", 0, NULL, 8},
	    {"ipv6-bad", 400, "Bad Request-URI", 8},
	    {"port-ambiguous", 0, NULL, 8},
	    {"port-unambiguous", 0, NULL, 8},
	    {"via-received-param-with-delim", 0, NULL, 7},
	    {"via-received-param-no-delim", 0, NULL, 8},
	    {"mult-ip-in-header", 0, NULL, 9},
	    {"ipv4-mapped-ipv6", 0, NULL, 10},
	    {"ipv6-bug-abnf-3-colons", 0, NULL, 7},
	    {"ipv6-correct-abnf-2-colons", 0, NULL, 7},
	    /* The RFC counted the octets of these two wrong: they say more than they have. */
	    {"ipv6-in-sdp", 400, "Content-Length larger than the message", 9},
	    {"mult-ip-in-sdp", 400, "Content-Length larger than the message", 9},
	};

	(void)state;
	check("rfc5118", cases, sizeof(cases) / sizeof(cases[0]));
}

static void rfc_5118_with_its_lengths_put_right_is_accepted(void **state)
{
	static const char *const names[] = {"ipv6-in-sdp", "mult-ip-in-sdp"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		size_t n = load("rfc5118", names[i]);
		char *value;

		assert_true(n < sizeof(text));
		text[n] = '\0';
		value = strstr(text, "Content-Length: ");
		assert_non_null(value);
		memcpy(value + strlen("Content-Length: "), "100", 3);
		assert_int_equal(sh_msg_scan(&m, text, n, false, NULL), 0);
		assert_int_equal(m.body.len, 100);
		assert_slice(sh_msg_text(&m, m.uri), "sip:user@[2001:db8::10]");
	}
}

static void white_space_and_folds_are_where_the_grammar_lets_them(void **state)
{
	struct sh_name_addr contact;
	struct sh_slice value;
	int q;

	(void)state;
	accept("rfc4475", "wsinv");
	assert_slice(sh_msg_text(&m, m.to_tag), "1918181833n");
	assert_slice(sh_msg_text(&m, m.to_uri), "sip:vivekg@chair-dnrc.example.com");
	assert_slice(sh_msg_text(&m, m.from_tag), "98asjd8");
	assert_slice(sh_msg_text(&m, m.from_uri), "sip:jdrosen@example.com");
	assert_int_equal(m.max_forwards, 68);
	assert_int_equal(m.cseq, 9);
	assert_slice(sh_msg_text(&m, m.cseq_method), "INVITE");
	assert_slice(sh_msg_text(&m, m.via_host), "192.0.2.2");
	assert_slice(sh_msg_text(&m, m.via_branch), "390skdjuw");
	assert_int_equal(m.via_proto, SH_PROTO_UDP);
	assert_non_null(sh_msg_header(&m, SH_H_SUBJECT).base);
	assert_int_equal(sh_msg_header(&m, SH_H_SUBJECT).len, 0);
	assert_slice(sh_msg_find(&m, SH_LIT("unknownheaderwithunusualvalue"), 0), ";;,,;;,;");
	assert_int_equal(m.body.len, 150);
	value = sh_msg_header(&m, SH_H_CONTACT);
	assert_int_equal(sh_name_addr_next(&value, &contact), 0);
	assert_slice(contact.display, "\"Quoted string \\\"\\\"\"");
	assert_slice(contact.uri, "sip:jdrosen@example.com");
	assert_true(sh_param_find(contact.params, SH_LIT("newparam"), &value));
	assert_slice(value, "newvalue");
	assert_true(sh_param_find(contact.params, SH_LIT("q"), &value));
	q = sh_qvalue(value);
	assert_int_equal(q, 330);
	value = sh_msg_find(&m, SH_LIT("via"), 1);
	assert_true(sh_list_next(&value, &contact.text));
	assert_true(sh_slice_istarts(contact.text, SH_LIT("SIP  / 2.0  / TCP")));
	assert_true(sh_list_next(&value, &contact.text));
	assert_true(sh_slice_istarts(contact.text, SH_LIT("SIP  /    2.0   / UDP")));
	assert_false(sh_list_next(&value, &contact.text));
}

static void every_octet_that_a_token_may_have_is_taken(void **state)
{
	static const char method[] = "!interesting-Method0123456789_*+`.%indeed'~";
	static const char nul[] = "\"BEL:\\\x07 NUL:\\\0 DEL:\\\x7f\"";
	struct sh_slice to;
	struct sh_uri u;

	(void)state;
	accept("rfc4475", "intmeth");
	assert_int_equal(m.method, SH_METHOD_OTHER);
	assert_slice(sh_msg_text(&m, m.method_name), method);
	assert_slice(sh_msg_text(&m, m.cseq_method), method);
	assert_slice(sh_msg_text(&m, m.call_id), "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
	assert_slice(sh_msg_text(&m, m.from_tag), "_token~1'+`*%!-.");
	assert_slice(sh_msg_text(&m, m.via_branch), "z9hG4bK-.!%66*_+`'~");
	to = sh_msg_header(&m, SH_H_TO);
	assert_true(sh_slice_starts(to, SH_LIT(nul)));
	u = uri_of(sh_msg_text(&m, m.uri));
	assert_slice(u.user, "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*");
	assert_slice(u.password, "&it+has=1,weird!*pas$wo~d_too.(doesn't-it)");
	assert_slice(u.host, "example.com");
}

static void escapes_are_kept_and_mean_what_they_say(void **state)
{
	struct sh_name_addr contact;
	struct sh_slice value;
	struct sh_uri to, alias;
	struct sh_arena a;

	(void)state;
	sh_arena_init(&a, 256);
	accept("rfc4475", "esc01");
	assert_slice(uri_of(sh_msg_text(&m, m.uri)).user, "sips%3Auser%40example.com");
	to = uri_of(sh_msg_text(&m, m.to_uri));
	alias = uri_of(SH_LIT("sip:user@example.com"));
	assert_true(sh_uri_equal(&to, &alias));
	value = sh_msg_header(&m, SH_H_CONTACT);
	assert_int_equal(sh_name_addr_next(&value, &contact), 0);
	to = uri_of(contact.uri);
	alias = uri_of(SH_LIT("sip:caller@host5.example.net;lr;name=value%2541"));
	assert_true(sh_uri_equal(&to, &alias));

	accept("rfc4475", "esc02");
	assert_int_equal(m.method, SH_METHOD_OTHER); /* RE%47IST%45R is no REGISTER */
	assert_slice(nth(SH_H_CONTACT, 0), "<sip:alias1@host1.example.com>");
	assert_slice(nth(SH_H_CONTACT, 1), "<sip:alias3@host3.example.com>");
	assert_null(nth(SH_H_CONTACT, 2).base);
	assert_slice(sh_msg_find(&m, SH_LIT("C%6Fntact"), 0), "<sip:alias2@host2.example.com>");

	accept("rfc4475", "escnull");
	to = uri_of(sh_msg_text(&m, m.to_uri));
	assert_slice(to.user, "null-%00-null");
	assert_int_equal(sh_uri_unescape(&a, to.user, &value), 0);
	assert_int_equal(value.len, strlen("null-") + 1 + strlen("-null"));
	assert_memory_equal(value.base, "null-\0-null", value.len);
	value = nth(SH_H_CONTACT, 0);
	assert_int_equal(sh_name_addr_next(&value, &contact), 0);
	to = uri_of(contact.uri);
	value = nth(SH_H_CONTACT, 1);
	assert_int_equal(sh_name_addr_next(&value, &contact), 0);
	alias = uri_of(contact.uri);
	assert_false(sh_uri_equal(&to, &alias));
	sh_arena_finish(&a);
}

static void parameters_belong_to_the_uri_only_inside_of_brackets(void **state)
{
	struct sh_name_addr contact;
	struct sh_slice value;

	(void)state;
	accept("rfc4475", "cparam01");
	value = sh_msg_header(&m, SH_H_CONTACT);
	assert_int_equal(sh_name_addr_next(&value, &contact), 0);
	assert_slice(contact.uri, "sip:+19725552222@gw1.example.net");
	assert_slice(contact.params, "unknownparam");
	accept("rfc4475", "cparam02");
	value = sh_msg_header(&m, SH_H_CONTACT);
	assert_int_equal(sh_name_addr_next(&value, &contact), 0);
	assert_slice(contact.uri, "sip:+19725552222@gw1.example.net;unknownparam");
	assert_slice(contact.params, "");
	accept("rfc4475", "regescrt");
	value = sh_msg_header(&m, SH_H_CONTACT);
	assert_int_equal(sh_name_addr_next(&value, &contact), 0);
	assert_slice(uri_of(contact.uri).headers, "Route=%3Csip:sip.example.com%3E");
	accept("rfc4475", "semiuri");
	assert_slice(uri_of(sh_msg_text(&m, m.uri)).user, "user;par=u%40example.net");
	assert_slice(uri_of(sh_msg_text(&m, m.uri)).params, "");
}

static void the_second_request_of_a_datagram_is_not_seen(void **state)
{
	size_t n = load("rfc4475", "dblreq");

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, n, false, NULL), 0);
	assert_int_equal(m.method, SH_REGISTER);
	assert_int_equal(m.body.len, 0);
	assert_true(m.size < n);
	assert_true(sh_slice_starts(sh_slice_make(text + m.size, n - m.size), SH_LIT("\r\nINVITE ")));
}

static void other_schemes_are_somebody_elses(void **state)
{
	(void)state;
	accept("rfc4475", "unkscm");
	assert_int_equal(uri_of(sh_msg_text(&m, m.uri)).kind, SH_URI_OTHER);
	accept("rfc4475", "novelsc");
	assert_slice(uri_of(sh_msg_text(&m, m.uri)).scheme, "soap.beep");
	accept("rfc4475", "unksm2");
	assert_slice(sh_msg_text(&m, m.to_uri), "isbn:2983792873");
	assert_slice(sh_msg_text(&m, m.from_uri), "http://www.example.com");
}

static void transports_that_we_do_not_speak_are_left_alone_in_via(void **state)
{
	static const char *const hosts[] = {"UDP t1", "SCTP t2", "TLS t3", "UNKNOWN t4", "TCP t5"};

	(void)state;
	accept("rfc4475", "transports");
	for (unsigned i = 0; i < 5; i++) {
		struct sh_slice via = nth(SH_H_VIA, i);

		assert_true(sh_slice_starts(via, SH_LIT("SIP/2.0/")));
		assert_true(sh_slice_starts(sh_slice_make(via.base + 8, via.len - 8), sh_slice_cstr(hosts[i])));
	}
}

static void a_long_message_is_read_whole(void **state)
{
	(void)state;
	accept("rfc4475", "longreq");
	assert_slice(sh_msg_text(&m, m.via_host), "sip33.example.com");
	assert_true(sh_slice_starts(nth(SH_H_VIA, 33), SH_LIT("SIP/2.0/TCP host.example.com;received=192.0.2.5;")));
	assert_null(nth(SH_H_VIA, 34).base);
	assert_int_equal(m.body.len, 150);
	accept("rfc4475", "mpart01");
	assert_int_equal(m.body.len, 553);
	assert_non_null(memchr(m.base + m.body.off, '\0', m.body.len));
}

static void ipv6_addresses_keep_their_brackets(void **state)
{
	struct sh_uri u;

	(void)state;
	accept("rfc5118", "ipv6-good");
	u = uri_of(sh_msg_text(&m, m.uri));
	assert_slice(u.host, "[2001:db8::10]");
	assert_int_equal(u.port, 0);
	assert_slice(sh_msg_text(&m, m.via_host), "[2001:db8::9:1]");
	accept("rfc5118", "port-ambiguous");
	u = uri_of(sh_msg_text(&m, m.uri));
	assert_slice(u.host, "[2001:db8::10:5070]");
	assert_int_equal(u.port, 0);
	accept("rfc5118", "port-unambiguous");
	u = uri_of(sh_msg_text(&m, m.uri));
	assert_slice(u.host, "[2001:db8::10]");
	assert_int_equal(u.port, 5070);
	accept("rfc5118", "via-received-param-with-delim");
	assert_slice(sh_msg_text(&m, m.via_received), "[2001:db8::9:255]");
	accept("rfc5118", "via-received-param-no-delim");
	assert_slice(sh_msg_text(&m, m.via_received), "2001:db8::9:255");
	accept("rfc5118", "ipv4-mapped-ipv6");
	assert_slice(sh_msg_text(&m, m.via_host), "[::ffff:192.0.2.10]");
	assert_int_equal(m.via_port, 19823);
	accept("rfc5118", "ipv6-bug-abnf-3-colons");
	assert_slice(uri_of(sh_msg_text(&m, m.uri)).host, "[2001:db8:::192.0.2.1]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(rfc_4475_is_answered_as_it_asks),
	    cmocka_unit_test(rfc_5118_is_answered_as_it_asks),
	    cmocka_unit_test(rfc_5118_with_its_lengths_put_right_is_accepted),
	    cmocka_unit_test(white_space_and_folds_are_where_the_grammar_lets_them),
	    cmocka_unit_test(every_octet_that_a_token_may_have_is_taken),
	    cmocka_unit_test(escapes_are_kept_and_mean_what_they_say),
	    cmocka_unit_test(parameters_belong_to_the_uri_only_inside_of_brackets),
	    cmocka_unit_test(the_second_request_of_a_datagram_is_not_seen),
	    cmocka_unit_test(other_schemes_are_somebody_elses),
	    cmocka_unit_test(transports_that_we_do_not_speak_are_left_alone_in_via),
	    cmocka_unit_test(a_long_message_is_read_whole),
	    cmocka_unit_test(ipv6_addresses_keep_their_brackets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
