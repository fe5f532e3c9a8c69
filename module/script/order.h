/* A method of `call` that is run where the call lives: on this worker at once, on another one as a run of its own whose
 * results come back. Arguments and results are plain values; a URI goes as text. */
#ifndef SH_SCRIPT_ORDER_H
#define SH_SCRIPT_ORDER_H

#include <lua.h>

#include "core/slice.h"

struct sh_run;
struct sh_order;

/* The stack has something at 1 and the arguments above it. Results: the method's, or nil, "gone". Waits. */
int sh_order(lua_State *L, unsigned worker, struct sh_slice id, const char *method);

/* run.c: the run that serves an order (r->order) has ended; error: what it raised, or empty. */
void sh_order_served(struct sh_run *r, struct sh_slice error);

#endif
