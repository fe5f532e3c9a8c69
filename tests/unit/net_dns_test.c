/* Questions to name servers over real sockets: the server is this test, turn by turn. */
#include "net_helpers.h"

#include "drivers/net/net_impl.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

/* ---- a name server ---- */

struct dns_server {
	int udp, tcp, conn; /* conn: 0 none */
	struct sh_addr addr;
	unsigned asked; /* over UDP */
	bool silent, truncate, refuse;
};

static struct dns_server server_open(void)
{
	struct dns_server s = {0};
	struct sh_addr local = address("127.0.0.1", 0);
	struct sockaddr_storage sa;
	socklen_t len;

	for (unsigned i = 0; i < 100; i++) { /* a port that is free for UDP may be somebody's for TCP */
		s.udp = peer_socket(SOCK_DGRAM, &local, &s.addr);
		s.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		len = sh_addr_to_sockaddr(&s.addr, &sa);
		if (bind(s.tcp, (struct sockaddr *)&sa, len) == 0 && listen(s.tcp, 4) == 0)
			return s;
		close(s.udp);
		close(s.tcp);
	}
	fail_msg("no port is free for UDP and TCP");
	return s;
}

static void server_close(struct dns_server *s)
{
	close(s->udp);
	close(s->tcp);
}

static unsigned char *put_name(unsigned char *at, const char *name)
{
	while (*name) {
		size_t n = strcspn(name, ".");
		*at++ = (unsigned char)n;
		memcpy(at, name, n);
		at += n;
		name += n + (name[n] == '.');
	}
	*at++ = 0;
	return at;
}

static unsigned char *put16(unsigned char *at, unsigned n)
{
	at[0] = (unsigned char)(n >> 8);
	at[1] = (unsigned char)n;
	return at + 2;
}

static unsigned char *put_head(unsigned char *at, unsigned type, unsigned ttl)
{
	at = put16(at, 0xc00c); /* the name of the question */
	at = put16(at, type);
	at = put16(at, 1);
	at = put16(at, 0);
	return put16(at, ttl);
}

static unsigned char *put_string(unsigned char *at, const char *s)
{
	*at++ = (unsigned char)strlen(s);
	memcpy(at, s, strlen(s));
	return at + strlen(s);
}

static unsigned char *put_length(unsigned char *length, unsigned char *end)
{
	put16(length, (unsigned)(end - length - 2));
	return end;
}

/* The answer to a question of len octets, in place. */
static size_t answer(unsigned char *text, size_t len)
{
	unsigned type = (unsigned)(text[len - 4] << 8 | text[len - 3]), count = 1;
	unsigned char *at = text + len, *length;

	switch (type) {
	case SH_DNS_A:
		at = put_head(at, 5, 60); /* an alias in front of it */
		length = at;
		at = put_length(length, put_name(at + 2, "real.example.test"));
		at = put_head(at, SH_DNS_A, 77);
		at = put16(at, 4);
		memcpy(at, "\xc0\x00\x02\x07", 4);
		at += 4;
		count = 2;
		break;
	case SH_DNS_SRV:
		for (unsigned i = 0; i < 2; i++) {
			at = put_head(at, SH_DNS_SRV, 30 + i);
			length = at;
			at = put16(at + 2, 10 + i);
			at = put16(at, 20 + i);
			at = put16(at, 5060 + i);
			at = put_length(length, put_name(at, i ? "b.example.test" : "a.example.test"));
		}
		count = 2;
		break;
	case SH_DNS_NAPTR:
		at = put_head(at, SH_DNS_NAPTR, 40);
		length = at;
		at = put16(at + 2, 50);
		at = put16(at, 51);
		at = put_string(at, "s");
		at = put_string(at, "SIP+D2T");
		at = put_string(at, "");
		at = put_length(length, put_name(at, "_sip._tcp.example.test"));
		break;
	default:
		count = 0; /* no AAAA: an SOA says for how long */
		at = put_head(at, 6, 600);
		length = at;
		at = put_name(at + 2, "ns.example.test");
		at = put_name(at, "root.example.test");
		for (unsigned i = 0; i < 8; i++)
			at = put16(at, 0);
		at = put16(at, 0);
		at = put16(at, 90); /* minimum */
		put_length(length, at);
	}
	text[2] |= 0x80;
	put16(text + 6, count);
	put16(text + 8, count ? 0 : 1);
	put16(text + 10, 0);
	return (size_t)(at - text);
}

