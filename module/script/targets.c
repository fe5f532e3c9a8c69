/* From a script's targets and options to the plan of a fork. */
#include "b2bua/transfer.h"
#include "script/impl.h"
#include "script/sdp_object.h"
#include "script/uri_object.h"

/* Options of an entry, or for all of them. Strings point into Lua until they are copied into the plan's arena. */
struct reader {
	lua_State *L;
	const char *what; /* "call:fork" */
	struct sh_runtime *rt;
	struct sh_fork_plan *plan;
	struct sh_plan_about about;
	struct sh_target all;
	uint64_t dead; /* bits: targets of trunks that do not answer */
	unsigned room; /* targets for which plan->targets has room */
};

static struct sh_slice keep(struct reader *r, struct sh_slice s)
{
	struct sh_slice out = {0};

	if (s.len && sh_arena_dup(&r->plan->arena, s, &out) < 0)
		luaL_error(r->L, "not enough memory");
	return out;
}

/* "a \"b\"" for a display name that a script gives. */
static struct sh_slice quote(struct reader *r, struct sh_slice s)
{
	struct sh_writer w;
	char *buf = sh_arena_alloc(&r->plan->arena, 2 * s.len + 2);

	if (!buf)
		luaL_error(r->L, "not enough memory");
	sh_writer_init(&w, buf, 2 * s.len + 2);
	sh_put_char(&w, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.base[i] == '"' || s.base[i] == '\\')
			sh_put_char(&w, '\\');
		sh_put_char(&w, s.base[i]);
	}
	sh_put_char(&w, '"');
	return sh_writer_text(&w);
}

/* The option `key` as a name-addr: a URI becomes <URI>, with a display name in front. Empty when it is not there. */
static struct sh_slice read_name(struct reader *r, int table, const char *key, struct sh_slice display)
{
	lua_State *L = r->L;
	struct sh_slice own, uri, out = {0};
	struct sh_uri parts;

	if (sh_opt_get(L, table, key) != LUA_TNIL) {
		int idx = lua_gettop(L);

		uri = sh_opt_uri(L, idx, lua_pushfstring(L, "%s: option '%s'", r->what, key), &own);
		lua_pop(L, 1);
		if (sh_uri_parse(&parts, uri) == 0 && parts.headers.base) /* not here: RFC 3261 19.1.1 */
			uri.len = (size_t)(parts.headers.base - 1 - uri.base);
		display = display.len ? quote(r, display) : own;
		if (sh_arena_printf(&r->plan->arena, &out, "%.*s%s<%.*s>", SH_FMT(display), display.len ? " " : "",
				    SH_FMT(uri)) < 0)
			luaL_error(L, "not enough memory");
	}
	lua_pop(L, 1);
	return out;
}

/* A URI, or a whole value: "<sip:x@y>;reason=no-answer". */
static struct sh_slice read_diversion(struct reader *r, int table)
{
	struct sh_slice none = {0}, text = {0}, rest;
	struct sh_name_addr a;

	if (sh_opt_get(r->L, table, "diversion") == LUA_TSTRING)
		text.base = lua_tolstring(r->L, -1, &text.len);
	lua_pop(r->L, 1);
	rest = text;
	if (sh_slice_find(text, '>') < 0 || sh_name_addr_next(&rest, &a) < 0 || a.star || sh_slice_trim(rest).len)
		return read_name(r, table, "diversion", none);
	sh_check_clean(r->L, text, "diversion");
	return keep(r, text);
}

/* The caller's From with another display name. */
static struct sh_slice rename_caller(struct reader *r, struct sh_slice display)
{
	struct sh_name_addr a;
	struct sh_slice rest = r->all.from.len ? r->all.from : r->about.from, out = {0};

	if (sh_name_addr_next(&rest, &a) < 0)
		return out;
	display = quote(r, display);
	if (sh_arena_printf(&r->plan->arena, &out, "%.*s <%.*s>", SH_FMT(display), SH_FMT(a.uri)) < 0)
		luaL_error(r->L, "not enough memory");
	return out;
}

/* What read_common() reads. */
#define COMMON_KEYS                                                                                                    \
	"to", "from", "display", "pai", "privacy", "diversion", "headers", "copy", "transport", "route", "delay",      \
	    "auth", "listener"

