/* An INVITE of the engine's own in a dialog that is up (RFC 3261 14): it offers a session, or asks for an offer.
 *
 * Both sides may want the dialog at the same time: it waits until what is going on is over, and a 491 is tried again
 * after the times of 14.1. Who asked sends the ACK to an offer that came in the 2xx (sh_leg_send_ack_body); the others
 * are acknowledged here, and so is an answer that nobody waits for any more. */
#include "b2bua/impl.h"

enum { MOST_TRIES = 6, BUSY_WAIT = 100 * SH_MS, LONGEST_RETRY_AFTER = 10 };

struct sh_reoffer {
	struct sh_link of_leg; /* in leg->reoffers until its client transaction ends: a repeated 2xx wants its ACK */
	struct sh_leg *leg;
	struct sh_client_txn *ct;
	struct sh_timer timer;  /* waits for its turn */
	struct sh_body *offer;  /* NULL: the answer is to have one */
	unsigned tries;
	uint64_t waits_until;   /* no longer than this for its turn */
	bool answered;
	sh_reoffer_fn done;     /* NULL: nobody waits any more */
	void *ctx;
};

static void destroy(struct sh_reoffer *r)
{
	sh_wheel_cancel(&r->leg->ua->env->wheel, &r->timer);
	if (r->ct)
		sh_leg_detach_invite(r->leg, r->ct);
	if (r->leg->reoffer == r)
		r->leg->reoffer = NULL;
	sh_list_remove(&r->of_leg);
	sh_body_unref(r->offer);
	sh_free(r);
}

/* It is over for the leg; without a transaction that still brings answers also for us. */
static void over(struct sh_reoffer *r)
{
	if (r->leg->reoffer == r)
		r->leg->reoffer = NULL;
	r->done = NULL;
	sh_wheel_cancel(&r->leg->ua->env->wheel, &r->timer);
	if (!r->ct)
		destroy(r);
}

static void report(struct sh_reoffer *r, unsigned code, const struct sh_msg *m)
{
	sh_reoffer_fn done = r->done;
	void *ctx = r->ctx;

	over(r);
	if (done)
		done(ctx, code, m);
}

/* 12.2.1.2: the peer knows nothing of the dialog, or does not answer at all. */
static void lost(struct sh_reoffer *r, unsigned code)
{
	struct sh_leg *l = r->leg;

	sh_leg_want_reason(l, code == 481 ? SH_LIT("SIP;cause=481") : SH_LIT("SIP;cause=408;text=\"No answer to re-INVITE\""));
	report(r, code, NULL);
	if (l->call && l->state == SH_LEG_UP)
		sh_call_leg_lost(l->call, l, code);
}

static void later(struct sh_reoffer *r, uint64_t delay)
{
	sh_env_timer(r->leg->ua->env, &r->timer, delay);
}

/* 491: whoever made the Call-ID waits 2.1 to 4 s, the other one up to 2 s, both in steps of 10 ms (14.1). */
static uint64_t glare_wait(struct sh_leg *l)
{
	struct sh_random *random = &l->ua->env->random;

	return l->dialog.uac ? (210 + sh_random_below(random, 191)) * 10 * SH_MS : sh_random_below(random, 201) * 10 * SH_MS;
}

static bool try_again(struct sh_reoffer *r, const struct sh_msg *m)
{
	uint32_t seconds;
	struct sh_slice text, comment;

	if (!r->done || r->tries >= MOST_TRIES)
		return false;
	if (m->status == 491) {
		later(r, glare_wait(r->leg));
		return true;
	}
	if (m->status == 422) { /* RFC 4028 7.4 */
		sh_session_too_small_for(r->leg, m);
		later(r, 0);
		return true;
	}
	sh_slice_cut(sh_msg_header(m, SH_H_RETRY_AFTER), '(', &text, &comment);
	sh_slice_cut(text, ';', &text, &comment);
	if (m->status != 500 || sh_slice_u32(sh_slice_trim(text), &seconds) < 0 || seconds > LONGEST_RETRY_AFTER)
		return false;
	later(r, seconds * SH_SECOND + 10 * SH_MS);
	return true;
}

