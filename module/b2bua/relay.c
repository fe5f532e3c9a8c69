/* Requests other than INVITE that go on: in a dialog to the other leg, outside of dialogs to a list of targets. */
#include "b2bua/impl.h"

struct sh_relay_branch {
	struct sh_relay *relay;
	const struct sh_target *target;
	struct sh_client_txn *ct;
	struct sh_locate *locate;
	bool started, finished;
	unsigned code;
	struct sh_slice reason;
};

struct sh_relay {
	struct sh_link link; /* in ua->live_relays */
	struct sh_link of_leg; /* in a dialog: in the other leg's relays */
	struct sh_ua *ua;
	struct sh_server_txn *st; /* without an application: whom to answer; NULL when it ended */
	struct sh_request *rq;    /* with one */
	uint64_t from_leg, to_leg; /* handles, in a dialog */
	struct sh_fork_plan plan;  /* outside */
	struct sh_relay_branch *branches;
	unsigned count, group;
	bool starting;
	struct sh_timer timer;
	struct sh_msg *best;
	unsigned best_code, best_rank;
	enum sh_cause best_cause;
	struct sh_relay_branch single; /* in a dialog */
	sh_request_fn done;
	void *ctx;
};

static void destroy(struct sh_relay *r)
{
	struct sh_arena arena = r->plan.arena;

	for (unsigned i = 0; i < r->count; i++) {
		if (r->branches[i].ct)
			sh_client_txn_detach(r->branches[i].ct);
		sh_locate_cancel(r->branches[i].locate);
	}
	sh_wheel_cancel(&r->ua->env->wheel, &r->timer);
	if (r->st)
		sh_server_txn_watch(r->st, NULL, NULL);
	if (r->rq)
		r->rq->relay = NULL;
	sh_list_remove(&r->of_leg);
	sh_list_remove(&r->link);
	sh_free(r->best);
	sh_arena_finish(&arena);
	sh_free(r);
}

void sh_relay_drop_all(struct sh_ua *ua)
{
	struct sh_link *l;

	while ((l = ua->live_relays.next) != &ua->live_relays)
		destroy(SH_CONTAINER(l, struct sh_relay, link));
}

void sh_relay_drop(struct sh_relay *r)
{
	destroy(r);
}

static void on_timer(struct sh_timer *t);

static struct sh_relay *create(struct sh_ua *ua)
{
	struct sh_relay *r = sh_calloc(1, sizeof(*r));

	if (r) {
		r->ua = ua;
		sh_timer_init(&r->timer, on_timer);
		sh_list_init(&r->of_leg);
		sh_list_append(&ua->live_relays, &r->link);
		sh_arena_init(&r->plan.arena, 256);
	}
	return r;
}

/* A 2xx that refreshes the target of the dialog (RFC 3311 5.2, RFC 3515 2.2, RFC 6665 8.2.1) tells where we are. */
static bool refreshes_target(enum sh_method method)
{
	return method == SH_UPDATE || method == SH_REFER || method == SH_SUBSCRIBE || method == SH_NOTIFY;
}

/* Passes the answer back: the fields that matter to the requester, and the body. */
static void answer_with(struct sh_ua *ua, struct sh_server_txn *st, const struct sh_leg *l, unsigned code, struct sh_slice reason,
			const struct sh_msg *m)
{
	struct sh_slice none = {0};
	struct sh_writer *w;

	if (code == 408 || sh_server_txn_answered(st))
		return; /* nobody answers 408 here: RFC 4320 4.2 */
	if (sh_code_passed_on(code) != code) {
		code = sh_code_passed_on(code);
		reason = none;
		m = NULL;
	}
	w = sh_server_txn_begin(st, code, reason, none);
	if (m && l && code < 300 && refreshes_target((enum sh_method)m->method))
		sh_ua_put_contact(ua, w, sh_server_txn_path(st), l->dialog.secure);
	if (m && m->method == SH_OPTIONS && code < 300)
		sh_put_header(w, SH_H_ALLOW, l ? ua->allow_in_dialog : ua->allow);
	sh_ua_put_product(ua, w, false);
	if (m) {
		sh_put_answer_fields(w, m, SH_COPY_RESPONSE | SH_COPY_DIALOG);
		sh_put_body_of(w, m);
	} else {
		sh_put_body(w, none, none);
	}
	sh_server_txn_respond(st, code, w);
}

