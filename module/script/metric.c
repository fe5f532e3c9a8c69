#include "script/metric.h"

#include <pthread.h>

#include "script/impl.h"

struct metric {
	struct sh_hash_node node;
	double value;
	size_t name_len, labels_len;
	char text[]; /* name, labels */
};

struct sh_metrics {
	pthread_mutex_t lock;
	struct sh_hash table;
	struct sh_hash_key key;
};

int sh_metrics_create(struct sh_metrics **out, const struct sh_hash_key *key)
{
	struct sh_metrics *m = sh_calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	if (sh_hash_init(&m->table, 16) < 0) {
		sh_free(m);
		return -ENOMEM;
	}
	pthread_mutex_init(&m->lock, NULL);
	m->key = *key;
	*out = m;
	return 0;
}

static void free_metric(struct sh_hash_node *n, void *ctx)
{
	(void)ctx;
	sh_free(SH_CONTAINER(n, struct metric, node));
}

void sh_metrics_destroy(struct sh_metrics *m)
{
	if (!m)
		return;
	sh_hash_each(&m->table, free_metric, NULL);
	sh_hash_finish(&m->table);
	pthread_mutex_destroy(&m->lock);
	sh_free(m);
}

static struct sh_slice name_of(const struct metric *e)
{
	return sh_slice_make(e->text, e->name_len);
}

static struct sh_slice labels_of(const struct metric *e)
{
	return sh_slice_make(e->text + e->name_len, e->labels_len);
}

static int set_locked(struct sh_metrics *m, uint64_t hash, struct sh_slice name, struct sh_slice labels, double value)
{
	struct metric *e;

	for (struct sh_hash_node *n = sh_hash_find(&m->table, hash); n; n = sh_hash_next(n)) {
		e = SH_CONTAINER(n, struct metric, node);
		if (sh_slice_eq(name_of(e), name) && sh_slice_eq(labels_of(e), labels)) {
			e->value = value;
			return 0;
		}
	}
	if (m->table.count >= SH_METRICS_MAX)
		return -ENOSPC;
	e = sh_calloc(1, sizeof(*e) + name.len + labels.len);
	if (!e)
		return -ENOMEM;
	e->value = value;
	e->name_len = name.len;
	e->labels_len = labels.len;
	memcpy(e->text, name.base, name.len);
	if (labels.len)
		memcpy(e->text + name.len, labels.base, labels.len);
	sh_hash_insert(&m->table, &e->node, hash);
	return 0;
}

int sh_metrics_set(struct sh_metrics *m, struct sh_slice name, struct sh_slice labels, double value)
{
	const struct sh_slice parts[] = {name, labels};
	uint64_t hash = sh_hash_slices(&m->key, parts, 2);
	int err;

	pthread_mutex_lock(&m->lock);
	err = set_locked(m, hash, name, labels, value);
	pthread_mutex_unlock(&m->lock);
	return err;
}

struct each {
	void (*fn)(void *ctx, struct sh_slice name, struct sh_slice labels, double value);
	void *ctx;
};

static void each_metric(struct sh_hash_node *n, void *ctx)
{
	const struct each *each = ctx;
	const struct metric *e = SH_CONTAINER(n, struct metric, node);

	each->fn(each->ctx, name_of(e), labels_of(e), e->value);
}

void sh_metrics_each(struct sh_metrics *m,
		     void (*fn)(void *ctx, struct sh_slice name, struct sh_slice labels, double value), void *ctx)
{
	struct each each = {fn, ctx};

	pthread_mutex_lock(&m->lock);
	sh_hash_each(&m->table, each_metric, &each);
	pthread_mutex_unlock(&m->lock);
}

/* ------------------------------------------------------------------ sip.metric */

static bool is_name(struct sh_slice s, bool label)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = sh_lower(s.base[i]);
		bool digit = c >= '0' && c <= '9';

		if (!((c >= 'a' && c <= 'z') || c == '_' || (digit && i) || (!label && (c == ':' || c == '.'))))
			return false;
	}
	return s.len > 0 && s.len <= 200;
}

static void put_labels(lua_State *L, int idx, struct sh_writer *w)
{
	lua_Integer n = sh_sandbox_keys(L, idx);
	int keys = lua_gettop(L);

	for (lua_Integer i = 1; i <= n; i++) {
		struct sh_slice name, value;

		if (lua_rawgeti(L, keys, i) != LUA_TSTRING)
			luaL_error(L, "sip.metric: names of labels must be strings");
		name.base = lua_tolstring(L, -1, &name.len);
		if (!is_name(name, true))
			luaL_error(L, "sip.metric: '%s' is no name of a label", name.base);
		lua_pushvalue(L, -1);
		lua_rawget(L, idx);
		if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER && lua_type(L, -1) != LUA_TBOOLEAN)
			luaL_error(L, "sip.metric: label '%s': string expected, got %s", name.base, luaL_typename(L, -1));
		value.base = luaL_tolstring(L, -1, &value.len);
		if (w->len)
			sh_put_char(w, ',');
		sh_put(w, name);
		sh_put_lit(w, "=\"");
		for (size_t k = 0; k < value.len; k++) {
			char c = value.base[k];

			if (c == '"' || c == '\\')
				sh_put_char(w, '\\');
			if (c == '\n')
				sh_put_lit(w, "\\n");
			else
				sh_put_char(w, c);
		}
		sh_put_char(w, '"');
		lua_pop(L, 3);
	}
	lua_pop(L, 1);
}

/* sip.metric(name, value [, labels]) */
static int metric(lua_State *L)
{
	struct sh_runtime *rt = sh_runtime_check(L, "sip.metric");
	struct sh_slice name;
	struct sh_writer w;
	lua_Number value;
	int err;

	name = sh_sandbox_check_text(L, 1);
	luaL_argcheck(L, is_name(name, false), 1, "letters, digits, '_', '.' and ':' expected");
	value = luaL_checknumber(L, 2);
	lua_settop(L, 3);
	sh_writer_init(&w, rt->text, SH_RUNTIME_TEXT);
	if (!lua_isnil(L, 3)) {
		luaL_checktype(L, 3, LUA_TTABLE);
		put_labels(L, 3, &w);
	}
	if (w.full)
		return luaL_error(L, "sip.metric: labels too long");
	err = sh_metrics_set(rt->script->metrics, name, sh_writer_text(&w), value);
	if (err == -ENOSPC) {
		lua_pushnil(L);
		lua_pushliteral(L, "full");
		return 2;
	}
	if (err)
		return sh_push_errno(L, err);
	lua_pushboolean(L, 1);
	return 1;
}

void sh_metric_open(lua_State *L)
{
	lua_pushcfunction(L, metric);
	lua_setfield(L, -2, "metric");
}
