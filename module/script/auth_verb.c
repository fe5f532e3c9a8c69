/* req:auth, req:challenge and req:register. */
#include "registrar/register.h"
#include "script/impl.h"

enum { FLOW_GRACE = 15 }; /* seconds on top of Flow-Timer, for transport delay (RFC 5626 4.4) */

enum { MAX_ALGORITHMS = 3 };

/* Those that are not there are not looked for: these run for each REGISTER. */
enum { REALM, PASSWORD, HA1, ALGORITHMS, QOP, PROXY };
const char *const sh_options_auth[] = {"realm", "password", "ha1", "algorithms", "qop", "proxy", NULL};

static bool has(uint64_t present, unsigned key)
{
	return present >> key & 1;
}

struct auth_options {
	uint64_t present; /* bits: sh_options_auth */
	struct sh_slice realm;
	enum sh_digest_alg algs[MAX_ALGORITHMS];
	unsigned nalgs;
	bool proxy, no_qop;
};

static void read_algorithms(lua_State *L, const char *what, struct auth_options *o)
{
	int type;

	if (sh_opt_get(L, 2, "algorithms") != LUA_TTABLE)
		luaL_error(L, "%s: option 'algorithms': list expected, got %s", what, luaL_typename(L, -1));
	for (lua_Integer i = 1; (type = lua_geti(L, -1, i)) != LUA_TNIL; i++) {
		struct sh_slice name = {0};
		enum sh_digest_alg alg;

		if (type == LUA_TSTRING)
			name.base = lua_tolstring(L, -1, &name.len);
		alg = sh_digest_alg_lookup(name);
		if (alg == SH_DIGEST_UNKNOWN || o->nalgs == MAX_ALGORITHMS)
			luaL_error(L, "%s: option 'algorithms': \"MD5\", \"SHA-256\" or \"SHA-512-256\" expected", what);
		o->algs[o->nalgs++] = alg;
		lua_pop(L, 1);
	}
	lua_pop(L, 2);
}

/* Pushes it. */
static void read_secret(lua_State *L, const struct auth_options *o)
{
	const char *key = has(o->present, HA1) ? "ha1" : "password";
	int type;

	if (has(o->present, HA1) == has(o->present, PASSWORD))
		luaL_error(L, "auth: one of the options 'password' and 'ha1' is needed%s", has(o->present, HA1) ? ", not both" : "");
	type = sh_opt_get(L, 2, key);
	if (type != LUA_TFUNCTION && !(type == LUA_TSTRING && has(o->present, PASSWORD)))
		luaL_error(L, "auth: option '%s': function expected, got %s", key, luaL_typename(L, -1));
}

/* Pushes the secret, if that is needed. */
static void read_options(lua_State *L, const struct sh_view *v, struct auth_options *o, bool needs_secret)
{
	const char *what = needs_secret ? "auth" : "challenge";
	struct sh_slice qop = {0};

	luaL_checktype(L, 2, LUA_TTABLE);
	*o = (struct auth_options){.present = sh_opt_known(L, 2, what, sh_options_auth), .proxy = !v->request};
	o->realm = sh_opt_text(L, 2, "realm");
	if (!o->realm.len || sh_slice_find(o->realm, '"') >= 0 || sh_slice_find(o->realm, '\\') >= 0)
		luaL_error(L, "%s: option 'realm': text without quotes expected", what);
	if (has(o->present, PROXY))
		o->proxy = sh_opt_bool(L, 2, "proxy", o->proxy);
	if (has(o->present, QOP))
		qop = sh_opt_text(L, 2, "qop");
	if (qop.base && qop.len && !sh_slice_eq(qop, SH_LIT("auth")))
		luaL_error(L, "%s: option 'qop': \"auth\" or \"\" expected", what);
	o->no_qop = qop.base && !qop.len;
	if (has(o->present, ALGORITHMS))
		read_algorithms(L, what, o);
	if (!o->nalgs) {
		o->algs[0] = SH_DIGEST_SHA256;
		o->algs[1] = SH_DIGEST_MD5;
		o->nalgs = 2;
	}
	if (needs_secret)
		read_secret(L, o);
}

/* What a nonce is bound to. Failures are counted against an address that a datagram may lie about: only who has received
 * the challenge there can be the one who answers it. Where nothing is counted any address will do. */
static struct sh_slice source_of(struct sh_runtime *rt, const struct sh_view *v, struct sh_addr *room)
{
	struct sh_slice none = {0};

	if (!sh_transport_blames(sh_ua_transport(rt->ua), &v->from->remote))
		return none;
	*room = sh_source_of(&v->from->remote);
	return sh_slice_make((const char *)room, sizeof(*room)); /* without padding */
}

