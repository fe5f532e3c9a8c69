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
	    cmocka_unit_test(the_unload_hook_runs_once_when_its_successor_is_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
