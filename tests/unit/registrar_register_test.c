/* REGISTER as RFC 3261 10.3 and RFC 3327 want it, from message texts to header texts. */
#include "registrar_helpers.h"

#include <time.h>

#include "registrar/register.h"

#define DATE "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
#define BOB  "Contact: <sip:bob@192.0.2.4>"

static struct diary diary;
static struct sh_location *location;
static struct sh_arena arena;
static struct sh_register_options options;
static struct sh_register_result result;
static uint64_t now;
static char headers[65536];

static int set_up(void **state)
{
	(void)state;
	memset(&diary, 0, sizeof(diary));
	location = new_location(&diary);
	sh_arena_init(&arena, 1024);
	options = (struct sh_register_options){0};
	now = NOW;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	sh_location_destroy(location);
	sh_arena_finish(&arena);
	return 0;
}

/* Processes a whole message; the header fields of the answer are in `headers` then. */
static int process(const char *text, size_t len)
{
	static struct sh_slice names[] = {{"example.org", 11}, {"sip.example.org", 15}};
	const struct sh_domains domains = {names, 2, NULL};
	const struct sh_path from = {.proto = SH_PROTO_TCP, .flow = 77, .remote = {.family = 4, .port = 5060}};
	struct sh_writer w;
	struct sh_msg m;
	char *copy;
	int err;

	assert_int_equal(scan_copy(&m, &copy, text, len, false, NULL), 0);
	err = sh_register_process(location, &arena, &m, &from, &domains, &options, now, &result);
	sh_writer_init(&w, headers, sizeof(headers) - 1);
	sh_register_put_headers(&w, &result, now);
	assert_false(w.full);
	headers[w.len] = '\0';
	sh_bindings_unref(result.bindings);
	free(copy);
	return err;
}

/* A REGISTER with these further header fields (each with its CRLF); the answer's code. */
static unsigned send_as(const char *via, const char *to, const char *call_id, unsigned cseq, const char *more)
{
	static char text[65536];
	int n = snprintf(text, sizeof(text),
			 "REGISTER sip:example.org SIP/2.0\r\n"
			 "Via: SIP/2.0/UDP 192.0.2.4:5060;branch=z9hG4bKnashds7\r\n%s"
			 "Max-Forwards: 70\r\n"
			 "From: Bob <sip:bob@example.org>;tag=456248\r\n"
			 "To: %s\r\n"
			 "Call-ID: %s\r\n"
			 "CSeq: %u REGISTER\r\n"
			 "%s"
			 "Content-Length: 0\r\n\r\n",
			 via, to, call_id, cseq, more);

	assert_in_range(n, 1, sizeof(text) - 1);
	sh_arena_reset(&arena);
	assert_int_equal(process(text, (size_t)n), 0);
	return result.code;
}

static unsigned send_reg(unsigned cseq, const char *more)
{
	return send_as("", "Bob <sip:bob@example.org>", "843817637684230@998sdasdh09", cseq, more);
}

static void the_example_of_the_rfc_is_bound(void **state)
{
	static const char text[] = "REGISTER sip:registrar.biloxi.com SIP/2.0\r\n"
				   "Via: SIP/2.0/UDP bobspc.biloxi.com:5060;branch=z9hG4bKnashds7\r\n"
				   "Max-Forwards: 70\r\n"
				   "To: Bob <sip:bob@biloxi.com>\r\n"
				   "From: Bob <sip:bob@biloxi.com>;tag=456248\r\n"
				   "Call-ID: 843817637684230@998sdasdh09\r\n"
				   "CSeq: 1826 REGISTER\r\n"
				   "Contact: <sip:bob@192.0.2.4>\r\n"
				   "Expires: 7200\r\n"
				   "Content-Length: 0\r\n\r\n";
	struct sh_bindings *b;

	(void)state;
	options.max_expires = 7200;
	assert_int_equal(process(text, sizeof(text) - 1), 0);
	assert_int_equal(result.code, 200);
	assert_slice(result.aor, "sip:bob@biloxi.com");
	assert_string_equal(headers, BOB ";expires=7200\r\n" DATE);
	b = sh_location_lookup(location, SH_LIT("sip:bob@biloxi.com"));
	assert_non_null(b);
	assert_int_equal(b->contacts[0].cseq, 1826);
	assert_int_equal(b->contacts[0].from.flow, 77);
	assert_int_equal(b->contacts[0].from.remote.port, 5060);
	sh_bindings_unref(b);
}

