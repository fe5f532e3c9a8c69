/* Addresses of record in canonical form (RFC 3261 10.3 step 5), and which hosts are ours. */
#include "registrar_helpers.h"

#include "drivers/sim/sim.h"

static struct sh_slice names[] = {{"example.org", 11}, {"192.0.2.1", 9}, {"[2001:db8::1]", 13}};
static const struct sh_domains ours = {names, 3, NULL};

#define assert_aor(uri, want) check_aor((uri), (want), __FILE__, __LINE__)
static void check_aor(const char *text, const char *want, const char *file, int line)
{
	struct sh_arena a;
	struct sh_slice aor = {NULL, 0};
	struct sh_uri uri;

	sh_arena_init(&a, 256);
	if (sh_uri_parse(&uri, sh_slice_cstr(text)) || sh_aor_canonical(&a, &uri, &ours, &aor))
		aor = SH_LIT("error");
	check_slice(aor, want, file, line);
	sh_arena_finish(&a);
}

static bool is_local(const char *text)
{
	struct sh_uri uri;

	assert_int_equal(sh_uri_parse(&uri, sh_slice_cstr(text)), 0);
	return sh_domains_local(&ours, &uri);
}

static void only_what_names_the_user_stays(void **state)
{
	(void)state;
	assert_aor("sip:alice@atlanta.com", "sip:alice@atlanta.com");
	assert_aor("SIP:alice:secret@Atlanta.COM;user=phone;x=y?h=v", "sip:alice@atlanta.com");
	assert_aor("sips:Alice@atlanta.com", "sip:Alice@atlanta.com"); /* the same resource (RFC 5630 5.2) */
	assert_aor("sip:atlanta.com", "sip:atlanta.com");
	assert_aor("sip:alice@atlanta.com.", "sip:alice@atlanta.com");
}

static void escapes_that_are_not_needed_go(void **state)
{
	(void)state;
	assert_aor("sip:%61l%69ce@atlanta.com", "sip:alice@atlanta.com");
	assert_aor("sip:a%3bb%3B@atlanta.com", "sip:a;b;@atlanta.com");
	/* Those that keep the text a URI stay, in one spelling. */
	assert_aor("sip:a%40b@atlanta.com", "sip:a%40b@atlanta.com");
	assert_aor("sip:a%0d%0aB%00@atlanta.com", "sip:a%0D%0AB%00@atlanta.com");
	assert_aor("sip:j\xc3\xbcrg@atlanta.com", "sip:j%C3%BCrg@atlanta.com");
	assert_aor("sip:j%c3%bcrg@atlanta.com", "sip:j%C3%BCrg@atlanta.com");
}

static void default_ports_go_and_others_stay(void **state)
{
	(void)state;
	assert_aor("sip:a@atlanta.com:5060", "sip:a@atlanta.com");
	assert_aor("sip:a@atlanta.com:5061", "sip:a@atlanta.com:5061");
	assert_aor("sips:a@atlanta.com:5061", "sip:a@atlanta.com");
	assert_aor("sips:a@atlanta.com:5060", "sip:a@atlanta.com:5060");
}

static void an_address_has_one_spelling(void **state)
{
	(void)state;
	assert_aor("sip:a@[2001:DB8:0:0::0002]:5062", "sip:a@[2001:db8::2]:5062");
	assert_aor("sip:a@192.0.2.9", "sip:a@192.0.2.9");
}

static void all_our_hosts_are_the_first_domain(void **state)
{
	(void)state;
	assert_aor("sip:a@EXAMPLE.org:5070", "sip:a@example.org");
	assert_aor("sip:a@192.0.2.1", "sip:a@example.org");
	assert_aor("sip:a@[2001:db8::1]:5060", "sip:a@example.org");
	assert_true(is_local("sip:example.org."));
	assert_true(is_local("sips:a@Example.Org"));
	assert_false(is_local("sip:a@sub.example.org"));
	assert_false(is_local("sip:a@example.orgx"));
	assert_false(is_local("tel:+12"));
	assert_false(is_local("mailto:a@example.org"));
}

static void telephone_numbers_lose_their_decoration(void **state)
{
	(void)state;
	assert_aor("tel:+1-201-555.0(1)23;ext=5", "tel:+12015550123");
	assert_aor("tel:70-42;phone-context=Example.COM", "tel:7042;phone-context=example.com");
	assert_aor("tel:7042", "tel:7042");
	assert_aor("urn:service:sos", "error");
}

static void without_domains_nothing_is_ours(void **state)
{
	struct sh_domains none = {NULL, 0, NULL};
	struct sh_slice aor;
	struct sh_arena a;
	struct sh_uri uri;

	(void)state;
	sh_arena_init(&a, 256);
	assert_int_equal(sh_uri_parse(&uri, SH_LIT("sip:a@example.org:5070")), 0);
	assert_false(sh_domains_local(&none, &uri));
	assert_int_equal(sh_aor_canonical(&a, &uri, &none, &aor), 0);
	assert_slice(aor, "sip:a@example.org:5070");
	assert_int_equal(sh_aor_canonical(&a, &uri, NULL, &aor), 0);
	assert_slice(aor, "sip:a@example.org:5070");
	sh_arena_finish(&a);
}

