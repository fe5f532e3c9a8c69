#include "script/codec.h"

#include <errno.h>
#include <lauxlib.h>

#include "msg/digest.h"
#include "script/vm.h"

enum { BYTES_PER_STEP = 8, DIGEST_MAX = 32, BLOCK_MAX = 128 };

static struct sh_slice check_slice(lua_State *L, int idx)
{
	size_t len;
	const char *s = luaL_checklstring(L, idx, &len);

	return sh_slice_make(s, len);
}

/* --- hash and hmac ----------------------------------------------------------------------------------------------- */

static const struct algorithm {
	struct sh_slice name;
	enum sh_digest_alg alg;
	size_t block; /* of HMAC */
} algorithms[] = {
    {{"md5", 3}, SH_DIGEST_MD5, 64},
    {{"sha256", 6}, SH_DIGEST_SHA256, 64},
    {{"sha-256", 7}, SH_DIGEST_SHA256, 64},
    {{"sha512-256", 10}, SH_DIGEST_SHA512_256, 128},
    {{"sha-512-256", 11}, SH_DIGEST_SHA512_256, 128},
};

static const struct algorithm *check_algorithm(lua_State *L, int idx)
{
	struct sh_slice name = check_slice(L, idx);

	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++)
		if (sh_slice_ieq(name, algorithms[i].name))
			return &algorithms[i];
	luaL_argerror(L, idx, "unknown algorithm (md5, sha256 or sha512-256)");
	return NULL;
}

static bool check_raw(lua_State *L, int idx)
{
	static const char *const forms[] = {"hex", "raw", NULL};

	return luaL_checkoption(L, idx, "hex", forms) == 1;
}

static unsigned nibble(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static size_t to_bytes(const struct sh_digest_hex *hex, unsigned char out[DIGEST_MAX])
{
	for (size_t i = 0; i < hex->len / 2; i++)
		out[i] = (unsigned char)(nibble(hex->text[2 * i]) << 4 | nibble(hex->text[2 * i + 1]));
	return hex->len / 2;
}

static void digest(lua_State *L, const struct algorithm *a, const struct sh_slice *parts, size_t n,
		   struct sh_digest_hex *out)
{
	for (size_t i = 0; i < n; i++)
		sh_vm_charge(L, parts[i].len / BYTES_PER_STEP);
	if (sh_digest_hash(a->alg, parts, n, out))
		luaL_error(L, "the algorithm %s is not available", a->name.base);
}

static int push_digest(lua_State *L, const struct sh_digest_hex *hex, bool raw)
{
	unsigned char bytes[DIGEST_MAX];

	if (raw)
		lua_pushlstring(L, (const char *)bytes, to_bytes(hex, bytes));
	else
		lua_pushlstring(L, hex->text, hex->len);
	return 1;
}

static int hash(lua_State *L)
{
	const struct algorithm *a = check_algorithm(L, 1);
	struct sh_slice text = check_slice(L, 2);
	bool raw = check_raw(L, 3);
	struct sh_digest_hex hex;

	digest(L, a, &text, 1, &hex);
	return push_digest(L, &hex, raw);
}

/* RFC 2104 over any of the hashes. */
static int hmac(lua_State *L)
{
	const struct algorithm *a = check_algorithm(L, 1);
	struct sh_slice key = check_slice(L, 2), text = check_slice(L, 3), parts[2];
	bool raw = check_raw(L, 4);
	unsigned char block[BLOCK_MAX] = {0}, pad[BLOCK_MAX], inner[DIGEST_MAX];
	struct sh_digest_hex hex;

	if (key.len > a->block) {
		digest(L, a, &key, 1, &hex);
		to_bytes(&hex, block);
	} else {
		memcpy(block, key.base, key.len);
	}
	for (size_t i = 0; i < a->block; i++)
		pad[i] = block[i] ^ 0x36;
	parts[0] = sh_slice_make((const char *)pad, a->block);
	parts[1] = text;
	digest(L, a, parts, 2, &hex);
	for (size_t i = 0; i < a->block; i++)
		pad[i] = block[i] ^ 0x5c;
	parts[1] = sh_slice_make((const char *)inner, to_bytes(&hex, inner));
	digest(L, a, parts, 2, &hex);
	return push_digest(L, &hex, raw);
}

/* --- base64 (RFC 4648) ------------------------------------------------------------------------------------------- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int base64_encode(lua_State *L)
{
	struct sh_slice s = check_slice(L, 1);
	const unsigned char *p = (const unsigned char *)s.base;
	luaL_Buffer b;
	size_t n = 0;
	char *out;

	sh_vm_charge(L, s.len / BYTES_PER_STEP);
	if (s.len > PTRDIFF_MAX / 2)
		return luaL_error(L, "not enough memory");
	out = luaL_buffinitsize(L, &b, (s.len + 2) / 3 * 4);
	for (size_t i = 0; i < s.len; i += 3) {
		size_t left = s.len - i;
		uint32_t w =
		    (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		out[n++] = alphabet[w >> 18];
		out[n++] = alphabet[w >> 12 & 63];
		out[n++] = left > 1 ? alphabet[w >> 6 & 63] : '=';
		out[n++] = left > 2 ? alphabet[w & 63] : '=';
	}
	luaL_pushresultsize(&b, n);
	return 1;
}

/* 0..63, or -1. The URL-safe alphabet is understood too. */
static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

/* Padding may be left out; anything else that is not base64 gives nil, "invalid". */
static int base64_decode(lua_State *L)
{
	struct sh_slice s = check_slice(L, 1);
	uint32_t word = 0;
	unsigned bits = 0;
	luaL_Buffer b;
	size_t n = 0;
	char *out;

	sh_vm_charge(L, s.len / BYTES_PER_STEP);
	for (int i = 0; i < 2 && s.len > 0 && s.len % 4 == (i ? 3 : 0) && s.base[s.len - 1] == '='; i++)
		s.len--;
	if (s.len % 4 == 1)
		goto invalid;
	for (size_t i = 0; i < s.len; i++)
		if (base64_digit(s.base[i]) < 0)
			goto invalid;
	out = luaL_buffinitsize(L, &b, s.len / 4 * 3 + 3);
	for (size_t i = 0; i < s.len; i++) {
		word = word << 6 | (uint32_t)base64_digit(s.base[i]);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			out[n++] = (char)(unsigned char)(word >> bits);
		}
	}
	luaL_pushresultsize(&b, n);
	return 1;
invalid:
	luaL_pushfail(L);
	lua_pushliteral(L, "invalid");
	return 2;
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
