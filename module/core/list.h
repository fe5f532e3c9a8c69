/* Intrusive doubly linked list: the link lives in the element. A link that is in no list points at itself, so that
 * removal is safe at any time. One thread at a time. */
#ifndef SH_CORE_LIST_H
#define SH_CORE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct sh_link {
	struct sh_link *prev, *next;
};

#define SH_CONTAINER(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* for (struct sh_link *l = head.next; l != &head; l = l->next); _SAFE survives the removal of l itself only. */
#define SH_LIST_EACH(l, head) for (struct sh_link *l = (head)->next; l != (head); l = l->next)
#define SH_LIST_EACH_SAFE(l, head) \
	for (struct sh_link *l = (head)->next, *l##_next = l->next; l != (head); l = l##_next, l##_next = l->next)

static inline void sh_list_init(struct sh_link *l)
{
	l->prev = l->next = l;
}

static inline bool sh_list_empty(const struct sh_link *l)
{
	return l->next == l;
}

/* Puts l in front of `at` (at = the head: at the end of the list). l must be in no list. */
static inline void sh_list_insert(struct sh_link *at, struct sh_link *l)
{
	l->prev = at->prev;
	l->next = at;
	at->prev->next = l;
	at->prev = l;
}

static inline void sh_list_append(struct sh_link *head, struct sh_link *l)
{
	sh_list_insert(head, l);
}

static inline void sh_list_remove(struct sh_link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	sh_list_init(l);
}

static inline struct sh_link *sh_list_pop(struct sh_link *head)
{
	struct sh_link *l = head->next;
	if (l == head)
		return NULL;
	sh_list_remove(l);
	return l;
}

#endif
