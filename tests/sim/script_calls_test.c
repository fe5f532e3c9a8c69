/* Verbs of calls that are up, or wait: answer, bridge, wait, signal, continue, limit. */
#include "script_world.h"

#define SDP_B    "v=0\r\no=b 1 1 IN IP4 10.0.0.3\r\ns=-\r\nc=IN IP4 10.0.0.3\r\nt=0 0\r\nm=audio 5000 RTP/AVP 8\r\n"
#define SDP_C    "v=0\r\no=c 1 1 IN IP4 10.0.0.4\r\ns=-\r\nc=IN IP4 10.0.0.4\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n"
#define DTMF     "Content-Type: application/dtmf-relay"
#define INVITE(body) PLAN "sip.on.invite(function(call)\n" body "\nend)\n"
/* What happened goes to the log: the test reads it there. */
#define NOTE(what) " sip.log.info('note: %s', tostring(" what "))\n"

static void note_is_at(const char *text, const char *file, int line)
{
	char part[200];

	snprintf(part, sizeof(part), "note: %s", text);
	world_expect_log_at(w, part, file, line);
}
#define note_is(text) note_is_at((text), __FILE__, __LINE__)

static struct phone_msg *up(struct phone_call *c)
{
	struct phone_msg *m = phone_expect_in(c, "200 INVITE", SH_SECOND);

	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	return m;
}

static void hang_up(struct phone_call *c)
{
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
}

static void is_hung_up(struct phone *p)
{
	phone_reply(soon(p, "BYE"), 200, NULL, NULL, NULL);
}

/* ---- answer ---- */

static void an_answer_without_a_second_leg_is_inactive(void **state)
{
	static const char offer[] = "v=0\r\no=a 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\n"
				    "m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
				    "a=fmtp:101 0-15\r\nm=video 4002 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\n";
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("call:answer{headers = {['X-Queue'] = '1'}}" NOTE("call.state") NOTE("call.b")));
	c = phone_invite(alice, "sip:queue@example.org", NULL, offer);
	m = up(c);
	phone_assert_header(m, "X-Queue", "1");
	phone_assert_contains(m, "Contact", "<sip:10.0.0.1:5060>");
	phone_assert(alice, strstr(phone_body(m), "m=audio 9 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\n"
						  "a=fmtp:101 0-15\r\na=inactive\r\n"));
	phone_assert(alice, strstr(phone_body(m), "m=video 0 RTP/SAVP 96\r\n")); /* keys we do not have: RFC 3264 6 */
	phone_assert(alice, strstr(phone_body(m), "c=IN IP4 10.0.0.1\r\n"));
	note_is("up");
	note_is("nil");
	/* field.md 2.6: siphon-sip#345 false 491 on a one-legged call */
	phone_reinvite(c, NULL, SDP);
	m = up(c);
	phone_assert(alice, strstr(phone_body(m), " 2 IN IP4 10.0.0.1\r\n")); /* the next version, RFC 3264 8 */
	phone_assert(alice, strstr(phone_body(m), "m=audio 9 RTP/AVP 0\r\na=inactive\r\n"));
	phone_reinvite(c, NULL, NULL);
	m = phone_expect_in(c, "200 INVITE", SH_SECOND);
	phone_assert(alice, strstr(phone_body(m), "a=inactive\r\n"));
	phone_ack(m, NULL, SDP);
	hang_up(c);
	end();
}

static void an_answer_to_an_invite_without_an_offer_makes_one(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("local ok = call:answer()" NOTE("ok") NOTE("call.a.remote_sdp and #call.a.remote_sdp")));
	c = phone_invite(alice, "sip:queue@example.org", NULL, NULL);
	m = phone_expect_in(c, "200 INVITE", SH_SECOND);
	phone_assert(alice, strstr(phone_body(m), "m=audio 9 RTP/AVP 0 8 101\r\n"));
	phone_ack(m, NULL, SDP);
	world_advance(w, 10 * SH_MS);
	note_is("true");
	note_is("85");
	hang_up(c);
	end();
}

