/* The dialog event package (RFC 4235): what the calls of an address of record are doing. Lamps.
 *
 * A leg of a call is a dialog of whoever is at its far end: the caller's of his From, a called one's of the address that was
 * looked up, or of To. Calls live on all workers, subscribers too: a worker that has subscribers gets a `lamp` for each
 * change of each leg of theirs, in order; when it gets its first subscriber of an address it asks all for what there is.
 * While nobody subscribes anywhere a call pays one test of a counter for each change.
 *
 * A caller's leg is told of once it rings, is answered or is forked: an INVITE by itself, which anybody can send in any name,
 * tells nobody. What is told is bounded, so that the texts of one peer cannot keep a document from its watchers. */
#include "b2bua/event.h"
#include "b2bua/impl.h"

enum { DARK = 5 }; /* s that a dialog that has ended is still told of, so that everybody hears of its end */
enum { LONGEST_TEXT = 256, MOST_LAMPS = 64, DOCUMENT = 48 * 1024 }; /* octets, of a document, octets: the rest is left out */

enum lamp_state { TRYING, EARLY, CONFIRMED, TERMINATED };

struct sh_lamp {
	struct sh_link link; /* in its resource */
	struct sh_ua *const *peers;
	uint64_t id; /* the same for a leg wherever it moves */
	enum lamp_state state;
	bool initiator;
	uint64_t ended_at;
	struct sh_slice aor, call_id, local_tag, remote_tag, local, remote, target; /* in text */
	char text[];
};

static const struct sh_slice event = {"dialog", 6};

static struct sh_ua *first_of(struct sh_ua *ua)
{
	return ua->config.peers ? ua->config.peers[0] : ua;
}

bool sh_ua_watched(const struct sh_ua *ua)
{
	const struct sh_ua *first = ua->config.peers ? ua->config.peers[0] : ua;

	return atomic_load_explicit(&first->lamps_wanted, memory_order_relaxed) > 0;
}

/* ------------------------------------------------------------------ a leg becomes a lamp */

static struct sh_slice uri_of(struct sh_slice name)
{
	struct sh_name_addr a;

	if (sh_name_addr_next(&name, &a) < 0)
		a.uri = (struct sh_slice){0};
	return a.uri;
}

static int aor_of(const struct sh_leg *l, struct sh_arena *a, struct sh_slice *out)
{
	struct sh_uri uri;

	if (l->aor) {
		*out = sh_slice_cstr(l->aor);
		return 0;
	}
	if (sh_uri_parse(&uri, uri_of(sh_dialog_remote(&l->dialog))) < 0)
		return -EINVAL;
	return sh_aor_canonical(a, &uri, l->ua->domains, out);
}

static bool is_shown(const struct sh_leg *l)
{
	return sh_dialog_call_id(&l->dialog).len && !(l->inbound && l->state == SH_LEG_TRYING && !(l->call && l->call->forked));
}

static enum lamp_state state_of(const struct sh_leg *l)
{
	switch (l->state) {
	case SH_LEG_TRYING:
		return TRYING;
	case SH_LEG_EARLY:
		return EARLY;
	case SH_LEG_ANSWERED:
	case SH_LEG_UP:
		return CONFIRMED;
	default:
		return TERMINATED;
	}
}

/* Of the dialog's Call-ID and of the tag of who began it: they stay when its early dialogs come and go, and on other workers. */
static uint64_t id_of(const struct sh_leg *l)
{
	const struct sh_dialog *d = &l->dialog;
	const struct sh_slice parts[] = {sh_dialog_call_id(d),
					 l->inbound ? sh_dialog_remote_tag(d) : sh_slice_make(d->local_tag, SH_TAG_LEN)};

	return sh_hash_slices(&l->ua->env->key, parts, 2);
}

static struct sh_lamp *make(const struct sh_leg *l, struct sh_slice aor)
{
	const struct sh_dialog *d = &l->dialog;
	struct sh_slice local = uri_of(sh_dialog_local(d)), remote = uri_of(sh_dialog_remote(d));
	struct sh_slice parts[] = {aor, sh_dialog_call_id(d), sh_dialog_remote_tag(d), sh_slice_make(d->local_tag, SH_TAG_LEN), remote, local, local};
	enum { COUNT = sizeof(parts) / sizeof(parts[0]) };
	struct sh_lamp *lamp;
	size_t size = 0;
	char *p;

	for (unsigned i = 0; i < COUNT; i++) {
		if (i > 0 && parts[i].len > LONGEST_TEXT)
			parts[i].len = 0;
		size += parts[i].len;
	}
	lamp = sh_malloc(sizeof(*lamp) + size);
	if (!lamp)
		return NULL;
	*lamp = (struct sh_lamp){.peers = l->ua->config.peers, .id = id_of(l), .state = state_of(l), .initiator = l->inbound};
	struct sh_slice *const to[COUNT] = {&lamp->aor, &lamp->call_id, &lamp->local_tag, &lamp->remote_tag, &lamp->local, &lamp->remote,
					    &lamp->target};
	p = lamp->text;
	for (unsigned i = 0; i < COUNT; i++) {
		if (parts[i].len)
			memcpy(p, parts[i].base, parts[i].len);
		*to[i] = sh_slice_make(p, parts[i].len);
		p += parts[i].len;
	}
	return lamp;
}

