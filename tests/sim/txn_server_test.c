/* Server transactions: both machines as tables of state and event, matching, CANCEL, ACK, where answers go. */
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

static void reply(unsigned code, int result)
{
	assert_non_null(w.st);
	assert_int_equal(sh_server_txn_reply(w.st, code, SH_LIT("")), result);
}

/* --- the machines ----------------------------------------------------------------------------- */

enum event {
	AGAIN, /* the request once more */
	ACK,   /* with the branch of the INVITE */
	CANCEL,
	USER_100,
	USER_180,
	USER_200,
	USER_408,
	USER_486,
	EVENTS,
};

struct cell {
	const char *seen, *events; /* NULL: as nothing */
	int result;                /* of the user's reply */
	enum sh_txn_state then;
};

static void apply(const struct ask *a, enum event ev, int result)
{
	static const unsigned codes[EVENTS] = {
	    [USER_100] = 100, [USER_180] = 180, [USER_200] = 200, [USER_408] = 408, [USER_486] = 486};

	switch (ev) {
	case AGAIN:
		ask(&w, *a);
		break;
	case ACK:
		ask(&w, other_method(*a, "ACK"));
		break;
	case CANCEL:
		ask(&w, other_method(*a, "CANCEL"));
		break;
	default:
		reply(codes[ev], result);
		break;
	}
}

static void check_cell(void (*enter)(void), const struct ask *a, enum event ev, const struct cell *want)
{
	close_world(NULL);
	world_open(&w);
	enter();
	settle(&w);
	forget_seen(&w);
	w.events[0] = '\0';
	apply(a, ev, want->result);
	assert_seen(&w, want->seen ? want->seen : "");
	assert_events(&w, want->events ? want->events : "");
	assert_non_null(w.st);
	assert_int_equal(w.st->state, want->then);
}

static void enter_proceeding(void)
{
	ask(&w, invite);
}

static void enter_ringing(void)
{
	ask(&w, invite);
	reply(180, 0);
}

static void enter_completed(void)
{
	ask(&w, invite);
	reply(486, 0);
}

static void enter_confirmed(void)
{
	enter_completed();
	ask(&w, other_method(invite, "ACK"));
}

static void enter_accepted(void)
{
	ask(&w, invite);
	reply(200, 0);
}

#define P SH_TXN_PROCEEDING
#define C SH_TXN_COMPLETED
#define F SH_TXN_CONFIRMED
#define A SH_TXN_ACCEPTED
#define LATE                                                                                                           \
	{                                                                                                              \
		NULL, NULL, -EALREADY

static void invite_server_machine(void **state){static const struct {void(*enter)(void);
struct cell cells[EVENTS];
}
rows[] = {{enter_proceeding,
	   {[AGAIN] = {NULL, NULL, 0, P},
	    [ACK] = {NULL, NULL, 0, P},
	    [CANCEL] = {"200;", "cancel;", 0, P},
	    [USER_100] = {"100;", NULL, 0, P},
	    [USER_180] = {"180;", NULL, 0, P},
	    [USER_200] = {"200;", NULL, 0, A},
	    [USER_408] = {"408;", NULL, 0, C},
	    [USER_486] = {"486;", NULL, 0, C}}},
	  {enter_ringing,
	   {[AGAIN] = {"180;", NULL, 0, P},
	    [ACK] = {NULL, NULL, 0, P},
	    [CANCEL] = {"200;", "cancel;", 0, P},
	    [USER_100] = {"100;", NULL, 0, P},
	    [USER_180] = {"180;", NULL, 0, P},
	    [USER_200] = {"200;", NULL, 0, A},
	    [USER_408] = {"408;", NULL, 0, C},
	    [USER_486] = {"486;", NULL, 0, C}}},
	  {enter_completed,
	   {[AGAIN] = {"486;", NULL, 0, C},
	    [ACK] = {NULL, "ACKED;", 0, F},
	    [CANCEL] = {"200;", NULL, 0, C},
	    [USER_100] = LATE,
	    C},
	   [USER_180] = LATE,
	   C},
	  [USER_200] = LATE,
	  C},
    [USER_408] = LATE, C
}
, [USER_486] = LATE, C
}
}
}
,
    {enter_confirmed,
     {[AGAIN] = {NULL, NULL, 0, F}, [ACK] = {NULL, NULL, 0, F}, [CANCEL] = {"200;", NULL, 0, F}, [USER_100] = LATE, F},
     [USER_180] = LATE,
     F},
    [USER_200] = LATE, F
}
, [USER_408] = LATE, F
}
, [USER_486] = LATE, F
}
}
}
,
    {enter_accepted,
     {[AGAIN] = {NULL, NULL, 0, A},
      [ACK] = {NULL, "ACK;", 0, A},
      [CANCEL] = {"200;", NULL, 0, A},
      [USER_100] = LATE,
      A},
     [USER_180] = LATE,
     A},
    [USER_200] = LATE, A
}
, [USER_408] = LATE, A
}
, [USER_486] = LATE, A
}
}
}
,
}
;

