/* What the test library in Lua (lua/siphook/) stands on: a table of functions that is given to its files. All may raise. */
#ifndef SH_TRIAL_LUA_H
#define SH_TRIAL_LUA_H

#include <lauxlib.h>

#include "core/slice.h"

struct sh_world;

/* world.create{...}: see lua_world.c. Adds its functions to the table on top. */
void sh_trial_world_open(lua_State *L);

/* The world of the object at idx; raises when it is something else or closed. */
struct sh_world *sh_trial_world_check(lua_State *L, int idx);

/* http(world, fn): see lua_http.c. */
void sh_trial_http_open(lua_State *L);

/* message(text [, stream]) and the class of its result, response(...): see lua_message.c. */
void sh_trial_message_open(lua_State *L);
/* Pushes what came: a message object, or the text where it is no SIP message. */
void sh_trial_message_push(lua_State *L, struct sh_slice text, bool stream);

/* Makes require "siphook.test" (and the library's inner parts) known; native is the table above, on top: it goes. */
void sh_trial_library_open(lua_State *L);

#endif
