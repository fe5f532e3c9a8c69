#include "msg/writer.h"

#include "msg/lex.h"

void sh_put_uint(struct sh_writer *w, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	if (n < 10) { /* most lengths */
		sh_put_char(w, (char)('0' + n));
		return;
	}
	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	sh_put(w, sh_slice_make(digits + at, sizeof(digits) - at));
}

void sh_put_addr(struct sh_writer *w, const struct sh_addr *a)
{
	char text[SH_ADDR_TEXT];

	sh_put(w, sh_slice_make(text, sh_addr_format(a, text)));
}

static bool has_line_end(const char *p, const char *end)
{
#ifdef SH_LEX_SIXTEEN
	for (; p < end; p += 16) {
		__m128i text = sh_lex_sixteen(p, end);

		if (_mm_movemask_epi8(_mm_or_si128(sh_lex_same(text, '\n'), sh_lex_same(text, '\r'))))
			return true;
		if (end - p <= 16)
			break;
	}
	return false;
#else
	return p < end && (memchr(p, '\n', (size_t)(end - p)) || memchr(p, '\r', (size_t)(end - p)));
#endif
}

/* The value on one line: a fold becomes one space. So nothing that is written as a value, wherever it came from, can
 * begin a header field of its own; and peers that never learned to unfold can read it. */
static void put_value(struct sh_writer *w, struct sh_slice value)
{
	const char *p = value.base, *end = value.len ? value.base + value.len : value.base;

	if (!has_line_end(p, end)) { /* nearly always */
		sh_put(w, value);
		return;
	}
	while (p < end) {
		const char *from = p;

		while (p < end && *p != '\r' && *p != '\n')
			p++;
		sh_put(w, sh_lex_span(from, p));
		if (p == end)
			break;
		p = sh_lex_lws(p, end);
		sh_put_char(w, ' ');
	}
}

void sh_put_header_named(struct sh_writer *w, struct sh_slice name, struct sh_slice value)
{
	sh_put(w, name);
	sh_put_lit(w, ": ");
	put_value(w, value);
	sh_put_lit(w, "\r\n");
}

void sh_put_header(struct sh_writer *w, enum sh_header_id id, struct sh_slice value)
{
	sh_put_header_named(w, sh_header_name(id), value);
}

void sh_put_header_uint(struct sh_writer *w, enum sh_header_id id, uint64_t n)
{
	sh_put(w, sh_header_name(id));
	sh_put_lit(w, ": ");
	sh_put_uint(w, n);
	sh_put_lit(w, "\r\n");
}

void sh_put_copy(struct sh_writer *w, const struct sh_msg *m, enum sh_header_id id)
{
	for (unsigned i = m->first[id]; i; i = m->headers[i - 1].next)
		sh_put_header(w, id, sh_msg_value(m, i));
}

void sh_put_status_line(struct sh_writer *w, unsigned code, struct sh_slice reason)
{
	if (reason.len == 0)
		reason = sh_status_reason(code);
	sh_put_lit(w, "SIP/2.0 ");
	sh_put_uint(w, code);
	sh_put_char(w, ' ');
	for (size_t i = 0; i < reason.len; i++) {
		unsigned char c = (unsigned char)reason.base[i];

		sh_put_char(w, c < 0x20 || c == 0x7f ? ' ' : (char)c);
	}
	sh_put_lit(w, "\r\n");
}

void sh_put_request_line(struct sh_writer *w, struct sh_slice method, struct sh_slice uri)
{
	sh_put(w, method);
	sh_put_char(w, ' ');
	sh_put(w, uri);
	sh_put_lit(w, " SIP/2.0\r\n");
}

/* A replacement inside the topmost Via value. */
struct edit {
	struct sh_span span; /* what it replaces; len 0: nothing to be done */
	char text[SH_ADDR_TEXT + 16];
	size_t len;
};

static void edit_set(struct edit *e, struct sh_span span, struct sh_slice label, struct sh_slice text)
{
	e->span = span;
	memcpy(e->text, label.base, label.len);
	memcpy(e->text + label.len, text.base, text.len);
	e->len = label.len + text.len;
}

