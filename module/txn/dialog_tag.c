#include "txn/dialog.h"

void sh_dialog_retag(struct sh_dialog *d, const char tag[SH_TAG_LEN])
{
	struct sh_dialog_table *t = d->table;

	sh_hash_remove(&t->by_tag, &d->node);
	memcpy(d->local_tag, tag, SH_TAG_LEN);
	sh_hash_insert(&t->by_tag, &d->node, sh_hash_slice(&t->env->key, sh_slice_make(tag, SH_TAG_LEN)));
}
