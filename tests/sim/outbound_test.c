/* Phones kept in reach: keep-alive by OPTIONS and CRLF, STUN, several flows of one phone (RFC 5626), GRUUs (RFC 5627). */
#include "b2bua_helpers.h"

#define PLAN_KEEP(options)                                                                                             \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\n"                                                  \
	"sip.on.register(function(req) req:register{" options "} end)\n"                                               \
	"sip.on.binding(function(aor, contact, event) sip.log.info('%s %s', contact.uri, event) end)\n"                \
	"sip.on.message(function(req) local n = #sip.lookup(req.uri) req:reply(200, tostring(n)) end)\n"               \
	"sip.on.invite(function(call) local ok, res = call:dial(sip.lookup(call.uri)) if not ok then call:reject(res) end end)\n"

#define INSTANCE "<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>"

static struct phone_msg *put(struct phone *p, const char *headers)
{
	phone_request(p, "REGISTER", "sip:example.org", headers, NULL);
	return soon(p, "200");
}

static void unregister(struct phone *p)
{
	put(p, "Contact: *\nExpires: 0");
}

static void a_phone_that_answers_options_stays(void **state)
{
	struct phone_msg *m;

	(void)state;
	for (unsigned stream = 0; stream < 2; stream++) {
		begin(PLAN_KEEP("keepalive = 'options', keepalive_interval = 30"));
		if (stream)
			phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
		put(bob, stream ? "Contact: <sip:bob@x.invalid;transport=tcp>" : NULL);
		for (unsigned i = 0; i < 5; i++) {
			m = phone_expect(bob, "OPTIONS", 34 * SH_SECOND);
			assert_int_equal(m->proto, stream ? SH_PROTO_TCP : SH_PROTO_UDP);
			assert_string_equal(uri_of(m), stream ? "sip:bob@x.invalid;transport=tcp" : "sip:bob@10.0.0.3:5060");
			phone_assert_contains(m, "From", "<sip:example.org>");
			phone_reply(m, i ? 200 : 501, NULL, NULL, NULL); /* whatever it says, it is there */
		}
		world_expect_log(w, "added");
		unregister(bob);
		phone_expect_none(bob, "OPTIONS", 100 * SH_SECOND);
		world_expect_log(w, "removed");
		end();
	}
}

static void a_phone_that_is_silent_twice_loses_its_binding(void **state)
{
	struct sh_addr a;

	(void)state;
	begin(PLAN_KEEP("keepalive = 'options', keepalive_interval = 30"));
	assert_int_equal(sh_addr_parse(&a, SH_LIT("10.0.0.3"), 0), 0);
	put(bob, NULL);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, SH_SIM_UDP_SILENT), 0);
	world_advance(w, 50 * SH_SECOND); /* one was lost: that may happen */
	assert_false(world_has_log(w, "lost"));
	world_advance(w, 40 * SH_SECOND);
	world_expect_log(w, "sip:bob@10.0.0.3:5060 lost");
	assert_int_equal(sh_location_count(w->location), 0);
	world_advance(w, 100 * SH_SECOND);
	phone_expect_none(bob, "*", SH_SECOND);
	end();
}

static void a_phone_whose_machine_says_that_it_is_gone_loses_it_at_once(void **state)
{
	struct sh_addr a;

	(void)state;
	begin(PLAN_KEEP("keepalive = 'options', keepalive_interval = 30"));
	assert_int_equal(sh_addr_parse(&a, SH_LIT("10.0.0.3"), 0), 0);
	put(bob, NULL);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, SH_SIM_UDP_ICMP), 0);
	world_advance(w, 34 * SH_SECOND);
	world_expect_log(w, "lost");
	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, 0), 0);
	put(bob, NULL); /* it comes back */
	phone_reply(phone_expect(bob, "OPTIONS", 34 * SH_SECOND), 200, NULL, NULL, NULL);
	unregister(bob);
	end();
}

static unsigned crlfs;

static void count_crlf(const struct sh_sim_record *r, void *ctx)
{
	(void)ctx;
	if (r->what == SH_SIM_DELIVERED && sh_slice_eq(r->data, SH_LIT("\r\n\r\n")))
		crlfs++;
}

