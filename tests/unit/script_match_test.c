/* Our matcher against the stock one: the same results and the same complaints over random patterns; and what stock Lua
 * takes minutes for ends at once. */
#include <lualib.h>

#include "core/random.h"
#include "script_helpers.h"

struct pair {
	struct world world;
	struct sh_vm *ours;
	lua_State *stock;
};

static void start(struct pair *p)
{
	struct sh_vm_config config = world_config(&p->world);

	p->ours = vm_with(&config);
	p->stock = luaL_newstate();
	luaL_openlibs(p->stock);
}

static void finish(struct pair *p)
{
	lua_close(p->stock);
	sh_vm_destroy(p->ours);
}

/* One call in both worlds, as text: every result, or the message. */
static const char render[] =
    "local name, s, p, a, b = ...\n"
    "local function show(ok, ...)\n"
    "  local t = {tostring(ok)}\n"
    "  for i = 1, select('#', ...) do local v = select(i, ...) t[#t + 1] = type(v) .. ':' .. tostring(v) end\n"
    "  return table.concat(t, '|') end\n"
    "if name == 'gmatch' then\n"
    "  local out = {}\n"
    "  local r = show(pcall(function() local n = 0 for x, y, z in string.gmatch(s, p, a) do n = n + 1\n"
    "    out[#out + 1] = tostring(x) .. ',' .. tostring(y) .. ',' .. tostring(z) if n > 50 then break end end end))\n"
    "  return r .. table.concat(out, ';') end\n"
    "if b == 'call' then\n"
    "  local seen = {}\n"
    "  return show(pcall(string.gsub, s, p, function(...) seen[#seen + 1] = select('#', ...)\n"
    "    local x = ... if #seen % 3 == 0 then return nil end return #seen % 2 == 0 and x or '<' .. tostring(x) .. '>' "
    "end, a))\n"
    "    .. table.concat(seen, ',') end\n"
    "if b == 'table' then return show(pcall(string.gsub, s, p, {a = 'A', b = 1, [1] = 'one', c = false, ['1'] = {}}, "
    "a)) end\n"
    "return show(pcall(string[name], s, p, a, b))";

struct question {
	const char *name;
	struct sh_slice subject, pattern, text; /* text: the replacement, or base NULL */
	lua_Integer number;
	bool has_number, last;
	const char *mode;
	size_t answer_len;
	char answer[4096];
};

static int ask(lua_State *L)
{
	struct question *q = lua_touserdata(L, 1);
	size_t len;
	const char *s;

	if (luaL_loadstring(L, render) != LUA_OK)
		return lua_error(L);
	lua_pushstring(L, q->name);
	lua_pushlstring(L, q->subject.base, q->subject.len);
	lua_pushlstring(L, q->pattern.base, q->pattern.len);
	if (q->text.base)
		lua_pushlstring(L, q->text.base, q->text.len);
	else if (q->has_number)
		lua_pushinteger(L, q->number);
	else
		lua_pushnil(L);
	if (q->mode)
		lua_pushstring(L, q->mode);
	else if (q->last)
		lua_pushboolean(L, true);
	else
		lua_pushnil(L);
	lua_call(L, 5, 1);
	s = lua_tolstring(L, -1, &len);
	if (len >= sizeof(q->answer))
		len = sizeof(q->answer) - 1;
	memcpy(q->answer, s, len);
	q->answer[len] = '\0';
	q->answer_len = len;
	return 0;
}

/* Both worlds answer; they must agree. */
static void compare(struct pair *p, struct question *q)
{
	struct question other = *q;

	if (sh_vm_call(p->ours, ask, q, 20000000))
		fail_msg("%s", p->ours->error.message);
	lua_pushcfunction(p->stock, ask);
	lua_pushlightuserdata(p->stock, &other);
	assert_int_equal(lua_pcall(p->stock, 1, 0, 0), LUA_OK);
	if (q->answer_len != other.answer_len || memcmp(q->answer, other.answer, q->answer_len) != 0)
		fail_msg("%s('%.*s', '%.*s', %lld '%.*s' %s):\n ours  %s\n stock %s", q->name, SH_FMT(q->subject),
			 SH_FMT(q->pattern), (long long)q->number, SH_FMT(q->text), q->mode ? q->mode : "", q->answer,
			 other.answer);
}

static size_t random_text(struct sh_random *r, char *out, size_t max, const char *const *pieces, size_t count)
{
	size_t n = 0, want = (size_t)sh_random_below(r, max / 4);

	for (size_t i = 0; i < want; i++) {
		const char *piece = pieces[sh_random_below(r, count)];
		size_t len = *piece ? strlen(piece) : 1; /* "" stands for NUL */

		if (n + len > max)
			break;
		memcpy(out + n, piece, len);
		n += len;
	}
	return n;
}

