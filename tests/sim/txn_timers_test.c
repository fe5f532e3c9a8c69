/* Every timer of RFC 3261 table 4 and RFC 6026 by its name, with the times at which it must fire, to the millisecond;
 * to the next full SH_TXN_TOGETHER those that only end something: 32,008 is the end of 32,001 ms. */
#include "txn_world.h"

static struct world w;

static int open_world(void **state)
{
	*state = &w;
	world_open(&w);
	return 0;
}

static int close_world(void **state)
{
	(void)state;
	world_close(&w);
	return 0;
}

/* A request of ours, as the peer got it; what the peer has seen is forgotten. */
static struct sh_msg *take_request(void)
{
	static char text[4000];
	static struct sh_msg m;

	settle(&w);
	assert_int_equal(w.seen_count, 1);
	memcpy(text, w.seen[0].text, w.seen[0].len);
	assert_int_equal(sh_msg_scan(&m, text, w.seen[0].len, false, NULL), 0);
	forget_seen(&w);
	return &m;
}

static void timer_a_doubles_without_limit(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_UDP);
	run_until(&w, 31999 * MS);
	assert_seen_at(&w, "INVITE@0;INVITE@500;INVITE@1500;INVITE@3500;INVITE@7500;INVITE@15500;INVITE@31500;");
	assert_int_equal(sh_txn_layer_stats(w.layer)->retransmissions_out, 6);
}

static void timer_a_stops_at_a_provisional_answer(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_UDP);
	answer_to(&w, take_request(), false, 100, "");
	run(&w, 200 * SH_SECOND);
	assert_seen_at(&w, "");
	assert_events(&w, "100;");
}

static void timer_a_does_not_run_over_streams(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_TCP);
	run_until(&w, 31999 * MS);
	assert_seen(&w, "INVITE;");
}

static void timer_b_ends_an_unanswered_invite(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_UDP);
	run_until(&w, 31999 * MS);
	assert_events(&w, "");
	run_until(&w, 32000 * MS);
	assert_events(&w, "TIMEOUT;ENDED;");
	assert_int_equal(w.event_time, 32000 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
}

static void timer_b_runs_over_streams_too(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_TCP);
	run_until(&w, 32000 * MS);
	assert_events(&w, "TIMEOUT;ENDED;");
	assert_int_equal(w.event_time, 32000 * MS);
}

static void timer_d_absorbs_failures_for_32_seconds(void **state)
{
	struct sh_msg *m;

	(void)state;
	start(&w, SH_INVITE, SH_PROTO_UDP);
	m = take_request();
	answer_to(&w, m, false, 486, "t"); /* arrives at 2 ms */
	run_until(&w, 32000 * MS);
	answer_to(&w, m, false, 486, "t"); /* at 32,001 ms */
	assert_events(&w, "486;");
	run_until(&w, 32008 * MS);
	assert_events(&w, "ENDED;");
	answer_to(&w, m, false, 486, "t");
	assert_seen_at(&w, "ACK@2;ACK@32001;");
	assert_events(&w, "");
}

static void timer_d_is_at_least_32_seconds(void **state)
{
	struct sh_txn_timers fast = sh_txn_timers_default;

	(void)state;
	world_close(&w);
	fast.t1 = 100 * MS;
	world_open_with(&w, &fast, true);
	start(&w, SH_INVITE, SH_PROTO_UDP);
	answer_to(&w, take_request(), false, 486, "t");
	assert_events(&w, "486;");
	run_until(&w, 32007 * MS);
	assert_events(&w, "");
	run_until(&w, 32008 * MS);
	assert_events(&w, "ENDED;");
}

static void timer_d_is_zero_over_streams(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_TCP);
	run(&w, 4 * LATENCY);
	answer_to(&w, take_request(), true, 486, "t");
	assert_events(&w, "486;ENDED;");
	assert_seen(&w, "ACK;");
}

static void timer_e_doubles_up_to_t2(void **state)
{
	(void)state;
	start(&w, SH_OPTIONS, SH_PROTO_UDP);
	run_until(&w, 31998 * MS);
	assert_seen_at(&w, "OPTIONS@0;OPTIONS@500;OPTIONS@1500;OPTIONS@3500;OPTIONS@7500;OPTIONS@11500;OPTIONS@15500;"
			   "OPTIONS@19500;OPTIONS@23500;OPTIONS@27500;OPTIONS@31500;");
}

static void timer_e_is_t2_after_a_provisional_answer(void **state)
{
	(void)state;
	start(&w, SH_OPTIONS, SH_PROTO_UDP);
	answer_to(&w, take_request(), false, 100, "");
	run_until(&w, 9000 * MS);
	assert_seen_at(&w, "OPTIONS@500;OPTIONS@4500;OPTIONS@8500;");
}

