#include "script/shared_impl.h"

#include <errno.h>

#include "core/alloc.h"

enum {
	LOOKS_PER_WRITE = 4,   /* entries with a time to live that a write looks at */
	LOOKS_WHEN_FULL = 256, /* in each stripe */
	OVERHEAD = 16          /* of the heap, for each block */
};

/* --- entries ----------------------------------------------------------------------------------------------------- */

static size_t text_len(const struct sh_shared_scalar *s)
{
	return s->kind == SH_SHARED_STRING ? s->u.len : 0;
}

static size_t value_text_len(const struct sh_shared_value *v)
{
	return v && v->kind == SH_SHARED_STRING ? v->u.text.len : 0;
}

static void set_scalar(struct sh_shared_scalar *to, char *text, const struct sh_shared_value *v)
{
	to->kind = v->kind;
	switch (v->kind) {
	case SH_SHARED_BOOLEAN:
		to->u.boolean = v->u.boolean;
		break;
	case SH_SHARED_INTEGER:
		to->u.integer = v->u.integer;
		break;
	case SH_SHARED_FLOAT:
		to->u.number = v->u.number;
		break;
	default:
		to->u.len = v->u.text.len;
		if (v->u.text.len > 0)
			memcpy(text, v->u.text.base, v->u.text.len);
	}
}

static struct sh_shared_value get_scalar(const struct sh_shared_scalar *s, const char *text)
{
	struct sh_shared_value v = {.kind = (enum sh_shared_kind)s->kind};

	switch (s->kind) {
	case SH_SHARED_BOOLEAN:
		v.u.boolean = s->u.boolean;
		break;
	case SH_SHARED_INTEGER:
		v.u.integer = s->u.integer;
		break;
	case SH_SHARED_FLOAT:
		v.u.number = s->u.number;
		break;
	default:
		v.u.text = sh_slice_make(text, s->u.len);
	}
	return v;
}

static size_t entry_size(size_t key_len, size_t text)
{
	return sizeof(struct sh_shared_entry) + key_len + text + OVERHEAD;
}

static size_t item_size(size_t text)
{
	return sizeof(struct sh_shared_item) + text + OVERHEAD;
}

/* v NULL: an empty list. */
static struct sh_shared_entry *entry_create(struct sh_slice key, uint64_t hash, const struct sh_shared_value *v)
{
	size_t text = value_text_len(v);
	struct sh_shared_entry *e = sh_malloc(sizeof(*e) + key.len + text);

	if (!e)
		return NULL;
	e->node.hash = hash;
	e->expires = 0;
	sh_list_init(&e->timed);
	sh_list_init(&e->used);
	e->size = entry_size(key.len, text);
	e->use = 0;
	e->first = NULL;
	e->last = &e->first;
	e->length = 0;
	e->key_len = key.len;
	memcpy(e->key, key.base, key.len);
	if (v)
		set_scalar(&e->scalar, e->key + key.len, v);
	else
		e->scalar.kind = SH_SHARED_LIST;
	return e;
}

static struct sh_shared_item *item_create(const struct sh_shared_value *v)
{
	struct sh_shared_item *item = sh_malloc(sizeof(*item) + value_text_len(v));

	if (!item)
		return NULL;
	item->next = NULL;
	set_scalar(&item->scalar, item->text, v);
	return item;
}

static void append_item(struct sh_shared_entry *e, struct sh_shared_item *item)
{
	*e->last = item;
	e->last = &item->next;
	e->length++;
	e->size += item_size(text_len(&item->scalar));
}

static void free_items(struct sh_shared_entry *e)
{
	struct sh_shared_item *item = e->first;

	while (item) {
		struct sh_shared_item *next = item->next;

		sh_free(item);
		item = next;
	}
}

static void entry_free(struct sh_shared_entry *e)
{
	free_items(e);
	sh_free(e);
}

bool sh_shared_entry_live(const struct sh_shared_entry *e, uint64_t now)
{
	return e->scalar.kind != SH_SHARED_GONE && (e->expires == 0 || e->expires > now);
}

