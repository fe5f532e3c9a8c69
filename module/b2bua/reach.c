/* Registered phones and the flows by which they are reached (RFC 5626 7). */
#include "b2bua/impl.h"

/* Behind a proxy the Path says the way, and whose connection brought the REGISTER means nothing. A connection is used as it is, and so
 * is the address of a phone that does outbound; a datagram contact of another phone is reached at its URI, from the socket that it
 * knows, or behind a NAT where its packets came from. */
struct sh_reach sh_reach_of(const struct sh_contact *c)
{
	struct sh_reach r = {.uri = c->uri, .route = c->path, .path = c->from};

	if (c->path.len)
		return r;
	r.behind_nat = c->behind_nat || c->reg_id;
	r.has_path = sh_proto_reliable((enum sh_proto)c->from.proto) ? c->from.flow != 0 : r.behind_nat;
	return r;
}

void sh_target_reach(struct sh_target *t, const struct sh_reach *r)
{
	t->uri = r->uri;
	t->route = r->route;
	t->path = r->path;
	t->has_path = r->has_path;
	t->behind_nat = r->behind_nat;
	t->endpoint = r->route.len ? -1 : r->path.endpoint;
	t->hop = (struct sh_slice){0};
}

bool sh_target_next_flow(struct sh_target *t)
{
	if (!t->other_count)
		return false;
	t->other_count--;
	sh_target_reach(t, t->others++);
	return true;
}
