#include "core/encode.h"

#include <errno.h>

/* ------------------------------------------------------------------ base64 */

static const char alphabets[2][65] = {"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"};

enum { LETTER = 0x40, ONLY_PLAIN = 0x80, ONLY_URL = 0x100 };

/* The value of each letter, and where it is one; 0: nowhere. */
static const uint16_t sextets[256] = {
#define S(c, n) [c] = LETTER | (n)
    S('A', 0),  S('B', 1),	S('C', 2),  S('D', 3),	S('E', 4),  S('F', 5),	S('G', 6),  S('H', 7),	S('I', 8),  S('J', 9),  S('K', 10),
    S('L', 11), S('M', 12), S('N', 13), S('O', 14), S('P', 15), S('Q', 16), S('R', 17), S('S', 18), S('T', 19), S('U', 20), S('V', 21),
    S('W', 22), S('X', 23), S('Y', 24), S('Z', 25), S('a', 26), S('b', 27), S('c', 28), S('d', 29), S('e', 30), S('f', 31), S('g', 32),
    S('h', 33), S('i', 34), S('j', 35), S('k', 36), S('l', 37), S('m', 38), S('n', 39), S('o', 40), S('p', 41), S('q', 42), S('r', 43),
    S('s', 44), S('t', 45), S('u', 46), S('v', 47), S('w', 48), S('x', 49), S('y', 50), S('z', 51), S('0', 52), S('1', 53), S('2', 54),
    S('3', 55), S('4', 56), S('5', 57), S('6', 58), S('7', 59), S('8', 60), S('9', 61),
    S('+', 62 | ONLY_PLAIN), S('/', 63 | ONLY_PLAIN), S('-', 62 | ONLY_URL), S('_', 63 | ONLY_URL),
#undef S
};

size_t sh_base64_encode(enum sh_base64 kind, const void *in, size_t len, char *out)
{
	const char *letters = alphabets[kind == SH_BASE64_URL];
	const unsigned char *p = in;
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0, i = 0;

	for (; i + 3 <= len; i += 3, n += 4) {
		bits = (uint32_t)p[i] << 16 | (uint32_t)p[i + 1] << 8 | p[i + 2];
		out[n] = letters[bits >> 18];
		out[n + 1] = letters[bits >> 12 & 63];
		out[n + 2] = letters[bits >> 6 & 63];
		out[n + 3] = letters[bits & 63];
	}
	for (; i < len; i++) {
		bits = bits << 8 | p[i];
		for (have += 8; have >= 6; have -= 6)
			out[n++] = letters[bits >> (have - 6) & 63];
	}
	if (have)
		out[n++] = letters[bits << (6 - have) & 63];
	while (kind == SH_BASE64 && n % 4)
		out[n++] = '=';
	return n;
}

ssize_t sh_base64_decode(enum sh_base64 kind, struct sh_slice text, void *out)
{
	const unsigned foreign = kind == SH_BASE64 ? ONLY_URL : kind == SH_BASE64_URL ? ONLY_PLAIN : 0;
	unsigned char *to = out;
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0, i = 0;

	if (kind == SH_BASE64 && text.len % 4)
		return -EINVAL;
	for (int pads = 0; kind != SH_BASE64_URL && pads < 2 && text.len % 4 == (pads ? 3 : 0) && text.len && text.base[text.len - 1] == '='; pads++)
		text.len--;
	if (text.len % 4 == 1)
		return -EINVAL;
	for (; i + 4 <= text.len; i += 4, n += 3) {
		unsigned a = sextets[(unsigned char)text.base[i]], b = sextets[(unsigned char)text.base[i + 1]];
		unsigned c = sextets[(unsigned char)text.base[i + 2]], d = sextets[(unsigned char)text.base[i + 3]];

		if (!(a & b & c & d & LETTER) || ((a | b | c | d) & foreign))
			return -EINVAL;
		bits = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);
		to[n] = (unsigned char)(bits >> 16);
		to[n + 1] = (unsigned char)(bits >> 8);
		to[n + 2] = (unsigned char)bits;
	}
	for (; i < text.len; i++) {
		unsigned s = sextets[(unsigned char)text.base[i]];

		if (s == 0 || (s & foreign))
			return -EINVAL;
		bits = bits << 6 | (s & 63);
		have += 6;
		if (have >= 8) {
			have -= 8;
			to[n++] = (unsigned char)(bits >> have);
		}
	}
	return kind == SH_BASE64_ANY || (bits & ((1U << have) - 1)) == 0 ? (ssize_t)n : -EINVAL;
}

