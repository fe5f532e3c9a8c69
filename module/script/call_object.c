/* `call`: the verbs of the invite hook and of hooks in a call. */
#include "script/impl.h"
#include "script/sdp_object.h"
#include "script/uri_object.h"

enum { F_ID = SH_FIELD_OWN, F_STATE, F_A, F_B, F_DURATION, F_TIMES, F_DATA, F_REPLACES, F_JOIN };

static const struct sh_field fields[] = {
    {"id", F_ID},       {"state", F_STATE}, {"a", F_A}, {"b", F_B}, {"duration", F_DURATION},
    {"times", F_TIMES}, {"data", F_DATA}, {"replaces", F_REPLACES}, {"join", F_JOIN}, {NULL, 0},
};

static void set_time(lua_State *L, const char *key, uint64_t t)
{
	if (!t)
		return;
	lua_pushnumber(L, (double)t / 1e6);
	lua_setfield(L, -2, key);
}

/* A leg of a call that has ended. */
static void push_party(lua_State *L, const struct sh_call_data *d, unsigned which)
{
	const struct sh_party *p = d && d->parties ? &d->parties[which] : NULL;

	if (!p || !p->leg) {
		lua_pushnil(L);
		return;
	}
	sh_object_push(L, SH_OBJECT_LEG, p->leg);
	lua_pushstring(L, p->uri);
	lua_setiuservalue(L, -2, 1);
}

static int own_field(lua_State *L, int id)
{
	struct sh_call *c;
	const struct sh_call_times *t;
	struct sh_leg *l;

	if (id < SH_FIELD_OWN)
		return sh_view_field(L, id);
	c = sh_call_check(L, 1);
	if (!c && id == F_STATE) {
		sh_push_slice(L, sh_call_state_name(SH_CALL_ENDED));
		return 1;
	}
	if (!c)
		return sh_gone(L);
	t = sh_call_times(c);
	switch (id) {
	case F_ID:
		sh_push_slice(L, sh_call_id(c));
		break;
	case F_STATE:
		sh_push_slice(L, sh_call_state_name(sh_call_state(c)));
		break;
	case F_A:
	case F_B:
		l = id == F_A ? sh_call_a(c) : sh_call_b(c);
		if (l)
			sh_object_push(L, SH_OBJECT_LEG, sh_leg_handle(l));
		else
			push_party(L, sh_call_app(c), id == F_B);
		break;
	case F_DURATION:
		lua_pushnumber(
		    L, t->answer
			   ? (double)((t->stop ? t->stop : sh_env_wall(sh_state_of(L)->runtime->env)) - t->answer) / 1e6
			   : 0);
		break;
	case F_TIMES:
		lua_createtable(L, 0, 4);
		set_time(L, "start", t->start);
		set_time(L, "ring", t->ring);
		set_time(L, "answer", t->answer);
		set_time(L, "stop", t->stop);
		break;
	case F_DATA:
		return sh_call_data_push(L, c);
	case F_REPLACES:
	case F_JOIN:
		sh_push_dialog_ids(L, sh_call_invite(c) ? sh_msg_header(sh_call_invite(c), id == F_JOIN ? SH_H_JOIN : SH_H_REPLACES)
							: (struct sh_slice){0});
		break;
	default:
		lua_pushnil(L);
	}
	return 1;
}

const char *const sh_options_ring[] = {"headers", "sdp", NULL};

/* ------------------------------------------------------------------ answers of our own */

/* call:ring([code=180] [, {headers=, sdp=}]) */
static int ring(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:ring");
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_slice headers, sdp = {0};
	struct sh_writer w;
	unsigned code = 180;
	int table = 2;

	if (lua_type(L, 2) == LUA_TNUMBER) {
		code = sh_opt_code(L, 2, 101, 199);
		table = 3;
	} else if (lua_gettop(L) >= 3 && lua_isnil(L, 2)) {
		table = 3;
	}
	if (lua_isnoneornil(L, table)) {
		table = 0;
	} else {
		luaL_checktype(L, table, LUA_TTABLE);
		sh_opt_known(L, table, "call:ring", sh_options_ring);
		sh_opt_sdp(L, table, "sdp", "call:ring", &sdp);
	}
	headers = sh_opt_header_lines(L, table, rt, &w);
	if (!c)
		return sh_gone(L);
	return sh_push_done(L, sh_call_ring(c, code, (struct sh_slice){0}, headers, sdp));
}

const char *const sh_options_reject[] = {"headers", "warning", NULL};

