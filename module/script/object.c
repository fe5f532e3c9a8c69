/* The objects of hooks: userdata with a handle, never a pointer; what has ended answers nil, "gone". A class finds
 * methods and fields in one table: a function is a method, a number is a field. */
#include "script/impl.h"
#include "script/uri_object.h"

static const char *const verb_names[] = {"call", "req", "leg", "ref", "sub"};
static const char *const class_names[] = {"siphook.call", "siphook.request", "siphook.leg", "siphook.refer", "siphook.sub"};

void sh_object_push(lua_State *L, enum sh_object_kind kind, uint64_t handle)
{
	struct sh_object *o = lua_newuserdatauv(L, sizeof(*o), kind == SH_OBJECT_LEG); /* where a leg led, once it has gone */

	*o = (struct sh_object){kind, handle, 0};
	lua_rawgeti(L, LUA_REGISTRYINDEX, sh_state_of(L)->classes[kind].ref);
	lua_setmetatable(L, -2);
}

/* By address: a look-up by the name of the class costs as much as most verbs. */
static struct sh_object *test(lua_State *L, int idx, unsigned kinds)
{
	const struct sh_state *s = sh_state_of(L);
	struct sh_object *o = lua_touserdata(L, idx);
	const void *class;

	if (!o || !lua_getmetatable(L, idx))
		return NULL;
	class = lua_topointer(L, -1);
	lua_pop(L, 1);
	for (unsigned kind = 0; kind < SH_OBJECT_KINDS; kind++)
		if ((kinds >> kind & 1) && class == s->classes[kind].pointer)
			return o;
	return NULL;
}

struct sh_object *sh_object_test(lua_State *L, int idx, enum sh_object_kind kind)
{
	return test(L, idx, 1U << kind);
}

struct sh_object *sh_object_check(lua_State *L, int idx, enum sh_object_kind kind)
{
	struct sh_object *o;

	sh_torture_collect(L);
	o = sh_object_test(L, idx, kind);
	return o ? o : sh_self_check(L, idx, class_names[kind], verb_names[kind]); /* raises */
}

void *sh_self_check(lua_State *L, int idx, const char *class, const char *owner)
{
	void *object = luaL_testudata(L, idx, class);
	const char *got, *hint = "";
	lua_Debug ar;

	if (object)
		return object;
	if (idx == 1 && lua_getstack(L, 0, &ar) && lua_getinfo(L, "n", &ar) && ar.name && strcmp(ar.namewhat, "method") != 0)
		hint = lua_pushfstring(L, "; write %s:%s(...), with a colon", owner, ar.name);
	got = luaL_getmetafield(L, idx, "__name") == LUA_TSTRING ? lua_tostring(L, -1) : luaL_typename(L, idx);
	luaL_argerror(L, idx, lua_pushfstring(L, "%s expected, got %s%s", class, got, hint));
	return NULL;
}

/* Upvalues: the table of names, the field function, the function for other names. */
static int index_object(lua_State *L)
{
	int (*field)(lua_State *, int) = *(int (**)(lua_State *, int))lua_touserdata(L, lua_upvalueindex(2));

	lua_pushvalue(L, 2);
	switch (lua_rawget(L, lua_upvalueindex(1))) {
	case LUA_TFUNCTION:
		return 1;
	case LUA_TNUMBER:
		return field(L, (int)lua_tointeger(L, -1));
	default:
		if (!lua_tocfunction(L, lua_upvalueindex(3)) || lua_type(L, 2) != LUA_TSTRING) {
			lua_pushnil(L);
			return 1;
		}
		return lua_tocfunction(L, lua_upvalueindex(3))(L);
	}
}

/* The same where what scripts do is told: methods come behind one that tells. Upvalue 4: those that have been asked for. */
static int index_traced(lua_State *L)
{
	const struct sh_object *o = lua_touserdata(L, 1);
	int n;

	lua_pushvalue(L, 2);
	if (lua_rawget(L, lua_upvalueindex(4)) == LUA_TFUNCTION)
		return 1;
	lua_pop(L, 1);
	n = index_object(L);
	if (n != 1 || !lua_iscfunction(L, -1) || lua_type(L, 2) != LUA_TSTRING)
		return n;
	sh_trace_method(L, verb_names[o->kind], lua_tostring(L, 2));
	lua_pushvalue(L, 2);
	lua_pushvalue(L, -2);
	lua_rawset(L, lua_upvalueindex(4));
	return 1;
}

static int equal_objects(lua_State *L)
{
	const struct sh_object *a = lua_touserdata(L, 1), *b = lua_touserdata(L, 2);

	lua_pushboolean(L, a && b && lua_rawlen(L, 1) == sizeof(*a) && lua_rawlen(L, 2) == sizeof(*b) &&
			       a->kind == b->kind && a->handle == b->handle);
	return 1;
}

static int refuse_assignment(lua_State *L)
{
	const struct sh_object *o = lua_touserdata(L, 1);

	return luaL_error(L, "%s.%s cannot be set", class_names[o->kind] + 8, luaL_tolstring(L, 2, NULL));
}

static int object_text(lua_State *L)
{
	const struct sh_object *o = lua_touserdata(L, 1);

	lua_pushfstring(L, "%s %I", class_names[o->kind] + 8, (LUAI_UACINT)o->handle);
	return 1;
}

