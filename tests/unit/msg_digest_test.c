/* Digest: the examples of the RFCs, what credentials are read as, and what is refused. */
#include "msg_helpers.h"

#include "core/alloc.h"
#include "msg/digest.h"

static struct sh_arena arena;

static int set_up(void **state)
{
	(void)state;
	sh_arena_init(&arena, 1024);
	return sh_digest_init();
}

static int tear_down(void **state)
{
	(void)state;
	sh_arena_finish(&arena);
	sh_digest_finish();
	return 0;
}

static int parse(const char *text, struct sh_credentials *c)
{
	/* No NUL behind the copy, so that a step over the end is seen. */
	static char *copy; /* of the last call: what was read points into it */
	size_t n = strlen(text);

	free(copy);
	copy = malloc(n ? n : 1);
	assert_non_null(copy);
	memcpy(copy, text, n);
	sh_arena_reset(&arena);
	return sh_credentials_parse(&arena, sh_slice_make(copy, n), c);
}

static struct sh_slice hex(const struct sh_digest_hex *h)
{
	return sh_slice_make(h->text, h->len);
}

/* Whether the response that the header field value gives is the one that this password makes. */
static void check_response(const char *value, const char *password, const char *method, const char *body)
{
	struct sh_digest_hex ha1, response;
	struct sh_credentials c;

	assert_int_equal(parse(value, &c), 0);
	assert_int_equal(sh_digest_ha1(c.alg, c.username, c.realm, sh_slice_cstr(password), &ha1), 0);
	assert_int_equal(sh_digest_response(&c, hex(&ha1), sh_slice_cstr(method), sh_slice_cstr(body), &response), 0);
	if (!sh_digest_equal(hex(&response), c.response))
		fail_msg("%s\n%s", value, response.text);
	assert_int_equal(sh_digest_response(&c, hex(&ha1), SH_LIT("OTHER"), sh_slice_cstr(body), &response), 0);
	assert_false(sh_digest_equal(hex(&response), c.response));
}

#define NONCE   "nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", "
#define MUFASA  "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", " NONCE
#define DOC     "uri=\"/dir/index.html\", "
#define COUNTED "nc=00000001, cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, "

static void the_examples_of_the_rfcs_come_out(void **state)
{
	(void)state;
	/* RFC 2617 3.5 */
	check_response("Digest username=\"Mufasa\",\r\n realm=\"testrealm@host.com\",\r\n"
		       " nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",\r\n uri=\"/dir/index.html\",\r\n qop=auth,\r\n"
		       " nc=00000001,\r\n cnonce=\"0a4f113b\",\r\n response=\"6629fae49393a05397450978507c4ef1\",\r\n"
		       " opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"",
		       "Circle Of Life", "GET", "");
	/* RFC 7616 3.9.1 */
	check_response(MUFASA DOC COUNTED "algorithm=MD5, response=\"8ca523f5e9506fed4657c9700eebdbec\"",
		       "Circle of Life", "GET", "");
	check_response(MUFASA DOC COUNTED
		       "algorithm=SHA-256, response=\"753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8"
		       "db5856cb6c1\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
		       "Circle of Life", "GET", "");
	/* RFC 7616 3.9.2 with erratum 4897 */
	check_response("Digest username=\"J\xc3\xa4s\xc3\xb8n Doe\", realm=\"api@example.org\", uri=\"/doe.json\", "
		       "algorithm=SHA-512-256, nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", nc=00000001, "
		       "cnonce=\"NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v\", qop=auth, userhash=false, "
		       "response=\"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5\"",
		       "Secret, or not?", "GET", "");
}