(void)state;
for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	for (int ev = 0; ev < EVENTS; ev++)
		check_cell(rows[i].enter, &invite, (enum event)ev, &rows[i].cells[ev]);
}

static const struct ask options = {.method = "OPTIONS", .branch = "z9hG4bKpeer2", .from_tag = "peer"};

static void enter_trying(void)
{
	ask(&w, options);
}

static void enter_slow(void)
{
	ask(&w, options);
	run(&w, 3600 * MS);
}

static void enter_answered(void)
{
	ask(&w, options);
	reply(404, 0);
}

static void other_server_machine(void **state){static const struct {void(*enter)(void);
struct cell cells[EVENTS];
}
rows[] = {{enter_trying,
	   {[AGAIN] = {NULL, NULL, 0, SH_TXN_TRYING},
	    [ACK] = {NULL, "ACK;", 0, SH_TXN_TRYING},
	    [CANCEL] = {"200;", NULL, 0, SH_TXN_TRYING},
	    [USER_100] = {NULL, NULL, -EPERM, SH_TXN_TRYING},
	    [USER_180] = {NULL, NULL, -EPERM, SH_TXN_TRYING},
	    [USER_200] = {"200;", NULL, 0, C},
	    [USER_408] = {NULL, NULL, -EPERM, SH_TXN_TRYING},
	    [USER_486] = {"486;", NULL, 0, C}}},
	  {enter_slow,
	   {[AGAIN] = {"100;", NULL, 0, P},
	    [ACK] = {NULL, "ACK;", 0, P},
	    [CANCEL] = {"200;", NULL, 0, P},
	    [USER_100] = {"100;", NULL, 0, P},
	    [USER_180] = {NULL, NULL, -EPERM, P},
	    [USER_200] = {"200;", NULL, 0, C},
	    [USER_408] = {NULL, NULL, -EPERM, P},
	    [USER_486] = {"486;", NULL, 0, C}}},
	  {enter_answered,
	   {[AGAIN] = {"404;", NULL, 0, C},
	    [ACK] = {NULL, "ACK;", 0, C},
	    [CANCEL] = {"200;", NULL, 0, C},
	    [USER_100] = LATE,
	    C},
	   [USER_180] = LATE,
	   C},
	  [USER_200] = LATE,
	  C},
    [USER_408] = LATE, C
}
, [USER_486] = LATE, C
}
}
}
,
}
;

(void)state;
for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
	for (int ev = 0; ev < EVENTS; ev++)
		check_cell(rows[i].enter, &options, (enum event)ev, &rows[i].cells[ev]);
}

static void a_100_to_other_requests_may_go_over_streams_at_any_time(void **state)
{
	struct ask a = options;

	(void)state;
	a.tcp = true;
	ask(&w, a);
	reply(180, -EPERM);
	reply(100, 0);
	reply(200, 0);
	assert_seen(&w, "100;200;");
}

/* --- what is kept and what is said ------------------------------------------------------------ */

