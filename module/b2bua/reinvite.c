/* A re-INVITE passed from one leg to the other, with its answer and its ACK (RFC 3261 14).
 *
 *   from            here             to
 *   INVITE  ------>        ------->          491 when either leg has one going (14.1, 14.2)
 *           <--- 1xx, 2xx, failure --
 *   ACK     ------>        -------> at once when the INVITE had the offer; a late offer's ACK carries the answer */
#include "b2bua/early.h"
#include "b2bua/question.h"

struct sh_reinvite {
	struct sh_link of_target; /* in to->reinvites until its client transaction ends: a repeated 2xx wants its ACK */
	struct sh_leg *from;      /* NULL when it is over */
	struct sh_leg *to;
	struct sh_server_txn *st; /* NULL when answered */
	struct sh_client_txn *ct;
	struct sh_msg *invite;    /* for Record-Route and the like: what the answer needs */
	struct sh_body *offer;
	bool late_offer, to_acked, passed_2xx, answered; /* answered: finally, by `to` */
	uint32_t rseq; /* of the last reliable provisional answer of `to`; 0: none came */
	bool silent; /* provisional answers would have to be reliable: there are none (RFC 3262 3) */
	struct sh_question *question; /* about the description in the 2xx */
	sh_request_fn done;
	void *ctx;
};

static void destroy(struct sh_reinvite *r)
{
	if (r->ct)
		sh_leg_detach_invite(r->to, r->ct);
	sh_question_forget(&r->question);
	sh_list_remove(&r->of_target);
	sh_body_unref(r->offer);
	sh_free(r);
}

static void over(struct sh_reinvite *r)
{
	if (r->from && r->from->reinvite == r)
		r->from->reinvite = NULL;
	if (r->to->reinvite == r)
		r->to->reinvite = NULL;
	r->from = NULL;
	if (!r->ct)
		destroy(r);
}

/* The same; nobody will send the ACK that a late offer waits for. */
static void unanswered(struct sh_reinvite *r)
{
	if (r->passed_2xx && !r->to_acked && r->to->state == SH_LEG_UP) {
		r->to_acked = true;
		sh_leg_send_ack(r->to, NULL);
	}
	over(r);
}

/* Who wants to know. It is told last of all: it may end the legs, and with them whatever it finds. */
struct sh_report {
	sh_request_fn done;
	void *ctx;
};

static struct sh_report take_report(struct sh_reinvite *r)
{
	struct sh_report told = {r->done, r->ctx};

	r->done = NULL;
	return told;
}

static void report(const struct sh_report *to, unsigned code, struct sh_slice reason, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_result res = {code, reason.len ? reason : sh_status_reason(code), cause, m, NULL, 0};

	if (to->done)
		to->done(to->ctx, &res);
}

static void over_with(struct sh_reinvite *r, unsigned code, struct sh_slice reason, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_report told = take_report(r);

	over(r);
	report(&told, code, reason, cause, m);
}

/* An answer to whoever sent the re-INVITE. m: the answer of the other side, or NULL. */
static void answer(struct sh_reinvite *r, unsigned code, const struct sh_msg *m)
{
	struct sh_leg *l = r->from;
	struct sh_ua *ua = l->ua;
	struct sh_slice none = {0};
	struct sh_server_txn *st = r->st;
	struct sh_writer *w;
	int err;

	if (!st)
		return;
	w = sh_server_txn_begin(st, code, m ? sh_msg_text(m, m->reason) : none, (struct sh_slice){l->dialog.local_tag, SH_TAG_LEN});
	if (code < 300 && code > 100) {
		sh_ua_put_contact(ua, w, &l->dialog.path, l->dialog.secure);
		sh_put_header(w, SH_H_ALLOW, ua->allow_in_dialog);
		sh_ua_put_supported(w, true, false);
	}
	if (code < 300 && code >= 200)
		sh_session_put_answer(l, w, sh_server_txn_request(st));
	if (code == 500 && !m)
		sh_put_retry_after(ua, w);
	sh_ua_put_product(ua, w, false);
	if (m) {
		sh_put_answer_fields(w, m, SH_COPY_RESPONSE, none);
		sh_put_body_of(w, m);
	} else {
		sh_put_body(w, none, none);
	}
	if (code < 200) {
		sh_server_txn_respond(st, code, w);
		return;
	}
	r->st = NULL;
	if (code < 300) {
		err = sh_leg_respond(l, st, code, w);
		if (!err) {
			if (r->offer) {
				sh_body_unref(l->remote_sdp);
				l->remote_sdp = sh_body_ref(r->offer);
			}
			sh_leg_learn_sdp(&l->local_sdp, m);
			return;
		}
	} else {
		err = sh_server_txn_respond(st, code, w);
	}
	sh_server_txn_watch(st, NULL, NULL);
	if (sh_server_txn_answered(st))
		return;
	sh_ua_warn(ua, "the answer to a re-INVITE could not be sent: %s", strerror(-err));
	sh_server_txn_reply(st, 500, none);
}

