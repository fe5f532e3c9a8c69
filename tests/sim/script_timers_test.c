/* sip.sleep, sip.after, sip.every, call:after on the virtual clock. */
#include "script_world.h"

static bool logged(const char *part)
{
	bool yes = world_has_log(w, part);

	if (yes)
		world_expect_log(w, part);
	return yes;
}

static void sleep_waits_that_long_and_others_go_on(void **state)
{
	struct phone_call *slow;

	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  local before = sip.now()\n"
		   "  if req.body == 'slow' then sip.sleep(2.5) end\n"
		   "  req:reply(200, {body = ('%.1f'):format(sip.now() - before)})\n"
		   "end)\n");
	slow = phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, "slow");
	world_advance(w, SH_SECOND);
	phone_request(bob, "MESSAGE", "sip:x@example.org", NULL, "fast");
	phone_assert_body(phone_expect(bob, "200", SH_SECOND / 10), "0.0");
	phone_expect_none(alice, "*", 3 * SH_SECOND / 2 - SH_SECOND / 10);
	phone_assert_body(phone_expect_in(slow, "200", SH_SECOND / 5), "2.5");
	end();
}

static void after_runs_a_closure_once_and_may_wait(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  local n = 0\n"
		   "  sip.after(1.5, function() n = n + 1 sip.sleep(1) sip.log.info('ran %d', n) end)\n"
		   "  req:reply(200)\n"
		   "end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "200");
	world_advance(w, 2 * SH_SECOND);
	assert_false(logged("ran"));
	world_advance(w, SH_SECOND);
	assert_true(logged("ran 1"));
	world_advance(w, 60 * SH_SECOND);
	assert_false(logged("ran"));
	end();
}

static void named_timers_outlive_their_generation_and_closures_do_not(void **state)
{
	(void)state;
	begin(PLAN "sip.timer.late = function(data) error('not this one') end\n"
		   "sip.timer.gone = function() end\n"
		   "sip.on.message(function(req)\n"
		   "  sip.after(5, 'late', {to = req.from.user, list = {1, 2}})\n"
		   "  sip.after(5, function() error('not this one') end)\n"
		   "  sip.after(6, 'gone')\n"
		   "  req:reply(200)\n"
		   "end)\n"
		   "sip.every(1, function() sip.log.info('old tick') end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "200");
	world_reload(w, PLAN
		     "sip.timer.late = function(data) sip.log.info('late for %s, %d', data.to, data.list[2]) end\n");
	world_advance(w, 10 * SH_SECOND);
	assert_true(logged("late for alice, 2"));
	assert_false(logged("old tick"));
	world_expect_log(w, "sip.timer.gone is no function in this generation");
	w->forgiving = true;
	end();
}

static void every_ticks_on_one_worker_or_on_each(void **state)
{
	struct world_options o = {.workers = 3};

	(void)state;
	w = world_create(&o, PLAN
			 "local s = sip.shared('s')\n"
			 "sip.every(1, function() s:incr('one', 1) end)\n"
			 "sip.every(1, function() s:incr('all', 1) end, {each_worker = true})\n"
			 "sip.on.message(function(req)\n"
			 "  sip.every(0.5, function() s:incr('late', 1) end)\n"
			 "  sip.sleep(5.1)\n"
			 "  req:reply(200, {body = ('%d %d %d'):format(s:get('one'), s:get('all'), s:get('late'))})\n"
			 "end)\n");
	alice = world_phone(w, "alice", "10.0.0.2");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_assert_body(phone_expect(alice, "200", 6 * SH_SECOND), "5 15 10");
	world_destroy(w);
}

static void after_in_a_file_that_loads_begins_with_the_generation_on_one_worker(void **state)
{
	struct world_options o = {.workers = 3};
	char error[256];

	(void)state;
	w = world_create(&o, PLAN "sip.after(1, function() sip.log.info('closure 1') end)\n"
				  "sip.after(2, 'name', {1})\n"
				  "sip.timer.name = function(data) sip.log.info('name %d', data[1]) end\n"
				  "sip.on.load(function() sip.after(9, 'name', {9}) sip.after(9, function() error 'no' end) end)\n");
	world_advance(w, 3 * SH_SECOND);
	world_expect_log(w, "closure 1");
	world_expect_log(w, "name 1");
	assert_false(logged("name 1"));
	assert_int_not_equal(world_try_reload(w, PLAN "sip.after(1, 'name', {2}) error 'refused'\n", error, sizeof(error)), 0);
	world_reload(w, PLAN "sip.timer.name = function(data) sip.log.info('new %d', data[1]) end\n"
			     "sip.after(1, 'name', {3})\n");
	world_advance(w, 20 * SH_SECOND);
	world_expect_log(w, "new 3");
	world_expect_log(w, "new 9");
	assert_false(logged("new"));
	world_destroy(w);
}

static void call_after_runs_in_the_newest_generation_while_the_call_lasts(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  call.data.n = 1\n"
		   "  assert(call:after(10, 'check') == true)\n"
		   "  assert(call:after(20, 'check'))\n"
		   "  call:after(1000, 'check')\n"
		   "  call:dial('sip:bob@10.0.0.3')\n"
		   "end)\n");
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_ack(soon(alice, "200"), NULL, NULL);
	world_advance(w, SH_SECOND / 10);
	world_reload(w, PLAN "sip.timer.check = function(call)\n"
			     "  call.data.n = call.data.n + 1\n"
			     "  sip.log.info('check %d %s %.0f', call.data.n, call.state, call.duration)\n"
			     "end\n");
	assert_int_equal(sh_script_alive(w->script), 1);
	world_advance(w, 11 * SH_SECOND);
	assert_true(logged("check 2 up 10"));
	world_advance(w, 10 * SH_SECOND);
	assert_true(logged("check 3 up 20"));
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(bob, "BYE"), 200, NULL, NULL, NULL);
	world_advance(w, 1000 * SH_SECOND);
	assert_false(logged("check 4"));
	assert_true(logged("there is no sip.timer.check so far"));
	end();
}