/* --- tables ------------------------------------------------------------------------------------------------------ */

static uint64_t hash_of(const struct sh_shared_store *s, struct sh_slice key)
{
	return sh_hash_slice(&s->hash_key, key);
}

static struct sh_shared_stripe *stripe_of(struct sh_shared_store *s, uint64_t hash)
{
	return &s->stripe[hash >> 60]; /* the tables use the low bits */
}

static struct sh_shared_entry *find(const struct sh_shared_stripe *stripe, uint64_t hash, struct sh_slice key)
{
	for (struct sh_hash_node *n = sh_hash_find(&stripe->table, hash); n; n = sh_hash_next(n)) {
		struct sh_shared_entry *e = SH_CONTAINER(n, struct sh_shared_entry, node);

		if (sh_slice_eq(sh_slice_make(e->key, e->key_len), key))
			return e;
	}
	return NULL;
}

static bool evicts(const struct sh_shared_store *s)
{
	return atomic_load_explicit(&s->evict, memory_order_relaxed) == SH_SHARED_OLDEST;
}

static void insert(struct sh_shared_store *s, struct sh_shared_stripe *stripe, struct sh_shared_entry *e,
		   uint64_t expires)
{
	e->expires = expires;
	if (expires)
		sh_list_append(&stripe->timed, &e->timed);
	sh_list_append(&stripe->used, &e->used);
	if (evicts(s))
		e->use = atomic_fetch_add_explicit(&s->uses, 1, memory_order_relaxed) + 1;
	sh_hash_insert(&stripe->table, &e->node, e->node.hash);
	atomic_fetch_add_explicit(&s->memory, e->size, memory_order_relaxed);
}

/* In a shadow a tombstone stays, so that what lies below is not seen again. */
static void erase(struct sh_shared_store *s, struct sh_shared_stripe *stripe, struct sh_shared_entry *e)
{
	size_t after = s->base ? entry_size(e->key_len, 0) : 0;

	atomic_fetch_sub_explicit(&s->memory, e->size - after, memory_order_relaxed);
	sh_list_remove(&e->timed);
	if (s->base) {
		free_items(e);
		e->first = NULL;
		e->last = &e->first;
		e->length = 0;
		e->size = after;
		e->scalar.kind = SH_SHARED_GONE;
		return;
	}
	sh_list_remove(&e->used);
	sh_hash_remove(&stripe->table, &e->node);
	entry_free(e);
}

/* Takes it out for good, also from a shadow: something else comes in its place. */
static void replace(struct sh_shared_store *s, struct sh_shared_stripe *stripe, struct sh_shared_entry *old)
{
	atomic_fetch_sub_explicit(&s->memory, old->size, memory_order_relaxed);
	sh_list_remove(&old->timed);
	sh_list_remove(&old->used);
	sh_hash_remove(&stripe->table, &old->node);
	entry_free(old);
}

static void sweep(struct sh_shared_store *s, struct sh_shared_stripe *stripe, uint64_t now, unsigned looks)
{
	while (looks-- > 0 && !sh_list_empty(&stripe->timed)) {
		struct sh_shared_entry *e = SH_CONTAINER(stripe->timed.next, struct sh_shared_entry, timed);

		if (sh_shared_entry_live(e, now)) {
			sh_list_remove(&e->timed);
			sh_list_append(&stripe->timed, &e->timed);
		} else {
			erase(s, stripe, e);
		}
	}
}

static void sweep_all(struct sh_shared_store *s, uint64_t now)
{
	for (unsigned i = 0; i < SH_SHARED_STRIPES; i++) {
		pthread_mutex_lock(&s->stripe[i].lock);
		sweep(s, &s->stripe[i], now, LOOKS_WHEN_FULL);
		pthread_mutex_unlock(&s->stripe[i].lock);
	}
}

