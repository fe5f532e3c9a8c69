/* The lexical ground of RFC 3261 25.1: classes of octets, linear white space, quoted strings, parameters. Private to
 * msg/. All functions work on [p, end), never read `end`, and cost linear time. Any thread.
 *
 * White space includes CR and LF: inside a header field value the scanner lets them through as parts of folds only. */
#ifndef SH_MSG_LEX_H
#define SH_MSG_LEX_H

#include <errno.h>
#if defined(__SSE2__) && defined(__x86_64__)
#define SH_LEX_SIXTEEN /* octets can be looked at at once; elsewhere one by one */
#include <emmintrin.h>
#endif

#include "core/slice.h"

enum {
	SH_LEX_TOKEN = 1, /* token */
	SH_LEX_HOST = 2,  /* hostname, IPv4address; '_' too, since real names have it */
	SH_LEX_IPV6 = 4,  /* between the brackets of an IPv6reference */
	SH_LEX_USER = 8,  /* may stand bare in a user part */
	SH_LEX_URI = 16,  /* any URI: no white space, controls, quotes or angle brackets; UTF-8 is tolerated */
	SH_LEX_LWS = 32,  /* SP, HTAB, CR, LF */
	SH_LEX_DIGIT = 64,
	SH_LEX_GENERIC = 128, /* an unquoted parameter name or value, whatever the header field */
};

extern const unsigned char sh_lex_class[256];

static inline bool sh_lex_is(char c, unsigned classes)
{
	return (sh_lex_class[(unsigned char)c] & classes) != 0;
}

#ifdef SH_LEX_SIXTEEN
static inline uint64_t sh_lex_load8(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static inline uint64_t sh_lex_load4(const char *p)
{
	uint32_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

/* The next sixteen octets; of what is not there, zeros, which are of no class. */
static inline __m128i sh_lex_sixteen(const char *p, const char *end)
{
	size_t n = (size_t)(end - p);

	if (n >= 16)
		return _mm_loadu_si128((const __m128i *)(const void *)p);
	if (n >= 8) /* two loads that overlap */
		return _mm_set_epi64x((long long)(sh_lex_load8(end - 8) >> (8 * (15 - n)) >> 8), (long long)sh_lex_load8(p));
	if (n >= 4)
		return _mm_cvtsi64_si128((long long)(sh_lex_load4(p) | sh_lex_load4(end - 4) << (8 * (n - 4))));
	if (n > 0)
		return _mm_cvtsi32_si128((unsigned char)p[0] | (unsigned char)p[n / 2] << (8 * (n / 2)) |
					 (unsigned char)p[n - 1] << (8 * (n - 1)));
	return _mm_setzero_si128();
}

/* Octets from `first` to `last`. */
static inline __m128i sh_lex_between(__m128i text, unsigned char first, unsigned char last)
{
	__m128i from_first = _mm_sub_epi8(text, _mm_set1_epi8((char)first));

	return _mm_cmpeq_epi8(_mm_min_epu8(from_first, _mm_set1_epi8((char)(last - first))), from_first);
}

static inline __m128i sh_lex_same(__m128i text, char c)
{
	return _mm_cmpeq_epi8(text, _mm_set1_epi8(c));
}

/* Bit n: the n-th octet is of that class, as the table says. */
static inline unsigned sh_lex_are(__m128i text, unsigned class)
{
	__m128i no; /* octets that are not */

	if (class == SH_LEX_HOST) {
		__m128i letter = sh_lex_between(_mm_or_si128(text, _mm_set1_epi8(0x20)), 'a', 'z');
		__m128i yes = _mm_or_si128(_mm_or_si128(letter, sh_lex_same(text, '_')),
					   _mm_andnot_si128(sh_lex_same(text, '/'), sh_lex_between(text, '-', '9')));

		return (unsigned)_mm_movemask_epi8(yes);
	}
	no = _mm_or_si128(_mm_or_si128(sh_lex_between(text, 0, ' '), sh_lex_same(text, '"')), sh_lex_same(text, 0x7f));
	if (class == SH_LEX_GENERIC) /* ; < = > are neighbours */
		no = _mm_or_si128(no, _mm_or_si128(sh_lex_same(text, ','), sh_lex_between(text, ';', '>')));
	else
		no = _mm_or_si128(no, _mm_or_si128(sh_lex_same(text, '<'), sh_lex_same(text, '>')));
	return ~(unsigned)_mm_movemask_epi8(no) & 0xffff;
}
#endif

/* Behind the octets of that class. Where URIs, hosts and parameters are long, sixteen at a time: octet by octet these three were
 * half of what a message costs. */
static inline const char *sh_lex_run(const char *p, const char *end, unsigned classes)
{
#ifdef SH_LEX_SIXTEEN
	if (classes == SH_LEX_URI || classes == SH_LEX_HOST || classes == SH_LEX_GENERIC) {
		for (;; p += 16) {
			unsigned yes = sh_lex_are(sh_lex_sixteen(p, end), classes);

			if (yes != 0xffff)
				return p + __builtin_ctz(~yes);
		}
	}
#endif
	while (p < end && sh_lex_is(*p, classes))
		p++;
	return p;
}

static inline const char *sh_lex_lws(const char *p, const char *end)
{
	return sh_lex_run(p, end, SH_LEX_LWS);
}

static inline struct sh_slice sh_lex_span(const char *from, const char *to)
{
	return (struct sh_slice){from, (size_t)(to - from)};
}

/* Without LWS at both ends; the base stays inside the slice. */
static inline struct sh_slice sh_lex_trim(struct sh_slice s)
{
	const char *p = s.base, *end;

	if (s.len == 0)
		return s;
	end = p + s.len;
	p = sh_lex_lws(p, end);
	while (end > p && sh_lex_is(end[-1], SH_LEX_LWS))
		end--;
	return sh_lex_span(p, end);
}

/* p stands on the opening quote; behind the closing one, or NULL when there is none. */
const char *sh_lex_quoted(const char *p, const char *end);

/* A parameter "name", "name=value" or "name="quoted"", white space around each part allowed. *p stands behind the ';'
 * and moves behind the parameter and its white space, to a ';', a ',' or the end. `value` has no base when there is no
 * '='; a quoted one keeps its quotes. 0, or -EINVAL: no name, no value behind '=', an open quote, garbage. */
int sh_lex_param(const char **p, const char *end, struct sh_slice *name, struct sh_slice *value);

/* Decimal digits only, at least one. 0, -EINVAL, or -ERANGE above max (then `out` is max). */
int sh_lex_uint(struct sh_slice s, uint32_t max, uint32_t *out);

/* host or IPv6reference at *p, which moves behind it. 0 or -EINVAL. */
int sh_lex_host(const char **p, const char *end, struct sh_slice *host);

/* A port 1 .. 65535: 0 or -EINVAL. */
int sh_lex_port(struct sh_slice s, uint16_t *port);

/* Display name and URI of a name-addr or addr-spec at *p, which moves behind them and their white space.
 * 0 or -EINVAL. *uri is what stands between < and >, or the bare addr-spec. */
int sh_lex_address(const char **p, const char *end, struct sh_slice *display, struct sh_slice *uri);

static inline int sh_lex_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = sh_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

#endif
