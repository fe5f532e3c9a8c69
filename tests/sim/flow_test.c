/* Flows of phones that do outbound (RFC 5626) and what becomes of them: keep-alives over datagrams, ICMP, 430, edge proxies, requests
 * in dialogs by the flow that made them ("ob"), GRUUs as Contact (RFC 5627), phones that come back by another connection. */
#include "b2bua_helpers.h"
#include "core/alloc.h"

#define PLAN_FLOW(options)                                                                                             \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\n"                                                  \
	"sip.on.register(function(req) req:register{" options "} end)\n"                                               \
	"sip.on.binding(function(aor, contact, event) sip.log.info('%s %s', contact.uri, event) end)\n"                \
	"sip.on.message(function(req) local result = req:relay(sip.lookup(req.uri)) if not result then req:reply(480) end end)\n" \
	"sip.on.invite(function(call)\n"                                                                               \
	"  local ok, res = call:dial(sip.lookup(call.uri))\n"                                                          \
	"  if not ok then sip.log.info('cause %s', res.cause) call:reject(res) end\nend)\n"

#define INSTANCE "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"
#define FLOW(contact, id) "Supported: path, outbound\nContact: <" contact ">;+sip.instance=\"" INSTANCE "\";reg-id=" id
static const char stun[] = "\x00\x01\x00\x00\x21\x12\xa4\x42" "abcdefghijkl";

static struct phone_msg *put(struct phone *p, const char *headers)
{
	phone_request(p, "REGISTER", "sip:example.org", headers, NULL);
	return soon(p, "200");
}

static void ping(struct phone *p)
{
	phone_send(p, SH_PROTO_UDP, "10.0.0.1", 5060, stun, sizeof(stun) - 1);
	soon(p, "?");
}

/* So many, a second apart: after three they are expected. */
static void pings(struct phone *p, unsigned count)
{
	while (count-- > 0) {
		ping(p);
		world_advance(w, SH_SECOND);
	}
}

static struct sh_addr address(const char *text)
{
	struct sh_addr a;

	assert_int_equal(sh_addr_parse(&a, sh_slice_cstr(text), 0), 0);
	return a;
}

static void unreachable(const char *ip, unsigned how)
{
	struct sh_addr a = address(ip);

	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, how), 0);
}

static unsigned bound(void)
{
	return (unsigned)sh_location_count(w->location);
}