/* ------------------------------------------------------------------ percent */

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (sh_lower(c) >= 'a' && sh_lower(c) <= 'z');
}

size_t sh_percent_escape(struct sh_slice text, const char *bare, char *out)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.base[i];

		if (is_alnum((char)c) || (c && strchr(bare, c))) {
			out[n++] = (char)c;
		} else {
			out[n++] = '%';
			out[n++] = hex[c >> 4];
			out[n++] = hex[c & 15];
		}
	}
	return n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = sh_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t sh_percent_unescape(struct sh_slice text, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < text.len; i++) {
		bool escape = text.base[i] == '%' && text.len - i > 2;
		int high = escape ? hex_digit(text.base[i + 1]) : -1, low = escape ? hex_digit(text.base[i + 2]) : -1;

		if (high < 0 || low < 0) {
			out[n++] = text.base[i];
			continue;
		}
		out[n++] = (char)(unsigned char)(high << 4 | low);
		i += 2;
	}
	return n;
}

/* ------------------------------------------------------------------ JSON */

size_t sh_json_escape(struct sh_slice text, bool as_is, char *out)
{
	static const char hex[] = "0123456789abcdef", special[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
	size_t n = 0;

	for (size_t i = 0; i < text.len;) {
		unsigned char c = (unsigned char)text.base[i];
		size_t octets = as_is ? 1 : sh_utf8_len(text.base + i, text.len - i);
		const char *e;

		if (octets == 0) {
			memcpy(out + n, "\\ufffd", 6);
			n += 6;
			i++;
		} else if (octets > 1 || (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)) {
			memcpy(out + n, text.base + i, octets);
			n += octets;
			i += octets;
		} else if (c && (e = strchr(special, c))) {
			out[n++] = '\\';
			out[n++] = names[e - special];
			i++;
		} else {
			const char unit[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

			memcpy(out + n, unit, 6);
			n += 6;
			i++;
		}
	}
	return n;
}

/* The four digits of a \u at text; -1: none. */
static int unit_of(struct sh_slice text)
{
	int unit = 0;

	if (text.len < 6 || text.base[0] != '\\' || text.base[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++) {
		int digit = hex_digit(text.base[i]);

		if (digit < 0)
			return -1;
		unit = unit << 4 | digit;
	}
	return unit;
}

static size_t put_utf8(int point, char *out)
{
	size_t n = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};

	for (size_t i = n - 1; i > 0; i--) {
		out[i] = (char)(0x80 | (point & 0x3f));
		point >>= 6;
	}
	out[0] = (char)(lead[n] | point);
	return n;
}

ssize_t sh_json_unescape(struct sh_slice text, char *out)
{
	static const char names[] = "\"\\/bfnrt", octets[] = "\"\\/\b\f\n\r\t";
	size_t n = 0;

	while (text.len) {
		const char *escape = memchr(text.base, '\\', text.len), *name;
		size_t plain = escape ? (size_t)(escape - text.base) : text.len;
		int point, low;

		memcpy(out + n, text.base, plain);
		n += plain;
		text = sh_slice_make(text.base + plain, text.len - plain);
		if (!escape)
			break;
		if (text.len < 2)
			return -EINVAL;
		name = text.base[1] ? strchr(names, text.base[1]) : NULL;
		if (name) {
			out[n++] = octets[name - names];
			text = sh_slice_make(text.base + 2, text.len - 2);
			continue;
		}
		point = unit_of(text);
		if (point < 0)
			return -EINVAL;
		text = sh_slice_make(text.base + 6, text.len - 6);
		if (point >= 0xd800 && point < 0xe000) { /* two of them make a character outside of the first plane */
			low = unit_of(text);
			if (point >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
				return -EINVAL;
			point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
			text = sh_slice_make(text.base + 6, text.len - 6);
		}
		n += put_utf8(point, out + n);
	}
	return (ssize_t)n;
}
