/* Calls over a network that loses, doubles and disorders datagrams: by seed, so that what fails can be seen again. */
#include "b2bua_habits.h"

#include <stdlib.h>

static struct habits ha, hb, hc;

#define TALK                                                                                                           \
	PLAN("local leg, res = call:fork({{'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}}, {timeout = 60, first_timeout = 30})\n" \
	     "if leg then call:bridge(leg) else call:reject(res) end\n")

static void stage_for(unsigned workers, const struct sh_sim_options *sim, const char *plan)
{
	struct world_options o = {.workers = workers, .sim = *sim};

	begin_with(&o, plan);
	ha = (struct habits){.sdp = SDP_A};
	hb = (struct habits){.ring = true, .answer = true, .sdp = SDP_B};
	hc = (struct habits){.ring = true, .sdp = SDP_C};
	take_up(alice, &ha);
	take_up(bob, &hb);
	take_up(carol, &hc);
}

static void stage(const struct sh_sim_options *sim, const char *plan)
{
	stage_for(1, sim, plan);
}

static bool up(const struct phone_call *c)
{
	return c && c->confirmed && !has_bye(c);
}

/* A call with a bit of everything; which end hangs up depends on the seed. */
static void a_life(uint64_t seed)
{
	struct phone_call *a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A), *b;

	world_advance(w, 20 * SH_SECOND);
	if (seed % 5 == 0 && !a->confirmed && !final_answer(a->invite))
		phone_cancel(a, NULL);
	if (up(a))
		phone_in_call(a, "INFO", NULL, NULL);
	world_advance(w, 20 * SH_SECOND);
	if (up(a))
		phone_reinvite(a, NULL, seed % 2 ? SDP_HOLD : NULL);
	b = first_call(bob);
	if (seed % 3 == 0 && up(b))
		phone_reinvite(b, NULL, SDP_HELD);
	world_advance(w, 20 * SH_SECOND);
	b = first_call(bob);
	if (seed % 4 == 0 && up(b))
		phone_bye(b);
	finale(false);
}

static void every_call_ends_well_in_spite_of_loss(void **state)
{
	unsigned answered = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		struct sh_sim_options sim = {.seed = seed, .loss = 0.2, .duplicate = 0.05, .reorder = 0.2, .delay_min = SH_MS,
					     .delay_max = 60 * SH_MS};

		stage(&sim, TALK);
		a_life(seed);
		answered++;
	}
	assert_int_equal(answered, 50);
}

static uint64_t traced(uint64_t seed)
{
	struct sh_sim_options sim = {.seed = seed, .loss = 0.2, .duplicate = 0.05, .reorder = 0.2, .delay_min = SH_MS,
				     .delay_max = 60 * SH_MS};
	uint64_t hash;

	stage(&sim, TALK);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, 30 * SH_SECOND);
	hash = sh_sim_trace_hash(w->sim);
	finale(false);
	return hash;
}

static void a_seed_replays_exactly(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 5; seed++)
		assert_true(traced(seed) == traced(seed));
	assert_true(traced(1) != traced(2));
}

/* How many of 200 callers behind 30 % loss hear of their failure. */
static unsigned told(const char *plan, unsigned code)
{
	unsigned count = 0;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		struct sh_sim_options sim = {.seed = seed, .loss = 0.3, .delay_min = SH_MS, .delay_max = 60 * SH_MS};
		const struct phone_msg *final;
		struct phone_call *c;

		stage(&sim, plan);
		c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
		world_advance(w, 60 * SH_SECOND);
		final = final_answer(c->invite);
		count += final && final->m.status == code;
		finale(false);
	}
	return count;
}

static void failures_reach_honest_callers_in_spite_of_loss(void **state)
{
	(void)state;
	assert_in_range(told(PLAN("call:reject(404)\n"), 404), 197, 200);
	assert_in_range(told(PLAN("call:ring() sip.sleep(5) call:reject(486)\n"), 486), 195, 200);
}

/* ---- chaos: everybody does what comes to mind ---- */

static uint64_t dice;

static unsigned roll(unsigned sides)
{
	dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(dice >> 33) % sides;
}

static struct phone_call *any_call(struct phone *p)
{
	struct phone_call *found = NULL;
	unsigned n = 0;

	SH_LIST_EACH (l, &p->calls) {
		struct phone_call *c = SH_CONTAINER(l, struct phone_call, link);

		if (c->remote_tag && !has_bye(c) && roll(++n) == 0)
			found = c;
	}
	return found;
}

static void say(struct phone *p, unsigned code, const char *headers, const char *sdp)
{
	struct phone_msg *m = open_invite(p);

	if (m)
		phone_reply(m, code, NULL, headers, sdp);
}

