/* The other side asks for a password: 401 and 407 on the called leg (RFC 3261 22). */
#include "b2bua_helpers.h"
#include "credentials.h"

#define DIAL(opts) PLAN("  local ok, res = call:dial({'sip:bob@10.0.0.3'}, {" opts "})\n  if not ok then call:reject(res) end\n")
#define LOGIN      "auth = {user = 'north', password = 'pole'}"

#define CHALLENGE(realm, nonce) "WWW-Authenticate: Digest realm=\"" realm "\", nonce=\"" nonce "\", algorithm=MD5, qop=\"auth\"\n"

static struct phone_msg *challenge(struct phone_msg *request, unsigned code, const char *headers)
{
	phone_reply(request, code, NULL, headers, NULL);
	if (request->m.method == SH_INVITE)
		soon(bob, "ACK");
	return soon(bob, "*");
}

static void finish_call(struct phone_call *a, struct phone_msg *invite)
{
	phone_reply(invite, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, SH_SECOND);
	phone_bye(a);
	soon(alice, "200 BYE");
	ok(soon(bob, "BYE"));
	end();
}

static void a_407_is_answered_and_the_dialog_goes_on_with_credentials(void **state)
{
	struct phone_call *a;
	struct phone_msg *first, *second, *ack, *bye;
	struct sh_credentials c1, c2;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	first = soon(bob, "INVITE");
	phone_assert_header(first, "Proxy-Authorization", NULL);
	second = challenge(first, 407, "Proxy-Authenticate: Digest realm=\"pole\", nonce=\"n1\", opaque=\"op\", qop=\"auth-int,auth\"\n");
	assert_int_equal(second->m.method, SH_INVITE);
	c1 = proves(second, SH_H_PROXY_AUTHORIZATION, "north", "pole", "pole");
	assert_int_equal(c1.nc, 1);
	assert_true(sh_slice_eq(c1.opaque, SH_LIT("op")));
	assert_true(sh_slice_eq(c1.qop, SH_LIT("auth")));
	/* RFC 3261 22.2: the same Call-ID, From and tag, the next CSeq; the body is the same */
	phone_assert_header(second, "Call-ID", phone_value(first, "Call-ID"));
	phone_assert_header(second, "From", phone_value(first, "From"));
	assert_int_equal(second->m.cseq, first->m.cseq + 1);
	assert_string_equal(phone_body(second), phone_body(first));
	phone_reply(second, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_reply(second, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	ack = soon(bob, "ACK");
	/* 13.2.2.4: the ACK has the credentials of the INVITE */
	phone_assert_header(ack, "Proxy-Authorization", phone_value(second, "Proxy-Authorization"));
	assert_int_equal(ack->m.cseq, second->m.cseq);
	world_advance(w, SH_SECOND);
	phone_bye(a);
	soon(alice, "200 BYE");
	bye = soon(bob, "BYE");
	c2 = proves(bye, SH_H_PROXY_AUTHORIZATION, "north", "pole", "pole");
	assert_int_equal(c2.nc, 2);
	ok(bye);
	end();
}

static void a_401_with_sha_256_above_md5_is_answered_with_the_upper_one(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;
	struct sh_credentials c;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 401,
		      "WWW-Authenticate: Digest realm=\"r\", nonce=\"n0\", algorithm=SHA-999, qop=\"auth\"\n"
		      "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth\"\n"
		      "WWW-Authenticate: Digest realm=\"r\", nonce=\"n3\", algorithm=MD5, qop=\"auth\"\n");
	c = proves(m, SH_H_AUTHORIZATION, "north", "pole", "r");
	assert_int_equal(c.alg, SH_DIGEST_SHA256);
	assert_true(sh_slice_eq(c.nonce, SH_LIT("n2")));
	finish_call(a, m);
}

static void a_challenge_for_the_body_is_answered_with_auth_int(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;
	struct sh_credentials c;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-int\"\n");
	c = proves(m, SH_H_AUTHORIZATION, "north", "pole", "r");
	assert_true(sh_slice_eq(c.qop, SH_LIT("auth-int")));
	finish_call(a, m);
}

static void an_old_server_without_qop_is_answered_by_rfc_2069(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;
	struct sh_credentials c;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\n");
	c = proves(m, SH_H_AUTHORIZATION, "north", "pole", "r");
	assert_int_equal(c.qop.len, 0);
	assert_int_equal(c.cnonce.len, 0);
	finish_call(a, m);
}