static void session_body_and_old_forms_come_out(void **state)
{
	static const struct {
		const char *alg, *session, *body, *none;
	} cases[] = {
	    {"MD5", "e783283f46242139c486a698fec7211d", "dc9ee933bbc70d2d86fcfd528aa9c108",
	     "aea4997ab9e528726e1039be896edf14"},
	    {"SHA-256", "2fd51b3a77ad75bad6afad6003e818d767133c46d9e2749e7f5232ae1ea3efd7",
	     "3d663f755a71532bcdd5b716ca4388e2832e965532a151b68f0f9783c1f09ccd",
	     "37aa5cf1639d265e2702bbae9ae62646574571a470c07775d9b094fbf4ae81da"},
	    {"sha-512-256", "3f2a34f923c38b0fb26dce2fdfc2ce326c23cecf86fbb1444f3e51fbbc2cb92e",
	     "e4ef38e8f8a46ee6f0cbe9f1cbca1549cc4d77b20a3024af846a0a04ee109914",
	     "1985677381fd078b3088ab5765b33367136c2486e53f60808f5c970026eb5f13"},
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), MUFASA DOC COUNTED "algorithm=%s-SESS, response=\"%s\"", cases[i].alg,
			 cases[i].session);
		check_response(text, "Circle of Life", "GET", "");
		snprintf(text, sizeof(text),
			 MUFASA "uri=\"sip:b@h\", nc=0000000a, "
				"cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=\"auth-int\", "
				"algorithm=%s, response=%s",
			 cases[i].alg, cases[i].body);
		check_response(text, "Circle of Life", "INVITE", "v=0\r\n");
		/* RFC 2069: neither qop nor nc nor cnonce */
		snprintf(text, sizeof(text), MUFASA "uri=\"sip:h\", algorithm=\"%s\", response=\"%s\"", cases[i].alg,
			 cases[i].none);
		check_response(text, "Circle of Life", "REGISTER", "");
	}
}

#define REST ", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"f\""

static void names_are_the_same_however_they_are_quoted(void **state)
{
	static const struct {
		const char *written, *name;
	} cases[] = {
	    {"\"alice\"", "alice"},
	    {"alice", "alice"},
	    {"\"al\\ice\"", "alice"},
	    {"\"\\a\\l\\i\\c\\e\"", "alice"},
	    {"\"\\\"alice\\\"\"", "\"alice\""},
	    {"\"DOMAIN\\\\alice\"", "DOMAIN\\alice"},
	    {"DOMAIN\\alice", "DOMAIN\\alice"},
	    {"alice\\", "alice\\"},
	    {"\"alice\\\\\"", "alice\\"},
	    {"\" alice \"", " alice "},
	    {"\"alice, realm=\\\"x\\\"\"", "alice, realm=\"x\""},
	    {"\"a%6cice\"", "a%6cice"}, /* no URI: escapes mean themselves */
	    {"\"J\xc3\xb6rg\"", "J\xc3\xb6rg"},
	    {"\"a\r\n b\"", "a b"},
	    {"\"\"", ""},
	    {"alice@h", "alice@h"},
	};
	struct sh_credentials c;
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "Digest username=%s" REST, cases[i].written);
		if (parse(text, &c))
			fail_msg("refused: %s", text);
		assert_slice(c.username, cases[i].name);
		assert_slice(c.realm, "r");
		assert_slice(c.response, "f");
		/* The order does not matter. */
		snprintf(text, sizeof(text), "Digest realm=r,response=f,nonce=n,uri=\"sip:h\", username=%s",
			 cases[i].written);
		if (parse(text, &c))
			fail_msg("refused: %s", text);
		assert_slice(c.username, cases[i].name);
		assert_slice(c.realm, "r");
	}
}

