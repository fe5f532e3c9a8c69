/* The verbs of the invite hook, as both phones see them. */
#include "script_world.h"

#define INVITE(body) PLAN "sip.on.invite(function(call)\n" body "end)\n"

static void reject_says_code_reason_warning_and_headers(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(INVITE("local ok = call:reject(603, 'No \\195\\164', {headers = {['X-A'] = 'b', ['Retry-After'] = 60}, "
		     "warning = 'a \"b\"'})\n"
		     "assert(ok == true)\n"
		     "local a, b = call:reject(486) assert(a == nil and b == 'gone')\n"));
	m = refused(dial("sip:bob@example.org"), "603");
	assert_non_null(strstr(m->text, "603 No \303\244"));
	phone_assert_header(m, "X-A", "b");
	phone_assert_header(m, "Retry-After", "60");
	phone_assert_contains(m, "Warning", "399 10.0.0.1 \"a \\\"b\\\"\"");
	end();
}

static void credentials_and_overload_of_others_are_not_passed_on(void **state)
{
	static const unsigned codes[] = {401, 407, 503};

	(void)state;
	begin(INVITE("local leg, res = call:fork('sip:bob@10.0.0.3')\nassert(call:reject(res))\n"));
	for (unsigned i = 0; i < 3; i++) {
		struct phone_call *c = dial("sip:bob@example.org");

		answer(bob, codes[i]);
		refused(c, "500");
	}
	end();
}

static void redirect_gives_contacts(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(INVITE(
	    "if call.uri.user == 'one' then return call:redirect('sip:a@b;x=1?y=2', {headers = {['X-A'] = 'b'}}) end\n"
	    "call:redirect({'sip:a@b', {uri = '\"A\" <sip:c@d;transport=tcp>', q = 0.25, expires = 60}, {uri = "
	    "'tel:+49', q = 1}}, 300)\n"));
	m = refused(dial("sip:one@example.org"), "302");
	phone_assert_header(m, "Contact", "<sip:a@b;x=1?y=2>");
	phone_assert_header(m, "X-A", "b");
	m = refused(dial("sip:two@example.org"), "300");
	assert_non_null(strstr(m->text, "Contact: <sip:a@b>\r\nContact: "
					"<sip:c@d;transport=tcp>;q=0.25;expires=60\r\nContact: <tel:+49>;q=1.0\r\n"));
	end();
}

static void bindings_can_be_the_targets_of_a_redirect(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(INVITE("call:redirect(sip.lookup(call.uri))\n") "sip.on.register(function(req) req:register() end)\n");
	world_register(bob);
	m = refused(dial("sip:bob@example.org"), "302");
	phone_assert_header(m, "Contact", "<sip:bob@10.0.0.3:5060>;q=1.0");
	end();
}

static void ring_may_have_a_code_headers_and_early_media(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("assert(call:ring() == true)\n"
		     "call:ring(183, {headers = {['Alert-Info'] = '<http://x>'}, sdp = 'v=0'})\n"
		     "call:ring{headers = {['X-A'] = 'b'}}\n"
		     "call:ring(nil, {headers = {['X-A'] = 'c'}})\n"
		     "sip.sleep(1) call:reject(480)\n"));
	c = dial("sip:bob@example.org");
	soon(alice, "180");
	m = soon(alice, "183");
	phone_assert_header(m, "Alert-Info", "<http://x>");
	phone_assert_header(m, "Content-Type", "application/sdp");
	phone_assert_body(m, "v=0");
	phone_assert_header(soon(alice, "180"), "X-A", "b");
	phone_assert_header(soon(alice, "180"), "X-A", "c");
	refused(c, "480");
	end();
}

