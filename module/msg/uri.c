#include "msg/uri.h"

#include "core/addr.h"
#include "core/encode.h"
#include "msg/lex.h"

static enum sh_uri_kind kind_of(struct sh_slice scheme)
{
	if (sh_slice_is(scheme, "sip"))
		return SH_URI_SIP;
	if (sh_slice_is(scheme, "sips"))
		return SH_URI_SIPS;
	if (sh_slice_is(scheme, "tel"))
		return SH_URI_TEL;
	return SH_URI_OTHER;
}

/* scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." ) (RFC 3986 3.1). The colon's place, or NULL. */
static const char *scheme_end(const char *p, const char *end)
{
	const char *from = p;

	if (end - p > 4 && memcmp(p, "sip:", 4) == 0) /* nearly always */
		return p + 3;
	for (; p < end && *p != ':'; p++) {
		char c = sh_lower(*p);
		bool letter = c >= 'a' && c <= 'z';

		if (!letter && (p == from || !(sh_lex_is(c, SH_LEX_DIGIT) || c == '+' || c == '-' || c == '.')))
			return NULL;
	}
	return p < end && p > from ? p : NULL;
}

static int parse_userinfo(struct sh_uri *u, const char *p, const char *at)
{
	const char *colon = memchr(p, ':', (size_t)(at - p));

	u->has_user = true;
	u->user = sh_lex_span(p, colon ? colon : at);
	if (colon)
		u->password = sh_lex_span(colon + 1, at);
	return u->user.len ? 0 : -EINVAL;
}

/* [userinfo "@"] host [":" port] *(";" param) ["?" headers] */
static int parse_sip(struct sh_uri *u, const char *p, const char *end)
{
	const char *at = memchr(p, '@', (size_t)(end - p)), *mark;
	int err;

	if (at) {
		/* A user part may hold ; ? / and the like (RFC 4475 3.1.1.2), but never a bare '@': the first one ends
		 * it. */
		err = parse_userinfo(u, p, at);
		if (err)
			return err;
		p = at + 1;
	}
	err = sh_lex_host(&p, end, &u->host);
	if (err)
		return err;
	if (p < end && *p == ':') {
		const char *digits = p + 1;

		p = sh_lex_run(digits, end, SH_LEX_DIGIT);
		err = sh_lex_port(sh_lex_span(digits, p), &u->port);
		if (err)
			return err;
	}
	mark = p < end ? memchr(p, '?', (size_t)(end - p)) : NULL;
	if (p < end && *p == ';') {
		u->params = sh_lex_span(p + 1, mark ? mark : end);
		p = mark ? mark : end;
	}
	if (p < end && *p == '?') {
		u->headers = sh_lex_span(p + 1, end);
		p = end;
	}
	return p == end ? 0 : -EINVAL;
}

static bool phone_digit(char c)
{
	return sh_lex_is(c, SH_LEX_DIGIT) || c == '*' || c == '#' || (sh_lower(c) >= 'a' && sh_lower(c) <= 'f');
}

static bool visual_separator(char c)
{
	return c == '-' || c == '.' || c == '(' || c == ')';
}

/* ["+"] digits with visual separators, then parameters (RFC 3966 3) */
static int parse_tel(struct sh_uri *u, const char *p, const char *end)
{
	const char *from = p;
	bool digits = false;

	if (p < end && *p == '+')
		p++;
	for (; p < end && *p != ';'; p++) {
		if (phone_digit(*p))
			digits = true;
		else if (!visual_separator(*p))
			return -EINVAL;
	}
	u->user = sh_lex_span(from, p);
	u->has_user = true;
	if (p < end)
		u->params = sh_lex_span(p + 1, end);
	return digits ? 0 : -EINVAL;
}

