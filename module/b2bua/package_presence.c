/* The presence event package (RFC 3856, documents of RFC 3863): what was published (RFC 3903), several documents as one with
 * all their tuples; else what a script says with sip.notify; else whether somebody is registered. */
#include "b2bua/event.h"
#include "b2bua/impl.h"

static bool find(struct sh_slice text, const char *what, size_t from, size_t *at)
{
	size_t len = strlen(what);

	for (size_t i = from; len <= text.len && i <= text.len - len; i++) {
		if (memcmp(text.base + i, what, len) == 0) {
			*at = i;
			return true;
		}
	}
	return false;
}

enum { DOCUMENT = 48 * 1024 }; /* octets: what has no room is left out, so that nobody's documents keep others from being told */

/* The tuples of a document, as they are. */
static void put_tuples(struct sh_writer *w, struct sh_slice text)
{
	size_t start, end, at = 0;

	while (find(text, "<tuple", at, &start) && find(text, "</tuple>", start, &end)) {
		struct sh_writer before = *w;

		at = end + 8;
		sh_put(w, sh_slice_make(text.base + start, at - start));
		sh_put_char(w, '\n');
		if (w->full || w->len > DOCUMENT)
			*w = before;
	}
}

static void open_document(struct sh_subscription *s, struct sh_writer *w)
{
	sh_put_lit(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<presence xmlns=\"urn:ietf:params:xml:ns:pidf\" entity=\"");
	sh_put_xml(w, s->aor);
	sh_put_lit(w, "\">\n");
}

static void registered(struct sh_subscription *s, struct sh_writer *w)
{
	struct sh_bindings *b = s->ua->location ? sh_location_lookup(s->ua->location, s->aor) : NULL;
	uint64_t now = sh_env_wall(s->ua->env);
	bool open = false;

	for (unsigned i = 0; b && i < b->count; i++)
		open = open || b->contacts[i].expires_at > now;
	sh_bindings_unref(b);
	open_document(s, w);
	sh_put_lit(w, "<tuple id=\"registration\"><status><basic>");
	sh_put(w, open ? SH_LIT("open") : SH_LIT("closed"));
	sh_put_lit(w, "</basic></status><contact>");
	sh_put_xml(w, s->aor);
	sh_put_lit(w, "</contact></tuple>\n</presence>\n");
}

static void state(struct sh_subscription *s, struct sh_writer *w, struct sh_slice *type)
{
	const struct sh_link *list = sh_event_publications(s);
	struct sh_slice body;

	if (list && !sh_list_empty(list)) {
		const struct sh_publication *only = SH_CONTAINER(list->next, struct sh_publication, link);

		*type = sh_body_type(only->body);
		if (list->next == list->prev) {
			sh_put(w, sh_body_text(only->body));
			return;
		}
		*type = SH_LIT("application/pidf+xml");
		open_document(s, w);
		for (const struct sh_link *k = list->prev; k != list; k = k->prev) /* the newest first */
			put_tuples(w, sh_body_text(SH_CONTAINER(k, struct sh_publication, link)->body));
		sh_put_lit(w, "</presence>\n");
		return;
	}
	body = sh_event_body(s, type);
	if (body.len) {
		sh_put(w, body);
		return;
	}
	*type = SH_LIT("application/pidf+xml");
	registered(s, w);
}

const struct sh_package sh_package_presence = {{"presence", 8}, 3600, state, sh_watch_bindings, NULL};
