/* sip.http: requests to web servers. The hook waits, the worker does not. */
#include "script/http.h"

#include <math.h>

#include "core/encode.h"
#include "script/impl.h"

static const char headers_class[] = "siphook.http_headers";

enum { HEADERS_MAX = 64 };
#define TIMEOUT     (5 * SH_SECOND)
#define MAX_SIZE    (1 << 20)
#define MAX_MAXSIZE SH_VM_STRING_MAX

/* ---- what comes back ---- */

/* Names of header fields in lower case; whoever reads may write them in any. */
static int find_header(lua_State *L)
{
	size_t len;
	const char *name = luaL_checklstring(L, 2, &len);
	luaL_Buffer b;
	char *lower = luaL_buffinitsize(L, &b, len);

	for (size_t i = 0; i < len; i++)
		lower[i] = sh_lower(name[i]);
	luaL_pushresultsize(&b, len);
	lua_rawget(L, 1);
	return 1;
}

/* Several fields of one name are joined, but for Set-Cookie, of which the first counts (RFC 9110 5.3). */
static void push_headers(lua_State *L, struct sh_slice lines)
{
	struct sh_slice line, name, value;

	lua_newtable(L);
	while (lines.len) {
		luaL_Buffer b;
		char *lower;

		sh_slice_cut(lines, '\n', &line, &lines);
		if (!sh_slice_cut(sh_slice_trim(line), ':', &name, &value))
			continue;
		name = sh_slice_trim(name);
		value = sh_slice_trim(value);
		lower = luaL_buffinitsize(L, &b, name.len);
		for (size_t i = 0; i < name.len; i++)
			lower[i] = sh_lower(name.base[i]);
		luaL_pushresultsize(&b, name.len);
		lua_pushvalue(L, -1);
		if (lua_rawget(L, -3) == LUA_TNIL) {
			lua_pop(L, 1);
			sh_push_slice(L, value);
			lua_rawset(L, -3);
		} else if (sh_slice_ieq(name, SH_LIT("set-cookie"))) {
			lua_pop(L, 2);
		} else {
			lua_pushliteral(L, ", ");
			sh_push_slice(L, value);
			lua_concat(L, 3);
			lua_rawset(L, -3);
		}
	}
	luaL_setmetatable(L, headers_class);
}

const char *sh_http_error_name(int err)
{
	switch (err) {
	case -EINVAL:
		return "invalid";
	case -ENOENT:
		return "name";
	case -EHOSTUNREACH:
		return "unreachable";
	case -EPROTO:
		return "tls";
	case -ETIMEDOUT:
		return "timeout";
	case -EMSGSIZE:
		return "size";
	case -EBUSY:
		return "busy";
	case -ENOMEM:
		return "memory";
	default:
		return "failed";
	}
}

static int push_error(lua_State *L, int err, const char *detail)
{
	lua_pushnil(L);
	lua_pushstring(L, sh_http_error_name(err));
	lua_pushstring(L, detail);
	return 3;
}

static int push_response(lua_State *L, void *arg)
{
	const struct sh_http_response *r = arg;

	if (r->error)
		return push_error(L, r->error, r->detail);
	sh_vm_charge(L, r->body.len / 64);
	lua_createtable(L, 0, 3);
	lua_pushinteger(L, r->status);
	lua_setfield(L, -2, "status");
	push_headers(L, r->headers);
	lua_setfield(L, -2, "headers");
	lua_pushlstring(L, r->body.base ? r->body.base : "", r->body.len);
	lua_setfield(L, -2, "body");
	return 1;
}

static void on_response(const struct sh_http_response *r, void *ctx)
{
	sh_run_resume(ctx, push_response, (void *)r);
}

static void give_up(void *arg)
{
	struct sh_run *run = arg;
	struct sh_env *env = run->state->runtime->env;

	env->driver->http_cancel(env, run->exchange);
}

/* ---- for who records calls ---- */

/* On the stack of the hook that waits. */
struct asked {
	struct sh_run *run;
	uint64_t ask;
};

static void tell_answer(const struct asked *a, const struct sh_http_response *r)
{
	const struct sh_script_observer *o = a->run->state->runtime->observer;

	if (o)
		o->answered(o->ctx, a->ask, r);
}

static void on_observed_response(const struct sh_http_response *r, void *ctx)
{
	struct asked *a = ctx;

	tell_answer(a, r);
	sh_run_resume(a->run, push_response, (void *)r);
}

static void give_up_observed(void *arg)
{
	struct asked *a = arg;

	tell_answer(a, NULL);
	give_up(a->run);
}