/* Without the OPT record behind the question. */
static size_t question_length(const unsigned char *text)
{
	size_t n = 12;

	while (text[n])
		n += text[n] + 1u;
	return n + 5;
}

static void serve_stream(struct dns_server *s)
{
	unsigned char text[2048];
	size_t n;

	assert_true(recv(s->conn, text, sizeof(text) - 1024, 0) > 14);
	n = answer(text + 2, question_length(text + 2));
	put16(text, (unsigned)n);
	assert_int_equal(send(s->conn, text, n + 2, 0), n + 2);
	close(s->conn);
	s->conn = 0;
}

static void serve(struct dns_server *s)
{
	struct pollfd p[3] = {{.fd = s->udp, .events = POLLIN},
			      {.fd = s->tcp, .events = POLLIN},
			      {.fd = s->conn ? s->conn : -1, .events = POLLIN}};
	unsigned char text[2048];
	struct sh_addr from;
	size_t n;

	if (poll(p, 3, 0) <= 0)
		return;
	if (p[1].revents)
		s->conn = accept4(s->tcp, NULL, NULL, SOCK_CLOEXEC);
	if (p[2].revents)
		serve_stream(s);
	if (!p[0].revents)
		return;
	peer_receive(s->udp, text, 1024, &from);
	s->asked++;
	if (s->silent)
		return;
	n = question_length(text);
	if (s->truncate) {
		text[2] |= 0x82;
		put16(text + 10, 0);
	} else if (s->refuse) {
		text[2] |= 0x80;
		text[3] = 2; /* SERVFAIL */
		put16(text + 10, 0);
	} else {
		n = answer(text, n);
	}
	peer_send(s->udp, &from, text, n);
}

/* ---- who asks ---- */

struct result {
	unsigned calls;
	int error;
	uint32_t ttl;
	size_t count;
	struct sh_dns_record records[4];
	char target[2][64], service[16];
};

static void on_answer(const struct sh_dns_answer *a, void *ctx)
{
	struct result *r = ctx;

	r->calls++;
	r->error = a->error;
	r->ttl = a->ttl;
	r->count = a->count;
	for (size_t i = 0; i < a->count && i < 4; i++) {
		r->records[i] = a->records[i];
		if (i < 2)
			snprintf(r->target[i], sizeof(r->target[i]), "%.*s", SH_FMT(a->records[i].target));
		snprintf(r->service, sizeof(r->service), "%.*s", SH_FMT(a->records[i].service));
	}
}

static const struct sh_env_events events;
static struct dns_server dns;
static struct sh_net *net;

static void begin(void)
{
	char servers[SH_ADDR_TEXT];

	dns = server_open();
	net = net_with(1, &events, NULL);
	sh_addr_format(&dns.addr, servers);
	assert_int_equal(sh_net_set_dns(net, servers), 0);
}

static void end(void)
{
	sh_net_destroy(net);
	server_close(&dns);
}

static void put(const char *name, size_t len, enum sh_dns_type type, struct result *r)
{
	struct sh_env *env = sh_net_env(net, 0);

	memset(r, 0, sizeof(*r));
	assert_int_equal(env->driver->query(env, sh_slice_make(name, len), type, on_answer, r), 0);
	assert_int_equal(r->calls, 0); /* never from inside */
}

static bool served(const struct result *r)
{
	serve(&dns);
	return r->calls > 0;
}

static struct result ask(const char *name, enum sh_dns_type type)
{
	struct result r;

	put(name, strlen(name), type, &r);
	TURN_UNTIL(net, served(&r));
	assert_int_equal(r.calls, 1);
	return r;
}