/* call:reject(code | res [, reason] [, {headers=, warning=}]) */
static int reject(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:reject");
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_slice reason, warning = {0}, type = {0}, body = {0};
	struct sh_result_view res = {0};
	struct sh_writer w;
	struct sh_msg m;
	unsigned code;
	int table;

	if (!sh_result_test(L, 2, &res))
		code = sh_opt_code(L, 2, 300, 699);
	else
		code = res.code;
	table = sh_opt_reason(L, 3, &reason);
	if (lua_isnoneornil(L, table)) {
		table = 0;
	} else {
		luaL_checktype(L, table, LUA_TTABLE);
		sh_opt_known(L, table, "call:reject", sh_options_reject);
		warning = sh_opt_text(L, table, "warning");
	}
	sh_opt_header_lines(L, table, rt, &w);
	if (!c)
		return sh_gone(L);
	if (res.code) {
		if (code < 300)
			return luaL_argerror(L, 2, "this result is no failure");
		if (sh_code_passed_on(code) != code) {
			code = sh_code_passed_on(code);
		} else {
			if (!reason.len)
				reason = res.reason;
			if (res.raw.len && sh_msg_scan(&m, res.raw.base, res.raw.len, false, NULL) >= 0) {
				sh_put_failure(&w, &m, sh_writer_text(&w));
				type = sh_msg_header(&m, SH_H_CONTENT_TYPE);
				body = sh_msg_text(&m, m.body);
			}
		}
	}
	if (warning.len)
		sh_put_warning(rt->ua, &w, sh_call_source(c), 399, warning);
	else if (!res.raw.len && sh_sips_warning(code, reason))
		sh_put_warning(rt->ua, &w, sh_call_source(c), sh_sips_warning(code, reason), reason);
	if (w.full)
		return sh_too_long(L, "call:reject: header fields");
	return sh_push_done(L, sh_call_reject(c, code, reason, sh_writer_text(&w), type, body));
}

const char *const sh_options_redirect_entry[] = {"uri", "q", "expires", "group", "path", "flow", "user_agent", "aor", NULL};

static void put_contact(lua_State *L, int idx, struct sh_writer *w)
{
	struct sh_slice uri;
	lua_Number q = -1;
	lua_Integer expires = -1;

	if (lua_type(L, idx) == LUA_TTABLE) {
		/* what sip.lookup and sip.bindings say beside is for others */

		sh_opt_known(L, idx, "call:redirect", sh_options_redirect_entry);
		if (sh_opt_get(L, idx, "uri") == LUA_TNIL)
			luaL_error(L, "call:redirect: a target without 'uri'");
		uri = sh_opt_uri(L, lua_gettop(L), "call:redirect", NULL);
		lua_pop(L, 1); /* the string stays in the table */
		if (sh_opt_get(L, idx, "q") != LUA_TNIL) {
			q = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
			if (!(q >= 0 && q <= 1))
				luaL_error(L, "call:redirect: option 'q': 0 to 1 expected");
		}
		lua_pop(L, 1);
		if (sh_opt_get(L, idx, "expires") != LUA_TNIL) {
			lua_Number seconds = lua_type(L, -1) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;

			if (!(seconds >= 0 && seconds <= INT32_MAX))
				luaL_error(L, "call:redirect: option 'expires': seconds expected");
			expires = (lua_Integer)seconds;
		}
		lua_pop(L, 1);
	} else {
		uri = sh_opt_uri(L, idx, "call:redirect", NULL);
	}
	sh_put_lit(w, "Contact: <");
	sh_put(w, uri);
	sh_put_char(w, '>');
	if (q >= 0) {
		unsigned thousandths = (unsigned)(q * 1000 + 0.5);

		sh_put_lit(w, ";q=");
		sh_put_char(w, thousandths == 1000 ? '1' : '0');
		sh_put_char(w, '.');
		sh_put_char(w, (char)('0' + thousandths / 100 % 10));
		if (thousandths % 100)
			sh_put_char(w, (char)('0' + thousandths / 10 % 10));
		if (thousandths % 10)
			sh_put_char(w, (char)('0' + thousandths % 10));
	}
	if (expires >= 0) {
		sh_put_lit(w, ";expires=");
		sh_put_uint(w, (uint64_t)expires);
	}
	sh_put_lit(w, "\r\n");
}

const char *const sh_options_redirect[] = {"headers", NULL};

