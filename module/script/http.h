/* sip.http.get(url, options), .post(url, body, options), .request{...}, .escape(text). */
#ifndef SH_SCRIPT_HTTP_H
#define SH_SCRIPT_HTTP_H

#include <lua.h>

/* Adds the table `http` to the table on top of the stack. May raise. */
void sh_http_lua_open(lua_State *L);

/* What a script is told when a request has failed with -errno (env.h); "failed" for others. */
const char *sh_http_error_name(int err);

#endif