/* ------------------------------------------------------------------ a worker hears of it */

static bool is_dark(const struct sh_lamp *lamp, uint64_t now)
{
	return lamp->ended_at && lamp->ended_at + DARK * SH_SECOND < now;
}

static void arrive(struct sh_ua *ua, struct sh_lamp *lamp)
{
	struct sh_resource *r = sh_resource_find(ua, event, lamp->aor);
	struct sh_link *lamps = r ? sh_resource_lamps(r) : NULL;
	uint64_t now = ua->env->now;

	if (!lamps) { /* nobody here has subscribed to that one */
		sh_free(lamp);
		return;
	}
	if (lamp->state == TERMINATED)
		lamp->ended_at = now;
	SH_LIST_EACH_SAFE (k, lamps) {
		struct sh_lamp *other = SH_CONTAINER(k, struct sh_lamp, link);

		if (other->id == lamp->id || is_dark(other, now))
			sh_lamp_free(other);
	}
	sh_list_append(lamps, &lamp->link);
	sh_resource_tell(r);
	sh_resource_drop_if_idle(ua, r);
}

void sh_lamp_free(struct sh_lamp *lamp)
{
	sh_list_remove(&lamp->link);
	sh_free(lamp);
}

void sh_resource_drop_lamps(struct sh_link *lamps)
{
	while (!sh_list_empty(lamps))
		sh_lamp_free(SH_CONTAINER(lamps->next, struct sh_lamp, link));
}

static void on_lamp(struct sh_env *env, void *arg)
{
	struct sh_lamp *lamp = arg;

	arrive(lamp->peers[env->worker], lamp);
}

static void send_to(struct sh_ua *ua, unsigned worker, const struct sh_leg *l, struct sh_slice aor)
{
	struct sh_lamp *lamp = make(l, aor);

	if (!lamp)
		return;
	sh_list_init(&lamp->link);
	if (worker == ua->env->worker)
		arrive(ua, lamp);
	else if (ua->env->driver->post(ua->env, worker, on_lamp, lamp) < 0)
		sh_free(lamp);
}

void sh_lamp_changed(struct sh_leg *l)
{
	struct sh_ua *ua = l->ua;
	struct sh_arena a;
	struct sh_slice aor;

	if ((int)state_of(l) + 1 == l->lamp || (state_of(l) == TERMINATED && !l->lamp) || !is_shown(l))
		return;
	l->lamp = (uint8_t)(state_of(l) + 1);
	sh_arena_init(&a, 256);
	if (aor_of(l, &a, &aor) == 0)
		for (unsigned i = 0; i < ua->env->workers; i++)
			send_to(ua, i, l, aor);
	sh_arena_finish(&a);
}

/* ------------------------------------------------------------------ somebody subscribes */

struct question {
	struct sh_ua *const *peers;
	unsigned worker; /* who asks */
	size_t len;
	char aor[];
};

enum { BUDGET = 2000000 }; /* legs that are looked at for new watchers in a second, by all workers together: some 60 ms */

/* Polls and subscriptions that come and go make all workers look at all their legs each time. */
static bool affordable(struct sh_ua *ua, struct sh_slice aor)
{
	struct sh_resource *r = sh_resource_find(ua, event, aor);
	uint64_t second = ua->env->now / SH_SECOND;

	if (r && sh_resource_lamps(r))
		return true; /* it is known already */
	if (second != ua->lamp_second) {
		ua->lamp_second = second;
		ua->lamp_walks = 0;
	}
	if (ua->lamp_walks >= BUDGET / ua->env->workers)
		return false;
	ua->lamp_walks += 1000 + ua->stats.legs_live;
	return true;
}

/* False: it is not of that user for sure. Cheap, for most are not. */
static bool may_be(const struct sh_leg *l, struct sh_slice aor, struct sh_slice user)
{
	struct sh_slice remote = sh_dialog_remote(&l->dialog);

	if (l->aor)
		return sh_slice_eq(sh_slice_cstr(l->aor), aor);
	return !user.len || sh_slice_find(remote, '%') >= 0 || memmem(remote.base, remote.len, user.base, user.len);
}

