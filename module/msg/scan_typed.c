/* The scanner, second half: the header fields that every layer needs in typed form. */
#include "msg/scan.h"
#include "msg/uri.h"

void sh_scan_bad(struct sh_scan *s, enum sh_header_id id)
{
	static const char *const why[SH_H_COUNT] = {
#define X(id, name, compact) [SH_H_##id] = "Bad " name,
	    SH_HEADERS(X)
#undef X
	};

	sh_scan_fail(s, 400, why[id]);
}

static void duplicate(struct sh_scan *s, enum sh_header_id id)
{
	static const char *const why[SH_H_COUNT] = {
#define X(id, name, compact) [SH_H_##id] = "Several " name,
	    SH_HEADERS(X)
#undef X
	};

	sh_scan_fail(s, 400, why[id]);
}

/* From and To: one name-addr or addr-spec, then parameters of which the tag is ours. */
static void from_to(struct sh_scan *s, enum sh_header_id id, struct sh_slice value, struct sh_span *uri,
		    struct sh_span *tag)
{
	const char *p = value.base, *end = value.base + value.len;
	struct sh_slice display, address, name, text;

	if (sh_lex_address(&p, end, &display, &address)) {
		sh_scan_bad(s, id);
		return;
	}
	*uri = sh_scan_span(s, address);
	while (p < end && *p == ';') {
		p++;
		if (sh_lex_param(&p, end, &name, &text)) {
			sh_scan_bad(s, id);
			return;
		}
		if (!sh_slice_is(name, "tag"))
			continue;
		if (tag->len || text.len == 0)
			sh_scan_bad(s, id);
		else
			*tag = sh_scan_span(s, text);
	}
	if (p < end && *p == ',')
		duplicate(s, id);
	else if (p < end)
		sh_scan_bad(s, id);
}

/* "SIP" "/" version "/" transport, white space around the slashes. The version is the start line's business. */
static int via_protocol(struct sh_msg *m, const char **at, const char *end)
{
	const char *p = *at, *word;

	if (end - p >= 12 && memcmp(p, "SIP/2.0/UDP ", 12) == 0) { /* nearly always */
		m->via_proto = SH_PROTO_UDP;
		*at = p + 12;
		return 0;
	}
	for (int i = 0; i < 2; i++) {
		word = p;
		p = sh_lex_run(p, end, SH_LEX_TOKEN);
		if (p == word)
			return -EINVAL;
		p = sh_lex_lws(p, end);
		if (p == end || *p != '/')
			return -EINVAL;
		p = sh_lex_lws(p + 1, end);
	}
	word = p;
	p = sh_lex_run(p, end, SH_LEX_TOKEN);
	if (p == word || p == end || !sh_lex_is(*p, SH_LEX_LWS))
		return -EINVAL;
	m->via_proto = (uint8_t)sh_proto_lookup(sh_lex_span(word, p));
	*at = p;
	return 0;
}

static int sent_by(struct sh_scan *s, const char **at, const char *end)
{
	const char *p = sh_lex_lws(*at, end);
	struct sh_slice host;

	if (sh_lex_host(&p, end, &host))
		return -EINVAL;
	s->m->via_host = sh_scan_span(s, host);
	p = sh_lex_lws(p, end);
	if (p < end && *p == ':') {
		const char *digits = sh_lex_lws(p + 1, end);

		p = sh_lex_run(digits, end, SH_LEX_DIGIT);
		if (sh_lex_port(sh_lex_span(digits, p), &s->m->via_port))
			return -EINVAL;
		p = sh_lex_lws(p, end);
	}
	*at = p;
	return p == end || *p == ';' || *p == ',' ? 0 : -EINVAL;
}

static int via_rport(struct sh_scan *s, struct sh_slice name, struct sh_slice value)
{
	struct sh_msg *m = s->m;

	m->via_has_rport = 1;
	m->via_rport_span =
	    sh_scan_span(s, sh_lex_span(name.base, value.base ? value.base + value.len : name.base + name.len));
	return value.base ? sh_lex_port(value, &m->via_rport) : 0;
}

/* received = IPv4address / IPv6address, the latter with or without brackets (RFC 5118 4.5). */
static int via_received(struct sh_scan *s, struct sh_slice value)
{
	if (value.len == 0 || *value.base == '"')
		return -EINVAL;
	s->m->via_received = sh_scan_span(s, value);
	return 0;
}

static int via_param(struct sh_scan *s, struct sh_slice name, struct sh_slice value)
{
	struct sh_msg *m = s->m;

	switch (name.len) {
	case 5:
		if (!m->via_has_rport && sh_slice_is(name, "rport"))
			return via_rport(s, name, value);
		break;
	case 6:
		if (m->via_branch.len == 0 && sh_slice_is(name, "branch")) {
			if (value.len == 0)
				return -EINVAL;
			m->via_branch = sh_scan_span(s, value);
		}
		break;
	case 8:
		if (m->via_received.len == 0 && sh_slice_is(name, "received"))
			return via_received(s, value);
		break;
	default:
		break;
	}
	return 0;
}

