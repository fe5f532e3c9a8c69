/* Worlds as the test library sees them. Times are microseconds as integers. What happens inside is kept in C (events.h) until
 * w:events() asks: the engine must not run into an error of Lua. */
#include <errno.h>

#include "core/alloc.h"
#include "script/sandbox.h"
#include "trial/events.h"
#include "trial/lua.h"
#include "trial/world.h"

static const char class_name[] = "siphook.test.world";

enum { PAIRS_MAX = 1000, WORDS = 1024 };

struct world {
	struct sh_world *w; /* NULL: closed */
	bool borrowed;      /* somebody else ends it, and keeps the events */
	struct sh_trial_events own, *events;
	struct sh_trial_presets presets; /* while it is made */
};

static int on_prepare(void *ctx, struct sh_shared *shared)
{
	return sh_trial_presets_apply(&SH_CONTAINER(ctx, struct world, own)->presets, shared);
}

/* ------------------------------------------------------------------ reading the options */

static unsigned read_config(lua_State *L, const struct sh_pair **out)
{
	struct sh_pair *pairs;
	unsigned n = 0;

	if (lua_getfield(L, 1, "config") == LUA_TNIL)
		return 0;
	luaL_checktype(L, -1, LUA_TTABLE);
	pairs = lua_newuserdatauv(L, PAIRS_MAX * sizeof(*pairs), 0);
	lua_newtable(L); /* texts of values that were none: kept while the world is made */
	lua_pushnil(L);
	while (lua_next(L, -4)) {
		if (n == PAIRS_MAX || lua_type(L, -2) != LUA_TSTRING)
			luaL_error(L, "config: at most %d names with values expected", PAIRS_MAX);
		luaL_tolstring(L, -1, NULL);
		pairs[n].key = lua_tostring(L, -3);
		pairs[n++].value = lua_tostring(L, -1);
		lua_rawseti(L, -4, (lua_Integer)n);
		lua_pop(L, 1);
	}
	*out = pairs;
	return n;
}

static lua_Number number(lua_State *L, const char *key, lua_Number fallback)
{
	lua_Number n = fallback;

	if (lua_getfield(L, 1, key) != LUA_TNIL) {
		n = lua_tonumber(L, -1);
		if (lua_type(L, -1) != LUA_TNUMBER || !(n >= 0 && n < 1e18))
			luaL_error(L, "option '%s': a number from 0 on expected", key);
	}
	lua_pop(L, 1);
	return n;
}

static struct sh_addr check_addr(lua_State *L, int ip, int port)
{
	struct sh_slice host;
	struct sh_addr a;

	host.base = luaL_checklstring(L, ip, &host.len);
	if (sh_addr_parse(&a, host, (uint16_t)luaL_checkinteger(L, port)) < 0)
		luaL_error(L, "'%s' is no IP address", host.base);
	return a;
}

/* create{script=, seed=, loss=, duplicate=, reorder=, delay_min=, delay_max=, workers=, shared=, config=, address=, port=, credulous=, time=}
 * -> world | nil, error */
