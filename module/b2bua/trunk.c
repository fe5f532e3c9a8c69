/* Trunks: see trunk.h. */
#include "b2bua/trunk.h"

#include <stdio.h>

#include "b2bua/impl.h"

/* X(field, value, what) */
#define SH_TRUNK_TIMERS(X)                                                                               \
	X(LONGEST_ANSWER, 4 * SH_SECOND, "an OPTIONS without an answer: that URI is dead")               \
	X(REGISTER_ANSWER, 8 * SH_SECOND, "a REGISTER without an answer: the next URI is tried")         \
	X(RETRY_FIRST, 30 * SH_SECOND, "after a failure on all URIs, doubled each time, RFC 5626 4.5")   \
	X(RETRY_LONGEST, 600 * SH_SECOND, "")                                                            \
	X(RETRY_REFUSED, 300 * SH_SECOND, "after a refusal: whoever asks often is locked out")                  \
	X(LOOK_AGAIN, 300 * SH_SECOND, "where its names point")

#define X(name, value, what) static const uint64_t name = value;
SH_TRUNK_TIMERS(X)
#undef X

struct sh_trunk {
	struct sh_link link; /* in ua->trunks */
	struct sh_ua *ua;
	struct sh_arena arena;
	struct sh_trunk_config config;
	struct sh_client_auth *auth;
	/* registration */
	struct sh_timer timer;
	struct sh_sending *registering;
	char call_id[SH_TAG_LEN];
	uint32_t cseq, expires; /* s, to ask for: a 423 raises it */
	unsigned at, tried;     /* URI that is asked; how many in this round */
	unsigned failures;      /* rounds without success */
	bool heard;             /* an answer came to the last request */
	/* OPTIONS */
	struct sh_timer qualify;
	struct sh_trunk_probe {
		struct sh_trunk *trunk;
		struct sh_sending *sending;
		unsigned index;
		bool known;
		struct sh_locate *locate;
		struct sh_addr found[SH_MAX_CANDIDATES]; /* where the URI points */
		unsigned nfound;
	} probes[SH_TRUNK_URIS];
	struct sh_timer look;
};

struct sh_slice sh_trunk_state_name(enum sh_trunk_state s)
{
	static const struct sh_slice names[] = {{"trying", 6}, {"up", 2}, {"down", 4}};

	return names[s];
}

/* ------------------------------------------------------------------ status */

struct sh_trunk_status *sh_trunk_status_create(void)
{
	struct sh_trunk_status *s = sh_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (pthread_mutex_init(&s->lock, NULL)) {
		sh_free(s);
		return NULL;
	}
	atomic_init(&s->refs, 1);
	return s;
}

struct sh_trunk_status *sh_trunk_status_ref(struct sh_trunk_status *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void sh_trunk_status_unref(struct sh_trunk_status *s)
{
	if (!s || atomic_fetch_sub(&s->refs, 1) != 1)
		return;
	pthread_mutex_destroy(&s->lock);
	sh_free(s->service_route);
	sh_free(s);
}

int sh_trunk_status_route(struct sh_trunk_status *s, struct sh_arena *a, struct sh_slice *out)
{
	int err = 0;

	*out = (struct sh_slice){0};
	pthread_mutex_lock(&s->lock);
	if (s->service_route)
		err = sh_arena_dup(a, sh_slice_cstr(s->service_route), out);
	pthread_mutex_unlock(&s->lock);
	return err;
}

enum sh_trunk_match sh_trunk_status_match(struct sh_trunk_status *s, const struct sh_addr *from)
{
	enum sh_trunk_match found = SH_TRUNK_NOT;

	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->npeers && found != SH_TRUNK_PORT; i++)
		if (sh_addr_same_host(&s->peers[i], from))
			found = s->peers[i].port == from->port ? SH_TRUNK_PORT : SH_TRUNK_HOST;
	pthread_mutex_unlock(&s->lock);
	return found;
}