static void an_answer_may_have_a_session_of_the_script(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("call:answer{sdp = [[v=0\r\no=m 1 1 IN IP4 10.9.9.9\r\ns=-\r\nc=IN IP4 10.9.9.9\r\nt=0 0\r\nm=audio 7000 RTP/AVP 0\r\n]]}"));
	c = dial("sip:music@example.org");
	m = up(c);
	phone_assert(alice, strstr(phone_body(m), "m=audio 7000 RTP/AVP 0"));
	phone_reinvite(c, NULL, SDP);
	m = up(c);
	phone_assert(alice, strstr(phone_body(m), "m=audio 7000 RTP/AVP 0"));
	hang_up(c);
	end();
}

static void an_offer_that_cannot_be_read_is_told_to_the_script(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("local ok, code = call:answer()" NOTE("code") "call:reject(488)"));
	c = phone_invite(alice, "sip:queue@example.org", NULL, "what is this");
	refused(c, "488");
	note_is("failed");
	end();
}

static void an_answer_that_nobody_acknowledges_ends_the_call(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("local ok, res = pcall(call.answer, call)" NOTE("sip.is_cancel(res)")));
	phone_auto(alice, PHONE_ABSORB);
	c = dial("sip:queue@example.org");
	phone_expect_in(c, "200 INVITE", SH_SECOND);
	phone_reply(phone_expect(alice, "BYE", 40 * SH_SECOND), 200, NULL, NULL, NULL);
	note_is("true");
	end();
}

/* ---- bridge on a call that is up ---- */

/* RFC 3725 flow I from here on: bob is asked for an offer, alice answers it. */
static struct phone_call *bridged(struct phone_call *c, struct phone *p, const char *sdp)
{
	struct phone_msg *invite = soon(p, "INVITE"), *re, *ack;

	assert_int_equal(invite->m.body.len, 0);
	phone_reply(invite, 200, NULL, NULL, sdp);
	re = soon(alice, "INVITE");
	phone_assert_body(re, sdp);
	phone_reply(re, 200, NULL, NULL, SDP);
	ack = soon(p, "ACK");
	phone_assert_body(ack, SDP);
	soon(alice, "ACK");
	world_advance(w, 10 * SH_MS);
	(void)c;
	return invite->call;
}

static void a_call_that_is_up_is_bridged_to_a_leg(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("call:answer()\n local leg, res = call:fork{'sip:bob@10.0.0.3'}\n local ok = call:bridge(leg)" NOTE("ok") NOTE("call.b == leg")));
	c = dial("sip:queue@example.org");
	up(c);
	bridged(c, bob, SDP_B);
	note_is("true");
	note_is("true");
	/* from here on it is a call like any other */
	phone_reinvite(c, NULL, SDP);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	up(c);
	soon(bob, "ACK");
	hang_up(c);
	is_hung_up(bob);
	end();
}

static void a_second_bridge_takes_the_place_of_the_first(void **state)
{
	struct phone_call *c, *b;

	(void)state;
	begin(INVITE("call:dial{'sip:bob@10.0.0.3'}\n sip.sleep(5)\n local ok, res = call:dial{'sip:carol@10.0.0.4'}" NOTE("ok")));
	c = dial("sip:x@example.org");
	answer(bob, 200);
	up(c);
	world_advance(w, 5 * SH_SECOND);
	b = bridged(c, carol, SDP_C);
	is_hung_up(bob);
	note_is("true");
	phone_bye(b);
	phone_expect_in(b, "200 BYE", SH_SECOND);
	is_hung_up(alice);
	end();
}

