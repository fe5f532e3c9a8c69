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

t.case("a phone that has used up its rate still reaches the centre", function()
  local _, desk, berlin = house()
  for _ = 1, 40 do desk:invite("77"):expect(480) end
  desk:invite("77"):expect(503)
  for _, number in ipairs{ "112", "+49110", "911", "urn:service:sos" } do
    local out = desk:invite(number)
    berlin:expect("INVITE", { uri = "sip:112@10.0.3.1" }):answer()
    out:expect(200):ack()
  end
end)

t.case("another place, another centre; the number is the one by which the centre calls back", function()
  local plan, _, _, _, munich = house()
  local desk = plan:phone "40"
  desk:register()
  desk:invite "112"
  munich:expect("INVITE", { from = "%+4989555040" })
  munich:invite "+4989555040"
  desk:expect "INVITE"
end)

t.case("no centre takes the call: the caller hears so, and the log says it loudly", function()
  local plan, desk, berlin, reserve = house()
  local out = desk:invite "112"
  berlin:expect("INVITE"):reply(503)
  reserve:expect("INVITE"):reply(480)
  out:expect(480)
  plan:expect_log "EMERGENCY: 10.0.3.2 does not take the call: 480"
end)
