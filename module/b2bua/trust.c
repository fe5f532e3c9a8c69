/* Peers that are believed (RFC 3325 2.1). */
#include "b2bua/impl.h"

int sh_prefix_parse(struct sh_prefix *out, struct sh_slice text)
{
	struct sh_slice host, bits;
	struct sh_prefix p;
	unsigned max;
	bool has_bits = sh_slice_cut(text, '/', &host, &bits);

	if (sh_addr_parse(&p.addr, host, 0) < 0)
		return -EINVAL;
	max = p.addr.family == 4 ? 32 : 128;
	p.bits = max;
	if (has_bits && (sh_slice_u32(bits, &p.bits) < 0 || p.bits > max))
		return -EINVAL;
	*out = p;
	return 0;
}

bool sh_prefix_match(const struct sh_prefix *p, const struct sh_addr *a)
{
	unsigned whole = p->bits / 8, rest = p->bits % 8;

	if (p->addr.family != a->family || memcmp(p->addr.ip, a->ip, whole) != 0)
		return false;
	return rest == 0 || ((p->addr.ip[whole] ^ a->ip[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

int sh_ua_set_trust(struct sh_ua *ua, const struct sh_prefix *list, unsigned count)
{
	struct sh_prefix *copy = NULL;

	if (count) {
		copy = sh_malloc(count * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, list, count * sizeof(*copy));
	}
	sh_free(ua->trust);
	ua->trust = copy;
	ua->ntrust = count;
	return 0;
}

bool sh_ua_trusts(const struct sh_ua *ua, const struct sh_addr *peer)
{
	for (unsigned i = 0; i < ua->ntrust; i++)
		if (sh_prefix_match(&ua->trust[i], peer))
			return true;
	return false;
}
