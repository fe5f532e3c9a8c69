/* REFER (RFC 3515, RFC 7647): the 200, the subscription that it implies, and the transfer that it asks for.
 *
 *   transferor            here                                      target, transferee
 *      | REFER  ----------->|
 *      | <----------- 200   |   or a refusal: then nothing else happens
 *      | <- NOTIFY 100      |   active
 *      |                    |  ... transfer.c ...
 *      | <- NOTIFY 180      |   active, for each 1xx
 *      | <- NOTIFY 200, 486 |   terminated;reason=noresource
 *      | BYE or <------ BYE |   after 2xx, when the last NOTIFY has its answer */
#include "b2bua/impl.h"
#include "b2bua/subscription.h"
#include "b2bua/transfer.h"

enum { STAY = 500 * SH_MS, LONGEST = 300 }; /* how long a transferor may stay behind the last NOTIFY; s of the subscription */

struct sh_refer {
	struct sh_link link; /* in ua->live_refers */
	struct sh_ua *ua;
	uint64_t leg, subscription; /* handles */
	struct sh_timer timer;      /* the transferor has that long to hang up */
	unsigned failed;            /* it could not begin: the code to tell */
	sh_request_fn done;
	void *ctx;
};

unsigned sh_refer_read(struct sh_refer_to *out, const struct sh_msg *m, struct sh_arena *a, struct sh_slice *why)
{
	unsigned first = m->first[SH_H_REFER_TO];
	struct sh_slice list, params, name, value, headers;
	struct sh_name_addr to;
	struct sh_uri uri;

	*out = (struct sh_refer_to){0};
	list = first ? sh_msg_value(m, first) : (struct sh_slice){0};
	if (!first || m->headers[first - 1].next || sh_name_addr_next(&list, &to) < 0 || to.star || sh_slice_trim(list).len) {
		*why = SH_LIT("Exactly one Refer-To is needed");
		return 400;
	}
	if (sh_uri_parse(&uri, to.uri) < 0) {
		*why = SH_LIT("Bad URI in Refer-To");
		return 400;
	}
	if (uri.kind != SH_URI_SIP && uri.kind != SH_URI_SIPS && uri.kind != SH_URI_TEL) {
		*why = SH_LIT("Refer-To cannot be called");
		return 416;
	}
	out->uri = to.uri;
	if (uri.headers.base) {
		out->uri.len = (size_t)(uri.headers.base - 1 - to.uri.base);
		headers = uri.headers;
		while (headers.len) {
			sh_slice_cut(headers, '&', &value, &headers);
			sh_slice_cut(value, '=', &name, &value);
			if (sh_slice_ieq(name, SH_LIT("Require")) && sh_slice_ieq(value, SH_LIT("replaces")))
				out->requires_replaces = true;
			if (!sh_slice_ieq(name, SH_LIT("Replaces")))
				continue;
			if (out->replaces.len || sh_uri_unescape(a, value, &out->replaces) < 0 ||
			    sh_slice_find(out->replaces, '\r') >= 0 || sh_slice_find(out->replaces, '\n') >= 0 ||
			    sh_slice_find(out->replaces, '\0') >= 0) {
				*why = SH_LIT("Bad Replaces in Refer-To");
				return 400;
			}
		}
	}
	params = uri.params;
	while (sh_param_next(&params, &name, &value)) {
		if (!sh_slice_ieq(name, SH_LIT("method")))
			continue;
		if (!sh_slice_ieq(value, SH_LIT("INVITE"))) {
			*why = SH_LIT("Only INVITE can be referred to");
			return 501;
		}
		/* not a part of the Request-URI (RFC 3261 19.1.1) */
		struct sh_slice head = sh_slice_make(out->uri.base, (size_t)(name.base - 1 - out->uri.base));
		struct sh_slice tail = sh_slice_make(value.base + value.len,
						     (size_t)(out->uri.base + out->uri.len - value.base - value.len));
		if (sh_arena_printf(a, &out->uri, "%.*s%.*s", SH_FMT(head), SH_FMT(tail)) < 0) {
			*why = SH_LIT("Out of memory");
			return 503;
		}
		break;
	}
	out->referred_by = sh_msg_header(m, SH_H_REFERRED_BY);
	return 0;
}

struct sh_leg *sh_refer_leg(const struct sh_request *q)
{
	struct sh_dialog_ids ids;

	if (q->in_dialog)
		return sh_request_leg(q);
	if (sh_dialog_ids_of(&ids, q->msg, SH_H_TARGET_DIALOG) < 0)
		return NULL;
	return sh_ua_find_leg(q->ua, &ids);
}

