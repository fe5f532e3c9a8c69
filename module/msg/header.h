/* Names of SIP header fields: one table of what we know, long and compact forms (RFC 3261 7.3.3 and the registry).
 * Pure syntax; any thread. */
#ifndef SH_MSG_HEADER_H
#define SH_MSG_HEADER_H

#include "core/slice.h"

/* X(identifier, name as the RFC spells it, compact letter or 0). Sorted by name. */
#define SH_HEADERS(X)                                    \
	X(ACCEPT, "Accept", 0)                           \
	X(ACCEPT_CONTACT, "Accept-Contact", 'a')         \
	X(ACCEPT_ENCODING, "Accept-Encoding", 0)         \
	X(ACCEPT_LANGUAGE, "Accept-Language", 0)         \
	X(ALERT_INFO, "Alert-Info", 0)                   \
	X(ALLOW, "Allow", 0)                             \
	X(ALLOW_EVENTS, "Allow-Events", 'u')             \
	X(AUTHENTICATION_INFO, "Authentication-Info", 0) \
	X(AUTHORIZATION, "Authorization", 0)             \
	X(CALL_ID, "Call-ID", 'i')                       \
	X(CALL_INFO, "Call-Info", 0)                     \
	X(CONTACT, "Contact", 'm')                       \
	X(CONTENT_DISPOSITION, "Content-Disposition", 0) \
	X(CONTENT_ENCODING, "Content-Encoding", 'e')     \
	X(CONTENT_LANGUAGE, "Content-Language", 0)       \
	X(CONTENT_LENGTH, "Content-Length", 'l')         \
	X(CONTENT_TYPE, "Content-Type", 'c')             \
	X(CSEQ, "CSeq", 0)                               \
	X(DATE, "Date", 0)                               \
	X(DIVERSION, "Diversion", 0)                     \
	X(ERROR_INFO, "Error-Info", 0)                   \
	X(EVENT, "Event", 'o')                           \
	X(EXPIRES, "Expires", 0)                         \
	X(FROM, "From", 'f')                             \
	X(GEOLOCATION, "Geolocation", 0)                 \
	X(HISTORY_INFO, "History-Info", 0)               \
	X(IDENTITY, "Identity", 'y')                     \
	X(IN_REPLY_TO, "In-Reply-To", 0)                 \
	X(INFO_PACKAGE, "Info-Package", 0)               \
	X(JOIN, "Join", 0)                               \
	X(MAX_BREADTH, "Max-Breadth", 0)                 \
	X(MAX_FORWARDS, "Max-Forwards", 0)               \
	X(MIME_VERSION, "MIME-Version", 0)               \
	X(MIN_EXPIRES, "Min-Expires", 0)                 \
	X(MIN_SE, "Min-SE", 0)                           \
	X(ORGANIZATION, "Organization", 0)               \
	X(P_ASSERTED_IDENTITY, "P-Asserted-Identity", 0) \
	X(P_PREFERRED_IDENTITY, "P-Preferred-Identity", 0) \
	X(PATH, "Path", 0)                               \
	X(PRIORITY, "Priority", 0)                       \
	X(PRIVACY, "Privacy", 0)                         \
	X(PROXY_AUTHENTICATE, "Proxy-Authenticate", 0)   \
	X(PROXY_AUTHORIZATION, "Proxy-Authorization", 0) \
	X(PROXY_REQUIRE, "Proxy-Require", 0)             \
	X(RACK, "RAck", 0)                               \
	X(REASON, "Reason", 0)                           \
	X(RECORD_ROUTE, "Record-Route", 0)               \
	X(RECV_INFO, "Recv-Info", 0)                     \
	X(REFER_SUB, "Refer-Sub", 0)                     \
	X(REFER_TO, "Refer-To", 'r')                     \
	X(REFERRED_BY, "Referred-By", 'b')               \
	X(REJECT_CONTACT, "Reject-Contact", 'j')         \
	X(REMOTE_PARTY_ID, "Remote-Party-ID", 0)         \
	X(REPLACES, "Replaces", 0)                       \
	X(REPLY_TO, "Reply-To", 0)                       \
	X(REQUEST_DISPOSITION, "Request-Disposition", 'd') \
	X(REQUIRE, "Require", 0)                         \
	X(RETRY_AFTER, "Retry-After", 0)                 \
	X(ROUTE, "Route", 0)                             \
	X(RSEQ, "RSeq", 0)                               \
	X(SERVER, "Server", 0)                           \
	X(SERVICE_ROUTE, "Service-Route", 0)             \
	X(SESSION_EXPIRES, "Session-Expires", 'x')       \
	X(SESSION_ID, "Session-ID", 0)                   \
	X(SIP_ETAG, "SIP-ETag", 0)                       \
	X(SIP_IF_MATCH, "SIP-If-Match", 0)               \
	X(SUBJECT, "Subject", 's')                       \
	X(SUBSCRIPTION_STATE, "Subscription-State", 0)   \
	X(SUPPORTED, "Supported", 'k')                   \
	X(TARGET_DIALOG, "Target-Dialog", 0)             \
	X(TIMESTAMP, "Timestamp", 0)                     \
	X(TO, "To", 't')                                 \
	X(UNSUPPORTED, "Unsupported", 0)                 \
	X(USER_AGENT, "User-Agent", 0)                   \
	X(USER_TO_USER, "User-to-User", 0)               \
	X(VIA, "Via", 'v')                               \
	X(WARNING, "Warning", 0)                         \
	X(WWW_AUTHENTICATE, "WWW-Authenticate", 0)