static void several_realms_on_the_way_are_answered_one_after_the_other_and_together(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin_quiet(DIAL("auth = {{user = 'a', password = '1', realm = 'proxy'}, {user = 'b', password = '2', realm = 'phone'},"
			 " {user = 'c', password = '3'}}"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 407, "Proxy-Authenticate: Digest realm=\"proxy\", nonce=\"n1\", qop=\"auth\"\n");
	proves(m, SH_H_PROXY_AUTHORIZATION, "a", "1", "proxy");
	m = challenge(m, 401, CHALLENGE("phone", "n2"));
	proves(m, SH_H_PROXY_AUTHORIZATION, "a", "1", "proxy");
	proves(m, SH_H_AUTHORIZATION, "b", "2", "phone");
	/* RFC 3261 22.3: a forking proxy gathers the challenges of its branches in one answer */
	m = challenge(m, 407, CHALLENGE("x", "n3") "Proxy-Authenticate: Digest realm=\"y\", nonce=\"n4\"\n");
	proves(m, SH_H_AUTHORIZATION, "c", "3", "x");
	proves(m, SH_H_PROXY_AUTHORIZATION, "c", "3", "y");
	proves(m, SH_H_AUTHORIZATION, "b", "2", "phone");
	finish_call(a, m);
}

static void a_wrong_password_is_tried_once_and_the_caller_gets_500(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 401, CHALLENGE("r", "n1"));
	phone_reply(m, 401, NULL, CHALLENGE("r", "n2"), NULL);
	soon(bob, "ACK");
	phone_ack(phone_expect_in(a, "500", SH_SECOND), NULL, NULL);
	phone_expect_none(bob, "INVITE", 40 * SH_SECOND);
	end();
}

static void a_stale_nonce_is_tried_again_but_not_for_ever(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;
	static const char stale[] = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=TRUE, qop=\"auth\"\n";

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	for (unsigned i = 0; i < 4; i++)
		m = challenge(m, 401, stale);
	phone_reply(m, 401, NULL, stale, NULL);
	soon(bob, "ACK");
	phone_ack(phone_expect_in(a, "500", SH_SECOND), NULL, NULL);
	end();
}

static void without_a_login_for_the_realm_nothing_is_sent(void **state)
{
	struct phone_call *a;

	(void)state;
	begin_quiet(DIAL("auth = {user = 'north', password = 'pole', realm = 'other'}"));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 401, NULL, CHALLENGE("r", "n1"), NULL);
	soon(bob, "ACK");
	phone_ack(phone_expect_in(a, "500", SH_SECOND), NULL, NULL);
	end();
}

static void credentials_do_not_go_to_a_redirects_target(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin_quiet(DIAL("follow_redirects = 1, " LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 401, CHALLENGE("r", "n1"));
	proves(m, SH_H_AUTHORIZATION, "north", "pole", "r");
	phone_reply(m, 302, NULL, "Contact: <sip:carol@10.0.0.4>", NULL);
	soon(bob, "ACK");
	m = soon(carol, "INVITE");
	phone_assert_header(m, "Authorization", NULL);
	phone_reply(m, 401, NULL, CHALLENGE("r", "n1"), NULL);
	soon(carol, "ACK");
	phone_ack(phone_expect_in(a, "500", SH_SECOND), NULL, NULL);
	end();
}

static void a_cancelled_call_does_not_answer_a_challenge(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE");
	phone_reply(m, 100, NULL, NULL, NULL);
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	ok(soon(bob, "CANCEL"));
	phone_reply(m, 401, NULL, CHALLENGE("r", "n1"), NULL);
	soon(bob, "ACK");
	end();
}

static void the_cancel_of_an_authorized_invite_names_the_second_branch(void **state)
{
	struct phone_call *a;
	struct phone_msg *m, *cancel;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 401, CHALLENGE("r", "n1"));
	phone_reply(m, 180, NULL, NULL, NULL);
	soon(alice, "180");
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	cancel = soon(bob, "CANCEL");
	assert_int_equal(cancel->m.cseq, m->m.cseq);
	phone_assert_header(cancel, "Via", phone_value(m, "Via"));
	ok(cancel);
	phone_reply(m, 487, NULL, NULL, NULL);
	soon(bob, "ACK");
	end();
}

