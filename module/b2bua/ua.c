/* The user agent: life cycle, tables, and what arrives from the transaction layer. */
#include "b2bua/trunk.h"

#include "b2bua/question.h"

const struct sh_ua_config sh_ua_config_default = {
	.txn = {
#define X(field, value, what) .field = value,
		SH_TXN_TIMERS(X)
#undef X
	},
#define X(field, value, what) .field = value,
	SH_UA_TIMERS(X)
#undef X
	.product = {"siphook", 7},
};

/* ------------------------------------------------------------------ requests that we write */

void sh_ua_writers(struct sh_ua *ua, struct sh_writer *line, struct sh_writer *rest)
{
	sh_writer_init(line, ua->line, SH_UA_BUFFER);
	sh_writer_init(rest, ua->rest, SH_UA_BUFFER);
}

static void put_uri(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *path, bool secure, struct sh_slice user)
{
	char buf[SH_ADDR_TEXT];
	struct sh_slice host;
	uint16_t port;

	sh_transport_sent_by(ua->transport, path, buf, &host, &port);
	if (secure)
		sh_put_lit(w, "Contact: <sips:");
	else
		sh_put_lit(w, "Contact: <sip:");
	if (user.len) {
		sh_put(w, user);
		sh_put_char(w, '@');
	}
	sh_put(w, host);
	sh_put_char(w, ':');
	sh_put_uint(w, port);
	/* RFC 7118 5.2: "ws" says it for both, sips is what makes it secure */
	if (path->proto == SH_PROTO_WSS) {
		sh_put_lit(w, ";transport=ws");
	} else if (path->proto != SH_PROTO_UDP && !(secure && path->proto == SH_PROTO_TLS)) {
		sh_put_lit(w, ";transport=");
		sh_put(w, sh_proto_param((enum sh_proto)path->proto));
	}
}

void sh_ua_put_contact(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *path, bool secure)
{
	char worker[2];

	put_uri(ua, w, path, secure, (struct sh_slice){0});
	if (ua->env->workers > 1 && path->proto == SH_PROTO_UDP) {
		sh_tag_put_worker(ua->env->worker, worker);
		sh_put_lit(w, SH_UA_WORKER);
		sh_put(w, sh_slice_make(worker, sizeof(worker)));
	}
	sh_put_lit(w, ">\r\n");
}

void sh_ua_put_contact_of(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *path, bool secure,
			  struct sh_slice user)
{
	put_uri(ua, w, path, secure, user);
	sh_put_lit(w, ">\r\n");
}

void sh_ua_put_product(struct sh_ua *ua, struct sh_writer *w, bool request)
{
	sh_put_header(w, request ? SH_H_USER_AGENT : SH_H_SERVER, ua->config.product);
}

int sh_ua_send(struct sh_ua *ua, struct sh_client_txn **out, enum sh_method method, const struct sh_writer *line,
	       const struct sh_writer *rest, const struct sh_path *path, sh_client_fn fn, void *user)
{
	struct sh_client_request rq = {.method = method, .line = sh_writer_text(line), .rest = sh_writer_text(rest), .path = *path};

	if (line->full || rest->full)
		return -EMSGSIZE;
	return sh_client_txn_start(out, ua->txn, &rq, fn, user);
}

/* ------------------------------------------------------------------ what arrives */

