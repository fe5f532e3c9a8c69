/* URIs as scripts see them, and the small codecs. */
#include "script_helpers.h"

#include "msg/digest.h"
#include "script/codec.h"
#include "script/runtime_log.h"
#include "script/uri_object.h"

static int open_sip(lua_State *L)
{
	lua_newtable(L);
	sh_uri_object_open(L);
	sh_codec_open(L);
	sh_runtime_log_open(L);
	sh_sandbox_preload(L, "siphook");
	return 0;
}

static struct sh_vm *sip_vm(struct world *w)
{
	struct sh_vm_config config = world_config(w);
	struct sh_vm *vm = vm_with(&config);

	assert_int_equal(sh_vm_call(vm, open_sip, NULL, 0), 0);
	return vm;
}

/* The script has `sip` and `same(a, b)`. */
static void holds(const char *text)
{
	static const char head[] = "local sip = require 'siphook' local function same(a, b) if a ~= b then\n"
				   "  error(tostring(a) .. ' is not ' .. tostring(b), 2) end end ";
	char all[4096];
	struct world w;
	struct sh_vm *vm = sip_vm(&w);

	snprintf(all, sizeof(all), "%s%s", head, text);
	vm_must_load(vm, all);
	sh_vm_destroy(vm);
}

static void parts_are_read_and_decoded(void **state)
{
	(void)state;
	holds(
	    "local u = sip.uri 'sip:al%20ice:pw%3a@Example.ORG:5070;transport=TCP;lr;x=%41b?Subject=a%20b&h2=c'\n"
	    "same(u.scheme, 'sip') same(u.user, 'al ice') same(u.password, 'pw:') same(u.host, 'Example.ORG') "
	    "same(u.port, 5070)\n"
	    "same(u.params.transport, 'TCP') same(u.params.lr, true) same(u.params.x, 'Ab') same(u.params.none, nil)\n"
	    "same(u.headers.Subject, 'a b') same(u.headers.h2, 'c') same(u.display, nil) same(u.tag, nil) "
	    "same(u.nothing, nil)\n"
	    "same(tostring(u), 'sip:al%20ice:pw%3a@Example.ORG:5070;transport=TCP;lr;x=%41b?Subject=a%20b&h2=c')");
	holds("local u = sip.uri 'SIPS:[2001:db8::1]' same(u.scheme, 'sips') same(u.user, nil) same(u.host, "
	      "'[2001:db8::1]') same(u.port, nil)\n"
	      "same(next(u.params), nil) same(next(u.headers), nil) same(u.password, nil)");
	holds("local u = sip.uri 'tel:+1-201-555;ext=3' same(u.scheme, 'tel') same(u.user, '+1-201-555') same(u.host, "
	      "nil) same(u.params.ext, '3')");
	holds("local u = sip.uri 'urn:service:sos' same(u.scheme, 'urn') same(u.user, 'service:sos')");
	holds("local u = sip.uri 'sip:a%00b%zz%4@x' same(u.user, 'a\\0b%zz%4')");
}

static void a_name_addr_has_display_and_tag(void **state)
{
	(void)state;
	holds("local u = sip.uri '  \"Bob \\\\\"B\\\\\" X\" <sip:bob@x;ob>;tag=1a;q=0.5;lr;n=\"a;b\" '\n"
	      "same(u.display, 'Bob \"B\" X') same(u.user, 'bob') same(u.tag, '1a') same(u.params.ob, true) "
	      "same(u.params.tag, nil)\n"
	      "same(u.field.q, '0.5') same(u.field.lr, true) same(u.field.n, 'a;b') same(u.uri, 'sip:bob@x;ob')\n"
	      "same(tostring(u), '\"Bob \\\\\"B\\\\\" X\" <sip:bob@x;ob>;tag=1a;q=0.5;lr;n=\"a;b\"')");
	holds("local u = sip.uri 'Bob Smith <sip:bob@x>' same(u.display, 'Bob Smith') same(u.tag, nil)");
	holds("local u = sip.uri 'sip:bob@x;tag=1' same(u.tag, nil) same(u.params.tag, '1')");
}

