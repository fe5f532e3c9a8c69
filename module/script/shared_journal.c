/* What a loading script writes to shared stores: done at once on shadows, which only the loader sees, and recorded, to
 * be done again on the stores when the generation is taken. */
#include <errno.h>

#include "core/alloc.h"
#include "script/shared_impl.h"

struct record {
	struct sh_link link;
	struct sh_shared_store *store;
	enum sh_shared_op op;
	struct sh_shared_value value; /* its text behind the key */
	uint64_t ttl;
	size_t key_len, size;
	char key[];
};

struct sh_shared_journal {
	struct sh_shared *set;
	struct sh_link shadows, records;
	size_t size; /* of the records; at most one store's worth */
	sh_shared_use_fn watch; /* NULL: a journal */
	void *ctx;
};

bool sh_shared_journal_watches(const struct sh_shared_at *at, struct sh_slice key, bool reads)
{
	const struct sh_shared_journal *j = at->journal;
	struct sh_shared_at bare = {.store = at->store, .now = at->now};

	if (j->watch)
		j->watch(j->ctx, &bare, key, reads);
	return j->watch != NULL;
}

struct sh_shared_store *sh_shared_journal_shadow(const struct sh_shared_journal *j, const struct sh_shared_store *base)
{
	SH_LIST_EACH(l, &j->shadows)
	{
		struct sh_shared_store *s = SH_CONTAINER(l, struct sh_shared_store, link);

		if (s->base == base)
			return s;
	}
	return NULL;
}

static struct record *record_create(struct sh_shared_store *store, const struct sh_shared_write *w)
{
	bool text = w->value && w->value->kind == SH_SHARED_STRING;
	size_t len = text ? w->value->u.text.len : 0;
	struct record *r = sh_malloc(sizeof(*r) + w->key.len + len);

	if (!r)
		return NULL;
	*r = (struct record){.store = store, .op = w->op, .ttl = w->ttl, .key_len = w->key.len};
	r->size = sizeof(*r) + w->key.len + len;
	memcpy(r->key, w->key.base, w->key.len);
	if (w->value)
		r->value = *w->value;
	if (text) {
		if (len > 0)
			memcpy(r->key + w->key.len, w->value->u.text.base, len);
		r->value.u.text = sh_slice_make(r->key + w->key.len, len);
	}
	return r;
}

int sh_shared_journal_write(const struct sh_shared_at *at, const struct sh_shared_write *w)
{
	struct sh_shared_journal *j = at->journal;
	struct sh_shared_store *shadow = sh_shared_journal_shadow(j, at->store);
	struct record *r;
	int err;

	if (!shadow) {
		shadow = sh_shared_store_create(j->set, at->store, sh_slice_make(at->store->name, at->store->name_len));
		if (!shadow)
			return -ENOMEM;
		sh_list_append(&j->shadows, &shadow->link);
	}
	err = sh_shared_store_cover(shadow, w->key, at->now);
	if (err)
		return err;
	r = record_create(at->store, w);
	if (!r)
		return -ENOMEM;
	err = j->size + r->size > j->set->store_max ? -ENOSPC : sh_shared_store_write(shadow, w, at->now);
	if (err) {
		sh_free(r);
		return err;
	}
	sh_list_append(&j->records, &r->link);
	j->size += r->size;
	return 0;
}

int sh_shared_journal_create(struct sh_shared_journal **out, struct sh_shared *sh)
{
	struct sh_shared_journal *j = sh_calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->set = sh;
	sh_list_init(&j->shadows);
	sh_list_init(&j->records);
	*out = j;
	return 0;
}

int sh_shared_watch_create(struct sh_shared_journal **out, sh_shared_use_fn fn, void *ctx)
{
	int err = sh_shared_journal_create(out, NULL);

	if (!err) {
		(*out)->watch = fn;
		(*out)->ctx = ctx;
	}
	return err;
}

static void clear(struct sh_shared_journal *j)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&j->records)))
		sh_free(SH_CONTAINER(l, struct record, link));
	while ((l = sh_list_pop(&j->shadows)))
		sh_shared_store_destroy(SH_CONTAINER(l, struct sh_shared_store, link));
	j->size = 0;
}

static int redo(const struct record *r, uint64_t now)
{
	struct sh_shared_value result;
	size_t length;
	struct sh_shared_write w = {
	    .op = r->op,
	    .key = sh_slice_make(r->key, r->key_len),
	    .value = &r->value,
	    .ttl = r->ttl,
	    .out = r->op == SH_SHARED_POP ? NULL : &result,
	    .length = &length,
	};

	return sh_shared_store_write(r->store, &w, now);
}

size_t sh_shared_journal_commit(struct sh_shared_journal *j, uint64_t now)
{
	size_t failed = 0;

	SH_LIST_EACH(l, &j->records)
	failed += redo(SH_CONTAINER(l, struct record, link), now) != 0;
	clear(j);
	return failed;
}

void sh_shared_journal_destroy(struct sh_shared_journal *j)
{
	if (!j)
		return;
	clear(j);
	sh_free(j);
}
