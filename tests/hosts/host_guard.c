/* A host that brings a function of OpenSSL of its own, as one with BoringSSL would: create() refuses and names it and both files, and the host goes
 * on. Linked with -rdynamic. */
#include "host.h"

__attribute__((visibility("default"))) void EVP_MD_CTX_free(void *ctx);

void EVP_MD_CTX_free(void *ctx)
{
	(void)ctx;
}

int main(int argc, char **argv)
{
	struct siphook_host host = {.abi = SIPHOOK_ABI, .size = sizeof(host), .log = print_line};
	struct siphook_option options[] = {{"script", argv[2]}, {"listen", "udp://127.0.0.1:0"}};
	const struct siphook_api *sip = load_object(argv[1]);
	struct siphook *s = NULL;

	MUST(argc == 3);
	for (int i = 0; i < 2; i++) {
		MUST(sip->create(&s, &host, options, 2) == -ENOTSUP && !s);
		MUST(strstr(sip->last_error(NULL), "EVP_MD_CTX_free comes from") || strstr(sip->last_error(NULL), "EVP_MD_CTX_free from"));
		MUST(strstr(sip->last_error(NULL), "libcrypto.so") && strstr(sip->last_error(NULL), "host_guard"));
		MUST(strstr(sip->last_error(NULL), "two OpenSSLs cannot be mixed"));
	}
	MUST(sip->check(options, 2) == -ENOTSUP && strstr(sip->last_error(NULL), "two OpenSSLs"));
	sip->destroy(NULL);
	return 0;
}
