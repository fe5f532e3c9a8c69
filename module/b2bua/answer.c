/* 2xx and ACK are the business of the transaction user (RFC 3261 13.2.2.4, 13.3.1.4): the 2xx that we sent is repeated
 * until its ACK comes; the ACK that we sent is kept by the INVITE's transaction, which answers a repeated 2xx with it. */
#include "b2bua/question.h"

static void on_server_event(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct sh_leg *l = user;

	if (ev != SH_SERVER_ENDED)
		return;
	if (l->st == st)
		l->st = NULL;
	if (l->answer && l->answer->st == st) {
		/* Timer L is as long as our wait for the ACK: let the wait end by its own timer, without repeats. */
		l->answer->st = NULL;
		sh_wheel_add(&l->ua->env->wheel, &l->answer->timer, l->answer->end);
	}
}

void sh_leg_answer_over(struct sh_leg *l)
{
	struct sh_unacked *u = l->answer;

	if (!u)
		return;
	sh_wheel_cancel(&l->ua->env->wheel, &u->timer);
	if (u->st) {
		sh_server_txn_watch(u->st, NULL, NULL);
		if (l->st == u->st)
			l->st = NULL;
	}
	sh_free(u);
	l->answer = NULL;
}

static void on_answer_timer(struct sh_timer *t)
{
	struct sh_unacked *u = SH_CONTAINER(t, struct sh_unacked, timer);
	struct sh_leg *l = u->leg;
	struct sh_env *env = l->ua->env;

	if (env->now >= u->end) { /* 13.3.1.4: no ACK for 64*T1: hang up */
		struct sh_call *c = l->call;

		sh_leg_answer_over(l);
		if (l->state == SH_LEG_ENDING) { /* they have hung up without it */
			sh_leg_wind_up(l);
			return;
		}
		l->state = SH_LEG_UP;
		sh_leg_want_reason(l, SH_LIT("SIP;cause=408;text=\"No ACK\""));
		if (c)
			sh_call_ack_lost(c);
		if (l->state == SH_LEG_UP)
			sh_leg_bye(l);
		return;
	}
	sh_server_txn_resend(u->st, (struct sh_slice){u->text, u->len});
	u->wait *= 2;
	if (u->wait > l->ua->config.txn.t2)
		u->wait = l->ua->config.txn.t2;
	sh_wheel_add(&env->wheel, t, env->now + u->wait < u->end ? env->now + u->wait : u->end);
}

int sh_leg_respond(struct sh_leg *l, struct sh_server_txn *st, unsigned code, struct sh_writer *w)
{
	struct sh_slice text = sh_writer_text(w);
	struct sh_env *env = l->ua->env;
	struct sh_unacked *u;
	int err;

	if (sh_server_txn_answered(st))
		return -EALREADY;
	sh_leg_answer_over(l);
	u = sh_malloc(sizeof(*u) + text.len);
	if (!u)
		return -ENOMEM;
	*u = (struct sh_unacked){.leg = l,
				 .st = st,
				 .wait = l->ua->config.txn.t1,
				 .end = env->now + 64 * l->ua->config.txn.t1,
				 .cseq = sh_server_txn_request(st)->cseq,
				 .len = (uint32_t)text.len};
	sh_timer_init(&u->timer, on_answer_timer);
	memcpy(u->text, text.base, text.len);
	sh_leg_refresh(l, sh_server_txn_request(st), sh_server_txn_path(st));
	err = sh_server_txn_respond(st, code, w);
	if (!sh_server_txn_answered(st)) { /* else: lost on its way, the next one may come through */
		sh_free(u);
		return err;
	}
	sh_server_txn_watch(st, on_server_event, l);
	l->answer = u;
	sh_wheel_add(&env->wheel, &u->timer, env->now + u->wait);
	return 0;
}

static void on_ack_looked_at(struct sh_question *q)
{
	sh_leg_on_ack(q->who, q->msg, &q->path);
}

/* The application looks at the answer to a late offer. */
static bool asks_about_ack(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_asking a = {.slot = &l->asked, .who = l, .then = on_ack_looked_at, .from = l, .msg = m, .path = from};
	struct sh_dialog *to;

	if (l->asked)
		return true; /* it comes again with the 2xx */
	a.to = l->ua->asks_sdp ? sh_leg_opposite(l, m, &to) : NULL;
	return sh_sdp_ask(l->ua, &a);
}

