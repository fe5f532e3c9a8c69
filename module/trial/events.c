#include "trial/events.h"

#include "core/alloc.h"

enum { EVENTS_MAX = 100000 };

void sh_trial_events_init(struct sh_trial_events *e)
{
	sh_list_init(&e->list);
	e->count = 0;
}

void sh_trial_events_finish(struct sh_trial_events *e)
{
	struct sh_link *l;

	while ((l = sh_list_pop(&e->list)))
		sh_free(SH_CONTAINER(l, struct sh_trial_event, link));
	e->count = 0;
}

/* NULL: it is left out. */
static struct sh_trial_event *add(struct sh_trial_events *e, size_t text)
{
	struct sh_trial_event *ev = e->count < EVENTS_MAX ? sh_calloc(1, sizeof(*ev) + text) : NULL;

	if (!ev)
		return NULL;
	sh_list_init(&ev->link);
	sh_list_append(&e->list, &ev->link);
	e->count++;
	return ev;
}

static struct sh_slice keep(char **to, struct sh_slice s)
{
	struct sh_slice copy = {*to, s.len};

	if (s.len)
		memcpy(*to, s.base, s.len);
	*to += s.len;
	return copy;
}

void sh_trial_on_trace(void *ctx, const struct sh_trace *t)
{
	struct sh_trial_event *ev = add(ctx, t->file.len + t->verb.len + t->call.len + t->args.len);
	char *to;

	if (!ev)
		return;
	to = ev->data;
	ev->at = t->at;
	ev->decision = true;
	ev->line = t->line;
	ev->file = keep(&to, t->file);
	ev->verb = keep(&to, t->verb);
	ev->call = keep(&to, t->call);
	ev->text = keep(&to, t->args);
}

void sh_trial_on_log(void *ctx, uint64_t at, enum sh_log_level level, const char *line, size_t len)
{
	struct sh_trial_event *ev = add(ctx, len);
	char *to;

	if (!ev)
		return;
	to = ev->data;
	ev->at = at;
	ev->level = level;
	ev->text = keep(&to, sh_slice_make(line, len));
}
