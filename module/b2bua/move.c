/* A leg moves to another worker: an attended transfer whose two calls live on two of them. The leg is taken out of all tables
 * of its worker, travels by post, and is planted on the other one; what still comes for it where its tag points is sent
 * after it (forward.c). It returns the same way when the transfer fails.
 *
 *   guest: the call that takes the leg                 home: where the leg's tag points, with its call, the lender
 *     | ASK, the dialog that Replaces names  --------->  |  the lender keeps its other leg, and waits
 *     | <------------------------ GIVEN, the leg; or REFUSED
 *     |   ... rebridge ...
 *     | KEPT  ---------------------------------------->  |  the lender ends
 *     | RETURNED, the leg  --------------------------->  |  all is as before
 *     | GONE, when the leg has ended  ---------------->  |  nothing is sent after it any more */
#include "b2bua/pickup.h"

enum what { ASK, GIVEN, REFUSED, KEPT, RETURNED, GONE };

struct passage {
	struct sh_ua *const *peers;
	enum what what;
	unsigned guest, home;
	uint64_t call, serial; /* of the guest: the call and its transfer */
	uint64_t lender, other; /* handles at home: the call, and its leg that stayed */
	bool was_a;
	unsigned code, hops; /* hops: workers that sent the question on */
	struct sh_leg *leg;
	struct sh_link link;   /* in ua->passages, while it waits until the leg is quiet */
	struct sh_timer timer;
	struct sh_ua *ua;
	uint64_t handle;       /* of that leg */
	char tag[SH_TAG_LEN];
	struct sh_addr from; /* who asks */
	bool anyone;
	size_t call_id, to_tag, from_tag, party;
	char text[];
};

static void on_passage(struct sh_env *env, void *arg);

static int post(struct sh_ua *ua, unsigned worker, struct passage *p)
{
	return ua->env->driver->post(ua->env, worker, on_passage, p);
}

/* ------------------------------------------------------------------ out of one worker, into another */

/* A body is shared by legs of one worker, with a plain counter: who travels takes a copy. */
static bool own_body(struct sh_body **at)
{
	struct sh_body *copy;

	if (!*at || (*at)->refs == 1)
		return true;
	copy = sh_body_make(sh_body_type(*at), sh_body_text(*at));
	if (!copy)
		return false;
	sh_body_unref(*at);
	*at = copy;
	return true;
}

static bool quiet(const struct sh_leg *l)
{
	return l->state == SH_LEG_UP && sh_list_empty(&l->reinvites) && sh_list_empty(&l->reoffers) && sh_list_empty(&l->requests) &&
	       sh_list_empty(&l->relays) && sh_list_empty(&l->subscriptions) && sh_list_empty(&l->early) && !l->reinvite && !l->update &&
	       !l->reoffer && !l->answer && !l->bye && !l->question && !l->asked && !l->hangup_wanted;
}

int sh_leg_uproot(struct sh_leg *l)
{
	struct sh_ua *ua = l->ua;

	sh_reinvite_let_go(l);
	sh_reoffer_let_go(l);
	if (!quiet(l))
		return -EBUSY;
	if (!own_body(&l->local_sdp) || !own_body(&l->remote_sdp))
		return -ENOMEM;
	if (l->ct)
		sh_leg_detach_invite(l, l->ct);
	l->ct = NULL;
	l->invite_ct = NULL; /* whatever it was: it stays here */
	l->answered_in = NULL;
	sh_probe_drop(l);
	if (l->st)
		sh_server_txn_watch(l->st, NULL, NULL);
	l->st = NULL;
	sh_session_drop(l); /* the re-INVITE that follows agrees on a new one */
	sh_locate_cancel(l->locate);
	l->locate = NULL;
	sh_leg_forget_answer(l);
	sh_dialog_detach(&l->dialog);
	sh_slots_remove(&ua->legs, l->handle);
	sh_list_remove(&l->link);
	sh_list_remove(&l->in_call);
	ua->stats.legs_live--;
	l->call = NULL;
	l->ua = NULL;
	return 0;
}

static struct sh_slice tag_of(const struct sh_leg *l)
{
	return sh_slice_make(l->dialog.local_tag, SH_TAG_LEN);
}

bool sh_leg_plant(struct sh_ua *ua, struct sh_leg *l, struct sh_call *call)
{
	sh_forward_remove(ua, SH_FORWARD_TAG, tag_of(l)); /* it may have been here before */
	l->ua = ua;
	l->call = call;
	l->handle = sh_slots_add(&ua->legs, l);
	sh_dialog_attach(&l->dialog, &ua->dialogs, l);
	sh_list_append(&ua->live_legs, &l->link);
	ua->stats.legs_live++;
	l->moved = true;
	return l->handle != 0;
}

