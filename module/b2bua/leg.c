/* A leg: one dialog with one peer, and what its INVITE, its BYE and its end mean. */
#include "b2bua/early.h"
#include "b2bua/fork.h"
#include "b2bua/question.h"
#include "msg/multipart.h"

struct sh_slice sh_leg_state_name(enum sh_leg_state s)
{
	static const struct sh_slice names[] = {
		{"trying", 6}, {"early", 5}, {"answered", 8}, {"up", 2}, {"ending", 6}, {"ended", 5},
	};

	return names[s];
}

uint64_t sh_leg_handle(const struct sh_leg *l)
{
	return l->handle;
}

struct sh_call *sh_leg_call(const struct sh_leg *l)
{
	return l->call;
}

enum sh_leg_state sh_leg_state(const struct sh_leg *l)
{
	return l->state;
}

unsigned sh_leg_code(const struct sh_leg *l)
{
	return l->code;
}

const struct sh_dialog *sh_leg_dialog(const struct sh_leg *l)
{
	return &l->dialog;
}

struct sh_slice sh_leg_uri(const struct sh_leg *l)
{
	return sh_dialog_target(&l->dialog);
}

/* What of a body is the session: one with several parts passes whole. */
static struct sh_slice description(const struct sh_body *b)
{
	struct sh_slice found = sh_body_sdp(sh_body_type(b), sh_body_text(b));

	return found.len ? found : sh_body_text(b);
}

struct sh_slice sh_leg_remote_sdp(const struct sh_leg *l)
{
	return description(l->remote_sdp);
}

struct sh_slice sh_leg_local_sdp(const struct sh_leg *l)
{
	return description(l->local_sdp);
}

struct sh_slice sh_leg_user_agent(const struct sh_leg *l)
{
	return sh_slice_cstr(l->user_agent);
}

/* ------------------------------------------------------------------ life cycle */

struct sh_leg *sh_leg_create(struct sh_ua *ua, struct sh_call *call, bool inbound)
{
	struct sh_leg *l = sh_calloc(1, sizeof(*l)); /* not of a worker's pool: another worker may free it (move.c) */

	if (!l)
		return NULL;
	l->handle = sh_slots_add(&ua->legs, l);
	if (!l->handle) {
		sh_free(l);
		return NULL;
	}
	l->ua = ua;
	l->call = call;
	l->inbound = inbound;
	sh_list_init(&l->in_call);
	sh_list_init(&l->reinvites);
	sh_list_init(&l->reoffers);
	sh_list_init(&l->subscriptions);
	sh_list_init(&l->requests);
	sh_list_init(&l->relays);
	sh_list_init(&l->early);
	sh_list_append(&ua->live_legs, &l->link);
	ua->stats.legs_live++;
	return l;
}

void sh_leg_free(struct sh_leg *l)
{
	if (!l)
		return;
	l->state = SH_LEG_ENDED;
	sh_reinvite_drop(l);
	sh_reoffer_drop(l);
	sh_subscription_leg_gone(l);
	sh_leg_answer_over(l);
	if (l->st)
		sh_server_txn_watch(l->st, NULL, NULL);
	if (l->ct)
		sh_leg_detach_invite(l, l->ct);
	if (l->bye)
		sh_client_txn_detach(l->bye);
	sh_probe_drop(l);
	sh_locate_cancel(l->locate);
	sh_early_forget(l);
	sh_session_drop(l);
	if (l->moved)
		sh_leg_moved_gone(l);
	sh_question_forget(&l->question);
	sh_question_forget(&l->asked);
	sh_dialog_finish(&l->dialog);
	sh_slots_remove(&l->ua->legs, l->handle);
	sh_list_remove(&l->in_call);
	sh_list_remove(&l->link);
	sh_body_unref(l->local_sdp);
	sh_body_unref(l->remote_sdp);
	sh_leg_forget_answer(l);
	sh_client_auth_unref(l->auth);
	sh_next_hop_finish(&l->next_hop);
	sh_free(l->invite_credentials);
	sh_free(l->session_id);
	sh_free(l->hangup_reason);
	sh_free(l->user_agent);
	sh_free(l->aor);
	l->ua->stats.legs_live--;
	sh_free(l);
}

