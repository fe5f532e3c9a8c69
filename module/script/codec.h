/* sip.hash(alg, s [, "raw"]), sip.hmac(alg, key, s [, "raw"]), sip.base64.encode/decode, sip.uuid(). alg is "md5",
 * "sha256" or "sha512-256"; results are hex in lower case. */
#ifndef SH_SCRIPT_CODEC_H
#define SH_SCRIPT_CODEC_H

#include <lua.h>

/* Adds them to the table on top of the stack. May raise. */
void sh_codec_open(lua_State *L);

#endif
