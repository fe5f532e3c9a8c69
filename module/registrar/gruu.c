/* GRUUs: see gruu.h. */
#include "registrar/gruu.h"

#include <errno.h>

#include "core/encode.h"

enum {
	NONCE = 8,
	MARK = 8,
	SEAL = 12,
	PLAIN_MAX = 128, /* mark and address of record; longer ones get no temporary GRUU */
	TOKEN_MAX = NONCE + PLAIN_MAX + SEAL,
};

/* ------------------------------------------------------------------ the token */

static void crypt(const struct sh_hash_key *key, const uint8_t nonce[NONCE], uint8_t *text, size_t len)
{
	for (size_t at = 0; at < len; at += 16) {
		uint32_t block = (uint32_t)(at / 16);
		struct sh_slice parts[3] = {SH_LIT("gruu"), {(const char *)nonce, NONCE}, {(const char *)&block, sizeof(block)}};
		struct sh_id128 stream = sh_hash128_slices(key, parts, 3);

		for (size_t i = 0; i < 16 && at + i < len; i++)
			text[at + i] ^= ((const uint8_t *)&stream)[i];
	}
}

/* Of the nonce and what is encrypted, which stand one behind the other. */
static void seal(const struct sh_hash_key *key, const uint8_t *token, size_t len, uint8_t out[SEAL])
{
	struct sh_slice parts[2] = {SH_LIT("gruu seal"), {(const char *)token, len}};
	struct sh_id128 id = sh_hash128_slices(key, parts, 2);

	memcpy(out, &id, SEAL);
}

static uint64_t mark_of(const struct sh_hash_key *key, const struct sh_contact *c)
{
	struct sh_slice parts[3] = {SH_LIT("gruu mark"), c->instance, c->call_id};

	return sh_hash_slices(key, parts, 3);
}

/* ------------------------------------------------------------------ writing */

/* "<urn:uuid:...>" with quotes, as in +sip.instance. */
static struct sh_slice bare(struct sh_slice instance)
{
	if (instance.len >= 2 && instance.base[0] == '"')
		instance = sh_slice_make(instance.base + 1, instance.len - 2);
	if (instance.len >= 2 && instance.base[0] == '<')
		instance = sh_slice_make(instance.base + 1, instance.len - 2);
	return instance;
}

/* uric of a parameter (RFC 3261 25.1 paramchar); everything else would need escapes that comparison does not see. */
static bool is_plain(struct sh_slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = sh_lower(s.base[i]);

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && !strchr("-_.!~*'()[]/:&+$", c))
			return false;
	}
	return s.len > 0;
}

/* Whose Contact is sips gets GRUUs of that scheme (RFC 5630 5.2.1). */
static bool is_sips(const struct sh_contact *c)
{
	return sh_slice_istarts(c->uri, SH_LIT("sips:"));
}

static void put_aor(struct sh_writer *w, struct sh_slice aor, const struct sh_contact *c)
{
	if (is_sips(c) && sh_slice_istarts(aor, SH_LIT("sip:"))) {
		sh_put_lit(w, "sips:");
		aor = sh_slice_make(aor.base + 4, aor.len - 4);
	}
	sh_put(w, aor);
}

static void put_temporary(struct sh_writer *w, const struct sh_hash_key *key, struct sh_random *random, struct sh_slice aor,
			  const struct sh_contact *c)
{
	uint8_t token[TOKEN_MAX], *at = token + NONCE;
	uint64_t mark = mark_of(key, c);
	char text[SH_BASE64_ROOM(TOKEN_MAX)];
	struct sh_uri uri;
	size_t len;

	if (MARK + aor.len > PLAIN_MAX || sh_uri_parse(&uri, aor) || !uri.host.len)
		return;
	sh_random_bytes(random, token, NONCE);
	memcpy(at, &mark, MARK);
	memcpy(at + MARK, aor.base, aor.len);
	crypt(key, token, at, MARK + aor.len);
	len = NONCE + MARK + aor.len;
	seal(key, token, len, token + len);
	len = sh_base64_encode(SH_BASE64_URL, token, len + SEAL, text);
	sh_put_lit(w, ";temp-gruu=\"");
	sh_put(w, is_sips(c) ? SH_LIT("sips:") : SH_LIT("sip:"));
	sh_put(w, sh_slice_make(text, len));
	sh_put_char(w, '@');
	sh_put(w, uri.host);
	if (uri.port) {
		sh_put_char(w, ':');
		sh_put_uint(w, uri.port);
	}
	sh_put_lit(w, ";gr\"");
}

void sh_gruu_put(struct sh_writer *w, const struct sh_hash_key *key, struct sh_random *random, struct sh_slice aor,
		 const struct sh_contact *c)
{
	struct sh_slice instance = bare(c->instance);

	if (!is_plain(instance))
		return;
	sh_put_lit(w, ";pub-gruu=\"");
	put_aor(w, aor, c);
	sh_put_lit(w, ";gr=");
	sh_put(w, instance);
	sh_put_char(w, '"');
	put_temporary(w, key, random, aor, c);
}

/* ------------------------------------------------------------------ reading */

static int open_temporary(struct sh_gruu *out, struct sh_slice *aor, struct sh_arena *a, const struct sh_hash_key *key,
			  struct sh_slice user)
{
	uint8_t token[SH_BASE64_OCTETS(SH_BASE64_ROOM(TOKEN_MAX))], sealed[SEAL];
	ssize_t octets = user.len <= SH_BASE64_ROOM(TOKEN_MAX) ? sh_base64_decode(SH_BASE64_URL, user, token) : -EINVAL;
	size_t len;

	if (octets < NONCE + MARK + SEAL || octets > TOKEN_MAX)
		return -EINVAL;
	len = (size_t)octets - SEAL;
	seal(key, token, len, sealed);
	if (memcmp(sealed, token + len, SEAL) != 0)
		return -EINVAL;
	crypt(key, token, token + NONCE, len - NONCE);
	memcpy(&out->mark, token + NONCE, MARK);
	return sh_arena_dup(a, sh_slice_make((const char *)token + NONCE + MARK, len - NONCE - MARK), aor);
}

int sh_gruu_open(struct sh_gruu *out, struct sh_slice *aor, struct sh_arena *a, const struct sh_hash_key *key,
		 const struct sh_uri *uri)
{
	struct sh_slice value;

	*out = (struct sh_gruu){.mark = 0};
	if ((uri->kind != SH_URI_SIP && uri->kind != SH_URI_SIPS) || !sh_param_find(uri->params, SH_LIT("gr"), &value))
		return -ENOENT;
	if (!value.len)
		return open_temporary(out, aor, a, key, uri->user);
	out->instance = value;
	return 1;
}

bool sh_gruu_match(const struct sh_gruu *g, const struct sh_hash_key *key, const struct sh_contact *c)
{
	if (!c->instance.len)
		return false;
	return g->instance.len ? sh_slice_ieq(bare(c->instance), g->instance) : mark_of(key, c) == g->mark;
}
