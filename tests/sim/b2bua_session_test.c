/* Session timers (RFC 4028): one for each dialog, both roles, 422 both ways. */
#include "b2bua_helpers.h"

#define ALLOWS "Allow: INVITE, ACK, BYE, CANCEL, UPDATE"
#define TIMER(seconds) "Supported: timer\nSession-Expires: " #seconds

/* Without the OPTIONS that legs without a timer get: see b2bua_dead_test.c. */
static void begin_unasked(const char *plan)
{
	struct sh_ua_config config = sh_ua_config_default;
	struct world_options o = {.ua = &config};

	config.product = SH_LIT("siphook/test");
	config.dialog_probe = 0;
	begin_with(&o, plan);
}
#define begin(plan) begin_unasked(plan)

static struct phone_msg *invite_of(const char *headers)
{
	phone_invite(alice, "sip:bob@example.org", headers, SDP_A);
	return soon(bob, "INVITE");
}

/* Bob answers with that; what alice gets. */
static struct phone_msg *answered(struct phone_msg *invite, const char *headers)
{
	struct phone_msg *m;

	phone_reply(invite, 200, NULL, headers, SDP_B);
	soon(bob, "ACK");
	m = soon(alice, "200 INVITE");
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	return m;
}

static void bye(void)
{
	hang_up(first_call(alice), bob);
	end();
}

/* ---- agreement ---- */

static void who_supports_no_timer_hears_of_none(void **state)
{
	struct phone_msg *invite, *m;

	(void)state;
	begin(PLAN_BOB);
	invite = invite_of(NULL);
	phone_assert_contains(invite, "Supported", "timer");
	phone_assert_header(invite, "Session-Expires", "1800");
	m = answered(invite, NULL);
	phone_assert_header(m, "Session-Expires", NULL);
	phone_assert_header(m, "Require", NULL);
	phone_expect_none(alice, "*", 4000 * SH_SECOND);
	phone_expect_none(bob, "*", SH_SECOND);
	bye();
}

static void a_2xx_names_the_refresher_though_the_request_did_not(void **state)
{
	struct phone_msg *m;

	(void)state; /* drachtio-server#284 */
	begin(PLAN_BOB);
	m = answered(invite_of(TIMER(600)), NULL);
	phone_assert_header(m, "Session-Expires", "600;refresher=uac");
	phone_assert_header(m, "Require", "timer");
	phone_expect_none(bob, "*", 500 * SH_SECOND); /* his leg has none */
	bye();
}

static void the_wish_of_who_asks_is_followed(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	m = answered(invite_of("Supported: timer\nSession-Expires: 600;refresher=uas\n" ALLOWS), NULL);
	phone_assert_header(m, "Session-Expires", "600;refresher=uas");
	m = phone_expect(alice, "UPDATE", 301 * SH_SECOND);
	phone_assert_header(m, "Session-Expires", "600;refresher=uac"); /* seen from this request */
	phone_assert_body(m, "");
	phone_reply(m, 200, NULL, "Session-Expires: 600;refresher=uac\nRequire: timer", NULL);
	m = phone_expect(alice, "UPDATE", 301 * SH_SECOND);
	phone_reply(m, 200, NULL, "Session-Expires: 600;refresher=uac\nRequire: timer", NULL);
	bye();
}

static void who_can_but_does_not_ask_is_asked(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	m = answered(invite_of("Supported: timer\n" ALLOWS), NULL);
	phone_assert_header(m, "Session-Expires", "1800;refresher=uas");
	phone_reply(phone_expect(alice, "UPDATE", 901 * SH_SECOND), 200, NULL, "Session-Expires: 1800;refresher=uac", NULL);
	bye();
}

