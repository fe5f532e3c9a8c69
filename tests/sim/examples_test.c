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

static void begin_example(const char *name, const struct sh_pair *pairs, unsigned npairs)
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
	static const struct sh_pair pairs[] = {{"user.carol", "secret"},
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
