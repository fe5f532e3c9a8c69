/* The notifier: see subscription.h. */
#include "b2bua/event.h"
#include "b2bua/impl.h"

enum { DEFAULT_EXPIRES = 3600, SHORTEST_EXPIRES = 10, MOST = 100000 }; /* s, s, subscriptions of a worker */

struct sh_slice sh_sub_state_name(enum sh_sub_state s)
{
	static const struct sh_slice names[] = {{"pending", 7}, {"active", 6}, {"terminated", 10}};

	return names[s];
}

/* ------------------------------------------------------------------ reading */

struct sh_subscription *sh_ua_subscription(const struct sh_ua *ua, uint64_t handle)
{
	return sh_slots_get(&ua->subscriptions, handle);
}

uint64_t sh_subscription_handle(const struct sh_subscription *s)
{
	return s->handle;
}

enum sh_sub_state sh_subscription_state(const struct sh_subscription *s)
{
	return s->state;
}

struct sh_slice sh_subscription_event(const struct sh_subscription *s)
{
	return s->event;
}

struct sh_slice sh_subscription_aor(const struct sh_subscription *s)
{
	return s->aor;
}

struct sh_slice sh_subscription_accepts(const struct sh_subscription *s)
{
	return s->accepts;
}

uint32_t sh_subscription_expires(const struct sh_subscription *s)
{
	uint64_t now = s->ua->env->now;

	return s->expires_at > now ? (uint32_t)((s->expires_at - now + SH_SECOND - 1) / SH_SECOND) : 0;
}

unsigned sh_subscription_next_version(struct sh_subscription *s)
{
	return s->version++;
}

struct sh_ua *sh_subscription_ua(const struct sh_subscription *s)
{
	return s->ua;
}

/* ------------------------------------------------------------------ life */

static void on_expired(struct sh_timer *t);

static struct sh_dialog *dialog_of(struct sh_subscription *s)
{
	return s->leg ? &s->leg->dialog : &s->dialog;
}

/* texts: event with its id, address of record, Accept; one behind the other. */
struct sh_subscription *sh_subscription_create(struct sh_ua *ua, struct sh_leg *leg, struct sh_slice event, struct sh_slice id,
					       struct sh_slice aor, struct sh_slice accepts)
{
	struct sh_subscription *s = sh_calloc(1, sizeof(*s) + event.len + id.len + aor.len + accepts.len);
	char *text = s ? s->text : NULL;

	if (!s)
		return NULL;
	s->handle = sh_slots_add(&ua->subscriptions, s);
	if (!s->handle) {
		sh_free(s);
		return NULL;
	}
	s->owner = SH_OWNER_SUBSCRIPTION;
	s->ua = ua;
	s->leg = leg;
	s->state = SH_SUB_ACTIVE;
	struct sh_slice *const to[] = {&s->event, &s->id, &s->aor, &s->accepts};
	const struct sh_slice from[] = {event, id, aor, accepts};
	for (unsigned i = 0; i < 4; i++) {
		if (from[i].len)
			memcpy(text, from[i].base, from[i].len);
		*to[i] = sh_slice_make(text, from[i].len);
		text += from[i].len;
	}
	sh_timer_init(&s->timer, on_expired);
	sh_list_init(&s->of_leg);
	sh_list_init(&s->of_resource);
	sh_list_init(&s->fresh);
	if (leg)
		sh_list_append(&leg->subscriptions, &s->of_leg);
	sh_list_append(&ua->live_subscriptions, &s->link);
	return s;
}

void sh_subscription_free(struct sh_subscription *s)
{
	struct sh_ua *ua = s->ua;

	sh_wheel_cancel(&ua->env->wheel, &s->timer);
	if (s->notify)
		sh_client_txn_detach(s->notify);
	sh_locate_cancel(s->locate);
	sh_event_leave(s);
	sh_dialog_finish(&s->dialog);
	sh_next_hop_finish(&s->next_hop);
	sh_source_give(ua, s->source, SH_KEPT_SUBSCRIPTIONS, 1);
	sh_slots_remove(&ua->subscriptions, s->handle);
	sh_list_remove(&s->of_leg);
	sh_list_remove(&s->fresh);
	sh_list_remove(&s->link);
	sh_body_unref(s->body);
	sh_free(s);
}

/* Nothing more is sent: freed at the end of the turn. */
static void over(struct sh_subscription *s)
{
	sh_sub_done_fn done = s->done;
	void *ctx = s->done_ctx;

	if (s->dead)
		return;
	s->dead = true;
	s->state = SH_SUB_TERMINATED;
	s->done = NULL;
	sh_wheel_cancel(&s->ua->env->wheel, &s->timer);
	sh_event_leave(s);
	sh_list_remove(&s->of_leg);
	sh_list_remove(&s->fresh);
	sh_list_remove(&s->link);
	sh_list_append(&s->ua->dead_subscriptions, &s->link);
	if (done && !s->ua->closing)
		done(ctx);
}

