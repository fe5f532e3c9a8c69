#include "msg/header.h"

/* Index 0 is SH_H_OTHER. */
static const struct sh_slice names[SH_H_COUNT] = {
#define X(id, name, compact) [SH_H_##id] = {name, sizeof(name) - 1},
    SH_HEADERS(X)
#undef X
};

static const char compact_of[SH_H_COUNT] = {
#define X(id, name, compact) [SH_H_##id] = compact,
    SH_HEADERS(X)
#undef X
};

/* The reverse of compact_of: one letter is the commonest form of all after the long ones. */
static const uint8_t of_compact[26] = {
    ['a' - 'a'] = SH_H_ACCEPT_CONTACT,
    ['b' - 'a'] = SH_H_REFERRED_BY,
    ['c' - 'a'] = SH_H_CONTENT_TYPE,
    ['d' - 'a'] = SH_H_REQUEST_DISPOSITION,
    ['e' - 'a'] = SH_H_CONTENT_ENCODING,
    ['f' - 'a'] = SH_H_FROM,
    ['i' - 'a'] = SH_H_CALL_ID,
    ['j' - 'a'] = SH_H_REJECT_CONTACT,
    ['k' - 'a'] = SH_H_SUPPORTED,
    ['l' - 'a'] = SH_H_CONTENT_LENGTH,
    ['m' - 'a'] = SH_H_CONTACT,
    ['o' - 'a'] = SH_H_EVENT,
    ['r' - 'a'] = SH_H_REFER_TO,
    ['s' - 'a'] = SH_H_SUBJECT,
    ['t' - 'a'] = SH_H_TO,
    ['u' - 'a'] = SH_H_ALLOW_EVENTS,
    ['v' - 'a'] = SH_H_VIA,
    ['x' - 'a'] = SH_H_SESSION_EXPIRES,
    ['y' - 'a'] = SH_H_IDENTITY,
};

/* The table is sorted, so the names with one first letter are a run: [first, behind). A letter that starts no name
 * has {0, 0}. Fourteen candidates at most, told apart by their length before a single octet is compared. */
static const struct {
	uint8_t first, behind;
} runs[26] = {
    ['a' - 'a'] = {SH_H_ACCEPT, SH_H_CALL_ID},
    ['c' - 'a'] = {SH_H_CALL_ID, SH_H_DATE},
    ['d' - 'a'] = {SH_H_DATE, SH_H_ERROR_INFO},
    ['e' - 'a'] = {SH_H_ERROR_INFO, SH_H_FROM},
    ['f' - 'a'] = {SH_H_FROM, SH_H_GEOLOCATION},
    ['g' - 'a'] = {SH_H_GEOLOCATION, SH_H_HISTORY_INFO},
    ['h' - 'a'] = {SH_H_HISTORY_INFO, SH_H_IDENTITY},
    ['i' - 'a'] = {SH_H_IDENTITY, SH_H_JOIN},
    ['j' - 'a'] = {SH_H_JOIN, SH_H_MAX_BREADTH},
    ['m' - 'a'] = {SH_H_MAX_BREADTH, SH_H_ORGANIZATION},
    ['o' - 'a'] = {SH_H_ORGANIZATION, SH_H_P_ASSERTED_IDENTITY},
    ['p' - 'a'] = {SH_H_P_ASSERTED_IDENTITY, SH_H_RACK},
    ['r' - 'a'] = {SH_H_RACK, SH_H_SERVER},
    ['s' - 'a'] = {SH_H_SERVER, SH_H_TARGET_DIALOG},
    ['t' - 'a'] = {SH_H_TARGET_DIALOG, SH_H_UNSUPPORTED},
    ['u' - 'a'] = {SH_H_UNSUPPORTED, SH_H_VIA},
    ['v' - 'a'] = {SH_H_VIA, SH_H_WARNING},
    ['w' - 'a'] = {SH_H_WARNING, SH_H_COUNT},
};

static bool same_name(struct sh_slice known, struct sh_slice name)
{
	return memcmp(known.base, name.base, name.len) == 0 || sh_slice_ieq(known, name);
}

enum sh_header_id sh_header_lookup(struct sh_slice name)
{
	enum sh_header_id id;
	unsigned letter;

	if (name.len == 0)
		return SH_H_OTHER;
	id = sh_header_common(name);
	if (id != SH_H_OTHER)
		return id;
	letter = (unsigned char)name.base[0] | 0x20U;
	if (letter < 'a' || letter > 'z')
		return SH_H_OTHER;
	letter -= 'a';
	if (name.len == 1)
		return of_compact[letter];
	for (unsigned i = runs[letter].first; i < runs[letter].behind; i++)
		if (names[i].len == name.len && same_name(names[i], name))
			return (enum sh_header_id)i;
	return SH_H_OTHER;
}

