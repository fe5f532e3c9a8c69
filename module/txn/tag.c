/* Tags, branches and Call-IDs of ours: 16 characters of 6 bits. Two carry the worker, so that what comes back finds it.
 */
#include "txn/txn_impl.h"

static const char symbols[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";

/* Twelve bits: the worker and four of check, so that few foreign tags look like ours. */
static unsigned worker_code(unsigned worker)
{
	return worker | ((worker ^ worker >> 4 ^ 9) & 15) << 8;
}

static void put_worker(const struct sh_env *env, char out[2])
{
	unsigned code = worker_code(env->worker & 255);

	out[0] = symbols[code >> 6];
	out[1] = symbols[code & 63];
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
	put_worker(env, out);
	sh_random_token(&env->random, out + 2, SH_TAG_LEN - 2);
}

int sh_tag_worker(struct sh_slice tag)
{
	int high, low;
	unsigned code;

	if (tag.len == SH_TXN_BRANCH_LEN && sh_slice_starts(tag, SH_LIT("z9hG4bK")))
		tag = sh_slice_make(tag.base + 7, SH_TAG_LEN);
	if (tag.len != SH_TAG_LEN)
		return -1;
	for (size_t i = 0; i < SH_TAG_LEN; i++)
		if (symbol_value(tag.base[i]) < 0)
			return -1;
	high = symbol_value(tag.base[0]);
	low = symbol_value(tag.base[1]);
	code = (unsigned)high << 6 | (unsigned)low;
	return code == worker_code(code & 255) ? (int)(code & 255) : -1;
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

	put_worker(env, out);
	for (size_t i = 2; i < SH_TAG_LEN; i++) {
		uint64_t *word = &id.w[i & 1];

		out[i] = symbols[*word & 63];
		*word >>= 6;
	}
}
