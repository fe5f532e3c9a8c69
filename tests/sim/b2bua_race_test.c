/* The race explorer: two things that cross, shifted one against the other in small steps around the point where they
 * meet. Whoever comes first: both legs end, every INVITE is answered exactly once, nothing is left. */
#include "b2bua_habits.h"

#include <stdlib.h>

static struct habits ha, hb, hc;
static struct phone_call *a;

struct pair {
	const char *name, *plan;
	void (*before)(void); /* sets the stage: from here both are due */
	void (*first)(void), (*second)(void);
	struct habits alice, bob;
};

/* ---- stages ---- */

static void rings(void)
{
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
}

static void talks(void)
{
	hb.answer = true;
	rings();
	world_advance(w, SH_SECOND);
}

static void alice_held_and_bob_thinks(void)
{
	talks();
	hb.hesitant = true;
	phone_reinvite(a, NULL, SDP_HOLD);
	world_advance(w, 100 * SH_MS);
}

static void alice_asks_for_an_offer_and_bob_thinks(void)
{
	talks();
	hb.hesitant = true;
	phone_reinvite(a, NULL, NULL);
	world_advance(w, 100 * SH_MS);
}

static void rings_for_20_seconds(void)
{
	rings();
	world_advance(w, 20 * SH_SECOND - 25 * SH_MS);
}

static void is_silent_for_4_seconds(void)
{
	rings();
	world_advance(w, 4 * SH_SECOND - 25 * SH_MS);
}

static void talks_for_5_seconds(void)
{
	hb.answer = true;
	rings();
	world_advance(w, 5 * SH_SECOND - 25 * SH_MS);
}

static void rings_by_tcp(void)
{
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	rings();
}

/* ---- things that happen ---- */

static void nothing(void)
{
}

static void alice_cancels(void)
{
	if (a->invite && !final_answer(a->invite))
		phone_cancel(a, NULL);
}

static struct phone_call *call_of_bob(void)
{
	return sh_list_empty(&bob->calls) ? NULL : SH_CONTAINER(bob->calls.next, struct phone_call, link);
}

static void bob_says(unsigned code, const char *sdp)
{
	struct phone_msg *m = open_invite(bob);

	if (m)
		phone_reply(m, code, NULL, NULL, sdp);
}

static void bob_answers(void)
{
	bob_says(200, SDP_B);
}

static void bob_rings(void)
{
	bob_says(180, NULL);
}

static void bob_has_early_media(void)
{
	bob_says(183, SDP_B);
}

static void bob_is_busy(void)
{
	bob_says(486, NULL);
}

static void bob_redirects(void)
{
	struct phone_msg *m = open_invite(bob);

	if (m)
		phone_reply(m, 302, NULL, "Contact: <sip:carol@10.0.0.4>", NULL);
}

static void carol_answers(void)
{
	struct phone_msg *m = open_invite(carol);

	if (m)
		phone_reply(m, 200, NULL, NULL, SDP_C);
}

static void alice_leaves(void)
{
	if (!has_bye(a) && a->remote_tag)
		phone_bye(a);
}

static void bob_leaves(void)
{
	struct phone_call *b = call_of_bob();

	if (b && b->confirmed && !has_bye(b))
		phone_bye(b);
}

static void alice_reinvites(void)
{
	if (!has_bye(a))
		phone_reinvite(a, NULL, SDP_HOLD);
}

static void bob_reinvites(void)
{
	if (call_of_bob() && !has_bye(call_of_bob()))
		phone_reinvite(call_of_bob(), NULL, SDP_HELD);
}

static void bob_reinvites_without_offer(void)
{
	if (call_of_bob() && !has_bye(call_of_bob()))
		phone_reinvite(call_of_bob(), NULL, NULL);
}

static void alice_informs(void)
{
	if (!has_bye(a))
		phone_in_call(a, "INFO", NULL, NULL);
}

static void alices_connection_breaks(void)
{
	phone_hang_up_connections(alice);
}

static void we_drain(void)
{
	sh_ua_drain(w->ua[0], 0);
}

static void script_changes(void)
{
	world_reload(w, PLAN("call:reject(603)\n"));
}

