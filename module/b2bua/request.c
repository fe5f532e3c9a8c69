/* Requests that the application answers or observes: see request.h. */
#include "b2bua/impl.h"

static void on_server_event(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct sh_request *r = user;

	if (ev == SH_SERVER_ENDED && r->st == st)
		r->st = NULL;
}

struct sh_request *sh_request_create(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m,
				     const struct sh_path *from, struct sh_leg *leg)
{
	struct sh_request *r = sh_pool_calloc(&ua->env->pool, sizeof(*r));

	if (!r)
		return NULL;
	r->owner = SH_OWNER_REQUEST;
	r->msg = sh_msg_clone(m);
	r->handle = r->msg ? sh_slots_add(&ua->requests, r) : 0;
	if (!r->handle) {
		sh_free(r->msg);
		sh_pool_free(&ua->env->pool, r, sizeof(*r));
		return NULL;
	}
	r->ua = ua;
	r->st = st;
	r->from = *from;
	r->observed = !st;
	r->in_dialog = leg != NULL;
	if (leg) {
		r->leg = leg->handle;
		r->call = leg->call ? leg->call->handle : 0;
	}
	sh_list_init(&r->of_leg);
	if (leg && st)
		sh_list_append(&leg->requests, &r->of_leg);
	if (st)
		sh_server_txn_watch(st, on_server_event, r);
	sh_list_append(&ua->live_requests, &r->link);
	return r;
}

void sh_request_free(struct sh_request *r)
{
	if (r->st)
		sh_server_txn_watch(r->st, NULL, NULL);
	if (r->relay)
		sh_relay_drop(r->relay);
	sh_sending_drop(r->sending);
	sh_slots_remove(&r->ua->requests, r->handle);
	sh_list_remove(&r->of_leg);
	sh_list_remove(&r->link);
	sh_free(r->msg);
	sh_pool_free(&r->ua->env->pool, r, sizeof(*r));
}

void sh_request_leg_gone(struct sh_leg *l)
{
	struct sh_link *k;

	while ((k = sh_list_pop(&l->requests)) != NULL) {
		struct sh_request *r = SH_CONTAINER(k, struct sh_request, of_leg);

		if (!r->st || r->answered || r->relay || r->sending)
			continue;
		r->answered = true;
		sh_server_txn_reply(r->st, 487, (struct sh_slice){0});
	}
}

void sh_request_release(struct sh_request *r)
{
	if (r->released)
		return;
	r->released = true;
	if (r->st && !r->answered && !r->observed) {
		r->answered = true;
		sh_ua_reply(r->ua, r->st, 500, (struct sh_slice){0}, (struct sh_slice){0}, (struct sh_slice){0});
	}
	sh_list_remove(&r->link);
	sh_list_append(&r->ua->dead_requests, &r->link);
}

uint64_t sh_request_handle(const struct sh_request *r)
{
	return r->handle;
}

struct sh_ua *sh_request_ua(const struct sh_request *r)
{
	return r->ua;
}

const struct sh_msg *sh_request_msg(const struct sh_request *r)
{
	return r->msg;
}

const struct sh_path *sh_request_source(const struct sh_request *r)
{
	return &r->from;
}

struct sh_call *sh_request_call(const struct sh_request *r)
{
	return sh_slots_get(&r->ua->calls, r->call);
}

struct sh_leg *sh_request_leg(const struct sh_request *r)
{
	return sh_slots_get(&r->ua->legs, r->leg);
}

bool sh_request_observed(const struct sh_request *r)
{
	return r->observed;
}

bool sh_request_answered(const struct sh_request *r)
{
	return r->answered;
}

bool sh_request_in_dialog(const struct sh_request *r)
{
	return r->in_dialog;
}

void *sh_request_app(const struct sh_request *r)
{
	return r->app;
}

void sh_request_set_app(struct sh_request *r, void *app)
{
	r->app = app;
}

/* ------------------------------------------------------------------ answers */

struct sh_writer *sh_request_begin(struct sh_request *r, unsigned code, struct sh_slice reason)
{
	struct sh_leg *l = sh_request_leg(r);
	struct sh_writer *w;

	if (!r->st || r->answered)
		return NULL;
	w = sh_server_txn_begin(r->st, code, reason,
				l ? (struct sh_slice){l->dialog.local_tag, SH_TAG_LEN} : (struct sh_slice){0});
	sh_ua_put_product(r->ua, w, false);
	return w;
}