static int create(lua_State *L)
{
	struct sh_world_options o = {.trace = sh_trial_on_trace, .log = sh_trial_on_log};
	char error[WORDS];
	struct world *w;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	luaL_checkstack(L, 20, NULL);
	w = lua_newuserdatauv(L, sizeof(*w), 1); /* at 2 */
	*w = (struct world){0};
	sh_trial_events_init(&w->own);
	w->events = &w->own;
	luaL_setmetatable(L, class_name);
	sh_trial_presets_read(L, 1, &w->presets); /* at 3: what they live in */
	o.nconfig = read_config(L, &o.config);
	o.sim.seed = (uint64_t)number(L, "seed", 1);
	o.sim.loss = number(L, "loss", 0);
	o.sim.duplicate = number(L, "duplicate", 0);
	o.sim.reorder = number(L, "reorder", 0);
	o.sim.delay_min = (uint64_t)number(L, "delay_min", 0);
	o.sim.delay_max = (uint64_t)number(L, "delay_max", 0);
	o.workers = (unsigned)number(L, "workers", 1);
	o.wall = (uint64_t)(number(L, "time", 0) * 1e6);
	o.prepare = on_prepare;
	o.sim.stock = lua_touserdata(L, lua_upvalueindex(1));
	if (lua_getfield(L, 1, "address") == LUA_TSTRING) {
		lua_getfield(L, 1, "port");
		o.address = check_addr(L, -2, -1);
	}
	lua_getfield(L, 1, "credulous");
	o.credulous = lua_toboolean(L, -1);
	o.ctx = &w->own;
	lua_getfield(L, 1, "script");
	o.script = luaL_checkstring(L, -1);
	err = sh_world_create(&w->w, &o, error, sizeof(error));
	w->presets = (struct sh_trial_presets){0};
	if (err) {
		w->w = NULL;
		lua_pushnil(L);
		lua_pushstring(L, error);
		return 2;
	}
	lua_pushvalue(L, 2);
	return 1;
}

/* ------------------------------------------------------------------ methods */

static struct world *check(lua_State *L)
{
	struct world *o = luaL_checkudata(L, 1, class_name);

	if (!o->w)
		luaL_error(L, "the plan is closed");
	return o;
}

struct sh_world *sh_trial_world_check(lua_State *L, int idx)
{
	struct world *o = luaL_checkudata(L, idx, class_name);

	if (!o->w)
		luaL_error(L, "the plan is closed");
	return o->w;
}

static int close_world(lua_State *L)
{
	struct world *o = luaL_checkudata(L, 1, class_name);
	struct sh_world *w = o->w;

	o->w = NULL;
	if (o->borrowed)
		return 0;
	sh_world_destroy(w);
	sh_trial_events_finish(&o->own);
	return 0;
}

void sh_trial_world_push(lua_State *L, struct sh_world *w, struct sh_trial_events *events)
{
	struct world *o = lua_newuserdatauv(L, sizeof(*o), 1);

	*o = (struct world){.borrowed = true, .w = w, .events = events};
	luaL_setmetatable(L, class_name);
}

static int now(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)sh_world_now(check(L)->w));
	return 1;
}

static int address(lua_State *L)
{
	char text[SH_ADDR_TEXT];
	const struct sh_addr *a = sh_world_address(check(L)->w);

	lua_pushlstring(L, text, sh_addr_format_host(a, text));
	lua_pushinteger(L, a->port);
	return 2;
}

static int domain(lua_State *L)
{
	unsigned count;
	const struct sh_slice *names = sh_generation_domains(sh_engine_generation(sh_world_engine(check(L)->w)), &count);

	if (count)
		lua_pushlstring(L, names[0].base, names[0].len);
	else
		lua_pushnil(L);
	return 1;
}

/* w:listen(ip, port) -> place | nil, error */
static int listen_(lua_State *L)
{
	struct world *o = check(L);
	struct sh_addr a = check_addr(L, 2, 3);
	unsigned place;
	int err = sh_wire_listen(sh_world_wire(o->w), &a, &place);

	if (err) {
		lua_pushnil(L);
		lua_pushstring(L, strerror(-err));
		return 2;
	}
	lua_pushinteger(L, place);
	return 1;
}

/* w:send(place, "udp" | "tcp", ip, port, text) */
static int send_(lua_State *L)
{
	struct world *o = check(L);
	unsigned place = (unsigned)luaL_checkinteger(L, 2);
	bool tcp = strcmp(luaL_checkstring(L, 3), "tcp") == 0;
	struct sh_addr to = check_addr(L, 4, 5);
	struct sh_slice text;

	text.base = luaL_checklstring(L, 6, &text.len);
	sh_wire_send(sh_world_wire(o->w), place, tcp ? SH_PROTO_TCP : SH_PROTO_UDP, &to, text.base, text.len);
	return 0;
}

