/* Credentials and challenges of Digest as syntax: see digest.h.
 *
 * Credentials come with every request of every phone: they are read in place, one pass, no copy but of what has escapes.
 * (libosip2's reading of them cost more than the three hashes of the check; it is the oracle of the fuzzer now.)
 *
 * Challenges are rare, and libosip2 reads them. It drops what it does not know, refuses a token where it wants a quoted
 * string, keeps quotes and takes the first of two values; with thousands of parameters it is quadratic. So the text is first
 * put into the one form that it reads well: each parameter that we know once, rightly quoted; all others left out. */
#include "msg/digest.h"

#include <sys/time.h>

#include <osipparser2/osip_parser.h>

#include "msg/lex.h"
#include "msg/msg.h"
#include "msg/osip.h"
#include "msg/uri.h"
#include "msg/writer.h"

enum { MAX_VALUE = 4000 };

/* libosip2 loses a last value of one octet: it gets something behind it that is nobody's. */
#define END_PARAM ", end=\"end\""

struct known_param {
	struct sh_slice name;
	bool quoted; /* by the grammar, and as libosip2 wants it; the others are tokens */
	bool mandatory;
};

#define PARAM(name, quoted, mandatory)                                                                                 \
	{                                                                                                              \
		{name, sizeof(name) - 1}, quoted, mandatory                                                            \
	}
enum { USERNAME, REALM, NONCE, URI, RESPONSE, ALGORITHM, CNONCE, OPAQUE, QOP, NC, CREDENTIALS_PARAMS };
static const struct known_param credentials_params[CREDENTIALS_PARAMS] = {
    [USERNAME] = PARAM("username", true, true), [REALM] = PARAM("realm", true, true),
    [NONCE] = PARAM("nonce", true, true),	[URI] = PARAM("uri", true, true),
    [RESPONSE] = PARAM("response", true, true), [ALGORITHM] = PARAM("algorithm", false, false),
    [CNONCE] = PARAM("cnonce", true, false),	[OPAQUE] = PARAM("opaque", true, false),
    [QOP] = PARAM("qop", false, false),		[NC] = PARAM("nc", false, false),
};

static const struct known_param challenge_params[] = {
    PARAM("realm", true, true),   PARAM("nonce", true, true), PARAM("opaque", true, false),
    PARAM("stale", false, false), PARAM("qop", true, false),  PARAM("algorithm", false, false),
};
#undef PARAM

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool is_quoted(struct sh_slice s)
{
	return s.len >= 2 && s.base[0] == '"';
}

static void put_param(struct sh_writer *w, const struct known_param *known, struct sh_slice value)
{
	sh_put(w, known->name);
	sh_put_char(w, '=');
	if (!known->quoted || is_quoted(value)) {
		sh_put(w, value);
		return;
	}
	/* A backslash in what was no quoted string is itself: DOMAIN\user. */
	sh_put_char(w, '"');
	for (size_t i = 0; i < value.len; i++) {
		if (value.base[i] == '\\')
			sh_put_char(w, '\\');
		sh_put_char(w, value.base[i]);
	}
	sh_put_char(w, '"');
}

/* What has to stand bare, if it may: libosip2 would read on behind a comma that the quotes had covered. */
static int strip_quotes(struct sh_slice *value)
{
	if (is_quoted(*value))
		*value = sh_slice_make(value->base + 1, value->len - 2);
	return value->len && sh_lex_run(value->base, value->base + value->len, SH_LEX_TOKEN) == value->base + value->len
		   ? 0
		   : -EINVAL;
}

/* What each parameter that the table knows stands for, quotes and all: values[i] belongs to table[i], without a base when it is
 * not there. 0, or -EINVAL: broken syntax, a known one twice, without a value, or a mandatory one missing. */
static int read_known(const char *p, const char *end, const struct known_param *table, size_t n, struct sh_slice *values)
{
	memset(values, 0, n * sizeof(*values));
	while (p < end) {
		struct sh_slice name, value;
		size_t i = 0;

		p = sh_lex_lws(p, end);
		if (p < end && *p != ',') {
			if (sh_lex_param(&p, end, &name, &value) || (p < end && *p != ','))
				return -EINVAL;
			/* by its first letter: those of one length differ in it */
			while (i < n && (table[i].name.base[0] != sh_lower(name.base[0]) || !sh_slice_ieq(table[i].name, name)))
				i++;
			if (i < n) {
				if (values[i].base || value.len == 0 || (!table[i].quoted && strip_quotes(&value)))
					return -EINVAL;
				values[i] = value;
			}
		}
		if (p < end)
			p++;
	}
	for (size_t i = 0; i < n; i++)
		if (table[i].mandatory && !values[i].base)
			return -EINVAL;
	return 0;
}

/* "Digest" LWS parameters -> what stands behind it. Only folded text is copied. */
static int read_value(struct sh_arena *a, struct sh_slice value, const struct known_param *table, size_t n,
		      struct sh_slice *values)
{
	struct sh_slice text;
	int err;

	if (value.len > MAX_VALUE)
		return -E2BIG;
	if (sh_slice_find(value, '\0') >= 0)
		return -EINVAL;
	err = sh_msg_unfold(a, value, &text);
	if (err)
		return err;
	text = sh_lex_trim(text);
	if (text.len < 8 || !sh_slice_istarts(text, SH_LIT("Digest")) || !sh_lex_is(text.base[6], SH_LEX_LWS))
		return -EINVAL;
	return read_known(text.base + 7, text.base + text.len, table, n, values);
}

