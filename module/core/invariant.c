#include "core/invariant.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef SH_ALLOC_FAULTS
bool sh_invariant_fatal = true;
#endif

bool sh_invariant_broken(struct sh_env *env, const char *condition, const char *file, int line)
{
	env->broken++;
	sh_log_write_limited(env->log, SH_LOG_ERROR, &env->broken_limit, env->now,
			     "%s:%d: \"%s\" does not hold: a mistake of siphook, please report it", file, line, condition);
#ifdef SH_ALLOC_FAULTS
	if (sh_invariant_fatal) {
		fprintf(stderr, "%s:%d: \"%s\" does not hold\n", file, line, condition);
		abort();
	}
#endif
	return false;
}
