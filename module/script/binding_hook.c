/* The hook `binding`: what happened to a contact in the location store. It may happen in the middle of a hook (in
 * req:register, sip.unbind), so it is copied, and told when no Lua is on the stack. */
#include "script/impl.h"

struct happening {
	struct sh_link link; /* runtime->bound */
	enum sh_binding_event event;
	struct sh_slice aor;
	struct sh_contact contact;
	char text[];
};

void sh_push_contact(lua_State *L, const struct sh_contact *c, uint64_t now)
{
	static const struct {
		const char *name;
		size_t offset;
	} texts[] = {
	    {"user_agent", offsetof(struct sh_contact, user_agent)},
	    {"instance", offsetof(struct sh_contact, instance)},
	    {"path", offsetof(struct sh_contact, path)},
	    {"call_id", offsetof(struct sh_contact, call_id)},
	};

	lua_createtable(L, 0, 8);
	sh_push_slice(L, c->uri);
	lua_setfield(L, -2, "uri");
	lua_pushnumber(L, c->q / 1000.0);
	lua_setfield(L, -2, "q");
	lua_pushnumber(L, c->expires_at > now ? (double)(c->expires_at - now) / 1e6 : 0.0);
	lua_setfield(L, -2, "expires");
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		const struct sh_slice *s = (const void *)((const char *)c + texts[i].offset);

		if (!s->len)
			continue;
		sh_push_slice(L, *s);
		lua_setfield(L, -2, texts[i].name);
	}
	if (c->reg_id) {
		lua_pushinteger(L, c->reg_id);
		lua_setfield(L, -2, "reg_id");
	}
	lua_pushboolean(L, c->behind_nat);
	lua_setfield(L, -2, "behind_nat");
	sh_push_source(L, &c->from);
	lua_setfield(L, -2, "source");
}

static int push_happening(lua_State *L, void *arg)
{
	static const char *const names[] = {"added", "refreshed", "removed", "expired", "lost"};
	const struct happening *h = arg;
	struct sh_state *s = sh_state_of(L);

	lua_rawgeti(L, LUA_REGISTRYINDEX, s->hooks[SH_HOOK_BINDING]);
	sh_push_slice(L, h->aor);
	sh_push_contact(L, &h->contact, sh_env_wall(s->runtime->env));
	lua_pushstring(L, names[h->event]);
	return 4;
}

static struct sh_slice copy(char **at, struct sh_slice s)
{
	char *base = *at;

	if (s.len)
		memcpy(base, s.base, s.len);
	*at += s.len;
	return sh_slice_make(base, s.len);
}

static struct happening *create(struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event event)
{
	size_t size = aor.len + c->uri.len + c->params.len + c->call_id.len + c->path.len + c->user_agent.len +
		      c->instance.len;
	struct happening *h = sh_malloc(sizeof(*h) + size);
	char *at;

	if (!h)
		return NULL;
	at = h->text;
	h->event = event;
	h->contact = *c;
	h->aor = copy(&at, aor);
	h->contact.uri = copy(&at, c->uri);
	h->contact.params = copy(&at, c->params);
	h->contact.call_id = copy(&at, c->call_id);
	h->contact.path = copy(&at, c->path);
	h->contact.user_agent = copy(&at, c->user_agent);
	h->contact.instance = copy(&at, c->instance);
	return h;
}

static void complain(struct sh_runtime *rt)
{
	sh_runtime_error(rt, "out of memory: no binding hook");
}

void sh_runtime_on_binding(void *ctx, void *by, struct sh_slice aor, const struct sh_contact *c,
			   enum sh_binding_event event)
{
	struct sh_runtime *rt = by;
	struct happening *h;

	(void)ctx;
	if (rt && rt->ua)
		sh_ua_binding_changed(rt->ua, aor);
	if (!rt)
		return;
	if (rt->keeper)
		sh_keeper_note(rt->keeper, aor, c, event);
	if (!sh_runtime_has(rt, SH_HOOK_BINDING))
		return;
	h = create(aor, c, event);
	if (!h) {
		complain(rt);
		return;
	}
	sh_list_append(&rt->bound, &h->link);
	if (!rt->depth)
		sh_runtime_flush(rt);
}

void sh_binding_hook_flush(struct sh_runtime *rt)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&rt->bound))) {
		struct happening *h = SH_CONTAINER(l, struct happening, link);
		struct sh_run_start start = {.hook = SH_HOOK_BINDING, .push = push_happening, .arg = h};

		if (sh_runtime_has(rt, SH_HOOK_BINDING) && sh_run_begin(rt->state, &start) < 0)
			complain(rt);
		sh_free(h);
	}
}

void sh_binding_hook_drop(struct sh_runtime *rt)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&rt->bound)))
		sh_free(SH_CONTAINER(l, struct happening, link));
}
