/* What is no siphook.so of this version, or no longer: with -DSIZE=0 it knows no major version of the host, else its table of functions
 * ends after SIZE bytes. */
#include "siphook.h"

__attribute__((visibility("default"))) const struct siphook_api *siphook_entry(uint32_t host_abi);

const struct siphook_api *siphook_entry(uint32_t host_abi)
{
	static const struct siphook_api api = {.abi = SIPHOOK_ABI, .size = SIZE, .version = "0.0.1"};

	(void)host_abi;
	return SIZE ? &api : NULL;
}