static void answer(struct sh_ua *ua, const struct question *q)
{
	struct sh_slice wanted = sh_slice_make(q->aor, q->len), user = {0};
	struct sh_uri uri;

	if (sh_uri_parse(&uri, wanted) == 0 && sh_slice_find(uri.user, '%') < 0)
		user = uri.user;
	SH_LIST_EACH (k, &ua->live_legs) {
		struct sh_leg *l = SH_CONTAINER(k, struct sh_leg, link);
		struct sh_slice aor;
		struct sh_arena a;

		if (state_of(l) == TERMINATED || !is_shown(l) || !may_be(l, wanted, user))
			continue;
		sh_arena_init(&a, 256);
		if (aor_of(l, &a, &aor) == 0 && sh_slice_eq(aor, wanted)) {
			l->lamp = (uint8_t)(state_of(l) + 1);
			send_to(ua, q->worker, l, aor);
		}
		sh_arena_finish(&a);
	}
}

static void on_question(struct sh_env *env, void *arg)
{
	struct question *q = arg;

	answer(q->peers[env->worker], q);
	sh_free(q);
}

static void watch(struct sh_ua *ua, struct sh_slice aor, bool on)
{
	if (on)
		atomic_fetch_add(&first_of(ua)->lamps_wanted, 1);
	else
		atomic_fetch_sub(&first_of(ua)->lamps_wanted, 1);
	for (unsigned i = 0; on && i < ua->env->workers; i++) {
		struct question *q = sh_malloc(sizeof(*q) + aor.len);

		if (!q)
			return;
		*q = (struct question){ua->config.peers, ua->env->worker, aor.len};
		memcpy(q->aor, aor.base, aor.len);
		if (i == ua->env->worker) {
			answer(ua, q);
			sh_free(q);
		} else if (ua->env->driver->post(ua->env, i, on_question, q) < 0) {
			sh_free(q);
		}
	}
}

/* ------------------------------------------------------------------ the document */

static void put_party(struct sh_writer *w, const char *name, struct sh_slice identity, struct sh_slice target)
{
	sh_put_char(w, '<');
	sh_put(w, sh_slice_cstr(name));
	sh_put_char(w, '>');
	if (identity.len) {
		sh_put_lit(w, "<identity>");
		sh_put_xml(w, identity);
		sh_put_lit(w, "</identity>");
	}
	if (target.len) {
		sh_put_lit(w, "<target uri=\"");
		sh_put_xml(w, target);
		sh_put_lit(w, "\"/>");
	}
	sh_put_lit(w, "</");
	sh_put(w, sh_slice_cstr(name));
	sh_put_lit(w, ">\n");
}

static void put_attribute(struct sh_writer *w, const char *before, struct sh_slice value)
{
	if (!value.len)
		return;
	sh_put(w, sh_slice_cstr(before));
	sh_put_xml(w, value);
}

static void put_lamp(struct sh_writer *w, const struct sh_lamp *lamp)
{
	static const char *const states[] = {"trying", "early", "confirmed", "terminated"};

	sh_put_lit(w, "<dialog id=\"");
	sh_put_uint(w, lamp->id);
	put_attribute(w, "\" call-id=\"", lamp->call_id);
	put_attribute(w, "\" local-tag=\"", lamp->local_tag);
	put_attribute(w, "\" remote-tag=\"", lamp->remote_tag);
	sh_put_lit(w, "\" direction=\"");
	sh_put(w, lamp->initiator ? SH_LIT("initiator") : SH_LIT("recipient"));
	sh_put_lit(w, "\">\n<state>");
	sh_put(w, sh_slice_cstr(states[lamp->state]));
	sh_put_lit(w, "</state>\n");
	put_party(w, "local", lamp->local, lamp->local);
	put_party(w, "remote", lamp->remote, lamp->target);
	sh_put_lit(w, "</dialog>\n");
}

/* The newest of them, as many as a document has room for. */
static void put_lamps(struct sh_writer *w, const struct sh_link *lamps, uint64_t now)
{
	unsigned count = 0;

	SH_LIST_EACH (k, lamps)
		count += !is_dark(SH_CONTAINER(k, struct sh_lamp, link), now);
	SH_LIST_EACH (k, lamps) {
		const struct sh_lamp *lamp = SH_CONTAINER(k, struct sh_lamp, link);
		struct sh_writer before = *w;

		if (is_dark(lamp, now) || count-- > MOST_LAMPS)
			continue;
		put_lamp(w, lamp);
		if (w->full || w->len > DOCUMENT)
			*w = before;
	}
}

static void state(struct sh_subscription *s, struct sh_writer *w, struct sh_slice *type)
{
	const struct sh_link *lamps = s->resource ? sh_resource_lamps(s->resource) : NULL;

	*type = SH_LIT("application/dialog-info+xml");
	sh_put_lit(w, "<?xml version=\"1.0\"?>\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" version=\"");
	sh_put_uint(w, sh_subscription_next_version(s));
	sh_put_lit(w, "\" state=\"full\" entity=\"");
	sh_put_xml(w, s->aor);
	sh_put_lit(w, "\">\n");
	if (lamps)
		put_lamps(w, lamps, s->ua->env->now);
	sh_put_lit(w, "</dialog-info>\n");
}

const struct sh_package sh_package_dialog = {{"dialog", 6}, 3600, state, watch, affordable};
