/* req:register, sip.lookup, sip.bindings, sip.unbind: the registrar as scripts use it. */
#include "script_world.h"

static const char plan[] =
    PLAN "sip.on.register(function(req)\n"
	 "  local list, code = req:register{min_expires = 60, max_expires = 1800, max_contacts = 2}\n"
	 "  if list then sip.log.info('bound %d', #list) else sip.log.info('refused %d', code) end\n"
	 "end)\n"
	 "sip.on.message(function(req)\n"
	 "  local out = {}\n"
	 "  local targets = load('local sip, req = ... return ' .. req.body)(sip, req)\n"
	 "  for i, t in ipairs(targets) do out[i] = t.uri .. ' ' .. t.q end\n"
	 "  req:reply(200, {body = table.concat(out, ' | ')})\n"
	 "end)\n";

static struct phone_msg *put_at(struct phone *p, const char *uri, const char *headers, const char *code,
				const char *file, int line)
{
	return phone_expect_at(p, phone_request(p, "REGISTER", uri, headers, NULL), code, SH_SECOND, file, line);
}
#define put(p, headers, code) put_at((p), "sip:example.org", (headers), (code), __FILE__, __LINE__)

static void contacts_are_bound_fetched_and_removed(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(plan);
	m = put(bob, "Contact: <sip:b1@10.0.0.3>;q=0.5;expires=600, <sip:b2@10.0.0.3>", "200");
	phone_assert_contains(m, "Contact", "<sip:b2@10.0.0.3>");
	phone_assert(bob, strstr(m->text, "<sip:b1@10.0.0.3>;expires=600;q=0.5") != NULL);
	phone_assert(bob, strstr(m->text, "Date: ") != NULL);
	world_expect_log(w, "bound 2");
	lua_is("sip.lookup('bob')", "sip:b2@10.0.0.3 1.0 | sip:b1@10.0.0.3 0.5");
	world_advance(w, 100 * SH_SECOND);
	m = put(bob, "-Contact", "200"); /* a fetch */
	phone_assert(bob, strstr(m->text, "expires=500") != NULL);
	m = put(bob, "Contact: *\nExpires: 0", "200");
	phone_assert_header(m, "Contact", NULL);
	lua_is("sip.lookup('bob')", "");
	put(bob, "Contact: *\nExpires: 600", "400");
	world_expect_log(w, "refused 400");
	end();
}

static void intervals_that_are_too_short_are_a_423(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(plan);
	m = put(bob, "Expires: 59", "423");
	phone_assert_header(m, "Min-Expires", "60");
	m = put(bob, "Expires: 7200", "200");
	phone_assert(bob, strstr(m->text, "expires=1800") != NULL);
	world_advance(w, 1801 * SH_SECOND);
	lua_is("sip.lookup('bob')", "");
	world_reload(w, PLAN "sip.on.register(function(req) req:register{max_expires = 50} end)\n"); /* less than the shortest by default */
	m = put(bob, "Expires: 600", "200");
	phone_assert(bob, strstr(m->text, "expires=50") != NULL);
	phone_assert_header(put(bob, "Expires: 49", "423"), "Min-Expires", "50");
	end();
}

