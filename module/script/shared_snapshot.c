/* Stores that survive a restart: as bytes, and back. The keeper (engine/) has the files.
 *
 *     "siphook store 1\n", then for each entry: kind (1), expires (8, microseconds since 1970, 0: never), length of the key
 *     (4), length of the list (4), the key, and the value or values: kind (1), then 1, 8 or 4 + n bytes; at the end a
 *     hash of it all (8). Numbers as the machine has them: a file is read where it was written. */
#include <errno.h>

#include "core/alloc.h"
#include "script/shared_impl.h"

static const char magic[] = "siphook store 1\n";
enum { MAGIC = sizeof(magic) - 1 };
static const struct sh_hash_key check_key = {{UINT64_C(0x736970686f6f6b31), UINT64_C(0x73746f7265)}};

/* ---- writing ---- */

struct output {
	char *base;
	size_t len, room;
	bool failed;
	uint64_t now, wall;
};

static void put(struct output *o, const void *p, size_t n)
{
	if (o->failed)
		return;
	if (o->len + n > o->room) {
		size_t room = (o->len + n) * 2;
		char *base = sh_realloc(o->base, room);

		if (!base) {
			o->failed = true;
			return;
		}
		o->base = base;
		o->room = room;
	}
	if (n)
		memcpy(o->base + o->len, p, n);
	o->len += n;
}

static void put_scalar(struct output *o, const struct sh_shared_scalar *s, const char *text)
{
	uint8_t kind = (uint8_t)s->kind, b = s->kind == SH_SHARED_BOOLEAN && s->u.boolean;
	uint32_t len;

	put(o, &kind, 1);
	switch (s->kind) {
	case SH_SHARED_BOOLEAN:
		put(o, &b, 1);
		break;
	case SH_SHARED_INTEGER:
		put(o, &s->u.integer, 8);
		break;
	case SH_SHARED_FLOAT:
		put(o, &s->u.number, 8);
		break;
	default:
		len = (uint32_t)s->u.len;
		put(o, &len, 4);
		put(o, text, len);
	}
}

static void put_entry(struct sh_shared_entry *e, void *ctx)
{
	struct output *o = ctx;
	uint8_t kind = (uint8_t)e->scalar.kind;
	uint64_t expires = e->expires ? e->expires - o->now + o->wall : 0;
	uint32_t key_len = (uint32_t)e->key_len, length = (uint32_t)e->length;

	if (!sh_shared_entry_live(e, o->now))
		return;
	put(o, &kind, 1);
	put(o, &expires, 8);
	put(o, &key_len, 4);
	put(o, &length, 4);
	put(o, e->key, e->key_len);
	if (kind != SH_SHARED_LIST)
		put_scalar(o, &e->scalar, e->key + e->key_len);
	for (const struct sh_shared_item *i = e->first; i; i = i->next)
		put_scalar(o, &i->scalar, i->text);
}

int sh_shared_pack(struct sh_shared_store *s, uint64_t now, uint64_t wall, char **data, size_t *len)
{
	struct output o = {.now = now, .wall = wall};
	uint64_t hash;

	put(&o, magic, MAGIC);
	sh_shared_store_each(s, put_entry, &o);
	hash = o.failed ? 0 : sh_hash_slice(&check_key, sh_slice_make(o.base, o.len));
	put(&o, &hash, 8);
	if (o.failed) {
		sh_free(o.base);
		return -ENOMEM;
	}
	*data = o.base;
	*len = o.len;
	return 0;
}

/* ---- reading ---- */

struct input {
	const char *at, *end;
	bool bad;
};

static void get(struct input *in, void *out, size_t n)
{
	if (in->bad || n > (size_t)(in->end - in->at)) {
		in->bad = true;
		memset(out, 0, n);
		return;
	}
	memcpy(out, in->at, n);
	in->at += n;
}

static struct sh_slice get_text(struct input *in, uint32_t len)
{
	struct sh_slice s = sh_slice_make(in->at, len);

	if (in->bad || len > (size_t)(in->end - in->at)) {
		in->bad = true;
		return (struct sh_slice){0};
	}
	in->at += len;
	return s;
}

static struct sh_shared_value get_value(struct input *in)
{
	struct sh_shared_value v = {.kind = SH_SHARED_NONE};
	uint8_t kind, b;
	uint32_t len;