struct sh_slice sh_header_name(enum sh_header_id id)
{
	return (unsigned)id < SH_H_COUNT && id != SH_H_OTHER ? names[id] : SH_LIT("");
}

char sh_header_compact(enum sh_header_id id)
{
	return (unsigned)id < SH_H_COUNT ? compact_of[id] : 0;
}

static const struct sh_slice methods[SH_METHOD_COUNT] = {
#define X(id, name) [SH_##id] = {name, sizeof(name) - 1},
    SH_METHODS(X)
#undef X
};

enum sh_method sh_method_lookup(struct sh_slice name)
{
	for (unsigned i = 1; i < SH_METHOD_COUNT; i++)
		if (methods[i].len == name.len && methods[i].base[0] == name.base[0] && sh_slice_eq(methods[i], name))
			return (enum sh_method)i;
	return SH_METHOD_OTHER;
}

struct sh_slice sh_method_name(enum sh_method m)
{
	return (unsigned)m < SH_METHOD_COUNT && m != SH_METHOD_OTHER ? methods[m] : SH_LIT("");
}

struct sh_slice sh_status_reason(unsigned code)
{
	switch (code) { /* codes of the IANA registry */
#define R(number, text)                                                                                                \
	case number:                                                                                                   \
		return SH_LIT(text);
		R(100, "Trying")
		R(180, "Ringing")
		R(181, "Call Is Being Forwarded")
		R(182, "Queued")
		R(183, "Session Progress")
		R(199, "Early Dialog Terminated")
		R(200, "OK")
		R(202, "Accepted")
		R(204, "No Notification")
		R(300, "Multiple Choices")
		R(301, "Moved Permanently")
		R(302, "Moved Temporarily")
		R(305, "Use Proxy")
		R(380, "Alternative Service")
		R(400, "Bad Request")
		R(401, "Unauthorized")
		R(402, "Payment Required")
		R(403, "Forbidden")
		R(404, "Not Found")
		R(405, "Method Not Allowed")
		R(406, "Not Acceptable")
		R(407, "Proxy Authentication Required")
		R(408, "Request Timeout")
		R(410, "Gone")
		R(412, "Conditional Request Failed")
		R(413, "Request Entity Too Large")
		R(414, "Request-URI Too Long")
		R(415, "Unsupported Media Type")
		R(416, "Unsupported URI Scheme")
		R(417, "Unknown Resource-Priority")
		R(420, "Bad Extension")
		R(421, "Extension Required")
		R(422, "Session Interval Too Small")
		R(423, "Interval Too Brief")
		R(424, "Bad Location Information")
		R(425, "Bad Alert Message")
		R(428, "Use Identity Header")
		R(429, "Provide Referrer Identity")
		R(430, "Flow Failed")
		R(433, "Anonymity Disallowed")
		R(436, "Bad Identity Info")
		R(437, "Unsupported Credential")
		R(438, "Invalid Identity Header")
		R(439, "First Hop Lacks Outbound Support")
		R(440, "Max-Breadth Exceeded")
		R(469, "Bad Info Package")
		R(470, "Consent Needed")
		R(480, "Temporarily Unavailable")
		R(481, "Call/Transaction Does Not Exist")
		R(482, "Loop Detected")
		R(483, "Too Many Hops")
		R(484, "Address Incomplete")
		R(485, "Ambiguous")
		R(486, "Busy Here")
		R(487, "Request Terminated")
		R(488, "Not Acceptable Here")
		R(489, "Bad Event")
		R(491, "Request Pending")
		R(493, "Undecipherable")
		R(494, "Security Agreement Required")
		R(500, "Server Internal Error")
		R(501, "Not Implemented")
		R(502, "Bad Gateway")
		R(503, "Service Unavailable")
		R(504, "Server Time-out")
		R(505, "Version Not Supported")
		R(513, "Message Too Large")
		R(555, "Push Notification Service Not Supported")
		R(580, "Precondition Failure")
		R(600, "Busy Everywhere")
		R(603, "Decline")
		R(604, "Does Not Exist Anywhere")
		R(606, "Not Acceptable")
		R(607, "Unwanted")
		R(608, "Rejected")
#undef R
	default:
		return SH_LIT("Unknown");
	}
}