int sh_request_answer_with(struct sh_request *q, const struct sh_result *res)
{
	unsigned code = res->code;

	if (q->answered || !q->st)
		return -EALREADY;
	if (!res->msg && res->cause == SH_UNREACHABLE)
		code = 480;
	q->answered = true;
	answer_with(q->ua, q->st, sh_request_leg(q), code, code == res->code ? res->reason : (struct sh_slice){0}, res->msg);
	return 0;
}

/* ------------------------------------------------------------------ in a dialog */

static void finish_in_dialog(struct sh_relay *r, unsigned code, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_result res = {code, m ? sh_msg_text(m, m->reason) : sh_status_reason(code), cause, m, NULL, 0};
	struct sh_leg *to = sh_slots_get(&r->ua->legs, r->to_leg);
	struct sh_call *c = to ? to->call : NULL;
	struct sh_ua *ua = r->ua;

	if (r->rq) {
		struct sh_request *q = r->rq;

		r->rq->relay = NULL;
		r->rq = NULL;
		sh_request_answer_with(q, &res);
	} else if (r->st) {
		struct sh_server_txn *st = r->st;

		r->st = NULL;
		sh_server_txn_watch(st, NULL, NULL);
		answer_with(ua, st, sh_slots_get(&ua->legs, r->from_leg), code, res.reason, m);
	}
	/* last: what it wakes may end the legs, and with them every relay that it finds */
	sh_request_fn fn = r->done;
	void *ctx = r->ctx;

	destroy(r);
	if (fn)
		fn(ctx, &res);
	if (code == 481 && c) /* RFC 5057 5.1: the dialog is gone */
		sh_call_hangup(c, SH_BY_ENGINE, 0, SH_LIT("SIP;cause=481"));
}

static void on_dialog_response(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_relay *r = user;

	(void)ct;
	switch (ev) {
	case SH_CLIENT_RESPONSE:
		if (m->status < 200)
			return;
		if (m->method == SH_UPDATE && m->status < 300) {
			struct sh_leg *to = sh_slots_get(&r->ua->legs, r->to_leg);

			if (to)
				sh_dialog_refresh(&to->dialog, m, NULL);
		}
		finish_in_dialog(r, m->status, sh_cause_of(m->status), m);
		return;
	case SH_CLIENT_TIMEOUT:
		finish_in_dialog(r, 408, SH_NO_ANSWER, NULL);
		return;
	case SH_CLIENT_UNREACHABLE:
		finish_in_dialog(r, 500, SH_UNREACHABLE, NULL);
		return;
	case SH_CLIENT_ENDED:
		r->single.ct = NULL;
		finish_in_dialog(r, 500, SH_FAILED, NULL);
		return;
	}
}

static void on_server_event(struct sh_server_txn *st, enum sh_server_event ev, void *user)
{
	struct sh_relay *r = user;

	if (ev == SH_SERVER_ENDED && r->st == st)
		r->st = NULL;
}