static const char *const subject_pieces[] = {"a", "b", "c", "aa",   "ab",   "(",  ")",   "((", "[", "]",
					     "%", ".", "1", "23",   " ",    "\n", "\t",  "-",  "^", "$",
					     "A", "Z", "_", "\xe9", "\xff", "",   "x=y", "<>", "\""};
static const char *const pattern_pieces[] = {
    "a",      "b",      "c",      ".",     ".",           "%a",     "%d",   "%s",    "%w",   "%x",   "%p",
    "%l",     "%u",     "%c",     "%g",    "%A",          "%D",     "%S",   "%W",    "%z",   "%Z",   "%X",
    "%P",     "%L",     "%U",     "%C",    "%G",          "*",      "+",    "-",     "?",    "*",    "+",
    "-",      "?",      "(",      ")",     "(",           ")",      "(a)",  "(.-)",  "()",   "()",   "^",
    "$",      "%",      "%%",     "%.",    "%(",          "%b()",   "%bab", "%b",    "%bxx", "%f",   "%f[a]",
    "%f[%w]", "%f[^a]", "%f[%z]", "%1",    "%2",          "%0",     "%9",   "[",     "]",    "[]",   "[^]",
    "[a]",    "[^a]",   "[a-c]",  "[%a]",  "[%w_]",       "[]]",    "[^]]", "[]-a]", "[a-]", "[-a]", "[a-%%]",
    "[%",     "[%]",    "[%]]",   "[^%s]", "[a-z0-9]",    "[%d-z]", "",     "\xe9",  "1",    " ",    "-",
    "=",      "<",      "e",      "\n",    "[\xe0-\xff]", "[^",     "[^^]", "[$]",   "a-",   "(a*)", "(b?)"};
static const char *const text_pieces[] = {"a", "b", "%0", "%1", "%2", "%%", "%", "%9", "-", "", "%a", " "};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void random_patterns_give_what_stock_lua_gives(void **state)
{
	static const char *const names[] = {"find", "match", "gmatch", "gsub", "gsub", "find"};
	struct sh_random r;
	struct pair p;
	(void)state;

	start(&p);
	sh_random_init_seed(&r, 20240607);
	for (unsigned i = 0; i < 60000; i++) {
		char subject[64], pattern[40], text[24];
		struct question q = {.name = names[sh_random_below(&r, COUNT(names))]};

		q.subject = sh_slice_make(
		    subject, random_text(&r, subject, sizeof(subject), subject_pieces, COUNT(subject_pieces)));
		q.pattern = sh_slice_make(
		    pattern, random_text(&r, pattern, sizeof(pattern), pattern_pieces, COUNT(pattern_pieces)));
		if (sh_random_below(&r, 3) == 0) {
			q.has_number = true;
			q.number = (lua_Integer)sh_random_below(&r, 80) - 40;
		}
		if (strcmp(q.name, "gsub") == 0) {
			switch (sh_random_below(&r, 4)) {
			case 0:
				q.mode = "call";
				break;
			case 1:
				q.mode = "table";
				break;
			default:
				q.text = sh_slice_make(
				    text, random_text(&r, text, sizeof(text), text_pieces, COUNT(text_pieces)));
			}
		} else if (strcmp(q.name, "find") == 0) {
			q.last = sh_random_below(&r, 8) == 0;
		}
		compare(&p, &q);
	}
	finish(&p);
}

static void chosen_patterns_give_what_stock_lua_gives(void **state)
{
	static const char *const questions[][3] = {
	    {"sip:bob@example.org;transport=tcp", "^(%a+):([^@]*)@([^;]+)", NULL},
	    {"\"Bob\" <sip:bob@x>;tag=1", "^%s*\"?(.-)\"?%s*<(.-)>", NULL},
	    {"THE (quick) fox", "%((%a+)%)", "<%1>"},
	    {"hello world from Lua", "(%w+)", "%1 %1"},
	    {"abc", "", "-"},
	    {"abc", "()", "%1"},
	    {"  trim  ", "^%s*(.-)%s*$", "%1"},
	    {"f(a(b)c)d)", "%b()", ""},
	    {"THE (quick) fox", "%f[%a]%a+%f[%A]", "w"},
	    {"=[[x]]=", "([=]*)%[%[(.-)%]%]%1", "%2"},
	    {"key = value", "^(%w+)%s*=%s*(%w+)$", "%2=%1"},
	    {"", "^$", "x"},
	    {"aaa", "^a", "b"},
	    {"a\nb", ".", "%0%0"},
	    {"x", "%", NULL},
	    {"x", "(()", NULL},
	    {"x", "())", NULL},
	    {"x", "[a", NULL},
	    {"x", "[]", NULL},
	    {"x", "%f", NULL},
	    {"x", "%b", NULL},
	    {"x", "%1", NULL},
	    {"x", "(%1)", NULL},
	    {"x", "x", "%"},
	    {"x", "x", "%2"},
	    {"x", "((((((((((((((((((((((((((((((((()))))))))))))))))))))))))))))))))", NULL},
	};
	static const char *const names[] = {"find", "match", "gmatch"};
	struct pair p;
	(void)state;

	start(&p);
	for (size_t i = 0; i < COUNT(questions); i++) {
		struct question q = {.name = "gsub",
				     .subject = sh_slice_cstr(questions[i][0]),
				     .pattern = sh_slice_cstr(questions[i][1])};

		if (questions[i][2]) {
			q.text = sh_slice_cstr(questions[i][2]);
			compare(&p, &q);
		}
		q.text = SH_LIT("");
		q.text.base = NULL;
		for (size_t k = 0; k < COUNT(names); k++) {
			q.name = names[k];
			compare(&p, &q);
		}
	}
	finish(&p);
}

