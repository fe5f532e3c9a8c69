/* The race explorer: each seed is a call (or two, or a fork) over a network that loses one datagram in ten, doubles and
 * disorders some, in which everybody does what comes to his mind: answers, refuses, redirects, cancels, hangs up, offers by
 * re-INVITE and UPDATE, early and late, transfers, reliable provisional answers with and without an answer in them; over UDP and
 * TCP, with one worker or two, and with scripts that transfer calls by themselves.
 * Whatever happened: every INVITE has one final answer, every dialog was ended, every call has had one hangup hook, and
 * nothing is left of calls, legs, requests and transactions (world_destroy).
 *
 * SEEDS=n tries so many (default 60), SEED=n begins there. What fails prints its ladder and its seed. */
#include "b2bua_habits.h"

#include <stdlib.h>

enum { LONGEST = 256 };

static struct sh_random dice;

static unsigned roll(unsigned n)
{
	return (unsigned)sh_random_below(&dice, n);
}

static bool chance(unsigned percent)
{
	return roll(100) < percent;
}

/* ---- what is going to happen ---- */

struct deed {
	uint64_t at;
	void (*fn)(void *arg);
	void *arg;
};
static struct deed deeds[LONGEST];
static unsigned ndeeds;

static void plan(uint64_t delay, void (*fn)(void *arg), void *arg)
{
	if (ndeeds < LONGEST)
		deeds[ndeeds++] = (struct deed){sh_sim_now(w->sim) + delay, fn, arg};
}

/* Lets time pass until all that was planned, and what came of it, has been done. */
static void live(void)
{
	while (ndeeds) {
		unsigned first = 0;
		struct deed d;

		for (unsigned i = 1; i < ndeeds; i++)
			if (deeds[i].at < deeds[first].at)
				first = i;
		d = deeds[first];
		deeds[first] = deeds[--ndeeds];
		if (d.at > sh_sim_now(w->sim))
			world_advance(w, d.at - sh_sim_now(w->sim));
		d.fn(d.arg);
	}
}

/* ---- somebody's manners: the same for a phone as long as a seed lasts ---- */

struct manners {
	struct phone *phone;
	const char *sdp, *hold;
	bool acknowledges; /* does 100rel */
	bool slow;         /* thinks about re-INVITEs */
	uint32_t rseq;
	unsigned kind;     /* how it answers an INVITE */
};
static struct manners people[3];

static struct manners *of(const struct phone *p)
{
	return p == alice ? &people[0] : p == bob ? &people[1] : &people[2];
}

static bool unanswered(const struct phone_msg *m)
{
	return !final_answer(m);
}

static const char *offer_of(struct manners *me)
{
	return chance(50) ? me->hold : me->sdp;
}

/* ---- answering ---- */

static void say_final(void *arg)
{
	struct phone_msg *m = arg;
	struct manners *me = of(m->phone);
	static const unsigned codes[] = {486, 480, 404, 503, 500, 603, 488};

	if (!unanswered(m))
		return;
	switch (me->kind % 8) {
	case 0:
		phone_reply(m, codes[roll(sizeof(codes) / sizeof(codes[0]))], NULL, NULL, NULL);
		break;
	case 1:
		phone_reply(m, 302, NULL, "Contact: <sip:carol@10.0.0.4>;q=0.5, <sip:bob2@10.0.0.3>", NULL);
		break;
	case 2:
		return; /* never */
	default:
		phone_reply(m, 200, NULL, NULL, me->sdp);
	}
}

static const char *rseq_lines(uint32_t rseq)
{
	static char text[64];

	snprintf(text, sizeof(text), "Require: 100rel\nRSeq: %u", rseq);
	return text;
}

static void say_provisional(void *arg)
{
	struct phone_msg *m = arg;
	struct manners *me = of(m->phone);
	bool reliable = me->acknowledges && sh_msg_has_token(&m->m, SH_H_SUPPORTED, SH_LIT("100rel")) && chance(70);
	bool media = chance(50) && (m->m.body.len || reliable);
	const char *headers = reliable ? rseq_lines(++me->rseq) : NULL;

	if (unanswered(m))
		phone_reply(m, media ? 183 : 180, NULL, headers, media ? me->sdp : NULL);
}

