/* Who is told what: asserted identities, privacy, diversion, causes, Session-ID; and that nothing of one leg is seen on the
 * other. */
#include "b2bua_helpers.h"

#define TRUST(list) "sip.acl{trust = {" list "}}\n"
#define DIAL        "  local ok, res = call:dial({'sip:bob@10.0.0.3'}, {timeout = 20})\n  if not ok then call:reject(res) end\n"
#define PAI         "P-Asserted-Identity: \"Alice\" <tel:+4912>\nRemote-Party-ID: <sip:a@x>;party=calling\nP-Preferred-Identity: <sip:other@x>\n"
#define ID_A        "Session-ID: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;remote=00000000000000000000000000000000"
#define OF_BOTH     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa;remote=bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define ID_B        "Session-ID: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb;remote=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* What bob got of alice's INVITE with those fields; the call is refused. */
static struct phone_msg *told(const char *headers)
{
	struct phone_call *c = phone_invite(alice, "sip:bob@example.org", headers, SDP_A);
	struct phone_msg *m = soon(bob, "INVITE");

	phone_reply(m, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	phone_ack(phone_expect_in(c, "486", SH_SECOND), NULL, NULL);
	return m;
}

static void rfc3325_what_a_stranger_asserts_is_not_believed(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN(DIAL));
	m = told(PAI "Diversion: <sip:x@y>\nHistory-Info: <sip:x@y>;index=1");
	phone_assert_header(m, "P-Asserted-Identity", NULL);
	phone_assert_header(m, "Remote-Party-ID", NULL);
	phone_assert_header(m, "P-Preferred-Identity", NULL);
	phone_assert_header(m, "Diversion", NULL);
	phone_assert_header(m, "History-Info", NULL);
	end();
}

static void no_pattern_carries_what_a_stranger_asserts(void **state)
{
	static const char *const plans[] = {
	    PLAN("call:dial({'sip:bob@10.0.0.3'}, {copy = {'P-*', 'R*', 'D*', 'H*'}})\n"),
	    PLAN("call:dial({'sip:bob@10.0.0.3'}, {copy = {'*'}})\n"),
	    PLAN("call:dial({'sip:bob@10.0.0.3'}, {copy = {'P-Asserted-Identity', 'Remote-Party-ID', 'Diversion', 'History-Info', "
		 "'P-Early-Media'}})\n"),
	};
	struct phone_msg *m;

	(void)state;
	for (unsigned i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		begin_quiet(plans[i]);
		m = told("P-Asserted-Identity: <tel:+4912>\nRemote-Party-ID: <sip:a@x>\nDiversion: <sip:x@y>\n"
			 "History-Info: <sip:x@y>;index=1\nP-Early-Media: supported");
		phone_assert_header(m, "P-Asserted-Identity", NULL);
		phone_assert_header(m, "Remote-Party-ID", NULL);
		phone_assert_header(m, "Diversion", NULL);
		phone_assert_header(m, "History-Info", NULL);
		phone_assert_header(m, "P-Early-Media", "supported");
		end();
	}
	begin_quiet(PLAN("call:dial({'sip:bob@10.0.0.3'}, {copy = {'P-*'}})\n") TRUST("'10.0.0.2'"));
	m = told("P-Asserted-Identity: <tel:+4912>");
	phone_assert_header(m, "P-Asserted-Identity", "<tel:+4912>");
	end();
	begin_quiet(PLAN("call:dial({'sip:bob@10.0.0.3'}, {copy = {'P-*', 'Diversion'}, pai = 'tel:+1'})\n") TRUST("'10.0.0.2'"));
	m = told("P-Asserted-Identity: <tel:+4912>\nRemote-Party-ID: <sip:a@x>\nDiversion: <sip:x@y>");
	phone_assert_header(m, "P-Asserted-Identity", "<tel:+1>"); /* the script's own, once */
	phone_assert_header(m, "Remote-Party-ID", NULL);
	phone_assert_header(m, "Diversion", "<sip:x@y>");
	end();
}

static void rfc3325_what_a_trusted_peer_asserts_goes_on(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN(DIAL) TRUST("'10.0.0.2'"));
	m = told(PAI "Diversion: <sip:x@y>\nHistory-Info: <sip:x@y>;index=1");
	phone_assert_header(m, "P-Asserted-Identity", "\"Alice\" <tel:+4912>");
	phone_assert_header(m, "Remote-Party-ID", "<sip:a@x>;party=calling");
	phone_assert_header(m, "P-Preferred-Identity", NULL); /* that is for us, RFC 3325 9.2 */
	phone_assert_header(m, "Diversion", "<sip:x@y>");
	phone_assert_header(m, "History-Info", "<sip:x@y>;index=1");
	end();
}

