/* What the tests of calls share: a world with two or three phones, bodies, the usual steps of a call. */
#ifndef B2BUA_HELPERS_H
#define B2BUA_HELPERS_H

#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SDP(who, ip, port)                                                                                             \
	"v=0\r\no=" who " 1 1 IN IP4 " ip "\r\ns=-\r\nc=IN IP4 " ip "\r\nt=0 0\r\nm=audio " port " RTP/AVP 0\r\n"
#define SDP_A     SDP("alice", "10.0.0.2", "4000")
#define SDP_B     SDP("bob", "10.0.0.3", "5000")
#define SDP_C     SDP("carol", "10.0.0.4", "6000")
#define SDP_HOLD  SDP_A "a=sendonly\r\n"
#define SDP_HELD  SDP_B "a=recvonly\r\n"

#define PLAN(body)                                                                                                     \
	"local sip = require 'siphook'\n"                                                                              \
	"sip.domains{'example.org'}\n"                                                                                 \
	"sip.on.invite(function(call)\n" body "end)\n"
/* Whatever is dialled is bob. */
#define PLAN_BOB PLAN("  local ok, res = call:dial({'sip:bob@10.0.0.3'}, {timeout = 20})\n  if not ok then call:reject(res) end\n")

#define ALICE "10.0.0.2"
#define BOB   "10.0.0.3"
#define CAROL "10.0.0.4"
#define DAVE  "10.0.0.5"

static struct world *w;
static struct phone *alice, *bob, *carol;

static inline void begin_with(const struct world_options *o, const char *plan)
{
	w = world_create(o, plan);
	alice = world_phone(w, "alice", ALICE);
	bob = world_phone(w, "bob", BOB);
	carol = world_phone(w, "carol", CAROL);
}

static inline void begin(const char *plan)
{
	begin_with(NULL, plan);
}

/* What is repeated is answered by the phones themselves. */
static inline void begin_quiet(const char *plan)
{
	begin_with(NULL, plan);
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
}

static inline struct phone_call *first_call(const struct phone *p) /* NULL: none */
{
	return sh_list_empty(&p->calls) ? NULL : SH_CONTAINER(p->calls.next, struct phone_call, link);
}

/* Nothing came that the test did not expect, and nothing comes; then the checks of world_destroy. */
static inline void end_at(const char *file, int line)
{
	world_settle_at(w, 300 * SH_SECOND, file, line);
	phone_expect_none_at(alice, "*", SH_SECOND, file, line);
	phone_expect_none_at(bob, "*", SH_SECOND, file, line);
	phone_expect_none_at(carol, "*", SH_SECOND, file, line);
	world_destroy(w);
}
#define end() end_at(__FILE__, __LINE__)

#define soon(phone, what) phone_expect((phone), (what), SH_SECOND)

static inline struct phone_msg *ok(struct phone_msg *request)
{
	return phone_reply(request, 200, NULL, NULL, NULL);
}

/* A phone that rings is told that it need not any more. */
static inline void is_cancelled_at(struct phone_msg *invite, const char *file, int line)
{
	ok(phone_expect_at(invite->phone, NULL, "CANCEL", SH_SECOND, file, line));
	phone_reply(invite, 487, NULL, NULL, NULL);
	phone_expect_at(invite->phone, NULL, "ACK", SH_SECOND, file, line);
}
#define is_cancelled(invite) is_cancelled_at((invite), __FILE__, __LINE__)

/* An established call: alice's and bob's side of it. */
struct talk {
	struct phone_call *a, *b;
	struct phone_msg *in, *out, *invite; /* alice's INVITE is in->sent; invite: what bob got */
	struct phone_msg *answer, *ack;      /* the 200 that alice got, the ACK that bob got */
};

static inline struct talk ring_at(const char *headers, const char *sdp, const char *file, int line)
{
	struct talk t = {0};

	t.a = phone_invite(alice, "sip:bob@example.org", headers, sdp);
	t.invite = phone_expect_at(bob, NULL, "INVITE", SH_SECOND, file, line);
	t.b = t.invite->call;
	phone_reply(t.invite, 180, NULL, NULL, NULL);
	phone_expect_at(alice, NULL, "180", SH_SECOND, file, line);
	return t;
}
#define ring() ring_at(NULL, SDP_A, __FILE__, __LINE__)

static inline struct talk talk_at(const char *file, int line)
{
	struct talk t = ring_at(NULL, SDP_A, file, line);

	phone_reply(t.invite, 200, NULL, NULL, SDP_B);
	t.answer = phone_expect_at(alice, NULL, "200", SH_SECOND, file, line);
	phone_ack(t.answer, NULL, NULL);
	t.ack = phone_expect_at(bob, NULL, "ACK", SH_SECOND, file, line);
	world_advance(w, 10 * SH_MS); /* alice's ACK arrives, too */
	return t;
}
#define talk() talk_at(__FILE__, __LINE__)

/* One hangs up, the other hears of it. */
static inline void hang_up_at(struct phone_call *by, struct phone *other, const char *file, int line)
{
	struct phone_msg *bye;

	phone_bye(by);
	phone_expect_at(by->phone, NULL, "200 BYE", SH_SECOND, file, line);
	bye = phone_expect_at(other, NULL, "BYE", SH_SECOND, file, line);
	ok(bye);
}
#define hang_up(by, other) hang_up_at((by), (other), __FILE__, __LINE__)

/* A header's value, NUL-terminated, in a buffer of its own; "" when it is not there. */
static inline const char *value(const struct phone_msg *msg, const char *name)
{
	static char text[4][512];
	static unsigned next;
	char *out = text[next++ % 4];
	enum sh_header_id id = sh_header_lookup(sh_slice_cstr(name));
	struct sh_slice v = sh_msg_header(&msg->m, id);

	snprintf(out, sizeof(text[0]), "%.*s", SH_FMT(v));
	return out;
}

static inline const char *uri_of(const struct phone_msg *request)
{
	static char text[256];

	snprintf(text, sizeof(text), "%.*s", SH_FMT(sh_msg_text(&request->m, request->m.uri)));
	return text;
}

static inline const char *tag_of(const struct phone_msg *answer)
{
	static char text[4][64];
	static unsigned next;
	char *out = text[next++ % 4];

	snprintf(out, sizeof(text[0]), "%.*s", SH_FMT(sh_msg_text(&answer->m, answer->m.to_tag)));
	return out;
}

static inline const char *reason_of(const struct phone_msg *answer)
{
	static char text[256];

	snprintf(text, sizeof(text), "%.*s", SH_FMT(sh_msg_text(&answer->m, answer->m.reason)));
	return text;
}

#endif
