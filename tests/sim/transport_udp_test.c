#include "transport_helpers.h"

#define BODY(method, extra)                                                                                            \
	method " sip:bob@example.org SIP/2.0\r\n"                                                                      \
	       "Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKx;rport\r\n"                                              \
	       "From: <sip:alice@example.org>;tag=a1\r\nTo: <sip:bob@example.org>\r\n"                                 \
	       "Call-ID: c1\r\n" extra

#define OPTIONS BODY("OPTIONS", "CSeq: 7 OPTIONS\r\n\r\n")

static void peer_sends(struct world *w, const char *to, const char *data, size_t len)
{
	struct sh_addr a = addr(to, 5060);

	peer_send(w->p, &a, data, len);
	world_run(w);
}

static void a_datagram_is_handed_up_with_its_addresses(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);

	(void)state;
	server_listen(w.s, SH_PROTO_TCP, "10.0.0.1", 5060);
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	peer_bind(w.p, "10.0.0.2", 5071);
	peer_sends(&w, "10.0.0.1", OPTIONS, strlen(OPTIONS));
	assert_int_equal(w.s->count, 1);
	assert_int_equal(w.s->got[0].code, 0);
	assert_string_equal(w.s->got[0].text, OPTIONS);
	assert_int_equal(w.s->got[0].path.proto, SH_PROTO_UDP);
	assert_int_equal(w.s->got[0].path.endpoint, 1);
	assert_int_equal(w.s->got[0].path.flow, 0);
	assert_addr(&w.s->got[0].path.local, "10.0.0.1", 5060);
	assert_addr(&w.s->got[0].path.remote, "10.0.0.2", 5071);
	assert_true(w.s->turns >= 1);
	assert_int_equal(sh_transport_stats(w.s->t)->datagrams_in, 1);
	assert_int_equal(sh_transport_stats(w.s->t)->messages_in, 1);
	world_free(&w);
}

static void an_answer_goes_back_the_way_of_the_request(const char *server, const char *peer, const char *listen)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	uint64_t flow = 99;

	server_listen(w.s, SH_PROTO_UDP, listen, 5060);
	peer_bind(w.p, peer, 5071);
	peer_sends(&w, server, OPTIONS, strlen(OPTIONS));
	assert_int_equal(w.s->count, 1);
	assert_addr(&w.s->got[0].path.local, server, 5060);
	assert_int_equal(server_send(w.s, &w.s->got[0].path, "SIP/2.0 200 OK\r\n\r\n", &flow), 0);
	assert_int_equal(flow, 0);
	world_run(&w);
	assert_int_equal(w.p->datagrams, 1);
	assert_string_equal(w.p->text, "SIP/2.0 200 OK\r\n\r\n");
	assert_addr(&w.p->remote, server, 5060);
	assert_int_equal(sh_transport_stats(w.s->t)->datagrams_out, 1);
	assert_int_equal(sh_transport_stats(w.s->t)->messages_out, 1);
	world_free(&w);
}

static void datagrams_go_both_ways_over_ipv4(void **state)
{
	(void)state;
	an_answer_goes_back_the_way_of_the_request("10.0.0.1", "10.0.0.2", "10.0.0.1");
}

static void datagrams_go_both_ways_over_ipv6(void **state)
{
	(void)state;
	an_answer_goes_back_the_way_of_the_request("fd00::1", "fd00::2", "::");
}

static void an_answer_leaves_from_the_address_that_was_asked(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_addr first = addr("192.0.2.1", 0), second = addr("192.0.2.2", 0);

	(void)state;
	assert_int_equal(sh_sim_host_add_addr(w.s->env, &first), 0);
	assert_int_equal(sh_sim_host_add_addr(w.s->env, &second), 0);
	server_listen(w.s, SH_PROTO_UDP, "0.0.0.0", 5060);
	peer_bind(w.p, "10.0.0.2", 5060);
	const char *ways[] = {"192.0.2.2", "10.0.0.1", "192.0.2.1"};
	for (size_t i = 0; i < 3; i++) {
		char buf[SH_ADDR_TEXT];
		struct sh_slice host;
		uint16_t port;

		peer_sends(&w, ways[i], OPTIONS, strlen(OPTIONS));
		assert_int_equal(w.s->count, i + 1);
		assert_int_equal(server_send(w.s, &w.s->got[i].path, "SIP/2.0 200 OK\r\n\r\n", NULL), 0);
		world_run(&w);
		assert_addr(&w.p->remote, ways[i], 5060);
		sh_transport_sent_by(w.s->t, &w.s->got[i].path, buf, &host, &port);
		assert_slice(host, ways[i]);
		assert_int_equal(port, 5060);
	}
	world_free(&w);
}