static void a_caller_who_refuses_the_new_session_keeps_the_old(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("call:dial{'sip:bob@10.0.0.3'}\n sip.sleep(5)\n local ok, res = call:dial{'sip:carol@10.0.0.4'}"
		     NOTE("ok") NOTE("res.code") NOTE("call.b.uri.user")));
	c = dial("sip:x@example.org");
	answer(bob, 200);
	up(c);
	world_advance(w, 5 * SH_SECOND);
	phone_reply(soon(carol, "INVITE"), 200, NULL, NULL, SDP_C);
	m = soon(alice, "INVITE");
	phone_reply(m, 488, NULL, NULL, NULL);
	soon(carol, "ACK");
	soon(alice, "ACK");
	is_hung_up(carol); /* its hook ended without a bridge */
	note_is("nil");
	note_is("488");
	note_is("bob");
	hang_up(c);
	is_hung_up(bob);
	end();
}

static void a_leg_that_nobody_bridges_on_a_call_that_is_up_is_ended(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("call:answer()\n call:fork{'sip:bob@10.0.0.3'}"));
	c = dial("sip:x@example.org");
	up(c);
	answer(bob, 200);
	is_hung_up(bob);
	phone_expect_none(alice, "BYE", 5 * SH_SECOND);
	hang_up(c);
	end();
}

static void a_partner_that_hangs_up_may_leave_the_caller_waiting(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("local leg = call:fork{'sip:bob@10.0.0.3'}\n call:bridge(leg, {on_peer_hangup = 'continue'})\n"
		     "local why = call:wait('peer_hangup', 600)" NOTE("why.by .. why.code .. ' ' .. (why.q850 or '-')") NOTE("call.b")
		     "call:dial{'sip:carol@10.0.0.4'}"));
	c = dial("sip:x@example.org");
	m = answer(bob, 200);
	up(c);
	world_advance(w, 60 * SH_SECOND);
	phone_in_call(m->call, "BYE", "Reason: Q.850;cause=16;text=\"Normal\"", NULL);
	soon(bob, "200 BYE");
	note_is("callee200 16");
	note_is("nil");
	bridged(c, carol, SDP_C);
	hang_up(c);
	is_hung_up(carol);
	end();
}

/* ---- wait and signal ---- */

static void a_hook_waits_for_keys(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("call:answer()\n local key = call:wait('dtmf', 10)" NOTE("key.signal .. key.leg .. key.duration")
		     "local nothing, why = call:wait('dtmf', 2)" NOTE("why") "local info = call:wait('info', 10)" NOTE("info.body .. info.content_type")));
	c = dial("sip:x@example.org");
	up(c);
	/* nobody else is there: it is answered all the same */
	phone_in_call(c, "INFO", DTMF, "Signal=5\r\nDuration=160\r\n");
	phone_expect_in(c, "200 INFO", SH_SECOND);
	note_is("5a0.16");
	phone_expect_none(alice, "*", 3 * SH_SECOND);
	note_is("timeout");
	phone_in_call(c, "INFO", "Content-Type: text/x", "hello");
	phone_expect_in(c, "200 INFO", SH_SECOND);
	note_is("hellotext/x");
	/* nobody waits any more: the default again */
	phone_in_call(c, "INFO", DTMF, "Signal=5\r\n");
	phone_expect_in(c, "480 INFO", SH_SECOND);
	hang_up(c);
	end();
}

static void what_a_hook_waits_for_is_passed_on_all_the_same(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("call:dial{'sip:bob@10.0.0.3'}\n local text = call:wait('message')" NOTE("text.body .. text.leg")
		     "call:wait('reinvite')" NOTE("'again'")));
	c = dial("sip:x@example.org");
	m = answer(bob, 200);
	up(c);
	phone_in_call(m->call, "MESSAGE", "Content-Type: text/plain", "hi");
	phone_reply(soon(alice, "MESSAGE"), 200, NULL, NULL, NULL);
	soon(bob, "200 MESSAGE");
	note_is("hib");
	phone_reinvite(c, NULL, SDP);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	up(c);
	soon(bob, "ACK");
	note_is("again");
	hang_up(c);
	is_hung_up(bob);
	end();
}

static void the_end_of_a_call_can_be_waited_for(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("call:answer()\n local why = call:wait('hangup')" NOTE("why.by .. why.code") NOTE("call.state")));
	c = dial("sip:x@example.org");
	up(c);
	hang_up(c);
	world_advance(w, 10 * SH_MS);
	note_is("caller200");
	note_is("ended");
	end();
}