static void answer_offer(void *arg)
{
	struct phone_msg *m = arg;
	static const unsigned codes[] = {488, 491, 500};

	if (!unanswered(m))
		return;
	if (chance(25))
		phone_reply(m, codes[roll(3)], NULL, NULL, NULL);
	else
		phone_reply(m, 200, NULL, NULL, m->m.method == SH_UPDATE && !m->m.body.len ? NULL : of(m->phone)->sdp);
}

static void on_invite(struct phone_msg *m)
{
	struct manners *me = of(m->phone);

	if (m->m.to_tag.len) {
		plan(me->slow ? roll(3000) * SH_MS : 0, answer_offer, m);
		return;
	}
	me->rseq = roll(1000);
	for (unsigned n = roll(3); n; n--)
		plan(roll(1500) * SH_MS, say_provisional, m);
	plan(roll(3000) * SH_MS, say_final, m);
}

static void on_request(struct phone_msg *m)
{
	struct phone_msg *invite;

	switch (m->m.method) {
	case SH_INVITE:
		on_invite(m);
		return;
	case SH_ACK:
		return;
	case SH_UPDATE:
		answer_offer(m);
		return;
	case SH_PRACK:
		phone_reply(m, 200, NULL, NULL, m->m.body.len && chance(50) ? of(m->phone)->sdp : NULL);
		return;
	case SH_CANCEL:
	case SH_BYE:
		ok(m);
		invite = open_invite(m->phone);
		if (invite && (m->m.method == SH_BYE ? invite->call == m->call : invite->m.cseq == m->m.cseq && invite->call == m->call))
			phone_reply(invite, 487, NULL, NULL, NULL);
		return;
	default:
		if (chance(10))
			phone_reply(m, 481, NULL, NULL, NULL);
		else
			ok(m);
	}
}

static void on_answer(struct phone_msg *m)
{
	struct manners *me = of(m->phone);

	if (m->m.method != SH_INVITE || !m->call)
		return;
	if (m->m.status >= 200) {
		bool left = m->m.status < 300 && m->call->invite && !m->call->invite->m.to_tag.len && has_bye(m->call);

		phone_ack(m, NULL, m->m.status < 300 && m->call->invite && m->call->invite->m.body.len == 0 ? me->sdp : NULL);
		if (left) /* it was another early dialog in which she hung up */
			phone_bye(m->call);
		return;
	}
	/* Who asked for an offer gives his answer: else the other side's 2xx has its ACK so late that a loss ends it. */
	if (phone_value(m, "RSeq") && (chance(95) || (m->call->invite && m->call->invite->m.body.len == 0)))
		phone_prack(m, NULL, m->m.body.len && m->call->invite && m->call->invite->m.body.len == 0 ? me->sdp : NULL);
}

static void on_message(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->code < 0)
		return;
	if (m->m.is_request)
		on_request(m);
	else
		on_answer(m);
}

/* ---- acting ---- */

static struct phone_call *some_call(struct phone *p)
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

/* No BYE and no re-INVITE before the ACK to one's own 2xx (RFC 3261 15, 14.1). */
static bool awaits_ack(const struct phone_call *c)
{
	SH_LIST_EACH (l, &c->phone->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (m->call == c && m->sent && m->code >= 0 && !m->m.is_request && m->m.method == SH_INVITE && m->m.status / 100 == 2 &&
		    !has_ack(m))
			return true;
	}
	return false;
}

