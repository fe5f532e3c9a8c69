/* What the object needs from the process that it was loaded into: Lua and libosip2 from inside the object, OpenSSL 3
 * or later from one file. A host that carries another Lua or BoringSSL can take over single symbols (the dynamic
 * linker prefers the executable); such a mixture crashes later, at an odd place, so it is refused here. */
#ifndef SH_GUARD_H
#define SH_GUARD_H

#include <stddef.h>

/* 0 or -ENOTSUP with words in `error`. Any thread; looks only. */
int sh_guard_check(char *error, size_t size);

#endif
