/* Which worker a message belongs to (several workers, one address): what we made, a tag or a branch, says whose it is;
 * the first request of a dialog goes by a keyed hash of its Call-ID, so that its retransmissions and its CANCEL meet. One that
 * names another dialog (Replaces, Target-Dialog) goes to that one's worker, and what moved is sent after (forward.c). */
#include <stdatomic.h>

#include "b2bua/impl.h"

static unsigned owner(const struct sh_ua *ua, const struct sh_msg *m)
{
	struct sh_slice tag = m->is_request ? sh_msg_text(m, m->to_tag) : sh_msg_text(m, m->via_branch);
	int worker;

	if (!m->is_request && tag.len > 7) /* behind the cookie z9hG4bK */
		tag = sh_slice_make(tag.base + 7, tag.len - 7);
	worker = tag.len ? sh_tag_worker(tag) : -1;
	if (worker >= 0 && (unsigned)worker < ua->env->workers)
		return (unsigned)worker;
	return (unsigned)(sh_hash_slice(&ua->env->key, sh_msg_text(m, m->call_id)) % ua->env->workers);
}

/* The worker of the dialog that a first request names: Replaces and Join of an INVITE, Target-Dialog of a REFER. -1: none. */
static int named(const struct sh_ua *ua, const struct sh_msg *m)
{
	struct sh_dialog_ids ids;
	enum sh_header_id id;
	int worker;

	if (!m->is_request || m->to_tag.len || (m->method != SH_INVITE && m->method != SH_REFER))
		return -1;
	id = m->method == SH_REFER ? SH_H_TARGET_DIALOG : m->first[SH_H_REPLACES] ? SH_H_REPLACES : SH_H_JOIN;
	if (!m->first[id] || sh_dialog_ids_of(&ids, m, id) < 0)
		return -1;
	worker = sh_tag_worker(ids.to_tag);
	if (worker < 0)
		worker = sh_tag_worker(ids.from_tag);
	return worker < (int)ua->env->workers ? worker : -1;
}

/* For whom it was sent after: a CANCEL by the Call-ID of its INVITE, a request in a dialog that moved, or that names one. */
static int forwarded(const struct sh_ua *ua, const struct sh_msg *m)
{
	struct sh_dialog_ids ids;

	if (!ua->forwards.count || !m->is_request)
		return -1;
	if (m->to_tag.len)
		return sh_forward_find(ua, SH_FORWARD_TAG, sh_msg_text(m, m->to_tag));
	if (m->method == SH_CANCEL)
		return sh_forward_find(ua, SH_FORWARD_CALL_ID, sh_msg_text(m, m->call_id));
	if (m->method == SH_INVITE && sh_dialog_ids_of(&ids, m, SH_H_REPLACES) == 0)
		return sh_forward_find(ua, SH_FORWARD_TAG, ids.to_tag);
	return -1;
}

/* A message on its way to another worker. */
struct moved {
	struct sh_ua *const *peers;
	struct sh_msg *msg;
	struct sh_path from;
	unsigned hops; /* times that it was sent after */
	int code;
	const char *why; /* static text */
	char *names;     /* whom the peer of its connection has proven to be; NULL: nothing */
};

static char *copy_names(const char *names)
{
	size_t size = sh_transport_names_size(names);
	char *copy = sh_malloc(size);

	return copy ? memcpy(copy, names, size) : NULL;
}

static void drop(struct moved *m)
{
	sh_free(m->msg);
	sh_free(m->names);
	sh_free(m);
}

static void deliver(struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from, unsigned hops, int code, const char *why);

static void arrive(struct sh_env *env, void *arg)
{
	struct moved *m = arg;
	struct sh_ua *ua = m->peers[env->worker];

	if (m->names)
		sh_transport_learn_names(ua->transport, m->from.flow, m->names); /* without memory: not told who it is */
	deliver(ua, m->msg, &m->from, m->hops, m->code, m->why);
	drop(m);
}

static void pass(struct sh_ua *ua, unsigned to, const struct sh_msg *m, const struct sh_path *from, unsigned hops, int code,
		 const char *why)
{
	bool secure = from->proto == SH_PROTO_TLS || from->proto == SH_PROTO_WSS;
	const char *names = secure ? sh_transport_flow_names(ua->transport, from->flow) : NULL;
	struct moved *moved = sh_malloc(sizeof(*moved));

	if (!moved)
		return; /* as if the network had lost it */
	*moved = (struct moved){ua->config.peers, sh_msg_clone(m), *from, hops, code, why, NULL};
	if (names && *names)
		moved->names = copy_names(names);
	if (moved->msg && ua->env->driver->post(ua->env, to, arrive, moved) == 0) {
		ua->stats.handed_over++;
		return;
	}
	drop(moved);
}

/* Of a note about an INVITE. */
static uint64_t lifetime(const struct sh_ua *ua)
{
	return ua->config.timer_c + 64 * ua->config.txn.t1;
}

/* What moves on and on is on each worker once: who is sent further than that is in a circle, and stays. */
static void deliver(struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from, unsigned hops, int code, const char *why)
{
	int after = hops < ua->env->workers ? forwarded(ua, m) : -1;

	if (after >= 0 && (unsigned)after != ua->env->worker) {
		if (m->method == SH_INVITE && !m->to_tag.len) /* to a leg that has moved: its CANCEL comes here, too */
			sh_forward_add(ua, SH_FORWARD_CALL_ID, sh_msg_text(m, m->call_id), (unsigned)after, lifetime(ua));
		pass(ua, (unsigned)after, m, from, hops + 1, code, why);
	}
	else
		sh_txn_transport_user.message(ua->txn, m, from, code, why);
}

