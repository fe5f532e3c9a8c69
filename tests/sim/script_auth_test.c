/* req:auth, req:challenge and what they let through. */
#include "script_world.h"

static const char plan[] =
    PLAN "local secrets = {alice = 'wonder', ['bob b.'] = 'builder'}\n"
	 "sip.on.message(function(req)\n"
	 "  assert(req.auth_user == nil)\n"
	 "  local user, none = req:auth{realm = 'example.org', password = function(user, realm)\n"
	 "    assert(realm == 'example.org')\n"
	 "    return secrets[user]\n"
	 "  end, algorithms = {'MD5'}}\n"
	 "  if not user then assert(none == nil and req.auth_user == nil) return end\n"
	 "  assert(req.auth_user == user)\n"
	 "  req:reply(200, {body = user})\n"
	 "end)\n";

static struct phone_call *message(void)
{
	return phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "hi");
}

static void the_right_password_lets_through_and_a_wrong_one_gets_a_fresh_challenge(void **state)
{
	struct phone_msg *first, *second;
	char nonce[200];

	(void)state;
	begin(plan);
	phone_login(alice, "alice", "wrong");
	message();
	first = soon(alice, "401");
	phone_assert_contains(first, "WWW-Authenticate", "Digest realm=\"example.org\"");
	phone_assert_contains(first, "WWW-Authenticate", "algorithm=MD5");
	phone_assert_contains(first, "WWW-Authenticate", "qop=\"auth\"");
	snprintf(nonce, sizeof(nonce), "%s", strstr(phone_value(first, "WWW-Authenticate"), "nonce="));
	phone_authorize(first);
	second = soon(alice, "401");
	phone_assert(alice, !strstr(phone_value(second, "WWW-Authenticate"), "stale"));
	phone_assert(alice, strcmp(nonce, strstr(phone_value(second, "WWW-Authenticate"), "nonce=")) != 0);
	phone_login(alice, "alice", "wonder");
	phone_authorize(second);
	phone_assert_body(soon(alice, "200"), "alice");
	end();
}

static void unknown_users_look_like_wrong_passwords(void **state)
{
	(void)state;
	begin(plan);
	phone_login(alice, "nobody", "wonder");
	message();
	phone_authorize(soon(alice, "401"));
	soon(alice, "401");
	end();
}

static void user_names_may_have_spaces(void **state)
{
	(void)state;
	begin(plan);
	phone_login(alice, "bob b.", "builder");
	message();
	phone_authorize(soon(alice, "401"));
	phone_assert_body(soon(alice, "200"), "bob b.");
	end();
}

static void an_old_nonce_is_stale(void **state)
{
	struct phone_msg *first, *again;

	(void)state;
	begin(plan);
	phone_login(alice, "alice", "wonder");
	message();
	first = soon(alice, "401");
	world_advance(w, 1000 * SH_SECOND);
	phone_authorize(first);
	again = soon(alice, "401");
	phone_assert_contains(again, "WWW-Authenticate", "stale=true");
	phone_authorize(again);
	soon(alice, "200");
	end();
}

static void both_algorithms_are_offered_the_best_first(void **state)
{
	struct phone_msg *challenge;
	const char *md5, *sha;

	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  if req:auth{realm = 'r', password = 'x'} then req:reply(200) end\n"
		   "end)\n");
	phone_login(alice, "alice", "x");
	message();
	challenge = soon(alice, "401");
	sha = strstr(challenge->text, "algorithm=SHA-256");
	md5 = strstr(challenge->text, "algorithm=MD5");
	phone_assert(alice, sha && md5 && sha < md5);
	phone_authorize(challenge);
	soon(alice, "200");
	end();
}

static void ha1_gets_the_algorithm_and_may_wait(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  local user = req:auth{realm = 'r', algorithms = {'MD5'}, ha1 = function(user, realm, algorithm)\n"
		   "    assert(user == 'alice' and realm == 'r' and algorithm == 'MD5')\n"
		   "    sip.sleep(0.2)\n"
		   "    return sip.hash('md5', 'alice:r:x')\n"
		   "  end}\n"
		   "  if user then req:reply(200, 'Fine') end\n"
		   "end)\n");
	phone_login(alice, "alice", "x");
	message();
	phone_authorize(soon(alice, "401"));
	assert_non_null(strstr(soon(alice, "200")->text, "200 Fine"));
	end();
}

static void calls_are_challenged_with_407_and_no_hangup_hook_runs_for_it(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  local user = call:auth{realm = 'example.org', password = 'x'}\n"
		   "  if not user then return end\n"
		   "  assert(call.auth_user == 'alice')\n"
		   "  call:reject(603, 'Not today')\n"
		   "end)\n"
		   "sip.on.hangup(function(call, why)\n"
		   "  sip.log.info('over %s %d %s', call.auth_user, why.code, why.reason)\n"
		   "end)\n");
	phone_login(alice, "alice", "x");
	c = dial("sip:bob@example.org");
	phone_authorize(soon(alice, "407"));
	world_advance(w, SH_SECOND / 10);
	assert_non_null(strstr(refused(c, "603")->text, "603 Not today"));
	world_expect_log(w, "over alice 603 Not today");
	assert_false(world_has_log(w, "over"));
	end();
}

static void a_challenge_can_be_sent_without_a_look(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req) req:challenge{realm = 'r', proxy = true, qop = '', algorithms = "
		   "{'MD5'}} end)\n"
		   "sip.on.invite(function(call) call:challenge{realm = 'r', proxy = false} end)\n");
	message();
	struct phone_msg *m = soon(alice, "407");
	phone_assert_contains(m, "Proxy-Authenticate", "realm=\"r\"");
	phone_assert(alice, !strstr(phone_value(m, "Proxy-Authenticate"), "qop"));
	refused(dial("sip:bob@example.org"), "401");
	end();
}

