/* The door as a script sets it: who comes in, how often, and who has guessed too many passwords; listeners of a script. */
#include "b2bua_helpers.h"

#define PLAN_HEAD "local sip = require 'siphook'\nsip.domains{'example.org'}\n"
#define PLAN_TAIL                                                                                                      \
	"sip.on.register(function(req)\n"                                                                              \
	"  local user = req:auth{realm = 'example.org', password = 'secret'}\n"                                        \
	"  if user then req:register() end\n"                                                                          \
	"end)\n"                                                                                                       \
	"sip.on.invite(function(call) local ok, res = call:dial('sip:bob@10.0.0.3') if not ok then call:reject(res) end end)\n" \
	"sip.on.message(function(req) req:reply(200, req.trusted and 'Trusted' or 'OK') end)\n"

static const struct sh_transport_stats *stats(void)
{
	return sh_transport_stats(sh_ua_transport(w->ua[0]));
}

static struct phone_call *message(struct phone *p)
{
	return phone_request(p, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "x");
}

static void the_longest_prefix_decides_who_comes_in(void **state)
{
	(void)state;
	begin(PLAN_HEAD "sip.acl{allow = {'10.0.0.2', '10.0.0.0/30'}, deny = {'10.0.0.3', '10.0.0.0/29'}, trust = {'10.0.0.2'}}\n" PLAN_TAIL);
	message(alice);
	assert_string_equal(reason_of(soon(alice, "200")), "Trusted");
	message(bob); /* refused by name, though its network is welcome */
	phone_expect_none(bob, "*", 40 * SH_SECOND);
	message(carol); /* only its network is refused */
	phone_expect_none(carol, "*", 40 * SH_SECOND);
	assert_int_equal(stats()->refused_acl, 2);
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	message(bob);
	world_advance(w, SH_SECOND);
	assert_int_equal(stats()->connections, 0);
	end();
}

static void a_list_of_those_who_may_shuts_out_all_others(void **state)
{
	(void)state;
	begin(PLAN_HEAD "sip.acl{allow = {'10.0.0.2/32', '2001:db8::/32'}}\n" PLAN_TAIL);
	message(alice);
	soon(alice, "200");
	message(bob);
	phone_expect_none(bob, "*", 40 * SH_SECOND);
	world_reload(w, PLAN_HEAD PLAN_TAIL); /* a reload opens the door */
	message(bob);
	soon(bob, "200");
	end();
}

static void a_list_of_those_who_may_not_lets_all_others_in(void **state)
{
	(void)state;
	begin(PLAN_HEAD "sip.acl{deny = {'10.0.0.3', '::/0'}}\n" PLAN_TAIL);
	message(alice);
	soon(alice, "200");
	message(bob);
	phone_expect_none(bob, "*", 40 * SH_SECOND);
	end();
}

static void whoever_asks_too_often_is_told_when_to_come_again_and_then_nothing(void **state)
{
	unsigned answered = 0, refused = 0;
	struct phone_msg *m;

	(void)state;
	begin(PLAN_HEAD "sip.acl{rate = 10, burst = 20, trust = {'10.0.0.4'}}\n" PLAN_TAIL);
	for (unsigned i = 0; i < 100; i++)
		message(alice);
	world_advance(w, 100 * SH_MS);
	answered = phone_count(alice, "200");
	refused = phone_count(alice, "503");
	assert_in_range(answered, 20, 22);
	assert_in_range(refused, 19, 22); /* as many as the burst; the rest is dropped */
	assert_int_equal(stats()->refused_rate, 100 - answered);
	m = soon(alice, "503");
	assert_string_equal(reason_of(m), "Too Many Requests");
	phone_assert_contains(m, "Retry-After", "1");
	message(bob); /* others are not hurt */
	soon(bob, "200");
	for (unsigned i = 0; i < 100; i++) /* nor is a trusted peer counted */
		message(carol);
	world_advance(w, 100 * SH_MS);
	assert_int_equal(phone_count(carol, "200"), 100);
	world_advance(w, 10 * SH_SECOND); /* the debt is paid */
	message(alice);
	world_advance(w, 100 * SH_MS);
	assert_int_equal(phone_count(alice, "200"), answered + 1);
	world_settle(w, 300 * SH_SECOND);
	world_destroy(w);
}

