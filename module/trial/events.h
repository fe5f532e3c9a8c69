/* What happens inside a world: the verbs of the script and the lines of the log, in their order. Bounded; what memory does not
 * hold is left out. */
#ifndef SH_TRIAL_EVENTS_H
#define SH_TRIAL_EVENTS_H

#include "core/list.h"
#include "script/script.h"

struct sh_trial_event {
	struct sh_link link;
	uint64_t at; /* virtual time, microseconds */
	bool decision; /* a verb of the script; else a log line */
	enum sh_log_level level;
	int line;
	struct sh_slice file, verb, call, text; /* of a log line: text only */
	char data[];
};

struct sh_trial_events {
	struct sh_link list; /* oldest first */
	unsigned count;
};

void sh_trial_events_init(struct sh_trial_events *e);
void sh_trial_events_finish(struct sh_trial_events *e);

/* For struct sh_world_options: ctx is the struct sh_trial_events. */
void sh_trial_on_trace(void *ctx, const struct sh_trace *t);
void sh_trial_on_log(void *ctx, uint64_t at, enum sh_log_level level, const char *line, size_t len);

#endif
