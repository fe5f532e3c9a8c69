/* Requests other than INVITE that go on in a dialog, to the other leg. */
#include "b2bua/early.h"
#include "b2bua/question.h"

struct sh_relay {
	struct sh_link link;   /* in ua->live_relays */
	struct sh_link of_leg; /* in the other leg's relays */
	struct sh_ua *ua;
	struct sh_server_txn *st; /* without an application: whom to answer; NULL when it ended */
	struct sh_request *rq;    /* with one */
	struct sh_client_txn *ct;
	uint64_t from_leg, to_leg; /* handles */
	struct sh_body *offer;     /* of an UPDATE */
	struct sh_question *question; /* about the answer to it */
	sh_request_fn done;
	void *ctx;
};

static void offer_over(struct sh_relay *r)
{
	struct sh_leg *legs[] = {sh_slots_get(&r->ua->legs, r->from_leg), sh_slots_get(&r->ua->legs, r->to_leg)};

	for (unsigned i = 0; r->offer && i < 2; i++)
		if (legs[i] && legs[i]->update == r)
			legs[i]->update = NULL;
}

static void destroy(struct sh_relay *r)
{
	if (r->ct)
		sh_client_txn_detach(r->ct);
	if (r->st)
		sh_server_txn_watch(r->st, NULL, NULL);
	if (r->rq)
		r->rq->relay = NULL;
	offer_over(r);
	sh_question_forget(&r->question);
	sh_body_unref(r->offer);
	sh_list_remove(&r->of_leg);
	sh_list_remove(&r->link);
	sh_free(r);
}

void sh_relay_drop_all(struct sh_ua *ua)
{
	struct sh_link *l;

	while ((l = ua->live_relays.next) != &ua->live_relays)
		destroy(SH_CONTAINER(l, struct sh_relay, link));
}

void sh_relay_drop(struct sh_relay *r)
{
	destroy(r);
}

bool sh_relay_redirect(struct sh_relay *r, const void *from, sh_request_fn done, void *ctx)
{
	if (r->ctx != from)
		return false;
	r->done = done;
	r->ctx = ctx;
	return true;
}

static struct sh_relay *create(struct sh_ua *ua)
{
	struct sh_relay *r = sh_calloc(1, sizeof(*r));

	if (r) {
		r->ua = ua;
		sh_list_init(&r->of_leg);
		sh_list_append(&ua->live_relays, &r->link);
	}
	return r;
}

/* A 2xx that refreshes the target of the dialog (RFC 3311 5.2, RFC 3515 2.2, RFC 6665 8.2.1) tells where we are. */
static bool refreshes_target(enum sh_method method)
{
	return method == SH_UPDATE || method == SH_REFER || method == SH_SUBSCRIBE || method == SH_NOTIFY;
}

/* An UPDATE is accepted: what the two sides were told, and by whom. */
static void session_agreed(struct sh_relay *r, const struct sh_msg *m)
{
	struct sh_leg *from = sh_slots_get(&r->ua->legs, r->from_leg), *to = sh_slots_get(&r->ua->legs, r->to_leg);
	struct sh_dialog *d = sh_dialog_find(&r->ua->dialogs, m);
	struct sh_early_dialog *e;

	if (d)
		sh_dialog_refresh(d, m, NULL);
	if (to && to->dialog.confirmed)
		sh_session_on_answer(to, m);
	if (!r->offer || !from || !to)
		return;
	sh_body_unref(from->remote_sdp);
	sh_body_unref(to->local_sdp);
	from->remote_sdp = sh_body_ref(r->offer);
	to->local_sdp = sh_body_ref(r->offer);
	sh_leg_learn_sdp(&to->remote_sdp, m);
	sh_body_unref(from->local_sdp);
	from->local_sdp = sh_body_ref(to->remote_sdp);
	e = to->inbound ? (to->call ? sh_early_by_caller(to->call, d) : NULL) : sh_early_by_callee(to, d);
	if (e) {
		sh_body_unref(e->sdp);
		e->sdp = sh_body_ref(to->inbound ? r->offer : to->remote_sdp);
	}
}