static bool room_for(const struct sh_shared_store *s, size_t more, size_t less)
{
	size_t used = atomic_load_explicit(&s->memory, memory_order_relaxed);
	size_t max = atomic_load_explicit(&s->memory_max, memory_order_relaxed);

	return more <= less || (used <= max && more - less <= max - used);
}

/* It was used now. */
static void touch(struct sh_shared_store *s, struct sh_shared_stripe *stripe, struct sh_shared_entry *e)
{
	if (!evicts(s))
		return;
	e->use = atomic_fetch_add_explicit(&s->uses, 1, memory_order_relaxed) + 1;
	sh_list_remove(&e->used);
	sh_list_append(&stripe->used, &e->used);
}

/* The stripe with the entry that was not used for the longest time; NULL: the store is empty. */
static struct sh_shared_stripe *oldest(struct sh_shared_store *s)
{
	struct sh_shared_stripe *best = NULL;
	uint64_t use = UINT64_MAX;

	for (unsigned i = 0; i < SH_SHARED_STRIPES; i++) {
		struct sh_shared_stripe *stripe = &s->stripe[i];

		pthread_mutex_lock(&stripe->lock);
		if (!sh_list_empty(&stripe->used)) {
			const struct sh_shared_entry *e = SH_CONTAINER(stripe->used.next, struct sh_shared_entry, used);

			if (!best || e->use < use) {
				best = stripe;
				use = e->use;
			}
		}
		pthread_mutex_unlock(&stripe->lock);
	}
	return best;
}

/* Makes room for `more` bytes. */
static void evict(struct sh_shared_store *s, size_t more)
{
	struct sh_shared_stripe *stripe;

	if (more > atomic_load_explicit(&s->memory_max, memory_order_relaxed))
		return;
	while (!room_for(s, more, 0) && (stripe = oldest(s))) {
		pthread_mutex_lock(&stripe->lock);
		if (!sh_list_empty(&stripe->used)) /* else another thread was here meanwhile */
			erase(s, stripe, SH_CONTAINER(stripe->used.next, struct sh_shared_entry, used));
		pthread_mutex_unlock(&stripe->lock);
	}
}

static uint64_t deadline(uint64_t now, uint64_t ttl)
{
	if (ttl == 0)
		return 0;
	return ttl > UINT64_MAX - now ? UINT64_MAX : now + ttl;
}

/* --- operations, under the lock of the stripe; e: the live entry or NULL, any: also a dead one -----------------------
 */

struct place {
	struct sh_shared_store *s;
	struct sh_shared_stripe *stripe;
	struct sh_shared_entry *e, *any;
	uint64_t hash, now;
};

static int put(const struct place *p, const struct sh_shared_write *w, struct sh_shared_entry *e)
{
	if (!e)
		return -ENOMEM;
	if (!room_for(p->s, e->size, p->any ? p->any->size : 0)) {
		entry_free(e);
		return -ENOSPC;
	}
	if (p->any)
		replace(p->s, p->stripe, p->any);
	insert(p->s, p->stripe, e, deadline(p->now, w->ttl));
	return 0;
}

static int do_incr(const struct place *p, const struct sh_shared_write *w)
{
	struct sh_shared_scalar *s;
	const struct sh_shared_value *by = w->value;
	int err;

	if (!p->e) {
		err = put(p, w, entry_create(w->key, p->hash, by));
		if (!err)
			*w->out = *by;
		return err;
	}
	s = &p->e->scalar;
	if (s->kind == SH_SHARED_INTEGER && by->kind == SH_SHARED_INTEGER) {
		s->u.integer = (int64_t)((uint64_t)s->u.integer + (uint64_t)by->u.integer);
	} else if (s->kind == SH_SHARED_INTEGER || s->kind == SH_SHARED_FLOAT) {
		double old = s->kind == SH_SHARED_INTEGER ? (double)s->u.integer : s->u.number;

		s->u.number = old + (by->kind == SH_SHARED_INTEGER ? (double)by->u.integer : by->u.number);
		s->kind = SH_SHARED_FLOAT;
	} else {
		return -EINVAL;
	}
	*w->out = get_scalar(s, NULL);
	return 0;
}