static void on_request(void *ctx, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_ua *ua = ctx;
	struct sh_dialog *d = m->to_tag.len || m->method == SH_ACK ? sh_dialog_find(&ua->dialogs, m) : NULL;

	if (!st) { /* an ACK for a 2xx; without a dialog there is nobody to tell */
		if (d && *(enum sh_owner *)d->owner == SH_OWNER_LEG)
			sh_leg_on_ack(d->owner, m, from);
		return;
	}
	ua->stats.requests++;
	if (sh_ua_judge(ua, st, m, from))
		return;
	if (m->to_tag.len) {
		enum sh_owner *owner = d ? d->owner : NULL;

		if (owner && *owner == SH_OWNER_SUBSCRIPTION)
			sh_subscription_on_request((struct sh_subscription *)owner, st, m, from);
		else if (owner)
			sh_leg_on_request((struct sh_leg *)owner, d, st, m, from);
		else
			sh_server_txn_reply(st, 481, (struct sh_slice){0});
		return;
	}
	if (m->method == SH_INVITE) {
		sh_call_on_invite(ua, st, m, from);
	} else if (ua->app->wants(ua->app_ctx, (enum sh_method)m->method, false, NULL)) {
		struct sh_request *r = sh_request_create(ua, st, m, from, NULL);

		if (r)
			ua->app->request(ua->app_ctx, r);
		else
			sh_server_txn_reply(st, 503, (struct sh_slice){0});
	} else {
		sh_ua_default_answer(ua, st, (enum sh_method)m->method, NULL);
	}
}

static void on_cancel(void *ctx, struct sh_server_txn *invite, const struct sh_msg *cancel)
{
	enum sh_owner *owner = sh_server_txn_user(invite);
	struct sh_leg *l;

	(void)ctx;
	if (!owner)
		return;
	if (*owner == SH_OWNER_QUESTION) { /* a re-INVITE whose offer the application looks at */
		struct sh_question *q = (struct sh_question *)owner;

		sh_question_forget(q->slot);
		sh_server_txn_reply(invite, 487, (struct sh_slice){0});
		return;
	}
	if (*owner == SH_OWNER_REQUEST) { /* a re-INVITE that a hook looks at */
		struct sh_request *r = (struct sh_request *)owner;

		r->answered = true;
		sh_server_txn_reply(invite, 487, (struct sh_slice){0});
		return;
	}
	l = (struct sh_leg *)owner;
	if (l->st != invite)
		sh_reinvite_cancel(l, invite);
	else if (l->call)
		sh_call_on_cancel(l->call, cancel);
}

static void on_flow_closed(void *ctx, uint64_t flow, int error)
{
	struct sh_ua *ua = ctx;

	(void)error;
	if (ua->flow_closed)
		ua->flow_closed(ua->flow_closed_ctx, flow);
}

/* What has ended. */
static void free_dead(struct sh_ua *ua)
{
	struct sh_link *l;

	while ((l = ua->dead_requests.next) != &ua->dead_requests)
		sh_request_free(SH_CONTAINER(l, struct sh_request, link));
	while ((l = ua->dead_calls.next) != &ua->dead_calls)
		sh_call_free(SH_CONTAINER(l, struct sh_call, link));
	while ((l = ua->dead_legs.next) != &ua->dead_legs)
		sh_leg_free(SH_CONTAINER(l, struct sh_leg, link));
	while ((l = ua->dead_subscriptions.next) != &ua->dead_subscriptions)
		sh_subscription_free(SH_CONTAINER(l, struct sh_subscription, link));
}

static void on_turn_end(void *ctx)
{
	struct sh_ua *ua = ctx;

	if (ua->turn_end)
		ua->turn_end(ua->turn_end_ctx);
	sh_subscription_tell_fresh(ua);
	free_dead(ua);
}

static const struct sh_txn_user txn_user = {on_request, on_cancel, NULL, on_flow_closed, on_turn_end};

void sh_ua_observe(struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from, struct sh_leg *leg)
{
	struct sh_request *r;

	if (!ua->app->wants(ua->app_ctx, (enum sh_method)m->method, leg != NULL, leg ? leg->call : NULL))
		return;
	r = sh_request_create(ua, NULL, m, from, leg);
	if (r)
		ua->app->request(ua->app_ctx, r);
}

/* ------------------------------------------------------------------ life cycle */