static void rfc3325_but_not_to_strangers_when_the_caller_asks_for_privacy(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN(DIAL) TRUST("'10.0.0.2'"));
	m = told(PAI "Privacy: id");
	phone_assert_header(m, "P-Asserted-Identity", NULL);
	phone_assert_header(m, "Remote-Party-ID", NULL);
	phone_assert_header(m, "Privacy", "id");
	phone_assert_contains(m, "From", "sip:alice@example.org"); /* "id" is about what the network adds */
	m = told(PAI "Privacy: critical;user;id");
	phone_assert_header(m, "P-Asserted-Identity", NULL);
	end();
	begin_quiet(PLAN(DIAL) TRUST("'10.0.0.2', '10.0.0.3'"));
	m = told(PAI "Privacy: user;id");
	phone_assert_header(m, "P-Asserted-Identity", "\"Alice\" <tel:+4912>");
	phone_assert_header(m, "Privacy", "user;id"); /* the next one in the trust domain sees to it */
	phone_assert_contains(m, "From", "sip:alice@example.org");
	end();
}

static void rfc3323_user_privacy_hides_the_caller(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN(DIAL));
	m = told("Privacy: user;id\nSubject: from alice\nCall-Info: <http://alice>\nPriority: urgent");
	phone_assert_contains(m, "From", "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=");
	phone_assert_header(m, "Subject", NULL);
	phone_assert_header(m, "Call-Info", NULL);
	phone_assert_header(m, "Priority", "urgent");
	phone_assert_header(m, "Privacy", "id");
	assert_null(strstr(strstr(m->text, "\r\nCSeq"), "from alice"));
	m = told("Privacy: header");
	phone_assert_contains(m, "From", "anonymous.invalid");
	phone_assert_header(m, "Privacy", NULL);
	end();
	/* the dialog keeps the name: hang-up and all */
	begin_quiet(PLAN(DIAL));
	c = phone_invite(alice, "sip:bob@example.org", "Privacy: user", SDP_A);
	phone_reply(soon(bob, "INVITE"), 200, NULL, NULL, SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, SH_SECOND);
	phone_bye(c);
	soon(alice, "200 BYE");
	m = soon(bob, "BYE");
	phone_assert_contains(m, "From", "anonymous.invalid");
	ok(m);
	end();
}

static void the_script_says_who_calls(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN("  local ok, res = call:dial({uri = 'sip:bob@10.0.0.3', pai = 'sip:+4930@x.org', privacy = 'id',"
			 " from = 'sip:anonymous@anonymous.invalid', display = 'Nobody'})\n  call:reject(res)\n") TRUST("'10.0.0.2'"));
	m = told(PAI "Privacy: user");
	phone_assert_header(m, "P-Asserted-Identity", "<sip:+4930@x.org>");
	phone_assert_header(m, "Privacy", "id");
	phone_assert_contains(m, "From", "\"Nobody\" <sip:anonymous@anonymous.invalid>;tag=");
	assert_int_equal(phone_count(bob, "INVITE"), 1);
	end();
}

static void the_called_sides_identity_goes_back_by_trust(void **state)
{
	static const char headers[] = "P-Asserted-Identity: <sip:bob@x>";
	static const struct {
		const char *trust, *privacy, *expected;
	} cases[] = {
		{"'10.0.0.3'", "", "<sip:bob@x>"},
		{"'10.0.0.2'", "", NULL},
		{"'10.0.0.3'", "\nPrivacy: id", NULL},
		{"'10.0.0.3', '10.0.0.2'", "\nPrivacy: id", "<sip:bob@x>"},
	};
	char plan[600], fields[200];

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct phone_call *c;
		struct phone_msg *m;

		snprintf(plan, sizeof(plan), "%ssip.acl{trust = {%s}}\n", PLAN(DIAL), cases[i].trust);
		snprintf(fields, sizeof(fields), "%s%s", headers, cases[i].privacy);
		begin_quiet(plan);
		c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
		m = soon(bob, "INVITE");
		phone_reply(m, 180, NULL, fields, NULL);
		phone_assert_header(soon(alice, "180"), "P-Asserted-Identity", cases[i].expected);
		phone_reply(m, 200, NULL, fields, SDP_B);
		m = soon(alice, "200 INVITE");
		phone_assert_header(m, "P-Asserted-Identity", cases[i].expected);
		phone_ack(m, NULL, NULL);
		soon(bob, "ACK");
		world_advance(w, SH_SECOND);
		phone_bye(c);
		soon(alice, "200 BYE");
		ok(soon(bob, "BYE"));
		end();
	}
}

