/* sip.listen: what the top level says about the sockets. Worker 0's declarations stand in the generation; each worker makes them
 * true when it takes the generation up. */
#include "script/impl.h"

enum { LISTENS_MAX = 64, ORIGINS_MAX = 64 };
#define UNNAMED_LOOK (5 * SH_SECOND)

struct sh_slice sh_generation_keep(lua_State *L, struct sh_generation *g, struct sh_slice text)
{
	struct sh_slice copy = {0};

	if (text.len && sh_arena_dup(&g->arena, text, &copy) < 0)
		luaL_error(L, "not enough memory");
	return copy;
}

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

/* One text or a list of texts under that key of the table at idx: how many, in the arena, each with a NUL behind it. */
static unsigned read_texts(lua_State *L, int idx, const char *what, const char *key, unsigned max, struct sh_slice **out)
{
	struct sh_generation *g = sh_state_of(L)->generation;
	int type = sh_opt_get(L, idx, key);
	lua_Integer n = type == LUA_TTABLE ? luaL_len(L, -1) : type != LUA_TNIL;

	if (type != LUA_TNIL && type != LUA_TSTRING && type != LUA_TTABLE)
		luaL_error(L, "%s: option '%s': a text or a list of texts expected, got %s", what, key, luaL_typename(L, -1));
	if (n > (lua_Integer)max)
		luaL_error(L, "%s: option '%s': at most %d", what, key, (int)max);
	*out = n ? sh_arena_calloc(&g->arena, (size_t)n, sizeof(**out)) : NULL;
	if (n && !*out)
		luaL_error(L, "not enough memory");
	for (lua_Integer i = 0; i < n; i++) {
		struct sh_slice text = {0};

		if (type == LUA_TTABLE)
			lua_geti(L, -1, i + 1);
		else
			lua_pushvalue(L, -1);
		if (lua_type(L, -1) == LUA_TSTRING)
			text.base = lua_tolstring(L, -1, &text.len);
		if (!text.len || strlen(text.base) != text.len)
			luaL_error(L, "%s: option '%s': entry %I is no text", what, key, (LUAI_UACINT)(i + 1));
		text.len++;
		(*out)[i] = sh_generation_keep(L, g, text);
		(*out)[i].len--;
		lua_pop(L, 1);
	}
	lua_pop(L, 1);
	return (unsigned)n;
}

/* Names of files, which may be beside the dial plan. */
static unsigned read_files(lua_State *L, int idx, const char *key, unsigned max, const char ***out)
{
	struct sh_state *s = sh_state_of(L);
	const char *plan = s->generation->script->path, *slash = strrchr(plan, '/');
	struct sh_slice *names;
	unsigned n = read_texts(L, idx, "sip.listen: tls", key, max, &names);

	*out = n ? sh_arena_calloc(&s->generation->arena, n, sizeof(**out)) : NULL;
	if (n && !*out)
		luaL_error(L, "not enough memory");
	for (unsigned i = 0; i < n; i++) {
		struct sh_slice path;

		lua_pushlstring(L, plan, names[i].base[0] != '/' && slash ? (size_t)(slash + 1 - plan) : 0);
		lua_pushlstring(L, names[i].base, names[i].len);
		lua_concat(L, 2);
		path.base = lua_tolstring(L, -1, &path.len);
		path.len++;
		(*out)[i] = sh_generation_keep(L, s->generation, path).base;
		lua_pop(L, 1);
	}
	return n;
}

const char *const sh_options_listen_tls[] = {"certificate", "private_key", "ca", "verify", NULL};

/* tls = {certificate=, private_key=, ca=, verify=}: files of its own; they are read when the whole script has loaded. */
static struct sh_listen_tls *read_tls(lua_State *L, const struct sh_listen_spec *spec)
{
	struct sh_generation *g = sh_state_of(L)->generation;
	struct sh_listen_tls *tls;
	const char **ca;
	unsigned nkeys;

