/* SIP over WebSocket (RFC 7118, RFC 6455): the handshake, frames octet by octet, and ports that serve both. */
#include "tls_helpers.h"

#define HEAD   "GET /sip HTTP/1.1\r\nHost: example.org\r\n"
#define ASKS   "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
#define KEY    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13    "Sec-WebSocket-Version: 13\r\n"
#define SIP    "Sec-WebSocket-Protocol: chat, sip\r\n"
#define SHAKES HEAD ASKS KEY V13 SIP "\r\n"
#define PART_TIMEOUT (10 * SH_SECOND) /* the default of message_timeout */
#define ACCEPT                                                                                                         \
	"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                            \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: sip\r\n\r\n"

static void listen_ws(struct server *s, enum sh_proto proto, const char *origin)
{
	struct sh_addr a = addr("10.0.0.1", 5062);
	struct sh_slice origins[] = {SH_LIT("https://other.example"), sh_slice_cstr(origin)};
	struct sh_listen_config c = {
	    .proto = proto, .local = &a, .origins = origins, .origin_count = origin ? 2 : 0};

	assert_int_equal(sh_transport_listen_with(s->t, &c), 0);
}

static struct world ws_world(struct sh_sim_options options)
{
	struct world w = world_new(options, NULL);

	listen_ws(w.s, SH_PROTO_WS, NULL);
	return w;
}

static struct wire *dial(struct world *w)
{
	struct sh_addr to = addr("10.0.0.1", 5062);
	struct wire *wire = peer_connect(w->p, &to);

	world_run(w);
	return wire;
}

static void send_octets(struct world *w, struct wire *wire, const char *data, size_t len)
{
	char *copy = malloc(len + 1); /* of its size, for the address sanitizer */

	memcpy(copy, data, len);
	wire_send(wire, copy, len);
	world_run(w);
	free(copy);
}

/* A connection that is through its handshake, with nothing read. */
static struct wire *open_ws(struct world *w)
{
	struct wire *wire = dial(w);

	send_octets(w, wire, SHAKES, strlen(SHAKES));
	assert_string_equal(wire->rx, ACCEPT);
	wire->rx_len = 0;
	return wire;
}

