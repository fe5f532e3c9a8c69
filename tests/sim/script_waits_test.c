/* Every verb that may wait, by the runtime's own list: the caller goes while it waits, or all ends. The wait raises the cancel error,
 * <close> variables run, locks are free before the hangup hook, branches are cancelled, and nothing is left: no call, leg,
 * transaction, timer, request to a web server. A verb without a row fails the test. */
#include "script_world.h"

enum how {
	CANCEL,   /* the caller cancels */
	NO_ACK,   /* it has the 200, sends no ACK but a BYE */
	BYE,      /* it is up, and hangs up */
	AUTH,     /* it cancels while its password is looked up */
	PICKUP,   /* it has picked up carol's call, sends no ACK but a BYE */
	WORKERS,  /* it cancels at one moment after the other: the wait is for another worker, and short */
	REQUEST,  /* a request's own hook: nobody can cancel it; it ends by the timers of the protocol */
};

struct row {
	const char *verb, *code;
	enum how how;
};

static const struct row rows[] = {
    {"siphook.sleep", "sip.sleep(30)", CANCEL},
    {"siphook.request", "sip.request{method = 'MESSAGE', uri = 'sip:silent@10.0.0.9', timeout = 30}", CANCEL},
    {"siphook.originate", "sip.originate{first = 'sip:bob@10.0.0.3', timeout = 30}", CANCEL},
    {"siphook.originate", "sip.originate{first = 'sip:bob@10.0.0.3', second = 'sip:silent@10.0.0.9', timeout = 30}", CANCEL},
    {"siphook.calls", "for i = 1, 1000 do sip.calls() sip.sleep(0.00005) end", WORKERS},
    {"siphook.find_call", "for i = 1, 1000 do sip.find_call(call.id) sip.sleep(0.00005) end", WORKERS},
    {"call.fork", "call:fork('sip:bob@10.0.0.3', {timeout = 30})", CANCEL},
    {"call.fork", "call:fork({{'sip:silent@10.0.0.9'}, {'sip:bob@10.0.0.3'}}, {timeout = 30, first_timeout = 1, follow_redirects = 1})", CANCEL},
    {"call.dial", "call:dial('sip:bob@10.0.0.3', {timeout = 30})", CANCEL},
    {"call.dial", "coroutine.wrap(function() return call:dial('sip:bob@10.0.0.3', {timeout = 30}) end)()", CANCEL},
    {"call.relay", "call:relay({'sip:bob@10.0.0.3'}, {timeout = 30})", CANCEL},
    {"call.bridge", "call:bridge(call:fork('sip:answers@10.0.0.3'))", NO_ACK},
    {"call.answer", "call:answer()", NO_ACK},
    {"call.reply", "call:reply(200)", NO_ACK},
    {"call.auth", "call:auth{realm = 'r', password = function() sip.sleep(30) return 'x' end}", AUTH},
    {"call.wait", "call:wait('never', 30)", CANCEL},
    {"call.wait", "call:answer() call:wait('dtmf', 30)", BYE},
    {"call.transfer", "call:dial('sip:answers@10.0.0.3') call:transfer('sip:bob@10.0.0.4', {timeout = 30})", BYE},
    {"call.pickup", "call:pickup(sip.shared('s'):get('other'))", PICKUP},
    {"http.get", "sip.http.get('http://h/', {timeout = 60})", CANCEL},
    {"http.post", "sip.http.post('http://h/', 'x', {timeout = 60})", CANCEL},
    {"http.request", "sip.http.request{url = 'http://h/', timeout = 60}", CANCEL},
    {"shared.lock", "sip.shared('s'):lock('taken', 30)", CANCEL},
    {"snapshot.hangup", "while true do for _, c in ipairs(sip.calls()) do if c.id ~= call.id then c:hangup() end end sip.sleep(0.00005) end", WORKERS},
    {"snapshot.transfer", "while true do for _, c in ipairs(sip.calls()) do if c.id ~= call.id then c:transfer('sip:x@10.0.0.9') end end sip.sleep(0.00005) end", WORKERS},
    {"snapshot.signal", "while true do for _, c in ipairs(sip.calls()) do if c.id ~= call.id then c:signal('s') end end sip.sleep(0.00005) end", WORKERS},
    {"request.pass", "req:pass()", REQUEST},
    {"request.relay", "req:relay({'sip:silent@10.0.0.9'}, {timeout = 5})", REQUEST},
    {"request.auth", "req:auth{realm = 'r', password = function() sip.sleep(5) return 'x' end}", REQUEST},
    {"refer.accept", "req:accept{targets = {'sip:silent@10.0.0.9'}, timeout = 5}", REQUEST},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

/* $ is the code of the row, ` that of a request's own hook. */
static const char hooks[] =
    PLAN "local function closing()\n"
	 "  return setmetatable({}, {__close = function(_, e) sip.log.info('closed: %s', sip.is_cancel(e)) end})\n"
	 "end\n"
	 "sip.on.invite(function(call)\n"
	 "  if call.uri.user == 'other' then sip.shared('s'):set('other', call.id) call:dial('sip:bob@10.0.0.3') return end\n"
	 "  if call.uri.user == 'plain' then call:dial('sip:answers@10.0.0.3') return end\n"
	 "  sip.spawn(function() local l <close> = sip.shared('s'):lock('taken', 0) sip.sleep(40) end)\n"
	 "  sip.sleep(0.001)\n"
	 "  local ok, e = pcall(function()\n"
	 "    local held <close> = assert(sip.shared('s'):lock('held', 0))\n"
	 "    local c <close> = closing()\n"
	 "    local req = call\n"
	 "    $\n"
	 "  end)\n"
	 "  sip.log.info('ended: %s', not ok and (sip.is_cancel(e) and 'cancel' or e))\n"
	 "  if not ok then error(e, 0) end\n"
	 "end)\n"
	 "local function ask(req)\n"
	 "  local c <close> = closing()\n"
	 "  local result = `\n"
	 "  sip.log.info('answered: %s', result)\n"
	 "end\n"
	 "sip.on.info(ask) sip.on.message(ask) sip.on.refer(ask)\n"
	 "sip.on.hangup(function(call, why)\n"
	 "  if call.uri.user ~= 'bob' then return end\n"
	 "  sip.log.info('hangup by %s, free: %s', why.by, sip.shared('s'):lock('held', 0) ~= nil)\n"
	 "end)\n";

static void write_plan(char *out, size_t size, const struct row *r)
{
	size_t n = 0;

	for (const char *p = hooks; *p && n + 1 < size; p++) {
		const char *code = r->how == REQUEST ? "" : r->code;

		if (*p == '`')
			code = r->how == REQUEST ? r->code : "nil";
		n += *p == '$' || *p == '`' ? (size_t)snprintf(out + n, size - n, "%s", code)
					   : (size_t)snprintf(out + n, size - n, "%c", *p);
	}
	assert_true(n < size);
}

static void never_answer(const struct sh_http_request *rq, struct sh_sim_http_reply *reply, void *ctx)
{
	(void)rq;
	(void)ctx;
	reply->delay = SH_NEVER;
}

/* bob and carol ring for ever; "answers" answers; what is cancelled ends, what is hung up too. */
static void ring(struct phone_msg *m, void *ctx)
{
	struct phone *p = ctx;
	struct sh_slice uri;

	if (!m->m.is_request || m->m.method == SH_ACK)
		return;
	uri = sh_msg_text(&m->m, m->m.uri);
	if (m->m.method == SH_INVITE && (sh_slice_starts(uri, SH_LIT("sip:answers")) || m->m.to_tag.len)) {
		phone_reply(m, 200, NULL, NULL, SDP);
	} else if (m->m.method == SH_INVITE) {
		phone_reply(m, 180, NULL, NULL, NULL);
	} else if (m->m.method == SH_CANCEL) {
		phone_reply(m, 200, NULL, NULL, NULL);
		SH_LIST_EACH(l, &p->log)
		{
			struct phone_msg *i = SH_CONTAINER(l, struct phone_msg, link);

			if (!i->sent && i->code == 0 && i->m.is_request && i->m.method == SH_INVITE && i->call == m->call)
				phone_reply(i, 487, NULL, NULL, NULL);
		}
	} else if (m->m.method != SH_INFO) {
		phone_reply(m, 200, NULL, NULL, NULL);
	}
}

static void begin_row(const struct row *r)
{
	struct world_options o = {.workers = r->how == WORKERS ? 3 : 1, .verbose = getenv("VERBOSE") != NULL};
	char plan[4000];

	write_plan(plan, sizeof(plan), r);
	if (o.verbose)
		print_message("%s\n", r->code);
	w = world_create(&o, plan);
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	carol = world_phone(w, "carol", "10.0.0.4");
	world_phone(w, "silent", "10.0.0.9");
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
	bob->on_message = carol->on_message = ring;
	bob->ctx = bob;
	carol->ctx = carol;
	sh_sim_set_http(w->sim, never_answer, NULL);
}

static void forget(struct phone *p)
{
	SH_LIST_EACH(l, &p->log)
	SH_CONTAINER(l, struct phone_msg, link)->consumed = true;
}

/* The row's wait has begun. */
static struct phone_call *reach_wait(const struct row *r)
{
	struct phone_call *c;

	switch (r->how) {
	case AUTH:
		phone_login(alice, "alice", "x");
		c = dial("sip:bob@example.org");
		/* the first has no credentials, and is challenged */
		phone_authorize(phone_expect_in(c, "407", SH_SECOND));
		world_advance(w, SH_SECOND);
		return c;
	case PICKUP:
		phone_invite(carol, "sip:other@example.org", NULL, SDP);
		world_advance(w, SH_SECOND);
		c = dial("sip:bob@example.org");
		phone_expect_in(c, "200 INVITE", SH_SECOND);
		return c;
	case NO_ACK:
		c = dial("sip:bob@example.org");
		phone_expect_in(c, "200 INVITE", 2 * SH_SECOND);
		return c;
	case BYE:
		c = dial("sip:bob@example.org");
		phone_ack(phone_expect_in(c, "200 INVITE", 2 * SH_SECOND), NULL, NULL);
		world_advance(w, SH_SECOND);
		return c;
	case REQUEST:
		c = dial("sip:plain@example.org");
		phone_ack(phone_expect_in(c, "200 INVITE", 2 * SH_SECOND), NULL, NULL);
		world_advance(w, SH_SECOND);
		phone_in_call(c, strstr(r->code, "accept") ? "REFER" : strstr(r->code, "pass") ? "INFO" : "MESSAGE",
			      strstr(r->code, "accept") ? "Refer-To: <sip:silent@10.0.0.9>" : NULL, NULL);
		world_advance(w, SH_SECOND);
		return c;
	default:
		c = dial("sip:bob@example.org");
		world_advance(w, 2 * SH_SECOND);
		return c;
	}
}

static void go(struct phone_call *c, enum how how)
{
	if (how == CANCEL || how == AUTH || how == WORKERS) {
		phone_cancel(c, NULL);
		phone_expect_in(c, "200 CANCEL", SH_SECOND);
		refused(c, "487");
		return;
	}
	phone_bye(c);
	phone_expect_in(c, "200 BYE", SH_SECOND);
}

static void clean(void)
{
	world_settle(w, 300 * SH_SECOND);
	forget(alice);
	forget(bob);
	forget(carol);
	end();
}

static void the_caller_goes_while_it_waits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROWS; i++) {
		struct phone_call *c;

		if (rows[i].how == REQUEST || rows[i].how == WORKERS)
			continue;
		begin_row(&rows[i]);
		c = reach_wait(&rows[i]);
		go(c, rows[i].how);
		world_advance(w, SH_SECOND);
		world_expect_log(w, "closed: true");
		world_expect_log(w, "ended: cancel");
		world_expect_log(w, "hangup by caller, free: true");
		clean();
	}
}

