#include "core/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static void set_v4(struct sh_addr *a, const void *ip, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	a->family = 4;
	a->port = port;
	memcpy(a->ip, ip, 4);
}

/* A mapped address (RFC 4291 2.5.5.2) is the IPv4 one: a peer has one address however our socket sees it. */
static void set_v6(struct sh_addr *a, const void *ip, uint16_t port, uint32_t scope)
{
	if (memcmp(ip, mapped_prefix, sizeof(mapped_prefix)) == 0) {
		set_v4(a, (const char *)ip + sizeof(mapped_prefix), port);
		return;
	}
	memset(a, 0, sizeof(*a));
	a->family = 6;
	a->port = port;
	a->scope = scope;
	memcpy(a->ip, ip, 16);
}

static int parse_v6(struct sh_addr *out, struct sh_slice host, uint16_t port)
{
	struct sh_slice text, zone;
	unsigned char ip[16];
	char buf[INET6_ADDRSTRLEN];
	uint32_t scope = 0;

	if (sh_slice_cut(host, '%', &text, &zone) && sh_slice_u32(zone, &scope) < 0)
		return -EINVAL; /* a zone by its interface's name would need the operating system */
	if (text.len >= sizeof(buf) || sh_slice_find(text, '\0') >= 0)
		return -EINVAL;
	memcpy(buf, text.base, text.len);
	buf[text.len] = '\0';
	if (inet_pton(AF_INET6, buf, ip) != 1)
		return -EINVAL;
	set_v6(out, ip, port, scope);
	return 0;
}

/* IPv4address of RFC 3261 25.1: four numbers of one to three digits. A leading zero is refused since half of the
 * world reads it as octal. */
static int parse_v4(struct sh_addr *out, struct sh_slice host, uint16_t port)
{
	unsigned char ip[4];
	unsigned value = 0, digits = 0, parts = 0;

	for (size_t i = 0; i <= host.len; i++) {
		if (i < host.len && host.base[i] != '.') {
			unsigned digit = (unsigned char)host.base[i] - (unsigned)'0';

			if (digit > 9 || (digits && value == 0))
				return -EINVAL;
			value = value * 10 + digit;
			if (value > 255)
				return -EINVAL;
			digits++;
		} else {
			if (!digits || parts == 4)
				return -EINVAL;
			ip[parts++] = (unsigned char)value;
			value = digits = 0;
		}
	}
	if (parts < 4)
		return -EINVAL;
	set_v4(out, ip, port);
	return 0;
}

int sh_addr_parse(struct sh_addr *out, struct sh_slice host, uint16_t port)
{
	if (host.len >= 2 && host.base[0] == '[') {
		if (host.base[host.len - 1] != ']')
			return -EINVAL;
		return parse_v6(out, sh_slice_make(host.base + 1, host.len - 2), port);
	}
	if (parse_v4(out, host, port) == 0)
		return 0;
	return sh_slice_find(host, ':') >= 0 ? parse_v6(out, host, port) : -EINVAL;
}

static char *put_number(char *p, unsigned value)
{
	char digits[10];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	while (n > 0)
		*p++ = digits[--n];
	return p;
}

/* Returns the end; the zone is left out, it means nothing to anybody else. */
static char *put_ip(char *p, const struct sh_addr *a)
{
	if (a->family == 4) {
		for (int i = 0; i < 4; i++) {
			if (i > 0)
				*p++ = '.';
			p = put_number(p, a->ip[i]);
		}
	} else if (a->family == 6) {
		inet_ntop(AF_INET6, a->ip, p, INET6_ADDRSTRLEN);
		p += strlen(p);
	} else {
		*p++ = '-';
	}
	return p;
}

static char *put_host(char *p, const struct sh_addr *a)
{
	if (a->family != 6)
		return put_ip(p, a);
	*p++ = '[';
	p = put_ip(p, a);
	*p++ = ']';
	return p;
}

static size_t end_text(char *start, char *end)
{
	*end = '\0';
	return (size_t)(end - start);
}

size_t sh_addr_format(const struct sh_addr *a, char *out)
{
	char *p = put_host(out, a);

	if (a->family != 0) {
		*p++ = ':';
		p = put_number(p, a->port);
	}
	return end_text(out, p);
}

