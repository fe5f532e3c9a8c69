local t = require "siphook.test"

local plan, alice, bob, carol

local function office(config)
  config = config or {}
  config["user.carol"], config["extension.300"] = "carolus", "carol"
  plan = t.load("office.lua", { config = config })
  alice = plan:phone("alice", { password = "wonder" })
  bob = plan:phone("bob", { password = "builder" })
  carol = plan:phone("carol", { password = "carolus" })
  alice:register()
  bob:register()
  carol:register()
end

-- A call that is up: both ends.
local function talk(from, to, name)
  local out = from:invite(name)
  local call = to:expect "INVITE"
  call:answer()
  out:expect(200):ack()
  call:expect "ACK"
  return out, call
end

t.case("alice calls bob by name and by number", function()
  office()
  for _, name in ipairs{ "bob", "200" } do
    local out, call = talk(alice, bob, name)
    out:bye():expect(200)
    call:expect "BYE"
  end
  plan:expect_log "alice calls bob"
end)

t.case("who is not in the house", function()
  office()
  alice:invite("nobody"):expect(404)
  bob:unregister()
  alice:invite("bob"):expect(480, { reason = "Nobody is there" })
  plan:phone("eve"):invite("bob"):expect(407)
  plan:phone("eve", { password = "x" }):register{ expect = 401 }
end)

t.case("nobody answers: the caller hears so, or the mailbox", function()
  office()
  local out = alice:invite "bob"
  bob:expect("INVITE"):ring()
  plan:advance(20)
  out:expect(480, { reason = "No answer" })

  office{ mailbox = "sip:mail@10.0.0.9" }
  local mail = plan:peer("10.0.0.9", { name = "mail" })
  out = alice:invite "200"
  bob:expect("INVITE"):ring()
  plan:advance(20)
  mail:expect("INVITE", { Diversion = "sip:200@" }):answer()
  out:expect(200):ack()
end)

t.case("a busy phone has the mailbox, one that declines has not", function()
  office{ mailbox = "sip:mail@10.0.0.9" }
  local mail = plan:peer("10.0.0.9", { name = "mail" })
  local out = alice:invite "bob"
  bob:expect("INVITE"):reply(486)
  mail:expect("INVITE"):answer()
  out:expect(200):ack()
  local second = alice:invite "bob"
  bob:expect("INVITE"):reply(603)
  second:expect(603)
  mail:expect_none "INVITE"
end)

t.case("the phones ring in the opening hours", function()
  office{ mailbox = "sip:mail@10.0.0.9", hours = "9-17" }
  local mail = plan:peer("10.0.0.9", { name = "mail" })
  alice:invite "bob"
  mail:expect "INVITE"                                 -- the first of January 2026, midnight
  plan:advance(10 * 3600)
  bob:register()
  alice:invite "bob"
  bob:expect "INVITE"
end)

t.case("carol takes the call that rings at bob's phone", function()
  office()
  local out = alice:invite "bob"
  local ring = bob:expect "INVITE"
  ring:ring()
  out:expect(180)
  local taken = carol:invite "*8"
  taken:expect(200):ack()
  ring:expect "CANCEL"
  out:expect(200):ack()
  plan:advance(5)
  out:bye():expect(200)
  taken:expect "BYE"
end)

t.case("*8 when nothing rings", function()
  office()
  carol:invite("*8"):expect(480, { reason = "Nothing rings" })
end)

t.case("bob sends alice to carol", function()
  office()
  local out, call = talk(alice, bob, "bob")
  local refer = call:refer "carol"
  refer:expect(200)
  carol:expect("INVITE"):answer()
  out:expect("INVITE"):answer()                        -- alice is taken to the new partner
  call:expect("NOTIFY", { body = "SIP/2.0 100" })
  call:expect("NOTIFY", { body = "SIP/2.0 200" })
  call:expect "BYE"
  out:bye():expect(200)
end)

t.case("bob asks carol first, then sends alice to her", function()
  office()
  local out, call = talk(alice, bob, "bob")
  call:hold()
  out:expect("INVITE", { sdp = { direction = "sendonly" } }):answer()
  call:expect("200 INVITE"):ack()
  local ask, asked = talk(bob, carol, "300")
  plan:advance(10)
  call:refer(ask):expect(200)
  asked:expect("INVITE"):answer()                      -- carol and alice are taken to each other
  out:expect("INVITE"):answer()
  call:expect "BYE"
  ask:expect "BYE"
  t.equal(#plan:calls(), 1)
  asked:bye():expect(200)
  out:expect "BYE"
end)

t.case("messages go to all phones of a name", function()
  office()
  local sent = alice:message("bob", "lunch?")
  bob:expect("MESSAGE", { body = "lunch?" }):reply(200)
  sent:expect(200)
end)