static int push_fields(lua_State *L)
{
	lua_settop(L, 0);
	assert_int_equal(sh_uri_object_push_field(L, SH_LIT("sip:bob@x;tag=1")), 0);
	assert_int_equal(sh_uri_object_push_field(L, SH_LIT("\"A\r\n B\" <sip:bob@x>\r\n ;tag=2")), 0);
	assert_int_equal(sh_uri_object_push_field(L, SH_LIT("sip:a@x, sip:b@x")), -EINVAL);
	assert_int_equal(sh_uri_object_push_field(L, SH_LIT("*")), -EINVAL);
	assert_int_equal(sh_uri_object_push_field(L, SH_LIT("")), -EINVAL);
	assert_int_equal(sh_uri_object_push_field(L, SH_LIT("<sip:b@x>\0")), -EINVAL);
	assert_int_equal(lua_gettop(L), 2);
	luaL_loadstring(L, "local a, b = ... assert(a.tag == '1' and a.params.tag == nil and a.host == 'x')\n"
			   "assert(b.tag == '2' and b.display == 'A   B' and not tostring(b):find('[\\r\\n]'))");
	lua_insert(L, 1);
	lua_call(L, 2, 0);
	return 0;
}

static void header_fields_follow_their_own_rule(void **state)
{
	struct world w;
	struct sh_vm *vm = sip_vm(&w);
	(void)state;

	if (sh_vm_call(vm, push_fields, NULL, 0))
		fail_msg("%s", vm->error.message);
	sh_vm_destroy(vm);
}

static void changed_copies_leave_the_rest(void **state)
{
	(void)state;
	holds("local u = sip.uri 'sip:bob@x:5070;transport=tcp;lr?a=b'\n"
	      "same(tostring(u:with{user = 'al ice@home'}), 'sip:al%20ice%40home@x:5070;transport=tcp;lr?a=b')\n"
	      "same(tostring(u:with{user = false, port = false}), 'sip:x;transport=tcp;lr?a=b')\n"
	      "same(tostring(u:with{scheme = 'sips', host = '[::1]', port = 5061}), "
	      "'sips:bob@[::1]:5061;transport=tcp;lr?a=b')\n"
	      "same(tostring(u:with{params = {transport = 'udp', LR = false, z = true, ['n m'] = 'p;q'}}), "
	      "'sip:bob@x:5070;n%20m=p%3Bq;transport=udp;z?a=b')\n"
	      "same(tostring(u:with{params = false, headers = false}), 'sip:bob@x:5070')\n"
	      "same(tostring(u:with{headers = {Subject = 'a b&c'}}), "
	      "'sip:bob@x:5070;transport=tcp;lr?a=b&Subject=a%20b%26c')\n"
	      "same(tostring(u:with{display = 'B \"x\"', tag = 't1'}), '\"B \\\\\"x\\\\\"\" "
	      "<sip:bob@x:5070;transport=tcp;lr?a=b>;tag=t1')\n"
	      "same(tostring(u:with{user = 'bob', password = 'p:w'}), 'sip:bob:p%3Aw@x:5070;transport=tcp;lr?a=b')\n"
	      "same(tostring(u:with{}), tostring(u)) same(u.user, 'bob')");
	holds("local u = sip.uri '\"Bob\" <sip:bob@x>;tag=1;q=0.5'\n"
	      "same(tostring(u:with{tag = false}), '\"Bob\" <sip:bob@x>;q=0.5') same(tostring(u:with{display = "
	      "false}), '<sip:bob@x>;q=0.5;tag=1' and '<sip:bob@x>;tag=1;q=0.5')\n"
	      "same(tostring(u:with{user = 'al', tag = '2'}), '\"Bob\" <sip:al@x>;tag=2;q=0.5')");
	holds("same(tostring(sip.uri('tel:+123'):with{user = '+456', params = {ext = 7}}), 'tel:+456;ext=7')\n"
	      "same(tostring(sip.uri('tel:+123'):with{scheme = 'sip', host = 'gw'}), 'sip:+123@gw')");
	holds(
	    "local u = sip.uri 'sip:bob@x'\n"
	    "local function fails(t, part) local ok, e = pcall(u.with, u, t) assert(not ok and e:find(part, 1, true), "
	    "e) end\n"
	    "fails({usr = 1}, \"no part 'usr'\") fails({user = {}}, 'user must be a string') fails({user = true}, "
	    "'user must be')\n"
	    "fails({host = 'a b'}, 'is not a URI') fails({host = ''}, 'is not a URI') fails({port = 70000}, 'is not a "
	    "URI') fails({tag = 'a b'}, 'not a token')\n"
	    "fails({params = 1}, 'params must be a table') fails({params = {1}}, 'name must be a string') "
	    "fails({params = {a = {}}}, 'params.a must be')\n"
	    "fails({display = 'a\\r\\nVia: x'}, 'is not a URI') fails({scheme = 'sip:x@'}, '')\n"
	    "local ok, e = pcall(function() u.user = 'x' end) assert(e:find('use uri:with{user = ...}', 1, true), e)");
}

