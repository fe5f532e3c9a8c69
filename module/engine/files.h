/* Files as scripts load them. Any thread. */
#ifndef SH_ENGINE_FILES_H
#define SH_ENGINE_FILES_H

#include "script/vm.h"

/* The reader of struct sh_vm_world: a regular file of at most 16 MB. ctx is not used. */
int sh_engine_read_file(void *ctx, const char *path, char **text, size_t *len, struct sh_vm_stamp *stamp);

#endif
