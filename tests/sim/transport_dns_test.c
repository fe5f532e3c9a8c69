/* RFC 3263 on the virtual zone: NAPTR, SRV with weights, addresses; what is cached and for how long; who is tried last. */
#include "transport_helpers.h"

struct answer {
	unsigned calls, count;
	int error;
	struct sh_path paths[SH_MAX_CANDIDATES];
};

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct answer *a = ctx;

	a->calls++;
	a->count = count;
	a->error = error;
	memcpy(a->paths, paths, count * sizeof(*paths));
}

/* What locate says at once: > 0 paths, 0 later, or an error. */
static int ask(struct world *w, const char *text, struct answer *a)
{
	struct sh_locate *pending = NULL;
	struct sh_uri uri;
	int n;

	memset(a, 0, sizeof(*a));
	assert_int_equal(sh_uri_parse(&uri, sh_slice_cstr(text)), 0);
	n = sh_transport_locate(w->s->t, &uri, -1, a->paths, on_located, a, &pending);
	a->count = n > 0 ? (unsigned)n : 0;
	return n;
}

static struct answer find(struct world *w, const char *text)
{
	struct answer a;
	int n = ask(w, text, &a);

	if (n < 0)
		a.error = n;
	if (n == 0) {
		world_run(w);
		assert_int_equal(a.calls, 1);
	}
	return a;
}

static void goes(const struct answer *a, unsigned i, enum sh_proto proto, const char *ip, unsigned port)
{
	assert_true(i < a->count);
	assert_int_equal(a->paths[i].proto, proto);
	assert_addr(&a->paths[i].remote, ip, port);
}

static void record(struct world *w, const char *name, const char *text)
{
	assert_int_equal(sh_sim_add_record(w->sim, name, text), 0);
}

static struct world new_world(void)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);

	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	server_listen(w.s, SH_PROTO_TCP, "10.0.0.1", 5060);
	server_listen(w.s, SH_PROTO_TCP, "fd00::1", 5060);
	return w;
}

static void naptr_says_which_transport_and_srv_where(void **state)
{
	struct world w = new_world();
	struct answer a;

	(void)state;
	record(&w, "example.org", "60 NAPTR 50 50 s SIPS+D2T _sips._tcp.example.org"); /* we have no TLS */
	record(&w, "example.org", "60 NAPTR 100 50 s SIP+D2U _sip._udp.example.org");
	record(&w, "example.org", "60 NAPTR 90 20 s SIP+D2T _sip._tcp.elsewhere.net");
	record(&w, "example.org", "60 NAPTR 10 20 u E2U+sip _sip._tcp.elsewhere.net");
	record(&w, "_sip._tcp.elsewhere.net", "60 SRV 2 0 5070 b.elsewhere.net");
	record(&w, "_sip._tcp.elsewhere.net", "60 SRV 1 0 5080 a.elsewhere.net");
	record(&w, "_sip._udp.example.org", "60 SRV 0 0 5060 c.example.org");
	record(&w, "a.elsewhere.net", "60 A 10.0.1.1");
	record(&w, "a.elsewhere.net", "60 AAAA fd00::11");
	record(&w, "b.elsewhere.net", "60 A 10.0.1.2");
	record(&w, "c.example.org", "60 A 10.0.1.3");
	a = find(&w, "sip:bob@Example.ORG");
	assert_int_equal(a.count, 4);
	goes(&a, 0, SH_PROTO_TCP, "10.0.1.1", 5080);
	goes(&a, 1, SH_PROTO_TCP, "fd00::11", 5080);
	goes(&a, 2, SH_PROTO_TCP, "10.0.1.2", 5070);
	goes(&a, 3, SH_PROTO_UDP, "10.0.1.3", 5060);
	world_free(&w);
}

static void without_naptr_srv_of_our_transports_is_asked(void **state)
{
	struct world w = new_world();
	struct answer a;

	(void)state;
	record(&w, "_sip._tcp.example.org", "60 SRV 0 0 5071 tcp.example.org");
	record(&w, "tcp.example.org", "60 A 10.0.1.1");
	a = find(&w, "sip:bob@example.org");
	assert_int_equal(a.count, 1);
	goes(&a, 0, SH_PROTO_TCP, "10.0.1.1", 5071);
	record(&w, "_sip._udp.example.org", "60 SRV 0 0 5072 udp.example.org");
	record(&w, "udp.example.org", "60 A 10.0.1.2");
	sh_sim_advance(w.sim, 61 * SH_SECOND);
	a = find(&w, "sip:bob@example.org");
	assert_int_equal(a.count, 2);
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.2", 5072);
	goes(&a, 1, SH_PROTO_TCP, "10.0.1.1", 5071);
	a = find(&w, "sip:bob@example.org;transport=tcp"); /* said: the other one is not asked for */
	assert_int_equal(a.count, 1);
	goes(&a, 0, SH_PROTO_TCP, "10.0.1.1", 5071);
	world_free(&w);
}

