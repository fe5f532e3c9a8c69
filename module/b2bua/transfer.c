/* Transfers: see transfer.h. */
#include "b2bua/transfer.h"

#include "b2bua/fork.h"

struct sh_transfer {
	struct sh_call *call;
	struct sh_leg *keep;    /* when it goes the call ends */
	struct sh_leg *fresh;   /* answered, or come over, and not connected yet */
	uint64_t leaving;       /* handle of the leg that is to go */
	uint64_t lender, other; /* attended: handles of the call that fresh came from, and of its leg that stayed there */
	bool fresh_was_a;
	bool far;              /* fresh comes from another worker, `home` */
	bool asking;           /* and has not come yet */
	unsigned home;
	uint64_t serial;
	struct sh_timer timer; /* it does not come */
	const struct sh_transfer_events *events;
	void *ctx;
};

static void on_no_answer(struct sh_timer *timer);

static struct sh_transfer *create(struct sh_call *c, struct sh_leg *keep, const struct sh_transfer_events *ev, void *ctx)
{
	struct sh_leg *leaving = keep == c->a ? c->b : c->a;
	struct sh_transfer *t = sh_calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->call = c;
	t->keep = keep;
	t->leaving = leaving ? leaving->handle : 0;
	t->events = ev;
	t->ctx = ctx;
	sh_timer_init(&t->timer, on_no_answer);
	return t;
}

static int check(const struct sh_call *c, const struct sh_leg *keep)
{
	if (c->state != SH_CALL_UP || keep->state != SH_LEG_UP || (keep != c->a && keep != c->b))
		return -EPIPE;
	return c->transfer || c->rebridge || c->fork || c->bridge_done ? -EBUSY : 0;
}

/* What came over goes back, if its partner is still there. */
static void give_back(struct sh_transfer *t, struct sh_leg *fresh)
{
	struct sh_call *lender = sh_ua_call(t->call->ua, t->lender);
	struct sh_leg *other = sh_ua_leg(t->call->ua, t->other);
	struct sh_slice none = {0};

	if (!lender || lender->state != SH_CALL_UP || !other || other->call != lender || fresh->state != SH_LEG_UP) {
		sh_leg_hangup(fresh, none);
		return;
	}
	sh_list_remove(&fresh->in_call);
	fresh->call = lender;
	if (t->fresh_was_a)
		lender->a = fresh;
	else
		lender->b = fresh;
	lender->lends = false;
}

/* The call that fresh came from has lost it: the leaving party is alone there. */
static void end_lender(struct sh_ua *ua, uint64_t lender, struct sh_slice reason)
{
	struct sh_call *c = sh_ua_call(ua, lender);

	if (c && c->lends)
		sh_call_hangup(c, SH_BY_ENGINE, 0, reason);
}

static void finish(struct sh_transfer *t, const struct sh_result *res)
{
	struct sh_call *c = t->call;
	struct sh_ua *ua = c->ua;
	struct sh_leg *fresh = t->fresh, *keep = t->keep;
	uint64_t lender = t->far ? 0 : t->lender;
	bool alone;

	c->transfer = NULL;
	sh_wheel_cancel(&ua->env->wheel, &t->timer);
	if (ua->closing) {
		t->events->done(t->ctx, res);
		sh_free(t);
		return;
	}
	if (fresh && res->code >= 300) {
		if (t->far)
			sh_move_over(ua, fresh, t->home, t->lender, t->other, t->fresh_was_a, true);
		else if (t->lender)
			give_back(t, fresh);
		else
			sh_leg_hangup(fresh, (struct sh_slice){0});
	}
	sh_call_hold(c);
	t->events->done(t->ctx, res);
	if (t->far && res->code < 300)
		sh_move_over(ua, NULL, t->home, t->lender, t->other, t->fresh_was_a, false);
	sh_free(t);
	end_lender(ua, lender, SH_LIT("SIP;cause=200;text=\"Transferred\""));
	/* nothing came of it, and the old partner has hung up meanwhile */
	alone = !c->a || !c->b;
	if (c->state == SH_CALL_UP && alone && res->code >= 300 && !(keep == c->a && c->keep_on_peer_hangup))
		sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("SIP;cause=480;text=\"Transfer failed\""));
	sh_call_release(c);
}

static void finish_with(struct sh_transfer *t, unsigned code, const struct sh_msg *m)
{
	struct sh_result res = {code, m ? sh_msg_text(m, m->reason) : sh_status_reason(code),
				code < 300 ? SH_CAUSE_NONE : sh_cause_of(code), m, NULL, 0};

	finish(t, &res);
}

static void on_rebridged(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_transfer *t = ctx;

	if (code < 300)
		t->fresh = NULL; /* connected */
	finish_with(t, code, m);
}

static void rebridge(struct sh_transfer *t)
{
	int err = sh_call_rebridge(t->call, t->keep, t->fresh, on_rebridged, t);

	if (err)
		finish_with(t, err == -EBADMSG ? 488 : err == -ENOMEM ? 503 : err == -EBUSY ? 491 : 480, NULL);
}

/* ------------------------------------------------------------------ blind */

static void on_progress(void *ctx, unsigned code, struct sh_slice reason)
{
	struct sh_transfer *t = ctx;

	if (t->events->progress)
		t->events->progress(t->ctx, code, reason);
}

static void on_forked(void *ctx, struct sh_leg *leg, const struct sh_result *r)
{
	struct sh_transfer *t = ctx;

	if (!leg) {
		finish(t, r);
		return;
	}
	t->fresh = leg;
	rebridge(t);
}