void sh_leg_ended(struct sh_leg *l)
{
	if (l->state == SH_LEG_ENDED)
		return;
	l->state = SH_LEG_ENDED;
	sh_leg_told(l);
	sh_leg_leave(l);
	sh_request_leg_gone(l);
	sh_relay_leg_gone(l);
	sh_reinvite_drop(l);
	sh_reoffer_drop(l);
	sh_subscription_leg_gone(l);
	sh_list_remove(&l->link);
	sh_list_append(&l->ua->dead_legs, &l->link);
}

void sh_leg_leave(struct sh_leg *l)
{
	struct sh_call *c = l->call;

	l->branch = NULL;
	sh_list_remove(&l->in_call);
	if (!c)
		return;
	sh_early_forget(l);
	l->answered_in = NULL;
	if (c->bridging == l)
		sh_call_bridging_lost(c);
	l->call = NULL;
	if (c->a == l)
		c->a = NULL;
	if (c->b == l)
		c->b = NULL;
}

void sh_leg_forget_answer(struct sh_leg *l)
{
	if (l->answer_owned)
		sh_free((void *)l->answered_with);
	l->answered_with = NULL;
	l->answer_owned = false;
}

void sh_leg_want_reason(struct sh_leg *l, struct sh_slice reason)
{
	if (reason.len && !l->hangup_reason)
		l->hangup_reason = sh_strndup(reason.base, reason.len);
}

void sh_leg_learn_sdp(struct sh_body **at, const struct sh_msg *m)
{
	if (!m->body.len)
		return;
	sh_body_unref(*at);
	*at = sh_body_make(sh_msg_header(m, SH_H_CONTENT_TYPE), sh_msg_text(m, m->body));
}

/* ------------------------------------------------------------------ where to send */

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct sh_leg *l = ctx;

	(void)error;
	l->locate = NULL;
	if (count)
		l->dialog.path = paths[0];
	sh_next_hop_keep(&l->next_hop, paths, count);
}

void sh_leg_find_path(struct sh_leg *l, struct sh_dialog *d, const struct sh_path *from)
{
	struct sh_path found[SH_MAX_CANDIDATES];
	unsigned n = sh_dialog_locate(l->ua, d, from, l->behind_nat, found, on_located, l, &l->locate);

	if (d == &l->dialog)
		sh_next_hop_keep(&l->next_hop, found, n);
	if (l->locate && d != &l->dialog) { /* an early dialog beside the first: the way that the answer came will do */
		sh_locate_cancel(l->locate);
		l->locate = NULL;
	}
}

void sh_leg_refresh(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_dialog *d;

	if (!m || !m->to_tag.len || !sh_msg_header(m, SH_H_CONTACT).len ||
	    (m->method != SH_INVITE && m->method != SH_UPDATE && m->method != SH_SUBSCRIBE && m->method != SH_NOTIFY))
		return;
	d = sh_dialog_find(&l->ua->dialogs, m);
	if (!d || d->owner != l || sh_dialog_refresh(d, m, from) != 0)
		return;
	if (m->is_request) /* an answer says nothing about it */
		l->behind_nat = sh_transport_behind_nat(l->ua->transport, m, sh_dialog_target(d), from);
	sh_leg_find_path(l, d, from);
}

/* ------------------------------------------------------------------ INVITE */

static void on_invite_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user);

/* 100rel, but for an INVITE whose offer would come with a provisional answer that the caller cannot acknowledge: then
 * nobody has the answer for our PRACK (RFC 3262 5). 199 is for a caller who wants to hear it (RFC 6228). */
static void put_supported(const struct sh_leg *l, struct sh_writer *w, const struct sh_fork_plan *plan)
{
	const struct sh_call *c = l->call;
	const struct sh_msg *in = c->answered ? NULL : c->invite;
	bool offer = plan->has_sdp ? plan->sdp.len : in && in->body.len;
	bool acknowledges = in && c->prackable && plan->early == SH_EARLY_RELAY && !plan->single_tag;
	bool hears_199 = in && sh_msg_has_token(in, SH_H_SUPPORTED, SH_LIT("199"));

	sh_ua_put_supported(w, offer || acknowledges, hears_199);
}

/* What the caller has said and the target may hear. */
static void put_callers(struct sh_writer *w, const struct sh_msg *in, const struct sh_target *t, unsigned classes, bool private)
{
	sh_put_copied(w, in, classes, t->headers, private ? sh_privacy_removed() : (struct sh_slice){0}, t->copy);
}

