/* The digest server against a client of the test's own that knows nothing of msg/digest.h. */
#include "registrar_helpers.h"

#include <openssl/evp.h>

#include "registrar/auth.h"
#include "registrar/nonce.h"

#define REALM  SH_LIT("example.org")
#define SOURCE SH_LIT("10.0.0.2")
#define SECOND SH_SECOND

static const enum sh_digest_alg both[] = {SH_DIGEST_SHA256, SH_DIGEST_MD5};
static struct sh_auth *auth;
static struct sh_random rng;
static struct sh_arena arena;
static uint64_t now;

static int set_up_with(struct sh_auth_config config)
{
	sh_random_init_seed(&rng, 11);
	sh_arena_init(&arena, 1024);
	now = NOW;
	return sh_auth_create(&auth, &rng, &config);
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with((struct sh_auth_config){0});
}

static int set_up_small(void **state)
{
	(void)state;
	return set_up_with((struct sh_auth_config){.max_nonces = 16});
}

static int tear_down(void **state)
{
	(void)state;
	sh_auth_destroy(auth);
	sh_arena_finish(&arena);
	return 0;
}

/* --- the client -------------------------------------------------------------------------------------------------- */

struct client {
	const char *user, *password, *realm, *uri, *method, *alg, *qop;
	char nonce[128];
	unsigned nc;
	const char *user_as_sent; /* with the quotes */
	const char *request_uri;
};

