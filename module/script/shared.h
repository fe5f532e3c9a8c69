/* Named stores that all workers and all generations see: sip.shared(name). Keys are text; a value is a string, a
 * number, a boolean or a FIFO list of them. Striped locks: any thread, never more than one lock at a time, no callback
 * under a lock.
 *
 * A store lives as long as the struct sh_shared, which outlives every VM. Expiry is lazy; each write also looks at a
 * few entries that have a time to live, so forgotten ones go too. `now` is the caller's monotonic microseconds.
 *
 * A journal collects what a loading script writes. Its reads see its own writes over the stores as they are; nobody
 * else sees anything until sh_shared_journal_commit() does the same operations (an incr as an incr) on the stores. The
 * top level runs in every worker: commit the journal of one of them and drop the others. A journal belongs to one
 * thread. */
#ifndef SH_SCRIPT_SHARED_H
#define SH_SCRIPT_SHARED_H

#include <lua.h>

#include "core/hash.h"

struct sh_shared;
struct sh_shared_store;
struct sh_shared_journal;

enum {
	SH_SHARED_KEY_MAX = 1024, /* bytes of a key */
	SH_SHARED_NAME_MAX = 64,  /* bytes of a store's name */
	SH_SHARED_STORES_MAX = 256
};

enum sh_shared_kind {
	SH_SHARED_NONE,
	SH_SHARED_BOOLEAN,
	SH_SHARED_INTEGER,
	SH_SHARED_FLOAT,
	SH_SHARED_STRING,
	SH_SHARED_LIST
};

struct sh_shared_value {
	enum sh_shared_kind kind;
	union {
		bool boolean;
		int64_t integer;
		double number;
		struct sh_slice text; /* as a result: a part of the buffer that was given */
		size_t length;        /* LIST: how many items */
	} u;
};

/* Where an operation happens: the store, the journal or NULL, the time. */
struct sh_shared_at {
	struct sh_shared_store *store;
	struct sh_shared_journal *journal;
	uint64_t now;
};

int sh_shared_create(struct sh_shared **out, const struct sh_hash_key *key, size_t store_max); /* 0: 64 MB a store */
void sh_shared_destroy(struct sh_shared *sh);

/* Finds or makes. 0, -EINVAL (empty or long name), -ENOSPC (too many stores), -ENOMEM. */
int sh_shared_open(struct sh_shared *sh, struct sh_slice name, struct sh_shared_store **out);

/* How a store is kept. size 0: as it is. */
enum sh_shared_evict { SH_SHARED_REFUSE, SH_SHARED_OLDEST };
struct sh_shared_options {
	size_t size; /* bytes, with what each entry costs */
	enum sh_shared_evict evict; /* when it is full: the write fails; or what was not used for the longest time goes */
	bool persist; /* it survives a restart */
};
/* Any time. The first one that says persist brings back what was saved (keys that are there already stay). 0, -ENOENT
 * (persist, and nobody saves anything: struct sh_shared_keeper), or the reader's -errno: nothing came back. */
int sh_shared_configure(struct sh_shared *sh, struct sh_shared_store *store, const struct sh_shared_options *o,
			uint64_t now, uint64_t wall);

/* Where stores are saved. read gives memory of sh_malloc(); -ENOENT: nothing was saved yet. */
struct sh_shared_keeper {
	int (*read)(void *ctx, const char *name, char **data, size_t *len);
	int (*write)(void *ctx, const char *name, const char *data, size_t len);
	void *ctx;
};
void sh_shared_keep(struct sh_shared *sh, const struct sh_shared_keeper *keeper); /* copied; before any store */
/* Writes the stores that persist and have changed since. One thread at a time. How many could not be written. */
unsigned sh_shared_save(struct sh_shared *sh, uint64_t now, uint64_t wall);

/* ttl in microseconds, 0: for ever. All: 0 or -ENOSPC (full), -ENOMEM, -E2BIG (the key), and what stands with them. */
int sh_shared_set(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *v, uint64_t ttl);
int sh_shared_add(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *v,
		  uint64_t ttl); /* -EEXIST */
