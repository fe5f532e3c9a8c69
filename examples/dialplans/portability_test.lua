local t = require "siphook.test"

local function house(answers)
  local plan = t.load("portability.lua", { http = answers })
  return plan, plan:phone "alice", plan:peer("10.0.2.1", { name = "network 1" }), plan:peer("10.0.2.9", { name = "transit" })
end

t.case("a ported number goes to its network, with the routing number", function()
  local _, alice, one = house{ [".*/%%2B4930555"] = { json = { routing_number = "+4919900" } } }
  local out = alice:invite "+4930555"
  one:expect("INVITE", { uri = "sip:%+4930555;rn=%+4919900;npdi@10%.0%.2%.1" }):answer()
  out:expect(200):ack()
end)

t.case("one that was not ported goes to the transit, marked as asked", function()
  local plan, alice, _, transit = house{ [".*"] = 404 }
  alice:invite "+4930555"
  transit:expect("INVITE", { uri = "sip:%+4930555;npdi@" }):reply(486)
  alice:invite "+4930555"
  transit:expect "INVITE"
  t.equal(#plan.requests, 1)                           -- the answer is kept
end)

t.case("a service that is slow costs half a second and no call", function()
  local plan, alice, _, transit = house{ [".*"] = { error = "timeout" } }
  alice:invite "+4930555"
  plan:advance(0.5)
  transit:expect("INVITE", { uri = "sip:%+4930555@" })
  plan:expect_log "portability of"
end)

-- Each answer of the service that says nothing about the number, for two calls: the service is asked again.
for what, answer in pairs{
  ["that is no JSON"] = "<html>Welcome</html>", ["with a list of another kind"] = { json = { routing_number = 42 } },
  ["that is a word"] = '"+4919900"', ["that it is down"] = 503, ["that we may not ask"] = 401,
} do
  t.case("an answer " .. what .. " does not count as one", function()
    local plan, alice, _, transit = house{ [".*"] = answer }
    for _ = 1, 2 do
      alice:invite "+4930555"
      transit:expect("INVITE", { uri = "sip:%+4930555@" }):reply(486)
    end
    t.equal(#plan.requests, 2)
    plan:expect_log "portability of"
  end)
end

t.case("a number without a routing number was not ported", function()
  local _, alice, _, transit = house{ [".*"] = { json = {} } }
  alice:invite "+4930555"
  transit:expect("INVITE", { uri = "sip:%+4930555;npdi@" })
end)

t.case("what is no number", function()
  local _, alice = house()
  alice:invite("bob"):expect(484)
end)
