/* URIs and name-addr values (RFC 3261 19.1, 20.10, 25.1; tel: RFC 3966). Nothing is copied or decoded: parts are
 * slices of the text. Comparison and escaping decode on the fly. Any thread. */
#ifndef SH_MSG_URI_H
#define SH_MSG_URI_H

#include "core/arena.h"

enum sh_uri_kind { SH_URI_SIP, SH_URI_SIPS, SH_URI_TEL, SH_URI_OTHER };

struct sh_uri {
	enum sh_uri_kind kind;
	struct sh_slice text;     /* all of it */
	struct sh_slice scheme;   /* "sip" */
	struct sh_slice user;     /* still escaped; tel: the number; other schemes: all behind the colon */
	struct sh_slice password; /* still escaped */
	bool has_user;            /* "sip:@host" is refused, "sip:host" has none */
	struct sh_slice host;     /* IPv6 with its brackets */
	uint16_t port;            /* 0 = none given */
	struct sh_slice params;   /* behind the first ';' of the host part, without it */
	struct sh_slice headers;  /* behind '?', without it */
};

/* Linear, strict enough to be safe, as lenient as RFC 4475 3.1.1 asks. 0 or -EINVAL. */
int sh_uri_parse(struct sh_uri *out, struct sh_slice text);

/* ";name" or ";name=value" in a parameter list "a=1;b;c=\"x;y\"". Names compare case-insensitively; a quoted value is
 * given with its quotes. False when absent; value (may be NULL) is empty when there is no '='. */
bool sh_param_find(struct sh_slice params, struct sh_slice name, struct sh_slice *value);
/* Takes the first parameter off *rest. False at the end. */
bool sh_param_next(struct sh_slice *rest, struct sh_slice *name, struct sh_slice *value);

/* RFC 3261 19.1.4, with the escapes compared by what they mean. tel: RFC 3966 4. Others: octet by octet. */
bool sh_uri_equal(const struct sh_uri *a, const struct sh_uri *b);

/* Decodes %HH. `%00` is decoded to a NUL octet and stays inside the slice; broken escapes are kept as they are.
 * 0 or -ENOMEM. */
int sh_uri_unescape(struct sh_arena *a, struct sh_slice s, struct sh_slice *out);
/* Escapes what a user part may not contain bare (RFC 3261 25.1 user). */
int sh_uri_escape_user(struct sh_arena *a, struct sh_slice s, struct sh_slice *out);

/* `"Display" <uri>;params` or `uri;params` (then the parameters are the header's: RFC 3261 20). */
struct sh_name_addr {
	struct sh_slice display; /* as written, with its quotes; empty when none */
	struct sh_slice uri;
	struct sh_slice params; /* of the header field, without the first ';' */
	struct sh_slice text;   /* this value, from display to the last parameter */
	bool star;              /* Contact: * (uri empty) */
};

/* Takes the first value off a comma separated list (*rest moves behind the comma; empty at the end). 0, or -EINVAL, for
 * an empty list too: while (rest.len && !sh_name_addr_next(&rest, &v)). A bare URI with '?' is refused (RFC 3261 20).
 */
int sh_name_addr_next(struct sh_slice *rest, struct sh_name_addr *out);

/* Takes the first element off a comma separated list of anything, respecting quotes, <> and escapes. Empty elements are
 * passed over. False at the end. */
bool sh_list_next(struct sh_slice *rest, struct sh_slice *element);

/* True when a comma separated list of tokens ("100rel, timer") has the token. Case-insensitive. */
bool sh_list_has(struct sh_slice list, struct sh_slice token);

/* The text of a quoted string without quotes and backslashes; anything else is copied. 0 or -ENOMEM. */
int sh_unquote(struct sh_arena *a, struct sh_slice s, struct sh_slice *out);

/* qvalue "0.7" -> 700; 0 .. 1000, or -EINVAL. */
int sh_qvalue(struct sh_slice s);

#endif
