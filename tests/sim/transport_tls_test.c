/* TLS between two transports on the virtual network, and against octets that are none. */
#include "tls_helpers.h"

/* 10.0.0.1 accepts, 10.0.0.2 is bare, 10.0.0.3 connects. */
struct secure {
	struct world w;
	struct server *client;
	struct paper *ca, *server_paper, *client_paper;
	struct sh_tls *server_tls, *client_tls;
};

struct wishes {
	const char *names; /* of the server; NULL: DNS:example.org */
	int days;          /* 0: 30 */
	bool self_signed, client_has_paper;
	enum sh_tls_verify server_verifies, client_verifies;
	struct sh_sim_options sim;
	struct sh_transport_config config;
};

static struct secure secure_new(struct wishes v)
{
	struct secure s = {0};

	s.ca = paper_make("test authority", NULL, 3650, NULL);
	s.server_paper = paper_make("server", v.names ? v.names : "DNS:example.org", v.days ? v.days : 30,
				    v.self_signed ? NULL : s.ca);
	s.client_paper = paper_make("client", "DNS:phones.example.net,URI:sip:example.net", 30, s.ca);
	s.server_tls = tls_new(s.server_paper, s.ca, v.server_verifies);
	s.client_tls = tls_new(v.client_has_paper ? s.client_paper : NULL, s.ca, v.client_verifies);
	s.w = world_new(v.sim, &v.config);
	s.client = server_new(s.w.sim, NULL);
	assert_int_equal(listen_tls(s.w.s, SH_PROTO_TLS, "10.0.0.1", 5061, s.server_tls), 0);
	connect_tls(s.client, "10.0.0.3", s.client_tls);
	return s;
}

static void secure_free(struct secure *s)
{
	server_free(s->client);
	world_free(&s->w);
	sh_tls_unref(s->server_tls);
	sh_tls_unref(s->client_tls);
	paper_free(s->ca);
	paper_free(s->server_paper);
	paper_free(s->client_paper);
}

static struct sh_path path_to(struct secure *s, const char *domain)
{
	struct sh_path p = {.proto = SH_PROTO_TLS, .remote = addr("10.0.0.1", 5061)};

	p.domain = domain ? sh_domain_intern(s->client->t, sh_slice_cstr(domain)) : 0;
	return p;
}

/* Whether a request to that domain arrives. */
static bool reaches(struct secure *s, const char *domain)
{
	struct sh_path path = path_to(s, domain);
	size_t before = s->w.s->count, ended = s->client->ended_count;
	char text[1024];

	put_request(text, sizeof(text), 1, "hello");
	assert_int_equal(server_send(s->client, &path, text, NULL), 0);
	world_run(&s->w);
	if (s->w.s->count == before + 1)
		return true;
	assert_int_equal(s->w.s->count, before);
	assert_int_equal(s->client->ended_count, ended + 1);
	assert_int_equal(s->client->ended[ended].error, -EPROTO);
	return false;
}

static const struct sh_transport_stats *stats(const struct server *s)
{
	return sh_transport_stats(s->t);
}

/* ---- messages ---- */

static void requests_and_answers_cross_one_connection(void **state)
{
	for (int chunks = SH_SIM_CHUNKS_WHOLE; chunks <= SH_SIM_CHUNKS_BYTE; chunks++) {
		struct secure s = secure_new((struct wishes){.sim.chunks = (enum sh_sim_chunks)chunks});
		char text[1024];

		(void)state;
		for (unsigned i = 0; i < 3; i++)
			assert_true(reaches(&s, "example.org"));
		assert_int_equal(stats(s.w.s)->handshakes, 1);
		assert_int_equal(stats(s.w.s)->connections, 1);
		assert_int_equal(s.w.s->got[0].path.proto, SH_PROTO_TLS);
		assert_addr(&s.w.s->got[0].path.local, "10.0.0.1", 5061);
		put_request(text, sizeof(text), 7, "back");
		assert_int_equal(server_send(s.w.s, &s.w.s->got[0].path, text, NULL), 0);
		world_run(&s.w);
		assert_int_equal(s.client->count, 1);
		assert_string_equal(s.client->got[0].text, text);
		secure_free(&s);
	}
}

