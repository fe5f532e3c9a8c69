local t = require "siphook.test"

local function network()
  local plan = t.load "least_cost.lua"
  return plan, plan:phone "alice", plan:peer("10.0.1.1", { name = "north" }), plan:peer("10.0.1.2", { name = "south" }),
         plan:peer("10.0.1.3", { name = "east" })
end

t.case("the longest prefix decides, the cheapest carrier is asked", function()
  local plan, alice, north, south, east = network()
  local out = alice:invite "+49301234567"
  east:expect("INVITE", { uri = "sip:00049301234567@10%.0%.1%.3" }):answer()
  out:expect(200):ack()
  plan:expect_log "%+49301234567 by east at 0.8 cents"
  out:bye()

  alice:invite "+12125550100"
  south:expect("INVITE", { uri = "%+12125550100" })
  alice:invite "+49171555"
  north:expect("INVITE", { uri = "%+49171555" })
end)

t.case("a carrier that fails is followed by the next", function()
  local _, alice, north, south, east = network()
  local out = alice:invite "+4930555"
  east:expect("INVITE"):reply(503)
  north:expect("INVITE"):reply(500)
  south:expect("INVITE"):answer()
  out:expect(200):ack()
end)

t.case("one that says nothing costs two seconds", function()
  local plan, alice, north, _, east = network()
  alice:invite "+4930555"
  east:expect "INVITE"
  north:expect_none("INVITE", 1.9)
  plan:advance(0.2)
  north:expect "INVITE"
end)

t.case("what the called person says is passed on", function()
  local _, alice, north, _, east = network()
  local out = alice:invite "+4930555"
  east:expect("INVITE"):reply(486)
  out:expect(486)
  north:expect_none "INVITE"
end)

t.case("numbers are brought into one form", function()
  local _, alice, _, _, east = network()
  for _, dialled in ipairs{ "0049 30 555", "030-555", "+49 (30) 555" } do
    alice:invite(dialled)
    east:expect("INVITE", { uri = "00049?30555" }):reply(486)
  end
  alice:invite("hello"):expect(484)
end)

t.case("where nobody goes", function()
  local _, alice = network()
  t.equal(alice:invite("+882123"):expect(403).reason, "No route to this destination")
end)