static void classes_know_every_octet(void **state)
{
	static const char classes[] = "acdglpsuwxzACDGLPSUWXZ.[";
	struct pair p;
	(void)state;

	start(&p);
	for (size_t i = 0; i + 1 < sizeof(classes); i++) {
		char all[256], pattern[3] = {'%', classes[i], '\0'};
		struct question q = {
		    .name = "gsub", .subject = {all, 256}, .pattern = {pattern, 2}, .text = SH_LIT("")};

		for (int c = 0; c < 256; c++)
			all[c] = (char)(unsigned char)c;
		compare(&p, &q);
	}
	finish(&p);
}

static void costly_patterns_end_at_once(void **state)
{
	(void)state;
	/* 1.3 s, 25 s and for ever in stock Lua */
	script_fails("(' '):rep(1024):match('^%s*\"?(.-)\"?%s*<(.-)>')", -EINVAL, "pattern too costly");
	script_fails("('a'):rep(20000):match('(%w+)@(%w+)')", -EINVAL, "pattern too costly");
	script_fails("('a'):rep(30):match(('a?'):rep(30) .. ('a'):rep(30))", -EINVAL, "pattern too costly");
	script_fails("('a'):rep(5000):find('.-.-.-.-b')", -EINVAL, "pattern too costly");
	script_fails("('a'):rep(5000):gsub('a*a*a*b', '')", -EINVAL, "pattern too costly");
	script_fails("for x in ('a'):rep(5000):gmatch('a*a*a*b') do end", -EINVAL, "pattern too costly");
	script_fails("('('):rep(50000):find('%b()')", -EINVAL, "pattern too costly");
	script_fails("('a'):rep(300):find(('a?'):rep(300))", -EINVAL, "pattern too costly");
	script_fails("('a'):rep(20000):find('(a*)%1b')", -EINVAL, "pattern too costly");
	script_fails("while true do pcall(string.find, ('a'):rep(500), 'a*a*a*b') end", -ETIME, "ran too long");
}

static void honest_work_on_large_texts_is_done(void **state)
{
	(void)state;
	script_holds("local s = ('x=1\\r\\n'):rep(10000) local n = 0 for k, v in s:gmatch('(%w+)=(%w+)\\r\\n') do n = "
		     "n + 1 end\n"
		     "assert(n == 10000)");
	script_holds("local s = ('a'):rep(60000) .. 'b' assert(s:find('b') == 60001 and s:find('b$') == 60001)\n"
		     "assert(select(2, s:gsub('a', 'c')) == 60000 and s:match('^a+b$') and s:find('ab', 1, true))");
	script_holds("assert(('x'):rep(1000, ','):gsub(',', ';'):len() == 1999)");
	/* stock Lua scans for the plain text again and again: a^n b in a^m */
	script_holds("assert(not (('a'):rep(60000)):find(('a'):rep(30000) .. 'b', 1, true))");
}

static void arguments_are_checked_as_in_stock_lua(void **state)
{
	(void)state;
	script_fails("('x'):find()", -EINVAL, "bad argument #1 to 'find' (string expected, got no value)");
	script_fails("string.find()", -EINVAL, "bad argument #1 to 'find' (string expected, got no value)");
	script_fails("string.gsub('x', 'x')", -EINVAL, "string/function/table expected");
	script_fails("string.gsub('x', 'x', {x = {}})", -EINVAL, "invalid replacement value (a table)");
	script_holds("assert(string.match(123, '%d') == '1' and string.gsub(123, 2, 3) == '133')");
	script_holds("local f = ('abc'):gmatch('%a') local t = {f(), f(), f(), f()} assert(#t == 3)");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(chosen_patterns_give_what_stock_lua_gives),
	    cmocka_unit_test(classes_know_every_octet),
	    cmocka_unit_test(random_patterns_give_what_stock_lua_gives),
	    cmocka_unit_test(costly_patterns_end_at_once),
	    cmocka_unit_test(honest_work_on_large_texts_is_done),
	    cmocka_unit_test(arguments_are_checked_as_in_stock_lua),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
