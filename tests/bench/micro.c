/* What the parts of a call cost, in instructions: run under callgrind by micro.sh, where the same code gives the same count
 * on any machine, however busy. Each measure is a dump of its own, named after it; counted is only what stands between
 * begin() and end(), or what the server does with a message while `counting` is on: the phones of the virtual network and the
 * network itself are not.
 *
 * Without callgrind it is a short test of itself. `micro memory` prints instead what a call that is up, a transaction that only
 * waits for its timer, and a binding have in use, in bytes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <valgrind/callgrind.h>

#include "memory.h"
#include "world.h"

#include "b2bua/ua.h"
#include "msg/writer.h"
#include "txn/dialog.h"

enum { TIMES = 100, WARM = 20 };

#define SDP "v=0\r\no=a 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\n" \
	    "a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n"

static const char plan[] = "local sip = require 'siphook'\n"
			   "sip.domains{'example.org'}\n"
			   "local secrets = {alice = 'wonder', bob = 'builder'}\n"
			   "local function password(user) return secrets[user] end\n"
			   "sip.on.register(function(req)\n"
			   "  local user = req:auth{realm = 'example.org', password = password, algorithms = {'MD5'}}\n"
			   "  if not user then return end\n"
			   "  req:register{min_expires = 60}\n"
			   "end)\n"
			   "sip.on.options(function(req) req:reply(200) end)\n"
			   "sip.on.invite(function(call)\n"
			   "  local leg, res = call:fork(sip.lookup(call.uri), {timeout = 30})\n"
			   "  if not leg then return call:reject(res) end\n"
			   "  call:bridge(leg)\n"
			   "end)\n";

static struct world *w;
static struct phone *alice, *bob;
static const struct sh_env_events *events; /* the server's own */
static bool counting, counted;

/* ---- counting ---- */

static void begin(void)
{
	CALLGRIND_ZERO_STATS;
	CALLGRIND_TOGGLE_COLLECT;
}

static void end(const char *name)
{
	CALLGRIND_TOGGLE_COLLECT;
	CALLGRIND_DUMP_STATS_AT(name);
}

static void count(bool on)
{
	if (counting || counted)
		CALLGRIND_TOGGLE_COLLECT;
	counted = counting && on;
}

static void on_datagram(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data,
			size_t len)
{
	count(true);
	events->udp_data(ctx, user, local, remote, data, len);
	count(false);
}

static void on_turn_end(void *ctx)
{
	count(true);
	events->turn_end(ctx);
	count(false);
}

/* ---- the world ---- */

static void open_world(void)
{
	static const struct world_options options = {.as_served = true};
	static struct sh_env_events wrapped;

	w = world_create(&options, plan);
	events = w->env[0]->events;
	wrapped = *events;
	wrapped.udp_data = on_datagram;
	wrapped.turn_end = on_turn_end;
	w->env[0]->events = &wrapped;
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	phone_login(alice, "alice", "wonder");
	phone_login(bob, "bob", "builder");
}

static void close_world(void)
{
	w->env[0]->events = events;
	world_destroy(w);
}

static struct phone_call *register_phone(struct phone *p)
{
	struct phone_call *c = phone_request(p, "REGISTER", "sip:example.org", NULL, NULL);

	phone_authorize(phone_expect_in(c, "401", SH_SECOND));
	phone_expect_in(c, "200", SH_SECOND);
	return c;
}

static void one_call(void)
{
	struct phone_call *c = phone_invite(alice, "sip:bob@example.org", NULL, SDP);
	struct phone_msg *invite = phone_expect(bob, "INVITE", SH_SECOND);

	phone_reply(invite, 180, NULL, NULL, NULL);
	phone_expect_in(c, "180", SH_SECOND);
	phone_reply(invite, 200, NULL, NULL, SDP);
	phone_ack(phone_expect_in(c, "200", SH_SECOND), NULL, NULL);
	phone_expect(bob, "ACK", SH_SECOND);
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
	phone_reply(phone_expect(bob, "BYE", SH_SECOND), 200, NULL, NULL, NULL);
	world_advance(w, 5 * SH_MS);
}

