/* Private to uri_object.c: the text of a URI from a table of parts, over a given one. */
#ifndef SH_SCRIPT_URI_BUILD_H
#define SH_SCRIPT_URI_BUILD_H

#include "script/uri_object.h"

/* base may be NULL. Reads scheme, user, password, host, port, params, headers, display and tag of the table at idx
 * (raises for other names and wrong types; false takes a part away), escapes what must be. The result is on top of the
 * stack, NUL-terminated; it may still be no URI. */
struct sh_slice sh_uri_build(lua_State *L, const struct sh_uri_object *base, int idx);

#endif
