/* URIs, name-addr values and lists. The input is two texts with a line end between them. */
#include <assert.h>
#include <errno.h>

#include "msg/uri.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct sh_slice whole, struct sh_slice part)
{
	assert(part.len == 0 || (part.base >= whole.base && part.base + part.len <= whole.base + whole.len));
}

static void check_uri(const struct sh_uri *u, struct sh_slice text)
{
	struct sh_slice rest = u->params, name, value;

	assert(u->text.base == text.base && u->text.len == text.len);
	inside(text, u->scheme);
	inside(text, u->user);
	inside(text, u->password);
	inside(text, u->host);
	inside(text, u->params);
	inside(text, u->headers);
	assert(u->scheme.len && u->has_user == (u->user.len > 0));
	assert((u->kind == SH_URI_SIP || u->kind == SH_URI_SIPS) == (u->host.len > 0));
	while (sh_param_next(&rest, &name, &value)) {
		inside(u->params, name);
		inside(u->params, value);
		assert(sh_param_find(u->params, name, NULL));
	}
	assert(sh_uri_equal(u, u));
}

static void check_escapes(struct sh_arena *a, struct sh_slice text)
{
	struct sh_slice plain, escaped, again;

	assert(sh_uri_unescape(a, text, &plain) == 0 && plain.len <= text.len);
	assert(sh_uri_escape_user(a, plain, &escaped) == 0 && escaped.len <= 3 * plain.len);
	assert(sh_uri_unescape(a, escaped, &again) == 0 && sh_slice_eq(plain, again));
	assert(sh_unquote(a, text, &plain) == 0 && plain.len <= text.len);
}

static void check_lists(struct sh_slice text)
{
	struct sh_slice rest = text, element;
	struct sh_name_addr v;
	size_t elements = 0;

	while (sh_list_next(&rest, &element)) {
		assert(element.len && sh_slice_trim(element).len == element.len);
		inside(text, element);
		elements++;
	}
	assert(elements <= text.len);
	for (rest = text; rest.len;) {
		size_t before = rest.len;

		if (sh_name_addr_next(&rest, &v))
			break;
		assert(rest.len < before);
		inside(text, v.text);
		inside(v.text, v.uri);
		inside(v.text, v.display);
		inside(v.text, v.params);
		assert(v.star == (v.uri.len == 0));
	}
	assert(sh_qvalue(text) <= 1000);
	sh_list_has(text, SH_LIT("a"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sh_slice text[2];
	struct sh_uri uri[2] = {{.port = 0}, {.port = 0}};
	bool good[2];
	struct sh_arena a;

	sh_slice_cut(sh_slice_make((const char *)data, size), '\n', &text[0], &text[1]);
	sh_arena_init(&a, 4096);
	for (int i = 0; i < 2; i++) {
		int err = sh_uri_parse(&uri[i], text[i]);

		assert(err == 0 || err == -EINVAL);
		good[i] = err == 0;
		if (good[i])
			check_uri(&uri[i], text[i]);
		check_escapes(&a, text[i]);
		check_lists(text[i]);
	}
	if (good[0] && good[1])
		assert(sh_uri_equal(&uri[0], &uri[1]) == sh_uri_equal(&uri[1], &uri[0]));
	sh_arena_finish(&a);
	return 0;
}
