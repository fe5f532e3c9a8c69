local t = require "siphook.test"

local bobs = { ring = { "bob", "sip:+491715550@10.0.0.8" }, seconds = 20, ["then"] = "sip:mail@10.0.0.9", blocked = { "+4930666" } }

local function house(answers)
  local plan = t.load("personal.lua", { http = answers })
  local alice, bob = plan:phone "alice", plan:phone "bob"
  bob:register()
  return plan, alice, bob, plan:peer("10.0.0.8", { name = "mobile" }), plan:peer("10.0.0.9", { name = "mail" })
end

t.case("all phones of a user ring together; the first one has the call", function()
  local _, alice, bob, mobile = house{ ["http://settings.example/users/bob"] = { json = bobs } }
  local out = alice:invite "bob"
  bob:expect("INVITE"):ring()
  mobile:expect("INVITE", { uri = "%+491715550" }):answer()
  out:expect(200):ack()
  bob:expect "CANCEL"
  out:bye()
end)

t.case("then the mailbox, which hears for whom", function()
  local plan, alice, bob, mobile, mail = house{ ["http://settings.example/users/bob"] = { json = bobs } }
  local out = alice:invite "bob"
  bob:expect("INVITE"):ring()
  mobile:expect("INVITE"):reply(480)
  plan:advance(20)
  mail:expect("INVITE", { Diversion = "sip:bob@" }):answer()
  out:expect(200):ack()
end)

t.case("blocked callers, busy users, unknown users", function()
  local busy = { json = { ring = {}, busy = true } }
  local _, alice = house{ ["http://settings.example/users/bob"] = { json = bobs }, ["http://settings.example/users/eve"] = busy,
                             ["http://settings.example/users/nobody"] = 404 }
  alice:invite("bob", { from = "sip:+4930666@198.18.0.1" }):expect(603)
  alice:invite("eve"):expect(486)
  alice:invite("nobody"):expect(404)
end)

t.case("what was read counts for a minute", function()
  local plan, alice, bob = house{ ["http://settings.example/users/bob"] = { json = { ring = {} } } }
  for _ = 1, 3 do
    alice:invite "bob"
    bob:expect("INVITE"):reply(486)
  end
  t.equal(#plan.requests, 1)
  plan:advance(61)
  alice:invite "bob"
  bob:expect("INVITE"):reply(486)
  t.equal(#plan.requests, 2)
end)

t.case("a server that is away does not stop the calls", function()
  local plan, alice, bob, mobile = house{ ["http://settings.example/users/bob"] = { json = bobs } }
  alice:invite "bob"
  bob:expect("INVITE"):reply(486)
  mobile:expect("INVITE"):reply(486)
  plan:advance(61)
  plan:http("http://settings.example/users/bob", { error = "timeout" })
  alice:invite "bob"
  plan:advance(2)
  mobile:expect "INVITE"                             -- as it was
  plan:http("http://settings.example/users/bob", "no JSON")
end)
