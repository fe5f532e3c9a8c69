/* Is the peer behind a NAT (RFC 3581, RFC 6314 4.2)? It is when it names itself by an address that means nothing outside of its
 * own network, or when the address in its Via is that of its Contact and its packets come from another one. A Contact
 * that just is another machine of the peer's proves nothing: that one is believed. */
#include "transport/impl.h"

bool sh_transport_behind_nat(const struct sh_transport *t, const struct sh_msg *m, struct sh_slice contact,
			     const struct sh_path *from)
{
	const struct sh_endpoint *e = sh_transport_endpoint(t, from->endpoint);
	enum sh_nat mode = e ? e->tuning.nat : SH_NAT_AUTO;
	struct sh_addr named, via;
	struct sh_uri uri;

	if (mode == SH_NAT_NEVER || !m->is_request || !sh_msg_has_one_via(m))
		return false;
	if (mode == SH_NAT_ALWAYS)
		return true;
	if (sh_uri_parse(&uri, contact) || sh_addr_parse(&named, uri.host, 0) || sh_addr_same_host(&named, &from->remote))
		return false;
	if (sh_addr_is_private(&named) && !sh_addr_is_private(&from->remote))
		return true;
	return sh_addr_parse(&via, sh_msg_text(m, m->via_host), 0) == 0 && sh_addr_same_host(&via, &named);
}
