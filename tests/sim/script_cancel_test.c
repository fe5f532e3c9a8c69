/* A wait ends by an error when the caller goes: what runs then, what may wait, and what is given up. */
#include "script_world.h"

/* An invite hook that waits in `wait`, with a variable whose close logs what a wait in it gives. */
#define HOOK(body)                                                                                                     \
	PLAN "local function closing(what)\n"                                                                          \
	     "  return setmetatable({}, {__close = function(_, e)\n"                                                   \
	     "    local ok, err = pcall(sip.sleep, 0.1)\n"                                                             \
	     "    sip.log.info('%s closed: %s, waits: %s', what, sip.is_cancel(e), ok and 'yes' or err)\n"             \
	     "  end})\n"                                                                                               \
	     "end\n"                                                                                                   \
	     "sip.on.invite(function(call)\n" body "end)\n"                                                            \
	     "sip.on.hangup(function(call, why) sip.log.info('hangup by %s', why.by) end)\n"

static void cancel_after(uint64_t us)
{
	struct phone_call *c = dial("sip:bob@example.org");

	world_advance(w, us);
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
}

#define REFUSED "waits: sip.sleep cannot wait here (the hook is being ended, and this is a <close> variable)"

static void a_close_variable_may_not_wait_while_the_hook_is_ended(void **state)
{
	(void)state;
	begin(HOOK("  local a <close> = closing 'a'\n"
		   "  local b <close> = closing 'b'\n"
		   "  sip.sleep(30)\n"));
	cancel_after(SH_SECOND);
	world_expect_log(w, "b closed: true, " REFUSED);
	world_expect_log(w, "a closed: true, " REFUSED);
	world_expect_log(w, "hangup by caller");
	end();
}

static void whoever_caught_the_cancel_may_wait_again(void **state)
{
	(void)state;
	begin(HOOK("  local ok, e = pcall(function()\n"
		   "    local a <close> = closing 'inner'\n"
		   "    pcall(function() local b <close> = closing 'early' end)\n"
		   "    sip.sleep(30)\n"
		   "  end)\n"
		   "  local before = sip.now()\n"
		   "  sip.sleep(2)\n"
		   "  sip.log.info('caught %s, slept %.0f', sip.is_cancel(e), sip.now() - before)\n"
		   "  local c <close> = closing 'outer'\n"));
	cancel_after(SH_SECOND);
	world_expect_log(w, "early closed: false, waits: yes");
	world_expect_log(w, "inner closed: true, " REFUSED);
	world_advance(w, 5 * SH_SECOND);
	world_expect_log(w, "caught true, slept 2");
	world_expect_log(w, "outer closed: false, waits: yes");
	end();
}

static void xpcall_and_coroutines_catch_it_too(void **state)
{
	(void)state;
	begin(HOOK("  local ok, e = xpcall(function()\n"
		   "    local a <close> = closing 'x'\n"
		   "    sip.sleep(30)\n"
		   "  end, function(e) return e end)\n"
		   "  sip.sleep(1)\n"
		   "  sip.log.info('xpcall %s', sip.is_cancel(e))\n"));
	cancel_after(SH_SECOND);
	world_expect_log(w, "x closed: true, " REFUSED);
	world_advance(w, 3 * SH_SECOND);
	world_expect_log(w, "xpcall true");
	world_reload(w, HOOK("  local co = coroutine.create(function()\n"
			     "    pcall(coroutine.yield, 1)\n"
			     "    sip.sleep(30)\n"
			     "  end)\n"
			     "  coroutine.resume(co)\n"
			     "  local ok, e = coroutine.resume(co)\n"
			     "  sip.sleep(1)\n"
			     "  sip.log.info('resume %s', sip.is_cancel(e))\n"));
	cancel_after(SH_SECOND);
	world_advance(w, 3 * SH_SECOND);
	world_expect_log(w, "resume true");
	world_reload(w, HOOK("  local a <close> = closing 'around'\n"
			     "  local f = coroutine.wrap(function()\n"
			     "    local b <close> = closing 'wrapped'\n"
			     "    pcall(coroutine.yield, 1)\n"
			     "    pcall(function() sip.sleep(30) end)\n"
			     "    sip.log.info('caught inside')\n"
			     "    sip.sleep(1)\n"
			     "    error('second')\n"
			     "  end)\n"
			     "  f()\n"
			     "  sip.log.info('wrap %s', tostring(select(2, pcall(f))))\n"));
	cancel_after(SH_SECOND);
	world_advance(w, 3 * SH_SECOND);
	world_expect_log(w, "caught inside");
	world_expect_log(w, "second");
	world_expect_log(w, "around closed: false, waits: yes");
	world_reload(w, HOOK("  local a <close> = closing 'outside'\n"
			     "  coroutine.wrap(function() sip.sleep(30) end)()\n"));
	cancel_after(SH_SECOND);
	world_expect_log(w, "outside closed: true, " REFUSED);
	end();
}

static void never_answer(const struct sh_http_request *rq, struct sh_sim_http_reply *reply, void *ctx)
{
	(void)rq;
	(void)ctx;
	reply->delay = SH_NEVER;
}

static void ring_and_be_cancelled(struct phone_msg *m, void *ctx)
{
	static struct phone_msg *invite;

	(void)ctx;
	if (!m->m.is_request)
		return;
	if (m->m.method == SH_INVITE) {
		invite = m;
		phone_reply(m, 180, NULL, NULL, NULL);
	} else if (m->m.method == SH_CANCEL) {
		phone_reply(m, 200, NULL, NULL, NULL);
		phone_reply(invite, 487, NULL, NULL, NULL);
	}
}

static void forget(struct phone *p)
{
	SH_LIST_EACH(l, &p->log)
	SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
}

/* Every verb that waits: the cancel error comes out of it, and nothing of what it waited for is left (end() looks). */
static void every_wait_of_a_hook_ends_with_the_caller(void **state)
{
	static const char *const waits[] = {
	    "sip.sleep(30)",
	    "call:fork('sip:bob@10.0.0.3', {timeout = 30})",
	    "call:fork('sip:bob@10.0.0.3', {timeout = 30, follow_redirects = 1})",
	    "call:dial('sip:bob@10.0.0.3', {timeout = 30})",
	    "sip.http.get('http://h/', {timeout = 60})",
	    "coroutine.wrap(function() sip.sleep(30) end)()",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(waits) / sizeof(waits[0]); i++) {
		static const char hook[] = HOOK("  local a <close> = closing 'it'\n"
						"  local ok, e = pcall(function() return @ end)\n"
						"  sip.log.info('cancelled: %s', not ok and sip.is_cancel(e))\n");
		const char *at = strchr(hook, '@');
		char plan[2000];

		snprintf(plan, sizeof(plan), "%.*s%s%s", (int)(at - hook), hook, waits[i], at + 1);
		begin(plan);
		bob->on_message = ring_and_be_cancelled;
		sh_sim_set_http(w->sim, never_answer, NULL);
		cancel_after(2 * SH_SECOND);
		world_expect_log(w, "cancelled: true");
		world_expect_log(w, "hangup by caller");
		world_settle(w, 60 * SH_SECOND);
		forget(bob);
		forget(alice);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_close_variable_may_not_wait_while_the_hook_is_ended),
	    cmocka_unit_test(whoever_caught_the_cancel_may_wait_again),
	    cmocka_unit_test(xpcall_and_coroutines_catch_it_too),
	    cmocka_unit_test(every_wait_of_a_hook_ends_with_the_caller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
