/* The door: who may come in, how often he may ask, and who has guessed too many passwords.
 *
 * Without rules a message costs one comparison here. Rules are looked up by binary search, once for each prefix length
 * in use. What is remembered of a source (an IPv4 address, an IPv6 /64) stands in a table of fixed size, four places to
 * a key: many sources push each other out, and nothing grows. Bans are known to all workers, the rest to each worker
 * by itself. */
#include <stdlib.h>

#include "transport/impl.h"

enum {
	WAYS = 4,
	SETS = 4096, /* 16,384 sources; a power of two */
	MICRO = 1000000, /* tokens are kept in millionths */
	BANS_MAX = 4096,
	PARDON = 2, /* what an honest client gets back: the request that was challenged, and the one with the answer */
};

struct sh_source {
	uint64_t key;  /* hash of the address; 0: free */
	uint64_t seen; /* when the tokens were counted */
	int64_t tokens;
	uint64_t failures_since;
	uint32_t failures;
};

struct ban {
	struct sh_hash_node node;
	struct sh_link age; /* sh_transport.bans_by_age */
	struct sh_addr source;
	uint64_t until;
};

struct sh_addr sh_source_of(const struct sh_addr *remote)
{
	struct sh_addr a = *remote;

	a.port = 0;
	if (a.family == 6) { /* a network of its own is what the smallest customer gets (RFC 6177) */
		memset(a.ip + 8, 0, 8);
		a.scope = 0;
	}
	return a;
}

/* ---- rules ---- */

static void mask(struct sh_addr *a, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	a->port = 0;
	a->scope = 0;
	if (rest)
		a->ip[whole] &= (uint8_t)(0xff << (8 - rest));
	for (unsigned i = whole + (rest != 0); i < sizeof(a->ip); i++)
		a->ip[i] = 0;
}

/* Family, longest prefix first, address; of equal ones a refusal comes first. */
static int compare(const void *left, const void *right)
{
	const struct sh_door_rule *a = left, *b = right;

	if (a->prefix.addr.family != b->prefix.addr.family)
		return a->prefix.addr.family < b->prefix.addr.family ? -1 : 1;
	if (a->prefix.bits != b->prefix.bits)
		return a->prefix.bits > b->prefix.bits ? -1 : 1;
	int order = memcmp(a->prefix.addr.ip, b->prefix.addr.ip, sizeof(a->prefix.addr.ip));
	return order ? order : (int)a->allow - (int)b->allow;
}

void sh_door_sort(struct sh_door_rule *rules, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		mask(&rules[i].prefix.addr, rules[i].prefix.bits);
	if (count > 0)
		qsort(rules, count, sizeof(*rules), compare);
}

