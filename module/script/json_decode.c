/* sip.json.decode: text becomes Lua values at once, with no tree between, so that what it takes is the script's own memory. It goes
 * token by token and keeps its place on the heap: a hook that reads a long text lets others run in between, like any other. */
#include "core/encode.h"
#include "script/impl.h"
#include "script/json_impl.h"

enum {
	STEPS_PER_TOKEN = 5,
	BYTES_PER_STEP = 8,
	NUMBER_MAX = 128, /* characters */
	/* of the stack: */
	TEXT = 1,
	DECODER = 2,
};

/* Tables that are open stand on the stack above it, each of an object with the key whose value comes next. */
struct decoder {
	const char *begin, *at, *end;
	enum { VALUE, FIRST_VALUE, KEY, FIRST_KEY, NEXT, DONE } expect; /* FIRST_: or the end of the table */
	unsigned depth;
	lua_Integer count[SH_JSON_DEPTH]; /* entries of a list so far; -1: an object */
	const char *wrong;
};

static void skip_blanks(lua_State *L, struct decoder *d)
{
	const char *from = d->at;

	while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\t' || *d->at == '\r'))
		d->at++;
	sh_vm_charge(L, (uint64_t)(d->at - from) / BYTES_PER_STEP);
}

/* RFC 8259 7: pushes the string that begins at the quote. False: wrong says why. */
static bool push_string(lua_State *L, struct decoder *d)
{
	const char *from = d->at + 1, *p = from;
	bool escaped = false;
	struct sh_slice raw;
	luaL_Buffer b;
	ssize_t n;

	for (; p < d->end && *p != '"'; p++) {
		if ((unsigned char)*p < ' ') {
			d->at = p;
			d->wrong = "control character in a string";
			return false;
		}
		if (*p == '\\') {
			escaped = true;
			p++;
		}
	}
	if (p >= d->end) {
		d->at = d->end;
		d->wrong = "the string does not end";
		return false;
	}
	raw = sh_slice_make(from, (size_t)(p - from));
	sh_vm_charge(L, raw.len / BYTES_PER_STEP);
	if (!sh_slice_is_utf8(raw)) {
		d->wrong = "the string is no UTF-8";
		return false;
	}
	d->at = p + 1;
	if (!escaped) {
		lua_pushlstring(L, raw.base, raw.len);
		return true;
	}
	n = sh_json_unescape(raw, luaL_buffinitsize(L, &b, raw.len));
	if (n < 0) {
		d->at = from - 1;
		d->wrong = "bad escape in the string";
		return false;
	}
	luaL_pushresultsize(&b, (size_t)n);
	return true;
}

static const char *skip_digits(const char *p, const char *end)
{
	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p;
}

/* RFC 8259 6. What has neither fraction nor exponent is an integer, and must be one of 64 bits. */
static bool push_number(lua_State *L, struct decoder *d)
{
	const char *from = d->at, *p = from + (*from == '-'), *digits = p;
	bool integer = true;
	char text[NUMBER_MAX + 1];

	d->wrong = "bad number";
	p = skip_digits(p, d->end);
	if (p == digits || (*digits == '0' && p > digits + 1))
		return false;
	if (p < d->end && *p == '.') {
		integer = false;
		digits = ++p;
		p = skip_digits(p, d->end);
		if (p == digits)
			return false;
	}
	if (p < d->end && (*p | 0x20) == 'e') {
		integer = false;
		p++;
		p += p < d->end && (*p == '+' || *p == '-');
		digits = p;
		p = skip_digits(p, d->end);
		if (p == digits)
			return false;
	}
	if (p - from > NUMBER_MAX) {
		d->wrong = "the number is too long";
		return false;
	}
	memcpy(text, from, (size_t)(p - from));
	text[p - from] = '\0';
	if (!lua_stringtonumber(L, text)) /* whatever the host's locale */
		return false;
	if (integer != lua_isinteger(L, -1) || lua_tonumber(L, -1) - lua_tonumber(L, -1) != 0) {
		d->wrong = "the number is too large";
		return false;
	}
	d->at = p;
	return true;
}

static bool skip_word(struct decoder *d, struct sh_slice word)
{
	if ((size_t)(d->end - d->at) < word.len || memcmp(d->at, word.base, word.len) != 0)
		return false;
	d->at += word.len;
	return true;
}

