/* Which worker a message belongs to (several workers, one address): what we made, a tag or a branch, says whose it is;
 * the first request of a dialog goes by a keyed hash of its Call-ID, so that its retransmissions and its CANCEL meet. */
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

/* A message on its way to another worker. */
struct moved {
	struct sh_ua *const *peers;
	struct sh_msg *msg;
	struct sh_path from;
	int code;
	const char *why; /* static text */
};

static void arrive(struct sh_env *env, void *arg)
{
	struct moved *m = arg;
	struct sh_ua *ua = m->peers[env->worker];

	sh_txn_transport_user.message(ua->txn, m->msg, &m->from, m->code, m->why);
	sh_free(m->msg);
	sh_free(m);
}

static void on_message(void *ctx, const struct sh_msg *m, const struct sh_path *from, int code, const char *why)
{
	struct sh_ua *ua = ctx;
	unsigned to = owner(ua, m);
	struct moved *moved;

	if (to == ua->env->worker) {
		sh_txn_transport_user.message(ua->txn, m, from, code, why);
		return;
	}
	moved = sh_malloc(sizeof(*moved));
	if (!moved)
		return; /* as if the network had lost it */
	*moved = (struct moved){ua->config.peers, sh_msg_clone(m), *from, code, why};
	if (moved->msg && ua->env->driver->post(ua->env, to, arrive, moved) == 0)
		return;
	sh_free(moved->msg);
	sh_free(moved);
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
	struct news *n;

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
