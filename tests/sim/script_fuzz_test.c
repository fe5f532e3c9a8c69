/* Random dial plans, made of the verbs of the API with waits between any two, while phones ring, answer, refuse, cancel and hang
 * up at random and the script is reloaded and rolled back. What must hold: no crash, nothing is left of any call, and each
 * INVITE gets a final answer.
 *
 * FUZZ_SECONDS: how long (default 2); FUZZ_SEED: the first seed; a failure tells its own. */
#include "script_world.h"

#include <time.h>

#include "core/random.h"

enum { CALLS = 12, STEPS = 120, PENDING = 32 };

static struct sh_random dice;
static uint64_t seed;

static unsigned roll(unsigned n)
{
	return (unsigned)sh_random_below(&dice, n);
}

static bool chance(unsigned percent)
{
	return roll(100) < percent;
}

/* ---- scripts ---- */

static const char *const statements[] = {
    "sip.sleep(T)",
    "sip.sleep(0)",
    "call:ring()",
    "call:ring(183, {headers = {X = 'y'}})",
    "leg = call:fork('sip:bob@10.0.0.3', {timeout = T})",
    "leg = call:fork({{'sip:bob@10.0.0.3', 'sip:carol@10.0.0.4'}, 'sip:bob@10.0.0.3'}, {timeout = T, first_timeout = T})",
    "leg = call:fork({'sip:bob@10.0.0.3', {uri = 'sip:carol@10.0.0.4', delay = T}}, {follow_redirects = 1})",
    "if leg then call:bridge(leg) end",
    "if leg then leg:hangup() end",
    "call:dial('sip:bob@10.0.0.3', {timeout = T})",
    "call:dial('sip:nobody@10.0.0.99', {timeout = T, first_timeout = 0.1})",
    "call:reject(486)",
    "call:redirect('sip:bob@10.0.0.3')",
    "call:hangup()",
    "call:hangup{q850 = 17}",
    "call:after(T, 'later')",
    "call:pin()",
    "sip.spawn(function(c) sip.sleep(T) c:hangup() end, call)",
    "sip.spawn(function(c) leg = c:fork('sip:carol@10.0.0.4', {timeout = T}) end, call)",
    "sip.http.get('http://h/', {timeout = T + 0.01})",
    "local lock <close> = store:lock('k', T)",
    "store:lock('j', 0)",
    "store:incr 'n'",
    "store:push('l', call.id)",
    "sip.calls()",
    "sip.find_call(call.id)",
    "for _, c in ipairs(sip.calls()) do c:hangup() break end",
    "call:answer()",
    "call:wait('info', T)",
    "call:wait('x', T)",
    "call:signal('x', {1})",
    "for _, c in ipairs(sip.calls()) do c:signal('x') end",
    "if store:incr('laps', 1) < 100 then call:continue 'later' end", /* a plan may go in circles, but not for ever */
    "call:limit('k', 2)",
    "call:transfer('sip:carol@10.0.0.4', {timeout = T})",
    "call.data.x = (call.data.x or 0) + 1",
    "coroutine.wrap(function() sip.sleep(T) coroutine.yield() end)()",
    "sip.request{method = 'MESSAGE', uri = 'sip:bob@10.0.0.3', timeout = T + 0.1}",
    "error 'on purpose'",
    "for i = 1, 250000 do end",
    "local v <close> = setmetatable({}, {__close = function() pcall(sip.sleep, T) end})",
    "sip.after(T, function() call:hangup() end)",
    "sip.after(T, 'named', {1, 'two'})",
    "sip.metric('m', 1)",
    "sip.json.decode(sip.json.encode{call.id})",
    "local ok, e = pcall(call.dial, call, 'sip:bob@10.0.0.3') if not ok and not sip.is_cancel(e) then error(e, 0) end",
    "call:challenge{realm = 'r'}",
    "return",
    "sip.originate{first = 'sip:bob@10.0.0.3', second = 'sip:carol@10.0.0.4', timeout = T + 0.1}",
};
/* Hooks that calls of our own have too do not make more of them: that would never end. */
enum { ALL = sizeof(statements) / sizeof(statements[0]), WITHOUT_CALLS = ALL - 1 };

static const char *const requests[] = {
    "req:reply(200)", "req:pass()",        "req:relay('sip:bob@10.0.0.3', {timeout = 1})", "sip.sleep(T)", "req:dtmf()",
    "error 'why'",    "req:reply(488)",    "if req.call then req.call:hangup() end",       "return",
    "store:incr 'r'", "sip.lookup(req.to)", "req:headers 'Via'",
};

struct text {
	char base[32768];
	size_t len;
};

static void put(struct text *t, const char *s)
{
	for (; *s && t->len + 16 < sizeof(t->base); s++) {
		if (*s == 'T' && (s[1] == ')' || s[1] == '}' || s[1] == ' ' || s[1] == ','))
			t->len += (size_t)snprintf(t->base + t->len, 16, "%.2f", (double)roll(300) / 100);
		else
			t->base[t->len++] = *s;
	}
	t->base[t->len] = '\0';
}