static void who_does_not_do_it_is_refreshed_by_us_when_a_proxy_asks(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	m = answered(invite_of("Session-Expires: 600\nMin-SE: 300"), NULL);
	phone_assert_header(m, "Session-Expires", "600;refresher=uas");
	phone_assert_header(m, "Require", NULL);
	m = phone_expect(alice, "INVITE", 301 * SH_SECOND); /* no UPDATE in Allow */
	phone_assert_body(m, SDP_B); /* the offer that has not changed */
	phone_assert_header(m, "Session-Expires", "600;refresher=uac");
	phone_assert_header(m, "Min-SE", "300");
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	phone_expect_none(alice, "*", 4000 * SH_SECOND); /* its 2xx says no more of it: no timer */
	bye();
}

/* ---- refresh ---- */

static void who_is_called_refreshes_and_the_other_side_hears_nothing(void **state)
{
	struct phone_msg *m;

	(void)state; /* siphon-sip#415: one timer for each dialog */
	begin(PLAN_BOB);
	answered(invite_of(NULL), "Session-Expires: 400;refresher=uas\nRequire: timer");
	for (int i = 0; i < 3; i++) {
		world_advance(w, 200 * SH_SECOND);
		phone_in_call(first_call(bob), "UPDATE", "Supported: timer\nSession-Expires: 400;refresher=uac", NULL);
		m = soon(bob, "200 UPDATE");
		phone_assert_header(m, "Session-Expires", "400;refresher=uac");
		phone_assert_header(m, "Contact", "<sip:10.0.0.1:5060>");
	}
	phone_expect_none(alice, "*", SH_SECOND);
	bye();
}

static void we_refresh_who_is_called(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	answered(invite_of(NULL), "Session-Expires: 1800;refresher=uac\nRequire: timer\n" ALLOWS);
	m = phone_expect(bob, "UPDATE", 901 * SH_SECOND);
	phone_assert_header(m, "Session-Expires", "1800;refresher=uac");
	phone_reply(m, 200, NULL, "Session-Expires: 1800;refresher=uac", NULL);
	phone_expect_none(alice, "*", SH_SECOND);
	bye();
}

static void a_reinvite_refreshes_too_and_keeps_the_role(void **state)
{
	struct phone_msg *m, *got;

	(void)state; /* sems#68: two sides that fight for the role */
	begin(PLAN_BOB);
	answered(invite_of("Supported: timer\nSession-Expires: 600;refresher=uas\n" ALLOWS),
		 "Session-Expires: 1800;refresher=uac\nRequire: timer\n" ALLOWS);
	world_advance(w, 100 * SH_SECOND);
	phone_reinvite(first_call(alice), "Supported: timer\nSession-Expires: 600", SDP_HOLD);
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Session-Expires", "1800;refresher=uac"); /* this side's own */
	phone_reply(m, 200, NULL, "Session-Expires: 1800;refresher=uac\nRequire: timer", SDP_HELD);
	soon(bob, "ACK");
	got = soon(alice, "200 INVITE");
	phone_assert_header(got, "Session-Expires", "600;refresher=uas");
	phone_ack(got, NULL, NULL);
	m = phone_expect(alice, "UPDATE", 301 * SH_SECOND);
	phone_reply(m, 200, NULL, "Session-Expires: 600;refresher=uac", NULL);
	bye();
}

static void a_refused_update_is_followed_by_a_reinvite(void **state)
{
	struct phone_msg *m;

	(void)state; /* jambonz-feature-server#1122 */
	begin(PLAN_BOB);
	answered(invite_of(NULL), "Session-Expires: 600;refresher=uac\nRequire: timer\n" ALLOWS);
	phone_reply(phone_expect(bob, "UPDATE", 301 * SH_SECOND), 405, NULL, "Allow: INVITE, ACK, BYE", NULL);
	m = soon(bob, "INVITE");
	phone_assert_body(m, SDP_A);
	phone_reply(m, 200, NULL, "Session-Expires: 600;refresher=uac", SDP_B);
	soon(bob, "ACK");
	m = phone_expect(bob, "INVITE", 301 * SH_SECOND);
	phone_reply(m, 200, NULL, "Session-Expires: 600;refresher=uac", SDP_B);
	soon(bob, "ACK");
	bye();
}

