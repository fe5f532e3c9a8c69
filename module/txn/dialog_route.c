/* Route sets: from Record-Route, and into requests (12.1, 12.2.1.1, 16.12.1). */
#include "txn/dialog_impl.h"

/* --- from Record-Route ------------------------------------------------------------------------ */

/* Takes all Record-Route values, one by one. False at the end. */
struct walk {
	const struct sh_msg *m;
	unsigned field; /* index + 1 */
	struct sh_slice rest;
};

static struct walk walk_start(const struct sh_msg *m)
{
	unsigned first = m->first[SH_H_RECORD_ROUTE];

	return (struct walk){m, first, first ? sh_msg_value(m, first) : SH_LIT("")};
}

/* 1: a value; 0: no more; -EBADMSG. */
static int walk_next(struct walk *w, struct sh_name_addr *out)
{
	while (w->rest.len == 0 && w->field) {
		w->field = w->m->headers[w->field - 1].next;
		if (w->field)
			w->rest = sh_msg_value(w->m, w->field);
	}
	if (w->rest.len == 0)
		return 0;
	return sh_name_addr_next(&w->rest, out) || out->star ? -EBADMSG : 1;
}

int sh_dialog_check_routes(const struct sh_msg *m)
{
	struct walk w = walk_start(m);
	struct sh_name_addr v;
	struct sh_uri uri;
	int more;

	while ((more = walk_next(&w, &v)) > 0)
		if (sh_uri_parse(&uri, v.uri) || (uri.kind != SH_URI_SIP && uri.kind != SH_URI_SIPS))
			return -EBADMSG;
	return more;
}

/* Somebody forgot the brackets: what looks like parameters of the header field belongs to the URI ("lr" above all). */
static bool is_bare(const struct sh_name_addr *v)
{
	return v->uri.base == v->text.base || v->uri.base[-1] != '<';
}

static size_t route_len(const struct sh_name_addr *v)
{
	return v->text.len + (is_bare(v) ? 2 : 0);
}

static void put_route(struct sh_writer *w, const struct sh_name_addr *v)
{
	if (is_bare(v))
		sh_put_char(w, '<');
	sh_put(w, v->text);
	if (is_bare(v))
		sh_put_char(w, '>');
}

size_t sh_dialog_routes_room(const struct sh_msg *m)
{
	struct walk w = walk_start(m);
	struct sh_name_addr v;
	size_t room = 0;

	while (walk_next(&w, &v) > 0)
		room += route_len(&v) + (room ? 2 : 0);
	return room;
}

struct sh_slice sh_dialog_copy_routes(char *out, size_t room, const struct sh_msg *m, bool reverse)
{
	struct walk w = walk_start(m);
	struct sh_name_addr v;
	size_t done = 0;

	while (walk_next(&w, &v) > 0) {
		size_t len = route_len(&v), before = done ? 2 : 0;
		struct sh_writer to;

		if (reverse) { /* from the end: value, then the comma that follows it */
			sh_writer_init(&to, out + room - done - before - len, len + before);
			put_route(&to, &v);
			sh_put(&to, sh_slice_make(", ", before));
		} else {
			sh_writer_init(&to, out + done, len + before);
			sh_put(&to, sh_slice_make(", ", before));
			put_route(&to, &v);
		}
		done += len + before;
	}
	return sh_slice_make(out, room);
}

/* --- into requests ---------------------------------------------------------------------------- */

/* The first route and what follows it. False: there is none, or it is no route at all (a preset that nobody checked).
 */
static bool first_route(const struct sh_dialog *d, struct sh_uri *uri, struct sh_slice *others)
{
	struct sh_name_addr v;

	*others = sh_dialog_routes(d);
	return others->len && !sh_name_addr_next(others, &v) && !sh_uri_parse(uri, v.uri);
}

static bool is_loose(const struct sh_uri *uri)
{
	return sh_param_find(uri->params, SH_LIT("lr"), NULL);
}

/* A route as Request-URI: without what may not stand there, the method parameter and header fields (19.1.1 table 1). */
static void put_request_uri(struct sh_writer *w, const struct sh_uri *uri)
{
	struct sh_slice rest = uri->params, name, value;
	const char *end = uri->params.len     ? uri->params.base - 1
			  : uri->headers.base ? uri->headers.base - 1
					      : uri->text.base + uri->text.len;

	sh_put(w, sh_slice_make(uri->text.base, (size_t)(end - uri->text.base)));
	while (sh_param_next(&rest, &name, &value)) {
		if (sh_slice_ieq(name, SH_LIT("method")))
			continue;
		sh_put_char(w, ';');
		sh_put(w, name);
		if (value.base) {
			sh_put_char(w, '=');
			sh_put(w, value);
		}
	}
}

struct sh_slice sh_dialog_next_hop(const struct sh_dialog *d)
{
	struct sh_slice others;
	struct sh_uri uri;

	return first_route(d, &uri, &others) ? uri.text : sh_dialog_target(d);
}

static void put_party(struct sh_writer *w, enum sh_header_id id, struct sh_slice name, struct sh_slice tag)
{
	sh_put(w, sh_header_name(id));
	sh_put_lit(w, ": ");
	sh_put(w, name);
	if (tag.len) {
		sh_put_lit(w, ";tag=");
		sh_put(w, tag);
	}
	sh_put_lit(w, "\r\n");
}

static uint32_t take_cseq(struct sh_dialog *d, struct sh_slice method, uint32_t cseq)
{
	if (cseq == 0) {
		cseq = ++d->local_cseq;
		if (sh_slice_eq(method, SH_LIT("INVITE")))
			d->invite_cseq = cseq;
	}
	return cseq;
}

/* Request-URI and Route by 12.2.1.1. */
static void put_target(const struct sh_dialog *d, struct sh_slice method, struct sh_writer *line,
		       struct sh_writer *rest)
{
	struct sh_slice others;
	struct sh_uri first;

	if (!first_route(d, &first, &others)) {
		sh_put_request_line(line, method, sh_dialog_target(d));
		return;
	}
	if (is_loose(&first)) {
		sh_put_request_line(line, method, sh_dialog_target(d));
		sh_put_header(rest, SH_H_ROUTE, sh_dialog_routes(d));
		return;
	}
	sh_put(line, method);
	sh_put_char(line, ' ');
	put_request_uri(line, &first);
	sh_put_lit(line, " SIP/2.0\r\n");
	sh_put_lit(rest, "Route: ");
	others = sh_slice_trim(others);
	if (others.len) {
		sh_put(rest, others);
		sh_put_lit(rest, ", ");
	}
	sh_put_char(rest, '<');
	sh_put(rest, sh_dialog_target(d));
	sh_put_lit(rest, ">\r\n");
}

void sh_dialog_put_request(struct sh_dialog *d, struct sh_slice method, uint32_t cseq, unsigned max_forwards,
			   struct sh_writer *line, struct sh_writer *rest)
{
	cseq = take_cseq(d, method, cseq);
	put_target(d, method, line, rest);
	sh_put_header_uint(rest, SH_H_MAX_FORWARDS, max_forwards);
	put_party(rest, SH_H_FROM, sh_dialog_local(d), sh_slice_make(d->local_tag, SH_TAG_LEN));
	put_party(rest, SH_H_TO, sh_dialog_remote(d), sh_dialog_remote_tag(d));
	sh_put_header(rest, SH_H_CALL_ID, sh_dialog_call_id(d));
	sh_put_lit(rest, "CSeq: ");
	sh_put_uint(rest, cseq);
	sh_put_char(rest, ' ');
	sh_put(rest, method);
	sh_put_lit(rest, "\r\n");
}
