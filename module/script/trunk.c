/* sip.trunk and the object that it gives: a provider as a target, with its state. */
#include "script/impl.h"
#include "script/uri_object.h"

enum { DEFAULT_EXPIRES = 3600 };

static const char class_name[] = "siphook.trunk";

struct trunk_object {
	struct sh_trunk_config *config; /* in the generation's arena */
};

const struct sh_trunk_config *sh_trunk_test(lua_State *L, int idx)
{
	const struct trunk_object *o = luaL_testudata(L, idx, class_name);

	return o ? o->config : NULL;
}

/* ------------------------------------------------------------------ reading */

static struct sh_trunk_config *find(struct sh_trunk_config *list, unsigned count, struct sh_slice name)
{
	for (unsigned i = 0; i < count; i++)
		if (sh_slice_eq(list[i].name, name))
			return &list[i];
	return NULL;
}

static void keep(lua_State *L, struct sh_arena *a, struct sh_slice *s)
{
	if (s->len && sh_arena_dup(a, *s, s) < 0)
		luaL_error(L, "not enough memory");
}

static void keep_target(lua_State *L, struct sh_arena *a, struct sh_target *t)
{
	struct sh_slice *const texts[] = {&t->uri, &t->route, &t->from, &t->to, &t->headers, &t->copy, &t->pai,
					  &t->privacy, &t->diversion};
	struct sh_login *logins = sh_arena_alloc(a, t->nlogins * sizeof(*logins));

	if (!logins)
		luaL_error(L, "not enough memory");
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		keep(L, a, texts[i]);
	for (unsigned i = 0; i < t->nlogins; i++) {
		logins[i] = t->logins[i];
		keep(L, a, &logins[i].user);
		keep(L, a, &logins[i].password);
		keep(L, a, &logins[i].realm);
	}
	t->logins = logins;
}

const char *const sh_options_trunk_register[] = {"expires", "contact", "aor", NULL};

/* register = true | {expires=, contact=, aor=}. The address of record: whom we log in as at the first URI's domain. */
static void read_register(lua_State *L, struct sh_arena *a, struct sh_trunk_config *c)
{
	struct sh_slice user = {0}, escaped, aor = {0}, contact = {0};
	struct sh_uri uri;
	int type = sh_opt_get(L, 1, "register"), idx = lua_gettop(L);

	c->expires = DEFAULT_EXPIRES;
	if (type == LUA_TTABLE) {
		sh_opt_known(L, idx, "sip.trunk: option 'register'", sh_options_trunk_register);
		c->registers = true;
		c->expires = (uint32_t)sh_opt_integer(L, idx, "expires", DEFAULT_EXPIRES, 10, 1 << 24);
		contact = sh_opt_text(L, idx, "contact");
		if (sh_opt_get(L, idx, "aor") != LUA_TNIL)
			aor = sh_opt_uri(L, lua_gettop(L), "sip.trunk: option 'register.aor'", NULL);
	} else if (type == LUA_TBOOLEAN || type == LUA_TNIL) {
		c->registers = lua_toboolean(L, idx);
	} else {
		luaL_error(L, "sip.trunk: option 'register': true or a table expected, got %s", luaL_typename(L, idx));
	}
	if (sh_uri_parse(&uri, c->targets[0].uri) < 0)
		luaL_error(L, "sip.trunk: option 'uri': no SIP URI");
	if (c->targets[0].nlogins)
		user = c->targets[0].logins[0].user;
	else if (uri.user.len && sh_uri_unescape(a, uri.user, &user) < 0)
		luaL_error(L, "not enough memory");
	if (c->registers && !aor.len && !user.len)
		luaL_error(L, "sip.trunk: option 'register': 'auth' or 'register.aor' is needed to know as whom");
	if (aor.len) {
		if (sh_arena_printf(a, &c->aor, "<%.*s>", SH_FMT(aor)) < 0)
			luaL_error(L, "not enough memory");
	} else {
		escaped = user;
		if ((user.len && sh_uri_escape_user(a, user, &escaped) < 0) ||
		    sh_arena_printf(a, &c->aor, "<sip:%.*s%s%.*s>", SH_FMT(escaped), user.len ? "@" : "", SH_FMT(uri.host)) < 0)
			luaL_error(L, "not enough memory");
	}
	if (!contact.len)
		contact = user;
	if (contact.len && sh_uri_escape_user(a, contact, &c->contact_user) < 0)
		luaL_error(L, "not enough memory");
	lua_settop(L, idx - 1);
}

