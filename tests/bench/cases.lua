-- What `siphook test` takes for a thousand calls of three legs: a caller, a phone that nobody answers, the mailbox.
local t = require "siphook.test"

for i = 1, 1000 do
  t.case(("bob does not answer, the mailbox does: %d"):format(i), function()
    local plan = t.load("../trial/dialplan.lua", { shared = { users = { ["pw:bob"] = "secret" } } })
    local alice, bob = plan:phone "alice", plan:phone("bob", { password = "secret" })
    local mail = plan:peer "10.0.0.2"
    bob:register()
    local call = alice:invite "bob"
    local ring = bob:expect "INVITE"
    ring:reply(180)
    call:expect(180)
    plan:advance(20)
    bob:expect "CANCEL"
    mail:expect("INVITE"):answer()
    call:expect(200):ack()
    call:bye()
    mail:expect "BYE"
  end)
end