enum { FIN = 0x80, CONT = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* One masked frame. Returns its length. */
static size_t put_frame(char *out, unsigned first, const char *data, size_t len)
{
	static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	size_t n = 0;

	out[n++] = (char)first;
	if (len < 126) {
		out[n++] = (char)(0x80 | len);
	} else if (len < 65536) {
		out[n++] = (char)(0x80 | 126);
		out[n++] = (char)(len >> 8);
		out[n++] = (char)len;
	} else {
		out[n++] = (char)(0x80 | 127);
		for (int i = 7; i >= 0; i--)
			out[n++] = (char)(len >> (8 * i));
	}
	memcpy(out + n, mask, 4);
	n += 4;
	for (size_t i = 0; i < len; i++)
		out[n++] = (char)(data[i] ^ mask[i % 4]);
	return n;
}

static void send_frame(struct world *w, struct wire *wire, unsigned first, const char *data, size_t len)
{
	char *frame = malloc(len + 20);
	size_t n = put_frame(frame, first, data, len);

	send_octets(w, wire, frame, n);
	free(frame);
}

static void send_request(struct world *w, struct wire *wire, unsigned cseq, const char *body)
{
	char text[4096];

	send_frame(w, wire, FIN | TEXT, text, put_request(text, sizeof(text), cseq, body));
}

/* The first frame that came: its first octet and what it carries; taken off. */
static unsigned take_frame(struct wire *wire, char *out, size_t size)
{
	const unsigned char *p = (const unsigned char *)wire->rx;
	size_t len, head = 2;
	unsigned first;

	assert_true(wire->rx_len >= 2);
	assert_int_equal(p[1] & 0x80, 0); /* a server does not mask */
	first = p[0];
	len = p[1];
	if (len == 126) {
		len = (size_t)p[2] << 8 | p[3];
		head = 4;
	} else if (len == 127) {
		len = (size_t)p[6] << 24 | (size_t)p[7] << 16 | (size_t)p[8] << 8 | p[9];
		head = 10;
	}
	assert_true(wire->rx_len >= head + len && len < size);
	memcpy(out, p + head, len);
	out[len] = '\0';
	wire->rx_len -= head + len;
	memmove(wire->rx, wire->rx + head + len, wire->rx_len);
	return first;
}

static void expect_close(struct world *w, struct wire *wire, unsigned code)
{
	char text[256];

	assert_int_equal(take_frame(wire, text, sizeof(text)), FIN | CLOSE);
	if (code != 1005) /* RFC 6455 7.4.1: no code was there */
		assert_int_equal((unsigned char)text[0] << 8 | (unsigned char)text[1], code);
	assert_int_equal(wire->rx_len, 0);
	assert_int_equal(wire->closed, 1);
	assert_int_equal(w->s->ended_count, 1);
}

static const struct sh_transport_stats *stats(const struct world *w)
{
	return sh_transport_stats(w->s->t);
}

/* ---- the handshake ---- */

static void a_handshake_is_judged_by_the_rules(void **state)
{
	static const struct {
		const char *request, *status;
	} cases[] = {
	    {SHAKES, "101"},
	    {HEAD "upgrade: WebSocket\r\nCONNECTION: upgrade\r\n" KEY V13 SIP "\r\n", "101"},
	    {HEAD ASKS KEY V13 "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: sip\r\n\r\n", "101"},
	    {HEAD ASKS KEY V13 SIP "Origin: https://anything.example\r\n\r\n", "101"},
	    {HEAD "\r\n", "426"},
	    {HEAD "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13 SIP "\r\n", "426"},
	    {HEAD "Upgrade: websocket\r\nConnection: keep-alive\r\n" KEY V13 SIP "\r\n", "426"},
	    {HEAD ASKS KEY "Sec-WebSocket-Version: 8\r\n" SIP "\r\n", "426"},
	    {HEAD ASKS KEY SIP "\r\n", "426"},
	    {HEAD ASKS V13 SIP "\r\n", "400"},
	    {HEAD ASKS "Sec-WebSocket-Key: short\r\n" V13 SIP "\r\n", "400"},
	    {HEAD ASKS "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j ZQ==\r\n" V13 SIP "\r\n", "400"},
	    {HEAD ASKS KEY KEY V13 SIP "\r\n", "400"},
	    {HEAD ASKS KEY V13 "\r\n", "400"},
	    {HEAD ASKS KEY V13 "Sec-WebSocket-Protocol: sips\r\n\r\n", "400"},
	    {"GET / HTTP/1.1\r\n" ASKS KEY V13 SIP "\r\n", "400"},
	    {"GET / HTTP/1.0\r\nHost: x\r\n" ASKS KEY V13 SIP "\r\n", "400"},
	    {"GET /\r\n\r\n", "400"},
	    {HEAD " folded\r\n" ASKS KEY V13 SIP "\r\n", "400"},
	    {HEAD "no colon\r\n" ASKS KEY V13 SIP "\r\n", "400"},
	    {"POST / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	    {"hello\r\n", "400"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		/* what is no HTTP is refused at its first octet, and TCP loses the answer when more comes behind it */
		bool get = strncmp(cases[i].request, "GET ", 4) == 0;
		struct world w = ws_world(
		    (struct sh_sim_options){.chunks = get ? SH_SIM_CHUNKS_RANDOM : SH_SIM_CHUNKS_WHOLE, .seed = i});
		struct wire *wire = dial(&w);
		bool good = strcmp(cases[i].status, "101") == 0;

		send_octets(&w, wire, cases[i].request, strlen(cases[i].request));
		if (wire->rx_len < 12 || strncmp(wire->rx + 9, cases[i].status, 3) != 0 || wire->closed != !good) {
			print_error("%s\n%.*s\n", cases[i].request, (int)wire->rx_len, wire->rx ? wire->rx : "");
			fail();
		}
		assert_int_equal(stats(&w)->upgrades, good);
		assert_int_equal(stats(&w)->upgrades_refused, !good);
		assert_int_equal(stats(&w)->connections, good);
		world_free(&w);
	}
}

static void only_pages_of_the_listed_origins_may_connect(void **state)
{
	static const struct {
		const char *origin, *status;
	} cases[] = {
	    {"Origin: https://phone.example\r\n", "101"},      {"Origin: HTTPS://Phone.Example\r\n", "101"},
	    {"", "101"} /* no browser */,                      {"Origin: https://other.example\r\n", "101"},
	    {"Origin: http://phone.example\r\n", "403"},       {"Origin: null\r\n", "403"},
	    {"Origin: https://phone.example.evil\r\n", "403"}, {"Origin:\r\n", "403"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world w = world_new((struct sh_sim_options){0}, NULL);
		char text[1024];
		struct wire *wire;

		listen_ws(w.s, SH_PROTO_WS, "https://phone.example");
		wire = dial(&w);
		snprintf(text, sizeof(text), HEAD ASKS KEY V13 SIP "%s\r\n", cases[i].origin);
		send_octets(&w, wire, text, strlen(text));
		assert_memory_equal(wire->rx + 9, cases[i].status, 3);
		world_free(&w);
	}
}

static void a_handshake_has_a_size_and_a_time(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *large = dial(&w), *slow;
	char *text = malloc(9000);

	(void)state;
	memset(text, 'x', 9000);
	memcpy(text, HEAD "Cookie: ", strlen(HEAD "Cookie: "));
	send_octets(&w, large, text, 9000);
	assert_memory_equal(large->rx, "HTTP/1.1 431 ", 13);
	assert_int_equal(large->closed, 1);
	slow = dial(&w);
	send_octets(&w, slow, SHAKES, strlen(SHAKES) - 1);
	sh_sim_advance(w.sim, 4 * SH_SECOND);
	assert_int_equal(slow->closed, 0);
	sh_sim_advance(w.sim, 2 * SH_SECOND);
	assert_int_equal(slow->closed, 1);
	assert_int_equal(slow->rx_len, 0);
	free(text);
	world_free(&w);
}

/* ---- messages ---- */

static void one_frame_is_one_message_in_both_directions(void **state)
{
	for (int chunks = SH_SIM_CHUNKS_WHOLE; chunks <= SH_SIM_CHUNKS_BYTE; chunks++) {
		struct world w = ws_world((struct sh_sim_options){.chunks = (enum sh_sim_chunks)chunks});
		struct wire *wire = open_ws(&w);
		char text[1024], back[1024];

		(void)state;
		send_request(&w, wire, 1, "hello");
		assert_int_equal(w.s->count, 1);
		assert_int_equal(w.s->got[0].path.proto, SH_PROTO_WS);
		assert_int_equal(w.s->got[0].code, 0);
		put_request(text, sizeof(text), 2, "to the browser");
		assert_int_equal(server_send(w.s, &w.s->got[0].path, text, NULL), 0);
		world_run(&w);
		assert_int_equal(take_frame(wire, back, sizeof(back)), FIN | TEXT);
		assert_string_equal(back, text);
		world_free(&w);
	}
}

static void what_comes_with_the_handshake_is_not_lost(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = dial(&w);
	char text[1024], all[4096];
	size_t len = strlen(SHAKES);

	(void)state;
	memcpy(all, SHAKES, len);
	len += put_frame(all + len, FIN | TEXT, text, put_request(text, sizeof(text), 1, "a"));
	len += put_frame(all + len, FIN | BINARY, text, put_request(text, sizeof(text), 2, "b"));
	send_octets(&w, wire, all, len);
	assert_int_equal(w.s->count, 2);
	assert_int_equal(w.s->got[1].cseq, 2);
	world_free(&w);
}

/* RFC 7118 5: the frame says how long the message is. */
static void a_message_needs_no_content_length(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	static const char text[] = "MESSAGE sip:bob@example.org SIP/2.0\r\n"
				   "Via: SIP/2.0/WS df7jal23ls0d.invalid;branch=z9hG4bK1\r\n"
				   "From: <sip:alice@example.org>;tag=a1\r\nTo: <sip:bob@example.org>\r\n"
				   "Call-ID: c1\r\nCSeq: 1 MESSAGE\r\n\r\nhello";

	(void)state;
	send_frame(&w, wire, FIN | TEXT, text, strlen(text));
	assert_int_equal(w.s->count, 1);
	assert_int_equal(w.s->got[0].code, 0);
	world_free(&w);
}

static void fragments_are_joined_with_control_frames_between_them(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	char text[1024], back[64];
	size_t len = put_request(text, sizeof(text), 1, "in pieces");

	(void)state;
	send_frame(&w, wire, TEXT, text, 10);
	send_frame(&w, wire, FIN | PING, "you?", 4);
	assert_int_equal(take_frame(wire, back, sizeof(back)), FIN | PONG);
	assert_string_equal(back, "you?");
	send_frame(&w, wire, CONT, text + 10, 100);
	send_frame(&w, wire, CONT, text + 110, 0);
	assert_int_equal(w.s->count, 0);
	send_frame(&w, wire, FIN | CONT, text + 110, len - 110);
	assert_int_equal(w.s->count, 1);
	assert_string_equal(w.s->got[0].text, text);
	world_free(&w);
}

/* Else it would keep its memory until the connection is idle for an hour. */
static void the_rest_of_a_message_has_a_time(void **state)
{
	char text[1024], frame[1100];
	size_t len = put_request(text, sizeof(text), 1, "slow"), n = put_frame(frame, FIN | TEXT, text, len);

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct world w = ws_world((struct sh_sim_options){0});
		struct wire *wire = open_ws(&w);

		send_frame(&w, wire, FIN | TEXT, text, len);
		assert_int_equal(w.s->count, 1);
		sh_sim_advance(w.sim, 3 * PART_TIMEOUT); /* between messages there is none */
		assert_int_equal(wire->closed, 0);
		if (i == 0)
			send_octets(&w, wire, frame, 1);
		else if (i == 1)
			send_octets(&w, wire, frame, n - 1);
		else
			send_frame(&w, wire, TEXT, text, 10);
		sh_sim_advance(w.sim, PART_TIMEOUT / 2);
		if (i == 3) /* a sign of life is no progress */
			send_frame(&w, wire, FIN | PING, "", 0);
		sh_sim_advance(w.sim, PART_TIMEOUT / 2 - SH_SECOND);
		assert_int_equal(wire->closed, 0);
		sh_sim_advance(w.sim, 2 * SH_SECOND);
		assert_int_equal(wire->closed, 1);
		assert_int_equal(stats(&w)->slow, 1);
		world_free(&w);
	}
}

static void a_message_of_very_many_fragments_is_too_big(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);

	(void)state;
	send_frame(&w, wire, TEXT, "M", 1);
	for (unsigned i = 1; i < 256; i++)
		send_frame(&w, wire, CONT, "x", 1);
	assert_int_equal(wire->closed, 0);
	send_frame(&w, wire, CONT, "x", 1);
	expect_close(&w, wire, 1009);
	world_free(&w);
}

static void line_ends_are_keep_alives(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	char back[64];

	(void)state;
	send_frame(&w, wire, FIN | TEXT, "\r\n\r\n", 4);
	assert_int_equal(take_frame(wire, back, sizeof(back)), FIN | TEXT);
	assert_string_equal(back, "\r\n");
	assert_int_equal(w.s->count, 0);
	send_frame(&w, wire, FIN | TEXT, "\r\n", 2);
	send_frame(&w, wire, FIN | TEXT, "", 0);
	assert_int_equal(wire->rx_len, 0);
	send_request(&w, wire, 1, "x");
	assert_int_equal(w.s->count, 1);
	/* One of ours is a ping: pages do not see it, and the browser's answer says that it is there. */
	assert_int_equal(server_send(w.s, &w.s->got[0].path, "\r\n\r\n", NULL), 0);
	world_run(&w);
	assert_int_equal(take_frame(wire, back, sizeof(back)), FIN | PING);
	world_free(&w);
}

static void octets_that_are_no_text_leave_as_binary(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	char text[1024], back[1024];

	(void)state;
	send_request(&w, wire, 1, "x");
	put_request(text, sizeof(text), 2, "caf\xe9");
	assert_int_equal(server_send(w.s, &w.s->got[0].path, text, NULL), 0);
	world_run(&w);
	assert_int_equal(take_frame(wire, back, sizeof(back)), FIN | BINARY);
	assert_string_equal(back, text);
	put_request(text, sizeof(text), 3, "caf\xc3\xa9");
	assert_int_equal(server_send(w.s, &w.s->got[0].path, text, NULL), 0);
	world_run(&w);
	assert_int_equal(take_frame(wire, back, sizeof(back)), FIN | TEXT);
	world_free(&w);
}

static void a_broken_message_is_answered_and_the_connection_stays(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	char text[2048];
	size_t len = put_request(text, sizeof(text), 1, "one");

	(void)state;
	send_frame(&w, wire, FIN | TEXT, "hello", 5);
	assert_int_equal(w.s->count, 0);
	/* two messages in one frame: not allowed (RFC 7118 5), so the second is no part of the first either */
	len += put_request(text + len, sizeof(text) - len, 2, "two");
	send_frame(&w, wire, FIN | TEXT, text, len);
	assert_true(w.s->count <= 1);
	assert_int_equal(wire->closed, 0);
	world_free(&w);
}

/* ---- the end ---- */

static void who_breaks_the_rules_is_told_which(void **state)
{
	static char large[70000];
	static const struct {
		unsigned first;
		const char *data;
		size_t len;
		unsigned code;
	} cases[] = {
	    {FIN | TEXT, "caf\xe9 au lait", 12, 1007},  {FIN | TEXT, "\xed\xa0\x80", 3, 1007},
	    {FIN | TEXT, large, sizeof(large), 1009},   {FIN | CONT, "x", 1, 1002},
	    {FIN | 3, "x", 1, 1002},                    {FIN | 0x40 | TEXT, "x", 1, 1002},
	    {PING, "x", 1, 1005},                       {FIN | CLOSE, "\x03\xe8", 2, 1000},
	    {FIN | CLOSE, "\x03\xe9going", 7, 1001},    {FIN | CLOSE, "x", 1, 1005},
	};

	(void)state;
	memset(large, 'x', sizeof(large));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct world w = ws_world((struct sh_sim_options){0});
		struct wire *wire = open_ws(&w);

		send_frame(&w, wire, cases[i].first, cases[i].data, cases[i].len);
		expect_close(&w, wire, cases[i].code);
		assert_int_equal(w.s->count, 0);
		world_free(&w);
	}
}

static void a_client_must_mask(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);