	get(in, &kind, 1);
	v.kind = (enum sh_shared_kind)kind;
	switch (kind) {
	case SH_SHARED_BOOLEAN:
		get(in, &b, 1);
		v.u.boolean = b != 0;
		break;
	case SH_SHARED_INTEGER:
		get(in, &v.u.integer, 8);
		break;
	case SH_SHARED_FLOAT:
		get(in, &v.u.number, 8);
		break;
	case SH_SHARED_STRING:
		get(in, &len, 4);
		v.u.text = get_text(in, len);
		break;
	default:
		in->bad = true;
	}
	return v;
}

/* What does not fit or is there already is left out. */
static void restore(struct sh_shared_store *s, struct input *in, uint64_t now, uint64_t wall)
{
	struct sh_shared_write w = {.op = SH_SHARED_ADD};
	struct sh_shared_value v;
	uint64_t expires;
	uint32_t key_len, length;
	uint8_t kind;
	size_t n;
	bool over;

	get(in, &kind, 1);
	get(in, &expires, 8);
	get(in, &key_len, 4);
	get(in, &length, 4);
	w.key = get_text(in, key_len);
	over = in->bad || key_len > SH_SHARED_KEY_MAX || (expires && expires <= wall);
	w.ttl = expires && !over ? expires - wall : 0;
	w.value = &v;
	w.length = &n;
	if (kind != SH_SHARED_LIST) {
		v = get_value(in);
		if (!over && !in->bad)
			sh_shared_store_write(s, &w, now);
		return;
	}
	over = over || sh_shared_store_has(s, w.key);
	w.op = SH_SHARED_PUSH;
	for (uint32_t i = 0; i < length && !in->bad; i++) {
		v = get_value(in);
		if (!over && !in->bad)
			sh_shared_store_write(s, &w, now);
	}
}

int sh_shared_unpack(struct sh_shared_store *s, const char *data, size_t len, uint64_t now, uint64_t wall)
{
	struct input in = {data + MAGIC, data + len - 8, false};
	uint64_t hash;

	if (len < MAGIC + 8 || memcmp(data, magic, MAGIC) != 0)
		return -EBADMSG;
	memcpy(&hash, data + len - 8, 8);
	if (hash != sh_hash_slice(&check_key, sh_slice_make(data, len - 8)))
		return -EBADMSG;
	while (in.at < in.end && !in.bad)
		restore(s, &in, now, wall);
	return in.bad ? -EBADMSG : 0;
}

/* ---- all of them ---- */

void sh_shared_keep(struct sh_shared *sh, const struct sh_shared_keeper *keeper)
{
	sh->keeper = *keeper;
}

static const char *name_of(const struct sh_shared_store *s, char out[SH_SHARED_NAME_MAX + 1])
{
	memcpy(out, s->name, s->name_len);
	out[s->name_len] = '\0';
	return out;
}

int sh_shared_configure(struct sh_shared *sh, struct sh_shared_store *store, const struct sh_shared_options *o,
			uint64_t now, uint64_t wall)
{
	char name[SH_SHARED_NAME_MAX + 1], *data;
	size_t len;
	int err;

	if (o->size)
		atomic_store(&store->memory_max, o->size);
	atomic_store(&store->evict, (int)o->evict);
	if (!o->persist || atomic_exchange(&store->persist, true))
		return 0;
	if (!sh->keeper.read)
		return -ENOENT;
	err = sh->keeper.read(sh->keeper.ctx, name_of(store, name), &data, &len);
	if (err == -ENOENT)
		return 0;
	if (err)
		return err;
	err = sh_shared_unpack(store, data, len, now, wall);
	sh_free(data);
	store->saved = atomic_load(&store->changes);
	return err;
}

static int save(struct sh_shared *sh, struct sh_shared_store *s, uint64_t now, uint64_t wall)
{
	uint64_t changes = atomic_load(&s->changes);
	char name[SH_SHARED_NAME_MAX + 1], *data;
	size_t len;
	int err;

	if (!atomic_load(&s->persist) || changes == s->saved)
		return 0;
	err = sh_shared_pack(s, now, wall, &data, &len);
	if (err)
		return err;
	err = sh->keeper.write(sh->keeper.ctx, name_of(s, name), data, len);
	sh_free(data);
	if (!err)
		s->saved = changes;
	return err;
}

unsigned sh_shared_save(struct sh_shared *sh, uint64_t now, uint64_t wall)
{
	unsigned failed = 0;

	if (!sh->keeper.write)
		return 0;
	pthread_mutex_lock(&sh->lock); /* stores are only added, at the end */
	for (struct sh_link *l = sh->stores.next; l != &sh->stores;) {
		struct sh_shared_store *s = SH_CONTAINER(l, struct sh_shared_store, link);

		pthread_mutex_unlock(&sh->lock);
		failed += save(sh, s, now, wall) != 0;
		pthread_mutex_lock(&sh->lock);
		l = l->next;
	}
	pthread_mutex_unlock(&sh->lock);
	return failed;
}

