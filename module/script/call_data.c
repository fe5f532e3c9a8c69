/* call.data: plain values that stay with the call. A run sees a table; what it holds is copied to the call (a C record
 * that belongs to no generation) whenever the run waits or ends and has
 * changed it. */
#include "script/impl.h"

static bool same(const struct sh_value *a, const struct sh_value *b)
{
	return a && b && a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* From here on the run has a table of its own, that is on top of the stack. Pops it. */
static void adopt(lua_State *L, struct sh_run *r)
{
	struct sh_value *now = sh_value_check(L, lua_gettop(L), 1, 0, "call.data");

	sh_value_destroy(r->seen);
	r->seen = now;
	if (r->data_ref == LUA_NOREF)
		r->data_ref = luaL_ref(L, LUA_REGISTRYINDEX);
	else
		lua_rawseti(L, LUA_REGISTRYINDEX, r->data_ref);
}

int sh_call_data_push(lua_State *L, struct sh_call *c)
{
	struct sh_run *r = sh_run_check(L, "call.data");
	struct sh_call_data *d = sh_call_app(c);

	if (r->call != sh_call_handle(c)) { /* of another call: a copy to read */
		if (!d || !d->data)
			lua_newtable(L);
		else
			sh_value_push(L, d->data);
		return 1;
	}
	if (r->data_ref == LUA_NOREF) {
		if (!d || !d->data)
			lua_newtable(L);
		else
			sh_value_push(L, d->data);
		adopt(L, r);
	}
	lua_rawgeti(L, LUA_REGISTRYINDEX, r->data_ref);
	return 1;
}

void sh_call_data_set(lua_State *L, struct sh_call *c, int idx)
{
	struct sh_run *r = sh_run_check(L, "call.data");

	if (r->call != sh_call_handle(c))
		luaL_error(L, "call.data can be set in hooks of that call only");
	lua_pushvalue(L, idx);
	adopt(L, r);
	sh_value_destroy(r->seen); /* whatever it holds is news */
	r->seen = NULL;
}

void sh_call_data_save(struct sh_run *r)
{
	struct sh_runtime *rt = r->state->runtime;
	lua_State *L = r->state->vm->L;
	struct sh_call *c = sh_ua_call(rt->ua, r->call);
	struct sh_call_data *d = c ? sh_call_app(c) : NULL;
	struct sh_value *v;
	char why[256];

	if (r->data_ref == LUA_NOREF || !d)
		return;
	lua_rawgeti(L, LUA_REGISTRYINDEX, r->data_ref);
	if (sh_value_pack(&v, L, lua_gettop(L), 1, 0, "call.data", why, sizeof(why)) == 0) {
		if (same(v, r->seen)) { /* nothing of ours: another hook's changes stay */
			sh_value_destroy(v);
		} else {
			sh_value_destroy(r->seen);
			r->seen = sh_value_dup(v);
			sh_value_destroy(d->data);
			d->data = v;
		}
	} else {
		sh_runtime_error(rt, "call %.*s: %s; the former value is kept", SH_FMT(sh_call_id(c)), why);
	}
	lua_pop(L, 1);
}
