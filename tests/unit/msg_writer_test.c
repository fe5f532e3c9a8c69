/* The writer: what it puts on the wire, and that nothing put into a value can become more than a value. */
#include "msg_helpers.h"

#include "msg/writer.h"

static char buf[4096];
static struct sh_writer w;
static struct sh_msg m;

static void start(void)
{
	sh_writer_init(&w, buf, sizeof(buf));
}

#define assert_written(text) assert_slice(sh_writer_text(&w), text)

static struct sh_addr addr(const char *host, uint16_t port)
{
	struct sh_addr a;

	assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(host), port), 0);
	return a;
}

static void numbers_addresses_and_lines(void **state)
{
	struct sh_addr v6 = addr("2001:db8::1", 5061);

	(void)state;
	start();
	sh_put_uint(&w, 0);
	sh_put_char(&w, ' ');
	sh_put_uint(&w, UINT64_MAX);
	sh_put_char(&w, ' ');
	sh_put_addr(&w, &v6);
	assert_written("0 18446744073709551615 [2001:db8::1]:5061");
	start();
	sh_put_request_line(&w, SH_LIT("INVITE"), SH_LIT("sip:x"));
	sh_put_status_line(&w, 486, SH_LIT(""));
	sh_put_status_line(&w, 486, SH_LIT("Not\r\nnow\0\x7f!"));
	sh_put_status_line(&w, 499, (struct sh_slice){NULL, 0});
	sh_put_header(&w, SH_H_CALL_ID, SH_LIT("c"));
	sh_put_header_named(&w, SH_LIT("X-Y"), (struct sh_slice){NULL, 0});
	sh_put_header_uint(&w, SH_H_MAX_FORWARDS, 70);
	assert_written("INVITE sip:x SIP/2.0\r\n"
		       "SIP/2.0 486 Busy Here\r\n"
		       "SIP/2.0 486 Not  now  !\r\n"
		       "SIP/2.0 499 Unknown\r\n"
		       "Call-ID: c\r\n"
		       "X-Y: \r\n"
		       "Max-Forwards: 70\r\n");
	assert_false(w.full);
}

static void a_value_stays_on_its_line(void **state)
{
	(void)state;
	start();
	sh_put_header(&w, SH_H_SUBJECT, SH_LIT("a\r\nVia: evil"));
	sh_put_header(&w, SH_H_SUBJECT, SH_LIT("b\n\r\n \tc\rd\n"));
	assert_written("Subject: a Via: evil\r\nSubject: b c d \r\n");
}

static void copies_have_long_names_and_the_same_order(void **state)
{
	static const char text[] = REQUEST("m: <sip:a>\r\nX: y\r\nContact: <sip:b>,\r\n <sip:c>\r\nM:<sip:d>\r\n");

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	start();
	sh_put_copy(&w, &m, SH_H_CONTACT);
	sh_put_copy(&w, &m, SH_H_ROUTE);
	assert_written("Contact: <sip:a>\r\nContact: <sip:b>, <sip:c>\r\nContact: <sip:d>\r\n");
}

static void a_body_has_its_length_and_type(void **state)
{
	(void)state;
	start();
	sh_put_body(&w, SH_LIT("application/sdp"), SH_LIT("v=0\r\n"));
	assert_written("Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n");
	start();
	sh_put_body(&w, SH_LIT("application/sdp"), SH_LIT(""));
	assert_written("Content-Length: 0\r\n\r\n");
	start();
	sh_put_body(&w, SH_LIT(""), SH_LIT("x"));
	assert_written("Content-Length: 1\r\n\r\nx");
}

/* The topmost Via of the response to a request with that Via field, received from that address. */
static void check_via(const char *via, const char *host, uint16_t port, const char *want)
{
	struct sh_addr source = addr(host, port);
	char text[1024], expected[1024];
	int n = snprintf(text, sizeof(text),
			 "OPTIONS sip:b SIP/2.0\r\nVia: %s\r\nVia: SIP/2.0/TCP other;rport\r\nFrom: <sip:a>;tag=1\r\n"
			 "t: <sip:b>\r\ni: c\r\nCSeq:  1\t OPTIONS\r\nTimestamp: 54\r\n\r\n",
			 via);

	assert_int_equal(sh_msg_scan(&m, text, (size_t)n, false, NULL), 0);
	start();
	sh_put_response_head(&w, &m, &source, 200, SH_LIT(""), SH_LIT("new"));
	snprintf(expected, sizeof(expected),
		 "SIP/2.0 200 OK\r\nVia: %s\r\nVia: SIP/2.0/TCP other;rport\r\nFrom: <sip:a>;tag=1\r\n"
		 "To: <sip:b>;tag=new\r\nCall-ID: c\r\nCSeq: 1\t OPTIONS\r\n",
		 want);
	assert_written(expected);
	assert_false(w.full);
}

