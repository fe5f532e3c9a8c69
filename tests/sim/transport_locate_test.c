/* Names: where a request goes, what we are called, and which names mean us. */
#include "transport_helpers.h"

struct answer {
	unsigned calls, count;
	int error;
	struct sh_path paths[SH_MAX_CANDIDATES];
};

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct answer *a = ctx;

	a->calls++;
	a->count = count;
	a->error = error;
	assert_true((count == 0) == (error != 0));
	memcpy(a->paths, paths, count * sizeof(*paths));
}

static struct sh_uri parse(const char *text)
{
	struct sh_uri uri;

	assert_int_equal(sh_uri_parse(&uri, sh_slice_cstr(text)), 0);
	return uri;
}

static int locate(struct server *s, const char *text, int hint, struct answer *a)
{
	struct sh_uri uri = parse(text);
	struct sh_locate *pending = NULL;
	int n;

	memset(a, 0, sizeof(*a));
	n = sh_transport_locate(s->t, &uri, hint, a->paths, on_located, a, &pending);
	assert_true((n == 0) == (pending != NULL));
	return n;
}

static void goes_to(struct server *s, const char *text, enum sh_proto proto, const char *ip, unsigned port)
{
	struct answer a;

	assert_int_equal(locate(s, text, -1, &a), 1);
	assert_int_equal(a.paths[0].proto, proto);
	assert_addr(&a.paths[0].remote, ip, port);
	assert_int_equal(a.paths[0].flow, 0);
	assert_int_equal(sh_transport_endpoint(s->t, a.paths[0].endpoint)->proto, proto);
}

static void fails(struct server *s, const char *text, int error)
{
	struct answer a;

	assert_int_equal(locate(s, text, -1, &a), error);
}

/* Endpoints: 0 UDP 10.0.0.1, 1 TCP 10.0.0.1, 2 TCP [fd00::1], 3 UDP 10.0.0.1:5080. */
static struct world full_world(void)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);

	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	server_listen(w.s, SH_PROTO_TCP, "10.0.0.1", 5060);
	server_listen(w.s, SH_PROTO_TCP, "fd00::1", 5060);
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5080);
	return w;
}

static void numeric_hosts_need_no_question(void **state)
{
	struct world w = full_world();

	(void)state;
	goes_to(w.s, "sip:bob@10.0.0.2", SH_PROTO_UDP, "10.0.0.2", 5060);
	goes_to(w.s, "sip:bob@10.0.0.2:5099", SH_PROTO_UDP, "10.0.0.2", 5099);
	goes_to(w.s, "sip:bob@10.0.0.2;transport=tcp", SH_PROTO_TCP, "10.0.0.2", 5060);
	goes_to(w.s, "sip:bob@10.0.0.2:5099;lr;transport=UDP", SH_PROTO_UDP, "10.0.0.2", 5099);
	goes_to(w.s, "sip:bob@[fd00::2];transport=tcp", SH_PROTO_TCP, "fd00::2", 5060);
	goes_to(w.s, "sip:bob@[fd00::2]", SH_PROTO_TCP, "fd00::2", 5060); /* no UDP for that family */
	goes_to(w.s, "sip:bob@example.org:5090;maddr=10.0.0.2", SH_PROTO_UDP, "10.0.0.2", 5090);
	goes_to(w.s, "sip:bob@10.0.0.9;maddr=[fd00::2];transport=tcp", SH_PROTO_TCP, "fd00::2", 5060);
	world_free(&w);
}

static void what_we_cannot_speak_is_refused(void **state)
{
	struct world w = full_world();

	(void)state;
	fails(w.s, "sips:bob@10.0.0.2", -EPROTONOSUPPORT); /* no TLS endpoint: never in the clear */
	fails(w.s, "sips:bob@10.0.0.2;transport=tcp", -EPROTONOSUPPORT);
	fails(w.s, "sips:bob@10.0.0.2;transport=udp", -EPROTONOSUPPORT);
	fails(w.s, "sip:bob@10.0.0.2;transport=tls", -EPROTONOSUPPORT);
	fails(w.s, "sip:bob@10.0.0.2;transport=sctp", -EPROTONOSUPPORT);
	fails(w.s, "sip:bob@[fd00::2];transport=udp", -EHOSTUNREACH);
	fails(w.s, "sip:bob@0.0.0.0", -EHOSTUNREACH);
	fails(w.s, "tel:+49301234", -EINVAL);
	fails(w.s, "sip:bob@10.0.0.2;maddr", -EINVAL);
	fails(w.s, "sip:bob@10.0.0.2;maddr=a%20b", -EINVAL);
	world_free(&w);
}

