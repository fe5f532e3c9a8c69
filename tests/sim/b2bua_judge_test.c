/* What is answered before anybody is asked (RFC 3261 8.2), and what a stopping server says. */
#include "b2bua_helpers.h"

#define ALLOW "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE, NOTIFY, REFER"

static struct phone_msg *answer_to(const char *method, const char *uri, const char *headers, const char *body,
				   const char *code)
{
	struct phone_msg *m;

	phone_request(alice, method, uri, headers, body);
	m = soon(alice, code);
	if (strcmp(method, "INVITE") == 0)
		phone_ack(m, NULL, NULL);
	assert_int_equal(strlen(tag_of(m)), 16);
	phone_assert_header(m, "Server", "siphook/test");
	return m;
}

static void methods_without_a_hook(void **state)
{
	(void)state;
	begin(PLAN_BOB);
	phone_assert_header(answer_to("REGISTER", "sip:example.org", NULL, NULL, "405"), "Allow", ALLOW);
	phone_assert_header(answer_to("MESSAGE", "sip:bob@example.org", NULL, NULL, "405"), "Allow", ALLOW);
	answer_to("SUBSCRIBE", "sip:bob@example.org", "Event: presence", NULL, "489");
	answer_to("PUBLISH", "sip:bob@example.org", "Event: presence", NULL, "489");
	answer_to("REFER", "sip:bob@example.org", "Refer-To: <sip:x@y>", NULL, "403");
	answer_to("BYE", "sip:bob@example.org", NULL, NULL, "481");
	answer_to("INFO", "sip:bob@example.org", NULL, NULL, "481");
	answer_to("NOTIFY", "sip:bob@example.org", NULL, NULL, "481");
	phone_assert_header(answer_to("FROBNICATE", "sip:bob@example.org", NULL, NULL, "501"), "Allow", ALLOW);
	end();
}

static void options_say_what_we_can(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB "sip.on.register(function(req) req:register{} end)\n");
	m = answer_to("OPTIONS", "sip:example.org", "Max-Forwards: 0", NULL, "200");
	phone_assert_header(m, "Allow", ALLOW ", REGISTER");
	phone_assert_header(m, "Accept", "application/sdp");
	assert_string_not_equal(value(m, "Supported"), "");
	world_reload(w, PLAN_BOB); /* a generation without registrar */
	phone_assert_header(answer_to("OPTIONS", "sip:example.org", NULL, NULL, "200"), "Allow", ALLOW);
	end();
}

static void without_an_invite_hook_nobody_is_there(void **state)
{
	(void)state;
	begin("local sip = require 'siphook'\n");
	answer_to("INVITE", "sip:bob@example.org", NULL, SDP_A, "404");
	end();
}

static void requests_that_cannot_be_served(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	answer_to("INVITE", "http://example.org/bob", NULL, SDP_A, "416");
	m = answer_to("INVITE", "sip:bob@example.org", "Require: foo, 100rel\nRequire: bar", SDP_A, "420");
	phone_assert_header(m, "Unsupported", "foo, bar");
	m = answer_to("INVITE", "sip:bob@example.org", "Content-Encoding: gzip\nContent-Type: application/sdp", "\x1f\x8b", "415");
	phone_assert_header(m, "Accept-Encoding", "identity");
	m = answer_to("INVITE", "sip:bob@example.org", "-Content-Type", SDP_A, "415");
	phone_assert_header(m, "Accept", "application/sdp");
	answer_to("INVITE", "sip:bob@example.org", "Max-Forwards: 0", SDP_A, "483");
	answer_to("INVITE", "sip:bob@example.org", "-Contact", SDP_A, "400");
	answer_to("INVITE", "sip:bob@example.org", "Contact: *", SDP_A, "400");
	phone_request(alice, "OPTIONS", "sip:", NULL, NULL);
	soon(alice, "400");
	end();
}

static const char raw[] = "INVITE sip:bob@example.org SIP/%s\r\n"
			  "Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bK%s;rport\r\n"
			  "From: <sip:alice@example.org>;tag=a\r\n"
			  "To: <sip:bob@example.org>\r\n"
			  "Call-ID: raw\r\n"
			  "CSeq: 1 INVITE\r\n"
			  "Contact: <sip:alice@10.0.0.2>\r\n"
			  "Max-Forwards: 70\r\n"
			  "Content-Length: 0\r\n\r\n";

