/* What the server side answers without a transaction: malformed requests, too much of them, challenges. */
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

static const struct ask options = {.method = "OPTIONS", .branch = "z9hG4bKpeer2", .from_tag = "peer"};

static void a_malformed_request_is_answered_without_a_transaction(void **state)
{
	struct ask a = invite;

	(void)state;
	a.cseq_method = "OPTIONS";
	ask(&w, a);
	settle(&w);
	assert_int_equal(last_seen(&w)->status, 400);
	assert_int_equal(last_seen(&w)->to_tag.len, SH_TAG_LEN);
	assert_true(last_seen(&w)->reason.len > 4);
	assert_events(&w, "");
	assert_int_equal(sh_txn_layer_stats(w.layer)->server_live, 0);
}

static void stateless(struct world *world, struct sh_server_txn *st, const struct sh_msg *m)
{
	assert_int_equal(sh_txn_reply_stateless(world->layer, m, sh_server_txn_path(st), 503, SH_LIT("Busy"),
						SH_LIT("Retry-After: 5\r\n")),
			 0);
}

static void a_stateless_answer_carries_its_header_fields(void **state)
{
	(void)state;
	w.on_request = stateless;
	ask(&w, options);
	settle(&w);
	assert_text(sh_msg_header(last_seen(&w), SH_H_RETRY_AFTER), "5");
	assert_text(sh_msg_text(last_seen(&w), last_seen(&w)->reason), "Busy");
}

static void an_overloaded_worker_refuses_what_is_new_without_a_transaction(void **state)
{
	struct sh_msg *m;
	struct ask bye = other_method(invite, "BYE");

	(void)state;
	w.env->overloaded = true;
	ask(&w, invite);
	assert_events(&w, "");
	settle(&w);
	m = last_seen(&w);
	assert_int_equal(m->status, 503);
	assert_true(sh_slice_find(sh_msg_header(m, SH_H_RETRY_AFTER), ' ') < 0 &&
		    sh_msg_header(m, SH_H_RETRY_AFTER).len == 1);
	assert_int_equal(sh_txn_layer_stats(w.layer)->server_live, 0);
	assert_int_equal(sh_txn_layer_stats(w.layer)->overload, 1);
	/* Its ACK is nobody's, and what belongs to a dialog goes on. */
	ask(&w, other_method(invite, "ACK"));
	assert_events(&w, "ACK;");
	bye.to = "<sip:us@10.1.0.1>;tag=ours";
	bye.branch = "z9hG4bKbye";
	ask(&w, bye);
	assert_events(&w, "BYE;");
	reply(200, 0);
	w.env->overloaded = false;
	ask(&w, invite);
	assert_events(&w, "INVITE;");
	reply(486, 0);
}

static void an_authentication_challenge_leaves_nothing_behind(void **state)
{
	struct ask a = other_method(invite, "REGISTER");

	(void)state;
	ask(&w, a);
	assert_events(&w, "REGISTER;");
	reply(401, 0);
	run(&w, 2 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->server_live, 0);
	assert_events(&w, "ENDED;");
	/* The same once more is asked once more; another answer is kept for 32 s. */
	ask(&w, a);
	assert_events(&w, "REGISTER;");
	reply(200, 0);
	run(&w, 2 * MS);
	assert_int_equal(sh_txn_layer_stats(w.layer)->server_live, 1);
	ask(&w, a);
	assert_events(&w, "");
}

static void a_repeated_answer_is_the_same_to_the_last_octet(void **state)
{
	static const struct sh_slice tags[] = {{"", 0}, {"0123456789abcdef", 16}, {"of another length", 17}};
	struct ask a = other_method(invite, "MESSAGE");
	char branch[20];

	(void)state;
	for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++) {
		struct sh_writer *out;

		snprintf(branch, sizeof(branch), "z9hG4bKsame%zu", i);
		a.branch = branch;
		a.cseq = 10 + (unsigned)i;
		ask(&w, a);
		out = sh_server_txn_begin(w.st, 202, SH_LIT("Taken"), tags[i]);
		sh_put_header_named(out, SH_LIT("X-Kept"), SH_LIT("yes"));
		sh_put_body(out, SH_LIT("text/plain"), SH_LIT("body"));
		assert_int_equal(sh_server_txn_respond(w.st, 202, out), 0);
		settle(&w);
		ask(&w, a);
		settle(&w);
		assert_int_equal(w.seen_count, 2);
		assert_non_null(strstr(w.seen[0].text, "SIP/2.0 202 Taken\r\n"));
		assert_string_equal(w.seen[0].text, w.seen[1].text);
		forget_seen(&w);
	}
}

static void an_ack_is_never_answered(void **state)
{
	struct ask a = other_method(invite, "ACK");
	struct sh_path path = {.proto = SH_PROTO_UDP, .remote = w.peer};
	const char *text = ask_text(&a);
	struct sh_msg m;

	(void)state;
	assert_int_equal(sh_msg_scan(&m, text, strlen(text), false, NULL), 0);
	assert_int_equal(sh_txn_reply_stateless(w.layer, &m, &path, 400, SH_LIT(""), SH_LIT("")), 0);
	assert_seen(&w, "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_malformed_request_is_answered_without_a_transaction),
		T(a_stateless_answer_carries_its_header_fields),
		T(an_overloaded_worker_refuses_what_is_new_without_a_transaction),
		T(an_authentication_challenge_leaves_nothing_behind),
		T(a_repeated_answer_is_the_same_to_the_last_octet),
		T(an_ack_is_never_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