static void timer_e_does_not_run_over_streams(void **state)
{
	(void)state;
	start(&w, SH_OPTIONS, SH_PROTO_TCP);
	run_until(&w, 31998 * MS);
	assert_seen(&w, "OPTIONS;");
}

static void timer_f_ends_an_unanswered_request(void **state)
{
	(void)state;
	start(&w, SH_OPTIONS, SH_PROTO_UDP);
	run_until(&w, 31999 * MS);
	assert_events(&w, "");
	run_until(&w, 32000 * MS);
	assert_events(&w, "TIMEOUT;ENDED;");
	assert_int_equal(w.event_time, 32000 * MS);
}

static void timer_f_runs_after_a_provisional_answer_too(void **state)
{
	(void)state;
	start(&w, SH_OPTIONS, SH_PROTO_UDP);
	answer_to(&w, take_request(), false, 100, "");
	run_until(&w, 32000 * MS);
	assert_events(&w, "100;TIMEOUT;ENDED;");
	assert_int_equal(w.event_time, 32000 * MS);
}

static void timer_g_doubles_up_to_t2_until_timer_h(void **state)
{
	(void)state;
	w.auto_answer = 486;
	ask(&w, invite); /* arrives at 1 ms */
	run_until(&w, 33000 * MS);
	assert_seen_at(&w, "486@1;486@501;486@1501;486@3501;486@7501;486@11501;486@15501;486@19501;486@23501;486@27501;"
			   "486@31501;");
	assert_events(&w, "INVITE;TIMEOUT;ENDED;");
	assert_int_equal(w.event_time, 32001 * MS);
}

/* One of several callers at the same address. */
static struct ask nth(const char *method, int n)
{
	static char branch[32];

	snprintf(branch, sizeof(branch), "z9hG4bK%d", n);
	return (struct ask){.method = method, .branch = branch, .from_tag = branch};
}

/* Four failures that nobody confirms: whoever is at that address has not asked for them. */
static void leave_four_unconfirmed(void)
{
	w.auto_answer = 404;
	for (int i = 0; i < 4; i++)
		ask(&w, nth("INVITE", i));
	settle(&w);
	assert_int_equal(w.seen_count, 4);
}

/* 26.1.5, 26.3.2.4: somebody else's address in the Via and as the source gets three of each further one, and one for each INVITE that
 * the liar sends more. */
static void a_failure_goes_three_times_to_an_address_that_confirms_none(void **state)
{
	(void)state;
	leave_four_unconfirmed();
	w.auto_answer = 486;
	ask(&w, invite);
	settle(&w);
	ask(&w, invite);
	run(&w, 40 * SH_SECOND);
	assert_int_equal(w.seen_count, 4 * 11 + 3 + 1);
	forget_seen(&w);
	ask(&w, nth("INVITE", 4)); /* timer H of the others is over */
	run(&w, 40 * SH_SECOND);
	assert_int_equal(w.seen_count, 11);
}

/* A client that was calmed by a provisional answer does not repeat its INVITE. */
static void a_failure_behind_a_provisional_answer_goes_five_times_to_it(void **state)
{
	(void)state;
	leave_four_unconfirmed();
	w.auto_answer = 0;
	ask(&w, invite);
	assert_int_equal(sh_server_txn_reply(w.st, 180, SH_LIT("")), 0);
	assert_int_equal(sh_server_txn_reply(w.st, 486, SH_LIT("")), 0);
	run(&w, 40 * SH_SECOND);
	assert_int_equal(w.seen_count, 4 * 11 + 1 + 5);
}

/* Whoever confirms what he gets, however much it is, gets all repetitions of what he has missed. */
static void an_address_that_confirms_gets_all_repetitions(void **state)
{
	(void)state;
	w.auto_answer = 404;
	for (int i = 0; i < 6; i++) {
		ask(&w, nth("INVITE", i));
		settle(&w);
		ask(&w, nth("ACK", i));
		settle(&w);
	}
	run(&w, 10 * SH_SECOND);
	assert_int_equal(w.seen_count, 6);
	ask(&w, invite);
	run(&w, 40 * SH_SECOND);
	assert_int_equal(w.seen_count, 6 + 11);
}

/* 26.3.2.4: who lies about his address has one challenge sent to somebody else, not eleven. */
static void a_challenge_is_repeated_for_repetitions_only(void **state)
{
	(void)state;
	w.auto_answer = 407;
	ask(&w, invite);
	run_until(&w, 1000 * MS);
	ask(&w, invite);
	run_until(&w, 33000 * MS);
	assert_seen_at(&w, "407@1;407@1001;");
	assert_events(&w, "INVITE;TIMEOUT;ENDED;");
	assert_int_equal(w.event_time, 32001 * MS);
}

