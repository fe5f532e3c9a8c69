/* Client transactions: the two machines, and what happens to the paths that they take. */
#include "txn/txn_impl.h"

static struct sh_client_txn *find_client(const struct sh_txn_layer *l, struct sh_slice branch, unsigned method)
{
	if (branch.len != SH_TXN_BRANCH_LEN)
		return NULL;
	for (struct sh_hash_node *n = sh_hash_find(&l->clients, sh_hash_slice(&l->env->key, branch)); n;
	     n = sh_hash_next(n)) {
		struct sh_client_txn *ct = SH_CONTAINER(n, struct sh_client_txn, node);

		if (ct->method == method && memcmp(ct->branch, branch.base, SH_TXN_BRANCH_LEN) == 0)
			return ct;
	}
	return NULL;
}

static bool reliable(const struct sh_client_txn *ct)
{
	return sh_proto_reliable((enum sh_proto)ct->path.proto);
}

static bool waiting(const struct sh_client_txn *ct) /* for a final answer */
{
	return ct->state <= SH_TXN_PROCEEDING;
}

/* --- life ------------------------------------------------------------------------------------- */

static void tell(struct sh_client_txn *ct, enum sh_client_event ev, const struct sh_msg *response)
{
	if (ct->fn)
		ct->fn(ct, ev, response, ct->user);
}

void sh_client_free(struct sh_client_txn *ct)
{
	sh_env_cancel(ct->layer->env, &ct->timer);
	sh_txn_text_free(ct->layer, &ct->text);
	sh_free(ct->cancelled ? (void *)ct->reason : ct->others);
	sh_client_forget_udp(ct);
	sh_pool_free(&ct->layer->env->pool, ct, sizeof(*ct));
}

static void client_end(struct sh_client_txn *ct)
{
	struct sh_txn_layer *l = ct->layer;

	sh_hash_remove(&l->clients, &ct->node);
	sh_client_leave_flow(ct);
	l->stats.client_live--;
	tell(ct, SH_CLIENT_ENDED, NULL);
	sh_client_free(ct);
}

static void client_fail(struct sh_client_txn *ct, enum sh_client_event ev)
{
	if (ct->state == SH_TXN_TRYING) { /* not a word: RFC 3263 4.3 */
		sh_transport_avoid(ct->layer->transport, &ct->path, 0);
		if (sh_client_go_elsewhere(ct))
			return;
	}
	ct->state = SH_TXN_COMPLETED; /* nothing can be cancelled any more */
	tell(ct, ev, NULL);
	client_end(ct);
}

/* A, E and the deadlines. */
static void repeat(struct sh_client_txn *ct)
{
	struct sh_txn_layer *l = ct->layer;
	uint64_t now = l->env->now, interval = 2 * (uint64_t)ct->interval;

	l->stats.retransmissions_out++;
	if (sh_transport_send(l->transport, &ct->path, sh_txn_text_slice(&ct->text), NULL)) {
		client_fail(ct, SH_CLIENT_UNREACHABLE);
		return;
	}
	if (ct->method != SH_INVITE)
		interval = ct->state == SH_TXN_TRYING ? sh_txn_earlier(interval, l->timers.t2) : l->timers.t2;
	ct->interval = (uint32_t)sh_txn_earlier(interval, sh_txn_64t1(l));
	sh_wheel_add(&l->env->wheel, &ct->timer, sh_txn_earlier(now + ct->interval, ct->deadline));
}

void sh_client_on_timer(struct sh_timer *t)
{
	struct sh_client_txn *ct = SH_CONTAINER(t, struct sh_client_txn, timer);

	if (!waiting(ct))
		client_end(ct); /* D, K, M */
	else if (ct->layer->env->now >= ct->deadline)
		client_fail(ct, SH_CLIENT_TIMEOUT);
	else
		repeat(ct);
}

void sh_client_txn_detach(struct sh_client_txn *ct)
{
	struct sh_txn_layer *l = ct->layer;

	ct->fn = NULL;
	/* A ringing INVITE has no timer of its own; without a user it must not wait for ever. */
	if (waiting(ct) && !sh_timer_pending(&ct->timer)) {
		ct->deadline = l->env->now + sh_txn_64t1(l);
		sh_wheel_add(&l->env->wheel, &ct->timer, ct->deadline);
	}
}

