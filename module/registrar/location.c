/* The location store: its tables, and everything that only takes bindings away. See location_impl.h for the plan. */
#include "registrar/location.h"

#include <errno.h>

#include "core/alloc.h"
#include "registrar/location_impl.h"

enum { EXPIRE_PORTION = 1000 };

/* --- making and ending ------------------------------------------------------------------------------------------- */

static int stripe_init(struct sh_stripe *s)
{
	int err = sh_hash_init(&s->records, 0);

	if (err)
		return err;
	err = sh_hash_init(&s->flows, 0);
	if (!err)
		err = -pthread_mutex_init(&s->lock, NULL);
	if (err) {
		sh_hash_finish(&s->flows);
		sh_hash_finish(&s->records);
	}
	return err;
}

static void drop_record(struct sh_hash_node *n, void *ctx)
{
	struct sh_record *r = SH_CONTAINER(n, struct sh_record, node);

	(void)ctx;
	sh_bindings_unref(r->present);
	sh_free(r);
}

static void stripe_finish(struct sh_stripe *s)
{
	sh_hash_each(&s->records, drop_record, NULL);
	sh_hash_finish(&s->records);
	sh_hash_finish(&s->flows);
	sh_due_finish(&s->due);
	pthread_mutex_destroy(&s->lock);
}

int sh_location_create(struct sh_location **out, const struct sh_hash_key *key, sh_binding_fn fn, void *ctx)
{
	struct sh_location *l = sh_calloc(1, sizeof(*l));
	int err = 0;

	if (!l)
		return -ENOMEM;
	l->key = *key;
	l->fn = fn;
	l->ctx = ctx;
	for (unsigned i = 0; i < SH_LOCATION_STRIPES; i++) {
		err = stripe_init(&l->stripes[i]);
		if (err) {
			while (i > 0)
				stripe_finish(&l->stripes[--i]);
			sh_free(l);
			return err;
		}
	}
	*out = l;
	return 0;
}

void sh_location_destroy(struct sh_location *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < SH_LOCATION_STRIPES; i++)
		stripe_finish(&l->stripes[i]);
	sh_free(l);
}

/* --- records ----------------------------------------------------------------------------------------------------- */

struct sh_stripe *sh_location_stripe(struct sh_location *l, struct sh_slice aor, uint64_t *hash)
{
	*hash = sh_hash_slice(&l->key, aor);
	return &l->stripes[*hash >> 58]; /* the table of the stripe takes the low bits */
}

struct sh_record *sh_stripe_find(const struct sh_stripe *s, uint64_t hash, struct sh_slice aor)
{
	for (struct sh_hash_node *n = sh_hash_find(&s->records, hash); n; n = sh_hash_next(n)) {
		struct sh_record *r = SH_CONTAINER(n, struct sh_record, node);

		if (sh_slice_eq(r->present->aor, aor))
			return r;
	}
	return NULL;
}

static uint64_t flow_hash(const struct sh_location *l, uint64_t flow)
{
	return sh_hash_slice(&l->key, sh_slice_make((const char *)&flow, sizeof(flow)));
}

/* The slot that stands for a flow in the table, or NULL. */
static struct sh_slot *flow_leader(const struct sh_stripe *s, uint64_t hash, uint64_t flow)
{
	for (struct sh_hash_node *n = sh_hash_find(&s->flows, hash); n; n = sh_hash_next(n)) {
		struct sh_slot *slot = SH_CONTAINER(n, struct sh_slot, by_flow);

		if (slot->flow == flow)
			return slot;
	}
	return NULL;
}

static void link_flow(const struct sh_location *l, struct sh_stripe *s, struct sh_record *r, struct sh_slot *slot)
{
	uint64_t hash;
	struct sh_slot *leader;

	if (!slot->flow)
		return;
	hash = flow_hash(l, slot->flow);
	leader = flow_leader(s, hash, slot->flow);
	slot->record = r;
	sh_list_init(&slot->same_flow);
	if (leader) {
		sh_list_insert(&leader->same_flow, &slot->same_flow);
	} else {
		sh_hash_insert(&s->flows, &slot->by_flow, hash);
		slot->leads = true;
	}
}

