/* `ref`: a REFER, with the verbs of a transfer; and call:transfer. */
#include "b2bua/transfer.h"
#include "script/impl.h"
#include "script/uri_object.h"

enum { F_TARGET = SH_FIELD_OWN, F_REPLACES, F_REFERRED_BY, F_REF_LEG, F_REF_CALL };

static const struct sh_field fields[] = {
    {"target", F_TARGET}, {"replaces", F_REPLACES}, {"referred_by", F_REFERRED_BY},
    {"leg", F_REF_LEG},   {"call", F_REF_CALL},	{NULL, 0},
};

void sh_push_dialog_ids(lua_State *L, struct sh_slice value)
{
	struct sh_dialog_ids ids;

	if (!value.len || sh_dialog_ids_parse(&ids, value) < 0) {
		lua_pushnil(L);
		return;
	}
	lua_createtable(L, 0, 4);
	sh_push_slice(L, ids.call_id);
	lua_setfield(L, -2, "call_id");
	sh_push_slice(L, ids.to_tag);
	lua_setfield(L, -2, "to_tag");
	sh_push_slice(L, ids.from_tag);
	lua_setfield(L, -2, "from_tag");
	if (ids.early_only) {
		lua_pushboolean(L, 1);
		lua_setfield(L, -2, "early_only");
	}
}

static int own_field(lua_State *L, int id)
{
	struct sh_request *q = sh_request_check(L, 1);
	struct sh_runtime *rt = sh_runtime_check(L, "ref");
	struct sh_refer_to to;
	struct sh_slice why;
	struct sh_leg *l;

	if (id < SH_FIELD_OWN)
		return sh_view_field(L, id);
	if (!q)
		return sh_gone(L);
	sh_arena_reset(&rt->scratch);
	sh_refer_read(&to, sh_request_msg(q), &rt->scratch, &why);
	switch (id) {
	case F_TARGET:
		if (!to.uri.len || sh_uri_object_push(L, to.uri) < 0)
			lua_pushnil(L);
		break;
	case F_REPLACES:
		sh_push_dialog_ids(L, to.replaces);
		break;
	case F_REFERRED_BY:
		sh_push_field(L, sh_msg_header(sh_request_msg(q), SH_H_REFERRED_BY));
		break;
	case F_REF_LEG:
		l = sh_refer_leg(q);
		if (l)
			sh_object_push(L, SH_OBJECT_LEG, sh_leg_handle(l));
		else
			lua_pushnil(L);
		break;
	default:
		l = sh_refer_leg(q);
		if (l && sh_leg_call(l))
			sh_object_push(L, SH_OBJECT_CALL, sh_call_handle(sh_leg_call(l)));
		else
			lua_pushnil(L);
	}
	return 1;
}

/* ------------------------------------------------------------------ targets */

/* Replaces the target at idx (text or URI object) by what sip.lookup knows of it when it is one of ours. */
static void look_up(lua_State *L, int idx)
{
	struct sh_runtime *rt = sh_runtime_check(L, "transfer");
	struct sh_slice text;
	struct sh_uri uri;

	if (!sh_uri_object_text(L, idx, &text) || sh_uri_parse(&uri, text) < 0 || !uri.has_user ||
	    !sh_domains_local(&rt->domains, &uri))
		return;
	lua_pushcfunction(L, sh_lookup);
	lua_pushvalue(L, idx);
	lua_call(L, 1, 1);
	lua_replace(L, idx);
}

/* Beside those of a fork. */
const char *const sh_options_accept[] = {"targets", "manual", "anyone", "offer", NULL};
const char *const sh_options_transfer[] = {"keep", "offer", NULL};

/* Pushes a copy of the options at idx (nil is fine) without our own keys, and with To as the address that was asked for. */
static void push_fork_options(lua_State *L, int idx, const char *const *own, struct sh_slice to)
{
	lua_newtable(L);
	if (to.len) {
		sh_push_slice(L, to);
		lua_setfield(L, -2, "to");
	}
	if (lua_isnoneornil(L, idx))
		return;
	luaL_checktype(L, idx, LUA_TTABLE);
	lua_pushnil(L);
	while (lua_next(L, idx)) {
		bool ours = false;

		for (const char *const *name = own; *name && lua_type(L, -2) == LUA_TSTRING; name++)
			ours = ours || strcmp(lua_tostring(L, -2), *name) == 0;
		if (ours) {
			lua_pop(L, 1);
			continue;
		}
		lua_pushvalue(L, -2);
		lua_insert(L, -2);
		lua_rawset(L, -4);
	}
}

/* ------------------------------------------------------------------ the outcome */

