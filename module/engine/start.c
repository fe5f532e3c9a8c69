/* What a start opens and a stop closes, in one place and in opposite orders. */
#include "engine/impl.h"
#include "msg/digest.h"
#include "siphook.h"

#include <stdarg.h>

/* ------------------------------------------------------------------ listeners */

int sh_engine_parse_listen(const char *text, enum sh_proto *proto, struct sh_addr *addr, char *error, size_t size)
{
	const char *wrong = sh_listen_uri_parse(sh_slice_cstr(text), proto, addr);

	if (wrong)
		snprintf(error, size, "listen %s: %s", text, wrong);
	return wrong ? -EINVAL : 0;
}

static bool wants_tls(const struct sh_engine *e)
{
	if (e->tls.ncertificates || e->tls.ca)
		return true;
	for (unsigned k = 0; k < e->nlisten; k++)
		if (!strncmp(e->listen[k], "tls:", 4) || !strncmp(e->listen[k], "wss:", 4))
			return true;
	return false;
}

/* Where TLS is configured and not listened for, connections that we open need a place to come from: the address of the
 * first listener. Their peers answer on the same connection. */
static int open_way_out(struct sh_engine *e, char *error, size_t size)
{
	enum sh_proto proto;
	struct sh_addr addr;
	struct sh_listen_config config = {.proto = SH_PROTO_TLS, .local = &addr, .tls = e->tls.tls, .connect_only = true};
	int err = e->tls.tls ? sh_engine_parse_listen(e->listen[0], &proto, &addr, error, size) : 0;

	if (!e->tls.tls || err)
		return err;
	for (unsigned k = 0; k < e->nlisten; k++)
		if (!strncmp(e->listen[k], "tls:", 4))
			return 0;
	for (unsigned i = 0; i < e->nworkers && !err; i++)
		err = sh_transport_listen_with(sh_ua_transport(e->workers[i].ua), &config);
	return err;
}

/* A socket that the host has for this listener. */
static int inherit(struct sh_engine *e, unsigned k, char *error, size_t size)
{
	int fd = e->listen_fd && e->net ? e->listen_fd(e->listen_fd_ctx, e->listen[k]) : -1;
	int err = fd < 0 ? 0 : sh_net_inherit(e->net, fd);

	if (err)
		snprintf(error, size, "listen %s: descriptor %d of the host is no socket for it: %s", e->listen[k], fd, strerror(-err));
	return err;
}

/* What the host asks for, or by default; the script's own come when the workers take it up. */
static int open_listeners(struct sh_engine *e, const struct sh_generation *g, char *error, size_t size)
{
	struct sh_slice origins[64];

	if (e->default_listen && sh_generation_listens(g))
		return 0;
	for (unsigned i = 0; i < e->norigins; i++)
		origins[i] = sh_slice_cstr(e->origins[i]);
	for (unsigned k = 0; k < e->nlisten; k++) {
		struct sh_addr addr;
		enum sh_proto proto;
		int err = sh_engine_parse_listen(e->listen[k], &proto, &addr, error, size);
		struct sh_listen_config config = {.proto = proto,
						  .local = &addr,
						  .tls = e->tls.tls,
						  .origins = origins,
						  .origin_count = e->norigins};

		if (!err)
			err = inherit(e, k, error, size);
		for (unsigned i = 0; i < e->nworkers && !err; i++) {
			struct sh_transport *t = sh_ua_transport(e->workers[i].ua);

			if (i) /* the port that the first one got */
				addr.port = sh_transport_endpoint(sh_ua_transport(e->workers[0].ua), k)->local.port;
			err = sh_transport_listen_with(t, &config);
			if (err == -EPROTONOSUPPORT)
				snprintf(error, size, "listen %s: the option tls_certificate is missing", e->listen[k]);
			else if (err)
				snprintf(error, size, "listen %s: %s", e->listen[k], strerror(-err));
		}
		if (err)
			return err;
	}
	return open_way_out(e, error, size);
}

/* ------------------------------------------------------------------ workers */

static void on_flow_closed(void *ctx, uint64_t flow)
{
	struct sh_worker *w = ctx;

	sh_location_flow_closed(w->engine->location, flow, sh_env_wall(w->env), w->runtime);
	sh_handover_flow_closed(w->engine->handover, flow);
}

static void on_expire(struct sh_timer *t)
{
	struct sh_worker *w = SH_CONTAINER(t, struct sh_worker, expire);
	bool more = sh_location_expire(w->engine->location, sh_env_wall(w->env), w->runtime);

	sh_env_timer(w->env, t, more ? SH_MS : SH_SECOND);
}

