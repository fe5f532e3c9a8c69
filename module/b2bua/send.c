/* Requests other than INVITE outside of dialogs, to a list of targets: those that a script passes on, and our own
 * (sip.request, a trunk's REGISTER and OPTIONS). Groups are tried one after the other, the targets of a group at the same
 * time; the first 2xx wins. */
#include "b2bua/edge.h"
#include "b2bua/impl.h"

struct branch {
	struct sh_sending *sending;
	struct sh_target *target;
	struct sh_client_txn *ct;
	struct sh_client_auth *auth;
	struct sh_locate *locate;
	struct sh_path *candidates; /* of a name with several addresses: those not tried yet (RFC 3263 4.3) */
	unsigned ncandidates;
	struct sh_timer timer; /* while there are others: how long this one may say nothing */
	uint32_t cseq;
	bool started, finished;
	unsigned code;
	struct sh_slice reason;
};

struct sh_sending {
	struct sh_link link; /* in ua->live_sendings */
	struct sh_ua *ua;
	struct sh_request *rq;     /* what is passed on; NULL: our own */
	struct sh_own_request own; /* texts in the plan's arena */
	struct sh_fork_plan plan;
	struct branch *branches;
	unsigned count, group;
	bool starting;
	struct sh_timer timer;
	struct sh_msg *best;
	unsigned best_code, best_rank;
	enum sh_cause best_cause;
	sh_request_fn done;
	void *ctx;
};

static void destroy(struct sh_sending *s)
{
	struct sh_arena arena = s->plan.arena;

	for (unsigned i = 0; i < s->count; i++) {
		if (s->branches[i].ct)
			sh_client_txn_detach(s->branches[i].ct);
		sh_locate_cancel(s->branches[i].locate);
		sh_client_auth_unref(s->branches[i].auth);
		sh_wheel_cancel(&s->ua->env->wheel, &s->branches[i].timer);
	}
	sh_wheel_cancel(&s->ua->env->wheel, &s->timer);
	if (s->rq)
		s->rq->sending = NULL;
	sh_list_remove(&s->link);
	sh_client_auth_unref(s->own.auth);
	sh_free(s->best);
	sh_arena_finish(&arena);
	sh_free(s);
}

void sh_sending_drop(struct sh_sending *s)
{
	if (s)
		destroy(s);
}

bool sh_sending_redirect(struct sh_sending *s, const void *from, sh_request_fn done, void *ctx)
{
	if (s->ctx != from)
		return false;
	s->done = done;
	s->ctx = ctx;
	return true;
}

void sh_sending_drop_all(struct sh_ua *ua)
{
	struct sh_link *l;

	while ((l = ua->live_sendings.next) != &ua->live_sendings)
		destroy(SH_CONTAINER(l, struct sh_sending, link));
}

/* ------------------------------------------------------------------ the end of it */

static void finish(struct sh_sending *s, unsigned code, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_result res = {code, m ? sh_msg_text(m, m->reason) : sh_status_reason(code), cause, m, NULL, 0};
	struct sh_branch_result *list = sh_arena_calloc(&s->plan.arena, s->count, sizeof(*list));

	for (unsigned i = 0; list && i < s->count; i++)
		list[i] = (struct sh_branch_result){s->branches[i].target->uri, s->branches[i].reason, s->branches[i].code};
	res.branches = list;
	res.nbranches = list ? s->count : 0;
	if (s->rq)
		s->rq->sending = NULL;
	s->rq = NULL;
	if (s->done)
		s->done(s->ctx, &res);
	destroy(s);
}

static void branch_failed(struct branch *b, unsigned code, enum sh_cause cause, const struct sh_msg *m)
{
	struct sh_sending *s = b->sending;
	unsigned rank = sh_result_rank(code, cause);

	b->finished = true;
	b->code = code;
	if (!m || sh_arena_dup(&s->plan.arena, sh_msg_text(m, m->reason), &b->reason) < 0)
		b->reason = sh_status_reason(code);
	if (rank >= s->best_rank)
		return;
	s->best_rank = rank;
	s->best_code = code;
	s->best_cause = cause;
	sh_free(s->best);
	s->best = m ? sh_msg_clone(m) : NULL;
}

/* ------------------------------------------------------------------ one request */

/* A name-addr in From or To: the entry's, ours, or the URI of the request that is passed on. */
static void put_party(struct sh_writer *w, struct sh_slice name, struct sh_slice uri)
{
	if (name.len) {
		sh_put(w, name);
		return;
	}
	sh_put_char(w, '<');
	sh_put(w, uri);
	sh_put_char(w, '>');
}

