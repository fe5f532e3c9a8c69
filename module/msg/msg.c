/* Access to a scanned message. */
#include "msg/msg.h"

#include "core/alloc.h"
#include "msg/lex.h"
#include "msg/uri.h"

static const struct {
	struct sh_slice via, param;
} protos[SH_PROTO_COUNT] = {
#define P(upper, lower)                                                                                                \
	{                                                                                                              \
		{upper, sizeof(upper) - 1},                                                                            \
		{                                                                                                      \
			lower, sizeof(lower) - 1                                                                       \
		}                                                                                                      \
	}
    [SH_PROTO_UDP] = P("UDP", "udp"), [SH_PROTO_TCP] = P("TCP", "tcp"), [SH_PROTO_TLS] = P("TLS", "tls"),
    [SH_PROTO_WS] = P("WS", "ws"),    [SH_PROTO_WSS] = P("WSS", "wss"),
#undef P
};

struct sh_slice sh_proto_via(enum sh_proto p)
{
	return (unsigned)p < SH_PROTO_COUNT ? protos[p].via : SH_LIT("");
}

struct sh_slice sh_proto_param(enum sh_proto p)
{
	return (unsigned)p < SH_PROTO_COUNT ? protos[p].param : SH_LIT("");
}

enum sh_proto sh_proto_lookup(struct sh_slice name)
{
	for (unsigned i = 0; i < SH_PROTO_COUNT; i++)
		if (sh_slice_ieq(name, protos[i].via))
			return (enum sh_proto)i;
	return SH_PROTO_OTHER;
}

struct sh_slice sh_msg_header(const struct sh_msg *m, enum sh_header_id id)
{
	unsigned i = m->first[id];

	return i ? sh_msg_value(m, i) : (struct sh_slice){NULL, 0};
}

struct sh_slice sh_msg_find(const struct sh_msg *m, struct sh_slice name, unsigned n)
{
	enum sh_header_id id = sh_header_lookup(name);

	if (id != SH_H_OTHER) {
		unsigned i = m->first[id];

		for (; i && n; n--)
			i = m->headers[i - 1].next;
		return i ? sh_msg_value(m, i) : (struct sh_slice){NULL, 0};
	}
	for (unsigned i = 0; i < m->nheaders; i++)
		if (m->headers[i].id == SH_H_OTHER && sh_slice_ieq(sh_msg_text(m, m->headers[i].name), name) &&
		    n-- == 0)
			return sh_msg_value(m, i + 1);
	return (struct sh_slice){NULL, 0};
}

bool sh_msg_has_token(const struct sh_msg *m, enum sh_header_id id, struct sh_slice token)
{
	for (unsigned i = m->first[id]; i; i = m->headers[i - 1].next)
		if (sh_list_has(sh_msg_value(m, i), token))
			return true;
	return false;
}

bool sh_msg_has_one_via(const struct sh_msg *m)
{
	unsigned i = m->first[SH_H_VIA];

	return i && !m->headers[i - 1].next && m->headers[i - 1].value.len == m->via.len;
}

int sh_msg_unfold(struct sh_arena *a, struct sh_slice value, struct sh_slice *out)
{
	size_t n = 0;
	char *text;

	if (sh_slice_find(value, '\n') < 0) {
		*out = value;
		return 0;
	}
	text = sh_arena_alloc(a, value.len + 1);
	if (!text)
		return -ENOMEM;
	for (size_t i = 0; i < value.len;) {
		size_t behind = i;
		bool fold = false;

		for (; behind < value.len && sh_lex_is(value.base[behind], SH_LEX_LWS); behind++)
			fold = fold || value.base[behind] == '\n';
		if (behind == i)
			behind++;
		if (fold) {
			text[n++] = ' ';
		} else {
			memcpy(text + n, value.base + i, behind - i);
			n += behind - i;
		}
		i = behind;
	}
	text[n] = '\0';
	*out = sh_slice_make(text, n);
	return 0;
}

struct sh_msg *sh_msg_clone(const struct sh_msg *m)
{
	size_t index = offsetof(struct sh_msg, headers) + m->nheaders * sizeof(m->headers[0]);
	struct sh_msg *copy = sh_malloc(index + m->size);

	if (!copy)
		return NULL;
	memcpy(copy, m, index);
	if (m->size)
		memcpy((char *)copy + index, m->base, m->size);
	copy->base = (char *)copy + index;
	return copy;
}