int sh_relay_to_other_leg(struct sh_leg *l, struct sh_server_txn *st, struct sh_request *rq, const struct sh_msg *m,
			  struct sh_slice headers, struct sh_slice content_type, struct sh_slice body, sh_request_fn done,
			  void *ctx)
{
	struct sh_call *c = l->call;
	struct sh_leg *to = c ? (l == c->a ? c->b : c->a) : NULL;
	struct sh_ua *ua = l->ua;
	struct sh_slice none = {0};
	struct sh_writer line, rest;
	struct sh_relay *r;
	int err;

	if (!to || to->state != SH_LEG_UP)
		return -ENOTCONN;
	r = create(ua);
	if (!r)
		return -ENOMEM;
	r->from_leg = l->handle;
	r->to_leg = to->handle;
	r->branches = &r->single;
	r->count = 1;
	sh_ua_writers(ua, &line, &rest);
	sh_dialog_put_request(&to->dialog, sh_msg_text(m, m->method_name), 0,
			      m->max_forwards > 0 ? (unsigned)m->max_forwards - 1 : 70, &line, &rest);
	if (refreshes_target((enum sh_method)m->method))
		sh_ua_put_contact(ua, &rest, &to->dialog.path, to->dialog.secure);
	sh_ua_put_product(ua, &rest, true);
	sh_put_copied(&rest, m, SH_COPY_DIALOG | (m->body.len && !body.base ? SH_COPY_BODY : 0), headers, none, none);
	sh_put(&rest, headers);
	if (body.base)
		sh_put_body(&rest, content_type, body);
	else
		sh_put_body_of(&rest, m);
	err = sh_ua_send(ua, &r->single.ct, (enum sh_method)m->method, &line, &rest, &to->dialog.path, on_dialog_response, r);
	if (err) {
		destroy(r);
		return err;
	}
	sh_list_append(&to->relays, &r->of_leg);
	r->done = done;
	r->ctx = ctx;
	if (rq) {
		r->rq = rq;
		rq->relay = r;
	} else {
		r->st = st;
		sh_server_txn_watch(st, on_server_event, r);
	}
	return 0;
}

void sh_relay_in_dialog(struct sh_leg *l, struct sh_server_txn *st, const struct sh_msg *m)
{
	struct sh_slice none = {0};
	int err = sh_relay_to_other_leg(l, st, NULL, m, none, none, none, NULL, NULL);

	if (err)
		sh_ua_reply(l->ua, st, err == -ENOTCONN ? 480 : err == -ENOMEM ? 503 : 500, none, none, none);
}

void sh_relay_leg_gone(struct sh_leg *l)
{
	struct sh_link *k;

	while ((k = sh_list_pop(&l->relays)) != NULL)
		finish_in_dialog(SH_CONTAINER(k, struct sh_relay, of_leg), 487, SH_FAILED, NULL);
}

/* ------------------------------------------------------------------ outside of dialogs */

static void advance(struct sh_relay *r);

static void finish_targets(struct sh_relay *r, unsigned code, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_result res = {code, m ? sh_msg_text(m, m->reason) : sh_status_reason(code), cause, m, NULL, 0};
	struct sh_branch_result *list = sh_arena_calloc(&r->plan.arena, r->count, sizeof(*list));

	for (unsigned i = 0; list && i < r->count; i++)
		list[i] = (struct sh_branch_result){r->branches[i].target->uri, r->branches[i].reason, r->branches[i].code};
	res.branches = list;
	res.nbranches = list ? r->count : 0;
	if (r->rq)
		r->rq->relay = NULL;
	r->rq = NULL;
	if (r->done)
		r->done(r->ctx, &res);
	destroy(r);
}

static void branch_failed(struct sh_relay_branch *b, unsigned code, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_relay *r = b->relay;
	unsigned rank = sh_result_rank(code, cause);

	b->finished = true;
	b->code = code;
	if (!m || sh_arena_dup(&r->plan.arena, sh_msg_text(m, m->reason), &b->reason) < 0)
		b->reason = sh_status_reason(code);
	if (rank >= r->best_rank)
		return;
	r->best_rank = rank;
	r->best_code = code;
	r->best_cause = cause;
	sh_free(r->best);
	r->best = m ? sh_msg_clone(m) : NULL;
}

