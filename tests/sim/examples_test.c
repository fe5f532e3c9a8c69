/* The dial plans of examples/, read from their files, do what they say. */
#include "script_world.h"

static char *example(const char *name)
{
	char path[200];
	char *text;
	long size;
	FILE *f;

	snprintf(path, sizeof(path), "examples/dialplans/%s", name);
	f = fopen(path, "rb");
	if (!f)
		fail_msg("%s: run from the root of the tree", path);
	fseek(f, 0, SEEK_END);
	size = ftell(f);
	rewind(f);
	text = calloc(1, (size_t)size + 1);
	assert_int_equal(fread(text, 1, (size_t)size, f), size);
	fclose(f);
	return text;
}

static void begin_example(const char *name, const struct sh_script_pair *pairs, unsigned npairs)
{
	struct world_options o = {.pairs = pairs, .npairs = npairs};
	char *text = example(name);

	w = world_create(&o, text);
	free(text);
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	carol = world_phone(w, "carol", "10.0.0.4");
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
}

/* ---- office.lua: phones know the address of the server only, as in the demonstration ---- */

static void enter_at(struct phone *p, const char *user, const char *password, const char *file, int line)
{
	char to[100];

	phone_identity(p, user, "10.0.0.1");
	phone_login(p, user, password);
	snprintf(to, sizeof(to), "To: <sip:%s@10.0.0.1>", user);
	phone_request(p, "REGISTER", "sip:10.0.0.1", to, NULL);
	phone_authorize(phone_expect_at(p, NULL, "401", SH_SECOND, file, line));
	phone_expect_at(p, NULL, "200", SH_SECOND, file, line);
}
#define enter(p, user, password) enter_at((p), (user), (password), __FILE__, __LINE__)

static struct phone_call *call_with_password(const char *uri)
{
	struct phone_call *c = dial(uri);

	phone_authorize(soon(alice, "407"));
	return c;
}

static void begin_office(void)
{
	begin_example("office.lua", NULL, 0);
	enter(alice, "alice", "wonder");
	enter(bob, "bob", "builder");
}

