/* Addresses that did not answer, or said that they are overloaded: for a while, whoever has another one to go to does
 * (RFC 3263 4.3). Nobody is refused for it: an address that is the only one is tried all the same. */
#include "transport/impl.h"

enum { AVOIDED_MAX = 1024 };
#define AVOID_MAX (300 * SH_SECOND) /* whatever a Retry-After says */

struct avoided {
	struct sh_hash_node node;
	struct sh_link age; /* sh_transport.avoided_by_age */
	struct sh_addr remote;
	uint8_t proto;
	uint64_t until;
};

static uint64_t hash_of(const struct sh_transport *t, const struct sh_path *p)
{
	struct sh_slice parts[2] = {{(const char *)&p->proto, 1}, sh_addr_bytes(&p->remote)};

	return sh_hash_slices(&t->env->key, parts, 2);
}

static struct avoided *find(const struct sh_transport *t, const struct sh_path *p)
{
	for (struct sh_hash_node *n = sh_hash_find(&t->avoided, hash_of(t, p)); n; n = sh_hash_next(n)) {
		struct avoided *a = SH_CONTAINER(n, struct avoided, node);
		if (a->proto == p->proto && sh_addr_eq(&a->remote, &p->remote))
			return a;
	}
	return NULL;
}

static void forget(struct sh_transport *t, struct avoided *a)
{
	sh_hash_remove(&t->avoided, &a->node);
	sh_list_remove(&a->age);
	sh_free(a);
}

static struct avoided *add(struct sh_transport *t, const struct sh_path *p)
{
	struct avoided *a;

	if (t->avoided.count >= AVOIDED_MAX)
		forget(t, SH_CONTAINER(t->avoided_by_age.next, struct avoided, age));
	a = sh_calloc(1, sizeof(*a));
	if (!a)
		return NULL; /* the next one will find out by itself */
	a->proto = p->proto;
	a->remote = p->remote;
	sh_list_append(&t->avoided_by_age, &a->age);
	sh_hash_insert(&t->avoided, &a->node, hash_of(t, p));
	return a;
}

void sh_transport_avoid(struct sh_transport *t, const struct sh_path *p, uint64_t time)
{
	struct avoided *a;

	if (p->remote.family == 0)
		return;
	a = find(t, p);
	if (!a)
		a = add(t, p);
	if (!a)
		return;
	time = time ? time : t->config.avoid_time;
	a->until = t->env->now + (time < AVOID_MAX ? time : AVOID_MAX);
}

void sh_transport_works(struct sh_transport *t, const struct sh_path *p)
{
	struct avoided *a = t->avoided.count > 0 ? find(t, p) : NULL;

	if (a)
		forget(t, a);
}

bool sh_avoided(struct sh_transport *t, const struct sh_path *p)
{
	struct avoided *a = t->avoided.count > 0 ? find(t, p) : NULL;

	if (!a)
		return false;
	if (a->until > t->env->now)
		return true;
	forget(t, a);
	return false;
}

bool sh_transport_avoids(struct sh_transport *t, const struct sh_path *path)
{
	return sh_avoided(t, path);
}

void sh_avoid_finish(struct sh_transport *t)
{
	while (!sh_list_empty(&t->avoided_by_age))
		forget(t, SH_CONTAINER(t->avoided_by_age.next, struct avoided, age));
	sh_hash_finish(&t->avoided);
}
