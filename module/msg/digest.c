/* The arithmetic of Digest on OpenSSL 3. A private library context, so that nothing the host does to OpenSSL's default
 * one (providers, FIPS, clean-up at exit) reaches us and nothing of ours reaches the host.
 *
 * A digest context costs two allocations and a provider call to make, as much as hashing a few hundred bytes. They are
 * therefore kept in a small lock-free store; a worker takes one, uses it, puts it back. The road not taken: one context
 * per thread, since a thread-local would outlive us in the threads of a host. */
#include "msg/digest.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "msg/lex.h"
#include "msg/osip.h"

enum { KEPT_CONTEXTS = 16, JOINED = 512 };

static const struct {
	const char *fetch;
	size_t size;
} hashes[SH_HASH_COUNT] = {
    [SH_HASH_MD5] = {"MD5", 16},	 [SH_HASH_SHA256] = {"SHA2-256", 32}, [SH_HASH_SHA512_256] = {"SHA2-512/256", 32},
    [SH_HASH_SHA1] = {"SHA1", 20}, [SH_HASH_SHA384] = {"SHA2-384", 48}, [SH_HASH_SHA512] = {"SHA2-512", 64},
};

static const struct sh_slice digest_names[SH_DIGEST_UNKNOWN] = {
    [SH_DIGEST_MD5] = {"MD5", 3}, [SH_DIGEST_SHA256] = {"SHA-256", 7}, [SH_DIGEST_SHA512_256] = {"SHA-512-256", 11}};

/* Written by sh_digest_init() under the lock, read-only from then on; but for the contexts. */
static struct {
	OSSL_LIB_CTX *lib;
	EVP_MD *md[SH_HASH_COUNT];
	_Atomic(EVP_MD_CTX *) contexts[SH_HASH_COUNT][KEPT_CONTEXTS];
} crypto;

struct sh_slice sh_digest_alg_name(enum sh_digest_alg alg)
{
	return (unsigned)alg < SH_DIGEST_UNKNOWN ? digest_names[alg] : SH_LIT("");
}

enum sh_digest_alg sh_digest_alg_lookup(struct sh_slice name)
{
	for (unsigned i = 0; i < SH_DIGEST_UNKNOWN; i++)
		if (sh_slice_ieq(name, digest_names[i]))
			return (enum sh_digest_alg)i;
	return SH_DIGEST_UNKNOWN;
}

static int set_up(void)
{
	/* Clean-up at exit is the host's to choose: threads of ours may still run then. */
	if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL))
		return -EIO;
	crypto.lib = OSSL_LIB_CTX_new();
	if (!crypto.lib)
		return -ENOMEM;
	for (unsigned i = 0; i < SH_HASH_COUNT; i++) {
		crypto.md[i] = EVP_MD_fetch(crypto.lib, hashes[i].fetch, NULL);
		if (!crypto.md[i])
			return -ENOSYS;
	}
	return 0;
}

/* Hosts create instances, and the command runs test files, in several threads at once. */
int sh_digest_init(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	int err = sh_osip_init();

	if (err)
		return err;
	pthread_mutex_lock(&lock);
	if (!crypto.lib) {
		err = set_up();
		if (err)
			sh_digest_finish();
	}
	pthread_mutex_unlock(&lock);
	return err;
}

void sh_digest_finish(void)
{
	for (unsigned i = 0; i < SH_HASH_COUNT; i++) {
		for (unsigned k = 0; k < KEPT_CONTEXTS; k++)
			EVP_MD_CTX_free(atomic_exchange(&crypto.contexts[i][k], NULL));
		EVP_MD_free(crypto.md[i]);
		crypto.md[i] = NULL;
	}
	OSSL_LIB_CTX_free(crypto.lib);
	crypto.lib = NULL;
}

OSSL_LIB_CTX *sh_digest_library(void)
{
	return crypto.lib;
}

static EVP_MD_CTX *context_take(enum sh_hash_alg alg)
{
	for (unsigned k = 0; k < KEPT_CONTEXTS; k++) {
		EVP_MD_CTX *ctx = atomic_load_explicit(&crypto.contexts[alg][k], memory_order_relaxed);

		if (ctx && atomic_compare_exchange_strong_explicit(&crypto.contexts[alg][k], &ctx, NULL,
								   memory_order_acquire, memory_order_relaxed))
			return ctx;
	}
	return EVP_MD_CTX_new();
}

static void context_give(enum sh_hash_alg alg, EVP_MD_CTX *ctx)
{
	for (unsigned k = 0; k < KEPT_CONTEXTS; k++) {
		EVP_MD_CTX *none = NULL;

		if (atomic_compare_exchange_strong_explicit(&crypto.contexts[alg][k], &none, ctx, memory_order_release,
							    memory_order_relaxed))
			return;
	}
	EVP_MD_CTX_free(ctx);
}

size_t sh_hash_size(enum sh_hash_alg alg)
{
	return hashes[alg].size;
}

