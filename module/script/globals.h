/* Global names that a script uses: found in its compiled chunks while it loads (main file and required ones), judged when
 * it has loaded. A name that is read by some function, and that nobody has made by then, is a spelling mistake that
 * would show itself in the middle of a call. Names that some function asks for (`if name then`, `name or other`) may be
 * missing. One that is set only is an error where it is set, which a script may wait for: that is for a warning. */
#ifndef SH_SCRIPT_GLOBALS_H
#define SH_SCRIPT_GLOBALS_H

#include <lua.h>

#include "core/arena.h"

enum sh_globals_how { SH_GLOBALS_READ, SH_GLOBALS_SET, SH_GLOBALS_ASKED, SH_GLOBALS_TIMER /* no global: of sip.timer */ };

struct sh_globals_use {
	struct sh_globals_use *next;
	const char *name, *chunk; /* "@dialplan.lua" */
	int line;
	enum sh_globals_how how;
};

struct sh_globals {
	struct sh_arena arena;
	struct sh_globals_use *first, **last;
	bool failed; /* out of memory: nothing is judged */
};

void sh_globals_init(struct sh_globals *g);
void sh_globals_finish(struct sh_globals *g);

/* Notes what the Lua function on top of the stack (a whole chunk) and the functions in it use. */
void sh_globals_note(struct sh_globals *g, lua_State *L);
/* In a protected call: raises "file:line: global 'x' is not defined" for the first use that is wrong. */
void sh_globals_check(const struct sh_globals *g, lua_State *L);

#endif
