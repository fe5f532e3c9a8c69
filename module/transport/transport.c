/* Life cycle, the driver's events, and the choice of a way for what is sent. */
#include "transport/impl.h"

/* ---- what arrives ---- */

void sh_transport_complain(struct sh_transport *t, enum sh_proto proto, const struct sh_addr *remote, const char *what,
			   const char *why, struct sh_slice call_id)
{
	char peer[SH_ADDR_TEXT];

	if (!sh_log_on(t->env->log, SH_LOG_WARN))
		return;
	sh_addr_format(remote, peer);
	sh_log_write_limited(t->env->log, SH_LOG_WARN, &t->malformed_limit, t->env->now, "%.*s %s: %s: %s%s%.*s",
			     SH_FMT(sh_proto_param(proto)), peer, what, why, call_id.len ? ", Call-ID " : "",
			     SH_FMT(call_id));
}

void sh_transport_receive(struct sh_transport *t, const struct sh_path *from, const char *data, size_t len)
{
	enum sh_proto proto = (enum sh_proto)from->proto;
	const char *why = NULL;
	int code = sh_msg_scan(&t->msg, data, len, sh_proto_framed(proto), &why);

	if (code)
		t->stats.malformed++;
	if (code < 0) {
		sh_transport_complain(t, proto, &from->remote, "message dropped", why,
				      sh_msg_text(&t->msg, t->msg.call_id));
		return;
	}
	if (t->guarded && !sh_door_admits_message(t, &t->msg, &from->remote))
		return;
	t->stats.messages_in++;
	if (proto == SH_PROTO_TLS && t->msg.is_request)
		sh_flow_note_alias(t, from->flow, &t->msg);
	if (t->tap)
		t->tap(t->tap_ctx, true, from, sh_slice_make(data, len));
	t->user.message(t->user_ctx, &t->msg, from, code, why);
}

static void on_udp_data(void *ctx, void *user, const struct sh_addr *local, const struct sh_addr *remote, char *data,
			size_t len)
{
	(void)ctx;
	sh_udp_receive(user, local, remote, data, len);
}

static void on_udp_error(void *ctx, void *user, const struct sh_addr *remote, int error, const char *data, size_t len)
{
	struct sh_transport *t = ctx;

	(void)user;
	t->user.unreachable(t->user_ctx, remote, sh_udp_branch(sh_slice_make(data, len)), error);
}

static void *on_stream_accepted(void *ctx, void *listener_user, struct sh_stream *s, const struct sh_addr *local,
				const struct sh_addr *remote)
{
	(void)ctx;
	sh_listen_saw(listener_user, local);
	return sh_flow_accept(listener_user, s, local, remote);
}

static void on_stream_connected(void *ctx, void *user, const struct sh_addr *local)
{
	struct sh_flow *f = user;

	(void)ctx;
	f->local = *local;
	sh_flow_connected(f);
	sh_stream_flush(f);
	sh_flow_watch(f);
}

static void on_stream_data(void *ctx, void *user, const char *data, size_t len)
{
	(void)ctx;
	sh_stream_receive(user, data, len);
}

static void on_stream_writable(void *ctx, void *user)
{
	(void)ctx;
	sh_stream_flush(user);
}

static void on_stream_closed(void *ctx, void *user, int error)
{
	struct sh_flow *f = user;

	(void)ctx;
	f->stream = NULL;
	if (!f->ready && error == 0)
		error = -ECONNREFUSED; /* it never was: the user shall not take it for an orderly end */
	sh_flow_end(f, error);
}

static void on_turn_end(void *ctx)
{
	struct sh_transport *t = ctx;

	sh_flow_report(t);
	if (t->user.turn_end)
		t->user.turn_end(t->user_ctx);
	sh_stream_flush_dirty(t);
}

static void on_report(struct sh_timer *timer)
{
	struct sh_transport *t = SH_CONTAINER(timer, struct sh_transport, report);

	sh_flow_report(t);
	sh_stream_flush_dirty(t);
}

