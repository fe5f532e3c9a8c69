/* Nothing that the network sends costs more than linear time: each reader is run on adversarial texts of 16 kB and of
 * 64 kB, and the second may take at most eight times the first (four would be exact, sixteen is quadratic). */
#include "msg_helpers.h"

#include <time.h>

#include "msg/digest.h"
#include "msg/sdp.h"
#include "msg/uri.h"

enum { SMALL = 16384, LARGE = SH_MSG_MAX_SIZE };

static char text[LARGE + 1];
static volatile size_t sink; /* keeps the work from being optimised away */

typedef void (*work_fn)(size_t n);

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* CPU time of one call: the least of several rounds, each of as many calls as it takes to be measured well. */
static double cost(work_fn work, size_t n)
{
	double least = 1e9;

	for (int round = 0; round < 5; round++) {
		double begin = seconds(), spent;
		unsigned calls = 0;

		do {
			work(n);
			calls++;
			spent = seconds() - begin;
		} while (spent < 0.0005);
		if (spent / calls < least)
			least = spent / calls;
	}
	return least;
}

/* n octets: head, as many repetitions as fit, the start of one more, tail. */
static void fill(size_t n, const char *head, const char *unit, const char *tail)
{
	size_t h = strlen(head), u = strlen(unit), t = strlen(tail);

	memcpy(text, head, h);
	for (size_t i = h; i < n - t; i++)
		text[i] = unit[(i - h) % u];
	memcpy(text + n - t, tail, t);
	text[n] = '\0';
}

static void check(const char *what, work_fn work, const char *head, const char *unit, const char *tail)
{
	double small, large;

	for (int attempt = 0;; attempt++) { /* the machine may be busy with something else: that is not our cost */
		fill(SMALL, head, unit, tail);
		small = cost(work, SMALL);
		fill(LARGE, head, unit, tail);
		large = cost(work, LARGE);
		if (large < 8 * small + 20e-6)
			return;
		if (attempt == 3)
			fail_msg("%s of \"%s%s%s\": %.0f us for 16 kB, %.0f us for 64 kB", what, head, unit, tail,
				 small * 1e6, large * 1e6);
	}
}

static void scan_and_read_all(size_t n)
{
	static struct sh_msg m;

	sink += (size_t)sh_msg_scan(&m, text, n, false, NULL);
	for (unsigned i = 0; i < m.nheaders; i++) {
		struct sh_slice rest = sh_msg_value(&m, i + 1), element, value;
		struct sh_name_addr v;

		while (sh_list_next(&rest, &element))
			sink += element.len;
		rest = sh_msg_value(&m, i + 1);
		while (rest.len && sh_name_addr_next(&rest, &v) == 0)
			sink += v.text.len;
		rest = sh_msg_value(&m, i + 1);
		while (sh_param_next(&rest, &element, &value))
			sink += value.len;
	}
	sink += sh_msg_has_token(&m, SH_H_SUPPORTED, SH_LIT("100rel"));
}

static void messages_are_scanned_in_linear_time(void **state)
{
	static const char *const heads[] = {
	    "Supported: ", "Supported: \"",      "Contact: \"", "From: \"",    "Via: SIP/2.0/UDP h;x=\"",
	    "Contact: ",   "Via: SIP/2.0/UDP h", "From: ",      "To: <sip:a>", "Call-ID: ",
	    "Subject: ",   "Content-Length: ",   "Route: ",     "CSeq: 1"};
	static const char *const units[] = {",", "\"", "\\", "\\\"", ";",     "\r\n ",     "\n\t",     "<",
					    ">", "a",  "a,", ";a=b", "\"\",", "\"\\\\\",", "<sip:a>,", "sip:a;x=\"y\",",
					    " ", "=",  "%",  "\r",   "\xff",  "1"};
	char head[sizeof(REQUEST_HEAD) + 32];

	(void)state;
	for (size_t h = 0; h < sizeof(heads) / sizeof(heads[0]); h++) {
		for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
			snprintf(head, sizeof(head), REQUEST_HEAD "%s", heads[h]);
			check("scan", scan_and_read_all, head, units[u], "\r\n\r\n");
		}
	}
}

static void messages_of_many_lines_are_scanned_in_linear_time(void **state)
{
	static const char *const units[] = {"a:\r\n",         "\na",          "X: y\r\n z\r\n", "v: SIP/2.0/UDP h\r\n",
					    "m: <sip:a>\r\n", "no colon\r\n", ":\r\n",          " \r\n",
					    "\r\n",           "l:0\r\n",      "t:<sip:a>\r\n"};

	(void)state;
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		check("scan", scan_and_read_all, REQUEST_HEAD, units[u], "\r\n\r\n");
		check("scan", scan_and_read_all, "", units[u], "\r\n\r\n");
	}
	check("scan", scan_and_read_all, "OPTIONS ", " ", " SIP/2.0\r\n\r\n");
	check("scan", scan_and_read_all, "OPTIONS sip:", "a", " SIP/2.0\r\n\r\n");
	check("scan", scan_and_read_all, "", "A", " sip:a SIP/2.0\r\n\r\n");
	check("scan", scan_and_read_all, "SIP/2.0 200 ", "\\\x01", "\r\n\r\n");
	check("scan", scan_and_read_all, REQUEST_HEAD "\r\n", "\r\n", "");
}

