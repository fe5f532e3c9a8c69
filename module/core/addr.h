/* An IP address with port: a plain value without padding surprises (compare with sh_addr_eq, hash all its bytes).
 * Any thread. */
#ifndef SH_CORE_ADDR_H
#define SH_CORE_ADDR_H

#include <sys/socket.h>

#include "core/slice.h"

struct sh_addr {
	uint8_t family; /* 0 = none, 4 or 6 */
	uint8_t zero;
	uint16_t port;  /* host byte order; 0 = none */
	uint32_t scope; /* IPv6 zone index */
	uint8_t ip[16]; /* network byte order; IPv4 uses the first four, the rest are 0 */
};

enum { SH_ADDR_TEXT = 64 }; /* room for any formatted address with brackets, port and NUL */

/* host: "192.0.2.1", "2001:db8::1", "[2001:db8::1]", with a numeric zone "fe80::1%2". An IPv4-mapped address becomes IPv4.
 * 0, or -EINVAL when it is not a numeric address (a name). */
int sh_addr_parse(struct sh_addr *out, struct sh_slice host, uint16_t port);

/* "192.0.2.1:5060", "[2001:db8::1]:5060"; without the port also IPv6 has brackets (the form SIP wants). Family 0 is "-".
 * Returns the length; out has room for SH_ADDR_TEXT and gets a NUL. */
size_t sh_addr_format(const struct sh_addr *a, char *out);
size_t sh_addr_format_host(const struct sh_addr *a, char *out);

/* The same without brackets: for "received" (RFC 3261 20.42 allows both; phones expect it bare). */
size_t sh_addr_format_bare(const struct sh_addr *a, char *out);

bool sh_addr_eq(const struct sh_addr *a, const struct sh_addr *b);      /* with port */
bool sh_addr_same_host(const struct sh_addr *a, const struct sh_addr *b);
bool sh_addr_is_any(const struct sh_addr *a); /* 0.0.0.0 or ::; not family 0 */
bool sh_addr_is_loopback(const struct sh_addr *a);
/* Means something in its own network only: RFC 1918, 6598 (carriers), 3927 and 4291 (link-local), 4193, loopback. */
bool sh_addr_is_private(const struct sh_addr *a);

/* An IPv4-mapped IPv6 address becomes IPv4. Unknown families give family 0. */
void sh_addr_from_sockaddr(struct sh_addr *out, const struct sockaddr *sa);
/* The length, 0 for family 0. */
socklen_t sh_addr_to_sockaddr(const struct sh_addr *a, struct sockaddr_storage *out);

/* A network: the first bits of an address. */
struct sh_prefix {
	struct sh_addr addr;
	unsigned bits;
};
int sh_prefix_parse(struct sh_prefix *out, struct sh_slice text); /* "10.0.0.0/8", "2001:db8::1"; 0 or -EINVAL */
bool sh_prefix_match(const struct sh_prefix *p, const struct sh_addr *a);

#endif