static int push_outcome(lua_State *L, void *arg)
{
	const struct sh_result *res = arg;

	if (res->code < 300) {
		lua_pushboolean(L, 1);
		return 1;
	}
	lua_pushnil(L);
	sh_result_push(L, res);
	return 2;
}

/* A hook that waits for a transfer, which goes on if the hook does not. */
struct waiting {
	struct sh_run *run; /* NULL: it waits no longer */
	struct sh_ua *ua;
	uint64_t leaving; /* handle of the leg that is told to go; 0: none */
	bool over;
};

static struct waiting *wait_new(lua_State *L, struct sh_run *run)
{
	struct waiting *w = sh_calloc(1, sizeof(*w));

	if (!w)
		luaL_error(L, "not enough memory");
	w->run = run;
	w->ua = run->state->runtime->ua;
	return w;
}

static void abandon(void *arg)
{
	struct waiting *w = arg;

	if (w->over)
		sh_free(w);
	else
		w->run = NULL;
}

/* A hook of a call that has ended is interrupted in a moment, wherever it waits: `abandon` comes then. */
static bool is_interrupted(const struct sh_run *run)
{
	const struct sh_call *c = sh_ua_call(run->state->runtime->ua, run->call);

	return c && sh_call_state(c) == SH_CALL_ENDED && !sh_list_empty(&run->of_call);
}

static void on_transferred(void *ctx, const struct sh_result *res)
{
	struct waiting *w = ctx;
	struct sh_run *run = w->run;

	if (run && is_interrupted(run)) {
		w->over = true;
		return;
	}
	sh_free(w);
	if (run)
		sh_run_resume(run, push_outcome, (void *)res);
}

static int push_refused(lua_State *L, unsigned code)
{
	struct sh_result res = {code, sh_status_reason(code), sh_cause_of(code), NULL, NULL, 0};

	return push_outcome(L, &res);
}

/* ------------------------------------------------------------------ ref */

static unsigned code_of(int err)
{
	switch (err) {
	case -EACCES:
		return 403;
	case -EBUSY:
		return 491;
	case -EBADMSG:
		return 400;
	case -ENOMEM:
		return 503;
	case -ENOENT:
		return 404;
	default:
		return 481;
	}
}

/* auth() has proven that it comes from whom its From names. */
static bool is_proven(const struct sh_run *run, const struct sh_request *q)
{
	struct sh_slice from = sh_msg_header(sh_request_msg(q), SH_H_FROM);
	struct sh_name_addr name;
	struct sh_uri uri;

	return run->request == sh_request_handle(q) && run->auth_user && sh_name_addr_next(&from, &name) == 0 &&
	       sh_uri_parse(&uri, name.uri) == 0 && sh_slice_eq(uri.user, sh_slice_cstr(run->auth_user));
}

/* ref:accept{targets=, timeout=, headers=, manual=, anyone=} -> true | nil, res */
static int accept_refer(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "ref:accept");
	struct sh_run *run = sh_run_check(L, "ref:accept");
	struct sh_request *q = sh_request_check(L, 1);
	struct sh_refer_options o = {0};
	struct sh_slice why, none = {0}, text;
	enum sh_first_offer offer;
	struct sh_fork_plan *plan;
	struct sh_plan_about about;
	struct sh_refer_to to;
	struct waiting *w;
	unsigned code;
	int err;

	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		luaL_checktype(L, 2, LUA_TTABLE);
		o.manual = sh_opt_bool(L, 2, "manual", false);
		o.anyone = sh_opt_bool(L, 2, "anyone", false);
	}
	offer = sh_opt_offer(L, 2, "ref:accept");
	lua_settop(L, 2);
	if (!q)
		return sh_gone(L);
	if (sh_request_answered(q))
		return sh_push_errno(L, -EALREADY);
	o.proven = is_proven(run, q);
	sh_arena_reset(&rt->scratch);
	code = sh_refer_read(&to, sh_request_msg(q), &rt->scratch, &why);
	if (code) {
		sh_request_reply(q, code, why, none, none, none);
		return push_refused(L, code);
	}
	if (o.manual) {
		sh_refer_accept(q, NULL, NULL, &o, NULL, NULL);
		lua_pushboolean(L, 1);
		return 1;
	}
	sh_push_slice(L, to.uri); /* 3: it outlives the scratch arena */
	text.base = lua_tolstring(L, 3, &text.len);
	if (lua_isnil(L, 2) || sh_opt_get(L, 2, "targets") == LUA_TNIL) {
		lua_settop(L, 3);
		lua_pushvalue(L, 3);
		look_up(L, 4);
	}
	push_fork_options(L, 2, sh_options_accept, text); /* 5 */
	about = (struct sh_plan_about){SH_PLAN_CALL, sh_msg_header(sh_request_msg(q), SH_H_TO), text};
	plan = sh_plan_read(L, 4, 5, "ref:accept", &about);
	plan->offer = offer;
	sh_vm_check_wait(L, "ref:accept");
	w = wait_new(L, run);
	err = sh_refer_accept(q, sh_refer_leg(q), plan, &o, on_transferred, w);
	if (err) {
		sh_free(w);
		code = code_of(err);
		sh_request_reply(q, code, none, none, none, none);
		return push_refused(L, code);
	}
	return sh_run_wait_for(L, run, abandon, w, NULL);
}