/* call:redirect(uri | list [, code=302] [, {headers=}]) */
static int redirect(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:redirect");
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_slice none = {0};
	struct sh_writer w;
	unsigned code = 302;
	bool list;
	int table = 3;

	luaL_argexpected(L, !lua_isnoneornil(L, 2), 2, "URI or list of URIs");
	if (lua_type(L, 3) == LUA_TNUMBER) {
		code = sh_opt_code(L, 3, 300, 399);
		table = 4;
	} else if (lua_gettop(L) >= 4 && lua_isnil(L, 3)) {
		table = 4;
	}
	if (lua_isnoneornil(L, table)) {
		table = 0;
	} else {
		luaL_checktype(L, table, LUA_TTABLE);
		sh_opt_known(L, table, "call:redirect", sh_options_redirect);
	}
	sh_opt_header_lines(L, table, rt, &w);
	list = lua_type(L, 2) == LUA_TTABLE && sh_opt_get(L, 2, "uri") == LUA_TNIL;
	if (list) {
		lua_Integer n = luaL_len(L, 2);

		if (!n)
			return luaL_argerror(L, 2, "at least one target expected");
		for (lua_Integer i = 1; i <= n; i++) {
			lua_geti(L, 2, i);
			put_contact(L, lua_gettop(L), &w);
			lua_pop(L, 1);
		}
	} else {
		put_contact(L, 2, &w);
	}
	if (w.full) {
		sh_count_output(L);
		return luaL_error(L, "call:redirect: too many targets");
	}
	if (!c)
		return sh_gone(L);
	return sh_push_done(L, sh_call_reject(c, code, none, sh_writer_text(&w), none, none));
}

/* ------------------------------------------------------------------ other verbs */

/* call:continue("name"): this hook ends here, as a cancel ends it, and the timer goes on. */
static int continue_(lua_State *L)
{
	struct sh_run *run = sh_run_check(L, "call:continue");
	struct sh_call *c = sh_call_check(L, 1);

	luaL_argexpected(L, lua_type(L, 2) == LUA_TSTRING, 2, "name of a timer");
	if (!c || sh_call_state(c) == SH_CALL_ENDED)
		return sh_gone(L);
	if (run->call != sh_call_handle(c) || sh_list_empty(&run->of_call))
		return luaL_error(L, "call:continue works in the invite hook, the answer hook and timers of that call");
	sh_timer_check(L, 2, "call:continue", true);
	sh_free(run->go_on);
	run->go_on = sh_strndup(lua_tostring(L, 2), lua_rawlen(L, 2));
	if (!run->go_on)
		return luaL_error(L, "not enough memory");
	lua_rawgeti(L, LUA_REGISTRYINDEX, sh_state_of(L)->cancel_error);
	return sh_vm_raise(L);
}

/* call:limit(key, max) -> true | nil, count */
static int limit(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "call:limit");
	struct sh_call *c = sh_call_check(L, 1);
	lua_Integer max;
	struct sh_call_data *d = c ? sh_call_app(c) : NULL;
	struct sh_limit *taken;
	struct sh_slice key;
	uint64_t count;
	int err;

	luaL_argexpected(L, lua_type(L, 2) == LUA_TSTRING, 2, "text");
	key.base = lua_tolstring(L, 2, &key.len);
	if (key.len > 1024)
		return luaL_argerror(L, 2, "at most 1024 bytes");
	max = luaL_checkinteger(L, 3);
	if (max < 0)
		return luaL_argerror(L, 3, "0 or more expected");
	if (!d || sh_call_state(c) == SH_CALL_ENDED)
		return sh_gone(L);
	for (unsigned i = 0; i < d->nlimits; i++) {
		if (sh_slice_eq(sh_limit_key(d->limits[i]), key)) { /* a call counts once */
			lua_pushboolean(L, 1);
			return 1;
		}
	}
	if (d->nlimits == SH_CALL_LIMITS)
		return luaL_error(L, "call:limit: more than %d keys", SH_CALL_LIMITS);
	if (!d->limits)
		d->limits = sh_calloc(SH_CALL_LIMITS, sizeof(struct sh_limit *));
	if (!d->limits)
		return luaL_error(L, "not enough memory");
	err = sh_limit_take(rt->script->limits, key, (uint64_t)max, &taken, &count);
	if (err == -EAGAIN) {
		lua_pushnil(L);
		lua_pushinteger(L, (lua_Integer)count);
		return 2;
	}
	if (err)
		return luaL_error(L, "not enough memory");
	d->limits[d->nlimits++] = taken;
	lua_pushboolean(L, 1);
	return 1;
}

const char *const sh_options_hangup[] = {"q850", "reason", NULL};

