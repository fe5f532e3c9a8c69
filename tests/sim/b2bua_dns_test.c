/* Calls and messages to domains: the servers of their SRV records in turn, in virtual time. */
#include "b2bua_helpers.h"

static void record(const char *name, const char *text)
{
	assert_int_equal(sh_sim_add_record(w->sim, name, text), 0);
}

/* example.test: first 10.0.0.8, then Bob at 10.0.0.3, by that transport. */
static void two_servers(const char *transport)
{
	char name[64];

	snprintf(name, sizeof(name), "_sip._%s.example.test", transport);
	record(name, "60 SRV 10 0 5060 first.example.test");
	record(name, "60 SRV 20 0 5060 second.example.test");
	record("first.example.test", "60 A 10.0.0.8");
	record("second.example.test", "60 A 10.0.0.3");
}

static struct sh_addr first_server(void)
{
	struct sh_addr a;

	assert_int_equal(sh_addr_parse(&a, SH_LIT("10.0.0.8"), 0), 0);
	return a;
}

static void talk_with_bob(struct phone_call *a, struct phone_msg *invite)
{
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	hang_up(a, bob);
}

static void a_refused_connection_fails_over_within_a_second(void **state)
{
	struct phone_call *a;
	struct phone_msg *invite;
	struct sh_addr first;
	uint64_t before;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@example.test'})\nif not ok then call:reject(res) end\n"));
	two_servers("tcp");
	first = first_server();
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, SH_SIM_TCP_REFUSED), 0);
	before = sh_sim_now(w->sim);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	assert_int_equal(invite->proto, SH_PROTO_TCP);
	assert_true(sh_sim_now(w->sim) - before < SH_SECOND);
	assert_string_equal(uri_of(invite), "sip:bob@example.test");
	talk_with_bob(a, invite);
	end();
}

static void an_icmp_error_fails_over_at_once_and_the_next_call_begins_there(void **state)
{
	struct phone_call *a;
	struct phone_msg *invite;
	struct sh_addr first;
	uint64_t before;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@example.test'})\nif not ok then call:reject(res) end\n"));
	two_servers("udp");
	first = first_server();
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, SH_SIM_UDP_ICMP), 0);
	before = sh_sim_now(w->sim);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	assert_true(sh_sim_now(w->sim) - before < SH_SECOND);
	talk_with_bob(a, invite);
	/* Silent now, which would cost seconds: but the first is avoided. */
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, SH_SIM_UDP_SILENT), 0);
	before = sh_sim_now(w->sim);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	assert_true(sh_sim_now(w->sim) - before < 100 * SH_MS);
	talk_with_bob(a, invite);
	end();
}

static void a_server_that_says_nothing_is_left_after_four_seconds(void **state)
{
	struct phone_call *a;
	struct phone_msg *invite;
	struct sh_addr first;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@example.test'})\nif not ok then call:reject(res) end\n"));
	two_servers("udp");
	first = first_server();
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, SH_SIM_UDP_SILENT), 0);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = phone_expect(bob, "INVITE", 5 * SH_SECOND);
	soon(alice, "100");
	talk_with_bob(a, invite);
	/* The next one does not wait. */
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	talk_with_bob(a, phone_expect(bob, "INVITE", 100 * SH_MS));
	end();
}

static void a_503_fails_over_and_another_failure_does_not(void **state)
{
	struct phone *first;
	struct phone_call *a;
	struct phone_msg *invite;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@example.test'})\nif not ok then call:reject(res) end\n"));
	two_servers("udp");
	first = world_phone(w, "first", "10.0.0.8");
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(first, "INVITE"), 486, NULL, NULL, NULL);
	soon(first, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);

	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(first, "INVITE"), 503, NULL, "Retry-After: 20", NULL);
	soon(first, "ACK");
	invite = soon(bob, "INVITE");
	talk_with_bob(a, invite);

	/* For 20 seconds it is left alone. */
	world_advance(w, 18 * SH_SECOND);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	talk_with_bob(a, soon(bob, "INVITE"));
	world_advance(w, 3 * SH_SECOND);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(first, "INVITE"), 480, NULL, NULL, NULL);
	soon(first, "ACK");
	phone_ack(soon(alice, "480"), NULL, NULL);
	end();
}

static void when_all_servers_fail_the_caller_hears_it(void **state)
{
	struct sh_addr first;
	struct phone_call *a;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@example.test'})\nassert(res.cause == 'unreachable')\ncall:reject(res)\n"));
	two_servers("udp");
	first = first_server();
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, SH_SIM_UDP_ICMP), 0);
	assert_int_equal(sh_sim_add_record(w->sim, "second.example.test", "60 A 10.0.0.77"), 0);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 503, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "500"), NULL, NULL); /* nobody is at .77, 503 is the best that there was */
	(void)a;
	end();
}

static void messages_fail_over_too(void **state)
{
	struct sh_addr first;
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\nsip.on.message(function(req) req:relay({'sip:bob@example.test'}) end)\n");
	two_servers("udp");
	first = first_server();
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, SH_SIM_UDP_ICMP), 0);
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "hello");
	m = soon(bob, "MESSAGE");
	phone_assert_body(m, "hello");
	phone_reply(m, 200, NULL, NULL, NULL);
	soon(alice, "200");
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, 0), 0);
	world_advance(w, 40 * SH_SECOND); /* not avoided any more: and silent */
	assert_int_equal(sh_sim_set_unreachable(w->sim, &first, SH_SIM_UDP_SILENT), 0);
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "again");
	m = phone_expect(bob, "MESSAGE", 5 * SH_SECOND);
	soon(alice, "100");
	phone_reply(m, 200, NULL, NULL, NULL);
	phone_expect(alice, "200", SH_SECOND);
	end();
}