static void emergency_calls_pass_every_limit(void **state)
{
	struct phone_call *call;
	struct phone_msg *invite;

	(void)state;
	begin(PLAN_HEAD "sip.acl{rate = 1, burst = 1, max_failures = 2, emergency = {'112'}}\n" PLAN_TAIL);
	for (unsigned i = 0; i < 10; i++)
		message(alice);
	phone_invite(alice, "sip:112@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	call = invite->call;
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	phone_ack(phone_expect(alice, "200 INVITE", SH_SECOND), NULL, NULL);
	soon(bob, "ACK");
	phone_bye(call);
	soon(bob, "200");
	ok(soon(alice, "BYE")); /* what belongs to a dialog is not counted */
	phone_invite(alice, "urn:service:sos.fire", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(phone_expect(alice, "486", SH_SECOND), NULL, NULL);
	phone_invite(alice, "urn:service:sosx", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	assert_int_equal(phone_count(bob, "INVITE"), 2);
	world_settle(w, 300 * SH_SECOND);
	world_destroy(w);
}

static const char guarded[] = PLAN_HEAD "sip.acl{max_failures = 3, failure_window = 60, ban_time = 120}\n" PLAN_TAIL;

static void wrong_password(struct phone *p)
{
	phone_login(p, "alice", "guess");
	phone_request(p, "REGISTER", "sip:example.org", NULL, NULL);
	phone_authorize(soon(p, "401"));
	soon(p, "401");
}

static void who_guesses_passwords_is_shut_out_for_a_while(void **state)
{
	(void)state;
	begin(guarded);
	for (unsigned i = 0; i < 3; i++)
		wrong_password(alice);
	world_expect_log(w, "10.0.0.2 is shut out for 120 s");
	message(alice);
	phone_expect_none(alice, "*", 40 * SH_SECOND);
	message(bob);
	soon(bob, "200");
	assert_int_equal(stats()->bans, 1);
	assert_true(stats()->refused_banned >= 1);
	phone_invite(alice, "urn:service:sos", NULL, SDP_A); /* help comes all the same */
	phone_reply(soon(bob, "INVITE"), 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	world_advance(w, 121 * SH_SECOND);
	message(alice);
	soon(alice, "200");
	end();
}

/* A datagram says itself where it comes from: only who has received the challenge there is believed. */
static void nobody_can_have_somebody_else_shut_out(void **state)
{
	char nonce[64], headers[300];
	const char *at;

	(void)state;
	begin(guarded);
	phone_request(bob, "REGISTER", "sip:example.org", NULL, NULL);
	at = strstr(phone_value(soon(bob, "401"), "WWW-Authenticate"), "nonce=\"");
	assert_non_null(at);
	assert_int_equal(sscanf(at, "nonce=\"%63[^\"]", nonce), 1);
	snprintf(headers, sizeof(headers),
		 "Authorization: Digest username=\"alice\", realm=\"example.org\", nonce=\"%s\", uri=\"sip:example.org\", "
		 "response=\"0123456789abcdef0123456789abcdef\", algorithm=MD5",
		 nonce);
	for (unsigned i = 0; i < 6; i++) { /* as from Alice's address */
		phone_request(alice, "REGISTER", "sip:example.org", headers, NULL);
		phone_assert_contains(soon(alice, "401"), "WWW-Authenticate", "stale=true");
	}
	assert_int_equal(stats()->bans, 0);
	for (unsigned i = 0; i < 3; i++) { /* they are his own */
		phone_request(bob, "REGISTER", "sip:example.org", headers, NULL);
		soon(bob, "401");
	}
	assert_int_equal(stats()->bans, 1);
	message(alice);
	soon(alice, "200");
	end();
}

/* The first 401 of an honest client is no attack, however often it comes. */
static void a_phone_that_knows_its_password_is_never_shut_out(void **state)
{
	(void)state;
	begin(PLAN_HEAD "sip.acl{rate = 2, burst = 4, max_failures = 2, failure_window = 3600}\n" PLAN_TAIL);
	phone_login(alice, "alice", "secret");
	for (unsigned i = 0; i < 50; i++) {
		phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
		phone_authorize(soon(alice, "401"));
		soon(alice, "200");
	}
	wrong_password(alice); /* a slip of the finger, forgotten with the next success */
	phone_login(alice, "alice", "secret");
	phone_request(alice, "REGISTER", "sip:example.org", NULL, NULL);
	phone_authorize(soon(alice, "401"));
	soon(alice, "200");
	wrong_password(alice);
	assert_int_equal(stats()->bans, 0);
	assert_int_equal(stats()->refused_rate, 0);
	end();
}

static void a_ban_is_known_to_all_workers(void **state)
{
	struct world_options o = {.workers = 3};

	(void)state;
	begin_with(&o, guarded);
	for (unsigned i = 0; i < 9 && !world_has_log(w, "is shut out"); i++)
		wrong_password(alice); /* counted by each worker for itself */
	world_expect_log(w, "is shut out");
	for (unsigned i = 0; i < 8; i++) /* whichever worker they belong to */
		message(alice);
	world_advance(w, 100 * SH_MS);
	assert_int_equal(phone_count(alice, "200"), 0);
	world_settle(w, 300 * SH_SECOND);
	world_destroy(w);
}

static void who_is_shut_out_may_have_one_connection_to_call_for_help(void **state)
{
	(void)state;
	begin(guarded);
	for (unsigned i = 0; i < 3; i++)
		wrong_password(alice);
	world_forget_log(w);
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	message(alice); /* the connection is taken, the message is not */
	phone_expect_none(alice, "*", 40 * SH_SECOND);
	phone_invite(alice, "urn:service:sos", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	assert_int_equal(phone_connections(alice), 1);
	end();
}

static void a_call_for_help_begins_its_hook_however_many_run(void **state)
{
	struct world_options o = {.hooks_max = 1};
	struct phone_msg *first;

	(void)state;
	begin_with(&o, PLAN_HEAD PLAN_TAIL);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	first = soon(bob, "INVITE");
	phone_invite(carol, "sip:bob@example.org", NULL, SDP_C);
	phone_ack(soon(carol, "503"), NULL, NULL);
	phone_invite(carol, "urn:service:sos.fire", NULL, SDP_C);
	phone_reply(soon(bob, "INVITE"), 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(carol, "486"), NULL, NULL);
	phone_reply(first, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	world_forget_log(w);
	end();
}

/* ---- listeners ---- */

static void a_script_opens_its_own_listeners_and_says_how_others_see_them(void **state)
{
	struct phone_msg *invite;

	(void)state;
	begin(PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:5070', advertise = 'sip.example.org:5999'}\n"
			"sip.listen{uri = 'udp://10.0.0.1:5060', advertise = '198.51.100.7'}\n" PLAN_TAIL);
	phone_proxy(alice, SH_PROTO_UDP, "10.0.0.1", 5070);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	invite = soon(bob, "INVITE");
	phone_assert_contains(invite, "Contact", "<sip:198.51.100.7:5060>"); /* one that the host had opened */
	phone_assert_contains(invite, "Via", "198.51.100.7:5060");
	phone_reply(invite, 180, NULL, NULL, NULL);
	phone_assert_contains(soon(alice, "180"), "Contact", "<sip:sip.example.org:5999>");
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);

	/* A reload may add one. */
	world_reload(w, PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:5090'}\n" PLAN_TAIL);
	phone_proxy(alice, SH_PROTO_UDP, "10.0.0.1", 5090);
	message(alice);
	soon(alice, "200");
	end();
}

static void a_listener_that_no_script_names_any_more_is_closed_when_no_call_needs_it(void **state)
{
	static const char with[] = PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:5070'}\nsip.listen{uri = 'tcp://10.0.0.1:5070'}\n" PLAN_TAIL;
	struct phone_call *call;
	struct phone_msg *bye;

	(void)state;
	begin(with);
	phone_proxy(alice, SH_PROTO_UDP, "10.0.0.1", 5070);
	call = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	phone_proxy(carol, SH_PROTO_TCP, "10.0.0.1", 5070);
	message(carol);
	soon(carol, "200");

	world_reload(w, PLAN_HEAD PLAN_TAIL);
	message(carol); /* her connection lives on */
	soon(carol, "200");
	phone_hang_up_connections(carol);
	world_advance(w, SH_SECOND);
	message(carol); /* but there is no other */
	world_advance(w, 5 * SH_SECOND);
	assert_int_equal(phone_count(carol, "200"), 2);
	world_advance(w, 20 * SH_SECOND);
	phone_bye(call); /* the call needs its socket */
	bye = soon(bob, "BYE");
	phone_reply(bye, 200, NULL, NULL, NULL);
	soon(alice, "200");
	world_advance(w, 60 * SH_SECOND);
	message(alice);
	world_advance(w, 40 * SH_SECOND);
	assert_int_equal(phone_count(alice, "200"), 2); /* now it is closed */

	world_reload(w, with); /* and opened again */
	message(alice);
	soon(alice, "200");
	message(carol);
	soon(carol, "200");
	end();
}

static void connections_are_limited_per_listener_and_per_source(void **state)
{
	struct phone *more[4];

	(void)state;
	begin(PLAN_HEAD "sip.listen{uri = 'tcp://10.0.0.1:5061', max_connections = 2}\n" PLAN_TAIL);
	for (unsigned i = 0; i < 4; i++) {
		char ip[16];

		snprintf(ip, sizeof(ip), "10.0.0.%u", 20 + i);
		more[i] = world_phone(w, "more", ip);
		phone_proxy(more[i], SH_PROTO_TCP, "10.0.0.1", 5061);
		message(more[i]);
		world_advance(w, 100 * SH_MS);
		assert_int_equal(phone_count(more[i], "200"), i < 2);
	}
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060); /* another listener has its own limits */
	message(alice);
	soon(alice, "200");
	end();
}

static void the_whole_has_a_limit_of_connections_and_of_handshakes(void **state)
{
	struct phone *dave;

	(void)state;
	begin(PLAN_HEAD "sip.listen{uri = 'ws://10.0.0.1:5080', handshake_timeout = 2}\nsip.acl{max_connections = 2, max_handshakes = 1}\n" PLAN_TAIL);
	dave = world_phone(w, "dave", DAVE);
	phone_send(alice, SH_PROTO_TCP, "10.0.0.1", 5080, "GET", 3); /* a handshake that does not end */
	world_advance(w, 100 * SH_MS);
	phone_send(bob, SH_PROTO_TCP, "10.0.0.1", 5080, "GET", 3); /* one too many */
	world_advance(w, SH_SECOND);
	assert_int_equal(stats()->refused_limit, 1);
	phone_proxy(carol, SH_PROTO_TCP, "10.0.0.1", 5060);
	message(carol);
	soon(carol, "200");
	phone_proxy(dave, SH_PROTO_TCP, "10.0.0.1", 5060); /* the third */
	message(dave);
	world_advance(w, 100 * SH_MS);
	assert_int_equal(phone_count(dave, "200"), 0);
	assert_int_equal(stats()->refused_limit, 2);
	world_advance(w, 2 * SH_SECOND); /* the handshake had its time */
	assert_int_equal(phone_connections(alice), 0);
	message(dave);
	soon(dave, "200");
	world_forget_log(w);
	world_abandon(w);
}

static void a_slow_sender_is_dropped_in_the_time_that_the_script_gives(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_HEAD "sip.listen{uri = 'tcp://10.0.0.1:5061', message_timeout = 2}\n" PLAN_TAIL);
	for (unsigned i = 0; i < 5; i++) { /* a few octets a second, each of them a sign of life */
		m = phone_send(alice, SH_PROTO_TCP, "10.0.0.1", 5061, i ? "x" : "OPTIONS sip:a SIP", i ? 1 : 17);
		(void)m;
		world_advance(w, 900 * SH_MS);
		assert_int_equal(stats()->connections, i < 2);
		if (i == 2)
			break;
	}
	assert_int_equal(stats()->slow, 1);
	end();
}

static void what_a_script_gets_wrong_is_refused_with_its_line(void **state)
{
	static const struct {
		const char *line, *said;
	} wrong[] = {
	    {"sip.acl{allow = {'10.0.0.300'}}", "option 'allow': entry 1 is no address"},
	    {"sip.acl{deny = '10.0.0.1'}", "option 'deny': a list expected, got string"},
	    {"sip.acl{deny = {'10.0.0.1/33'}}", "option 'deny': entry 1"},
	    {"sip.acl{rate = -1}", "rate"},
	    {"sip.acl{ratte = 1}", "ratte"},
	    {"sip.acl{emergency = {''}}", "entry 1 is no number"},
	    {"sip.listen{}", "option 'uri' is missing"},
	    {"sip.listen{uri = 'udp:10.0.0.1'}", "a URI like udp://127.0.0.1:5060 is expected"},
	    {"sip.listen{uri = 'pigeon://10.0.0.1'}", "the transport must be udp, tcp, tls, ws or wss"},
	    {"sip.listen{uri = 'udp://host:5060'}", "the host is no IP address"},
	    {"sip.listen{uri = 'udp://10.0.0.1:5060', nat = 'maybe'}", "option 'nat': one of \"auto\", \"always\", \"never\" expected"},
	    {"sip.listen{uri = 'udp://10.0.0.1:5060', advertise = 'a b'}", "option 'advertise'"},
	    {"sip.listen{uri = 'udp://10.0.0.1:5060', advertise = 'a:0'}", "option 'advertise'"},
	    {"sip.listen{uri = 'udp://10.0.0.1:5060', tls = {certificate = 'a.pem'}}", "udp://10.0.0.1:5060 has none"},
	    {"sip.listen{uri = 'tls://10.0.0.1', tls = 'a.pem'}", "option 'tls': a table expected, got string"},
	    {"sip.listen{uri = 'tls://10.0.0.1', tls = {}}", "option 'certificate' is missing"},
	    {"sip.listen{uri = 'tls://10.0.0.1', tls = {certificate = {'a', 1}}}", "option 'certificate': entry 2 is no text"},
	    {"sip.listen{uri = 'tls://10.0.0.1', tls = {certificate = {'a', 'b'}, private_key = 'c'}}", "2 certificates and 1 keys"},
	    {"sip.listen{uri = 'tls://10.0.0.1', tls = {certificate = 'a', verify = 'maybe'}}", "option 'verify': one of \"yes\""},
	    {"sip.listen{uri = 'tls://10.0.0.1', tls = {certificate = 'a', key = 'b'}}", "key"},
	    {"sip.listen{uri = 'tls://10.0.0.1:1', tls = {certificate = 'a'}} sip.listen{uri = 'wss://10.0.0.1:1'}", "must have the same tls"},
	    {"sip.listen{uri = 'ws://10.0.0.1', origins = {1}}", "option 'origins': entry 1 is no text"},
	    {"sip.listen{uri = 'udp://10.0.0.1'} sip.listen{uri = 'udp://10.0.0.1:5060'}", "is there already"},
	};
	char text[400], error[600];

	(void)state;
	begin(PLAN_HEAD);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		snprintf(text, sizeof(text), "local sip = require 'siphook'\n%s\n", wrong[i].line);
		assert_int_equal(world_try_reload(w, text, error, sizeof(error)), -EINVAL);
		if (!strstr(error, wrong[i].said) || !strstr(error, "dialplan.lua:2:"))
			fail_msg("%s: %s", wrong[i].line, error);
	}
	end();
}

static void a_port_that_is_taken_is_a_line_in_the_log_of_a_reload(void **state)
{
	(void)state;
	begin(PLAN_HEAD PLAN_TAIL);
	world_reload(w, PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.3:5060'}\n" PLAN_TAIL); /* bob's */
	world_expect_log(w, "listen udp://10.0.0.3:5060: Address already in use");
	message(alice);
	soon(alice, "200");
	end();
}

static void on_the_virtual_network_a_tls_listener_may_stand_before_another(void **state)
{
	(void)state;
	begin(PLAN_HEAD "sip.listen{uri = 'tls://10.0.0.1:5061'}\nsip.listen{uri = 'udp://10.0.0.1:5070'}\n" PLAN_TAIL);
	phone_proxy(alice, SH_PROTO_UDP, "10.0.0.1", 5070);
	message(alice);
	soon(alice, "200");
	end();
}

static void a_port_that_is_taken_keeps_no_other_listener_from_opening(void **state)
{
	struct world_options o = {.workers = 2};
	char plan[700];

	(void)state;
	begin_with(&o, PLAN_HEAD PLAN_TAIL);
	for (uint16_t port = 5070; port < 5074; port++) { /* bob's and carol's ports, and another one behind them each time */
		snprintf(plan, sizeof(plan),
			 PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.3:5060'}\nsip.listen{uri = 'udp://10.0.0.4:5060'}\n"
				   "sip.listen{uri = 'udp://10.0.0.1:%u'}\n" PLAN_TAIL,
			 port);
		world_reload(w, plan);
		for (unsigned i = 0; i < 2; i++) {
			world_expect_log(w, "listen udp://10.0.0.3:5060: Address already in use");
			world_expect_log(w, "listen udp://10.0.0.4:5060: Address already in use");
		}
		phone_proxy(alice, SH_PROTO_UDP, "10.0.0.1", port);
		message(alice);
		soon(alice, "200");
	}
	end();
}

static void expect_endpoint(unsigned worker, unsigned index, uint16_t port, bool open)
{
	const struct sh_endpoint *e = sh_transport_endpoint(sh_ua_transport(w->ua[worker]), index);

	assert_non_null(e);
	assert_int_equal(e->local.port, port);
	assert_int_equal(e->closed, !open);
}

/* The second worker has no room at that port, and gets it later. */
static void a_listener_that_opens_on_one_worker_only_has_one_place_on_all(void **state)
{
	static const char plan[] = PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:5070'}\nsip.listen{uri = 'udp://10.0.0.1:5080'}\n" PLAN_TAIL;
	struct world_options o = {.workers = 2};
	struct sh_udp *taken;
	struct sh_addr addr;

	(void)state;
	begin_with(&o, PLAN_HEAD PLAN_TAIL);
	assert_int_equal(sh_addr_parse(&addr, SH_LIT("10.0.0.1"), 5070), 0);
	assert_int_equal(w->env[1]->driver->udp_open(w->env[1], &addr, NULL, &taken, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		world_reload(w, plan);
		world_expect_log(w, "listen udp://10.0.0.1:5070: Address already in use");
		for (unsigned k = 0; k < 2; k++) {
			expect_endpoint(k, 2, 5070, k == 0);
			expect_endpoint(k, 3, 5080, true);
		}
	}
	w->env[1]->driver->udp_close(w->env[1], taken);
	world_reload(w, plan);
	expect_endpoint(1, 2, 5070, true);
	end();
}

static void publish(const char *plan)
{
	struct sh_generation *g;
	char error[200];

	world_file(w, "dialplan.lua", plan);
	assert_int_equal(sh_generation_load(&g, w->script, error, sizeof(error)), 0);
	sh_script_publish(w->script, g);
	sh_runtime_update(w->runtime[0]);
}

static void a_worker_that_was_late_has_the_listeners_in_the_same_places(void **state)
{
	struct world_options o = {.workers = 2};

	(void)state;
	begin_with(&o, PLAN_HEAD PLAN_TAIL);
	publish(PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:5070'}\n" PLAN_TAIL);
	publish(PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:5080'}\nsip.on.invite(function(call)\n"
			  "local ok, res = call:dial({'sip:bob@10.0.0.3'}, {listener = 'udp:5080'}) if not ok then call:reject(res) end end)\n");
	sh_runtime_update(w->runtime[1]); /* it never hears of the first */
	for (unsigned i = 0; i < 2; i++)
		expect_endpoint(i, 3, 5080, true);
	for (unsigned i = 0; i < 8; i++) { /* from either worker */
		char ip[16];
		struct phone *p;

		snprintf(ip, sizeof(ip), "10.0.0.%u", 20 + i);
		p = world_phone(w, "caller", ip);
		phone_invite(p, "sip:bob@example.org", NULL, SDP_A);
		phone_reply(soon(bob, "INVITE"), 486, NULL, NULL, NULL);
		soon(bob, "ACK");
		phone_ack(soon(p, "486"), NULL, NULL);
	}
	end();
}

/* An index is one of 256: a listener that is over gives it back. */
static void listeners_may_be_changed_for_ever(void **state)
{
	char plan[600];

	(void)state;
	for (unsigned workers = 1; workers < 4; workers += 2) {
		struct world_options o = {.workers = workers};

		begin_with(&o, PLAN_HEAD PLAN_TAIL);
		for (unsigned i = 0; i < 400; i++) {
			const char *proto = i % 3 ? "udp" : "tcp";

			snprintf(plan, sizeof(plan), PLAN_HEAD "sip.listen{uri = '%s://10.0.0.1:%u'}\n" PLAN_TAIL, proto, 6000 + i);
			world_reload(w, plan);
			phone_proxy(alice, i % 3 ? SH_PROTO_UDP : SH_PROTO_TCP, "10.0.0.1", (uint16_t)(6000 + i));
			message(alice);
			soon(alice, "200");
			phone_hang_up_connections(alice);
			world_advance(w, 100 * SH_MS); /* ten in a second: some fifty are not over yet */
		}
		for (unsigned i = 0; i < workers; i++)
			assert_in_range(sh_transport_endpoints(sh_ua_transport(w->ua[i])), 3, 100);
		end();
	}
}

/* What is over means somebody else, and what is needed is not given away. */
static void a_place_that_a_call_needs_is_not_given_to_another_listener(void **state)
{
	struct phone_call *call;
	struct phone_msg *bye;
	char plan[600];
	struct sh_uri uri;

	(void)state;
	begin(PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:5070'}\n" PLAN_TAIL);
	phone_proxy(alice, SH_PROTO_UDP, "10.0.0.1", 5070);
	call = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200"), NULL, NULL);
	soon(bob, "ACK");
	assert_int_equal(sh_uri_parse(&uri, SH_LIT("sip:10.0.0.1:5070")), 0);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(plan, sizeof(plan), PLAN_HEAD "sip.listen{uri = 'udp://10.0.0.1:%u'}\n" PLAN_TAIL, 6000 + i);
		world_reload(w, plan);
		world_advance(w, 12 * SH_SECOND);
		assert_true(sh_transport_is_local(sh_ua_transport(w->ua[0]), &uri));
	}
	phone_reply(phone_reinvite(first_call(bob), NULL, SDP_B) ? soon(alice, "INVITE") : NULL, 200, NULL, NULL, SDP_A);
	phone_ack(soon(bob, "200"), NULL, NULL);
	soon(alice, "ACK");
	phone_bye(call);
	bye = soon(bob, "BYE");
	phone_reply(bye, 200, NULL, NULL, NULL);
	soon(alice, "200");
	world_advance(w, 60 * SH_SECOND);
	assert_false(sh_transport_is_local(sh_ua_transport(w->ua[0]), &uri));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_longest_prefix_decides_who_comes_in),
	    cmocka_unit_test(a_list_of_those_who_may_shuts_out_all_others),
	    cmocka_unit_test(a_list_of_those_who_may_not_lets_all_others_in),
	    cmocka_unit_test(whoever_asks_too_often_is_told_when_to_come_again_and_then_nothing),
	    cmocka_unit_test(emergency_calls_pass_every_limit),
	    cmocka_unit_test(who_guesses_passwords_is_shut_out_for_a_while),
	    cmocka_unit_test(nobody_can_have_somebody_else_shut_out),
	    cmocka_unit_test(a_phone_that_knows_its_password_is_never_shut_out),
	    cmocka_unit_test(a_ban_is_known_to_all_workers),
	    cmocka_unit_test(who_is_shut_out_may_have_one_connection_to_call_for_help),
	    cmocka_unit_test(a_call_for_help_begins_its_hook_however_many_run),
	    cmocka_unit_test(a_script_opens_its_own_listeners_and_says_how_others_see_them),
	    cmocka_unit_test(a_listener_that_no_script_names_any_more_is_closed_when_no_call_needs_it),
	    cmocka_unit_test(on_the_virtual_network_a_tls_listener_may_stand_before_another),
	    cmocka_unit_test(a_port_that_is_taken_keeps_no_other_listener_from_opening),
	    cmocka_unit_test(a_listener_that_opens_on_one_worker_only_has_one_place_on_all),
	    cmocka_unit_test(a_worker_that_was_late_has_the_listeners_in_the_same_places),
	    cmocka_unit_test(listeners_may_be_changed_for_ever),
	    cmocka_unit_test(a_place_that_a_call_needs_is_not_given_to_another_listener),
	    cmocka_unit_test(connections_are_limited_per_listener_and_per_source),
	    cmocka_unit_test(the_whole_has_a_limit_of_connections_and_of_handshakes),
	    cmocka_unit_test(a_slow_sender_is_dropped_in_the_time_that_the_script_gives),
	    cmocka_unit_test(what_a_script_gets_wrong_is_refused_with_its_line),
	    cmocka_unit_test(a_port_that_is_taken_is_a_line_in_the_log_of_a_reload),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
