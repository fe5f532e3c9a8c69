/* Generations: what changes at a reload, what goes on, and that nothing is left behind. */
#include "script_world.h"

#define REJECT(code) PLAN "sip.on.invite(function(call) call:reject(" code ") end)\n"

static void the_next_call_takes_the_new_script(void **state)
{
	(void)state;
	begin(REJECT("486"));
	refused(dial("sip:bob@example.org"), "486");
	world_reload(w, REJECT("603"));
	refused(dial("sip:bob@example.org"), "603");
	assert_int_equal(sh_script_alive(w->script), 1);
	assert_int_equal(sh_generation_number(sh_script_current(w->script)), 2);
	end();
}

static void a_hook_that_waits_ends_in_the_generation_in_which_it_began(void **state)
{
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  local leg, res = call:fork('sip:bob@10.0.0.3')\n"
		   "  sip.log.info('old, in %d', call.generation)\n"
		   "  call:reject(res, 'By the old one')\n"
		   "end)\n"
		   "sip.on.hangup(function() error('not this one') end)\n");
	c = dial("sip:bob@example.org");
	invite = answer(bob, 180);
	soon(alice, "180");
	world_reload(w, REJECT("603") "sip.on.hangup(function(call, why)\n"
				      "  sip.log.info('new, in %d: %s', call.generation, why.reason)\n"
				      "end)\n");
	assert_int_equal(sh_script_alive(w->script), 2);
	refused(dial("sip:bob@example.org"), "603");
	world_expect_log(w, "new, in 2: Decline");
	assert_int_equal(sh_script_alive(w->script), 2);
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	assert_non_null(strstr(refused(c, "486")->text, "By the old one"));
	world_expect_log(w, "old, in 1");
	world_expect_log(w, "new, in 2: By the old one");
	assert_int_equal(sh_script_alive(w->script), 1);
	end();
}

static void reloads_leave_nothing_behind(void **state)
{
	char text[600];

	(void)state;
	begin(REJECT("486"));
	for (unsigned i = 0; i < 200; i++) {
		snprintf(text, sizeof(text),
			 PLAN "local big = {}\n"
			      "for i = 1, 100 do big[i] = ('x'):rep(i) end\n"
			      "sip.every(0.5, function() sip.shared('s'):incr('ticks', 1) end)\n"
			      "sip.timer.late = function() end\n"
			      "sip.on.load(function(ev) assert(ev.generation == %u and ev.reason == 'reload') end)\n"
			      "sip.on.message(function(req) sip.after(1000, print) sip.after(1, 'late') sip.sleep(0.3) "
			      "req:reply(200) end)\n"
			      "sip.on.invite(function(call) call:after(60, 'late') call:reject(%u) end)\n",
			 i + 2, i % 2 ? 603 : 486);
		if (i % 3 == 0)
			phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
		world_reload(w, text);
		world_advance(w, SH_SECOND / 10);
		refused(dial("sip:bob@example.org"), i % 2 ? "603" : "486");
		assert_true(sh_script_alive(w->script) <= 5);
	}
	while (phone_count(alice, "2xx") < 66)
		world_advance(w, SH_SECOND);
	world_advance(w, SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 1);
	w->forgiving = true;
	world_destroy(w);
}

static void a_generation_that_a_worker_never_took_up_is_given_back(void **state)
{
	struct world_options o = {.workers = 3};

	(void)state;
	w = world_create(&o, REJECT("486"));
	alice = world_phone(w, "alice", "10.0.0.2");
	for (unsigned i = 0; i < 5; i++) {
		struct sh_generation *g;
		char error[200];

		assert_int_equal(sh_generation_load(&g, w->script, error, sizeof(error)), 0);
		sh_script_publish(w->script, g);
		if (i == 2)
			sh_runtime_update(w->runtime[1]);
	}
	assert_int_equal(sh_script_alive(w->script), 6);
	for (unsigned i = 0; i < 2; i++)
		sh_runtime_update(w->runtime[i]);
	assert_int_equal(sh_script_alive(w->script), 6);
	sh_runtime_update(w->runtime[2]);
	assert_int_equal(sh_script_alive(w->script), 1);
	/* and those that are late when all ends */
	for (unsigned i = 0; i < 2; i++) {
		struct sh_generation *g;
		char error[200];

		assert_int_equal(sh_generation_load(&g, w->script, error, sizeof(error)), 0);
		sh_script_publish(w->script, g);
	}
	world_destroy(w);
}