	if (sh_opt_get(L, 1, "tls") == LUA_TNIL) {
		lua_pop(L, 1);
		return NULL;
	}
	if (!lua_istable(L, -1))
		luaL_error(L, "sip.listen: option 'tls': a table expected, got %s", luaL_typename(L, -1));
	if (spec->proto != SH_PROTO_TLS && spec->proto != SH_PROTO_WSS)
		luaL_error(L, "sip.listen: option 'tls': %s has none", spec->uri.base);
	sh_opt_known(L, lua_gettop(L), "sip.listen: tls", sh_options_listen_tls);
	tls = sh_arena_calloc(&g->arena, 1, sizeof(*tls));
	if (!tls)
		luaL_error(L, "not enough memory");
	tls->count = read_files(L, lua_gettop(L), "certificate", SH_TLS_MAX_IDENTITIES, &tls->certificates);
	nkeys = read_files(L, lua_gettop(L), "private_key", SH_TLS_MAX_IDENTITIES, &tls->keys);
	if (read_files(L, lua_gettop(L), "ca", 1, &ca))
		tls->ca = ca[0];
	tls->verify = (enum sh_tls_verify)sh_opt_choice(L, lua_gettop(L), "verify", sh_tls_verify_words, SH_TLS_VERIFY_SERVERS);
	if (!tls->count)
		luaL_error(L, "sip.listen: tls: option 'certificate' is missing");
	if (nkeys && nkeys != tls->count)
		luaL_error(L, "sip.listen: tls: %d certificates and %d keys: each certificate has its own", (int)tls->count, (int)nkeys);
	if (!nkeys)
		tls->keys = tls->certificates;
	lua_pop(L, 1);
	return tls;
}

/* Two that share a socket are told apart by what is spoken behind the TLS that they have in common. */
static bool shares_socket(const struct sh_listen_spec *a, const struct sh_listen_spec *b)
{
	return a->proto != SH_PROTO_UDP && b->proto != SH_PROTO_UDP && sh_addr_eq(&a->addr, &b->addr);
}

static bool same_texts(const char *const *a, const char *const *b, unsigned count)
{
	while (count > 0 && strcmp(a[count - 1], b[count - 1]) == 0)
		count--;
	return count == 0;
}

bool sh_listen_tls_same(const struct sh_listen_tls *a, const struct sh_listen_tls *b)
{
	if (!a || !b)
		return a == b;
	return a->count == b->count && a->verify == b->verify && !a->ca == !b->ca && (!a->ca || strcmp(a->ca, b->ca) == 0) &&
	       same_texts(a->certificates, b->certificates, a->count) && same_texts(a->keys, b->keys, a->count);
}

static void check_new(lua_State *L, const struct sh_generation *g, const struct sh_listen_spec *spec)
{
	for (unsigned i = 0; i < g->nlistens; i++) {
		const struct sh_listen_spec *other = &g->listens[i];

		if (other->proto == spec->proto && sh_addr_eq(&other->addr, &spec->addr))
			luaL_error(L, "sip.listen: %s is there already", spec->uri.base);
		if (shares_socket(other, spec) && !sh_listen_tls_same(other->tls, spec->tls))
			luaL_error(L, "sip.listen: %s and %s share a socket and must have the same tls", other->uri.base, spec->uri.base);
	}
	if (g->nlistens == LISTENS_MAX)
		luaL_error(L, "sip.listen: at most %d listeners", LISTENS_MAX);
}

/* Seconds; 0: never. */
static uint64_t read_ping(lua_State *L)
{
	uint64_t ping = sh_opt_seconds(L, 1, "ping", 0);

	if (sh_opt_get(L, 1, "ping") != LUA_TNIL && ping == 0)
		ping = SH_NEVER;
	lua_pop(L, 1);
	return ping;
}

const char *const sh_options_listen[] = {"uri", "advertise", "nat", "max_connections", "max_per_source", "idle_timeout", "message_timeout",
    "handshake_timeout", "tls", "origins", "ping", NULL};

/* sip.listen{uri="udp://0.0.0.0:5060", advertise="203.0.113.5", ...} */
int sh_listen(lua_State *L)
{
	struct sh_state *s = sh_state_of(L);
	struct sh_generation *g = s->generation;
	struct sh_listen_spec spec = {0};
	const char *wrong;

	sh_check_loading(L, "sip.listen");
	luaL_checktype(L, 1, LUA_TTABLE);
	sh_opt_known(L, 1, "sip.listen", sh_options_listen);
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
	spec.tuning.handshake_timeout = sh_opt_seconds(L, 1, "handshake_timeout", 0);
	spec.tuning.ping = read_ping(L);
	if (s->worker != 0)
		return 0;
	spec.tls = read_tls(L, &spec);
	spec.norigins = read_texts(L, 1, "sip.listen", "origins", ORIGINS_MAX, &spec.origins);
	check_new(L, g, &spec);
	if (!g->listens)
		g->listens = sh_arena_calloc(&g->arena, LISTENS_MAX, sizeof(*g->listens));
	if (!g->listens)
		return luaL_error(L, "not enough memory");
	spec.uri.len++; /* with its NUL: it stands in messages */
	spec.uri = sh_generation_keep(L, g, spec.uri);
	spec.uri.len--;
	spec.advertise = sh_generation_keep(L, g, spec.advertise);
	g->listens[g->nlistens++] = spec;
	return 0;
}