static void the_request_is_there_until_the_answer(void **state)
{
	const struct sh_msg *m;

	(void)state;
	ask(&w, invite);
	m = sh_server_txn_request(w.st);
	assert_non_null(m);
	assert_text(sh_msg_text(m, m->call_id), "call-1");
	assert_int_equal(sh_server_txn_path(w.st)->remote.port, 5060);
	assert_false(sh_server_txn_answered(w.st));
	reply(183, 0);
	assert_ptr_equal(sh_server_txn_request(w.st), m);
	reply(603, 0);
	assert_true(sh_server_txn_answered(w.st));
	assert_null(sh_server_txn_request(w.st));
}

static void answer_inside_the_callback(struct world *world, struct sh_server_txn *st, const struct sh_msg *m)
{
	(void)world;
	assert_int_equal(sh_server_txn_reply(st, 486, SH_LIT("")), 0);
	assert_true(sh_server_txn_answered(st));
	assert_text(sh_msg_text(m, m->call_id), "call-1"); /* the message is still the transport's */
}

static void nothing_is_copied_of_a_request_that_is_answered_at_once(void **state)
{
	(void)state;
	w.on_request = answer_inside_the_callback;
	ask(&w, invite);
	assert_null(w.st->request);
	assert_false(w.st->cloned);
	assert_seen(&w, "486;");
}

static void all_answers_of_a_transaction_have_the_same_tag(void **state)
{
	struct sh_msg *m;
	char tag[100];

	(void)state;
	ask(&w, invite);
	reply(180, 0);
	settle(&w);
	m = last_seen(&w);
	snprintf(tag, sizeof(tag), "%.*s", SH_FMT(sh_msg_text(m, m->to_tag)));
	assert_int_equal(strlen(tag), SH_TAG_LEN);
	assert_int_equal(sh_tag_worker(sh_slice_cstr(tag)), 0);
	ask(&w, other_method(invite, "CANCEL"));
	settle(&w);
	m = last_seen(&w);
	assert_int_equal(m->method, SH_CANCEL);
	assert_text(sh_msg_text(m, m->to_tag), tag);
	reply(487, 0);
	settle(&w);
	m = last_seen(&w);
	assert_int_equal(m->status, 487);
	assert_text(sh_msg_text(m, m->to_tag), tag);
}

static void the_user_chooses_the_tag(void **state)
{
	struct sh_writer *out;
	struct sh_msg *m;

	(void)state;
	ask(&w, invite);
	out = sh_server_txn_begin(w.st, 183, SH_LIT("So far"), SH_LIT("0123456789abcdef"));
	sh_put_lit(out, "X-More: yes\r\n");
	sh_put_body(out, SH_LIT("text/plain"), SH_LIT("body"));
	assert_int_equal(sh_server_txn_respond(w.st, 183, out), 0);
	settle(&w);
	m = last_seen(&w);
	assert_text(sh_msg_text(m, m->to_tag), "0123456789abcdef");
	assert_text(sh_msg_text(m, m->reason), "So far");
	assert_text(sh_msg_find(m, SH_LIT("x-more"), 0), "yes");
	assert_text(sh_msg_text(m, m->body), "body");
	ask(&w, other_method(invite, "CANCEL"));
	settle(&w);
	assert_text(sh_msg_text(last_seen(&w), last_seen(&w)->to_tag), "0123456789abcdef");
}

static void a_100_has_no_tag(void **state)
{
	(void)state;
	ask(&w, invite);
	reply(100, 0);
	settle(&w);
	assert_int_equal(last_seen(&w)->to_tag.len, 0);
	ask(&w, invite); /* and it is repeated though no text is kept */
	assert_seen(&w, "100;100;");
}

static void the_latest_provisional_answer_is_repeated(void **state)
{
	(void)state;
	ask(&w, invite);
	reply(180, 0);
	ask(&w, invite);
	reply(183, 0);
	ask(&w, invite);
	reply(100, 0);
	ask(&w, invite);
	assert_seen(&w, "180;180;183;183;100;100;");
}