/* The answer to a request is written in place; that to a call goes the way of all its rejections. 0 or -errno. */
static int send_challenge(struct sh_runtime *rt, const struct sh_view *v, const struct sh_auth_challenge *c)
{
	struct sh_auth *auth = rt->script->config.auth;
	uint64_t now = sh_env_wall(rt->env);
	unsigned code = c->proxy ? 407 : 401;
	struct sh_slice none = {0};
	struct sh_writer own, *w;

	if (v->request) {
		w = sh_request_begin(v->request, code, none);
		if (!w)
			return -EALREADY;
		sh_auth_put_challenge(auth, &rt->env->random, now, c, w);
		return sh_request_send(v->request, code, w);
	}
	sh_writer_init(&own, rt->text, SH_RUNTIME_TEXT);
	sh_auth_put_challenge(auth, &rt->env->random, now, c, &own);
	return own.full ? -EMSGSIZE : sh_view_reply(v, code, none, sh_writer_text(&own), none, none);
}

static int challenge(lua_State *L, struct sh_runtime *rt, const struct sh_view *v, const struct auth_options *o,
		     bool stale)
{
	struct sh_addr source;
	struct sh_auth_challenge c = {o->realm, o->algs, o->nalgs, o->proxy, stale, o->no_qop, source_of(rt, v, &source)};
	struct sh_call_data *d = v->request ? NULL : sh_call_app(v->call);
	struct sh_slice none = {0};

	if (d)
		d->challenged = true;
	if (send_challenge(rt, v, &c) == -EMSGSIZE) {
		sh_count_output(L);
		sh_view_reply(v, 503, none, none, none, none);
	}
	lua_pushnil(L);
	return 1;
}

static int refuse(lua_State *L, const struct sh_view *v, unsigned code, struct sh_slice reason)
{
	struct sh_slice none = {0};

	sh_view_reply(v, code, reason, none, none, none);
	lua_pushnil(L);
	return 1;
}

/* req.auth_user and call.auth_user from now on. Without memory it stays unknown. */
static void remember_user(lua_State *L, const struct sh_view *v, struct sh_slice user)
{
	struct sh_run *run = sh_run_check(L, "auth");
	struct sh_call_data *d = v->call ? sh_call_app(v->call) : NULL;
	char **at = v->request ? (run->request == sh_request_handle(v->request) ? &run->auth_user : NULL)
		    : d        ? &d->auth_user
			       : NULL;

	if (!at)
		return;
	sh_free(*at);
	*at = sh_strndup(user.base, user.len);
}

/* The secret (or nil) is on top of the stack. */
static int check(lua_State *L, struct sh_runtime *rt, const struct sh_view *v, const struct auth_options *o,
		 const struct sh_credentials *c, bool is_ha1)
{
	struct sh_slice secret = {0};

	if (lua_type(L, -1) == LUA_TSTRING || lua_type(L, -1) == LUA_TNUMBER)
		secret.base = lua_tolstring(L, -1, &secret.len);
	else if (lua_toboolean(L, -1))
		return luaL_error(L, "auth: the function gave a %s, not a string or nil", luaL_typename(L, -1));
	switch (sh_auth_check(rt->script->config.auth, v->msg, c, secret, is_ha1, sh_env_wall(rt->env))) {
	case SH_AUTH_OK:
		sh_transport_pardon(sh_ua_transport(rt->ua), &v->from->remote);
		remember_user(L, v, c->username);
		sh_push_slice(L, c->username);
		return 1;
	case SH_AUTH_STALE:
		return challenge(L, rt, v, o, true);
	case SH_AUTH_BAD:
		return refuse(L, v, 400, SH_LIT("Bad credentials"));
	case SH_AUTH_FAILED:
		return refuse(L, v, 503, (struct sh_slice){0});
	default:
		sh_transport_blame(sh_ua_transport(rt->ua), &v->from->remote);
		return challenge(L, rt, v, o, false);
	}
}

/* What was computed for somebody else's server is no proof here (RFC 7616 3.4.6, 5.8). A proxy on the way may have written the
 * Request-URI anew (RFC 3261 22.4), so that any URI of ours will do, and any at the host that was asked for. */
static bool for_us(struct sh_runtime *rt, const struct sh_msg *m, const struct sh_credentials *c)
{
	struct sh_uri uri, asked;

	if (sh_slice_eq(c->uri, sh_msg_text(m, m->uri)))
		return true;
	if (sh_uri_parse(&uri, c->uri) < 0)
		return false;
	if (sh_uri_parse(&asked, sh_msg_text(m, m->uri)) == 0 && uri.host.len && sh_slice_ieq(uri.host, asked.host))
		return true;
	return sh_domains_local(&rt->domains, &uri);
}