static int respond(struct sh_request *r, unsigned code, struct sh_writer *w)
{
	struct sh_leg *l = sh_request_leg(r);
	int err;

	if (r->msg->method == SH_INVITE && code >= 200 && code < 300 && l) { /* a re-INVITE answered by the script */
		struct sh_server_txn *st = r->st;

		r->st = NULL;
		err = sh_leg_respond(l, st, code, w);
		if (err)
			r->st = st;
	} else {
		if (l && code >= 200 && code < 300)
			sh_leg_refresh(l, sh_server_txn_request(r->st), &r->from);
		err = sh_server_txn_respond(r->st, code, w);
	}
	if (!err && code >= 200)
		r->answered = true;
	return err;
}

int sh_request_send(struct sh_request *r, unsigned code, struct sh_writer *w)
{
	sh_put_body(w, (struct sh_slice){0}, (struct sh_slice){0});
	return respond(r, code, w);
}

int sh_request_reply(struct sh_request *r, unsigned code, struct sh_slice reason, struct sh_slice headers,
		     struct sh_slice content_type, struct sh_slice body)
{
	struct sh_writer *w = sh_request_begin(r, code, reason);

	if (!w)
		return -EALREADY;
	if (code == 405)
		sh_put_header(w, SH_H_ALLOW, r->ua->allow);
	else if (code == 489)
		sh_ua_put_allow_events(w);
	else if (r->msg->method == SH_OPTIONS && code < 300)
		sh_ua_put_abilities(r->ua, w, r->ua->allow);
	if ((r->msg->method == SH_INVITE || r->msg->method == SH_UPDATE) && code < 300) {
		struct sh_leg *l = sh_request_leg(r);

		sh_ua_put_contact(r->ua, w, &r->from, l && l->dialog.secure);
		sh_put_header(w, SH_H_ALLOW, r->ua->allow_in_dialog);
		if (l && code >= 200 && l->dialog.confirmed)
			sh_session_put_answer(l, w, r->msg);
	}
	sh_put_said(w, headers);
	sh_put_body(w, content_type, body);
	return respond(r, code, w);
}

bool sh_request_forget(struct sh_request *r, const void *ctx)
{
	struct sh_leg *l = sh_request_leg(r);

	if (r->relay)
		return sh_relay_redirect(r->relay, ctx, NULL, NULL);
	if (r->sending)
		return sh_sending_redirect(r->sending, ctx, NULL, NULL);
	return l && sh_reinvite_forget(l, ctx);
}

static void on_outcome(void *ctx, const struct sh_result *res)
{
	sh_request_answer_with(ctx, res); /* a pass has done so */
	sh_request_release(ctx);
}

bool sh_request_leave(struct sh_request *r)
{
	if (r->relay)
		return sh_relay_redirect(r->relay, NULL, on_outcome, r);
	return r->sending && sh_sending_redirect(r->sending, NULL, on_outcome, r);
}

int sh_request_pass(struct sh_request *r, struct sh_slice headers, struct sh_slice content_type, struct sh_slice body,
		    sh_request_fn done, void *ctx)
{
	struct sh_leg *l = sh_request_leg(r);
	struct sh_slice none = {0};
	struct sh_result res = {0};
	int err;

	if (r->observed || r->answered || !r->st)
		return -EALREADY;
	if (r->relay || r->sending)
		return -EBUSY;
	if (!r->in_dialog) {
		struct sh_said said = {headers, content_type, body};

		r->answered = true;
		res.code = sh_ua_default_answer(r->ua, r->st, (enum sh_method)r->msg->method, &said);
		res.cause = res.code < 300 ? SH_CAUSE_NONE : sh_cause_of(res.code);
		res.reason = sh_status_reason(res.code);
		if (done)
			done(ctx, &res);
		return 0;
	}
	if (l && r->msg->method == SH_INVITE) {
		struct sh_server_txn *st = r->st;

		r->st = NULL; /* the machine of the re-INVITE answers it */
		r->answered = true;
		sh_server_txn_watch(st, NULL, NULL);
		sh_reinvite_pass(l, st, r->msg, headers, done, ctx);
		return 0;
	}
	if (l && !body.base && sh_session_answers(l, r->st, r->msg)) {
		r->answered = true;
		res.code = 200;
		res.reason = sh_status_reason(200);
		if (done)
			done(ctx, &res);
		return 0;
	}
	err = l ? sh_relay_to_other_leg(l, r->st, r, r->msg, headers, content_type, body, done, ctx) : -ENOTCONN;
	if (err) {
		r->answered = true;
		if (l)
			res.code = sh_relay_refuse(l, r->st, err);
		else
			sh_ua_reply(r->ua, r->st, res.code = 480, none, none, none);
		res.reason = sh_status_reason(res.code);
		res.cause = err == -EAGAIN || err == -EINPROGRESS ? SH_REJECTED : SH_UNREACHABLE;
		if (done)
			done(ctx, &res);
	}
	return 0;
}
