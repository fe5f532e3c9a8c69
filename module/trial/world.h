/* A world for one dial plan: the engine with its workers on a virtual network, at 198.18.0.1 and 2001:db8:5060::1, port 5060, UDP and TCP (or at another address), and the
 * wire at whose ends a test stands. Time goes on only when somebody lets it. One thread; worlds know nothing of each other.
 *
 *     sh_world_create(&w, &options, error, size);
 *     sh_wire_listen(sh_world_wire(w), &addr, &place);
 *     sh_wire_send(...);
 *     while ((a = sh_world_receive(w, until))) ... sh_wire_drop(a);
 *     sh_world_destroy(w); */
#ifndef SH_TRIAL_WORLD_H
#define SH_TRIAL_WORLD_H

#include "core/log.h"
#include "drivers/sim/sim.h"
#include "engine/engine.h"
#include "script/script.h"
#include "script/shared.h"
#include "trial/wire.h"

struct sh_world;

struct sh_world_options {
	const char *script; /* path */
	const struct sh_pair *config;
	unsigned nconfig, workers;  /* 0 workers: 1 */
	struct sh_sim_options sim;  /* seed, loss ...; no delay: 1 ms each way */
	struct sh_addr address;     /* of the engine; family 0: 198.18.0.1:5060 */
	bool credulous;             /* passwords are not looked at */
	uint64_t wall;              /* microseconds since 1970 at the beginning; 0: 1 January 2026 */
	/* Where scripts are read, as in struct sh_vm_world; NULL: files. */
	int (*read)(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp);
	void *read_ctx;
	int (*prepare)(void *ctx, struct sh_shared *shared); /* before the script loads; may be NULL */
	/* What the script did, and what was logged. */
	void (*trace)(void *ctx, const struct sh_trace *t);
	void (*log)(void *ctx, uint64_t at, enum sh_log_level level, const char *line, size_t len);
	void *ctx;
};

/* 0, or -errno with words ("dialplan.lua:12: ..."). */
int sh_world_create(struct sh_world **out, const struct sh_world_options *options, char *error, size_t size);
void sh_world_destroy(struct sh_world *w); /* whatever goes on; NULL is fine */

struct sh_sim *sh_world_sim(const struct sh_world *w);
struct sh_wire *sh_world_wire(const struct sh_world *w);
struct sh_engine *sh_world_engine(const struct sh_world *w);
struct sh_shared *sh_world_shared(const struct sh_world *w); /* what the script's sip.shared opens */
uint64_t sh_world_now(const struct sh_world *w);            /* microseconds */
const struct sh_addr *sh_world_address(const struct sh_world *w);

/* The next arrival at the wire; NULL when it is `until` and nothing has come; or, when it is to be so `quiet`, when no call, leg or
 * transaction is left. */
struct sh_arrival *sh_world_receive(struct sh_world *w, uint64_t until, bool quiet);

/* A verified reload, or a rollback, to its end. The generation, or 0 with words. */
uint64_t sh_world_reload(struct sh_world *w, bool back, char *error, size_t size);

#endif
