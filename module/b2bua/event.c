/* What subscribers of a worker are told: for each event and address of record the last body that a script gave, the
 * documents that were published, and who has subscribed (RFC 6665 3.1). The same value stands on every worker: who
 * changes it tells the others. */
#include "b2bua/event.h"

#include "b2bua/impl.h"

struct sh_resource {
	struct sh_hash_node node;
	struct sh_link subscriptions;
	struct sh_link publications; /* struct sh_publication, the newest last */
	struct sh_link lamps;        /* of the event dialog, while there are subscribers */
	struct sh_body *body;        /* NULL: no script gave one */
	unsigned telling;            /* its subscribers are being told: it stays until that is over */
	struct sh_slice event, aor;  /* in text */
	char text[];
};

static uint64_t hash_of(const struct sh_ua *ua, struct sh_slice event, struct sh_slice aor)
{
	const struct sh_slice parts[] = {event, aor};

	return sh_hash_slices(&ua->env->key, parts, 2);
}

struct sh_resource *sh_resource_find(const struct sh_ua *ua, struct sh_slice event, struct sh_slice aor)
{
	struct sh_hash_node *n = ua->resources.count ? sh_hash_find(&ua->resources, hash_of(ua, event, aor)) : NULL;

	for (; n; n = sh_hash_next(n)) {
		struct sh_resource *r = SH_CONTAINER(n, struct sh_resource, node);

		if (sh_slice_eq(r->event, event) && sh_slice_eq(r->aor, aor))
			return r;
	}
	return NULL;
}

static struct sh_resource *find_or_make(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor)
{
	struct sh_resource *r = sh_resource_find(ua, event, aor);

	if (r)
		return r;
	r = sh_calloc(1, sizeof(*r) + event.len + aor.len);
	if (!r)
		return NULL;
	sh_list_init(&r->subscriptions);
	sh_list_init(&r->publications);
	sh_list_init(&r->lamps);
	memcpy(r->text, event.base, event.len);
	memcpy(r->text + event.len, aor.base, aor.len);
	r->event = sh_slice_make(r->text, event.len);
	r->aor = sh_slice_make(r->text + event.len, aor.len);
	sh_hash_insert(&ua->resources, &r->node, hash_of(ua, event, aor));
	return r;
}

static void destroy(struct sh_ua *ua, struct sh_resource *r)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&r->subscriptions)) != NULL)
		SH_CONTAINER(l, struct sh_subscription, of_resource)->resource = NULL;
	while ((l = r->publications.next) != &r->publications)
		sh_publication_free(ua, SH_CONTAINER(l, struct sh_publication, link));
	sh_resource_drop_lamps(&r->lamps);
	sh_hash_remove(&ua->resources, &r->node);
	sh_body_unref(r->body);
	sh_free(r);
}

void sh_resource_drop_if_idle(struct sh_ua *ua, struct sh_resource *r)
{
	if (!r->telling && !r->body && sh_list_empty(&r->subscriptions) && sh_list_empty(&r->publications))
		destroy(ua, r);
}

static void finish_one(struct sh_hash_node *n, void *ctx)
{
	destroy(ctx, SH_CONTAINER(n, struct sh_resource, node));
}

void sh_event_finish(struct sh_ua *ua)
{
	if (ua->resources.buckets)
		sh_hash_each(&ua->resources, finish_one, ua);
	sh_hash_finish(&ua->resources);
}

/* ------------------------------------------------------------------ who has subscribed */

void sh_event_join(struct sh_subscription *s)
{
	struct sh_resource *r = find_or_make(s->ua, s->event, s->aor);
	bool first;

	if (!r)
		return; /* out of memory: it hears of refreshes only */
	first = sh_list_empty(&r->subscriptions);
	s->resource = r;
	sh_list_append(&r->subscriptions, &s->of_resource);
	if (first && s->package && s->package->watch)
		s->package->watch(s->ua, s->aor, true);
}

void sh_event_leave(struct sh_subscription *s)
{
	struct sh_resource *r = s->resource;

	if (!r)
		return;
	s->resource = NULL;
	sh_list_remove(&s->of_resource);
	if (sh_list_empty(&r->subscriptions) && s->package && s->package->watch && !s->ua->closing)
		s->package->watch(s->ua, s->aor, false);
	if (sh_list_empty(&r->subscriptions))
		sh_resource_drop_lamps(&r->lamps);
	sh_resource_drop_if_idle(s->ua, r);
}

