/* Snapshots: a block with the contacts, the store's slots and all texts. */
#include "core/alloc.h"
#include "registrar/location_impl.h"

/* The texts of a contact, for everybody who goes through them. */
#define TEXTS(X) X(uri) X(params) X(call_id) X(path) X(user_agent) X(instance)

static struct sh_slice copy(char **at, struct sh_slice s)
{
	char *to = *at;

	if (s.len)
		memcpy(to, s.base, s.len);
	*at += s.len;
	return sh_slice_make(to, s.len);
}

/* What the binding ends with (RFC 5626 7): the connection that it came by, or a phone's way over datagrams; 0: nothing. What came by
 * a proxy that gave its Path is reached by that, whatever becomes of this connection. */
static uint64_t flow_of(const struct sh_location *l, const struct sh_contact *c)
{
	if (c->path.len)
		return 0;
	if (c->from.flow)
		return c->from.flow;
	return c->from.proto == SH_PROTO_UDP && c->reg_id ? sh_peer_flow(&l->key, &c->from.remote) : 0;
}

struct sh_bindings *sh_bindings_make(const struct sh_location *l, struct sh_slice aor, const struct sh_contact *const *contacts,
				     unsigned count)
{
	size_t fixed = sizeof(struct sh_bindings) + count * (sizeof(struct sh_contact) + sizeof(struct sh_slot));
	size_t texts = aor.len;
	struct sh_bindings *b;
	char *at;

	for (unsigned i = 0; i < count; i++) {
#define X(text) texts += contacts[i]->text.len;
		TEXTS(X)
#undef X
	}
	b = sh_malloc(fixed + texts);
	if (!b)
		return NULL;
	at = (char *)b + fixed;
	atomic_init(&b->refs, 1);
	b->count = count;
	b->aor = copy(&at, aor);
	for (unsigned i = 0; i < count; i++) {
		struct sh_contact *c = &b->contacts[i];

		*c = *contacts[i];
#define X(text) c->text = copy(&at, c->text);
		TEXTS(X)
#undef X
		sh_slots(b)[i] = (struct sh_slot){.flow = flow_of(l, c)};
	}
	return b;
}

struct sh_bindings *sh_bindings_ref(struct sh_bindings *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void sh_bindings_unref(struct sh_bindings *b)
{
	if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		sh_free(b);
}