static void received_and_rport_are_filled_in(void **state)
{
	(void)state;
	/* RFC 3261 18.2.1: only when sent-by is a name or another address */
	check_via("SIP/2.0/UDP 192.0.2.1", "192.0.2.1", 5060, "SIP/2.0/UDP 192.0.2.1");
	check_via("SIP/2.0/UDP 192.0.2.1:9;branch=x", "192.0.2.1", 5060, "SIP/2.0/UDP 192.0.2.1:9;branch=x");
	check_via("SIP/2.0/UDP 192.0.2.1;branch=x", "192.0.2.2", 5060,
		  "SIP/2.0/UDP 192.0.2.1;branch=x;received=192.0.2.2");
	check_via("SIP/2.0/UDP host", "192.0.2.2", 5060, "SIP/2.0/UDP host;received=192.0.2.2");
	check_via("SIP/2.0/UDP [2001:DB8::0:1]:5060", "2001:db8::1", 5060, "SIP/2.0/UDP [2001:DB8::0:1]:5060");
	check_via("SIP/2.0/UDP [2001:db8::1]", "2001:db8::2", 5060, "SIP/2.0/UDP [2001:db8::1];received=2001:db8::2");
	/* RFC 3581 4: with rport always, and both */
	check_via("SIP/2.0/UDP 192.0.2.1;rport;branch=x", "192.0.2.1", 65535,
		  "SIP/2.0/UDP 192.0.2.1;rport=65535;branch=x;received=192.0.2.1");
	check_via("SIP/2.0/UDP h ; RPort ;branch=x", "192.0.2.1", 9,
		  "SIP/2.0/UDP h ; rport=9 ;branch=x;received=192.0.2.1");
	/* What the sender claimed about itself is replaced. */
	check_via("SIP/2.0/UDP h;received=10.0.0.1;x=y;rport=1", "192.0.2.1", 9,
		  "SIP/2.0/UDP h;received=192.0.2.1;x=y;rport=9");
	check_via("SIP/2.0/UDP h;rport=1;x=y;received=[::1]", "2001:db8::1", 9,
		  "SIP/2.0/UDP h;rport=9;x=y;received=2001:db8::1");
	check_via("SIP/2.0/UDP 192.0.2.1;received=10.0.0.1", "192.0.2.1", 9,
		  "SIP/2.0/UDP 192.0.2.1;received=192.0.2.1");
	/* Only the topmost element; folds come out as spaces. */
	check_via("SIP/2.0/UDP h;branch=x , SIP/2.0/UDP g;rport", "192.0.2.1", 9,
		  "SIP/2.0/UDP h;branch=x;received=192.0.2.1 , SIP/2.0/UDP g;rport");
	check_via("SIP/2.0/UDP\r\n h\r\n ;rport\r\n ,SIP/2.0/UDP g", "192.0.2.1", 9,
		  "SIP/2.0/UDP h ;rport=9;received=192.0.2.1 ,SIP/2.0/UDP g");
}

static void a_tag_is_added_only_where_none_is(void **state)
{
	static const char text[] = "SIP-METHOD sip:b SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.1\r\nf: <sip:a>\r\n"
				   "To: sip:b;x=y;tag=old\r\ni: c\r\nCSeq: 1 SIP-METHOD\r\n\r\n";
	struct sh_addr source = addr("192.0.2.1", 1);

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	start();
	sh_put_response_head(&w, &m, &source, 481, SH_LIT("Gone"), SH_LIT("new"));
	assert_written("SIP/2.0 481 Gone\r\nVia: SIP/2.0/UDP 192.0.2.1\r\nFrom: <sip:a>\r\nTo: sip:b;x=y;tag=old\r\n"
		       "Call-ID: c\r\nCSeq: 1 SIP-METHOD\r\n");
}

static void timestamp_is_copied_into_100_only(void **state)
{
	static const char text[] = REQUEST("Timestamp: 54.2\r\nRecord-Route: <sip:p;lr>\r\n");
	struct sh_addr source = addr("192.0.2.1", 5060);

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	for (unsigned code = 100; code < 700; code += 80) {
		start();
		sh_put_response_head(&w, &m, &source, code, SH_LIT(""), SH_LIT(""));
		sh_put_lit(&w, "\r\n");
		buf[w.len] = '\0';
		assert_int_equal(strstr(buf, "Timestamp: 54.2\r\n") != NULL, code == 100);
		assert_null(strstr(buf, "Record-Route"));
		assert_non_null(strstr(buf, "To: <sip:bob@example.org>\r\n"));
	}
}