static void the_address_of_record_is_canonical(void **state)
{
	(void)state;
	assert_int_equal(send_as("", "\"B\" <sip:b%6Fb:pw@SIP.example.ORG:5060;user=phone>", "c", 1, BOB "\r\n"), 200);
	assert_slice(result.aor, "sip:bob@sip.example.org");
	assert_int_equal(send_as("", "<sip:b%6Fb@Example.ORG:5060>", "c", 1, BOB "\r\n"), 200);
	assert_slice(result.aor, "sip:bob@example.org");
	assert_int_equal(send_as("", "<tel:+1-201-555>", "c", 1, BOB "\r\n"), 200);
	assert_slice(result.aor, "tel:+1201555");
	assert_int_equal(send_as("", "<urn:service:sos>", "c", 1, BOB "\r\n"), 404);
	assert_int_equal(send_as("", "<sip:@@>", "c", 1, BOB "\r\n"), 400);
	options.aor = SH_LIT("sips:Team@Example.org;x=y");
	assert_int_equal(send_as("", "<sip:bob@example.org>", "c", 1, BOB "\r\n"), 200);
	assert_slice(result.aor, "sip:Team@example.org");
}

static void a_fetch_lists_and_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(send_reg(1, ""), 200);
	assert_null(result.bindings);
	assert_string_equal(headers, DATE);
	send_reg(2, "m: \"Bob\" <sip:bob@192.0.2.4>;q=0.5;+sip.x=\"a;b,c\", sip:bob@192.0.2.5;expires=100\r\n");
	assert_diary(&diary, "+sip:bob@192.0.2.5 +sip:bob@192.0.2.4");
	now += 1500000;
	assert_int_equal(send_reg(2, "Expires: 60\r\n"), 200);
	/* What is left, rounded up. */
	assert_string_equal(headers, "Contact: <sip:bob@192.0.2.5>;expires=99\r\n" BOB
				     ";expires=3599;q=0.5;+sip.x=\"a;b,c\"\r\nDate: Tue, 14 Nov 2023 22:13:21 GMT\r\n");
	now += 99 * SH_SECOND;
	send_reg(2, "");
	assert_string_equal(headers,
			    BOB ";expires=3500;q=0.5;+sip.x=\"a;b,c\"\r\nDate: Tue, 14 Nov 2023 22:15:00 GMT\r\n");
	assert_diary(&diary, "");
}

static void of_three_expirations_the_nearest_counts(void **state)
{
	(void)state;
	assert_int_equal(send_reg(1, "Expires: 200\r\nContact: <sip:a@1>;expires=300,<sip:b@1>\r\n"), 200);
	assert_string_equal(headers, "Contact: <sip:a@1>;expires=300\r\nContact: <sip:b@1>;expires=200\r\n" DATE);
	options.default_expires = 1800;
	send_reg(2, "Contact: <sip:b@1>\r\n");
	assert_string_equal(headers, "Contact: <sip:a@1>;expires=300\r\nContact: <sip:b@1>;expires=1800\r\n" DATE);
	/* What cannot be read is an hour (20.10, 20.19), what is too large is cut. */
	options.max_expires = 5000;
	send_reg(3,
		 "Contact: <sip:a@1>;expires=\"Thu, 01 Dec\"\r\nContact: <sip:b@1>;expires=99999999999999999999\r\n");
	assert_string_equal(headers, "Contact: <sip:a@1>;expires=3600\r\nContact: <sip:b@1>;expires=5000\r\n" DATE);
	send_reg(4, "Contact: <sip:b@1>\r\nExpires: soon\r\n");
	assert_string_equal(headers, "Contact: <sip:a@1>;expires=3600\r\nContact: <sip:b@1>;expires=3600\r\n" DATE);
	/* Zero of them removes. */
	send_reg(5, "Contact: <sip:a@1>, <sip:b@1>;expires=100\r\nExpires: 0\r\n");
	assert_string_equal(headers, "Contact: <sip:b@1>;expires=100\r\n" DATE);
}

static void a_time_too_brief_is_refused_with_the_least(void **state)
{
	(void)state;
	options.min_expires = 120;
	assert_int_equal(send_reg(1, "Contact: <sip:a@1>, <sip:b@1>;expires=119\r\n"), 423);
	assert_string_equal(headers, "Min-Expires: 120\r\n");
	assert_null(result.bindings);
	assert_int_equal(sh_location_count(location), 0);
	assert_int_equal(send_reg(1, "Contact: <sip:a@1>\r\nExpires: 1\r\n"), 423);
	assert_int_equal(send_reg(1, "Contact: <sip:a@1>\r\nExpires: 120\r\n"), 200);
	assert_int_equal(send_reg(2, "Contact: <sip:a@1>\r\nExpires: 0\r\n"), 200);
	/* An hour is never too brief; who did not ask is not refused. */
	options.min_expires = 7200;
	options.default_expires = 60;
	options.max_expires = 86400;
	assert_int_equal(send_reg(3, "Contact: <sip:a@1>\r\nExpires: 3600\r\n"), 200);
	assert_string_equal(headers, "Contact: <sip:a@1>;expires=3600\r\n" DATE);
	assert_int_equal(send_reg(4, "Contact: <sip:a@1>\r\nExpires: 3599\r\n"), 423);
	assert_int_equal(send_reg(5, "Contact: <sip:a@1>\r\n"), 200);
	assert_string_equal(headers, "Contact: <sip:a@1>;expires=7200\r\n" DATE);
}

