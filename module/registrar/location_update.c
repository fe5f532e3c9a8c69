/* One REGISTER's change of an address of record (RFC 3261 10.3 steps 6 and 7). First a plan: what becomes of each
 * binding that is there, and which come new. Nothing is touched until the plan stands and its snapshot is made. */
#include <errno.h>

#include "core/alloc.h"
#include "registrar/location_impl.h"

enum { DEFAULT_MAX_CONTACTS = 10 };

struct item {                         /* a binding of the plan */
	const struct sh_contact *old; /* as it is in the present snapshot; NULL: comes new */
	struct sh_contact fresh;      /* what this request makes of it; valid when `touched` and it stays */
	uint8_t fate; /* enum sh_fate */
	bool touched; /* by this request */
	bool dead;    /* it was gone before this request came */
};

struct plan {
	const struct sh_location_update *u;
	struct item *items; /* the present bindings in their order, then the new ones */
	unsigned count, max;
	size_t room;                        /* for items, and for what points at them; all in one block */
	unsigned stay;                      /* items that stay */
	unsigned added;                     /* of them, those that come new */
	struct item **order;                /* those that stay, as they stand in the next snapshot */
	const struct sh_contact **contacts; /* the same */
};

static struct sh_uri parse_or_text(struct sh_slice text)
{
	struct sh_uri uri;

	if (sh_uri_parse(&uri, text))
		uri = (struct sh_uri){.kind = SH_URI_OTHER, .text = text};
	return uri;
}

bool sh_contact_same_uri(struct sh_slice a, struct sh_slice b)
{
	struct sh_uri x, y;

	if (sh_slice_eq(a, b))
		return true;
	x = parse_or_text(a);
	y = parse_or_text(b);
	return sh_uri_equal(&x, &y);
}

static const struct sh_contact *contact_of(const struct item *it)
{
	return it->touched ? &it->fresh : it->old;
}

static bool same_binding(const struct item *it, const struct sh_contact_update *c)
{
	const struct sh_contact *is = contact_of(it);

	if (is->instance.len && is->reg_id && c->instance.len && c->reg_id)
		return is->reg_id == c->reg_id && sh_slice_ieq(is->instance, c->instance);
	return sh_contact_same_uri(is->uri, c->uri);
}

/* The order of requests from one user agent: an older one must not undo a newer one. */
static bool out_of_order(const struct item *it, const struct sh_location_update *u)
{
	return !it->touched && sh_slice_eq(it->old->call_id, u->call_id) && u->cseq <= it->old->cseq;
}

static void set_stays(struct plan *p, struct item *it, bool stays)
{
	bool before = it->fate == SH_FATE_STAYS;

	it->fate = stays ? SH_FATE_STAYS : SH_FATE_REMOVED;
	p->stay = p->stay + stays - before;
	if (!it->old)
		p->added = p->added + stays - before;
}

static void bind_item(struct plan *p, struct item *it, const struct sh_contact_update *c)
{
	const struct sh_location_update *u = p->u;

	it->touched = true;
	it->fresh = (struct sh_contact){
	    .uri = c->uri,
	    .params = c->params,
	    .call_id = u->call_id,
	    .path = u->path,
	    .user_agent = u->user_agent,
	    .instance = c->instance,
	    .cseq = u->cseq,
	    .reg_id = c->reg_id,
	    .behind_nat = c->behind_nat,
	    .keep_alive = (uint8_t)u->keep_alive,
	    .keep_interval = u->keep_interval,
	    .keeper = u->by,
	    .q = c->q,
	    .expires_at = u->now + c->expires * SH_SECOND,
	    .updated_at = u->now,
	    .from = u->from,
	};
	set_stays(p, it, true);
}

