/* Lists, parameters, name-addr values and quoted strings: see uri.h. */
#include "msg/lex.h"
#include "msg/uri.h"

/* Behind one element of a list whose elements end at `separator`: quoted strings and <...> are skipped whole. An open
 * quote or bracket takes all the rest, so that the walk stays linear. */
static const char *element_end(const char *p, const char *end, char separator)
{
	while (p < end && *p != separator) {
		const char *behind = NULL;

		if (*p == '"')
			behind = sh_lex_quoted(p, end);
		else if (*p == '<')
			behind = memchr(p, '>', (size_t)(end - p));
		else if (*p == '\\')
			behind = end - p > 1 ? p + 2 : end;
		else
			behind = p + 1;
		if (!behind)
			return end;
		p = behind;
	}
	return p;
}

/* The next element that is not empty, without the white space around it. */
static bool next_element(struct sh_slice *rest, struct sh_slice *element, char separator)
{
	const char *p = rest->base, *end = rest->base + rest->len;

	while (p < end) {
		const char *behind = element_end(p, end, separator);
		struct sh_slice found = sh_lex_trim(sh_lex_span(p, behind));

		p = behind < end ? behind + 1 : end;
		if (found.len) {
			*element = found;
			*rest = sh_lex_span(p, end);
			return true;
		}
	}
	*rest = (struct sh_slice){end, 0};
	return false;
}

bool sh_list_next(struct sh_slice *rest, struct sh_slice *element)
{
	return rest->len && next_element(rest, element, ',');
}

bool sh_list_has(struct sh_slice list, struct sh_slice token)
{
	struct sh_slice element;

	while (sh_list_next(&list, &element))
		if (sh_slice_ieq(element, token))
			return true;
	return false;
}

bool sh_param_next(struct sh_slice *rest, struct sh_slice *name, struct sh_slice *value)
{
	struct sh_slice element, n, v;

	if (!rest->len || !next_element(rest, &element, ';'))
		return false;
	sh_slice_cut(element, '=', &n, &v);
	*name = sh_lex_trim(n);
	*value = v.len ? sh_lex_trim(v) : (struct sh_slice){n.base + n.len, 0};
	return true;
}

bool sh_param_find(struct sh_slice params, struct sh_slice name, struct sh_slice *value)
{
	struct sh_slice n, v;

	while (sh_param_next(&params, &n, &v)) {
		if (sh_slice_ieq(n, name)) {
			if (value)
				*value = v;
			return true;
		}
	}
	return false;
}

/* Params of one value: from behind its first ';' to the comma or the end. */
static int skip_params(const char **p, const char *end, struct sh_slice *params)
{
	const char *from = *p + 1, *at = *p;

	while (at < end && *at == ';') {
		struct sh_slice name, value;
		int err;

		at++;
		err = sh_lex_param(&at, end, &name, &value);
		if (err)
			return err;
	}
	*params = sh_lex_trim(sh_lex_span(from, at));
	*p = at;
	return 0;
}

int sh_name_addr_next(struct sh_slice *rest, struct sh_name_addr *out)
{
	const char *end, *from, *p;
	struct sh_name_addr v = {.star = false};
	int err;

	if (rest->len == 0)
		return -EINVAL;
	end = rest->base + rest->len;
	from = sh_lex_lws(rest->base, end);
	p = from;
	if (p < end && *p == '*') {
		const char *behind = sh_lex_lws(p + 1, end);

		v.star = behind == end || *behind == ',' || *behind == ';';
	}
	if (v.star) {
		p = sh_lex_lws(p + 1, end);
		v.display = v.uri = (struct sh_slice){from, 0};
	} else {
		err = sh_lex_address(&p, end, &v.display, &v.uri);
		if (err)
			return err;
	}
	v.params = (struct sh_slice){p, 0};
	if (p < end && *p == ';') {
		err = skip_params(&p, end, &v.params);
		if (err)
			return err;
	}
	if (p < end && *p != ',')
		return -EINVAL;
	v.text = sh_lex_trim(sh_lex_span(from, p));
	p = p < end ? sh_lex_lws(p + 1, end) : end;
	*rest = sh_lex_span(p, end);
	*out = v;
	return 0;
}

int sh_unquote(struct sh_arena *a, struct sh_slice s, struct sh_slice *out)
{
	size_t n = 0;
	char *text;

	if (s.len < 2 || s.base[0] != '"' || s.base[s.len - 1] != '"')
		return sh_arena_dup(a, s, out);
	text = sh_arena_alloc(a, s.len);
	if (!text)
		return -ENOMEM;
	for (size_t i = 1; i < s.len - 1; i++) {
		if (s.base[i] == '\\' && i + 1 < s.len - 1)
			i++;
		text[n++] = s.base[i];
	}
	text[n] = '\0';
	*out = sh_slice_make(text, n);
	return 0;
}

int sh_qvalue(struct sh_slice s)
{
	int q, unit = 100;

	if (s.len == 0 || s.len > 5 || (s.base[0] != '0' && s.base[0] != '1') || (s.len > 1 && s.base[1] != '.'))
		return -EINVAL;
	q = (s.base[0] - '0') * 1000;
	for (size_t i = 2; i < s.len; i++, unit /= 10) {
		if (!sh_lex_is(s.base[i], SH_LEX_DIGIT))
			return -EINVAL;
		q += (s.base[i] - '0') * unit;
	}
	return q <= 1000 ? q : -EINVAL;
}
