/* How many subscriptions each source has on this worker, so that one of them cannot take all the memory. A source is an
 * IPv4 address or an IPv6 network of 64 bits, which is what one subscriber line has. Trusted peers bring those of many
 * others: only the sum counts for them. */
#include "b2bua/impl.h"

enum { MOST = 100000, MOST_OF_ONE = 5000 }; /* 50 phones of 100 lamps each behind one NAT */

struct sh_subscriber {
	struct sh_hash_node node;
	struct sh_addr host;
	unsigned count;
};

static uint64_t hash_of(const struct sh_ua *ua, const struct sh_addr *host)
{
	return sh_hash_slice(&ua->env->key, sh_slice_make((const char *)host, sizeof(*host)));
}

static struct sh_addr host_of(const struct sh_addr *peer)
{
	struct sh_addr host = *peer;

	host.port = 0;
	if (host.family == 6)
		memset(host.ip + 8, 0, 8);
	return host;
}

static struct sh_subscriber *find(const struct sh_ua *ua, const struct sh_addr *host)
{
	struct sh_hash_node *n = ua->subscribers.count ? sh_hash_find(&ua->subscribers, hash_of(ua, host)) : NULL;

	for (; n; n = sh_hash_next(n)) {
		struct sh_subscriber *b = SH_CONTAINER(n, struct sh_subscriber, node);

		if (sh_addr_eq(&b->host, host))
			return b;
	}
	return NULL;
}

int sh_subscriber_count(struct sh_ua *ua, const struct sh_addr *peer, struct sh_subscriber **out)
{
	struct sh_addr host = host_of(peer);
	struct sh_subscriber *b;

	*out = NULL;
	if (ua->subscriptions.count >= MOST)
		return -EAGAIN;
	if (sh_ua_trusts(ua, peer))
		return 0;
	b = find(ua, &host);
	if (b && b->count >= MOST_OF_ONE)
		return -EAGAIN;
	if (!b) {
		b = sh_calloc(1, sizeof(*b));
		if (!b)
			return -ENOMEM;
		b->host = host;
		sh_hash_insert(&ua->subscribers, &b->node, hash_of(ua, &host));
	}
	b->count++;
	*out = b;
	return 0;
}

void sh_subscriber_uncount(struct sh_ua *ua, struct sh_subscriber *b)
{
	if (!b || --b->count)
		return;
	sh_hash_remove(&ua->subscribers, &b->node);
	sh_free(b);
}
