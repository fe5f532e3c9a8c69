/* Generations that must go: pins, deadlines, the retired error, the unload hook. */
#include "script_world.h"

#define DEADLINE (300 * SH_SECOND)
#define REJECT(code) "sip.on.invite(function(call) call:reject(" code ") end)\n"

static void a_hook_that_waits_too_long_goes_on_in_sip_timer_retired(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  call.data.step = 'queued'\n"
		   "  local v <close> = setmetatable({}, {__close = function(_, e) sip.log.info('closed %s %s', sip.is_retired(e), "
		   "sip.is_cancel(e)) end})\n"
		   "  sip.sleep(10000)\n"
		   "end)\n");
	c = dial("sip:bob@example.org");
	soon(alice, "100");
	world_reload(w, PLAN REJECT("480") "sip.timer.retired = function(call)\n"
					   "  sip.log.info('%d: %s', call.generation, call.data.step)\n"
					   "  sip.sleep(5)\n"
					   "  call:reject(486, 'Taken over')\n"
					   "end\n");
	world_advance(w, DEADLINE - 2 * SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 2);
	world_advance(w, 3 * SH_SECOND);
	world_expect_log(w, "closed true false");
	world_expect_log(w, "2: queued");
	assert_int_equal(sh_script_alive(w->script), 1);
	assert_non_null(strstr(refused(c, "486")->text, "Taken over"));
	end();
}

static void a_caller_who_goes_after_that_is_cancelled_there(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call) sip.sleep(10000) end)\n");
	c = dial("sip:bob@example.org");
	soon(alice, "100");
	world_reload(w, PLAN "sip.timer.retired = function(call)\n"
			     "  local ok, e = pcall(sip.sleep, 500)\n"
			     "  sip.log.info('cancelled: %s', sip.is_cancel(e))\n"
			     "end\n"
			     "sip.on.hangup(function(call, why) sip.log.info('hangup %s in %d', why.by, call.generation) end)\n");
	world_advance(w, DEADLINE + 10 * SH_SECOND);
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	world_expect_log(w, "cancelled: true");
	world_expect_log(w, "hangup caller in 2");
	end();
}

static void without_such_a_timer_the_call_gets_503(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call) sip.sleep(10000) end)\n");
	c = dial("sip:bob@example.org");
	soon(alice, "100");
	world_reload(w, PLAN REJECT("480"));
	world_advance(w, DEADLINE + SH_SECOND);
	refused(c, "503");
	assert_true(world_has_log(w, "no sip.timer.retired"));
	assert_int_equal(sh_script_alive(w->script), 1);
	end();
}

static void branches_that_ring_are_cancelled_when_the_hook_must_go(void **state)
{
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  local ok, e = pcall(call.fork, call, 'sip:bob@10.0.0.3', {timeout = 10000})\n"
		   "  sip.log.info('retired: %s', sip.is_retired(e))\n"
		   "  call:continue('later')\n"
		   "end)\n");
	c = dial("sip:bob@example.org");
	invite = answer(bob, 180);
	soon(alice, "180");
	world_reload(w, PLAN REJECT("480") "sip.timer.later = function(call) call:reject(603) end\n");
	for (unsigned i = 0; i < 5; i++) { /* within timer C */
		world_advance(w, 60 * SH_SECOND);
		phone_reply(invite, 180, NULL, NULL, NULL);
	}
	world_advance(w, SH_SECOND);
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	world_expect_log(w, "retired: true");
	refused(c, "603");
	SH_LIST_EACH(l, &alice->log) /* what was repeated to keep timer C away */
	SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
	end();
}

static void a_hook_that_will_not_go_is_dropped(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  while true do pcall(sip.sleep, 10000) end\n"
		   "end)\n"
		   "sip.on.message(function(req) req:reply(200) while true do pcall(sip.sleep, 10000) end end)\n");
	c = dial("sip:bob@example.org");
	soon(alice, "100");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "200");
	world_reload(w, PLAN REJECT("480"));
	world_advance(w, DEADLINE + 60 * SH_SECOND);
	refused(c, "503");
	assert_true(world_has_log(w, "which would not end, is dropped"));
	assert_int_equal(sh_script_alive(w->script), 1);
	end();
}

static void a_pinned_call_keeps_its_generation(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call) call:pin() call:dial('sip:bob@10.0.0.3') end)\n"
		   "sip.on.info(function(req) req:reply(200, {body = 'old'}) end)\n"
		   "sip.on.hangup(function(call) sip.log.info('hangup in %d', call.generation) end)\n");
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, SH_SECOND);
	world_reload(w, PLAN REJECT("480") "sip.on.info(function(req) req:reply(200, {body = 'new'}) end)\n"
					   "sip.on.hangup(function(call) sip.log.info('HANGUP in %d', call.generation) end)\n");
	world_advance(w, SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 2);
	phone_in_call(c, "INFO", NULL, NULL);
	phone_assert_body(phone_expect_in(c, "200 INFO", SH_SECOND), "old");
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "hangup in 1");
	world_settle(w, 100 * SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 1);
	end();
}

