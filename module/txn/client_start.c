/* Client transactions: how they begin, and by which way. */
#include "txn/txn_impl.h"

/* --- the table of streams --------------------------------------------------------------------- */

/* A bijection, so that equal hashes are equal flows; the low bits of a flow's number alone would be no hash. */
static uint64_t flow_hash(uint64_t flow)
{
	flow = (flow ^ flow >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	return flow ^ flow >> 32;
}

struct sh_hash_node *sh_client_flow_first(const struct sh_txn_layer *l, uint64_t flow)
{
	return sh_hash_find(&l->flows, flow_hash(flow));
}

static void enter_flow(struct sh_client_txn *ct, uint64_t flow)
{
	ct->path.flow = flow;
	if (!flow)
		return;
	sh_hash_insert(&ct->layer->flows, &ct->flow_node, flow_hash(flow));
	ct->in_flows = true;
}

void sh_client_leave_flow(struct sh_client_txn *ct)
{
	if (ct->in_flows)
		sh_hash_remove(&ct->layer->flows, &ct->flow_node);
	ct->in_flows = false;
	ct->path.flow = 0;
}

/* --- paths ------------------------------------------------------------------------------------ */

static bool reliable(const struct sh_client_txn *ct)
{
	return sh_proto_reliable((enum sh_proto)ct->path.proto);
}

/* A TCP endpoint for what is too large for a datagram (18.1.1), of the same address if there is one. */
static bool find_tcp(const struct sh_txn_layer *l, const struct sh_path *udp, uint8_t *endpoint)
{
	unsigned n = sh_transport_endpoints(l->transport);
	const struct sh_endpoint *ours = sh_transport_endpoint(l->transport, udp->endpoint);
	bool found = false;

	for (unsigned i = 0; i < n; i++) {
		const struct sh_endpoint *e = sh_transport_endpoint(l->transport, i);

		if (e->proto != SH_PROTO_TCP || e->retired || e->local.family != udp->remote.family)
			continue;
		if (!found || (ours && sh_addr_same_host(&e->local, &ours->local)))
			*endpoint = (uint8_t)i;
		found = true;
	}
	return found;
}

static void go_by_tcp(struct sh_client_txn *ct)
{
	uint8_t endpoint = 0;

	if (!find_tcp(ct->layer, &ct->path, &endpoint))
		return;
	ct->udp_local = sh_pool_alloc(&ct->layer->env->pool, sizeof(*ct->udp_local));
	if (ct->udp_local) { /* without memory there is no second way */
		*ct->udp_local = ct->path.local;
		ct->udp_endpoint = ct->path.endpoint;
	}
	ct->path.proto = SH_PROTO_TCP;
	ct->path.endpoint = endpoint;
	ct->path.flow = 0;
	ct->path.local = (struct sh_addr){0};
}

void sh_client_forget_udp(struct sh_client_txn *ct)
{
	sh_pool_free(&ct->layer->env->pool, ct->udp_local, sizeof(*ct->udp_local));
	ct->udp_local = NULL;
}

static void go_by_udp(struct sh_client_txn *ct)
{
	sh_client_leave_flow(ct);
	ct->path.proto = SH_PROTO_UDP;
	ct->path.endpoint = ct->udp_endpoint;
	ct->path.local = *ct->udp_local;
	sh_client_forget_udp(ct);
}

/* --- texts ------------------------------------------------------------------------------------ */

/* Line, Via and rest: in a block of its own where it may be needed again, else in the layer's buffer. */
static int compose(struct sh_client_txn *ct, struct sh_slice line, struct sh_slice rest, struct sh_slice *out)
{
	struct sh_txn_layer *l = ct->layer;
	struct sh_txn_sent_by by;
	struct sh_txn_text block = {NULL, 0, 0};
	struct sh_writer w;
	size_t room;

	sh_txn_sent_by(&by, l, &ct->path);
	room = line.len + rest.len + by.host.len + SH_TXN_VIA_ROOM;
	if (room > SH_TXN_BUFFER)
		return -EMSGSIZE;
	if (!reliable(ct) || ct->method == SH_INVITE || ct->udp_local || ct->challenged || sh_client_has_others(ct)) {
		block.base = sh_pool_alloc(&l->env->pool, room);
		if (!block.base)
			return -ENOMEM;
		block.cap = (uint32_t)room;
	}
	sh_writer_init(&w, block.base ? block.base : l->request, room);
	sh_put(&w, line);
	sh_txn_put_via(&w, (enum sh_proto)ct->path.proto, &by, sh_slice_make(ct->branch, SH_TXN_BRANCH_LEN));
	ct->line_len = (uint32_t)line.len;
	ct->via_len = (uint32_t)(w.len - line.len);
	sh_put(&w, rest);
	block.len = block.base ? (uint32_t)w.len : 0;
	sh_txn_text_free(ct->layer, &ct->text); /* line and rest may have been in there */
	ct->text = block;
	*out = sh_writer_text(&w);
	return 0;
}

/* Composes and sends; by UDP when TCP, taken for the size, cannot even begin. */
static int compose_and_send(struct sh_client_txn *ct, struct sh_slice line, struct sh_slice rest)
{
	struct sh_slice text;
	uint64_t flow = 0;
	int err = compose(ct, line, rest, &text);

	if (err)
		return err;
	err = sh_transport_send(ct->layer->transport, &ct->path, text, &flow);
	if (err && ct->udp_local)
		return sh_client_switch_to_udp(ct);
	if (!err && reliable(ct))
		enter_flow(ct, flow);
	return err;
}

int sh_client_switch_to_udp(struct sh_client_txn *ct)
{
	struct sh_slice text = sh_txn_text_slice(&ct->text);
	size_t behind = ct->line_len + ct->via_len;

	go_by_udp(ct);
	return compose_and_send(ct, sh_slice_make(text.base, ct->line_len),
				sh_slice_make(text.base + behind, text.len - behind));
}

/* --- beginnings ------------------------------------------------------------------------------- */

void sh_client_arm(struct sh_client_txn *ct)
{
	struct sh_txn_layer *l = ct->layer;
	uint64_t now = l->env->now;

	ct->deadline = now + sh_txn_64t1(l);
	ct->interval = (uint32_t)l->timers.t1;
	sh_wheel_add(&l->env->wheel, &ct->timer,
		     reliable(ct) ? ct->deadline : sh_txn_earlier(now + ct->interval, ct->deadline));
}

static struct sh_client_txn *allocate(struct sh_txn_layer *l, enum sh_method method, const struct sh_path *path)
{
	struct sh_client_txn *ct = sh_pool_calloc(&l->env->pool, sizeof(*ct));

	if (!ct)
		return NULL;
	ct->layer = l;
	ct->method = (uint8_t)method;
	ct->path = *path;
	sh_timer_init(&ct->timer, sh_client_on_timer);
	return ct;
}

static void enter(struct sh_client_txn *ct)
{
	struct sh_txn_layer *l = ct->layer;

	sh_hash_insert(&l->clients, &ct->node,
		       sh_hash_slice(&l->env->key, sh_slice_make(ct->branch, SH_TXN_BRANCH_LEN)));
	l->stats.client_created++;
	l->stats.client_live++;
	sh_client_arm(ct);
}

struct sh_failover *sh_failover_make(const struct sh_path *paths, unsigned count)
{
	size_t size = count * sizeof(*paths);
	struct sh_failover *f = count ? sh_malloc(sizeof(*f) + size) : NULL;

	if (!f)
		return NULL;
	*f = (struct sh_failover){.count = count};
	memcpy(f->paths, paths, size);
	return f;
}

int sh_client_txn_start(struct sh_client_txn **out, struct sh_txn_layer *l, const struct sh_client_request *r,
			sh_client_fn fn, void *user)
{
	struct sh_client_txn *ct;
	int err;

	if (r->method == SH_ACK || r->method == SH_CANCEL)
		return -EINVAL;
	ct = allocate(l, r->method, &r->path);
	if (!ct)
		return -ENOMEM;
	ct->fn = fn;
	ct->user = user;
	ct->challenged = r->challenged;
	ct->challenged_ctx = r->challenged_ctx;
	ct->others = sh_failover_make(r->others, r->other_count);
	sh_txn_branch_make(l->env, ct->branch);
	if (!reliable(ct) && r->line.len + r->rest.len + SH_TXN_VIA_ROOM > SH_TXN_DATAGRAM_MAX)
		go_by_tcp(ct);
	err = compose_and_send(ct, r->line, r->rest);
	if (err) {
		sh_client_free(ct);
		return err;
	}
	enter(ct);
	*out = ct;
	return 0;
}

int sh_client_start_beside(struct sh_client_txn *invite, enum sh_method method, struct sh_slice text)
{
	struct sh_txn_layer *l = invite->layer;
	struct sh_client_txn *ct = allocate(l, method, &invite->path);
	uint64_t flow = 0;
	int err = ct ? 0 : -ENOMEM;

	if (ct) {
		memcpy(ct->branch, invite->branch, SH_TXN_BRANCH_LEN);
		if (!reliable(ct))
			err = sh_txn_text_set(ct->layer, &ct->text, text);
	}
	if (!err)
		err = sh_transport_send(l->transport, &invite->path, text, &flow);
	if (err) {
		if (ct)
			sh_client_free(ct);
		return err;
	}
	if (reliable(ct))
		enter_flow(ct, flow);
	enter(ct);
	return 0;
}

/* --- once more with credentials --------------------------------------------------------------- */

void sh_client_txn_text(const struct sh_client_txn *ct, struct sh_slice *line, struct sh_slice *rest)
{
	struct sh_slice text = sh_txn_text_slice(&ct->text);
	size_t behind = ct->line_len + ct->via_len;

	*line = sh_slice_make(text.base, text.len ? ct->line_len : 0);
	*rest = text.len ? sh_slice_make(text.base + behind, text.len - behind) : (struct sh_slice){0};
}

static uint64_t branch_hash(const struct sh_client_txn *ct)
{
	return sh_hash_slice(&ct->layer->env->key, sh_slice_make(ct->branch, SH_TXN_BRANCH_LEN));
}

int sh_client_txn_again(struct sh_client_txn *ct, struct sh_slice line, struct sh_slice rest)
{
	struct sh_txn_layer *l = ct->layer;
	uint64_t flow = ct->path.flow;
	char former[SH_TXN_BRANCH_LEN];
	int err;

	memcpy(former, ct->branch, sizeof(former));
	sh_hash_remove(&l->clients, &ct->node);
	sh_client_leave_flow(ct);
	ct->path.flow = flow; /* the connection that has brought the challenge */
	sh_txn_branch_make(l->env, ct->branch);
	if (!reliable(ct) && line.len + rest.len + SH_TXN_VIA_ROOM > SH_TXN_DATAGRAM_MAX)
		go_by_tcp(ct);
	err = compose_and_send(ct, line, rest);
	if (err)
		memcpy(ct->branch, former, sizeof(former));
	else
		ct->state = SH_TXN_TRYING;
	sh_hash_insert(&l->clients, &ct->node, branch_hash(ct));
	if (!err)
		sh_client_arm(ct);
	return err;
}

bool sh_client_go_elsewhere(struct sh_client_txn *ct)
{
	struct sh_txn_layer *l = ct->layer;
	struct sh_slice line, rest;
	int err = -EPIPE;

	while (err && ct->fn && !ct->cancelled && ct->text.len && sh_client_has_others(ct)) {
		sh_client_txn_text(ct, &line, &rest);
		sh_hash_remove(&l->clients, &ct->node);
		sh_client_leave_flow(ct);
		sh_client_forget_udp(ct);
		ct->path = ct->others->paths[ct->others->at++];
		sh_txn_branch_make(l->env, ct->branch);
		if (!reliable(ct) && line.len + rest.len + SH_TXN_VIA_ROOM > SH_TXN_DATAGRAM_MAX)
			go_by_tcp(ct);
		err = compose_and_send(ct, line, rest);
		sh_hash_insert(&l->clients, &ct->node, branch_hash(ct));
	}
	if (!err)
		sh_client_arm(ct);
	return !err;
}

/* The failure that was ACKed may come again: something has to go on with the old branch. Without memory for it the
 * repetitions are strays, and the server gives up by itself. */
static void leave_behind(struct sh_client_txn *ct, const char branch[SH_TXN_BRANCH_LEN], const struct sh_path *path,
			 struct sh_txn_text *ack)
{
	struct sh_txn_layer *l = ct->layer;
	struct sh_client_txn *old = allocate(l, SH_INVITE, path);

	if (!old)
		return;
	memcpy(old->branch, branch, SH_TXN_BRANCH_LEN);
	old->text = *ack;
	*ack = (struct sh_txn_text){NULL, 0, 0};
	old->state = SH_TXN_COMPLETED;
	sh_hash_insert(&l->clients, &old->node, branch_hash(old));
	l->stats.client_created++;
	l->stats.client_live++;
	sh_txn_linger(l->env, &old->timer, sh_txn_timer_d(l));
}

bool sh_client_answers_challenge(struct sh_client_txn *ct, const struct sh_msg *m, struct sh_slice ack)
{
	struct sh_txn_text kept = {NULL, 0, 0};
	char branch[SH_TXN_BRANCH_LEN];
	struct sh_path path;
	bool done;

	if ((m->status != 401 && m->status != 407) || !ct->challenged || !ct->fn || ct->cancelled || !ct->text.len)
		return false;
	path = ct->path;
	memcpy(branch, ct->branch, sizeof(branch));
	if (ack.len && !reliable(ct))
		sh_txn_text_set(ct->layer, &kept, ack);
	done = ct->challenged(ct, m, &ct->seen, ct->challenged_ctx);
	if (done && kept.len)
		leave_behind(ct, branch, &path, &kept);
	sh_txn_text_free(ct->layer, &kept);
	return done;
}
