/* What sips means (RFC 5630): to a registered contact (5.3; other targets are the script's decision), to a request that contradicts
 * itself (5.1.2), and to who has to hear why. */
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

/* ------------------------------------------------------------------ requests */

static bool has_secure_endpoint(const struct sh_transport *t)
{
	for (unsigned i = 0; i < sh_transport_endpoints(t); i++) {
		const struct sh_endpoint *e = sh_transport_endpoint(t, i);

		if (!e->retired && !e->connect_only && (e->proto == SH_PROTO_TLS || e->proto == SH_PROTO_WSS))
			return true;
	}
	return false;
}

/* The first Contact, and the topmost Record-Route: through them requests would come back in the clear. */
static bool is_in_the_clear(const struct sh_msg *m, enum sh_header_id id)
{
	struct sh_slice list = m->first[id] ? sh_msg_header(m, id) : (struct sh_slice){0};
	struct sh_name_addr first;

	return list.len && !sh_name_addr_next(&list, &first) && !first.star && !sh_is_sips(first.uri);
}

unsigned sh_sips_judge(const struct sh_ua *ua, const struct sh_msg *m, const struct sh_path *from, struct sh_slice *why)
{
	*why = (struct sh_slice){0};
	if (ua->config.sips_anywhere || !sh_is_sips(sh_msg_text(m, m->uri)))
		return 0;
	if (!has_secure_endpoint(ua->transport))
		return 416; /* 5.1.2: not spoken here */
	if (from->proto == SH_PROTO_UDP) {
		*why = SH_LIT("No sips by UDP"); /* 3.1.4 */
		return 400;
	}
	if (m->method == SH_REGISTER || m->method == SH_OPTIONS || !(is_in_the_clear(m, SH_H_CONTACT) || is_in_the_clear(m, SH_H_RECORD_ROUTE)))
		return 0; /* a phone may register a sip contact so, and is not called by sips then */
	*why = SH_LIT("A sips Request-URI Needs a sips Contact and Record-Route");
	return 400;
}

/* ------------------------------------------------------------------ who has to hear why */

unsigned sh_sips_warning(unsigned code, struct sh_slice reason)
{
	if (code != 480)
		return 0;
	return sh_slice_eq(reason, SH_SIPS_NOT_ALLOWED) ? 380 : sh_slice_eq(reason, SH_SIPS_REQUIRED) ? 381 : 0;
}

void sh_put_warning(struct sh_ua *ua, struct sh_writer *w, const struct sh_path *to, unsigned code, struct sh_slice text)
{
	char buf[SH_ADDR_TEXT];
	struct sh_slice host;
	uint16_t port;

	sh_transport_sent_by(ua->transport, to, buf, &host, &port);
	sh_put_lit(w, "Warning: ");
	sh_put_uint(w, code);
	sh_put_char(w, ' ');
	sh_put(w, host);
	sh_put_lit(w, " \"");
	for (size_t i = 0; i < text.len; i++) {
		if (text.base[i] == '"' || text.base[i] == '\\')
			sh_put_char(w, '\\');
		sh_put_char(w, text.base[i]);
	}
	sh_put_lit(w, "\"\r\n");
}
