/* What the location store knows of an address of record: sip.lookup, sip.bindings, sip.unbind. */
#include "registrar/gruu.h"
#include "script/impl.h"
#include "script/uri_object.h"

/* By which flows a contact registered: a userdata with a struct sh_flows, so that no script can make one up. */
static const char flow_name[] = "siphook.flow";

void sh_lookup_open(lua_State *L)
{
	static const luaL_Reg none[] = {{NULL, NULL}};

	sh_sandbox_class(L, flow_name, none, NULL);
}

const struct sh_flows *sh_flows_test(lua_State *L, int idx)
{
	return luaL_testudata(L, idx, flow_name);
}

struct sh_bindings **sh_bindings_guard(lua_State *L)
{
	struct sh_bindings **slot = &sh_state_of(L)->verb.bindings;

	sh_bindings_unref(*slot);
	*slot = NULL;
	return slot;
}

int sh_push_bindings(lua_State *L, struct sh_bindings **slot, uint64_t now)
{
	const struct sh_bindings *b = *slot;
	lua_Integer n = 0;

	luaL_checkstack(L, 8, NULL);
	lua_createtable(L, b ? (int)b->count : 0, 0);
	for (unsigned i = 0; b && i < b->count; i++) {
		const struct sh_contact *c = &b->contacts[i];

		if (c->expires_at <= now)
			continue;
		sh_push_contact(L, c, now);
		lua_rawseti(L, -2, ++n);
	}
	sh_bindings_unref(*slot);
	*slot = NULL;
	return 1;
}

int sh_aor_read(lua_State *L, int idx, struct sh_runtime *rt, struct sh_slice *out)
{
	struct sh_slice text;
	struct sh_uri uri;

	if (!sh_uri_object_text(L, idx, &text))
		luaL_typeerror(L, idx, "URI or text");
	sh_runtime_scratch(rt);
	if (sh_uri_parse(&uri, text) < 0) {
		int err;

		if (sh_slice_find(text, '@') >= 0) { /* "alice@example.org" */
			err = sh_arena_printf(&rt->scratch, &text, "sip:%.*s", SH_FMT(text));
		} else { /* "alice": at the first local domain */
			struct sh_slice host = rt->domains.count ? rt->domains.names[0] : (struct sh_slice){0}, user;

			if (!host.len && sh_transport_endpoints(sh_ua_transport(rt->ua)))
				host = sh_transport_endpoint(sh_ua_transport(rt->ua), 0)->host;
			err = sh_uri_escape_user(&rt->scratch, text, &user);
			if (!err)
				err = sh_arena_printf(&rt->scratch, &text, "sip:%.*s@%.*s", SH_FMT(user), SH_FMT(host));
		}
		if (err)
			return err;
		if (sh_uri_parse(&uri, text) < 0)
			return -EINVAL;
	}
	return sh_aor_canonical(&rt->scratch, &uri, &rt->domains, out);
}

static struct sh_slice take(char **at, struct sh_slice s)
{
	struct sh_slice out = sh_slice_make(*at, s.len);

	if (s.len)
		memcpy(*at, s.base, s.len);
	*at += s.len;
	return out;
}

/* Both are flows of one phone (RFC 5626 5.1). */
static bool same_phone(const struct sh_contact *a, const struct sh_contact *b)
{
	return a->reg_id && b->reg_id && a->instance.len && sh_slice_ieq(a->instance, b->instance);
}

/* A request goes to a phone once: the newest flow comes first, the others are for when that one fails. */
static bool is_another_flow(const struct sh_bindings *b, unsigned i, uint64_t now)
{
	for (unsigned k = 0; k < i; k++)
		if (b->contacts[k].expires_at > now && same_phone(&b->contacts[k], &b->contacts[i]))
			return true;
	return false;
}

/* The entry itself has the texts of the first. */
static void push_flows(lua_State *L, const struct sh_bindings *b, unsigned i, uint64_t now)
{
	const struct sh_contact *contacts[SH_FLOWS_MAX] = {&b->contacts[i]};
	unsigned count = 1;
	size_t size = 0;
	struct sh_flows *flows;
	char *at;

	for (unsigned k = i + 1; k < b->count && count < SH_FLOWS_MAX; k++) {
		if (b->contacts[k].expires_at <= now || !same_phone(contacts[0], &b->contacts[k]))
			continue;
		contacts[count++] = &b->contacts[k];
		size += b->contacts[k].uri.len + b->contacts[k].path.len;
	}
	flows = lua_newuserdatauv(L, sizeof(*flows) + size, 0);
	flows->count = count;
	at = flows->text;
	for (unsigned k = 0; k < count; k++) {
		struct sh_reach *r = &flows->reaches[k];

		*r = sh_reach_of(contacts[k]);
		r->uri = k ? take(&at, r->uri) : (struct sh_slice){0};
		r->route = k ? take(&at, r->route) : (struct sh_slice){0};
	}
	luaL_setmetatable(L, flow_name);
}

