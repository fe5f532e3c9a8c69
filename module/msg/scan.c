/* The scanner: lines, start line, header fields, body. The typed fields are read in scan_typed.c. */
#include "msg/scan.h"

#include "msg/uri.h"

static uint64_t load8(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

#define ONES UINT64_C(0x0101010101010101)

/* The first control character, or end; HTAB, which is text, may be passed. Most text of a message is passed here,
 * sixteen octets at a time where the processor can. Elsewhere eight: an octet of (w - 0x20..) borrows into its top bit
 * only when it was below 0x20, and the lowest set bit is never a false one. */
static const char *find_control(const char *p, const char *end)
{
#ifdef SH_LEX_SIXTEEN
	const __m128i limit = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t');

	for (; end - p >= 16; p += 16) {
		__m128i text = sh_lex_sixteen(p, end);
		__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(text, limit), text);
		int below = _mm_movemask_epi8(_mm_andnot_si128(_mm_cmpeq_epi8(text, tab), control));

		if (below)
			return p + __builtin_ctz((unsigned)below);
	}
#endif
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	for (; end - p >= 8; p += 8) {
		uint64_t w = load8(p), below = (w - ONES * 0x20) & ~w & (ONES * 0x80);

		if (below)
			return p + (__builtin_ctzll(below) >> 3);
	}
#endif
	while (p < end && (unsigned char)*p >= 0x20)
		p++;
	return p;
}

/* The end of the line at s->at, without its line end; s->at moves behind the line end. NULL when the text ends before.
 * Control characters inside are an error of the message unless they are escaped. */
static const char *scan_line(struct sh_scan *s)
{
	const char *from = s->at, *p = from;

	for (;; p++) {
		p = find_control(p, s->end);
		if (p == s->end) {
			s->at = p;
			return NULL;
		}
		if (*p == '\r' && p + 1 < s->end && p[1] == '\n') {
			s->at = p + 2;
			return p;
		}
		if (*p == '\n') {
			s->at = p + 1;
			return p;
		}
		/* A bare CR could be a line end to somebody else, who would then see other header fields than we do. */
		if (*p != '\t' && (p == from || p[-1] != '\\' || *p == '\r'))
			sh_scan_fail(s, 400, "Control character in a header field");
	}
}

/* --- start line ------------------------------------------------------------------------------------------------- */

enum version { VERSION_2_0, VERSION_OTHER, VERSION_NONE };

/* "SIP" "/" 1*DIGIT "." 1*DIGIT; the token is case-insensitive (RFC 3261 7.1). */
static enum version version_of(struct sh_slice text)
{
	const char *end = text.base + text.len, *p, *dot;

	if (text.len < 7 || !sh_slice_istarts(text, SH_LIT("SIP/")))
		return VERSION_NONE;
	p = text.base + 4;
	if (text.len == 7 && memcmp(p, "2.0", 3) == 0)
		return VERSION_2_0;
	dot = sh_lex_run(p, end, SH_LEX_DIGIT);
	if (dot == p || end - dot < 2 || *dot != '.' || sh_lex_run(dot + 1, end, SH_LEX_DIGIT) != end)
		return VERSION_NONE;
	return VERSION_OTHER;
}

/* SIP/2.0 SP 3DIGIT [SP reason]. An error cannot be answered: it costs the response. */
static int status_line(struct sh_scan *s, const char *p, const char *end)
{
	const char *space = memchr(p, ' ', (size_t)(end - p)), *digits;
	struct sh_msg *m = s->m;
	uint32_t code;

	if (!space || version_of(sh_lex_span(p, space)) != VERSION_2_0) {
		sh_scan_fail(s, 400, "Bad version in a response");
		return -EBADMSG;
	}
	digits = space + 1;
	p = sh_lex_run(digits, end, SH_LEX_DIGIT);
	if (p - digits != 3 || (p < end && *p != ' ') || sh_lex_uint(sh_lex_span(digits, p), 699, &code) ||
	    code < 100) {
		sh_scan_fail(s, 400, "Bad status code");
		return -EBADMSG;
	}
	m->status = (uint16_t)code;
	/* Without a reason phrase the space is obligatory too, but some leave it out (RFC 4475 3.1.1.13). */
	m->reason = sh_scan_span(s, sh_lex_span(p < end ? p + 1 : p, end));
	return 0;
}

static void check_request_uri(struct sh_scan *s, struct sh_slice text)
{
	struct sh_uri uri;

	/* Schemes that we do not know pass: the answer to them is 416, and not ours to give. Header fields are not
	 * allowed here (RFC 3261 19.1.1, table 1; RFC 4475 3.1.2.11). */
	if (sh_uri_parse(&uri, text) || uri.headers.base)
		sh_scan_fail(s, 400, "Bad Request-URI");
}