/* Who calls the target is the party that stays (RFC 5589 6.1). */
static int introduce(struct sh_fork_plan *plan, const struct sh_leg *keep)
{
	for (unsigned i = 0; i < plan->count; i++) {
		struct sh_target *t = &plan->targets[i];

		if (!t->from.len && sh_arena_dup(&plan->arena, sh_dialog_remote(&keep->dialog), &t->from) < 0)
			return -ENOMEM;
		if (!t->to.len && sh_arena_printf(&plan->arena, &t->to, "<%.*s>", SH_FMT(t->uri)) < 0)
			return -ENOMEM;
	}
	return 0;
}

int sh_call_transfer(struct sh_call *c, struct sh_leg *keep, struct sh_fork_plan *plan, const struct sh_transfer_events *ev,
		     void *ctx)
{
	int err = check(c, keep);
	struct sh_transfer *t = NULL;

	if (!err)
		err = introduce(plan, keep);
	if (!err) {
		t = create(c, keep, ev, ctx);
		err = t ? 0 : -ENOMEM;
	}
	if (err) {
		sh_arena_finish(&plan->arena);
		return err;
	}
	plan->progress = on_progress;
	plan->offer_of = keep->handle;
	err = sh_call_fork(c, plan, on_forked, t);
	if (err)
		sh_free(t);
	else
		c->transfer = t;
	return err;
}

/* ------------------------------------------------------------------ attended */

int sh_call_join(struct sh_call *c, struct sh_leg *keep, struct sh_leg *with, const struct sh_transfer_events *ev, void *ctx)
{
	struct sh_call *lender = with->call;
	int err = check(c, keep);
	struct sh_leg *fresh;
	struct sh_transfer *t;

	if (err)
		return err;
	if (!lender || lender->state != SH_CALL_UP || lender->lends)
		return -EPIPE;
	if (lender == c)
		return -EINVAL;
	fresh = with == lender->a ? lender->b : with == lender->b ? lender->a : NULL;
	if (!fresh || fresh->state != SH_LEG_UP)
		return -EPIPE;
	if (lender->transfer || lender->rebridge || lender->bridge_done)
		return -EBUSY;
	t = create(c, keep, ev, ctx);
	if (!t)
		return -ENOMEM;
	t->fresh = fresh;
	t->lender = lender->handle;
	t->other = with->handle;
	t->fresh_was_a = fresh == lender->a;
	if (t->fresh_was_a)
		lender->a = NULL;
	else
		lender->b = NULL;
	lender->lends = true;
	fresh->call = c;
	sh_list_append(&c->loose, &fresh->in_call);
	c->transfer = t;
	err = sh_call_rebridge(c, keep, fresh, on_rebridged, t);
	if (err) {
		c->transfer = NULL;
		give_back(t, fresh);
		sh_free(t);
	}
	return err;
}

/* ------------------------------------------------------------------ from another worker */

enum { PATIENCE = 5 }; /* s; the other worker answers at once unless the process is drowning */

static void on_no_answer(struct sh_timer *timer)
{
	finish_with(SH_CONTAINER(timer, struct sh_transfer, timer), 503, NULL);
}

int sh_call_join_far(struct sh_call *c, struct sh_leg *keep, const struct sh_dialog_ids *ids, unsigned home,
		     const struct sh_referrer *who, const struct sh_transfer_events *ev, void *ctx)
{
	int err = check(c, keep);
	struct sh_transfer *t = err ? NULL : create(c, keep, ev, ctx);

	if (!t)
		return err ? err : -ENOMEM;
	t->far = t->asking = true;
	t->home = home;
	t->serial = ++c->ua->serial;
	err = sh_move_ask(c, ids, home, who, t->serial);
	if (err) {
		sh_free(t);
		return err;
	}
	c->transfer = t;
	sh_env_timer(c->ua->env, &t->timer, PATIENCE * SH_SECOND);
	return 0;
}

bool sh_transfer_take(struct sh_call *c, uint64_t serial, struct sh_leg *l, unsigned home, uint64_t lender, uint64_t other, bool was_a)
{
	struct sh_transfer *t = c ? c->transfer : NULL;

	if (!t || t->serial != serial || !t->asking || c->state != SH_CALL_UP)
		return false;
	sh_wheel_cancel(&c->ua->env->wheel, &t->timer);
	t->asking = false;
	t->home = home;
	t->lender = lender;
	t->other = other;
	t->fresh_was_a = was_a;
	t->fresh = l;
	l->call = c;
	sh_list_append(&c->loose, &l->in_call);
	rebridge(t);
	return true;
}

void sh_transfer_refused(struct sh_call *c, uint64_t serial, unsigned code)
{
	struct sh_transfer *t = c ? c->transfer : NULL;

	if (t && t->serial == serial && t->asking)
		finish_with(t, code, NULL);
}

void sh_transfer_end_lender(struct sh_ua *ua, uint64_t lender)
{
	end_lender(ua, lender, SH_LIT("SIP;cause=200;text=\"Transferred\""));
}

/* ------------------------------------------------------------------ what happens meanwhile */

bool sh_transfer_survives(const struct sh_transfer *t, const struct sh_leg *l)
{
	return l != t->keep;
}

void sh_transfer_abort(struct sh_transfer *t)
{
	struct sh_call *c = t->call;

	if (c->rebridge)
		sh_rebridge_abort(c->rebridge);
	if (c->fork)
		sh_fork_abort(c->fork, SH_LIT("SIP;cause=487;text=\"Transfer given up\""));
	finish_with(t, 487, NULL);
}