static struct sh_slice either(struct sh_slice first, struct sh_slice other)
{
	return first.len ? first : other;
}

/* A REGISTER that is passed on stays the phone's: its contacts, its credentials, its Call-ID and number. */
static bool passes_edge(const struct sh_msg *m)
{
	return m && m->method == SH_REGISTER;
}

static void put_head(struct branch *b, const struct sh_path *path, struct sh_writer *line, struct sh_writer *rest)
{
	struct sh_sending *s = b->sending;
	const struct sh_own_request *own = &s->own;
	const struct sh_target *t = b->target;
	const struct sh_msg *m = s->rq ? s->rq->msg : NULL;
	struct sh_slice method = m ? sh_msg_text(m, m->method_name) : own->method;
	char tag[SH_TAG_LEN], call_id[SH_TAG_LEN];
	bool passes = passes_edge(m);

	sh_tag_make(s->ua->env, tag);
	sh_tag_make(s->ua->env, call_id);
	sh_put_request_line(line, method, t->uri);
	sh_put_header_uint(rest, SH_H_MAX_FORWARDS, m && m->max_forwards > 0 ? (unsigned)m->max_forwards - 1 : 70);
	sh_put_lit(rest, "From: ");
	put_party(rest, either(t->from, own->from), m ? sh_msg_text(m, m->from_uri) : t->uri);
	sh_put_lit(rest, ";tag=");
	sh_put(rest, sh_slice_make(tag, SH_TAG_LEN));
	sh_put_lit(rest, "\r\nTo: ");
	put_party(rest, either(t->to, own->to), m ? sh_msg_text(m, m->to_uri) : t->uri);
	sh_put_lit(rest, "\r\nCall-ID: ");
	sh_put(rest, passes ? sh_msg_text(m, m->call_id) : either(own->call_id, sh_slice_make(call_id, SH_TAG_LEN)));
	sh_put_lit(rest, "\r\nCSeq: ");
	sh_put_uint(rest, b->cseq);
	sh_put_char(rest, ' ');
	sh_put(rest, method);
	sh_put_lit(rest, "\r\n");
	if (t->route.len)
		sh_put_header(rest, SH_H_ROUTE, t->route);
	if (own->contact)
		sh_ua_put_contact_of(s->ua, rest, path, false, own->contact_user);
	if (!passes)
		sh_ua_put_product(s->ua, rest, true);
}

static void on_response(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user);

static bool on_challenged(struct sh_client_txn *ct, const struct sh_msg *m, uint32_t *seen, void *ctx)
{
	struct branch *b = ctx;

	if (!sh_ua_authorize(b->sending->ua, b->auth, ct, m, seen, b->cseq + 1))
		return false;
	b->cseq++;
	if (b->sending->own.cseq)
		*b->sending->own.cseq = b->cseq;
	return true;
}

static int send_to(struct branch *b, const struct sh_path *path)
{
	struct sh_sending *s = b->sending;
	struct sh_ua *ua = s->ua;
	const struct sh_target *t = b->target;
	const struct sh_msg *m = s->rq ? s->rq->msg : NULL;
	struct sh_writer line, rest;
	enum sh_method method = m ? (enum sh_method)m->method : sh_method_lookup(s->own.method);

	if (!b->auth && s->own.auth)
		b->auth = sh_client_auth_ref(s->own.auth);
	else if (!b->auth && t->nlogins && sh_client_auth_create(&b->auth, t->logins, t->nlogins) < 0)
		return -ENOMEM;
	b->cseq = s->own.cseq ? ++*s->own.cseq : (b->cseq ? b->cseq : s->own.first_cseq) + 1;
	if (passes_edge(m))
		b->cseq = m->cseq;
	sh_ua_writers(ua, &line, &rest);
	put_head(b, path, &line, &rest);
	if (passes_edge(m)) {
		sh_edge_put_path(ua->transport, &ua->env->key, m, &s->rq->from, path, &rest);
		sh_put_whole(&rest, m, sh_identity_classes(ua, m, &s->rq->from.remote, &path->remote), t->headers);
	} else if (m)
		sh_put_copied(&rest, m, SH_COPY_REQUEST | (m->body.len ? SH_COPY_BODY : 0) |
			      sh_identity_classes(ua, m, &s->rq->from.remote, &path->remote), t->headers, (struct sh_slice){0}, t->copy);
	sh_put_said(&rest, s->own.headers);
	sh_put_said(&rest, t->headers);
	if (m)
		sh_put_body_of(&rest, m);
	else
		sh_put_body(&rest, s->own.content_type, s->own.body);
	return sh_ua_send_auth(ua, &b->ct, method, &line, &rest, path, on_response, b, b->auth, on_challenged, b);
}