/* NULL: nobody wants to know. */
static struct asked *tell_request(lua_State *L, struct sh_run *run, const struct sh_http_request *rq)
{
	const struct sh_script_observer *o = run->state->runtime->observer;
	const struct sh_call *c = sh_run_call(run);
	struct asked *a;

	if (!c)
		return NULL;
	a = lua_newuserdatauv(L, sizeof(*a), 0);
	*a = (struct asked){run, o->asks(o->ctx, c, rq)};
	return a->ask ? a : NULL;
}

/* ---- what goes out ---- */

static struct sh_slice text_option(lua_State *L, int table, const char *key)
{
	struct sh_slice s = {0};
	int type = sh_opt_get(L, table, key);

	if (type == LUA_TSTRING)
		s.base = lua_tolstring(L, -1, &s.len);
	else if (type != LUA_TNIL)
		luaL_error(L, "option '%s': string expected, got %s", key, luaL_typename(L, -1));
	lua_pop(L, 1);
	return s;
}

static void add_line(lua_State *L, struct sh_arena *arena, struct sh_http_request *rq, struct sh_slice *lines,
		     struct sh_slice name, struct sh_slice value)
{
	if (rq->nheaders == HEADERS_MAX)
		luaL_error(L, "headers: at most %d", HEADERS_MAX);
	/* curl sends a field without a value only if it is written so */
	if (sh_arena_printf(arena, &lines[rq->nheaders], value.len ? "%.*s: %.*s" : "%.*s;%.*s", SH_FMT(name),
			    SH_FMT(value)) < 0)
		luaL_error(L, "not enough memory");
	rq->nheaders++;
}

static void add_value(lua_State *L, struct sh_arena *arena, struct sh_http_request *rq, struct sh_slice *lines,
		      struct sh_slice name)
{
	struct sh_slice value;

	if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER)
		luaL_error(L, "headers: '%s' needs a string or a list of strings", name.base);
	value.base = luaL_tolstring(L, -1, &value.len);
	sh_check_clean(L, value, name.base);
	add_line(L, arena, rq, lines, name, sh_slice_trim(value));
	lua_pop(L, 1);
}

