#include "script/lock.h"

#include <pthread.h>

#include "script/impl.h"

static const char class_name[] = "siphook.lock";

#define TIMEOUT (5 * SH_SECOND)

/* Exists while it is held. */
struct lock {
	struct sh_hash_node node;
	struct sh_link waiters; /* ticket.link, oldest first */
	size_t len;
	char name[]; /* of the store, NUL, key */
};

/* A run that waits. While it is in a lock's list it is its worker's; then it is on its way there as a message that says
 * that the lock is its. */
struct ticket {
	struct sh_post post;
	struct sh_link link; /* under the mutex */
	struct lock *lock;
	struct sh_run *run; /* its worker's; NULL: it does not wait any more */
	unsigned worker;
	bool granted; /* under the mutex */
	struct held *to;
};

/* What a script holds: a userdata. */
struct held {
	struct sh_link link; /* in run->locks */
	struct lock *lock;   /* NULL: given back, or not got yet */
	struct sh_runtime *runtime;
};

struct sh_locks {
	pthread_mutex_t mutex;
	struct sh_hash table;
	struct sh_hash_key key;
};

int sh_locks_create(struct sh_locks **out, const struct sh_hash_key *key)
{
	struct sh_locks *l = sh_calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	if (sh_hash_init(&l->table, 16) < 0) {
		sh_free(l);
		return -ENOMEM;
	}
	pthread_mutex_init(&l->mutex, NULL);
	l->key = *key;
	*out = l;
	return 0;
}

static void free_lock(struct sh_hash_node *n, void *ctx)
{
	struct sh_locks *l = ctx;

	sh_hash_remove(&l->table, n);
	sh_free(SH_CONTAINER(n, struct lock, node));
}

void sh_locks_destroy(struct sh_locks *l)
{
	if (!l)
		return;
	sh_hash_each(&l->table, free_lock, l);
	sh_hash_finish(&l->table);
	pthread_mutex_destroy(&l->mutex);
	sh_free(l);
}

/* ------------------------------------------------------------------ giving back */

static void on_granted(struct sh_post *post, struct sh_runtime *rt);

/* To the next who waits, or it is free. rt: the worker that does it. */
static void give_back(struct sh_locks *l, struct lock *lock, struct sh_runtime *rt)
{
	struct sh_link *next;
	struct ticket *t = NULL;

	pthread_mutex_lock(&l->mutex);
	next = sh_list_pop(&lock->waiters);
	if (next) {
		t = SH_CONTAINER(next, struct ticket, link);
		t->granted = true;
	} else {
		sh_hash_remove(&l->table, &lock->node);
	}
	pthread_mutex_unlock(&l->mutex);
	if (t)
		sh_post_send(rt, &t->post, t->worker, on_granted);
	else
		sh_free(lock);
}

static void release(struct held *h)
{
	struct lock *lock = h->lock;

	sh_list_remove(&h->link);
	h->lock = NULL;
	if (lock)
		give_back(h->runtime->script->locks, lock, h->runtime);
}

void sh_lock_release_all(struct sh_run *r)
{
	struct sh_link *l;

	while ((l = r->locks.next) != &r->locks)
		release(SH_CONTAINER(l, struct held, link));
}

/* ------------------------------------------------------------------ waiting */

static int push_lock(lua_State *L, void *arg)
{
	(void)arg;
	lua_pushvalue(L, 4); /* made before the wait */
	return 1;
}

static void on_granted(struct sh_post *post, struct sh_runtime *rt)
{
	struct ticket *t = SH_CONTAINER(post, struct ticket, post);
	struct sh_run *run = t->run;

	if (!rt) { /* the locks themselves go next */
		sh_free(t);
		return;
	}
	if (run) {
		t->to->lock = t->lock;
		sh_list_append(&run->locks, &t->to->link);
	} else {
		give_back(rt->script->locks, t->lock, rt);
	}
	sh_free(t);
	if (run)
		sh_run_resume(run, push_lock, NULL);
}

/* On the worker of the run. */
static void give_up(void *arg)
{
	struct ticket *t = arg;
	struct sh_locks *l = t->run->state->runtime->script->locks;
	bool granted;

	pthread_mutex_lock(&l->mutex);
	granted = t->granted;
	if (!granted)
		sh_list_remove(&t->link);
	pthread_mutex_unlock(&l->mutex);
	t->run = NULL;
	if (!granted) /* else it is on its way */
		sh_free(t);
}

