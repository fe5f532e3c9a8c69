/* What scripts read: the fields of requests, calls, legs and results, as the contract names them. */
#include "script_world.h"

static void a_request_has_its_fields(void **state)
{
	static const char *const checks[][2] = {
	    {"return req.method", "MESSAGE"},
	    {"return req.uri, req.uri.user, req.uri.host", "sip:x@example.org | x | example.org"},
	    {"return req.from.user, req.from.uri, req.from.tag ~= nil", "alice | sip:alice@example.org | true"},
	    {"return req.to, req.to.tag", "<sip:x@example.org> | nil"},
	    {"return req.contact", "nil"},
	    {"return req.call_id == req['Call-ID'], req.call_id == req.i", "true | true"},
	    {"return math.type(req.cseq), req.cseq .. ' MESSAGE' == req.CSeq", "integer | true"},
	    {"return req.source.ip, req.source.port, req.source.transport, req.source.tls",
	     "10.0.0.2 | 5060 | udp | nil"},
	    {"return req.max_forwards, req.expires, req.event", "70 | nil | nil"},
	    {"return req.content_type, req.c, req['content-TYPE']", "text/lua | text/lua | text/lua"},
	    {"return #req.body > 10, req.auth_user, req.trusted, req.call, req.leg", "true | nil | false | nil | nil"},
	    {"return req.generation", "1"},
	    {"return req['X-Any'], req[1], req[true], req.nothing", "nil | nil | nil | nil"},
	    {"return #req:headers('Via'), req:headers('via')[1] == req.Via, #req:headers('X-None')", "1 | true | 0"},
	    {"return req == req, req.uri == sip.uri('sip:x@EXAMPLE.org')", "true | true"},
	    {"req.foo = 1", "error: t:1: request.foo cannot be set"},
	};

	(void)state;
	begin(EVAL);
	for (unsigned i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		lua_is(checks[i][0], checks[i][1]);
	end();
}

static void a_call_has_its_fields(void **state)
{
	static const char *const checks[][2] = {
	    {"return call.method, call.uri, call.from.user, call.to.user",
	     "INVITE | sip:bob@example.org | alice | bob"},
	    {"return #call.id, call.state, call.a.state, call.b", "16 | setup | trying | nil"},
	    {"return call.contact.user, call.source.ip, call.content_type", "alice | 10.0.0.2 | application/sdp"},
	    {"return call['X-Any'], call['x-aNY'], table.concat(call:headers('X-ANY'), '+')",
	     "first | first | first+second"},
	    {"return call.duration, call.times.start // 1 == os.time(), call.times.ring, call.times.answer",
	     "0.0 | true | nil | nil"},
	    {"call:ring() return call.state, call.times.ring ~= nil", "early | true"},
	    {"return call.a.uri.user, call.a.call_id == call.call_id, call.a.remote_sdp == call.body",
	     "alice | true | true"},
	    {"return call.a.code, call.a.local_sdp, call.a.user_agent", "0 | nil | nil"},
	    {"return call.leg == call.a, call.call == call, call.call.id == call.id", "true | true | true"},
	    {"call.data.x = 1 call.data.y = {2} return call.data.x, call.data.y[1]", "1 | 2"},
	    {"call.data = {z = 3} return call.data.x, call.data.z", "nil | 3"},
	    {"call.data = 5", "error: t:1: call.data: table expected, got number"},
	    {"call.data = {f = print}", "error: t:1: call.data.f: cannot keep a function"},
	    {"call.state = 'up'", "error: t:1: call.state cannot be set"},
	};

	(void)state;
	begin(EVAL);
	for (unsigned i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		call_is(checks[i][0], checks[i][1]);
	soon(alice, "180");
	end();
}

static const char legs[] =
    PLAN "sip.on.invite(function(call)\n"
	 "  local leg, res = call:fork('sip:bob@10.0.0.3')\n"
	 "  assert(leg and res == nil and leg.state == 'up' and leg.code == 200)\n"
	 "  assert(leg.uri.user == 'bob' and leg.call_id ~= call.call_id)\n"
	 "  assert(leg.remote_sdp:find('m=audio') and leg.local_sdp == call.body and leg.user_agent == 'Bobs Phone')\n"
	 "  assert(leg.foo == nil and call.b == nil)\n"
	 "  assert(call:bridge(leg) == true)\n"
	 "  assert(call.state == 'up' and call.b == leg and call.times.answer and call.body)\n"
	 "  call.data.leg = 'was ' .. tostring(call.b.uri.user)\n"
	 "end)\n"
	 "sip.on.answer(function(call)\n"
	 "  assert(call.state == 'up' and call.method == 'INVITE' and call.from.user == 'alice')\n"
	 "  assert(call.to.user == 'bob' and call.uri.user == 'bob' and call.source.ip == '10.0.0.2')\n"
	 "  sip.log.info('answered %s', call.data.leg)\n"
	 "end)\n"
	 "sip.on.hangup(function(call, why)\n"
	 "  assert(call.state == 'ended' and call.duration >= 5 and call.duration < 5.1 and call.times.stop)\n"
	 "  sip.log.info('over: %s %d %s %s %s', why.by, why.code, why.reason, why.q850, why.q850_name)\n"
	 "end)\n"
	 "sip.on.ack(function(req) assert(req.method == 'ACK' and req.call) sip.log.info('ack seen') end)\n"
	 "sip.on.bye(function(req)\n"
	 "  assert(req.call.state == 'up' and req.leg == req.call.a)\n"
	 "  local ok, code = req:reply(200)\n"
	 "  sip.log.info('bye seen, reply says %s %s', ok, code)\n"
	 "end)\n";

static void legs_and_the_hooks_of_a_call_see_it_whole(void **state)
{
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin(legs);
	c = dial("sip:bob@example.org");
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, "User-Agent: Bobs Phone", SDP);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200"), NULL, NULL);
	world_advance(w, 5 * SH_SECOND);
	world_expect_log(w, "answered was bob");
	world_expect_log(w, "ack seen");
	phone_in_call(c, "BYE", "Reason: Q.850;cause=16;text=\"Normal call clearing\"", NULL);
	soon(alice, "200 BYE");
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "bye seen, reply says nil answered");
	world_expect_log(w, "over: caller 200 BYE 16 Normal call clearing");
	end();
}

