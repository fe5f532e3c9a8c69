#include "script/shared_impl.h"

#include <errno.h>

#include "core/alloc.h"

enum { STORE_DEFAULT = 64 << 20 };

/* --- reading ----------------------------------------------------------------------------------------------------- */

int sh_shared_get(const struct sh_shared_at *at, struct sh_slice key, struct sh_shared_value *out, char *buf,
		  size_t size, size_t *need)
{
	struct sh_shared_store *shadow = NULL, *s;

	if (at->journal && !sh_shared_journal_watches(at, key, true))
		shadow = sh_shared_journal_shadow(at->journal, at->store);
	s = shadow && sh_shared_store_has(shadow, key) ? shadow : at->store;

	return sh_shared_store_read(s, key, at->now, out, buf, size, need);
}

/* --- writing ----------------------------------------------------------------------------------------------------- */

static int told(const struct sh_shared_store *s, const struct sh_shared_write *w, int err)
{
	if (!err && atomic_load_explicit(&s->set->tells, memory_order_acquire))
		sh_shared_tell_write(s, w);
	return err;
}

static int write_at(const struct sh_shared_at *at, const struct sh_shared_write *w)
{
	if (w->key.len > SH_SHARED_KEY_MAX)
		return w->op == SH_SHARED_DELETE || w->op == SH_SHARED_POP ? -ENOENT : -E2BIG;
	if (at->journal && !sh_shared_journal_watches(at, w->key, w->op != SH_SHARED_SET))
		return sh_shared_journal_write(at, w);
	return told(at->store, w, sh_shared_store_write(at->store, w, at->now));
}

int sh_shared_set(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *v, uint64_t ttl)
{
	return write_at(at, &(struct sh_shared_write){SH_SHARED_SET, key, .value = v, .ttl = ttl});
}

int sh_shared_add(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *v, uint64_t ttl)
{
	return write_at(at, &(struct sh_shared_write){SH_SHARED_ADD, key, .value = v, .ttl = ttl});
}

int sh_shared_incr(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *by, uint64_t ttl,
		   struct sh_shared_value *out)
{
	return write_at(at, &(struct sh_shared_write){SH_SHARED_INCR, key, .value = by, .ttl = ttl, .out = out});
}

int sh_shared_delete(const struct sh_shared_at *at, struct sh_slice key)
{
	return write_at(at, &(struct sh_shared_write){SH_SHARED_DELETE, key, .value = NULL});
}

int sh_shared_push(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *v, uint64_t ttl,
		   size_t *length)
{
	return write_at(at, &(struct sh_shared_write){SH_SHARED_PUSH, key, .value = v, .ttl = ttl, .length = length});
}

int sh_shared_pop(const struct sh_shared_at *at, struct sh_slice key, struct sh_shared_value *out, char *buf,
		  size_t size, size_t *need)
{
	return write_at(
	    at, &(struct sh_shared_write){SH_SHARED_POP, key, .out = out, .buf = buf, .buf_size = size, .need = need});
}

/* --- keys -------------------------------------------------------------------------------------------------------- */

struct key_list {
	uint64_t now;
	struct sh_shared_store *hidden_by; /* keys that it has do not count */
	char *block;
	size_t size, room, count;
	bool failed;
};

static void add_key(struct sh_shared_entry *e, void *ctx)
{
	struct key_list *list = ctx;
	uint32_t len = (uint32_t)e->key_len;
	size_t need = list->size + sizeof(len) + len;

	if (list->failed || !sh_shared_entry_live(e, list->now))
		return;
	/* A shadow belongs to one thread, and its lock is not the one that is held. */
	if (list->hidden_by && sh_shared_store_has(list->hidden_by, sh_slice_make(e->key, e->key_len)))
		return;
	if (need > list->room) {
		size_t room = need * 2;
		char *block = sh_realloc(list->block, room);

		if (!block) {
			list->failed = true;
			return;
		}
		list->block = block;
		list->room = room;
	}
	memcpy(list->block + list->size, &len, sizeof(len));
	memcpy(list->block + list->size + sizeof(len), e->key, len);
	list->size = need;
	list->count++;
}

int sh_shared_keys(const struct sh_shared_at *at, char **block, size_t *size, size_t *count)
{
	struct key_list list = {.now = at->now};

	list.hidden_by = at->journal ? sh_shared_journal_shadow(at->journal, at->store) : NULL;
	sh_shared_store_each(at->store, add_key, &list);
	if (list.hidden_by) {
		struct sh_shared_store *shadow = list.hidden_by;

		list.hidden_by = NULL;
		sh_shared_store_each(shadow, add_key, &list);
	}
	if (list.failed) {
		sh_free(list.block);
		return -ENOMEM;
	}
	*block = list.block;
	*size = list.size;
	*count = list.count;
	return 0;
}

int sh_shared_copy(const struct sh_shared_at *at, struct sh_slice key, size_t max, struct sh_shared_copy **out)
{
	return sh_shared_store_copy(at->store, key, at->now, max, out);
}

struct sh_slice sh_shared_name(const struct sh_shared_store *store)
{
	return sh_slice_make(store->name, store->name_len);
}

size_t sh_shared_memory(const struct sh_shared_store *store)
{
	return atomic_load_explicit(&store->memory, memory_order_relaxed);
}

/* --- life -------------------------------------------------------------------------------------------------------- */

int sh_shared_create(struct sh_shared **out, const struct sh_hash_key *key, size_t store_max)
{
	struct sh_shared *sh = sh_calloc(1, sizeof(*sh));

	if (!sh)
		return -ENOMEM;
	pthread_mutex_init(&sh->lock, NULL);
	sh_list_init(&sh->stores);
	sh->hash_key = *key;
	sh->store_max = store_max ? store_max : STORE_DEFAULT;
	*out = sh;
	return 0;
}

void sh_shared_destroy(struct sh_shared *sh)
{
	struct sh_link *l;

	if (!sh)
		return;
	while ((l = sh_list_pop(&sh->stores)))
		sh_shared_store_destroy(SH_CONTAINER(l, struct sh_shared_store, link));
	pthread_mutex_destroy(&sh->lock);
	sh_free(sh);
}

static struct sh_shared_store *find_store(struct sh_shared *sh, struct sh_slice name)
{
	SH_LIST_EACH(l, &sh->stores)
	{
		struct sh_shared_store *s = SH_CONTAINER(l, struct sh_shared_store, link);

		if (sh_slice_eq(sh_slice_make(s->name, s->name_len), name))
			return s;
	}
	return NULL;
}

int sh_shared_open(struct sh_shared *sh, struct sh_slice name, struct sh_shared_store **out)
{
	struct sh_shared_store *s;
	int err = 0;

	if (name.len == 0 || name.len > SH_SHARED_NAME_MAX)
		return -EINVAL;
	pthread_mutex_lock(&sh->lock);
	s = find_store(sh, name);
	if (!s && sh->count == SH_SHARED_STORES_MAX) {
		err = -ENOSPC;
	} else if (!s) {
		s = sh_shared_store_create(sh, NULL, name);
		if (s) {
			sh_list_append(&sh->stores, &s->link);
			sh->count++;
		} else {
			err = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&sh->lock);
	if (!err)
		*out = s;
	return err;
}
