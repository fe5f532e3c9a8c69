/* A call takes the place of a leg of another call: INVITE with Replaces (RFC 3891), directed pickup (RFC 5359 2.16).
 *
 * The other call goes on, and this one ends when its caller has come over. A leg that talks is replaced by re-INVITEs: the
 * partner that stays is offered what the new one can do, the new one is told what the partner answers, the old one is BYEd
 * (RFC 3891 3). A leg that rings is replaced by an answer: the new one wins the fork, the phones that ring are cancelled, and
 * whoever waits for the fork goes on with it. Nothing changes when it fails. */
#include "b2bua/pickup.h"

#include "b2bua/fork.h"

static void on_restored(void *ctx, unsigned code, const struct sh_msg *m)
{
	(void)ctx;
	(void)code;
	(void)m;
}

/* keep goes back to what it had with the leg that was to go. */
static void restore(struct sh_pickup *p)
{
	struct sh_leg *old = sh_ua_leg(p->ua, p->replaced);

	sh_reoffer_forget(p->keep);
	if (p->keep_unacked)
		sh_leg_send_ack(p->keep, NULL);
	if (p->asked && old && old->remote_sdp && p->target->state == SH_CALL_UP)
		sh_reoffer_start(p->keep, old->remote_sdp, on_restored, NULL);
}

void sh_pickup_free(struct sh_pickup *p)
{
	sh_question_forget(&p->question);
	if (p->far)
		sh_wheel_cancel(&p->ua->env->wheel, &p->timer);
	sh_body_unref(p->offer);
	sh_body_unref(p->shown);
	sh_body_unref(p->ack);
	sh_free(p);
}

void sh_pickup_finish(struct sh_pickup *p, unsigned code)
{
	struct sh_call *c = p->call, *target = p->target;
	sh_pickup_fn done = p->done;
	void *ctx = p->ctx;

	if (target && !p->ua->closing) {
		if (p->keep)
			restore(p);
		else if (target->fork && target->fork->suspended)
			sh_fork_resume(target->fork);
	}
	if (c)
		c->pickup = NULL;
	if (target)
		target->picked = NULL;
	if (p->far && !p->over && !p->ua->closing)
		sh_pickup_tell_over(p, code);
	sh_pickup_free(p);
	if (!c)
		return;
	if (code)
		sh_call_note_failure(c, code);
	done(ctx, code);
}

/* To who picks up: what his INVITE is answered with. */
static int tell(struct sh_pickup *p, struct sh_slice type, struct sh_slice text)
{
	struct sh_body *body;
	int err;

	if (p->far)
		return sh_pickup_tell_answer(p, type, text);
	body = sh_body_make(type, text);
	err = body ? sh_call_connect(p->call, body) : -ENOMEM;
	sh_body_unref(body);
	return err;
}

static void join(struct sh_pickup *p, struct sh_slice type, struct sh_slice text)
{
	if (tell(p, type, text))
		sh_pickup_finish(p, 488);
}

static void on_answer_looked_at(struct sh_question *q)
{
	join(q->who, sh_body_type(q->body), sh_body_text(q->body));
}

/* Who picks up, or the one whose place he takes when he is on another worker. */
static struct sh_leg *new_one(const struct sh_pickup *p)
{
	return p->call ? p->call->a : sh_ua_leg(p->ua, p->replaced);
}

static void on_kept(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_pickup *p = ctx;
	struct sh_asking a = {.slot = &p->question, .who = p, .then = on_answer_looked_at, .from = p->keep, .to = new_one(p)};

	if (code >= 300) {
		sh_pickup_finish(p, code);
		return;
	}
	p->asked = true;
	p->keep_unacked = a.is_offer = !p->offer;
	a.type = sh_msg_header(m, SH_H_CONTENT_TYPE);
	a.body = sh_msg_text(m, m->body);
	if (!sh_sdp_ask(p->ua, &a))
		join(p, a.type, a.body);
}

unsigned sh_pickup_code(int err)
{
	return err == -EBUSY ? 491 : err == -EBADMSG ? 488 : err == -ENOMEM ? 503 : 481;
}