static void send_raw(const char *version, const char *branch)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), raw, version, branch);

	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, text, (size_t)n);
}

static void another_version_is_505(void **state)
{
	(void)state;
	begin(PLAN_BOB);
	send_raw("3.0", "x");
	soon(alice, "505");
	end();
}

static void the_same_request_by_two_ways_is_482(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN_BOB);
	send_raw("2.0", "one");
	invite = soon(bob, "INVITE");
	send_raw("2.0", "two");
	soon(alice, "482");
	phone_expect_none(bob, "INVITE", 100 * SH_MS);
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(alice, "486");
	world_advance(w, 100 * SH_SECOND);
	while (!world_idle(w))
		world_advance(w, SH_SECOND);
	world_destroy(w);
}

static void a_stopping_server_takes_no_calls_and_hangs_up(void **state)
{
	struct phone_msg *m, *waiting;
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.hangup(function(call, why) sip.log.info('over by %s', why.by) end)\n");
	t = talk();
	phone_invite(carol, "sip:bob@example.org", NULL, SDP_C);
	waiting = soon(bob, "INVITE");
	phone_reply(waiting, 180, NULL, NULL, NULL);
	soon(carol, "180");
	sh_ua_drain(w->ua[0], 0);
	m = soon(alice, "BYE");
	phone_assert_contains(m, "Reason", "Server is stopping");
	ok(m);
	ok(soon(bob, "BYE"));
	is_cancelled(waiting);
	phone_ack(soon(carol, "503"), NULL, NULL);
	world_expect_log(w, "over by engine");
	m = answer_to("INVITE", "sip:bob@example.org", NULL, SDP_A, "503");
	assert_string_not_equal(value(m, "Retry-After"), "");
	(void)t;
	end();
}

static void generations_change_between_calls(void **state)
{
	char error[512];
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	world_reload(w, PLAN("call:reject(603)\n") "sip.on.info(function(req) req:reply(299, 'new') end)\n");
	answer_to("INVITE", "sip:bob@example.org", NULL, SDP_A, "603");
	phone_in_call(t.a, "INFO", NULL, NULL); /* the old call, the new hooks */
	soon(alice, "299 INFO");
	assert_int_equal(world_try_reload(w, "local sip = require 'siphook'\nif then\n", error, sizeof(error)), -EINVAL);
	assert_non_null(strstr(error, "dialplan.lua:2:"));
	answer_to("INVITE", "sip:bob@example.org", NULL, SDP_A, "603");
	hang_up(t.b, alice);
	end();
}

static void a_hook_in_progress_ends_in_its_generation(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN("local leg, res = call:fork{'sip:bob@10.0.0.3'}\nsip.log.info('old %d', res.code)\ncall:reject(res)\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	world_reload(w, PLAN("call:reject(603)\n"));
	assert_int_equal(sh_script_alive(w->script), 2);
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	world_expect_log(w, "old 486");
	assert_int_equal(sh_script_alive(w->script), 1);
	end();
}

static void several_files_make_a_plan(void **state)
{
	static const char plan[] = "local sip = require 'siphook'\nlocal lib = require 'lib'\n"
				   "sip.on.invite(function(call) call:reject(lib.code) end)\n";

	(void)state;
	w = world_create(NULL, "");
	alice = world_phone(w, "alice", ALICE);
	bob = world_phone(w, "bob", BOB);
	carol = world_phone(w, "carol", CAROL);
	world_file(w, "lib.lua", "return {code = 486}\n");
	world_reload(w, plan);
	answer_to("INVITE", "sip:bob@example.org", NULL, SDP_A, "486");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(methods_without_a_hook),
	    cmocka_unit_test(options_say_what_we_can),
	    cmocka_unit_test(without_an_invite_hook_nobody_is_there),
	    cmocka_unit_test(requests_that_cannot_be_served),
	    cmocka_unit_test(another_version_is_505),
	    cmocka_unit_test(the_same_request_by_two_ways_is_482),
	    cmocka_unit_test(a_stopping_server_takes_no_calls_and_hangs_up),
	    cmocka_unit_test(generations_change_between_calls),
	    cmocka_unit_test(a_hook_in_progress_ends_in_its_generation),
	    cmocka_unit_test(several_files_make_a_plan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