struct sh_slice sh_client_txn_branch(const struct sh_client_txn *ct)
{
	return sh_slice_make(ct->branch, SH_TXN_BRANCH_LEN);
}

const struct sh_path *sh_client_txn_path(const struct sh_client_txn *ct)
{
	return &ct->path;
}

/* --- responses -------------------------------------------------------------------------------- */

static void send_ack(struct sh_client_txn *ct)
{
	sh_transport_send(ct->layer->transport, &ct->path, sh_txn_text_slice(&ct->text), NULL);
}

/* ACKs the failure. What is kept of the request from now on is its ACK, and over streams nothing. */
static void enter_completed(struct sh_client_txn *ct, const struct sh_msg *m)
{
	struct sh_txn_layer *l = ct->layer;
	struct sh_slice ack = sh_txn_write_ack(ct, m);

	ct->state = SH_TXN_COMPLETED;
	if (ack.len)
		sh_transport_send(l->transport, &ct->path, ack, NULL);
	if (sh_client_answers_challenge(ct, m, ack))
		return;
	sh_txn_text_free(ct->layer, &ct->text);
	if (!reliable(ct)) {
		sh_txn_text_set(ct->layer, &ct->text, ack);
		sh_txn_linger(l->env, &ct->timer, sh_txn_timer_d(l));
	}
	tell(ct, SH_CLIENT_RESPONSE, m);
	if (reliable(ct)) /* D is zero */
		client_end(ct);
}

static void stray_2xx(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from)
{
	l->stats.strays++;
	if (l->user->stray_2xx)
		l->user->stray_2xx(l->ctx, m, from);
}

/* The ACK that is kept answers that 2xx, and not one of another dialog. */
static bool is_acked_by_text(const struct sh_client_txn *ct, const struct sh_msg *m)
{
	return ct->text.len && ct->ack_cseq == m->cseq &&
	       sh_slice_eq(sh_slice_make(ct->text.base, ct->ack_tag_len), sh_msg_text(m, m->to_tag));
}

enum { LOST_ACKS = 1 }; /* one may have crossed the 2xx, or been lost */

/* The ACK as it was; what it has in common with the 2xx is taken from that. It may be lost anywhere between here and the callee, who may
 * also repeat the 2xx on purpose: so this ACK tries another way, and nothing is said against the one that it had. */
static void send_kept_ack(struct sh_client_txn *ct, const struct sh_msg *m)
{
	struct sh_txn_layer *l = ct->layer;
	struct sh_slice kept = sh_slice_make(ct->text.base + ct->ack_tag_len, ct->text.len - ct->ack_tag_len);
	struct sh_writer w;

	sh_writer_init(&w, l->request, SH_TXN_BUFFER);
	sh_put(&w, sh_slice_make(kept.base, ct->ack_cut));
	sh_put_header(&w, SH_H_FROM, sh_msg_header(m, SH_H_FROM));
	sh_put_header(&w, SH_H_TO, sh_msg_header(m, SH_H_TO));
	sh_put_header(&w, SH_H_CALL_ID, sh_msg_text(m, m->call_id));
	sh_put(&w, sh_slice_make(kept.base + ct->ack_cut, kept.len - ct->ack_cut));
	if (++ct->interval > LOST_ACKS && sh_client_has_others(ct)) {
		ct->path = ct->others->paths[ct->others->at++];
		ct->interval = 0;
	}
	if (!w.full)
		sh_transport_send(l->transport, &ct->path, sh_writer_text(&w), NULL);
}

/* Every 2xx goes to the user: each one may be another dialog. Nobody there: somebody still has to end that call. */
static void accepted(struct sh_client_txn *ct, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_txn_layer *l = ct->layer;

	if (ct->state == SH_TXN_COMPLETED) {
		stray_2xx(l, m, from);
		return;
	}
	if (ct->state != SH_TXN_ACCEPTED) {
		ct->state = SH_TXN_ACCEPTED;
		sh_txn_text_free(ct->layer, &ct->text);
		sh_txn_linger(l->env, &ct->timer, sh_txn_64t1(l)); /* M */
	}
	if (is_acked_by_text(ct, m))
		send_kept_ack(ct, m);
	else if (ct->fn)
		tell(ct, SH_CLIENT_RESPONSE, m);
	else
		stray_2xx(l, m, from);
}