static void a_hint_forces_the_endpoint(void **state)
{
	struct world w = full_world();
	struct answer a;

	(void)state;
	assert_int_equal(locate(w.s, "sip:bob@10.0.0.2", 3, &a), 1);
	assert_int_equal(a.paths[0].endpoint, 3);
	assert_int_equal(a.paths[0].proto, SH_PROTO_UDP);
	assert_int_equal(locate(w.s, "sip:bob@10.0.0.2", 1, &a), 1);
	assert_int_equal(a.paths[0].endpoint, 1);
	assert_int_equal(a.paths[0].proto, SH_PROTO_TCP);
	assert_int_equal(locate(w.s, "sip:bob@10.0.0.2;transport=udp", 1, &a), -EPROTONOSUPPORT);
	assert_int_equal(locate(w.s, "sips:bob@10.0.0.2", 1, &a), -EPROTONOSUPPORT);
	assert_int_equal(locate(w.s, "sip:bob@10.0.0.2", 2, &a), -EHOSTUNREACH);
	assert_int_equal(locate(w.s, "sip:bob@10.0.0.2", 4, &a), -EINVAL);
	world_free(&w);
}

static void names_are_asked_for(void **state)
{
	struct world w = full_world();
	struct sh_addr two[] = {addr("fd00::2", 0), addr("10.0.0.2", 0)}, v6 = addr("fd00::2", 0), many[20];
	struct answer a;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		many[i] = addr("10.0.1.0", 0);
		many[i].ip[3] = (uint8_t)(i + 1);
	}
	assert_int_equal(sh_sim_add_name(w.sim, "two.example.org", two, 2), 0);
	assert_int_equal(sh_sim_add_name(w.sim, "v6.example.org", &v6, 1), 0);
	assert_int_equal(sh_sim_add_name(w.sim, "many.example.org", many, 20), 0);
	assert_int_equal(sh_sim_fail_name(w.sim, "later.example.org", -EAGAIN), 0);

	assert_int_equal(locate(w.s, "sip:bob@two.example.org", -1, &a), 0);
	assert_int_equal(a.calls, 0);
	world_run(&w);
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.count, 2);
	assert_addr(&a.paths[0].remote, "10.0.0.2", 5060); /* our first listener is IPv4 */
	assert_int_equal(a.paths[0].proto, SH_PROTO_UDP);
	assert_addr(&a.paths[1].remote, "fd00::2", 5060);
	assert_int_equal(a.paths[1].proto, SH_PROTO_TCP);
	assert_int_equal(a.paths[1].endpoint, 2);

	/* The other one is out of reach by UDP. */
	assert_int_equal(locate(w.s, "sip:bob@x;maddr=two.example.org;transport=udp", -1, &a), 1); /* known by now */
	assert_addr(&a.paths[0].remote, "10.0.0.2", 5060);

	assert_int_equal(locate(w.s, "sip:bob@two.example.org:5099", 3, &a), 1); /* known by now */
	assert_int_equal(a.paths[0].endpoint, 3);
	assert_int_equal(a.paths[0].remote.port, 5099);

	assert_int_equal(locate(w.s, "sip:bob@v6.example.org;transport=udp", -1, &a), 0);
	world_run(&w);
	assert_int_equal(a.error, -ENOENT); /* no address of a family that we have UDP for */

	assert_int_equal(locate(w.s, "sip:bob@nowhere.example.org", -1, &a), 0);
	world_run(&w);
	assert_int_equal(a.calls, 1);
	assert_int_equal(a.error, -ENOENT);

	assert_int_equal(locate(w.s, "sip:bob@later.example.org", -1, &a), 0);
	world_run(&w);
	assert_int_equal(a.error, -EAGAIN);

	assert_int_equal(locate(w.s, "sip:bob@many.example.org", -1, &a), 0);
	world_run(&w);
	assert_int_equal(a.count, SH_MAX_CANDIDATES);
	world_free(&w);
}

