/* Early dialogs: see early.h. */
#include "b2bua/early.h"
#include "b2bua/fork.h"

static struct sh_early_dialog *by_tag(const struct sh_leg *l, struct sh_slice tag)
{
	SH_LIST_EACH (k, &l->early) {
		struct sh_early_dialog *e = SH_CONTAINER(k, struct sh_early_dialog, link);

		/* a peer that named no tag at first (RFC 2543) may still do so */
		if (sh_slice_eq(sh_dialog_remote_tag(e->callee), tag) || !sh_dialog_remote_tag(e->callee).len || !tag.len)
			return e;
	}
	return NULL;
}

static bool full(const struct sh_leg *l)
{
	unsigned n = 0;

	SH_LIST_EACH (k, &l->early)
		n++;
	return n >= SH_MOST_EARLY;
}

static void destroy(struct sh_early_dialog *e)
{
	sh_list_remove(&e->link);
	sh_dialog_finish(&e->own);
	sh_dialog_finish(&e->twin);
	sh_body_unref(e->sdp);
	sh_free(e);
}

struct sh_early_dialog *sh_early_of(struct sh_leg *l, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_slice tag = sh_msg_text(m, m->to_tag);
	struct sh_early_dialog *e = by_tag(l, tag);
	int err = 0;

	if (e && sh_dialog_remote_tag(e->callee).len)
		return e;
	if (!e) {
		e = m->status < 200 && full(l) ? NULL : sh_calloc(1, sizeof(*e));
		if (!e)
			return NULL;
		e->leg = l;
		if (sh_list_empty(&l->early)) {
			e->callee = &l->dialog;
		} else {
			err = sh_dialog_init_fork(&e->own, &l->dialog, l, m, from);
			e->callee = &e->own;
		}
		sh_list_append(&l->early, &e->link);
	}
	if (e->callee == &l->dialog && m->status < 200)
		err = sh_dialog_learn(&l->dialog, m, from);
	if (err == -ENOMEM) {
		destroy(e);
		return NULL;
	}
	return e;
}

struct sh_early_dialog *sh_early_by_callee(const struct sh_leg *l, const struct sh_dialog *d)
{
	SH_LIST_EACH (k, &l->early) {
		struct sh_early_dialog *e = SH_CONTAINER(k, struct sh_early_dialog, link);

		if (e->callee == d)
			return e;
	}
	return NULL;
}

static struct sh_early_dialog *told_by(const struct sh_leg *l, const struct sh_dialog *d)
{
	struct sh_early_dialog *last = NULL;

	SH_LIST_EACH (k, &l->early) {
		struct sh_early_dialog *e = SH_CONTAINER(k, struct sh_early_dialog, link);

		if (e->caller == d)
			last = e; /* several of one tag: the latest is what the caller sees */
	}
	return last;
}

struct sh_early_dialog *sh_early_by_caller(const struct sh_call *c, const struct sh_dialog *d)
{
	struct sh_early_dialog *e = NULL;

	SH_LIST_EACH (k, &c->loose) {
		e = told_by(SH_CONTAINER(k, struct sh_leg, in_call), d);
		if (e)
			return e;
	}
	for (unsigned i = 0; c->fork && i < c->fork->count; i++) {
		const struct sh_leg *l = c->fork->branches[i]->leg;

		e = l ? told_by(l, d) : NULL;
		if (e)
			return e;
	}
	return NULL;
}

struct sh_leg *sh_leg_opposite(const struct sh_leg *l, const struct sh_msg *m, struct sh_dialog **out)
{
	const struct sh_dialog *d = sh_dialog_find(&l->ua->dialogs, m);
	struct sh_call *c = l->call;
	struct sh_leg *to = !c ? NULL : l == c->a ? c->b : l == c->b ? c->a : NULL;
	const struct sh_early_dialog *e = NULL;

	if (to) {
		*out = &to->dialog;
		return to;
	}
	if (c && l == c->a) {
		e = sh_early_by_caller(c, d);
		*out = e ? e->callee : NULL;
		return e ? e->leg : NULL;
	}
	e = c && c->a ? sh_early_by_callee(l, d) : NULL;
	*out = e ? e->caller : NULL;
	return e && e->caller ? c->a : NULL;
}

void sh_early_tell(struct sh_early_dialog *e, bool single_tag)
{
	struct sh_call *c = e->leg->call;

	if (e->caller || !c || !c->a)
		return;
	e->caller = &c->a->dialog;
	if (c->a_tag_used && !single_tag && sh_dialog_init_twin(&e->twin, &c->a->dialog) == 0)
		e->caller = &e->twin;
	c->a_tag_used = true;
}

