/* What a DNS answer says (RFC 1035 4.1, 2308 5, 2782, 3403), with the time that it may be kept, which c-ares tells for
 * addresses only. The octets are whoever's on the network. */
#include <ares.h>
#include <errno.h>

#include "core/alloc.h"
#include "drivers/net/net_impl.h"

enum {
	RECORDS_MAX = 32,
	SOA = 6,
	DEFAULT_NEGATIVE = 30, /* seconds, without an SOA */
	TEXTS_MAX = 4096,
};

/* Behind ok == false every read gives 0. */
struct reader {
	const unsigned char *begin, *at, *end;
	bool ok;
};

static bool room(struct reader *r, size_t n)
{
	if (!r->ok || (size_t)(r->end - r->at) < n)
		r->ok = false;
	return r->ok;
}

static uint16_t u16(struct reader *r)
{
	uint16_t n;

	if (!room(r, 2))
		return 0;
	n = (uint16_t)(r->at[0] << 8 | r->at[1]);
	r->at += 2;
	return n;
}

static uint32_t u32(struct reader *r)
{
	uint32_t high = u16(r);

	return high << 16 | u16(r);
}

/* Texts of the records, in one block. */
struct texts {
	char *base;
	size_t len;
};

static struct sh_slice keep(struct texts *t, const char *s, size_t len)
{
	struct sh_slice out = {t->base + t->len, len};

	if (len > TEXTS_MAX - t->len)
		return (struct sh_slice){0};
	memcpy(t->base + t->len, s, len);
	t->len += len;
	return out;
}

/* A domain name, perhaps compressed; t NULL: passed over. */
static struct sh_slice name(struct reader *r, struct texts *t)
{
	struct sh_slice out = {0};
	char *text = NULL;
	long used = 0;

	if (!room(r, 1))
		return out;
	if (ares_expand_name(r->at, r->begin, (int)(r->end - r->begin), &text, &used) != ARES_SUCCESS || used <= 0 ||
	    !room(r, (size_t)used)) {
		ares_free_string(text);
		r->ok = false;
		return out;
	}
	r->at += used;
	if (t)
		out = keep(t, text, strlen(text));
	ares_free_string(text);
	return out;
}

/* character-string: a length and as many octets. */
static struct sh_slice string(struct reader *r, struct texts *t)
{
	struct sh_slice out;
	size_t len;

	if (!room(r, 1) || !room(r, 1 + (size_t)r->at[0]))
		return (struct sh_slice){0};
	len = r->at[0];
	out = keep(t, (const char *)r->at + 1, len);
	r->at += 1 + len;
	return out;
}

static bool read_data(struct sh_dns_record *out, struct reader *r, enum sh_dns_type type, struct texts *t)
{
	switch (type) {
	case SH_DNS_A:
	case SH_DNS_AAAA: {
		size_t size = type == SH_DNS_A ? 4 : 16;

		if (!room(r, size))
			return false;
		out->addr.family = type == SH_DNS_A ? 4 : 6;
		memcpy(out->addr.ip, r->at, size);
		return true;
	}
	case SH_DNS_SRV:
		out->order = u16(r);
		out->weight = u16(r);
		out->port = u16(r);
		out->target = name(r, t);
		return r->ok;
	case SH_DNS_NAPTR:
		out->order = u16(r);
		out->weight = u16(r);
		out->flags = string(r, t);
		out->service = string(r, t);
		string(r, t); /* regexp: of no use to RFC 3263 4.1 */
		out->target = name(r, t);
		return r->ok;
	}
	return false;
}

/* One record. True: it is of the type, and in *out. *negative: from an SOA, the time for which "no" holds. */
static bool read_record(struct sh_dns_record *out, struct reader *r, enum sh_dns_type type, struct texts *t,
			uint32_t *negative)
{
	struct reader data = *r;
	uint16_t kind, class, len;
	uint32_t ttl;
	bool good = false;

	name(r, NULL);
	kind = u16(r);
	class = u16(r);
	ttl = u32(r);
	len = u16(r);
	if (ttl > INT32_MAX)
		ttl = 0; /* RFC 2181 8 */
	if (!room(r, len))
		return false;
	data.at = r->at;
	data.end = r->at + len;
	/* A name in the data may point back to all that stands before it, but to nothing behind. */
	if (class == 1 && kind == (uint16_t)type) {
		*out = (struct sh_dns_record){.ttl = ttl};
		good = read_data(out, &data, type, t);
	} else if (class == 1 && kind == SOA && len >= 22) {
		uint32_t minimum;

		data.at = data.end - 4;
		minimum = u32(&data);
		*negative = ttl < minimum ? ttl : minimum;
	}
	r->at += len;
	return good;
}

void net_dns_parse(struct sh_dns_answer *out, void **block, enum sh_dns_type type, const unsigned char *text, size_t len)
{
	struct reader r = {text, text, text + len, text != NULL};
	struct sh_dns_record *records = sh_calloc(1, RECORDS_MAX * sizeof(*records) + TEXTS_MAX);
	struct texts t;
	uint32_t negative = DEFAULT_NEGATIVE;
	unsigned questions, total;

	out->error = -EAGAIN;
	if (!records)
		return;
	t = (struct texts){(char *)(records + RECORDS_MAX), 0};
	*block = records;
	out->records = records;
	out->count = 0;
	u32(&r); /* id and flags: c-ares has looked at them */
	questions = u16(&r);
	total = u16(&r);
	total += u16(&r); /* the SOA is an authority */
	u16(&r);
	while (r.ok && questions-- > 0) {
		name(&r, NULL);
		u32(&r);
	}
	while (r.ok && total-- > 0 && out->count < RECORDS_MAX) {
		if (read_record(&records[out->count], &r, type, &t, &negative))
			out->count++;
	}
	out->error = out->count > 0 ? 0 : -ENOENT;
	out->ttl = negative;
}