void sh_push_flow(lua_State *L, const struct sh_path *path)
{
	struct sh_flows *flow = lua_newuserdatauv(L, sizeof(*flow), 0);

	flow->count = 1;
	flow->reaches[0] = (struct sh_reach){.path = *path, .has_path = true, .behind_nat = true};
	luaL_setmetatable(L, flow_name);
}

static void push_target(lua_State *L, const struct sh_bindings *b, unsigned i, uint64_t now, lua_Integer group)
{
	const struct sh_contact *c = &b->contacts[i];

	lua_createtable(L, 0, 5);
	sh_push_slice(L, c->uri);
	lua_setfield(L, -2, "uri");
	lua_pushnumber(L, c->q / 1000.0);
	lua_setfield(L, -2, "q");
	lua_pushinteger(L, group);
	lua_setfield(L, -2, "group");
	if (c->path.len) {
		sh_push_slice(L, c->path);
		lua_setfield(L, -2, "path");
	}
	push_flows(L, b, i, now);
	lua_setfield(L, -2, "flow");
}

/* 0 or 1: a GRUU, *g, of that address of record; -ENOENT: an address of record; else nobody's. */
static int read_aor_or_gruu(lua_State *L, struct sh_runtime *rt, struct sh_slice *aor, struct sh_gruu *g)
{
	struct sh_slice text;
	struct sh_uri uri;
	int kind = -ENOENT;

	sh_runtime_scratch(rt);
	if (sh_uri_object_text(L, 1, &text) && sh_uri_parse(&uri, text) == 0)
		kind = sh_gruu_open(g, aor, &rt->scratch, &rt->env->key, &uri);
	if (kind != 0 && kind != -EINVAL && sh_aor_read(L, 1, rt, aor) < 0)
		return -EINVAL;
	return kind;
}

const char *const sh_options_lookup[] = {"expired", NULL};

int sh_lookup(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.lookup");
	struct sh_gruu g;
	int gruu;
	struct sh_slice aor;
	struct sh_bindings **slot;
	uint64_t now = sh_env_wall(rt->env);
	bool expired = false, lamps = sh_ua_watched(rt->ua);
	lua_Integer n = 0, group = -1;
	unsigned q = UINT32_MAX;

	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		sh_opt_known(L, 2, "sip.lookup", sh_options_lookup);
		expired = sh_opt_bool(L, 2, "expired", false);
	}
	slot = sh_bindings_guard(L);
	gruu = read_aor_or_gruu(L, rt, &aor, &g);
	if (gruu >= 0 || gruu == -ENOENT)
		*slot = sh_location_lookup(rt->script->config.location, aor);
	lua_createtable(L, *slot ? (int)(*slot)->count : 0, 0);
	for (unsigned i = 0; *slot && i < (*slot)->count; i++) {
		const struct sh_contact *c = &(*slot)->contacts[i];

		if ((c->expires_at <= now && !expired) || (gruu >= 0 && !sh_gruu_match(&g, &rt->env->key, c)) ||
		    is_another_flow(*slot, i, now))
			continue;
		if (c->q != q) { /* sorted by q: each value is a group of its own */
			q = c->q;
			group++;
		}
		push_target(L, *slot, i, now, group);
		if (lamps) { /* whose lamp it is */
			lua_pushlstring(L, aor.base, aor.len);
			lua_setfield(L, -2, "aor");
		}
		lua_rawseti(L, -2, ++n);
	}
	sh_bindings_unref(*slot);
	*slot = NULL;
	return 1;
}

int sh_bindings(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.bindings");
	struct sh_bindings **slot;
	struct sh_slice aor;

	lua_settop(L, 1);
	slot = sh_bindings_guard(L);
	if (sh_aor_read(L, 1, rt, &aor) == 0)
		*slot = sh_location_lookup(rt->script->config.location, aor);
	return sh_push_bindings(L, slot, sh_env_wall(rt->env));
}

int sh_unbind(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.unbind");
	struct sh_slice aor, contact = {0};
	int n;

	lua_settop(L, 2);
	if (!lua_isnil(L, 2) && !sh_uri_object_text(L, 2, &contact))
		luaL_typeerror(L, 2, "URI or text");
	n = sh_aor_read(L, 1, rt, &aor);
	if (n == 0)
		n = sh_location_unbind(rt->script->config.location, aor, contact, sh_env_wall(rt->env), rt);
	if (n < 0)
		return sh_push_errno(L, n);
	lua_pushinteger(L, n);
	return 1;
}
