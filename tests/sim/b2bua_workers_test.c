/* Several workers behind one address: whichever socket a message comes to, it ends up with its call. */
#include "b2bua_habits.h"

static struct habits ha, hb, hc;

static void stage(unsigned workers, const char *plan)
{
	struct world_options o = {.workers = workers, .sim = {.delay_min = 500, .delay_max = 3000}};

	begin_with(&o, plan);
	ha = (struct habits){.sdp = SDP_A};
	hb = (struct habits){.ring = true, .answer = true, .sdp = SDP_B};
	hc = (struct habits){.ring = true, .sdp = SDP_C};
	take_up(alice, &ha);
	take_up(bob, &hb);
	take_up(carol, &hc);
}

static unsigned workers_with_calls(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w->workers; i++)
		n += sh_ua_stats(w->ua[i])->calls > 0;
	return n;
}

static void calls_live_on_all_workers(const char *plan, enum sh_proto proto)
{
	enum { CALLS = 24 };
	struct phone_call *calls[CALLS];

	stage(4, plan);
	phone_proxy(alice, proto, "10.0.0.1", 5060);
	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	assert_int_equal(workers_with_calls(), 4);
	for (unsigned i = 0; i < CALLS; i++) {
		assert_true(calls[i]->confirmed);
		phone_in_call(calls[i], "INFO", NULL, NULL);
		phone_reinvite(calls[i], NULL, i % 2 ? SDP_HOLD : NULL);
	}
	world_advance(w, SH_SECOND);
	SH_LIST_EACH (l, &bob->calls) {
		struct phone_call *b = SH_CONTAINER(l, struct phone_call, link);

		phone_bye(b);
	}
	world_advance(w, SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		assert_true(has_bye(calls[i]));
	finale(true);
}

static void calls_by_udp(void **state)
{
	(void)state;
	calls_live_on_all_workers(PLAN_BOB, SH_PROTO_UDP);
}

static void calls_by_tcp(void **state)
{
	(void)state;
	calls_live_on_all_workers(PLAN("call:dial({'sip:bob@10.0.0.3;transport=tcp'})\n"), SH_PROTO_TCP);
}

/* ---- every message comes to the wrong worker ---- */

static unsigned strays;

/* Whose it is, found out here a second time: by what we put into tags and branches, else by the Call-ID. */
static unsigned owner_of(const struct sh_msg *m, unsigned count)
{
	struct sh_slice mark = m->is_request ? sh_msg_text(m, m->to_tag) : sh_msg_text(m, m->via_branch);
	int worker;

	if (!m->is_request && mark.len > 7)
		mark = sh_slice_make(mark.base + 7, mark.len - 7);
	worker = mark.len ? sh_tag_worker(mark) : -1;
	if (worker >= 0)
		return (unsigned)worker;
	return (unsigned)(sh_hash_slice(&w->env[0]->key, sh_msg_text(m, m->call_id)) % count);
}

static unsigned pick_wrong(void *ctx, const char *data, size_t len, unsigned count)
{
	struct sh_msg m;

	(void)ctx;
	if (sh_msg_scan(&m, data, len, false, NULL))
		return 0;
	strays++;
	return owner_of(&m, count) + 1 + strays % (count - 1);
}

static void calls_live_though_each_message_comes_to_the_wrong_worker(void **state)
{
	enum { CALLS = 24 };
	struct phone_call *calls[CALLS];

	(void)state;
	stage(4, PLAN_BOB);
	strays = 0;
	sh_sim_set_pick(w->sim, pick_wrong, NULL);
	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	assert_int_equal(workers_with_calls(), 4);
	for (unsigned i = 0; i < CALLS; i++) {
		assert_true(calls[i]->confirmed);
		phone_resend(calls[i]->invite); /* answered by the worker that has the transaction */
		phone_in_call(calls[i], "INFO", NULL, NULL);
		phone_reinvite(calls[i], NULL, i % 2 ? SDP_HOLD : NULL);
	}
	world_advance(w, SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		phone_bye(calls[i]);
	world_advance(w, SH_SECOND);
	assert_true(strays > 10 * CALLS);
	for (unsigned i = 0; i < w->workers; i++)
		assert_int_equal(sh_ua_stats(w->ua[i])->calls_live, 0);
	finale(true);
}

static void cancels_find_their_call_from_the_wrong_worker(void **state)
{
	enum { CALLS = 24 };
	struct phone_call *calls[CALLS];

	(void)state;
	stage(3, PLAN_BOB);
	hb.answer = false;
	sh_sim_set_pick(w->sim, pick_wrong, NULL);
	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		phone_cancel(calls[i], NULL);
	world_advance(w, SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		assert_int_equal(final_answer(calls[i]->invite)->m.status, 487);
	finale(true);
}

static void cancels_find_their_call(void **state)
{
	enum { CALLS = 24 };
	struct phone_call *calls[CALLS];

	(void)state;
	stage(3, PLAN_BOB);
	hb.answer = false;
	for (unsigned i = 0; i < CALLS; i++)
		calls[i] = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		phone_cancel(calls[i], NULL);
	world_advance(w, SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++) {
		assert_non_null(final_answer(calls[i]->invite));
		assert_int_equal(final_answer(calls[i]->invite)->m.status, 487);
	}
	assert_int_equal(workers_with_calls(), 3);
	finale(true);
}

static void a_connection_of_one_worker_serves_all(void **state)
{
	enum { CALLS = 12 };

	(void)state;
	stage(4, "local sip = require 'siphook'\nsip.domains{'example.org'}\n"
		 "sip.on.register(function(req) req:register{} end)\n"
		 "sip.on.invite(function(call)\n  local ok, res = call:dial(sip.lookup(call.uri))\n"
		 "  if not ok then call:reject(res) end\nend)\n");
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	phone_request(bob, "REGISTER", "sip:example.org", "Contact: <sip:bob@192.168.1.1;transport=tcp>", NULL);
	world_advance(w, SH_SECOND);
	for (unsigned i = 0; i < CALLS; i++)
		phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	assert_true(workers_with_calls() > 1);
	SH_LIST_EACH (l, &alice->calls)
		assert_true(SH_CONTAINER(l, struct phone_call, link)->confirmed);
	finale(true);
}

static void a_reload_reaches_every_worker(void **state)
{
	(void)state;
	stage(4, PLAN_BOB);
	world_reload(w, PLAN("call:reject(603)\n"));
	assert_int_equal(sh_script_alive(w->script), 1);
	for (unsigned i = 0; i < 16; i++)
		phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	SH_LIST_EACH (l, &alice->calls)
		assert_int_equal(final_answer(SH_CONTAINER(l, struct phone_call, link)->invite)->m.status, 603);
	finale(true);
}

/* The error comes to the worker whose socket sent the datagram; the branch may be another's. */
static void an_icmp_error_finds_its_branch(void **state)
{
	struct sh_addr nobody;

	(void)state;
	stage(4, PLAN("local ok, res = call:dial('sip:x@10.0.0.99') call:reject(res)\n"));
	assert_int_equal(sh_addr_parse(&nobody, SH_LIT("10.0.0.99"), 0), 0);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &nobody, SH_SIM_UDP_ICMP), 0);
	for (unsigned i = 0; i < 16; i++)
		phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, 100 * SH_MS); /* and not the seconds of first_timeout */
	assert_int_equal(workers_with_calls(), 4);
	SH_LIST_EACH (l, &alice->calls)
		assert_non_null(final_answer(SH_CONTAINER(l, struct phone_call, link)->invite));
	finale(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(calls_by_udp),
	    cmocka_unit_test(calls_by_tcp),
	    cmocka_unit_test(calls_live_though_each_message_comes_to_the_wrong_worker),
	    cmocka_unit_test(cancels_find_their_call_from_the_wrong_worker),
	    cmocka_unit_test(cancels_find_their_call),
	    cmocka_unit_test(a_connection_of_one_worker_serves_all),
	    cmocka_unit_test(a_reload_reaches_every_worker),
	    cmocka_unit_test(an_icmp_error_finds_its_branch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