/* It has stopped repeating its INVITE. */
static void a_challenge_behind_a_provisional_answer_is_repeated(void **state)
{
	(void)state;
	ask(&w, invite);
	run_until(&w, 300 * MS);
	assert_int_equal(sh_server_txn_reply(w.st, 407, SH_LIT("")), 0);
	run_until(&w, 2000 * MS);
	assert_seen_at(&w, "100@201;407@300;407@800;407@1800;");
}

static void timer_g_does_not_run_over_streams_but_timer_h_does(void **state)
{
	struct ask a = invite;
	uint64_t answered;

	(void)state;
	a.tcp = true;
	w.auto_answer = 486;
	ask(&w, a);
	assert_events(&w, "INVITE;");
	answered = w.event_time;
	run(&w, 33 * SH_SECOND);
	assert_seen(&w, "486;");
	assert_events(&w, "TIMEOUT;ENDED;");
	assert_int_equal(w.event_time - answered, 32000 * MS);
}

static void timer_i_is_t4(void **state)
{
	(void)state;
	w.auto_answer = 486;
	ask(&w, invite);
	run_until(&w, 9 * MS);
	ask(&w, other_method(invite, "ACK")); /* arrives at 10 ms */
	assert_events(&w, "INVITE;ACKED;");
	run_until(&w, 5015 * MS);
	assert_events(&w, "");
	run_until(&w, 5016 * MS);
	assert_events(&w, "ENDED;");
	assert_seen(&w, "486;");
}

static void timer_i_is_zero_over_streams(void **state)
{
	struct ask a = invite;

	(void)state;
	a.tcp = true;
	w.auto_answer = 486;
	ask(&w, a);
	ask(&w, other_method(a, "ACK"));
	run(&w, MS);
	assert_events(&w, "INVITE;ACKED;ENDED;");
}

static void timer_j_repeats_the_answer_for_64_t1(void **state)
{
	(void)state;
	w.auto_answer = 200;
	ask(&w, other_method(invite, "OPTIONS")); /* at 1 ms */
	run_until(&w, 31999 * MS);
	ask(&w, other_method(invite, "OPTIONS")); /* at 32,000 ms */
	assert_seen_at(&w, "200@1;200@32000;");
	run_until(&w, 32008 * MS);
	assert_events(&w, "OPTIONS;ENDED;");
	assert_int_equal(w.event_time, 32008 * MS);
}

static void timer_j_is_zero_over_streams(void **state)
{
	struct ask a = other_method(invite, "OPTIONS");

	(void)state;
	a.tcp = true;
	w.auto_answer = 200;
	ask(&w, a);
	run(&w, MS);
	assert_events(&w, "OPTIONS;ENDED;");
	assert_seen(&w, "200;");
}

static void timer_k_is_t4(void **state)
{
	(void)state;
	start(&w, SH_OPTIONS, SH_PROTO_UDP);
	answer_to(&w, take_request(), false, 200, "t"); /* at 2 ms */
	assert_events(&w, "200;");
	run_until(&w, 5007 * MS);
	assert_events(&w, "");
	run_until(&w, 5008 * MS);
	assert_events(&w, "ENDED;");
}

static void timer_k_is_zero_over_streams(void **state)
{
	(void)state;
	start(&w, SH_OPTIONS, SH_PROTO_TCP);
	run(&w, 4 * LATENCY);
	answer_to(&w, take_request(), true, 200, "t");
	assert_events(&w, "200;ENDED;");
}

static void timer_l_absorbs_an_accepted_invite_for_64_t1(void **state)
{
	(void)state;
	w.auto_answer = 200;
	ask(&w, invite); /* at 1 ms */
	run_until(&w, 31999 * MS);
	ask(&w, invite); /* at 32,000 ms */
	assert_events(&w, "INVITE;");
	run_until(&w, 32008 * MS);
	assert_events(&w, "ENDED;");
	assert_seen(&w, "200;"); /* the user repeats it, not we */
	ask(&w, invite);
	assert_events(&w, "INVITE;");
}

static void timer_l_is_not_zero_over_streams(void **state)
{
	struct ask a = invite;

	(void)state;
	a.tcp = true;
	w.auto_answer = 200;
	ask(&w, a);
	run(&w, 31 * SH_SECOND);
	assert_events(&w, "INVITE;");
	run(&w, SH_SECOND + SH_TXN_TOGETHER);
	assert_events(&w, "ENDED;");
}