enum sh_header_id {
	SH_H_OTHER, /* not in the table: compare names */
#define X(id, name, compact) SH_H_##id,
	SH_HEADERS(X)
#undef X
	SH_H_COUNT
};

/* The fields that are in nearly every message, spelled as the RFC does it: worth a comparison with a constant, which
 * the compiler makes of one or two instructions. SH_H_OTHER: sh_header_lookup() may know it. */
static inline enum sh_header_id sh_header_common(struct sh_slice name)
{
#define IS(text) (memcmp(name.base, text, sizeof(text) - 1) == 0)
	switch (name.len) {
	case 2:
		return IS("To") ? SH_H_TO : SH_H_OTHER;
	case 3:
		return IS("Via") ? SH_H_VIA : SH_H_OTHER;
	case 4:
		return IS("From") ? SH_H_FROM : IS("CSeq") ? SH_H_CSEQ : SH_H_OTHER;
	case 5:
		return IS("Allow") ? SH_H_ALLOW : IS("Route") ? SH_H_ROUTE : SH_H_OTHER;
	case 7:
		return IS("Call-ID") ? SH_H_CALL_ID : IS("Contact") ? SH_H_CONTACT : IS("Expires") ? SH_H_EXPIRES : SH_H_OTHER;
	case 9:
		return IS("Supported") ? SH_H_SUPPORTED : SH_H_OTHER;
	case 10:
		return IS("User-Agent") ? SH_H_USER_AGENT : SH_H_OTHER;
	case 12:
		return IS("Max-Forwards") ? SH_H_MAX_FORWARDS : IS("Content-Type") ? SH_H_CONTENT_TYPE :
		       IS("Record-Route") ? SH_H_RECORD_ROUTE : SH_H_OTHER;
	case 13:
		return IS("Authorization") ? SH_H_AUTHORIZATION : SH_H_OTHER;
	case 14:
		return IS("Content-Length") ? SH_H_CONTENT_LENGTH : SH_H_OTHER;
	default:
		return SH_H_OTHER;
	}
#undef IS
}

/* Long or compact, any case; SH_H_OTHER when unknown. */
enum sh_header_id sh_header_lookup(struct sh_slice name);
struct sh_slice sh_header_name(enum sh_header_id id); /* the long form */
char sh_header_compact(enum sh_header_id id);         /* lower-case letter or 0 */

/* X(identifier, name). Methods are case-sensitive (RFC 3261 7.1). */
#define SH_METHODS(X)        \
	X(INVITE, "INVITE")  \
	X(ACK, "ACK")        \
	X(BYE, "BYE")        \
	X(CANCEL, "CANCEL")  \
	X(REGISTER, "REGISTER") \
	X(OPTIONS, "OPTIONS") \
	X(INFO, "INFO")      \
	X(MESSAGE, "MESSAGE") \
	X(NOTIFY, "NOTIFY")  \
	X(PRACK, "PRACK")    \
	X(PUBLISH, "PUBLISH") \
	X(REFER, "REFER")    \
	X(SUBSCRIBE, "SUBSCRIBE") \
	X(UPDATE, "UPDATE")

enum sh_method {
	SH_METHOD_OTHER,
#define X(id, name) SH_##id,
	SH_METHODS(X)
#undef X
	SH_METHOD_COUNT
};

enum sh_method sh_method_lookup(struct sh_slice name);
struct sh_slice sh_method_name(enum sh_method m);

/* The reason phrase of a status code (RFC 3261 21 and the registry); "Unknown" for others. */
struct sh_slice sh_status_reason(unsigned code);

#endif
