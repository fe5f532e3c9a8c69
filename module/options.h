/* The options of create() and check(), read by a table. The result borrows every string from the caller. */
#ifndef SH_OPTIONS_H
#define SH_OPTIONS_H

#include "siphook.h"
#include "engine/engine.h"

struct sh_options {
	const char *control;            /* NULL: no control socket */
	struct sh_engine_config engine; /* log and log_ctx are left empty */
	const char **listen;            /* the arrays that `engine` points to */
	const char **certificates, **keys, **origins;
	struct sh_pair *config;
};

/* 0, -ENOMEM or -EINVAL with words in `error`. On failure nothing is to be finished. */
int sh_options_init(struct sh_options *o, const struct siphook_option *options, size_t count, char *error, size_t size);
void sh_options_finish(struct sh_options *o);

#endif
