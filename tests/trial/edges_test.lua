-- Verbs that come too early, too late or twice.
local t = require "siphook.test"

local plan, alice, bob, seen

t.before(function()
  plan = t.load "data/edges.lua"
  alice, bob, seen = plan:phone "alice", plan:peer "10.0.0.2", plan:shared "seen"
end)

t.case("a call that is up was answered", function()
  local out = alice:invite "up"
  out:expect(200):ack()
  plan:advance(1)
  for _, verb in ipairs{ "answer", "ring", "reject", "redirect", "reply" } do t.equal(seen:get(verb), "answered", verb) end
  out:bye():expect(200)
end)

t.case("what comes too early is not gone", function()
  alice:invite("early"):expect(480)
  t.equal(seen:get "transfer", "early")
  alice:request("REFER", "bob", { headers = { ["Refer-To"] = "<sip:a@b>" } }):expect(403)
  t.equal(seen:get "notify", "early")
  alice:subscribe("bob", "presence"):expect(403)
  t.equal(seen:get "sub", "early early")
end)

t.case("a call that keeps 64 signals is full", function()
  alice:invite("signals"):expect(480)
  t.equal(seen:get "signal", "full")
end)

t.case("a leg that is bridged already is not called again", function()
  local out = alice:invite "twice"
  local call = bob:expect "INVITE"
  call:answer()
  out:expect(200):ack()
  call:expect "ACK"
  call:expect_none "INVITE"
  out:expect_none "INVITE"
  t.equal(seen:get "again", "true")
  plan:advance(10)
  out:expect "BYE"                                      -- what was said with it counts
end)

t.case("a leg that nobody bridged ends where the hook continues", function()
  local out = alice:invite "continue"
  local call = bob:expect "INVITE"
  call:answer()
  call:expect "BYE"
  out:expect(480)
end)

t.case("a cancel that is raised again lets nothing wait", function()
  for number, said in pairs{ rethrown = { rethrown = "false" }, asserted = { inside = "false", caught = "true true", outside = "false" } } do
    local out = alice:invite(number)
    plan:advance(1)
    out:cancel()
    out:expect(487)
    plan:advance(5)
    for name, text in pairs(said) do t.equal(seen:get(name), text, name) end
  end
  for _, event in ipairs(plan:events()) do t.ok(event.level ~= "error", event.text) end
end)

t.case("a call is relayed", function()
  local out = alice:invite "relay"
  local call = bob:expect "INVITE"
  call:reply(200, "Here I am")
  out:expect(200):ack()
  plan:advance(0.1)
  t.equal(seen:get "relay", "200 Here I am nil 1 Here I am")
  out:bye():expect(200)
  out = alice:invite "relay"
  bob:expect("INVITE"):reply(486)
  out:expect(486)
  t.equal(seen:get "relay", "486 Busy Here nil 1 Busy Here")
  alice:invite("nobody"):expect(480)
  t.equal(seen:get "nobody", "nil empty")
end)

t.case("a dialog is replaced", function()
  local out = alice:invite "replaces"
  local first = bob:expect("INVITE", { Replaces = "a;to%-tag=b;from%-tag=c" })
  first:reply(481)
  local second = bob:expect("INVITE", { Replaces = "d;to%-tag=e;from%-tag=f", ["X-Code"] = "481" })
  second:reply(481)
  out:expect(481)
end)

t.case("a message that somebody waits for is answered, whatever its hook leaves", function()
  local out = alice:invite "waits"
  out:expect(200):ack()
  out:message("hello"):expect(200)
  t.equal(seen:get "message", "hello")
end)

t.case("each branch says how it ended", function()
  local carol = plan:peer "10.0.0.3"
  local out = alice:invite "branches"
  local call = carol:expect "INVITE"
  call:ring()
  out:expect(180)
  bob:expect("INVITE"):reply(603)
  out:expect(603)
  call:expect "CANCEL"
  t.equal(seen:get "branches", "603 487 Request Terminated")
  local sent = alice:message("bob", "hello")
  bob:expect("MESSAGE"):reply(202, "Kept")
  sent:expect(202)
  t.equal(seen:get "won", "202 Kept")
end)

t.case("the second party of a call of our own is asked for by name", function()
  local carol = plan:peer "10.0.0.3"
  alice:request("INFO", "x"):expect(200)
  local first = bob:expect("INVITE", { to = "bob" })
  first:answer{ sdp = t.sdp{} }
  first:expect "ACK"
  local second = carol:expect("INVITE", { to = "carol" })
  second:answer{ sdp = t.sdp{} }
  first:expect("INVITE"):answer()
  second:expect "ACK"
end)

t.case("an error of the sdp hook names its call", function()
  local out = alice:invite "twice"
  local call = bob:expect "INVITE"
  call:answer()
  out:expect(200):ack()
  plan:expect_log "hook sdp, call %w"
end)

t.case("nothing is set that the next reload would lose", function()
  alice:options():expect(200)
  t.match(seen:get "name", "false .*sip.mine: the table siphook is read%-only")
  t.match(seen:get "field", "false .*request.mine cannot be set")
end)
