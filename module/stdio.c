/* Debian's static Lua and libosip2 are not position independent in one way only: they read the variables stdin, stdout
 * and stderr directly, which a shared object may not do with variables of the C library. The linker renames these
 * references (--wrap) to the variables below. A guest has no business on the host's standard output: what would go
 * there goes to standard error. */
#include <stdio.h>

#define HIDDEN __attribute__((visibility("hidden")))

extern FILE *__real_stdin, *__real_stderr;
extern FILE *__wrap_stdin, *__wrap_stdout, *__wrap_stderr;

HIDDEN FILE *__wrap_stdin, *__wrap_stdout, *__wrap_stderr;

__attribute__((constructor)) static void take_streams(void)
{
	__wrap_stdin = __real_stdin;
	__wrap_stdout = __real_stderr;
	__wrap_stderr = __real_stderr;
}