/* Finds the credentials; answers when there is nothing to check. True: c is filled in. */
static bool find(lua_State *L, struct sh_runtime *rt, const struct sh_view *v, const struct auth_options *o,
		 struct sh_credentials *c, int *results)
{
	struct sh_addr source;

	sh_runtime_scratch(rt);
	switch (sh_auth_find(rt->script->config.auth, &rt->scratch, v->msg, source_of(rt, v, &source), o->proxy, o->realm, o->algs,
			     o->nalgs, sh_env_wall(rt->env), c)) {
	case SH_AUTH_PASSWORD_NEEDED:
		if (for_us(rt, v->msg, c))
			return true;
		*results = refuse(L, v, 400, SH_LIT("Credentials for another URI"));
		return false;
	case SH_AUTH_BAD:
		*results = refuse(L, v, 400, SH_LIT("Bad credentials"));
		return false;
	case SH_AUTH_STALE:
		*results = challenge(L, rt, v, o, true);
		return false;
	case SH_AUTH_FAILED:
		*results = refuse(L, v, 503, (struct sh_slice){0});
		return false;
	default:
		*results = challenge(L, rt, v, o, false);
		return false;
	}
}

/* The password function may have waited: the credentials are found again. */
static int after_secret(lua_State *L, int status, lua_KContext is_ha1)
{
	struct sh_runtime *rt = sh_runtime_check(L, "auth");
	struct auth_options o;
	struct sh_credentials c;
	struct sh_view v;
	int results;

	(void)status;
	if (!sh_view_get(L, 1, &v) || !v.msg)
		return sh_gone(L);
	read_options(L, &v, &o, true);
	lua_pop(L, 1); /* it has been asked */
	if (!find(L, rt, &v, &o, &c, &results))
		return results;
	return check(L, rt, &v, &o, &c, is_ha1 != 0);
}

int sh_auth_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "auth");
	struct auth_options o;
	struct sh_credentials c;
	struct sh_view v;
	uint64_t used;
	bool is_ha1;
	int results;

	lua_settop(L, 2);
	if (!sh_view_get(L, 1, &v) || !v.msg)
		return sh_gone(L);
	read_options(L, &v, &o, true);
	if (!find(L, rt, &v, &o, &c, &results))
		return results;
	is_ha1 = has(o.present, HA1);
	if (lua_type(L, -1) == LUA_TSTRING)
		return check(L, rt, &v, &o, &c, false);
	o.realm = c.realm; /* the same text: the function may change the table */
	sh_push_slice(L, c.username);
	sh_push_slice(L, c.realm);
	if (is_ha1)
		sh_push_slice(L, sh_digest_alg_name(c.alg));
	used = rt->scratch_used;
	lua_callk(L, is_ha1 ? 3 : 2, 1, is_ha1, after_secret);
	if (rt->scratch_used == used && sh_view_get(L, 1, &v) && v.msg)
		return check(L, rt, &v, &o, &c, is_ha1);
	return after_secret(L, LUA_OK, is_ha1); /* it used verbs of its own: nothing in the arena is sure */
}

int sh_challenge_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "challenge");
	struct auth_options o;
	struct sh_view v;

	lua_settop(L, 2);
	if (!sh_view_get(L, 1, &v) || !v.msg)
		return sh_gone(L);
	read_options(L, &v, &o, false);
	return challenge(L, rt, &v, &o, false);
}

/* ------------------------------------------------------------------ register */

enum { AOR, MIN_EXPIRES, MAX_EXPIRES, DEFAULT_EXPIRES, MAX_CONTACTS, ON_LIMIT, NAT, KEEPALIVE, KEEPALIVE_INTERVAL, FLOW_TIMER, OUTBOUND };
const char *const sh_options_register[] = {"aor", "min_expires", "max_expires", "default_expires", "max_contacts", "on_limit",
					    "nat", "keepalive",   "keepalive_interval", "flow_timer", "outbound", NULL};

