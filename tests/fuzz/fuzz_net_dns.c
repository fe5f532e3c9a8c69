/* Answers of name servers: whoever sends one, its records lie in the block that came back, and no number is out of its range. The
 * first octet says what was asked for. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct sh_slice s)
{
	static volatile unsigned sum;

	for (size_t i = 0; i < s.len; i++)
		sum = sum + (unsigned char)s.base[i];
	(void)sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum sh_dns_type types[] = {SH_DNS_A, SH_DNS_AAAA, SH_DNS_SRV, SH_DNS_NAPTR};
	struct sh_dns_answer a = {0};
	void *block = NULL;
	unsigned char *text;

	if (size < 1)
		return 0;
	text = malloc(size); /* of its size, for the sanitizer */
	assert(text);
	memcpy(text, data + 1, size - 1);
	net_dns_parse(&a, &block, types[data[0] % 4], text, size - 1);
	assert(a.error == 0 || a.error == -ENOENT || a.error == -EAGAIN);
	assert((a.error == 0) == (a.count > 0) && a.count <= 32);
	for (size_t i = 0; i < a.count; i++) {
		assert(a.records[i].ttl <= INT32_MAX);
		read_all(a.records[i].target);
		read_all(a.records[i].service);
		read_all(a.records[i].flags);
	}
	sh_free(block);
	free(text);
	return 0;
}
