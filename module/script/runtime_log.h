/* sip.log.debug/info/warn/error(fmt, ...): string.format, prefixed with the script's file and line. print and warn go
 * here too. */
#ifndef SH_SCRIPT_RUNTIME_LOG_H
#define SH_SCRIPT_RUNTIME_LOG_H

#include <lua.h>

/* Adds the table `log` to the table on top of the stack. May raise. */
void sh_runtime_log_open(lua_State *L);
/* print and warn into the table on top of the stack. May raise. */
void sh_runtime_log_base(lua_State *L);

#endif
