/* The allocation sweep (see b2bua_alloc_test.c) of what the engine does by itself or for a script: trunks, calls of our own, answers
 * without a second leg, waits; and of transfers and pickups that a hook looks at (without: script_transfer_test.c). */
#include "b2bua_habits.h"

#include "core/alloc.h"

static struct habits ha, hb, hc;

static void stage(struct world *world)
{
	w = world;
	alice = world_phone(w, "alice", ALICE);
	bob = world_phone(w, "bob", BOB);
	carol = world_phone(w, "carol", CAROL);
	ha = (struct habits){.answer = true, .sdp = SDP_A};
	hb = (struct habits){.ring = true, .answer = true, .sdp = SDP_B};
	hc = (struct habits){.answer = true, .sdp = SDP_C};
	take_up(alice, &ha);
	take_up(bob, &hb);
	take_up(carol, &hc);
}

/* Whoever is still in a call hangs up. */
static void leave(struct world *world)
{
	struct phone *const all[] = {alice, bob, carol};

	(void)world;
	world_advance(w, 40 * SH_SECOND);
	for (unsigned i = 0; i < 3; i++) {
		SH_LIST_EACH (l, &all[i]->calls) {
			struct phone_call *c = SH_CONTAINER(l, struct phone_call, link);

			if (c->confirmed && !has_bye(c))
				phone_bye(c);
		}
	}
}

static void sweep(const char *plan, void (*act)(struct world *world))
{
	world_sweep(NULL, plan, stage, act, leave, 4000);
}

#define HEAD "local sip = require 'siphook'\nsip.domains{'example.org'}\n"

/* ---- trunk ---- */

static void provider(struct phone_msg *m, void *ctx)
{
	static const char challenge[] = "WWW-Authenticate: Digest realm=\"pole\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"";

	if (m->code == 0 && m->m.is_request && (m->m.method == SH_REGISTER || (m->m.method == SH_INVITE && !m->m.to_tag.len)) &&
	    !sh_msg_header(&m->m, SH_H_AUTHORIZATION).len)
		phone_reply(m, 401, NULL, challenge, NULL);
	else if (m->code == 0 && m->m.is_request && m->m.method == SH_REGISTER)
		phone_reply(m, 200, NULL, "Contact: <sip:north@10.0.0.1:5060>;expires=600\nService-Route: <sip:10.0.0.3;lr>", NULL);
	else
		habit(m, ctx);
}

static void a_call_by_a_trunk(struct world *world)
{
	struct phone_call *c;

	(void)world;
	bob->on_message = provider;
	world_advance(w, 2 * SH_SECOND);
	c = phone_invite(alice, "sip:4711@example.org", NULL, SDP_A);
	world_advance(w, 2 * SH_SECOND);
	if (c->confirmed && !has_bye(c))
		phone_bye(c);
	world_advance(w, SH_SECOND);
}

static void trunks(void **state)
{
	(void)state;
	sweep(HEAD "local trunk = sip.trunk{name = 'north', uri = {'sip:10.0.0.3', 'sip:10.0.0.9'}, register = true, qualify = 100,\n"
		   "  auth = {user = 'north', password = 'pole'}}\n"
		   "sip.on.invite(function(call)\n  if call.trunk then return call:reject(482) end\n"
		   "  local ok, res = call:dial(trunk) if not ok then call:reject(res) end\nend)\n", a_call_by_a_trunk);
}

/* ---- calls of our own ---- */

static void an_order(struct world *world)
{
	(void)world;
	phone_request(carol, "MESSAGE", "sip:x@example.org", NULL, NULL);
	world_advance(w, 5 * SH_SECOND);
}

static void originates(void **state)
{
	(void)state;
	sweep(HEAD "sip.on.message(function(req)\n  req:reply(202)\n"
		   "  local call, res = sip.originate{first = 'sip:alice@10.0.0.2', second = 'sip:bob@10.0.0.3', identity = 'sip:x@example.org', timeout = 3}\n"
		   "  if not call then return end\n  sip.sleep(1)\n  call:hangup{q850 = 16}\nend)\n", an_order);
}