static void unlink_flow(struct sh_stripe *s, struct sh_slot *slot)
{
	if (!slot->record)
		return;
	if (slot->leads) {
		sh_hash_remove(&s->flows, &slot->by_flow);
		slot->leads = false;
		if (!sh_list_empty(&slot->same_flow)) {
			struct sh_slot *heir = SH_CONTAINER(slot->same_flow.next, struct sh_slot, same_flow);

			heir->leads = true;
			sh_hash_insert(&s->flows, &heir->by_flow, slot->by_flow.hash);
		}
	}
	sh_list_remove(&slot->same_flow);
	slot->record = NULL;
}

static uint64_t first_end(const struct sh_bindings *b)
{
	uint64_t at = UINT64_MAX;

	for (unsigned i = 0; i < b->count; i++)
		if (b->contacts[i].expires_at < at)
			at = b->contacts[i].expires_at;
	return at;
}

static void set_due(struct sh_stripe *s, struct sh_record *r, uint64_t at)
{
	r->due_at = at;
	sh_due_set(&s->due, &r->due, at);
}

static struct sh_record *record_add(struct sh_stripe *s, uint64_t hash)
{
	struct sh_record *r = sh_due_reserve(&s->due) ? NULL : sh_calloc(1, sizeof(*r));

	if (r)
		sh_hash_insert(&s->records, &r->node, hash);
	return r;
}

static void record_drop(struct sh_stripe *s, struct sh_record *r)
{
	sh_due_remove(&s->due, &r->due);
	sh_hash_remove(&s->records, &r->node);
	sh_free(r);
}

int sh_stripe_publish(struct sh_location *l, struct sh_stripe *s, uint64_t hash, struct sh_record *record,
		      struct sh_bindings *b, struct sh_bindings **before)
{
	struct sh_bindings *old = record ? record->present : NULL;

	if (!record && b) {
		record = record_add(s, hash);
		if (!record)
			return -ENOMEM;
	}
	for (unsigned i = 0; old && i < old->count; i++)
		unlink_flow(s, &sh_slots(old)[i]);
	if (b) {
		record->present = b;
		for (unsigned i = 0; i < b->count; i++)
			link_flow(l, s, record, &sh_slots(b)[i]);
		/* A refresh moves the end away: where it stands it is looked at too early, once, instead of being moved each time. */
		if (first_end(b) < record->due_at || !record->due_at)
			set_due(s, record, first_end(b));
		atomic_fetch_add_explicit(&l->count, b->count, memory_order_relaxed);
	} else if (record) {
		record_drop(s, record);
	}
	if (old)
		atomic_fetch_sub_explicit(&l->count, old->count, memory_order_relaxed);
	*before = old;
	return 0;
}

/* --- taking away ------------------------------------------------------------------------------------------------- */

unsigned sh_location_report(const struct sh_location *l, struct sh_bindings *before, void *by)
{
	static const enum sh_binding_event events[] = {
	    [SH_FATE_REMOVED] = SH_BINDING_REMOVED,
	    [SH_FATE_EXPIRED] = SH_BINDING_EXPIRED,
	    [SH_FATE_LOST] = SH_BINDING_LOST,
	};
	unsigned gone = 0;

	for (unsigned i = 0; before && i < before->count; i++) {
		enum sh_fate fate = (enum sh_fate)sh_slots(before)[i].fate;

		if (fate == SH_FATE_STAYS)
			continue;
		gone++;
		if (l->fn)
			l->fn(l->ctx, by, before->aor, &before->contacts[i], events[fate]);
	}
	sh_bindings_unref(before);
	return gone;
}