static void tables_and_bad_texts(void **state)
{
	(void)state;
	holds("same(tostring(sip.uri{user = 'a;b c', host = 'x.org', port = 5080, params = {transport = 'tls'}}), "
	      "'sip:a;b%20c@x.org:5080;transport=tls')\n"
	      "same(tostring(sip.uri{scheme = 'tel', user = '+1'}), 'tel:+1') same(tostring(sip.uri{host = 'x', "
	      "display = 'Me'}), '\"Me\" <sip:x>')\n"
	      "local u = sip.uri 'sip:x' same(sip.uri(u), u)");
	holds("for _, s in ipairs{'', 'x', 'sip:', 'sip:@x', 'sip:a@b@c', 'sip:a b@x', 'sip:a@x:99999', "
	      "'sip:a@x\\r\\n', '<sip:a@x', 'sip:a@x\\nb', 'sip:a\\0@x',\n"
	      "  '<sip:a@x>, <sip:b@x>', '*', 'sip:[::x]', ('sip:'):rep(5000)} do\n"
	      "  local u, code = sip.uri(s) if s ~= 'sip:a@x\\r\\n' then assert(u == nil and code == 'invalid', s) end "
	      "end\n"
	      "local u, code = sip.uri{user = 'x'} assert(u == nil and code == 'invalid')\n"
	      "assert(not pcall(sip.uri, 5) and not pcall(sip.uri, nil) and not pcall(sip.uri, {foo = 1}))");
}

static void equality_is_that_of_sip(void **state)
{
	(void)state;
	holds("local a, b = sip.uri 'sip:%61lice@Example.org;a=1', sip.uri '\"X\" <sip:alice@example.ORG;A=1>;tag=9'\n"
	      "assert(a == b and a ~= sip.uri 'sip:Alice@example.org;a=1' and a ~= sip.uri "
	      "'sips:alice@example.org;a=1' and a ~= 'sip:x')\n"
	      "assert(not pcall(function() return {} .. a end))\n"
	      "same(getmetatable(a), false)");
}

static void hashes_and_hmacs_are_right(void **state)
{
	(void)state;
	assert_int_equal(sh_digest_init(), 0);
	holds(
	    "same(sip.hash('md5', ''), 'd41d8cd98f00b204e9800998ecf8427e')\n"
	    "same(sip.hash('SHA256', 'abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')\n"
	    "same(sip.hash('sha512-256', 'abc'), '53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23')\n"
	    "same(#sip.hash('sha256', 'abc', 'raw'), 32) same(sip.hash('md5', 'a', 'raw'):byte(1), 0x0c)\n"
	    "same(sip.hmac('sha256', ('\\x0b'):rep(20), 'Hi There'), "
	    "'b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7')\n"
	    "same(sip.hmac('sha256', ('\\xaa'):rep(131), 'Test Using Larger Than Block-Size Key - Hash Key First'),\n"
	    "  '60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54')\n"
	    "same(sip.hmac('md5', 'Jefe', 'what do ya want for nothing?'), '750c783e6ab0b503eaa86e310a5db738')\n"
	    "same(sip.hash('sha1', 'abc'), 'a9993e364706816aba3e25717850c26c9cd0d89d')\n"
	    "same(sip.hash('sha384', 'abc'), 'cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7')\n"
	    "same(sip.hash('sha512', 'abc', 'raw'):byte(1), 0xdd) same(#sip.hash('SHA-512', 'abc', 'raw'), 64)\n"
	    "same(sip.hmac('sha1', 'Jefe', 'what do ya want for nothing?'), 'effcdf6ae5eb2fa2d27416d5f184df9c259a7c79')\n"
	    "same(sip.hmac('sha512', ('\\xaa'):rep(131), 'Test Using Larger Than Block-Size Key - Hash Key First'),\n"
	    "  '80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598')\n"
	    "assert(not pcall(sip.hash, 'sha3', 'x') and not pcall(sip.hash, 'md5', {}) and not pcall(sip.hash, 'md5', "
	    "'x', 'b'))");
	sh_digest_finish();
}

