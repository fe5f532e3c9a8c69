#include "core/nearest.h"

#include <stdint.h>
#include <string.h>

#include "core/slice.h"

enum { LONGEST = 32 }; /* longer names are far from everything */

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static size_t distance(const char *a, const char *b)
{
	size_t row[LONGEST + 1], na = strlen(a), nb = strlen(b);

	if (na > LONGEST || nb > LONGEST)
		return SIZE_MAX;
	for (size_t j = 0; j <= nb; j++)
		row[j] = j;
	for (size_t i = 1; i <= na; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t same = diagonal + (sh_lower(a[i - 1]) != sh_lower(b[j - 1]));

			diagonal = row[j];
			row[j] = least(same, least(row[j], row[j - 1]) + 1);
		}
	}
	return row[nb];
}

bool sh_is_nearer(const char *name, const char *other, size_t *best)
{
	size_t d = distance(name, other);

	if (d >= *best || d * 3 > strlen(name))
		return false;
	*best = d;
	return true;
}

const char *sh_nearest(const char *name, const char *const *names)
{
	const char *nearest = NULL;
	size_t best = SH_NEAREST_NONE;

	for (; *names; names++)
		if (sh_is_nearer(name, *names, &best))
			nearest = *names;
	return nearest;
}
