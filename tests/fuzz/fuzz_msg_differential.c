/* Our scanner beside libosip2's parser: where both accept a message they must read the same out of it, since what two
 * readers understand differently is how requests are smuggled past one of them.
 *
 * What is known to differ, and why we are right (libosip2 5.3.0):
 *
 *   - Status lines without a reason phrase: it takes the first header field for one. Responses are compared only when
 *     they have a reason.
 *   - It decodes %HH in user names into C strings: %00 ends them. Users are compared up to the first NUL. Of a
 *     broken escape ("%Ax") it makes an octet of one digit, we leave it as it is: such users are not compared.
 *   - Request-URIs of other schemes are opaque to it; "sipfoo:" counts as sip to it. Only sip and sips are compared.
 *   - CSeq numbers are text to it, leading zeros and all: compared by value.
 *   - A body without Content-Type is dropped, a multipart body is taken apart: neither is compared. A body that ends
 *     before Content-Length says is an error to us, so that this cannot differ.
 *   - It replaces folds by spaces up to CR LF CR LF, and when the empty line is written otherwise in the body too:
 *     bodies are compared behind CR LF CR LF only. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>

#include <osipparser2/osip_parser.h>

#include "msg/msg.h"
#include "msg/osip.h"
#include "msg/uri.h"
#include "msg/writer.h"

enum { MAX_SIZE = 4000 }; /* it is quadratic: more would only slow the search down */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(struct sh_slice ours, const char *theirs)
{
	return sh_slice_eq(ours, sh_slice_cstr(theirs ? theirs : ""));
}

static void compare_start_line(const struct sh_msg *m, const osip_message_t *o)
{
	assert(m->is_request == (o->sip_method != NULL));
	if (m->is_request)
		assert(same(sh_msg_text(m, m->method_name), o->sip_method));
	else
		assert(m->status == o->status_code);
}

static bool broken_escape(struct sh_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.base[i] == '%' && (s.len - i < 3 || !isxdigit((unsigned char)s.base[i + 1]) ||
					 !isxdigit((unsigned char)s.base[i + 2])))
			return true;
	return false;
}

static bool comparable(const struct sh_uri *u)
{
	return (u->kind == SH_URI_SIP || u->kind == SH_URI_SIPS) && !broken_escape(u->user) &&
	       !broken_escape(u->password);
}

static void compare_request_uri(struct sh_arena *a, const struct sh_msg *m, const osip_message_t *o)
{
	struct sh_slice user, password, host;
	struct sh_uri u;
	uint32_t port = 0;

	if (sh_uri_parse(&u, sh_msg_text(m, m->uri)) || !comparable(&u) || !o->req_uri || o->req_uri->string)
		return;
	assert(sh_slice_ieq(u.scheme, sh_slice_cstr(o->req_uri->scheme)));
	assert(sh_uri_unescape(a, u.user, &user) == 0);
	assert(sh_uri_unescape(a, u.password, &password) == 0);
	assert(same(sh_slice_cstr(user.base), o->req_uri->username));
	assert(same(sh_slice_cstr(password.base), o->req_uri->password));
	host = u.host;
	if (host.base[0] == '[')
		host = sh_slice_make(host.base + 1, host.len - 2);
	assert(same(host, o->req_uri->host));
	if (o->req_uri->port)
		assert(sh_slice_u32(sh_slice_cstr(o->req_uri->port), &port) == 0);
	assert(port == u.port);
}

static void compare_call_id(const struct sh_msg *m, const osip_message_t *o)
{
	struct sh_slice ours = sh_msg_text(m, m->call_id), number = sh_slice_cstr(o->call_id->number);
	struct sh_slice host = sh_slice_cstr(o->call_id->host);

	assert(sh_slice_starts(ours, number));
	if (!o->call_id->host) {
		assert(ours.len == number.len);
		return;
	}
	assert(ours.len == number.len + 1 + host.len && ours.base[number.len] == '@');
	assert(sh_slice_eq(sh_slice_make(ours.base + number.len + 1, host.len), host));
}

static void compare_cseq(const struct sh_msg *m, const osip_message_t *o)
{
	uint32_t number;

	assert(sh_slice_u32(sh_slice_cstr(o->cseq->number), &number) == 0 && number == m->cseq);
	assert(same(sh_msg_text(m, m->cseq_method), o->cseq->method));
}

