/* The other ends of the virtual network: addresses at which a test listens, by UDP and TCP, and all that has arrived there and
 * that nobody has looked at yet, in the order of arrival. No SIP but the framing of streams: what phones are is written in Lua
 * (lua/siphook/). One thread. */
#ifndef SH_TRIAL_WIRE_H
#define SH_TRIAL_WIRE_H

#include "core/env.h"
#include "msg/msg.h"

struct sh_wire;

/* Something that came. data has `len` bytes and a NUL; it belongs to the wire until sh_wire_drop(). */
struct sh_arrival {
	struct sh_link link;
	unsigned place; /* the number that sh_wire_listen gave */
	enum sh_proto proto;
	struct sh_addr remote;
	uint64_t at; /* virtual time, microseconds */
	size_t len;
	char data[];
};

/* env: an environment of the simulation that nobody else uses; it stays the caller's. 0 or -ENOMEM. */
int sh_wire_create(struct sh_wire **out, struct sh_env *env);
void sh_wire_destroy(struct sh_wire *w); /* before the simulation; NULL is fine */

/* From now on UDP and TCP to that address come here. 0 and its number, -EADDRINUSE or -ENOMEM. */
int sh_wire_listen(struct sh_wire *w, const struct sh_addr *addr, unsigned *place);

/* From a place to an address. TCP: over the connection that is open to it, or a new one. What memory or the network refuses is
 * lost, as in life. */
void sh_wire_send(struct sh_wire *w, unsigned place, enum sh_proto proto, const struct sh_addr *to, const char *data,
		  size_t len);
/* Ends the connections of a place. */
void sh_wire_hang_up(struct sh_wire *w, unsigned place);

/* The oldest arrival, or NULL. */
struct sh_arrival *sh_wire_next(const struct sh_wire *w);
void sh_wire_drop(struct sh_arrival *a);

#endif
