/* Client transactions: both machines as tables of state and event, the ACK and CANCEL that we write, forks, and the
 * ways that requests take. */
#include "txn_world.h"

static struct world w;
static struct sh_msg request; /* of ours, as the peer got it first */
static char request_text[66000];

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

static void keep_request(unsigned i)
{
	assert_in_range(i, 0, w.seen_count - 1);
	memcpy(request_text, w.seen[i].text, w.seen[i].len);
	assert_int_equal(sh_msg_scan(&request, request_text, w.seen[i].len, false, NULL), 0);
}

static void begin(enum sh_method method)
{
	start(&w, method, SH_PROTO_UDP);
	settle(&w);
	keep_request(0);
	forget_seen(&w);
}

static void answer(unsigned code, const char *tag)
{
	answer_to(&w, &request, false, code, tag);
}

/* --- the machines ----------------------------------------------------------------------------- */

enum event { R100, R180, R200, R302, R503, ICMP, CLOSED, CANCEL, DETACH, EVENTS };

struct cell {
	const char *seen, *events;
	int then; /* state, or GONE */
};
enum { GONE = -1 };

static void apply(enum event ev)
{
	static const unsigned codes[] = {[R100] = 100, [R180] = 180, [R200] = 200, [R302] = 302, [R503] = 503};
	const struct sh_transport_user *up = &sh_txn_transport_user;

	switch (ev) {
	case ICMP:
		up->unreachable(w.layer, &w.peer, sh_msg_text(&request, request.via_branch), -ECONNREFUSED);
		break;
	case CLOSED: /* of a connection that has nothing to do with it */
		up->flow_closed(w.layer, 12345, -ECONNRESET);
		break;
	case CANCEL:
		assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), w.ct->method == SH_INVITE ? 0 : -EINVAL);
		break;
	case DETACH:
		sh_client_txn_detach(w.ct);
		break;
	default:
		answer(codes[ev], "t");
		break;
	}
}

static void check_cell(enum sh_method method, int code, enum event ev, const struct cell *want)
{
	close_world(NULL);
	world_open(&w);
	begin(method);
	if (code)
		answer((unsigned)code, "t");
	settle(&w);
	forget_seen(&w);
	w.events[0] = '\0';
	apply(ev);
	assert_seen(&w, want->seen ? want->seen : "");
	assert_events(&w, want->events ? want->events : "");
	if (want->then == GONE) {
		assert_null(w.ct);
	} else {
		assert_non_null(w.ct);
		assert_int_equal(w.ct->state, want->then);
	}
}

struct row {
	int code; /* that brings it into its state */
	struct cell cells[EVENTS];
};

static void check_rows(enum sh_method method, const struct row *rows, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (int ev = 0; ev < EVENTS; ev++)
			check_cell(method, rows[i].code, (enum event)ev, &rows[i].cells[ev]);
}

#define T0 SH_TXN_TRYING
#define P  SH_TXN_PROCEEDING
#define C  SH_TXN_COMPLETED
#define A  SH_TXN_ACCEPTED

static void invite_client_machine(void **state)
{
	static const struct row rows[] = {
	    {0,
	     {[R100] = {"", "100;", P},
	      [R180] = {"", "180;", P},
	      [R200] = {"", "200;", A},
	      [R302] = {"ACK;", "302;", C},
	      [R503] = {"ACK;", "503;", C},
	      [ICMP] = {"", "UNREACHABLE;ENDED;closed;", GONE},
	      [CLOSED] = {"", "closed;", T0},
	      [CANCEL] = {"", "", T0},
	      [DETACH] = {"", "", T0}}},
	    {180,
	     {[R100] = {"", "100;", P},
	      [R180] = {"", "180;", P},
	      [R200] = {"", "200;", A},
	      [R302] = {"ACK;", "302;", C},
	      [R503] = {"ACK;", "503;", C},
	      [ICMP] = {"", "closed;", P},
	      [CLOSED] = {"", "closed;", P},
	      [CANCEL] = {"CANCEL;", "", P},
	      [DETACH] = {"", "", P}}},
	    {200,
	     {[R100] = {"", "", A},
	      [R180] = {"", "", A},
	      [R200] = {"", "200;", A},
	      [R302] = {"", "", A},
	      [R503] = {"", "", A},
	      [ICMP] = {"", "closed;", A},
	      [CLOSED] = {"", "closed;", A},
	      [CANCEL] = {"", "", A},
	      [DETACH] = {"", "", A}}},
	    {486,
	     {[R100] = {"", "", C},
	      [R180] = {"", "", C},
	      [R200] = {"", "stray 200;", C},
	      [R302] = {"ACK;", "", C},
	      [R503] = {"ACK;", "", C},
	      [ICMP] = {"", "closed;", C},
	      [CLOSED] = {"", "closed;", C},
	      [CANCEL] = {"", "", C},
	      [DETACH] = {"", "", C}}},
	};

	(void)state;
	check_rows(SH_INVITE, rows, sizeof(rows) / sizeof(rows[0]));
}

