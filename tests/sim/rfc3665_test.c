/* The flows of RFC 3665 in which a server takes part, by their sections. siphook stands where the RFC has a registrar, a redirect
 * server or a proxy (3.3: two of them, one behind the other); as a B2BUA it has a dialog with each side, so that what the RFC shows
 * with one Call-ID has two here, and Record-Route none. */
#include "script_world.h"

#define REGISTRAR                                                                                                      \
	PLAN "sip.on.register(function(req)\n"                                                                         \
	     "  local user = req:auth{realm = 'example.org', password = 'secret', algorithms = {'MD5'}}\n"             \
	     "  if user then req:register{} end\nend)\n"
#define PROXY                                                                                                          \
	PLAN "sip.on.register(function(req) req:register{} end)\nsip.on.invite(function(call)\n"                       \
	     "  local user = call:auth{realm = 'example.org', password = 'secret', algorithms = {'MD5'}}\n"            \
	     "  if not user then return end\n"                                                                          \
	     "  local ok, res = call:dial(sip.lookup(call.uri), {timeout = 20})\n  if not ok then call:reject(res) end\nend)\n"
#define PLAIN                                                                                                          \
	PLAN "sip.on.register(function(req) req:register{} end)\nsip.on.invite(function(call)\n"                       \
	     "  local ok, res = call:dial(sip.lookup(call.uri), {timeout = 20})\n  if not ok then call:reject(res) end\nend)\n"

static void begin_flow(const char *script)
{
	begin(script);
	phone_login(alice, "alice", "secret");
	phone_login(bob, "bob", "secret");
}

static struct phone_msg *registers(struct phone *p, const char *headers, bool challenged)
{
	struct phone_call *c = phone_request(p, "REGISTER", "sip:example.org", headers, NULL);

	if (challenged) {
		struct phone_msg *m = phone_expect_in(c, "401", SH_SECOND);

		phone_assert_contains(m, "WWW-Authenticate", "Digest realm=\"example.org\"");
		phone_authorize(m);
	}
	return phone_expect_in(c, "200", SH_SECOND);
}

/* The first INVITE of a flow with a proxy: 407, ACK, INVITE with credentials. */
static struct phone_call *calls_bob(void)
{
	struct phone_call *c = dial("sip:bob@example.org");
	struct phone_msg *m = phone_expect_in(c, "407", SH_SECOND);

	phone_assert_contains(m, "Proxy-Authenticate", "Digest realm=\"example.org\"");
	phone_authorize(m);
	return c;
}

static struct phone_msg *rings(struct phone_call *c)
{
	struct phone_msg *m = soon(bob, "INVITE");

	phone_reply(m, 180, NULL, NULL, NULL);
	phone_expect_in(c, "180", SH_SECOND);
	return m;
}

static void section_2_1_successful_new_registration(void **state)
{
	(void)state;
	begin_flow(REGISTRAR);
	phone_assert_contains(registers(bob, "Contact: <sip:bob@10.0.0.3>", true), "Contact", "<sip:bob@10.0.0.3>;expires=3600");
	end();
}

static void section_2_2_update_of_contact_list(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_flow(REGISTRAR);
	registers(bob, "Contact: <sip:bob@10.0.0.3>", true);
	m = registers(bob, "Contact: <sip:bob@10.0.0.30>", true);
	assert_non_null(strstr(m->text, "sip:bob@10.0.0.3>"));
	assert_non_null(strstr(m->text, "sip:bob@10.0.0.30>"));
	end();
}

static void section_2_3_request_for_current_contact_list(void **state)
{
	(void)state;
	begin_flow(REGISTRAR);
	registers(bob, "Contact: <sip:bob@10.0.0.3>", true);
	phone_assert_contains(registers(bob, "-Contact", true), "Contact", "<sip:bob@10.0.0.3>");
	end();
}

static void section_2_4_cancellation_of_registration(void **state)
{
	(void)state;
	begin_flow(REGISTRAR);
	registers(bob, "Contact: <sip:bob@10.0.0.3>", true);
	phone_assert_header(registers(bob, "Contact: *\nExpires: 0", true), "Contact", NULL);
	end();
}

static void section_2_5_unsuccessful_registration(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_flow(REGISTRAR);
	phone_login(bob, "bob", "wrong");
	c = phone_request(bob, "REGISTER", "sip:example.org", NULL, NULL);
	phone_authorize(phone_expect_in(c, "401", SH_SECOND));
	phone_expect_in(c, "401", SH_SECOND);
	end();
}

static void section_3_2_session_establishment_through_a_proxy(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_flow(PROXY);
	registers(bob, NULL, false);
	c = calls_bob();
	m = rings(c);
	phone_assert_header(m, "Max-Forwards", "69");
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, 5 * SH_SECOND);
	phone_bye(m->call); /* F20: bob hangs up */
	soon(bob, "200 BYE");
	phone_reply(soon(alice, "BYE"), 200, NULL, NULL, NULL);
	end();
}

/* Both servers want a password: the first of the caller, the second of the first. */
static void section_3_3_with_multiple_proxy_authentication(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_flow(PLAN "sip.on.invite(function(call)\n"
			"  if not call:auth{realm = 'example.org', password = 'secret', algorithms = {'MD5'}} then return end\n"
			"  call:dial({uri = 'sip:bob@10.0.0.3', auth = {user = 'us', password = 'ours'}})\nend)\n");
	c = calls_bob();
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Proxy-Authorization", NULL); /* alice's are not for the second one */
	phone_reply(m, 407, NULL, "Proxy-Authenticate: Digest realm=\"biloxi\", nonce=\"n\", qop=\"auth\"", NULL);
	soon(bob, "ACK");
	m = rings(c);
	phone_assert_contains(m, "Proxy-Authorization", "username=\"us\", realm=\"biloxi\"");
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(c, bob);
	end();
}

