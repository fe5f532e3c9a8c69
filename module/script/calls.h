/* sip.calls() -> list, sip.find_call(id) -> snapshot | nil, "gone". */
#ifndef SH_SCRIPT_CALLS_H
#define SH_SCRIPT_CALLS_H

#include <lua.h>

/* Adds both to the table on top of the stack. May raise. */
void sh_calls_open(lua_State *L);

#endif