/* The topmost Via, up to its comma; what stands behind belongs to others. */
static void top_via(struct sh_scan *s, enum sh_header_id id, struct sh_slice field)
{
	const char *p = field.base, *end = field.base + field.len;
	struct sh_slice name, value;
	int err = via_protocol(s->m, &p, end);

	if (!err)
		err = sent_by(s, &p, end);
	while (!err && p < end && *p == ';') {
		p++;
		err = sh_lex_param(&p, end, &name, &value);
		if (!err)
			err = via_param(s, name, value);
	}
	if (err)
		sh_scan_bad(s, id);
	else
		s->m->via = sh_scan_span(s, sh_lex_trim(sh_lex_span(field.base, p)));
}

/* callid = word ["@" word]; only what would tear the field apart is refused, and controls, escaped or not: a word is
 * no quoted string. */
static void call_id(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	const char *end = value.base + value.len;

	s->m->call_id = sh_scan_span(s, value);
	if (sh_lex_run(value.base, end, SH_LEX_URI) == end) /* nearly always, and sixteen at a time */
		return;
	for (size_t i = 0; i < value.len; i++) {
		if ((unsigned char)value.base[i] <= ' ' || value.base[i] == 0x7f) {
			sh_scan_bad(s, id);
			return;
		}
	}
}

/* 1*DIGIT LWS Method; below 2**31 (RFC 3261 8.1.1.5). */
static void cseq(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	const char *end = value.base + value.len;
	const char *digits_end = sh_lex_run(value.base, end, SH_LEX_DIGIT), *method = sh_lex_lws(digits_end, end);
	uint32_t number;

	if (digits_end == value.base || method == digits_end || method == end ||
	    sh_lex_run(method, end, SH_LEX_TOKEN) != end) {
		sh_scan_bad(s, id);
		return;
	}
	s->m->cseq_method = sh_scan_span(s, sh_lex_span(method, end));
	if (sh_lex_uint(sh_lex_span(value.base, digits_end), INT32_MAX, &number))
		sh_scan_bad(s, id);
	else
		s->m->cseq = number;
}

/* Above 255 it counts as absent (RFC 4475 3.1.2.4). */
static void max_forwards(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	uint32_t number;
	int err = sh_lex_uint(value, 255, &number);

	if (err == -EINVAL)
		sh_scan_bad(s, id);
	else if (!err)
		s->m->max_forwards = (int16_t)number;
}

/* delta-seconds; what is no number counts as absent (RFC 3261 20.19), what is too large as for ever. */
static void expires(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	uint32_t number;

	(void)id;
	if (sh_lex_uint(value, INT32_MAX, &number) != -EINVAL)
		s->m->expires = (int32_t)number;
}

static void content_length(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	/* Too large a number is more than any message has: found out when the body is cut. */
	if (sh_lex_uint(value, UINT32_MAX, &s->content_length) == -EINVAL)
		sh_scan_bad(s, id);
	else
		s->has_content_length = true;
}

/* Contact, Route, Record-Route: dialogs are made from them, so their structure is looked at now. The URIs in them are
 * looked at by whoever uses them. */
static void addresses(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	struct sh_name_addr address;

	while (value.len) {
		if (sh_name_addr_next(&value, &address) || (address.star && id != SH_H_CONTACT)) {
			sh_scan_bad(s, id);
			return;
		}
	}
}

static void from(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	from_to(s, id, value, &s->m->from_uri, &s->m->from_tag);
}

static void to(struct sh_scan *s, enum sh_header_id id, struct sh_slice value)
{
	from_to(s, id, value, &s->m->to_uri, &s->m->to_tag);
}

/* Which fields of a name are read: each, the first (the others are somebody else's), or the only one. */
enum which { EACH, FIRST, ONLY };

static const struct {
	void (*read)(struct sh_scan *s, enum sh_header_id id, struct sh_slice value);
	enum which which;
} fields[SH_H_COUNT] = {
    [SH_H_VIA] = {top_via, FIRST},
    [SH_H_EXPIRES] = {expires, FIRST},
    [SH_H_CONTACT] = {addresses, EACH},
    [SH_H_ROUTE] = {addresses, EACH},
    [SH_H_RECORD_ROUTE] = {addresses, EACH},
    [SH_H_FROM] = {from, ONLY},
    [SH_H_TO] = {to, ONLY},
    [SH_H_CALL_ID] = {call_id, ONLY},
    [SH_H_CSEQ] = {cseq, ONLY},
    [SH_H_MAX_FORWARDS] = {max_forwards, ONLY},
    [SH_H_CONTENT_LENGTH] = {content_length, ONLY},
    [SH_H_CONTENT_TYPE] = {NULL, ONLY},
};

void sh_scan_typed(struct sh_scan *s, enum sh_header_id id, struct sh_slice value, bool again)
{
	if (again && fields[id].which == ONLY)
		duplicate(s, id);
	else if (fields[id].read && !(again && fields[id].which == FIRST))
		fields[id].read(s, id, value);
}
