/* sips by RFC 5630 where it needs no connection by TLS to be seen: requests that contradict themselves, warnings 380 and 381, GRUUs.
 * Phones come by TCP, as through a front that ends TLS; who is called by TLS is tests/interop/secure.py's. */
#include "b2bua_helpers.h"
#include "msg/digest.h"
#include "paper.h"

#define PLAN_SIPS                                                                                                      \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\n"                                                  \
	"sip.on.register(function(req) req:register{} end)\n"                                                          \
	"sip.on.message(function(req) req:reply(200) end)\n"                                                           \
	"sip.on.subscribe(function(sub) sub:reject(403) end)\n"                                                        \
	"sip.on.invite(function(call)\n"                                                                               \
	"  if call.uri.user == 'always' and call.uri.scheme ~= 'sips' then return call:reject(480, 'SIPS Required') end\n" \
	"  local ok, res = call:dial(sip.lookup(call.uri))\n"                                                          \
	"  if not ok and call.uri.user ~= 'silent' then call:reject(res) end\nend)\n"

static struct paper *ca, *identity;
static struct sh_tls *tls;

static struct sh_tls *make_tls(void)
{
	struct sh_tls_identity id = {.certificate = sh_slice_cstr(identity->text),
				     .key = sh_slice_cstr(identity->key_text),
				     .certificate_name = "cert.pem",
				     .key_name = "key.pem"};
	struct sh_tls_config c = {.identities = &id, .count = 1, .authorities = sh_slice_cstr(ca->text), .authorities_name = "ca.pem"};
	struct sh_tls *out;
	char error[256];

	assert_int_equal(sh_tls_create(&out, &c, error, sizeof(error)), 0);
	return out;
}

static void stage(void)
{
	struct sh_addr a;
	struct sh_listen_config c = {.proto = SH_PROTO_TLS, .local = &a};

	begin(PLAN_SIPS);
	assert_int_equal(sh_addr_parse(&a, SH_LIT("10.0.0.1"), 5061), 0);
	c.tls = tls = make_tls();
	assert_int_equal(sh_transport_listen_with(sh_ua_transport(w->ua[0]), &c), 0);
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
}

static void leave(void)
{
	world_forget_log(w);
	end();
	sh_tls_unref(tls);
}

/* Whom a redirect names is found by his own URI, not by where the phone is that has named him. */
static void a_phone_with_a_sips_contact_that_is_called_by_sip_may_redirect(void **state)
{
	(void)state;
	stage();
	world_reload(w, "local sip = require 'siphook'\nsip.domains{'example.org'}\nsip.on.register(function(req) req:register() end)\n"
			"sip.on.invite(function(call) local ok, res = call:dial(sip.lookup(call.uri), {follow_redirects = 2})\n"
			"  if not ok then call:reject(res) end end)\n");
	phone_request(bob, "REGISTER", "sips:example.org", "Contact: <sips:b@10.0.0.3>", NULL);
	soon(bob, "200");
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 302, NULL, "Contact: <sip:carol@10.0.0.4>", NULL);
	soon(bob, "ACK");
	phone_reply(phone_expect(carol, "INVITE", 5 * SH_SECOND), 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	phone_request(bob, "REGISTER", "sip:example.org", "Contact: *\nExpires: 0", NULL);
	soon(bob, "200");
	leave();
}

static void where_no_tls_is_spoken_sips_is_416(void **state)
{
	(void)state;
	begin(PLAN_SIPS);
	phone_proxy(alice, SH_PROTO_TCP, "10.0.0.1", 5060);
	phone_invite(alice, "sips:bob@example.org", "Contact: <sips:alice@10.0.0.2>", SDP_A);
	phone_ack(soon(alice, "416"), NULL, NULL);
	phone_request(alice, "MESSAGE", "sips:bob@example.org", NULL, "x");
	soon(alice, "416");
	phone_request(alice, "MESSAGE", "sip:bob@example.org", NULL, "x");
	soon(alice, "200");
	end();
}

static void sips_by_datagrams_is_refused(void **state)
{
	(void)state;
	stage();
	phone_request(carol, "MESSAGE", "sips:bob@example.org", NULL, "x");
	assert_string_equal(reason_of(soon(carol, "400")), "No sips by UDP");
	leave();
}

static void a_sips_request_with_a_sip_contact_or_record_route_is_refused(void **state)
{
	static const char *const bad[] = {
	    "Contact: <sip:alice@10.0.0.2>",
	    "Contact: \"A, B\" <sip:alice@10.0.0.2;transport=tls>",
	    "Contact: <sips:alice@10.0.0.2>\nRecord-Route: <sip:10.0.0.9;lr>, <sips:10.0.0.8;lr>",
	};
	static const char *const methods[] = {"INVITE", "SUBSCRIBE"};
	char headers[300];

	(void)state;
	stage();
	for (size_t m = 0; m < 2; m++) {
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			struct phone_msg *said;

			snprintf(headers, sizeof(headers), "%s%s", bad[i], m ? "\nEvent: dialog" : "");
			phone_request(alice, methods[m], "sips:bob@example.org", headers, NULL);
			said = soon(alice, "400");
			assert_string_equal(reason_of(said), "A sips Request-URI Needs a sips Contact and Record-Route");
			if (m == 0)
				phone_ack(said, NULL, NULL);
		}
	}
	/* What has neither passes, and so does what is sips throughout. */
	phone_request(alice, "MESSAGE", "sips:bob@example.org", "-Contact", "x");
	soon(alice, "200");
	phone_invite(alice, "sips:bob@example.org", "Contact: <sips:alice@10.0.0.2>\nRecord-Route: <sips:10.0.0.8;lr>", SDP_A);
	phone_ack(soon(alice, "480"), NULL, NULL); /* nobody is registered */
	/* sip may have whatever it wants. */
	phone_invite(alice, "sip:bob@example.org", "Contact: <sips:alice@10.0.0.2>", SDP_A);
	phone_ack(soon(alice, "480"), NULL, NULL);
	leave();
}