	(void)state;
	send_octets(&w, wire, "\x81\x02hi", 4);
	expect_close(&w, wire, 1002);
	world_free(&w);
}

static void fragments_have_a_sum(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	static char piece[20000];

	(void)state;
	memset(piece, 'x', sizeof(piece));
	send_frame(&w, wire, TEXT, piece, sizeof(piece));
	for (unsigned i = 0; i < 3; i++)
		if (wire->s)
			send_frame(&w, wire, CONT, piece, sizeof(piece));
	expect_close(&w, wire, 1009);
	world_free(&w);
}

static void our_close_says_why(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	char text[64];

	(void)state;
	send_request(&w, wire, 1, "x");
	sh_transport_flow_close(w.s->t, w.s->got[0].path.flow);
	world_run(&w);
	expect_close(&w, wire, 1000);
	world_free(&w);
	w = ws_world((struct sh_sim_options){0});
	wire = open_ws(&w);
	sh_sim_advance(w.sim, 3700 * SH_SECOND);
	assert_int_equal(take_frame(wire, text, sizeof(text)), FIN | PING);
	expect_close(&w, wire, 1001);
	world_free(&w);
}

/* The connection is the only way to a browser: nobody connects to the port that it came from. */
static void who_does_not_answer_a_ping_is_gone(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *quiet = open_ws(&w), *good = open_ws(&w);
	char text[64];

	(void)state;
	sh_sim_advance(w.sim, 29 * SH_SECOND);
	assert_int_equal(quiet->rx_len, 0);
	sh_sim_advance(w.sim, 2 * SH_SECOND);
	assert_int_equal(take_frame(quiet, text, sizeof(text)), FIN | PING);
	assert_int_equal(take_frame(good, text, sizeof(text)), FIN | PING);
	send_frame(&w, good, FIN | PONG, "", 0);
	sh_sim_advance(w.sim, 11 * SH_SECOND);
	assert_int_equal(quiet->closed, 1);
	assert_int_equal(w.s->ended_count, 1);
	assert_int_equal(w.s->ended[0].error, -ETIMEDOUT);
	assert_int_equal(sh_transport_stats(w.s->t)->quiet, 1);
	assert_int_equal(good->closed, 0);
	sh_sim_advance(w.sim, 20 * SH_SECOND);
	assert_int_equal(take_frame(good, text, sizeof(text)), FIN | PING);
	send_request(&w, good, 1, "whatever it says will do");
	sh_sim_advance(w.sim, 25 * SH_SECOND);
	assert_int_equal(good->closed, 0);
	world_free(&w);
}

