/* The caller and a leg that has answered become one call: the 2xx to the caller, the wait for its ACK. */
#include "b2bua/early.h"

/* The dialog that the caller will be in when he is connected to that leg. */
static struct sh_dialog *caller_dialog(struct sh_call *c, const struct sh_leg *leg)
{
	return leg->answered_in && leg->answered_in->caller ? leg->answered_in->caller : &c->a->dialog;
}

/* An answer of the called phone that the caller had reliably before is not said again (RFC 3262 5); one that he has not had
 * is, though the called phone said it with a provisional answer only. */
static void put_answer_body(struct sh_writer *w, const struct sh_leg *leg)
{
	struct sh_slice none = {0};
	bool again = !leg->answered_with || leg->answered_with->body.len;

	if (leg->remote_sdp && (again || !leg->answered_in || !leg->answered_in->sdp_passed))
		sh_put_body(w, sh_body_type(leg->remote_sdp), sh_body_text(leg->remote_sdp));
	else
		sh_put_body(w, none, none);
}

/* A 2xx went to the caller, in that dialog of his. */
void sh_call_connected(struct sh_call *c, struct sh_dialog *d)
{
	c->answered = true;
	sh_reliable_answered(c, d);
	if (d != &c->a->dialog)
		sh_dialog_become(&c->a->dialog, d);
	c->a->state = SH_LEG_ANSWERED;
	sh_leg_told(c->a);
	c->a->code = 200;
	c->a->dialog.confirmed = true;
	c->times.answer = sh_env_wall(c->ua->env);
	c->state = SH_CALL_UP;
	c->ua->stats.answered++;
	sh_call_probe_later(c);
}

/* The 2xx to the caller: from here on he is connected. */
static int connect_caller(struct sh_call *c, struct sh_leg *leg, const struct sh_bridge_options *o)
{
	const struct sh_msg *answer = leg->answered_with;
	struct sh_dialog *d = caller_dialog(c, leg);
	struct sh_slice none = {0};
	struct sh_writer *w;
	int err;

	w = sh_call_begin(c, 200, d);
	if (answer)
		sh_put_copied(w, answer, SH_COPY_RESPONSE | (leg->remote_sdp ? SH_COPY_BODY : 0) |
			      (sh_identity_classes(c->ua, answer, &leg->dialog.path.remote, &c->source.remote) & ~SH_COPY_FORWARDED), o->headers, none,
			      none);
	sh_session_put_answer(c->a, w, c->invite);
	sh_put_said(w, o->headers);
	put_answer_body(w, leg);
	err = sh_leg_respond(c->a, c->a->st, 200, w);
	if (err) {
		sh_session_drop(c->a);
		return err;
	}
	sh_call_connected(c, d);
	sh_session_id_learn(c, leg, answer);
	leg->answered_in = NULL;
	sh_early_forget(leg);
	sh_body_unref(c->a->local_sdp);
	c->a->local_sdp = sh_body_ref(leg->remote_sdp);
	c->keep_on_peer_hangup = o->keep_on_peer_hangup;
	c->b = leg;
	sh_list_remove(&leg->in_call);
	sh_leg_forget_answer(leg);
	if (o->max_duration)
		sh_env_timer(c->ua->env, &c->duration, o->max_duration);
	return 0;
}

void sh_call_bridge_over(struct sh_call *c, int error)
{
	sh_bridge_fn done = c->bridge_done;

	c->bridge_done = NULL;
	c->bridging = NULL;
	if (done)
		done(c->bridge_ctx, error);
}

void sh_call_bridge_forget(struct sh_call *c)
{
	c->bridge_done = NULL;
}

int sh_call_bridge(struct sh_call *c, struct sh_leg *leg, const struct sh_bridge_options *o, sh_bridge_fn done, void *ctx)
{
	char *headers;
	int err = 0;

	if (c->state == SH_CALL_UP)
		return sh_call_bridge_up(c, leg, o, done, ctx);
	if (c->state == SH_CALL_ENDED || leg->call != c || leg->state != SH_LEG_UP)
		return -EPIPE;
	if (c->answered || c->bridging || c->solo)
		return -EALREADY;
	if (!c->a || !c->a->st)
		return -EPIPE;
	if (sh_reliable_holds_2xx(c, caller_dialog(c, leg))) { /* RFC 3262 3: it waits for the PRACK */
		headers = sh_strndup(o->headers.base, o->headers.len);
		if (!headers)
			return -ENOMEM;
		sh_free((void *)c->bridge_options.headers.base);
		c->bridge_options = *o;
		c->bridge_options.headers.base = headers;
		c->bridging = leg;
	} else {
		err = connect_caller(c, leg, o);
	}
	if (err)
		return err;
	c->bridge_done = done;
	c->bridge_ctx = ctx;
	return 0;
}

void sh_call_bridging_lost(struct sh_call *c)
{
	c->bridging = NULL;
	if (c->state != SH_CALL_ENDED)
		sh_env_timer(c->ua->env, &c->duration, 0);
}

void sh_call_pracked(struct sh_call *c)
{
	struct sh_leg *leg = c->bridging;
	int err;

	if (c->solo)
		sh_solo_pracked(c);
	if (!leg || sh_reliable_holds_2xx(c, caller_dialog(c, leg)))
		return;
	c->bridging = NULL;
	if (!SH_HOLDS(c->ua->env, leg->call == c && !c->answered)) {
		sh_call_hangup(c, SH_BY_ENGINE, 500, (struct sh_slice){0});
		return;
	}
	err = connect_caller(c, leg, &c->bridge_options);
	if (err)
		sh_call_bridge_over(c, err);
}

int sh_call_connect(struct sh_call *c, struct sh_body *sdp)
{
	struct sh_writer *w;
	int err;

	if (sh_reliable_holds_2xx(c, &c->a->dialog))
		return -EBUSY;
	w = sh_call_begin(c, 200, &c->a->dialog);
	sh_put_body(w, sh_body_type(sdp), sh_body_text(sdp));
	err = sh_leg_respond(c->a, c->a->st, 200, w);
	if (err)
		return err;
	sh_body_unref(c->a->local_sdp);
	c->a->local_sdp = sh_body_ref(sdp);
	sh_call_connected(c, &c->a->dialog);
	return 0;
}

void sh_call_acked(struct sh_call *c, const struct sh_msg *ack)
{
	if (c->pickup) {
		sh_reliable_answered(c, NULL);
		sh_call_setup_over(c);
		sh_pickup_acked(c->pickup, ack);
		return;
	}
	if (c->b && !c->b->acked) /* a late offer: the answer is in this ACK */
		sh_leg_send_ack(c->b, ack);
	if (ack->body.len)
		sh_leg_learn_sdp(&c->a->remote_sdp, ack);
	sh_reliable_answered(c, NULL);
	sh_call_setup_over(c);
	sh_call_bridge_over(c, 0);
	if (c->state == SH_CALL_UP) {
		sh_call_tell(c, SH_CALL_EVENT_ANSWER, NULL);
		c->ua->app->answered(c->ua->app_ctx, c);
	}
}

void sh_call_ack_lost(struct sh_call *c)
{
	struct sh_why why = {SH_BY_ENGINE, 408, SH_LIT("The caller sent no ACK"), 0, {0}};

	sh_call_end(c, &why, SH_LIT("SIP;cause=408;text=\"No ACK\""));
}