/* True when "received" must be there: always with rport (RFC 3581 4), else when sent-by is not the source address
 * (RFC 3261 18.2.1). */
static bool needs_received(const struct sh_msg *request, const struct sh_addr *source)
{
	struct sh_addr host;

	return request->via_has_rport || sh_addr_parse(&host, sh_msg_text(request, request->via_host), 0) ||
	       !sh_addr_same_host(&host, source);
}

/* The value of the first Via field with received and rport of its first element filled in. What the client (or
 * somebody before it) claimed about itself there is replaced. */
static void put_top_via(struct sh_writer *w, const struct sh_msg *m, const struct sh_addr *source)
{
	struct sh_slice field = sh_msg_value(m, m->first[SH_H_VIA]);
	const char *at = field.base, *top_end = m->base + m->via.off + m->via.len;
	struct edit edits[2] = {{.len = 0}, {.len = 0}}, swap;
	char text[SH_ADDR_TEXT];
	size_t n;

	sh_put_lit(w, "Via: ");
	if (m->via_has_rport) {
		struct sh_writer port;

		sh_writer_init(&port, text, sizeof(text));
		sh_put_uint(&port, source->port);
		edit_set(&edits[0], m->via_rport_span, SH_LIT("rport="), sh_writer_text(&port));
	}
	n = sh_addr_format_bare(source, text);
	if (m->via_received.len)
		edit_set(&edits[1], m->via_received, SH_LIT(""), sh_slice_make(text, n));
	if (edits[1].span.off < edits[0].span.off) {
		swap = edits[0];
		edits[0] = edits[1];
		edits[1] = swap;
	}
	for (size_t i = 0; i < 2; i++) {
		const struct edit *e = &edits[i];

		if (e->span.len == 0)
			continue;
		put_value(w, sh_lex_span(at, m->base + e->span.off));
		sh_put(w, sh_slice_make(e->text, e->len));
		at = m->base + e->span.off + e->span.len;
	}
	put_value(w, sh_lex_span(at, top_end));
	if (m->via_received.len == 0 && needs_received(m, source)) {
		sh_put_lit(w, ";received=");
		sh_put(w, sh_slice_make(text, n));
	}
	put_value(w, sh_lex_span(top_end, field.base + field.len));
	sh_put_lit(w, "\r\n");
}

static void put_vias(struct sh_writer *w, const struct sh_msg *m, const struct sh_addr *source)
{
	unsigned i = m->first[SH_H_VIA];

	if (i && source->family && m->via.len) {
		put_top_via(w, m, source);
		i = m->headers[i - 1].next;
	}
	for (; i; i = m->headers[i - 1].next)
		sh_put_header(w, SH_H_VIA, sh_msg_value(m, i));
}

void sh_put_response_head(struct sh_writer *w, const struct sh_msg *request, const struct sh_addr *source,
			  unsigned code, struct sh_slice reason, struct sh_slice to_tag)
{
	sh_put_status_line(w, code, reason);
	put_vias(w, request, source);
	sh_put_header(w, SH_H_FROM, sh_msg_header(request, SH_H_FROM));
	sh_put_lit(w, "To: ");
	put_value(w, sh_msg_header(request, SH_H_TO));
	if (request->to_tag.len == 0 && to_tag.len) {
		sh_put_lit(w, ";tag=");
		sh_put(w, to_tag);
	}
	sh_put_lit(w, "\r\n");
	sh_put_header(w, SH_H_CALL_ID, sh_msg_header(request, SH_H_CALL_ID));
	sh_put_header(w, SH_H_CSEQ, sh_msg_header(request, SH_H_CSEQ));
	if (code == 100)
		sh_put_copy(w, request, SH_H_TIMESTAMP);
}

void sh_put_body(struct sh_writer *w, struct sh_slice content_type, struct sh_slice body)
{
	if (body.len && content_type.len && !w->typed)
		sh_put_header(w, SH_H_CONTENT_TYPE, content_type);
	sh_put_header_uint(w, SH_H_CONTENT_LENGTH, body.len);
	sh_put_lit(w, "\r\n");
	sh_put(w, body);
}
