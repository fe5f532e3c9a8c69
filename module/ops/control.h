/* The control socket: one request, one answer, one connection.
 *
 * Request: a line of text. Answer: a line of JSON; then the connection is closed.
 *
 *     reload               {"ok":true,"generation":2}, when the reload has ended
 *     reload tls           the same for certificates, keys and authorities alone
 *     rollback             the same, to the text before
 *     status               {"ok":true,"result":{...}}
 *     calls                {"ok":true,"result":...}
 *     registrations        {"ok":true,"result":...}
 *     metrics              {"ok":true,"result":"..."}: text for Prometheus, as one string
 *     hangup ID            {"ok":true}
 *     record [FILTER]      {"ok":true}: the next call is recorded; then, again and again,
 *     recorded             {"ok":true,"result":{"state":"waiting"}}, at last "done" with the record
 *     unrecord             {"ok":true}: it is forgotten
 *     stop                 {"ok":true}; the connection is closed when the server has stopped
 *     anything else        {"ok":false,"error":"..."}
 *
 * It has a thread of its own (all signals blocked), or none: then its descriptor is polled and sh_control_process()
 * called by the host. Bounded: SH_CONTROL_CLIENTS connections, a request of SH_CONTROL_REQUEST bytes, deadlines for all
 * that a client does. */
#ifndef SH_OPS_CONTROL_H
#define SH_OPS_CONTROL_H

#include "core/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sh_engine;
struct sh_control;

enum { SH_CONTROL_CLIENTS = 16, SH_CONTROL_REQUEST = 512 };

struct sh_control_config {
	const char *path;
	bool succeed; /* a living process that serves it loses it to us */
	struct sh_engine *engine; /* must outlive the control socket */
	struct sh_log *log;
	bool thread;
	/* Both are called on the thread of the control socket. NULL: a request to stop is refused. */
	void (*stop_wanted)(void *ctx);
	void (*reloaded)(void *ctx, uint64_t generation); /* after every reload that it asked for and that succeeded */
	void *ctx;
};

/* Takes the path; clients wait until sh_control_serve(). 0 or -errno with words in `error`. */
int sh_control_create(struct sh_control **out, const struct sh_control_config *config, char *error, size_t size);

/* Begins to answer. Cannot fail. */
void sh_control_serve(struct sh_control *c);

/* Without a thread: what to poll for reading and what to call then. */
int sh_control_fd(struct sh_control *c);
void sh_control_process(struct sh_control *c);

/* Joins the thread, removes the path if it still is ours, closes all connections. NULL is fine. */
void sh_control_destroy(struct sh_control *c);

/* For an exit handler: ends the thread, or gives up on it after a moment, and removes the path. Frees nothing. */
void sh_control_park(struct sh_control *c);

#endif
