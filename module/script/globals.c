/* Reads what lua_dump() writes: the format of Lua 5.4 (lundump.h, lopcodes.h), whose header says so. What is not
 * understood is not judged. */
#include "script/globals.h"

#include <lauxlib.h>
#include <string.h>

/* ---- the dump as a stream ---- */

struct dump {
	struct sh_arena *arena; /* of the dump itself */
	char *base;
	size_t len, room, at;
	bool bad;
};

static int write_dump(lua_State *L, const void *p, size_t n, void *ud)
{
	struct dump *d = ud;

	(void)L;
	if (d->len + n > d->room) {
		size_t room = (d->len + n) * 2;
		char *base = sh_arena_alloc(d->arena, room);

		if (!base) {
			d->bad = true;
			return 1;
		}
		if (d->len)
			memcpy(base, d->base, d->len);
		d->base = base;
		d->room = room;
	}
	memcpy(d->base + d->len, p, n);
	d->len += n;
	return 0;
}

static const unsigned char *take(struct dump *d, size_t n)
{
	const char *p = d->base + d->at;

	if (d->bad || n > d->len - d->at) {
		d->bad = true;
		return (const unsigned char *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
	}
	d->at += n;
	return (const unsigned char *)p;
}

static unsigned take_byte(struct dump *d)
{
	return *take(d, 1);
}

/* Seven bits a byte, the last one marked. */
static size_t take_size(struct dump *d)
{
	size_t n = 0;

	for (int i = 0; i < 10 && !d->bad; i++) {
		unsigned b = take_byte(d);

		n = n << 7 | (b & 0x7f);
		if (b & 0x80)
			return n;
	}
	d->bad = true;
	return 0;
}

/* Its length plus one, then its bytes; 0: no string. */
static struct sh_slice take_string(struct dump *d)
{
	size_t n = take_size(d);
	const char *p = d->base + d->at;

	if (!n)
		return (struct sh_slice){0};
	if (--n > d->len - d->at) {
		d->bad = true;
		return (struct sh_slice){0};
	}
	d->at += n;
	return sh_slice_make(p, n);
}

/* ---- one function ---- */

enum {
	OP_LOADK = 3,
	OP_GETUPVAL = 9,
	OP_GETTABUP = 11,
	OP_GETTABLE = 12,
	OP_GETFIELD = 14,
	OP_SETTABUP = 15,
	OP_SELF = 20,
	OP_NOT = 51,
	OP_EQK = 60,
	OP_TEST = 66,
	OP_TESTSET = 67,
	OP_CALL = 68,
	OP_TAILCALL = 69
};
enum { ARGUMENTS_MAX = 32 }; /* instructions between a function and its call that are looked at */

/* Types of constants. */
enum {
	K_NIL = 0,
	K_FALSE = 1,
	K_TRUE = 17,
	K_INTEGER = 3,
	K_FLOAT = 19,
	K_SHORT = 4,
	K_LONG = 20
};

/* Fields of an instruction: opcode 7 bits, A 8, k 1, B 8, C 8; Bx is k, B and C. */
static unsigned op(uint32_t i)
{
	return i & 0x7f;
}
static unsigned a(uint32_t i)
{
	return i >> 7 & 0xff;
}
static unsigned b(uint32_t i)
{
	return i >> 16 & 0xff;
}
static unsigned c(uint32_t i)
{
	return i >> 24;
}
static unsigned bx(uint32_t i)
{
	return i >> 15;
}

struct function {
	const uint32_t *code;
	size_t ncode, nconstants, nupvalues;
	struct sh_slice *constants; /* the strings among them */
	bool *env;                  /* upvalues named _ENV, */
	bool *sip;                  /* and sip */
	int *lines;                 /* of each instruction; 0: not known */
	struct sh_slice source;
};

static void *arena_array(struct dump *d, size_t n, size_t size)
{
	void *p = n > d->len ? NULL : sh_arena_calloc(d->arena, n + 1, size); /* each takes a byte at least */

	if (!p)
		d->bad = true;
	return p;
}

static void note(struct sh_globals *g, const struct function *f, size_t pc, size_t constant,
		 enum sh_globals_how how)
{
	struct sh_globals_use *u;
	struct sh_slice name, chunk;

	if (constant >= f->nconstants || !f->constants[constant].base)
		return;
	u = sh_arena_calloc(&g->arena, 1, sizeof(*u));
	if (!u || sh_arena_printf(&g->arena, &name, "%.*s", SH_FMT(f->constants[constant])) < 0 ||
	    sh_arena_printf(&g->arena, &chunk, "%.*s", SH_FMT(f->source)) < 0) {
		g->failed = true;
		return;
	}
	u->name = name.base;
	u->chunk = chunk.base;
	u->line = f->lines[pc];
	u->how = how;
	*g->last = u;
	g->last = &u->next;
}

/* `if name then`, `name or other`, `not name`, `name == nil`: the value in the register is only tested. */
static bool only_tested(const struct function *f, size_t pc, unsigned reg)
{
	uint32_t next;

	if (pc + 1 >= f->ncode)
		return false;
	next = f->code[pc + 1];
	switch (op(next)) {
	case OP_TEST:
		return a(next) == reg;
	case OP_TESTSET:
	case OP_NOT:
		return b(next) == reg;
	case OP_EQK: /* with something that is no string */
		return a(next) == reg && b(next) < f->nconstants && !f->constants[b(next)].base;
	default:
		return false;
	}
}

static enum sh_globals_how how(const struct function *f, size_t pc, unsigned reg)
{
	return only_tested(f, pc, reg) ? SH_GLOBALS_ASKED : SH_GLOBALS_READ;
}

/* A function with more than 256 constants: _ENV goes to a register first, the name too. */
static void look_behind(struct sh_globals *g, const struct function *f, size_t pc)
{
	unsigned env = a(f->code[pc]), key = 0;
	size_t constant = SIZE_MAX;

	for (size_t k = pc + 1; k < f->ncode && k <= pc + 3; k++) {
		uint32_t i = f->code[k];

		if (op(i) == OP_LOADK) {
			key = a(i);
			constant = bx(i);
		} else if (op(i) == OP_GETFIELD && b(i) == env) {
			note(g, f, k, c(i), how(f, k, a(i)));
			return;
		} else if (op(i) == OP_GETTABLE && b(i) == env && c(i) == key && constant != SIZE_MAX) {
			note(g, f, k, constant, how(f, k, a(i)));
			return;
		}
	}
}

static bool constant_is(const struct function *f, size_t constant, const char *text)
{
	return constant < f->nconstants && f->constants[constant].base && sh_slice_eq(f->constants[constant], sh_slice_cstr(text));
}

/* sip.after(s, "name"), call:after(s, "name"), call:continue("name"): the name, where it is written there. */
static void look_for_timer(struct sh_globals *g, const struct function *f, size_t pc)
{
	uint32_t i = f->code[pc];
	bool self = op(i) == OP_SELF && (i >> 15 & 1), sip = op(i) == OP_GETTABUP && b(i) < f->nupvalues && f->sip[b(i)];
	unsigned fn = a(i), at;
	size_t name = SIZE_MAX;

	if (self && constant_is(f, c(i), "continue"))
		at = fn + 2;
	else if ((self || sip) && constant_is(f, c(i), "after"))
		at = self ? fn + 3 : fn + 2;
	else
		return;
	for (size_t k = pc + 1; k < f->ncode && k < pc + ARGUMENTS_MAX; k++) {
		i = f->code[k];
		if ((op(i) == OP_CALL || op(i) == OP_TAILCALL) && a(i) == fn) {
			if (name != SIZE_MAX)
				note(g, f, k, name, SH_GLOBALS_TIMER);
			return;
		}
		if (a(i) == at)
			name = op(i) == OP_LOADK ? bx(i) : SIZE_MAX;
	}
}

static void scan(struct sh_globals *g, const struct function *f)
{
	for (size_t pc = 0; pc < f->ncode; pc++) {
		uint32_t i = f->code[pc];

		look_for_timer(g, f, pc);
		if (op(i) == OP_GETTABUP && b(i) < f->nupvalues && f->env[b(i)]) {
			note(g, f, pc, c(i), how(f, pc, a(i)));
		} else if (op(i) == OP_SETTABUP && a(i) < f->nupvalues && f->env[a(i)]) {
			note(g, f, pc, b(i), SH_GLOBALS_SET);
		} else if (op(i) == OP_GETUPVAL && b(i) < f->nupvalues && f->env[b(i)]) {
			look_behind(g, f, pc);
		}
	}
}

static void take_constants(struct dump *d, struct function *f)
{
	f->nconstants = take_size(d);
	f->constants = arena_array(d, f->nconstants, sizeof(*f->constants));
	for (size_t i = 0; i < f->nconstants && !d->bad; i++) {
		switch (take_byte(d)) {
		case K_NIL:
		case K_FALSE:
		case K_TRUE:
			break;
		case K_INTEGER:
		case K_FLOAT:
			take(d, 8);
			break;
		case K_SHORT:
		case K_LONG:
			f->constants[i] = take_string(d);
			break;
		default:
			d->bad = true;
		}
	}
}

/* Line numbers: a signed step per instruction; -128: look at the list of absolute ones. */
static void take_lines(struct dump *d, struct function *f, int defined)
{
	size_t n = take_size(d), nabsolute;
	const signed char *steps = (const signed char *)d->base + d->at;
	int line = defined;
	bool known = true;

	f->lines = arena_array(d, f->ncode, sizeof(*f->lines));
	if (d->bad || n > d->len - d->at) {
		d->bad = true;
		return;
	}
	d->at += n;
	for (size_t i = 0; i < n && i < f->ncode; i++) {
		known = known && steps[i] != -128;
		line += known ? steps[i] : 0;
		f->lines[i] = known ? line : 0;
	}
	nabsolute = take_size(d);
	for (size_t i = 0; i < nabsolute && !d->bad; i++) {
		size_t at = take_size(d);

		line = (int)take_size(d);
		for (size_t k = at; k < f->ncode && k < n && (k == at || steps[k] != -128); k++) {
			line += k > at ? steps[k] : 0;
			f->lines[k] = line;
		}
	}
}

static void take_function(struct dump *d, struct sh_globals *g, struct sh_slice parent)
{
	struct function f = {.source = take_string(d)};
	int defined;
	size_t n;

	if (!f.source.base)
		f.source = parent;
	defined = (int)take_size(d);
	take_size(d);
	take(d, 3); /* parameters, is_vararg, stack */
	f.ncode = take_size(d);
	if (f.ncode > d->len / 4) {
		d->bad = true;
		return;
	}
	f.code = sh_arena_alloc(d->arena, f.ncode * 4 + 4);
	if (!f.code || f.ncode * 4 > d->len - d->at) {
		d->bad = true;
		return;
	}
	memcpy((void *)f.code, d->base + d->at, f.ncode * 4);
	d->at += f.ncode * 4;
	take_constants(d, &f);
	f.nupvalues = take_size(d);
	f.env = arena_array(d, f.nupvalues, sizeof(*f.env));
	f.sip = arena_array(d, f.nupvalues, sizeof(*f.sip));
	for (size_t i = 0; i < f.nupvalues && !d->bad; i++)
		take(d, 3);
	n = take_size(d);
	for (size_t i = 0; i < n && !d->bad; i++)
		take_function(d, g, f.source);
	take_lines(d, &f, defined);
	n = take_size(d);
	for (size_t i = 0; i < n && !d->bad; i++) {
		take_string(d);
		take_size(d);
		take_size(d);
	}
	n = take_size(d);
	for (size_t i = 0; i < n && !d->bad; i++) {
		struct sh_slice name = take_string(d);

		if (i < f.nupvalues) {
			f.env[i] = sh_slice_eq(name, SH_LIT("_ENV"));
			f.sip[i] = sh_slice_eq(name, SH_LIT("sip"));
		}
	}
	if (!d->bad)
		scan(g, &f);
}

void sh_globals_note(struct sh_globals *g, lua_State *L)
{
	static const char header[] = "\x1bLua\x54\0\x19\x93\r\n\x1a\n\x04\x08\x08"; /* lundump.c, 5.4 with usual sizes */
	struct sh_arena arena;
	struct dump d = {.arena = &arena};

	sh_arena_init(&arena, 16384);
	if (lua_dump(L, write_dump, &d, 0) == 0 && !d.bad && d.len > sizeof(header) - 1 + 17 &&
	    memcmp(d.base, header, sizeof(header) - 1) == 0) {
		d.at = sizeof(header) - 1 + 16; /* an integer and a number, to see the byte order */
		take_byte(&d);                  /* number of upvalues */
		take_function(&d, g, (struct sh_slice){0});
	}
	sh_arena_finish(&arena);
}

void sh_globals_init(struct sh_globals *g)
{
	sh_arena_init(&g->arena, 4096);
	g->first = NULL;
	g->last = &g->first;
	g->failed = false;
}

void sh_globals_finish(struct sh_globals *g)
{
	sh_arena_finish(&g->arena);
	sh_globals_init(g);
}

/* Pushes {name = true} of all that are asked for. */
static void push_asked(const struct sh_globals *g, lua_State *L)
{
	lua_newtable(L);
	for (const struct sh_globals_use *u = g->first; u; u = u->next) {
		if (u->how != SH_GLOBALS_ASKED)
			continue;
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, u->name);
	}
}

