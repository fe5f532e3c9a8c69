/* What the tests of scripts share: a world with three phones, and Lua that is sent to it in messages. */
#ifndef SCRIPT_WORLD_H
#define SCRIPT_WORLD_H

#include "world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SDP "v=0\r\no=a 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"

#define PLAN "local sip = require 'siphook'\nsip.domains{'example.org'}\n"

/* Runs the body of a MESSAGE with sip and req, and answers with what it returns or raises. The same for an INVITE that
 * has the Subject "lua": the results come in X-Result. */
#define EVAL                                                                                                           \
	PLAN "local function eval(code, x)\n"                                                                          \
	     "  local fn, err = load('local sip, req, call = ... ' .. code, '=t')\n"                                   \
	     "  if not fn then return err end\n"                                                                       \
	     "  local r = table.pack(pcall(fn, sip, x, x))\n"                                                          \
	     "  local out = {}\n"                                                                                      \
	     "  for i = 2, r.n do out[#out + 1] = tostring(r[i]) end\n"                                                \
	     "  return (r[1] and '' or 'error: ') .. table.concat(out, ' | ')\n"                                       \
	     "end\n"                                                                                                   \
	     "sip.on.message(function(req) req:reply(200, {body = eval(req.body, req)}) end)\n"                        \
	     "sip.on.invite(function(call)\n"                                                                          \
	     "  local text = eval(call.Subject, call)\n"                                                               \
	     "  call:reject(480, {headers = {['X-Result'] = text}})\n"                                                 \
	     "end)\n"

static struct world *w;
static struct phone *alice, *bob, *carol;

static inline void begin(const char *script)
{
	w = world_create(NULL, script);
	alice = world_phone(w, "alice", "10.0.0.2");
	bob = world_phone(w, "bob", "10.0.0.3");
	carol = world_phone(w, "carol", "10.0.0.4");
	phone_auto(alice, PHONE_ABSORB);
	phone_auto(bob, PHONE_ABSORB);
	phone_auto(carol, PHONE_ABSORB);
}

/* A 100 comes when a script thinks for longer than 200 ms. */
static inline void ignore_trying(struct phone *p)
{
	SH_LIST_EACH(l, &p->log)
	{
		struct phone_msg *m = SH_CONTAINER(l, struct phone_msg, link);

		if (!m->sent && m->code == 0 && !m->m.is_request && m->m.status == 100)
			m->consumed = true;
	}
}

/* Whatever came and was not expected is a failure. */
static inline void end(void)
{
	world_settle(w, 300 * SH_SECOND);
	ignore_trying(alice);
	phone_expect_none(alice, "*", SH_SECOND);
	phone_expect_none(bob, "*", SH_SECOND);
	phone_expect_none(carol, "*", SH_SECOND);
	world_destroy(w);
}

#define soon(phone, what) phone_expect((phone), (what), SH_SECOND)

/* Runs code in a MESSAGE of alice. */
static inline const char *lua_at(const char *code, const char *file, int line)
{
	struct phone_call *c = phone_request(alice, "MESSAGE", "sip:x@example.org", "Content-Type: text/lua", code);

	return phone_body(phone_expect_at(alice, c, "200", 10 * SH_SECOND, file, line));
}

static inline void lua_is_at(const char *code, const char *result, const char *file, int line)
{
	const char *got = lua_at(code, file, line);

	if (strcmp(got, result) != 0)
		phone_fail(w->sim, file, line, "%s\n  gives  %s\n  not    %s", code, got, result);
}
#define lua_is(code, result) lua_is_at((code), (result), __FILE__, __LINE__)

/* Runs code in an INVITE of alice; the call is rejected with its result afterwards. */
static inline void call_is_at(const char *code, const char *result, const char *file, int line)
{
	char headers[1200];
	struct phone_call *c;
	struct phone_msg *answer;
	const char *got;

	snprintf(headers, sizeof(headers), "Subject: %s\nX-Any: first\nx-any: second", code);
	c = phone_invite(alice, "sip:bob@example.org", headers, SDP);
	answer = phone_expect_at(alice, c, "480", 60 * SH_SECOND, file, line);
	phone_ack(answer, NULL, NULL);
	got = phone_value(answer, "X-Result");
	if (!got || strcmp(got, result) != 0)
		phone_fail(w->sim, file, line, "%s\n  gives  %s\n  not    %s", code, got ? got : "nothing", result);
}
#define call_is(code, result) call_is_at((code), (result), __FILE__, __LINE__)

/* A call of alice. */
static inline struct phone_call *dial(const char *uri)
{
	return phone_invite(alice, uri, NULL, SDP);
}

/* Its final answer, acknowledged. */
static inline struct phone_msg *refused_at(struct phone_call *c, const char *code, const char *file, int line)
{
	struct phone_msg *m = phone_expect_at(c->phone, c, code, 120 * SH_SECOND, file, line);

	phone_ack(m, NULL, NULL);
	return m;
}
#define refused(c, code) refused_at((c), (code), __FILE__, __LINE__)

/* INVITE came to p and is answered with that. */
static inline struct phone_msg *answer_at(struct phone *p, unsigned code, const char *file, int line)
{
	struct phone_msg *invite = phone_expect_at(p, NULL, "INVITE", SH_SECOND, file, line);

	phone_reply(invite, code, NULL, NULL, code < 300 && code > 180 ? SDP : NULL);
	if (code >= 200)
		phone_expect_at(p, NULL, "ACK", SH_SECOND, file, line);
	return invite;
}
#define answer(p, code) answer_at((p), (code), __FILE__, __LINE__)

/* The caller's 200, acknowledged; then the caller hangs up and the called phone answers that. */
static inline void talk_at(struct phone_call *c, struct phone *called, const char *file, int line)
{
	phone_ack(phone_expect_at(c->phone, c, "200 INVITE", SH_SECOND, file, line), NULL, NULL);
	world_advance(w, 5 * SH_SECOND);
	phone_bye(c);
	phone_expect_at(c->phone, c, "200 BYE", SH_SECOND, file, line);
	phone_reply(phone_expect_at(called, NULL, "BYE", SH_SECOND, file, line), 200, NULL, NULL, NULL);
}
#define talk(c, called) talk_at((c), (called), __FILE__, __LINE__)

#endif
