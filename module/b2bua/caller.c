/* The caller of a call: its INVITE, its CANCEL, and what is answered to it until the bridge. */
#include "b2bua/early.h"
#include "b2bua/fork.h"

/* How long it may take until a final answer: what the caller says (13.3.1), within our own limit. */
static uint64_t longest_setup(const struct sh_ua *ua, const struct sh_msg *invite)
{
	uint64_t most = ua->config.longest_setup;

	return sh_invite_expires(invite, most) ? (uint64_t)invite->expires * SH_SECOND : most;
}

/* Of a caller's INVITE. */
static struct sh_call *create_for(struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_call *c = sh_call_create(ua);

	if (!c)
		return NULL;
	c->invite = sh_msg_clone(m);
	if (!c->invite) {
		sh_call_free(c);
		return NULL;
	}
	c->source = *from;
	c->trusted = sh_ua_trusts(ua, &from->remote);
	sh_env_timer(ua->env, &c->probe, longest_setup(ua, m));
	c->invite_cseq = m->cseq;
	c->prack_required = sh_msg_has_token(m, SH_H_REQUIRE, SH_LIT("100rel"));
	c->prackable = c->prack_required || sh_msg_has_token(m, SH_H_SUPPORTED, SH_LIT("100rel"));
	return c;
}

/* The texts that a call keeps when its INVITE is gone. */
static int intern(struct sh_call *c)
{
	const struct sh_dialog *d = &c->a->dialog;

	return sh_call_keep_texts(c, sh_msg_text(c->invite, c->invite->uri), sh_dialog_remote(d), sh_dialog_local(d));
}

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
		sh_leg_ended(a);
		sh_call_discard(c);
		return;
	}
	a->st = st;
	sh_server_txn_watch(st, on_invite_server, a);
	a->behind_nat = sh_transport_behind_nat(ua->transport, m, sh_dialog_target(&a->dialog), from);
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
		sh_ua_put_abilities(c->ua, w, c->ua->allow_in_dialog);
		sh_ua_put_supported(w, true, false);
	}
	sh_ua_put_product(c->ua, w, false);
	return w;
}

static struct sh_slice a_tag(const struct sh_call *c)
{
	return (struct sh_slice){c->a->dialog.local_tag, SH_TAG_LEN};
}

struct sh_writer *sh_call_begin(struct sh_call *c, unsigned code, const struct sh_dialog *d)
{
	return begin(c, code, (struct sh_slice){0}, (struct sh_slice){d->local_tag, SH_TAG_LEN});
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

/* The caller waits for an answer that may still be ours. 0, -EPIPE or -EALREADY. */
static int still_open(const struct sh_call *c)
{
	if (c->state == SH_CALL_ENDED)
		return -EPIPE;
	if (c->answered || c->bridging)
		return -EALREADY;
	if (!c->a || !c->a->st)
		return -EPIPE;
	return 0;
}

int sh_call_ring(struct sh_call *c, unsigned code, struct sh_slice reason, struct sh_slice headers, struct sh_slice sdp)
{
	struct sh_writer *w;
	bool reliable;
	int err = still_open(c);

	if (err)
		return err;
	if (code < 101 || code > 199)
		return -EINVAL;
	reliable = code != 199 && (c->prack_required || (c->prackable && sdp.len));
	w = begin(c, code, reason, a_tag(c));
	if (reliable)
		sh_reliable_put(w, c, &c->a->dialog);
	sh_put_said(w, headers);
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
	int err = still_open(c);

	if (err)
		return err;
	w = begin(c, code, reason, a_tag(c));
	sh_put_said(w, headers);
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

void sh_call_refuse(struct sh_call *c, const struct sh_why *why, struct sh_slice reason)
{
	unsigned code = why->code < 300 ? 487 : why->code;
	struct sh_writer *w;

	c->answered = true;
	c->a->code = why->code;
	w = begin(c, code, why->reason, a_tag(c));
	if (why->q850 && why->by != SH_BY_CALLER) /* RFC 6432; he knows his own */
		sh_put_header(w, SH_H_REASON, reason);
	sh_put_body(w, (struct sh_slice){0}, (struct sh_slice){0});
	sh_server_txn_respond(c->a->st, code, w);
}

/* ------------------------------------------------------------------ a failure passed on */

void sh_call_note_failure(struct sh_call *c, unsigned code)
{
	if (c->answered)
		return;
	sh_free(c->failure);
	c->failure = NULL;
	c->failure_code = code;
}

void sh_call_drop_loose(struct sh_call *c)
{
	if (c->rebridge || c->transfer)
		return;
	SH_LIST_EACH_SAFE (l, &c->loose) {
		struct sh_leg *leg = SH_CONTAINER(l, struct sh_leg, in_call);

		if (leg != c->bridging) /* it waits for the caller's PRACK */
			sh_leg_hangup(leg, (struct sh_slice){0});
	}
}

static void reject_plainly(struct sh_call *c, unsigned code)
{
	struct sh_slice none = {0}, reason = none;
	char text[SH_ADDR_TEXT + 64];
	struct sh_writer w;

	sh_writer_init(&w, text, sizeof(text));
	if (c->failure_warning && !c->failure) {
		reason = c->failure_warning == 380 ? SH_SIPS_NOT_ALLOWED : SH_SIPS_REQUIRED;
		sh_put_warning(c->ua, &w, &c->source, c->failure_warning, reason);
	}
	sh_call_reject(c, code, reason, w.full ? none : sh_writer_text(&w), none, none);
}

bool sh_call_settle(struct sh_call *c)
{
	const struct sh_msg *m = c->failure;
	unsigned code = c->failure_code;

	sh_call_drop_loose(c);
	if (c->state == SH_CALL_ENDED || c->answered || sh_call_connecting(c))
		return true;
	if (!code)
		return false;
	if (!m || sh_code_passed_on(code) != code) {
		reject_plainly(c, sh_code_passed_on(code));
		return true;
	}
	c->failure = NULL; /* it must outlive the end of the call */
	struct sh_slice headers = {0};
	struct sh_writer w;
	char *buf = sh_malloc(m->size + 64u * m->nheaders);
	if (buf) {
		sh_writer_init(&w, buf, m->size + 64u * m->nheaders);
		sh_put_failure(&w, m, headers);
		headers = sh_writer_text(&w);
	}
	sh_call_reject(c, code, sh_msg_text(m, m->reason), headers, sh_msg_header(m, SH_H_CONTENT_TYPE), sh_msg_text(m, m->body));
	sh_free(buf);
	sh_free((void *)m);
	return true;
}