/* The first rule of [begin, end) that is not before the wanted one. */
static unsigned lower_bound(const struct sh_door_rule *rules, unsigned begin, unsigned end, const struct sh_door_rule *want)
{
	while (begin < end) {
		unsigned middle = begin + (end - begin) / 2;

		if (compare(&rules[middle], want) < 0)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

/* The longest prefix that has the address decides. */
static bool rules_admit(const struct sh_door *d, const struct sh_addr *remote)
{
	unsigned at = 0;

	while (at < d->rule_count) {
		const struct sh_door_rule *r = &d->rules[at];
		struct sh_door_rule want = {.prefix = {*remote, r->prefix.bits}, .allow = false};
		unsigned found;

		if (r->prefix.addr.family == remote->family) {
			mask(&want.prefix.addr, want.prefix.bits);
			found = lower_bound(d->rules, at, d->rule_count, &want);
			if (found < d->rule_count && d->rules[found].prefix.bits == want.prefix.bits &&
			    sh_prefix_match(&d->rules[found].prefix, remote))
				return d->rules[found].allow;
		}
		/* On to the next length: behind all that have this one. */
		want.prefix.addr = r->prefix.addr;
		memset(want.prefix.addr.ip, 0xff, sizeof(want.prefix.addr.ip));
		want.allow = true;
		found = lower_bound(d->rules, at, d->rule_count, &want);
		at = found > at ? found : at + 1;
	}
	return !d->closed;
}

static bool is_trusted(const struct sh_door *d, const struct sh_addr *remote)
{
	for (unsigned i = 0; i < d->trust_count; i++) {
		if (sh_prefix_match(&d->trust[i], remote))
			return true;
	}
	return false;
}

/* ---- bans ---- */

static struct ban *find_ban(const struct sh_transport *t, const struct sh_addr *source)
{
	uint64_t hash = sh_hash_slice(&t->env->key, sh_addr_bytes(source));

	for (struct sh_hash_node *n = sh_hash_find(&t->bans, hash); n; n = sh_hash_next(n)) {
		struct ban *b = SH_CONTAINER(n, struct ban, node);
		if (sh_addr_eq(&b->source, source))
			return b;
	}
	return NULL;
}

static void lift(struct sh_transport *t, struct ban *b)
{
	sh_hash_remove(&t->bans, &b->node);
	sh_list_remove(&b->age);
	sh_free(b);
	t->guarded = t->door || t->bans.count > 0;
}

static bool is_banned(struct sh_transport *t, const struct sh_addr *remote)
{
	struct sh_addr source = sh_source_of(remote);
	struct ban *b = t->bans.count > 0 ? find_ban(t, &source) : NULL;

	if (!b)
		return false;
	if (b->until > t->env->now)
		return true;
	lift(t, b);
	return false;
}

static void ban(struct sh_transport *t, const struct sh_addr *source, uint64_t time)
{
	struct ban *b = find_ban(t, source);

	if (!b && t->bans.count >= BANS_MAX)
		lift(t, SH_CONTAINER(t->bans_by_age.next, struct ban, age));
	if (!b) {
		b = sh_calloc(1, sizeof(*b));
		if (!b)
			return;
		b->source = *source;
		sh_list_append(&t->bans_by_age, &b->age);
		sh_hash_insert(&t->bans, &b->node, sh_hash_slice(&t->env->key, sh_addr_bytes(source)));
	}
	b->until = t->env->now + time;
	t->guarded = true;
}

struct ban_news {
	struct sh_addr source;
	uint64_t time;
};

static void arrive(struct sh_env *env, void *arg)
{
	struct sh_transport *t = env->events_ctx; /* NULL: destroyed meanwhile */
	struct ban_news *n = arg;

	if (t) {
		t->stats.bans++;
		ban(t, &n->source, n->time);
	}
	sh_free(n);
}

static void ban_everywhere(struct sh_transport *t, const struct sh_addr *source, uint64_t time)
{
	char text[SH_ADDR_TEXT];

	sh_addr_format_bare(source, text);
	sh_log_write_limited(t->env->log, SH_LOG_WARN, &t->ban_limit, t->env->now,
			     "%s%s is shut out for %llu s: too many wrong passwords", text, source->family == 6 ? "/64" : "",
			     (unsigned long long)(time / SH_SECOND));
	t->stats.bans++;
	ban(t, source, time);
	for (unsigned i = 0; i < t->env->workers; i++) {
		struct ban_news *n = i == t->env->worker ? NULL : sh_malloc(sizeof(*n));

		if (!n)
			continue;
		*n = (struct ban_news){*source, time};
		if (t->env->driver->post(t->env, i, arrive, n) < 0)
			sh_free(n);
	}
}

void sh_transport_each_ban(const struct sh_transport *t, void (*fn)(void *ctx, const struct sh_ban *b), void *ctx)
{
	SH_LIST_EACH (l, &t->bans_by_age) {
		const struct ban *b = SH_CONTAINER(l, struct ban, age);
		struct sh_ban out = {b->source, b->until - t->env->now};

		if (b->until > t->env->now)
			fn(ctx, &out);
	}
}

void sh_transport_put_ban(struct sh_transport *t, const struct sh_ban *b)
{
	ban(t, &b->source, b->left);
}

/* ---- what is remembered of a source ---- */

static struct sh_source *source_get(struct sh_transport *t, const struct sh_addr *remote)
{
	struct sh_addr source = sh_source_of(remote);
	uint64_t key = sh_hash_slice(&t->env->key, sh_addr_bytes(&source)) | 1;
	struct sh_source *set, *oldest;

	if (!t->sources)
		t->sources = sh_calloc(SETS * WAYS, sizeof(*t->sources));
	if (!t->sources)
		return NULL; /* nobody is limited then */
	oldest = set = &t->sources[(key >> 32 & (SETS - 1)) * WAYS];
	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (set[i].seen < oldest->seen)
			oldest = &set[i];
	}
	*oldest = (struct sh_source){.key = key, .seen = t->env->now, .tokens = t->door ? (int64_t)t->door->burst * MICRO : 0};
	return oldest;
}

static void refill(const struct sh_transport *t, struct sh_source *s)
{
	uint64_t elapsed = t->env->now - s->seen;
	int64_t full = (int64_t)t->door->burst * MICRO;

	/* A second refills `rate` tokens: a microsecond that many millionths. */
	s->seen = t->env->now;
	if (elapsed > 3600 * SH_SECOND)
		s->tokens = full;
	else
		s->tokens += (int64_t)(elapsed * t->door->rate);
	if (s->tokens > full)
		s->tokens = full;
}

/* ---- emergencies ---- */

/* urn:service:sos and what is below it (RFC 5031), or a number that the script has named. */
static bool is_emergency(const struct sh_door *d, const struct sh_msg *m)
{
	static const struct sh_slice sos = SH_LIT("urn:service:sos");
	struct sh_slice text = sh_msg_text(m, m->uri);
	struct sh_uri uri;

	if (m->method != SH_INVITE)
		return false;
	if (sh_slice_istarts(text, sos))
		return text.len == sos.len || text.base[sos.len] == '.';
	if (!d || d->emergency_count == 0 || sh_uri_parse(&uri, text))
		return false;
	for (unsigned i = 0; i < d->emergency_count; i++) {
		if (sh_slice_eq(uri.user, d->emergency[i]))
			return true;
	}
	return false;
}

bool sh_transport_is_emergency(const struct sh_transport *t, const struct sh_msg *m)
{
	return is_emergency(t->door, m);
}

/* ---- the door ---- */

void sh_transport_set_door(struct sh_transport *t, const struct sh_door *d)
{
	t->door = d;
	t->guarded = d || t->bans.count > 0;
}

bool sh_door_admits_connection(struct sh_transport *t, const struct sh_addr *remote, unsigned present)
{
	if (!t->guarded)
		return true;
	if (t->door && !rules_admit(t->door, remote))
		t->stats.refused_acl++;
	else if (present > 0 && is_banned(t, remote))
		t->stats.refused_banned++;
	else
		return true;
	return false;
}

bool sh_door_admits_message(struct sh_transport *t, const struct sh_msg *m, const struct sh_addr *remote)
{
	if (t->door && !rules_admit(t->door, remote)) {
		t->stats.refused_acl++;
		return false;
	}
	/* Whoever is shut out goes on with the calls that he has, and may call for help. */
	if (!m->is_request || m->to_tag.len > 0 || m->method == SH_ACK || m->method == SH_CANCEL || !is_banned(t, remote) ||
	    is_emergency(t->door, m))
		return true;
	t->stats.refused_banned++;
	return false;
}

enum sh_admission sh_transport_admit(struct sh_transport *t, const struct sh_msg *m, const struct sh_path *from,
				     unsigned *retry_after)
{
	struct sh_source *s;

	if (!t->door || !t->door->rate || m->to_tag.len > 0 || is_emergency(t->door, m) ||
	    is_trusted(t->door, &from->remote))
		return SH_ADMITTED;
	s = source_get(t, &from->remote);
	if (!s)
		return SH_ADMITTED;
	refill(t, s);
	if (s->tokens >= MICRO) {
		s->tokens -= MICRO;
		return SH_ADMITTED;
	}
	t->stats.refused_rate++;
	/* An answer costs a token of the time to come: who goes on all the same gets none. */
	if (s->tokens <= -(int64_t)t->door->burst * MICRO)
		return SH_DROPPED;
	s->tokens -= MICRO;
	*retry_after = 1 + (unsigned)((uint64_t)(MICRO - s->tokens) / t->door->rate / MICRO);
	return SH_REFUSED;
}

bool sh_transport_blames(const struct sh_transport *t, const struct sh_addr *remote)
{
	return t->door && t->door->max_failures && !is_trusted(t->door, remote);
}

void sh_transport_blame(struct sh_transport *t, const struct sh_addr *remote)
{
	const struct sh_door *d = t->door;
	struct sh_source *s;

	if (!sh_transport_blames(t, remote))
		return;
	s = source_get(t, remote);
	if (!s)
		return;
	if (s->failures == 0 || t->env->now - s->failures_since > d->failure_window) {
		s->failures = 0;
		s->failures_since = t->env->now;
	}
	if (++s->failures < d->max_failures)
		return;
	s->failures = 0;
	struct sh_addr source = sh_source_of(remote);
	ban_everywhere(t, &source, d->ban_time);
}

void sh_transport_pardon(struct sh_transport *t, const struct sh_addr *remote)
{
	struct sh_source *s;

	if (!t->door || (!t->door->rate && !t->door->max_failures))
		return;
	s = source_get(t, remote);
	if (!s)
		return;
	s->failures = 0;
	s->tokens += PARDON * MICRO;
	if (s->tokens > (int64_t)t->door->burst * MICRO)
		s->tokens = (int64_t)t->door->burst * MICRO;
}

void sh_door_finish(struct sh_transport *t)
{
	while (!sh_list_empty(&t->bans_by_age))
		lift(t, SH_CONTAINER(t->bans_by_age.next, struct ban, age));
	sh_hash_finish(&t->bans);
	sh_free(t->sources);
}