static int do_push(const struct place *p, const struct sh_shared_write *w)
{
	struct sh_shared_item *item;
	struct sh_shared_entry *e = p->e;
	size_t size = item_size(value_text_len(w->value));
	int err;

	if (e && e->scalar.kind != SH_SHARED_LIST)
		return -EINVAL;
	if (!room_for(p->s, size + (e ? 0 : entry_size(w->key.len, 0)), e || !p->any ? 0 : p->any->size))
		return -ENOSPC;
	item = item_create(w->value);
	if (!item)
		return -ENOMEM;
	if (e) {
		append_item(e, item);
		atomic_fetch_add_explicit(&p->s->memory, size, memory_order_relaxed);
		*w->length = e->length;
		return 0;
	}
	e = entry_create(w->key, p->hash, NULL);
	if (!e) {
		sh_free(item);
		return -ENOMEM;
	}
	append_item(e, item);
	err = put(p, w, e); /* frees e, and with it the item, when it fails */
	if (!err)
		*w->length = 1;
	return err;
}

static int hand_out(const struct sh_shared_scalar *s, const char *text, struct sh_shared_value *out, char *buf,
		    size_t size, size_t *need)
{
	if (text_len(s) > size) {
		*need = text_len(s);
		return -ENOBUFS;
	}
	*out = get_scalar(s, buf);
	if (text_len(s) > 0)
		memcpy(buf, text, text_len(s));
	return 0;
}

static int do_pop(const struct place *p, const struct sh_shared_write *w)
{
	struct sh_shared_entry *e = p->e;
	struct sh_shared_item *item;
	size_t size;
	int err = 0;

	if (!e)
		return -ENOENT;
	if (e->scalar.kind != SH_SHARED_LIST)
		return -EINVAL;
	item = e->first;
	if (w->out)
		err = hand_out(&item->scalar, item->text, w->out, w->buf, w->buf_size, w->need);
	if (err)
		return err;
	e->first = item->next;
	if (!e->first)
		e->last = &e->first;
	e->length--;
	size = item_size(text_len(&item->scalar));
	e->size -= size;
	atomic_fetch_sub_explicit(&p->s->memory, size, memory_order_relaxed);
	sh_free(item);
	if (e->length == 0)
		erase(p->s, p->stripe, e);
	return 0;
}

static int do_write(const struct place *p, const struct sh_shared_write *w)
{
	switch (w->op) {
	case SH_SHARED_ADD:
		if (p->e)
			return -EEXIST;
		/* fallthrough */
	case SH_SHARED_SET:
		return put(p, w, entry_create(w->key, p->hash, w->value));
	case SH_SHARED_INCR:
		return do_incr(p, w);
	case SH_SHARED_PUSH:
		return do_push(p, w);
	case SH_SHARED_POP:
		return do_pop(p, w);
	case SH_SHARED_DELETE:
		break;
	}
	if (!p->e)
		return -ENOENT;
	erase(p->s, p->stripe, p->e);
	return 0;
}

int sh_shared_store_write(struct sh_shared_store *s, const struct sh_shared_write *w, uint64_t now)
{
	struct place p = {.s = s, .hash = hash_of(s, w->key), .now = now};
	int err = -ENOSPC;

	p.stripe = stripe_of(s, p.hash);
	for (int attempt = 0; attempt < 3 && err == -ENOSPC; attempt++) {
		if (attempt == 1)
			sweep_all(s, now);
		if (attempt == 2 && !evicts(s))
			break;
		if (attempt == 2)
			evict(s, entry_size(w->key.len, 0) + item_size(value_text_len(w->value)));
		pthread_mutex_lock(&p.stripe->lock);
		sweep(s, p.stripe, now, LOOKS_PER_WRITE);
		p.any = find(p.stripe, p.hash, w->key);
		p.e = p.any && sh_shared_entry_live(p.any, now) ? p.any : NULL;
		if (p.e)
			touch(s, p.stripe, p.e);
		err = do_write(&p, w);
		pthread_mutex_unlock(&p.stripe->lock);
	}
	if (!err)
		atomic_fetch_add_explicit(&s->changes, 1, memory_order_relaxed);
	return err;
}

