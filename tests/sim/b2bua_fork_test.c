/* Forks: parallel, one group after the other, time-outs, redirects, the tags that the caller sees. */
#include "b2bua_helpers.h"

#define FORK(targets, options)                                                                                         \
	PLAN("local leg, res = call:fork(" targets ", {" options "})\n"                                                \
	     "if leg then return call:bridge(leg) end\n"                                                               \
	     "sip.log.info('fork %d %s', res.code, res.cause)\n"                                                       \
	     "for _, b in ipairs(res.branches) do sip.log.info('branch %s %d', b.uri, b.code) end\n"                   \
	     "call:reject(res)\n")
#define BOTH "{'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}"

static struct phone_call *dial(void)
{
	return phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
}

static void refused(unsigned code)
{
	char what[16];

	snprintf(what, sizeof(what), "%u INVITE", code);
	phone_ack(soon(alice, what), NULL, NULL);
}

/* One of them takes the call; what alice is told. */
static struct phone_msg *answers_at(struct phone *p, struct phone_msg *invite, const char *sdp, const char *file, int line)
{
	struct phone_msg *answer;

	phone_reply(invite, 200, NULL, NULL, sdp);
	answer = phone_expect_at(alice, NULL, "200", SH_SECOND, file, line);
	phone_ack(answer, NULL, NULL);
	phone_expect_at(p, NULL, "ACK", SH_SECOND, file, line);
	return answer;
}
#define answers(p, invite, sdp) answers_at((p), (invite), (sdp), __FILE__, __LINE__)

static void the_first_2xx_wins_and_the_others_are_cancelled(void **state)
{
	struct phone_msg *b, *c, *answer, *cancel;
	struct phone_call *a;

	(void)state;
	begin(FORK(BOTH, ""));
	a = dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	assert_string_not_equal(value(b, "Call-ID"), value(c, "Call-ID"));
	phone_reply(b, 180, NULL, NULL, NULL);
	phone_reply(c, 180, NULL, NULL, NULL);
	soon(alice, "180");
	soon(alice, "180");
	phone_reply(c, 200, NULL, NULL, SDP_C);
	answer = soon(alice, "200");
	phone_assert_body(answer, SDP_C);
	phone_ack(answer, NULL, NULL);
	soon(carol, "ACK");
	cancel = soon(bob, "CANCEL");
	phone_assert_header(cancel, "Reason", "SIP;cause=200;text=\"Call completed elsewhere\"");
	ok(cancel);
	phone_reply(b, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	hang_up(a, carol);
	end();
}

static void two_answers_that_cross(void **state)
{
	struct phone_msg *b, *c, *answer;
	struct phone_call *a;

	(void)state;
	begin(FORK(BOTH, ""));
	a = dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 200, NULL, NULL, SDP_B);
	phone_reply(c, 200, NULL, NULL, SDP_C);
	answer = soon(alice, "200");
	phone_assert_body(answer, SDP_B);
	phone_ack(answer, NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "ACK");
	ok(soon(carol, "BYE"));
	phone_expect_none(alice, "*", SH_SECOND);
	hang_up(a, bob);
	end();
}

static void each_branch_has_a_tag_of_its_own(void **state)
{
	struct phone_msg *b, *c, *first, *second, *again, *answer;
	struct phone_call *a;

	(void)state;
	begin(FORK(BOTH, ""));
	a = dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	first = soon(alice, "180");
	phone_reply(c, 183, NULL, NULL, SDP_C);
	second = soon(alice, "183");
	assert_string_not_equal(tag_of(first), tag_of(second));
	phone_reply(b, 183, NULL, NULL, SDP_B);
	again = soon(alice, "183");
	assert_string_equal(tag_of(first), tag_of(again));
	phone_reply(c, 200, NULL, NULL, SDP_C);
	answer = soon(alice, "200");
	assert_string_equal(tag_of(answer), tag_of(second));
	phone_ack(answer, NULL, NULL);
	soon(carol, "ACK");
	is_cancelled(b);
	phone_follow(answer);
	hang_up(a, carol);
	end();
}

