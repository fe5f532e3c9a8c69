/* Shared stores: what is written is read, by all threads; time to live; the memory limit; the journal of a loader. */
#include "script_helpers.h"

#include <pthread.h>

#include "core/random.h"
#include "script/shared.h"

static const struct sh_hash_key hash_key = {{1, 2}};

static struct sh_slice text(const char *s)
{
	return sh_slice_cstr(s);
}

static struct sh_shared_value integer(int64_t i)
{
	return (struct sh_shared_value){.kind = SH_SHARED_INTEGER, .u.integer = i};
}

static struct sh_shared_value string(const char *s)
{
	return (struct sh_shared_value){.kind = SH_SHARED_STRING, .u.text = text(s)};
}

static struct sh_shared *shared_with(struct sh_shared_at *at, size_t max)
{
	struct sh_shared *sh = NULL;

	assert_int_equal(sh_shared_create(&sh, &hash_key, max), 0);
	*at = (struct sh_shared_at){NULL, NULL, 1000};
	assert_int_equal(sh_shared_open(sh, SH_LIT("users"), &at->store), 0);
	return sh;
}

static void set(const struct sh_shared_at *at, const char *key, int64_t value, uint64_t ttl)
{
	struct sh_shared_value v = integer(value);

	assert_int_equal(sh_shared_set(at, text(key), &v, ttl), 0);
}

/* -1: absent */
static int64_t get(const struct sh_shared_at *at, const char *key)
{
	struct sh_shared_value v;
	size_t need;

	if (sh_shared_get(at, text(key), &v, NULL, 0, &need))
		return -1;
	return v.kind == SH_SHARED_INTEGER ? v.u.integer : -2;
}

static void stores_have_names_and_limits(void **state)
{
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_shared_store *other, *same;
	char name[80];
	(void)state;

	assert_int_equal(sh_shared_open(sh, SH_LIT("other"), &other), 0);
	assert_int_equal(sh_shared_open(sh, SH_LIT("users"), &same), 0);
	assert_ptr_equal(same, at.store);
	assert_ptr_not_equal(other, at.store);
	assert_int_equal(sh_shared_open(sh, SH_LIT(""), &other), -EINVAL);
	memset(name, 'x', sizeof(name));
	assert_int_equal(sh_shared_open(sh, sh_slice_make(name, 65), &other), -EINVAL);
	for (int i = 2; i < SH_SHARED_STORES_MAX; i++) {
		int n = snprintf(name, sizeof(name), "%d", i);

		assert_int_equal(sh_shared_open(sh, sh_slice_make(name, (size_t)n), &other), 0);
	}
	assert_int_equal(sh_shared_open(sh, SH_LIT("more"), &other), -ENOSPC);
	sh_shared_destroy(sh);
	sh_shared_destroy(NULL);
}

static void time_to_live_ends(void **state)
{
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_shared_value one = integer(1), v;
	(void)state;

	set(&at, "a", 1, 100);
	set(&at, "b", 2, 0);
	at.now += 99;
	assert_int_equal(get(&at, "a"), 1);
	at.now += 1;
	assert_int_equal(get(&at, "a"), -1);
	assert_int_equal(sh_shared_delete(&at, text("a")), -ENOENT);
	assert_int_equal(get(&at, "b"), 2);
	assert_int_equal(sh_shared_add(&at, text("a"), &one, 50), 0);
	assert_int_equal(sh_shared_add(&at, text("a"), &one, 50), -EEXIST);
	/* the time to live of incr counts when it creates */
	assert_int_equal(sh_shared_incr(&at, text("n"), &one, 100, &v), 0);
	at.now += 60;
	assert_int_equal(sh_shared_incr(&at, text("n"), &one, 100, &v), 0);
	assert_int_equal(v.u.integer, 2);
	at.now += 60;
	assert_int_equal(sh_shared_incr(&at, text("n"), &one, 100, &v), 0);
	assert_int_equal(v.u.integer, 1);
	/* set without one takes it away */
	set(&at, "n", 5, 0);
	at.now += 1000000;
	assert_int_equal(get(&at, "n"), 5);
	sh_shared_destroy(sh);
}

static void what_expired_gives_its_memory_back_without_being_asked_for(void **state)
{
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	char key[32];
	(void)state;

	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 2000; i++) {
			snprintf(key, sizeof(key), "%d-%d", round, i);
			set(&at, key, i, 1000);
			at.now++;
		}
		at.now += 2000;
	}
	assert_true(sh_shared_memory(at.store) < 1 << 20);
	sh_shared_destroy(sh);
}

