/* Where the requests of a dialog go: its next hop (RFC 3261 12.2.1.1), unless the peer is reached where it came from; the addresses
 * of that (RFC 3263 4); and a phone of ours that has come back by another connection. */
#include "b2bua/impl.h"
#include "registrar/gruu.h"

void sh_next_hop_keep(struct sh_next_hop *h, const struct sh_path *paths, unsigned count)
{
	size_t size = count * sizeof(*paths);

	sh_free(h->paths);
	h->paths = count > 1 ? sh_malloc(size) : NULL; /* without memory one address will do */
	h->count = h->paths ? count : 0;
	if (h->paths)
		memcpy(h->paths, paths, size);
}

void sh_next_hop_finish(struct sh_next_hop *h)
{
	sh_free(h->paths);
	*h = (struct sh_next_hop){0};
}

/* ------------------------------------------------------------------ registered phones */

static const struct sh_contact *living(const struct sh_ua *ua, const struct sh_contact *c)
{
	struct sh_reach r = sh_reach_of(c);
	bool usable = !r.path.flow || sh_transport_flow_alive(ua->transport, r.path.flow);

	return usable && !r.route.len && c->expires_at > sh_env_wall(ua->env) ? c : NULL;
}

/* Goes to where that contact registered from; its URI takes the place of the target (RFC 5627 5.1 for a GRUU). */
static bool go_to(struct sh_dialog *d, const struct sh_contact *c)
{
	struct sh_reach r = sh_reach_of(c);

	if (sh_dialog_retarget(d, r.uri) < 0)
		return false;
	if (r.has_path)
		d->path = r.path;
	return r.has_path;
}

/* A GRUU of ours as Contact means the phone that it was given to, wherever it is now (RFC 5627 3.2), and not this server. True: there
 * is nothing to look up. */
static bool follow_gruu(struct sh_ua *ua, struct sh_dialog *d)
{
	struct sh_slice target = sh_dialog_target(d), aor;
	struct sh_bindings *b = NULL;
	struct sh_arena a;
	struct sh_gruu g;
	struct sh_uri uri;
	bool found = false;
	int kind;

	if (!ua->location || sh_slice_find(target, ';') < 0 || !memmem(target.base, target.len, ";gr", 3) || sh_uri_parse(&uri, target) < 0 ||
	    !sh_param_find(uri.params, SH_LIT("gr"), NULL) || !sh_domains_local(ua->domains, &uri))
		return false;
	sh_arena_init(&a, 256);
	kind = sh_gruu_open(&g, &aor, &a, &ua->env->key, &uri);
	if (kind == 0 || (kind == 1 && sh_aor_canonical(&a, &uri, ua->domains, &aor) == 0))
		b = sh_location_lookup(ua->location, aor);
	for (unsigned i = 0; b && i < b->count && !found; i++) {
		const struct sh_contact *c = sh_gruu_match(&g, &ua->env->key, &b->contacts[i]) ? living(ua, &b->contacts[i]) : NULL;

		found = c != NULL;
		if (c && !go_to(d, c)) { /* by its URI */
			found = false;
			break;
		}
	}
	sh_bindings_unref(b);
	sh_arena_finish(&a);
	return found;
}

/* The connection has ended, and who came by it has registered again by another one. */
static bool follow_contact(struct sh_ua *ua, struct sh_dialog *d)
{
	struct sh_slice text = sh_dialog_remote(d), aor;
	struct sh_bindings *b = NULL;
	struct sh_name_addr peer;
	struct sh_arena a;
	struct sh_uri uri;
	bool found = false;

	if (!ua->location || sh_name_addr_next(&text, &peer) || sh_uri_parse(&uri, peer.uri) < 0)
		return false;
	sh_arena_init(&a, 256);
	if (sh_aor_canonical(&a, &uri, ua->domains, &aor) == 0)
		b = sh_location_lookup(ua->location, aor);
	for (unsigned i = 0; b && i < b->count && !found; i++)
		if (sh_slice_eq(b->contacts[i].uri, sh_dialog_target(d)) && living(ua, &b->contacts[i]))
			found = go_to(d, &b->contacts[i]);
	sh_bindings_unref(b);
	sh_arena_finish(&a);
	return found;
}

/* ------------------------------------------------------------------ the next hop */

static bool believes_source(const struct sh_ua *ua, const struct sh_dialog *d, const struct sh_path *from)
{
	const struct sh_endpoint *e = sh_transport_endpoint(ua->transport, from->endpoint);

	return !sh_dialog_routes(d).len && e && e->tuning.nat != SH_NAT_NEVER;
}

/* Of several addresses the one that we have just heard from comes first: it is alive, and it knows the dialog. */
static void prefer(struct sh_path *found, unsigned n, const struct sh_path *from)
{
	for (unsigned i = 1; i < n; i++) {
		struct sh_path it = found[i];

		if (it.proto != from->proto || !sh_addr_same_host(&it.remote, &from->remote))
			continue;
		memmove(found + 1, found, i * sizeof(*found));
		found[0] = it;
		return;
	}
}

