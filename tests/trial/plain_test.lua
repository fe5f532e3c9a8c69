-- Results, legs and observers as a dial plan takes them that was written from the reference alone.
local t = require "siphook.test"

-- A call to that name, which a busy phone refuses.
local function busy(user)
  local plan = t.load "data/plain.lua"
  local bob = plan:peer "10.0.0.2"
  local out = plan:phone("alice"):invite(user)
  bob:expect("INVITE"):reply(486, "Busy", { headers = { ["X-Why"] = "lunch" } })
  out:expect(486)
  return plan
end

t.case("a result shows its own fields and nothing else, and is written as JSON", function()
  local plan = busy "result"
  local said = plan:shared "said"
  t.equal(said:get "keys", "branches cause code reason")
  t.equal(said:get "next", "nil")
  t.equal(said:get "json", '{"branches":[{"code":486,"reason":"Busy","uri":"sip:bob@10.0.0.2"}],"cause":"busy","code":486,"reason":"Busy"}')
  t.equal(said:get "why", "lunch")
end)

t.case("on_branch knows the leg also when it has failed", function()
  local plan = busy "branches"
  t.equal(plan:shared("said"):get "events", "trying bob trying\nfailed bob ended")
end)

t.case("an error in on_branch is told as its own", function()
  local plan = busy "raises"
  plan:expect_log "hook on_branch, .*plain%.lua:%d+: on purpose"
end)

t.case("a leg that was hung up is ended", function()
  local plan = t.load "data/plain.lua"
  local bob = plan:peer "10.0.0.2"
  local out = plan:phone("alice"):invite "ended"
  local call = bob:expect "INVITE"
  call:answer()
  call:expect "BYE"
  plan:advance(1)
  out:expect(486)
  t.equal(plan:shared("said"):get "state", "ended")
  t.equal(plan:shared("said"):get "code", "nil")
end)

t.case("the code of a hangup goes into the Reason of a call that is up", function()
  local plan = t.load "data/plain.lua"
  local out = plan:phone("alice"):invite "hangup"
  out:expect(200):ack()
  plan:advance(1)
  t.equal(out:expect("BYE"):header "Reason", 'SIP;cause=486;text="Busy Here"')
end)

t.case("the hangup hook knows both parties, and the cause by name", function()
  local plan = t.load "data/plain.lua"
  local bob = plan:peer "10.0.0.2"
  local out = plan:phone("alice"):invite "record"
  local call = bob:expect "INVITE"
  call:answer()
  out:expect(200):ack()
  call:bye{ headers = { Reason = "Q.850;cause=16" } }
  out:expect "BYE"
  plan:advance(6)
  t.equal(plan:shared("said"):get "over", "alice sip:peer@10.0.0.2:5060 by callee, cause 16 Normal call clearing\nended alice ended")
end)

t.case("a caller who was never connected is known to the hangup hook", function()
  local plan = t.load "data/plain.lua"
  local bob = plan:peer "10.0.0.2"
  local out = plan:phone("alice"):invite "record"
  bob:expect("INVITE"):reply(486, "Busy", { headers = { Reason = 'Q.850;cause=17;text="Not now"' } })
  out:expect(486)
  t.match(plan:shared("said"):get "over", "^alice nil by script, cause 17 Not now")
end)

t.case("the age of a generation is counted in the time of the test", function()
  local plan = t.load "data/plain.lua"
  plan:advance(7)
  t.near(plan:status().generations[1].age, 7, 0.5)
end)

t.case("with four generations alive a reload waits, and says so", function()
  local plan = t.load "data/plain.lua"
  local alice = plan:phone "alice"
  for i = 1, 4 do
    alice:invite("stay"):expect(480)
    plan:advance(10)
    if i < 4 then t.equal(plan:reload(), i + 1) end
  end
  for i, g in ipairs(plan:status().generations) do t.equal(g.number, i) end
  t.equal(plan:reload(), 5)
  plan:expect_log "a reload waits: hooks of 4 generations are in progress %(each has 300 s from the reload on%)"
end)

t.case("with four generations alive a rollback does not wait, and nobody is told to go", function()
  local plan = t.load "data/plain.lua"
  local alice = plan:phone "alice"
  for i = 1, 4 do
    alice:invite("stay"):expect(480)
    if i < 4 then plan:reload() end
  end
  local before = plan:now()
  t.equal(plan:rollback(), 5)
  t.ok(plan:now() - before < 0.1, "it waited")
  t.equal(#plan:status().generations, 5)
  alice:invite("stay"):expect(480)
  t.equal(plan:rollback(), 6) -- that one waits
  t.ok(plan:now() - before > 49, "it did not wait")
  plan:expect_log "a reload waits: hooks of 5 generations are in progress"
end)

t.case("more calls than are written in one turn are all listed, each once", function()
  local plan = t.load "data/plain.lua"
  local bob, alice = plan:peer "10.0.0.2", plan:phone "alice"
  for _ = 1, 510 do
    local out = alice:invite "record"
    bob:expect("INVITE"):answer()
    out:expect(200):ack()
  end
  local seen, count = {}, 0
  for _, call in ipairs(plan:calls()) do
    t.is_nil(seen[call.id])
    seen[call.id], count = true, count + 1
  end
  t.equal(count, 510)
end)

t.case("each domain has users of its own; the address stands for the first", function()
  local plan = t.load "data/tenants.lua"
  local org, com = plan:phone "bob@example.org", plan:phone "bob@example.com"
  org:register()
  com:register()
  local alice = plan:phone "alice"
  for target, phone in pairs{ ["sip:bob@example.com"] = com, ["sip:bob@example.org"] = org, ["sip:bob@198.18.0.1"] = org } do
    local out = alice:invite(target)
    phone:expect("INVITE"):reply(486)
    out:expect(486)
    org:expect_none("INVITE", 0)
    com:expect_none("INVITE", 0)
  end
end)

t.case("mistakes are named", function()
  local plan = t.load "data/plain.lua"
  local bob = plan:peer "10.0.0.2"
  plan:phone("alice"):invite("wrong"):expect(486)
  bob:expect_none "INVITE"
  t.equal(plan:shared("said"):get "errors", [[
option 'copy': Via is the engine's own
option 'copy': f is the engine's own
option 'copy': Proxy-Authorization is the engine's own
auth: one of the options 'password' and 'ha1' is needed, not both
bad argument #1 to 'redirect' (URI or list of URIs expected, got no value)
sip.on is read-only: write sip.on.invite(function)]])
end)

t.case("an IPv6 address is put into brackets", function()
  local plan = t.load "data/plain.lua"
  plan:phone("alice"):invite("wrong"):expect(486)
  local said = plan:shared "said"
  t.equal(said:get "v6", "sip:bob@[2001:db8::1]:5070")
  t.equal(said:get "v6 with", "sip:bob@[::1]")
  t.equal(said:get "v6 bare", "sip:bob@[::1]")
end)

for _, method in ipairs{ "BYE", "PRACK" } do
  t.case(method .. " outside of a dialog is 481 and no hook's business", function()
    local plan = t.load "data/plain.lua"
    plan:phone("alice"):request(method, "bob"):expect(481)
    t.is_nil(plan:shared("said"):get(method:lower()))
    for _, line in ipairs(plan:log()) do t.no_match(line, "traceback") end
  end)
end