/* Most are short and many: one call for all of them costs a fraction of one for each. */
static bool update(EVP_MD_CTX *ctx, const struct sh_slice *parts, size_t n)
{
	char joined[JOINED];
	size_t len = 0, used = 0;
	bool ok = true;

	for (size_t i = 0; ok && i < n; i++) {
		if (parts[i].len > sizeof(joined) - len) {
			ok = EVP_DigestUpdate(ctx, joined, len) == 1;
			len = 0;
		}
		if (parts[i].len > sizeof(joined)) {
			ok = ok && EVP_DigestUpdate(ctx, parts[i].base, parts[i].len) == 1;
		} else if (parts[i].len > 0) {
			memcpy(joined + len, parts[i].base, parts[i].len);
			len += parts[i].len;
			used = len > used ? len : used;
		}
	}
	ok = ok && EVP_DigestUpdate(ctx, joined, len) == 1;
	explicit_bzero(joined, used); /* a password may be in it */
	return ok;
}

int sh_hash_octets(enum sh_hash_alg alg, const struct sh_slice *parts, size_t n, unsigned char *out)
{
	EVP_MD_CTX *ctx;
	bool ok;

	if ((unsigned)alg >= SH_HASH_COUNT || !crypto.md[alg])
		return -EINVAL;
	ctx = context_take(alg);
	if (!ctx)
		return -ENOMEM;
	/* A context that had this digest before keeps its state block: nothing is allocated. */
	ok = EVP_DigestInit_ex2(ctx, crypto.md[alg], NULL) == 1;
	ok = ok && update(ctx, parts, n) && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	if (ok)
		context_give(alg, ctx);
	else
		EVP_MD_CTX_free(ctx);
	return ok ? 0 : -ENOMEM;
}

/* Four octets as eight lower-case digits, all at once. */
static void put_hex(char *to, const unsigned char *four)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t w, letters;
	uint32_t raw;

	memcpy(&raw, four, sizeof(raw));
	w = le32toh(raw);
	w = (w | w << 16) & UINT64_C(0x0000ffff0000ffff);
	w = (w | w << 8) & UINT64_C(0x00ff00ff00ff00ff);
	w = (w >> 4 | w << 8) & (ones * 0x0f); /* an octet each: the high half of the octet, then the low one */
	letters = (w + ones * 6) >> 4 & ones;  /* ten and more */
	w = htole64(w + ones * '0' + letters * ('a' - '0' - 10));
	memcpy(to, &w, sizeof(w));
}

int sh_digest_hash(enum sh_digest_alg alg, const struct sh_slice *parts, size_t n, struct sh_digest_hex *out)
{
	unsigned char raw[SH_DIGEST_HEX / 2];
	int err = (unsigned)alg < SH_DIGEST_UNKNOWN ? sh_hash_octets((enum sh_hash_alg)alg, parts, n, raw) : -EINVAL;

	if (err)
		return err;
	for (size_t i = 0; i < hashes[alg].size; i += 4)
		put_hex(out->text + 2 * i, raw + i);
	out->len = 2 * hashes[alg].size;
	out->text[out->len] = '\0';
	return 0;
}

int sh_digest_ha1(enum sh_digest_alg alg, struct sh_slice user, struct sh_slice realm, struct sh_slice password,
		  struct sh_digest_hex *out)
{
	const struct sh_slice parts[] = {user, SH_LIT(":"), realm, SH_LIT(":"), password};

	return sh_digest_hash(alg, parts, 5, out);
}

static struct sh_slice hex_text(const struct sh_digest_hex *h)
{
	return sh_slice_make(h->text, h->len);
}

int sh_digest_response(const struct sh_credentials *c, struct sh_slice ha1, struct sh_slice method,
		       struct sh_slice body, struct sh_digest_hex *out)
{
	const struct sh_slice colon = SH_LIT(":");
	bool with_body = sh_slice_ieq(c->qop, SH_LIT("auth-int"));
	struct sh_digest_hex a1, a2, hash;
	int err = 0;

	if (c->qop.len && !with_body && !sh_slice_ieq(c->qop, SH_LIT("auth")))
		return -EINVAL;
	if (c->session) {
		const struct sh_slice parts[] = {ha1, colon, c->nonce, colon, c->cnonce};

		err = sh_digest_hash(c->alg, parts, 5, &a1);
		if (err)
			return err;
		ha1 = hex_text(&a1);
	}
	if (with_body)
		err = sh_digest_hash(c->alg, &body, 1, &hash);
	if (!err) {
		const struct sh_slice parts[] = {method, colon, c->uri, colon, with_body ? hex_text(&hash) : colon};

		err = sh_digest_hash(c->alg, parts, with_body ? 5 : 3, &a2);
	}
	if (err)
		return err;
	if (c->qop.len) {
		const struct sh_slice parts[] = {ha1,       colon, c->nonce, colon, c->nc_text,   colon,
						 c->cnonce, colon, c->qop,   colon, hex_text(&a2)};

		return sh_digest_hash(c->alg, parts, 11, out);
	}
	const struct sh_slice parts[] = {ha1, colon, c->nonce, colon, hex_text(&a2)};

	return sh_digest_hash(c->alg, parts, 5, out);
}

bool sh_digest_equal(struct sh_slice a, struct sh_slice b)
{
	uint64_t differ = 0;

	if (a.len != b.len)
		return false;
	/* No branch on the octets: how long it takes tells nothing about where they differ. */
	for (size_t i = 0; i < a.len; i += 8) {
		size_t n = a.len - i < 8 ? a.len - i : 8;
		uint64_t x = 0, y = 0;

		memcpy(&x, a.base + i, n);
		memcpy(&y, b.base + i, n);
		differ |= sh_lower8(x) ^ sh_lower8(y);
	}
	return differ == 0;
}