static void parameters_come_in_any_case_and_unknown_ones_pass(void **state)
{
	struct sh_credentials c;

	(void)state;
	assert_int_equal(
	    parse("  DIGEST\tUserName = \"u\" ,,X-Odd=\"a,b\", REALM=\"r\",flag, NONCE=\"n==\" , \r\n Uri=\"sip:h\","
		  "Response=\"F0\", Algorithm=md5, OPAQUE=\"\", QOP=\"auth\", NC=0000ffFF, cnonce=c,",
		  &c),
	    0);
	assert_slice(c.username, "u");
	assert_slice(c.nonce, "n==");
	assert_slice(c.uri, "sip:h");
	assert_slice(c.response, "F0");
	assert_slice(c.qop, "auth");
	assert_slice(c.nc_text, "0000ffFF");
	assert_slice(c.cnonce, "c");
	assert_slice(c.opaque, "");
	assert_int_equal(c.nc, 0xffff);
	assert_int_equal(c.alg, SH_DIGEST_MD5);
	assert_false(c.session);
	assert_int_equal(parse("Digest username=u, algorithm=SHA-256-sess" REST, &c), 0);
	assert_int_equal(c.alg, SH_DIGEST_SHA256);
	assert_true(c.session);
	assert_int_equal(c.nc, 0);
	assert_int_equal(parse("Digest username=u, algorithm=AKAv1-MD5" REST, &c), 0);
	assert_int_equal(c.alg, SH_DIGEST_UNKNOWN);
	assert_int_equal(parse("Digest username=u, algorithm=-sess" REST, &c), 0);
	assert_int_equal(c.alg, SH_DIGEST_UNKNOWN);
}