static void records_come_with_their_time_to_live(void **state)
{
	struct result r;

	(void)state;
	begin();
	r = ask("www.example.test", SH_DNS_A);
	assert_int_equal(r.error, 0);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.records[0].ttl, 77);
	struct sh_addr want = address("192.0.2.7", 0);
	assert_true(sh_addr_eq(&r.records[0].addr, &want));

	r = ask("_sip._udp.example.test.", SH_DNS_SRV);
	assert_int_equal(r.count, 2);
	assert_int_equal(r.records[1].order, 11);
	assert_int_equal(r.records[1].weight, 21);
	assert_int_equal(r.records[1].port, 5061);
	assert_int_equal(r.records[1].ttl, 31);
	assert_string_equal(r.target[0], "a.example.test");
	assert_string_equal(r.target[1], "b.example.test");

	r = ask("example.test", SH_DNS_NAPTR);
	assert_int_equal(r.count, 1);
	assert_int_equal(r.records[0].order, 50);
	assert_int_equal(r.records[0].weight, 51);
	assert_string_equal(r.service, "SIP+D2T");
	assert_string_equal(r.target[0], "_sip._tcp.example.test");

	r = ask("www.example.test", SH_DNS_AAAA);
	assert_int_equal(r.error, -ENOENT);
	assert_int_equal(r.ttl, 90); /* the smaller of the SOA's two */
	end();
}

static void an_answer_that_is_too_large_comes_by_tcp(void **state)
{
	struct result r;

	(void)state;
	begin();
	dns.truncate = true;
	r = ask("_sip._tcp.example.test", SH_DNS_SRV);
	assert_int_equal(r.count, 2);
	assert_string_equal(r.target[1], "b.example.test");
	end();
}

static void a_server_that_fails_is_a_temporary_failure(void **state)
{
	struct result r;

	(void)state;
	begin();
	dns.refuse = true;
	r = ask("www.example.test.", SH_DNS_A);
	assert_int_equal(r.error, -EAGAIN);
	end();
}

static void a_silent_server_is_asked_again(void **state)
{
	struct result r;

	(void)state;
	begin();
	dns.silent = true;
	put("www.example.test.", 17, SH_DNS_A, &r);
	sh_net_fd(net, 0);
	while (dns.asked < 2) { /* its timeout is a timer of the wheel */
		served(&r);
		turn_all(net, 100000);
	}
	dns.silent = false;
	TURN_UNTIL(net, served(&r));
	assert_int_equal(r.count, 1);
	end();
}

static void the_machine_knows_itself_without_a_name_server(void **state)
{
	struct result r;

	(void)state;
	begin();
	dns.silent = true;
	r = ask("localhost", SH_DNS_A);
	assert_int_equal(r.count, 1);
	assert_true(sh_addr_is_loopback(&r.records[0].addr));
	r = ask("pbx.LocalHost.", SH_DNS_AAAA);
	assert_int_equal(r.count, 1);
	assert_true(sh_addr_is_loopback(&r.records[0].addr));
	assert_int_equal(r.records[0].addr.family, 6);
	assert_int_equal(dns.asked, 0);
	end();
}

/* What no name server should be bothered with. */
static void text_that_is_no_host_name_does_not_exist(void **state)
{
	static const struct sh_slice names[] = {
	    SH_LIT(""),           SH_LIT("."),          SH_LIT("127.1"),         SH_LIT("0x7f000001"),
	    SH_LIT("2130706433"), SH_LIT("local host"), SH_LIT("a..b"),          SH_LIT(".localhost"),
	    SH_LIT("localhost.."), SH_LIT("local\0host"), SH_LIT("fe80::1%lo"), SH_LIT("caf\xc3\xa9"),
	    SH_LIT("host.1"),
	};
	char longest[300];
	struct result r;

	(void)state;
	begin();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		put(names[i].base, names[i].len, SH_DNS_A, &r);
		turn_all(net, 0);
		assert_int_equal(r.calls, 1);
		assert_int_equal(r.error, -ENOENT);
	}
	memset(longest, 'a', sizeof(longest));
	put(longest, sizeof(longest), SH_DNS_A, &r);
	turn_all(net, 0);
	assert_int_equal(r.error, -ENOENT);
	assert_int_equal(dns.asked, 0);
	end();
}