static void put_block(struct text *t, const char *const *from, unsigned n)
{
	for (unsigned i = roll(8) + 1; i > 0; i--) {
		const char *s = from[roll(n)];
		bool guarded = chance(50) && strncmp(s, "local ", 6) != 0;

		put(t, chance(10) ? "  do local any <close> = setmetatable({}, {__close = function() end}) " : "  do ");
		put(t, guarded ? "pcall(function() " : "");
		put(t, s);
		put(t, guarded ? " end) end\n" : " end\n");
	}
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void make_script(struct text *t)
{
	static const char *const hooks[] = {"message", "info", "reinvite", "update", "options", "notify"};

	t->len = 0;
	put(t, "local sip = require 'siphook'\nsip.domains{'example.org'}\nlocal store = sip.shared 'fuzz'\nlocal leg\n");
	put(t, "sip.timer.later = function(call)\n");
	put_block(t, statements, WITHOUT_CALLS);
	put(t, "end\nsip.timer.named = function(data) sip.sleep(T) end\n");
	put(t, "sip.on.invite(function(call)\n  local leg\n");
	put_block(t, statements, ALL);
	put_block(t, statements, ALL);
	put(t, "end)\n");
	for (unsigned i = 0; i < COUNT(hooks); i++) {
		if (!chance(40))
			continue;
		put(t, "sip.on.");
		put(t, hooks[i]);
		put(t, "(function(req)\n");
		put_block(t, requests, COUNT(requests));
		put(t, "end)\n");
	}
	if (chance(50)) {
		put(t, "sip.on.answer(function(call)\n  local leg\n");
		put_block(t, statements, WITHOUT_CALLS);
		put(t, "end)\n");
	}
	if (chance(50)) {
		put(t, "sip.on.hangup(function(call, why)\n  local leg\n");
		put_block(t, statements, WITHOUT_CALLS);
		put(t, "end)\n");
	}
	if (chance(30))
		put(t, "sip.timer.retired = function(call) call:reject(480) end\n");
	if (chance(30))
		put(t, "sip.every(0.7, function() sip.calls() sip.sleep(0.1) end)\n");
	if (chance(30))
		put(t, "sip.on.unload(function() sip.sleep(T) end)\n");
}

/* ---- phones ---- */

/* INVITEs of the called phones that have no final answer yet. */
static struct phone_msg *pending[PENDING];
static unsigned npending;

static void forget_pending(const struct phone_call *c)
{
	for (unsigned i = 0; i < npending;) {
		if (pending[i]->call == c)
			pending[i] = pending[--npending];
		else
			i++;
	}
}

static void answer_pending(unsigned i)
{
	static const unsigned codes[] = {180, 183, 200, 200, 200, 486, 603, 302, 404};
	unsigned code = codes[roll(COUNT(codes))];
	struct phone_msg *m = pending[i];

	if (code >= 200)
		pending[i] = pending[--npending];
	phone_reply(m, code, NULL, code == 302 ? "Contact: <sip:carol@10.0.0.4>" : NULL, code < 300 && code != 180 ? SDP : NULL);
}

static void on_called(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (!m->m.is_request || m->m.method == SH_ACK)
		return;
	switch (m->m.method) {
	case SH_INVITE:
		if (npending == PENDING || (m->call && m->call->confirmed)) { /* a re-INVITE is answered at once */
			phone_reply(m, chance(80) ? 200 : 488, NULL, NULL, SDP);
			return;
		}
		pending[npending++] = m;
		if (chance(70))
			answer_pending(npending - 1);
		break;
	case SH_CANCEL:
		phone_reply(m, 200, NULL, NULL, NULL);
		for (unsigned i = 0; i < npending; i++) {
			if (pending[i]->call == m->call) {
				phone_reply(pending[i], 487, NULL, NULL, NULL);
				forget_pending(m->call);
				break;
			}
		}
		break;
	default:
		phone_reply(m, chance(90) ? 200 : 481, NULL, NULL, NULL);
	}
}

/* The caller: what became of its INVITEs. */
static struct phone_call *calls[CALLS];
static bool final[CALLS], confirmed[CALLS], over[CALLS];
static unsigned ncalls;

static void on_caller(struct phone_msg *m, void *ctx)
{
	(void)ctx;
	if (m->m.is_request) {
		if (m->m.method != SH_ACK)
			phone_reply(m, 200, NULL, NULL, m->m.method == SH_INVITE ? SDP : NULL);
		for (unsigned i = 0; i < ncalls && m->m.method == SH_BYE; i++)
			over[i] = over[i] || m->call == calls[i];
		return;
	}
	if (m->m.status < 200 || !sh_slice_eq(sh_msg_text(&m->m, m->m.cseq_method), SH_LIT("INVITE")))
		return;
	for (unsigned i = 0; i < ncalls; i++) {
		if (m->call != calls[i])
			continue;
		final[i] = true;
		confirmed[i] = confirmed[i] || m->m.status < 300;
		phone_ack(m, NULL, NULL);
		if (m->m.status == 401 || m->m.status == 407)
			over[i] = true;
	}
}

static void act(void)
{
	unsigned i = ncalls ? roll(ncalls) : 0;

	switch (roll(8)) {
	case 0:
	case 1:
		if (ncalls < CALLS) {
			final[ncalls] = confirmed[ncalls] = over[ncalls] = false;
			calls[ncalls] = phone_invite(alice, chance(80) ? "sip:x@example.org" : "sip:bob@10.0.0.1", NULL, SDP);
			ncalls++;
		}
		break;
	case 2:
		if (ncalls && !final[i])
			phone_cancel(calls[i], NULL);
		break;
	case 3:
		if (ncalls && confirmed[i] && !over[i]) {
			phone_bye(calls[i]);
			over[i] = true;
		}
		break;
	case 4:
		if (ncalls && confirmed[i] && !over[i])
			phone_in_call(calls[i], "INFO", "Content-Type: application/dtmf", "5");
		break;
	case 5:
		if (npending)
			answer_pending(roll(npending));
		break;
	case 6:
		phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, "text");
		break;
	default:
		break;
	}
}

