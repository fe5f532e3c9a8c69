/* siphook on the virtual network, whole but for the host: endpoints UDP and TCP on 10.0.0.1:5060, a user agent per
 * worker, the script runtime, a location store, digest authentication. Its dial plan is text that the test gives; the
 * phones around it (phone.h) are the witnesses.
 *
 *     struct world *w = world_create(NULL, "local sip = require 'siphook' ...");
 *     struct phone *alice = world_phone(w, "alice", "10.0.0.2");
 *     ...
 *     world_destroy(w);
 *
 * world_destroy is a check too: every call, leg, request, hook and transaction must have ended by then or end by itself
 * within twenty virtual minutes; and no error may have been logged that world_expect_log did not ask for. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "phone.h"
#include "registrar/auth.h"
#include "registrar/location.h"
#include "script/script.h"
#include "script/shared.h"

enum { WORLD_WORKERS = 4, WORLD_PHONES = 16, WORLD_FILES = 8, WORLD_LINES = 512, WORLD_GENERATIONS = 64 };

struct world_options {
	struct sh_sim_options sim; /* seed, loss ... ; delay_max 0: 1 ms each way */
	unsigned workers;          /* 0: 1 */
	bool no_tcp;               /* no TCP endpoint */
	bool as_served;            /* states of scripts as a server has them: not the ordered ones of a simulation */
	const struct sh_ua_config *ua; /* NULL: the default, with the product "siphook/test" */
	struct sh_transport_config transport;
	const struct sh_pair *pairs; /* sip.config */
	unsigned npairs;
	unsigned hooks_max, timers_max; /* 0: the usual */
	uint64_t total_max;             /* instructions of a hook; 0: the usual */
	uint64_t deadline;              /* of the hooks of a former generation; 0: the usual */
	bool verbose; /* log lines go to stderr as they come */
};

struct world_line {
	enum sh_log_level level;
	bool expected;
	char *text;
};

struct world {
	struct sh_sim *sim;
	unsigned workers;
	struct sh_env *env[WORLD_WORKERS];
	struct sh_ua *ua[WORLD_WORKERS];
	struct sh_runtime *runtime[WORLD_WORKERS];
	struct sh_script *script;
	struct sh_location *location;
	struct sh_auth *auth;
	struct sh_shared *shared;
	struct sh_log log;
	bool verbose, forgiving; /* forgiving: errors in the log are not looked at */
	struct phone *phones[WORLD_PHONES];
	unsigned nphones;
	struct {
		const char *path;
		char *text;
	} files[WORLD_FILES];
	unsigned reads; /* of files */
	struct world_line lines[WORLD_LINES];
	unsigned nlines;
	struct sh_generation *retired[WORLD_GENERATIONS];
	unsigned nretired;
	struct sh_timer second; /* what the engine does every second */
	long fault;             /* sweep: memory is back after the event in which this allocation failed; -1: not so */
};

/* options NULL: one worker, no loss, 1 ms each way, seed 1. script is the file "dialplan.lua". */
struct world *world_create(const struct world_options *options, const char *script);
void world_destroy(struct world *w);
/* The same in the middle of whatever goes on: how an engine stops whose deadline is over. */
void world_abandon(struct world *w);

/* A phone at ip:5060 that is user@example.org and sends what has no route of its own to 10.0.0.1:5060 by UDP. */
struct phone *world_phone(struct world *w, const char *user, const char *ip);

/* Another file of the script, "lib.lua" for require "lib". text is copied; NULL takes the file away. */
void world_file(struct world *w, const char *path, const char *text);

/* Loads text as the next generation and publishes it. It must load. */
void world_reload(struct world *w, const char *text);
/* The same; what sh_generation_load says, and its error. Nothing is published then. */
int world_try_reload(struct world *w, const char *text, char *error, size_t size);
/* Back to the text before the present generation. */
int world_rollback(struct world *w, char *error, size_t size);

void world_advance(struct world *w, uint64_t us);
/* Nothing is left of any call or request: no call, leg, request, hook, transaction. */
bool world_idle(const struct world *w);
/* Lets time pass until it is idle; fails the test after `limit` microseconds. */
void world_settle_at(struct world *w, uint64_t limit, const char *file, int line);
#define world_settle(w, limit) world_settle_at((w), (limit), __FILE__, __LINE__)

/* A line of the log contains part and was not expected before. */
void world_expect_log_at(struct world *w, const char *part, const char *file, int line);
#define world_expect_log(w, part) world_expect_log_at((w), (part), __FILE__, __LINE__)
bool world_has_log(const struct world *w, const char *part);
/* What is there so far is of no interest. */
void world_forget_log(struct world *w);

/* Registers a phone: REGISTER, answered by the script with 200. */
void world_register(struct phone *p);

/* The allocation sweep: a fresh world each time, in which `stage` makes the phones. Then `act` runs with the 1st, 2nd, 3rd
 * ... allocation failing, once with all behind it, once with those behind it in the same event of the network only; at
 * most `limit` times. It must not assert what a lack of memory can change. Then memory is back, `leave` (may be NULL)
 * ends what is still there, and the world must become idle. */
void world_sweep(const struct world_options *options, const char *script, void (*stage)(struct world *w),
		 void (*act)(struct world *w), void (*leave)(struct world *w), long limit);

#endif