static int reject(lua_State *L)
{
	struct sh_request *q = sh_request_check(L, 1);
	unsigned code = sh_opt_code(L, 2, 300, 699);
	struct sh_slice none = {0};

	if (code == 408)
		return luaL_error(L, "ref:reject: 408 is for INVITE only (RFC 4320)");
	if (!q)
		return sh_gone(L);
	return sh_push_done(L, sh_request_reply(q, code, none, none, none, none));
}

/* ref:notify(code [, reason]) */
static int notify(lua_State *L)
{
	struct sh_request *q = sh_request_check(L, 1);
	unsigned code = sh_opt_code(L, 2, 100, 699);
	struct sh_slice reason = {0};

	if (!lua_isnoneornil(L, 3)) {
		reason = sh_sandbox_check_text(L, 3);
		sh_check_clean(L, reason, "reason");
	}
	if (!q)
		return sh_gone(L);
	return sh_push_done(L, sh_refer_notify(q, code, reason));
}

void sh_refer_object_open(lua_State *L)
{
	static const luaL_Reg methods[] = {{"accept", accept_refer}, {"reject", reject}, {"notify", notify}, {NULL, NULL}};
	static const lua_CFunction waiting[] = {accept_refer, NULL};

	sh_waits_declare_all(L, waiting);
	sh_request_class(L, SH_OBJECT_REFER, methods, fields, own_field);
}

/* ------------------------------------------------------------------ call:transfer */

/* The old partner is told to leave: nobody has subscribed. */
static void on_done(void *ctx, const struct sh_result *res)
{
	struct waiting *w = ctx;
	struct sh_leg *old = sh_ua_leg(w->ua, w->leaving);

	if (res->code < 300 && old)
		sh_leg_hangup(old, SH_LIT("SIP;cause=200;text=\"Transferred\""));
	on_transferred(ctx, res);
}

/* call:transfer(target, {keep="a"|"b", ...}) -> true | nil, res */
int sh_call_transfer_verb(lua_State *L)
{
	static const struct sh_transfer_events events = {NULL, on_done};
	struct sh_run *run = sh_run_check(L, "call:transfer");
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_plan_about about = {.kind = SH_PLAN_CALL};
	struct sh_slice keep = {0}, to = {0};
	enum sh_first_offer offer;
	struct sh_fork_plan *plan;
	struct sh_leg *stays, *leaves;
	struct waiting *w;
	bool keep_b;
	int err;

	lua_settop(L, 3);
	if (!lua_isnil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		keep = sh_opt_text(L, 3, "keep");
	}
	keep_b = sh_slice_eq(keep, SH_LIT("b"));
	if (keep.base && !keep_b && !sh_slice_eq(keep, SH_LIT("a")))
		return luaL_error(L, "call:transfer: option 'keep': \"a\" or \"b\" expected");
	offer = sh_opt_offer(L, 3, "call:transfer");
	lua_settop(L, 3);
	lua_pushvalue(L, 2); /* 4 */
	if (sh_uri_object_text(L, 4, &to)) {
		sh_opt_uri(L, 4, "call:transfer", NULL); /* raises for what is none */
		look_up(L, 4);
	}
	push_fork_options(L, 3, sh_options_transfer, to); /* 5 */
	if (c)
		about = (struct sh_plan_about){SH_PLAN_CALL, keep_b ? sh_call_to(c) : sh_call_from(c), to};
	plan = sh_plan_read(L, 4, 5, "call:transfer", &about);
	plan->offer = offer;
	if (!c)
		return sh_gone(L);
	stays = keep_b ? sh_call_b(c) : sh_call_a(c);
	leaves = keep_b ? sh_call_a(c) : sh_call_b(c);
	if (sh_call_state(c) < SH_CALL_UP)
		return sh_push_errno(L, -EPROTO);
	if (!stays)
		return sh_push_errno(L, sh_call_state(c) == SH_CALL_ENDED ? -EPIPE : -ENOTCONN);
	sh_vm_check_wait(L, "call:transfer");
	if (!plan->count) {
		struct sh_result res = {480, sh_status_reason(480), SH_EMPTY, NULL, NULL, 0};

		return push_outcome(L, &res);
	}
	w = wait_new(L, run);
	w->leaving = leaves ? sh_leg_handle(leaves) : 0;
	err = sh_call_transfer(c, stays, plan, &events, w);
	if (err) {
		sh_free(w);
		return sh_push_errno(L, err);
	}
	return sh_run_wait_for(L, run, abandon, w, NULL);
}

