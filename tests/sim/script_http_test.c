/* sip.http and sip.json in hooks: what goes out, what comes back, and what becomes of it when nobody waits any more. */
#include "script_world.h"

#include <errno.h>

struct server {
	unsigned asked;
	char seen[2000]; /* method, URL, header lines, body of the last request */
	struct sh_sim_http_reply reply;
};

static void serve(const struct sh_http_request *rq, struct sh_sim_http_reply *reply, void *ctx)
{
	struct server *s = ctx;
	int n;

	s->asked++;
	n = snprintf(s->seen, sizeof(s->seen), "%.*s %.*s", SH_FMT(rq->method), SH_FMT(rq->url));
	for (size_t i = 0; i < rq->nheaders; i++)
		n += snprintf(s->seen + n, sizeof(s->seen) - (size_t)n, "|%.*s", SH_FMT(rq->headers[i]));
	snprintf(s->seen + n, sizeof(s->seen) - (size_t)n, "|%.*s", SH_FMT(rq->body));
	*reply = s->reply;
}

static struct server server;

static void begin_with_server(const char *script)
{
	begin(script);
	server = (struct server){.reply = {.status = 200,
					   .headers = SH_LIT("Content-Type: text/plain\r\nX-A: 1\r\nx-a: 2\r\n"),
					   .body = SH_LIT("hello")}};
	sh_sim_set_http(w->sim, serve, &server);
}

#define seen_is(text) assert_string_equal(server.seen, text)

static void requests_go_out_and_answers_come_back(void **state)
{
	(void)state;
	begin_with_server(EVAL);
	lua_is("local r = sip.http.get('http://h/a') return r.status, r.body, r.headers['content-TYPE'], r.headers['X-A'], "
	       "r.headers.none",
	       "200 | hello | text/plain | 1, 2 | nil");
	seen_is("GET http://h/a|");
	lua_is("return sip.http.post('https://h/b', 'x=1', {content_type = 'a/b', headers = {B = {1, 'two'}, A = ''}}).status",
	       "200");
	seen_is("POST https://h/b|Content-Type: a/b|A;|B: 1|B: two|x=1");
	lua_is("return sip.http.request{url = 'http://h/c', method = 'PUT', body = 'y', user = 'u', password = 'p'}.body",
	       "hello");
	seen_is("PUT http://h/c|y");
	server.reply.status = 404;
	server.reply.body = SH_LIT("");
	lua_is("local r, e = sip.http.get('http://h/') return r.status, #r.body, e", "404 | 0 | nil");
	lua_is("return sip.http.escape('a b&c=/\xc3\xa4')", "a%20b%26c%3D%2F%C3%A4");
	end();
}

static void what_goes_wrong_comes_back_as_a_word(void **state)
{
	(void)state;
	begin_with_server(EVAL);
	server.reply = (struct sh_sim_http_reply){.error = -ENOENT, .detail = "no such name"};
	lua_is("return sip.http.get('http://nowhere/')", "nil | name | no such name");
	server.reply = (struct sh_sim_http_reply){.error = -EPROTO, .detail = "certificate"};
	lua_is("return sip.http.get('https://h/')", "nil | tls | certificate");
	server.reply = (struct sh_sim_http_reply){.status = 200, .delay = SH_NEVER};
	lua_is("local t = sip.now() local r, e = sip.http.get('http://h/', {timeout = 0.5}) return r, e, sip.now() - t < 0.6",
	       "nil | timeout | true");
	server.reply = (struct sh_sim_http_reply){.status = 200, .body = SH_LIT("0123456789")};
	lua_is("return sip.http.get('http://h/', {max_size = 9})", "nil | size | the answer is too long");
	sh_sim_set_http(w->sim, NULL, NULL);
	lua_is("return (select(2, sip.http.get('http://h/')))", "unreachable");
	lua_is("return (select(2, sip.http.get('ftp://h/')))", "invalid");
	lua_is("return (select(2, sip.http.get('http://h/a b')))", "invalid");
	lua_is("local x = sip.http.get()", "error: t:1: bad argument #1 to 'get' (string expected, got no value)");
	lua_is("local x = sip.http.get('http://h/', {time = 5})", "error: t:1: sip.http.get: unknown option 'time'");
	lua_is("local x = sip.http.get('http://h/', {headers = {A = 'x\\ny'}})",
	       "error: t:1: 'A': CR, LF and NUL are not allowed in a header field");
	lua_is("local x = sip.http.request{}", "error: t:1: sip.http.request: option 'url' is missing");
	lua_is("return pcall(table.sort, {1, 2}, function() sip.http.get('http://h/') end)",
	       "false | t:1: sip.http.get cannot wait here (inside a callback of table.sort, string.gsub or the like)");
	end();
}

#define ROUTE(rest)                                                                                                    \
	PLAN "sip.on.invite(function(call)\n"                                                                          \
	     "  local r, e = sip.http.get('http://crm/' .. call.uri.user, {timeout = 30})\n" rest "end)\n"

