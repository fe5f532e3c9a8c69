/* What the test library in Lua (lua/siphook/) stands on: a table of functions that is given to its files. All may raise. */
#ifndef SH_TRIAL_LUA_H
#define SH_TRIAL_LUA_H

#include <lauxlib.h>

#include "core/slice.h"

struct sh_world;
struct sh_trial_events;

/* world.create{...}: see lua_world.c. Adds its functions to the table on top. */
struct sh_pool_stock;
void sh_trial_world_open(lua_State *L, struct sh_pool_stock *stock);
/* Pushes an object for a world, with what happens in it, that somebody else owns and ends after this state. */
void sh_trial_world_push(lua_State *L, struct sh_world *w, struct sh_trial_events *events);

/* The world of the object at idx; raises when it is something else or closed. */
struct sh_world *sh_trial_world_check(lua_State *L, int idx);

/* What shared stores hold before the script loads: read from the field `shared` of a table, {store = {key = value}}. Pushes one
 * value, in which it lives; its texts stay in the table. May raise. */
struct sh_shared;
struct sh_trial_preset;
struct sh_trial_presets {
	struct sh_trial_preset *list;
	unsigned count;
};
void sh_trial_presets_read(lua_State *L, int table, struct sh_trial_presets *out);
int sh_trial_presets_apply(const struct sh_trial_presets *presets, struct sh_shared *shared); /* does not raise; 0 or -errno */
/* shared_get(world, store, key), shared_set(world, store, key, value [, ttl]), shared_push(...): see lua_shared.c. */
void sh_trial_shared_open(lua_State *L);

/* http(world, fn): see lua_http.c. */
void sh_trial_http_open(lua_State *L);

/* message(text [, stream]) and the class of its result, response(...): see lua_message.c. */
void sh_trial_message_open(lua_State *L);
/* Pushes what came: a message object, or the text where it is no SIP message. */
void sh_trial_message_push(lua_State *L, struct sh_slice text, bool stream);

/* compose(...): see lua_compose.c. */
void sh_trial_compose_open(lua_State *L);

/* What a run of cases is told beside its world. */
struct sh_trial_defaults {
	struct sh_slice folder; /* where dial plans are looked for first, with its last slash */
	uint64_t seed;
	double loss;
	struct sh_pool_stock *stock; /* for the memory of its worlds; NULL: none */
};
/* Makes require "siphook.test" known and leaves the library's inner table on the stack, with its functions run(filter) and
 * selftest(fn, world). */
void sh_trial_library_open(lua_State *L, const struct sh_trial_defaults *defaults);

#endif
