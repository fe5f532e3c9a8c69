/* Calls that nobody ends: phones that die in any state. Each call ends by a timer, with one hangup hook that says who, why and how
 * long. */
#include "b2bua_helpers.h"

#define TOLD                                                                                                           \
	"sip.on.hangup(function(call, why)\n"                                                                          \
	"  local t = call.times\n"                                                                                     \
	"  assert(t.start and t.stop and t.stop >= t.start and (not t.answer or t.answer >= t.start))\n"              \
	"  assert(t.answer == nil or math.abs(call.duration - (t.stop - t.answer)) < 0.001)\n"                         \
	"  sip.log.info('over: %s %d %s', why.by, why.code, t.answer and 'answered' or 'never up')\nend)\n"
#define DIAL "  local ok, res = call:dial({'sip:bob@10.0.0.3'}, {timeout = 0})\n  if not ok then call:reject(res) end\n"

/* From now on nobody says anything; the call ends within that many seconds, and its end is told once. */
static void dies_at(const char *told, uint64_t seconds, const char *file, int line)
{
	char part[100];

	world_advance(w, 100 * SH_MS);
	world_settle_at(w, seconds * SH_SECOND, file, line);
	snprintf(part, sizeof(part), "over: %s", told);
	world_expect_log_at(w, part, file, line);
	if (world_has_log(w, "over: "))
		phone_fail(w->sim, file, line, "a second hangup hook");
	world_destroy(w);
}
#define dies(told, seconds) dies_at((told), (seconds), __FILE__, __LINE__)

static struct phone_call *up(const char *body)
{
	struct phone_call *c;
	char plan[1000];

	snprintf(plan, sizeof(plan), "%s%s", body, TOLD);
	begin_quiet(plan);
	c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	return c;
}

static void a_hook_that_waits_for_ever_ends_with_the_longest_set_up(void **state)
{
	(void)state;
	up(PLAN("  call:ring() sip.sleep(1e8)\n"));
	dies("engine 408 never up", 3600 + 70);
}

static void a_target_that_says_nothing_ends_by_the_first_timeout(void **state)
{
	(void)state;
	up(PLAN(DIAL));
	dies("script 408 never up", 80);
}

static void a_target_that_rings_for_ever_ends_by_timer_c(void **state)
{
	(void)state;
	up(PLAN(DIAL));
	phone_reply(soon(bob, "INVITE"), 180, NULL, NULL, NULL);
	dies("script 408 never up", 180 + 120);
}

static void a_caller_who_does_not_acknowledge_ends_after_64_t1(void **state)
{
	(void)state;
	up(PLAN(DIAL));
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	dies("engine 408 answered", 120); /* who never was up has no 200 */
}

static void a_call_of_two_dead_phones_ends_by_the_session_timer(void **state)
{
	struct phone_call *c;

	(void)state;
	c = up(PLAN(DIAL));
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	(void)c;
	dies("engine 200 answered", 1800 + 200);
}

static void a_caller_who_was_answered_alone_and_died_ends_by_it_too(void **state)
{
	(void)state;
	up(PLAN("  call:answer()\n"));
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	dies("engine 200 answered", 1800 + 200);
}

static void a_re_invite_without_an_answer_ends_the_call(void **state)
{
	struct phone_call *c;

	(void)state;
	c = up(PLAN(DIAL));
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, SH_SECOND);
	phone_reinvite(c, NULL, SDP_HOLD);
	dies("engine 200 answered", 200);
}

static void a_bye_without_an_answer_is_an_end(void **state)
{
	struct phone_call *c;

	(void)state;
	c = up(PLAN(DIAL));
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, SH_SECOND);
	phone_bye(c);
	dies("caller 200 answered", 100);
}

static void the_longest_duration_holds_for_a_call_that_is_bridged_again(void **state)
{
	(void)state;
	up(PLAN("  call:answer()\n  local leg = call:fork{'sip:bob@10.0.0.3'}\n  call:bridge(leg, {max_duration = 60})\n"));
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_reply(soon(alice, "INVITE"), 200, NULL, NULL, SDP_A);
	soon(bob, "ACK");
	phone_expect_none(alice, "BYE", 59 * SH_SECOND);
	phone_assert_contains(phone_expect(bob, "BYE", 2 * SH_SECOND), "Reason", "Q.850;cause=102");
	dies("engine 200 answered", 100);
}

static void a_bridge_that_the_caller_does_not_answer_ends(void **state)
{
	(void)state;
	up(PLAN("  call:answer()\n  local leg = call:fork{'sip:bob@10.0.0.3'}\n  call:bridge(leg)\n"));
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	dies("engine 200 answered", 2000);
}

static void a_call_of_our_own_whose_second_party_is_dead_ends(void **state)
{
	(void)state;
	begin_quiet(PLAN("") TOLD "sip.on.message(function(req)\n  req:reply(202)\n"
				  "  sip.originate{first = 'sip:bob@10.0.0.3', second = 'sip:carol@10.0.0.4', timeout = 30}\nend)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "202");
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	dies("engine 200 answered", 200);
}

static void a_phone_that_answers_anything_lives_and_one_that_knows_nothing_does_not(void **state)
{
	struct phone_msg *m;

	(void)state;
	up(PLAN(DIAL));
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	for (unsigned i = 0; i < 3; i++) {
		m = phone_expect(alice, "OPTIONS", 901 * SH_SECOND);
		phone_assert(alice, m->m.to_tag.len > 0 && m->m.body.len == 0);
		phone_reply(m, 405, NULL, NULL, NULL);
		phone_reply(soon(bob, "OPTIONS"), i < 2 ? 200 : 481, NULL, NULL, NULL);
	}
	phone_assert_contains(soon(alice, "BYE"), "Reason", "SIP;cause=481");
	dies("engine 200 answered", 100);
}

static void a_leg_with_a_session_timer_is_not_asked(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_quiet(PLAN(DIAL) TOLD);
	c = phone_invite(alice, "sip:bob@example.org", "Supported: timer\nSession-Expires: 3600;refresher=uac", SDP_A);
	phone_reply(soon(bob, "INVITE"), 200, NULL, "Require: timer\nSession-Expires: 1800;refresher=uas", SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	phone_expect_none(alice, "OPTIONS", 1000 * SH_SECOND);
	phone_expect_none(bob, "OPTIONS", SH_SECOND);
	phone_bye(c);
	soon(alice, "200 BYE");
	ok(soon(bob, "BYE"));
	dies("caller 200 answered", 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hook_that_waits_for_ever_ends_with_the_longest_set_up),
		cmocka_unit_test(a_target_that_says_nothing_ends_by_the_first_timeout),
		cmocka_unit_test(a_target_that_rings_for_ever_ends_by_timer_c),
		cmocka_unit_test(a_caller_who_does_not_acknowledge_ends_after_64_t1),
		cmocka_unit_test(a_call_of_two_dead_phones_ends_by_the_session_timer),
		cmocka_unit_test(a_caller_who_was_answered_alone_and_died_ends_by_it_too),
		cmocka_unit_test(a_re_invite_without_an_answer_ends_the_call),
		cmocka_unit_test(a_bye_without_an_answer_is_an_end),
		cmocka_unit_test(the_longest_duration_holds_for_a_call_that_is_bridged_again),
		cmocka_unit_test(a_bridge_that_the_caller_does_not_answer_ends),
		cmocka_unit_test(a_call_of_our_own_whose_second_party_is_dead_ends),
		cmocka_unit_test(a_phone_that_answers_anything_lives_and_one_that_knows_nothing_does_not),
		cmocka_unit_test(a_leg_with_a_session_timer_is_not_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
