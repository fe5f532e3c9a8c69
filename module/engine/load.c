/* Loading a generation, and what it must pass before it is used. */
#include "engine/impl.h"

/* On the text that was loaded, whatever stands in the files meanwhile. */
static int run_selftests(struct sh_engine *e, struct sh_generation *g, char *error, size_t size)
{
	struct sh_engine_selftest t = {
	    .script = e->script_path,
	    .config = e->pairs,
	    .nconfig = e->npairs,
	    .read = sh_generation_read,
	    .read_ctx = g,
	    .log = &e->log,
	};

	return e->selftest(&t, error, size);
}

int sh_engine_load(struct sh_engine *e, struct sh_generation **out, bool before, char *error, size_t size)
{
	struct sh_generation *g = NULL;
	int err = before ? sh_generation_load_before(&g, e->script, error, size) : sh_generation_load(&g, e->script, error, size);

	if (!err && e->selftest && sh_generation_selftests(g))
		err = run_selftests(e, g, error, size);
	if (!err)
		err = sh_engine_tls_bind(e, g, error, size);
	if (err) {
		sh_generation_destroy(g);
		return err;
	}
	*out = g;
	return 0;
}
