/* What a 3xx names to be tried next (RFC 3261 8.1.3.4, 21.3). */
#include "b2bua/fork.h"

/* Without header fields: those are no part of a Request-URI. */
static struct sh_slice bare(struct sh_slice text)
{
	struct sh_uri uri;

	if (sh_uri_parse(&uri, text) == 0 && uri.headers.base)
		text.len = (size_t)(uri.headers.base - 1 - text.base);
	return text;
}

static bool tried(const struct sh_fork *f, struct sh_slice uri)
{
	for (unsigned i = 0; i < f->count; i++)
		if (sh_slice_eq(f->branches[i]->target.uri, uri))
			return true;
	return false;
}

/* The q value of a Contact in thousandths; without one, or with nonsense, 1 (20.10). */
static unsigned q_of(const struct sh_name_addr *contact)
{
	struct sh_slice text;
	int q = sh_param_find(contact->params, SH_LIT("q"), &text) ? sh_qvalue(text) : -1;

	return q < 0 ? 1000 : (unsigned)q;
}

unsigned sh_redirects_read(struct sh_fork *f, bool sips, const struct sh_msg *m, struct sh_redirect *out, unsigned most)
{
	struct sh_name_addr contact;
	unsigned n = 0;

	for (unsigned i = m->first[SH_H_CONTACT]; i; i = m->headers[i - 1].next) {
		struct sh_slice list = sh_msg_value(m, i);

		while (n < most && sh_name_addr_next(&list, &contact) == 0) {
			struct sh_redirect r = {{0}, q_of(&contact)};
			unsigned at = n;

			if (contact.star || sh_is_sips(contact.uri) != sips || tried(f, bare(contact.uri)) ||
			    sh_arena_dup(&f->plan.arena, contact.uri, &r.uri) < 0)
				continue;
			for (unsigned k = 0; k < n; k++)
				if (sh_slice_eq(bare(out[k].uri), bare(r.uri)))
					at = most;
			if (at == most)
				continue;
			for (; at && out[at - 1].q < r.q; at--)
				out[at] = out[at - 1];
			out[at] = r;
			n++;
		}
	}
	return n;
}