static void without_srv_or_with_a_port_the_host_itself_is_meant(void **state)
{
	struct world w = new_world();
	struct answer a;
	uint64_t before;

	(void)state;
	record(&w, "example.org", "60 A 10.0.1.1");
	record(&w, "_sip._udp.ported.org", "60 SRV 0 0 5072 nowhere.org");
	record(&w, "ported.org", "60 A 10.0.1.2");
	a = find(&w, "sip:bob@example.org");
	assert_int_equal(a.count, 1);
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.1", 5060);
	a = find(&w, "sip:bob@example.org;transport=tcp");
	goes(&a, 0, SH_PROTO_TCP, "10.0.1.1", 5060);
	before = sh_sim_queries(w.sim);
	a = find(&w, "sip:bob@ported.org:5062");
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.2", 5062);
	assert_int_equal(sh_sim_queries(w.sim) - before, 2); /* A and AAAA, nothing else */
	world_free(&w);
}

static void a_service_that_is_not_to_be_had_is_not_called(void **state)
{
	struct world w = new_world();
	struct answer a;

	(void)state;
	record(&w, "_sip._udp.example.org", "60 SRV 0 0 0 .");
	record(&w, "_sip._tcp.example.org", "60 SRV 0 0 0 .");
	record(&w, "example.org", "60 A 10.0.1.1");
	a = find(&w, "sip:bob@example.org");
	assert_int_equal(a.count, 0);
	assert_int_equal(a.error, -ENOENT);
	a = find(&w, "sips:bob@example.org");
	assert_int_equal(a.error, -EPROTONOSUPPORT);
	world_free(&w);
}

static void servers_of_one_priority_share_the_load_by_weight(void **state)
{
	struct world w = new_world();
	unsigned first[4] = {0};
	struct answer a;

	(void)state;
	record(&w, "_sip._udp.example.org", "3600 SRV 10 60 5060 a.example.org");
	record(&w, "_sip._udp.example.org", "3600 SRV 10 30 5060 b.example.org");
	record(&w, "_sip._udp.example.org", "3600 SRV 10 10 5060 c.example.org");
	record(&w, "_sip._udp.example.org", "3600 SRV 20 100 5060 d.example.org");
	record(&w, "_sip._udp.example.org", "3600 SRV 10 0 5060 e.example.org");
	record(&w, "a.example.org", "3600 A 10.0.1.0");
	record(&w, "b.example.org", "3600 A 10.0.1.1");
	record(&w, "c.example.org", "3600 A 10.0.1.2");
	record(&w, "d.example.org", "3600 A 10.0.1.3");
	record(&w, "e.example.org", "3600 A 10.0.1.4");
	for (unsigned i = 0; i < 4000; i++) {
		a = find(&w, "sip:bob@example.org;transport=udp");
		assert_int_equal(a.count, 5);
		goes(&a, 4, SH_PROTO_UDP, "10.0.1.3", 5060); /* the lower priority always comes behind */
		if (a.paths[0].remote.ip[3] < 3)
			first[a.paths[0].remote.ip[3]]++;
		if (i == 0) /* what "no" is known for holds 30 s */
			sh_sim_advance(w.sim, SH_SECOND);
	}
	assert_in_range(first[0], 2240, 2560); /* 60 % */
	assert_in_range(first[1], 1080, 1320);
	assert_in_range(first[2], 320, 480);
	world_free(&w);
}

static void an_answer_is_kept_for_its_time_to_live(void **state)
{
	struct world w = new_world();
	struct answer a;
	uint64_t asked;

	(void)state;
	record(&w, "_sip._udp.example.org", "40 SRV 0 0 5060 a.example.org");
	record(&w, "a.example.org", "100 A 10.0.1.1");
	find(&w, "sip:bob@example.org;transport=udp");
	asked = sh_sim_queries(w.sim);
	sh_sim_advance(w.sim, 39 * SH_SECOND);
	assert_int_equal(ask(&w, "sip:bob@example.org;transport=udp", &a), 1); /* at once */
	assert_int_equal(sh_sim_queries(w.sim), asked);
	sh_sim_advance(w.sim, SH_SECOND);
	a = find(&w, "sip:bob@example.org;transport=udp");
	assert_int_equal(a.count, 1);
	assert_int_equal(sh_sim_queries(w.sim), asked + 1); /* SRV alone: the address lives on */
	world_free(&w);
}