static void a_pin_ends_with_the_deadline(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call) call:pin() call:dial('sip:bob@10.0.0.3') end)\n");
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, SH_SECOND);
	world_reload(w, PLAN REJECT("480") "sip.on.hangup(function(call) sip.log.info('hangup in %d', call.generation) end)\n");
	world_advance(w, DEADLINE + SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 1);
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "hangup in 2");
	end();
}

#define UNLOAD(n) PLAN "sip.on.unload(function(ev) sip.log.info('unload " n " %d %s', ev.generation, ev.reason) end)\n"

static void the_unload_hook_runs_once_when_its_successor_is_in_use(void **state)
{
	struct world_options o = {.workers = 3};

	(void)state;
	w = world_create(&o, UNLOAD("a") "sip.on.load(function() sip.log.info('load a') end)\n");
	assert_false(world_has_log(w, "unload"));
	world_reload(w, PLAN "sip.on.unload(function(ev) sip.sleep(3) sip.log.info('slept') error('late') end)\n");
	world_expect_log(w, "unload a 1 reload");
	assert_false(world_has_log(w, "unload a"));
	world_reload(w, UNLOAD("c"));
	assert_int_equal(sh_script_alive(w->script), 2);
	world_advance(w, 4 * SH_SECOND);
	world_expect_log(w, "slept");
	world_expect_log(w, "late");
	assert_int_equal(sh_script_alive(w->script), 1);
	w->forgiving = true;
	world_destroy(w);
}

/* ---- waits that others end: what they wait for goes on, and a generation need not stay for it ---- */

#define DIALS PLAN "sip.on.invite(function(call) call:dial('sip:bob@10.0.0.3') end)\n"

static void begin_with_deadline(uint64_t deadline, const char *script)
{
	struct world_options o = {.deadline = deadline};

	w = world_create(&o, script);
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	carol = world_phone(w, "carol", "10.0.0.4");
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
}

static void the_next_generation_comes_and_the_former_goes(const char *script)
{
	world_reload(w, script);
	world_advance(w, SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 2);
	world_advance(w, 2 * SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 1);
}

static struct phone_call *call_up(void)
{
	struct phone_call *c = dial("sip:bob@example.org");

	answer(bob, 200);
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, SH_SECOND);
	return c;
}

static void hang_up(struct phone_call *c)
{
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
}

static void a_request_that_was_passed_on_is_answered_though_its_hook_had_to_go(void **state)
{
	struct phone_call *c;
	struct phone_msg *info, *message;

	(void)state;
	begin_with_deadline(2 * SH_SECOND, DIALS
		"sip.on.info(function(req)\n"
		"  local v <close> = setmetatable({}, {__close = function(_, e) sip.log.info('closed %s', sip.is_retired(e)) end})\n"
		"  req:pass()\n"
		"end)\n"
		"sip.on.message(function(req)\n"
		"  local ok, e = pcall(req.pass, req)\n"
		"  sip.log.info('caught %s %s', sip.is_retired(e), select(2, req:pass()))\n"
		"end)\n");
	c = call_up();
	phone_in_call(c, "INFO", NULL, NULL);
	info = soon(bob, "INFO");
	phone_in_call(c, "MESSAGE", "Content-Type: text/plain", "hi");
	message = soon(bob, "MESSAGE");
	the_next_generation_comes_and_the_former_goes(DIALS);
	world_expect_log(w, "closed true");
	world_expect_log(w, "caught true busy");
	assert_int_equal(sh_runtime_stats(w->runtime[0])->retired, 2);
	phone_reply(info, 299, NULL, NULL, NULL);
	phone_expect_in(c, "299 INFO", SH_SECOND);
	phone_reply(message, 415, NULL, NULL, NULL);
	phone_expect_in(c, "415 MESSAGE", SH_SECOND);
	hang_up(c);
	end();
}

static void who_caught_it_may_answer_in_place_of_the_other_leg(void **state)
{
	struct phone_call *c;
	struct phone_msg *info;

	(void)state;
	begin_with_deadline(2 * SH_SECOND, DIALS "sip.on.info(function(req)\n"
						 "  if not pcall(req.pass, req) then req:reply(480) end\n"
						 "end)\n");
	c = call_up();
	phone_in_call(c, "INFO", NULL, NULL);
	info = soon(bob, "INFO");
	the_next_generation_comes_and_the_former_goes(DIALS);
	phone_expect_in(c, "480 INFO", SH_SECOND);
	phone_reply(info, 200, NULL, NULL, NULL);
	hang_up(c);
	end();
}

