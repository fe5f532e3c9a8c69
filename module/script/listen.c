/* sip.listen and sip.acl: what the top level says about the sockets and about who may use them. Worker 0's declarations
 * stand in the generation; each worker makes them true when it takes the generation up. */
#include "script/impl.h"

enum { LISTENS_MAX = SH_MAX_ENDPOINTS, ENTRIES_MAX = 10000, EMERGENCY_MAX = 100 };

static struct sh_slice keep(lua_State *L, struct sh_generation *g, struct sh_slice text)
{
	struct sh_slice copy = {0};

	if (text.len && sh_arena_dup(&g->arena, text, &copy) < 0)
		luaL_error(L, "not enough memory");
	return copy;
}

/* ------------------------------------------------------------------ sip.listen */

/* "203.0.113.5:5060", "sip.example.org", "[2001:db8::5]" */
static void read_advertise(lua_State *L, struct sh_listen_spec *spec)
{
	struct sh_slice text = sh_opt_text(L, 1, "advertise"), host = text, port = {0};
	struct sh_addr addr;
	uint32_t n = 0;

	if (!text.base)
		return;
	if (text.len && text.base[0] == '[') {
		ptrdiff_t end = sh_slice_find(text, ']');

		if (end > 0 && (size_t)end + 1 < text.len && text.base[end + 1] == ':')
			port = sh_slice_make(text.base + end + 2, text.len - (size_t)end - 2);
		if (end > 0)
			host.len = (size_t)end + 1;
	} else if (sh_addr_parse(&addr, text, 0) < 0) { /* an IPv6 address without brackets has no port */
		if (!sh_slice_cut(text, ':', &host, &port))
			port.base = NULL;
	}
	if ((port.base && (sh_slice_u32(port, &n) < 0 || n == 0 || n > 65535)) || !host.len || host.len > 255)
		luaL_error(L, "sip.listen: option 'advertise': a host or host:port expected, got \"%s\"", text.base);
	for (size_t i = 0; i < host.len; i++)
		if (strchr(" \t\r\n;,@<>\"/?", host.base[i]))
			luaL_error(L, "sip.listen: option 'advertise': \"%s\" is no host", text.base);
	spec->advertise = host;
	spec->advertise_port = (uint16_t)n;
}

/* sip.listen{uri="udp://0.0.0.0:5060", advertise="203.0.113.5", ...} */
int sh_listen(lua_State *L)
{
	static const char *const known[] = {"uri",		"advertise",	  "nat",	     "max_connections",
					    "max_per_source", "idle_timeout", "message_timeout", NULL};
	struct sh_state *s = sh_state_of(L);
	struct sh_generation *g = s->generation;
	struct sh_listen_spec spec = {0};
	const char *wrong;

	sh_check_loading(L, "sip.listen");
	luaL_checktype(L, 1, LUA_TTABLE);
	sh_opt_known(L, 1, "sip.listen", known);
	spec.uri = sh_opt_text(L, 1, "uri");
	if (!spec.uri.base)
		return luaL_error(L, "sip.listen: option 'uri' is missing");
	wrong = sh_listen_uri_parse(spec.uri, &spec.proto, &spec.addr);
	if (wrong)
		return luaL_error(L, "sip.listen: option 'uri': %s: %s", spec.uri.base, wrong);
	if (spec.addr.port == 0)
		return luaL_error(L, "sip.listen: option 'uri': %s: port 0", spec.uri.base);
	read_advertise(L, &spec);
	spec.tuning.nat = (enum sh_nat)sh_opt_choice(L, 1, "nat", sh_nat_words, SH_NAT_AUTO);
	spec.tuning.max_connections = (unsigned)sh_opt_integer(L, 1, "max_connections", 0, 1, 1000000);
	spec.tuning.max_per_source = (unsigned)sh_opt_integer(L, 1, "max_per_source", 0, 1, 1000000);
	spec.tuning.idle_timeout = sh_opt_seconds(L, 1, "idle_timeout", 0);
	spec.tuning.message_timeout = sh_opt_seconds(L, 1, "message_timeout", 0);
	if (s->worker != 0)
		return 0;
	for (unsigned i = 0; i < g->nlistens; i++)
		if (g->listens[i].proto == spec.proto && sh_addr_eq(&g->listens[i].addr, &spec.addr))
			return luaL_error(L, "sip.listen: %s is there already", spec.uri.base);
	if (g->nlistens == LISTENS_MAX)
		return luaL_error(L, "sip.listen: at most %d listeners", LISTENS_MAX);
	if (!g->listens)
		g->listens = sh_arena_calloc(&g->arena, LISTENS_MAX, sizeof(*g->listens));
	if (!g->listens)
		return luaL_error(L, "not enough memory");
	spec.uri = keep(L, g, spec.uri);
	spec.advertise = keep(L, g, spec.advertise);
	g->listens[g->nlistens++] = spec;
	return 0;
}