static void memory_that_is_out_is_an_answer(void **state)
{
	struct sh_env *env;
	struct result r;

	(void)state;
	begin();
	env = sh_net_env(net, 0);
	for (long skip = 0; skip < 8; skip++) {
		int err;

		memset(&r, 0, sizeof(r));
		sh_alloc_fail_after(skip);
		err = env->driver->query(env, SH_LIT("www.example.test."), SH_DNS_A, on_answer, &r);
		assert_true(err == 0 || err == -ENOMEM);
		while (err == 0 && skip > 3 && r.calls == 0) {
			serve(&dns);
			turn_all(net, 1000);
		}
		sh_alloc_fail_after(-1);
		if (err == 0)
			TURN_UNTIL(net, served(&r));
	}
	assert_int_equal(r.count, 1);
	end();
}

static void stopping_drops_what_is_under_way(void **state)
{
	struct result r[20];
	struct sh_env *env;

	(void)state;
	begin();
	env = sh_net_env(net, 0);
	for (size_t i = 0; i < 20; i++)
		put(i % 2 ? "www.example.test" : "localhost", i % 2 ? 16 : 9, SH_DNS_A, &r[i]);
	sh_net_stop(net);
	assert_int_equal(env->driver->query(env, SH_LIT("localhost"), SH_DNS_A, on_answer, &r[0]), -ESHUTDOWN);
	end();
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(r[i].calls, 0);
}

/* Whatever a server sends: it is read within its octets, and what comes out is bounded. */
static void answers_of_any_octets_are_read_safely(void **state)
{
	static const enum sh_dns_type types[] = {SH_DNS_A, SH_DNS_AAAA, SH_DNS_SRV, SH_DNS_NAPTR};
	struct sh_random random;

	(void)state;
	sh_random_init_seed(&random, 1);
	for (unsigned i = 0; i < 20000; i++) {
		enum sh_dns_type type = types[i % 4];
		unsigned char *text = calloc(1, 600), *exact;
		struct sh_dns_answer a = {0};
		void *block = NULL;
		size_t len;

		memcpy(text, "\0\1\1\0\0\1\0\0\0\0\0\0\4name\0", 18);
		text[18 + 1] = (unsigned char)type;
		text[18 + 3] = 1;
		len = answer(text, 22);
		for (uint64_t n = sh_random_below(&random, 8); n > 0; n--)
			text[sh_random_below(&random, len)] = (unsigned char)sh_random_u64(&random);
		len = sh_random_below(&random, 4) ? len : sh_random_below(&random, len);
		exact = malloc(len ? len : 1); /* so that a sanitizer sees the end */
		memcpy(exact, text, len);
		net_dns_parse(&a, &block, type, exact, len);
		assert_true(a.count <= 32);
		assert_true((a.error == 0) == (a.count > 0));
		for (size_t k = 0; k < a.count; k++)
			assert_true(a.records[k].target.len <= 255);
		sh_free(block);
		free(exact);
		free(text);
	}
}

static void servers_that_are_no_addresses_are_refused(void **state)
{
	(void)state;
	begin();
	assert_int_equal(sh_net_set_dns(net, "example.org"), -EINVAL);
	assert_int_equal(sh_net_set_dns(net, "127.0.0.1:5353,[::1]:53"), 0);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(records_come_with_their_time_to_live),
	    cmocka_unit_test(an_answer_that_is_too_large_comes_by_tcp),
	    cmocka_unit_test(a_server_that_fails_is_a_temporary_failure),
	    cmocka_unit_test(a_silent_server_is_asked_again),
	    cmocka_unit_test(the_machine_knows_itself_without_a_name_server),
	    cmocka_unit_test(text_that_is_no_host_name_does_not_exist),
	    cmocka_unit_test(memory_that_is_out_is_an_answer),
	    cmocka_unit_test(stopping_drops_what_is_under_way),
	    cmocka_unit_test(answers_of_any_octets_are_read_safely),
	    cmocka_unit_test(servers_that_are_no_addresses_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
