#include "core/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

enum { LINE_MAX_BYTES = 1000, MICROSECONDS = 1000000 };

void sh_log_init(struct sh_log *log, enum sh_log_level level, sh_log_fn sink, void *ctx)
{
	log->sink = sink;
	log->ctx = ctx;
	atomic_init(&log->level, (int)level);
}

static bool is_control(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static bool is_utf8_continuation(unsigned char c)
{
	return (c & 0xc0) == 0x80;
}

/* Copies text of n bytes into line (room for LINE_MAX_BYTES and a NUL). Neither an escape nor a UTF-8 character is cut
 * in half. Returns the length. */
static size_t escape(char *line, const char *text, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	size_t len = 0, i = 0;

	for (; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		size_t need = is_control(c) ? 4 : 1;

		if (len + need > LINE_MAX_BYTES)
			break;
		if (need == 1) {
			line[len++] = (char)c;
			continue;
		}
		line[len++] = '\\';
		line[len++] = 'x';
		line[len++] = digits[c >> 4];
		line[len++] = digits[c & 15];
	}
	if (i < n && is_utf8_continuation((unsigned char)text[i])) {
		size_t start = len;
		while (start > 0 && len - start < 3 && is_utf8_continuation((unsigned char)line[start - 1]))
			start--;
		if (start > 0 && (unsigned char)line[start - 1] >= 0xc0)
			len = start - 1;
	}
	line[len] = '\0';
	return len;
}

static void write_line(struct sh_log *log, enum sh_log_level level, const char *fmt, va_list args)
{
	char text[LINE_MAX_BYTES + 2], line[LINE_MAX_BYTES + 1];
	int n = vsnprintf(text, sizeof(text), fmt, args);
	size_t len;

	if (n < 0)
		return;
	/* One byte more than a line, so that escape() sees what follows the cut. */
	len = escape(line, text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1);
	log->sink(level, line, len, log->ctx);
}

void sh_log_write(struct sh_log *log, enum sh_log_level level, const char *fmt, ...)
{
	va_list args;

	if (!log->sink || !sh_log_on(log, level))
		return;
	va_start(args, fmt);
	write_line(log, level, fmt, args);
	va_end(args);
}

/* Of several threads that see a new second, one opens its window and reports the old one. Others that come between
 * may be counted in either; the limit is about volume, not about exactness. */
static bool within_limit(struct sh_log *log, enum sh_log_level level, struct sh_log_limit *limit, uint64_t now)
{
	uint64_t second = now / MICROSECONDS + 1; /* 0 is the untouched limit */
	uint64_t seen = atomic_load_explicit(&limit->window, memory_order_relaxed);

	if (seen != second && atomic_compare_exchange_strong(&limit->window, &seen, second)) {
		uint32_t dropped = atomic_exchange(&limit->dropped, 0);
		atomic_store(&limit->used, 0);
		if (dropped > 0)
			sh_log_write(log, level, "%u more lines like the next one were left out", (unsigned)dropped);
	}
	if (atomic_fetch_add(&limit->used, 1) < SH_LOG_LIMIT_PER_SECOND)
		return true;
	atomic_fetch_add(&limit->dropped, 1);
	return false;
}

void sh_log_write_limited(struct sh_log *log, enum sh_log_level level, struct sh_log_limit *limit, uint64_t now,
			  const char *fmt, ...)
{
	va_list args;

	if (!log->sink || !sh_log_on(log, level) || !within_limit(log, level, limit, now))
		return;
	va_start(args, fmt);
	write_line(log, level, fmt, args);
	va_end(args);
}