/* "sip:a<sip:b@c;tag=1>": a display name in front of a URI to us; libosip2 takes all of it for one URI. */
static bool colon_in_display_name(struct sh_slice value)
{
	ptrdiff_t bracket = sh_slice_find(value, '<'), colon = sh_slice_find(value, ':');

	return value.len && value.base[0] != '"' && bracket > 0 && colon >= 0 && colon < bracket;
}

static void compare_tag(struct sh_slice value, struct sh_slice ours, osip_from_t *theirs)
{
	osip_generic_param_t *tag = NULL;

	if (colon_in_display_name(value))
		return;
	osip_from_get_tag(theirs, &tag);
	assert(same(ours, tag ? tag->gvalue : NULL));
}

static void compare_body(const struct sh_msg *m, osip_message_t *o)
{
	osip_body_t *body = NULL;

	if (!o->content_type || !o->content_type->type || osip_strcasecmp(o->content_type->type, "multipart") == 0)
		return;
	if (m->body.off < 4 || memcmp(m->base + m->body.off - 4, "\r\n\r\n", 4) != 0)
		return;
	if (m->body.len == 0) {
		assert(osip_list_size(&o->bodies) == 0 ||
		       (osip_message_get_body(o, 0, &body) >= 0 && body->length == 0));
		return;
	}
	assert(osip_message_get_body(o, 0, &body) >= 0);
	assert(sh_slice_eq(sh_msg_text(m, m->body), sh_slice_make(body->body, body->length)));
}

static void compare(const char *data, size_t size)
{
	static struct sh_msg m;
	osip_message_t *o = NULL;
	struct sh_arena *before, a;
	char *text;

	if (sh_msg_scan(&m, data, size, false, NULL) || (!m.is_request && m.reason.len == 0))
		return;
	sh_arena_init(&a, 16384);
	before = sh_osip_enter(&a);
	text = sh_osip_text(&a, sh_slice_make(data, size));
	assert(text);
	if (osip_message_init(&o) == 0 && osip_message_parse(o, text, size) == 0 && o->call_id && o->cseq && o->from &&
	    o->to) {
		compare_start_line(&m, o);
		compare_request_uri(&a, &m, o);
		compare_call_id(&m, o);
		compare_cseq(&m, o);
		compare_tag(sh_msg_header(&m, SH_H_FROM), sh_msg_text(&m, m.from_tag), o->from);
		compare_tag(sh_msg_header(&m, SH_H_TO), sh_msg_text(&m, m.to_tag), o->to);
		compare_body(&m, o);
	}
	sh_osip_leave(before);
	sh_arena_finish(&a);
}

/* The input as one part of a message that is good otherwise: few random changes of a whole message leave it a message.
 */
static void compare_as_part(const char *data, size_t size)
{
	static const char *const parts[][2] = {
	    {"INVITE ", " SIP/2.0\r\n"},
	    {"Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: ", "\r\n"},
	    {"To: ", "\r\n"},
	    {"Call-ID: ", "\r\n"},
	    {"CSeq: ", " INVITE\r\n"},
	    {"Content-Type: a/b\r\nSubject: ", "\r\n"},
	    {"\r\n", ""},
	};
	static const char *const good[] = {"sip:a@b", "<sip:a@b>;tag=1", "<sip:c@d>", "e@f", "1", "g", "body"};
	enum { PARTS = sizeof(parts) / sizeof(parts[0]) };
	char text[1024];

	for (int which = 0; which < PARTS; which++) {
		struct sh_writer w;

		sh_writer_init(&w, text, sizeof(text));
		for (int i = 0; i < PARTS; i++) {
			sh_put(&w, sh_slice_cstr(parts[i][0]));
			sh_put(&w, i == which ? sh_slice_make(data, size) : sh_slice_cstr(good[i]));
			sh_put(&w, sh_slice_cstr(parts[i][1]));
		}
		if (!w.full)
			compare(text, w.len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > MAX_SIZE || sh_osip_init())
		return 0;
	compare((const char *)data, size);
	if (size < 512)
		compare_as_part((const char *)data, size);
	return 0;
}
