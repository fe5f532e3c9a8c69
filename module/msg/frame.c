/* Where a message of a stream ends (RFC 3261 18.3): the header section by its empty line, the body by Content-Length.
 * The scanner and this file must agree about both: tests/fuzz/fuzz_msg_frame.c holds them to it. */
#include "msg/lex.h"
#include "msg/msg.h"

/* The line that ends with the LF at `lf` (or just before the CR LF). */
static const char *line_end(const char *from, const char *lf)
{
	return lf > from && lf[-1] == '\r' ? lf - 1 : lf;
}

/* "SIP/..." or "... SIP/...": enough to tell SIP from HTTP and from noise; the rest is the scanner's business. */
static bool looks_like_sip(const char *p, const char *end)
{
	const char *word = end;

	if (sh_slice_istarts(sh_lex_span(p, end), SH_LIT("SIP/")))
		return true;
	while (word > p && word[-1] == ' ')
		word--;
	end = word;
	while (word > p && word[-1] != ' ')
		word--;
	return word > p && sh_slice_istarts(sh_lex_span(word, end), SH_LIT("SIP/"));
}

/* Behind the empty line that ends the header section, or NULL; *scanned moves forward. */
static const char *section_end(const char *data, size_t len, size_t *scanned)
{
	const char *p = data + *scanned, *end = data + len;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p));

		if (!lf) {
			p = end;
			break;
		}
		if (end - lf > 1 && lf[1] == '\n')
			return lf + 2;
		if (end - lf > 2 && lf[1] == '\r' && lf[2] == '\n')
			return lf + 3;
		if (end - lf == 1 || (end - lf == 2 && lf[1] == '\r')) {
			p = lf; /* the next octets decide */
			break;
		}
		p = lf + 1;
	}
	*scanned = (size_t)(p - data);
	return NULL;
}

static bool is_content_length(const char *p, const char *end, const char **value)
{
	const char *name_end = sh_lex_run(p, end, SH_LEX_TOKEN), *colon = name_end;

	while (colon < end && (*colon == ' ' || *colon == '\t'))
		colon++;
	if (colon == end || *colon != ':' || sh_header_lookup(sh_lex_span(p, name_end)) != SH_H_CONTENT_LENGTH)
		return false;
	*value = colon + 1;
	return true;
}

/* The value of Content-Length among the lines [p, end). Two that say the same frame the message (the scanner will
 * refuse it); two that differ lose it. 0, -EBADMSG, or -EMSGSIZE. */
static int content_length(const char *p, const char *end, uint32_t *out)
{
	bool found = false;

	while (p < end) {
		const char *lf = memchr(p, '\n', (size_t)(end - p)), *value = NULL;
		bool wanted = (*p == 'C' || *p == 'c' || *p == 'L' || *p == 'l') && is_content_length(p, lf, &value);
		uint32_t n = 0;
		int err;

		while (lf + 1 < end && (lf[1] == ' ' || lf[1] == '\t'))
			lf = memchr(lf + 1, '\n', (size_t)(end - lf - 1));
		p = lf + 1;
		if (!wanted)
			continue;
		err = sh_lex_uint(sh_lex_trim(sh_lex_span(value, lf)), SH_MSG_MAX_SIZE, &n);
		if (err == -EINVAL || (found && n != *out))
			return -EBADMSG;
		if (err)
			return -EMSGSIZE;
		found = true;
		*out = n;
	}
	return found ? 0 : -EBADMSG;
}

/* The length of the message, 0 while that cannot be told, or what is wrong. */
static ssize_t look(struct sh_framer *f, const char *data, size_t len)
{
	const char *lf, *head_end;
	uint32_t body = 0;
	int err;

	if (!sh_lex_is(*data, SH_LEX_TOKEN)) /* a TLS hello, HTTP/2, noise: no need to wait for a line */
		return -EBADMSG;
	if (!f->start_line_ok) {
		lf = memchr(data + f->scanned, '\n', len - f->scanned);
		if (!lf) {
			f->scanned = len;
			return len > SH_MSG_MAX_SIZE ? -EMSGSIZE : 0;
		}
		if (!looks_like_sip(data, line_end(data, lf)))
			return -EBADMSG;
		f->start_line_ok = true;
		f->scanned = (size_t)(lf - data);
	}
	head_end = section_end(data, len < SH_MSG_MAX_SIZE ? len : SH_MSG_MAX_SIZE, &f->scanned);
	if (!head_end)
		return len > SH_MSG_MAX_SIZE ? -EMSGSIZE : 0;
	lf = memchr(data, '\n', (size_t)(head_end - data));
	err = content_length(lf + 1, head_end, &body);
	if (err)
		return err;
	if ((size_t)(head_end - data) + body > SH_MSG_MAX_SIZE)
		return -EMSGSIZE;
	return head_end - data + (ssize_t)body;
}

ssize_t sh_framer_feed(struct sh_framer *f, const char *data, size_t len)
{
	ssize_t result;

	if (f->error)
		return f->error;
	if (f->total || len == 0)
		return (ssize_t)f->total;
	result = look(f, data, len);
	if (result < 0)
		f->error = (int)result;
	else
		f->total = (size_t)result;
	return result;
}

ssize_t sh_msg_frame(const char *data, size_t len)
{
	struct sh_framer f = {0};

	return sh_framer_feed(&f, data, len);
}
