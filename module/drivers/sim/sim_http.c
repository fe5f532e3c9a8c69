/* HTTP without a network: one function of the test answers for all servers. */
#include <errno.h>

#include "core/alloc.h"
#include "core/arena.h"
#include "drivers/sim/sim_impl.h"

struct sh_http {
	struct sim_event event; /* it arrives at the server, then its answer comes back */
	struct sim_env *env;
	sh_http_fn fn; /* NULL: cancelled */
	void *ctx;
	uint64_t deadline;
	struct sh_http_request rq; /* its texts in `arena`, and those of the answer */
	struct sh_arena arena;
	bool arrived;
	struct sh_http_response response;
};

static void destroy(struct sh_http *h)
{
	sh_arena_finish(&h->arena);
	sim_free(h);
}

static void fail(struct sh_http *h, int error, const char *detail)
{
	h->response = (struct sh_http_response){.error = error, .detail = detail};
}

static bool keep_reply(struct sh_http *h, const struct sh_sim_http_reply *r)
{
	struct sh_slice detail;

	h->response.error = r->error;
	h->response.status = r->error ? 0 : r->status;
	if (sh_arena_dup(&h->arena, sh_slice_cstr(r->detail ? r->detail : ""), &detail) < 0 ||
	    sh_arena_dup(&h->arena, r->headers, &h->response.headers) < 0 ||
	    sh_arena_dup(&h->arena, r->body, &h->response.body) < 0)
		return false;
	h->response.detail = detail.base;
	return true;
}

/* The server's turn: how long from now until its answer is there. */
static uint64_t ask_server(struct sh_sim *sim, struct sh_http *h)
{
	struct sh_sim_http_reply reply = {.status = 200};

	if (!sim->http) {
		fail(h, -EHOSTUNREACH, "connection refused");
		return sim_delay(sim);
	}
	sim->http(&h->rq, &reply, sim->http_ctx);
	if (reply.body.len > h->rq.max_size)
		fail(h, -EMSGSIZE, "the answer is too long");
	else if (!keep_reply(h, &reply))
		fail(h, -ENOMEM, "out of memory");
	return reply.delay == SH_NEVER ? SH_NEVER : reply.delay + sim_delay(sim);
}

static void run_http(struct sh_sim *sim, struct sim_event *e, bool deliver)
{
	struct sh_http *h = SH_CONTAINER(e, struct sh_http, event);
	uint64_t took, left;

	if (!deliver || !h->fn || h->env->stopped) {
		destroy(h);
		return;
	}
	if (!h->arrived) {
		h->arrived = true;
		took = ask_server(sim, h);
		left = h->deadline > sim->now ? h->deadline - sim->now : 0;
		if (took >= left) {
			fail(h, -ETIMEDOUT, "no answer in time");
			took = left;
			e->idle = true;
		}
		sim_queue_push(&sim->queue, e, sim->now + took);
		return;
	}
	h->env->dirty = true;
	h->fn(&h->response, h->ctx);
	destroy(h);
}

/* The request with all its texts copied. */
static bool keep_request(struct sh_http *h, const struct sh_http_request *rq)
{
	struct sh_slice *headers = sh_arena_alloc(&h->arena, (rq->nheaders + 1) * sizeof(*headers));
	struct sh_slice *texts[] = {&h->rq.method, &h->rq.url,      &h->rq.body,
				    &h->rq.user,   &h->rq.password, &h->rq.ca_file};

	if (!headers)
		return false;
	h->rq = *rq;
	h->rq.headers = headers;
	for (size_t i = 0; i < rq->nheaders; i++)
		if (sh_arena_dup(&h->arena, rq->headers[i], &headers[i]) < 0)
			return false;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i]->base && sh_arena_dup(&h->arena, *texts[i], texts[i]) < 0)
			return false;
	return true;
}

int sim_http(struct sh_env *env, const struct sh_http_request *rq, sh_http_fn fn, void *ctx, struct sh_http **out)
{
	struct sim_env *e = sim_env_of(env);
	struct sh_http *h;

	if (e->stopped)
		return -ESHUTDOWN;
	h = sim_calloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	sh_arena_init(&h->arena, 1024);
	if (!keep_request(h, rq)) {
		destroy(h);
		return -ENOMEM;
	}
	h->event.run = run_http;
	h->env = e;
	h->fn = fn;
	h->ctx = ctx;
	h->deadline = e->sim->now + rq->timeout;
	sim_queue_push(&e->sim->queue, &h->event, e->sim->now + sim_delay(e->sim));
	*out = h;
	return 0;
}

void sim_http_cancel(struct sh_env *env, struct sh_http *h)
{
	(void)env;
	h->fn = NULL; /* its event frees it */
}

void sh_sim_set_http(struct sh_sim *sim, sh_sim_http_fn fn, void *ctx)
{
	sim->http = fn;
	sim->http_ctx = ctx;
}