static void a_call_is_routed_by_what_a_web_server_says(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_with_server(ROUTE("  if not r then return call:reject(503) end\n"
				"  local user = sip.json.decode(r.body)\n"
				"  if user.forward then return call:dial(user.forward) end\n"
				"  call:reject(404)\n"));
	server.reply = (struct sh_sim_http_reply){.status = 200,
						  .body = SH_LIT("{\"forward\": \"sip:bob@10.0.0.3\", \"x\": null}"),
						  .delay = SH_SECOND};
	c = dial("sip:help@example.org");
	soon(alice, "100");
	world_advance(w, 3 * SH_SECOND);
	seen_is("GET http://crm/help|");
	answer(bob, 200);
	talk(c, bob);
	server.reply = (struct sh_sim_http_reply){.status = 200, .body = SH_LIT("{\"forward\": null}")};
	refused(dial("sip:help@example.org"), "404");
	end();
}

static void a_caller_who_goes_while_a_web_server_thinks_ends_the_request(void **state)
{
	struct phone_call *c;

	(void)state;
	begin_with_server(ROUTE("  error 'never'\n") "sip.on.hangup(function(call, why) sip.log.info('gone: %s', why.by) end)\n");
	server.reply.delay = 20 * SH_SECOND;
	c = dial("sip:help@example.org");
	world_advance(w, SH_SECOND);
	assert_int_equal(server.asked, 1);
	phone_cancel(c, NULL);
	soon(alice, "200 CANCEL");
	refused(c, "487");
	world_expect_log(w, "gone: caller");
	ignore_trying(alice);
	world_advance(w, 60 * SH_SECOND);
	end();
}

static void hooks_that_ask_when_all_ends_are_dropped(void **state)
{
	(void)state;
	begin_with_server(ROUTE("  error 'never'\n"));
	server.reply.delay = SH_NEVER;
	dial("sip:help@example.org");
	world_advance(w, SH_SECOND);
	world_abandon(w);
}

static void json_is_read(void **state)
{
	(void)state;
	begin(EVAL);
	lua_is("local v = sip.json.decode '{\"a\": [1, 2.5, \"x\\\\u0041\", true, null], \"b\": {}, \"c\": null}' "
	       "return v.a[1], v.a[2], v.a[3], v.a[4], v.a[5] == sip.json.null, #v.a, type(v.b), v.c, math.type(v.a[1])",
	       "1 | 2.5 | xA | true | true | 5 | table | nil | integer");
	lua_is("return sip.json.decode '5', sip.json.decode '\"x\"', sip.json.decode 'false', sip.json.decode 'null' == "
	       "sip.json.null",
	       "5 | x | false | true");
	lua_is("local v, e = sip.json.decode '{\"a\": }' return v, e", "nil | invalid");
	lua_is("local v, e, d = sip.json.decode '' return v, e, type(d)", "nil | invalid | string");
	lua_is("return (select(2, sip.json.decode('[1] x')))", "invalid");
	lua_is("return (select(2, sip.json.decode('\"\\xff\"')))", "invalid");
	lua_is("return sip.json.decode(('['):rep(101) .. (']'):rep(101))", "nil | invalid | line 1, column 101: too deep");
	lua_is("return (select(2, sip.json.decode(('['):rep(100000))))", "invalid");
	lua_is("return #sip.json.decode(('['):rep(100) .. (']'):rep(100))", "1");
	end();
}

static void json_is_written(void **state)
{
	(void)state;
	begin(EVAL);
	lua_is("return sip.json.encode{b = {1, 2, 'x'}, a = {c = true}, d = sip.json.null, e = 1.0, f = 0.1, g = {}}",
	       "{\"a\":{\"c\":true},\"b\":[1,2,\"x\"],\"d\":null,\"e\":1.0,\"f\":0.1,\"g\":{}}");
	lua_is("return sip.json.encode('a\"\\\\\\n\\0\\127/')", "\"a\\\"\\\\\\n\\u0000\\u007f/\"");
	lua_is("return sip.json.encode(nil), sip.json.encode(1 / 3), sip.json.encode(1e300), sip.json.encode(-2^63)",
	       "null | 0.33333333333333331 | 1e+300 | -9.2233720368547758e+18");
	lua_is("return sip.json.encode({1, nil, 3})", "{\"1\":1,\"3\":3}");
	lua_is("return sip.json.encode(sip.uri 'sip:a@b')", "\"sip:a@b\"");
	lua_is("return sip.json.encode({a = {1}}, {indent = 2})", "{\n  \"a\": [\n    1\n  ]\n}");
	lua_is("local x = sip.json.encode(print)", "error: t:1: sip.json.encode: a function has no form in JSON");
	lua_is("local x = sip.json.encode(0/0)", "error: t:1: sip.json.encode: JSON has no number for nan");
	lua_is("local t = {} t[1] = t local x = sip.json.encode(t)",
	       "error: t:1: sip.json.encode: deeper than 100, or a table that contains itself");
	lua_is("local x = sip.json.encode{[true] = 1}", "error: t:1: sip.json.encode: a key of an object is a string, not a boolean");
	lua_is("local t = {} for i = 1, 500 do t[i] = {n = i, s = ('x'):rep(i)} end "
	       "local u = sip.json.decode(sip.json.encode(t)) return #u, u[500].n, #u[500].s",
	       "500 | 500 | 500");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(requests_go_out_and_answers_come_back),
	    cmocka_unit_test(what_goes_wrong_comes_back_as_a_word),
	    cmocka_unit_test(a_call_is_routed_by_what_a_web_server_says),
	    cmocka_unit_test(a_caller_who_goes_while_a_web_server_thinks_ends_the_request),
	    cmocka_unit_test(hooks_that_ask_when_all_ends_are_dropped),
	    cmocka_unit_test(json_is_read),
	    cmocka_unit_test(json_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
