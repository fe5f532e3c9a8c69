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
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
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

/* All that the object takes from OpenSSL's two libraries; `make abi` compares the lists with the object. */
static const struct symbol crypto[] = {
    SYMBOL(ASN1_STRING_get0_data), SYMBOL(ASN1_STRING_length), SYMBOL(BIO_clear_flags), SYMBOL(BIO_free),
    SYMBOL(BIO_get_data), SYMBOL(BIO_meth_free), SYMBOL(BIO_meth_new), SYMBOL(BIO_meth_set_ctrl),
    SYMBOL(BIO_meth_set_read_ex), SYMBOL(BIO_meth_set_write_ex), SYMBOL(BIO_new), SYMBOL(BIO_new_mem_buf),
    SYMBOL(BIO_set_data), SYMBOL(BIO_set_flags), SYMBOL(BIO_set_init), SYMBOL(ERR_clear_error), SYMBOL(ERR_peek_error),
    SYMBOL(ERR_get_error), SYMBOL(ERR_reason_error_string), SYMBOL(EVP_DigestFinal_ex),
    SYMBOL(EVP_DigestInit_ex2), SYMBOL(EVP_DigestUpdate), SYMBOL(EVP_MD_CTX_free), SYMBOL(EVP_MD_CTX_new),
    SYMBOL(EVP_MD_fetch), SYMBOL(EVP_MD_free), SYMBOL(EVP_PKEY_free), SYMBOL(GENERAL_NAMES_free),
    SYMBOL(OPENSSL_cleanse), SYMBOL(OPENSSL_init_crypto), SYMBOL(OPENSSL_sk_num), SYMBOL(OPENSSL_sk_value),
    SYMBOL(OSSL_LIB_CTX_free), SYMBOL(OSSL_LIB_CTX_new), SYMBOL(OpenSSL_version), SYMBOL(OpenSSL_version_num),
    SYMBOL(PEM_read_bio_PrivateKey_ex), SYMBOL(PEM_read_bio_X509_AUX), SYMBOL(RAND_bytes_ex),
    SYMBOL(X509_NAME_ENTRY_get_data), SYMBOL(X509_NAME_get_entry), SYMBOL(X509_NAME_get_index_by_NID),
    SYMBOL(X509_STORE_CTX_get_current_cert), SYMBOL(X509_STORE_CTX_get_error_depth),
    SYMBOL(X509_STORE_CTX_get_ex_data), SYMBOL(X509_STORE_CTX_set_error), SYMBOL(X509_STORE_add_cert),
    SYMBOL(X509_STORE_free), SYMBOL(X509_STORE_up_ref),
    SYMBOL(X509_VERIFY_PARAM_set_time), SYMBOL(X509_check_private_key), SYMBOL(X509_cmp_time),
    SYMBOL(X509_free), SYMBOL(X509_get0_notAfter), SYMBOL(X509_get0_notBefore), SYMBOL(X509_get_default_cert_dir),
    SYMBOL(X509_get_default_cert_dir_env), SYMBOL(X509_get_default_cert_file), SYMBOL(X509_get_default_cert_file_env),
    SYMBOL(X509_get_ext_d2i),
    SYMBOL(X509_get_subject_name), SYMBOL(X509_new_ex), SYMBOL(X509_verify_cert_error_string),
};

static const struct symbol ssl[] = {
    SYMBOL(SSL_CTX_add_client_CA), SYMBOL(SSL_CTX_callback_ctrl), SYMBOL(SSL_CTX_ctrl), SYMBOL(SSL_CTX_free),
    SYMBOL(SSL_CTX_get0_certificate), SYMBOL(SSL_CTX_get_cert_store), SYMBOL(SSL_CTX_new_ex),
    SYMBOL(SSL_CTX_sess_set_new_cb), SYMBOL(SSL_CTX_set_ciphersuites),
    SYMBOL(SSL_CTX_set1_cert_store), SYMBOL(SSL_CTX_set_default_verify_paths), SYMBOL(SSL_CTX_set_num_tickets), SYMBOL(SSL_CTX_set_options),
    SYMBOL(SSL_CTX_set_session_id_context), SYMBOL(SSL_CTX_set_verify), SYMBOL(SSL_CTX_use_PrivateKey),
    SYMBOL(SSL_CTX_use_certificate), SYMBOL(SSL_SESSION_free), SYMBOL(SSL_ctrl), SYMBOL(SSL_do_handshake),
    SYMBOL(SSL_free), SYMBOL(SSL_get0_param), SYMBOL(SSL_get0_peer_certificate), SYMBOL(SSL_get_error),
    SYMBOL(SSL_get_ex_data), SYMBOL(SSL_get_ex_data_X509_STORE_CTX_idx), SYMBOL(SSL_get_servername),
    SYMBOL(SSL_get_verify_result), SYMBOL(SSL_is_init_finished), SYMBOL(SSL_new), SYMBOL(SSL_pending), SYMBOL(SSL_read_ex),
    SYMBOL(SSL_session_reused), SYMBOL(SSL_set_SSL_CTX), SYMBOL(SSL_set_accept_state), SYMBOL(SSL_set_bio),
    SYMBOL(SSL_set_connect_state), SYMBOL(SSL_set_ex_data), SYMBOL(SSL_set_session), SYMBOL(SSL_set_shutdown),
    SYMBOL(SSL_set_verify), SYMBOL(SSL_shutdown), SYMBOL(SSL_write_ex), SYMBOL(TLS_client_method),
    SYMBOL(TLS_server_method),
};

enum {
	COUNT_OWN = sizeof(own) / sizeof(own[0]),
	COUNT_CRYPTO = sizeof(crypto) / sizeof(crypto[0]),
	COUNT_SSL = sizeof(ssl) / sizeof(ssl[0]),
};

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

/* All of them from one file. */
static int check_library(const struct symbol *symbols, int count, char *error, size_t size)
{
	const struct symbol *known = NULL;
	const void *home = NULL, *base;
	Dl_info first = {0}, info;

	for (int i = 0; i < count; i++) {
		base = home_of(&symbols[i], &info);
		if (!base)
			continue;
		if (!home) {
			home = base;
			first = info;
			known = &symbols[i];
		} else if (base != home) {
			snprintf(error, size, "%s comes from %s but %s from %s: two OpenSSLs cannot be mixed",
				 known->name, first.dli_fname, symbols[i].name, info.dli_fname);
			return -ENOTSUP;
		}
	}
	return 0;
}

int sh_guard_check(char *error, size_t size)
{
	static const struct symbol self = SYMBOL(sh_guard_check);
	Dl_info first = {0}, info;
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
	if (check_library(crypto, COUNT_CRYPTO, error, size) < 0 || check_library(ssl, COUNT_SSL, error, size) < 0)
		return -ENOTSUP;
	if (OpenSSL_version_num() < 0x30000000UL) {
		snprintf(error, size, "OpenSSL 3 or later is needed, this process has %s",
			 OpenSSL_version(OPENSSL_VERSION));
		return -ENOTSUP;
	}
	return 0;
}