static int open_worker(struct sh_engine *e, unsigned i)
{
	struct sh_worker *w = &e->workers[i];
	struct sh_ua_config config = sh_ua_config_default;
	int err;

	w->engine = e;
	w->index = i;
	w->env = sh_engine_env(e, i);
	config.peers = e->peers;
	if (e->session_expires)
		config.session_expires = e->session_expires == UINT32_MAX ? 0 : e->session_expires * (uint64_t)SH_SECOND;
	config.sips_anywhere = e->simulation.envs != NULL;
	config.product = SH_LIT("siphook/" SIPHOOK_VERSION);
	err = sh_runtime_create(&w->runtime, e->script, w->env);
	if (!err)
		err = sh_ua_create(&w->ua, w->env, &config, &(struct sh_transport_config){0}, &sh_runtime_app, w->runtime);
	if (err)
		return err;
	e->peers[i] = w->ua;
	sh_runtime_attach(w->runtime, w->ua);
	sh_ua_on_flow_closed(w->ua, on_flow_closed, w);
	sh_ua_on_turn_end(w->ua, sh_worker_turn_end, w);
	if (e->event)
		sh_ua_on_call(w->ua, sh_engine_tell_call, w);
	sh_timer_init(&w->expire, on_expire);
	if (i == 0)
		sh_env_timer(w->env, &w->expire, SH_SECOND);
	return 0;
}

static void on_binding(void *ctx, void *by, struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event event)
{
	sh_handover_binding(ctx, aor, c, event);
	sh_runtime_on_binding(NULL, by, aor, c, event);
}

static int open_shared(struct sh_engine *e)
{
	struct sh_script_config config = {
		.path = e->script_path,
		.workers = e->nworkers,
		.log = &e->log,
		.npairs = e->npairs,
		.pairs = e->pairs,
		.retired = sh_engine_retired,
		.ctx = e,
		.deterministic = e->simulation.envs != NULL,
		.stock = sh_engine_env(e, 0)->pool.stock,
		.trace = e->simulation.trace,
		.trace_ctx = e->simulation.ctx,
	};
	struct sh_env *env = sh_engine_env(e, 0);
	int err = sh_location_create(&e->location, &env->key, on_binding, e);

	if (!err)
		err = sh_auth_create(&e->auth, &env->random, &(struct sh_auth_config){.credulous = e->simulation.credulous});
	if (!err)
		err = sh_shared_create(&e->shared, &env->key, 0);
	if (!err && e->simulation.prepare)
		err = e->simulation.prepare(e->simulation.ctx, e->shared);
	if (err)
		return err;
	config.location = e->location;
	config.auth = e->auth;
	config.shared = e->shared;
	config.key = &env->key;
	sh_engine_world(e, &config.world);
	return sh_script_create(&e->script, &config);
}

/* What says itself which worker it is for: an answer by the branch of its first Via, which is ours; a request in a dialog by its URI,
 * which is our Contact. */
static int steer(struct sh_net *net)
{
	static const struct sh_net_mark marks[] = {{"SIP/", "z9hG4bK", 32, 144}, {NULL, SH_UA_WORKER, 12, 104}};

	return sh_net_steer(net, marks, sizeof(marks) / sizeof(marks[0]), sh_tag_put_worker);
}

/* Of the configuration, where 0 is the driver's own and -1 none. */
static unsigned microseconds(int configured, unsigned otherwise)
{
	if (configured < 0)
		return 0;
	return configured ? (unsigned)configured : otherwise;
}

int sh_engine_open(struct sh_engine *e, char *error, size_t size)
{
	struct sh_generation *g;
	int err = sh_digest_init();

	error[0] = 0;
	if (!err && !e->simulation.envs)
		err = sh_net_create(&e->net, e->nworkers, &e->log);
	if (!err && e->net)
		err = steer(e->net);
	if (!err && e->net)
		sh_net_set_gather(e->net, microseconds(e->gather, SH_NET_GATHER), microseconds(e->gather_calls, SH_NET_GATHER_CALLS));
	if (!err && e->net && e->dns) {
		err = sh_net_set_dns(e->net, e->dns);
		if (err == -EINVAL)
			snprintf(error, size, "dns %s: addresses of name servers are expected", e->dns);
	}
	if (!err)
		err = sh_handover_open(e, error, size);
	if (err)
		goto out;
	e->workers = sh_calloc(e->nworkers, sizeof(*e->workers));
	e->peers = sh_calloc(e->nworkers, sizeof(struct sh_ua *));
	err = e->workers && e->peers ? open_shared(e) : -ENOMEM;
	if (!err)
		err = sh_recorder_create(&e->recorder, e);
	if (!err)
		err = sh_engine_keep_open(e, error, size);
	if (err)
		goto out;
	err = sh_engine_load(e, &g, false, error, size); /* before the sockets: a broken script opens nothing */
	if (err)
		goto out;
	err = sh_handover_take(e, error, size);
	if (err) {
		sh_generation_destroy(g);
		goto out;
	}
	sh_engine_tls_commit(e, true, true);
	sh_script_publish(e->script, g);
	atomic_store(&e->generation, sh_generation_number(g));
	for (unsigned i = 0; i < e->nworkers && !err; i++)
		err = open_worker(e, i);
	if (!err && wants_tls(e))
		err = sh_engine_tls_open(e, error, size);
	if (!err)
		err = open_listeners(e, g, error, size);
	for (unsigned i = 0; i < e->nworkers && !err; i++) {
		sh_runtime_set_tls(e->workers[i].runtime, e->tls.tls);
		sh_runtime_update(e->workers[i].runtime);
		err = sh_runtime_listen(e->workers[i].runtime, error, size);
	}
	if (!err)
		err = sh_handover_join(e, error, size);
	if (!err && e->watch_files) {
		err = sh_watch_create(&e->watch, e);
		if (err)
			snprintf(error, size, "watch: %s", strerror(-err));
		else
			sh_watch_update(e->watch, g);
	}
	if (err)
		goto out;
	e->started_at = sh_env_wall(e->workers[0].env);
	sh_handover_ready(e);
	sh_engine_keep_start(e);
	return 0;
out:
	if (!error[0])
		snprintf(error, size, "%s", strerror(-err));
	return err;
}