static void act(void *arg)
{
	struct phone *p = arg;
	struct manners *me = of(p);
	struct phone_call *c = some_call(p);

	if (!c)
		return;
	if (!c->confirmed) { /* early */
		switch (roll(4)) {
		case 0:
			if (c->invite && unanswered(c->invite))
				phone_cancel(c, NULL);
			return;
		case 1:
			phone_in_call(c, "UPDATE", NULL, offer_of(me));
			return;
		case 2:
			phone_in_call(c, "INFO", NULL, NULL);
			return;
		default:
			if (p == alice && chance(30)) /* in one early dialog of several, or in the only one (RFC 3261 15) */
				phone_bye(c);
			return;
		}
	}
	switch (roll(8)) {
	case 0:
		if (!awaits_ack(c))
			phone_bye(c);
		return;
	case 1:
	case 2:
		if (!awaits_ack(c))
			phone_reinvite(c, NULL, chance(70) ? offer_of(me) : NULL);
		return;
	case 3:
	case 4:
		phone_in_call(c, "UPDATE", NULL, chance(80) ? offer_of(me) : NULL);
		return;
	case 5:
		phone_in_call(c, "REFER", "Refer-To: <sip:carol@example.org>", NULL);
		return;
	case 6:
		phone_in_call(c, "INFO", "Content-Type: application/dtmf-relay", "Signal=1\r\n");
		return;
	default:
		if (c->invite && unanswered(c->invite))
			phone_cancel(c, NULL);
	}
}

static void leaves(struct phone *p)
{
	SH_LIST_EACH (l, &p->calls) {
		struct phone_call *c = SH_CONTAINER(l, struct phone_call, link);

		if (c->confirmed && !has_bye(c) && !awaits_ack(c))
			phone_bye(c);
	}
}

static void dials(void *arg)
{
	static const char *const supported[] = {NULL, "Supported: 100rel", "Require: 100rel", "Supported: 100rel, 199, timer"};

	(void)arg;
	phone_invite(alice, "sip:bob@example.org", supported[people[0].acknowledges ? 1 + roll(3) : 0], chance(85) ? SDP_A : NULL);
}

/* ---- one seed ---- */

#define HANGUP                                                                                                         \
	"local ended = sip.shared('ended')\n"                                                                          \
	"sip.on.hangup(function(call) if ended:incr(call.id, 1) ~= 1 then sip.log.error('a second hangup hook') end end)\n"

static const char *const plans[] = {
	PLAN("call:dial({'sip:bob@10.0.0.3'}, {timeout = 8, follow_redirects = 1})\n") HANGUP,
	PLAN("call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 8})\n") HANGUP,
	PLAN("call:dial({{'sip:bob@10.0.0.3'}, {'sip:carol@10.0.0.4'}}, {timeout = 2, early = 'first'})\n") HANGUP,
	PLAN("call:ring(180)\nlocal leg = call:fork({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {early = 'drop', timeout = 8})\n"
	     "sip.sleep(0.3)\nif leg then call:bridge(leg, {max_duration = 4}) end\n") HANGUP,
	PLAN("call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 8, tags = 'single', on_branch = function(leg, event)\n"
	     "  if event == 'early' then sip.sleep(0.2) leg:hangup() end end})\n") HANGUP,
	PLAN("call:dial({'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, {timeout = 8})\n") HANGUP
	"sip.on.sdp(function(sdp, info) if info.kind == 'offer' then sip.sleep(0.2) end sdp:drop{'G729'} end)\n",
	PLAN("call:dial{'sip:bob@10.0.0.3'}\n") HANGUP
	"for _, m in ipairs{'reinvite', 'update', 'info', 'refer'} do sip.on[m](function(req)\n"
	"  local res = req:pass()\n  sip.sleep(0.1)\n  if res and res.code == 488 then req.call:hangup() end\nend) end\n",
	PLAN("call:dial({'sip:bob@10.0.0.3;transport=tcp', 'sip:carol@10.0.0.4;transport=tcp'}, {timeout = 8})\n") HANGUP,
	PLAN("call:dial({'sip:bob@10.0.0.3;transport=tcp'}, {timeout = 8})\n") HANGUP
	"sip.on.refer(function(ref) ref:accept{targets = {'sip:carol@10.0.0.4'}, timeout = 4} end)\n",
	PLAN("call:dial({'sip:bob@10.0.0.3'}, {timeout = 8})\n") HANGUP
	"sip.on.info(function(req)\n  req:reply(200)\n  if not req.call then return end\n"
	"  req.call:transfer('sip:carol@10.0.0.4', {keep = req.leg == req.call.a and 'a' or 'b', timeout = 3, offer = req.cseq % 2 == 0})\nend)\n",
	PLAN("local leg = call:fork({'sip:bob@10.0.0.3'}, {timeout = 8})\nif leg then call:bridge(leg, {on_peer_hangup = 'continue'}) end\n"
	     "if call.state == 'up' then call:wait('peer_hangup', 5) end\ncall:dial({'sip:carol@10.0.0.4'}, {timeout = 4})\n") HANGUP
	"sip.on.refer(function(ref) ref:accept{targets = {'sip:carol@10.0.0.4'}, timeout = 4, offer = true} end)\n"
	"sip.on.sdp(function(sdp, info) sip.sleep(0.05) end)\n",
};