/* ---- for another process ---- */

int sh_shared_pack_all(struct sh_shared *sh, uint64_t now, uint64_t wall,
		       void (*fn)(void *ctx, struct sh_slice name, const char *data, size_t len), void *ctx)
{
	int err = 0;

	pthread_mutex_lock(&sh->lock); /* as in save */
	for (struct sh_link *l = sh->stores.next; l != &sh->stores && !err;) {
		struct sh_shared_store *s = SH_CONTAINER(l, struct sh_shared_store, link);
		char *data;
		size_t len;

		pthread_mutex_unlock(&sh->lock);
		err = sh_shared_pack(s, now, wall, &data, &len);
		if (!err) {
			fn(ctx, sh_slice_make(s->name, s->name_len), data, len);
			sh_free(data);
		}
		pthread_mutex_lock(&sh->lock);
		l = l->next;
	}
	pthread_mutex_unlock(&sh->lock);
	return err;
}

int sh_shared_restore(struct sh_shared *sh, struct sh_slice name, const char *data, size_t len, uint64_t now, uint64_t wall)
{
	struct sh_shared_store *s;
	int err = sh_shared_open(sh, name, &s);

	return err ? err : sh_shared_unpack(s, data, len, now, wall);
}

void sh_shared_tell(struct sh_shared *sh, void (*fn)(void *ctx, const char *data, size_t len), void *ctx)
{
	sh->tell = fn;
	sh->tell_ctx = ctx;
	atomic_store(&sh->tells, true);
}

/* op (1), has a value (1), length of the store's name (4) and of the key (4), time to live (8), name, key, the value. */
void sh_shared_tell_write(const struct sh_shared_store *s, const struct sh_shared_write *w)
{
	const struct sh_shared *sh = s->set;
	uint8_t op = (uint8_t)w->op, has = w->value != NULL;
	uint32_t name_len = (uint32_t)s->name_len, key_len = (uint32_t)w->key.len;
	struct sh_shared_scalar scalar = {0};
	struct output o = {0};

	put(&o, &op, 1);
	put(&o, &has, 1);
	put(&o, &name_len, 4);
	put(&o, &key_len, 4);
	put(&o, &w->ttl, 8);
	put(&o, s->name, s->name_len);
	put(&o, w->key.base, w->key.len);
	if (has) {
		scalar.kind = (int)w->value->kind;
		switch (w->value->kind) {
		case SH_SHARED_BOOLEAN:
			scalar.u.boolean = w->value->u.boolean;
			break;
		case SH_SHARED_INTEGER:
			scalar.u.integer = w->value->u.integer;
			break;
		case SH_SHARED_FLOAT:
			scalar.u.number = w->value->u.number;
			break;
		default:
			scalar.u.len = w->value->u.text.len;
		}
		put_scalar(&o, &scalar, w->value->kind == SH_SHARED_STRING ? w->value->u.text.base : "");
	}
	if (!o.failed)
		sh->tell(sh->tell_ctx, o.base, o.len);
	sh_free(o.base);
}

int sh_shared_do(struct sh_shared *sh, const char *data, size_t len, uint64_t now)
{
	struct input in = {data, data + len, false};
	struct sh_shared_value value, out;
	struct sh_shared_write w = {0};
	struct sh_shared_store *s;
	uint32_t name_len, key_len;
	struct sh_slice name;
	uint8_t op, has;
	size_t n;
	int err;

	get(&in, &op, 1);
	get(&in, &has, 1);
	get(&in, &name_len, 4);
	get(&in, &key_len, 4);
	get(&in, &w.ttl, 8);
	name = get_text(&in, name_len);
	w.key = get_text(&in, key_len);
	if (has)
		value = get_value(&in);
	if (in.bad || op > SH_SHARED_POP || (!has && op != SH_SHARED_DELETE && op != SH_SHARED_POP) || key_len > SH_SHARED_KEY_MAX)
		return -EBADMSG;
	w.op = (enum sh_shared_op)op;
	w.value = has ? &value : NULL;
	w.out = op == SH_SHARED_INCR ? &out : NULL;
	w.length = &n;
	err = sh_shared_open(sh, name, &s);
	return err ? err : sh_shared_store_write(s, &w, now);
}
