/* The names of the contract with scripts, against what a script finds. The list is the contract's; names may be added to the
 * runtime freely, and none of these may go or change its kind. */
#include "script_world.h"

/* What sip.NAME is. */
static const char *const functions[] = {
    "lookup", "bindings", "unbind",  "domains",   "listen", "acl",     "trunk",     "request", "originate",  "calls",
    "sleep",  "spawn",    "after",   "every",     "now",    "uuid",    "hash",      "hmac",    "find_call",  "uri",
    "sdp",    "shared",   "metric",  "selftest",  "notify", "is_cancel", "is_retired",
};

static const char *const hooks[] = {
    "invite", "register", "subscribe", "publish", "reinvite", "update", "info",   "message", "options", "notify", "refer",
    "ack",    "bye",      "cancel",    "prack",   "answer",   "hangup", "sdp",    "binding", "load",    "unload",
};

static const char *const parts[] = {
    "log.debug",     "log.info",      "log.warn",  "log.error",  "http.get",     "http.post",
    "http.request",  "json.encode",   "json.decode", "base64.encode", "base64.decode",
};

static const char *const store[] = {"get", "set", "add", "incr", "delete", "push", "pop", "len", "keys", "lock"};

/* Of requests, and of calls, transfers and subscriptions too. */
static const char *const message_fields[] = {
    "method", "uri",        "from",  "to",   "contact",      "call_id",   "cseq",    "source", "max_forwards",
    "expires", "event",     "body",  "content_type", "auth_user", "trusted", "call", "leg",    "generation",
};

static const char *const request_methods[] = {"reply", "pass", "auth", "challenge", "register", "relay", "publish", "dtmf", "headers"};

static const char *const call_methods[] = {
    "auth",   "ring", "reject", "redirect", "fork",   "bridge",   "dial",  "answer", "hangup", "transfer", "pickup",
    "wait",   "after", "continue", "limit",  "pin",   "signal",   "headers", "challenge",
};

static const char *const call_fields[] = {"id", "state", "a", "duration", "times", "data"};
static const char *const leg_fields[] = {"uri", "state", "code", "call_id"};
static const char *const sdp_methods[] = {"keep", "drop", "prefer", "has"};

static char script[16384];

static void add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add(const char *format, ...)
{
	size_t len = strlen(script);
	va_list args;

	va_start(args, format);
	len += (size_t)vsnprintf(script + len, sizeof(script) - len, format, args);
	va_end(args);
	assert_true(len < sizeof(script));
}

#define EACH(i, list) for (unsigned i = 0; i < sizeof(list) / sizeof((list)[0]); i++)

