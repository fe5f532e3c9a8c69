/* Branches: see fork.h. */
#include "b2bua/early.h"
#include "b2bua/fork.h"
#include "b2bua/question.h"
#include "msg/sdp_edit.h"

/* ------------------------------------------------------------------ life */

static void on_branch_timer(struct sh_timer *t);

struct sh_branch *sh_branch_create(struct sh_fork *f, const struct sh_target *t)
{
	struct sh_branch *b = sh_arena_alloc(&f->plan.arena, sizeof(*b));

	if (!b)
		return NULL;
	*b = (struct sh_branch){.fork = f, .target = *t};
	sh_timer_init(&b->timer, on_branch_timer);
	return b;
}

static void tell(struct sh_branch *b, enum sh_branch_event ev, struct sh_leg *l, unsigned code, enum sh_cause cause,
		 const struct sh_msg *m)
{
	const struct sh_fork_plan *plan = &b->fork->plan;
	struct sh_branch_result one = {b->target.uri, m ? sh_msg_text(m, m->reason) : sh_status_reason(code), code};
	struct sh_result r = {code, one.reason, cause, m, &one, 1};

	if (plan->on_branch)
		plan->on_branch(plan->branch_ctx, ev, l, &r);
}

void sh_branch_over(struct sh_branch *b, const struct sh_leg *l, unsigned code)
{
	if (b->fork->plan.single_tag)
		return;
	SH_LIST_EACH (k, &l->early)
		sh_call_early_over(b->fork->call, SH_CONTAINER(k, struct sh_early_dialog, link), code);
}

void sh_branch_cancel(struct sh_branch *b, struct sh_slice reason)
{
	struct sh_leg *l = b->leg;

	sh_wheel_cancel(&b->fork->ua->env->wheel, &b->timer);
	sh_locate_cancel(b->locate);
	b->locate = NULL;
	sh_question_forget(&b->question);
	b->state = SH_BRANCH_DONE;
	b->leg = NULL;
	if (b->fork->media_branch == b)
		b->fork->media_branch = NULL;
	if (l) {
		b->code = 487;
		b->reason = sh_status_reason(487);
		tell(b, SH_BRANCH_CANCELLED, l, 487, SH_NO_ANSWER, NULL);
		l->branch = NULL;
		sh_leg_hangup(l, reason);
	}
}

void sh_branch_fail(struct sh_branch *b, unsigned code, struct sh_slice reason, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_fork *f = b->fork;

	sh_wheel_cancel(&f->ua->env->wheel, &b->timer);
	b->state = SH_BRANCH_DONE;
	if (f->media_branch == b)
		f->media_branch = NULL;
	tell(b, SH_BRANCH_FAILED, b->leg, code, cause, m);
	b->leg = NULL;
	sh_fork_note(f, b, code, reason, cause, m);
	if (code >= 600 && !f->plan.ignore_6xx)
		sh_fork_cancel(f, NULL, SH_LIT("SIP;cause=600;text=\"Declined elsewhere\""));
}

/* ------------------------------------------------------------------ where it goes */

static int send_invite(struct sh_branch *b, struct sh_body *edited)
{
	struct sh_fork *f = b->fork;
	int err = sh_leg_send_invite(b->leg, &b->target, &f->plan, b->min_se, edited);

	if (err)
		return err;
	b->state = SH_BRANCH_TRYING;
	tell(b, SH_BRANCH_SENT, b->leg, 0, SH_CAUSE_NONE, NULL);
	b->heard = b->rang = false;
	sh_env_timer(f->ua->env, &b->timer, f->plan.first_timeout ? f->plan.first_timeout : f->ua->config.first_answer);
	return 0;
}

static bool try_candidates(struct sh_branch *b);
static bool next_flow(struct sh_branch *b);

/* The application has looked at the offer. */
static void on_looked_at(struct sh_question *q)
{
	struct sh_branch *b = q->who;
	struct sh_fork *f = b->fork;
	struct sh_leg *l = b->leg;

	if (send_invite(b, q->body) == 0)
		return;
	b->leg = NULL;
	l->branch = NULL;
	sh_leg_ended(l);
	if (!try_candidates(b) && !next_flow(b))
		sh_branch_fail(b, 503, SH_LIT("Cannot be reached"), SH_UNREACHABLE, NULL);
	sh_fork_advance(f);
}