/* The normal form, in the arena. */
static int normalise(struct sh_arena *a, struct sh_slice value, const struct known_param *table, size_t n,
		     struct sh_slice *out)
{
	struct sh_slice values[CREDENTIALS_PARAMS];
	struct sh_writer w;
	size_t room;
	char *buf;
	int err = read_value(a, value, table, n, values);

	if (err)
		return err;
	/* Quotes and a separator each may be new, and a backslash before each octet. */
	room = 2 * value.len + 4 * n + 8 + sizeof(END_PARAM);
	buf = sh_arena_alloc(a, room);
	if (!buf)
		return -ENOMEM;
	sh_writer_init(&w, buf, room);
	sh_put_lit(&w, "Digest ");
	for (size_t i = 0; i < n; i++) {
		if (!values[i].base)
			continue;
		if (i > 0)
			sh_put_lit(&w, ", ");
		put_param(&w, &table[i], values[i]);
	}
	sh_put_lit(&w, END_PARAM);
	*out = sh_writer_text(&w);
	return w.full ? -EINVAL : 0;
}

/* The text of a parameter: without its quotes, escapes undone. */
static int text_of(struct sh_arena *a, struct sh_slice text, struct sh_slice *out)
{
	if (!is_quoted(text)) {
		*out = text.base ? text : SH_LIT("");
		return 0;
	}
	if (sh_slice_find(text, '\\') >= 0)
		return sh_unquote(a, text, out);
	*out = sh_slice_make(text.base + 1, text.len - 2);
	return 0;
}

/* "SHA-256-sess" */
static enum sh_digest_alg algorithm_of(struct sh_slice text, bool *session)
{
	const struct sh_slice suffix = SH_LIT("-sess");

	*session =
	    text.len > suffix.len && sh_slice_ieq(sh_slice_make(text.base + text.len - suffix.len, suffix.len), suffix);
	if (*session)
		text.len -= suffix.len;
	return text.len ? sh_digest_alg_lookup(text) : SH_DIGEST_MD5;
}

/* nc-value = 8LHEX */
static int count_of(struct sh_slice text, uint32_t *nc)
{
	uint32_t n = 0;

	if (text.len == 0) {
		*nc = 0;
		return 0;
	}
	if (text.len != 8)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		int digit = sh_lex_hex(text.base[i]);

		if (digit < 0)
			return -EINVAL;
		n = n << 4 | (uint32_t)digit;
	}
	*nc = n;
	return 0;
}

int sh_credentials_parse(struct sh_arena *a, struct sh_slice value, struct sh_credentials *out)
{
	struct sh_credentials c = {.nc = 0};
	struct sh_slice values[CREDENTIALS_PARAMS], algorithm;
	struct sh_slice *const texts[CREDENTIALS_PARAMS] = {
	    [USERNAME] = &c.username, [REALM] = &c.realm,	  [NONCE] = &c.nonce,	[URI] = &c.uri,
	    [RESPONSE] = &c.response, [ALGORITHM] = &algorithm, [CNONCE] = &c.cnonce, [OPAQUE] = &c.opaque,
	    [QOP] = &c.qop,	      [NC] = &c.nc_text,
	};
	int err = read_value(a, value, credentials_params, CREDENTIALS_PARAMS, values);

	for (size_t i = 0; i < CREDENTIALS_PARAMS && !err; i++)
		err = text_of(a, values[i], texts[i]);
	if (!err)
		err = count_of(c.nc_text, &c.nc);
	if (err)
		return err;
	if (!c.qop.len)
		c.nc = 0; /* nothing signs a count without qop: who raised it could replay the answer */
	/* RFC 7616 3.4: with qop these two must be there. */
	if (c.qop.len && (c.cnonce.len == 0 || c.nc_text.len == 0))
		return -EINVAL;
	c.alg = algorithm_of(algorithm, &c.session);
	*out = c;
	return 0;
}

int sh_challenge_parse(struct sh_arena *a, struct sh_slice value, struct sh_challenge *out)
{
	struct sh_challenge c = {.stale = false};
	struct sh_slice text, algorithm, stale;
	osip_www_authenticate_t *parsed;
	int err;

	err = normalise(a, value, challenge_params, COUNT(challenge_params), &text);
	if (!err)
		err = sh_osip_www_authenticate(a, text, &parsed);
	if (err)
		return err;
	/* libosip2 leaves them quoted. */
	const struct {
		const char *from;
		struct sh_slice *to;
	} texts[] = {
	    {parsed->realm, &c.realm},     {parsed->nonce, &c.nonce}, {parsed->opaque, &c.opaque},
	    {parsed->qop_options, &c.qop}, {parsed->stale, &stale},   {parsed->algorithm, &algorithm},
	};
	for (size_t i = 0; i < COUNT(texts) && !err; i++)
		err = text_of(a, sh_slice_cstr(texts[i].from ? texts[i].from : ""), texts[i].to);
	if (err)
		return err;
	c.stale = sh_slice_ieq(stale, SH_LIT("true"));
	c.alg = algorithm_of(algorithm, &c.session);
	*out = c;
	return 0;
}