static void fork_rings_all_and_the_first_to_answer_wins(void **state)
{
	struct phone_call *c;
	struct phone_msg *i1, *i2, *bye;

	(void)state;
	begin(INVITE("local leg, res = call:fork({'sip:bob@10.0.0.3', {uri = 'sip:carol@10.0.0.4', delay = 2}}, "
		     "{timeout = 20})\n"
		     "assert(leg, res)\n"
		     "assert(call:bridge(leg, {headers = {['X-Bridged'] = 'yes'}}) == true)\n"
		     "sip.log.info('bridged %s', call.state)\n"));
	c = dial("sip:bob@example.org");
	i1 = answer(bob, 180);
	soon(alice, "180");
	phone_expect_none(carol, "*", 3 * SH_SECOND / 2);
	i2 = phone_expect(carol, "INVITE", SH_SECOND);
	phone_reply(i2, 200, NULL, NULL, SDP);
	soon(carol, "ACK");
	bye = soon(bob, "CANCEL");
	phone_assert_contains(bye, "Reason", "SIP;cause=200");
	phone_reply(bye, 200, NULL, NULL, NULL);
	phone_reply(i1, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_assert_header(phone_expect_in(c, "200 INVITE", SH_SECOND), "X-Bridged", "yes");
	phone_ack(SH_CONTAINER(alice->log.prev, struct phone_msg, link), NULL, NULL);
	world_advance(w, SH_SECOND);
	world_expect_log(w, "bridged up");
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	end();
}

static void a_list_of_lists_is_tried_group_after_group(void **state)
{
	struct phone_call *c;
	struct phone_msg *i1;

	(void)state;
	begin(INVITE("local ok, res = call:dial({{}, {'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}, {timeout = 5})\n"
		     "if not ok then call:reject(res) end\n"));
	c = dial("sip:bob@example.org");
	i1 = answer(bob, 180);
	phone_expect_none(carol, "*", 4 * SH_SECOND);
	phone_reply(phone_expect(bob, "CANCEL", 2 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_reply(i1, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	answer(carol, 200);
	soon(alice, "180");
	talk(c, carol);
	end();
}

static void bindings_are_tried_by_their_q(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE(
	    "local ok, res = call:dial(sip.lookup(call.uri))\nif not ok then call:reject(res) end\n") "sip.on.register("
												      "function(req) "
												      "req:register() "
												      "end)\n");
	phone_request(bob, "REGISTER", "sip:example.org", "Contact: <sip:b@10.0.0.3>;q=0.9, <sip:c@10.0.0.4>;q=0.2",
		      NULL);
	soon(bob, "200");
	c = dial("sip:bob@example.org");
	struct phone_msg *i = soon(bob, "INVITE");
	phone_expect_none(carol, "*", SH_SECOND);
	phone_reply(i, 480, NULL, NULL, NULL);
	soon(bob, "ACK");
	answer(carol, 486);
	refused(c, "486");
	end();
}

static void nobody_answers_and_nothing_is_heard_are_two_causes(void **state)
{
	struct phone_call *c;
	struct phone_msg *i;

	(void)state;
	begin(INVITE("local before = sip.now()\n"
		     "local leg, res = call:fork('sip:bob@10.0.0.3', {timeout = 10})\n"
		     "assert(leg == nil and res.code == 408 and res.cause == 'no_answer', res.cause)\n"
		     "assert(math.abs(sip.now() - before - 10) < 0.1)\n"
		     "leg, res = call:fork('sip:carol@10.0.0.4', {timeout = 20, first_timeout = 2})\n"
		     "assert(res.code == 408 and res.cause == 'unreachable', res.cause)\n"
		     "assert(math.abs(sip.now() - before - 12) < 0.1)\n"
		     "call:reject(res)\n"));
	c = dial("sip:bob@example.org");
	i = answer(bob, 180);
	phone_reply(phone_expect(bob, "CANCEL", 11 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_reply(i, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "INVITE");
	soon(alice, "180");
	refused(c, "408");
	end();
}

static void a_6xx_ends_all_groups_unless_it_is_ignored(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("local t = {{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}\n"
		     "local leg, res = call:fork(t)\n"
		     "assert(res.code == 603 and res.cause == 'declined')\n"
		     "leg, res = call:fork(t, {ignore_6xx = true})\n"
		     "call:reject(res)\n"));
	c = dial("sip:bob@example.org");
	answer(bob, 603);
	phone_expect_none(carol, "*", SH_SECOND);
	answer(bob, 603);
	answer(carol, 486);
	ignore_trying(alice);
	struct phone_msg *m = phone_expect_in(c, "*", SH_SECOND);
	phone_assert(alice, m->m.status == 486 || m->m.status == 603);
	phone_ack(m, NULL, NULL);
	end();
}

static void redirects_are_followed_when_asked_for(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("local ok, res = call:dial('sip:bob@10.0.0.3', {follow_redirects = 1})\nif not ok then "
		     "call:reject(res) end\n"));
	c = dial("sip:bob@example.org");
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:carol@10.0.0.4>", NULL);
	soon(bob, "ACK");
	answer(carol, 200);
	talk(c, carol);
	end();
}

static void an_empty_list_is_480_and_nothing_is_sent(void **state)
{
	(void)state;
	begin(INVITE("local leg, res = call:fork(sip.lookup('nobody'))\n"
		     "assert(leg == nil and res.code == 480 and res.cause == 'empty' and #res.branches == 0)\n"
		     "if call.uri.user == 'reject' then call:reject(res) end\n"));
	refused(dial("sip:reject@example.org"), "480");
	refused(dial("sip:bob@example.org"), "480");
	end();
}

static void a_hook_without_an_answer_passes_the_failure_of_its_fork(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("call:fork('sip:bob@10.0.0.3')\n"));
	c = dial("sip:bob@example.org");
	m = soon(bob, "INVITE");
	phone_reply(m, 486, "On the phone", "Retry-After: 5", NULL);
	soon(bob, "ACK");
	m = refused(c, "486");
	assert_non_null(strstr(m->text, "486 On the phone"));
	phone_assert_header(m, "Retry-After", "5");
	end();
}

static void targets_say_what_their_invite_says(void **state)
{
	struct phone_call *c;
	struct phone_msg *m1, *m2;

	(void)state;
	begin(INVITE("call:fork({\n"
		     "  {uri = 'sip:bob@10.0.0.3', display = 'Front \"Desk\"', headers = {['X-A'] = {'1', '2'}, "
		     "Subject = false}},\n"
		     "  {uri = sip.uri('sip:carol@10.0.0.4;x=y'), from = '\"Sales\" <sip:sales@example.org>', to = "
		     "'sip:c@example.org',\n"
		     "   pai = 'sip:pai@example.org', privacy = 'id', diversion = 'sip:div@example.org', copy = "
		     "{'X-Acme-*'}}},\n"
		     "  {headers = {['X-All'] = 'yes'}, timeout = 5})\n"));
	c = phone_invite(alice, "sip:bob@example.org", "Subject: hello\nX-Acme-One: 1\nX-Other: 2\nPriority: urgent",
			 SDP);
	m1 = soon(bob, "INVITE");
	m2 = soon(carol, "INVITE");
	phone_assert_contains(m1, "From", "\"Front \\\"Desk\\\"\" <sip:alice@example.org>");
	assert_non_null(strstr(m1->text, "X-A: 1\r\nX-A: 2\r\n"));
	phone_assert_header(m1, "Subject", NULL);
	phone_assert_header(m1, "Priority", "urgent");
	phone_assert_header(m1, "X-Acme-One", NULL);
	assert_non_null(strstr(m2->text, "INVITE sip:carol@10.0.0.4;x=y SIP/2.0"));
	phone_assert_contains(m2, "From", "\"Sales\" <sip:sales@example.org>");
	phone_assert_contains(m2, "To", "<sip:c@example.org>");
	phone_assert_header(m2, "P-Asserted-Identity", "<sip:pai@example.org>");
	phone_assert_header(m2, "Privacy", "id");
	phone_assert_header(m2, "Diversion", "<sip:div@example.org>");
	phone_assert_header(m2, "X-Acme-One", "1");
	phone_assert_header(m2, "X-Other", NULL);
	phone_assert_header(m2, "Subject", "hello");
	phone_assert_header(m2, "X-All", "yes");
	phone_reply(m1, 486, NULL, NULL, NULL);
	phone_reply(m2, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "ACK");
	refused(c, "486");
	end();
}

static void transport_and_route_choose_the_way(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(INVITE("call:fork({{uri = 'sip:bob@10.0.0.3', transport = 'tcp'}, {uri = 'sip:x@example.net', route = "
		     "'sip:10.0.0.4;lr'}})\n"));
	c = dial("sip:bob@example.org");
	m = soon(bob, "INVITE");
	assert_int_equal(m->proto, SH_PROTO_TCP);
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	m = soon(carol, "INVITE");
	assert_non_null(strstr(m->text, "INVITE sip:x@example.net SIP/2.0"));
	phone_assert_header(m, "Route", "<sip:10.0.0.4;lr>");
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(c, "486");
	end();
}

static void a_leg_that_is_not_bridged_is_ended_with_its_hook(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE("local leg = call:fork('sip:bob@10.0.0.3')\n"
		     "if call.uri.user == 'now' then assert(leg:hangup() == true) call:fork('sip:carol@10.0.0.4') end\n"
		     "call:reject(480)\n"));
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	refused(c, "480");
	c = dial("sip:now@example.org");
	answer(bob, 200);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	answer(carol, 486);
	refused(c, "480");
	end();
}

static void a_cancel_raises_an_error_that_can_be_known(void **state)
{
	struct phone_call *c;
	struct phone_msg *i;

	(void)state;
	begin(PLAN
	      "local function closing(name) return setmetatable({}, {__close = function() sip.log.info('closed %s', "
	      "name) end}) end\n"
	      "sip.on.invite(function(call)\n"
	      "  local a <close> = closing('a')\n"
	      "  if call.uri.user == 'caught' then\n"
	      "    local ok, e = pcall(function() local b <close> = closing('b') call:fork('sip:bob@10.0.0.3') end)\n"
	      "    assert(not ok and sip.is_cancel(e) and tostring(e) == 'the caller has gone' and call.state == "
	      "'ended')\n"
	      "    local x, why = call:fork('sip:bob@10.0.0.3')\n"
	      "    assert(x == nil and why == 'gone')\n"
	      "    sip.sleep(1)\n"
	      "    sip.log.info('after all')\n"
	      "  elseif call.uri.user == 'sleep' then\n"
	      "    sip.sleep(100)\n"
	      "  else\n"
	      "    call:dial('sip:bob@10.0.0.3')\n"
	      "  end\n"
	      "  sip.log.info('went on')\n"
	      "end)\n"
	      "sip.on.cancel(function(req) sip.log.info('cancel seen') end)\n"
	      "sip.on.hangup(function(call, why) sip.log.info('over %s %d', why.by, why.code) end)\n");
	for (unsigned n = 0; n < 3; n++) {
		static const char *const uris[] = {"sip:bob@example.org", "sip:caught@example.org",
						   "sip:sleep@example.org"};

		world_forget_log(w);
		c = dial(uris[n]);
		if (n < 2) {
			i = answer(bob, 180);
			soon(alice, "180");
		} else {
			world_advance(w, SH_SECOND);
		}
		phone_cancel(c, NULL);
		soon(alice, "200 CANCEL");
		refused(c, "487");
		if (n < 2) {
			phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
			phone_reply(i, 487, NULL, NULL, NULL);
			soon(bob, "ACK");
		}
		world_expect_log(w, "cancel seen");
		if (n == 1) {
			world_expect_log(w, "closed b");
			assert_false(world_has_log(w, "closed"));
			world_expect_log(w, "over caller 487");
			assert_false(world_has_log(w, "after all"));
			world_advance(w, SH_SECOND);
			world_expect_log(w, "after all");
			world_expect_log(w, "went on");
		}
		world_expect_log(w, "closed a");
		if (n != 1) {
			world_expect_log(w, "over caller 487");
			assert_false(world_has_log(w, "went on"));
		}
	}
	end();
}

static void hangup_ends_a_call_in_any_state(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN
	      "sip.on.invite(function(call)\n"
	      "  if call.uri.user == 'now' then assert(call:hangup(486) == true) return end\n"
	      "  if call.uri.user == 'default' then call:hangup() return end\n"
	      "  call:dial('sip:bob@10.0.0.3')\n"
	      "end)\n"
	      "sip.on.answer(function(call)\n"
	      "  call.data.x = 'kept'\n"
	      "  call:hangup{reason = 'Bye bye'}\n"
	      "  assert(call.state == 'ended')\n"
	      "  sip.log.info('first')\n"
	      "end)\n"
	      "sip.on.hangup(function(call, why) sip.log.info('over %s %s %d', call.data.x, why.by, why.code) end)\n");
	refused(dial("sip:now@example.org"), "486");
	world_expect_log(w, "over nil script 486");
	refused(dial("sip:default@example.org"), "480");
	world_expect_log(w, "over nil script 480");
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_ack(phone_expect_in(c, "200", SH_SECOND), NULL, NULL);
	m = soon(bob, "BYE");
	phone_assert_header(m, "Reason", "SIP;cause=200;text=\"Bye bye\"");
	phone_reply(m, 200, NULL, NULL, NULL);
	phone_reply(soon(alice, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "first");
	world_expect_log(w, "over kept script 200");
	end();
}

static void the_longest_duration_ends_a_call(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(INVITE(
	    "local leg = call:fork('sip:bob@10.0.0.3')\ncall:bridge(leg, {max_duration = 30})\n") "sip.on.hangup("
												  "function(call, why) "
												  "sip.log.info('over "
												  "%s after %.0f', "
												  "why.by, "
												  "call.duration) "
												  "end)\n");
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_ack(phone_expect_in(c, "200", SH_SECOND), NULL, NULL);
	phone_reply(phone_expect(bob, "BYE", 31 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_reply(soon(alice, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "over engine after 30");
	end();
}

static void early_media_can_be_dropped(void **state)
{
	struct phone_call *c;
	struct phone_msg *i, *m;

	(void)state;
	begin(INVITE("local ok, res = call:dial('sip:bob@10.0.0.3', {early = 'drop'})\n"));
	c = dial("sip:bob@example.org");
	i = soon(bob, "INVITE");
	phone_reply(i, 183, NULL, NULL, SDP);
	m = soon(alice, "180");
	phone_assert_body(m, "");
	phone_reply(i, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(c, bob);
	end();
}

static void a_reply_has_headers_and_a_body(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  assert(req:reply(299, 'Fine', {headers = {['X-A'] = {1, 2}, b = 'x'}, body = 'x\\0y', "
		   "content_type = 'a/b'}) == true)\n"
		   "end)\n"
		   "sip.on.options(function(req) req:reply(nil or 200, nil, {body = 'text'}) end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	m = soon(alice, "299");
	assert_non_null(strstr(m->text, "299 Fine"));
	assert_non_null(strstr(m->text, "X-A: 1\r\nX-A: 2\r\nReferred-By: x\r\n"));
	phone_assert_header(m, "Content-Type", "a/b");
	phone_assert_header(m, "Content-Length", "3");
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	m = soon(alice, "200");
	phone_assert_header(m, "Content-Type", "text/plain");
	end();
}

static void hooks_of_all_methods_may_reply(void **state)
{
	static const char *const methods[] = {"SUBSCRIBE", "PUBLISH", "INFO", "UPDATE", "NOTIFY", "REFER"};

	(void)state;
	begin(PLAN "for _, name in ipairs{'subscribe', 'publish', 'info', 'update', 'notify', 'refer'} do\n"
		   "  sip.on[name](function(req) req:reply(299, req.method) end)\n"
		   "end\n");
	for (unsigned i = 0; i < 6; i++) {
		phone_request(alice, methods[i], "sip:x@example.org", "Event: presence\nRefer-To: <sip:a@b>", NULL);
		assert_non_null(strstr(soon(alice, "299")->text, methods[i]));
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(reject_says_code_reason_warning_and_headers),
	    cmocka_unit_test(credentials_and_overload_of_others_are_not_passed_on),
	    cmocka_unit_test(redirect_gives_contacts),
	    cmocka_unit_test(bindings_can_be_the_targets_of_a_redirect),
	    cmocka_unit_test(ring_may_have_a_code_headers_and_early_media),
	    cmocka_unit_test(fork_rings_all_and_the_first_to_answer_wins),
	    cmocka_unit_test(a_list_of_lists_is_tried_group_after_group),
	    cmocka_unit_test(bindings_are_tried_by_their_q),
	    cmocka_unit_test(nobody_answers_and_nothing_is_heard_are_two_causes),
	    cmocka_unit_test(a_6xx_ends_all_groups_unless_it_is_ignored),
	    cmocka_unit_test(redirects_are_followed_when_asked_for),
	    cmocka_unit_test(an_empty_list_is_480_and_nothing_is_sent),
	    cmocka_unit_test(a_hook_without_an_answer_passes_the_failure_of_its_fork),
	    cmocka_unit_test(targets_say_what_their_invite_says),
	    cmocka_unit_test(transport_and_route_choose_the_way),
	    cmocka_unit_test(a_leg_that_is_not_bridged_is_ended_with_its_hook),
	    cmocka_unit_test(a_cancel_raises_an_error_that_can_be_known),
	    cmocka_unit_test(hangup_ends_a_call_in_any_state),
	    cmocka_unit_test(the_longest_duration_ends_a_call),
	    cmocka_unit_test(early_media_can_be_dropped),
	    cmocka_unit_test(a_reply_has_headers_and_a_body),
	    cmocka_unit_test(hooks_of_all_methods_may_reply),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