/* ------------------------------------------------------------------ whose dialog it is */

/* Two name-addrs of one user. Nobody is who has none, or who hides (RFC 3323 4.1.1.3). */
static bool same_user(struct sh_slice a, struct sh_slice b)
{
	struct sh_slice texts[] = {a, b};
	struct sh_uri uris[2];

	for (unsigned i = 0; i < 2; i++) {
		struct sh_name_addr one;

		if (sh_name_addr_next(&texts[i], &one) < 0 || sh_uri_parse(&uris[i], one.uri) < 0 || !uris[i].user.len ||
		    (uris[i].kind != SH_URI_SIP && uris[i].kind != SH_URI_SIPS) ||
		    sh_slice_ieq(uris[i].host, SH_LIT("anonymous.invalid")))
			return false;
	}
	return sh_slice_eq(uris[0].user, uris[1].user) && sh_slice_ieq(uris[0].host, uris[1].host);
}

bool sh_referrer_has(const struct sh_referrer *who, const struct sh_leg *l)
{
	return sh_addr_same_host(&who->from, &l->dialog.path.remote) || same_user(who->party, sh_dialog_remote(&l->dialog));
}

/* A From by itself is a claim: it counts when the application has proven it. */
static struct sh_referrer referrer(const struct sh_request *q, const struct sh_leg *leg, const struct sh_refer_options *o)
{
	if (q->in_dialog)
		return (struct sh_referrer){leg->dialog.path.remote, sh_dialog_remote(&leg->dialog)};
	return (struct sh_referrer){q->from.remote, o->proven ? sh_msg_header(q->msg, SH_H_FROM) : (struct sh_slice){0}};
}

/* ------------------------------------------------------------------ the subscription */

static bool wants_no_subscription(const struct sh_msg *m)
{
	struct sh_slice value = sh_msg_header(m, SH_H_REFER_SUB), params;

	sh_slice_cut(value, ';', &value, &params);
	return sh_slice_ieq(sh_slice_trim(value), SH_LIT("false"));
}

/* "SIP/2.0 180 Ringing" */
static void keep_status(struct sh_subscription *s, unsigned code, struct sh_slice reason)
{
	char text[256];
	struct sh_writer w;

	sh_writer_init(&w, text, sizeof(text));
	if (reason.len > 200)
		reason.len = 200;
	sh_put_status_line(&w, code, reason);
	sh_subscription_keep(s, SH_LIT("message/sipfrag;version=2.0"), sh_writer_text(&w));
}

static void answer(struct sh_request *q, bool no_subscription, struct sh_slice headers)
{
	struct sh_leg *l = sh_request_leg(q);
	struct sh_writer *w = sh_request_begin(q, 200, (struct sh_slice){0});

	sh_ua_put_contact(q->ua, w, &q->from, l && l->dialog.secure);
	if (no_subscription)
		sh_put_header(w, SH_H_REFER_SUB, SH_LIT("false"));
	sh_put_said(w, headers);
	sh_request_send(q, 200, w);
}

/* The implied subscription, with the first NOTIFY behind the 200. NULL: none, out of memory, or its source has too many. */
static struct sh_subscription *subscribe(struct sh_request *q, const struct sh_refer_options *o)
{
	bool none = wants_no_subscription(q->msg);
	struct sh_leg *l = sh_request_leg(q);
	struct sh_subscription *s = NULL;
	struct sh_source *source = NULL;
	struct sh_writer id;
	char text[16];

	sh_writer_init(&id, text, sizeof(text));
	if (l && l->referred) /* the first needs none (RFC 3515 2.4.6) */
		sh_put_uint(&id, q->msg->cseq);
	if (l)
		l->referred = true;
	if (!none && sh_source_take(q->ua, &q->from.remote, SH_KEPT_SUBSCRIPTIONS, 1, &source) == 0)
		s = sh_subscription_create(q->ua, l, SH_LIT("refer"), sh_writer_text(&id), (struct sh_slice){0}, (struct sh_slice){0});
	if (s)
		s->source = source;
	else
		sh_source_give(q->ua, source, SH_KEPT_SUBSCRIPTIONS, 1);
	if (s && !l && sh_subscription_in_dialog(s, q) < 0)
		s = NULL;
	if (s) {
		keep_status(s, 100, (struct sh_slice){0});
		sh_subscription_set_expires(s, LONGEST);
	}
	answer(q, none, o->headers);
	if (s) {
		q->subscription = sh_subscription_handle(s);
		sh_subscription_changed(s);
	}
	return s;
}

