/* Calls of our own: see originate.h. */
#include "b2bua/originate.h"

#include "b2bua/early.h"

struct sh_originate {
	struct sh_call *call;
	struct sh_fork_plan second;
	bool has_second;
	sh_originate_fn done; /* NULL: nobody waits */
	void *ctx;
	const struct sh_result *failure; /* while its call is being ended for it */
};

static void destroy(struct sh_originate *o)
{
	o->call->originate = NULL;
	if (o->has_second)
		sh_arena_finish(&o->second.arena);
	sh_free(o);
}

static void tell(struct sh_originate *o, struct sh_call *c, const struct sh_result *r)
{
	sh_originate_fn done = o->done;
	void *ctx = o->ctx;

	destroy(o);
	if (done)
		done(ctx, c, r);
}

/* It is over: r NULL: the call is up. Hooks that run on the way may end the call, or whoever waits for it: both are looked
 * for again. */
static void finish(struct sh_originate *o, const struct sh_result *r)
{
	struct sh_call *c = o->call;

	sh_call_hold(c);
	if (r) {
		o->failure = r;
		sh_call_hangup(c, r->msg ? SH_BY_CALLEE : SH_BY_ENGINE, r->code, (struct sh_slice){0});
	} else {
		sh_call_tell(c, SH_CALL_EVENT_ANSWER, NULL);
		c->ua->app->answered(c->ua->app_ctx, c);
	}
	if (c->originate == o)
		tell(o, r ? NULL : c, r);
	sh_call_release(c);
}

static void fail(struct sh_originate *o, unsigned code, enum sh_cause cause)
{
	struct sh_result r = {code, sh_status_reason(code), cause, NULL, NULL, 0};

	finish(o, &r);
}

void sh_originate_over(struct sh_originate *o)
{
	struct sh_result r = {487, sh_status_reason(487), SH_FAILED, NULL, NULL, 0};

	tell(o, NULL, o->failure ? o->failure : &r);
}

void sh_originate_abort(struct sh_originate *o)
{
	destroy(o);
}

void sh_originate_abandon(struct sh_call *c)
{
	if (!c->originate)
		return;
	c->originate->done = NULL;
	sh_call_hangup(c, SH_BY_SCRIPT, 487, (struct sh_slice){0});
}

/* ------------------------------------------------------------------ the second party */

static void on_joined(void *ctx, unsigned code, const struct sh_msg *m)
{
	struct sh_originate *o = ctx;

	(void)m;
	if (code >= 300)
		fail(o, code, sh_cause_of(code));
	else
		finish(o, NULL);
}

static void on_second(void *ctx, struct sh_leg *leg, const struct sh_result *r)
{
	struct sh_originate *o = ctx;
	int err;

	if (!leg) {
		finish(o, r);
		return;
	}
	err = sh_call_rebridge(o->call, o->call->a, leg, on_joined, o);
	if (err)
		fail(o, err == -EBADMSG ? 488 : 500, SH_FAILED);
}

/* ------------------------------------------------------------------ the first party */

/* It is leg a from now on, answered with silence; a 2xx without an offer was acknowledged at once. */
static int take_first(struct sh_call *c, struct sh_leg *leg)
{
	struct sh_body *silence = NULL;

	if (!leg->acked) {
		silence = sh_solo_silence(c, sh_leg_remote_sdp(leg));
		if (!silence)
			return -EBADMSG;
	}
	sh_list_remove(&leg->in_call);
	sh_early_forget(leg);
	leg->answered_in = NULL;
	sh_leg_forget_answer(leg);
	c->a = leg;
	c->source = leg->dialog.path;
	c->state = SH_CALL_UP;
	c->times.answer = sh_env_wall(c->ua->env);
	c->ua->stats.answered++;
	sh_call_probe_later(c);
	if (silence)
		sh_leg_send_ack_body(leg, sh_body_type(silence), sh_body_text(silence));
	sh_body_unref(silence);
	return 0;
}

static void on_first(void *ctx, struct sh_leg *leg, const struct sh_result *r)
{
	struct sh_originate *o = ctx;
	int err;

	if (!leg) {
		finish(o, r);
		return;
	}
	if (take_first(o->call, leg) < 0) {
		fail(o, 488, SH_REJECTED);
		return;
	}
	if (!o->has_second) {
		finish(o, NULL);
		return;
	}
	o->has_second = false;
	err = sh_call_fork(o->call, &o->second, on_second, o);
	if (err)
		fail(o, 503, SH_FAILED);
}

/* ------------------------------------------------------------------ start */

/* "<sip:x>" in the plan's arena. */
static int as_name(struct sh_arena *a, struct sh_slice uri, struct sh_slice *out)
{
	return sh_arena_printf(a, out, "<%.*s>", SH_FMT(uri));
}

/* From and To of what has none of its own. */
static int fill_in(struct sh_fork_plan *p, struct sh_slice identity, struct sh_slice other)
{
	int err = 0;

	for (unsigned i = 0; i < p->count && !err; i++) {
		struct sh_target *t = &p->targets[i];

		if (!t->from.len && identity.len)
			err = sh_arena_dup(&p->arena, identity, &t->from);
		else if (!t->from.len && other.len)
			err = as_name(&p->arena, other, &t->from);
		if (!t->to.len && !err)
			err = as_name(&p->arena, t->uri, &t->to);
	}
	return err;
}

int sh_call_originate(struct sh_ua *ua, struct sh_call **out, struct sh_originate_plan *p,
		      int (*started)(void *ctx, struct sh_call *call), sh_originate_fn done, void *ctx)
{
	struct sh_originate *o = sh_calloc(1, sizeof(*o));
	struct sh_call *c = NULL;
	int err = o ? 0 : -ENOMEM;

	if (!p->first->count || (p->second && !p->second->count))
		err = -ENOENT;
	if (!err)
		err = fill_in(p->first, p->identity, p->second_uri);
	if (!err && p->second)
		err = fill_in(p->second, p->identity, p->first_uri);
	if (!err)
		err = sh_call_create_own(&c, ua, p->first_uri, p->first->targets[0].from, p->first->targets[0].to);
	if (!err && started)
		err = started(ctx, c);
	if (err)
		goto out;
	o->call = c;
	o->done = done;
	o->ctx = ctx;
	if (p->second) {
		o->second = *p->second;
		sh_arena_init(&p->second->arena, 256); /* moved */
		o->has_second = true;
	}
	c->originate = o;
	sh_call_tell(c, SH_CALL_EVENT_NEW, NULL);
	err = sh_call_fork(c, p->first, on_first, o);
	if (!err) {
		*out = c;
		return 0;
	}
	destroy(o);
	o = NULL;
out:
	sh_arena_finish(&p->first->arena);
	if (p->second)
		sh_arena_finish(&p->second->arena);
	sh_free(o);
	if (c)
		sh_call_discard(c);
	return err;
}