/* ---- places: an endpoint has the same index on all workers, and a closed one gives it to another when no worker needs it any more.
 * Places are given on worker 0's thread (at the start on the host's), before any worker takes the generation up. A worker that is late may
 * still be about to open what an older generation has named: nothing is given away before all have taken up a newer one. */

struct sh_places {
	_Atomic unsigned held[SH_MAX_ENDPOINTS]; /* by so many workers */
	uint64_t named[SH_MAX_ENDPOINTS];        /* the number of the latest generation with a listener there */
	_Atomic uint64_t taken[];                /* by worker: the generation that it took up last */
};

int sh_places_create(struct sh_places **out, unsigned workers)
{
	*out = sh_calloc(1, sizeof(**out) + workers * sizeof((*out)->taken[0]));
	return *out ? 0 : -ENOMEM;
}

static bool is_meant(const struct sh_endpoint *e, const struct sh_listen_spec *spec)
{
	return e->proto == spec->proto && sh_addr_eq(&e->local, &spec->addr);
}

static int find_endpoint(const struct sh_transport *t, const struct sh_listen_spec *spec)
{
	for (unsigned i = 0; i < sh_transport_endpoints(t); i++)
		if (is_meant(sh_transport_endpoint(t, i), spec))
			return (int)i;
	return -1;
}

static bool is_given(const struct sh_generation *g, int place)
{
	for (unsigned i = 0; i < g->nlistens; i++)
		if (g->listens[i].place == place)
			return true;
	return false;
}

/* Whoever is closed here, and held nowhere. */
static bool is_free(const struct sh_script *s, const struct sh_transport *t, unsigned place)
{
	if (!sh_transport_endpoint_unused(t, place) || atomic_load(&s->places->held[place]))
		return false;
	for (unsigned i = 0; i < s->config.workers; i++)
		if (atomic_load(&s->places->taken[i]) <= s->places->named[place])
			return false;
	return true;
}

static int new_place(const struct sh_generation *g, const struct sh_transport *t)
{
	int place = (int)sh_transport_endpoints(t);

	for (int i = 0; i < place; i++)
		if (!is_given(g, i) && is_free(g->script, t, (unsigned)i))
			return i;
	while (is_given(g, place))
		place++;
	return place < SH_MAX_ENDPOINTS ? place : -1;
}

void sh_generation_place(struct sh_generation *g)
{
	const struct sh_runtime *rt = g->script->runtimes ? g->script->runtimes[0] : NULL;
	const struct sh_transport *t = rt && rt->ua ? sh_ua_transport(rt->ua) : NULL;

	if (!t || g->placed)
		return;
	for (unsigned i = 0; i < g->nlistens; i++)
		g->listens[i].place = find_endpoint(t, &g->listens[i]);
	for (unsigned i = 0; i < g->nlistens; i++) {
		struct sh_listen_spec *spec = &g->listens[i];

		if (spec->place < 0)
			spec->place = new_place(g, t);
		if (spec->place >= 0)
			g->script->places->named[spec->place] = g->number;
	}
	g->placed = true;
}

/* It is there from now on, or its end has begun to be over. */
static void hold(struct sh_runtime *rt, unsigned place)
{
	if (!rt->own_listens[place])
		atomic_fetch_add(&rt->script->places->held[place], 1);
	rt->own_listens[place] = true;
}

static void let_go(struct sh_runtime *rt, unsigned place)
{
	rt->own_listens[place] = false;
	atomic_fetch_sub(&rt->script->places->held[place], 1);
}

/* Whatever becomes of a listener, its place is taken and none before it is missing: this worker may not have taken up the generation
 * that named those, or its socket may not open though those of the other workers do. */
static int take_place(struct sh_transport *t, const struct sh_listen_spec *spec)
{
	struct sh_listen_config config = {.proto = spec->proto, .local = &spec->addr};
	unsigned place = (unsigned)spec->place;
	int err = 0;

	if (spec->place < 0)
		return -ENOSPC;
	while (!err && sh_transport_endpoints(t) <= place)
		err = sh_transport_listen_reserve(t, &config);
	if (err || is_meant(sh_transport_endpoint(t, place), spec))
		return err;
	config.instead = place + 1;
	return sh_transport_listen_reserve(t, &config);
}