static void on_target_response(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct sh_relay_branch *b = user;

	if (ev == SH_CLIENT_RESPONSE && m->status < 200)
		return;
	if (ev == SH_CLIENT_ENDED)
		b->ct = NULL;
	if (b->finished)
		return;
	if (ev != SH_CLIENT_ENDED) {
		sh_client_txn_detach(ct);
		b->ct = NULL;
	}
	if (ev == SH_CLIENT_RESPONSE && m->status < 300) {
		b->finished = true;
		b->code = m->status;
		finish_targets(b->relay, m->status, SH_CAUSE_NONE, m);
		return;
	}
	if (ev == SH_CLIENT_RESPONSE)
		branch_failed(b, m->status, sh_cause_of(m->status), m);
	else
		branch_failed(b, ev == SH_CLIENT_TIMEOUT ? 408 : 503, SH_UNREACHABLE, NULL);
	advance(b->relay);
}

static int send_target(struct sh_relay_branch *b, const struct sh_path *path)
{
	struct sh_relay *r = b->relay;
	struct sh_ua *ua = r->ua;
	const struct sh_target *t = b->target;
	const struct sh_msg *m = r->rq->msg;
	struct sh_slice none = {0};
	struct sh_writer line, rest;
	char tag[SH_TAG_LEN], call_id[SH_TAG_LEN];

	sh_tag_make(ua->env, tag);
	sh_tag_make(ua->env, call_id);
	sh_ua_writers(ua, &line, &rest);
	sh_put_request_line(&line, sh_msg_text(m, m->method_name), t->uri);
	sh_put_header_uint(&rest, SH_H_MAX_FORWARDS, m->max_forwards > 0 ? (unsigned)m->max_forwards - 1 : 70);
	sh_put_lit(&rest, "From: ");
	if (t->from.len) {
		sh_put(&rest, t->from);
	} else {
		sh_put_char(&rest, '<');
		sh_put(&rest, sh_msg_text(m, m->from_uri));
		sh_put_char(&rest, '>');
	}
	sh_put_lit(&rest, ";tag=");
	sh_put(&rest, sh_slice_make(tag, SH_TAG_LEN));
	sh_put_lit(&rest, "\r\nTo: ");
	if (t->to.len) {
		sh_put(&rest, t->to);
	} else {
		sh_put_char(&rest, '<');
		sh_put(&rest, sh_msg_text(m, m->to_uri));
		sh_put_char(&rest, '>');
	}
	sh_put_lit(&rest, "\r\nCall-ID: ");
	sh_put(&rest, sh_slice_make(call_id, SH_TAG_LEN));
	sh_put_lit(&rest, "\r\nCSeq: 1 ");
	sh_put(&rest, sh_msg_text(m, m->method_name));
	sh_put_lit(&rest, "\r\n");
	if (t->route.len)
		sh_put_header(&rest, SH_H_ROUTE, t->route);
	sh_ua_put_product(ua, &rest, true);
	sh_put_copied(&rest, m, SH_COPY_REQUEST | (m->body.len ? SH_COPY_BODY : 0) |
		      (sh_ua_trusts(ua, &r->rq->from.remote) ? SH_COPY_IDENTITY : 0), t->headers, t->removed, t->copy);
	sh_put(&rest, t->headers);
	sh_put_body_of(&rest, m);
	(void)none;
	return sh_ua_send(ua, &b->ct, (enum sh_method)m->method, &line, &rest, path, on_target_response, b);
}

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct sh_relay_branch *b = ctx;

	(void)error;
	b->locate = NULL;
	if (!count || send_target(b, &paths[0]) < 0) {
		branch_failed(b, 503, SH_UNREACHABLE, NULL);
		advance(b->relay);
	}
}