static void a_listener_says_when_to_ping(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	struct sh_listen_tuning tuning = {.ping = SH_NEVER};

	(void)state;
	sh_transport_tune(w.s->t, 0, &tuning);
	sh_sim_advance(w.sim, 100 * SH_SECOND);
	assert_int_equal(wire->rx_len, 0);
	assert_int_equal(wire->closed, 0);
	world_free(&w);
}

static void a_browser_that_is_gone_is_not_called_back(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct wire *wire = open_ws(&w);
	char text[1024];

	(void)state;
	send_request(&w, wire, 1, "x");
	wire_close(wire);
	world_run(&w);
	put_request(text, sizeof(text), 2, "x");
	assert_int_equal(server_send(w.s, &w.s->got[0].path, text, NULL), -EPIPE);
	world_free(&w);
}

/* ---- one port for both ---- */

static void the_first_octets_tell_what_is_spoken(void **state)
{
	static const enum sh_proto orders[][2] = {{SH_PROTO_TCP, SH_PROTO_WS}, {SH_PROTO_WS, SH_PROTO_TCP}};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct world w = world_new((struct sh_sim_options){.chunks = SH_SIM_CHUNKS_BYTE}, NULL);
		struct wire *browser, *phone, *polite;
		char text[1024];
		size_t len = put_request(text, sizeof(text), 1, "x");

		listen_ws(w.s, orders[i][0], NULL);
		listen_ws(w.s, orders[i][1], NULL);
		browser = open_ws(&w);
		send_request(&w, browser, 7, "x");
		phone = dial(&w);
		send_octets(&w, phone, text, len);
		polite = dial(&w);
		send_octets(&w, polite, "\r\n\r\n", 4);
		send_octets(&w, polite, text, len);
		assert_int_equal(w.s->count, 3);
		for (size_t k = 0; k < 3; k++) {
			const struct sh_path *p = &w.s->got[k].path;

			assert_int_equal(p->proto, k == 0 ? SH_PROTO_WS : SH_PROTO_TCP);
			assert_int_equal(sh_transport_endpoint(w.s->t, p->endpoint)->proto, p->proto);
			assert_int_equal(server_send(w.s, p, text, NULL), 0);
		}
		world_run(&w);
		assert_memory_equal(phone->rx, text, len);
		assert_memory_equal(polite->rx, "\r\n", 2);
		assert_int_equal((unsigned char)browser->rx[0], FIN | TEXT);
		world_free(&w);
	}
}