static void office_puts_alice_through_to_bob(void **state)
{
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin_office();
	c = call_with_password("sip:bob@10.0.0.1");
	invite = answer(bob, 180);
	soon(alice, "180");
	phone_reply(invite, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(c, bob);
	world_expect_log(w, "alice calls bob");
	world_expect_log(w, "alice -> bob: ended by the caller after 5 seconds (200 BYE)");
	end();
}

static void office_gives_up_after_20_seconds(void **state)
{
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin_office();
	c = call_with_password("sip:bob@10.0.0.1");
	invite = answer(bob, 180);
	soon(alice, "180");
	phone_expect_none(alice, "480", 19 * SH_SECOND);
	phone_reply(phone_expect(bob, "CANCEL", 2 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(c, "480");
	end();
}

static void office_passes_on_what_the_phone_says(void **state)
{
	static const unsigned codes[] = {486, 603, 488};

	(void)state;
	begin_office();
	for (unsigned i = 0; i < 3; i++) {
		char code[4];
		struct phone_call *c = call_with_password("sip:bob@10.0.0.1");

		answer(bob, codes[i]);
		snprintf(code, sizeof(code), "%u", codes[i]);
		refused(c, code);
	}
	end();
}

static void office_knows_who_is_not_there(void **state)
{
	(void)state;
	begin_example("office.lua", NULL, 0);
	enter(alice, "alice", "wonder");
	refused(call_with_password("sip:bob@10.0.0.1"), "480");
	refused(call_with_password("sip:nobody@10.0.0.1"), "404");
	end();
}

static void office_wants_the_right_password_and_name(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_example("office.lua", NULL, 0);
	phone_identity(alice, "alice", "10.0.0.1");
	phone_login(alice, "alice", "wrong");
	phone_request(alice, "REGISTER", "sip:10.0.0.1", NULL, NULL);
	phone_authorize(soon(alice, "401"));
	soon(alice, "401");
	phone_login(alice, "bob", "builder");
	phone_request(alice, "REGISTER", "sip:10.0.0.1", NULL, NULL);
	phone_authorize(soon(alice, "401"));
	soon(alice, "403");
	phone_login(alice, "alice", "wrong");
	c = dial("sip:bob@10.0.0.1");
	phone_authorize(soon(alice, "407"));
	refused(c, "407");
	assert_false(world_has_log(w, "ended by")); /* nothing but challenges */
	end();
}

static void office_relays_messages(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_office();
	phone_request(alice, "MESSAGE", "sip:bob@10.0.0.1", "Content-Type: text/plain", "hello");
	phone_authorize(soon(alice, "401"));
	m = soon(bob, "MESSAGE");
	phone_assert_body(m, "hello");
	phone_reply(m, 200, NULL, NULL, NULL);
	soon(alice, "200");
	phone_request(alice, "MESSAGE", "sip:carol@10.0.0.1", "Content-Type: text/plain", "hello");
	phone_authorize(soon(alice, "401"));
	soon(alice, "404");
	end();
}

static void office_answers_options(void **state)
{
	(void)state;
	begin_example("office.lua", NULL, 0);
	phone_request(alice, "OPTIONS", "sip:10.0.0.1", NULL, NULL);
	phone_assert_contains(soon(alice, "200"), "Allow", "INVITE");
	end();
}

static void office_takes_users_and_times_from_the_host(void **state)
{
	static const struct sh_script_pair pairs[] = {{"user.carol", "secret"},
						      {"user.bob", "other"},
						      {"ring_time", "3"},
						      {"domain", "example.org"},
						      {"realm", "here"}};
	struct phone_call *c;
	struct phone_msg *invite;

	(void)state;
	begin_example("office.lua", pairs, 5);
	enter(carol, "carol", "secret");
	enter(bob, "bob", "other");
	enter(alice, "alice", "wonder");
	c = call_with_password("sip:carol@example.org"); /* the name that the server has got, too */
	invite = answer(carol, 180);
	soon(alice, "180");
	phone_reply(phone_expect(carol, "CANCEL", 4 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	soon(carol, "ACK");
	refused(c, "480");
	end();
}

/* ---- the small ones ---- */

static void redirect_says_where_to_call(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_example("redirect.lua", NULL, 0);
	m = refused(dial("sip:100@example.org"), "301");
	phone_assert_header(m, "Contact", "<sip:reception@example.org>");
	m = refused(dial("sip:200@example.org"), "301");
	assert_non_null(
	    strstr(m->text, "Contact: <sip:sales@example.org>;q=1.0\r\nContact: <sip:sales2@example.org>;q=0.5\r\n"));
	phone_request(bob, "REGISTER", "sip:10.0.0.1", "To: <sip:bob@10.0.0.1>", NULL);
	soon(bob, "200");
	m = refused(dial("sip:bob@10.0.0.1"), "302");
	phone_assert_contains(m, "Contact", "<sip:bob@10.0.0.3:5060>");
	m = refused(dial("sip:carol@10.0.0.1:5060"), "302");
	phone_assert_header(m, "Contact", "<sip:carol@new.example.org>");
	end();
}

static void reject_bars_numbers(void **state)
{
	static const struct sh_script_pair pairs[] = {{"closed", "yes"}};
	struct phone_msg *m;

	(void)state;
	begin_example("reject.lua", pairs, 1);
	assert_non_null(strstr(refused(dial("sip:0900123@10.0.0.1"), "403")->text, "403 Premium numbers are barred"));
	refused(dial("sip:boss@10.0.0.1"), "603");
	m = refused(dial("sip:desk@10.0.0.1"), "480");
	phone_assert_header(m, "Retry-After", "3600");
	phone_assert_contains(m, "Warning", "The desk opens at 8");
	refused(dial("sip:bob@10.0.0.1"), "480");
	refused(phone_invite(alice, "sip:bob@10.0.0.1", "From: <sip:anonymous@anonymous.invalid>;tag=1", SDP), "433");
	phone_request(bob, "REGISTER", "sip:10.0.0.1", "To: <sip:bob@10.0.0.1>", NULL);
	soon(bob, "200");
	struct phone_call *c = dial("sip:bob@10.0.0.1");
	answer(bob, 200);
	talk(c, bob);
	end();
}

static void cancelled_at(struct phone *p, struct phone_msg *invite, uint64_t within, const char *file, int line)
{
	phone_reply(phone_expect_at(p, NULL, "CANCEL", within, file, line), 200, NULL, NULL, NULL);
	phone_reply(invite, 487, NULL, NULL, NULL);
	phone_expect_at(p, NULL, "ACK", SH_SECOND, file, line);
}
#define cancelled(p, invite, within) cancelled_at((p), (invite), (within), __FILE__, __LINE__)

static void hunt_group_tries_one_by_one_then_all_then_the_mailbox(void **state)
{
	struct phone *mail;
	struct phone_call *c;
	struct phone_msg *i1, *i2;

	(void)state;
	begin_example("hunt_group.lua", NULL, 0);
	mail = world_phone(w, "mail", "10.0.0.5");
	refused(dial("sip:other@10.0.0.1"), "404");
	c = dial("sip:hunt@10.0.0.1");
	i1 = answer(bob, 180);
	phone_expect_none(carol, "*", 4 * SH_SECOND);
	cancelled(bob, i1, 2 * SH_SECOND);
	answer(carol, 486);
	i1 = answer(bob, 180);
	i2 = answer(carol, 180);
	cancelled(bob, i1, 16 * SH_SECOND);
	cancelled(carol, i2, SH_SECOND);
	i1 = answer(mail, 200);
	phone_assert_contains(i1, "Diversion", "sip:hunt@10.0.0.1");
	phone_expect(alice, "180", SH_SECOND);
	phone_expect(alice, "180", SH_SECOND);
	phone_expect(alice, "180", SH_SECOND);
	talk(c, mail);
	c = dial("sip:hunt@10.0.0.1"); /* the next one begins with the other phone */
	answer(carol, 603);
	refused(c, "603");
	end();
}

static void trunk_failover_takes_the_next_trunk_and_remembers_the_dead_one(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_example("trunk_failover.lua", NULL, 0);
	refused(dial("sip:bob@10.0.0.1"), "404");
	c = dial("sip:+4930123@10.0.0.1");
	soon(bob, "INVITE"); /* and no answer at all */
	m = phone_expect(carol, "INVITE", 3 * SH_SECOND);
	assert_non_null(strstr(m->text, "INVITE sip:+4930123@10.0.0.4 SIP/2.0"));
	phone_assert_contains(m, "P-Asserted-Identity", "<sip:alice@example.org>");
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(carol, "ACK");
	talk(c, carol);
	world_expect_log(w, "trunk north: 408 Request Timeout (unreachable)");
	world_advance(w, 40 * SH_SECOND); /* the INVITE to north has ended */
	c = dial("sip:+4930123@10.0.0.1");
	answer(carol, 486); /* at once */
	refused(c, "486");
	world_advance(w, 30 * SH_SECOND);
	c = dial("sip:+4930123@10.0.0.1");
	answer(bob, 200); /* it is back */
	talk(c, bob);
	end();
}

/* ---- queue.lua ---- */

static struct phone *music;

static void enters_at(struct phone *p, const char *user, const char *domain, const char *file, int line)
{
	char uri[100];

	phone_identity(p, user, domain);
	snprintf(uri, sizeof(uri), "sip:%s", domain);
	phone_request(p, "REGISTER", uri, NULL, NULL);
	phone_expect_at(p, NULL, "200", SH_SECOND, file, line);
}
#define enters(p, user, domain) enters_at((p), (user), (domain), __FILE__, __LINE__)

/* A leg that a call that is up gets: it offers, the caller answers. */
static struct phone_msg *joins_at(struct phone *p, struct phone *caller, const char *file, int line)
{
	struct phone_msg *m = phone_expect_at(p, NULL, "INVITE", 12 * SH_SECOND, file, line);

	phone_assert(p, m->m.body.len == 0);
	phone_reply(m, 200, NULL, NULL, SDP);
	phone_reply(phone_expect_at(caller, NULL, "INVITE", SH_SECOND, file, line), 200, NULL, NULL, SDP);
	phone_expect_at(p, NULL, "ACK", SH_SECOND, file, line);
	phone_expect_at(caller, NULL, "ACK", SH_SECOND, file, line);
	world_advance(w, 10 * SH_MS);
	return m;
}
#define joins(p, caller) joins_at((p), (caller), __FILE__, __LINE__)

static struct phone_call *waits(void)
{
	struct phone_call *c;
	struct phone_msg *m;

	begin_example("queue.lua", NULL, 0);
	music = world_phone(w, "music", "10.0.0.5");
	phone_auto(music, PHONE_ABSORB);
	enters(bob, "anna", "example.org");
	enters(carol, "ben", "example.org");
	c = dial("sip:support@example.org");
	m = phone_expect_in(c, "200 INVITE", SH_SECOND);
	phone_assert(alice, strstr(phone_body(m), "a=inactive"));
	phone_ack(m, NULL, NULL);
	joins(music, alice);
	return c;
}

static void queue_has_music_until_an_agent_is_free(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	c = waits();
	m = soon(bob, "INVITE");
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	m = joins(carol, alice);
	phone_assert_header(m, "X-Waited", "0");
	phone_reply(soon(music, "BYE"), 200, NULL, NULL, NULL);
	world_expect_log(w, "ben has");
	world_advance(w, 60 * SH_SECOND);
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(carol, "BYE"), 200, NULL, NULL, NULL);
	world_advance(w, SH_SECOND);
	world_expect_log(w, "ended by the caller");
	end();
}

static void queue_asks_again_and_gives_the_mailbox_in_the_end(void **state)
{
	struct phone *mail;
	struct phone_call *c;

	(void)state;
	c = waits();
	mail = world_phone(w, "mail", "10.0.0.6");
	phone_auto(mail, PHONE_ABSORB);
	for (unsigned round = 0; round < 3; round++) { /* nobody takes it; each round lasts 25 seconds */
		for (unsigned i = 0; i < 2; i++) {
			struct phone *agent = i ? carol : bob;
			struct phone_msg *m = phone_expect(agent, "INVITE", 6 * SH_SECOND);

			phone_reply(m, 180, NULL, NULL, NULL);
			phone_reply(phone_expect(agent, "CANCEL", 11 * SH_SECOND), 200, NULL, NULL, NULL);
			phone_reply(m, 487, NULL, NULL, NULL);
			soon(agent, "ACK");
		}
	}
	/* the key 1, while he hears music: it reaches the music, too */
	world_advance(w, SH_SECOND);
	phone_in_call(c, "INFO", "Content-Type: application/dtmf-relay", "Signal=1\r\nDuration=100\r\n");
	phone_reply(soon(music, "INFO"), 200, NULL, NULL, NULL);
	soon(alice, "200 INFO");
	joins(mail, alice);
	phone_reply(soon(music, "BYE"), 200, NULL, NULL, NULL);
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(mail, "BYE"), 200, NULL, NULL, NULL);
	end();
}

static void queue_lets_a_caller_go_while_agents_ring(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	c = waits();
	m = soon(bob, "INVITE");
	phone_reply(m, 180, NULL, NULL, NULL);
	world_advance(w, SH_SECOND);
	phone_bye(c);
	soon(alice, "200 BYE");
	phone_reply(soon(bob, "CANCEL"), 200, NULL, NULL, NULL);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_reply(soon(music, "BYE"), 200, NULL, NULL, NULL);
	end();
}

/* ---- sbc.lua: alice is the telephone system, bob and carol are the provider ---- */

static void begin_sbc(void)
{
	struct phone_msg *m;

	begin_example("sbc.lua", NULL, 0);
	m = soon(bob, "REGISTER");
	phone_reply(m, 401, NULL, "WWW-Authenticate: Digest realm=\"p\", nonce=\"n\", qop=\"auth\"", NULL);
	phone_reply(soon(bob, "REGISTER"), 200, NULL, "Expires: 7200", NULL);
	phone_reply(soon(bob, "OPTIONS"), 200, NULL, NULL, NULL);
	phone_reply(soon(carol, "OPTIONS"), 200, NULL, NULL, NULL);
	phone_reply(soon(alice, "OPTIONS"), 200, NULL, NULL, NULL);
	world_advance(w, SH_SECOND);
	world_expect_log(w, "trunk provider is up");
	world_expect_log(w, "trunk pbx is up");
}

static void sbc_calls_out_with_a_number_in_one_form_and_hides_the_inside(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_sbc();
	c = phone_invite(alice, "sip:0301234@10.0.0.1", "P-Asserted-Identity: <sip:+49891@pbx>\nX-Account: 7\nX-Inside: secret", SDP);
	m = soon(bob, "INVITE");
	assert_true(sh_slice_eq(sh_msg_text(&m->m, m->m.uri), SH_LIT("sip:+49301234@10.0.0.3")));
	phone_assert_header(m, "P-Asserted-Identity", "<sip:+49891@pbx>");
	phone_assert_header(m, "X-Account", "7");
	phone_assert_header(m, "X-Inside", NULL);
	phone_reply(m, 407, NULL, "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n\", qop=\"auth\"", NULL);
	soon(bob, "ACK");
	m = soon(bob, "INVITE");
	phone_assert_contains(m, "Proxy-Authorization", "username=\"acct7\"");
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(c, bob);
	world_advance(w, SH_SECOND);
	world_expect_log(w, "cdr: ");
	end();
}

static void sbc_takes_the_second_provider_when_the_first_is_silent(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_sbc();
	c = dial("sip:+441234@10.0.0.1");
	soon(bob, "INVITE");
	ignore_trying(alice);
	phone_reply(phone_expect(carol, "INVITE", 4 * SH_SECOND), 404, NULL, "Reason: Q.850;cause=1", NULL);
	soon(carol, "ACK");
	ignore_trying(alice);
	refused(c, "404");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "404, q850 1");
	c = dial("sip:nonsense@10.0.0.1");
	refused(c, "404");
	phone_request(carol, "INVITE", "sip:100@10.0.0.1", NULL, SDP); /* comes in */
	phone_reply(soon(alice, "INVITE"), 486, NULL, NULL, NULL);
	soon(alice, "ACK");
	phone_ack(soon(carol, "486"), NULL, NULL);
	world_reload(w, PLAN); /* no more OPTIONS */
	phone_reply(soon(bob, "REGISTER"), 200, NULL, NULL, NULL);
	end();
}

/* ---- hotel.lua ---- */

/* Orders a wake-up call in ten minutes; the seconds until then. */
static uint64_t order(void)
{
	uint64_t day = sh_env_wall(w->env[0]) / SH_SECOND % 86400, at = (day / 60 + 10) % 1440;
	struct phone_call *c;
	char text[100];

	snprintf(text, sizeof(text), "sip:*55*%02u%02u@hotel.example", (unsigned)(at / 60), (unsigned)(at % 60));
	c = phone_invite(alice, text, NULL, SDP);
	phone_ack(phone_expect_in(c, "200 INVITE", SH_SECOND), NULL, NULL);
	phone_reply(soon(alice, "BYE"), 200, NULL, NULL, NULL);
	snprintf(text, sizeof(text), "room 101: wake-up call at %02u:%02u", (unsigned)(at / 60), (unsigned)(at % 60));
	world_expect_log(w, text);
	return 600 - day % 60;
}

static struct phone *begin_hotel(void)
{
	struct phone *voice;

	begin_example("hotel.lua", NULL, 0);
	voice = world_phone(w, "voice", "10.0.0.5");
	phone_auto(voice, PHONE_ABSORB);
	enters(alice, "101", "hotel.example");
	enters(bob, "reception", "hotel.example");
	return voice;
}

static void nobody_gets_up(void)
{
	struct phone_msg *m = phone_expect(alice, "INVITE", 302 * SH_SECOND);

	phone_assert_contains(m, "From", "\"Wake-up call\" <sip:wakeup@hotel.example>");
	phone_reply(m, 180, NULL, NULL, NULL);
	phone_reply(phone_expect(alice, "CANCEL", 31 * SH_SECOND), 200, NULL, NULL, NULL);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(alice, "ACK");
}

static void hotel_wakes_a_guest_up(void **state)
{
	struct phone *voice = begin_hotel();
	struct phone_msg *m;
	uint64_t wait = order();

	(void)state;
	phone_expect_none(alice, "INVITE", (wait - 2) * SH_SECOND);
	nobody_gets_up();
	world_expect_log(w, "room 101: not awake (408");
	m = phone_expect(alice, "INVITE", 302 * SH_SECOND);
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(alice, "ACK");
	joins(voice, alice);
	phone_bye(m->call);
	soon(alice, "200 BYE");
	phone_reply(soon(voice, "BYE"), 200, NULL, NULL, NULL);
	end();
}

static void hotel_tells_the_reception_who_sleeps_on(void **state)
{
	struct phone_msg *m;
	uint64_t wait;

	(void)state;
	begin_hotel();
	wait = order();
	world_advance(w, (wait - 2) * SH_SECOND);
	for (unsigned i = 0; i < 3; i++)
		nobody_gets_up();
	m = soon(bob, "MESSAGE");
	phone_assert_body(m, "Room 101 does not wake up");
	phone_reply(m, 200, NULL, NULL, NULL);
	refused(dial("sip:*55*2460@hotel.example"), "484");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(office_puts_alice_through_to_bob),
	    cmocka_unit_test(office_gives_up_after_20_seconds),
	    cmocka_unit_test(office_passes_on_what_the_phone_says),
	    cmocka_unit_test(office_knows_who_is_not_there),
	    cmocka_unit_test(office_wants_the_right_password_and_name),
	    cmocka_unit_test(office_relays_messages),
	    cmocka_unit_test(office_answers_options),
	    cmocka_unit_test(office_takes_users_and_times_from_the_host),
	    cmocka_unit_test(redirect_says_where_to_call),
	    cmocka_unit_test(reject_bars_numbers),
	    cmocka_unit_test(hunt_group_tries_one_by_one_then_all_then_the_mailbox),
	    cmocka_unit_test(trunk_failover_takes_the_next_trunk_and_remembers_the_dead_one),
	    cmocka_unit_test(queue_has_music_until_an_agent_is_free),
	    cmocka_unit_test(queue_asks_again_and_gives_the_mailbox_in_the_end),
	    cmocka_unit_test(queue_lets_a_caller_go_while_agents_ring),
	    cmocka_unit_test(sbc_calls_out_with_a_number_in_one_form_and_hides_the_inside),
	    cmocka_unit_test(sbc_takes_the_second_provider_when_the_first_is_silent),
	    cmocka_unit_test(hotel_wakes_a_guest_up),
	    cmocka_unit_test(hotel_tells_the_reception_who_sleeps_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
