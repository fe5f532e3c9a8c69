/* sip.json.decode(text) -> value | nil, "invalid" or "size", detail; sip.json.encode(value [, {indent=}]) -> text.
 *
 * null in an object is a key that is not there; in a list, and as the whole text, it is sip.json.null. */
#ifndef SH_SCRIPT_JSON_H
#define SH_SCRIPT_JSON_H

#include <lua.h>

enum { SH_JSON_TEXT_MAX = 4 << 20 /* bytes of a text that a dial plan reads */ };

/* Adds the table `json` to the table on top of the stack: texts of up to so many bytes are read. May raise. */
void sh_json_lua_open(lua_State *L, size_t longest);

#endif