#define DIAL   PLAN_BOB
#define GROUPS PLAN("call:dial({{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}, {timeout = 20})\n")
#define BOTH   PLAN("call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 20})\n")
#define FOLLOW PLAN("call:dial({'sip:bob@10.0.0.3'}, {timeout = 20, follow_redirects = 1})\n")
#define SHORT                                                                                                          \
	PLAN("local leg = call:fork({'sip:bob@10.0.0.3'}, {timeout = 20})\n"                                           \
	     "if leg then call:bridge(leg, {max_duration = 5}) end\n")
#define HANGS_UP                                                                                                       \
	PLAN("local leg = call:fork({'sip:bob@10.0.0.3'}, {timeout = 20})\n"                                           \
	     "if leg then sip.sleep(0.025) call:bridge(leg) end\n")

#define RINGS {.ring = true, .sdp = SDP_B}
#define MUTE  {.sdp = SDP_B}
#define PLAIN {.sdp = SDP_A}
#define NOACK {.sdp = SDP_A, .leaves_acks = true}

static const struct pair pairs[] = {
	{"CANCEL / 200", DIAL, rings, alice_cancels, bob_answers, PLAIN, RINGS},
	{"CANCEL / 200, no 180", DIAL, rings, alice_cancels, bob_answers, PLAIN, MUTE},
	{"CANCEL / 180", DIAL, rings, alice_cancels, bob_rings, PLAIN, MUTE},
	{"CANCEL / 183", DIAL, rings, alice_cancels, bob_has_early_media, PLAIN, RINGS},
	{"CANCEL / 486", DIAL, rings, alice_cancels, bob_is_busy, PLAIN, RINGS},
	{"CANCEL / 302", FOLLOW, rings, alice_cancels, bob_redirects, PLAIN, RINGS},
	{"CANCEL / failover", GROUPS, rings, alice_cancels, bob_is_busy, PLAIN, RINGS},
	{"CANCEL / bridge later", HANGS_UP, rings, alice_cancels, bob_answers, PLAIN, RINGS},
	{"early BYE / 200", DIAL, rings, alice_leaves, bob_answers, PLAIN, RINGS},
	{"early BYE / 486", DIAL, rings, alice_leaves, bob_is_busy, PLAIN, RINGS},
	{"200 / 200 of two branches", BOTH, rings, bob_answers, carol_answers, PLAIN, RINGS},
	{"CANCEL / 200 of two branches", BOTH, rings, alice_cancels, carol_answers, PLAIN, RINGS},
	{"200 / time-out of the group", GROUPS, rings_for_20_seconds, bob_answers, nothing, PLAIN, RINGS},
	{"CANCEL / time-out of the group", GROUPS, rings_for_20_seconds, alice_cancels, nothing, PLAIN, RINGS},
	{"180 / first time-out", GROUPS, is_silent_for_4_seconds, bob_rings, nothing, PLAIN, MUTE},
	{"200 / first time-out", GROUPS, is_silent_for_4_seconds, bob_answers, nothing, PLAIN, MUTE},
	{"BYE / BYE", DIAL, talks, alice_leaves, bob_leaves, PLAIN, RINGS},
	{"BYE / re-INVITE", DIAL, talks, alice_leaves, bob_reinvites, PLAIN, RINGS},
	{"re-INVITE / BYE", DIAL, talks, alice_reinvites, bob_leaves, PLAIN, RINGS},
	{"re-INVITE / re-INVITE", DIAL, talks, alice_reinvites, bob_reinvites, PLAIN, RINGS},
	{"re-INVITE / offerless re-INVITE", DIAL, talks, alice_reinvites, bob_reinvites_without_offer, PLAIN, RINGS},
	{"BYE / offerless re-INVITE", DIAL, talks, alice_leaves, bob_reinvites_without_offer, PLAIN, RINGS},
	{"BYE / 200 of own re-INVITE", DIAL, alice_held_and_bob_thinks, alice_leaves, bob_answers, PLAIN, RINGS},
	{"BYE / 200 of own offerless re-INVITE", DIAL, alice_asks_for_an_offer_and_bob_thinks, alice_leaves, bob_answers, PLAIN, RINGS},
	{"BYE of the other / 200 of re-INVITE", DIAL, alice_held_and_bob_thinks, bob_leaves, bob_answers, PLAIN, RINGS},
	{"CANCEL / 200 of re-INVITE", DIAL, alice_held_and_bob_thinks, alice_cancels, bob_answers, PLAIN, RINGS},
	{"CANCEL / BYE during re-INVITE", DIAL, alice_held_and_bob_thinks, alice_cancels, bob_leaves, PLAIN, RINGS},
	{"INFO / BYE", DIAL, talks, alice_informs, bob_leaves, PLAIN, RINGS},
	{"200 / BYE before ACK", DIAL, rings, bob_answers, bob_leaves, NOACK, RINGS},
	{"200 / early BYE, no ACK", DIAL, rings, bob_answers, alice_leaves, NOACK, RINGS},
	{"BYE / BYE before the ACK", DIAL, talks, alice_leaves, bob_leaves, NOACK, RINGS},
	{"BYE / re-INVITE before the ACK", DIAL, talks, alice_leaves, bob_reinvites, NOACK, RINGS},
	{"BYE / longest duration", SHORT, talks_for_5_seconds, alice_leaves, nothing, PLAIN, RINGS},
	{"200 / broken connection", DIAL, rings_by_tcp, bob_answers, alices_connection_breaks, PLAIN, RINGS},
	{"200 / drain", DIAL, rings, bob_answers, we_drain, PLAIN, RINGS},
	{"BYE / drain", DIAL, talks, alice_leaves, we_drain, PLAIN, RINGS},
	{"CANCEL / drain", DIAL, rings, alice_cancels, we_drain, PLAIN, RINGS},
	{"200 / reload", DIAL, rings, bob_answers, script_changes, PLAIN, RINGS},
};