/* ------------------------------------------------------------------ the end */

/* call:hangup([code | {q850=, reason=}]) */
static int hangup(lua_State *L)
{
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_runtime *rt = sh_runtime_check(L, "call:hangup");
	struct sh_slice text;
	struct sh_writer w;
	unsigned code = 0;

	sh_writer_init(&w, rt->text, SH_RUNTIME_TEXT);
	if (lua_type(L, 2) == LUA_TNUMBER) {
		code = sh_opt_code(L, 2, 300, 699);
		if (c && sh_call_state(c) == SH_CALL_UP) { /* there is no answer to put it in (RFC 3326) */
			sh_put_lit(&w, "SIP;cause=");
			sh_put_uint(&w, code);
			sh_put_lit(&w, ";text=\"");
			sh_put(&w, sh_status_reason(code));
			sh_put_lit(&w, "\"");
		}
	} else if (!lua_isnoneornil(L, 2)) {
		lua_Integer cause;

		luaL_checktype(L, 2, LUA_TTABLE);
		sh_opt_known(L, 2, "call:hangup", sh_options_hangup);
		cause = sh_opt_integer(L, 2, "q850", -1, 1, 127);
		text = sh_opt_text(L, 2, "reason");
		if (cause >= 0) {
			sh_put_lit(&w, "Q.850;cause=");
			sh_put_uint(&w, (uint64_t)cause);
		} else {
			sh_put_lit(&w, "SIP;cause=200");
		}
		if (text.len) {
			if (sh_slice_find(text, '"') >= 0 || sh_slice_find(text, '\\') >= 0)
				return luaL_error(L, "call:hangup: option 'reason': text without quotes expected");
			sh_put_lit(&w, ";text=\"");
			sh_put(&w, text);
			sh_put_lit(&w, "\"");
		}
	}
	if (w.full)
		return sh_too_long(L, "call:hangup: option 'reason'");
	if (!c)
		return sh_gone(L);
	return sh_push_done(L, sh_call_hangup(c, SH_BY_SCRIPT, code, sh_writer_text(&w)));
}

/* call.data = {...}: the only field that can be set. */
static int set_field(lua_State *L)
{
	struct sh_call *c = sh_call_check(L, 1);
	struct sh_slice key;

	key.base = luaL_checklstring(L, 2, &key.len);
	if (!sh_slice_eq(key, SH_LIT("data")))
		return luaL_error(L, "call.%s cannot be set", key.base);
	if (lua_type(L, 3) != LUA_TTABLE)
		return luaL_error(L, "call.data: table expected, got %s", luaL_typename(L, 3));
	if (c)
		sh_call_data_set(L, c, 3);
	return 0;
}

void sh_call_object_open(lua_State *L)
{
	static const luaL_Reg methods[] = {
	    {"auth", sh_auth_verb},
	    {"challenge", sh_challenge_verb},
	    {"headers", sh_view_headers},
	    {"ring", ring},
	    {"reject", reject},
	    {"redirect", redirect},
	    {"fork", sh_call_fork_verb},
	    {"bridge", sh_call_bridge_verb},
	    {"dial", sh_call_dial_verb},
	    {"relay", sh_call_relay_verb},
	    {"hangup", hangup},
	    {"after", sh_call_after},
	    {"pin", sh_call_pin},
	    {"transfer", sh_call_transfer_verb},
	    {"pickup", sh_call_pickup_verb},
	    {"answer", sh_call_answer_verb},
	    {"continue", continue_},
	    {"limit", limit},
	    {"wait", sh_call_wait_verb},
	    {"signal", sh_call_signal_verb},
	    {"reply", sh_call_reply_verb},
	    {"pass", sh_call_pass_verb},
	    {"dtmf", sh_dtmf_verb},
	    {"register", sh_register_verb},
	    {"publish", sh_publish_verb},
	    {NULL, NULL},
	};
	static const lua_CFunction waiting[] = {sh_call_fork_verb, sh_call_bridge_verb, sh_call_dial_verb, sh_call_relay_verb, sh_call_answer_verb,
					      sh_call_transfer_verb, sh_call_pickup_verb, sh_call_wait_verb, sh_call_reply_verb, NULL};

	sh_waits_declare_all(L, waiting);
	sh_object_class(L, SH_OBJECT_CALL, methods, fields, own_field, sh_view_header);
	luaL_getmetatable(L, "siphook.call");
	lua_pushcfunction(L, set_field);
	lua_setfield(L, -2, "__newindex");
	lua_pop(L, 1);
}
