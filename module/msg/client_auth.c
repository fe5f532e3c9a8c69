/* The digest client: see client_auth.h. */
#include "msg/client_auth.h"

#include <errno.h>
#include <stdio.h>

#include "core/alloc.h"
#include "msg/uri.h"

enum { CNONCE = 16, MAX_ROUNDS = 4, ROUND_SHIFT = 24 };

enum qop { QOP_NONE, QOP_AUTH, QOP_AUTH_INT };

/* A realm that has challenged us. Texts in `text`. */
struct realm {
	const struct sh_login *login;
	char *text;
	struct sh_slice name, nonce, opaque;
	enum sh_digest_alg alg;
	enum qop qop;
	bool proxy, session;
	uint32_t nc;
	char cnonce[CNONCE];
};

struct sh_client_auth {
	unsigned refs;
	unsigned nlogins;
	struct realm realms[SH_CLIENT_REALMS];
	struct sh_login logins[SH_CLIENT_LOGINS];
	size_t text_len;
	char text[]; /* of the logins */
};

/* ------------------------------------------------------------------ life */

static struct sh_slice keep(char **p, struct sh_slice s)
{
	struct sh_slice out = {*p, s.len};

	if (s.len)
		memcpy(*p, s.base, s.len);
	*p += s.len;
	return out;
}

int sh_client_auth_create(struct sh_client_auth **out, const struct sh_login *logins, unsigned count)
{
	struct sh_client_auth *a;
	size_t len = 0;
	char *p;

	if (!count || count > SH_CLIENT_LOGINS)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++) {
		if (!logins[i].user.len)
			return -EINVAL;
		len += logins[i].user.len + logins[i].password.len + logins[i].realm.len;
	}
	a = sh_calloc(1, sizeof(*a) + len);
	if (!a)
		return -ENOMEM;
	a->refs = 1;
	a->nlogins = count;
	a->text_len = len;
	p = a->text;
	for (unsigned i = 0; i < count; i++) {
		a->logins[i].user = keep(&p, logins[i].user);
		a->logins[i].password = keep(&p, logins[i].password);
		a->logins[i].realm = keep(&p, logins[i].realm);
	}
	*out = a;
	return 0;
}

struct sh_client_auth *sh_client_auth_ref(struct sh_client_auth *a)
{
	if (a)
		a->refs++;
	return a;
}

void sh_client_auth_unref(struct sh_client_auth *a)
{
	if (!a || --a->refs)
		return;
	for (unsigned i = 0; i < SH_CLIENT_REALMS; i++)
		sh_free(a->realms[i].text);
	explicit_bzero(a->text, a->text_len);
	sh_free(a);
}

/* ------------------------------------------------------------------ challenges */

static const struct sh_login *login_for(const struct sh_client_auth *a, struct sh_slice realm)
{
	const struct sh_login *any = NULL;

	for (unsigned i = 0; i < a->nlogins; i++) {
		if (a->logins[i].realm.len && sh_slice_eq(a->logins[i].realm, realm))
			return &a->logins[i];
		if (!a->logins[i].realm.len && !any)
			any = &a->logins[i];
	}
	return any;
}

static struct realm *find_realm(struct sh_client_auth *a, struct sh_slice name, bool proxy)
{
	for (unsigned i = 0; i < SH_CLIENT_REALMS; i++)
		if (a->realms[i].text && a->realms[i].proxy == proxy && sh_slice_eq(a->realms[i].name, name))
			return &a->realms[i];
	return NULL;
}

/* What it knew was wrong. The place stays: it is a bit of what requests have seen. */
static void forget_realm(struct realm *r)
{
	sh_free(r->text);
	*r = (struct realm){.text = NULL};
}

/* RFC 7616 3.3: a list of options; auth is enough for us where it is offered. */
static int choose_qop(struct sh_slice options, enum qop *out)
{
	bool integrity = false;
	struct sh_slice one;

	*out = QOP_NONE;
	if (!options.len)
		return 0;
	while (sh_list_next(&options, &one)) {
		if (sh_slice_ieq(one, SH_LIT("auth"))) {
			*out = QOP_AUTH;
			return 0;
		}
		integrity = integrity || sh_slice_ieq(one, SH_LIT("auth-int"));
	}
	if (!integrity)
		return -ENOTSUP;
	*out = QOP_AUTH_INT;
	return 0;
}

static int fill_realm(struct realm *r, const struct sh_challenge *c, enum qop qop, const struct sh_login *login, bool proxy,
		      struct sh_random *random)
{
	static const char digits[] = "0123456789abcdef";
	char *text = sh_malloc(c->realm.len + c->nonce.len + c->opaque.len + 1), *p = text;
	uint64_t bits = sh_random_u64(random);

	if (!text)
		return -ENOMEM;
	sh_free(r->text);
	*r = (struct realm){.login = login, .text = text, .alg = c->alg, .qop = qop, .proxy = proxy, .session = c->session};
	r->name = keep(&p, c->realm);
	r->nonce = keep(&p, c->nonce);
	r->opaque = keep(&p, c->opaque);
	for (unsigned i = 0; i < CNONCE; i++, bits >>= 4)
		r->cnonce[i] = digits[bits & 15];
	return 0;
}