static void any_other_wait_ends_with_a_cancel(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("call:answer()\n local ok, e = pcall(call.wait, call, 'dtmf')" NOTE("sip.is_cancel(e)")
		     "local nothing, code = call:wait('dtmf')" NOTE("code")));
	c = dial("sip:x@example.org");
	up(c);
	hang_up(c);
	world_advance(w, 10 * SH_MS);
	note_is("true");
	note_is("gone");
	end();
}

static void a_signal_wakes_a_hook_and_one_that_came_before_is_kept(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "local waiting\n"
		   "sip.on.invite(function(call)\n waiting = call\n call:answer()\n call:wait('later', 1)\n"
		   "local a = call:wait('go', 5)" NOTE("a.n")
		   "local b = call:wait('go', 5)" NOTE("b")
		   "call:hangup()\n end)\n"
		   "sip.on.message(function(req)\n"
		   "  local ok, err = pcall(waiting.signal, waiting, 'dtmf')" NOTE("err")
		   "  req:reply(200, {body = tostring(waiting:signal('go', req.body and {n = req.body}))})\nend)\n");
	c = dial("sip:x@example.org");
	up(c);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "7");
	phone_assert_body(soon(alice, "200 MESSAGE"), "true");
	world_advance(w, 3 * SH_SECOND);
	world_expect_log(w, "'dtmf' is an event of the engine");
	note_is("7");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "200 MESSAGE");
	world_expect_log(w, "'dtmf' is an event of the engine");
	note_is("true");
	is_hung_up(alice);
	(void)c;
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_assert_body(soon(alice, "200 MESSAGE"), "nil"); /* the call has ended */
	end();
}

/* ---- continue ---- */

#define LATER(body) "sip.timer.later = function(call)\n" body "\nend\n"

static void a_hook_continues_in_the_newest_generation(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN LATER(NOTE("'old'"))
	      "sip.on.invite(function(call)\n call.data.n = 7\n call:ring()\n sip.sleep(2)\n call:continue('later')" NOTE("'never'") "end)\n");
	c = dial("sip:x@example.org");
	phone_expect_in(c, "180", SH_SECOND);
	world_reload(w, PLAN LATER(NOTE("'new' .. call.data.n .. call.state") "call:dial('sip:bob@10.0.0.3')"));
	world_advance(w, 3 * SH_SECOND);
	answer(bob, 200);
	up(c);
	note_is("new7early");
	assert_false(world_has_log(w, "note: old"));
	assert_false(world_has_log(w, "note: never"));
	hang_up(c);
	is_hung_up(bob);
	end();
}

static void what_a_hook_continues_with_answers_in_its_place(void **state)
{
	struct phone_call *c;

	(void)state;
	/* no answer: 500; a failed fork: its failure; an error: 500; no such timer: 500 */
	begin(INVITE("call:continue('later')") LATER(""));
	c = dial("sip:x@example.org");
	refused(c, "500");
	world_reload(w, INVITE("pcall(call.continue, call, 'later')") LATER("call:fork('sip:bob@10.0.0.3')"));
	c = dial("sip:x@example.org");
	answer(bob, 486);
	refused(c, "486");
	world_reload(w, INVITE("call:continue('nobody')"));
	c = dial("sip:x@example.org");
	refused(c, "500");
	world_expect_log(w, "call:continue: there is no sip.timer.nobody");
	world_forget_log(w);
	/* a caller who goes away while it waits */
	world_reload(w, INVITE("call:continue('later')") LATER("local ok, e = pcall(sip.sleep, 60)" NOTE("sip.is_cancel(e)")));
	c = dial("sip:x@example.org");
	phone_expect_in(c, "100", SH_SECOND);
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	note_is("true");
	end();
}

