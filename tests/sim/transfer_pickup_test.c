/* INVITE with Replaces from outside (RFC 3891), and pickup (RFC 5359 2.15, 2.16): a call takes somebody's place in another. */
#include "transfer_helpers.h"

static struct phone *dave;

static void stage(void)
{
	begin(TRANSFER_PLAN);
	dave = world_phone(w, "dave", DAVE);
}

/* Replaces as the peer of that call would be told: its own tag is the to-tag when `theirs`. */
static const char *replaces_header(const struct phone_call *c, const char *more)
{
	static char text[512];

	snprintf(text, sizeof(text), "Replaces: %s;to-tag=%s;from-tag=%s%s\nRequire: replaces", c->id, c->remote_tag, c->local_tag, more);
	return text;
}

static void end_with_dave(void)
{
	world_settle(w, 300 * SH_SECOND);
	phone_expect_none(dave, "*", SH_SECOND);
	end();
}

/* bob and alice talk; dave takes bob's place. */
static void a_leg_that_talks_is_replaced(void **state)
{
	struct phone_call *d;
	struct phone_msg *m, *got;
	struct talk t;

	(void)state;
	stage();
	t = talk();
	d = phone_invite(dave, "sip:bob@example.org", replaces_header(t.b, ""), SDP("dave", DAVE, "7000"));
	m = soon(alice, "INVITE");
	phone_assert_body(m, SDP("dave", DAVE, "7000"));
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	got = soon(dave, "200");
	phone_assert_body(got, SDP_A);
	phone_expect_none(bob, "*", 100 * SH_MS); /* the old one goes when the new one is there */
	phone_ack(got, NULL, NULL);
	m = soon(bob, "BYE");
	phone_assert_contains(m, "Reason", "Replaced");
	ok(m);
	world_expect_log(w, "hangup bob by script 200 Picked up");
	phone_in_call(d, "INFO", NULL, NULL);
	ok(soon(alice, "INFO"));
	soon(dave, "200 INFO");
	hang_up(t.a, dave);
	end_with_dave();
}

static void without_an_offer_the_partner_makes_one(void **state)
{
	struct phone_msg *m, *got;
	struct talk t;

	(void)state;
	stage();
	t = talk();
	phone_invite(dave, "sip:alice@example.org", replaces_header(t.a, ""), NULL);
	m = soon(bob, "INVITE");
	phone_assert_body(m, "");
	phone_reply(m, 200, NULL, NULL, SDP_B);
	got = soon(dave, "200");
	phone_assert_body(got, SDP_B);
	phone_expect_none(bob, "ACK", 100 * SH_MS);
	phone_ack(got, NULL, SDP("dave", DAVE, "7000"));
	phone_assert_body(soon(bob, "ACK"), SDP("dave", DAVE, "7000"));
	ok(soon(alice, "BYE"));
	hang_up(t.b, dave);
	end_with_dave();
}

static void a_partner_that_refuses_keeps_its_call(void **state)
{
	struct talk t;

	(void)state;
	stage();
	t = talk();
	world_reload(w, PLAN("  local ok, res = call:pickup()\n  assert(not ok and res.code == 488)\n"));
	phone_invite(dave, "sip:bob@example.org", replaces_header(t.b, ""), SDP_C);
	phone_reply(soon(alice, "INVITE"), 488, NULL, NULL, NULL);
	soon(alice, "ACK");
	phone_ack(soon(dave, "488"), NULL, NULL);
	hang_up(t.a, bob);
	end_with_dave();
}

static void refused(const char *replaces, const char *code)
{
	struct phone_call *d = phone_invite(dave, "sip:bob@example.org", replaces, SDP_C);

	phone_ack(phone_expect_in(d, code, SH_SECOND), NULL, NULL);
}

/* RFC 3911: nobody mixes here. 488 for a call that there is, 481 for one that there is not, 420 to who insists. */
static void a_join_is_refused_by_what_it_names(void **state)
{
	char join[512];
	struct talk t;

	(void)state;
	begin(PLAN("  if call.join then\n    local ok, res = call:pickup()\n    assert(not ok, res.code)\n    return\n  end\n"
		   "  call:bridge(assert(call:fork({'sip:bob@10.0.0.3'})))\n"));
	dave = world_phone(w, "dave", DAVE);
	t = talk();
	snprintf(join, sizeof(join), "Join: %s;to-tag=%s;from-tag=%s", t.b->id, t.b->remote_tag, t.b->local_tag);
	refused(join, "488");
	refused("Join: nothing;to-tag=a;from-tag=b", "481");
	refused("Join: nothing;to-tag=a;from-tag=b\nRequire: join", "420");
	hang_up(t.a, bob); /* the call itself went on */
	end_with_dave();
}