static bool asks(struct sh_branch *b)
{
	const struct sh_fork_plan *plan = &b->fork->plan;
	struct sh_call *c = b->fork->call;
	const struct sh_msg *in = c->answered ? NULL : c->invite;
	struct sh_asking a = {.slot = &b->question, .who = b, .then = on_looked_at, .from = c->a, .to = b->leg, .is_offer = true};

	if (b->offer) {
		a.from = sh_slots_get(&b->fork->ua->legs, plan->offer_of);
		a.type = sh_body_type(b->offer);
		a.body = sh_body_text(b->offer);
	} else if (plan->has_sdp) {
		a.type = SH_LIT("application/sdp");
		a.body = plan->sdp;
	} else if (in) {
		a.type = sh_msg_header(in, SH_H_CONTENT_TYPE);
		a.body = sh_msg_text(in, in->body);
	}
	return sh_sdp_ask(b->fork->ua, &a);
}

/* What the party that stays said last, as an offer to a target that cannot make the first one; of nobody when there is none yet. */
static void make_offer(struct sh_branch *b, const struct sh_path *path)
{
	struct sh_fork *f = b->fork;
	struct sh_ua *ua = f->ua;
	bool browser = path->proto == SH_PROTO_WS || path->proto == SH_PROTO_WSS;
	uint8_t noise[SH_SDP_NOISE];
	struct sh_leg *stays;
	struct sh_writer w;

	if (!f->call->answered || f->plan.has_sdp || (f->plan.offer_of && !sh_slots_get(&ua->legs, f->plan.offer_of)) || b->offer ||
	    f->plan.offer == SH_OFFER_TO_NOBODY ||
	    (f->plan.offer == SH_OFFER_TO_BROWSERS && !browser))
		return;
	if (!f->plan.offer_of)
		f->plan.offer_of = f->call->a ? f->call->a->handle : 0;
	stays = sh_slots_get(&ua->legs, f->plan.offer_of);
	sh_writer_init(&w, ua->body, SH_UA_BUFFER);
	sh_random_bytes(&ua->env->random, noise, sizeof(noise));
	if (!stays && !browser) { /* the first party of a call of our own */
		b->offer = sh_solo_silence(f->call, (struct sh_slice){0});
		return;
	}
	if (!stays)
		sh_sdp_for_browser(&w, noise);
	else if (sh_sdp_as_offer(&w, sh_leg_remote_sdp(stays), noise) < 0)
		return;
	if (!w.full)
		b->offer = sh_body_make(SH_LIT("application/sdp"), sh_writer_text(&w));
}

static int make_leg(struct sh_branch *b, const struct sh_path *path)
{
	struct sh_fork *f = b->fork;
	struct sh_call *c = f->call;
	struct sh_slice from = b->target.from.len                                                     ? b->target.from
			       : sh_privacy_applies(f->ua, c->answered ? NULL : c->invite, &path->remote) ? sh_privacy_from()
												      : sh_call_from(c);
	struct sh_slice to = b->target.to.len ? b->target.to : sh_call_to(c);
	struct sh_leg *l = sh_leg_create(f->ua, c, false);
	int err;

	if (!l)
		return -ENOMEM;
	if (!b->target.to.len && c->a && !c->a->inbound) /* a call of our own: its To is the party that talks already */
		sh_arena_printf(&f->plan.arena, &to, "<%.*s>", SH_FMT(b->target.uri));
	l->behind_nat = b->target.behind_nat;
	err = sh_dialog_init_uac(&l->dialog, &f->ua->dialogs, l, (struct sh_slice){0}, from, to, b->target.uri, b->target.route,
				 path);
	if (!err && f->ua->observer && c->a)
		f->ua->observer->leg(f->ua->observer->ctx, sh_dialog_call_id(&c->a->dialog), sh_dialog_call_id(&l->dialog));
	if (!err && b->target.nlogins)
		err = sh_client_auth_create(&l->auth, b->target.logins, b->target.nlogins);
	if (!err && b->target.aor.len && sh_ua_watched(f->ua))
		l->aor = sh_strndup(b->target.aor.base, b->target.aor.len);
	if (!err) {
		b->leg = l;
		l->branch = b;
		make_offer(b, path);
		if (asks(b)) {
			b->state = SH_BRANCH_LOCATING;
			return 0;
		}
		err = send_invite(b, b->offer);
	}
	if (err) {
		b->leg = NULL;
		l->branch = NULL;
		sh_leg_ended(l);
	}
	return err;
}