static void other_client_machine(void **state)
{
	static const struct row rows[] = {
	    {0,
	     {[R100] = {"", "100;", P},
	      [R180] = {"", "180;", P},
	      [R200] = {"", "200;", C},
	      [R302] = {"", "302;", C},
	      [R503] = {"", "503;", C},
	      [ICMP] = {"", "UNREACHABLE;ENDED;closed;", GONE},
	      [CLOSED] = {"", "closed;", T0},
	      [CANCEL] = {"", "", T0},
	      [DETACH] = {"", "", T0}}},
	    {100,
	     {[R100] = {"", "100;", P},
	      [R180] = {"", "180;", P},
	      [R200] = {"", "200;", C},
	      [R302] = {"", "302;", C},
	      [R503] = {"", "503;", C},
	      [ICMP] = {"", "UNREACHABLE;ENDED;closed;", GONE},
	      [CLOSED] = {"", "closed;", P},
	      [CANCEL] = {"", "", P},
	      [DETACH] = {"", "", P}}},
	    {404,
	     {[R100] = {"", "", C},
	      [R180] = {"", "", C},
	      [R200] = {"", "", C},
	      [R302] = {"", "", C},
	      [R503] = {"", "", C},
	      [ICMP] = {"", "closed;", C},
	      [CLOSED] = {"", "closed;", C},
	      [CANCEL] = {"", "", C},
	      [DETACH] = {"", "", C}}},
	};

	(void)state;
	check_rows(SH_OPTIONS, rows, sizeof(rows) / sizeof(rows[0]));
}

/* --- what we write ---------------------------------------------------------------------------- */

static void the_via_stands_behind_the_request_line(void **state)
{
	char want[200];

	(void)state;
	begin(SH_INVITE);
	snprintf(want, sizeof(want),
		 "INVITE sip:peer@10.1.0.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.1.0.1:5060;branch=%.*s;rport\r\nMax-Forwards",
		 SH_FMT(sh_client_txn_branch(w.ct)));
	assert_memory_equal(request_text, want, strlen(want));
	assert_int_equal(sh_tag_worker(sh_client_txn_branch(w.ct)), 0);
}

static void every_request_has_a_branch_of_its_own(void **state)
{
	char first[SH_TXN_BRANCH_LEN];

	(void)state;
	begin(SH_OPTIONS);
	memcpy(first, w.ct->branch, sizeof(first));
	begin(SH_OPTIONS);
	assert_memory_not_equal(first, w.ct->branch, sizeof(first));
}

static void assert_beside(const struct sh_msg *m, const char *method, const char *to)
{
	char cseq[40];

	snprintf(cseq, sizeof(cseq), "7 %s", method);
	assert_text(sh_msg_text(m, m->method_name), method);
	assert_text(sh_msg_text(m, m->uri), "sip:peer@10.1.0.2");
	assert_text(sh_msg_header(m, SH_H_CSEQ), cseq);
	assert_text(sh_msg_header(m, SH_H_CALL_ID), "our-call");
	assert_text(sh_msg_header(m, SH_H_FROM), "\"Us\" <sip:us@10.1.0.1>;tag=ours");
	assert_text(sh_msg_header(m, SH_H_TO), to);
	assert_text(sh_msg_header(m, SH_H_ROUTE), "<sip:proxy.example;lr>");
	assert_true(sh_slice_eq(sh_msg_header(m, SH_H_VIA), sh_msg_header(&request, SH_H_VIA)));
	assert_null(sh_msg_header(m, SH_H_CONTACT).base);
	assert_text(sh_msg_header(m, SH_H_CONTENT_LENGTH), "0");
}