static void results_have_code_reason_cause_headers_and_branches(void **state)
{
	struct phone_call *c;
	struct phone_msg *i1, *i2;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  local leg, res = call:fork{'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}\n"
		   "  assert(leg == nil and res.code == 486 and res.reason == 'Not now' and res.cause == 'busy')\n"
		   "  assert(res['x-why'] == 'lunch' and res['X-None'] == nil and res[1] == nil)\n"
		   "  assert(res.headers['X-Why'] == 'lunch' and res.headers.CSeq and res.body == 'hello')\n"
		   "  assert(#res.contacts == 0 and #res.branches == 2 and tostring(res) == '486 Not now')\n"
		   "  for _, b in ipairs(res.branches) do\n"
		   "    sip.log.info('branch %s: %d %s', b.uri, b.code, b.reason)\n"
		   "  end\n"
		   "  call:reject(res)\n"
		   "end)\n");
	c = dial("sip:bob@example.org");
	i1 = soon(bob, "INVITE");
	i2 = soon(carol, "INVITE");
	phone_reply(i2, 480, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_reply(i1, 486, "Not now", "X-Why: lunch\nRetry-After: 30\nContent-Type: text/plain", "hello");
	soon(bob, "ACK");
	struct phone_msg *m = refused(c, "486");
	phone_assert_header(m, "Retry-After", "30");
	phone_assert_body(m, "hello");
	assert_non_null(strstr(m->text, "486 Not now"));
	world_expect_log(w, "branch sip:bob@10.0.0.3: 486 Not now");
	world_expect_log(w, "branch sip:carol@10.0.0.4: 480 Temporarily Unavailable");
	end();
}

static void contacts_of_a_redirect_are_read_from_the_result(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  local leg, res = call:fork('sip:bob@10.0.0.3')\n"
		   "  assert(res.cause == 'redirected' and #res.contacts == 2 and res.contacts[1].user == 'a')\n"
		   "  assert(res.contacts[2].field.q == '0.5')\n"
		   "  call:reject(res)\n"
		   "end)\n");
	c = dial("sip:bob@example.org");
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:a@10.0.0.9>, <sip:b@10.0.0.9>;q=0.5", NULL);
	soon(bob, "ACK");
	m = refused(c, "302");
	phone_assert_contains(m, "Contact", "sip:a@10.0.0.9");
	end();
}