static void on_server_event(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct sh_leg *l = user;

	if (ev == SH_SERVER_ENDED && l->reinvite && l->reinvite->st == st)
		l->reinvite->st = NULL;
}

static void lost(struct sh_reinvite *r, unsigned code)
{
	struct sh_leg *to = r->to;
	struct sh_call *c = to->call;

	answer(r, code, NULL);
	over_with(r, code, (struct sh_slice){0}, code == 408 ? SH_NO_ANSWER : SH_UNREACHABLE, NULL);
	if (c && (code == 408 || code == 481)) { /* 12.2.1.2: the dialog is gone */
		sh_leg_want_reason(to, SH_LIT("SIP;cause=408;text=\"No answer to re-INVITE\""));
		sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("SIP;cause=408;text=\"No answer to re-INVITE\""));
	}
}

static void on_client_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user);

static void on_answer_looked_at(struct sh_question *q)
{
	struct sh_reinvite *r = q->who;

	if (r->ct)
		on_client_event(r->ct, SH_CLIENT_RESPONSE, q->msg, r);
}

static bool asks_about_answer(struct sh_reinvite *r, const struct sh_msg *m)
{
	struct sh_asking a = {.slot = &r->question, .who = r, .then = on_answer_looked_at, .from = r->to, .to = r->from,
			      .is_offer = r->late_offer, .msg = m};

	if (r->question)
		return true;
	return !r->passed_2xx && !r->to_acked && r->from && sh_sdp_ask(r->to->ua, &a);
}

/* We do not offer 100rel for a re-INVITE: nothing in it takes so long that it would be worth it. Who insists gets his PRACK
 * (RFC 3262 4). False: it came before, or too early. */
static bool is_next(struct sh_reinvite *r, const struct sh_msg *m)
{
	uint32_t n;

	if (sh_slice_u32(sh_slice_trim(sh_msg_header(m, SH_H_RSEQ)), &n) < 0 || !n || (r->rseq && n != r->rseq + 1))
		return false;
	r->rseq = n;
	sh_leg_prack(r->to, &r->to->dialog, n);
	return true;
}