static void read_register_options(lua_State *L, struct sh_register_options *o)
{
	static const char *const kinds[] = {"none", "crlf", "options", NULL}, *const outbound[] = {"allow", "require", NULL};
	const struct {
		unsigned key;
		uint32_t *at;
		lua_Integer min, max;
	} numbers[] = {
	    {MIN_EXPIRES, &o->min_expires, 0, INT32_MAX},         {MAX_EXPIRES, &o->max_expires, 0, INT32_MAX},
	    {DEFAULT_EXPIRES, &o->default_expires, 0, INT32_MAX}, {MAX_CONTACTS, &o->max_contacts, 0, 1000},
	    {KEEPALIVE_INTERVAL, &o->keep_interval, 5, 86400},    {FLOW_TIMER, &o->flow_timer, 0, 86400},
	};
	uint64_t present;
	struct sh_slice limit = {0};

	luaL_checktype(L, 2, LUA_TTABLE);
	present = sh_opt_known(L, 2, "register", sh_options_register);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (has(present, numbers[i].key))
			*numbers[i].at = (uint32_t)sh_opt_integer(L, 2, sh_options_register[numbers[i].key], 0, numbers[i].min,
								  numbers[i].max);
	if (o->min_expires && o->max_expires && o->min_expires > o->max_expires)
		luaL_error(L, "register: option 'min_expires': more than 'max_expires'");
	if (has(present, AOR))
		o->aor = sh_opt_text(L, 2, "aor");
	if (has(present, ON_LIMIT))
		limit = sh_opt_text(L, 2, "on_limit");
	o->replace_oldest = sh_slice_eq(limit, SH_LIT("replace"));
	if (limit.base && !o->replace_oldest && !sh_slice_eq(limit, SH_LIT("reject")))
		luaL_error(L, "register: option 'on_limit': \"reject\" or \"replace\" expected");
	if (has(present, NAT))
		o->nat = (enum sh_register_nat)sh_opt_choice(L, 2, "nat", sh_nat_words, 0);
	if (has(present, OUTBOUND))
		o->require_outbound = sh_opt_choice(L, 2, "outbound", outbound, 0) > 0;
	if (has(present, KEEPALIVE))
		o->keep_alive = (enum sh_keep)sh_opt_choice(L, 2, "keepalive", kinds, SH_KEEP_NONE);
}

static bool binds_peer(const struct sh_bindings *b, const struct sh_addr *remote)
{
	for (unsigned i = 0; b && i < b->count; i++)
		if (b->contacts[i].from.proto == SH_PROTO_UDP && sh_addr_eq(&b->contacts[i].from.remote, remote))
			return true;
	return false;
}

/* Keep-alives are waited for where the phone is now, and over datagrams no more where it was. */
static void expect_keep_alives(struct sh_runtime *rt, const struct sh_path *from, const struct sh_register_result *r)
{
	struct sh_transport *t = sh_ua_transport(rt->ua);

	if (r->code != 200)
		return;
	for (unsigned i = 0; r->replaced && i < r->replaced->count; i++) {
		const struct sh_contact *was = &r->replaced->contacts[i];

		if (was->reg_id && was->from.proto == SH_PROTO_UDP && !binds_peer(r->bindings, &was->from.remote))
			sh_transport_flow_expect(t, &was->from, 0, 0);
	}
	if (r->outbound && r->flow_timer && r->longest)
		sh_transport_flow_expect(t, from, (r->flow_timer + FLOW_GRACE) * SH_SECOND, r->longest * (uint64_t)SH_SECOND);
}

int sh_register_verb(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "register");
	struct sh_request *q = sh_check_no_call(L, "register");
	struct sh_register_options o = {.by = rt, .key = &rt->env->key, .random = &rt->env->random, .keep_interval = 30};
	struct sh_register_result r = {0};
	uint64_t now = sh_env_wall(rt->env);
	struct sh_bindings **slot;
	struct sh_writer *w;
	int err;

	lua_settop(L, 2);
	if (!q)
		return sh_gone(L);
	if (sh_request_msg(q)->method != SH_REGISTER)
		return luaL_error(L, "register: this is a %s",
				  sh_method_name((enum sh_method)sh_request_msg(q)->method).base);
	if (!lua_isnil(L, 2))
		read_register_options(L, &o);
	if (sh_request_answered(q))
		return sh_push_errno(L, -EALREADY);
	slot = sh_bindings_guard(L);
	sh_runtime_scratch(rt);
	sh_register_process(rt->script->config.location, &rt->scratch, sh_request_msg(q), sh_request_source(q),
			    &rt->domains, &o, now, &r);
	*slot = r.bindings;
	expect_keep_alives(rt, sh_request_source(q), &r);
	sh_bindings_unref(r.replaced);
	w = sh_request_begin(q, r.code, r.reason);
	if (!w)
		return sh_push_errno(L, -EALREADY);
	sh_register_put_headers(w, &r, now);
	err = sh_request_send(q, r.code, w);
	if (err)
		return sh_push_errno(L, err);
	if (r.code != 200) {
		lua_pushnil(L);
		lua_pushinteger(L, r.code);
		return 2;
	}
	return sh_push_bindings(L, slot, now);
}