struct sh_link *sh_resource_lamps(struct sh_resource *r)
{
	return sh_list_empty(&r->subscriptions) ? NULL : &r->lamps;
}

void sh_resource_tell(struct sh_resource *r)
{
	r->telling++; /* one that cannot be told ends, and may have been the last */
	SH_LIST_EACH_SAFE (l, &r->subscriptions) {
		struct sh_subscription *s = SH_CONTAINER(l, struct sh_subscription, of_resource);

		sh_subscription_changed(s);
	}
	r->telling--;
}

void sh_event_tell(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor)
{
	struct sh_resource *r = sh_resource_find(ua, event, aor);

	if (!r)
		return;
	sh_resource_tell(r);
	sh_resource_drop_if_idle(ua, r);
}

struct sh_slice sh_event_body(const struct sh_subscription *s, struct sh_slice *type)
{
	const struct sh_resource *r = s->resource;

	*type = sh_body_type(r ? r->body : NULL);
	return sh_body_text(r ? r->body : NULL);
}

const struct sh_link *sh_event_publications(const struct sh_subscription *s)
{
	return s->resource ? &s->resource->publications : NULL;
}

struct sh_link *sh_resource_publications(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor)
{
	struct sh_resource *r = find_or_make(ua, event, aor);

	return r ? &r->publications : NULL;
}

/* ------------------------------------------------------------------ a script's value */

static int set_here(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor, struct sh_slice type, struct sh_slice body)
{
	struct sh_resource *r = find_or_make(ua, event, aor);
	struct sh_body *kept = r ? sh_body_make(type, body) : NULL;

	if (!r || (body.len && !kept)) {
		if (r)
			sh_resource_drop_if_idle(ua, r);
		return -ENOMEM;
	}
	sh_body_unref(r->body);
	r->body = kept;
	SH_LIST_EACH (l, &r->subscriptions) { /* what one of them was told before does not count any more */
		struct sh_subscription *s = SH_CONTAINER(l, struct sh_subscription, of_resource);

		sh_body_unref(s->body);
		s->body = NULL;
	}
	sh_resource_tell(r);
	sh_resource_drop_if_idle(ua, r);
	return 0;
}

struct value {
	struct sh_ua *const *peers;
	size_t event, aor, type, body;
	char text[];
};

static void on_value(struct sh_env *env, void *arg)
{
	struct value *v = arg;
	const char *p = v->text;

	if (set_here(v->peers[env->worker], sh_slice_make(p, v->event), sh_slice_make(p + v->event, v->aor),
		     sh_slice_make(p + v->event + v->aor, v->type), sh_slice_make(p + v->event + v->aor + v->type, v->body)) < 0)
		sh_ua_warn(v->peers[env->worker], "out of memory: subscribers are not told of a change");
	sh_free(v);
}

/* ------------------------------------------------------------------ for another process */

struct record {
	bool published;
	uint32_t event, aor, type, body; /* octets of text, in this order */
	uint64_t left;                   /* us; of what is published */
	struct sh_addr from;
	char tag[SH_TAG_LEN];
	char text[];
};

static size_t record_size(const struct record *r)
{
	return sizeof(*r) + r->event + r->aor + r->type + r->body;
}

/* NULL: no memory. */
static struct record *make_record(struct sh_slice event, struct sh_slice aor, struct sh_slice type, struct sh_slice body)
{
	const struct sh_slice parts[] = {event, aor, type, body};
	struct record *r = sh_calloc(1, sizeof(*r) + event.len + aor.len + type.len + body.len);
	char *p = r ? r->text : NULL;

	if (!r)
		return NULL;
	r->event = (uint32_t)event.len;
	r->aor = (uint32_t)aor.len;
	r->type = (uint32_t)type.len;
	r->body = (uint32_t)body.len;
	for (unsigned i = 0; i < 4; i++) {
		if (parts[i].len)
			memcpy(p, parts[i].base, parts[i].len);
		p += parts[i].len;
	}
	return r;
}