static void a_silent_winner_does_not_take_the_tag_of_another_branch(void **state)
{
	struct phone_msg *b, *c, *ringing, *answer;
	struct phone_call *a;

	(void)state;
	begin(FORK(BOTH, ""));
	a = dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	ringing = soon(alice, "180");
	phone_reply(c, 200, NULL, NULL, SDP_C);
	answer = soon(alice, "200");
	assert_string_not_equal(tag_of(ringing), tag_of(answer));
	phone_ack(answer, NULL, NULL);
	soon(carol, "ACK");
	is_cancelled(b);
	hang_up(a, carol);
	end();
}

static void one_tag_for_all_when_asked_for(void **state)
{
	struct phone_msg *b, *c, *first, *answer;
	struct phone_call *a;

	(void)state;
	begin(FORK(BOTH, "tags = 'single'"));
	a = dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	first = soon(alice, "180");
	phone_reply(c, 180, NULL, NULL, NULL);
	assert_string_equal(tag_of(soon(alice, "180")), tag_of(first));
	phone_reply(c, 200, NULL, NULL, SDP_C);
	answer = soon(alice, "200");
	assert_string_equal(tag_of(answer), tag_of(first));
	phone_ack(answer, NULL, NULL);
	soon(carol, "ACK");
	is_cancelled(b);
	hang_up(a, carol);
	end();
}