static void a_malformed_request_is_handed_up_with_its_code(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	const char *bad = BODY("OPTIONS", "CSeq: 7 INVITE\r\n\r\n");
	const char *version = "OPTIONS sip:bob@example.org SIP/7.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bKx\r\n"
			      "From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n";

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	peer_bind(w.p, "10.0.0.2", 5060);
	peer_sends(&w, "10.0.0.1", bad, strlen(bad));
	peer_sends(&w, "10.0.0.1", version, strlen(version));
	assert_int_equal(w.s->count, 2);
	assert_int_equal(w.s->got[0].code, 400);
	assert_int_equal(w.s->got[1].code, 505);
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 2);
	assert_int_equal(sh_transport_stats(w.s->t)->messages_in, 2);
	world_free(&w);
}

struct lines {
	unsigned count;
	char last[1024];
};

static void keep_line(enum sh_log_level level, const char *line, size_t len, void *ctx)
{
	struct lines *l = ctx;

	(void)level, (void)len;
	l->count++;
	snprintf(l->last, sizeof(l->last), "%s", line);
}

static void what_cannot_be_answered_is_dropped_and_logged_within_limits(void **state)
{
	struct lines lines = {0};
	struct sh_log log;
	struct world w;
	const char *ack = BODY("ACK", "CSeq: 7 INVITE\r\n\r\n");

	(void)state;
	sh_log_init(&log, SH_LOG_WARN, keep_line, &lines);
	w = world_new((struct sh_sim_options){.log = &log}, NULL);
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	peer_bind(w.p, "10.0.0.2", 5060);
	peer_sends(&w, "10.0.0.1", ack, strlen(ack));
	assert_int_equal(lines.count, 1);
	assert_non_null(strstr(lines.last, "udp 10.0.0.2:5060: message dropped: "));
	assert_non_null(strstr(lines.last, "Call-ID c1"));
	for (int i = 0; i < 200; i++)
		peer_sends(&w, "10.0.0.1", "hello", 5);
	assert_int_equal(w.s->count, 0);
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 201);
	assert_true(lines.count > 2 && lines.count < 60);
	world_free(&w);
}

static void keep_alives_are_counted_and_nothing_else(void **state)
{
	static const struct sh_slice all[] = {
	    {"\r\n\r\n", 4},
	    {"\r\n", 2},
	    {"", 0},
	    {"\0\0\0\0", 4},
	    {"   ", 3},
	    {"\0\1\0\0\x21\x12\xa4\x42"
	     "abcdefghijkl",
	     20},
	};
	struct world w = world_new((struct sh_sim_options){0}, NULL);

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	peer_bind(w.p, "10.0.0.2", 5060);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		peer_sends(&w, "10.0.0.1", all[i].base, all[i].len);
		assert_int_equal(sh_transport_stats(w.s->t)->keepalives, i + 1);
	}
	assert_int_equal(w.s->count, 0);
	assert_int_equal(w.p->datagrams, 1); /* STUN gets its answer */
	assert_int_equal(w.p->len, 32);
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 0);
	peer_sends(&w, "10.0.0.1", "\0\1\0\0abcdefghijklmnop", 20); /* like STUN, but without the cookie */
	assert_int_equal(sh_transport_stats(w.s->t)->malformed, 1);
	world_free(&w);
}

static void line_ends_before_a_message_are_passed_over(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	const char *text = "\r\n\r\n" OPTIONS;

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	peer_bind(w.p, "10.0.0.2", 5060);
	peer_sends(&w, "10.0.0.1", text, strlen(text));
	assert_int_equal(w.s->count, 1);
	assert_int_equal(w.s->got[0].cseq, 7);
	world_free(&w);
}

