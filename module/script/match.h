/* Lua 5.4 patterns (reference manual 6.4.1) with a step budget: a matcher of our own, since no hook fires inside
 * string.find and one header of 1 kB can cost the stock library more than a second. Pure; any thread. */
#ifndef SH_SCRIPT_MATCH_H
#define SH_SCRIPT_MATCH_H

#include "core/slice.h"

enum { SH_MATCH_CAPTURES = 32 };

/* Why a match ended without an answer. */
enum sh_match_error {
	SH_MATCH_OK,
	SH_MATCH_COSTLY,        /* the budget is spent */
	SH_MATCH_DEEP,          /* too many nested items */
	SH_MATCH_ENDS_PERCENT,  /* malformed pattern (ends with '%') */
	SH_MATCH_NO_BRACKET,    /* malformed pattern (missing ']') */
	SH_MATCH_BALANCE,       /* malformed pattern (missing arguments to '%b') */
	SH_MATCH_FRONTIER,      /* missing '[' after '%f' in pattern */
	SH_MATCH_CAPTURE_INDEX, /* invalid capture index %index in pattern */
	SH_MATCH_CAPTURE_CLOSE, /* invalid pattern capture */
	SH_MATCH_CAPTURE_OPEN,  /* unfinished capture */
	SH_MATCH_CAPTURE_MANY   /* too many captures */
};

struct sh_match {
	struct sh_slice subject, pattern; /* without the leading '^' */
	uint64_t steps;                   /* left; counts down over all tries of one find, match, gmatch or gsub */
	enum sh_match_error error;
	int index; /* of CAPTURE_INDEX */
	int level; /* captures so far */
	int depth; /* nested calls left */
	struct {
		const char *at;
		ptrdiff_t len; /* or one of the two below */
	} capture[SH_MATCH_CAPTURES];
};

enum { SH_MATCH_OPEN = -1, SH_MATCH_POSITION = -2 };

/* Steps that one call may take: linear in what it looks at. */
static inline uint64_t sh_match_budget(size_t subject_len)
{
	return 100000 + 32 * (uint64_t)subject_len;
}

/* Tries at one place of the subject. Its end, or NULL: no match (error SH_MATCH_OK) or an error. */
const char *sh_match_at(struct sh_match *m, const char *at);

#endif