static void start_target(struct sh_relay_branch *b)
{
	struct sh_relay *r = b->relay;
	const struct sh_target *t = b->target;
	struct sh_path found[SH_MAX_CANDIDATES];
	struct sh_slice hop = t->uri, list = t->route;
	struct sh_name_addr first;
	struct sh_uri uri;
	int n = 1;

	b->started = true;
	if (list.len && sh_name_addr_next(&list, &first) == 0)
		hop = first.uri;
	if (t->has_path && (!t->path.flow || sh_transport_flow_alive(r->ua->transport, t->path.flow)))
		found[0] = t->path;
	else if (sh_uri_parse(&uri, hop) < 0)
		n = -EINVAL;
	else
		n = sh_transport_locate(r->ua->transport, &uri, t->endpoint, found, on_located, b, &b->locate);
	if (n == 0)
		return;
	if (n < 0 || send_target(b, &found[0]) < 0)
		branch_failed(b, 503, SH_UNREACHABLE, NULL);
}

static void advance(struct sh_relay *r)
{
	if (r->starting)
		return;
	r->starting = true;
	for (;;) {
		bool busy = false;
		unsigned next = UINT32_MAX;

		for (unsigned i = 0; i < r->count; i++)
			if (!r->branches[i].started && r->branches[i].target->group == r->group)
				start_target(&r->branches[i]);
		for (unsigned i = 0; i < r->count; i++) {
			const struct sh_relay_branch *b = &r->branches[i];

			if (b->started && !b->finished)
				busy = true;
			if (!b->started && b->target->group < next)
				next = b->target->group;
		}
		if (busy) {
			sh_env_timer(r->ua->env, &r->timer, r->plan.timeout ? r->plan.timeout : 64 * r->ua->config.txn.t1);
			break;
		}
		if (next == UINT32_MAX) {
			r->starting = false;
			finish_targets(r, r->best_code, r->best_cause, r->best);
			return;
		}
		r->group = next;
	}
	r->starting = false;
}

static void on_timer(struct sh_timer *t)
{
	struct sh_relay *r = SH_CONTAINER(t, struct sh_relay, timer);

	for (unsigned i = 0; i < r->count; i++) {
		struct sh_relay_branch *b = &r->branches[i];

		if (!b->started || b->finished)
			continue;
		if (b->ct)
			sh_client_txn_detach(b->ct);
		b->ct = NULL;
		sh_locate_cancel(b->locate);
		b->locate = NULL;
		branch_failed(b, 408, SH_NO_ANSWER, NULL);
	}
	advance(r);
}

int sh_request_relay(struct sh_request *q, struct sh_fork_plan *plan, sh_request_fn done, void *ctx)
{
	struct sh_relay *r = plan->count && !q->relay ? create(q->ua) : NULL;

	if (r)
		r->branches = sh_arena_calloc(&plan->arena, plan->count, sizeof(*r->branches));
	if (!r || !r->branches) {
		int err = !plan->count ? -ENOENT : q->relay ? -EBUSY : -ENOMEM;

		sh_arena_finish(&plan->arena);
		if (r)
			destroy(r);
		return err;
	}
	r->plan = *plan;
	sh_arena_init(&plan->arena, 256);
	r->rq = q;
	q->relay = r;
	r->count = r->plan.count;
	r->best_rank = UINT32_MAX;
	r->done = done;
	r->ctx = ctx;
	for (unsigned i = 0; i < r->count; i++) {
		r->branches[i].relay = r;
		r->branches[i].target = &r->plan.targets[i];
	}
	r->group = r->plan.targets[0].group;
	/* in the next turn of the clock: done is never called from inside this function */
	bool failed_at_once = true;
	for (unsigned i = 0; i < r->count; i++)
		if (r->plan.targets[i].group == r->group)
			start_target(&r->branches[i]);
	for (unsigned i = 0; i < r->count; i++)
		if (r->branches[i].started && !r->branches[i].finished)
			failed_at_once = false;
	sh_env_timer(q->ua->env, &r->timer,
		     failed_at_once ? 0 : r->plan.timeout ? r->plan.timeout : 64 * q->ua->config.txn.t1);
	return 0;
}
