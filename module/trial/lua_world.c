/* Worlds as the test library sees them. Times are microseconds as integers. What the script did and what was logged is kept here, in
 * the order in which it happened, until w:events() takes it: the engine must not run into an error of Lua. */
#include <errno.h>

#include "core/alloc.h"
#include "script/sandbox.h"
#include "trial/lua.h"
#include "trial/world.h"

static const char class_name[] = "siphook.test.world";

enum { EVENTS_MAX = 100000, PAIRS_MAX = 1000, PRESETS_MAX = 100000, WORDS = 1024 };

struct event {
	struct sh_link link;
	uint64_t at;
	enum sh_log_level level; /* of a log line */
	bool decision;
	int line;
	uint16_t file_len, verb_len, call_len;
	size_t text_len;
	char data[]; /* file, verb, call, text */
};

struct preset {
	struct sh_slice store, key;
	struct sh_shared_value value;
	bool push;
};

struct world {
	struct sh_world *w; /* NULL: closed */
	struct sh_link events;
	unsigned count;
	struct preset *presets; /* while it is made */
	unsigned npresets;
};

/* ------------------------------------------------------------------ what happens inside */

static void on_trace(void *ctx, const struct sh_trace *t)
{
	struct world *o = ctx;
	struct event *e;

	if (o->count == EVENTS_MAX)
		return;
	e = sh_malloc(sizeof(*e) + t->file.len + t->verb.len + t->call.len + t->args.len);
	if (!e)
		return;
	*e = (struct event){.at = t->at, .decision = true, .line = t->line};
	e->file_len = (uint16_t)t->file.len;
	e->verb_len = (uint16_t)t->verb.len;
	e->call_len = (uint16_t)t->call.len;
	e->text_len = t->args.len;
	char *p = e->data;
	const struct sh_slice parts[] = {t->file, t->verb, t->call, t->args};
	for (int i = 0; i < 4; i++) {
		if (parts[i].len)
			memcpy(p, parts[i].base, parts[i].len);
		p += parts[i].len;
	}
	sh_list_init(&e->link);
	sh_list_append(&o->events, &e->link);
	o->count++;
}

static void on_log(void *ctx, uint64_t at, enum sh_log_level level, const char *line, size_t len)
{
	struct world *o = ctx;
	struct event *e = o->count < EVENTS_MAX ? sh_malloc(sizeof(*e) + len) : NULL;

	if (!e)
		return;
	*e = (struct event){.at = at, .level = level, .text_len = len};
	memcpy(e->data, line, len);
	sh_list_init(&e->link);
	sh_list_append(&o->events, &e->link);
	o->count++;
}

static int on_prepare(void *ctx, struct sh_shared *shared)
{
	struct world *o = ctx;
	int err = 0;

	for (unsigned i = 0; i < o->npresets && !err; i++) {
		const struct preset *p = &o->presets[i];
		struct sh_shared_at at = {.now = SH_SECOND};
		size_t length;

		err = sh_shared_open(shared, p->store, &at.store);
		if (!err && p->push)
			err = sh_shared_push(&at, p->key, &p->value, 0, &length);
		else if (!err)
			err = sh_shared_set(&at, p->key, &p->value, 0);
	}
	return err;
}

/* ------------------------------------------------------------------ reading the options */

static bool to_shared(lua_State *L, int idx, struct sh_shared_value *v)
{
	switch (lua_type(L, idx)) {
	case LUA_TBOOLEAN:
		v->kind = SH_SHARED_BOOLEAN;
		v->u.boolean = lua_toboolean(L, idx);
		return true;
	case LUA_TNUMBER:
		v->kind = lua_isinteger(L, idx) ? SH_SHARED_INTEGER : SH_SHARED_FLOAT;
		if (v->kind == SH_SHARED_INTEGER)
			v->u.integer = lua_tointeger(L, idx);
		else
			v->u.number = lua_tonumber(L, idx);
		return true;
	case LUA_TSTRING:
		v->kind = SH_SHARED_STRING;
		v->u.text.base = lua_tolstring(L, idx, &v->u.text.len);
		return true;
	default:
		return false;
	}
}

/* The texts stay in the table that was given. list: a userdata of PRESETS_MAX at most, grown by doubling. */
static void add_preset(lua_State *L, struct world *o, int list, const struct preset *p)
{
	if (o->npresets == PRESETS_MAX)
		luaL_error(L, "shared: more than %d values", PRESETS_MAX);
	if ((o->npresets & (o->npresets - 1)) == 0) { /* 0, 1, 2, 4 ... */
		size_t n = o->npresets ? 2 * (size_t)o->npresets : 1;
		struct preset *more = lua_newuserdatauv(L, n * sizeof(*more), 0);

		if (o->npresets)
			memcpy(more, o->presets, o->npresets * sizeof(*more));
		o->presets = more;
		lua_replace(L, list);
	}
	o->presets[o->npresets++] = *p;
}