/* Passes the answer back: the fields that matter to the requester, and the body. */
static void answer_with(struct sh_ua *ua, struct sh_server_txn *st, struct sh_leg *l, unsigned code, struct sh_slice reason,
			const struct sh_msg *m)
{
	struct sh_slice none = {0};
	struct sh_writer *w;

	if (code == 408 || sh_server_txn_answered(st))
		return; /* nobody answers 408 here: RFC 4320 4.2 */
	if (code == 422) /* about our own interval (RFC 4028): the next try is larger */
		code = 503;
	if (m && m->method == SH_REGISTER) { /* the registrar and the phone speak with each other: through an edge */
		w = sh_server_txn_begin(st, code, reason, none);
		sh_put_whole(w, m, SH_COPY_IDENTITY | SH_COPY_FORWARDED, none);
		sh_put_body_of(w, m);
		sh_server_txn_respond(st, code, w);
		return;
	}
	if (sh_code_passed_on(code) != code) {
		code = sh_code_passed_on(code);
		reason = none;
		m = NULL;
	}
	if (l && code < 300)
		sh_leg_refresh(l, sh_server_txn_request(st), sh_server_txn_path(st));
	w = sh_server_txn_begin(st, code, reason, none);
	if (m && l && code < 300 && refreshes_target((enum sh_method)m->method))
		sh_ua_put_contact(ua, w, sh_server_txn_path(st), l->dialog.secure);
	if (m && m->method == SH_UPDATE && code < 300) {
		sh_put_header(w, SH_H_ALLOW, ua->allow_in_dialog);
		sh_ua_put_supported(w, true, false);
		if (l && l->dialog.confirmed)
			sh_session_put_answer(l, w, sh_server_txn_request(st));
	}
	if (m && m->method == SH_OPTIONS && code < 300)
		sh_put_header(w, SH_H_ALLOW, l ? ua->allow_in_dialog : ua->allow);
	sh_ua_put_product(ua, w, false);
	if (m) {
		sh_put_answer_fields(w, m, SH_COPY_RESPONSE | SH_COPY_DIALOG, none);
		sh_put_body_of(w, m);
	} else {
		sh_put_body(w, none, none);
	}
	sh_server_txn_respond(st, code, w);
}

int sh_request_answer_with(struct sh_request *q, const struct sh_result *res)
{
	unsigned code = res->code;

	if (q->answered || !q->st)
		return -EALREADY;
	if (!res->msg && res->cause == SH_UNREACHABLE)
		code = 480;
	q->answered = true;
	answer_with(q->ua, q->st, sh_request_leg(q), code, code == res->code ? res->reason : (struct sh_slice){0}, res->msg);
	return 0;
}

/* ------------------------------------------------------------------ in a dialog */

static void finish_in_dialog(struct sh_relay *r, unsigned code, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_result res = {code, m ? sh_msg_text(m, m->reason) : sh_status_reason(code), cause, m, NULL, 0};
	struct sh_leg *to = sh_slots_get(&r->ua->legs, r->to_leg);
	struct sh_call *c = to ? to->call : NULL;
	struct sh_ua *ua = r->ua;

	if (r->rq) {
		struct sh_request *q = r->rq;

		r->rq->relay = NULL;
		r->rq = NULL;
		sh_request_answer_with(q, &res);
	} else if (r->st) {
		struct sh_server_txn *st = r->st;

		r->st = NULL;
		sh_server_txn_watch(st, NULL, NULL);
		answer_with(ua, st, sh_slots_get(&ua->legs, r->from_leg), code, res.reason, m);
	}
	/* last: what it wakes may end the legs, and with them every relay that it finds */
	sh_request_fn fn = r->done;
	void *ctx = r->ctx;

	destroy(r);
	if (fn)
		fn(ctx, &res);
	if (code == 481 && c && to->state >= SH_LEG_ANSWERED) /* RFC 5057 5.1: the dialog is gone */
		sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("SIP;cause=481"));
}

/* Our interval, not that of who asked. */
static void session_too_small(struct sh_relay *r, const struct sh_msg *m)
{
	struct sh_leg *to = sh_slots_get(&r->ua->legs, r->to_leg);

	if (to)
		sh_session_too_small_for(to, m);
}

static void on_dialog_response(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user);

