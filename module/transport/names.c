/* What the name servers said, kept for as long as they allow: one question at a time for each name and type, "no" is
 * kept too (RFC 2308), and when no server answers any more the last good answer serves on for an hour (RFC 8767). */
#include "transport/impl.h"

enum {
	ENTRIES_MAX = 4096,
	TTL_MAX = 86400,
	NEGATIVE_MAX = 300,
	FAILURE_TTL = 5,   /* -EAGAIN: not asked again so soon */
	STALE_TTL = 30,    /* RFC 8767 4: how long an old answer serves before the next question */
	STALE_FOR = 3600,
	STALE_WAIT = 1800, /* ms that the server has before the old answer serves (RFC 8767 5) */
};

struct sh_name {
	struct sh_hash_node node;
	struct sh_link age;     /* sh_transport.names_by_age: used last at the end */
	struct sh_link waiters; /* sh_name_wait.link */
	struct sh_timer timer;  /* STALE_WAIT */
	struct sh_transport *t;
	struct sh_name_answer answer;
	bool asking;          /* the driver holds a pointer to it */
	uint64_t search;      /* that used it last: it may hold pointers into the answer while it runs */
	uint64_t answered_at; /* 0: never */
	uint64_t fresh_until, stale_until;
	enum sh_dns_type type;
	size_t len;
	char text[];
};

struct sh_name_wait {
	struct sh_link link;
	struct sh_locate *locate;
};

/* ---- the table ---- */

static uint64_t hash_of(const struct sh_transport *t, struct sh_slice name, enum sh_dns_type type)
{
	uint16_t number = (uint16_t)type;
	struct sh_slice parts[2] = {{(const char *)&number, sizeof(number)}, name};

	return sh_hash_slices(&t->env->key, parts, 2);
}

static struct sh_name *find(const struct sh_transport *t, struct sh_slice name, enum sh_dns_type type, uint64_t hash)
{
	for (struct sh_hash_node *n = sh_hash_find(&t->names, hash); n; n = sh_hash_next(n)) {
		struct sh_name *e = SH_CONTAINER(n, struct sh_name, node);
		if (e->type == type && sh_slice_eq(sh_slice_make(e->text, e->len), name))
			return e;
	}
	return NULL;
}

static void destroy(struct sh_name *e)
{
	for (struct sh_link *l; (l = sh_list_pop(&e->waiters)) != NULL;)
		sh_free(SH_CONTAINER(l, struct sh_name_wait, link));
	sh_env_cancel(e->t->env, &e->timer);
	sh_hash_remove(&e->t->names, &e->node);
	sh_list_remove(&e->age);
	sh_free((void *)e->answer.records);
	sh_free(e);
}

/* The one that was not used for longest goes. False: all of them are being asked for, or in use. */
static bool make_room(struct sh_transport *t)
{
	if (t->names.count < ENTRIES_MAX)
		return true;
	SH_LIST_EACH(l, &t->names_by_age)
	{
		struct sh_name *e = SH_CONTAINER(l, struct sh_name, age);
		if (!e->asking && e->search != t->search) {
			destroy(e);
			return true;
		}
	}
	return false;
}

static void wake(struct sh_name *e)
{
	struct sh_link woken;

	sh_list_init(&woken);
	for (struct sh_link *l; (l = sh_list_pop(&e->waiters)) != NULL;)
		sh_list_append(&woken, l);
	for (struct sh_link *l; (l = sh_list_pop(&woken)) != NULL;) { /* e may be gone after the first */
		struct sh_name_wait *w = SH_CONTAINER(l, struct sh_name_wait, link);
		struct sh_locate *locate = w->locate;
		sh_free(w);
		sh_locate_wake(locate);
	}
}

static void serve_stale(struct sh_name *e)
{
	e->fresh_until = e->t->env->now + STALE_TTL * SH_SECOND;
	e->answered_at = e->t->env->now;
}

static void on_stale_timer(struct sh_timer *timer)
{
	struct sh_name *e = SH_CONTAINER(timer, struct sh_name, timer);

	serve_stale(e);
	wake(e);
}

static struct sh_name *create(struct sh_transport *t, struct sh_slice name, enum sh_dns_type type, uint64_t hash)
{
	struct sh_name *e = make_room(t) ? sh_calloc(1, sizeof(*e) + name.len) : NULL;

	if (!e)
		return NULL;
	e->t = t;
	e->type = type;
	e->len = name.len;
	memcpy(e->text, name.base, name.len);
	sh_list_init(&e->waiters);
	sh_timer_init(&e->timer, on_stale_timer);
	sh_hash_insert(&t->names, &e->node, hash);
	sh_list_append(&t->names_by_age, &e->age);
	return e;
}

