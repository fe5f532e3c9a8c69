/* The witness itself: two phones that call each other directly. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "phone.h"
#include "msg/digest.h"

#define SDP "v=0\r\no=- 1 1 IN IP4 10.0.1.1\r\ns=-\r\nc=IN IP4 10.0.1.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

struct pair {
	struct sh_sim *sim;
	struct phone *alice, *bob;
};

static void pair_init(struct pair *t, const struct sh_sim_options *o)
{
	struct sh_sim_options calm = {.seed = 1, .delay_min = 5 * SH_MS, .delay_max = 20 * SH_MS};

	assert_int_equal(sh_sim_create(&t->sim, o ? o : &calm), 0);
	t->alice = phone_create(t->sim, "10.0.1.1");
	t->bob = phone_create(t->sim, "10.0.1.2");
	phone_identity(t->alice, "alice", "example.org");
	phone_identity(t->bob, "bob", "example.org");
}

static void pair_finish(struct pair *t)
{
	phone_destroy(t->alice);
	phone_destroy(t->bob);
	sh_sim_destroy(t->sim);
}

/* alice calls bob, who answers; both sides' calls come back. */
static struct phone_call *establish(struct pair *t, const char *uri, struct phone_call **at_bob)
{
	struct phone_call *call = phone_invite(t->alice, uri, NULL, SDP);
	struct phone_msg *invite = phone_expect(t->bob, "INVITE", 2 * SH_SECOND);

	phone_reply(invite, 180, NULL, NULL, NULL);
	phone_expect(t->alice, "180", 2 * SH_SECOND);
	phone_reply(invite, 200, NULL, NULL, SDP);
	phone_ack(phone_expect(t->alice, "200", 2 * SH_SECOND), NULL, NULL);
	phone_expect(t->bob, "ACK", 2 * SH_SECOND);
	*at_bob = invite->call;
	return call;
}

