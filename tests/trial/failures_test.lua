-- What a case that fails says. The part of its name behind the bar must be in the failure.
local t = require "siphook.test"

local function office(options)
  options = options or {}
  options.shared = { users = { ["pw:bob"] = "secret" } }
  return t.load("dialplan.lua", options)
end

t.case("wrong answer | alice expected 180 Ringing, but 500 Server Internal Error (INVITE) came", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  local out = alice:invite("bob")
  bob:expect("INVITE"):reply(486)
  out:expect(180)
end)

t.case("the place is the test's line | failures_test.lua:23: bob expected INVITE, but nothing came within 1 s", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  alice:invite "900"
  bob:expect "INVITE"
end)

t.case("a header field that does not match | but its from is \"<sip:alice@198.18.0.1>", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  alice:invite "bob"
  bob:expect("INVITE", { from = "carol" })
end)

t.case("another request came | bob expected BYE, but INVITE sip:bob@198.18.1.2:5060 came within 1 s", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  alice:invite "bob"
  bob:expect "BYE"
end)

t.case("codecs | PCMA is offered", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  alice:invite("bob")
  bob:expect("INVITE", { sdp = { has = "PCMU", lacks = "PCMA" } })
end)

t.case("a wrong password | (the password is not the right one)", function()
  office():phone("bob", { password = "wrong" }):register()
end)

t.case("no password | (it has no password", function()
  office():phone("bob"):register()
end)

t.case("an answer too many | bob has answered this INVITE with 486 already", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  alice:invite "bob"
  local call = bob:expect "INVITE"
  call:reply(486)
  call:answer()
end)

t.case("too early | alice cannot send BYE: the call is not answered", function()
  office():phone("alice"):invite("bob"):bye()
end)

t.case("too late | alice cannot cancel: the call has its final answer", function()
  local out = office():phone("alice"):invite "900"
  out:expect(603)
  out:cancel()
end)

t.case("an unwanted request | bob expected no INVITE, but INVITE sip:bob@198.18.1.2:5060 came", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  alice:invite "bob"
  bob:expect_none "INVITE"
end)

t.case("a dial plan that does not load | data/syntax.lua:2:", function() t.load("data/syntax.lua") end)
t.case("a dial plan that is not there | cannot read", function() t.load("data/nowhere.lua") end)
t.case("a time that is none | t.load: option 'time': seconds since 1970 or a table as for os.time expected, got string", function()
  t.load("dialplan.lua", { time = "noon" })
end)
t.case("a time without a month | t.load: option 'time': field 'month' missing in date table", function()
  t.load("dialplan.lua", { time = { year = 2026 } })
end)
t.case("a delay that is none | t.load: option 'delay': a number from 0 on expected, got string", function()
  t.load("dialplan.lua", { delay = "x" })
end)
t.case("a loss below nothing | t.load: option 'loss': a share from 0 to 1 expected, got -1", function() t.load("dialplan.lua", { loss = -1 }) end)
t.case("an option that is unknown | t.load: unknown option 'sharred'", function() t.load("dialplan.lua", { sharred = {} }) end)
t.case("an option of a phone | phone: unknown option 'pasword'", function() office():phone("bob", { pasword = "x" }) end)
t.case("an option of a verb | failures_test.lua:101: invite: unknown option 'heders'", function()
  office():phone("alice"):invite("900", { heders = {} }) end)
t.case("an option of another verb | register: unknown option 'direction'", function() office():phone("alice"):register{ direction = "inactive" } end)
t.case("an option of a wrong type | invite: option 'headers' is a string", function() office():phone("alice"):invite("900", { headers = "X" }) end)
t.case("options that are none | info: options are a table, got string", function() office():phone("alice"):invite("900"):info("a", "b") end)
t.case("an option of an answer | reply: unknown option 'boddy'", function()
  local plan = office()
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  alice:invite "bob"
  bob:expect("INVITE"):reply(180, { boddy = "" })
end)
t.case("nobody is called | whom? a name or a URI is expected", function() office():phone("alice"):invite() end)
t.case("a place that is taken | Address already in use", function()
  local plan = office()
  plan:peer "10.0.0.9"
  plan:peer "10.0.0.9"
end)
t.case("what is no method | expect: 'invite' is neither a method nor a code", function() office():phone("alice"):expect "invite" end)
t.case("a mistake of the test | attempt to index a nil value", function() local x = nil ; return x.y end)
t.case("values | expected {a = 1, b = {3}}, got {a = 1, b = {2}}", function() t.equal({ a = 1, b = { 2 } }, { a = 1, b = { 3 } }) end)
t.case("texts | \"abc\" does not match \"x\"", function() t.match("abc", "x") end)
t.case("no error | expected an error, none was raised", function() t.raises(function() end) end)
t.case("the log | no line of the log matches \"xyz\"", function() office():expect_log "xyz" end)
t.case("a web server | web server of the test: ", function()
  local plan = t.load("data/web.lua", { http = function() error "broken" end })
  plan:phone("alice"):invite("bob"):expect "4xx"
end)
t.case("a closed plan | the plan is closed", function()
  local plan = office()
  plan:close()
  plan:advance(1)
end)

t.case("an instance ends with a counted call up | on purpose", function()
  t.load("data/legs.lua"):phone("alice"):invite("counted"):expect(200):ack()
  t.fail "on purpose"
end)
