/* Which header fields pass from one leg to the other. Everything else is the engine's, made anew for each leg. */
#include "b2bua/impl.h"
#include "msg/lex.h"

static const uint16_t classes_of[SH_H_COUNT] = {
	/* what a body means, wherever it goes */
	[SH_H_CONTENT_DISPOSITION] = SH_COPY_BODY,
	[SH_H_CONTENT_ENCODING] = SH_COPY_BODY,
	[SH_H_CONTENT_LANGUAGE] = SH_COPY_BODY,
	[SH_H_MIME_VERSION] = SH_COPY_BODY,
	/* who is calling, as a trusted peer asserts it (RFC 3325) */
	[SH_H_P_ASSERTED_IDENTITY] = SH_COPY_IDENTITY,
	[SH_H_REMOTE_PARTY_ID] = SH_COPY_IDENTITY,
	/* where it came from before: as far as its sender is believed (RFC 5806, RFC 7044) */
	[SH_H_DIVERSION] = SH_COPY_FORWARDED,
	[SH_H_HISTORY_INFO] = SH_COPY_FORWARDED,
	/* the same on both sides, so that a call can be followed through (RFC 7989 7) */
	[SH_H_SESSION_ID] = SH_COPY_INVITE | SH_COPY_RESPONSE | SH_COPY_DIALOG | SH_COPY_REQUEST,
	/* a call */
	[SH_H_ALERT_INFO] = SH_COPY_INVITE | SH_COPY_RESPONSE | SH_COPY_DIALOG,
	[SH_H_CALL_INFO] = SH_COPY_INVITE | SH_COPY_RESPONSE | SH_COPY_DIALOG | SH_COPY_REQUEST,
	[SH_H_GEOLOCATION] = SH_COPY_INVITE | SH_COPY_DIALOG | SH_COPY_REQUEST,
	[SH_H_IDENTITY] = SH_COPY_INVITE,
	[SH_H_PRIORITY] = SH_COPY_INVITE | SH_COPY_REQUEST,
	[SH_H_PRIVACY] = SH_COPY_PRIVACY | SH_COPY_RESPONSE,
	[SH_H_SUBJECT] = SH_COPY_INVITE | SH_COPY_DIALOG | SH_COPY_REQUEST,
	[SH_H_USER_TO_USER] = SH_COPY_INVITE | SH_COPY_RESPONSE | SH_COPY_DIALOG,
	[SH_H_REASON] = SH_COPY_INVITE | SH_COPY_RESPONSE | SH_COPY_DIALOG,
	[SH_H_EXPIRES] = SH_COPY_INVITE | SH_COPY_DIALOG | SH_COPY_REQUEST,
	/* an answer */
	[SH_H_ACCEPT] = SH_COPY_RESPONSE | SH_COPY_DIALOG | SH_COPY_REQUEST,
	[SH_H_ACCEPT_ENCODING] = SH_COPY_RESPONSE,
	[SH_H_ACCEPT_LANGUAGE] = SH_COPY_RESPONSE,
	[SH_H_ALLOW_EVENTS] = SH_COPY_RESPONSE,
	[SH_H_ERROR_INFO] = SH_COPY_RESPONSE,
	[SH_H_MIN_EXPIRES] = SH_COPY_RESPONSE,
	[SH_H_RETRY_AFTER] = SH_COPY_RESPONSE,
	[SH_H_WARNING] = SH_COPY_RESPONSE,
	/* other requests */
	[SH_H_DATE] = SH_COPY_DIALOG | SH_COPY_REQUEST,
	[SH_H_EVENT] = SH_COPY_DIALOG | SH_COPY_REQUEST,
	[SH_H_IN_REPLY_TO] = SH_COPY_INVITE | SH_COPY_DIALOG | SH_COPY_REQUEST,
	[SH_H_INFO_PACKAGE] = SH_COPY_DIALOG,
	[SH_H_RECV_INFO] = SH_COPY_INVITE | SH_COPY_RESPONSE | SH_COPY_DIALOG, /* RFC 6086 5.2 */
	[SH_H_ORGANIZATION] = SH_COPY_REQUEST,
	[SH_H_REFER_SUB] = SH_COPY_DIALOG | SH_COPY_RESPONSE,
	[SH_H_REFER_TO] = SH_COPY_DIALOG,
	[SH_H_REFERRED_BY] = SH_COPY_INVITE | SH_COPY_DIALOG,
	[SH_H_REPLY_TO] = SH_COPY_INVITE | SH_COPY_REQUEST,
	[SH_H_SUBSCRIPTION_STATE] = SH_COPY_DIALOG,
};

