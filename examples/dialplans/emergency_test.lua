local t = require "siphook.test"

local function house(options)
  local plan = t.load("emergency.lua", options)
  local desk = plan:phone "30"
  return plan, desk, plan:peer("10.0.3.1", { name = "berlin" }), plan:peer("10.0.3.2", { name = "reserve" }),
         plan:peer("10.0.3.3", { name = "munich" })
end

t.case("112 goes to the centre of the caller's place, with a number that it can call", function()
  local plan, desk, berlin = house()
  local out = desk:invite "112"
  berlin:expect("INVITE", { from = "%+4930555030", Priority = "emergency", Geolocation = "floor3@berlin" }):answer()
  out:expect(200):ack()
  plan:expect_log "EMERGENCY urn:service:sos by 30"
end)

t.case("urn:service:sos is the same", function()
  local _, desk, berlin = house()
  desk:invite "urn:service:sos.fire"
  berlin:expect "INVITE"
end)

t.case("a closed house still makes emergency calls, and no others", function()
  local _, desk, berlin = house{ config = { closed = "yes" } }
  desk:invite("40"):expect(480)
  desk:invite "110"
  berlin:expect "INVITE"
end)

t.case("a centre that is not there is replaced after a moment", function()
  local plan, desk, berlin, reserve = house()
  local out = desk:invite "112"
  berlin:expect "INVITE"
  plan:advance(1.5)
  reserve:expect("INVITE"):answer()
  out:expect(200):ack()
  plan:expect_log "10.0.3.1 does not take the call"
end)

t.case("a refusal of the first one is no refusal of all", function()
  local _, desk, berlin, reserve = house()
  local out = desk:invite "112"
  berlin:expect("INVITE"):reply(603)
  reserve:expect("INVITE"):answer()
  out:expect(200):ack()
end)

t.case("who has moved is found at the new place", function()
  local _, desk, _, _, munich = house{ shared = { places = { ["30"] = "munich" } } }
  desk:invite "112"
  munich:expect "INVITE"
end)

t.case("an unknown caller goes to the reserve, as the switchboard", function()
  local plan, _, _, reserve = house()
  plan:phone("guest"):invite "112"
  reserve:expect("INVITE", { from = "%+4930555000" })
end)

t.case("the centre calls back", function()
  local _, desk, berlin = house()
  desk:register()
  local back = berlin:invite "+4930555030"
  desk:expect("INVITE"):answer()
  back:expect(200):ack()
end)
