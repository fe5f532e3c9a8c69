/* What the files of the dialog share. Private to txn/. */
#ifndef SH_TXN_DIALOG_IMPL_H
#define SH_TXN_DIALOG_IMPL_H

#include <errno.h>

#include "core/alloc.h"
#include "txn/dialog.h"

/* Every Record-Route is one that we could send to: 0 or -EBADMSG. */
int sh_dialog_check_routes(const struct sh_msg *m);
/* Room for all Record-Route values as one list; 0: there are none. They must have been checked. */
size_t sh_dialog_routes_room(const struct sh_msg *m);
/* The route set: in order for a UAS, reversed for a UAC (12.1.1, 12.1.2). room is what the function above said. */
struct sh_slice sh_dialog_copy_routes(char *out, size_t room, const struct sh_msg *m, bool reverse);

#endif
