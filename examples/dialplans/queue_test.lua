local t = require "siphook.test"

-- A leg that a call that is up gets is INVITEd without an offer; its offer goes to the caller, whose answer comes with the ACK.
local function joins(who, out, demands)
  local leg = who:expect("INVITE", demands)
  leg:answer{ sdp = true }
  out:expect("INVITE"):answer()
  leg:expect "ACK"
  return leg
end

local function house()
  local plan = t.load "queue.lua"
  local anna, ben, music = plan:phone "anna", plan:phone "ben", plan:peer("10.0.0.5", { name = "music" })
  anna:register()
  ben:register()
  local out = plan:phone("alice"):invite "support"
  out:expect(200, { sdp = { direction = "inactive" } }):ack()
  return plan, out, anna, ben, joins(music, out), music
end

t.case("music until an agent is free", function()
  local plan, out, anna, ben, music = house()
  anna:expect("INVITE"):reply(486)
  joins(ben, out, { ["X-Waited"] = "0" })
  music:expect "BYE"
  plan:expect_log "ben has"
  plan:advance(60)
  out:bye():expect(200)
  ben:expect "BYE"
  plan:expect_log "ended by the caller"
end)

-- Nobody takes it for a round: 10 seconds each, then 5 of music.
local function round(plan, anna, ben)
  for _, agent in ipairs{ anna, ben } do
    agent:expect("INVITE"):ring()
    plan:advance(10)
    agent:expect "CANCEL"
  end
end

t.case("the key 1 gives the mailbox", function()
  local plan, out, anna, ben, music = house()
  local mail = plan:peer("10.0.0.6", { name = "mail" })
  round(plan, anna, ben)
  plan:advance(1)
  out:dtmf "1"
  joins(mail, out)
  music:expect "BYE"
end)

t.case("a mailbox that takes nobody ends the call", function()
  local plan, out, anna, ben = house()
  local mail = plan:peer("10.0.0.6", { name = "mail" })
  round(plan, anna, ben)
  out:dtmf "1"
  mail:expect("INVITE"):reply(486)
  out:expect("BYE", { Reason = "cause=17" })
end)

t.case("a queue that is full takes nobody", function()
  local plan = t.load "queue.lua"
  for n = 1, 20 do plan:phone("caller" .. n):invite("support"):expect(200):ack() end
  plan:phone("late"):invite("support"):expect(486, { reason = "All lines are busy" })
end)

t.case("so does a wait of two minutes", function()
  local plan, out, anna, ben = house()
  local mail = plan:peer("10.0.0.6", { name = "mail" })
  for _ = 1, 5 do
    round(plan, anna, ben)
    mail:expect_none("INVITE", 0)
    plan:advance(5)
  end
  t.ok(plan:now() > 120)
  joins(mail, out)
end)

t.case("a caller who goes while an agent's phone rings", function()
  local plan, out, anna, _, music = house()
  anna:expect("INVITE"):ring()
  plan:advance(1)
  out:bye():expect(200)
  anna:expect "CANCEL"
  music:expect "BYE"
  t.equal(#plan:calls(), 0)
end)

t.case("the queue survives a reload", function()
  local plan, out, anna, ben = house()
  round(plan, anna, ben)
  plan:reload()
  plan:advance(5)
  joins(anna, out)
end)

t.case("other numbers do not exist", function()
  t.load("queue.lua"):phone("alice"):invite("sales"):expect(404)
end)