int sh_ua_create(struct sh_ua **out, struct sh_env *env, const struct sh_ua_config *config,
		 const struct sh_transport_config *transport, const struct sh_app *app, void *app_ctx)
{
	struct sh_ua *ua = sh_calloc(1, sizeof(*ua));
	int err = -ENOMEM;

	if (!ua)
		return -ENOMEM;
	ua->env = env;
	ua->app = app;
	ua->app_ctx = app_ctx;
	ua->config = config ? *config : sh_ua_config_default;
	sh_slots_init(&ua->calls);
	sh_slots_init(&ua->legs);
	sh_slots_init(&ua->requests);
	sh_slots_init(&ua->subscriptions);
	sh_drain_init(ua);
	sh_list_init(&ua->live_subscriptions);
	sh_list_init(&ua->dead_subscriptions);
	sh_list_init(&ua->fresh_subscriptions);
	sh_list_init(&ua->live_refers);
	sh_forward_init(ua);
	sh_list_init(&ua->passages);
	sh_list_init(&ua->live_calls);
	sh_list_init(&ua->live_legs);
	sh_list_init(&ua->live_requests);
	sh_list_init(&ua->live_relays);
	sh_list_init(&ua->live_sendings);
	sh_list_init(&ua->trunks);
	sh_list_init(&ua->dead_calls);
	sh_list_init(&ua->questions);
	sh_list_init(&ua->dead_legs);
	sh_list_init(&ua->dead_requests);
	if (sh_hash_init(&ua->calls_by_id, 64) < 0 || sh_hash_init(&ua->resources, 0) < 0 || sh_hash_init(&ua->sources, 0) < 0 ||
	    sh_hash_init(&ua->forwards, 0) < 0)
		goto out;
	if (sh_dialog_table_init(&ua->dialogs, env) < 0)
		goto out;
	ua->line = sh_malloc(SH_UA_BUFFER);
	ua->rest = sh_malloc(SH_UA_BUFFER);
	ua->body = sh_malloc(SH_UA_BUFFER);
	if (!ua->line || !ua->rest || !ua->body)
		goto out;
	err = sh_txn_layer_create(&ua->txn, env, &ua->config.txn, &txn_user, ua);
	if (err)
		goto out;
	if (env->workers > 1 || env->epoch) /* messages may be for somebody else */
		err = sh_transport_create(&ua->transport, env, transport, &sh_ua_router, ua);
	else
		err = sh_transport_create(&ua->transport, env, transport, &sh_txn_transport_user, ua->txn);
	if (err)
		goto out;
	sh_txn_layer_attach(ua->txn, ua->transport);
	sh_ua_hooks_changed(ua);
	*out = ua;
	return 0;
out:
	sh_ua_destroy(ua);
	return err;
}

void sh_ua_destroy(struct sh_ua *ua)
{
	struct sh_link *l;

	if (!ua)
		return;
	ua->closing = true;
	sh_drain_finish(ua);
	sh_trunks_drop_all(ua);
	sh_relay_drop_all(ua);
	sh_question_drop_all(ua);
	sh_sending_drop_all(ua);
	while (!sh_list_empty(&ua->live_requests))
		sh_request_free(SH_CONTAINER(ua->live_requests.next, struct sh_request, link));
	while ((l = ua->live_calls.next) != &ua->live_calls)
		sh_call_free(SH_CONTAINER(l, struct sh_call, link));
	while ((l = ua->live_legs.next) != &ua->live_legs)
		sh_leg_free(SH_CONTAINER(l, struct sh_leg, link));
	sh_refer_drop_all(ua);
	while ((l = ua->live_subscriptions.next) != &ua->live_subscriptions)
		sh_subscription_free(SH_CONTAINER(l, struct sh_subscription, link));
	free_dead(ua);
	sh_event_finish(ua);
	if (ua->sources.buckets)
		sh_hash_finish(&ua->sources);
	sh_forward_finish(ua);
	sh_move_finish(ua);
	sh_txn_layer_destroy(ua->txn);
	sh_transport_destroy(ua->transport);
	sh_dialog_table_finish(&ua->dialogs);
	sh_hash_finish(&ua->calls_by_id);
	sh_slots_finish(&ua->calls);
	sh_slots_finish(&ua->legs);
	sh_slots_finish(&ua->requests);
	sh_slots_finish(&ua->subscriptions);
	sh_free(ua->trust);
	sh_free(ua->line);
	sh_free(ua->rest);
	sh_free(ua->body);
	sh_free(ua);
}