static void the_caller_goes_while_another_worker_is_asked(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROWS; i++) {
		for (unsigned k = 0; k < 24 && rows[i].how == WORKERS; k++) {
			struct phone_call *c;

			begin_row(&rows[i]);
			phone_invite(carol, "sip:plain@example.org", NULL, SDP);
			c = dial("sip:bob@example.org");
			world_advance(w, 10 * SH_MS + 11 * k);
			go(c, WORKERS);
			world_advance(w, SH_SECOND);
			world_expect_log(w, "closed: true");
			world_expect_log(w, "ended: cancel");
			w->forgiving = true;
			world_abandon(w);
		}
	}
}

static void what_nobody_can_cancel_ends_by_itself(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROWS; i++) {
		struct phone_call *c;

		if (rows[i].how != REQUEST)
			continue;
		begin_row(&rows[i]);
		c = reach_wait(&rows[i]);
		go(c, BYE); /* the call ends, the request's hook has an end of its own */
		world_advance(w, 100 * SH_SECOND);
		world_expect_log(w, "answered: ");
		world_expect_log(w, "closed: false");
		clean();
	}
}

static void all_ends_while_it_waits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ROWS; i++) {
		begin_row(&rows[i]);
		reach_wait(&rows[i]);
		w->forgiving = true;
		world_abandon(w);
	}
}

