/* What a recorded call has learned from outside: what web servers answered to its hooks, and what they found in shared stores. Bounded;
 * what does not fit is told (`cut`). Whoever owns it locks. */
#ifndef SH_ENGINE_OUTSIDE_H
#define SH_ENGINE_OUTSIDE_H

#include "core/env.h"
#include "core/json.h"
#include "core/list.h"
#include "engine/secrets.h"
#include "script/shared.h"

struct sh_outside {
	struct sh_link asks, keys;
	unsigned nasks, nkeys, open; /* open: requests that wait for an answer */
	size_t bytes;
	uint64_t last; /* number of the last request, of all records */
	bool cut;      /* something did not fit */
};

void sh_outside_init(struct sh_outside *o);
void sh_outside_clear(struct sh_outside *o);

/* A request leaves. What its answer is told by; 0: there is no room. Passwords are not kept: neither header fields nor body, nor what
 * stands before an @ in the URL. at: wall clock, microseconds. */
uint64_t sh_outside_ask(struct sh_outside *o, uint64_t at, const struct sh_http_request *rq);
/* r NULL: nobody waits for it any more. */
void sh_outside_answer(struct sh_outside *o, uint64_t ask, uint64_t at, const struct sh_http_response *r);
/* The first use of a key counts: what it held, if that was read. */
void sh_outside_use(struct sh_outside *o, const struct sh_shared_at *at, struct sh_slice key, bool reads);

/* As members of the record: "http" and "shared". Secrets are hidden in values and bodies. */
void sh_outside_put(const struct sh_outside *o, uint64_t began, struct sh_secrets *secrets, struct sh_json *j);

#endif