static void serve(const struct sh_http_request *rq, struct sh_sim_http_reply *reply, void *ctx)
{
	(void)rq;
	(void)ctx;
	reply->delay = roll(3) * SH_SECOND;
	reply->body = SH_LIT("{}");
}

/* ---- a life ---- */

static void live(void)
{
	static struct text script;
	struct world_options o = {.workers = roll(3) + 1};
	char error[512];

	make_script(&script);
	o.sim.seed = seed + 1;
	o.sim.delay_min = SH_MS;
	o.sim.delay_max = chance(50) ? SH_MS : 30 * SH_MS;
	w = world_create(&o, script.base);
	w->forgiving = true;
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	carol = world_phone(w, "carol", "10.0.0.4");
	npending = ncalls = 0;
	alice->on_message = on_caller;
	bob->on_message = carol->on_message = on_called;
	phone_auto(alice, PHONE_ROBUST);
	phone_auto(bob, PHONE_ROBUST);
	phone_auto(carol, PHONE_ROBUST);
	sh_sim_set_http(w->sim, serve, NULL);
	for (unsigned i = 0; i < STEPS; i++) {
		act();
		if (chance(8) && sh_script_alive(w->script) < 4) {
			make_script(&script);
			if (world_try_reload(w, script.base, error, sizeof(error)) < 0)
				fail_msg("seed %llu: %s\n%s", (unsigned long long)seed, error, script.base);
		} else if (chance(2) && sh_script_alive(w->script) < 4) {
			world_rollback(w, error, sizeof(error));
		}
		world_advance(w, chance(30) ? roll(3) * SH_MS : roll(400) * SH_MS);
		world_forget_log(w);
	}
	for (unsigned i = 0; i < ncalls; i++)
		if (confirmed[i] && !over[i])
			phone_bye(calls[i]);
	/* the generations that nobody's wait ends by itself */
	for (unsigned i = 0; i < 60; i++) {
		while (npending)
			answer_pending(npending - 1);
		world_advance(w, 10 * SH_SECOND);
		world_forget_log(w);
		for (unsigned k = 0; k < ncalls; k++) {
			if (confirmed[k] && !over[k]) {
				over[k] = true;
				phone_bye(calls[k]);
			}
		}
	}
	for (unsigned i = 0; i < w->workers; i++)
		sh_ua_drain(w->ua[i], 0); /* calls that scripts have begun between two phones that never hang up */
	for (unsigned i = 0; i < ncalls; i++)
		if (!final[i])
			phone_fail(w->sim, __FILE__, __LINE__, "seed %llu: INVITE %u has no final answer\n%s", (unsigned long long)seed,
				   i, script.base);
	world_destroy(w);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void random_dial_plans_leave_nothing_and_nobody_without_an_answer(void **state)
{
	static const uint64_t known[] = {42, 125, 1381, 1795746490, 1795791532, 1795792997}; /* once they found something */
	double limit = getenv("FUZZ_SECONDS") ? atof(getenv("FUZZ_SECONDS")) : 2, begin_at = seconds();
	unsigned lives = 0;

	(void)state;
	for (unsigned i = 0; i < COUNT(known); i++) {
		seed = known[i];
		sh_random_init_seed(&dice, seed);
		live();
	}
	for (seed = getenv("FUZZ_SEED") ? strtoull(getenv("FUZZ_SEED"), NULL, 10) : 1; seconds() - begin_at < limit; seed++) {
		sh_random_init_seed(&dice, seed);
		if (getenv("FUZZ_VERBOSE"))
			print_message("seed %llu\n", (unsigned long long)seed);
		live();
		lives++;
	}
	print_message("%u dial plans, last seed %llu\n", lives, (unsigned long long)seed - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(random_dial_plans_leave_nothing_and_nobody_without_an_answer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