/* Tries the addresses that are left; false: none would do. */
static bool try_candidates(struct sh_branch *b)
{
	while (b->ncandidates) {
		b->ncandidates--;
		if (make_leg(b, b->candidates++) == 0)
			return true;
	}
	return false;
}

/* The phone once more, by another flow (RFC 5626 7); false: it has no other. */
static bool next_flow(struct sh_branch *b)
{
	if (!sh_target_next_flow(&b->target))
		return false;
	b->heard = b->rang = false;
	sh_branch_start(b);
	return true;
}

/* A phone that registered by sips and is called by sip: by TLS or not at all (RFC 5630 5.3). */
static void fail_unreached(struct sh_branch *b)
{
	if (b->target.hop.len && sh_is_sips(b->target.hop))
		sh_branch_fail(b, 480, SH_SIPS_REQUIRED, SH_UNREACHABLE, NULL);
	else
		sh_branch_fail(b, 503, SH_LIT("Cannot be reached"), SH_UNREACHABLE, NULL);
}

static void send_branch(struct sh_branch *b, const struct sh_path *paths, unsigned count)
{
	size_t size = count * sizeof(*paths);

	b->ncandidates = 0;
	if (count > 1) {
		b->candidates = sh_arena_alloc(&b->fork->plan.arena, size);
		if (b->candidates)
			memcpy(b->candidates, paths, size);
		b->ncandidates = b->candidates ? count : 0;
		if (try_candidates(b))
			return;
	} else if (count == 1 && make_leg(b, &paths[0]) == 0) {
		return;
	}
	if (!next_flow(b))
		fail_unreached(b);
}

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct sh_branch *b = ctx;
	struct sh_fork *f = b->fork;

	(void)error;
	b->locate = NULL;
	send_branch(b, paths, count);
	sh_fork_advance(f);
}

void sh_branch_start(struct sh_branch *b)
{
	struct sh_fork *f = b->fork;
	struct sh_path found[SH_MAX_CANDIDATES];
	struct sh_slice hop = b->target.uri, list = b->target.route;
	struct sh_name_addr first;
	struct sh_uri uri;
	int n;

	if (!sh_sips_admits(f->call, &b->target, &f->plan.arena)) {
		sh_branch_fail(b, 480, SH_SIPS_NOT_ALLOWED, SH_UNREACHABLE, NULL);
		return;
	}
	if (b->target.has_path) { /* a registered contact: by its connection, or to where its REGISTER came from */
		const struct sh_path *p = &b->target.path;

		if (!p->flow || sh_transport_flow_alive(f->ua->transport, p->flow))
			send_branch(b, p, 1);
		else if (!next_flow(b))
			sh_branch_fail(b, 480, SH_LIT("Connection is gone"), SH_UNREACHABLE, NULL);
		return;
	}
	if (b->target.hop.len)
		hop = b->target.hop;
	if (list.len && sh_name_addr_next(&list, &first) == 0)
		hop = first.uri;
	if (sh_uri_parse(&uri, hop) < 0) {
		sh_branch_fail(b, 400, SH_LIT("Bad target URI"), SH_FAILED, NULL);
		return;
	}
	if (uri.kind != SH_URI_SIP && uri.kind != SH_URI_SIPS) {
		sh_branch_fail(b, 416, (struct sh_slice){0}, SH_REJECTED, NULL);
		return;
	}
	n = sh_transport_locate(f->ua->transport, &uri, b->target.endpoint, found, on_located, b, &b->locate);
	if (n == 0) {
		b->state = SH_BRANCH_LOCATING;
		return;
	}
	send_branch(b, found, n > 0 ? (unsigned)n : 0);
}

/* ------------------------------------------------------------------ what is heard */

/* A phone that says "ringing" again and again: its caller need not hear more of it than this. What is to be acknowledged
 * is not meant: so much of that waits for the caller's PRACK that it holds back by itself. */