static void set_route(struct sh_trunk_status *s, const struct sh_msg *m)
{
	char *text = NULL;
	struct sh_writer w;

	if (m && m->first[SH_H_SERVICE_ROUTE] && (text = sh_malloc(m->size)) != NULL) {
		sh_writer_init(&w, text, m->size - 1);
		for (unsigned i = m->first[SH_H_SERVICE_ROUTE]; i; i = m->headers[i - 1].next) {
			if (w.len)
				sh_put_lit(&w, ", ");
			sh_put(&w, sh_msg_value(m, i));
		}
		text[w.len] = 0;
	}
	pthread_mutex_lock(&s->lock);
	sh_free(s->service_route);
	s->service_route = text;
	pthread_mutex_unlock(&s->lock);
}

static unsigned all_bits(const struct sh_trunk *t)
{
	return (1U << t->config.count) - 1;
}

static void log_state(const struct sh_trunk *t, enum sh_trunk_state state)
{
	unsigned code = atomic_load(&t->config.status->code);
	struct sh_slice reason = sh_status_reason(code);
	char why[128];

	why[0] = '\0';
	if (code)
		snprintf(why, sizeof(why), " (%u %.*s)", code, SH_FMT(t->heard ? reason : SH_LIT("No answer")));
	sh_log_write(t->ua->env->log, state == SH_TRUNK_DOWN ? SH_LOG_WARN : SH_LOG_INFO, "trunk %.*s is %.*s%s", SH_FMT(t->config.name),
		     SH_FMT(sh_trunk_state_name(state)), why);
}

/* What is known together: registered where it registers, and a URI that lives where they are asked. */
static void settle(struct sh_trunk *t, bool registration_failed)
{
	struct sh_trunk_status *s = t->config.status;
	bool dead = atomic_load(&s->dead) == all_bits(t), known = false;
	enum sh_trunk_state state, before = (enum sh_trunk_state)atomic_load(&s->state);

	for (unsigned i = 0; i < t->config.count; i++)
		known = known || (t->probes[i].known && !(atomic_load(&s->dead) & 1U << i));
	if (t->config.registers) {
		if (atomic_load(&s->registered) && !dead)
			state = SH_TRUNK_UP;
		else
			state = dead || registration_failed || before != SH_TRUNK_TRYING ? SH_TRUNK_DOWN : SH_TRUNK_TRYING;
	} else {
		state = dead ? SH_TRUNK_DOWN : !t->config.qualify || known ? SH_TRUNK_UP : before;
	}
	if (state == before)
		return;
	atomic_store(&s->state, state);
	log_state(t, state);
}

/* ------------------------------------------------------------------ requests */

/* "sip:host:port;params": where a REGISTER and an OPTIONS go (RFC 3261 10.2: without a user part). */
static int domain_uri(struct sh_arena *a, struct sh_slice text, struct sh_slice *out)
{
	ptrdiff_t at = sh_slice_find(text, '@'), colon = sh_slice_find(text, ':');

	if (at < 0)
		return sh_arena_dup(a, text, out);
	return sh_arena_printf(a, out, "%.*s%.*s", (int)colon + 1, text.base, (int)(text.len - (size_t)at - 1), text.base + at + 1);
}

/* A plan with that URI alone. */
static int make_plan(const struct sh_trunk *t, unsigned index, uint64_t timeout, struct sh_fork_plan *plan)
{
	struct sh_target *target;
	int err;

	*plan = (struct sh_fork_plan){0};
	sh_arena_init(&plan->arena, 512);
	target = sh_arena_alloc(&plan->arena, sizeof(*target));
	if (!target)
		return -ENOMEM;
	*target = t->config.targets[index];
	target->group = 0;
	target->from = target->to = target->headers = (struct sh_slice){0}; /* those are for calls */
	err = domain_uri(&plan->arena, t->config.targets[index].uri, &target->uri);
	if (err) {
		sh_arena_finish(&plan->arena);
		return err;
	}
	plan->targets = target;
	plan->count = 1;
	plan->timeout = timeout;
	return 0;
}

