local t = require "siphook.test"

local plan, alice, bob, gateway

t.before(function()
  plan = t.load "fraud.lua"
  alice, bob = plan:phone("alice", { password = "wonder" }), plan:phone("bob", { password = "builder" })
  gateway = plan:peer("10.0.0.3", { name = "gateway" })
end)

-- A call to the outside that is up.
local function talk(who, number)
  local out = who:invite(number)
  gateway:expect("INVITE", { uri = "%" .. number }):answer()
  out:expect(200):ack()
  return out
end

t.case("two calls at once, and one more when one has ended", function()
  local first = talk(alice, "+4930111")
  talk(alice, "+4930222")
  alice:invite("+4930333"):expect(403, { reason = "at once" })
  talk(bob, "+4930333")                                 -- another user
  first:bye():expect(200)
  talk(alice, "+4930333")
end)

t.case("too many attempts a minute block the user", function()
  for _ = 1, 5 do
    alice:invite "+4930111"
    gateway:expect("INVITE"):reply(486)
  end
  alice:invite("+4930111"):expect(403, { reason = "Too many calls" })
  plan:advance(120)
  alice:invite("+4930111"):expect(403, { reason = "Blocked" })
  plan:expect_log "FRAUD: alice is blocked"
  plan:shared("blocked"):delete "alice"                  -- somebody has looked
  talk(alice, "+4930111")
end)

t.case("expensive destinations", function()
  alice:invite("+8821234"):expect(403, { reason = "not allowed" })
  t.equal(plan:shared("blocked"):get "alice", "dialled +8821234")
  talk(bob, "+8821234")
end)

t.case("a call ends after an hour, and the day after two", function()
  for _ = 1, 2 do
    local out = talk(alice, "+4930111")
    plan:advance(3599)
    out:expect_none("BYE", 0)
    plan:advance(2)
    out:expect "BYE"
    gateway:expect "BYE"
  end
  alice:invite("+4930111"):expect(403, { reason = "Limit of the day" })
  plan:advance(86400)
  talk(alice, "+4930111")
end)

t.case("who guesses passwords is not heard any more", function()
  local thief = plan:phone("alice", { password = "guess", ip = "203.0.113.66" })
  for _ = 1, 5 do thief:invite("+4930111"):expect(407) end
  thief:invite("+4930111"):expect_none()
  talk(alice, "+4930111")                               -- from another address
  plan:advance(660)
  thief:invite("+4930111"):expect(407)
end)

t.case("an office whose phones answer old challenges is not shut out", function()
  local old = 'Digest username="alice", realm="fraud", nonce="f00d", uri="sip:+4930111@10.0.0.1", response="%s", algorithm=MD5'
  local office = plan:phone("alice", { password = "wonder", ip = "198.51.100.7" })
  for _ = 1, 10 do
    office:invite("+4930111", { auth = false, headers = { ["Proxy-Authorization"] = old:format(("0"):rep(32)) } }):expect(407)
  end
  talk(office, "+4930111")
end)

t.case("everybody registers the own name only", function()
  alice:register()
  plan:phone("bob", { login = "alice", password = "wonder" }):register{ expect = 403 }
end)

t.case("calls inside cost nothing", function()
  bob:register()
  local out = alice:invite "bob"
  bob:expect("INVITE"):answer()
  out:expect(200):ack()
  plan:advance(100)
  out:bye():expect(200)
  plan:advance(1)
  t.is_nil(plan:shared("fraud"):get "day:alice")
end)
