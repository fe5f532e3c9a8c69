local t = require "siphook.test"

t.case("shared stores are set before and read after", function()
  local plan = t.load("dialplan.lua", { shared = { users = { ["pw:bob"] = "secret", count = 3, ratio = 0.5, on = true, list = { "a", "b" } } } })
  local users = plan:shared "users"
  t.equal(users:get "pw:bob", "secret")
  t.equal(users:get "count", 3)
  t.equal(users:get "ratio", 0.5)
  t.equal(users:get "on", true)
  t.equal(users:get "list", 2)
  t.equal(users:get "nothing", nil)
  users:set("pw:alice", "wonder")
  plan:phone("alice", { password = "wonder" }):register()
  users:delete "pw:alice"
  t.is_nil(users:get "pw:alice")
end)

t.case("the script sees its configuration", function()
  local plan = t.load("data/config.lua", { config = { greeting = "hello", number = 7 } })
  t.equal(plan:phone("alice"):invite("x"):expect(480).reason, "hello 7")
end)

t.case("the clock begins where the test says", function()
  local plan = t.load("data/config.lua", { config = { greeting = "it is", number = "time" }, time = { year = 2026, month = 11, day = 27, hour = 9 } })
  t.equal(plan:phone("alice"):invite("clock"):expect(480).reason, "Fri 09:00")
  plan:advance(3 * 3600)
  t.equal(plan:phone("bob"):invite("clock"):expect(480, 5).reason, "Fri 12:00")
end)

t.case("two plans at once know nothing of each other", function()
  local one = t.load("dialplan.lua", { shared = { users = { ["pw:bob"] = "secret" } } })
  local two = t.load("dialplan.lua")
  one:phone("bob", { password = "secret" }):register()
  t.equal(#one:registrations(), 1)
  t.equal(#two:registrations(), 0)
  two:advance(100)
  t.near(two:now(), 100)
  t.ok(one:now() < 1)
end)

t.case("names of peers resolve", function()
  local plan = t.load("data/config.lua", { config = { trunk = "sip:gw.example.net" } })
  local gateway = plan:peer "gw.example.net"
  local out = plan:phone("alice"):invite "trunk"
  gateway:expect("INVITE", { uri = "gw.example.net" }):answer()
  out:expect(200):ack()
end)

t.case("a network that is silent, and one that refuses", function()
  local plan = t.load("data/config.lua", { config = { trunk = "sip:10.9.9.9" } })
  plan:network("10.9.9.9", "silent")
  local out = plan:phone("alice"):invite "trunk"
  plan:advance(3)
  out:expect_none("4xx", 0)
  plan:advance(1)
  out:expect(408)
end)

t.case("a trunk whose peer is silent keeps no case from its end", function()
  local plan = t.load "data/trunk.lua"
  plan:peer "10.0.0.2"
  plan:advance(100)
  plan:expect_log "trunk silent is down %(408 No answer%)"
end)

t.case("web servers", function()
  local plan = t.load("data/web.lua", { http = {
    ["http://users.example/bob"] = { json = { says = "because" } },
    ["GET http://users.example/late"] = { delay = 1, body = '{"says":"late"}' },
    ["http://users.example/x.*"] = 404,
    ["http://users.example/slow"] = { error = "timeout" },
    ["http://users.example/asks"] = function(request) return { json = { says = request.method } } end,
  } })
  local alice = plan:phone "alice"
  t.equal(alice:invite("bob"):expect(486).reason, "because")
  t.equal(plan:expect_http("GET", "http://users.example/b.*").url, "http://users.example/bob")
  t.equal(alice:invite("xyz"):expect(404).reason, "HTTP 404")
  t.equal(alice:invite("asks"):expect(486).reason, "GET")
  local late = alice:invite "late"
  late:expect_none("486", 0.9)
  t.equal(late:expect(486).reason, "late")
  local slow = alice:invite "slow"
  plan:advance(2)
  t.equal(slow:expect(480).reason, "timeout")
  t.equal(alice:invite("nobody"):expect(480).reason, "unreachable")
  plan:http("http://users.example/nobody", '{"says":"now"}')
  t.equal(alice:invite("nobody"):expect(486).reason, "now")
end)

t.case("the script is reloaded while a call is up", function()
  local plan = t.load("dialplan.lua", { shared = { users = { ["pw:bob"] = "secret" } } })
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  local out = alice:invite "bob"
  bob:expect("INVITE"):answer()
  out:expect(200):ack()
  t.equal(plan:reload(), 2)
  t.equal(#plan:calls(), 1)
  out:bye():expect(200)
  t.equal(plan:status().generation, 2)
end)

t.case("listeners for TLS keep no others from opening", function()
  local plan = t.load("data/listeners.lua", { workers = 2 })
  plan:phone("alice"):invite("bob"):expect(486)
  plan:reload()
  local open = table.concat(plan:status().listeners, " ")
  t.ok(open:find("udp://0.0.0.0:5070", 1, true), open)
  t.ok(open:find("tcp://0.0.0.0:5071", 1, true), open)
end)

t.case("several workers", function()
  local plan = t.load("dialplan.lua", { workers = 3, shared = { users = { ["pw:bob"] = "secret" } } })
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  for _ = 1, 5 do
    local out = alice:invite "bob"
    bob:expect("INVITE"):answer()
    out:expect(200):ack()
    out:bye():expect(200)
    bob:expect "BYE"
  end
end)

t.case("print and the libraries of Lua are there", function()
  t.equal(type(io.open), "function")
  local keys = {}
  for key in pairs{ b = 1, a = 2, c = 3 } do keys[#keys + 1] = key end
  t.equal(keys, { "a", "b", "c" })
  t.equal(t.json.decode('{"a":[1,2]}'), { a = { 1, 2 } })
  function a_global() return 1 end
  t.equal(a_global(), 1)
  t.raises(function() error "x" end, "x")
  t.raises(function() t.equal(1, 2) end, "expected 2, got 1")
end)

t.case("a function that the binding hook spawns runs at once", function()
  local plan = t.load "data/spawn.lua"
  plan:phone("bob"):register()
  plan:expect_log "spawned: added sip:bob@"
end)

t.skip "a case for later"