static int find_endpoint(const struct sh_transport *t, const struct sh_listen_spec *spec)
{
	for (unsigned i = 0; i < sh_transport_endpoints(t); i++) {
		const struct sh_endpoint *e = sh_transport_endpoint(t, i);

		if (e->proto == spec->proto && sh_addr_eq(&e->local, &spec->addr))
			return (int)i;
	}
	return -1;
}

static int make_true(struct sh_runtime *rt, const struct sh_listen_spec *spec)
{
	struct sh_transport *t = sh_ua_transport(rt->ua);
	int index = find_endpoint(t, spec), err = 0;

	if (index < 0) {
		const struct sh_listen_config config = {
		    .proto = spec->proto,
		    .local = &spec->addr,
		    .advertise_host = spec->advertise,
		    .advertise_port = spec->advertise_port,
		    .tls = rt->tls,
		};
		err = sh_transport_listen_with(t, &config);
		index = (int)sh_transport_endpoints(t) - 1;
	} else if (spec->advertise.len) {
		err = sh_transport_advertise(t, (unsigned)index, spec->advertise, spec->advertise_port);
	}
	if (!err)
		sh_transport_tune(t, (unsigned)index, &spec->tuning);
	return err;
}

int sh_runtime_listen(struct sh_runtime *rt, char *error, size_t size)
{
	const struct sh_generation *g = rt->state->generation;
	int first = 0;

	rt->listens = true;
	for (unsigned i = 0; i < g->nlistens; i++) {
		int err = make_true(rt, &g->listens[i]);

		if (err && !first)
			snprintf(error, size, "listen %.*s: %s", SH_FMT(g->listens[i].uri),
				 err == -EPROTONOSUPPORT ? "the option tls_certificate is missing" : strerror(-err));
		first = first ? first : err;
	}
	return first;
}

void sh_runtime_set_tls(struct sh_runtime *rt, struct sh_tls *tls)
{
	rt->tls = tls;
}

unsigned sh_generation_listens(const struct sh_generation *g)
{
	return g->nlistens;
}

/* ------------------------------------------------------------------ sip.acl */

/* A list of prefixes under that key, in the arena; false: the key is not there. Every worker checks, the first keeps. */
static bool read_prefixes(lua_State *L, const char *key, struct sh_prefix **list, unsigned *count)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_prefix *out = NULL;
	lua_Integer n;

	if (sh_opt_get(L, 1, key) == LUA_TNIL) {
		lua_pop(L, 1);
		return false;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "sip.acl: option '%s': a list expected, got %s", key, luaL_typename(L, -1));
	n = luaL_len(L, -1);
	if (n > ENTRIES_MAX)
		luaL_error(L, "sip.acl: option '%s': at most %d addresses", key, ENTRIES_MAX);
	if (s->worker == 0) {
		out = sh_arena_calloc(&s->generation->arena, (size_t)n + 1, sizeof(*out));
		if (!out)
			luaL_error(L, "not enough memory");
	}
	for (lua_Integer i = 1; i <= n; i++) {
		struct sh_slice text = {0};
		struct sh_prefix p;

		if (lua_geti(L, -1, i) == LUA_TSTRING)
			text.base = lua_tolstring(L, -1, &text.len);
		if (!text.base || sh_prefix_parse(&p, text) < 0)
			luaL_error(L, "sip.acl: option '%s': entry %I is no address or address/bits", key, (LUAI_UACINT)i);
		if (out)
			out[i - 1] = p;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	*list = out;
	*count = (unsigned)n;
	return true;
}

