/* Connections of other workers, and of other processes (which somebody else reaches): octets for them are posted there. When one is gone by then, the sender's worker is told
 * as if the connection had ended just now. The driver bounds how many posts are under way. */
#include "transport/impl.h"

enum relay_what { RELAY_SEND, RELAY_CLOSE, RELAY_GONE, RELAY_EXPECT };

struct relay {
	enum relay_what what;
	unsigned from; /* worker */
	uint64_t flow, quiet, lifetime;
	size_t len;
	char text[];
};

static void arrive(struct sh_env *env, void *arg);

/* 0, -ENOMEM, -EAGAIN, -EINVAL. */
static int post(struct sh_transport *t, unsigned worker, const struct relay *head, struct sh_slice text)
{
	struct relay *r = sh_malloc(sizeof(*r) + text.len);
	int err;

	if (!r)
		return -ENOMEM;
	*r = *head;
	r->from = t->env->worker;
	r->len = text.len;
	if (text.len > 0)
		memcpy(r->text, text.base, text.len);
	err = t->env->driver->post(t->env, worker, arrive, r);
	if (err)
		sh_free(r);
	return err;
}

/* No address to fall back on: who sends here means this connection. */
static void send_here(struct sh_transport *t, const struct relay *r)
{
	struct sh_flow *f = sh_flow_by_id(t, r->flow);

	if (f && sh_stream_send(f, sh_slice_make(r->text, r->len)) == 0)
		return;
	/* A full ring there loses the news; the sender's transaction then ends by its timer. */
	post(t, r->from, &(struct relay){.what = RELAY_GONE, .flow = r->flow}, SH_LIT(""));
}

static void expect_here(struct sh_transport *t, const struct relay *r)
{
	if (sh_flow_worker(r->flow) == SH_FLOW_DATAGRAM)
		sh_beat_expect(t, r->flow, r->quiet, r->lifetime);
	else
		sh_flow_expect(t, r->flow, r->quiet);
}

static void arrive(struct sh_env *env, void *arg)
{
	struct sh_transport *t = env->events_ctx; /* NULL: destroyed meanwhile */
	struct relay *r = arg;

	if (t && r->what == RELAY_SEND)
		send_here(t, r);
	else if (t && r->what == RELAY_CLOSE)
		sh_transport_flow_close(t, r->flow);
	else if (t && r->what == RELAY_EXPECT)
		expect_here(t, r);
	else if (t)
		t->user.flow_closed(t->user_ctx, r->flow, -EPIPE);
	sh_free(r);
}

int sh_relay_send(struct sh_transport *t, const struct sh_path *path, struct sh_slice text)
{
	int err;

	if (sh_flow_worker(path->flow) >= SH_FLOW_ABROAD)
		return t->abroad ? t->abroad->send(t->abroad->ctx, path->flow, text) : -EPIPE;
	err = post(t, sh_flow_worker(path->flow), &(struct relay){.what = RELAY_SEND, .flow = path->flow}, text);

	return err == -EAGAIN ? -ENOBUFS : err == -EINVAL ? -EPIPE : err;
}

void sh_relay_close(struct sh_transport *t, uint64_t flow)
{
	if (sh_flow_worker(flow) < SH_FLOW_ABROAD)
		post(t, sh_flow_worker(flow), &(struct relay){.what = RELAY_CLOSE, .flow = flow}, SH_LIT(""));
	else if (t->abroad)
		t->abroad->close(t->abroad->ctx, flow);
}

void sh_relay_expect(struct sh_transport *t, unsigned worker, uint64_t flow, uint64_t quiet, uint64_t lifetime)
{
	const struct relay head = {.what = RELAY_EXPECT, .flow = flow, .quiet = quiet, .lifetime = lifetime};

	if (worker < SH_FLOW_ABROAD)
		post(t, worker, &head, SH_LIT(""));
}

void sh_transport_set_abroad(struct sh_transport *t, const struct sh_transport_abroad *a)
{
	t->abroad = a;
}

void sh_transport_flow_gone(struct sh_transport *t, uint64_t flow)
{
	t->user.flow_closed(t->user_ctx, flow, -EPIPE);
}

void sh_transport_arrive(struct sh_transport *t, const struct sh_path *from, struct sh_slice text)
{
	sh_transport_receive(t, from, text.base, text.len);
}

void sh_transport_unreachable(struct sh_transport *t, const struct sh_addr *remote, struct sh_slice branch, int error)
{
	t->user.unreachable(t->user_ctx, remote, branch, error);
}
