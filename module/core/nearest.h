/* "Did you mean ...?": the name that is most like a misspelt one, by Levenshtein's distance, small and capital letters alike. More than
 * two letters changed, left out or added, or more than a third of them, make another word. */
#ifndef SH_CORE_NEAREST_H
#define SH_CORE_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* One of the names (ended by NULL), or NULL: none is near. */
const char *sh_nearest(const char *name, const char *const *names);

/* The same step by step: whether this one is nearer than all before. *best begins with SH_NEAREST_NONE. */
#define SH_NEAREST_NONE ((size_t)3)
bool sh_is_nearer(const char *name, const char *other, size_t *best);

#endif
