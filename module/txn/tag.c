/* Tags, branches and Call-IDs of ours: 16 characters of 6 bits. Two carry the worker, so that what comes back finds it, and two
 * more the epoch of the process, where processes hand over to each other. */
#include "txn/txn_impl.h"

static const char symbols[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/* Twelve bits: the worker and four of check, so that few foreign tags look like ours. */
static unsigned worker_code(unsigned worker)
{
	return worker | ((worker ^ worker >> 4 ^ 9) & 15) << 8;
}

void sh_tag_put_worker(unsigned worker, char out[2])
{
	unsigned code = worker_code(worker & 255);

	out[0] = symbols[code >> 6];
	out[1] = symbols[code & 63];
}

/* Whose it is; returns how many characters that took. */
static size_t put_owner(const struct sh_env *env, char out[4])
{
	sh_tag_put_worker(env->worker, out);
	if (!env->epoch)
		return 2;
	out[2] = symbols[env->epoch >> 6 & 63];
	out[3] = symbols[env->epoch & 63];
	return 4;
}

static int symbol_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 36;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

void sh_tag_make(struct sh_env *env, char out[SH_TAG_LEN])
{
	size_t n = put_owner(env, out);

	sh_random_token(&env->random, out + n, SH_TAG_LEN - n);
}

/* The number that stands in two characters of a tag of ours at `at`; -1: it is none. */
static int number_at(struct sh_slice tag, size_t at)
{
	if (tag.len == SH_TXN_BRANCH_LEN && sh_slice_starts(tag, SH_LIT("z9hG4bK")))
		tag = sh_slice_make(tag.base + 7, SH_TAG_LEN);
	if (tag.len != SH_TAG_LEN)
		return -1;
	for (size_t i = 0; i < SH_TAG_LEN; i++)
		if (symbol_value(tag.base[i]) < 0)
			return -1;
	return symbol_value(tag.base[at]) << 6 | symbol_value(tag.base[at + 1]);
}

int sh_tag_worker(struct sh_slice tag)
{
	int code = number_at(tag, 0);

	return code >= 0 && (unsigned)code == worker_code((unsigned)code & 255) ? code & 255 : -1;
}

int sh_tag_epoch(struct sh_slice tag)
{
	return sh_tag_worker(tag) < 0 ? -1 : number_at(tag, 2);
}

void sh_tag_derive(struct sh_env *env, const struct sh_msg *m, char out[SH_TAG_LEN])
{
	const struct sh_slice parts[] = {
	    sh_msg_text(m, m->call_id),
	    sh_msg_text(m, m->from_tag),
	    sh_msg_text(m, m->via_branch),
	    sh_slice_make((const char *)&m->cseq, sizeof(m->cseq)),
	    SH_LIT("tag"),
	};
	struct sh_id128 id = sh_hash128_slices(&env->key, parts, sizeof(parts) / sizeof(parts[0]));

	for (size_t i = put_owner(env, out); i < SH_TAG_LEN; i++) {
		uint64_t *word = &id.w[i & 1];

		out[i] = symbols[*word & 63];
		*word >>= 6;
	}
}
