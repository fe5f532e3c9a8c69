/* The digest server: see auth.h. */
#include "registrar/auth.h"

#include <errno.h>

#include "core/alloc.h"
#include "registrar/nonce.h"

enum { DEFAULT_MAX_NONCES = 262144 };

#define DEFAULT_LIFETIME (300 * SH_SECOND)

struct sh_auth {
	struct sh_hash_key secret; /* of the nonces */
	struct sh_nonce_table nonces;
	bool credulous;
};

int sh_auth_create(struct sh_auth **out, struct sh_random *random, const struct sh_auth_config *config)
{
	struct sh_auth *a = sh_calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	a->credulous = config->credulous;
	sh_random_bytes(random, &a->secret, sizeof(a->secret));
	err = sh_nonce_table_init(&a->nonces, config->max_nonces ? config->max_nonces : DEFAULT_MAX_NONCES,
				  config->nonce_lifetime ? config->nonce_lifetime : DEFAULT_LIFETIME);
	if (err) {
		sh_free(a);
		return err;
	}
	*out = a;
	return 0;
}

void sh_auth_destroy(struct sh_auth *a)
{
	if (!a)
		return;
	sh_nonce_table_finish(&a->nonces);
	explicit_bzero(&a->secret, sizeof(a->secret));
	sh_free(a);
}

struct sh_hash_key sh_auth_secret(const struct sh_auth *a)
{
	return a->secret;
}

void sh_auth_set_secret(struct sh_auth *a, const struct sh_hash_key *secret)
{
	a->secret = *secret;
}

void sh_auth_each_nonce(struct sh_auth *a, void (*fn)(void *ctx, const struct sh_nonce_record *r), void *ctx)
{
	sh_nonce_table_each(&a->nonces, fn, ctx);
}

void sh_auth_put_nonce(struct sh_auth *a, const struct sh_nonce_record *r)
{
	sh_nonce_table_put(&a->nonces, r);
}

/* --- challenges -------------------------------------------------------------------------------------------------- */

/* Nothing that stands in quotes may end them, or the line. */
static void put_quoted(struct sh_writer *w, struct sh_slice s)
{
	sh_put_char(w, '"');
	for (size_t i = 0; i < s.len; i++) {
		char c = s.base[i];

		if (c == '"' || c == '\\')
			sh_put_char(w, '\\');
		sh_put_char(w, (unsigned char)c < 0x20 || c == 0x7f ? ' ' : c);
	}
	sh_put_char(w, '"');
}

void sh_auth_put_challenge(struct sh_auth *a, struct sh_random *random, uint64_t now_wall,
			   const struct sh_auth_challenge *c, struct sh_writer *w)
{
	struct sh_nonce nonce = {now_wall, sh_random_u64(random)};
	char text[SH_NONCE_TEXT];

	sh_nonce_write(&a->secret, c->realm, c->source, &nonce, text);
	for (unsigned i = 0; i < c->nalgs; i++) {
		sh_put(w, sh_header_name(c->proxy ? SH_H_PROXY_AUTHENTICATE : SH_H_WWW_AUTHENTICATE));
		sh_put_lit(w, ": Digest realm=");
		put_quoted(w, c->realm);
		sh_put_lit(w, ", nonce=\"");
		sh_put(w, sh_slice_make(text, sizeof(text)));
		sh_put_lit(w, "\", algorithm=");
		sh_put(w, sh_digest_alg_name(c->algs[i]));
		if (c->stale)
			sh_put_lit(w, ", stale=true");
		if (!c->no_qop)
			sh_put_lit(w, ", qop=\"auth\"");
		sh_put_lit(w, "\r\n");
	}
}

/* --- credentials ------------------------------------------------------------------------------------------------- */

/* A field may hold another scheme ("Basic", "Bearer"), which is not broken but for somebody else. */
static bool is_digest(struct sh_slice value)
{
	return sh_slice_istarts(value, SH_LIT("Digest")) &&
	       (value.len == 6 || sh_slice_trim(sh_slice_make(value.base + 6, 1)).len == 0);
}

