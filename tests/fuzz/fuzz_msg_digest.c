/* Credentials and challenges: what comes out is what a straightforward reading of the parameters gives, and the same
 * again when it is written down rightly quoted; and of that libosip2 reads the same. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>

#include <osipparser2/osip_parser.h>

#include "msg/digest.h"
#include "msg/lex.h"
#include "msg/msg.h"
#include "msg/osip.h"
#include "msg/uri.h"
#include "msg/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The value of a parameter, unquoted; empty when it is not there. The text is known to be well-formed. */
static struct sh_slice param(struct sh_arena *a, struct sh_slice text, struct sh_slice wanted)
{
	const char *p, *end;
	struct sh_slice name, value, out = SH_LIT("");

	assert(sh_msg_unfold(a, text, &text) == 0);
	text = sh_slice_trim(text);
	p = text.base + strlen("Digest ");
	end = text.base + text.len;
	while (p < end) {
		p = sh_lex_lws(p, end);
		if (p < end && *p != ',') {
			assert(sh_lex_param(&p, end, &name, &value) == 0);
			if (sh_slice_ieq(name, wanted))
				assert(sh_unquote(a, value, &out) == 0);
		}
		p += p < end;
	}
	return out;
}

static void put_quoted(struct sh_writer *w, const char *label, struct sh_slice value)
{
	sh_put(w, sh_slice_cstr(label));
	sh_put_lit(w, "=\"");
	for (size_t i = 0; i < value.len; i++) {
		if (value.base[i] == '"' || value.base[i] == '\\')
			sh_put_char(w, '\\');
		sh_put_char(w, value.base[i]);
	}
	sh_put_lit(w, "\", ");
}

static void put_bare(struct sh_writer *w, const char *label, struct sh_slice value)
{
	if (value.len == 0)
		return;
	sh_put(w, sh_slice_cstr(label));
	sh_put_char(w, '=');
	sh_put(w, value);
	sh_put_lit(w, ", ");
}

static void same_text(struct sh_arena *a, const char *theirs, struct sh_slice ours)
{
	struct sh_slice text = SH_LIT("");

	if (theirs)
		assert(sh_unquote(a, sh_slice_cstr(theirs), &text) == 0);
	assert(sh_slice_eq(text, ours));
}

/* libosip2 loses a last value of one octet: the text ends with something that is nobody's. */
static void check_osip(struct sh_arena *a, const struct sh_credentials *c, struct sh_slice text)
{
	char *copy = sh_osip_text(a, text);
	struct sh_arena *before = sh_osip_enter(a);
	osip_authorization_t *o;

	assert(copy && osip_authorization_init(&o) == 0 && osip_authorization_parse(o, copy) == 0);
	sh_osip_leave(before);
	same_text(a, o->username, c->username);
	same_text(a, o->realm, c->realm);
	same_text(a, o->nonce, c->nonce);
	same_text(a, o->uri, c->uri);
	same_text(a, o->response, c->response);
	same_text(a, o->cnonce, c->cnonce);
	same_text(a, o->opaque, c->opaque);
	same_text(a, o->message_qop, c->qop);
	same_text(a, o->nonce_count, c->nc_text);
}

static void check_again(struct sh_arena *a, const struct sh_credentials *c, struct sh_slice algorithm)
{
	static char text[16384];
	struct sh_credentials again;
	struct sh_writer w;

	sh_writer_init(&w, text, sizeof(text));
	sh_put_lit(&w, "Digest ");
	put_quoted(&w, "response", c->response);
	put_bare(&w, "nc", c->nc_text);
	put_quoted(&w, "opaque", c->opaque);
	put_quoted(&w, "uri", c->uri);
	put_quoted(&w, "cnonce", c->cnonce);
	put_bare(&w, "algorithm", algorithm);
	put_quoted(&w, "username", c->username);
	put_quoted(&w, "nonce", c->nonce);
	put_bare(&w, "qop", c->qop);
	put_quoted(&w, "realm", c->realm);
	sh_put_lit(&w, "end=\"end\"");
	assert(!w.full);
	if (w.len > 4000)
		return;
	assert(sh_credentials_parse(a, sh_writer_text(&w), &again) == 0);
	assert(sh_slice_eq(c->username, again.username) && sh_slice_eq(c->realm, again.realm));
	assert(sh_slice_eq(c->nonce, again.nonce) && sh_slice_eq(c->uri, again.uri));
	assert(sh_slice_eq(c->response, again.response) && sh_slice_eq(c->cnonce, again.cnonce));
	assert(sh_slice_eq(c->opaque, again.opaque) && sh_slice_eq(c->qop, again.qop));
	assert(c->nc == again.nc && c->alg == again.alg && c->session == again.session);
	check_osip(a, c, sh_writer_text(&w));
}

static void check_credentials(struct sh_arena *a, struct sh_slice text)
{
	struct sh_credentials c;
	struct sh_digest_hex ha1, response;
	int err = sh_credentials_parse(a, text, &c);

	assert(err == 0 || err == -EINVAL || (err == -E2BIG && text.len > 4000));
	if (err)
		return;
	assert(sh_slice_eq(c.username, param(a, text, SH_LIT("username"))));
	assert(sh_slice_eq(c.realm, param(a, text, SH_LIT("realm"))));
	assert(sh_slice_eq(c.nonce, param(a, text, SH_LIT("nonce"))));
	assert(sh_slice_eq(c.uri, param(a, text, SH_LIT("uri"))));
	assert(sh_slice_eq(c.response, param(a, text, SH_LIT("response"))));
	assert(sh_slice_eq(c.cnonce, param(a, text, SH_LIT("cnonce"))));
	assert(sh_slice_eq(c.opaque, param(a, text, SH_LIT("opaque"))));
	assert(sh_slice_eq(c.qop, param(a, text, SH_LIT("qop"))));
	assert(sh_slice_eq(c.nc_text, param(a, text, SH_LIT("nc"))));
	check_again(a, &c, param(a, text, SH_LIT("algorithm")));
	if (sh_digest_ha1(c.alg, c.username, c.realm, SH_LIT("password"), &ha1))
		assert(c.alg == SH_DIGEST_UNKNOWN);
	else if (sh_digest_response(&c, sh_slice_make(ha1.text, ha1.len), SH_LIT("INVITE"), text, &response) == 0)
		sh_digest_equal(sh_slice_make(response.text, response.len), c.response);
}

static void check_challenge(struct sh_arena *a, struct sh_slice text)
{
	struct sh_challenge c;
	int err = sh_challenge_parse(a, text, &c);

	assert(err == 0 || err == -EINVAL || (err == -E2BIG && text.len > 4000));
	if (err)
		return;
	assert(sh_slice_eq(c.realm, param(a, text, SH_LIT("realm"))));
	assert(sh_slice_eq(c.nonce, param(a, text, SH_LIT("nonce"))));
	assert(sh_slice_eq(c.opaque, param(a, text, SH_LIT("opaque"))));
	assert(sh_slice_eq(c.qop, param(a, text, SH_LIT("qop"))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sh_slice text = sh_slice_make((const char *)data, size);
	struct sh_arena a;

	if (sh_digest_init())
		return 0;
	sh_arena_init(&a, 4096);
	check_credentials(&a, text);
	check_challenge(&a, text);
	sh_arena_finish(&a);
	return 0;
}