static void rfc7044_a_call_that_is_forwarded_says_from_where(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN("  local ok, res = call:dial({uri = 'sip:bob@10.0.0.3', diversion = '<sip:carol@example.org>;reason=no-answer'})\n"
			 "  call:reject(res)\n") TRUST("'10.0.0.2'"));
	m = told(NULL);
	phone_assert_header(m, "Diversion", "<sip:carol@example.org>;reason=no-answer");
	phone_assert(bob, strstr(m->text, "History-Info: <sip:bob@example.org>;index=1\r\n"
					  "History-Info: <sip:bob@10.0.0.3>;index=1.1;mp=1\r\n"));
	/* what was there before stays, below and in front (RFC 5806 5.1, RFC 7044 10.3) */
	m = told("Diversion: <sip:before@x>\nHistory-Info: <sip:before@x>;index=1,<sip:bob@example.org>;index=1.2;mp=1");
	phone_assert(bob, strstr(m->text, "Diversion: <sip:carol@example.org>;reason=no-answer\r\nDiversion: <sip:before@x>\r\n"));
	phone_assert(bob, strstr(m->text, "index=1.2;mp=1\r\nHistory-Info: <sip:bob@10.0.0.3>;index=1.2.1;mp=1.2\r\n"));
	end();
}

/* ---- Reason ---- */

static void rfc3326_a_cause_goes_both_ways(void **state)
{
	static const char reason[] = "Reason: SIP;cause=200, Q.850;cause=31;text=\"Normal, unspecified\"";

	(void)state;
	for (unsigned back = 0; back < 2; back++) {
		struct talk t;
		struct phone_msg *m;

		begin(PLAN_BOB "sip.on.hangup(function(call, why) sip.log.info('%s %d %s', why.by, why.q850, why.q850_name) end)\n");
		t = talk();
		phone_in_call(back ? t.b : t.a, "BYE", reason, NULL);
		soon(back ? bob : alice, "200 BYE");
		m = soon(back ? alice : bob, "BYE");
		phone_assert_header(m, "Reason", "SIP;cause=200, Q.850;cause=31;text=\"Normal, unspecified\"");
		ok(m);
		world_expect_log(w, back ? "callee 31 Normal, unspecified" : "caller 31 Normal, unspecified");
		end();
	}
}

static void rfc6432_a_cause_in_a_failure_is_passed_and_told(void **state)
{
	struct phone_call *c;
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN(DIAL) "sip.on.hangup(function(call, why) sip.log.info('%d %d %s', why.code, why.q850, why.q850_name) end)\n");
	c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	phone_reply(soon(bob, "INVITE"), 404, NULL, "Reason: Q.850;cause=1;text=\"Unallocated\"", NULL);
	soon(bob, "ACK");
	m = phone_expect_in(c, "404", SH_SECOND);
	phone_assert_header(m, "Reason", "Q.850;cause=1;text=\"Unallocated\"");
	phone_ack(m, NULL, NULL);
	world_expect_log(w, "404 1 Unallocated");
	end();
	/* a script that hangs up before an answer */
	begin_quiet(PLAN("  call:hangup{q850 = 34, reason = 'No circuit'}\n")
		    "sip.on.hangup(function(call, why) sip.log.info('%s %d %d %s', why.by, why.code, why.q850, why.q850_name) end)\n");
	c = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	m = phone_expect_in(c, "480", SH_SECOND);
	phone_assert_header(m, "Reason", "Q.850;cause=34;text=\"No circuit\"");
	phone_ack(m, NULL, NULL);
	world_expect_log(w, "script 480 34 No circuit");
	end();
}

/* ---- Session-ID ---- */

static void rfc7989_the_session_id_is_the_same_on_both_sides(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN(DIAL));
	a = phone_invite(alice, "sip:bob@example.org", ID_A, SDP_A);
	m = soon(bob, "INVITE");
	phone_assert_header(m, "Session-ID", &ID_A[12]);
	phone_reply(m, 180, NULL, ID_B, NULL);
	phone_assert_header(soon(alice, "180"), "Session-ID", &ID_B[12]);
	phone_reply(m, 200, NULL, ID_B, SDP_B);
	m = soon(alice, "200 INVITE");
	phone_assert_header(m, "Session-ID", &ID_B[12]);
	phone_ack(m, NULL, NULL);
	phone_assert_header(soon(bob, "ACK"), "Session-ID", OF_BOTH);
	world_advance(w, SH_SECOND);
	phone_bye(a);
	soon(alice, "200 BYE");
	m = soon(bob, "BYE");
	phone_assert_header(m, "Session-ID", OF_BOTH);
	ok(m);
	end();
}

