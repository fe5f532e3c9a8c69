#include "guard.h"

#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>

#include <lauxlib.h>
#include <lua.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <osipparser2/osip_parser.h>
#include <osipparser2/sdp_message.h>

struct symbol {
	const char *name;
	void (*address)(void);
};

#define SYMBOL(name)                                                                                                   \
	{                                                                                                              \
#name, (void (*)(void))name                                                                            \
	}

static const struct symbol own[] = {
    SYMBOL(lua_newstate), SYMBOL(lua_callk),      SYMBOL(luaL_loadbufferx),
    SYMBOL(lua_resume),   SYMBOL(osip_uri_parse), SYMBOL(sdp_message_parse),
};

/* All that the object takes from OpenSSL; `make abi` compares the list with the object. */
static const struct symbol crypto[] = {
    SYMBOL(EVP_DigestFinal_ex),  SYMBOL(EVP_DigestInit_ex2), SYMBOL(EVP_DigestUpdate), SYMBOL(EVP_MD_CTX_free),
    SYMBOL(EVP_MD_CTX_new),      SYMBOL(EVP_MD_fetch),       SYMBOL(EVP_MD_free),      SYMBOL(OPENSSL_cleanse),
    SYMBOL(OPENSSL_init_crypto), SYMBOL(OSSL_LIB_CTX_free),  SYMBOL(OSSL_LIB_CTX_new), SYMBOL(OpenSSL_version),
    SYMBOL(OpenSSL_version_num),
};

enum { COUNT_OWN = sizeof(own) / sizeof(own[0]), COUNT_CRYPTO = sizeof(crypto) / sizeof(crypto[0]) };

/* The loaded file that holds an address; NULL where that says nothing: an executable at a fixed address that takes a
 * function's address itself gives every object that of its own jump slot, which leads to the right place. */
static const void *home_of(const struct symbol *s, Dl_info *info)
{
	const ElfW(Sym) *entry = NULL;

	if (!dladdr1((const void *)(uintptr_t)s->address, info, (void **)&entry, RTLD_DL_SYMENT))
		return NULL;
	if (entry && entry->st_shndx == SHN_UNDEF)
		return NULL;
	return info->dli_fbase;
}

int sh_guard_check(char *error, size_t size)
{
	static const struct symbol self = SYMBOL(sh_guard_check);
	Dl_info first = {0}, info;
	const struct symbol *known = NULL;
	const void *home = home_of(&self, &first), *base;

	for (int i = 0; home && i < COUNT_OWN; i++) {
		base = home_of(&own[i], &info);
		if (base && base != home) {
			snprintf(error, size,
				 "%s comes from %s instead of %s: this build of siphook cannot live in this process",
				 own[i].name, info.dli_fname, first.dli_fname);
			return -ENOTSUP;
		}
	}
	home = NULL;
	for (int i = 0; i < COUNT_CRYPTO; i++) {
		base = home_of(&crypto[i], &info);
		if (!base)
			continue;
		if (!home) {
			home = base;
			first = info;
			known = &crypto[i];
		} else if (base != home) {
			snprintf(error, size, "%s comes from %s but %s from %s: two OpenSSLs cannot be mixed",
				 known->name, first.dli_fname, crypto[i].name, info.dli_fname);
			return -ENOTSUP;
		}
	}
	if (OpenSSL_version_num() < 0x30000000UL) {
		snprintf(error, size, "OpenSSL 3 or later is needed, this process has %s",
			 OpenSSL_version(OPENSSL_VERSION));
		return -ENOTSUP;
	}
	return 0;
}
