/* The hook sdp: a description on its way from leg to leg. It may wait, so what it holds up goes on behind it; it begins when no
 * Lua is on the stack. Whatever ends it without an error, what it did to the sdp counts. */
#include "script/impl.h"
#include "script/sdp_object.h"

static int push_question(lua_State *L, void *arg)
{
	struct sh_question *q = arg;
	struct sh_state *s = sh_state_of(L);
	struct sh_call *c = sh_question_call(q);

	lua_rawgeti(L, LUA_REGISTRYINDEX, s->hooks[SH_HOOK_SDP]);
	if (sh_sdp_object_push(L, sh_question_body(q)) < 0)
		lua_pushnil(L); /* cannot be: it was read before */
	lua_pushvalue(L, -1);
	*sh_question_ref(q) = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_createtable(L, 0, 5);
	if (c) {
		sh_object_push(L, SH_OBJECT_CALL, sh_call_handle(c));
		lua_setfield(L, -2, "call");
	}
	if (sh_question_from(q)) {
		sh_object_push(L, SH_OBJECT_LEG, sh_question_from(q));
		lua_setfield(L, -2, "from");
	}
	if (sh_question_to(q)) {
		sh_object_push(L, SH_OBJECT_LEG, sh_question_to(q));
		lua_setfield(L, -2, "to");
	}
	lua_pushstring(L, sh_question_is_offer(q) ? "offer" : "answer");
	lua_setfield(L, -2, "kind");
	lua_pushboolean(L, !c || !sh_call_answered(c));
	lua_setfield(L, -2, "early");
	return 3;
}

static bool has_hook(const struct sh_state *s)
{
	return s && s->hooks[SH_HOOK_SDP] != LUA_NOREF;
}

static void begin(struct sh_runtime *rt, struct sh_question *q)
{
	struct sh_run_start start = {.hook = SH_HOOK_SDP, .call = sh_question_call(q), .push = push_question, .arg = q, .question = q};

	*sh_question_ref(q) = LUA_NOREF;
	sh_runtime_update(rt);
	if (!has_hook(rt->state) || sh_run_begin(rt->state, &start) < 0)
		sh_question_answer(q, (struct sh_slice){0});
}

static void on_timer(struct sh_timer *t)
{
	struct sh_runtime *rt = SH_CONTAINER(t, struct sh_runtime, questions_timer);
	struct sh_link *k = sh_list_pop(&rt->questions);

	if (!k)
		return;
	if (!sh_list_empty(&rt->questions))
		sh_env_timer(rt->env, t, 0);
	begin(rt, sh_question_of_link(k));
}

bool sh_sdp_hook_wanted(void *ctx)
{
	const struct sh_runtime *rt = ctx;

	return has_hook(rt->state);
}

void sh_sdp_hook_ask(void *ctx, struct sh_question *q)
{
	struct sh_runtime *rt = ctx;

	sh_list_append(&rt->questions, sh_question_link(q));
	sh_env_timer(rt->env, &rt->questions_timer, 0);
}

void sh_sdp_hook_answer(struct sh_run *r, bool edited)
{
	struct sh_question *q = r->question;
	lua_State *L = r->state->vm->L;
	struct sh_slice text = {0};
	int ref = *sh_question_ref(q);

	r->question = NULL;
	if (edited && ref != LUA_NOREF) {
		lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
		sh_sdp_object_text(L, -1, &text);
		lua_pop(L, 1); /* the reference holds it */
	}
	sh_question_answer(q, text);
	luaL_unref(L, LUA_REGISTRYINDEX, ref);
}

void sh_sdp_hook_init(struct sh_runtime *rt)
{
	sh_list_init(&rt->questions);
	sh_timer_init(&rt->questions_timer, on_timer);
}

/* The user agent frees what nobody has answered, and what runs that were dropped have not. */
void sh_sdp_hook_stop(struct sh_runtime *rt)
{
	sh_wheel_cancel(&rt->env->wheel, &rt->questions_timer);
	while (sh_list_pop(&rt->questions))
		;
}
