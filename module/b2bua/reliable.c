/* Provisional answers that the caller must acknowledge with PRACK (RFC 3262 3). Each early dialog counts for itself, and
 * has one in flight at a time: the next one waits for the PRACK of the one before.
 *
 *   waiting --> sent (again after T1, 2*T1 ...) --PRACK--> gone
 *                 `--64*T1--> the INVITE is refused with 504 */
#include "b2bua/early.h"

struct sh_reliable {
	struct sh_link link; /* in call->reliable, oldest first */
	struct sh_call *call;
	struct sh_dialog *dialog; /* towards the caller */
	struct sh_early_dialog *early;   /* who wants the PRACK, as one for callee_rseq; NULL: nobody */
	uint32_t rseq, callee_rseq;
	unsigned code;
	bool sent, has_sdp;
	uint64_t wait, end; /* microseconds to the next repetition; when it is given up */
	struct sh_timer timer;
	size_t len;
	char text[];
};

static void destroy(struct sh_reliable *r)
{
	sh_wheel_cancel(&r->call->ua->env->wheel, &r->timer);
	sh_list_remove(&r->link);
	sh_free(r);
}

static struct sh_slice text_of(const struct sh_reliable *r)
{
	return (struct sh_slice){r->text, r->len};
}

static void on_timer(struct sh_timer *t)
{
	struct sh_reliable *r = SH_CONTAINER(t, struct sh_reliable, timer);
	struct sh_call *c = r->call;
	struct sh_env *env = c->ua->env;
	struct sh_why why = {SH_BY_ENGINE, 504, SH_LIT("No PRACK"), 0, {0}};

	if (env->now >= r->end) {
		sh_call_end(c, &why, SH_LIT("SIP;cause=504;text=\"No PRACK\""));
		return;
	}
	if (c->a && c->a->st)
		sh_server_txn_resend(c->a->st, text_of(r));
	r->wait *= 2;
	sh_wheel_add(&env->wheel, t, env->now + r->wait < r->end ? env->now + r->wait : r->end);
}

static int transmit(struct sh_reliable *r)
{
	struct sh_call *c = r->call;
	struct sh_writer w = {r->text, r->len, r->len, false, false};
	const struct sh_txn_timers *timers = &c->ua->config.txn;

	r->sent = true;
	r->wait = timers->t1;
	r->end = c->ua->env->now + 64 * timers->t1;
	sh_env_timer(c->ua->env, &r->timer, r->wait);
	return sh_server_txn_respond(c->a->st, r->code, &w);
}

void sh_reliable_put(struct sh_writer *w, struct sh_call *c, struct sh_dialog *d)
{
	d->rseq = d->rseq ? d->rseq + 1 : 1 + (uint32_t)sh_random_below(&c->ua->env->random, 1 << 15);
	sh_put_lit(w, "Require: 100rel\r\n");
	sh_put_header_uint(w, SH_H_RSEQ, d->rseq);
}

int sh_reliable_send(struct sh_call *c, struct sh_dialog *d, unsigned code, const struct sh_writer *w, struct sh_early_dialog *e,
		     uint32_t callee_rseq, bool has_sdp)
{
	struct sh_reliable *r = w->full ? NULL : sh_malloc(sizeof(*r) + w->len);
	bool first = true;

	if (!r) {
		d->rseq--;
		return w->full ? -EMSGSIZE : -ENOMEM;
	}
	SH_LIST_EACH (k, &c->reliable)
		if (SH_CONTAINER(k, struct sh_reliable, link)->dialog == d)
			first = false;
	*r = (struct sh_reliable){.call = c, .dialog = d, .early = e, .rseq = d->rseq, .callee_rseq = callee_rseq, .code = code,
				  .has_sdp = has_sdp, .len = w->len};
	memcpy(r->text, w->base, w->len);
	sh_timer_init(&r->timer, on_timer);
	sh_list_append(&c->reliable, &r->link);
	return first ? transmit(r) : 0;
}