/* --- shadows ----------------------------------------------------------------------------------------------------- */

bool sh_shared_store_has(struct sh_shared_store *s, struct sh_slice key)
{
	uint64_t hash = hash_of(s, key);
	struct sh_shared_stripe *stripe = stripe_of(s, hash);
	bool has;

	pthread_mutex_lock(&stripe->lock);
	has = find(stripe, hash, key) != NULL;
	pthread_mutex_unlock(&stripe->lock);
	return has;
}

/* e NULL: a tombstone. */
static struct sh_shared_entry *entry_clone(const struct sh_shared_entry *e, struct sh_slice key, uint64_t hash)
{
	struct sh_shared_value v = {.kind = SH_SHARED_BOOLEAN};
	struct sh_shared_entry *copy;
	bool list = e && e->scalar.kind == SH_SHARED_LIST;

	if (e && !list)
		v = get_scalar(&e->scalar, e->key + e->key_len);
	copy = entry_create(key, hash, list ? NULL : &v);
	if (copy && !e)
		copy->scalar.kind = SH_SHARED_GONE;
	for (const struct sh_shared_item *i = list ? e->first : NULL; copy && i; i = i->next) {
		struct sh_shared_value value = get_scalar(&i->scalar, i->text);
		struct sh_shared_item *item = item_create(&value);

		if (!item) {
			entry_free(copy);
			return NULL;
		}
		append_item(copy, item);
	}
	return copy;
}

int sh_shared_store_cover(struct sh_shared_store *s, struct sh_slice key, uint64_t now)
{
	uint64_t hash = hash_of(s, key), expires = 0;
	struct sh_shared_stripe *stripe = stripe_of(s->base, hash);
	struct sh_shared_entry *e;

	if (sh_shared_store_has(s, key))
		return 0;
	pthread_mutex_lock(&stripe->lock);
	e = find(stripe, hash, key);
	if (e && !sh_shared_entry_live(e, now))
		e = NULL;
	if (e)
		expires = e->expires;
	e = entry_clone(e, key, hash);
	pthread_mutex_unlock(&stripe->lock);
	if (!e)
		return -ENOMEM;
	stripe = stripe_of(s, hash);
	pthread_mutex_lock(&stripe->lock);
	insert(s, stripe, e, expires);
	pthread_mutex_unlock(&stripe->lock);
	return 0;
}

struct each {
	void (*fn)(struct sh_shared_entry *e, void *ctx);
	void *ctx;
};

static void each_node(struct sh_hash_node *n, void *ctx)
{
	const struct each *each = ctx;

	each->fn(SH_CONTAINER(n, struct sh_shared_entry, node), each->ctx);
}

void sh_shared_store_each(struct sh_shared_store *s, void (*fn)(struct sh_shared_entry *e, void *ctx), void *ctx)
{
	struct each each = {fn, ctx};

	for (unsigned i = 0; i < SH_SHARED_STRIPES; i++) {
		pthread_mutex_lock(&s->stripe[i].lock);
		sh_hash_each(&s->stripe[i].table, each_node, &each);
		pthread_mutex_unlock(&s->stripe[i].lock);
	}
}

/* --- reading, life ----------------------------------------------------------------------------------------------- */

int sh_shared_store_read(struct sh_shared_store *s, struct sh_slice key, uint64_t now, struct sh_shared_value *out,
			 char *buf, size_t size, size_t *need)
{
	uint64_t hash = hash_of(s, key);
	struct sh_shared_stripe *stripe = stripe_of(s, hash);
	struct sh_shared_entry *e;
	int err;

	pthread_mutex_lock(&stripe->lock);
	e = find(stripe, hash, key);
	if (e)
		touch(s, stripe, e);
	if (!e || !sh_shared_entry_live(e, now)) {
		err = -ENOENT;
	} else if (e->scalar.kind == SH_SHARED_LIST) {
		out->kind = SH_SHARED_LIST;
		out->u.length = e->length;
		err = 0;
	} else {
		err = hand_out(&e->scalar, e->key + e->key_len, out, buf, size, need);
	}
	pthread_mutex_unlock(&stripe->lock);
	return err;
}