/* One value of a store at the top, its key below. */
static void read_value(lua_State *L, struct world *o, int list, struct sh_slice store)
{
	struct preset p = {.store = store};

	if (lua_type(L, -2) != LUA_TSTRING)
		luaL_error(L, "shared.%s: keys must be strings", store.base);
	p.key.base = lua_tolstring(L, -2, &p.key.len);
	if (lua_type(L, -1) != LUA_TTABLE) {
		if (!to_shared(L, -1, &p.value))
			luaL_error(L, "shared.%s.%s: a string, number, boolean or list of them expected, got %s", store.base,
				   p.key.base, luaL_typename(L, -1));
		add_preset(L, o, list, &p);
		return;
	}
	p.push = true;
	for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
		if (!to_shared(L, -1, &p.value))
			luaL_error(L, "shared.%s.%s[%I]: a string, number or boolean expected, got %s", store.base, p.key.base,
				   (LUAI_UACINT)i, luaL_typename(L, -1));
		add_preset(L, o, list, &p);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
}

static void read_shared(lua_State *L, struct world *o, int list)
{
	if (lua_getfield(L, 1, "shared") == LUA_TNIL)
		return;
	luaL_checktype(L, -1, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, -2)) {
		struct sh_slice store;

		if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TTABLE)
			luaL_error(L, "shared: names of stores with tables of values expected");
		store.base = lua_tolstring(L, -2, &store.len);
		lua_pushnil(L);
		while (lua_next(L, -2)) {
			read_value(L, o, list, store);
			lua_pop(L, 1);
		}
		lua_pop(L, 1);
	}
}

