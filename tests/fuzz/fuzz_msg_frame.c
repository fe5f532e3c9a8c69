/* Framing: fed in pieces it must say what it says about the whole, and it must agree with the scanner about where a
 * message ends. The first octet says how the rest is cut into pieces. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "msg/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_pieces(const char *text, size_t size, unsigned step)
{
	struct sh_framer f = {0};
	ssize_t error = 0, total = 0;

	for (size_t n = 0;; n = n + step < size ? n + step : size) {
		ssize_t got = sh_framer_feed(&f, text, n), want = sh_msg_frame(text, n);

		if (error)
			assert(got == error); /* an error stays */
		else if (total)
			assert(got == total); /* and so does a length */
		else
			assert(got == want);
		if (got < 0) {
			assert(got == -EBADMSG || got == -EMSGSIZE);
			error = got;
		} else if (got) {
			assert(got <= SH_MSG_MAX_SIZE);
			total = got;
		}
		if (n == size)
			break;
	}
}

/* What framing cuts out is a whole message to the scanner; what the scanner takes as a whole message framing cuts out.
 */
static void check_scanner(const char *text, size_t size)
{
	static struct sh_msg m;
	const char *why = "";
	ssize_t total = sh_msg_frame(text, size);

	if (total > 0 && (size_t)total <= size) {
		char *copy = malloc((size_t)total);

		assert(copy);
		memcpy(copy, text, (size_t)total);
		if (sh_msg_scan(&m, copy, (size_t)total, true, &why) == 0)
			assert(m.size == total);
		assert(strcmp(why, "Missing Content-Length") != 0);
		assert(strcmp(why, "Content-Length larger than the message") != 0);
		assert(strcmp(why, "No end of the header section") != 0 || m.nheaders == SH_MSG_MAX_HEADERS);
		free(copy);
	}
	if (size && text[0] != '\r' && text[0] != '\n' && sh_msg_scan(&m, text, size, true, NULL) == 0)
		assert(total == m.size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;

	if (size < 1)
		return 0;
	size--;
	check_pieces(text, size, size > 4096 ? 512U + data[0] : 1U + data[0] % 64U);
	check_scanner(text, size);
	return 0;
}
