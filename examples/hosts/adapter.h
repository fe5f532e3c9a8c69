/* What the adapters share: loading the object, options as pairs, and a queue for hosts whose own functions are not thread
 * safe. Copy it into an adapter of your own; it needs siphook.h and a POSIX system only. */
#ifndef SIPHOOK_ADAPTER_H
#define SIPHOOK_ADAPTER_H

#include "siphook.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SIPHOOK_SO
#define SIPHOOK_SO "/usr/local/lib/siphook/siphook.so" /* where the object is unless the host's configuration says otherwise */
#endif

/* The functions of the object, or NULL with words. The adapter loads it in the process that will serve, never before a fork. */
static inline const struct siphook_api *adapter_load(const char *path, char *error, size_t size)
{
	void *object = dlopen(path ? path : SIPHOOK_SO, RTLD_NOW | RTLD_LOCAL);
	const struct siphook_api *api;
	siphook_entry_fn entry;

	if (!object) {
		snprintf(error, size, "%s", dlerror());
		return NULL;
	}
	*(void **)&entry = dlsym(object, "siphook_entry");
	api = entry ? entry(SIPHOOK_ABI) : NULL;
	if (!api || api->size < offsetof(struct siphook_api, drain) + sizeof(api->drain)) {
		snprintf(error, size, "%s is no siphook.so of version " SIPHOOK_VERSION, path ? path : SIPHOOK_SO);
		return NULL;
	}
	return api;
}

enum { ADAPTER_OPTIONS = 256 };

/* Options as the host's configuration gave them; keys and values are the host's strings, and must outlive create(). */
struct adapter_options {
	struct siphook_option list[ADAPTER_OPTIONS];
	size_t count;
};

static inline int adapter_add(struct adapter_options *o, const char *key, const char *value)
{
	if (o->count == ADAPTER_OPTIONS)
		return -1;
	o->list[o->count++] = (struct siphook_option){key, value};
	return 0;
}

/* Lines from the module's threads for the host's thread. A full queue forgets the newest, and counts it. */
struct adapter_line {
	struct adapter_line *next;
	int kind; /* the adapter's: a log level, or what else it sends */
	size_t len;
	char text[];
};

struct adapter_queue {
	pthread_mutex_t lock;
	struct adapter_line *first, **last;
	size_t count, forgotten;
};

enum { ADAPTER_QUEUE_MAX = 10000 };

static inline void adapter_queue_init(struct adapter_queue *q)
{
	pthread_mutex_init(&q->lock, NULL);
	q->first = NULL;
	q->last = &q->first;
	q->count = q->forgotten = 0;
}

/* [worker] head and tail are joined with a NUL between them. */
static inline void adapter_queue_put(struct adapter_queue *q, int kind, const char *head, const char *tail, size_t len)
{
	size_t before = head ? strlen(head) + 1 : 0;
	struct adapter_line *line = malloc(sizeof(*line) + before + len + 1);

	if (line) {
		line->next = NULL;
		line->kind = kind;
		line->len = before + len;
		if (head)
			memcpy(line->text, head, before);
		memcpy(line->text + before, tail, len);
		line->text[line->len] = '\0';
	}
	pthread_mutex_lock(&q->lock);
	if (line && q->count < ADAPTER_QUEUE_MAX) {
		*q->last = line;
		q->last = &line->next;
		q->count++;
		line = NULL;
	} else {
		q->forgotten++;
	}
	pthread_mutex_unlock(&q->lock);
	free(line);
}

/* [host] All that is there, for the caller to free; *forgotten: how many were lost since the last time. */
static inline struct adapter_line *adapter_queue_take(struct adapter_queue *q, size_t *forgotten)
{
	struct adapter_line *first;

	pthread_mutex_lock(&q->lock);
	first = q->first;
	*forgotten = q->forgotten;
	q->first = NULL;
	q->last = &q->first;
	q->count = q->forgotten = 0;
	pthread_mutex_unlock(&q->lock);
	return first;
}

#endif