/* What the server does in TIMES runs of fn. */
static void measure(const char *name, void (*fn)(void))
{
	for (int i = 0; i < WARM; i++)
		fn();
	CALLGRIND_ZERO_STATS;
	counting = true;
	for (int i = 0; i < TIMES; i++)
		fn();
	counting = false;
	CALLGRIND_DUMP_STATS_AT(name);
}

static struct phone_msg *latest; /* the OPTIONS that was answered last */

static void one_options(void)
{
	struct phone_call *c = phone_request(alice, "OPTIONS", "sip:example.org", NULL, NULL);

	phone_expect_in(c, "200", SH_SECOND);
	latest = c->sent;
}

static void again(void)
{
	phone_resend(latest);
	world_advance(w, 5 * SH_MS);
}

static void register_alice(void)
{
	register_phone(alice);
}

/* ---- the parts ---- */

static struct phone_msg *sent_invite(void)
{
	return phone_invite(alice, "sip:nobody@example.org", "User-Agent: micro\nAllow: INVITE, ACK, CANCEL, BYE", SDP)
	    ->sent;
}

static void scan(const struct phone_msg *sent)
{
	struct sh_msg m;

	begin();
	for (int i = 0; i < TIMES; i++)
		sh_msg_scan(&m, sent->text, sent->len, false, NULL);
	end("scan");
}

static void response(const struct phone_msg *sent)
{
	static char buf[4096];
	struct sh_writer out;

	begin();
	for (int i = 0; i < TIMES; i++) {
		sh_writer_init(&out, buf, sizeof(buf));
		sh_put_response_head(&out, &sent->m, &alice->addr, 200, SH_LIT(""), SH_LIT("0123456789abcdef"));
		sh_put_body(&out, SH_LIT("application/sdp"), sh_slice_cstr(SDP));
	}
	end("response");
}

static void request(const struct phone_msg *sent)
{
	static char first[1024], others[4096];
	struct sh_path path = {.local = bob->addr, .remote = alice->addr};
	struct sh_dialog_table table;
	struct sh_dialog d = {0};
	struct sh_writer line, rest;

	assert_int_equal(sh_dialog_table_init(&table, w->env[0]), 0);
	assert_int_equal(sh_dialog_init_uas(&d, &table, NULL, &sent->m, &path), 0);
	begin();
	for (int i = 0; i < TIMES; i++) {
		sh_writer_init(&line, first, sizeof(first));
		sh_writer_init(&rest, others, sizeof(others));
		sh_dialog_put_request(&d, SH_LIT("BYE"), 0, 70, &line, &rest);
		sh_put_body(&rest, SH_LIT(""), SH_LIT(""));
	}
	end("request");
	sh_dialog_finish(&d);
	sh_dialog_table_finish(&table);
}

/* The credentials of a REGISTER, found and checked; from the second time on the count is a replay. */
static void digest(const struct phone_msg *sent)
{
	const enum sh_digest_alg md5 = SH_DIGEST_MD5;
	struct sh_credentials c;
	struct sh_arena arena;
	uint64_t now = sh_env_wall(w->env[0]);

	sh_arena_init(&arena, 4096);
	begin();
	for (int i = 0; i < TIMES; i++) {
		sh_auth_find(w->auth, &arena, &sent->m, (struct sh_slice){0}, false, SH_LIT("example.org"), &md5, 1, now, &c);
		sh_auth_check(w->auth, &sent->m, &c, SH_LIT("wonder"), false, now);
		sh_arena_reset(&arena);
	}
	end("digest");
	sh_arena_finish(&arena);
}

/* The timers of TIMES transactions fire, and they are freed. */
static void transaction_end(void)
{
	world_advance(w, 60 * SH_SECOND); /* the earlier ones are over */
	for (int i = 0; i < TIMES; i++)
		one_options();
	begin();
	sh_wheel_advance(&w->env[0]->wheel, w->env[0]->now + 40 * SH_SECOND);
	end("transaction-end");
}

