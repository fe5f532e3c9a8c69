/* The scanner: what is accepted, what is refused with which words, and where the typed fields point. */
#include "msg_helpers.h"

#include "core/alloc.h"

struct expectation {
	const char *text;
	int result;
	const char *why; /* NULL for 0 */
};

static void check(const struct expectation *e, size_t n)
{
	static struct sh_msg m;

	for (size_t i = 0; i < n; i++) {
		const char *why = NULL;
		char *copy;
		int result = scan_copy(&m, &copy, e[i].text, strlen(e[i].text), false, &why);

		if (result != e[i].result || (why == NULL) != (e[i].why == NULL) || (why && strcmp(why, e[i].why) != 0))
			fail_msg("case %zu: %d %s instead of %d %s:\n%s", i, result, why ? why : "-", e[i].result,
				 e[i].why ? e[i].why : "-", e[i].text);
		free(copy);
	}
}
#define CHECK(cases) check(cases, sizeof(cases) / sizeof((cases)[0]))

#define WITH(start, via, from, to, call_id, cseq, rest)                                                                \
	start "\r\nVia: " via "\r\nFrom: " from "\r\nTo: " to "\r\nCall-ID: " call_id "\r\nCSeq: " cseq "\r\n" rest    \
	      "\r\n"
#define START "OPTIONS sip:b@x SIP/2.0"
#define VIA   "SIP/2.0/UDP h;branch=z9hG4bK1"
#define FROM  "<sip:a@x>;tag=1"
#define TO    "<sip:b@x>"

static void typed_fields_point_into_the_text(void **state)
{
	static const char text[] = "INVITE sips:bob@example.org;user=phone SIP/2.0\r\n"
				   "v: SIP/2.0/TLS [2001:db8::1]:5061;rport=99;received=192.0.2.9;branch=z9hG4bKq , "
				   "SIP/2.0/UDP second\r\n"
				   "f: \"A. B\" <sip:alice@example.org;x=y>;p=1;tag=from-1\r\n"
				   "t: sip:bob@example.org ; TAG = to-2\r\n"
				   "i: id@host\r\n"
				   "CSeq: 4711 INVITE\r\n"
				   "Max-Forwards: 70\r\n"
				   "Expires: 300\r\n"
				   "m: <sip:alice@192.0.2.1>\r\n"
				   "l: 4\r\n\r\nbodytrailing";
	static struct sh_msg m;
	char *copy;

	(void)state;
	assert_int_equal(scan_copy(&m, &copy, text, sizeof(text) - 1, false, NULL), 0);
	assert_true(m.is_request);
	assert_int_equal(m.method, SH_INVITE);
	assert_slice(sh_msg_text(&m, m.method_name), "INVITE");
	assert_slice(sh_msg_text(&m, m.uri), "sips:bob@example.org;user=phone");
	assert_slice(sh_msg_text(&m, m.via),
		     "SIP/2.0/TLS [2001:db8::1]:5061;rport=99;received=192.0.2.9;branch=z9hG4bKq");
	assert_slice(sh_msg_text(&m, m.via_host), "[2001:db8::1]");
	assert_slice(sh_msg_text(&m, m.via_branch), "z9hG4bKq");
	assert_slice(sh_msg_text(&m, m.via_received), "192.0.2.9");
	assert_slice(sh_msg_text(&m, m.via_rport_span), "rport=99");
	assert_int_equal(m.via_port, 5061);
	assert_int_equal(m.via_rport, 99);
	assert_int_equal(m.via_proto, SH_PROTO_TLS);
	assert_slice(sh_msg_text(&m, m.from_uri), "sip:alice@example.org;x=y");
	assert_slice(sh_msg_text(&m, m.from_tag), "from-1");
	assert_slice(sh_msg_text(&m, m.to_uri), "sip:bob@example.org");
	assert_slice(sh_msg_text(&m, m.to_tag), "to-2");
	assert_slice(sh_msg_text(&m, m.call_id), "id@host");
	assert_slice(sh_msg_text(&m, m.cseq_method), "INVITE");
	assert_int_equal(m.cseq, 4711);
	assert_int_equal(m.max_forwards, 70);
	assert_int_equal(m.expires, 300);
	assert_slice(sh_msg_text(&m, m.body), "body");
	assert_int_equal(m.size, sizeof(text) - 1 - strlen("trailing"));
	free(copy);
}