/* One contact of the request: refreshes the first binding that is the same, removes all that are, or is added. */
static int plan_contact(struct plan *p, const struct sh_contact_update *c)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct item *it = &p->items[i];

		if (it->dead || !same_binding(it, c))
			continue;
		if (out_of_order(it, p->u))
			return -EBUSY;
		if (c->expires) {
			bind_item(p, it, c);
			return 0;
		}
		if (!it->touched)
			it->fresh = *it->old;
		it->touched = true;
		set_stays(p, it, false);
	}
	if (!c->expires)
		return 0;
	if (p->count == p->room)
		return -EDQUOT;
	p->items[p->count] = (struct item){.fate = SH_FATE_REMOVED};
	bind_item(p, &p->items[p->count++], c);
	return 0;
}

static int plan_remove_all(struct plan *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct item *it = &p->items[i];

		if (it->dead)
			continue;
		if (out_of_order(it, p->u))
			return -EBUSY;
		set_stays(p, it, false);
	}
	return 0;
}

/* Too many: the bindings that have not been heard of for the longest time make room, if they may. */
static int plan_limit(struct plan *p)
{
	if (!p->added)
		return 0; /* the limit may have been higher once: a refresh is no sin */
	while (p->stay > p->max) {
		struct item *oldest = NULL;

		for (unsigned i = 0; i < p->count && p->u->replace_oldest; i++) {
			struct item *it = &p->items[i];

			if (it->fate == SH_FATE_STAYS && !it->touched &&
			    (!oldest || it->old->updated_at < oldest->old->updated_at))
				oldest = it;
		}
		if (!oldest)
			return -EDQUOT;
		set_stays(p, oldest, false);
	}
	return 0;
}

static bool goes_before(const struct sh_contact *a, const struct sh_contact *b)
{
	return a->q != b->q ? a->q > b->q : a->updated_at > b->updated_at;
}

/* q descending, then newest first; otherwise the order of the items. */
static void plan_order(struct plan *p)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->count; i++) {
		struct item *it = &p->items[i];
		unsigned at;

		if (it->fate != SH_FATE_STAYS)
			continue;
		for (at = n++; at > 0 && goes_before(contact_of(it), contact_of(p->order[at - 1])); at--)
			p->order[at] = p->order[at - 1];
		p->order[at] = it;
	}
	for (unsigned i = 0; i < n; i++)
		p->contacts[i] = contact_of(p->order[i]);
}

static void plan_present(struct plan *p, struct sh_bindings *present)
{
	for (unsigned i = 0; present && i < present->count; i++) {
		const struct sh_contact *c = &present->contacts[i];
		enum sh_fate fate = (enum sh_fate)sh_slots(present)[i].fate;

		if (fate == SH_FATE_STAYS && c->expires_at <= p->u->now)
			fate = SH_FATE_EXPIRED;
		p->items[p->count++] = (struct item){.old = c, .fate = (uint8_t)fate, .dead = fate != SH_FATE_STAYS};
		p->stay += fate == SH_FATE_STAYS;
	}
}

static int plan_make(struct plan *p, const struct sh_location_update *u, struct sh_bindings *present)
{
	unsigned max = u->max_contacts ? u->max_contacts : DEFAULT_MAX_CONTACTS;
	int err = 0;

	/* No more than `max` can come new and stay: the list of items cannot grow without bound. */
	*p = (struct plan){.u = u, .max = max, .room = u->count < max ? u->count : max};
	p->room += present ? present->count : 0;
	p->items = sh_malloc(p->room * (sizeof(*p->items) + sizeof(*p->order) + sizeof(*p->contacts)));
	if (!p->items)
		return -ENOMEM;
	p->order = (struct item **)(p->items + p->room);
	p->contacts = (const struct sh_contact **)(p->order + p->room);
	plan_present(p, present);
	if (u->remove_all)
		return plan_remove_all(p);
	for (unsigned i = 0; i < u->count && !err; i++)
		err = plan_contact(p, &u->contacts[i]);
	if (!err)
		err = plan_limit(p);
	if (!err)
		plan_order(p);
	return err;
}