static void a_timer_can_hang_up(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.timer.enough = function(call) call:hangup{q850 = 102, reason = 'Enough'} end\n"
		   "sip.on.invite(function(call)\n"
		   "  call:after(3, 'enough')\n"
		   "  local ok, res = call:dial('sip:bob@10.0.0.3')\n"
		   "end)\n"
		   "sip.on.hangup(function(call, why) sip.log.info('over %s %d', why.by, why.code) end)\n");
	c = dial("sip:bob@example.org");
	answer(bob, 200);
	phone_ack(soon(alice, "200"), NULL, NULL);
	struct phone_msg *bye = phone_expect(bob, "BYE", 3 * SH_SECOND);
	phone_assert_header(bye, "Reason", "Q.850;cause=102;text=\"Enough\"");
	phone_reply(bye, 200, NULL, NULL, NULL);
	bye = soon(alice, "BYE");
	phone_assert_header(bye, "Reason", "Q.850;cause=102;text=\"Enough\"");
	phone_reply(bye, 200, NULL, NULL, NULL);
	(void)c;
	world_expect_log(w, "over script 200");
	end();
}

static void a_timer_that_ends_a_call_in_setup_cancels_its_hook(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.timer.enough = function(call)\n"
		   "  assert(call:hangup(480) == true)\n"
		   "  sip.log.info('1: %s', call.state)\n"
		   "end\n"
		   "sip.on.invite(function(call)\n"
		   "  call:after(3, 'enough')\n"
		   "  local ok, e = pcall(call.fork, call, 'sip:bob@10.0.0.3')\n"
		   "  sip.log.info('2: %s %s', sip.is_cancel(e), e)\n"
		   "end)\n"
		   "sip.on.hangup(function(call, why) sip.log.info('3: over %s %d', why.by, why.code) end)\n");
	c = dial("sip:bob@example.org");
	struct phone_msg *invite = answer(bob, 180);
	soon(alice, "180");
	phone_ack(phone_expect_in(c, "480", 4 * SH_SECOND), NULL, NULL);
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	/* one after the other: the timer's hook is not interrupted by the others */
	assert_int_equal(w->nlines, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_non_null(strchr(strchr(w->lines[i].text, ' '), '1' + (int)i));
	world_expect_log(w, "2: true the caller has gone");
	world_expect_log(w, "3: over script 480");
	end();
}

static void a_timer_that_forks_is_cancelled_when_the_caller_goes(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.timer.now = function(call)\n"
		   "  local ok, e = pcall(call.fork, call, 'sip:bob@10.0.0.3')\n"
		   "  sip.log.info('timer: %s', sip.is_cancel(e))\n"
		   "end\n"
		   "sip.on.invite(function(call)\n"
		   "  call:after(1, 'now')\n"
		   "  sip.sleep(100)\n"
		   "end)\n");
	c = dial("sip:bob@example.org");
	struct phone_msg *invite = phone_expect(bob, "INVITE", 2 * SH_SECOND);
	phone_reply(invite, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	world_expect_log(w, "timer: true");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sleep_waits_that_long_and_others_go_on),
	    cmocka_unit_test(after_runs_a_closure_once_and_may_wait),
	    cmocka_unit_test(named_timers_outlive_their_generation_and_closures_do_not),
	    cmocka_unit_test(every_ticks_on_one_worker_or_on_each),
	    cmocka_unit_test(after_in_a_file_that_loads_begins_with_the_generation_on_one_worker),
	    cmocka_unit_test(call_after_runs_in_the_newest_generation_while_the_call_lasts),
	    cmocka_unit_test(a_timer_can_hang_up),
	    cmocka_unit_test(a_timer_that_forks_is_cancelled_when_the_caller_goes),
	    cmocka_unit_test(a_timer_that_ends_a_call_in_setup_cancels_its_hook),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
