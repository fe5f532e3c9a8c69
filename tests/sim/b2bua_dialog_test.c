/* Requests inside an established call other than INVITE and BYE, route sets, and requests of other methods that a script
 * relays. */
#include "b2bua_helpers.h"

static void passes(struct phone_call *from, struct phone *to, const char *method, const char *headers, const char *body)
{
	struct phone_msg *m, *got;
	char answer[32];

	phone_in_call(from, method, headers, body);
	m = soon(to, method);
	phone_assert_body(m, body ? body : "");
	phone_assert_header(m, "Max-Forwards", "69");
	phone_assert_header(m, "User-Agent", "siphook/test");
	phone_reply(m, 200, "Fine", "Content-Type: text/plain\nAccept: text/y\nAllow: FOO", "an answer");
	snprintf(answer, sizeof(answer), "200 %s", method);
	got = soon(from->phone, answer);
	assert_string_equal(reason_of(got), "Fine");
	phone_assert_body(got, "an answer");
	phone_assert_header(got, "Content-Type", "text/plain");
	phone_assert_header(got, "Accept", "text/y");
	phone_assert_header(got, "Server", "siphook/test");
}

static void requests_in_the_dialog_pass_with_their_answers(void **state)
{
	static const char *const methods[] = {"MESSAGE", "INFO", "OPTIONS", "UPDATE", "NOTIFY"};
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		passes(t.a, bob, methods[i], "Content-Type: text/plain", "a question");
		passes(t.b, alice, methods[i], NULL, NULL);
	}
	hang_up(t.a, bob);
	end();
}

static void their_fields_pass(void **state)
{
	struct phone_msg *m, *got;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "REFER", "Refer-To: <sip:carol@example.org>\nReferred-By: <sip:alice@example.org>", NULL);
	m = soon(bob, "REFER");
	phone_assert_header(m, "Refer-To", "<sip:carol@example.org>");
	phone_assert_header(m, "Referred-By", "<sip:alice@example.org>");
	phone_assert_header(m, "Contact", "<sip:10.0.0.1:5060>");
	phone_reply(m, 202, NULL, NULL, NULL);
	phone_assert_header(soon(alice, "202"), "Contact", "<sip:10.0.0.1:5060>");
	phone_in_call(t.b, "NOTIFY", "Event: refer\nSubscription-State: terminated;reason=noresource\nContent-Type: message/sipfrag",
		      "SIP/2.0 200 OK");
	m = soon(alice, "NOTIFY");
	phone_assert_header(m, "Event", "refer");
	phone_assert_header(m, "Subscription-State", "terminated;reason=noresource");
	phone_assert_header(m, "Content-Type", "message/sipfrag");
	ok(m);
	soon(bob, "200 NOTIFY");
	phone_in_call(t.a, "OPTIONS", NULL, NULL);
	phone_reply(soon(bob, "OPTIONS"), 200, NULL, "Allow: INVITE, ACK, BYE, CANCEL, FOO", NULL);
	got = soon(alice, "200 OPTIONS");
	phone_assert_contains(got, "Allow", "REFER, MESSAGE"); /* what this leg can do is ours to say */
	hang_up(t.a, bob);
	end();
}

static void failures_in_the_dialog_pass(void **state)
{
	struct phone_msg *got;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	phone_reply(soon(bob, "INFO"), 405, NULL, "Allow: INVITE, ACK, BYE, CANCEL", NULL);
	phone_assert_header(soon(alice, "405 INFO"), "Allow", "INVITE, ACK, BYE, CANCEL");
	phone_in_call(t.b, "MESSAGE", "Content-Type: text/plain", "x");
	phone_reply(soon(alice, "MESSAGE"), 415, "Nothing to read", "Accept: application/sdp", NULL);
	got = soon(bob, "415 MESSAGE");
	assert_string_equal(reason_of(got), "Nothing to read");
	phone_assert_header(got, "Accept", "application/sdp");
	hang_up(t.a, bob);
	end();
}

static void a_481_in_the_dialog_ends_the_call(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	phone_reply(soon(bob, "INFO"), 481, NULL, NULL, NULL);
	soon(alice, "481 INFO");
	ok(soon(alice, "BYE"));
	phone_reply(soon(bob, "BYE"), 481, NULL, NULL, NULL);
	end();
}

static void a_request_that_nobody_answers_gets_no_408(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_auto(bob, PHONE_ABSORB);
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(bob, "INFO");
	phone_expect_none(alice, "408", 40 * SH_SECOND); /* RFC 4320 */
	soon(alice, "100 INFO");
	hang_up(t.a, bob);
	end();
}

static void a_bye_answers_what_is_under_way(void **state)
{
	struct phone_msg *info;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "INFO", NULL, NULL);
	info = soon(bob, "INFO");
	phone_bye(t.b);
	phone_reply(info, 481, NULL, NULL, NULL);
	soon(bob, "200 BYE");
	soon(alice, "487 INFO");
	ok(soon(alice, "BYE"));
	end();
}

