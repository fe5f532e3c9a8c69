/* Whole transactions of both kinds with the 1st, 2nd, 3rd ... allocation failing, and all behind it: nothing crashes,
 * nothing leaks, every transaction ends, and who asks gets an answer where there is memory for one at all. */
#include "txn_world.h"

static struct world w;

static void maybe_reply(unsigned code)
{
	if (w.st && !sh_server_txn_answered(w.st))
		sh_server_txn_reply(w.st, code, SH_LIT(""));
}

static void serve(struct ask a)
{
	ask(&w, a);
	maybe_reply(180);
	ask(&w, a);
	ask(&w, other_method(a, "CANCEL"));
	maybe_reply(487);
	ask(&w, a);
	ask(&w, other_method(a, "ACK"));
	a.branch = "z9hG4bKsecond";
	a.cseq = 2;
	a.method = "OPTIONS";
	ask(&w, a);
	maybe_reply(200);
	ask(&w, a);
	a.method = "INVITE";
	a.branch = "z9hG4bKthird";
	a.cseq = 3;
	ask(&w, a);
	maybe_reply(200);
	settle(&w);
}

static void server_by_udp(void)
{
	serve(invite);
}

static void server_rfc2543(void)
{
	struct ask a = invite;

	a.via = "SIP/2.0/UDP 10.1.0.2:5060";
	serve(a);
}

/* Answers every request that the peer got and that was not answered yet. */
static void peer_answers(unsigned *done, unsigned code)
{
	struct sh_msg m;

	settle(&w);
	for (; *done < w.seen_count; (*done)++) {
		scan_seen(&w, *done, &m);
		if (m.is_request && m.method != SH_ACK)
			answer_to(&w, &m, false, m.method == SH_CANCEL ? 200 : code, "t");
	}
}

static void client_by_udp(void)
{
	struct sh_msg first;
	unsigned done = 0;

	if (try_start(&w, SH_INVITE, SH_PROTO_UDP))
		return;
	if (sh_client_txn_cancel(w.ct, SH_LIT("SIP;cause=200;text=\"somewhere else\"")))
		return;
	peer_answers(&done, 180);
	peer_answers(&done, 180);
	scan_seen(&w, 0, &first);
	answer_to(&w, &first, false, 487, "t");
	answer_to(&w, &first, false, 487, "t");
	if (try_start(&w, SH_OPTIONS, SH_PROTO_UDP))
		return;
	peer_answers(&done, 200);
}

static void client_accepted(void)
{
	unsigned done = 0;

	if (try_start(&w, SH_INVITE, SH_PROTO_UDP))
		return;
	peer_answers(&done, 200);
	run(&w, SH_SECOND);
}

static void client_by_tcp(void)
{
	if (try_start(&w, SH_INVITE, SH_PROTO_TCP))
		return;
	run(&w, 10 * MS);
	if (w.stream && w.seen_count) {
		struct sh_msg m;

		scan_seen(&w, 0, &m);
		feed_tcp(&w, answer_text(&m, 180, "t"));
		if (w.ct)
			sh_client_txn_cancel(w.ct, SH_LIT("x"));
		run(&w, 10 * MS);
		if (w.stream)
			feed_tcp(&w, answer_text(&m, 487, "t"));
	}
}

static void client_falls_back(void)
{
	static char rest[1800];
	struct sh_client_request r = {.method = SH_INVITE, .path = world_path(&w, SH_PROTO_UDP)};
	int n = snprintf(rest, sizeof(rest), "Subject: %01400d\r\n" OUR_REST("INVITE"), 0);

	r.line = SH_LIT("INVITE sip:peer@10.1.0.2 SIP/2.0\r\n");
	r.rest = sh_slice_make(rest, (size_t)n);
	if (!sh_client_txn_start(&w.ct, w.layer, &r, user_client, &w))
		run(&w, SH_SECOND);
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)) != NULL; text++)
		n++;
	return n;
}