static void hex_digest(char out[65], const char *alg, const char *text)
{
	unsigned char raw[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	assert_int_equal(
	    EVP_Digest(text, strlen(text), raw, &len, strcmp(alg, "SHA-256") == 0 ? EVP_sha256() : EVP_md5(), NULL), 1);
	for (unsigned i = 0; i < len; i++)
		snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

static void ha1_of(char out[65], const struct client *c)
{
	char text[512];

	snprintf(text, sizeof(text), "%s:%s:%s", c->user, c->realm, c->password);
	hex_digest(out, c->alg, text);
}

/* "Authorization: Digest ...\r\n" */
static void answer(char *out, size_t cap, const struct client *c)
{
	char text[1024], ha1[65], ha2[65], response[65], quoted[256];

	ha1_of(ha1, c);
	snprintf(text, sizeof(text), "%s:%s", c->method, c->uri);
	hex_digest(ha2, c->alg, text);
	if (c->qop)
		snprintf(text, sizeof(text), "%s:%s:%08x:0a4f113b:%s:%s", ha1, c->nonce, c->nc, c->qop, ha2);
	else
		snprintf(text, sizeof(text), "%s:%s:%s", ha1, c->nonce, ha2);
	hex_digest(response, c->alg, text);
	snprintf(quoted, sizeof(quoted), "\"%s\"", c->user);
	snprintf(
	    out, cap,
	    "Authorization: Digest username=%s, realm=\"%s\", nonce=\"%s\", uri=\"%s\", response=\"%s\", algorithm=%s",
	    c->user_as_sent ? c->user_as_sent : quoted, c->realm, c->nonce, c->uri, response, c->alg);
	if (c->qop)
		snprintf(out + strlen(out), cap - strlen(out), ", qop=%s, nc=%08x, cnonce=\"0a4f113b\"", c->qop, c->nc);
	snprintf(out + strlen(out), cap - strlen(out), "\r\n");
}

static struct client alice(void)
{
	return (struct client){.user = "alice",
			       .password = "secret",
			       .realm = "example.org",
			       .uri = "sip:example.org",
			       .method = "REGISTER",
			       .alg = "MD5",
			       .qop = "auth",
			       .nc = 1};
}

/* Challenges; the client takes the nonce. The text is for a look. */
static const char *challenge(struct client *c, bool stale)
{
	static char text[2048];
	const struct sh_auth_challenge ch = {sh_slice_cstr(c->realm), both, 2, false, stale, false, SOURCE};
	struct sh_writer w;
	char *p;

	sh_writer_init(&w, text, sizeof(text) - 1);
	sh_auth_put_challenge(auth, &rng, now, &ch, &w);
	assert_false(w.full);
	text[w.len] = '\0';
	p = strstr(text, "nonce=\"");
	assert_non_null(p);
	assert_int_equal(sscanf(p, "nonce=\"%127[^\"]\"", c->nonce), 1);
	return text;
}

/* --- the server -------------------------------------------------------------------------------------------------- */

static char *message;

static void make_request(struct sh_msg *m, const struct client *c, const char *lines)
{
	char text[16384];
	const char *uri = c->request_uri ? c->request_uri : c->uri;
	int n = snprintf(
	    text, sizeof(text),
	    "%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.4;branch=z9hG4bK1\r\nFrom: <sip:alice@example.org>;tag=1\r\n"
	    "To: <sip:alice@example.org>\r\nCall-ID: c\r\nCSeq: 1 %s\r\n%s\r\n",
	    c->method, uri, c->method, lines);

	assert_in_range(n, 1, sizeof(text) - 1);
	assert_int_equal(scan_copy(m, &message, text, (size_t)n, false, NULL), 0);
}

/* What the server says of a request with those lines, given a password or (NULL: unknown user). */
static enum sh_auth_verdict judge_lines(const struct client *c, const char *lines, const char *password, bool is_ha1)
{
	struct sh_credentials found;
	struct sh_msg m;
	enum sh_auth_verdict v;

	make_request(&m, c, lines);
	v = sh_auth_find(auth, &arena, &m, SOURCE, false, REALM, both, 2, now, &found);
	if (v == SH_AUTH_PASSWORD_NEEDED)
		v = sh_auth_check(auth, &m, &found, sh_slice_cstr(password), is_ha1, now);
	free(message);
	sh_arena_reset(&arena);
	return v;
}

static enum sh_auth_verdict judge(const struct client *c)
{
	char lines[2048];

	answer(lines, sizeof(lines), c);
	return judge_lines(c, lines, "secret", false);
}

/* --- tests ------------------------------------------------------------------------------------------------------- */

static void a_challenge_offers_the_best_algorithm_first(void **state)
{
	struct client c = alice();
	const char *text;
	char want[1024];

	(void)state;
	text = challenge(&c, true);
	snprintf(
	    want, sizeof(want),
	    "WWW-Authenticate: Digest realm=\"example.org\", nonce=\"%s\", algorithm=SHA-256, stale=true, "
	    "qop=\"auth\"\r\n"
	    "WWW-Authenticate: Digest realm=\"example.org\", nonce=\"%s\", algorithm=MD5, stale=true, qop=\"auth\"\r\n",
	    c.nonce, c.nonce);
	assert_string_equal(text, want);
	assert_null(strstr(challenge(&c, false), "stale"));
	c.realm = "a \"b\\\r\nX: y";
	assert_non_null(strstr(challenge(&c, false), "realm=\"a \\\"b\\\\  X: y\","));
}

static void the_right_password_is_ok(void **state)
{
	struct client c = alice();

	(void)state;
	challenge(&c, false);
	assert_int_equal(judge(&c), SH_AUTH_OK);
	c.nc = 2;
	assert_int_equal(judge(&c), SH_AUTH_OK);
	c.alg = "SHA-256";
	c.nc = 3;
	assert_int_equal(judge(&c), SH_AUTH_OK);
	challenge(&c, false);
	c.nc = 1;
	c.qop = "auth-int"; /* the hash of an empty body is not what this client sends */
	assert_int_equal(judge(&c), SH_AUTH_WRONG);
	c.qop = "auth-x";
	assert_int_equal(judge(&c), SH_AUTH_BAD);
}

static void a_stored_hash_does_for_a_password(void **state)
{
	struct client c = alice();
	char lines[2048], ha1[65];

	(void)state;
	challenge(&c, false);
	ha1_of(ha1, &c);
	answer(lines, sizeof(lines), &c);
	assert_int_equal(judge_lines(&c, lines, "d41d8cd98f00b204e9800998ecf8427e", true), SH_AUTH_WRONG);
	assert_int_equal(judge_lines(&c, lines, "short", true), SH_AUTH_WRONG);
	for (unsigned i = 0; ha1[i]; i++)
		if (ha1[i] >= 'a')
			ha1[i] = (char)(ha1[i] - 32); /* in capitals, as some databases have it */
	assert_int_equal(judge_lines(&c, lines, ha1, true), SH_AUTH_OK);
	/* An MD5 hash is none for SHA-256. */
	c.alg = "SHA-256";
	c.nc = 2;
	answer(lines, sizeof(lines), &c);
	assert_int_equal(judge_lines(&c, lines, ha1, true), SH_AUTH_WRONG);
	ha1_of(ha1, &c);
	assert_int_equal(judge_lines(&c, lines, ha1, true), SH_AUTH_OK);
}

static void a_wrong_password_or_nobody_is_wrong(void **state)
{
	struct client c = alice();
	char lines[2048];

	(void)state;
	challenge(&c, false);
	c.password = "Secret";
	assert_int_equal(judge(&c), SH_AUTH_WRONG);
	c.password = "nobody";
	answer(lines, sizeof(lines), &c);
	assert_int_equal(judge_lines(&c, lines, NULL, false), SH_AUTH_WRONG);
	assert_int_equal(judge_lines(&c, lines, NULL, true), SH_AUTH_WRONG);
	/* It has used nothing up. */
	c.password = "secret";
	assert_int_equal(judge(&c), SH_AUTH_OK);
	c.method = "INVITE";
	c.nc = 2;
	answer(lines, sizeof(lines), &c);
	c.method = "BYE"; /* the same answer for another method */
	assert_int_equal(judge_lines(&c, lines, "secret", false), SH_AUTH_WRONG);
}

static void a_count_is_accepted_once_and_in_any_order_within_64(void **state)
{
	static const struct {
		unsigned nc;
		enum sh_auth_verdict want;
	} steps[] = {
	    {5, SH_AUTH_OK},          {5, SH_AUTH_STALE},   {4, SH_AUTH_OK},          {4, SH_AUTH_STALE},
	    {1, SH_AUTH_OK},          {70, SH_AUTH_OK},     {7, SH_AUTH_OK},          {6, SH_AUTH_STALE},
	    {5, SH_AUTH_STALE},       {70, SH_AUTH_STALE},  {71, SH_AUTH_OK},         {7, SH_AUTH_STALE},
	    {8, SH_AUTH_OK},          {135, SH_AUTH_OK},    {71, SH_AUTH_STALE},      {72, SH_AUTH_OK},
	    {0xffffffff, SH_AUTH_OK}, {136, SH_AUTH_STALE}, {0xfffffffe, SH_AUTH_OK},
	};
	struct client c = alice();

	(void)state;
	challenge(&c, false);
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		c.nc = steps[i].nc;
		assert_int_equal(judge(&c), steps[i].want);
	}
}

static void without_qop_a_nonce_is_good_once(void **state)
{
	struct client c = alice();

	(void)state;
	c.qop = NULL;
	challenge(&c, false);
	assert_int_equal(judge(&c), SH_AUTH_OK);
	assert_int_equal(judge(&c), SH_AUTH_STALE);
	challenge(&c, true);
	assert_int_equal(judge(&c), SH_AUTH_OK);
}

static void an_old_nonce_is_stale(void **state)
{
	struct client c = alice();

	(void)state;
	challenge(&c, false);
	now += 300 * SECOND;
	assert_int_equal(judge(&c), SH_AUTH_OK);
	now += 1;
	c.nc = 2;
	assert_int_equal(judge(&c), SH_AUTH_STALE);
	/* One from the time to come is not better; a little may be the difference of two workers' clocks. */
	challenge(&c, false);
	now -= 11 * SECOND;
	assert_int_equal(judge(&c), SH_AUTH_STALE);
	now += 2 * SECOND;
	assert_int_equal(judge(&c), SH_AUTH_OK);
}

static void a_nonce_cannot_be_forged(void **state)
{
	struct sh_auth *other = NULL;
	struct client c = alice(), copy;

	(void)state;
	challenge(&c, false);
	assert_int_equal(strlen(c.nonce), SH_NONCE_TEXT);
	/* No octet of it may be another one. Only the unused bits of the last can make it no nonce at all. */
	for (unsigned i = 0; i < SH_NONCE_TEXT; i++) {
		copy = c;
		copy.nonce[i] = copy.nonce[i] == 'A' ? 'Q' : 'A';
		assert_int_equal(judge(&copy), SH_AUTH_STALE);
	}
	copy = c;
	copy.nonce[SH_NONCE_TEXT - 1]++;
	assert_int_equal(judge(&copy), SH_AUTH_NONE);
	/* Not one of ours by its form: a fresh challenge, for "stale" might be answered in the same way for ever. */
	for (unsigned len = 1; len < SH_NONCE_TEXT; len += 7) {
		copy = c;
		copy.nonce[len] = '\0';
		assert_int_equal(judge(&copy), SH_AUTH_NONE);
	}
	strcat(copy.nonce, "====");
	assert_int_equal(judge(&copy), SH_AUTH_NONE);
	/* Of another process, or made for another realm. */
	assert_int_equal(sh_auth_create(&other, &rng, &(struct sh_auth_config){0}), 0);
	copy = c;
	{
		struct sh_auth *mine = auth;

		auth = other;
		assert_int_equal(judge(&copy), SH_AUTH_STALE);
		auth = mine;
	}
	sh_auth_destroy(other);
	copy.realm = "example.net";
	challenge(&copy, false);
	copy.realm = "example.org";
	assert_int_equal(judge(&copy), SH_AUTH_STALE);
	assert_int_equal(judge(&c), SH_AUTH_OK);
}

static void a_full_table_never_accepts_twice(void **state)
{
	enum { NONCES = 400 };
	static struct client clients[NONCES];
	unsigned again = 0, second = 0;

	(void)state;
	for (unsigned i = 0; i < NONCES; i++) {
		clients[i] = alice();
		challenge(&clients[i], false);
		now += SECOND / 10;
		assert_int_equal(judge(&clients[i]), SH_AUTH_OK);
	}
	for (unsigned i = 0; i < NONCES; i++)
		again += judge(&clients[i]) == SH_AUTH_OK;
	assert_int_equal(again, 0);
	/* Those that are still known go on to count. */
	for (unsigned i = 0; i < NONCES; i++) {
		clients[i].nc = 2;
		second += judge(&clients[i]) == SH_AUTH_OK;
	}
	assert_in_range(second, 10, 16);
}

static void a_nonce_needs_no_memory_before_its_use_and_some_then(void **state)
{
	struct client c = alice(), d = alice();
	char lines[2048];
	struct sh_msg m;
	struct sh_credentials found;

	(void)state;
	sh_alloc_fail_after(0);
	challenge(&c, false);
	sh_alloc_fail_after(-1);
	challenge(&d, false);
	answer(lines, sizeof(lines), &c);
	make_request(&m, &c, lines);
	assert_int_equal(sh_auth_find(auth, &arena, &m, SOURCE, false, REALM, both, 2, now, &found), SH_AUTH_PASSWORD_NEEDED);
	sh_alloc_fail_after(0);
	/* What cannot be remembered is not accepted. */
	assert_int_equal(sh_auth_check(auth, &m, &found, SH_LIT("secret"), false, now), SH_AUTH_STALE);
	sh_alloc_fail_after(-1);
	assert_int_equal(sh_auth_check(auth, &m, &found, SH_LIT("secret"), false, now), SH_AUTH_OK);
	free(message);
	/* Credentials with escapes cannot be read without memory: that is no fault of the client. */
	sh_arena_finish(&arena);
	d.user_as_sent = "\"\\alice\"";
	answer(lines, sizeof(lines), &d);
	sh_alloc_fail_after(0);
	assert_int_equal(judge_lines(&d, lines, "secret", false), SH_AUTH_FAILED);
	sh_alloc_fail_after(-1);
	assert_int_equal(judge(&d), SH_AUTH_OK);
}

static void among_several_fields_ours_is_found_the_best_first(void **state)
{
	struct client c = alice(), sha, far = alice();
	char lines[8192];
	struct sh_credentials found;
	struct sh_msg m;

	(void)state;
	challenge(&c, false);
	sha = c;
	sha.alg = "SHA-256";
	far.realm = "example.net";
	challenge(&far, false);
	strcpy(lines, "Authorization: Basic QWxhZGRpbjpvcGVu\r\n");
	answer(lines + strlen(lines), sizeof(lines) - strlen(lines), &far);
	answer(lines + strlen(lines), sizeof(lines) - strlen(lines), &c);
	answer(lines + strlen(lines), sizeof(lines) - strlen(lines), &sha);
	make_request(&m, &c, lines);
	assert_int_equal(sh_auth_find(auth, &arena, &m, SOURCE, false, REALM, both, 2, now, &found), SH_AUTH_PASSWORD_NEEDED);
	assert_int_equal(found.alg, SH_DIGEST_SHA256);
	assert_int_equal(sh_auth_check(auth, &m, &found, SH_LIT("secret"), false, now), SH_AUTH_OK);
	assert_int_equal(sh_auth_find(auth, &arena, &m, SOURCE, false, REALM, both + 1, 1, now, &found),
			 SH_AUTH_PASSWORD_NEEDED);
	assert_int_equal(found.alg, SH_DIGEST_MD5);
	assert_int_equal(sh_auth_find(auth, &arena, &m, SOURCE, false, SH_LIT("example.com"), both, 2, now, &found),
			 SH_AUTH_NONE);
	/* The header field of proxies is another one. */
	assert_int_equal(sh_auth_find(auth, &arena, &m, SOURCE, true, REALM, both, 2, now, &found), SH_AUTH_NONE);
	free(message);
	sh_arena_reset(&arena);
	assert_int_equal(judge_lines(&c, "", "secret", false), SH_AUTH_NONE);
	assert_int_equal(judge_lines(&c, "Authorization: Basic QWxhZGRpbjpvcGVu\r\n", "secret", false), SH_AUTH_NONE);
	assert_int_equal(judge_lines(&c, "Authorization: Digest username=\"alice\"\r\n", "secret", false), SH_AUTH_BAD);
	assert_int_equal(judge_lines(&c, "Authorization: Digest \r\n", "secret", false), SH_AUTH_BAD);
}

static void an_algorithm_that_was_not_offered_is_no_answer(void **state)
{
	struct client c = alice();
	char lines[2048];

	(void)state;
	challenge(&c, false);
	c.alg = "MD5-sess";
	answer(lines, sizeof(lines), &c);
	assert_int_equal(judge_lines(&c, lines, "secret", false), SH_AUTH_NONE);
	c.alg = "SHA-512-256";
	answer(lines, sizeof(lines), &c);
	assert_int_equal(judge_lines(&c, lines, "secret", false), SH_AUTH_NONE);
}

static void one_name_in_several_spellings_is_one_user(void **state)
{
	static const struct {
		const char *name, *sent;
	} spellings[] = {
	    {"alice", "\"alice\""},       {"alice", "alice"},           {"alice", "\"\\a\\l\\ice\""},
	    {"al\"ice", "\"al\\\"ice\""}, {"a\\b", "\"a\\\\b\""},       {"alice@example.org", "\"alice@example.org\""},
	    {"al ice", "\"al ice\""},     {"al%20ice", "\"al%20ice\""}, {"j\xc3\xbcrg", "\"j\xc3\xbcrg\""},
	};
	struct client c = alice();

	(void)state;
	challenge(&c, false);
	for (unsigned i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
		char lines[2048];
		struct sh_credentials found;
		struct sh_msg m;

		c.user = spellings[i].name;
		c.user_as_sent = spellings[i].sent;
		c.nc = i + 1;
		answer(lines, sizeof(lines), &c);
		make_request(&m, &c, lines);
		assert_int_equal(sh_auth_find(auth, &arena, &m, SOURCE, false, REALM, both, 2, now, &found),
				 SH_AUTH_PASSWORD_NEEDED);
		assert_slice(found.username, spellings[i].name);
		assert_int_equal(sh_auth_check(auth, &m, &found, SH_LIT("secret"), false, now), SH_AUTH_OK);
		free(message);
	}
}

static void the_uri_need_not_be_that_of_the_request(void **state)
{
	struct client c = alice();

	(void)state;
	challenge(&c, false);
	c.request_uri = "sip:EXAMPLE.org";
	assert_int_equal(judge(&c), SH_AUTH_OK);
	c.nc = 2;
	c.request_uri = "sip:192.0.2.7:5060"; /* a proxy on the way has changed it: RFC 3261 22.4 */
	assert_int_equal(judge(&c), SH_AUTH_OK);
	assert_int_equal(judge(&c), SH_AUTH_STALE); /* but never twice */
}

/* Else somebody's wrong passwords would be counted against whoever he pretends to be. */
static void move_nonce(void *ctx, const struct sh_nonce_record *r)
{
	sh_nonce_table_put(ctx, r);
}

static void another_table_goes_on_with_the_nonces_of_one(void **state)
{
	struct sh_nonce_table a, b;
	struct sh_nonce used = {NOW - 5 * SH_SECOND, UINT64_C(0x3000000000000001)}, fresh = {NOW, UINT64_C(0x3000000000000002)};
	struct sh_nonce older = {NOW - 10 * SH_SECOND, UINT64_C(0x3000000000000003)};

	(void)state;
	assert_int_equal(sh_nonce_table_init(&a, 16, 300 * SH_SECOND), 0); /* one in each stripe */
	assert_int_equal(sh_nonce_table_init(&b, 1600, 300 * SH_SECOND), 0);
	assert_true(sh_nonce_use(&a, &older, 1, NOW));
	assert_true(sh_nonce_use(&a, &used, 1, NOW)); /* there is no room for the older one any more */
	assert_true(sh_nonce_use(&a, &used, 3, NOW));
	sh_nonce_table_each(&a, move_nonce, &b);
	assert_false(sh_nonce_use(&b, &used, 1, NOW));
	assert_false(sh_nonce_use(&b, &used, 3, NOW));
	assert_true(sh_nonce_use(&b, &used, 2, NOW));
	assert_true(sh_nonce_use(&b, &used, 4, NOW));
	assert_false(sh_nonce_use(&b, &older, 2, NOW)); /* it may have been used */
	assert_true(sh_nonce_use(&b, &fresh, 1, NOW));
	sh_nonce_table_finish(&a);
	sh_nonce_table_finish(&b);
}

static void a_nonce_is_stale_from_another_source(void **state)
{
	struct client c = alice();
	struct sh_slice none = {0};
	struct sh_credentials found;
	struct sh_msg m;
	char lines[2048];

	(void)state;
	challenge(&c, false);
	answer(lines, sizeof(lines), &c);
	make_request(&m, &c, lines);
	assert_int_equal(sh_auth_find(auth, &arena, &m, SH_LIT("10.0.0.3"), false, REALM, both, 2, now, &found), SH_AUTH_STALE);
	assert_int_equal(sh_auth_find(auth, &arena, &m, none, false, REALM, both, 2, now, &found), SH_AUTH_STALE);
	assert_int_equal(sh_auth_find(auth, &arena, &m, SOURCE, false, REALM, both, 2, now, &found), SH_AUTH_PASSWORD_NEEDED);
	free(message);
	sh_arena_reset(&arena);
}

static void a_challenge_that_does_not_fit_is_not_sent(void **state)
{
	const struct sh_auth_challenge ch = {REALM, both, 2, true, false, true, SOURCE};
	struct sh_writer w;
	char text[300];

	(void)state;
	sh_writer_init(&w, text, sizeof(text));
	sh_auth_put_challenge(auth, &rng, now, &ch, &w);
	assert_false(w.full);
	assert_true(sh_slice_starts(sh_writer_text(&w), SH_LIT("Proxy-Authenticate: Digest realm=\"example.org\", ")));
	assert_null(memmem(text, w.len, "qop", 3));
	sh_writer_init(&w, text, 100);
	sh_auth_put_challenge(auth, &rng, now, &ch, &w);
	assert_true(w.full);
}

static void creation_fails_cleanly(void **state)
{
	struct sh_auth *a = NULL;

	(void)state;
	for (long n = 0; !a; n++) {
		sh_alloc_fail_after(n);
		if (sh_auth_create(&a, &rng, &(struct sh_auth_config){0}))
			assert_null(a);
		sh_alloc_fail_after(-1);
	}
	sh_auth_destroy(a);
	sh_auth_destroy(NULL);
}

static int init_digest(void **state)
{
	(void)state;
	return sh_digest_init();
}

static int finish_digest(void **state)
{
	(void)state;
	sh_digest_finish();
	return 0;
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_challenge_offers_the_best_algorithm_first),
	    T(the_right_password_is_ok),
	    T(a_stored_hash_does_for_a_password),
	    T(a_wrong_password_or_nobody_is_wrong),
	    T(a_count_is_accepted_once_and_in_any_order_within_64),
	    T(without_qop_a_nonce_is_good_once),
	    T(an_old_nonce_is_stale),
	    T(a_nonce_cannot_be_forged),
	    cmocka_unit_test_setup_teardown(a_full_table_never_accepts_twice, set_up_small, tear_down),
	    T(a_nonce_needs_no_memory_before_its_use_and_some_then),
	    T(among_several_fields_ours_is_found_the_best_first),
	    T(an_algorithm_that_was_not_offered_is_no_answer),
	    T(one_name_in_several_spellings_is_one_user),
	    T(the_uri_need_not_be_that_of_the_request),
	    T(a_nonce_is_stale_from_another_source),
	    T(a_challenge_that_does_not_fit_is_not_sent),
	    T(creation_fails_cleanly),
	    cmocka_unit_test(another_table_goes_on_with_the_nonces_of_one),
	};

	return cmocka_run_group_tests(tests, init_digest, finish_digest);
}