static void the_ack_of_a_failure_is_made_from_both(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(486, "theirs");
	settle(&w);
	assert_beside(last_seen(&w), "ACK", "<sip:peer@10.1.0.2>;tag=theirs");
	answer(486, "theirs");
	settle(&w);
	assert_int_equal(w.seen_count, 2);
	assert_beside(last_seen(&w), "ACK", "<sip:peer@10.1.0.2>;tag=theirs");
}

static void the_cancel_is_made_from_the_invite(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "theirs");
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("SIP;cause=200")), 0);
	settle(&w);
	assert_beside(last_seen(&w), "CANCEL", "<sip:peer@10.1.0.2>");
	assert_text(sh_msg_header(last_seen(&w), SH_H_REASON), "SIP;cause=200");
}

static void an_ack_for_a_2xx_can_be_sent_again(void **state)
{
	struct sh_path path = world_path(&w, SH_PROTO_UDP);
	struct sh_slice text;

	(void)state;
	assert_int_equal(sh_txn_send_ack(w.layer, &path, SH_LIT("ACK sip:peer@10.1.0.2 SIP/2.0\r\n"),
					 SH_LIT(OUR_REST("ACK")), &text),
			 0);
	settle(&w);
	assert_int_equal(text.len, w.seen[0].len);
	assert_memory_equal(text.base, w.seen[0].text, text.len);
	assert_int_equal(sh_transport_send(w.transport, &path, text, NULL), 0);
	assert_seen(&w, "ACK;ACK;");
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
}

/* --- CANCEL ----------------------------------------------------------------------------------- */

static void a_cancel_waits_for_a_provisional_answer(void **state)
{
	(void)state;
	begin(SH_INVITE); /* until 1 ms */
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("SIP;cause=200")), 0);
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	run_until(&w, 600 * MS);
	assert_seen_at(&w, "INVITE@500;");
	run_until(&w, 700 * MS);
	answer(100, "");
	settle(&w);
	assert_text(sh_msg_header(last_seen(&w), SH_H_REASON), "SIP;cause=200");
	assert_seen_at(&w, "CANCEL@701;");
	assert_events(&w, "100;");
}

static void a_cancel_is_repeated_until_it_is_answered(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "t"); /* at 2 ms */
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	run_until(&w, 1700 * MS);
	assert_seen_at(&w, "CANCEL@2;CANCEL@502;CANCEL@1502;");
	feed(&w, answer_text(&request, 487, "t"));
	assert_events(&w, "180;487;");
	run_until(&w, 3600 * MS);
	assert_seen_at(&w, "ACK@1702;CANCEL@3502;");
}

static void the_answer_to_a_cancel_ends_only_the_cancel(void **state)
{
	struct sh_msg cancel;
	char text[4000];

	(void)state;
	begin(SH_INVITE);
	answer(180, "t");
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	settle(&w);
	memcpy(text, w.seen[0].text, w.seen[0].len);
	assert_int_equal(sh_msg_scan(&cancel, text, w.seen[0].len, false, NULL), 0);
	answer_to(&w, &cancel, false, 200, "t");
	run(&w, 10 * SH_SECOND);
	assert_seen(&w, "CANCEL;");
	assert_events(&w, "180;");
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 1);
}

static void a_2xx_that_crosses_the_cancel_goes_to_the_user(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "t");
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	answer(200, "t");
	assert_events(&w, "180;200;");
	run(&w, 32 * SH_SECOND + SH_TXN_TOGETHER);
	assert_events(&w, "ENDED;"); /* M, not the deadline of the CANCEL */
}

static void a_cancelled_invite_without_final_answer_times_out_after_64_t1(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "t");
	run_until(&w, 10 * SH_SECOND);
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	run_until(&w, 41999 * MS);
	assert_events(&w, "180;");
	run_until(&w, 42000 * MS);
	assert_events(&w, "TIMEOUT;ENDED;");
}

static void a_cancel_that_waits_in_vain_ends_with_timer_b(void **state)
{
	(void)state;
	begin(SH_INVITE);
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("x")), 0);
	run_until(&w, 32000 * MS);
	assert_events(&w, "TIMEOUT;ENDED;");
}

