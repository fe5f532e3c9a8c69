#include "msg/lex.h"

#define TOKEN SH_LEX_TOKEN
#define HOST  SH_LEX_HOST
#define IPV6  SH_LEX_IPV6
#define USER  SH_LEX_USER
#define URI   SH_LEX_URI
#define GEN   SH_LEX_GENERIC
#define ALPHA (TOKEN | HOST | USER | URI | GEN)

const unsigned char sh_lex_class[256] = {
    ['\t'] = SH_LEX_LWS,
    ['\n'] = SH_LEX_LWS,
    ['\r'] = SH_LEX_LWS,
    [' '] = SH_LEX_LWS,
    ['0' ... '9'] = ALPHA | IPV6 | SH_LEX_DIGIT,
    ['A' ... 'F'] = ALPHA | IPV6,
    ['G' ... 'Z'] = ALPHA,
    ['a' ... 'f'] = ALPHA | IPV6,
    ['g' ... 'z'] = ALPHA,
    ['!'] = TOKEN | USER | URI | GEN,
    ['#'] = URI | GEN,
    ['$'] = USER | URI | GEN,
    ['%'] = TOKEN | URI | GEN,
    ['&'] = USER | URI | GEN,
    ['\''] = TOKEN | USER | URI | GEN,
    ['('] = USER | URI | GEN,
    [')'] = USER | URI | GEN,
    ['*'] = TOKEN | USER | URI | GEN,
    ['+'] = TOKEN | USER | URI | GEN,
    [','] = USER | URI,
    ['-'] = TOKEN | HOST | USER | URI | GEN,
    ['.'] = TOKEN | HOST | IPV6 | USER | URI | GEN,
    ['/'] = USER | URI | GEN,
    [':'] = IPV6 | URI | GEN,
    [';'] = USER | URI,
    ['='] = USER | URI,
    ['?'] = USER | URI | GEN,
    ['@'] = URI | GEN,
    ['['] = URI | GEN,
    ['\\'] = URI | GEN,
    [']'] = URI | GEN,
    ['^'] = URI | GEN,
    ['_'] = TOKEN | HOST | USER | URI | GEN,
    ['`'] = TOKEN | URI | GEN,
    ['{'] = URI | GEN,
    ['|'] = URI | GEN,
    ['}'] = URI | GEN,
    ['~'] = TOKEN | USER | URI | GEN,
    [0x80 ... 0xff] = URI | GEN,
};

/* Jumps from quote to quote: one with an odd number of backslashes before it is escaped. The backslashes between two
 * quotes are counted once, so that the whole stays linear. */
const char *sh_lex_quoted(const char *p, const char *end)
{
	const char *from = p + 1;

	while (from < end) {
		const char *quote = memchr(from, '"', (size_t)(end - from)), *back = quote;

		if (!quote)
			break;
		while (back > from && back[-1] == '\\')
			back--;
		from = quote + 1;
		if ((quote - back) % 2 == 0)
			return from;
	}
	return NULL;
}

/* What may stand behind '=': a value in which a further '=' does not matter ("a=b=c": base64 has it). */
static const char *bare_value(const char *p, const char *end)
{
	for (p = sh_lex_run(p, end, SH_LEX_GENERIC); p < end && *p == '='; p = sh_lex_run(p, end, SH_LEX_GENERIC))
		p++;
	return p;
}

int sh_lex_param(const char **p, const char *end, struct sh_slice *name, struct sh_slice *value)
{
	const char *at = sh_lex_lws(*p, end);
	const char *behind = sh_lex_run(at, end, SH_LEX_GENERIC);
	struct sh_slice n = sh_lex_span(at, behind), v = {NULL, 0};

	if (n.len == 0)
		return -EINVAL;
	at = sh_lex_lws(behind, end);
	if (at < end && *at == '=') {
		at = sh_lex_lws(at + 1, end);
		if (at == end)
			return -EINVAL;
		behind = *at == '"' ? sh_lex_quoted(at, end) : bare_value(at, end);
		if (!behind || behind == at)
			return -EINVAL;
		v = sh_lex_span(at, behind);
		at = sh_lex_lws(behind, end);
	}
	if (at < end && *at != ';' && *at != ',')
		return -EINVAL;
	*p = at;
	*name = n;
	*value = v;
	return 0;
}

int sh_lex_uint(struct sh_slice s, uint32_t max, uint32_t *out)
{
	uint64_t n = 0;

	if (s.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.base[i] - (unsigned)'0';

		if (digit > 9)
			return -EINVAL;
		if (n <= max) /* else it is too large, whatever follows */
			n = n * 10 + digit;
	}
	*out = n > max ? max : (uint32_t)n;
	return n > max ? -ERANGE : 0;
}

int sh_lex_host(const char **p, const char *end, struct sh_slice *host)
{
	const char *from = *p, *to;

	if (from < end && *from == '[') {
		to = sh_lex_run(from + 1, end, SH_LEX_IPV6);
		if (to == end || *to != ']' || to == from + 1)
			return -EINVAL;
		to++;
	} else {
		to = sh_lex_run(from, end, SH_LEX_HOST);
		if (to == from)
			return -EINVAL;
	}
	*host = sh_lex_span(from, to);
	*p = to;
	return 0;
}

int sh_lex_port(struct sh_slice s, uint16_t *port)
{
	uint32_t n;

	if (sh_lex_uint(s, 65535, &n) || n == 0)
		return -EINVAL;
	*port = (uint16_t)n;
	return 0;
}

/* "<" uri ">": the URI may have neither white space nor brackets in it. */
static int bracketed(const char **p, const char *end, struct sh_slice *uri)
{
	const char *from = *p + 1, *to = sh_lex_run(from, end, SH_LEX_URI);

	if (to == from || to == end || *to != '>')
		return -EINVAL;
	*uri = sh_lex_span(from, to);
	*p = sh_lex_lws(to + 1, end);
	return 0;
}

/* A bare addr-spec ends at ';' and ','; a '?' in it would be ambiguous and is forbidden (RFC 3261 20). */
static int addr_spec(const char *from, const char *to, struct sh_slice *uri)
{
	if (to == from)
		return -EINVAL;
	for (const char *c = from; c < to; c++)
		if (!sh_lex_is(*c, SH_LEX_URI) || *c == '?')
			return -EINVAL;
	*uri = sh_lex_span(from, to);
	return 0;
}

int sh_lex_address(const char **p, const char *end, struct sh_slice *display, struct sh_slice *uri)
{
	const char *from = sh_lex_lws(*p, end), *at = from;
	struct sh_slice d = {from, 0};
	int err;

	if (at < end && *at == '"') {
		at = sh_lex_quoted(at, end);
		if (!at)
			return -EINVAL;
		d = sh_lex_span(from, at);
		at = sh_lex_lws(at, end);
		if (at == end || *at != '<')
			return -EINVAL;
	} else {
		/* Display names are tokens by the grammar; phones send any text there, so only what would be
		 * ambiguous is refused. White space before '<' is optional (RFC 4475 3.1.1.6). */
		while (at < end && *at != '<' && *at != ';' && *at != ',' && *at != '"')
			at++;
		if (at < end && *at == '"')
			return -EINVAL;
		d = sh_lex_trim(sh_lex_span(from, at));
	}
	if (at < end && *at == '<') {
		err = bracketed(&at, end, uri);
		if (err)
			return err;
		*display = d;
	} else {
		err = addr_spec(d.base, d.base + d.len, uri);
		if (err)
			return err;
		*display = (struct sh_slice){d.base, 0};
	}
	*p = at;
	return 0;
}
