/* A call: set-up, bridge and end. */
#include "b2bua/early.h"
#include "b2bua/fork.h"

struct sh_slice sh_call_state_name(enum sh_call_state s)
{
	static const struct sh_slice names[] = {{"setup", 5}, {"early", 5}, {"up", 2}, {"ended", 5}};

	return names[s];
}

uint64_t sh_call_handle(const struct sh_call *c)
{
	return c->handle;
}

struct sh_slice sh_call_id(const struct sh_call *c)
{
	return (struct sh_slice){c->id, SH_TAG_LEN};
}

enum sh_call_state sh_call_state(const struct sh_call *c)
{
	return c->state;
}

const struct sh_msg *sh_call_invite(const struct sh_call *c)
{
	return c->invite;
}

const struct sh_path *sh_call_source(const struct sh_call *c)
{
	return &c->source;
}

struct sh_slice sh_call_uri(const struct sh_call *c)
{
	return (struct sh_slice){c->text, c->uri_len};
}

struct sh_slice sh_call_from(const struct sh_call *c)
{
	return (struct sh_slice){c->text + c->uri_len, c->from_len};
}

struct sh_slice sh_call_to(const struct sh_call *c)
{
	return (struct sh_slice){c->text + c->uri_len + c->from_len, c->to_len};
}

bool sh_call_trusted(const struct sh_call *c)
{
	return c->trusted;
}

struct sh_leg *sh_call_a(const struct sh_call *c)
{
	return c->a;
}

struct sh_leg *sh_call_b(const struct sh_call *c)
{
	return c->b;
}

struct sh_ua *sh_call_ua(const struct sh_call *c)
{
	return c->ua;
}

bool sh_call_answered(const struct sh_call *c)
{
	return c->answered;
}

const struct sh_call_times *sh_call_times(const struct sh_call *c)
{
	return &c->times;
}

void *sh_call_app(const struct sh_call *c)
{
	return c->app;
}

void sh_call_set_app(struct sh_call *c, void *app)
{
	c->app = app;
}

/* ------------------------------------------------------------------ life */


static void on_duration(struct sh_timer *t)
{
	struct sh_call *c = SH_CONTAINER(t, struct sh_call, duration);

	if (!c->answered) { /* before the answer this timer only tells of a bridge that came to nothing */
		sh_call_bridge_over(c, -EPIPE);
		return;
	}
	sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("Q.850;cause=102;text=\"Longest duration reached\""));
}

static struct sh_call *create(struct sh_ua *ua)
{
	struct sh_call *c = sh_pool_calloc(&ua->env->pool, sizeof(*c));

	if (!c)
		return NULL;
	c->handle = sh_slots_add(&ua->calls, c);
	if (!c->handle) {
		sh_pool_free(&ua->env->pool, c, sizeof(*c));
		return NULL;
	}
	c->ua = ua;
	c->times.start = sh_env_wall(ua->env);
	sh_list_init(&c->loose);
	sh_list_init(&c->reliable);
	sh_timer_init(&c->duration, on_duration);
	sh_timer_init(&c->probe, sh_call_on_probe);
	sh_tag_make(ua->env, c->id);
	sh_hash_insert(&ua->calls_by_id, &c->by_id, sh_hash_slice(&ua->env->key, sh_call_id(c)));
	sh_list_append(&ua->live_calls, &c->link);
	ua->stats.calls++;
	ua->stats.calls_live++;
	return c;
}

/* Of a caller's INVITE. */
static struct sh_call *create_for(struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_call *c = create(ua);

	if (!c)
		return NULL;
	c->invite = sh_msg_clone(m);
	if (!c->invite) {
		sh_call_free(c);
		return NULL;
	}
	c->source = *from;
	c->trusted = sh_ua_trusts(ua, &from->remote);
	sh_env_timer(ua->env, &c->probe, ua->config.longest_setup);
	c->invite_cseq = m->cseq;
	c->prack_required = sh_msg_has_token(m, SH_H_REQUIRE, SH_LIT("100rel"));
	c->prackable = c->prack_required || sh_msg_has_token(m, SH_H_SUPPORTED, SH_LIT("100rel"));
	return c;
}