/* ------------------------------------------------------------------ the transfer */

static void tell(struct sh_refer *r, const struct sh_result *res)
{
	sh_request_fn done = r->done;

	r->done = NULL;
	if (done)
		done(r->ctx, res);
}

static void destroy(struct sh_refer *r)
{
	sh_wheel_cancel(&r->ua->env->wheel, &r->timer);
	sh_list_remove(&r->link);
	sh_free(r);
}

void sh_refer_drop_all(struct sh_ua *ua)
{
	struct sh_link *l;

	while ((l = ua->live_refers.next) != &ua->live_refers) {
		struct sh_result res = {487, sh_status_reason(487), SH_NO_ANSWER, NULL, NULL, 0};
		struct sh_refer *r = SH_CONTAINER(l, struct sh_refer, link);

		tell(r, &res);
		destroy(r);
	}
}

static void on_done(void *ctx, const struct sh_result *res);

static void on_timer(struct sh_timer *t)
{
	struct sh_refer *r = SH_CONTAINER(t, struct sh_refer, timer);
	struct sh_leg *l = sh_ua_leg(r->ua, r->leg);

	if (r->failed) {
		enum sh_cause cause = r->failed == 480 ? SH_EMPTY : sh_cause_of(r->failed);
		struct sh_result res = {r->failed, sh_status_reason(r->failed), cause, NULL, NULL, 0};

		on_done(r, &res);
		return;
	}
	if (l)
		sh_leg_hangup(l, SH_LIT("SIP;cause=200;text=\"Transferred\""));
	destroy(r);
}

static void on_last_notified(void *ctx)
{
	struct sh_refer *r = ctx;

	sh_env_timer(r->ua->env, &r->timer, STAY);
}

static void on_progress(void *ctx, unsigned code, struct sh_slice reason)
{
	struct sh_refer *r = ctx;
	struct sh_subscription *s = sh_ua_subscription(r->ua, r->subscription);

	if (s) {
		keep_status(s, code, reason);
		sh_subscription_changed(s);
	}
}

static void on_done(void *ctx, const struct sh_result *res)
{
	struct sh_refer *r = ctx;
	struct sh_subscription *s = sh_ua_subscription(r->ua, r->subscription);
	bool transferred = res->code < 300;

	if (r->ua->closing)
		s = NULL;
	if (s) {
		keep_status(s, res->code, res->reason);
		if (sh_subscription_terminate(s, SH_LIT("noresource"), transferred ? on_last_notified : NULL, r) < 0)
			s = NULL; /* it has ended meanwhile */
	}
	if (transferred && !s)
		on_last_notified(r);
	tell(r, res); /* it may end calls, but not r: that takes a later event */
	if (!transferred)
		destroy(r);
}

static const struct sh_transfer_events events = {on_progress, on_done};

/* Whose leg it is that Replaces names: found here, or by its tag on worker *home. */
static struct sh_leg *replaced(struct sh_ua *ua, struct sh_slice replaces, struct sh_dialog_ids *ids, int *home)
{
	struct sh_leg *l;

	*home = -1;
	if (!replaces.len || sh_dialog_ids_parse(ids, replaces) < 0)
		return NULL;
	l = sh_ua_find_leg(ua, ids);
	if (l)
		return l;
	*home = sh_tag_worker(ids->to_tag);
	if (*home >= (int)ua->env->workers || *home == (int)ua->env->worker)
		*home = sh_forward_find(ua, SH_FORWARD_TAG, ids->to_tag);
	return NULL;
}

/* What the target is told of who sent the call there (RFC 3892 2.3), and of the dialog to replace when that is none of ours. */
static int put_fields(struct sh_fork_plan *plan, const struct sh_refer_to *to)
{
	for (unsigned i = 0; i < plan->count; i++) {
		struct sh_target *t = &plan->targets[i];
		bool by = to->referred_by.len && !sh_header_line_named(t->headers, SH_LIT("Referred-By"));

		if (sh_arena_printf(&plan->arena, &t->headers, "%.*s%s%.*s%s%s%.*s%s%s", SH_FMT(t->headers),
				    by ? "Referred-By: " : "", SH_FMT(by ? to->referred_by : (struct sh_slice){0}), by ? "\r\n" : "",
				    to->replaces.len ? "Replaces: " : "", SH_FMT(to->replaces), to->replaces.len ? "\r\n" : "",
				    to->replaces.len && to->requires_replaces ? "Require: replaces\r\n" : "") < 0)
			return -ENOMEM;
	}
	return 0;
}