struct telling {
	const struct sh_ua *ua;
	sh_event_record_fn fn;
	void *ctx;
};

static void tell_record(const struct telling *t, const struct sh_resource *r, struct sh_body *body, const struct sh_publication *p)
{
	struct record *record = make_record(r->event, r->aor, sh_body_type(body), sh_body_text(body));

	if (!record)
		return; /* as if it had never been said */
	if (p) {
		record->published = true;
		record->left = p->timer.due > t->ua->env->now ? p->timer.due - t->ua->env->now : 0;
		record->from = sh_source_host(p->source);
		memcpy(record->tag, p->tag, SH_TAG_LEN);
	}
	t->fn(t->ctx, (const char *)record, record_size(record));
	sh_free(record);
}

static void tell_resource(struct sh_hash_node *n, void *ctx)
{
	const struct sh_resource *r = SH_CONTAINER(n, struct sh_resource, node);

	if (r->body)
		tell_record(ctx, r, r->body, NULL);
	SH_LIST_EACH (l, &r->publications) {
		struct sh_publication *p = SH_CONTAINER(l, struct sh_publication, link);

		if (p->body)
			tell_record(ctx, r, p->body, p);
	}
}

void sh_ua_each_event(const struct sh_ua *ua, sh_event_record_fn fn, void *ctx)
{
	struct telling t = {ua, fn, ctx};

	if (ua->resources.buckets)
		sh_hash_each((struct sh_hash *)&ua->resources, tell_resource, &t);
}

/* Its texts, in place. */
static int read_record(const char *text, size_t len, struct record *head, struct sh_slice parts[4])
{
	const char *p = text + sizeof(*head);

	if (len < sizeof(*head))
		return -EBADMSG;
	memcpy(head, text, sizeof(*head));
	if ((uint64_t)head->event + head->aor + head->type + head->body != len - sizeof(*head))
		return -EBADMSG;
	for (unsigned i = 0; i < 4; i++) {
		const uint32_t sizes[] = {head->event, head->aor, head->type, head->body};

		parts[i] = sh_slice_make(p, sizes[i]);
		p += sizes[i];
	}
	return 0;
}

int sh_ua_put_event(struct sh_ua *ua, const char *text, size_t len)
{
	struct sh_slice parts[4];
	struct record head;
	int err = read_record(text, len, &head, parts);

	if (err)
		return err;
	if (head.published)
		return sh_publication_put(ua, parts[0], parts[1], head.tag, parts[2], parts[3], &head.from, head.left);
	return set_here(ua, parts[0], parts[1], parts[2], parts[3]);
}

int sh_ua_set_event(struct sh_ua *ua, const char *text, size_t len)
{
	struct sh_slice parts[4];
	struct record head;
	int err = read_record(text, len, &head, parts);

	return err ? err : sh_event_set(ua, parts[0], parts[1], parts[2], parts[3]);
}

/* ------------------------------------------------------------------ a script's value, everywhere */

static void tell_others(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor, struct sh_slice type, struct sh_slice body)
{
	struct record *r = make_record(event, aor, type, body);

	if (r)
		ua->abroad->event(ua->abroad->ctx, (const char *)r, record_size(r));
	sh_free(r);
}

int sh_event_set(struct sh_ua *ua, struct sh_slice event, struct sh_slice aor, struct sh_slice type, struct sh_slice body)
{
	const struct sh_slice parts[] = {event, aor, type, body};

	if (sh_ua_has_peers(ua))
		tell_others(ua, event, aor, type, body);
	for (unsigned i = 0; i < ua->env->workers; i++) {
		struct value *v;
		char *p;

		if (i == ua->env->worker)
			continue;
		v = sh_malloc(sizeof(*v) + event.len + aor.len + type.len + body.len);
		if (!v)
			return -ENOMEM;
		*v = (struct value){ua->config.peers, event.len, aor.len, type.len, body.len};
		p = v->text;
		for (unsigned k = 0; k < 4; k++) {
			if (parts[k].len)
				memcpy(p, parts[k].base, parts[k].len);
			p += parts[k].len;
		}
		if (ua->env->driver->post(ua->env, i, on_value, v) < 0) {
			sh_free(v);
			return -EAGAIN;
		}
	}
	return set_here(ua, event, aor, type, body);
}