int sh_uri_parse(struct sh_uri *out, struct sh_slice text)
{
	const char *end, *colon, *p;
	struct sh_uri u = {.text = text};
	int err = 0;

	if (text.len == 0)
		return -EINVAL;
	end = text.base + text.len;
	colon = scheme_end(text.base, end);
	if (!colon)
		return -EINVAL;
	p = colon + 1;
	if (p == end || sh_lex_run(p, end, SH_LEX_URI) != end)
		return -EINVAL;
	u.scheme = sh_lex_span(text.base, colon);
	u.kind = kind_of(u.scheme);
	if (u.kind == SH_URI_SIP || u.kind == SH_URI_SIPS) {
		err = parse_sip(&u, p, end);
	} else if (u.kind == SH_URI_TEL) {
		err = parse_tel(&u, p, end);
	} else {
		u.user = sh_lex_span(p, end);
		u.has_user = true;
	}
	if (err)
		return err;
	*out = u;
	return 0;
}

/* --- comparison ------------------------------------------------------------------------------------------------- */

/* reserved of RFC 2396 2.2: escaped, these octets mean something else than bare ones. */
static bool reserved(int c)
{
	return c && strchr(";/?:@&=+$,", c);
}

enum { ESCAPED_RESERVED = 0x100 };

/* The next octet of an escaped text by what it means. p < end. */
static int next_meaning(const char **p, const char *end)
{
	const char *at = *p;
	int high, low, c = (unsigned char)*at;

	*p = at + 1;
	if (c != '%' || end - at < 3)
		return c;
	high = sh_lex_hex(at[1]);
	low = sh_lex_hex(at[2]);
	if (high < 0 || low < 0)
		return c;
	*p = at + 3;
	c = high * 16 + low;
	return reserved(c) ? c | ESCAPED_RESERVED : c;
}