/* An INVITE that was taken elsewhere: its CANCEL goes by its Call-ID to this worker, and has to be sent after it. */
struct note {
	struct sh_ua *const *peers;
	unsigned worker;
	size_t len;
	char call_id[];
};

static void on_note(struct sh_env *env, void *arg)
{
	struct note *n = arg;
	struct sh_ua *ua = n->peers[env->worker];

	sh_forward_add(ua, SH_FORWARD_CALL_ID, sh_slice_make(n->call_id, n->len), n->worker, lifetime(ua));
	sh_free(n);
}

static void note(struct sh_ua *ua, unsigned at, struct sh_slice call_id, unsigned worker)
{
	struct note *n;

	if (at == ua->env->worker) {
		sh_forward_add(ua, SH_FORWARD_CALL_ID, call_id, worker, lifetime(ua));
		return;
	}
	n = sh_malloc(sizeof(*n) + call_id.len);
	if (!n)
		return;
	*n = (struct note){ua->config.peers, worker, call_id.len};
	memcpy(n->call_id, call_id.base, call_id.len);
	if (ua->env->driver->post(ua->env, at, on_note, n) < 0)
		sh_free(n);
}

/* Which process made what the message is about: its To tag, its branch, the dialog that it names; -1: none did. */
static int epoch_of(const struct sh_msg *m)
{
	struct sh_dialog_ids ids;
	int epoch;

	if (!m->is_request)
		return sh_tag_epoch(sh_msg_text(m, m->via_branch));
	if (m->to_tag.len)
		return sh_tag_epoch(sh_msg_text(m, m->to_tag));
	if (m->method != SH_INVITE && m->method != SH_REFER)
		return -1;
	if (sh_dialog_ids_of(&ids, m, m->method == SH_REFER ? SH_H_TARGET_DIALOG : m->first[SH_H_REPLACES] ? SH_H_REPLACES : SH_H_JOIN) < 0)
		return -1;
	epoch = sh_tag_epoch(ids.to_tag);
	return epoch >= 0 ? epoch : sh_tag_epoch(ids.from_tag);
}

static bool goes_abroad(struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from)
{
	const struct sh_ua_abroad *a = ua->abroad;
	bool fresh = m->is_request && !m->to_tag.len;

	return a->message(a->ctx, m, from, epoch_of(m), fresh ? sh_txn_request_key(ua->txn, m) : 0);
}

static void on_message(void *ctx, const struct sh_msg *m, const struct sh_path *from, int code, const char *why)
{
	struct sh_ua *ua = ctx;
	unsigned to;
	int other;

	if (sh_ua_has_peers(ua) && goes_abroad(ua, m, from))
		return;
	to = owner(ua, m);
	other = named(ua, m);

	if (other >= 0) {
		if (m->method == SH_INVITE && (unsigned)other != to)
			note(ua, to, sh_msg_text(m, m->call_id), (unsigned)other);
		to = (unsigned)other;
	}
	if (to == ua->env->worker)
		deliver(ua, m, from, 0, code, why);
	else
		pass(ua, to, m, from, 0, code, why);
}

static void on_flow_closed(void *ctx, uint64_t flow, int error)
{
	struct sh_ua *ua = ctx;

	sh_txn_transport_user.flow_closed(ua->txn, flow, error);
}

/* An ICMP error comes to the worker whose socket it is about, the transaction may be another's. */
struct news {
	struct sh_ua *const *peers;
	struct sh_addr remote;
	int error;
	size_t len;
	char branch[];
};

static void arrive_news(struct sh_env *env, void *arg)
{
	struct news *n = arg;

	sh_txn_transport_user.unreachable(n->peers[env->worker]->txn, &n->remote, sh_slice_make(n->branch, n->len), n->error);
	sh_free(n);
}

static void on_unreachable(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error)
{
	struct sh_ua *ua = ctx;
	int to = branch.len > 7 ? sh_tag_worker(sh_slice_make(branch.base + 7, branch.len - 7)) : -1;
	int epoch = sh_ua_has_peers(ua) ? sh_tag_epoch(branch) : -1;
	struct news *n;

	if (epoch > 0 && epoch != (int)ua->env->epoch) {
		ua->abroad->unreachable(ua->abroad->ctx, remote, branch, error, (unsigned)epoch);
		return;
	}
	if (to < 0 || (unsigned)to >= ua->env->workers || (unsigned)to == ua->env->worker) {
		sh_txn_transport_user.unreachable(ua->txn, remote, branch, error);
		return;
	}
	n = sh_malloc(sizeof(*n) + branch.len);
	if (!n)
		return; /* its timers tell later */
	*n = (struct news){ua->config.peers, *remote, error, branch.len};
	memcpy(n->branch, branch.base, branch.len);
	if (ua->env->driver->post(ua->env, (unsigned)to, arrive_news, n) < 0)
		sh_free(n);
}

static void on_turn_end(void *ctx)
{
	struct sh_ua *ua = ctx;

	sh_txn_transport_user.turn_end(ua->txn);
}

const struct sh_transport_user sh_ua_router = {on_message, on_flow_closed, on_unreachable, on_turn_end};
