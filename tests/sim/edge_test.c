/* siphook as the edge proxy of another registrar (RFC 5626 5): bob is a phone, carol plays the registrar and proxy behind. */
#include "b2bua_helpers.h"
#include "b2bua/edge.h"

#define PLAN_EDGE                                                                                                      \
	"local sip = require 'siphook'\n"                                                                              \
	"sip.on.register(function(req) req:relay({'sip:10.0.0.4'}) end)\n"                                             \
	"sip.on.message(function(req) req:relay({req.flow and {uri = req.uri, flow = req.flow} or 'sip:core@10.0.0.4'}) end)\n" \
	"sip.on.invite(function(call)\n"                                                                               \
	"  local ok, res = call:dial({call.flow and {uri = call.uri, flow = call.flow} or 'sip:core@10.0.0.4'})\n"     \
	"  if not ok then call:reject(res) end\nend)\n"
#define INSTANCE "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"
#define FLOW(contact) "Supported: path, outbound\nContact: <" contact ">;+sip.instance=\"" INSTANCE "\";reg-id=1"

static char path[300]; /* value of the last Path that carol got */

static struct phone_msg *passed_on(struct phone *p, const char *headers)
{
	struct phone_msg *m;

	phone_request(p, "REGISTER", "sip:example.org", headers, NULL);
	m = soon(carol, "REGISTER");
	snprintf(path, sizeof(path), "%s", phone_value(m, "Path") ? phone_value(m, "Path") : "");
	return m;
}

static void bound(struct phone *p, const char *headers)
{
	phone_reply(passed_on(p, headers), 200, NULL, "Require: outbound\nContact: <sip:b@10.0.0.3>;expires=600", NULL);
	soon(p, "200");
}

static struct phone_call *call_bob(void)
{
	char route[400];

	snprintf(route, sizeof(route), "Route: %s", path);
	return phone_invite(carol, "sip:b@192.168.9.9", route, SDP_C);
}

static void a_register_is_passed_on_with_a_path_that_holds_a_token(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_EDGE);
	m = passed_on(bob, FLOW("sip:b@192.168.9.9") "\nX-Own: yes\nExpires: 600");
	assert_non_null(strstr(path, "@10.0.0.1:5060;lr;ob>"));
	assert_null(strstr(path, "10.0.0.3"));
	phone_assert_contains(m, "Contact", "<sip:b@192.168.9.9>;+sip.instance=\"" INSTANCE "\";reg-id=1");
	phone_assert_contains(m, "Supported", "outbound");
	phone_assert_header(m, "Expires", "600");
	phone_assert_header(m, "Call-ID", bob->calls.next ? first_call(bob)->id : "");
	phone_assert(carol, strstr(m->text, "X-Own: yes\r\n") != NULL);
	phone_reply(m, 401, NULL, "WWW-Authenticate: Digest realm=\"far\", nonce=\"n\"", NULL);
	m = soon(bob, "401"); /* whose password it is the registrar knows */
	phone_assert_contains(m, "WWW-Authenticate", "realm=\"far\"");
	m = passed_on(bob, FLOW("sip:b@192.168.9.9") "\nAuthorization: Digest username=\"bob\", realm=\"far\", nonce=\"n\", uri=\"sip:example.org\", response=\"0\"");
	phone_assert_contains(m, "Authorization", "username=\"bob\"");
	phone_reply(m, 200, NULL,
		    "Require: outbound\nContact: <sip:b@192.168.9.9>;expires=600;pub-gruu=\"sip:bob@example.org;gr=1\"\nService-Route: <sip:10.0.0.4;lr>\n"
		    "Flow-Timer: 120\nDate: Fri, 27 Nov 2026 07:00:00 GMT", NULL);
	m = soon(bob, "200");
	phone_assert_header(m, "Require", "outbound");
	phone_assert_contains(m, "Contact", "pub-gruu");
	phone_assert(bob, strstr(m->text, "Service-Route: <sip:10.0.0.4;lr>\r\n") && strstr(m->text, "Flow-Timer: 120\r\n"));
	end();
}

/* RFC 3261 16.3: two edges that pass it to each other would never end. */
static void a_register_that_may_go_no_further_is_not_passed_on(void **state)
{
	(void)state;
	begin(PLAN_EDGE);
	phone_request(bob, "REGISTER", "sip:example.org", "Max-Forwards: 0", NULL);
	soon(bob, "483");
	assert_int_equal(phone_count(carol, "REGISTER"), 0);
	phone_assert_header(passed_on(bob, "Max-Forwards: 1"), "Max-Forwards", "0");
	world_abandon(w);
}