static void broken_credentials_are_refused(void **state)
{
	static const char *const bad[] = {
	    "",
	    "Digest",
	    "Digest ",
	    "Basic dTpw",
	    "Digestusername=u" REST,
	    "NoOneKnowsThisScheme opaque-data=here",
	    /* one missing */
	    "Digest realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"f\"",
	    "Digest username=u, nonce=\"n\", uri=\"sip:h\", response=\"f\"",
	    "Digest username=u, realm=\"r\", uri=\"sip:h\", response=\"f\"",
	    "Digest username=u, realm=\"r\", nonce=\"n\", response=\"f\"",
	    "Digest username=u, realm=\"r\", nonce=\"n\", uri=\"sip:h\"",
	    /* one twice */
	    "Digest username=u, username=u" REST,
	    "Digest username=u, username=\"v\"" REST,
	    "Digest username=u, NONCE=x" REST,
	    "Digest username=u, algorithm=MD5, algorithm=SHA-256" REST,
	    /* no value */
	    "Digest username" REST,
	    "Digest username=" REST,
	    "Digest username=u, opaque" REST,
	    /* broken quoting and separators */
	    "Digest username=\"u" REST,
	    "Digest username=\"u\\\"" REST,
	    "Digest username=\"u\"x" REST,
	    "Digest username=u; x=y" REST,
	    "Digest =u, username=u" REST,
	    /* nc is eight hexadecimal digits */
	    "Digest username=u, nc=1" REST,
	    "Digest username=u, nc=000000001" REST,
	    "Digest username=u, nc=0000000g" REST,
	    "Digest username=u, nc=\"\"" REST,
	    /* with qop these two are needed */
	    "Digest username=u, qop=auth" REST,
	    "Digest username=u, qop=auth, nc=00000001" REST,
	    "Digest username=u, qop=auth, cnonce=x" REST,
	    /* quotes that would hide a separator */
	    "Digest username=u, algorithm=\"MD5, opaque=x\"" REST,
	    "Digest username=u, qop=\"auth,auth-int\", nc=00000001, cnonce=x" REST,
	    "Digest username=u, nc=\"0000\\0001\"" REST,
	};
	struct sh_credentials c = {.nc = 77};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (parse(bad[i], &c) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(c.nc, 77);
	assert_int_equal(sh_credentials_parse(&arena, SH_LIT("Digest username=\"u\0\"" REST), &c), -EINVAL);
	assert_int_equal(sh_credentials_parse(&arena, (struct sh_slice){NULL, 0}, &c), -EINVAL);
}

static void credentials_are_limited_in_size(void **state)
{
	struct sh_credentials c;
	char text[4102];
	const char head[] = "Digest username=u, opaque=\"", tail[] = "\"" REST;
	size_t room = 4000 - strlen(head) - strlen(tail);

	(void)state;
	for (size_t more = 0; more < 2; more++) {
		snprintf(text, sizeof(text), "%s%*s%s", head, (int)(room + more), "", tail);
		assert_int_equal(parse(text, &c), more ? -E2BIG : 0);
	}
	/* The worst for the normal form: each octet gets a backslash. */
	memset(text, '\\', sizeof(text));
	memcpy(text, "Digest username=", 16);
	snprintf(text + 4000 - strlen(REST), 102, "%s", REST);
	assert_int_equal(parse(text, &c), 0);
	assert_int_equal(c.username.len, 4000 - 16 - strlen(REST));
	assert_int_equal(c.username.base[c.username.len - 1], '\\');
}

static void challenges_are_read(void **state)
{
	struct sh_challenge c;

	(void)state;
	assert_int_equal(sh_challenge_parse(
			     &arena,
			     SH_LIT("Digest realm=\"a \\\"b\\\"\", qop=\"auth, auth-int\", algorithm=SHA-256-sess,\r\n"
				    " nonce=\"n/=\", opaque=\"o\", stale=\"TRUE\", charset=UTF-8"),
			     &c),
			 0);
	assert_slice(c.realm, "a \"b\"");
	assert_slice(c.qop, "auth, auth-int");
	assert_slice(c.nonce, "n/=");
	assert_slice(c.opaque, "o");
	assert_true(c.stale);
	assert_true(c.session);
	assert_int_equal(c.alg, SH_DIGEST_SHA256);
	assert_int_equal(sh_challenge_parse(&arena, SH_LIT("Digest realm=r, nonce=n, stale=false"), &c), 0);
	assert_false(c.stale);
	assert_false(c.session);
	assert_int_equal(c.alg, SH_DIGEST_MD5);
	assert_slice(c.qop, "");
	assert_int_equal(sh_challenge_parse(&arena, SH_LIT("Digest realm=r"), &c), -EINVAL);
	assert_int_equal(sh_challenge_parse(&arena, SH_LIT("Digest realm=r, nonce=n, nonce=n"), &c), -EINVAL);
	assert_int_equal(sh_challenge_parse(&arena, SH_LIT("Basic realm=r"), &c), -EINVAL);
}

static void what_cannot_be_computed_is_an_error(void **state)
{
	struct sh_digest_hex out = {.len = 7};
	struct sh_credentials c;

	(void)state;
	assert_int_equal(parse("Digest username=u, qop=auth-conf, nc=00000001, cnonce=c" REST, &c), 0);
	assert_int_equal(sh_digest_response(&c, SH_LIT("a"), SH_LIT("M"), SH_LIT(""), &out), -EINVAL);
	assert_int_equal(parse("Digest username=u, algorithm=MD4" REST, &c), 0);
	assert_int_equal(sh_digest_response(&c, SH_LIT("a"), SH_LIT("M"), SH_LIT(""), &out), -EINVAL);
	assert_int_equal(sh_digest_ha1(SH_DIGEST_UNKNOWN, SH_LIT("u"), SH_LIT("r"), SH_LIT("p"), &out), -EINVAL);
	assert_int_equal(out.len, 7);
}

static void algorithms_have_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SH_DIGEST_UNKNOWN; i++)
		assert_int_equal(sh_digest_alg_lookup(sh_digest_alg_name((enum sh_digest_alg)i)), i);
	assert_int_equal(sh_digest_alg_lookup(SH_LIT("sha-256")), SH_DIGEST_SHA256);
	assert_int_equal(sh_digest_alg_lookup(SH_LIT("SHA-25")), SH_DIGEST_UNKNOWN);
	assert_int_equal(sh_digest_alg_lookup(SH_LIT("")), SH_DIGEST_UNKNOWN);
	assert_slice(sh_digest_alg_name(SH_DIGEST_UNKNOWN), "");
}

