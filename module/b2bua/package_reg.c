/* The reg event package (RFC 3680): who is bound to an address of record. Each change is told with the full state. */
#include "b2bua/event.h"
#include "b2bua/impl.h"

static void put_contact(struct sh_writer *w, const struct sh_contact *c, uint64_t now)
{
	/* the same contact has the same id in every document, for whoever compares them */
	static const struct sh_hash_key key = {{1, 2}};

	sh_put_lit(w, "<contact id=\"c");
	sh_put_uint(w, sh_hash_slice(&key, c->uri));
	sh_put_lit(w, "\" state=\"active\" event=\"registered\" expires=\"");
	sh_put_uint(w, (c->expires_at - now) / SH_SECOND);
	sh_put_lit(w, "\" q=\"");
	sh_put_char(w, c->q == 1000 ? '1' : '0');
	sh_put_char(w, '.');
	sh_put_char(w, (char)('0' + c->q / 100 % 10));
	sh_put_lit(w, "\" callid=\"");
	sh_put_xml(w, c->call_id);
	sh_put_lit(w, "\" cseq=\"");
	sh_put_uint(w, c->cseq);
	sh_put_lit(w, "\"><uri>");
	sh_put_xml(w, c->uri);
	sh_put_lit(w, "</uri></contact>\n");
}

static void state(struct sh_subscription *s, struct sh_writer *w, struct sh_slice *type)
{
	struct sh_bindings *b = s->ua->location ? sh_location_lookup(s->ua->location, s->aor) : NULL;
	uint64_t now = sh_env_wall(s->ua->env);
	bool bound = false;

	for (unsigned i = 0; b && i < b->count; i++)
		bound = bound || b->contacts[i].expires_at > now;
	*type = SH_LIT("application/reginfo+xml");
	sh_put_lit(w, "<?xml version=\"1.0\"?>\n<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"");
	sh_put_uint(w, sh_subscription_next_version(s));
	sh_put_lit(w, "\" state=\"full\">\n<registration aor=\"");
	sh_put_xml(w, s->aor);
	sh_put_lit(w, "\" id=\"r");
	sh_put_uint(w, s->handle);
	sh_put_lit(w, "\" state=\"");
	sh_put(w, bound ? SH_LIT("active") : SH_LIT("terminated"));
	sh_put_lit(w, "\">\n");
	for (unsigned i = 0; b && i < b->count; i++)
		if (b->contacts[i].expires_at > now)
			put_contact(w, &b->contacts[i], now);
	sh_put_lit(w, "</registration>\n</reginfo>\n");
	sh_bindings_unref(b);
}

/* ------------------------------------------------------------------ changes */

static struct sh_ua *first_of(struct sh_ua *ua)
{
	return ua->config.peers ? ua->config.peers[0] : ua;
}

void sh_watch_bindings(struct sh_ua *ua, struct sh_slice aor, bool on)
{
	(void)aor;
	if (on)
		atomic_fetch_add(&first_of(ua)->bindings_wanted, 1);
	else
		atomic_fetch_sub(&first_of(ua)->bindings_wanted, 1);
}

struct news {
	struct sh_ua *const *peers;
	size_t len;
	char aor[];
};

static void tell(struct sh_ua *ua, struct sh_slice aor)
{
	sh_event_tell(ua, SH_LIT("reg"), aor);
	sh_event_tell(ua, SH_LIT("presence"), aor);
}

static void on_news(struct sh_env *env, void *arg)
{
	struct news *n = arg;

	tell(n->peers[env->worker], sh_slice_make(n->aor, n->len));
	sh_free(n);
}

void sh_ua_binding_changed(struct sh_ua *ua, struct sh_slice aor)
{
	if (!atomic_load_explicit(&first_of(ua)->bindings_wanted, memory_order_relaxed))
		return;
	for (unsigned i = 0; i < ua->env->workers; i++) {
		struct news *n;

		if (i == ua->env->worker) {
			tell(ua, aor);
			continue;
		}
		n = sh_malloc(sizeof(*n) + aor.len);
		if (!n)
			return;
		*n = (struct news){ua->config.peers, aor.len};
		memcpy(n->aor, aor.base, aor.len);
		if (ua->env->driver->post(ua->env, i, on_news, n) < 0)
			sh_free(n);
	}
}

const struct sh_package sh_package_reg = {{"reg", 3}, 3761, state, sh_watch_bindings, NULL};