static unsigned read_config(lua_State *L, const struct sh_engine_pair **out)
{
	struct sh_engine_pair *pairs;
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

/* create{script=, seed=, loss=, duplicate=, reorder=, delay_min=, delay_max=, workers=, shared=, config=} -> world | nil, error */
static int create(lua_State *L)
{
	struct sh_world_options o = {.trace = on_trace, .log = on_log};
	char error[WORDS];
	struct world *w;
	int err;

	luaL_checktype(L, 1, LUA_TTABLE);
	lua_settop(L, 1);
	luaL_checkstack(L, 20, NULL);
	w = lua_newuserdatauv(L, sizeof(*w), 1); /* at 2 */
	*w = (struct world){0};
	sh_list_init(&w->events);
	luaL_setmetatable(L, class_name);
	lua_pushnil(L); /* at 3: the presets */
	read_shared(L, w, 3);
	o.nconfig = read_config(L, &o.config);
	o.sim.seed = (uint64_t)number(L, "seed", 1);
	o.sim.loss = number(L, "loss", 0);
	o.sim.duplicate = number(L, "duplicate", 0);
	o.sim.reorder = number(L, "reorder", 0);
	o.sim.delay_min = (uint64_t)number(L, "delay_min", 0);
	o.sim.delay_max = (uint64_t)number(L, "delay_max", 0);
	o.workers = (unsigned)number(L, "workers", 1);
	o.prepare = on_prepare;
	o.ctx = w;
	lua_getfield(L, 1, "script");
	o.script = luaL_checkstring(L, -1);
	err = sh_world_create(&w->w, &o, error, sizeof(error));
	w->presets = NULL;
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
	struct sh_link *l;

	o->w = NULL;
	sh_world_destroy(w);
	while ((l = sh_list_pop(&o->events)))
		sh_free(SH_CONTAINER(l, struct event, link));
	o->count = 0;
	return 0;
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
	struct sh_slice name = sh_engine_domain(sh_world_engine(check(L)->w));

	if (name.len)
		lua_pushlstring(L, name.base, name.len);
	else
		lua_pushnil(L);
	return 1;
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

/* w:receive(until) -> nil, or place, message (text: it is none), "udp" | "tcp", ip, port, time of arrival */
static int receive(lua_State *L)
{
	struct world *o = check(L);
	struct sh_arrival *a = sh_world_receive(o->w, (uint64_t)luaL_checkinteger(L, 2));
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

/* w:events() -> all so far, oldest first: {at=, verb=, where=, text=, call=} or {at=, level=, text=} */
static int events(lua_State *L)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	struct world *o = luaL_checkudata(L, 1, class_name);
	lua_Integer n = 0;

	lua_createtable(L, (int)o->count, 0);
	SH_LIST_EACH(l, &o->events)
	{
		const struct event *e = SH_CONTAINER(l, struct event, link);
		const char *p = e->data + e->file_len + e->verb_len + e->call_len;

		lua_createtable(L, 0, 6);
		lua_pushinteger(L, (lua_Integer)e->at);
		lua_setfield(L, -2, "at");
		lua_pushlstring(L, p, e->text_len);
		lua_setfield(L, -2, "text");
		if (e->decision) {
			lua_pushlstring(L, e->data, e->file_len);
			lua_setfield(L, -2, "file");
			lua_pushinteger(L, e->line);
			lua_setfield(L, -2, "line");
			lua_pushlstring(L, e->data + e->file_len, e->verb_len);
			lua_setfield(L, -2, "verb");
			lua_pushlstring(L, e->data + e->file_len + e->verb_len, e->call_len);
			lua_setfield(L, -2, "call");
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

/* w:reload() -> generation | nil, error */
static int reload(lua_State *L)
{
	char error[WORDS];
	uint64_t generation = sh_world_reload(check(L)->w, error, sizeof(error));

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

/* w:get(store, key) -> value | nil */
static int get(lua_State *L)
{
	struct world *o = check(L);
	struct sh_shared_at at = {.now = sh_world_now(o->w)};
	struct sh_shared_value v;
	struct sh_slice store, key;
	char small[512], *buf = small;
	size_t need = 0;
	int err;

	store.base = luaL_checklstring(L, 2, &store.len);
	key.base = luaL_checklstring(L, 3, &key.len);
	err = sh_shared_open(sh_world_shared(o->w), store, &at.store);
	if (!err)
		err = sh_shared_get(&at, key, &v, buf, sizeof(small), &need);
	if (err == -ENOBUFS) {
		buf = lua_newuserdatauv(L, need, 0);
		err = sh_shared_get(&at, key, &v, buf, need, &need);
	}
	if (err == -ENOENT)
		return 0;
	if (err)
		return luaL_error(L, "%s: %s", store.base, strerror(-err));
	switch (v.kind) {
	case SH_SHARED_BOOLEAN:
		lua_pushboolean(L, v.u.boolean);
		break;
	case SH_SHARED_INTEGER:
		lua_pushinteger(L, v.u.integer);
		break;
	case SH_SHARED_FLOAT:
		lua_pushnumber(L, v.u.number);
		break;
	case SH_SHARED_STRING:
		lua_pushlstring(L, v.u.text.base, v.u.text.len);
		break;
	case SH_SHARED_LIST:
		lua_pushinteger(L, (lua_Integer)v.u.length);
		break;
	default:
		lua_pushnil(L);
	}
	return 1;
}

/* w:set(store, key, value): nil deletes */
static int set(lua_State *L)
{
	struct world *o = check(L);
	struct sh_shared_at at = {.now = sh_world_now(o->w)};
	struct sh_shared_value v = {0};
	struct sh_slice store, key;
	int err;

	store.base = luaL_checklstring(L, 2, &store.len);
	key.base = luaL_checklstring(L, 3, &key.len);
	if (!lua_isnoneornil(L, 4) && !to_shared(L, 4, &v))
		return luaL_argerror(L, 4, "string, number or boolean expected");
	err = sh_shared_open(sh_world_shared(o->w), store, &at.store);
	if (!err && v.kind == SH_SHARED_NONE) {
		err = sh_shared_delete(&at, key);
		err = err == -ENOENT ? 0 : err;
	} else if (!err) {
		err = sh_shared_set(&at, key, &v, 0);
	}
	return err ? luaL_error(L, "%s: %s", store.base, strerror(-err)) : 0;
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

void sh_trial_world_open(lua_State *L)
{
	static const luaL_Reg functions[] = {{"world", create}, {NULL, NULL}};
	static const luaL_Reg methods[] = {
	    {"close", close_world}, {"now", now},       {"address", address}, {"domain", domain}, {"listen", listen_},
	    {"send", send_},        {"hang_up", hang_up}, {"receive", receive}, {"events", events}, {"busy", busy},
	    {"reload", reload},     {"name", name},     {"reach", reach},     {"get", get},       {"set", set},
	    {"query", query},       {NULL, NULL},
	};
	static const luaL_Reg meta[] = {{"__gc", close_world}, {"__close", close_world}, {NULL, NULL}};

	luaL_setfuncs(L, functions, 0);
	sh_sandbox_class(L, class_name, meta, methods);
}
