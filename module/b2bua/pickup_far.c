/* A pickup whose two calls live on two workers. Each half has its own struct sh_pickup; what one does the other is told, and in the
 * end the leg of who picks up moves (move.c).
 *
 *   who picks up                                       the call that goes on
 *     | ASK, its id and what he offers  ----------------> |  asks the partner that stays, or stops the phones that ring
 *     | <---------------------------- ANSWER; or OVER with a code
 *     |   ... 200, ACK ...
 *     | COME, his leg and what the ACK said  -----------> |  it takes its place
 *     | <----- OVER: one of the two ended -----> | */
#include "b2bua/pickup.h"

enum what { ASK, ANSWER, OVER, COME };

struct errand {
	struct sh_ua *const *peers;
	enum what what;
	bool to_picker;         /* to the half of who picks up */
	unsigned from;          /* worker */
	uint64_t serial;
	uint64_t picker, target; /* handles of the two calls; 0: not known */
	unsigned code;
	struct sh_leg *leg;
	size_t id, type, body;
	char text[];
};

static void on_errand(struct sh_env *env, void *arg);

static int dispatch(struct sh_ua *ua, unsigned worker, const struct errand *like, const struct sh_slice parts[3])
{
	struct errand *e = sh_malloc(sizeof(*e) + parts[0].len + parts[1].len + parts[2].len);
	char *at;

	if (!e)
		return -ENOMEM;
	*e = *like;
	e->peers = ua->config.peers;
	e->from = ua->env->worker;
	e->id = parts[0].len;
	e->type = parts[1].len;
	e->body = parts[2].len;
	at = e->text;
	for (unsigned i = 0; i < 3; i++) {
		if (parts[i].len)
			memcpy(at, parts[i].base, parts[i].len);
		at += parts[i].len;
	}
	if (ua->env->driver->post(ua->env, worker, on_errand, e) == 0)
		return 0;
	sh_free(e);
	return -EAGAIN;
}

static struct errand to_other(const struct sh_pickup *p, enum what what)
{
	return (struct errand){.what = what, .to_picker = !p->call, .serial = p->serial, .picker = p->call ? p->call->handle : p->other,
			       .target = p->target ? p->target->handle : p->other};
}

int sh_pickup_tell_answer(struct sh_pickup *p, struct sh_slice type, struct sh_slice text)
{
	const struct sh_slice parts[] = {{0}, type, text};
	struct errand e = to_other(p, ANSWER);

	return dispatch(p->ua, p->worker, &e, parts);
}

/* Lost when memory or the ring is full: the other half ends with its call. */
void sh_pickup_tell_over(struct sh_pickup *p, unsigned code)
{
	static const struct sh_slice none[3];
	struct errand e = to_other(p, OVER);

	e.code = code ? code : 487;
	dispatch(p->ua, p->worker, &e, none);
}

/* ------------------------------------------------------------------ who picks up */

enum { QUIET_WAIT = 50 * SH_MS, MOST_TRIES = 100 };

static void on_quiet(struct sh_timer *t)
{
	sh_pickup_send_leg(SH_CONTAINER(t, struct sh_pickup, timer));
}

int sh_call_pickup_far(struct sh_call *c, unsigned worker, struct sh_slice id, sh_pickup_fn done, void *ctx)
{
	struct sh_body *offer = c->a ? c->a->remote_sdp : NULL;
	const struct sh_slice parts[] = {id, sh_body_type(offer), sh_body_text(offer)};
	struct sh_pickup *p;
	struct errand e;
	int err;

	if (c->state == SH_CALL_ENDED || c->answered || !c->a || !c->a->st)
		return -EALREADY;
	if (c->pickup || c->fork)
		return -EBUSY;
	if (worker >= c->ua->env->workers || worker == c->ua->env->worker)
		return -EPIPE;
	p = sh_calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->ua = c->ua;
	p->call = c;
	p->far = true;
	p->worker = worker;
	p->serial = ++c->ua->serial;
	p->done = done;
	p->ctx = ctx;
	sh_timer_init(&p->timer, on_quiet);
	e = to_other(p, ASK);
	err = dispatch(c->ua, worker, &e, parts);
	if (err) {
		sh_pickup_free(p);
		return err;
	}
	c->pickup = p;
	return 0;
}

