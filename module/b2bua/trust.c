/* Peers that are believed (RFC 3325 2.1). */
#include "b2bua/impl.h"

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