/* Most entries and options have few keys: only those are looked for that sh_opt_known() has seen. */
enum { URI, Q, GROUP, FLOW, PATH, TIMEOUT, EXPIRES, USER_AGENT, USER, AOR, ENTRY_COMMON };
const char *const sh_options_entry[] = {"uri",        "q",    "group", "flow",      "path", "timeout", "expires",
					 "user_agent", "user", "aor",   COMMON_KEYS, NULL};
enum { FORK_TIMEOUT, FORK_COMMON, FORK_OWN = FORK_COMMON + sizeof((const char *const[]){COMMON_KEYS}) / sizeof(char *) };
const char *const sh_options_fork[] = {"timeout",    COMMON_KEYS, "first_timeout", "early",     "tags", "follow_redirects",
					  "ignore_6xx", "sdp",       "replaces",      "on_branch", NULL};

static bool has(uint64_t present, unsigned key)
{
	return present >> key & 1;
}

const char *const sh_options_request[] = {"method",  "uri",   "targets", "body",    "content_type", "to",   "from",
				       "display", "pai",   "privacy", "headers", "transport",    "auth", "listener",
				       "route",   "timeout", NULL};
const char *const sh_options_originate[] = {"first",   "second",    "identity", "headers", "timeout", "first_timeout", "pai",
					     "privacy", "transport", "route",    "auth",    "listener", "offer",   NULL};
const char *const sh_options_trunk[] = {"name",    "uri",   "register",  "qualify", "from",      "pai",   "privacy",  "diversion",
					 "headers", "copy",  "transport", "route",   "listener",  "auth",  NULL};
const char *const sh_options_relay[] = {"to",      "from", "display",   "pai",   "privacy", "diversion",
					   "headers", "copy", "transport", "route", "timeout", "auth", "listener", NULL};

static void read_headers(struct reader *r, int table, struct sh_target *t)
{
	struct sh_writer lines;

	if (sh_opt_get(r->L, table, "headers") != LUA_TNIL) {
		char *text = r->rt ? r->rt->text : sh_arena_alloc(&r->plan->arena, SH_RUNTIME_TEXT);

		if (!text)
			luaL_error(r->L, "not enough memory");
		sh_writer_init(&lines, text, SH_RUNTIME_TEXT);
		sh_opt_headers(r->L, lua_gettop(r->L), &lines);
		t->headers = keep(r, sh_writer_text(&lines));
	}
	lua_pop(r->L, 1);
}

static void read_copy(struct reader *r, int table, struct sh_target *t)
{
	lua_State *L = r->L;
	struct sh_writer w;
	char names[1024];

	if (sh_opt_get(L, table, "copy") == LUA_TTABLE) {
		lua_Integer n = luaL_len(L, -1);

		sh_writer_init(&w, names, sizeof(names));
		for (lua_Integer i = 1; i <= n; i++) {
			struct sh_slice name;

			if (lua_geti(L, -1, i) != LUA_TSTRING)
				luaL_error(L, "option 'copy': list of header names expected");
			name.base = lua_tolstring(L, -1, &name.len);
			sh_check_clean(L, name, "copy");
			if (sh_header_is_engines(sh_header_lookup(name)))
				luaL_error(L, "option 'copy': %s is the engine's own", name.base);
			if (w.len)
				sh_put_char(&w, ',');
			sh_put(&w, name);
			lua_pop(L, 1);
		}
		if (w.full)
			sh_too_long(L, "option 'copy'");
		t->copy = keep(r, sh_writer_text(&w));
	} else if (!lua_isnil(L, -1)) {
		luaL_error(L, "option 'copy': list of header names expected, got %s", luaL_typename(L, -1));
	}
	lua_pop(L, 1);
}

const char *const sh_options_login[] = {"user", "password", "realm", NULL};

static void read_login(struct reader *r, int idx, struct sh_login *out)
{
	struct sh_slice user, password;

	sh_opt_known(r->L, idx, lua_pushfstring(r->L, "%s: option 'auth'", r->what), sh_options_login);
	lua_pop(r->L, 1);
	user = sh_opt_text(r->L, idx, "user");
	password = sh_opt_text(r->L, idx, "password");
	if (!user.len || !password.base)
		luaL_error(r->L, "%s: option 'auth': 'user' and 'password' are needed", r->what);
	*out = (struct sh_login){keep(r, user), keep(r, password), keep(r, sh_opt_text(r->L, idx, "realm"))};
}

