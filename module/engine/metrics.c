/* The counters of an instance in one table: members of the status, and lines for Prometheus. */
#include "engine/impl.h"
#include "core/json.h"
#include "script/metric.h"

struct sums {
	struct sh_ua_stats ua;
	struct sh_txn_stats txn;
	struct sh_transport_stats transport;
	struct sh_net_stats net; /* nothing in a simulation */
	uint64_t runs, transactions, longest_turn, longest_turn_used, broken;
	uint64_t generation, generations_alive, reloads, reload_failures, workers, registrations;
	struct sh_script_stats script;
};

/* X(member of struct sums, key of the status, name for Prometheus, type, what it counts) */
#define METRICS(X)                                                                                                       \
	X(generation, "generation", "script_generation", "gauge", "number of the dial plan that is used")                \
	X(generations_alive, "generations_alive", "script_generations", "gauge", "dial plans that are in memory")        \
	X(reloads, "reloads", "script_reloads_total", "counter", "reloads that were asked for")                          \
	X(reload_failures, "reload_failures", "script_reload_failures_total", "counter", "reloads that were refused")    \
	X(workers, "workers", "workers", "gauge", "worker threads")                                                      \
	X(ua.calls_live, "calls", "calls", "gauge", "calls in any state")                                                \
	X(ua.calls, "calls_total", "calls_total", "counter", "calls since the start")                                    \
	X(ua.answered, "calls_answered", "calls_answered_total", "counter", "calls that were answered")                  \
	X(ua.failed, "calls_failed", "calls_failed_total", "counter", "calls that were not")                             \
	X(ua.legs_live, "legs", "legs", "gauge", "dialogs of calls")                                                     \
	X(runs, "hooks_running", "hooks_running", "gauge", "hooks that wait for something")                              \
	X(script.errors, "hook_errors", "hook_errors_total", "counter", "hooks that an error has ended")                 \
	X(script.too_long, "hooks_too_long", "hooks_too_long_total", "counter", "hooks ended: too many instructions")    \
	X(script.memory, "hooks_out_of_memory", "hooks_out_of_memory_total", "counter", "hooks ended: no memory left")   \
	X(script.refused_hooks, "hooks_refused", "hooks_refused_total", "counter", "hooks not begun: too many")          \
	X(script.refused_timers, "timers_refused", "timers_refused_total", "counter", "timers not set: too many")        \
	X(script.pauses, "hook_pauses", "hook_pauses_total", "counter", "hooks that others were let in front of")        \
	X(script.retired, "hooks_retired", "hooks_retired_total", "counter", "hooks of a former dial plan told to go")   \
	X(script.outputs, "outputs_too_long", "outputs_too_long_total", "counter", "messages and fields of scripts over 64 kB") \
	X(script.vm.values, "values_too_large", "values_too_large_total", "counter", "call.data and data of timers over 64 kB") \
	X(script.vm.patterns, "patterns_too_costly", "patterns_too_costly_total", "counter", "patterns that took too many steps") \
	X(script.vm.lines_cut, "log_lines_cut", "log_lines_cut_total", "counter", "lines of scripts over 1,000 bytes")    \
	X(ua.requests, "requests_total", "requests_total", "counter", "requests outside of calls")                       \
	X(registrations, "registrations", "registrations", "gauge", "contacts that are bound")                           \
	X(transport.connections, "connections", "connections", "gauge", "stream connections")                            \
	X(transport.messages_in, "messages_in", "messages_received_total", "counter", "SIP messages that came")          \
	X(transport.messages_out, "messages_out", "messages_sent_total", "counter", "SIP messages that left")            \
	X(transport.malformed, "malformed", "messages_malformed_total", "counter", "messages that could not be read")    \
	X(transport.refused_limit, "refused", "connections_refused_total", "counter", "connections over a limit")        \
	X(transport.refused_acl, "refused_by_acl", "refused_by_acl_total", "counter", "messages and connections of sip.acl's deny") \
	X(transport.refused_rate, "refused_by_rate", "refused_by_rate_total", "counter", "requests over the rate of their source") \
	X(transport.refused_banned, "refused_while_banned", "refused_while_banned_total", "counter", "what a banned source sent") \
	X(transport.bans, "bans", "bans_total", "counter", "sources shut out for wrong passwords")                          \
	X(transport.slow, "slow_senders", "slow_senders_total", "counter", "connections that did not finish a message")     \
	X(transport.keepalives, "keepalives", "keepalives_received_total", "counter", "CRLF CRLF, STUN and the like of phones") \
	X(transport.handshakes, "tls_handshakes", "tls_handshakes_total", "counter", "TLS handshakes that went well, of either side") \
	X(transport.handshakes_resumed, "tls_handshakes_resumed", "tls_handshakes_resumed_total", "counter", "of these, sessions resumed") \
	X(transport.upgrades, "ws_upgrades", "websocket_upgrades_total", "counter", "WebSockets that were opened")           \
	X(transport.upgrades_refused, "ws_upgrades_refused", "websocket_upgrades_refused_total", "counter", "handshakes for one that were refused") \
	X(transport.quiet, "quiet_peers", "quiet_peers_total", "counter", "flows without keep-alive or answer to a ping") \
	X(transport.dns_queries, "dns_queries", "dns_queries_total", "counter", "questions to name servers")                \
	X(txn.retransmissions_in, "retransmissions_in", "retransmissions_received_total", "counter", "repeats that came") \
	X(txn.retransmissions_out, "retransmissions_out", "retransmissions_sent_total", "counter", "repeats that left")  \
	X(transactions, "transactions", "transactions", "gauge", "transactions, lingering ones included")                \
	X(txn.overload, "overload_refused", "overload_refused_total", "counter", "new requests refused for overload")    \
	X(broken, "invariants_broken", "invariants_broken_total", "counter", "mistakes of siphook itself that ended a call at most") \
	X(net.turns, "turns", "loop_turns_total", "counter", "times that a worker looked for what there is to do")        \
	X(net.gathered, "turns_gathered", "loop_turns_gathered_total", "counter", "of these, after a wait for more")     \
	X(net.datagrams_lost, "datagrams_lost", "datagrams_lost_total", "counter", "datagrams of ours that could not leave") \
	X(ua.handed_over, "handed_over", "handed_over_total", "counter", "messages that came to another worker than theirs") \
	X(longest_turn, "longest_turn_us", "longest_turn_microseconds", "gauge", "longest turn of a loop in the last minute") \
	X(longest_turn_used, "longest_turn_cpu_us", "longest_turn_cpu_microseconds", "gauge", "the same in processor time of the thread")