static void groups_are_tried_one_after_the_other(void **state)
{
	struct phone_msg *b, *c, *answer;
	struct phone_call *a;
	uint64_t start;

	(void)state;
	begin(FORK("{{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}", "timeout = 20"));
	start = sh_sim_now(w->sim);
	a = dial();
	b = soon(bob, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_expect_none(carol, "*", 19 * SH_SECOND);
	c = phone_expect(carol, "INVITE", 2 * SH_SECOND);
	assert_in_range(c->at - start, 20 * SH_SECOND, 20 * SH_SECOND + 100 * SH_MS);
	is_cancelled(b);
	answer = answers(carol, c, SDP_C);
	phone_follow(answer);
	hang_up(a, carol);
	end();
}

static void nobody_answers_within_the_time(void **state)
{
	struct phone_msg *b;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", "timeout = 20"));
	dial();
	b = soon(bob, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	world_advance(w, 20 * SH_SECOND);
	refused(408);
	is_cancelled(b);
	world_expect_log(w, "fork 408 no_answer");
	world_expect_log(w, "branch sip:bob@10.0.0.3 408");
	end();
}

static void a_dead_trunk_fails_over_after_four_seconds(void **state)
{
	struct phone_msg *c;
	struct phone_call *a;
	uint64_t start;

	(void)state;
	begin(FORK("{{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}", "timeout = 20"));
	phone_auto(bob, PHONE_ABSORB);
	start = sh_sim_now(w->sim);
	a = dial();
	soon(bob, "INVITE"); /* and not a word of his */
	soon(alice, "100");
	c = phone_expect(carol, "INVITE", 5 * SH_SECOND);
	assert_in_range(c->at - start, 4 * SH_SECOND, 4 * SH_SECOND + 100 * SH_MS);
	answers(carol, c, SDP_C);
	hang_up(a, carol);
	end();
}

static void a_port_that_nobody_listens_on_fails_at_once(void **state)
{
	struct phone_msg *c;

	(void)state;
	begin(FORK("{{'sip:bob@10.0.0.3:5099'}, {'sip:bob@10.0.0.3:5099;transport=tcp'}, {'sip:carol@10.0.0.4'}}", ""));
	dial();
	c = soon(carol, "INVITE");
	phone_reply(c, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(486);
	world_expect_log(w, "fork 486 busy");
	world_expect_log(w, "branch sip:bob@10.0.0.3:5099 503");
	world_expect_log(w, "branch sip:bob@10.0.0.3:5099;transport=tcp 503");
	end();
}

static void when_nobody_was_there_the_cause_says_so(void **state)
{
	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3:5099'}", ""));
	dial();
	refused(500);
	world_expect_log(w, "unreachable");
	end();
}

static void a_6xx_ends_all_groups(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin(FORK("{{'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {'sip:bob2@10.0.0.3'}}", ""));
	dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_reply(c, 603, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(603);
	is_cancelled(b);
	world_expect_log(w, "fork 603 declined");
	end();
}

static void a_6xx_can_be_ignored(void **state)
{
	struct phone_msg *b;

	(void)state;
	begin(FORK("{{'sip:bob@10.0.0.3'}, {'sip:bob2@10.0.0.3'}}", "ignore_6xx = true"));
	dial();
	phone_reply(soon(bob, "INVITE"), 603, NULL, NULL, NULL);
	soon(bob, "ACK");
	b = soon(bob, "INVITE");
	assert_string_equal(uri_of(b), "sip:bob2@10.0.0.3");
	phone_reply(b, 603, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(603);
	end();
}

static void the_best_failure_is_reported(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin(FORK(BOTH, ""));
	dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 500, NULL, NULL, NULL);
	phone_reply(c, 486, "Busy here", NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "ACK");
	refused(486);
	world_expect_log(w, "fork 486 busy");
	world_expect_log(w, "branch sip:bob@10.0.0.3 500");
	end();
}

static void redirects_are_followed_when_asked_for(void **state)
{
	struct phone_msg *c;
	struct phone_call *a;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3', 'sip:nobody@10.0.0.3:5098'}", "follow_redirects = 2"));
	a = dial();
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:carol@10.0.0.4>, <sip:bob@10.0.0.3>", NULL);
	soon(bob, "ACK");
	c = soon(carol, "INVITE");
	assert_string_equal(uri_of(c), "sip:carol@10.0.0.4");
	phone_expect_none(bob, "INVITE", 100 * SH_MS); /* he was asked already */
	answers(carol, c, SDP_C);
	hang_up(a, carol);
	end();
}

static void redirects_are_passed_back_otherwise(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", ""));
	dial();
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:carol@10.0.0.4>", NULL);
	soon(bob, "ACK");
	m = soon(alice, "302");
	phone_assert_header(m, "Contact", "<sip:carol@10.0.0.4>");
	phone_ack(m, NULL, NULL);
	world_expect_log(w, "fork 302 redirected");
	end();
}

static void redirects_come_to_an_end(void **state)
{
	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", "follow_redirects = 2"));
	dial();
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:b1@10.0.0.3>", NULL);
	soon(bob, "ACK");
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:b2@10.0.0.3>", NULL);
	soon(bob, "ACK");
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:b3@10.0.0.3>", NULL);
	soon(bob, "ACK");
	refused(302);
	end();
}

static void a_branch_may_start_later(void **state)
{
	struct phone_msg *b, *c;
	uint64_t start;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3', {uri = 'sip:carol@10.0.0.4', delay = 5}}", ""));
	start = sh_sim_now(w->sim);
	dial();
	b = soon(bob, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	c = phone_expect(carol, "INVITE", 10 * SH_SECOND);
	assert_in_range(c->at - start, 5 * SH_SECOND, 5 * SH_SECOND + 100 * SH_MS);
	phone_reply(c, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_reply(b, 480, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(486);
	end();
}

static void timer_c_ends_endless_ringing(void **state)
{
	struct phone_msg *b;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", ""));
	dial();
	b = soon(bob, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_expect_none(bob, "*", 179 * SH_SECOND);
	ok(phone_expect(bob, "CANCEL", 2 * SH_SECOND));
	phone_reply(b, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(408);
	end();
}

/* RFC 3261 16.7 step 2: each provisional answer but 100 starts it again. */
static void a_callee_who_says_so_may_ring_longer_than_timer_c(void **state)
{
	struct phone_msg *b;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", ""));
	dial();
	b = soon(bob, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_expect_none(bob, "*", 120 * SH_SECOND);
	phone_reply(b, 180, NULL, NULL, NULL);
	world_advance(w, SH_SECOND);
	phone_expect_none(bob, "*", 178 * SH_SECOND);
	ok(phone_expect(bob, "CANCEL", 2 * SH_SECOND));
	phone_reply(b, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(alice, "180");
	refused(408);
	end();
}

/* RFC 5393 5.3.3: what the caller's has left is shared out; a single branch of a caller who says nothing has none. */
static void max_breadth_is_shared_out_between_branches(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin(FORK(BOTH, ""));
	dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_assert_header(b, "Max-Breadth", "30");
	phone_assert_header(c, "Max-Breadth", "30");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_reply(c, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(486);
	phone_invite(alice, "sip:bob@example.org", "Max-Breadth: 5", SDP_A);
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_assert_header(b, "Max-Breadth", "2");
	phone_assert_header(c, "Max-Breadth", "2");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_reply(c, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(486);
	end();
}

static void a_single_branch_says_what_the_caller_said(void **state)
{
	struct phone_msg *b;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", ""));
	dial();
	b = soon(bob, "INVITE");
	phone_assert_header(b, "Max-Breadth", NULL);
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(486);
	phone_invite(alice, "sip:bob@example.org", "Max-Breadth: 7", SDP_A);
	b = soon(bob, "INVITE");
	phone_assert_header(b, "Max-Breadth", "7");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(486);
	end();
}

static void branches_beyond_max_breadth_fail_with_440(void **state)
{
	(void)state;
	begin(FORK(BOTH, ""));
	phone_invite(alice, "sip:bob@example.org", "Max-Breadth: 1", SDP_A);
	refused(440);
	world_expect_log(w, "branch sip:carol@10.0.0.4 440");
	phone_invite(alice, "sip:bob@example.org", "Max-Breadth: 0", SDP_A);
	refused(440);
	end();
}

/* A dial plan that forks to itself twice: the whole circle has at most as many branches as were left at its beginning. */
static void a_circle_of_forks_dies_out(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\nlocal n = 0\n"
	      "sip.on.invite(function(call)\n  n = n + 1\n  sip.log.info('seen %d', n)\n"
	      "  local leg, res = call:fork({'sip:a@10.0.0.1', 'sip:b@10.0.0.1'})\n  call:reject(res)\nend)\n");
	dial();
	m = phone_expect(alice, "4xx INVITE", 100 * SH_SECOND);
	phone_ack(m, NULL, NULL);
	world_expect_log(w, "seen 50");
	assert_false(world_has_log(w, "seen 200"));
	end();
}

static void registered_contacts_are_tried_by_q(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.register(function(req) req:register{} end)\n"
	      "sip.on.invite(function(call)\n"
	      "  local ok, res = call:dial(sip.lookup(call.uri))\n"
	      "  if not ok then call:reject(res) end\nend)\n");
	phone_identity(carol, "bob", "example.org"); /* two phones of bob */
	phone_request(bob, "REGISTER", "sip:example.org", "Contact: <sip:bob@10.0.0.3:5060>;q=0.5", NULL);
	soon(bob, "200");
	phone_request(carol, "REGISTER", "sip:example.org", "Contact: <sip:bob@10.0.0.4:5060>;q=0.9", NULL);
	soon(carol, "200");
	dial();
	c = soon(carol, "INVITE");
	phone_reply(c, 480, NULL, NULL, NULL);
	soon(carol, "ACK");
	b = soon(bob, "INVITE");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(486);
	phone_invite(alice, "sip:nobody@example.org", NULL, SDP_A);
	refused(480);
	end();
}

static void a_leg_that_is_not_bridged_is_hung_up(void **state)
{
	struct phone_msg *b;

	(void)state;
	begin(PLAN("local leg = call:fork{'sip:bob@10.0.0.3'}\nsip.log.info('leg %s', leg.state)\ncall:reject(480)\n"));
	dial();
	b = soon(bob, "INVITE");
	phone_reply(b, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	ok(soon(bob, "BYE"));
	refused(480);
	world_expect_log(w, "leg up");
	end();
}

/* ---- what the script hears of branches ---- */

static void on_branch_hears_of_every_branch(void **state)
{
	struct phone_msg *b, *c, *answer;
	struct phone_call *a;

	(void)state;
	begin(FORK(BOTH, "on_branch = function(leg, event, res)\n"
			 "  sip.log.info('%s %s %d', res.branches[1].uri, event, res.code) end"));
	a = dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	phone_reply(c, 183, NULL, NULL, SDP_C);
	soon(alice, "180");
	soon(alice, "183");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	answer = answers(carol, c, SDP_C);
	world_advance(w, 10 * SH_MS);
	assert_true(world_has_log(w, "sip:bob@10.0.0.3 trying 0"));
	assert_true(world_has_log(w, "sip:bob@10.0.0.3 ringing 180"));
	assert_true(world_has_log(w, "sip:bob@10.0.0.3 failed 486"));
	assert_true(world_has_log(w, "sip:carol@10.0.0.4 early 183"));
	assert_true(world_has_log(w, "sip:carol@10.0.0.4 answered 200"));
	phone_follow(answer);
	hang_up(a, carol);
	end();
}

static void on_branch_may_end_a_branch(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin(FORK(BOTH, "on_branch = function(leg, event, res)\n"
			 "  if event == 'early' then leg:hangup() end\n"
			 "  if event == 'ringing' then sip.sleep(1) leg:hangup() end\n"
			 "  sip.log.info('%s %s', event, leg.uri or 'gone') end"));
	dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 183, NULL, NULL, SDP_B);
	soon(alice, "183");
	is_cancelled(b);
	phone_reply(c, 180, NULL, NULL, NULL);
	soon(alice, "180");
	ok(phone_expect(carol, "CANCEL", 2 * SH_SECOND));
	phone_reply(c, 487, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(487);
	assert_true(world_has_log(w, "cancelled"));
	assert_true(world_has_log(w, "fork 487 no_answer"));
	end();
}

static void on_branch_is_a_function(void **state)
{
	(void)state;
	begin(FORK(BOTH, "on_branch = 'me'"));
	dial();
	refused(500);
	world_expect_log(w, "option 'on_branch': function expected, got string");
	w->forgiving = true; /* the traceback */
	end();
}

static void a_reload_does_not_take_on_branch_away(void **state)
{
	struct phone_msg *b, *c;

	(void)state;
	begin(FORK(BOTH, "timeout = 5, on_branch = function(leg, event, res) sip.log.info('heard %s', event) end"));
	dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	world_reload(w, PLAN("call:reject(603)\n"));
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	assert_true(world_has_log(w, "heard ringing"));
	phone_reply(b, 486, NULL, NULL, NULL);
	phone_reply(c, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	soon(carol, "ACK");
	refused(486);
	world_advance(w, 10 * SH_MS);
	assert_true(world_has_log(w, "heard failed"));
	end();
}

/* ---- 199 (RFC 6228) ---- */

static void a_branch_that_fails_is_told_with_199(void **state)
{
	struct phone_msg *b, *c, *ringing, *gone;

	(void)state;
	begin(FORK(BOTH, ""));
	phone_invite(alice, "sip:bob@example.org", "Supported: 199", SDP_A);
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_assert_contains(b, "Supported", "199");
	phone_reply(b, 183, NULL, NULL, SDP_B);
	ringing = soon(alice, "183");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	gone = soon(alice, "199");
	assert_string_equal(tag_of(ringing), tag_of(gone));
	phone_assert_header(gone, "Reason", "SIP;cause=486;text=\"Busy Here\"");
	phone_assert_body(gone, "");
	phone_reply(c, 480, NULL, NULL, NULL); /* it was never heard of */
	soon(carol, "ACK");
	refused(486);
	end();
}

static void a_199_from_further_on_is_passed_with_its_tag(void **state)
{
	struct phone_msg *b, *one, *two, *gone;
	struct phone_call *a;

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", ""));
	a = phone_invite(alice, "sip:bob@example.org", "Supported: 199", SDP_A);
	b = soon(bob, "INVITE");
	phone_reply(b, 180, NULL, "To: <sip:bob@example.org>;tag=one", NULL);
	one = soon(alice, "180");
	phone_reply(b, 183, NULL, "To: <sip:bob@example.org>;tag=two", SDP_B);
	two = soon(alice, "183");
	assert_string_not_equal(tag_of(one), tag_of(two));
	phone_reply(b, 199, NULL, "To: <sip:bob@example.org>;tag=one\nReason: SIP;cause=486", NULL);
	gone = soon(alice, "199");
	assert_string_equal(tag_of(one), tag_of(gone));
	phone_assert_contains(gone, "Reason", "cause=486");
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	refused(487);
	is_cancelled(b);
	end();
}

/* A callee that invents To tags would have as many dialogs here as it likes. */
static void ever_new_tags_of_one_branch_make_no_more_than_sixteen_dialogs(void **state)
{
	struct phone_msg *b, *m;
	struct phone_call *a;
	char to[64];

	(void)state;
	begin(FORK("{'sip:bob@10.0.0.3'}", ""));
	a = dial();
	b = soon(bob, "INVITE");
	for (unsigned i = 0; i < 40; i++) {
		snprintf(to, sizeof(to), "To: <sip:bob@example.org>;tag=t%u", i);
		phone_reply(b, 180, NULL, to, NULL);
		if (i < 16)
			soon(alice, "180");
		else
			phone_expect_none(alice, "*", 10 * SH_MS);
	}
	phone_reply(b, 180, NULL, "To: <sip:bob@example.org>;tag=t3", NULL); /* those that there are go on */
	soon(alice, "180");
	phone_reply(b, 200, NULL, "To: <sip:bob@example.org>;tag=t30", SDP_B); /* and an answer counts, whoever gives it */
	m = soon(alice, "200");
	phone_assert_body(m, SDP_B);
	phone_ack(m, NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 10 * SH_MS);
	hang_up(a, bob);
	end();
}

static void who_does_not_know_199_gets_none(void **state)
{
	struct phone_msg *b;

	(void)state;
	begin(FORK("{{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}", ""));
	dial();
	b = soon(bob, "INVITE");
	phone_reply(b, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_expect_none(alice, "199", 100 * SH_MS);
	phone_reply(soon(carol, "INVITE"), 404, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(486);
	end();
}

/* ---- media of the first ---- */

static void when_the_first_media_end_another_branch_may_have_its_turn(void **state)
{
	struct phone_msg *b, *c, *m;

	(void)state;
	begin(FORK(BOTH, "early = 'first'"));
	dial();
	b = soon(bob, "INVITE");
	c = soon(carol, "INVITE");
	phone_reply(b, 183, NULL, NULL, SDP_B);
	phone_assert_body(soon(alice, "183"), SDP_B);
	phone_reply(c, 183, NULL, NULL, SDP_C);
	m = soon(alice, "180");
	phone_assert_body(m, "");
	phone_reply(b, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_reply(c, 183, NULL, NULL, SDP_C);
	phone_assert_body(soon(alice, "183"), SDP_C);
	phone_reply(c, 480, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(486);
	end();
}

/* ---- redirects ---- */

static void contacts_of_a_redirect_are_tried_by_their_q(void **state)
{
	struct phone *dave;
	struct phone_msg *m;

	(void)state;
	begin(FORK("{{'sip:bob@10.0.0.3'}, {'sip:late@10.0.0.3'}}", "follow_redirects = 1"));
	dave = world_phone(w, "dave", DAVE);
	dial();
	m = soon(bob, "INVITE");
	phone_reply(m, 302, NULL, "Contact: <sip:dave@10.0.0.5>;q=0.3, <sip:carol@10.0.0.4>;q=0.75, <sip:carol@10.0.0.4>;q=0.1", NULL);
	soon(bob, "ACK");
	phone_reply(soon(carol, "INVITE"), 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_reply(soon(dave, "INVITE"), 486, NULL, NULL, NULL);
	soon(dave, "ACK");
	m = soon(bob, "INVITE"); /* what the script had behind it */
	assert_string_equal(uri_of(m), "sip:late@10.0.0.3");
	phone_reply(m, 404, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(486);
	phone_expect_none(carol, "*", SH_SECOND);
	end();
}

/* A phone that says "ringing" without end: the caller hears enough of it, and the answer. */
static void a_phone_that_chatters_is_not_relayed_without_limit(void **state)
{
	struct phone_msg *invite, *m;
	struct phone_call *a;

	(void)state;
	begin(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	for (unsigned i = 0; i < 500; i++)
		phone_reply(invite, 180, NULL, NULL, NULL);
	world_advance(w, SH_SECOND / 2);
	assert_in_range(phone_count(alice, "180"), 1, 128);
	SH_LIST_EACH (l, &alice->log)
		SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
	world_advance(w, 2 * SH_SECOND);
	phone_reply(invite, 183, NULL, NULL, SDP_B); /* what is said later is heard */
	soon(alice, "183");
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	soon(bob, "ACK");
	m = phone_expect_in(a, "200 INVITE", SH_SECOND);
	phone_ack(m, NULL, NULL);
	world_advance(w, 10 * SH_MS);
	hang_up(a, bob);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(on_branch_hears_of_every_branch),
		cmocka_unit_test(on_branch_may_end_a_branch),
		cmocka_unit_test(on_branch_is_a_function),
		cmocka_unit_test(a_reload_does_not_take_on_branch_away),
		cmocka_unit_test(a_branch_that_fails_is_told_with_199),
		cmocka_unit_test(a_199_from_further_on_is_passed_with_its_tag),
		cmocka_unit_test(ever_new_tags_of_one_branch_make_no_more_than_sixteen_dialogs),
		cmocka_unit_test(who_does_not_know_199_gets_none),
		cmocka_unit_test(when_the_first_media_end_another_branch_may_have_its_turn),
		cmocka_unit_test(contacts_of_a_redirect_are_tried_by_their_q),
	    cmocka_unit_test(the_first_2xx_wins_and_the_others_are_cancelled),
	    cmocka_unit_test(two_answers_that_cross),
	    cmocka_unit_test(each_branch_has_a_tag_of_its_own),
	    cmocka_unit_test(a_silent_winner_does_not_take_the_tag_of_another_branch),
	    cmocka_unit_test(one_tag_for_all_when_asked_for),
	    cmocka_unit_test(groups_are_tried_one_after_the_other),
	    cmocka_unit_test(nobody_answers_within_the_time),
	    cmocka_unit_test(a_dead_trunk_fails_over_after_four_seconds),
	    cmocka_unit_test(a_port_that_nobody_listens_on_fails_at_once),
	    cmocka_unit_test(when_nobody_was_there_the_cause_says_so),
	    cmocka_unit_test(a_6xx_ends_all_groups),
	    cmocka_unit_test(a_6xx_can_be_ignored),
	    cmocka_unit_test(the_best_failure_is_reported),
	    cmocka_unit_test(redirects_are_followed_when_asked_for),
	    cmocka_unit_test(redirects_are_passed_back_otherwise),
	    cmocka_unit_test(redirects_come_to_an_end),
	    cmocka_unit_test(a_branch_may_start_later),
	    cmocka_unit_test(timer_c_ends_endless_ringing),
	    cmocka_unit_test(a_callee_who_says_so_may_ring_longer_than_timer_c),
	    cmocka_unit_test(max_breadth_is_shared_out_between_branches),
	    cmocka_unit_test(a_single_branch_says_what_the_caller_said),
	    cmocka_unit_test(branches_beyond_max_breadth_fail_with_440),
	    cmocka_unit_test(a_circle_of_forks_dies_out),
	    cmocka_unit_test(registered_contacts_are_tried_by_q),
	    cmocka_unit_test(a_leg_that_is_not_bridged_is_hung_up),
		cmocka_unit_test(a_phone_that_chatters_is_not_relayed_without_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