static int request(struct sh_trunk *t, unsigned index, struct sh_own_request *own, uint64_t timeout, struct sh_sending **out,
		   sh_request_fn done, void *ctx)
{
	struct sh_fork_plan plan;
	int err = make_plan(t, index, timeout, &plan);

	own->from = own->to = t->config.aor;
	own->auth = t->auth;
	return err ? err : sh_ua_request_out(t->ua, out, own, &plan, done, ctx);
}

/* ------------------------------------------------------------------ REGISTER */

static void on_registered(void *ctx, const struct sh_result *res);

static int send_register(struct sh_trunk *t, uint32_t expires, struct sh_sending **out, sh_request_fn done)
{
	char line[32];
	struct sh_own_request own = {.method = SH_LIT("REGISTER"),
				     .call_id = sh_slice_make(t->call_id, SH_TAG_LEN),
				     .cseq = done ? &t->cseq : NULL,
				     .first_cseq = t->cseq,
				     .contact = true,
				     .contact_user = t->config.contact_user};
	int n = snprintf(line, sizeof(line), "Expires: %u\r\n", expires);

	own.headers = sh_slice_make(line, (size_t)n);
	return request(t, t->at, &own, REGISTER_ANSWER, out, done, t);
}

static void register_now(struct sh_trunk *t)
{
	t->tried = 1;
	if (t->config.qualify && !(atomic_load(&t->config.status->dead) & 1))
		t->at = 0; /* the preferred one lives */
	if (send_register(t, t->expires, &t->registering, on_registered) < 0)
		sh_env_timer(t->ua->env, &t->timer, RETRY_FIRST);
}

static void on_timer(struct sh_timer *timer)
{
	register_now(SH_CONTAINER(timer, struct sh_trunk, timer));
}

/* How long the registrar keeps our Contact: the parameter of ours (or of the only one), else Expires, else what we asked. */
static uint32_t granted(const struct sh_trunk *t, const struct sh_msg *m)
{
	uint32_t of_any = 0, n;
	unsigned contacts = 0;

	for (unsigned i = m->first[SH_H_CONTACT]; i; i = m->headers[i - 1].next) {
		struct sh_slice list = sh_msg_value(m, i), value;
		struct sh_name_addr one;
		struct sh_uri uri;

		while (list.len && sh_name_addr_next(&list, &one) == 0) {
			if (one.star || !sh_param_find(one.params, SH_LIT("expires"), &value) || sh_slice_u32(value, &n) < 0)
				continue;
			contacts++;
			of_any = n;
			if (sh_uri_parse(&uri, one.uri) == 0 && sh_transport_is_local(t->ua->transport, &uri) &&
			    sh_slice_eq(uri.user, t->config.contact_user))
				return n;
		}
	}
	if (contacts == 1)
		return of_any;
	return m->expires >= 0 ? (uint32_t)m->expires : t->expires;
}

/* A little before the end; a long registration a minute before. */
static uint64_t refresh_after(uint32_t expires)
{
	return expires > 120 ? (expires - 60) * SH_SECOND : expires * SH_SECOND / 2;
}

static uint64_t retry_after(const struct sh_trunk *t, const struct sh_result *res)
{
	struct sh_slice value = res->msg ? sh_msg_header(res->msg, SH_H_RETRY_AFTER) : (struct sh_slice){0};
	unsigned doublings = t->failures < 5 ? t->failures : 5;
	uint64_t wait = RETRY_FIRST << doublings;
	size_t digits = 0;
	uint32_t n;

	while (digits < value.len && value.base[digits] >= '0' && value.base[digits] <= '9')
		digits++;
	if (digits && sh_slice_u32(sh_slice_make(value.base, digits), &n) == 0 && n)
		return (n < 3600 ? n : 3600) * SH_SECOND;
	if (wait > RETRY_LONGEST)
		wait = RETRY_LONGEST;
	return wait / 2 + sh_random_below(&t->ua->env->random, (uint32_t)(wait / 2 / SH_MS)) * SH_MS;
}