static int hang_up(lua_State *L)
{
	struct world *o = check(L);

	sh_wire_hang_up(sh_world_wire(o->w), (unsigned)luaL_checkinteger(L, 2));
	return 0;
}

/* w:receive(until [, quiet]) -> nil, or place, message (text: it is none), "udp" | "tcp", ip, port, time of arrival */
static int receive(lua_State *L)
{
	struct world *o = check(L);
	struct sh_arrival *a = sh_world_receive(o->w, (uint64_t)luaL_checkinteger(L, 2), lua_toboolean(L, 3));
	char ip[SH_ADDR_TEXT];

	if (!a)
		return 0;
	lua_pushinteger(L, a->place);
	sh_trial_message_push(L, sh_slice_make(a->data, a->len), a->proto != SH_PROTO_UDP);
	lua_pushstring(L, a->proto == SH_PROTO_UDP ? "udp" : "tcp");
	lua_pushlstring(L, ip, sh_addr_format_host(&a->remote, ip));
	lua_pushinteger(L, a->remote.port);
	lua_pushinteger(L, (lua_Integer)a->at);
	sh_wire_drop(a);
	return 6;
}

static void set_text(lua_State *L, const char *key, struct sh_slice s)
{
	lua_pushlstring(L, s.base ? s.base : "", s.len);
	lua_setfield(L, -2, key);
}

/* w:events() -> all so far, oldest first: {at=, verb=, file=, line=, text=, call=} or {at=, level=, text=} */
static int events(lua_State *L)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	struct world *o = check(L);
	lua_Integer n = 0;

	lua_createtable(L, (int)o->events->count, 0);
	SH_LIST_EACH(l, &o->events->list)
	{
		const struct sh_trial_event *e = SH_CONTAINER(l, struct sh_trial_event, link);

		lua_createtable(L, 0, 6);
		lua_pushinteger(L, (lua_Integer)e->at);
		lua_setfield(L, -2, "at");
		set_text(L, "text", e->text);
		if (e->decision) {
			set_text(L, "file", e->file);
			lua_pushinteger(L, e->line);
			lua_setfield(L, -2, "line");
			set_text(L, "verb", e->verb);
			set_text(L, "call", e->call);
		} else {
			lua_pushstring(L, levels[e->level]);
			lua_setfield(L, -2, "level");
		}
		lua_rawseti(L, -2, ++n);
	}
	return 1;
}

/* w:busy() -> nil, or what is not over yet */
static int busy(lua_State *L)
{
	char text[WORDS];

	if (!sh_engine_busy(sh_world_engine(check(L)->w), text, sizeof(text)))
		return 0;
	lua_pushstring(L, text);
	return 1;
}

/* w:quiet(): nothing begins by itself any more */
static int quiet(lua_State *L)
{
	sh_engine_quiet(sh_world_engine(check(L)->w));
	return 0;
}

/* w:reload([back]) -> generation | nil, error */
static int reload(lua_State *L)
{
	char error[WORDS];
	uint64_t generation = sh_world_reload(check(L)->w, lua_toboolean(L, 2), error, sizeof(error));

	if (generation) {
		lua_pushinteger(L, (lua_Integer)generation);
		return 1;
	}
	lua_pushnil(L);
	lua_pushstring(L, error);
	return 2;
}

/* w:name(host, ip ...): an A or AAAA record each; without any: the name is not there */
static int name(lua_State *L)
{
	struct world *o = check(L);
	struct sh_addr addrs[8];
	size_t n = 0;
	int err;

	for (int i = 3; i <= lua_gettop(L) && n < 8; i++) {
		lua_pushinteger(L, 0);
		addrs[n++] = check_addr(L, i, -1);
		lua_pop(L, 1);
	}
	err = n ? sh_sim_add_name(sh_world_sim(o->w), luaL_checkstring(L, 2), addrs, n)
		: sh_sim_fail_name(sh_world_sim(o->w), luaL_checkstring(L, 2), -ENOENT);
	return err ? luaL_error(L, "%s: %s", lua_tostring(L, 2), strerror(-err)) : 0;
}