/* Who the phone is says its password: a registrar that trusts its edge would believe the rest. */
static void what_a_phone_asserts_of_itself_is_not_passed_on(void **state)
{
	static const char asserted[] = "P-Asserted-Identity: <sip:boss@example.org>\nP-Charging-Vector: icid-value=1\nX-Own: yes";
	struct phone_msg *m;

	(void)state;
	begin(PLAN_EDGE);
	m = passed_on(bob, asserted);
	phone_assert_header(m, "P-Asserted-Identity", NULL);
	phone_assert(carol, !strstr(m->text, "P-Charging-Vector") && strstr(m->text, "X-Own: yes\r\n"));
	phone_reply(m, 403, NULL, NULL, NULL);
	soon(bob, "403");
	world_reload(w, PLAN_EDGE "sip.acl{trust = {'10.0.0.3'}}\n");
	m = passed_on(bob, asserted);
	phone_assert_header(m, "P-Asserted-Identity", "<sip:boss@example.org>");
	phone_reply(m, 403, NULL, NULL, NULL);
	soon(bob, "403");
	end();
}

static void who_is_not_the_first_hop_says_no_ob(void **state)
{
	(void)state;
	begin(PLAN_EDGE);
	phone_reply(passed_on(bob, "Via: SIP/2.0/UDP 10.0.0.3:5060;rport;branch=z9hG4bKe1, SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx1\n"
				   "Path: <sip:first@10.0.0.3;lr;ob>\n" FLOW("sip:b@192.168.9.9")),
		    200, NULL, NULL, NULL);
	assert_non_null(strstr(path, ";lr>"));
	assert_null(strstr(path, ";ob"));
	soon(bob, "200");
	end();
}

static void what_comes_back_with_the_token_goes_by_the_flow(void **state)
{
	struct phone_msg *m;

	(void)state;
	for (unsigned stream = 0; stream < 2; stream++) {
		begin(PLAN_EDGE);
		if (stream)
			phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
		bound(bob, FLOW("sip:b@192.168.9.9"));
		call_bob();
		m = soon(bob, "INVITE");
		assert_int_equal(m->proto, stream ? SH_PROTO_TCP : SH_PROTO_UDP);
		assert_string_equal(uri_of(m), "sip:b@192.168.9.9");
		assert_null(phone_value(m, "Route"));
		phone_reply(m, 200, NULL, "Contact: <sip:b@192.168.9.9>", SDP_B);
		phone_ack(soon(carol, "200"), NULL, NULL);
		soon(bob, "ACK");
		world_advance(w, 100 * SH_MS);
		phone_bye(first_call(carol) ? m->call : NULL); /* bob hangs up */
		soon(bob, "200");
		ok(soon(carol, "BYE"));
		end();
	}
}

static void a_token_whose_connection_is_gone_is_a_430(void **state)
{
	char route[400];

	(void)state;
	begin(PLAN_EDGE);
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	bound(bob, FLOW("sip:b@192.168.9.9"));
	phone_hang_up_connections(bob);
	world_advance(w, SH_SECOND);
	call_bob();
	phone_ack(soon(carol, "430"), NULL, NULL);
	snprintf(route, sizeof(route), "Route: %s\nContent-Type: text/plain", path);
	phone_request(carol, "MESSAGE", "sip:b@192.168.9.9", route, "hello");
	assert_string_equal(reason_of(soon(carol, "430")), "Flow Failed");
	end();
}

static void a_token_that_is_not_ours_is_a_403(void **state)
{
	(void)state;
	begin(PLAN_EDGE);
	bound(bob, FLOW("sip:b@192.168.9.9"));
	for (unsigned i = 5; i < 80; i += 9) { /* wherever it is changed */
		char kept = path[i];

		path[i] = kept == 'A' ? 'B' : 'A';
		call_bob();
		phone_ack(soon(carol, "403"), NULL, NULL);
		path[i] = kept;
	}
	snprintf(path, sizeof(path), "<sip:abc@10.0.0.1;lr;ob>");
	call_bob();
	phone_ack(soon(carol, "403"), NULL, NULL);
	/* Without "ob" a name in a Route is nobody's business, and a Route to somebody else is none of ours. */
	snprintf(path, sizeof(path), "<sip:abc@10.0.0.1;lr>");
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Route: <sip:abc@10.0.0.1;lr>\nContent-Type: text/plain", "x");
	phone_reply(soon(carol, "MESSAGE"), 200, NULL, NULL, NULL);
	soon(alice, "200");
	end();
}

/* RFC 5626 9, message 22: an edge that has just rebooted. Its proxy tries the phone's other flow. */
static void a_token_of_the_process_before_is_a_430(void **state)
{
	const struct sh_hash_key before = {{7, 8}};
	struct sh_path flow = {.proto = SH_PROTO_UDP};
	char token[SH_FLOW_TOKEN];
	size_t len;

	(void)state;
	begin(PLAN_EDGE);
	assert_int_equal(sh_addr_parse(&flow.local, SH_LIT("10.0.0.1"), 5060), 0);
	assert_int_equal(sh_addr_parse(&flow.remote, SH_LIT("10.0.0.3"), 5060), 0);
	len = sh_flow_token_write(&before, &flow, token);
	snprintf(path, sizeof(path), "<sip:%.*s@10.0.0.1;lr;ob>", (int)len, token);
	call_bob();
	phone_ack(soon(carol, "430"), NULL, NULL);
	phone_expect_none(bob, "INVITE", SH_SECOND);
	end();
}