static void a_cancel_goes_on_the_connection_of_its_invite(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_TCP);
	run(&w, 5 * MS);
	keep_request(0);
	feed_tcp(&w, answer_text(&request, 180, "t"));
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	assert_seen(&w, "INVITE;CANCEL;");
	feed_tcp(&w, answer_text(&request, 487, "t"));
	assert_seen(&w, "ACK;");
	assert_events(&w, "180;487;ENDED;");
}

/* --- users that leave ------------------------------------------------------------------------- */

static void a_detached_invite_acks_failures(void **state)
{
	(void)state;
	begin(SH_INVITE);
	sh_client_txn_detach(w.ct);
	answer(180, "t");
	answer(486, "t");
	assert_seen(&w, "ACK;");
	assert_events(&w, "");
	run(&w, 33 * SH_SECOND);
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
}

static void a_2xx_of_a_detached_invite_is_a_stray(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "t");
	sh_client_txn_detach(w.ct);
	answer(200, "t");
	answer(200, "t");
	assert_events(&w, "180;stray 200;stray 200;");
}

static void a_detached_ringing_invite_ends_after_64_t1(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "t"); /* at 2 ms */
	run_until(&w, 1000 * MS);
	sh_client_txn_detach(w.ct);
	run_until(&w, 32999 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 1);
	run_until(&w, 33000 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
	assert_events(&w, "180;");

	begin(SH_INVITE);
	sh_client_txn_detach(w.ct); /* before it rings */
	run_until(&w, 34000 * MS);
	answer(180, "t"); /* at 34,001 ms */
	run_until(&w, 66000 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 1);
	run_until(&w, 66001 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
}

static void a_ringing_invite_waits_for_its_user(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "t");
	run(&w, 600 * SH_SECOND);
	assert_events(&w, "180;");
	answer(200, "t");
	assert_events(&w, "200;");
}

static void restless(struct world *world, struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m)
{
	(void)m;
	if (ev != SH_CLIENT_ENDED) {
		sh_client_txn_cancel(ct, SH_LIT(""));
		sh_client_txn_detach(ct);
		world->on_client = NULL;
		assert_int_equal(try_start(world, SH_OPTIONS, SH_PROTO_UDP), 0);
	}
}

static void a_user_may_leave_and_start_others_in_any_event(void **state)
{
	static const unsigned codes[] = {100, 200, 486, 0};

	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		close_world(NULL);
		world_open(&w);
		begin(SH_INVITE);
		w.on_client = restless;
		if (codes[i])
			answer(codes[i], "t");
		run(&w, 33 * SH_SECOND);
		assert_int_equal(sh_txn_layer_stats(w.layer)->client_created, codes[i] == 100 ? 3 : 2);
		assert_null(w.on_client);
		run(&w, 33 * SH_SECOND);
		assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
	}
}

/* --- which response belongs to what ----------------------------------------------------------- */

static void forked_2xx_all_go_to_the_user(void **state)
{
	(void)state;
	begin(SH_INVITE);
	answer(180, "one");
	answer(180, "two");
	answer(200, "one");
	answer(200, "two");
	answer(200, "one");
	assert_events(&w, "180;180;200;200;200;");
}

static void responses_of_others_are_dropped(void **state)
{
	char *text, *at;

	(void)state;
	begin(SH_OPTIONS);
	text = answer_text(&request, 200, "t");
	at = strstr(text, "z9hG4bK");
	at[10] = at[10] == 'a' ? 'b' : 'a'; /* another branch */
	feed(&w, text);
	text = answer_text(&request, 200, "t");
	at = strstr(text, "CSeq: 7 OPTIONS");
	memcpy(at, "CSeq: 7 MESSAGE", 15); /* another method */
	feed(&w, text);
	assert_events(&w, "");
	assert_int_equal(sh_txn_layer_stats(w.layer)->strays, 2);
}

/* The peer's 200 with something put in before a text of it. */
static void feed_with(const char *before, const char *what)
{
	char *text = answer_text(&request, 200, "t"), *at = strstr(text, before);

	memmove(at + strlen(what), at, strlen(at) + 1);
	memcpy(at, what, strlen(what));
	feed(&w, text);
}