bool sh_header_is_engines(enum sh_header_id id)
{
	switch (id) {
	case SH_H_VIA:
	case SH_H_FROM:
	case SH_H_TO:
	case SH_H_CALL_ID:
	case SH_H_CSEQ:
	case SH_H_CONTACT:
	case SH_H_ROUTE:
	case SH_H_RECORD_ROUTE:
	case SH_H_MAX_FORWARDS:
	case SH_H_CONTENT_LENGTH:
	case SH_H_RACK:
	case SH_H_RSEQ:
	case SH_H_AUTHORIZATION:
	case SH_H_PROXY_AUTHORIZATION:
	case SH_H_WWW_AUTHENTICATE:
	case SH_H_PROXY_AUTHENTICATE:
		return true;
	default:
		return false;
	}
}

/* Fields that no name and no pattern of `copy` moves: each leg has its own, or by their class alone: as far as their sender is believed,
 * and who gets them (identity.c). The type goes with the body. */
static bool is_not_copied(enum sh_header_id id)
{
	return classes_of[id] & (SH_COPY_IDENTITY | SH_COPY_FORWARDED) || id == SH_H_CONTENT_TYPE || sh_header_is_engines(id);
}

/* The same field by long and compact name. */
static bool same_field(struct sh_slice name, enum sh_header_id id, struct sh_slice other)
{
	return id != SH_H_OTHER ? sh_header_lookup(other) == id : sh_slice_ieq(name, other);
}

/* It goes on with the line before (RFC 3261 7.3.1). */
static bool is_folded(struct sh_slice line)
{
	return line.len && (line.base[0] == ' ' || line.base[0] == '\t');
}

bool sh_header_line_named(struct sh_slice lines, struct sh_slice name)
{
	enum sh_header_id id = sh_header_lookup(name);
	struct sh_slice line, field, value;

	while (lines.len) {
		sh_slice_cut(lines, '\n', &line, &lines);
		sh_slice_cut(line, ':', &field, &value);
		if (!is_folded(line) && same_field(name, id, sh_slice_trim(field)))
			return true;
	}
	return false;
}

/* Takes the fields that `lines` names out of w, but for those that are added to. */
static void cut_named(struct sh_writer *w, struct sh_slice lines)
{
	struct sh_slice rest = sh_writer_text(w), line, field, value;
	char *to = w->base;
	bool cut = false;

	while (rest.len) {
		bool whole = sh_slice_cut(rest, '\n', &line, &rest);

		if (!is_folded(line))
			cut = sh_slice_cut(line, ':', &field, &value) && sh_header_lookup(field) != SH_H_REQUIRE &&
			      sh_header_line_named(lines, field);
		if (cut)
			continue;
		memmove(to, line.base, line.len + whole);
		to += line.len + whole;
	}
	w->len = (size_t)(to - w->base);
}

void sh_put_said(struct sh_writer *w, struct sh_slice lines)
{
	struct sh_slice line;
	bool said = false;

	if (lines.len && !w->full)
		cut_named(w, lines);
	while (lines.len) {
		sh_slice_cut(lines, '\n', &line, &lines);
		if (!is_folded(line))
			said = sh_slice_find(line, ':') >= 0;
		if (!said)
			continue;
		w->typed = w->typed || sh_slice_istarts(line, SH_LIT("Content-Type:"));
		sh_put(w, line);
		sh_put_char(w, '\n');
	}
}

static bool listed(struct sh_slice list, struct sh_slice name, enum sh_header_id id)
{
	struct sh_slice one;

	while (sh_list_next(&list, &one))
		if (same_field(name, id, one))
			return true;
	return false;
}

static bool matches(struct sh_slice patterns, struct sh_slice name, enum sh_header_id id)
{
	struct sh_slice one;

	while (sh_list_next(&patterns, &one)) {
		if (one.len && one.base[one.len - 1] == '*') {
			one.len--;
			if (sh_slice_istarts(name, one))
				return true;
		} else if (same_field(name, id, one)) {
			return true;
		}
	}
	return false;
}