static void many_messages_of_one_turn_share_segments_and_keep_their_order(void **state)
{
	struct secure s = secure_new((struct wishes){.sim.window = 3000});
	struct sh_path path = path_to(&s, "example.org");
	char text[4096], body[2000] = {0};

	(void)state;
	memset(body, 'x', sizeof(body) - 1);
	for (unsigned i = 0; i < 200; i++) {
		put_request(text, sizeof(text), i, body);
		assert_int_equal(server_send(s.client, &path, text, NULL), 0);
	}
	world_run(&s.w);
	assert_int_equal(s.w.s->count, 200);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(s.w.s->got[i].cseq, i);
	secure_free(&s);
}

static void the_largest_message_passes(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct sh_path path = path_to(&s, "example.org");
	char *body = malloc(65001), *text = malloc(70000);

	(void)state;
	memset(body, 'b', 65000);
	body[65000] = '\0';
	put_request(text, 70000, 1, body);
	assert_int_equal(server_send(s.client, &path, text, NULL), 0);
	world_run(&s.w);
	assert_int_equal(s.w.s->count, 1);
	assert_string_equal(s.w.s->got[0].text, text);
	free(text);
	free(body);
	secure_free(&s);
}

static void a_close_of_either_side_is_heard_by_the_other(void **state)
{
	for (int who = 0; who < 2; who++) {
		struct secure s = secure_new((struct wishes){0});
		struct sh_path path = path_to(&s, "example.org");
		uint64_t flow;
		char text[1024];

		(void)state;
		put_request(text, sizeof(text), 1, "x");
		assert_int_equal(server_send(s.client, &path, text, &flow), 0);
		world_run(&s.w);
		if (who == 0)
			sh_transport_flow_close(s.w.s->t, s.w.s->got[0].path.flow);
		else
			sh_transport_flow_close(s.client->t, flow);
		world_run(&s.w);
		assert_int_equal(s.w.s->ended_count, 1);
		assert_int_equal(s.client->ended_count, 1);
		assert_int_equal(s.w.s->ended[0].error, 0);
		assert_int_equal(s.client->ended[0].error, 0);
		secure_free(&s);
	}
}

static void a_peer_that_does_not_read_is_closed_at_the_limit(void **state)
{
	struct secure s = secure_new((struct wishes){.config.max_unsent = 100000, .sim.window = 2000});
	char text[4096], body[3000] = {0};
	int err = 0;
	unsigned n = 0;

	(void)state;
	assert_true(reaches(&s, "example.org"));
	memset(body, 'x', sizeof(body) - 1);
	put_request(text, sizeof(text), 1, body);
	assert_int_equal(sh_sim_set_unreachable(s.w.sim, &(struct sh_addr){.family = 4, .ip = {10, 0, 0, 3}},
						SH_SIM_TCP_SILENT), 0);
	for (; !err && n < 1000; n++)
		err = server_send(s.w.s, &s.w.s->got[0].path, text, NULL);
	assert_int_equal(err, -ENOBUFS);
	assert_in_range(n, 30, 40);
	sh_sim_advance(s.w.sim, SH_SECOND);
	assert_int_equal(s.w.s->ended_count, 1);
	secure_free(&s);
}

/* ---- names (RFC 5922) ---- */