void sh_leg_moved_gone(struct sh_leg *l)
{
	struct sh_ua *ua = l->ua;

	for (unsigned i = 0; i < ua->env->workers && !ua->closing; i++) {
		struct passage *p = i != ua->env->worker ? sh_calloc(1, sizeof(*p)) : NULL;

		if (!p)
			continue;
		p->peers = ua->config.peers;
		p->what = GONE;
		memcpy(p->tag, l->dialog.local_tag, SH_TAG_LEN);
		if (post(ua, i, p) < 0)
			sh_free(p);
	}
}

/* ------------------------------------------------------------------ the guest */

int sh_move_ask(struct sh_call *c, const struct sh_dialog_ids *ids, unsigned home, const struct sh_referrer *who, uint64_t serial)
{
	const struct sh_slice parts[] = {ids->call_id, ids->to_tag, ids->from_tag, who ? who->party : (struct sh_slice){0}};
	struct sh_ua *ua = c->ua;
	struct passage *p = sh_calloc(1, sizeof(*p) + parts[0].len + parts[1].len + parts[2].len + parts[3].len);
	char *at;

	if (!p)
		return -ENOMEM;
	p->peers = ua->config.peers;
	p->what = ASK;
	p->guest = ua->env->worker;
	p->home = home;
	p->call = c->handle;
	p->serial = serial;
	p->call_id = ids->call_id.len;
	p->to_tag = ids->to_tag.len;
	p->from_tag = ids->from_tag.len;
	p->party = parts[3].len;
	p->anyone = !who;
	if (who)
		p->from = who->from;
	at = p->text;
	for (unsigned i = 0; i < 4; i++) {
		if (parts[i].len)
			memcpy(at, parts[i].base, parts[i].len);
		at += parts[i].len;
	}
	if (post(ua, home, p) == 0)
		return 0;
	sh_free(p);
	return -EAGAIN;
}

enum { QUIET_WAIT = 100 * SH_MS };

static void give_back(struct sh_ua *ua, struct passage *p);

static void on_quiet(struct sh_timer *t)
{
	struct passage *p = SH_CONTAINER(t, struct passage, timer);

	sh_list_remove(&p->link);
	p->leg = sh_ua_leg(p->ua, p->handle);
	give_back(p->ua, p);
}

/* What is going on in its dialog comes to its end here first. */
static void wait_until_quiet(struct sh_ua *ua, struct passage *p)
{
	p->ua = ua;
	p->handle = p->leg->handle;
	sh_timer_init(&p->timer, on_quiet);
	sh_list_init(&p->link);
	sh_list_append(&ua->passages, &p->link);
	sh_env_timer(ua->env, &p->timer, QUIET_WAIT);
}

void sh_move_finish(struct sh_ua *ua)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&ua->passages)) != NULL) {
		struct passage *p = SH_CONTAINER(l, struct passage, link);

		sh_wheel_cancel(&ua->env->wheel, &p->timer);
		sh_free(p);
	}
}

static void give_back(struct sh_ua *ua, struct passage *p)
{
	struct sh_leg *l = p->leg;
	int err = l && l->state == SH_LEG_UP ? sh_leg_uproot(l) : -EPIPE;

	if (err == -EBUSY) {
		sh_leg_leave(l);
		wait_until_quiet(ua, p);
		return;
	}
	p->what = RETURNED;
	if (!err && post(ua, p->home, p) == 0)
		return;
	if (!err)
		sh_leg_plant(ua, l, NULL);
	if (l)
		sh_leg_hangup(l, (struct sh_slice){0}); /* it cannot go back: its call ends at home */
	p->what = KEPT;
	p->leg = NULL;
	if (post(ua, p->home, p) < 0)
		sh_free(p);
}

void sh_move_over(struct sh_ua *ua, struct sh_leg *fresh, unsigned home, uint64_t lender, uint64_t other, bool was_a, bool returns)
{
	struct passage *p = sh_calloc(1, sizeof(*p));

	if (!p) {
		if (returns)
			sh_leg_hangup(fresh, (struct sh_slice){0});
		return;
	}
	p->peers = ua->config.peers;
	p->what = KEPT;
	p->guest = ua->env->worker;
	p->home = home;
	p->lender = lender;
	p->other = other;
	p->was_a = was_a;
	p->leg = returns ? fresh : NULL;
	if (returns)
		give_back(ua, p);
	else if (post(ua, home, p) < 0)
		sh_free(p);
}