void sh_engine_close(struct sh_engine *e)
{
	sh_handover_stop(e);
	sh_watch_destroy(e->watch);
	e->watch = NULL;
	if (e->net)
		sh_net_stop(e->net);
	sh_engine_reload_drop(e);
	for (unsigned i = 0; e->workers && i < e->nworkers; i++)
		sh_runtime_destroy(e->workers[i].runtime);
	for (unsigned i = 0; e->workers && i < e->nworkers; i++)
		sh_ua_destroy(e->workers[i].ua);
	sh_engine_tls_close(e);
	sh_recorder_destroy(e->recorder);
	sh_engine_keep_close(e);
	sh_handover_close(e);
	sh_script_destroy(e->script);
	sh_shared_destroy(e->shared);
	sh_auth_destroy(e->auth);
	sh_location_destroy(e->location);
	sh_net_destroy(e->net);
	sh_free(e->workers);
	sh_free(e->peers);
	e->recorder = NULL;
	e->script = NULL;
	e->shared = NULL;
	e->auth = NULL;
	e->location = NULL;
	e->net = NULL;
	e->workers = NULL;
	e->peers = NULL;
}

/* ------------------------------------------------------------------ questions of a simulation */

struct left {
	char *text;
	size_t size, len;
};

static void put_left(struct left *l, const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(l->text + l->len, l->size - l->len, fmt, args);
	va_end(args);
	l->len = n < 0 || l->len + (size_t)n >= l->size ? l->size - 1 : l->len + (size_t)n;
}

static void put_call(void *ctx, struct sh_call *c)
{
	struct sh_slice state = sh_call_state_name(sh_call_state(c));

	put_left(ctx, "call %.*s (%.*s); ", SH_FMT(sh_call_id(c)), SH_FMT(state));
}

bool sh_engine_busy(struct sh_engine *e, char *text, size_t size)
{
	bool busy = false;

	for (unsigned i = 0; i < e->nworkers; i++) {
		struct sh_ua *ua = e->workers[i].ua;
		const struct sh_txn_stats *txn = sh_txn_layer_stats(sh_ua_txn(ua));

		busy = busy || !sh_ua_idle(ua) || txn->server_live || txn->client_live;
	}
	if (!busy || !size)
		return busy;
	struct left l = {text, size, 0};

	text[0] = '\0';
	for (unsigned i = 0; i < e->nworkers; i++) {
		struct sh_ua *ua = e->workers[i].ua;
		const struct sh_txn_stats *txn = sh_txn_layer_stats(sh_ua_txn(ua));

		sh_ua_each_call(ua, put_call, &l);
		put_left(&l, "%llu legs, %llu hooks, %llu server and %llu client transactions",
			 (unsigned long long)sh_ua_stats(ua)->legs_live,
			 (unsigned long long)sh_runtime_runs(e->workers[i].runtime), (unsigned long long)txn->server_live,
			 (unsigned long long)txn->client_live);
	}
	return true;
}

void sh_engine_quiet(struct sh_engine *e)
{
	for (unsigned i = 0; i < e->nworkers; i++) {
		sh_ua_set_trunks(e->workers[i].ua, NULL, 0);
		sh_runtime_succeeded(e->workers[i].runtime);
	}
}

struct sh_generation *sh_engine_generation(const struct sh_engine *e)
{
	return sh_script_current(e->script);
}

int sh_engine_check(const struct sh_engine_config *config, char *error, size_t size)
{
	struct sh_generation *g = NULL;
	struct sh_engine *e;
	int err = sh_engine_create(&e, config, error, size);

	if (err)
		return err;
	err = sh_digest_init();
	if (!err)
		err = sh_net_create(&e->net, e->nworkers, &e->log);
	if (!err)
		err = open_shared(e);
	if (!err)
		err = sh_engine_load(e, &g, false, error, size);
	else
		snprintf(error, size, "%s", strerror(-err));
	sh_generation_destroy(g);
	sh_engine_close(e);
	sh_engine_destroy(e);
	return err;
}
