/* sip.sdp: a description as a script sees it; a codec that is demanded and not there. */
#include "script_world.h"

#define TEXT "'v=0\\r\\no=a 1 1 IN IP4 10.0.0.2\\r\\ns=-\\r\\nc=IN IP4 10.0.0.2\\r\\nt=0 0\\r\\nm=audio 4000 RTP/AVP 0 8 101\\r\\na=rtpmap:101 telephone-event/8000\\r\\na=fmtp:101 0-15\\r\\na=sendonly\\r\\n'"

static void fields_and_methods(void **state)
{
	(void)state;
	begin(EVAL);
	lua_is("local s = sip.sdp(" TEXT ") local m = s.media[1] "
	       "return #s.media, m.kind, m.port, m.direction, m.proto, m.address, #m.codecs, m.codecs[2].name, m.codecs[2].rate, m.codecs[3].payload, m.codecs[3].fmtp",
	       "1 | audio | 4000 | sendonly | RTP/AVP | 10.0.0.2 | 3 | PCMA | 8000 | 101 | 0-15");
	lua_is("local s = sip.sdp(" TEXT ") return s:has('pcma'), s:has('opus'), tostring(s) == s.text", "true | false | true");
	lua_is("local s = sip.sdp(" TEXT "):keep{'PCMA'}:prefer{'PCMA'} return s.text:match('m=[^\\r]*'), s:has'PCMU'", "m=audio 4000 RTP/AVP 8 | false");
	lua_is("return sip.sdp(" TEXT "):drop('PCMU').text:match('m=[^\\r]*')", "m=audio 4000 RTP/AVP 8 101");
	lua_is("return sip.sdp(" TEXT "):keep{'opus'}.media[1].port", "0");
	lua_is("return sip.sdp('hello')", "nil | invalid | no session description: it does not begin with v=");
	lua_is("return sip.sdp(" TEXT "):keep{7}", "error: t:1: sdp:keep: entry 1: name of a codec expected, got number");
	lua_is("return sip.sdp(" TEXT ").colour", "nil");
	end();
}

/* What the issue names: 488 with Warning when a script demands a codec that is not there. */
static void a_codec_that_is_not_there_is_488_with_warning(void **state)
{
	struct phone_msg *m;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  local sdp = sip.sdp(call.body)\n"
		   "  if not sdp:has('opus') then return call:reject(488, nil, {warning = 'opus is wanted'}) end\n"
		   "end)\n");
	m = refused(dial("sip:bob@example.org"), "488");
	phone_assert_contains(m, "Warning", "399 10.0.0.1 \"opus is wanted\"");
	end();
}

static void an_edited_offer_goes_to_the_target(void **state)
{
	struct phone_call *a;
	struct phone_msg *m;

	(void)state;
	begin(PLAN "sip.on.invite(function(call)\n"
		   "  call:dial({'sip:bob@10.0.0.3'}, {sdp = sip.sdp(call.body):keep{'PCMA'}})\n"
		   "end)\n");
	a = phone_invite(alice, "sip:bob@example.org", NULL, "v=0\r\no=a 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\n");
	m = soon(bob, "INVITE");
	phone_assert_body(m, "v=0\r\no=a 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n");
	phone_assert_header(m, "Content-Type", "application/sdp");
	phone_reply(m, 200, NULL, NULL, SDP);
	soon(bob, "ACK");
	talk(a, bob);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_and_methods),
		cmocka_unit_test(a_codec_that_is_not_there_is_488_with_warning),
		cmocka_unit_test(an_edited_offer_goes_to_the_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
