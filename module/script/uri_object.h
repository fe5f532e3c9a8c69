/* The URI object of scripts: immutable, its own copy of the text, fields read when asked for.
 *   .scheme .user .password .host .port .params .headers   of the URI, decoded (host with the brackets of IPv6; a
 * parameter without a value is true) .display .tag .field    of `"Bob" <sip:bob@x>;tag=1`: display name, tag, all
 * parameters of the header field .uri                    the bare URI as text tostring(u), u1 == u2 (RFC 3261 19.1.4),
 * u:with{user = "x", params = {lr = true, ob = false}}. No "" .. u: see sandbox.h. */
#ifndef SH_SCRIPT_URI_OBJECT_H
#define SH_SCRIPT_URI_OBJECT_H

#include <lua.h>

#include "msg/uri.h"

enum { SH_URI_OBJECT_MAX = 8192 }; /* bytes of text */

struct sh_uri_object {
	struct sh_uri uri;
	struct sh_name_addr addr; /* addr.text is all of it; display and params empty for a bare URI */
	char text[];
};

/* Makes the metatable and adds the function `uri` to the table on top of the stack. May raise. */
void sh_uri_object_open(lua_State *L);

/* Pushes an object for a URI or a name-addr; 0, or -EINVAL and nothing is pushed. May raise (memory). In a bare URI the
 * parameters are the URI's. */
int sh_uri_object_push(lua_State *L, struct sh_slice text);
/* The same for one value of From, To, Contact ...: the parameters behind a bare URI are the header field's (RFC 3261
 * 20), and line folds are allowed. */
int sh_uri_object_push_field(lua_State *L, struct sh_slice text);

/* The object at idx, or NULL when it is something else. Lives as long as the value. */
const struct sh_uri_object *sh_uri_object_test(lua_State *L, int idx);
/* Raises an argument error otherwise. */
const struct sh_uri_object *sh_uri_object_check(lua_State *L, int idx);
/* A string or an object at idx: its URI as written (without display and tag for an object). False for anything else. */
bool sh_uri_object_text(lua_State *L, int idx, struct sh_slice *out);

#endif