static void an_answer_that_does_not_fit_is_refused(void **state)
{
	static char body[SH_MSG_MAX_SIZE];
	struct sh_writer *out;

	(void)state;
	memset(body, 'x', sizeof(body));
	ask(&w, invite);
	out = sh_server_txn_begin(w.st, 200, SH_LIT(""), SH_LIT(""));
	sh_put_body(out, SH_LIT("text/plain"), sh_slice_make(body, sizeof(body)));
	assert_int_equal(sh_server_txn_respond(w.st, 200, out), -EMSGSIZE);
	reply(500, 0);
	assert_seen(&w, "500;");
}

static void a_writer_behind_the_answer_takes_nothing(void **state)
{
	struct sh_writer *out;

	(void)state;
	ask(&w, invite);
	reply(486, 0);
	out = sh_server_txn_begin(w.st, 200, SH_LIT(""), SH_LIT(""));
	sh_put_body(out, SH_LIT("text/plain"), SH_LIT("x"));
	assert_int_equal(sh_server_txn_respond(w.st, 200, out), -EALREADY);
	assert_seen(&w, "486;");
}

static void the_user_may_send_a_2xx_again(void **state)
{
	(void)state;
	ask(&w, invite);
	reply(200, 0);
	settle(&w);
	assert_int_equal(sh_server_txn_resend(w.st, sh_slice_make(w.seen[0].text, w.seen[0].len)), 0);
	assert_seen(&w, "200;200;");
}

static void an_invite_that_nobody_watches_is_answered_with_500(void **state)
{
	(void)state;
	ask(&w, invite); /* at 1 ms */
	sh_server_txn_watch(w.st, NULL, NULL);
	run_until(&w, 32000 * MS);
	assert_seen_at(&w, "100@201;");
	run_until(&w, 32100 * MS);
	assert_seen_at(&w, "500@32001;");
	run_until(&w, 70000 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->server_live, 0);
}

static void a_watched_invite_rings_for_minutes(void **state)
{
	(void)state;
	ask(&w, invite);
	run(&w, 600 * SH_SECOND);
	reply(200, 0);
	assert_seen(&w, "100;200;");
	run(&w, 40 * SH_SECOND);
	assert_events(&w, "INVITE;ENDED;");
}

/* --- matching --------------------------------------------------------------------------------- */

static void the_sent_by_is_part_of_the_identity(void **state)
{
	struct ask other = invite;

	(void)state;
	ask(&w, invite);
	other.via = "SIP/2.0/UDP 10.1.0.2:5070;branch=z9hG4bKpeer1;rport";
	other.call_id = "another";
	ask(&w, other);
	other.via = "SIP/2.0/UDP 10.1.0.3:5060;branch=z9hG4bKpeer1;rport";
	other.call_id = "a-third";
	ask(&w, other);
	assert_events(&w, "INVITE;INVITE;INVITE;");
}

static void the_method_is_part_of_the_identity(void **state)
{
	(void)state;
	ask(&w, invite);
	ask(&w, other_method(invite, "UPDATE"));
	ask(&w, other_method(invite, "FIRST"));
	ask(&w, other_method(invite, "SECOND"));
	ask(&w, other_method(invite, "FIRST"));
	assert_events(&w, "INVITE;UPDATE;FIRST;SECOND;");
}

static void a_merged_request_gets_482(void **state)
{
	struct ask other = invite;

	(void)state;
	ask(&w, invite);
	other.branch = "z9hG4bKotherway";
	ask(&w, other);
	assert_seen(&w, "482;");
	assert_events(&w, "INVITE;");
	assert_int_equal(sh_txn_layer_stats(w.layer)->merged, 1);
	other.cseq = 2; /* the next request is none */
	ask(&w, other);
	assert_events(&w, "INVITE;");
}

static void a_request_inside_a_dialog_is_never_merged(void **state)
{
	struct ask first = invite, other;

	(void)state;
	first.to = "<sip:us@10.1.0.1>;tag=x";
	other = first;
	other.branch = "z9hG4bKotherway";
	w.auto_answer = 200;
	ask(&w, first);
	ask(&w, other);
	assert_events(&w, "INVITE;INVITE;");
	run(&w, 40 * SH_SECOND);
	assert_events(&w, "ENDED;ENDED;");
}