static void each_of_our_domains_has_users_of_its_own(void **state)
{
	static struct sh_slice two[] = {{"example.org", 11}, {"example.com", 11}, {"192.0.2.1", 9}};
	static const struct sh_domains both = {two, 3, NULL};
	static const struct {
		const char *uri, *aor;
	} cases[] = {
	    {"sip:bob@example.org", "sip:bob@example.org"},
	    {"sip:bob@Example.COM.", "sip:bob@example.com"},
	    {"sip:bob@example.com:5060", "sip:bob@example.com"},
	    {"sip:bob@192.0.2.1", "sip:bob@example.org"},
	    {"sip:bob@example.net", "sip:bob@example.net"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sh_slice aor;
		struct sh_arena a;
		struct sh_uri uri;

		sh_arena_init(&a, 256);
		assert_int_equal(sh_uri_parse(&uri, sh_slice_cstr(cases[i].uri)), 0);
		assert_int_equal(sh_aor_canonical(&a, &uri, &both, &aor), 0);
		assert_slice(aor, cases[i].aor);
		sh_arena_finish(&a);
	}
}

static void nobody_calls(void *ctx, const struct sh_msg *m, const struct sh_path *from, int code, const char *why)
{
	(void)ctx, (void)m, (void)from, (void)code, (void)why;
}

static void nothing_closes(void *ctx, uint64_t flow, int error)
{
	(void)ctx, (void)flow, (void)error;
}

static void nothing_fails(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error)
{
	(void)ctx, (void)remote, (void)branch, (void)error;
}

static void the_endpoints_are_ours_too(void **state)
{
	static const struct sh_transport_user user = {
	    .message = nobody_calls, .flow_closed = nothing_closes, .unreachable = nothing_fails};
	static const struct {
		const char *uri, *aor;
	} cases[] = {
	    {"sip:a@203.0.113.5:5070", "sip:a@example.org"},
	    {"sip:a@203.0.113.5", "sip:a@example.org"},
	    {"sip:a@203.0.113.5:5080", "sip:a@203.0.113.5:5080"},
	    {"sip:a@Gate.example.net:6070", "sip:a@example.org"},
	    {"sip:a@gate.example.net", "sip:a@example.org"},
	    {"sip:a@203.0.113.6:5070", "sip:a@203.0.113.6:5070"},
	    /* A name of ours counts at our ports and at the default one. */
	    {"sip:a@example.org:5070", "sip:a@example.org"},
	    {"sip:a@example.org:6070", "sip:a@example.org"},
	    {"sip:a@example.org:5060", "sip:a@example.org"},
	    {"sip:a@example.org:5080", "sip:a@example.org:5080"},
	};
	struct sh_domains d = {names, 1, NULL};
	struct sh_addr local;
	struct sh_transport *t = NULL;
	struct sh_sim *sim = NULL;
	struct sh_env *env;
	struct sh_slice aor;
	struct sh_arena a;
	struct sh_uri uri;

	(void)state;
	assert_int_equal(sh_sim_create(&sim, &(struct sh_sim_options){.seed = 1}), 0);
	env = sh_sim_env_create(sim, 0, 1);
	assert_non_null(env);
	assert_int_equal(sh_transport_create(&t, env, &(struct sh_transport_config){0}, &user, NULL), 0);
	assert_int_equal(sh_addr_parse(&local, SH_LIT("203.0.113.5"), 5070), 0);
	assert_int_equal(sh_transport_listen(t, SH_PROTO_UDP, &local, SH_LIT("gate.example.net"), 6070), 0);
	d.transport = t;
	sh_arena_init(&a, 256);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(sh_uri_parse(&uri, sh_slice_cstr(cases[i].uri)), 0);
		assert_int_equal(sh_aor_canonical(&a, &uri, &d, &aor), 0);
		assert_slice(aor, cases[i].aor);
	}
	/* Without a name of our own the first endpoint's serves as one. */
	d.count = 0;
	assert_int_equal(sh_uri_parse(&uri, SH_LIT("sip:a@203.0.113.5:5070")), 0);
	assert_int_equal(sh_aor_canonical(&a, &uri, &d, &aor), 0);
	assert_slice(aor, "sip:a@gate.example.net");
	sh_arena_finish(&a);
	sh_sim_env_stop(env);
	sh_transport_destroy(t);
	sh_sim_destroy(sim);
}

static void a_lack_of_memory_is_said(void **state)
{
	struct sh_slice aor;
	struct sh_uri uri;
	int err = -ENOMEM;

	(void)state;
	assert_int_equal(sh_uri_parse(&uri, SH_LIT("sip:a@example.org")), 0);
	for (long n = 0; err; n++) {
		struct sh_arena a;

		sh_arena_init(&a, 16);
		sh_alloc_fail_after(n);
		err = sh_aor_canonical(&a, &uri, &ours, &aor);
		sh_alloc_fail_after(-1);
		sh_arena_finish(&a);
		assert_true(err == 0 || err == -ENOMEM);
		assert_true(err == -ENOMEM || n > 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(only_what_names_the_user_stays),
	    cmocka_unit_test(escapes_that_are_not_needed_go),
	    cmocka_unit_test(default_ports_go_and_others_stay),
	    cmocka_unit_test(an_address_has_one_spelling),
	    cmocka_unit_test(all_our_hosts_are_the_first_domain),
	    cmocka_unit_test(telephone_numbers_lose_their_decoration),
	    cmocka_unit_test(without_domains_nothing_is_ours),
	    cmocka_unit_test(each_of_our_domains_has_users_of_its_own),
	    cmocka_unit_test(the_endpoints_are_ours_too),
	    cmocka_unit_test(a_lack_of_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