/* From the INVITE's arrival to the INVITE that leaves: scan, transaction, hook, lookup, one branch. */
static void fork_one(void)
{
	struct phone_call *c = phone_invite(alice, "sip:bob@example.org", NULL, SDP);
	struct phone_msg *invite = phone_expect(bob, "INVITE", SH_SECOND);
	bool was = counting;

	counting = false;
	phone_reply(invite, 486, NULL, NULL, NULL);
	phone_ack(phone_expect_in(c, "486", SH_SECOND), NULL, NULL);
	phone_expect(bob, "ACK", SH_SECOND);
	world_advance(w, 5 * SH_MS);
	counting = was;
}

/* ---- memory ---- */

enum { MANY = 400 };

static long used_before;

static void note(void)
{
	world_advance(w, 60 * SH_SECOND); /* no transaction is left */
	used_before = memory_used();
}

/* None may have more than `most`, whatever is on record. */
static void tell(const char *name, long count, long most)
{
	long each = (memory_used() - used_before) / count;

	printf("%s %ld\n", name, each);
	if (each > most) {
		fprintf(stderr, "%s: %ld is more than %ld\n", name, each, most);
		exit(1);
	}
}

static void call_up(void)
{
	struct phone_call *c = phone_invite(alice, "sip:bob@example.org", NULL, SDP);
	struct phone_msg *invite = phone_expect(bob, "INVITE", SH_SECOND);

	phone_reply(invite, 200, NULL, NULL, SDP);
	phone_ack(phone_expect_in(c, "200", SH_SECOND), NULL, NULL);
	phone_expect(bob, "ACK", SH_SECOND);
}

static void bind_contact(unsigned number)
{
	char aor[64], contact[64], id[64];
	struct sh_contact_update c = {.q = 1000, .expires = 3600};
	struct sh_location_update u = {.cseq = 1, .now = sh_env_wall(w->env[0]), .contacts = &c, .count = 1};
	struct sh_bindings *b = NULL;

	u.aor = sh_slice_make(aor, (size_t)snprintf(aor, sizeof(aor), "sip:u%06u@example.org", number));
	u.call_id = sh_slice_make(id, (size_t)snprintf(id, sizeof(id), "%032u", number));
	c.uri = sh_slice_make(contact, (size_t)snprintf(contact, sizeof(contact), "sip:u%06u@10.0.0.2:5060", number));
	u.from = (struct sh_path){.local = alice->addr, .remote = alice->addr};
	assert_int_equal(sh_location_update(w->location, &u, &b), 0);
	sh_bindings_unref(b);
}

static void measure_memory(void)
{
	memory_count(&w->env[0]->pool);
	register_phone(alice);
	register_phone(bob);
	for (int i = 0; i < WARM; i++)
		one_call();
	note();
	for (int i = 0; i < MANY; i++)
		one_call();
	world_advance(w, 6 * SH_SECOND); /* timer K of the BYE that the server sent is over; I, L and M are not */
	tell("lingering-bytes", 3 * MANY, 400);
	note();
	for (unsigned i = 0; i < MANY; i++)
		bind_contact(i);
	tell("binding-bytes", MANY, 500);
	note();
	for (int i = 0; i < MANY; i++)
		call_up();
	world_advance(w, 40 * SH_SECOND);
	tell("live-call-bytes", MANY, 3000);
}

int main(int argc, char **argv)
{
	open_world();
	if (argc > 1 && strcmp(argv[1], "memory") == 0) {
		measure_memory();
		fflush(stdout);
		_exit(0); /* with calls up, which is no state to end a world in */
	}
	digest(register_phone(alice)->sent);
	register_phone(bob);
	scan(sent_invite());
	response(sent_invite());
	request(sent_invite());
	measure("register", register_alice);
	measure("hook", one_options);
	measure("repeat", again);
	transaction_end();
	measure("fork", fork_one);
	measure("call", one_call);
	w->forgiving = true;
	close_world();
	return 0;
}