static void a_response_with_two_vias_is_not_for_us(void **state)
{
	(void)state;
	begin(SH_OPTIONS);
	feed_with("From:", "Via: SIP/2.0/UDP 10.9.9.9;branch=extra\r\n");
	feed_with("\r\nFrom:", ", SIP/2.0/UDP 10.9.9.9");
	assert_events(&w, "");
	assert_int_equal(sh_txn_layer_stats(w.layer)->strays, 2);
	feed_with("From:", "X-Other: field\r\n");
	assert_events(&w, "200;");
}

/* --- ways ------------------------------------------------------------------------------------- */

static char large_rest[66000];

static int start_large(enum sh_method method, size_t body)
{
	struct sh_client_request r = {.method = method, .path = world_path(&w, SH_PROTO_UDP)};
	struct sh_writer out;

	r.path.local = w.us;
	r.line = method == SH_INVITE ? SH_LIT("INVITE sip:peer@10.1.0.2 SIP/2.0\r\n")
				     : SH_LIT("MESSAGE sip:peer@10.1.0.2 SIP/2.0\r\n");
	sh_writer_init(&out, large_rest, sizeof(large_rest));
	sh_put_lit(&out, "Max-Forwards: 69\r\nFrom: <sip:us@10.1.0.1>;tag=ours\r\nTo: <sip:peer@10.1.0.2>\r\n"
			 "Call-ID: our-call\r\nCSeq: 7 ");
	sh_put(&out, sh_method_name(method));
	sh_put_lit(&out, "\r\nContent-Length: ");
	sh_put_uint(&out, body);
	sh_put_lit(&out, "\r\n\r\n");
	memset(out.base + out.len, 'b', body);
	out.len += body;
	r.rest = sh_writer_text(&out);
	return sh_client_txn_start(&w.ct, w.layer, &r, user_client, &w);
}

static void assert_last_way(enum sh_proto proto, const char *via)
{
	settle(&w);
	assert_int_not_equal(w.seen_count, 0);
	assert_int_equal(w.seen[w.seen_count - 1].from.proto, proto);
	assert_true(sh_slice_starts(sh_msg_header(last_seen(&w), SH_H_VIA), sh_slice_cstr(via)));
}

static void large_requests_go_by_tcp(void **state)
{
	(void)state;
	assert_int_equal(start_large(SH_MESSAGE, 1300), 0);
	assert_int_equal(sh_client_txn_path(w.ct)->proto, SH_PROTO_TCP);
	assert_int_equal(sh_client_txn_path(w.ct)->endpoint, 1);
	assert_int_not_equal(sh_client_txn_path(w.ct)->flow, 0);
	run(&w, 5 * MS);
	assert_last_way(SH_PROTO_TCP, "SIP/2.0/TCP 10.1.0.1:5060;");
	keep_request(0);
	feed_tcp(&w, answer_text(&request, 200, "t"));
	assert_events(&w, "200;ENDED;");
}

static void small_requests_stay_on_udp(void **state)
{
	(void)state;
	assert_int_equal(start_large(SH_MESSAGE, 900), 0);
	assert_last_way(SH_PROTO_UDP, "SIP/2.0/UDP 10.1.0.1:5060;");
}

static void large_requests_stay_on_udp_without_a_tcp_endpoint(void **state)
{
	(void)state;
	world_close(&w);
	world_open_with(&w, NULL, false);
	assert_int_equal(start_large(SH_MESSAGE, 1300), 0);
	assert_last_way(SH_PROTO_UDP, "SIP/2.0/UDP 10.1.0.1:5060;");
}