static void a_refresh_that_meets_another_offer_is_tried_again(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	answered(invite_of(NULL), "Session-Expires: 600;refresher=uac\nRequire: timer");
	m = phone_expect(bob, "INVITE", 301 * SH_SECOND);
	phone_reply(m, 491, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_expect_none(bob, "INVITE", 2 * SH_SECOND); /* ours is the Call-ID: 2.1 to 4 s (RFC 3261 14.1) */
	m = phone_expect(bob, "INVITE", 2100 * SH_MS);
	phone_reply(m, 200, NULL, "Session-Expires: 600;refresher=uac", SDP_B);
	soon(bob, "ACK");
	bye();
}

/* ---- the end ---- */

static void without_a_refresh_of_theirs_both_are_hung_up(void **state)
{
	(void)state;
	begin(PLAN_BOB);
	answered(invite_of(TIMER(600)), NULL);
	phone_expect_none(alice, "BYE", 560 * SH_SECOND);
	ok(phone_expect(alice, "BYE", 9 * SH_SECOND)); /* 32 s before it is over */
	ok(soon(bob, "BYE"));
	end();
}

static void a_refresh_that_nobody_answers_ends_the_call(void **state)
{
	struct phone_msg *m;

	(void)state; /* pjsip#1722 */
	begin(PLAN_BOB);
	phone_auto(bob, PHONE_ABSORB);
	answered(invite_of(NULL), "Session-Expires: 600;refresher=uac\nRequire: timer\n" ALLOWS);
	phone_expect(bob, "UPDATE", 301 * SH_SECOND);
	ok(phone_expect(alice, "BYE", 33 * SH_SECOND));
	m = soon(bob, "BYE");
	phone_assert_contains(m, "Reason", "Session timer");
	ok(m);
	end();
}

static void a_refresh_for_a_dialog_that_is_gone_ends_the_call(void **state)
{
	(void)state;
	begin(PLAN_BOB);
	answered(invite_of(NULL), "Session-Expires: 600;refresher=uac\nRequire: timer\n" ALLOWS);
	phone_reply(phone_expect(bob, "UPDATE", 301 * SH_SECOND), 481, NULL, NULL, NULL);
	ok(soon(alice, "BYE"));
	phone_reply(soon(bob, "BYE"), 481, NULL, NULL, NULL);
	end();
}

static void another_failure_is_tried_again_until_the_end(void **state)
{
	struct phone_msg *m;
	unsigned tries = 0;

	(void)state;
	begin(PLAN_BOB);
	answered(invite_of(NULL), "Session-Expires: 90;refresher=uac\nRequire: timer\n" ALLOWS);
	world_advance(w, 44 * SH_SECOND);
	for (;; tries++) {
		m = phone_expect(bob, "*", 6 * SH_SECOND);
		if (m->m.method == SH_BYE)
			break;
		phone_reply(m, 500, NULL, NULL, NULL);
	}
	assert_in_range(tries, 2, 6);
	ok(m);
	ok(soon(alice, "BYE"));
	end();
}

/* ---- 422 ---- */

static void too_small_an_interval_is_422(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	phone_invite(alice, "sip:bob@example.org", TIMER(60), SDP_A);
	m = soon(alice, "422");
	phone_assert_header(m, "Min-SE", "90");
	phone_ack(m, NULL, NULL);
	m = answered(invite_of(TIMER(90)), NULL);
	phone_assert_header(m, "Session-Expires", "90;refresher=uac");
	phone_in_call(first_call(bob), "UPDATE", TIMER(30), NULL);
	phone_assert_header(soon(bob, "422 UPDATE"), "Min-SE", "90");
	hang_up(SH_CONTAINER(alice->calls.prev, struct phone_call, link), bob);
	end();
}

static void the_422_of_who_is_called_is_answered_with_a_longer_one(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	m = invite_of(NULL);
	phone_reply(m, 422, NULL, "Min-SE: 3600", NULL);
	soon(bob, "ACK");
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Session-Expires", "3600");
	phone_assert_header(m, "Min-SE", "3600");
	answered(m, "Session-Expires: 3600;refresher=uac\nRequire: timer\n" ALLOWS);
	phone_reply(phone_expect(bob, "UPDATE", 1801 * SH_SECOND), 422, NULL, "Min-SE: 4000", NULL);
	m = soon(bob, "UPDATE");
	phone_assert_header(m, "Session-Expires", "4000;refresher=uac");
	phone_assert_header(m, "Min-SE", "4000");
	phone_reply(m, 200, NULL, "Session-Expires: 4000;refresher=uac", NULL);
	bye();
}

static void a_422_twice_is_a_failure_like_any_other(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	m = invite_of(NULL);
	phone_reply(m, 422, NULL, "Min-SE: 3600", NULL);
	soon(bob, "ACK");
	phone_reply(soon(bob, "INVITE"), 422, NULL, "Min-SE: 3600", NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "422"), NULL, NULL);
	end();
}

