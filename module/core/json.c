#include "core/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/encode.h"

void sh_json_init(struct sh_json *j)
{
	*j = (struct sh_json){0};
}

void sh_json_finish(struct sh_json *j)
{
	sh_free(j->text);
	sh_json_init(j);
}

/* Room for n octets behind what is there; NULL: out of memory. */
static char *room(struct sh_json *j, size_t n)
{
	if (j->failed)
		return NULL;
	if (n >= j->cap - j->len) {
		size_t cap = (j->cap + n + 256) * 2;
		char *text = sh_realloc(j->text, cap);

		if (!text) {
			j->failed = true;
			return NULL;
		}
		j->text = text;
		j->cap = cap;
	}
	return j->text + j->len;
}

static void wrote(struct sh_json *j, size_t n)
{
	j->len += n;
	j->text[j->len] = 0;
}

static void put(struct sh_json *j, const char *s, size_t n)
{
	char *to = room(j, n);

	if (!to)
		return;
	memcpy(to, s, n);
	wrote(j, n);
}

static void value(struct sh_json *j)
{
	if (j->comma)
		put(j, ",", 1);
	j->comma = true;
}

void sh_json_open(struct sh_json *j, char bracket)
{
	value(j);
	put(j, &bracket, 1);
	j->comma = false;
}

void sh_json_close(struct sh_json *j, char bracket)
{
	put(j, &bracket, 1);
	j->comma = true;
}

static void quoted(struct sh_json *j, struct sh_slice s)
{
	char *to = s.len < SIZE_MAX / SH_JSON_ROOM ? room(j, SH_JSON_ROOM * s.len + 2) : NULL;
	size_t n;

	if (!to)
		return;
	to[0] = '"';
	n = 1 + sh_json_escape(s, false, to + 1);
	to[n] = '"';
	wrote(j, n + 1);
}

void sh_json_key(struct sh_json *j, const char *name)
{
	value(j);
	quoted(j, sh_slice_cstr(name));
	put(j, ":", 1);
	j->comma = false;
}

void sh_json_text(struct sh_json *j, struct sh_slice s)
{
	value(j);
	quoted(j, s);
}

void sh_json_int(struct sh_json *j, int64_t n)
{
	char buf[24];
	int len = snprintf(buf, sizeof(buf), "%" PRId64, n);

	value(j);
	put(j, buf, (size_t)len);
}

void sh_json_number(struct sh_json *j, double n)
{
	char buf[40];
	int len = isfinite(n) ? snprintf(buf, sizeof(buf), "%.15g", n) : snprintf(buf, sizeof(buf), "null");

	for (int i = 0; i < len && isfinite(n); i++)
		if (!strchr("0123456789+-e", buf[i]))
			buf[i] = '.'; /* the host's locale may have another one */
	value(j);
	put(j, buf, (size_t)len);
}

void sh_json_seconds(struct sh_json *j, uint64_t us)
{
	char buf[32];
	int len = snprintf(buf, sizeof(buf), "%" PRIu64 ".%03u", us / 1000000, (unsigned)(us / 1000 % 1000));

	value(j);
	put(j, buf, (size_t)len);
}

void sh_json_bool(struct sh_json *j, bool b)
{
	value(j);
	put(j, b ? "true" : "false", b ? 4 : 5);
}

void sh_json_join(struct sh_json *j, const struct sh_json *part)
{
	if (part->failed)
		j->failed = true;
	if (!part->len)
		return;
	value(j);
	put(j, part->text, part->len);
}

void sh_json_raw(struct sh_json *j, const char *fmt, ...)
{
	char line[2048];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (n > 0)
		put(j, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
}