static void a_request_that_ended_merges_nothing(void **state)
{
	struct ask other = options;

	(void)state;
	ask(&w, options);
	reply(200, 0);
	run(&w, 33 * SH_SECOND);
	assert_events(&w, "OPTIONS;ENDED;");
	other.branch = "z9hG4bKotherway";
	ask(&w, other);
	assert_events(&w, "OPTIONS;");
}

/* A peer of RFC 2543: no branch, and maybe none with the cookie. */
static const struct ask old = {.method = "INVITE", .via = "SIP/2.0/UDP 10.1.0.2:5060", .from_tag = "old"};

static void rfc2543_retransmissions_are_found_by_the_long_form(void **state)
{
	struct ask other = old;

	(void)state;
	ask(&w, old);
	reply(180, 0);
	ask(&w, old);
	assert_seen(&w, "180;180;");
	assert_events(&w, "INVITE;");
	other.to = "<sip:us@10.1.0.1>;tag=differs";
	ask(&w, other);
	other = old;
	other.cseq = 2;
	ask(&w, other);
	other.uri = "sip:else@10.1.0.1";
	other.call_id = "differs"; /* or it would be merged */
	ask(&w, other);
	assert_events(&w, "INVITE;INVITE;INVITE;");
}

static void a_branch_without_the_cookie_is_rfc2543_too(void **state)
{
	struct ask a = old, b;

	(void)state;
	a.via = "SIP/2.0/UDP 10.1.0.2:5060;branch=1";
	b = a;
	b.call_id = "another"; /* the same branch in another call */
	ask(&w, a);
	ask(&w, b);
	ask(&w, a);
	assert_events(&w, "INVITE;INVITE;");
	a.via = b.via = "SIP/2.0/UDP 10.1.0.2:5060;branch=z9hG4bK"; /* nothing behind the cookie */
	a.call_id = "c3";
	b.call_id = "c4";
	ask(&w, a);
	ask(&w, b);
	assert_events(&w, "INVITE;INVITE;");
}

static void rfc2543_acks_are_found_by_our_tag(void **state)
{
	struct ask ack = other_method(old, "ACK");
	char to[100];

	(void)state;
	ask(&w, old);
	reply(486, 0);
	settle(&w);
	ack.to = "<sip:us@10.1.0.1>;tag=somebodyelse";
	ask(&w, ack);
	assert_events(&w, "INVITE;ACK;"); /* of another answer: up it goes */
	snprintf(to, sizeof(to), "<sip:us@10.1.0.1>;tag=%.*s",
		 SH_FMT(sh_msg_text(last_seen(&w), last_seen(&w)->to_tag)));
	ack.to = to;
	ask(&w, ack);
	assert_events(&w, "ACKED;");
}

static void rfc2543_acks_without_any_tag_are_found(void **state)
{
	(void)state;
	ask(&w, old);
	reply(486, 0);
	ask(&w, other_method(old, "ACK"));
	assert_events(&w, "INVITE;ACKED;");
}

static void rfc2543_acks_inside_a_dialog_are_found_by_its_tag(void **state)
{
	struct ask a = old;

	(void)state;
	a.to = "<sip:us@10.1.0.1>;tag=dialog";
	ask(&w, a);
	reply(488, 0);
	ask(&w, other_method(a, "ACK"));
	assert_events(&w, "INVITE;ACKED;");
}

static void rfc2543_cancels_are_found(void **state)
{
	(void)state;
	ask(&w, old);
	ask(&w, other_method(old, "CANCEL"));
	assert_seen(&w, "200;");
	assert_events(&w, "INVITE;cancel;");
}

/* --- CANCEL and ACK --------------------------------------------------------------------------- */

static void a_cancel_of_nothing_gets_481(void **state)
{
	(void)state;
	ask(&w, other_method(invite, "CANCEL"));
	assert_seen(&w, "481;");
	assert_events(&w, "");
}

static void a_repeated_cancel_is_answered_but_told_once(void **state)
{
	(void)state;
	ask(&w, invite);
	ask(&w, other_method(invite, "CANCEL"));
	ask(&w, other_method(invite, "CANCEL"));
	assert_seen(&w, "200;200;");
	assert_events(&w, "INVITE;cancel;");
}