static void what_comes_back_names_its_branch(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_path path = {.proto = SH_PROTO_UDP};
	char quoted[1024];

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	path.remote = addr("10.0.0.2", 5099);
	assert_int_equal(server_send(w.s, &path, OPTIONS, NULL), 0);
	world_run(&w);
	assert_int_equal(w.s->unreachable, 1);
	assert_int_equal(w.s->error, -ECONNREFUSED);
	assert_string_equal(w.s->branch, "z9hG4bKx");
	assert_addr(&w.s->remote, "10.0.0.2", 5099);

	/* What came back may end anywhere; then there is a whole branch or none. */
	for (size_t len = 0; len <= strlen(OPTIONS); len++) {
		memcpy(quoted, OPTIONS, len);
		w.s->env->events->udp_error(w.s->env->events_ctx, NULL, &path.remote, -EHOSTUNREACH, quoted, len);
		assert_true(w.s->branch[0] == '\0' || strcmp(w.s->branch, "z9hG4bKx") == 0);
	}
	assert_string_equal(w.s->branch, "z9hG4bKx");
	const char *compact =
	    "INVITE x SIP/2.0\r\nX: 1;branch=no\r\nv : SIP/2.0/UDP a;x=\",\" ;branch=yes, b;branch=z\r\n";
	w.s->env->events->udp_error(w.s->env->events_ctx, NULL, &path.remote, -1, compact, strlen(compact));
	assert_string_equal(w.s->branch, "yes");
	w.s->env->events->udp_error(w.s->env->events_ctx, NULL, &path.remote, -1, "\r\n", 2);
	assert_string_equal(w.s->branch, "");
	world_free(&w);
}

static void what_has_no_endpoint_cannot_be_sent(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_path path = {.proto = SH_PROTO_UDP};
	static char large[65600];

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	assert_int_equal(server_send(w.s, &path, OPTIONS, NULL), -EHOSTUNREACH);
	path.remote = addr("fd00::2", 5060);
	assert_int_equal(server_send(w.s, &path, OPTIONS, NULL), -EHOSTUNREACH);
	path.remote = addr("10.0.0.2", 0);
	assert_int_equal(server_send(w.s, &path, OPTIONS, NULL), -EHOSTUNREACH);
	path.remote = addr("10.0.0.2", 5060);
	path.proto = SH_PROTO_TCP;
	assert_int_equal(server_send(w.s, &path, OPTIONS, NULL), -EHOSTUNREACH);
	path.proto = SH_PROTO_UDP;
	memset(large, 'x', sizeof(large) - 1);
	assert_int_equal(server_send(w.s, &path, large, NULL), -EMSGSIZE);
	assert_int_equal(sh_transport_send(w.s->t, &path, sh_slice_make(large, 65508), NULL), -EMSGSIZE);
	assert_int_equal(sh_transport_stats(w.s->t)->messages_out, 0);
	world_free(&w);
}

static void a_wrong_endpoint_is_replaced_by_one_that_fits(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_path path = {.proto = SH_PROTO_UDP, .endpoint = 0};

	(void)state;
	server_listen(w.s, SH_PROTO_TCP, "10.0.0.1", 5060);
	server_listen(w.s, SH_PROTO_UDP, "fd00::1", 5060);
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5080);
	peer_bind(w.p, "10.0.0.2", 5060);
	path.remote = addr("10.0.0.2", 5060);
	assert_int_equal(server_send(w.s, &path, OPTIONS, NULL), 0);
	path.endpoint = 200;
	assert_int_equal(server_send(w.s, &path, OPTIONS, NULL), 0);
	world_run(&w);
	assert_int_equal(w.p->datagrams, 2);
	assert_addr(&w.p->remote, "10.0.0.1", 5080);
	world_free(&w);
}

static void receiving_and_sending_datagrams_allocates_nothing(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "0.0.0.0", 5060);
	w.s->keep_no_text = true;
	peer_bind(w.p, "10.0.0.2", 5060);
	peer_sends(&w, "10.0.0.1", OPTIONS, strlen(OPTIONS)); /* from now on this address of ours is known */
	sh_alloc_fail_after(0);
	for (int i = 0; i < 10; i++)
		peer_sends(&w, "10.0.0.1", OPTIONS, strlen(OPTIONS));
	assert_int_equal(sh_alloc_count(), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(server_send(w.s, &w.s->got[i].path, OPTIONS, NULL), 0);
	world_run(&w);
	assert_int_equal(sh_alloc_count(), 0);
	sh_alloc_fail_after(-1);
	assert_int_equal(w.s->count, 11);
	assert_int_equal(w.p->datagrams, 10);
	world_free(&w);
}

