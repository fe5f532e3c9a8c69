/* What each source (sh_source_of) keeps on this worker, so that one of them cannot take all the memory: subscriptions, and octets of
 * what it has published. Trusted peers bring those of many others: only the sum counts for them, which whoever takes looks at. */
#include "b2bua/impl.h"

static const size_t most_of_one[SH_KEPT_COUNT] = {
	[SH_KEPT_SUBSCRIPTIONS] = 5000,         /* 50 phones of 100 lamps each behind one NAT */
	[SH_KEPT_OCTETS] = 4 * 1024 * 1024,     /* 2000 phones of 2 KB each */
};

struct sh_source {
	struct sh_hash_node node;
	struct sh_addr host;
	size_t kept[SH_KEPT_COUNT];
};

static uint64_t hash_of(const struct sh_ua *ua, const struct sh_addr *host)
{
	return sh_hash_slice(&ua->env->key, sh_slice_make((const char *)host, sizeof(*host)));
}

static struct sh_source *find(const struct sh_ua *ua, const struct sh_addr *host)
{
	struct sh_hash_node *n = ua->sources.count ? sh_hash_find(&ua->sources, hash_of(ua, host)) : NULL;

	for (; n; n = sh_hash_next(n)) {
		struct sh_source *s = SH_CONTAINER(n, struct sh_source, node);

		if (sh_addr_eq(&s->host, host))
			return s;
	}
	return NULL;
}

struct sh_addr sh_source_host(const struct sh_source *s)
{
	return s ? s->host : (struct sh_addr){0};
}

bool sh_source_has_room(const struct sh_ua *ua, const struct sh_addr *peer, enum sh_kept what, size_t n)
{
	struct sh_addr host = sh_source_of(peer);
	const struct sh_source *s = sh_ua_trusts(ua, peer) ? NULL : find(ua, &host);

	return !s || s->kept[what] + n <= most_of_one[what];
}

int sh_source_take(struct sh_ua *ua, const struct sh_addr *peer, enum sh_kept what, size_t n, struct sh_source **out)
{
	struct sh_addr host = sh_source_of(peer);
	struct sh_source *s;

	*out = NULL;
	if (sh_ua_trusts(ua, peer))
		return 0;
	if (!sh_source_has_room(ua, peer, what, n))
		return -EAGAIN;
	s = find(ua, &host);
	if (!s) {
		s = sh_calloc(1, sizeof(*s));
		if (!s)
			return -ENOMEM;
		s->host = host;
		sh_hash_insert(&ua->sources, &s->node, hash_of(ua, &host));
	}
	s->kept[what] += n;
	*out = s;
	return 0;
}

void sh_source_give(struct sh_ua *ua, struct sh_source *s, enum sh_kept what, size_t n)
{
	if (!s)
		return;
	s->kept[what] -= n;
	for (unsigned i = 0; i < SH_KEPT_COUNT; i++)
		if (s->kept[i])
			return;
	sh_hash_remove(&ua->sources, &s->node);
	sh_free(s);
}