void sh_object_class(lua_State *L, enum sh_object_kind kind, const luaL_Reg *methods, const struct sh_field *fields,
		     int (*field)(lua_State *L, int id), lua_CFunction other)
{
	static const luaL_Reg meta[] = {{"__eq", equal_objects}, {"__newindex", refuse_assignment}, {"__tostring", object_text}, {NULL, NULL}};
	struct sh_state *s = sh_state_of(L);
	int (**slot)(lua_State *, int);
	int names = 0;

	for (const struct sh_field *f = kind == SH_OBJECT_LEG ? fields : sh_view_fields; f->name; f++)
		names++;
	for (const luaL_Reg *m = methods; m->name; m++)
		names++;
	sh_sandbox_class(L, class_names[kind], meta, NULL);
	luaL_getmetatable(L, class_names[kind]);
	s->classes[kind].pointer = lua_topointer(L, -1);
	lua_pushvalue(L, -1);
	s->classes[kind].ref = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_createtable(L, 0, names);
	if (kind != SH_OBJECT_LEG) { /* what calls and requests share */
		for (const struct sh_field *f = sh_view_fields; f->name; f++) {
			lua_pushinteger(L, f->id);
			lua_setfield(L, -2, f->name);
		}
	}
	for (const struct sh_field *f = fields; f->name; f++) {
		lua_pushinteger(L, f->id);
		lua_setfield(L, -2, f->name);
	}
	luaL_setfuncs(L, methods, 0);
	slot = lua_newuserdatauv(L, sizeof(field), 0);
	*slot = field;
	if (other)
		lua_pushcfunction(L, other);
	else
		lua_pushnil(L);
	if (sh_state_of(L)->generation->script->config.trace) {
		lua_newtable(L);
		lua_pushcclosure(L, index_traced, 4);
	} else {
		lua_pushcclosure(L, index_object, 3);
	}
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
}

struct sh_call *sh_call_check(lua_State *L, int idx)
{
	struct sh_object *o = sh_object_check(L, idx, SH_OBJECT_CALL);

	return sh_ua_call(sh_runtime_check(L, "a call")->ua, o->handle);
}

struct sh_leg *sh_leg_check(lua_State *L, int idx)
{
	struct sh_object *o = sh_object_check(L, idx, SH_OBJECT_LEG);

	return sh_ua_leg(sh_runtime_check(L, "a leg")->ua, o->handle);
}

struct sh_object *sh_object_check_message(lua_State *L, int idx)
{
	struct sh_object *o =
	    test(L, idx, 1U << SH_OBJECT_CALL | 1U << SH_OBJECT_REQUEST | 1U << SH_OBJECT_REFER | 1U << SH_OBJECT_SUB);

	return o ? o : sh_object_check(L, idx, SH_OBJECT_REQUEST); /* raises */
}

struct sh_object *sh_object_test_request(lua_State *L, int idx)
{
	return test(L, idx, 1U << SH_OBJECT_REQUEST | 1U << SH_OBJECT_REFER | 1U << SH_OBJECT_SUB);
}

struct sh_request *sh_request_check(lua_State *L, int idx)
{
	struct sh_object *o = sh_object_test_request(L, idx);

	if (!o)
		o = sh_object_check(L, idx, SH_OBJECT_REQUEST); /* raises */
	return sh_ua_request(sh_runtime_check(L, "a request")->ua, o->handle);
}

struct sh_request *sh_check_no_call(lua_State *L, const char *verb)
{
	if (sh_object_test(L, 1, SH_OBJECT_CALL))
		luaL_error(L, "call:%s: this is an INVITE", verb);
	return sh_request_check(L, 1);
}

int sh_gone(lua_State *L)
{
	lua_pushnil(L);
	lua_pushliteral(L, "gone");
	return 2;
}

void sh_count_output(lua_State *L)
{
	struct sh_runtime *rt = sh_state_of(L)->runtime;

	if (rt)
		rt->stats.outputs++;
}

int sh_too_long(lua_State *L, const char *what)
{
	sh_count_output(L);
	return luaL_error(L, "%s: too long", what);
}

int sh_push_errno(lua_State *L, int err)
{
	static const struct {
		int err;
		const char *code, *detail;
	} words[] = {
	    {-EPIPE, "gone", "the call has ended"},
	    {-EALREADY, "answered", "a final answer was sent already"},
	    {-EPERM, "forbidden", "RFC 4320 does not allow this answer now"},
	    {-EBUSY, "busy", "another one is in progress"},
	    {-ENOMEM, "memory", "out of memory"},
	    {-EMSGSIZE, "size", "the message is too long"},
	    {-ENOENT, "empty", "no targets"},
	    {-ENOTCONN, "no_leg", "there is no other leg"},
	    {-EPROTO, "early", "it has not come that far yet"},
	    {-EHOSTUNREACH, "unreachable", "no way to get there"},
	    {-ENOSPC, "full", "there is no room for another one"},
	};

	if (err == -EMSGSIZE)
		sh_count_output(L);
	lua_pushnil(L);
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (words[i].err == err) {
			lua_pushstring(L, words[i].code);
			lua_pushstring(L, words[i].detail);
			return 3;
		}
	}
	lua_pushliteral(L, "failed");
	lua_pushstring(L, strerror(-err));
	return 3;
}

int sh_push_done(lua_State *L, int err)
{
	if (err)
		return sh_push_errno(L, err);
	lua_pushboolean(L, 1);
	return 1;
}

void sh_push_slice(lua_State *L, struct sh_slice s)
{
	if (s.base)
		lua_pushlstring(L, s.base, s.len);
	else
		lua_pushnil(L);
}

void sh_push_field(lua_State *L, struct sh_slice s)
{
	if (!s.len || sh_uri_object_push_field(L, s) < 0)
		lua_pushnil(L);
}