/* ------------------------------------------------------------------ call:pickup */

static int push_picked_up(lua_State *L, void *arg)
{
	unsigned code = *(unsigned *)arg;

	if (code >= 300)
		return push_refused(L, code);
	lua_pushboolean(L, 1);
	return 1;
}

static void on_picked_up(void *ctx, unsigned code)
{
	struct waiting *w = ctx;
	struct sh_run *run = w->run;

	if (run && (!code || is_interrupted(run))) {
		w->over = true;
		return;
	}
	sh_free(w);
	if (run)
		sh_run_resume(run, push_picked_up, &code);
}

static unsigned pickup_code(int err)
{
	return err == -EBUSY ? 491 : err == -EBADMSG ? 488 : err == -ENOMEM || err == -EAGAIN ? 503 : 481;
}

/* The leg whose place is wanted: the one that Replaces names as seen from here (RFC 3891 3: to-tag is our tag). Named as its peer
 * sees it, it is that peer's partner when they talk (a REFER that passed, sh_refer_map, leads here again); and when it rings the
 * peer itself, whom somebody picks up who has watched his lamp. */
static struct sh_leg *replaced_leg(const struct sh_call *c, struct sh_dialog_ids *ids)
{
	const struct sh_msg *m = sh_call_invite(c);
	struct sh_call *of;
	struct sh_slice tag;
	struct sh_leg *l;

	*ids = (struct sh_dialog_ids){0};
	if (!m || sh_dialog_ids_of(ids, m, SH_H_REPLACES) < 0)
		return NULL;
	l = sh_ua_find_leg(sh_call_ua(c), ids);
	if (l)
		return l;
	tag = ids->to_tag;
	ids->to_tag = ids->from_tag;
	ids->from_tag = tag;
	l = sh_ua_find_leg(sh_call_ua(c), ids);
	of = l ? sh_leg_call(l) : NULL;
	if (!of || sh_call_state(of) != SH_CALL_UP)
		return l;
	return l == sh_call_a(of) ? sh_call_b(of) : l == sh_call_b(of) ? sh_call_a(of) : l;
}

/* We do not mix: 488 for a dialog that is there, 481 for one that is not (RFC 3911 4). */
static unsigned join_code(const struct sh_call *c, const struct sh_msg *m)
{
	struct sh_dialog_ids ids;

	return sh_dialog_ids_of(&ids, m, SH_H_JOIN) == 0 && sh_ua_find_leg(sh_call_ua(c), &ids) ? 488 : 481;
}

/* call:pickup([id]) -> true | nil, res */
int sh_call_pickup_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:pickup");
	struct sh_run *run = sh_run_check(L, "call:pickup");
	struct sh_call *c = sh_call_check(L, 1), *target = NULL;
	struct sh_dialog_ids ids = {0};
	struct sh_leg *old = NULL;
	struct sh_slice id = {0};
	struct waiting *w;
	int err, worker;

	lua_settop(L, 2);
	if (!lua_isnil(L, 2)) {
		id = sh_sandbox_check_text(L, 2);
		target = sh_ua_find_call(rt->ua, id);
		old = target ? sh_call_b(target) : NULL;
	} else if (c) {
		old = replaced_leg(c, &ids);
		target = old ? sh_leg_call(old) : NULL;
	}
	if (!c)
		return sh_gone(L);
	sh_vm_check_wait(L, "call:pickup");
	if (lua_isnil(L, 2) && sh_call_invite(c) && sh_call_invite(c)->first[SH_H_JOIN]) {
		unsigned code = join_code(c, sh_call_invite(c));

		sh_call_note_failure(c, code);
		return push_refused(L, code);
	}
	if (ids.early_only && target && sh_call_state(target) == SH_CALL_UP) { /* RFC 3891 3 */
		sh_call_note_failure(c, 486);
		return push_refused(L, 486);
	}
	w = wait_new(L, run);
	worker = lua_isnil(L, 2) || target ? -1 : sh_tag_worker(id);
	if (worker >= 0)
		err = sh_call_pickup_far(c, (unsigned)worker, id, on_picked_up, w);
	else
		err = sh_call_pickup(c, target, old, on_picked_up, w);
	if (!err)
		return sh_run_wait_for(L, run, abandon, w, NULL);
	sh_free(w);
	if (err == -EALREADY)
		return sh_push_errno(L, err);
	sh_call_note_failure(c, pickup_code(err));
	return push_refused(L, pickup_code(err));
}
