/* A call from beginning to end, as both phones see it: who gets which message with which fields. */
#include "b2bua_helpers.h"

#define ALLOW "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE, NOTIFY, REFER, MESSAGE"

static void a_call_is_set_up_and_ended_by_the_caller(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	phone_assert_body(t.invite, SDP_A);
	phone_assert_body(t.answer, SDP_B);
	phone_assert_body(t.ack, "");
	hang_up(t.a, bob);
	end();
}

static void the_called_phone_may_hang_up(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	hang_up(t.b, alice);
	end();
}

static void a_call_over_tcp(void **state)
{
	struct phone_msg *invite, *answer;

	(void)state;
	begin(PLAN("call:dial{'sip:bob@10.0.0.3;transport=tcp'}\n"));
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	assert_int_equal(invite->proto, SH_PROTO_TCP);
	phone_assert_contains(invite, "Contact", "<sip:10.0.0.1:5060;transport=tcp>");
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	answer = soon(alice, "200");
	phone_assert_contains(answer, "Contact", ";transport=tcp");
	phone_ack(answer, NULL, NULL);
	soon(bob, "ACK");
	hang_up(invite->call, alice);
	assert_int_equal(phone_connections(alice), 1);
	end();
}

static void udp_and_tcp_are_joined(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN("call:dial{'sip:bob@10.0.0.3;transport=tcp'}\n"));
	t = talk();
	assert_int_equal(t.answer->proto, SH_PROTO_UDP);
	assert_int_equal(t.ack->proto, SH_PROTO_TCP);
	hang_up(t.a, bob);
	end();
}

static void the_legs_are_separate_dialogs(void **state)
{
	struct phone_msg *in, *bye;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t = talk();
	in = t.a->invite;
	assert_string_not_equal(value(in, "Call-ID"), value(t.invite, "Call-ID"));
	assert_string_not_equal(t.a->local_tag, t.b->remote_tag);
	assert_string_not_equal(t.a->remote_tag, t.b->local_tag);
	/* but their identities pass */
	phone_assert_contains(t.invite, "From", "<sip:alice@example.org>;tag=");
	phone_assert_header(t.invite, "To", "<sip:bob@example.org>");
	assert_string_equal(uri_of(t.invite), "sip:bob@10.0.0.3");
	/* and CSeq numbers go up in each */
	phone_bye(t.a);
	soon(alice, "200 BYE");
	bye = soon(bob, "BYE");
	assert_true(bye->m.cseq > t.invite->m.cseq);
	phone_assert_header(bye, "Call-ID", value(t.invite, "Call-ID"));
	phone_assert_contains(bye, "From", t.b->remote_tag);
	phone_assert_contains(bye, "To", t.b->local_tag);
	assert_string_equal(uri_of(bye), "sip:bob@10.0.0.3:5060");
	ok(bye);
	end();
}