static void next(struct sh_call *c, const struct sh_dialog *d)
{
	SH_LIST_EACH (k, &c->reliable) {
		struct sh_reliable *r = SH_CONTAINER(k, struct sh_reliable, link);

		if (r->dialog != d)
			continue;
		if (!r->sent && c->a && c->a->st && !sh_server_txn_answered(c->a->st))
			transmit(r);
		return;
	}
}

bool sh_reliable_full(const struct sh_call *c, const struct sh_dialog *d)
{
	unsigned n = 0;

	SH_LIST_EACH (k, &c->reliable)
		n += SH_CONTAINER(k, struct sh_reliable, link)->dialog == d;
	return n >= SH_MOST_RELIABLE;
}

bool sh_reliable_holds_2xx(const struct sh_call *c, const struct sh_dialog *d)
{
	SH_LIST_EACH (k, &c->reliable) {
		const struct sh_reliable *r = SH_CONTAINER(k, struct sh_reliable, link);

		if (r->dialog == d && r->has_sdp)
			return true;
	}
	return false;
}

static struct sh_reliable *find(const struct sh_call *c, const struct sh_dialog *d, const struct sh_msg *prack)
{
	struct sh_slice value = sh_slice_trim(sh_msg_header(prack, SH_H_RACK)), rseq, cseq, method;
	uint32_t n, number;

	sh_slice_cut(value, ' ', &rseq, &value);
	sh_slice_cut(sh_slice_trim(value), ' ', &cseq, &method);
	if (sh_slice_u32(rseq, &n) < 0 || sh_slice_u32(cseq, &number) < 0 || !sh_slice_eq(sh_slice_trim(method), SH_LIT("INVITE")) ||
	    number != c->invite_cseq)
		return NULL;
	SH_LIST_EACH (k, &c->reliable) {
		struct sh_reliable *r = SH_CONTAINER(k, struct sh_reliable, link);

		if (r->dialog == d && r->sent && r->rseq == n)
			return r;
	}
	return NULL;
}

void sh_reliable_on_prack(struct sh_leg *a, struct sh_dialog *d, struct sh_server_txn *st, const struct sh_msg *m,
			  const struct sh_path *from)
{
	struct sh_call *c = a->call;
	struct sh_reliable *r = c && c->a == a ? find(c, d, m) : NULL;
	struct sh_slice none = {0};
	struct sh_early_dialog *e;
	uint32_t rseq;

	if (!r) {
		sh_ua_reply(a->ua, st, 481, SH_LIT("No such provisional answer"), none, none);
		return;
	}
	e = r->early;
	rseq = r->callee_rseq;
	if (m->body.len)
		sh_leg_learn_sdp(&a->remote_sdp, m);
	destroy(r);
	sh_ua_observe(a->ua, m, from, a);
	if (e) {
		e->offer_passed = e->offer_passed || m->body.len;
		sh_relay_prack(a, e, rseq, st, m);
	} else if (m->body.len) { /* an offer in answer to what only we have made reliable: nobody is there to answer it */
		sh_ua_reply(a->ua, st, 488, none, none, none);
	} else {
		sh_ua_reply(a->ua, st, 200, none, none, none);
	}
	next(c, d);
	sh_call_pracked(c);
}

void sh_reliable_answered(struct sh_call *c, const struct sh_dialog *d)
{
	SH_LIST_EACH_SAFE (k, &c->reliable) {
		struct sh_reliable *r = SH_CONTAINER(k, struct sh_reliable, link);

		if (r->dialog == d && r->sent)
			sh_wheel_cancel(&c->ua->env->wheel, &r->timer);
		else
			destroy(r);
	}
}

void sh_reliable_forget(struct sh_call *c, const struct sh_early_dialog *e)
{
	SH_LIST_EACH_SAFE (k, &c->reliable) {
		struct sh_reliable *r = SH_CONTAINER(k, struct sh_reliable, link);

		if (r->dialog == &e->twin)
			destroy(r);
		else if (r->early == e)
			r->early = NULL;
	}
}
