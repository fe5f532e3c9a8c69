/* Where messages go that belong to another worker than their own text says: the CANCEL of an INVITE that was taken to the
 * worker of the dialog that it replaces, and what comes in a dialog that moved (design: shared-nothing workers). One
 * table for each worker, empty as long as neither happens. */
#include "b2bua/impl.h"

enum { MOST = 65536 }; /* entries: the oldest of those that end by themselves makes room */

struct sh_forward {
	struct sh_hash_node node;
	struct sh_link link; /* in ua->forwards_due, while it has an end */
	uint64_t due;        /* 0: none */
	enum sh_forward_kind kind;
	unsigned worker;
	size_t len;
	char key[];
};

static uint64_t hash_of(const struct sh_ua *ua, struct sh_slice key)
{
	return sh_hash_slice(&ua->env->key, key);
}

static struct sh_forward *find(const struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key)
{
	struct sh_hash_node *n = ua->forwards.count ? sh_hash_find(&ua->forwards, hash_of(ua, key)) : NULL;

	for (; n; n = sh_hash_next(n)) {
		struct sh_forward *f = SH_CONTAINER(n, struct sh_forward, node);

		if (f->kind == kind && sh_slice_eq(sh_slice_make(f->key, f->len), key))
			return f;
	}
	return NULL;
}

static void destroy(struct sh_ua *ua, struct sh_forward *f)
{
	sh_hash_remove(&ua->forwards, &f->node);
	sh_list_remove(&f->link);
	sh_free(f);
}

int sh_forward_find(const struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key)
{
	const struct sh_forward *f = find(ua, kind, key);

	return f && (!f->due || f->due > ua->env->now) ? (int)f->worker : -1;
}

void sh_forward_add(struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key, unsigned worker, uint64_t lifetime)
{
	struct sh_forward *f = find(ua, kind, key);
	struct sh_link *l;

	/* all have the same lifetime: the first one ends first */
	while ((l = ua->forwards_due.next) != &ua->forwards_due) {
		struct sh_forward *old = SH_CONTAINER(l, struct sh_forward, link);

		if (old == f || (old->due > ua->env->now && ua->forwards.count < MOST))
			break;
		destroy(ua, old);
	}
	if (!f) {
		f = sh_malloc(sizeof(*f) + key.len);
		if (!f)
			return; /* a CANCEL will find nothing: the call rings until somebody gives up */
		sh_list_init(&f->link);
		f->kind = kind;
		f->len = key.len;
		memcpy(f->key, key.base, key.len);
		sh_hash_insert(&ua->forwards, &f->node, hash_of(ua, key));
	}
	f->worker = worker;
	f->due = lifetime ? ua->env->now + lifetime : 0;
	sh_list_remove(&f->link);
	if (lifetime)
		sh_list_append(&ua->forwards_due, &f->link);
}

void sh_forward_remove(struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key)
{
	struct sh_forward *f = find(ua, kind, key);

	if (f)
		destroy(ua, f);
}

static void finish_one(struct sh_hash_node *n, void *ctx)
{
	destroy(ctx, SH_CONTAINER(n, struct sh_forward, node));
}

void sh_forward_finish(struct sh_ua *ua)
{
	if (ua->forwards.buckets)
		sh_hash_each(&ua->forwards, finish_one, ua);
	sh_hash_finish(&ua->forwards);
}