static void a_server_must_prove_the_domain_that_was_asked_for(void **state)
{
	static const struct {
		const char *names, *domain;
		bool good;
	} cases[] = {
	    {"DNS:example.org", "example.org", true},
	    {"DNS:Example.ORG", "eXample.org.", true},
	    {"DNS:example.org", "example.net", false},
	    {"DNS:example.org", "sip.example.org", false},
	    {"DNS:*.example.org", "sip.example.org", false},
	    {"URI:sip:example.org", "example.org", true},
	    {"URI:sip:example.org,DNS:sip1.example.org", "sip1.example.org", false},
	    {"URI:sip:alice@example.org", "example.org", false},
	    {"URI:https://example.org", "example.org", false},
	    {"IP:10.0.0.1", NULL, true},
	    {"IP:10.0.0.9,DNS:10.0.0.8", NULL, false},
	    {"DNS:example.org", NULL, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct secure s = secure_new((struct wishes){.names = cases[i].names});

		if (reaches(&s, cases[i].domain) != cases[i].good) {
			print_error("%s for %s\n", cases[i].names, cases[i].domain ? cases[i].domain : "an address");
			fail();
		}
		assert_int_equal(stats(s.client)->handshakes_failed[SH_TLS_CERTIFICATE], !cases[i].good);
		assert_int_equal(stats(s.w.s)->handshakes_failed[SH_TLS_ALERT], !cases[i].good);
		secure_free(&s);
	}
}

static void a_certificate_without_names_is_known_by_its_common_name(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct paper *p = paper_make("old.example.org", NULL, 30, s.ca);
	struct sh_tls *old = tls_new(p, s.ca, SH_TLS_VERIFY_SERVERS);
	struct sh_path path = path_to(&s, "old.example.org");
	char text[1024];

	(void)state;
	assert_int_equal(listen_tls(s.w.s, SH_PROTO_TLS, "10.0.0.1", 5062, old), 0);
	path.remote.port = 5062;
	put_request(text, sizeof(text), 1, "x");
	assert_int_equal(server_send(s.client, &path, text, NULL), 0);
	world_run(&s.w);
	assert_int_equal(s.w.s->count, 1);
	sh_tls_unref(old);
	paper_free(p);
	secure_free(&s);
}

static void strangers_and_expired_certificates_are_refused_unless_nobody_looks(void **state)
{
	for (int verify = 0; verify < 2; verify++) {
		enum sh_tls_verify v = verify ? SH_TLS_VERIFY_SERVERS : SH_TLS_VERIFY_NOBODY;
		struct secure stranger = secure_new((struct wishes){.self_signed = true, .client_verifies = v});
		struct secure expired = secure_new((struct wishes){.days = 3, .client_verifies = v});

		(void)state;
		assert_int_equal(reaches(&stranger, "example.org"), !verify);
		assert_int_equal(reaches(&stranger, "elsewhere.example"), !verify);
		sh_sim_advance(expired.w.sim, UINT64_C(3) * DAY * SH_SECOND);
		assert_int_equal(reaches(&expired, "example.org"), !verify);
		secure_free(&expired);
		secure_free(&stranger);
	}
}

static void a_connection_serves_only_the_domains_that_its_peer_has_proven(void **state)
{
	struct secure s = secure_new((struct wishes){.names = "DNS:one.example,DNS:two.example"});

	(void)state;
	assert_true(reaches(&s, "one.example"));
	assert_true(reaches(&s, "two.example"));
	assert_int_equal(stats(s.w.s)->connections, 1);
	assert_false(reaches(&s, "three.example")); /* a connection of its own, on which the server fails */
	assert_true(reaches(&s, "one.example"));
	assert_int_equal(stats(s.w.s)->connections, 1);
	secure_free(&s);
}

/* ---- both sides prove who they are ---- */

static void a_client_without_a_certificate_is_refused_where_one_is_asked_for(void **state)
{
	static const struct {
		enum sh_tls_verify verify;
		bool has, good;
		const char *names;
	} cases[] = {
	    {SH_TLS_VERIFY_MUTUAL, false, false, NULL}, {SH_TLS_VERIFY_MUTUAL, true, true, "example.net"},
	    {SH_TLS_VERIFY_OPTIONAL, false, true, ""},  {SH_TLS_VERIFY_OPTIONAL, true, true, "example.net"},
	    {SH_TLS_VERIFY_SERVERS, true, true, ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct secure s = secure_new(
		    (struct wishes){.server_verifies = cases[i].verify, .client_has_paper = cases[i].has});

		assert_int_equal(reaches(&s, "example.org"), cases[i].good);
		if (cases[i].good)
			assert_string_equal(sh_transport_flow_names(s.w.s->t, s.w.s->got[0].path.flow), cases[i].names);
		secure_free(&s);
	}
}

/* ---- a connection is used in both directions (RFC 5923) ---- */

static void who_proves_its_name_is_called_by_the_connection_that_it_opened(void **state)
{
	static const struct {
		enum sh_tls_verify verify;
		const char *via, *domain;
		unsigned port;
		bool reused;
	} cases[] = {
	    {SH_TLS_VERIFY_MUTUAL, "x.example.net:5071;branch=z9hG4bKa;alias", "example.net", 5071, true},
	    {SH_TLS_VERIFY_MUTUAL, "x.example.net;alias;branch=z9hG4bKa", "EXAMPLE.net", 5061, true},
	    {SH_TLS_VERIFY_MUTUAL, "x.example.net:5071;branch=z9hG4bKa;alias", "example.net", 5061, false},
	    {SH_TLS_VERIFY_MUTUAL, "x.example.net:5071;branch=z9hG4bKa", "example.net", 5071, false},
	    {SH_TLS_VERIFY_MUTUAL, "x.example.net:5071;branch=z9hG4bKa;alias", "another.example", 5071, false},
	    {SH_TLS_VERIFY_MUTUAL, "x.example.net:5071;branch=z9hG4bKa;alias", NULL, 5071, false}, /* its address is not in it */
	    {SH_TLS_VERIFY_SERVERS, "x.example.net:5071;branch=z9hG4bKa;alias", "example.net", 5071, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct secure s = secure_new((struct wishes){.server_verifies = cases[i].verify, .client_has_paper = true});
		struct sh_path path = path_to(&s, "example.org"), back = {.proto = SH_PROTO_TLS};
		uint64_t flow = 0;
		char text[1024];

		snprintf(text, sizeof(text), "MESSAGE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/TLS %s\r\nFrom: <sip:a@example.net>;tag=1\r\n"
			 "To: <sip:bob@example.org>\r\nCall-ID: 1\r\nCSeq: 1 MESSAGE\r\nContent-Length: 0\r\n\r\n", cases[i].via);
		assert_int_equal(server_send(s.client, &path, text, NULL), 0);
		world_run(&s.w);
		assert_int_equal(s.w.s->count, 1);
		back.remote = s.w.s->got[0].path.remote;
		back.remote.port = (uint16_t)cases[i].port;
		back.domain = cases[i].domain ? sh_domain_intern(s.w.s->t, sh_slice_cstr(cases[i].domain)) : 0;
		assert_int_equal(server_send(s.w.s, &back, text, &flow), 0);
		if ((flow == s.w.s->got[0].path.flow) != cases[i].reused)
			fail_msg("case %zu", i);
		world_run(&s.w);
		assert_int_equal(s.client->count, cases[i].reused);
		if (cases[i].reused) { /* when it is gone there is a new one */
			sh_transport_flow_close(s.w.s->t, flow);
			world_run(&s.w);
			assert_int_equal(server_send(s.w.s, &back, text, &flow), 0);
			assert_true(flow != s.w.s->got[0].path.flow);
		}
		secure_free(&s);
	}
}

static void what_another_worker_knows_of_a_peer_is_remembered(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct sh_transport *t = s.w.s->t;

	(void)state;
	for (uint64_t i = 1; i < 5000; i++) {
		assert_int_equal(sh_transport_learn_names(t, UINT64_C(7) << 56 | i, "a.example\0b.example\0"), 0);
		assert_int_equal(sh_transport_learn_names(t, UINT64_C(7) << 56 | i, "c.example\0"), 0);
	}
	assert_string_equal(sh_transport_flow_names(t, UINT64_C(7) << 56 | 4999) + strlen("a.example") + 1, "b.example");
	assert_null(sh_transport_flow_names(t, UINT64_C(7) << 56 | 1)); /* the oldest give way */
	assert_null(sh_transport_flow_names(t, UINT64_C(6) << 56 | 4999));
	secure_free(&s);
}

/* ---- several certificates ---- */

static void the_name_that_a_client_asks_for_chooses_the_certificate(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct paper *a = paper_make("a", "DNS:a.example", 30, s.ca), *b = paper_make("b", "DNS:b.example", 30, s.ca);
	struct sh_tls_identity ids[] = {identity_of(s.server_paper), identity_of(a), identity_of(b)};
	struct sh_tls_config c = {.identities = ids, .count = 3};
	struct sh_tls_set *set;
	char error[256];

	(void)state;
	assert_int_equal(sh_tls_prepare(&set, s.server_tls, &c, error, sizeof(error)), 0);
	sh_tls_commit(s.server_tls, set);
	assert_true(reaches(&s, "b.example"));
	assert_true(reaches(&s, "a.example"));
	assert_true(reaches(&s, "example.org"));
	assert_false(reaches(&s, "c.example"));
	assert_int_equal(stats(s.w.s)->connections, 3);
	paper_free(a);
	paper_free(b);
	secure_free(&s);
}

/* ---- sessions ---- */

static void a_second_connection_resumes_the_session_also_after_a_reload(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct sh_tls_identity id = identity_of(s.server_paper);
	struct sh_tls_config c = {.identities = &id, .count = 1, .authorities = sh_slice_cstr(s.ca->text)};
	struct sh_tls_set *set;
	char error[256];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		assert_true(reaches(&s, "example.org"));
		sh_transport_flow_close(s.w.s->t, s.w.s->got[s.w.s->count - 1].path.flow);
		world_run(&s.w);
		if (i == 1) {
			assert_int_equal(sh_tls_prepare(&set, s.server_tls, &c, error, sizeof(error)), 0);
			sh_tls_commit(s.server_tls, set);
		}
	}
	assert_int_equal(stats(s.w.s)->handshakes, 3);
	assert_int_equal(stats(s.w.s)->handshakes_resumed, 2);
	assert_int_equal(stats(s.client)->handshakes_resumed, 2);
	secure_free(&s);
}

static void a_session_is_not_resumed_for_another_domain(void **state)
{
	struct secure s = secure_new((struct wishes){0});

	(void)state;
	assert_true(reaches(&s, "example.org"));
	sh_transport_flow_close(s.w.s->t, s.w.s->got[0].path.flow);
	world_run(&s.w);
	assert_false(reaches(&s, "bank.example"));
	assert_int_equal(stats(s.client)->handshakes_resumed, 0);
	secure_free(&s);
}

static void sessions_end_when_the_authorities_change(void **state)
{
	struct secure s = secure_new(
	    (struct wishes){.server_verifies = SH_TLS_VERIFY_MUTUAL, .client_has_paper = true});
	struct paper *other = paper_make("another authority", NULL, 30, NULL);
	struct sh_tls_identity id = identity_of(s.server_paper);
	struct sh_tls_config c = {.identities = &id,
				  .count = 1,
				  .authorities = sh_slice_cstr(other->text),
				  .authorities_name = "ca.pem",
				  .verify = SH_TLS_VERIFY_MUTUAL};
	struct sh_tls_set *set;
	char error[256];

	(void)state;
	assert_true(reaches(&s, "example.org"));
	sh_transport_flow_close(s.w.s->t, s.w.s->got[0].path.flow);
	world_run(&s.w);
	assert_int_equal(sh_tls_prepare(&set, s.server_tls, &c, error, sizeof(error)), 0);
	sh_tls_commit(s.server_tls, set);
	s.client->ended_count = 0;
	assert_false(reaches(&s, "example.org"));
	paper_free(other);
	secure_free(&s);
}

/* ---- reload ---- */

static void new_connections_get_the_new_certificate_and_old_ones_live_on(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct paper *fresh = paper_make("fresh", "DNS:fresh.example", 30, s.ca);
	struct sh_tls_identity id = identity_of(fresh);
	struct sh_tls_config c = {.identities = &id, .count = 1};
	struct sh_tls_set *set;
	char error[256];

	(void)state;
	assert_true(reaches(&s, "example.org"));
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(sh_tls_prepare(&set, s.server_tls, &c, error, sizeof(error)), 0);
		sh_tls_commit(s.server_tls, set);
	}
	assert_true(reaches(&s, "example.org"));
	assert_int_equal(stats(s.w.s)->handshakes, 1);
	assert_true(reaches(&s, "fresh.example"));
	assert_int_equal(stats(s.w.s)->handshakes, 2);
	paper_free(fresh);
	secure_free(&s);
}

static void what_cannot_be_used_is_refused_with_the_file_and_the_reason(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct paper *other = paper_make("other", NULL, 30, s.ca);
	struct sh_tls_identity good = identity_of(s.server_paper);
	struct sh_tls_set *set = NULL;
	struct {
		struct sh_slice certificate, key, ca;
		int64_t now;
		int error;
		const char *says;
	} cases[] = {
	    {SH_LIT("hello"), good.key, SH_LIT(""), 0, -EINVAL, "cert.pem: no certificate in it"},
	    {SH_LIT(""), good.key, SH_LIT(""), 0, -EINVAL, "cert.pem: no certificate in it"},
	    {good.certificate, SH_LIT("hello"), SH_LIT(""), 0, -EINVAL, "key.pem: no private key in it"},
	    {good.certificate, sh_slice_cstr(other->key_text), SH_LIT(""), 0, -EINVAL,
	     "key.pem: the key does not belong to the certificate"},
	    {good.certificate, good.key, SH_LIT("hello"), 0, -EINVAL, "ca.pem: no certificate in it"},
	    {good.certificate, good.key, SH_LIT(""), START + 31 * DAY, -EKEYEXPIRED,
	     "cert.pem: the certificate has expired"},
	    {good.certificate, good.key, SH_LIT(""), START - 5, -EKEYEXPIRED,
	     "cert.pem: the certificate is not valid yet"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sh_tls_identity id = {cases[i].certificate, cases[i].key, "cert.pem", "key.pem"};
		struct sh_tls_config c = {.identities = &id,
					  .count = 1,
					  .authorities = cases[i].ca,
					  .authorities_name = "ca.pem",
					  .now = cases[i].now};
		char error[256] = "";

		assert_int_equal(sh_tls_prepare(&set, s.server_tls, &c, error, sizeof(error)), cases[i].error);
		assert_string_equal(error, cases[i].says);
		assert_null(set);
	}
	assert_true(reaches(&s, "example.org"));
	paper_free(other);
	secure_free(&s);
}

/* ---- handshakes that do not end ---- */

static void a_handshake_that_does_not_end_is_ended(void **state)
{
	struct secure s = secure_new((struct wishes){.config.handshake_timeout = 3 * SH_SECOND});
	struct sh_addr to = addr("10.0.0.1", 5061);
	struct wire *slow = peer_connect(s.w.p, &to);
	/* the beginning of a ClientHello that never comes */
	static const char hello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";

	(void)state;
	world_run(&s.w);
	for (size_t i = 0; i < 6 && slow->s; i++) {
		wire_send(slow, hello + i, 1);
		sh_sim_advance(s.w.sim, 600 * SH_MS);
	}
	assert_int_equal(slow->closed, 1);
	assert_int_equal(stats(s.w.s)->connections, 0);
	assert_int_equal(stats(s.w.s)->handshakes_failed[SH_TLS_TIMEOUT], 1);
	assert_in_range(s.w.s->ended[0].at, 3 * SH_SECOND, 5 * SH_SECOND);
	secure_free(&s);
}

static void only_so_many_handshakes_run_at_a_time(void **state)
{
	struct secure s = secure_new((struct wishes){.config.max_handshakes = 5});
	struct sh_addr to = addr("10.0.0.1", 5061);

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		peer_connect(s.w.p, &to);
		world_run(&s.w);
	}
	assert_int_equal(stats(s.w.s)->connections, 5);
	assert_int_equal(stats(s.w.s)->refused_limit, 3);
	wire_close(s.w.p->wires[0]);
	world_run(&s.w);
	assert_int_equal(stats(s.w.s)->handshakes_failed[SH_TLS_CLOSED], 1);
	assert_true(reaches(&s, "example.org")); /* there is room for one; it is free again when it is through */
	assert_int_equal(stats(s.w.s)->connections, 5);
	peer_connect(s.w.p, &to);
	world_run(&s.w);
	assert_int_equal(stats(s.w.s)->connections, 6);
	secure_free(&s);
}

static void noise_ends_with_an_alert_and_a_line(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct sh_addr to = addr("10.0.0.1", 5061);
	struct wire *w = peer_connect(s.w.p, &to);
	char text[1024];

	(void)state;
	world_run(&s.w);
	wire_send(w, text, put_request(text, sizeof(text), 1, "in the clear"));
	world_run(&s.w);
	assert_int_equal(w->closed, 1);
	assert_int_equal(s.w.s->count, 0);
	assert_int_equal(stats(s.w.s)->handshakes_failed[SH_TLS_PROTOCOL], 1);
	assert_int_equal(s.w.s->ended[0].error, -EPROTO);
	secure_free(&s);
}

static void a_server_that_does_not_speak_tls_is_left(void **state)
{
	struct secure s = secure_new((struct wishes){0});
	struct sh_path path = path_to(&s, "example.org");
	char text[1024];

	(void)state;
	peer_listen(s.w.p, "10.0.0.2", 5061);
	path.remote = addr("10.0.0.2", 5061);
	put_request(text, sizeof(text), 1, "x");
	assert_int_equal(server_send(s.client, &path, text, NULL), 0);
	world_run(&s.w);
	assert_int_equal(s.client->ended_count, 0);
	sh_sim_advance(s.w.sim, 6 * SH_SECOND); /* it is silent */
	assert_int_equal(s.client->ended_count, 1);
	assert_int_equal(s.client->ended[0].error, -ETIMEDOUT);
	assert_int_equal(server_send(s.client, &path, text, NULL), 0);
	world_run(&s.w);
	wire_send(s.w.p->wires[1], "SIP/2.0 400 Bad Request\r\n\r\n", 27);
	world_run(&s.w);
	assert_int_equal(s.client->ended_count, 2);
	assert_int_equal(s.client->ended[1].error, -EPROTO);
	secure_free(&s);
}

/* ---- memory ---- */

/* OpenSSL's own allocations are not swept: it answers for them. */
static void every_allocation_of_ours_may_fail(void **state)
{
	long n = 0;
	bool all = false;

	(void)state;
	for (; !all; n++) {
		struct secure s = secure_new((struct wishes){0});
		struct sh_path path = path_to(&s, "example.org");
		char text[1024];
		bool ok;

		put_request(text, sizeof(text), 1, "x");
		sh_alloc_fail_after(n);
		ok = server_send(s.client, &path, text, NULL) == 0;
		sh_sim_advance(s.w.sim, 100 * SH_MS);
		ok = ok && s.w.s->count == 1 && server_send(s.w.s, &s.w.s->got[0].path, text, NULL) == 0;
		sh_sim_advance(s.w.sim, 100 * SH_MS);
		ok = ok && s.client->count == 1;
		all = sh_alloc_count() <= n;
		sh_alloc_fail_after(-1);
		assert_true(!all || ok);
		assert_true(n < 300);
		secure_free(&s);
	}
	assert_true(n > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(requests_and_answers_cross_one_connection),
	    cmocka_unit_test(many_messages_of_one_turn_share_segments_and_keep_their_order),
	    cmocka_unit_test(the_largest_message_passes),
	    cmocka_unit_test(a_close_of_either_side_is_heard_by_the_other),
	    cmocka_unit_test(a_peer_that_does_not_read_is_closed_at_the_limit),
	    cmocka_unit_test(a_server_must_prove_the_domain_that_was_asked_for),
	    cmocka_unit_test(a_certificate_without_names_is_known_by_its_common_name),
	    cmocka_unit_test(strangers_and_expired_certificates_are_refused_unless_nobody_looks),
	    cmocka_unit_test(a_connection_serves_only_the_domains_that_its_peer_has_proven),
	    cmocka_unit_test(a_client_without_a_certificate_is_refused_where_one_is_asked_for),
	    cmocka_unit_test(who_proves_its_name_is_called_by_the_connection_that_it_opened),
	    cmocka_unit_test(what_another_worker_knows_of_a_peer_is_remembered),
	    cmocka_unit_test(the_name_that_a_client_asks_for_chooses_the_certificate),
	    cmocka_unit_test(a_second_connection_resumes_the_session_also_after_a_reload),
	    cmocka_unit_test(a_session_is_not_resumed_for_another_domain),
	    cmocka_unit_test(sessions_end_when_the_authorities_change),
	    cmocka_unit_test(new_connections_get_the_new_certificate_and_old_ones_live_on),
	    cmocka_unit_test(what_cannot_be_used_is_refused_with_the_file_and_the_reason),
	    cmocka_unit_test(a_handshake_that_does_not_end_is_ended),
	    cmocka_unit_test(only_so_many_handshakes_run_at_a_time),
	    cmocka_unit_test(noise_ends_with_an_alert_and_a_line),
	    cmocka_unit_test(a_server_that_does_not_speak_tls_is_left),
	    cmocka_unit_test(every_allocation_of_ours_may_fail),
	};
	int failed;

	assert_int_equal(sh_digest_init(), 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	sh_digest_finish();
	return failed;
}