static void a_response_has_status_reason_and_the_method_of_its_cseq(void **state)
{
	static struct sh_msg m;
	static const char text[] = WITH("sip/2.0 603 Decline it", VIA, FROM, TO ";tag=2", "c", "3 BYE", "");

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	assert_false(m.is_request);
	assert_int_equal(m.status, 603);
	assert_slice(sh_msg_text(&m, m.reason), "Decline it");
	assert_int_equal(m.method, SH_BYE);
	assert_int_equal(m.max_forwards, -1);
	assert_int_equal(m.expires, -1);
}

static void what_peers_do_in_practice_is_accepted(void **state)
{
	static const struct expectation cases[] = {
	    {"\r\n\r\n" WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH("OPTIONS sip:b@x sip/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH("SIP/2.0 200", VIA, FROM, TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH("SIP/2.0 200 ", VIA, FROM, TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH("NEWMETHOD sip:b@x SIP/2.0", VIA, FROM, TO, "c", "1 NEWMETHOD", ""), 0, NULL},
	    {WITH(START, "SIP/2.0/UDP h", "sip:a@x", "sip:b@x", "c", "1 OPTIONS", ""), 0, NULL}, /* RFC 2543 */
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Subject:\r\ns :  \r\nX-Odd : ;;,,\r\n"), 0, NULL},
	    {WITH(START, VIA, FROM, TO, "c", "1\r\n\tOPTIONS", "X: a\r\n b\r\n"), 0, NULL},
	    {WITH(START, VIA, FROM, TO, "c", "2147483647 OPTIONS", ""), 0, NULL},
	    {WITH(START, "SIP/2.0/UDP a_b.example:5060", FROM, TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH(START, VIA, "J. M\xc3\xbcller (x) <sip:a@x>", TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH(START, VIA, "\"a, <b>; \\\"c\" <sip:a@x>", TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Contact: *\r\n"), 0, NULL},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS",
		  "Contact: <sip:a@x>, \"q,\" <sip:b@x>;q=0.1\r\nm: sip:c@x\r\n"),
	     0, NULL},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Max-Forwards: 300\r\nExpires: soon\r\n"), 0, NULL},
	    {WITH("OPTIONS tel:+1-201 SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {WITH("OPTIONS urn:service:sos SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 0, NULL},
	    {"OPTIONS sip:b@x SIP/2.0\nVia: " VIA "\nFrom: " FROM "\nTo: " TO "\nCall-ID: c\nCSeq: 1 OPTIONS\n\n", 0,
	     NULL},
	    {"OPTIONS sip:b@x SIP/2.0\r\nVia: " VIA "\r\nFrom: " FROM "\r\nTo: " TO
	     "\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n",
	     0, NULL}, /* RFC 5118's archive leaves the empty line out */
	};

	(void)state;
	CHECK(cases);
}

static void a_bad_start_line_is_refused(void **state)
{
	static const struct expectation cases[] = {
	    {"", -EBADMSG, "Not SIP"},
	    {"\r\n\r\n", -EBADMSG, "Not SIP"},
	    {"GET / HTTP/1.1\r\n\r\n", -EBADMSG, "Not SIP"},
	    {"OPTIONS sip:b@x\r\n\r\n", -EBADMSG, "Not SIP"},
	    {"OPTIONS  SIP/2.0\r\n\r\n", -EBADMSG, "Not SIP"},
	    {WITH("OPT<IONS sip:b@x SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Not SIP"},
	    {WITH("OPTIONS sip:b@x SIP/2", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Not SIP"},
	    {WITH("OPTIONS sip:b@x SIP/3.1", VIA, FROM, TO, "c", "1 OPTIONS", ""), 505, "Version Not Supported"},
	    {WITH("OPTIONS sip:b@x SIP/2.00", VIA, FROM, TO, "c", "1 OPTIONS", ""), 505, "Version Not Supported"},
	    {WITH("OPTIONS <sip:b@x> SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Request-URI"},
	    {WITH("OPTIONS sip:b@x; lr SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Request-URI"},
	    {WITH("OPTIONS b@x SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Request-URI"},
	    {WITH("OPTIONS sip:@x SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Request-URI"},
	    {WITH("OPTIONS sip:b@x?h=1 SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Request-URI"},
	    {WITH("OPTIONS foo:<b> SIP/2.0", VIA, FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Request-URI"},
	    {WITH("SIP/2.0 99 No", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad status code"},
	    {WITH("SIP/2.0 700 No", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad status code"},
	    {WITH("SIP/2.0 2xx No", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad status code"},
	    {WITH("SIP/2.0 2000 No", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad status code"},
	    {WITH("SIP/2.0 020 No", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad status code"},
	    {WITH("SIP/3.0 200 OK", VIA, FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad version in a response"},
	};

	(void)state;
	CHECK(cases);
}

static void a_refusal_names_the_header_field(void **state)
{
	static const struct expectation cases[] = {
	    {WITH(START, "SIP/2.0/UDP h;;branch=1", FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Via"},
	    {WITH(START, "SIP/2.0/UDP h;branch=", FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Via"},
	    {WITH(START, "SIP/2.0/UDP h:0", FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Via"},
	    {WITH(START, "SIP/2.0/UDP h:65536", FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Via"},
	    {WITH(START, "SIP/2.0/UDP h:5060x", FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Via"},
	    {WITH(START, "SIP/2.0/UDP h;rport=x", FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Via"},
	    {WITH(START, "SIP/2.0/UDP h;received", FROM, TO, "c", "1 OPTIONS", ""), 400, "Bad Via"},
	    {WITH(START, VIA, "\"open <sip:a@x>", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, "<sip:a@x", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, "<sip:a@x>;tag=", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, "<sip:a@x>;tag=1;tag=2", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, "<sip:a@x>;x=\"open", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, "sip:a@x?h=1", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, "<sip:a@x> x", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, "<sip:a@x>;tag=\"1\" x", TO, "c", "1 OPTIONS", ""), 400, "Bad From"},
	    {WITH(START, VIA, FROM, "<sip:a b@x>", "c", "1 OPTIONS", ""), 400, "Bad To"},
	    {WITH(START, VIA, FROM, "<>", "c", "1 OPTIONS", ""), 400, "Bad To"},
	    {WITH(START, VIA, FROM, "\"x\" sip:b@x", "c", "1 OPTIONS", ""), 400, "Bad To"},
	    {WITH(START, VIA, FROM, "<sip:b@x>, <sip:c@x>", "c", "1 OPTIONS", ""), 400, "Several To"},
	    {WITH(START, VIA, FROM, TO, "a b", "1 OPTIONS", ""), 400, "Bad Call-ID"},
	    {WITH(START, VIA, FROM, TO, "a\r\n b", "1 OPTIONS", ""), 400, "Bad Call-ID"},
	    {WITH(START, VIA, FROM, TO, "a\\\x01", "1 OPTIONS", ""), 400, "Bad Call-ID"},
	    {WITH(START, VIA, FROM, TO, "a\x7f", "1 OPTIONS", ""), 400, "Bad Call-ID"},
	    {WITH(START, VIA, FROM, TO, "c", "2147483648 OPTIONS", ""), 400, "Bad CSeq"},
	    {WITH(START, VIA, FROM, TO, "c", "99999999999999999999 OPTIONS", ""), 400, "Bad CSeq"},
	    {WITH(START, VIA, FROM, TO, "c", "1 INVITE", ""), 400, "CSeq method does not match"},
	    {WITH(START, VIA, FROM, TO, "c", "1 options", ""), 400, "CSeq method does not match"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "From: " FROM "\r\n"), 400, "Several From"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "t: " TO "\r\n"), 400, "Several To"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "i: c\r\n"), 400, "Several Call-ID"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "CSeq: 1 OPTIONS\r\n"), 400, "Several CSeq"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Max-Forwards: 1\r\nMax-Forwards: 1\r\n"), 400,
	     "Several Max-Forwards"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Content-Type: a/b\r\nc: a/b\r\n"), 400,
	     "Several Content-Type"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Content-Length: 0\r\nl: 0\r\n"), 400,
	     "Several Content-Length"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Max-Forwards: many\r\n"), 400, "Bad Max-Forwards"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Max-Forwards:\r\n"), 400, "Bad Max-Forwards"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Contact: \"open <sip:a@x>\r\n"), 400, "Bad Contact"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Contact: <sip:a@x>;;\r\n"), 400, "Bad Contact"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Route: <sip:a@x\r\n"), 400, "Bad Route"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "Record-Route: *\r\n"), 400, "Bad Record-Route"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "no colon here\r\n"), 400, "Bad header field"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", ": no name\r\n"), 400, "Bad header field"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "X: a\rY: b\r\n"), 400,
	     "Control character in a header field"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "X: a\\\rY: b\r\n"), 400,
	     "Control character in a header field"},
	    {WITH(START, VIA, FROM, TO, "c", "1 OPTIONS", "X: a\x01\r\n"), 400, "Control character in a header field"},
	    {REQUEST_HEAD "X: cut", 400, "No end of the header section"},
	};

	(void)state;
	CHECK(cases);
}

static void what_cannot_be_answered_is_dropped(void **state)
{
	static const struct expectation cases[] = {
	    {"OPTIONS sip:b@x SIP/2.0\r\n\r\n", -EBADMSG, "Missing Via"},
	    {"OPTIONS sip:b@x SIP/2.0\r\nVia: " VIA "\r\nTo: " TO "\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n", -EBADMSG,
	     "Missing From"},
	    {WITH(START, "", FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad Via"},
	    {WITH(START, "SIP/2.0 h", FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad Via"},
	    {WITH(START, "SIP/2.0/UDP [::1", FROM, TO, "c", "1 OPTIONS", ""), -EBADMSG, "Bad Via"},
	    {WITH(START, VIA, "", TO, "c", "1 OPTIONS", ""), -EBADMSG, "Missing From"},
	    {WITH(START, VIA, FROM, "", "c", "1 OPTIONS", ""), -EBADMSG, "Missing To"},
	    {WITH(START, VIA, FROM, TO, "", "1 OPTIONS", ""), -EBADMSG, "Missing Call-ID"},
	    {WITH(START, VIA, FROM, TO, "c", "OPTIONS", ""), -EBADMSG, "Bad CSeq"},
	    {WITH(START, VIA, FROM, TO, "c", "1", ""), -EBADMSG, "Bad CSeq"},
	    {WITH("SIP/2.0 200 OK", VIA, FROM, TO, "c", "1 OPTIONS", "To: " TO "\r\n"), -EBADMSG, "Several To"},
	    {WITH("ACK sip:b@x SIP/2.0", VIA, FROM, TO, "c", "1 ACK", "To: " TO "\r\n"), -EBADMSG, "Several To"},
	};

	(void)state;
	CHECK(cases);
}

static void content_length_traps_are_refused(void **state)
{
	static const struct expectation cases[] = {
	    {REQUEST("Content-Length: -5\r\n") "12345", 400, "Bad Content-Length"},
	    {REQUEST("Content-Length: abc\r\n") "12345", 400, "Bad Content-Length"},
	    {REQUEST("Content-Length:\r\n") "12345", 400, "Bad Content-Length"},
	    {REQUEST("Content-Length: +5\r\n") "12345", 400, "Bad Content-Length"},
	    {REQUEST("Content-Length: 5 5\r\n") "12345", 400, "Bad Content-Length"},
	    {REQUEST("Content-Length: 4294967301\r\n") "12345", 400, "Content-Length larger than the message"},
	    {REQUEST("Content-Length: 18446744073709551621\r\n") "12345", 400,
	     "Content-Length larger than the message"},
	    {REQUEST("Content-Length: 6\r\n") "12345", 400, "Content-Length larger than the message"},
	    {REQUEST("Content-Length: 3\r\nContent-Length: 5\r\n") "12345", 400, "Several Content-Length"},
	    {REQUEST("Content-Length: 00005\r\n") "12345", 0, NULL},
	    {REQUEST("Content-Length: 4\r\n") "12345", 0, NULL},
	    {REQUEST("") "12345", 0, NULL},
	};
	static const char no_length[] = REQUEST("");
	static struct sh_msg m;
	const char *why = NULL;

	(void)state;
	CHECK(cases);
	assert_int_equal(sh_msg_scan(&m, no_length, sizeof(no_length) - 1, true, &why), 400);
	assert_string_equal(why, "Missing Content-Length");
}

static void a_body_may_hold_anything(void **state)
{
	static const char text[] = REQUEST("Content-Length: 6\r\n") "\0\r\n\r\n\x01";
	static struct sh_msg m;

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, true, NULL), 0);
	assert_int_equal(m.body.len, 6);
	assert_memory_equal(m.base + m.body.off, "\0\r\n\r\n\x01", 6);
}

static void an_escaped_nul_in_a_quoted_string_is_text(void **state)
{
	static const char text[] = WITH(START, VIA, "\"a\\\0b\" <sip:%00@x>;tag=1", TO, "c", "1 OPTIONS", "");
	static const char bare[] = WITH(START, VIA, "\"a\0b\" <sip:a@x>;tag=1", TO, "c", "1 OPTIONS", "");
	static struct sh_msg m;
	const char *why = NULL;

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	assert_int_equal(sh_msg_header(&m, SH_H_FROM).len, sizeof("\"a\\0b\" <sip:%00@x>;tag=1") - 1);
	assert_slice(sh_msg_text(&m, m.from_uri), "sip:%00@x");
	assert_int_equal(sh_msg_scan(&m, bare, sizeof(bare) - 1, false, &why), 400);
	assert_string_equal(why, "Control character in a header field");
}

static void scalars_out_of_range_have_their_defaults(void **state)
{
	static const char text[] = REQUEST("Max-Forwards: 256\r\nExpires: 99999999999999999999\r\n");
	static const char other[] = REQUEST("Max-Forwards: 0255\r\nExpires: never\r\nExpires: 5\r\n");
	static struct sh_msg m;

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	assert_int_equal(m.max_forwards, -1);
	assert_int_equal(m.expires, INT32_MAX);
	assert_int_equal(sh_msg_scan(&m, other, sizeof(other) - 1, false, NULL), 0);
	assert_int_equal(m.max_forwards, 255);
	assert_int_equal(m.expires, -1);
}

static void fields_are_found_by_id_by_name_and_in_order(void **state)
{
	static const char text[] = REQUEST("Supported: timer\r\nX-A: 1\r\nk:\r\nx-a: 2\r\nSupported: Path, 100rel\r\n"
					   "Contact: <sip:one>\r\nm: <sip:two>\r\n");
	static struct sh_msg m;

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	assert_slice(sh_msg_header(&m, SH_H_SUPPORTED), "timer");
	assert_null(sh_msg_header(&m, SH_H_REQUIRE).base);
	assert_non_null(sh_msg_find(&m, SH_LIT("supported"), 1).base);
	assert_int_equal(sh_msg_find(&m, SH_LIT("supported"), 1).len, 0);
	assert_slice(sh_msg_find(&m, SH_LIT("K"), 2), "Path, 100rel");
	assert_null(sh_msg_find(&m, SH_LIT("Supported"), 3).base);
	assert_slice(sh_msg_find(&m, SH_LIT("x-A"), 0), "1");
	assert_slice(sh_msg_find(&m, SH_LIT("x-A"), 1), "2");
	assert_null(sh_msg_find(&m, SH_LIT("x-A"), 2).base);
	assert_null(sh_msg_find(&m, SH_LIT("x-B"), 0).base);
	assert_slice(sh_msg_find(&m, SH_LIT("Contact"), 1), "<sip:two>");
	assert_true(sh_msg_has_token(&m, SH_H_SUPPORTED, SH_LIT("100REL")));
	assert_true(sh_msg_has_token(&m, SH_H_SUPPORTED, SH_LIT("timer")));
	assert_false(sh_msg_has_token(&m, SH_H_SUPPORTED, SH_LIT("100re")));
}

static void too_many_header_fields_are_refused_but_answered(void **state)
{
	static struct sh_msg m;
	static char text[8192];
	size_t n = sizeof(REQUEST_HEAD) - 1;
	const char *why = NULL;

	(void)state;
	memcpy(text, REQUEST_HEAD, n);
	for (int i = 5; i < SH_MSG_MAX_HEADERS; i++, n += 4)
		memcpy(text + n, "a:\r\n", 4);
	memcpy(text + n, "\r\n", 2);
	assert_int_equal(sh_msg_scan(&m, text, n + 2, false, &why), 0);
	assert_int_equal(m.nheaders, SH_MSG_MAX_HEADERS);
	memcpy(text + n, "a:\r\n\r\n", 6);
	assert_int_equal(sh_msg_scan(&m, text, n + 6, false, &why), 400);
	assert_string_equal(why, "Too many header fields");
}

static void size_is_limited_to_what_offsets_can_say(void **state)
{
	static struct sh_msg m;
	char *text = malloc(SH_MSG_MAX_SIZE + 1);
	const char *why = NULL;

	(void)state;
	assert_non_null(text);
	memset(text, 'b', SH_MSG_MAX_SIZE + 1);
	memcpy(text, REQUEST(""), sizeof(REQUEST("")) - 1);
	assert_int_equal(sh_msg_scan(&m, text, SH_MSG_MAX_SIZE, false, NULL), 0);
	assert_int_equal(m.size, SH_MSG_MAX_SIZE);
	assert_int_equal(m.body.off + m.body.len, SH_MSG_MAX_SIZE);
	assert_int_equal(sh_msg_scan(&m, text, SH_MSG_MAX_SIZE + 1, false, &why), -EBADMSG);
	assert_string_equal(why, "Message too long");
	free(text);
}

static void every_cut_of_a_message_is_safe(void **state)
{
	static const char text[] = WITH(START, VIA ";rport, SIP/2.0/TCP x", "\"q\" <sip:a@x>;tag=1", TO, "c",
					"1 OPTIONS", "Contact: <sip:a@x>;q=1\r\n ,<sip:b@x>\r\nl: 3\r\n") "abc";
	static struct sh_msg m;

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy;
		int result = scan_copy(&m, &copy, text, n, false, NULL);

		assert_true(result == 0 || result == 400 || result == -EBADMSG);
		assert_true(m.size <= n);
		free(copy);
	}
}

static void a_clone_is_equal_and_independent(void **state)
{
	static const char text[] = REQUEST("X-A: 1\r\nContent-Length: 4\r\n") "body-and-more";
	static struct sh_msg m;
	struct sh_msg *clone;
	char *copy;

	(void)state;
	assert_int_equal(scan_copy(&m, &copy, text, sizeof(text) - 1, false, NULL), 0);
	clone = sh_msg_clone(&m);
	assert_non_null(clone);
	memset(copy, '#', sizeof(text) - 1);
	free(copy);
	assert_int_equal(clone->size, sizeof(text) - 1 - strlen("-and-more"));
	assert_memory_equal(clone->base, text, clone->size);
	assert_slice(sh_msg_text(clone, clone->body), "body");
	assert_slice(sh_msg_find(clone, SH_LIT("X-A"), 0), "1");
	assert_slice(sh_msg_text(clone, clone->from_tag), "a1");
	sh_free(clone);
}

static void out_of_memory_is_an_answer(void **state)
{
	static const char text[] = REQUEST("Subject: a\r\n b\r\n");
	static struct sh_msg m;
	struct sh_arena a;
	struct sh_slice out = {NULL, 7};

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, true, NULL), 400);
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	sh_arena_init(&a, 256);
	sh_alloc_fail_after(0);
	assert_null(sh_msg_clone(&m));
	assert_int_equal(sh_msg_unfold(&a, sh_msg_header(&m, SH_H_SUBJECT), &out), -ENOMEM);
	assert_int_equal(out.len, 7);
	sh_alloc_fail_after(-1);
	assert_int_equal(sh_msg_unfold(&a, sh_msg_header(&m, SH_H_SUBJECT), &out), 0);
	assert_slice(out, "a b");
	sh_arena_finish(&a);
}

static void scanning_allocates_nothing(void **state)
{
	static const char text[] = REQUEST("Contact: <sip:a@x>\r\nX: y\r\n");
	static struct sh_msg m;

	(void)state;
	sh_alloc_fail_after(-1);
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	assert_int_equal(sh_alloc_count(), 0);
}

static void a_stream_needs_what_a_datagram_may_leave_out(void **state)
{
	static const char exact[] = REQUEST("l: 4\r\n") "body";
	static const char shorter[] = REQUEST("l: 5\r\n") "body";
	static const char longer[] = REQUEST("l: 3\r\n") "body";
	static const char no_end[] = REQUEST_HEAD "l: 0\r\n";
	static struct sh_msg m;
	const char *why = NULL;

	(void)state;
	for (int stream = 0; stream < 2; stream++) {
		assert_int_equal(sh_msg_scan(&m, exact, sizeof(exact) - 1, stream, NULL), 0);
		assert_int_equal(m.size, sizeof(exact) - 1);
		assert_int_equal(sh_msg_scan(&m, shorter, sizeof(shorter) - 1, stream, &why), 400);
		assert_string_equal(why, "Content-Length larger than the message");
		assert_int_equal(sh_msg_scan(&m, longer, sizeof(longer) - 1, stream, NULL), 0);
		assert_int_equal(m.body.len, 3);
		assert_int_equal(m.size, sizeof(longer) - 2);
	}
	assert_int_equal(sh_msg_scan(&m, no_end, sizeof(no_end) - 1, false, NULL), 0);
	assert_int_equal(sh_msg_scan(&m, no_end, sizeof(no_end) - 1, true, &why), 400);
	assert_string_equal(why, "No end of the header section");
}

static void every_compact_form_is_the_long_one(void **state)
{
	static struct sh_msg m;
	char text[sizeof(REQUEST_HEAD) + 64];

	(void)state;
	for (unsigned id = 1; id < SH_H_COUNT; id++) {
		char letter = sh_header_compact((enum sh_header_id)id);
		bool in_head = id == SH_H_VIA || id == SH_H_FROM || id == SH_H_TO || id == SH_H_CALL_ID;
		int n;

		if (!letter || in_head)
			continue;
		n = snprintf(text, sizeof(text), REQUEST_HEAD "%c \t: %s\r\n\r\n", letter,
			     id == SH_H_CONTENT_LENGTH ? "0" : "<sip:x>");
		assert_int_equal(sh_msg_scan(&m, text, (size_t)n, false, NULL), 0);
		assert_int_equal(m.headers[m.nheaders - 1].id, id);
		assert_int_equal(m.first[id], m.nheaders);
	}
}

static void folds_become_single_spaces(void **state)
{
	struct sh_arena a;
	struct sh_slice out;
	const struct sh_slice plain = SH_LIT("a  b\tc");

	(void)state;
	sh_arena_init(&a, 256);
	assert_int_equal(sh_msg_unfold(&a, plain, &out), 0);
	assert_ptr_equal(out.base, plain.base);
	assert_int_equal(sh_msg_unfold(&a, SH_LIT("a  b \r\n\t c\n d\r\n \r\n e"), &out), 0);
	assert_slice(out, "a  b c d e");
	sh_arena_finish(&a);
}

static void the_header_table_is_sorted_and_every_name_is_found(void **state)
{
	char text[64];

	(void)state;
	for (unsigned i = 1; i < SH_H_COUNT; i++) {
		struct sh_slice name = sh_header_name((enum sh_header_id)i);
		char letter = sh_header_compact((enum sh_header_id)i);

		if (i > 1)
			assert_true(sh_slice_icmp(sh_header_name((enum sh_header_id)(i - 1)), name) < 0);
		assert_int_equal(sh_header_lookup(name), i);
		for (size_t k = 0; k < name.len; k++)
			text[k] = (char)(name.base[k] ^ (name.base[k] >= 'A' ? 0x20 : 0));
		assert_int_equal(sh_header_lookup(sh_slice_make(text, name.len)), i);
		text[name.len - 1] = '!';
		assert_int_equal(sh_header_lookup(sh_slice_make(text, name.len)), SH_H_OTHER);
		if (letter) {
			assert_int_equal(sh_header_lookup(sh_slice_make(&letter, 1)), i);
			letter = (char)(letter & ~0x20);
			assert_int_equal(sh_header_lookup(sh_slice_make(&letter, 1)), i);
		}
	}
	assert_int_equal(sh_header_lookup(SH_LIT("")), SH_H_OTHER);
	assert_int_equal(sh_header_lookup(SH_LIT("z")), SH_H_OTHER);
	assert_int_equal(sh_header_lookup(SH_LIT("\xc3\xa4")), SH_H_OTHER);
}

static void methods_are_case_sensitive(void **state)
{
	(void)state;
	for (unsigned i = 1; i < SH_METHOD_COUNT; i++)
		assert_int_equal(sh_method_lookup(sh_method_name((enum sh_method)i)), i);
	assert_int_equal(sh_method_lookup(SH_LIT("invite")), SH_METHOD_OTHER);
	assert_int_equal(sh_method_lookup(SH_LIT("")), SH_METHOD_OTHER);
	assert_slice(sh_status_reason(480), "Temporarily Unavailable");
	assert_slice(sh_status_reason(100), "Trying");
	assert_slice(sh_status_reason(608), "Rejected");
	assert_slice(sh_status_reason(299), "Unknown");
}

static void transports_have_two_spellings(void **state)
{
	(void)state;
	assert_int_equal(sh_proto_lookup(SH_LIT("wSs")), SH_PROTO_WSS);
	assert_int_equal(sh_proto_lookup(SH_LIT("SCTP")), SH_PROTO_OTHER);
	assert_slice(sh_proto_via(SH_PROTO_TLS), "TLS");
	assert_slice(sh_proto_param(SH_PROTO_TLS), "tls");
	assert_slice(sh_proto_via(SH_PROTO_OTHER), "");
	assert_false(sh_proto_reliable(SH_PROTO_UDP));
	assert_true(sh_proto_reliable(SH_PROTO_WS));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(typed_fields_point_into_the_text),
	    cmocka_unit_test(a_response_has_status_reason_and_the_method_of_its_cseq),
	    cmocka_unit_test(what_peers_do_in_practice_is_accepted),
	    cmocka_unit_test(a_bad_start_line_is_refused),
	    cmocka_unit_test(a_refusal_names_the_header_field),
	    cmocka_unit_test(what_cannot_be_answered_is_dropped),
	    cmocka_unit_test(content_length_traps_are_refused),
	    cmocka_unit_test(a_body_may_hold_anything),
	    cmocka_unit_test(an_escaped_nul_in_a_quoted_string_is_text),
	    cmocka_unit_test(scalars_out_of_range_have_their_defaults),
	    cmocka_unit_test(fields_are_found_by_id_by_name_and_in_order),
	    cmocka_unit_test(too_many_header_fields_are_refused_but_answered),
	    cmocka_unit_test(size_is_limited_to_what_offsets_can_say),
	    cmocka_unit_test(every_cut_of_a_message_is_safe),
	    cmocka_unit_test(a_clone_is_equal_and_independent),
	    cmocka_unit_test(out_of_memory_is_an_answer),
	    cmocka_unit_test(scanning_allocates_nothing),
	    cmocka_unit_test(a_stream_needs_what_a_datagram_may_leave_out),
	    cmocka_unit_test(every_compact_form_is_the_long_one),
	    cmocka_unit_test(folds_become_single_spaces),
	    cmocka_unit_test(the_header_table_is_sorted_and_every_name_is_found),
	    cmocka_unit_test(methods_are_case_sensitive),
	    cmocka_unit_test(transports_have_two_spellings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