static void base64_and_uuid(void **state)
{
	(void)state;
	holds("local e, d = sip.base64.encode, sip.base64.decode\n"
	      "for i, s in ipairs{'', 'Zg==', 'Zm8=', 'Zm9v', 'Zm9vYg==', 'Zm9vYmE=', 'Zm9vYmFy'} do\n"
	      "  local t = ('foobar'):sub(1, i - 1) same(e(t), s) same(d(s), t) same(d((s:gsub('=', ''))), t) end\n"
	      "local all = '' for i = 0, 255 do all = all .. string.char(i) end same(d(e(all)), all) same(d('-_-_'), "
	      "d('+/+/'))\n"
	      "for _, s in ipairs{'Z', 'Zg=', 'Zg===', 'Z===', '=', '====', 'Zm 9', 'Zm9v=', 'Z\\0==', 'Zm8=Zm8='} do\n"
	      "  local r, code = d(s) assert(r == nil and code == 'invalid', s) end\n"
	      "local u, v = sip.uuid(), sip.uuid()\n"
	      "assert(u ~= v and u:match('^%x+%-%x+%-4%x%x%x%-[89ab]%x%x%x%-%x+$') and #u == 36, u)");
}

static void log_lines_name_their_place(void **state)
{
	struct world w;
	struct sh_vm *vm = sip_vm(&w);
	(void)state;

	vm_must_load(vm,
		     "local sip = require 'siphook'\n"
		     "function a()\n  sip.log.warn('%s is %d', 'x', 3)\nend\n"
		     "function b() sip.log.info('100%') end\n"
		     "function c() sip.log.error('%d', 'x') end\n"
		     "function d() sip.log.debug(setmetatable({}, {__tostring = function() return 'obj\\n' end})) end\n"
		     "function e() sip.log.error(('x'):rep(5000)) end");
	assert_int_equal(vm_run(vm, "a"), 0);
	assert_string_equal(w.line, "plan.lua:3: x is 3");
	assert_int_equal(w.level, SH_LOG_WARN);
	assert_int_equal(vm_run(vm, "b"), 0);
	assert_string_equal(w.line, "plan.lua:5: 100%");
	assert_int_equal(vm_run(vm, "c"), -EINVAL);
	assert_error(vm, "number expected, got string");
	assert_int_equal(vm_run(vm, "d"), 0);
	assert_string_equal(w.line, "plan.lua:7: obj\\x0a");
	assert_int_equal(vm_run(vm, "e"), 0);
	assert_true(strlen(w.line) < 1000);
	atomic_store(&w.log.level, SH_LOG_ERROR);
	w.line[0] = '\0';
	assert_int_equal(vm_run(vm, "b"), 0);
	assert_string_equal(w.line, "");
	sh_vm_destroy(vm);
}

static void every_allocation_may_fail(void **state)
{
	struct world w;
	struct sh_vm *vm = sip_vm(&w);
	bool done = false;
	(void)state;

	vm_must_load(vm, "local sip = require 'siphook'\n"
			 "function hook() local u = sip.uri '\"Bob\" <sip:b%20b@x;a=1>;tag=1' local v = u:with{user = "
			 "'x y', params = {b = 2}, display = 'Q'}\n"
			 "  assert(v.user == 'x y' and v.params.b == '2' and v.tag == '1' and "
			 "#sip.base64.encode(('x'):rep(3000)) == 4000) end");
	for (long n = 0; !done; n++) {
		int err;

		sh_alloc_fail_after(n);
		err = vm_run(vm, "hook");
		sh_alloc_fail_after(-1);
		if (err != 0 && err != -ENOMEM)
			fail_msg("%ld: %d %s", n, err, vm->error.message);
		done = err == 0;
	}
	sh_vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(parts_are_read_and_decoded),
	    cmocka_unit_test(a_name_addr_has_display_and_tag),
	    cmocka_unit_test(header_fields_follow_their_own_rule),
	    cmocka_unit_test(changed_copies_leave_the_rest),
	    cmocka_unit_test(tables_and_bad_texts),
	    cmocka_unit_test(equality_is_that_of_sip),
	    cmocka_unit_test(hashes_and_hmacs_are_right),
	    cmocka_unit_test(base64_and_uuid),
	    cmocka_unit_test(log_lines_name_their_place),
	    cmocka_unit_test(every_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
