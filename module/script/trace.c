/* What a script does, verb by verb, for tests and records: each C function that decides something is put behind one that
 * first tells its name, its arguments and the line that called it. Only states whose script has a trace are made so; methods
 * when they are first asked for (object.c). */
#include "script/impl.h"
#include "script/uri_object.h"

enum { ARGS_MAX = 200, TEXT_MAX = 48, ENTRIES_MAX = 6, DEPTH_MAX = 3, CALLER_MAX = 8 };

/* ------------------------------------------------------------------ arguments as text */

static void put_value(lua_State *L, int idx, struct sh_writer *w, int depth);

static void put_text(struct sh_writer *w, struct sh_slice s)
{
	bool cut = s.len > TEXT_MAX;

	sh_put_char(w, '"');
	for (size_t i = 0; i < (cut ? TEXT_MAX : s.len); i++) {
		unsigned char c = (unsigned char)s.base[i];

		if (c == '\r')
			continue;
		if (c == '"' || c == '\\')
			sh_put_char(w, '\\');
		if (c == '\n')
			sh_put_lit(w, "\\n");
		else
			sh_put_char(w, c < 0x20 ? '?' : (char)c);
	}
	if (cut)
		sh_put_lit(w, "...");
	sh_put_char(w, '"');
}

/* What call:fork and its like returned: {408 Request Timeout, no_answer}. */
static bool put_result(lua_State *L, int idx, struct sh_writer *w)
{
	struct sh_result_view v;

	if (!sh_result_test(L, idx, &v))
		return false;
	sh_put_char(w, '{');
	sh_put_uint(w, v.code);
	sh_put_char(w, ' ');
	sh_put(w, v.reason);
	lua_pushliteral(L, "cause");
	if (lua_rawget(L, idx) == LUA_TSTRING) {
		sh_put_lit(w, ", ");
		sh_put(w, sh_slice_make(lua_tostring(L, -1), lua_rawlen(L, -1)));
	}
	lua_pop(L, 1);
	sh_put_char(w, '}');
	return true;
}