static void hang_up(struct phone_call *from, struct phone *other)
{
	phone_bye(from);
	phone_reply(phone_expect(other, "BYE", 2 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_expect(from->phone, "200 BYE", 2 * SH_SECOND);
}

static void a_call_is_made_and_ended_by_either_side(void **state)
{
	static const char *const uris[] = {"sip:bob@10.0.1.2", "sip:bob@10.0.1.2;transport=tcp"};
	(void)state;

	for (int i = 0; i < 4; i++) {
		struct pair t;
		struct phone_call *a, *b;
		pair_init(&t, NULL);
		a = establish(&t, uris[i % 2], &b);
		phone_assert(t.alice, a->confirmed && b->confirmed);
		assert_string_equal(a->id, b->id);
		assert_string_equal(a->remote_tag, b->local_tag);
		assert_string_equal(b->remote_tag, a->local_tag);
		assert_string_equal(a->target, i % 2 ? "sip:bob@10.0.1.2:5060;transport=tcp" : "sip:bob@10.0.1.2:5060");
		hang_up(i < 2 ? a : b, i < 2 ? t.bob : t.alice);
		phone_expect_none(t.alice, "*", 60 * SH_SECOND);
		phone_expect_none(t.bob, "*", 60 * SH_SECOND);
		/* bob opens a second connection: alice's Contact is not where her first one came from. */
		assert_int_equal(phone_connections(t.alice), i % 2 ? 1 + i / 2 : 0);
		pair_finish(&t);
	}
}

static void requests_and_answers_are_as_rfc_3261_wants_them(void **state)
{
	struct pair t;
	(void)state;

	pair_init(&t, NULL);
	phone_invite(t.alice, "sip:bob@10.0.1.2", "Subject: hello\r\nSupported: timer", SDP);
	struct phone_msg *m = phone_expect(t.bob, "INVITE", SH_SECOND);
	assert_int_equal(m->code, 0);
	assert_true(sh_slice_eq(sh_msg_text(&m->m, m->m.uri), SH_LIT("sip:bob@10.0.1.2")));
	phone_assert_contains(m, "Via", "SIP/2.0/UDP 10.0.1.1:5060;rport;branch=z9hG4bK");
	phone_assert_header(m, "Max-Forwards", "70");
	phone_assert_contains(m, "From", "<sip:alice@example.org>;tag=");
	phone_assert_header(m, "To", "<sip:bob@10.0.1.2>");
	phone_assert_header(m, "Contact", "<sip:alice@10.0.1.1:5060>");
	phone_assert_header(m, "s", "hello");
	phone_assert_header(m, "k", "timer");
	phone_assert_header(m, "Route", NULL);
	phone_assert_header(m, "Content-Type", "application/sdp");
	phone_assert_body(m, SDP);
	assert_int_equal(m->proto, SH_PROTO_UDP);
	assert_true(m->at > SH_SECOND && m->at <= SH_SECOND + 20 * SH_MS);

	phone_reply(m, 100, NULL, NULL, NULL);
	phone_reply(m, 486, "Busy now", "Retry-After: 10", NULL);
	struct phone_msg *trying = phone_expect(t.alice, "100", SH_SECOND);
	struct phone_msg *busy = phone_expect(t.alice, "4xx", SH_SECOND);
	phone_assert_header(trying, "To", "<sip:bob@10.0.1.2>");
	phone_assert_header(trying, "Contact", NULL);
	phone_assert_contains(busy, "To", "<sip:bob@10.0.1.2>;tag=");
	phone_assert_contains(busy, "Via", ";rport=5060");
	phone_assert_contains(busy, "Via", ";received=10.0.1.1");
	phone_assert_header(busy, "From", phone_value(m, "From"));
	phone_assert_header(busy, "Call-ID", phone_value(m, "Call-ID"));
	phone_assert_header(busy, "CSeq", phone_value(m, "CSeq"));
	phone_assert_header(busy, "Retry-After", "10");
	phone_assert_header(busy, "Content-Length", "0");
	assert_true(sh_slice_eq(sh_msg_text(&busy->m, busy->m.reason), SH_LIT("Busy now")));

	phone_ack(busy, NULL, NULL);
	struct phone_msg *ack = phone_expect(t.bob, "ACK", SH_SECOND);
	phone_assert_header(ack, "Via", phone_value(m, "Via")); /* hop by hop: the same branch */
	phone_assert_header(ack, "To", phone_value(busy, "To"));
	assert_int_equal(ack->m.cseq, m->m.cseq);
	assert_ptr_equal(ack->call, m->call);
	pair_finish(&t);
}

static void own_lines_replace_and_leave_out(void **state)
{
	struct pair t;
	(void)state;

	pair_init(&t, NULL);
	struct phone_call *c =
	    phone_request(t.alice, "OPTIONS", "sip:10.0.1.2",
			  "i: my-own\nf: \"A, B\" <sip:x@y>;tag=t1\nCSeq: 77 OPTIONS\n-Max-Forwards\nContact: *\n"
			  "X-Long: one\n two\nContent-Type: text/plain",
			  "text");
	struct phone_msg *m = phone_expect(t.bob, "OPTIONS", SH_SECOND);
	phone_assert_header(m, "Call-ID", "my-own");
	phone_assert_header(m, "From", "\"A, B\" <sip:x@y>;tag=t1");
	phone_assert_header(m, "Max-Forwards", NULL);
	phone_assert_header(m, "Contact", "*");
	phone_assert_header(m, "X-Long", "one\r\n two");
	phone_assert_header(m, "Content-Type", "text/plain");
	assert_int_equal(m->m.nheaders, 9);
	phone_reply(m, 200, NULL, "To: <sip:other>;tag=t2\n-Content-Length", NULL);
	struct phone_msg *ok = phone_expect_in(c, "200 OPTIONS", SH_SECOND); /* the call knows what the test wrote */
	assert_int_equal(ok->m.cseq, 77);
	phone_assert_header(ok, "To", "<sip:other>;tag=t2");
	phone_assert_header(ok, "Content-Length", NULL);
	phone_in_call(c, "OPTIONS", NULL, NULL);
	m = phone_expect(t.bob, "OPTIONS", SH_SECOND);
	phone_assert_header(m, "CSeq", "78 OPTIONS");
	phone_assert_header(m, "From", "\"A, B\" <sip:x@y>;tag=t1");
	pair_finish(&t);
}

static void a_cancel_goes_behind_its_invite(void **state)
{
	struct pair t;
	(void)state;

	pair_init(&t, NULL);
	struct phone_call *c = phone_invite(t.alice, "sip:bob@10.0.1.2", "Route: <sip:10.0.1.2;lr>", SDP);
	struct phone_msg *invite = phone_expect(t.bob, "INVITE", SH_SECOND);
	phone_reply(invite, 180, NULL, NULL, NULL);
	phone_expect(t.alice, "1xx", SH_SECOND);
	phone_cancel(c, "Reason: SIP;cause=200");
	struct phone_msg *cancel = phone_expect(t.bob, "CANCEL", SH_SECOND);
	phone_assert_header(cancel, "Via", phone_value(invite, "Via"));
	phone_assert_header(cancel, "To", phone_value(invite, "To")); /* without the tag of the 180 */
	phone_assert_header(cancel, "Route", "<sip:10.0.1.2;lr>");
	phone_assert_header(cancel, "Reason", "SIP;cause=200");
	assert_int_equal(cancel->m.cseq, invite->m.cseq);
	assert_ptr_equal(cancel->call, invite->call);
	phone_reply(cancel, 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	phone_expect(t.alice, "200 CANCEL", SH_SECOND);
	phone_ack(phone_expect(t.alice, "487 INVITE", SH_SECOND), NULL, NULL);
	phone_expect(t.bob, "ACK", SH_SECOND);
	phone_expect_none(t.alice, "*", SH_SECOND);
	pair_finish(&t);
}

static void target_and_cseq_follow_within_the_dialog(void **state)
{
	struct pair t;
	struct phone_call *a, *b;
	(void)state;

	pair_init(&t, NULL);
	a = establish(&t, "sip:bob@10.0.1.2", &b);
	uint32_t cseq = a->cseq;
	phone_reinvite(a, "Contact: <sip:moved@10.0.1.1:5060>", SDP);
	struct phone_msg *m = phone_expect_in(b, "INVITE", SH_SECOND);
	assert_int_equal(m->m.cseq, cseq + 1);
	assert_string_equal(b->target, "sip:moved@10.0.1.1:5060");
	phone_reply(m, 200, NULL, "Contact: <sip:too@10.0.1.2:5060>", SDP);
	m = phone_expect(t.alice, "200", SH_SECOND);
	phone_ack(m, NULL, SDP);
	m = phone_expect(t.bob, "ACK", SH_SECOND);
	assert_true(sh_slice_eq(sh_msg_text(&m->m, m->m.uri), SH_LIT("sip:too@10.0.1.2:5060")));
	assert_int_equal(m->m.cseq, cseq + 1);
	phone_assert_body(m, SDP);
	phone_in_call(b, "INFO", "Content-Type: text/plain", "x");
	m = phone_expect(t.alice, "INFO", SH_SECOND);
	assert_ptr_equal(m->call, a);
	assert_true(sh_slice_eq(sh_msg_text(&m->m, m->m.uri), SH_LIT("sip:moved@10.0.1.1:5060")));
	phone_assert_header(m, "Contact", NULL);
	phone_reply(m, 200, NULL, NULL, NULL);
	phone_expect(t.bob, "200 INFO", SH_SECOND);
	hang_up(b, t.alice);
	pair_finish(&t);
}

static void routes_are_learnt_in_the_right_order(void **state)
{
	struct pair t;
	struct phone *proxy;
	(void)state;

	pair_init(&t, NULL);
	proxy = phone_create(t.sim, "10.0.1.9");
	/* The proxies are bob and this one; what stands in the message decides. */
	struct phone_call *a =
	    phone_invite(t.alice, "sip:bob@10.0.1.2",
			 "Record-Route: <sip:10.0.1.9;lr>, <sip:10.0.1.8;lr>\nRecord-Route: <sip:10.0.1.7;lr>", SDP);
	struct phone_msg *invite = phone_expect(t.bob, "INVITE", SH_SECOND);
	assert_string_equal(invite->call->routes, "<sip:10.0.1.9;lr>, <sip:10.0.1.8;lr>, <sip:10.0.1.7;lr>");
	phone_reply(invite, 200, NULL, NULL, SDP);
	struct phone_msg *ok = phone_expect(t.alice, "200", SH_SECOND);
	assert_string_equal(a->routes, "<sip:10.0.1.7;lr>, <sip:10.0.1.8;lr>, <sip:10.0.1.9;lr>");
	phone_bye(invite->call); /* goes to the first route */
	struct phone_msg *bye = phone_expect(proxy, "BYE", SH_SECOND);
	phone_assert_header(bye, "Route", "<sip:10.0.1.9;lr>, <sip:10.0.1.8;lr>, <sip:10.0.1.7;lr>");
	assert_true(sh_slice_eq(sh_msg_text(&bye->m, bye->m.uri), SH_LIT("sip:alice@10.0.1.1:5060")));
	phone_ack(ok, NULL, NULL); /* 10.0.1.7 is nobody */
	phone_expect_none(t.bob, "ACK", SH_SECOND);
	assert_int_equal(t.alice->icmp, 1);
	phone_destroy(proxy);
	pair_finish(&t);
}

static void each_fork_can_be_acknowledged_and_followed(void **state)
{
	struct pair t;
	(void)state;

	pair_init(&t, NULL);
	struct phone_call *a = phone_invite(t.alice, "sip:bob@10.0.1.2", NULL, SDP);
	struct phone_msg *invite = phone_expect(t.bob, "INVITE", SH_SECOND);
	const char *to = phone_value(invite, "To");
	char line[200];
	for (int i = 1; i <= 2; i++) {
		snprintf(line, sizeof(line), "To: %s;tag=fork%d\nContact: <sip:fork%d@10.0.1.2>", to, i, i);
		phone_reply(invite, 200, NULL, line, SDP);
	}
	struct phone_msg *first = phone_expect(t.alice, "200", SH_SECOND),
			 *second = phone_expect(t.alice, "200", SH_SECOND);
	assert_string_equal(a->remote_tag, "fork1"); /* the first one decides */
	phone_ack(second, NULL, NULL);
	phone_ack(first, NULL, NULL);
	phone_assert_contains(phone_expect(t.bob, "ACK", SH_SECOND), "To", "tag=fork2");
	phone_assert_contains(phone_expect(t.bob, "ACK", SH_SECOND), "To", "tag=fork1");
	assert_string_equal(a->target, "sip:fork1@10.0.1.2");
	phone_follow(second);
	phone_bye(a);
	struct phone_msg *bye = phone_expect(t.bob, "BYE", SH_SECOND);
	phone_assert_contains(bye, "To", "tag=fork2");
	assert_true(sh_slice_eq(sh_msg_text(&bye->m, bye->m.uri), SH_LIT("sip:fork2@10.0.1.2")));
	pair_finish(&t);
}

static void provisional_answers_are_acknowledged_by_prack(void **state)
{
	struct pair t;
	(void)state;

	pair_init(&t, NULL);
	struct phone_call *a = phone_invite(t.alice, "sip:bob@10.0.1.2", "Supported: 100rel", SDP);
	struct phone_msg *invite = phone_expect(t.bob, "INVITE", SH_SECOND);
	phone_reply(invite, 183, NULL, "Require: 100rel\nRSeq: 41", SDP);
	phone_prack(phone_expect(t.alice, "183", SH_SECOND), NULL, NULL);
	struct phone_msg *prack = phone_expect(t.bob, "PRACK", SH_SECOND);
	snprintf(t.bob->scratch, 100, "41 %u INVITE", invite->m.cseq);
	phone_assert_header(prack, "RAck", t.bob->scratch);
	assert_int_equal(prack->m.cseq, invite->m.cseq + 1);
	assert_ptr_equal(prack->call, invite->call);
	phone_reply(prack, 200, NULL, NULL, NULL);
	phone_expect_in(a, "200 PRACK", SH_SECOND);
	pair_finish(&t);
}

/* What a registrar would check: the response to our challenge. */
static void check_credentials(struct phone_msg *m, const char *header, enum sh_digest_alg alg, const char *qop)
{
	struct sh_credentials c;
	struct sh_digest_hex ha1, want;
	struct sh_arena arena;

	sh_arena_init(&arena, 1024);
	phone_assert(m->phone, phone_value(m, header) != NULL);
	assert_int_equal(sh_credentials_parse(&arena, sh_slice_cstr(phone_value(m, header)), &c), 0);
	assert_true(sh_slice_eq(c.username, SH_LIT("alice")));
	assert_true(sh_slice_eq(c.realm, SH_LIT("example.org")));
	assert_true(sh_slice_eq(c.qop, sh_slice_cstr(qop)));
	assert_true(sh_slice_eq(c.uri, sh_msg_text(&m->m, m->m.uri)));
	assert_int_equal(c.alg, alg);
	assert_int_equal(sh_digest_ha1(alg, c.username, c.realm, SH_LIT("secret"), &ha1), 0);
	assert_int_equal(sh_digest_response(&c, sh_slice_make(ha1.text, ha1.len), sh_msg_text(&m->m, m->m.method_name),
					    sh_msg_text(&m->m, m->m.body), &want),
			 0);
	assert_true(sh_digest_equal(c.response, sh_slice_make(want.text, want.len)));
	sh_arena_finish(&arena);
}

static void challenges_are_met(void **state)
{
	struct pair t;
	struct phone_msg *m;
	(void)state;

	pair_init(&t, NULL);
	phone_login(t.alice, "alice", "secret");
	phone_proxy(t.alice, SH_PROTO_UDP, "10.0.1.2", 5060);
	struct phone_call *c = phone_request(t.alice, "REGISTER", "sip:example.org", "Expires: 60", NULL);
	m = phone_expect(t.bob, "REGISTER", SH_SECOND);
	assert_string_equal(c->remote, "<sip:alice@example.org>");
	uint32_t cseq = m->m.cseq;
	phone_reply(
	    m, 401, NULL,
	    "WWW-Authenticate: Digest realm=\"example.org\", nonce=\"n0\", algorithm=TOKEN\n"
	    "WWW-Authenticate: Digest realm=\"example.org\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth,auth-int\", "
	    "opaque=\"o\"",
	    NULL);
	phone_authorize(phone_expect(t.alice, "401", SH_SECOND));
	m = phone_expect(t.bob, "REGISTER", SH_SECOND);
	check_credentials(m, "Authorization", SH_DIGEST_SHA256, "auth");
	phone_assert_contains(m, "Authorization", "nc=00000001");
	phone_assert_contains(m, "Authorization", "opaque=\"o\"");
	phone_assert_header(m, "Expires", "60");
	phone_assert_contains(m, "Contact", "alice@10.0.1.1");
	assert_int_equal(m->m.cseq, cseq + 1);

	/* The same nonce again, as a proxy, without qop, for an INVITE: the failure is acknowledged. */
	c = phone_invite(t.alice, "sip:bob@example.org", NULL, SDP);
	m = phone_expect(t.bob, "INVITE", SH_SECOND);
	phone_reply(m, 407, NULL, "Proxy-Authenticate: Digest realm=\"example.org\", nonce=\"n1\"", NULL);
	phone_authorize(phone_expect(t.alice, "407", SH_SECOND));
	phone_expect(t.bob, "ACK", SH_SECOND);
	m = phone_expect(t.bob, "INVITE", SH_SECOND);
	check_credentials(m, "Proxy-Authorization", SH_DIGEST_MD5, "");
	phone_assert_body(m, SDP);
	phone_reply(m, 200, NULL, NULL, SDP);
	phone_ack(phone_expect_in(c, "200", SH_SECOND), NULL, NULL);
	m = phone_expect(t.bob, "ACK", SH_SECOND);
	phone_assert_contains(m, "Proxy-Authorization", "nonce=\"n1\"");
	assert_int_equal(m->m.cseq, c->cseq);
	hang_up(c, t.bob);
	pair_finish(&t);
	sh_digest_finish();
}

static void raw_text_and_garbage_pass_as_they_are(void **state)
{
	struct pair t;
	static const char options[] = "OPTIONS sip:10.0.1.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.1.1;branch=z9hG4bKx\r\n"
				      "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 OPTIONS\r\n\r\n";
	(void)state;

	pair_init(&t, NULL);
	phone_send(t.alice, SH_PROTO_UDP, "10.0.1.2", 5060, "\0garbage", 8);
	struct phone_msg *m = phone_expect(t.bob, "?", SH_SECOND);
	assert_int_equal(m->len, 8);
	assert_memory_equal(m->text, "\0garbage", 8);
	phone_send(t.alice, SH_PROTO_TCP, "10.0.1.2", 5060, "no SIP\r\n\r\n", 10);
	m = phone_expect(t.bob, "?", SH_SECOND);
	assert_int_equal(m->proto, SH_PROTO_TCP);
	struct phone_msg *sent = phone_send(t.alice, SH_PROTO_UDP, "10.0.1.2", 5060, options, sizeof(options) - 1);
	m = phone_expect(t.bob, "OPTIONS", SH_SECOND);
	assert_string_equal(m->text, options);
	phone_resend(sent);
	m = phone_expect(t.bob, "OPTIONS", SH_SECOND); /* without PHONE_ABSORB a copy is a message too */
	assert_true(m->repeat);
	assert_int_equal(phone_count(t.bob, "OPTIONS"), 2);
	phone_reply(m, 200, NULL, NULL, NULL); /* no rport: to the port of Via */
	m = phone_expect(t.alice, "200", SH_SECOND);
	assert_null(m->call);
	pair_finish(&t);
}

static void streams_are_cut_into_messages_wherever_they_break(void **state)
{
	(void)state;

	for (int chunks = SH_SIM_CHUNKS_WHOLE; chunks <= SH_SIM_CHUNKS_BYTE; chunks++) {
		struct sh_sim_options o = {
		    .seed = 5, .delay_max = 10 * SH_MS, .chunks = (enum sh_sim_chunks)chunks, .window = 100};
		struct pair t;
		struct phone_call *a, *b;
		pair_init(&t, &o);
		a = establish(&t, "sip:bob@10.0.1.2;transport=tcp", &b);
		/* Keep-alives between messages, and two messages in one. */
		phone_send(t.alice, SH_PROTO_TCP, "10.0.1.2", 5060, "\r\n\r\n", 4);
		phone_in_call(a, "INFO", NULL, "one");
		phone_in_call(a, "INFO", NULL, "two");
		phone_assert_body(phone_expect(t.bob, "INFO", SH_SECOND), "one");
		phone_assert_body(phone_expect(t.bob, "INFO", SH_SECOND), "two");
		assert_int_equal(phone_connections(t.bob), 1);
		phone_hang_up_connections(t.bob);
		assert_int_equal(phone_connections(t.bob), 0);
		assert_true(sh_sim_run_idle(t.sim, SH_SECOND));
		assert_int_equal(phone_connections(t.alice), 0);
		hang_up(a, t.bob); /* over a new one */
		assert_int_equal(phone_connections(t.bob), 1);
		pair_finish(&t);
	}
}

static void robust_phones_get_through_a_lossy_network(void **state)
{
	unsigned again = 0;
	(void)state;

	for (uint64_t seed = 0; seed < 30; seed++) {
		struct sh_sim_options o = {.seed = seed,
					   .loss = 0.25,
					   .duplicate = 0.2,
					   .reorder = 0.2,
					   .delay_min = 5 * SH_MS,
					   .delay_max = 50 * SH_MS};
		struct pair t;
		struct phone_msg *m;
		pair_init(&t, &o);
		phone_auto(t.alice, PHONE_ROBUST);
		phone_auto(t.bob, PHONE_ROBUST);
		struct phone_call *a = phone_invite(t.alice, "sip:bob@10.0.1.2", NULL, SDP);
		m = phone_expect(t.bob, "INVITE", 32 * SH_SECOND);
		phone_reply(m, 200, NULL, NULL, SDP);
		phone_ack(phone_expect(t.alice, "200", 32 * SH_SECOND), NULL, NULL);
		phone_expect(t.bob, "ACK", 32 * SH_SECOND);
		phone_bye(m->call);
		phone_reply(phone_expect(t.alice, "BYE", 32 * SH_SECOND), 200, NULL, NULL, NULL);
		phone_expect(t.bob, "200 BYE", 32 * SH_SECOND);

		phone_invite(t.alice, "sip:bob@10.0.1.2", NULL, SDP);
		phone_reply(phone_expect(t.bob, "INVITE", 32 * SH_SECOND), 486, NULL, NULL, NULL);
		phone_ack(phone_expect(t.alice, "486", 32 * SH_SECOND), NULL, NULL);
		phone_expect(t.bob, "ACK", 32 * SH_SECOND);
		phone_expect_none(t.alice, "*", 64 * SH_SECOND); /* copies are absorbed, nobody keeps talking */
		phone_expect_none(t.bob, "*", SH_SECOND);
		phone_assert(t.alice, a->confirmed);
		SH_LIST_EACH(l, &t.bob->log)
		again += SH_CONTAINER(l, struct phone_msg, link)->repeat;
		pair_finish(&t);
	}
	assert_true(again > 30);
}

static void a_request_is_sent_again_by_the_timers(void **state)
{
	struct pair t;
	uint64_t at[16];
	(void)state;

	for (int i = 0; i < 2; i++) {
		unsigned n = 0;
		struct sh_addr bob;
		pair_init(&t, NULL);
		bob = t.bob->addr;
		assert_int_equal(sh_sim_set_unreachable(t.sim, &bob, SH_SIM_UDP_SILENT), 0);
		phone_auto(t.alice, PHONE_RESEND);
		phone_request(t.alice, i ? "INVITE" : "OPTIONS", "sip:bob@10.0.1.2", NULL, NULL);
		phone_expect_none(t.alice, "*", 100 * SH_SECOND);
		SH_LIST_EACH(l, &t.alice->log)
		at[n++] = SH_CONTAINER(l, struct phone_msg, link)->at;
		assert_int_equal(n, i ? 7 : 11); /* RFC 3261 17.1.1.2, 17.1.2.2 */
		assert_int_equal(at[1] - at[0], 500 * SH_MS);
		assert_int_equal(at[2] - at[1], 1000 * SH_MS);
		assert_int_equal(at[5] - at[4], i ? 8 * SH_SECOND : 4 * SH_SECOND);
		pair_finish(&t);
	}
}

static void answer_everything(struct phone_msg *m, void *ctx)
{
	(*(unsigned *)ctx)++;
	if (m->m.is_request && m->m.method != SH_ACK)
		phone_reply(m, 200, NULL, NULL, m->m.method == SH_INVITE ? SDP : NULL);
}

static void a_phone_can_answer_by_itself(void **state)
{
	struct pair t;
	unsigned calls = 0;
	(void)state;

	pair_init(&t, NULL);
	t.bob->on_message = answer_everything;
	t.bob->ctx = &calls;
	struct phone_call *a = phone_invite(t.alice, "sip:bob@10.0.1.2", NULL, SDP);
	phone_ack(phone_expect(t.alice, "200", SH_SECOND), NULL, NULL);
	phone_bye(a);
	phone_expect(t.alice, "200 BYE", SH_SECOND);
	assert_int_equal(calls, 3);
	pair_finish(&t);
}

/* The child's expectation fails, cmocka jumps away there, and the child comes to its end with a failure. This test is
 * the last one, so that the child runs no other. */
static void a_failure_shows_the_ladder_and_the_seed(void **state)
{
	struct pair t;
	char text[20000];
	size_t len = 0;
	ssize_t n;
	int ends[2], status;
	pid_t child;
	(void)state;

	pair_init(&t, NULL);
	phone_request(t.alice, "OPTIONS", "sip:bob@10.0.1.2", NULL, NULL);
	phone_expect(t.bob, "OPTIONS", SH_SECOND);
	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		dup2(ends[1], STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		phone_expect(t.alice, "200", SH_SECOND); /* bob never answers */
	}
	close(ends[1]);
	while (len < sizeof(text) - 1 && (n = read(ends[0], text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(ends[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
	assert_non_null(strstr(text, "seed 1,"));
	assert_non_null(strstr(text, "no 200 within 1.000 s"));
	assert_non_null(strstr(text, "10.0.1.1:5060         --> 10.0.1.2:5060"));
	assert_non_null(strstr(text, "OPTIONS sip:bob@10.0.1.2 SIP/2.0"));
	assert_non_null(strstr(text, "---- 0, sent by sip:alice@example.org"));
	assert_non_null(strstr(text, "---- 1, received by sip:bob@example.org"));
	assert_non_null(strstr(text, "phone_test.c"));
	pair_finish(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_call_is_made_and_ended_by_either_side),
	    cmocka_unit_test(requests_and_answers_are_as_rfc_3261_wants_them),
	    cmocka_unit_test(own_lines_replace_and_leave_out),
	    cmocka_unit_test(a_cancel_goes_behind_its_invite),
	    cmocka_unit_test(target_and_cseq_follow_within_the_dialog),
	    cmocka_unit_test(routes_are_learnt_in_the_right_order),
	    cmocka_unit_test(each_fork_can_be_acknowledged_and_followed),
	    cmocka_unit_test(provisional_answers_are_acknowledged_by_prack),
	    cmocka_unit_test(challenges_are_met),
	    cmocka_unit_test(raw_text_and_garbage_pass_as_they_are),
	    cmocka_unit_test(streams_are_cut_into_messages_wherever_they_break),
	    cmocka_unit_test(robust_phones_get_through_a_lossy_network),
	    cmocka_unit_test(a_request_is_sent_again_by_the_timers),
	    cmocka_unit_test(a_phone_can_answer_by_itself),
	    cmocka_unit_test(a_failure_shows_the_ladder_and_the_seed), /* must be the last */
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
