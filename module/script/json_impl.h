/* Private to json*.c. */
#ifndef SH_SCRIPT_JSON_IMPL_H
#define SH_SCRIPT_JSON_IMPL_H

#include <lua.h>

enum {
	SH_JSON_DEPTH = 100,
	SH_JSON_TEXT_MAX = 4 << 20, /* bytes of a text that is read */
};

extern const char sh_json_null; /* its address, a light userdata, is sip.json.null */

int sh_json_decode(lua_State *L);

#endif