void sh_early_chosen(struct sh_early_dialog *e)
{
	struct sh_leg *l = e->leg;
	struct sh_early_dialog *first = sh_early_by_callee(l, &l->dialog);

	if (e->callee == &l->dialog)
		return;
	if (first) { /* its own is gone with this; nobody will ask for it again */
		if (l->call)
			sh_reliable_forget(l->call, first);
		destroy(first);
	}
	sh_dialog_become(&l->dialog, &e->own);
	e->callee = &l->dialog;
}

/* ------------------------------------------------------------------ one of several ends */

static bool others_go_on(const struct sh_fork *f, const struct sh_early_dialog *e)
{
	SH_LIST_EACH (k, &e->leg->early) {
		const struct sh_early_dialog *other = SH_CONTAINER(k, struct sh_early_dialog, link);

		if (other != e && !other->ended)
			return true;
	}
	for (unsigned i = 0; i < f->count; i++) {
		const struct sh_branch *b = f->branches[i];

		if (b->leg != e->leg && b->state != SH_BRANCH_IDLE && b->state != SH_BRANCH_DONE)
			return true;
	}
	return false;
}

static void bye(struct sh_early_dialog *e)
{
	struct sh_ua *ua = e->leg->ua;
	struct sh_slice none = {0};
	struct sh_writer line, rest;
	struct sh_client_txn *ct;

	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(e->callee, SH_LIT("BYE"), 0, 70, &line, &rest);
	sh_ua_put_product(ua, &rest, true);
	sh_put_body(&rest, none, none);
	sh_leg_send_in(e->leg, e->callee, &ct, SH_BYE, &line, &rest, NULL, NULL);
}

bool sh_early_hung_up(struct sh_call *c, const struct sh_dialog *d)
{
	struct sh_fork *f = c->answered || c->bridging ? NULL : c->fork;
	struct sh_early_dialog *e = f && !f->plan.single_tag ? sh_early_by_caller(c, d) : NULL;

	if (!e || !others_go_on(f, e))
		return false;
	sh_reliable_forget(c, e);
	e->caller = NULL;
	e->ended = true;
	if (e->leg->early.next->next == &e->leg->early)
		sh_leg_hangup(e->leg, (struct sh_slice){0});
	else
		bye(e);
	return true;
}

void sh_early_forget(struct sh_leg *l)
{
	struct sh_link *k;

	while ((k = l->early.next) != &l->early) {
		struct sh_early_dialog *e = SH_CONTAINER(k, struct sh_early_dialog, link);

		if (l->call)
			sh_reliable_forget(l->call, e);
		destroy(e);
	}
}

/* ------------------------------------------------------------------ PRACK */

bool sh_early_is_reliable(const struct sh_msg *m)
{
	return m->first[SH_H_RSEQ] && sh_msg_has_token(m, SH_H_REQUIRE, SH_LIT("100rel"));
}

bool sh_early_in_order(struct sh_early_dialog *e, const struct sh_msg *m)
{
	uint32_t n;

	if (sh_slice_u32(sh_slice_trim(sh_msg_header(m, SH_H_RSEQ)), &n) < 0 || !n || (e->callee->rseq && n != e->callee->rseq + 1))
		return false;
	e->callee->rseq = n;
	return true;
}

static void put_rack(struct sh_writer *w, uint32_t rseq, uint32_t cseq)
{
	sh_put_lit(w, "RAck: ");
	sh_put_uint(w, rseq);
	sh_put_char(w, ' ');
	sh_put_uint(w, cseq);
	sh_put_lit(w, " INVITE\r\n");
}

void sh_early_put_rack(struct sh_writer *w, const struct sh_early_dialog *e, uint32_t rseq)
{
	put_rack(w, rseq, e->leg->dialog.invite_cseq);
}

void sh_early_prack(struct sh_early_dialog *e)
{
	sh_leg_prack(e->leg, e->callee, e->callee->rseq);
}

void sh_leg_prack(struct sh_leg *l, struct sh_dialog *d, uint32_t rseq)
{
	struct sh_ua *ua = l->ua;
	struct sh_slice none = {0};
	struct sh_writer line, rest;
	struct sh_client_txn *ct;

	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(d, SH_LIT("PRACK"), 0, 70, &line, &rest);
	put_rack(&rest, rseq, l->dialog.invite_cseq);
	sh_ua_put_product(ua, &rest, true);
	sh_session_id_put(l, &rest);
	sh_put_body(&rest, none, none);
	/* Whatever becomes of it: who wants it and does not get it ends the INVITE (RFC 3262 3). */
	sh_leg_send_in(l, d, &ct, SH_PRACK, &line, &rest, NULL, NULL);
}