static void a_star_stands_alone_with_expires_zero(void **state)
{
	static const char *const wrong[] = {
	    "Contact: *\r\n",
	    "Contact: *\r\nExpires: 1\r\n",
	    "Contact: *\r\nExpires: none\r\n",
	    "Contact: *, <sip:a@1>\r\nExpires: 0\r\n",
	    "Contact: <sip:a@1>\r\nContact: *\r\nExpires: 0\r\n",
	    "Contact: *\r\nContact: *\r\nExpires: 0\r\n",
	};

	(void)state;
	send_reg(1, "Contact: <sip:a@1>, <sip:b@1>\r\n");
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(send_reg(2, wrong[i]), 400);
	assert_int_equal(sh_location_count(location), 2);
	assert_int_equal(send_reg(1, "Contact: *\r\nExpires: 0\r\n"), 500);
	assert_int_equal(sh_location_count(location), 2);
	assert_int_equal(send_reg(2, "Contact: *\r\nExpires: 0\r\n"), 200);
	assert_string_equal(headers, DATE);
	assert_int_equal(sh_location_count(location), 0);
}

static void a_request_out_of_order_fails_whole(void **state)
{
	(void)state;
	send_reg(10, "Contact: <sip:a@1>\r\n");
	assert_int_equal(send_reg(10, "Contact: <sip:b@1>, <sip:a@1>;expires=0\r\n"), 500);
	assert_int_equal(send_reg(9, "Contact: <sip:a@1>\r\n"), 500);
	assert_int_equal(sh_location_count(location), 1);
	assert_int_equal(send_reg(11, "Contact: <sip:b@1>, <sip:a@1>;expires=0\r\n"), 200);
	assert_string_equal(headers, "Contact: <sip:b@1>;expires=3600\r\n" DATE);
	assert_int_equal(send_as("", "<sip:bob@example.org>", "another", 1, "Contact: <sip:b@1>\r\n"), 200);
}

static void too_many_contacts_are_refused_or_replace(void **state)
{
	char many[2000] = "Contact: <sip:0@1>";
	size_t n = strlen(many);

	(void)state;
	options.max_contacts = 2;
	assert_int_equal(send_reg(1, "Contact: <sip:a@1>, <sip:b@1>\r\n"), 200);
	assert_int_equal(send_reg(2, "Contact: <sip:c@1>\r\n"), 403);
	assert_slice(result.reason, "Too Many Contacts");
	assert_string_equal(headers, "");
	/* Going and coming in one request is within the limit. */
	assert_int_equal(send_reg(2, "Contact: <sip:a@1>;expires=0, <sip:b@1>;expires=0, <sip:c@1>, <sip:d@1>\r\n"),
			 200);
	options.replace_oldest = true;
	now++;
	assert_int_equal(send_reg(3, "Contact: <sip:c@1>\r\n"), 200);
	assert_int_equal(send_reg(4, "Contact: <sip:e@1>\r\n"), 200);
	assert_string_equal(headers, "Contact: <sip:c@1>;expires=3600\r\nContact: <sip:e@1>;expires=3600\r\n" DATE);
	for (unsigned i = 1; i < 5; i++)
		n += (size_t)snprintf(many + n, sizeof(many) - n, ", <sip:%u@1>;expires=0", i);
	snprintf(many + n, sizeof(many) - n, "\r\n");
	assert_int_equal(send_reg(5, many), 403);
}