size_t sh_addr_format_host(const struct sh_addr *a, char *out)
{
	return end_text(out, put_host(out, a));
}

size_t sh_addr_format_bare(const struct sh_addr *a, char *out)
{
	return end_text(out, put_ip(out, a));
}

bool sh_addr_same_host(const struct sh_addr *a, const struct sh_addr *b)
{
	return a->family == b->family && a->scope == b->scope && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool sh_addr_eq(const struct sh_addr *a, const struct sh_addr *b)
{
	return a->port == b->port && sh_addr_same_host(a, b);
}

bool sh_addr_is_any(const struct sh_addr *a)
{
	static const unsigned char zero[16];

	return a->family != 0 && memcmp(a->ip, zero, sizeof(zero)) == 0;
}

bool sh_addr_is_loopback(const struct sh_addr *a)
{
	static const unsigned char one[16] = {[15] = 1};

	if (a->family == 4)
		return a->ip[0] == 127;
	return a->family == 6 && memcmp(a->ip, one, sizeof(one)) == 0;
}

void sh_addr_from_sockaddr(struct sh_addr *out, const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		struct sockaddr_in in;
		memcpy(&in, sa, sizeof(in));
		set_v4(out, &in.sin_addr, ntohs(in.sin_port));
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 in6;
		memcpy(&in6, sa, sizeof(in6));
		set_v6(out, &in6.sin6_addr, ntohs(in6.sin6_port), in6.sin6_scope_id);
	} else {
		memset(out, 0, sizeof(*out));
	}
}

socklen_t sh_addr_to_sockaddr(const struct sh_addr *a, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (a->family == 4) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
		memcpy(&in.sin_addr, a->ip, 4);
		memcpy(out, &in, sizeof(in));
		return sizeof(in);
	}
	if (a->family == 6) {
		struct sockaddr_in6 in6 = {
			.sin6_family = AF_INET6, .sin6_port = htons(a->port), .sin6_scope_id = a->scope};
		memcpy(&in6.sin6_addr, a->ip, 16);
		memcpy(out, &in6, sizeof(in6));
		return sizeof(in6);
	}
	return 0;
}

int sh_prefix_parse(struct sh_prefix *out, struct sh_slice text)
{
	struct sh_slice host, bits;
	struct sh_prefix p;
	unsigned max;
	bool has_bits = sh_slice_cut(text, '/', &host, &bits);

	if (sh_addr_parse(&p.addr, host, 0) < 0)
		return -EINVAL;
	max = p.addr.family == 4 ? 32 : 128;
	p.bits = max;
	if (has_bits && (sh_slice_u32(bits, &p.bits) < 0 || p.bits > max))
		return -EINVAL;
	*out = p;
	return 0;
}

bool sh_prefix_match(const struct sh_prefix *p, const struct sh_addr *a)
{
	unsigned whole = p->bits / 8, rest = p->bits % 8;

	if (p->addr.family != a->family || memcmp(p->addr.ip, a->ip, whole) != 0)
		return false;
	return rest == 0 || ((p->addr.ip[whole] ^ a->ip[whole]) & (0xff << (8 - rest)) & 0xff) == 0;
}

static bool is_within(const struct sh_addr *a, uint8_t family, const uint8_t *prefix, unsigned bits)
{
	struct sh_prefix p = {.addr.family = family, .bits = bits};

	memcpy(p.addr.ip, prefix, bits / 8 + (bits % 8 != 0));
	return sh_prefix_match(&p, a);
}

bool sh_addr_is_private(const struct sh_addr *a)
{
	static const struct {
		uint8_t family, bits, prefix[2];
	} nets[] = {
	    {4, 8, {10}},       {4, 12, {172, 16}}, {4, 16, {192, 168}},  {4, 10, {100, 64}},
	    {4, 16, {169, 254}}, {6, 7, {0xfc}},    {6, 10, {0xfe, 0x80}},
	};

	for (unsigned i = 0; i < sizeof(nets) / sizeof(nets[0]); i++) {
		if (is_within(a, nets[i].family, nets[i].prefix, nets[i].bits))
			return true;
	}
	return sh_addr_is_loopback(a);
}
