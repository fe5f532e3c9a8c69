/* `sdp`: a session description that a script reads and edits. */
#ifndef SH_SCRIPT_SDP_OBJECT_H
#define SH_SCRIPT_SDP_OBJECT_H

#include <lauxlib.h>

#include "core/slice.h"

void sh_sdp_object_open(lua_State *L);
int sh_sdp_new(lua_State *L);                                            /* sip.sdp(text) */
int sh_sdp_object_push(lua_State *L, struct sh_slice text);              /* 0, or -EINVAL and nothing: it is none */
bool sh_sdp_object_text(lua_State *L, int idx, struct sh_slice *out);    /* as long as it lives and is not edited */
/* An option that is a text or an sdp: absent false; raises for anything else. what: "call:ring". */
bool sh_opt_sdp(lua_State *L, int table, const char *key, const char *what, struct sh_slice *out);

#endif
