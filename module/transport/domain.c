/* The domains that TLS peers must prove (RFC 5922), by number, so that a path stays small. The latest few thousand are
 * remembered: a number is used within seconds, and one that is too old names nobody, whom no certificate proves. */
#include "transport/impl.h"

enum { DOMAINS = 4096, DOMAIN_MAX_LEN = 255 }; /* a power of two */

struct sh_domain {
	struct sh_hash_node node;
	uint32_t id;
	size_t len;
	char text[]; /* lower case */
};

struct sh_domain_ring {
	struct sh_hash by_text;
	uint32_t last; /* the id given last; 0: none */
	struct sh_domain *ring[DOMAINS]; /* by id */
};

static struct sh_domain *find(const struct sh_domain_ring *n, struct sh_slice text, uint64_t hash)
{
	for (struct sh_hash_node *h = sh_hash_find(&n->by_text, hash); h; h = sh_hash_next(h)) {
		struct sh_domain *d = SH_CONTAINER(h, struct sh_domain, node);
		if (sh_slice_eq(sh_slice_make(d->text, d->len), text))
			return d;
	}
	return NULL;
}

static void forget(struct sh_domain_ring *n, uint32_t slot)
{
	if (!n->ring[slot])
		return;
	sh_hash_remove(&n->by_text, &n->ring[slot]->node);
	sh_free(n->ring[slot]);
	n->ring[slot] = NULL;
}

static struct sh_domain_ring *create(void)
{
	struct sh_domain_ring *n = sh_calloc(1, sizeof(*n));

	if (n && sh_hash_init(&n->by_text, 64) < 0) {
		sh_free(n);
		return NULL;
	}
	return n;
}

uint32_t sh_domain_intern(struct sh_transport *t, struct sh_slice host)
{
	char lower[DOMAIN_MAX_LEN];
	struct sh_domain_ring *n = t->domains;
	struct sh_slice text;
	struct sh_domain *d;
	uint64_t hash;

	if (host.len > 0 && host.base[host.len - 1] == '.')
		host.len--;
	if (host.len == 0 || host.len > sizeof(lower))
		return 0;
	if (!n)
		n = t->domains = create();
	if (!n)
		return 0;
	for (size_t i = 0; i < host.len; i++)
		lower[i] = sh_lower(host.base[i]);
	text = sh_slice_make(lower, host.len);
	hash = sh_hash_slice(&t->env->key, text);
	d = find(n, text, hash);
	if (d)
		return d->id;
	d = sh_malloc(sizeof(*d) + text.len);
	if (!d)
		return 0;
	if (++n->last == 0)
		n->last = DOMAINS; /* after 4 thousand million names: the low bits go on */
	forget(n, n->last % DOMAINS);
	d->id = n->last;
	d->len = text.len;
	memcpy(d->text, lower, text.len);
	sh_hash_insert(&n->by_text, &d->node, hash);
	n->ring[n->last % DOMAINS] = d;
	return d->id;
}

struct sh_slice sh_domain_text(const struct sh_transport *t, uint32_t id)
{
	const struct sh_domain *d = t->domains && id ? t->domains->ring[id % DOMAINS] : NULL;

	return d && d->id == id ? sh_slice_make(d->text, d->len) : SH_LIT("");
}

void sh_domains_finish(struct sh_transport *t)
{
	if (!t->domains)
		return;
	for (uint32_t i = 0; i < DOMAINS; i++)
		forget(t->domains, i);
	sh_hash_finish(&t->domains->by_text);
	sh_free(t->domains);
	t->domains = NULL;
}
