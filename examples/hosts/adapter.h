/* What the adapters share: loading the object and starting an instance, options as pairs, and a queue for hosts whose own
 * functions are not thread safe. Copy it into an adapter of your own; it needs siphook.h and a POSIX system only. */
#ifndef SIPHOOK_ADAPTER_H
#define SIPHOOK_ADAPTER_H

#include "siphook.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef SIPHOOK_SO
#define SIPHOOK_SO "/usr/local/lib/siphook/siphook.so" /* where the object is unless the host's configuration says otherwise */
#endif

enum { ADAPTER_OPTIONS = 256 };

/* Options as the host's configuration gave them; keys and values are the host's strings. What the adapter itself finds wrong
 * with them is a complaint, with which the start fails. */
struct adapter_options {
	struct siphook_option list[ADAPTER_OPTIONS];
	size_t count;
	char complaint[256];
};

static inline void adapter_add(struct adapter_options *o, const char *key, const char *value)
{
	if (o->count < ADAPTER_OPTIONS)
		o->list[o->count++] = (struct siphook_option){key, value};
	else
		snprintf(o->complaint, sizeof(o->complaint), "more than %d options", ADAPTER_OPTIONS);
}

/* URIs with spaces between them, one option each; the text is cut into pieces. */
static inline void adapter_add_listeners(struct adapter_options *o, char *uris)
{
	char *rest = NULL;

	for (char *uri = strtok_r(uris, " ", &rest); uri; uri = strtok_r(NULL, " ", &rest))
		adapter_add(o, "listen", uri);
}

/* The instance of a host. The adapter fills in what stands first, and adapter_start() the rest; options and object must stay valid.
 * A start that fails leaves no instance, words in error, and may be tried again: a host whose dial plan is broken, or whose
 * port is occupied, goes on without SIP until somebody asks for a reload. */
struct adapter {
	const char *object; /* path of siphook.so; NULL: SIPHOOK_SO */
	struct siphook_host host;
	struct adapter_options options;

	const struct siphook_api *sip; /* NULL until the object is loaded */
	struct siphook *instance;      /* not NULL: it runs */
	char error[1024];
};

/* The functions of the object; 0, or -ENOENT or -ENOTSUP and words. Only in the process that will serve, never before a fork. */
static inline int adapter_load(struct adapter *a)
{
	const char *path = a->object ? a->object : SIPHOOK_SO;
	const struct siphook_api *sip;
	siphook_entry_fn entry;
	void *object;

	if (a->sip)
		return 0;
	object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!object) {
		snprintf(a->error, sizeof(a->error), "%s", dlerror());
		return -ENOENT;
	}
	*(void **)&entry = dlsym(object, "siphook_entry");
	sip = entry ? entry(SIPHOOK_ABI) : NULL;
	if (!sip || sip->size < offsetof(struct siphook_api, drain) + sizeof(sip->drain)) {
		snprintf(a->error, sizeof(a->error), "%s is no siphook.so with the host interface %d.%d", path, SIPHOOK_ABI_MAJOR,
			 SIPHOOK_ABI_MINOR);
		return -ENOTSUP;
	}
	a->sip = sip;
	return 0;
}

static inline int adapter_start(struct adapter *a, enum siphook_mode mode)
{
	struct siphook *s = NULL;
	int err = adapter_load(a);

	if (err < 0)
		return err;
	a->host.abi = SIPHOOK_ABI;
	a->host.size = sizeof(a->host);
	if (a->options.complaint[0]) {
		snprintf(a->error, sizeof(a->error), "%s", a->options.complaint);
		return -EINVAL;
	}
	err = a->sip->create(&s, &a->host, a->options.list, a->options.count);
	if (err == 0)
		err = a->sip->start(s, mode);
	if (err < 0) {
		snprintf(a->error, sizeof(a->error), "%s", a->sip->last_error(s));
		a->sip->destroy(s);
		return err;
	}
	a->instance = s;
	return 0;
}

/* Ends the calls, within stop_ms at the longest. */
static inline void adapter_stop(struct adapter *a, int64_t stop_ms)
{
	if (!a->instance)
		return;
	a->sip->stop(a->instance, stop_ms);
	a->sip->destroy(a->instance);
	a->instance = NULL;
}


/* How far an instance is that shall end: whether the next process has taken over (option handover), and whether there still are
 * calls. One that does not answer is not busy. */
struct adapter_status {
	int succeeded, busy;
};

static inline void adapter_on_status(void *ctx, const char *text, size_t len)
{
	struct adapter_status *s = ctx;

	(void)len;
	s->succeeded = strstr(text, "\"succeeded\":true") != NULL;
	s->busy = strstr(text, "\"busy\":false") == NULL;
}

static inline void adapter_look(const struct adapter *a, struct adapter_status *s)
{
	int err;

	s->busy = 1;
	err = a->sip->query(a->instance, "status", adapter_on_status, s);
	if (err < 0 && err != -ETIMEDOUT) /* one that is slow to answer is busy indeed */
		s->busy = 0;
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
