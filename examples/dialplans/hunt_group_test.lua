local t = require "siphook.test"

local function house()
  local plan = t.load "hunt_group.lua"
  return plan, plan:phone "alice", plan:peer("10.0.0.3", { name = "desk1" }), plan:peer("10.0.0.4", { name = "desk2" }),
         plan:peer("10.0.0.5", { name = "mail" })
end

t.case("one desk after the other, five seconds each", function()
  local plan, alice, desk1, desk2 = house()
  local out = alice:invite "hunt"
  desk1:expect("INVITE"):ring()
  desk2:expect_none("INVITE", 4.5)
  plan:advance(1)
  desk1:expect "CANCEL"
  desk2:expect("INVITE"):answer()
  out:expect(200):ack()
end)

t.case("then both at once, then the mailbox, which hears who was called", function()
  local plan, alice, desk1, desk2, mail = house()
  local out = alice:invite "hunt"
  desk1:expect("INVITE"):reply(486)
  desk2:expect("INVITE"):reply(486)
  desk1:expect("INVITE"):ring()
  desk2:expect("INVITE"):ring()
  plan:advance(15)
  desk1:expect "CANCEL"
  desk2:expect "CANCEL"
  mail:expect("INVITE", { Diversion = "sip:hunt@" }):answer()
  out:expect(200):ack()
end)

t.case("the next call begins with the other desk", function()
  local _, alice, desk1, desk2 = house()
  local out = alice:invite "hunt"
  desk1:expect("INVITE"):answer()
  out:expect(200):ack()
  out:bye():expect(200)
  alice:invite "hunt"
  desk2:expect "INVITE"
  desk1:expect_none("INVITE", 1)
end)

t.case("who declines has declined for all", function()
  local _, alice, desk1, desk2, mail = house()
  local out = alice:invite "hunt"
  desk1:expect("INVITE"):reject(603)
  out:expect(603)
  desk2:expect_none("INVITE", 1)
  mail:expect_none("INVITE", 0)
end)

t.case("nobody at all: the caller hears what the last one said", function()
  local plan, alice, desk1, desk2, mail = house()
  local out = alice:invite "hunt"
  for _ = 1, 2 do
    desk1:expect("INVITE"):reply(486)
    desk2:expect("INVITE"):reply(486)
  end
  mail:expect("INVITE"):reply(404)
  out:expect "4xx"
  t.equal(#plan:calls(), 0)
end)

t.case("other numbers do not exist", function()
  local _, alice = house()
  alice:invite("other"):expect(404)
end)
