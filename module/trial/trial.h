/* Tests of dial plans (`siphook test`): a file of cases in Lua, run on the real engine, a virtual network and a virtual clock.
 * The library that a file asks for with require "siphook.test" is lua/siphook/, which is part of this object.
 *
 * Nothing is shared between two runs: any number of threads may run files at once. sh_digest_init() and sh_osip_init() come
 * before. */
#ifndef SH_TRIAL_TRIAL_H
#define SH_TRIAL_TRIAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How one case ended. Texts are valid during the call. */
struct sh_trial_case {
	const char *name;
	int line;            /* of its t.case in the file */
	const char *failure; /* "plan_test.lua:12: bob expected ..."; NULL: it passed, or was skipped */
	const char *details; /* of a failure: several lines, the ladder of the calls; or NULL */
	double seconds;      /* virtual */
	uint64_t real_us;
	bool skipped;
};

struct sh_trial_options {
	const char *file;
	const char *filter; /* text or Lua pattern in the names of the cases; NULL: all */
	uint64_t seed;      /* of everything that a case leaves to chance; 0: 1 */
	double loss;        /* of datagrams, 0 to 1 */
	void (*result)(void *ctx, const struct sh_trial_case *c);
	void (*print)(void *ctx, const char *text, size_t len); /* print() of the file: one line, no newline */
	void *ctx;
};

/* 0 when the file ran, whatever its cases did. Else -errno with words: "plan_test.lua:3: ...". */
int sh_trial_run(const struct sh_trial_options *o, char *error, size_t size);

#endif
