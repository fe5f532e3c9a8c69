/* Private to shared*.c: one store as striped tables of entries. The shadows of a journal are stores too, with a
 * tombstone where a key is covered and gone. */
#ifndef SH_SCRIPT_SHARED_IMPL_H
#define SH_SCRIPT_SHARED_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "core/list.h"
#include "script/shared.h"

enum { SH_SHARED_STRIPES = 16 };

enum { SH_SHARED_GONE = SH_SHARED_LIST + 1 }; /* kind of a tombstone */

/* A boolean, a number or a text; the bytes of the text stand where its holder says. */
struct sh_shared_scalar {
	int kind;
	union {
		bool boolean;
		int64_t integer;
		double number;
		size_t len;
	} u;
};

struct sh_shared_item {
	struct sh_shared_item *next;
	struct sh_shared_scalar scalar;
	char text[];
};

struct sh_shared_entry {
	struct sh_hash_node node;
	struct sh_link timed;                 /* in stripe->timed while it has a time to live */
	struct sh_link used;                  /* in stripe->used */
	uint64_t use;                         /* number of its last use, of a store that evicts */
	uint64_t expires;                     /* 0: never */
	size_t size;                          /* what it counts for, with its items */
	struct sh_shared_scalar scalar;       /* LIST and GONE: only the kind */
	struct sh_shared_item *first, **last; /* LIST */
	size_t length;
	size_t key_len;
	char key[]; /* then the text */
};

struct sh_shared_stripe {
	pthread_mutex_t lock;
	struct sh_hash table;
	struct sh_link timed; /* looked at from the head, then moved to the tail */
	struct sh_link used;  /* all entries; of a store that evicts, the one last used at the tail */
};

struct sh_shared_store {
	struct sh_link link;          /* in the set, or in the journal */
	struct sh_shared_store *base; /* of a shadow: what it covers; else NULL */
	const struct sh_shared *set;
	struct sh_hash_key hash_key;
	atomic_size_t memory_max, memory;
	atomic_int evict;         /* enum sh_shared_evict */
	atomic_bool persist;
	atomic_uint_fast64_t uses;    /* of a store that evicts */
	atomic_uint_fast64_t changes; /* writes that were done */
	uint64_t saved;           /* of them; by whoever saves */
	struct sh_shared_stripe stripe[SH_SHARED_STRIPES];
	size_t name_len;
	char name[SH_SHARED_NAME_MAX];
};

struct sh_shared {
	pthread_mutex_t lock; /* of the list */
	struct sh_link stores;
	unsigned count;
	struct sh_hash_key hash_key;
	size_t store_max;
	struct sh_shared_keeper keeper;
	void (*tell)(void *ctx, const char *data, size_t len);
	void *tell_ctx;
	atomic_bool tells; /* tell is set */
};

enum sh_shared_op { SH_SHARED_SET, SH_SHARED_ADD, SH_SHARED_INCR, SH_SHARED_DELETE, SH_SHARED_PUSH, SH_SHARED_POP };

/* What one write is: the public functions fill it, the journal keeps it. */
struct sh_shared_write {
	enum sh_shared_op op;
	struct sh_slice key;
	const struct sh_shared_value *value; /* SET, ADD, INCR, PUSH */
	uint64_t ttl;
	struct sh_shared_value *out; /* INCR, POP; POP: NULL throws the item away */
	char *buf;                   /* POP */
	size_t buf_size, *need, *length;
};

struct sh_shared_store *sh_shared_store_create(const struct sh_shared *sh, struct sh_shared_store *base,
					       struct sh_slice name);
void sh_shared_store_destroy(struct sh_shared_store *s);

/* As sh_shared_get(). */
int sh_shared_store_read(struct sh_shared_store *s, struct sh_slice key, uint64_t now, struct sh_shared_value *out,
			 char *buf, size_t size, size_t *need);
int sh_shared_store_copy(struct sh_shared_store *s, struct sh_slice key, uint64_t now, size_t max, struct sh_shared_copy **out);
int sh_shared_store_write(struct sh_shared_store *s, const struct sh_shared_write *w, uint64_t now);

/* Calls fn for every entry of the store, live or not, under the lock of its stripe; fn must not change the table. */
void sh_shared_store_each(struct sh_shared_store *s, void (*fn)(struct sh_shared_entry *e, void *ctx), void *ctx);
bool sh_shared_entry_live(const struct sh_shared_entry *e, uint64_t now);

bool sh_shared_store_has(struct sh_shared_store *s, struct sh_slice key); /* an entry, even a tombstone */
/* Covers a key: a copy of the live entry of s->base, or a tombstone. 0 or -ENOMEM. */
int sh_shared_store_cover(struct sh_shared_store *s, struct sh_slice key, uint64_t now);

/* shared_snapshot.c: a store as bytes. 0 or -ENOMEM; -EBADMSG: they are not what pack made. */
int sh_shared_pack(struct sh_shared_store *s, uint64_t now, uint64_t wall, char **data, size_t *len);
int sh_shared_unpack(struct sh_shared_store *s, const char *data, size_t len, uint64_t now, uint64_t wall);

/* A write that was done, for whoever is to be told. */
void sh_shared_tell_write(const struct sh_shared_store *s, const struct sh_shared_write *w);

/* shared_journal.c */
/* True: it is a watch, which has been told, and the store itself is to be used. */
bool sh_shared_journal_watches(const struct sh_shared_at *at, struct sh_slice key, bool reads);
int sh_shared_journal_write(const struct sh_shared_at *at, const struct sh_shared_write *w);
struct sh_shared_store *sh_shared_journal_shadow(const struct sh_shared_journal *j, const struct sh_shared_store *base);

#endif