void sh_put_copied(struct sh_writer *w, const struct sh_msg *m, unsigned classes, struct sh_slice except,
		   struct sh_slice removed, struct sh_slice patterns)
{
	for (unsigned i = 0; i < m->nheaders; i++) {
		const struct sh_header *h = &m->headers[i];
		struct sh_slice name;

		if (!(classes_of[h->id] & classes)) {
			if (!patterns.len || is_not_copied((enum sh_header_id)h->id) ||
			    !matches(patterns, sh_msg_text(m, h->name), (enum sh_header_id)h->id))
				continue;
		}
		name = h->id ? sh_header_name((enum sh_header_id)h->id) : sh_msg_text(m, h->name);
		if (except.len && sh_header_line_named(except, name))
			continue;
		if (removed.len && listed(removed, name, (enum sh_header_id)h->id))
			continue;
		sh_put_header_named(w, name, sh_msg_text(m, h->value));
	}
}

/* What a hop says for itself, and what is written before this is asked for. */
static bool of_one_hop(enum sh_header_id id)
{
	switch (id) {
	case SH_H_VIA:
	case SH_H_FROM:
	case SH_H_TO:
	case SH_H_CALL_ID:
	case SH_H_CSEQ:
	case SH_H_ROUTE:
	case SH_H_RECORD_ROUTE:
	case SH_H_MAX_FORWARDS:
	case SH_H_CONTENT_LENGTH:
	case SH_H_CONTENT_TYPE:
	case SH_H_SERVER:
		return true;
	default:
		return false;
	}
}

/* Of the fields that only a trusted sender may say: those that are not among classes. */
static bool is_not_believed(const struct sh_msg *m, const struct sh_header *h, unsigned classes)
{
	const unsigned guarded = SH_COPY_IDENTITY | SH_COPY_FORWARDED;

	if (!h->id)
		return !(classes & guarded) && sh_slice_istarts(sh_msg_text(m, h->name), SH_LIT("P-Charging-")); /* RFC 7315 */
	return (classes_of[h->id] & guarded) && !(classes_of[h->id] & classes);
}

void sh_put_whole(struct sh_writer *w, const struct sh_msg *m, unsigned classes, struct sh_slice except)
{
	for (unsigned i = 0; i < m->nheaders; i++) {
		const struct sh_header *h = &m->headers[i];
		struct sh_slice name = h->id ? sh_header_name((enum sh_header_id)h->id) : sh_msg_text(m, h->name);

		if (!of_one_hop((enum sh_header_id)h->id) && !is_not_believed(m, h, classes) && !(except.len && sh_header_line_named(except, name)))
			sh_put_header_named(w, name, sh_msg_text(m, h->value));
	}
}