int sh_leg_send_invite(struct sh_leg *l, const struct sh_target *t, const struct sh_fork_plan *plan, uint32_t min_se,
		       struct sh_body *edited)
{
	struct sh_ua *ua = l->ua;
	struct sh_call *c = l->call;
	const struct sh_msg *in = c->answered ? NULL : c->invite; /* a call that is up has left it behind */
	struct sh_writer line, rest;
	struct sh_slice none = {0};
	unsigned hops = in && in->max_forwards > 0 ? (unsigned)in->max_forwards - 1 : 70;
	bool private = sh_privacy_applies(ua, in, &l->dialog.path.remote);
	unsigned classes = SH_COPY_INVITE;
	int err;

	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(&l->dialog, SH_LIT("INVITE"), 0, hops, &line, &rest);
	sh_ua_put_contact(ua, &rest, &l->dialog.path, l->dialog.secure);
	sh_ua_put_product(ua, &rest, true);
	sh_ua_put_abilities(ua, &rest, ua->allow_in_dialog);
	if (t->breadth)
		sh_put_header_uint(&rest, SH_H_MAX_BREADTH, t->breadth);
	put_supported(l, &rest, plan);
	if (!sh_header_line_named(t->headers, SH_LIT("Session-Expires")))
		sh_session_put_invite(ua, &rest, min_se);
	if (in)
		classes |= sh_identity_classes(ua, in, &c->source.remote, &l->dialog.path.remote);
	if (t->pai.len)
		classes &= ~(unsigned)SH_COPY_IDENTITY;
	if (in && in->body.len && !plan->has_sdp)
		classes |= SH_COPY_BODY;
	if (t->privacy.len)
		sh_put_header(&rest, SH_H_PRIVACY, t->privacy);
	else if (private)
		sh_privacy_put_rest(&rest, in);
	else
		classes |= SH_COPY_PRIVACY;
	if (plan->replaces.len)
		sh_put_named_dialog(ua, SH_H_REPLACES, plan->replaces, &rest);
	else if (in && in->first[SH_H_REPLACES])
		sh_put_named_dialog(ua, SH_H_REPLACES, sh_msg_header(in, SH_H_REPLACES), &rest);
	if (in && in->first[SH_H_JOIN]) /* who is called mixes, not we (RFC 3911) */
		sh_put_named_dialog(ua, SH_H_JOIN, sh_msg_header(in, SH_H_JOIN), &rest);
	if (t->pai.len)
		sh_put_header(&rest, SH_H_P_ASSERTED_IDENTITY, t->pai);
	if (t->diversion.len)
		sh_diversion_put(&rest, t, in, in && (classes & SH_COPY_FORWARDED));
	if (in)
		put_callers(&rest, in, t, t->diversion.len ? classes & ~SH_COPY_FORWARDED : classes, private);
	sh_put_said(&rest, t->headers);
	if (edited)
		sh_put_body(&rest, sh_body_type(edited), sh_body_text(edited));
	else if (plan->has_sdp)
		sh_put_body(&rest, plan->sdp.len ? SH_LIT("application/sdp") : none, plan->sdp);
	else if (in)
		sh_put_body_of(&rest, in);
	else
		sh_put_body(&rest, none, none);
	err = sh_leg_send(l, &l->ct, SH_INVITE, &line, &rest, on_invite_event, l);
	if (err)
		return err;
	l->dialog.invite_cseq = l->dialog.local_cseq;
	if (edited)
		l->local_sdp = sh_body_ref(edited);
	else if (plan->has_sdp)
		l->local_sdp = sh_body_make(SH_LIT("application/sdp"), plan->sdp);
	else if (in && c->a)
		l->local_sdp = sh_body_ref(c->a->remote_sdp);
	sh_leg_told(l);
	return 0;
}

/* Nobody waits for this leg any more; what its INVITE brings is wound up. */
static bool unwanted(const struct sh_leg *l)
{
	return !l->branch || l->state == SH_LEG_ENDING;
}

/* Which of its early dialogs was answered; one more when it is none of them. False: one in which the caller has hung up. */
static bool choose_early(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *path)
{
	struct sh_early_dialog *e;

	if (sh_list_empty(&l->early) && !(l->call && l->call->a_tag_used && !l->call->answered))
		return true;
	e = sh_early_of(l, m, path);
	if (e && e->ended)
		return false;
	l->answered_in = e;
	if (e)
		sh_early_chosen(e);
	return true;
}