static void read_emergency(lua_State *L, struct sh_generation *g, bool keeps)
{
	struct sh_slice *out;
	lua_Integer n;

	if (sh_opt_get(L, 1, "emergency") == LUA_TNIL) {
		lua_pop(L, 1);
		return;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "sip.acl: option 'emergency': a list expected, got %s", luaL_typename(L, -1));
	n = luaL_len(L, -1);
	if (n > EMERGENCY_MAX)
		luaL_error(L, "sip.acl: option 'emergency': at most %d numbers", EMERGENCY_MAX);
	out = keeps ? sh_arena_calloc(&g->arena, (size_t)n + 1, sizeof(*out)) : NULL;
	if (keeps && !out)
		luaL_error(L, "not enough memory");
	for (lua_Integer i = 1; i <= n; i++) {
		struct sh_slice text = {0};

		if (lua_geti(L, -1, i) == LUA_TSTRING)
			text.base = lua_tolstring(L, -1, &text.len);
		if (!text.len)
			luaL_error(L, "sip.acl: option 'emergency': entry %I is no number", (LUAI_UACINT)i);
		if (out)
			out[i - 1] = keep(L, g, text);
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	if (out) {
		g->door.emergency = out;
		g->door.emergency_count = (unsigned)n;
	}
}

static void read_numbers(lua_State *L, struct sh_door *d)
{
	d->rate = (uint32_t)sh_opt_integer(L, 1, "rate", d->rate, 0, 1000000);
	d->burst = (uint32_t)sh_opt_integer(L, 1, "burst", d->burst, 1, 1000000);
	d->max_failures = (unsigned)sh_opt_integer(L, 1, "max_failures", d->max_failures, 0, 1000000);
	d->failure_window = sh_opt_seconds(L, 1, "failure_window", d->failure_window);
	d->ban_time = sh_opt_seconds(L, 1, "ban_time", d->ban_time);
}

/* Both lists in one table, by the length of their prefixes. */
static void make_rules(lua_State *L, struct sh_generation *g)
{
	unsigned n = g->nallow + g->ndeny;
	struct sh_door_rule *rules = sh_arena_calloc(&g->arena, n + 1, sizeof(*rules));

	if (!rules)
		luaL_error(L, "not enough memory");
	for (unsigned i = 0; i < n; i++)
		rules[i] = i < g->nallow ? (struct sh_door_rule){g->allow[i], true}
					 : (struct sh_door_rule){g->deny[i - g->nallow], false};
	sh_door_sort(rules, n);
	g->door.rules = rules;
	g->door.rule_count = n;
	g->door.closed = g->allow != NULL;
}

/* sip.acl{allow={"10.0.0.0/8"}, deny=, trust=, rate=, burst=, max_failures=, failure_window=, ban_time=, emergency=}; a key that is
 * named again takes the place of what it was. */
int sh_acl(lua_State *L)
{
	static const char *const known[] = {"allow",	    "deny",	      "trust",	  "rate",      "burst",
					    "max_failures", "failure_window", "ban_time", "emergency", NULL};
	struct sh_state *s = sh_state_of(L);
	struct sh_generation *g = s->generation;
	struct sh_door other = {0}, *d = s->worker == 0 ? &g->door : &other;
	struct sh_prefix *list;
	unsigned count;

	sh_check_loading(L, "sip.acl");
	luaL_checktype(L, 1, LUA_TTABLE);
	sh_opt_known(L, 1, "sip.acl", known);
	if (read_prefixes(L, "allow", &list, &count) && list) {
		g->allow = list;
		g->nallow = count;
	}
	if (read_prefixes(L, "deny", &list, &count) && list) {
		g->deny = list;
		g->ndeny = count;
	}
	if (read_prefixes(L, "trust", &list, &count) && list) {
		g->trust = list;
		g->ntrust = count;
	}
	read_emergency(L, g, s->worker == 0);
	if (!d->failure_window)
		d->failure_window = 60 * SH_SECOND;
	if (!d->ban_time)
		d->ban_time = 300 * SH_SECOND;
	read_numbers(L, d);
	if (s->worker != 0)
		return 0;
	make_rules(L, g);
	d->trust = g->trust;
	d->trust_count = g->ntrust;
	if (d->rate && !d->burst)
		d->burst = 2 * d->rate;
	g->has_door = d->rule_count > 0 || d->closed || d->rate || d->max_failures || d->emergency_count;
	return 0;
}
