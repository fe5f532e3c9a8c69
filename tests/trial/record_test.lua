-- Makes the record that replay is tried out with: a call with a password, a phone that does not answer, the mailbox. config.record of the
-- environment names the file.
local t = require "siphook.test"

t.case("a call is recorded with all its legs", function()
  local plan = t.load("data/record.lua", { shared = { users = { ["pw:alice"] = "wonder", ["pw:bob"] = "builder" } } })
  local alice = plan:phone("alice", { password = "wonder" })
  local bob = plan:phone("bob", { password = "builder" })
  local mail, carol = plan:peer "10.0.0.2", plan:phone("carol")
  bob:register()
  plan:record "bob"
  t.is_nil(plan:recorded())
  carol:invite("alice"):expect(407)                     -- another call, which is not wanted
  local out = alice:invite("bob", { headers = { Subject = "hello" } })
  local ring = bob:expect "INVITE"
  ring:ring()
  out:expect(180)
  plan:advance(20)
  bob:expect "CANCEL"
  local box = mail:expect "INVITE"
  plan:advance(1.5)
  box:answer()
  out:expect(200):ack()
  plan:advance(30)
  out:info "Signal=1"
  box:expect("INFO"):reply(200)
  plan:advance(5)
  box:bye()
  out:expect "BYE"
  t.is_nil(plan:recorded())
  plan:advance(2)
  local text = t.ok(plan:recorded(), "the record")
  t.match(text, '"siphook_record":1')
  t.no_match(text, "carol")
  t.is_nil(plan:recorded())                             -- once
  local record = t.json.decode(text)
  t.equal(#record.legs, 3)
  t.equal(#record.registrations, 1)
  t.equal(record.cut, false)
  local path = os.getenv "SIPHOOK_RECORD"
  if path then
    local file = t.ok(io.open(path, "w"))
    file:write(text)
    file:close()
  end
end)