static void go_on(struct sh_pickup *p, int err)
{
	if (err && p->starting)
		p->error = err;
	else if (err)
		sh_pickup_finish(p, sh_pickup_code(err));
}

static void on_offer_looked_at(struct sh_question *q)
{
	struct sh_pickup *p = q->who;

	go_on(p, sh_reoffer_start(p->keep, q->body, on_kept, p));
}

static int take_over(struct sh_pickup *p, struct sh_leg *old)
{
	struct sh_call *t = p->target;
	struct sh_leg *keep = old == t->a ? t->b : old == t->b ? t->a : NULL;
	struct sh_asking a = {.slot = &p->question, .who = p, .then = on_offer_looked_at, .from = new_one(p), .to = keep, .is_offer = true,
			      .type = sh_body_type(p->offer), .body = sh_body_text(p->offer)};

	if (!keep || keep->state != SH_LEG_UP || old->state != SH_LEG_UP)
		return -EPIPE;
	if (t->transfer || t->rebridge || t->fork || t->bridge_done || keep->reoffer)
		return -EBUSY;
	p->keep = keep;
	p->starting = true;
	if (!sh_sdp_ask(p->ua, &a))
		p->error = sh_reoffer_start(keep, p->offer, on_kept, p);
	p->starting = false;
	return p->error;
}

static bool rings(const struct sh_call *t)
{
	return t->fork && !t->answered && t->a && t->a->st;
}

static int win(struct sh_pickup *p, struct sh_body *sdp)
{
	int err = rings(p->target) ? tell(p, sh_body_type(sdp), sh_body_text(sdp)) : -EPIPE; /* it may be answered by now */

	if (!err)
		sh_fork_suspend(p->target->fork, SH_LIT("SIP;cause=200;text=\"Call completed elsewhere\""));
	return err;
}

static void on_caller_looked_at(struct sh_question *q)
{
	go_on(q->who, win(q->who, q->body));
}

/* What the caller said goes to who picks up, whose INVITE may have made an offer: then it is the answer. */
static int tell_what_the_caller_said(struct sh_pickup *p)
{
	struct sh_leg *a = p->target->a;
	struct sh_body *sdp = rings(p->target) ? a->remote_sdp : NULL;
	struct sh_asking asking = {.slot = &p->question, .who = p, .then = on_caller_looked_at, .from = a, .to = new_one(p), .is_offer = !p->offer,
				   .type = sh_body_type(sdp), .body = sh_body_text(sdp)};

	if (!sdp)
		return rings(p->target) ? -EBADMSG : -EPIPE;
	return sh_sdp_ask(p->ua, &asking) ? 0 : win(p, sdp);
}

static void on_picker_looked_at(struct sh_question *q)
{
	struct sh_pickup *p = q->who;

	p->shown = sh_body_ref(q->body);
	go_on(p, tell_what_the_caller_said(p));
}

/* The caller gets what who picks up has offered, as an answer: the application may look at both. */
static int answer_instead(struct sh_pickup *p)
{
	struct sh_asking asking = {.slot = &p->question, .who = p, .then = on_picker_looked_at, .from = new_one(p), .to = p->target->a,
				   .type = sh_body_type(p->offer), .body = sh_body_text(p->offer)};
	int err = 0;

	if (!rings(p->target))
		return -EPIPE;
	p->starting = true;
	if (!p->offer || !sh_sdp_ask(p->ua, &asking))
		err = tell_what_the_caller_said(p);
	p->starting = false;
	return err ? err : p->error;
}

int sh_pickup_begin(struct sh_pickup *p, struct sh_leg *old)
{
	struct sh_call *t = p->target;
	int err = -EPIPE;

	p->replaced = old ? old->handle : 0;
	if (t->picked)
		return -EBUSY;
	if (t->state == SH_CALL_UP && old)
		err = take_over(p, old);
	else if (t->state != SH_CALL_UP && t->state != SH_CALL_ENDED && (!old || !old->inbound)) /* not what the other side began: RFC 3891 3 */
		err = answer_instead(p);
	if (!err)
		t->picked = p;
	return err;
}