static void digests_compare_without_case_but_octet_for_octet(void **state)
{
	(void)state;
	assert_true(sh_digest_equal(SH_LIT("0aF"), SH_LIT("0Af")));
	assert_false(sh_digest_equal(SH_LIT("0a"), SH_LIT("0a0")));
	assert_false(sh_digest_equal(SH_LIT("0a"), SH_LIT("0b")));
	assert_true(sh_digest_equal((struct sh_slice){NULL, 0}, SH_LIT("")));
	for (unsigned x = 0; x < 256; x++) {
		for (unsigned y = 0; y < 256; y++) {
			char a = (char)x, b = (char)y;

			assert_int_equal(sh_digest_equal(sh_slice_make(&a, 1), sh_slice_make(&b, 1)),
					 sh_lower(a) == sh_lower(b));
		}
	}
}

/* Every point at which the arena may run dry, by leaving it less and less room. */
static void out_of_memory_is_an_answer(void **state)
{
	static const char credentials[] = MUFASA DOC COUNTED "response=\"f\\f\", opaque=\"o\\o\", algorithm=MD5";
	static const char challenge[] =
	    "Digest realm=\"r\\r\",\r\n nonce=\"n\", opaque=o, qop=\"auth\", algorithm=MD5, stale=true";

	(void)state;
	for (int kind = 0; kind < 2; kind++) {
		bool enough = false;

		for (size_t room = 0; !enough && room < 8192; room += 16) {
			struct sh_credentials c = {.nc = 77};
			struct sh_challenge h = {.alg = SH_DIGEST_UNKNOWN};
			struct sh_arena a;
			int err;

			sh_arena_init(&a, 8192);
			assert_non_null(sh_arena_alloc(&a, (size_t)(8192 - 16 - room)));
			sh_alloc_fail_after(0);
			err = kind == 0 ? sh_credentials_parse(&a, sh_slice_cstr(credentials), &c)
					: sh_challenge_parse(&a, sh_slice_cstr(challenge), &h);
			sh_alloc_fail_after(-1);
			enough = err == 0;
			if (!enough) {
				assert_int_equal(err, -ENOMEM);
				assert_int_equal(c.nc, 77);
				assert_int_equal(h.alg, SH_DIGEST_UNKNOWN);
			}
			sh_arena_finish(&a);
		}
		assert_true(enough);
	}
}

static void a_nonce_count_without_qop_counts_for_nothing(void **state)
{
	struct sh_credentials c;
	struct sh_arena a;

	(void)state;
	sh_arena_init(&a, 1024);
	assert_int_equal(sh_credentials_parse(&a, SH_LIT("Digest username=\"a\", realm=\"r\", nonce=\"n\", uri=\"sip:r\", "
							 "response=\"00000000000000000000000000000000\", nc=00000005"), &c), 0);
	assert_int_equal(c.nc, 0);
	sh_arena_finish(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_nonce_count_without_qop_counts_for_nothing),
	    cmocka_unit_test(the_examples_of_the_rfcs_come_out),
	    cmocka_unit_test(session_body_and_old_forms_come_out),
	    cmocka_unit_test(names_are_the_same_however_they_are_quoted),
	    cmocka_unit_test(parameters_come_in_any_case_and_unknown_ones_pass),
	    cmocka_unit_test(broken_credentials_are_refused),
	    cmocka_unit_test(credentials_are_limited_in_size),
	    cmocka_unit_test(challenges_are_read),
	    cmocka_unit_test(what_cannot_be_computed_is_an_error),
	    cmocka_unit_test(algorithms_have_names),
	    cmocka_unit_test(digests_compare_without_case_but_octet_for_octet),
	    cmocka_unit_test(out_of_memory_is_an_answer),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