static void on_client_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_reinvite *r = user;
	struct sh_leg *to = r->to;

	if (ev == SH_CLIENT_ENDED) {
		sh_leg_invite_ended(to, ct);
		r->ct = NULL;
		if (!r->from)
			destroy(r);
		if (to->state == SH_LEG_ENDING)
			sh_leg_wind_up(to);
		return;
	}
	if (ev != SH_CLIENT_RESPONSE) {
		if (r->from)
			lost(r, ev == SH_CLIENT_TIMEOUT ? 408 : 500);
		return;
	}
	if (m->status < 200) {
		if (sh_early_is_reliable(m) && !is_next(r, m))
			return;
		if (r->from && m->status > 100 && !r->silent)
			answer(r, m->status, m);
		return;
	}
	if (m->status < 300 && asks_about_answer(r, m))
		return;
	r->answered = true;
	if (m->status < 300) {
		if (r->passed_2xx || r->to_acked) /* again */
			return;
		sh_dialog_refresh(&to->dialog, m, sh_client_txn_path(ct));
		sh_leg_find_path(to, &to->dialog, sh_client_txn_path(ct));
		sh_leg_learn_sdp(&to->remote_sdp, m);
		sh_session_on_answer(to, m);
		if (r->offer) {
			sh_body_unref(to->local_sdp);
			to->local_sdp = sh_body_ref(r->offer);
		}
		if (!r->from || !r->st) { /* it came too late: acknowledge, the session stays as they see it */
			r->to_acked = true;
			sh_leg_send_ack(to, NULL);
			if (r->from)
				over(r);
			return;
		}
		r->passed_2xx = true;
		if (!r->late_offer) {
			r->to_acked = true;
			sh_leg_send_ack(to, NULL);
		}
		answer(r, m->status, m);
		struct sh_report told = take_report(r);
		if (!r->from->answer) /* it could not be passed on */
			unanswered(r);
		report(&told, m->status, sh_msg_text(m, m->reason), SH_CAUSE_NONE, m);
		return;
	}
	if (!r->from)
		return;
	if (m->status == 481) {
		lost(r, 481);
		return;
	}
	if (m->status == 422) { /* our interval, not theirs (RFC 4028): with the next try it is larger */
		sh_session_too_small_for(to, m);
		answer(r, 500, NULL);
	} else {
		answer(r, m->status, m);
	}
	over_with(r, m->status, sh_msg_text(m, m->reason), sh_cause_of(m->status), m);
}

static void refuse(struct sh_leg *l, struct sh_server_txn *st, unsigned code, struct sh_slice reason, struct sh_slice headers,
		   sh_request_fn done, void *ctx)
{
	struct sh_result res = {code, reason.len ? reason : sh_status_reason(code), SH_REJECTED, NULL, NULL, 0};

	sh_ua_reply(l->ua, st, code, reason, (struct sh_slice){0}, headers);
	if (done)
		done(ctx, &res);
}

void sh_reinvite_pass(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m, struct sh_slice headers,
		      sh_request_fn done, void *ctx)
{
	struct sh_call *c = l->call;
	struct sh_leg *to = !c ? NULL : l == c->a ? c->b : l == c->b ? c->a : NULL;
	struct sh_ua *ua = l->ua;
	struct sh_writer line, rest;
	struct sh_slice none = {0};
	struct sh_reinvite *r;
	int err;

	if (l->reinvite && l->reinvite->from == l && l->reinvite->st) { /* 14.2: the first one has no answer yet */
		char text[32];
		struct sh_writer w;

		sh_writer_init(&w, text, sizeof(text));
		sh_put_retry_after(ua, &w);
		refuse(l, st, 500, SH_LIT("Another re-INVITE is in progress"), sh_writer_text(&w), done, ctx);
		return;
	}
	if (sh_leg_negotiates(l) || (to && sh_leg_negotiates(to)) || (!to && c && (l != c->a || !c->answered))) {
		/* glare, or too early: it is not connected yet */
		refuse(l, st, 491, none, none, done, ctx);
		return;
	}
	if (!to && l == (c ? c->a : NULL) && c->state == SH_CALL_UP) {
		struct sh_result res = {sh_solo_reinvite(l, st, m), {0}, SH_CAUSE_NONE, NULL, NULL, 0};

		res.reason = sh_status_reason(res.code);
		if (done)
			done(ctx, &res);
		return;
	}
	if (!to || to->state != SH_LEG_UP) {
		refuse(l, st, 480, none, none, done, ctx);
		return;
	}
	r = sh_calloc(1, sizeof(*r));
	if (!r) {
		refuse(l, st, 503, none, none, done, ctx);
		return;
	}
	sh_list_init(&r->of_target);
	r->from = l;
	r->to = to;
	r->st = st;
	r->late_offer = !m->body.len;
	r->silent = sh_msg_has_token(m, SH_H_REQUIRE, SH_LIT("100rel"));
	r->offer = sh_body_make(sh_msg_header(m, SH_H_CONTENT_TYPE), sh_msg_text(m, m->body));
	r->done = done;
	r->ctx = ctx;
	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(&to->dialog, SH_LIT("INVITE"), 0, m->max_forwards > 0 ? (unsigned)m->max_forwards - 1 : 70, &line,
			      &rest);
	sh_ua_put_contact(ua, &rest, &to->dialog.path, to->dialog.secure);
	sh_ua_put_product(ua, &rest, true);
	sh_put_header(&rest, SH_H_ALLOW, ua->allow_in_dialog);
	sh_ua_put_supported(&rest, false, false);
	sh_session_put_request(to, &rest);
	sh_put_copied(&rest, m, SH_COPY_DIALOG | (m->body.len ? SH_COPY_BODY : 0), headers, none, none);
	sh_put_said(&rest, headers);
	sh_put_body_of(&rest, m);
	err = sh_leg_send(to, &r->ct, SH_INVITE, &line, &rest, on_client_event, r);
	if (err) {
		sh_body_unref(r->offer);
		sh_free(r);
		refuse(l, st, 500, none, none, done, ctx);
		return;
	}
	to->dialog.invite_cseq = to->dialog.local_cseq;
	sh_list_append(&to->reinvites, &r->of_target);
	l->reinvite = to->reinvite = r;
	sh_server_txn_watch(st, on_server_event, l);
}

