/* BYE in early dialogs (RFC 3261 15): it ends just that one, and the call only when there is no other. */
#include "b2bua_helpers.h"

#define BOTH PLAN("  local ok, res = call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 20})\n  if not ok then call:reject(res) end\n")

static struct phone_call *a;
static struct phone_msg *to_bob, *to_carol, *of_bob, *of_carol;

/* alice hears bob and carol ring, each in a dialog of its own. */
static void both_ring(void)
{
	begin(BOTH);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	to_bob = soon(bob, "INVITE");
	to_carol = soon(carol, "INVITE");
	phone_reply(to_bob, 180, NULL, NULL, NULL);
	of_bob = soon(alice, "180");
	phone_reply(to_carol, 180, NULL, NULL, NULL);
	of_carol = soon(alice, "180");
	assert_string_not_equal(tag_of(of_bob), tag_of(of_carol));
}

static void hangs_up_in(struct phone_msg *provisional)
{
	phone_follow(provisional);
	phone_bye(a);
	soon(alice, "200 BYE");
}

static void a_bye_in_one_of_two_ends_that_one(void **state)
{
	struct phone_msg *m;

	(void)state;
	both_ring();
	hangs_up_in(of_bob); /* the first one: that is the dialog which the call began with */
	is_cancelled(to_bob);
	phone_expect_none(alice, "*", 2 * SH_SECOND);
	phone_reply(to_carol, 200, NULL, NULL, SDP_C);
	soon(carol, "ACK");
	m = soon(alice, "200 INVITE");
	assert_string_equal(tag_of(m), tag_of(of_carol));
	phone_follow(m);
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(a, carol);
	end();
}

static void the_last_one_ends_the_call(void **state)
{
	(void)state;
	both_ring();
	hangs_up_in(of_carol);
	is_cancelled(to_carol);
	hangs_up_in(of_bob);
	is_cancelled(to_bob);
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	end();
}

/* Behind a proxy that forks: the branch goes on for the other phone, and this one is told by BYE. */
static void a_fork_further_on_gets_a_bye_for_that_phone(void **state)
{
	struct phone_msg *first, *second, *m;
	struct phone_call *one;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	one = m->call;
	phone_reply(m, 180, NULL, "To: <sip:bob@example.org>;tag=one", NULL);
	first = soon(alice, "180");
	phone_reply(m, 180, NULL, "To: <sip:bob@example.org>;tag=two", NULL);
	second = soon(alice, "180");
	assert_string_not_equal(tag_of(first), tag_of(second));
	hangs_up_in(second);
	struct phone_msg *bye = soon(bob, "BYE");
	phone_assert_contains(bye, "To", "tag=two");
	phone_reply(bye, 200, NULL, NULL, NULL);
	/* what of it is still on its way goes nowhere: not a sound, and not an answer */
	phone_reply(m, 183, NULL, "To: <sip:bob@example.org>;tag=two", SDP_B);
	phone_expect_none(alice, "*", SH_SECOND);
	phone_reply(m, 200, NULL, "To: <sip:bob@example.org>;tag=two\nContact: <sip:bob@10.0.0.3>", SDP_B);
	phone_assert_contains(soon(bob, "ACK"), "To", "tag=two");
	bye = soon(bob, "BYE");
	phone_assert_contains(bye, "To", "tag=two");
	phone_reply(bye, 200, NULL, NULL, NULL);
	phone_expect_none(alice, "*", SH_SECOND);
	/* and the other one answers */
	phone_reply(m, 200, NULL, "To: <sip:bob@example.org>;tag=one\nContact: <sip:bob@10.0.0.3>", SDP_B);
	phone_assert_contains(soon(bob, "ACK"), "To", "tag=one");
	m = soon(alice, "200 INVITE");
	assert_string_equal(tag_of(m), tag_of(first));
	phone_follow(m);
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	phone_bye(a);
	soon(alice, "200 BYE");
	ok(soon(bob, "BYE"));
	(void)one;
	end();
}

/* One tag for all: there is one early dialog, whoever rings in it. */
static void with_one_tag_for_all_it_ends_the_call(void **state)
{
	struct phone_msg *ringing;

	(void)state;
	begin(PLAN("  local ok, res = call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {tags = 'single'})\n  if not ok then call:reject(res) end\n"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	to_bob = soon(bob, "INVITE");
	to_carol = soon(carol, "INVITE");
	phone_reply(to_bob, 180, NULL, NULL, NULL);
	ringing = soon(alice, "180");
	phone_reply(to_carol, 180, NULL, NULL, NULL);
	soon(alice, "180");
	hangs_up_in(ringing);
	is_cancelled(to_bob);
	is_cancelled(to_carol);
	phone_ack(soon(alice, "487 INVITE"), NULL, NULL);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bye_in_one_of_two_ends_that_one),
		cmocka_unit_test(the_last_one_ends_the_call),
		cmocka_unit_test(a_fork_further_on_gets_a_bye_for_that_phone),
		cmocka_unit_test(with_one_tag_for_all_it_ends_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