static void an_originate_that_is_refused(void **state)
{
	(void)state;
	sweep(HEAD "sip.on.message(function(req)\n  req:reply(202)\n"
		   "  sip.originate{first = 'sip:alice@10.0.0.2', second = 'sip:nobody@10.0.0.97', timeout = 2}\nend)\n", an_order);
}

/* ---- one leg ---- */

static void digits(struct world *world)
{
	struct phone_call *c = phone_invite(alice, "sip:ivr@example.org", NULL, SDP_A);

	(void)world;
	world_advance(w, SH_SECOND);
	if (c->confirmed && !has_bye(c))
		phone_in_call(c, "INFO", "Content-Type: application/dtmf-relay", "Signal=5\r\nDuration=100\r\n");
	world_advance(w, SH_SECOND / 2);
	if (c->confirmed && !has_bye(c))
		phone_reinvite(c, NULL, SDP_HOLD);
	world_advance(w, 6 * SH_SECOND);
}

static void answers_and_waits(void **state)
{
	(void)state;
	sweep(HEAD "sip.on.invite(function(call)\n  call:ring(180)\n  if not call:answer() then return end\n"
		   "  local digit = call:wait('dtmf', 3)\n  call:wait('reinvite', 1)\n"
		   "  local leg = call:fork({'sip:bob@10.0.0.3'}, {timeout = 2})\n  if leg then call:bridge(leg) end\n"
		   "  call:wait('hangup', 1)\n  call:hangup()\nend)\n", digits);
}

/* ---- transfers, pickup, with a look at what they tell ---- */

#define PHONES                                                                                                         \
	HEAD "local where = {alice = '10.0.0.2', bob = '10.0.0.3', carol = '10.0.0.4'}\n"                                  \
	     "sip.on.invite(function(call)\n  if call.replaces then return call:pickup() end\n"                           \
	     "  local ok, res = call:dial({'sip:' .. call.uri.user .. '@' .. where[call.uri.user]}, {timeout = 5})\n"      \
	     "  if not ok then call:reject(res) end\nend)\n"                                                               \
	     "sip.on.refer(function(ref) ref:accept{targets = {'sip:carol@10.0.0.4'}} end)\n"

static struct phone_call *up(struct phone *from, const char *uri)
{
	struct phone_call *c = phone_invite(from, uri, NULL, from == alice ? SDP_A : SDP_C);

	world_advance(w, SH_SECOND);
	return c->confirmed && !has_bye(c) ? c : NULL;
}

static void a_blind_one(struct world *world)
{
	struct phone_call *c = up(alice, "sip:bob@example.org");

	(void)world;
	if (c)
		phone_in_call(c, "REFER", "Refer-To: <sip:carol@example.org>", NULL);
	world_advance(w, 5 * SH_SECOND);
}

static void one_picks_up(struct world *world)
{
	struct phone_call *c = up(alice, "sip:bob@example.org");
	char text[400];

	(void)world;
	if (c) {
		snprintf(text, sizeof(text), "Replaces: %s;to-tag=%s;from-tag=%s", c->id, c->remote_tag, c->local_tag);
		phone_invite(carol, "sip:alice@example.org", text, SDP_C);
	}
	world_advance(w, 5 * SH_SECOND);
}

static void blind_transfers_that_are_looked_at(void **state)
{
	(void)state;
	sweep(PHONES "sip.on.sdp(function(sdp) sdp:drop{'G729'} end)\nsip.on.info(function(req) req:reply(200) end)\n", a_blind_one);
}

static void pickups(void **state)
{
	(void)state;
	sweep(PHONES "sip.on.sdp(function(sdp) sdp:drop{'G729'} end)\n", one_picks_up);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(trunks),
		cmocka_unit_test(originates),
		cmocka_unit_test(an_originate_that_is_refused),
		cmocka_unit_test(answers_and_waits),
		cmocka_unit_test(blind_transfers_that_are_looked_at),
		cmocka_unit_test(pickups),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