static void a_full_store_says_so_and_changes_nothing(void **state)
{
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 100000);
	char big[1000];
	struct sh_shared_value v = {.kind = SH_SHARED_STRING, .u.text = {big, sizeof(big)}}, out;
	size_t length, need, before;
	int n = 0, err = 0;
	(void)state;

	memset(big, 'x', sizeof(big));
	set(&at, "first", 1, 0);
	while (!err) {
		char key[16];

		snprintf(key, sizeof(key), "%d", n++);
		err = sh_shared_set(&at, text(key), &v, 0);
	}
	assert_int_equal(err, -ENOSPC);
	assert_in_range(n, 80, 100);
	assert_int_equal(sh_shared_set(&at, text("first"), &v, 0), -ENOSPC);
	assert_int_equal(get(&at, "first"), 1);
	assert_int_equal(sh_shared_push(&at, text("list"), &v, 0, &length), -ENOSPC);
	before = sh_shared_memory(at.store);
	assert_true(before <= 100000);
	assert_int_equal(sh_shared_set(&at, text("0"), &v, 0), 0); /* in the place of the old one */
	assert_int_equal(sh_shared_memory(at.store), before);
	assert_int_equal(sh_shared_delete(&at, text("0")), 0);
	assert_int_equal(sh_shared_push(&at, text("list"), &v, 0, &length), 0);
	assert_int_equal(sh_shared_pop(&at, text("list"), &out, NULL, 0, &need), -ENOBUFS);
	assert_int_equal(need, 1000);
	assert_int_equal(sh_shared_pop(&at, text("list"), &out, big, sizeof(big), &need), 0);
	for (int i = 1; i < n - 1; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%d", i);
		assert_int_equal(sh_shared_delete(&at, text(key)), 0);
	}
	assert_int_equal(sh_shared_delete(&at, text("first")), 0);
	assert_int_equal(sh_shared_memory(at.store), 0);
	memset(big, 'k', sizeof(big));
	assert_int_equal(sh_shared_set(&at, sh_slice_make((char[2000]){0}, 2000), &v, 0), -E2BIG);
	sh_shared_destroy(sh);
}

/* Random operations against a plain array. */
static void random_operations_are_those_of_a_model(void **state)
{
	enum { KEYS = 40 };
	struct model {
		int64_t value;
		uint64_t expires; /* 0: never */
		bool there;
	} model[KEYS] = {0};
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_random r;
	(void)state;

	sh_random_init_seed(&r, 7);
	for (int i = 0; i < 50000; i++) {
		size_t k = (size_t)sh_random_below(&r, KEYS);
		struct model *m = &model[k];
		struct sh_shared_value v = integer((int64_t)sh_random_below(&r, 1000)), out;
		uint64_t ttl = sh_random_below(&r, 3) ? 0 : 1 + sh_random_below(&r, 300);
		char key[16];
		int err;

		snprintf(key, sizeof(key), "key%zu", k);
		at.now += sh_random_below(&r, 4);
		if (m->there && m->expires && m->expires <= at.now)
			m->there = false;
		assert_int_equal(get(&at, key), m->there ? m->value : -1);
		switch (sh_random_below(&r, 4)) {
		case 0:
			set(&at, key, v.u.integer, ttl);
			*m = (struct model){v.u.integer, ttl ? at.now + ttl : 0, true};
			break;
		case 1:
			err = sh_shared_add(&at, text(key), &v, ttl);
			assert_int_equal(err, m->there ? -EEXIST : 0);
			if (!m->there)
				*m = (struct model){v.u.integer, ttl ? at.now + ttl : 0, true};
			break;
		case 2:
			assert_int_equal(sh_shared_incr(&at, text(key), &v, ttl, &out), 0);
			if (m->there)
				m->value += v.u.integer;
			else
				*m = (struct model){v.u.integer, ttl ? at.now + ttl : 0, true};
			assert_int_equal(out.u.integer, m->value);
			break;
		default:
			assert_int_equal(sh_shared_delete(&at, text(key)), m->there ? 0 : -ENOENT);
			m->there = false;
		}
	}
	sh_shared_destroy(sh);
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 3000 };

struct job {
	struct sh_shared_at at;
	int id;
	int64_t popped;
};