/* by and *out: INTEGER or FLOAT; ttl counts when this creates the key. -EINVAL: the value is no number. */
int sh_shared_incr(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *by, uint64_t ttl,
		   struct sh_shared_value *out);
int sh_shared_delete(const struct sh_shared_at *at, struct sh_slice key); /* -ENOENT */
/* Appends to a list; ttl counts when this creates it. *length: items afterwards. -EINVAL: the value is no list. */
int sh_shared_push(const struct sh_shared_at *at, struct sh_slice key, const struct sh_shared_value *v, uint64_t ttl,
		   size_t *length);

/* Reading copies a text into buf. -ENOENT; -ENOBUFS: buf is too small, *need says what would do, and nothing changed.
 * pop takes the oldest item off; an empty list is gone. -EINVAL: no list. */
int sh_shared_get(const struct sh_shared_at *at, struct sh_slice key, struct sh_shared_value *out, char *buf,
		  size_t size, size_t *need);
int sh_shared_pop(const struct sh_shared_at *at, struct sh_slice key, struct sh_shared_value *out, char *buf,
		  size_t size, size_t *need);

/* All live keys in one block of sh_malloc(): for each a uint32_t length and the bytes, packed; in no order. *count,
 * *size: what there is. Stripe after stripe, so not one instant. 0 or -ENOMEM. */
int sh_shared_keys(const struct sh_shared_at *at, char **block, size_t *size, size_t *count);

/* ---- for another process that goes on with them */

/* Calls fn with each store as bytes. 0 or -ENOMEM. */
int sh_shared_pack_all(struct sh_shared *sh, uint64_t now, uint64_t wall,
		       void (*fn)(void *ctx, struct sh_slice name, const char *data, size_t len), void *ctx);
/* What pack_all made of a store: keys that are there already stay. 0 or -errno. */
int sh_shared_restore(struct sh_shared *sh, struct sh_slice name, const char *data, size_t len, uint64_t now, uint64_t wall);
/* Calls fn for each write that is done from now on, as bytes for sh_shared_do(). [any]; only once. */
void sh_shared_tell(struct sh_shared *sh, void (*fn)(void *ctx, const char *data, size_t len), void *ctx);
int sh_shared_do(struct sh_shared *sh, const char *data, size_t len, uint64_t now); /* 0 or -errno */

/* In the place of a journal: everything is done on the stores at once, and fn is told before. reads: what the key holds has a part in
 * the outcome. `at` is without a journal. Destroyed as a journal. 0 or -ENOMEM. */
typedef void (*sh_shared_use_fn)(void *ctx, const struct sh_shared_at *at, struct sh_slice key, bool reads);
int sh_shared_watch_create(struct sh_shared_journal **out, sh_shared_use_fn fn, void *ctx);

/* A copy of what a key holds, with what a list holds. */
struct sh_shared_copy {
	enum sh_shared_kind kind;
	uint64_t left; /* microseconds that it lives on; 0: for ever */
	size_t count;  /* of values: 1, or how long the list is */
	struct sh_shared_value values[]; /* texts behind them */
};
/* In memory of sh_malloc(). 0, -ENOENT, -EMSGSIZE (texts of more than `max` bytes, or a list of more than max / 16 items), -ENOMEM. */
int sh_shared_copy(const struct sh_shared_at *at, struct sh_slice key, size_t max, struct sh_shared_copy **out);
struct sh_slice sh_shared_name(const struct sh_shared_store *store);

size_t sh_shared_memory(const struct sh_shared_store *store);

int sh_shared_journal_create(struct sh_shared_journal **out, struct sh_shared *sh);
/* Does all operations in their order and empties the journal; what fails on the way (full) is counted and returned. */
size_t sh_shared_journal_commit(struct sh_shared_journal *j, uint64_t now);
void sh_shared_journal_destroy(struct sh_shared_journal *j); /* drops what is not committed */

/* Adds the function `shared` to the table on top of the stack. May raise. */
void sh_shared_lua_open(lua_State *L);

#endif
