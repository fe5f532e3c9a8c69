/* Counters of calls: see limit.h. A key lives as long as something is counted under it. */
#include "script/limit.h"

#include <errno.h>
#include <pthread.h>

#include "core/alloc.h"
#include "core/list.h"

struct sh_limit {
	struct sh_hash_node node;
	struct sh_limits *table;
	uint64_t count;
	size_t len;
	char key[];
};

struct sh_limits {
	pthread_mutex_t lock;
	struct sh_hash table;
	struct sh_hash_key key;
};

int sh_limits_create(struct sh_limits **out, const struct sh_hash_key *key)
{
	struct sh_limits *t = sh_calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->key = *key;
	err = sh_hash_init(&t->table, 64);
	if (!err) {
		err = -pthread_mutex_init(&t->lock, NULL);
		if (err)
			sh_hash_finish(&t->table);
	}
	if (err) {
		sh_free(t);
		return err;
	}
	*out = t;
	return 0;
}

static void free_one(struct sh_hash_node *n, void *ctx)
{
	struct sh_limits *t = ctx;

	sh_hash_remove(&t->table, n);
	sh_free(SH_CONTAINER(n, struct sh_limit, node));
}

void sh_limits_destroy(struct sh_limits *t)
{
	if (!t)
		return;
	sh_hash_each(&t->table, free_one, t);
	sh_hash_finish(&t->table);
	pthread_mutex_destroy(&t->lock);
	sh_free(t);
}

struct sh_slice sh_limit_key(const struct sh_limit *l)
{
	return sh_slice_make(l->key, l->len);
}

static struct sh_limit *find(struct sh_limits *t, struct sh_slice key, uint64_t hash)
{
	for (struct sh_hash_node *n = sh_hash_find(&t->table, hash); n; n = sh_hash_next(n)) {
		struct sh_limit *l = SH_CONTAINER(n, struct sh_limit, node);

		if (sh_slice_eq(sh_limit_key(l), key))
			return l;
	}
	return NULL;
}

int sh_limit_take(struct sh_limits *t, struct sh_slice key, uint64_t max, struct sh_limit **out, uint64_t *count)
{
	uint64_t hash = sh_hash_slice(&t->key, key);
	struct sh_limit *l;
	int err = 0;

	pthread_mutex_lock(&t->lock);
	l = find(t, key, hash);
	*count = l ? l->count : 0;
	if (*count >= max) {
		err = -EAGAIN;
	} else if (!l) {
		l = sh_calloc(1, sizeof(*l) + key.len);
		if (l) {
			memcpy(l->key, key.base, key.len);
			l->len = key.len;
			l->table = t;
			sh_hash_insert(&t->table, &l->node, hash);
		}
		err = l ? 0 : -ENOMEM;
	}
	if (!err) {
		*count = ++l->count;
		*out = l;
	}
	pthread_mutex_unlock(&t->lock);
	return err;
}

void sh_limit_give(struct sh_limit *l)
{
	struct sh_limits *t = l->table;

	pthread_mutex_lock(&t->lock);
	if (--l->count == 0)
		free_one(&l->node, t);
	pthread_mutex_unlock(&t->lock);
}