/* Tries the addresses that are left; false: none would do. */
static bool try_candidates(struct branch *b)
{
	while (b->ncandidates) {
		b->ncandidates--;
		if (send_to(b, b->candidates++) < 0)
			continue;
		if (b->ncandidates)
			sh_env_timer(b->sending->ua->env, &b->timer, b->sending->ua->config.first_answer);
		return true;
	}
	return false;
}

static void start_target(struct branch *b);

/* The phone once more, by another flow (RFC 5626 7); false: it has no other. */
static bool next_flow(struct branch *b)
{
	if (!sh_target_next_flow(b->target))
		return false;
	start_target(b);
	return true;
}

static void send_branch(struct branch *b, const struct sh_path *paths, unsigned count)
{
	b->ncandidates = 0;
	if (count == 1 && send_to(b, paths) == 0)
		return;
	if (count > 1) {
		b->candidates = sh_arena_alloc(&b->sending->plan.arena, count * sizeof(*paths));
		if (b->candidates)
			memcpy(b->candidates, paths, count * sizeof(*paths));
		b->ncandidates = b->candidates ? count : 0;
		if (try_candidates(b))
			return;
	}
	if (!next_flow(b))
		branch_failed(b, 503, SH_UNREACHABLE, NULL);
}

static void advance(struct sh_sending *s);

static void on_branch_timer(struct sh_timer *t)
{
	struct branch *b = SH_CONTAINER(t, struct branch, timer);

	if (b->ct) {
		sh_transport_avoid(b->sending->ua->transport, sh_client_txn_path(b->ct), 0);
		sh_client_txn_detach(b->ct);
		b->ct = NULL;
	}
	if (!try_candidates(b) && !next_flow(b))
		branch_failed(b, 408, SH_UNREACHABLE, NULL);
	advance(b->sending);
}

static void on_response(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *m, void *user)
{
	struct branch *b = user;

	sh_wheel_cancel(&b->sending->ua->env->wheel, &b->timer); /* it is heard of */
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
		b->reason = sh_msg_text(m, m->reason);
		finish(b->sending, m->status, SH_CAUSE_NONE, m);
		return;
	}
	if ((ev != SH_CLIENT_RESPONSE || m->status == 503) && try_candidates(b)) /* RFC 3263 4.3 */
		return;
	if ((ev != SH_CLIENT_RESPONSE || sh_flow_failed(m->status)) && next_flow(b)) {
		advance(b->sending);
		return;
	}
	if (ev == SH_CLIENT_RESPONSE)
		branch_failed(b, m->status, sh_cause_of(m->status), m);
	else
		branch_failed(b, ev == SH_CLIENT_TIMEOUT ? 408 : 503, SH_UNREACHABLE, NULL);
	advance(b->sending);
}

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct branch *b = ctx;

	(void)error;
	b->locate = NULL;
	send_branch(b, paths, count);
	if (b->finished)
		advance(b->sending);
}

static void start_target(struct branch *b)
{
	struct sh_sending *s = b->sending;
	const struct sh_target *t = b->target;
	struct sh_path found[SH_MAX_CANDIDATES];
	struct sh_slice hop = t->uri, list = t->route;
	struct sh_name_addr first;
	struct sh_uri uri;
	int n = 1;

	b->started = true;
	if (s->rq && s->rq->msg->max_forwards == 0) { /* RFC 3261 16.3: two that pass it to each other would never end */
		branch_failed(b, 483, SH_REJECTED, NULL);
		return;
	}
	if (list.len && sh_name_addr_next(&list, &first) == 0)
		hop = first.uri;
	if (t->has_path && (!t->path.flow || sh_transport_flow_alive(s->ua->transport, t->path.flow)))
		found[0] = t->path;
	else if (sh_uri_parse(&uri, hop) < 0)
		n = -EINVAL;
	else
		n = sh_transport_locate(s->ua->transport, &uri, t->endpoint, found, on_located, b, &b->locate);
	if (n != 0)
		send_branch(b, found, n > 0 ? (unsigned)n : 0);
}

/* ------------------------------------------------------------------ groups */

static uint64_t longest(const struct sh_sending *s)
{
	return s->plan.timeout ? s->plan.timeout : 64 * s->ua->config.txn.t1;
}