static const struct sh_env_events events = {
    .udp_data = on_udp_data,
    .udp_error = on_udp_error,
    .stream_accepted = on_stream_accepted,
    .stream_connected = on_stream_connected,
    .stream_data = on_stream_data,
    .stream_writable = on_stream_writable,
    .stream_closed = on_stream_closed,
    .turn_end = on_turn_end,
};

/* ---- life ---- */

static void set_defaults(struct sh_transport_config *c)
{
	c->max_connections = c->max_connections ? c->max_connections : 10000;
	c->max_per_peer = c->max_per_peer ? c->max_per_peer : 100;
	c->idle_timeout = c->idle_timeout ? c->idle_timeout : 3600 * SH_SECOND;
	c->connect_timeout = c->connect_timeout ? c->connect_timeout : 4 * SH_SECOND;
	c->handshake_timeout = c->handshake_timeout ? c->handshake_timeout : 5 * SH_SECOND;
	c->max_handshakes = c->max_handshakes ? c->max_handshakes : 500;
	c->max_unsent = c->max_unsent ? c->max_unsent : 1 << 20;
	c->avoid_time = c->avoid_time ? c->avoid_time : 30 * SH_SECOND;
}

static int init_tables(struct sh_transport *t)
{
	struct sh_hash *tables[] = {&t->locals, &t->by_remote, &t->aliases, &t->foreign, &t->peers, &t->names, &t->avoided, &t->bans,
				    &t->beats};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		int err = sh_hash_init(tables[i], 64);
		if (err) {
			while (i-- > 0)
				sh_hash_finish(tables[i]);
			return err;
		}
	}
	return 0;
}

int sh_transport_create(struct sh_transport **out, struct sh_env *env, const struct sh_transport_config *config,
			const struct sh_transport_user *user, void *user_ctx)
{
	struct sh_transport *t = sh_calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	err = init_tables(t);
	if (err) {
		sh_free(t);
		return err;
	}
	if (config)
		t->config = *config;
	set_defaults(&t->config);
	t->env = env;
	t->user = *user;
	t->user_ctx = user_ctx;
	sh_list_init(&t->flows);
	sh_list_init(&t->ended);
	sh_list_init(&t->locates);
	sh_list_init(&t->names_by_age);
	sh_list_init(&t->avoided_by_age);
	sh_list_init(&t->dirty);
	sh_list_init(&t->bans_by_age);
	sh_list_init(&t->foreign_by_age);
	sh_timer_init(&t->report, on_report);
	env->events = &events;
	env->events_ctx = t;
	*out = t;
	return 0;
}

void sh_transport_destroy(struct sh_transport *t)
{
	if (!t)
		return;
	sh_flow_destroy_all(t);
	for (unsigned i = 0; i < t->listen_count; i++)
		sh_listen_close(t->listens[i]);
	sh_locate_destroy_all(t);
	sh_names_finish(t);
	sh_avoid_finish(t);
	sh_door_finish(t);
	sh_locals_finish(t);
	sh_domains_finish(t);
	sh_tls_sessions_finish(t);
	sh_foreign_finish(t);
	sh_beats_finish(t);
	sh_hash_finish(&t->by_remote);
	sh_hash_finish(&t->aliases);
	sh_hash_finish(&t->peers);
	t->env->events = NULL;
	t->env->events_ctx = NULL;
	sh_free(t);
}

const struct sh_transport_stats *sh_transport_stats(const struct sh_transport *t)
{
	return &t->stats;
}

/* ---- what is sent ---- */

/* The connection of this path, or to its address; *opened: a new one. */
static int find_flow(struct sh_flow **out, struct sh_transport *t, const struct sh_path *path, bool *opened)
{
	struct sh_flow *f = path->flow ? sh_flow_by_id(t, path->flow) : NULL;
	struct sh_listen *l;

	*opened = false;
	if (!f) {
		if (path->remote.family == 0 || path->remote.port == 0)
			return path->flow ? -EPIPE : -EHOSTUNREACH;
		f = sh_flow_by_remote(t, (enum sh_proto)path->proto, &path->remote, path->domain);
	}
	if (f) {
		*out = f;
		return 0;
	}
	l = sh_listen_for(t, path);
	if (!l)
		return -EHOSTUNREACH;
	*opened = true;
	return sh_flow_open(out, l, path);
}