static void on_given(struct sh_ua *ua, struct passage *p)
{
	struct sh_call *c = sh_ua_call(ua, p->call);
	struct sh_leg *l = p->leg;

	if (!sh_leg_plant(ua, l, NULL)) {
		sh_leg_bye(l);
		p->what = KEPT;
		if (post(ua, p->home, p) < 0)
			sh_free(p);
		return;
	}
	if (sh_transfer_take(c, p->serial, l, p->home, p->lender, p->other, p->was_a))
		sh_free(p);
	else
		give_back(ua, p); /* nobody waits for it any more */
}

/* ------------------------------------------------------------------ home */

static unsigned lend(struct sh_ua *ua, struct passage *p)
{
	struct sh_dialog_ids ids = {
		.call_id = sh_slice_make(p->text, p->call_id),
		.to_tag = sh_slice_make(p->text + p->call_id, p->to_tag),
		.from_tag = sh_slice_make(p->text + p->call_id + p->to_tag, p->from_tag),
	};
	struct sh_referrer who = {p->from, sh_slice_make(p->text + p->call_id + p->to_tag + p->from_tag, p->party)};
	struct sh_leg *with = sh_ua_find_leg(ua, &ids), *l;
	struct sh_call *c = with ? with->call : NULL;
	int err;

	if (!c || c->state != SH_CALL_UP || c->lends)
		return 481;
	l = with == c->a ? c->b : with == c->b ? c->a : NULL;
	if (!l)
		return 481;
	if (!p->anyone && !sh_referrer_has(&who, with))
		return 403;
	if (c->transfer || c->rebridge || c->bridge_done || c->picked)
		return 491;
	err = sh_leg_uproot(l);
	if (err)
		return err == -EBUSY ? 491 : 503;
	p->lender = c->handle;
	p->other = with->handle;
	p->was_a = l == c->a;
	p->leg = l;
	if (p->was_a)
		c->a = NULL;
	else
		c->b = NULL;
	c->lends = true;
	sh_forward_add(ua, SH_FORWARD_TAG, tag_of(l), p->guest, 0);
	return 0;
}

/* Back in its call, or alone when that has ended meanwhile. */
static void take_back(struct sh_ua *ua, struct passage *p)
{
	struct sh_call *c = sh_ua_call(ua, p->lender);
	struct sh_leg *other = sh_ua_leg(ua, p->other), *l = p->leg;
	bool fits = c && c->state == SH_CALL_UP && c->lends && other && other->call == c;

	if (!sh_leg_plant(ua, l, fits ? c : NULL) || !fits) {
		l->call = NULL;
		sh_leg_hangup(l, (struct sh_slice){0});
		if (fits)
			sh_call_hangup(c, SH_BY_ENGINE, 0, (struct sh_slice){0});
		return;
	}
	c->lends = false;
	if (p->was_a)
		c->a = l;
	else
		c->b = l;
}

static void on_ask(struct sh_ua *ua, struct passage *p)
{
	int elsewhere = sh_forward_find(ua, SH_FORWARD_TAG, sh_slice_make(p->text + p->call_id, p->to_tag));

	if (elsewhere >= 0 && elsewhere != (int)ua->env->worker && p->hops++ < ua->env->workers) { /* it has moved before */
		p->home = (unsigned)elsewhere;
		if (post(ua, p->home, p) == 0)
			return;
	}
	p->code = lend(ua, p);
	p->what = p->code ? REFUSED : GIVEN;
	if (post(ua, p->guest, p) == 0)
		return;
	if (p->leg)
		take_back(ua, p);
	sh_free(p);
}

static void on_passage(struct sh_env *env, void *arg)
{
	struct passage *p = arg;
	struct sh_ua *ua = p->peers[env->worker];

	switch (p->what) {
	case ASK:
		on_ask(ua, p);
		return;
	case GIVEN:
		on_given(ua, p);
		return;
	case REFUSED:
		sh_transfer_refused(sh_ua_call(ua, p->call), p->serial, p->code);
		break;
	case KEPT:
		sh_transfer_end_lender(ua, p->lender);
		break;
	case RETURNED:
		take_back(ua, p);
		break;
	case GONE:
		sh_forward_remove(ua, SH_FORWARD_TAG, sh_slice_make(p->tag, SH_TAG_LEN));
		break;
	}
	sh_free(p);
}