void sh_subscription_leg_gone(struct sh_leg *l)
{
	struct sh_link *k;
	bool taken = false;

	while ((k = sh_list_pop(&l->subscriptions)) != NULL) {
		struct sh_subscription *s = SH_CONTAINER(k, struct sh_subscription, of_leg);

		if (taken || l->ua->closing) { /* one dialog can have one owner: the others end with the leg */
			s->leg = NULL;
			over(s);
			continue;
		}
		taken = true;
		s->leg = NULL;
		sh_dialog_move(&s->dialog, &l->dialog, s);
		s->next_hop = l->next_hop;
		l->next_hop = (struct sh_next_hop){0};
	}
}

/* ------------------------------------------------------------------ NOTIFY */

/* What a failed NOTIFY says of the subscription (RFC 6665 4.2.2, RFC 5057 5.1): these end it, others concern this one
 * NOTIFY only. */
static bool ends_it(unsigned code)
{
	switch (code) {
	case 404:
	case 405:
	case 408:
	case 410:
	case 416:
	case 481:
	case 489:
	case 501:
	case 604:
		return true;
	default:
		return code >= 480 && code <= 485;
	}
}

static void send_notify(struct sh_subscription *s);

static void on_notify_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_subscription *s = user;

	if (ev == SH_CLIENT_RESPONSE && m->status < 200)
		return;
	if (ev != SH_CLIENT_ENDED)
		sh_client_txn_detach(ct);
	s->notify = NULL;
	if (ev == SH_CLIENT_RESPONSE && m->status < 300) {
		sh_dialog_refresh(dialog_of(s), m, NULL);
	} else if (ev != SH_CLIENT_RESPONSE || ends_it(m->status)) {
		over(s);
		return;
	}
	if (s->again)
		send_notify(s);
	else if (s->state == SH_SUB_TERMINATED)
		over(s);
}

static void put_body(struct sh_subscription *s, struct sh_writer *w)
{
	struct sh_slice type = {0};
	struct sh_writer body;

	if (s->body || !s->package) {
		const struct sh_body *kept = s->body;
		struct sh_slice text = sh_body_text(kept);

		type = sh_body_type(kept);
		if (!kept)
			text = sh_event_body(s, &type);
		sh_put_body(w, type, text);
		return;
	}
	sh_writer_init(&body, s->ua->body, SH_UA_BUFFER);
	s->package->state(s, &body, &type);
	if (body.full)
		w->full = true;
	sh_put_body(w, type, sh_writer_text(&body));
}

static void put_state(struct sh_subscription *s, struct sh_writer *w)
{
	sh_put_lit(w, "Event: ");
	sh_put(w, s->event);
	if (s->id.len) {
		sh_put_lit(w, ";id=");
		sh_put(w, s->id);
	}
	sh_put_lit(w, "\r\nSubscription-State: ");
	sh_put(w, sh_sub_state_name(s->state));
	if (s->state == SH_SUB_TERMINATED) {
		sh_put_lit(w, ";reason=");
		sh_put(w, s->reason);
	} else {
		sh_put_lit(w, ";expires=");
		sh_put_uint(w, sh_subscription_expires(s));
	}
	sh_put_lit(w, "\r\n");
}

static void send_notify(struct sh_subscription *s)
{
	struct sh_dialog *d = dialog_of(s);
	struct sh_ua *ua = s->ua;
	struct sh_writer line, rest;

	s->again = s->notify != NULL;
	if (s->again || s->dead || !sh_list_empty(&s->fresh))
		return;
	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(d, SH_LIT("NOTIFY"), 0, 70, &line, &rest);
	sh_ua_put_contact(ua, &rest, &d->path, d->secure);
	sh_ua_put_product(ua, &rest, true);
	put_state(s, &rest);
	put_body(s, &rest);
	if (sh_dialog_send(ua, s->leg ? &s->leg->next_hop : &s->next_hop, d, &s->notify, SH_NOTIFY, &line, &rest, on_notify_event, s) < 0) {
		sh_ua_warn(ua, "a NOTIFY of %.*s cannot be sent: the subscription ends", SH_FMT(s->event));
		over(s);
	}
}

/* The first NOTIFY has what the hook that accepted had to say. */
void sh_subscription_tell_fresh(struct sh_ua *ua)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&ua->fresh_subscriptions)) != NULL)
		send_notify(SH_CONTAINER(l, struct sh_subscription, fresh));
}

void sh_subscription_changed(struct sh_subscription *s)
{
	if (s->state != SH_SUB_TERMINATED)
		send_notify(s);
}

