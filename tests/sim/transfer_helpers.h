/* What the tests of transfers share: the plan, and the usual steps. The numbers of sections are those of RFC 5589. */
#ifndef TRANSFER_HELPERS_H
#define TRANSFER_HELPERS_H

#include "b2bua_helpers.h"

#define TO_PHONES                                                                                                      \
	"local sip = require 'siphook'\nsip.domains{'example.org'}\n"                                                    \
	"local where = {alice = '10.0.0.2', bob = '10.0.0.3', carol = '10.0.0.4', dave = '10.0.0.5'}\n"                    \
	"sip.on.invite(function(call)\n"                                                                                 \
	"  if call.replaces then call:pickup() return end\n"                                                     \
	"  local user = call.uri.user\n"                                                                                 \
	"  local ok, res = call:dial({'sip:' .. user .. '@' .. (where[user] or '10.0.0.9')}, {timeout = 20})\n"            \
	"  if not ok then call:reject(res) end\nend)\n"                                                                 \
	"sip.on.hangup(function(call, why) sip.log.info('hangup %s by %s %d %s', call.uri.user, why.by, why.code, why.reason) end)\n"
/* A transfer goes where the Refer-To points, by the same table; how it ended is logged. */
#define TRANSFER_PLAN                                                                                                  \
	TO_PHONES "sip.on.refer(function(ref)\n"                                                                         \
		  "  local user = ref.target.user\n"                                                                       \
		  "  local ok, res = ref:accept{targets = {'sip:' .. user .. '@' .. (where[user] or '10.0.0.9')}, timeout = 20}\n" \
		  "  sip.log.info('transfer to %s: %s', user, ok and 'done' or res.code)\nend)\n"

/* The refer-to of a REFER of `by`, which stays in its dialog. */
static inline struct phone_msg *refer_at(struct phone_call *by, const char *headers, const char *file, int line)
{
	struct phone_msg *m;

	phone_in_call(by, "REFER", headers, NULL);
	m = phone_expect_at(by->phone, by, "200 REFER", SH_SECOND, file, line);
	phone_assert_contains_at(m, "Contact", "<sip:10.0.0.1:5060", file, line);
	return m;
}
#define refer(by, headers) refer_at((by), (headers), __FILE__, __LINE__)

/* A NOTIFY of the transfer: that status line, active or terminated. Answered with 200. */
static inline struct phone_msg *notified_at(struct phone *p, const char *status, const char *state, const char *file, int line)
{
	struct phone_msg *m = phone_expect_at(p, NULL, "NOTIFY", SH_SECOND, file, line);

	phone_assert_contains_at(m, "Event", "refer", file, line);
	phone_assert_contains_at(m, "Subscription-State", state, file, line);
	phone_assert_contains_at(m, "Content-Type", "message/sipfrag", file, line);
	if (!strstr(phone_body(m), status))
		phone_fail(w->sim, file, line, "NOTIFY says %s, not %s", phone_body(m), status);
	ok(m);
	return m;
}
#define notified(p, status, state) notified_at((p), (status), (state), __FILE__, __LINE__)
#define NOTIFIED_TRYING(p)         notified((p), "SIP/2.0 100 Trying", "active;expires=")
#define NOTIFIED_LAST(p, status)   notified((p), (status), "terminated;reason=noresource")

/* The call of the target, from the party that stays, without an offer; it rings. */
static inline struct phone_msg *target_rings_at(struct phone *target, const char *file, int line)
{
	struct phone_msg *m = phone_expect_at(target, NULL, "INVITE", SH_SECOND, file, line);

	phone_assert_body_at(m, "", file, line);
	phone_reply(m, 180, NULL, NULL, NULL);
	return m;
}
#define target_rings(target) target_rings_at((target), __FILE__, __LINE__)

/* The target answers, the party that stays agrees, both have their ACK. */
static inline void joined_at(struct phone_msg *invite, const char *offer, struct phone *stays, const char *answer, const char *file,
			     int line)
{
	struct phone_msg *m;

	phone_reply(invite, 200, NULL, NULL, offer);
	m = phone_expect_at(stays, NULL, "INVITE", SH_SECOND, file, line);
	phone_assert_body_at(m, offer, file, line);
	phone_reply(m, 200, NULL, NULL, answer);
	phone_assert_body_at(phone_expect_at(invite->phone, NULL, "ACK", SH_SECOND, file, line), answer, file, line);
	phone_expect_at(stays, NULL, "ACK", SH_SECOND, file, line);
}
#define joined(invite, offer, stays, answer) joined_at((invite), (offer), (stays), (answer), __FILE__, __LINE__)

/* Refer-To with the dialog of that call in Replaces. */
static inline const char *replaces(const struct phone_call *c, const char *user)
{
	static char text[512];

	snprintf(text, sizeof(text), "Refer-To: <sip:%s@example.org?Replaces=%s%%3Bto-tag%%3D%s%%3Bfrom-tag%%3D%s>", user, c->id,
		 c->remote_tag, c->local_tag);
	return text;
}

#endif