/* Method SP Request-URI SP SIP-Version, single spaces (RFC 3261 7.1). */
static int request_line(struct sh_scan *s, const char *p, const char *end)
{
	const char *method_end = sh_lex_run(p, end, SH_LEX_TOKEN);
	const char *from = p, *uri = method_end + 1, *trimmed = end, *version;
	struct sh_msg *m = s->m;

	while (trimmed > method_end && trimmed[-1] == ' ')
		trimmed--;
	version = trimmed;
	while (version > method_end && version[-1] != ' ')
		version--;
	if (method_end == from || method_end == end || *method_end != ' ' || version - uri < 2) {
		sh_scan_fail(s, 400, "Not SIP");
		return -EBADMSG;
	}
	switch (version_of(sh_lex_span(version, trimmed))) {
	case VERSION_2_0:
		break;
	case VERSION_OTHER:
		sh_scan_fail(s, 505, "Version Not Supported");
		break;
	case VERSION_NONE:
		sh_scan_fail(s, 400, "Not SIP");
		return -EBADMSG;
	}
	if (trimmed != end)
		sh_scan_fail(s, 400, "Bad Request-Line");
	m->is_request = 1;
	m->method_name = sh_scan_span(s, sh_lex_span(from, method_end));
	m->method = (uint8_t)sh_method_lookup(sh_lex_span(from, method_end));
	m->uri = sh_scan_span(s, sh_lex_span(uri, version - 1));
	check_request_uri(s, sh_lex_span(uri, version - 1));
	return 0;
}

static int start_line(struct sh_scan *s)
{
	const char *from = s->at, *end = scan_line(s);

	if (!end) {
		sh_scan_fail(s, 400, "Not SIP");
		return -EBADMSG;
	}
	/* '/' is no token character: what starts so cannot be a request. */
	if (end - from >= 4 && sh_slice_istarts(sh_lex_span(from, end), SH_LIT("SIP/")))
		return status_line(s, from, end);
	return request_line(s, from, end);
}

/* --- header fields ---------------------------------------------------------------------------------------------- */

/* The lines behind the first one that begin with white space belong to the field (RFC 3261 7.3.1). */
static const char *field_end(struct sh_scan *s)
{
	const char *end = scan_line(s);

	while (end && s->at < s->end && (*s->at == ' ' || *s->at == '\t'))
		end = scan_line(s);
	return end;
}

/* The colon behind the name at s->at, which is looked up; NULL when it is no name. */
static const char *field_name(struct sh_scan *s, struct sh_header *h)
{
	const char *name = s->at, *end = name, *colon;

#ifdef SH_LEX_SIXTEEN
	/* Nearly always a name that is known in this spelling: then nobody need look whether it is a token. */
	unsigned colons = (unsigned)_mm_movemask_epi8(sh_lex_same(sh_lex_sixteen(name, s->end), ':'));

	if (colons) {
		end = name + __builtin_ctz(colons);
		h->id = (uint8_t)sh_header_common(sh_lex_span(name, end));
		if (h->id != SH_H_OTHER) {
			h->name = sh_scan_span(s, sh_lex_span(name, end));
			return end;
		}
	}
#endif
	end = colon = sh_lex_run(name, s->end, SH_LEX_TOKEN);
	while (colon < s->end && (*colon == ' ' || *colon == '\t'))
		colon++;
	if (end == name || colon == s->end || *colon != ':')
		return NULL;
	h->name = sh_scan_span(s, sh_lex_span(name, end));
	h->id = (uint8_t)sh_header_lookup(sh_lex_span(name, end));
	return colon;
}

/* One header field at s->at, which moves behind it. False when the text ends inside. */
static bool header_field(struct sh_scan *s, uint8_t *last)
{
	struct sh_msg *m = s->m;
	struct sh_header *h = &m->headers[m->nheaders];
	const char *colon = field_name(s, h), *end;
	struct sh_slice value;
	bool again;

	if (!colon) {
		sh_scan_fail(s, 400, "Bad header field");
		return field_end(s) != NULL;
	}
	s->at = colon + 1;
	end = field_end(s);
	if (!end)
		return false;
	value = sh_lex_trim(sh_lex_span(colon + 1, end));
	h->value = sh_scan_span(s, value);
	h->next = 0;
	m->nheaders++;
	if (h->id == SH_H_OTHER)
		return true;
	again = m->first[h->id] != 0;
	if (again)
		m->headers[last[h->id] - 1].next = m->nheaders;
	else
		m->first[h->id] = m->nheaders;
	last[h->id] = m->nheaders;
	sh_scan_typed(s, (enum sh_header_id)h->id, value, again);
	return true;
}

