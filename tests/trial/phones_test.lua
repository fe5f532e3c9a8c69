local t = require "siphook.test"

local plan, alice, bob

t.before(function()
  plan = t.load("dialplan.lua", { shared = { users = { ["pw:bob"] = "secret", ["pw:alice"] = "wonder" } } })
  alice, bob = plan:phone("alice", { password = "wonder", display = "Alice A." }), plan:phone("bob", { password = "secret" })
end)

-- A call that is up: the caller's end, the other end.
local function talk()
  bob:register()
  local out = alice:invite "bob"
  local call = bob:expect "INVITE"
  call:ring()
  out:expect(180)
  call:answer()
  out:expect(200):ack()
  call:expect "ACK"
  return out, call
end

t.case("a phone registers with MD5 and with SHA-256", function()
  plan:phone("bob", { password = "secret", algorithm = "MD5", ip = "198.18.9.1" }):register()
  plan:phone("bob", { password = "secret", algorithm = "SHA-256", ip = "198.18.9.2" }):register()
  t.equal(#plan:registrations(), 2)
end)

t.case("a registration is refreshed and taken back", function()
  local answer = bob:register{ expires = 600 }
  t.match(answer["Contact"], "expires=600")
  t.equal(answer.code, 200)
  bob:register()
  t.equal(#plan:registrations(), 1)
  bob:unregister()
  t.equal(#plan:registrations(), 0)
end)

t.case("a registration ends with its time", function()
  bob:register{ expires = 60 }
  plan:advance(62)
  t.equal(#plan:registrations(), 0)
end)

t.case("a phone may look at the challenge, and at a refusal", function()
  t.match(bob:register{ auth = false, expect = 401 }["WWW-Authenticate"], 'realm="example.org"')
  bob:register{ to = "sip:alice@" .. plan.domain, expect = 403 }
  t.match(bob:register{ expires = 5, expect = 423 }["Min-Expires"], "60")
end)

t.case("a phone that is not registered calls", function()
  local stranger = plan:phone "stranger"
  local answer = stranger:invite("900"):expect(603)
  t.equal(answer.reason, "Declined")
end)

t.case("an answer has fields, header fields and contacts", function()
  local answer = alice:invite("help"):expect(302)
  t.equal(#answer:headers "Contact", 2)
  t.equal(answer.contact.user, "desk1")
  t.match(answer["contact"], "desk1@example.org")
  t.equal(answer.method, "INVITE")
end)

t.case("a call to a phone shows who calls", function()
  bob:register()
  alice:invite("bob", { headers = { ["X-Account"] = "7", Subject = "hello" }, sdp = { codecs = { "opus", "PCMU" } } })
  local call = bob:expect("INVITE", { Subject = "^hel", from = "Alice A%.", ["X-Nothing"] = false })
  t.equal(call.method, "INVITE")
  t.equal(call.from.user, "alice")
  t.equal(call.from.display, "Alice A.")
  t.equal(call.uri.user, "bob")
  t.equal(call["Subject"], "hello")
  t.equal(call:header "Subject", "hello")
  t.equal(call.sdp:names(), { "opus", "PCMU" })
  t.equal(call.sdp.media[1].kind, "audio")
  t.ok(call.sdp:has "opus")
  call:reply(486, "Not now")
end)

t.case("a call is held, resumed and ended by the other side", function()
  local out, call = talk()
  local hold = out:hold()
  local offer = call:expect("INVITE", { sdp = { direction = "sendonly" } })
  offer:answer()
  hold:expect(200, { sdp = { direction = "recvonly" } }):ack()
  call:expect "ACK"
  local resume = out:resume()
  call:expect("INVITE", { sdp = { direction = "sendrecv" } }):answer()
  resume:expect(200):ack()
  plan:advance(30)
  call:bye():expect(200)
  out:expect("BYE"):reply(200)
end)

t.case("verbs chain on whatever was returned", function()
  local out, call = talk()
  out:bye():expect(200)
  call:expect("BYE"):reply(200)
end)

t.case("a caller cancels", function()
  bob:register()
  local out = alice:invite "bob"
  local call = bob:expect "INVITE"
  call:reply(180)
  out:expect(180)
  out:cancel()
  out:expect(487)
  bob:expect "CANCEL"
end)

t.case("a called phone may refuse the CANCEL's end itself", function()
  bob:register()
  local out = alice:invite "bob"
  local call = bob:expect "INVITE"
  call:reply(180)
  out:expect(180)
  out:cancel()
  call:expect("CANCEL"):reply(200)
  call:reply(487, "Gone")
  out:expect(487)
end)

t.case("requests in a call", function()
  local out, call = talk()
  out:info("Signal=1"):expect(200)
  call:expect("INFO", { body = "Signal=1" })
  out:dtmf "5"
  call:expect("INFO", { body = "Signal=5", ["Content-Type"] = "application/dtmf%-relay" }):reply(200)
  local sent = call:message "hello"
  out:expect("MESSAGE", { body = "hello" }):reply(202)
  sent:expect(202)
  out:bye()
end)

t.case("requests outside of calls", function()
  alice:options():expect(200, { Allow = "INVITE" })
  alice:message("bob", "hi"):expect(405)
  alice:request("FOO", "bob"):expect(501)
  alice:subscribe("bob", "presence"):expect(489)
end)

t.case("a peer calls in and is called", function()
  local gateway = plan:peer("192.0.2.7:5080", { name = "gateway" })
  bob:register()
  local out = gateway:invite("bob", { from = "sip:+4930123@192.0.2.7", display = "Berlin" })
  local call = bob:expect("INVITE", { from = "%+4930123" })
  call:answer()
  out:expect(200):ack()
  out:bye():expect(200)
end)

t.case("a phone by TCP", function()
  local carol = plan:phone("bob", { password = "secret", transport = "tcp" })
  carol:register()
  local out = alice:invite "bob"
  local call = carol:expect("INVITE", { Via = "SIP/2.0/TCP" })
  call:answer()
  out:expect(200):ack()
  call:bye():expect(200)
end)

t.case("phones and peers with IPv6", function()
  local carol = plan:phone("bob", { password = "secret", ip = "2001:db8::7" })
  carol:register()
  local gateway = plan:peer "[2001:db8::9]:5080"
  local out = gateway:invite("bob", { from = "sip:+4930@[2001:db8::9]" })
  local call = carol:expect("INVITE", { Via = "%[2001:db8:5060::1%]" })
  call:answer()
  out:expect(200):ack()
  call:bye():expect(200)
end)

t.case("two phones of one user ring together", function()
  local other = plan:phone("bob", { password = "secret" })
  bob:register()
  other:register()
  local out = alice:invite "bob"
  local first, second = bob:expect "INVITE", other:expect "INVITE"
  first:ring()
  second:answer()
  first:expect "CANCEL"
  out:expect(200):ack()
  t.match(plan:ladder(), "bob %(2%)")
end)

t.case("a call that the test leaves up is ended for it", function() talk() end)

t.case("a call that the test leaves ringing is ended for it", function()
  bob:register()
  alice:invite "bob"
  bob:expect("INVITE"):ring()
end)

t.case("an early offer may be missing: the answer comes with the ACK", function()
  bob:register()
  local out = alice:invite("bob", { sdp = false })
  local call = bob:expect("INVITE", { sdp = false })
  call:answer()
  local answer = out:expect(200, { sdp = true })
  answer:ack{ sdp = t.sdp.answer(answer.body, { ip = alice.ip }) }
  call:expect("ACK", { sdp = true })
  out:bye()
end)

t.case("what the script raises is a 500 and in the log", function()
  alice:invite("oops"):expect(500)
  plan:expect_log "on purpose"
end)

t.case("garbage does no harm", function()
  alice:send("HELLO\r\n\r\n")
  alice:options():expect(200)
end)

t.case("provisional answers that are acknowledged, on both sides of a call", function()
  local caller = plan:phone("alice", { supported = "100rel" })
  local mail = plan:peer("10.0.0.2", { supported = "100rel" })
  local out = caller:invite "bob"
  local call = mail:expect("INVITE", { Supported = "100rel" })
  call:reply(183, { headers = { Require = "100rel", RSeq = "7" }, sdp = true })
  local progress = out:expect(183, { Require = "100rel", RSeq = true, sdp = { has = "PCMA" } })
  local prack = progress:prack()
  mail:expect("PRACK", { RAck = "7 %d+ INVITE" }):reply(200)      -- the caller's, on the other leg
  prack:expect(200)
  call:answer()
  out:expect(200):ack()
  call:bye():expect(200)
end)

t.case("what is not acknowledged comes again", function()
  local caller = plan:phone("alice", { supported = "100rel" })
  local mail = plan:peer("10.0.0.2", { supported = "100rel" })
  local out = caller:invite "bob"
  mail:expect("INVITE"):reply(183, { headers = { Require = "100rel", RSeq = "1" } })
  local first = out:expect(183)
  plan:advance(0.4)
  local second = out:expect(183, 1)
  t.equal(second.RSeq, first.RSeq)
  second:prack():expect(200)
  out:expect_none(183, 5)
end)
