/* sip.http.get(url, options), .post(url, body, options), .request{...}, .escape(text). */
#ifndef SH_SCRIPT_HTTP_H
#define SH_SCRIPT_HTTP_H

#include <lua.h>

/* Adds the table `http` to the table on top of the stack. May raise. */
void sh_http_lua_open(lua_State *L);

#endif