static void on_answer_looked_at(struct sh_question *q)
{
	struct sh_relay *r = q->who;

	on_dialog_response(r->ct, SH_CLIENT_RESPONSE, q->msg, r);
}

static bool asks_about_answer(struct sh_relay *r, const struct sh_msg *m)
{
	struct sh_asking a = {.slot = &r->question, .who = r, .then = on_answer_looked_at, .msg = m,
			      .from = sh_slots_get(&r->ua->legs, r->to_leg), .to = sh_slots_get(&r->ua->legs, r->from_leg)};

	return m->status < 300 && (m->method == SH_UPDATE || m->method == SH_PRACK) && sh_sdp_ask(r->ua, &a);
}

static void on_dialog_response(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_relay *r = user;

	(void)ct;
	switch (ev) {
	case SH_CLIENT_RESPONSE:
		if (m->status < 200 || asks_about_answer(r, m))
			return;
		if (m->method == SH_UPDATE && m->status < 300)
			session_agreed(r, m);
		if (m->method == SH_UPDATE && m->status == 422)
			session_too_small(r, m);
		finish_in_dialog(r, m->status, sh_cause_of(m->status), m);
		return;
	case SH_CLIENT_TIMEOUT:
		finish_in_dialog(r, 408, SH_NO_ANSWER, NULL);
		return;
	case SH_CLIENT_UNREACHABLE:
		finish_in_dialog(r, 500, SH_UNREACHABLE, NULL);
		return;
	case SH_CLIENT_ENDED:
		r->ct = NULL;
		finish_in_dialog(r, 500, SH_FAILED, NULL);
		return;
	}
}

static void on_server_event(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct sh_relay *r = user;

	if (ev == SH_SERVER_ENDED && r->st == st)
		r->st = NULL;
}

/* Starts to pass m on to a leg, in its dialog d. line, rest: that far the request is written. */
static int start_in_dialog(struct sh_leg *from, struct sh_leg *to, const struct sh_dialog *d, const struct sh_msg *m,
			   const struct sh_writer *line, struct sh_writer *rest, struct sh_relay **out)
{
	struct sh_relay *r = create(to->ua);
	int err;

	if (!r)
		return -ENOMEM;
	r->from_leg = from->handle;
	r->to_leg = to->handle;
	err = sh_leg_send_in(to, d, &r->ct, (enum sh_method)m->method, line, rest, on_dialog_response, r);
	if (err) {
		destroy(r);
		return err;
	}
	sh_list_append(&to->relays, &r->of_leg);
	*out = r;
	return 0;
}

static void answer_later(struct sh_relay *r, struct sh_server_txn *st)
{
	r->st = st;
	sh_server_txn_watch(st, on_server_event, r);
}

static bool is_from(const struct sh_relay *r, const struct sh_leg *l)
{
	return r->from_leg == l->handle;
}

/* RFC 3311 5.2: who makes an offer while one of his waits for its answer is to try again later, who makes one while we
 * wait for his answer has met us. An INVITE that has no answer yet counts. */
static int may_offer(const struct sh_leg *l, const struct sh_leg *to, const struct sh_dialog *d)
{
	const struct sh_early_dialog *e = !l->dialog.confirmed || !to->dialog.confirmed
						  ? (l->inbound ? sh_early_by_callee(to, d) : sh_early_by_caller(l->call, d))
						  : NULL;

	if (e && !e->sdp)
		return l->inbound ? -EAGAIN : -EINPROGRESS;
	if (l->update || l->reinvite)
		return l->reinvite ? (sh_reinvite_is_from(l) ? -EAGAIN : -EINPROGRESS)
				   : (is_from(l->update, l) ? -EAGAIN : -EINPROGRESS);
	return sh_leg_negotiates(l) || sh_leg_negotiates(to) ? -EINPROGRESS : 0;
}

unsigned sh_relay_refuse(struct sh_leg *l, struct sh_server_txn *st, int err)
{
	struct sh_slice none = {0};
	char text[32];
	struct sh_writer w;

	sh_writer_init(&w, text, sizeof(text));
	if (err == -EAGAIN)
		sh_put_retry_after(l->ua, &w);
	unsigned code = err == -ENOTCONN ? 480 : err == -ENOMEM ? 503 : err == -EINPROGRESS ? 491 : 500;
	sh_ua_reply(l->ua, st, code, none, none, sh_writer_text(&w));
	return code;
}

