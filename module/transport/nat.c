/* Is the peer behind a NAT (RFC 3581, RFC 6314 4.2)? It is when it names itself by an address that means nothing outside of its
 * own network, or when the address in its Via is that of its Contact and its packets come from another one. A Contact
 * that just is another machine of the peer's proves nothing: that one is believed. Whoever does outbound says it himself: "ob" in the
 * Contact's URI asks for the flow by which the request came (RFC 5626 4.3), whatever is configured. */
#include "transport/impl.h"

/* The topmost Route says it for the Contact (RFC 5626 5.3.2). */
static bool routed_by_flow(const struct sh_msg *m)
{
	struct sh_slice list = m->first[SH_H_ROUTE] ? sh_msg_header(m, SH_H_ROUTE) : (struct sh_slice){0};
	struct sh_name_addr first;
	struct sh_uri uri;

	return list.len && !sh_name_addr_next(&list, &first) && !sh_uri_parse(&uri, first.uri) &&
	       sh_param_find(uri.params, SH_LIT("ob"), NULL);
}

bool sh_transport_behind_nat(const struct sh_transport *t, const struct sh_msg *m, struct sh_slice contact,
			     const struct sh_path *from)
{
	const struct sh_endpoint *e = sh_transport_endpoint(t, from->endpoint);
	enum sh_nat mode = e ? e->tuning.nat : SH_NAT_AUTO;
	struct sh_addr named, via;
	struct sh_uri uri;
	bool said;

	if (!m->is_request || !sh_msg_has_one_via(m))
		return false;
	said = sh_uri_parse(&uri, contact) == 0;
	if ((said && sh_param_find(uri.params, SH_LIT("ob"), NULL)) || routed_by_flow(m))
		return true;
	if (mode == SH_NAT_NEVER)
		return false;
	if (mode == SH_NAT_ALWAYS)
		return true;
	if (!said || sh_addr_parse(&named, uri.host, 0) || sh_addr_same_host(&named, &from->remote))
		return false;
	if (sh_addr_is_private(&named) && !sh_addr_is_private(&from->remote))
		return true;
	return sh_addr_parse(&via, sh_msg_text(m, m->via_host), 0) == 0 && sh_addr_same_host(&via, &named);
}