static void a_question_may_be_cancelled_or_left_behind(void **state)
{
	struct world w = full_world();
	struct sh_addr one = addr("10.0.0.2", 0);
	struct sh_uri uri = parse("sip:bob@one.example.org");
	struct answer a = {0};
	struct sh_locate *pending = NULL;

	(void)state;
	assert_int_equal(sh_sim_add_name(w.sim, "one.example.org", &one, 1), 0);
	assert_int_equal(sh_transport_locate(w.s->t, &uri, -1, a.paths, on_located, &a, &pending), 0);
	sh_locate_cancel(pending);
	sh_locate_cancel(NULL);
	world_run(&w);
	assert_int_equal(a.calls, 0);
	uri = parse("sip:bob@two.example.org");
	assert_int_equal(sh_transport_locate(w.s->t, &uri, -1, a.paths, on_located, &a, &pending), 0);
	sh_alloc_fail_after(0);
	assert_int_equal(sh_transport_locate(w.s->t, &uri, -1, a.paths, on_located, &a, &pending), -ENOMEM);
	sh_alloc_fail_after(-1);
	world_free(&w); /* with the second one under way */
	assert_int_equal(a.calls, 0);
}

/* ---- who we are ---- */

static bool is_local(const struct server *s, const char *text)
{
	struct sh_uri uri = parse(text);

	return sh_transport_is_local(s->t, &uri);
}

static void our_names_mean_us(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_addr a = addr("10.0.0.1", 5060), b = addr("fd00::1", 5080), any = addr("0.0.0.0", 5090);

	(void)state;
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_UDP, &a, SH_LIT("SIP.example.org"), 5062), 0);
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_TCP, &b, SH_LIT(""), 0), 0);
	assert_true(is_local(w.s, "sip:10.0.0.1"));
	assert_true(is_local(w.s, "sip:bob@10.0.0.1:5060;transport=udp"));
	assert_true(is_local(w.s, "sip:bob@sip.EXAMPLE.org:5062"));
	assert_true(is_local(w.s, "sip:bob@sip.example.org.:5062"));
	assert_true(is_local(w.s, "sip:bob@[FD00:0::1]:5080"));
	assert_false(is_local(w.s, "sip:bob@sip.example.org"));
	assert_false(is_local(w.s, "sip:bob@10.0.0.1:5061"));
	assert_false(is_local(w.s, "sips:bob@10.0.0.1"));
	assert_false(is_local(w.s, "sip:bob@10.0.0.1;transport=tls"));
	assert_false(is_local(w.s, "sip:bob@10.0.0.2"));
	assert_false(is_local(w.s, "sip:bob@127.0.0.1:5090"));
	assert_false(is_local(w.s, "tel:+49301234"));

	/* All addresses of the machine: the loopback one, and each other once something came to it. */
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_TCP, &any, SH_LIT(""), 0), 0);
	assert_true(is_local(w.s, "sip:bob@127.0.0.1:5090"));
	assert_false(is_local(w.s, "sip:bob@10.0.0.1:5090"));
	struct sh_addr to = addr("10.0.0.1", 5090);
	peer_connect(w.p, &to);
	world_run(&w);
	assert_true(is_local(w.s, "sip:bob@10.0.0.1:5090"));
	world_free(&w);
}

static void sees(const struct server *s, const struct sh_path *p, const char *host, unsigned port)
{
	char buf[SH_ADDR_TEXT];
	struct sh_slice got;
	uint16_t got_port;

	sh_transport_sent_by(s->t, p, buf, &got, &got_port);
	assert_slice(got, host);
	assert_int_equal(got_port, port);
}

