#include "msg/multipart.h"

#include <errno.h>

#include "msg/uri.h"

/* "multipart/mixed;boundary=x" without what is behind the first ';'. */
static struct sh_slice media_of(struct sh_slice content_type, struct sh_slice *params)
{
	struct sh_slice media;

	sh_slice_cut(content_type, ';', &media, params);
	if (params->len) { /* as a parameter list: with its ';' */
		params->base--;
		params->len++;
	}
	return sh_slice_trim(media);
}

static struct sh_slice skip(struct sh_slice s, size_t n)
{
	return sh_slice_make(s.base + n, s.len - n);
}

/* Takes a line off *rest; *line is without its end. */
static bool next_line(struct sh_slice *rest, struct sh_slice *line)
{
	ptrdiff_t end = sh_slice_find(*rest, '\n');

	if (!rest->len)
		return false;
	*line = end < 0 ? *rest : sh_slice_make(rest->base, (size_t)end);
	*rest = end < 0 ? skip(*rest, rest->len) : skip(*rest, (size_t)end + 1);
	if (line->len && line->base[line->len - 1] == '\r')
		line->len--;
	return true;
}

enum delimiter { NONE, BETWEEN, LAST };

/* "--boundary", "--boundary--"; white space behind it is allowed. */
static enum delimiter delimits(struct sh_slice line, struct sh_slice boundary)
{
	if (line.len < boundary.len + 2 || line.base[0] != '-' || line.base[1] != '-' ||
	    !sh_slice_eq(sh_slice_make(line.base + 2, boundary.len), boundary))
		return NONE;
	line = skip(line, boundary.len + 2);
	if (line.len >= 2 && line.base[0] == '-' && line.base[1] == '-')
		return LAST;
	return sh_slice_trim(line).len ? NONE : BETWEEN;
}

int sh_multipart_open(struct sh_multipart *out, struct sh_slice content_type, struct sh_slice body)
{
	struct sh_slice params, line;

	if (!sh_slice_istarts(media_of(content_type, &params), SH_LIT("multipart/")) ||
	    !sh_param_find(params, SH_LIT("boundary"), &out->boundary))
		return -EINVAL;
	if (out->boundary.len >= 2 && out->boundary.base[0] == '"')
		out->boundary = sh_slice_make(out->boundary.base + 1, out->boundary.len - 2);
	out->rest = body;
	while (out->boundary.len && next_line(&out->rest, &line))
		if (delimits(line, out->boundary) == BETWEEN)
			return 0;
	return -EINVAL;
}

bool sh_multipart_next(struct sh_multipart *m, struct sh_part *out)
{
	struct sh_slice all = m->rest, line;
	const char *end = all.base; /* of what belongs to the part */
	enum delimiter at = NONE;

	if (!all.len)
		return false;
	while (at == NONE && next_line(&m->rest, &line)) {
		at = delimits(line, m->boundary);
		if (at == NONE)
			end = line.base + line.len;
	}
	if (at == LAST)
		m->rest.len = 0;
	if (at == NONE)
		end = all.base + all.len;
	/* header fields up to an empty line */
	struct sh_slice rest = sh_slice_make(all.base, (size_t)(end - all.base));
	out->headers = sh_slice_make(rest.base, 0);
	while (next_line(&rest, &line) && line.len)
		out->headers.len = (size_t)(line.base + line.len - out->headers.base);
	out->body = rest;
	return true;
}

struct sh_slice sh_part_header(const struct sh_part *p, struct sh_slice name)
{
	struct sh_slice rest = p->headers, line, field, value;

	while (next_line(&rest, &line))
		if (sh_slice_cut(line, ':', &field, &value) && sh_slice_ieq(sh_slice_trim(field), name))
			return sh_slice_trim(value);
	return (struct sh_slice){0};
}

static struct sh_slice find_sdp(struct sh_slice content_type, struct sh_slice body, unsigned depth)
{
	struct sh_slice params, found = {0};
	struct sh_multipart m;
	struct sh_part part;

	if (sh_slice_ieq(media_of(content_type, &params), SH_LIT("application/sdp")))
		return body;
	if (!depth || sh_multipart_open(&m, content_type, body) < 0)
		return found;
	while (!found.len && sh_multipart_next(&m, &part))
		found = find_sdp(sh_part_header(&part, SH_LIT("Content-Type")), part.body, depth - 1);
	return found;
}

struct sh_slice sh_body_sdp(struct sh_slice content_type, struct sh_slice body)
{
	return find_sdp(content_type, body, 2);
}