/* The value on top is complete: it goes where it belongs. */
static void put(lua_State *L, struct decoder *d)
{
	lua_Integer *count = d->depth ? &d->count[d->depth - 1] : NULL;

	d->expect = count ? NEXT : DONE;
	if (!count)
		return;
	if (*count < 0) {
		if (lua_touserdata(L, -1) == &sh_json_null && lua_islightuserdata(L, -1)) {
			lua_pop(L, 1);
			lua_pushnil(L);
		}
		lua_rawset(L, -3);
	} else {
		lua_rawseti(L, -2, ++*count);
	}
}

static bool open_table(lua_State *L, struct decoder *d, bool list)
{
	if (d->depth == SH_JSON_DEPTH) {
		d->wrong = "too deep";
		return false;
	}
	d->at++;
	lua_newtable(L);
	d->count[d->depth++] = list ? 0 : -1;
	d->expect = list ? FIRST_VALUE : FIRST_KEY;
	return true;
}

static void close_table(lua_State *L, struct decoder *d)
{
	d->at++;
	d->depth--;
	put(L, d);
}

static bool read_value(lua_State *L, struct decoder *d)
{
	switch (*d->at) {
	case '{':
	case '[':
		return open_table(L, d, *d->at == '[');
	case '"':
		if (!push_string(L, d))
			return false;
		break;
	case 't':
	case 'f':
		lua_pushboolean(L, *d->at == 't');
		if (!skip_word(d, *d->at == 't' ? SH_LIT("true") : SH_LIT("false")))
			return false;
		break;
	case 'n':
		lua_pushlightuserdata(L, (void *)&sh_json_null);
		if (!skip_word(d, SH_LIT("null")))
			return false;
		break;
	default:
		if (*d->at != '-' && (*d->at < '0' || *d->at > '9'))
			return false;
		if (!push_number(L, d))
			return false;
	}
	put(L, d);
	return true;
}

static bool read_key(lua_State *L, struct decoder *d)
{
	if (*d->at != '"' || !push_string(L, d))
		return false;
	skip_blanks(L, d);
	if (d->at == d->end || *d->at != ':')
		return false;
	d->at++;
	d->expect = VALUE;
	return true;
}

/* One token; there is one. */
static bool read_token(lua_State *L, struct decoder *d)
{
	bool list = d->depth && d->count[d->depth - 1] >= 0;
	char end = list ? ']' : '}';

	d->wrong = "unexpected here";
	switch (d->expect) {
	case FIRST_VALUE:
	case FIRST_KEY:
		if (*d->at == end) {
			close_table(L, d);
			return true;
		}
		return list ? read_value(L, d) : read_key(L, d);
	case VALUE:
		return read_value(L, d);
	case KEY:
		return read_key(L, d);
	case NEXT:
		if (*d->at == end) {
			close_table(L, d);
		} else if (*d->at == ',') {
			d->at++;
			d->expect = list ? VALUE : KEY;
		} else {
			return false;
		}
		return true;
	default:
		return false;
	}
}

static int refuse(lua_State *L, const struct decoder *d)
{
	int line = 1, column = 1;

	for (const char *p = d->begin; p < d->at; p++) {
		column = *p == '\n' ? 1 : column + 1;
		line += *p == '\n';
	}
	lua_pushnil(L);
	lua_pushliteral(L, "invalid");
	lua_pushfstring(L, "line %d, column %d: %s", line, column, d->at == d->end ? "the text ends too early" : d->wrong);
	return 3;
}

static int go_on(lua_State *L, int status, lua_KContext ctx)
{
	struct decoder *d = lua_touserdata(L, DECODER);

	(void)status;
	(void)ctx;
	for (;;) {
		skip_blanks(L, d);
		sh_vm_charge(L, STEPS_PER_TOKEN);
		if (d->at == d->end)
			return d->expect == DONE ? 1 : refuse(L, d);
		if (!read_token(L, d))
			return refuse(L, d);
		if (sh_vm_pause_due(L))
			return sh_vm_pause(L, 0, go_on);
	}
}

/* sip.json.decode(text) */
int sh_json_decode(lua_State *L)
{
	struct sh_slice text = sh_sandbox_check_text(L, TEXT);
	lua_Integer longest = lua_tointeger(L, lua_upvalueindex(1));
	struct decoder *d;

	if (text.len > (size_t)longest) {
		lua_pushnil(L);
		lua_pushliteral(L, "size");
		lua_pushfstring(L, "more than %I bytes", (LUAI_UACINT)longest);
		return 3;
	}
	lua_settop(L, TEXT);
	d = lua_newuserdatauv(L, sizeof(*d), 0);
	*d = (struct decoder){.begin = text.base, .at = text.base, .end = text.base + text.len};
	luaL_checkstack(L, 2 * SH_JSON_DEPTH + LUA_MINSTACK, "JSON");
	return go_on(L, LUA_OK, 0);
}