/* A callee that always wants more would be called for ever. */
static void a_422_that_wants_ever_more_is_followed_twice(void **state)
{
	(void)state;
	begin(PLAN_BOB);
	phone_reply(invite_of(NULL), 422, NULL, "Min-SE: 3600", NULL);
	soon(bob, "ACK");
	phone_reply(soon(bob, "INVITE"), 422, NULL, "Min-SE: 3601", NULL);
	soon(bob, "ACK");
	phone_reply(soon(bob, "INVITE"), 422, NULL, "Min-SE: 3602", NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "422"), NULL, NULL);
	phone_expect_none(bob, "INVITE", SH_SECOND);
	end();
}

static void the_422_of_a_reinvite_is_not_for_who_sent_it(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_BOB);
	answered(invite_of(NULL), "Session-Expires: 1800;refresher=uac\nRequire: timer\n" ALLOWS);
	phone_reinvite(first_call(alice), NULL, SDP_HOLD);
	phone_reply(soon(bob, "INVITE"), 422, NULL, "Min-SE: 7200", NULL);
	soon(bob, "ACK");
	m = soon(alice, "500 INVITE");
	assert_non_null(phone_value(m, "Retry-After"));
	phone_ack(m, NULL, NULL);
	phone_reinvite(first_call(alice), NULL, SDP_HOLD);
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Session-Expires", "7200;refresher=uac");
	phone_reply(m, 200, NULL, "Session-Expires: 7200;refresher=uac", SDP_HELD);
	soon(bob, "ACK");
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	bye();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_supports_no_timer_hears_of_none),
		cmocka_unit_test(a_2xx_names_the_refresher_though_the_request_did_not),
		cmocka_unit_test(the_wish_of_who_asks_is_followed),
		cmocka_unit_test(who_can_but_does_not_ask_is_asked),
		cmocka_unit_test(who_does_not_do_it_is_refreshed_by_us_when_a_proxy_asks),
		cmocka_unit_test(who_is_called_refreshes_and_the_other_side_hears_nothing),
		cmocka_unit_test(we_refresh_who_is_called),
		cmocka_unit_test(a_reinvite_refreshes_too_and_keeps_the_role),
		cmocka_unit_test(a_refused_update_is_followed_by_a_reinvite),
		cmocka_unit_test(a_refresh_that_meets_another_offer_is_tried_again),
		cmocka_unit_test(without_a_refresh_of_theirs_both_are_hung_up),
		cmocka_unit_test(a_refresh_that_nobody_answers_ends_the_call),
		cmocka_unit_test(a_refresh_for_a_dialog_that_is_gone_ends_the_call),
		cmocka_unit_test(another_failure_is_tried_again_until_the_end),
		cmocka_unit_test(too_small_an_interval_is_422),
		cmocka_unit_test(the_422_of_who_is_called_is_answered_with_a_longer_one),
		cmocka_unit_test(a_422_twice_is_a_failure_like_any_other),
		cmocka_unit_test(a_422_that_wants_ever_more_is_followed_twice),
		cmocka_unit_test(the_422_of_a_reinvite_is_not_for_who_sent_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
