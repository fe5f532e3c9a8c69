/* The kernel brings datagrams to the socket of the worker that they name. Real sockets: the program is the kernel's to run. */
#include "net_helpers.h"

#include <stdio.h>
#include <string.h>

#include "txn/dialog.h"

enum { WORKERS = 3, PEERS = 8 };

#define AGAIN "Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:b@c>;tag=2\r\nCall-ID: 1@b\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"

static const struct sh_net_mark marks[] = {{"SIP/", "z9hG4bK", 32, 144}, {NULL, ";worker=", 12, 104}};

static unsigned got[WORKERS];

static void udp_data(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data, size_t len)
{
	(void)ctx;
	(void)local;
	(void)remote;
	(void)data;
	(void)len;
	++*(unsigned *)user;
}

static const struct sh_env_events events = {.udp_data = udp_data};

/* A port of all workers, and peers, which without marks would be spread over them. */
struct stage {
	struct sh_net *net;
	struct sh_udp *sockets[WORKERS];
	struct sh_addr bound;
	int peers[PEERS];
};

static void open_socket(struct stage *s, unsigned worker)
{
	struct sh_env *env = sh_net_env(s->net, worker);

	assert_int_equal(env->driver->udp_open(env, &s->bound, &got[worker], &s->sockets[worker], &s->bound), 0);
}

static void close_socket(struct stage *s, unsigned worker)
{
	struct sh_env *env = sh_net_env(s->net, worker);

	env->driver->udp_close(env, s->sockets[worker]);
}

static void set_stage(struct stage *s, const char *host)
{
	static const unsigned order[WORKERS] = {2, 0, 1};
	struct sh_addr local = address(host, 0), bound;

	s->net = net_with(WORKERS, &events, NULL);
	s->bound = local;
	assert_int_equal(sh_net_steer(s->net, marks, 2, sh_tag_put_worker), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		open_socket(s, order[i]);
	for (unsigned i = 0; i < PEERS; i++)
		s->peers[i] = peer_socket(SOCK_DGRAM, &local, &bound);
}

static void clear_stage(struct stage *s)
{
	for (unsigned i = 0; i < PEERS; i++)
		close(s->peers[i]);
	sh_net_destroy(s->net);
}

/* From each peer once. */
static void send_all(struct stage *s, const char *text)
{
	memset(got, 0, sizeof(got));
	for (unsigned i = 0; i < PEERS; i++)
		peer_send(s->peers[i], &s->bound, text, strlen(text));
	TURN_UNTIL(s->net, got[0] + got[1] + got[2] == PEERS);
}

/* `before`, the worker's characters, `after`: all of them come to that worker. */
static void comes_to_its_worker(struct stage *s, const char *before, const char *after)
{
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		char text[1000], code[2];

		sh_tag_put_worker(worker, code);
		snprintf(text, sizeof(text), "%s%.2s%s", before, code, after);
		send_all(s, text);
		assert_int_equal(got[worker], PEERS);
	}
}

/* Eight peers at one of three workers by chance: once in two thousand times. */
static bool is_spread(struct stage *s, const char *text)
{
	for (unsigned tries = 0; tries < 3; tries++) {
		send_all(s, text);
		if (got[0] < PEERS && got[1] < PEERS && got[2] < PEERS)
			return true;
		for (unsigned i = 0; i < PEERS; i++) { /* other port numbers */
			struct sh_addr local = s->bound, bound;

			local.port = 0;
			close(s->peers[i]);
			s->peers[i] = peer_socket(SOCK_DGRAM, &local, &bound);
		}
	}
	return false;
}

