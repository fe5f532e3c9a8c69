#include "engine/secrets.h"

#include <errno.h>

#include "core/alloc.h"
#include "msg/msg.h"

enum { TRIES_MAX = 5000, SECRET_MAX = 128 };

/* ------------------------------------------------------------------ the proof */

static bool proves(const struct sh_credentials *c, struct sh_slice ha1, struct sh_slice method, struct sh_slice body)
{
	struct sh_digest_hex response;

	return sh_digest_response(c, ha1, method, body, &response) == 0 &&
	       sh_digest_equal(sh_slice_make(response.text, response.len), c->response);
}

static bool is_secret(struct sh_secrets *s, struct sh_slice word)
{
	unsigned n = s->nshown < SH_SECRETS_SHOWN ? s->nshown : SH_SECRETS_SHOWN;

	if (word.len == 0 || word.len > SECRET_MAX)
		return false;
	for (unsigned i = 0; i < n && s->tries; i++) {
		const struct sh_credentials *c = &s->shown[i].credentials;
		struct sh_digest_hex ha1;

		s->tries--;
		if (sh_digest_ha1(c->alg, c->username, c->realm, word, &ha1) < 0)
			continue;
		if (proves(c, sh_slice_make(ha1.text, ha1.len), s->shown[i].method, s->shown[i].body) ||
		    (word.len == ha1.len && proves(c, word, s->shown[i].method, s->shown[i].body)))
			return true;
	}
	return false;
}

void sh_secrets_learn(struct sh_secrets *s, struct sh_slice message)
{
	static const enum sh_header_id fields[] = {SH_H_AUTHORIZATION, SH_H_PROXY_AUTHORIZATION};
	struct sh_msg m;

	if (sh_msg_scan(&m, message.base, message.len, false, NULL) < 0 || !m.is_request)
		return;
	for (unsigned f = 0; f < 2; f++)
		for (unsigned i = m.first[fields[f]]; i; i = m.headers[i - 1].next) {
			unsigned at = s->nshown % SH_SECRETS_SHOWN;

			if (sh_credentials_parse(&s->arena, sh_msg_value(&m, i), &s->shown[at].credentials) < 0)
				continue;
			s->shown[at].method = sh_msg_text(&m, m.method_name);
			s->shown[at].body = sh_msg_text(&m, m.body);
			s->nshown++;
		}
}

/* ------------------------------------------------------------------ texts */

struct output {
	char *text;
	size_t len;
	bool changed;
};

static void copy(struct output *o, struct sh_slice part)
{
	if (part.len)
		memcpy(o->text + o->len, part.base, part.len);
	o->len += part.len;
}

static bool hides(struct sh_secrets *s, struct output *o, struct sh_slice word)
{
	if (!is_secret(s, word))
		return false;
	copy(o, SH_LIT("?"));
	o->changed = true;
	return true;
}

/* Up to the first of these characters. */
static struct sh_slice cut_word(struct sh_slice *rest, const char *ends)
{
	struct sh_slice word = {rest->base, 0};

	while (word.len < rest->len && !(rest->base[word.len] && strchr(ends, rest->base[word.len])))
		word.len++;
	rest->base += word.len;
	rest->len -= word.len;
	return word;
}

static void cut_end(struct output *o, struct sh_slice *rest)
{
	if (!rest->len)
		return;
	copy(o, sh_slice_make(rest->base, 1));
	rest->base++;
	rest->len--;
}

static void hide_words(struct sh_secrets *s, struct output *o, struct sh_slice text)
{
	while (text.len) {
		struct sh_slice word = cut_word(&text, " \t\r\n,:;=&|<>{}[]");

		if (!hides(s, o, word))
			copy(o, word);
		cut_end(o, &text);
	}
}

int sh_secrets_hide(struct sh_secrets *s, struct sh_slice text, struct sh_slice *out, char **made)
{
	struct sh_slice rest = text;
	struct output o = {0};

	*out = text;
	*made = NULL;
	if (!s->nshown || !text.len)
		return 0;
	o.text = sh_malloc(text.len);
	if (!o.text)
		return -ENOMEM;
	if (!hides(s, &o, text))
		while (rest.len) {
			struct sh_slice quoted = cut_word(&rest, "\"'");

			if (quoted.len == text.len || !hides(s, &o, quoted))
				hide_words(s, &o, quoted);
			cut_end(&o, &rest);
		}
	if (s->tries == 0) { /* not all of it was tried */
		o = (struct output){.text = o.text, .changed = true};
		copy(&o, SH_LIT("?"));
	}
	if (o.changed) {
		*out = sh_slice_make(o.text, o.len);
		*made = o.text;
	} else {
		sh_free(o.text);
	}
	return 0;
}

/* ------------------------------------------------------------------ life */

void sh_secrets_init(struct sh_secrets *s)
{
	*s = (struct sh_secrets){.tries = TRIES_MAX};
	sh_arena_init(&s->arena, 1024);
}

void sh_secrets_finish(struct sh_secrets *s)
{
	sh_arena_finish(&s->arena);
}