/* Replaces the record's snapshot by one of the bindings that stay. 0 or -ENOMEM. */
static int cut(struct sh_location *l, struct sh_stripe *s, struct sh_record *r, struct sh_bindings **before)
{
	enum { FEW = 16 };
	const struct sh_contact *few[FEW], **stay = few;
	struct sh_bindings *old = r->present, *b = NULL;
	unsigned n = 0;
	int err = 0;

	if (old->count > FEW)
		stay = sh_malloc(old->count * sizeof(struct sh_contact *));
	if (!stay)
		return -ENOMEM;
	for (unsigned i = 0; i < old->count; i++)
		if (sh_slots(old)[i].fate == SH_FATE_STAYS)
			stay[n++] = &old->contacts[i];
	if (n) {
		b = sh_bindings_make(l, old->aor, stay, n);
		err = b ? 0 : -ENOMEM;
	}
	if (!err)
		err = sh_stripe_publish(l, s, r->node.hash, r, b, before);
	if (stay != few)
		sh_free(stay);
	return err;
}

/* The same for bindings that are gone in any case: without memory it is done a second later. */
static void cut_or_later(struct sh_location *l, struct sh_stripe *s, struct sh_record *r, uint64_t now,
			 struct sh_bindings **before)
{
	if (!cut(l, s, r, before))
		return;
	*before = NULL;
	set_due(s, r, now + SH_SECOND);
}

int sh_location_unbind(struct sh_location *l, struct sh_slice aor, struct sh_slice contact, uint64_t now, void *by)
{
	struct sh_bindings *before = NULL;
	struct sh_record *r;
	struct sh_stripe *s;
	uint64_t hash;
	unsigned found = 0;
	int err = 0;

	(void)now;
	s = sh_location_stripe(l, aor, &hash);
	pthread_mutex_lock(&s->lock);
	r = sh_stripe_find(s, hash, aor);
	for (unsigned i = 0; r && i < r->present->count; i++) {
		struct sh_slot *slot = &sh_slots(r->present)[i];

		if (slot->fate == SH_FATE_STAYS &&
		    (contact.len == 0 || sh_contact_same_uri(r->present->contacts[i].uri, contact))) {
			slot->fate = SH_FATE_REMOVED;
			found++;
		}
	}
	if (found)
		err = cut(l, s, r, &before);
	for (unsigned i = 0; err && i < r->present->count; i++)
		if (sh_slots(r->present)[i].fate == SH_FATE_REMOVED)
			sh_slots(r->present)[i].fate = SH_FATE_STAYS;
	pthread_mutex_unlock(&s->lock);
	if (err)
		return err;
	sh_location_report(l, before, by);
	return (int)found;
}

void sh_location_lose(struct sh_location *l, struct sh_slice aor, struct sh_slice uri, uint64_t updated_at, void *by)
{
	struct sh_bindings *before = NULL;
	struct sh_record *r;
	struct sh_stripe *s;
	uint64_t hash;
	bool found = false;

	s = sh_location_stripe(l, aor, &hash);
	pthread_mutex_lock(&s->lock);
	r = sh_stripe_find(s, hash, aor);
	for (unsigned i = 0; r && i < r->present->count; i++) {
		struct sh_slot *slot = &sh_slots(r->present)[i];
		const struct sh_contact *c = &r->present->contacts[i];

		if (slot->fate == SH_FATE_STAYS && c->updated_at <= updated_at && sh_slice_eq(c->uri, uri)) {
			slot->fate = SH_FATE_LOST;
			found = true;
		}
	}
	if (found)
		cut_or_later(l, s, r, updated_at, &before);
	pthread_mutex_unlock(&s->lock);
	sh_location_report(l, before, by);
}

/* One record of a stripe with that flow. False: there is none (any more). */
static bool lose_one(struct sh_location *l, struct sh_stripe *s, uint64_t flow, uint64_t hash, uint64_t now,
		     void *by)
{
	struct sh_bindings *before = NULL;
	struct sh_record *r;
	struct sh_slot *leader;

	pthread_mutex_lock(&s->lock);
	leader = flow_leader(s, hash, flow);
	r = leader ? leader->record : NULL;
	for (unsigned i = 0; r && i < r->present->count; i++) {
		struct sh_slot *slot = &sh_slots(r->present)[i];

		if (slot->flow == flow) {
			slot->fate = SH_FATE_LOST;
			unlink_flow(s, slot);
		}
	}
	if (r)
		cut_or_later(l, s, r, now, &before);
	pthread_mutex_unlock(&s->lock);
	sh_location_report(l, before, by);
	return r != NULL;
}