static void a_challenged_re_invite_and_bye_are_authorized_too(void **state)
{
	struct phone_call *a;
	struct phone_msg *m, *re, *bye;
	struct sh_credentials c;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = soon(bob, "INVITE"); /* not challenged at first */
	phone_reply(m, 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, SH_SECOND);
	phone_reinvite(a, NULL, SDP_HOLD);
	re = challenge(soon(bob, "INVITE"), 401, CHALLENGE("r", "n1"));
	proves(re, SH_H_AUTHORIZATION, "north", "pole", "r");
	phone_reply(re, 200, NULL, NULL, SDP_HELD);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	m = soon(bob, "ACK");
	assert_int_equal(m->m.cseq, re->m.cseq);
	world_advance(w, SH_SECOND);
	phone_bye(a);
	soon(alice, "200 BYE");
	bye = soon(bob, "BYE");
	bye = challenge(bye, 401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n9\", stale=true, qop=\"auth\"\n");
	c = proves(bye, SH_H_AUTHORIZATION, "north", "pole", "r");
	assert_true(sh_slice_eq(c.nonce, SH_LIT("n9")));
	ok(bye);
	end();
}

static void a_repeated_challenge_gets_its_ack_again(void **state)
{
	struct phone_call *a;
	struct phone_msg *first, *refusal, *m;

	(void)state;
	begin_quiet(DIAL(LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	first = soon(bob, "INVITE");
	refusal = phone_reply(first, 401, NULL, CHALLENGE("r", "n1"), NULL);
	soon(bob, "ACK");
	m = soon(bob, "INVITE");
	phone_auto(bob, 0);
	phone_resend(refusal);
	soon(bob, "ACK");
	phone_auto(bob, PHONE_ABSORB);
	finish_call(a, m);
}

/* field.md 2.6: siphon-sip#345 and others: the first timeout is about silence, and a challenge is no silence. */
static void a_trunk_that_challenges_is_not_dead(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin_quiet(DIAL("first_timeout = 1, " LOGIN));
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = challenge(soon(bob, "INVITE"), 401, CHALLENGE("r", "n1"));
	soon(alice, "100");
	world_advance(w, 3 * SH_SECOND);
	finish_call(a, m);
}

static void mistakes_in_the_option_are_named(void **state)
{
	static const struct {
		const char *plan, *text;
	} wrong[] = {
		{DIAL("auth = 'x'"), "option 'auth': table expected"},
		{DIAL("auth = {user = 'x'}"), "'user' and 'password' are needed"},
		{DIAL("auth = {name = 'x'}"), "unknown option 'name'"},
		{DIAL("auth = {{user = 'x', password = 'y'}, 7}"), "list of tables expected"},
		{DIAL("listener = 'udp:7'"), "there is no 'udp:7'"},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct phone_call *a;

		begin_quiet(wrong[i].plan);
		a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
		phone_ack(phone_expect_in(a, "500", SH_SECOND), NULL, NULL);
		world_expect_log(w, wrong[i].text);
		world_forget_log(w); /* the traceback */
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_407_is_answered_and_the_dialog_goes_on_with_credentials),
		cmocka_unit_test(a_401_with_sha_256_above_md5_is_answered_with_the_upper_one),
		cmocka_unit_test(a_challenge_for_the_body_is_answered_with_auth_int),
		cmocka_unit_test(an_old_server_without_qop_is_answered_by_rfc_2069),
		cmocka_unit_test(several_realms_on_the_way_are_answered_one_after_the_other_and_together),
		cmocka_unit_test(a_wrong_password_is_tried_once_and_the_caller_gets_500),
		cmocka_unit_test(a_stale_nonce_is_tried_again_but_not_for_ever),
		cmocka_unit_test(without_a_login_for_the_realm_nothing_is_sent),
		cmocka_unit_test(credentials_do_not_go_to_a_redirects_target),
		cmocka_unit_test(a_cancelled_call_does_not_answer_a_challenge),
		cmocka_unit_test(the_cancel_of_an_authorized_invite_names_the_second_branch),
		cmocka_unit_test(a_challenged_re_invite_and_bye_are_authorized_too),
		cmocka_unit_test(a_repeated_challenge_gets_its_ack_again),
		cmocka_unit_test(a_trunk_that_challenges_is_not_dead),
		cmocka_unit_test(mistakes_in_the_option_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