static void registered(struct sh_trunk *t, const struct sh_msg *m)
{
	struct sh_trunk_status *s = t->config.status;
	uint32_t expires = granted(t, m);

	if (!expires)
		expires = 60; /* nobody grants nothing: ask again soon */
	t->failures = 0;
	set_route(s, m);
	atomic_store(&s->registered, true);
	atomic_store(&s->current, t->at);
	atomic_store(&s->expires, sh_env_wall(t->ua->env) + expires * SH_SECOND);
	sh_env_timer(t->ua->env, &t->timer, refresh_after(expires));
	settle(t, false);
}

/* It is this URI's trouble, not the account's. */
static bool of_server(const struct sh_result *res)
{
	return !res->msg || res->code == 408 || (res->code >= 500 && res->code < 600);
}

static void on_registered(void *ctx, const struct sh_result *res)
{
	struct sh_trunk *t = ctx;
	struct sh_slice min = res->msg ? sh_msg_header(res->msg, SH_H_MIN_EXPIRES) : (struct sh_slice){0};
	uint32_t n;

	t->registering = NULL;
	t->heard = res->msg != NULL;
	atomic_store(&t->config.status->code, res->code);
	if (res->code >= 200 && res->code < 300) {
		registered(t, res->msg);
		return;
	}
	if (res->code == 423 && sh_slice_u32(min, &n) == 0 && n > t->expires && n < 1U << 24) { /* 10.2.8 */
		t->expires = n;
		if (send_register(t, t->expires, &t->registering, on_registered) == 0)
			return;
	}
	if (of_server(res) && t->tried < t->config.count) {
		t->tried++;
		t->at = (t->at + 1) % t->config.count;
		if (send_register(t, t->expires, &t->registering, on_registered) == 0)
			return;
	}
	atomic_store(&t->config.status->registered, false);
	sh_env_timer(t->ua->env, &t->timer, of_server(res) ? retry_after(t, res) : RETRY_REFUSED);
	t->failures++;
	t->at = 0;
	settle(t, true);
}

/* ------------------------------------------------------------------ OPTIONS */

static void on_answered(void *ctx, const struct sh_result *res)
{
	struct sh_trunk_probe *p = ctx;
	struct sh_trunk *t = p->trunk;
	unsigned bit = 1U << p->index;

	p->sending = NULL;
	p->known = true;
	if (!t->config.registers)
		atomic_store(&t->config.status->code, res->code);
	t->heard = res->msg != NULL;
	if (res->msg && res->code != 408 && res->code != 503) /* whatever it says, it lives */
		atomic_fetch_and(&t->config.status->dead, ~bit);
	else
		atomic_fetch_or(&t->config.status->dead, bit);
	settle(t, false);
}

static void on_qualify(struct sh_timer *timer)
{
	struct sh_trunk *t = SH_CONTAINER(timer, struct sh_trunk, qualify);
	struct sh_own_request own = {.method = SH_LIT("OPTIONS"), .headers = SH_LIT("Accept: application/sdp\r\n")};

	for (unsigned i = 0; i < t->config.count; i++) {
		struct sh_trunk_probe *p = &t->probes[i];

		if (!p->sending && request(t, i, &own, LONGEST_ANSWER, &p->sending, on_answered, p) < 0)
			p->sending = NULL;
	}
	sh_env_timer(t->ua->env, &t->qualify, t->config.qualify);
}

/* ------------------------------------------------------------------ its addresses */

static void publish(struct sh_trunk *t)
{
	struct sh_trunk_status *s = t->config.status;

	pthread_mutex_lock(&s->lock);
	s->npeers = 0;
	for (unsigned i = 0; i < t->config.count; i++)
		for (unsigned k = 0; k < t->probes[i].nfound && s->npeers < SH_TRUNK_PEERS; k++)
			s->peers[s->npeers++] = t->probes[i].found[k];
	pthread_mutex_unlock(&s->lock);
}

/* A name that is not found for once leaves what was known. */
static void learn(struct sh_trunk_probe *p, const struct sh_path *paths, int count)
{
	if (count <= 0)
		return;
	p->nfound = 0;
	while (p->nfound < (unsigned)count && p->nfound < SH_MAX_CANDIDATES) {
		p->found[p->nfound] = paths[p->nfound].remote;
		p->nfound++;
	}
}