struct sh_env *sh_ua_env(const struct sh_ua *ua)
{
	return ua->env;
}

struct sh_transport *sh_ua_transport(const struct sh_ua *ua)
{
	return ua->transport;
}

struct sh_txn_layer *sh_ua_txn(const struct sh_ua *ua)
{
	return ua->txn;
}

const struct sh_ua_stats *sh_ua_stats(const struct sh_ua *ua)
{
	return &ua->stats;
}

void sh_ua_on_flow_closed(struct sh_ua *ua, void (*fn)(void *ctx, uint64_t flow), void *ctx)
{
	ua->flow_closed = fn;
	ua->flow_closed_ctx = ctx;
}

void sh_ua_on_call(struct sh_ua *ua,
		   void (*fn)(void *ctx, struct sh_call *call, enum sh_call_event event, const struct sh_why *why), void *ctx)
{
	ua->on_call = fn;
	ua->on_call_ctx = ctx;
}

void sh_ua_set_location(struct sh_ua *ua, struct sh_location *location, const struct sh_domains *domains)
{
	ua->location = location;
	ua->domains = domains;
}

void sh_ua_set_observer(struct sh_ua *ua, const struct sh_ua_observer *observer)
{
	ua->observer = observer;
}

void sh_ua_on_turn_end(struct sh_ua *ua, void (*fn)(void *ctx), void *ctx)
{
	ua->turn_end = fn;
	ua->turn_end_ctx = ctx;
}

struct sh_call *sh_ua_call(const struct sh_ua *ua, uint64_t handle)
{
	return sh_slots_get(&ua->calls, handle);
}

struct sh_leg *sh_ua_leg(const struct sh_ua *ua, uint64_t handle)
{
	return sh_slots_get(&ua->legs, handle);
}

struct sh_request *sh_ua_request(const struct sh_ua *ua, uint64_t handle)
{
	return sh_slots_get(&ua->requests, handle);
}

struct sh_call *sh_ua_find_call(const struct sh_ua *ua, struct sh_slice id)
{
	uint64_t hash = sh_hash_slice(&ua->env->key, id);

	for (struct sh_hash_node *n = sh_hash_find(&ua->calls_by_id, hash); n; n = sh_hash_next(n)) {
		struct sh_call *c = SH_CONTAINER(n, struct sh_call, by_id);

		if (sh_slice_eq(id, (struct sh_slice){c->id, SH_TAG_LEN}))
			return c;
	}
	return NULL;
}

void sh_ua_each_call(struct sh_ua *ua, void (*fn)(void *ctx, struct sh_call *call), void *ctx)
{
	SH_LIST_EACH_SAFE (l, &ua->live_calls)
		fn(ctx, SH_CONTAINER(l, struct sh_call, link));
}

bool sh_ua_some_calls(struct sh_ua *ua, uint32_t *at, unsigned slots, void (*fn)(void *ctx, struct sh_call *call), void *ctx)
{
	const struct sh_slots *s = &ua->calls;

	for (; slots > 0 && *at < s->fresh; slots--, ++*at)
		if (s->slots[*at].object)
			fn(ctx, s->slots[*at].object);
	return *at < s->fresh;
}

void sh_ua_set_abroad(struct sh_ua *ua, const struct sh_ua_abroad *a)
{
	ua->abroad = a;
}

void sh_ua_succeeded(struct sh_ua *ua)
{
	sh_drain_subscriptions(ua);
	sh_trunks_drop_all(ua);
	sh_transport_forget_beats(ua->transport);
}

bool sh_ua_needs_endpoint(const struct sh_ua *ua, unsigned endpoint)
{
	SH_LIST_EACH(l, &ua->live_legs)
	{
		if (SH_CONTAINER(l, struct sh_leg, link)->dialog.path.endpoint == endpoint)
			return true;
	}
	SH_LIST_EACH(l, &ua->live_subscriptions)
	{
		const struct sh_subscription *s = SH_CONTAINER(l, struct sh_subscription, link);

		if (!s->leg && s->dialog.path.endpoint == endpoint)
			return true;
	}
	return false;
}
