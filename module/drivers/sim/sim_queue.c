/* Pairing heap (M. Fredman, R. Sedgewick, D. Sleator, R. Tarjan, 1986): O(1) to put in, O(log n) amortised to take
 * out. */
#include <stdlib.h>

#include "drivers/sim/sim_impl.h"

/* Deliberately not sh_malloc: see the head of sim.h. */
void *sim_malloc(size_t n)
{
	return malloc(n);
}

void *sim_calloc(size_t n)
{
	return calloc(1, n);
}

void sim_free(void *p)
{
	free(p);
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static struct sim_event *meld(struct sim_event *a, struct sim_event *b)
{
	if (!a || !b)
		return a ? a : b;
	if (before(b, a)) {
		struct sim_event *t = a;
		a = b;
		b = t;
	}
	b->sibling = a->child;
	a->child = b;
	return a;
}

/* The two passes: pairs from left to right, then all of them from right to left. */
static struct sim_event *meld_siblings(struct sim_event *first)
{
	struct sim_event *pairs = NULL, *root = NULL;

	while (first) {
		struct sim_event *a = first, *b = a->sibling;
		first = b ? b->sibling : NULL;
		a->sibling = NULL;
		if (b)
			b->sibling = NULL;
		a = meld(a, b);
		a->sibling = pairs;
		pairs = a;
	}
	while (pairs) {
		struct sim_event *next = pairs->sibling;
		pairs->sibling = NULL;
		root = meld(root, pairs);
		pairs = next;
	}
	return root;
}

void sim_queue_push(struct sim_queue *q, struct sim_event *e, uint64_t at)
{
	e->at = at;
	e->seq = q->seq++;
	e->child = e->sibling = NULL;
	e->queued = true;
	if (!e->idle)
		q->under_way++;
	q->root = meld(q->root, e);
}

struct sim_event *sim_queue_pop(struct sim_queue *q)
{
	struct sim_event *e = q->root;

	if (!e)
		return NULL;
	q->root = meld_siblings(e->child);
	e->child = NULL;
	e->queued = false;
	if (!e->idle)
		q->under_way--;
	return e;
}