static int keep_texts(struct sh_call *c, struct sh_slice uri, struct sh_slice from, struct sh_slice to)
{
	c->text = sh_malloc(uri.len + from.len + to.len + 1);
	if (!c->text)
		return -ENOMEM;
	memcpy(c->text, uri.base, uri.len);
	memcpy(c->text + uri.len, from.base, from.len);
	memcpy(c->text + uri.len + from.len, to.base, to.len);
	c->uri_len = (uint16_t)uri.len;
	c->from_len = (uint16_t)from.len;
	c->to_len = (uint16_t)to.len;
	return 0;
}

int sh_call_create_own(struct sh_call **out, struct sh_ua *ua, struct sh_slice uri, struct sh_slice from, struct sh_slice to)
{
	struct sh_call *c = create(ua);

	if (!c)
		return -ENOMEM;
	if (keep_texts(c, uri, from, to) < 0) {
		sh_call_free(c);
		return -ENOMEM;
	}
	c->answered = c->setup_over = true; /* there is no INVITE to be answered */
	*out = c;
	return 0;
}

/* The texts that a call keeps when its INVITE is gone. */
static int intern(struct sh_call *c)
{
	const struct sh_dialog *d = &c->a->dialog;

	return keep_texts(c, sh_msg_text(c->invite, c->invite->uri), d->remote, d->local);
}

void sh_call_free(struct sh_call *c)
{
	struct sh_ua *ua = c->ua;
	struct sh_link *l;

	if (c->transfer)
		sh_transfer_abort(c->transfer);
	if (c->pickup)
		sh_pickup_abort(c->pickup);
	if (c->picked)
		sh_pickup_target_gone(c->picked);
	if (c->fork)
		sh_fork_abort(c->fork, (struct sh_slice){0});
	if (c->rebridge)
		sh_rebridge_abort(c->rebridge);
	while ((l = c->loose.next) != &c->loose)
		sh_leg_leave(SH_CONTAINER(l, struct sh_leg, in_call));
	if (c->a)
		sh_leg_leave(c->a);
	if (c->b)
		sh_leg_leave(c->b);
	if (c->app)
		ua->app->freed(ua->app_ctx, c);
	sh_wheel_cancel(&ua->env->wheel, &c->duration);
	sh_wheel_cancel(&ua->env->wheel, &c->probe);
	sh_reliable_answered(c, NULL);
	sh_slots_remove(&ua->calls, c->handle);
	sh_hash_remove(&ua->calls_by_id, &c->by_id);
	sh_list_remove(&c->link);
	ua->stats.calls_live--;
	sh_free((void *)c->bridge_options.headers.base);
	sh_free(c->invite);
	sh_free(c->failure);
	sh_free(c->text);
	sh_body_unref(c->solo);
	sh_pool_free(&ua->env->pool, c, sizeof(*c));
}

static void bury_when_done(struct sh_call *c)
{
	if (c->state != SH_CALL_ENDED || c->holds)
		return;
	sh_list_remove(&c->link);
	sh_list_append(&c->ua->dead_calls, &c->link);
}

void sh_call_discard(struct sh_call *c)
{
	c->state = SH_CALL_ENDED;
	bury_when_done(c);
}

void sh_call_hold(struct sh_call *c)
{
	c->holds++;
}

void sh_call_release(struct sh_call *c)
{
	c->holds--;
	if (!c->holds && c->setup_over) {
		sh_free(c->invite);
		c->invite = NULL;
	}
	bury_when_done(c);
}

static void setup_over(struct sh_call *c)
{
	c->setup_over = true;
	sh_free(c->failure);
	c->failure = NULL;
	if (!c->holds) {
		sh_free(c->invite);
		c->invite = NULL;
	}
}

/* ------------------------------------------------------------------ the caller's INVITE */