static void *work(void *arg)
{
	struct job *job = arg;
	struct sh_shared_value one = integer(1), v;
	size_t length, need;
	char key[32], buf[8];

	for (int i = 0; i < ROUNDS; i++) {
		job->at.now++;
		sh_shared_incr(&job->at, text("counter"), &one, 0, &v);
		sh_shared_push(&job->at, text("queue"), &one, 0, &length);
		snprintf(key, sizeof(key), "t%d-%d", job->id, i % 100);
		sh_shared_set(&job->at, text(key), &one, 50);
		if (sh_shared_pop(&job->at, text("queue"), &v, buf, sizeof(buf), &need) == 0)
			job->popped += v.u.integer;
	}
	return NULL;
}

static void threads_lose_nothing(void **state)
{
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	struct job jobs[THREADS];
	struct sh_shared_value v;
	pthread_t threads[THREADS];
	int64_t popped = 0;
	size_t need;
	(void)state;

	for (int i = 0; i < THREADS; i++) {
		jobs[i] = (struct job){at, i, 0};
		assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		popped += jobs[i].popped;
	}
	assert_int_equal(get(&at, "counter"), THREADS * ROUNDS);
	if (sh_shared_get(&at, text("queue"), &v, NULL, 0, &need) == 0)
		popped += (int64_t)v.u.length;
	assert_int_equal(popped, THREADS * ROUNDS);
	sh_shared_destroy(sh);
}

/* --- journal ----------------------------------------------------------------------------------------------------- */

static size_t count_keys(const struct sh_shared_at *at)
{
	char *block;
	size_t size, count;

	assert_int_equal(sh_shared_keys(at, &block, &size, &count), 0);
	sh_free(block);
	return count;
}

static void a_journal_is_seen_by_its_loader_only_until_the_commit(void **state)
{
	struct sh_shared_at at, loader;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_shared_journal *j;
	struct sh_shared_value v = string("text"), one = integer(1), out;
	size_t length, need;
	char buf[16];
	(void)state;

	set(&at, "kept", 1, 0);
	set(&at, "gone", 2, 0);
	set(&at, "count", 10, 0);
	set(&at, "dies", 10, 500);
	assert_int_equal(sh_shared_push(&at, text("list"), &one, 0, &length), 0);
	assert_int_equal(sh_shared_journal_create(&j, sh), 0);
	loader = at;
	loader.journal = j;

	assert_int_equal(get(&loader, "kept"), 1);
	assert_int_equal(sh_shared_delete(&loader, text("gone")), 0);
	assert_int_equal(sh_shared_delete(&loader, text("gone")), -ENOENT);
	assert_int_equal(sh_shared_incr(&loader, text("count"), &one, 0, &out), 0);
	assert_int_equal(out.u.integer, 11);
	assert_int_equal(sh_shared_push(&loader, text("list"), &v, 0, &length), 0);
	assert_int_equal(length, 2);
	assert_int_equal(sh_shared_pop(&loader, text("list"), &out, buf, sizeof(buf), &need), 0);
	assert_int_equal(out.u.integer, 1);
	set(&loader, "new", 7, 0);
	set(&loader, "kept", 3, 0);
	assert_int_equal(sh_shared_add(&loader, text("new"), &one, 0), -EEXIST);
	assert_int_equal(sh_shared_add(&loader, text("gone"), &one, 0), 0);
	assert_int_equal(sh_shared_delete(&loader, text("gone")), 0);
	assert_int_equal(get(&loader, "kept"), 3);
	assert_int_equal(get(&loader, "gone"), -1);
	assert_int_equal(count_keys(&loader), 5);

	/* nobody else sees it */
	assert_int_equal(get(&at, "kept"), 1);
	assert_int_equal(get(&at, "gone"), 2);
	assert_int_equal(get(&at, "new"), -1);
	assert_int_equal(count_keys(&at), 5);

	/* meanwhile a call counts too: nothing is lost */
	assert_int_equal(sh_shared_incr(&at, text("count"), &one, 0, &out), 0);
	assert_int_equal(sh_shared_journal_commit(j, at.now), 0);
	assert_int_equal(get(&at, "count"), 12);
	assert_int_equal(get(&at, "kept"), 3);
	assert_int_equal(get(&at, "gone"), -1);
	assert_int_equal(get(&at, "new"), 7);
	assert_int_equal(sh_shared_pop(&at, text("list"), &out, buf, sizeof(buf), &need), 0);
	assert_int_equal(out.u.text.len, 4);
	assert_memory_equal(buf, "text", 4);

	/* dropped: as if it had not been */
	set(&loader, "kept", 99, 0);
	sh_shared_journal_destroy(j);
	assert_int_equal(get(&at, "kept"), 3);
	sh_shared_journal_destroy(NULL);
	sh_shared_destroy(sh);
}