static void anything(void)
{
	static const char *const methods[] = {"INFO", "MESSAGE", "OPTIONS", "UPDATE", "NOTIFY", "REFER", "SUBSCRIBE", "PRACK"};
	struct phone *phones[] = {alice, bob, carol}, *p = phones[roll(3)];
	struct phone_call *c = any_call(p);

	switch (roll(14)) {
	case 0:
		phone_invite(alice, roll(2) ? "sip:bob@example.org" : "sip:slow@example.org", NULL, roll(4) ? SDP_A : NULL);
		return;
	case 1:
		SH_LIST_EACH (l, &alice->calls) {
			struct phone_call *k = SH_CONTAINER(l, struct phone_call, link);
			if (k->invite && !final_answer(k->invite) && roll(2))
				phone_cancel(k, NULL);
		}
		return;
	case 2:
		say(p, 180, NULL, NULL);
		return;
	case 3:
		say(p, 183, NULL, SDP_B);
		return;
	case 4:
	case 5:
		say(p, 200, NULL, SDP_B);
		return;
	case 6:
		say(p, 400 + roll(200), NULL, NULL);
		return;
	case 7:
		say(p, 302, "Contact: <sip:carol@10.0.0.4>, <sip:x@10.0.0.3:5077>", NULL);
		return;
	case 8:
	case 9:
		if (c)
			phone_in_call(c, methods[roll(8)], NULL, NULL);
		return;
	case 10:
	case 11:
		if (c && c->confirmed)
			phone_reinvite(c, NULL, roll(3) ? SDP_HOLD : NULL);
		return;
	case 12:
		if (c)
			phone_bye(c);
		return;
	default:
		phone_hang_up_connections(p);
	}
}

/* How many calls were answered. */
static uint64_t whatever_the_phones_do(uint64_t seed)
{
	uint64_t answered = 0;
	struct sh_sim_options sim = {.seed = seed, .loss = roll(3) ? 0 : 0.1, .reorder = 0.1, .duplicate = 0.05, .delay_min = SH_MS,
				     .delay_max = 20 * SH_MS};

	stage_for(1 + roll(3), &sim, "local sip = require 'siphook'\n"
		    "sip.on.invite(function(call)\n"
		    "  if call.uri.user == 'slow' then call:ring(183) sip.sleep(1) end\n"
		    "  local leg, res = call:fork({{'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4;transport=tcp'}, {'sip:carol@10.0.0.4'}},\n"
		    "    {timeout = 5, follow_redirects = 2})\n"
		    "  if call.uri.user == 'slow' then sip.sleep(0.5) end\n"
		    "  if leg then return call:bridge(leg, {max_duration = 8}) end\n"
		    "  call:reject(res)\nend)\n"
		    "sip.on.info(function(req) sip.sleep(0.3) req:pass() end)\n"
		    "sip.on.reinvite(function(req) sip.sleep(0.05) req:pass() end)\n"
		    "sip.on.message(function(req) req:relay{'sip:bob@10.0.0.3'} end)\n");
	w->forgiving = true; /* a call that ended under its script is an error of the script */
	hb.answer = false;
	hb.hesitant = roll(4) == 0;
	if (roll(2))
		phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	for (unsigned i = 0; i < 40; i++) {
		world_advance(w, roll(400) * SH_MS);
		anything();
	}
	world_settle(w, 1000 * SH_SECOND);
	for (unsigned i = 0; i < w->workers; i++)
		answered += sh_ua_stats(w->ua[i])->answered;
	world_destroy(w);
	return answered;
}

static void whatever_happens_it_comes_to_an_end(void **state)
{
	const char *seeds = getenv("SEEDS");
	uint64_t n = seeds ? strtoull(seeds, NULL, 10) : 300, answered = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= n; seed++) {
		dice = seed;
		answered += whatever_the_phones_do(seed);
	}
	assert_true(answered > n / 2); /* else nothing was tried */
}

/* Many at once: tables, timers and lists under load. */
static void many_calls_at_once(void **state)
{
	struct sh_sim_options sim = {.seed = 7, .loss = 0.05, .delay_min = SH_MS, .delay_max = 30 * SH_MS};
	enum { CALLS = 200 };
	struct phone_call *calls[CALLS];
	unsigned connected = 0;

	(void)state;
	stage(&sim, PLAN("call:dial({'sip:bob@10.0.0.3'}, {timeout = 60, first_timeout = 30})\n"));
	for (unsigned i = 0; i < CALLS; i++) {
		calls[i] = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
		world_advance(w, 5 * SH_MS);
	}
	world_advance(w, 30 * SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		connected += calls[i]->confirmed;
	assert_int_equal(connected, CALLS);
	assert_int_equal(sh_ua_stats(w->ua[0])->calls_live, CALLS);
	finale(false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_call_ends_well_in_spite_of_loss),
	    cmocka_unit_test(failures_reach_honest_callers_in_spite_of_loss),
	    cmocka_unit_test(a_seed_replays_exactly),
	    cmocka_unit_test(whatever_happens_it_comes_to_an_end),
	    cmocka_unit_test(many_calls_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
