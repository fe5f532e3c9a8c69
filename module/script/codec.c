#include "script/codec.h"

#include <errno.h>
#include <lauxlib.h>

#include "core/encode.h"
#include "msg/digest.h"
#include "script/sandbox.h"

enum { BYTES_PER_STEP = 4, BLOCK_MAX = 128 };

/* --- hash and hmac ----------------------------------------------------------------------------------------------- */

static const struct algorithm {
	struct sh_slice name;
	enum sh_hash_alg alg;
	size_t block; /* of HMAC */
} algorithms[] = {
    {{"md5", 3}, SH_HASH_MD5, 64},
    {{"sha1", 4}, SH_HASH_SHA1, 64},
    {{"sha-1", 5}, SH_HASH_SHA1, 64},
    {{"sha256", 6}, SH_HASH_SHA256, 64},
    {{"sha-256", 7}, SH_HASH_SHA256, 64},
    {{"sha384", 6}, SH_HASH_SHA384, 128},
    {{"sha-384", 7}, SH_HASH_SHA384, 128},
    {{"sha512", 6}, SH_HASH_SHA512, 128},
    {{"sha-512", 7}, SH_HASH_SHA512, 128},
    {{"sha512-256", 10}, SH_HASH_SHA512_256, 128},
    {{"sha-512-256", 11}, SH_HASH_SHA512_256, 128},
};

static const struct algorithm *check_algorithm(lua_State *L, int idx)
{
	struct sh_slice name = sh_sandbox_check_text(L, idx);

	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
		if (sh_slice_ieq(name, algorithms[i].name))
			return &algorithms[i];
	luaL_argerror(L, idx, "unknown algorithm (md5, sha1, sha256, sha384, sha512 or sha512-256)");
	return NULL;
}

static bool check_raw(lua_State *L, int idx)
{
	static const char *const forms[] = {"hex", "raw", NULL};

	return luaL_checkoption(L, idx, "hex", forms) == 1;
}

static struct sh_slice digest(lua_State *L, const struct algorithm *a, const struct sh_slice *parts, size_t n,
			      unsigned char out[SH_HASH_MAX])
{
	for (size_t i = 0; i < n; i++)
		sh_vm_charge(L, parts[i].len / BYTES_PER_STEP);
	if (sh_hash_octets(a->alg, parts, n, out))
		luaL_error(L, "the algorithm %s is not available", a->name.base);
	return sh_slice_make((const char *)out, sh_hash_size(a->alg));
}

static int push_digest(lua_State *L, struct sh_slice octets, bool raw)
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * SH_HASH_MAX];

	if (raw) {
		lua_pushlstring(L, octets.base, octets.len);
		return 1;
	}
	for (size_t i = 0; i < octets.len; i++) {
		hex[2 * i] = digits[(unsigned char)octets.base[i] >> 4];
		hex[2 * i + 1] = digits[octets.base[i] & 15];
	}
	lua_pushlstring(L, hex, 2 * octets.len);
	return 1;
}

static int hash(lua_State *L)
{
	const struct algorithm *a = check_algorithm(L, 1);
	struct sh_slice text = sh_sandbox_check_text(L, 2);
	bool raw = check_raw(L, 3);
	unsigned char octets[SH_HASH_MAX];

	return push_digest(L, digest(L, a, &text, 1, octets), raw);
}

/* RFC 2104 over any of the hashes. */
static int hmac(lua_State *L)
{
	const struct algorithm *a = check_algorithm(L, 1);
	struct sh_slice key = sh_sandbox_check_text(L, 2), text = sh_sandbox_check_text(L, 3), parts[2];
	bool raw = check_raw(L, 4);
	unsigned char block[BLOCK_MAX] = {0}, pad[BLOCK_MAX], octets[SH_HASH_MAX];

	if (key.len > a->block)
		key = digest(L, a, &key, 1, octets);
	memcpy(block, key.base, key.len);
	for (size_t i = 0; i < a->block; i++)
		pad[i] = block[i] ^ 0x36;
	parts[0] = sh_slice_make((const char *)pad, a->block);
	parts[1] = text;
	parts[1] = digest(L, a, parts, 2, octets);
	for (size_t i = 0; i < a->block; i++)
		pad[i] = block[i] ^ 0x5c;
	return push_digest(L, digest(L, a, parts, 2, octets), raw);
}

/* --- base64 (RFC 4648) ------------------------------------------------------------------------------------------- */

static int base64_encode(lua_State *L)
{
	struct sh_slice s = sh_sandbox_check_text(L, 1);
	luaL_Buffer b;

	sh_vm_charge(L, s.len / BYTES_PER_STEP);
	if (s.len > PTRDIFF_MAX / 2)
		return luaL_error(L, "not enough memory");
	luaL_pushresultsize(&b, sh_base64_encode(SH_BASE64, s.base, s.len, luaL_buffinitsize(L, &b, SH_BASE64_ROOM(s.len))));
	return 1;
}

/* Either alphabet; padding may be left out. */
static int base64_decode(lua_State *L)
{
	struct sh_slice s = sh_sandbox_check_text(L, 1);
	luaL_Buffer b;
	ssize_t n;

	sh_vm_charge(L, s.len / BYTES_PER_STEP);
	n = sh_base64_decode(SH_BASE64_ANY, s, luaL_buffinitsize(L, &b, SH_BASE64_OCTETS(s.len)));
	if (n < 0) {
		luaL_pushfail(L);
		lua_pushliteral(L, "invalid");
		return 2;
	}
	luaL_pushresultsize(&b, (size_t)n);
	return 1;
}

/* --- uuid (RFC 9562 version 4) ----------------------------------------------------------------------------------- */

static int uuid(lua_State *L)
{
	static const char hex[] = "0123456789abcdef";
	const struct sh_vm *vm = sh_vm_of(L);
	uint64_t w[2] = {vm->world.random(vm->world.ctx), vm->world.random(vm->world.ctx)};
	char text[36];
	size_t n = 0;

	w[0] = (w[0] & ~UINT64_C(0xf000)) | UINT64_C(0x4000);
	w[1] = (w[1] & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 63;
	for (unsigned i = 0; i < 32; i++) {
		if (i == 8 || i == 12 || i == 16 || i == 20)
			text[n++] = '-';
		text[n++] = hex[w[i / 16] >> (60 - 4 * (i % 16)) & 15];
	}
	lua_pushlstring(L, text, n);
	return 1;
}

void sh_codec_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"hash", hash}, {"hmac", hmac}, {"uuid", uuid}, {NULL, NULL}};
	static const luaL_Reg base64[] = {{"encode", base64_encode}, {"decode", base64_decode}, {NULL, NULL}};

	luaL_setfuncs(L, functions, 0);
	luaL_newlib(L, base64);
	lua_setfield(L, -2, "base64");
}