static void crlf_keeps_the_way_open_on_datagrams_and_streams(void **state)
{
	(void)state;
	for (unsigned stream = 0; stream < 2; stream++) {
		begin(PLAN_KEEP("keepalive = 'crlf', keepalive_interval = 20"));
		crlfs = 0;
		sh_sim_set_trace(w->sim, count_crlf, NULL);
		if (stream)
			phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
		put(bob, stream ? "Contact: <sip:bob@10.0.0.3;transport=tcp>" : NULL);
		world_advance(w, 105 * SH_SECOND);
		assert_in_range(crlfs, 4, 6);
		unregister(bob);
		world_advance(w, 100 * SH_SECOND);
		assert_in_range(crlfs, 4, 6);
		sh_sim_set_trace(w->sim, NULL, NULL);
		world_forget_log(w);
		world_settle(w, 300 * SH_SECOND);
		world_destroy(w);
	}
}

static void a_stun_request_is_answered_with_the_address_that_it_came_from(void **state)
{
	static const char request[] = "\x00\x01\x00\x00\x21\x12\xa4\x42" "abcdefghijkl";
	static const char want[] = "\x01\x01\x00\x0c\x21\x12\xa4\x42" "abcdefghijkl" "\x00\x20\x00\x08\x00\x01\x32\xd6\x2b\x12\xa4\x40";
	struct phone_msg *m;

	(void)state;
	begin(PLAN_KEEP(""));
	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, request, 20);
	m = soon(alice, "?");
	assert_int_equal(m->len, 32);
	assert_memory_equal(m->text, want, 32);
	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, "\x00\x01\x00\x08\x21\x12\xa4\x42" "abcdefghijkl", 20); /* a wrong length */
	phone_send(alice, SH_PROTO_UDP, "10.0.0.1", 5060, "\x01\x01\x00\x00\x21\x12\xa4\x42" "abcdefghijkl", 20); /* an answer */
	phone_expect_none(alice, "*", SH_SECOND);
	end();
}

static void a_phone_with_two_flows_is_called_once_and_by_the_other_when_one_fails(void **state)
{
	struct phone_msg *m;
	struct sh_addr a;

	(void)state;
	begin(PLAN_KEEP("flow_timer = 90"));
	m = put(bob, "Supported: path, outbound\nContact: <sip:b@10.0.0.3>;+sip.instance=\"" INSTANCE "\";reg-id=1");
	phone_assert_header(m, "Require", "outbound");
	phone_assert(bob, strstr(m->text, "Flow-Timer: 90\r\n") != NULL);
	world_advance(w, SH_SECOND);
	phone_identity(carol, "bob", "example.org"); /* the phone's second leg, behind another address */
	put(carol, "Supported: path, outbound\nContact: <sip:b@10.0.0.4>;+sip.instance=\"" INSTANCE "\";reg-id=2");
	assert_int_equal(sh_location_count(w->location), 2);
	phone_request(alice, "MESSAGE", "sip:bob@example.org", NULL, "x");
	assert_string_equal(reason_of(soon(alice, "200")), "1"); /* one phone, one target */
	/* Behind a NAT both are reached by their sources: say so by a reload that insists. */
	world_reload(w, PLAN_KEEP("nat = 'always'"));
	put(bob, "Supported: outbound\nContact: <sip:b@10.0.0.3>;+sip.instance=\"" INSTANCE "\";reg-id=1");
	world_advance(w, SH_SECOND);
	put(carol, "Supported: outbound\nContact: <sip:b@10.0.0.4>;+sip.instance=\"" INSTANCE "\";reg-id=2");
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(carol, "INVITE"); /* the newest flow */
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	phone_expect_none(bob, "INVITE", SH_SECOND); /* busy is busy */
	assert_int_equal(sh_addr_parse(&a, SH_LIT("10.0.0.4"), 0), 0);
	assert_int_equal(sh_sim_set_unreachable(w->sim, &a, SH_SIM_UDP_ICMP), 0);
	phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE"); /* the first one is dead: by the other */
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	world_forget_log(w);
	end();
}

static void a_phone_that_forgets_its_keep_alives_loses_its_flow(void **state)
{
	(void)state;
	begin(PLAN_KEEP("flow_timer = 60"));
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	put(bob, "Supported: path, outbound\nContact: <sip:b@10.0.0.3;transport=tcp>;+sip.instance=\"" INSTANCE "\";reg-id=1");
	for (unsigned i = 0; i < 4; i++) {
		world_advance(w, 58 * SH_SECOND);
		phone_send(bob, SH_PROTO_TCP, "10.0.0.1", 5060, "\r\n\r\n", 4);
	}
	world_advance(w, 70 * SH_SECOND);
	assert_int_equal(sh_location_count(w->location), 1);
	world_advance(w, 10 * SH_SECOND); /* Flow-Timer and what messages may take */
	assert_int_equal(sh_location_count(w->location), 0);
	world_expect_log(w, "lost");
	end();
}

