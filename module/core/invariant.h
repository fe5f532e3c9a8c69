/* What must hold whatever the network, a script or the host does. Where it does not, siphook itself is wrong: that is logged with the
 * place (under a limit) and counted, and the caller gives up what it was about, a call at most; the process goes on. Builds for tests
 * abort instead, so that it is seen.
 *
 *     if (!SH_HOLDS(env, leg->call == call))
 *             return sh_call_hangup(...);
 *
 * Not for what a peer can bring about, nor for a lack of memory. The worker's thread. */
#ifndef SH_CORE_INVARIANT_H
#define SH_CORE_INVARIANT_H

#include "core/env.h"

#define SH_HOLDS(env, condition) \
	(__builtin_expect(!!(condition), 1) || sh_invariant_broken((env), #condition, __FILE__, __LINE__))

bool sh_invariant_broken(struct sh_env *env, const char *condition, const char *file, int line); /* false */

#ifdef SH_ALLOC_FAULTS
extern bool sh_invariant_fatal; /* true until a test says otherwise */
#endif

#endif