/* The same with a label; only the first of a family says what it counts. */
#define LABELED(X)                                                                                                       \
	X(transport.connections_by[SH_PROTO_TCP], "connections_tcp", "connections_by_transport", "transport=\"tcp\"", "gauge", \
	  "stream connections by what is spoken on them")                                                                  \
	X(transport.connections_by[SH_PROTO_TLS], "connections_tls", "connections_by_transport", "transport=\"tls\"", "gauge", NULL) \
	X(transport.connections_by[SH_PROTO_WS], "connections_ws", "connections_by_transport", "transport=\"ws\"", "gauge", NULL)    \
	X(transport.connections_by[SH_PROTO_WSS], "connections_wss", "connections_by_transport", "transport=\"wss\"", "gauge", NULL) \
	X(transport.handshakes_failed[SH_TLS_CERTIFICATE], "tls_failed_certificate", "tls_handshakes_failed_total",        \
	  "reason=\"certificate\"", "counter", "TLS handshakes that failed")                                               \
	X(transport.handshakes_failed[SH_TLS_ALERT], "tls_failed_alert", "tls_handshakes_failed_total", "reason=\"alert\"", \
	  "counter", NULL)                                                                                                 \
	X(transport.handshakes_failed[SH_TLS_PROTOCOL], "tls_failed_protocol", "tls_handshakes_failed_total",              \
	  "reason=\"protocol\"", "counter", NULL)                                                                          \
	X(transport.handshakes_failed[SH_TLS_TIMEOUT], "tls_failed_timeout", "tls_handshakes_failed_total",                \
	  "reason=\"timeout\"", "counter", NULL)                                                                           \
	X(transport.handshakes_failed[SH_TLS_CLOSED], "tls_failed_closed", "tls_handshakes_failed_total", "reason=\"closed\"", \
	  "counter", NULL)

/* The members of a struct that has nothing else than such numbers. */
static void add_numbers(void *sum, const void *numbers, size_t size)
{
	uint64_t *to = sum;
	const uint64_t *from = numbers;

	for (size_t i = 0; i < size / sizeof(*to); i++)
		to[i] += from[i];
}

