/* The layer itself: its life, and where arriving messages go. */
#include "txn/txn_impl.h"

static int init_tables(struct sh_txn_layer *l)
{
	struct sh_hash *tables[] = {&l->servers, &l->merges, &l->clients, &l->flows};

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		int err = sh_hash_init(tables[i], 0);

		if (err)
			return err;
	}
	return 0;
}

static void finish_tables(struct sh_txn_layer *l)
{
	sh_hash_finish(&l->servers);
	sh_hash_finish(&l->merges);
	sh_hash_finish(&l->clients);
	sh_hash_finish(&l->flows);
}

int sh_txn_layer_create(struct sh_txn_layer **out, struct sh_env *env, const struct sh_txn_timers *timers,
			const struct sh_txn_user *user, void *user_ctx)
{
	struct sh_txn_layer *l = sh_malloc(sizeof(*l));
	int err;

	if (!l)
		return -ENOMEM;
	memset(l, 0, offsetof(struct sh_txn_layer, answer));
	l->env = env;
	l->user = user;
	l->ctx = user_ctx;
	l->timers = timers ? *timers : sh_txn_timers_default;
	err = init_tables(l);
	if (err) {
		finish_tables(l);
		sh_free(l);
		return err;
	}
	*out = l;
	return 0;
}

void sh_txn_layer_attach(struct sh_txn_layer *l, struct sh_transport *t)
{
	l->transport = t;
}

static void free_server(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	sh_server_free(SH_CONTAINER(n, struct sh_server_txn, node));
}

static void free_client(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	sh_client_free(SH_CONTAINER(n, struct sh_client_txn, node));
}

void sh_txn_layer_destroy(struct sh_txn_layer *l)
{
	if (!l)
		return;
	sh_hash_each(&l->servers, free_server, NULL);
	sh_hash_each(&l->clients, free_client, NULL);
	finish_tables(l);
	sh_free(l);
}

struct sh_transport *sh_txn_layer_transport(const struct sh_txn_layer *l)
{
	return l->transport;
}

const struct sh_txn_stats *sh_txn_layer_stats(const struct sh_txn_layer *l)
{
	return &l->stats;
}

struct sh_env *sh_txn_layer_env(const struct sh_txn_layer *l)
{
	return l->env;
}

static void on_message(void *ctx, const struct sh_msg *m, const struct sh_path *from, int code, const char *why)
{
	struct sh_txn_layer *l = ctx;

	if (code < 0)
		return;
	if (!m->is_request) {
		sh_client_response(l, m, from);
		return;
	}
	if (code) {
		sh_txn_reply_stateless(l, m, from, (unsigned)code, sh_slice_cstr(why), SH_LIT(""));
		return;
	}
	switch (m->method) {
	case SH_ACK:
		sh_server_ack(l, m, from);
		break;
	case SH_CANCEL:
		sh_server_cancel(l, m, from);
		break;
	default:
		sh_server_request(l, m, from);
		break;
	}
}

static void on_flow_closed(void *ctx, uint64_t flow, int error)
{
	struct sh_txn_layer *l = ctx;

	sh_client_flow_closed(l, flow, error);
	if (l->user->flow_closed)
		l->user->flow_closed(l->ctx, flow, error);
}

/* The branch of an answer of ours is the peer's and matches nothing here: H or L will end that transaction. */
static void on_unreachable(void *ctx, const struct sh_addr *remote, struct sh_slice branch, int error)
{
	(void)remote;
	sh_client_unreachable(ctx, branch, error);
}

static void on_turn_end(void *ctx)
{
	struct sh_txn_layer *l = ctx;

	if (l->user->turn_end)
		l->user->turn_end(l->ctx);
}

const struct sh_transport_user sh_txn_transport_user = {
    .message = on_message,
    .flow_closed = on_flow_closed,
    .unreachable = on_unreachable,
    .turn_end = on_turn_end,
};