int sh_subscription_keep(struct sh_subscription *s, struct sh_slice type, struct sh_slice body)
{
	struct sh_body *kept = sh_body_make(type, body);

	if (body.len && !kept)
		return -ENOMEM;
	sh_body_unref(s->body);
	s->body = kept;
	return 0;
}

int sh_subscription_notify(struct sh_subscription *s, struct sh_slice type, struct sh_slice body, enum sh_sub_state state)
{
	bool over = s->state == SH_SUB_TERMINATED, fresh = !sh_list_empty(&s->fresh);
	int err = over && !fresh ? -EPIPE : sh_subscription_keep(s, type, body);

	if (err || over) /* a poll: its only NOTIFY has that */
		return err;
	if (state == SH_SUB_TERMINATED)
		return sh_subscription_terminate(s, SH_LIT("noresource"), NULL, NULL);
	s->state = state;
	send_notify(s);
	return 0;
}

int sh_subscription_terminate(struct sh_subscription *s, struct sh_slice reason, sh_sub_done_fn done, void *ctx)
{
	size_t len = reason.len < sizeof(s->reason_text) ? reason.len : sizeof(s->reason_text);

	if (s->state == SH_SUB_TERMINATED)
		return -EPIPE;
	memcpy(s->reason_text, reason.base, len);
	s->reason = sh_slice_make(s->reason_text, len);
	s->state = SH_SUB_TERMINATED;
	s->done = done;
	s->done_ctx = ctx;
	sh_wheel_cancel(&s->ua->env->wheel, &s->timer);
	send_notify(s);
	return 0;
}

static void on_expired(struct sh_timer *t)
{
	struct sh_subscription *s = SH_CONTAINER(t, struct sh_subscription, timer);

	sh_subscription_terminate(s, SH_LIT("timeout"), NULL, NULL);
}

void sh_subscription_set_expires(struct sh_subscription *s, uint32_t seconds)
{
	s->expires_at = s->ua->env->now + seconds * SH_SECOND;
	sh_env_timer(s->ua->env, &s->timer, seconds * SH_SECOND);
}

/* ------------------------------------------------------------------ SUBSCRIBE */

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct sh_subscription *s = ctx;

	(void)error;
	s->locate = NULL;
	if (count)
		s->dialog.path = paths[0];
	sh_next_hop_keep(&s->next_hop, paths, count);
}

static void find_path(struct sh_subscription *s, const struct sh_msg *m, const struct sh_path *from)
{
	bool behind_nat = sh_transport_behind_nat(s->ua->transport, m, sh_dialog_target(&s->dialog), from);
	struct sh_path found[SH_MAX_CANDIDATES];
	unsigned n = sh_dialog_locate(s->ua, &s->dialog, from, behind_nat, found, on_located, s, &s->locate);

	sh_next_hop_keep(&s->next_hop, found, n);
}

/* How long: what was asked for, shortened to what we give (RFC 6665 4.2.1.1); 0 stays 0. Without a limit of the script's
 * that is the time of those who do not ask. */
static uint32_t granted(const struct sh_msg *m, uint32_t fallback, uint32_t limit)
{
	uint32_t asked = m->expires >= 0 ? (uint32_t)m->expires : fallback;

	uint32_t most = limit ? limit : fallback;

	return asked > most ? most : asked;
}

static bool too_short(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m)
{
	char text[40];
	struct sh_writer w;

	if (m->expires <= 0 || m->expires >= SHORTEST_EXPIRES)
		return false;
	sh_writer_init(&w, text, sizeof(text));
	sh_put_header_uint(&w, SH_H_MIN_EXPIRES, SHORTEST_EXPIRES);
	sh_ua_reply(ua, st, 423, (struct sh_slice){0}, (struct sh_slice){0}, sh_writer_text(&w));
	return true;
}

int sh_subscription_in_dialog(struct sh_subscription *s, struct sh_request *q)
{
	int err = sh_dialog_init_uas(&s->dialog, &s->ua->dialogs, s, q->msg, &q->from);

	if (err) {
		over(s);
		return err;
	}
	s->dialog.confirmed = true;
	find_path(s, q->msg, &q->from);
	return 0;
}

static void answer(struct sh_subscription *s, struct sh_server_txn *st, uint32_t expires, struct sh_slice headers)
{
	struct sh_dialog *d = dialog_of(s);
	struct sh_slice none = {0};
	struct sh_writer *w = sh_server_txn_begin(st, 200, none, (struct sh_slice){d->local_tag, SH_TAG_LEN});

	sh_put_copy(w, sh_server_txn_request(st), SH_H_RECORD_ROUTE);
	sh_ua_put_contact(s->ua, w, &d->path, d->secure);
	sh_ua_put_product(s->ua, w, false);
	sh_put_header_uint(w, SH_H_EXPIRES, expires);
	sh_put_said(w, headers);
	sh_put_body(w, none, none);
	sh_server_txn_respond(st, 200, w);
}

