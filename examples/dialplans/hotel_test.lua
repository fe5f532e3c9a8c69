local t = require "siphook.test"

local evening = { year = 2026, month = 3, day = 2, hour = 22 }

local function house()
  local plan = t.load("hotel.lua", { time = evening })
  local guest, reception = plan:phone "101", plan:phone "reception"
  guest:register()
  reception:register()
  return plan, guest, reception, plan:peer("10.0.0.5", { name = "voice" })
end

local function order(plan, guest, code, time)
  guest:invite(code):expect(200):ack()
  guest:expect "BYE"
  plan:expect_log("room 101: wake%-up call at " .. time)
end

t.case("a guest is woken up, by a voice", function()
  local plan, guest, _, voice = house()
  order(plan, guest, "*55*2255", "22:55")           -- before the registration ends
  plan:advance(54 * 60)
  guest:expect_none("INVITE", 0)
  plan:advance(60)
  local call = guest:expect("INVITE", { from = '^"Wake%-up call" <sip:wakeup@hotel.example>' })
  call:answer{ sdp = true }
  local leg = voice:expect "INVITE"
  leg:answer{ sdp = true }
  call:expect("INVITE"):answer()
  leg:expect "ACK"
  call:bye():expect(200)
  leg:expect "BYE"
end)

t.case("times that there are not", function()
  local _, guest, reception = house()
  guest:invite("*55*2400"):expect(484)
  guest:invite("*55*2260"):expect(484)
  guest:invite "reception"
  reception:expect("INVITE"):reply(486)
end)

local function sleeps_on(plan, guest)
  guest:expect("INVITE"):ring()
  plan:advance(30)
  guest:expect "CANCEL"
end

t.case("three times, then the reception is told", function()
  local plan, guest, reception = house()
  order(plan, guest, "*55*2210", "22:10")
  plan:advance(600)
  for try = 1, 3 do
    sleeps_on(plan, guest)
    plan:expect_log("not awake %(408.*try " .. try)
    if try < 3 then plan:advance(300) end
  end
  reception:expect("MESSAGE", { body = "Room 101 does not wake up" }):reply(200)
end)

t.case("an order survives a reload", function()
  local plan, guest = house()
  order(plan, guest, "*55*2201", "22:01")
  plan:reload()
  plan:advance(60)
  guest:expect("INVITE"):reply(486)
end)

t.case("a time that there is not", function()
  local _, guest = house()
  guest:invite("*55*2460"):expect(484)
end)

t.case("rooms call each other", function()
  local plan, guest, reception = house()
  local out = guest:invite "reception"
  reception:expect("INVITE"):answer()
  out:expect(200):ack()
  plan:phone("102"):register()
  guest:invite("103"):expect(480)
end)