static void on_invite_server(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct sh_leg *l = user;

	if (ev == SH_SERVER_ENDED && l->st == st) {
		l->st = NULL;
		if (l->call && l->state < SH_LEG_ANSWERED) {
			struct sh_why why = {SH_BY_ENGINE, 500, SH_LIT("The caller's transaction ended"), 0, {0}};

			sh_call_end(l->call, &why, (struct sh_slice){0});
		}
	}
}

/* To whoever observes calls. The first event comes late, so that an INVITE that was only challenged makes none. */
void sh_call_tell(struct sh_call *c, enum sh_call_event event, const struct sh_why *why)
{
	struct sh_ua *ua = c->ua;

	if (!ua->on_call || (c->told && event == SH_CALL_EVENT_NEW))
		return;
	if (!c->told && event == SH_CALL_EVENT_END && (why->code == 401 || why->code == 407))
		return;
	if (!c->told && event != SH_CALL_EVENT_NEW)
		ua->on_call(ua->on_call_ctx, c, SH_CALL_EVENT_NEW, NULL);
	c->told = true;
	ua->on_call(ua->on_call_ctx, c, event, why);
}

void sh_call_on_invite(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_call *c = create_for(ua, m, from);
	struct sh_leg *a = c ? sh_leg_create(ua, c, true) : NULL;
	int err;

	if (!a) {
		if (c)
			sh_call_free(c);
		sh_ua_reply(ua, st, 503, SH_LIT("Out of memory"), (struct sh_slice){0}, (struct sh_slice){0});
		return;
	}
	c->a = a;
	err = sh_dialog_init_uas(&a->dialog, &ua->dialogs, a, m, from);
	if (!err)
		err = intern(c);
	if (err) {
		unsigned code = err == -EBADMSG ? 400 : 503;

		sh_ua_reply(ua, st, code, code == 400 ? SH_LIT("Bad or missing Contact or Record-Route") : SH_LIT("Out of memory"),
			    (struct sh_slice){0}, (struct sh_slice){0});
		c->state = SH_CALL_ENDED;
		sh_leg_ended(a);
		bury_when_done(c);
		return;
	}
	a->st = st;
	sh_server_txn_watch(st, on_invite_server, a);
	a->behind_nat = sh_transport_behind_nat(ua->transport, m, a->dialog.target, from);
	sh_leg_learn_sdp(&a->remote_sdp, m);
	struct sh_slice agent = sh_msg_header(m, SH_H_USER_AGENT);
	if (agent.len)
		a->user_agent = sh_strndup(agent.base, agent.len);
	ua->app->invite(ua->app_ctx, c);
	if (c->state != SH_CALL_ENDED)
		sh_call_tell(c, SH_CALL_EVENT_NEW, NULL);
}

void sh_call_on_cancel(struct sh_call *c, const struct sh_msg *cancel)
{
	struct sh_why why = {SH_BY_CALLER, 487, SH_LIT("Request Terminated"), 0, {0}};

	if (c->answered)
		return;
	sh_why_read(&why, cancel);
	sh_ua_observe(c->ua, cancel, &c->source, c->a);
	sh_call_end(c, &why, sh_msg_header(cancel, SH_H_REASON));
}

/* The fields that each answer of ours to the caller has. */
static struct sh_writer *begin(struct sh_call *c, unsigned code, struct sh_slice reason, struct sh_slice tag)
{
	struct sh_leg *a = c->a;
	struct sh_writer *w;

	/* Not before: whoever is refused has no names looked up. */
	if (code > 100 && code < 300 && !a->located) {
		a->located = true;
		sh_leg_find_path(a, &a->dialog, &c->source);
	}
	w = sh_server_txn_begin(a->st, code, reason, tag);
	if (code > 100 && code < 300) {
		if (c->invite)
			sh_put_copy(w, c->invite, SH_H_RECORD_ROUTE);
		sh_ua_put_contact(c->ua, w, &c->source, a->dialog.secure);
		sh_put_header(w, SH_H_ALLOW, c->ua->allow_in_dialog);
		sh_ua_put_supported(w, true, false);
	}
	sh_ua_put_product(c->ua, w, false);
	return w;
}

