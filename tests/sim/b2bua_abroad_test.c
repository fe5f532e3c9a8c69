/* Processes that hand over to each other: whose a message is, is asked before anything else; what is somebody else's leaves no trace. */
#include "b2bua_habits.h"

enum { EPOCH = 77, SEEN = 64 };

static struct habits ha, hb;
static _Atomic unsigned peers;
static const _Atomic unsigned *const peers_address = &peers;

static struct seen {
	unsigned method, status;
	int epoch;
	uint64_t key;
} seen[SEEN];
static unsigned nseen;
static bool takes; /* all requests outside of dialogs */

static bool on_message(void *ctx, const struct sh_msg *m, const struct sh_path *from, int epoch, uint64_t key)
{
	(void)ctx;
	(void)from;
	assert_true(nseen < SEEN);
	seen[nseen++] = (struct seen){m->method, m->status, epoch, key};
	return takes && key;
}

static void on_unreachable(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error, unsigned epoch)
{
	(void)ctx;
	(void)remote;
	(void)branch;
	(void)error;
	(void)epoch;
}

static struct {
	size_t len;
	char text[2048];
} told; /* the last record */

static void on_event(void *ctx, const char *record, size_t len)
{
	(void)ctx;
	assert_true(len <= sizeof(told.text));
	memcpy(told.text, record, len);
	told.len = len;
}

static struct sh_ua_abroad abroad;

static void stage(const char *plan)
{
	struct world_options o = {.workers = 2, .sim = {.delay_min = 500, .delay_max = 3000}};

	begin_with(&o, plan);
	abroad = (struct sh_ua_abroad){peers_address, on_unreachable, on_message, on_event, NULL};
	for (unsigned i = 0; i < w->workers; i++) {
		sh_ua_env(w->ua[i])->epoch = EPOCH;
		sh_ua_set_abroad(w->ua[i], &abroad);
	}
	ha = (struct habits){.sdp = SDP_A};
	hb = (struct habits){.ring = true, .answer = true, .sdp = SDP_B};
	take_up(alice, &ha);
	take_up(bob, &hb);
	nseen = 0;
	takes = false;
	peers = 1;
}

static const struct seen *first(unsigned method, unsigned status)
{
	for (unsigned i = 0; i < nseen; i++)
		if (seen[i].method == method && seen[i].status == status)
			return &seen[i];
	return NULL;
}

static void each_message_says_whose_it_is(void **state)
{
	struct phone_call *a;

	(void)state;
	stage(PLAN_BOB);
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	assert_true(a->confirmed);
	phone_bye(a);
	world_advance(w, SH_SECOND);
	assert_int_equal(first(SH_INVITE, 0)->epoch, -1);
	assert_true(first(SH_INVITE, 0)->key != 0);
	assert_int_equal(first(SH_INVITE, 180)->epoch, EPOCH); /* by our branch */
	assert_int_equal(first(SH_INVITE, 200)->epoch, EPOCH);
	assert_int_equal(first(SH_ACK, 0)->epoch, EPOCH); /* by our tag */
	assert_int_equal(first(SH_BYE, 0)->epoch, EPOCH);
	assert_int_equal(first(SH_BYE, 0)->key, 0);
	finale(true);
}

static void a_cancel_and_a_repetition_have_the_number_of_their_request(void **state)
{
	struct phone_call *a;
	unsigned invites = 0;

	(void)state;
	stage(PLAN_BOB);
	takes = true;
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, 2 * SH_SECOND);
	for (unsigned i = 0; i < nseen; i++) {
		invites += seen[i].method == SH_INVITE;
		assert_true(seen[i].key == seen[0].key);
	}
	assert_true(invites > 1); /* nobody has answered: it is repeated */
	assert_false(a->confirmed);
	assert_int_equal(sh_ua_stats(w->ua[0])->calls + sh_ua_stats(w->ua[1])->calls, 0);
	world_advance(w, 60 * SH_SECOND); /* she gives up */
	world_destroy(w);
}