static void peers_see_the_address_that_reaches_us(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_addr a = addr("10.0.0.1", 5060), any = addr("0.0.0.0", 5070), any6 = addr("::", 5070);
	struct sh_path p = {.proto = SH_PROTO_UDP, .remote = addr("10.0.0.2", 5060)};

	(void)state;
	sees(w.s, &p, "localhost", 5060);
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_UDP, &a, SH_LIT(""), 0), 0);
	sees(w.s, &p, "10.0.0.1", 5060);
	p.local = addr("192.0.2.7", 5060);
	sees(w.s, &p, "10.0.0.1", 5060);

	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_UDP, &any, SH_LIT(""), 0), 0);
	p.endpoint = 1;
	sees(w.s, &p, "192.0.2.7", 5070);
	p.local = (struct sh_addr){0};
	sees(w.s, &p, "127.0.0.1", 5070); /* nothing better is known yet */

	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_UDP, &any6, SH_LIT(""), 0), 0);
	p.endpoint = 2;
	p.remote = addr("fd00::2", 5060);
	sees(w.s, &p, "[::1]", 5070);
	p.local = addr("fd00::7", 5070);
	sees(w.s, &p, "[fd00::7]", 5070);

	/* A packet tells. */
	peer_bind(w.p, "10.0.0.2", 5060);
	struct sh_addr to = addr("10.0.0.1", 5070);
	peer_send(w.p, &to, "x", 1);
	world_run(&w);
	p.endpoint = 1;
	p.remote = addr("10.0.0.2", 5060);
	p.local = (struct sh_addr){0};
	sees(w.s, &p, "10.0.0.1", 5070);
	assert_slice(sh_transport_endpoint(w.s->t, 1)->host, "10.0.0.1");
	assert_addr(&sh_transport_endpoint(w.s->t, 1)->local, "0.0.0.0", 5070);
	world_free(&w);
}

static void what_the_user_advertises_stands(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_addr any = addr("0.0.0.0", 5060), b = addr("::", 5060);
	struct sh_path p = {.proto = SH_PROTO_UDP, .local = addr("10.0.0.1", 5060), .remote = addr("10.0.0.2", 5060)};

	(void)state;
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_UDP, &any, SH_LIT("203.0.113.5"), 5999), 0);
	sees(w.s, &p, "203.0.113.5", 5999);
	assert_true(is_local(w.s, "sip:203.0.113.5:5999"));
	peer_bind(w.p, "10.0.0.2", 5060);
	struct sh_addr to = addr("10.0.0.1", 5060);
	peer_send(w.p, &to, "x", 1);
	world_run(&w);
	sees(w.s, &p, "203.0.113.5", 5999);
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_UDP, &b, SH_LIT("2001:db8::1"), 0), 0);
	assert_slice(sh_transport_endpoint(w.s->t, 1)->host, "[2001:db8::1]");
	assert_int_equal(sh_transport_endpoint(w.s->t, 1)->port, 5060);
	world_free(&w);
}

static void an_endpoint_that_cannot_be_opened_leaves_nothing(void **state)
{
	struct world w = world_new((struct sh_sim_options){0}, NULL);
	struct sh_addr a = addr("10.0.0.1", 5060), none = {0};

	(void)state;
	server_listen(w.s, SH_PROTO_UDP, "10.0.0.1", 5060);
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_UDP, &a, SH_LIT(""), 0), -EADDRINUSE);
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_TLS, &a, SH_LIT(""), 0), -EPROTONOSUPPORT);
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_TCP, &none, SH_LIT(""), 0), -EINVAL);
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_TCP, &a, SH_LIT("0.0.0.0"), 0), -EINVAL);
	assert_int_equal(sh_transport_endpoints(w.s->t), 1);
	assert_null(sh_transport_endpoint(w.s->t, 1));
	assert_int_equal(sh_sim_open_handles(w.s->env), 1);
	a.port = 0;
	for (unsigned i = 1; i < SH_MAX_ENDPOINTS; i++) {
		assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_TCP, &a, SH_LIT(""), 0), 0);
		assert_true(sh_transport_endpoint(w.s->t, i)->local.port != 0);
	}
	assert_int_equal(sh_transport_listen(w.s->t, SH_PROTO_TCP, &a, SH_LIT(""), 0), -ENOSPC);
	world_free(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numeric_hosts_need_no_question),
	    cmocka_unit_test(what_we_cannot_speak_is_refused),
	    cmocka_unit_test(a_hint_forces_the_endpoint),
	    cmocka_unit_test(names_are_asked_for),
	    cmocka_unit_test(a_question_may_be_cancelled_or_left_behind),
	    cmocka_unit_test(our_names_mean_us),
	    cmocka_unit_test(peers_see_the_address_that_reaches_us),
	    cmocka_unit_test(what_the_user_advertises_stands),
	    cmocka_unit_test(an_endpoint_that_cannot_be_opened_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