static void read_headers(lua_State *L, int table, struct sh_arena *arena, struct sh_http_request *rq)
{
	struct sh_slice *lines = sh_arena_alloc(arena, HEADERS_MAX * sizeof(*lines)), type;
	lua_Integer n;

	if (!lines)
		luaL_error(L, "not enough memory");
	rq->headers = lines;
	type = text_option(L, table, "content_type");
	if (type.base) {
		sh_check_clean(L, type, "content_type");
		add_line(L, arena, rq, lines, SH_LIT("Content-Type"), type);
	}
	if (sh_opt_get(L, table, "headers") != LUA_TNIL) {
		luaL_argexpected(L, lua_istable(L, -1), table, "table 'headers'");
		n = sh_sandbox_keys(L, -1);
		for (lua_Integer i = 1; i <= n; i++) {
			struct sh_slice name;

			if (lua_rawgeti(L, -1, i) != LUA_TSTRING)
				luaL_error(L, "headers: names must be strings");
			name.base = lua_tolstring(L, -1, &name.len);
			if (!sh_is_token(name))
				luaL_error(L, "headers: '%s' is no header name", name.base);
			lua_pushvalue(L, -1);
			lua_rawget(L, -4);
			if (lua_istable(L, -1)) {
				lua_Integer len = luaL_len(L, -1);

				for (lua_Integer k = 1; k <= len; k++) {
					lua_rawgeti(L, -1, k);
					add_value(L, arena, rq, lines, name);
					lua_pop(L, 1);
				}
			} else {
				add_value(L, arena, rq, lines, name);
			}
			lua_pop(L, 2);
		}
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

#define COMMON "headers", "content_type", "user", "password", "ca", "verify", "timeout", "max_size", "redirects", "connect_timeout"
const char *const sh_options_http[] = {COMMON, NULL};
const char *const sh_options_http_request[] = {COMMON, "url", "method", "body", NULL};

/* The options of all three functions, at `table` (an empty one when the script gave none). */
static void read_options(lua_State *L, int table, const char *what, const char *const *known, struct sh_runtime *rt,
			 struct sh_http_request *rq)
{
	sh_opt_known(L, table, what, known);
	rq->user = text_option(L, table, "user");
	rq->password = text_option(L, table, "password");
	rq->ca_file = text_option(L, table, "ca");
	rq->insecure = !sh_opt_bool(L, table, "verify", true);
	rq->timeout = sh_opt_seconds(L, table, "timeout", TIMEOUT);
	rq->connect_timeout = sh_opt_seconds(L, table, "connect_timeout", rq->timeout);
	rq->max_size = (size_t)sh_opt_integer(L, table, "max_size", MAX_SIZE, 1, MAX_MAXSIZE);
	rq->redirects = (unsigned)sh_opt_integer(L, table, "redirects", 0, 0, 20);
	if (!rq->body.base)
		rq->body = text_option(L, table, "body");
	if (rq->password.base && !rq->user.base)
		luaL_error(L, "%s: option 'password' without 'user'", what);
	sh_arena_reset(&rt->scratch);
	read_headers(L, table, &rt->scratch, rq);
}

static int exchange(lua_State *L, const char *what, int table, const char *const *known, struct sh_http_request *rq)
{
	struct sh_runtime *rt = sh_runtime_check(L, what);
	struct sh_run *run = sh_run_check(L, what);
	struct asked *asked;
	int err;

	if (lua_isnoneornil(L, table)) {
		lua_settop(L, table - 1);
		lua_newtable(L);
	}
	luaL_checktype(L, table, LUA_TTABLE);
	read_options(L, table, what, known, rt, rq);
	if (!sh_slice_starts(rq->url, SH_LIT("http://")) && !sh_slice_starts(rq->url, SH_LIT("https://")))
		return push_error(L, -EINVAL, "the URL does not begin with http:// or https://");
	for (size_t i = 0; i < rq->url.len; i++)
		if ((unsigned char)rq->url.base[i] <= ' ')
			return push_error(L, -EINVAL, "the URL has a space or control character: escape it (sip.http.escape)");
	sh_vm_check_wait(L, what);
	asked = rt->observer ? tell_request(L, run, rq) : NULL;
	err = asked ? rt->env->driver->http(rt->env, rq, on_observed_response, asked, &run->exchange)
		    : rt->env->driver->http(rt->env, rq, on_response, run, &run->exchange);
	if (err && asked)
		tell_answer(asked, &(struct sh_http_response){.error = err, .detail = ""});
	if (err)
		return push_error(L, err,
				  err == -EBUSY    ? "too many requests at once"
				  : err == -EINVAL ? "the URL is malformed"
						   : strerror(-err));
	return asked ? sh_run_wait_for(L, run, give_up_observed, asked, NULL) : sh_run_wait_for(L, run, give_up, run, NULL);
}

/* sip.http.get(url [, options]) */
static int get(lua_State *L)
{
	struct sh_http_request rq = {.method = SH_LIT("GET"), .url = sh_sandbox_check_text(L, 1)};

	lua_settop(L, 2);
	return exchange(L, "sip.http.get", 2, sh_options_http, &rq);
}

/* sip.http.post(url, body [, options]) */
static int post(lua_State *L)
{
	struct sh_http_request rq = {.method = SH_LIT("POST"), .url = sh_sandbox_check_text(L, 1), .body = sh_sandbox_check_text(L, 2)};

	lua_settop(L, 3);
	return exchange(L, "sip.http.post", 3, sh_options_http, &rq);
}

/* sip.http.request{url=, method=, ...} */
static int request(lua_State *L)
{
	struct sh_http_request rq = {0};

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	rq.url = text_option(L, 1, "url");
	if (!rq.url.base)
		return luaL_error(L, "sip.http.request: option 'url' is missing");
	rq.method = text_option(L, 1, "method");
	if (!rq.method.base)
		rq.method = SH_LIT("GET");
	if (!sh_is_token(rq.method))
		return luaL_error(L, "sip.http.request: option 'method': a token expected");
	return exchange(L, "sip.http.request", 1, sh_options_http_request, &rq);
}

/* sip.http.escape(text): for a part of a path or query (RFC 3986 2.3). */
static int escape(lua_State *L)
{
	struct sh_slice s = sh_sandbox_check_text(L, 1);
	luaL_Buffer b;

	sh_vm_charge(L, s.len / 8);
	luaL_pushresultsize(&b, sh_percent_escape(s, SH_PERCENT_UNRESERVED, luaL_buffinitsize(L, &b, 3 * s.len)));
	return 1;
}

void sh_http_lua_open(lua_State *L)
{
	static const luaL_Reg functions[] = {
	    {"get", get}, {"post", post}, {"request", request}, {"escape", escape}, {NULL, NULL},
	};
	static const luaL_Reg meta[] = {{"__index", find_header}, {NULL, NULL}};
	static const lua_CFunction waiting[] = {get, post, request, NULL};

	sh_sandbox_class(L, headers_class, meta, NULL);
	luaL_newlib(L, functions);
	sh_waits_declare_all(L, waiting);
	lua_setfield(L, -2, "http");
}