static void a_replaces_that_names_nothing_is_481_and_a_bad_one_400(void **state)
{
	struct phone_msg *m;
	char own[256];
	struct talk t;

	(void)state;
	begin(PLAN("  if call.replaces then\n    local ok, res = call:pickup()\n    assert(not ok, res.code)\n    return\n  end\n"
		   "  call:dial({'sip:bob@10.0.0.3'})\n"));
	dave = world_phone(w, "dave", DAVE);
	t = ring();
	refused("Replaces: nothing;to-tag=a;from-tag=b", "481");
	refused("Replaces: nothing;to-tag=a", "400");
	refused("Replaces: x;to-tag=a;from-tag=b\nReplaces: y;to-tag=a;from-tag=b", "400");
	refused("Replaces: x;to-tag=a;from-tag=b\nJoin: y;to-tag=a;from-tag=b", "400");
	/* alice's own early dialog: she began it, and it cannot be replaced (RFC 3891 3) */
	phone_reply(t.invite, 183, NULL, NULL, NULL);
	m = soon(alice, "183");
	snprintf(own, sizeof(own), "Replaces: %s;to-tag=%.*s;from-tag=%s", t.a->id, (int)m->m.to_tag.len, m->text + m->m.to_tag.off, t.a->local_tag);
	refused(own, "481");
	phone_cancel(t.a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	is_cancelled(t.invite);
	end_with_dave();
}

static void early_only_spares_a_call_that_is_up(void **state)
{
	struct talk t;

	(void)state;
	begin(PLAN("  if call.replaces then\n    assert(call.replaces.early_only and call.replaces.call_id)\n    call:pickup()\n    return\n  end\n"
		   "  call:dial({'sip:bob@10.0.0.3'})\n"));
	dave = world_phone(w, "dave", DAVE);
	t = talk();
	refused(replaces_header(t.b, ";early-only"), "486");
	hang_up(t.a, bob);
	end_with_dave();
}

/* RFC 5359 2.16: bob's phone rings, dave answers. He knows the dialog from a lamp: as bob's phone would name it. */
static void rfc5359_2_16_call_pickup(void **state)
{
	struct phone_msg *m, *got;
	struct phone_call *d;
	struct talk t;

	(void)state;
	stage();
	t = ring();
	d = phone_invite(dave, "sip:bob@example.org", replaces_header(t.b, ";early-only"), SDP("dave", DAVE, "7000"));
	m = soon(bob, "CANCEL");
	phone_assert_contains(m, "Reason", "Call completed elsewhere");
	ok(m);
	phone_reply(t.invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	got = soon(dave, "200");
	phone_assert_body(got, SDP_A);
	phone_expect_none(alice, "*", 100 * SH_MS);
	phone_ack(got, NULL, NULL);
	got = soon(alice, "200");
	phone_assert_body(got, SDP("dave", DAVE, "7000"));
	phone_ack(got, NULL, NULL);
	phone_in_call(t.a, "INFO", NULL, NULL);
	ok(soon(dave, "INFO"));
	soon(alice, "200 INFO");
	phone_bye(d);
	soon(dave, "200 BYE");
	ok(soon(alice, "BYE"));
	world_expect_log(w, "hangup bob by script 200 Picked up");
	world_expect_log(w, "hangup bob by callee 200");
	end_with_dave();
}

static void who_picks_up_and_sends_no_ack_gives_it_back(void **state)
{
	struct phone_msg *got;
	struct talk t;

	(void)state;
	begin(PLAN("  if call.replaces then call:pickup() return end\n  local ok, res = call:dial({{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}})\n"
		   "  if not ok then call:reject(res) end\n"));
	dave = world_phone(w, "dave", DAVE);
	phone_auto(dave, PHONE_ABSORB);
	t = ring();
	phone_invite(dave, "sip:bob@example.org", replaces_header(t.b, ""), SDP_C);
	is_cancelled(t.invite);
	soon(dave, "200");
	ok(phone_expect(dave, "BYE", 40 * SH_SECOND));
	got = soon(carol, "INVITE"); /* the next group */
	phone_reply(got, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(phone_expect(alice, "4xx", SH_SECOND), NULL, NULL);
	end_with_dave();
}

static void the_caller_may_cancel_while_somebody_picks_up(void **state)
{
	struct phone_msg *got;
	struct talk t;

	(void)state;
	stage();
	t = ring();
	phone_invite(dave, "sip:bob@example.org", replaces_header(t.b, ""), SDP_C);
	is_cancelled(t.invite);
	got = soon(dave, "200");
	phone_cancel(t.a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	phone_ack(got, NULL, NULL);
	ok(soon(dave, "BYE"));
	end_with_dave();
}

/* *8 and the like: the script knows which call it is. */
static void a_call_is_picked_up_by_its_id(void **state)
{
	struct phone_msg *got;
	struct talk t;

	(void)state;
	begin("local sip = require 'siphook'\nlocal ringing = sip.shared('ringing')\nsip.domains{'example.org'}\n"
	      "sip.on.invite(function(call)\n"
	      "  if call.uri.user == '*8' then\n    local ok, res = call:pickup(ringing:get('bob'))\n"
	      "    if not ok then call:reject(res) end\n    return\n  end\n"
	      "  ringing:set('bob', call.id)\n  local ok, res = call:dial({'sip:bob@10.0.0.3'})\nend)\n");
	dave = world_phone(w, "dave", DAVE);
	t = ring();
	phone_invite(dave, "sip:*8@example.org", NULL, SDP_C);
	is_cancelled(t.invite);
	phone_ack(soon(dave, "200"), NULL, NULL);
	got = soon(alice, "200");
	phone_assert_body(got, SDP_C);
	phone_ack(got, NULL, NULL);
	hang_up(t.a, dave);
	/* there is no such call any more */
	phone_invite(dave, "sip:*8@example.org", NULL, SDP_C);
	phone_ack(soon(dave, "481"), NULL, NULL);
	end_with_dave();
}

/* RFC 5359 2.15: alice is parked at dave's (the park server): bob REFERs her there; carol retrieves her by Replaces. */
static void rfc5359_2_15_call_park_and_retrieval(void **state)
{
	struct phone_msg *m, *got;
	struct phone_call *parked;
	struct talk t;

	(void)state;
	stage();
	t = talk();
	refer(t.b, "Refer-To: <sip:dave@example.org>");
	NOTIFIED_TRYING(bob);
	m = soon(dave, "INVITE");
	parked = m->call;
	joined(m, SDP("dave", DAVE, "7000"), alice, SDP_A);
	NOTIFIED_LAST(bob, "200");
	phone_bye(t.b);
	soon(bob, "200 BYE");
	phone_invite(carol, "sip:dave@example.org", replaces_header(parked, ""), SDP_C);
	m = soon(alice, "INVITE");
	phone_assert_body(m, SDP_C);
	phone_reply(m, 200, NULL, NULL, SDP_A);
	soon(alice, "ACK");
	got = soon(carol, "200");
	phone_ack(got, NULL, NULL);
	ok(soon(dave, "BYE"));
	hang_up(t.a, carol);
	end_with_dave();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_leg_that_talks_is_replaced),
	    cmocka_unit_test(without_an_offer_the_partner_makes_one),
	    cmocka_unit_test(a_partner_that_refuses_keeps_its_call),
	    cmocka_unit_test(a_join_is_refused_by_what_it_names),
	    cmocka_unit_test(a_replaces_that_names_nothing_is_481_and_a_bad_one_400),
	    cmocka_unit_test(early_only_spares_a_call_that_is_up),
	    cmocka_unit_test(rfc5359_2_16_call_pickup),
	    cmocka_unit_test(who_picks_up_and_sends_no_ack_gives_it_back),
	    cmocka_unit_test(the_caller_may_cancel_while_somebody_picks_up),
	    cmocka_unit_test(a_call_is_picked_up_by_its_id),
	    cmocka_unit_test(rfc5359_2_15_call_park_and_retrieval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