static void every_message_has_its_fields(void **state)
{
	struct phone_msg *m, *bye;
	struct talk t;
	char text[16];

	(void)state;
	begin(PLAN_BOB);
	t.a = phone_invite(alice, "sip:bob@example.org",
			   "Max-Forwards: 33\nSubject: lunch\nAlert-Info: <urn:alert:x>\nX-Secret: 1\nUser-Agent: A/1\n"
			   "Supported: 100rel, timer\nRecord-Route: <sip:proxy.example.net;lr>\nAuthorization: Digest x=\"y\"\n"
			   "P-Asserted-Identity: <sip:liar@example.org>\nRemote-Party-ID: <sip:liar@example.org>",
			   SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_assert_header(t.invite, "Max-Forwards", "32");
	phone_assert_header(t.invite, "Subject", "lunch");
	phone_assert_header(t.invite, "Alert-Info", "<urn:alert:x>");
	phone_assert_header(t.invite, "Contact", "<sip:10.0.0.1:5060>");
	phone_assert_header(t.invite, "Allow", ALLOW);
	phone_assert_header(t.invite, "User-Agent", "siphook/test");
	phone_assert_header(t.invite, "Content-Type", "application/sdp");
	snprintf(text, sizeof(text), "%zu", strlen(SDP_A));
	phone_assert_header(t.invite, "Content-Length", text);
	phone_assert_header(t.invite, "X-Secret", NULL);
	phone_assert_header(t.invite, "Supported", "100rel, timer, replaces, norefersub, tdialog");
	phone_assert_header(t.invite, "Record-Route", NULL);
	phone_assert_header(t.invite, "Route", NULL);
	phone_assert_header(t.invite, "Authorization", NULL);
	phone_assert_header(t.invite, "P-Asserted-Identity", NULL);
	phone_assert_header(t.invite, "Remote-Party-ID", NULL);
	assert_null(strstr(t.invite->text, ALICE ":5060")); /* no Via of the other leg */

	phone_reply(t.invite, 180, "Ding Dong", "Server: B/1\nAlert-Info: <urn:alert:y>\nX-Secret: 2\nAllow-Events: talk", NULL);
	m = soon(alice, "180");
	assert_string_equal(reason_of(m), "Ding Dong");
	phone_assert_header(m, "Contact", "<sip:10.0.0.1:5060>");
	phone_assert_header(m, "Allow", ALLOW);
	phone_assert_header(m, "Allow-Events", "talk");
	phone_assert_header(m, "Server", "siphook/test");
	phone_assert_header(m, "User-Agent", NULL);
	phone_assert_header(m, "Alert-Info", "<urn:alert:y>");
	phone_assert_header(m, "Record-Route", "<sip:proxy.example.net;lr>");
	phone_assert_header(m, "X-Secret", NULL);
	phone_assert_header(m, "Content-Length", "0");
	phone_assert_header(m, "CSeq", value(t.a->invite, "CSeq"));
	phone_assert_header(m, "Call-ID", value(t.a->invite, "Call-ID"));
	phone_assert_header(m, "From", value(t.a->invite, "From"));
	assert_int_equal(strlen(tag_of(m)), 16);

	phone_reply(t.invite, 200, NULL, "Warning: 399 b \"careful\"", SDP_B);
	t.answer = soon(alice, "200");
	assert_string_equal(tag_of(t.answer), tag_of(m));
	phone_assert_header(t.answer, "Record-Route", "<sip:proxy.example.net;lr>");
	phone_assert_header(t.answer, "Contact", "<sip:10.0.0.1:5060>");
	phone_assert_header(t.answer, "Allow", ALLOW);
	phone_assert_header(t.answer, "Content-Type", "application/sdp");
	phone_assert_header(t.answer, "Warning", "399 b \"careful\"");
	phone_assert_header(t.answer, "Server", "siphook/test");

	phone_ack(t.answer, NULL, NULL);
	t.ack = soon(bob, "ACK");
	assert_int_equal(t.ack->m.cseq, t.invite->m.cseq);
	phone_assert_contains(t.ack, "CSeq", "ACK");
	phone_assert_header(t.ack, "Max-Forwards", "70");
	phone_assert_header(t.ack, "Content-Length", "0");
	phone_assert_contains(t.ack, "To", t.invite->call->local_tag);
	assert_string_equal(uri_of(t.ack), "sip:bob@10.0.0.3:5060");
	assert_string_not_equal(value(t.ack, "Via"), value(t.invite, "Via"));

	phone_in_call(t.a, "BYE", "Reason: Q.850;cause=16;text=\"Normal call clearing\"", NULL);
	m = soon(alice, "200 BYE");
	phone_assert_header(m, "Content-Length", "0");
	bye = soon(bob, "BYE");
	phone_assert_header(bye, "Reason", "Q.850;cause=16;text=\"Normal call clearing\"");
	phone_assert_header(bye, "Max-Forwards", "70");
	phone_assert_header(bye, "Content-Length", "0");
	phone_assert_header(bye, "User-Agent", "siphook/test");
	ok(bye);
	end();
}

static void trusted_peers_assert_identities(void **state)
{
	struct talk t;

	(void)state;
	begin("local sip = require 'siphook'\nsip.acl{trust = {'10.0.0.2/31'}}\n"
	      "sip.on.invite(function(call) call:dial{'sip:bob@10.0.0.3'} end)\n");
	t.a = phone_invite(alice, "sip:bob@example.org",
			   "P-Asserted-Identity: \"Boss\" <sip:boss@example.org>\nRemote-Party-ID: <sip:boss@example.org>", SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_assert_header(t.invite, "P-Asserted-Identity", "\"Boss\" <sip:boss@example.org>");
	phone_assert_header(t.invite, "Remote-Party-ID", "<sip:boss@example.org>");
	phone_reply(t.invite, 200, NULL, "P-Asserted-Identity: <sip:bob@example.org>", SDP_B);
	t.answer = soon(alice, "200");
	phone_assert_header(t.answer, "P-Asserted-Identity", "<sip:bob@example.org>");
	phone_ack(t.answer, NULL, NULL);
	soon(bob, "ACK");
	hang_up(t.a, bob);
	end();
}

static void privacy_keeps_identities_from_strangers(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin("local sip = require 'siphook'\nsip.acl{trust = {'10.0.0.2'}}\n"
	      "sip.on.invite(function(call) local ok, res = call:dial{'sip:bob@10.0.0.3'} call:reject(res) end)\n");
	phone_invite(alice, "sip:bob@example.org", "Privacy: id\nP-Asserted-Identity: <sip:boss@example.org>", SDP_A);
	invite = soon(bob, "INVITE");
	phone_assert_header(invite, "Privacy", "id");
	phone_assert_header(invite, "P-Asserted-Identity", NULL);
	phone_reply(invite, 486, NULL, "P-Asserted-Identity: <sip:bob@example.org>", NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

static void early_media_are_passed_on_and_180_after_183(void **state)
{
	struct phone_msg *m;
	struct talk t;

	(void)state;
	begin(PLAN_BOB);
	t.a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	t.invite = soon(bob, "INVITE");
	phone_reply(t.invite, 100, NULL, NULL, NULL);
	phone_reply(t.invite, 183, NULL, NULL, SDP_B);
	m = soon(alice, "183");
	phone_assert_body(m, SDP_B);
	phone_assert_header(m, "Content-Type", "application/sdp");
	phone_reply(t.invite, 180, NULL, NULL, NULL);
	phone_assert_body(soon(alice, "180"), "");
	phone_reply(t.invite, 182, "Two in front of you", NULL, NULL);
	assert_string_equal(reason_of(soon(alice, "182")), "Two in front of you");
	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = soon(alice, "200");
	phone_assert_body(t.answer, SDP_B);
	phone_ack(t.answer, NULL, NULL);
	soon(bob, "ACK");
	hang_up(t.a, bob);
	end();
}

static void early_media_can_be_held_back(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN("call:dial({'sip:bob@10.0.0.3'}, {early = 'drop'})\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 183, NULL, NULL, SDP_B);
	phone_assert_body(soon(alice, "180"), "");
	phone_reply(invite, 486, NULL, NULL, NULL);
	phone_ack(soon(alice, "486"), NULL, NULL);
	soon(bob, "ACK");
	end();
}

static void a_quiet_callee_is_covered_by_a_100(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN_BOB);
	phone_auto(bob, PHONE_ABSORB);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	soon(alice, "100");
	invite = soon(bob, "INVITE");
	phone_reply(invite, 404, NULL, NULL, NULL);
	phone_ack(soon(alice, "404"), NULL, NULL);
	soon(bob, "ACK");
	end();
}

static void passed_back(unsigned code)
{
	static const unsigned changed[] = {401, 407, 503}; /* these are about us, not about the caller */
	unsigned want = code;
	struct phone_msg *invite, *m;
	char what[8];

	for (unsigned i = 0; i < 3; i++)
		want = code == changed[i] ? 500 : want;
	want = code == 430 ? 480 : want; /* of flows no endpoint is to hear (RFC 5626 11.5) */
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, code, "Because I say so",
		    "Warning: 370 bob \"no bandwidth\"\nRetry-After: 9\nContent-Type: text/plain\nAccept: text/x\n"
		    "Allow: FOO\nUnsupported: bar\nRequire: baz\nContact: <sip:elsewhere@10.0.0.4>",
		    "the body of a failure");
	soon(bob, "ACK");
	snprintf(what, sizeof(what), "%u", want);
	m = soon(alice, what);
	phone_ack(m, NULL, NULL);
	phone_assert_header(m, "Server", "siphook/test");
	if (want != code)
		return;
	assert_string_equal(reason_of(m), "Because I say so");
	phone_assert_header(m, "Warning", "370 bob \"no bandwidth\"");
	phone_assert_header(m, "Retry-After", "9");
	phone_assert_header(m, "Content-Type", "text/plain");
	phone_assert_header(m, "Contact", code < 400 ? "<sip:elsewhere@10.0.0.4>" : NULL);
	phone_assert_header(m, "Allow", code == 405 ? "FOO" : NULL);
	phone_assert_header(m, "Unsupported", code == 420 ? "bar" : NULL);
	phone_assert_body(m, "the body of a failure");
}

static void every_failure_passes(const char *plan)
{
	for (unsigned code = 300; code < 700; code++) {
		if (code % 100 == 0)
			begin(plan);
		passed_back(code);
		if (code % 100 == 99)
			end();
	}
}

static void every_failure_is_passed_back_by_the_script(void **state)
{
	(void)state;
	every_failure_passes(PLAN_BOB);
}

static void every_failure_is_passed_back_by_itself(void **state)
{
	(void)state;
	every_failure_passes(PLAN("call:dial({'sip:bob@10.0.0.3'}, {timeout = 20})\n"));
}

static void the_script_rejects_and_redirects(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN("if call.uri.user == 'no' then return call:reject(603, 'Go away', {warning = 'I said \"no\"'}) end\n"
		   "if call.uri.user == 'there' then return call:redirect{'sip:desk1@example.org', {uri='sip:desk2@example.org', q=0.5}} end\n"));
	phone_invite(alice, "sip:no@example.org", NULL, SDP_A);
	m = soon(alice, "603");
	assert_string_equal(reason_of(m), "Go away");
	phone_assert_header(m, "Warning", "399 10.0.0.1 \"I said \\\"no\\\"\"");
	phone_ack(m, NULL, NULL);
	phone_invite(alice, "sip:there@example.org", NULL, SDP_A);
	m = soon(alice, "302");
	phone_assert_contains(m, "Contact", "<sip:desk1@example.org>");
	assert_non_null(strstr(m->text, "<sip:desk2@example.org>;q=0.5"));
	phone_ack(m, NULL, NULL);
	/* no answer at all from the hook */
	phone_invite(alice, "sip:huh@example.org", NULL, SDP_A);
	phone_ack(soon(alice, "500"), NULL, NULL);
	world_expect_log(w, "ended without an answer");
	end();
}

static void a_script_error_is_a_500_and_ends_its_branches(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN("local leg = call:fork{'sip:bob@10.0.0.3'}\n local x = nil + 1\n"));
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	ok(soon(bob, "BYE"));
	phone_ack(soon(alice, "500"), NULL, NULL);
	world_expect_log(w, "attempt to perform arithmetic on a nil value");
	world_forget_log(w);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_call_is_set_up_and_ended_by_the_caller),
	    cmocka_unit_test(the_called_phone_may_hang_up),
	    cmocka_unit_test(a_call_over_tcp),
	    cmocka_unit_test(udp_and_tcp_are_joined),
	    cmocka_unit_test(the_legs_are_separate_dialogs),
	    cmocka_unit_test(every_message_has_its_fields),
	    cmocka_unit_test(trusted_peers_assert_identities),
	    cmocka_unit_test(privacy_keeps_identities_from_strangers),
	    cmocka_unit_test(early_media_are_passed_on_and_180_after_183),
	    cmocka_unit_test(early_media_can_be_held_back),
	    cmocka_unit_test(a_quiet_callee_is_covered_by_a_100),
	    cmocka_unit_test(every_failure_is_passed_back_by_the_script),
	    cmocka_unit_test(every_failure_is_passed_back_by_itself),
	    cmocka_unit_test(the_script_rejects_and_redirects),
	    cmocka_unit_test(a_script_error_is_a_500_and_ends_its_branches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