static void no_downgrade_is_480_with_warning_380_whoever_answers(void **state)
{
	struct phone_msg *m;

	(void)state;
	stage();
	for (unsigned silent = 0; silent < 2; silent++) {
		char uri[60];

		phone_identity(bob, silent ? "silent" : "bob", "example.org");
		phone_request(bob, "REGISTER", "sip:example.org", NULL, NULL);
		soon(bob, "200");
		snprintf(uri, sizeof(uri), "sips:%s@example.org", silent ? "silent" : "bob");
		phone_invite(alice, uri, "Contact: <sips:alice@10.0.0.2>", SDP_A);
		m = soon(alice, "480");
		assert_string_equal(reason_of(m), "SIPS Not Allowed");
		phone_assert_header(m, "Warning", "380 10.0.0.1 \"SIPS Not Allowed\"");
		phone_ack(m, NULL, NULL);
		phone_expect_none(bob, "INVITE", SH_SECOND);
		phone_request(bob, "REGISTER", "sip:example.org", "Contact: *\nExpires: 0", NULL);
		soon(bob, "200");
	}
	leave();
}

static void who_can_only_be_called_by_tls_and_cannot_be_is_480_with_warning_381(void **state)
{
	struct phone_msg *m;
	struct sh_addr a;

	(void)state;
	stage();
	/* A sips contact over datagrams' address: called by sip it is called by TLS, where nobody listens. */
	phone_request(bob, "REGISTER", "sips:example.org", "Via: SIP/2.0/TCP 10.0.0.3:5060;branch=z9hG4bKa1, SIP/2.0/TLS 10.0.0.9;branch=z9hG4bKa2\n"
							   "Path: <sips:10.0.0.9;lr>\nContact: <sips:bob@10.0.0.3>", NULL);
	soon(bob, "200");
	assert_int_equal(sh_addr_parse(&a, SH_LIT("10.0.0.9"), 0), 0);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, SH_SIM_TCP_REFUSED), 0);
	sh_transport_listen_retire(sh_ua_transport(w->ua[0]), 2);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(alice, "480");
	assert_string_equal(reason_of(m), "SIPS Required");
	phone_assert_header(m, "Warning", "381 10.0.0.1 \"SIPS Required\"");
	phone_ack(m, NULL, NULL);
	phone_request(bob, "REGISTER", "sip:example.org", "Contact: *\nExpires: 0", NULL);
	soon(bob, "200");
	leave();
}

static void a_script_may_insist_on_sips(void **state)
{
	struct phone_msg *m;

	(void)state;
	stage();
	phone_invite(alice, "sip:always@example.org", NULL, SDP_A);
	m = soon(alice, "480");
	assert_string_equal(reason_of(m), "SIPS Required");
	phone_assert_header(m, "Warning", "381 10.0.0.1 \"SIPS Required\"");
	phone_ack(m, NULL, NULL);
	leave();
}

static void who_registers_a_sips_contact_gets_sips_gruus(void **state)
{
	struct phone_msg *m;

	(void)state;
	stage();
	for (unsigned secure = 0; secure < 2; secure++) {
		phone_request(bob, "REGISTER", secure ? "sips:example.org" : "sip:example.org",
			      secure ? "Supported: gruu\nContact: <sips:b@10.0.0.3>;+sip.instance=\"<urn:uuid:1>\""
				     : "Supported: gruu\nContact: <sip:b@10.0.0.3>;+sip.instance=\"<urn:uuid:1>\"", NULL);
		m = soon(bob, "200");
		phone_assert(bob, strstr(m->text, secure ? "pub-gruu=\"sips:bob@example.org;gr=urn:uuid:1\"" : "pub-gruu=\"sip:bob@example.org;gr=urn:uuid:1\""));
		phone_assert(bob, strstr(m->text, secure ? "temp-gruu=\"sips:" : "temp-gruu=\"sip:"));
		phone_request(bob, "REGISTER", "sip:example.org", "Contact: *\nExpires: 0", NULL);
		soon(bob, "200");
	}
	leave();
}

static int make_papers(void **state)
{
	(void)state;
	assert_int_equal(sh_digest_init(), 0);
	ca = paper_make("test authority", NULL, 3650, NULL);
	identity = paper_make("example.org", "DNS:example.org", 30, ca);
	return 0;
}

static int drop_papers(void **state)
{
	(void)state;
	paper_free(identity);
	paper_free(ca);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_phone_with_a_sips_contact_that_is_called_by_sip_may_redirect),
	    cmocka_unit_test(where_no_tls_is_spoken_sips_is_416),
	    cmocka_unit_test(sips_by_datagrams_is_refused),
	    cmocka_unit_test(a_sips_request_with_a_sip_contact_or_record_route_is_refused),
	    cmocka_unit_test(no_downgrade_is_480_with_warning_380_whoever_answers),
	    cmocka_unit_test(who_can_only_be_called_by_tls_and_cannot_be_is_480_with_warning_381),
	    cmocka_unit_test(a_script_may_insist_on_sips),
	    cmocka_unit_test(who_registers_a_sips_contact_gets_sips_gruus),
	};

	return cmocka_run_group_tests(tests, make_papers, drop_papers);
}