static void settle_people(void)
{
	people[0] = (struct manners){.phone = alice, .sdp = SDP_A, .hold = SDP_HOLD};
	people[1] = (struct manners){.phone = bob, .sdp = SDP_B, .hold = SDP_HELD};
	people[2] = (struct manners){.phone = carol, .sdp = SDP_C, .hold = SDP_C "a=sendonly\r\n"};
	for (unsigned i = 0; i < 3; i++) {
		people[i].acknowledges = chance(50);
		people[i].slow = chance(30);
		people[i].kind = chance(60) ? 7 : roll(8);
		phone_auto(people[i].phone, PHONE_ROBUST);
		if (chance(20))
			phone_proxy(people[i].phone, SH_PROTO_TCP, "10.0.0.1", 5060);
		people[i].phone->on_message = on_message;
	}
}

static void explore(uint64_t number)
{
	struct world_options o = {.sim = {.seed = number, .loss = 0.1, .duplicate = 0.02, .reorder = 0.05, .delay_min = 500,
					  .delay_max = 30000}};
	bool transfers;
	unsigned n;

	sh_random_init_seed(&dice, number);
	ndeeds = 0;
	n = roll(sizeof(plans) / sizeof(plans[0]));
	transfers = strstr(plans[n], "transfer") || strstr(plans[n], "accept");
	o.workers = chance(40) ? 2 : 1;
	begin_with(&o, plans[n]);
	settle_people();
	plan(0, dials, NULL);
	for (n = roll(8); n; n--)
		plan(roll(5000) * SH_MS, act, people[roll(3)].phone);
	/* where things cross: two deeds within a few milliseconds */
	for (n = roll(3); n; n--) {
		uint64_t at = roll(4000) * SH_MS;

		plan(at, act, people[roll(3)].phone);
		plan(at + roll(20) * SH_MS, act, people[roll(3)].phone);
	}
	live();
	for (unsigned i = 0; i < 3; i++)
		people[i].kind = 7;
	world_advance(w, 20 * SH_SECOND);
	live();
	caller_leaves();
	world_advance(w, 40 * SH_SECOND);
	live();
	for (unsigned i = 1; i < 3 && transfers; i++) /* the two who are left may be bob and carol */
		leaves(people[i].phone);
	world_advance(w, 40 * SH_SECOND);
	live();
	world_advance(w, 40 * SH_SECOND); /* who has just said something has had his ACK, or has given up */
	world_settle(w, 500 * SH_SECOND);
	check_phone(alice, false);
	check_phone(bob, true);
	check_phone(carol, true);
	world_destroy(w);
}

static void every_race_ends_well(void **state)
{
	const char *many = getenv("SEEDS"), *first = getenv("SEED");
	uint64_t n = many ? strtoull(many, NULL, 10) : 60, from = first ? strtoull(first, NULL, 10) : 1;

	(void)state;
	for (uint64_t i = 0; i < n; i++)
		explore(from + i);
	print_message("%llu seeds from %llu\n", (unsigned long long)n, (unsigned long long)from);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(every_race_ends_well)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
