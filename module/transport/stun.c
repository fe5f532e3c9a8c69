/* STUN binding requests on the SIP port (RFC 5626 8, RFC 8489): how a phone keeps its way through a NAT open over UDP, and
 * learns that it has changed. An answer is not much larger than its question (44 octets at most), and nothing is kept. */
#include "transport/impl.h"

enum {
	HEADER = 20,
	BINDING_REQUEST = 0x0001,
	BINDING_SUCCESS = 0x0101,
	XOR_MAPPED_ADDRESS = 0x0020,
};
static const uint8_t cookie[4] = {0x21, 0x12, 0xa4, 0x42};

static uint8_t *put16(uint8_t *at, unsigned n)
{
	at[0] = (uint8_t)(n >> 8);
	at[1] = (uint8_t)n;
	return at + 2;
}

bool sh_stun_is(const char *data, size_t len)
{
	return len >= HEADER && (data[0] & 0xc0) == 0 && memcmp(data + 4, cookie, sizeof(cookie)) == 0;
}

size_t sh_stun_answer(uint8_t out[SH_STUN_ANSWER], const char *data, size_t len, const struct sh_addr *remote)
{
	const uint8_t *in = (const uint8_t *)data;
	size_t ip = remote->family == 4 ? 4 : 16;
	uint8_t *at = out;

	if ((in[0] << 8 | in[1]) != BINDING_REQUEST || (size_t)(in[2] << 8 | in[3]) != len - HEADER)
		return 0;
	at = put16(at, BINDING_SUCCESS);
	at = put16(at, (unsigned)(8 + ip));
	memcpy(at, in + 4, HEADER - 4); /* the cookie and the transaction's id: what the address is mixed with */
	at = put16(out + HEADER, XOR_MAPPED_ADDRESS);
	at = put16(at, (unsigned)(4 + ip));
	*at++ = 0;
	*at++ = remote->family == 4 ? 1 : 2;
	at = put16(at, remote->port ^ 0x2112);
	for (size_t i = 0; i < ip; i++)
		*at++ = remote->ip[i] ^ in[4 + i];
	return (size_t)(at - out);
}