/* Makes the plan true. *after is a reference for the caller, *before is for sh_location_report(). */
static int plan_commit(struct plan *p, struct sh_location *l, struct sh_stripe *s, uint64_t hash, struct sh_record *r,
		       struct sh_bindings **after, struct sh_bindings **before)
{
	struct sh_bindings *b = NULL;
	int err;

	if (p->stay) {
		b = sh_bindings_make(l, p->u->aor, p->contacts, p->stay);
		if (!b)
			return -ENOMEM;
	}
	err = sh_stripe_publish(l, s, hash, r, b, before);
	if (err) {
		sh_bindings_unref(b);
		return err;
	}
	for (unsigned i = 0; *before && i < (*before)->count; i++)
		sh_slots(*before)[i].fate = p->items[i].fate;
	*after = b ? sh_bindings_ref(b) : NULL;
	return 0;
}

/* What came new or was refreshed. */
static void plan_report(const struct plan *p, const struct sh_location *l, const struct sh_bindings *after)
{
	for (unsigned i = 0; l->fn && i < p->stay; i++)
		if (p->order[i]->touched)
			l->fn(l->ctx, p->u->by, after->aor, &after->contacts[i],
			      p->order[i]->old ? SH_BINDING_REFRESHED : SH_BINDING_ADDED);
}

int sh_location_update(struct sh_location *l, const struct sh_location_update *u, struct sh_bindings **out)
{
	struct sh_bindings *after = NULL, *before = NULL;
	struct sh_record *r;
	struct sh_stripe *s;
	struct plan plan;
	uint64_t hash;
	int err;

	if (!u->count && !u->remove_all) {
		*out = sh_location_lookup(l, u->aor);
		return 0;
	}
	s = sh_location_stripe(l, u->aor, &hash);
	pthread_mutex_lock(&s->lock);
	r = sh_stripe_find(s, hash, u->aor);
	err = plan_make(&plan, u, r ? r->present : NULL);
	if (!err)
		err = plan_commit(&plan, l, s, hash, r, &after, &before);
	pthread_mutex_unlock(&s->lock);
	if (!err) {
		if (u->replaced)
			*u->replaced = before ? sh_bindings_ref(before) : NULL;
		sh_location_report(l, before, u->by);
		plan_report(&plan, l, after);
		*out = after;
	}
	sh_free(plan.items);
	return err;
}

/* The present contacts with c at its place, and without the one that has its URI. 0 or -ENOMEM. */
static int put_in(const struct sh_bindings *present, const struct sh_contact *c, const struct sh_contact ***out, unsigned *count)
{
	unsigned n = 0, old = present ? present->count : 0;
	const struct sh_contact **list = sh_malloc((old + 1) * sizeof(*list));
	bool placed = false;

	if (!list)
		return -ENOMEM;
	for (unsigned i = 0; i < old; i++) {
		const struct sh_contact *is = &present->contacts[i];

		if (sh_contact_same_uri(is->uri, c->uri))
			continue;
		if (!placed && goes_before(c, is)) {
			list[n++] = c;
			placed = true;
		}
		list[n++] = is;
	}
	if (!placed)
		list[n++] = c;
	*out = list;
	*count = n;
	return 0;
}

int sh_location_restore(struct sh_location *l, struct sh_slice aor, const struct sh_contact *c)
{
	const struct sh_contact **list = NULL;
	struct sh_bindings *b, *before = NULL;
	struct sh_record *r;
	struct sh_stripe *s;
	uint64_t hash;
	unsigned count;
	int err;

	s = sh_location_stripe(l, aor, &hash);
	pthread_mutex_lock(&s->lock);
	r = sh_stripe_find(s, hash, aor);
	err = put_in(r ? r->present : NULL, c, &list, &count);
	b = err ? NULL : sh_bindings_make(l, aor, list, count);
	if (!err && !b)
		err = -ENOMEM;
	if (!err)
		err = sh_stripe_publish(l, s, hash, r, b, &before);
	pthread_mutex_unlock(&s->lock);
	if (err)
		sh_bindings_unref(b);
	sh_bindings_unref(before);
	sh_free(list);
	return err;
}