static void on_2xx(struct sh_leg *l, const struct sh_msg *m)
{
	const struct sh_path *path = sh_client_txn_path(l->ct);

	if (l->dialog.confirmed) {
		if (!sh_slice_eq(sh_dialog_remote_tag(&l->dialog), sh_msg_text(m, m->to_tag)))
			sh_leg_drop_answer(l, m, path); /* a fork further on: another phone answered too (13.2.2.4) */
		return;
	}
	if (!unwanted(l) && !choose_early(l, m, path)) {
		sh_leg_drop_answer(l, m, path);
		return;
	}
	if (sh_dialog_learn(&l->dialog, m, path) == -ENOMEM) {
		sh_ua_warn(l->ua, "out of memory: the answer of %.*s is dropped", SH_FMT(sh_dialog_target(&l->dialog)));
		return; /* it will be repeated */
	}
	l->dialog.confirmed = true;
	l->code = m->status;
	sh_leg_find_path(l, &l->dialog, path);
	if (unwanted(l)) { /* our CANCEL crossed the answer (9.1): ACK it, then hang up */
		l->state = SH_LEG_UP;
		sh_leg_send_ack(l, NULL);
		sh_leg_bye(l);
		return;
	}
	l->state = SH_LEG_UP;
	sh_leg_told(l);
	if (!m->body.len && l->answered_in && l->answered_in->sdp) { /* its answer came before, with a provisional one */
		sh_body_unref(l->remote_sdp);
		l->remote_sdp = sh_body_ref(l->answered_in->sdp);
	}
	sh_leg_learn_sdp(&l->remote_sdp, m);
	sh_session_on_answer(l, m);
	sh_session_id_answered(l, m);
	struct sh_slice agent = sh_msg_header(m, SH_H_SERVER);
	if (!agent.len)
		agent = sh_msg_header(m, SH_H_USER_AGENT);
	if (agent.len)
		l->user_agent = sh_strndup(agent.base, agent.len);
	l->answered_with = m;
	sh_branch_on_response(l->branch, l, m);
	if (l->answered_with == m && !l->answer_owned) { /* not bridged at once: the message must be kept */
		l->answered_with = sh_msg_clone(m);
		l->answer_owned = l->answered_with != NULL;
	}
}

static void on_answer_looked_at(struct sh_question *q)
{
	struct sh_leg *l = q->who;

	if (l->ct) /* else its time is over */
		on_invite_event(l->ct, SH_CLIENT_RESPONSE, q->msg, l);
}

/* The application looks at the description in an answer to our INVITE. What comes again meanwhile, it will once more;
 * what refuses, or is final and has none, need not wait. */
static bool asks_about_answer(struct sh_leg *l, const struct sh_msg *m)
{
	const struct sh_fork_plan *plan = l->branch && !unwanted(l) ? &l->branch->fork->plan : NULL;
	struct sh_call *c = l->call;
	struct sh_asking a = {.slot = &l->question, .who = l, .then = on_answer_looked_at, .from = l, .msg = m,
			      .path = l->ct ? sh_client_txn_path(l->ct) : NULL};

	if (m->status < 300 && m->body.len && l->question)
		return true;
	if (m->status >= 200)
		sh_question_forget(&l->question);
	if (!plan || !c || m->status >= 300 || l->dialog.confirmed)
		return false;
	a.to = c->a;
	a.is_offer = !l->branch->offer && !(plan->has_sdp ? plan->sdp.len : !c->answered && c->invite && c->invite->body.len);
	return sh_sdp_ask(l->ua, &a);
}

static void on_invite_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_leg *l = user;

	switch (ev) {
	case SH_CLIENT_RESPONSE:
		if (asks_about_answer(l, m))
			return;
		if (m->status >= 200 && m->status < 300) {
			on_2xx(l, m);
			return;
		}
		if (m->status < 200) {
			l->code = m->status;
			if (m->status > 100 && l->state == SH_LEG_TRYING)
				l->state = SH_LEG_EARLY;
			if (!unwanted(l))
				sh_branch_on_response(l->branch, l, m);
			sh_leg_told(l); /* behind it: the dialog is known now */
			return;
		}
		l->code = m->status;
		if (!unwanted(l))
			sh_branch_on_response(l->branch, l, m);
		sh_leg_ended(l);
		return;
	case SH_CLIENT_TIMEOUT:
	case SH_CLIENT_UNREACHABLE:
		if (l->dialog.confirmed)
			return;
		l->code = ev == SH_CLIENT_TIMEOUT ? 408 : 503;
		if (!unwanted(l))
			sh_branch_on_failure(l->branch, l, l->code, SH_UNREACHABLE);
		sh_leg_ended(l);
		return;
	case SH_CLIENT_ENDED:
		sh_leg_invite_ended(l, ct);
		l->ct = NULL;
		if (!l->dialog.confirmed && l->state != SH_LEG_ENDED) { /* it ended without a word: cannot be, but must not hang */
			if (!unwanted(l))
				sh_branch_on_failure(l->branch, l, 408, SH_UNREACHABLE);
			sh_leg_ended(l);
		}
		return;
	}
}