static void a_request_that_is_refused_can_be_answered(void **state)
{
	static const char *const refused[] = {
	    "OPTIONS sip:b SIP/2.0\r\nVia: SIP/2.0/UDP h;;\r\nFrom: \"<sip:a>\r\nTo: <sip:b\r\nCall-ID: a b\r\n"
	    "CSeq: 9999999999 OPTIONS\r\n\r\n",
	    "OPTIONS sip:b SIP/7.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a>\r\nTo: <sip:b>\r\nCall-ID: a\r\nCSeq: 1 "
	    "OPTIONS\r\n\r\n",
	};
	struct sh_addr source = addr("192.0.2.1", 5060);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		static struct sh_msg response;
		int code = sh_msg_scan(&m, refused[i], strlen(refused[i]), false, NULL);

		assert_true(code > 0);
		start();
		sh_put_response_head(&w, &m, &source, (unsigned)code, SH_LIT(""), SH_LIT("t"));
		sh_put_body(&w, SH_LIT(""), SH_LIT(""));
		assert_false(w.full);
		assert_true(sh_slice_starts(sh_writer_text(&w), SH_LIT("SIP/2.0 ")));
		sh_msg_scan(&response, w.base, w.len, true, NULL);
		assert_int_equal(response.status, code);
		assert_int_equal(response.nheaders, 6);
	}
}

static void our_own_responses_can_be_scanned(void **state)
{
	static const char text[] = REQUEST("Timestamp: 1\r\n");
	struct sh_addr source = addr("2001:db8::7", 40000);
	static struct sh_msg response;

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	start();
	sh_put_response_head(&w, &m, &source, 200, SH_LIT(""), SH_LIT("t2"));
	sh_put_body(&w, SH_LIT("text/plain"), SH_LIT("hi"));
	assert_int_equal(sh_msg_scan(&response, w.base, w.len, true, NULL), 0);
	assert_int_equal(response.via_rport, 40000);
	assert_slice(sh_msg_text(&response, response.via_received), "2001:db8::7");
	assert_slice(sh_msg_text(&response, response.to_tag), "t2");
	assert_slice(sh_msg_text(&response, response.body), "hi");
}

static void overflow_sticks_and_writes_nothing_behind_the_end(void **state)
{
	static const char text[] = REQUEST("Timestamp: 1\r\n");
	struct sh_addr source = addr("192.0.2.9", 9);
	size_t whole;

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, sizeof(text) - 1, false, NULL), 0);
	start();
	sh_put_response_head(&w, &m, &source, 100, SH_LIT(""), SH_LIT(""));
	sh_put_body(&w, SH_LIT("a/b"), SH_LIT("body"));
	whole = w.len;
	for (size_t cap = 0; cap <= whole; cap++) {
		char *exact = malloc(cap ? cap : 1);

		assert_non_null(exact);
		sh_writer_init(&w, exact, cap);
		sh_put_response_head(&w, &m, &source, 100, SH_LIT(""), SH_LIT(""));
		sh_put_body(&w, SH_LIT("a/b"), SH_LIT("body"));
		assert_int_equal(w.full, cap < whole);
		assert_true(w.len <= cap);
		sh_put(&w, SH_LIT(""));
		assert_int_equal(w.full, cap < whole);
		sh_put_char(&w, 'x');
		sh_put_char(&w, 'x');
		free(exact);
	}
	sh_writer_init(&w, NULL, 0);
	sh_put_char(&w, 'x');
	sh_put(&w, (struct sh_slice){NULL, 0});
	assert_true(w.full);
	assert_int_equal(w.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_addresses_and_lines),
	    cmocka_unit_test(a_value_stays_on_its_line),
	    cmocka_unit_test(copies_have_long_names_and_the_same_order),
	    cmocka_unit_test(a_body_has_its_length_and_type),
	    cmocka_unit_test(received_and_rport_are_filled_in),
	    cmocka_unit_test(a_tag_is_added_only_where_none_is),
	    cmocka_unit_test(timestamp_is_copied_into_100_only),
	    cmocka_unit_test(a_request_that_is_refused_can_be_answered),
	    cmocka_unit_test(our_own_responses_can_be_scanned),
	    cmocka_unit_test(overflow_sticks_and_writes_nothing_behind_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