static void all_come_to_their_workers(struct stage *s)
{
	char before[200];

	/* Whatever stands before: each of the four offsets of a step, from the first place to the last. */
	for (unsigned len = 32; len <= 144; len += len < 140 ? 27 : 1) {
		unsigned head = (unsigned)strlen("SIP/2.0 200 ");

		snprintf(before, sizeof(before), "SIP/2.0 200 %0*dz9hG4bK", (int)(len - head), 0);
		comes_to_its_worker(s, before, "0123456789abcd\r\n" AGAIN);
	}
	for (unsigned len = 12; len <= 104; len += len < 100 ? 11 : 1) {
		snprintf(before, sizeof(before), "ACK sip:%0*d;worker=", (int)len - 8, 0);
		comes_to_its_worker(s, before, " SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bKx\r\n" AGAIN);
	}
	comes_to_its_worker(s, "SIP/2.0 183 Session Progress\r\nVia: SIP/2.0/UDP 255.255.255.255:65535;rport=65535;branch=z9hG4bK",
			    "0123456789abcd;received=10.0.0.1\r\n" AGAIN);
	comes_to_its_worker(s, "INVITE sips:[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535;worker=", " SIP/2.0\r\n" AGAIN);
}

static void datagrams_come_to_the_worker_that_they_name(void **state)
{
	struct stage s;

	(void)state;
	set_stage(&s, "127.0.0.1");
	all_come_to_their_workers(&s);
	clear_stage(&s);
	if (!has_ipv6())
		return;
	set_stage(&s, "::1");
	all_come_to_their_workers(&s);
	clear_stage(&s);
}

static void what_names_no_worker_is_spread_over_them(void **state)
{
	static const char *const texts[] = {
	    "x", "", "\r\n\r\n", "SIP/", "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK",
	    "INVITE sip:b@c SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKabcdef0123456789\r\n" AGAIN,
	    "INVITE sip:b@worker.network SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bKabcdef0123456789\r\n" AGAIN,
	    "BYE sip:127.0.0.1:5060;worker=?? SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bKabcdef0123456789\r\n" AGAIN,
	    "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKstrange\r\n" AGAIN,
	};
	struct stage s;
	char text[1000], code[2];

	(void)state;
	set_stage(&s, "127.0.0.1");
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_true(is_spread(&s, texts[i]));
	sh_tag_put_worker(WORKERS, code); /* of another process, or forged */
	snprintf(text, sizeof(text), "BYE sip:127.0.0.1:5060;worker=%.2s SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bKx\r\n" AGAIN, code);
	assert_true(is_spread(&s, text));
	clear_stage(&s);
}

static void a_socket_that_is_opened_again_gets_its_own(void **state)
{
	struct stage s;

	(void)state;
	set_stage(&s, "127.0.0.1");
	for (unsigned worker = 0; worker < WORKERS; worker++) {
		close_socket(&s, worker);
		open_socket(&s, worker);
		comes_to_its_worker(&s, "BYE sip:127.0.0.1:5060;worker=", " SIP/2.0\r\nVia: SIP/2.0/UDP b;branch=z9hG4bKx\r\n" AGAIN);
	}
	clear_stage(&s);
}

static void marks_that_cannot_be_found_are_refused(void **state)
{
	static const struct sh_net_mark wrong[] = {
	    {NULL, "short", 12, 40}, {NULL, "much too long", 12, 40}, {NULL, ";worker=", 0, 40},
	    {NULL, ";worker=", 40, 12}, {"SIP", ";worker=", 12, 40}, {NULL, ";worker=", 12, 400},
	};
	struct sh_net *net = net_with(2, &events, NULL);

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_int_equal(sh_net_steer(net, &wrong[i], 1, sh_tag_put_worker), -EINVAL);
	assert_int_equal(sh_net_steer(net, marks, SH_NET_MARKS + 1, sh_tag_put_worker), -EINVAL);
	sh_net_destroy(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(datagrams_come_to_the_worker_that_they_name),
	    cmocka_unit_test(what_names_no_worker_is_spread_over_them),
	    cmocka_unit_test(a_socket_that_is_opened_again_gets_its_own),
	    cmocka_unit_test(marks_that_cannot_be_found_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