/* ---- answers ---- */

static void copy_text(struct sh_slice *s, char **at)
{
	if (s->len > 0)
		memcpy(*at, s->base, s->len);
	s->base = *at;
	*at += s->len;
}

/* Records and texts in one block; NULL: out of memory. */
static struct sh_dns_record *copy_records(const struct sh_dns_answer *a, uint32_t *ttl)
{
	size_t size = a->count * sizeof(*a->records);
	struct sh_dns_record *copy;
	char *at;

	for (size_t i = 0; i < a->count; i++)
		size += a->records[i].target.len + a->records[i].service.len + a->records[i].flags.len;
	copy = sh_malloc(size);
	if (!copy)
		return NULL;
	memcpy(copy, a->records, a->count * sizeof(*copy));
	at = (char *)(copy + a->count);
	*ttl = TTL_MAX;
	for (size_t i = 0; i < a->count; i++) {
		copy_text(&copy[i].target, &at);
		copy_text(&copy[i].service, &at);
		copy_text(&copy[i].flags, &at);
		if (copy[i].ttl < *ttl)
			*ttl = copy[i].ttl;
	}
	return copy;
}

static void take(struct sh_name *e, int error, struct sh_dns_record *records, size_t count, uint32_t ttl)
{
	uint64_t now = e->t->env->now;

	sh_free((void *)e->answer.records);
	e->answer = (struct sh_name_answer){error, records, count};
	e->answered_at = now;
	e->fresh_until = now + ttl * SH_SECOND;
	e->stale_until = error ? 0 : e->fresh_until + STALE_FOR * SH_SECOND;
}

static void on_answer(const struct sh_dns_answer *a, void *ctx)
{
	struct sh_name *e = ctx;
	struct sh_dns_record *copy = NULL;
	uint32_t ttl = 0;

	e->asking = false;
	sh_env_cancel(e->t->env, &e->timer);
	if (a->error == 0)
		copy = copy_records(a, &ttl);
	if (copy)
		take(e, 0, copy, a->count, ttl);
	else if (a->error == -ENOENT)
		take(e, -ENOENT, NULL, 0, a->ttl < NEGATIVE_MAX ? a->ttl : NEGATIVE_MAX);
	else if (e->stale_until > e->t->env->now)
		serve_stale(e);
	else
		take(e, -EAGAIN, NULL, 0, FAILURE_TTL);
	wake(e);
}

static int ask(struct sh_name *e)
{
	struct sh_transport *t = e->t;
	int err;

	if (e->asking)
		return 0;
	err = t->env->driver->query(t->env, sh_slice_make(e->text, e->len), e->type, on_answer, e);
	if (err)
		return err;
	e->asking = true;
	t->stats.dns_queries++;
	if (e->stale_until > t->env->now)
		sh_env_timer(t->env, &e->timer, STALE_WAIT * SH_MS);
	return 0;
}

static int wait_for(struct sh_name *e, struct sh_locate *l)
{
	struct sh_name_wait *w = sh_malloc(sizeof(*w));
	int err = w ? ask(e) : -ENOMEM;

	if (err) {
		sh_free(w);
		return err;
	}
	w->locate = l;
	sh_list_append(&e->waiters, &w->link);
	return -EINPROGRESS;
}

int sh_names_get(struct sh_transport *t, struct sh_slice name, enum sh_dns_type type, uint64_t since,
		 struct sh_locate *l, const struct sh_name_answer **out)
{
	char lower[SH_NAME_MAX];
	struct sh_name *e;
	uint64_t hash;

	if (name.len > sizeof(lower))
		return -EINVAL;
	for (size_t i = 0; i < name.len; i++)
		lower[i] = sh_lower(name.base[i]);
	name.base = lower;
	hash = hash_of(t, name, type);
	e = find(t, name, type, hash);
	if (!e)
		e = create(t, name, type, hash);
	if (!e)
		return -ENOMEM;
	sh_list_remove(&e->age);
	sh_list_append(&t->names_by_age, &e->age);
	e->search = t->search;
	if (e->answered_at && (e->fresh_until > t->env->now || e->answered_at >= since)) {
		*out = &e->answer;
		return 0;
	}
	return wait_for(e, l);
}

void sh_names_finish(struct sh_transport *t)
{
	while (!sh_list_empty(&t->names_by_age))
		destroy(SH_CONTAINER(t->names_by_age.next, struct sh_name, age));
	sh_hash_finish(&t->names);
}