static void the_address_of_the_listener_and_the_domain_meet_at_one_aor(void **state)
{
	(void)state;
	begin(plan);
	/* a phone that knows the address only */
	put_at(bob, "sip:10.0.0.1", "To: <sip:bob@10.0.0.1>", "200", __FILE__, __LINE__);
	lua_is("sip.lookup('sip:bob@example.org')", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup('sip:bob@10.0.0.1')", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup('sip:bob@10.0.0.1:5060;transport=tcp')", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup('sip:%62ob@EXAMPLE.org.')", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup(sip.uri('sip:bob@example.org'))", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup(req.to:with{user = 'bob'})", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup('bob@example.org')", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup('bob')", "sip:bob@10.0.0.3:5060 1.0");
	lua_is("sip.lookup('bob@elsewhere.org')", "");
	lua_is("sip.lookup('sip:bob@10.0.0.1:5070')", "");
	lua_is("sip.lookup('Bob')", "");
	end();
}

static void bindings_can_be_seen_and_taken_away(void **state)
{
	(void)state;
	begin(plan);
	put(bob, "Contact: <sip:b1@10.0.0.3>;expires=100\nUser-Agent: Phone/1", "200");
	put(bob, "Contact: <sip:b2@10.0.0.3>;q=0.1", "200");
	lua_is("(function() local b = sip.bindings('bob') assert(b[1].expires > 99 and b[1].expires <= 100 and "
	       "b[1].user_agent == 'Phone/1' and b[2].user_agent == nil) return b end)()",
	       "sip:b1@10.0.0.3 1.0 | sip:b2@10.0.0.3 0.1");
	lua_is("(function() assert(sip.unbind('bob', 'sip:b1@10.0.0.3') == 1) return sip.lookup'bob' end)()",
	       "sip:b2@10.0.0.3 0.1");
	lua_is("(function() assert(sip.unbind('bob') == 1) return sip.lookup'bob' end)()", "");
	end();
}

static void too_many_contacts_are_refused_or_replace_the_oldest(void **state)
{
	(void)state;
	begin(plan);
	put(bob, "Contact: <sip:b1@10.0.0.3>", "200");
	put(bob, "Contact: <sip:b2@10.0.0.3>", "200");
	put(bob, "Contact: <sip:b3@10.0.0.3>", "403");
	world_reload(w,
		     PLAN "sip.on.register(function(req) req:register{max_contacts = 2, on_limit = 'replace'} end)\n");
	world_advance(w, SH_SECOND);
	phone_assert(bob, !strstr(put(bob, "Contact: <sip:b3@10.0.0.3>", "200")->text, "sip:b1@"));
	end();
}

static void another_aor_can_be_named(void **state)
{
	(void)state;
	begin(PLAN "sip.on.register(function(req) assert(req:register{aor = 'sip:sales@example.org'}) end)\n"
		   "sip.on.message(function(req) req:relay(sip.lookup('sales')) end)\n");
	put(bob, NULL, "200");
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, "hi");
	phone_reply(soon(bob, "MESSAGE"), 200, NULL, NULL, NULL);
	soon(alice, "200");
	end();
}

static void a_registration_with_digest(void **state)
{
	static const char *const algorithms[] = {"MD5", "SHA-256"};
	char text[800];

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(text, sizeof(text),
			 PLAN
			 "sip.on.register(function(req)\n"
			 "  local user = req:auth{realm = 'example.org', algorithms = {'%s'}, password = function(u)\n"
			 "    return ({bob = 'builder', alice = 'wonder'})[u]\n"
			 "  end}\n"
			 "  if not user then return end\n"
			 "  if user ~= req.to.user then return req:reply(403) end\n"
			 "  req:register()\n"
			 "end)\n",
			 algorithms[i]);
		begin(text);
		phone_login(bob, "bob", "builder");
		phone_request(bob, "REGISTER", "sip:example.org", NULL, NULL);
		struct phone_msg *m = soon(bob, "401");
		phone_assert_contains(m, "WWW-Authenticate", algorithms[i]);
		phone_authorize(m);
		phone_assert_contains(soon(bob, "200"), "Contact", "sip:bob@10.0.0.3");
		phone_login(bob, "alice", "wonder"); /* somebody else's name */
		phone_request(bob, "REGISTER", "sip:example.org", NULL, NULL);
		phone_authorize(soon(bob, "401"));
		soon(bob, "403");
		end();
	}
}

static void contacts_behind_tcp_are_called_by_their_connection(void **state)
{
	struct phone_call *c;

	(void)state;
	begin(PLAN "sip.on.register(function(req) req:register() end)\n"
		   "sip.on.invite(function(call)\n"
		   "  local targets = sip.lookup(call.uri)\n"
		   "  local ok, res = call:dial(targets)\n"
		   "  if not ok then call:reject(res) end\n"
		   "end)\n");
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	put(bob, "Contact: <sip:bob@192.168.1.9:49152;transport=tcp>", "200");
	c = dial("sip:bob@example.org");
	struct phone_msg *invite = soon(bob, "INVITE");
	assert_int_equal(invite->proto, SH_PROTO_TCP);
	phone_reply(invite, 486, NULL, NULL, NULL);
	soon(bob, "ACK");
	refused(c, "486");
	phone_hang_up_connections(bob);
	world_advance(w, SH_SECOND);
	refused(dial("sip:bob@example.org"), "480"); /* the binding went with the connection */
	end();
}