static struct sh_refer *create(struct sh_request *q, struct sh_leg *leg, sh_request_fn done, void *ctx)
{
	struct sh_refer *r = sh_calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->ua = q->ua;
	r->leg = leg->handle;
	sh_timer_init(&r->timer, on_timer);
	sh_list_append(&q->ua->live_refers, &r->link);
	r->done = done;
	r->ctx = ctx;
	return r;
}

static int attended(struct sh_request *q, struct sh_leg *leg, struct sh_leg *with, const struct sh_dialog_ids *ids, int home,
		    const struct sh_refer_options *o, sh_request_fn done, void *ctx)
{
	struct sh_referrer who = referrer(q, leg, o);
	struct sh_call *c = leg->call;
	struct sh_subscription *s;
	struct sh_refer *r;
	int err;

	/* who watches a lamp knows the ids of others' dialogs: to know them is no right */
	if (!o->anyone && (!sh_referrer_has(&who, leg) || (with && !sh_referrer_has(&who, with))))
		return -EACCES;
	r = create(q, leg, done, ctx);
	if (!r)
		return -ENOMEM;
	if (with)
		err = sh_call_join(c, leg == c->a ? c->b : c->a, with, &events, r);
	else
		err = sh_call_join_far(c, leg == c->a ? c->b : c->a, ids, (unsigned)home, o->anyone ? NULL : &who, &events, r);
	if (err) {
		destroy(r);
		return err;
	}
	s = subscribe(q, o);
	r->subscription = s ? sh_subscription_handle(s) : 0;
	return 0;
}

static int blind(struct sh_request *q, struct sh_leg *leg, struct sh_fork_plan *plan, const struct sh_refer_to *to,
		 const struct sh_refer_options *o, sh_request_fn done, void *ctx)
{
	struct sh_referrer who = referrer(q, leg, o);
	struct sh_call *c = leg->call;
	struct sh_subscription *s;
	struct sh_refer *r;

	if (!o->anyone && !q->in_dialog && !sh_referrer_has(&who, leg)) /* Target-Dialog: the same */
		return -EACCES;
	r = create(q, leg, done, ctx);
	if (!r)
		return -ENOMEM;
	if (put_fields(plan, to) < 0) {
		destroy(r);
		return -ENOMEM;
	}
	s = subscribe(q, o);
	r->subscription = s ? sh_subscription_handle(s) : 0;
	/* what cannot begin ends with a NOTIFY as what fails later does */
	if (!plan->count)
		r->failed = 480;
	else if (sh_call_transfer(c, leg == c->a ? c->b : c->a, plan, &events, r) < 0)
		r->failed = 503;
	if (r->failed)
		sh_env_timer(q->ua->env, &r->timer, 0);
	return 0;
}

int sh_refer_accept(struct sh_request *q, struct sh_leg *leg, struct sh_fork_plan *plan, const struct sh_refer_options *o,
		    sh_request_fn done, void *ctx)
{
	struct sh_call *c = leg ? leg->call : NULL;
	struct sh_dialog_ids ids;
	struct sh_refer_to to;
	struct sh_slice why;
	struct sh_leg *with;
	int home;

	if (!q->st || q->answered || q->msg->method != SH_REFER)
		return -EALREADY;
	if (o->manual) {
		subscribe(q, o);
		return 0;
	}
	if (!c || c->state != SH_CALL_UP || leg->state != SH_LEG_UP || (leg != c->a && leg != c->b) || !c->a || !c->b)
		return -ENOTCONN;
	if (c->transfer || c->rebridge || c->fork || c->bridge_done)
		return -EBUSY;
	if (sh_refer_read(&to, q->msg, &plan->arena, &why))
		return -EBADMSG;
	with = replaced(q->ua, to.replaces, &ids, &home);
	return with || home >= 0 ? attended(q, leg, with, &ids, home, o, done, ctx) : blind(q, leg, plan, &to, o, done, ctx);
}

int sh_refer_notify(struct sh_request *q, unsigned code, struct sh_slice reason)
{
	struct sh_subscription *s = sh_ua_subscription(q->ua, q->subscription);

	if (!q->answered && q->st)
		return -EPROTO;
	if (!s || sh_subscription_state(s) == SH_SUB_TERMINATED)
		return -EPIPE;
	keep_status(s, code, reason);
	if (code >= 200)
		return sh_subscription_terminate(s, SH_LIT("noresource"), NULL, NULL);
	sh_subscription_changed(s);
	return 0;
}