static void two_listeners_of_one_kind_do_not_share_a_port(void **state)
{
	struct world w = ws_world((struct sh_sim_options){0});
	struct sh_addr a = addr("10.0.0.1", 5062);
	struct sh_listen_config c = {.proto = SH_PROTO_WS, .local = &a};

	(void)state;
	assert_int_equal(sh_transport_listen_with(w.s->t, &c), -EADDRINUSE);
	c.proto = SH_PROTO_TCP;
	assert_int_equal(sh_transport_listen_with(w.s->t, &c), 0);
	assert_int_equal(sh_transport_listen_with(w.s->t, &c), -EADDRINUSE);
	world_free(&w);
}

static void every_allocation_of_ours_may_fail(void **state)
{
	long n = 0;
	bool all = false;

	(void)state;
	for (; !all; n++) {
		struct world w = world_new((struct sh_sim_options){0}, NULL);
		struct wire *wire;
		char text[1024], frame[1100];
		size_t len = put_frame(frame, FIN | TEXT, text, put_request(text, sizeof(text), 1, "x"));
		bool ok = false;

		listen_ws(w.s, SH_PROTO_WS, NULL);
		wire = dial(&w);
		world_run(&w);
		sh_alloc_fail_after(n);
		wire_send(wire, SHAKES, strlen(SHAKES));
		sh_sim_advance(w.sim, 10 * SH_MS);
		if (wire->s && wire->tx_len == 0)
			wire_send(wire, frame, len);
		sh_sim_advance(w.sim, 10 * SH_MS);
		if (w.s->count == 1)
			ok = server_send(w.s, &w.s->got[0].path, text, NULL) == 0;
		sh_sim_advance(w.sim, 10 * SH_MS);
		all = sh_alloc_count() <= n;
		sh_alloc_fail_after(-1);
		assert_true(!all || ok);
		assert_true(n < 200);
		world_free(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_handshake_is_judged_by_the_rules),
	    cmocka_unit_test(only_pages_of_the_listed_origins_may_connect),
	    cmocka_unit_test(a_handshake_has_a_size_and_a_time),
	    cmocka_unit_test(one_frame_is_one_message_in_both_directions),
	    cmocka_unit_test(what_comes_with_the_handshake_is_not_lost),
	    cmocka_unit_test(a_message_needs_no_content_length),
	    cmocka_unit_test(fragments_are_joined_with_control_frames_between_them),
	    cmocka_unit_test(the_rest_of_a_message_has_a_time),
	    cmocka_unit_test(a_message_of_very_many_fragments_is_too_big),
	    cmocka_unit_test(line_ends_are_keep_alives),
	    cmocka_unit_test(octets_that_are_no_text_leave_as_binary),
	    cmocka_unit_test(a_broken_message_is_answered_and_the_connection_stays),
	    cmocka_unit_test(who_breaks_the_rules_is_told_which),
	    cmocka_unit_test(a_client_must_mask),
	    cmocka_unit_test(fragments_have_a_sum),
	    cmocka_unit_test(our_close_says_why),
	    cmocka_unit_test(who_does_not_answer_a_ping_is_gone),
	    cmocka_unit_test(a_listener_says_when_to_ping),
	    cmocka_unit_test(a_browser_that_is_gone_is_not_called_back),
	    cmocka_unit_test(the_first_octets_tell_what_is_spoken),
	    cmocka_unit_test(two_listeners_of_one_kind_do_not_share_a_port),
	    cmocka_unit_test(every_allocation_of_ours_may_fail),
	};
	int failed;

	assert_int_equal(sh_digest_init(), 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	sh_digest_finish();
	return failed;
}
