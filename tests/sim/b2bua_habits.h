/* Phones that get along by themselves, for tests in which the network or the time decides what happens; and what must
 * hold in the end, whatever happened. */
#ifndef B2BUA_HABITS_H
#define B2BUA_HABITS_H

#include "b2bua_helpers.h"

struct habits {
	bool ring;           /* says 180 to a new INVITE */
	bool answer;         /* says 200 to a new INVITE */
	bool hesitant;       /* does not answer a re-INVITE */
	bool leaves_acks;    /* sends no ACK to a 2xx */
	const char *sdp;
};

static inline bool is_invite(const struct phone_msg *m)
{
	return m->code >= 0 && m->m.is_request && m->m.method == SH_INVITE;
}

static inline bool same(const struct phone_msg *a, struct sh_span sa, const struct phone_msg *b, struct sh_span sb)
{
	return sh_slice_eq(sh_msg_text(&a->m, sa), sh_msg_text(&b->m, sb));
}

/* The final answer to a request, from that phone's log; NULL: none. */
static inline const struct phone_msg *final_answer(const struct phone_msg *request)
{
	SH_LIST_EACH (l, &request->phone->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (m->code >= 0 && !m->m.is_request && m->m.status >= 200 && m->sent != request->sent &&
		    m->m.cseq == request->m.cseq && same(m, m->m.cseq_method, request, request->m.method_name) &&
		    same(m, m->m.via_branch, request, request->m.via_branch))
			return m;
	}
	return NULL;
}

/* The latest INVITE that came and has no final answer. */
static inline struct phone_msg *open_invite(struct phone *p)
{
	struct phone_msg *found = NULL;

	SH_LIST_EACH (l, &p->log) {
		struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (is_invite(m) && !m->sent && !m->repeat && !final_answer(m))
			found = m;
	}
	return found;
}

static inline void habit_request(struct phone_msg *m, const struct habits *h)
{
	struct phone_msg *invite;

	switch (m->m.method) {
	case SH_INVITE:
		if (m->m.to_tag.len) {
			if (!h->hesitant)
				phone_reply(m, 200, NULL, NULL, h->sdp);
			return;
		}
		if (h->ring)
			phone_reply(m, 180, NULL, NULL, NULL);
		if (h->answer)
			phone_reply(m, 200, NULL, NULL, h->sdp);
		return;
	case SH_ACK:
		return;
	case SH_CANCEL:
		ok(m);
		invite = open_invite(m->phone);
		if (invite && invite->m.cseq == m->m.cseq)
			phone_reply(invite, 487, NULL, NULL, NULL);
		return;
	case SH_BYE:
		ok(m);
		invite = open_invite(m->phone);
		if (invite && invite->call == m->call)
			phone_reply(invite, 487, NULL, NULL, NULL);
		return;
	default:
		ok(m);
	}
}

static inline void habit(struct phone_msg *m, void *ctx)
{
	const struct habits *h = ctx;

	if (m->code < 0)
		return;
	if (m->m.is_request)
		habit_request(m, h);
	else if (m->m.method == SH_INVITE && m->m.status >= 200 && m->call && (m->m.status >= 300 || !h->leaves_acks))
		phone_ack(m, NULL, m->m.status < 300 && m->call->invite && m->call->invite->m.body.len == 0 ? h->sdp : NULL);
}

static inline void take_up(struct phone *p, struct habits *h)
{
	phone_auto(p, PHONE_ROBUST);
	p->on_message = habit;
	p->ctx = h;
}

static inline bool has_bye(const struct phone_call *c)
{
	SH_LIST_EACH (l, &c->phone->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (m->call == c && m->code >= 0 && m->m.is_request && m->m.method == SH_BYE)
			return true;
	}
	return false;
}

/* The caller hangs up, if she is still in the call. That the others hear of it is not their business. */
static inline void caller_leaves(void)
{
	SH_LIST_EACH (l, &alice->calls) {
		struct phone_call *c = SH_CONTAINER(l, struct phone_call, link);

		if (c->confirmed && !has_bye(c))
			phone_bye(c);
	}
}

/* In the end each INVITE was answered exactly once, each 2xx has its ACK, and each dialog was ended by a BYE. */
static inline void check_invite(const struct phone_msg *invite)
{
	unsigned codes = 0, last = 0;

	SH_LIST_EACH (l, &invite->phone->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (m->code < 0 || m->m.is_request || m->m.status < 200 || m->m.method != SH_INVITE || m->sent ||
		    !same(m, m->m.via_branch, invite, invite->m.via_branch) || m->m.status == last)
			continue;
		last = m->m.status;
		codes++;
	}
	if (codes != 1)
		phone_fail(w->sim, __FILE__, __LINE__, "an INVITE of %s has %u different final answers", invite->phone->name, codes);
}

static inline bool has_ack(const struct phone_msg *answer)
{
	SH_LIST_EACH (l, &answer->phone->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (m->code >= 0 && m->m.is_request && m->m.method == SH_ACK && m->call == answer->call && m->m.cseq == answer->m.cseq)
			return true;
	}
	return false;
}

/* The dialog ended when the phone had given up repeating the answer (13.3.1.4: 64*T1): an ACK that the network lost then is not sent again. */
static inline bool has_given_up(const struct phone_msg *answer)
{
	SH_LIST_EACH (l, &answer->phone->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (m->code >= 0 && m->m.is_request && m->m.method == SH_BYE && m->call == answer->call)
			return m->at > answer->at + 31 * SH_SECOND;
	}
	return false;
}

static inline void check_phone(struct phone *p, bool acks)
{
	SH_LIST_EACH (l, &p->log) {
		const struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (is_invite(m) && !m->repeat && m->sent)
			check_invite(m);
		if (acks && m->sent && !m->repeat && m->code >= 0 && !m->m.is_request && m->m.method == SH_INVITE && m->m.status / 100 == 2 &&
		    !has_ack(m) && !has_given_up(m))
			phone_fail(w->sim, __FILE__, __LINE__, "an answer of %s has no ACK", p->name);
	}
	SH_LIST_EACH (l, &p->calls) {
		const struct phone_call *c = SH_CONTAINER(l, struct phone_call, link);

		if (c->confirmed && !has_bye(c))
			phone_fail(w->sim, __FILE__, __LINE__, "a dialog of %s was never ended", p->name);
	}
}

/* Time passes until all is over; then the checks. */
static inline void finale(bool acks)
{
	world_advance(w, 2 * SH_SECOND);
	caller_leaves();
	world_settle(w, 500 * SH_SECOND);
	check_phone(alice, false);
	check_phone(bob, acks);
	check_phone(carol, acks);
	world_destroy(w);
}

#endif
