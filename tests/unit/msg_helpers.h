/* What the tests of msg/ share. */
#ifndef MSG_HELPERS_H
#define MSG_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/arena.h"
#include "msg/msg.h"

#define assert_slice(s, text) check_slice((s), (text), __FILE__, __LINE__)

static inline void check_slice(struct sh_slice s, const char *text, const char *file, int line)
{
	if (!sh_slice_eq(s, sh_slice_cstr(text))) {
		print_error("'%.*s' is not '%s'\n", (int)s.len, s.base ? s.base : "", text);
		_fail(file, line);
	}
}

/* A request with the obligatory header fields, and `extra` lines before the empty one. */
#define REQUEST_HEAD                                                                                                   \
	"OPTIONS sip:bob@example.org SIP/2.0\r\n"                                                                      \
	"Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKx;rport\r\n"                                                    \
	"From: <sip:alice@example.org>;tag=a1\r\n"                                                                     \
	"To: <sip:bob@example.org>\r\n"                                                                                \
	"Call-ID: c1@192.0.2.1\r\n"                                                                                    \
	"CSeq: 7 OPTIONS\r\n"
#define REQUEST(extra) REQUEST_HEAD extra "\r\n"

/* Scans a copy of exactly that size on the heap, so that a sanitizer sees any step over its end. Free *copy. */
static inline int scan_copy(struct sh_msg *m, char **copy, const char *text, size_t len, bool stream, const char **why)
{
	*copy = malloc(len ? len : 1);
	assert_non_null(*copy);
	memcpy(*copy, text, len);
	return sh_msg_scan(m, *copy, len, stream, why);
}

/* A file of tests/unit/data; tests run at the top of the tree. */
static inline size_t read_data(const char *folder, const char *name, char *out, size_t cap)
{
	char path[256];
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "tests/unit/data/%s/%s.dat", folder, name);
	f = fopen(path, "rb");
	if (!f)
		fail_msg("cannot open %s", path);
	n = fread(out, 1, cap, f);
	fclose(f);
	return n;
}

#endif
