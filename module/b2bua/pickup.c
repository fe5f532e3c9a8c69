/* A call takes the place of a leg of another call: INVITE with Replaces (RFC 3891), directed pickup (RFC 5359 2.16).
 *
 * The other call goes on, and this one ends when its caller has come over. A leg that talks is replaced by re-INVITEs: the
 * partner that stays is offered what the new one can do, the new one is told what the partner answers, the old one is BYEd
 * (RFC 3891 3). A leg that rings is replaced by an answer: the new one wins the fork, the phones that ring are cancelled, and
 * whoever waits for the fork goes on with it. Nothing changes when it fails. */
#include "b2bua/fork.h"
#include "b2bua/question.h"

struct sh_pickup {
	struct sh_call *call;   /* who picks up; its leg a comes over */
	struct sh_call *target; /* that goes on */
	struct sh_leg *keep;    /* the partner that stays, of a call that is up; NULL: it rings */
	uint64_t replaced;      /* handle of the leg that goes */
	struct sh_question *question; /* about what one of the two is to be told */
	bool starting;          /* an error goes to who began it */
	int error;
	bool asked;             /* keep has accepted another session */
	bool keep_unacked;      /* and waits for an answer to its offer */
	sh_pickup_fn done;
	void *ctx;
};

static void on_restored(void *ctx, unsigned code, const struct sh_msg *m)
{
	(void)ctx;
	(void)code;
	(void)m;
}

/* keep goes back to what it had with the leg that was to go. */
static void restore(struct sh_pickup *p)
{
	struct sh_leg *old = sh_ua_leg(p->call->ua, p->replaced);

	sh_reoffer_forget(p->keep);
	if (p->keep_unacked)
		sh_leg_send_ack(p->keep, NULL);
	if (p->asked && old && old->remote_sdp && p->target->state == SH_CALL_UP)
		sh_reoffer_start(p->keep, old->remote_sdp, on_restored, NULL);
}

/* Over, one way or the other. code 0: the call has ended, and its end is told elsewhere. */
static void finish(struct sh_pickup *p, unsigned code)
{
	struct sh_call *c = p->call, *target = p->target;
	sh_pickup_fn done = p->done;
	void *ctx = p->ctx;

	if ((code >= 300 || !code) && !c->ua->closing) {
		if (p->keep)
			restore(p);
		else if (target->fork)
			sh_fork_resume(target->fork);
	}
	c->pickup = NULL;
	target->picked = NULL;
	sh_question_forget(&p->question);
	sh_free(p);
	if (code >= 300)
		sh_call_note_failure(c, code);
	done(ctx, code);
}

static void join(struct sh_pickup *p, struct sh_slice type, struct sh_slice text)
{
	struct sh_body *body = sh_body_make(type, text);
	int err = body ? sh_call_connect(p->call, body) : -ENOMEM;

	sh_body_unref(body);
	if (err)
		finish(p, 488);
}

static void on_answer_looked_at(struct sh_question *q)
{
	join(q->who, sh_body_type(q->body), sh_body_text(q->body));
}

static void on_kept(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_pickup *p = ctx;
	struct sh_asking a = {.slot = &p->question, .who = p, .then = on_answer_looked_at, .from = p->keep, .to = p->call->a};

	if (code >= 300) {
		finish(p, code);
		return;
	}
	p->asked = true;
	p->keep_unacked = a.is_offer = !p->call->a->remote_sdp;
	a.type = sh_msg_header(m, SH_H_CONTENT_TYPE);
	a.body = sh_msg_text(m, m->body);
	if (!sh_sdp_ask(p->call->ua, &a))
		join(p, a.type, a.body);
}

static void on_offer_looked_at(struct sh_question *q)
{
	struct sh_pickup *p = q->who;
	int err = sh_reoffer_start(p->keep, q->body, on_kept, p);

	if (err && p->starting)
		p->error = err;
	else if (err)
		finish(p, err == -EBUSY ? 491 : err == -ENOMEM ? 503 : 481);
}

static int take_over(struct sh_pickup *p, struct sh_leg *old)
{
	struct sh_call *t = p->target;
	struct sh_leg *keep = old == t->a ? t->b : old == t->b ? t->a : NULL;
	struct sh_body *body = p->call->a->remote_sdp;
	struct sh_asking a = {.slot = &p->question, .who = p, .then = on_offer_looked_at, .from = p->call->a, .to = keep, .is_offer = true,
			      .type = sh_body_type(body), .body = sh_body_text(body)};

	if (!keep || keep->state != SH_LEG_UP || old->state != SH_LEG_UP)
		return -EPIPE;
	if (t->transfer || t->rebridge || t->fork || t->bridge_done || keep->reoffer)
		return -EBUSY;
	p->keep = keep;
	p->starting = true;
	if (!sh_sdp_ask(t->ua, &a))
		p->error = sh_reoffer_start(keep, body, on_kept, p);
	p->starting = false;
	return p->error;
}

static int answer_instead(struct sh_pickup *p)
{
	struct sh_call *t = p->target;
	int err;

	if (!t->fork || t->answered || !t->a || !t->a->st)
		return -EPIPE;
	if (!t->a->remote_sdp)
		return -EBADMSG;
	err = sh_call_connect(p->call, t->a->remote_sdp);
	if (!err)
		sh_fork_suspend(t->fork, SH_LIT("SIP;cause=200;text=\"Call completed elsewhere\""));
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
	if (c->pickup || target->picked || c->fork)
		return -EBUSY;
	p = sh_calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->call = c;
	p->target = target;
	p->done = done;
	p->ctx = ctx;
	p->replaced = old ? old->handle : 0;
	if (target->state == SH_CALL_UP)
		err = old ? take_over(p, old) : -EPIPE;
	else if (target->state != SH_CALL_ENDED && (!old || !old->inbound)) /* not what the other side began: RFC 3891 3 */
		err = answer_instead(p);
	else
		err = -EPIPE;
	if (err) {
		sh_free(p);
		return err;
	}
	c->pickup = p;
	target->picked = p;
	return 0;
}

/* The leg leaves its call for the other one. */
static void come_over(struct sh_pickup *p, struct sh_leg *l)
{
	p->call->a = NULL;
	l->call = p->target;
	l->acked = true; /* there is no INVITE of ours in it */
	sh_list_append(&p->target->loose, &l->in_call);
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

void sh_pickup_acked(struct sh_pickup *p, const struct sh_msg *ack)
{
	struct sh_call *c = p->call, *t = p->target;
	struct sh_why why = {SH_BY_SCRIPT, 200, SH_LIT("Picked up"), 0, {0}};
	struct sh_leg *l = c->a, *keep = p->keep;
	sh_pickup_fn done = p->done;
	void *ctx = p->ctx;

	if (ack->body.len)
		sh_leg_learn_sdp(&l->remote_sdp, ack);
	if (p->keep_unacked)
		sh_leg_send_ack(keep, ack);
	come_over(p, l);
	if (keep)
		take_place(p, l);
	c->pickup = NULL;
	t->picked = NULL;
	sh_free(p);
	sh_call_hold(c);
	sh_call_hold(t);
	if (!keep && t->fork)
		sh_fork_won_by(t->fork, l);
	else if (!keep)
		sh_leg_hangup(l, (struct sh_slice){0}); /* it was given up a moment ago */
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
	finish(p, 0);
}

void sh_pickup_target_gone(struct sh_pickup *p)
{
	struct sh_call *c = p->call;
	bool answered = c->answered;

	finish(p, 481);
	if (answered) /* he was told of a session that is not there any more */
		sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("SIP;cause=481"));
}