/* All of them and the empty line. A datagram may end with its last header line instead: two of the valid messages of
 * RFC 5118's archive do. False when there is no end: what was read so far stays. */
static bool header_section(struct sh_scan *s, bool stream)
{
	uint8_t last[SH_H_COUNT]; /* valid where m->first[] is set */
	bool cut = false;

	while (s->at < s->end) {
		if (*s->at == '\n') {
			s->at++;
			return true;
		}
		if (*s->at == '\r' && s->at + 1 < s->end && s->at[1] == '\n') {
			s->at += 2;
			return true;
		}
		if (s->m->nheaders == SH_MSG_MAX_HEADERS) {
			sh_scan_fail(s, 400, "Too many header fields");
			return false;
		}
		cut = !header_field(s, last);
		if (cut)
			break;
	}
	if (!cut && !stream)
		return true;
	sh_scan_fail(s, 400, "No end of the header section");
	return false;
}

/* --- the whole -------------------------------------------------------------------------------------------------- */

/* RFC 3261 18.3: a datagram may be longer than its message, never shorter. */
static void body(struct sh_scan *s, bool stream)
{
	struct sh_msg *m = s->m;
	size_t left = (size_t)(s->end - s->at), size = left;

	if (s->has_content_length) {
		if (s->content_length > left)
			sh_scan_fail(s, 400, "Content-Length larger than the message");
		else
			size = s->content_length;
	} else if (stream) {
		sh_scan_fail(s, 400, "Missing Content-Length");
	}
	m->body = sh_scan_span(s, sh_lex_span(s->at, s->at + size));
	m->size = (uint16_t)(m->body.off + m->body.len);
}

/* Empty values count as missing: nobody can make a response from them (RFC 3261 8.2.6.2). */
static const char *missing_field(const struct sh_msg *m)
{
	static const struct {
		enum sh_header_id id;
		const char *why;
	} mandatory[] = {
	    {SH_H_FROM, "Missing From"},
	    {SH_H_TO, "Missing To"},
	};

	if (m->via_host.len == 0)
		return m->first[SH_H_VIA] ? "Bad Via" : "Missing Via";
	for (size_t i = 0; i < sizeof(mandatory) / sizeof(mandatory[0]); i++)
		if (sh_msg_header(m, mandatory[i].id).len == 0)
			return mandatory[i].why;
	if (m->call_id.len == 0)
		return "Missing Call-ID";
	if (m->cseq_method.len == 0)
		return m->first[SH_H_CSEQ] ? "Bad CSeq" : "Missing CSeq";
	return NULL;
}

static void check_method(struct sh_scan *s)
{
	struct sh_msg *m = s->m;
	struct sh_slice cseq_method = sh_msg_text(m, m->cseq_method);

	if (!m->is_request)
		m->method = (uint8_t)sh_method_lookup(cseq_method);
	else if (!sh_slice_eq(sh_msg_text(m, m->method_name), cseq_method))
		sh_scan_fail(s, 400, "CSeq method does not match");
}

static int scan(struct sh_scan *s, bool stream)
{
	struct sh_msg *m = s->m;
	const char *missing;

	if (start_line(s))
		return -EBADMSG;
	if (header_section(s, stream))
		body(s, stream);
	else
		m->size = (uint16_t)(s->end - m->base);
	missing = missing_field(m);
	if (missing) {
		s->why = missing;
		return -EBADMSG;
	}
	check_method(s);
	/* Nothing answers a response or an ACK. */
	if (s->code && (!m->is_request || m->method == SH_ACK))
		return -EBADMSG;
	return s->code;
}

int sh_msg_scan(struct sh_msg *m, const char *data, size_t len, bool stream, const char **why)
{
	struct sh_scan s = {.m = m, .at = data, .end = data + len};
	int result;

	memset(m, 0,
	       offsetof(struct sh_msg, headers)); /* the array behind it is large, and filled as far as it is used */
	m->base = data;
	m->max_forwards = -1;
	m->expires = -1;
	if (len > SH_MSG_MAX_SIZE) {
		sh_scan_fail(&s, 400, "Message too long");
		result = -EBADMSG;
	} else {
		while (s.at < s.end && (*s.at == '\r' || *s.at == '\n')) /* RFC 3261 7.5 */
			s.at++;
		result = scan(&s, stream);
	}
	if (result && why)
		*why = s.why;
	return result;
}