static void hooks_that_wait_when_all_ends_are_dropped(void **state)
{
	(void)state;
	begin(PLAN "sip.every(10, function() sip.sleep(1e6) end)\n"
		   "sip.on.message(function(req) sip.sleep(1e6) end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	world_advance(w, 50 * SH_SECOND);
	assert_true(sh_runtime_runs(w->runtime[0]) >= 5);
	world_reload(w, REJECT("486"));
	world_advance(w, SH_SECOND);
	assert_int_equal(sh_script_alive(w->script), 2);
	for (unsigned i = 0; i < w->nphones; i++)
		phone_destroy(w->phones[i]);
	w->nphones = 0;
	sh_sim_env_stop(w->env[0]);
	sh_runtime_destroy(w->runtime[0]);
	w->runtime[0] = NULL;
	assert_int_equal(sh_script_alive(w->script), 1);
	sh_ua_destroy(w->ua[0]);
	w->ua[0] = NULL;
	assert_int_equal(sh_sim_open_handles(w->env[0]), 0);
	while (w->nretired)
		sh_generation_destroy(w->retired[--w->nretired]);
	sh_script_destroy(w->script);
	sh_shared_destroy(w->shared);
	sh_location_destroy(w->location);
	sh_auth_destroy(w->auth);
	sh_sim_destroy(w->sim);
	world_forget_log(w);
	for (unsigned i = 0; i < WORLD_FILES; i++)
		free(w->files[i].text);
	free(w);
}

static void the_load_hook_runs_once_and_can_refuse(void **state)
{
	struct world_options o = {.workers = 3};
	char error[500];

	(void)state;
	w = world_create(&o, PLAN "sip.on.load(function(ev)\n"
				  "  sip.log.info('load %d %s', ev.generation, ev.reason)\n"
				  "end)\n");
	alice = world_phone(w, "alice", "10.0.0.2");
	world_expect_log(w, "load 1 start");
	assert_false(world_has_log(w, "load"));
	world_reload(w, PLAN "sip.on.load(function(ev)\n"
			     "  sip.shared('s'):incr('loads', 1)\n"
			     "  sip.log.info('load %d %s', ev.generation, ev.reason)\n"
			     "end)\n");
	world_expect_log(w, "load 2 reload");
	assert_false(world_has_log(w, "load"));
	assert_int_not_equal(world_try_reload(w,
					      PLAN "sip.on.load(function(ev)\n"
						   "  sip.shared('s'):incr('loads', 100)\n"
						   "  assert(sip.shared('s'):get('loads') == 101)\n"
						   "  error('not today')\n"
						   "end)\n",
					      error, sizeof(error)),
			     0);
	assert_string_equal(error, "dialplan.lua:6: not today");
	assert_int_not_equal(
	    world_try_reload(w, PLAN "sip.on.load(function(ev) while true do end end)\n", error, sizeof(error)), 0);
	assert_non_null(strstr(error, "dialplan.lua:3: "));
	assert_int_not_equal(
	    world_try_reload(w, PLAN "sip.on.load(function(ev) sip.sleep(1) end)\n", error, sizeof(error)), 0);
	assert_string_equal(error, "dialplan.lua:3: sip.sleep does not work while the script loads, nor in the load hook");
	assert_int_equal(sh_generation_number(sh_script_current(w->script)), 2);
	assert_int_equal(sh_script_alive(w->script), 1);
	world_reload(w, PLAN "sip.on.load(function() sip.log.info('loads %d', sip.shared('s'):get('loads')) end)\n");
	world_expect_log(w, "loads 1");
	world_destroy(w);
}

static void what_the_top_level_writes_counts_once_for_all_workers(void **state)
{
	struct world_options o = {.workers = 3};

	(void)state;
	w = world_create(&o, PLAN "local s = sip.shared('s')\n"
				  "s:incr('n', 1)\n"
				  "assert(s:get('n') == 1)\n");
	alice = world_phone(w, "alice", "10.0.0.2");
	world_reload(w, PLAN "sip.on.load(function() sip.log.info('n is %d', sip.shared('s'):get('n')) end)\n");
	world_expect_log(w, "n is 1");
	world_destroy(w);
}

static void domains_trust_and_hooks_are_those_of_the_new_script(void **state)
{
	(void)state;
	begin(PLAN "sip.acl{trust = {'10.0.0.2', '10.1.0.0/16'}}\n"
		   "sip.on.message(function(req) req:reply(200, {body = tostring(req.trusted)}) end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_assert_body(soon(alice, "200"), "true");
	phone_request(bob, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_assert_body(soon(bob, "200"), "false");
	world_reload(w, "local sip = require 'siphook'\nsip.domains{'New.example'}\n"
			"sip.on.register(function(req) req:register() end)\n"
			"sip.on.options(function(req)\n"
			"  req:reply(200, {body = tostring(req.trusted) .. #sip.lookup('alice@new.example')})\n"
			"end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	phone_assert(alice, !strstr(phone_value(soon(alice, "405"), "Allow"), "MESSAGE"));
	phone_request(alice, "REGISTER", "sip:new.example", "To: <sip:alice@10.0.0.1>", NULL);
	soon(alice, "200");
	phone_request(alice, "OPTIONS", "sip:new.example", NULL, NULL);
	phone_assert_body(soon(alice, "200"), "false1");
	end();
}

static void libraries_beside_the_script_are_loaded_with_it(void **state)
{
	char error[500];

	(void)state;
	w = world_create(NULL, REJECT("486"));
	alice = world_phone(w, "alice", "10.0.0.2");
	world_file(w, "lib.lua", "return {code = 603}\n");
	world_reload(w, PLAN "local lib = require 'lib'\nsip.on.invite(function(call) call:reject(lib.code) end)\n");
	refused(dial("sip:bob@example.org"), "603");
	world_file(w, "lib.lua", "return {code = }\n");
	assert_int_not_equal(world_try_reload(w, PLAN "local lib = require 'lib'\n", error, sizeof(error)), 0);
	assert_non_null(strstr(error, "lib.lua:1: unexpected symbol near '}'"));
	refused(dial("sip:bob@example.org"), "603");
	world_destroy(w);
}

static void config_is_what_the_host_gives(void **state)
{
	static const struct sh_pair pairs[] = {{"realm", "example.org"}, {"trunk", "sip:10.0.0.9"}};
	struct world_options o = {.pairs = pairs, .npairs = 2};

	(void)state;
	w = world_create(&o, PLAN "local all = {}\n"
				  "for k, v in pairs(sip.config) do all[#all + 1] = k .. '=' .. v end\n"
				  "table.sort(all)\n"
				  "assert(sip.config.realm == 'example.org' and sip.config.none == nil)\n"
				  "assert(not pcall(function() sip.config.realm = 'x' end))\n"
				  "sip.log.info(table.concat(all, ' '))\n");
	world_expect_log(w, "realm=example.org trunk=sip:10.0.0.9");
	world_destroy(w);
}

static void a_hook_that_is_left_out_is_told(void **state)
{
	(void)state;
	begin(PLAN "sip.on.invite(function(call) call:reject(486) end)\nsip.on.message(function(req) req:reply(202) end)\n");
	world_reload(w, PLAN "sip.on.invite(function(call) call:reject(603) end)\nsip.on.options(function(req) req:reply(200) end)\n");
	world_expect_log(w, "generation 2 has no message hook any more, as generation 1 had");
	assert_false(world_has_log(w, "has no"));
	world_reload(w, PLAN "sip.on.message(function(req) req:reply(202) end)\nsip.on.options(function(req) req:reply(200) end)\n");
	world_expect_log(w, "generation 3 has no invite hook any more, as generation 2 had");
	assert_false(world_has_log(w, "has no"));
	refused(dial("sip:bob@example.org"), "404");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_next_call_takes_the_new_script),
	    cmocka_unit_test(a_hook_that_waits_ends_in_the_generation_in_which_it_began),
	    cmocka_unit_test(reloads_leave_nothing_behind),
	    cmocka_unit_test(a_generation_that_a_worker_never_took_up_is_given_back),
	    cmocka_unit_test(hooks_that_wait_when_all_ends_are_dropped),
	    cmocka_unit_test(the_load_hook_runs_once_and_can_refuse),
	    cmocka_unit_test(what_the_top_level_writes_counts_once_for_all_workers),
	    cmocka_unit_test(domains_trust_and_hooks_are_those_of_the_new_script),
	    cmocka_unit_test(libraries_beside_the_script_are_loaded_with_it),
	    cmocka_unit_test(config_is_what_the_host_gives),
	    cmocka_unit_test(a_hook_that_is_left_out_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