static void until(uint64_t t)
{
	if (t > sh_sim_now(w->sim))
		world_advance(w, t - sh_sim_now(w->sim));
}

/* first happens `shift` microseconds after the stage is set, second at `other`. */
static void run(const struct pair *p, uint64_t shift, uint64_t other, uint64_t seed)
{
	struct world_options o = {.sim = {.seed = seed, .delay_min = 800, .delay_max = 1200}};
	uint64_t start;

	begin_with(&o, p->plan);
	ha = p->alice;
	hb = p->bob;
	hc = (struct habits){.ring = true, .sdp = SDP_C};
	take_up(alice, &ha);
	take_up(bob, &hb);
	take_up(carol, &hc);
	p->before();
	start = sh_sim_now(w->sim);
	if (shift <= other) {
		until(start + shift);
		p->first();
		until(start + other);
		p->second();
	} else {
		until(start + other);
		p->second();
		until(start + shift);
		p->first();
	}
	world_advance(w, 100 * SH_MS);
	hb.hesitant = false; /* who thought says something now */
	if (open_invite(bob))
		phone_reply(open_invite(bob), open_invite(bob)->m.to_tag.len ? 200 : 480, NULL, NULL, open_invite(bob)->m.to_tag.len ? SDP_B : NULL);
	world_advance(w, 100 * SH_MS);
	if (open_invite(carol))
		phone_reply(open_invite(carol), 480, NULL, NULL, NULL);
	finale(true);
}

static void explore(void **state)
{
	const struct pair *p = *state;
	const char *given = getenv("SEED"); /* another network each time, if one likes */
	uint64_t seed = given ? strtoull(given, NULL, 10) << 32 : 0;
	enum { MEET = 25000 };

	/* coarse over the whole range, fine where they cross */
	for (uint64_t shift = 0; shift <= 50 * SH_MS; shift += SH_MS)
		run(p, shift, MEET, seed + 1 + shift);
	for (uint64_t shift = MEET - 4000; shift <= MEET + 4000; shift += 250)
		run(p, shift, MEET, seed + 1000 + shift);
}

int main(int argc, char **argv)
{
	enum { N = sizeof(pairs) / sizeof(pairs[0]) };
	struct CMUnitTest tests[N];
	unsigned n = 0;

	for (unsigned i = 0; i < N; i++) {
		if (argc > 1 && !strstr(pairs[i].name, argv[1]))
			continue;
		tests[n++] = (struct CMUnitTest){pairs[i].name, explore, NULL, NULL, (void *)&pairs[i]};
	}
	return _cmocka_run_group_tests("races", tests, n, NULL, NULL);
}
