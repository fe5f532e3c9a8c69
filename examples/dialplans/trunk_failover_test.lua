local t = require "siphook.test"

local function network()
  local plan = t.load "trunk_failover.lua"
  return plan, plan:phone "alice", plan:peer("10.0.0.3", { name = "north" }), plan:peer("10.0.0.4", { name = "south" })
end

t.case("the first provider is asked, and told who calls", function()
  local _, alice, north = network()
  local out = alice:invite "+4930123"
  north:expect("INVITE", { uri = "sip:+4930123@10.0.0.3", ["P-Asserted-Identity"] = "sip:alice@" }):answer()
  out:expect(200):ack()
end)

t.case("one that says nothing costs two seconds, once", function()
  local plan, alice, north, south = network()
  local out = alice:invite "+4930123"
  north:expect "INVITE"
  south:expect_none("INVITE", 1.9)
  plan:advance(0.2)
  south:expect("INVITE"):answer()
  out:expect(200):ack()
  plan:expect_log "trunk north: 408 .*unreachable"
  out:bye():expect(200)

  local second = alice:invite "+4930456"              -- at once to the other
  south:expect("INVITE", 0.1):answer()
  second:expect(200):ack()
  second:bye():expect(200)

  plan:advance(60)                                     -- it has another chance
  local third = alice:invite "+4930789"
  north:expect("INVITE"):answer()
  third:expect(200):ack()
end)

t.case("a provider that fails is followed by the next, and not left out", function()
  local plan, alice, north, south = network()
  alice:invite "+4930123"
  north:expect("INVITE"):reply(503)
  south:expect "INVITE"
  t.is_nil(plan:shared("dead_trunks"):get "north")
end)

t.case("when all of them fail the caller gets the last one's answer", function()
  local _, alice, north, south = network()
  local out = alice:invite "+4930123"
  north:expect("INVITE"):reply(403)
  south:expect("INVITE"):reply(500)
  out:expect(500)
end)

t.case("what the called person says is passed on", function()
  local _, alice, north, south = network()
  local out = alice:invite "+4930123"
  north:expect("INVITE"):reply(486)
  out:expect(486)
  south:expect_none "INVITE"
end)

t.case("no provider is left", function()
  local plan, alice = network()
  for _, name in ipairs{ "north", "south" } do plan:shared("dead_trunks"):set(name, true) end
  alice:invite("+4930123"):expect(503, { reason = "No trunk", ["Retry-After"] = "60" })
end)

t.case("only telephone numbers go out", function()
  local _, alice, north = network()
  alice:invite("bob"):expect(404, { reason = "Not a telephone number" })
  north:expect_none "INVITE"
end)