/* qualify = true | seconds. */
static uint64_t read_qualify(lua_State *L)
{
	int type = sh_opt_get(L, 1, "qualify");
	lua_Number seconds = type == LUA_TNUMBER ? lua_tonumber(L, -1) : lua_toboolean(L, -1) ? 60 : 0;

	if (type != LUA_TNIL && type != LUA_TBOOLEAN && !(type == LUA_TNUMBER && seconds >= 1 && seconds <= 86400))
		luaL_error(L, "sip.trunk: option 'qualify': true or seconds from 1 to 86400 expected");
	lua_pop(L, 1);
	return (uint64_t)(seconds * 1e6);
}

/* Worker 0's top level says what there is; those of the others find it. */
static struct sh_trunk_config *declare(lua_State *L, struct sh_generation *g, struct sh_slice name)
{
	struct sh_plan_about about = {.kind = SH_PLAN_TRUNK};
	struct sh_generation *before = sh_script_current(g->script);
	const struct sh_trunk_config *former;
	struct sh_trunk_config *c;
	struct sh_fork_plan *plan;

	if (find(g->trunks, g->ntrunks, name))
		luaL_error(L, "sip.trunk: there is a trunk '%s' already", name.base);
	if (!g->trunks)
		g->trunks = sh_arena_calloc(&g->arena, SH_GENERATION_TRUNKS, sizeof(*g->trunks));
	if (!g->trunks)
		luaL_error(L, "not enough memory");
	if (g->ntrunks == SH_GENERATION_TRUNKS)
		luaL_error(L, "sip.trunk: more than %d trunks", SH_GENERATION_TRUNKS);
	if (sh_opt_get(L, 1, "uri") == LUA_TNIL)
		luaL_error(L, "sip.trunk: option 'uri' is needed");
	plan = sh_plan_read(L, lua_gettop(L), 1, "sip.trunk", &about);
	if (!plan->count || plan->count > SH_TRUNK_URIS)
		luaL_error(L, "sip.trunk: option 'uri': 1 to %d URIs expected", SH_TRUNK_URIS);
	c = &g->trunks[g->ntrunks];
	*c = (struct sh_trunk_config){.name = name, .count = plan->count};
	keep(L, &g->arena, &c->name);
	c->targets = sh_arena_alloc(&g->arena, plan->count * sizeof(*c->targets));
	if (!c->targets)
		luaL_error(L, "not enough memory");
	for (unsigned i = 0; i < plan->count; i++) {
		c->targets[i] = plan->targets[i];
		keep_target(L, &g->arena, &c->targets[i]);
	}
	read_register(L, &g->arena, c);
	c->qualify = read_qualify(L);
	former = before ? find(before->trunks, before->ntrunks, c->name) : NULL;
	c->status = former ? sh_trunk_status_ref(former->status) : sh_trunk_status_create();
	if (!c->status)
		luaL_error(L, "not enough memory");
	g->ntrunks++;
	return c;
}