static bool chatters(struct sh_branch *b)
{
	enum { MOST = 64 }; /* in a second: a fork further on has many voices */
	uint64_t second = b->fork->ua->env->now / SH_SECOND;

	if (second != b->second) {
		b->second = second;
		b->said = 0;
	}
	return b->said++ >= MOST;
}

static void relay_provisional(struct sh_branch *b, struct sh_leg *l, const struct sh_msg *m)
{
	const struct sh_path *path = sh_client_txn_path(l->ct);
	struct sh_fork *f = b->fork;
	struct sh_call *c = f->call;
	unsigned code = m->status;
	bool with_body = m->body.len > 0, reliable = sh_early_is_reliable(m);
	struct sh_early_dialog *e;

	if (code == 100 || (!reliable && chatters(b)))
		return;
	if (c->answered) {
		if (f->plan.progress)
			f->plan.progress(f->ctx, code, sh_msg_text(m, m->reason));
		return;
	}
	e = sh_early_of(l, m, path);
	if (!e || e->ended)
		return; /* no memory, or too many: as if it had been lost */
	if (code == 199) { /* of a fork further on */
		if (!f->plan.single_tag)
			sh_call_early_over(c, e, sh_sip_cause_of(m));
		return;
	}
	if (reliable && ((e->caller && sh_reliable_full(c, e->caller)) || !sh_early_in_order(e, m)))
		return;
	if (reliable)
		sh_leg_find_path(l, e->callee, path);
	if (m->body.len) {
		sh_leg_learn_sdp(&e->sdp, m);
		sh_body_unref(l->remote_sdp);
		l->remote_sdp = sh_body_ref(e->sdp);
	}
	tell(b, m->body.len ? SH_BRANCH_EARLY : SH_BRANCH_RINGING, l, code, SH_CAUSE_NONE, m);
	if (f->plan.early == SH_EARLY_FIRST && with_body) {
		if (!f->media_branch)
			f->media_branch = b;
		with_body = f->media_branch == b;
	}
	if (f->plan.early == SH_EARLY_DROP)
		with_body = false;
	if (m->body.len && !with_body && code == 183)
		code = 180;
	if (!c->answered)
		sh_early_tell(e, f->plan.single_tag);
	if (!sh_call_relay_provisional(c, e, code, m, with_body, reliable) && reliable)
		sh_early_prack(e);
}

/* A 422 wants another session interval: once more, with that (RFC 4028 7.3); but not for ever. */
static bool ask_for_longer(struct sh_branch *b, struct sh_leg *l, const struct sh_msg *m)
{
	enum { MOST = 2 };
	struct sh_path path = *sh_client_txn_path(l->ct);
	uint32_t min = sh_session_min_of(m);

	if (min <= b->min_se || b->longer >= MOST)
		return false;
	b->longer++;
	b->min_se = min;
	return make_leg(b, &path) == 0;
}

void sh_branch_heard(struct sh_branch *b)
{
	struct sh_env *env = b->fork->ua->env;

	if (b->heard)
		return;
	b->heard = true;
	b->state = SH_BRANCH_PROCEEDING;
	sh_wheel_cancel(&env->wheel, &b->timer);
	if (b->target.timeout)
		sh_env_timer(env, &b->timer, b->target.timeout);
}

