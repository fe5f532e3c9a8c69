/* Numbers that scripts publish: sip.metric(name, value, labels). One set per instance, seen by all workers; what was set
 * last counts. Any thread. */
#ifndef SH_SCRIPT_METRIC_H
#define SH_SCRIPT_METRIC_H

#include <lua.h>

#include "core/hash.h"
#include "core/slice.h"

struct sh_metrics;

enum { SH_METRICS_MAX = 10000 }; /* names with labels */

int sh_metrics_create(struct sh_metrics **out, const struct sh_hash_key *key); /* 0 or -ENOMEM */
void sh_metrics_destroy(struct sh_metrics *m);                                  /* NULL is fine */

/* labels: `queue="support",site="a"` with the quotes escaped as in the text format of Prometheus; sorted; may be empty.
 * 0, -ENOSPC, -ENOMEM. */
int sh_metrics_set(struct sh_metrics *m, struct sh_slice name, struct sh_slice labels, double value);
/* Each of them, in no order, under the lock. */
void sh_metrics_each(struct sh_metrics *m,
		     void (*fn)(void *ctx, struct sh_slice name, struct sh_slice labels, double value), void *ctx);

/* Adds the function `metric` to the table on top of the stack. May raise. */
void sh_metric_open(lua_State *L);

#endif