/* Reads raw: no metamethod of the script runs. */
static void put_table(lua_State *L, int idx, struct sh_writer *w, int depth)
{
	lua_Integer items = (lua_Integer)lua_rawlen(L, idx), keys;
	unsigned shown = 0;

	if (depth == DEPTH_MAX || !lua_checkstack(L, 10)) {
		sh_put_lit(w, "{...}");
		return;
	}
	sh_put_char(w, '{');
	for (lua_Integer i = 1; i <= items && shown < ENTRIES_MAX; i++, shown++) {
		sh_put(w, shown ? SH_LIT(", ") : SH_LIT(""));
		lua_rawgeti(L, idx, i);
		put_value(L, lua_gettop(L), w, depth + 1);
		lua_pop(L, 1);
	}
	keys = sh_sandbox_keys(L, idx); /* in order, so that two runs show the same */
	for (lua_Integer i = 1; i <= keys; i++) {
		if (lua_rawgeti(L, -1, i) != LUA_TSTRING) {
			lua_pop(L, 1);
			continue;
		}
		if (shown++ == ENTRIES_MAX) {
			sh_put_lit(w, ", ...");
			lua_pop(L, 1);
			break;
		}
		sh_put(w, shown > 1 ? SH_LIT(", ") : SH_LIT(""));
		sh_put(w, sh_slice_make(lua_tostring(L, -1), lua_rawlen(L, -1)));
		sh_put_lit(w, " = ");
		lua_rawget(L, idx);
		put_value(L, lua_gettop(L), w, depth + 1);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	sh_put_char(w, '}');
}

static void put_value(lua_State *L, int idx, struct sh_writer *w, int depth)
{
	char number[40];
	struct sh_slice s;

	switch (lua_type(L, idx)) {
	case LUA_TSTRING:
		s.base = lua_tolstring(L, idx, &s.len);
		put_text(w, s);
		break;
	case LUA_TNUMBER:
		if (lua_isinteger(L, idx))
			snprintf(number, sizeof(number), "%lld", (long long)lua_tointeger(L, idx));
		else
			snprintf(number, sizeof(number), "%.6g", lua_tonumber(L, idx));
		sh_put(w, sh_slice_cstr(number));
		break;
	case LUA_TBOOLEAN:
		sh_put(w, lua_toboolean(L, idx) ? SH_LIT("true") : SH_LIT("false"));
		break;
	case LUA_TTABLE:
		if (!put_result(L, idx, w))
			put_table(L, idx, w, depth);
		break;
	case LUA_TUSERDATA:
		if (sh_uri_object_text(L, idx, &s))
			sh_put(w, s);
		else if (luaL_getmetafield(L, idx, "__name") == LUA_TSTRING) {
			s.base = lua_tolstring(L, -1, &s.len);
			sh_put(w, sh_slice_starts(s, SH_LIT("siphook.")) ? sh_slice_make(s.base + 8, s.len - 8) : s);
			lua_pop(L, 1);
		} else
			sh_put_lit(w, "?");
		break;
	default:
		sh_put(w, sh_slice_cstr(luaL_typename(L, idx)));
	}
}

/* ------------------------------------------------------------------ telling */

/* The nearest function in Lua: the wrapper itself and library functions have no line. */
static void find_caller(lua_State *L, lua_Debug *ar)
{
	for (int level = 1; level < CALLER_MAX && lua_getstack(L, level, ar); level++)
		if (lua_getinfo(L, "Sl", ar) && ar->currentline > 0)
			return;
	ar->currentline = 0;
	ar->short_src[0] = '\0';
}

static void tell(lua_State *L, struct sh_slice verb, int first)
{
	struct sh_state *s = sh_state_of(L);
	const struct sh_script_config *c = &s->generation->script->config;
	const struct sh_coroutine *co = sh_vm_current(L);
	const struct sh_run *run = co ? co->user : NULL;
	struct sh_call *call = run && s->runtime ? sh_ua_call(s->runtime->ua, run->call) : NULL;
	char buf[ARGS_MAX];
	struct sh_writer w;
	struct sh_trace t = {.verb = verb};
	int top = lua_gettop(L);
	lua_Debug ar;

	sh_writer_init(&w, buf, sizeof(buf));
	for (int i = first; i <= top && !w.full; i++) {
		sh_put(&w, i > first ? SH_LIT(", ") : SH_LIT(""));
		put_value(L, i, &w, 0);
	}
	if (w.full) {
		w.len = sizeof(buf) - 3;
		w.full = false;
		sh_put_lit(&w, "...");
	}
	find_caller(L, &ar);
	t.at = s->runtime ? s->runtime->env->now : c->world.now(c->world.ctx);
	t.args = sh_writer_text(&w);
	t.file = sh_slice_cstr(ar.short_src);
	t.line = ar.currentline;
	if (call)
		t.call = sh_call_id(call);
	c->trace(c->trace_ctx, &t);
}

/* Upvalues: the function, its name, the first argument that is told. The function runs in this frame: it may wait. */
static int traced(lua_State *L)
{
	struct sh_slice verb;

	verb.base = lua_tolstring(L, lua_upvalueindex(2), &verb.len);
	tell(L, verb, (int)lua_tointeger(L, lua_upvalueindex(3)));
	return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* Replaces the C function on top; one with upvalues of its own, or something else, stays. */
static void wrap(lua_State *L, const char *verb, int first)
{
	bool waits;

	if (!lua_iscfunction(L, -1))
		return;
	if (lua_getupvalue(L, -1, 1)) {
		lua_pop(L, 1);
		return;
	}
	waits = sh_waits(L, -1);
	lua_pushstring(L, verb);
	lua_pushinteger(L, first);
	lua_pushcclosure(L, traced, 3);
	if (waits)
		sh_waits_declare(L);
}

void sh_trace_method(lua_State *L, const char *object, const char *name)
{
	char verb[64];

	snprintf(verb, sizeof(verb), "%s:%s", object, name);
	if (strcmp(name, "headers") != 0)
		wrap(L, verb, 2);
}

static void wrap_function(lua_State *L, const char *table, const char *name)
{
	char verb[64];

	snprintf(verb, sizeof(verb), "%s.%s", table, name);
	lua_pushstring(L, name);
	if (lua_rawget(L, -2) == LUA_TFUNCTION) {
		wrap(L, verb, 1);
		lua_pushstring(L, name);
		lua_insert(L, -2);
		lua_rawset(L, -3);
	} else {
		lua_pop(L, 1);
	}
}

void sh_trace_open(lua_State *L)
{
	static const char *const functions[] = {"lookup", "unbind", "request", "originate", "notify"};
	static const char *const web[] = {"get", "post", "request"};

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		wrap_function(L, "sip", functions[i]);
	lua_pushliteral(L, "http");
	if (lua_rawget(L, -2) == LUA_TTABLE)
		for (size_t i = 0; i < sizeof(web) / sizeof(web[0]); i++)
			wrap_function(L, "sip.http", web[i]);
	lua_pop(L, 1);
}