static void timer_m_hands_up_every_2xx_for_64_t1(void **state)
{
	struct sh_msg *m;

	(void)state;
	start(&w, SH_INVITE, SH_PROTO_UDP);
	m = take_request();
	answer_to(&w, m, false, 200, "t"); /* at 2 ms */
	run_until(&w, 32000 * MS);
	answer_to(&w, m, false, 200, "t"); /* at 32,001 ms */
	assert_events(&w, "200;200;");
	run_until(&w, 32008 * MS);
	assert_events(&w, "ENDED;");
	answer_to(&w, m, false, 200, "t");
	assert_events(&w, "stray 200;");
	assert_seen(&w, "");
}

static void an_invite_is_answered_with_100_after_200_ms(void **state)
{
	(void)state;
	ask(&w, invite); /* at 1 ms */
	run_until(&w, 100 * SH_SECOND);
	assert_seen_at(&w, "100@201;");
	assert_non_null(w.st);
	assert_int_equal(sh_server_txn_reply(w.st, 486, SH_LIT("")), 0);
	assert_seen(&w, "486;");
}

static void no_100_follows_another_provisional_answer(void **state)
{
	(void)state;
	ask(&w, invite);
	run_until(&w, 150 * MS);
	assert_int_equal(sh_server_txn_reply(w.st, 180, SH_LIT("")), 0);
	run_until(&w, 100 * SH_SECOND);
	assert_seen_at(&w, "180@150;");
}

static void other_requests_are_answered_with_100_when_timer_e_is_t2(void **state)
{
	(void)state;
	ask(&w, other_method(invite, "OPTIONS")); /* at 1 ms */
	run_until(&w, 3400 * MS);
	assert_int_equal(sh_server_txn_reply(w.st, 100, SH_LIT("")), -EPERM);
	run_until(&w, 31 * SH_SECOND);
	assert_seen_at(&w, "100@3501;");
	run_until(&w, 32000 * MS);
	assert_events(&w, "OPTIONS;");
	run_until(&w, 32001 * MS);
	assert_events(&w, "ENDED;");
	assert_seen(&w, "");
}

static void all_times_follow_t1(void **state)
{
	struct sh_txn_timers slow = {.t1 = 1000 * MS, .t2 = 2000 * MS, .t4 = 7000 * MS, .trying = 50 * MS};

	(void)state;
	world_close(&w);
	world_open_with(&w, &slow, true);
	start(&w, SH_OPTIONS, SH_PROTO_UDP);
	run_until(&w, 7500 * MS);
	assert_seen_at(&w, "OPTIONS@0;OPTIONS@1000;OPTIONS@3000;OPTIONS@5000;OPTIONS@7000;");
	run_until(&w, 63999 * MS);
	assert_events(&w, "");
	run_until(&w, 64000 * MS);
	assert_events(&w, "TIMEOUT;ENDED;");
	forget_seen(&w);
	run_until(&w, 65000 * MS);
	ask(&w, invite);
	run_until(&w, 65100 * MS);
	assert_seen_at(&w, "100@65051;");
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(timer_a_doubles_without_limit),
	    T(timer_a_stops_at_a_provisional_answer),
	    T(timer_a_does_not_run_over_streams),
	    T(timer_b_ends_an_unanswered_invite),
	    T(timer_b_runs_over_streams_too),
	    T(timer_d_absorbs_failures_for_32_seconds),
	    T(timer_d_is_at_least_32_seconds),
	    T(timer_d_is_zero_over_streams),
	    T(timer_e_doubles_up_to_t2),
	    T(timer_e_is_t2_after_a_provisional_answer),
	    T(timer_e_does_not_run_over_streams),
	    T(timer_f_ends_an_unanswered_request),
	    T(timer_f_runs_after_a_provisional_answer_too),
	    T(timer_g_doubles_up_to_t2_until_timer_h),
	    T(a_challenge_is_repeated_for_repetitions_only),
	    T(a_challenge_behind_a_provisional_answer_is_repeated),
	    T(a_failure_goes_three_times_to_an_address_that_confirms_none),
	    T(a_failure_behind_a_provisional_answer_goes_five_times_to_it),
	    T(an_address_that_confirms_gets_all_repetitions),
	    T(timer_g_does_not_run_over_streams_but_timer_h_does),
	    T(timer_i_is_t4),
	    T(timer_i_is_zero_over_streams),
	    T(timer_j_repeats_the_answer_for_64_t1),
	    T(timer_j_is_zero_over_streams),
	    T(timer_k_is_t4),
	    T(timer_k_is_zero_over_streams),
	    T(timer_l_absorbs_an_accepted_invite_for_64_t1),
	    T(timer_l_is_not_zero_over_streams),
	    T(timer_m_hands_up_every_2xx_for_64_t1),
	    T(an_invite_is_answered_with_100_after_200_ms),
	    T(no_100_follows_another_provisional_answer),
	    T(other_requests_are_answered_with_100_when_timer_e_is_t2),
	    T(all_times_follow_t1),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
