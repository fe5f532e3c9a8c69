/* Private to json*.c. */
#ifndef SH_SCRIPT_JSON_IMPL_H
#define SH_SCRIPT_JSON_IMPL_H

#include <lua.h>

enum {
	SH_JSON_DEPTH = 100,
};

extern const char sh_json_null; /* its address, a light userdata, is sip.json.null */

int sh_json_decode(lua_State *L); /* upvalue 1: bytes that a text may have */

#endif