struct uses {
	unsigned reads, writes;
	char last[16];
};

static void on_use(void *ctx, const struct sh_shared_at *at, struct sh_slice key, bool reads)
{
	struct uses *u = ctx;

	assert_null(at->journal);
	assert_true(sh_slice_eq(sh_shared_name(at->store), SH_LIT("users")));
	u->reads += reads;
	u->writes += !reads;
	snprintf(u->last, sizeof(u->last), "%.*s", SH_FMT(key));
}

static void a_watch_is_told_of_each_use_and_changes_nothing(void **state)
{
	struct sh_shared_at at, watched;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_shared_value one = integer(1), v;
	struct uses uses = {0};
	size_t need, length;

	(void)state;
	watched = at;
	assert_int_equal(sh_shared_watch_create(&watched.journal, on_use, &uses), 0);
	set(&watched, "a", 5, 0);
	assert_int_equal(uses.writes, 1);
	assert_int_equal(get(&at, "a"), 5); /* done at once, for everybody */
	assert_int_equal(get(&watched, "a"), 5);
	assert_int_equal(sh_shared_incr(&watched, SH_LIT("a"), &one, 0, &v), 0);
	assert_int_equal(sh_shared_add(&watched, SH_LIT("a"), &one, 0), -EEXIST);
	assert_int_equal(sh_shared_push(&watched, SH_LIT("list"), &one, 0, &length), 0);
	assert_int_equal(sh_shared_pop(&watched, SH_LIT("list"), &v, NULL, 0, &need), 0);
	assert_int_equal(sh_shared_delete(&watched, SH_LIT("gone")), -ENOENT);
	assert_int_equal(uses.reads, 6);
	assert_int_equal(uses.writes, 1);
	assert_string_equal(uses.last, "gone");
	assert_int_equal(get(&at, "a"), 6);
	sh_shared_journal_destroy(watched.journal);
	sh_shared_destroy(sh);
}

static void a_copy_has_all_that_a_key_holds(void **state)
{
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_shared_value first = string("first"), second = integer(2);
	struct sh_shared_copy *c;
	size_t length;

	(void)state;
	assert_int_equal(sh_shared_copy(&at, SH_LIT("list"), 1024, &c), -ENOENT);
	assert_int_equal(sh_shared_push(&at, SH_LIT("list"), &first, 500, &length), 0);
	assert_int_equal(sh_shared_push(&at, SH_LIT("list"), &second, 0, &length), 0);
	assert_int_equal(sh_shared_copy(&at, SH_LIT("list"), 1024, &c), 0);
	assert_int_equal(c->kind, SH_SHARED_LIST);
	assert_int_equal(c->count, 2);
	assert_int_equal(c->left, 500);
	assert_true(sh_slice_eq(c->values[0].u.text, SH_LIT("first")));
	assert_int_equal(c->values[1].u.integer, 2);
	sh_free(c);
	assert_int_equal(sh_shared_copy(&at, SH_LIT("list"), 31, &c), -EMSGSIZE); /* a 16th of it: the items */
	assert_int_equal(sh_shared_copy(&at, SH_LIT("list"), 4, &c), -EMSGSIZE);
	set(&at, "a", 5, 0);
	assert_int_equal(sh_shared_copy(&at, SH_LIT("a"), 0, &c), 0);
	assert_int_equal(c->count, 1);
	assert_int_equal(c->left, 0);
	assert_int_equal(c->values[0].u.integer, 5);
	sh_free(c);
	at.now += 500;
	assert_int_equal(sh_shared_copy(&at, SH_LIT("list"), 1024, &c), -ENOENT);
	sh_shared_destroy(sh);
}

static void a_journal_sees_time_pass(void **state)
{
	struct sh_shared_at at, loader;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_shared_journal *j;
	struct sh_shared_value one = integer(1), out;
	(void)state;

	set(&at, "n", 5, 100);
	assert_int_equal(sh_shared_journal_create(&j, sh), 0);
	loader = at;
	loader.journal = j;
	assert_int_equal(sh_shared_incr(&loader, text("n"), &one, 0, &out), 0);
	loader.now += 200;
	assert_int_equal(get(&loader, "n"), -1);
	for (int i = 0; i < 20; i++)
		set(&loader, "m", i, 10);
	assert_int_equal(get(&loader, "n"), -1);
	sh_shared_journal_destroy(j);
	sh_shared_destroy(sh);
}

