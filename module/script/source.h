/* The text of a generation: the files of the script's folder as they were when it was loaded, each read once, for all
 * workers. A source outlives its generation while one may be asked to go back to it. Counted; immutable after its
 * generation has loaded. */
#ifndef SH_SCRIPT_SOURCE_H
#define SH_SCRIPT_SOURCE_H

#include <stdatomic.h>

#include "script/vm.h"

enum {
	SH_SOURCE_HASH = 16,      /* hex digits of its name */
	SH_SOURCE_FILES = 500,    /* more, or more bytes, are read when they are required */
	SH_SOURCE_BYTES = 8 << 20,
	SH_SOURCE_KEPT = 8        /* how far back one can go */
};

struct sh_source_file {
	char *path, *text;
	size_t len;
	struct sh_vm_stamp stamp;
};

struct sh_source {
	_Atomic unsigned refs;
	struct sh_source *before; /* what was in use when this came: counted; NULL */
	struct sh_source_file *files;
	size_t count, size;
	char hash[SH_SOURCE_HASH + 1]; /* SHA-256 of names and texts, its beginning; after sh_source_seal() */
};

/* Reads all *.lua of the folder of `path`, and of folders in it. 0 or -ENOMEM; what cannot be read is asked for again
 * when it is required, and complained about then. */
int sh_source_create(struct sh_source **out, const struct sh_vm_world *world, const char *path);
struct sh_source *sh_source_ref(struct sh_source *s); /* NULL is fine */
void sh_source_unref(struct sh_source *s);            /* NULL is fine */

/* As sh_vm_world.read: from what is there, or from the world, once. A copy. */
int sh_source_read(struct sh_source *s, const struct sh_vm_world *world, const char *path, char **text, size_t *len,
		   struct sh_vm_stamp *stamp);
int sh_source_seal(struct sh_source *s); /* makes the hash. 0 or -errno */
/* s takes the place of `old`, which becomes the one to go back to. */
void sh_source_follow(struct sh_source *s, struct sh_source *old);

#endif