static void malformed_credentials_are_a_400(void **state)
{
	(void)state;
	begin(plan);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Authorization: Digest username=alice\"", NULL);
	phone_expect(alice, "4xx", SH_SECOND);
	end();
}

static void mistakes_are_named(void **state)
{
	static const char *const checks[][2] = {
	    {"req:auth()", "error: t:1: bad argument #1 to 'auth' (table expected, got nil)"},
	    {"req:auth{}", "error: t:1: auth: option 'realm': text without quotes expected"},
	    {"req:auth{realm = 'a\"b', password = 'x'}",
	     "error: t:1: auth: option 'realm': text without quotes expected"},
	    {"req:auth{realm = 'a\\r\\nX: y', password = 'x'}",
	     "error: t:1: 'realm': CR, LF and NUL are not allowed in a header field"},
	    {"req:auth{realm = 'a'}", "error: t:1: auth: one of the options 'password' and 'ha1' is needed"},
	    {"req:auth{realm = 'a', password = 'a', ha1 = print}",
	     "error: t:1: auth: one of the options 'password' and 'ha1' is needed, not both"},
	    {"req:auth{realm = 'a', password = 5}",
	     "error: t:1: auth: option 'password': function expected, got number"},
	    {"req:auth{realm = 'a', ha1 = 'x'}", "error: t:1: auth: option 'ha1': function expected, got string"},
	    {"req:auth{realm = 'a', password = print, algorithms = 'MD5'}",
	     "error: t:1: auth: option 'algorithms': list expected, got string"},
	    {"req:auth{realm = 'a', password = print, algorithms = {'MD4'}}",
	     "error: t:1: auth: option 'algorithms': \"MD5\", \"SHA-256\" or \"SHA-512-256\" expected"},
	    {"req:auth{realm = 'a', password = print, qop = 'auth-int'}",
	     "error: t:1: auth: option 'qop': \"auth\" or \"\" expected"},
	    {"req:auth{realm = 'a', password = print, pasword = 1}", "error: t:1: auth: unknown option 'pasword' (did you mean 'password'?)"},
	    {"req:auth{realm = 'a', password = print, proxy = 1}",
	     "error: t:1: option 'proxy': boolean expected, got number"},
	    {"req:challenge{realm = 5}", "error: t:1: option 'realm': string expected, got number"},
	};

	(void)state;
	begin(EVAL);
	for (unsigned i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		lua_is(checks[i][0], checks[i][1]);
	end();
}

static void a_password_function_that_fails_is_a_500(void **state)
{
	(void)state;
	begin(PLAN "sip.on.message(function(req)\n"
		   "  req:auth{realm = 'r', password = function() error('no database') end}\n"
		   "end)\n");
	phone_login(alice, "alice", "x");
	message();
	phone_authorize(soon(alice, "401"));
	assert_non_null(strstr(soon(alice, "500")->text, "500 Script error"));
	world_expect_log(w, "dialplan.lua:4: no database");
	w->forgiving = true; /* the traceback */
	end();
}

/* RFC 7616 5.8: what a phone has computed for another server is passed on to us. A proxy that writes the Request-URI anew (RFC
 * 3261 22.4) is none of that. */
static void credentials_for_another_server_are_refused(void **state)
{
	static const struct {
		const char *uri, *answer;
	} cases[] = {
		{"sip:x@evil.example", "400"},
		{"sip:evil.example", "400"},
		{"nonsense", "400"},
		{"sip:x@example.org", "401"}, /* the password is wrong: it has been looked at */
		{"sip:other@EXAMPLE.org;transport=udp", "401"},
		{"sip:10.0.0.1:5060", "401"},
		{"sip:x@elsewhere.example", "401"}, /* the host that was asked for */
	};

	(void)state;
	begin(plan);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *to = i == 6 ? "sip:x@elsewhere.example" : "sip:x@example.org", *at;
		char headers[600], nonce[200];

		phone_request(alice, "MESSAGE", to, NULL, NULL);
		at = strstr(phone_value(soon(alice, "401"), "WWW-Authenticate"), "nonce=\"") + 7;
		snprintf(nonce, sizeof(nonce), "%.*s", (int)strcspn(at, "\""), at);
		snprintf(headers, sizeof(headers),
			 "Authorization: Digest username=\"alice\", realm=\"example.org\", nonce=\"%s\", uri=\"%s\", "
			 "response=\"00000000000000000000000000000000\", qop=auth, cnonce=\"c\", nc=00000001",
			 nonce, cases[i].uri);
		phone_request(alice, "MESSAGE", to, headers, NULL);
		soon(alice, cases[i].answer);
	}
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_right_password_lets_through_and_a_wrong_one_gets_a_fresh_challenge),
	    cmocka_unit_test(unknown_users_look_like_wrong_passwords),
	    cmocka_unit_test(user_names_may_have_spaces),
	    cmocka_unit_test(an_old_nonce_is_stale),
	    cmocka_unit_test(both_algorithms_are_offered_the_best_first),
	    cmocka_unit_test(ha1_gets_the_algorithm_and_may_wait),
	    cmocka_unit_test(calls_are_challenged_with_407_and_no_hangup_hook_runs_for_it),
	    cmocka_unit_test(a_challenge_can_be_sent_without_a_look),
	    cmocka_unit_test(malformed_credentials_are_a_400),
	    cmocka_unit_test(credentials_for_another_server_are_refused),
	    cmocka_unit_test(mistakes_are_named),
	    cmocka_unit_test(a_password_function_that_fails_is_a_500),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