static void cseq_must_go_up(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	t.a->cseq -= 2;
	phone_in_call(t.a, "INFO", NULL, NULL); /* one before the INVITE */
	soon(alice, "500 INFO");
	t.a->cseq += 100;
	phone_in_call(t.a, "INFO", NULL, NULL); /* gaps are fine */
	m = soon(bob, "INFO");
	ok(m);
	soon(alice, "200 INFO");
	hang_up(t.a, bob);
	end();
}

static void max_forwards_ends_here_too(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_in_call(t.a, "INFO", "Max-Forwards: 0", NULL);
	soon(alice, "483 INFO");
	phone_in_call(t.a, "BYE", "Max-Forwards: 0", NULL);
	soon(alice, "200 BYE");
	ok(soon(bob, "BYE"));
	end();
}

static void nothing_is_found_outside_of_dialogs(void **state)
{
	static const char *const methods[] = {"BYE", "INFO", "UPDATE", "NOTIFY", "PRACK", "INVITE", "MESSAGE", "REFER"};
	char answer[32];
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		phone_request(alice, methods[i], "sip:bob@example.org", "To: <sip:bob@example.org>;tag=unknown", NULL);
		snprintf(answer, sizeof(answer), "481 %s", methods[i]);
		if (strcmp(methods[i], "INVITE") == 0)
			phone_ack(soon(alice, answer), NULL, NULL);
		else
			soon(alice, answer);
	}
	t = talk();
	hang_up(t.a, bob);
	phone_in_call(t.a, "INFO", NULL, NULL);
	soon(alice, "481 INFO");
	phone_bye(t.a);
	soon(alice, "481 BYE");
	end();
}

static void a_foreign_tag_does_not_reach_the_call(void **state)
{
	struct talk t;
	char headers[256];

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	snprintf(headers, sizeof(headers), "From: <sip:alice@example.org>;tag=stranger\nTo: <sip:bob@example.org>;tag=%s\nCall-ID: %s",
		 t.a->remote_tag, t.a->id);
	phone_request(carol, "BYE", "sip:bob@example.org", headers, NULL);
	soon(carol, "481 BYE");
	hang_up(t.a, bob);
	end();
}

static void hooks_see_requests_in_the_dialog(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB "sip.on.info(function(req)\n"
		       "  if req.body == 'secret' then return req:reply(403) end\n"
		       "  local res = req:pass()\n  sip.log.info('info %d %s', res.code, req.call.state)\nend)\n"
		       "sip.on.message(function(req) end)\n" /* no answer: the default */
		       "sip.on.bye(function(req) sip.log.info('bye seen') end)\n"
		       "sip.on.ack(function(req) sip.log.info('ack seen') end)\n");
	t = talk();
	world_expect_log(w, "ack seen");
	phone_in_call(t.a, "INFO", "Content-Type: text/plain", "secret");
	soon(alice, "403 INFO");
	phone_in_call(t.a, "INFO", "Content-Type: text/plain", "open");
	m = soon(bob, "INFO");
	phone_reply(m, 206, "Sort of", NULL, NULL);
	assert_string_equal(reason_of(soon(alice, "206 INFO")), "Sort of");
	world_expect_log(w, "info 206 up");
	phone_in_call(t.b, "MESSAGE", "Content-Type: text/plain", "hi");
	ok(soon(alice, "MESSAGE"));
	soon(bob, "200 MESSAGE");
	hang_up(t.a, bob);
	world_expect_log(w, "bye seen");
	end();
}

/* ---- routes ---- */

static void record_routes_are_followed(const char *param)
{
	struct phone_msg *m;
	struct talk t;
	char headers[128], route[64];

	begin(PLAN_BOB);
	snprintf(route, sizeof(route), "<sip:10.0.0.4:5060%s>", param);
	snprintf(headers, sizeof(headers), "Record-Route: %s", route);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_reply(t.invite, 200, NULL, headers, SDP_B); /* carol's host is a proxy in front of bob */
	t.answer = soon(alice, "200");
	phone_assert_header(t.answer, "Record-Route", NULL);
	phone_ack(t.answer, NULL, NULL);
	m = soon(carol, "ACK");
	if (*param) {
		assert_string_equal(uri_of(m), "sip:bob@10.0.0.3:5060");
		phone_assert_header(m, "Route", route);
	} else { /* 12.2.1.1: a strict router */
		assert_string_equal(uri_of(m), "sip:10.0.0.4:5060");
		phone_assert_header(m, "Route", "<sip:bob@10.0.0.3:5060>");
	}
	phone_bye(t.a);
	soon(alice, "200 BYE");
	m = soon(carol, "BYE");
	assert_string_equal(uri_of(m), *param ? "sip:bob@10.0.0.3:5060" : "sip:10.0.0.4:5060");
	ok(m);
	end();
}

static void record_routes_of_the_callee_are_followed(void **state)
{
	(void)state;
	record_routes_are_followed(";lr");
}

static void strict_routers_of_the_callee_are_followed(void **state)
{
	(void)state;
	record_routes_are_followed("");
}