static bool by_connection(const struct sh_ua *ua, const struct sh_path *p)
{
	return sh_proto_reliable((enum sh_proto)p->proto) && p->flow && sh_transport_flow_alive(ua->transport, p->flow);
}

/* The path of what has just come is good for now: it reaches the peer, or the peer's proxy. The next hop of the dialog
 * takes its place unless the peer came by a connection that lives, or is behind a NAT, and no route leads elsewhere; a
 * name is looked up and takes over when it is known. */
unsigned sh_dialog_locate(struct sh_ua *ua, struct sh_dialog *d, const struct sh_path *from, bool behind_nat,
			  struct sh_path found[SH_MAX_CANDIDATES], sh_locate_fn fn, void *ctx, struct sh_locate **locate)
{
	struct sh_uri uri;
	int n;

	d->path = *from;
	if (!sh_dialog_routes(d).len && (follow_gruu(ua, d) || behind_nat || by_connection(ua, from)))
		return 0;
	sh_locate_cancel(*locate);
	*locate = NULL;
	if (sh_uri_parse(&uri, sh_dialog_next_hop(d)) < 0)
		return 0;
	n = sh_transport_locate(ua->transport, &uri, -1, found, fn, ctx, locate);
	if (n <= 0)
		return 0;
	/* Nobody who speaks to us from outside is at an address of an inside. */
	if (sh_addr_is_private(&found[0].remote) && !sh_addr_is_private(&from->remote) && believes_source(ua, d, from))
		return 0;
	prefer(found, (unsigned)n, from);
	if (found[0].proto == from->proto && sh_addr_same_host(&found[0].remote, &from->remote)) {
		/* the same peer: from the socket and address that it knows */
		d->path.remote.port = found[0].remote.port;
	} else {
		d->path = found[0];
	}
	return (unsigned)n;
}

/* The peer's connection has ended, so nobody is at the other side of that address any more. The phone may have come back; or its URI
 * says where it can be reached, unless it has asked for its flow and nothing else ("ob", RFC 5626 4.3). */
static void find_again(struct sh_ua *ua, struct sh_dialog *d)
{
	struct sh_path found[SH_MAX_CANDIDATES];
	struct sh_locate *pending = NULL;
	struct sh_uri uri;

	if (sh_dialog_routes(d).len || follow_gruu(ua, d) || follow_contact(ua, d) ||
	    sh_uri_parse(&uri, sh_dialog_target(d)) < 0 || sh_param_find(uri.params, SH_LIT("ob"), NULL))
		return;
	if (sh_transport_locate(ua->transport, &uri, -1, found, NULL, NULL, &pending) > 0 &&
	    (sh_addr_is_private(&d->path.remote) || !sh_addr_is_private(&found[0].remote)))
		d->path = found[0];
	sh_locate_cancel(pending);
}

bool sh_dialog_find_again(struct sh_ua *ua, struct sh_dialog *d)
{
	struct sh_path before = d->path;

	if (!before.flow)
		return false;
	find_again(ua, d);
	return d->path.flow != before.flow;
}

/* Where the next request goes: to another address of the same name when the last one has just failed. */
unsigned sh_next_hop_choose(struct sh_ua *ua, const struct sh_next_hop *h, struct sh_dialog *d, struct sh_path others[SH_MAX_CANDIDATES])
{
	struct sh_transport *t = ua->transport;
	unsigned n = 0;

	if (d->path.flow && !sh_transport_flow_alive(t, d->path.flow))
		find_again(ua, d);
	if (!h->count)
		return 0;
	for (unsigned i = 0; sh_transport_avoids(t, &d->path) && i < h->count; i++)
		if (!sh_transport_avoids(t, &h->paths[i]))
			d->path = h->paths[i];
	for (unsigned i = 0; i < h->count; i++)
		if (!sh_addr_eq(&h->paths[i].remote, &d->path.remote))
			others[n++] = h->paths[i];
	return n;
}

int sh_dialog_send(struct sh_ua *ua, const struct sh_next_hop *h, struct sh_dialog *d, struct sh_client_txn **out, enum sh_method method,
		   const struct sh_writer *line, const struct sh_writer *rest, sh_client_fn fn, void *user)
{
	struct sh_path others[SH_MAX_CANDIDATES];
	unsigned other_count = sh_next_hop_choose(ua, h, d, others);
	struct sh_client_request rq = {.method = method, .line = sh_writer_text(line), .rest = sh_writer_text(rest), .path = d->path,
				       .others = others, .other_count = other_count};

	if (line->full || rest->full)
		return -EMSGSIZE;
	return sh_client_txn_start(out, ua->txn, &rq, fn, user);
}