int sh_call_pickup(struct sh_call *c, struct sh_call *target, struct sh_leg *old, sh_pickup_fn done, void *ctx)
{
	struct sh_pickup *p;
	int err;

	if (c->state == SH_CALL_ENDED || c->answered || !c->a || !c->a->st)
		return -EALREADY;
	if (!target || c == target)
		return -EPIPE;
	if (c->pickup || c->fork)
		return -EBUSY;
	p = sh_calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->ua = c->ua;
	p->call = c;
	p->target = target;
	p->offer = sh_body_ref(c->a->remote_sdp);
	p->done = done;
	p->ctx = ctx;
	err = sh_pickup_begin(p, old);
	if (err) {
		sh_pickup_free(p);
		return err;
	}
	c->pickup = p;
	return 0;
}

static void take_place(struct sh_pickup *p, struct sh_leg *l)
{
	struct sh_call *t = p->target;
	struct sh_leg *old = t->a == p->keep ? t->b : t->a;

	sh_list_remove(&l->in_call);
	if (t->a == p->keep)
		t->b = l;
	else
		t->a = l;
	if (old)
		sh_leg_hangup(old, SH_LIT("SIP;cause=200;text=\"Replaced\""));
}

void sh_pickup_take_in(struct sh_pickup *p, struct sh_leg *l, struct sh_body *ack)
{
	struct sh_call *t = p->target;
	struct sh_leg *keep = p->keep;

	if (p->keep_unacked)
		sh_leg_send_ack_body(keep, sh_body_type(ack), sh_body_text(ack));
	if (p->keep_unacked && ack) {
		sh_body_unref(keep->local_sdp);
		keep->local_sdp = sh_body_ref(ack);
	}
	if (p->shown) {
		sh_body_unref(l->remote_sdp);
		l->remote_sdp = sh_body_ref(p->shown);
	}
	l->call = t;
	l->acked = true; /* there is no INVITE of ours in it */
	sh_list_append(&t->loose, &l->in_call);
	if (keep)
		take_place(p, l);
	t->picked = NULL;
	sh_pickup_free(p);
	if (!keep && t->fork)
		sh_fork_won_by(t->fork, l);
	else if (!keep)
		sh_leg_hangup(l, (struct sh_slice){0}); /* it was given up a moment ago */
}

void sh_pickup_acked(struct sh_pickup *p, const struct sh_msg *ack)
{
	struct sh_call *c = p->call, *t = p->target;
	struct sh_why why = {SH_BY_SCRIPT, 200, SH_LIT("Picked up"), 0, {0}};
	struct sh_body *said = sh_body_make(sh_msg_header(ack, SH_H_CONTENT_TYPE), sh_msg_text(ack, ack->body));
	struct sh_leg *l = c->a;
	sh_pickup_fn done = p->done;
	void *ctx = p->ctx;

	if (ack->body.len)
		sh_leg_learn_sdp(&l->remote_sdp, ack);
	if (p->far) {
		p->ack = said;
		sh_pickup_send_leg(p);
		return;
	}
	sh_call_hold(c);
	sh_call_hold(t);
	c->a = NULL;
	c->pickup = NULL;
	sh_pickup_take_in(p, l, said);
	sh_body_unref(said);
	done(ctx, 200);
	sh_call_end(c, &why, (struct sh_slice){0});
	sh_call_release(t);
	sh_call_release(c);
}

bool sh_pickup_replaces(const struct sh_pickup *p, const struct sh_leg *l)
{
	return p->keep && l != p->keep;
}

void sh_pickup_abort(struct sh_pickup *p)
{
	sh_pickup_finish(p, 0);
}

void sh_pickup_target_gone(struct sh_pickup *p)
{
	sh_pickup_come_to_nothing(p, 481);
}

void sh_pickup_come_to_nothing(struct sh_pickup *p, unsigned code)
{
	struct sh_call *c = p->call;
	bool answered = c && c->answered;

	sh_pickup_finish(p, code);
	if (answered && !c->ua->closing) /* he was told of a session that is not there any more */
		sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("SIP;cause=481"));
}
