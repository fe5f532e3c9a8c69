/* string.find, match, gmatch and gsub over match.h: the results and messages of Lua 5.4, plus "pattern too costly"
 * when the budget of one call is spent. The steps are charged to the run's instructions too. */
#ifndef SH_SCRIPT_STRLIB_H
#define SH_SCRIPT_STRLIB_H

#include <lua.h>

/* Replaces the four functions in the table on top of the stack. May raise. */
void sh_strlib_open(lua_State *L);

#endif