static bool wrong(lua_State *L, int globals, int asked, const struct sh_globals_use *u)
{
	bool fine = u->how != SH_GLOBALS_READ;

	if (!fine) {
		fine = lua_getfield(L, asked, u->name) != LUA_TNIL;
		lua_pop(L, 1);
	}
	if (!fine) {
		lua_pushstring(L, u->name);
		fine = lua_rawget(L, globals) != LUA_TNIL;
		lua_pop(L, 1);
	}
	return !fine;
}

void sh_globals_check(const struct sh_globals *g, lua_State *L)
{
	const struct sh_globals_use *first = NULL;
	const char *chunk;
	int globals, asked;

	if (g->failed)
		return;
	lua_pushglobaltable(L);
	globals = lua_gettop(L);
	push_asked(g, L);
	asked = lua_gettop(L);
	for (const struct sh_globals_use *u = g->first; u; u = u->next) {
		/* functions come after those inside them: the first line of the file is wanted */
		if (first && (strcmp(u->chunk, first->chunk) != 0 || u->line >= first->line))
			continue;
		if (wrong(L, globals, asked, u))
			first = u;
	}
	lua_settop(L, globals - 1);
	if (!first)
		return;
	chunk = *first->chunk == '@' || *first->chunk == '=' ? first->chunk + 1 : first->chunk;
	luaL_error(L, "%s:%d: global '%s' is not defined", chunk, first->line, first->name);
}
