/* Octets as text, and text inside of other text: base64 (RFC 4648), percent escapes (RFC 3986 2.1), strings of JSON (RFC 8259 7).
 * All write into room that the caller has, without a NUL, and return how much they wrote. Any thread. */
#ifndef SH_CORE_ENCODE_H
#define SH_CORE_ENCODE_H

#include <sys/types.h>

#include "core/slice.h"

enum sh_base64 {
	SH_BASE64,     /* RFC 4648 4, padded */
	SH_BASE64_URL, /* 5, without padding */
	SH_BASE64_ANY, /* decoding only: either alphabet, padding may be there; bits that are left over do not matter */
};
#define SH_BASE64_ROOM(octets)	 (((octets) + 2) / 3 * 4)
#define SH_BASE64_OCTETS(letters) ((letters) / 4 * 3 + 2)

size_t sh_base64_encode(enum sh_base64 kind, const void *in, size_t len, char *out);
/* -EINVAL: it is none, or two texts would mean the same. */
ssize_t sh_base64_decode(enum sh_base64 kind, struct sh_slice text, void *out);

/* Letters and digits stay, and what stands in `bare`; each other octet is %HH. Room: three times the length. */
size_t sh_percent_escape(struct sh_slice text, const char *bare, char *out);
/* %HH decoded; a '%' that begins none stays. Room: the length; out may be text.base. */
size_t sh_percent_unescape(struct sh_slice text, char *out);
#define SH_PERCENT_UNRESERVED "-._~"	  /* RFC 3986 2.3 */
#define SH_PERCENT_SIP	      "-_.!~*'()" /* RFC 3261 25.1, mark: what may stand in a header part of a URI */
#define SH_PERCENT_USER	      SH_PERCENT_SIP "&=+$,;?/" /* and in a user part */

/* Without the quotes. Octets that are no UTF-8 are U+FFFD, or stay (`as_is`). Room: SH_JSON_ROOM times the length. */
enum { SH_JSON_ROOM = 6 };
size_t sh_json_escape(struct sh_slice text, bool as_is, char *out);
/* What stands between the quotes (UTF-8) without its escapes, \u as UTF-8 (RFC 8259 7). At most text.len bytes; -EINVAL: an escape that
 * JSON does not have, or half a surrogate pair. */
ssize_t sh_json_unescape(struct sh_slice text, char *out);

#endif