static void every_allocation_may_fail(void **state)
{
	bool done = false;
	(void)state;

	for (long n = 0; !done; n++) {
		struct sh_shared *sh = NULL;
		struct sh_shared_journal *j = NULL;
		struct sh_shared_at at = {NULL, NULL, 1};
		struct sh_shared_value v = string("text"), one = integer(1), out;
		char *block = NULL;
		size_t length, size, count;
		int err;

		sh_alloc_fail_after(n);
		err = sh_shared_create(&sh, &hash_key, 0);
		if (!err)
			err = sh_shared_open(sh, SH_LIT("users"), &at.store);
		if (!err)
			err = sh_shared_push(&at, text("l"), &v, 0, &length);
		if (!err)
			err = sh_shared_journal_create(&j, sh);
		at.journal = j;
		if (!err)
			err = sh_shared_push(&at, text("l"), &v, 0, &length);
		if (!err)
			err = sh_shared_set(&at, text("a"), &v, 0);
		if (!err)
			err = sh_shared_incr(&at, text("b"), &one, 0, &out);
		if (!err)
			err = sh_shared_keys(&at, &block, &size, &count);
		if (!err && sh_shared_journal_commit(j, 1) > 0)
			err = -ENOMEM;
		sh_alloc_fail_after(-1);
		assert_true(err == 0 || err == -ENOMEM);
		done = err == 0;
		sh_free(block);
		sh_shared_journal_destroy(j);
		sh_shared_destroy(sh);
	}
}

/* --- from Lua ---------------------------------------------------------------------------------------------------- */

static int open_sip(lua_State *L)
{
	lua_newtable(L);
	sh_shared_lua_open(L);
	sh_sandbox_preload(L, "siphook");
	return 0;
}

static const char lua_script[] =
    "local sip = require 'siphook'\n"
    "local s = sip.shared('users')\n"
    "assert(tostring(s) == 'sip.shared: users' and getmetatable(s) == false)\n"
    "assert(s:get('a') == nil and s:set('a', 'x\\0y') == true and s:get('a') == 'x\\0y')\n"
    "for _, v in ipairs{1, 2.5, true, false, '', math.mininteger, ('x'):rep(5000)} do\n"
    "  assert(s:set('v', v)) local w = s:get('v') assert(w == v and math.type(w) == math.type(v)) end\n"
    "local ok, code = s:add('a', 1) assert(ok == nil and code == 'exists')\n"
    "assert(s:add('b', 1, {ttl = 10}) and s:incr('b') == 2 and s:incr('b', 5) == 7 and s:incr('b', -0.5) == 6.5)\n"
    "local n, code = s:incr('a') assert(n == nil and code == 'type')\n"
    "assert(s:push('q', 'one') == 1 and s:push('q', 2) == 2 and s:push('q', ('z'):rep(3000)) == 3 and s:len('q') == "
    "3)\n"
    "local v, code = s:get('q') assert(v == nil and code == 'type')\n"
    "local v, code = s:push('a', 1) assert(v == nil and code == 'type')\n"
    "local v, code = s:len('a') assert(v == nil and code == 'type')\n"
    "assert(s:pop('q') == 'one' and s:pop('q') == 2 and #s:pop('q') == 3000 and s:pop('q') == nil and s:len('q') == "
    "0)\n"
    "assert(table.concat(s:keys(), ',') == 'a,b,v')\n"
    "assert(s:delete('a') == true and s:delete('a') == false and s:set('v', nil) == true and s:get('v') == nil)\n"
    "local r, code = s:set(('k'):rep(2000), 1) assert(r == nil and code == 'key too long' and s:get(('k'):rep(2000)) "
    "== nil)\n"
    "for _, f in ipairs{function() s:set('a', {}) end, function() s:set('a', 1, {tll = 1}) end, function() s:set('a', "
    "1, {ttl = 0}) end,\n"
    "  function() s:set('a', 1, {ttl = 'x'}) end, function() s:incr('a', '1') end, function() s.get('a') end,\n"
    "  function() s:get() end, function() sip.shared('') end, function() s.x = 1 end, function() s:set('a', 1, 5) end} "
    "do assert(not pcall(f)) end\n"
    "local big = ('x'):rep(1 << 20) local r, code for i = 1, 80 do r, code = s:set('big' .. i, big) if not r then "
    "break end end\n"
    "assert(r == nil and code == 'full')";