static int send_stream(struct sh_transport *t, const struct sh_path *path, struct sh_slice text, uint64_t *flow)
{
	struct sh_flow *f;
	bool opened;
	int err = find_flow(&f, t, path, &opened);

	if (err)
		return err;
	*flow = f->id;
	err = sh_stream_send(f, text);
	if (err && opened)
		sh_flow_end(f, err);
	return err;
}

int sh_transport_send(struct sh_transport *t, const struct sh_path *path, struct sh_slice text, uint64_t *flow)
{
	uint64_t used = 0;
	int err;

	if (text.len > SH_MSG_MAX_SIZE)
		return -EMSGSIZE;
	if (t->tap)
		t->tap(t->tap_ctx, false, path, text);
	if (!sh_proto_reliable((enum sh_proto)path->proto)) {
		err = sh_udp_transmit(t, path, text);
	} else if (path->flow && sh_flow_worker(path->flow) != t->env->worker) {
		used = path->flow;
		err = sh_relay_send(t, path, text);
	} else {
		err = send_stream(t, path, text, &used);
	}
	if (err)
		return err;
	t->stats.messages_out++;
	if (flow)
		*flow = used;
	return 0;
}

void sh_transport_set_tap(struct sh_transport *t, sh_transport_tap_fn fn, void *ctx)
{
	t->tap = fn;
	t->tap_ctx = ctx;
}

bool sh_transport_flow_alive(const struct sh_transport *t, uint64_t flow)
{
	if (sh_flow_worker(flow) >= SH_FLOW_ABROAD)
		return t->abroad && t->abroad->alive(t->abroad->ctx, flow);
	return flow && (sh_flow_worker(flow) != t->env->worker || sh_flow_by_id(t, flow));
}

/* Whether all datagrams of a peer come to one worker, which then hears when they cease. */
static bool has_one_reader(const struct sh_transport *t, const struct sh_path *from)
{
	const struct sh_listen *l = from->endpoint < t->listen_count ? t->listens[from->endpoint] : NULL;

	return l && l->udp && !t->env->driver->udp_shared(t->env, l->udp);
}

void sh_transport_flow_expect(struct sh_transport *t, const struct sh_path *from, uint64_t quiet, uint64_t lifetime)
{
	bool datagrams = from->proto == SH_PROTO_UDP;
	uint64_t flow = datagrams ? sh_peer_flow(&t->env->key, &from->remote) : from->flow;
	unsigned worker = datagrams ? from->worker : sh_flow_worker(flow);

	if (!flow || (datagrams && quiet && !has_one_reader(t, from)))
		return;
	if (worker != t->env->worker)
		sh_relay_expect(t, worker, flow, quiet, lifetime);
	else if (datagrams)
		sh_beat_expect(t, flow, quiet, lifetime);
	else
		sh_flow_expect(t, flow, quiet);
}

void sh_transport_flow_close(struct sh_transport *t, uint64_t flow)
{
	struct sh_flow *f;

	if (flow && sh_flow_worker(flow) != t->env->worker) {
		sh_relay_close(t, flow);
		return;
	}
	f = flow ? sh_flow_by_id(t, flow) : NULL;
	if (!f)
		return;
	sh_flow_goodbye(f, SH_WS_NORMAL);
	if (f->state == SH_FLOW_ENDED)
		return;
	sh_flow_unlist(f);
	f->state = SH_FLOW_CLOSING;
	if (f->out.len == 0)
		sh_flow_end(f, 0);
}

const char *sh_transport_flow_names(const struct sh_transport *t, uint64_t flow)
{
	const struct sh_flow *f = flow ? sh_flow_by_id(t, flow) : NULL;

	if (flow && sh_flow_worker(flow) != t->env->worker)
		return sh_foreign_names(t, flow);
	return f ? sh_tls_flow_names(f) : NULL;
}