static int make_true(struct sh_runtime *rt, const struct sh_listen_spec *spec)
{
	struct sh_transport *t = sh_ua_transport(rt->ua);
	const struct sh_listen_config config = {
	    .proto = spec->proto,
	    .local = &spec->addr,
	    .advertise_host = spec->advertise,
	    .advertise_port = spec->advertise_port,
	    .tls = spec->tls ? spec->tls->tls : rt->tls,
	    .origins = spec->origins,
	    .origin_count = spec->norigins,
	    .instead = (unsigned)(spec->place + 1),
	};
	unsigned place = (unsigned)spec->place;
	int err = take_place(t, spec);
	const struct sh_endpoint *e = err ? NULL : sh_transport_endpoint(t, place);
	bool opens = e && e->retired;

	if (err)
		return err;
	err = e->reserved ? sh_transport_listen_with(t, &config) : sh_transport_listen_again(t, place, &config);
	if (!err && opens)
		hold(rt, place);
	if (!err)
		sh_transport_tune(t, place, &spec->tuning);
	/* On the virtual network there are no certificates: a dial plan with such a listener can be tested all the same. */
	return err == -EPROTONOSUPPORT && rt->script->config.deterministic ? 0 : err;
}

static bool is_named(const struct sh_generation *g, const struct sh_endpoint *e)
{
	for (unsigned i = 0; i < g->nlistens; i++)
		if (is_meant(e, &g->listens[i]))
			return true;
	return false;
}

/* What no generation names any more: datagram sockets are closed when no dialog needs them, and whoever is closed and not needed
 * may be replaced. True: all of it is over. */
static bool wind_up(struct sh_runtime *rt, unsigned place)
{
	struct sh_transport *t = sh_ua_transport(rt->ua);

	if (sh_ua_needs_endpoint(rt->ua, place))
		return false;
	sh_transport_listen_close(t, place);
	if (!sh_transport_endpoint_unused(t, place))
		return false;
	let_go(rt, place);
	return true;
}

static void on_unnamed(struct sh_timer *timer)
{
	struct sh_runtime *rt = SH_CONTAINER(timer, struct sh_runtime, unnamed);
	const struct sh_transport *t = sh_ua_transport(rt->ua);
	bool more = false;

	for (unsigned i = 0; i < sh_transport_endpoints(t); i++)
		if (rt->own_listens[i] && sh_transport_endpoint(t, i)->retired && !wind_up(rt, i))
			more = true;
	if (more)
		sh_env_timer(rt->env, &rt->unnamed, UNNAMED_LOOK);
}

static void retire_unnamed(struct sh_runtime *rt)
{
	struct sh_transport *t = sh_ua_transport(rt->ua);
	bool some = false;

	for (unsigned i = 0; i < sh_transport_endpoints(t); i++) {
		const struct sh_endpoint *e = sh_transport_endpoint(t, i);

		if (!rt->own_listens[i] || e->retired || is_named(rt->state->generation, e))
			continue;
		sh_transport_listen_retire(t, i);
		some = some || e->proto == SH_PROTO_UDP || !wind_up(rt, i);
	}
	if (some && !sh_timer_pending(&rt->unnamed))
		sh_env_timer(rt->env, &rt->unnamed, UNNAMED_LOOK);
}

static const char *what_is_wrong(int err)
{
	switch (err) {
	case -EPROTONOSUPPORT:
		return "the option tls_certificate is missing";
	case -ENOSPC:
		return "too many listeners were changed, and are not over yet";
	default:
		return strerror(-err);
	}
}

int sh_runtime_listen(struct sh_runtime *rt, char *error, size_t size)
{
	struct sh_generation *g = rt->state->generation;
	int first = 0;

	rt->listens = true;
	sh_generation_place(g); /* at the start: nobody could before */
	retire_unnamed(rt);
	for (unsigned i = 0; i < g->nlistens; i++) {
		int err = make_true(rt, &g->listens[i]);

		if (err && error && !first)
			snprintf(error, size, "listen %.*s: %s", SH_FMT(g->listens[i].uri), what_is_wrong(err));
		else if (err)
			sh_error(rt->script->config.log, "listen %.*s: %s", SH_FMT(g->listens[i].uri), what_is_wrong(err));
		first = first ? first : err;
	}
	atomic_store(&rt->script->places->taken[rt->env->worker], g->number);
	return first;
}

void sh_runtime_listen_init(struct sh_runtime *rt)
{
	sh_timer_init(&rt->unnamed, on_unnamed);
}

void sh_runtime_listen_finish(struct sh_runtime *rt)
{
	sh_env_cancel(rt->env, &rt->unnamed);
}

void sh_runtime_set_tls(struct sh_runtime *rt, struct sh_tls *tls)
{
	rt->tls = tls;
}

unsigned sh_generation_listens(const struct sh_generation *g)
{
	return g->nlistens;
}

struct sh_listen_tls *sh_generation_listen_tls(struct sh_generation *g, unsigned index)
{
	return g->listens[index].tls;
}