static void scripts_have_the_methods(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *vm;
	(void)state;

	assert_int_equal(sh_shared_create(&config.shared, &hash_key, 0), 0);
	config.load_max = 10000000;
	vm = vm_with(&config);
	assert_int_equal(sh_vm_call(vm, open_sip, NULL, 0), 0);
	vm_must_load(vm, lua_script);
	sh_vm_destroy(vm);
	sh_shared_destroy(config.shared);

	config.shared = NULL;
	vm = vm_with(&config);
	assert_int_equal(sh_vm_call(vm, open_sip, NULL, 0), 0);
	assert_int_equal(vm_load(vm, "require('siphook').shared('x')"), -EINVAL);
	assert_error(vm, "no shared stores here");
	sh_vm_destroy(vm);
}

static void two_states_share_and_a_loading_one_does_not_yet(void **state)
{
	struct world w;
	struct sh_vm_config config = world_config(&w);
	struct sh_vm *a, *b;
	struct sh_shared_journal *j;
	(void)state;

	assert_int_equal(sh_shared_create(&config.shared, &hash_key, 0), 0);
	a = vm_with(&config);
	assert_int_equal(sh_shared_journal_create(&j, config.shared), 0);
	config.journal = j;
	b = vm_with(&config);
	assert_int_equal(sh_vm_call(a, open_sip, NULL, 0), 0);
	assert_int_equal(sh_vm_call(b, open_sip, NULL, 0), 0);
	vm_must_load(a, "local s = require 'siphook'.shared 's' s:set('k', 1, {ttl = 60})\n"
			"function before() assert(s:get('k') == 1 and #s:keys() == 1) end\n"
			"function after() assert(s:get('k') == 2 and s:get('new') == 'n') end\n"
			"function late() assert(s:get('k') == nil and s:get('new') == 'n') end");
	vm_must_load(b, "local s = require 'siphook'.shared 's' assert(s:incr('k') == 2) s:set('new', 'n')\n"
			"function late() assert(#s:keys() == 1) end");
	assert_int_equal(vm_run(a, "before"), 0);
	b->journal = NULL;
	assert_int_equal(sh_shared_journal_commit(j, w.now), 0);
	sh_shared_journal_destroy(j);
	assert_int_equal(vm_run(a, "after"), 0);
	w.now += 61 * UINT64_C(1000000);
	assert_int_equal(vm_run(a, "late"), 0);
	assert_int_equal(vm_run(b, "late"), 0);
	sh_vm_destroy(a);
	sh_vm_destroy(b);
	sh_shared_destroy(config.shared);
}

static void what_was_not_used_for_the_longest_time_goes(void **state)
{
	struct sh_shared_options o = {.size = 40000, .evict = SH_SHARED_OLDEST};
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	unsigned kept = 0;
	char key[20];
	(void)state;

	assert_int_equal(sh_shared_configure(sh, at.store, &o, 0, 0), 0);
	set(&at, "mine", 7, 0);
	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		set(&at, key, i, 0);
		assert_int_equal(get(&at, "mine"), 7); /* used again and again */
		assert_true(sh_shared_memory(at.store) <= 40000);
	}
	for (int i = 4800; i < 5000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		kept += get(&at, key) == i;
	}
	assert_true(kept > 150);
	assert_int_equal(get(&at, "0"), -1);
	{
		char *big = malloc(50000);
		struct sh_shared_value v = {.kind = SH_SHARED_STRING, .u.text = {big, 50000}};

		memset(big, 'x', 50000);
		assert_int_equal(sh_shared_set(&at, text("big"), &v, 0), -ENOSPC);
		assert_int_equal(get(&at, "mine"), 7); /* for nothing nothing goes */
		free(big);
	}
	o.evict = SH_SHARED_REFUSE;
	assert_int_equal(sh_shared_configure(sh, at.store, &o, 0, 0), 0);
	for (int i = 0, err = 0; !err; i++) {
		struct sh_shared_value v = integer(i);

		snprintf(key, sizeof(key), "r%d", i);
		err = sh_shared_set(&at, text(key), &v, 0);
		assert_true(err == 0 || err == -ENOSPC);
		assert_true(i < 5000);
	}
	sh_shared_destroy(sh);
}

/* A keeper that keeps one file in memory. */
static struct kept {
	char *data;
	size_t len;
	unsigned written;
} kept;

static int kept_read(void *ctx, const char *name, char **data, size_t *len)
{
	struct kept *k = ctx;

	assert_string_equal(name, "users");
	if (!k->data)
		return -ENOENT;
	*data = sh_malloc(k->len + 1);
	memcpy(*data, k->data, k->len);
	*len = k->len;
	return 0;
}