static void section_3_4_with_proxy_failure(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_flow(PLAN "sip.on.invite(function(call)\n"
			"  local ok, res = call:dial({{'sip:x@10.0.0.4'}, {'sip:bob@10.0.0.3'}}, {first_timeout = 2})\n"
			"  if not ok then call:reject(res) end\nend)\n");
	c = dial("sip:bob@example.org");
	soon(carol, "INVITE"); /* the first proxy is down: it says nothing */
	ignore_trying(alice);
	phone_reply(phone_expect(bob, "INVITE", 3 * SH_SECOND), 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	ignore_trying(alice);
	talk(c, bob);
	world_advance(w, 40 * SH_SECOND);
	ignore_trying(alice);
	end();
}

/* The ALG of the RFC is what a B2BUA is: the caller's Contact and description are of his side, and what stands on the other is ours. */
static void section_3_5_through_a_sip_alg(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_flow(PLAIN);
	registers(bob, NULL, false);
	c = dial("sip:bob@example.org");
	m = rings(c);
	phone_assert_header(m, "Contact", "<sip:10.0.0.1:5060>");
	phone_assert(bob, strcmp(m->call->id, c->id) != 0);
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(c, bob);
	end();
}

static void section_3_6_via_a_redirect_server(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_flow(PLAN "sip.on.invite(function(call) call:redirect('sip:bob@10.0.0.3') end)\n");
	c = dial("sip:bob@example.org");
	m = phone_expect_in(c, "302", SH_SECOND);
	phone_assert_header(m, "Contact", "<sip:bob@10.0.0.3>");
	phone_ack(m, NULL, NULL);
	end();
	/* and the server that follows it */
	begin_flow(PLAN "sip.on.invite(function(call) call:dial('sip:x@10.0.0.4', {follow_redirects = 1}) end)\n");
	c = dial("sip:bob@example.org");
	phone_reply(soon(carol, "INVITE"), 302, NULL, "Contact: <sip:bob@10.0.0.3>", NULL);
	soon(carol, "ACK");
	m = rings(c);
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(c, bob);
	end();
}

static void section_3_7_session_with_re_invite(void **state)
{
	struct phone_call *c;
	struct phone_msg *m, *re;

	(void)state;
	begin_flow(PLAIN);
	registers(bob, NULL, false);
	c = dial("sip:bob@example.org");
	m = rings(c);
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	world_advance(w, SH_SECOND);
	phone_reinvite(m->call, "Contact: <sip:bob@10.0.0.3:5062>", SDP); /* his address has changed */
	re = soon(alice, "INVITE");
	phone_reply(re, 200, NULL, NULL, SDP);
	soon(alice, "ACK");
	phone_ack(soon(bob, "200 INVITE"), NULL, NULL);
	world_advance(w, SH_SECOND);
	phone_bye(m->call);
	soon(bob, "200 BYE");
	phone_reply(soon(alice, "BYE"), 200, NULL, NULL, NULL);
	end();
}

static void section_3_8_unsuccessful_no_answer(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_flow(PROXY);
	registers(bob, NULL, false);
	c = calls_bob();
	m = rings(c);
	phone_cancel(c, NULL); /* F12: alice gives up */
	phone_expect_in(c, "200 CANCEL", SH_SECOND);
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(c, "487");
	end();
}

static void section_3_9_unsuccessful_busy(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_flow(PROXY);
	registers(bob, NULL, false);
	c = calls_bob();
	answer(bob, 486);
	refused(c, "486");
	end();
}

static void section_3_10_unsuccessful_no_response_from_user_agent(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_flow(PROXY);
	registers(bob, NULL, false);
	c = calls_bob();
	soon(bob, "INVITE"); /* and its repetitions: nobody is there */
	ignore_trying(alice);
	world_advance(w, 5 * SH_SECOND);
	ignore_trying(alice);
	phone_ack(phone_expect_in(c, "408", SH_SECOND), NULL, NULL);
	end();
}

static void section_3_11_unsuccessful_temporarily_unavailable(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_flow(PROXY);
	registers(bob, NULL, false);
	c = calls_bob();
	phone_reply(rings(c), 480, NULL, "Retry-After: 3600", NULL);
	soon(bob, "ACK");
	phone_assert_header(refused(c, "480"), "Retry-After", "3600");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(section_2_1_successful_new_registration),
		cmocka_unit_test(section_2_2_update_of_contact_list),
		cmocka_unit_test(section_2_3_request_for_current_contact_list),
		cmocka_unit_test(section_2_4_cancellation_of_registration),
		cmocka_unit_test(section_2_5_unsuccessful_registration),
		cmocka_unit_test(section_3_2_session_establishment_through_a_proxy),
		cmocka_unit_test(section_3_3_with_multiple_proxy_authentication),
		cmocka_unit_test(section_3_4_with_proxy_failure),
		cmocka_unit_test(section_3_5_through_a_sip_alg),
		cmocka_unit_test(section_3_6_via_a_redirect_server),
		cmocka_unit_test(section_3_7_session_with_re_invite),
		cmocka_unit_test(section_3_8_unsuccessful_no_answer),
		cmocka_unit_test(section_3_9_unsuccessful_busy),
		cmocka_unit_test(section_3_10_unsuccessful_no_response_from_user_agent),
		cmocka_unit_test(section_3_11_unsuccessful_temporarily_unavailable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
