/* What sips means to a registered contact (RFC 5630 5.3). Other targets are the script's decision. */
#include "b2bua/impl.h"

bool sh_is_sips(struct sh_slice uri)
{
	return sh_slice_istarts(uri, SH_LIT("sips:"));
}

/* A phone that registered by sip is not called by sips: nothing says that the way to it is secure. One that registered by
 * sips is called by the scheme of the call, and by TLS in any case. */
bool sh_sips_admits(const struct sh_call *c, struct sh_target *t, struct sh_arena *a)
{
	bool secure = c->a && c->a->dialog.secure;
	struct sh_slice rest = t->uri;

	if (!t->registered)
		return true;
	if (secure || !sh_is_sips(t->uri))
		return !secure || sh_is_sips(t->uri);
	rest = sh_slice_make(t->uri.base + strlen("sips:"), t->uri.len - strlen("sips:"));
	t->hop = t->uri;
	return sh_arena_printf(a, &t->uri, "sip:%.*s", SH_FMT(rest)) == 0;
}