static void on_located(const struct sh_path *paths, unsigned count, int error, void *ctx)
{
	struct sh_trunk_probe *p = ctx;

	(void)error;
	p->locate = NULL;
	learn(p, paths, (int)count);
	publish(p->trunk);
}

static void on_look(struct sh_timer *timer)
{
	struct sh_trunk *t = SH_CONTAINER(timer, struct sh_trunk, look);

	for (unsigned i = 0; i < t->config.count; i++) {
		struct sh_trunk_probe *p = &t->probes[i];
		struct sh_slice hop = t->config.targets[i].uri, list = t->config.targets[i].route;
		struct sh_path found[SH_MAX_CANDIDATES];
		struct sh_name_addr first;
		struct sh_uri uri;
		int count;

		if (list.len && sh_name_addr_next(&list, &first) == 0)
			hop = first.uri;
		if (p->locate || sh_uri_parse(&uri, hop) != 0)
			continue;
		count = sh_transport_locate(t->ua->transport, &uri, t->config.targets[i].endpoint, found, on_located, p, &p->locate);
		learn(p, found, count);
	}
	publish(t);
	sh_env_timer(t->ua->env, &t->look, LOOK_AGAIN);
}

/* ------------------------------------------------------------------ life */

static void keep(struct sh_arena *a, struct sh_slice *s, int *err)
{
	if (s->len && !*err)
		*err = sh_arena_dup(a, *s, s);
}

static int copy_logins(struct sh_arena *a, struct sh_target *t)
{
	struct sh_login *own = t->nlogins ? sh_arena_alloc(a, t->nlogins * sizeof(*own)) : NULL;
	int err = t->nlogins && !own ? -ENOMEM : 0;

	for (unsigned i = 0; i < t->nlogins && !err; i++) {
		own[i] = t->logins[i];
		keep(a, &own[i].user, &err);
		keep(a, &own[i].password, &err);
		keep(a, &own[i].realm, &err);
	}
	t->logins = own;
	return err;
}

static int copy_config(struct sh_trunk *t, const struct sh_trunk_config *c)
{
	struct sh_arena *a = &t->arena;
	int err = 0;

	t->config = *c;
	keep(a, &t->config.name, &err);
	keep(a, &t->config.aor, &err);
	keep(a, &t->config.contact_user, &err);
	t->config.targets = sh_arena_alloc(a, c->count * sizeof(*c->targets));
	if (!t->config.targets)
		return -ENOMEM;
	for (unsigned i = 0; i < c->count; i++) {
		struct sh_target *to = &t->config.targets[i];
		const struct sh_target *from = &c->targets[i];

		*to = (struct sh_target){.uri = from->uri, .route = from->route, .proto = from->proto, .endpoint = from->endpoint,
					 .nlogins = from->nlogins, .logins = from->logins};
		keep(a, &to->uri, &err);
		keep(a, &to->route, &err);
		if (!err)
			err = copy_logins(a, to);
	}
	return err;
}

static void destroy(struct sh_trunk *t)
{
	struct sh_env *env = t->ua->env;

	sh_wheel_cancel(&env->wheel, &t->timer);
	sh_wheel_cancel(&env->wheel, &t->qualify);
	sh_wheel_cancel(&env->wheel, &t->look);
	sh_sending_drop(t->registering);
	for (unsigned i = 0; i < t->config.count; i++) {
		sh_sending_drop(t->probes[i].sending);
		sh_locate_cancel(t->probes[i].locate);
	}
	sh_list_remove(&t->link);
	sh_client_auth_unref(t->auth);
	sh_trunk_status_unref(t->config.status);
	sh_arena_finish(&t->arena);
	sh_free(t);
}