static void what_has_ended_is_gone(void **state)
{
	(void)state;
	begin(PLAN
	      "local old, old_leg, old_req\n"
	      "sip.on.invite(function(call) old, old_leg = call, call.a call:reject(486) end)\n"
	      "sip.on.message(function(req)\n"
	      "  if not old_req then old_req = req return req:reply(202) end\n"
	      "  local function gone(...)\n"
	      "    local a, b, n = ..., select(2, ...), select('#', ...)\n"
	      "    if a ~= nil or b ~= 'gone' or n ~= 2 then error('not gone: ' .. tostring(a) .. ' ' .. tostring(b), "
	      "2) end\n"
	      "  end\n"
	      "  gone(old:reject(486)) gone(old:ring()) gone(old:redirect'sip:a@b') gone(old:fork'sip:a@b')\n"
	      "  gone(old:dial'sip:a@b') gone(old:bridge(old_leg)) gone(old:hangup()) gone(old:after(1, 'x'))\n"
	      "  gone(old:auth{realm = 'x', password = 'x'}) gone(old:challenge{realm = 'x'}) gone(old:headers'X')\n"
	      "  gone(old_leg:hangup())\n"
	      "  gone(old_req:reply(200)) gone(old_req:pass()) gone(old_req:relay'sip:a@b') gone(old_req:register())\n"
	      "  gone(old_req:dtmf()) gone(old_req:auth{realm = 'x', password = 'x'})\n"
	      "  assert(old.state == 'ended' and old_leg.state == 'ended' and old.id == nil and old_leg.code == nil and old_req.method == nil and old['X'] == nil)\n"
	      "  req:reply(200)\n"
	      "end)\n");
	refused(dial("sip:bob@example.org"), "486");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "202");
	world_advance(w, 60 * SH_SECOND);
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "200");
	end();
}

static void call_data_belongs_to_the_call_and_survives_reloads(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(
	    PLAN
	    "sip.on.invite(function(call) call.data.n = 1 call.data.t = {a = true} call:dial'sip:bob@10.0.0.3' end)\n");
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_ack(soon(alice, "200"), NULL, NULL);
	world_advance(w, SH_SECOND);
	world_reload(w, PLAN "sip.on.hangup(function(call)\n"
			     "  sip.log.info('n %d t %s', call.data.n, call.data.t.a)\n"
			     "end)\n");
	assert_int_equal(sh_script_alive(w->script), 1);
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "n 1 t true");
	end();
}

static void hooks_that_run_at_once_do_not_undo_each_others_call_data(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call) call.data.a = 1 call:fork'sip:bob@10.0.0.3' end)\n"
		   "sip.on.cancel(function(req) req.call.data.cancelled = true end)\n"
		   "sip.on.hangup(function(call, why)\n"
		   "  sip.log.info('a %s cancelled %s by %s %d', call.data.a, call.data.cancelled, why.by, why.code)\n"
		   "end)\n");
	c = dial("sip:bob@example.org");
	struct phone_msg *invite = answer(bob, 180);
	soon(alice, "180");
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	world_expect_log(w, "a 1 cancelled true by caller 487");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_has_its_fields),
	    cmocka_unit_test(a_call_has_its_fields),
	    cmocka_unit_test(legs_and_the_hooks_of_a_call_see_it_whole),
	    cmocka_unit_test(results_have_code_reason_cause_headers_and_branches),
	    cmocka_unit_test(contacts_of_a_redirect_are_read_from_the_result),
	    cmocka_unit_test(what_has_ended_is_gone),
	    cmocka_unit_test(call_data_belongs_to_the_call_and_survives_reloads),
	    cmocka_unit_test(hooks_that_run_at_once_do_not_undo_each_others_call_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
