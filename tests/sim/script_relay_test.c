/* req:relay and req:pass: requests that go on. */
#include "script_world.h"

static const char plan[] = PLAN "sip.on.message(function(req)\n"
				"  local res, why = req:relay({'sip:bob@10.0.0.3', {uri = 'sip:carol@10.0.0.4', "
				"headers = {['X-Which'] = 'second'}}},\n"
				"    {timeout = 10, headers = {['X-Relayed'] = 'yes'}})\n"
				"  sip.log.info('relayed: %s %s', res and res.code, res and res.cause or why)\n"
				"end)\n";

static struct phone_call *message(const char *text)
{
	return phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", text);
}

static void a_message_goes_to_two_contacts_and_the_first_200_counts(void **state)
{
	struct phone_msg *m1, *m2, *m;

	(void)state;
	begin(plan);
	message("hello");
	m1 = soon(bob, "MESSAGE");
	m2 = soon(carol, "MESSAGE");
	phone_assert_body(m1, "hello");
	phone_assert_header(m1, "Content-Type", "text/plain");
	phone_assert_header(m1, "X-Relayed", "yes");
	phone_assert_header(m1, "X-Which", NULL);
	phone_assert_header(m2, "X-Which", "second");
	phone_assert_header(m1, "Max-Forwards", "69");
	phone_assert_contains(m1, "From", "sip:alice@example.org");
	phone_assert(alice, strcmp(phone_value(m1, "Call-ID"), phone_value(m2, "Call-ID")) != 0);
	phone_reply(m2, 404, NULL, NULL, NULL);
	phone_reply(m1, 200, "Read", "X-Read: now", NULL);
	m = soon(alice, "200");
	assert_non_null(strstr(m->text, "200 Read"));
	world_expect_log(w, "relayed: 200 nil");
	end();
}

static void the_best_failure_is_passed_back(void **state)
{
	(void)state;
	begin(plan);
	message("hello");
	phone_reply(soon(bob, "MESSAGE"), 404, NULL, NULL, NULL);
	phone_reply(soon(carol, "MESSAGE"), 486, NULL, NULL, NULL);
	phone_expect(alice, "4xx", SH_SECOND);
	world_expect_log(w, "relayed: 4");
	end();
}

static void nobody_answers_408_to_a_message(void **state)
{
	(void)state;
	begin(plan);
	phone_auto(alice, PHONE_ABSORB);
	message("hello");
	soon(bob, "MESSAGE");
	soon(carol, "MESSAGE");
	while (phone_count(bob, "MESSAGE") < 3)
		world_advance(w, SH_SECOND / 2);
	phone_expect_none(alice, "408", 20 * SH_SECOND);
	world_expect_log(w, "relayed: 408 no_answer");
	w->forgiving = true;
	world_destroy(w);
}

static void what_cannot_be_reached_is_a_480(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  local res = req:relay('sip:bob@10.0.0.77;transport=tcp')\n"
		   "  assert(res.cause == 'unreachable')\n"
		   "end)\n");
	message("hello");
	phone_expect(alice, "480", 40 * SH_SECOND);
	end();
}

static void the_script_may_answer_itself(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  local res, why = req:relay{}\n"
		   "  assert(res == nil and why == 'empty')\n"
		   "  res = req:relay{'sip:bob@10.0.0.3'}\n"
		   "  assert(res.code == 404 and res.cause == 'not_found')\n"
		   "  assert(req:reply(202, 'Stored') == true)\n"
		   "  local ok, code, detail = req:reply(200)\n"
		   "  assert(ok == nil and code == 'answered' and detail)\n"
		   "  ok, code = req:relay{'sip:bob@10.0.0.3'}\n"
		   "  assert(ok == nil and code == 'answered')\n"
		   "  ok, code = req:pass()\n"
		   "  assert(ok == nil and code == 'answered')\n"
		   "end)\n");
	message("hello");
	phone_reply(soon(bob, "MESSAGE"), 404, NULL, NULL, NULL);
	assert_non_null(strstr(soon(alice, "202")->text, "202 Stored"));
	end();
}