static void a_cancel_that_crosses_the_2xx_changes_nothing(void **state)
{
	(void)state;
	ask(&w, invite);
	reply(200, 0);
	ask(&w, other_method(invite, "CANCEL"));
	assert_seen(&w, "200;200;");
	assert_events(&w, "INVITE;");
}

static void an_ack_for_a_2xx_goes_up(void **state)
{
	struct ask ack = other_method(invite, "ACK");

	(void)state;
	ask(&w, invite);
	reply(200, 0);
	ack.branch = "z9hG4bKitsown";
	ask(&w, ack);
	ask(&w, ack); /* as often as it comes: the user answers for 2xx */
	assert_events(&w, "INVITE;ACK;ACK;");
}

static void an_ack_that_overtakes_the_repetition_stops_it(void **state)
{
	(void)state;
	ask(&w, invite); /* at 1 ms */
	reply(486, 0);
	run_until(&w, 499 * MS);
	ask(&w, other_method(invite, "ACK")); /* at 500 ms, G at 501 */
	run_until(&w, 4000 * MS);
	ask(&w, invite); /* a straggler is not answered again */
	assert_seen_at(&w, "486@1;");
}

/* --- where answers go (18.2.2, RFC 3581) ------------------------------------------------------ */

struct destination {
	struct sh_addr addr;
	unsigned count;
};

static void watch_destination(const struct sh_sim_record *r, void *ctx)
{
	struct destination *d = ctx;

	if (r->what == SH_SIM_SENT && !r->stream && sh_addr_same_host(&r->from, &w.us)) {
		d->addr = r->to;
		d->count++;
	}
}

static void check_destination(const char *via, const char *host, uint16_t port)
{
	struct destination d = {.count = 0};
	struct sh_addr want = world_addr(host, port);
	struct ask a = options;

	close_world(NULL);
	world_open(&w);
	w.auto_answer = 200;
	sh_sim_set_trace(w.sim, watch_destination, &d);
	a.via = via;
	ask(&w, a);
	settle(&w);
	assert_int_equal(d.count, 1);
	assert_true(sh_addr_eq(&d.addr, &want));
}

static void answers_go_where_the_via_says(void **state)
{
	(void)state;
	check_destination("SIP/2.0/UDP 10.1.0.2:5070;branch=z9hG4bKx", "10.1.0.2", 5070);
	check_destination("SIP/2.0/UDP 10.1.0.2;branch=z9hG4bKx", "10.1.0.2", 5060);
	check_destination("SIP/2.0/UDP 10.1.0.2:5070;branch=z9hG4bKx;rport", "10.1.0.2", 5060);
	check_destination("SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bKx", "10.1.0.2", 5070);
	check_destination("SIP/2.0/UDP phone.example:5070;branch=z9hG4bKx;received=192.0.2.1", "10.1.0.2", 5070);
	/* whoever is named there has not asked for anything */
	check_destination("SIP/2.0/UDP 10.1.0.2:5070;maddr=10.1.0.9;branch=z9hG4bKx", "10.1.0.2", 5070);
	check_destination("SIP/2.0/UDP 10.1.0.2:5070;maddr=not.a.number;branch=z9hG4bKx", "10.1.0.2", 5070);
	check_destination("SIP/2.0/UDP 10.1.0.2:5070;maddr=10.1.0.9;branch=z9hG4bKx;rport", "10.1.0.2", 5060);
}

static void answers_go_back_on_their_connection(void **state)
{
	struct ask a = options;

	(void)state;
	a.tcp = true;
	a.via = "SIP/2.0/TCP phone.invalid:9;branch=z9hG4bKx";
	w.auto_answer = 200;
	ask(&w, a);
	settle(&w);
	assert_int_equal(w.seen_count, 1);
	assert_int_equal(w.seen[0].from.proto, SH_PROTO_TCP);
}

