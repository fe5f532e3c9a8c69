/* Dialogs: identifiers, route sets with loose and strict routers (RFC 3261 12 and 16.12.1), targets, CSeq. */
#include "msg_helpers.h"

#include "core/alloc.h"
#include "txn/dialog.h"

static struct sh_env env;
static struct sh_dialog_table table;
static struct sh_dialog d;
static int owner;

static const struct sh_path from = {.proto = SH_PROTO_UDP, .remote = {.family = 4, .port = 5060}};

static int set_up(void **state)
{
	(void)state;
	memset(&env, 0, sizeof(env));
	sh_random_init_seed(&env.random, 5);
	env.key.k[0] = 1;
	memset(&d, 0, sizeof(d));
	return sh_dialog_table_init(&table, &env);
}

static int tear_down(void **state)
{
	(void)state;
	sh_dialog_finish(&d);
	assert_int_equal(table.by_tag.count, 0);
	sh_dialog_table_finish(&table);
	return 0;
}

/* --- messages --------------------------------------------------------------------------------- */

enum { TEXTS = 8 };

/* Each call has a text of its own, the last ones stay. */
static struct sh_msg *scan(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static struct sh_msg *scan(const char *fmt, ...)
{
	static char texts[TEXTS][2000];
	static struct sh_msg msgs[TEXTS];
	static unsigned turn;
	unsigned i = turn++ % TEXTS;
	const char *why = "";
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(texts[i], sizeof(texts[i]), fmt, args);
	va_end(args);
	assert_in_range(n, 1, sizeof(texts[i]) - 1);
	if (sh_msg_scan(&msgs[i], texts[i], (size_t)n, false, &why))
		fail_msg("%s: %s", why, texts[i]);
	return &msgs[i];
}

static struct sh_msg *invite_with(const char *extra)
{
	return scan("INVITE sip:bob@home.example SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
		    "From: \"Alice A\" <sip:alice@example.org>;epid=1;tag=alice\r\nTo: Bob <sip:bob@home.example>\r\n"
		    "Call-ID: call\r\nCSeq: 20 INVITE\r\n%s\r\n",
		    extra);
}

static struct sh_msg *response(unsigned code, const char *tag, const char *extra)
{
	return scan("SIP/2.0 %u X\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
		    "From: <sip:us@example.org>;tag=%.*s\r\nTo: <sip:bob@example.org>%s%s\r\n"
		    "Call-ID: %.*s\r\nCSeq: 1 INVITE\r\n%s\r\n",
		    code, SH_TAG_LEN, d.local_tag, *tag ? ";tag=" : "", tag, SH_FMT(sh_dialog_call_id(&d)), extra);
}

/* A request of the peer inside the dialog. */
static struct sh_msg *inside(const char *method, unsigned cseq, const char *their_tag, const char *extra)
{
	return scan("%s sip:us@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
		    "From: <sip:peer@example.org>%s%s\r\nTo: <sip:us@example.org>;tag=%.*s\r\n"
		    "Call-ID: %.*s\r\nCSeq: %u %s\r\n%s\r\n",
		    method, *their_tag ? ";tag=" : "", their_tag, SH_TAG_LEN, d.local_tag, SH_FMT(sh_dialog_call_id(&d)), cseq,
		    method, extra);
}

static void make_uas(const char *extra)
{
	assert_int_equal(sh_dialog_init_uas(&d, &table, &owner, invite_with(extra), &from), 0);
}

static void make_uac_with(const char *target, const char *routes)
{
	assert_int_equal(sh_dialog_init_uac(&d, &table, &owner, SH_LIT(""), SH_LIT("<sip:us@example.org>"),
					    SH_LIT("<sip:bob@example.org>"), sh_slice_cstr(target),
					    sh_slice_cstr(routes), &from),
			 0);
}

static void make_uac(void)
{
	make_uac_with("sip:bob@example.org", "");
}

static char line[2000], rest[4000];

static void write_request(struct sh_dialog *dialog, const char *method, uint32_t cseq)
{
	struct sh_writer l, r;

	sh_writer_init(&l, line, sizeof(line) - 1);
	sh_writer_init(&r, rest, sizeof(rest) - 1);
	sh_dialog_put_request(dialog, sh_slice_cstr(method), cseq, 70, &l, &r);
	assert_false(l.full || r.full);
	line[l.len] = rest[r.len] = '\0';
}

static void assert_request(const char *want_line, const char *want_route)
{
	const char *route;
	char got[2000] = "";

	write_request(&d, "BYE", 0);
	assert_string_equal(line, want_line);
	route = strstr(rest, "Route: ");
	if (route)
		snprintf(got, sizeof(got), "%.*s", (int)strcspn(route + 7, "\r"), route + 7);
	assert_string_equal(got, want_route);
}

/* --- the sides -------------------------------------------------------------------------------- */

static void a_uas_takes_its_state_from_the_request(void **state)
{
	(void)state;
	make_uas("Contact: <sip:alice@192.0.2.1:5070>\r\n");
	assert_slice(sh_dialog_call_id(&d), "call");
	assert_slice(sh_dialog_remote_tag(&d), "alice");
	assert_slice(sh_dialog_remote(&d), "\"Alice A\" <sip:alice@example.org>");
	assert_slice(sh_dialog_local(&d), "Bob <sip:bob@home.example>");
	assert_slice(sh_dialog_target(&d), "sip:alice@192.0.2.1:5070");
	assert_slice(sh_dialog_routes(&d), "");
	assert_int_equal(d.remote_cseq, 20);
	assert_true(d.has_remote_cseq);
	assert_false(d.uac);
	assert_false(d.secure);
	assert_ptr_equal(d.owner, &owner);
	assert_int_equal(sh_tag_worker(sh_slice_make(d.local_tag, SH_TAG_LEN)), 0);
}

static void the_secure_flag_wants_tls_and_sips(void **state)
{
	const char *text = "INVITE sips:bob@home.example SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.1;branch=z9hG4bKx\r\n"
			   "From: <sips:a@example.org>;tag=a\r\nTo: <sips:bob@home.example>\r\nCall-ID: c\r\n"
			   "CSeq: 1 INVITE\r\nContact: <sips:a@192.0.2.1>\r\n\r\n";
	struct sh_path tls = from;

	(void)state;
	assert_int_equal(sh_dialog_init_uas(&d, &table, NULL, scan("%s", text), &from), 0);
	assert_false(d.secure);
	sh_dialog_finish(&d);
	tls.proto = SH_PROTO_TLS;
	assert_int_equal(sh_dialog_init_uas(&d, &table, NULL, scan("%s", text), &tls), 0);
	assert_true(d.secure);
	sh_dialog_finish(&d);
	make_uac_with("sips:bob@example.org", "");
	assert_true(d.secure);
}

static void a_uas_refuses_what_it_could_never_reach(void **state)
{
	static const char *const bad[] = {
	    "",
	    "Contact: *\r\n",
	    "Contact: <tel:+123>\r\n",
	    "Contact: <sip:a@192.0.2.1>\r\nRecord-Route: <tel:+1>\r\n",
	    "Contact: <sip:a@192.0.2.1>\r\nRecord-Route: <sip:a;lr>, <sip:@>\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sh_dialog_init_uas(&d, &table, NULL, invite_with(bad[i]), &from), -EBADMSG);
	sh_dialog_finish(&d); /* fine on what was never made */
}

static void a_uac_makes_its_identifiers(void **state)
{
	(void)state;
	make_uac();
	assert_int_equal(sh_dialog_call_id(&d).len, SH_TAG_LEN);
	assert_int_equal(sh_tag_worker(sh_dialog_call_id(&d)), 0);
	write_request(&d, "INVITE", 0);
	assert_string_equal(line, "INVITE sip:bob@example.org SIP/2.0\r\n");
	assert_int_equal(d.invite_cseq, d.local_cseq);
	assert_non_null(strstr(rest, "To: <sip:bob@example.org>\r\n"));
	assert_null(strstr(rest, "Route:"));
	assert_non_null(strstr(rest, "Max-Forwards: 70\r\n"));
}

static void requests_name_both_sides(void **state)
{
	char want[2000];

	(void)state;
	make_uas("Contact: <sip:alice@192.0.2.1:5070>\r\n");
	write_request(&d, "BYE", 0);
	assert_string_equal(line, "BYE sip:alice@192.0.2.1:5070 SIP/2.0\r\n");
	snprintf(want, sizeof(want),
		 "Max-Forwards: 70\r\nFrom: Bob <sip:bob@home.example>;tag=%.*s\r\n"
		 "To: \"Alice A\" <sip:alice@example.org>;tag=alice\r\nCall-ID: call\r\nCSeq: %u BYE\r\n",
		 SH_TAG_LEN, d.local_tag, d.local_cseq);
	assert_string_equal(rest, want);
}

static void the_ack_takes_the_number_of_its_invite(void **state)
{
	uint32_t number;
	char want[40];

	(void)state;
	make_uac();
	write_request(&d, "INVITE", 0);
	number = d.invite_cseq;
	write_request(&d, "INFO", 0);
	assert_int_equal(d.local_cseq, number + 1);
	write_request(&d, "ACK", d.invite_cseq);
	snprintf(want, sizeof(want), "CSeq: %u ACK\r\n", number);
	assert_non_null(strstr(rest, want));
	assert_int_equal(d.local_cseq, number + 1);
}

/* --- route sets ------------------------------------------------------------------------------- */

static void a_uas_keeps_the_order_of_record_route(void **state)
{
	(void)state;
	/* RFC 3261 16.12.1.1 */
	make_uas("Record-Route: <sip:p2.domain.com;lr>\r\nContact: <sip:caller@u1.example.com>\r\n"
		 "Record-Route: <sip:p1.example.com;lr>\r\n");
	assert_slice(sh_dialog_routes(&d), "<sip:p2.domain.com;lr>, <sip:p1.example.com;lr>");
	assert_slice(sh_dialog_next_hop(&d), "sip:p2.domain.com;lr");
	assert_request("BYE sip:caller@u1.example.com SIP/2.0\r\n", "<sip:p2.domain.com;lr>, <sip:p1.example.com;lr>");
}

static void a_uac_reverses_it(void **state)
{
	(void)state;
	make_uac();
	assert_int_equal(
	    sh_dialog_learn(&d,
			    response(200, "bob",
				     "Record-Route: <sip:p2.domain.com;lr>,  \"P, one\" <sip:p1.example.com;lr>;x=1\r\n"
				     "Record-Route: <sip:p0.example.com;lr>\r\n"
				     "Contact: <sip:callee@u2.domain.com>\r\n"),
			    &from),
	    0);
	assert_slice(sh_dialog_routes(&d),
		     "<sip:p0.example.com;lr>, \"P, one\" <sip:p1.example.com;lr>;x=1, <sip:p2.domain.com;lr>");
	assert_request("BYE sip:callee@u2.domain.com SIP/2.0\r\n",
		       "<sip:p0.example.com;lr>, \"P, one\" <sip:p1.example.com;lr>;x=1, <sip:p2.domain.com;lr>");
}

static void a_strict_router_behind_a_loose_one_is_its_business(void **state)
{
	(void)state;
	/* RFC 3261 16.12.1.2 */
	make_uas("Record-Route: <sip:p4.domain.com;lr>\r\nRecord-Route: <sip:p3.middle.com>\r\n"
		 "Record-Route: <sip:p2.example.com;lr>\r\nRecord-Route: <sip:p1.example.com;lr>\r\n"
		 "Contact: <sip:caller@u1.example.com>\r\n");
	assert_request("BYE sip:caller@u1.example.com SIP/2.0\r\n",
		       "<sip:p4.domain.com;lr>, <sip:p3.middle.com>, <sip:p2.example.com;lr>, <sip:p1.example.com;lr>");
}

static void a_strict_router_in_front_gets_what_it_expects(void **state)
{
	(void)state;
	/* RFC 3261 12.2.1.1 */
	make_uas("Record-Route: <sip:proxy1>,<sip:proxy2>,<sip:proxy3;lr>,<sip:proxy4>\r\n"
		 "Contact: <sip:user@remoteua>\r\n");
	assert_slice(sh_dialog_next_hop(&d), "sip:proxy1");
	assert_request("BYE sip:proxy1 SIP/2.0\r\n",
		       "<sip:proxy2>, <sip:proxy3;lr>, <sip:proxy4>, <sip:user@remoteua>");
}

static void a_single_strict_router_leaves_the_target_as_route(void **state)
{
	(void)state;
	make_uas("Record-Route: <sip:p1.example.com;transport=tcp;method=INVITE;a=b?Subject=x>\r\n"
		 "Contact: <sip:user@remoteua>\r\n");
	assert_request("BYE sip:p1.example.com;transport=tcp;a=b SIP/2.0\r\n", "<sip:user@remoteua>");
}

static void a_route_without_brackets_gets_some(void **state)
{
	(void)state;
	make_uas("Record-Route: sip:p1.example.com;lr, <sip:p2.example.com;lr>\r\nContact: <sip:user@remoteua>\r\n");
	assert_slice(sh_dialog_routes(&d), "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>");
	assert_request("BYE sip:user@remoteua SIP/2.0\r\n", "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>");
}

static void folds_do_not_survive(void **state)
{
	(void)state;
	make_uas("Record-Route: <sip:proxy1>,\r\n \"a\r\n b\" <sip:proxy2>\r\nContact: <sip:user@remoteua>\r\n");
	write_request(&d, "BYE", 0);
	assert_null(strstr(rest, "\r\n "));
	assert_non_null(strstr(rest, "Route: \"a   b\" <sip:proxy2>, <sip:user@remoteua>\r\n"));
}

static void a_preset_route_set_is_replaced_by_the_answer(void **state)
{
	(void)state;
	make_uac_with("sip:bob@example.org", "<sip:outbound.example;lr>");
	assert_slice(sh_dialog_next_hop(&d), "sip:outbound.example;lr");
	assert_request("BYE sip:bob@example.org SIP/2.0\r\n", "<sip:outbound.example;lr>");
	assert_int_equal(sh_dialog_learn(&d, response(200, "bob", "Contact: <sip:bob@192.0.2.7>\r\n"), &from), 0);
	assert_request("BYE sip:bob@192.0.2.7 SIP/2.0\r\n", "");
	assert_slice(sh_dialog_next_hop(&d), "sip:bob@192.0.2.7");
}

/* --- what answers teach ----------------------------------------------------------------------- */

static void a_2xx_overrides_what_an_early_answer_said(void **state)
{
	(void)state;
	make_uac();
	assert_int_equal(sh_dialog_learn(&d, response(100, "x", ""), &from), 0);
	assert_slice(sh_dialog_remote_tag(&d), "");
	assert_int_equal(sh_dialog_learn(&d, response(180, "", "Contact: <sip:no@192.0.2.1>\r\n"), &from), 0);
	assert_slice(sh_dialog_target(&d), "sip:bob@example.org");
	assert_int_equal(
	    sh_dialog_learn(&d, response(180, "one", "Contact: <sip:one@192.0.2.1>\r\nRecord-Route: <sip:p;lr>\r\n"),
			    &from),
	    0);
	assert_slice(sh_dialog_remote_tag(&d), "one");
	assert_slice(sh_dialog_target(&d), "sip:one@192.0.2.1");
	assert_slice(sh_dialog_routes(&d), "<sip:p;lr>");
	assert_false(d.confirmed);
	assert_int_equal(sh_dialog_learn(&d, response(486, "three", "Contact: <sip:no@192.0.2.1>\r\n"), &from), 0);
	assert_slice(sh_dialog_remote_tag(&d), "one");
	assert_int_equal(sh_dialog_learn(&d, response(200, "two", "Contact: <sip:two@192.0.2.2>\r\n"), &from), 0);
	assert_slice(sh_dialog_remote_tag(&d), "two");
	assert_slice(sh_dialog_target(&d), "sip:two@192.0.2.2");
	assert_slice(sh_dialog_routes(&d), "");
	assert_true(d.confirmed);
	assert_int_equal(sh_dialog_learn(&d, response(180, "late", "Contact: <sip:l@192.0.2.3>\r\n"), &from), 0);
	assert_slice(sh_dialog_remote_tag(&d), "two");
}

static void a_2xx_without_contact_still_makes_a_dialog(void **state)
{
	(void)state;
	make_uac();
	assert_int_equal(sh_dialog_learn(&d, response(200, "bob", ""), &from), -EBADMSG);
	assert_true(d.confirmed);
	assert_slice(sh_dialog_remote_tag(&d), "bob");
	assert_slice(sh_dialog_target(&d), "sip:bob@example.org");
}

static void a_2xx_with_a_broken_record_route_keeps_the_routes(void **state)
{
	(void)state;
	make_uac_with("sip:bob@example.org", "<sip:outbound.example;lr>");
	assert_int_equal(
	    sh_dialog_learn(&d, response(200, "bob", "Contact: <sip:b@192.0.2.1>\r\nRecord-Route: <tel:1>\r\n"), &from),
	    -EBADMSG);
	assert_slice(sh_dialog_target(&d), "sip:b@192.0.2.1");
	assert_slice(sh_dialog_routes(&d), "<sip:outbound.example;lr>");
}

static void a_second_2xx_is_another_dialog(void **state)
{
	struct sh_dialog fork = {0};
	struct sh_msg *other;

	(void)state;
	make_uac();
	write_request(&d, "INVITE", 0);
	assert_int_equal(sh_dialog_learn(&d, response(200, "one", "Contact: <sip:one@192.0.2.1>\r\n"), &from), 0);
	other = response(200, "two", "Contact: <sip:two@192.0.2.2>\r\nRecord-Route: <sip:p;lr>\r\n");
	assert_int_equal(sh_dialog_learn(&d, other, &from), -EEXIST);
	assert_slice(sh_dialog_target(&d), "sip:one@192.0.2.1");
	assert_int_equal(sh_dialog_init_fork(&fork, &d, NULL, other, &from), 0);
	assert_slice(sh_dialog_remote_tag(&fork), "two");
	assert_slice(sh_dialog_routes(&fork), "<sip:p;lr>");
	assert_true(sh_slice_eq(sh_dialog_call_id(&fork), sh_dialog_call_id(&d)));
	assert_true(fork.confirmed);
	write_request(&fork, "ACK", fork.invite_cseq);
	assert_string_equal(line, "ACK sip:two@192.0.2.2 SIP/2.0\r\n");
	assert_non_null(strstr(rest, ";tag=two\r\n"));
	sh_dialog_finish(&fork); /* the first one stays in the table */
	assert_ptr_equal(sh_dialog_find(&table, inside("BYE", 1, "one", "")), &d);
}

static void an_rfc2543_peer_needs_no_tag(void **state)
{
	(void)state;
	make_uac();
	assert_int_equal(sh_dialog_learn(&d, response(200, "", "Contact: <sip:old@192.0.2.1>\r\n"), &from), 0);
	assert_true(d.confirmed);
	write_request(&d, "ACK", d.invite_cseq);
	assert_non_null(strstr(rest, "To: <sip:bob@example.org>\r\n"));
	assert_ptr_equal(sh_dialog_find(&table, inside("BYE", 1, "", "")), &d);
	assert_null(sh_dialog_find(&table, inside("BYE", 1, "some", "")));
}

/* --- targets ---------------------------------------------------------------------------------- */

static void the_target_moves_with_the_contact(void **state)
{
	struct sh_path other = from;
	const char *before;

	(void)state;
	make_uas("Contact: <sip:a@192.0.2.1>\r\nRecord-Route: <sip:p;lr>\r\n");
	before = d.text;
	assert_int_equal(sh_dialog_refresh(&d, inside("UPDATE", 21, "alice", "Contact: <sip:a@192.0.2.1>\r\n"), NULL),
			 0);
	assert_ptr_equal(d.text, before); /* nothing new, nothing made */
	other.remote.port = 9;
	assert_int_equal(sh_dialog_refresh(&d, inside("INVITE", 22, "alice", "Contact: <sip:b@192.0.2.2>\r\n"), &other),
			 0);
	assert_slice(sh_dialog_target(&d), "sip:b@192.0.2.2");
	assert_slice(sh_dialog_routes(&d), "<sip:p;lr>");
	assert_slice(sh_dialog_remote_tag(&d), "alice");
	assert_int_equal(d.path.remote.port, 9);
	assert_int_equal(sh_dialog_refresh(&d, inside("INFO", 23, "alice", ""), &from), 0);
	assert_slice(sh_dialog_target(&d), "sip:b@192.0.2.2");
	assert_int_equal(d.path.remote.port, 9);
	assert_int_equal(sh_dialog_refresh(&d, response(180, "alice", "Contact: <sip:c@192.0.2.3>\r\n"), NULL), 0);
	assert_slice(sh_dialog_target(&d), "sip:b@192.0.2.2");
	assert_int_equal(sh_dialog_refresh(&d, response(200, "alice", "Contact: <sip:c@192.0.2.3>\r\n"), NULL), 0);
	assert_slice(sh_dialog_target(&d), "sip:c@192.0.2.3");
}

/* --- finding ---------------------------------------------------------------------------------- */

static void a_dialog_is_found_by_its_three_identifiers(void **state)
{
	struct sh_slice tag;

	(void)state;
	make_uas("Contact: <sip:a@192.0.2.1>\r\n");
	tag = sh_slice_make(d.local_tag, SH_TAG_LEN);
	assert_ptr_equal(sh_dialog_find(&table, inside("BYE", 21, "alice", "")), &d);
	assert_ptr_equal(sh_dialog_find(&table, response(200, "alice", "")), &d);
	assert_null(sh_dialog_find(&table, inside("BYE", 21, "eve", "")));
	assert_null(sh_dialog_find(&table, inside("BYE", 21, "", "")));
	assert_null(sh_dialog_find(&table, invite_with("")));
	assert_ptr_equal(sh_dialog_find_ids(&table, SH_LIT("call"), tag, SH_LIT("alice")), &d);
	assert_null(sh_dialog_find_ids(&table, SH_LIT("other"), tag, SH_LIT("alice")));
	assert_null(sh_dialog_find_ids(&table, SH_LIT("call"), SH_LIT("0123456789abcdef"), SH_LIT("alice")));
	assert_null(sh_dialog_find_ids(&table, SH_LIT("call"), tag, SH_LIT("0")));
}

static void tag_zero_stands_for_none(void **state)
{
	struct sh_slice tag;

	(void)state;
	make_uac();
	assert_int_equal(sh_dialog_learn(&d, response(200, "", "Contact: <sip:old@192.0.2.1>\r\n"), &from), 0);
	tag = sh_slice_make(d.local_tag, SH_TAG_LEN);
	assert_ptr_equal(sh_dialog_find_ids(&table, sh_dialog_call_id(&d), tag, SH_LIT("0")), &d);
	assert_ptr_equal(sh_dialog_find_ids(&table, sh_dialog_call_id(&d), tag, SH_LIT("")), &d);
}

static void an_invite_in_flight_is_found_by_its_first_answer(void **state)
{
	(void)state;
	make_uac();
	assert_ptr_equal(sh_dialog_find(&table, response(180, "any", "")), &d);
	assert_ptr_equal(sh_dialog_find(&table, inside("NOTIFY", 1, "any", "")), &d);
	assert_int_equal(sh_dialog_learn(&d, response(180, "one", ""), &from), 0);
	assert_null(sh_dialog_find(&table, response(200, "two", "")));
}

static void a_finished_dialog_is_not_found(void **state)
{
	struct sh_msg *bye;

	(void)state;
	make_uas("Contact: <sip:a@192.0.2.1>\r\n");
	bye = inside("BYE", 21, "alice", "");
	sh_dialog_finish(&d);
	assert_null(sh_dialog_find(&table, bye));
}

static void a_twin_has_a_tag_of_its_own_and_may_take_the_place_of_the_first(void **state)
{
	struct sh_dialog twin;
	struct sh_msg *first, *second;

	(void)state;
	make_uas("Contact: <sip:a@192.0.2.1>\r\n");
	d.rseq = 7;
	assert_int_equal(sh_dialog_init_twin(&twin, &d), 0);
	assert_int_equal(twin.rseq, 0);
	first = inside("BYE", 21, "alice", "");
	assert_ptr_equal(sh_dialog_find(&table, first), &d);
	sh_dialog_become(&d, &twin);
	assert_ptr_equal(d.owner, &owner);
	second = inside("BYE", 21, "alice", "");
	assert_null(sh_dialog_find(&table, first));
	assert_ptr_equal(sh_dialog_find(&table, second), &d);
	assert_slice(sh_dialog_target(&d), "sip:a@192.0.2.1");
	sh_dialog_finish(&twin);
}

static void forks_further_on_are_told_apart_by_the_remote_tag(void **state)
{
	struct sh_dialog fork;

	(void)state;
	make_uac();
	assert_int_equal(sh_dialog_learn(&d, response(180, "one", ""), &from), 0);
	assert_int_equal(sh_dialog_init_fork(&fork, &d, &owner, response(180, "two", "Contact: <sip:two@192.0.2.2>\r\n"), &from), 0);
	assert_ptr_equal(sh_dialog_find(&table, inside("UPDATE", 1, "one", "")), &d);
	assert_ptr_equal(sh_dialog_find(&table, inside("UPDATE", 1, "two", "")), &fork);
	sh_dialog_become(&d, &fork);
	assert_null(sh_dialog_find(&table, inside("UPDATE", 1, "one", "")));
	assert_ptr_equal(sh_dialog_find(&table, inside("UPDATE", 1, "two", "")), &d);
	assert_slice(sh_dialog_target(&d), "sip:two@192.0.2.2");
}

static void cseq_numbers_must_rise(void **state)
{
	(void)state;
	make_uas("Contact: <sip:a@192.0.2.1>\r\n"); /* 20 */
	assert_int_equal(sh_dialog_accept_cseq(&d, inside("INFO", 19, "alice", "")), 500);
	assert_int_equal(sh_dialog_accept_cseq(&d, inside("ACK", 3, "alice", "")), 0);
	assert_int_equal(sh_dialog_accept_cseq(&d, inside("CANCEL", 3, "alice", "")), 0);
	assert_int_equal(d.remote_cseq, 20);
	assert_int_equal(sh_dialog_accept_cseq(&d, inside("INFO", 30, "alice", "")), 0);
	assert_int_equal(sh_dialog_accept_cseq(&d, inside("INFO", 29, "alice", "")), 500);
	assert_int_equal(sh_dialog_accept_cseq(&d, inside("INFO", 30, "alice", "")), 500); /* no retransmission: another request */
	assert_int_equal(d.remote_cseq, 30);
	sh_dialog_finish(&d);
	make_uac(); /* any number is the first */
	assert_int_equal(sh_dialog_accept_cseq(&d, inside("INFO", 0, "bob", "")), 0);
	assert_true(d.has_remote_cseq);
}

static void without_memory_nothing_changes(void **state)
{
	struct sh_msg *m = invite_with("Contact: <sip:a@192.0.2.1>\r\n");

	(void)state;
	for (long skip = 0; skip < 2; skip++) {
		sh_alloc_fail_after(skip);
		assert_int_equal(sh_dialog_init_uas(&d, &table, NULL, m, &from), -ENOMEM);
		sh_alloc_fail_after(-1);
		sh_dialog_finish(&d);
	}
	make_uac();
	sh_alloc_fail_after(0);
	assert_int_equal(sh_dialog_learn(&d, response(200, "b", "Contact: <sip:b@192.0.2.1>\r\n"), &from), -ENOMEM);
	assert_int_equal(sh_dialog_refresh(&d, response(200, "b", "Contact: <sip:b@192.0.2.1>\r\n"), &from), -ENOMEM);
	sh_alloc_fail_after(-1);
	assert_false(d.confirmed);
	assert_slice(sh_dialog_target(&d), "sip:bob@example.org");
	assert_slice(sh_dialog_remote_tag(&d), "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_uas_takes_its_state_from_the_request),
	    T(the_secure_flag_wants_tls_and_sips),
	    T(a_uas_refuses_what_it_could_never_reach),
	    T(a_uac_makes_its_identifiers),
	    T(requests_name_both_sides),
	    T(the_ack_takes_the_number_of_its_invite),
	    T(a_uas_keeps_the_order_of_record_route),
	    T(a_uac_reverses_it),
	    T(a_strict_router_behind_a_loose_one_is_its_business),
	    T(a_strict_router_in_front_gets_what_it_expects),
	    T(a_single_strict_router_leaves_the_target_as_route),
	    T(a_route_without_brackets_gets_some),
	    T(folds_do_not_survive),
	    T(a_preset_route_set_is_replaced_by_the_answer),
	    T(a_2xx_overrides_what_an_early_answer_said),
	    T(a_2xx_without_contact_still_makes_a_dialog),
	    T(a_2xx_with_a_broken_record_route_keeps_the_routes),
	    T(a_second_2xx_is_another_dialog),
	    T(an_rfc2543_peer_needs_no_tag),
	    T(the_target_moves_with_the_contact),
	    T(a_dialog_is_found_by_its_three_identifiers),
	    T(tag_zero_stands_for_none),
	    T(an_invite_in_flight_is_found_by_its_first_answer),
	    T(a_finished_dialog_is_not_found),
	    T(a_twin_has_a_tag_of_its_own_and_may_take_the_place_of_the_first),
	    T(forks_further_on_are_told_apart_by_the_remote_tag),
	    T(cseq_numbers_must_rise),
	    T(without_memory_nothing_changes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