static void a_contact_may_be_any_uri_but_must_be_one(void **state)
{
	(void)state;
	assert_int_equal(
	    send_reg(1, "Contact: <sip:bob@[2001:db8::1]:5060;transport=tcp?X=y>, <mailto:bob@example.org>,\r\n"
			" <tel:+12>;q=0,<sip:b@h>;q=2;a ; b = \"c\"\r\n"),
	    200);
	assert_string_equal(headers, "Contact: <sip:bob@[2001:db8::1]:5060;transport=tcp?X=y>;expires=3600\r\n"
				     "Contact: <mailto:bob@example.org>;expires=3600\r\n"
				     "Contact: <sip:b@h>;expires=3600;a;b=\"c\"\r\n"
				     "Contact: <tel:+12>;expires=3600;q=0\r\n" DATE);
	assert_int_equal(send_reg(2, "Contact: <sip:>\r\n"), 400);
	assert_int_equal(send_reg(2, "Contact: <sip:a@1>, <sip:b@1:99999>\r\n"), 400);
	/* Of a bare URI the parameters are the field's. */
	assert_int_equal(send_as("", "<sip:x@example.org>", "c", 1, "Contact: sip:b@1;transport=tcp;q=0.125\r\n"), 200);
	assert_string_equal(headers, "Contact: <sip:b@1>;expires=3600;q=0.125;transport=tcp\r\n" DATE);
}

static void a_sips_contact_needs_a_registration_by_sips(void **state)
{
	(void)state;
	assert_int_equal(send_reg(1, "Contact: <sips:b@h>\r\n"), 400);
	assert_slice(result.reason, "A sips Contact Needs a sips Request-URI and Path");
	assert_int_equal(sh_location_count(location), 0);
}

static void a_path_is_kept_and_echoed_to_who_knows_it(void **state)
{
	struct sh_bindings *b;

	(void)state;
	assert_int_equal(
	    send_reg(1, BOB "\r\nSupported: gruu, PATH\r\n"
			    "Path: <sip:p1.example.org;lr>,\r\n <sip:p2.example.org;lr>\r\nPath: <sips:p3;lr>\r\n"),
	    200);
	assert_string_equal(headers,
			    BOB ";expires=3600\r\n"
				"Path: <sip:p1.example.org;lr>, <sip:p2.example.org;lr>, <sips:p3;lr>\r\n" DATE);
	b = sh_location_lookup(location, SH_LIT("sip:bob@example.org"));
	assert_slice(b->contacts[0].path, "<sip:p1.example.org;lr>, <sip:p2.example.org;lr>, <sips:p3;lr>");
	sh_bindings_unref(b);
	assert_int_equal(send_reg(2, BOB "\r\nPath: <sip:p4;lr>\r\n"), 200);
	assert_string_equal(headers, BOB ";expires=3600\r\n" DATE);
	b = sh_location_lookup(location, SH_LIT("sip:bob@example.org"));
	assert_slice(b->contacts[0].path, "<sip:p4;lr>");
	sh_bindings_unref(b);
	/* A refresh without it takes it away. */
	send_reg(3, BOB "\r\nSupported: path\r\n");
	b = sh_location_lookup(location, SH_LIT("sip:bob@example.org"));
	assert_slice(b->contacts[0].path, "");
	sh_bindings_unref(b);
	assert_int_equal(send_reg(4, BOB "\r\nPath: sip:p4;lr\r\n"), 400);
	assert_int_equal(send_reg(4, BOB "\r\nPath: <tel:+12>\r\n"), 400);
	assert_int_equal(send_reg(4, BOB "\r\nPath: <sip:a\r\n"), 400);
}

static unsigned reg_id_of_bob(void)
{
	struct sh_bindings *b = sh_location_lookup(location, SH_LIT("sip:bob@example.org"));
	unsigned id = b->contacts[0].reg_id;

	assert_slice(b->contacts[0].instance, "\"<urn:uuid:1>\"");
	sh_bindings_unref(b);
	return id;
}

static void reg_id_counts_at_the_first_hop_or_behind_an_edge_that_says_so(void **state)
{
#define FLOW BOB ";+sip.instance=\"<urn:uuid:1>\";reg-id=3\r\n"
	static const char via[] = "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n", to[] = "<sip:bob@example.org>";

	(void)state;
	assert_int_equal(send_reg(1, FLOW), 200);
	assert_int_equal(reg_id_of_bob(), 3);
	assert_string_equal(headers, BOB ";expires=3600;+sip.instance=\"<urn:uuid:1>\";reg-id=3\r\n" DATE);
	assert_int_equal(send_reg(2, "Contact: <sip:bob@192.0.2.8>;reg-id=3;+sip.instance=\"<urn:uuid:1>\"\r\n"), 200);
	assert_int_equal(sh_location_count(location), 1);
	send_reg(3, "Contact: *\r\nExpires: 0\r\n");
	send_as(via, to, "c", 1, FLOW);
	assert_int_equal(reg_id_of_bob(), 0);
	send_as(via, to, "c", 2, FLOW "Path: <sip:edge;lr>\r\n");
	assert_int_equal(reg_id_of_bob(), 0);
	send_as(via, to, "c", 3, FLOW "Path: <sip:edge;lr;ob>\r\n");
	assert_int_equal(reg_id_of_bob(), 3);
	assert_int_equal(send_as("", "<sip:x@example.org>", "c", 1, BOB ";reg-id=3\r\n"), 200);
	assert_int_equal(result.code, 200);
}