/* In what we send by ourselves, too (RFC 7989 6). */
static void rfc7989_cancel_and_refresh_have_the_session_id(void **state)
{
	struct phone_call *a;
	struct phone_msg *m, *invite;

	(void)state;
	begin_quiet(PLAN(DIAL));
	a = phone_invite(alice, "sip:bob@example.org", ID_A, SDP_A);
	invite = soon(bob, "INVITE");
	phone_reply(invite, 180, NULL, ID_B, NULL);
	soon(alice, "180");
	phone_cancel(a, NULL);
	soon(alice, "200 CANCEL");
	phone_ack(soon(alice, "487"), NULL, NULL);
	m = soon(bob, "CANCEL");
	phone_assert_header(m, "Session-ID", &ID_A[12]);
	ok(m);
	phone_reply(invite, 487, NULL, NULL, NULL);
	phone_assert_header(soon(bob, "ACK"), "Session-ID", &ID_A[12]);
	/* the session timer of bob's leg */
	a = phone_invite(alice, "sip:bob@example.org", ID_A, SDP_A);
	phone_reply(soon(bob, "INVITE"), 200, NULL, ID_B "\nAllow: UPDATE\nRequire: timer\nSession-Expires: 600;refresher=uac", SDP_B);
	soon(bob, "ACK");
	phone_ack(phone_expect_in(a, "200 INVITE", SH_SECOND), NULL, NULL);
	m = phone_expect(bob, "UPDATE", 301 * SH_SECOND);
	phone_assert_header(m, "Session-ID", OF_BOTH);
	phone_reply(m, 200, NULL, "Session-Expires: 600;refresher=uac", NULL);
	hang_up(a, bob);
	end();
}

/* ---- topology ---- */

/* Nothing of a leg is in what the other one gets, but for bodies: not its addresses, Call-ID, tags, branches, product. */
static void hides(struct phone *seen, const struct phone_call *other, const char *ip, const char *product)
{
	SH_LIST_EACH (l, &seen->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);
		const char *body = strstr(m->text, "\r\n\r\n");
		const char *secrets[] = {ip, other->id, other->local_tag, other->remote_tag, product, "10.77."};

		if (m->sent)
			continue;
		for (unsigned i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
			const char *at = secrets[i] ? strstr(m->text, secrets[i]) : NULL;

			if (at && at < body)
				phone_fail(w->sim, __FILE__, __LINE__, "%s is seen by %s:\n%s", secrets[i], seen->uri, m->text);
		}
	}
}

static void nothing_of_one_leg_is_seen_on_the_other(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin_quiet(PLAN(DIAL));
	a = phone_invite(alice, "sip:bob@example.org", "User-Agent: AlicePhone/1\nX-Trace: 10.77.0.9\nOrganization: 10.77.0.8", SDP_A);
	m = soon(bob, "INVITE");
	phone_assert_header(m, "User-Agent", "siphook/test");
	phone_reply(m, 183, NULL, "Server: BobPhone/2\nX-Trace: 10.77.0.3", SDP_B);
	soon(alice, "183");
	phone_reply(m, 200, NULL, "Server: BobPhone/2\nX-Trace: 10.77.0.3", SDP_B);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	phone_in_call(a, "INFO", "Content-Type: text/plain\nX-Trace: 10.77.0.2", "x");
	phone_reply(soon(bob, "INFO"), 200, NULL, "Server: BobPhone/2", NULL);
	soon(alice, "200 INFO");
	phone_reinvite(a, NULL, SDP_HOLD);
	phone_reply(soon(bob, "INVITE"), 200, NULL, "Server: BobPhone/2", SDP_HELD);
	phone_ack(soon(alice, "200 INVITE"), NULL, NULL);
	soon(bob, "ACK");
	world_advance(w, SH_SECOND);
	phone_bye(m->call);
	soon(bob, "200 BYE");
	ok(soon(alice, "BYE"));
	hides(bob, a, "10.0.0.2", "AlicePhone");
	hides(alice, m->call, "10.0.0.3", "BobPhone");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rfc3325_what_a_stranger_asserts_is_not_believed),
		cmocka_unit_test(no_pattern_carries_what_a_stranger_asserts),
		cmocka_unit_test(rfc3325_what_a_trusted_peer_asserts_goes_on),
		cmocka_unit_test(rfc3325_but_not_to_strangers_when_the_caller_asks_for_privacy),
		cmocka_unit_test(rfc3323_user_privacy_hides_the_caller),
		cmocka_unit_test(the_script_says_who_calls),
		cmocka_unit_test(the_called_sides_identity_goes_back_by_trust),
		cmocka_unit_test(rfc7044_a_call_that_is_forwarded_says_from_where),
		cmocka_unit_test(rfc3326_a_cause_goes_both_ways),
		cmocka_unit_test(rfc6432_a_cause_in_a_failure_is_passed_and_told),
		cmocka_unit_test(rfc7989_the_session_id_is_the_same_on_both_sides),
		cmocka_unit_test(rfc7989_cancel_and_refresh_have_the_session_id),
		cmocka_unit_test(nothing_of_one_leg_is_seen_on_the_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