void sh_leg_on_ack(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *from)
{
	bool first = l->state == SH_LEG_ANSWERED; /* of the INVITE that made the dialog */

	if (!l->answer || m->cseq != l->answer->cseq)
		return; /* a repetition, or the ACK to something older */
	if (m->body.len && asks_about_ack(l, m, from))
		return;
	sh_leg_answer_over(l);
	if (l->state == SH_LEG_ENDING) { /* the BYE was faster */
		sh_leg_wind_up(l);
		return;
	}
	sh_ua_observe(l->ua, m, from, l);
	if (first)
		l->state = SH_LEG_UP;
	if (l->hangup_wanted)
		sh_leg_bye(l);
	else if (!first)
		sh_reinvite_acked(l, m);
	else if (l->call)
		sh_call_acked(l->call, m);
}

static void begin_ack(struct sh_leg *l, struct sh_writer *line, struct sh_writer *rest)
{
	sh_ua_writers(l->ua, line, rest);
	sh_dialog_put_request(&l->dialog, SH_LIT("ACK"), l->dialog.invite_cseq, 70, line, rest);
	sh_ua_put_product(l->ua, rest, true);
	sh_session_id_put(l, rest);
	if (l->invite_credentials)
		sh_put(rest, sh_slice_cstr(l->invite_credentials));
	l->acked = true;
}

static void send_ack(struct sh_leg *l, const struct sh_writer *line, const struct sh_writer *rest)
{
	struct sh_path others[SH_MAX_CANDIDATES];
	unsigned other_count = sh_next_hop_choose(l->ua, &l->next_hop, &l->dialog, others);
	struct sh_kept_ack ack = {.path = l->dialog.path, .others = others, .other_count = other_count,
				  .cseq = l->dialog.invite_cseq, .tag = sh_dialog_remote_tag(&l->dialog)};

	if (line->full || rest->full)
		return;
	if (sh_txn_send_ack(l->ua->txn, &ack.path, sh_writer_text(line), sh_writer_text(rest), &ack.text) < 0)
		return;
	if (l->invite_ct)
		sh_client_txn_keep_ack(l->invite_ct, &ack);
}

void sh_leg_send_ack(struct sh_leg *l, const struct sh_msg *with_body)
{
	struct sh_writer line, rest;
	struct sh_slice none = {0};

	begin_ack(l, &line, &rest);
	if (with_body && with_body->body.len) {
		sh_put_copied(&rest, with_body, SH_COPY_BODY, none, none, none);
		sh_put_body_of(&rest, with_body);
		sh_leg_learn_sdp(&l->local_sdp, with_body);
	} else {
		sh_put_body(&rest, none, none);
	}
	send_ack(l, &line, &rest);
}

void sh_leg_send_ack_body(struct sh_leg *l, struct sh_slice content_type, struct sh_slice body)
{
	struct sh_writer line, rest;

	begin_ack(l, &line, &rest);
	sh_put_body(&rest, content_type, body);
	send_ack(l, &line, &rest);
}

void sh_leg_detach_invite(struct sh_leg *l, struct sh_client_txn *ct)
{
	sh_leg_invite_ended(l, ct);
	sh_client_txn_detach(ct);
}

void sh_leg_invite_ended(struct sh_leg *l, const struct sh_client_txn *ct)
{
	if (l->invite_ct == ct)
		l->invite_ct = NULL;
}

/* Another dialog of the same INVITE that nobody wants: acknowledged and ended on the spot. */
void sh_leg_drop_answer(struct sh_leg *l, const struct sh_msg *response, const struct sh_path *from)
{
	struct sh_leg *other = sh_leg_create(l->ua, NULL, false);

	if (!other)
		return;
	if (sh_dialog_init_fork(&other->dialog, &l->dialog, other, response, from) < 0) {
		sh_leg_ended(other);
		return;
	}
	other->dialog.confirmed = true;
	sh_leg_find_path(other, &other->dialog, from);
	other->state = SH_LEG_UP;
	sh_leg_send_ack(other, NULL);
	sh_leg_bye(other);
}