static void a_reinvite_that_was_passed_on_goes_on_though_its_hook_had_to_go(void **state)
{
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin_with_deadline(2 * SH_SECOND, DIALS "sip.on.reinvite(function(req)\n"
						 "  local ok, e = pcall(req.pass, req)\n"
						 "  sip.log.info('caught %s', sip.is_retired(e))\n"
						 "end)\n");
	c = call_up();
	phone_reinvite(c, NULL, SDP);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 100, NULL, NULL, NULL);
	the_next_generation_comes_and_the_former_goes(DIALS);
	world_expect_log(w, "caught true");
	phone_reply(invite, 200, NULL, NULL, SDP);
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	soon(bob, "ACK");
	hang_up(c);
	ignore_trying(alice);
	end();
}

static void a_relayed_request_is_answered_though_its_hook_had_to_go(void **state)
{
	struct phone_call *first, *second;
	struct phone_msg *m, *n;

	(void)state;
	begin_with_deadline(2 * SH_SECOND, PLAN
		"sip.on.message(function(req)\n"
		"  if req.uri.user == 'carol' then\n"
		"    if not pcall(req.relay, req, 'sip:carol@10.0.0.4') then req:reply(202) end\n"
		"  else\n"
		"    req:relay('sip:bob@10.0.0.3')\n"
		"  end\n"
		"end)\n");
	first = phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "hi");
	m = soon(bob, "MESSAGE");
	second = phone_request(alice, "MESSAGE", "sip:carol@example.org", "Content-Type: text/plain", "hi");
	n = soon(carol, "MESSAGE");
	the_next_generation_comes_and_the_former_goes(PLAN);
	phone_expect_in(second, "202", SH_SECOND);
	phone_reply(n, 200, NULL, NULL, NULL);
	phone_reply(m, 299, NULL, NULL, NULL);
	phone_expect_in(first, "299", SH_SECOND);
	end();
}

static void a_call_that_waits_for_its_ack_is_connected_though_its_hook_had_to_go(void **state)
{
	static const char *const hooks[] = {
	    DIALS,
	    PLAN "sip.on.invite(function(call)\n"
		 "  local ok, e = pcall(call.answer, call)\n"
		 "  sip.log.info('caught %s', sip.is_retired(e))\n"
		 "end)\n",
	};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct phone_call *c;
		struct phone_msg *ok;

		begin_with_deadline(2 * SH_SECOND, hooks[i]);
		c = dial("sip:bob@example.org");
		if (i == 0)
			phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP);
		ok = phone_expect_in(c, "200 INVITE", SH_SECOND);
		if (i == 0)
			soon(bob, "ACK");
		the_next_generation_comes_and_the_former_goes(
		    PLAN "sip.timer.retired = function(call) sip.log.info('goes on, %s', call.state) end\n"
			 "sip.on.answer(function(call) sip.log.info('answered') end)\n");
		world_expect_log(w, i == 0 ? "goes on, up" : "caught true");
		phone_ack(ok, NULL, NULL);
		world_advance(w, SH_SECOND);
		world_expect_log(w, "answered");
		phone_bye(c);
		phone_expect_in(c, "200 BYE", SH_SECOND);
		if (i == 0)
			phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
		SH_LIST_EACH(l, &alice->log) /* 200s that were repeated */
		SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_hook_that_waits_too_long_goes_on_in_sip_timer_retired),
	    cmocka_unit_test(a_caller_who_goes_after_that_is_cancelled_there),
	    cmocka_unit_test(without_such_a_timer_the_call_gets_503),
	    cmocka_unit_test(branches_that_ring_are_cancelled_when_the_hook_must_go),
	    cmocka_unit_test(a_hook_that_will_not_go_is_dropped),
	    cmocka_unit_test(a_pinned_call_keeps_its_generation),
	    cmocka_unit_test(a_pin_ends_with_the_deadline),
	    cmocka_unit_test(a_request_that_was_passed_on_is_answered_though_its_hook_had_to_go),
	    cmocka_unit_test(who_caught_it_may_answer_in_place_of_the_other_leg),
	    cmocka_unit_test(a_reinvite_that_was_passed_on_goes_on_though_its_hook_had_to_go),
	    cmocka_unit_test(a_relayed_request_is_answered_though_its_hook_had_to_go),
	    cmocka_unit_test(a_call_that_waits_for_its_ack_is_connected_though_its_hook_had_to_go),
	    cmocka_unit_test(the_unload_hook_runs_once_when_its_successor_is_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