void sh_branch_on_response(struct sh_branch *b, struct sh_leg *l, const struct sh_msg *m)
{
	struct sh_fork *f = b->fork;
	struct sh_env *env = f->ua->env;

	if (m->status < 200) {
		sh_branch_heard(b);
		b->rang = b->rang || m->status > 100;
		/* timer C starts again (16.7 step 2), but nobody rings for ever */
		if (m->status > 100 && !f->plan.timeout && env->now + f->ua->config.timer_c < f->latest)
			sh_env_timer(env, &f->timer, f->ua->config.timer_c);
		relay_provisional(b, l, m);
		return;
	}
	b->heard = true;
	if (m->status < 300) {
		sh_wheel_cancel(&env->wheel, &b->timer);
		b->state = SH_BRANCH_DONE;
		b->leg = NULL;
		b->code = m->status;
		b->reason = sh_msg_text(m, m->reason);
		l->branch = NULL;
		tell(b, SH_BRANCH_ANSWERED, l, m->status, SH_CAUSE_NONE, m);
		if (l->answered_in && !f->call->answered)
			sh_early_tell(l->answered_in, f->plan.single_tag);
		sh_list_append(&f->call->loose, &l->in_call);
		sh_fork_cancel(f, b, SH_LIT("SIP;cause=200;text=\"Call completed elsewhere\""));
		/* with an answer to our offer the ACK need not wait for anybody (13.2.2.4) */
		if (b->offer || (f->plan.has_sdp ? f->plan.sdp.len : !f->call->answered && f->call->invite->body.len) || !m->body.len ||
		    (l->answered_in && l->answered_in->offer_passed))
			sh_leg_send_ack(l, NULL);
		sh_fork_finish(f, l);
		return;
	}
	l->branch = NULL;
	if (m->status == 503 && b->ncandidates) { /* RFC 3263 4.3: this server is overloaded, there are others */
		sh_wheel_cancel(&env->wheel, &b->timer);
		b->leg = NULL;
		if (try_candidates(b))
			return;
	}
	if (sh_flow_failed(m->status) && b->target.other_count) { /* as somebody nearer to it knows */
		sh_branch_over(b, l, m->status);
		sh_wheel_cancel(&env->wheel, &b->timer);
		b->leg = NULL;
		next_flow(b);
		sh_fork_advance(f);
		return;
	}
	if (m->status == 422 && ask_for_longer(b, l, m))
		return;
	if (m->status < 400 && sh_redirect_follow(b, m)) {
		sh_wheel_cancel(&env->wheel, &b->timer);
		b->state = SH_BRANCH_DONE;
		b->leg = NULL;
		b->code = m->status;
		b->reason = sh_status_reason(m->status);
		sh_fork_advance(f);
		return;
	}
	sh_branch_over(b, l, m->status);
	sh_branch_fail(b, m->status, sh_msg_text(m, m->reason), sh_cause_of(m->status), m);
	sh_fork_advance(f);
}

void sh_branch_hung_up(struct sh_branch *b)
{
	struct sh_fork *f = b->fork;
	struct sh_leg *l = b->leg;

	sh_branch_over(b, l, 487);
	tell(b, SH_BRANCH_CANCELLED, l, 487, SH_NO_ANSWER, NULL);
	l->branch = NULL;
	b->leg = NULL;
	b->state = SH_BRANCH_DONE;
	sh_question_forget(&b->question);
	sh_wheel_cancel(&f->ua->env->wheel, &b->timer);
	sh_fork_note(f, b, 487, (struct sh_slice){0}, SH_NO_ANSWER, NULL);
	f->in_call = true; /* who asked for this is still at work */
	sh_fork_advance(f);
	f->in_call = false;
}

void sh_branch_on_failure(struct sh_branch *b, struct sh_leg *l, unsigned code, enum sh_cause cause)
{
	struct sh_fork *f = b->fork;

	sh_wheel_cancel(&f->ua->env->wheel, &b->timer);
	l->branch = NULL;
	b->leg = NULL;
	if (!b->heard && (try_candidates(b) || next_flow(b))) {
		sh_fork_advance(f);
		return;
	}
	if (b->heard && code == 408)
		cause = SH_NO_ANSWER;
	sh_branch_fail(b, code, (struct sh_slice){0}, cause, NULL);
	sh_fork_advance(f);
}

static void on_branch_timer(struct sh_timer *t)
{
	struct sh_branch *b = SH_CONTAINER(t, struct sh_branch, timer);
	struct sh_fork *f = b->fork;

	if (b->state == SH_BRANCH_DELAYED) {
		sh_branch_start(b);
	} else {
		bool heard = b->heard;

		if (!heard && b->leg && b->leg->ct)
			sh_transport_avoid(f->ua->transport, sh_client_txn_path(b->leg->ct), 0);
		sh_branch_cancel(b, (struct sh_slice){0});
		if (!heard && (try_candidates(b) || next_flow(b))) {
			sh_fork_advance(f);
			return;
		}
		sh_branch_fail(b, 408, (struct sh_slice){0}, heard ? SH_NO_ANSWER : SH_UNREACHABLE, NULL);
	}
	sh_fork_advance(f);
}
