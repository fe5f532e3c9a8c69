/* What a 3xx names to be tried next (RFC 3261 8.1.3.4, 21.3). */
#include "b2bua/fork.h"

struct redirect {
	struct sh_slice uri; /* in the plan's arena */
	unsigned q;          /* thousandths */
};

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

/* The Contacts of a 3xx that were not tried yet, those with the highest q first; how many. None of the other scheme: who asked
 * decides whether less security than he wanted, or more, is right (RFC 5630 5.3). */
static unsigned read_contacts(struct sh_fork *f, bool sips, const struct sh_msg *m, struct redirect *out, unsigned most)
{
	struct sh_name_addr contact;
	unsigned n = 0;

	for (unsigned i = m->first[SH_H_CONTACT]; i; i = m->headers[i - 1].next) {
		struct sh_slice list = sh_msg_value(m, i);

		while (n < most && sh_name_addr_next(&list, &contact) == 0) {
			struct redirect r = {{0}, q_of(&contact)};
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

bool sh_redirect_follow(struct sh_branch *b, const struct sh_msg *m)
{
	enum { MOST = 64, MOST_OF_ONE = 16 };
	struct sh_fork *f = b->fork;
	struct redirect found[MOST_OF_ONE];
	unsigned before = f->count, n, levels = 0;
	struct sh_branch **grown;

	if (!f->redirects || before >= MOST || !m->first[SH_H_CONTACT])
		return false;
	n = read_contacts(f, sh_is_sips(b->target.uri), m, found, MOST_OF_ONE);
	grown = n ? sh_arena_alloc(&f->plan.arena, (before + n) * sizeof(*grown)) : NULL;
	if (!grown)
		return false;
	memcpy(grown, f->branches, before * sizeof(*grown));
	f->branches = grown;
	for (unsigned i = 1; i < n; i++)
		levels += found[i].q != found[i - 1].q;
	for (unsigned i = 0; i < before; i++)
		if (f->branches[i]->target.group > f->group)
			f->branches[i]->target.group += levels;
	for (unsigned i = 0, level = 0; i < n; i++) {
		struct sh_target t = b->target;

		level += i && found[i].q != found[i - 1].q;
		if (sh_target_form(&t, &f->plan.arena, found[i].uri, false) < 0)
			continue;
		t.group = f->group + level;
		t.alternative = false;
		if (t.registered) /* what is known of the phone says nothing of whom it names */
			t.endpoint = -1;
		t.hop = (struct sh_slice){0};
		t.has_path = t.behind_nat = t.registered = false;
		t.other_count = 0;
		t.route = (struct sh_slice){0};
		t.nlogins = 0; /* credentials are not for those whom somebody else names */
		t.delay = 0;
		sh_fork_add(f, &t);
	}
	if (f->count == before)
		return false;
	f->redirects--;
	return true;
}