/* "dialog;id=7;x" -> name and id. */
void sh_event_split(struct sh_slice value, struct sh_slice *name, struct sh_slice *id)
{
	struct sh_slice params;

	*id = (struct sh_slice){0};
	sh_slice_cut(value, ';', name, &params);
	*name = sh_slice_trim(*name);
	sh_param_find(params, SH_LIT("id"), id);
}

int sh_subscription_accept(struct sh_request *q, const struct sh_subscribe_options *o, uint64_t *handle)
{
	const struct sh_msg *m = q->msg;
	const struct sh_package *package;
	struct sh_ua *ua = q->ua;
	struct sh_slice event, id, none = {0};
	struct sh_source *source;
	struct sh_subscription *s;
	uint32_t expires;
	int err;

	*handle = 0;
	if (!q->st || q->answered)
		return -EALREADY;
	sh_event_split(sh_msg_header(m, SH_H_EVENT), &event, &id);
	package = sh_package_find(event);
	if (o->serve && !package)
		return -ENOTSUP;
	if (too_short(ua, q->st, m)) {
		q->answered = true;
		return 0;
	}
	if (o->serve && package->affordable && !package->affordable(ua, o->aor)) {
		sh_ua_reply(ua, q->st, 503, SH_LIT("Too many new watchers"), none, SH_LIT("Retry-After: 1\r\n"));
		q->answered = true;
		return -EAGAIN;
	}
	err = ua->subscriptions.count < MOST ? sh_source_take(ua, &q->from.remote, SH_KEPT_SUBSCRIPTIONS, 1, &source) : -EAGAIN;
	if (err) {
		sh_ua_reply(ua, q->st, 503, SH_LIT("Too many subscriptions"), none, SH_LIT("Retry-After: 60\r\n"));
		q->answered = true;
		return err;
	}
	s = sh_subscription_create(ua, NULL, event, id, o->aor, sh_msg_header(m, SH_H_ACCEPT));
	if (!s) {
		sh_source_give(ua, source, SH_KEPT_SUBSCRIPTIONS, 1);
		return -ENOMEM;
	}
	s->source = source;
	err = sh_subscription_in_dialog(s, q);
	if (err)
		return err;
	s->package = o->serve ? package : NULL;
	s->limit = o->expires;
	if (o->pending)
		s->state = SH_SUB_PENDING;
	expires = granted(m, package ? package->expires : DEFAULT_EXPIRES, s->limit);
	q->answered = true;
	answer(s, q->st, expires, o->headers);
	*handle = s->handle;
	sh_event_join(s);
	sh_list_append(&ua->fresh_subscriptions, &s->fresh);
	if (expires) {
		sh_subscription_set_expires(s, expires);
	} else { /* a poll (RFC 6665 4.4.3) */
		sh_subscription_terminate(s, SH_LIT("timeout"), NULL, NULL);
	}
	return 0;
}

void sh_subscription_on_request(struct sh_subscription *s, struct sh_server_txn *st, const struct sh_msg *m,
				const struct sh_path *from)
{
	struct sh_slice none = {0};
	uint32_t expires;

	if (!s->leg) {
		int code = sh_dialog_accept_cseq(&s->dialog, m);

		if (code) {
			sh_ua_reply(s->ua, st, (unsigned)code, SH_LIT("CSeq out of order"), none, none);
			return;
		}
	}
	if (m->method != SH_SUBSCRIBE || s->state == SH_SUB_TERMINATED) {
		sh_ua_reply(s->ua, st, m->method == SH_OPTIONS ? 200 : 481, none, none, none);
		return;
	}
	if (too_short(s->ua, st, m))
		return;
	if (!s->leg) {
		sh_dialog_refresh(&s->dialog, m, from);
		find_path(s, m, from);
	}
	expires = granted(m, s->package ? s->package->expires : DEFAULT_EXPIRES, s->limit);
	answer(s, st, expires, none);
	if (!expires) {
		sh_subscription_terminate(s, SH_LIT("timeout"), NULL, NULL);
		return;
	}
	sh_subscription_set_expires(s, expires);
	send_notify(s);
}

bool sh_subscription_in_leg(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_slice event, id;

	sh_event_split(sh_msg_header(m, SH_H_EVENT), &event, &id);
	SH_LIST_EACH (k, &l->subscriptions) {
		struct sh_subscription *s = SH_CONTAINER(k, struct sh_subscription, of_leg);

		if (!sh_slice_eq(s->event, event) || (id.len && s->id.len && !sh_slice_eq(s->id, id)))
			continue;
		sh_subscription_on_request(s, st, m, from);
		return true;
	}
	return false;
}
