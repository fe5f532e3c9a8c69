/* What goes over from one process to the next, as packets and back. Numbers and structures as the machine has them: both sides are of
 * one machine, and their greeting has compared the sizes. */
#include "engine/handover.h"

#include <stdlib.h>

#include "registrar/nonce.h"

/* ------------------------------------------------------------------ requests that were begun */

static int compare(const void *a, const void *b)
{
	const struct sh_handover_begun *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

void sh_handover_set_begun(struct sh_handover *h, struct sh_handover_begun *list, size_t count)
{
	if (count)
		qsort(list, count, sizeof(*list), compare);
	sh_free(h->begun);
	h->begun = list;
	h->nbegun = count;
}

const struct sh_handover_begun *sh_handover_find_begun(const struct sh_handover *h, uint64_t key)
{
	const struct sh_handover_begun wanted = {key, 0};

	return h->nbegun ? bsearch(&wanted, h->begun, h->nbegun, sizeof(wanted), compare) : NULL;
}

/* ------------------------------------------------------------------ out */

struct giving {
	struct sh_handover *h;
	int peer, err;
	struct sh_slice name; /* of the store */
	struct sh_nonce_record nonces[512];
	unsigned nnonces;
};

/* A binding: this, the address of record, and the texts in the order of texts_of(). The pointers in `contact` mean nothing. */
struct binding {
	struct sh_handover_flow flow;
	uint64_t aor_len;
	struct sh_contact contact;
};

enum { TEXTS = 6 };

static void texts_of(struct sh_contact *c, struct sh_slice *out[TEXTS])
{
	out[0] = &c->uri;
	out[1] = &c->params;
	out[2] = &c->call_id;
	out[3] = &c->path;
	out[4] = &c->user_agent;
	out[5] = &c->instance;
}

/* The lock is held. */
static int send_binding(struct sh_handover *h, int peer, struct sh_slice aor, const struct sh_contact *c)
{
	struct binding b = {.aor_len = aor.len, .contact = *c};
	struct sh_slice *texts[TEXTS];
	size_t at = aor.len, len = at;
	char *body;
	int err;

	b.flow = sh_handover_flow_out(h, c->from.flow);
	texts_of(&b.contact, texts);
	for (int i = 0; i < TEXTS; i++)
		len += texts[i]->len;
	body = sh_malloc(len + 1);
	if (!body)
		return -ENOMEM;
	memcpy(body, aor.base, aor.len);
	for (int i = 0; i < TEXTS; i++) {
		if (texts[i]->len)
			memcpy(body + at, texts[i]->base, texts[i]->len);
		at += texts[i]->len;
		texts[i]->base = NULL;
	}
	err = sh_handover_tell(h, peer, SH_HANDOVER_BINDING, &b, sizeof(b), body, len);
	sh_free(body);
	return err;
}

/* The workers go on meanwhile, and tell of changes under the same lock: what is looked up under it is what they have told of so far. */
static void give_bindings(void *ctx, const struct sh_bindings *visited)
{
	struct giving *g = ctx;
	struct sh_bindings *b;

	if (g->err)
		return;
	pthread_mutex_lock(&g->h->lock);
	b = sh_location_lookup(g->h->engine->location, visited->aor);
	for (unsigned i = 0; b && i < b->count && !g->err; i++)
		g->err = send_binding(g->h, g->peer, b->aor, &b->contacts[i]);
	pthread_mutex_unlock(&g->h->lock);
	sh_bindings_unref(b);
	if (!g->err)
		g->err = sh_handover_drain(g->h, g->peer);
}

static void give(struct giving *g, enum sh_handover_kind kind, const void *head, size_t head_len, const void *body, size_t len)
{
	if (g->err)
		return;
	pthread_mutex_lock(&g->h->lock);
	g->err = sh_handover_tell(g->h, g->peer, kind, head, head_len, body, len);
	pthread_mutex_unlock(&g->h->lock);
	if (!g->err)
		g->err = sh_handover_drain(g->h, g->peer);
}

/* A part of a store: this, its name, and bytes. */
struct part {
	uint32_t name_len, last;
};

static void give_store(void *ctx, struct sh_slice name, const char *data, size_t len)
{
	struct giving *g = ctx;
	char head[sizeof(struct part) + SH_SHARED_NAME_MAX];
	struct part part = {(uint32_t)name.len, 0};
	size_t n;

	do {
		n = len < SH_HANDOVER_PART ? len : SH_HANDOVER_PART;
		part.last = n == len;
		memcpy(head, &part, sizeof(part));
		memcpy(head + sizeof(part), name.base, name.len);
		give(g, SH_HANDOVER_STORE, head, sizeof(part) + name.len, data, n);
		data += n;
		len -= n;
	} while (len);
}

static void flush_nonces(struct giving *g)
{
	if (g->nnonces)
		give(g, SH_HANDOVER_NONCE, NULL, 0, g->nonces, g->nnonces * sizeof(g->nonces[0]));
	g->nnonces = 0;
}

static void give_nonce(void *ctx, const struct sh_nonce_record *r)
{
	struct giving *g = ctx;

	g->nonces[g->nnonces++] = *r;
	if (g->nnonces == sizeof(g->nonces) / sizeof(g->nonces[0]))
		flush_nonces(g);
}

static void tell_write(void *ctx, const char *data, size_t len)
{
	struct sh_handover *h = ctx;

	pthread_mutex_lock(&h->lock);
	if (atomic_load(&h->telling_writes) && h->newest >= 0)
		sh_handover_tell(h, h->newest, SH_HANDOVER_WRITE, NULL, 0, data, len);
	pthread_mutex_unlock(&h->lock);
}

int sh_handover_give_bindings(struct sh_handover *h, int peer)
{
	struct giving *g = sh_calloc(1, sizeof(*g));
	int err;

	if (!g)
		return -ENOMEM;
	g->h = h;
	g->peer = peer;
	atomic_store(&h->telling, true);
	err = sh_location_each(h->engine->location, give_bindings, g);
	err = err ? err : g->err;
	sh_free(g);
	return err;
}

int sh_handover_give_rest(struct sh_handover *h, int peer)
{
	struct sh_engine *e = h->engine;
	struct giving *g = sh_calloc(1, sizeof(*g));
	struct sh_vm_world w;
	int err;

	if (!g)
		return -ENOMEM;
	g->h = h;
	g->peer = peer;
	sh_engine_world(e, &w);
	for (size_t at = 0; at < h->nbegun; at += SH_HANDOVER_PART / sizeof(h->begun[0])) {
		size_t n = h->nbegun - at < SH_HANDOVER_PART / sizeof(h->begun[0]) ? h->nbegun - at : SH_HANDOVER_PART / sizeof(h->begun[0]);

		give(g, SH_HANDOVER_BEGUN, NULL, 0, h->begun + at, n * sizeof(h->begun[0]));
	}
	for (struct sh_handover_packet *p = h->known; p; p = p->next)
		give(g, p->kind, NULL, 0, p->data, p->len);
	err = sh_shared_pack_all(e->shared, w.now(w.ctx), w.wall(w.ctx), give_store, g);
	atomic_store(&h->telling_writes, true);
	sh_shared_tell(e->shared, tell_write, h);
	sh_auth_each_nonce(e->auth, give_nonce, g);
	flush_nonces(g);
	give(g, SH_HANDOVER_DONE, NULL, 0, NULL, 0);
	err = err ? err : g->err;
	sh_free(g);
	return err;
}

void sh_handover_binding(struct sh_engine *e, struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event event)
{
	struct sh_handover *h = e->handover;
	uint64_t aor_len = aor.len;
	char head[sizeof(aor_len) + 2048];

	if (!h || !atomic_load_explicit(&h->telling, memory_order_relaxed))
		return;
	pthread_mutex_lock(&h->lock);
	if (h->newest >= 0 && (event == SH_BINDING_ADDED || event == SH_BINDING_REFRESHED)) {
		send_binding(h, h->newest, aor, c);
	} else if (h->newest >= 0 && event == SH_BINDING_REMOVED && aor.len <= 2048) {
		memcpy(head, &aor_len, sizeof(aor_len));
		memcpy(head + sizeof(aor_len), aor.base, aor.len);
		sh_handover_tell(h, h->newest, SH_HANDOVER_UNBINDING, head, sizeof(aor_len) + aor.len, c->uri.base, c->uri.len);
	}
	pthread_mutex_unlock(&h->lock);
}

/* ------------------------------------------------------------------ in */

static int append(char **text, size_t *len, const char *more, size_t n)
{
	char *grown = sh_realloc(*text, *len + n + 1);

	if (!grown)
		return -ENOMEM;
	memcpy(grown + *len, more, n);
	*text = grown;
	*len += n;
	return 0;
}

int sh_handover_put_stores(struct sh_handover *h)
{
	struct sh_engine *e = h->engine;
	struct sh_vm_world w;
	char *text = NULL;
	size_t len = 0;
	int err = 0;

	sh_engine_world(e, &w);
	for (struct sh_handover_packet *p = h->taken; p && !err; p = p->next) {
		struct part part;

		if (p->kind != SH_HANDOVER_STORE || p->len < sizeof(part))
			continue;
		memcpy(&part, p->data, sizeof(part));
		if (part.name_len > SH_SHARED_NAME_MAX || p->len < sizeof(part) + part.name_len)
			continue;
		err = append(&text, &len, p->data + sizeof(part) + part.name_len, p->len - sizeof(part) - part.name_len);
		if (err || !part.last)
			continue;
		err = sh_shared_restore(e->shared, sh_slice_make(p->data + sizeof(part), part.name_len), text, len, w.now(w.ctx),
					w.wall(w.ctx));
		len = 0;
	}
	sh_free(text);
	return err;
}

static int put_binding(struct sh_handover *h, const char *data, size_t len)
{
	struct sh_worker *w = &h->engine->workers[0];
	struct sh_slice *texts[TEXTS], aor;
	struct binding b;
	size_t at = sizeof(b);
	int err;

	if (len < sizeof(b))
		return -EBADMSG;
	memcpy(&b, data, sizeof(b));
	if (b.aor_len > len - at)
		return -EBADMSG;
	aor = sh_slice_make(data + at, b.aor_len);
	at += b.aor_len;
	texts_of(&b.contact, texts);
	for (int i = 0; i < TEXTS; i++) {
		if (texts[i]->len > len - at)
			return -EBADMSG;
		texts[i]->base = data + at;
		at += texts[i]->len;
	}
	pthread_mutex_lock(&h->lock);
	b.contact.from.flow = sh_handover_flow_in(h, &b.flow);
	pthread_mutex_unlock(&h->lock);
	b.contact.from.domain = 0;
	sh_transport_renumber(sh_ua_transport(w->ua), &b.contact.from);
	b.contact.keeper = w->runtime;
	err = sh_location_restore(h->engine->location, aor, &b.contact);
	if (!err)
		sh_runtime_keep(w->runtime, aor, &b.contact);
	return err;
}

static void put_unbinding(struct sh_handover *h, const char *data, size_t len)
{
	struct sh_worker *w = &h->engine->workers[0];
	uint64_t aor_len;

	if (len < sizeof(aor_len))
		return;
	memcpy(&aor_len, data, sizeof(aor_len));
	len -= sizeof(aor_len);
	data += sizeof(aor_len);
	if (aor_len < len)
		sh_location_unbind(h->engine->location, sh_slice_make(data, aor_len), sh_slice_make(data + aor_len, len - aor_len),
				   sh_env_wall(w->env), w->runtime);
}

static void put_ban(struct sh_handover *h, const struct sh_handover_packet *p)
{
	struct sh_ban ban;

	if (p->len != sizeof(ban))
		return;
	memcpy(&ban, p->data, sizeof(ban));
	for (unsigned i = 0; i < h->engine->nworkers; i++)
		sh_transport_put_ban(sh_ua_transport(h->engine->workers[i].ua), &ban);
}

int sh_handover_put_rest(struct sh_handover *h)
{
	struct sh_engine *e = h->engine;
	char *begun = NULL;
	size_t len = 0;
	int err = 0;

	sh_auth_set_secret(e->auth, &h->secret);
	for (struct sh_handover_packet *p = h->taken; p && !err; p = p->next) {
		struct sh_nonce_record r;

		switch (p->kind) {
		case SH_HANDOVER_BEGUN:
			err = append(&begun, &len, p->data, p->len);
			break;
		case SH_HANDOVER_BINDING:
			err = put_binding(h, p->data, p->len);
			break;
		case SH_HANDOVER_UNBINDING:
			put_unbinding(h, p->data, p->len);
			break;
		case SH_HANDOVER_WRITE:
			sh_shared_do(e->shared, p->data, p->len, e->workers[0].env->now);
			break;
		case SH_HANDOVER_BAN:
			put_ban(h, p);
			break;
		case SH_HANDOVER_EVENT:
			for (unsigned i = 0; i < e->nworkers && !err; i++)
				err = sh_ua_put_event(e->workers[i].ua, p->data, p->len);
			break;
		case SH_HANDOVER_NONCE:
			for (size_t at = 0; at + sizeof(r) <= p->len; at += sizeof(r)) {
				memcpy(&r, p->data + at, sizeof(r));
				sh_auth_put_nonce(e->auth, &r);
			}
			break;
		default:
			break;
		}
	}
	pthread_mutex_lock(&h->lock);
	sh_handover_set_begun(h, (struct sh_handover_begun *)begun, len / sizeof(struct sh_handover_begun));
	pthread_mutex_unlock(&h->lock);
	return err;
}

void sh_handover_put_change(struct sh_handover *h, enum sh_handover_kind kind, const char *data, size_t len)
{
	struct sh_engine *e = h->engine;

	if (kind == SH_HANDOVER_BINDING && put_binding(h, data, len) < 0)
		sh_warn(&e->log, "a binding of the process before is lost");
	else if (kind == SH_HANDOVER_UNBINDING)
		put_unbinding(h, data, len);
	else if (kind == SH_HANDOVER_WRITE)
		sh_shared_do(e->shared, data, len, e->workers[0].env->now);
	else if (kind == SH_HANDOVER_EVENT && sh_ua_set_event(e->workers[0].ua, data, len) < 0)
		sh_warn(&e->log, "what the process before says to subscribers is lost");
}