static void answers_go_by_a_new_connection_when_theirs_is_gone(void **state)
{
	struct ask a = invite;

	(void)state;
	a.tcp = true;
	ask(&w, a);
	w.peer_env->driver->close(w.peer_env, w.stream);
	w.stream = NULL;
	run(&w, 10 * MS);
	assert_events(&w, "INVITE;closed;");
	reply(200, 0);
	run(&w, 10 * MS);
	assert_int_equal(w.seen_count, 1);
	assert_int_equal(w.seen[0].from.proto, SH_PROTO_TCP);
	assert_non_null(w.stream); /* that we opened to its sent-by */
}

/* --- re-entry --------------------------------------------------------------------------------- */

static void leave_and_start_another(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	(void)user;
	note(&w, "event %d", ev);
	sh_server_txn_watch(st, NULL, NULL);
	assert_int_equal(sh_server_txn_reply(st, 500, SH_LIT("")), -EALREADY);
	assert_int_equal(try_start(&w, SH_OPTIONS, SH_PROTO_UDP), 0);
}

static void a_user_may_leave_from_inside_an_event(void **state)
{
	(void)state;
	ask(&w, invite);
	sh_server_txn_watch(w.st, leave_and_start_another, NULL);
	reply(486, 0);
	ask(&w, other_method(invite, "ACK"));
	assert_events(&w, "INVITE;event 0;");
	run(&w, 6 * SH_SECOND);
	assert_events(&w, "");
	assert_int_equal(sh_txn_layer_stats(w.layer)->server_live, 0);
}

static void destroying_the_layer_frees_all_without_events(void **state)
{
	struct ask a = invite;

	(void)state;
	ask(&w, invite);
	a.branch = "z9hG4bKb";
	a.call_id = "b";
	ask(&w, a);
	reply(486, 0);
	assert_int_equal(try_start(&w, SH_INVITE, SH_PROTO_UDP), 0);
	assert_events(&w, "INVITE;INVITE;");
	sh_txn_layer_destroy(w.layer);
	assert_events(&w, "");
	assert_int_equal(sh_wheel_next(&w.env->wheel), SH_NEVER);
	w.layer = NULL;
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(invite_server_machine),
	    T(other_server_machine),
	    T(a_100_to_other_requests_may_go_over_streams_at_any_time),
	    T(the_request_is_there_until_the_answer),
	    T(nothing_is_copied_of_a_request_that_is_answered_at_once),
	    T(all_answers_of_a_transaction_have_the_same_tag),
	    T(the_user_chooses_the_tag),
	    T(a_100_has_no_tag),
	    T(the_latest_provisional_answer_is_repeated),
	    T(an_answer_that_does_not_fit_is_refused),
	    T(a_writer_behind_the_answer_takes_nothing),
	    T(the_user_may_send_a_2xx_again),
	    T(an_invite_that_nobody_watches_is_answered_with_500),
	    T(a_watched_invite_rings_for_minutes),
	    T(the_sent_by_is_part_of_the_identity),
	    T(the_method_is_part_of_the_identity),
	    T(a_merged_request_gets_482),
	    T(a_request_inside_a_dialog_is_never_merged),
	    T(a_request_that_ended_merges_nothing),
	    T(rfc2543_retransmissions_are_found_by_the_long_form),
	    T(a_branch_without_the_cookie_is_rfc2543_too),
	    T(rfc2543_acks_are_found_by_our_tag),
	    T(rfc2543_acks_without_any_tag_are_found),
	    T(rfc2543_acks_inside_a_dialog_are_found_by_its_tag),
	    T(rfc2543_cancels_are_found),
	    T(a_cancel_of_nothing_gets_481),
	    T(a_repeated_cancel_is_answered_but_told_once),
	    T(a_cancel_that_crosses_the_2xx_changes_nothing),
	    T(an_ack_for_a_2xx_goes_up),
	    T(an_ack_that_overtakes_the_repetition_stops_it),
	    T(answers_go_where_the_via_says),
	    T(answers_go_back_on_their_connection),
	    T(answers_go_by_a_new_connection_when_theirs_is_gone),
	    T(a_user_may_leave_from_inside_an_event),
	    T(destroying_the_layer_frees_all_without_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
