/*
 * The thread sanitizer unwinds its shadow stack when a program calls longjmp, but it does not know the fortified name that
 * Debian's liblua was compiled to call: each Lua error would leave the frames that it jumped over on the shadow stack,
 * which overruns after some ten thousand. This gives it the call that it knows. Linked into the tests and the command by
 * VARIANT=tsan only.
 */
#include <setjmp.h>

/* The prototype that setjmp.h does not show. */
__attribute__((noreturn, visibility("default"))) void __longjmp_chk(jmp_buf env, int value);

void __longjmp_chk(jmp_buf env, int value)
{
	longjmp(env, value);
}
