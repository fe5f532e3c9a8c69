#include "core/slice.h"

#include <errno.h>

static uint64_t load8(const char *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

bool sh_same_fold(const char *a, const char *b, size_t n)
{
	for (; n >= 8; a += 8, b += 8, n -= 8) {
		uint64_t x = load8(a), y = load8(b);
		if (x != y && sh_lower8(x) != sh_lower8(y))
			return false;
	}
	for (; n > 0; a++, b++, n--) {
		if (*a != *b && sh_lower(*a) != sh_lower(*b))
			return false;
	}
	return true;
}

int sh_slice_icmp(struct sh_slice a, struct sh_slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < n; i++) {
		int x = (unsigned char)sh_lower(a.base[i]);
		int y = (unsigned char)sh_lower(b.base[i]);
		if (x != y)
			return x < y ? -1 : 1;
	}
	return (a.len > b.len) - (a.len < b.len);
}

bool sh_slice_starts(struct sh_slice s, struct sh_slice prefix)
{
	return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.base, prefix.base, prefix.len) == 0);
}

bool sh_slice_istarts(struct sh_slice s, struct sh_slice prefix)
{
	return s.len >= prefix.len && sh_same_fold(s.base, prefix.base, prefix.len);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct sh_slice sh_slice_trim(struct sh_slice s)
{
	while (s.len > 0 && is_space(s.base[s.len - 1]))
		s.len--;
	while (s.len > 0 && is_space(s.base[0])) {
		s.base++;
		s.len--;
	}
	return s;
}

ptrdiff_t sh_slice_find(struct sh_slice s, char c)
{
	const char *at = s.len > 0 ? memchr(s.base, c, s.len) : NULL;

	return at ? at - s.base : -1;
}

bool sh_slice_cut(struct sh_slice s, char c, struct sh_slice *head, struct sh_slice *tail)
{
	ptrdiff_t at = sh_slice_find(s, c);

	if (at < 0) {
		*head = s;
		*tail = sh_slice_make(s.base ? s.base + s.len : NULL, 0);
		return false;
	}
	*head = sh_slice_make(s.base, (size_t)at);
	*tail = sh_slice_make(s.base + at + 1, s.len - (size_t)at - 1);
	return true;
}

int sh_slice_u64(struct sh_slice s, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;
	bool over = false;

	if (s.len == 0)
		return -EINVAL;
	/* The whole text is looked at even when it is too large already: 99999x is no number, not a large one. */
	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned char)s.base[i] - (unsigned)'0';
		if (digit > 9)
			return -EINVAL;
		if (value > (UINT64_MAX - digit) / 10)
			over = true;
		else
			value = value * 10 + digit;
	}
	if (over || value > max)
		return -ERANGE;
	*out = value;
	return 0;
}

int sh_slice_u32(struct sh_slice s, uint32_t *out)
{
	uint64_t value;
	int err = sh_slice_u64(s, UINT32_MAX, &value);

	if (err)
		return err;
	*out = (uint32_t)value;
	return 0;
}

size_t sh_utf8_len(const char *text, size_t left)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n;

	if (left == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
	if (n == 0 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

bool sh_slice_is_utf8(struct sh_slice s)
{
	size_t n;

	for (size_t i = 0; i < s.len; i += n) {
		n = sh_utf8_len(s.base + i, s.len - i);
		if (n == 0)
			return false;
	}
	return true;
}
