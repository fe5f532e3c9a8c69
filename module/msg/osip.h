/* The binding of libosip2's parser (osipparser2): what keeps it within our rules.
 *
 *   - It allocates with one hook per process. Ours takes memory from the arena that the calling thread has entered, and
 *     freeing is a no-op: nothing leaks (libosip2 itself does, on some inputs) and nothing outlives the arena. Copy
 *     out what must. A call made outside of sh_osip_enter() .. sh_osip_leave() gets no memory and fails.
 *   - It is initialised once, before any thread: without that it crashes.
 *   - It prints malformed input to stdout unless told not to.
 *   - Some of its loops are quadratic, some read behind the end of the text: callers cap the size, and text goes in
 *     as a copy with SH_OSIP_PADDING NUL octets behind it.
 *
 * Any thread, after sh_osip_init(). */
#ifndef SH_MSG_OSIP_H
#define SH_MSG_OSIP_H

#include "core/arena.h"

enum { SH_OSIP_PADDING = 8 };

/* Any thread, any number of times. 0 or -errno. */
int sh_osip_init(void);

/* Brackets parse calls. Returns the arena that was entered before, to be given to sh_osip_leave(). */
struct sh_arena *sh_osip_enter(struct sh_arena *a);
void sh_osip_leave(struct sh_arena *before);

/* A copy of the text as libosip2 wants it; NULL when memory is out. */
char *sh_osip_text(struct sh_arena *a, struct sh_slice s);

/* A parsed header field lives as long as the arena. 0, -EINVAL or -ENOMEM. The value must have been capped and must not
 * contain a NUL. */
struct osip_www_authenticate;
int sh_osip_www_authenticate(struct sh_arena *a, struct sh_slice value, struct osip_www_authenticate **out);

#endif
