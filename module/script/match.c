#include "script/match.h"

/* Backtracking with an explicit price: each octet that is compared costs a step, a set as many as it is long. Recursion
 * happens only where the answer depends on what follows (quantifiers, captures), so the depth is the number of such
 * items. */
enum { DEPTH = 200 };

static const char *match_here(struct sh_match *m, const char *s, const char *p);

static const char *fail(struct sh_match *m, enum sh_match_error error)
{
	m->error = error;
	return NULL;
}

static bool spend(struct sh_match *m, size_t steps)
{
	if (m->steps < steps) {
		m->steps = 0;
		fail(m, SH_MATCH_COSTLY);
		return false;
	}
	m->steps -= steps;
	return true;
}

static const char *subject_end(const struct sh_match *m)
{
	return m->subject.base + m->subject.len;
}

static const char *pattern_end(const struct sh_match *m)
{
	return m->pattern.base + m->pattern.len;
}

/* --- one octet --------------------------------------------------------------------------------------------------- */

static bool within(unsigned char c, unsigned char low, unsigned char high)
{
	return (unsigned char)(c - low) <= (unsigned char)(high - low);
}

/* Classes of the C locale, whatever the host has set. */
static bool in_class(unsigned char c, unsigned char class)
{
	unsigned char letter = (unsigned char)(c | 0x20);
	bool alpha = within(letter, 'a', 'z'), digit = within(c, '0', '9'), in;

	switch (class | 0x20) {
	case 'a':
		in = alpha;
		break;
	case 'c':
		in = c < 32 || c == 127;
		break;
	case 'd':
		in = digit;
		break;
	case 'g':
		in = within(c, 33, 126);
		break;
	case 'l':
		in = within(c, 'a', 'z');
		break;
	case 'p':
		in = within(c, 33, 126) && !alpha && !digit;
		break;
	case 's':
		in = c == ' ' || within(c, '\t', '\r');
		break;
	case 'u':
		in = within(c, 'A', 'Z');
		break;
	case 'w':
		in = alpha || digit;
		break;
	case 'x':
		in = digit || within(letter, 'a', 'f');
		break;
	case 'z': /* no longer in the manual, still understood */
		in = c == 0;
		break;
	default:
		return c == class;
	}
	return in != within(class, 'A', 'Z');
}

/* set: behind '[', close: its ']'. */
static bool in_set(unsigned char c, const char *set, const char *close)
{
	bool found = true;

	if (*set == '^') {
		found = false;
		set++;
	}
	while (set < close) {
		if (*set == '%') {
			if (in_class(c, (unsigned char)set[1]))
				return found;
			set += 2;
		} else if (set[1] == '-' && set + 2 < close) {
			if ((unsigned char)set[0] <= c && c <= (unsigned char)set[2])
				return found;
			set += 3;
		} else if ((unsigned char)*set++ == c) {
			return found;
		}
	}
	return !found;
}

/* Behind the single-octet item that begins at p; NULL: malformed. */
static const char *item_end(struct sh_match *m, const char *p)
{
	const char *end = pattern_end(m);

	if (*p == '%')
		return p + 1 == end ? fail(m, SH_MATCH_ENDS_PERCENT) : p + 2;
	if (*p != '[')
		return p + 1;
	p++;
	if (p < end && *p == '^')
		p++;
	do { /* a ']' in the first place is a member */
		if (p == end)
			return fail(m, SH_MATCH_NO_BRACKET);
		if (*p++ == '%' && p < end)
			p++;
	} while (p == end || *p != ']');
	return p + 1;
}

/* The item [p, after) against the octet at s. */
static bool one(struct sh_match *m, const char *s, const char *p, const char *after)
{
	if (s == subject_end(m))
		return false;
	switch (*p) {
	case '.':
		return spend(m, 1);
	case '%':
		return spend(m, 1) && in_class((unsigned char)*s, (unsigned char)p[1]);
	case '[':
		return spend(m, (size_t)(after - p)) && in_set((unsigned char)*s, p + 1, after - 1);
	default:
		return spend(m, 1) && *s == *p;
	}
}

/* --- quantifiers ------------------------------------------------------------------------------------------------- */

static const char *greedy(struct sh_match *m, const char *s, const char *p, const char *after)
{
	const char *last = s;

	while (one(m, last, p, after))
		last++;
	while (!m->error) {
		const char *end = match_here(m, last, after + 1);

		if (end || last == s)
			return end;
		last--;
	}
	return NULL;
}

static const char *lazy(struct sh_match *m, const char *s, const char *p, const char *after)
{
	for (;;) {
		const char *end = match_here(m, s, after + 1);

		if (end || m->error)
			return end;
		if (!one(m, s, p, after))
			return NULL;
		s++;
	}
}

/* --- captures and the special items ------------------------------------------------------------------------------ */

static const char *open_capture(struct sh_match *m, const char *s, const char *p, ptrdiff_t what)
{
	const char *end;

	if (m->level == SH_MATCH_CAPTURES)
		return fail(m, SH_MATCH_CAPTURE_MANY);
	m->capture[m->level].at = s;
	m->capture[m->level].len = what;
	m->level++;
	end = match_here(m, s, p);
	if (!end)
		m->level--;
	return end;
}