static void a_timer_of_a_call_that_waits_is_cancelled_with_it(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("call:after(1, 'later')\n call:answer()") LATER("local ok, e = pcall(sip.sleep, 60)" NOTE("sip.is_cancel(e)")));
	c = dial("sip:x@example.org");
	up(c);
	world_advance(w, 2 * SH_SECOND);
	hang_up(c);
	world_advance(w, 10 * SH_MS);
	note_is("true");
	end();
}

static void continue_is_refused_where_there_is_nothing_to_continue(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("call:answer()") "sip.on.hangup(function(call)" NOTE("select(3, pcall(call.continue, call, 'x'))") "end)\n"
	      "sip.on.info(function(req)" NOTE("select(2, pcall(req.call.continue, req.call, 'x'))") "req:reply(200) end)\n");
	c = dial("sip:x@example.org");
	up(c);
	phone_in_call(c, "INFO", NULL, NULL);
	soon(alice, "200 INFO");
	note_is("call:continue works in the invite hook");
	hang_up(c);
	world_advance(w, 10 * SH_MS);
	note_is("gone");
	end();
}

/* ---- limit ---- */

static void a_limit_counts_calls_until_they_end(void **state)
{
	struct phone_call *c, *other;

	(void)state;
	begin(INVITE("local ok, n = call:limit('line:' .. call.from.user, 1)\n call:limit('line:' .. call.from.user, 1)\n"
		     "if not ok then return call:reject(486, 'Busy: ' .. n) end\n call:dial{'sip:bob@10.0.0.3'}"));
	for (unsigned i = 0; i < 3; i++) {
		c = dial("sip:x@example.org");
		answer(bob, 200);
		up(c);
		other = dial("sip:x@example.org");
		phone_assert(alice, strstr(refused(other, "486")->text, "486 Busy: 1"));
		/* another key, or another generation */
		if (i == 1)
			world_reload(w, INVITE("local ok, n = call:limit('line:' .. call.from.user, 1)\n"
					       "if not ok then return call:reject(486, 'Busy: ' .. n) end\n call:dial{'sip:bob@10.0.0.3'}"));
		hang_up(c);
		is_hung_up(bob);
	}
	/* a caller who cancels gives it back as well */
	c = dial("sip:x@example.org");
	phone_reply(soon(bob, "INVITE"), 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	c = dial("sip:x@example.org");
	answer(bob, 486);
	refused(c, "486");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_without_a_second_leg_is_inactive),
		cmocka_unit_test(an_answer_to_an_invite_without_an_offer_makes_one),
		cmocka_unit_test(an_answer_may_have_a_session_of_the_script),
		cmocka_unit_test(an_offer_that_cannot_be_read_is_told_to_the_script),
		cmocka_unit_test(an_answer_that_nobody_acknowledges_ends_the_call),
		cmocka_unit_test(a_call_that_is_up_is_bridged_to_a_leg),
		cmocka_unit_test(a_second_bridge_takes_the_place_of_the_first),
		cmocka_unit_test(a_caller_who_refuses_the_new_session_keeps_the_old),
		cmocka_unit_test(a_leg_that_nobody_bridges_on_a_call_that_is_up_is_ended),
		cmocka_unit_test(a_partner_that_hangs_up_may_leave_the_caller_waiting),
		cmocka_unit_test(a_hook_waits_for_keys),
		cmocka_unit_test(what_a_hook_waits_for_is_passed_on_all_the_same),
		cmocka_unit_test(the_end_of_a_call_can_be_waited_for),
		cmocka_unit_test(any_other_wait_ends_with_a_cancel),
		cmocka_unit_test(a_signal_wakes_a_hook_and_one_that_came_before_is_kept),
		cmocka_unit_test(a_hook_continues_in_the_newest_generation),
		cmocka_unit_test(what_a_hook_continues_with_answers_in_its_place),
		cmocka_unit_test(a_timer_of_a_call_that_waits_is_cancelled_with_it),
		cmocka_unit_test(continue_is_refused_where_there_is_nothing_to_continue),
		cmocka_unit_test(a_limit_counts_calls_until_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