static void record_routes_of_the_caller_are_followed(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t.a = phone_invite(alice, "sip:bob@example.org", "Record-Route: <sip:10.0.0.4:5060;lr>, <sip:p2.example.net;lr>", SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	phone_assert_header(t.answer, "Record-Route", "<sip:10.0.0.4:5060;lr>, <sip:p2.example.net;lr>");
	t.a->routes = NULL; /* alice answers by herself */
	phone_ack(t.answer, "-Route", NULL);
	world_advance(w, SH_SECOND);
	/* the ACK went to the last proxy of the set, which has a name: alice's proxy, us */
	soon(bob, "ACK");
	phone_bye(t.invite->call);
	soon(bob, "200 BYE");
	m = soon(carol, "BYE");
	phone_assert_header(m, "Route", "<sip:10.0.0.4:5060;lr>, <sip:p2.example.net;lr>");
	assert_string_equal(uri_of(m), "sip:alice@10.0.0.2:5060");
	ok(m);
	end();
}

static void requests_take_the_connection_that_they_know(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	t.a = phone_invite(alice, "sip:bob@example.org", "Contact: <sip:alice@192.168.77.1:5060;transport=tcp>", SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	phone_ack(t.answer, NULL, NULL);
	soon(bob, "ACK");
	phone_bye(t.invite->call); /* her Contact is behind a NAT: only her connection reaches her */
	soon(bob, "200 BYE");
	m = soon(alice, "BYE");
	assert_string_equal(uri_of(m), "sip:alice@192.168.77.1:5060;transport=tcp");
	ok(m);
	end();
}

/* ---- relaying ---- */

static void a_message_is_relayed_to_whoever_answers_first(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\nsip.on.message(function(req)\n"
	      "  local res, why = req:relay({{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}})\n"
	      "  sip.log.info('relay %d', res.code)\nend)\n");
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain\nSubject: s", "hello");
	m = soon(bob, "MESSAGE");
	phone_assert_body(m, "hello");
	phone_assert_header(m, "Subject", "s");
	phone_assert_header(m, "Max-Forwards", "69");
	phone_assert_contains(m, "From", "<sip:alice@example.org>;tag=");
	phone_assert_header(m, "To", "<sip:bob@example.org>");
	phone_reply(m, 480, NULL, NULL, NULL);
	m = soon(carol, "MESSAGE");
	phone_reply(m, 202, "Later", NULL, NULL);
	assert_string_equal(reason_of(soon(alice, "202 MESSAGE")), "Later");
	world_expect_log(w, "relay 202");
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "again");
	phone_reply(soon(bob, "MESSAGE"), 404, NULL, NULL, NULL);
	phone_reply(soon(carol, "MESSAGE"), 486, NULL, NULL, NULL);
	soon(alice, "486 MESSAGE");
	end();
}

/* RFC 6086: what a phone wants to receive is told to the other one, and an INFO of such a package reaches it; one that it does not
 * want comes back as 469. */
static void info_packages_pass(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", "Recv-Info: P, R", SDP_A);
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Recv-Info", "P, R");
	phone_reply(m, 200, NULL, "Recv-Info: foo", SDP_B);
	soon(bob, "ACK");
	m = phone_expect_in(a, "200 INVITE", SH_SECOND);
	phone_assert_header(m, "Recv-Info", "foo");
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_in_call(a, "INFO", "Info-Package: foo\nContent-Type: application/foo\nContent-Disposition: Info-Package", "I am a foo");
	m = soon(bob, "INFO");
	phone_assert_header(m, "Info-Package", "foo");
	phone_assert_header(m, "Content-Disposition", "Info-Package");
	phone_assert_body(m, "I am a foo");
	ok(m);
	soon(alice, "200 INFO");
	phone_in_call(a, "INFO", "Info-Package: bar", NULL);
	phone_reply(soon(bob, "INFO"), 469, "Bad Info Package", "Recv-Info: foo", NULL);
	phone_assert_header(soon(alice, "469"), "Recv-Info", "foo");
	hang_up(a, bob);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(requests_in_the_dialog_pass_with_their_answers),
	    cmocka_unit_test(their_fields_pass),
	    cmocka_unit_test(failures_in_the_dialog_pass),
	    cmocka_unit_test(a_481_in_the_dialog_ends_the_call),
	    cmocka_unit_test(a_request_that_nobody_answers_gets_no_408),
	    cmocka_unit_test(a_bye_answers_what_is_under_way),
	    cmocka_unit_test(cseq_must_go_up),
	    cmocka_unit_test(max_forwards_ends_here_too),
	    cmocka_unit_test(nothing_is_found_outside_of_dialogs),
	    cmocka_unit_test(a_foreign_tag_does_not_reach_the_call),
	    cmocka_unit_test(hooks_see_requests_in_the_dialog),
	    cmocka_unit_test(record_routes_of_the_callee_are_followed),
	    cmocka_unit_test(strict_routers_of_the_callee_are_followed),
	    cmocka_unit_test(record_routes_of_the_caller_are_followed),
	    cmocka_unit_test(requests_take_the_connection_that_they_know),
	    cmocka_unit_test(a_message_is_relayed_to_whoever_answers_first),
	    cmocka_unit_test(info_packages_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
