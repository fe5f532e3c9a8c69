/* Keep-alive towards phones: see keeper.h. */
#include "b2bua/keeper.h"

#include "b2bua/impl.h"

enum { SILENT_MAX = 2 }; /* OPTIONS in a row without an answer */
#define LONGEST_ANSWER (10 * SH_SECOND)

struct sh_keeper {
	struct sh_ua *ua;
	struct sh_location *location;
	void *by;
	struct sh_hash kept; /* by address of record and contact */
};

struct kept {
	struct sh_hash_node node;
	struct sh_timer timer;
	struct sh_keeper *keeper;
	struct sh_sending *sending; /* an OPTIONS without an answer so far */
	uint64_t asked_for;         /* updated_at of the binding that it asks for */
	unsigned silent;
	struct sh_slice aor, uri;
	char text[];
};

static uint64_t hash_of(const struct sh_keeper *k, struct sh_slice aor, struct sh_slice uri)
{
	struct sh_slice parts[2] = {aor, uri};

	return sh_hash_slices(&k->ua->env->key, parts, 2);
}

static struct kept *find(const struct sh_keeper *k, struct sh_slice aor, struct sh_slice uri)
{
	for (struct sh_hash_node *n = sh_hash_find(&k->kept, hash_of(k, aor, uri)); n; n = sh_hash_next(n)) {
		struct kept *p = SH_CONTAINER(n, struct kept, node);

		if (sh_slice_eq(p->aor, aor) && sh_slice_eq(p->uri, uri))
			return p;
	}
	return NULL;
}

static void release(struct kept *p)
{
	sh_env_cancel(p->keeper->ua->env, &p->timer);
	sh_sending_drop(p->sending);
	sh_free(p);
}

static void forget(struct kept *p)
{
	sh_hash_remove(&p->keeper->kept, &p->node);
	release(p);
}

/* A tenth more or less, so that phones that registered together are not asked together for ever. */
static void arm(struct kept *p, uint32_t seconds)
{
	struct sh_env *env = p->keeper->ua->env;
	uint64_t interval = seconds * SH_SECOND;

	sh_env_timer(env, &p->timer, interval - interval / 10 + sh_random_below(&env->random, interval / 5 + 1));
}

/* ------------------------------------------------------------------ one round */

static void on_answer(void *ctx, const struct sh_result *res)
{
	struct kept *p = ctx;
	struct sh_keeper *k = p->keeper;

	p->sending = NULL;
	if (res->msg) { /* whatever it says: somebody is there */
		p->silent = 0;
		return;
	}
	/* Refused by its machine or its connection: there is nobody; silence may be two lost packets. */
	if (++p->silent < SILENT_MAX && res->code == 408)
		return;
	/* Its event comes back to sh_keeper_note, where p ends. */
	sh_location_lose(k->location, p->aor, p->uri, p->asked_for, k->by);
}

static int ask(struct kept *p, const struct sh_contact *c)
{
	struct sh_keeper *k = p->keeper;
	struct sh_own_request own = {.method = SH_LIT("OPTIONS")};
	struct sh_fork_plan plan = {.timeout = c->keep_interval * SH_SECOND};
	struct sh_reach reach;
	struct sh_target *t;
	struct sh_uri aor;
	int err = -ENOMEM;

	if (plan.timeout > LONGEST_ANSWER)
		plan.timeout = LONGEST_ANSWER;
	sh_arena_init(&plan.arena, 512);
	t = sh_arena_calloc(&plan.arena, 1, sizeof(*t));
	if (!t || sh_uri_parse(&aor, p->aor))
		goto out;
	reach = sh_reach_of(c);
	sh_target_reach(t, &reach);
	t->proto = -1;
	if (sh_arena_dup(&plan.arena, c->uri, &t->uri) || sh_arena_dup(&plan.arena, c->path, &t->route) ||
	    sh_arena_printf(&plan.arena, &own.from, "<sip:%.*s>", SH_FMT(aor.host)))
		goto out;
	plan.targets = t;
	plan.count = 1;
	p->asked_for = c->updated_at;
	return sh_ua_request_out(k->ua, &p->sending, &own, &plan, on_answer, p);
out:
	sh_arena_finish(&plan.arena);
	return err;
}