/* The line that begins so, behind the first one; NULL: there is none. */
static const char *line_that_begins(const char *p, const char *end, struct sh_slice with)
{
	while ((p = memchr(p, '\n', (size_t)(end - p))) && (size_t)(end - ++p) >= with.len)
		if (memcmp(p, with.base, with.len) == 0)
			return p;
	return NULL;
}

/* Half of an ACK are lines that the 2xx has too. sh_dialog_put_request() has written them one behind the other. */
void sh_client_txn_keep_ack(struct sh_client_txn *ct, const struct sh_kept_ack *kept)
{
	struct sh_slice ack = kept->text, tag = kept->tag;
	struct sh_txn_layer *l = ct->layer;
	const char *from, *behind;
	struct sh_slice head, rest;
	char *at;

	if (ct->state != SH_TXN_ACCEPTED)
		return;
	sh_client_leave_flow(ct);
	ct->path = kept->path;
	if (!ct->cancelled) {
		sh_free(ct->others);
		ct->others = sh_failover_make(kept->others, kept->other_count);
		ct->interval = 0;
	}
	sh_txn_text_free(l, &ct->text);
	from = ack.len ? line_that_begins(ack.base, ack.base + ack.len, SH_LIT("From: ")) : NULL;
	behind = from ? line_that_begins(from, ack.base + ack.len, SH_LIT("CSeq: ")) : NULL;
	if (!behind || from - ack.base > UINT16_MAX)
		return;
	head = sh_slice_make(ack.base, (size_t)(from - ack.base));
	rest = sh_slice_make(behind, ack.len - (size_t)(behind - ack.base));
	at = sh_pool_alloc(&l->env->pool, tag.len + head.len + rest.len);
	if (!at)
		return; /* the peer waits until it gives up */
	ct->text.base = at;
	ct->text.len = ct->text.cap = (uint32_t)(tag.len + head.len + rest.len);
	ct->ack_cseq = kept->cseq;
	ct->ack_tag_len = (uint16_t)tag.len;
	ct->ack_cut = (uint16_t)head.len;
	if (tag.len)
		memcpy(at, tag.base, tag.len);
	memcpy(at + tag.len, head.base, head.len);
	memcpy(at + tag.len + head.len, rest.base, rest.len);
}

static void ringing(struct sh_client_txn *ct, const struct sh_msg *m)
{
	struct sh_txn_layer *l = ct->layer;

	if (ct->state == SH_TXN_TRYING) {
		ct->state = SH_TXN_PROCEEDING;
		sh_env_cancel(l->env, &ct->timer);
		if (ct->cancelled)
			sh_client_send_cancel(ct, sh_slice_cstr(ct->reason));
		else if (!ct->fn)
			sh_client_txn_detach(ct);
	}
	tell(ct, SH_CLIENT_RESPONSE, m);
}

static void invite_response(struct sh_client_txn *ct, const struct sh_msg *m, const struct sh_path *from)
{
	if (m->status >= 200 && m->status < 300) {
		accepted(ct, m, from);
	} else if (waiting(ct)) {
		if (m->status < 200)
			ringing(ct, m);
		else
			enter_completed(ct, m);
	} else {
		ct->layer->stats.retransmissions_in++;
		if (m->status >= 300 && ct->state == SH_TXN_COMPLETED && ct->text.len)
			send_ack(ct);
	}
}

static void other_response(struct sh_client_txn *ct, const struct sh_msg *m)
{
	struct sh_txn_layer *l = ct->layer;

	if (!waiting(ct)) {
		l->stats.retransmissions_in++;
		return;
	}
	if (m->status < 200) {
		ct->state = SH_TXN_PROCEEDING;
		tell(ct, SH_CLIENT_RESPONSE, m);
		return;
	}
	ct->state = SH_TXN_COMPLETED;
	if (sh_client_answers_challenge(ct, m, SH_LIT("")))
		return;
	sh_txn_text_free(ct->layer, &ct->text);
	if (!reliable(ct))
		sh_txn_linger(l->env, &ct->timer, l->timers.t4); /* K */
	tell(ct, SH_CLIENT_RESPONSE, m);
	if (reliable(ct))
		client_end(ct);
}

