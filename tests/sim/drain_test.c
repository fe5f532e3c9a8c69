/* A stopping server hangs up a portion of its calls at a time. */
#include "b2bua_helpers.h"

enum { TALKS = 300, SPAN = 400 /* milliseconds that are looked at */ };

static uint64_t began;
static unsigned byes, byes_at[SPAN], subscriptions_over;
static const char *reason; /* that subscriptions are told */

/* The phones answer at once; how many BYEs came in which millisecond. */
static void on_message(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (!m->m.is_request)
		return;
	if (m->m.method == SH_BYE) {
		uint64_t at = (m->at - began) / SH_MS;

		assert_true(at < SPAN);
		if (strstr(m->text, "Server is stopping")) {
			byes_at[at]++;
			byes++;
		}
	} else if (m->m.method == SH_NOTIFY && strstr(m->text, reason)) {
		subscriptions_over++;
	} else if (m->m.method != SH_NOTIFY) {
		return;
	}
	phone_reply(m, 200, NULL, NULL, NULL);
	m->consumed = true;
}

static void begin_many(void)
{
	begin_quiet(PLAN_BOB "sip.on.subscribe(function(sub) assert(sub:accept{serve = true}) end)\n");
	for (int i = 0; i < TALKS; i++)
		talk();
	alice->on_message = bob->on_message = carol->on_message = on_message;
	byes = subscriptions_over = 0;
	reason = "terminated;reason=probation";
	memset(byes_at, 0, sizeof(byes_at));
	began = sh_sim_now(w->sim);
}

/* Returns how many milliseconds passed until the last BYE had come. */
static unsigned last_bye(unsigned most)
{
	unsigned last = 0;

	for (unsigned i = 0; i < SPAN; i++) {
		assert_in_range(byes_at[i], 0, most);
		if (byes_at[i])
			last = i;
	}
	return last;
}

static void calls_are_hung_up_in_portions(void **state)
{
	(void)state;
	begin_many();
	sh_ua_drain(w->ua[0], SH_SECOND);
	assert_false(sh_ua_idle(w->ua[0]));
	world_advance(w, 4 * SH_MS);
	assert_in_range(byes, 2 * 32, TALKS); /* two of each call */
	phone_request(carol, "OPTIONS", "sip:bob@example.org", NULL, NULL); /* is read, and answered, meanwhile */
	phone_expect(carol, "503", 3 * SH_MS);
	assert_in_range(byes, 2 * 32, 2 * TALKS - 1);
	world_advance(w, SH_SECOND);
	assert_int_equal(byes, 2 * TALKS);
	assert_in_range(last_bye(2 * 32), TALKS / 32, TALKS / 32 + 3);
	assert_true(sh_ua_idle(w->ua[0]));
	assert_int_equal(sh_ua_stats(w->ua[0])->calls_live, 0);
	end();
}

static void portions_are_larger_when_time_is_short(void **state)
{
	(void)state;
	begin_many();
	sh_ua_drain(w->ua[0], 4 * SH_MS);
	world_advance(w, SH_SECOND);
	assert_int_equal(byes, 2 * TALKS);
	assert_in_range(last_bye(2 * 256), 3, 6);
	assert_true(sh_ua_idle(w->ua[0]));
	end();
}

/* Fifty callers hang up themselves in the same moment. */
static void calls_that_end_meanwhile_keep_nobody(void **state)
{
	unsigned ended = 0;

	(void)state;
	begin_many();
	sh_ua_drain(w->ua[0], SH_SECOND);
	for (struct sh_link *l = alice->calls.prev; ended < 50; l = l->prev, ended++)
		phone_bye(SH_CONTAINER(l, struct phone_call, link));
	world_advance(w, SH_SECOND);
	for (; ended > 0; ended--)
		soon(alice, "200 BYE");
	assert_true(byes < 2 * TALKS);
	assert_true(sh_ua_idle(w->ua[0]));
	assert_int_equal(sh_ua_stats(w->ua[0])->calls_live, 0);
	end();
}

static void subscribe(unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		phone_request(carol, "SUBSCRIBE", "sip:nobody@example.org", "Event: dialog\nExpires: 3600", NULL);
		soon(carol, "200 SUBSCRIBE");
	}
	world_advance(w, SH_SECOND);
	began = sh_sim_now(w->sim);
}

/* Another process has taken over: the calls go on here. */
static void a_process_that_was_succeeded_ends_its_subscriptions(void **state)
{
	(void)state;
	begin_many();
	subscribe(200);
	reason = "terminated;reason=deactivated";
	sh_ua_succeeded(w->ua[0]);
	world_advance(w, 2 * SH_MS - 1);
	assert_int_equal(subscriptions_over, 128);
	world_advance(w, SH_SECOND);
	assert_int_equal(subscriptions_over, 200);
	assert_int_equal(byes, 0);
	assert_int_equal(sh_ua_stats(w->ua[0])->calls_live, TALKS);
	began = sh_sim_now(w->sim);
	sh_ua_drain(w->ua[0], SH_SECOND);
	world_advance(w, SH_SECOND);
	assert_int_equal(byes, 2 * TALKS);
	end();
}

static void subscriptions_end_too(void **state)
{
	(void)state;
	begin_many();
	subscribe(100);
	sh_ua_drain(w->ua[0], SH_SECOND);
	world_advance(w, 2 * SH_SECOND);
	assert_int_equal(subscriptions_over, 100);
	assert_int_equal(byes, 2 * TALKS);
	assert_true(sh_ua_idle(w->ua[0]));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_are_hung_up_in_portions),
		cmocka_unit_test(portions_are_larger_when_time_is_short),
		cmocka_unit_test(calls_that_end_meanwhile_keep_nobody),
		cmocka_unit_test(subscriptions_end_too),
		cmocka_unit_test(a_process_that_was_succeeded_ends_its_subscriptions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
