/* Where messages go that belong to another worker than their own text says: the CANCEL of an INVITE that was taken to the
 * worker of the dialog that it replaces, and what comes in a dialog that moved (design: shared-nothing workers). One
 * table for each worker, empty as long as neither happens. */
#include "b2bua/impl.h"

enum { MOST = 4096 }; /* of those that end by themselves: anybody can have them made; the oldest makes room */

struct sh_forward {
	struct sh_hash_node node;
	struct sh_link link; /* in ua->forwards_due, while it has an end */
	uint64_t due;        /* 0: none */
	struct sh_id128 id;  /* of kind and key: a Call-ID may be as long as a message */
	unsigned worker;
};

static struct sh_id128 id_of(const struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key)
{
	const char name = (char)kind;
	const struct sh_slice parts[] = {sh_slice_make(&name, 1), key};

	return sh_hash128_slices(&ua->env->key, parts, 2);
}

static struct sh_forward *find(const struct sh_ua *ua, struct sh_id128 id)
{
	for (struct sh_hash_node *n = sh_hash_find(&ua->forwards, id.w[0]); n; n = sh_hash_next(n)) {
		struct sh_forward *f = SH_CONTAINER(n, struct sh_forward, node);

		if (sh_id128_eq(f->id, id))
			return f;
	}
	return NULL;
}

static void no_end(struct sh_ua *ua, struct sh_forward *f)
{
	if (f->due)
		ua->forwards_ending--;
	f->due = 0;
	sh_list_remove(&f->link);
}

static void destroy(struct sh_ua *ua, struct sh_forward *f)
{
	sh_hash_remove(&ua->forwards, &f->node);
	no_end(ua, f);
	sh_free(f);
}

/* All have the same lifetime: the first one ends first. */
static struct sh_forward *first_due(const struct sh_ua *ua)
{
	return sh_list_empty(&ua->forwards_due) ? NULL : SH_CONTAINER(ua->forwards_due.next, struct sh_forward, link);
}

static void on_due(struct sh_timer *t)
{
	struct sh_ua *ua = SH_CONTAINER(t, struct sh_ua, forwards_timer);
	struct sh_forward *f;

	while ((f = first_due(ua)) != NULL && f->due <= ua->env->now)
		destroy(ua, f);
	if (f)
		sh_wheel_add(&ua->env->wheel, t, f->due);
}

void sh_forward_init(struct sh_ua *ua)
{
	sh_list_init(&ua->forwards_due);
	sh_timer_init(&ua->forwards_timer, on_due);
}

int sh_forward_find(const struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key)
{
	const struct sh_forward *f = ua->forwards.count ? find(ua, id_of(ua, kind, key)) : NULL;

	return f && (!f->due || f->due > ua->env->now) ? (int)f->worker : -1;
}

void sh_forward_add(struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key, unsigned worker, uint64_t lifetime)
{
	struct sh_id128 id = id_of(ua, kind, key);
	struct sh_forward *f = find(ua, id);

	if (f) {
		no_end(ua, f);
	} else {
		f = sh_calloc(1, sizeof(*f));
		if (!f)
			return; /* a CANCEL will find nothing: the call rings until somebody gives up */
		sh_list_init(&f->link);
		f->id = id;
		sh_hash_insert(&ua->forwards, &f->node, id.w[0]);
	}
	f->worker = worker;
	if (!lifetime)
		return;
	if (ua->forwards_ending >= MOST)
		destroy(ua, first_due(ua));
	f->due = ua->env->now + lifetime;
	ua->forwards_ending++;
	sh_list_append(&ua->forwards_due, &f->link);
	if (!sh_timer_pending(&ua->forwards_timer))
		sh_wheel_add(&ua->env->wheel, &ua->forwards_timer, f->due);
}

void sh_forward_remove(struct sh_ua *ua, enum sh_forward_kind kind, struct sh_slice key)
{
	struct sh_forward *f = ua->forwards.count ? find(ua, id_of(ua, kind, key)) : NULL;

	if (f)
		destroy(ua, f);
}

static void finish_one(struct sh_hash_node *n, void *ctx)
{
	destroy(ctx, SH_CONTAINER(n, struct sh_forward, node));
}

void sh_forward_finish(struct sh_ua *ua)
{
	sh_env_cancel(ua->env, &ua->forwards_timer);
	if (ua->forwards.buckets)
		sh_hash_each(&ua->forwards, finish_one, ua);
	sh_hash_finish(&ua->forwards);
}
