local t = require "siphook.test"

local plan, alice, bob

t.before(function()
  plan = t.load "messages.lua"
  alice, bob = plan:phone("alice", { password = "wonder" }), plan:phone("bob", { password = "builder" })
end)

t.case("a message goes to the phone, and its answer back", function()
  bob:register()
  local sent = alice:message("bob", "hello")
  bob:expect("MESSAGE", { body = "hello", from = "sip:alice@" }):reply(200)
  sent:expect(200)
end)

t.case("what comes for somebody who is away is kept, and delivered in order", function()
  alice:message("bob", "one"):expect(202)
  alice:message("bob", "two"):expect(202)
  plan:expect_log "message for bob kept"
  plan:advance(3600)
  bob:register()
  bob:expect("MESSAGE", { body = "one", from = "sip:alice@", Date = "01 Jan 2026 00:00:00 GMT" }):reply(200)
  bob:expect("MESSAGE", { body = "two" }):reply(200)
  plan:advance(1)
  t.is_nil(plan:shared("messages"):get "bob")
end)

t.case("a phone that does not take it gets it again when it comes back", function()
  alice:message("bob", "one"):expect(202)
  bob:register()
  bob:expect("MESSAGE", { body = "one" }):reply(500)
  plan:advance(1)
  t.equal(plan:shared("messages"):get "bob", 1)
  bob:unregister()
  bob:register()
  bob:expect("MESSAGE", { body = "one" }):reply(200)
end)

t.case("a phone that is silent counts as away", function()
  bob:register()
  local sent = alice:message("bob", "hello")
  bob:expect "MESSAGE"
  plan:advance(10)
  sent:expect(202)
end)

t.case("refusals: unknown users, no password, a full mailbox", function()
  alice:message("nobody", "hello"):expect(404)
  alice:message("bob", "hello", { auth = false }):expect(401)
  for _ = 1, 20 do alice:message("bob", "x"):expect(202) end
  alice:message("bob", "x"):expect(480, { reason = "full" })
end)

t.case("they are not kept for ever", function()
  plan = t.load("messages.lua", { config = { days = 1 } })
  alice, bob = plan:phone("alice", { password = "wonder" }), plan:phone("bob", { password = "builder" })
  alice:message("bob", "hello"):expect(202)
  plan:advance(86401)
  bob:register()
  bob:expect_none "MESSAGE"
end)

t.case("one that a phone has refused does not live longer for it", function()
  plan = t.load("messages.lua", { config = { days = 1 } })
  alice, bob = plan:phone("alice", { password = "wonder" }), plan:phone("bob", { password = "builder" })
  alice:message("bob", "hello"):expect(202)
  plan:advance(43200)
  bob:register()
  bob:expect("MESSAGE"):reply(500)
  plan:advance(43201)
  bob:register()
  bob:expect_none "MESSAGE"
end)