static void large_requests_come_back_to_udp_when_tcp_is_refused(void **state)
{
	char branch[SH_TXN_BRANCH_LEN];

	(void)state;
	assert_int_equal(sh_sim_set_unreachable(w.sim, &w.peer, SH_SIM_TCP_REFUSED), 0);
	assert_int_equal(start_large(SH_MESSAGE, 1300), 0);
	memcpy(branch, w.ct->branch, sizeof(branch));
	run_until(&w, 10 * MS);
	assert_last_way(SH_PROTO_UDP, "SIP/2.0/UDP 10.1.0.1:5060;");
	assert_memory_equal(sh_msg_text(last_seen(&w), last_seen(&w)->via_branch).base, branch, sizeof(branch));
	assert_int_equal(last_seen(&w)->body.len, 1300);
	assert_int_equal(sh_client_txn_path(w.ct)->proto, SH_PROTO_UDP);
	assert_int_equal(sh_client_txn_path(w.ct)->endpoint, 0);
	assert_true(sh_addr_eq(&sh_client_txn_path(w.ct)->local, &w.us));
	run_until(&w, 600 * MS);
	assert_seen(&w, "MESSAGE;MESSAGE;"); /* and timer E runs */
	assert_events(&w, "closed;");
	run_until(&w, 40 * SH_SECOND);
	assert_events(&w, "TIMEOUT;ENDED;");
}

static void large_invites_are_cancelled_by_the_way_that_they_took(void **state)
{
	(void)state;
	assert_int_equal(sh_sim_set_unreachable(w.sim, &w.peer, SH_SIM_TCP_REFUSED), 0);
	assert_int_equal(start_large(SH_INVITE, 1300), 0);
	run_until(&w, 10 * MS);
	keep_request(0);
	answer(180, "t");
	assert_int_equal(sh_client_txn_cancel(w.ct, SH_LIT("")), 0);
	assert_last_way(SH_PROTO_UDP, "SIP/2.0/UDP 10.1.0.1:5060;");
	assert_seen(&w, "INVITE;CANCEL;");
	answer(487, "t");
	assert_seen(&w, "ACK;");
}

static void large_requests_come_back_to_udp_when_tcp_hangs(void **state)
{
	(void)state;
	assert_int_equal(sh_sim_set_unreachable(w.sim, &w.peer, SH_SIM_TCP_SILENT), 0);
	assert_int_equal(start_large(SH_MESSAGE, 1300), 0);
	run_until(&w, 4100 * MS);
	assert_seen(&w, "MESSAGE;");
}

static void what_no_way_can_carry_is_unreachable(void **state)
{
	size_t body = 65540, total;

	(void)state;
	assert_int_equal(sh_sim_set_unreachable(w.sim, &w.peer, SH_SIM_TCP_REFUSED), 0);
	while (start_large(SH_MESSAGE, --body) == -EMSGSIZE)
		assert_in_range(body, 65000, 65540);
	total = w.ct->text.len;
	assert_in_range(total, 65508, 65535); /* more than a datagram has room for */
	run(&w, 10 * MS);
	assert_events(&w, "UNREACHABLE;ENDED;closed;");
}

static void a_refused_connection_is_unreachable(void **state)
{
	(void)state;
	assert_int_equal(sh_sim_set_unreachable(w.sim, &w.peer, SH_SIM_TCP_REFUSED), 0);
	start(&w, SH_INVITE, SH_PROTO_TCP);
	run(&w, 10 * MS);
	assert_events(&w, "UNREACHABLE;ENDED;closed;"); /* before the user hears of the connection */
}

static void all_transactions_of_a_connection_hear_of_its_end(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_TCP);
	start(&w, SH_OPTIONS, SH_PROTO_TCP);
	start(&w, SH_OPTIONS, SH_PROTO_TCP);
	run(&w, 10 * MS);
	w.peer_env->driver->close(w.peer_env, w.stream);
	w.stream = NULL;
	run(&w, 10 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
	assert_int_equal(strlen(w.events), 3 * strlen("UNREACHABLE;ENDED;") + strlen("closed;"));
}

static void a_ringing_invite_outlives_an_orderly_close(void **state)
{
	(void)state;
	start(&w, SH_INVITE, SH_PROTO_TCP);
	run(&w, 5 * MS);
	keep_request(0);
	feed_tcp(&w, answer_text(&request, 180, "t"));
	w.peer_env->driver->close(w.peer_env, w.stream);
	w.stream = NULL;
	run(&w, 5 * MS);
	assert_events(&w, "180;closed;");
	feed_tcp(&w, answer_text(&request, 486, "t")); /* by a connection of the peer's making */
	run(&w, 10 * MS);
	assert_seen(&w, "INVITE;ACK;");
	assert_events(&w, "486;ENDED;");
}