/* ------------------------------------------------------------------ the end */

/* The dialog is over. It is remembered while our BYE, or a re-INVITE of ours, has no final answer: a 2xx that crossed
 * the BYE wants its ACK all the same; and while a 2xx of ours has no ACK: whoever hung up is told it until he has it. */
void sh_leg_wind_up(struct sh_leg *l)
{
	if (l->state == SH_LEG_ENDED || l->bye)
		return;
	l->state = SH_LEG_ENDING;
	sh_session_drop(l);
	sh_request_leg_gone(l);
	sh_relay_leg_gone(l);
	if (!sh_reinvite_pending(l) && !sh_reoffer_pending(l) && !l->answer)
		sh_leg_ended(l);
}

static int send_bye(struct sh_leg *l);

static void on_bye_event(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_leg *l = user;

	(void)ct;
	if (ev == SH_CLIENT_RESPONSE && m->status < 200)
		return;
	if (ev != SH_CLIENT_ENDED)
		sh_client_txn_detach(l->bye);
	l->bye = NULL;
	if (ev == SH_CLIENT_UNREACHABLE && sh_dialog_find_again(l->ua, &l->dialog) && send_bye(l) == 0)
		return;
	sh_leg_wind_up(l); /* whatever the answer was: 15.1.1 */
}

static int send_bye(struct sh_leg *l)
{
	struct sh_ua *ua = l->ua;
	struct sh_writer line, rest;

	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(&l->dialog, SH_LIT("BYE"), 0, 70, &line, &rest);
	sh_ua_put_product(ua, &rest, true);
	if (l->hangup_reason)
		sh_put_header(&rest, SH_H_REASON, sh_slice_cstr(l->hangup_reason));
	sh_session_id_put(l, &rest);
	sh_put_body(&rest, (struct sh_slice){0}, (struct sh_slice){0});
	return sh_leg_send(l, &l->bye, SH_BYE, &line, &rest, on_bye_event, l);
}

void sh_leg_bye(struct sh_leg *l)
{
	if (l->state == SH_LEG_ENDING || l->state == SH_LEG_ENDED)
		return;
	sh_reinvite_drop(l);
	sh_reoffer_drop(l);
	l->state = SH_LEG_ENDING;
	sh_leg_told(l);
	sh_session_drop(l);
	if (send_bye(l) < 0)
		sh_leg_ended(l);
}

int sh_leg_hangup(struct sh_leg *l, struct sh_slice reason)
{
	sh_leg_want_reason(l, reason);
	switch (l->state) {
	case SH_LEG_TRYING:
	case SH_LEG_EARLY:
		if (l->branch && !l->ct)
			sh_branch_hung_up(l->branch);
		if (l->inbound || !l->ct) { /* the call answers its INVITE; or ours was never sent */
			sh_leg_ended(l);
			return 0;
		}
		if (l->branch)
			sh_branch_hung_up(l->branch);
		l->state = SH_LEG_ENDING;
		sh_leg_told(l);
		sh_leg_leave(l);
		if (sh_client_txn_cancel(l->ct, sh_slice_cstr(l->hangup_reason)) < 0)
			sh_leg_ended(l);
		return 0;
	case SH_LEG_ANSWERED: /* no BYE before the ACK (15) */
		l->hangup_wanted = true;
		sh_leg_leave(l);
		return 0;
	case SH_LEG_UP:
		sh_leg_leave(l);
		if (!l->inbound && !l->acked)
			sh_leg_send_ack(l, NULL); /* a late offer that nobody answers: acknowledged all the same */
		if (l->answer) { /* a re-INVITE of theirs waits for its ACK */
			l->hangup_wanted = true;
			return 0;
		}
		sh_leg_bye(l);
		return 0;
	default:
		sh_leg_leave(l);
		return 0;
	}
}

/* ------------------------------------------------------------------ offers */

bool sh_leg_negotiates(const struct sh_leg *l)
{
	return l->reinvite || l->update || l->answer || sh_reoffer_pending(l) || sh_reinvite_pending(l);
}