/* w:reach(ip, port, "silent" | "refused" | "up"): how the network treats what is sent to that address */
static int reach(lua_State *L)
{
	static const char *const words[] = {"up", "silent", "refused", NULL};
	static const unsigned modes[] = {0, SH_SIM_UDP_SILENT | SH_SIM_TCP_SILENT, SH_SIM_UDP_ICMP | SH_SIM_TCP_REFUSED};
	struct world *o = check(L);
	struct sh_addr a = check_addr(L, 2, 3);

	if (sh_sim_set_unreachable(sh_world_sim(o->w), &a, modes[luaL_checkoption(L, 4, NULL, words)]))
		return luaL_error(L, "not enough memory");
	return 0;
}

static void on_text(void *ctx, const char *text, size_t len)
{
	struct sh_slice *copy = ctx;
	char *p = sh_malloc(len);

	if (p) {
		memcpy(p, text, len);
		*copy = sh_slice_make(p, len);
	}
}

/* w:query("calls" | "registrations" | "status") -> JSON text */
static int query(lua_State *L)
{
	struct world *o = check(L);
	struct sh_slice text = {0};
	int err = sh_engine_query(sh_world_engine(o->w), luaL_checkstring(L, 2), on_text, &text);
	luaL_Buffer b;
	char *to;

	if (err || !text.base)
		return luaL_error(L, "%s: %s", lua_tostring(L, 2), strerror(err ? -err : ENOMEM));
	to = luaL_buffinitsize(L, &b, text.len);
	memcpy(to, text.base, text.len);
	sh_free((void *)text.base);
	luaL_pushresultsize(&b, text.len);
	return 1;
}

/* w:record([filter]): the next call; its outcome comes with query("record") */
static int record(lua_State *L)
{
	int err = sh_engine_record(sh_world_engine(check(L)->w), luaL_optstring(L, 2, ""));

	return err ? luaL_error(L, "record: %s", strerror(-err)) : 0;
}

static void on_name(void *ctx, const char *owner, const char *name, enum sh_script_name kind)
{
	struct sh_writer *w = ctx;

	sh_put(w, sh_slice_cstr(owner));
	sh_put_char(w, kind == SH_NAME_OPTION ? '?' : kind == SH_NAME_WAITS ? '~' : kind == SH_NAME_FUNCTION ? ':' : '.');
	sh_put(w, sh_slice_cstr(name));
	sh_put_char(w, '\n');
}

/* w:names() -> text of lines: "call:fork" is a function or method, "call~fork" one that may wait, "call.id" a field,
 * "call:bridge?headers" an option; see sh_generation_names */
static int names(lua_State *L)
{
	enum { ROOM = 256 << 10 };
	struct world *o = check(L);
	struct sh_writer w;

	sh_writer_init(&w, lua_newuserdatauv(L, ROOM, 0), ROOM);
	if (sh_generation_names(sh_engine_generation(sh_world_engine(o->w)), on_name, &w) < 0 || w.full)
		return luaL_error(L, "the names cannot be listed");
	lua_pushlstring(L, w.base, w.len);
	return 1;
}

void sh_trial_world_open(lua_State *L, struct sh_pool_stock *stock)
{
	static const luaL_Reg functions[] = {{"world", create}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
	    {"close", close_world}, {"now", now},       {"address", address}, {"domain", domain}, {"listen", listen_},
	    {"send", send_},        {"hang_up", hang_up}, {"receive", receive}, {"events", events}, {"busy", busy},
	    {"quiet", quiet},
	    {"reload", reload},     {"name", name},     {"reach", reach},    
	    {"query", query},       {"names", names},   {"record", record},   {NULL, NULL},
	};
	static const luaL_Reg meta[] = {{"__gc", close_world}, {"__close", close_world}, {NULL, NULL}};

	lua_pushlightuserdata(L, stock);
	luaL_setfuncs(L, functions, 1);
	sh_sandbox_class(L, class_name, meta, methods);
}