static void without_another_process_nobody_is_asked(void **state)
{
	struct phone_call *a;

	(void)state;
	stage(PLAN_BOB);
	peers = 0;
	a = phone_invite(alice, "sip:bob@example.org", NULL, SDP_A);
	world_advance(w, SH_SECOND);
	assert_true(a->confirmed);
	assert_int_equal(nseen, 0);
	phone_bye(a);
	world_advance(w, SH_SECOND);
	finale(true);
}

static uint64_t sent_on, closed;

static int on_send(void *ctx, uint64_t flow, struct sh_slice text)
{
	(void)ctx;
	assert_int_equal(text.len, 5);
	sent_on = flow;
	return 0;
}

static void on_close(void *ctx, uint64_t flow)
{
	(void)ctx;
	closed = flow;
}

static bool is_there;

static bool on_alive(void *ctx, uint64_t flow)
{
	(void)ctx;
	(void)flow;
	return is_there;
}

static void a_connection_of_another_process_is_used_through_it(void **state)
{
	static const struct sh_transport_abroad other = {on_send, on_close, on_alive, NULL};
	struct sh_path path = {.proto = SH_PROTO_TCP, .flow = (uint64_t)(SH_FLOW_ABROAD + 3) << 56 | 9};
	struct sh_transport *t;
	uint64_t used = 0;

	(void)state;
	stage(PLAN_BOB);
	t = sh_ua_transport(w->ua[0]);
	assert_int_equal(sh_transport_send(t, &path, SH_LIT("hello"), &used), -EPIPE);
	assert_false(sh_transport_flow_alive(t, path.flow));
	sh_transport_set_abroad(t, &other);
	assert_false(sh_transport_flow_alive(t, path.flow)); /* then another way is looked for */
	is_there = true;
	assert_true(sh_transport_flow_alive(t, path.flow));
	assert_int_equal(sh_transport_send(t, &path, SH_LIT("hello"), &used), 0);
	assert_true(used == path.flow && sent_on == path.flow);
	sh_transport_flow_close(t, path.flow);
	assert_true(closed == path.flow);
	sh_transport_flow_gone(t, path.flow);
	finale(true);
}

/* A record is what another process takes for its own; cut off or longer than it says it is nothing. */
static void what_a_script_says_of_an_event_is_told_and_understood(void **state)
{
	char record[sizeof(told.text)];
	bool notified = false;
	size_t len;

	(void)state;
	stage("local sip = require 'siphook'\nsip.domains{'example.org'}\n"
	      "sip.on.subscribe(function(sub) sub:accept{} end)\n"
	      "sip.on.message(function(req) sip.notify('x-lamp', 'sip:bob@example.org', 'text/plain', req.body) req:reply(200) end)\n");
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "shines");
	world_advance(w, SH_SECOND);
	assert_true(told.len > 6 && memcmp(told.text + told.len - 6, "shines", 6) == 0);
	len = told.len;
	memcpy(record, told.text, len);
	phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/plain", "dark");
	world_advance(w, SH_SECOND);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(sh_ua_put_event(w->ua[0], record, cut), -EBADMSG);
	for (unsigned i = 0; i < w->workers; i++)
		assert_int_equal(sh_ua_put_event(w->ua[i], record, len), 0);
	phone_request(alice, "SUBSCRIBE", "sip:bob@example.org", "Event: x-lamp\nContact: <sip:alice@10.0.0.2>", NULL);
	world_advance(w, SH_SECOND);
	SH_LIST_EACH (l, &alice->log) {
		struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		notified = notified || (m->m.method == SH_NOTIFY && strcmp(phone_body(m), "shines") == 0);
	}
	assert_true(notified);
	peers = 0;
	finale(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_script_says_of_an_event_is_told_and_understood),
	    cmocka_unit_test(each_message_says_whose_it_is),
	    cmocka_unit_test(a_cancel_and_a_repetition_have_the_number_of_their_request),
	    cmocka_unit_test(without_another_process_nobody_is_asked),
	    cmocka_unit_test(a_connection_of_another_process_is_used_through_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
