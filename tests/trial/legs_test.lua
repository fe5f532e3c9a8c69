-- A leg of a call that is hung up takes the call with it.
local t = require "siphook.test"

t.case("a call of one leg ends", function()
  local plan = t.load "data/legs.lua"
  local out = plan:phone("alice"):invite "alone"
  out:expect(200):ack()
  out:expect "BYE"
  t.equal(plan:shared("ends"):get "by", "script 200")
end)

for _, side in ipairs{ "partner", "caller" } do
  t.case("both parties get BYE when the script hangs up the " .. side, function()
    local plan = t.load "data/legs.lua"
    local bob = plan:peer "10.0.0.2"
    local out = plan:phone("alice"):invite(side)
    local call = bob:expect "INVITE"
    call:answer()
    out:expect(200):ack()
    call:expect "ACK"
    out:expect "BYE"
    call:expect "BYE"
    t.equal(plan:shared("ends"):get "by", "script 200")
  end)
end

t.case("a caller that rings is answered", function()
  local plan = t.load "data/legs.lua"
  local out = plan:phone("alice"):invite "ringing"
  out:expect(180)
  out:expect(480)
  t.equal(plan:shared("ends"):get "by", "script 480")
end)

t.case("a target without a URI is a mistake that is named", function()
  t.equal(t.load("data/legs.lua"):phone("alice"):invite("typo"):expect(480).reason, "named")
end)