static void a_ringing_invite_ends_with_a_broken_connection(void **state)
{
	const struct sh_transport_user *up = &sh_txn_transport_user;

	(void)state;
	start(&w, SH_INVITE, SH_PROTO_TCP);
	run(&w, 5 * MS);
	keep_request(0);
	feed_tcp(&w, answer_text(&request, 180, "t"));
	up->flow_closed(w.layer, sh_client_txn_path(w.ct)->flow, -ECONNRESET);
	assert_events(&w, "180;UNREACHABLE;ENDED;closed;");
}

static void icmp_ends_a_request(void **state)
{
	(void)state;
	assert_int_equal(sh_sim_set_unreachable(w.sim, &w.peer, SH_SIM_UDP_ICMP), 0);
	start(&w, SH_INVITE, SH_PROTO_UDP);
	run(&w, 10 * MS);
	assert_events(&w, "UNREACHABLE;ENDED;closed;"); /* a flow over datagrams would be dead now */
}

static void a_request_that_cannot_be_sent_makes_no_transaction(void **state)
{
	struct sh_client_request r = {
	    .method = SH_OPTIONS, .line = SH_LIT("OPTIONS sip:x SIP/2.0\r\n"), .rest = SH_LIT(OUR_REST("OPTIONS"))};
	struct sh_client_txn *ct = NULL;

	(void)state;
	r.path = world_path(&w, SH_PROTO_UDP);
	r.path.remote = world_addr("2001:db8::1", 5060); /* no endpoint of that family */
	assert_int_equal(sh_client_txn_start(&ct, w.layer, &r, user_client, &w), -EHOSTUNREACH);
	r.path.proto = SH_PROTO_TLS;
	assert_int_equal(sh_client_txn_start(&ct, w.layer, &r, user_client, &w), -EHOSTUNREACH);
	r.method = SH_ACK;
	assert_int_equal(sh_client_txn_start(&ct, w.layer, &r, user_client, &w), -EINVAL);
	assert_null(ct);
	assert_events(&w, "");
	assert_int_equal(sh_txn_layer_stats(w.layer)->client_live, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(invite_client_machine),
	    T(other_client_machine),
	    T(the_via_stands_behind_the_request_line),
	    T(every_request_has_a_branch_of_its_own),
	    T(the_ack_of_a_failure_is_made_from_both),
	    T(the_cancel_is_made_from_the_invite),
	    T(an_ack_for_a_2xx_can_be_sent_again),
	    T(a_cancel_waits_for_a_provisional_answer),
	    T(a_cancel_is_repeated_until_it_is_answered),
	    T(the_answer_to_a_cancel_ends_only_the_cancel),
	    T(a_2xx_that_crosses_the_cancel_goes_to_the_user),
	    T(a_cancelled_invite_without_final_answer_times_out_after_64_t1),
	    T(a_cancel_that_waits_in_vain_ends_with_timer_b),
	    T(a_cancel_goes_on_the_connection_of_its_invite),
	    T(a_detached_invite_acks_failures),
	    T(a_2xx_of_a_detached_invite_is_a_stray),
	    T(a_detached_ringing_invite_ends_after_64_t1),
	    T(a_ringing_invite_waits_for_its_user),
	    T(a_user_may_leave_and_start_others_in_any_event),
	    T(forked_2xx_all_go_to_the_user),
	    T(responses_of_others_are_dropped),
	    T(a_response_with_two_vias_is_not_for_us),
	    T(large_requests_go_by_tcp),
	    T(small_requests_stay_on_udp),
	    T(large_requests_stay_on_udp_without_a_tcp_endpoint),
	    T(large_requests_come_back_to_udp_when_tcp_is_refused),
	    T(large_invites_are_cancelled_by_the_way_that_they_took),
	    T(large_requests_come_back_to_udp_when_tcp_hangs),
	    T(what_no_way_can_carry_is_unreachable),
	    T(a_refused_connection_is_unreachable),
	    T(all_transactions_of_a_connection_hear_of_its_end),
	    T(a_ringing_invite_outlives_an_orderly_close),
	    T(a_ringing_invite_ends_with_a_broken_connection),
	    T(icmp_ends_a_request),
	    T(a_request_that_cannot_be_sent_makes_no_transaction),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