static int create(struct sh_ua *ua, const struct sh_trunk_config *c)
{
	struct sh_trunk *t = sh_calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->ua = ua;
	sh_arena_init(&t->arena, 1024);
	sh_timer_init(&t->timer, on_timer);
	sh_timer_init(&t->qualify, on_qualify);
	sh_timer_init(&t->look, on_look);
	err = copy_config(t, c);
	sh_trunk_status_ref(t->config.status);
	sh_list_append(&ua->trunks, &t->link);
	if (!err && c->targets[0].nlogins)
		err = sh_client_auth_create(&t->auth, c->targets[0].logins, c->targets[0].nlogins);
	if (err) {
		destroy(t);
		return err;
	}
	t->expires = c->expires;
	sh_tag_make(ua->env, t->call_id);
	for (unsigned i = 0; i < c->count; i++)
		t->probes[i] = (struct sh_trunk_probe){.trunk = t, .index = i};
	atomic_store(&c->status->dead, 0);
	settle(t, false);
	sh_env_timer(ua->env, &t->look, 0);
	if (t->config.registers)
		sh_env_timer(ua->env, &t->timer, 0);
	if (t->config.qualify)
		sh_env_timer(ua->env, &t->qualify, 0);
	return 0;
}

/* Ends it; the registrar hears of it, whatever it says (10.2.2). */
static void stop(struct sh_trunk *t)
{
	struct sh_sending *last;

	if (atomic_exchange(&t->config.status->registered, false) || t->registering)
		send_register(t, 0, &last, NULL);
	atomic_store(&t->config.status->state, SH_TRUNK_DOWN);
	destroy(t);
}

static bool same_logins(const struct sh_target *a, const struct sh_target *b)
{
	if (a->nlogins != b->nlogins)
		return false;
	for (unsigned i = 0; i < a->nlogins; i++)
		if (!sh_slice_eq(a->logins[i].user, b->logins[i].user) || !sh_slice_eq(a->logins[i].realm, b->logins[i].realm) ||
		    !sh_slice_eq(a->logins[i].password, b->logins[i].password))
			return false;
	return true;
}

static bool same(const struct sh_trunk_config *a, const struct sh_trunk_config *b)
{
	if (!sh_slice_eq(a->name, b->name) || a->count != b->count || a->registers != b->registers || a->expires != b->expires ||
	    a->qualify != b->qualify || a->status != b->status || !sh_slice_eq(a->aor, b->aor) ||
	    !sh_slice_eq(a->contact_user, b->contact_user) || !same_logins(&a->targets[0], &b->targets[0]))
		return false;
	for (unsigned i = 0; i < a->count; i++)
		if (!sh_slice_eq(a->targets[i].uri, b->targets[i].uri) || !sh_slice_eq(a->targets[i].route, b->targets[i].route) ||
		    a->targets[i].endpoint != b->targets[i].endpoint)
			return false;
	return true;
}

void sh_ua_set_trunks(struct sh_ua *ua, const struct sh_trunk_config *list, unsigned count)
{
	uint64_t keeps = 0;

	SH_LIST_EACH_SAFE (l, &ua->trunks) {
		struct sh_trunk *t = SH_CONTAINER(l, struct sh_trunk, link);
		bool kept = false;

		for (unsigned i = 0; i < count && !kept; i++) {
			kept = same(&t->config, &list[i]);
			if (kept)
				keeps |= UINT64_C(1) << i;
		}
		if (!kept)
			stop(t);
	}
	for (unsigned i = 0; i < count; i++)
		if (!(keeps >> i & 1) && create(ua, &list[i]) < 0)
			sh_error(ua->env->log, "out of memory: trunk %.*s is not used", SH_FMT(list[i].name));
}

void sh_trunks_drop_all(struct sh_ua *ua)
{
	SH_LIST_EACH_SAFE (l, &ua->trunks)
		destroy(SH_CONTAINER(l, struct sh_trunk, link));
}

void sh_ua_each_trunk(const struct sh_ua *ua, void (*fn)(void *ctx, const struct sh_trunk_config *trunk), void *ctx)
{
	SH_LIST_EACH (l, &ua->trunks)
		fn(ctx, &SH_CONTAINER(l, struct sh_trunk, link)->config);
}