/* RFC 3327 5.2: a call to a contact that came by an edge goes to the edge, with the way as its Route. */
static void a_contact_with_a_path_is_called_by_way_of_it(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN "sip.on.register(function(req) req:register() end)\n"
		   "sip.on.invite(function(call)\n"
		   "  local ok, res = call:dial(sip.lookup(call.uri))\n"
		   "  if not ok then call:reject(res) end\n"
		   "end)\n");
	m = put(bob, "Contact: <sip:bob@10.0.0.99>\nSupported: path\nPath: <sip:edge@10.0.0.4;lr>, <sip:10.0.0.98;lr>", "200");
	phone_assert_contains(m, "Path", "<sip:edge@10.0.0.4;lr>");
	phone_invite(alice, "sip:bob@example.org", NULL, SDP);
	m = soon(carol, "INVITE"); /* the edge */
	phone_assert(carol, strncmp(m->text, "INVITE sip:bob@10.0.0.99 SIP/2.0", 32) == 0);
	phone_assert(carol, strstr(m->text, "\r\nRoute: <sip:edge@10.0.0.4;lr>") != NULL);
	phone_assert(carol, strstr(m->text, "<sip:10.0.0.98;lr>") != NULL);
	phone_reply(m, 486, NULL, NULL, NULL);
	soon(carol, "ACK");
	phone_ack(soon(alice, "486"), NULL, NULL);
	end();
}

static void mistakes_are_named(void **state)
{
	static const char *const checks[][2] = {
	    {"req:register()", "error: t:1: register: this is a MESSAGE"},
	    {"sip.lookup()", "error: t:1: bad argument #1 to 'lookup' (URI or text expected, got nil)"},
	    {"sip.lookup({})", "error: t:1: bad argument #1 to 'lookup' (URI or text expected, got table)"},
	    {"sip.lookup('a', {expird = true})", "error: t:1: sip.lookup: unknown option 'expird' (did you mean 'expired'?)"},
	    {"sip.bindings(nil)", "error: t:1: bad argument #1 to 'bindings' (URI or text expected, got nil)"},
	    {"sip.unbind('a', 5)", "error: t:1: bad argument #2 to 'unbind' (URI or text expected, got number)"},
	    {"return #sip.lookup('mailto:a@b'), #sip.bindings('urn:service:sos'), sip.unbind('nobody')", "0 | 0 | 0"},
	};

	(void)state;
	begin(EVAL);
	for (unsigned i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		lua_is(checks[i][0], checks[i][1]);
	world_reload(
	    w, PLAN
	    "sip.on.register(function(req)\n"
	    "  local function fails(options)\n"
	    "    local ok, e = pcall(req.register, req, options)\n"
	    "    return e\n"
	    "  end\n"
	    "  req:reply(200, {headers = {['X-E'] = {fails{max = 1}, fails{on_limit = 'x'}, fails{min_expires = -1},\n"
	    "    fails{max_contacts = 1.5}, fails(7)}}})\n"
	    "end)\n");
	struct phone_msg *m = put(bob, NULL, "200");
	phone_assert(bob, strstr(m->text, "X-E: register: unknown option 'max'\r\n"
					  "X-E: register: option 'on_limit': \"reject\" or \"replace\" expected\r\n"
					  "X-E: option 'min_expires': whole number from 0 to 2147483647 expected\r\n"
					  "X-E: option 'max_contacts': whole number from 0 to 1000 expected\r\n"
					  "X-E: bad argument #2 to '?' (table expected, got number)\r\n"));
	end();
}

static const char telling[] =
    PLAN "sip.on.register(function(req) req:register{} end)\n"
	 "sip.on.message(function(req) sip.unbind('bob') sip.log.info('unbound') req:reply(200) end)\n"
	 "sip.on.binding(function(aor, contact, event)\n"
	 "  sip.sleep(0.01)\n"
	 "  sip.log.info('%s: %s %s from %s by %s, %.0f s, %s', aor, contact.uri, event, contact.source.ip, contact.source.transport,\n"
	 "    contact.expires, contact.user_agent or '-')\n"
	 "  if event == 'lost' then sip.log.info('%d left', #sip.bindings(aor)) end\n"
	 "end)\n";

static void what_happens_to_a_binding_is_told(void **state)
{
	(void)state;
	begin(telling);
	put(bob, "Contact: <sip:b1@10.0.0.3>\nExpires: 600\nUser-Agent: desk", "200");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "sip:bob@example.org: sip:b1@10.0.0.3 added from 10.0.0.3 by udp, 600 s, desk");
	put(bob, "Contact: <sip:b1@10.0.0.3>\nExpires: 60", "200");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "b1@10.0.0.3 refreshed from");
	world_advance(w, 61 * SH_SECOND);
	world_expect_log(w, "b1@10.0.0.3 expired from 10.0.0.3 by udp, 0 s");
	put(bob, "Contact: <sip:b2@10.0.0.3>, <sip:b3@10.0.0.3>", "200");
	put(bob, "Contact: <sip:b2@10.0.0.3>;expires=0", "200");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "b2@10.0.0.3 added");
	world_expect_log(w, "b2@10.0.0.3 removed");
	phone_request(bob, "MESSAGE", "sip:x@example.org", NULL, "x"); /* from inside a hook: behind it */
	phone_expect(bob, "200", SH_SECOND);
	world_advance(w, SH_SECOND);
	world_expect_log(w, "unbound");
	world_expect_log(w, "b3@10.0.0.3 removed");
	end();
}