static void groups_are_tried_one_after_the_other(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  req:relay({{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}, {from = 'sip:service@example.org', "
		   "display = 'The Service'})\n"
		   "end)\n");
	message("hello");
	struct phone_msg *m = soon(bob, "MESSAGE");
	phone_assert_contains(m, "From", "\"The Service\" <sip:service@example.org>");
	phone_expect_none(carol, "*", SH_SECOND / 10);
	phone_reply(m, 503, NULL, NULL, NULL);
	phone_reply(soon(carol, "MESSAGE"), 200, NULL, NULL, NULL);
	soon(alice, "200");
	end();
}

/* A call between alice and bob. */
static struct phone_call *call_up(struct phone_call **other)
{
	struct phone_call *c = dial("sip:bob@example.org");

	*other = answer(bob, 200)->call;
	phone_ack(soon(alice, "200"), NULL, NULL);
	world_advance(w, SH_SECOND / 10);
	return c;
}

static void over_and_out(struct phone_call *c)
{
	phone_bye(c);
	phone_expect(alice, "200 BYE", SH_SECOND);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	end();
}

#define DIAL "sip.on.invite(function(call) call:dial('sip:bob@10.0.0.3') end)\n"

static void requests_in_a_call_are_passed_when_their_hook_says_nothing(void **state)
{
	struct phone_call *c, *b;
	struct phone_msg *info;

	(void)state;
	begin(PLAN DIAL "sip.on.info(function(req) assert(req.call.state == 'up' and req.leg == req.call.a) end)\n");
	c = call_up(&b);
	phone_in_call(c, "INFO", "Content-Type: text/plain", "x");
	info = soon(bob, "INFO");
	phone_assert_body(info, "x");
	phone_reply(info, 200, NULL, NULL, NULL);
	soon(alice, "200 INFO");
	over_and_out(c);
}

static void pass_waits_for_the_answer_of_the_other_side(void **state)
{
	struct phone_call *c, *b;
	struct phone_msg *info;

	(void)state;
	begin(PLAN DIAL
	      "sip.on.info(function(req)\n"
	      "  local d = req:dtmf()\n"
	      "  if d then sip.log.info('digit %s %s', d.signal, d.duration) return req:reply(200, 'Heard') end\n"
	      "  local res = req:pass{headers = {['X-Note'] = 'seen'}, body = 'changed'}\n"
	      "  sip.log.info('passed: %d %s', res.code, res.body)\n"
	      "end)\n"
	      "sip.on.options(function(req) local res = req:pass() sip.log.info('options: %d', res.code) end)\n");
	c = call_up(&b);
	phone_in_call(c, "INFO", "Content-Type: text/plain", "x");
	info = soon(bob, "INFO");
	phone_assert_header(info, "X-Note", "seen");
	phone_assert_header(info, "Content-Type", "text/plain");
	phone_assert_body(info, "changed");
	phone_reply(info, 200, NULL, "Content-Type: text/plain", "thanks");
	soon(alice, "200 INFO");
	world_expect_log(w, "passed: 200 thanks");
	phone_in_call(c, "INFO", "Content-Type: application/dtmf-relay", "Signal= 5\r\nDuration= 160\r\n");
	assert_non_null(strstr(soon(alice, "200 INFO")->text, "200 Heard"));
	world_expect_log(w, "digit 5 0.16");
	phone_in_call(b, "INFO", "Content-Type: application/dtmf", "#");
	soon(bob, "200 INFO");
	world_expect_log(w, "digit # nil");
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	soon(alice, "200 OPTIONS");
	world_expect_log(w, "options: 200");
	over_and_out(c);
}

static void a_call_that_ends_while_a_request_is_passed_lets_its_hook_go_on(void **state)
{
	struct phone_call *c, *b;
	struct phone_msg *info;

	(void)state;
	begin(PLAN DIAL "sip.on.info(function(req)\n"
			"  local res = req:pass()\n"
			"  sip.log.info('passed: %d', res.code)\n"
			"end)\n");
	c = call_up(&b);
	phone_in_call(c, "INFO", "Content-Type: text/plain", "x");
	info = soon(bob, "INFO");
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	soon(alice, "487 INFO");
	phone_reply(info, 481, NULL, NULL, NULL);
	world_expect_log(w, "passed: 487");
	end();
}

static void a_reinvite_can_be_refused_passed_or_left_alone(void **state)
{
	struct phone_call *c, *b;
	struct phone_msg *invite;

	(void)state;
	begin(PLAN DIAL "sip.on.reinvite(function(req)\n"
			"  if req['X-Do'] == 'refuse' then return req:reply(488, 'No video') end\n"
			"  if req['X-Do'] == 'pass' then\n"
			"    local res = req:pass()\n"
			"    sip.log.info('passed: %d %s', res.code, res.reason)\n"
			"  end\n"
			"end)\n");
	c = call_up(&b);
	phone_reinvite(c, "X-Do: refuse", SDP);
	phone_ack(soon(alice, "488"), NULL, NULL);
	phone_reinvite(c, NULL, SDP);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	world_advance(w, SH_SECOND);
	phone_reinvite(b, "X-Do: pass", SDP);
	invite = soon(alice, "INVITE");
	phone_reply(invite, 488, "Not now", NULL, NULL);
	soon(alice, "ACK");
	phone_ack(soon(bob, "488"), NULL, NULL);
	world_expect_log(w, "passed: 488 Not now");
	over_and_out(c);
}

static void a_call_that_ends_while_a_reinvite_is_passed_leaves_no_hook_behind(void **state)
{
	struct phone_call *c, *b;
	struct phone_msg *invite;

	(void)state;
	begin(PLAN DIAL "sip.on.reinvite(function(req)\n"
			"  local res = req:pass()\n"
			"  sip.log.info('passed: %d', res.code)\n"
			"end)\n");
	c = call_up(&b);
	phone_reinvite(c, NULL, SDP);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_bye(b);
	soon(bob, "200 BYE");
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	phone_reply(soon(alice, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "passed: 487");
	(void)c;
	world_advance(w, 40 * SH_SECOND);
	w->forgiving = true;
	world_destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_message_goes_to_two_contacts_and_the_first_200_counts),
	    cmocka_unit_test(the_best_failure_is_passed_back),
	    cmocka_unit_test(nobody_answers_408_to_a_message),
	    cmocka_unit_test(what_cannot_be_reached_is_a_480),
	    cmocka_unit_test(the_script_may_answer_itself),
	    cmocka_unit_test(groups_are_tried_one_after_the_other),
	    cmocka_unit_test(requests_in_a_call_are_passed_when_their_hook_says_nothing),
	    cmocka_unit_test(pass_waits_for_the_answer_of_the_other_side),
	    cmocka_unit_test(a_call_that_ends_while_a_request_is_passed_lets_its_hook_go_on),
	    cmocka_unit_test(a_reinvite_can_be_refused_passed_or_left_alone),
	    cmocka_unit_test(a_call_that_ends_while_a_reinvite_is_passed_leaves_no_hook_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