/* Place of the algorithm in the list, 0 is the best; n: not in it. We never offer a "-sess" one. */
static unsigned rank_of(const struct sh_credentials *c, const enum sh_digest_alg *algs, unsigned n)
{
	unsigned i = 0;

	while (i < n && (c->session || algs[i] != c->alg))
		i++;
	return i;
}

enum sh_auth_verdict sh_auth_find(struct sh_auth *a, struct sh_arena *arena, const struct sh_msg *m,
				  struct sh_slice source, bool proxy, struct sh_slice realm, const enum sh_digest_alg *algs, unsigned nalgs,
				  uint64_t now_wall, struct sh_credentials *c)
{
	struct sh_credentials best, found;
	struct sh_nonce nonce;
	unsigned rank = nalgs;
	bool broken = false;

	for (unsigned i = m->first[proxy ? SH_H_PROXY_AUTHORIZATION : SH_H_AUTHORIZATION]; i;
	     i = m->headers[i - 1].next) {
		struct sh_slice value = sh_msg_value(m, i);
		unsigned r;
		int err;

		if (!is_digest(value))
			continue;
		err = sh_credentials_parse(arena, value, &found);
		if (err == -ENOMEM)
			return SH_AUTH_FAILED;
		if (err) {
			broken = true;
			continue;
		}
		r = rank_of(&found, algs, nalgs);
		if (r < rank && sh_slice_eq(found.realm, realm)) {
			best = found;
			rank = r;
		}
	}
	if (rank == nalgs)
		return broken ? SH_AUTH_BAD : SH_AUTH_NONE;
	if (a->credulous) {
		*c = best;
		return SH_AUTH_PASSWORD_NEEDED;
	}
	switch (sh_nonce_read(&a->secret, realm, source, best.nonce, &nonce)) {
	case 0:
		break;
	case -EINVAL: /* cut or mangled on its way, or not ours: "stale" would only be answered in the same way */
		return SH_AUTH_NONE;
	default: /* from before we were started again, or from before its address changed: the user need not be asked */
		return SH_AUTH_STALE;
	}
	if (!sh_nonce_fresh(&a->nonces, &nonce, now_wall))
		return SH_AUTH_STALE;
	*c = best;
	return SH_AUTH_PASSWORD_NEEDED;
}

/* A1 as hex in lower case, from whatever the secret is. *known becomes false if it cannot be one. */
static int make_ha1(const struct sh_credentials *c, struct sh_slice secret, bool is_ha1, struct sh_digest_hex *ha1,
		    bool *known)
{
	if (!is_ha1)
		return sh_digest_ha1(c->alg, c->username, c->realm, *known ? secret : SH_LIT("nobody"), ha1);
	ha1->len = c->alg == SH_DIGEST_MD5 ? 32 : 64;
	*known = *known && secret.len == ha1->len;
	for (size_t i = 0; i < ha1->len; i++)
		ha1->text[i] = *known ? sh_lower(secret.base[i]) : '0';
	return 0;
}

enum sh_auth_verdict sh_auth_check(struct sh_auth *a, const struct sh_msg *m, const struct sh_credentials *c,
				   struct sh_slice secret, bool is_ha1, uint64_t now_wall)
{
	struct sh_digest_hex ha1, response;
	bool known = secret.base != NULL;
	struct sh_nonce nonce;
	bool equal;
	int err;

	if (a->credulous)
		return SH_AUTH_OK;
	err = make_ha1(c, secret, is_ha1, &ha1, &known);
	if (!err)
		err = sh_digest_response(c, sh_slice_make(ha1.text, ha1.len), sh_msg_text(m, m->method_name),
					 sh_msg_text(m, m->body), &response);
	if (err)
		return err == -EINVAL ? SH_AUTH_BAD : SH_AUTH_FAILED;
	equal = sh_digest_equal(sh_slice_make(response.text, response.len), c->response);
	explicit_bzero(&ha1, sizeof(ha1));
	if (!equal || !known)
		return SH_AUTH_WRONG;
	if (sh_nonce_decode(c->nonce, &nonce)) /* its code was verified by sh_auth_find() */
		return SH_AUTH_STALE;
	return sh_nonce_use(&a->nonces, &nonce, c->nc, now_wall) ? SH_AUTH_OK : SH_AUTH_STALE;
}