static void texts_are_bounded(void **state)
{
	static char more[9000];
	struct sh_bindings *b;
	int n;

	(void)state;
	n = snprintf(more, sizeof(more), BOB ";x=%04000d\r\n", 1);
	assert_in_range(n, 4000, sizeof(more));
	assert_int_equal(send_reg(1, more), 403);
	n = snprintf(more, sizeof(more), BOB "\r\nPath: <sip:p;lr;x=%04000d>\r\n", 1);
	assert_int_equal(send_reg(1, more), 403);
	n = snprintf(more, sizeof(more), BOB "\r\nUser-Agent: %0300d\r\n", 1);
	assert_int_equal(send_reg(1, more), 200);
	b = sh_location_lookup(location, SH_LIT("sip:bob@example.org"));
	assert_int_equal(b->contacts[0].user_agent.len, 255);
	sh_bindings_unref(b);
}

static void without_memory_it_is_503_and_nothing_has_changed(void **state)
{
	static const char text[] = "REGISTER sip:example.org SIP/2.0\r\n"
				   "Via: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\n"
				   "From: <sip:bob@example.org>;tag=1\r\n"
				   "To: <sip:bob@example.org>\r\n"
				   "Call-ID: c\r\n"
				   "CSeq: 1 REGISTER\r\n"
				   "User-Agent: a\r\n b\r\n"
				   "Path: <sip:p;lr>\r\n"
				   "Contact: <sip:a@1>;q=0.5,\r\n <sip:b@1>\r\n\r\n";
	long n;

	(void)state;
	for (n = 0;; n++) {
		int err;

		sh_arena_finish(&arena);
		sh_arena_init(&arena, 64); /* small, so that it asks often */
		sh_alloc_fail_after(n);
		err = process(text, sizeof(text) - 1);
		sh_alloc_fail_after(-1);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(result.code, 503);
		assert_null(result.bindings);
		assert_int_equal(sh_location_count(location), 0);
	}
	assert_true(n > 3);
	assert_int_equal(result.code, 200);
	assert_int_equal(sh_location_count(location), 2);
}

static void assert_date(uint64_t seconds, const char *want)
{
	char text[64];
	struct sh_writer w;

	sh_writer_init(&w, text, sizeof(text));
	sh_put_date(&w, seconds * SH_SECOND + 999999);
	assert_slice(sh_writer_text(&w), want);
}

static void dates_are_those_of_the_calendar(void **state)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

	(void)state;
	assert_date(0, "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
	assert_date(1289690940, "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n");
	assert_date(951782399, "Date: Mon, 28 Feb 2000 23:59:59 GMT\r\n");
	assert_date(951782400, "Date: Tue, 29 Feb 2000 00:00:00 GMT\r\n");
	assert_date(4107542400, "Date: Mon, 01 Mar 2100 00:00:00 GMT\r\n");
	/* Every tenth day of 600 years, against the system's calendar. */
	for (int64_t s = 86399; s < INT64_C(86400) * 365 * 600; s += 864000) {
		time_t t = (time_t)s;
		struct tm tm;
		char want[64];

		assert_non_null(gmtime_r(&t, &tm));
		snprintf(want, sizeof(want), "Date: %s, %02d %s %d 23:59:59 GMT\r\n", days[tm.tm_wday], tm.tm_mday,
			 months[tm.tm_mon], tm.tm_year + 1900);
		assert_date((uint64_t)s, want);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(the_example_of_the_rfc_is_bound),
	    T(the_address_of_record_is_canonical),
	    T(a_fetch_lists_and_changes_nothing),
	    T(of_three_expirations_the_nearest_counts),
	    T(a_time_too_brief_is_refused_with_the_least),
	    T(a_star_stands_alone_with_expires_zero),
	    T(a_request_out_of_order_fails_whole),
	    T(too_many_contacts_are_refused_or_replace),
	    T(a_contact_may_be_any_uri_but_must_be_one),
	    T(a_path_is_kept_and_echoed_to_who_knows_it),
	    T(a_sips_contact_needs_a_registration_by_sips),
	    T(reg_id_counts_at_the_first_hop_or_behind_an_edge_that_says_so),
	    T(texts_are_bounded),
	    T(without_memory_it_is_503_and_nothing_has_changed),
	    T(dates_are_those_of_the_calendar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