static int kept_write(void *ctx, const char *name, const char *data, size_t len)
{
	struct kept *k = ctx;

	assert_string_equal(name, "users");
	free(k->data);
	k->data = malloc(len);
	memcpy(k->data, data, len);
	k->len = len;
	k->written++;
	return 0;
}

static void stores_survive_a_restart(void **state)
{
	static const struct sh_shared_keeper keeper = {kept_read, kept_write, &kept};
	struct sh_shared_options o = {.persist = true};
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	struct sh_shared_value v = {.kind = SH_SHARED_FLOAT, .u.number = 1.5}, yes = {.kind = SH_SHARED_BOOLEAN, .u.boolean = true},
			       word = string("a word\0and more");
	size_t length, need;
	char buf[64];
	(void)state;

	assert_int_equal(sh_shared_configure(sh, at.store, &o, 1000, 5000000), -ENOENT); /* nobody saves */
	sh_shared_destroy(sh);
	sh = shared_with(&at, 0);
	sh_shared_keep(sh, &keeper);
	assert_int_equal(sh_shared_configure(sh, at.store, &o, 1000, 5000000), 0);
	assert_int_equal(sh_shared_save(sh, 1000, 5000000), 0);
	assert_int_equal(kept.written, 0); /* nothing has changed */
	word.u.text.len = 15;
	set(&at, "n", 42, 0);
	set(&at, "soon", 1, 1000);
	set(&at, "later", 2, 100000);
	assert_int_equal(sh_shared_set(&at, text("f"), &v, 0), 0);
	assert_int_equal(sh_shared_set(&at, text("b"), &yes, 0), 0);
	assert_int_equal(sh_shared_set(&at, text("w"), &word, 0), 0);
	assert_int_equal(sh_shared_push(&at, text("l"), &word, 0, &length), 0);
	assert_int_equal(sh_shared_push(&at, text("l"), &yes, 0, &length), 0);
	assert_int_equal(sh_shared_save(sh, 1000, 5000000), 0);
	assert_int_equal(sh_shared_save(sh, 1000, 5000000), 0);
	assert_int_equal(kept.written, 1);
	sh_shared_destroy(sh);

	/* another process: its clock begins anew, and ten milliseconds have passed */
	sh = shared_with(&at, 0);
	sh_shared_keep(sh, &keeper);
	at.now = 77;
	set(&at, "n", 43, 0); /* what is there stays */
	assert_int_equal(sh_shared_configure(sh, at.store, &o, 77, 5010000), 0);
	assert_int_equal(sh_shared_configure(sh, at.store, &o, 77, 5010000), 0);
	assert_int_equal(get(&at, "n"), 43);
	assert_int_equal(get(&at, "soon"), -1);
	assert_int_equal(get(&at, "later"), 2);
	at.now = 77 + 90000;
	assert_int_equal(get(&at, "later"), -1);
	assert_int_equal(sh_shared_get(&at, text("f"), &v, buf, sizeof(buf), &need), 0);
	assert_true(v.kind == SH_SHARED_FLOAT && v.u.number == 1.5);
	assert_int_equal(sh_shared_get(&at, text("w"), &v, buf, sizeof(buf), &need), 0);
	assert_true(v.kind == SH_SHARED_STRING && v.u.text.len == 15 && memcmp(buf, "a word\0and more", 15) == 0);
	assert_int_equal(sh_shared_pop(&at, text("l"), &v, buf, sizeof(buf), &need), 0);
	assert_true(v.kind == SH_SHARED_STRING && v.u.text.len == 15);
	assert_int_equal(sh_shared_pop(&at, text("l"), &v, buf, sizeof(buf), &need), 0);
	assert_true(v.kind == SH_SHARED_BOOLEAN && v.u.boolean);
	sh_shared_destroy(sh);
	free(kept.data);
	kept = (struct kept){0};
}