/* sip.trunk{name=, uri=, auth=, register=, qualify=, ...} -> trunk */
static int trunk(lua_State *L)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_trunk_config *c;
	struct trunk_object *o;
	struct sh_slice name;

	if (sh_vm_of(L)->sealed)
		return luaL_error(L, "sip.trunk is for the top level of the script");
	lua_settop(L, 1);
	luaL_checktype(L, 1, LUA_TTABLE);
	name = sh_opt_text(L, 1, "name");
	if (!name.len)
		return luaL_error(L, "sip.trunk: option 'name' is needed");
	o = lua_newuserdatauv(L, sizeof(*o), 0);
	o->config = NULL;
	c = s->worker == 0 ? declare(L, s->generation, name) : find(s->generation->trunks, s->generation->ntrunks, name);
	if (!c)
		return luaL_error(L, "sip.trunk: '%s' is there on this worker only", name.base);
	lua_settop(L, 2);
	o->config = c;
	luaL_setmetatable(L, class_name);
	return 1;
}

/* Of several with that address it is the one whose Contact was called; of those, or where that is none, the one with that port, too; else
 * the first. */
void sh_push_trunk_of(lua_State *L, const struct sh_addr *from, struct sh_slice user)
{
	const struct sh_generation *g = sh_state_of(L)->generation;
	struct sh_trunk_config *found = NULL;
	struct trunk_object *o;
	unsigned best = 0;

	for (unsigned i = 0; i < g->ntrunks; i++) {
		struct sh_trunk_config *c = &g->trunks[i];
		unsigned match = sh_trunk_status_match(c->status, from);

		if (match && user.len && sh_slice_eq(user, c->contact_user))
			match += SH_TRUNK_PORT;
		if (match > best) {
			best = match;
			found = c;
		}
	}
	if (!found) {
		lua_pushnil(L);
		return;
	}
	o = lua_newuserdatauv(L, sizeof(*o), 0);
	o->config = found;
	luaL_setmetatable(L, class_name);
}

/* ------------------------------------------------------------------ the object */

enum { F_STATE = 1, F_NAME, F_REGISTERED, F_CODE, F_EXPIRES, F_URI };

/* Upvalue: the table of names. */
static int index_trunk(lua_State *L)
{
	const struct trunk_object *o = luaL_checkudata(L, 1, class_name);
	struct sh_trunk_status *st = o->config->status;

	lua_pushvalue(L, 2);
	lua_rawget(L, lua_upvalueindex(1));
	switch (lua_tointeger(L, -1)) {
	case F_STATE:
		sh_push_slice(L, sh_trunk_state_name((enum sh_trunk_state)atomic_load(&st->state)));
		break;
	case F_NAME:
		sh_push_slice(L, o->config->name);
		break;
	case F_REGISTERED:
		lua_pushboolean(L, atomic_load(&st->registered));
		break;
	case F_CODE:
		lua_pushinteger(L, atomic_load(&st->code));
		break;
	case F_EXPIRES:
		if (atomic_load(&st->registered))
			lua_pushnumber(L, (double)atomic_load(&st->expires) / 1e6);
		else
			lua_pushnil(L);
		break;
	case F_URI:
		sh_uri_object_push(L, o->config->targets[atomic_load(&st->current) % o->config->count].uri);
		break;
	default:
		lua_pushnil(L);
	}
	return 1;
}

static int trunk_text(lua_State *L)
{
	const struct trunk_object *o = luaL_checkudata(L, 1, class_name);

	lua_pushfstring(L, "trunk %s", lua_pushlstring(L, o->config->name.base, o->config->name.len));
	return 1;
}

void sh_trunk_open(lua_State *L)
{
	static const luaL_Reg meta[] = {{"__tostring", trunk_text}, {NULL, NULL}};
	static const struct sh_field fields[] = {{"state", F_STATE}, {"name", F_NAME},       {"registered", F_REGISTERED},
						 {"code", F_CODE},   {"expires", F_EXPIRES}, {"uri", F_URI}};

	sh_sandbox_class(L, class_name, meta, NULL);
	luaL_getmetatable(L, class_name);
	lua_newtable(L);
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		lua_pushinteger(L, fields[i].id);
		lua_setfield(L, -2, fields[i].name);
	}
	lua_pushcclosure(L, index_trunk, 1);
	lua_setfield(L, -2, "__index");
	lua_pop(L, 1);
	lua_pushcfunction(L, trunk);
	lua_setfield(L, -2, "trunk");
}