static const char *close_capture(struct sh_match *m, const char *s, const char *p)
{
	int i = m->level - 1;
	const char *end;

	while (i >= 0 && m->capture[i].len != SH_MATCH_OPEN)
		i--;
	if (i < 0)
		return fail(m, SH_MATCH_CAPTURE_CLOSE);
	m->capture[i].len = s - m->capture[i].at;
	end = match_here(m, s, p);
	if (!end)
		m->capture[i].len = SH_MATCH_OPEN;
	return end;
}

/* %1 .. %9: the same text again. */
static const char *again(struct sh_match *m, const char *s, char digit)
{
	int i = digit - '1';
	ptrdiff_t len;

	if (i < 0 || i >= m->level || m->capture[i].len == SH_MATCH_OPEN) {
		m->index = i + 1;
		return fail(m, SH_MATCH_CAPTURE_INDEX);
	}
	len = m->capture[i].len;
	if (len < 0 || subject_end(m) - s < len || !spend(m, (size_t)len))
		return NULL;
	return memcmp(m->capture[i].at, s, (size_t)len) == 0 ? s + len : NULL;
}

/* %bxy: p behind the 'b'. */
static const char *balanced(struct sh_match *m, const char *s, const char *p)
{
	const char *end = subject_end(m);
	size_t depth = 1;

	if (pattern_end(m) - p < 2)
		return fail(m, SH_MATCH_BALANCE);
	if (s == end || *s != p[0])
		return NULL;
	for (s++; s < end && spend(m, 1); s++) {
		if (*s == p[1]) {
			if (--depth == 0)
				return s + 1;
		} else if (*s == p[0]) {
			depth++;
		}
	}
	return NULL;
}

/* %f[set]: p behind the 'f'. Where in the pattern to go on, or NULL. */
static const char *frontier(struct sh_match *m, const char *s, const char *p)
{
	unsigned char before = s == m->subject.base ? 0 : (unsigned char)s[-1];
	unsigned char here = s == subject_end(m) ? 0 : (unsigned char)*s;
	const char *after;

	if (p == pattern_end(m) || *p != '[')
		return fail(m, SH_MATCH_FRONTIER);
	after = item_end(m, p);
	if (!after || !spend(m, (size_t)(after - p)))
		return NULL;
	return !in_set(before, p + 1, after - 1) && in_set(here, p + 1, after - 1) ? after : NULL;
}

/* --- sequence ---------------------------------------------------------------------------------------------------- */

static bool is_quantifier(char c)
{
	return c == '*' || c == '+' || c == '-' || c == '?';
}

/* A quantified item and all that follows it. */
static const char *quantified(struct sh_match *m, const char *s, const char *p, const char *after)
{
	switch (*after) {
	case '*':
		return greedy(m, s, p, after);
	case '+':
		return one(m, s, p, after) ? greedy(m, s + 1, p, after) : NULL;
	case '-':
		return lazy(m, s, p, after);
	default: /* '?' */
		if (one(m, s, p, after)) {
			const char *end = match_here(m, s + 1, after + 1);

			if (end)
				return end;
		}
		return m->error ? NULL : match_here(m, s, after + 1);
	}
}

static const char *sequence(struct sh_match *m, const char *s, const char *p)
{
	const char *end = pattern_end(m);

	while (p < end) {
		const char *after;

		if (*p == '(') {
			if (p + 1 < end && p[1] == ')')
				return open_capture(m, s, p + 2, SH_MATCH_POSITION);
			return open_capture(m, s, p + 1, SH_MATCH_OPEN);
		}
		if (*p == ')')
			return close_capture(m, s, p + 1);
		if (*p == '$' && p + 1 == end)
			return s == subject_end(m) ? s : NULL;
		if (*p == '%' && p + 1 < end && (p[1] == 'b' || p[1] == 'f' || within((unsigned char)p[1], '0', '9'))) {
			if (p[1] == 'f') {
				p = frontier(m, s, p + 2);
				if (!p)
					return NULL;
				continue;
			}
			s = p[1] == 'b' ? balanced(m, s, p + 2) : again(m, s, p[1]);
			if (!s)
				return NULL;
			p += p[1] == 'b' ? 4 : 2;
			continue;
		}
		after = item_end(m, p);
		if (!after)
			return NULL;
		if (after < end && is_quantifier(*after))
			return quantified(m, s, p, after);
		if (!one(m, s, p, after))
			return NULL;
		s++;
		p = after;
	}
	return s;
}

static const char *match_here(struct sh_match *m, const char *s, const char *p)
{
	const char *end;

	if (m->depth == 0)
		return fail(m, SH_MATCH_DEEP);
	if (!spend(m, 1))
		return NULL;
	m->depth--;
	end = sequence(m, s, p);
	m->depth++;
	return end;
}

const char *sh_match_at(struct sh_match *m, const char *at)
{
	m->level = 0;
	m->depth = DEPTH;
	return match_here(m, at, m->pattern.base);
}