static void no_is_kept_too_and_a_failure_for_a_moment(void **state)
{
	struct world w = new_world();
	struct answer a;

	(void)state;
	a = find(&w, "sip:bob@nowhere.org:5060");
	assert_int_equal(a.error, -ENOENT);
	record(&w, "nowhere.org", "60 A 10.0.1.1");
	sh_sim_advance(w.sim, 29 * SH_SECOND);
	assert_int_equal(ask(&w, "sip:bob@nowhere.org:5060", &a), -ENOENT);
	sh_sim_advance(w.sim, SH_SECOND);
	a = find(&w, "sip:bob@nowhere.org:5060");
	assert_int_equal(a.count, 1);

	assert_int_equal(sh_sim_fail_name(w.sim, "broken.org", -EAGAIN), 0);
	a = find(&w, "sip:bob@broken.org:5060");
	assert_int_equal(a.error, -EAGAIN);
	assert_int_equal(sh_sim_fail_name(w.sim, "broken.org", 0), 0);
	record(&w, "broken.org", "60 A 10.0.1.2");
	assert_int_equal(ask(&w, "sip:bob@broken.org:5060", &a), -EAGAIN);
	sh_sim_advance(w.sim, 5 * SH_SECOND);
	a = find(&w, "sip:bob@broken.org:5060");
	assert_int_equal(a.count, 1);
	world_free(&w);
}

static void an_old_answer_serves_while_the_name_server_is_down(void **state)
{
	struct world w = new_world();
	struct answer a;

	(void)state;
	record(&w, "example.org", "60 A 10.0.1.1");
	find(&w, "sip:bob@example.org:5060");
	assert_int_equal(sh_sim_fail_name(w.sim, "example.org", -EAGAIN), 0);
	sh_sim_advance(w.sim, 600 * SH_SECOND);
	a = find(&w, "sip:bob@example.org:5060");
	assert_int_equal(a.count, 1);
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.1", 5060);
	assert_int_equal(ask(&w, "sip:bob@example.org:5060", &a), 1); /* for a while without a wait */
	sh_sim_advance(w.sim, 3700 * SH_SECOND);
	a = find(&w, "sip:bob@example.org:5060");
	assert_int_equal(a.error, -EAGAIN); /* but not for ever */
	world_free(&w);
}

static void what_may_not_be_kept_serves_the_one_who_asked(void **state)
{
	struct world w = new_world();
	struct answer a;

	(void)state;
	record(&w, "example.org", "0 NAPTR 1 1 s SIP+D2U _sip._udp.example.org");
	record(&w, "_sip._udp.example.org", "0 SRV 0 0 5060 a.example.org");
	record(&w, "a.example.org", "0 A 10.0.1.1");
	a = find(&w, "sip:bob@example.org");
	assert_int_equal(a.count, 1);
	sh_sim_advance(w.sim, SH_MS);
	assert_int_equal(ask(&w, "sip:bob@example.org", &a), 0);
	world_run(&w);
	assert_int_equal(a.count, 1);
	world_free(&w);
}

static void one_question_serves_all_that_wait(void **state)
{
	struct world w = new_world();
	struct answer many[20];

	(void)state;
	record(&w, "example.org", "60 A 10.0.1.1");
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(ask(&w, "sip:bob@example.org:5060", &many[i]), 0);
	world_run(&w);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(many[i].calls, 1);
		assert_int_equal(many[i].count, 1);
	}
	assert_int_equal(sh_sim_queries(w.sim), 2);
	world_free(&w);
}

static void names_without_number_do_not_fill_the_memory(void **state)
{
	struct world w = new_world();
	struct answer a;
	char text[64];

	(void)state;
	record(&w, "example.org", "3600 A 10.0.1.1");
	for (unsigned i = 0; i < 6000; i++) {
		snprintf(text, sizeof(text), "sip:bob@n%u.example.net:5060", i);
		ask(&w, text, &a);
		world_run(&w);
		if (i % 100 == 0) /* used now and then: it stays */
			find(&w, "sip:bob@example.org:5060");
	}
	assert_int_equal(ask(&w, "sip:bob@example.org:5060", &a), 1);
	assert_int_equal(ask(&w, "sip:bob@n1.example.net:5060", &a), 0); /* long gone */
	world_run(&w);
	world_free(&w);
}