static void outbound_behind_a_proxy_that_cannot_is_a_439(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_KEEP(""));
	phone_request(bob, "REGISTER", "sip:example.org",
		      "Via: SIP/2.0/UDP 10.0.0.3:5060;rport;branch=z9hG4bKob1, SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKx\n"
		      "Supported: outbound\nContact: <sip:b@10.0.0.3>;+sip.instance=\"" INSTANCE "\";reg-id=1",
		      NULL);
	m = soon(bob, "439");
	assert_string_equal(reason_of(m), "First Hop Lacks Outbound Support");
	end();
}

/* The value of a quoted parameter in an answer's Contact. */
static const char *quoted(const struct phone_msg *m, const char *name)
{
	static char out[2][300];
	static unsigned next;
	const char *at = strstr(m->text, name), *end;
	char *to = out[next++ % 2];

	assert_non_null(at);
	at += strlen(name) + 2;
	end = strchr(at, '"');
	snprintf(to, sizeof(out[0]), "%.*s", (int)(end - at), at);
	return to;
}

static void a_gruu_reaches_one_phone_of_several(void **state)
{
	const char *public, *temporary;
	char forged[300];
	struct phone_msg *m;

	(void)state;
	begin(PLAN_KEEP(""));
	m = put(bob, "Supported: gruu\nContact: <sip:b@10.0.0.3>;+sip.instance=\"" INSTANCE "\"");
	public = quoted(m, "pub-gruu");
	temporary = quoted(m, "temp-gruu");
	assert_string_equal(public, "sip:bob@example.org;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
	assert_null(strstr(temporary, "bob"));
	assert_non_null(strstr(temporary, "@example.org;gr"));
	phone_identity(carol, "bob", "example.org");
	put(carol, "Contact: <sip:c@10.0.0.4>;+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000000000001>\"");
	for (unsigned i = 0; i < 2; i++) {
		phone_invite(alice, i ? temporary : public, NULL, SDP_A);
		m = soon(bob, "INVITE");
		phone_expect_none(carol, "*", 10 * SH_MS);
		phone_reply(m, 486, NULL, NULL, NULL);
		soon(bob, "ACK");
		phone_ack(soon(alice, "486"), NULL, NULL);
	}
	phone_request(alice, "MESSAGE", "sip:bob@example.org", NULL, "x");
	assert_string_equal(reason_of(soon(alice, "200")), "2");
	phone_request(alice, "MESSAGE", "sip:bob@example.org;gr=urn:uuid:nobody", NULL, "x");
	assert_string_equal(reason_of(soon(alice, "200")), "0");
	snprintf(forged, sizeof(forged), "%s", temporary);
	forged[10] = forged[10] == 'A' ? 'B' : 'A';
	phone_request(alice, "MESSAGE", forged, NULL, "x");
	assert_string_equal(reason_of(soon(alice, "200")), "0");
	put(bob, "Contact: *\nExpires: 0");
	phone_request(alice, "MESSAGE", temporary, NULL, "x"); /* it ends with the registration */
	assert_string_equal(reason_of(soon(alice, "200")), "0");
	world_forget_log(w);
	end();
}

static void without_asking_nobody_gets_a_gruu(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN_KEEP(""));
	m = put(bob, "Contact: <sip:b@10.0.0.3>;+sip.instance=\"" INSTANCE "\";pub-gruu=\"sip:me@evil\"");
	assert_null(strstr(m->text, "gruu"));
	assert_null(strstr(m->text, "Require"));
	world_forget_log(w);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_phone_that_answers_options_stays),
	    cmocka_unit_test(a_phone_that_is_silent_twice_loses_its_binding),
	    cmocka_unit_test(a_phone_whose_machine_says_that_it_is_gone_loses_it_at_once),
	    cmocka_unit_test(crlf_keeps_the_way_open_on_datagrams_and_streams),
	    cmocka_unit_test(a_stun_request_is_answered_with_the_address_that_it_came_from),
	    cmocka_unit_test(a_phone_with_two_flows_is_called_once_and_by_the_other_when_one_fails),
	    cmocka_unit_test(a_phone_that_forgets_its_keep_alives_loses_its_flow),
	    cmocka_unit_test(outbound_behind_a_proxy_that_cannot_is_a_439),
	    cmocka_unit_test(a_gruu_reaches_one_phone_of_several),
	    cmocka_unit_test(without_asking_nobody_gets_a_gruu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
