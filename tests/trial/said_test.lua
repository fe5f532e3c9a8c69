-- A header field that a script names takes the place of ours, `false` leaves it out; what a URI asks for is no part of the Request-URI.
local t = require "siphook.test"

local ours = { "Server", "User-Agent", "Allow", "Supported", "Allow-Events", "Accept" }

local function all_are(message, text)
  for _, name in ipairs(ours) do
    local values = message:headers(name)
    t.equal(values, text and { text } or {}, name)
  end
end

local function begin()
  local plan = t.load "data/said.lua"
  return plan:phone "alice", plan:peer "10.0.0.2", plan
end

t.case("in provisional and final answers", function()
  local alice = begin()
  local out = alice:invite "ring"
  all_are(out:expect(183), "mine")
  all_are(out:expect(180), nil)
  all_are(out:expect(480), "mine")
end)

t.case("in an answer without a second leg", function()
  local out = begin():invite "answer"
  local answer = out:expect(200)
  all_are(answer, "mine")
  answer:ack()
end)

for number, text in pairs{ fork = "mine", bare = false } do
  t.case("in the INVITE and in the answer passed back: " .. number, function()
    local alice, bob = begin()
    local out = alice:invite(number)
    local call = bob:expect "INVITE"
    all_are(call, text)
    call:answer{ headers = { Supported = "x", Accept = "x/y" } }
    local answer = out:expect(200)
    all_are(answer, text)
    answer:ack()
    call:expect "ACK"
    out:info "x"
    all_are(call:expect "INFO", "mine")
    local again = out:reinvite()
    local offer = call:expect "INVITE"
    all_are(offer, "mine")
    offer:answer()
    again:expect(200):ack()
    local update = out:update()
    local seen = call:expect "UPDATE"
    all_are(seen, "mine")
    seen:answer()
    update:expect(200)
  end)
end

t.case("in other requests and their answers", function()
  local alice, bob = begin()
  all_are(alice:options("reply"):expect(200), "mine")
  local sent = alice:message("relay", "hello")
  local message = bob:expect "MESSAGE"
  all_are(message, "mine")
  t.equal(message.uri, "sip:bob@10.0.0.2")
  t.equal(message.Subject, "hi")
  message:reply(200)
  sent:expect(200)
end)

t.case("in the default answer", function()
  local alice = begin()
  local answer = alice:options():expect(200)
  t.equal(answer:headers "Allow", { "NOTHING" })
  t.equal(answer["X-Any"], "1")
  t.equal(answer.body, "how it is")
  t.equal(answer.content_type, "text/x-state")
  t.match(answer.Accept, "application/sdp")
  t.equal(alice:message("x", "hello"):expect(405)["X-Any"], "1")
  alice:request("NOTIFY", "x", { headers = { Event = "x" } }):expect(481)
end)

t.case("in a failure that is passed on", function()
  local alice, bob = begin()
  local out = alice:invite "passed"
  bob:expect("INVITE"):reply(480, { headers = { ["Retry-After"] = "60", Warning = '399 x "no"', ["Call-Info"] = "<sip:x>" } })
  local answer = out:expect(480)
  t.equal(answer:headers "Retry-After", { "5" })
  t.is_nil(answer.Warning)
  t.equal(answer["Call-Info"], "<sip:x>")
end)

t.case("in a failure of several lines", function()
  local alice, bob = begin()
  local out = alice:invite "passed"
  bob:expect("INVITE"):reply(480, { headers = { ["Call-Info"] = "<sip:x>;a=b,\r\n\tserver", ["Error-Info"] = "<sip:x>,\r\n <sip:y>" } })
  local answer = out:expect(480)
  t.match(answer["Call-Info"], "server$")
  t.match(answer["Error-Info"], "<sip:y>$")
  t.ok(answer.Server)
end)

t.case("a type of the body", function()
  local alice, bob, plan = begin()
  local answer = alice:message("typed", "hello"):expect(200)
  t.equal(answer:headers "Content-Type", { "application/json" })
  t.equal(answer.body, "{}")
  local out = alice:invite "typed"
  local call = bob:expect "INVITE"
  t.equal(call:headers "Content-Type", { "text/x-other" })
  call:reply(404, { headers = { ["Call-Info"] = "info", ["X-Any"] = "any" } })
  out:expect(404)
  t.equal(plan:shared("seen"):get "headers", "info info any any")
  t.equal(plan:shared("seen"):get "none", "nil")
end)

t.case("a URI asks for header fields", function()
  local alice, bob = begin()
  alice:invite "uri"
  local call = bob:expect("INVITE", {
    uri = function(uri) return tostring(uri) == "sip:bob@10.0.0.2;lr" end, Subject = "hi you", Priority = "urgent", ["X-Any"] = "1",
    from = "alice", to = "^<sip:bob@x.example>$", Route = false, ["P-Asserted-Identity"] = false, ["Alert-Info"] = false, Replaces = false, ["X-Bad"] = false,
    sdp = true,
  })
  t.equal(#call:headers "Via", 1)
  t.no_match(call.Supported, "x$")
  call:reply(486)
end)

t.case("a redirect asks for header fields", function()
  local alice, bob, plan = begin()
  local carol = plan:peer "10.0.0.3"
  local out = alice:invite "moved"
  bob:expect("INVITE"):reply(302, { headers = { Contact = "<sip:carol@10.0.0.3?Subject=moved&Route=%3Csip:evil%3E>" } })
  local call = carol:expect("INVITE", { Subject = "moved", Route = false })
  t.equal(call.uri, "sip:carol@10.0.0.3")
  call:reply(302, { headers = { Contact = "<sip:bob@10.0.0.2?Subject=again>" } })      -- he has been asked
  out:expect(302)
end)

-- Whose account pays is not said by whom was called; and thousands of fields cost no more than a few.
t.case("a redirect asks for too much", function()
  local alice, bob, plan = begin()
  local carol = plan:peer "10.0.0.3"
  local many = {}
  for i = 1, 3000 do many[i] = "X-" .. i .. "=x" end
  local out = alice:invite "moved"
  bob:expect("INVITE"):reply(302, { headers = { Contact = "<sip:bob@10.0.0.3?X-Account=42&Subject=moved&" .. table.concat(many, "&") .. ">" } })
  local call = carol:expect("INVITE", { Subject = "moved", ["X-Account"] = false, ["X-1"] = false })
  call:reply(486)
  out:expect(486)
end)