static struct sh_slice a_tag(const struct sh_call *c)
{
	return (struct sh_slice){c->a->dialog.local_tag, SH_TAG_LEN};
}

struct sh_writer *sh_call_begin(struct sh_call *c, unsigned code)
{
	return begin(c, code, (struct sh_slice){0}, a_tag(c));
}

static void ringing(struct sh_call *c, unsigned code)
{
	if (code <= 100 || code == 199)
		return;
	if (c->state == SH_CALL_SETUP)
		c->state = SH_CALL_EARLY;
	if (!c->times.ring)
		c->times.ring = sh_env_wall(c->ua->env);
	c->a->state = SH_LEG_EARLY;
	sh_leg_told(c->a);
	c->a->code = code;
}

int sh_call_ring(struct sh_call *c, unsigned code, struct sh_slice reason, struct sh_slice headers, struct sh_slice sdp)
{
	struct sh_writer *w;
	bool reliable;

	if (c->state == SH_CALL_ENDED || !c->a || !c->a->st)
		return -EPIPE;
	if (c->answered || c->bridging)
		return -EALREADY;
	if (code < 101 || code > 199)
		return -EINVAL;
	reliable = code != 199 && (c->prack_required || (c->prackable && sdp.len));
	w = begin(c, code, reason, a_tag(c));
	if (reliable)
		sh_reliable_put(w, c, &c->a->dialog);
	sh_put(w, headers);
	sh_put_body(w, sdp.len ? SH_LIT("application/sdp") : (struct sh_slice){0}, sdp);
	ringing(c, code);
	if (reliable)
		return sh_reliable_send(c, &c->a->dialog, code, w, NULL, 0, sdp.len > 0);
	return sh_server_txn_respond(c->a->st, code, w);
}

/* A provisional answer of a branch, passed on (16.7 step 5 for a proxy; a B2BUA does it the same way). */
bool sh_call_relay_provisional(struct sh_call *c, struct sh_early_dialog *e, unsigned code, const struct sh_msg *m, bool with_body,
			       bool reliable)
{
	struct sh_dialog *d = e->caller;
	/* what of it is passed on as it is wants the caller's own PRACK, which may have an offer or answer */
	bool passed = reliable && c->prackable && with_body == (m->body.len > 0), ours = passed || c->prack_required;
	struct sh_slice none = {0};
	struct sh_writer *w;

	if (c->answered || !d || !c->a || !c->a->st)
		return false;
	w = begin(c, code, code == m->status ? sh_msg_text(m, m->reason) : none, (struct sh_slice){d->local_tag, SH_TAG_LEN});
	if (ours)
		sh_reliable_put(w, c, d);
	sh_put_copied(w, m, SH_COPY_RESPONSE | (with_body && m->body.len ? SH_COPY_BODY : 0) |
			      (sh_identity_classes(c->ua, m, &e->leg->dialog.path.remote, &c->source.remote) & ~SH_COPY_FORWARDED),
		      none, none, none);
	if (with_body)
		sh_put_body_of(w, m);
	else
		sh_put_body(w, none, none);
	ringing(c, code);
	if (!ours) {
		sh_server_txn_respond(c->a->st, code, w);
		return false;
	}
	e->sdp_passed = e->sdp_passed || with_body;
	return sh_reliable_send(c, d, code, w, passed ? e : NULL, e->callee->rseq, with_body) == 0 && passed;
}

unsigned sh_sip_cause_of(const struct sh_msg *m)
{
	struct sh_slice protocol, params, cause;
	uint32_t n;

	sh_slice_cut(sh_msg_header(m, SH_H_REASON), ';', &protocol, &params);
	if (!sh_slice_ieq(sh_slice_trim(protocol), SH_LIT("SIP")) || !sh_param_find(params, SH_LIT("cause"), &cause) ||
	    sh_slice_u32(cause, &n) < 0)
		return 0;
	return n;
}