void sh_reinvite_start(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m)
{
	sh_reinvite_pass(l, st, m, (struct sh_slice){0}, NULL, NULL);
}

void sh_reinvite_cancel(struct sh_leg *l, struct sh_server_txn *st)
{
	struct sh_reinvite *r = l->reinvite;

	/* The other side decides: its 487 is passed on, and so is a 2xx that crosses, else the two would not agree on the
	 * session. */
	if (r && r->st == st && r->ct)
		sh_client_txn_cancel(r->ct, (struct sh_slice){0});
}

void sh_reinvite_acked(struct sh_leg *l, const struct sh_msg *ack)
{
	struct sh_reinvite *r = l->reinvite;

	if (!r || r->from != l || !r->passed_2xx)
		return; /* the application answered it */
	if (!r->to_acked) {
		r->to_acked = true;
		sh_leg_send_ack(r->to, ack);
		if (ack->body.len)
			sh_leg_learn_sdp(&l->remote_sdp, ack);
	}
	over(r);
}

bool sh_reinvite_forget(struct sh_leg *l, const void *ctx)
{
	struct sh_reinvite *r = l->reinvite;

	if (!r || r->from != l || !r->done || r->ctx != ctx)
		return false;
	r->done = NULL;
	return true;
}

bool sh_reinvite_is_from(const struct sh_leg *l)
{
	return l->reinvite && l->reinvite->from == l;
}

void sh_reinvite_let_go(struct sh_leg *l)
{
	SH_LIST_EACH_SAFE (k, &l->reinvites) {
		struct sh_reinvite *r = SH_CONTAINER(k, struct sh_reinvite, of_target);

		if (r->answered && !r->from)
			destroy(r);
	}
}

bool sh_reinvite_pending(const struct sh_leg *l)
{
	SH_LIST_EACH (k, &l->reinvites) {
		const struct sh_reinvite *r = SH_CONTAINER(k, struct sh_reinvite, of_target);

		if (r->ct && !r->answered)
			return true;
	}
	return false;
}

void sh_reinvite_drop(struct sh_leg *l)
{
	struct sh_reinvite *r = l->reinvite;
	sh_request_fn done = NULL;
	struct sh_link *k;
	void *ctx = NULL;

	if (r) {
		if (r->from)
			answer(r, 487, NULL);
		if (r->ct && !r->answered)
			sh_client_txn_cancel(r->ct, (struct sh_slice){0});
		done = r->done;
		ctx = r->ctx;
		r->done = NULL;
		unanswered(r);
	}
	while (l->state == SH_LEG_ENDED && (k = l->reinvites.next) != &l->reinvites)
		destroy(SH_CONTAINER(k, struct sh_reinvite, of_target));
	if (done && !l->ua->closing) { /* last: it may end other things */
		struct sh_result res = {487, sh_status_reason(487), SH_NO_ANSWER, NULL, NULL, 0};

		done(ctx, &res);
	}
}
