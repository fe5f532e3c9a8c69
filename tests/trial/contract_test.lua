-- The example of the contract, as it stands there.
local t = require "siphook.test"
t.case("nobody answers: voicemail after 20 seconds", function()
  local plan = t.load("dialplan.lua", { shared = { users = { ["pw:bob"] = "secret" } } })
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  local mail = plan:peer "10.0.0.2"                  -- whatever is sent to that address
  bob:register()
  local out  = alice:invite "bob"
  local ring = bob:expect "INVITE" ; ring:reply(180)
  out:expect(180)
  plan:advance(20)                                   -- virtual seconds: this takes microseconds
  bob:expect "CANCEL"
  mail:expect("INVITE"):answer()
  out:expect(200):ack()
  out:bye()
end)

t.case("lossy: a call from ring to BYE", function()
  local plan = t.load("dialplan.lua", { shared = { users = { ["pw:bob"] = "secret" } } })
  local alice, bob = plan:phone("alice"), plan:phone("bob", { password = "secret" })
  bob:register()
  local out = alice:invite "bob"
  local call = bob:expect "INVITE"
  call:answer()
  out:expect(200):ack()
  call:expect "ACK"
  out:bye():expect(200)
  call:expect "BYE"
end)