/* auth = {user=, password=, realm=}, or a list of them. */
static void read_logins(struct reader *r, int table, struct sh_target *t)
{
	lua_State *L = r->L;
	struct sh_login *logins;
	lua_Integer n;
	bool list;
	int idx;

	if (sh_opt_get(L, table, "auth") == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	idx = lua_gettop(L);
	if (lua_type(L, idx) != LUA_TTABLE)
		luaL_error(L, "%s: option 'auth': table expected, got %s", r->what, luaL_typename(L, idx));
	list = lua_rawgeti(L, idx, 1) == LUA_TTABLE;
	lua_pop(L, 1);
	n = list ? luaL_len(L, idx) : 1;
	if (n > SH_CLIENT_LOGINS)
		luaL_error(L, "%s: option 'auth': more than %d", r->what, SH_CLIENT_LOGINS);
	logins = sh_arena_alloc(&r->plan->arena, (size_t)n * sizeof(*logins));
	if (!logins)
		luaL_error(L, "not enough memory");
	for (lua_Integer i = 1; i <= n; i++) {
		if (!list) {
			read_login(r, idx, logins);
			break;
		}
		if (lua_rawgeti(L, idx, i) != LUA_TTABLE)
			luaL_error(L, "%s: option 'auth': list of tables expected", r->what);
		read_login(r, lua_gettop(L), &logins[i - 1]);
		lua_pop(L, 1);
	}
	t->logins = logins;
	t->nlogins = (unsigned)n;
	lua_pop(L, 1);
}

/* listener = "udp:5060" | "tcp:10.0.0.1:5060": the endpoint that it leaves by. */
static void read_listener(struct reader *r, int table, struct sh_target *t)
{
	struct sh_slice text = sh_opt_text(r->L, table, "listener"), proto, rest;
	struct sh_transport *tr = r->rt ? sh_ua_transport(r->rt->ua) : NULL;
	char buf[SH_ADDR_TEXT + 16], port[8];

	if (!text.base)
		return;
	sh_slice_cut(text, ':', &proto, &rest);
	if (sh_slice_istarts(rest, SH_LIT("//"))) /* udp://..., as in -l */
		rest = sh_slice_make(rest.base + 2, rest.len - 2);
	for (unsigned i = 0; tr && i < sh_transport_endpoints(tr); i++) {
		const struct sh_endpoint *e = sh_transport_endpoint(tr, i);
		size_t len = sh_addr_format(&e->local, buf);
		int digits = snprintf(port, sizeof(port), "%u", e->local.port);

		if (e->reserved || !sh_slice_ieq(proto, sh_proto_param(e->proto)))
			continue;
		if (sh_slice_eq(rest, sh_slice_make(buf, len)) || sh_slice_eq(rest, sh_slice_make(port, (size_t)digits))) {
			t->endpoint = (int)i;
			t->proto = t->proto < 0 ? (int)e->proto : t->proto;
			return;
		}
	}
	luaL_error(r->L, "%s: option 'listener': there is no '%s'", r->what, text.base);
}

/* The keys that stand in an entry and in the options alike. */
static void read_common(struct reader *r, int table, struct sh_target *t)
{
	lua_State *L = r->L;
	struct sh_slice display = sh_opt_text(L, table, "display"), none = {0}, s;

	s = read_name(r, table, "from", display);
	if (s.len)
		t->from = s;
	else if (display.len)
		t->from = rename_caller(r, display);
	s = read_name(r, table, "to", none);
	if (s.len)
		t->to = s;
	s = read_name(r, table, "pai", none);
	if (s.len)
		t->pai = s;
	s = read_diversion(r, table);
	if (s.len)
		t->diversion = s;
	s = sh_opt_text(L, table, "privacy");
	if (s.len)
		t->privacy = keep(r, s);
	s = sh_opt_text(L, table, "route");
	if (s.len && s.base[0] != '<') {
		t->route = read_name(r, table, "route", none);
	} else if (s.len) {
		struct sh_name_addr a;
		struct sh_slice rest = s;

		while (rest.len)
			if (sh_name_addr_next(&rest, &a) < 0)
				luaL_error(L, "%s: option 'route': no route", r->what);
		t->route = keep(r, s);
	}
	s = sh_opt_text(L, table, "transport");
	if (s.len) {
		enum sh_proto p = sh_proto_lookup(s);

		if (p == SH_PROTO_OTHER)
			luaL_error(L, "%s: option 'transport': unknown transport", r->what);
		t->proto = (int)p;
	}
	t->delay = sh_opt_seconds(L, table, "delay", t->delay);
	read_listener(r, table, t);
	read_logins(r, table, t);
	read_headers(r, table, t);
	read_copy(r, table, t);
}

/* A transport that was asked for is said with the URI's parameter: that is what decides the way (RFC 3263 4.1). */
static void apply_transport(struct reader *r, struct sh_target *t)
{
	struct sh_uri uri;

	if (t->proto < 0 || sh_uri_parse(&uri, t->uri) < 0 || sh_param_find(uri.params, SH_LIT("transport"), NULL))
		return;
	if (sh_arena_printf(&r->plan->arena, &t->uri, "%.*s;transport=%.*s", SH_FMT(t->uri),
			    SH_FMT(sh_proto_param((enum sh_proto)t->proto))) < 0)
		luaL_error(r->L, "not enough memory");
}

static void read_uri(struct reader *r, int idx, struct sh_target *t)
{
	if (sh_target_form(t, &r->plan->arena, keep(r, sh_opt_uri(r->L, idx, r->what, NULL)), true) < 0)
		luaL_error(r->L, "not enough memory");
	apply_transport(r, t);
}

/* What one of a trunk's URIs says, where neither the options nor the entry say something else. */
static void overlay(struct reader *r, struct sh_target *t, const struct sh_target *of)
{
	struct sh_slice *const texts[] = {&t->from, &t->to, &t->headers, &t->copy, &t->pai, &t->privacy, &t->diversion,
					  &t->route};
	const struct sh_slice theirs[] = {of->from, of->to, of->headers, of->copy, of->pai, of->privacy, of->diversion,
					  of->route};
	struct sh_login *logins;

	for (unsigned i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++)
		if (!texts[i]->len)
			*texts[i] = keep(r, theirs[i]);
	if (t->proto < 0)
		t->proto = of->proto;
	if (t->endpoint < 0)
		t->endpoint = of->endpoint;
	if (t->nlogins || !of->nlogins)
		return;
	logins = sh_arena_alloc(&r->plan->arena, of->nlogins * sizeof(*logins));
	if (!logins)
		luaL_error(r->L, "not enough memory");
	for (unsigned i = 0; i < of->nlogins; i++)
		logins[i] = (struct sh_login){keep(r, of->logins[i].user), keep(r, of->logins[i].password),
					      keep(r, of->logins[i].realm)};
	t->logins = logins;
	t->nlogins = of->nlogins;
}

/* "sip:user@host": a trunk's URI with the number that is dialled. */
static struct sh_slice dial(struct reader *r, struct sh_slice text, struct sh_slice number)
{
	ptrdiff_t colon = sh_slice_find(text, ':');
	struct sh_slice user, out = {0};
	struct sh_uri uri;

	if (!number.len || sh_uri_parse(&uri, text) < 0 || uri.user.len)
		return keep(r, text);
	if (sh_uri_escape_user(&r->plan->arena, number, &user) < 0 ||
	    sh_arena_printf(&r->plan->arena, &out, "%.*s%.*s@%.*s", (int)colon + 1, text.base, SH_FMT(user),
			    (int)(text.len - (size_t)colon - 1), text.base + colon + 1) < 0)
		luaL_error(r->L, "not enough memory");
	return out;
}

/* The user part of what was dialled, decoded. */
static struct sh_slice dialled(struct reader *r)
{
	struct sh_slice out = {0};
	struct sh_uri uri;

	if (!r->about.uri.len || sh_uri_parse(&uri, r->about.uri) < 0 || !uri.user.len)
		return out;
	if (sh_uri_unescape(&r->plan->arena, uri.user, &out) < 0)
		luaL_error(r->L, "not enough memory");
	return out;
}

static void add_target(struct reader *r, const struct sh_target *t)
{
	struct sh_fork_plan *p = r->plan;

	if (p->count == SH_PLAN_TARGETS)
		luaL_error(r->L, "%s: more than %d targets", r->what, SH_PLAN_TARGETS);
	if (p->count == r->room) { /* mostly there is one */
		unsigned room = r->room ? 4 * r->room : 2;
		struct sh_target *grown = sh_arena_alloc(&p->arena, room * sizeof(*grown));

		if (!grown)
			luaL_error(r->L, "not enough memory");
		if (p->count)
			memcpy(grown, p->targets, p->count * sizeof(*grown));
		p->targets = grown;
		r->room = room;
	}
	p->targets[p->count++] = *t;
}

/* A trunk: its URIs one after the other, the one that we are registered with first. */
static void add_trunk(struct reader *r, const struct sh_trunk_config *c, const struct sh_target *entry, struct sh_slice number)
{
	unsigned first = atomic_load(&c->status->current), dead = atomic_load(&c->status->dead);
	struct sh_slice service = {0};

	if (c->registers && sh_trunk_status_route(c->status, &r->plan->arena, &service) < 0)
		luaL_error(r->L, "not enough memory");
	for (unsigned i = 0; i < c->count; i++) {
		unsigned index = (first + i) % c->count;
		struct sh_target t = *entry;

		overlay(r, &t, &c->targets[index]);
		if (!t.route.len && index == first)
			t.route = service;
		t.uri = dial(r, c->targets[index].uri, number.base ? number : dialled(r));
		t.group += i;
		t.alternative = i > 0;
		if (dead >> index & 1)
			r->dead |= UINT64_C(1) << r->plan->count;
		add_target(r, &t);
	}
}

/* Targets that are known not to answer are left out, unless nothing else is there. */
static void leave_out_dead(struct reader *r)
{
	struct sh_fork_plan *p = r->plan;
	unsigned kept = 0;
	bool headless = false; /* the first of a trunk is left out: the next is its first */

	if (!r->dead || r->dead == UINT64_MAX >> (64 - p->count))
		return;
	for (unsigned i = 0; i < p->count; i++) {
		bool first = !p->targets[i].alternative || headless;

		headless = first && (r->dead >> i & 1);
		if (r->dead >> i & 1)
			continue;
		p->targets[kept] = p->targets[i];
		p->targets[kept++].alternative = !first;
	}
	p->count = kept;
}

/* What sip.lookup has said of the contact: the entry's URI and Path stay. */
static void read_flows(struct reader *r, const struct sh_flows *flows, struct sh_target *t)
{
	struct sh_reach first = flows->reaches[0], *others = NULL;

	first.uri = t->uri;
	first.route = t->route;
	sh_target_reach(t, &first);
	t->registered = true;
	if (flows->count > 1)
		others = sh_arena_alloc(&r->plan->arena, (flows->count - 1) * sizeof(*others));
	if (flows->count > 1 && !others)
		luaL_error(r->L, "not enough memory");
	for (unsigned i = 1; i < flows->count; i++) {
		others[i - 1] = flows->reaches[i];
		others[i - 1].uri = keep(r, flows->reaches[i].uri);
		others[i - 1].route = keep(r, flows->reaches[i].route);
	}
	t->others = others;
	t->other_count = flows->count - 1;
}

static void read_entry(struct reader *r, int idx, lua_Integer group)
{
	const struct sh_trunk_config *trunk = sh_trunk_test(r->L, idx);
	lua_State *L = r->L;
	struct sh_target t = r->all;
	const struct sh_flows *flows;
	struct sh_slice s = {0};
	uint64_t present;

	t.group = (unsigned)group;
	if (trunk) {
		add_trunk(r, trunk, &t, (struct sh_slice){0});
		return;
	}
	if (lua_type(L, idx) != LUA_TTABLE) {
		read_uri(r, idx, &t);
		add_target(r, &t);
		return;
	}
	present = sh_opt_known(L, idx, r->what, sh_options_entry);
	if (present >> ENTRY_COMMON)
		read_common(r, idx, &t);
	t.timeout = has(present, TIMEOUT) ? sh_opt_seconds(L, idx, "timeout", 0) : 0;
	if (has(present, GROUP))
		t.group += (unsigned)sh_opt_integer(L, idx, "group", 0, 0, 999);
	if (sh_opt_get(L, idx, "uri") == LUA_TNIL)
		luaL_error(L, "%s: a target without 'uri'", r->what);
	trunk = sh_trunk_test(L, lua_gettop(L));
	if (!trunk)
		read_uri(r, lua_gettop(L), &t);
	lua_pop(L, 1);
	if (has(present, USER))
		s = sh_opt_text(L, idx, "user");
	if (s.base && !trunk)
		luaL_error(L, "%s: option 'user': only with a trunk as 'uri'", r->what);
	if (trunk) {
		add_trunk(r, trunk, &t, s);
		return;
	}
	if (has(present, AOR) && sh_ua_watched(r->rt->ua))
		t.aor = keep(r, sh_opt_text(L, idx, "aor"));
	if (has(present, PATH) && !t.route.len)
		t.route = keep(r, sh_opt_text(L, idx, "path"));
	sh_opt_get(L, idx, "flow");
	flows = sh_flows_test(L, -1);
	if (flows) {
		read_flows(r, flows, &t);
	} else if (!lua_isnil(L, -1)) {
		luaL_error(L, "%s: option 'flow': only what sip.lookup gives", r->what);
	}
	lua_pop(L, 1);
	add_target(r, &t);
}

static bool is_entry(const struct reader *r, int idx)
{
	lua_State *L = r->L;
	bool entry;

	if (lua_type(L, idx) != LUA_TTABLE)
		return true;
	entry = sh_opt_get(L, idx, "uri") != LUA_TNIL;
	lua_pop(L, 1);
	if (entry || luaL_len(L, idx) > 0)
		return entry;
	/* an empty list has no targets, and that is no mistake; a table of keys is a target without its URI */
	lua_pushnil(L);
	if (lua_next(L, idx)) {
		if (lua_type(L, -2) == LUA_TSTRING)
			luaL_error(L, "%s: option 'uri' of a target is missing (there is '%s')", r->what, lua_tostring(L, -2));
		luaL_error(L, "%s: a target or a list of targets expected, got a table without either", r->what);
	}
	return false;
}

static void read_list(struct reader *r, int list, lua_Integer group)
{
	lua_State *L = r->L;
	lua_Integer n = luaL_len(L, list);

	for (lua_Integer i = 1; i <= n; i++) {
		lua_geti(L, list, i);
		read_entry(r, lua_gettop(L), group);
		lua_pop(L, 1);
	}
}

const char *const sh_options_replaces[] = {"call_id", "to_tag", "from_tag", "early_only", NULL};

/* replaces = "call-id;to-tag=a;from-tag=b" | {call_id=, to_tag=, from_tag=} as call.replaces has it | leg: whose far party is called. */
static void read_replaces(struct reader *r, int table)
{
	struct sh_slice text = {0}, call_id = {0}, to_tag = {0}, from_tag = {0};
	struct sh_dialog_ids ids;
	bool early_only = false;
	lua_State *L = r->L;
	struct sh_leg *leg;
	int type = sh_opt_get(L, table, "replaces"), idx = lua_gettop(L);

	if (type == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	if (type == LUA_TSTRING) {
		text.base = lua_tolstring(L, idx, &text.len);
		sh_check_clean(L, text, "replaces");
		if (sh_dialog_ids_parse(&ids, text) < 0)
			luaL_error(L, "%s: option 'replaces': '%s' names no dialog", r->what, text.base);
		r->plan->replaces = keep(r, text);
		lua_pop(L, 1);
		return;
	}
	if (type == LUA_TTABLE) {
		sh_opt_known(L, idx, lua_pushfstring(L, "%s: option 'replaces'", r->what), sh_options_replaces);
		lua_pop(L, 1);
		call_id = sh_opt_text(L, idx, "call_id");
		to_tag = sh_opt_text(L, idx, "to_tag");
		from_tag = sh_opt_text(L, idx, "from_tag");
		early_only = sh_opt_bool(L, idx, "early_only", false);
		if (!call_id.len || !to_tag.len || !from_tag.len)
			luaL_error(L, "%s: option 'replaces': 'call_id', 'to_tag' and 'from_tag' are needed", r->what);
	} else if (luaL_testudata(L, idx, "siphook.leg")) {
		leg = sh_leg_check(L, idx);
		if (!leg)
			luaL_error(L, "%s: option 'replaces': the leg is gone", r->what);
		call_id = sh_dialog_call_id(sh_leg_dialog(leg));
		to_tag = sh_dialog_remote_tag(sh_leg_dialog(leg));
		from_tag = sh_slice_make(sh_leg_dialog(leg)->local_tag, SH_TAG_LEN);
	} else {
		luaL_error(L, "%s: option 'replaces': text, table or leg expected, got %s", r->what, luaL_typename(L, idx));
	}
	if (sh_arena_printf(&r->plan->arena, &r->plan->replaces, "%.*s;to-tag=%.*s;from-tag=%.*s%s", SH_FMT(call_id), SH_FMT(to_tag),
			    SH_FMT(from_tag), early_only ? ";early-only" : "") < 0)
		luaL_error(L, "not enough memory");
	lua_pop(L, 1);
}

static void read_options(struct reader *r, int idx)
{
	static const char *const *const keys[] = {
	    [SH_PLAN_CALL] = sh_options_fork,	[SH_PLAN_RELAY] = sh_options_relay,
	    [SH_PLAN_REQUEST] = sh_options_request, [SH_PLAN_TRUNK] = sh_options_trunk,
	    [SH_PLAN_ORIGINATE] = sh_options_originate};
	lua_State *L = r->L;
	struct sh_fork_plan *p = r->plan;
	uint64_t present;
	struct sh_slice s;

	if (lua_isnoneornil(L, idx))
		return;
	luaL_checktype(L, idx, LUA_TTABLE);
	present = sh_opt_known(L, idx, r->what, keys[r->about.kind]);
	if (r->about.kind != SH_PLAN_CALL || present >> FORK_COMMON)
		read_common(r, idx, &r->all);
	p->timeout = sh_opt_seconds(L, idx, "timeout", 0);
	if (r->about.kind == SH_PLAN_ORIGINATE) {
		p->first_timeout = sh_opt_seconds(L, idx, "first_timeout", 0);
		p->offer = sh_opt_offer(L, idx, r->what);
	}
	if (r->about.kind != SH_PLAN_CALL || !(present >> FORK_OWN))
		return;
	p->first_timeout = sh_opt_seconds(L, idx, "first_timeout", 0);
	s = sh_opt_text(L, idx, "early");
	if (sh_slice_eq(s, SH_LIT("drop")))
		p->early = SH_EARLY_DROP;
	else if (sh_slice_eq(s, SH_LIT("first")))
		p->early = SH_EARLY_FIRST;
	else if (s.base && !sh_slice_eq(s, SH_LIT("relay")))
		luaL_error(L, "%s: option 'early': \"relay\", \"drop\" or \"first\" expected", r->what);
	s = sh_opt_text(L, idx, "tags");
	p->single_tag = sh_slice_eq(s, SH_LIT("single"));
	if (s.base && !p->single_tag && !sh_slice_eq(s, SH_LIT("branch")))
		luaL_error(L, "%s: option 'tags': \"branch\" or \"single\" expected", r->what);
	p->ignore_6xx = sh_opt_bool(L, idx, "ignore_6xx", false);
	sh_branch_hook_read(L, idx, p);
	p->follow_redirects = (unsigned)sh_opt_integer(L, idx, "follow_redirects", 0, 0, 10);
	p->has_sdp = sh_opt_sdp(L, idx, "sdp", r->what, &s);
	if (p->has_sdp)
		p->sdp = keep(r, s);
	read_replaces(r, idx);
}

void sh_verb_forget(struct sh_state *s)
{
	for (unsigned i = 0; i < SH_PLANS; i++)
		sh_fork_plan_finish(&s->verb.plans[i]);
	s->verb.nplans = 0;
	sh_bindings_unref(s->verb.bindings);
	s->verb.bindings = NULL;
}

static void read_targets(struct reader *r, int targets)
{
	lua_State *L = r->L;
	bool groups = false;
	lua_Integer n;

	if (is_entry(r, targets)) { /* a single one */
		read_entry(r, targets, 0);
		return;
	}
	n = luaL_len(L, targets);
	if (n) {
		lua_geti(L, targets, 1);
		groups = !is_entry(r, lua_gettop(L));
		lua_pop(L, 1);
	}
	if (!groups) {
		read_list(r, targets, 0);
		return;
	}
	for (lua_Integer i = 1; i <= n; i++) {
		if (lua_geti(L, targets, i) != LUA_TTABLE || is_entry(r, lua_gettop(L)))
			luaL_error(L, "%s: targets and lists of targets mixed", r->what);
		read_list(r, lua_gettop(L), (i - 1) * 1000);
		lua_pop(L, 1);
	}
}

struct sh_fork_plan *sh_plan_read(lua_State *L, int targets, int options, const char *what, const struct sh_plan_about *about)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_fork_plan *plan = &s->verb.plans[s->verb.nplans++ % SH_PLANS];
	struct reader r = {L, what, s->runtime, plan, *about, {.proto = -1, .endpoint = -1}, 0, 0};

	sh_fork_plan_finish(plan); /* of a verb that raised */
	*plan = (struct sh_fork_plan){0};
	sh_arena_init(&plan->arena, 2048);
	read_options(&r, options);
	read_targets(&r, targets);
	leave_out_dead(&r);
	return plan;
}