/* The answer that a search works on is the only one that could make room for its next question. */
static void a_full_cache_does_not_lose_the_answer_in_hand(void **state)
{
	enum { OTHERS = 2047 }; /* A and AAAA each */
	struct answer *others = calloc(OTHERS + 1, sizeof(*others)), a;
	struct world w = new_world();
	char uri[64];

	(void)state;
	record(&w, "example.org", "60 NAPTR 10 50 s SIP+D2U _sip._udp.one.example.org");
	record(&w, "example.org", "60 NAPTR 20 50 s SIP+D2T _sip._tcp.two.example.org");
	assert_int_equal(ask(&w, "sip:example.org", &a), 0);
	assert_int_equal(ask(&w, "sip:another.test", &others[OTHERS]), 0);
	for (unsigned i = 0; i < OTHERS; i++) {
		snprintf(uri, sizeof(uri), "sip:n%u.test:5060", i);
		assert_int_equal(ask(&w, uri, &others[i]), 0);
	}
	assert_int_equal(sh_transport_stats(w.s->t)->dns_queries, 4096);
	world_run(&w);
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.error, -EAGAIN);
	record(&w, "_sip._udp.one.example.org", "60 SRV 1 0 5070 one.example.org");
	record(&w, "one.example.org", "60 A 10.0.0.31");
	a = find(&w, "sip:example.org"); /* now there is room */
	goes(&a, 0, SH_PROTO_UDP, "10.0.0.31", 5070);
	world_free(&w);
	free(others);
}

static void who_did_not_answer_is_tried_last_for_a_while(void **state)
{
	struct world w = new_world();
	struct answer a;
	struct sh_path bad;

	(void)state;
	record(&w, "example.org", "3600 A 10.0.1.1");
	record(&w, "example.org", "3600 A 10.0.1.2");
	a = find(&w, "sip:bob@example.org:5060");
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.1", 5060);
	bad = a.paths[0];
	sh_transport_avoid(w.s->t, &bad, 0);
	a = find(&w, "sip:bob@example.org:5060");
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.2", 5060);
	goes(&a, 1, SH_PROTO_UDP, "10.0.1.1", 5060); /* but it is tried */
	a = find(&w, "sip:bob@example.org:5060;transport=tcp");
	goes(&a, 0, SH_PROTO_TCP, "10.0.1.1", 5060); /* another transport of it may work */
	sh_sim_advance(w.sim, 29 * SH_SECOND);
	a = find(&w, "sip:bob@example.org:5060");
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.2", 5060);
	sh_sim_advance(w.sim, SH_SECOND);
	a = find(&w, "sip:bob@example.org:5060");
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.1", 5060);
	sh_transport_avoid(w.s->t, &bad, 3000 * SH_SECOND);
	sh_sim_advance(w.sim, 299 * SH_SECOND);
	a = find(&w, "sip:bob@example.org:5060");
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.2", 5060);
	sh_transport_works(w.s->t, &bad);
	a = find(&w, "sip:bob@example.org:5060");
	goes(&a, 0, SH_PROTO_UDP, "10.0.1.1", 5060);
	for (unsigned i = 0; i < 3000; i++) { /* what fails on the way is bounded */
		bad.remote.port = (uint16_t)(1000 + i);
		sh_transport_avoid(w.s->t, &bad, 0);
	}
	world_free(&w);
}

static void memory_that_is_out_is_an_answer(void **state)
{
	(void)state;
	for (long skip = 0; skip < 40; skip++) {
		struct world w = new_world();
		struct answer a;
		int n;

		record(&w, "example.org", "60 NAPTR 1 1 s SIP+D2U _sip._udp.example.org");
		record(&w, "_sip._udp.example.org", "60 SRV 0 0 5060 a.example.org");
		record(&w, "a.example.org", "60 A 10.0.1.1");
		sh_alloc_fail_after(skip);
		n = ask(&w, "sip:bob@example.org", &a);
		if (n == 0) {
			world_run(&w);
			sh_alloc_fail_after(-1);
			assert_int_equal(a.calls, 1);
			assert_true(a.count > 0 || a.error < 0);
		}
		sh_alloc_fail_after(-1);
		world_free(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(naptr_says_which_transport_and_srv_where),
	    cmocka_unit_test(without_naptr_srv_of_our_transports_is_asked),
	    cmocka_unit_test(without_srv_or_with_a_port_the_host_itself_is_meant),
	    cmocka_unit_test(a_service_that_is_not_to_be_had_is_not_called),
	    cmocka_unit_test(servers_of_one_priority_share_the_load_by_weight),
	    cmocka_unit_test(an_answer_is_kept_for_its_time_to_live),
	    cmocka_unit_test(no_is_kept_too_and_a_failure_for_a_moment),
	    cmocka_unit_test(an_old_answer_serves_while_the_name_server_is_down),
	    cmocka_unit_test(what_may_not_be_kept_serves_the_one_who_asked),
	    cmocka_unit_test(one_question_serves_all_that_wait),
	    cmocka_unit_test(names_without_number_do_not_fill_the_memory),
	    cmocka_unit_test(a_full_cache_does_not_lose_the_answer_in_hand),
	    cmocka_unit_test(who_did_not_answer_is_tried_last_for_a_while),
	    cmocka_unit_test(memory_that_is_out_is_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
