/* Tests of dial plans (`siphook test`): a file of cases in Lua, run on the real engine, a virtual network and a virtual clock.
 * The library that a file asks for with require "siphook.test" is lua/siphook/, which is part of this object.
 *
 * Nothing is shared between two runs: any number of threads may run files at once. sh_digest_init() comes before. */
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

enum { SH_TRIAL_MANY = 200 };

struct sh_trial_options {
	const char *file;
	const char *filter; /* text or Lua pattern in the names of the cases; NULL: all */
	uint64_t seed;      /* of everything that a case leaves to chance; 0: 1 */
	double loss;        /* of datagrams, 0 to 1 */
	unsigned part, parts; /* of a file with SH_TRIAL_MANY cases that fit, or more: which of so many parts; of others part 0 is all */
	void (*result)(void *ctx, const struct sh_trial_case *c);
	void (*print)(void *ctx, const char *text, size_t len); /* print() of the file: one line, no newline */
	void *ctx;
};

/* 0 when the file ran, whatever its cases did. Else -errno with words: "plan_test.lua:3: ...". */
int sh_trial_run(const struct sh_trial_options *o, char *error, size_t size);

struct sh_pair;
struct sh_vm_stamp;

/* sip.selftest: loads the script once more for each function that it gave, in a world of its own (one worker, empty stores but for
 * what the top level writes, nobody registered), and runs the function there. */
struct sh_trial_selftest {
	const char *script;
	const struct sh_pair *config; /* sip.config */
	unsigned nconfig;
	/* Where the script is read, as in struct sh_vm_world; NULL: files. */
	int (*read)(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp);
	void *read_ctx;
	void (*details)(void *ctx, const char *text); /* the ladder of one that failed, several lines; may be NULL */
	void *ctx;
};

/* 0: all passed, or there are none. -EINVAL and words: "selftest: dialplan.lua:40: bob expected ...". Any thread, but not one that
 * is inside a script. Takes about a millisecond for each function. */
int sh_trial_selftest(const struct sh_trial_selftest *o, char *error, size_t size);

/* Warnings about a script that loads, one a line: hooks that can never run, timers that nobody names. Empty: none. */
void sh_trial_check(const char *script, const struct sh_pair *config, unsigned nconfig, char *warnings, size_t size);

/* A record of a call (engine/record.c), run again or written down as a test case. */
struct sh_trial_replay {
	const char *record; /* path */
	const char *script; /* path; NULL: the one that the record names */
	const struct sh_pair *config;
	unsigned nconfig;
	uint64_t seed;
	bool make_case;
	void (*print)(void *ctx, const char *line, size_t len);
	void *ctx;
};

/* 0: no decision differs (or the case is written); 1: one does; else -errno with words. */
int sh_trial_replay(const struct sh_trial_replay *o, char *error, size_t size);

#endif