/* Whoever is overloaded or answers: the next request may have another address to go to (21.5.4, RFC 3263 4.3). */
static void note_health(struct sh_client_txn *ct, const struct sh_msg *m)
{
	struct sh_slice text = sh_msg_header(m, SH_H_RETRY_AFTER);
	size_t digits = 0;
	uint64_t seconds = 0;

	if (m->status != 503) {
		sh_transport_works(ct->layer->transport, &ct->path);
		return;
	}
	while (digits < text.len && text.base[digits] >= '0' && text.base[digits] <= '9')
		digits++;
	if (sh_slice_u64(sh_slice_make(text.base, digits), 86400, &seconds) < 0)
		seconds = 0;
	sh_transport_avoid(ct->layer->transport, &ct->path, seconds * SH_SECOND);
}

void sh_client_response(struct sh_txn_layer *l, const struct sh_msg *m, const struct sh_path *from)
{
	struct sh_client_txn *ct = find_client(l, sh_msg_text(m, m->via_branch), m->method);

	if (!sh_msg_has_one_via(m)) { /* 8.1.3.3 */
		l->stats.strays++;
		return;
	}
	if (ct && waiting(ct))
		note_health(ct, m);
	if (ct && ct->method == SH_INVITE) {
		invite_response(ct, m, from);
	} else if (ct) {
		other_response(ct, m);
	} else if (m->method == SH_INVITE && m->status >= 200 && m->status < 300) {
		stray_2xx(l, m, from);
	} else {
		l->stats.strays++; /* RFC 6026 8.9: silently */
	}
}

/* --- paths that ended ------------------------------------------------------------------------- */

/* A peer that has answered something may close its connection and send the rest by another one (18.2.2), so only an
 * error is the end then. */
static void lost_flow(struct sh_client_txn *ct, int error)
{
	bool unanswered = ct->state == SH_TXN_TRYING;

	if (!waiting(ct) || (!unanswered && !error))
		return;
	if (!unanswered || !ct->udp_local || sh_client_switch_to_udp(ct))
		client_fail(ct, SH_CLIENT_UNREACHABLE);
	else
		sh_client_arm(ct);
}

void sh_client_flow_closed(struct sh_txn_layer *l, uint64_t flow, int error)
{
	struct sh_hash_node *n;

	while (flow && (n = sh_client_flow_first(l, flow)) != NULL) {
		struct sh_client_txn *ct = SH_CONTAINER(n, struct sh_client_txn, flow_node);

		sh_client_leave_flow(ct);
		lost_flow(ct, error);
	}
}

static void lost_datagram(struct sh_client_txn *ct)
{
	/* An INVITE that rings was heard: what did not arrive is its CANCEL, or the peer died, and the deadlines tell.
	 */
	if (ct && !reliable(ct) && waiting(ct) && (ct->state == SH_TXN_TRYING || ct->method != SH_INVITE))
		client_fail(ct, SH_CLIENT_UNREACHABLE);
}

/* Whose branch it is has sent it there: the peer is gone, and so is a flow over datagrams (RFC 5626 7). */
void sh_client_unreachable(struct sh_txn_layer *l, struct sh_slice branch, int error)
{
	struct sh_hash_node *n;
	struct sh_client_txn *ct = NULL;
	uint64_t peer;

	lost_datagram(find_client(l, branch, SH_CANCEL));
	if (branch.len != SH_TXN_BRANCH_LEN)
		return;
	for (n = sh_hash_find(&l->clients, sh_hash_slice(&l->env->key, branch)); n && !ct; n = sh_hash_next(n)) {
		ct = SH_CONTAINER(n, struct sh_client_txn, node);
		if (memcmp(ct->branch, branch.base, SH_TXN_BRANCH_LEN) != 0 || ct->method == SH_CANCEL)
			ct = NULL;
	}
	if (!ct)
		return;
	peer = sh_peer_flow(&l->env->key, &ct->path.remote);
	lost_datagram(ct);
	if (l->user->flow_closed)
		l->user->flow_closed(l->ctx, peer, error);
}