static void on_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_reoffer *r = user;
	struct sh_leg *l = r->leg;

	if (ev == SH_CLIENT_ENDED) {
		sh_leg_invite_ended(l, ct);
		r->ct = NULL;
		if (!r->done && l->reoffer != r)
			destroy(r);
		if (l->state == SH_LEG_ENDING)
			sh_leg_wind_up(l);
		return;
	}
	if (ev != SH_CLIENT_RESPONSE) {
		r->answered = true;
		if (r->done)
			lost(r, ev == SH_CLIENT_TIMEOUT ? 408 : 503);
		return;
	}
	if (m->status < 200)
		return;
	if (m->status >= 300) {
		r->answered = true;
		if (m->status == 481 && r->done)
			lost(r, 481);
		else if (try_again(r, m))
			; /* its turn comes with the timer */
		else
			report(r, m->status, m);
		return;
	}
	if (r->answered) /* again */
		return;
	r->answered = true;
	sh_dialog_refresh(&l->dialog, m, sh_client_txn_path(ct));
	sh_leg_find_path(l, &l->dialog, sh_client_txn_path(ct));
	sh_leg_learn_sdp(&l->remote_sdp, m);
	sh_session_on_answer(l, m);
	if (r->offer || !r->done) {
		if (r->offer) {
			sh_body_unref(l->local_sdp);
			l->local_sdp = sh_body_ref(r->offer);
		}
		if (!r->offer && m->body.len && l->local_sdp) /* nobody waits for its offer any more: all stays as it was */
			sh_leg_send_ack_body(l, sh_body_type(l->local_sdp), sh_body_text(l->local_sdp));
		else
			sh_leg_send_ack(l, NULL);
	}
	report(r, m->status, m);
}

static int send_invite(struct sh_reoffer *r)
{
	struct sh_leg *l = r->leg;
	struct sh_ua *ua = l->ua;
	struct sh_writer line, rest;
	struct sh_slice none = {0};

	r->tries++;
	r->answered = false;
	if (r->ct)
		sh_leg_detach_invite(l, r->ct);
	r->ct = NULL;
	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(&l->dialog, SH_LIT("INVITE"), 0, 70, &line, &rest);
	sh_ua_put_contact(ua, &rest, &l->dialog.path, l->dialog.secure);
	sh_ua_put_product(ua, &rest, true);
	sh_session_id_put(l, &rest);
	sh_put_header(&rest, SH_H_ALLOW, ua->allow_in_dialog);
	sh_ua_put_supported(&rest, false, false);
	sh_session_put_request(l, &rest);
	if (r->offer)
		sh_put_body(&rest, sh_body_type(r->offer), sh_body_text(r->offer));
	else
		sh_put_body(&rest, none, none);
	return sh_leg_send(l, &r->ct, SH_INVITE, &line, &rest, on_event, r);
}

/* Also with one whose sender has gone, and that has no answer yet (14.1): its ACK would have the number of ours. */
static bool busy(const struct sh_leg *l)
{
	return l->reinvite || l->update || l->answer || sh_reinvite_pending(l);
}

static void on_turn(struct sh_timer *t)
{
	struct sh_reoffer *r = SH_CONTAINER(t, struct sh_reoffer, timer);
	struct sh_leg *l = r->leg;

	if (busy(l)) {
		if (l->ua->env->now < r->waits_until)
			later(r, BUSY_WAIT);
		else
			report(r, 491, NULL);
		return;
	}
	if (send_invite(r) < 0)
		report(r, 503, NULL);
}

int sh_reoffer_start(struct sh_leg *l, struct sh_body *offer, sh_reoffer_fn done, void *ctx)
{
	struct sh_ua *ua = l->ua;
	struct sh_reoffer *r;

	if (l->state != SH_LEG_UP)
		return -EPIPE;
	if (l->reoffer)
		return -EBUSY;
	r = sh_calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->leg = l;
	sh_timer_init(&r->timer, on_turn);
	r->offer = sh_body_ref(offer);
	r->waits_until = ua->env->now + 64 * ua->config.txn.t1;
	r->done = done;
	r->ctx = ctx;
	l->reoffer = r;
	sh_list_append(&l->reoffers, &r->of_leg);
	later(r, 0);
	return 0;
}

void sh_reoffer_forget(struct sh_leg *l)
{
	struct sh_reoffer *r = l->reoffer;

	if (!r)
		return;
	if (r->ct && !r->answered)
		sh_client_txn_cancel(r->ct, (struct sh_slice){0});
	over(r);
}

void sh_reoffer_let_go(struct sh_leg *l)
{
	SH_LIST_EACH_SAFE (k, &l->reoffers) {
		struct sh_reoffer *r = SH_CONTAINER(k, struct sh_reoffer, of_leg);

		if (r->answered && r != l->reoffer)
			destroy(r);
	}
}

bool sh_reoffer_pending(const struct sh_leg *l)
{
	SH_LIST_EACH (k, &l->reoffers) {
		const struct sh_reoffer *r = SH_CONTAINER(k, struct sh_reoffer, of_leg);

		if (r->ct && !r->answered)
			return true;
	}
	return false;
}

void sh_reoffer_drop(struct sh_leg *l)
{
	struct sh_reoffer *r = l->reoffer;
	sh_reoffer_fn done = r ? r->done : NULL;
	void *ctx = r ? r->ctx : NULL;
	struct sh_link *k;

	sh_reoffer_forget(l);
	while (l->state == SH_LEG_ENDED && (k = l->reoffers.next) != &l->reoffers)
		destroy(SH_CONTAINER(k, struct sh_reoffer, of_leg));
	if (done && !l->ua->closing) /* last: it may end other things */
		done(ctx, 487, NULL);
}