/* One challenge of the response. 0, or why it is of no use. `fresh`: bits of the realms that this response has set. */
static int learn(struct sh_client_auth *a, const struct sh_challenge *c, bool proxy, struct sh_random *random, uint32_t seen,
		 uint32_t *fresh)
{
	const struct sh_login *login = login_for(a, c->realm);
	struct realm *r = find_realm(a, c->realm, proxy);
	enum qop qop;
	uint32_t bit = r ? 1U << (r - a->realms) : 0;
	int err;

	if (bit & *fresh)
		return 0; /* one above it is taken already */
	if (c->alg == SH_DIGEST_UNKNOWN || choose_qop(c->qop, &qop))
		return -ENOTSUP;
	if (!login)
		return -EACCES;
	if ((bit & seen) && !c->stale) { /* what we know was tried */
		forget_realm(r);
		return -EACCES;
	}
	for (unsigned i = 0; !r && i < SH_CLIENT_REALMS; i++)
		if (!a->realms[i].text)
			r = &a->realms[i];
	if (!r)
		return -EACCES;
	err = fill_realm(r, c, qop, login, proxy, random);
	if (err)
		return err;
	*fresh |= 1U << (r - a->realms);
	return 0;
}

int sh_client_auth_learn(struct sh_client_auth *a, const struct sh_msg *response, struct sh_random *random,
			 uint32_t *seen)
{
	static const enum sh_header_id fields[] = {SH_H_WWW_AUTHENTICATE, SH_H_PROXY_AUTHENTICATE};
	uint32_t fresh = 0, rounds = *seen >> ROUND_SHIFT;
	struct sh_arena arena;
	int result = -EBADMSG;

	if (rounds >= MAX_ROUNDS)
		return -EACCES;
	sh_arena_init(&arena, 2048);
	for (unsigned f = 0; f < 2; f++) {
		for (unsigned i = response->first[fields[f]]; i; i = response->headers[i - 1].next) {
			struct sh_challenge c;
			int err = sh_challenge_parse(&arena, sh_msg_value(response, i), &c);

			if (err == -EINVAL || err == -E2BIG) /* another scheme, or broken */
				continue;
			if (!err)
				err = learn(a, &c, f == 1, random, *seen, &fresh);
			if (err == -ENOMEM) {
				sh_arena_finish(&arena);
				return err;
			}
			if (err && (result == -EBADMSG || err == -EACCES))
				result = err;
		}
	}
	sh_arena_finish(&arena);
	if (!fresh)
		return result;
	*seen = ((*seen | fresh) & ((1U << ROUND_SHIFT) - 1)) | (rounds + 1) << ROUND_SHIFT;
	return 0;
}

/* ------------------------------------------------------------------ credentials */

bool sh_client_auth_ready(const struct sh_client_auth *a)
{
	for (unsigned i = 0; i < SH_CLIENT_REALMS; i++)
		if (a->realms[i].text)
			return true;
	return false;
}

static void put_quoted(struct sh_writer *w, struct sh_slice s)
{
	sh_put_char(w, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.base[i] == '"' || s.base[i] == '\\')
			sh_put_char(w, '\\');
		sh_put_char(w, s.base[i]);
	}
	sh_put_char(w, '"');
}

static int put_realm(struct realm *r, struct sh_writer *w, struct sh_slice method, struct sh_slice uri,
		     struct sh_slice body)
{
	static const struct sh_slice qops[] = {{"", 0}, {"auth", 4}, {"auth-int", 8}};
	struct sh_credentials c = {.username = r->login->user, .realm = r->name, .nonce = r->nonce, .uri = uri,
				   .qop = qops[r->qop], .alg = r->alg, .session = r->session};
	struct sh_digest_hex ha1, response;
	char nc[9];
	int err;

	snprintf(nc, sizeof(nc), "%08x", ++r->nc);
	c.cnonce = sh_slice_make(r->cnonce, CNONCE);
	c.nc = r->nc;
	c.nc_text = sh_slice_make(nc, 8);
	err = sh_digest_ha1(r->alg, r->login->user, r->name, r->login->password, &ha1);
	if (!err)
		err = sh_digest_response(&c, sh_slice_make(ha1.text, ha1.len), method, body, &response);
	explicit_bzero(&ha1, sizeof(ha1));
	if (err)
		return err;
	sh_put(w, sh_header_name(r->proxy ? SH_H_PROXY_AUTHORIZATION : SH_H_AUTHORIZATION));
	sh_put_lit(w, ": Digest username=");
	put_quoted(w, c.username);
	sh_put_lit(w, ", realm=");
	put_quoted(w, c.realm);
	sh_put_lit(w, ", nonce=");
	put_quoted(w, c.nonce);
	sh_put_lit(w, ", uri=");
	put_quoted(w, uri);
	sh_put_lit(w, ", response=\"");
	sh_put(w, sh_slice_make(response.text, response.len));
	sh_put_lit(w, "\", algorithm=");
	sh_put(w, sh_digest_alg_name(r->alg));
	if (r->session)
		sh_put_lit(w, "-sess");
	if (r->opaque.len) {
		sh_put_lit(w, ", opaque=");
		put_quoted(w, r->opaque);
	}
	if (r->qop != QOP_NONE || r->session) {
		sh_put_lit(w, ", cnonce=\"");
		sh_put(w, c.cnonce);
		sh_put_char(w, '"');
	}
	if (r->qop != QOP_NONE) {
		sh_put_lit(w, ", qop=");
		sh_put(w, c.qop);
		sh_put_lit(w, ", nc=");
		sh_put(w, c.nc_text);
	}
	sh_put_lit(w, "\r\n");
	return 0;
}

void sh_client_auth_put(struct sh_client_auth *a, struct sh_writer *w, struct sh_slice method, struct sh_slice uri,
			struct sh_slice body)
{
	for (unsigned i = 0; i < SH_CLIENT_REALMS; i++)
		if (a->realms[i].text && put_realm(&a->realms[i], w, method, uri, body))
			w->full = true;
}
