local t = require "siphook.test"

local noon = { year = 2026, month = 3, day = 2, hour = 12 }
local night = { year = 2026, month = 3, day = 2, hour = 3 }

local function office(options)
  local plan = t.load("reject.lua", options)
  return plan, plan:phone "alice"
end

t.case("numbers that are barred, by their beginning and with our words", function()
  local _, alice = office()
  alice:invite("0900123"):expect(403, { reason = "Premium numbers are barred" })
  alice:invite("boss"):expect(603, { reason = "Not today" })
end)

t.case("who hides his number is told so", function()
  local _, alice = office()
  alice:invite("bob", { from = "sip:anonymous@anonymous.invalid" }):expect(433)
end)

t.case("at night the desk is closed", function()
  local plan, alice = office{ time = night }
  local desk = plan:phone "desk"
  desk:register()
  alice:invite("desk"):expect(480, { ["Retry-After"] = "3600", Warning = "The desk opens at 8" })
  desk:expect_none "INVITE"
end)

t.case("by day it is open", function()
  local plan, alice = office{ time = noon }
  local desk = plan:phone "desk"
  desk:register()
  local out = alice:invite "desk"
  desk:expect("INVITE"):answer()
  out:expect(200):ack()
end)

t.case("the host can close it altogether", function()
  local _, alice = office{ time = noon, config = { closed = "yes" } }
  alice:invite("desk"):expect(480, { reason = "Closed" })
end)

t.case("everybody else is put through", function()
  local plan, alice = office()
  local bob = plan:phone "bob"
  alice:invite("bob"):expect(480)                     -- not there yet
  bob:register()
  local out = alice:invite "bob"
  bob:expect("INVITE"):answer()
  out:expect(200):ack()
end)