/* Cut short, a bit turned: it is noticed, and nothing of it is taken. */
static void a_damaged_file_is_refused(void **state)
{
	static const struct sh_shared_keeper keeper = {kept_read, kept_write, &kept};
	struct sh_shared_options o = {.persist = true};
	struct sh_shared_at at;
	struct sh_shared *sh = shared_with(&at, 0);
	size_t whole;
	(void)state;

	sh_shared_keep(sh, &keeper);
	assert_int_equal(sh_shared_configure(sh, at.store, &o, 0, 0), 0);
	for (int i = 0; i < 10; i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%d", i);
		set(&at, key, i, 0);
	}
	assert_int_equal(sh_shared_save(sh, 0, 0), 0);
	sh_shared_destroy(sh);
	whole = kept.len;
	for (size_t i = 0; i < 2 * whole; i++) {
		if (i < whole)
			kept.data[i] ^= 4;
		else
			kept.len = i - whole;
		sh = shared_with(&at, 0);
		sh_shared_keep(sh, &keeper);
		assert_int_equal(sh_shared_configure(sh, at.store, &o, 0, 0), -EBADMSG);
		assert_int_equal(get(&at, "k0"), -1);
		sh_shared_destroy(sh);
		if (i < whole)
			kept.data[i] ^= 4;
	}
	free(kept.data);
	kept = (struct kept){0};
}

/* ---- what goes on in another process ---- */

static void restore_store(void *ctx, struct sh_slice name, const char *data, size_t len)
{
	assert_int_equal(sh_shared_restore(ctx, name, data, len, 1000, 5000), 0);
}

static void do_write(void *ctx, const char *data, size_t len)
{
	assert_int_equal(sh_shared_do(ctx, data, len, 1000), 0);
	for (size_t i = 0; i < len; i++) /* cut short it does nothing, and no harm */
		assert_int_equal(sh_shared_do(ctx, data, i, 1000), -EBADMSG);
}

static void another_process_goes_on_with_the_stores(void **state)
{
	struct sh_shared_at at, there;
	struct sh_shared *sh = shared_with(&at, 0), *other = shared_with(&there, 0);
	struct sh_shared_value v, one = integer(1), word = string("a word");
	char buf[16];
	size_t n, need;
	(void)state;

	set(&at, "calls", 5, 0);
	set(&at, "gone", 1, 0);
	assert_int_equal(sh_shared_push(&at, text("list"), &word, 0, &n), 0);
	assert_int_equal(sh_shared_pack_all(sh, 1000, 5000, restore_store, other), 0);
	assert_int_equal(get(&there, "calls"), 5);
	sh_shared_tell(sh, do_write, other);
	assert_int_equal(sh_shared_incr(&at, text("calls"), &one, 0, &v), 0);
	assert_int_equal(sh_shared_incr(&there, text("calls"), &one, 0, &v), 0); /* it counts too */
	assert_int_equal(sh_shared_incr(&at, text("calls"), &one, 0, &v), 0);
	assert_int_equal(get(&there, "calls"), 8);
	assert_int_equal(sh_shared_delete(&at, text("gone")), 0);
	assert_int_equal(get(&there, "gone"), -1);
	assert_int_equal(sh_shared_set(&at, text("text"), &word, 0), 0);
	assert_int_equal(sh_shared_get(&there, text("text"), &v, buf, sizeof(buf), &need), 0);
	assert_true(v.kind == SH_SHARED_STRING && sh_slice_eq(v.u.text, SH_LIT("a word")));
	assert_int_equal(sh_shared_pop(&at, text("list"), &v, buf, sizeof(buf), &need), 0);
	assert_int_equal(sh_shared_pop(&there, text("list"), &v, buf, sizeof(buf), &need), -ENOENT);
	assert_int_equal(sh_shared_delete(&at, text("nothing")), -ENOENT); /* nothing was done: nobody is told */
	sh_shared_destroy(sh);
	sh_shared_destroy(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_not_used_for_the_longest_time_goes),
	    cmocka_unit_test(stores_survive_a_restart),
	    cmocka_unit_test(a_damaged_file_is_refused),
	    cmocka_unit_test(stores_have_names_and_limits),
	    cmocka_unit_test(time_to_live_ends),
	    cmocka_unit_test(what_expired_gives_its_memory_back_without_being_asked_for),
	    cmocka_unit_test(a_full_store_says_so_and_changes_nothing),
	    cmocka_unit_test(random_operations_are_those_of_a_model),
	    cmocka_unit_test(threads_lose_nothing),
	    cmocka_unit_test(a_journal_is_seen_by_its_loader_only_until_the_commit),
	    cmocka_unit_test(a_watch_is_told_of_each_use_and_changes_nothing),
	    cmocka_unit_test(a_copy_has_all_that_a_key_holds),
	    cmocka_unit_test(a_journal_sees_time_pass),
	    cmocka_unit_test(every_allocation_may_fail),
	    cmocka_unit_test(another_process_goes_on_with_the_stores),
	    cmocka_unit_test(scripts_have_the_methods),
	    cmocka_unit_test(two_states_share_and_a_loading_one_does_not_yet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