void sh_pickup_send_leg(struct sh_pickup *p)
{
	const struct sh_slice parts[] = {{0}, sh_body_type(p->ack), sh_body_text(p->ack)};
	struct sh_call *c = p->call;
	struct sh_ua *ua = p->ua;
	struct sh_leg *l = c->a;
	struct sh_why why = {SH_BY_SCRIPT, 200, SH_LIT("Picked up"), 0, {0}};
	struct errand e = to_other(p, COME);
	sh_pickup_fn done = p->done;
	void *ctx = p->ctx;
	int err;

	c->a = NULL;
	err = sh_leg_uproot(l);
	if (err == -EBUSY && p->tries++ < MOST_TRIES) { /* a hook looks at the ACK, perhaps */
		c->a = l;
		sh_env_timer(ua->env, &p->timer, QUIET_WAIT);
		return;
	}
	e.leg = l;
	if (!err) {
		sh_forward_add(ua, SH_FORWARD_TAG, sh_slice_make(l->dialog.local_tag, SH_TAG_LEN), p->worker, 0);
		err = dispatch(ua, p->worker, &e, parts);
		if (err)
			sh_leg_plant(ua, l, NULL);
	}
	if (err) { /* he was told of a session that does not come to be */
		c->a = l;
		l->call = c;
		sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("SIP;cause=503"));
		return;
	}
	c->pickup = NULL;
	sh_pickup_free(p);
	sh_call_hold(c);
	done(ctx, 200);
	sh_call_end(c, &why, (struct sh_slice){0});
	sh_call_release(c);
}

static void on_answer(struct sh_pickup *p, const struct errand *e)
{
	struct sh_body *body = sh_body_make(sh_slice_make(e->text + e->id, e->type), sh_slice_make(e->text + e->id + e->type, e->body));
	int err = body ? sh_call_connect(p->call, body) : -ENOMEM;

	p->other = e->target;
	sh_body_unref(body);
	if (err)
		sh_pickup_finish(p, 488);
}

/* It was refused, or came to nothing: the other half is gone. */
static void on_over(struct sh_pickup *p, unsigned code)
{
	p->over = true;
	sh_pickup_come_to_nothing(p, code);
}

/* ------------------------------------------------------------------ the call that goes on */

static void on_ask(struct sh_ua *ua, const struct errand *e)
{
	struct sh_call *target = sh_ua_find_call(ua, sh_slice_make(e->text, e->id));
	struct sh_pickup *p = target ? sh_calloc(1, sizeof(*p)) : NULL;
	static const struct sh_slice none[3];
	struct errand refusal = {.what = OVER, .to_picker = true, .serial = e->serial, .picker = e->picker};
	int err = target ? -ENOMEM : -EPIPE;

	if (p) {
		p->ua = ua;
		p->target = target;
		p->far = true;
		p->worker = e->from;
		p->serial = e->serial;
		p->other = e->picker;
		sh_timer_init(&p->timer, on_quiet);
		if (e->body)
			p->offer = sh_body_make(sh_slice_make(e->text + e->id, e->type), sh_slice_make(e->text + e->id + e->type, e->body));
		err = e->body && !p->offer ? -ENOMEM : sh_pickup_begin(p, target->b);
	}
	if (!err)
		return;
	if (p)
		sh_pickup_free(p);
	refusal.code = sh_pickup_code(err);
	dispatch(ua, e->from, &refusal, none);
}

static void on_come(struct sh_ua *ua, struct sh_pickup *p, struct errand *e)
{
	struct sh_leg *l = e->leg;
	struct sh_body *ack = sh_body_make(sh_slice_make(e->text + e->id, e->type), sh_slice_make(e->text + e->id + e->type, e->body));

	if (!sh_leg_plant(ua, l, NULL) || !p) { /* nobody waits for it any more */
		if (p)
			sh_pickup_finish(p, 503);
		sh_leg_hangup(l, (struct sh_slice){0});
	} else {
		struct sh_call *t = p->target;

		sh_call_hold(t);
		sh_pickup_take_in(p, l, ack);
		sh_call_release(t);
	}
	sh_body_unref(ack);
}

static void on_errand(struct sh_env *env, void *arg)
{
	struct errand *e = arg;
	struct sh_ua *ua = e->peers[env->worker];
	struct sh_call *c = sh_ua_call(ua, e->to_picker ? e->picker : e->target);
	struct sh_pickup *p = !c ? NULL : e->to_picker ? c->pickup : c->picked;

	if (p && (!p->far || p->serial != e->serial || p->worker != e->from))
		p = NULL; /* that one is over */
	switch (e->what) {
	case ASK:
		on_ask(ua, e);
		break;
	case ANSWER:
		if (p)
			on_answer(p, e);
		break;
	case OVER:
		if (p)
			on_over(p, e->code);
		break;
	case COME:
		on_come(ua, p, e);
		break;
	}
	sh_free(e);
}
