/* STUN on the SIP port: an answer only to a request that is whole, never larger than it may be, and with the request's id. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "transport/impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sh_addr remote = {.family = size & 1 ? 4 : 6, .port = 5060};
	uint8_t out[SH_STUN_ANSWER];
	char *text = malloc(size ? size : 1); /* of its size, for the sanitizer */
	size_t n;

	assert(text);
	if (size)
		memcpy(text, data, size);
	if (sh_stun_is(text, size)) {
		n = sh_stun_answer(out, text, size, &remote);
		assert(n == 0 || n == (remote.family == 4 ? 32U : 44U));
		assert(n == 0 || (memcmp(out + 4, data + 4, 16) == 0 && out[0] == 1 && out[1] == 1 && out[3] == n - 20));
	}
	free(text);
	return 0;
}