static int push_timeout(lua_State *L, void *arg)
{
	(void)arg;
	lua_pushnil(L);
	lua_pushliteral(L, "timeout");
	return 2;
}

static void on_timeout(struct sh_timer *timer)
{
	struct sh_run *r = SH_CONTAINER(timer, struct sh_run, timer);

	give_up(r->abandon_arg);
	sh_run_resume(r, push_timeout, NULL);
}

static struct lock *find(struct sh_locks *l, uint64_t hash, struct sh_slice name)
{
	struct sh_hash_node *n = sh_hash_find(&l->table, hash);

	for (; n; n = sh_hash_next(n)) {
		struct lock *lock = SH_CONTAINER(n, struct lock, node);

		if (sh_slice_eq(sh_slice_make(lock->name, lock->len), name))
			return lock;
	}
	return NULL;
}

/* Takes a free lock; or stands in line, if t is given. True: taken (h->lock). */
static bool take(struct sh_locks *l, struct lock *fresh, struct held *h, struct ticket *t)
{
	struct sh_slice name = sh_slice_make(fresh->name, fresh->len);
	uint64_t hash = sh_hash_slice(&l->key, name);
	struct lock *there;

	pthread_mutex_lock(&l->mutex);
	there = find(l, hash, name);
	if (!there) {
		sh_hash_insert(&l->table, &fresh->node, hash);
		h->lock = fresh;
	} else if (t) {
		t->lock = there;
		sh_list_append(&there->waiters, &t->link);
	}
	pthread_mutex_unlock(&l->mutex);
	return !there;
}

static struct lock *lock_create(struct sh_slice store, struct sh_slice key)
{
	struct lock *lock = sh_calloc(1, sizeof(*lock) + store.len + 1 + key.len);

	if (!lock)
		return NULL;
	sh_list_init(&lock->waiters);
	lock->len = store.len + 1 + key.len;
	memcpy(lock->name, store.base, store.len);
	if (key.len)
		memcpy(lock->name + store.len + 1, key.base, key.len);
	return lock;
}

static uint64_t check_timeout(lua_State *L)
{
	lua_Number seconds = luaL_optnumber(L, 3, (double)TIMEOUT / 1e6);

	if (!(seconds >= 0 && seconds <= 1e9))
		luaL_argerror(L, 3, "seconds from 0 to 1e9 expected");
	return (uint64_t)(seconds * 1e6);
}

int sh_lock_verb(lua_State *L, struct sh_slice store)
{
	struct sh_runtime *rt = sh_runtime_check(L, "lock");
	struct sh_run *run = sh_run_check(L, "lock");
	struct sh_locks *l = rt->script->locks;
	uint64_t timeout = check_timeout(L);
	struct ticket *t = NULL;
	struct sh_slice key;
	struct lock *lock;
	struct held *h;
	bool taken;

	key = sh_sandbox_check_text(L, 2);
	if (timeout)
		sh_vm_check_wait(L, "lock");
	lua_settop(L, 3);
	h = lua_newuserdatauv(L, sizeof(*h), 0);
	*h = (struct held){.runtime = rt};
	sh_list_init(&h->link);
	luaL_setmetatable(L, class_name);
	lock = lock_create(store, key);
	if (timeout)
		t = sh_calloc(1, sizeof(*t));
	if (!lock || (timeout && !t)) {
		sh_free(lock);
		sh_free(t);
		return luaL_error(L, "not enough memory");
	}
	if (t) {
		sh_list_init(&t->link);
		t->run = run;
		t->worker = rt->env->worker;
		t->to = h;
	}
	taken = take(l, lock, h, t);
	if (taken) {
		sh_free(t);
		sh_list_append(&run->locks, &h->link);
		return 1;
	}
	sh_free(lock);
	if (!t)
		return push_timeout(L, NULL);
	run->timer.fire = on_timeout;
	sh_env_timer(rt->env, &run->timer, timeout);
	return sh_run_wait_for(L, run, give_up, t, NULL);
}

/* ------------------------------------------------------------------ the object */

/* lock:unlock(), and at the end of a <close> variable; twice is fine. */
static int unlock(lua_State *L)
{
	release(luaL_checkudata(L, 1, class_name));
	return 0;
}

void sh_lock_open(lua_State *L)
{
	static const luaL_Reg meta[] = {{"__close", unlock}, {"__gc", unlock}, {NULL, NULL}};
	static const luaL_Reg methods[] = {{"unlock", unlock}, {NULL, NULL}};

	sh_sandbox_class(L, class_name, meta, methods);
}