static void advance(struct sh_sending *s)
{
	if (s->starting)
		return;
	s->starting = true;
	for (;;) {
		bool busy = false, fresh = false;
		unsigned next = UINT32_MAX;

		for (unsigned i = 0; i < s->count; i++) {
			if (!s->branches[i].started && s->branches[i].target->group == s->group) {
				fresh = true;
				start_target(&s->branches[i]);
			}
		}
		for (unsigned i = 0; i < s->count; i++) {
			const struct branch *b = &s->branches[i];

			if (b->started && !b->finished)
				busy = true;
			if (!b->started && b->target->group < next)
				next = b->target->group;
		}
		if (busy && fresh)
			sh_env_timer(s->ua->env, &s->timer, longest(s));
		if (busy)
			break;
		if (next == UINT32_MAX) {
			s->starting = false;
			finish(s, s->best_code, s->best_cause, s->best);
			return;
		}
		s->group = next;
	}
	s->starting = false;
}

static void on_timer(struct sh_timer *t)
{
	struct sh_sending *s = SH_CONTAINER(t, struct sh_sending, timer);

	for (unsigned i = 0; i < s->count; i++) {
		struct branch *b = &s->branches[i];

		if (!b->started || b->finished)
			continue;
		if (b->ct)
			sh_client_txn_detach(b->ct);
		b->ct = NULL;
		sh_wheel_cancel(&s->ua->env->wheel, &b->timer);
		sh_locate_cancel(b->locate);
		b->locate = NULL;
		branch_failed(b, 408, SH_NO_ANSWER, NULL);
	}
	advance(s);
}

static int copy_own(struct sh_sending *s, const struct sh_own_request *own)
{
	struct sh_own_request *o = &s->own;
	struct sh_slice *texts[] = {&o->method, &o->from,         &o->to,   &o->headers,
				    &o->content_type, &o->body, &o->call_id, &o->contact_user};

	*o = *own;
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i]->len && sh_arena_dup(&s->plan.arena, *texts[i], texts[i]) < 0)
			return -ENOMEM;
	o->auth = sh_client_auth_ref(o->auth);
	return 0;
}

static int start(struct sh_ua *ua, struct sh_sending **out, struct sh_request *q, const struct sh_own_request *own,
		 struct sh_fork_plan *plan, sh_request_fn done, void *ctx)
{
	struct sh_sending *s = plan->count ? sh_calloc(1, sizeof(*s)) : NULL;

	if (s)
		s->branches = sh_arena_calloc(&plan->arena, plan->count, sizeof(*s->branches));
	if (!s || !s->branches) {
		int err = plan->count ? -ENOMEM : -ENOENT;

		sh_arena_finish(&plan->arena);
		sh_free(s);
		return err;
	}
	s->ua = ua;
	s->rq = q;
	s->plan = *plan;
	sh_arena_init(&plan->arena, 256); /* moved */
	if (own && copy_own(s, own) < 0) {
		sh_arena_finish(&s->plan.arena);
		sh_free(s);
		return -ENOMEM;
	}
	s->count = s->plan.count;
	s->best_rank = UINT32_MAX;
	s->done = done;
	s->ctx = ctx;
	for (unsigned i = 0; i < s->count; i++) {
		s->branches[i].sending = s;
		sh_timer_init(&s->branches[i].timer, on_branch_timer);
		s->branches[i].target = &s->plan.targets[i];
	}
	s->group = s->plan.targets[0].group;
	sh_timer_init(&s->timer, on_timer);
	sh_list_append(&ua->live_sendings, &s->link);
	/* in the next turn of the clock: done is never called from inside this function */
	bool failed_at_once = true;
	for (unsigned i = 0; i < s->count; i++)
		if (s->plan.targets[i].group == s->group)
			start_target(&s->branches[i]);
	for (unsigned i = 0; i < s->count; i++)
		if (s->branches[i].started && !s->branches[i].finished)
			failed_at_once = false;
	sh_env_timer(ua->env, &s->timer, failed_at_once ? 0 : longest(s));
	*out = s;
	return 0;
}

int sh_request_relay(struct sh_request *q, struct sh_fork_plan *plan, sh_request_fn done, void *ctx)
{
	if (q->sending) {
		sh_arena_finish(&plan->arena);
		return -EBUSY;
	}
	return start(q->ua, &q->sending, q, NULL, plan, done, ctx);
}

int sh_ua_request_out(struct sh_ua *ua, struct sh_sending **out, const struct sh_own_request *own, struct sh_fork_plan *plan,
		      sh_request_fn done, void *ctx)
{
	return start(ua, out, NULL, own, plan, done, ctx);
}