void sh_put_answer_fields(struct sh_writer *w, const struct sh_msg *m, unsigned classes, struct sh_slice except)
{
	/* A failure that says "not so" must say how instead (RFC 3261 8.1.3.5, 21.4.6). */
	static const struct {
		unsigned code;
		enum sh_header_id id;
	} wanted[] = {{405, SH_H_ALLOW}, {420, SH_H_UNSUPPORTED}, {421, SH_H_REQUIRE}};
	struct sh_slice none = {0};

	sh_put_copied(w, m, classes | (m->body.len ? SH_COPY_BODY : 0), except, none, none);
	if (m->status >= 300 && m->status < 400)
		sh_put_copy(w, m, SH_H_CONTACT);
	for (unsigned i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		if (m->status == wanted[i].code && !sh_header_line_named(except, sh_header_name(wanted[i].id)))
			sh_put_copy(w, m, wanted[i].id);
}

void sh_put_failure(struct sh_writer *w, const struct sh_msg *m, struct sh_slice except)
{
	sh_put_answer_fields(w, m, SH_COPY_RESPONSE, except);
}

void sh_put_body_of(struct sh_writer *w, const struct sh_msg *m)
{
	sh_put_body(w, sh_msg_header(m, SH_H_CONTENT_TYPE), sh_msg_text(m, m->body));
}

/* A header field that a URI may ask for: a word about the call, which makes nobody believe, route or do anything. Not who calls or
 * what we can do (RFC 3261 19.1.5), no dialog to be taken over, nothing at which a phone answers by itself. X- fields mean what
 * the next server makes of them (whose account pays): only in a URI of ours. */
static bool harmless(struct sh_slice name, bool ours)
{
	switch (sh_header_lookup(name)) {
	case SH_H_ACCEPT_CONTACT:
	case SH_H_EXPIRES:
	case SH_H_IN_REPLY_TO:
	case SH_H_PRIORITY:
	case SH_H_REASON:
	case SH_H_REJECT_CONTACT:
	case SH_H_REPLY_TO:
	case SH_H_REQUEST_DISPOSITION:
	case SH_H_SUBJECT:
	case SH_H_USER_TO_USER:
		return true;
	case SH_H_OTHER:
		return ours && sh_slice_istarts(name, SH_LIT("X-")) &&
		       sh_lex_run(name.base, name.base + name.len, SH_LEX_TOKEN) == name.base + name.len;
	default:
		return false;
	}
}

static bool one_line(struct sh_slice s)
{
	return sh_slice_find(s, '\r') < 0 && sh_slice_find(s, '\n') < 0 && sh_slice_find(s, '\0') < 0;
}

/* "sip:x;method=INVITE;lr" without its method. */
static int cut_method(struct sh_arena *a, struct sh_slice params, struct sh_slice *uri)
{
	struct sh_slice name, value;

	while (sh_param_next(&params, &name, &value)) {
		const char *end = value.len ? value.base + value.len : name.base + name.len;

		if (!sh_slice_ieq(name, SH_LIT("method")))
			continue;
		return sh_arena_printf(a, uri, "%.*s%.*s", (int)(name.base - 1 - uri->base), uri->base,
				       (int)(uri->base + uri->len - end), end);
	}
	return 0;
}

int sh_target_form(struct sh_target *t, struct sh_arena *a, struct sh_slice uri, bool ours)
{
	enum { FIELDS = 16, ROOM = 2048 }; /* a URI of the network may name thousands: the rest is left out */
	struct sh_slice list, item, name, value;
	struct sh_writer w;
	struct sh_uri parts;
	char *room;
	int err;

	t->uri = uri;
	if ((sh_slice_find(uri, '?') < 0 && sh_slice_find(uri, ';') < 0) || sh_uri_parse(&parts, uri) < 0)
		return 0;
	if (parts.headers.base)
		t->uri.len = (size_t)(parts.headers.base - 1 - uri.base);
	err = cut_method(a, parts.params, &t->uri);
	if (err || !parts.headers.len)
		return err;
	room = sh_arena_alloc(a, t->headers.len + ROOM);
	if (!room)
		return -ENOMEM;
	sh_writer_init(&w, room, t->headers.len + ROOM);
	sh_put(&w, t->headers);
	list = parts.headers;
	for (unsigned n = 0; n < FIELDS && list.len; n++) {
		sh_slice_cut(list, '&', &item, &list);
		sh_slice_cut(item, '=', &name, &value);
		if (name.len + value.len + 4 > w.cap - w.len)
			break;
		if (sh_uri_unescape(a, name, &name) < 0 || sh_uri_unescape(a, value, &value) < 0)
			return -ENOMEM;
		if (!harmless(name, ours) || !one_line(value) || sh_header_line_named(sh_writer_text(&w), name))
			continue;
		sh_put(&w, name);
		sh_put_lit(&w, ": ");
		sh_put(&w, value);
		sh_put_lit(&w, "\r\n");
	}
	t->headers = sh_writer_text(&w);
	return 0;
}

struct sh_body *sh_body_make(struct sh_slice type, struct sh_slice text)
{
	struct sh_body *b = text.len ? sh_malloc(sizeof(*b) + text.len + type.len) : NULL;

	if (b) {
		b->refs = 1;
		b->len = (uint32_t)text.len; /* of a message */
		b->type_len = (uint32_t)type.len;
		memcpy(b->text, text.base, text.len);
		if (type.len)
			memcpy(b->text + text.len, type.base, type.len);
	}
	return b;
}

struct sh_slice sh_body_text(const struct sh_body *b)
{
	return b ? (struct sh_slice){b->text, b->len} : (struct sh_slice){0};
}

struct sh_slice sh_body_type(const struct sh_body *b)
{
	return b ? (struct sh_slice){b->text + b->len, b->type_len} : (struct sh_slice){0};
}

struct sh_body *sh_body_ref(struct sh_body *b)
{
	if (b)
		b->refs++;
	return b;
}

void sh_body_unref(struct sh_body *b)
{
	if (b && --b->refs == 0)
		sh_free(b);
}
