/* Whom the peers of other workers' TLS connections have proven to be: their workers send it along with the messages. */
#include "transport/impl.h"

enum { FOREIGN_MAX = 4096 };

/* The names never change: the peer has proven them before its first message. */
struct sh_foreign {
	struct sh_hash_node node;
	struct sh_link age;
	uint64_t flow;
	char names[];
};

static uint64_t flow_hash(const struct sh_transport *t, uint64_t flow)
{
	return sh_hash_slice(&t->env->key, sh_slice_make((const char *)&flow, sizeof(flow)));
}

const char *sh_foreign_names(const struct sh_transport *t, uint64_t flow)
{
	struct sh_hash_node *n = t->foreign.count ? sh_hash_find(&t->foreign, flow_hash(t, flow)) : NULL;

	for (; n; n = sh_hash_next(n)) {
		const struct sh_foreign *f = SH_CONTAINER(n, struct sh_foreign, node);
		if (f->flow == flow)
			return f->names;
	}
	return NULL;
}

size_t sh_transport_names_size(const char *names)
{
	const char *at = names;

	while (*at)
		at += strlen(at) + 1;
	return (size_t)(at + 1 - names);
}

static void forget_oldest(struct sh_transport *t)
{
	struct sh_foreign *f = SH_CONTAINER(sh_list_pop(&t->foreign_by_age), struct sh_foreign, age);

	sh_hash_remove(&t->foreign, &f->node);
	sh_free(f);
}

int sh_transport_learn_names(struct sh_transport *t, uint64_t flow, const char *names)
{
	size_t size = sh_transport_names_size(names);
	struct sh_foreign *f;

	if (sh_foreign_names(t, flow))
		return 0;
	f = sh_malloc(sizeof(*f) + size);
	if (!f)
		return -ENOMEM;
	if (t->foreign.count >= FOREIGN_MAX)
		forget_oldest(t);
	f->flow = flow;
	memcpy(f->names, names, size);
	sh_hash_insert(&t->foreign, &f->node, flow_hash(t, flow));
	sh_list_init(&f->age);
	sh_list_append(&t->foreign_by_age, &f->age);
	return 0;
}

void sh_foreign_finish(struct sh_transport *t)
{
	while (!sh_list_empty(&t->foreign_by_age))
		forget_oldest(t);
	sh_hash_finish(&t->foreign);
}