static void copy_value(struct sh_shared_copy *c, char **text, const struct sh_shared_scalar *s, const char *from)
{
	struct sh_shared_value *v = &c->values[c->count++];
	size_t len = text_len(s);

	if (len)
		memcpy(*text, from, len);
	*v = get_scalar(s, *text);
	*text += len;
}

static struct sh_shared_copy *copy_entry(const struct sh_shared_entry *e, size_t count, size_t texts, uint64_t now)
{
	struct sh_shared_copy *c = sh_malloc(sizeof(*c) + count * sizeof(c->values[0]) + texts);
	char *text;

	if (!c)
		return NULL;
	text = (char *)&c->values[count];
	*c = (struct sh_shared_copy){.kind = (enum sh_shared_kind)e->scalar.kind, .left = e->expires ? e->expires - now : 0};
	if (e->scalar.kind != SH_SHARED_LIST)
		copy_value(c, &text, &e->scalar, e->key + e->key_len);
	for (const struct sh_shared_item *i = e->first; i; i = i->next)
		copy_value(c, &text, &i->scalar, i->text);
	return c;
}

int sh_shared_store_copy(struct sh_shared_store *s, struct sh_slice key, uint64_t now, size_t max, struct sh_shared_copy **out)
{
	uint64_t hash = hash_of(s, key);
	struct sh_shared_stripe *stripe = stripe_of(s, hash);
	const struct sh_shared_entry *e;
	size_t texts = 0;
	int err = 0;

	pthread_mutex_lock(&stripe->lock);
	e = find(stripe, hash, key);
	if (!e || !sh_shared_entry_live(e, now)) {
		err = -ENOENT;
	} else {
		texts = text_len(&e->scalar);
		for (const struct sh_shared_item *i = e->first; i && texts <= max; i = i->next)
			texts += text_len(&i->scalar);
		if (texts > max || e->length > max / 16)
			err = -EMSGSIZE;
		else if (!(*out = copy_entry(e, e->scalar.kind == SH_SHARED_LIST ? e->length : 1, texts, now)))
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&stripe->lock);
	return err;
}

static void drop_entry(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	entry_free(SH_CONTAINER(n, struct sh_shared_entry, node));
}

static void finish_stripes(struct sh_shared_store *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		sh_hash_each(&s->stripe[i].table, drop_entry, NULL);
		sh_hash_finish(&s->stripe[i].table);
		pthread_mutex_destroy(&s->stripe[i].lock);
	}
}

struct sh_shared_store *sh_shared_store_create(const struct sh_shared *sh, struct sh_shared_store *base,
					       struct sh_slice name)
{
	struct sh_shared_store *s = sh_calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	sh_list_init(&s->link);
	s->base = base;
	s->set = sh;
	s->hash_key = sh->hash_key;
	atomic_init(&s->memory_max, sh->store_max);
	s->name_len = name.len;
	memcpy(s->name, name.base, name.len);
	for (unsigned i = 0; i < SH_SHARED_STRIPES; i++) {
		struct sh_shared_stripe *stripe = &s->stripe[i];

		if (sh_hash_init(&stripe->table, 8)) {
			finish_stripes(s, i);
			sh_free(s);
			return NULL;
		}
		pthread_mutex_init(&stripe->lock, NULL);
		sh_list_init(&stripe->timed);
		sh_list_init(&stripe->used);
	}
	return s;
}

void sh_shared_store_destroy(struct sh_shared_store *s)
{
	finish_stripes(s, SH_SHARED_STRIPES);
	sh_free(s);
}
