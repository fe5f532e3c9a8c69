/* A slice is text that somebody else owns: a start and a length, never a terminating NUL.
 * Everything that came from the network is handled as slices (SIP allows NUL octets in bodies).
 * Plain values: copy them freely; the bytes live as long as their owner says. Any thread. */
#ifndef SH_CORE_SLICE_H
#define SH_CORE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sh_slice {
	const char *base;
	size_t len;
};

/* A slice of a string literal, usable in initialisers. */
#define SH_LIT(s) ((struct sh_slice){(s), sizeof(s) - 1})
/* printf helper: printf("%.*s", SH_FMT(slice)) */
#define SH_FMT(s) (int)(s).len, (s).base

static inline struct sh_slice sh_slice_make(const char *base, size_t len)
{
	return (struct sh_slice){base, len};
}

static inline struct sh_slice sh_slice_cstr(const char *s)
{
	return (struct sh_slice){s, s ? strlen(s) : 0};
}

static inline bool sh_slice_empty(struct sh_slice s)
{
	return s.len == 0;
}

static inline bool sh_slice_eq(struct sh_slice a, struct sh_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.base, b.base, a.len) == 0);
}

bool sh_same_fold(const char *a, const char *b, size_t n); /* as below, of n octets each */

/* ASCII case-insensitive equality (the locale is never consulted). */
static inline bool sh_slice_ieq(struct sh_slice a, struct sh_slice b)
{
	return a.len == b.len && sh_same_fold(a.base, b.base, a.len);
}

/* The same for a literal, which is nearly always spelled so: the compiler makes an instruction or two of that. */
#define sh_slice_is(s, literal)                                                                                        \
	((s).len == sizeof(literal) - 1 &&                                                                             \
	 (memcmp((s).base, (literal), sizeof(literal) - 1) == 0 || sh_same_fold((s).base, (literal), sizeof(literal) - 1)))

/* Eight octets at once, A-Z made lower case. Those above 0x7f stay as they are. No branch on them. */
static inline uint64_t sh_lower8(uint64_t w)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t low7 = w & (ones * 0x7f);
	uint64_t above_z = low7 + ones * (0x7f - 'Z');
	uint64_t from_a = low7 + ones * (0x80 - 'A');
	uint64_t upper = ~w & (from_a ^ above_z) & (ones * 0x80);

	return w | (upper >> 2); /* 0x80 >> 2 is the case bit */
}

/* Case-insensitive order of the common prefix, then of the lengths; for sorted tables. */
int sh_slice_icmp(struct sh_slice a, struct sh_slice b);

bool sh_slice_starts(struct sh_slice s, struct sh_slice prefix);
bool sh_slice_istarts(struct sh_slice s, struct sh_slice prefix);

/* Without leading and trailing SP, HTAB, CR and LF. */
struct sh_slice sh_slice_trim(struct sh_slice s);

/* Index of the first c, or -1. */
ptrdiff_t sh_slice_find(struct sh_slice s, char c);

/* Splits at the first c: *head before it, *tail behind it. False (head = s, tail empty) when there is none. */
bool sh_slice_cut(struct sh_slice s, char c, struct sh_slice *head, struct sh_slice *tail);

/* Decimal digits only, whole slice. 0, -EINVAL for anything else or nothing, -ERANGE above max. */
int sh_slice_u64(struct sh_slice s, uint64_t max, uint64_t *out);
int sh_slice_u32(struct sh_slice s, uint32_t *out);

/* The octets of the UTF-8 character at the start of `left` octets (RFC 3629); 0: there is none. */
size_t sh_utf8_len(const char *text, size_t left);
bool sh_slice_is_utf8(struct sh_slice s);

static inline char sh_lower(char c)
{
	return (c >= 'A' && c <= 'Z') ? (char)(c | 0x20) : c;
}

#endif
