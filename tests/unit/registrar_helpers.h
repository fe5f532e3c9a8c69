/* What the tests of registrar/ share: a store with a record of its events, and short ways to bind. */
#ifndef REGISTRAR_HELPERS_H
#define REGISTRAR_HELPERS_H

#include "msg_helpers.h"

#include "core/alloc.h"
#include "registrar/location.h"

#define NOW   (UINT64_C(1700000000) * SH_SECOND)
#define ALICE SH_LIT("sip:alice@example.org")

static const struct sh_hash_key test_key = {{1, 2}};

/* The events as text: "+sip:a ~sip:b -sip:c" for added, refreshed, removed; 'x' expired, '!' lost. */
struct diary {
	char text[4096];
	size_t len;
	unsigned counts[5];
};

static inline void note_event(void *ctx, void *by, struct sh_slice aor, const struct sh_contact *c, enum sh_binding_event ev)
{
	(void)by;
	struct diary *d = ctx;

	assert_true(aor.len > 0);
	d->counts[ev]++;
	if (d->len + c->uri.len + 3 > sizeof(d->text))
		return;
	d->len += (size_t)snprintf(d->text + d->len, sizeof(d->text) - d->len, "%s%c%.*s", d->len ? " " : "",
				   "+~-x!"[ev], SH_FMT(c->uri));
}

static inline void assert_diary(struct diary *d, const char *want)
{
	assert_string_equal(d->text, want);
	memset(d, 0, sizeof(*d));
}

/* The contacts of a snapshot, "sip:a sip:b"; the reference is given back. */
#define assert_bound(b, want) check_bound((b), (want), __FILE__, __LINE__)
static inline void check_bound(struct sh_bindings *b, const char *want, const char *file, int line)
{
	char text[4096] = "";
	size_t n = 0;

	for (unsigned i = 0; b && i < b->count; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.*s", i ? " " : "", SH_FMT(b->contacts[i].uri));
	sh_bindings_unref(b);
	if (strcmp(text, want) != 0) {
		print_error("bound is '%s', not '%s'\n", text, want);
		_fail(file, line);
	}
}

static inline struct sh_location *new_location(struct diary *d)
{
	struct sh_location *l = NULL;

	assert_int_equal(sh_location_create(&l, &test_key, d ? note_event : NULL, d), 0);
	return l;
}

#endif