static int fold_case(int c)
{
	return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

static bool same_text(struct sh_slice a, struct sh_slice b, bool ignore_case)
{
	const char *p = a.base, *p_end, *q = b.base, *q_end;

	if (a.len == 0 || b.len == 0)
		return a.len == b.len;
	p_end = p + a.len;
	q_end = q + b.len;
	while (p < p_end && q < q_end) {
		int x = next_meaning(&p, p_end), y = next_meaning(&q, q_end);

		if (x != y && !(ignore_case && fold_case(x) == fold_case(y)))
			return false;
	}
	return p == p_end && q == q_end;
}

/* Numeric addresses compare by value, so that the spellings of an IPv6 address are one (RFC 5954); names by text. */
static bool same_host(struct sh_slice a, struct sh_slice b)
{
	struct sh_addr x, y;

	if (sh_slice_ieq(a, b))
		return true;
	return sh_addr_parse(&x, a, 0) == 0 && sh_addr_parse(&y, b, 0) == 0 && sh_addr_same_host(&x, &y);
}

/* Sets of parameters are compared pair by pair. These limits keep that cheap whatever the network sends: sets beyond
 * them are the same only when they are octet for octet. */
enum { MAX_PAIRS = 32, MAX_PAIR_TEXT = 1024 };

struct pairs {
	size_t n;
	struct sh_slice name[MAX_PAIRS], value[MAX_PAIRS];
};

static bool collect(struct pairs *out, struct sh_slice text, char separator)
{
	out->n = 0;
	if (text.len > MAX_PAIR_TEXT)
		return false;
	while (text.len) {
		struct sh_slice item;

		sh_slice_cut(text, separator, &item, &text);
		if (item.len == 0)
			continue;
		if (out->n == MAX_PAIRS)
			return false;
		sh_slice_cut(item, '=', &out->name[out->n], &out->value[out->n]);
		out->n++;
	}
	return true;
}

static size_t find_pair(const struct pairs *set, struct sh_slice name)
{
	size_t i = 0;

	while (i < set->n && !same_text(set->name[i], name, true))
		i++;
	return i;
}

/* Parameters that must be in both URIs when they are in one. transport too: see the third pair of unequal URIs in
 * RFC 3261 19.1.4 ("can resolve to different transports"). */
static bool never_ignored(struct sh_slice name)
{
	static const struct sh_slice names[] = {
	    {"user", 4}, {"ttl", 3}, {"method", 6}, {"maddr", 5}, {"transport", 9},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (same_text(names[i], name, true))
			return true;
	return false;
}

enum missing { MISSING_DIFFERS, MISSING_BY_NAME };
typedef bool (*same_value_fn)(struct sh_slice name, struct sh_slice a, struct sh_slice b);

/* Every pair of a has its match in b. */
static bool contained(const struct pairs *a, const struct pairs *b, enum missing missing, same_value_fn same)
{
	for (size_t i = 0; i < a->n; i++) {
		size_t k = find_pair(b, a->name[i]);

		if (k < b->n) {
			if (!same(a->name[i], a->value[i], b->value[k]))
				return false;
		} else if (missing == MISSING_DIFFERS || never_ignored(a->name[i])) {
			return false;
		}
	}
	return true;
}

static bool same_pairs(struct sh_slice a, struct sh_slice b, char separator, enum missing missing, same_value_fn same)
{
	struct pairs x, y;

	if (sh_slice_eq(a, b))
		return true;
	if (!collect(&x, a, separator) || !collect(&y, b, separator))
		return false;
	return contained(&x, &y, missing, same) && contained(&y, &x, missing, same);
}

static bool same_sip_value(struct sh_slice name, struct sh_slice a, struct sh_slice b)
{
	(void)name;
	return same_text(a, b, true);
}

/* Digits without their visual separators, any case. */
static bool same_number(struct sh_slice a, struct sh_slice b)
{
	size_t i = 0, k = 0;

	for (;;) {
		while (i < a.len && visual_separator(a.base[i]))
			i++;
		while (k < b.len && visual_separator(b.base[k]))
			k++;
		if (i == a.len || k == b.len)
			return i == a.len && k == b.len;
		if (sh_lower(a.base[i++]) != sh_lower(b.base[k++]))
			return false;
	}
}

/* RFC 3966 4: the extension and a global phone-context are digits; everything else is text of any case. */
static bool same_tel_value(struct sh_slice name, struct sh_slice a, struct sh_slice b)
{
	if (sh_slice_ieq(name, SH_LIT("ext")) ||
	    (sh_slice_ieq(name, SH_LIT("phone-context")) && sh_slice_starts(a, SH_LIT("+"))))
		return same_number(a, b);
	return same_text(a, b, true);
}

static bool same_sip(const struct sh_uri *a, const struct sh_uri *b)
{
	return a->has_user == b->has_user && a->port == b->port &&
	       (a->password.base == NULL) == (b->password.base == NULL) && same_text(a->user, b->user, false) &&
	       same_text(a->password, b->password, false) && same_host(a->host, b->host) &&
	       same_pairs(a->params, b->params, ';', MISSING_BY_NAME, same_sip_value) &&
	       same_pairs(a->headers, b->headers, '&', MISSING_DIFFERS, same_sip_value);
}

bool sh_uri_equal(const struct sh_uri *a, const struct sh_uri *b)
{
	if (a->kind != b->kind)
		return false;
	switch (a->kind) {
	case SH_URI_SIP:
	case SH_URI_SIPS:
		return same_sip(a, b);
	case SH_URI_TEL:
		return same_number(a->user, b->user) &&
		       same_pairs(a->params, b->params, ';', MISSING_DIFFERS, same_tel_value);
	case SH_URI_OTHER:
		break;
	}
	return sh_slice_eq(a->text, b->text);
}

/* --- escapes ---------------------------------------------------------------------------------------------------- */

int sh_uri_unescape(struct sh_arena *a, struct sh_slice s, struct sh_slice *out)
{
	char *text = sh_arena_alloc(a, s.len + 1);
	size_t n;

	if (!text)
		return -ENOMEM;
	n = sh_percent_unescape(s, text);
	text[n] = '\0';
	*out = sh_slice_make(text, n);
	return 0;
}

int sh_uri_escape_user(struct sh_arena *a, struct sh_slice s, struct sh_slice *out)
{
	char *text = s.len <= (SIZE_MAX - 1) / 3 ? sh_arena_alloc(a, s.len * 3 + 1) : NULL;
	size_t n;

	if (!text)
		return -ENOMEM;
	n = sh_percent_escape(s, SH_PERCENT_USER, text);
	text[n] = '\0';
	*out = sh_slice_make(text, n);
	return 0;
}