/* Busy; the caller hears it. */
static void refuse(struct phone *callee, struct phone_msg *invite)
{
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(callee, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
}

/* ------------------------------------------------------------------ keep-alives over datagrams */

static void stun_that_ceases_ends_the_flow_and_the_script_hears_it(void **state)
{
	(void)state;
	for (unsigned workers = 1; workers < 4; workers++) {
		struct world_options o = {.workers = workers};

		begin_with(&o, PLAN_FLOW("flow_timer = 30, max_expires = 3600"));
		phone_assert_header(put(bob, FLOW("sip:b@10.0.0.3", "1")), "Flow-Timer", "30");
		for (unsigned i = 0; i < 8; i++) {
			world_advance(w, 40 * SH_SECOND); /* late, but within the grace */
			ping(bob);
		}
		world_advance(w, 40 * SH_SECOND);
		assert_int_equal(bound(), 1);
		assert_false(world_has_log(w, "lost"));
		world_advance(w, 6 * SH_SECOND);
		world_expect_log(w, "sip:b@10.0.0.3 lost");
		assert_int_equal(bound(), 0);
		end();
	}
}

static void a_phone_that_never_sends_keep_alives_over_datagrams_stays(void **state)
{
	(void)state;
	begin(PLAN_FLOW("flow_timer = 30, max_expires = 600"));
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	world_advance(w, 590 * SH_SECOND);
	assert_int_equal(bound(), 1);
	world_advance(w, 20 * SH_SECOND);
	world_expect_log(w, "expired");
	end();
}

static void what_is_no_row_of_keep_alives_arms_nothing(void **state)
{
	(void)state;
	begin(PLAN_FLOW("flow_timer = 30, max_expires = 600"));
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	pings(bob, 2);
	for (unsigned i = 0; i < 5; i++) { /* one with each REGISTER, and those come too seldom */
		world_advance(w, 100 * SH_SECOND);
		put(bob, FLOW("sip:b@10.0.0.3", "1"));
		ping(bob);
	}
	world_advance(w, 500 * SH_SECOND);
	assert_int_equal(bound(), 1);
	assert_false(world_has_log(w, "lost"));
	pings(bob, 3);
	world_advance(w, 50 * SH_SECOND);
	world_expect_log(w, "sip:b@10.0.0.3 lost");
	assert_int_equal(bound(), 0);
	end();
}

static unsigned next_reader(void *ctx, const char *data, size_t len, unsigned count)
{
	(void)data;
	(void)len;
	return (*(unsigned *)ctx)++ % count;
}

static void nobody_is_watched_on_a_socket_that_several_workers_read(void **state)
{
	struct world_options o = {.workers = 2};
	unsigned turn = 0;

	(void)state;
	begin_with(&o, PLAN_FLOW("flow_timer = 30, max_expires = 600"));
	sh_sim_set_pick(w->sim, next_reader, &turn);
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	pings(bob, 8);
	for (unsigned i = 0; i < 6; i++) { /* all are read by the one that has not seen the REGISTER, or by the other */
		turn = i / 3;
		world_advance(w, 40 * SH_SECOND);
		ping(bob);
	}
	assert_int_equal(bound(), 1);
	assert_false(world_has_log(w, "lost"));
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static uint64_t quiet_peers(void)
{
	return sh_transport_stats(sh_ua_transport(w->ua[0]))->quiet;
}

static void where_a_phone_was_nobody_is_waited_for(void **state)
{
	(void)state;
	begin(PLAN_FLOW("flow_timer = 30, max_expires = 600"));
	phone_identity(carol, "bob", "example.org");
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	pings(bob, 3);
	put(carol, FLOW("sip:b@10.0.0.4", "1")); /* the same phone elsewhere: one binding */
	assert_int_equal(bound(), 1);
	world_advance(w, 60 * SH_SECOND);
	assert_int_equal(quiet_peers(), 0);
	assert_int_equal(bound(), 1);
	pings(carol, 3);
	put(carol, FLOW("sip:b@10.0.0.4", "1") ";expires=0");
	world_advance(w, 60 * SH_SECOND);
	assert_int_equal(quiet_peers(), 0);
	world_forget_log(w);
	end();
}

static void a_registration_that_is_refused_is_not_watched(void **state)
{
	(void)state;
	begin(PLAN_FLOW("flow_timer = 30, max_expires = 600, max_contacts = 1"));
	put(carol, NULL);
	phone_identity(carol, "bob", "example.org");
	put(carol, NULL);
	phone_request(bob, "REGISTER", "sip:example.org", FLOW("sip:b@10.0.0.3", "1"), NULL);
	soon(bob, "403");
	pings(bob, 3);
	world_advance(w, 60 * SH_SECOND);
	assert_int_equal(quiet_peers(), 0);
	put(carol, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void no_more_peers_are_watched_than_memory_should_hold(void **state)
{
	struct sh_path from = {.proto = SH_PROTO_UDP, .remote = address("10.9.0.1")};
	struct sh_transport *t;
	long before = 0;

	(void)state;
	begin(PLAN_FLOW("flow_timer = 30"));
	t = sh_ua_transport(w->ua[0]);
	sh_alloc_fail_after(LONG_MAX); /* counts */
	for (unsigned i = 0; i < (1 << 18) + 100; i++) {
		from.remote.port = (uint16_t)i;
		from.remote.ip[1] = (uint8_t)(i >> 16);
		if (i == 1 << 18)
			before = sh_alloc_count();
		sh_transport_flow_expect(t, &from, 45 * SH_SECOND, 600 * SH_SECOND);
	}
	assert_true(before >= 1 << 18);
	assert_int_equal(sh_alloc_count(), before);
	sh_alloc_fail_after(-1);
	sh_transport_forget_beats(t);
	end();
}

static void a_register_counts_as_a_keep_alive_and_begins_the_time_anew(void **state)
{
	(void)state;
	begin(PLAN_FLOW("flow_timer = 30, max_expires = 600"));
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	pings(bob, 3);
	world_advance(w, 40 * SH_SECOND);
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	world_advance(w, 40 * SH_SECOND);
	assert_int_equal(bound(), 1);
	world_advance(w, 10 * SH_SECOND);
	assert_int_equal(bound(), 0);
	world_expect_log(w, "lost");
	end();
}

static void without_a_flow_timer_silence_means_nothing(void **state)
{
	(void)state;
	begin(PLAN_FLOW("max_expires = 600"));
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	pings(bob, 3);
	world_advance(w, 580 * SH_SECOND);
	assert_int_equal(bound(), 1);
	world_advance(w, 20 * SH_SECOND);
	world_forget_log(w);
	end();
}

static void another_phone_at_that_address_keeps_nobody_alive(void **state)
{
	(void)state;
	begin(PLAN_FLOW("flow_timer = 30"));
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	pings(bob, 3);
	put(carol, "Contact: <sip:c@10.0.0.4>"); /* plain: no flow, nothing to watch */
	for (unsigned i = 0; i < 6; i++) {
		world_advance(w, 10 * SH_SECOND);
		ping(carol);
	}
	world_expect_log(w, "sip:b@10.0.0.3 lost");
	assert_int_equal(bound(), 1);
	put(carol, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

/* ------------------------------------------------------------------ dead flows */

static void icmp_for_a_request_of_ours_ends_a_flow_over_datagrams_and_no_plain_binding(void **state)
{
	(void)state;
	begin(PLAN_FLOW(""));
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	put(carol, NULL);
	unreachable("10.0.0.3", SH_SIM_UDP_ICMP);
	unreachable("10.0.0.4", SH_SIM_UDP_ICMP);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_ack(soon(alice, "500"), NULL, NULL);
	world_expect_log(w, "sip:b@10.0.0.3 lost");
	phone_invite(alice, "sip:carol@example.org", NULL, SDP_A);
	phone_ack(soon(alice, "500"), NULL, NULL);
	assert_int_equal(bound(), 1); /* a phone that reboots would miss calls until it registers again */
	unreachable("10.0.0.4", 0);
	put(carol, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void a_flow_over_datagrams_is_called_where_it_comes_from_whatever_its_contact_says(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_FLOW(""));
	put(bob, FLOW("sip:b@10.0.0.77:5099", "1")); /* 5626 7: by the flow */
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	assert_string_equal(uri_of(m), "sip:b@10.0.0.77:5099");
	refuse(bob, m);
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

/* ------------------------------------------------------------------ behind edge proxies */

#define EDGE(ip, id) "Via: SIP/2.0/UDP " ip ":5060;rport;branch=z9hG4bKe" id ", SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx" id "\n" \
		     "Path: <sip:token" id "@" ip ";lr;ob>\n" FLOW("sip:bob@192.0.2.9", id)

/* Bob's phone is behind two edge proxies: bob and carol play them. */
static void two_edges(void)
{
	phone_identity(carol, "bob", "example.org");
	phone_assert_header(put(bob, EDGE("10.0.0.3", "1")), "Require", "outbound");
	world_advance(w, SH_SECOND);
	put(carol, EDGE("10.0.0.4", "2")); /* the newest */
	assert_int_equal(bound(), 2);
}

static void each_flow_has_the_path_of_its_own_edge_proxy(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_FLOW("flow_timer = 30"));
	two_edges();
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(carol, "INVITE");
	assert_string_equal(uri_of(m), "sip:bob@192.0.2.9");
	phone_assert_header(m, "Route", "<sip:token2@10.0.0.4;lr;ob>");
	refuse(carol, m); /* busy is busy */
	phone_expect_none(bob, "INVITE", SH_SECOND);
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void after_a_430_of_an_edge_proxy_the_phone_is_called_by_its_next_flow(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_FLOW(""));
	two_edges();
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(carol, "INVITE");
	phone_reply(m, 430, NULL, NULL, NULL);
	soon(carol, "ACK");
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Route", "<sip:token1@10.0.0.3;lr;ob>");
	refuse(bob, m);
	/* Other requests, too. */
	phone_request(alice, "MESSAGE", "sip:bob@example.org", "Content-Type: text/plain", "hello");
	phone_reply(soon(carol, "MESSAGE"), 430, NULL, NULL, NULL);
	m = soon(bob, "MESSAGE");
	phone_assert_header(m, "Route", "<sip:token1@10.0.0.3;lr;ob>");
	phone_reply(m, 202, NULL, NULL, NULL);
	soon(alice, "202");
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void who_calls_hears_nothing_of_flows(void **state)
{
	(void)state;
	begin(PLAN_FLOW(""));
	two_edges();
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(carol, "INVITE"), 430, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_reply(soon(bob, "INVITE"), 430, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "480"), NULL, NULL); /* RFC 5626 11.5: endpoints never receive a 430 */
	world_expect_log(w, "cause unreachable");
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void only_408_and_430_lead_to_another_flow(void **state)
{
	static const struct {
		unsigned code;
		const char *heard; /* by the caller; NULL: the other flow is tried */
	} cases[] = {{408, NULL}, {430, NULL}, {404, "404"}, {480, "480"}, {500, "500"}, {503, "500"}, {603, "603"}};

	(void)state;
	begin(PLAN_FLOW(""));
	two_edges();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
		phone_reply(soon(carol, "INVITE"), cases[i].code, NULL, NULL, NULL);
		soon(carol, "ACK");
		if (cases[i].heard)
			phone_ack(soon(alice, cases[i].heard), NULL, NULL);
		else
			refuse(bob, soon(bob, "INVITE"));
		phone_expect_none(bob, "INVITE", SH_SECOND);
	}
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void an_edge_proxy_may_close_its_connection_and_the_phone_stays_registered(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_FLOW("flow_timer = 30"));
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	m = put(bob, "Via: SIP/2.0/TCP 10.0.0.3:5060;branch=z9hG4bKe1, SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx1\n"
		     "Path: <sip:token1@10.0.0.3;lr;ob;transport=tcp>\n" FLOW("sip:bob@192.0.2.9", "1"));
	assert_null(strstr(m->text, "Flow-Timer")); /* the flow is not ours to watch */
	phone_hang_up_connections(bob);
	world_advance(w, 60 * SH_SECOND);
	assert_int_equal(bound(), 1);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	assert_int_equal(m->proto, SH_PROTO_TCP);
	phone_assert_contains(m, "Route", "token1@10.0.0.3");
	refuse(bob, m);
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

/* ------------------------------------------------------------------ what a registrar wants to see */

static void a_registration_by_a_flow_has_one_contact(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_FLOW(""));
	phone_request(bob, "REGISTER", "sip:example.org", FLOW("sip:b@10.0.0.3", "1") ", <sip:b@10.0.0.4>", NULL);
	m = soon(bob, "400");
	assert_string_equal(reason_of(m), "A Flow Has One Contact");
	assert_int_equal(bound(), 0);
	put(bob, FLOW("sip:b@10.0.0.3", "1") ", <sip:b@10.0.0.4>;expires=0"); /* one that goes may stand beside it */
	assert_int_equal(bound(), 1);
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void a_registrar_may_insist_on_outbound(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_FLOW("outbound = 'require'"));
	phone_request(bob, "REGISTER", "sip:example.org", NULL, NULL);
	m = soon(bob, "421");
	phone_assert_header(m, "Require", "outbound");
	phone_request(bob, "REGISTER", "sip:example.org", "Supported: outbound\nContact: <sip:b@10.0.0.3>;reg-id=1", NULL);
	soon(bob, "421"); /* without an instance it is none */
	put(bob, FLOW("sip:b@10.0.0.3", "1"));
	put(bob, "Contact: *\nExpires: 0");
	world_reload(w, PLAN_FLOW("outbound = 'allow'"));
	put(bob, NULL);
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

static void what_a_client_requires_is_done(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_FLOW(""));
	m = put(bob, "Require: outbound, gruu\nContact: <sip:b@10.0.0.3>;+sip.instance=\"" INSTANCE "\";reg-id=1");
	phone_assert_header(m, "Require", "outbound");
	phone_assert(bob, strstr(m->text, "pub-gruu=") != NULL);
	phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);
	phone_assert(alice, strstr(soon(alice, "200")->text, "outbound, gruu") != NULL);
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

/* ------------------------------------------------------------------ requests in a dialog */

/* Bob calls alice with that Contact; alice hangs up. The BYE, or NULL when bob gets none. */
static struct phone_msg *called_back(const char *contact, struct phone *expects)
{
	struct phone_msg *invite, *bye;

	put(alice, NULL);
	phone_invite(bob, "sip:alice@example.org", contact, SDP_B);
	invite = soon(alice, "INVITE");
	phone_reply(invite, 200, NULL, NULL, SDP_A);
	phone_ack(soon(bob, "200"), NULL, NULL);
	soon(alice, "ACK");
	world_advance(w, 100 * SH_MS);
	phone_bye(invite->call);
	soon(alice, "200");
	bye = soon(expects, "BYE");
	ok(bye);
	world_advance(w, SH_SECOND);
	put(alice, "Contact: *\nExpires: 0");
	world_forget_log(w);
	return bye;
}

static void a_contact_with_ob_is_reached_by_the_flow_of_its_invite(void **state)
{
	(void)state;
	begin(PLAN_FLOW(""));
	assert_string_equal(uri_of(called_back("Contact: <sip:bob@10.0.0.4>", carol)), "sip:bob@10.0.0.4"); /* else it is believed */
	assert_string_equal(uri_of(called_back("Contact: <sip:bob@10.0.0.4;ob>", bob)), "sip:bob@10.0.0.4;ob");
	called_back("Contact: <sip:bob@10.0.0.4>\nRoute: <sip:10.0.0.1;lr;ob>", bob);
	end();
}

static void ob_goes_before_what_the_listener_says(void **state)
{
	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\nsip.listen{uri = 'udp://10.0.0.1:5060', nat = 'never'}\n"
	      "sip.on.register(function(req) req:register{} end)\n"
	      "sip.on.invite(function(call) local ok, res = call:dial(sip.lookup(call.uri)) if not ok then call:reject(res) end end)\n");
	called_back("Contact: <sip:bob@10.0.0.4;ob>", bob);
	end();
}

static void ob_of_a_caller_behind_a_proxy_is_the_proxys_business(void **state)
{
	(void)state;
	begin(PLAN_FLOW(""));
	called_back("Contact: <sip:bob@10.0.0.4;ob>\n"
		    "Via: SIP/2.0/UDP 10.0.0.3:5060;rport;branch=z9hG4bKp1, SIP/2.0/UDP 10.0.0.4;branch=z9hG4bKp2", carol);
	end();
}

static void a_subscriber_with_ob_is_notified_by_its_flow(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.subscribe(function(sub) assert(sub:accept{serve = true}) end)\n");
	c = phone_request(bob, "SUBSCRIBE", "sip:alice@example.org", "Contact: <sip:bob@10.0.0.4;ob>\nEvent: dialog\nExpires: 60", NULL);
	soon(bob, "200");
	m = phone_expect_in(c, "NOTIFY", SH_SECOND);
	assert_string_equal(uri_of(m), "sip:bob@10.0.0.4;ob");
	ok(m);
	phone_in_call(c, "SUBSCRIBE", "Contact: <sip:bob@10.0.0.4;ob>\nEvent: dialog\nExpires: 0", NULL);
	soon(bob, "200");
	ok(phone_expect_in(c, "NOTIFY", SH_SECOND));
	end();
}

static void a_gruu_as_contact_is_the_phone_that_it_was_given_to(void **state)
{
	struct phone_msg *bye;

	(void)state;
	begin(PLAN_FLOW(""));
	assert_int_equal(sh_sim_add_record(w->sim, "example.org", "60 A 10.0.0.1"), 0); /* looked up, it would be ourselves */
	put(bob, "Supported: gruu\nContact: <sip:b@10.0.0.3>;+sip.instance=\"" INSTANCE "\"");
	bye = called_back("Contact: <sip:bob@example.org;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>", bob);
	assert_string_equal(uri_of(bye), "sip:b@10.0.0.3");
	put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
	end();
}

/* A phone on TCP that talks with alice loses its connection, comes back and registers: where alice's BYE arrives. */
static void hang_up_after_a_new_connection(const char *contact, bool comes_back, struct phone *expects)
{
	struct phone_msg *invite;
	char headers[200];

	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	snprintf(headers, sizeof(headers), "Contact: <%s>", contact);
	put(alice, NULL);
	put(bob, headers);
	phone_invite(bob, "sip:alice@example.org", headers, SDP_B);
	invite = soon(alice, "INVITE");
	phone_reply(invite, 200, NULL, NULL, SDP_A);
	phone_ack(soon(bob, "200"), NULL, NULL);
	soon(alice, "ACK");
	world_advance(w, 100 * SH_MS);
	phone_hang_up_connections(bob);
	world_advance(w, SH_SECOND);
	if (comes_back)
		put(bob, headers);
	phone_bye(invite->call);
	soon(alice, "200");
	if (expects)
		ok(soon(expects, "BYE"));
	else
		phone_expect_none(bob, "BYE", SH_SECOND);
	world_advance(w, 40 * SH_SECOND);
	put(alice, "Contact: *\nExpires: 0");
	if (comes_back)
		put(bob, "Contact: *\nExpires: 0");
	world_forget_log(w);
}

static void a_phone_that_comes_back_by_another_connection_goes_on_with_its_call(void **state)
{
	(void)state;
	begin(PLAN_FLOW(""));
	hang_up_after_a_new_connection("sip:bob@x7.invalid;transport=tcp", true, bob);
	hang_up_after_a_new_connection("sip:bob@10.0.0.77;transport=tcp;ob", true, bob);
	hang_up_after_a_new_connection("sip:bob@10.0.0.3:5060;transport=tcp", false, bob); /* it listens: its URI says where */
	hang_up_after_a_new_connection("sip:bob@10.0.0.3:5060;transport=tcp;ob", false, NULL); /* its flow, and nothing else */
	end();
}

static void so_does_one_whose_connection_was_another_workers(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 9; seed++) { /* who has which connection and which call */
		struct world_options o = {.workers = 3, .sim = {.seed = seed}};

		begin_with(&o, PLAN_FLOW(""));
		hang_up_after_a_new_connection("sip:bob@x7.invalid;transport=tcp", true, bob);
		end();
	}
}

/* ------------------------------------------------------------------ the next address (RFC 3263 4.3) */

static void record(const char *name, const char *text)
{
	assert_int_equal(sh_sim_add_record(w->sim, name, text), 0);
}

static void a_notify_fails_over_to_the_next_address_of_the_name(void **state)
{
	struct phone_call *c;

	(void)state;
	begin("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.subscribe(function(sub) assert(sub:accept{serve = true}) end)\n");
	record("pair.test", "600 A 10.0.0.4");
	record("pair.test", "600 A 10.0.0.3");
	c = phone_request(bob, "SUBSCRIBE", "sip:alice@example.org", "Contact: <sip:bob@pair.test>\nEvent: dialog\nExpires: 600", NULL);
	soon(bob, "200");
	ok(phone_expect_in(c, "NOTIFY", SH_SECOND));
	world_advance(w, SH_SECOND);
	phone_in_call(c, "SUBSCRIBE", "Contact: <sip:bob@pair.test>\nEvent: dialog\nExpires: 600", NULL); /* the name is known now */
	soon(bob, "200");
	ok(phone_expect_in(c, "NOTIFY", SH_SECOND));
	unreachable("10.0.0.3", SH_SIM_UDP_ICMP);
	phone_in_call(c, "SUBSCRIBE", "Contact: <sip:bob@pair.test>\nEvent: dialog\nExpires: 0", NULL);
	ok(soon(carol, "NOTIFY")); /* bob's answer is lost as well: his machine takes nothing any more */
	end();
}

static void an_ack_that_does_not_arrive_goes_to_the_next_address_of_the_name(void **state)
{
	struct phone_msg *invite, *answer;
	struct phone_call *a;

	(void)state;
	for (unsigned silent = 0; silent < 2; silent++) {
		begin(PLAN("local ok, res = call:dial({'sip:bob@10.0.0.3'})\nif not ok then call:reject(res) end\n"));
		record("_sip._udp.pair.test", "600 SRV 10 0 5060 first.test");
		record("_sip._udp.pair.test", "600 SRV 20 0 5060 second.test");
		record("first.test", "600 A 10.0.0.8"); /* nobody is there */
		record("second.test", "600 A 10.0.0.4");
		unreachable("10.0.0.8", silent ? SH_SIM_UDP_SILENT : SH_SIM_UDP_ICMP);
		a = phone_invite(alice, "sip:bob@example.org", "Contact: <sip:alice@pair.test>", SDP_A);
		invite = soon(bob, "INVITE");
		phone_reply(invite, 180, NULL, NULL, NULL); /* from here on the name is known */
		soon(alice, "180");
		world_advance(w, SH_SECOND);
		answer = phone_reply(invite, 200, NULL, "Contact: <sip:bob@pair.test>", SDP_B);
		phone_ack(soon(alice, "200"), NULL, NULL);
		world_advance(w, SH_SECOND);
		phone_resend(answer); /* the ACK may have been lost, or crossed it */
		phone_expect_none(carol, "ACK", SH_SECOND);
		phone_resend(answer);
		soon(carol, "ACK");
		phone_resend(answer);
		soon(carol, "ACK");
		/* An ACK says nothing of a server, so what follows begins with the first one again. */
		phone_bye(a);
		soon(alice, "200");
		ok(phone_expect(carol, "BYE", 40 * SH_SECOND));
		world_forget_log(w);
		end();
	}
}

/* ------------------------------------------------------------------ every allocation may fail */

static void answer_all(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (!m->code && m->m.is_request && m->m.method != SH_ACK)
		phone_reply(m, m->m.method == SH_INVITE ? 430 : 200, NULL, NULL, NULL);
}

static void stage(struct world *world)
{
	w = world;
	alice = world_phone(w, "alice", ALICE);
	bob = world_phone(w, "bob", BOB);
	carol = world_phone(w, "carol", CAROL);
	phone_identity(carol, "bob", "example.org");
	alice->on_message = bob->on_message = carol->on_message = answer_all;
	phone_auto(alice, PHONE_ABSORB | PHONE_RESEND);
	phone_auto(bob, PHONE_ABSORB | PHONE_RESEND);
	phone_auto(carol, PHONE_ABSORB | PHONE_RESEND);
}

/* Two flows, both watched, and a call that tries both. */
static void act(struct world *world)
{
	phone_request(bob, "REGISTER", "sip:example.org", FLOW("sip:b@10.0.0.3", "1"), NULL);
	world_advance(world, SH_SECOND);
	phone_request(carol, "REGISTER", "sip:example.org", FLOW("sip:b@10.0.0.4", "2"), NULL);
	for (unsigned i = 0; i < 3; i++) {
		phone_send(bob, SH_PROTO_UDP, "10.0.0.1", 5060, stun, sizeof(stun) - 1);
		world_advance(world, SH_SECOND);
	}
	phone_invite(alice, "sip:bob@example.org", "Contact: <sip:alice@10.0.0.9;ob>", SDP_A);
	world_advance(world, 60 * SH_SECOND);
}

static void every_allocation_may_fail(void **state)
{
	(void)state;
	world_sweep(NULL, PLAN_FLOW("flow_timer = 30, max_expires = 100"), stage, act, NULL, 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(stun_that_ceases_ends_the_flow_and_the_script_hears_it),
	    cmocka_unit_test(a_phone_that_never_sends_keep_alives_over_datagrams_stays),
	    cmocka_unit_test(what_is_no_row_of_keep_alives_arms_nothing),
	    cmocka_unit_test(nobody_is_watched_on_a_socket_that_several_workers_read),
	    cmocka_unit_test(where_a_phone_was_nobody_is_waited_for),
	    cmocka_unit_test(a_registration_that_is_refused_is_not_watched),
	    cmocka_unit_test(no_more_peers_are_watched_than_memory_should_hold),
	    cmocka_unit_test(a_register_counts_as_a_keep_alive_and_begins_the_time_anew),
	    cmocka_unit_test(without_a_flow_timer_silence_means_nothing),
	    cmocka_unit_test(another_phone_at_that_address_keeps_nobody_alive),
	    cmocka_unit_test(icmp_for_a_request_of_ours_ends_a_flow_over_datagrams_and_no_plain_binding),
	    cmocka_unit_test(a_flow_over_datagrams_is_called_where_it_comes_from_whatever_its_contact_says),
	    cmocka_unit_test(each_flow_has_the_path_of_its_own_edge_proxy),
	    cmocka_unit_test(after_a_430_of_an_edge_proxy_the_phone_is_called_by_its_next_flow),
	    cmocka_unit_test(who_calls_hears_nothing_of_flows),
	    cmocka_unit_test(only_408_and_430_lead_to_another_flow),
	    cmocka_unit_test(an_edge_proxy_may_close_its_connection_and_the_phone_stays_registered),
	    cmocka_unit_test(a_registration_by_a_flow_has_one_contact),
	    cmocka_unit_test(a_registrar_may_insist_on_outbound),
	    cmocka_unit_test(what_a_client_requires_is_done),
	    cmocka_unit_test(a_contact_with_ob_is_reached_by_the_flow_of_its_invite),
	    cmocka_unit_test(ob_goes_before_what_the_listener_says),
	    cmocka_unit_test(ob_of_a_caller_behind_a_proxy_is_the_proxys_business),
	    cmocka_unit_test(a_subscriber_with_ob_is_notified_by_its_flow),
	    cmocka_unit_test(a_gruu_as_contact_is_the_phone_that_it_was_given_to),
	    cmocka_unit_test(a_phone_that_comes_back_by_another_connection_goes_on_with_its_call),
	    cmocka_unit_test(so_does_one_whose_connection_was_another_workers),
	    cmocka_unit_test(a_notify_fails_over_to_the_next_address_of_the_name),
	    cmocka_unit_test(an_ack_that_does_not_arrive_goes_to_the_next_address_of_the_name),
	    cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