void sh_call_early_over(struct sh_call *c, const struct sh_early_dialog *e, unsigned code)
{
	const struct sh_dialog *d = e->caller;
	struct sh_slice none = {0};
	struct sh_writer *w;

	/* one that must be acknowledged would be worse than none (RFC 6228 5) */
	if (c->answered || c->bridging || c->prack_required || !d || !c->a || !c->a->st || !c->invite ||
	    !sh_msg_has_token(c->invite, SH_H_SUPPORTED, SH_LIT("199")))
		return;
	w = begin(c, 199, none, (struct sh_slice){d->local_tag, SH_TAG_LEN});
	if (code) {
		sh_put_lit(w, "Reason: SIP;cause=");
		sh_put_uint(w, code);
		sh_put_lit(w, ";text=\"");
		sh_put(w, sh_status_reason(code));
		sh_put_lit(w, "\"\r\n");
	}
	sh_put_body(w, none, none);
	sh_server_txn_respond(c->a->st, 199, w);
}

int sh_call_reject(struct sh_call *c, unsigned code, struct sh_slice reason, struct sh_slice headers,
		   struct sh_slice content_type, struct sh_slice body)
{
	struct sh_writer *w;
	int err;

	if (c->state == SH_CALL_ENDED || !c->a || !c->a->st)
		return -EPIPE;
	if (c->answered || c->bridging)
		return -EALREADY;
	w = begin(c, code, reason, a_tag(c));
	sh_put(w, headers);
	sh_put_body(w, content_type, body);
	err = sh_server_txn_respond(c->a->st, code, w);
	if (!sh_server_txn_answered(c->a->st))
		return err; /* else it may have been lost on its way: the transaction goes on */
	c->answered = true;
	c->a->code = code;
	if (!reason.len)
		reason = sh_status_reason(code);
	struct sh_why why = {SH_BY_SCRIPT, code, reason, 0, {0}};
	sh_why_read_lines(&why, headers);
	sh_call_end(c, &why, (struct sh_slice){0});
	return 0;
}

/* ------------------------------------------------------------------ bridge */

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

	w = begin(c, 200, none, (struct sh_slice){d->local_tag, SH_TAG_LEN});
	if (answer)
		sh_put_copied(w, answer, SH_COPY_RESPONSE | (leg->remote_sdp ? SH_COPY_BODY : 0) |
			      (sh_identity_classes(c->ua, answer, &leg->dialog.path.remote, &c->source.remote) & ~SH_COPY_FORWARDED), o->headers, none,
			      none);
	sh_put(w, o->headers);
	sh_session_put_answer(c->a, w, c->invite);
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

int sh_call_bridge(struct sh_call *c, struct sh_leg *leg, const struct sh_bridge_options *o, sh_bridge_fn done, void *ctx)
{
	char *headers;
	int err = 0;

	if (c->state == SH_CALL_UP)
		return sh_call_bridge_up(c, leg, o, done, ctx);
	if (c->state == SH_CALL_ENDED || !c->a || !c->a->st || leg->call != c || leg->state != SH_LEG_UP)
		return -EPIPE;
	if (c->answered || c->bridging || c->solo)
		return -EALREADY;
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
	err = connect_caller(c, leg, &c->bridge_options);
	if (err)
		sh_call_bridge_over(c, err);
}

int sh_call_connect(struct sh_call *c, struct sh_body *sdp)
{
	struct sh_slice none = {0};
	struct sh_writer *w;
	int err;

	if (sh_reliable_holds_2xx(c, &c->a->dialog))
		return -EBUSY;
	w = begin(c, 200, none, a_tag(c));
	sh_put_body(w, sh_body_type(sdp), sh_body_text(sdp));
	err = sh_leg_respond(c->a, c->a->st, 200, w);
	if (err)
		return err;
	c->answered = true;
	sh_reliable_answered(c, &c->a->dialog);
	c->a->state = SH_LEG_ANSWERED;
	sh_leg_told(c->a);
	c->a->code = 200;
	c->a->dialog.confirmed = true;
	sh_body_unref(c->a->local_sdp);
	c->a->local_sdp = sh_body_ref(sdp);
	c->times.answer = sh_env_wall(c->ua->env);
	c->state = SH_CALL_UP;
	c->ua->stats.answered++;
	return 0;
}