static void look_for_row(void *ctx, const char *owner, const char *name, enum sh_script_name kind)
{
	static const char *const of_requests[] = {"refer", "sub"};
	unsigned *missing = ctx;
	char verb[100];

	if (kind != SH_NAME_WAITS)
		return;
	for (unsigned k = 0; k < 2; k++)
		if (strcmp(owner, of_requests[k]) == 0 && strcmp(name, "accept") != 0)
			owner = "request";
	snprintf(verb, sizeof(verb), "%s.%s", owner, name);
	for (unsigned i = 0; i < ROWS; i++)
		if (strcmp(rows[i].verb, verb) == 0)
			return;
	print_error("%s may wait, and has no row\n", verb);
	++*missing;
}

static void every_verb_that_waits_has_a_row(void **state)
{
	unsigned missing = 0;

	(void)state;
	w = world_create(NULL, PLAN);
	assert_int_equal(sh_generation_names(sh_script_current(w->script), look_for_row, &missing), 0);
	assert_int_equal(missing, 0);
	world_destroy(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_verb_that_waits_has_a_row),
	    cmocka_unit_test(the_caller_goes_while_it_waits),
	    cmocka_unit_test(the_caller_goes_while_another_worker_is_asked),
	    cmocka_unit_test(what_nobody_can_cancel_ends_by_itself),
	    cmocka_unit_test(all_ends_while_it_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