static void what_the_phone_sends_with_its_own_token_goes_out(void **state)
{
	char route[400];
	struct phone_msg *m;

	(void)state;
	begin(PLAN_EDGE);
	bound(bob, FLOW("sip:b@192.168.9.9"));
	snprintf(route, sizeof(route), "Route: %s\nContent-Type: text/plain", path);
	phone_request(bob, "MESSAGE", "sip:alice@example.org", route, "hello");
	m = soon(carol, "MESSAGE");
	phone_reply(m, 200, NULL, NULL, NULL);
	soon(bob, "200");
	end();
}

static void a_token_says_nothing_but_what_was_put_in_and_opens_with_its_key_only(void **state)
{
	const struct sh_hash_key key = {{1, 2}}, other = {{1, 3}};
	struct sh_path in = {.proto = SH_PROTO_TLS, .endpoint = 3, .worker = 2, .flow = UINT64_C(0x0102030405060708)}, out;
	char text[SH_FLOW_TOKEN];
	size_t len;

	(void)state;
	assert_int_equal(sh_addr_parse(&in.local, SH_LIT("2001:db8::1"), 5061), 0);
	assert_int_equal(sh_addr_parse(&in.remote, SH_LIT("2001:db8::2"), 40000), 0);
	len = sh_flow_token_write(&key, &in, text);
	assert_int_equal(sh_flow_token_read(&key, sh_slice_make(text, len), &out), 0);
	assert_int_equal(out.proto, SH_PROTO_TLS);
	assert_int_equal(out.endpoint, 3);
	assert_int_equal(out.worker, 2);
	assert_int_equal(out.flow, in.flow);
	assert_true(sh_addr_eq(&in.local, &out.local) && sh_addr_eq(&in.remote, &out.remote));
	assert_int_equal(sh_flow_token_read(&other, sh_slice_make(text, len), &out), -ESTALE);
	for (size_t i = 8; i < len; i++) { /* behind version and name of the key: each letter counts */
		char kept = text[i];

		text[i] = kept == 'A' ? 'Q' : 'A';
		assert_int_equal(sh_flow_token_read(&key, sh_slice_make(text, len), &out), -EBADMSG);
		text[i] = kept;
	}
	assert_int_equal(sh_flow_token_read(&key, sh_slice_make(text, len - 1), &out), -EINVAL);
	assert_int_equal(sh_flow_token_read(&key, SH_LIT("alice"), &out), -EINVAL);
}

/* ------------------------------------------------------------------ every allocation may fail */

/* Requests are answered, and a REGISTER's Path comes back with an INVITE and a MESSAGE. */
static void answer_all(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->code || !m->m.is_request || m->m.method == SH_ACK)
		return;
	if (m->m.method == SH_REGISTER && phone_value(m, "Path"))
		snprintf(path, sizeof(path), "%s", phone_value(m, "Path"));
	phone_reply(m, m->m.method == SH_INVITE ? 486 : 200, NULL, NULL, NULL);
}

static void stage(struct world *world)
{
	w = world;
	path[0] = 0;
	alice = world_phone(w, "alice", ALICE);
	bob = world_phone(w, "bob", BOB);
	carol = world_phone(w, "carol", CAROL);
	bob->on_message = carol->on_message = answer_all;
	phone_auto(carol, PHONE_ABSORB | PHONE_RESEND);
	phone_auto(bob, PHONE_ABSORB | PHONE_RESEND);
}

static void act(struct world *world)
{
	char headers[400];

	phone_request(bob, "REGISTER", "sip:example.org", FLOW("sip:b@192.168.9.9"), NULL);
	world_advance(world, 40 * SH_SECOND);
	if (!path[0])
		return;
	call_bob();
	world_advance(world, SH_SECOND);
	snprintf(headers, sizeof(headers), "Route: %s\nContent-Type: text/plain", path);
	phone_request(carol, "MESSAGE", "sip:b@192.168.9.9", headers, "x");
	world_advance(world, SH_SECOND);
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	world_sweep(NULL, PLAN_EDGE, stage, act, NULL, 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_register_is_passed_on_with_a_path_that_holds_a_token),
		cmocka_unit_test(a_register_that_may_go_no_further_is_not_passed_on),
		cmocka_unit_test(what_a_phone_asserts_of_itself_is_not_passed_on),
		cmocka_unit_test(who_is_not_the_first_hop_says_no_ob),
	    cmocka_unit_test(what_comes_back_with_the_token_goes_by_the_flow),
	    cmocka_unit_test(a_token_whose_connection_is_gone_is_a_430),
	    cmocka_unit_test(a_token_that_is_not_ours_is_a_403),
	    cmocka_unit_test(a_token_of_the_process_before_is_a_430),
	    cmocka_unit_test(what_the_phone_sends_with_its_own_token_goes_out),
	    cmocka_unit_test(a_token_says_nothing_but_what_was_put_in_and_opens_with_its_key_only),
	    cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
