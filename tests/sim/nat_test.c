/* Phones behind a NAT: reached where their packets come from, and nobody else is. */
#include "b2bua_helpers.h"

#define PLAN_NAT                                                                                                       \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\n"                                                  \
	"sip.on.register(function(req) req:register{} end)\n"                                                          \
	"sip.on.invite(function(call) local ok, res = call:dial(sip.lookup(call.uri)) if not ok then call:reject(res) end end)\n"
#define OUTSIDE "203.0.113.5" /* the public side of a NAT */
#define INSIDE  "192.168.1.7" /* what the phone behind it thinks that it is */

static void stage(const char *plan)
{
	w = world_create(NULL, plan);
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", OUTSIDE);
	carol = world_phone(w, "carol", "10.0.0.4");
}

#define CONTACT_INSIDE "Contact: <sip:bob@" INSIDE ">"

static void talk_and_hang_up(struct phone *from, struct phone *to, const char *contact_of_from, const char *contact_of_to)
{
	struct phone_call *a = phone_invite(from, to == bob ? "sip:bob@example.org" : "sip:alice@example.org", contact_of_from, SDP_A);
	struct phone_msg *invite = soon(to, "INVITE"), *answer, *bye;

	phone_reply(invite, 200, NULL, contact_of_to, SDP_B);
	answer = soon(from, "200");
	phone_ack(answer, NULL, NULL);
	soon(to, "ACK");
	world_advance(w, 100 * SH_MS);
	(void)a;
	phone_bye(invite->call); /* the called one hangs up: our BYE must reach the caller */
	soon(to, "200");
	bye = soon(from, "BYE");
	ok(bye);
}

static void a_phone_behind_a_nat_is_called_where_it_registered_from(void **state)
{
	(void)state;
	stage(PLAN_NAT);
	phone_expect(bob, phone_request(bob, "REGISTER", "sip:example.org", CONTACT_INSIDE, NULL) ? "200" : "", SH_SECOND);
	struct phone_call *a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	struct phone_msg *invite = soon(bob, "INVITE"), *bye;
	assert_string_equal(uri_of(invite), "sip:bob@" INSIDE); /* the phone knows itself by that */
	phone_reply(invite, 200, NULL, CONTACT_INSIDE, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, 100 * SH_MS);
	phone_bye(a);
	soon(alice, "200");
	bye = soon(bob, "BYE");
	assert_string_equal(uri_of(bye), "sip:bob@" INSIDE);
	ok(bye);
	end();
}

static void a_caller_behind_a_nat_gets_its_bye(void **state)
{
	(void)state;
	stage(PLAN_NAT);
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "200");
	talk_and_hang_up(bob, alice, CONTACT_INSIDE, NULL);
	end();
}

static void both_sides_of_the_nat_may_be_private(void **state)
{
	(void)state;
	stage(PLAN_NAT);
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "200");
	/* Via and Contact agree, and the packets come from elsewhere. */
	talk_and_hang_up(carol, alice, "Contact: <sip:carol@" INSIDE ">\nVia: SIP/2.0/UDP " INSIDE ":5060;rport;branch=z9hG4bKnat1", NULL);
	end();
}

static void a_contact_at_another_machine_of_the_peer_is_believed(void **state)
{
	struct phone_msg *answer, *bye, *invite;
	struct phone *dave;

	(void)state;
	stage(PLAN_NAT);
	dave = world_phone(w, "dave", "10.0.0.5");
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	soon(alice, "200");
	phone_invite(carol, "sip:alice@example.org", "Contact: <sip:carol@10.0.0.5>", SDP_C);
	invite = soon(alice, "INVITE");
	phone_reply(invite, 200, NULL, NULL, SDP_A);
	answer = soon(carol, "200");
	phone_ack(answer, NULL, NULL);
	soon(alice, "ACK");
	world_advance(w, 100 * SH_MS);
	phone_bye(invite->call);
	soon(alice, "200");
	bye = soon(dave, "BYE"); /* not to where the INVITE came from */
	ok(bye);
	end();
}

static void the_script_may_insist_and_forbid(void **state)
{
	struct phone_msg *invite;

	(void)state;
	stage("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.register(function(req) local l = req:register{nat = req['X-Nat']} sip.log.info('nat %s', l[1].behind_nat) end)\n"
	      "sip.on.invite(function(call) local ok, res = call:dial(sip.lookup(call.uri)) if not ok then call:reject(res) end end)\n");
	phone_request(carol, "REGISTER", "sip:example.org", "X-Nat: always\nContact: <sip:carol@10.0.0.5>", NULL);
	soon(carol, "200");
	world_expect_log(w, "nat true");
	phone_invite(alice, "sip:carol@example.org", NULL, SDP_A);
	invite = soon(carol, "INVITE");
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	phone_request(bob, "REGISTER", "sip:example.org", "X-Nat: never\nContact: <sip:bob@10.0.0.4>", NULL);
	soon(bob, "200");
	world_expect_log(w, "nat false");
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(carol, "INVITE"); /* at the URI, though it is a private one */
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

static void who_does_not_ask_for_rport_and_does_not_know_himself_is_answered_at_his_source(void **state)
{
	static const char text[] = "OPTIONS sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP " INSIDE ":5099;branch=z9hG4bKn%d\r\n"
				   "Max-Forwards: 70\r\nFrom: <sip:bob@example.org>;tag=1\r\nTo: <sip:10.0.0.1>\r\nCall-ID: n%d\r\n"
				   "CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
	char buf[600];
	int n;

	(void)state;
	stage(PLAN_NAT);
	n = snprintf(buf, sizeof(buf), text, 1, 1);
	phone_send(bob, SH_PROTO_UDP, "10.0.0.1", 5060, buf, (size_t)n);
	soon(bob, "200"); /* at port 5060, where it came from, and not at 5099 */
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_phone_behind_a_nat_is_called_where_it_registered_from),
	    cmocka_unit_test(a_caller_behind_a_nat_gets_its_bye),
	    cmocka_unit_test(both_sides_of_the_nat_may_be_private),
	    cmocka_unit_test(a_contact_at_another_machine_of_the_peer_is_believed),
	    cmocka_unit_test(the_script_may_insist_and_forbid),
	    cmocka_unit_test(who_does_not_ask_for_rport_and_does_not_know_himself_is_answered_at_his_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