static void garbage_is_survived(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct world w = world_new((struct sh_sim_options){.seed = seed}, NULL);
		struct sh_random r;
		size_t len = strlen(OPTIONS);

		sh_random_init_seed(&r, seed);
		server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
		peer_bind(w.p, "10.0.0.2", 5060);
		for (int i = 0; i < 100; i++) {
			char *text = malloc(len + 64);
			size_t n = sh_random_below(&r, 2) ? len : (size_t)sh_random_below(&r, len + 64);

			sh_random_bytes(&r, text, len + 64);
			if (sh_random_below(&r, 4))
				memcpy(text, OPTIONS, n < len ? n : len);
			for (uint64_t k = sh_random_below(&r, 6); k > 0 && n > 0; k--)
				text[sh_random_below(&r, n)] = (char)sh_random_u64(&r);
			peer_sends(&w, "10.0.0.1", text, n);
			free(text);
		}
		assert_int_equal(sh_transport_stats(w.s->t)->datagrams_in, 100);
		peer_sends(&w, "10.0.0.1", OPTIONS, len);
		assert_true(w.s->count > 0);
		assert_int_equal(w.s->got[w.s->count - 1].code, 0);
		world_free(&w);
	}
}

/* Everything from nothing to an answered request; returns whether it worked. */
static bool exchange(void)
{
	struct sh_sim_options o = {.delay_min = 1000, .delay_max = 1000};
	struct sh_addr a = addr("0.0.0.0", 5060), to = addr("10.0.0.1", 5060);
	struct world w = {0};
	bool ok = false;

	if (sh_sim_create(&w.sim, &o) < 0)
		return false;
	w.s = server_try(w.sim, NULL, 0, 1);
	w.p = peer_try(w.sim);
	if (w.s && w.p && sh_transport_listen(w.s->t, SH_PROTO_UDP, &a, SH_LIT(""), 0) == 0) {
		struct sh_addr b = addr("10.0.0.2", 5060);
		if (w.p->env->driver->udp_open(w.p->env, &b, NULL, &w.p->udp, &b) == 0) {
			peer_send(w.p, &to, OPTIONS, strlen(OPTIONS));
			sh_sim_advance(w.sim, 10 * SH_MS);
			assert_int_equal(w.s->count, 1);
			assert_int_equal(server_send(w.s, &w.s->got[0].path, "SIP/2.0 200 OK\r\n\r\n", NULL), 0);
			sh_sim_advance(w.sim, 10 * SH_MS);
			ok = w.p->datagrams == 1;
		}
	}
	server_free(w.s);
	peer_free(w.p);
	sh_sim_destroy(w.sim);
	return ok;
}

static void every_allocation_may_fail(void **state)
{
	long n = 0;

	(void)state;
	for (;; n++) {
		sh_alloc_fail_after(n);
		bool ok = exchange();
		bool all = sh_alloc_count() <= n;
		sh_alloc_fail_after(-1);
		if (all) {
			assert_true(ok);
			break;
		}
		assert_true(n < 1000);
	}
	assert_true(n > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_datagram_is_handed_up_with_its_addresses),
	    cmocka_unit_test(datagrams_go_both_ways_over_ipv4),
	    cmocka_unit_test(datagrams_go_both_ways_over_ipv6),
	    cmocka_unit_test(an_answer_leaves_from_the_address_that_was_asked),
	    cmocka_unit_test(a_malformed_request_is_handed_up_with_its_code),
	    cmocka_unit_test(what_cannot_be_answered_is_dropped_and_logged_within_limits),
	    cmocka_unit_test(keep_alives_are_counted_and_nothing_else),
	    cmocka_unit_test(line_ends_before_a_message_are_passed_over),
	    cmocka_unit_test(what_comes_back_names_its_branch),
	    cmocka_unit_test(what_has_no_endpoint_cannot_be_sent),
	    cmocka_unit_test(a_wrong_endpoint_is_replaced_by_one_that_fits),
	    cmocka_unit_test(receiving_and_sending_datagrams_allocates_nothing),
	    cmocka_unit_test(garbage_is_survived),
	    cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