static void frame_octet_by_octet(size_t n)
{
	struct sh_framer f = {0};

	for (size_t i = 1; i <= n; i++)
		sink += (size_t)sh_framer_feed(&f, text, i);
}

static void streams_are_framed_in_linear_time(void **state)
{
	static const char *const units[] = {"a", "\r", "\n ", "x\n", "\r\n ", "l:1\r\n", "L : 1\n\t\n"};

	(void)state;
	check("framer", frame_octet_by_octet, "", "a", "");
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		check("framer", frame_octet_by_octet, "A b SIP/2.0\r\nX", units[u], "");
		check("framer", frame_octet_by_octet, "A b SIP/2.0\r\nX", units[u], "\r\nl:0\r\n\r\n");
	}
}

static void parse_and_compare_uri(size_t n)
{
	struct sh_uri a, b;

	if (sh_uri_parse(&a, sh_slice_make(text, n)))
		return;
	b = a;
	/* Other octets with the same meaning: no short cut by identity. */
	b.params.len -= b.params.len ? 1 : 0;
	b.headers.len -= b.headers.len ? 1 : 0;
	sink += sh_uri_equal(&a, &b) + sh_uri_equal(&b, &a);
}

static void uris_are_parsed_and_compared_in_linear_time(void **state)
{
	static const char *const heads[] = {
	    "sip:", "sip:a@", "sip:a@h;", "sip:a@h?", "sip:a:", "tel:", "tel:+1;", "x:", "sip:[", "sip:h:"};
	static const char *const units[] = {"a", "@", ":", ";", "&", "%41", "%", "a=b;", "a=b&", "1", "-", "?", "="};

	(void)state;
	for (size_t h = 0; h < sizeof(heads) / sizeof(heads[0]); h++) {
		for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
			check("uri", parse_and_compare_uri, heads[h], units[u], "");
			check("uri", parse_and_compare_uri, heads[h], units[u], "@h");
		}
	}
}

static void read_description(size_t n)
{
	struct sh_sdp_media m;
	struct sh_sdp sdp;
	int more;

	if (sh_sdp_parse(&sdp, sh_slice_make(text, n)))
		return;
	while ((more = sh_sdp_media_next(&sdp, &sdp.media, &m)) != 0) {
		struct sh_slice rest = m.formats, format;
		struct sh_sdp_codec c;

		for (int i = 0; more > 0 && i < 2 && sh_sdp_format_next(&rest, &format); i++)
			sink += sh_sdp_codec(&m, format, &c) == 0;
		while (more > 0 && sh_sdp_format_next(&rest, &format))
			sink += format.len;
	}
}

static void descriptions_are_read_in_linear_time(void **state)
{
	static const char *const units[] = {
	    "\n", "m=\n", "m=audio 1 RTP/AVP 0 8\n", "a=\n", "a=rtpmap:0 x/1\n", "c=\r\n", "x", " ", "1 ", "m", "="};

	(void)state;
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		check("sdp", read_description, "v=0\n", units[u], "");
		check("sdp", read_description, "v=0\nm=audio 1 RTP/AVP 0", units[u], "");
		check("sdp", read_description, "v=0\nm=audio 1 RTP/AVP 0\na=rtpmap:0", units[u], "");
	}
}

/* Credentials are capped below SMALL: from a quarter of the largest that pass to those. */
static void parse_credentials(size_t n)
{
	struct sh_credentials c;
	struct sh_arena a;

	sh_arena_init(&a, 1024);
	sink += (size_t)sh_credentials_parse(&a, sh_slice_make(text, n), &c);
	sh_arena_finish(&a);
}

static void credentials_are_parsed_in_linear_time(void **state)
{
	static const char *const units[] = {",",     "a=b,", "\"", "\\",       "\\\"",   " ",
					    "\r\n ", "a",    "=",  "opaque=,", "x=\"\","};
	static const char *const heads[] = {"Digest username=u, realm=r, nonce=n, uri=u, response=f, y=",
					    "Digest username=u, realm=r, nonce=n, uri=u, response=f, cnonce=\""};

	(void)state;
	assert_int_equal(sh_digest_init(), 0);
	for (size_t i = 0; i < 2 * sizeof(units) / sizeof(units[0]); i++) {
		double small, large;
		int attempt = 0;

		do {
			fill(1000, heads[i % 2], units[i / 2], i % 2 ? "\"" : "");
			small = cost(parse_credentials, 1000);
			fill(4000, heads[i % 2], units[i / 2], i % 2 ? "\"" : "");
			large = cost(parse_credentials, 4000);
			if (attempt++ == 4)
				fail_msg("%s%s: %.0f us for 1,000 octets, %.0f us for 4,000", heads[i % 2], units[i / 2],
					 small * 1e6, large * 1e6);
		} while (large > 8 * small + 20e-6);
	}
	sh_digest_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(messages_are_scanned_in_linear_time),
	    cmocka_unit_test(messages_of_many_lines_are_scanned_in_linear_time),
	    cmocka_unit_test(streams_are_framed_in_linear_time),
	    cmocka_unit_test(uris_are_parsed_and_compared_in_linear_time),
	    cmocka_unit_test(descriptions_are_read_in_linear_time),
	    cmocka_unit_test(credentials_are_parsed_in_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