static uint64_t largest(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void add_up(struct sh_worker *w, void *arg)
{
	struct sums *s = arg;
	const struct sh_ua_stats *u = sh_ua_stats(w->ua);
	const struct sh_txn_stats *t = sh_txn_layer_stats(sh_ua_txn(w->ua));

	add_numbers(&s->transport, sh_transport_stats(sh_ua_transport(w->ua)), sizeof(s->transport));
	if (w->engine->net)
		add_numbers(&s->net, sh_net_stats(w->engine->net, w->index), sizeof(s->net));
	s->ua.calls += u->calls;
	s->ua.answered += u->answered;
	s->ua.failed += u->failed;
	s->ua.requests += u->requests;
	s->ua.handed_over += u->handed_over;
	s->ua.calls_live += u->calls_live;
	s->ua.legs_live += u->legs_live;
	s->txn.retransmissions_in += t->retransmissions_in;
	s->txn.retransmissions_out += t->retransmissions_out;
	s->transactions += t->server_live + t->client_live;
	s->txn.overload += t->overload;
	s->broken += w->env->broken;
	s->longest_turn = largest(s->longest_turn, sh_peak_get(&w->env->longest_turn, w->env->now));
	s->longest_turn_used = largest(s->longest_turn_used, sh_peak_get(&w->env->longest_turn_used, w->env->now));
	s->runs += sh_runtime_runs(w->runtime);
	add_numbers(&s->script, sh_runtime_stats(w->runtime), sizeof(s->script));
}

static int collect(struct sh_engine *e, struct sums *s)
{
	*s = (struct sums){
	    .generation = atomic_load(&e->generation),
	    .generations_alive = sh_script_alive(e->script),
	    .reloads = atomic_load(&e->reloads),
	    .reload_failures = atomic_load(&e->reload_failures),
	    .workers = e->nworkers,
	    .registrations = sh_location_count(e->location),
	};
	return sh_engine_ask(e, add_up, s);
}

/* Those of the script. */
static void put_member(void *ctx, struct sh_slice name, struct sh_slice labels, double value)
{
	struct sh_json *j = ctx;
	char key[1024];

	if (labels.len)
		snprintf(key, sizeof(key), "%.*s{%.*s}", SH_FMT(name), SH_FMT(labels));
	else
		snprintf(key, sizeof(key), "%.*s", SH_FMT(name));
	sh_json_key(j, key);
	sh_json_number(j, value);
}

static void put_line(void *ctx, struct sh_slice name, struct sh_slice labels, double value)
{
	if (labels.len)
		sh_json_raw(ctx, "%.*s{%.*s} %.17g\n", SH_FMT(name), SH_FMT(labels), value);
	else
		sh_json_raw(ctx, "%.*s %.17g\n", SH_FMT(name), value);
}

static void put_family(struct sh_json *j, const char *name, const char *type, const char *help)
{
	if (help)
		sh_json_raw(j, "# HELP siphook_%s %s\n# TYPE siphook_%s %s\n", name, help, name, type);
}

int sh_engine_put_status(struct sh_engine *e, struct sh_json *j)
{
	struct sums s;
	int err = collect(e, &s);

	if (err)
		return err;
#define X(member, key, name, type, help)                                                                                \
	sh_json_key(j, key);                                                                                             \
	sh_json_int(j, (int64_t)s.member);
	METRICS(X)
#undef X
#define X(member, key, name, label, type, help)                                                                         \
	sh_json_key(j, key);                                                                                             \
	sh_json_int(j, (int64_t)s.member);
	LABELED(X)
#undef X
	sh_json_key(j, "metrics"); /* of the script */
	sh_json_open(j, '{');
	sh_metrics_each(sh_script_metrics(e->script), put_member, j);
	sh_json_close(j, '}');
	return 0;
}

int sh_engine_put_metrics(struct sh_engine *e, struct sh_json *j)
{
	struct sums s;
	int err = collect(e, &s);

	if (err)
		return err;
#define X(member, key, name, type, help)                                                                                \
	put_family(j, name, type, help);                                                                                 \
	sh_json_raw(j, "siphook_%s %llu\n", name, (unsigned long long)s.member);
	METRICS(X)
#undef X
#define X(member, key, name, label, type, help)                                                                         \
	put_family(j, name, type, help);                                                                                 \
	sh_json_raw(j, "siphook_%s{%s} %llu\n", name, label, (unsigned long long)s.member);
	LABELED(X)
#undef X
	sh_metrics_each(sh_script_metrics(e->script), put_line, j);
	return 0;
}
