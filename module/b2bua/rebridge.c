/* A party of a call that is up gets another partner: RFC 3725 flow I, with the one leg that is there already.
 *
 *   keep                         here                         fresh
 *     |                            | -- INVITE, no offer ------> |   its 2xx has an offer: the INVITE that made the leg
 *     |                            | <----- 200, offer --------- |   was without one, or it is asked with a re-INVITE
 *     | <-- re-INVITE, that offer--|                             |
 *     |------ 200, answer -------->| -- ACK, that answer ------> |
 *
 * Both sides say what they can do now: no description is used that is old, on hold, or cut down to what a third party
 * could do. Until `keep` has answered nothing has changed for it, and when it refuses, `fresh` gets its own old session
 * back (RFC 6141 3.3) and stays a leg that is not connected. The application looks at both descriptions (the sdp hook). */
#include "b2bua/question.h"

struct sh_rebridge {
	struct sh_call *call;
	struct sh_leg *keep, *fresh;
	struct sh_body *former; /* what fresh was told before: the answer to its offer when keep refuses; may be NULL */
	bool fresh_unacked;     /* its offer waits for an answer */
	bool kept;              /* keep has agreed, and the application looks at its answer */
	bool starting;          /* an error goes to who began it */
	int error;
	struct sh_question *question;
	sh_rebridge_fn done;
	void *ctx;
};

static void destroy(struct sh_rebridge *r)
{
	r->call->rebridge = NULL;
	sh_question_forget(&r->question);
	sh_body_unref(r->former);
	sh_free(r);
}

static void report(struct sh_rebridge *r, unsigned code, const struct sh_msg *m)
{
	sh_rebridge_fn done = r->done;
	void *ctx = r->ctx;

	destroy(r);
	done(ctx, code, m);
}

/* fresh has made an offer that nobody answers. */
static void give_back(struct sh_rebridge *r)
{
	if (!r->fresh_unacked || r->fresh->state == SH_LEG_ENDED)
		return;
	r->fresh_unacked = false;
	if (r->former)
		sh_leg_send_ack_body(r->fresh, sh_body_type(r->former), sh_body_text(r->former));
	else
		sh_leg_send_ack(r->fresh, NULL);
}

static void take_place(struct sh_rebridge *r)
{
	struct sh_call *c = r->call;
	struct sh_leg *old = c->a == r->keep ? c->b : c->a;

	sh_list_remove(&r->fresh->in_call);
	sh_leg_forget_answer(r->fresh);
	if (c->a == r->keep)
		c->b = r->fresh;
	else
		c->a = r->fresh;
	if (old)
		sh_list_append(&c->loose, &old->in_call);
}

/* m: the answer of keep. */
static void join(struct sh_rebridge *r, const struct sh_msg *m)
{
	r->fresh_unacked = false;
	sh_leg_send_ack(r->fresh, m);
	take_place(r);
	report(r, m->status, m);
}

static void on_answer_looked_at(struct sh_question *q)
{
	join(q->who, q->msg);
}

static void on_kept(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_rebridge *r = ctx;
	struct sh_asking a = {.slot = &r->question, .who = r, .then = on_answer_looked_at, .from = r->keep, .to = r->fresh, .msg = m};

	if (code >= 300) {
		give_back(r);
		report(r, code, m);
		return;
	}
	r->kept = true;
	if (!sh_sdp_ask(r->call->ua, &a))
		join(r, m);
}

static void offer(struct sh_rebridge *r, struct sh_body *body)
{
	int err = body ? sh_reoffer_start(r->keep, body, on_kept, r) : -EBADMSG;

	if (!err)
		return;
	if (r->starting) {
		r->error = err;
		return;
	}
	give_back(r);
	report(r, err == -EBADMSG ? 488 : err == -ENOMEM ? 503 : 491, NULL);
}

static void on_offer_looked_at(struct sh_question *q)
{
	offer(q->who, q->body);
}

static void offer_to_keep(struct sh_rebridge *r)
{
	struct sh_body *body = r->fresh->remote_sdp;
	struct sh_asking a = {.slot = &r->question, .who = r, .then = on_offer_looked_at, .from = r->fresh, .to = r->keep, .is_offer = true,
			      .type = sh_body_type(body), .body = sh_body_text(body)};

	r->fresh_unacked = true;
	if (!sh_sdp_ask(r->call->ua, &a))
		offer(r, body);
}

static void on_fresh(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_rebridge *r = ctx;

	if (code >= 300) {
		report(r, code, m);
		return;
	}
	if (!m->body.len) { /* it agreed, and said nothing */
		r->fresh_unacked = true;
		give_back(r);
		report(r, 488, NULL);
		return;
	}
	offer_to_keep(r);
}

int sh_call_rebridge(struct sh_call *c, struct sh_leg *keep, struct sh_leg *fresh, sh_rebridge_fn done, void *ctx)
{
	struct sh_rebridge *r;
	int err;

	if (c->state != SH_CALL_UP || keep->call != c || fresh->call != c || keep == fresh || keep->state != SH_LEG_UP ||
	    fresh->state != SH_LEG_UP || (keep != c->a && keep != c->b))
		return -EPIPE;
	if (c->rebridge || keep->reoffer)
		return -EBUSY;
	r = sh_calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->call = c;
	r->keep = keep;
	r->fresh = fresh;
	r->done = done;
	r->ctx = ctx;
	r->former = sh_body_ref(fresh->local_sdp);
	c->rebridge = r;
	r->starting = true;
	if (fresh->inbound || fresh->acked) {
		err = sh_reoffer_start(fresh, NULL, on_fresh, r);
	} else { /* its 2xx waits for an ACK with an answer */
		offer_to_keep(r);
		err = r->error;
	}
	r->starting = false;
	if (err)
		destroy(r);
	return err;
}

bool sh_rebridge_concerns(const struct sh_rebridge *r, const struct sh_leg *l)
{
	return l == r->keep || l == r->fresh;
}

static void on_restored(void *ctx, unsigned code, const struct sh_msg *m)
{
	(void)ctx;
	(void)code;
	(void)m;
}

/* keep has agreed to talk to a leg that has gone while the application looked at that: it gets its old partner back. */
static void restore(struct sh_rebridge *r)
{
	struct sh_call *c = r->call;
	struct sh_leg *old = c->a == r->keep ? c->b : c->a;

	if (c->state == SH_CALL_UP && r->keep->state == SH_LEG_UP && old && old->remote_sdp)
		sh_reoffer_start(r->keep, old->remote_sdp, on_restored, NULL);
}

static void stop(struct sh_rebridge *r)
{
	sh_reoffer_forget(r->keep);
	sh_reoffer_forget(r->fresh);
	give_back(r);
	if (r->kept)
		restore(r);
}

void sh_rebridge_abort(struct sh_rebridge *r)
{
	stop(r);
	destroy(r);
}

void sh_rebridge_leg_gone(struct sh_rebridge *r)
{
	stop(r);
	report(r, 487, NULL);
}