static void send_crlf(const struct sh_keeper *k, const struct sh_contact *c)
{
	if (c->from.flow && !sh_transport_flow_alive(k->ua->transport, c->from.flow))
		return; /* its end is on its way to the location store */
	sh_transport_send(k->ua->transport, &c->from, SH_LIT("\r\n\r\n"), NULL);
}

static const struct sh_contact *contact_of(const struct sh_bindings *b, const struct kept *p)
{
	for (unsigned i = 0; b && i < b->count; i++)
		if (sh_slice_eq(b->contacts[i].uri, p->uri))
			return &b->contacts[i];
	return NULL;
}

/* The binding is looked up each time: another worker may have taken it away or taken it over. */
static void on_timer(struct sh_timer *timer)
{
	struct kept *p = SH_CONTAINER(timer, struct kept, timer);
	struct sh_keeper *k = p->keeper;
	struct sh_bindings *b = sh_location_lookup(k->location, p->aor);
	const struct sh_contact *c = contact_of(b, p);

	if (!c || c->keep_alive == SH_KEEP_NONE || c->keeper != k->by) {
		forget(p);
	} else {
		if (c->keep_alive == SH_KEEP_CRLF)
			send_crlf(k, c);
		else if (!p->sending && !k->ua->draining)
			(void)ask(p, c); /* without memory: the next time */
		arm(p, c->keep_interval);
	}
	sh_bindings_unref(b);
}

/* ------------------------------------------------------------------ what is kept */

static struct kept *keep(struct sh_keeper *k, struct sh_slice aor, struct sh_slice uri)
{
	struct kept *p = find(k, aor, uri);

	if (p)
		return p;
	p = sh_calloc(1, sizeof(*p) + aor.len + uri.len);
	if (!p)
		return NULL;
	p->keeper = k;
	memcpy(p->text, aor.base, aor.len);
	memcpy(p->text + aor.len, uri.base, uri.len);
	p->aor = sh_slice_make(p->text, aor.len);
	p->uri = sh_slice_make(p->text + aor.len, uri.len);
	sh_timer_init(&p->timer, on_timer);
	sh_hash_insert(&k->kept, &p->node, hash_of(k, aor, uri));
	return p;
}

void sh_keeper_note(struct sh_keeper *k, struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event event)
{
	struct kept *p;

	if (event != SH_BINDING_ADDED && event != SH_BINDING_REFRESHED) {
		p = k->kept.count > 0 ? find(k, aor, c->uri) : NULL;
		if (p)
			forget(p);
		return;
	}
	if (c->keep_alive == SH_KEEP_NONE)
		return; /* one that was kept before ends with its timer */
	p = keep(k, aor, c->uri);
	if (p && !sh_timer_pending(&p->timer))
		arm(p, c->keep_interval);
}

int sh_keeper_create(struct sh_keeper **out, struct sh_ua *ua, struct sh_location *location, void *by)
{
	struct sh_keeper *k = sh_calloc(1, sizeof(*k));
	int err = k ? sh_hash_init(&k->kept, 0) : -ENOMEM;

	if (err) {
		sh_free(k);
		return err;
	}
	k->ua = ua;
	k->location = location;
	k->by = by;
	*out = k;
	return 0;
}

static void release_node(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	release(SH_CONTAINER(n, struct kept, node));
}

void sh_keeper_destroy(struct sh_keeper *k)
{
	if (!k)
		return;
	sh_hash_each(&k->kept, release_node, NULL);
	sh_hash_finish(&k->kept);
	sh_free(k);
}