static void each_name_of_the_contract_is_there(void **state)
{
	struct phone_call *c;

	(void)state;
	script[0] = '\0';
	add("local sip = require 'siphook'\n"
	    "local function must(value, kind, name)\n"
	    "  if type(value) ~= kind then sip.log.error('%%s is a %%s, not a %%s', name, type(value), kind) end\n"
	    "end\n"
	    "local function there(ok, name) if not ok then sip.log.error('%%s is not there', name) end end\n");
	EACH(i, functions)
	add("must(sip.%s, 'function', 'sip.%s')\n", functions[i], functions[i]);
	EACH(i, hooks)
	add("must(sip.on.%s, 'function', 'sip.on.%s')\n", hooks[i], hooks[i]);
	EACH(i, parts)
	add("must(sip.%s, 'function', 'sip.%s')\n", parts[i], parts[i]);
	add("local verbs = {");
	EACH(i, request_methods)
	add("'%s', ", request_methods[i]);
	add("}\n");
	add("must(sip.timer, 'table', 'sip.timer') must(sip.config, 'table', 'sip.config')\nlocal store = sip.shared 'x'\n");
	EACH(i, store)
	add("must(store.%s, 'function', 'store:%s')\n", store[i], store[i]);
	add("local sdp = sip.sdp %s\nmust(sdp.media, 'table', 'sdp.media')\n", "'v=0\\r\\no=a 1 1 IN IP4 10.0.0.2\\r\\ns=-\\r\\nc=IN IP4 "
									     "10.0.0.2\\r\\nt=0 0\\r\\nm=audio 4000 RTP/AVP 0\\r\\n'");
	EACH(i, sdp_methods)
	add("must(sdp.%s, 'function', 'sdp:%s')\n", sdp_methods[i], sdp_methods[i]);
	add("for _, k in ipairs{'scheme', 'user', 'host', 'params', 'headers'} do there(sip.uri('sip:a@b')[k], 'uri.' .. k) end\n"
	    "must(sip.uri('sip:a@b').with, 'function', 'uri:with')\n"
	    "local trunk = sip.trunk{name = 't', uri = 'sip:10.0.0.9'}\n"
	    "there(trunk.state, 'trunk.state')\n"
	    "sip.on.message(function(req)\n");
	EACH(i, request_methods)
	add("  must(req.%s, 'function', 'req:%s')\n", request_methods[i], request_methods[i]);
	EACH(i, message_fields)
	add("  local _ = req.%s\n", message_fields[i]);
	add("  for _, k in ipairs{'method', 'uri', 'from', 'to', 'call_id', 'cseq', 'source', 'max_forwards', 'generation'} do\n"
	    "    there(req[k], 'req.' .. k)\n"
	    "  end\n"
	    "  for _, k in ipairs{'ip', 'port', 'transport'} do there(req.source[k], 'source.' .. k) end\n"
	    "  req:reply(200)\n"
	    "end)\n"
	    "sip.on.invite(function(call)\n");
	EACH(i, request_methods)
	add("  must(call.%s, 'function', 'call:%s')\n", request_methods[i], request_methods[i]);
	EACH(i, call_methods)
	add("  must(call.%s, 'function', 'call:%s')\n", call_methods[i], call_methods[i]);
	EACH(i, call_fields)
	add("  there(call.%s ~= nil, 'call.%s')\n", call_fields[i], call_fields[i]);
	EACH(i, leg_fields)
	add("  there(call.a.%s ~= nil, 'leg.%s')\n", leg_fields[i], leg_fields[i]);
	add("  must(call.a.hangup, 'function', 'leg:hangup')\n"
	    "  local leg, res = call:fork({'sip:nobody@10.0.0.77'}, {timeout = 1, first_timeout = 1})\n"
	    "  for _, k in ipairs{'code', 'reason', 'cause', 'headers', 'contacts', 'branches'} do there(res[k], 'res.' .. k) end\n"
	    "  call:reject(res)\n"
	    "end)\n"
	    "sip.on.hangup(function(call, why)\n"
	    "  for _, k in ipairs{'by', 'code', 'reason'} do there(why[k], 'why.' .. k) end\n"
	    "end)\n"
	    "sip.on.subscribe(function(sub)\n"
	    "  for _, k in ipairs(verbs) do must(sub[k], 'function', 'sub:' .. k) end\n"
	    "  for _, k in ipairs{'accept', 'reject', 'notify', 'terminate'} do must(sub[k], 'function', 'sub:' .. k) end\n"
	    "  there(sub.event, 'sub.event') there(sub.expires, 'sub.expires')\n"
	    "  sub:reject(489)\n"
	    "end)\n"
	    "sip.on.refer(function(ref)\n"
	    "  for _, k in ipairs(verbs) do must(ref[k], 'function', 'ref:' .. k) end\n"
	    "  for _, k in ipairs{'accept', 'reject', 'notify'} do must(ref[k], 'function', 'ref:' .. k) end\n"
	    "  there(ref.target, 'ref.target') local _ = ref.replaces, ref.referred_by, ref.leg\n"
	    "  ref:reject(403)\n"
	    "end)\n");
	begin(script);
	phone_request(alice, "MESSAGE", "sip:x@example.org", NULL, NULL);
	soon(alice, "200");
	c = dial("sip:bob@example.org");
	ignore_trying(alice);
	phone_ack(phone_expect_in(c, "5xx", 60 * SH_SECOND), NULL, NULL); /* nobody is there: 503, passed on as 500 */
	phone_request(alice, "SUBSCRIBE", "sip:x@example.org", "Event: presence\nExpires: 60", NULL);
	soon(alice, "489");
	phone_request(alice, "REFER", "sip:x@example.org", "Refer-To: <sip:carol@example.org>", NULL);
	soon(alice, "403");
	end(); /* an error in the log fails the test, and tells the name */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_name_of_the_contract_is_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