void sh_call_acked(struct sh_call *c, const struct sh_msg *ack)
{
	if (c->pickup) {
		sh_reliable_answered(c, NULL);
		setup_over(c);
		sh_pickup_acked(c->pickup, ack);
		return;
	}
	if (c->b && !c->b->acked) /* a late offer: the answer is in this ACK */
		sh_leg_send_ack(c->b, ack);
	if (ack->body.len)
		sh_leg_learn_sdp(&c->a->remote_sdp, ack);
	sh_reliable_answered(c, NULL);
	setup_over(c);
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

/* ------------------------------------------------------------------ the end */

/* The call goes on without that leg: it is not connected, or need not be, or its place is about to be taken. */
static bool survives(const struct sh_call *c, const struct sh_leg *l)
{
	if (l != c->a && l != c->b)
		return true;
	if (c->rebridge && !sh_rebridge_concerns(c->rebridge, l))
		return true;
	if (c->picked && sh_pickup_replaces(c->picked, l))
		return true;
	if (c->transfer && sh_transfer_survives(c->transfer, l))
		return true;
	return l == c->b && c->keep_on_peer_hangup;
}

void sh_call_leg_lost(struct sh_call *c, struct sh_leg *l, unsigned code)
{
	struct sh_slice reason = code == 481 ? SH_LIT("SIP;cause=481") : SH_LIT("SIP;cause=408");

	if (c->rebridge && sh_rebridge_concerns(c->rebridge, l))
		sh_rebridge_leg_gone(c->rebridge);
	if (c->state == SH_CALL_ENDED)
		return;
	if (survives(c, l)) {
		struct sh_why why = {SH_BY_ENGINE, code, sh_status_reason(code), 0, {0}};
		bool partner = l == c->b;

		sh_leg_hangup(l, reason);
		if (partner)
			c->ua->app->peer_gone(c->ua->app_ctx, c, &why);
	} else
		sh_call_hangup(c, SH_BY_ENGINE, 0, reason);
}

void sh_call_hang_up_leg(struct sh_leg *l, struct sh_slice reason)
{
	struct sh_call *c = l->call;

	if (!c || c->state == SH_CALL_ENDED || (l != c->a && l != c->b) || survives(c, l))
		sh_leg_hangup(l, reason);
	else
		sh_call_hangup(c, SH_BY_SCRIPT, 0, reason);
}

void sh_call_leg_gone(struct sh_call *c, struct sh_leg *l, const struct sh_msg *bye)
{
	struct sh_why why = {l == c->a ? SH_BY_CALLER : SH_BY_CALLEE, 200, SH_LIT("BYE"), 0, {0}};

	if (!c->times.answer) { /* 15: a caller may end an early dialog with BYE */
		why.code = 487;
		why.reason = sh_status_reason(487);
	}
	if (bye)
		sh_why_read(&why, bye);
	if (c->rebridge && sh_rebridge_concerns(c->rebridge, l))
		sh_rebridge_leg_gone(c->rebridge);
	if (c->state == SH_CALL_ENDED)
		return;
	if (survives(c, l)) {
		bool partner = l == c->b;

		sh_leg_leave(l);
		if (partner)
			c->ua->app->peer_gone(c->ua->app_ctx, c, &why);
		return;
	}
	sh_call_end(c, &why, bye ? sh_msg_header(bye, SH_H_REASON) : (struct sh_slice){0});
}

void sh_call_end(struct sh_call *c, const struct sh_why *why, struct sh_slice reason)
{
	struct sh_ua *ua = c->ua;
	struct sh_leg *a = c->a;
	struct sh_link *l;

	if (c->state == SH_CALL_ENDED)
		return;
	c->state = SH_CALL_ENDED;
	c->times.stop = sh_env_wall(ua->env);
	c->bridge_done = NULL;
	c->bridging = NULL;
	sh_wheel_cancel(&ua->env->wheel, &c->duration);
	sh_wheel_cancel(&ua->env->wheel, &c->probe);
	sh_call_hold(c);
	sh_reliable_answered(c, NULL);
	if (c->transfer)
		sh_transfer_abort(c->transfer);
	if (c->pickup)
		sh_pickup_abort(c->pickup);
	if (c->picked)
		sh_pickup_target_gone(c->picked);
	if (c->fork)
		sh_fork_abort(c->fork, reason);
	if (c->rebridge)
		sh_rebridge_abort(c->rebridge);
	if (c->originate)
		sh_originate_over(c->originate);
	while ((l = c->loose.next) != &c->loose)
		sh_leg_hangup(SH_CONTAINER(l, struct sh_leg, in_call), reason);
	if (c->b)
		sh_leg_hangup(c->b, reason);
	if (a && !c->answered && a->st) {
		struct sh_writer *w;

		c->answered = true;
		a->code = why->code;
		w = begin(c, why->code < 300 ? 487 : why->code, why->reason, a_tag(c));
		if (why->q850 && why->by != SH_BY_CALLER) /* RFC 6432; he knows his own */
			sh_put_header(w, SH_H_REASON, reason);
		sh_put_body(w, (struct sh_slice){0}, (struct sh_slice){0});
		sh_server_txn_respond(a->st, why->code < 300 ? 487 : why->code, w);
	}
	if (a)
		sh_leg_hangup(a, reason);
	if (!c->times.answer)
		ua->stats.failed++;
	ua->app->interrupted(ua->app_ctx, c, why);
	sh_call_tell(c, SH_CALL_EVENT_END, why);
	ua->app->ended(ua->app_ctx, c, why);
	if (ua->observer && a)
		ua->observer->ended(ua->observer->ctx, a->dialog.call_id);
	setup_over(c);
	sh_call_release(c);
}

int sh_call_hangup(struct sh_call *c, enum sh_why_by by, unsigned code, struct sh_slice reason)
{
	struct sh_why why = {by, c->times.answer ? 200 : (code ? code : 480), {0}, 0, {0}};

	if (c->state == SH_CALL_ENDED)
		return -EPIPE;
	why.reason = sh_status_reason(why.code);
	sh_why_read_value(&why, reason);
	sh_call_end(c, &why, reason);
	return 0;
}

void sh_call_note_failure(struct sh_call *c, unsigned code)
{
	if (c->answered)
		return;
	sh_free(c->failure);
	c->failure = NULL;
	c->failure_code = code;
}

bool sh_call_settle(struct sh_call *c)
{
	struct sh_link *l;
	const struct sh_msg *m = c->failure;
	unsigned code = c->failure_code;

	while (!c->rebridge && !c->transfer && (l = c->loose.next) != &c->loose)
		sh_leg_hangup(SH_CONTAINER(l, struct sh_leg, in_call), (struct sh_slice){0});
	if (c->state == SH_CALL_ENDED || c->answered)
		return true;
	if (!code)
		return false;
	if (!m || sh_code_passed_on(code) != code) {
		sh_call_reject(c, sh_code_passed_on(code), (struct sh_slice){0}, (struct sh_slice){0}, (struct sh_slice){0}, (struct sh_slice){0});
		return true;
	}
	c->failure = NULL; /* it must outlive the end of the call */
	struct sh_slice headers = {0};
	struct sh_writer w;
	char *buf = sh_malloc(m->size + 64u * m->nheaders);
	if (buf) {
		sh_writer_init(&w, buf, m->size + 64u * m->nheaders);
		sh_put_failure(&w, m);
		headers = sh_writer_text(&w);
	}
	sh_call_reject(c, code, sh_msg_text(m, m->reason), headers, sh_msg_header(m, SH_H_CONTENT_TYPE), sh_msg_text(m, m->body));
	sh_free(buf);
	sh_free((void *)m);
	return true;
}
