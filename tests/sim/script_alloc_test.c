/* Every allocation may fail while hooks run: no crash, no leak, and the world becomes idle again. */
#include "script_world.h"

static void polite(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->code == 0 && m->m.is_request && m->m.method != SH_ACK)
		phone_reply(m, 200, NULL, NULL, m->m.method == SH_INVITE ? SDP : NULL);
	if (m->code == 0 && !m->m.is_request && m->m.method == SH_INVITE && m->m.status >= 200) {
		phone_ack(m, NULL, NULL);
		if (m->m.status < 300)
			phone_bye(m->call);
	}
}

static void two_phones(struct world *world)
{
	w = world;
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	phone_auto(alice, PHONE_ROBUST);
	phone_auto(bob, PHONE_ROBUST);
	alice->on_message = bob->on_message = polite;
}

static const char plan[] = PLAN
    "sip.timer.late = function(x) end\n"
    "sip.on.register(function(req)\n"
    "  req:register{max_contacts = 3}\n"
    "end)\n"
    "sip.on.message(function(req)\n"
    "  if not req:auth{realm = 'r', password = 'x'} then return end\n"
    "end)\n"
    "sip.on.options(function(req)\n"
    "  sip.after(1, 'late', {1, {2}})\n"
    "  sip.after(1, function() end)\n"
    "  local res = req:relay({'sip:bob@10.0.0.3', {uri = 'sip:a@10.0.0.2', display = 'a \"b\"', from = 'sip:x@y'}},\n"
    "    {timeout = 5, headers = {['X-A'] = {'b', 'c'}}})\n"
    "end)\n"
    "sip.on.invite(function(call)\n"
    "  call.data.from = tostring(call.from)\n"
    "  call:after(2, 'late')\n"
    "  call:ring(183, {headers = {['X-A'] = 'b'}})\n"
    "  local leg, res = call:fork(sip.lookup(call.uri), {timeout = 10, copy = {'X-*'}, pai = call.from})\n"
    "  if not leg then return call:reject(res or 500) end\n"
    "  call:bridge(leg, {headers = {['X-A'] = 'b'}})\n"
    "end)\n"
    "sip.on.hangup(function(call, why) local x = call.data.from end)\n";

static void nobody(struct world *world)
{
	w = world;
}

static void act_call(struct world *world)
{
	(void)world;
	phone_request(bob, "REGISTER", "sip:example.org", NULL, NULL);
	world_advance(w, SH_SECOND);
	phone_invite(alice, "sip:bob@example.org", "X-One: 1", SDP);
	world_advance(w, 3 * SH_SECOND);
}

static void act_requests(struct world *world)
{
	(void)world;
	phone_request(bob, "MESSAGE", "sip:example.org", NULL, "hi");
	phone_request(bob, "OPTIONS", "sip:example.org", NULL, NULL);
	world_advance(w, 7 * SH_SECOND);
}

/* Reloads without memory are refused or succeed; nothing in between. */
static void act_reload(struct world *world)
{
	char error[200];

	world_try_reload(world, plan, error, sizeof(error));
}

static void a_call_survives_the_loss_of_any_allocation(void **state)
{
	(void)state;
	world_sweep(NULL, plan, two_phones, act_call, NULL, 3000);
}

static void requests_survive_the_loss_of_any_allocation(void **state)
{
	(void)state;
	world_sweep(NULL, plan, two_phones, act_requests, NULL, 3000);
}

static void a_reload_survives_the_loss_of_any_allocation(void **state)
{
	(void)state;
	world_sweep(NULL, plan, nobody, act_reload, NULL, 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_call_survives_the_loss_of_any_allocation),
	    cmocka_unit_test(requests_survive_the_loss_of_any_allocation),
	    cmocka_unit_test(a_reload_survives_the_loss_of_any_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