/* Runs it with ever more memory, until it is enough. */
static void sweep(void (*scenario)(void), unsigned faults)
{
	bool enough = false;

	for (long skip = 0; !enough; skip++) {
		const struct sh_txn_stats *stats;

		assert_in_range(skip, 0, 500);
		world_open(&w);
		assert_int_equal(sh_sim_set_unreachable(w.sim, &w.peer, faults), 0);
		sh_alloc_fail_after(skip);
		scenario();
		enough = sh_alloc_count() <= skip;
		sh_alloc_fail_after(-1);
		run(&w, 200 * SH_SECOND); /* everything ends, and unwatched or not */
		stats = sh_txn_layer_stats(w.layer);
		assert_int_equal(stats->server_live, 0);
		assert_int_equal(stats->client_live, 0);
		assert_int_equal(w.layer->flows.count, 0);
		assert_int_equal(w.layer->merges.count, 0);
		assert_in_range(count(w.events, "ENDED"), 0, stats->server_created + stats->client_created);
		world_close(&w);
	}
}

static void a_server_survives_without_memory(void **state)
{
	(void)state;
	sweep(server_by_udp, 0);
	sweep(server_rfc2543, 0);
}

static void a_client_survives_without_memory(void **state)
{
	(void)state;
	sweep(client_by_udp, 0);
	sweep(client_accepted, 0);
	sweep(client_by_tcp, 0);
	sweep(client_falls_back, SH_SIM_TCP_REFUSED);
}

static void a_request_without_memory_gets_503(void **state)
{
	(void)state;
	for (long skip = 0; skip < 2; skip++) { /* the transaction; the copy of the request */
		world_open(&w);
		sh_alloc_fail_after(skip);
		ask(&w, invite);
		sh_alloc_fail_after(-1);
		assert_seen(&w, "503;");
		assert_events(&w, skip ? "INVITE;FAILED;" : "");
		run(&w, 40 * SH_SECOND);
		assert_int_equal(sh_txn_layer_stats(w.layer)->server_live, 0);
		world_close(&w);
	}
}

static void a_request_of_ours_without_memory_is_refused(void **state)
{
	(void)state;
	for (long skip = 0; skip < 2; skip++) { /* the transaction; its text */
		world_open(&w);
		sh_alloc_fail_after(skip);
		assert_int_equal(try_start(&w, SH_INVITE, SH_PROTO_UDP), -ENOMEM);
		sh_alloc_fail_after(-1);
		run(&w, 40 * SH_SECOND);
		assert_seen(&w, "");
		assert_events(&w, "");
		world_close(&w);
	}
}

static void a_cancel_without_memory_is_sent_once(void **state)
{
	struct sh_msg m;

	(void)state;
	world_open(&w);
	start(&w, SH_INVITE, SH_PROTO_UDP);
	settle(&w);
	scan_seen(&w, 0, &m);
	answer_to(&w, &m, false, 180, "t");
	forget_seen(&w);
	sh_alloc_fail_after(0);
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	sh_alloc_fail_after(-1);
	run(&w, 31 * SH_SECOND);
	assert_seen(&w, "CANCEL;");
	run(&w, 2 * SH_SECOND);
	assert_events(&w, "180;TIMEOUT;ENDED;");
	world_close(&w);
}

static void a_layer_without_memory_is_not_made(void **state)
{
	struct sh_txn_layer *l = NULL;

	(void)state;
	world_open(&w);
	for (long skip = 0; skip < 5; skip++) { /* itself and its tables */
		sh_alloc_fail_after(skip);
		assert_int_equal(sh_txn_layer_create(&l, w.env, NULL, &world_user, &w), -ENOMEM);
		assert_null(l);
	}
	sh_alloc_fail_after(-1);
	world_close(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_server_survives_without_memory),
	    cmocka_unit_test(a_client_survives_without_memory),
	    cmocka_unit_test(a_request_without_memory_gets_503),
	    cmocka_unit_test(a_request_of_ours_without_memory_is_refused),
	    cmocka_unit_test(a_cancel_without_memory_is_sent_once),
	    cmocka_unit_test(a_layer_without_memory_is_not_made),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