static void a_binding_goes_with_its_connection_and_that_is_told_at_once(void **state)
{
	(void)state;
	begin(telling);
	phone_proxy(bob, SH_PROTO_TCP, "10.0.0.1", 5060);
	put(bob, "Contact: <sip:b1@10.0.0.3;transport=tcp>", "200");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "added from 10.0.0.3 by tcp");
	phone_hang_up_connections(bob);
	world_advance(w, 100 * SH_MS);
	world_expect_log(w, "b1@10.0.0.3;transport=tcp lost from");
	world_expect_log(w, "0 left");
	end();
}

static void a_broken_binding_hook_costs_nothing_but_a_line(void **state)
{
	(void)state;
	begin(PLAN "sip.on.register(function(req) req:register{} end)\nsip.on.binding(function() error 'oops' end)\n");
	put(bob, "Contact: <sip:b1@10.0.0.3>", "200");
	world_advance(w, SH_SECOND);
	world_expect_log(w, "hook binding, call -: dialplan.lua");
	world_forget_log(w);
	end();
}

/* RFC 5393 1: two such Contacts would double a call at each hop until Max-Forwards ends it. */
static void a_contact_that_is_this_server_is_refused(void **state)
{
	static const char *const loops[] = {"sip:b1@10.0.0.1", "sip:b1@10.0.0.1:5060;transport=tcp", "sip:b1@example.org", "sip:b1@EXAMPLE.ORG."};

	(void)state;
	begin(PLAN "sip.on.register(function(req) req:register{} end)\n"
		   "sip.on.invite(function(call) call:reject(404) end)\n");
	for (unsigned i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
		char contact[100];

		snprintf(contact, sizeof(contact), "Contact: <sip:b1@10.0.0.3>, <%s>", loops[i]);
		put(bob, contact, "403");
		snprintf(contact, sizeof(contact), "Contact: <%s>;expires=0", loops[i]);
		put(bob, contact, "200"); /* what is not there can be taken away */
	}
	put(bob, "Contact: <sip:b1@10.0.0.1:5070>, <sip:b1@10.0.0.3>", "200"); /* another program on our host */
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(contacts_are_bound_fetched_and_removed),
	    cmocka_unit_test(what_happens_to_a_binding_is_told),
	    cmocka_unit_test(a_binding_goes_with_its_connection_and_that_is_told_at_once),
	    cmocka_unit_test(a_broken_binding_hook_costs_nothing_but_a_line),
	    cmocka_unit_test(intervals_that_are_too_short_are_a_423),
	    cmocka_unit_test(the_address_of_the_listener_and_the_domain_meet_at_one_aor),
	    cmocka_unit_test(bindings_can_be_seen_and_taken_away),
	    cmocka_unit_test(too_many_contacts_are_refused_or_replace_the_oldest),
	    cmocka_unit_test(another_aor_can_be_named),
	    cmocka_unit_test(a_registration_with_digest),
	    cmocka_unit_test(contacts_behind_tcp_are_called_by_their_connection),
	    cmocka_unit_test(a_contact_that_is_this_server_is_refused),
	    cmocka_unit_test(a_contact_with_a_path_is_called_by_way_of_it),
	    cmocka_unit_test(mistakes_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
