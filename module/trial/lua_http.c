/* Web servers of a test: a request of the script is answered by a function of the test file, which the library has put together
 * from what the test gave. It runs inside the step of the simulation, in the state of the test. */
#include <errno.h>

#include "script/sandbox.h"
#include "trial/lua.h"
#include "trial/world.h"

static const char class_name[] = "siphook.test.http";

struct stub {
	struct sh_vm *vm;
	int handler, last; /* references: the function; its last answer, whose texts are being copied */
	const struct sh_http_request *rq;
	struct sh_sim_http_reply *reply;
};

static void set_text(lua_State *L, const char *key, struct sh_slice s)
{
	if (!s.base)
		return;
	lua_pushlstring(L, s.base, s.len);
	lua_setfield(L, -2, key);
}

static void push_request(lua_State *L, const struct sh_http_request *rq)
{
	lua_createtable(L, 0, 6);
	set_text(L, "method", rq->method);
	set_text(L, "url", rq->url);
	set_text(L, "body", rq->body);
	set_text(L, "user", rq->user);
	set_text(L, "password", rq->password);
	lua_createtable(L, 0, (int)rq->nheaders);
	for (size_t i = 0; i < rq->nheaders; i++) {
		struct sh_slice name, value;

		sh_slice_cut(rq->headers[i], ':', &name, &value);
		value = sh_slice_trim(value);
		lua_pushlstring(L, name.base, name.len);
		lua_pushlstring(L, value.base ? value.base : "", value.len);
		lua_rawset(L, -3);
	}
	lua_setfield(L, -2, "headers");
}

static struct sh_slice text_of(lua_State *L, const char *key)
{
	struct sh_slice s = {0};

	if (lua_getfield(L, -1, key) == LUA_TSTRING)
		s.base = lua_tolstring(L, -1, &s.len);
	lua_pop(L, 1); /* it stays in the answer */
	return s;
}

static int call_handler(lua_State *L)
{
	static const struct {
		const char *name;
		int error;
	} errors[] = {{"unreachable", -EHOSTUNREACH}, {"refused", -EHOSTUNREACH}, {"not_found", -ENOENT}, {"tls", -EPROTO},
		      {"size", -EMSGSIZE}, {"busy", -EBUSY}, {"memory", -ENOMEM}, {"invalid", -EINVAL}, {"failed", -EIO}};
	struct stub *s = lua_touserdata(L, 1);
	struct sh_slice error, detail;

	lua_rawgeti(L, LUA_REGISTRYINDEX, s->handler);
	push_request(L, s->rq);
	lua_call(L, 1, 1);
	luaL_checktype(L, -1, LUA_TTABLE);
	lua_pushvalue(L, -1);
	lua_rawseti(L, LUA_REGISTRYINDEX, s->last);
	lua_getfield(L, -1, "status");
	s->reply->status = (unsigned)lua_tointeger(L, -1);
	lua_getfield(L, -2, "delay");
	s->reply->delay = (uint64_t)(lua_tonumber(L, -1) * 1e6);
	lua_pop(L, 2);
	s->reply->headers = text_of(L, "header_lines");
	s->reply->body = text_of(L, "body");
	error = text_of(L, "error");
	if (sh_slice_eq(error, SH_LIT("timeout")))
		s->reply->delay = SH_NEVER;
	else if (error.len)
		s->reply->error = -EIO;
	for (size_t i = 0; error.len && i < sizeof(errors) / sizeof(errors[0]); i++)
		if (sh_slice_eq(error, sh_slice_cstr(errors[i].name)))
			s->reply->error = errors[i].error;
	detail = text_of(L, "detail");
	s->reply->detail = detail.len ? detail.base : error.len ? error.base : NULL;
	return 0;
}

static void on_request(const struct sh_http_request *rq, struct sh_sim_http_reply *reply, void *ctx)
{
	struct stub *s = ctx;

	s->rq = rq;
	s->reply = reply;
	if (sh_vm_call(s->vm, call_handler, s, 0) < 0) { /* the library catches what the test's function raises */
		*reply = (struct sh_sim_http_reply){.error = -EIO, .detail = "the test's web server failed"};
	}
}

/* http(world, fn): all requests of the script go to fn(request) -> {status=, header_lines=, body=, delay=, error=, detail=} */
static int set_http(lua_State *L)
{
	struct sh_world *w = sh_trial_world_check(L, 1);
	struct stub *s;

	luaL_checktype(L, 2, LUA_TFUNCTION);
	lua_settop(L, 2);
	s = lua_newuserdatauv(L, sizeof(*s), 0);
	*s = (struct stub){.vm = sh_vm_of(L)};
	lua_pushboolean(L, 1);
	s->last = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_pushvalue(L, 2);
	s->handler = luaL_ref(L, LUA_REGISTRYINDEX);
	luaL_setmetatable(L, class_name);
	lua_setiuservalue(L, 1, 1); /* it lives as long as the world */
	sh_sim_set_http(sh_world_sim(w), on_request, s);
	return 0;
}

static int forget(lua_State *L)
{
	struct stub *s = lua_touserdata(L, 1);

	luaL_unref(L, LUA_REGISTRYINDEX, s->handler);
	luaL_unref(L, LUA_REGISTRYINDEX, s->last);
	return 0;
}

void sh_trial_http_open(lua_State *L)
{
	static const luaL_Reg meta[] = {{"__gc", forget}, {NULL, NULL}};

	sh_sandbox_class(L, class_name, meta, NULL);
	lua_pushcfunction(L, set_http);
	lua_setfield(L, -2, "http");
}