static void a_request_in_a_dialog_fails_over_to_the_next_address_of_the_name(void **state)
{
	struct phone_call *a;
	struct phone_msg *invite;
	struct sh_addr bobs;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@10.0.0.3'})\nif not ok then call:reject(res) end\n"));
	record("pair.example.test", "60 A 10.0.0.4"); /* carol's: the other half of a pair of servers */
	record("pair.example.test", "60 A 10.0.0.3");
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, "Contact: <sip:bob@pair.example.test>", SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK"); /* the address that has answered comes first */
	world_advance(w, 5 * SH_SECOND);
	assert_int_equal(sh_addr_parse(&bobs, SH_LIT("10.0.0.3"), 0), 0);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &bobs, SH_SIM_UDP_ICMP), 0);
	phone_bye(a);
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	soon(alice, "200");
	end();
}

static void a_failing_name_server_is_a_failure_of_that_branch(void **state)
{
	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@broken.test', 'sip:bob@10.0.0.3'})\nif not ok then call:reject(res) end\n"));
	assert_int_equal(sh_sim_fail_name(w->sim, "broken.test", -EAGAIN), 0);
	assert_int_equal(sh_sim_fail_name(w->sim, "_sip._udp.broken.test", -EAGAIN), 0);
	assert_int_equal(sh_sim_fail_name(w->sim, "_sip._tcp.broken.test", -EAGAIN), 0);
	struct phone_call *a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	talk_with_bob(a, soon(bob, "INVITE"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A); /* known to fail: at once */
	talk_with_bob(a, soon(bob, "INVITE"));
	end();
}

/* Else INVITEs with random names, by anybody, would fill the cache and keep the name servers busy. */
static void the_name_in_a_contact_is_looked_up_only_when_the_call_rings(void **state)
{
	static const char contact[] = "Contact: <sip:alice@caller.test>";
	struct phone_call *a;
	struct phone_msg *invite;
	const struct sh_transport_stats *stats;

	(void)state;
	begin(PLAN("if call.to.user == 'nobody' then return call:reject(403) end\n"
		   "local ok, res = call:dial('sip:bob@10.0.0.3')\nif not ok then call:reject(res) end\n"));
	record("caller.test", "60 A 10.0.0.4"); /* Carol's */
	stats = sh_transport_stats(sh_ua_transport(w->ua[0]));
	phone_invite(alice, "sip:nobody@example.org", contact, SDP_A);
	phone_ack(soon(alice, "403"), NULL, NULL);
	assert_int_equal(stats->dns_queries, 0);
	a = phone_invite(alice, "sip:bob@example.org", contact, SDP_A);
	invite = soon(bob, "INVITE");
	assert_int_equal(stats->dns_queries, 0);
	phone_reply(invite, 180, NULL, NULL, NULL);
	phone_expect_in(a, "180", SH_SECOND);
	assert_true(stats->dns_queries > 0);
	world_advance(w, SH_SECOND);
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	phone_bye(invite->call);
	soon(bob, "200");
	ok(soon(carol, "BYE"));
	end();
}

/* The ACK of a 2xx goes end to end: a callee that repeats the 2xx says nothing about the server on the way. */
static void a_callee_that_repeats_its_2xx_makes_no_other_call_leave_its_server(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN("local ok, res = call:dial({'sip:bob@example.test'})\nif not ok then call:reject(res) end\n"));
	record("_sip._udp.example.test", "60 SRV 10 0 5060 first.example.test");
	record("_sip._udp.example.test", "60 SRV 20 0 5060 second.example.test");
	record("first.example.test", "60 A 10.0.0.3");
	record("second.example.test", "60 A 10.0.0.4");
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 200, NULL, "Contact: <sip:bob@example.test>", SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	for (unsigned i = 0; i < 3; i++) {
		phone_reply(invite, 200, NULL, "Contact: <sip:bob@example.test>", SDP_B);
		world_advance(w, SH_SECOND / 2);
	}
	assert_int_equal(phone_count(bob, "ACK"), 2);
	assert_int_equal(phone_count(carol, "ACK"), 2); /* the last two tried the other way */
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	soon(bob, "INVITE");
	assert_int_equal(phone_count(carol, "INVITE"), 0);
	world_forget_log(w);
	world_abandon(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_refused_connection_fails_over_within_a_second),
	    cmocka_unit_test(an_icmp_error_fails_over_at_once_and_the_next_call_begins_there),
	    cmocka_unit_test(a_server_that_says_nothing_is_left_after_four_seconds),
	    cmocka_unit_test(a_503_fails_over_and_another_failure_does_not),
	    cmocka_unit_test(when_all_servers_fail_the_caller_hears_it),
	    cmocka_unit_test(messages_fail_over_too),
	    cmocka_unit_test(a_request_in_a_dialog_fails_over_to_the_next_address_of_the_name),
	    cmocka_unit_test(a_callee_that_repeats_its_2xx_makes_no_other_call_leave_its_server),
	    cmocka_unit_test(a_failing_name_server_is_a_failure_of_that_branch),
	    cmocka_unit_test(the_name_in_a_contact_is_looked_up_only_when_the_call_rings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
