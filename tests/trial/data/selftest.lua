-- A dial plan that tries itself out before it is used.
local sip = require "siphook"

sip.on.register(function(req) req:register() end)

sip.on.invite(function(call)
  if call.uri.user == "x" then return call:reject(486) end
  call:dial(sip.lookup(call.uri))
end)

sip.selftest(function(plan, t)
  local alice, bob = plan:phone "alice", plan:phone "bob"
  bob:register()
  local out = alice:invite "bob"
  bob:expect("INVITE"):answer()
  out:expect(200):ack()
  plan:advance(10)
  out:bye()
  t.equal(#plan:registrations(), 1)
end)

-- The first parameter alone is enough; it has the checks too.
sip.selftest(function(plan)
  plan.is_nil(plan:shared("users"):get "bob")
  local out = plan:phone("alice"):invite "x"
  out:expect(tonumber(sip.config.code) or 486)
end)

sip.selftest(function()
  local t = require "siphook.test"
  if sip.config.code == "leak" then t.fail "as asked" end
end)