int sh_relay_to_other_leg(struct sh_leg *l, struct sh_server_txn *st, struct sh_request *rq, const struct sh_msg *m,
			  struct sh_slice headers, struct sh_slice content_type, struct sh_slice body, sh_request_fn done,
			  void *ctx)
{
	struct sh_dialog *d;
	struct sh_leg *to = sh_leg_opposite(l, m, &d);
	struct sh_ua *ua = l->ua;
	struct sh_slice none = {0};
	struct sh_writer line, rest;
	struct sh_relay *r;
	bool mapped;
	int err;

	if (!to || to->state >= SH_LEG_ENDING)
		return -ENOTCONN;
	bool offers = m->method == SH_UPDATE && (body.base ? body.len : m->body.len);
	err = offers ? may_offer(l, to, d) : 0;
	if (err)
		return err;
	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(d, sh_msg_text(m, m->method_name), 0, m->max_forwards > 0 ? (unsigned)m->max_forwards - 1 : 70, &line,
			      &rest);
	if (refreshes_target((enum sh_method)m->method))
		sh_ua_put_contact(ua, &rest, &d->path, d->secure);
	sh_ua_put_product(ua, &rest, true);
	if (m->method == SH_UPDATE) {
		sh_put_header(&rest, SH_H_ALLOW, ua->allow_in_dialog);
		sh_ua_put_supported(&rest, false, false);
		sh_session_put_request(to, &rest);
	}
	mapped = !sh_header_line_named(headers, SH_LIT("Refer-To")) && sh_refer_map(ua, m, &rest);
	sh_put_copied(&rest, m, SH_COPY_DIALOG | (m->body.len && !body.base ? SH_COPY_BODY : 0), headers,
		      mapped ? SH_LIT("Refer-To") : none, none);
	sh_put_said(&rest, headers);
	if (body.base)
		sh_put_body(&rest, content_type, body);
	else
		sh_put_body_of(&rest, m);
	err = start_in_dialog(l, to, d, m, &line, &rest, &r);
	if (err)
		return err;
	r->done = done;
	r->ctx = ctx;
	if (offers) {
		r->offer = body.base ? sh_body_make(content_type, body) : sh_body_make(sh_msg_header(m, SH_H_CONTENT_TYPE), sh_msg_text(m, m->body));
		l->update = to->update = r->offer ? r : NULL;
	}
	if (rq) {
		r->rq = rq;
		rq->relay = r;
	} else {
		answer_later(r, st);
	}
	return 0;
}

void sh_relay_prack(struct sh_leg *a, struct sh_early_dialog *e, uint32_t rseq, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_slice none = {0};
	struct sh_writer line, rest;
	struct sh_relay *r;

	sh_ua_writers(a->ua, &line, &rest);
	sh_dialog_put_request(e->callee, SH_LIT("PRACK"), 0, m->max_forwards > 0 ? (unsigned)m->max_forwards - 1 : 70, &line, &rest);
	sh_early_put_rack(&rest, e, rseq);
	sh_ua_put_product(a->ua, &rest, true);
	sh_put_copied(&rest, m, m->body.len ? SH_COPY_BODY : 0, none, none, none);
	sh_put_body_of(&rest, m);
	if (m->body.len)
		sh_leg_learn_sdp(&e->leg->local_sdp, m);
	if (start_in_dialog(a, e->leg, e->callee, m, &line, &rest, &r) == 0)
		answer_later(r, st);
	else
		sh_ua_reply(a->ua, st, 500, none, none, none);
}

void sh_relay_in_dialog(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_slice none = {0};
	int err;

	if (sh_session_answers(l, st, m))
		return;
	err = sh_relay_to_other_leg(l, st, NULL, m, none, none, none, NULL, NULL);
	if (err)
		sh_relay_refuse(l, st, err);
}

void sh_relay_leg_gone(struct sh_leg *l)
{
	struct sh_link *k;

	while ((k = sh_list_pop(&l->relays)) != NULL)
		finish_in_dialog(SH_CONTAINER(k, struct sh_relay, of_leg), 487, SH_FAILED, NULL);
}