void sh_location_flow_closed(struct sh_location *l, uint64_t flow, uint64_t now, void *by)
{
	uint64_t hash = flow_hash(l, flow);

	if (!flow)
		return;
	for (unsigned i = 0; i < SH_LOCATION_STRIPES; i++)
		while (lose_one(l, &l->stripes[i], flow, hash, now, by))
			;
}

/* The record of a stripe that is due first. False: none is due. */
static bool expire_one(struct sh_location *l, struct sh_stripe *s, uint64_t now, unsigned *done, void *by)
{
	struct sh_bindings *before = NULL;
	struct sh_record *r;
	struct sh_due *first;
	bool over = false;
	unsigned gone;

	pthread_mutex_lock(&s->lock);
	first = sh_due_first(&s->due, now);
	if (first) {
		r = SH_CONTAINER(first, struct sh_record, due);
		for (unsigned i = 0; i < r->present->count; i++) {
			struct sh_slot *slot = &sh_slots(r->present)[i];

			if (slot->fate == SH_FATE_STAYS && r->present->contacts[i].expires_at <= now)
				slot->fate = SH_FATE_EXPIRED;
			over = over || slot->fate != SH_FATE_STAYS;
		}
		if (over)
			cut_or_later(l, s, r, now, &before);
		else
			set_due(s, r, first_end(r->present)); /* it was refreshed meanwhile */
	}
	pthread_mutex_unlock(&s->lock);
	gone = sh_location_report(l, before, by);
	*done += gone ? gone : 1;
	return first != NULL;
}

bool sh_location_expire(struct sh_location *l, uint64_t now, void *by)
{
	unsigned turn = atomic_fetch_add_explicit(&l->turn, 1, memory_order_relaxed), done = 0;

	for (unsigned i = 0; i < SH_LOCATION_STRIPES; i++) {
		struct sh_stripe *s = &l->stripes[(turn + i) % SH_LOCATION_STRIPES];

		while (sh_due_any(&s->due, now) && expire_one(l, s, now, &done, by))
			if (done >= EXPIRE_PORTION)
				return true;
	}
	return false;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

struct sh_bindings *sh_location_lookup(struct sh_location *l, struct sh_slice aor)
{
	struct sh_bindings *b = NULL;
	struct sh_record *r;
	struct sh_stripe *s;
	uint64_t hash;

	s = sh_location_stripe(l, aor, &hash);
	pthread_mutex_lock(&s->lock);
	r = sh_stripe_find(s, hash, aor);
	if (r)
		b = sh_bindings_ref(r->present);
	pthread_mutex_unlock(&s->lock);
	return b;
}

uint64_t sh_location_count(const struct sh_location *l)
{
	return atomic_load_explicit(&l->count, memory_order_relaxed);
}

struct gather {
	struct sh_bindings **all;
	size_t count;
};

static void gather_one(struct sh_hash_node *n, void *ctx)
{
	struct gather *g = ctx;

	g->all[g->count++] = sh_bindings_ref(SH_CONTAINER(n, struct sh_record, node)->present);
}

int sh_location_each(struct sh_location *l, void (*fn)(void *ctx, const struct sh_bindings *b), void *ctx)
{
	int err = 0;

	for (unsigned i = 0; i < SH_LOCATION_STRIPES; i++) {
		struct sh_stripe *s = &l->stripes[i];
		struct gather g = {0};

		pthread_mutex_lock(&s->lock);
		if (s->records.count) {
			g.all = sh_malloc(s->records.count * sizeof(struct sh_bindings *));
			if (g.all)
				sh_hash_each(&s->records, gather_one, &g);
			else
				err = -ENOMEM;
		}
		pthread_mutex_unlock(&s->lock);
		for (size_t k = 0; k < g.count; k++) {
			fn(ctx, g.all[k]);
			sh_bindings_unref(g.all[k]);
		}
		sh_free(g.all);
	}
	return err;
}