void sh_put_retry_after(struct sh_ua *ua, struct sh_writer *w)
{
	sh_put_header_uint(w, SH_H_RETRY_AFTER, sh_random_below(&ua->env->random, 11));
}

/* ------------------------------------------------------------------ requests in the dialog */

static void on_bye(struct sh_leg *l, const struct sh_dialog *d, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_call *c = l->call;
	bool live = l->state < SH_LEG_ENDING;

	if (!l->inbound && !l->dialog.confirmed) { /* 15: who is called must not end an early dialog this way */
		sh_server_txn_reply(st, 481, (struct sh_slice){0});
		return;
	}
	sh_server_txn_reply(st, 200, (struct sh_slice){0});
	sh_ua_observe(l->ua, m, from, l);
	if (c && live && l == c->a && sh_early_hung_up(c, d))
		return;
	sh_reinvite_drop(l);
	l->state = SH_LEG_ENDING; /* no BYE of ours */
	sh_leg_told(l);
	sh_reoffer_drop(l);
	if (c && live)
		sh_call_leg_gone(c, l, m);
	if (l->st && l->inbound && !sh_server_txn_answered(l->st))
		sh_server_txn_reply(l->st, 487, (struct sh_slice){0});
	sh_leg_wind_up(l); /* crossing BYEs: ours gets its own answer first, or times out */
}

static void on_request_looked_at(struct sh_question *q)
{
	struct sh_leg *l = q->who;
	struct sh_dialog *d = sh_dialog_find(&l->ua->dialogs, q->msg);
	struct sh_server_txn *st = q->st;

	q->st = NULL;
	if (!st)
		return;
	sh_server_txn_watch(st, NULL, NULL);
	if (d && d->owner == l)
		sh_leg_on_request(l, d, st, q->msg, &q->path);
	else
		sh_server_txn_reply(st, 481, (struct sh_slice){0});
}

/* The application looks at the description in a request. Another one meanwhile has met it. */
static bool asks_about_request(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_asking a = {.slot = &l->asked, .who = l, .then = on_request_looked_at, .from = l, .msg = m, .path = from, .st = st};
	struct sh_dialog *to;

	if (!l->ua->asks_sdp || (m->method != SH_INVITE && m->method != SH_UPDATE && m->method != SH_PRACK))
		return false;
	if (l->asked) {
		if (m->method == SH_PRACK)
			return false;
		sh_server_txn_reply(st, 491, (struct sh_slice){0});
		return true;
	}
	a.to = sh_leg_opposite(l, m, &to);
	a.is_offer = m->method != SH_PRACK || (l->call && l->call->invite && l->call->invite->body.len);
	return sh_sdp_ask(l->ua, &a);
}

void sh_leg_on_request(struct sh_leg *l, struct sh_dialog *d, struct sh_server_txn *st, const struct sh_msg *m,
		       const struct sh_path *from)
{
	struct sh_ua *ua = l->ua;
	int code = m == ua->released ? 0 : sh_dialog_accept_cseq(d, m);
	struct sh_request *r;

	if (code) {
		sh_ua_reply(ua, st, (unsigned)code, SH_LIT("CSeq out of order"), (struct sh_slice){0}, (struct sh_slice){0});
		return;
	}
	if (m->method == SH_BYE) {
		on_bye(l, d, st, m, from);
		return;
	}
	if (m->method == SH_SUBSCRIBE) { /* one of a REFER's; nobody makes a new one here (RFC 6665 4.5.2) */
		if (!sh_subscription_in_leg(l, st, m, from))
			sh_ua_default_answer(ua, st, SH_SUBSCRIBE, NULL);
		return;
	}
	if (l->state >= SH_LEG_ENDING) {
		sh_server_txn_reply(st, 481, (struct sh_slice){0});
		return;
	}
	if (m->body.len && asks_about_request(l, st, m, from))
		return;
	if (m->method == SH_PRACK) {
		sh_reliable_on_prack(l, d, st, m, from);
		return;
	}
	if (ua->app->wants(ua->app_ctx, (enum sh_method)m->method, true, l->call)) {
		r = sh_request_create(ua, st, m, from, l);
		if (r)
			ua->app->request(ua->app_ctx, r);
		else
			sh_server_txn_reply(st, 503, (struct sh_slice){0});
	} else if (m->method == SH_INVITE) {
		sh_reinvite_start(l, st, m);
	} else {
		sh_relay_in_dialog(l, st, m);
	}
}
